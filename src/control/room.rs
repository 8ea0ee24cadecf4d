//! The live state of one consultation: who is connected, where they are in their visit, what each may send now.
//!
//! A room sits behind one lock that is never held across an await; everything here is synchronous. What a running room decides by
//! itself (a host's click, an answer to a gate) changes the room and is handed to the journal in one go; what clinics
//! decide by their API is durable first, and the room catches up with it ([`RoomState::catch_up`]). Each change ends in `settle`, which
//! works out what follows from it and tells everyone. A closed room takes nobody in any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use colloque_signaling::message::{
    ErrorCode, HandOverReason, Language, MediaSource, Presence, Role, ServerMessage, SlotInfo,
};
use colloque_signaling::session::CloseReason;

use crate::acts::{Act, Gates};
use crate::ids::{LegId, RoomId, SeatId, TrackId};
use crate::sfu::command::{Command, SlotAssignment};
use crate::store::{Admission, ConsultationRecord, LiveChange, SeatRecord};

use super::booking::language_from_name;
use super::chronicle::Chronicle;
use super::facts::{Actor, Departure, Fact};
use super::gates;
use super::hand_over::{self, Colleague, HandOver, HandOverRefusal};
use super::join::JoinError;
use super::journal::Journal;
use super::media_port::MediaPort;
use super::phone::Telephone;
use super::phone::encryption::Encryption;
use super::phone::seat_phone::PhoneOut;
use super::phone::switchboard::Switchboard;
use super::seat::{self, Attendance, LiveSeat, Visit};
use super::stage::{Obstacle, Stage};
use super::waiting_line::{Line, LineKey, Lines};
use super::yearly::ActsOfYear;
use super::{Numbers, aside, clock};

/// A consultation while somebody is there.
pub(super) struct Room {
    /// Its name on the media plane.
    pub(super) id: RoomId,
    /// Public identifier of the consultation.
    pub(super) consultation: String,
    /// Whose consultation it is.
    pub(super) clinic: String,
    pub(super) act: Arc<Act>,
    pub(super) language: Language,
    pub(super) port: MediaPort,
    /// The queue that it is in.
    pub(super) line: Option<LineKey>,
    state: Mutex<RoomState>,
}

/// What the lock guards.
pub(super) struct RoomState {
    pub(super) port: MediaPort,
    pub(super) seats: Vec<LiveSeat>,
    pub(super) chronicle: Chronicle,
    pub(super) locked: bool,
    /// Who began the aside that goes on.
    pub(super) aside: Option<String>,
    /// Announced, and not done.
    pub(super) handing: Option<HandOver>,
    pub(super) line: Line,
    pub(super) lines: Arc<Lines>,
    /// The patient's acts of the year, once they are counted.
    pub(super) acts: Option<ActsOfYear>,
    act: Arc<Act>,
    gates: Gates,
    /// Professionals log in first.
    login: bool,
    /// The telephone, on a server that has one.
    pub(super) phones: Option<Arc<Switchboard>>,
    pub(super) encryption: Encryption,
    closed: bool,
}

/// What a room is made from.
pub(super) struct Founding<'a> {
    pub(super) port: MediaPort,
    pub(super) act: Arc<Act>,
    pub(super) consultation: &'a ConsultationRecord,
    pub(super) seats: &'a [SeatRecord],
    pub(super) journal: &'a Arc<Journal>,
    pub(super) phones: Option<&'a Arc<Switchboard>>,
    pub(super) lines: &'a Arc<Lines>,
}

