//! The telephone's figures for `/metrics`: lines, calls, media threads, refused SIP. Read when they are asked for.
//!
//! Labels are fixed words and the operator's own names of trunks: never a number. Not here: what is counted in calls (`control::metrics`).

use std::collections::BTreeMap;
use std::sync::Weak;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts};

use super::lines::Lines;
use super::sip::Dropped;

/// Reads the lines at every scrape. Tells nothing once they are gone.
pub(super) struct Figures {
    lines: Weak<Lines>,
    calls: IntGauge,
    trunk_up: IntGaugeVec,
    trunk_calls: IntGaugeVec,
    trunk_auth: IntGaugeVec,
    registered: GaugeVec,
    round_trip: GaugeVec,
    refused: IntCounterVec,
    media: IntCounterVec,
}

impl Figures {
    pub(super) fn new(lines: Weak<Lines>) -> Self {
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help), labels).expect("names and labels are valid")
        };
        let seconds = |name: &str, help: &str| {
            GaugeVec::new(Opts::new(name, help), &["trunk"]).expect("names and labels are valid")
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels are valid")
        };
        Self {
            lines,
            calls: IntGauge::new("colloque_telephone_calls", "Telephone calls that run now")
                .expect("the name is valid"),
            trunk_up: gauges(
                "colloque_telephone_trunk_state",
                "1 for the state that a trunk is in",
                &["trunk", "state"],
            ),
            trunk_calls: gauges("colloque_telephone_trunk_calls", "Calls on a trunk now", &["trunk"]),
            trunk_auth: gauges(
                "colloque_telephone_trunk_auth_refused",
                "1 while a trunk refuses who we are",
                &["trunk"],
            ),
            registered: seconds("colloque_telephone_trunk_registered_seconds", "Age of the confirmed registration"),
            round_trip: seconds("colloque_telephone_trunk_round_trip_seconds", "Of the last probe (OPTIONS)"),
            refused: counters("colloque_telephone_sip_refused_total", "SIP that was refused or dropped", &["reason"]),
            media: counters("colloque_telephone_media_total", "What media threads count", &["figure", "reason"]),
        }
    }

    fn families(&self) -> [&dyn Collector; 8] {
        [
            &self.calls,
            &self.trunk_up,
            &self.trunk_calls,
            &self.trunk_auth,
            &self.registered,
            &self.round_trip,
            &self.refused,
            &self.media,
        ]
    }

    fn read(&self, lines: &Lines) {
        self.calls.set(i64::try_from(lines.running()).unwrap_or(i64::MAX));
        for line in lines.trunks().lines() {
            let name = line.name.as_str();
            for state in ["up", "suspect", "down"] {
                self.trunk_up.with_label_values(&[name, state]).set(i64::from(line.state.label() == state));
            }
            self.trunk_calls.with_label_values(&[name]).set(line.calls.into());
            self.trunk_auth.with_label_values(&[name]).set(line.auth_alarm.into());
            let age = line.registered_for.map_or(-1.0, |age| age.as_secs_f64());
            self.registered.with_label_values(&[name]).set(age);
            if let Some(round_trip) = line.round_trip {
                self.round_trip.with_label_values(&[name]).set(round_trip.as_secs_f64());
            }
        }
        self.read_sip(lines);
        let mut sums = BTreeMap::<(&str, &str), u64>::new();
        lines.media().read_counters(&mut |_, figure, reason, value| {
            let figure = figure.strip_prefix("telephone_").unwrap_or(figure);
            *sums.entry((figure, reason.unwrap_or_default())).or_default() += value;
        });
        for ((figure, reason), value) in sums {
            set(&self.media, &[figure, reason], value);
        }
    }

    fn read_sip(&self, lines: &Lines) {
        use std::sync::atomic::Ordering::Relaxed;
        let counters = lines.sip_counters();
        for dropped in Dropped::ALL {
            set(&self.refused, &[dropped.label()], counters.dropped(dropped));
        }
        for (reason, counter) in [
            ("number", &counters.refused_number),
            ("media", &counters.refused_media),
            ("auth", &counters.refused_auth),
            ("full", &counters.refused_full),
        ] {
            set(&self.refused, &[reason], counter.load(Relaxed));
        }
    }
}

/// A count that somebody else keeps.
fn set(family: &IntCounterVec, labels: &[&str], value: u64) {
    let counter = family.with_label_values(labels);
    counter.reset();
    counter.inc_by(value);
}

impl Collector for Figures {
    fn desc(&self) -> Vec<&Desc> {
        self.families().into_iter().flat_map(|family| family.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(lines) = self.lines.upgrade() else { return Vec::new() };
        self.read(&lines);
        self.families().into_iter().flat_map(|family| family.collect()).collect()
    }
}
