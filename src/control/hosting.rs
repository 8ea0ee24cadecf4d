//! What those who run a consultation do: admit, remove, lock, invite, hand over, speak apart, see the next one, end.
//!
//! From a page, its session and its seat's rights decide, and the running room acts at once: the journal stores it when it can. From a
//! clinic's API the clinic's key decides, and the answer waits until it is durable. What a host may do by its role is `policy`;
//! what follows in the room is `settle`.

use colloque_signaling::message::{
    ErrorCode, GateAnswer, HandOverReason, MediaSource, PhoneCause, Role, ServerMessage,
};
use colloque_signaling::session::CloseReason;

use crate::pii::Pii;
use crate::store::{Admission, Change, ConsultationRecord, Entry, LiveChange, SeatRecord, StoreError, Transaction};

use super::booking::{BookingError, ClinicId, NewSeat};
use super::facts::{Actor, Departure, Fact};
use super::gates::Misplaced;
use super::hand_over::HandOverRefusal;
use super::queue::{self, Candidate, Identity};
use super::visit::Attachment;
use super::{Consultations, clock, gates, policy};
use crate::acts;

impl Consultations {
    /// Admits a waiting seat.
    pub(super) async fn admit(&self, consultation: &ConsultationRecord, seat: &SeatRecord) -> Result<(), StoreError> {
        if let Some(room) = self.live_room(&consultation.id) {
            room.lock().admit(&seat.id, Actor::Clinic);
            self.journal.flush().await;
            return Ok(());
        }
        if seat.admission.is_admitted() && !seat.other_device {
            return Ok(());
        }
        let change = LiveChange::SetAdmission { seat: seat.id.clone(), admission: Admission::Admitted };
        self.commit_live(consultation, vec![change], Some(&seat.id), &Fact::SeatAdmitted { by: Actor::Clinic }).await
    }

    /// Removes a seat: its links stop working.
    pub(super) async fn remove(&self, consultation: &ConsultationRecord, seat: &SeatRecord) -> Result<(), StoreError> {
        if let Some(room) = self.live_room(&consultation.id) {
            {
                let mut state = room.lock();
                state.remove(&seat.id, Actor::Clinic);
                self.close_if_empty(&room, state);
            }
            self.journal.flush().await;
            return Ok(());
        }
        if seat.admission == Admission::Refused {
            return Ok(());
        }
        let change = LiveChange::SetAdmission { seat: seat.id.clone(), admission: Admission::Refused };
        let removed = &Fact::SeatRemoved { by: Actor::Clinic };
        self.commit_live(consultation, vec![change], Some(&seat.id), removed).await?;
        self.hang_up(&seat.id, PhoneCause::Removed);
        Ok(())
    }

    /// Locks or unlocks a consultation, live or not.
    pub(super) async fn set_locked(&self, consultation: &ConsultationRecord, locked: bool) -> Result<(), StoreError> {
        if let Some(room) = self.live_room(&consultation.id) {
            room.lock().set_locked(locked, Actor::Clinic);
            self.journal.flush().await;
            return Ok(());
        }
        if consultation.locked == locked {
            return Ok(());
        }
        let by = Actor::Clinic;
        let fact = if locked { Fact::Locked { by } } else { Fact::Unlocked { by } };
        let change = LiveChange::SetLocked { consultation: consultation.id.clone(), locked };
        self.commit_live(consultation, vec![change], None, &fact).await
    }

    /// Hands a live consultation from one seat to another.
    pub(super) async fn hand_over(
        &self,
        consultation: &ConsultationRecord,
        from: &str,
        to: &str,
        reason: HandOverReason,
    ) -> Result<(), BookingError> {
        let room = self.live_room(&consultation.id).ok_or(HandOverRefusal::NobodyThere)?;
        room.lock().hand_over(from, to, reason)?;
        self.journal.flush().await;
        Ok(())
    }

