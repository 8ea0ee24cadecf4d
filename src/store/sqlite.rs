//! The embedded store: one SQLite file in write-ahead-log mode, synced at every commit.
//!
//! Queries are checked when they run, not against a database at build time; migrations are embedded and only go
//! forward. One writer at a time is SQLite's own rule: `writer` has the one connection that writes.

use std::path::Path;
use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};

use crate::pii::Pii;

use super::writer::Writer;
use super::{
    Admission, ApiKeyRecord, Clinic, ConsultationRecord, SeatRecord, SigningKey, Store, StoreError, StoreFuture,
};

/// A [`Store`] in one file.
pub struct SqliteStore {
    readers: SqlitePool,
    writer: Writer,
}

/// File name inside the data directory.
const FILE_NAME: &str = "colloque.sqlite";
/// Readers beside the one writer. More would only wait for the same disk.
const READERS_MAX: u32 = 4;
/// How long a statement waits for another process's write lock (`clinic add` beside a running server).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

impl SqliteStore {
    /// Opens (or makes) the store in `data_dir` and brings its schema up to date.
    pub async fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(data_dir.join(FILE_NAME))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let one = SqlitePoolOptions::new().max_connections(1);
        let writer = one.connect_with(options.clone()).await.map_err(failed("open"))?;
        sqlx::migrate!("src/store/migrations")
            .run(&writer)
            .await
            .map_err(|error| StoreError { operation: "migrate", cause: error.to_string() })?;
        let readers = SqlitePoolOptions::new().max_connections(READERS_MAX);
        let readers = readers.connect_with(options).await.map_err(failed("open"))?;
        Ok(Self { readers, writer: Writer::start(writer) })
    }

    /// Waits for running statements and writes the log back into the file.
    pub async fn close(&self) {
        self.writer.close().await;
        self.readers.close().await;
    }
}

