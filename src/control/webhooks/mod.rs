//! Webhooks: a clinic's events sent to a URL of its own, by the rules of Standard Webhooks.
//!
//! ```text
//!   journal --entries after the cursor--> courier --one at a time--> sender --HTTPS--> the clinic's receiver
//!                store <--cursor, failures--/
//! ```
//!
//! The rule of order: a webhook gets its events one after another, each when the one before was acknowledged (2xx). So every
//! consultation's events come in order. An event that fails is tried again for three days and everything behind it waits, with one
//! exception: when the receiver has refused an event for some 20 minutes but takes the next one, the refused one is passed over, and
//! `webhook.skipped` tells so. At least once: after a crash an event may come twice, with the same `webhook-id`.
//! Not here: HTTP of our own API (`web::events`), reading the journal (`feed`).

mod courier;
mod metrics;
mod position;
mod sender;
pub mod signature;
pub mod target;

use std::sync::Arc;

use dashmap::DashMap;
use prometheus::Registry;
use tokio::sync::{Mutex, MutexGuard, Notify, watch};

use crate::config::outbound::Outbound;
use crate::pii::Pii;
use crate::store::{Change, Committed, Store, StoreError, Transaction, Webhook};

use super::booking::ClinicId;
use super::facts::Fact;
use super::feed::{self, Event, format_cursor};
use super::journal::Journal;
use super::outgoing::{self, Authorities, OutgoingError};
use super::{clock, random};

use metrics::WebhookMetrics;
pub(super) use position::backoff;
pub use sender::Outcome;
use sender::Sender;
use signature::Secrets;
use target::{TargetError, Targets};

/// All webhooks of all clinics.
pub struct Webhooks {
    journal: Arc<Journal>,
    store: Arc<dyn Store>,
    sender: Sender,
    flights: DashMap<String, Arc<Flight>>,
    /// A clinic changed something.
    changed: Notify,
    metrics: WebhookMetrics,
}

/// Keeps changes of a webhook and its deliveries apart: whoever moves its cursor holds `held`.
#[derive(Default)]
struct Flight {
    held: Mutex<()>,
    /// Counts up when the deliveries should make way.
    make_way: watch::Sender<u64>,
}

