//! Tells a publisher when its packets reached us, so that its own congestion control works
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).
//!
//! One per leg: the numbers run over all of its streams. The wire format is `rtp::rtcp`'s.
//! Every number up to the last reported one is reported on: a loss between two feedback packets is shown by repeating
//! the arrival before it, and a late arrival repeats what came after it. Invariant: arrivals ascend and are bounded.

use std::time::{Duration, Instant};

use crate::ids::Ssrc;
use crate::rtp::rtcp::{Arrival, CompoundWriter};
use crate::rtp::seq::{SeqExtender, SeqNo};

/// Collects arrivals of one leg and writes the feedback.
#[derive(Debug)]
pub struct TransportCcGenerator {
    extender: SeqExtender,
    /// Ascending by number; reported ones stay a while in case one between them comes late.
    arrivals: Vec<Arrival>,
    /// The first number of the next feedback.
    next: SeqNo,
    /// Index of the first arrival at or after `next`: looking for it in cold memory took as long as decrypting a voice.
    unreported: usize,
    origin: Option<Instant>,
    last_feedback: Option<Instant>,
    feedback_count: u8,
}

impl TransportCcGenerator {
    /// Arrivals kept. Higher: memory per leg; lower: a fast publisher outruns the interval (512 in 100 ms is 50 Mbit/s).
    pub const ARRIVALS_MAX: usize = 512;
    /// Longest wait of an arrival. Higher: the publisher reacts late; lower: more packets for the same news.
    pub const INTERVAL_MAX: Duration = Duration::from_millis(100);
    /// Wait when there is much to tell.
    pub const INTERVAL_MIN: Duration = Duration::from_millis(50);
    /// Arrivals that count as much: 3 Mbit/s of full packets.
    const BUSY: usize = 16;
    /// How much before its time feedback may go with other work, so that the legs of a room share their wake-ups.
    const EARLY: Duration = Duration::from_millis(20);

    /// Nothing arrived; allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            // One wrap ahead, so that a packet older than the first one has a number too.
            extender: SeqExtender::starting_at(1),
            arrivals: Vec::new(),
            next: SeqNo(0),
            unreported: 0,
            origin: None,
            last_feedback: None,
            feedback_count: 0,
        }
    }

    /// A packet with this transport-wide number came. Doubles and packets older than what is kept are ignored.
    pub fn record(&mut self, now: Instant, number: u16) {
        let seq = self.extender.extend(number);
        let origin = match self.origin {
            Some(origin) => origin,
            None => {
                self.arrivals.reserve_exact(Self::ARRIVALS_MAX);
                self.next = seq;
                self.last_feedback = Some(now);
                *self.origin.insert(now)
            }
        };
        if self.arrivals.len() >= Self::ARRIVALS_MAX {
            self.arrivals.drain(..Self::ARRIVALS_MAX / 2);
            self.next = self.next.max(self.arrivals[0].seq);
            self.unreported = self.unreported.saturating_sub(Self::ARRIVALS_MAX / 2);
        }
        let micros = now.saturating_duration_since(origin).as_micros() as i64;
        let arrival = Arrival { seq, micros };
        match self.arrivals.last() {
            Some(last) if last.seq >= seq => self.record_late(arrival),
            _ => self.arrivals.push(arrival),
        }
    }

    fn record_late(&mut self, arrival: Arrival) {
        let seq = arrival.seq;
        if self.arrivals.first().is_some_and(|first| seq.distance(first.seq) < -REORDER_MAX) {
            return;
        }
        let Err(at) = self.arrivals.binary_search_by_key(&seq, |arrival| arrival.seq) else { return };
        self.arrivals.insert(at, arrival);
        if seq < self.next {
            self.next = seq;
            self.unreported = at;
        }
    }

    /// Whether there is something to tell and it may be told now, which is a little before it must be.
    #[must_use]
    pub fn may_tell(&self, now: Instant) -> bool {
        self.poll_timeout().is_some_and(|due| due <= now + Self::EARLY)
    }

    /// Writes the feedback packets that may go now. Returns how many; 0 when none may or none fits.
    pub fn poll_feedback(&mut self, now: Instant, sender: Ssrc, media: Ssrc, out: &mut CompoundWriter<'_>) -> usize {
        if !self.may_tell(now) {
            return 0;
        }
        let mut packets = 0;
        while let Some(from) = self.first_unreported() {
            let covered = out.transport_feedback(sender, media, self.feedback_count, &self.arrivals[from..]);
            let Some(last) = covered.checked_sub(1).map(|last| self.arrivals[from + last].seq) else { break };
            if last < self.next {
                // Only the repeated arrival fits a packet with it: the silence after it was too long for one.
                self.next = self.arrivals[from + covered].seq;
            } else {
                self.next = last.next();
            }
            self.unreported = from + covered;
            self.feedback_count = self.feedback_count.wrapping_add(1);
            self.last_feedback = Some(now);
            packets += 1;
        }
        packets
    }

    /// When the next feedback must go; `None` when there is nothing to tell.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let pending = self.arrivals.len() - self.unreported;
        if pending == 0 {
            return None;
        }
        let interval = if pending >= Self::BUSY { Self::INTERVAL_MIN } else { Self::INTERVAL_MAX };
        self.last_feedback.map(|last| last + interval)
    }

    /// Index of the arrival that the next feedback begins with: one earlier than news when the next number is lost.
    fn first_unreported(&self) -> Option<usize> {
        let first = self.arrivals.get(self.unreported)?;
        let begins_with_loss = first.seq > self.next;
        Some(if begins_with_loss { self.unreported.saturating_sub(1) } else { self.unreported })
    }
}

