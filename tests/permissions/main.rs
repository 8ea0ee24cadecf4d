//! The role matrix from outside: for every act, a seat of every role does everything over real sockets, whatever it may.
//!
//! Without the right nothing of it reaches anybody and `not_permitted` is counted; with it everybody who may hear, see or
//! read gets it. What may be asked for over the WebSocket is refused, and nothing changes. Not here: gates and admission, and
//! what the rights do for those who have them (`src/web/tests`).

mod participant;
mod specification;

use std::collections::BTreeSet;
use std::time::Duration;

use colloque_loadtest::api::Consultation;
use colloque_signaling::message::{ClientMessage, HandOverReason, MediaSource, Role, ServerMessage};

use participant::{KINDS, Participant, SOURCES, Server, during, until};
use specification::{Act, BUILT_IN};

/// An act with a seat of every role in the room, and last somebody who waits.
struct Meeting {
    server: Server,
    act: Act,
    consultation: Consultation,
    people: Vec<Participant>,
}

impl Meeting {
    async fn begin(act: Act) -> Self {
        let server = Server::start();
        let mut seats: Vec<_> = act.roles.iter().map(|(role, _)| (*role, true)).collect();
        seats.push((Role::Guest, false));
        let consultation = server.clinic.book_act(act.name, &seats).await.unwrap();
        let mut people = Vec::new();
        for (number, ((role, _), seat)) in seats.iter().zip(&consultation.seats).enumerate() {
            people.push(Participant::join(&server, number, (*role, seat), act.roles.len() - 1).await);
        }
        let inside = act.roles.len();
        until("everybody is connected", &mut people, |people| {
            people[..inside].iter().all(|one| one.connected && one.channel_open)
        })
        .await;
        Self { server, act, consultation, people }
    }

    fn inside(&self) -> usize {
        self.act.roles.len()
    }

    fn may(&self, participant: usize, right: &str) -> bool {
        self.act.roles[participant].1.contains(right)
    }

    /// Whether somebody is to get this source of somebody else.
    fn is_to_hear(&self, viewer: usize, sender: usize, source: usize) -> bool {
        let takes = if source == 0 { "hear" } else { "see" };
        viewer != sender && self.may(sender, SOURCES[source]) && self.may(viewer, takes)
    }

    /// Everything that may flow flows, counted from now on.
    async fn media_flows(&mut self) {
        let count = self.inside();
        let triples = (0..count)
            .flat_map(|viewer| (0..count).flat_map(move |sender| (0..3).map(move |source| (viewer, sender, source))));
        let expected: Vec<_> =
            triples.filter(|&(viewer, sender, source)| self.is_to_hear(viewer, sender, source)).collect();
        assert!(!expected.is_empty());
        let before: Vec<_> =
            expected.iter().map(|&(viewer, sender, source)| self.people[viewer].heard_of(sender, source)).collect();
        until("what is permitted arrives", &mut self.people, |people| {
            let mut all = expected.iter().zip(&before);
            all.all(|(&(viewer, sender, source), before)| people[viewer].heard_of(sender, source) > before + 5)
        })
        .await;
    }

    fn assert_nothing_else_was_heard(&self) {
        let name = self.act.name;
        for (viewer, one) in self.people.iter().enumerate() {
            for &(sender, source) in one.heard.keys() {
                let permitted = viewer < self.inside() && self.is_to_hear(viewer, sender, source);
                let (role, source) = (self.act.roles[sender].0, SOURCES[source]);
                assert!(permitted, "{name}: {:?} gets the {source} of {role:?}", one.role);
            }
        }
    }

    /// Who is to send what kind of message to this one, when everybody sends every kind.
    fn messages_for(&self, viewer: usize) -> BTreeSet<(String, String)> {
        let mut messages = BTreeSet::new();
        let conversation = ["see", "hear", "chat", "files", "point", "vitals"];
        if viewer < self.inside() && conversation.iter().any(|right| self.may(viewer, right)) {
            for sender in (0..self.inside()).filter(|&sender| sender != viewer) {
                for (kind, _) in KINDS.iter().filter(|(_, right)| self.may(sender, right)) {
                    messages.insert((self.people[sender].seat.id.clone(), (*kind).to_owned()));
                }
            }
        }
        messages
    }

    fn set_sending(&mut self, sends: bool) {
        let inside = self.inside();
        self.people[..inside].iter_mut().for_each(|one| one.sends = sends);
    }