impl Store for SqliteStore {
    fn add_clinic(&self, clinic: Clinic, key: ApiKeyRecord, now: i64) -> StoreFuture<'_, ()> {
        self.writer.write("add clinic", move |connection| {
            Box::pin(async move {
                sqlx::query("INSERT INTO clinics (id, name, created_at) VALUES (?, ?, ?)")
                    .bind(&clinic.id)
                    .bind(&clinic.name.0)
                    .bind(now)
                    .execute(&mut *connection)
                    .await?;
                sqlx::query("INSERT INTO api_keys (prefix, hash, clinic, created_at) VALUES (?, ?, ?, ?)")
                    .bind(&key.prefix)
                    .bind(key.hash.0.as_slice())
                    .bind(&key.clinic)
                    .bind(now)
                    .execute(connection)
                    .await
                    .map(|_| ())
            })
        })
    }

    fn api_key(&self, prefix: &str) -> StoreFuture<'_, Option<ApiKeyRecord>> {
        let prefix = prefix.to_owned();
        Box::pin(async move {
            let row = sqlx::query("SELECT prefix, hash, clinic FROM api_keys WHERE prefix = ?")
                .bind(&prefix)
                .fetch_optional(&self.readers)
                .await
                .map_err(failed("find API key"))?;
            row.map(|row| {
                Ok(ApiKeyRecord {
                    prefix: row.try_get("prefix")?,
                    hash: Pii(digest(row.try_get("hash")?)?),
                    clinic: row.try_get("clinic")?,
                })
            })
            .transpose()
            .map_err(failed("read API key"))
        })
    }

    fn create_consultation(&self, consultation: ConsultationRecord, seats: Vec<SeatRecord>) -> StoreFuture<'_, ()> {
        self.writer.write("create consultation", move |connection| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO consultations (id, clinic, act, language, priority, starts_at, created_at) \
                     VALUES (?, ?, ?, ?, ?, ?, ?)",
                )
                .bind(&consultation.id)
                .bind(&consultation.clinic)
                .bind(&consultation.act)
                .bind(&consultation.language)
                .bind(&consultation.priority)
                .bind(consultation.starts_at)
                .bind(consultation.created_at)
                .execute(&mut *connection)
                .await?;
                for seat in &seats {
                    insert_seat(connection, seat).await?;
                }
                Ok(())
            })
        })
    }

    fn consultation(&self, id: &str) -> StoreFuture<'_, Option<(ConsultationRecord, Vec<SeatRecord>)>> {
        let id = id.to_owned();
        Box::pin(async move {
            let found = sqlx::query("SELECT * FROM consultations WHERE id = ?")
                .bind(&id)
                .fetch_optional(&self.readers)
                .await
                .map_err(failed("find consultation"))?;
            let Some(row) = found else { return Ok(None) };
            let consultation = read_consultation(&row).map_err(failed("read consultation"))?;
            let seats = sqlx::query("SELECT * FROM seats WHERE consultation = ? ORDER BY ordinal")
                .bind(&id)
                .fetch_all(&self.readers)
                .await
                .map_err(failed("find seats"))?
                .iter()
                .map(read_seat)
                .collect::<Result<Vec<_>, _>>()
                .map_err(failed("read seats"))?;
            Ok(Some((consultation, seats)))
        })
    }

    fn end_consultation(&self, id: &str, now: i64) -> StoreFuture<'_, bool> {
        let id = id.to_owned();
        self.writer.write("end consultation", move |connection| {
            Box::pin(async move {
                sqlx::query("UPDATE consultations SET ended_at = ? WHERE id = ? AND ended_at IS NULL")
                    .bind(now)
                    .bind(&id)
                    .execute(connection)
                    .await
                    .map(|done| done.rows_affected() == 1)
            })
        })
    }

    fn add_seat(&self, seat: SeatRecord) -> StoreFuture<'_, bool> {
        self.writer.write("add seat", move |connection| {
            Box::pin(async move {
                let open = sqlx::query("SELECT 1 FROM consultations WHERE id = ? AND ended_at IS NULL")
                    .bind(&seat.consultation)
                    .fetch_optional(&mut *connection)
                    .await?;
                if open.is_none() {
                    return Ok(false);
                }
                insert_seat(connection, &seat).await?;
                Ok(true)
            })
        })
    }

    fn seat(&self, id: &str) -> StoreFuture<'_, Option<(ConsultationRecord, SeatRecord)>> {
        let id = id.to_owned();
        Box::pin(async move {
            let found = sqlx::query("SELECT * FROM seats WHERE id = ?")
                .bind(&id)
                .fetch_optional(&self.readers)
                .await
                .map_err(failed("find seat"))?;
            let Some(row) = found else { return Ok(None) };
            let seat = read_seat(&row).map_err(failed("read seat"))?;
            let row = sqlx::query("SELECT * FROM consultations WHERE id = ?")
                .bind(&seat.consultation)
                .fetch_one(&self.readers)
                .await
                .map_err(failed("find consultation"))?;
            Ok(Some((read_consultation(&row).map_err(failed("read consultation"))?, seat)))
        })
    }

    fn set_admission(&self, seat: &str, admission: Admission) -> StoreFuture<'_, ()> {
        let seat = seat.to_owned();
        self.writer.write("set admission", move |connection| {
            Box::pin(async move {
                sqlx::query("UPDATE seats SET admission = ? WHERE id = ?")
                    .bind(admission_name(admission))
                    .bind(&seat)
                    .execute(connection)
                    .await
                    .map(|_| ())
            })
        })
    }

    fn raise_token_epoch(&self, seat: &str) -> StoreFuture<'_, u32> {
        let seat = seat.to_owned();
        self.writer.write("raise token epoch", move |connection| {
            Box::pin(async move {
                sqlx::query("UPDATE seats SET token_epoch = token_epoch + 1 WHERE id = ? RETURNING token_epoch")
                    .bind(&seat)
                    .fetch_one(connection)
                    .await
                    .and_then(|row| row.try_get::<u32, _>("token_epoch"))
            })
        })
    }

    fn set_device(&self, seat: &str, device: [u8; 32]) -> StoreFuture<'_, ()> {
        let seat = seat.to_owned();
        self.writer.write("set device", move |connection| {
            Box::pin(async move {
                sqlx::query("UPDATE seats SET device = ? WHERE id = ?")
                    .bind(device.as_slice())
                    .bind(&seat)
                    .execute(connection)
                    .await
                    .map(|_| ())
            })
        })
    }

    fn signing_keys(&self, fresh: [u8; 32], now: i64) -> StoreFuture<'_, Vec<SigningKey>> {
        Box::pin(async move {
            let make = self.writer.write("make signing key", move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO signing_keys (secret, created_at) \
                         SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM signing_keys)",
                    )
                    .bind(fresh.as_slice())
                    .bind(now)
                    .execute(connection)
                    .await
                    .map(|_| ())
                })
            });
            make.await?;
            sqlx::query("SELECT kid, secret FROM signing_keys ORDER BY kid DESC")
                .fetch_all(&self.readers)
                .await
                .map_err(failed("find signing keys"))?
                .iter()
                .map(|row| Ok(SigningKey { kid: row.try_get("kid")?, secret: Pii(row.try_get("secret")?) }))
                .collect::<Result<_, sqlx::Error>>()
                .map_err(failed("read signing keys"))
        })
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(
            async move { sqlx::query("SELECT 1").execute(&self.readers).await.map(|_| ()).map_err(failed("ping")) },
        )
    }
}

