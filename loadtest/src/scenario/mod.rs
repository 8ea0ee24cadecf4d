//! The scenarios by name, what bounds a run, and which limits the figures must keep.
//!
//! ```text
//!   shapes ──▶ calls (open, measure, close) ◀── joins, reconnect_storm, idle, soak, hostile
//!                └── a Target's seats            each with what is its own
//! ```

mod calls;
mod hostile;
mod idle;
mod join_times;
mod joins;
mod reconnect_storm;
mod shapes;
mod soak;

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::engine;
use crate::report::Report;
use crate::target::Target;

/// What the command line asks for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server's process.
    pub pid: Option<u32>,
    /// How long the measured window is.
    pub seconds: u64,
    /// Between the last join and the measured window.
    pub warm_up: Duration,
    /// Rooms; the scenario's own number when absent.
    pub rooms: Option<usize>,
    /// Who watch a webinar.
    pub subscribers: Option<usize>,
    /// Who come back in a storm.
    pub participants: Option<usize>,
    /// Of a camera, all layers together; the scenario's own when absent.
    pub kbit_per_second: Option<u32>,
    /// Joins a second.
    pub rate: Option<f64>,
    /// Junk datagrams a second.
    pub junk: Option<u32>,
    /// Where the server's counters are.
    pub metrics_url: Option<String>,
    /// Which media client.
    pub engine: engine::Kind,
    /// Its media threads.
    pub threads: usize,
    /// Limits other than the scenario's own.
    pub limits: Limits,
}

/// Limits other than the scenario's own.
#[derive(clap::Args, Clone, Copy, PartialEq, Debug, Default)]
pub struct Limits {
    /// Packets lost, percent
    #[arg(long, value_name = "PERCENT")]
    pub loss_max: Option<f64>,
    /// Junk that `hostile` really sent, percent of what it was asked for: less is no result
    #[arg(long, value_name = "PERCENT")]
    pub junk_min: Option<f64>,
    /// 99 of 100 packets' one-way latency, milliseconds
    #[arg(long, value_name = "MS")]
    pub p99_ms_max: Option<f64>,
    /// 95 of 100 joins, milliseconds
    #[arg(long, value_name = "MS")]
    pub join_p95_ms_max: Option<f64>,
    /// How far joins may move the running calls' p99, milliseconds
    #[arg(long, value_name = "MS")]
    pub p99_change_ms_max: Option<f64>,
    /// Server memory for each room, kB (1,000 bytes)
    #[arg(long, value_name = "KB")]
    pub room_kb_max: Option<f64>,
    /// The last one back after a storm, seconds
    #[arg(long, value_name = "SECONDS")]
    pub last_back_max: Option<f64>,
    /// Server memory's growth in a soak, percent
    #[arg(long, value_name = "PERCENT")]
    pub growth_max: Option<f64>,
    /// Server processor time for each forwarded packet, microseconds; not judged unless given
    #[arg(long, value_name = "US")]
    pub cpu_us_max: Option<f64>,
}

/// Name and purpose of each.
pub const SCENARIOS: [(&str, &str); 10] = [
    ("consultation", "rooms of two with voice and 720p"),
    ("simulcast", "rooms of two to eight with cameras of three layers"),
    ("webinar", "one camera, --subscribers who watch"),
    ("audio", "rooms of two, voices only"),
    ("ward_round", "rooms of five, all with voice and camera"),
    ("joins", "pairs join at --rate beside --rooms running rooms; time to first media"),
    ("reconnect_storm", "--participants lose the network and come back at once; time until the last has media"),
    ("idle", "rooms of two, connected and silent; server memory for each"),
    ("soak", "a mix of rooms with people who come and go; growth of server memory"),
    ("hostile", "--junk datagrams a second beside running calls; added loss"),
];

/// Runs a scenario by its name.
pub async fn run<T: Target>(name: &str, plan: &Plan, target: T) -> Result<Report> {
    plan.check(name)?;
    match name {
        "joins" => joins::run(plan, target).await,
        "reconnect_storm" => reconnect_storm::run(plan, target).await,
        "idle" => idle::run(plan, target).await,
        "soak" => soak::run(plan, target).await,
        "hostile" => hostile::run(plan, target).await,
        _ => {
            let steady = shapes::Steady::named(name, plan).ok_or_else(|| unknown(name))?;
            calls::run(plan, target, &steady).await
        }
    }
}

fn unknown(name: &str) -> anyhow::Error {
    let list: Vec<String> = SCENARIOS.iter().map(|(name, what)| format!("  {name:<17}{what}")).collect();
    anyhow::anyhow!("there is no scenario `{name}`; there are\n{}", list.join("\n"))
}

