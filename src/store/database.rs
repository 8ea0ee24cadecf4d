//! The store itself, on either engine: what is asked of it as queries, what is written through the one writer.
//!
//! SQLite: one file in write-ahead-log mode, synced at every commit. PostgreSQL: the same tables on a server. Every call ends
//! in bounded time, whatever the engine does.

use std::collections::HashMap;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::pii::Pii;

use super::engine::{Pool, Row, Value, failed, values};
use super::erasure::{ErasedList, listed};
use super::head_key::HeadKey;
use super::pin_key::PinKey;
use super::writer::{FileIdentity, Job, Outcome, Writer};
use super::{
    ApiKeyRecord, ChainMark, Clinic, Committed, ConsultationRecord, Entry, Erasure, JournalEntry, OutgoingMessage,
    Pruned, SeatRecord, SigningKey, Store, StoreError, StoreFuture, Transaction, Usage, Webhook, WithSeats, rows,
};

/// A [`Store`] in one file or on a PostgreSQL server.
pub struct SqlStore {
    readers: Pool,
    writes: Pool,
    writer: Writer,
    pins: Arc<PinKey>,
    file: Option<FileIdentity>,
    erased: ErasedList,
}

impl SqlStore {
    /// Opens the store and brings its schema up to date: on the server that `url` names, else in a file in `data_dir`, which is
    /// made when there is none. Erases again what a restored backup brought back.
    pub async fn open(data_dir: &Path, url: Option<&Pii<String>>, key: Arc<HeadKey>) -> Result<Self, StoreError> {
        let path = data_dir.join(STORE_FILE_NAME);
        let (writes, readers) = match url {
            None => {
                let writes = Pool::sqlite(&path, 1).await?;
                writes.migrate().await?;
                (writes, Pool::sqlite(&path, FILE_READERS_MAX).await?)
            }
            Some(url) => {
                let writes = Pool::postgres(url, 1).await?;
                writes.migrate().await?;
                (writes, Pool::postgres(url, SERVER_READERS_MAX).await?)
            }
        };
        let watch = || url.is_none().then(|| FileIdentity::of(path.clone())).transpose();
        let lost = |error: std::io::Error| StoreError { operation: "open", cause: error.kind().to_string() };
        let pins = async { PinKey::open(&mut writes.acquire().await?).await }.await;
        let pins = Arc::new(pins.map_err(failed("open"))?);
        let writer = Writer::start(writes.clone(), key, Arc::clone(&pins), watch().map_err(lost)?);
        let store =
            Self { readers, writes, writer, pins, file: watch().map_err(lost)?, erased: ErasedList::of(data_dir) };
        store.erase_again().await?;
        Ok(store)
    }

    /// Waits for running statements and writes the log back into the file.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }

    /// Brings the two lists of erased consultations together, and the store to what they say.
    async fn erase_again(&self) -> Result<(), StoreError> {
        let operation = "compare erased consultations";
        let rows = self.all(operation, "SELECT consultation FROM erased", Vec::new()).await?;
        let inside = listed(&rows).map_err(failed(operation))?;
        let outside = self.erased.read()?;
        self.erased.add(inside.difference(&outside))?;
        let missing: Vec<String> = outside.difference(&inside).filter(|id| !id.is_empty()).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        let entry = Entry {
            id: format!("erased-again-{:032x}", rand::random::<u128>()),
            at: super::changes::unix_now() * 1_000,
            clinic: None,
            consultation: None,
            seat: None,
            kind: ERASED_KIND.to_owned(),
            data: "{}".to_owned(),
        };
        self.writer.submit(operation, Job::EraseAgain(missing, entry)).await?;
        self.scrub().await
    }

    /// Leaves nothing of what was deleted in the files: content was overwritten when it was deleted, and the log, which still
    /// has older pages, is written back and emptied.
    async fn scrub(&self) -> Result<(), StoreError> {
        if !self.writes.is_sqlite() {
            return Ok(());
        }
        let operation = "erase";
        let deadline = tokio::time::Instant::now() + SCRUB_TIME_MAX;
        loop {
            let mut connection = self.writes.acquire().await.map_err(failed(operation))?;
            let done = connection.fetch_one("PRAGMA wal_checkpoint(TRUNCATE)", Vec::new()).await;
            let busy = done.and_then(|row| row.flag("busy")).map_err(failed(operation))?;
            if !busy {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                let cause = "erased, but the log is still being read: erase again".to_owned();
                return Err(StoreError { operation, cause });
            }
        }
    }

