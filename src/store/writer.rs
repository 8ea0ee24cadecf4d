//! Group commit and the journal's chain: what waits while the disk syncs shares the next transaction and its one sync.
//!
//! ```text
//!   calls --Job--> queue --as many as wait--> BEGIN, the chain's head, a savepoint each, the new head, COMMIT --> answers
//! ```
//!
//! A job that fails, or is not applicable, undoes itself alone. Nobody is answered before the commit. SQLite has one writer
//! anyway; in PostgreSQL the head's row is locked first, so that several processes write one chain after another. The head is
//! signed once a commit. Nothing here waits for ever: a transaction that takes too long loses its connection.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::engine::{Connection, Pool, store_error, values};
use super::head_key::HeadKey;
use super::pin_key::PinKey;
use super::{Change, Committed, Entry, Erasure, Pruned, StoreError, StoreFuture, Transaction, audit, changes, erasure};

/// The one writer of this process.
pub(super) struct Writer {
    pool: Pool,
    queue: mpsc::Sender<Waiting>,
}

/// What can be asked of it.
pub(super) enum Job {
    Commit(Transaction),
    Erase(Erasure, Entry),
    /// Consultations of a restored backup that were erased before.
    EraseAgain(Vec<String>, Entry),
    Prune(i64, Entry),
}

/// What became of a job.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Committed(Committed),
    /// How many entries were removed.
    Pruned(Pruned),
    /// These consultations.
    Erased(Vec<String>),
}

/// A job with whoever waits for it.
struct Waiting {
    operation: &'static str,
    job: Job,
    reply: oneshot::Sender<Result<Outcome, StoreError>>,
}

/// Where the chain ends.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ChainEnd {
    pub(super) cursor: i64,
    pub(super) hash: [u8; 32],
}

