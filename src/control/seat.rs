//! A seat while its consultation is live: what is known of it, and what follows from that.
//!
//! Plain state and questions about it. What changes it, and who is told, is `room` and `settle`; how far it has come and what its
//! media may do are the pure rules of `stage`, `gates`, `lock`, `aside` and `hand_over`.

use std::time::Instant;

use colloque_signaling::message::{
    Card, Gate, MediaSource, Permissions, Presence, Role, SeatInfo, ServerMessage, SlotInfo,
};

use crate::acts::{self, Act, Gates, role_from_name};
use crate::ids::{LegId, SeatId, TrackId};
use crate::pii::Pii;
use crate::rtp::codec::Source;
use crate::sfu::command::{SeatPolicy, SlotAssignment};
use crate::store::{Admission, SeatRecord};

use super::channel::Channel;
use super::facts::{Cause, Departure};
use super::gates::{self, Answers, Asked};
use super::hand_over::{self, GIVEN_AWAY};
use super::leg::{EndpointLeg, PageLeg};
use super::opening;
use super::phone::seat_phone::SeatPhone;
use super::phone::{PhonesTold, Telephone};
use super::policy;
use super::stage::{self, Known, Obstacle, Shut, Stage};

/// A seat while its consultation is live.
pub(super) struct LiveSeat {
    /// Its name on the media plane.
    pub(super) number: SeatId,
    /// Public identifier.
    pub(super) id: String,
    pub(super) role: Role,
    pub(super) display_name: Option<Pii<String>>,
    /// What is shown of a professional.
    pub(super) card: Option<Pii<Card>>,
    pub(super) admission: Admission,
    /// Opened on another device, and not let in since.
    pub(super) other_device: bool,
    /// Which opening of its link it belongs to.
    pub(super) arrival: Option<u32>,
    pub(super) asked: Asked,
    pub(super) answers: Answers,
    /// A login is demanded of it, and has not been.
    pub(super) login_due: bool,
    /// It has given the consultation to a colleague.
    pub(super) given_away: bool,
    /// See `lock::Comer`.
    pub(super) belongs: bool,
    /// It was inside before: what is asked later does not shut it out.
    pub(super) was_inside: bool,
    /// As of the last settling.
    pub(super) stage: Stage,
    /// As of the last settling; `silenced` is what hosts stopped.
    pub(super) shut: Shut,
    pub(super) visit: Visit,
    pub(super) channel: Channel,
    /// What the page says it sends, once it has said so.
    pub(super) sending: Option<Sources>,
    pub(super) tracks: Vec<LiveTrack>,
    pub(super) page_leg: Option<PageLeg>,
    pub(super) endpoints: Vec<EndpointLeg>,
    pub(super) phone: SeatPhone,
    /// A host let a telephone in and thereby said that what it cannot show was said: it is not asked any more.
    pub(super) gates_spoken: bool,
    /// Why it goes when it goes.
    pub(super) departure: Departure,
    /// What its page was told on this visit.
    pub(super) told: Told,
    /// What the journal and the media plane were told.
    pub(super) entered: Entered,
    /// Its telephone, as pages may know it.
    pub(super) telephone: Telephone,
    of_role: SeatPolicy,
    rights: Permissions,
}

/// Where a seat's page is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Visit {
    /// Has not come, or has left.
    Absent,
    /// Its socket is open. `since` is for the join latency.
    Connected { generation: u64, since: Instant },
    /// Its socket was lost; kept for the grace period.
    Away { generation: u64, since: Instant },
}

/// What a page was told, so that it is told again only when it changes. Begins afresh with every `welcome`.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Told {
    /// That it is inside.
    pub(super) inside: bool,
    pub(super) permissions: Permissions,
    pub(super) gates: Vec<Gate>,
    pub(super) locked: bool,
    /// That an aside goes on.
    pub(super) aside: bool,
    /// Its place in the queue.
    pub(super) queue: Option<ServerMessage>,
    /// That the patient's acts of the year come to the clinic's limit.
    pub(super) acts: bool,
    /// Telephones.
    pub(super) phones: PhonesTold,
}

