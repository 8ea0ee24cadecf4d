//! The one task that writes the journal: to the store, in order, or to the spool while the store is down.
//!
//! ```text
//!   Direct --store fails, or is silent for long--> Behind --spool stored to its end--> Direct
//! ```
//!
//! Changes of running rooms go as one transaction for all that waited, one after another, so that no later one is stored when an
//! earlier one was not. Bookings are begun in their order among these and not waited for: they stand each for itself. Whatever is
//! tried again is stored once, because entries have unique identifiers and live changes give the same when repeated in order.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::store::{Change, Committed, Entry, LiveChange, Store, StoreError, Transaction};

use super::journal::State;
use super::mirror::Mirror;
use super::spool::{Pushed, Spool, Waiting};

/// Changes of running rooms and what is told of them; a line of the spool.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Live {
    pub(super) changes: Vec<LiveChange>,
    pub(super) entries: Vec<Entry>,
}

type Reply = oneshot::Sender<Result<Committed, StoreError>>;

/// What the journal hands over.
pub(super) enum Item {
    /// Of a running room; whoever waits is answered when it is durable.
    Live(Live, Option<Reply>),
    /// Anything else.
    Booking(Transaction, Reply),
    /// Answered when everything before is durable.
    Flush(oneshot::Sender<()>),
    /// The room of this consultation is gone.
    Release(String),
}

/// Owns the spool.
pub(super) struct Scribe {
    store: Arc<dyn Store>,
    /// Absent only while a blocking thread has it.
    spool: Option<Spool>,
    mirror: Arc<Mirror>,
    state: Arc<State>,
    attempts: Attempts,
    patience: Duration,
}

/// How storing the spool goes.
#[derive(Default)]
struct Attempts {
    /// Failures in a row.
    failures: u32,
    /// Lines one by one, because together they failed while the store took other writes.
    singly: bool,
    /// Failures in a row of the oldest line alone.
    refusals: u32,
}

/// Lines of the spool on their way to the store.
struct Attempt {
    waiting: Waiting,
    outcome: BoxFuture<'static, Result<Outcome, StoreError>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Stored,
    /// The store takes writes, but not these.
    Refused,
}

impl Scribe {
    /// `patience`: how long the store may keep changes of running rooms waiting before they are spooled.
    pub(super) fn new(
        store: Arc<dyn Store>,
        spool: Spool,
        mirror: Arc<Mirror>,
        state: Arc<State>,
        patience: Duration,
    ) -> Self {
        state.set_behind(spool.waiting());
        Self { store, spool: Some(spool), mirror, state, attempts: Attempts::default(), patience }
    }

    /// Stores what an earlier process left, until the store fails.
    pub(super) async fn catch_up(&mut self) {
        while self.is_behind() {
            let Some(mut attempt) = self.attempt().await else { return };
            let outcome = (&mut attempt.outcome).await;
            if !self.finish(attempt.waiting, outcome).await {
                return;
            }
        }
    }

    /// Ends when the journal is dropped.
    pub(super) async fn write_all(mut self, mut queue: mpsc::Receiver<Item>) {
        let mut items = Vec::with_capacity(BATCH_LEN_MAX);
        loop {
            // Also at the start: what an earlier process left goes before anything new.
            if self.is_behind() && !self.write_behind(&mut queue).await {
                return;
            }
            if queue.recv_many(&mut items, BATCH_LEN_MAX).await == 0 {
                return;
            }
            self.write(items.drain(..)).await;
        }
    }

