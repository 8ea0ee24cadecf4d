//! The journal for whoever checks or exports it: read alone, at one instant, beside a running server or in a copy.
//!
//! Writes nothing, not even a missing file or a newer schema. Not here: what makes a chain whole (`verify`).

use std::path::Path;

use crate::pii::Pii;

use super::database::STORE_FILE_NAME;
use super::engine::{Connection, Pool, failed, values};
use super::{ChainMark, JournalEntry, StoreError, rows};

/// The journal as it is at one instant.
pub struct JournalReader {
    connection: Connection,
    begin: Option<ChainMark>,
    head: Option<ChainMark>,
}

/// A row of the journal, or the cursor of one that cannot be read as an entry.
pub type ReadEntry = Result<JournalEntry, i64>;

impl JournalReader {
    /// Opens the journal of a data directory, or the one on a PostgreSQL server.
    pub async fn open(data_dir: &Path, url: Option<&Pii<String>>) -> Result<Self, StoreError> {
        let operation = "open journal";
        let pool = match url {
            None => Pool::sqlite_to_read(&data_dir.join(STORE_FILE_NAME)).await?,
            Some(url) => Pool::postgres(url, 1).await?,
        };
        let mut connection = pool.acquire().await.map_err(failed(operation))?;
        connection.begin_reading().await.map_err(failed(operation))?;
        // 'begin' comes before 'head'.
        let marks = connection.fetch_all("SELECT * FROM chain ORDER BY place", Vec::new()).await;
        let marks = marks.map_err(failed("read chain"))?;
        let marks: Result<Vec<_>, _> = marks.iter().map(rows::chain_mark).collect();
        let mut marks = marks.map_err(failed("read chain"))?.into_iter();
        Ok(Self { connection, begin: marks.next().flatten(), head: marks.next().flatten() })
    }

    /// Where the chain begins; nothing before the first pruning.
    #[must_use]
    pub fn begin(&self) -> Option<&ChainMark> {
        self.begin.as_ref()
    }

    /// Where it ends; nothing on a new store.
    #[must_use]
    pub fn head(&self) -> Option<&ChainMark> {
        self.head.as_ref()
    }

    /// The next entries in order; none at the end.
    pub async fn entries_after(&mut self, cursor: i64) -> Result<Vec<ReadEntry>, StoreError> {
        let operation = "read journal";
        let sql = "SELECT * FROM journal WHERE cursor > $1 ORDER BY cursor LIMIT $2";
        let found = self.connection.fetch_all(sql, values![cursor, PAGE_LEN]).await.map_err(failed(operation))?;
        let entry = |row| match rows::journal_entry(row) {
            Ok(entry) => Ok(Ok(entry)),
            Err(_) => row.integer("cursor").map(Err),
        };
        found.iter().map(entry).collect::<Result<_, _>>().map_err(failed(operation))
    }
}

/// Entries read at once: some hundred kilobytes.
const PAGE_LEN: i64 = 1_000;