    /// Ends a consultation for everyone.
    pub(super) async fn end(&self, consultation: &ConsultationRecord) -> Result<(), StoreError> {
        if let Some(room) = self.live_room(&consultation.id) {
            room.lock().end_for_good(Actor::Clinic);
            self.forget(&room);
            self.journal.flush().await;
            return Ok(());
        }
        let told = self.told(consultation, None, &Fact::ConsultationEnded { by: Actor::Clinic });
        let change = Change::EndConsultation { consultation: consultation.id.clone(), at: clock::unix_now() };
        // Not applicable: it is over already, and that was told.
        self.journal.commit(Transaction { changes: vec![change], entries: vec![told] }).await?;
        // A room that was being opened meanwhile read it as running.
        if let Some(room) = self.live_room(&consultation.id) {
            room.lock().end(Departure::Ended);
            self.forget(&room);
        } else {
            self.hang_up_all(&consultation.id, PhoneCause::Over);
        }
        Ok(())
    }

    async fn commit_live(
        &self,
        consultation: &ConsultationRecord,
        changes: Vec<LiveChange>,
        seat: Option<&str>,
        fact: &Fact,
    ) -> Result<(), StoreError> {
        let entries = vec![self.told(consultation, seat, fact)];
        let changes = changes.into_iter().map(Change::Live).collect();
        self.journal.commit(Transaction { changes, entries }).await?;
        self.catch_up(&consultation.id);
        Ok(())
    }

    /// Lets the live room of a consultation take what was changed beside it.
    pub(super) fn catch_up(&self, consultation: &str) {
        let Some(room) = self.live_room(consultation) else { return };
        let mut state = room.lock();
        if let Some((record, seats)) = self.journal.copy(consultation) {
            state.catch_up(&record, &seats, &self.numbers);
        }
        self.close_if_empty(&room, state);
    }

    pub(super) fn told(&self, consultation: &ConsultationRecord, seat: Option<&str>, fact: &Fact) -> Entry {
        self.journal.entry(Some(&consultation.clinic), Some(&consultation.id), seat, fact)
    }

    /// `arrival`: whom the host saw there; whoever opened the link elsewhere meanwhile is not let in by this.
    pub(super) fn host_admits(&self, visit: &Attachment, seat: &str, arrival: Option<u32>) {
        if !visit.may(|may| may.admit) || !visit.knows(seat) {
            return;
        }
        let mut state = visit.room.lock();
        if state.is_still(seat, arrival) {
            state.admit(seat, visit.actor());
            return;
        }
        drop(state);
        visit.refuse(None, ErrorCode::OutOfOrder, "the seat was opened on another device meanwhile: see the roster");
    }

    pub(super) fn host_removes(&self, visit: &Attachment, seat: &str) {
        if visit.may(|may| may.remove) && visit.knows(seat) {
            let mut state = visit.room.lock();
            state.remove(seat, visit.actor());
            self.close_if_empty(&visit.room, state);
        }
    }

    /// Invites one more seat, whose link only the host who asked gets.
    pub(super) async fn host_invites(&self, visit: &Attachment, role: Role, display_name: Option<String>) {
        if !visit.may(|may| may.invite && policy::may_invite(*may, visit.room.act.rule(role))) {
            return;
        }
        let new = NewSeat { display_name: display_name.map(Pii), ..NewSeat::of(role) };
        let added =
            self.add_seat(&ClinicId(visit.room.clinic.clone()), &visit.room.consultation, new, visit.actor()).await;
        match added {
            Ok(invitation) => {
                let link = invitation.link.0;
                visit.tell(ServerMessage::Invited { seat: invitation.seat, role, link });
            }
            Err(BookingError::Store(error)) => visit.report(&error),
            Err(refusal) => visit.refuse(None, ErrorCode::NotPermitted, &refusal.to_string()),
        }
    }

    pub(super) fn host_ends(&self, visit: &Attachment) {
        if visit.may(|may| may.end) {
            self.end_from(visit, None);
        }
    }

    /// Lets in the first who waits in the next consultation of the queue, ends this one, and sends the host there.
    pub(super) async fn host_goes_on(&self, visit: &Attachment) {
        if !visit.may(|may| may.end) {
            return;
        }
        match self.next_of(visit).await {
            Ok(Some(token)) => self.end_from(visit, Some(token)),
            Ok(None) => visit.tell(ServerMessage::Next { token: None }),
            Err(error) => visit.report(&error),
        }
    }

