//! What the control plane counts. Labels are fixed words: never an identifier, a name or an address.
//!
//! The media plane's figures are read from the workers' own atomics when `/metrics` is asked for.

use colloque_signaling::message::PhoneCause;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, core::Collector, exponential_buckets,
};
use serde::Serialize;

use super::facts::{LadderCause, Step};

/// Counters, all registered in one registry.
pub struct Metrics {
    registry: Registry,
    joins: IntCounterVec,
    offers: IntCounterVec,
    logins: IntCounterVec,
    calls: IntCounterVec,
    pins: IntCounterVec,
    ladder: IntCounterVec,
    refused_credentials: IntCounterVec,
    /// Visits that went on after their socket was lost.
    pub resumptions: IntCounter,
    /// From socket open (or admission) to the first forwarded media packet, in seconds.
    pub join_latency: Histogram,
    /// Open WebSockets.
    pub sockets: IntGauge,
    rooms: IntGauge,
    seats: prometheus::IntGaugeVec,
    draining: IntGauge,
    /// Of the journal.
    pub journal: JournalMetrics,
}

/// What the journal counts.
#[derive(Clone)]
pub struct JournalMetrics {
    /// Lines in the spool.
    pub spooled: IntGauge,
    /// Entries that neither the store nor the spool took.
    pub lost: IntCounter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All zero.
    #[must_use]
    pub fn new() -> Self {
        let counters = |name: &str, help: &str, label: &str| {
            IntCounterVec::new(Opts::new(name, help), &[label]).expect("names and labels are valid")
        };
        let gauge = |name: &str, help: &str| IntGauge::new(name, help).expect("the name is valid");
        let counter = |name: &str, help: &str| IntCounter::new(name, help).expect("the name is valid");
        let latency = HistogramOpts::new(
            "colloque_join_latency_seconds",
            "From WebSocket open (or admission, when later) to the first media packet forwarded to the page",
        )
        .buckets(exponential_buckets(0.02, 1.6, 14).expect("the buckets are valid"));
        let metrics = Self {
            registry: Registry::new(),
            joins: counters("colloque_joins_total", "Links exchanged for a session, by outcome", "outcome"),
            offers: counters("colloque_offers_total", "SDP offers, by outcome", "outcome"),
            logins: counters("colloque_logins_total", "Logins of professionals, by outcome", "outcome"),
            calls: IntCounterVec::new(
                Opts::new("colloque_telephone_calls_total", "Telephone calls, by direction, line and how they ended"),
                &["direction", "trunk", "outcome"],
            )
            .expect("names and labels are valid"),
            ladder: IntCounterVec::new(
                Opts::new(
                    "colloque_ladder_steps_total",
                    "Steps of seats' connections, down or up, by where to and why",
                ),
                &["to", "cause"],
            )
            .expect("names and labels are valid"),
            pins: counters("colloque_telephone_pins_total", "PINs typed on telephones, by outcome", "outcome"),
            refused_credentials: counters(
                "colloque_refused_credentials_total",
                "Credentials that were not accepted, by kind",
                "kind",
            ),
            resumptions: counter("colloque_resumptions_total", "Visits resumed after their socket was lost"),
            join_latency: Histogram::with_opts(latency).expect("the histogram is valid"),
            sockets: gauge("colloque_websockets", "Open WebSockets"),
            rooms: gauge("colloque_rooms_live", "Live rooms"),
            seats: prometheus::IntGaugeVec::new(
                Opts::new("colloque_participants", "Seats that are there now, by state"),
                &["state"],
            )
            .expect("the name is valid"),
            draining: gauge("colloque_draining", "1 while new rooms are refused"),
            journal: JournalMetrics {
                spooled: gauge("colloque_journal_spooled", "Lines of the journal that wait for the store"),
                lost: counter("colloque_journal_lost_total", "Entries that neither the store nor the spool took"),
            },
        };
        begin_at_zero(&metrics.pins, ["right", "outside", "wrong", "barred", "fault"].map(|outcome| [outcome]));
        metrics.register_all();
        metrics
    }

    /// Adds what others than the control plane count; its names are theirs alone.
    pub fn register(&self, collector: Box<dyn Collector>) {
        self.registry.register(collector).expect("every metric has its own name");
    }

