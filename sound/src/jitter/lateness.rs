//! How late packets are against the fastest one of the last seconds, and how late 95 % of them are at most.
//!
//! A packet's *transit* is its arrival less its timestamp, both in microseconds and each from an arbitrary zero. The least one of
//! the last five to ten seconds is the base: so a drift of the sender's clock moves the base along. Not here: packets.

use std::time::Duration;

/// See the module. Times are microseconds.
#[derive(Default)]
pub(super) struct Lateness {
    base: Option<Base>,
    histogram: Histogram,
    previous_transit: Option<i64>,
    /// RFC 3550's jitter, times 16 so that its division loses nothing.
    jitter_16: i64,
}

struct Base {
    /// The least transit of the interval before, and of this one, which began at `since`.
    before: i64,
    current: i64,
    since: i64,
}

impl Base {
    fn least(&self) -> i64 {
        self.before.min(self.current)
    }
}

impl Lateness {
    /// A packet of timestamp `span` arrived at `elapsed`.
    pub(super) fn record(&mut self, elapsed: i64, span: i64) {
        let transit = elapsed - span;
        let base = self.base.get_or_insert(Base { before: transit, current: transit, since: elapsed });
        let age = elapsed - base.since;
        if age >= INTERVAL {
            // After two intervals without a packet nothing of the old base is left.
            base.before = if age >= 2 * INTERVAL { transit } else { base.current };
            (base.current, base.since) = (transit, elapsed);
        }
        base.current = base.current.min(transit);
        self.histogram.record(transit - base.least());
        let step = self.previous_transit.map_or(0, |previous| (transit - previous).abs());
        self.previous_transit = Some(transit);
        self.jitter_16 += step - ((self.jitter_16 + 8) >> 4);
    }

    /// By how much `elapsed` is later than the fastest packet would bring the timestamp `span`.
    pub(super) fn over_base(&self, elapsed: i64, span: i64) -> i64 {
        self.base.as_ref().map_or(0, |base| elapsed - span - base.least())
    }

    /// The delay that 95 % of the packets keep, in steps of [`STEP`].
    pub(super) fn high_water(&self) -> Duration {
        Duration::from_micros(self.histogram.high_water as u64)
    }

    /// The interarrival jitter of RFC 3550 section 6.4.1.
    pub(super) fn jitter(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.jitter_16 >> 4).unwrap_or(0))
    }

    /// Another clock begins; the network's jitter stays what it was.
    pub(super) fn restart(&mut self) {
        self.base = None;
        self.previous_transit = None;
    }
}

/// How much of all packets, newer ones counting more, was how late.
struct Histogram {
    shares: [f32; STEPS],
    high_water: i64,
}

impl Default for Histogram {
    fn default() -> Self {
        let mut shares = [0.0; STEPS];
        shares[0] = 1.0;
        Self { shares, high_water: STEP }
    }
}

impl Histogram {
    fn record(&mut self, late: i64) {
        let index = usize::try_from(late / STEP).unwrap_or(0).min(STEPS - 1);
        for share in &mut self.shares {
            *share *= KEPT;
        }
        self.shares[index] += 1.0 - KEPT;
        let mut above: f32 = self.shares.iter().sum();
        let beyond = above * 0.05;
        let mut steps = 0;
        while steps < STEPS && above > beyond {
            above -= self.shares[steps];
            steps += 1;
        }
        self.high_water = steps.max(1) as i64 * STEP;
    }
}

/// The width of a step: finer ones would tell apart what the clock of 20 ms cannot.
const STEP: i64 = 5_000;
/// Up to 250 ms, beyond the highest target.
const STEPS: usize = 50;
/// What remains of a packet's share after the next one: after 10 s (500 packets) a third is left. Longer memory would keep the
/// delay of a single bad moment, shorter would forget one that comes again and again.
const KEPT: f32 = 0.998;
/// The base is the least transit of one to two such intervals. In 10 s a clock that is 200 ppm off moves by 2 ms.
const INTERVAL: i64 = 5_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_is_what_19_of_20_packets_keep() {
        let mut lateness = Lateness::default();
        for n in 0..5_000_i64 {
            let late = if n % 40 == 0 { 150_000 } else { (n % 4) * 10_000 };
            lateness.record(n * 20_000 + late, n * 20_000);
        }
        // 97.5 % are at most 30 ms late.
        assert_eq!(lateness.high_water(), Duration::from_millis(35));
    }

    #[test]
    fn the_base_follows_a_drifting_clock() {
        for ppm in [-200_i64, 200] {
            let mut lateness = Lateness::default();
            for n in 0..50_i64 * 3_600 {
                lateness.record(n * 20_000 + n * 20_000 * ppm / 1_000_000, n * 20_000);
            }
            assert_eq!(lateness.high_water(), Duration::from_millis(5), "{ppm}");
        }
    }

    #[test]
    fn jitter_is_that_of_rfc_3550() {
        let mut lateness = Lateness::default();
        for n in 0..2_000_i64 {
            lateness.record(n * 20_000 + (n % 2) * 8_000, n * 20_000);
        }
        // Every step differs by 8 ms.
        assert!((7_500..=8_000).contains(&lateness.jitter().as_micros()), "{:?}", lateness.jitter());
    }
}