    /// Writes what waited to the store; to the spool what it does not take.
    async fn write(&mut self, items: impl Iterator<Item = Item>) {
        let (mut live, mut replies, mut bookings, mut after) = (Live::default(), Vec::new(), Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::Live(one, reply) => {
                    live.changes.extend(one.changes);
                    live.entries.extend(one.entries);
                    replies.extend(reply);
                }
                Item::Booking(transaction, reply) => bookings.push((transaction, reply)),
                Item::Flush(_) | Item::Release(_) => after.push(item),
            }
        }
        live.entries.extend(self.state.tell_lost());
        let mut commit = (!live.is_empty()).then(|| self.commit(live.to_transaction()));
        if let Some(commit) = &mut commit {
            begin(commit).await;
        }
        for (transaction, reply) in bookings {
            self.book(transaction, reply).await;
        }
        if let Some(commit) = commit {
            match timeout(self.patience, commit.outcome()).await {
                Ok(Ok(Committed::Done)) => {
                    self.state.announce();
                    answer(replies, &Ok(()));
                }
                failed => {
                    tracing::error!(cause = cause(&failed), "the store does not take changes: they are spooled");
                    let spooled = self.push(live).await;
                    answer(replies, &spooled);
                }
            }
        }
        self.conclude(after);
    }

    /// Spools what comes and stores the spool in order, until it is empty. False when the journal was dropped.
    async fn write_behind(&mut self, queue: &mut mpsc::Receiver<Item>) -> bool {
        let mut items = Vec::with_capacity(BATCH_LEN_MAX);
        let mut attempt: Option<Attempt> = None;
        let mut next = Instant::now() + self.attempts.delay();
        loop {
            tokio::select! {
                count = queue.recv_many(&mut items, BATCH_LEN_MAX) => {
                    if count == 0 {
                        return false;
                    }
                    self.spool_items(items.drain(..)).await;
                }
                outcome = async { (&mut attempt.as_mut().expect("checked").outcome).await }, if attempt.is_some() => {
                    if let Some(attempt) = attempt.take() {
                        self.finish(attempt.waiting, outcome).await;
                        next = Instant::now() + self.attempts.delay();
                    }
                    if !self.is_behind() {
                        tracing::info!("the store has everything that was spooled");
                        self.write(std::iter::empty()).await;
                        self.mirror.sweep_all();
                        return true;
                    }
                }
                () = sleep_until(next), if attempt.is_none() => {
                    attempt = self.attempt().await;
                    next = Instant::now() + DELAY_MAX;
                }
            }
        }
    }

    async fn spool_items(&mut self, items: impl Iterator<Item = Item>) {
        let (mut live, mut replies, mut after) = (Live::default(), Vec::new(), Vec::new());
        for item in items {
            match item {
                Item::Live(one, reply) => {
                    live.changes.extend(one.changes);
                    live.entries.extend(one.entries);
                    replies.extend(reply);
                }
                Item::Booking(_, reply) => {
                    let cause = "earlier changes wait for the store".to_owned();
                    reply.send(Err(StoreError { operation: "commit", cause })).ok();
                }
                Item::Flush(_) | Item::Release(_) => after.push(item),
            }
        }
        if !live.is_empty() {
            let spooled = self.push(live).await;
            answer(replies, &spooled);
        }
        self.conclude(after);
    }

    fn conclude(&self, items: Vec<Item>) {
        for item in items {
            match item {
                Item::Flush(reply) => drop(reply.send(())),
                Item::Release(consultation) if !self.is_behind() => self.mirror.sweep(&consultation),
                _ => {}
            }
        }
    }

    /// Puts changes behind everything that waits. An error when they are not on the disk, though they may be stored later.
    async fn push(&mut self, live: Live) -> Result<(), StoreError> {
        let line = serde_json::to_vec(&live).expect("changes and entries are plain data");
        let entries = live.entries.len() as u64;
        let pushed = self.on_disk(move |spool| spool.push(line)).await;
        let waiting = self.spool.as_ref().map_or(0, Spool::waiting);
        self.state.set_behind(waiting);
        let cause = match pushed {
            Pushed::Synced => return Ok(()),
            Pushed::Held(kind) => {
                tracing::error!(%kind, "the disk does not take changes either: they are held in memory");
                kind.to_string()
            }
            Pushed::Lost => {
                self.state.lose(entries, "neither store nor spool takes them");
                "no room".to_owned()
            }
        };
        Err(StoreError { operation: "spool", cause })
    }

    /// Begins to store the oldest lines of the spool. Nothing when the disk does not give them.
    async fn attempt(&mut self) -> Option<Attempt> {
        let lines_max = if self.attempts.singly { 1 } else { LINES_MAX };
        let waiting = match self.on_disk(move |spool| spool.next(lines_max)).await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::error!(kind = %error.kind(), "the spool cannot be read");
                self.attempts.failures += 1;
                return None;
            }
        };
        let mut together = Live::default();
        for line in &waiting.lines {
            match serde_json::from_slice::<Live>(line) {
                Ok(live) => {
                    together.changes.extend(live.changes);
                    together.entries.extend(live.entries);
                }
                Err(_) => self.state.lose(1, "a line of the spool is damaged"),
            }
        }
        let store = Arc::clone(&self.store);
        let outcome = Box::pin(async move {
            let error = match store.commit(together.to_transaction()).await {
                Ok(Committed::Done) => return Ok(Outcome::Stored),
                Ok(Committed::NotApplicable) => return Ok(Outcome::Refused),
                Err(error) => error,
            };
            // Is it the store, or these changes?
            match store.commit(Transaction::default()).await {
                Ok(_) => Ok(Outcome::Refused),
                Err(_) => Err(error),
            }
        });
        Some(Attempt { waiting, outcome })
    }

    /// Takes note of an attempt's outcome. False when the store failed.
    async fn finish(&mut self, waiting: Waiting, outcome: Result<Outcome, StoreError>) -> bool {
        let lines = waiting.lines.len();
        let forget = match outcome {
            Ok(Outcome::Stored) => {
                self.attempts = Attempts { singly: self.attempts.singly, ..Attempts::default() };
                self.state.announce();
                lines
            }
            Ok(Outcome::Refused) if lines > 1 => {
                self.attempts.singly = true;
                0
            }
            Ok(Outcome::Refused) => {
                self.attempts.failures += 1;
                self.attempts.refusals += 1;
                // One line that no store will ever take must not stand before all others for good.
                if self.attempts.refusals < REFUSALS_MAX { 0 } else { self.give_up(&waiting) }
            }
            Err(error) => {
                self.attempts.failures += 1;
                tracing::debug!(%error, failures = self.attempts.failures, "the store is still down");
                return false;
            }
        };
        let done = self.on_disk(move |spool| spool.done(&waiting, forget)).await;
        if let Err(error) = done {
            tracing::error!(kind = %error.kind(), "the spool cannot be emptied");
        }
        let waiting = self.spool.as_ref().map_or(0, Spool::waiting);
        self.state.set_behind(waiting);
        self.attempts.singly &= waiting > 0;
        true
    }

    fn give_up(&mut self, waiting: &Waiting) -> usize {
        let entries = waiting.lines.iter().filter_map(|line| serde_json::from_slice::<Live>(line).ok());
        let entries: usize = entries.map(|live| live.entries.len()).sum();
        self.state.lose(entries as u64, "the store refuses them for good");
        self.attempts = Attempts { singly: true, ..Attempts::default() };
        waiting.lines.len()
    }

    fn is_behind(&self) -> bool {
        self.spool.as_ref().is_some_and(|spool| spool.waiting() > 0)
    }

    /// Lends the spool to a thread that may wait for the disk.
    async fn on_disk<T: Send + 'static>(&mut self, act: impl FnOnce(&mut Spool) -> T + Send + 'static) -> T {
        let mut spool = self.spool.take().expect("it is lent to one thread at a time");
        let lent = tokio::task::spawn_blocking(move || {
            let outcome = act(&mut spool);
            (spool, outcome)
        });
        let (spool, outcome) = lent.await.expect("the spool does not panic");
        self.spool = Some(spool);
        outcome
    }

    fn commit(&self, transaction: Transaction) -> Begun {
        let store = Arc::clone(&self.store);
        Begun::Running(Box::pin(async move { store.commit(transaction).await }))
    }

    /// Begins a booking; its caller is answered when the store has it.
    async fn book(&self, transaction: Transaction, reply: Reply) {
        let told = !transaction.entries.is_empty();
        let applied = transaction.changes.clone();
        let mut commit = self.commit(transaction);
        begin(&mut commit).await;
        let (mirror, state) = (Arc::clone(&self.mirror), Arc::clone(&self.state));
        tokio::spawn(async move {
            let outcome = commit.outcome().await;
            if matches!(outcome, Ok(Committed::Done)) {
                mirror.apply(&applied);
                if told {
                    state.announce();
                }
            }
            reply.send(outcome).ok();
        });
    }
}

