//! From a link to a place in a live room: `POST /v1/join`, and what a socket or an endpoint needs before it may begin.
//!
//! A token that is forged, unknown, expired or revoked gives one and the same error after the same work. Everything else is told
//! only to whoever proved a good token.
//!
//! A seat belongs to the device that opened it last. A session says at which opening that was: when the seat moves, the sessions of
//! the device before are over for good, and with them every way back of its page.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use colloque_signaling::message::{Language, Role};
use colloque_signaling::token::{Claims, Purpose};
use dashmap::Entry;

use crate::acts;
use crate::ids::RoomId;
use crate::sfu::command::Command;
use crate::store::{Admission, Change, ConsultationRecord, LiveChange, SeatRecord, StoreError, Transaction};
use crate::worker::WorkerId;

use super::booking::language_from_name;
use super::clinics::sha256;
use super::facts::{Cause, Device, Fact};
use super::media_port::MediaPort;
use super::room::{Founding, Room};
use super::tokens::Subject;
use super::{Consultations, clock, opening, random};

/// What a page gets for its link.
#[derive(Clone, Debug)]
pub struct Joined {
    /// For the socket's `join`.
    pub session: String,
    /// Public identifier of the seat.
    pub seat: String,
    /// Its function.
    pub role: Role,
    /// Public identifier of the consultation.
    pub consultation: String,
    /// Which act, by name.
    pub act: String,
    /// Of the page.
    pub language: Language,
    /// Whether it passes the waiting room.
    pub admitted: bool,
}

/// Why nobody gets in. One cause each.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Forged, unknown, expired or revoked: never told apart.
    #[error("the link or session is not valid")]
    Token,
    /// A good session of a device that the seat has left.
    #[error("the seat was opened on another device")]
    Moved,
    /// A host removed or refused this seat.
    #[error("this seat was removed")]
    Removed,
    /// Its person refused a gate.
    #[error("the person of this seat declined")]
    Declined,
    /// The consultation is over.
    #[error("the consultation is over")]
    Over,
    /// The seat still waits.
    #[error("the seat is not admitted yet")]
    NotAdmitted,
    /// The room is locked, and the seat is not in it.
    #[error("the room is locked")]
    Locked,
    /// The seat is not past its gates.
    #[error("the seat has questions to answer first")]
    GatesPending,
    /// The seat's professional has to log in.
    #[error("the seat's professional has to log in first")]
    LoginRequired,
    /// The seat's link was exchanged too often within a short time.
    #[error("the link is opened too often")]
    TooOften,
    /// Draining: running rooms only.
    #[error("the server is draining and takes no new rooms")]
    Draining,
    /// Full, or the media worker is overloaded.
    #[error("the server is full")]
    Full,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl JoinError {
    /// Stable label for metrics and problem types.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            JoinError::Token => "token-refused",
            JoinError::Moved => "seat-moved",
            JoinError::Removed => "seat-removed",
            JoinError::Over => "consultation-over",
            JoinError::Declined => "seat-declined",
            JoinError::NotAdmitted => "not-admitted",
            JoinError::Locked => "room-locked",
            JoinError::GatesPending => "gates-pending",
            JoinError::LoginRequired => "login-required",
            JoinError::TooOften => "too-often",
            JoinError::Draining => "draining",
            JoinError::Full => "full",
            JoinError::Store(_) => "store-unavailable",
        }
    }

    /// The one cause that the record names; nothing when whoever asked proved nothing.
    pub(super) fn cause(&self) -> Option<Cause> {
        match self {
            JoinError::Token | JoinError::Moved | JoinError::TooOften => None,
            JoinError::Removed => Some(Cause::SeatRemoved),
            JoinError::Declined => Some(Cause::SeatDeclined),
            JoinError::Over => Some(Cause::ConsultationOver),
            JoinError::NotAdmitted => Some(Cause::NotAdmitted),
            JoinError::Locked => Some(Cause::RoomLocked),
            JoinError::GatesPending => Some(Cause::GatesPending),
            JoinError::LoginRequired => Some(Cause::LoginRequired),
            JoinError::Draining => Some(Cause::Draining),
            JoinError::Full => Some(Cause::ServerFull),
            JoinError::Store(_) => Some(Cause::StoreUnavailable),
        }
    }
}

