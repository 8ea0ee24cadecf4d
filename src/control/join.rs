//! From a link to a place in a live room: `POST /v1/join`, and what a socket or an endpoint needs before it may begin.
//!
//! A token that is forged, unknown, expired or revoked gives one and the same error. Everything else is told only to
//! whoever proved a good token.

use std::sync::Arc;

use colloque_signaling::message::{Language, Role};
use colloque_signaling::token::Purpose;
use dashmap::Entry;

use crate::acts;
use crate::ids::RoomId;
use crate::sfu::command::Command;
use crate::store::{Admission, Change, ConsultationRecord, LiveChange, SeatRecord, StoreError, Transaction};
use crate::worker::WorkerId;

use super::booking::{language_from_name, sha256};
use super::facts::{Cause, Device, Fact};
use super::room::{Founding, MediaPort, Room};
use super::tokens::Subject;
use super::{Consultations, clock};

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
            JoinError::Removed => "seat-removed",
            JoinError::Over => "consultation-over",
            JoinError::Declined => "seat-declined",
            JoinError::NotAdmitted => "not-admitted",
            JoinError::Locked => "room-locked",
            JoinError::GatesPending => "gates-pending",
            JoinError::LoginRequired => "login-required",
            JoinError::Draining => "draining",
            JoinError::Full => "full",
            JoinError::Store(_) => "store-unavailable",
        }
    }

    /// The one cause that the record names; nothing when whoever asked proved nothing.
    pub(super) fn cause(&self) -> Option<Cause> {
        match self {
            JoinError::Token => None,
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
    /// Exchanges a link's token for a session. `device` is a random identifier that the browser keeps; a link that
    /// is opened on another device than the first takes its seat back to the waiting room.
    pub async fn join(&self, token: &str, device: &str) -> Result<Joined, JoinError> {
        let outcome = self.join_inner(token, device).await;
        self.metrics.count_join(outcome.as_ref().map_or_else(JoinError::label, |_| "ok"));
        outcome
    }

    async fn join_inner(&self, token: &str, device: &str) -> Result<Joined, JoinError> {
        let (consultation, mut seat) = self.seat_of_token(token).await?;
        self.check_device(&consultation, &mut seat, device).await?;
        Ok(Joined {
            session: self.sign(Purpose::Session, &seat, 0),
            role: acts::role_from_name(&seat.role).unwrap_or(Role::Guest),
            act: consultation.act,
            language: language_from_name(&consultation.language),
            admitted: seat.admission.is_admitted(),
            seat: seat.id,
            consultation: consultation.id,
        })
    }

    /// The seat a session belongs to.
    pub(super) async fn seat_of_session(&self, session: &str) -> Result<(ConsultationRecord, SeatRecord), JoinError> {
        let claims = self.tokens.verify(Purpose::Session, session).ok_or(JoinError::Token)?;
        self.open_seat(&claims.seat, claims.epoch).await
    }

    /// The seat a link's token belongs to, for WHIP and WHEP: the token is not consumed.
    pub(super) async fn seat_of_token(&self, token: &str) -> Result<(ConsultationRecord, SeatRecord), JoinError> {
        let claims = self.tokens.verify(Purpose::Link, token).ok_or(JoinError::Token)?;
        self.open_seat(&claims.seat, claims.epoch).await
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

    async fn open_seat(&self, id: &str, epoch: u32) -> Result<(ConsultationRecord, SeatRecord), JoinError> {
        let (consultation, seat) = self.journal.seat(id).await?.ok_or(JoinError::Token)?;
        if seat.token_epoch != epoch {
            return Err(JoinError::Token);
        }
        let refusal = match seat.admission {
            _ if consultation.ended_at.is_some() => JoinError::Over,
            Admission::Declined => JoinError::Declined,
            Admission::Refused => JoinError::Removed,
            Admission::Waiting | Admission::Admitted | Admission::Direct => return Ok((consultation, seat)),
        };
        self.record_failed_join(&consultation, &seat.id, &refusal);
        Err(refusal)
    }

    async fn check_device(
        &self,
        consultation: &ConsultationRecord,
        seat: &mut SeatRecord,
        device: &str,
    ) -> Result<(), JoinError> {
        let device = sha256(device.as_bytes());
        if seat.device == Some(device) {
            return Ok(());
        }
        let told = Fact::SeatOpened { device: if seat.device.is_some() { Device::Other } else { Device::First } };
        let goes_back = seat.device.is_some() && seat.admission == Admission::Admitted;
        let other = seat.other_device || goes_back;
        let mut changes = vec![Change::Live(LiveChange::SetDevice { seat: seat.id.clone(), device, other })];
        if goes_back {
            seat.admission = Admission::Waiting;
            changes
                .push(Change::Live(LiveChange::SetAdmission { seat: seat.id.clone(), admission: Admission::Waiting }));
        }
        let (clinic, consultation_id) = (Some(consultation.clinic.as_str()), Some(consultation.id.as_str()));
        let entries = vec![self.journal.entry(clinic, consultation_id, Some(&seat.id), &told)];
        self.journal.commit(Transaction { changes, entries }).await?;
        (seat.device, seat.other_device) = (Some(device), other);
        if goes_back {
            if let Some(room) = self.live_room(&consultation.id) {
                room.lock().move_device(&seat.id, true);
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
                let founding = Founding { port, act, consultation: &consultation, seats: &seats, journal, lines };
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

/// A session outlives the longest consultation; a revoked seat's sessions end with its token epoch.
const SESSION_SECONDS: i64 = 12 * 3_600;
