//! How much one socket may ask: frame sizes and a token bucket. Everything has a limit; past it the page is told.

use std::time::{Duration, Instant};

/// A text frame: an offer with its JSON escapes. The HTTP layer should refuse longer ones unread.
pub const FRAME_BYTES_MAX: usize = 288 * 1024;

/// The SDP within an offer; 64 browser sections that trim nothing stay below.
pub const SDP_BYTES_MAX: usize = 256 * 1024;

/// A frame that is not an offer; the longest is a `join` with two tokens.
pub const SMALL_FRAME_BYTES_MAX: usize = 4 * 1024;

/// Entries of an offer's `senders`: one a source.
pub const SENDERS_MAX: usize = 8;

/// How long a socket may stay without `join`. Lower locks out slow networks, higher keeps strangers' sockets.
pub const JOIN_WAIT_MAX: Duration = Duration::from_secs(10);

/// Silence after which the socket counts as lost; pages ping every 15 s. Lower costs false alarms on mobile networks,
/// higher shows a lost seat as present for longer.
pub const SILENCE_MAX: Duration = Duration::from_secs(45);

/// Messages at once: a page that shows sixty slots sends a `view` for each.
const BURST: f64 = 120.0;

/// Messages a second in the long run; a person's clicks and resizes stay far below.
const PER_SECOND: f64 = 20.0;

/// What an offer costs, because the server works for it.
pub(crate) const OFFER_COST: f64 = 10.0;

/// A token bucket: full at first, refilled with time.
#[derive(Debug)]
pub(crate) struct RateLimit {
    tokens: f64,
    refilled: Instant,
}

impl RateLimit {
    pub(crate) fn new(now: Instant) -> Self {
        Self { tokens: BURST, refilled: now }
    }

    /// Takes `cost` tokens; false when there are too few.
    pub(crate) fn take(&mut self, now: Instant, cost: f64) -> bool {
        let waited = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + waited * PER_SECOND).min(BURST);
        self.refilled = self.refilled.max(now);
        let enough = self.tokens >= cost;
        if enough {
            self.tokens -= cost;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refills_with_time_up_to_the_burst() {
        let start = Instant::now();
        let mut limit = RateLimit::new(start);
        let mut taken = 0;
        while limit.take(start, 1.0) {
            taken += 1;
        }
        assert_eq!(taken, 120);
        assert!(!limit.take(start + Duration::from_millis(40), 1.0));
        assert!(limit.take(start + Duration::from_millis(60), 1.0));
        let later = start + Duration::from_secs(3600);
        assert!((0..12).all(|_| limit.take(later, OFFER_COST)));
        assert!(!limit.take(later, OFFER_COST));
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut limit = RateLimit::new(start);
        while limit.take(start, 1.0) {}
        assert!(!limit.take(start - Duration::from_secs(5), 1.0));
        assert!(!limit.take(start, 1.0));
    }
}