impl Consultations {
    /// Exchanges a link's token for a session. `device` is a random identifier that the browser keeps; a link that is opened on
    /// another device than the last takes its seat back to the waiting room.
    pub async fn join(&self, token: &str, device: &str) -> Result<Joined, JoinError> {
        let outcome = self.join_inner(token, device).await;
        self.metrics.count_join(outcome.as_ref().map_or_else(JoinError::label, |_| "ok"));
        outcome
    }

    async fn join_inner(&self, token: &str, device: &str) -> Result<Joined, JoinError> {
        let (consultation, mut seat, _) = self.proved_seat(Purpose::Link, token).await?;
        if !self.pace.take(Instant::now(), &seat.id) {
            return Err(JoinError::TooOften);
        }
        if let Err(refusal) = check_open(&consultation, &seat) {
            self.record_failed_join(&consultation, &seat.id, &refusal);
            return Err(refusal);
        }
        self.take_device(&consultation, &mut seat, device).await?;
        Ok(Joined {
            session: self.sign(Purpose::Session, &seat, opening::serial(&seat)),
            role: acts::role_from_name(&seat.role).unwrap_or(Role::Guest),
            act: consultation.act,
            language: language_from_name(&consultation.language),
            admitted: seat.admission.is_admitted() && !seat.other_device,
            seat: seat.id,
            consultation: consultation.id,
        })
    }

    /// The seat a session belongs to.
    pub(super) async fn seat_of_session(&self, session: &str) -> Result<(ConsultationRecord, SeatRecord), JoinError> {
        self.visitor_of_session(session).await.map(|(consultation, seat, _)| (consultation, seat))
    }

    /// The seat a session belongs to, and which of its devices.
    pub(super) async fn visitor_of_session(
        &self,
        session: &str,
    ) -> Result<(ConsultationRecord, SeatRecord, u64), JoinError> {
        let (consultation, seat, serial) = self.proved_seat(Purpose::Session, session).await?;
        if serial != opening::serial(&seat) {
            return Err(JoinError::Moved);
        }
        check_open(&consultation, &seat)?;
        Ok((consultation, seat, serial))
    }

    /// The seat a link's token belongs to, for WHIP and WHEP: the token is not consumed.
    pub(super) async fn seat_of_token(&self, token: &str) -> Result<(ConsultationRecord, SeatRecord), JoinError> {
        let (consultation, seat, _) = self.proved_seat(Purpose::Link, token).await?;
        check_open(&consultation, &seat)?;
        Ok((consultation, seat))
    }

    /// A session or ticket for this seat.
    pub(super) fn sign(&self, purpose: Purpose, seat: &SeatRecord, serial: u64) -> String {
        let subject = Subject { consultation: &seat.consultation, seat: &seat.id, epoch: seat.token_epoch };
        self.tokens.sign(purpose, subject, serial, clock::unix_now() + SESSION_SECONDS)
    }

    /// Tells the record why somebody with a good token did not get in.
    pub(super) fn record_failed_join(&self, consultation: &ConsultationRecord, seat: &str, refusal: &JoinError) {
        let Some(cause) = refusal.cause() else { return };
        let fact = Fact::JoinFailed { cause };
        let entry = self.journal.entry(Some(&consultation.clinic), Some(&consultation.id), Some(seat), &fact);
        self.journal.record(Vec::new(), vec![entry]);
    }

    /// Whose token this is. One HMAC and one read of the store, whatever came in; every failure is the same.
    async fn proved_seat(
        &self,
        purpose: Purpose,
        token: &str,
    ) -> Result<(ConsultationRecord, SeatRecord, u64), JoinError> {
        let claims = self.tokens.verify(purpose, token);
        // Never the seat that a forged token names: how long that takes would tell whether it exists.
        let found = self.journal.seat(claims.as_ref().map_or(NO_SEAT, |claims| &claims.seat)).await;
        let proved = match (claims, found) {
            (None, _) => None,
            (Some(claims), found) => found?.filter(|(_, seat)| is_valid(&claims, seat)).zip(Some(claims.serial)),
        };
        if proved.is_none() {
            self.metrics.count_refused_credential(match purpose {
                Purpose::Link => "link",
                Purpose::Session => "session",
                Purpose::Ticket => "ticket",
            });
        }
        proved.map(|((consultation, seat), serial)| (consultation, seat, serial)).ok_or(JoinError::Token)
    }

