//! The one way to the store for everything durable, and the one place that knows consultations as they are now.
//!
//! ```text
//!   clinics' calls --commit--> +-------+                 +-------> store (up)
//!   running rooms --record---> | queue | --> scribe -----+
//!                              +-------+   (one task)    +-------> spool on the disk (down), stored in order later
//!         reads <-- mirror (live consultations) or store
//! ```
//!
//! [`Journal::commit`] is for what must be durable before it is answered. [`Journal::record`] never waits and never fails. While
//! the store is down, changes of running consultations count as durable when they are in the spool; everything else fails with
//! the store's error, and so does every read that the copies of live consultations (`mirror`) cannot answer: what waits in
//! the spool may revoke what the store still says. Not here: what is told (`facts`), how it is written (`scribe`).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use prometheus::{IntCounter, IntGauge};
use tokio::sync::{mpsc, oneshot, watch};

use crate::pii::Pii;
use crate::store::{
    Change, Committed, ConsultationRecord, Entry, LiveChange, SeatRecord, Store, StoreError, Transaction, WithSeats,
};

use super::facts::Fact;
use super::metrics::JournalMetrics;
use super::mirror::Mirror;
use super::scribe::{Item, Live, Scribe};
use super::spool::Spool;
use super::{clock, random};

/// File in the data directory that holds what waits for the store.
pub const SPOOL_FILE_NAME: &str = "spool";

/// Writes and reads on behalf of the whole control plane.
pub struct Journal {
    store: Arc<dyn Store>,
    mirror: Arc<Mirror>,
    queue: mpsc::Sender<Item>,
    state: Arc<State>,
}

/// What the journal and its scribe both see.
pub(super) struct State {
    /// Lines that wait for the store.
    behind: AtomicUsize,
    spooled: IntGauge,
    lost: IntCounter,
    /// Lost, and not yet told in the journal.
    untold: AtomicU64,
    written: watch::Sender<u64>,
}

/// Keeps the copy of a consultation while its room is live.
pub(super) struct Hold {
    consultation: String,
    mirror: Arc<Mirror>,
    queue: mpsc::Sender<Item>,
}

impl Journal {
    /// Opens the spool and stores what an earlier process left there, as far as the store takes it.
    pub async fn open(
        store: Arc<dyn Store>,
        data_dir: &Path,
        metrics: JournalMetrics,
    ) -> Result<Arc<Self>, StoreError> {
        Self::open_with(store, data_dir, metrics, STORE_PATIENCE).await
    }

    async fn open_with(
        store: Arc<dyn Store>,
        data_dir: &Path,
        metrics: JournalMetrics,
        patience: Duration,
    ) -> Result<Arc<Self>, StoreError> {
        let unopened = |error: std::io::Error| StoreError { operation: "open spool", cause: error.kind().to_string() };
        let spool = Spool::open(&data_dir.join(SPOOL_FILE_NAME)).map_err(unopened)?;
        let state = Arc::new(State {
            behind: AtomicUsize::new(0),
            spooled: metrics.spooled,
            lost: metrics.lost,
            untold: AtomicU64::new(0),
            written: watch::Sender::new(0),
        });
        let mirror = Arc::<Mirror>::default();
        let mut scribe = Scribe::new(Arc::clone(&store), spool, Arc::clone(&mirror), Arc::clone(&state), patience);
        scribe.catch_up().await;
        let (queue, waiting) = mpsc::channel(QUEUE_LEN_MAX);
        tokio::spawn(scribe.write_all(waiting));
        Ok(Arc::new(Self { store, mirror, queue, state }))
    }

    /// Makes an entry of something that happened now.
    #[must_use]
    pub fn entry(&self, clinic: Option<&str>, consultation: Option<&str>, seat: Option<&str>, fact: &Fact) -> Entry {
        entry(clinic, consultation, seat, fact)
    }

