//! Erasing what is known of a consultation or a patient, in the store and in memory; and what leaves by its age.
//!
//! A consultation that is running is ended first. Live copies go before the store's rows and, because somebody may be joining
//! meanwhile, once more after them. The journal's entries name nobody and stay. Not here: how bytes leave files (`store`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use colloque_signaling::message::PhoneCause;

use crate::pii::Pii;
use crate::store::{ErasedList, Erasure, Pruned, StoreError};

use super::booking::{BookingError, ClinicId};
use super::facts::{Departure, Fact};
use super::{Consultations, clock};

impl Consultations {
    /// Erases a consultation of this clinic, after ending it.
    pub async fn erase_consultation(&self, clinic: &ClinicId, id: &str) -> Result<(), BookingError> {
        // Also one of which nothing but its place in yearly counts is left: then it is not found here.
        let found = self.journal().consultation(id).await?.filter(|(record, _)| record.clinic == clinic.0);
        if let Some((record, _)) = found.filter(|(record, _)| record.ended_at.is_none()) {
            self.end(&record).await?;
        }
        let whose = Erasure::Consultation { clinic: clinic.0.clone(), consultation: id.to_owned() };
        let erased = self.erase(clinic, Some(id), whose).await?;
        if erased == 0 {
            return Err(BookingError::NotFound);
        }
        self.forget_copies(id);
        Ok(())
    }

    /// Erases every consultation of a patient of this clinic. Gives how many.
    pub async fn erase_patient(&self, clinic: &ClinicId, patient: &Pii<String>) -> Result<u32, BookingError> {
        self.end_live_of(clinic, patient).await?;
        let whose = Erasure::Patient { clinic: clinic.0.clone(), patient: patient.clone() };
        let erased = self.erase(clinic, None, whose).await?;
        if erased == 0 {
            return Err(BookingError::NotFound);
        }
        for id in self.end_live_of(clinic, patient).await? {
            self.forget_copies(&id);
        }
        Ok(erased)
    }

    async fn erase(&self, clinic: &ClinicId, id: Option<&str>, whose: Erasure) -> Result<u32, StoreError> {
        // What was told before is stored before; while it cannot be, nothing can be erased either.
        self.journal().flush().await;
        self.journal().must_not_be_behind("erase")?;
        let entry = self.journal().entry(Some(&clinic.0), id, None, &Fact::Erased { consultations: 0 });
        let erased = self.store.erase(whose, entry).await?;
        self.journal().announce();
        Ok(erased)
    }

    async fn end_live_of(&self, clinic: &ClinicId, patient: &Pii<String>) -> Result<Vec<String>, StoreError> {
        let live = self.journal().live_of_patient(&clinic.0, &patient.0);
        for id in &live {
            if let Some((record, _)) = self.journal().copy(id) {
                self.end(&record).await?;
            }
        }
        Ok(live)
    }

    /// Closes the room of a consultation that is no longer in the store, and forgets every copy of it.
    fn forget_copies(&self, consultation: &str) {
        if let Some(room) = self.live_room(consultation) {
            room.lock().end(Departure::Ended);
            self.forget(&room);
        } else {
            self.hang_up_all(consultation, PhoneCause::Over);
        }
        self.journal().forget(consultation);
    }

    /// Removes what is older than the retention. Gives how many entries of the journal went.
    pub async fn prune(&self, retention: Duration) -> Result<u64, StoreError> {
        let before = clock::unix_now() - i64::try_from(retention.as_secs()).unwrap_or(i64::MAX);
        let mut removed = 0;
        for _ in 0..PRUNE_CALLS_MAX {
            self.journal().flush().await;
            self.journal().must_not_be_behind("prune")?;
            let entry = self.journal().entry(None, None, None, &Fact::Pruned { entries: 0 });
            let pruned = self.store.prune(before, entry).await?;
            // A call takes so many of each: there may be more consultations where there are no more entries.
            if pruned == Pruned::default() {
                break;
            }
            removed += u64::from(pruned.entries);
            if pruned.entries > 0 {
                self.journal().announce();
            }
        }
        Ok(removed)
    }
}

/// Removes by age at start and once a day, and notices what a command erases beside the running server.
pub async fn keep_up(consultations: Arc<Consultations>, data_dir: PathBuf, retention: Duration) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut prune = tokio::time::interval(PRUNE_EVERY);
    let mut seen = 0;
    loop {
        tokio::select! {
            _ = prune.tick() => match consultations.prune(retention).await {
                Ok(0) => {}
                Ok(entries) => tracing::info!(entries, "entries of the journal are past their retention"),
                Err(error) => tracing::warn!(%error, "nothing could be removed by its age: tomorrow again"),
            },
            _ = look.tick() => seen = notice(&consultations, &data_dir, seen),
        }
    }
}

/// Drops live copies of what is on the list of erased consultations. Gives the list's length, by which it is seen to grow.
fn notice(consultations: &Consultations, data_dir: &Path, seen: u64) -> u64 {
    let list = ErasedList::of(data_dir);
    let size = list.size();
    if size == seen {
        return seen;
    }
    match list.read() {
        Ok(erased) => {
            erased.iter().for_each(|id| consultations.forget_copies(id));
            size
        }
        Err(error) => {
            tracing::warn!(%error, "the list of erased consultations cannot be read");
            seen
        }
    }
}

/// Between two looks at the list of erased consultations: how long a copy in memory outlives an erasure by command.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Retention counts in days.
const PRUNE_EVERY: Duration = Duration::from_secs(24 * 3_600);
/// Each call removes some thousands of entries: two millions a day, more than a full server writes.
const PRUNE_CALLS_MAX: usize = 1_000;
