//! What follows from a change in a room, worked out in one place: who is inside, what media each may send, who is told what.
//!
//! ```text
//!   change --> lock, gates, login, admission --> stage of each seat
//!                                                  |--> aside goes on? hand-over done?
//!                                                  |--> media policy    -> media plane
//!                                                  |--> what is new     -> its page
//!                                                  \--> who came, went  -> everyone inside, journal, queue
//! ```
//!
//! It compares what is with what was told last, so that calling it once too often does nothing but repeat the roster.

use std::time::{Duration, Instant};

use colloque_signaling::message::{Gate, Role, ServerMessage};

use crate::acts;
use crate::sfu::command::Command;
use crate::store::{LiveChange, PassedGate};

use super::facts::{Cause, Departure, Fact};
use super::hand_over::{GIVEN_AWAY, HandOver};
use super::lock::{self, Comer};
use super::room::RoomState;
use super::seat::{self, Attendance, LiveSeat, Visit};
use super::stage::Stage;
use super::yearly::ActsOfYear;
use super::{aside, clock};

impl RoomState {
    /// Works out what follows from what has changed, and tells everyone whom it concerns.
    pub(super) fn settle(&mut self) {
        let pending = self.settle_stages();
        self.settle_aside();
        self.settle_hand_over();
        self.settle_media();
        self.settle_pages(pending);
        self.settle_phones();
        self.tell_phones();
        self.tell_attendance();
        self.tell_queue();
        self.broadcast_roster();
    }

    /// How far each seat has come. Gives the gates that each still has to pass.
    fn settle_stages(&mut self) -> Vec<Vec<Gate>> {
        let cards = self.cards();
        let mut all_pending = Vec::with_capacity(self.seats.len());
        for index in 0..self.seats.len() {
            let keeper_inside =
                self.seats.iter().enumerate().any(|(other, seat)| other != index && seat.keeps_the_lock());
            let seat = &mut self.seats[index];
            // Whoever has gone is no longer of those whom the lock found inside.
            seat.belongs &= seat.is_taken() || seat.entered.attendance == Attendance::Absent;
            let comer = Comer { belongs: seat.belongs, has_key: seat.permissions().admit };
            let pending = seat.pending_gates(&cards);
            let locked_out = lock::keeps_out(self.locked, comer, keeper_inside);
            seat.stage = Stage::of(seat.known(locked_out, &pending));
            let inside = seat.stage.is_inside() && seat.is_in_room();
            seat.was_inside |= inside;
            seat.belongs |= inside;
            all_pending.push(pending);
        }
        all_pending
    }

    fn settle_aside(&mut self) {
        let inside = self.seats.iter().filter(|seat| seat.attends()).map(|seat| seat.role);
        if self.aside.is_some()
            && !aside::is_possible(inside)
            && let Some(by) = self.aside.take()
        {
            self.chronicle.tell(&by, &Fact::AsideEnded {});
        }
        for seat in &mut self.seats {
            seat.shut.aside = aside::shuts_out(self.aside.is_some(), seat.role);
        }
    }

    /// Done once the colleague is there.
    fn settle_hand_over(&mut self) {
        let is_there =
            |handing: &HandOver| self.seat(&handing.to).is_some_and(|seat| seat.attendance() == Attendance::Present);
        if !self.handing.as_ref().is_some_and(is_there) {
            return;
        }
        self.tell_hand_over(true);
        let Some(HandOver { from, to, .. }) = self.handing.take() else { return };
        for seat in &mut self.seats {
            seat.given_away = (seat.given_away || seat.id == from) && seat.id != to;
        }
        let passed = PassedGate { gate: GIVEN_AWAY.to_owned(), answer: to.clone(), at: clock::unix_now() };
        let changes = vec![
            LiveChange::ForgetGate { seat: to.clone(), gate: GIVEN_AWAY.to_owned() },
            LiveChange::PassGate { seat: from.clone(), passed },
        ];
        self.chronicle.record(changes, Some(&from), &Fact::HandOverDone { to });
    }

    /// Tells of the hand-over, whoever is cared for first.
    pub(super) fn tell_hand_over(&mut self, done: bool) {
        let Some(HandOver { from, to, reason }) = self.handing.clone() else { return };
        let to_name = self.seat(&to).and_then(|seat| seat.display_name.as_ref()).map(|name| name.0.clone());
        let message = ServerMessage::HandOver { from, to, to_name, reason, done };
        for professionals in [false, true] {
            let told = self.seats.iter_mut().filter(|seat| acts::is_professional(seat.role) == professionals);
            for seat in told.filter(|seat| seat.visit != Visit::Absent && seat.stage.is_inside()) {
                seat.channel.send(message.clone());
            }
        }
    }

