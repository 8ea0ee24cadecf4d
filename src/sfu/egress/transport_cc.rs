//! The transport-wide numbers we sent on one leg, and what the far side says became of them
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//!
//! Plain facts for the bandwidth estimator to come: acknowledged rate, loss, arrival times against send times. Not here:
//! an estimate. Invariant: memory is fixed from the first packet on, whatever the feedback says.

use std::time::{Duration, Instant};

use crate::rtp::rtcp::TransportFeedback;
use crate::rtp::seq::SeqNo;
use crate::units::{Bitrate, DataSize};

/// What became of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// No feedback yet.
    InFlight,
    /// Reported missing; a later feedback may still correct that.
    Lost,
    /// Reported received.
    Received,
}

/// A packet as it was sent: eight bytes, because every packet of every viewer writes one.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// Microseconds since the leg's first, modulo 2^32: an hour, in which the ring is long through.
    at: u32,
    len: u16,
    fate: Fate,
}

/// A packet that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArrivalSample {
    /// Our transport-wide number.
    pub number: SeqNo,
    /// When we sent it.
    pub sent: Instant,
    /// When it arrived, in microseconds of the far side's clock, without wraps.
    pub arrived_micros: i64,
    /// Bytes on the wire, as recorded at sending.
    pub len: u16,
}

/// The numbers of one leg. Allocates once, at the first packet.
#[derive(Clone, Debug)]
pub struct TransportCcHistory {
    sent: Box<[Option<Sent>]>,
    next: SeqNo,
    /// When the first was sent: the zero of the ring's clock.
    first_at: Option<Instant>,
    /// When the latest was sent, and the same on the ring's clock.
    latest: Option<(Instant, u32)>,
    /// One past the highest number reported on.
    reported_end: SeqNo,
    samples: Box<[Option<ArrivalSample>]>,
    /// Samples ever taken.
    samples_len: usize,
    /// Far clock of the latest sample, for unwrapping.
    arrived_last: Option<i64>,
}

impl Default for TransportCcHistory {
    fn default() -> Self {
        Self::new()
    }
}

