//! A page's visit over its WebSocket: enter, resume, what it asks for itself, leave, and what happens when its socket is lost.
//!
//! The seat outlives the socket: for the grace period it is shown as reconnecting and its media goes on. A visit that
//! was replaced (second tab, reload) can do nothing any more: its generation is not the seat's. Not here: what it asks of others
//! (`hosting`).

use std::sync::Arc;
use std::time::Instant;

use colloque_signaling::message::{ErrorCode, Permissions, Resume, ServerMessage};
use colloque_signaling::session::{CloseReason, Request, Standing, Welcome};
use colloque_signaling::token::Purpose;

use crate::ids::SlotId;
use crate::sfu::command::Command;
use crate::store::{Admission, SeatRecord, StoreError};
use crate::units::PictureSize;

use super::Consultations;
use super::channel::Wire;
use super::facts::{Actor, Cause, Departure};
use super::join::JoinError;
use super::policy;
use super::room::{Room, RoomState};
use super::seat::{LiveSeat, Sources, Told, Visit};

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
            let opened = self.open_room(&consultation).await;
            let room = opened.inspect_err(|error| self.record_failed_join(&consultation, &record.id, error))?;
            let mut state = room.lock();
            if state.is_closed() {
                drop(state);
                self.forget(&room);
                continue;
            }
            let visit = Visit::Connected { generation, since };
            let entered = self.enter(&room, &mut state, &record, resume, wire, visit);
            drop(state);
            entered.inspect_err(|error| self.record_failed_join(&consultation, &record.id, error))?;
            return Ok(Attachment { room, seat: record.id, generation });
        }
        Err(JoinError::Full)
    }

    /// Does what a page asks: due and permitted by its session, checked here against what changed since.
    pub async fn handle(self: &Arc<Self>, visit: &Attachment, request: Request) {
        match request {
            Request::Offer { id, sdp, senders } => self.answer_page(visit, id, &sdp, &senders),
            Request::View { slot, width, height } => visit.view(slot, PictureSize { width, height }),
            Request::Sending { microphone, camera, screen } => visit.sending(Sources { microphone, camera, screen }),
            Request::Gate { answer } => {
                visit.answers(&answer);
                self.close_if_empty(&visit.room, visit.room.lock());
            }
            Request::Leave => self.leave(visit),
            Request::Admit { seat, arrival } => self.host_admits(visit, &seat, arrival),
            Request::Remove { seat } => self.host_removes(visit, &seat),
            Request::Mute { seat, source, muted } => visit.host_mutes(&seat, source, muted),
            Request::Lock { locked } => visit.host_locks(locked),
            Request::Invite { role, display_name } => self.host_invites(visit, role, display_name).await,
            Request::HandOver { to, reason } => visit.host_hands_over(&to, reason),
            Request::Aside { on } => visit.sets_aside(on),
            Request::Call { seat, encryption_ends } => self.page_calls(visit, &seat, encryption_ends).await,
            Request::HangUp { seat } => self.page_hangs_up(visit, &seat),
            Request::Next => self.host_goes_on(visit).await,
            Request::End => self.host_ends(visit),
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
            seat.visit = Visit::Away { generation: visit.generation, since: Instant::now() };
            state.settle();
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
        if matches!(seat.visit, Visit::Away { generation, .. } if generation == visit.generation) {
            if seat.stage.is_inside() {
                state.tell_incident(&visit.seat, Cause::ConnectionLost, Instant::now());
            }
            state.leave(&visit.seat, Departure::Lost);
            self.close_if_empty(&visit.room, state);
        }
    }

    /// Puts a socket on its seat. The room has the last word on it: the record was read before.
    fn enter(
        &self,
        room: &Room,
        state: &mut RoomState,
        record: &SeatRecord,
        resume: Option<&Resume>,
        wire: &Arc<Wire>,
        visit: Visit,
    ) -> Result<(), JoinError> {
        state.add_seat(record, &self.numbers);
        let Some(seat) = state.seat_mut(&record.id) else { return Err(JoinError::Token) };
        match seat.admission {
            Admission::Refused => return Err(JoinError::Removed),
            Admission::Declined => return Err(JoinError::Declined),
            Admission::Waiting | Admission::Admitted | Admission::Direct => {}
        }
        let standing = Standing { admitted: seat.stage.is_inside(), permissions: seat.permissions() };
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
            seat.told = Told { inside: standing.admitted, permissions: standing.permissions, ..Told::default() };
            for source in seat.shut.silenced.iter() {
                seat.channel.send(ServerMessage::Muted { source, muted: true });
            }
            // The page that had this leg is gone or told to stop; the new one makes its own.
            state.drop_page_leg(&record.id);
        }
        state.settle();
        Ok(())
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

    fn leave(&self, visit: &Attachment) {
        let mut state = visit.room.lock();
        if visit.current_seat(&mut state).is_some() {
            state.leave(&visit.seat, Departure::Left);
            self.close_if_empty(&visit.room, state);
        }
    }
}

impl Attachment {
    /// Tells the page that something it asked cannot be done.
    pub fn refuse(&self, id: Option<u32>, code: ErrorCode, message: &str) {
        let error = ServerMessage::Error { id, code, message: message.to_owned() };
        self.tell(error);
    }

    pub(super) fn current_seat<'a>(&self, state: &'a mut RoomState) -> Option<&'a mut LiveSeat> {
        let is_current = |seat: &&mut LiveSeat| matches!(seat.visit, Visit::Connected { generation, .. } if generation == self.generation);
        state.seat_mut(&self.seat).filter(is_current)
    }

    pub(super) fn actor(&self) -> Actor {
        Actor::Seat(self.seat.clone())
    }

    /// Sends a message to this page alone.
    pub(super) fn tell(&self, message: ServerMessage) {
        self.with_seat(|seat| seat.channel.send(message));
    }

    fn with_seat(&self, act: impl FnOnce(&mut LiveSeat)) {
        if let Some(seat) = self.current_seat(&mut self.room.lock()) {
            act(seat);
        }
    }

    /// Whether the seat is inside and has the permission; tells the page when not.
    pub(super) fn may(&self, permission: impl FnOnce(&Permissions) -> bool) -> bool {
        let may = self.has(permission);
        if !may {
            self.refuse(None, ErrorCode::NotPermitted, "this seat may not do that");
        }
        may
    }

    /// Whether the seat is inside and has the permission. The page is not told.
    pub(super) fn has(&self, permission: impl FnOnce(&Permissions) -> bool) -> bool {
        let mut has = false;
        self.with_seat(|seat| has = seat.stage.is_inside() && permission(&seat.permissions()));
        has
    }

    pub(super) fn knows(&self, seat: &str) -> bool {
        let known = self.room.lock().seat(seat).is_some();
        if !known {
            self.refuse(None, ErrorCode::NotFound, "no such seat");
        }
        known
    }

    pub(super) fn report(&self, error: &StoreError) {
        tracing::error!(%error, "the store does not answer");
        self.refuse(None, ErrorCode::Unavailable, "the store does not answer");
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
        let sending = Some(sending.within(seat.permissions()));
        if seat.sending != sending {
            seat.sending = sending;
            state.settle();
        }
    }
}

/// A room that closes while somebody enters is opened again; more tries than this means that it keeps failing.
const ROOM_TRIES: usize = 3;
