//! The telephone's figures for `/metrics` that somebody else keeps: lines, budget, media threads, refused SIP. Read when asked for.
//!
//! Labels are fixed words and the operator's own names of trunks: never a number, never a clinic. Not here: what calls add (`tally`).
//! Every scrape makes its own families: two at once share nothing, and a counter never seems to begin anew.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::sync::atomic::Ordering::Relaxed;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts};

use super::lines::Lines;
use super::sip::Dropped;
use super::tally::RefusedHere;
use super::trunk::Registered;

/// Reads the lines at every scrape. Tells nothing once they are gone.
pub(super) struct Figures {
    lines: Weak<Lines>,
    /// For their descriptions alone.
    families: Families,
}

/// What one scrape says.
struct Families {
    calls: IntGauge,
    calls_allowed: IntGauge,
    minutes: Gauge,
    budget: Gauge,
    clinics_past: IntGaugeVec,
    trunk_state: IntGaugeVec,
    trunk_calls: IntGaugeVec,
    trunk_auth: IntGaugeVec,
    trunk_failures: IntCounterVec,
    registered: GaugeVec,
    round_trip: GaugeVec,
    refused: IntCounterVec,
    keys: IntCounterVec,
    media: IntCounterVec,
}

impl Figures {
    pub(super) fn new(lines: Weak<Lines>) -> Self {
        Self { lines, families: Families::new() }
    }
}

impl Families {
    fn new() -> Self {
        let valid = "names and labels are valid";
        let gauges =
            |of: &str, help: &str, labels: &[&str]| IntGaugeVec::new(Opts::new(of, help), labels).expect(valid);
        let seconds = |of: &str, help: &str| GaugeVec::new(Opts::new(of, help), &["trunk"]).expect(valid);
        let counters =
            |of: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(of, help), labels).expect(valid);
        Self {
            calls: IntGauge::new("colloque_telephone_calls", "Telephone calls that run now, from their first ring")
                .expect(valid),
            calls_allowed: IntGauge::new("colloque_telephone_calls_allowed", "1 while the server may call people")
                .expect(valid),
            minutes: Gauge::new(
                "colloque_telephone_minutes_today",
                "Minutes of calls that the server made today (UTC)",
            )
            .expect(valid),
            budget: Gauge::new(
                "colloque_telephone_budget_used_ratio",
                "Of the clinic that used most of its minutes of today",
            )
            .expect(valid),
            clinics_past: gauges(
                "colloque_telephone_clinics_past_budget",
                "Clinics that have used so much of their minutes of today",
                &["percent"],
            ),
            trunk_state: gauges(
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
            trunk_failures: counters(
                "colloque_telephone_trunk_failures_total",
                "Calls out that came to nothing on a trunk, also where another one took them",
                &["trunk", "cause"],
            ),
            registered: seconds(
                "colloque_telephone_trunk_registered_seconds",
                "Age of the confirmed registration; -1 without one. Only trunks that register",
            ),
            round_trip: seconds("colloque_telephone_trunk_round_trip_seconds", "Of the last probe (OPTIONS)"),
            refused: counters(
                "colloque_telephone_sip_refused_total",
                "SIP messages dropped and calls in refused, by cause",
                &["reason"],
            ),
            keys: counters(
                "colloque_telephone_keys_total",
                "Keys that were pressed, by the way in which they came",
                &["way"],
            ),
            media: counters("colloque_telephone_media_total", "What media threads count", &["figure", "reason"]),
        }
    }

    fn all(&self) -> [&dyn Collector; 14] {
        [
            &self.calls,
            &self.calls_allowed,
            &self.minutes,
            &self.budget,
            &self.clinics_past,
            &self.trunk_state,
            &self.trunk_calls,
            &self.trunk_auth,
            &self.trunk_failures,
            &self.registered,
            &self.round_trip,
            &self.refused,
            &self.keys,
            &self.media,
        ]
    }

    fn read(&self, lines: &Lines) {
        self.calls.set(i64::try_from(lines.running()).unwrap_or(i64::MAX));
        self.read_budget(lines);
        self.read_trunks(lines);
        self.read_sip(lines);
        self.read_media(lines);
    }

    fn read_budget(&self, lines: &Lines) {
        let usage = lines.board().usage();
        self.calls_allowed.set(lines.board().calls_allowed().into());
        self.minutes.set(usage.spent.as_secs_f64() / 60.0);
        self.budget.set(usage.most);
        for (mark, clinics) in usage.past {
            let percent = mark.0.to_string();
            self.clinics_past.with_label_values(&[&percent]).set(i64::try_from(clinics).unwrap_or(i64::MAX));
        }
    }

    fn read_trunks(&self, lines: &Lines) {
        for line in lines.trunks().lines() {
            let name = line.name.as_str();
            for state in ["up", "suspect", "down"] {
                self.trunk_state.with_label_values(&[name, state]).set(i64::from(line.state.label() == state));
            }
            self.trunk_calls.with_label_values(&[name]).set(line.calls.into());
            self.trunk_auth.with_label_values(&[name]).set(line.auth_alarm.into());
            for (cause, count) in line.failures {
                self.trunk_failures.with_label_values(&[name, cause]).inc_by(count);
            }
            let age = match line.registered {
                Registered::Unwanted => None,
                Registered::Missing => Some(-1.0),
                Registered::For(age) => Some(age.as_secs_f64()),
            };
            if let Some(age) = age {
                self.registered.with_label_values(&[name]).set(age);
            }
            if let Some(round_trip) = line.round_trip {
                self.round_trip.with_label_values(&[name]).set(round_trip.as_secs_f64());
            }
        }
    }

    fn read_sip(&self, lines: &Lines) {
        let counters = lines.sip_counters();
        let refused = |reason: &str, count: u64| self.refused.with_label_values(&[reason]).inc_by(count);
        Dropped::ALL.iter().for_each(|dropped| refused(dropped.label(), counters.dropped(*dropped)));
        refused("number", counters.refused_number.load(Relaxed));
        refused("auth", counters.refused_auth.load(Relaxed));
        refused("description", counters.refused_media.load(Relaxed));
        refused("full", counters.refused_full.load(Relaxed));
        RefusedHere::ALL.iter().for_each(|why| refused(why.label(), lines.call_figures().refused(*why)));
    }

    fn read_media(&self, lines: &Lines) {
        let mut sums = BTreeMap::<(&str, &str), u64>::new();
        lines.media().read_counters(&mut |_, figure, reason, value| {
            let figure = figure.strip_prefix("telephone_").unwrap_or(figure);
            *sums.entry((figure, reason.unwrap_or_default())).or_default() += value;
        });
        let key = |way: &str, count: u64| self.keys.with_label_values(&[way]).inc_by(count);
        key("info", lines.call_figures().keys_by_info());
        for ((figure, reason), value) in sums {
            match figure {
                "keys_event" => key("event", value),
                "keys_in_band" => key("in_band", value),
                _ => self.media.with_label_values(&[figure, reason]).inc_by(value),
            }
        }
    }
}

impl Collector for Figures {
    fn desc(&self) -> Vec<&Desc> {
        self.families.all().into_iter().flat_map(|family| family.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(lines) = self.lines.upgrade() else { return Vec::new() };
        let families = Families::new();
        families.read(&lines);
        families.all().into_iter().flat_map(|family| family.collect()).collect()
    }
}