    /// Gives the seat to this device; whoever had it on another one before is put out.
    async fn take_device(
        &self,
        consultation: &ConsultationRecord,
        seat: &mut SeatRecord,
        device: &str,
    ) -> Result<(), JoinError> {
        // A page that keeps no identifier cannot be told from anybody else's.
        let device = if device.is_empty() { random::bytes() } else { sha256(device.as_bytes()) };
        let kind = match seat.device {
            None => Device::First,
            Some(known) if opening::is_by(&known, &device) => Device::Same,
            Some(_) => Device::Other,
        };
        let fact = Fact::SeatOpened { device: kind };
        let entry = self.journal.entry(Some(&consultation.clinic), Some(&consultation.id), Some(&seat.id), &fact);
        if kind == Device::Same {
            self.journal.record(Vec::new(), vec![entry]);
            return Ok(());
        }
        // Whoever never waits moves; all others are asked for again, and the host is told why.
        let other = kind == Device::Other && seat.admission != Admission::Direct;
        let device = opening::begun_by(device);
        (seat.device, seat.other_device) = (Some(device), other);
        let (id, arrival) = (seat.id.clone(), opening::arrival(seat));
        // Already now: a host who saw the page before lets nobody else in.
        if let Some(room) = self.live_room(&consultation.id) {
            room.lock().set_arrival(&id, arrival);
        }
        let changes = vec![Change::Live(LiveChange::SetDevice { seat: id.clone(), device, other })];
        self.journal.commit(Transaction { changes, entries: vec![entry] }).await?;
        if let Some(room) = self.live_room(&consultation.id) {
            let mut state = room.lock();
            state.set_arrival(&id, arrival);
            if kind == Device::Other {
                state.move_device(&id, other);
            }
        }
        Ok(())
    }

    /// The live room of a consultation, opened when it is not. Running rooms stay open to their seats whatever happens.
    pub(super) async fn open_room(&self, consultation: &ConsultationRecord) -> Result<Arc<Room>, JoinError> {
        if let Some(room) = self.live_room(&consultation.id) {
            return Ok(room);
        }
        if self.is_draining() {
            return Err(JoinError::Draining);
        }
        let act = Arc::clone(self.settings.acts.of_stored(&consultation.act));
        if act.name == acts::UNCONFIGURED {
            tracing::warn!(
                act = consultation.act,
                "this act is no longer configured: the consultation may do the least"
            );
        }
        let is_emergency = act.emergency || consultation.priority.is_some();
        if self.rooms.len() >= self.settings.rooms_max && !is_emergency {
            return Err(JoinError::Full);
        }
        let ((consultation, seats), hold) = self.journal.hold(&consultation.id).await?.ok_or(JoinError::Token)?;
        if consultation.ended_at.is_some() {
            return Err(JoinError::Over);
        }
        match self.rooms.entry(consultation.id.clone()) {
            Entry::Occupied(entry) => Ok(Arc::clone(entry.get())),
            Entry::Vacant(entry) => {
                let port = self.place_room()?;
                // Whatever is changed from here on finds the room and tells it; what was changed before is in the copy.
                let (consultation, seats) = self.journal.copy(&consultation.id).unwrap_or((consultation, seats));
                let (journal, lines) = (&self.journal, &self.lines);
                let phones = self.phones();
                let founding =
                    Founding { port, act, consultation: &consultation, seats: &seats, journal, phones, lines };
                let room = Arc::new(Room::new(founding, &self.numbers));
                self.holds.insert(room.id, hold);
                self.rooms_by_number.insert(room.id, Arc::clone(&room));
                entry.insert(Arc::clone(&room));
                self.count_for_room(&room, &consultation);
                Ok(room)
            }
        }
    }

