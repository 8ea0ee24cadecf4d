//! A page's visit over its WebSocket: enter, resume, everything it may ask for, leave, and what happens when its socket
//! is lost.
//!
//! The seat outlives the socket: for the grace period it is shown as reconnecting and its media goes on. A visit that
//! was replaced (second tab, reload) can do nothing any more: its generation is not the seat's.

use std::sync::Arc;
use std::time::Instant;

use colloque_signaling::message::{ErrorCode, MediaSource, Resume, ServerMessage};
use colloque_signaling::session::{CloseReason, Request, Standing, Welcome};
use colloque_signaling::token::Purpose;

use crate::ids::SlotId;
use crate::sfu::command::Command;
use crate::store::{Admission, Change, LiveChange, SeatRecord, StoreError, Transaction};
use crate::units::PictureSize;

use super::Consultations;
use super::channel::Wire;
use super::facts::{Actor, Fact};
use super::join::JoinError;
use super::policy;
use super::room::{LiveSeat, Room, RoomState, Sources, Visit};

/// A socket's hold on its seat.
pub struct Attachment {
    pub(super) room: Arc<Room>,
    pub(super) seat: String,
    pub(super) generation: u64,
}

impl Consultations {
    /// Takes a session's seat for this socket: resumes the visit when the ticket allows it, else begins a new one and
    /// replaces the one before.
    pub async fn attach(
        self: &Arc<Self>,
        session: &str,
        resume: Option<&Resume>,
        wire: &Arc<Wire>,
    ) -> Result<Attachment, JoinError> {
        let since = Instant::now();
        let (consultation, record) = self.seat_of_session(session).await?;
        let generation = self.numbers.next();
        for _ in 0..ROOM_TRIES {
            let room = self.open_room(&consultation).await?;
            let mut state = room.lock();
            if state.is_closed() {
                drop(state);
                self.forget(&room);
                continue;
            }
            self.enter(&room, &mut state, &record, resume, wire, Visit::Connected { generation, since });
            drop(state);
            return Ok(Attachment { room, seat: record.id, generation });
        }
        Err(JoinError::Full)
    }

    /// Does what a page asks: due and permitted by its session, checked here against what changed since.
    pub async fn handle(self: &Arc<Self>, visit: &Attachment, request: Request) {
        match request {
            Request::Offer { id, sdp, senders } => self.answer_page(visit, id, &sdp, &senders),
            Request::Admit { seat } => self.host_admits(visit, &seat).await,
            Request::Remove { seat } => self.host_removes(visit, &seat).await,
            Request::Mute { seat, source, muted } => visit.host_mutes(&seat, source, muted),
            Request::End => self.host_ends(visit).await,
            Request::Leave => self.leave(visit),
            Request::View { slot, width, height } => visit.view(slot, PictureSize { width, height }),
            Request::Sending { microphone, camera, screen } => visit.sending(Sources { microphone, camera, screen }),
            Request::Gate { .. }
            | Request::Lock { .. }
            | Request::Invite { .. }
            | Request::HandOver { .. }
            | Request::Aside { .. }
            | Request::Next => visit.refuse(None, ErrorCode::NotPermitted, "not possible here yet"),
            // A session gives one `Join`, which `attach` takes.
            Request::Join { .. } => {}
        }
    }

