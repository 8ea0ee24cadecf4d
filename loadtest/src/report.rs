//! What a run found: the JSON that tools read, the table that people read, and whether it is good enough.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::histogram::Histogram;

/// The figures of one run. Field names are stable.
#[derive(Serialize, Clone, Debug, Default)]
pub struct Report {
    /// Its name.
    pub scenario: &'static str,
    /// What was loaded.
    pub target: String,
    /// The media client of the participants.
    pub engine: &'static str,
    /// How they received; figures of different sinks do not compare.
    pub sink: &'static str,
    /// The SRTP profile that was negotiated; null when the engine does not tell.
    pub srtp_profile: Option<&'static str>,
    /// Length of the run: for `joins` the time over which people arrive, else the measured window.
    pub seconds: u64,
    /// People in all.
    pub participants: usize,
    /// Counted packets sent by all.
    pub packets_sent: u64,
    /// How many packets receivers ought to have got.
    pub packets_forwarded_expected: u64,
    /// How many they got, each counted once.
    pub packets_received: u64,
    /// The difference.
    pub lost: u64,
    /// One way, through the server, both ends in this process.
    pub latency_us: Latency,
    /// Its distribution: share of packets, and the microseconds that so many did not exceed.
    pub latency_curve: Vec<(f64, u64)>,
    /// Processor time of the server in the measured window; null without `--pid`.
    pub server_cpu_seconds: Option<f64>,
    /// The same for each packet forwarded.
    pub server_cpu_ns_per_forwarded_packet: Option<f64>,
    /// The part of it that the threads with media took; null when they cannot be told apart.
    pub server_media_cpu_seconds: Option<f64>,
    /// The rest: HTTP, signalling, storage.
    pub server_control_cpu_seconds: Option<f64>,
    /// Of the threads with media, for each packet forwarded.
    pub server_media_cpu_ns_per_forwarded_packet: Option<f64>,
    /// Resident memory of the server before anybody came.
    pub server_rss_before_bytes: Option<u64>,
    /// Resident memory of the server at the window's end.
    pub server_rss_bytes: Option<u64>,
    /// Processor time of the load generator in the measured window.
    pub generator_cpu_seconds: f64,
    /// The same for each packet that its participants received; sending is in it.
    pub generator_cpu_ns_per_received_packet: Option<f64>,
    /// Share of the processors that the generator may use.
    pub generator_busy_percent: f64,
    /// The part of its time that its media threads took; null when the engine has none of its own.
    pub generator_media_cpu_seconds: Option<f64>,
    /// Share of one processor that the busiest of them took.
    pub generator_media_busy_percent: Option<f64>,
    /// Share of the whole machine's processors that a hypervisor gave to others in the window.
    pub machine_stolen_percent: f64,
    /// The joins.
    pub joins: Joins,
    /// Packets that the generator's own machine did not take for sending; counted as lost above.
    pub send_errors: u64,
    /// Datagrams that did not fit the generator's own socket buffers; counted as lost above.
    pub generator_kernel_drops: u64,
    /// What only this scenario measures.
    pub extra: Map<String, Value>,
    /// Thresholds that were not met, in words.
    pub missed: Vec<String>,
    /// Why the figures may not be the server's, in words.
    pub warnings: Vec<String>,
}

/// Microseconds.
#[derive(Serialize, Clone, Copy, Debug, Default)]
pub struct Latency {
    /// Median.
    pub p50: u64,
    /// 99 of 100.
    pub p99: u64,
    /// Worst.
    pub max: u64,
}

impl From<&Histogram> for Latency {
    fn from(histogram: &Histogram) -> Self {
        Self { p50: histogram.percentile(0.5), p99: histogram.percentile(0.99), max: histogram.max() }
    }
}

/// The points of a distribution that a picture needs; dense where few packets are left.
#[must_use]
pub fn curve(histogram: &Histogram) -> Vec<(f64, u64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    CURVE.iter().map(|&share| (share, histogram.percentile(share))).collect()
}