/// What others than the page were told of a seat.
#[derive(Clone, PartialEq, Default, Debug)]
pub(super) struct Entered {
    pub(super) attendance: Attendance,
    /// What it sends.
    pub(super) media: Media,
    /// Its arrival was announced.
    pub(super) arrived: bool,
    /// The media plane's policy.
    pub(super) policy: Option<SeatPolicy>,
    /// The last incident, so that one that repeats itself does not fill the journal.
    pub(super) incident: Option<(Cause, Instant)>,
}

/// Whether a seat's person is there, as the journal tells it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Attendance {
    #[default]
    Absent,
    /// Connected, or kept after its socket was lost, and outside.
    Waiting,
    /// In the room.
    Present,
    /// In the room, its connection lost.
    Lost,
}

/// What a seat really sends.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Media {
    pub(super) microphone: bool,
    pub(super) camera: bool,
    pub(super) screen: bool,
    /// Its voice, from a telephone.
    pub(super) telephone: bool,
}

/// One flag a source.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Sources {
    pub(super) microphone: bool,
    pub(super) camera: bool,
    pub(super) screen: bool,
}

impl Sources {
    pub(super) fn flag(&mut self, source: MediaSource) -> &mut bool {
        match source {
            MediaSource::Microphone => &mut self.microphone,
            MediaSource::Camera => &mut self.camera,
            MediaSource::Screen => &mut self.screen,
        }
    }

    /// Those of them that the seat may send: the roster shows nothing that the media plane drops.
    pub(super) fn within(self, permissions: Permissions) -> Sources {
        Sources {
            microphone: self.microphone && permissions.microphone,
            camera: self.camera && permissions.camera,
            screen: self.screen && permissions.screen,
        }
    }

    pub(super) fn iter(self) -> impl Iterator<Item = MediaSource> {
        let all = [
            (self.microphone, MediaSource::Microphone),
            (self.camera, MediaSource::Camera),
            (self.screen, MediaSource::Screen),
        ];
        all.into_iter().filter_map(|(on, source)| on.then_some(source))
    }
}

/// A track that the media plane reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct LiveTrack {
    pub(super) track: TrackId,
    pub(super) leg: LegId,
    pub(super) source: Source,
}

impl LiveSeat {
    pub(super) fn new(number: SeatId, seat: &SeatRecord, act: &Act, gates: &Gates, login: bool) -> Self {
        let role = role_from_name(&seat.role).unwrap_or(Role::Guest);
        let may = act.rule(role).may;
        let mut live = Self {
            number,
            id: seat.id.clone(),
            role,
            display_name: seat.display_name.clone(),
            card: gates::card_of_record(role, seat).map(Pii),
            admission: seat.admission,
            other_device: seat.other_device,
            arrival: None,
            asked: Asked::of(gates, role, seat.vouched),
            answers: Answers::read(&seat.gates),
            login_due: false,
            given_away: false,
            belongs: false,
            was_inside: false,
            stage: Stage::Waiting(Obstacle::Host),
            shut: Shut::default(),
            visit: Visit::Absent,
            channel: Channel::default(),
            sending: None,
            tracks: Vec::new(),
            page_leg: None,
            endpoints: Vec::new(),
            phone: SeatPhone::default(),
            gates_spoken: false,
            departure: Departure::Left,
            told: Told::default(),
            entered: Entered::default(),
            telephone: Telephone::default(),
            of_role: policy::seat_policy(may),
            rights: policy::permissions(may),
        };
        live.read(seat, login);
        live
    }

    /// Takes what the store says beside admission: others than the room change it.
    pub(super) fn read(&mut self, seat: &SeatRecord, login: bool) {
        self.login_due = gates::is_login_due(login, self.role, seat);
        self.arrival = opening::arrival(seat);
        self.given_away = seat.gates.iter().any(|gate| gate.gate == GIVEN_AWAY);
    }

    /// What it may do by the protocol.
    pub(super) fn permissions(&self) -> Permissions {
        if self.given_away { hand_over::without_running(self.rights) } else { self.rights }
    }