async fn insert_seat(connection: &mut SqliteConnection, seat: &SeatRecord) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO seats (id, consultation, ordinal, role, display_name, phone, email, pin, admission, token_epoch) \
         VALUES (?1, ?2, (SELECT COUNT(*) FROM seats WHERE consultation = ?2), ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )
    .bind(&seat.id)
    .bind(&seat.consultation)
    .bind(&seat.role)
    .bind(seat.display_name.as_ref().map(|name| &name.0))
    .bind(seat.phone.as_ref().map(|phone| &phone.0))
    .bind(seat.email.as_ref().map(|email| &email.0))
    .bind(&seat.pin.0)
    .bind(admission_name(seat.admission))
    .bind(seat.token_epoch)
    .execute(connection)
    .await
    .map(|_| ())
}

fn read_consultation(row: &SqliteRow) -> Result<ConsultationRecord, sqlx::Error> {
    Ok(ConsultationRecord {
        id: row.try_get("id")?,
        clinic: row.try_get("clinic")?,
        act: row.try_get("act")?,
        language: row.try_get("language")?,
        priority: row.try_get("priority")?,
        starts_at: row.try_get("starts_at")?,
        created_at: row.try_get("created_at")?,
        ended_at: row.try_get("ended_at")?,
    })
}

fn read_seat(row: &SqliteRow) -> Result<SeatRecord, sqlx::Error> {
    Ok(SeatRecord {
        id: row.try_get("id")?,
        consultation: row.try_get("consultation")?,
        role: row.try_get("role")?,
        display_name: row.try_get::<Option<String>, _>("display_name")?.map(Pii),
        phone: row.try_get::<Option<String>, _>("phone")?.map(Pii),
        email: row.try_get::<Option<String>, _>("email")?.map(Pii),
        pin: Pii(row.try_get("pin")?),
        admission: admission(&row.try_get::<String, _>("admission")?)?,
        token_epoch: row.try_get("token_epoch")?,
        device: row.try_get::<Option<Vec<u8>>, _>("device")?.map(digest).transpose()?,
    })
}

fn admission_name(admission: Admission) -> &'static str {
    match admission {
        Admission::Waiting => "waiting",
        Admission::Admitted => "admitted",
        Admission::Direct => "direct",
        Admission::Refused => "refused",
    }
}

fn admission(name: &str) -> Result<Admission, sqlx::Error> {
    match name {
        "waiting" => Ok(Admission::Waiting),
        "admitted" => Ok(Admission::Admitted),
        "direct" => Ok(Admission::Direct),
        "refused" => Ok(Admission::Refused),
        _ => Err(sqlx::Error::Decode("admission state of a newer version".into())),
    }
}

fn digest(bytes: Vec<u8>) -> Result<[u8; 32], sqlx::Error> {
    bytes.try_into().map_err(|_| sqlx::Error::Decode("digest of another length".into()))
}