    /// Writes a transaction; durable when this resolves. It goes on when the caller gives up waiting.
    pub async fn commit(&self, transaction: Transaction) -> Result<Committed, StoreError> {
        let (reply, answer) = oneshot::channel();
        let place = self.queue.reserve().await.map_err(|_| closed())?;
        match live_only(transaction) {
            Ok(live) => {
                let changes = live.changes.clone();
                self.mirror.apply_live(&changes, || place.send(Item::Live(live, Some(reply))));
            }
            Err(transaction) => {
                self.must_not_be_behind("commit")?;
                place.send(Item::Booking(transaction, reply));
            }
        }
        answer.await.map_err(|_| closed())?
    }

    /// Writes what happened in a running room: now, or when the store is back. Never waits, never fails.
    pub fn record(&self, changes: Vec<LiveChange>, entries: Vec<Entry>) {
        let (copy, lost) = (changes.clone(), entries.len() as u64);
        self.mirror.apply_live(&copy, || {
            if self.queue.try_send(Item::Live(Live { changes, entries }, None)).is_err() {
                self.state.lose(lost, "the queue to the store is full");
            }
        });
    }

    /// Resolves when everything that was handed over before is durable.
    pub async fn flush(&self) {
        let (reply, answer) = oneshot::channel();
        if self.queue.send(Item::Flush(reply)).await.is_ok() {
            answer.await.ok();
        }
    }

