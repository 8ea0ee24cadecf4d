//! The line between a worker and a thread of this process that speaks and hears on a local leg.
//!
//! ```text
//!  media thread                                                   worker
//!   LocalPort::push --> uplink ring   --ring(), once a tick--> WorkerPort::take --> Sfu::handle_local
//!   LocalPort::drain <-- downlink ring <------------------------ WorkerPort::give <-- TransmitBatch::local
//! ```
//! Both rings have fixed places, made once: no frame allocates. When one is full its oldest frame goes, because in a
//! conversation the newest is worth most. Each side takes a whole ring at once, by exchanging it for its empty one, so
//! that the lock is held for a few words and never while frames are worked on.
//!
//! Not here: what frames mean (`transport::local`), who may hear whom (`sfu`). Invariant: when either end is dropped, the
//! other one is told: [`LocalPort::is_open`] turns false, or the worker removes the leg.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ids::LegId;
use crate::rtp::extension::AudioLevel;
use crate::transport::local::{DownlinkFrame, FRAME_LEN_MAX, UplinkFrame};

use super::bell::Bell;

/// The media thread's end of a local leg. Dropping it removes the leg.
pub struct LocalPort {
    leg: LegId,
    line: Arc<Line>,
    /// Empty, to be exchanged for what came.
    spare: Ring,
}

/// The worker's end. Dropping it tells the media thread that the leg is gone.
pub struct WorkerPort {
    leg: LegId,
    line: Arc<Line>,
    spare: Ring,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// The leg was removed, or the worker is gone: nothing will be taken any more.
    #[error("the leg is gone")]
    Gone,
    /// Empty, or longer than [`FRAME_LEN_MAX`].
    #[error("not an Opus packet of one frame")]
    Length,
}

struct Line {
    uplink: Lane,
    downlink: Lane,
    /// Bits of an `f32`: the worst loss that a listener reported.
    loss: AtomicU32,
    port_gone: AtomicBool,
    worker_gone: AtomicBool,
    bell: Bell,
}

/// One direction.
struct Lane {
    ring: Mutex<Ring>,
    /// Looked at without the lock.
    waits: AtomicBool,
    /// Frames that went because nobody took them, since the worker last asked.
    unseen: AtomicU64,
}

/// Both ends of a new line to the worker behind `bell`.
#[must_use]
pub fn line(leg: LegId, bell: Bell) -> (LocalPort, WorkerPort) {
    let line = Arc::new(Line {
        uplink: Lane::new(UPLINK_LEN_MAX),
        downlink: Lane::new(DOWNLINK_LEN_MAX),
        loss: AtomicU32::new(0),
        port_gone: AtomicBool::new(false),
        worker_gone: AtomicBool::new(false),
        bell,
    });
    let port = LocalPort { leg, line: Arc::clone(&line), spare: Ring::new(DOWNLINK_LEN_MAX) };
    (port, WorkerPort { leg, line, spare: Ring::new(UPLINK_LEN_MAX) })
}

/// A line to no worker: the caller holds that end too. For the telephone's benchmark and tests of the near end.
///
/// # Errors
/// The system has no event counter left.
pub fn line_by_hand(leg: LegId) -> io::Result<(LocalPort, WorkerPort)> {
    Ok(line(leg, Bell::new()?))
}

impl LocalPort {
    /// Which leg this is.
    #[must_use]
    pub fn leg(&self) -> LegId {
        self.leg
    }

    /// Whether the leg still exists. Once false it stays false: end the media.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.line.worker_gone.load(Ordering::Acquire)
    }

    /// Queues a frame to publish; [`LocalPort::ring`] makes it leave. Never waits.
    ///
    /// # Errors
    /// The leg is gone, or the frame is none.
    pub fn push(&mut self, frame: &UplinkFrame<'_>) -> Result<(), Refused> {
        if !self.is_open() {
            return Err(Refused::Gone);
        }
        let UplinkFrame { sequence, timestamp, marker, level, payload } = *frame;
        let head = Head { slot: 0, sequence, timestamp, marker, level: Some(level), len: 0 };
        if self.line.uplink.put(head, payload) { Ok(()) } else { Err(Refused::Length) }
    }

    /// Wakes the worker for what was pushed. Once after all legs of a tick is best, and cheap otherwise.
    pub fn ring(&self) {
        self.line.bell.ring_for_frames();
    }

    /// Takes every frame that came since the last call, oldest first.
    pub fn drain(&mut self, mut each: impl FnMut(DownlinkFrame<'_>)) {
        if !self.line.downlink.take(&mut self.spare) {
            return;
        }
        self.spare.drain(|head, payload| {
            let Head { slot, sequence, timestamp, marker, level, .. } = head;
            each(DownlinkFrame { slot, sequence, timestamp, marker, level, payload });
        });
    }

    /// The worst loss, 0 to 1, that a browser which hears this leg reported last: what forward error correction answers.
    /// Renewed a few times a second.
    #[must_use]
    pub fn listeners_loss(&self) -> f32 {
        f32::from_bits(self.line.loss.load(Ordering::Relaxed))
    }
}

