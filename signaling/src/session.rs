//! One page's conversation on one WebSocket, as a value: text frames in, [`Request`]s and text frames out.
//!
//! It decides what may be said when, and how much; who may come in and what happens then is the control plane's. It
//! reads no clock and does no I/O. When the socket is lost, the [`Outbox`] goes on living with the seat and
//! is handed to the next socket's session.
//!
//! ```text
//! AwaitingJoin --join--> Joining --welcome/resume--> Waiting --admit--> Admitted
//!       \___________________\_____________________________\________________\----> Closed
//! ```

mod close_reason;
mod request;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::limits::{
    FRAME_BYTES_MAX, JOIN_WAIT_MAX, OFFER_COST, RateLimit, SDP_BYTES_MAX, SENDERS_MAX, SILENCE_MAX,
    SMALL_FRAME_BYTES_MAX,
};
use crate::message::{
    ClientMessage, ErrorCode, Language, MediaHints, Permissions, Resume, Role, SenderInfo, ServerMessage, VERSION,
};
use crate::outbox::{Outbox, frame};

pub use close_reason::CloseReason;
pub use request::Request;

/// Frames waiting for a slow socket before it is closed; the page then resumes.
pub const TRANSMIT_MAX: usize = 512;

/// What the control plane grants a seat that joins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Past the waiting room and every gate.
    pub admitted: bool,
    /// What it may do.
    pub permissions: Permissions,
}

/// The facts of a `welcome`. No `Debug`: it holds a ticket.
#[derive(Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Own seat.
    pub seat: String,
    /// Own role.
    pub role: Role,
    /// Consultation's public identifier.
    pub consultation: String,
    /// Language the clinic chose.
    pub language: Language,
    /// For coming back.
    pub ticket: String,
    /// How long the seat is kept without a connection.
    pub grace_seconds: u32,
    /// What the seat is granted.
    pub standing: Standing,
    /// Which act, by name.
    pub act: String,
    /// How media begins.
    pub media: MediaHints,
}

/// See the module's head. No `Debug`: frames hold names and tickets.
pub struct Session {
    state: State,
    outbox: Outbox,
    transmit: VecDeque<Arc<str>>,
    rate: RateLimit,
    /// When the socket opened, until it has joined; then when the page was last heard.
    heard: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    AwaitingJoin,
    Joining,
    Waiting,
    Admitted(Permissions),
    Closed(CloseReason),
}

