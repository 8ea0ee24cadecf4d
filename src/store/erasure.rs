//! What leaves the store: a patient's or a consultation's data at once, everything by its age, and the list of what was erased.
//!
//! The list names consultations by their random identifier. It is kept twice: in the store, and in a file beside it that a
//! restored backup does not bring back to an older state. Opening the store compares the two and erases again what a backup
//! brought back. Entries of the journal name nobody; they leave by age alone, oldest first, so that the chain stays whole.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::changes::unix_now;
use super::engine::{Connection, Row, values};
use super::writer::ChainEnd;
use super::{Entry, Erasure, Pruned, StoreError};

/// Consultations of which something is kept.
pub(super) async fn find(on: &mut Connection, whose: &Erasure) -> Result<Vec<String>, sqlx::Error> {
    let rows = match whose {
        Erasure::Consultation { clinic, consultation } => {
            let sql = "SELECT id FROM consultations WHERE clinic = $1 AND id = $2 \
                       UNION SELECT consultation FROM past_acts WHERE clinic = $1 AND consultation = $2";
            on.fetch_all(sql, values![clinic, consultation]).await?
        }
        Erasure::Patient { clinic, patient } => {
            let sql = "SELECT id FROM consultations WHERE clinic = $1 AND patient = $2 \
                       UNION SELECT consultation FROM past_acts WHERE clinic = $1 AND patient = $2";
            on.fetch_all(sql, values![clinic, patient]).await?
        }
    };
    rows.iter().map(|row| row.text("id")).collect()
}

/// Those of these consultations of which something is kept.
pub(super) async fn still_there(on: &mut Connection, ids: &[String]) -> Result<Vec<String>, sqlx::Error> {
    let sql =
        "SELECT id FROM consultations WHERE id = $1 UNION SELECT consultation FROM past_acts WHERE consultation = $1";
    let mut found = Vec::new();
    for id in ids {
        if on.fetch_optional(sql, values![id]).await?.is_some() {
            found.push(id.clone());
        }
    }
    Ok(found)
}

/// Removes consultations with everything that belongs to them, and remembers that they were erased.
pub(super) async fn erase(on: &mut Connection, ids: &[String]) -> Result<(), sqlx::Error> {
    for id in ids {
        remove(on, id).await?;
        on.execute("DELETE FROM past_acts WHERE consultation = $1", values![id]).await?;
        let sql = "INSERT INTO erased (consultation, at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        on.execute(sql, values![id, unix_now()]).await?;
    }
    Ok(())
}

async fn remove(on: &mut Connection, consultation: &str) -> Result<(), sqlx::Error> {
    on.execute("DELETE FROM outbox WHERE consultation = $1", values![consultation]).await?;
    on.execute("DELETE FROM seats WHERE consultation = $1", values![consultation]).await?;
    on.execute("DELETE FROM consultations WHERE id = $1", values![consultation]).await.map(drop)
}

/// Removes what is older than `before` (Unix seconds). Gives what was removed and where the chain begins now, if that moved.
pub(super) async fn prune(on: &mut Connection, before: i64) -> Result<(Pruned, Option<ChainEnd>), sqlx::Error> {
    // A consultation that nobody ended is over when nothing was told of it for as long.
    let sql = "SELECT id FROM consultations WHERE ended_at < $1 OR (ended_at IS NULL AND created_at < $1 \
               AND COALESCE(starts_at, 0) < $1 AND NOT EXISTS (SELECT 1 FROM journal \
               WHERE journal.consultation = consultations.id AND journal.at >= $2)) ORDER BY booking LIMIT $3";
    let due = on.fetch_all(sql, values![before, before.saturating_mul(1_000), PRUNED_MAX]).await?;
    let consultations = u32::try_from(due.len()).unwrap_or(u32::MAX);
    for row in due {
        let id = row.text("id")?;
        let keep = "INSERT INTO past_acts (consultation, clinic, act, patient, postal_prefix, happened_at, created_at) \
                    SELECT id, clinic, act, patient, postal_prefix, COALESCE(starts_at, created_at), created_at \
                    FROM consultations WHERE id = $1 AND held = 1 AND (patient IS NOT NULL OR postal_prefix IS NOT NULL) \
                    ON CONFLICT DO NOTHING";
        on.execute(keep, values![&id]).await?;
        remove(on, &id).await?;
    }
    let forgotten = before.saturating_sub(PAST_ACTS_SECONDS);
    on.execute("DELETE FROM past_acts WHERE happened_at < $1", values![forgotten]).await?;
    let (entries, begin) = prune_journal(on, before.saturating_mul(1_000)).await?;
    Ok((Pruned { consultations, entries }, begin))
}