/// From opening the WebSocket to the other's first media packet.
#[derive(Serialize, Clone, Debug, Default)]
pub struct Joins {
    /// Attempts.
    pub count: usize,
    /// Those without media in time.
    pub failed: usize,
    /// Median, milliseconds.
    pub p50_ms: f64,
    /// 95 of 100.
    pub p95_ms: f64,
    /// Where the time goes: medians and 95th percentiles, each from the opening of the WebSocket.
    pub steps: Vec<Step>,
    /// Why some failed, the first few.
    pub failures: Vec<String>,
}

/// One step of a join.
#[derive(Serialize, Clone, Copy, Debug)]
pub struct Step {
    /// What was reached.
    pub reached: &'static str,
    /// Median, milliseconds.
    pub p50_ms: f64,
    /// 95 of 100.
    pub p95_ms: f64,
}

impl Step {
    /// Sums up a step over all joins.
    #[must_use]
    pub fn new(reached: &'static str, times: &Histogram) -> Self {
        Self { reached, p50_ms: millis(times.percentile(0.5)), p95_ms: millis(times.percentile(0.95)) }
    }
}

/// Microseconds as milliseconds with one decimal.
#[must_use]
pub fn millis(micros: u64) -> f64 {
    (micros as f64 / 100.0).round() / 10.0
}

impl Report {
    /// Notes a threshold that was not met.
    pub fn miss(&mut self, what: String) {
        self.missed.push(what);
    }

    /// Notes that the figures may not be the server's.
    pub fn warn(&mut self, what: String) {
        self.warnings.push(what);
    }

    /// Notes it when a figure is above its limit. A figure that was not measured is none.
    pub fn limit(&mut self, what: &str, value: Option<f64>, max: f64, unit: &str) {
        if let Some(value) = value.filter(|&value| value.is_nan() || value > max) {
            self.miss(format!("{what} {} {unit}, at most {} {unit}", short(value), short(max)));
        }
    }

    /// Adds a figure that only this scenario measures.
    pub fn add(&mut self, name: &str, value: impl Into<Value>) {
        self.extra.insert(name.to_owned(), value.into());
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::new();
        let mut row = |name: &str, value: String| {
            let _ = writeln!(table, "{name:<34}{value:>22}");
        };
        row("scenario", self.scenario.to_owned());
        row("target", self.target.clone());
        row("engine", self.engine.to_owned());
        row("sink", self.sink.to_owned());
        if let Some(profile) = self.srtp_profile {
            row("SRTP", profile.to_owned());
        }
        row("participants", self.participants.to_string());
        row("joins failed", format!("{} of {}", self.joins.failed, self.joins.count));
        row("join p50", format!("{:.1} ms", self.joins.p50_ms));
        row("join p95", format!("{:.1} ms", self.joins.p95_ms));
        if self.packets_forwarded_expected > 0 {
            row("packets sent", self.packets_sent.to_string());
            row("packets received", self.packets_received.to_string());
            row("lost", self.lost.to_string());
            row("one-way p50", format!("{} us", self.latency_us.p50));
            row("one-way p99", format!("{} us", self.latency_us.p99));
            row("one-way max", format!("{} us", self.latency_us.max));
        }
        if let Some(seconds) = self.server_cpu_seconds {
            row("server CPU", format!("{seconds:.2} s"));
        }
        if let Some(nanos) = self.server_cpu_ns_per_forwarded_packet {
            row("server CPU per packet", format!("{nanos:.0} ns"));
        }
        if let Some(nanos) = self.server_media_cpu_ns_per_forwarded_packet {
            row("  media threads alone", format!("{nanos:.0} ns"));
        }
        row("generator CPU", format!("{:.2} s", self.generator_cpu_seconds));
        row("generator busy", format!("{:.0} % of its cores", self.generator_busy_percent));
        if let Some(nanos) = self.generator_cpu_ns_per_received_packet {
            row("generator CPU per packet", format!("{nanos:.0} ns"));
        }
        if let Some(percent) = self.generator_media_busy_percent {
            row("  its busiest media thread", format!("{percent:.0} % of a core"));
        }
        row("machine stolen", format!("{:.1} %", self.machine_stolen_percent));
        if let Some(bytes) = self.server_rss_bytes {
            row("server RSS", format!("{:.1} MiB", bytes as f64 / 1_048_576.0));
        }
        for step in &self.joins.steps {
            row(&format!("  {}", step.reached), format!("{:.1} / {:.1} ms", step.p50_ms, step.p95_ms));
        }
        for (name, value) in &self.extra {
            match value {
                Value::Object(figures) => {
                    for (part, figure) in figures {
                        row(&format!("{name}: {part}"), shown(figure));
                    }
                }
                _ => row(name, shown(value)),
            }
        }
        for failure in &self.joins.failures {
            let _ = writeln!(table, "failed: {failure}");
        }
        for warning in &self.warnings {
            let _ = writeln!(table, "WARNING: {warning}");
        }
        for missed in &self.missed {
            let _ = writeln!(table, "NOT MET: {missed}");
        }
        table
    }
}

