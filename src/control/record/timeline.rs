//! How long a consultation lasted and by which mode, from the facts of its journal. Pure: facts and instants in, times out.
//!
//! Each instant counts once, or not at all. The two *sides* of a consultation are its professionals and the people they care
//! for; what is counted is the time in which both sides are in the room (or, without the patient's side, two professionals
//! are), by the best mode of any pair across the sides. docs/record.md says the same to clinics, and must be changed with this.
//!
//! Not here: who these people are (`document`), when the server was down (`runs`).
//!
//! ```text
//!   facts in the journal's order --+
//!   stops of the server -----------+--> [Fold: who is in, who sends what] --time passes--> sums
//! ```

use colloque_signaling::message::Role;

use crate::acts::is_professional;
use crate::control::facts::Fact;

/// A fact with its time and the seat that it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Unix milliseconds, as the server's clock said.
    pub at: i64,
    /// Which seat, when it is about one.
    pub seat: Option<String>,
    /// What happened.
    pub fact: Fact,
}

/// A seat as far as times depend on it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sitter {
    /// Identifier.
    pub id: String,
    /// Function.
    pub role: Role,
    /// Receives the others' pictures.
    pub sees: bool,
    /// Receives the others' voices.
    pub hears: bool,
}

/// The server was down: whoever was in a room is not any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stop {
    /// Last instant at which it is known to have run.
    pub last_sign: i64,
    /// When it ran again.
    pub next_start: i64,
}

/// How a conversation is held. The order is that of preference: a pair that sees counts as video, whatever else it does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mode {
    /// In the room together, and nothing is sent.
    Silent,
    /// Voices, over the network.
    Audio,
    /// Voices, one of them by telephone.
    Telephone,
    /// At least one sees the other.
    Video,
}

/// Time by mode, milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ModeTimes {
    /// See [`Mode::Video`].
    pub video: i64,
    /// The part of `video` in which both see each other.
    pub video_both_ways: i64,
    /// See [`Mode::Audio`].
    pub audio: i64,
    /// See [`Mode::Telephone`].
    pub telephone: i64,
    /// See [`Mode::Silent`].
    pub silent: i64,
}

impl ModeTimes {
    /// All modes together.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.video + self.audio + self.telephone + self.silent
    }

    fn add(&mut self, view: View, millis: i64) {
        match view.mode {
            Mode::Video => self.video += millis,
            Mode::Audio => self.audio += millis,
            Mode::Telephone => self.telephone += millis,
            Mode::Silent => self.silent += millis,
        }
        if view.both_ways {
            self.video_both_ways += millis;
        }
    }
}

/// The times of one seat.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SeatTimes {
    /// First time in the room.
    pub joined_at: Option<i64>,
    /// Last instant in the room so far.
    pub left_at: Option<i64>,
    /// Connected in the room, milliseconds.
    pub present: i64,
    /// Of these: in conversation, by the seat's own best mode.
    pub modes: ModeTimes,
}

/// The server was down while somebody was in the room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interruption {
    /// Last instant that is counted.
    pub from: i64,
    /// When the server ran again.
    pub to: i64,
    /// Who was in the room.
    pub seats: Vec<String>,
}

/// What the facts say about time.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Timeline {
    /// When somebody was in the room first.
    pub started_at: Option<i64>,
    /// When somebody was in the room last: the instant up to which everything is counted.
    pub counted_until: Option<i64>,
    /// When the consultation was ended for good.
    pub ended_at: Option<i64>,
    /// Somebody is in the room at the end of the facts.
    pub is_occupied: bool,
    /// Both sides in the room.
    pub with_patient: ModeTimes,
    /// Two professionals or more in the room, and nobody of the patient's side, or the patient's side shut out by an aside.
    pub between_professionals: ModeTimes,
    /// In the order of the sitters.
    pub seats: Vec<SeatTimes>,
    /// In order.
    pub interruptions: Vec<Interruption>,
}

impl Timeline {
    /// From the first to the last instant with somebody in the room, milliseconds.
    #[must_use]
    pub fn duration(&self) -> i64 {
        self.started_at.zip(self.counted_until).map_or(0, |(from, until)| until - from)
    }

