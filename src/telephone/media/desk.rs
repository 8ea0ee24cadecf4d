//! Where a call's owner (tokio) and its media thread meet: wishes one way, events the other. Neither ever waits.
//!
//! A wish replaces the one of its kind that was not taken yet: newest wins, and nothing can pile up. Events go through a
//! bounded channel; its end tells that the call's media is over. Not here: what wishes do (`leg`).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use colloque_sound::Codec;
use colloque_sound::key::Key;
use tokio::sync::mpsc;

use crate::ids::PayloadType;
use crate::worker::local::LocalPort;

use super::keys::CallKeys;
use super::prompt::{Clip, PlayId};
use super::quality::Mos;

/// What offer and answer agreed on. A later one replaces all of it; numbers and keys that stay the same go on.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where the far end receives sound.
    pub remote: SocketAddr,
    /// Where it receives reports; the same when both share a port (RFC 5761), `None` when it wants none.
    pub remote_reports: Option<SocketAddr>,
    /// What is spoken, best first and never empty: we speak what the far end spoke last, the first before that.
    pub formats: Vec<Format>,
    /// Number of telephone-events (RFC 4733), when agreed.
    pub event_type: Option<PayloadType>,
    /// Number of comfort noise (RFC 3389), when it may come.
    pub noise_type: Option<PayloadType>,
    /// How long the packets are that the far end wants.
    pub packet: Duration,
    /// Keys, when the sound is encrypted.
    pub keys: Option<CallKeys>,
    /// Whether we may send.
    pub sends: bool,
    /// Whether the far end sends something for the room: not while it holds the call, with music or without.
    pub receives: bool,
}

/// A codec and its number, in both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    /// Which.
    pub codec: Codec,
    /// 0 to 127.
    pub payload_type: PayloadType,
}

/// What a call's owner learns.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum MediaEvent {
    /// The first packet of sound from the telephone.
    FirstPacket,
    /// A key was pressed.
    Key(Key, KeyWay),
    /// A fax machine called.
    Fax,
    /// An announcement was played to its end.
    PromptDone(PlayId),
    /// The room's leg is gone: nobody hears the telephone there any more.
    Unplugged,
    /// How the call sounds, every five seconds.
    Quality(Quality),
    /// Somebody spoke into the echo: told once for each echo.
    Spoke,
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
    /// What we hear of the telephone; nothing where there is nothing to judge: it holds, pauses or is gone.
    pub score_in: Option<Mos>,
    /// What the telephone hears of us, as far as its reports tell.
    pub score_out: Mos,
    /// Part of the telephone's packets that did not come, 0 to 1.
    pub lost: f64,
    /// Part of them that came after their turn.
    pub late: f64,
    /// Part of the frames from the telephone that were made up.
    pub concealed: f64,
    /// Part of the frames at which nothing was left to play.
    pub dry: f64,
    /// Part of our packets that did not get there, as the telephone reports.
    pub lost_out: f64,
    /// How unevenly the telephone's packets come.
    pub jitter: Duration,
    /// How long packets wait here for the late ones.
    pub buffer: Duration,
    /// How long they are meant to wait.
    pub target: Duration,
    /// There and back, when the telephone reports.
    pub round_trip: Option<Duration>,
}

/// When something of the telephone was heard last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LastHeard {
    /// A packet of sound that was accepted.
    pub sound: Option<Instant>,
    /// A report.
    pub report: Option<Instant>,
}

/// What the owner wants and the media thread has not done yet.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) connection: Option<Connection>,
    pub(super) play: Option<(PlayId, Vec<Clip>)>,
    pub(super) line: Option<LineWish>,
    pub(super) muted: Option<bool>,
    pub(super) waiting_tone: Option<bool>,
    pub(super) echo: Option<bool>,
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

struct Board {
    wishes: Mutex<Wishes>,
    /// Looked at without the lock.
    changed: AtomicBool,
    closed: AtomicBool,
    origin: Instant,
    /// Milliseconds since the origin and one more; 0 for never.
    sound: AtomicU64,
    report: AtomicU64,
    sent: AtomicU64,
}