fn failed(operation: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| store_error(operation, &error)
}

/// Engine errors may quote bound values in some cases; only their kind is kept.
pub(super) fn store_error(operation: &'static str, error: &sqlx::Error) -> StoreError {
    let cause = match error {
        sqlx::Error::Database(database) => match database.code() {
            Some(code) => format!("database error {code}"),
            None => "database error".to_owned(),
        },
        sqlx::Error::Io(io) => format!("{}", io.kind()),
        sqlx::Error::PoolTimedOut => "no free connection".to_owned(),
        sqlx::Error::PoolClosed => "closed".to_owned(),
        sqlx::Error::RowNotFound => "no such row".to_owned(),
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => "unreadable row".to_owned(),
        _ => "failed".to_owned(),
    };
    StoreError { operation, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct TempDir(std::path::PathBuf);

    impl TempDir {
        fn new() -> Self {
            let path =
                std::env::temp_dir().join(format!("colloque-store-{}-{:x}", std::process::id(), rand::random::<u64>()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn seat(id: &str) -> SeatRecord {
        SeatRecord {
            id: id.into(),
            consultation: "c1".into(),
            role: "patient".into(),
            display_name: Some(Pii("Zoé Test".into())),
            phone: None,
            email: None,
            pin: Pii("123456".into()),
            admission: Admission::Waiting,
            token_epoch: 0,
            device: None,
        }
    }

    async fn with_consultation(dir: &TempDir) -> SqliteStore {
        let store = SqliteStore::open(&dir.0).await.unwrap();
        let key = ApiKeyRecord { prefix: "ck_1".into(), hash: Pii([7; 32]), clinic: "k1".into() };
        store.add_clinic(Clinic { id: "k1".into(), name: Pii("Clinic".into()) }, key, 1).await.unwrap();
        let consultation = ConsultationRecord {
            id: "c1".into(),
            clinic: "k1".into(),
            act: "teleconsultation".into(),
            language: "fr".into(),
            priority: None,
            starts_at: Some(5),
            created_at: 2,
            ended_at: None,
        };
        store.create_consultation(consultation, vec![seat("s1"), seat("s2")]).await.unwrap();
        store
    }

    #[tokio::test]
    async fn a_reopened_store_still_knows_everything() {
        let dir = TempDir::new();
        let store = with_consultation(&dir).await;
        store.set_admission("s2", Admission::Admitted).await.unwrap();
        store.set_device("s1", [9; 32]).await.unwrap();
        store.close().await;

        let store = SqliteStore::open(&dir.0).await.unwrap();
        let (consultation, seats) = store.consultation("c1").await.unwrap().unwrap();
        assert_eq!((consultation.act.as_str(), consultation.starts_at), ("teleconsultation", Some(5)));
        assert_eq!(seats.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["s1", "s2"]);
        assert_eq!(seats[0].display_name, Some(Pii("Zoé Test".into())));
        assert_eq!(seats[0].device, Some([9; 32]));
        assert_eq!(seats[1].admission, Admission::Admitted);
        assert_eq!(store.api_key("ck_1").await.unwrap().unwrap().hash, Pii([7; 32]));
        assert!(store.api_key("ck_2").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_consultation_ends_once_and_takes_no_seat_afterwards() {
        let dir = TempDir::new();
        let store = with_consultation(&dir).await;
        assert!(store.add_seat(seat("s3")).await.unwrap());
        assert!(store.end_consultation("c1", 9).await.unwrap());
        assert!(!store.end_consultation("c1", 10).await.unwrap());
        assert!(!store.add_seat(seat("s4")).await.unwrap());
        let (consultation, seats) = store.consultation("c1").await.unwrap().unwrap();
        assert_eq!((consultation.ended_at, seats.len()), (Some(9), 3));
    }

    #[tokio::test]
    async fn a_failed_consultation_leaves_nothing_behind() {
        let dir = TempDir::new();
        let store = with_consultation(&dir).await;
        let mut second = store.consultation("c1").await.unwrap().unwrap().0;
        second.id = "c2".into();
        assert!(store.create_consultation(second, vec![seat("s9"), seat("s1")]).await.is_err());
        assert!(store.consultation("c2").await.unwrap().is_none());
        assert!(store.seat("s9").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn token_epochs_only_rise_and_the_signing_key_is_made_once() {
        let dir = TempDir::new();
        let store = with_consultation(&dir).await;
        assert_eq!(store.raise_token_epoch("s1").await.unwrap(), 1);
        assert_eq!(store.raise_token_epoch("s1").await.unwrap(), 2);
        assert_eq!(store.seat("s1").await.unwrap().unwrap().1.token_epoch, 2);
        let first = store.signing_keys([1; 32], 1).await.unwrap();
        let second = store.signing_keys([2; 32], 1).await.unwrap();
        assert_eq!((first.len(), second.len()), (1, 1));
        assert_eq!(second[0].secret, Pii(vec![1; 32]));
    }

    /// Adding a seat read before it wrote: when another write was committed in between, SQLite refused it at once.
    #[tokio::test(flavor = "multi_thread")]
    async fn writes_at_the_same_time_all_succeed() {
        let dir = TempDir::new();
        let store = std::sync::Arc::new(with_consultation(&dir).await);
        let mut writes = tokio::task::JoinSet::new();
        for number in 0..200u8 {
            let store = std::sync::Arc::clone(&store);
            writes.spawn(async move {
                match number % 4 {
                    0 => store.add_seat(seat(&format!("n{number}"))).await.map(|added| assert!(added)),
                    1 => store.set_device("s1", [number; 32]).await,
                    2 => store.raise_token_epoch("s2").await.map(|_| ()),
                    _ => store.set_admission("s1", Admission::Admitted).await,
                }
            });
        }
        for outcome in writes.join_all().await {
            outcome.unwrap();
        }
        store.close().await;
        let store = SqliteStore::open(&dir.0).await.unwrap();
        let (_, seats) = store.consultation("c1").await.unwrap().unwrap();
        assert_eq!((seats.len(), seats[1].token_epoch), (52, 50));
    }

    #[tokio::test]
    async fn a_write_that_fails_undoes_itself_and_none_of_its_neighbours() {
        let dir = TempDir::new();
        let store = with_consultation(&dir).await;
        let mut second = store.consultation("c1").await.unwrap().unwrap().0;
        second.id = "c2".into();
        // All three wait before the writer looks: one transaction.
        let (before, between, after) = tokio::join!(
            store.set_device("s1", [1; 32]),
            store.create_consultation(second, vec![seat("s9"), seat("s1")]),
            store.add_seat(seat("s3")),
        );
        before.unwrap();
        assert_eq!(between.unwrap_err().operation, "create consultation");
        assert!(after.unwrap());
        assert!(store.consultation("c2").await.unwrap().is_none() && store.seat("s9").await.unwrap().is_none());
        assert_eq!(store.seat("s1").await.unwrap().unwrap().1.device, Some([1; 32]));
        assert!(store.seat("s3").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_write_goes_on_when_its_caller_gives_up() {
        let dir = TempDir::new();
        let store = with_consultation(&dir).await;
        tokio::select! {
            biased;
            _ = store.set_device("s1", [3; 32]) => panic!("no disk is that fast"),
            () = std::future::ready(()) => {}
        }
        // Whatever comes later is written later.
        store.set_admission("s2", Admission::Admitted).await.unwrap();
        assert_eq!(store.seat("s1").await.unwrap().unwrap().1.device, Some([3; 32]));
    }

    #[tokio::test]
    async fn a_closed_store_refuses_instead_of_waiting() {
        let dir = TempDir::new();
        let store = with_consultation(&dir).await;
        store.close().await;
        assert_eq!(store.set_device("s1", [3; 32]).await.unwrap_err().cause, "closed");
        assert!(store.ping().await.is_err());
    }

    #[tokio::test]
    async fn errors_do_not_quote_what_was_stored() {
        let dir = TempDir::new();
        let store = with_consultation(&dir).await;
        let error = store.add_seat(seat("s1")).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("Zoé"));
    }
}
