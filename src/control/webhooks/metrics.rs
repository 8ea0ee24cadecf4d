//! What webhooks count, for operators. Labels are fixed words.

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// Counters of deliveries.
#[derive(Clone)]
pub struct WebhookMetrics {
    deliveries: IntCounterVec,
    behind: IntGauge,
    disabled: IntGauge,
}

impl WebhookMetrics {
    /// All zero, registered.
    pub(in crate::control) fn new(registry: &Registry) -> Self {
        let about = Opts::new("colloque_webhook_deliveries_total", "Events sent to webhooks, by outcome");
        let gauge = |name: &str, help: &str| IntGauge::new(name, help).expect("the name is valid");
        let metrics = Self {
            deliveries: IntCounterVec::new(about, &["outcome"]).expect("names and labels are valid"),
            behind: gauge("colloque_webhooks_behind", "Events that enabled webhooks have not got yet"),
            disabled: gauge("colloque_webhooks_disabled", "Webhooks that were given up"),
        };
        registry.register(Box::new(metrics.deliveries.clone())).expect("every metric has its own name");
        registry.register(Box::new(metrics.behind.clone())).expect("every metric has its own name");
        registry.register(Box::new(metrics.disabled.clone())).expect("every metric has its own name");
        metrics
    }

    pub(super) fn count(&self, outcome: &str) {
        self.deliveries.with_label_values(&[outcome]).inc();
    }

    pub(super) fn show(&self, behind: u64, disabled: usize) {
        self.behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
        self.disabled.set(disabled as i64);
    }
}