/// Both ends of a new call.
pub(super) fn desk(now: Instant) -> (Desk, Inbox, mpsc::Receiver<MediaEvent>) {
    let board = Arc::new(Board {
        wishes: Mutex::default(),
        changed: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        origin: now,
        sound: AtomicU64::new(0),
        report: AtomicU64::new(0),
        sent: AtomicU64::new(0),
    });
    let (events, receiver) = mpsc::channel(EVENTS_MAX);
    (Desk { board: Arc::clone(&board) }, Inbox { board, events, lost: 0 }, receiver)
}

impl Desk {
    pub(super) fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        // A wish is whole or absent: a panic elsewhere leaves the board usable.
        change(&mut self.board.wishes.lock().unwrap_or_else(PoisonError::into_inner));
        self.board.changed.store(true, Ordering::Release);
    }

    pub(super) fn last_sent(&self) -> Option<Instant> {
        self.board.read(&self.board.sent)
    }

    pub(super) fn last_heard(&self) -> LastHeard {
        LastHeard { sound: self.board.read(&self.board.sound), report: self.board.read(&self.board.report) }
    }
}

impl Board {
    fn write(&self, mark: &AtomicU64, at: Instant) {
        let millis = at.saturating_duration_since(self.origin).as_millis() as u64;
        mark.store(millis + 1, Ordering::Relaxed);
    }

    fn read(&self, mark: &AtomicU64) -> Option<Instant> {
        let millis = mark.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.origin + Duration::from_millis(millis))
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

    pub(super) fn record_sound(&self, at: Instant) {
        self.board.write(&self.board.sound, at);
    }

    pub(super) fn record_report(&self, at: Instant) {
        self.board.write(&self.board.report, at);
    }

    pub(super) fn record_sent(&self, at: Instant) {
        self.board.write(&self.board.sent, at);
    }

    /// Events that the owner did not get, since the last call.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
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
        let (desk, inbox, _events) = desk(Instant::now());
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
        let (desk, inbox, _events) = desk(Instant::now());
        desk.wish(|wishes| wishes.muted = Some(true));
        let held = desk.board.wishes.lock().unwrap();
        assert!(inbox.take().is_none());
        drop(held);
        assert_eq!(inbox.take().unwrap().muted, Some(true), "and nothing is forgotten");
    }

    #[test]
    fn events_past_the_bound_are_counted_and_the_end_is_told() {
        let (desk, mut inbox, mut events) = desk(Instant::now());
        for _ in 0..EVENTS_MAX + 3 {
            inbox.tell(MediaEvent::Fax);
        }
        assert_eq!((inbox.take_lost(), inbox.take_lost()), (3, 0));
        assert!(!inbox.is_closed());
        drop(desk);
        assert!(inbox.is_closed());
        drop(inbox);
        let waiting = std::iter::from_fn(|| events.try_recv().ok()).count();
        assert_eq!(waiting, EVENTS_MAX);
        assert!(events.is_closed());
    }

    #[test]
    fn the_owner_sees_when_the_telephone_was_heard() {
        let start = Instant::now();
        let (desk, inbox, _events) = desk(start);
        assert_eq!(desk.last_heard(), LastHeard::default());
        inbox.record_sound(start);
        inbox.record_report(start + Duration::from_millis(1500));
        assert_eq!(desk.last_sent(), None);
        inbox.record_sent(start + Duration::from_millis(20));
        assert_eq!(desk.last_sent(), Some(start + Duration::from_millis(20)));
        let heard = LastHeard { sound: Some(start), report: Some(start + Duration::from_millis(1500)) };
        assert_eq!(desk.last_heard(), heard);
    }

    #[test]
    fn keys_print_redacted() {
        let event = MediaEvent::Key(Key::from_label('7').unwrap(), KeyWay::Event);
        assert!(!format!("{event:?}").contains('7'), "{event:?}");
    }
}