    /// Ends a consultation by its host's page. `next`: the token with which that page goes on.
    fn end_from(&self, visit: &Attachment, next: Option<String>) {
        let mut state = visit.room.lock();
        if let (Some(seat), Some(token)) = (visit.current_seat(&mut state), next) {
            seat.channel.send(ServerMessage::Next { token: Some(token) });
            seat.channel.close(CloseReason::Next);
        }
        state.end_for_good(visit.actor());
        drop(state);
        self.forget(&visit.room);
    }

    /// The token of the host's own seat in the next consultation of the queue, where the first who waits is let in.
    async fn next_of(&self, visit: &Attachment) -> Result<Option<String>, StoreError> {
        let Some(key) = &visit.room.line else { return Ok(None) };
        let Some((_, host)) = self.journal.seat(&visit.seat).await? else { return Ok(None) };
        let Some(role) = acts::role_from_name(&host.role) else { return Ok(None) };
        let who = identity(&host);
        for place in queue::next_ones(&self.line(key), &visit.room.consultation) {
            let Some((consultation, seats)) = self.journal.consultation(&place.consultation).await? else { continue };
            let open = seats.iter().filter(|seat| seat.admission.is_open());
            let candidates: Vec<Candidate> = open.filter_map(candidate).collect();
            let own = queue::own_seat(role, &who, &candidates).and_then(|own| seats.iter().find(|seat| seat.id == own));
            let (Some(own), Some(room)) = (own, self.live_room(&consultation.id)) else { continue };
            if room.lock().admit_first(&Actor::Seat(own.id.clone())) {
                return Ok(Some(self.invitation(&consultation, own).token.0));
            }
        }
        Ok(None)
    }
}

impl Attachment {
    pub(super) fn host_mutes(&self, seat: &str, source: MediaSource, muted: bool) {
        if self.may(|may| may.mute) && !self.room.lock().mute(seat, source, muted, self.actor()) {
            self.refuse(None, ErrorCode::NotFound, "no such seat");
        }
    }

    pub(super) fn host_locks(&self, locked: bool) {
        if self.may(|may| may.admit) {
            self.room.lock().set_locked(locked, self.actor());
        }
    }

    pub(super) fn host_hands_over(&self, to: &str, reason: HandOverReason) {
        if !self.may(|may| may.hand_over) {
            return;
        }
        let refusal = self.room.lock().hand_over(&self.seat, to, reason).err();
        match refusal {
            None => {}
            Some(refusal @ HandOverRefusal::NoSuchSeat) => {
                self.refuse(None, ErrorCode::NotFound, &refusal.to_string());
            }
            Some(refusal) => self.refuse(None, ErrorCode::NotPermitted, &refusal.to_string()),
        }
    }

    pub(super) fn sets_aside(&self, on: bool) {
        if self.may(|may| may.aside) && !self.room.lock().set_aside(on, &self.seat) {
            self.refuse(None, ErrorCode::OutOfOrder, "an aside takes two professionals");
        }
    }

    pub(super) fn answers(&self, answer: &GateAnswer) {
        let mut state = self.room.lock();
        if self.current_seat(&mut state).is_none() {
            return;
        }
        let misplaced = state.answer(&self.seat, answer).err();
        drop(state);
        match misplaced {
            None => {}
            Some(Misplaced::NotAsked) => self.refuse(None, ErrorCode::OutOfOrder, "this seat is not asked that"),
            Some(Misplaced::Unknown) => self.refuse(None, ErrorCode::NotFound, "no such card or version of the text"),
        }
    }
}

fn candidate(seat: &SeatRecord) -> Option<Candidate> {
    let role = acts::role_from_name(&seat.role)?;
    Some(Candidate { seat: seat.id.clone(), role, who: identity(seat) })
}

fn identity(seat: &SeatRecord) -> Identity {
    let text = |text: &Option<Pii<String>>| text.as_ref().map(|text| text.0.clone());
    let card = gates::card_of_record(acts::role_from_name(&seat.role).unwrap_or(Role::Guest), seat);
    Identity { rpps: card.and_then(|card| card.rpps), email: text(&seat.email), name: text(&seat.display_name) }
}