/// A commit that was handed to the store, or is through already.
enum Begun {
    Running(BoxFuture<'static, Result<Committed, StoreError>>),
    Through(Result<Committed, StoreError>),
}

impl Begun {
    async fn outcome(self) -> Result<Committed, StoreError> {
        match self {
            Begun::Running(commit) => commit.await,
            Begun::Through(outcome) => outcome,
        }
    }
}

/// Hands a commit to the store, which takes commits in the order of this, without waiting for it.
async fn begin(commit: &mut Begun) {
    std::future::poll_fn(|context| {
        if let Begun::Running(running) = commit
            && let std::task::Poll::Ready(outcome) = Pin::new(running).poll(context)
        {
            *commit = Begun::Through(outcome);
        }
        std::task::Poll::Ready(())
    })
    .await;
}

fn answer(replies: Vec<Reply>, outcome: &Result<(), StoreError>) {
    for reply in replies {
        let copy = match outcome {
            Ok(()) => Ok(Committed::Done),
            Err(error) => Err(StoreError { operation: error.operation, cause: error.cause.clone() }),
        };
        reply.send(copy).ok();
    }
}

fn cause(failed: &Result<Result<Committed, StoreError>, tokio::time::error::Elapsed>) -> String {
    match failed {
        Ok(Ok(outcome)) => format!("{outcome:?}"),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer".to_owned(),
    }
}

impl Live {
    fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.entries.is_empty()
    }

    fn to_transaction(&self) -> Transaction {
        Transaction { changes: self.changes.iter().cloned().map(Change::Live).collect(), entries: self.entries.clone() }
    }
}

impl Attempts {
    /// Until the next attempt.
    fn delay(&self) -> Duration {
        match self.failures {
            0 => Duration::ZERO,
            failures => DELAY_MAX.min(DELAY_MIN * 2u32.saturating_pow(failures.min(16) - 1)),
        }
    }
}

/// Items in one transaction. More would make a long line of the spool; fewer would cost a sync each.
const BATCH_LEN_MAX: usize = 256;
/// Lines of the spool in one transaction.
const LINES_MAX: usize = 64;
/// Before the second attempt; doubled after each failure.
const DELAY_MIN: Duration = Duration::from_millis(100);
/// At most this long after it is back the store has everything.
const DELAY_MAX: Duration = Duration::from_secs(5);
/// Times that a store that takes other writes may refuse a line.
const REFUSALS_MAX: u32 = 5;
