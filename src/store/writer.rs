//! Group commit: SQLite has one writer and syncs the disk at every commit, so writes that come while it syncs share
//! the next transaction and its one sync.
//!
//! ```text
//!   calls --Write--> queue --as many as wait--> BEGIN IMMEDIATE, a savepoint each, COMMIT --> every caller its outcome
//! ```
//!
//! A write that fails undoes itself alone. Nobody is answered before the commit. Taking the write lock at the begin
//! leaves no transaction that read first and then finds the file changed, which SQLite refuses without waiting.

use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{Acquire, Connection};
use tokio::sync::{mpsc, oneshot};

use futures_util::future::BoxFuture;

use super::sqlite::store_error;
use super::{StoreError, StoreFuture};

/// The one writer of a file.
pub(super) struct Writer {
    pool: SqlitePool,
    queue: mpsc::Sender<Box<dyn Write>>,
}

impl Writer {
    /// Takes over a pool of one connection. Ends when it is dropped.
    pub(super) fn start(pool: SqlitePool) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_LEN_MAX);
        tokio::spawn(write_all(pool.clone(), waiting));
        Self { pool, queue }
    }

    /// Runs `act` in the next transaction; resolves when that is on the disk. It goes on when the caller gives up waiting.
    pub(super) fn write<T, F>(&self, operation: &'static str, act: F) -> StoreFuture<'_, T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let write = Box::new(Waiting { operation, state: State::Due(act), reply });
        Box::pin(async move {
            let gone = || StoreError { operation, cause: "closed".to_owned() };
            self.queue.send(write).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        })
    }

    /// Waits for the running transaction.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A write of any result.
trait Write: Send {
    /// False when its savepoint must be rolled back.
    fn run<'c>(&'c mut self, connection: &'c mut SqliteConnection) -> BoxFuture<'c, bool>;
    /// Answers the caller, with the transaction's fate.
    fn answer(self: Box<Self>, committed: Result<(), &sqlx::Error>);
}

struct Waiting<T, F> {
    operation: &'static str,
    state: State<T, F>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

enum State<T, F> {
    Due(F),
    Done(Result<T, sqlx::Error>),
    /// Its transaction failed while it ran.
    Undone,
}

impl<T, F> Write for Waiting<T, F>
where
    T: Send,
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, sqlx::Error>> + Send,
{
    fn run<'c>(&'c mut self, connection: &'c mut SqliteConnection) -> BoxFuture<'c, bool> {
        Box::pin(async move {
            let State::Due(act) = std::mem::replace(&mut self.state, State::Undone) else { return false };
            let outcome = act(connection).await;
            let keep = outcome.is_ok();
            self.state = State::Done(outcome);
            keep
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), &sqlx::Error>) {
        let outcome = match (self.state, committed) {
            (State::Done(Err(error)), _) => Err(store_error(self.operation, &error)),
            (_, Err(error)) => Err(store_error(self.operation, error)),
            (State::Done(Ok(value)), Ok(())) => Ok(value),
            (State::Due(_) | State::Undone, Ok(())) => Err(store_error(self.operation, &sqlx::Error::WorkerCrashed)),
        };
        // Whoever asked may have given up.
        self.reply.send(outcome).ok();
    }
}

async fn write_all(pool: SqlitePool, mut waiting: mpsc::Receiver<Box<dyn Write>>) {
    let mut batch = Vec::with_capacity(BATCH_LEN_MAX);
    while waiting.recv_many(&mut batch, BATCH_LEN_MAX).await > 0 {
        let committed = commit(&pool, &mut batch).await;
        for write in batch.drain(..) {
            write.answer(committed.as_ref().map(|&()| ()));
        }
    }
}

async fn commit(pool: &SqlitePool, batch: &mut [Box<dyn Write>]) -> Result<(), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for write in batch {
        let mut savepoint = transaction.begin().await?;
        if write.run(&mut savepoint).await {
            savepoint.commit().await?;
        } else {
            savepoint.rollback().await?;
        }
    }
    transaction.commit().await
}

/// Writes that may wait; past that callers wait for room. A thousand joins at once fit.
const QUEUE_LEN_MAX: usize = 1024;
/// Writes in one transaction. More would make the first wait for the last; fewer would cost a sync each.
const BATCH_LEN_MAX: usize = 128;