    /// Reads the facts, in the journal's order. What is not over counts up to `now`. `stops` are in order of time.
    ///
    /// Times never go backwards: a clock that steps back counts nothing until it has caught up, so that no minute is counted
    /// twice, or longer than the clock says between the first fact and the last.
    #[must_use]
    pub fn read(sitters: &[Sitter], moments: &[Moment], stops: &[Stop], now: i64) -> Timeline {
        let mut fold = Fold::new(sitters);
        let mut stops = stops.iter().copied().peekable();
        for moment in moments {
            while let Some(stop) = stops.next_if(|stop| stop.next_start <= moment.at) {
                fold.handle_stop(stop);
            }
            fold.handle(moment);
        }
        while let Some(stop) = stops.next_if(|stop| stop.next_start <= now) {
            fold.handle_stop(stop);
        }
        fold.finish(now)
    }
}

/// Where a seat is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Out,
    In,
    Lost,
}

/// What a seat sends.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Sent {
    microphone: bool,
    camera: bool,
    screen: bool,
    telephone: bool,
}

/// On which side of the conversation a seat is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Professional,
    Patient,
    /// Interpreters and trainees: with them alone nobody consults.
    Neither,
}

struct Live {
    id: String,
    side: Side,
    sees: bool,
    hears: bool,
    place: Place,
    sent: Sent,
}

/// How two seats perceive each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct View {
    mode: Mode,
    both_ways: bool,
}

struct Fold {
    time: Option<i64>,
    aside: bool,
    live: Vec<Live>,
    timeline: Timeline,
}

impl Fold {
    fn new(sitters: &[Sitter]) -> Self {
        let live = |sitter: &Sitter| Live {
            id: sitter.id.clone(),
            side: side_of(sitter.role),
            sees: sitter.sees,
            hears: sitter.hears,
            place: Place::Out,
            sent: Sent::default(),
        };
        let seats = vec![SeatTimes::default(); sitters.len()];
        Self {
            time: None,
            aside: false,
            live: sitters.iter().map(live).collect(),
            timeline: Timeline { seats, ..Timeline::default() },
        }
    }

    fn handle(&mut self, moment: &Moment) {
        if self.timeline.ended_at.is_some() {
            return;
        }
        let now = self.pass(moment.at);
        match &moment.fact {
            Fact::ConsultationEnded { .. } => {
                self.empty();
                self.timeline.ended_at = Some(now);
            }
            Fact::AsideBegan {} => self.aside = true,
            Fact::AsideEnded {} => self.aside = false,
            fact => {
                let place = self.live.iter().position(|live| Some(&live.id) == moment.seat.as_ref());
                if let Some(index) = place {
                    self.handle_of_seat(index, fact, now);
                }
            }
        }
    }

    fn handle_of_seat(&mut self, index: usize, fact: &Fact, now: i64) {
        let (live, times) = (&mut self.live[index], &mut self.timeline.seats[index]);
        match fact {
            Fact::SeatJoined {} => {
                live.place = Place::In;
                times.joined_at.get_or_insert(now);
                self.timeline.started_at.get_or_insert(now);
                times.left_at = Some(now);
                self.timeline.counted_until = Some(now);
            }
            // Only a seat that was in the room can be lost, or come back to it.
            Fact::SeatLost {} if live.place == Place::In => live.place = Place::Lost,
            Fact::SeatBack {} if live.place == Place::Lost => live.place = Place::In,
            // The three say it of the same seat, in an order that depends on who asked: the first one counts.
            Fact::SeatLeft { .. } | Fact::SeatRemoved { .. } | Fact::GateRefused { .. } => live.go(),
            &Fact::SeatMedia { microphone, camera, screen, telephone } => {
                live.sent = Sent { microphone, camera, screen, telephone };
            }
            _ => {}
        }
    }