    /// Closes the media of professionals whose card somebody inside has not read, then tells the media plane what is new.
    fn settle_media(&mut self) {
        for index in 0..self.seats.len() {
            let card = self.seats[index].card.is_some() && {
                let id = &self.seats[index].id;
                let has_to_read = |seat: &LiveSeat| seat.reads_cards() && seat.id != *id;
                self.seats.iter().any(|seat| has_to_read(seat) && !seat.answers.has_read(id))
            };
            self.seats[index].shut.card = card;
            self.apply_policy(index);
        }
    }

    fn apply_policy(&mut self, index: usize) {
        let (room, seat) = (self.port.room, &mut self.seats[index]);
        let policy = seat.policy();
        // The media plane knows nobody who was never there; whoever comes brings the policy along (`offer`).
        let known = seat.is_taken() || seat.entered.policy.is_some();
        if known && seat.entered.policy != Some(policy) {
            seat.entered.policy = Some(policy);
            self.port.send_lossy(Command::SetPolicy { room, seat: seat.number, policy });
        }
    }

    /// The patient's acts of the year are counted: professionals are told when they come in, those inside now.
    pub(super) fn set_acts(&mut self, acts: ActsOfYear) {
        if !self.is_closed() {
            self.acts = Some(acts);
            self.settle();
        }
    }

    /// Tells every page what is new for it, and everyone inside who has come.
    fn settle_pages(&mut self, pending: Vec<Vec<Gate>>) {
        let room = RoomIs { locked: self.locked, aside: self.aside.is_some(), acts: self.acts };
        let pages = self.seats.iter_mut().zip(pending);
        let arrived: Vec<ServerMessage> =
            pages.filter_map(|(seat, pending)| settle_page(seat, pending, room)).collect();
        for message in &arrived {
            self.tell_arrival(message);
        }
    }

    fn tell_arrival(&mut self, message: &ServerMessage) {
        let ServerMessage::Arrived { seat: newcomer, .. } = message else { return };
        for seat in &mut self.seats {
            if seat.visit != Visit::Absent && seat.stage.is_inside() && seat.id != *newcomer {
                seat.channel.send(message.clone());
            }
        }
    }

    /// Tells the journal who came and went, and what they send.
    fn tell_attendance(&mut self) {
        for seat in &mut self.seats {
            let (before, now) = (seat.entered.attendance, seat.attendance());
            for fact in attendance_facts(before, now, seat.departure) {
                self.chronicle.tell(&seat.id, &fact);
            }
            seat.entered.attendance = now;
            if now != Attendance::Absent {
                seat.departure = Departure::Left;
            }
            let media = seat.media();
            if std::mem::replace(&mut seat.entered.media, media) != media && now != Attendance::Absent {
                let fact = Fact::SeatMedia {
                    microphone: media.microphone,
                    camera: media.camera,
                    screen: media.screen,
                    telephone: media.telephone,
                };
                self.chronicle.tell(&seat.id, &fact);
            }
        }
    }

    /// Tells whoever waits for a host how many are before them.
    pub(super) fn tell_queue(&mut self) {
        let waits = LiveSeat::waits_for_host;
        let attended = |by_professionals: bool| {
            self.seats.iter().any(|seat| seat.attends() && acts::is_professional(seat.role) == by_professionals)
        };
        let in_progress = attended(true) && attended(false);
        if self.line.set(self.seats.iter().any(waits), in_progress) {
            self.lines.moved(self.line.key.as_ref());
        }
        let practitioner = self.practitioner();
        let Some(message) = self.line.message(practitioner, clock::unix_now()) else { return };
        for seat in self.seats.iter_mut().filter(|seat| waits(seat)) {
            if !seat.told.queue.as_ref().is_some_and(|told| is_the_same_to_a_person(told, &message)) {
                seat.told.queue = Some(message.clone());
                seat.channel.send(message.clone());
            }
        }
    }

    /// The name of whoever is awaited.
    fn practitioner(&self) -> Option<String> {
        let named = |role: Role| {
            let seats = self.seats.iter().filter(|seat| seat.role == role && seat.admission.is_open());
            seats.filter_map(|seat| seat.display_name.as_ref()).map(|name| name.0.clone()).next()
        };
        named(Role::Practitioner).or_else(|| named(Role::Regulator))
    }

