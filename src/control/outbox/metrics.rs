//! What the outbox counts, for operators. Labels are fixed words.

use prometheus::{IntCounterVec, Opts, Registry};

use crate::control::metrics::begin_at_zero;

/// Counters of invitations.
#[derive(Clone)]
pub struct MessageMetrics {
    messages: IntCounterVec,
}

impl MessageMetrics {
    /// All zero, registered.
    pub(in crate::control) fn new(registry: &Registry) -> Self {
        let about = Opts::new("colloque_messages_total", "Attempts to send an invitation, by channel and outcome");
        let messages = IntCounterVec::new(about, &["channel", "outcome"]).expect("names and labels are valid");
        for channel in [super::NotifyBy::Email, super::NotifyBy::Sms] {
            begin_at_zero(
                &messages,
                ["sent", "delayed", "failed", "withdrawn"].map(|outcome| [channel.name(), outcome]),
            );
        }
        registry.register(Box::new(messages.clone())).expect("every metric has its own name");
        Self { messages }
    }

    /// `outcome` is `sent`, `delayed`, `failed` or `withdrawn`.
    pub(super) fn count(&self, channel: super::NotifyBy, outcome: &str) {
        self.messages.with_label_values(&[channel.name(), outcome]).inc();
    }
}