    fn handle_stop(&mut self, stop: Stop) {
        let inside = self.live.iter().filter(|live| live.place != Place::Out).map(|live| live.id.clone());
        let seats: Vec<String> = inside.collect();
        if seats.is_empty() || self.timeline.ended_at.is_some() {
            return;
        }
        // A clock that was far ahead and set right at the start must not count what it dreamt of.
        let from = self.pass(stop.last_sign.min(stop.next_start));
        self.timeline.interruptions.push(Interruption { from, to: stop.next_start.max(from), seats });
        self.empty();
    }

    fn finish(mut self, now: i64) -> Timeline {
        if self.timeline.ended_at.is_none() {
            self.pass(now);
            self.timeline.is_occupied = self.live.iter().any(|live| live.place != Place::Out);
        }
        self.timeline
    }

    /// Lets time pass up to `at` and counts it. Gives the time that it is now.
    fn pass(&mut self, at: i64) -> i64 {
        let before = *self.time.get_or_insert(at);
        let now = before.max(at);
        self.time = Some(now);
        let millis = now - before;
        if millis > 0 && self.live.iter().any(Live::is_connected) {
            self.timeline.counted_until = Some(now);
            self.count(millis, now);
        }
        now
    }

    fn count(&mut self, millis: i64, now: i64) {
        for (live, times) in self.live.iter().zip(&mut self.timeline.seats) {
            if live.is_connected() {
                times.present += millis;
                times.left_at = Some(now);
            }
        }
        let of = |side| self.live.iter().any(|live| live.takes_part(self.aside) && live.side == side);
        let with_patient = of(Side::Professional) && of(Side::Patient);
        let sum = if with_patient { &mut self.timeline.with_patient } else { &mut self.timeline.between_professionals };
        let parties: Vec<usize> = (0..self.live.len()).filter(|&i| self.live[i].takes_part(self.aside)).collect();
        let counts = |a: &Live, b: &Live| match (a.side, b.side) {
            (Side::Professional, Side::Professional) => !with_patient,
            (Side::Professional, Side::Patient) | (Side::Patient, Side::Professional) => true,
            _ => false,
        };
        let live = &self.live;
        let pairs = parties.iter().flat_map(|&a| parties.iter().map(move |&b| (a, b))).filter(|(a, b)| a < b);
        let views = pairs.filter(|&(a, b)| counts(&live[a], &live[b])).map(|(a, b)| live[a].view(&live[b]));
        let Some(view) = views.max() else { return };
        sum.add(view, millis);
        for &index in &parties {
            let own = &live[index];
            let others = parties.iter().filter(|&&other| other != index).map(|&other| &live[other]);
            let others = others.filter(|other| own.side == Side::Neither || counts(own, other));
            if let Some(view) = others.map(|other| own.view(other)).max() {
                self.timeline.seats[index].modes.add(view, millis);
            }
        }
    }

    fn empty(&mut self) {
        self.live.iter_mut().for_each(Live::go);
        self.aside = false;
    }
}

impl Live {
    fn go(&mut self) {
        self.place = Place::Out;
        self.sent = Sent::default();
    }

    fn is_connected(&self) -> bool {
        self.place == Place::In
    }

    /// In the room, and not shut out while professionals speak apart.
    fn takes_part(&self, aside: bool) -> bool {
        self.is_connected() && (!aside || self.side == Side::Professional)
    }

    /// Who speaks by telephone alone sees nothing.
    fn sees(&self) -> bool {
        self.sees && (!self.sent.telephone || self.sent.microphone || self.sent.camera || self.sent.screen)
    }

    fn view(&self, other: &Live) -> View {
        let sees = |a: &Live, b: &Live| a.sees() && b.sent.camera;
        let hears = |a: &Live, b: &Live| a.hears && (b.sent.microphone || b.sent.telephone);
        let (there, back) = (sees(self, other), sees(other, self));
        let mode = if there || back {
            Mode::Video
        } else if !hears(self, other) && !hears(other, self) {
            Mode::Silent
        } else if self.sent.telephone || other.sent.telephone {
            Mode::Telephone
        } else {
            Mode::Audio
        };
        View { mode, both_ways: there && back }
    }
}

fn side_of(role: Role) -> Side {
    match role {
        role if is_professional(role) => Side::Professional,
        Role::Interpreter | Role::Trainee => Side::Neither,
        _ => Side::Patient,
    }
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