/// Why a clinic's call was refused.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The URL cannot be a target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The clinic has as many as it may.
    #[error("a clinic has at most {WEBHOOKS_MAX} webhooks")]
    TooMany,
    /// The clinic has none of this identifier.
    #[error("no such webhook")]
    NotFound,
    /// Events to replay are no longer kept.
    #[error("events after this cursor are no longer kept")]
    Gone {
        /// Go on from here.
        first: String,
    },
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Webhooks {
    /// Nothing is sent yet: see [`Webhooks::deliver`].
    pub(super) fn new(
        journal: &Arc<Journal>,
        store: &Arc<dyn Store>,
        outbound: &Outbound,
        authorities: &Authorities,
        registry: &Registry,
    ) -> Result<Self, OutgoingError> {
        let targets = Targets::new(outbound);
        let client = outgoing::http_client(authorities)?.dns_resolver(Arc::new(targets.clone())).build()?;
        Ok(Self {
            journal: Arc::clone(journal),
            store: Arc::clone(store),
            sender: Sender { client, targets },
            flights: DashMap::new(),
            changed: Notify::new(),
            metrics: WebhookMetrics::new(registry),
        })
    }

    /// Sends a clinic's events to this URL from now on. The secret is shown only here.
    pub async fn add(&self, clinic: &ClinicId, url: Pii<String>) -> Result<(Webhook, Pii<String>), WebhookError> {
        self.sender.targets.check(&url.0)?;
        if self.store.webhooks(Some(&clinic.0)).await?.len() >= WEBHOOKS_MAX {
            return Err(WebhookError::TooMany);
        }
        let secrets = Secrets::new();
        let webhook = Webhook {
            id: random::text::<12>(),
            clinic: clinic.0.clone(),
            url,
            secret: secrets.to_stored(),
            created_at: clock::unix_now(),
            cursor: feed::head(&*self.store).await?,
            failures: 0,
            retry_at: 0,
            disabled: false,
        };
        self.set(&webhook, &Fact::WebhookCreated { webhook: webhook.id.clone() }).await?;
        Ok((webhook, secrets.newest()))
    }

    /// A clinic's webhooks.
    pub async fn list(&self, clinic: &ClinicId) -> Result<Vec<Webhook>, WebhookError> {
        Ok(self.store.webhooks(Some(&clinic.0)).await?)
    }

    /// One of them.
    pub async fn find(&self, clinic: &ClinicId, id: &str) -> Result<Webhook, WebhookError> {
        self.list(clinic).await?.into_iter().find(|webhook| webhook.id == id).ok_or(WebhookError::NotFound)
    }

    /// Sends nothing there any more.
    pub async fn remove(&self, clinic: &ClinicId, id: &str) -> Result<(), WebhookError> {
        let flight = self.flight(&self.find(clinic, id).await?);
        let held = flight.take().await;
        let change = Change::RemoveWebhook { clinic: clinic.0.clone(), id: id.to_owned() };
        self.commit(clinic, change, &Fact::WebhookRemoved { webhook: id.to_owned() }).await?;
        drop(held);
        self.flights.remove(id);
        Ok(())
    }

    /// Sends one event of the kind `webhook.test`, which is in no feed, once and now.
    pub async fn test(&self, clinic: &ClinicId, id: &str) -> Result<Outcome, WebhookError> {
        let webhook = self.find(clinic, id).await?;
        let event = Event {
            id: random::text::<12>(),
            cursor: format_cursor(webhook.cursor),
            at: clock::format_rfc3339_millis(clock::unix_now_millis()),
            kind: "webhook.test".to_owned(),
            consultation: None,
            seat: None,
            data: serde_json::json!({ "webhook": webhook.id }),
        };
        let outcome = self.sender.post(&webhook, &event).await;
        self.metrics.count(outcome.label());
        Ok(outcome)
    }

    /// Goes on after this cursor, or where it stopped, also when it was given up.
    pub async fn replay(&self, clinic: &ClinicId, id: &str, after: Option<i64>) -> Result<Webhook, WebhookError> {
        let flight = self.flight(&self.find(clinic, id).await?);
        let _held = flight.take().await;
        let mut webhook = self.find(clinic, id).await?;
        let (begin, head) = self.store.chain_marks().await?;
        let begin = begin.map_or(0, |begin| begin.cursor);
        if after.is_some_and(|after| after != 0 && after < begin || after > head.map_or(0, |head| head.cursor)) {
            return Err(WebhookError::Gone { first: format_cursor(begin) });
        }
        webhook.cursor = after.unwrap_or(webhook.cursor);
        (webhook.failures, webhook.retry_at, webhook.disabled) = (0, 0, false);
        self.set(&webhook, &Fact::WebhookReplayed { webhook: webhook.id.clone() }).await?;
        Ok(webhook)
    }

    /// Gives it a new secret. The former one signs too until the next rotation.
    pub async fn rotate_secret(&self, clinic: &ClinicId, id: &str) -> Result<(Webhook, Pii<String>), WebhookError> {
        let flight = self.flight(&self.find(clinic, id).await?);
        let _held = flight.take().await;
        let mut webhook = self.find(clinic, id).await?;
        let secrets = Secrets::from_stored(&webhook.secret).map_or_else(Secrets::new, Secrets::rotated);
        webhook.secret = secrets.to_stored();
        self.set(&webhook, &Fact::WebhookSecretRotated { webhook: webhook.id.clone() }).await?;
        Ok((webhook, secrets.newest()))
    }

    async fn set(&self, webhook: &Webhook, fact: &Fact) -> Result<(), WebhookError> {
        self.commit(&ClinicId(webhook.clinic.clone()), Change::SetWebhook(webhook.clone()), fact).await
    }

    async fn commit(&self, clinic: &ClinicId, change: Change, fact: &Fact) -> Result<(), WebhookError> {
        let entry = self.journal.entry(Some(&clinic.0), None, None, fact);
        let transaction = Transaction { changes: vec![change], entries: vec![entry] };
        let committed = self.journal.commit(transaction).await?;
        self.changed.notify_one();
        match committed {
            Committed::Done => Ok(()),
            Committed::NotApplicable => Err(WebhookError::NotFound),
        }
    }

    fn flight(&self, webhook: &Webhook) -> Arc<Flight> {
        Arc::clone(&self.flights.entry(webhook.id.clone()).or_default())
    }
}

impl Flight {
    /// Stops the deliveries of the webhook until the guard is dropped.
    async fn take(&self) -> MutexGuard<'_, ()> {
        self.make_way.send_modify(|asked| *asked += 1);
        self.held.lock().await
    }
}

/// Of one clinic. Each costs a delivery for each of the clinic's events.
pub const WEBHOOKS_MAX: usize = 16;