impl Drop for LocalPort {
    fn drop(&mut self) {
        self.line.port_gone.store(true, Ordering::Release);
        self.line.bell.ring_for_frames();
    }
}

impl WorkerPort {
    /// Which leg this is.
    #[must_use]
    pub fn leg(&self) -> LegId {
        self.leg
    }

    /// Whether the media thread still holds its end.
    #[must_use]
    pub fn is_held(&self) -> bool {
        !self.line.port_gone.load(Ordering::Acquire)
    }

    /// Takes every frame that was pushed since the last call, oldest first.
    pub fn take(&mut self, mut each: impl FnMut(UplinkFrame<'_>)) {
        if !self.line.uplink.take(&mut self.spare) {
            return;
        }
        self.spare.drain(|head, payload| {
            let Head { sequence, timestamp, marker, level, .. } = head;
            let level = level.unwrap_or(SILENCE);
            each(UplinkFrame { sequence, timestamp, marker, level, payload });
        });
    }

    /// Queues a frame for the media thread, which looks by itself.
    ///
    /// # Errors
    /// The frame is none.
    pub fn give(&self, frame: &DownlinkFrame<'_>) -> Result<(), Refused> {
        let DownlinkFrame { slot, sequence, timestamp, marker, level, payload } = *frame;
        let head = Head { slot, sequence, timestamp, marker, level, len: 0 };
        if self.line.downlink.put(head, payload) { Ok(()) } else { Err(Refused::Length) }
    }

    /// How many frames went unseen since the last call: because the worker did not look, and because the media thread
    /// did not.
    pub fn take_unseen(&self) -> (u64, u64) {
        let Line { uplink, downlink, .. } = &*self.line;
        (uplink.unseen.swap(0, Ordering::Relaxed), downlink.unseen.swap(0, Ordering::Relaxed))
    }

    /// Tells the media thread what its listeners lose.
    pub fn set_listeners_loss(&self, loss: f32) {
        self.line.loss.store(loss.to_bits(), Ordering::Relaxed);
    }
}

impl Drop for WorkerPort {
    fn drop(&mut self) {
        self.line.worker_gone.store(true, Ordering::Release);
    }
}

impl Lane {
    fn new(len_max: usize) -> Self {
        Self { ring: Mutex::new(Ring::new(len_max)), waits: AtomicBool::new(false), unseen: AtomicU64::new(0) }
    }

    /// A ring is whole between any two statements: a panic elsewhere leaves it usable.
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when it is no frame.
    fn put(&self, head: Head, payload: &[u8]) -> bool {
        if payload.is_empty() || payload.len() > FRAME_LEN_MAX {
            return false;
        }
        let mut ring = self.lock();
        if ring.put(head, payload) {
            self.unseen.fetch_add(1, Ordering::Relaxed);
        }
        self.waits.store(true, Ordering::Release);
        true
    }

    /// Exchanges what waits for the empty `spare`. False when nothing waits.
    fn take(&self, spare: &mut Ring) -> bool {
        if !self.waits.load(Ordering::Acquire) {
            return false;
        }
        let mut ring = self.lock();
        std::mem::swap(&mut *ring, spare);
        self.waits.store(false, Ordering::Release);
        true
    }
}

/// What is said of a frame beside its bytes.
#[derive(Clone, Copy)]
struct Head {
    slot: u8,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    level: Option<AudioLevel>,
    len: u16,
}

/// Frames in fixed places; the newest take the places of the oldest.
struct Ring {
    places: Box<[(Head, [u8; FRAME_LEN_MAX])]>,
    first: usize,
    len: usize,
}

impl Ring {
    fn new(len_max: usize) -> Self {
        let head = Head { slot: 0, sequence: 0, timestamp: 0, marker: false, level: None, len: 0 };
        Self { places: vec![(head, [0; FRAME_LEN_MAX]); len_max].into_boxed_slice(), first: 0, len: 0 }
    }

    /// `payload` fits a place. True when the oldest frame went for it.
    fn put(&mut self, head: Head, payload: &[u8]) -> bool {
        let full = self.len == self.places.len();
        if full {
            self.first = (self.first + 1) % self.places.len();
            self.len -= 1;
        }
        let at = (self.first + self.len) % self.places.len();
        let (place, bytes) = &mut self.places[at];
        *place = Head { len: payload.len() as u16, ..head };
        bytes[..payload.len()].copy_from_slice(payload);
        self.len += 1;
        full
    }

    /// Empties it, oldest first.
    fn drain(&mut self, mut each: impl FnMut(Head, &[u8])) {
        while self.len > 0 {
            let at = self.first;
            self.first = (at + 1) % self.places.len();
            self.len -= 1;
            let (head, bytes) = &self.places[at];
            each(*head, &bytes[..usize::from(head.len)]);
        }
    }
}

/// What a frame without a level counts as.
const SILENCE: AudioLevel = AudioLevel { voice: false, decibels_below: 127 };
/// 320 ms of one voice. Higher: what a stalled worker gets late is older; lower: a short stall loses words.
const UPLINK_LEN_MAX: usize = 16;
/// 320 ms of three voices, as above.
const DOWNLINK_LEN_MAX: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> (LocalPort, WorkerPort) {
        line(LegId(7), Bell::new().unwrap())
    }

