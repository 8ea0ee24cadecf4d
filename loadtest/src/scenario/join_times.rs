//! How the joins of a run went: each step's times, and why some failed.

use std::time::Duration;

use crate::histogram::Histogram;
use crate::report::{Joins, Step, millis};
use crate::tally::Milestones;

/// Collects joins.
#[derive(Default)]
pub(super) struct JoinTimes {
    done: Histogram,
    steps: [Histogram; 6],
    failed: usize,
    failures: Vec<String>,
}

impl JoinTimes {
    /// Notes a join that came as far as it should.
    pub(super) fn record(&mut self, milestones: &Milestones) {
        let Milestones { welcomed, answered, path, connected, voice, picture } = *milestones;
        let steps = [Some(welcomed), Some(answered), path, connected, voice, picture];
        for (step, time) in self.steps.iter_mut().zip(steps) {
            time.into_iter().for_each(|time| step.record(time));
        }
        // Who has nobody to hear or see has joined when the connection stands.
        match milestones.media().or(connected) {
            Some(done) => self.done.record(done),
            None => self.fail("no connection in time".to_owned()),
        }
    }

    /// Notes one that failed, and why.
    pub(super) fn fail(&mut self, why: String) {
        self.failed += 1;
        if self.failures.len() < FAILURES_SHOWN_MAX && !self.failures.contains(&why) {
            self.failures.push(why);
        }
    }

    /// How many were noted.
    pub(super) fn count(&self) -> usize {
        self.done.len() as usize + self.failed
    }

    /// How many of them failed.
    pub(super) fn failed(&self) -> usize {
        self.failed
    }

    /// The longest, once there was one.
    pub(super) fn longest(&self) -> Duration {
        Duration::from_micros(self.done.max())
    }

    /// Sums up.
    pub(super) fn report(&self) -> Joins {
        let steps = STEPS.iter().zip(&self.steps).filter(|(_, times)| !times.is_empty());
        Joins {
            count: self.count(),
            failed: self.failed,
            p50_ms: millis(self.done.percentile(0.5)),
            p95_ms: millis(self.done.percentile(0.95)),
            steps: steps.map(|(name, times)| Step::new(name, times)).collect(),
            failures: self.failures.clone(),
        }
    }
}

const STEPS: [&str; 6] = ["welcomed", "answered", "ICE path", "DTLS done", "first voice", "first picture"];
const FAILURES_SHOWN_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_without_a_connection_failed() {
        let mut times = JoinTimes::default();
        times.record(&Milestones { voice: Some(Duration::from_millis(40)), ..Milestones::default() });
        times.record(&Milestones::default());
        let report = times.report();
        assert_eq!((report.count, report.failed), (2, 1));
        assert!((39.0..41.0).contains(&report.p95_ms), "{}", report.p95_ms);
        assert!((39..41).contains(&times.longest().as_millis()));
    }

    #[test]
    fn failures_are_counted_all_and_shown_once_each() {
        let mut times = JoinTimes::default();
        (0..40).for_each(|index| times.fail(format!("reason {}", index % 8)));
        let report = times.report();
        assert_eq!((report.failed, report.failures.len()), (40, 5));
    }
}