impl TransportCcHistory {
    /// Nothing sent yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            sent: Box::default(),
            next: SeqNo(FIRST),
            first_at: None,
            latest: None,
            reported_end: SeqNo(FIRST),
            samples: Box::default(),
            samples_len: 0,
            arrived_last: None,
        }
    }

    /// The number for the next packet; it stays the same until one was recorded.
    #[must_use]
    #[inline]
    pub fn next_number(&self) -> u16 {
        self.next.wire()
    }

    /// A packet of `len` bytes went out with [`TransportCcHistory::next_number`].
    #[inline]
    pub fn record_sent(&mut self, now: Instant, len: usize) {
        if self.sent.is_empty() {
            self.sent = vec![None; SENT_MAX].into_boxed_slice();
            self.samples = vec![None; SAMPLES_MAX].into_boxed_slice();
        }
        let len = u16::try_from(len).unwrap_or(u16::MAX);
        let at = match self.latest {
            // Most packets of a batch are sent in the same moment.
            Some((latest, at)) if latest == now => at,
            _ => now.saturating_duration_since(*self.first_at.get_or_insert(now)).as_micros() as u32,
        };
        self.latest = Some((now, at));
        self.sent[self.next.0 as usize % SENT_MAX] = Some(Sent { at, len, fate: Fate::InFlight });
        self.next = self.next.next();
    }

    /// Takes a feedback packet; returns how many packets it newly acknowledged. What it says of numbers that were never
    /// sent, or too long ago, is ignored.
    pub fn handle_feedback(&mut self, feedback: &TransportFeedback<'_>) -> usize {
        let mut acknowledged = 0;
        for (wire, arrived) in feedback.arrivals().take(SENT_MAX) {
            let number = SeqNo::nearest(wire, self.next);
            if number >= self.next || number.0 + (SENT_MAX as u64) < self.next.0 {
                continue;
            }
            let Some(sent) = self.sent.get_mut(number.0 as usize % SENT_MAX).and_then(Option::as_mut) else { continue };
            self.reported_end = self.reported_end.max(number.next());
            match (sent.fate, arrived) {
                (Fate::Received, _) | (Fate::Lost, None) => {}
                (Fate::InFlight, None) => sent.fate = Fate::Lost,
                (Fate::InFlight | Fate::Lost, Some(micros)) => {
                    sent.fate = Fate::Received;
                    acknowledged += 1;
                    let (at, len) = (sent.at, sent.len);
                    let Some((latest, latest_at)) = self.latest else { continue };
                    let sent = latest - Duration::from_micros(u64::from(latest_at.wrapping_sub(at)));
                    self.take_sample(number, sent, len, micros);
                }
            }
        }
        acknowledged
    }

    /// Packets that arrived, oldest first: the most recent [`SAMPLES_MAX`].
    pub fn samples(&self) -> impl Iterator<Item = &ArrivalSample> {
        let first = self.samples_len.saturating_sub(SAMPLES_MAX);
        (first..self.samples_len).filter_map(|at| self.samples[at % SAMPLES_MAX].as_ref())
    }

    /// How much longer each packet travelled than the one before it, in microseconds: positive when a queue grows.
    pub fn delay_variations(&self) -> impl Iterator<Item = i64> {
        self.samples().zip(self.samples().skip(1)).map(|(before, after)| {
            let sent = signed_micros(before.sent, after.sent);
            after.arrived_micros.saturating_sub(before.arrived_micros).saturating_sub(sent)
        })
    }

    /// The rate at which packets arrived during the last [`RATE_WINDOW`] of the far side's clock; zero without news.
    #[must_use]
    pub fn acknowledged_rate(&self) -> Bitrate {
        let Some(latest) = self.samples().map(|sample| sample.arrived_micros).max() else { return Bitrate::default() };
        let earliest = latest.saturating_sub(RATE_WINDOW.as_micros() as i64);
        let (mut bytes, mut first) = (0, latest);
        for sample in self.samples().filter(|sample| sample.arrived_micros > earliest) {
            bytes += u64::from(sample.len);
            first = first.min(sample.arrived_micros);
        }
        let span = Duration::from_micros(latest.saturating_sub(first).unsigned_abs());
        Bitrate::from_size(DataSize(bytes), span)
    }

    /// The part of the last [`LOSS_WINDOW`] reported packets that did not arrive, 0 to 1.
    #[must_use]
    pub fn loss(&self) -> f32 {
        let first = self.reported_end.0.saturating_sub(LOSS_WINDOW).max(FIRST);
        let (mut lost, mut known) = (0u32, 0u32);
        for number in first..self.reported_end.0 {
            match self.sent.get(number as usize % SENT_MAX).copied().flatten().map(|sent| sent.fate) {
                Some(Fate::Lost) => (lost, known) = (lost + 1, known + 1),
                Some(Fate::Received) => known += 1,
                Some(Fate::InFlight) | None => {}
            }
        }
        if known == 0 { 0.0 } else { lost as f32 / known as f32 }
    }

    fn take_sample(&mut self, number: SeqNo, sent: Instant, len: u16, micros: i64) {
        let arrived_micros = match self.arrived_last {
            Some(last) => last + nearest_turn(micros.wrapping_sub(last)),
            None => micros,
        };
        self.arrived_last = Some(arrived_micros);
        self.samples[self.samples_len % SAMPLES_MAX] = Some(ArrivalSample { number, sent, arrived_micros, len });
        self.samples_len += 1;
    }
}

/// A difference of two readings of a clock that wraps every [`CLOCK_TURN`], as the nearest one.
fn nearest_turn(difference: i64) -> i64 {
    (difference + CLOCK_TURN / 2).rem_euclid(CLOCK_TURN) - CLOCK_TURN / 2
}

fn signed_micros(from: Instant, to: Instant) -> i64 {
    match to.checked_duration_since(from) {
        Some(span) => span.as_micros() as i64,
        None => -((from - to).as_micros() as i64),
    }
}

/// One wrap ahead of zero, so that every number that a feedback can mean lies above zero.
const FIRST: u64 = 1 << 16;

/// Packets remembered. Higher: memory a leg; lower: feedback comes too late (2048 are 2 s at 10 Mbit/s).
const SENT_MAX: usize = 2048;

/// Arrivals kept for the estimator: about a second of a call's packets.
pub const SAMPLES_MAX: usize = 512;

