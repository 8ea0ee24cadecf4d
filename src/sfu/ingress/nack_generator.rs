//! Which packets of one stream to ask the publisher for again, and when (RFC 4585 section 6.2.1).
//!
//! Pure bookkeeping over extended sequence numbers. It does not know packets, RTX or RTCP.
//! Invariant, asserted after every step of the tests: the list is sorted, bounded, holds only numbers below the
//! highest received, and none that was received.

use std::time::{Duration, Instant};

use crate::rtp::seq::SeqNo;

/// What a packet told about the ones before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gap {
    /// Nothing new is missing, or what is missing will be asked for.
    Repairable,
    /// More is missing than is worth asking for: the list was dropped, and only a keyframe helps.
    TooMuch,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    seq: SeqNo,
    noticed: Instant,
    asked: Asked,
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    NotYet,
    Times { count: u8, last: Instant },
}

/// Asks for what is missing on one stream.
#[derive(Debug, Default)]
pub struct NackGenerator {
    highest: Option<SeqNo>,
    missing: Vec<Missing>,
}

impl NackGenerator {
    /// Numbers kept and asked for at once. Higher: a burst's repair floods a link that just showed that it is full;
    /// lower: a keyframe is asked for where 100 kB would do.
    pub const MISSING_MAX: usize = 256;
    /// How long a number may be only out of order. Higher: every repair is later; lower: the publisher repeats
    /// packets that were on their way.
    pub const REORDER_DELAY: Duration = Duration::from_millis(10);
    /// Later packets that prove the loss before [`Self::REORDER_DELAY`] is over (RFC 5681 counts 3 too).
    pub const REORDER_PACKETS: i64 = 3;
    /// Shortest time between two requests for a number, whatever the round trip.
    pub const RETRY_MIN: Duration = Duration::from_millis(20);
    /// Longest time between two requests, so that a wrong round-trip time cannot silence us.
    pub const RETRY_MAX: Duration = Duration::from_millis(200);
    /// What to assume of the round trip before the first report proves one.
    pub const RTT_UNKNOWN: Duration = Duration::from_millis(100);
    /// Requests for one number; the tenth loss in a row is an outage.
    pub const TRIES_MAX: u8 = 10;
    /// Past this age the picture has frozen, viewers ask for keyframes and the cache no longer takes the packet.
    pub const AGE_MAX: Duration = Duration::from_millis(800);

    /// Nothing received, nothing missing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A packet came, as itself or repaired.
    pub fn record(&mut self, now: Instant, seq: SeqNo) -> Gap {
        let Some(highest) = self.highest else {
            self.highest = Some(seq);
            return Gap::Repairable;
        };
        if seq <= highest {
            if let Ok(at) = self.missing.binary_search_by_key(&seq, |missing| missing.seq) {
                self.missing.remove(at);
            }
            return Gap::Repairable;
        }
        self.highest = Some(seq);
        let lost = (seq.distance(highest) - 1) as usize;
        if lost == 0 {
            return Gap::Repairable;
        }
        self.give_up_old(now);
        if lost.saturating_add(self.missing.len()) > Self::MISSING_MAX {
            self.missing.clear();
            return Gap::TooMuch;
        }
        if self.missing.capacity() == 0 {
            self.missing.reserve_exact(Self::MISSING_MAX);
        }
        let fresh = |offset| Missing { seq: highest + offset as u64, noticed: now, asked: Asked::NotYet };
        self.missing.extend((1..=lost).map(fresh));
        Gap::Repairable
    }

    /// Hands out the numbers to ask for now, in ascending order, and counts them as asked.
    pub fn poll(&mut self, now: Instant, rtt: Duration, mut ask: impl FnMut(SeqNo)) {
        let Some(highest) = self.highest else { return };
        self.give_up_old(now);
        for missing in &mut self.missing {
            if due(missing, highest, rtt) > now {
                continue;
            }
            let count = match missing.asked {
                Asked::NotYet => 0,
                Asked::Times { count, .. } => count,
            };
            missing.asked = Asked::Times { count: count + 1, last: now };
            ask(missing.seq);
        }
    }

    /// When the next number falls due.
    #[must_use]
    pub fn poll_timeout(&self, rtt: Duration) -> Option<Instant> {
        let highest = self.highest?;
        self.missing.iter().filter(|missing| !is_exhausted(missing)).map(|missing| due(missing, highest, rtt)).min()
    }

    /// Numbers that are missing and not given up.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing.len()
    }

    fn give_up_old(&mut self, now: Instant) {
        self.missing
            .retain(|missing| !is_exhausted(missing) && now.saturating_duration_since(missing.noticed) < Self::AGE_MAX);
    }
}

fn is_exhausted(missing: &Missing) -> bool {
    matches!(missing.asked, Asked::Times { count: NackGenerator::TRIES_MAX.., .. })
}