    /// The socket is gone. The seat is kept for the grace period.
    pub fn detach(self: &Arc<Self>, visit: Attachment) {
        {
            let mut state = visit.room.lock();
            let Some(seat) = visit.current_seat(&mut state) else { return };
            seat.channel.detach();
            seat.visit = Visit::Away { generation: visit.generation };
            state.broadcast_roster();
        }
        let consultations = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(consultations.settings.grace).await;
            consultations.expire(&visit);
        });
    }

    fn expire(&self, visit: &Attachment) {
        let mut state = visit.room.lock();
        let Some(seat) = state.seat(&visit.seat) else { return };
        if seat.visit == (Visit::Away { generation: visit.generation }) {
            state.leave(&visit.seat);
            self.close_if_empty(&visit.room, state);
        }
    }

    /// Admits a waiting seat, in the store and in the live room.
    pub(super) async fn admit(
        &self,
        clinic: &str,
        consultation: &str,
        seat: &str,
        by: Actor,
    ) -> Result<(), StoreError> {
        let waits = self.journal.seat(seat).await?.is_some_and(|(_, seat)| !seat.admission.is_admitted());
        if waits {
            let change = LiveChange::SetAdmission { seat: seat.to_owned(), admission: Admission::Admitted };
            let told = self.journal.entry(Some(clinic), Some(consultation), Some(seat), &Fact::SeatAdmitted { by });
            self.journal.commit(Transaction { changes: vec![Change::Live(change)], entries: vec![told] }).await?;
        }
        if let Some(room) = self.live_room(consultation) {
            room.lock().admit(seat);
        }
        Ok(())
    }

    /// Removes a seat, in the store and in the live room: its links stop working.
    pub(super) async fn remove(
        &self,
        clinic: &str,
        consultation: &str,
        seat: &str,
        by: Actor,
    ) -> Result<(), StoreError> {
        let change = LiveChange::SetAdmission { seat: seat.to_owned(), admission: Admission::Refused };
        let told = self.journal.entry(Some(clinic), Some(consultation), Some(seat), &Fact::SeatRemoved { by });
        self.journal.commit(Transaction { changes: vec![Change::Live(change)], entries: vec![told] }).await?;
        if let Some(room) = self.live_room(consultation) {
            let mut state = room.lock();
            state.remove(seat);
            self.close_if_empty(&room, state);
        }
        Ok(())
    }

    /// Ends a consultation for everyone, in the store and in the live room.
    pub(super) async fn end(&self, clinic: &str, consultation: &str, by: Actor) -> Result<(), StoreError> {
        let (consultation_id, at) = (consultation.to_owned(), super::clock::unix_now());
        // While the store is down it is read in the room's copy whether it is over; else the store says so when it writes.
        let change = if !self.journal.is_behind() {
            Some(Change::EndConsultation { consultation: consultation_id, at })
        } else {
            let found = self.journal.consultation(consultation).await?;
            let running = found.is_some_and(|(record, _)| record.ended_at.is_none());
            running.then_some(Change::Live(LiveChange::End { consultation: consultation_id, at }))
        };
        if let Some(change) = change {
            let told = self.journal.entry(Some(clinic), Some(consultation), None, &Fact::ConsultationEnded { by });
            // Not applicable: it is over already, and that was told.
            self.journal.commit(Transaction { changes: vec![change], entries: vec![told] }).await?;
        }
        if let Some(room) = self.live_room(consultation) {
            room.lock().end();
            self.forget(&room);
        }
        Ok(())
    }

    /// Puts a socket on its seat.
    fn enter(
        &self,
        room: &Room,
        state: &mut RoomState,
        record: &SeatRecord,
        resume: Option<&Resume>,
        wire: &Arc<Wire>,
        visit: Visit,
    ) {
        state.add_seat(record, &room.act, &self.numbers);
        if record.admission.is_admitted() {
            // The store may have learnt it while the room was being made.
            state.admit(&record.id);
        }
        let Some(seat) = state.seat_mut(&record.id) else { return };
        let standing = Standing { admitted: seat.admission.is_admitted(), permissions: seat.permissions };
        let resumed = seat.visit != Visit::Absent
            && resume.is_some_and(|resume| {
                let claims = self.tokens.verify(Purpose::Ticket, &resume.ticket);
                let serial = claims.filter(|claims| claims.seat == seat.id).map(|claims| claims.serial);
                let ticket = || self.sign(Purpose::Ticket, record, serial.unwrap_or(0));
                serial.is_some()
                    && serial == seat.channel.serial()
                    && seat.channel.resume(wire, resume.received, ticket(), standing)
            });
        seat.visit = visit;
        if resumed {
            self.metrics.resumptions.inc();
        } else {
            seat.channel.close(CloseReason::Replaced);
            let serial = self.numbers.next();
            seat.channel.open(wire, serial, self.welcome(room, seat, record, standing, serial));
            for source in seat.silenced.iter() {
                seat.channel.send(ServerMessage::Muted { source, muted: true });
            }
            // The page that had this leg is gone or told to stop; the new one makes its own.
            state.drop_page_leg(&record.id);
        }
        state.broadcast_roster();
    }

    fn welcome(&self, room: &Room, seat: &LiveSeat, record: &SeatRecord, standing: Standing, serial: u64) -> Welcome {
        Welcome {
            seat: seat.id.clone(),
            role: seat.role,
            consultation: room.consultation.clone(),
            language: room.language,
            ticket: self.sign(Purpose::Ticket, record, serial),
            grace_seconds: u32::try_from(self.settings.grace.as_secs()).unwrap_or(u32::MAX),
            standing,
            act: room.act.name.clone(),
            media: policy::media_hints(room.act.media),
        }
    }

    async fn host_admits(&self, visit: &Attachment, seat: &str) {
        if visit.may(|seat| seat.permissions.admit) && visit.knows(seat) {
            let (clinic, consultation) = (&visit.room.clinic, &visit.room.consultation);
            let done = self.admit(clinic, consultation, seat, visit.actor()).await;
            visit.report(done);
        }
    }

    async fn host_removes(&self, visit: &Attachment, seat: &str) {
        if visit.may(|seat| seat.permissions.remove) && visit.knows(seat) {
            let (clinic, consultation) = (&visit.room.clinic, &visit.room.consultation);
            let done = self.remove(clinic, consultation, seat, visit.actor()).await;
            visit.report(done);
        }
    }

    async fn host_ends(&self, visit: &Attachment) {
        if visit.may(|seat| seat.permissions.end) {
            let done = self.end(&visit.room.clinic, &visit.room.consultation, visit.actor()).await;
            visit.report(done);
        }
    }

    fn leave(&self, visit: &Attachment) {
        let mut state = visit.room.lock();
        if visit.current_seat(&mut state).is_some() {
            state.leave(&visit.seat);
            self.close_if_empty(&visit.room, state);
        }
    }
}