impl Default for TransportCcGenerator {
    fn default() -> Self {
        Self::new()
    }
}

/// How far before the oldest kept arrival a late one may be.
const REORDER_MAX: i64 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use rtc_rtcp::transport_feedbacks::transport_layer_cc::{PacketStatusChunk, SymbolTypeTcc, TransportLayerCc};
    use rtc_shared::marshal::Unmarshal;
    use std::collections::BTreeMap;

    struct Bench {
        start: Instant,
        generator: TransportCcGenerator,
    }

    impl Bench {
        fn new() -> Self {
            Self { start: Instant::now(), generator: TransportCcGenerator::new() }
        }

        fn record(&mut self, millis: u64, number: u16) {
            self.generator.record(self.start + Duration::from_millis(millis), number);
            let arrivals = &self.generator.arrivals;
            assert!(arrivals.is_sorted_by(|a, b| a.seq < b.seq));
            let first_at_or_after_next = arrivals.partition_point(|arrival| arrival.seq < self.generator.next);
            assert_eq!(self.generator.unreported, first_at_or_after_next);
            assert!(arrivals.len() <= TransportCcGenerator::ARRIVALS_MAX);
            assert!(arrivals.capacity() <= TransportCcGenerator::ARRIVALS_MAX);
        }

        /// Feedback packets as another implementation reads them: number -> milliseconds, or `None` for lost.
        fn feedback(&mut self, millis: u64) -> Vec<BTreeMap<u16, Option<i64>>> {
            let mut out = [0u8; 1200];
            let mut writer = CompoundWriter::new(&mut out);
            let now = self.start + Duration::from_millis(millis);
            let written = self.generator.poll_feedback(now, Ssrc(1), Ssrc(2), &mut writer);
            let len = writer.len();
            let mut rest = &out[..len];
            let mut packets = Vec::new();
            while !rest.is_empty() {
                let packet_len = (usize::from(u16::from_be_bytes([rest[2], rest[3]])) + 1) * 4;
                packets.push(oracle(&rest[..packet_len]));
                rest = &rest[packet_len..];
            }
            assert_eq!(packets.len(), written);
            packets
        }
    }

    fn oracle(packet: &[u8]) -> BTreeMap<u16, Option<i64>> {
        let parsed = TransportLayerCc::unmarshal(&mut &packet[..]).unwrap();
        assert_eq!((parsed.sender_ssrc, parsed.media_ssrc), (1, 2));
        let mut symbols = Vec::new();
        for chunk in &parsed.packet_chunks {
            match chunk {
                PacketStatusChunk::RunLengthChunk(run) => {
                    symbols.extend((0..run.run_length).map(|_| run.packet_status_symbol));
                }
                PacketStatusChunk::StatusVectorChunk(vector) => symbols.extend(vector.symbol_list.iter().copied()),
            }
        }
        symbols.truncate(usize::from(parsed.packet_status_count));
        assert_eq!(symbols.len(), usize::from(parsed.packet_status_count));
        let mut micros = i64::from(parsed.reference_time) * 64_000;
        let mut deltas = parsed.recv_deltas.iter();
        let mut number = parsed.base_sequence_number;
        let mut told = BTreeMap::new();
        for symbol in symbols {
            let received = symbol != SymbolTypeTcc::PacketNotReceived;
            told.insert(
                number,
                received.then(|| {
                    micros += deltas.next().unwrap().delta;
                    micros / 1000
                }),
            );
            number = number.wrapping_add(1);
        }
        told
    }

    fn told(entries: &[(u16, Option<i64>)]) -> Vec<BTreeMap<u16, Option<i64>>> {
        vec![entries.iter().copied().collect()]
    }

    #[test]
    fn tells_arrivals_and_losses_after_the_interval() {
        let mut bench = Bench::new();
        assert!(bench.feedback(0).is_empty());
        for (millis, number) in [(0, 100), (10, 101), (20, 103), (80, 104)] {
            bench.record(millis, number);
        }
        assert!(bench.feedback(79).is_empty());
        let must = bench.start + TransportCcGenerator::INTERVAL_MAX;
        assert_eq!(bench.generator.poll_timeout(), Some(must));
        assert_eq!(
            bench.feedback(100),
            told(&[(100, Some(0)), (101, Some(10)), (102, None), (103, Some(20)), (104, Some(80))])
        );
        assert!(bench.feedback(300).is_empty(), "nothing new to tell");
        assert_eq!(bench.generator.poll_timeout(), None);
    }

    #[test]
    fn numbers_wrap() {
        let mut bench = Bench::new();
        for (millis, number) in [(0, 65_534), (1, 65_535), (2, 0), (3, 1)] {
            bench.record(millis, number);
        }
        assert_eq!(bench.feedback(100), told(&[(65_534, Some(0)), (65_535, Some(1)), (0, Some(2)), (1, Some(3))]));
        bench.record(120, 2);
        assert_eq!(bench.feedback(220), told(&[(2, Some(120))]));
    }

    #[test]
    fn reordering_is_told_with_negative_deltas() {
        let mut bench = Bench::new();
        for (millis, number) in [(0, 7), (10, 9), (30, 8), (31, 6)] {
            bench.record(millis, number);
        }
        assert_eq!(bench.feedback(100), told(&[(6, Some(31)), (7, Some(0)), (8, Some(30)), (9, Some(10))]));
    }

    #[test]
    fn a_loss_between_two_feedback_packets_is_told() {
        let mut bench = Bench::new();
        bench.record(0, 1);
        bench.feedback(100);
        bench.record(110, 4);
        assert_eq!(bench.feedback(200), told(&[(1, Some(0)), (2, None), (3, None), (4, Some(110))]));
    }

    #[test]
    fn a_late_arrival_never_turns_reported_ones_into_losses() {
        let mut bench = Bench::new();
        for (millis, number) in [(0, 10), (1, 12), (2, 13)] {
            bench.record(millis, number);
        }
        bench.feedback(100);
        bench.record(101, 11);
        bench.record(102, 14);
        assert_eq!(bench.feedback(200), told(&[(11, Some(101)), (12, Some(1)), (13, Some(2)), (14, Some(102))]));
    }

    #[test]
    fn doubles_keep_the_first_arrival() {
        let mut bench = Bench::new();
        bench.record(0, 5);
        bench.record(50, 5);
        assert_eq!(bench.feedback(100), told(&[(5, Some(0))]));
    }

    #[test]
    fn a_busy_publisher_hears_sooner() {
        let mut bench = Bench::new();
        for number in 0..TransportCcGenerator::BUSY as u16 {
            bench.record(1, number);
        }
        assert!(bench.feedback(30).is_empty());
        assert_eq!(bench.feedback(31).len(), 1);
    }

    #[test]
    fn a_silence_too_long_for_one_delta_starts_another_packet() {
        let mut bench = Bench::new();
        bench.record(0, 1);
        bench.record(9000, 2);
        assert_eq!(bench.feedback(9000).len(), 2);
        bench.record(30_000, 4);
        let packets = bench.feedback(30_100);
        assert_eq!(packets.last().unwrap().get(&4), Some(&Some(30_000)));
        assert!(bench.feedback(40_000).is_empty());
    }

    #[test]
    fn what_does_not_fit_waits_for_the_next_call() {
        let mut bench = Bench::new();
        for number in 0..400 {
            bench.record(0, number);
        }
        let mut seen = 0;
        for round in 1..20 {
            let mut out = [0u8; 200];
            let mut writer = CompoundWriter::new(&mut out);
            let now = bench.start + Duration::from_millis(round * 100);
            bench.generator.poll_feedback(now, Ssrc(1), Ssrc(2), &mut writer);
            seen += writer.len();
        }
        assert!(seen > 0);
        assert_eq!(bench.generator.poll_timeout(), None, "all of it was told in the end");
    }

    #[test]
    fn memory_is_bounded_when_nobody_polls() {
        let mut bench = Bench::new();
        for step in 0..20_000u32 {
            bench.record(u64::from(step), (step * 3) as u16);
        }
        assert!(bench.feedback(30_000).len() < 20);
    }

    #[test]
    fn every_number_is_told_under_random_loss_and_reordering() {
        let mut bench = Bench::new();
        let mut arrived = BTreeMap::new();
        let mut reported = BTreeMap::new();
        let mut state = 3u64;
        for step in 0..4000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = 1000 + step - ((state >> 33) % 5).min(step);
            if !(state >> 45).is_multiple_of(8) {
                bench.record(step * 2, number as u16);
                arrived.entry(number as u16).or_insert(step as i64 * 2);
            }
            for packet in bench.feedback(step * 2) {
                for (number, at) in packet {
                    let entry = reported.entry(number).or_insert(at);
                    assert!(entry.is_none() || *entry == at, "{number} was received and is now {at:?}");
                    *entry = at;
                }
            }
        }
        for packet in bench.feedback(9000) {
            reported.extend(packet);
        }
        let (first, last) = (*reported.first_key_value().unwrap().0, *arrived.last_key_value().unwrap().0);
        for number in first..=last {
            assert_eq!(reported.get(&number), Some(&arrived.get(&number).copied()), "{number}");
        }
    }
}