/// The first request waits for reordering to settle, the next ones for the answer of the last.
fn due(missing: &Missing, highest: SeqNo, rtt: Duration) -> Instant {
    match missing.asked {
        Asked::NotYet if highest.distance(missing.seq) >= NackGenerator::REORDER_PACKETS => missing.noticed,
        Asked::NotYet => missing.noticed + NackGenerator::REORDER_DELAY,
        // A quarter more than the round trip leaves room for the repair's own jitter.
        Asked::Times { last, .. } => last + (rtt + rtt / 4).clamp(NackGenerator::RETRY_MIN, NackGenerator::RETRY_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const RTT: Duration = Duration::from_millis(40);

    /// The generator beside a plain model of what was received; every step checks the invariant.
    struct Bench {
        start: Instant,
        millis: u64,
        generator: NackGenerator,
        received: BTreeSet<u64>,
    }

    impl Bench {
        fn new() -> Self {
            Self { start: Instant::now(), millis: 0, generator: NackGenerator::new(), received: BTreeSet::new() }
        }

        fn now(&self) -> Instant {
            self.start + Duration::from_millis(self.millis)
        }

        fn record(&mut self, seq: u64) -> Gap {
            self.received.insert(seq);
            let gap = self.generator.record(self.now(), SeqNo(seq));
            self.check();
            gap
        }

        fn asked(&mut self) -> Vec<u64> {
            let mut asked = Vec::new();
            let now = self.now();
            self.generator.poll(now, RTT, |seq| asked.push(seq.0));
            self.check();
            assert!(asked.is_sorted());
            asked
        }

        fn after(&mut self, millis: u64) -> &mut Self {
            self.millis += millis;
            self
        }

        fn check(&self) {
            let missing = &self.generator.missing;
            assert!(missing.len() <= NackGenerator::MISSING_MAX);
            assert!(missing.is_sorted_by_key(|m| m.seq));
            for m in missing {
                assert!(Some(m.seq) < self.generator.highest);
                assert!(!self.received.contains(&m.seq.0), "{:?} was received", m.seq);
            }
            assert_eq!(self.generator.highest.map(|seq| seq.0), self.received.last().copied());
        }
    }

    #[test]
    fn a_stream_in_order_asks_for_nothing() {
        let mut bench = Bench::new();
        for seq in 65_530..65_560 {
            assert_eq!(bench.record(seq), Gap::Repairable);
            assert!(bench.after(5).asked().is_empty());
            assert_eq!(bench.generator.poll_timeout(RTT), None);
        }
    }

    #[test]
    fn a_short_reordering_is_not_asked_for() {
        let mut bench = Bench::new();
        bench.record(10);
        bench.record(12);
        assert!(bench.after(5).asked().is_empty());
        bench.record(11);
        assert!(bench.after(50).asked().is_empty());
        assert_eq!(bench.generator.missing(), 0);
    }

    #[test]
    fn a_loss_is_asked_for_when_the_reordering_delay_is_over() {
        let mut bench = Bench::new();
        bench.record(10);
        bench.record(12);
        assert_eq!(bench.generator.poll_timeout(RTT), Some(bench.now() + NackGenerator::REORDER_DELAY));
        assert!(bench.after(9).asked().is_empty());
        assert_eq!(bench.after(1).asked(), [11]);
    }

    #[test]
    fn a_loss_that_later_packets_prove_is_asked_for_at_once() {
        let mut bench = Bench::new();
        bench.record(10);
        bench.record(12);
        bench.record(13);
        assert!(bench.asked().is_empty());
        bench.record(14);
        assert_eq!(bench.asked(), [11]);
    }

    #[test]
    fn asks_again_after_a_round_trip_and_no_sooner() {
        let mut bench = Bench::new();
        bench.record(10);
        bench.record(14);
        assert_eq!(bench.after(10).asked(), [11, 12, 13]);
        assert!(bench.after(49).asked().is_empty());
        bench.record(12);
        assert_eq!(bench.after(1).asked(), [11, 13]);
    }

    #[test]
    fn gives_up_by_age_and_by_tries() {
        let mut bench = Bench::new();
        bench.record(10);
        bench.record(12);
        let mut tries = 0;
        for _ in 0..2000 {
            tries += bench.after(1).asked().len();
        }
        assert_eq!(tries, usize::from(NackGenerator::TRIES_MAX));
        assert_eq!(bench.generator.missing(), 0);

        let mut slow = Bench::new();
        slow.record(10);
        slow.record(12);
        assert!(slow.after(NackGenerator::AGE_MAX.as_millis() as u64).asked().is_empty());
        assert_eq!(slow.generator.missing(), 0);
        assert_eq!(slow.generator.poll_timeout(RTT), None);
    }

    #[test]
    fn too_much_missing_asks_for_a_keyframe_and_for_no_packet() {
        let mut bench = Bench::new();
        bench.record(10);
        assert_eq!(bench.record(11 + NackGenerator::MISSING_MAX as u64), Gap::Repairable);
        assert_eq!(bench.generator.missing(), NackGenerator::MISSING_MAX);
        assert_eq!(bench.record(13 + NackGenerator::MISSING_MAX as u64), Gap::TooMuch);
        assert!(bench.after(20).asked().is_empty());
        assert_eq!(bench.record(u64::from(u32::MAX)), Gap::TooMuch);
    }

    #[test]
    fn the_list_never_reallocates() {
        let mut bench = Bench::new();
        bench.record(10);
        bench.record(12);
        let capacity = bench.generator.missing.capacity();
        for seq in 0..3000 {
            bench.record(20 + seq * 7);
            bench.after(3).asked();
        }
        assert_eq!(bench.generator.missing.capacity(), capacity);
    }

    #[test]
    fn the_invariant_holds_under_random_loss_reordering_and_jumps() {
        let mut bench = Bench::new();
        let mut state = 7u64;
        let mut next = 1000;
        for _ in 0..5000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match (state >> 33) % 20 {
                0 => next += 300,
                1..4 => next += 2,
                4..7 => {
                    bench.record(next - (state >> 40) % 30);
                }
                _ => next += 1,
            }
            bench.record(next);
            bench.after((state >> 50) % 8).asked();
        }
    }
}