    /// All rows of a query, in bounded time.
    async fn all(
        &self,
        operation: &'static str,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(failed(operation))?;
        match tokio::time::timeout(READ_TIME_MAX, connection.fetch_all(sql, values)).await {
            Ok(rows) => rows.map_err(failed(operation)),
            Err(_) => {
                connection.close_on_drop();
                Err(StoreError { operation, cause: "no answer in time".to_owned() })
            }
        }
    }

    /// All rows as records.
    fn list<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        sql: &'static str,
        values: Vec<Value>,
        record: fn(&Row) -> Result<T, sqlx::Error>,
    ) -> StoreFuture<'a, Vec<T>> {
        Box::pin(async move {
            let rows = self.all(operation, sql, values).await?;
            rows.iter().map(record).collect::<Result<_, _>>().map_err(failed(operation))
        })
    }

    /// The first row as a record.
    fn find<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        sql: &'static str,
        values: Vec<Value>,
        record: fn(&Row) -> Result<T, sqlx::Error>,
    ) -> StoreFuture<'a, Option<T>> {
        Box::pin(async move {
            let rows = self.all(operation, sql, values).await?;
            rows.first().map(record).transpose().map_err(failed(operation))
        })
    }

    /// The seats as an older version left them.
    #[cfg(test)]
    pub(super) async fn forget_pin_hashes(&self) {
        let mut connection = self.writes.acquire().await.unwrap();
        connection.execute("UPDATE seats SET pin_hash = NULL", Vec::new()).await.unwrap();
    }

    async fn back_up_file(&self, to: &Path) -> Result<(), StoreError> {
        let operation = "back up";
        if !self.writes.is_sqlite() {
            let cause = "PostgreSQL has its own tools: pg_dump, pg_basebackup".to_owned();
            return Err(StoreError { operation, cause });
        }
        let lost = |error: std::io::Error| StoreError { operation, cause: error.kind().to_string() };
        let name = to.to_str().ok_or(StoreError { operation, cause: "the path is no text".to_owned() })?.to_owned();
        // Health data, for this user only: SQLite writes into an empty file as it is.
        let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
        let file = made.map_err(lost)?;
        let mut connection = self.readers.acquire().await.map_err(failed(operation))?;
        let copied = connection.execute("VACUUM INTO $1", values![name]).await.map_err(failed(operation));
        let synced = copied.and_then(|_| file.sync_all().map_err(lost));
        if synced.is_err() {
            std::fs::remove_file(to).ok();
        }
        synced
    }
}