    /// Waits until the counter stands still, at `least` or above, and gives it.
    async fn not_permitted(&mut self, least: u64) -> u64 {
        let mut last = 0;
        for _ in 0..40 {
            during(Duration::from_millis(400), &mut self.people).await;
            let now = self.server.not_permitted().await;
            if now == last && now >= least {
                break;
            }
            last = now;
        }
        last
    }
}

/// Everybody sends voice, camera and screen.
async fn sources_are_forwarded_by_right(meeting: &mut Meeting) {
    let before = meeting.server.not_permitted().await;
    meeting.set_sending(true);
    meeting.media_flows().await;
    during(Duration::from_millis(500), &mut meeting.people).await;
    meeting.set_sending(false);
    let forbidden: Vec<u64> = (0..meeting.inside())
        .flat_map(|number| (0..3).map(move |source| (number, source)))
        .filter(|&(number, source)| !meeting.may(number, SOURCES[source]))
        .map(|(number, source)| meeting.people[number].sent[source])
        .collect();
    assert!(forbidden.iter().all(|&sent| sent > 5), "{forbidden:?}");
    let total: u64 = forbidden.iter().sum();
    let counted = meeting.not_permitted(before + total).await - before;
    assert_eq!(counted, total, "{}: each packet that may not be sent is counted", meeting.act.name);
    meeting.assert_nothing_else_was_heard();
}

/// Everybody sends a message of every kind.
async fn messages_are_relayed_by_right(meeting: &mut Meeting) {
    let before = meeting.server.not_permitted().await;
    let count = meeting.inside();
    meeting.people[..count].iter_mut().for_each(Participant::say_everything);
    let expected: Vec<_> = (0..meeting.people.len()).map(|viewer| meeting.messages_for(viewer)).collect();
    until("what is permitted arrives", &mut meeting.people, |people| {
        people.iter().zip(&expected).all(|(one, expected)| one.messages.len() >= expected.len())
    })
    .await;
    let forbidden_of = |sender| KINDS.iter().filter(|(_, right)| !meeting.may(sender, right)).count() as u64;
    let forbidden: u64 = (0..count).map(forbidden_of).sum();
    let counted = meeting.not_permitted(before + forbidden).await - before;
    assert_eq!(counted, forbidden, "{}: each message that may not be sent is counted", meeting.act.name);
    for (one, expected) in meeting.people.iter().zip(&expected) {
        let (name, role) = (meeting.act.name, one.role);
        assert_eq!(&one.messages.iter().cloned().collect::<BTreeSet<_>>(), expected, "{name}: {role:?}");
        assert_eq!(one.messages.len(), expected.len(), "{name}: {role:?} got a message twice");
    }
}

/// Everybody without a right of a host asks for what it would do.
async fn requests_are_refused_by_right(meeting: &mut Meeting) {
    let state = meeting.server.clinic.state(&meeting.consultation.id).await.unwrap();
    let waiting = meeting.people.last().expect("somebody waits").seat.id.clone();
    let host = meeting.people[0].seat.id.clone();
    let mut asked = 0;
    for number in 0..meeting.inside() {
        let other = meeting.people[(number + 1) % meeting.inside()].seat.id.clone();
        let mute = |source| ClientMessage::Mute { seat: other.clone(), source, muted: true };
        let requests = [
            ("admit", ClientMessage::Admit { seat: waiting.clone(), arrival: None }),
            ("admit", ClientMessage::Lock { locked: true }),
            ("remove", ClientMessage::Remove { seat: other.clone() }),
            ("remove", ClientMessage::Remove { seat: waiting.clone() }),
            ("mute", mute(MediaSource::Microphone)),
            ("mute", mute(MediaSource::Camera)),
            ("mute", mute(MediaSource::Screen)),
            ("invite", ClientMessage::Invite { role: Role::Guest, display_name: None }),
            ("hand_over", ClientMessage::HandOver { to: host.clone(), reason: HandOverReason::Other }),
            ("aside", ClientMessage::Aside { on: true }),
            ("end", ClientMessage::Next),
            ("end", ClientMessage::End),
        ];
        let mut refused = meeting.people[number].refusals();
        for (right, request) in requests {
            if !meeting.may(number, right) {
                meeting.people[number].ask(&request).await;
                (asked, refused) = (asked + 1, refused + 1);
            }
        }
        until("each is refused", &mut meeting.people, |people| people[number].refusals() == refused).await;
    }
    assert!(asked > 20, "{asked}");
    assert_eq!(meeting.server.clinic.state(&meeting.consultation.id).await.unwrap(), state, "{}", meeting.act.name);
    for one in &meeting.people {
        assert_eq!(one.closed, None, "{}: {:?}", meeting.act.name, one.role);
        let happened =
            |message: &ServerMessage| matches!(message, ServerMessage::Muted { .. } | ServerMessage::Admitted);
        assert!(!one.told.iter().any(happened), "{}: {:?}", meeting.act.name, one.role);
    }
    // Nobody was muted, removed or shut out.
    meeting.set_sending(true);
    meeting.media_flows().await;
    meeting.assert_nothing_else_was_heard();
}