impl Session {
    /// A socket that has just opened.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            state: State::AwaitingJoin,
            outbox: Outbox::default(),
            transmit: VecDeque::new(),
            rate: RateLimit::new(now),
            heard: now,
        }
    }

    /// A text frame from the page. What it asks of the control plane, when it is due and permitted.
    pub fn handle_text(&mut self, now: Instant, text: &str) -> Option<Request> {
        if matches!(self.state, State::Closed(_)) {
            return None;
        }
        if !self.rate.take(now, 1.0) {
            self.close_with_error(CloseReason::TooMany, ErrorCode::TooMany, "too many messages");
            return None;
        }
        match read(text) {
            Ok(message) => self.dispatch(now, message),
            Err(why) => {
                self.complain(ErrorCode::BadMessage, why);
                None
            }
        }
    }

    /// A frame that is not text: the protocol has none.
    pub fn handle_binary(&mut self, now: Instant) {
        if self.closed().is_some() {
            return;
        }
        if self.rate.take(now, 1.0) {
            self.complain(ErrorCode::BadMessage, "only text frames are spoken here");
        } else {
            self.close_with_error(CloseReason::TooMany, ErrorCode::TooMany, "too many messages");
        }
    }

    /// Closes a socket that never joined or fell silent.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        match self.state {
            State::AwaitingJoin => {
                let reason = CloseReason::Refused(ErrorCode::OutOfOrder);
                self.close_with_error(reason, ErrorCode::OutOfOrder, "no `join` came");
            }
            _ => self.state = State::Closed(CloseReason::Lost),
        }
    }

    /// When [`Session::handle_timeout`] wants to be called; `None` once closed.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::AwaitingJoin => Some(self.heard + JOIN_WAIT_MAX),
            State::Joining | State::Waiting | State::Admitted(_) => Some(self.heard + SILENCE_MAX),
            State::Closed(_) => None,
        }
    }

    /// The next text frame to send. Drain it also after [`Session::closed`] says so: the reason is among them.
    pub fn poll_transmit(&mut self) -> Option<Arc<str>> {
        self.transmit.pop_front()
    }

    /// Why the socket is to be closed, once it is.
    #[must_use]
    pub fn closed(&self) -> Option<CloseReason> {
        match self.state {
            State::Closed(reason) => Some(reason),
            _ => None,
        }
    }

    /// Accepts the `join` as a fresh start.
    pub fn welcome(&mut self, welcome: Welcome) {
        if self.state != State::Joining {
            return;
        }
        self.state = State::joined(welcome.standing);
        let Welcome { seat, role, consultation, language, ticket, grace_seconds, standing, act, media } = welcome;
        let Standing { admitted, permissions } = standing;
        self.send(ServerMessage::Welcome {
            seat,
            role,
            consultation,
            language,
            ticket,
            grace_seconds,
            admitted,
            permissions,
            act,
            media,
        });
    }

    /// Accepts the `join` as a resumption: `kept` is the outbox of the seat's last session, `received` what the page
    /// has read of it. False when too much was forgotten: send a [`Session::welcome`] instead.
    #[must_use]
    pub fn resume(&mut self, kept: Outbox, received: u32, ticket: String, standing: Standing) -> bool {
        if self.state != State::Joining {
            return false;
        }
        let Some(missed) = kept.after(received) else { return false };
        self.state = State::joined(standing);
        // Not kept, because its number would stand before those it announces; the old ticket still works.
        self.transmit.push_back(frame(0, ServerMessage::Resumed { ticket }));
        self.transmit.extend(missed);
        self.outbox = kept;
        let acknowledged = self.outbox.handle_ack(received);
        debug_assert!(acknowledged, "`after` found the number");
        true
    }

    /// Refuses the `join`; the socket closes.
    pub fn refuse(&mut self, code: ErrorCode, message: &str) {
        if self.state == State::Joining {
            self.close_with_error(CloseReason::Refused(code), code, message);
        }
    }

    /// Lets the seat past the waiting room.
    pub fn admit(&mut self, permissions: Permissions) {
        if self.state == State::Waiting {
            self.state = State::Admitted(permissions);
            self.send(ServerMessage::Admitted);
        }
    }

    /// Changes what an admitted seat may do, and tells its page.
    pub fn set_permissions(&mut self, permissions: Permissions) {
        if let State::Admitted(granted) = &mut self.state
            && *granted != permissions
        {
            *granted = permissions;
            self.send(ServerMessage::Permissions { permissions });
        }
    }

    /// Sends a message to the page; nothing before `welcome` and after the end.
    pub fn send(&mut self, message: ServerMessage) {
        if !matches!(self.state, State::Waiting | State::Admitted(_)) {
            return;
        }
        let frame = self.outbox.push(message);
        if self.transmit.len() >= TRANSMIT_MAX {
            self.transmit.clear();
            self.state = State::Closed(CloseReason::Lost);
        } else {
            self.transmit.push_back(frame);
        }
    }

    /// Tells the page that it is over for it, and why. What has a message of its own tells it.
    pub fn close(&mut self, reason: CloseReason) {
        if self.closed().is_some() {
            return;
        }
        match reason {
            // A page that comes back to a seat which it has lost is told so before it has joined.
            CloseReason::MovedDevice if self.state == State::Joining => {
                self.transmit.push_back(frame(0, ServerMessage::MovedDevice));
            }
            CloseReason::Replaced => self.send(ServerMessage::Replaced),
            CloseReason::Removed => self.send(ServerMessage::Removed),
            CloseReason::Ended => self.send(ServerMessage::Ended),
            CloseReason::MovedDevice => self.send(ServerMessage::MovedDevice),
            CloseReason::Declined(choice) => self.send(ServerMessage::Declined { choice }),
            CloseReason::Next
            | CloseReason::Left
            | CloseReason::Refused(_)
            | CloseReason::TooMany
            | CloseReason::Lost => {}
        }
        self.state = State::Closed(reason);
    }

    /// What the page may still have to read, for the seat's next session. Push to it while the page is away.
    #[must_use]
    pub fn into_outbox(self) -> Outbox {
        self.outbox
    }

    /// The one place that says what may be said when.
    fn dispatch(&mut self, now: Instant, message: ClientMessage) -> Option<Request> {
        use ClientMessage as M;
        if !matches!(self.state, State::AwaitingJoin) {
            self.heard = now;
        }
        let granted = match self.state {
            State::Admitted(permissions) => permissions,
            _ => Permissions::default(),
        };
        match (self.state, message) {
            (State::Closed(_), _) => None,
            (State::AwaitingJoin, M::Join { version, session, resume }) => self.join(now, version, session, resume),
            (State::Joining | State::Waiting | State::Admitted(_), M::Ping { id }) => self.pong(id),

            (State::AwaitingJoin | State::Joining, _) => self.out_of_order("the first message is `join`"),
            (_, M::Join { .. }) => self.out_of_order("this socket has joined already"),
            (_, M::Ack { received }) => self.ack(received),
            (_, M::Leave) => {
                self.state = State::Closed(CloseReason::Left);
                Some(Request::Leave)
            }
            (_, M::Gate { answer }) => Some(Request::Gate { answer }),
            (_, M::Sending { microphone, camera, screen }) => Some(Request::Sending { microphone, camera, screen }),
            // Whoever waits may do it by telephone. Whose telephone it is, the control plane looks at.
            (_, M::Call { seat, encryption_ends }) => Some(Request::Call { seat, encryption_ends }),
            (_, M::HangUp { seat }) => Some(Request::HangUp { seat }),

            (State::Waiting, _) => self.out_of_order("the seat is not admitted yet"),
            (State::Admitted(_), M::Offer { id, sdp, senders }) => self.offer(now, id, sdp, senders),
            (State::Admitted(_), M::View { slot, width, height }) => Some(Request::View { slot, width, height }),
            (State::Admitted(_), M::Admit { seat, arrival }) => {
                self.permitted(granted.admit, Request::Admit { seat, arrival })
            }
            (State::Admitted(_), M::Remove { seat }) => self.permitted(granted.remove, Request::Remove { seat }),
            (State::Admitted(_), M::Mute { seat, source, muted }) => {
                self.permitted(granted.mute, Request::Mute { seat, source, muted })
            }
            // Whoever may open the door may also lock it.
            (State::Admitted(_), M::Lock { locked }) => self.permitted(granted.admit, Request::Lock { locked }),
            (State::Admitted(_), M::Invite { role, display_name }) => {
                self.permitted(granted.invite, Request::Invite { role, display_name })
            }
            (State::Admitted(_), M::HandOver { to, reason }) => {
                self.permitted(granted.hand_over, Request::HandOver { to, reason })
            }
            (State::Admitted(_), M::Aside { on }) => self.permitted(granted.aside, Request::Aside { on }),
            (State::Admitted(_), M::Next) => self.permitted(granted.end, Request::Next),
            (State::Admitted(_), M::End) => self.permitted(granted.end, Request::End),
        }
    }

    fn join(&mut self, now: Instant, version: u16, session: String, resume: Option<Resume>) -> Option<Request> {
        if version != VERSION {
            let reason = CloseReason::Refused(ErrorCode::BadVersion);
            self.close_with_error(reason, ErrorCode::BadVersion, "this server speaks version 1");
            return None;
        }
        self.state = State::Joining;
        self.heard = now;
        Some(Request::Join { session, resume })
    }

    fn offer(&mut self, now: Instant, id: u32, sdp: String, senders: Vec<SenderInfo>) -> Option<Request> {
        if !self.rate.take(now, OFFER_COST) {
            self.close_with_error(CloseReason::TooMany, ErrorCode::TooMany, "too many offers");
            return None;
        }
        if sdp.len() > SDP_BYTES_MAX || senders.len() > SENDERS_MAX {
            let message = "an offer has at most 256 KiB of SDP and 8 senders".to_owned();
            self.send(ServerMessage::Error { id: Some(id), code: ErrorCode::BadOffer, message });
            return None;
        }
        Some(Request::Offer { id, sdp, senders })
    }

    fn ack(&mut self, received: u32) -> Option<Request> {
        if self.outbox.handle_ack(received) { None } else { self.out_of_order("that number was never sent") }
    }

    fn pong(&mut self, id: u32) -> Option<Request> {
        if self.transmit.len() < TRANSMIT_MAX {
            self.transmit.push_back(frame(0, ServerMessage::Pong { id }));
        }
        None
    }

    fn permitted(&mut self, granted: bool, request: Request) -> Option<Request> {
        if granted {
            return Some(request);
        }
        self.complain(ErrorCode::NotPermitted, "this seat may not do that");
        None
    }

    fn out_of_order(&mut self, why: &str) -> Option<Request> {
        self.complain(ErrorCode::OutOfOrder, why);
        None
    }

    /// An error that a member may go on after; a stranger may not.
    fn complain(&mut self, code: ErrorCode, message: &str) {
        match self.state {
            State::AwaitingJoin => self.close_with_error(CloseReason::Refused(code), code, message),
            State::Joining => self.transmit.push_back(frame(0, error(code, message))),
            State::Waiting | State::Admitted(_) => self.send(error(code, message)),
            State::Closed(_) => {}
        }
    }

    fn close_with_error(&mut self, reason: CloseReason, code: ErrorCode, message: &str) {
        self.transmit.push_back(frame(0, error(code, message)));
        self.state = State::Closed(reason);
    }
}

impl State {
    fn joined(standing: Standing) -> Self {
        match standing.admitted {
            true => State::Admitted(standing.permissions),
            false => State::Waiting,
        }
    }
}

fn error(code: ErrorCode, message: &str) -> ServerMessage {
    ServerMessage::Error { id: None, code, message: message.to_owned() }
}

/// The reason is for developers; serde's own would repeat what was sent.
fn read(text: &str) -> Result<ClientMessage, &'static str> {
    if text.len() > FRAME_BYTES_MAX {
        return Err("a frame has at most 288 KiB");
    }
    let message = serde_json::from_str(text).map_err(|_| "not a message of this protocol version")?;
    if text.len() > SMALL_FRAME_BYTES_MAX && !matches!(message, ClientMessage::Offer { .. }) {
        return Err("only offers may be longer than 4 KiB");
    }
    Ok(message)
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
