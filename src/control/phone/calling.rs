//! Calls that somebody wants: a page for itself, a host or the clinic for a seat, the ladder when a page is gone.
//!
//! Not here: making them (`telephone`), what they may cost (`budget`). A call that the server made, or that came in, tells what it does
//! by [`Consultations::tell_phone`]: the one place from which journal and pages learn of it.

use std::sync::Arc;

use colloque_signaling::message::{ErrorCode, PhoneCause, PhoneState};

use crate::control::booking::{BookingError, ClinicId, language_from_name};
use crate::control::facts::{Actor, Fact};
use crate::control::metrics::{CallOutcome, NO_TRUNK};
use crate::control::visit::Attachment;
use crate::control::{Consultations, clock};
use crate::pii::Pii;
use crate::store::{ConsultationRecord, SeatRecord, StoreError};

use super::pins::{self, PinFinds};
use super::seat_phone::PhoneOut;
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
        let planned = self.live_room(id).is_some_and(|room| room.lock().call_off(&seat.id));
        let called_off = planned || self.hang_up(&seat.id, PhoneCause::Cancelled);
        Ok(called_off || self.put_phone_out(id, &seat.id, PhoneOut::Cancelled))
    }

    /// Has a seat called. Gives the last digits of the number.
    pub(in crate::control) fn call(
        &self,
        consultation: &ConsultationRecord,
        seat: &SeatRecord,
        by: &Actor,
        encryption_ends: bool,
    ) -> Result<String, PhoneCause> {
        let board = self.phones().ok_or(PhoneCause::SwitchedOff)?;
        let wanted = Wanted { consultation, seat, by, encryption_ends };
        let number = board.call(wanted, language_from_name(&consultation.language)).inspect_err(|cause| {
            self.metrics.count_call("out", NO_TRUNK, CallOutcome::Seat(*cause));
        })?;
        let called = self.told(consultation, Some(&seat.id), &Fact::PhoneCalled { by: by.clone() });
        self.journal.record(Vec::new(), vec![called]);
        Ok(number.ending().to_owned())
    }

    /// Calls off or hangs up a seat's telephone. False when there is none.
    pub(in crate::control) fn hang_up(&self, seat: &str, cause: PhoneCause) -> bool {
        self.phones().is_some_and(|board| board.hang_up(seat, cause))
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
        if let Err(cause) = self.call(&consultation, &record, &visit.actor(), agreed) {
            visit.room.lock().set_phone(seat, PhoneState::Failed, Some(cause));
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
        let (cause, out) = match own && in_room {
            true => (PhoneCause::BackToPage, PhoneOut::BackToPage),
            false => (PhoneCause::Cancelled, PhoneOut::Cancelled),
        };
        if visit.room.lock().call_off(seat) || self.hang_up(seat, cause) {
            return;
        }
        if !visit.room.lock().put_phone_out(seat, out) {
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

    /// A seat's telephone does something else now: tells pages and journal.
    pub fn tell_phone(
        &self,
        consultation: &ConsultationRecord,
        seat: &str,
        state: PhoneState,
        cause: Option<PhoneCause>,
    ) {
        if let Some(fact) = fact_of(state, cause) {
            let entry = self.told(consultation, Some(seat), &fact);
            self.journal.record(Vec::new(), vec![entry]);
        }
        if let Some(board) = self.phones() {
            board.handle_state(seat, state, cause);
        }
        if let Some(room) = self.live_room(&consultation.id) {
            room.lock().set_phone(seat, state, cause);
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