impl Attachment {
    /// Tells the page that something it asked cannot be done.
    pub fn refuse(&self, id: Option<u32>, code: ErrorCode, message: &str) {
        let error = ServerMessage::Error { id, code, message: message.to_owned() };
        self.with_seat(|seat| seat.channel.send(error));
    }

    fn actor(&self) -> Actor {
        Actor::Seat(self.seat.clone())
    }

    pub(super) fn current_seat<'a>(&self, state: &'a mut RoomState) -> Option<&'a mut LiveSeat> {
        let is_current = |seat: &&mut LiveSeat| matches!(seat.visit, Visit::Connected { generation, .. } if generation == self.generation);
        state.seat_mut(&self.seat).filter(is_current)
    }

    fn with_seat(&self, act: impl FnOnce(&mut LiveSeat)) {
        if let Some(seat) = self.current_seat(&mut self.room.lock()) {
            act(seat);
        }
    }

    /// Whether the seat is admitted and has the permission; tells the page when not.
    fn may(&self, permission: impl FnOnce(&LiveSeat) -> bool) -> bool {
        let mut may = false;
        self.with_seat(|seat| may = seat.admission.is_admitted() && permission(seat));
        if !may {
            self.refuse(None, ErrorCode::NotPermitted, "this seat may not do that");
        }
        may
    }

    fn knows(&self, seat: &str) -> bool {
        let known = self.room.lock().seat(seat).is_some();
        if !known {
            self.refuse(None, ErrorCode::NotFound, "no such seat");
        }
        known
    }

    fn report(&self, done: Result<(), StoreError>) {
        if let Err(error) = done {
            tracing::error!(%error, "the store does not answer");
            self.refuse(None, ErrorCode::Unavailable, "the store does not answer");
        }
    }

    fn host_mutes(&self, seat: &str, source: MediaSource, muted: bool) {
        if self.may(|seat| seat.permissions.mute) && !self.room.lock().mute(seat, source, muted) {
            self.refuse(None, ErrorCode::NotFound, "no such seat");
        }
    }

    fn view(&self, slot: u16, size: PictureSize) {
        let leg = {
            let mut state = self.room.lock();
            let Some(seat) = self.current_seat(&mut state) else { return };
            seat.page_leg.as_ref().map(|page| (page.leg, page.negotiation.slots.iter().any(|s| s.slot.0 == slot)))
        };
        match leg {
            Some((leg, true)) => self.room.port.send_lossy(Command::SetView { leg, slot: SlotId(slot), size }),
            Some((_, false)) => self.refuse(None, ErrorCode::NotFound, "no such slot"),
            None => self.refuse(None, ErrorCode::OutOfOrder, "no media connection yet"),
        }
    }

    fn sending(&self, sending: Sources) {
        let mut state = self.room.lock();
        let Some(seat) = self.current_seat(&mut state) else { return };
        let sending = sending.within(seat.permissions);
        if seat.sending != sending {
            seat.sending = sending;
            state.broadcast_roster();
        }
    }
}

/// A room that closes while somebody enters is opened again; more tries than this means that it keeps failing.
const ROOM_TRIES: usize = 3;
