//! What a live room tells the journal: facts about its consultation, and changes that go with them.
//!
//! Called under the room's lock: it never waits (`Journal::record`). Not here: what is a fact (`facts`), when one is told
//! (`room`, `settle`).

use std::sync::Arc;

use crate::store::{ConsultationRecord, LiveChange};

use super::facts::Fact;
use super::journal::Journal;

/// One consultation's pen.
#[derive(Clone)]
pub(super) struct Chronicle {
    journal: Arc<Journal>,
    clinic: String,
    consultation: String,
}

impl Chronicle {
    pub(super) fn new(journal: &Arc<Journal>, consultation: &ConsultationRecord) -> Self {
        Self {
            journal: Arc::clone(journal),
            clinic: consultation.clinic.clone(),
            consultation: consultation.id.clone(),
        }
    }

    /// Public identifier of the consultation.
    pub(super) fn consultation(&self) -> &str {
        &self.consultation
    }

    /// Something happened on a seat.
    pub(super) fn tell(&self, seat: &str, fact: &Fact) {
        self.record(Vec::new(), Some(seat), fact);
    }

    /// Something happened that changes what is stored. `seat`: on which, unless it concerns them all.
    pub(super) fn record(&self, changes: Vec<LiveChange>, seat: Option<&str>, fact: &Fact) {
        let entry = self.journal.entry(Some(&self.clinic), Some(&self.consultation), seat, fact);
        self.journal.record(changes, vec![entry]);
    }
}