impl Room {
    pub(super) fn new(founding: Founding<'_>, numbers: &Numbers) -> Room {
        let Founding { port, act, consultation, seats, journal, phones, lines } = founding;
        let line = Line::of(consultation);
        let key = line.key.clone();
        let mut state = RoomState {
            port: port.clone(),
            seats: Vec::with_capacity(seats.len()),
            chronicle: Chronicle::new(journal, consultation),
            locked: consultation.locked,
            aside: None,
            handing: None,
            line,
            lines: Arc::clone(lines),
            acts: None,
            gates: gates::of_consultation(consultation, &act),
            act: Arc::clone(&act),
            login: consultation.login,
            phones: phones.cloned(),
            encryption: Encryption::from_name(&consultation.e2ee),
            closed: false,
        };
        state.catch_up(consultation, seats, numbers);
        Room {
            id: port.room,
            consultation: consultation.id.clone(),
            clinic: consultation.clinic.clone(),
            act,
            language: language_from_name(&consultation.language),
            port,
            line: key,
            state: Mutex::new(state),
        }
    }

    /// A panic while the lock was held leaves plain values behind: they stay usable.
    pub(super) fn lock(&self) -> MutexGuard<'_, RoomState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a telephone is told when its seat is put out.
fn phone_out(admission: Admission) -> PhoneOut {
    if admission == Admission::Declined { PhoneOut::Declined } else { PhoneOut::Removed }
}

impl RoomState {
    /// Takes what others than the room changed in the store: seats, admissions, logins, the lock.
    pub(super) fn catch_up(&mut self, consultation: &ConsultationRecord, seats: &[SeatRecord], numbers: &Numbers) {
        self.lock_as(consultation.locked);
        for record in seats {
            self.add_seat(record, numbers);
            self.catch_up_seat(record);
        }
        self.settle();
    }

    fn catch_up_seat(&mut self, record: &SeatRecord) {
        let login = self.login;
        let Some(seat) = self.seat_mut(&record.id) else { return };
        seat.read(record, login);
        seat.other_device = record.other_device;
        if seat.admission == record.admission {
            return;
        }
        match record.admission {
            Admission::Refused => self.withdraw(&record.id, Admission::Refused, CloseReason::Removed),
            Admission::Declined => self.withdraw(&record.id, Admission::Declined, CloseReason::Declined(None)),
            Admission::Waiting => self.withdraw(&record.id, Admission::Waiting, CloseReason::MovedDevice),
            Admission::Admitted | Admission::Direct => self.let_in(&record.id),
        }
    }

    /// The seat was opened on another device. `out`: it waits there to be let in, and its page here has to stop; else it simply
    /// moves when the other one connects.
    pub(super) fn move_device(&mut self, id: &str, out: bool) {
        let Some(seat) = self.seat_mut(id).filter(|_| out) else { return };
        seat.other_device = true;
        let admission = seat.admission;
        self.withdraw(id, admission, CloseReason::MovedDevice);
        self.settle();
    }

    /// The link of the seat was opened on another device than before, or for the first time.
    pub(super) fn set_arrival(&mut self, id: &str, arrival: Option<u32>) {
        if let Some(seat) = self.seat_mut(id) {
            seat.arrival = arrival;
        }
    }

    /// Whether the seat still belongs to the arrival that a host saw; says again to everyone what is now, where it does not.
    pub(super) fn is_still(&mut self, id: &str, seen: Option<u32>) -> bool {
        let is_still = seen.is_none() || self.seat(id).is_none_or(|seat| seat.arrival == seen);
        if !is_still {
            self.settle();
        }
        is_still
    }

    /// Every token of the seat was revoked: whoever sits there is put out.
    pub(super) fn revoke(&mut self, id: &str, admission: Admission) {
        self.withdraw(id, admission, CloseReason::Refused(ErrorCode::BadSession));
        self.settle();
    }

    /// The professional of the seat has logged in.
    pub(super) fn log_in(&mut self, id: &str) {
        if let Some(seat) = self.seat_mut(id) {
            seat.login_due = false;
            self.settle();
        }
    }

