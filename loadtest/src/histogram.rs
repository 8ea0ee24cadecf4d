//! Counts of durations in buckets that grow with the value: fixed memory, mergeable, 1.6 % resolution.

use std::time::Duration;

/// Durations up to hours, in microseconds.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    len: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], len: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one value.
    pub fn record(&mut self, value: Duration) {
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(micros)] += 1;
        self.len += 1;
        self.max = self.max.max(micros);
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.len += other.len;
        self.max = self.max.max(other.max);
    }

    /// How many values.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value, in microseconds, that `share` (0 to 1) of all do not exceed; 0 when empty.
    #[must_use]
    pub fn percentile(&self, share: f64) -> u64 {
        let rank = ((self.len as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_bound(index).min(self.max);
            }
        }
        0
    }

    /// The largest, in microseconds.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }
}

fn bucket(micros: u64) -> usize {
    let octave = (u64::BITS - micros.leading_zeros()).saturating_sub(STEP_BITS + 1);
    let step = micros >> octave;
    ((u64::from(octave) << STEP_BITS) + step).min(BUCKETS as u64 - 1) as usize
}

fn upper_bound(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 << STEP_BITS {
        return index;
    }
    let octave = (index >> STEP_BITS) - 1;
    let step = index - (octave << STEP_BITS);
    ((step + 1) << octave) - 1
}

const STEP_BITS: u32 = 6;
/// 28 octaves above the linear part: four and a half hours.
const BUCKETS: usize = 30 << STEP_BITS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_buckets_are_narrow() {
        for micros in (0..5_000).chain((5_000..20_000_000).step_by(9_973)) {
            let index = bucket(micros);
            assert!(upper_bound(index) >= micros, "{micros}");
            assert!(index == 0 || upper_bound(index - 1) < micros, "{micros}");
            assert!(upper_bound(index) - micros <= micros / 60, "{micros}");
        }
    }

    #[test]
    fn percentiles_of_a_known_distribution() {
        let mut histogram = Histogram::default();
        (1..=50).for_each(|value| histogram.record(Duration::from_micros(value)));
        let mut upper = Histogram::default();
        (51..=100).for_each(|value| upper.record(Duration::from_micros(value)));
        histogram.merge(&upper);
        assert_eq!((histogram.percentile(0.5), histogram.percentile(0.95), histogram.percentile(0.99)), (50, 95, 99));
        assert_eq!((histogram.len(), histogram.max()), (100, 100));
        assert_eq!(Histogram::default().percentile(0.5), 0);
    }
}
