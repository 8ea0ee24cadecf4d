//! Calls that somebody wants: a page for itself, a host or the clinic for a seat, the ladder when a page is gone.
//!
//! Not here: making them (`telephone`), what they may cost (`budget`). A call that the server made, or that came in, tells what it does
//! by [`Consultations::tell_phone`]: the one place from which journal and pages learn of it.

use std::sync::Arc;

use colloque_signaling::message::{ErrorCode, PhoneCause, PhoneState};

use crate::control::booking::{BookingError, ClinicId, language_from_name};
use crate::control::facts::{Actor, Fact};
use crate::control::metrics::{CallOutcome, NO_TRUNK};
use crate::control::room::Room;
use crate::control::visit::Attachment;
use crate::control::{Consultations, clock};
use crate::pii::Pii;
use crate::store::{ConsultationRecord, SeatRecord, StoreError};

use super::pins::{self, PinFinds};
use super::seat_phone::{Arrival, PhoneOut};
use super::switchboard::{Switchboard, Wanted};

/// Why a clinic's wish for a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// As for any other wish.
    #[error(transparent)]
    Booking(#[from] BookingError),
    /// The call is not made.
    #[error("the call is not made")]
    Refused(PhoneCause),
}

impl Consultations {
    /// The telephone, on a server that has one.
    #[must_use]
    pub fn phones(&self) -> Option<&Arc<Switchboard>> {
        self.settings.phones.as_ref()
    }

    /// Has a seat called for its clinic. Gives the last digits of the number.
    pub async fn call_by_clinic(
        &self,
        clinic: &ClinicId,
        id: &str,
        seat: &str,
        encryption_ends: bool,
    ) -> Result<String, CallError> {
        let (consultation, seat) = self.own_seat(clinic, id, seat).await?;
        self.call(&consultation, &seat, &Actor::Clinic, encryption_ends).map_err(CallError::Refused)
    }

    /// Calls off or hangs up a seat's telephone for its clinic. False when there is none.
    pub async fn hang_up_by_clinic(&self, clinic: &ClinicId, id: &str, seat: &str) -> Result<bool, CallError> {
        let (_, seat) = self.own_seat(clinic, id, seat).await?;
        Ok(match self.live_room(id) {
            Some(room) => self.hang_up_in(&room, &seat.id, PhoneOut::Cancelled),
            None => self.hang_up(&seat.id, PhoneCause::Cancelled),
        })
    }

    /// Has a seat called, unless a telephone of it is on the line. Gives the last digits of the number.
    pub(in crate::control) fn call(
        &self,
        consultation: &ConsultationRecord,
        seat: &SeatRecord,
        by: &Actor,
        encryption_ends: bool,
    ) -> Result<String, PhoneCause> {
        let board = self.phones().ok_or(PhoneCause::SwitchedOff)?;
        let wanted = Wanted { consultation, seat, by, encryption_ends };
        let room = self.live_room(&consultation.id);
        // Held until the call is in the books: whoever dials in then finds it, and calls it off.
        let state = room.as_ref().map(|room| room.lock());
        let on_line = state.as_ref().and_then(|state| state.seat(&seat.id)?.phone.on_line());
        let called = match on_line {
            Some(_) => Err(PhoneCause::TooManyAtOnce),
            None => board.call(wanted, language_from_name(&consultation.language)),
        };
        drop(state);
        let number = called.inspect_err(|cause| self.metrics.count_call("out", NO_TRUNK, CallOutcome::Seat(*cause)))?;
        let called = self.told(consultation, Some(&seat.id), &Fact::PhoneCalled { by: by.clone() });
        self.journal.record(Vec::new(), vec![called]);
        Ok(number.ending().to_owned())
    }

    /// Calls off or hangs up a call that the server makes for a seat. False when there is none.
    pub(in crate::control) fn hang_up(&self, seat: &str, cause: PhoneCause) -> bool {
        self.phones().is_some_and(|board| board.hang_up(seat, cause))
    }

    /// Calls off the calls that the server makes for a consultation in which nobody is.
    pub(in crate::control) fn hang_up_all(&self, consultation: &str, cause: PhoneCause) {
        if let Some(board) = self.phones() {
            board.hang_up_all(consultation, cause);
        }
    }

    /// Calls off or hangs up the telephones of a seat in its room. False when there is none.
    fn hang_up_in(&self, room: &Room, seat: &str, out: PhoneOut) -> bool {
        {
            let mut state = room.lock();
            let dialled_in = state.seat(seat).and_then(|seat| seat.phone.came()) == Some(Arrival::DialledIn);
            if state.call_off(seat) || (dialled_in && state.put_phone_out(seat, out)) {
                return true;
            }
        }
        // One that we make says goodbye by itself, wherever it is.
        self.hang_up(seat, out.cause()) || room.lock().put_phone_out(seat, out)
    }