    /// Adds a seat that was made since the room was.
    pub(super) fn add_seat(&mut self, record: &SeatRecord, numbers: &Numbers) {
        if self.seat(&record.id).is_none() {
            let number = SeatId(numbers.next());
            let mut seat = LiveSeat::new(number, record, &self.act, &self.gates, self.login);
            seat.telephone = Telephone::of(self.phones.as_deref(), self.encryption, record);
            self.seats.push(seat);
            self.settle();
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn seat(&self, id: &str) -> Option<&LiveSeat> {
        self.seats.iter().find(|seat| seat.id == id)
    }

    pub(super) fn seat_mut(&mut self, id: &str) -> Option<&mut LiveSeat> {
        self.seats.iter_mut().find(|seat| seat.id == id)
    }

    pub(super) fn seats_mut(&mut self) -> impl Iterator<Item = &mut LiveSeat> {
        self.seats.iter_mut()
    }

    /// The seat that holds this leg.
    pub(super) fn seat_of_leg(&mut self, leg: LegId) -> Option<&mut LiveSeat> {
        self.seats.iter_mut().find(|seat| {
            seat.page_leg.as_ref().is_some_and(|page| page.leg == leg)
                || seat.endpoints.iter().any(|endpoint| endpoint.leg == leg)
                || seat.phone.leg() == Some(leg)
        })
    }

    /// How many seats are in the call, and how many wait.
    pub(super) fn census(&self) -> (usize, usize) {
        let waits = |seat: &&LiveSeat| {
            let page_waits = matches!(seat.visit, Visit::Connected { .. }) && !seat.stage.is_inside();
            page_waits || seat.presence() == Presence::Waiting
        };
        (self.seats.iter().filter(|seat| seat.attends()).count(), self.seats.iter().filter(waits).count())
    }

    /// Lets a waiting seat in. False when it is in already.
    pub(super) fn admit(&mut self, id: &str, by: Actor) -> bool {
        let Some(seat) = self.seat(id) else { return false };
        let seat_waits = matches!(seat.stage, Stage::Waiting(Obstacle::Host | Obstacle::Lock));
        if !seat_waits && !seat.phone_waits() {
            return false;
        }
        // Whoever never waits is kept out by the lock alone: their admission stays what it is.
        let changes = match seat.admission {
            Admission::Direct => Vec::new(),
            _ if !seat_waits => Vec::new(),
            _ => vec![LiveChange::SetAdmission { seat: id.to_owned(), admission: Admission::Admitted }],
        };
        self.chronicle.record(changes, Some(id), &Fact::SeatAdmitted { by });
        self.let_in(id);
        self.let_phone_in(id);
        self.settle();
        true
    }

    /// Admits the first who waits for a host: the one who is cared for before those who come along. False when nobody does.
    pub(super) fn admit_first(&mut self, by: &Actor) -> bool {
        let waits = |seat: &&LiveSeat| seat.waits_for_host();
        let first = |role: Option<Role>| {
            let mut seats = self.seats.iter().filter(waits);
            seats.find(|seat| role.is_none_or(|role| seat.role == role)).map(|seat| seat.id.clone())
        };
        let Some(id) = first(Some(Role::Patient)).or_else(|| first(None)) else { return false };
        self.admit(&id, by.clone())
    }

    fn let_in(&mut self, id: &str) {
        let Some(seat) = self.seat_mut(id) else { return };
        if seat.admission != Admission::Direct {
            seat.admission = Admission::Admitted;
        }
        seat.other_device = false;
        seat.belongs = true;
    }

    /// Removes a seat from the room, or refuses it while it waits. False when it is out already.
    pub(super) fn remove(&mut self, id: &str, by: Actor) -> bool {
        if self.seat(id).is_none_or(|seat| seat.stage == Stage::Out) {
            return false;
        }
        let change = LiveChange::SetAdmission { seat: id.to_owned(), admission: Admission::Refused };
        self.chronicle.record(vec![change], Some(id), &Fact::SeatRemoved { by });
        self.withdraw(id, Admission::Refused, CloseReason::Removed);
        self.settle();
        true
    }

    /// The seat left: by itself, or nobody came back to it. It may come back by its link.
    pub(super) fn leave(&mut self, id: &str, departure: Departure) {
        let Some(seat) = self.seat_mut(id) else { return };
        seat.departure = departure;
        seat.channel.close(CloseReason::Left);
        seat.visit = Visit::Absent;
        self.drop_page_leg(id);
        self.settle();
    }

    /// Takes a seat out of the room whatever it does; does not settle.
    pub(super) fn withdraw(&mut self, id: &str, admission: Admission, reason: CloseReason) {
        let Some(seat) = self.seat_mut(id) else { return };
        seat.admission = admission;
        seat.departure = match reason {
            CloseReason::Declined(_) => Departure::Declined,
            CloseReason::MovedDevice => Departure::OtherDevice,
            _ => Departure::Removed,
        };
        seat.channel.close(reason);
        seat.visit = Visit::Absent;
        // Another device of the same person: a call goes on, and waits like it.
        if reason != CloseReason::MovedDevice {
            self.withdraw_phone(id, phone_out(admission));
        }
        let Some(seat) = self.seat_mut(id) else { return };
        let phone = seat.phone.leg();
        seat.tracks.retain(|track| phone == Some(track.leg));
        let endpoints = std::mem::take(&mut seat.endpoints);
        self.drop_page_leg(id);
        for endpoint in endpoints {
            self.port.remove_leg(endpoint.leg);
        }
        if self.handing.as_ref().is_some_and(|handing| handing.to == id) {
            self.handing = None;
        }
    }

    /// Stops a seat's source, or lets it again. False when there is no such seat.
    pub(super) fn mute(&mut self, id: &str, source: MediaSource, muted: bool, by: Actor) -> bool {
        let Some(seat) = self.seat_mut(id) else { return false };
        if std::mem::replace(seat.shut.silenced.flag(source), muted) != muted {
            seat.channel.send(ServerMessage::Muted { source, muted });
            self.chronicle.tell(id, &Fact::SeatMuted { by, source, muted });
            self.settle();
        }
        true
    }

    /// Locks or unlocks the room.
    pub(super) fn set_locked(&mut self, locked: bool, by: Actor) {
        if self.locked == locked {
            return;
        }
        let fact = if locked { Fact::Locked { by } } else { Fact::Unlocked { by } };
        let consultation = self.chronicle.consultation().to_owned();
        self.chronicle.record(vec![LiveChange::SetLocked { consultation, locked }], None, &fact);
        self.lock_as(locked);
        self.settle();
    }

    /// Whoever is inside at this moment belongs there.
    fn lock_as(&mut self, locked: bool) {
        if locked && !self.locked {
            for seat in &mut self.seats {
                seat.belongs = seat.attends();
            }
        }
        self.locked = locked;
    }

    /// Begins or ends an aside. False when there is nobody to speak apart with.
    pub(super) fn set_aside(&mut self, on: bool, by: &str) -> bool {
        if on == self.aside.is_some() {
            return true;
        }
        let inside = self.seats.iter().filter(|seat| seat.attends()).map(|seat| seat.role);
        if on && !aside::is_possible(inside) {
            return false;
        }
        self.aside = on.then(|| by.to_owned());
        self.chronicle.tell(by, &if on { Fact::AsideBegan {} } else { Fact::AsideEnded {} });
        self.settle();
        true
    }

    /// Announces that the consultation goes to a colleague; done at once when they are there.
    pub(super) fn hand_over(&mut self, from: &str, to: &str, reason: HandOverReason) -> Result<(), HandOverRefusal> {
        let giver = self.seat(from).ok_or(HandOverRefusal::NoSuchSeat)?;
        let colleague = self.seat(to).map(|seat| Colleague { of_role: seat.rights(), stage: seat.stage });
        hand_over::check((from, giver.permissions()), (to, colleague))?;
        self.chronicle.tell(from, &Fact::HandOverAnnounced { to: to.to_owned(), reason });
        self.handing = Some(HandOver { from: from.to_owned(), to: to.to_owned(), reason });
        self.tell_hand_over(false);
        self.settle();
        Ok(())
    }

    /// Forgets the page's media connection of a seat.
    pub(super) fn drop_page_leg(&mut self, id: &str) {
        if let Some(seat) = self.seats.iter_mut().find(|seat| seat.id == id) {
            seat.sending = None;
            if let Some(page) = seat.page_leg.take() {
                seat.tracks.retain(|track| track.leg != page.leg);
                self.port.remove_leg(page.leg);
            }
        }
    }

    /// Ends the consultation for everyone.
    pub(super) fn end_for_good(&mut self, by: Actor) {
        if self.closed {
            return;
        }
        let consultation = self.chronicle.consultation().to_owned();
        let change = LiveChange::End { consultation, at: clock::unix_now() };
        self.chronicle.record(vec![change], None, &Fact::ConsultationEnded { by });
        self.end(Departure::Ended);
    }

    /// Ends the room for everyone. `departure` is why they go.
    pub(super) fn end(&mut self, departure: Departure) {
        let out = if departure == Departure::Ended { PhoneOut::Over } else { PhoneOut::Fault };
        for id in self.seats.iter().map(|seat| seat.id.clone()).collect::<Vec<_>>() {
            self.withdraw_phone(&id, out);
        }
        for seat in &mut self.seats {
            if seat.entered.attendance != Attendance::Absent {
                self.chronicle.tell(&seat.id, &Fact::SeatLeft { cause: departure });
                seat.entered.attendance = Attendance::Absent;
            }
            seat.channel.close(CloseReason::Ended);
            seat.visit = Visit::Absent;
            seat.page_leg = None;
            seat.endpoints.clear();
        }
        self.close();
    }

    /// Closes the room when nobody is there any more. True when it is closed now.
    pub(super) fn close_if_empty(&mut self) -> bool {
        if !self.closed && !self.seats.iter().any(LiveSeat::is_taken) {
            self.close();
        }
        self.closed
    }

    /// The worker closed the room by mistake: opens it again.
    pub(super) fn reopen(&mut self, open: Command) {
        self.port.send_lossy(open);
        for seat in &mut self.seats {
            seat.entered.policy = None;
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.port.send_lossy(Command::CloseRoom(self.port.room));
        self.lines.moved(self.line.key.as_ref());
    }

    /// Every seat in the room that is not shut out of an aside gets this message.
    pub(super) fn broadcast_inside(&mut self, message: &ServerMessage) {
        for seat in &mut self.seats {
            if seat.visit != Visit::Absent && seat.stage.is_inside() && !seat.shut.aside {
                seat.channel.send(message.clone());
            }
        }
    }

    /// The protocol's form of a slot list.
    pub(super) fn slot_infos(&self, slots: &[SlotAssignment]) -> Vec<SlotInfo> {
        seat::slot_infos(&self.seats, slots)
    }

    /// A track ended. False when the seat is of another room.
    pub(super) fn forget_track(&mut self, number: SeatId, track: TrackId) -> bool {
        let Some(seat) = self.seats.iter_mut().find(|seat| seat.number == number) else { return false };
        seat.tracks.retain(|live| live.track != track);
        self.settle();
        true
    }

    /// What keeps a seat from media; nothing when it is inside.
    pub(super) fn obstacle(&self, id: &str) -> Option<JoinError> {
        match self.seat(id)?.stage {
            Stage::Inside => None,
            Stage::Out if self.seat(id)?.admission == Admission::Declined => Some(JoinError::Declined),
            Stage::Out => Some(JoinError::Removed),
            Stage::Waiting(Obstacle::Host) => Some(JoinError::NotAdmitted),
            Stage::Waiting(Obstacle::Lock) => Some(JoinError::Locked),
            Stage::Waiting(Obstacle::Login) => Some(JoinError::LoginRequired),
            Stage::Waiting(Obstacle::Gates) => Some(JoinError::GatesPending),
        }
    }

    /// The public identifier of a seat of the media plane.
    pub(super) fn public_id(&self, number: SeatId) -> Option<String> {
        self.seats.iter().find(|seat| seat.number == number).map(|seat| seat.id.clone())
    }

    /// The join latency of a seat that was let in counts from then.
    pub(super) fn restart_clock(visit: &mut Visit) {
        if let Visit::Connected { since, .. } = visit {
            *since = Instant::now();
        }
    }
}
