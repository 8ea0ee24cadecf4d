//! Keys that come on several ways at once: each press counts once.
//!
//! Telephones and gateways send keys as telephone-events (RFC 4733), by SIP INFO and as tones, and some all of these together. The best
//! way that a call has shown is believed alone: events are made for this, INFO is exact but slow, tones may be somebody's voice. A first
//! press may have come by a lesser way before: its repetition by the better one is known by its nearness. Pure.

use std::time::{Duration, Instant};

use crate::telephone::media::KeyWay;

/// How a key came, the lesser first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Way {
    Tones,
    Info,
    Event,
}

impl From<KeyWay> for Way {
    fn from(way: KeyWay) -> Way {
        match way {
            KeyWay::Event => Way::Event,
            KeyWay::InBand => Way::Tones,
        }
    }
}

/// See the module.
#[derive(Clone, Default)]
pub(super) struct KeyWays {
    best: Option<Way>,
    last: Option<(char, Instant)>,
}

impl KeyWays {
    /// Whether this is a press that did not count yet.
    pub(super) fn handle_key(&mut self, way: Way, key: char, now: Instant) -> bool {
        if self.best.is_some_and(|best| way < best) {
            return false;
        }
        let is_better = self.best.replace(way).is_some_and(|best| way > best);
        let is_near = |(last, at): (char, Instant)| last == key && now.saturating_duration_since(at) < SAME_PRESS;
        if is_better && self.last.is_some_and(is_near) {
            return false;
        }
        self.last = Some((key, now));
        true
    }

    /// Another description is in force: the telephone may send keys another way from now on.
    pub(super) fn handle_agreement(&mut self) {
        self.best = None;
    }
}

/// Between two ways of one press: some send INFO when the key is let go. A second press of the same key comes later, or on the way that
/// is believed by then.
const SAME_PRESS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_press_counts_once_whatever_ways_it_comes() {
        use Way::{Event, Info, Tones};
        for (presses, expected) in [
            (&[(0, Info, '1'), (200, Info, '1'), (400, Info, '2')][..], "112"),
            (&[(0, Event, '1'), (40, Info, '1'), (300, Event, '1'), (340, Info, '1')], "11"),
            (&[(0, Info, '1'), (40, Event, '1'), (300, Info, '1'), (340, Event, '1')], "11"),
            (&[(0, Tones, '4'), (200, Info, '4'), (500, Tones, '#'), (700, Info, '#')], "4#"),
            (&[(0, Tones, '4'), (60, Info, '4'), (90, Event, '4'), (300, Event, '7'), (330, Tones, '7')], "47"),
            // The event of the first key was lost, and only its tone came.
            (&[(0, Tones, '4'), (300, Event, '7'), (330, Tones, '7'), (600, Event, '7')], "477"),
            (&[(0, Tones, '4'), (1_500, Event, '4'), (1_530, Tones, '4')], "44"),
        ] {
            let (mut ways, start) = (KeyWays::default(), Instant::now());
            let counted =
                presses.iter().filter(|&&(at, way, key)| ways.handle_key(way, key, start + Duration::from_millis(at)));
            assert_eq!(counted.map(|press| press.2).collect::<String>(), expected, "{presses:?}");
        }
    }

    #[test]
    fn after_a_new_agreement_a_lesser_way_is_believed_again() {
        let (mut ways, now) = (KeyWays::default(), Instant::now());
        assert!(ways.handle_key(Way::Event, '1', now) && !ways.handle_key(Way::Info, '2', now));
        ways.handle_agreement();
        assert!(ways.handle_key(Way::Info, '2', now));
    }
}