    /// Opens a room's media on the worker with the fewest rooms.
    fn place_room(&self) -> Result<MediaPort, JoinError> {
        let mut rooms = vec![0usize; self.media.workers()];
        for room in self.rooms_by_number.iter() {
            if let Some(count) = rooms.get_mut(room.port.worker.0) {
                *count += 1;
            }
        }
        let worker = (0..rooms.len()).min_by_key(|&worker| rooms[worker]).ok_or(JoinError::Full)?;
        let room = RoomId(self.numbers.next());
        let (plane, legs) = (Arc::clone(&self.media), Arc::clone(&self.legs));
        let port = MediaPort { plane, worker: WorkerId(worker), room, legs };
        port.send(Command::OpenRoom(room)).map_err(|_| JoinError::Full)?;
        Ok(port)
    }
}

fn is_valid(claims: &Claims, seat: &SeatRecord) -> bool {
    seat.token_epoch == claims.epoch && seat.consultation == claims.consultation
}

/// What a seat's state says to somebody who proved to be its own.
fn check_open(consultation: &ConsultationRecord, seat: &SeatRecord) -> Result<(), JoinError> {
    match seat.admission {
        _ if consultation.ended_at.is_some() => Err(JoinError::Over),
        Admission::Refused => Err(JoinError::Removed),
        Admission::Declined => Err(JoinError::Declined),
        Admission::Waiting | Admission::Admitted | Admission::Direct => Ok(()),
    }
}

/// How often links may be opened, by seat: whoever has one could else fill the journal.
#[derive(Default)]
pub(super) struct Pace(Mutex<HashMap<String, (f64, Instant)>>);

impl Pace {
    /// Whether this seat's link may be opened now.
    fn take(&self, now: Instant, seat: &str) -> bool {
        let mut seats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refilled = |(left, since): (f64, Instant)| {
            (left + now.duration_since(since).as_secs_f64() * OPENINGS_PER_SECOND).min(OPENINGS_AT_ONCE)
        };
        if seats.len() >= PACED_SEATS_MAX && !seats.contains_key(seat) {
            seats.retain(|_, pace| refilled(*pace) < OPENINGS_AT_ONCE);
            if seats.len() >= PACED_SEATS_MAX {
                return false;
            }
        }
        let left = seats.get(seat).map_or(OPENINGS_AT_ONCE, |pace| refilled(*pace));
        seats.insert(seat.to_owned(), ((left - 1.0).max(0.0), now));
        left >= 1.0
    }
}

/// A seat that does not exist: identifiers have 16 characters.
const NO_SEAT: &str = "-";
/// Reloads of a nervous person; a program that opens one link again and again is stopped.
const OPENINGS_AT_ONCE: f64 = 30.0;
/// An entry of the journal each.
const OPENINGS_PER_SECOND: f64 = 0.5;
/// Seats that are opened within the same minute: far beyond what a server can take in. 100 bytes each.
const PACED_SEATS_MAX: usize = 100_000;
/// A session outlives the longest consultation; a revoked seat's sessions end with its token epoch.
const SESSION_SECONDS: i64 = 12 * 3_600;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_link_is_opened_as_often_as_people_do_and_no_more() {
        let (pace, now) = (Pace::default(), Instant::now());
        let opened = |now: Instant| (0..100).filter(|_| pace.take(now, "seat")).count();
        assert_eq!(opened(now), 30);
        assert_eq!(opened(now + Duration::from_secs(4)), 2);
        assert_eq!(opened(now + Duration::from_secs(3_600)), 30);
        assert!(pace.take(now, "another"));
    }

    #[test]
    fn seats_that_rest_are_forgotten() {
        let (pace, now) = (Pace::default(), Instant::now());
        for seat in 0..PACED_SEATS_MAX {
            assert!(pace.take(now, &seat.to_string()));
        }
        assert!(!pace.take(now, "one more"));
        assert!(pace.take(now + Duration::from_secs(60), "one more"));
        assert_eq!(pace.0.lock().unwrap().len(), 1);
    }
}
