//! Bytes over a sliding second, as a bit rate. Fixed buckets: no allocation and no timer.

use std::time::{Duration, Instant};

use crate::units::{Bitrate, DataSize};

/// Measures one stream's bit rate over the last second.
#[derive(Debug, Default)]
pub struct RateMeter {
    origin: Option<Instant>,
    /// Index of the newest bucket since `origin`.
    newest: u64,
    buckets: [u64; BUCKETS],
}

const BUCKETS: usize = 8;
const BUCKET: Duration = Duration::from_millis(125);
/// A burst at the very beginning is not spread over less than this.
const SPAN_MIN: Duration = Duration::from_millis(250);

impl RateMeter {
    /// Nothing measured.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// So many bytes came.
    pub fn record(&mut self, now: Instant, size: DataSize) {
        let origin = *self.origin.get_or_insert(now);
        let bucket = bucket_of(now, origin);
        if bucket > self.newest {
            for stale in 1..=(bucket - self.newest).min(BUCKETS as u64) {
                self.buckets[(self.newest + stale) as usize % BUCKETS] = 0;
            }
            self.newest = bucket;
        }
        self.buckets[self.newest as usize % BUCKETS] += size.0;
    }

    /// The rate over the last second, zero after a second of silence.
    #[must_use]
    pub fn rate(&self, now: Instant) -> Bitrate {
        let Some(origin) = self.origin else { return Bitrate(0) };
        let current = bucket_of(now, origin).max(self.newest);
        let kept = (BUCKETS as u64).saturating_sub(current - self.newest);
        let sum =
            (0..kept.min(self.newest + 1)).map(|back| self.buckets[(self.newest - back) as usize % BUCKETS]).sum();
        // The newest bucket is only as wide as the time that passed in it.
        let passed = now.saturating_duration_since(origin);
        let first = BUCKET * u32::try_from(current.saturating_sub(BUCKETS as u64 - 1)).unwrap_or(u32::MAX);
        Bitrate::from_size(DataSize(sum), passed.saturating_sub(first).max(SPAN_MIN))
    }
}

fn bucket_of(now: Instant, origin: Instant) -> u64 {
    (now.saturating_duration_since(origin).as_millis() / BUCKET.as_millis()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_a_steady_stream_a_change_and_a_silence() {
        let start = Instant::now();
        let mut meter = RateMeter::new();
        assert_eq!(meter.rate(start), Bitrate(0));
        let at = |millis| start + Duration::from_millis(millis);
        for millis in (0..3000).step_by(10) {
            meter.record(at(millis), DataSize(1250)); // 1 Mbit/s
            if millis > 300 {
                let rate = meter.rate(at(millis)).0;
                assert!((950_000..=1_080_000).contains(&rate), "{millis} ms: {rate}");
            }
        }
        for millis in (3000..4200).step_by(10) {
            meter.record(at(millis), DataSize(125));
        }
        let rate = meter.rate(at(4200)).0;
        assert!((90_000..=120_000).contains(&rate), "{rate}");
        assert_eq!(meter.rate(at(5400)), Bitrate(0));
        meter.record(at(1_000_000), DataSize(1250));
        assert!(meter.rate(at(1_000_000)).0 <= 40_000);
    }

    #[test]
    fn one_packet_is_not_a_high_rate() {
        let start = Instant::now();
        let mut meter = RateMeter::new();
        meter.record(start, DataSize(1250));
        assert_eq!(meter.rate(start), Bitrate(40_000));
    }
}