    /// Changes whenever entries were written; whoever follows the journal looks again then.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.state.written.subscribe()
    }

    /// Whether changes wait for the store: bookings are refused meanwhile.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.state.behind.load(Ordering::Acquire) > 0
    }

    /// Whether the store takes writes now.
    pub async fn is_writable(&self) -> bool {
        let probe = self.store.commit(Transaction::default());
        !self.is_behind() && matches!(tokio::time::timeout(PROBE_TIME, probe).await, Ok(Ok(_)))
    }

    /// A seat with its consultation, as they are now.
    pub async fn seat(&self, id: &str) -> Result<Option<(ConsultationRecord, SeatRecord)>, StoreError> {
        if let Some(found) = self.mirror.seat(id) {
            return Ok(Some(found));
        }
        self.must_not_be_behind("find seat")?;
        self.store.seat(id).await
    }

    /// Seats that have this PIN, in consultations that are not over, as they are now. While the store is down those of live consultations
    /// alone: that the same digits are somebody else's too is not seen then, and is one case in millions.
    pub(super) async fn seats_of_pin(
        &self,
        pin: &Pii<String>,
    ) -> Result<Vec<(ConsultationRecord, SeatRecord)>, StoreError> {
        let found = match self.must_not_be_behind("find PIN") {
            Ok(()) => self.store.seats_of_pin(pin).await,
            Err(behind) => Err(behind),
        };
        match found {
            Ok(found) => Ok(found.into_iter().map(|read| self.mirror.seat(&read.1.id).unwrap_or(read)).collect()),
            Err(error) => Some(self.mirror.of_pin(pin)).filter(|found| !found.is_empty()).ok_or(error),
        }
    }

    /// A consultation with its seats, as they are now.
    pub async fn consultation(&self, id: &str) -> Result<Option<WithSeats>, StoreError> {
        if let Some(found) = self.mirror.consultation(id) {
            return Ok(Some(found));
        }
        self.must_not_be_behind("find consultation")?;
        self.store.consultation(id).await
    }

    /// A consultation for its live room: copied, so that it can be read while the store is down. The copy stays as long as the
    /// hold, and longer while the store is down.
    pub(super) async fn hold(&self, id: &str) -> Result<Option<(WithSeats, Hold)>, StoreError> {
        if let Some(found) = self.mirror.hold(id) {
            return Ok(Some((found, self.hold_on(id))));
        }
        // What is on its way to the store is not read there; what comes from here on is kept by the reading.
        let reading = self.mirror.begin_reading();
        self.flush().await;
        self.must_not_be_behind("find consultation")?;
        let Some(read) = self.store.consultation(id).await? else { return Ok(None) };
        let slow = || StoreError { operation: "find consultation", cause: "too slow".to_owned() };
        let kept = reading.keep(read).ok_or_else(slow)?;
        Ok(Some((kept, self.hold_on(id))))
    }

    /// A consultation that is held, as it is at this moment: every change before is in it.
    pub(super) fn copy(&self, id: &str) -> Option<WithSeats> {
        self.mirror.consultation(id)
    }

    /// Tells followers of entries that did not pass here.
    pub(super) fn announce(&self) {
        self.state.announce();
    }

    /// Forgets the copy of a consultation whose data is being erased.
    pub(super) fn forget(&self, consultation: &str) {
        self.mirror.erase(consultation);
    }

    /// Copies of this patient's consultations.
    pub(super) fn live_of_patient(&self, clinic: &str, patient: &str) -> Vec<String> {
        self.mirror.of_patient(clinic, patient)
    }

    fn hold_on(&self, consultation: &str) -> Hold {
        Hold { consultation: consultation.to_owned(), mirror: Arc::clone(&self.mirror), queue: self.queue.clone() }
    }

    pub(super) fn must_not_be_behind(&self, operation: &'static str) -> Result<(), StoreError> {
        if self.is_behind() {
            Err(StoreError { operation, cause: "earlier changes wait for the store".to_owned() })
        } else {
            Ok(())
        }
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

impl Drop for Hold {
    fn drop(&mut self) {
        self.mirror.release(&self.consultation);
        // Behind everything that was changed in it: until then the store does not know. Where the queue is full, the copy goes
        // with the next sweep of all.
        self.queue.try_send(Item::Release(std::mem::take(&mut self.consultation))).ok();
    }
}

impl State {
    /// How many lines wait for the store.
    pub(super) fn set_behind(&self, lines: usize) {
        self.behind.store(lines, Ordering::Release);
        self.spooled.set(i64::try_from(lines).unwrap_or(i64::MAX));
    }

    /// Entries are in the store.
    pub(super) fn announce(&self) {
        self.written.send_modify(|writes| *writes = writes.wrapping_add(1));
    }

    /// What tells of the entries that were lost since the last time, if any.
    pub(super) fn tell_lost(&self) -> Option<Entry> {
        let entries = self.untold.swap(0, Ordering::Relaxed);
        (entries > 0).then(|| entry(None, None, None, &Fact::EntriesLost { entries }))
    }

    /// Entries are nowhere.
    pub(super) fn lose(&self, entries: u64, why: &str) {
        self.lost.inc_by(entries.max(1));
        self.untold.fetch_add(entries.max(1), Ordering::Relaxed);
        tracing::error!(entries, why, "entries of the journal are lost");
    }
}

/// A transaction that may wait in the spool, or else as it was.
fn live_only(transaction: Transaction) -> Result<Live, Transaction> {
    if !transaction.changes.iter().all(|change| matches!(change, Change::Live(_))) {
        return Err(transaction);
    }
    let live = |change| match change {
        Change::Live(live) => Some(live),
        _ => None,
    };
    Ok(Live { changes: transaction.changes.into_iter().filter_map(live).collect(), entries: transaction.entries })
}

fn closed() -> StoreError {
    StoreError { operation: "commit", cause: "closed".to_owned() }
}

/// Items that wait for the scribe: some seconds of a full server while the store hangs, a few MB. Past that `record` loses.
const QUEUE_LEN_MAX: usize = 16_384;
/// How long the store may keep changes of running rooms waiting before they are spooled. It answers in milliseconds; a longer
/// wait would leave more at risk of a crash, a shorter one would spool whenever a disk is slow.
const STORE_PATIENCE: Duration = Duration::from_secs(2);
/// A probe that takes longer says that the store does not take writes.
const PROBE_TIME: Duration = Duration::from_secs(2);

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