async fn prune_journal(on: &mut Connection, before_ms: i64) -> Result<(u32, Option<ChainEnd>), sqlx::Error> {
    let begin = on.fetch_one("SELECT cursor FROM chain WHERE place = 'begin'", Vec::new()).await?.integer("cursor")?;
    // Whatever follows the first young entry stays, however old it is: the chain has no holes.
    let sql = "SELECT MIN(cursor) AS kept FROM journal WHERE at >= $1 AND cursor <= $2";
    let kept: Option<i64> = on.fetch_one(sql, values![before_ms, begin + PRUNED_MAX]).await?.read("kept")?;
    let last = kept.map_or(begin + PRUNED_MAX, |kept| kept - 1);
    let sql = "SELECT cursor, hash FROM journal WHERE cursor <= $1 ORDER BY cursor DESC LIMIT 1";
    let Some(row) = on.fetch_optional(sql, values![last]).await? else { return Ok((0, None)) };
    let end = ChainEnd { cursor: row.integer("cursor")?, hash: row.digest("hash")? };
    let removed = on.execute("DELETE FROM journal WHERE cursor <= $1", values![end.cursor]).await?;
    Ok((u32::try_from(removed).unwrap_or(u32::MAX), Some(end)))
}

/// The entry with a count in its data.
pub(super) fn counted(entry: &Entry, name: &str, count: u32) -> Entry {
    let mut data: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&entry.data).unwrap_or_default();
    data.insert(name.to_owned(), count.into());
    Entry { data: serde_json::Value::Object(data).to_string(), ..entry.clone() }
}

/// The list of erased consultations beside the store.
pub struct ErasedList(PathBuf);

impl ErasedList {
    /// Of a data directory; there may be none yet.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self::at(data_dir.join(LIST_FILE_NAME))
    }

    /// A copy of such a list elsewhere.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Identifiers, one a line.
    pub fn read(&self) -> Result<BTreeSet<String>, StoreError> {
        match std::fs::read_to_string(&self.0) {
            // A line that a crash cut off was not acknowledged, and is no identifier of anything.
            Ok(text) => Ok(text.lines().filter(|id| !id.is_empty()).map(str::to_owned).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Bytes: it only grows.
    #[must_use]
    pub fn size(&self) -> u64 {
        std::fs::metadata(&self.0).map_or(0, |file| file.len())
    }

    /// On the disk when it returns.
    pub fn add<'a>(&self, ids: impl IntoIterator<Item = &'a String>) -> Result<(), StoreError> {
        let lines: String = ids.into_iter().map(|id| format!("{id}\n")).collect();
        if lines.is_empty() {
            return Ok(());
        }
        let open = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&self.0);
        // Begins with a line's end: the line before may have been cut off.
        let written = open.and_then(|mut file| {
            file.write_all(format!("\n{lines}").as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| failed(&error))
    }
}

pub(super) fn listed(rows: &[Row]) -> Result<BTreeSet<String>, sqlx::Error> {
    rows.iter().map(|row| row.text("consultation")).collect()
}

fn failed(error: &std::io::Error) -> StoreError {
    StoreError { operation: "list of erased consultations", cause: error.kind().to_string() }
}

/// File name inside the data directory.
pub const LIST_FILE_NAME: &str = "erased";
/// Consultations, and entries, that one call removes at most: others wait for the writer meanwhile.
const PRUNED_MAX: i64 = 1_000;
/// Yearly counts need the year before at most.
const PAST_ACTS_SECONDS: i64 = 2 * 366 * 86_400;
