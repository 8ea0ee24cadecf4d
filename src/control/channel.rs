//! A seat's stream of server messages: on the session of the socket that is open now, or kept for the next one.
//!
//! The protocol's rules are `signaling::Session`'s; here is only who holds it. A [`Wire`] is one socket's session,
//! shared between the socket's task and the room: neither waits for the other beyond a short lock, always taken after
//! the room's. A session that has closed (too slow, silent) hands its unread messages back, so that the page's next
//! socket gets them: nothing sent while the socket was away is lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use colloque_signaling::message::{Permissions, ServerMessage};
use colloque_signaling::outbox::Outbox;
use colloque_signaling::session::{CloseReason, Session, Standing, Welcome};
use tokio::sync::Notify;

/// One socket's session.
pub struct Wire {
    session: Mutex<Session>,
    wake: Notify,
}

impl Wire {
    /// For a socket that has just opened.
    #[must_use]
    pub fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self { session: Mutex::new(Session::new(now)), wake: Notify::new() })
    }

    /// The session. Never held across an await, nor while a room's lock is taken.
    pub fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when the room changed the session: something to send, or to close.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }

    fn change<T>(&self, change: impl FnOnce(&mut Session) -> T) -> T {
        let changed = change(&mut self.session());
        self.wake.notify_one();
        changed
    }

    /// Takes the unread messages out of a session; what remains is an unjoined one that never joins.
    fn take_outbox(&self, reason: CloseReason) -> Outbox {
        let mut session = self.session();
        session.close(reason);
        let mut closed = Session::new(Instant::now());
        while let Some(frame) = session.poll_transmit() {
            drop(frame);
        }
        closed.close(reason);
        std::mem::replace(&mut *session, closed).into_outbox()
    }
}

/// See the module.
#[derive(Default)]
pub(super) enum Channel {
    /// No visit: nothing is sent or kept.
    #[default]
    Shut,
    /// A socket is open.
    Open { wire: Arc<Wire>, serial: u64 },
    /// The socket is gone; messages wait for the next one.
    Kept { outbox: Outbox, serial: u64 },
}

impl Channel {
    /// Begins afresh on this socket: nothing from before can be resumed.
    pub(super) fn open(&mut self, wire: &Arc<Wire>, serial: u64, welcome: Welcome) {
        wire.change(|session| session.welcome(welcome));
        *self = Channel::Open { wire: Arc::clone(wire), serial };
    }

    /// Which visit may be resumed.
    pub(super) fn serial(&self) -> Option<u64> {
        match self {
            Channel::Shut => None,
            Channel::Open { serial, .. } | Channel::Kept { serial, .. } => Some(*serial),
        }
    }

    /// Goes on with this socket after `received`. False when too much was forgotten: then the visit starts over.
    pub(super) fn resume(&mut self, wire: &Arc<Wire>, received: u32, ticket: String, standing: Standing) -> bool {
        let Some(serial) = self.serial() else { return false };
        self.detach();
        let Channel::Kept { outbox, .. } = std::mem::take(self) else { return false };
        let resumed = wire.change(|session| session.resume(outbox, received, ticket, standing));
        if resumed {
            *self = Channel::Open { wire: Arc::clone(wire), serial };
        }
        resumed
    }

    /// Sends a message, or keeps it for the next socket.
    pub(super) fn send(&mut self, message: ServerMessage) {
        if let Channel::Open { wire, .. } = self
            && wire.session().closed().is_some()
        {
            self.detach();
        }
        match self {
            Channel::Shut => {}
            Channel::Open { wire, .. } => wire.change(|session| session.send(message)),
            Channel::Kept { outbox, .. } => {
                outbox.push(message);
            }
        }
    }

    /// Lets the seat past the waiting room.
    pub(super) fn admit(&mut self, permissions: Permissions) {
        match self {
            Channel::Open { wire, .. } if wire.session().closed().is_none() => {
                wire.change(|session| session.admit(permissions));
            }
            Channel::Open { .. } | Channel::Kept { .. } => self.send(ServerMessage::Admitted),
            Channel::Shut => {}
        }
    }

    /// Changes what an admitted seat may do.
    pub(super) fn set_permissions(&mut self, permissions: Permissions) {
        match self {
            Channel::Open { wire, .. } if wire.session().closed().is_none() => {
                wire.change(|session| session.set_permissions(permissions));
            }
            Channel::Open { .. } | Channel::Kept { .. } => self.send(ServerMessage::Permissions { permissions }),
            Channel::Shut => {}
        }
    }

    /// The socket is gone or will not be heard any more; what was not read is kept.
    pub(super) fn detach(&mut self) {
        if let Channel::Open { wire, serial } = self {
            let (outbox, serial) = (wire.take_outbox(CloseReason::Lost), *serial);
            wire.wake.notify_one();
            *self = Channel::Kept { outbox, serial };
        }
    }

    /// Tells the page that it is over, closes its socket and forgets the visit.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if let Channel::Open { wire, .. } = self {
            wire.change(|session| session.close(reason));
        }
        *self = Channel::Shut;
    }
}
