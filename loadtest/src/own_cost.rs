//! What the load generator itself costs while it measures, and what others took of the machine: a generator that has no
//! time left measures itself, and one whose machine is taken away measures its neighbours.
//!
//! Not here: the server's cost (`process` reads both alike, `scenario::calls` charges it).

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process::{self, MachineTime};
use crate::report::Report;

/// A reading of this process.
pub struct Reading {
    at: Instant,
    cpu_seconds: f64,
    /// Of the media threads, by their numbers; `None` when the engine has none of its own.
    media: Option<HashMap<u32, f64>>,
    machine: MachineTime,
}

/// What it cost between two readings.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct OwnCost {
    window: Duration,
    /// Processors that this process may use.
    cores: usize,
    cpu_seconds: f64,
    media: Option<MediaCost>,
    stolen_percent: f64,
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct MediaCost {
    cpu_seconds: f64,
    /// Of the busiest thread alone.
    busiest_seconds: f64,
}

impl Reading {
    /// Reads it now; `media_threads` is how the names of the engine's media threads begin.
    pub fn now(media_threads: Option<&str>) -> Result<Self> {
        let own = std::process::id();
        Ok(Self {
            at: Instant::now(),
            cpu_seconds: process::usage(own, None)?.cpu_seconds,
            media: media_threads.map(|name| process::threads_cpu_seconds(own, name)).transpose()?,
            machine: MachineTime::now()?,
        })
    }

    /// What it cost since.
    pub fn until(&self, later: &Reading) -> OwnCost {
        let media = self.media.as_ref().zip(later.media.as_ref()).map(|(before, after)| {
            let spent = after.iter().map(|(thread, seconds)| seconds - before.get(thread).unwrap_or(&0.0));
            spent.fold(MediaCost { cpu_seconds: 0.0, busiest_seconds: 0.0 }, |sum, seconds| MediaCost {
                cpu_seconds: sum.cpu_seconds + seconds,
                busiest_seconds: sum.busiest_seconds.max(seconds),
            })
        });
        OwnCost {
            window: later.at.saturating_duration_since(self.at),
            cores: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            cpu_seconds: later.cpu_seconds - self.cpu_seconds,
            media,
            stolen_percent: self.machine.stolen_percent_until(later.machine),
        }
    }
}

impl OwnCost {
    /// Writes it into a report whose packets are counted, with a warning when the figures are not the server's.
    pub fn charge(&self, report: &mut Report) {
        let seconds = self.window.as_secs_f64().max(f64::EPSILON);
        let packets = report.packets_received;
        report.generator_cpu_seconds = self.cpu_seconds;
        report.generator_cpu_ns_per_received_packet = (packets > 0).then(|| self.cpu_seconds * 1e9 / packets as f64);
        let busy = 100.0 * self.cpu_seconds / seconds / self.cores as f64;
        report.generator_busy_percent = busy;
        report.generator_media_cpu_seconds = self.media.map(|media| media.cpu_seconds);
        let media_busy = self.media.map(|media| 100.0 * media.busiest_seconds / seconds);
        report.generator_media_busy_percent = media_busy;
        if let Some(percent) = media_busy.filter(|&percent| percent > BUSY_PERCENT_MAX) {
            report.warn(format!(
                "a media thread of the generator was busy for {percent:.0} % of the window: {NOT_THEIRS}"
            ));
        }
        report.machine_stolen_percent = self.stolen_percent;
        if self.stolen_percent > STOLEN_PERCENT_MAX {
            let percent = self.stolen_percent;
            report.warn(format!(
                "a hypervisor took {percent:.1} % of this machine: latencies are not the server's alone"
            ));
        }
        if busy > BUSY_PERCENT_MAX {
            let cores = self.cores;
            report.warn(format!("the generator used {busy:.0} % of the {cores} core(s) that it may use: {NOT_THEIRS}"));
        }
    }
}

const NOT_THEIRS: &str = "latency, loss and rates are its own and not the server's";
/// Above that, packets wait for the generator at every burst.
const BUSY_PERCENT_MAX: f64 = 90.0;
/// It comes in slices of milliseconds: of a thousand packets, ten would have waited for one.
const STOLEN_PERCENT_MAX: f64 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at: Instant, cpu_seconds: f64, media: &[(u32, f64)]) -> Reading {
        let machine = MachineTime::now().unwrap();
        Reading { at, cpu_seconds, media: Some(media.iter().copied().collect()), machine }
    }

    fn report_of(cost: OwnCost) -> Report {
        let mut report = Report { packets_received: 100_000, ..Report::default() };
        cost.charge(&mut report);
        report
    }

    #[test]
    fn the_busiest_thread_is_told_apart_and_a_new_one_counts_from_nothing() {
        let start = Instant::now();
        let before = reading(start, 5.0, &[(7, 2.0), (8, 1.0)]);
        let after = reading(start + Duration::from_secs(10), 12.0, &[(7, 5.0), (8, 2.0), (9, 0.5)]);
        let cost = OwnCost { cores: 2, stolen_percent: 0.9, ..before.until(&after) };
        let report = report_of(cost);
        assert_eq!(report.generator_cpu_seconds, 7.0);
        assert_eq!(report.generator_cpu_ns_per_received_packet, Some(70_000.0));
        assert_eq!(report.generator_media_cpu_seconds, Some(4.5));
        assert_eq!((report.generator_media_busy_percent, report.generator_busy_percent), (Some(30.0), 35.0));
        assert_eq!(report.warnings, [""; 0]);
    }

    #[test]
    fn a_generator_without_time_left_says_so() {
        let cost = |cpu_seconds, media: Option<f64>| OwnCost {
            window: Duration::from_secs(10),
            cores: 1,
            cpu_seconds,
            media: media.map(|seconds| MediaCost { cpu_seconds: seconds, busiest_seconds: seconds }),
            stolen_percent: 0.0,
        };
        assert_eq!(report_of(cost(9.0, Some(9.0))).warnings, [""; 0], "at the limit");
        let starved = report_of(cost(9.8, Some(9.5))).warnings;
        assert!(starved.len() == 2 && starved[0].contains("95 %") && starved[1].contains("98 %"), "{starved:?}");
        let squeezed = report_of(cost(9.8, Some(4.0))).warnings;
        assert!(squeezed.len() == 1 && squeezed[0].contains("of the 1 core(s)"), "{squeezed:?}");
        assert_eq!(report_of(cost(2.0, None)).generator_media_busy_percent, None);
    }

    #[test]
    fn a_machine_that_was_taken_away_is_told() {
        let window = Duration::from_secs(10);
        let cost = OwnCost { window, cores: 1, cpu_seconds: 1.0, media: None, stolen_percent: 7.25 };
        let report = report_of(cost);
        assert_eq!(report.machine_stolen_percent, 7.25);
        assert!(report.warnings.len() == 1 && report.warnings[0].contains("7.2 %"), "{:?}", report.warnings);
    }

    #[test]
    fn its_own_threads_can_be_read() {
        let before = Reading::now(Some("no such thread")).unwrap();
        let cost = before.until(&Reading::now(Some("no such thread")).unwrap());
        assert_eq!(cost.media, Some(MediaCost { cpu_seconds: 0.0, busiest_seconds: 0.0 }));
        assert!(cost.cpu_seconds >= 0.0 && cost.cores > 0);
    }
}
