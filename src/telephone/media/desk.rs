//! Where a call's owner (tokio) and its media thread meet: wishes one way, events the other. Neither ever waits.
//!
//! A wish replaces the one of its kind that was not taken yet: newest wins, and nothing can pile up. Events go through a
//! bounded channel; its end tells that the call's media is over. Not here: what wishes do (`leg`).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use colloque_sound::Codec;
use colloque_sound::key::Key;
use tokio::sync::mpsc;

use crate::ids::PayloadType;
use crate::worker::local::LocalPort;

use super::prompt::{Clip, PlayId};
use super::pulse::Sign;
use super::quality::Mos;
use super::sdes::CryptoLine;

/// What offer and answer agreed on. A later one replaces all of it; numbers and keys that stay the same go on.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where the far end receives sound. Its reports are expected one port above.
    pub remote: SocketAddr,
    /// Whether reports share the sound's port (RFC 5761), as far as the far end is concerned; here both are heard always.
    pub rtcp_mux: bool,
    /// What both speak.
    pub codec: Codec,
    /// Its number, in both directions.
    pub payload_type: PayloadType,
    /// Number of telephone-events (RFC 4733), when agreed.
    pub event_type: Option<PayloadType>,
    /// Keys, when the sound is encrypted.
    pub keys: Option<CallKeys>,
    /// Who sends.
    pub direction: Direction,
}

/// One key for each direction.
#[derive(Clone, Debug)]
pub struct CallKeys {
    /// Under which we send: the line of our own SDP.
    pub ours: CryptoLine,
    /// Under which the far end sends.
    pub theirs: CryptoLine,
}

/// Who sends, seen from here (RFC 3264 section 5.1 and 8.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Both.
    Both,
    /// Only we: the far end listens.
    SendOnly,
    /// Only the far end, which holds the call; its music is nobody's business in the room.
    ReceiveOnly,
    /// Nobody: held.
    Inactive,
}

impl Direction {
    /// Whether we send.
    #[must_use]
    pub fn sends(self) -> bool {
        matches!(self, Direction::Both | Direction::SendOnly)
    }
}

/// What a call's owner learns.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum MediaEvent {
    /// What has become of the telephone's sound.
    Pulse(Sign),
    /// A key was pressed.
    Key(Key, KeyWay),
    /// A fax machine called.
    Fax,
    /// An announcement was played to its end.
    PromptDone(PlayId),
    /// The room's leg is gone: nobody hears the telephone there any more.
    Unplugged,
    /// How the call sounds, every [`super::leg::QUALITY_INTERVAL`].
    Quality(Quality),
}

/// How a key came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KeyWay {
    /// RFC 4733.
    Event,
    /// As tones in the sound.
    InBand,
}

/// The sound of the last interval.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Quality {
    /// What we hear of the telephone.
    pub score_in: Mos,
    /// What the telephone hears of us, as far as its reports tell.
    pub score_out: Mos,
    /// Part of the frames from the telephone that were made up, 0 to 1.
    pub concealed: f64,
    /// Part of our packets that did not get there, as the telephone reports.
    pub lost_out: f64,
    /// How unevenly the telephone's packets come.
    pub jitter: std::time::Duration,
    /// How long packets wait here for the late ones.
    pub buffer: std::time::Duration,
    /// There and back, when the telephone reports.
    pub round_trip: Option<std::time::Duration>,
}

/// What the owner wants and the media thread has not done yet.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) connection: Option<Box<Connection>>,
    pub(super) play: Option<(PlayId, Vec<Clip>)>,
    pub(super) line: Option<LineWish>,
    pub(super) muted: Option<bool>,
    pub(super) waiting_tone: Option<bool>,
    pub(super) alive: bool,
}

/// The line to the room.
pub(super) enum LineWish {
    Attach(LocalPort),
    Detach,
}

/// The owner's end.
pub(super) struct Desk {
    board: Arc<Board>,
}