/// Longer: a drop of the rate shows late; shorter: a keyframe's burst looks like a rise.
pub const RATE_WINDOW: Duration = Duration::from_secs(1);

/// Longer: loss that is over still counts; shorter: one lost packet counts too much.
pub const LOSS_WINDOW: u64 = 500;

/// The reference time has 24 bits of 64 ms.
const CLOCK_TURN: i64 = (1 << 24) * 64_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Ssrc;
    use crate::rtp::rtcp::{Arrival, CompoundWriter, Rtcp, packets};

    fn feed(history: &mut TransportCcHistory, arrivals: &[(u64, i64)]) -> usize {
        let arrivals: Vec<_> = arrivals.iter().map(|&(seq, micros)| Arrival { seq: SeqNo(seq), micros }).collect();
        let mut out = [0; 1500];
        let mut writer = CompoundWriter::new(&mut out);
        assert_eq!(writer.transport_feedback(Ssrc(1), Ssrc(2), 0, &arrivals), arrivals.len());
        let len = writer.len();
        let Some(Ok(Rtcp::TransportFeedback(feedback))) = packets(&out[..len]).next() else {
            panic!("our own feedback")
        };
        history.handle_feedback(&feedback)
    }

    fn sent(count: u64) -> TransportCcHistory {
        let start = Instant::now();
        let mut history = TransportCcHistory::new();
        for at in 0..count {
            history.record_sent(start + Duration::from_millis(10 * at), 1250);
        }
        history
    }

    #[test]
    fn numbers_count_up_and_wrap() {
        let mut history = sent(65_535);
        assert_eq!(history.next_number(), 65_535);
        history.record_sent(Instant::now(), 100);
        assert_eq!(history.next_number(), 0);
    }

    #[test]
    fn feedback_gives_rate_loss_and_delay() {
        let mut history = sent(100);
        // Number 50 is missing; from 60 on each packet takes a millisecond longer than the one before.
        let arrivals: Vec<(u64, i64)> = (0..100i64)
            .filter(|&at| at != 50)
            .map(|at| (at as u64, 1_000_000 + at * 10_000 + (at - 60).max(0) * 1000))
            .collect();
        assert_eq!(feed(&mut history, &arrivals), 99);
        assert_eq!(history.loss(), 0.01);
        let rate = history.acknowledged_rate().0;
        assert!((900_000..1_100_000).contains(&rate), "{rate}");
        let variations: Vec<i64> = history.delay_variations().collect();
        assert_eq!((variations[10], variations[90]), (0, 1000));
    }

    #[test]
    fn repeated_feedback_counts_once_and_corrects_a_loss() {
        let mut history = sent(10);
        assert_eq!(feed(&mut history, &[(0, 0), (9, 9000)]), 2);
        assert_eq!(history.loss(), 0.8);
        assert_eq!(feed(&mut history, &[(0, 0), (5, 5000), (9, 9000)]), 1);
        assert_eq!(history.loss(), 0.7);
    }

    #[test]
    fn feedback_about_packets_never_sent_changes_nothing() {
        let mut history = TransportCcHistory::new();
        assert_eq!(feed(&mut history, &[(0, 0), (7, 1000)]), 0);
        let mut history = sent(5);
        assert_eq!(feed(&mut history, &[(5, 0), (900, 1000)]), 0);
        assert_eq!(history.loss(), 0.0);
        assert_eq!(history.acknowledged_rate(), Bitrate(0));
    }

    #[test]
    fn the_far_clock_may_wrap() {
        assert_eq!(nearest_turn(-(CLOCK_TURN - 250)), 250);
        assert_eq!(nearest_turn(CLOCK_TURN - 250), -250);
        assert_eq!(nearest_turn(1000), 1000);
    }

    #[test]
    fn memory_is_bounded() {
        let mut history = sent(10_000);
        for first in [9000, 9300, 9600] {
            let chunk: Vec<(u64, i64)> = (first..first + 300).map(|at| (at, at as i64 * 250)).collect();
            feed(&mut history, &chunk);
        }
        assert_eq!(history.samples().count(), SAMPLES_MAX);
        assert_eq!(history.samples().last().unwrap().number.wire(), 9899);
        assert_eq!(feed(&mut history, &[(100, 0)]), 0, "long forgotten");
    }
}
