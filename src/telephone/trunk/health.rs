//! The health of one trunk: up, suspect or down, when it is tried again, and whether it may take one more call.
//!
//! Pure: `now` is a parameter. Not here: sending anything.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::config::telephone::TrunkConfig;
use crate::telephone::sip::{DialFailure, ProbeFailure};

/// What is known of a trunk.
#[derive(Debug)]
pub struct Health {
    state: State,
    /// It refused who we are, last at that moment: an alarm for the operator, whatever the state is.
    refused: Option<Instant>,
    /// Not before this moment, because it said so itself.
    rest_until: Option<Instant>,
    calls: u16,
    calls_max: u16,
    /// When the last calls were made: at most one second's.
    made: VecDeque<Instant>,
    rate: u16,
    misses: u32,
    /// Calls that failed on it, by label.
    failures: BTreeMap<&'static str, u64>,
}

/// Whether a trunk is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// In order of priority.
    Up,
    /// A call had no answer, or a probe failed: behind the ones that are up.
    Suspect,
    /// Several in a row: behind all others, until a probe or a try goes well.
    Down {
        /// The next try.
        until: Instant,
        /// The wait before it.
        wait: Duration,
    },
}

impl State {
    /// Label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            State::Up => "up",
            State::Suspect => "suspect",
            State::Down { .. } => "down",
        }
    }
}

impl Health {
    /// Well until the opposite is known.
    #[must_use]
    pub fn new(trunk: &TrunkConfig) -> Health {
        Health {
            state: State::Up,
            refused: None,
            rest_until: None,
            calls: 0,
            calls_max: trunk.max_calls,
            made: VecDeque::new(),
            rate: trunk.calls_per_second,
            misses: 0,
            failures: BTreeMap::new(),
        }
    }

    /// Other limits from now on; calls that run keep their places.
    pub fn set_limits(&mut self, trunk: &TrunkConfig) {
        (self.calls_max, self.rate) = (trunk.max_calls, trunk.calls_per_second);
    }

    /// A registration or a call was answered.
    pub fn handle_answer(&mut self) {
        self.handle_probe_answer();
        self.refused = None;
    }

    /// It is there and speaks SIP, which says nothing of what it thinks of our password: an alarm stays.
    pub fn handle_probe_answer(&mut self) {
        self.state = State::Up;
        self.misses = 0;
    }

    /// A probe or registration failed.
    pub fn handle_probe_failure(&mut self, failure: ProbeFailure, now: Instant) {
        match failure {
            ProbeFailure::Auth => {
                self.handle_probe_answer();
                self.refused = Some(now);
            }
            ProbeFailure::Silent | ProbeFailure::Status(500..=599) => self.miss(now),
            ProbeFailure::Status(_) => self.handle_probe_answer(),
        }
    }

    /// A call failed. Only the line's own troubles count.
    pub fn handle_dial_failure(&mut self, failure: DialFailure, now: Instant) {
        *self.failures.entry(failure.label()).or_default() += 1;
        match failure {
            DialFailure::TrunkSilent => self.miss(now),
            DialFailure::TrunkBusy { retry_after } => {
                self.rest_until = Some(now + retry_after.unwrap_or(REST));
            }
            DialFailure::Auth => {
                self.handle_probe_answer();
                self.refused = Some(now);
            }
            // Ours, not the line's.
            DialFailure::Cancelled | DialFailure::LinesBusy => {}
            _ => self.handle_answer(),
        }
    }

    fn miss(&mut self, now: Instant) {
        self.misses += 1;
        self.state = match self.state {
            State::Up => State::Suspect,
            State::Suspect => State::Down { until: now + RETRY_MIN, wait: RETRY_MIN },
            State::Down { wait, .. } => {
                let wait = (wait * 2).min(RETRY_MAX);
                State::Down { until: now + wait, wait }
            }
        };
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The operator must look at the password.
    #[must_use]
    pub fn auth_alarm(&self) -> bool {
        self.refused.is_some()
    }

    /// Calls that failed on it since the beginning, by label.
    #[must_use]
    pub fn failures(&self) -> &BTreeMap<&'static str, u64> {
        &self.failures
    }

    /// Calls that run.
    #[must_use]
    pub fn calls(&self) -> u16 {
        self.calls
    }

