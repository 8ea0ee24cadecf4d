//! SQLite and PostgreSQL under one small surface, so that each query is written once.
//!
//! Values are whole numbers (64 bits; truth is 0 and 1), texts and bytes; placeholders are `$1`. Queries are checked when they
//! run, not against a database at build time. Not here: what the queries say.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow, Postgres};
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Decode, Row as _, Type};

use crate::pii::Pii;

use super::StoreError;

/// Connections of one engine.
#[derive(Clone)]
pub(super) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// One of them, borrowed.
pub(super) enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// What is bound to a placeholder.
pub(super) enum Value {
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// What a query gave.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// Values for `$1`, `$2` and so on.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::engine::Value::from($value)),*] };
}
pub(super) use values;

/// Binds all values; the database's type follows from the executor.
macro_rules! bound {
    ($sql:expr, $values:expr) => {{
        let mut query = sqlx::query($sql);
        for value in $values {
            query = match value {
                Value::Integer(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
                Value::Bytes(bytes) => query.bind(bytes),
            };
        }
        query
    }};
}

impl Pool {
    /// Connections to a file, made when there is none. Everything is synced at commit; deleted content is overwritten.
    pub(super) async fn sqlite(file: &Path, connections_max: u32) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("secure_delete", "ON")
            // Temporary files would hold copies of rows outside the data directory.
            .pragma("temp_store", "MEMORY");
        let pool = SqlitePoolOptions::new().max_connections(connections_max).acquire_timeout(ACQUIRE_TIMEOUT);
        Ok(Pool::Sqlite(pool.connect_with(options).await.map_err(failed("open"))?))
    }

    /// One connection to a file that is there, for reading alone.
    pub(super) async fn sqlite_to_read(file: &Path) -> Result<Self, StoreError> {
        let mut log = file.as_os_str().to_owned();
        log.push("-wal");
        // Without a log nobody has the file open: then it is read as it lies, and nothing is made beside it.
        let is_idle = std::fs::metadata(&log).map_or(true, |log| log.len() == 0);
        let options = SqliteConnectOptions::new()
            .filename(file)
            .read_only(true)
            .immutable(is_idle)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("temp_store", "MEMORY");
        let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(ACQUIRE_TIMEOUT);
        Ok(Pool::Sqlite(pool.connect_with(options).await.map_err(failed("open"))?))
    }

    /// Connections to a server.
    pub(super) async fn postgres(url: &Pii<String>, connections_max: u32) -> Result<Self, StoreError> {
        // The library's message may quote the URL, and with it the password.
        let unreadable = |_| StoreError { operation: "open", cause: "store_url cannot be read".to_owned() };
        let options = PgConnectOptions::from_str(&url.0).map_err(unreadable)?.application_name("colloque");
        let pool = PgPoolOptions::new().max_connections(connections_max).acquire_timeout(ACQUIRE_TIMEOUT);
        Ok(Pool::Postgres(pool.connect_with(options).await.map_err(failed("open"))?))
    }

    /// Brings the schema up to date. Forward only.
    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        let done = match self {
            Pool::Sqlite(pool) => sqlx::migrate!("src/store/migrations/sqlite").run(pool).await,
            Pool::Postgres(pool) => sqlx::migrate!("src/store/migrations/postgres").run(pool).await,
        };
        done.map_err(|error| StoreError { operation: "migrate", cause: error.to_string() })
    }

    pub(super) async fn acquire(&self) -> Result<Connection, sqlx::Error> {
        Ok(match self {
            Pool::Sqlite(pool) => Connection::Sqlite(pool.acquire().await?),
            Pool::Postgres(pool) => Connection::Postgres(pool.acquire().await?),
        })
    }

    pub(super) async fn close(&self) {
        match self {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
        }
    }

    pub(super) fn is_sqlite(&self) -> bool {
        matches!(self, Pool::Sqlite(_))
    }
}