    const LEVEL: AudioLevel = AudioLevel { voice: true, decibels_below: 33 };

    fn up(sequence: u16, payload: &[u8]) -> UplinkFrame<'_> {
        UplinkFrame { sequence, timestamp: u32::from(sequence) * 960, marker: sequence == 1, level: LEVEL, payload }
    }

    fn down(sequence: u16, payload: &[u8]) -> DownlinkFrame<'_> {
        let timestamp = u32::from(sequence) * 960;
        DownlinkFrame { slot: 2, sequence, timestamp, marker: false, level: Some(LEVEL), payload }
    }

    fn taken(worker: &mut WorkerPort) -> Vec<(u16, usize)> {
        let mut frames = Vec::new();
        worker.take(|frame| frames.push((frame.sequence, frame.payload.len())));
        frames
    }

    fn drained(port: &mut LocalPort) -> Vec<(u16, usize)> {
        let mut frames = Vec::new();
        port.drain(|frame| frames.push((frame.sequence, frame.payload.len())));
        frames
    }

    #[test]
    fn a_frame_comes_out_as_it_went_in_both_ways() {
        let (mut port, mut worker) = both();
        for round in 0..3 {
            let bytes = vec![round; FRAME_LEN_MAX];
            port.push(&up(1, &bytes)).unwrap();
            port.push(&up(2, &bytes[..3])).unwrap();
            let mut seen = 0;
            worker.take(|frame| {
                seen += 1;
                assert_eq!(frame, if seen == 1 { up(1, &bytes) } else { up(2, &bytes[..3]) });
            });
            worker.give(&down(1, &bytes)).unwrap();
            port.drain(|frame| {
                seen += 1;
                assert_eq!(frame, down(1, &bytes));
            });
            assert_eq!((seen, taken(&mut worker), drained(&mut port)), (3, vec![], vec![]));
        }
    }

    #[test]
    fn the_newest_frames_win_and_the_lost_ones_are_counted_once() {
        let (mut port, mut worker) = both();
        for sequence in 0..20 {
            port.push(&up(sequence, &[1])).unwrap();
        }
        let frames = taken(&mut worker);
        assert_eq!((frames[0].0, frames[15].0, frames.len()), (4, 19, 16));
        port.push(&up(20, &[1])).unwrap();
        assert_eq!(taken(&mut worker), [(20, 1)]);
        for sequence in 0..50 {
            worker.give(&down(sequence, &[1])).unwrap();
        }
        let frames = drained(&mut port);
        assert_eq!((frames[0].0, frames.len()), (2, 48));
        assert_eq!((worker.take_unseen(), worker.take_unseen()), ((4, 2), (0, 0)));
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let (mut port, worker) = both();
        let long = [0; FRAME_LEN_MAX + 1];
        for payload in [&[][..], &long] {
            assert_eq!(port.push(&up(1, payload)), Err(Refused::Length));
            assert_eq!(worker.give(&down(1, payload)), Err(Refused::Length));
        }
        assert_eq!(drained(&mut port), []);
    }

    #[test]
    fn each_end_learns_that_the_other_is_gone() {
        let (mut port, worker) = both();
        assert!(port.is_open() && worker.is_held());
        drop(worker);
        assert!(!port.is_open());
        assert_eq!(port.push(&up(1, &[1])), Err(Refused::Gone));
        let bell = Bell::new().unwrap();
        let (port, worker) = line(LegId(7), bell.clone());
        drop(port);
        assert!(!worker.is_held() && bell.take_frames_mark(), "and is woken for it");
    }

    #[test]
    fn what_listeners_lose_is_told() {
        let (port, worker) = both();
        assert_eq!(port.listeners_loss(), 0.0);
        worker.set_listeners_loss(0.125);
        assert_eq!(port.listeners_loss(), 0.125);
    }

    #[test]
    fn frames_cross_between_threads_in_order_and_whole() {
        let (mut port, mut worker) = both();
        let pushing = std::thread::spawn(move || {
            for sequence in 0..5000_u16 {
                port.push(&up(sequence, &sequence.to_be_bytes().repeat(40))).unwrap();
                if sequence % 8 == 0 {
                    std::thread::yield_now();
                }
            }
            port
        });
        let (mut last, mut seen) = (None, 0);
        while last != Some(4999) {
            worker.take(|frame| {
                assert_eq!(frame.payload, frame.sequence.to_be_bytes().repeat(40), "torn");
                assert!(last.is_none_or(|last| frame.sequence > last), "{last:?} before {}", frame.sequence);
                last = Some(frame.sequence);
                seen += 1;
            });
        }
        assert_eq!(seen + worker.take_unseen().0, 5000);
        assert!(pushing.join().is_ok());
    }
}
