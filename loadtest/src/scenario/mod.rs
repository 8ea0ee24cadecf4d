//! The scenarios by name, and what they have in common.

pub mod consultation;
pub mod joins;

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::api::Clinic;
use crate::histogram::Histogram;
use crate::report::{Joins, Report, Step, millis};
use crate::tally::Milestones;

/// What the command line asks for.
#[derive(Clone)]
pub struct Plan {
    /// The server.
    pub clinic: Clinic,
    /// What it is.
    pub target: String,
    /// Its process.
    pub pid: Option<u32>,
    /// How long.
    pub seconds: u64,
    /// Rooms; the scenario's own number when absent.
    pub rooms: Option<usize>,
}

/// Runs a scenario by its name.
pub async fn run(name: &str, plan: &Plan) -> Result<Report> {
    match name {
        joins::NAME => joins::run(plan).await,
        consultation::NAME => consultation::run(plan).await,
        _ => {
            let list: Vec<String> = SCENARIOS.iter().map(|(name, what)| format!("  {name:<14}{what}")).collect();
            bail!("there is no scenario `{name}`; there are\n{}", list.join("\n"));
        }
    }
}

/// Name and purpose of each.
pub const SCENARIOS: [(&str, &str); 2] = [(joins::NAME, joins::PURPOSE), (consultation::NAME, consultation::PURPOSE)];

/// How the joins of a run went.
#[derive(Default)]
struct JoinTimes {
    media: Histogram,
    steps: [Histogram; 6],
    failed: usize,
    failures: Vec<String>,
}

impl JoinTimes {
    fn record(&mut self, milestones: &Milestones) {
        let Milestones { welcomed, answered, path, connected, voice, picture } = *milestones;
        for (step, time) in self.steps.iter_mut().zip([Some(welcomed), Some(answered), path, connected, voice, picture])
        {
            time.into_iter().for_each(|time| step.record(time));
        }
        match milestones.media() {
            Some(media) => self.media.record(media),
            None => self.fail("no media from the other in time".to_owned()),
        }
    }

    fn fail(&mut self, why: String) {
        self.failed += 1;
        if self.failures.len() < FAILURES_SHOWN_MAX && !self.failures.contains(&why) {
            self.failures.push(why);
        }
    }

    fn report(&self) -> Joins {
        Joins {
            count: self.media.len() as usize + self.failed,
            failed: self.failed,
            p50_ms: millis(self.media.percentile(0.5)),
            p95_ms: millis(self.media.percentile(0.95)),
            steps: STEPS.iter().zip(&self.steps).map(|(name, times)| Step::new(name, times)).collect(),
            failures: self.failures.clone(),
        }
    }
}

/// A line that overwrites itself, on terminals only.
struct Progress {
    shown_at: Instant,
    terminal: bool,
}

impl Progress {
    fn new() -> Self {
        Self { shown_at: Instant::now() - PROGRESS_EVERY, terminal: std::io::stderr().is_terminal() }
    }

    fn show(&mut self, line: &str) {
        if self.terminal && self.shown_at.elapsed() >= PROGRESS_EVERY {
            self.shown_at = Instant::now();
            eprint!("\r\x1b[K{line}");
            let _ = std::io::stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

const STEPS: [&str; 6] = ["welcomed", "answered", "ICE path", "DTLS done", "first voice", "first picture"];
const FAILURES_SHOWN_MAX: usize = 5;
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// A person gives up long before.
const JOIN_TIME_MAX: Duration = Duration::from_secs(10);
/// One process's sockets and one machine's memory.
const ROOMS_MAX: usize = 1_000;
/// An hour of load is a soak test, with other tools.
const SECONDS_MAX: u64 = 3_600;

impl Plan {
    /// Checks what bounds a run.
    pub fn check(&self) -> Result<()> {
        if !(1..=SECONDS_MAX).contains(&self.seconds) {
            bail!("--seconds must be 1 to {SECONDS_MAX}");
        }
        if self.rooms.is_some_and(|rooms| !(1..=ROOMS_MAX).contains(&rooms)) {
            bail!("--rooms must be 1 to {ROOMS_MAX}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let clinic = Clinic::new("http://127.0.0.1:1", "key", false).unwrap();
        Plan { clinic, target: "colloque".into(), pid: None, seconds: 20, rooms: None }
    }

    #[tokio::test]
    async fn an_unknown_scenario_is_answered_by_the_list() {
        let error = run("jions", &plan()).await.unwrap_err().to_string();
        assert!(SCENARIOS.iter().all(|(name, _)| error.contains(name)), "{error}");
    }

    #[test]
    fn runs_are_bounded() {
        assert!(plan().check().is_ok());
        assert!(Plan { seconds: 0, ..plan() }.check().is_err());
        assert!(Plan { rooms: Some(0), ..plan() }.check().is_err());
        assert!(Plan { rooms: Some(1_000_000), ..plan() }.check().is_err());
    }

    #[test]
    fn a_join_without_media_failed() {
        let mut times = JoinTimes::default();
        times.record(&Milestones { voice: Some(Duration::from_millis(40)), ..Milestones::default() });
        times.record(&Milestones::default());
        let report = times.report();
        assert_eq!((report.count, report.failed), (2, 1));
        assert!((39.0..41.0).contains(&report.p95_ms), "{}", report.p95_ms);
    }
}