fn shown(value: &Value) -> String {
    match (value.as_u64(), value.as_f64()) {
        (Some(whole), _) => whole.to_string(),
        (None, Some(number)) => short(number),
        (None, None) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}

/// With as many decimals as a number of this size needs.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

const CURVE: [f64; 15] = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_the_names_that_tools_read() {
        let value = serde_json::to_value(Report::default()).unwrap();
        for name in [
            "scenario",
            "target",
            "seconds",
            "participants",
            "packets_sent",
            "packets_forwarded_expected",
            "packets_received",
            "lost",
            "latency_curve",
            "server_cpu_seconds",
            "server_cpu_ns_per_forwarded_packet",
            "server_rss_bytes",
            "engine",
            "sink",
            "srtp_profile",
            "generator_cpu_seconds",
            "generator_cpu_ns_per_received_packet",
            "generator_busy_percent",
            "generator_media_cpu_seconds",
            "generator_media_busy_percent",
            "machine_stolen_percent",
            "warnings",
            "server_rss_before_bytes",
            "extra",
            "missed",
        ] {
            assert!(value.get(name).is_some(), "{name}");
        }
        for (group, names) in [("latency_us", ["p50", "p99", "max"]), ("joins", ["count", "failed", "p95_ms"])] {
            assert!(names.iter().all(|name| value[group].get(*name).is_some()), "{group}");
        }
    }

    #[test]
    fn the_table_names_what_was_not_met() {
        let mut report = Report { scenario: "joins", ..Report::default() };
        report.miss("join p95 311 ms, at most 300 ms".to_owned());
        report.warn("the generator had no time".to_owned());
        assert!(report.table().contains("NOT MET: join p95 311 ms"));
        assert!(report.table().contains("WARNING: the generator had no time"));
    }

    #[test]
    fn a_figure_at_its_limit_is_met_and_one_above_or_without_meaning_is_not() {
        let mut report = Report::default();
        report.limit("p99", Some(5.0), 5.0, "ms");
        report.limit("memory", None, 1.0, "MB");
        assert!(report.missed.is_empty());
        report.limit("p99", Some(5.25), 5.0, "ms");
        report.limit("loss", Some(f64::NAN), 0.1, "%");
        assert_eq!(report.missed, ["p99 5.2 ms, at most 5 ms", "loss NaN %, at most 0.100 %"]);
    }

    #[test]
    fn the_table_shows_what_only_one_scenario_measures() {
        let mut report = Report::default();
        report.add("last_back_seconds", 3.25);
        report.add("drops", serde_json::json!({"unknown_address": 12}));
        let table = report.table();
        assert!(table.contains("last_back_seconds") && table.contains("drops: unknown_address"), "{table}");
    }
}