    /// Every connected seat gets the list of those it may know of.
    fn broadcast_roster(&mut self) {
        for index in 0..self.seats.len() {
            if self.seats[index].visit != Visit::Absent {
                let roster = ServerMessage::Roster { seats: seat::roster(&self.seats, &self.seats[index]) };
                self.seats[index].channel.send(roster);
            }
        }
    }

    /// Something technical went wrong on a seat.
    pub(super) fn tell_incident(&mut self, id: &str, cause: Cause, now: Instant) {
        let Some(seat) = self.seats.iter_mut().find(|seat| seat.id == id) else { return };
        let repeats = seat.entered.incident.is_some_and(|(last, at)| last == cause && now < at + INCIDENT_AGAIN);
        if !repeats {
            seat.entered.incident = Some((cause, now));
            self.chronicle.tell(id, &Fact::Incident { cause });
        }
    }
}

/// What every page is told of its room.
#[derive(Clone, Copy)]
struct RoomIs {
    locked: bool,
    aside: bool,
    acts: Option<ActsOfYear>,
}

/// Tells a page what is new for it. Gives its arrival, when this is the first time that it is inside.
fn settle_page(seat: &mut LiveSeat, pending: Vec<Gate>, room: RoomIs) -> Option<ServerMessage> {
    let (inside, permissions) = (seat.stage.is_inside(), seat.permissions());
    if seat.visit != Visit::Absent {
        if seat.told.gates != pending {
            seat.channel.send(ServerMessage::Gates { pending: pending.clone() });
            seat.told.gates = pending;
        }
        if inside && !seat.told.inside {
            seat.told.inside = true;
            RoomState::restart_clock(&mut seat.visit);
            seat.channel.admit(seat.told.permissions);
        }
        if inside && seat.told.permissions != permissions {
            seat.told.permissions = permissions;
            seat.channel.set_permissions(permissions);
        }
        if seat.told.locked != room.locked {
            seat.told.locked = room.locked;
            seat.channel.send(ServerMessage::Locked { locked: room.locked });
        }
        if inside && seat.told.aside != room.aside {
            seat.told.aside = room.aside;
            seat.channel.send(ServerMessage::Aside { on: room.aside, outside: seat.shut.aside });
        }
        if inside
            && acts::is_professional(seat.role)
            && !seat.told.acts
            && let Some(message) = room.acts.and_then(ActsOfYear::to_message)
        {
            seat.told.acts = true;
            seat.channel.send(message);
        }
    } else {
        seat.told.gates = pending;
    }
    if seat.entered.arrived || !seat.attends() {
        return None;
    }
    seat.entered.arrived = true;
    Some(ServerMessage::Arrived {
        seat: seat.id.clone(),
        role: seat.role,
        display_name: seat.display_name.as_ref().map(|name| name.0.clone()),
    })
}

/// What a change of attendance is called.
fn attendance_facts(before: Attendance, now: Attendance, departure: Departure) -> Vec<Fact> {
    use Attendance::{Absent, Lost, Present, Waiting};
    match (before, now) {
        (Absent, Absent) | (Waiting, Waiting) | (Present, Present) | (Lost, Lost) => vec![],
        (Absent, Waiting) => vec![Fact::SeatWaiting {}],
        (Absent | Waiting, Present) => vec![Fact::SeatJoined {}],
        (Absent | Waiting, Lost) => vec![Fact::SeatJoined {}, Fact::SeatLost {}],
        (Present, Lost) => vec![Fact::SeatLost {}],
        (Lost, Present) => vec![Fact::SeatBack {}],
        (Waiting | Present | Lost, Absent) => vec![Fact::SeatLeft { cause: departure }],
        (Present | Lost, Waiting) => vec![Fact::SeatLeft { cause: departure }, Fact::SeatWaiting {}],
    }
}

/// A place in the queue that differs by less than a person would care for.
fn is_the_same_to_a_person(told: &ServerMessage, now: &ServerMessage) -> bool {
    match (told, now) {
        (
            ServerMessage::Queue { ahead: a, expected_seconds: x, practitioner: p },
            ServerMessage::Queue { ahead: b, expected_seconds: y, practitioner: q },
        ) => a == b && p == q && x.is_some() == y.is_some() && x.unwrap_or(0).abs_diff(y.unwrap_or(0)) < 30,
        _ => false,
    }
}

/// The same incident on the same seat is told again after this. Shorter lets a page that repeats an impossible offer fill the journal;
/// longer hides that trouble came back.
const INCIDENT_AGAIN: Duration = Duration::from_secs(10);