    /// A page wants its own telephone called, or a host another's.
    pub(in crate::control) async fn page_calls(&self, visit: &Attachment, seat: &str, encryption_ends: bool) {
        if seat != visit.seat && !(visit.may(|may| may.admit) && visit.knows(seat)) {
            return;
        }
        let found = match self.journal.seat(seat).await {
            Ok(found) => found,
            Err(error) => return visit.report(&error),
        };
        let Some((consultation, record)) = found else { return };
        // That encryption ends is for a host to say, whosever telephone it is.
        let agreed = encryption_ends && visit.has(|may| may.admit);
        if agreed && visit.room.lock().agree_to_phone(seat) {
            return;
        }
        let refused = self.call(&consultation, &record, &visit.actor(), agreed).err();
        // Whoever wants a call that is being made already has it: it did not fail.
        let is_called = self.phones().is_some_and(|board| board.doing(seat).is_some());
        if let Some(cause) = refused.filter(|_| !is_called) {
            visit.room.lock().set_phone(seat, None, PhoneState::Failed, Some(cause));
        }
    }

    /// A page calls off or hangs up its own telephone, or a host another's.
    pub(in crate::control) fn page_hangs_up(&self, visit: &Attachment, seat: &str) {
        let own = seat == visit.seat;
        let may = own || (visit.may(|may| may.admit) && visit.knows(seat));
        if !may {
            return;
        }
        let in_room = visit.room.lock().seat(seat).is_some_and(|seat| seat.stage.is_inside());
        let out = if own && in_room { PhoneOut::BackToPage } else { PhoneOut::Cancelled };
        if !self.hang_up_in(&visit.room, seat, out) {
            visit.refuse(None, ErrorCode::OutOfOrder, "there is no call to hang up");
        }
    }

    /// What a PIN opens now. Whatever it is, the caller may not learn more than whether it opens.
    ///
    /// # Errors
    /// The store does not say, and no consultation with a room has this PIN: that is not the same as a wrong one.
    pub async fn open_pin(&self, digits: &Pii<String>) -> Result<PinFinds, StoreError> {
        let Some(board) = self.phones() else { return Ok(PinFinds::Nothing) };
        let found = self.journal.seats_of_pin(digits).await?;
        let is_live = |consultation: &str| self.live_room(consultation).is_some();
        Ok(pins::open(found, &board.config().pin, clock::unix_now(), is_live))
    }

    /// A seat's telephone does something else now: tells pages and journal. `call`: as its place says, while it has one. A telephone that
    /// is on the line is not told away by another call of its seat.
    pub fn tell_phone(
        &self,
        consultation: &ConsultationRecord,
        seat: &str,
        call: Option<u64>,
        state: PhoneState,
        cause: Option<PhoneCause>,
    ) {
        let room = self.live_room(&consultation.id);
        let counts = room.is_none_or(|room| room.lock().set_phone(seat, call, state, cause));
        // That a call which was made came to nothing stays true.
        if !counts && state != PhoneState::Failed {
            return;
        }
        if let Some(fact) = fact_of(state, cause) {
            let entry = self.told(consultation, Some(seat), &fact);
            self.journal.record(Vec::new(), vec![entry]);
        }
        if let Some(board) = self.phones() {
            board.handle_state(seat, state, cause);
        }
    }

    /// Whether the number that calls in is the one of the file, before it is told that it waits. Nothing when it is not shown.
    pub fn tell_phone_match(&self, consultation: &str, seat: &str, matches_file: Option<bool>) {
        if let Some(room) = self.live_room(consultation) {
            room.lock().set_phone_match(seat, matches_file);
        }
    }
}

/// What is told of a state for good. Dialling is told by whoever wanted it, waiting by the room.
fn fact_of(state: PhoneState, cause: Option<PhoneCause>) -> Option<Fact> {
    match (state, cause) {
        (PhoneState::In | PhoneState::Silent | PhoneState::Lost, Some(PhoneCause::NothingSent)) => {
            Some(Fact::PhoneNothingSent {})
        }
        (PhoneState::Confirming, _) => Some(Fact::PhoneAnswered {}),
        (PhoneState::In, _) => Some(Fact::PhoneJoined {}),
        (PhoneState::Silent, cause) => Some(Fact::PhoneSilent { never_heard: cause == Some(PhoneCause::NoSound) }),
        (PhoneState::Lost, _) => Some(Fact::PhoneLost {}),
        (PhoneState::Left, Some(cause)) => Some(Fact::PhoneLeft { cause }),
        (PhoneState::Failed, Some(cause)) => Some(Fact::PhoneFailed { cause }),
        _ => None,
    }
}