    /// For what parts of the control plane count by themselves.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    fn register_all(&self) {
        let collectors: [Box<dyn Collector>; 15] = [
            Box::new(self.calls.clone()),
            Box::new(self.pins.clone()),
            Box::new(self.ladder.clone()),
            Box::new(self.joins.clone()),
            Box::new(self.offers.clone()),
            Box::new(self.logins.clone()),
            Box::new(self.refused_credentials.clone()),
            Box::new(self.resumptions.clone()),
            Box::new(self.join_latency.clone()),
            Box::new(self.sockets.clone()),
            Box::new(self.rooms.clone()),
            Box::new(self.seats.clone()),
            Box::new(self.draining.clone()),
            Box::new(self.journal.spooled.clone()),
            Box::new(self.journal.lost.clone()),
        ];
        for collector in collectors {
            self.registry.register(collector).expect("every metric has its own name");
        }
    }

    pub(super) fn count_join(&self, outcome: &str) {
        self.joins.with_label_values(&[outcome]).inc();
    }

    pub(super) fn count_offer(&self, answered: bool) {
        self.offers.with_label_values(&[if answered { "answered" } else { "refused" }]).inc();
    }

    /// Counts a telephone call that is over, or was not made. `direction`: `in` or `out`; `trunk`: the operator's name of the line, or
    /// [`NO_TRUNK`].
    pub fn count_call(&self, direction: &str, trunk: &str, outcome: CallOutcome) {
        let word = match outcome {
            CallOutcome::Seat(cause) => word_of(cause),
            CallOutcome::WrongPin => "wrong_pin".to_owned(),
            CallOutcome::NoPin => "no_pin".to_owned(),
            CallOutcome::SelfTest => "self_test".to_owned(),
        };
        self.calls.with_label_values(&[direction, trunk, &word]).inc();
    }

    pub(super) fn count_ladder_step(&self, to: Step, cause: LadderCause) {
        self.ladder.with_label_values(&[&word_of(to), &word_of(cause)]).inc();
    }

    /// Counts a PIN: `right`, `outside` its window, `wrong`, `barred`, or a `fault` where nobody could say.
    pub fn count_pin(&self, outcome: &'static str) {
        self.pins.with_label_values(&[outcome]).inc();
    }

    pub(super) fn count_login(&self, outcome: &str) {
        self.logins.with_label_values(&[outcome]).inc();
    }

    /// Counts a link, session or API key that was not accepted. They are counted and not slowed down by address: behind a hospital's
    /// one address, whoever makes mistakes would lock out everybody else, and 256 random bits are not guessed.
    pub(super) fn count_refused_credential(&self, kind: &'static str) {
        self.refused_credentials.with_label_values(&[kind]).inc();
    }

    /// Brings the gauges up to date, then gives every family.
    pub(super) fn gather(&self, census: Census) -> Vec<prometheus::proto::MetricFamily> {
        self.rooms.set(census.rooms as i64);
        self.seats.with_label_values(&["present"]).set(census.present as i64);
        self.seats.with_label_values(&["waiting"]).set(census.waiting as i64);
        self.draining.set(i64::from(census.draining));
        self.registry.gather()
    }
}

/// Makes series that have counted nothing yet. One that is born with its first event has not risen for Prometheus, and an alert that asks
/// for its `increase` misses that event; one that is not there at all makes what is compared with it say nothing.
pub fn begin_at_zero<'a, const N: usize>(family: &IntCounterVec, series: impl IntoIterator<Item = [&'a str; N]>) {
    for labels in series {
        family.with_label_values(&labels);
    }
}

/// How a telephone call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallOutcome {
    /// As pages are told it of a seat's telephone; a call that opened no seat may end so as well.
    Seat(PhoneCause),
    /// The last try at a PIN was wrong.
    WrongPin,
    /// No PIN was typed in time.
    NoPin,
    /// It tried the line.
    SelfTest,
}

/// The label of a call that no line took.
pub const NO_TRUNK: &str = "none";

/// A fixed word, as JSON has it.
fn word_of(word: impl Serialize) -> String {
    serde_json::to_value(word).ok().and_then(|word| Some(word.as_str()?.to_owned())).unwrap_or_default()
}

/// Who is there now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Live rooms.
    pub rooms: usize,
    /// Admitted seats that are there or reconnecting.
    pub present: usize,
    /// Seats in waiting rooms.
    pub waiting: usize,
    /// Whether new rooms are refused.
    pub draining: bool,
}
