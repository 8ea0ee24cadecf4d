//! What every media connection counts, whichever engine drives it: phases of a run, milestones of a join, packets.
//!
//! Not here: how a packet is sent or read (`light`, `connection`), and what the figures mean (`scenario`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::histogram::Histogram;

/// What all legs of a run do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Phase {
    /// Send, but count nothing.
    WarmUp,
    /// Number every packet that is sent; count those that arrive.
    Count,
    /// Send nothing; count what is still under way.
    Listen,
}

/// What all legs share.
#[derive(Clone)]
pub struct Shared {
    /// Zero of all stamps.
    pub epoch: Instant,
    /// Light legs keep the last datagrams that they sent ([`crate::overheard`]).
    pub overhears: bool,
    phase: Arc<AtomicU8>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { epoch: Instant::now(), overhears: false, phase: Arc::new(AtomicU8::new(Phase::WarmUp as u8)) }
    }
}

impl Shared {
    /// For a run in which what legs sent is sent again.
    #[must_use]
    pub fn overhearing() -> Self {
        Self { overhears: true, ..Self::default() }
    }

    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::WarmUp,
            1 => Phase::Count,
            _ => Phase::Listen,
        }
    }

    /// Moves everyone on.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }
}

/// How long after the origin (the WebSocket began to open, or the network came back) each step was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Milestones {
    /// `welcome` was read.
    pub welcomed: Duration,
    /// The answer was taken.
    pub answered: Duration,
    /// ICE found a path.
    pub path: Option<Duration>,
    /// DTLS is done.
    pub connected: Option<Duration>,
    /// The first packet of another's voice.
    pub voice: Option<Duration>,
    /// The first packet of another's picture.
    pub picture: Option<Duration>,
}

impl Milestones {
    /// The first media packet from another, of whichever kind.
    #[must_use]
    pub fn media(&self) -> Option<Duration> {
        match (self.voice, self.picture) {
            (Some(voice), Some(picture)) => Some(voice.min(picture)),
            (voice, picture) => voice.or(picture),
        }
    }
}

/// What one leg sent and received while counting. Streams are numbered by `leg::voice_stream` and
/// `leg::camera_stream` of the sender.
#[derive(Clone, Default)]
pub struct Tally {
    /// Numbered packets sent, by stream.
    pub sent: HashMap<u32, u32>,
    /// Which numbers came, by stream.
    pub received: HashMap<u32, Seen>,
    /// One-way latency of each.
    pub latency: Histogram,
    /// Packets this machine did not take for sending.
    pub send_errors: u64,
    /// RTP numbers that never came, not even on request: losses as a decoder sees them, also where layers switch and
    /// the stamps' numbers say nothing.
    pub unrepaired: u64,
    /// Datagrams that came, whatever they held.
    pub datagrams_received: u64,
    /// Datagrams that did not fit this leg's own socket buffer: losses the server has no part in.
    pub kernel_drops: u64,
    /// Numbers asked for again, repetitions included.
    pub nacks_sent: u64,
    /// Packets that came by retransmission and had not come before.
    pub retransmissions_received: u64,
    /// Packets sent again on request.
    pub retransmissions_sent: u64,
    /// Keyframes that were asked of this leg.
    pub keyframe_requests: u64,
    /// Longest time without any media packet while counting, once there had been one.
    pub gap_max: Duration,
    /// The SRTP profile, as RFC 5764 and RFC 7714 write it.
    pub profile: Option<&'static str>,
}

impl Tally {
    /// Adds another leg's counts, of the same seat for example.
    pub fn merge(&mut self, other: Tally) {
        for (stream, sent) in other.sent {
            *self.sent.entry(stream).or_default() += sent;
        }
        for (stream, seen) in other.received {
            self.received.entry(stream).or_default().merge(&seen);
        }
        self.latency.merge(&other.latency);
        self.send_errors += other.send_errors;
        self.unrepaired += other.unrepaired;
        self.datagrams_received += other.datagrams_received;
        self.kernel_drops += other.kernel_drops;
        self.nacks_sent += other.nacks_sent;
        self.retransmissions_received += other.retransmissions_received;
        self.retransmissions_sent += other.retransmissions_sent;
        self.keyframe_requests += other.keyframe_requests;
        self.gap_max = self.gap_max.max(other.gap_max);
        self.profile = self.profile.or(other.profile);
    }
}

/// Which numbers of a stream came, each counted once.
#[derive(Clone, Default)]
pub struct Seen {
    bits: Vec<u64>,
    count: u64,
}

impl Seen {
    /// Notes a number; false when it came before or cannot be one of ours.
    pub fn insert(&mut self, number: u32) -> bool {
        if number >= NUMBERS_MAX {
            return false;
        }
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        let new = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        self.count += u64::from(new);
        new
    }

    /// Adds what another receiver of the same stream saw.
    pub fn merge(&mut self, other: &Seen) {
        if self.bits.len() < other.bits.len() {
            self.bits.resize(other.bits.len(), 0);
        }
        for (word, more) in self.bits.iter_mut().zip(&other.bits) {
            *word |= more;
        }
        self.count = self.bits.iter().map(|word| u64::from(word.count_ones())).sum();
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// Six hours of 720p; bounds the memory a forged number could cost.
const NUMBERS_MAX: u32 = 1 << 22;
/// Streams one leg counts.
pub const STREAMS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_counts_once() {
        let mut seen = Seen::default();
        assert!(seen.insert(0) && seen.insert(200) && !seen.insert(200) && seen.insert(63));
        assert!(!seen.insert(u32::MAX), "outside of what a run can send");
        assert_eq!(seen.count(), 3);
    }

    #[test]
    fn what_two_legs_of_a_seat_saw_counts_once() {
        let tally = |sent: u32, numbers: &[u32]| {
            let mut tally = Tally { sent: HashMap::from([(9, sent)]), ..Tally::default() };
            let seen = tally.received.entry(4).or_default();
            for &number in numbers {
                seen.insert(number);
            }
            tally
        };
        let mut both = tally(10, &[0, 1]);
        both.merge(tally(5, &[1, 2, 700]));
        assert_eq!((both.sent[&9], both.received[&4].count()), (15, 4));
    }

    #[test]
    fn first_media_is_the_earlier_of_voice_and_picture() {
        let ms = Duration::from_millis;
        let milestones = Milestones { voice: Some(ms(90)), picture: Some(ms(70)), ..Milestones::default() };
        assert_eq!(milestones.media(), Some(ms(70)));
        assert_eq!(Milestones { voice: None, ..milestones }.media(), Some(ms(70)));
        assert_eq!(Milestones::default().media(), None);
    }
}