impl Plan {
    /// Checks what bounds a run, and that the engine can do what the scenario needs.
    pub fn check(&self, scenario: &str) -> Result<()> {
        if !SCENARIOS.iter().any(|(name, _)| *name == scenario) {
            return Err(unknown(scenario));
        }
        within("--seconds", self.seconds as f64, 1.0, SECONDS_MAX as f64)?;
        within("--window-warmup", self.warm_up.as_secs_f64(), 0.0, 600.0)?;
        within("--threads", self.threads as f64, 1.0, THREADS_MAX as f64)?;
        // Joins alone may run beside no rooms.
        let rooms_min = if scenario == "joins" { 0.0 } else { 1.0 };
        let bounds = [
            ("--rooms", self.rooms.map(|n| n as f64), rooms_min, ROOMS_MAX as f64),
            ("--subscribers", self.subscribers.map(|n| n as f64), 1.0, SUBSCRIBERS_MAX as f64),
            ("--participants", self.participants.map(|n| n as f64), 2.0, PARTICIPANTS_MAX as f64),
            ("--bitrate", self.kbit_per_second.map(f64::from), 10.0, 20_000.0),
            ("--rate", self.rate, 0.1, RATE_MAX),
            ("--junk", self.junk.map(f64::from), 1.0, f64::from(JUNK_MAX)),
        ];
        for (flag, value, min, max) in bounds {
            value.map_or(Ok(()), |value| within(flag, value, min, max))?;
        }
        let has_simulcast = matches!(scenario, "simulcast" | "soak");
        if self.engine == engine::Kind::Webrtc && (has_simulcast || scenario == "reconnect_storm") {
            let lack = if has_simulcast { "sends no simulcast" } else { "cannot lose its network on purpose" };
            bail!("--engine webrtc {lack}, which `{scenario}` needs: use --engine light");
        }
        Ok(())
    }

    fn loss_max(&self) -> f64 {
        self.limits.loss_max.unwrap_or(LOSS_PERCENT_MAX)
    }
}

fn within(flag: &str, value: f64, min: f64, max: f64) -> Result<()> {
    ensure!((min..=max).contains(&value), "{flag} must be {min} to {max}");
    Ok(())
}

/// On loopback nothing may be lost but what a full socket buffer drops.
const LOSS_PERCENT_MAX: f64 = 0.1;
/// One process's sockets and one machine's memory.
const ROOMS_MAX: usize = 2_000;
/// More than any server seats in one room.
const SUBSCRIBERS_MAX: usize = 500;
/// Twice the storm that the server must stand.
const PARTICIPANTS_MAX: usize = 2_000;
/// A soak over a night.
const SECONDS_MAX: u64 = 43_200;
/// Joins a second; more than one machine's two ends can do.
const RATE_MAX: f64 = 1_000.0;
/// Datagrams a second.
const JUNK_MAX: u32 = 2_000_000;
const THREADS_MAX: usize = 16;
/// A person gives up long before.
const JOIN_TIME_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn plan() -> Plan {
        Plan {
            pid: None,
            seconds: 20,
            warm_up: Duration::from_secs(2),
            rooms: None,
            subscribers: None,
            participants: None,
            kbit_per_second: None,
            rate: None,
            junk: None,
            metrics_url: None,
            engine: engine::Kind::Light,
            threads: 1,
            limits: Limits::default(),
        }
    }

    #[test]
    fn an_unknown_scenario_is_answered_by_the_list() {
        let error = plan().check("jions").unwrap_err().to_string();
        assert!(SCENARIOS.iter().all(|(name, _)| error.contains(name)), "{error}");
    }

    #[test]
    fn every_scenario_of_the_list_can_be_run_within_its_bounds() {
        for (name, _) in SCENARIOS {
            assert!(plan().check(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn runs_are_bounded_in_people_count_and_time() {
        let base = plan();
        let too_much = [
            ("--seconds", Plan { seconds: 0, ..base.clone() }),
            ("--seconds", Plan { seconds: 1_000_000, ..base.clone() }),
            ("--rooms", Plan { rooms: Some(0), ..base.clone() }),
            ("--rooms", Plan { rooms: Some(1_000_000), ..base.clone() }),
            ("--subscribers", Plan { subscribers: Some(100_000), ..base.clone() }),
            ("--participants", Plan { participants: Some(100_000), ..base.clone() }),
            ("--bitrate", Plan { kbit_per_second: Some(1), ..base.clone() }),
            ("--rate", Plan { rate: Some(f64::NAN), ..base.clone() }),
            ("--rate", Plan { rate: Some(1e9), ..base.clone() }),
            ("--junk", Plan { junk: Some(u32::MAX), ..base.clone() }),
            ("--threads", Plan { threads: 0, ..base.clone() }),
            ("--window-warmup", Plan { warm_up: Duration::from_secs(10_000), ..base.clone() }),
        ];
        for (flag, plan) in too_much {
            let error = plan.check("consultation").unwrap_err().to_string();
            assert!(error.contains(flag), "{flag}: {error}");
        }
        assert!(Plan { rooms: Some(0), ..base }.check("joins").is_ok(), "joins beside no rooms");
    }

    #[test]
    fn what_an_engine_cannot_do_is_said_before_the_run() {
        let webrtc = Plan { engine: engine::Kind::Webrtc, ..plan() };
        for name in ["consultation", "audio", "joins", "webinar", "idle"] {
            assert!(webrtc.check(name).is_ok(), "{name}");
        }
        for name in ["simulcast", "soak", "reconnect_storm"] {
            assert!(webrtc.check(name).unwrap_err().to_string().contains("--engine light"), "{name}");
        }
    }
}