impl Writer {
    /// Takes over a pool of one connection. Ends when it is dropped.
    pub(super) fn start(pool: Pool, key: Arc<HeadKey>, pins: Arc<PinKey>, file: Option<FileIdentity>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_LEN_MAX);
        tokio::spawn(Committer { pool: pool.clone(), key, pins, file }.run(waiting));
        Self { pool, queue }
    }

    /// Does the job in the next transaction; resolves when that is on the disk. It goes on when the caller gives up waiting,
    /// and when the answer takes too long.
    pub(super) fn submit(&self, operation: &'static str, job: Job) -> StoreFuture<'_, Outcome> {
        let (reply, answer) = oneshot::channel();
        let patience = job.time_max() + BATCH_TIME_MAX;
        let waiting = Waiting { operation, job, reply };
        Box::pin(async move {
            let gone = || StoreError { operation, cause: "closed".to_owned() };
            let answered = tokio::time::timeout(patience, async {
                self.queue.send(waiting).await.map_err(|_| gone())?;
                answer.await.map_err(|_| gone())?
            });
            answered.await.unwrap_or_else(|_| Err(StoreError { operation, cause: "no answer in time".to_owned() }))
        })
    }

    /// Waits for the running transaction.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

impl Job {
    fn time_max(&self) -> Duration {
        match self {
            Job::Commit(_) => BATCH_TIME_MAX,
            Job::Erase(..) | Job::EraseAgain(..) | Job::Prune(..) => UPKEEP_TIME_MAX,
        }
    }
}

/// The task behind the queue.
struct Committer {
    pool: Pool,
    key: Arc<HeadKey>,
    pins: Arc<PinKey>,
    file: Option<FileIdentity>,
}

impl Committer {
    async fn run(self, mut waiting: mpsc::Receiver<Waiting>) {
        let mut batch = Vec::with_capacity(BATCH_LEN_MAX);
        while waiting.recv_many(&mut batch, BATCH_LEN_MAX).await > 0 {
            let mut outcomes = Vec::with_capacity(batch.len());
            let committed = self.commit(&batch, &mut outcomes).await;
            let mut outcomes = outcomes.into_iter();
            for Waiting { operation, reply, .. } in batch.drain(..) {
                let outcome = match (&committed, outcomes.next()) {
                    (_, Some(Err(error))) => Err(store_error(operation, &error)),
                    (Err(cause), _) => Err(StoreError { operation, cause: cause.clone() }),
                    (Ok(()), Some(Ok(outcome))) => Ok(outcome),
                    (Ok(()), None) => Err(store_error(operation, &sqlx::Error::WorkerCrashed)),
                };
                // Whoever asked may have given up.
                reply.send(outcome).ok();
            }
        }
    }

    /// One transaction for all; `outcomes` holds what each job came to as far as they ran.
    async fn commit(&self, batch: &[Waiting], outcomes: &mut Vec<Result<Outcome, sqlx::Error>>) -> Result<(), String> {
        if self.file.as_ref().is_some_and(FileIdentity::is_lost) {
            return Err("the file was removed or replaced".to_owned());
        }
        let cause = |error: sqlx::Error| store_error("", &error).cause;
        let time_max = batch.iter().map(|waiting| waiting.job.time_max()).max().unwrap_or(BATCH_TIME_MAX);
        let mut connection = self.pool.acquire().await.map_err(cause)?;
        let done = tokio::time::timeout(time_max, self.write(&mut connection, batch, outcomes)).await;
        if !matches!(done, Ok(Ok(()))) {
            connection.close_on_drop();
        }
        done.map_err(|_| "no answer in time".to_owned())?.map_err(cause)
    }

    async fn write(
        &self,
        on: &mut Connection,
        batch: &[Waiting],
        outcomes: &mut Vec<Result<Outcome, sqlx::Error>>,
    ) -> Result<(), sqlx::Error> {
        on.begin().await?;
        let old = read_head(on).await?;
        let mut end = old.clone();
        for waiting in batch {
            on.execute("SAVEPOINT job", Vec::new()).await?;
            let before = end.clone();
            let outcome = self.run_job(on, &waiting.job, &mut end).await;
            if !matches!(outcome, Ok(Outcome::Committed(Committed::Done) | Outcome::Pruned(_) | Outcome::Erased(_))) {
                on.execute("ROLLBACK TO SAVEPOINT job", Vec::new()).await?;
                end = before;
            }
            on.execute("RELEASE SAVEPOINT job", Vec::new()).await?;
            outcomes.push(outcome);
        }
        if end != old {
            self.mark(on, audit::Place::Head, &end).await?;
        }
        on.execute("COMMIT", Vec::new()).await.map(drop)
    }

    async fn run_job(&self, on: &mut Connection, job: &Job, end: &mut ChainEnd) -> Result<Outcome, sqlx::Error> {
        match job {
            Job::Commit(transaction) => {
                write_transaction(on, &self.pins, transaction, end).await.map(Outcome::Committed)
            }
            Job::Erase(whose, entry) => {
                let found = erasure::find(on, whose).await?;
                self.erase(on, found, entry, end).await
            }
            Job::EraseAgain(consultations, entry) => {
                let found = erasure::still_there(on, consultations).await?;
                self.erase(on, found, entry, end).await
            }
            Job::Prune(before, entry) => {
                let (pruned, begin) = erasure::prune(on, *before).await?;
                if let Some(begin) = begin {
                    self.mark(on, audit::Place::Begin, &begin).await?;
                }
                if pruned.entries > 0 {
                    append(on, &erasure::counted(entry, "entries", pruned.entries), end).await?;
                }
                Ok(Outcome::Pruned(pruned))
            }
        }
    }

    async fn erase(
        &self,
        on: &mut Connection,
        found: Vec<String>,
        entry: &Entry,
        end: &mut ChainEnd,
    ) -> Result<Outcome, sqlx::Error> {
        erasure::erase(on, &found).await?;
        if !found.is_empty() {
            let count = u32::try_from(found.len()).unwrap_or(u32::MAX);
            append(on, &erasure::counted(entry, "consultations", count), end).await?;
        }
        Ok(Outcome::Erased(found))
    }

    async fn mark(&self, on: &mut Connection, place: audit::Place, end: &ChainEnd) -> Result<(), sqlx::Error> {
        let signature = self.key.sign(&audit::mark_bytes(place, end.cursor, &end.hash));
        let sql = "UPDATE chain SET cursor = $1, hash = $2, signature = $3 WHERE place = $4";
        let values = values![end.cursor, end.hash.as_slice(), signature.as_slice(), place.name()];
        on.execute(sql, values).await.map(drop)
    }
}

async fn read_head(on: &mut Connection) -> Result<ChainEnd, sqlx::Error> {
    let sql = if on.is_sqlite() {
        "SELECT cursor, hash FROM chain WHERE place = 'head'"
    } else {
        "SELECT cursor, hash FROM chain WHERE place = 'head' FOR UPDATE"
    };
    let row = on.fetch_one(sql, Vec::new()).await?;
    Ok(ChainEnd { cursor: row.integer("cursor")?, hash: row.digest("hash")? })
}

/// Entries first: when all of them are there already, the whole was written before and its answer was lost. Changes of running
/// consultations are made all the same: they may be tried again in other company, and give the same when repeated.
async fn write_transaction(
    on: &mut Connection,
    pins: &PinKey,
    transaction: &Transaction,
    end: &mut ChainEnd,
) -> Result<Committed, sqlx::Error> {
    if transaction.entries.is_empty() && transaction.changes.is_empty() {
        // A full disk refuses nothing but what it would have to hold.
        on.execute("UPDATE chain SET cursor = cursor WHERE place = 'head'", Vec::new()).await?;
    }
    let repeatable = |change: &Change| matches!(change, Change::Live(_));
    let mut is_new = transaction.entries.is_empty() || transaction.changes.iter().all(repeatable);
    for entry in &transaction.entries {
        is_new |= append(on, entry, end).await?;
    }
    if !is_new {
        return Ok(Committed::Done);
    }
    for change in &transaction.changes {
        if !changes::apply(on, pins, change).await? {
            return Ok(Committed::NotApplicable);
        }
    }
    for entry in transaction.entries.iter().filter(|entry| entry.kind == HELD_KIND) {
        let sql = "UPDATE consultations SET held = 1 WHERE id = $1 AND held = 0";
        on.execute(sql, values![&entry.consultation]).await?;
    }
    Ok(Committed::Done)
}

/// Chains an entry to the one before; false when it is there already.
async fn append(on: &mut Connection, entry: &Entry, end: &mut ChainEnd) -> Result<bool, sqlx::Error> {
    let cursor = end.cursor + 1;
    let hash = audit::chain(&end.hash, cursor, entry);
    let sql = "INSERT INTO journal (cursor, id, at, clinic, consultation, seat, kind, data, hash) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING";
    let values = values![
        cursor,
        &entry.id,
        entry.at,
        &entry.clinic,
        &entry.consultation,
        &entry.seat,
        &entry.kind,
        &entry.data,
        hash.as_slice(),
    ];
    let is_new = on.execute(sql, values).await? == 1;
    if is_new {
        *end = ChainEnd { cursor, hash };
    }
    Ok(is_new)
}

/// The file that was opened. SQLite goes on writing into a file that was removed, and all of it would be lost.
pub(super) struct FileIdentity {
    path: PathBuf,
    inode: (u64, u64),
}

impl FileIdentity {
    pub(super) fn of(path: PathBuf) -> std::io::Result<Self> {
        let inode = std::fs::metadata(&path).map(|file| (file.dev(), file.ino()))?;
        Ok(Self { path, inode })
    }

    pub(super) fn is_lost(&self) -> bool {
        !std::fs::metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.inode)
    }
}

/// The kind of entry by which a consultation counts as held: somebody joined.
const HELD_KIND: &str = "seat.joined";
/// Jobs that may wait; past that callers wait for room. A thousand joins at once fit.
const QUEUE_LEN_MAX: usize = 1024;
/// Jobs in one transaction. More would make the first wait for the last; fewer would cost a sync each.
const BATCH_LEN_MAX: usize = 128;
/// For a transaction. Longer than a busy disk or another process's lock takes; a caller is answered within twice this.
const BATCH_TIME_MAX: Duration = Duration::from_secs(10);
/// For erasing and pruning, which read much.
const UPKEEP_TIME_MAX: Duration = Duration::from_secs(60);