impl Store for SqlStore {
    fn commit(&self, transaction: Transaction) -> StoreFuture<'_, Committed> {
        let submitted = self.writer.submit("commit", Job::Commit(transaction));
        Box::pin(async move {
            match submitted.await? {
                Outcome::Committed(committed) => Ok(committed),
                other => unreachable!("a transaction came to {other:?}"),
            }
        })
    }

    fn clinic(&self, id: &str) -> StoreFuture<'_, Option<Clinic>> {
        self.find("find clinic", "SELECT * FROM clinics WHERE id = $1", values![id], rows::clinic)
    }

    fn clinics(&self) -> StoreFuture<'_, Vec<Clinic>> {
        let sql = "SELECT * FROM clinics ORDER BY created_at, id";
        self.list("list clinics", sql, Vec::new(), rows::clinic)
    }

    fn api_key(&self, prefix: &str) -> StoreFuture<'_, Option<ApiKeyRecord>> {
        self.find("find API key", "SELECT * FROM api_keys WHERE prefix = $1", values![prefix], rows::api_key)
    }

    fn api_keys(&self, clinic: &str) -> StoreFuture<'_, Vec<ApiKeyRecord>> {
        let sql = "SELECT * FROM api_keys WHERE clinic = $1 ORDER BY created_at, prefix";
        self.list("list API keys", sql, values![clinic], rows::api_key)
    }

    fn consultation(&self, id: &str) -> StoreFuture<'_, Option<WithSeats>> {
        let id = id.to_owned();
        Box::pin(async move {
            let sql = "SELECT * FROM consultations WHERE id = $1";
            let found = self.find("find consultation", sql, values![&id], rows::consultation).await?;
            let Some(consultation) = found else { return Ok(None) };
            let sql = "SELECT * FROM seats WHERE consultation = $1 ORDER BY ordinal";
            Ok(Some((consultation, self.list("find seats", sql, values![&id], rows::seat).await?)))
        })
    }

    fn seats_of_pin(&self, pin: &Pii<String>) -> StoreFuture<'_, Vec<(ConsultationRecord, SeatRecord)>> {
        let hash = self.pins.hash(&pin.0);
        Box::pin(async move {
            let sql = "SELECT seats.* FROM seats JOIN consultations ON consultations.id = seats.consultation \
                       WHERE pin_hash = $1 AND ended_at IS NULL ORDER BY seats.id LIMIT 20";
            let mut found = Vec::new();
            for seat in self.list("find PIN", sql, values![hash.as_slice()], rows::seat).await? {
                let sql = "SELECT * FROM consultations WHERE id = $1";
                let of = values![&seat.consultation];
                let consultation = self.find("find consultation", sql, of, rows::consultation).await?;
                found.extend(consultation.map(|consultation| (consultation, seat)));
            }
            Ok(found)
        })
    }

    fn seat(&self, id: &str) -> StoreFuture<'_, Option<(ConsultationRecord, SeatRecord)>> {
        let id = id.to_owned();
        Box::pin(async move {
            let sql = "SELECT * FROM seats WHERE id = $1";
            let Some(seat) = self.find("find seat", sql, values![&id], rows::seat).await? else { return Ok(None) };
            let sql = "SELECT * FROM consultations WHERE id = $1";
            let of = values![&seat.consultation];
            let consultation = self.find("find consultation", sql, of, rows::consultation).await?;
            // Erased between the two queries: then the seat is gone too.
            Ok(consultation.map(|consultation| (consultation, seat)))
        })
    }

    fn queue(&self, clinic: &str, queue: &str) -> StoreFuture<'_, Vec<WithSeats>> {
        let of = (clinic.to_owned(), queue.to_owned());
        Box::pin(async move {
            let sql = "SELECT * FROM consultations WHERE clinic = $1 AND queue = $2 AND ended_at IS NULL \
                       ORDER BY COALESCE(starts_at, created_at), booking LIMIT 200";
            let found = self.list("find queue", sql, values![&of.0, &of.1], rows::consultation).await?;
            let sql = "SELECT seats.* FROM seats JOIN consultations ON consultations.id = seats.consultation \
                       WHERE clinic = $1 AND queue = $2 AND ended_at IS NULL ORDER BY ordinal";
            let mut seats = HashMap::<String, Vec<SeatRecord>>::new();
            for seat in self.list("find seats", sql, values![&of.0, &of.1], rows::seat).await? {
                seats.entry(seat.consultation.clone()).or_default().push(seat);
            }
            let with_seats = |consultation: ConsultationRecord| {
                let seats = seats.remove(&consultation.id).unwrap_or_default();
                (consultation, seats)
            };
            Ok(found.into_iter().map(with_seats).collect())
        })
    }

    fn acts_of_patient(&self, clinic: &str, patient: &Pii<String>, from: i64, to: i64) -> StoreFuture<'_, u32> {
        let sql = "SELECT (SELECT COUNT(*) FROM consultations WHERE clinic = $1 AND patient = $2 \
                   AND COALESCE(starts_at, created_at) >= $3 AND COALESCE(starts_at, created_at) < $4 \
                   AND (held = 1 OR ended_at IS NULL)) \
                   + (SELECT COUNT(*) FROM past_acts WHERE clinic = $1 AND patient = $2 \
                   AND happened_at >= $3 AND happened_at < $4) AS acts";
        let found = self.find("count acts", sql, values![clinic, patient, from, to], |row| row.count("acts"));
        Box::pin(async move { Ok(found.await?.unwrap_or(0)) })
    }

    fn usage(&self, clinic: &str, from: i64, to: i64) -> StoreFuture<'_, Vec<Usage>> {
        let sql = "SELECT postal_prefix, act, COUNT(*) AS consultations FROM ( \
                   SELECT postal_prefix, act FROM consultations WHERE clinic = $1 AND created_at >= $2 \
                   AND created_at < $3 AND held = 1 AND postal_prefix IS NOT NULL \
                   UNION ALL SELECT postal_prefix, act FROM past_acts WHERE clinic = $1 AND created_at >= $2 \
                   AND created_at < $3 AND postal_prefix IS NOT NULL) AS held \
                   GROUP BY postal_prefix, act ORDER BY postal_prefix, act";
        self.list("count usage", sql, values![clinic, from, to], |row| {
            Ok(Usage {
                postal_prefix: row.text("postal_prefix")?,
                act: row.text("act")?,
                consultations: row.count("consultations")?,
            })
        })
    }

    fn signing_keys(&self) -> StoreFuture<'_, Vec<SigningKey>> {
        let sql = "SELECT * FROM signing_keys ORDER BY kid DESC LIMIT 2";
        self.list("find signing keys", sql, Vec::new(), rows::signing_key)
    }

    fn webhooks(&self, clinic: Option<&str>) -> StoreFuture<'_, Vec<Webhook>> {
        let all = "SELECT * FROM webhooks ORDER BY created_at, id";
        let of_clinic = "SELECT * FROM webhooks WHERE clinic = $1 ORDER BY created_at, id";
        let (sql, of) = clinic.map_or((all, Vec::new()), |clinic| (of_clinic, values![clinic]));
        self.list("find webhooks", sql, of, rows::webhook)
    }

    fn due_messages(&self, now: i64, len_max: u32) -> StoreFuture<'_, Vec<OutgoingMessage>> {
        let sql = "SELECT * FROM outbox WHERE retry_at <= $1 ORDER BY ordinal LIMIT $2";
        self.list("find messages", sql, values![now, len_max], rows::message)
    }

    fn entries_after(&self, clinic: Option<&str>, cursor: i64, len_max: u32) -> StoreFuture<'_, Vec<JournalEntry>> {
        let all = "SELECT * FROM journal WHERE cursor > $1 ORDER BY cursor LIMIT $2";
        let of_clinic = "SELECT * FROM journal WHERE clinic = $3 AND cursor > $1 ORDER BY cursor LIMIT $2";
        let (sql, of) = match clinic {
            None => (all, values![cursor, len_max]),
            Some(clinic) => (of_clinic, values![cursor, len_max, clinic]),
        };
        self.list("read journal", sql, of, rows::journal_entry)
    }

    fn entries_of(&self, consultation: &str) -> StoreFuture<'_, Vec<JournalEntry>> {
        let sql = "SELECT * FROM journal WHERE consultation = $1 ORDER BY cursor";
        self.list("read journal", sql, values![consultation], rows::journal_entry)
    }

    fn phone_minutes_since(&self, at: i64) -> StoreFuture<'_, Vec<Entry>> {
        // The kinds stand in the text, as in the index: with values in their place it would not be used.
        let sql =
            "SELECT * FROM journal WHERE kind IN ('phone.charged', 'phone.minutes_used') AND at >= $1 ORDER BY cursor";
        self.list("read minutes", sql, values![at], |row| rows::journal_entry(row).map(|read| read.entry))
    }

    fn chain_marks(&self) -> StoreFuture<'_, (Option<ChainMark>, Option<ChainMark>)> {
        // 'begin' comes before 'head'.
        let marks = self.list("read chain", "SELECT * FROM chain ORDER BY place", Vec::new(), rows::chain_mark);
        Box::pin(async move {
            let mut marks = marks.await?.into_iter();
            Ok((marks.next().flatten(), marks.next().flatten()))
        })
    }

    fn erase(&self, erasure: Erasure, entry: Entry) -> StoreFuture<'_, u32> {
        let submitted = self.writer.submit("erase", Job::Erase(erasure, entry));
        Box::pin(async move {
            let Outcome::Erased(ids) = submitted.await? else { unreachable!("an erasure came to something else") };
            self.erased.add(&ids)?;
            // Also when nothing was found: an erasure before may have been left unfinished.
            self.scrub().await?;
            Ok(u32::try_from(ids.len()).unwrap_or(u32::MAX))
        })
    }

    fn prune(&self, before: i64, entry: Entry) -> StoreFuture<'_, Pruned> {
        let submitted = self.writer.submit("prune", Job::Prune(before, entry));
        Box::pin(async move {
            match submitted.await? {
                Outcome::Pruned(pruned) => Ok(pruned),
                other => unreachable!("a pruning came to {other:?}"),
            }
        })
    }

    fn back_up(&self, to: &Path) -> StoreFuture<'_, ()> {
        let to = to.to_owned();
        Box::pin(async move { self.back_up_file(&to).await })
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            if self.file.as_ref().is_some_and(FileIdentity::is_lost) {
                let cause = "the file was removed or replaced".to_owned();
                return Err(StoreError { operation: "ping", cause });
            }
            self.all("ping", "SELECT cursor FROM chain WHERE place = 'head'", Vec::new()).await.map(drop)
        })
    }
}

/// File name inside the data directory.
pub const STORE_FILE_NAME: &str = "colloque.sqlite";
/// Readers beside the one writer. More would only wait for the same disk.
const FILE_READERS_MAX: u32 = 4;
/// Readers of a PostgreSQL server, which has processes of its own; several servers of ours share its hundred connections.
const SERVER_READERS_MAX: u32 = 8;
/// For one query; the longest page of the journal takes milliseconds.
const READ_TIME_MAX: Duration = Duration::from_secs(10);
/// How long an erasure waits for readers to leave the log.
const SCRUB_TIME_MAX: Duration = Duration::from_secs(30);
/// The kind of entry that tells of an erasure.
const ERASED_KIND: &str = "data.erased";
