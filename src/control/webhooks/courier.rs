//! Delivery: follows the journal for every webhook and carries each event to its receiver.
//!
//! One loop decides which webhooks have something to deliver, and starts a *run* for each; a run delivers one event after
//! another until there are no more, one fails, or others should have its place. What a webhook has acknowledged stands in the store,
//! written at the end of each batch: what a crash makes come twice is one batch at most.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};

use crate::control::facts::Fact;
use crate::control::feed::{self, Event, format_cursor};
use crate::control::{clock, random};
use crate::store::{JournalEntry, StoreError, Transaction, Webhook};

use super::Webhooks;
use super::position::Position;
use super::sender::Outcome;

/// What the loop knows of a webhook.
struct Follower {
    webhook: Webhook,
    /// Entries that it has not got; exact up to a limit.
    behind: u64,
    /// A run is under way.
    busy: bool,
    /// The clinic changed it meanwhile.
    touched: bool,
}

/// How a run ended.
struct Report {
    id: String,
    clinic: String,
    delivered: u64,
    /// Nothing was left when it looked last.
    drained: bool,
    /// The store did not take part.
    failed: bool,
}

/// Everything the loop knows.
struct Courier {
    webhooks: Arc<Webhooks>,
    followers: HashMap<String, Follower>,
    /// Entries up to here are counted in every `behind`.
    seen: i64,
    /// Whether `followers` is what the store says.
    stale: bool,
    places: Arc<Semaphore>,
    reports: mpsc::UnboundedSender<Report>,
}

