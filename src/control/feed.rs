//! The event feed: a clinic reads the journal's entries that concern it, in order, from a cursor on.
//!
//! What is read here is also what webhooks deliver: one form for both. Cursors are places in the journal of the whole server, so
//! a clinic's own are not consecutive. Not here: HTTP, delivery (`webhooks`), what may happen (`facts`).

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use crate::store::{JournalEntry, Store, StoreError};

use super::booking::ClinicId;
use super::{Consultations, clock};

/// Something that happened, as clinics read it. Holds no personal data: seats and consultations are named by identifier.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Event {
    /// The same for every delivery of this event.
    pub id: String,
    /// Its place: later events have greater cursors, also as text.
    #[schema(example = "0000000000000042")]
    pub cursor: String,
    /// RFC 3339 in UTC, with milliseconds.
    pub at: String,
    /// What happened; kinds are only ever added.
    #[schema(example = "seat.joined")]
    pub kind: String,
    /// In which consultation.
    pub consultation: Option<String>,
    /// To or by which seat.
    pub seat: Option<String>,
    /// By kind.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}

/// Part of the feed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct EventPage {
    /// In order.
    pub events: Vec<Event>,
    /// To go on from: `after` of the next request.
    pub cursor: String,
    /// There are more now.
    pub more: bool,
}

/// What part of the feed is asked for.
#[derive(Clone, Copy, Debug)]
pub struct EventQuery {
    /// Events after this place; from the first that is kept when absent.
    pub after: Option<i64>,
    /// Events at most.
    pub limit: u32,
    /// Wait so long for an event when there is none.
    pub wait: Duration,
}

/// Why a part of the feed cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Entries after the cursor were removed: retention, or a store restored from an older copy.
    #[error("events after this cursor are no longer kept")]
    Gone {
        /// Go on from here.
        first: String,
    },
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Events in one answer.
pub const EVENTS_MAX: u32 = 500;
/// Longest wait for an event. Proxies cut off after 30 s, many of them.
pub const WAIT_MAX: Duration = Duration::from_secs(25);

/// Requests that wait for events.
pub(super) struct Waiters(Semaphore);

impl Default for Waiters {
    fn default() -> Self {
        Self(Semaphore::new(WAITERS_MAX))
    }
}

impl Consultations {
    /// A clinic's events after a cursor. Waits when there are none, unless too many wait already.
    pub async fn events(&self, clinic: &ClinicId, query: EventQuery) -> Result<EventPage, FeedError> {
        let mut written = self.journal.subscribe();
        let deadline = Instant::now() + query.wait.min(WAIT_MAX);
        let waiter = if query.wait.is_zero() { None } else { self.waiters.0.try_acquire().ok() };
        loop {
            written.mark_unchanged();
            let page = read(&*self.store, clinic, query).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !page.events.is_empty() || waiter.is_none() || left.is_zero() {
                return Ok(page);
            }
            // Either is fine: a look too many costs one query.
            tokio::time::timeout(left, written.changed()).await.ok();
            tokio::time::sleep(NAP.min(left)).await;
        }
    }
}

async fn read(store: &dyn Store, clinic: &ClinicId, query: EventQuery) -> Result<EventPage, FeedError> {
    let limit = query.limit.clamp(1, EVENTS_MAX);
    // The head before the entries and the begin after them: nothing between the two goes unnoticed.
    let head = store.chain_marks().await?.1.map_or(0, |head| head.cursor);
    let mut entries = store.entries_after(Some(&clinic.0), query.after.unwrap_or(0), limit + 1).await?;
    let begin = store.chain_marks().await?.0.map_or(0, |begin| begin.cursor);
    // Nought is before everything, whatever is kept.
    if query.after.is_some_and(|after| after != 0 && after < begin || after > head) {
        return Err(FeedError::Gone { first: format_cursor(begin) });
    }
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    let last = entries.last().map_or(0, |entry| entry.cursor);
    // Up to the head there is nothing more for this clinic: it moves on, so that its cursor does not age with others' entries.
    let cursor = if more { last } else { last.max(head).max(query.after.unwrap_or(0)) };
    Ok(EventPage { events: entries.into_iter().map(Event::from).collect(), cursor: format_cursor(cursor), more })
}

/// Where the journal ends now.
pub(super) async fn head(store: &dyn Store) -> Result<i64, StoreError> {
    Ok(store.chain_marks().await?.1.map_or(0, |head| head.cursor))
}