    /// How soon it is tried: lower first; none: not now. A line that is down is better than none.
    #[must_use]
    pub fn rank(&self, now: Instant) -> Option<u8> {
        let rested = self.rest_until.is_none_or(|until| now >= until);
        let rank = match self.state {
            State::Up => 0,
            State::Suspect => 1,
            State::Down { until, .. } if now >= until => 2,
            State::Down { .. } => 3,
        };
        // One refused number must not close the line for ever; the alarm stays until something goes well.
        let trusted = self.refused.is_none_or(|refused| now >= refused + REFUSED_REST);
        (rested && trusted).then_some(rank)
    }

    /// From when on its rate allows one more call; none: it has as many as it may have.
    #[must_use]
    pub fn free_from(&self, now: Instant) -> Option<Instant> {
        let last_of_second = self.made.len().checked_sub(usize::from(self.rate)).and_then(|at| self.made.get(at));
        let free = last_of_second.map_or(now, |made| now.max(*made + SECOND));
        (self.calls < self.calls_max).then_some(free)
    }

    /// Takes a place for a call; false: it would be one too many at once.
    pub fn handle_call_begun(&mut self, now: Instant) -> bool {
        while self.made.front().is_some_and(|made| now.saturating_duration_since(*made) >= SECOND) {
            self.made.pop_front();
        }
        if self.free_from(now).is_none_or(|free| free > now) {
            return false;
        }
        self.calls += 1;
        self.made.push_back(now);
        true
    }

    /// A call that came in takes a place too; the line decides its rate. False: there is none.
    pub fn handle_call_came(&mut self) -> bool {
        let free = self.calls < self.calls_max;
        self.calls += u16::from(free);
        free
    }

    /// Gives the place back.
    pub fn handle_call_ended(&mut self) {
        self.calls = self.calls.saturating_sub(1);
    }