    /// What its role may do.
    pub(super) fn rights(&self) -> Permissions {
        self.rights
    }

    /// What is in its way.
    pub(super) fn known(&self, locked_out: bool, pending: &[Gate]) -> Known {
        Known {
            admission: self.admission,
            other_device: self.other_device,
            locked_out,
            login_due: self.login_due,
            gates_due: gates::shut_out(pending, self.was_inside),
        }
    }

    /// What the media plane lets it do now.
    pub(super) fn policy(&self) -> SeatPolicy {
        stage::media_policy(self.of_role, self.stage, self.shut)
    }

    /// Somebody is on it: a page, also one whose socket was lost, a device, or a telephone.
    pub(super) fn is_taken(&self) -> bool {
        self.visit != Visit::Absent || !self.endpoints.is_empty() || self.phone.is_there()
    }

    /// Somebody is on it who is where the seat is. A telephone may still wait while its seat is inside.
    pub(super) fn is_in_room(&self) -> bool {
        self.visit != Visit::Absent || !self.endpoints.is_empty() || self.is_on_phone() || self.phone.is_away()
    }

    /// Its person, or a telephone on it, waits for a host.
    pub(super) fn waits_for_host(&self) -> bool {
        let page_waits = matches!(self.visit, Visit::Connected { .. }) && self.stage == Stage::Waiting(Obstacle::Host);
        page_waits || self.phone_waits()
    }

    /// Where it is: where the page or the telephone is that has come farther.
    pub(super) fn presence(&self) -> Presence {
        let rank = |presence: &Presence| match presence {
            Presence::Absent => 0,
            Presence::Waiting => 1,
            Presence::Reconnecting => 2,
            Presence::Present => 3,
        };
        [self.page_presence(), self.phone_presence()].into_iter().max_by_key(rank).unwrap_or(Presence::Absent)
    }

    /// Where its page or device is.
    pub(super) fn page_presence(&self) -> Presence {
        let has_endpoint = |quiet| self.endpoints.iter().any(|endpoint| endpoint.connected && endpoint.quiet == quiet);
        let on_endpoint = has_endpoint(false);
        let quiet = self.page_leg.as_ref().is_some_and(|page| page.quiet_since.is_some());
        match (self.visit, self.stage.is_inside()) {
            (Visit::Connected { .. }, true) if quiet && !on_endpoint => Presence::Reconnecting,
            (Visit::Connected { .. }, true) => Presence::Present,
            (Visit::Connected { .. }, false) => Presence::Waiting,
            (_, true) if on_endpoint => Presence::Present,
            (Visit::Away { .. }, true) => Presence::Reconnecting,
            (Visit::Absent, true) if has_endpoint(true) => Presence::Reconnecting,
            (Visit::Away { .. } | Visit::Absent, _) => Presence::Absent,
        }
    }

    /// Whether its person is there.
    pub(super) fn attendance(&self) -> Attendance {
        match self.presence() {
            Presence::Present => Attendance::Present,
            Presence::Reconnecting => Attendance::Lost,
            Presence::Waiting => Attendance::Waiting,
            // A socket that was lost while waiting comes back or is given up; the journal tells only the latter.
            Presence::Absent if matches!(self.visit, Visit::Away { .. }) => Attendance::Waiting,
            Presence::Absent => Attendance::Absent,
        }
    }

    /// In the room with somebody on it, also while its connection is lost.
    pub(super) fn attends(&self) -> bool {
        matches!(self.attendance(), Attendance::Present | Attendance::Lost)
    }

    /// What it really sends: tracks that the media plane has and forwards, and that the page does not say are off.
    pub(super) fn media(&self) -> Media {
        let (policy, said) = (self.policy(), self.sending.unwrap_or(EVERYTHING));
        let of_page = |leg| self.page_leg.as_ref().is_some_and(|page| page.leg == leg);
        let of_phone = |leg| self.phone.leg() == Some(leg);
        // Whoever went on by telephone is there, but the picture of a page that is gone stands still.
        let gone = self.is_on_phone() && self.page_leg.as_ref().is_some_and(|page| page.quiet_since.is_some());
        let sends = |source, said: bool| {
            let mut tracks = self.tracks.iter().filter(|track| track.source == source && !of_phone(track.leg));
            policy.may_publish(source) && tracks.any(|track| !of_page(track.leg) || (said && !gone))
        };
        let speaks = self.tracks.iter().any(|track| of_phone(track.leg));
        Media {
            microphone: sends(Source::Microphone, said.microphone),
            camera: sends(Source::Camera, said.camera),
            screen: sends(Source::Screen, said.screen),
            telephone: policy.microphone && speaks,
        }
    }