impl From<JournalEntry> for Event {
    fn from(JournalEntry { cursor, entry, .. }: JournalEntry) -> Self {
        Self {
            id: entry.id,
            cursor: format_cursor(cursor),
            at: clock::format_rfc3339_millis(entry.at),
            kind: entry.kind,
            consultation: entry.consultation,
            seat: entry.seat,
            // What a newer or older version wrote is passed on as it is.
            data: serde_json::from_str(&entry.data).unwrap_or_default(),
        }
    }
}

/// A cursor as text: sorted as text it is in order.
#[must_use]
pub fn format_cursor(cursor: i64) -> String {
    format!("{cursor:016}")
}

/// Reads a cursor that was given out.
#[must_use]
pub fn parse_cursor(text: &str) -> Option<i64> {
    let digits = (1..=CURSOR_LEN_MAX).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Requests that wait for events at the same time; each holds a connection. One a clinic is enough; beyond, they are answered
/// at once, empty.
const WAITERS_MAX: usize = 256;
/// Between two looks of a waiting request: a busy journal would have every waiter ask the store at each entry.
const NAP: Duration = Duration::from_millis(200);
/// More digits than any 64-bit number has.
const CURSOR_LEN_MAX: usize = 19;

#[cfg(test)]
mod tests {
    use crate::control::facts::{Cause, Departure, Device, Fact};

    use super::*;

    #[test]
    fn cursors_are_ordered_as_text_and_nothing_else_is_one() {
        assert!(format_cursor(9) < format_cursor(10) && format_cursor(99_999) < format_cursor(100_000));
        assert_eq!(parse_cursor(&format_cursor(42)), Some(42));
        assert_eq!(parse_cursor(&format_cursor(i64::MAX)), Some(i64::MAX));
        for bad in ["", "-1", "+1", "1e3", "٣", "99999999999999999999", "9999999999999999999", " 1"] {
            assert_eq!(parse_cursor(bad), None, "{bad}");
        }
    }

    /// Rows of the table in docs/events.md, from the facts' own schema and comments.
    fn rows() -> String {
        let schema = serde_json::to_value(<Fact as utoipa::PartialSchema>::schema()).unwrap();
        let mut rows = "| kind | what happened | `data` |\n| --- | --- | --- |\n".to_owned();
        for variant in schema["oneOf"].as_array().unwrap() {
            let kind = variant["properties"]["kind"]["enum"][0].as_str().unwrap();
            let about = variant["description"].as_str().unwrap().replace('\n', " ");
            let data = variant["properties"]["data"]["properties"].as_object();
            let field = |(name, schema): (&String, &serde_json::Value)| {
                let about = schema["description"].as_str().unwrap_or_default().trim_end_matches('.');
                let abbreviation = about.chars().nth(1).is_none_or(|second| !second.is_lowercase() && second != ' ');
                let first = about.chars().take(1).flat_map(char::to_lowercase);
                let begin: String = if abbreviation { about.chars().take(1).collect() } else { first.collect() };
                format!("`{name}` ({begin}{})", about.chars().skip(1).collect::<String>())
            };
            let data: Vec<String> = data.into_iter().flatten().map(field).collect();
            rows += &format!("| `{kind}` | {about} | {} |\n", data.join(", "));
        }
        for (name, words) in [
            ("`device` of `seat.opened`", serde_json::to_value(<Device as utoipa::PartialSchema>::schema())),
            ("`cause` of `seat.left`", serde_json::to_value(<Departure as utoipa::PartialSchema>::schema())),
            (
                "`cause` of `seat.join_failed` and `seat.incident`",
                serde_json::to_value(<Cause as utoipa::PartialSchema>::schema()),
            ),
        ] {
            let words = words.unwrap();
            let words: Vec<&str> =
                words["enum"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
            rows += &format!("\n{name}: `{}`.\n", words.join("`, `"));
        }
        rows
    }

    #[test]
    fn every_kind_of_event_stands_in_the_documentation() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/events.md");
        let text = std::fs::read_to_string(file).unwrap();
        let (before, rest) = text.split_once("<!-- kinds -->\n").unwrap();
        let (written, after) = rest.split_once("<!-- /kinds -->").unwrap();
        if std::env::var_os("COLLOQUE_WRITE_DOCS").is_some() {
            std::fs::write(file, format!("{before}<!-- kinds -->\n{}<!-- /kinds -->{after}", rows())).unwrap();
        } else {
            assert_eq!(written, rows(), "renew it: COLLOQUE_WRITE_DOCS=1 cargo test --lib every_kind");
        }
    }
}