    /// When the next probe is due, where one was made at `last`.
    #[must_use]
    pub fn next_probe(&self, last: Instant, every: Option<Duration>) -> Option<Instant> {
        match self.state {
            State::Up => every.map(|every| last + every),
            State::Suspect => Some(last + every.unwrap_or(RETRY_MIN).min(RETRY_MIN)),
            // Whatever the state says: no answer makes the next question due at once.
            State::Down { until, .. } => Some(until.max(last + RETRY_MIN)),
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// 5, 10, 20 .. 300 s.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// After a 401, 403 or 407.
const REFUSED_REST: Duration = Duration::from_secs(120);
/// After a 503 that says nothing.
const REST: Duration = Duration::from_secs(5);

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn config(text: &str) -> Vec<TrunkConfig> {
        let text = format!(
            "[telephone]\nenabled = true\npublic_ip = [\"192.0.2.1\"]\nsip_tcp = \"0.0.0.0:0\"\nsip_udp = \"0.0.0.0:0\"\n{text}"
        );
        let settings: crate::config::Settings = toml::from_str(&text).unwrap();
        settings.resolve().unwrap().telephone.unwrap().trunks
    }

    fn health(lines: &str) -> Health {
        let trunk =
            format!("[[telephone.trunk]]\nname = \"a\"\nuri = \"sip:192.0.2.9\"\nallow = [\"192.0.2.9\"]\n{lines}");
        Health::new(&config(&trunk)[0])
    }

    #[test]
    fn misses_make_a_line_suspect_then_down_with_growing_waits() {
        let (mut health, now) = (health(""), Instant::now());
        assert_eq!((health.state(), health.rank(now)), (State::Up, Some(0)));
        health.handle_dial_failure(DialFailure::TrunkSilent, now);
        assert_eq!((health.state(), health.rank(now)), (State::Suspect, Some(1)));
        for wait in [5, 10, 20, 40, 80, 160, 300, 300] {
            health.handle_probe_failure(ProbeFailure::Silent, now);
            let wait = Duration::from_secs(wait);
            assert_eq!(health.state(), State::Down { until: now + wait, wait });
            assert_eq!(health.next_probe(now, None), Some(now + wait));
        }
        assert_eq!((health.rank(now), health.rank(now + Duration::from_secs(300))), (Some(3), Some(2)));
        health.handle_answer();
        assert_eq!(health.state(), State::Up);
    }

    #[test]
    fn what_the_called_person_does_says_that_the_line_is_well() {
        let now = Instant::now();
        for failure in [DialFailure::Busy, DialFailure::NoAnswer, DialFailure::NotInService, DialFailure::Refused] {
            let mut health = health("");
            health.handle_dial_failure(DialFailure::TrunkSilent, now);
            health.handle_dial_failure(failure, now);
            assert_eq!(health.state(), State::Up, "{failure:?}");
            let counted: Vec<_> = health.failures().iter().map(|(label, count)| (*label, *count)).collect();
            assert!(counted.contains(&(failure.label(), 1)) && counted.contains(&("trunk_silent", 1)), "{counted:?}");
        }
    }

    #[test]
    fn a_line_that_asks_for_rest_gets_it_and_one_that_refuses_us_alarms() {
        let (mut health, now) = (health(""), Instant::now());
        health.handle_dial_failure(DialFailure::TrunkBusy { retry_after: Some(Duration::from_secs(30)) }, now);
        assert_eq!(health.rank(now + Duration::from_secs(29)), None);
        assert_eq!(health.rank(now + Duration::from_secs(30)), Some(0));
        health.handle_dial_failure(DialFailure::Auth, now);
        assert!(health.auth_alarm() && health.rank(now + Duration::from_secs(119)).is_none());
        assert!(health.auth_alarm() && health.rank(now + Duration::from_secs(120)).is_some());
        health.handle_answer();
        assert!(!health.auth_alarm());
    }

    #[test]
    fn a_line_takes_so_many_calls_and_so_many_a_second() {
        let (mut health, now) = (health("max_calls = 3\ncalls_per_second = 2"), Instant::now());
        assert!(health.handle_call_begun(now) && health.handle_call_begun(now));
        assert_eq!(health.free_from(now + Duration::from_millis(300)), Some(now + SECOND));
        assert!(!health.handle_call_begun(now + Duration::from_millis(999)));
        assert_eq!(health.free_from(now + 3 * SECOND), Some(now + 3 * SECOND));
        assert!(health.handle_call_begun(now + SECOND));
        assert!(!health.handle_call_came() && health.free_from(now + 5 * SECOND).is_none());
        health.handle_call_ended();
        assert!(health.handle_call_came());
        assert_eq!(health.calls(), 3);
        let lower = config(
            "[[telephone.trunk]]\nname = \"a\"\nuri = \"sip:192.0.2.9\"\nallow = [\"192.0.2.9\"]\nmax_calls = 2",
        );
        health.set_limits(&lower[0]);
        health.handle_call_ended();
        assert!(!health.handle_call_came(), "two run already");
        health.handle_call_ended();
        assert!(health.handle_call_came());
    }

    /// An operator bars one destination with 403 and falls silent later: once it answered again it was asked on and on, because the
    /// alarm kept the answer from counting.
    #[test]
    fn a_line_that_refused_us_is_up_when_it_answers_and_is_asked_no_more_than_before() {
        let (mut health, now) = (health(""), Instant::now());
        let every = Some(Duration::from_secs(20));
        health.handle_dial_failure(DialFailure::Auth, now);
        health.handle_probe_failure(ProbeFailure::Silent, now);
        health.handle_probe_failure(ProbeFailure::Silent, now);
        // The answer of the next probe comes when that one was due, and the one after it is asked long after.
        let answered = now + Duration::from_secs(60);
        assert_eq!(health.next_probe(answered, every), Some(answered + RETRY_MIN));
        health.handle_probe_answer();
        assert_eq!((health.state(), health.auth_alarm()), (State::Up, true));
        assert_eq!(health.next_probe(answered, every), Some(answered + Duration::from_secs(20)));
    }

    #[test]
    fn a_suspect_line_is_probed_soon() {
        let (mut health, now) = (health(""), Instant::now());
        let every = Some(Duration::from_secs(20));
        assert_eq!(health.next_probe(now, every), Some(now + Duration::from_secs(20)));
        health.handle_probe_failure(ProbeFailure::Status(503), now);
        assert_eq!(health.next_probe(now, every), Some(now + RETRY_MIN));
        health.handle_probe_failure(ProbeFailure::Status(404), now);
        assert_eq!(health.state(), State::Up);
    }
}