impl Connection {
    /// Gives the number of rows that changed.
    pub(super) async fn execute(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, sqlx::Error> {
        Ok(match self {
            Connection::Sqlite(one) => bound!(sql, values).execute(&mut **one).await?.rows_affected(),
            Connection::Postgres(one) => bound!(sql, values).execute(&mut **one).await?.rows_affected(),
        })
    }

    pub(super) async fn fetch_all(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Row>, sqlx::Error> {
        Ok(match self {
            Connection::Sqlite(one) => {
                bound!(sql, values).fetch_all(&mut **one).await?.into_iter().map(Row::Sqlite).collect()
            }
            Connection::Postgres(one) => {
                bound!(sql, values).fetch_all(&mut **one).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub(super) async fn fetch_optional(
        &mut self,
        sql: &'static str,
        values: Vec<Value>,
    ) -> Result<Option<Row>, sqlx::Error> {
        Ok(match self {
            Connection::Sqlite(one) => bound!(sql, values).fetch_optional(&mut **one).await?.map(Row::Sqlite),
            Connection::Postgres(one) => bound!(sql, values).fetch_optional(&mut **one).await?.map(Row::Postgres),
        })
    }

    pub(super) async fn fetch_one(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Row, sqlx::Error> {
        self.fetch_optional(sql, values).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// Begins a transaction that will write. Taking SQLite's write lock at the begin leaves no transaction that read first and
    /// then finds the file changed, which SQLite refuses without waiting.
    pub(super) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        let begin = if self.is_sqlite() { "BEGIN IMMEDIATE" } else { "BEGIN" };
        self.execute(begin, Vec::new()).await.map(drop)
    }

    /// Begins a transaction that only reads, and sees one instant.
    pub(super) async fn begin_reading(&mut self) -> Result<(), sqlx::Error> {
        let snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        self.execute(if self.is_sqlite() { "BEGIN" } else { snapshot }, Vec::new()).await.map(drop)
    }

    pub(super) fn is_sqlite(&self) -> bool {
        matches!(self, Connection::Sqlite(_))
    }

    /// Not to be used again, whatever state it is in: its server or its file rolls back.
    pub(super) fn close_on_drop(&mut self) {
        match self {
            Connection::Sqlite(one) => one.close_on_drop(),
            Connection::Postgres(one) => one.close_on_drop(),
        }
    }
}

impl Row {
    /// A column by its name.
    pub(super) fn read<T>(&self, column: &str) -> Result<T, sqlx::Error>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        match self {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        }
    }

    pub(super) fn text(&self, column: &str) -> Result<String, sqlx::Error> {
        self.read(column)
    }

    pub(super) fn integer(&self, column: &str) -> Result<i64, sqlx::Error> {
        self.read(column)
    }

    pub(super) fn flag(&self, column: &str) -> Result<bool, sqlx::Error> {
        Ok(self.integer(column)? != 0)
    }

    pub(super) fn count(&self, column: &str) -> Result<u32, sqlx::Error> {
        u32::try_from(self.integer(column)?).map_err(|_| sqlx::Error::Decode("a count outside of its range".into()))
    }

    pub(super) fn secret_text(&self, column: &str) -> Result<Option<Pii<String>>, sqlx::Error> {
        Ok(self.read::<Option<String>>(column)?.map(Pii))
    }

    pub(super) fn digest(&self, column: &str) -> Result<[u8; 32], sqlx::Error> {
        digest(self.read(column)?)
    }
}

pub(super) fn digest(bytes: Vec<u8>) -> Result<[u8; 32], sqlx::Error> {
    bytes.try_into().map_err(|_| sqlx::Error::Decode("digest of another length".into()))
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Integer(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Value::Integer(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Value::Integer(Some(number.into()))
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Integer(Some(flag.into()))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(Some(text.to_owned()))
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Value::Text(Some(text.clone()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(Some(text))
    }
}

impl From<&Pii<String>> for Value {
    fn from(text: &Pii<String>) -> Self {
        Value::Text(Some(text.0.clone()))
    }
}

impl From<&Option<String>> for Value {
    fn from(text: &Option<String>) -> Self {
        Value::Text(text.clone())
    }
}

impl From<&Option<Pii<String>>> for Value {
    fn from(text: &Option<Pii<String>>) -> Self {
        Value::Text(text.as_ref().map(|text| text.0.clone()))
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Value::Bytes(Some(bytes.to_vec()))
    }
}

impl From<Option<[u8; 32]>> for Value {
    fn from(bytes: Option<[u8; 32]>) -> Self {
        Value::Bytes(bytes.map(|bytes| bytes.to_vec()))
    }
}

pub(super) fn failed(operation: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
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

/// How long a statement waits for another process's write lock (`clinic add` beside a running server).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call waits for a connection: longer than a burst lasts, shorter than a person waits for a page.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