/// The media thread's end.
pub(super) struct Inbox {
    board: Arc<Board>,
    events: mpsc::Sender<MediaEvent>,
    /// Events that found the channel full.
    lost: u64,
}

#[derive(Default)]
struct Board {
    wishes: Mutex<Wishes>,
    /// Looked at without the lock.
    changed: AtomicBool,
    closed: AtomicBool,
}

/// Both ends of a new call.
pub(super) fn desk() -> (Desk, Inbox, mpsc::Receiver<MediaEvent>) {
    let board = Arc::new(Board::default());
    let (events, receiver) = mpsc::channel(EVENTS_MAX);
    (Desk { board: Arc::clone(&board) }, Inbox { board, events, lost: 0 }, receiver)
}

impl Desk {
    pub(super) fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        // A wish is whole or absent: a panic elsewhere leaves the board usable.
        change(&mut self.board.wishes.lock().unwrap_or_else(PoisonError::into_inner));
        self.board.changed.store(true, Ordering::Release);
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.board.closed.store(true, Ordering::Release);
    }
}

impl Inbox {
    /// Whether the owner has let the call go.
    pub(super) fn is_closed(&self) -> bool {
        self.board.closed.load(Ordering::Acquire)
    }

    /// What is wished for since the last call. When the owner is writing just now, the next frame looks again.
    pub(super) fn take(&self) -> Option<Wishes> {
        if !self.board.changed.load(Ordering::Acquire) {
            return None;
        }
        let mut wishes = match self.board.wishes.try_lock() {
            Ok(wishes) => wishes,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        self.board.changed.store(false, Ordering::Release);
        Some(std::mem::take(&mut *wishes))
    }

    pub(super) fn tell(&mut self, event: MediaEvent) {
        if self.events.try_send(event).is_err() {
            self.lost += 1;
        }
    }
}

/// Events that may wait for the owner. A caller presses some ten keys a second; an owner that is this far behind is gone,
/// and more would only be memory.
const EVENTS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_taken_once_and_the_newest_of_each_kind_wins() {
        let (desk, inbox, _events) = desk();
        assert!(inbox.take().is_none());
        desk.wish(|wishes| wishes.muted = Some(true));
        desk.wish(|wishes| wishes.play = Some((PlayId(1), Vec::new())));
        desk.wish(|wishes| wishes.play = Some((PlayId(2), Vec::new())));
        let wishes = inbox.take().unwrap();
        assert_eq!((wishes.muted, wishes.play.map(|(id, _)| id)), (Some(true), Some(PlayId(2))));
        assert!(wishes.line.is_none() && inbox.take().is_none());
    }

    #[test]
    fn an_owner_that_is_writing_is_not_waited_for() {
        let (desk, inbox, _events) = desk();
        desk.wish(|wishes| wishes.alive = true);
        let held = desk.board.wishes.lock().unwrap();
        assert!(inbox.take().is_none());
        drop(held);
        assert!(inbox.take().unwrap().alive, "and nothing is forgotten");
    }

    #[test]
    fn events_past_the_bound_are_counted_and_the_end_is_told() {
        let (desk, mut inbox, mut events) = desk();
        for _ in 0..EVENTS_MAX + 3 {
            inbox.tell(MediaEvent::Fax);
        }
        assert_eq!(inbox.lost, 3);
        assert!(!inbox.is_closed());
        drop(desk);
        assert!(inbox.is_closed());
        drop(inbox);
        let waiting = std::iter::from_fn(|| events.try_recv().ok()).count();
        assert_eq!(waiting, EVENTS_MAX);
        assert!(events.is_closed());
    }

    #[test]
    fn keys_print_redacted() {
        let event = MediaEvent::Key(Key::from_label('7').unwrap(), KeyWay::Event);
        assert!(!format!("{event:?}").contains('7'), "{event:?}");
    }
}