impl Webhooks {
    /// Delivers for as long as the process runs. Returns at once when the operator allows no webhooks.
    pub async fn deliver(self: Arc<Self>) {
        if self.sender.targets.is_off() {
            return;
        }
        let mut written = self.journal.subscribe();
        // As many reports as runs, and those have their limit.
        let (reports, mut ended) = mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(RUNS_MAX));
        let mut courier =
            Courier { webhooks: Arc::clone(&self), followers: HashMap::new(), seen: 0, stale: true, places, reports };
        loop {
            written.mark_unchanged();
            let wait = match courier.look().await {
                Ok(()) => courier.start_runs(),
                Err(error) => {
                    tracing::warn!(%error, "webhooks wait for the store");
                    PATIENCE
                }
            };
            tokio::select! {
                _ = written.changed() => tokio::time::sleep(NAP).await,
                () = self.changed.notified() => courier.stale = true,
                Some(report) = ended.recv() => courier.take(report).await,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Delivers to one webhook what there is.
    async fn run(&self, webhook: &Webhook) -> Result<(u64, bool), StoreError> {
        let flight = self.flight(webhook);
        let mut make_way = flight.make_way.subscribe();
        let _held = flight.held.lock().await;
        // What cannot be remembered would come again and again.
        if !self.journal.is_writable().await {
            return Err(StoreError { operation: "move webhook", cause: "not writable now".to_owned() });
        }
        // The clinic may have changed it since the loop looked.
        let rows = self.store.webhooks(Some(&webhook.clinic)).await?;
        let Some(webhook) = rows.into_iter().find(|row| row.id == webhook.id && !row.disabled) else {
            return Ok((0, true));
        };
        let (begun, mut position, mut delivered) = (Instant::now(), Position::of(&webhook), 0);
        loop {
            let batch = self.store.entries_after(Some(&webhook.clinic), position.cursor, BATCH_LEN_MAX).await?;
            let drained = batch.len() < BATCH_LEN_MAX as usize;
            let (reached, more, facts) = self.carry(&webhook, position, batch, &mut make_way).await;
            delivered += more.delivered;
            if reached != position {
                self.save(&webhook, reached, &facts).await?;
            }
            position = reached;
            if more.interrupted || drained || begun.elapsed() > RUN_TIME_MAX {
                return Ok((delivered, drained && !more.interrupted));
            }
        }
    }

    /// Delivers a batch as far as it goes.
    async fn carry(
        &self,
        webhook: &Webhook,
        mut position: Position,
        batch: Vec<JournalEntry>,
        make_way: &mut watch::Receiver<u64>,
    ) -> (Position, Carried, Vec<Fact>) {
        let mut carried = Carried::default();
        let mut entries = batch.into_iter().peekable();
        while let Some(entry) = entries.next() {
            let cursor = entry.cursor;
            let outcome = tokio::select! {
                _ = make_way.changed() => {
                    carried.interrupted = true;
                    return (position, carried, Vec::new());
                }
                outcome = self.post(webhook, entry) => outcome,
            };
            if let Outcome::Delivered(_) = outcome {
                position = Position::past(cursor);
                carried.delivered += 1;
                continue;
            }
            let refused = position.should_look_past(outcome);
            position = position.after_failure(outcome, clock::unix_now(), random::bytes::<1>()[0]);
            carried.interrupted = true;
            let mut facts = Vec::new();
            if let Some(next) = entries.next().filter(|_| refused) {
                let after = next.cursor;
                if let Outcome::Delivered(_) = self.post(webhook, next).await {
                    position = Position::past(after);
                    carried.delivered += 2;
                    let (webhook, cursor) = (webhook.id.clone(), format_cursor(cursor));
                    facts.push(Fact::WebhookSkipped { webhook, cursor });
                }
            }
            if position.disabled {
                tracing::warn!(webhook = webhook.id, outcome = outcome.label(), "a webhook is given up");
                facts.push(Fact::WebhookDisabled { webhook: webhook.id.clone() });
            }
            return (position, carried, facts);
        }
        (position, carried, Vec::new())
    }

    async fn post(&self, webhook: &Webhook, entry: JournalEntry) -> Outcome {
        let outcome = self.sender.post(webhook, &Event::from(entry)).await;
        self.metrics.count(outcome.label());
        outcome
    }

    async fn save(&self, webhook: &Webhook, position: Position, facts: &[Fact]) -> Result<(), StoreError> {
        let entry = |fact| self.journal.entry(Some(&webhook.clinic), None, None, fact);
        let entries = facts.iter().map(entry).collect();
        self.journal.commit(Transaction { changes: vec![position.change(&webhook.id)], entries }).await?;
        Ok(())
    }
}

/// What became of a batch.
#[derive(Default)]
struct Carried {
    delivered: u64,
    /// Not the whole batch was carried.
    interrupted: bool,
}

impl Courier {
    /// Brings what the loop knows up to date with the store.
    async fn look(&mut self) -> Result<(), StoreError> {
        if self.stale {
            let seen = feed::head(&*self.webhooks.store).await?;
            let rows = self.webhooks.store.webhooks(None).await?;
            self.followers.retain(|id, follower| follower.busy || rows.iter().any(|row| row.id == *id));
            for row in rows {
                if let Some(follower) = self.followers.get_mut(&row.id).filter(|follower| follower.busy) {
                    follower.touched = true;
                    continue;
                }
                let behind = self.count_behind(&row).await?;
                self.followers.insert(row.id.clone(), Follower { webhook: row, behind, busy: false, touched: false });
            }
            (self.seen, self.stale) = (seen, false);
        }
        loop {
            let news = self.webhooks.store.entries_after(None, self.seen, NEWS_LEN_MAX).await?;
            let Some(last) = news.last() else { return Ok(()) };
            self.seen = last.cursor;
            for JournalEntry { entry, cursor, .. } in &news {
                let concerned = |follower: &&mut Follower| {
                    entry.clinic.as_ref() == Some(&follower.webhook.clinic) && follower.webhook.cursor < *cursor
                };
                self.followers.values_mut().filter(concerned).for_each(|follower| follower.behind += 1);
            }
        }
    }

    async fn count_behind(&self, webhook: &Webhook) -> Result<u64, StoreError> {
        let (mut count, mut cursor) = (0, webhook.cursor);
        while !webhook.disabled && count < COUNT_MAX {
            let page = self.webhooks.store.entries_after(Some(&webhook.clinic), cursor, NEWS_LEN_MAX).await?;
            let Some(last) = page.last() else { break };
            (count, cursor) = (count + page.len() as u64, last.cursor);
        }
        Ok(count)
    }

    /// Starts what is due; says when to look again.
    fn start_runs(&mut self) -> Duration {
        let now = clock::unix_now();
        let mut wait = PATIENCE_IDLE;
        for follower in self.followers.values_mut() {
            if follower.busy || follower.behind == 0 || follower.webhook.disabled {
                continue;
            }
            let left = follower.webhook.retry_at.saturating_sub(now);
            if left > 0 {
                wait = wait.min(Duration::from_secs(left.unsigned_abs()));
                continue;
            }
            // Without a place it waits until a run ends, which wakes the loop.
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { break };
            follower.busy = true;
            let (webhooks, webhook, reports) =
                (Arc::clone(&self.webhooks), follower.webhook.clone(), self.reports.clone());
            tokio::spawn(async move {
                let ended = webhooks.run(&webhook).await;
                if let Err(error) = &ended {
                    tracing::warn!(%error, "a webhook waits for the store");
                }
                let ((delivered, drained), failed) =
                    (ended.as_ref().map_or((0, false), |ended| *ended), ended.is_err());
                drop(place);
                reports.send(Report { id: webhook.id, clinic: webhook.clinic, delivered, drained, failed }).ok();
            });
        }
        self.show();
        wait
    }

    /// After a run: the store knows where the webhook is now.
    async fn take(&mut self, report: Report) {
        let Some(follower) = self.followers.get_mut(&report.id) else { return };
        follower.busy = false;
        self.stale |= std::mem::take(&mut follower.touched);
        follower.behind = if report.drained { 0 } else { follower.behind.saturating_sub(report.delivered).max(1) };
        match self.webhooks.store.webhooks(Some(&report.clinic)).await {
            Ok(rows) => match rows.into_iter().find(|row| row.id == report.id) {
                Some(row) => follower.webhook = row,
                None => self.stale = true,
            },
            // Its last known place will do.
            Err(error) => tracing::warn!(%error, "webhooks wait for the store"),
        }
        if report.failed {
            let patience = clock::unix_now() + PATIENCE.as_secs() as i64;
            follower.webhook.retry_at = follower.webhook.retry_at.max(patience);
        }
    }

    fn show(&self) {
        let enabled = self.followers.values().filter(|follower| !follower.webhook.disabled);
        let behind = enabled.clone().map(|follower| follower.behind).sum();
        self.webhooks.metrics.show(behind, self.followers.len() - enabled.count());
    }
}

/// Webhooks that are delivered to at the same time, each with one connection. Fewer would let some dead receivers, which take
/// their whole time limit, hold up the others.
const RUNS_MAX: usize = 64;
/// Acknowledged events that a crash may have come twice.
const BATCH_LEN_MAX: u32 = 64;
/// Then others may have the place.
const RUN_TIME_MAX: Duration = Duration::from_secs(10);
/// Entries read at once to see whom they concern.
const NEWS_LEN_MAX: u32 = 1_000;
/// How far `behind` is exact; it is a figure for operators.
const COUNT_MAX: u64 = 10_000;
/// A busy journal is looked at so often.
const NAP: Duration = Duration::from_millis(100);
/// While the store is down.
const PATIENCE: Duration = Duration::from_secs(5);
/// With nothing to do; another process may have written.
const PATIENCE_IDLE: Duration = Duration::from_secs(30);
