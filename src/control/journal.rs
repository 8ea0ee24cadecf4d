//! The one way to the store for what changes: each change with what is told of it.
//!
//! [`Journal::commit`] is for what must be durable before it is answered; [`Journal::record`] is for running rooms and never
//! waits. Not here: what is told (`facts`).

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::store::{Change, Committed, Entry, LiveChange, Store, StoreError, Transaction};

use super::facts::Fact;
use super::{clock, random};

/// Writes on behalf of the whole control plane.
pub struct Journal {
    store: Arc<dyn Store>,
    queue: mpsc::Sender<Transaction>,
    written: Arc<watch::Sender<u64>>,
}

impl Journal {
    /// Starts the task that writes what running rooms record.
    #[must_use]
    pub fn open(store: Arc<dyn Store>) -> Arc<Self> {
        let (queue, waiting) = mpsc::channel(QUEUE_LEN_MAX);
        let journal = Arc::new(Self { store, queue, written: Arc::new(watch::Sender::new(0)) });
        tokio::spawn(write_all(Arc::clone(&journal.store), Arc::clone(&journal.written), waiting));
        journal
    }

    /// Makes an entry of something that happened now.
    #[must_use]
    pub fn entry(&self, clinic: Option<&str>, consultation: Option<&str>, seat: Option<&str>, fact: &Fact) -> Entry {
        entry(clinic, consultation, seat, fact)
    }

    /// Writes a transaction; durable when this resolves. It goes on when the caller gives up waiting.
    pub async fn commit(&self, transaction: Transaction) -> Result<Committed, StoreError> {
        let told = !transaction.entries.is_empty();
        let committed = self.store.commit(transaction).await?;
        if told {
            announce(&self.written);
        }
        Ok(committed)
    }

    /// Writes what happened in a running room. Never waits, never fails.
    pub fn record(&self, changes: Vec<LiveChange>, entries: Vec<Entry>) {
        let changes = changes.into_iter().map(Change::Live).collect();
        if self.queue.try_send(Transaction { changes, entries }).is_err() {
            tracing::error!("the queue to the store is full: entries of the journal are lost");
        }
    }

    /// Changes whenever entries were written; whoever follows the journal looks again then.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }
}

/// Makes an entry of something that happened now. For commands that run beside the server.
#[must_use]
pub fn entry(clinic: Option<&str>, consultation: Option<&str>, seat: Option<&str>, fact: &Fact) -> Entry {
    let (kind, data) = fact.to_parts();
    Entry {
        id: random::text::<12>(),
        at: clock::unix_now_millis(),
        clinic: clinic.map(str::to_owned),
        consultation: consultation.map(str::to_owned),
        seat: seat.map(str::to_owned),
        kind,
        data,
    }
}

async fn write_all(store: Arc<dyn Store>, written: Arc<watch::Sender<u64>>, mut waiting: mpsc::Receiver<Transaction>) {
    while let Some(transaction) = waiting.recv().await {
        match store.commit(transaction).await {
            Ok(_) => announce(&written),
            Err(error) => tracing::error!(%error, "entries of the journal are lost"),
        }
    }
}

fn announce(written: &watch::Sender<u64>) {
    written.send_modify(|writes| *writes = writes.wrapping_add(1));
}

/// Transactions of running rooms that wait for the store.
const QUEUE_LEN_MAX: usize = 4_096;