async fn holds(act: Act) {
    let mut meeting = Meeting::begin(act).await;
    sources_are_forwarded_by_right(&mut meeting).await;
    messages_are_relayed_by_right(&mut meeting).await;
    requests_are_refused_by_right(&mut meeting).await;
}

#[tokio::test]
async fn the_matrix_of_teleconsultation_holds() {
    holds(Act::built_in(BUILT_IN[0])).await;
}

#[tokio::test]
async fn the_matrix_of_tele_expertise_holds() {
    holds(Act::built_in(BUILT_IN[1])).await;
}

#[tokio::test]
async fn the_matrix_of_telemonitoring_holds() {
    holds(Act::built_in(BUILT_IN[2])).await;
}

#[tokio::test]
async fn the_matrix_of_teleassistance_holds() {
    holds(Act::built_in(BUILT_IN[3])).await;
}

#[tokio::test]
async fn the_matrix_of_regulation_holds() {
    holds(Act::built_in(BUILT_IN[4])).await;
}

#[tokio::test]
async fn each_right_alone_gives_itself_and_nothing_else() {
    holds(Act::alone()).await;
}

/// Packets that may be under way or not yet told of when a right goes: 200 ms of a voice at 25 a second, doubled.
const UNDER_WAY_MAX: u64 = 10;

/// Waits until `sender` has sent this many more packets of its voice.
async fn speaks_on(meeting: &mut Meeting, sender: usize, packets: u64) {
    let sent = meeting.people[sender].sent[0] + packets;
    until("it goes on sending", &mut meeting.people, |people| people[sender].sent[0] >= sent).await;
}

#[tokio::test]
async fn a_right_that_a_host_takes_away_is_gone_at_once_whatever_the_page_goes_on_sending() {
    let mut meeting = Meeting::begin(Act::built_in(BUILT_IN[0])).await;
    let number = |role| meeting.act.roles.iter().position(|(seated, _)| *seated == role).expect("a seat");
    let (host, patient, nurse) = (number(Role::Practitioner), number(Role::Patient), number(Role::Nurse));
    meeting.set_sending(true);
    meeting.media_flows().await;

    let seat = meeting.people[patient].seat.id.clone();
    let mute = |muted| ClientMessage::Mute { seat: seat.clone(), source: MediaSource::Microphone, muted };
    meeting.people[host].ask(&mute(true)).await;
    let told = |people: &mut [Participant], muted| {
        people[patient].told.contains(&ServerMessage::Muted { source: MediaSource::Microphone, muted })
    };
    until("the patient is told", &mut meeting.people, |people| told(people, true)).await;
    let before = meeting.people[nurse].heard_of(patient, 0);
    speaks_on(&mut meeting, patient, 50).await;
    let after = meeting.people[nurse].heard_of(patient, 0);
    assert!(after <= before + UNDER_WAY_MAX, "{} packets of a muted voice", after - before);
    speaks_on(&mut meeting, patient, 25).await;
    assert_eq!(meeting.people[nurse].heard_of(patient, 0), after, "nothing comes late");

    meeting.people[host].ask(&mute(false)).await;
    until("the patient is told", &mut meeting.people, |people| told(people, false)).await;
    meeting.media_flows().await;

    meeting.people[host].ask(&ClientMessage::Remove { seat }).await;
    until("the patient is out", &mut meeting.people, |people| people[patient].closed.is_some()).await;
    let heard = |meeting: &Meeting| -> (u64, u64) {
        let by_patient = meeting.people[patient].heard.values().sum();
        (by_patient, (0..3).map(|source| meeting.people[nurse].heard_of(patient, source)).sum())
    };
    let (before, people) = (heard(&meeting), meeting.inside() as u64);
    speaks_on(&mut meeting, host, 50).await;
    let after = heard(&meeting);
    assert!(after.0 <= before.0 + 3 * people * UNDER_WAY_MAX, "{} packets to a seat that is out", after.0 - before.0);
    assert!(after.1 <= before.1 + 3 * UNDER_WAY_MAX, "{} packets of a seat that is out", after.1 - before.1);
    speaks_on(&mut meeting, host, 25).await;
    assert_eq!(heard(&meeting), after, "nothing comes late");
}
