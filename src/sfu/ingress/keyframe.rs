//! When to ask the publisher for a keyframe of one layer: many viewers' wishes become few PLIs (RFC 4585 6.3.1).
//!
//! Not here: who wishes (`sfu::egress`, and gaps too large to repair) and the RTCP itself.
//! Invariant: two requests are never closer than [`KeyframeRequests::INTERVAL_MIN`], also across keyframes.

use std::time::{Duration, Instant};

/// Keyframe requests of one layer.
#[derive(Debug, Default)]
pub struct KeyframeRequests {
    state: State,
    last_sent: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Nobody waits.
    #[default]
    Settled,
    /// Somebody waits; `sent` requests went out for it.
    Wanted { sent: u8 },
}

impl KeyframeRequests {
    /// Shortest time between two requests. Higher: a newcomer looks at black for longer; lower: keyframes, which are
    /// ten times as large, crowd out the picture.
    pub const INTERVAL_MIN: Duration = Duration::from_millis(500);
    /// Retries slow down to this for a publisher that does not answer (muted, gone, an encoder that ignores PLI).
    pub const INTERVAL_MAX: Duration = Duration::from_secs(4);

    /// Nobody waits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Somebody needs a keyframe. Any number of wishes before it comes are one.
    pub fn request(&mut self) {
        if let State::Settled = self.state {
            self.state = State::Wanted { sent: 0 };
        }
    }

    /// A keyframe began to arrive: everybody who waited is served.
    pub fn record_keyframe(&mut self) {
        self.state = State::Settled;
    }

    /// The publisher is heard again after a silence: it may have missed every request so far.
    pub fn record_return(&mut self) {
        if let State::Wanted { sent } = &mut self.state {
            *sent = 0;
        }
    }

    /// Whether to send a request now; counts it as sent.
    pub fn poll(&mut self, now: Instant) -> bool {
        let State::Wanted { sent } = self.state else { return false };
        if self.poll_timeout().is_some_and(|due| now < due) {
            return false;
        }
        self.state = State::Wanted { sent: sent.saturating_add(1) };
        self.last_sent = Some(now);
        true
    }

    /// When the next request falls due; `None` when nobody waits, or when it is due at once.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let State::Wanted { sent } = self.state else { return None };
        let backoff = Self::INTERVAL_MIN * (1 << sent.saturating_sub(2).min(3));
        self.last_sent.map(|last| last + backoff.min(Self::INTERVAL_MAX))
    }

    /// Whether somebody waits.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        matches!(self.state, State::Wanted { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        start: Instant,
        requests: KeyframeRequests,
    }

    impl Bench {
        fn new() -> Self {
            Self { start: Instant::now(), requests: KeyframeRequests::new() }
        }

        fn sent_at(&mut self, millis: u64) -> bool {
            self.requests.poll(self.start + Duration::from_millis(millis))
        }
    }

    #[test]
    fn nobody_waiting_sends_nothing() {
        let mut bench = Bench::new();
        assert!(!bench.sent_at(0) && !bench.sent_at(10_000));
        assert_eq!(bench.requests.poll_timeout(), None);
    }

    #[test]
    fn many_wishes_become_one_request_at_once() {
        let mut bench = Bench::new();
        for _ in 0..49 {
            bench.requests.request();
        }
        assert!(bench.sent_at(0));
        bench.requests.request();
        assert!(!bench.sent_at(1));
    }

    #[test]
    fn retries_until_a_keyframe_comes_and_slows_down() {
        let mut bench = Bench::new();
        bench.requests.request();
        let sent: Vec<u64> = (0..20_000).filter(|&millis| bench.sent_at(millis)).collect();
        assert_eq!(sent, [0, 500, 1000, 2000, 4000, 8000, 12_000, 16_000]);
        bench.requests.record_keyframe();
        assert!(!bench.requests.is_wanted());
        assert!(!bench.sent_at(60_000));
    }

    /// After a publisher's outage of 20 s the picture came back up to four seconds after the network, because requests
    /// into the void had slowed down.
    #[test]
    fn a_publisher_that_is_back_is_asked_at_once() {
        let mut bench = Bench::new();
        bench.requests.request();
        let sent: Vec<u64> = (0..9000).filter(|&millis| bench.sent_at(millis)).collect();
        assert_eq!(sent.last(), Some(&8000));
        bench.requests.record_return();
        assert!(bench.sent_at(9000) && !bench.sent_at(9499) && bench.sent_at(9500));
    }

    #[test]
    fn a_new_wish_right_after_a_keyframe_still_waits_for_the_interval() {
        let mut bench = Bench::new();
        bench.requests.request();
        assert!(bench.sent_at(0));
        bench.requests.record_keyframe();
        bench.requests.request();
        assert!(!bench.sent_at(499));
        assert_eq!(bench.requests.poll_timeout(), Some(bench.start + Duration::from_millis(500)));
        assert!(bench.sent_at(500));
    }

    #[test]
    fn two_requests_are_never_closer_than_the_interval() {
        let mut bench = Bench::new();
        let mut last = None;
        for millis in 0..30_000u64 {
            if millis % 7 == 0 {
                bench.requests.request();
            }
            if millis % 61 == 0 {
                bench.requests.record_keyframe();
            }
            if bench.sent_at(millis) {
                assert!(last.is_none_or(|last| millis - last >= 500), "{last:?} {millis}");
                last = Some(millis);
            }
        }
    }
}