    /// What a viewer may know of it.
    pub(super) fn info(&self, viewer: &LiveSeat) -> SeatInfo {
        let itself = self.id == viewer.id;
        let named = itself || viewer.stage.is_inside();
        let shown = if named { self.shown() } else { Sources::default() };
        let hosts = itself || (named && viewer.rights.admit);
        let professionals = itself || (named && acts::is_professional(viewer.role));
        SeatInfo {
            seat: self.id.clone(),
            role: self.role,
            display_name: self.display_name.as_ref().filter(|_| named).map(|name| name.0.clone()),
            presence: self.presence(),
            microphone: shown.microphone,
            camera: shown.camera,
            screen: shown.screen,
            gates_pending: hosts && !self.was_inside && !self.told.gates.is_empty(),
            other_device: hosts && self.other_device,
            arrival: self.arrival.filter(|_| hosts),
            third_person: self.answers.third_person().filter(|_| professionals),
            telephone: self.phone_info().filter(|_| named),
        }
    }

    /// What the roster shows as sent: what the page says at once, what devices send.
    fn shown(&self) -> Sources {
        let (said, silenced) = (self.sending.unwrap_or_default(), self.shut.silenced);
        let endpoint_sends = |source| {
            let is_endpoint = |leg| self.endpoints.iter().any(|endpoint| endpoint.leg == leg);
            self.tracks.iter().any(|track| track.source == source && is_endpoint(track.leg))
        };
        let voice = match self.phone.on_line().filter(|_| self.is_on_phone()) {
            Some(line) => !line.muted,
            None => said.microphone || endpoint_sends(Source::Microphone),
        };
        Sources {
            microphone: !silenced.microphone && voice,
            camera: !silenced.camera && (said.camera || endpoint_sends(Source::Camera)),
            screen: !silenced.screen && (said.screen || endpoint_sends(Source::Screen)),
        }
    }
}

/// What a viewer may know of the others. Before it is inside: itself, and whether somebody is there who may let it in, without a
/// name.
pub(super) fn roster(seats: &[LiveSeat], viewer: &LiveSeat) -> Vec<SeatInfo> {
    let is_inside = viewer.stage.is_inside();
    let sees_waiting = viewer.rights.admit;
    let visible = |seat: &&LiveSeat| {
        let inside = seat.admission.is_admitted() || (sees_waiting && seat.admission == Admission::Waiting);
        let is_host = seat.rights.admit && seat.stage != Stage::Out;
        seat.id == viewer.id || is_host || (is_inside && inside)
    };
    seats.iter().filter(visible).map(|seat| seat.info(viewer)).collect()
}

/// The protocol's form of a slot list.
pub(super) fn slot_infos(seats: &[LiveSeat], slots: &[SlotAssignment]) -> Vec<SlotInfo> {
    let info = |slot: &SlotAssignment| {
        let seat = seats.iter().find(|seat| seat.number == slot.seat)?;
        Some(SlotInfo {
            slot: slot.slot.0,
            seat: seat.id.clone(),
            source: media_source(slot.source),
            codec_missing: slot.codec_missing,
        })
    };
    slots.iter().filter_map(info).collect()
}

/// The protocol's word for a source.
fn media_source(source: Source) -> MediaSource {
    match source {
        Source::Microphone => MediaSource::Microphone,
        Source::Camera => MediaSource::Camera,
        Source::Screen => MediaSource::Screen,
    }
}

/// Of a page that has said nothing, what arrives counts.
const EVERYTHING: Sources = Sources { microphone: true, camera: true, screen: true };
