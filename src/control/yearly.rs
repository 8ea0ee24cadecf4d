//! How many acts a patient has had this calendar year, by the clinic's pseudonym, against the clinic's limit.
//!
//! Counts and warns; it never refuses: whether one more act is justified is for the professional to say. The year is that of
//! the planned begin, in UTC.
//!
//! Counted twice: at the booking, for the clinic and its journal, and when the room opens, for the professionals who come into it.
//! Neither fails because the count does.

use std::sync::Arc;

use colloque_signaling::message::ServerMessage;
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::{ConsultationRecord, Store, StoreError};

use super::facts::Fact;
use super::room::Room;
use super::{Consultations, clock};

/// A patient's acts of a year.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct ActsOfYear {
    /// This one included.
    pub count: u32,
    /// The clinic's limit.
    pub limit: u32,
    /// Whether the limit is near; nothing below.
    pub warning: Option<ActsWarning>,
}

/// How near a yearly limit is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActsWarning {
    /// One more is left after this one.
    Near,
    /// This is the last one within the limit.
    Last,
    /// This one is beyond the limit.
    Past,
}

impl ActsOfYear {
    /// Judges a count.
    #[must_use]
    pub fn new(count: u32, limit: u32) -> Self {
        let warning = match count {
            _ if count > limit => Some(ActsWarning::Past),
            _ if count == limit => Some(ActsWarning::Last),
            _ if count + 1 == limit => Some(ActsWarning::Near),
            _ => None,
        };
        Self { count, limit, warning }
    }

    /// What professionals are told; nothing while the limit is far.
    #[must_use]
    pub fn to_message(self) -> Option<ServerMessage> {
        self.warning.map(|_| ServerMessage::Acts { count: self.count, limit: self.limit })
    }
}

impl Consultations {
    /// Counts a booking that was just made, and tells the journal when the limit is near. Nothing without a pseudonym, or when the
    /// clinic set no limit.
    pub async fn count_booking(&self, id: &str) -> Option<ActsOfYear> {
        let (consultation, _) = uncounted(self.journal.consultation(id).await)??;
        let acts = uncounted(acts_of_year(&*self.store, &consultation).await)??;
        if acts.warning.is_some() {
            let fact = Fact::ActsNearLimit { count: acts.count, limit: acts.limit };
            let entry = self.journal.entry(Some(&consultation.clinic), Some(id), None, &fact);
            self.journal.record(Vec::new(), vec![entry]);
        }
        Some(acts)
    }

    /// Counts for a room that was just opened; whoever comes into it does not wait for it.
    pub(super) fn count_for_room(&self, room: &Arc<Room>, consultation: &ConsultationRecord) {
        if consultation.patient.is_none() {
            return;
        }
        let (store, room, consultation) = (Arc::clone(&self.store), Arc::downgrade(room), consultation.clone());
        tokio::spawn(async move {
            let acts = uncounted(acts_of_year(&*store, &consultation).await).flatten();
            if let (Some(acts), Some(room)) = (acts, room.upgrade()) {
                room.lock().set_acts(acts);
            }
        });
    }
}

/// The acts of the patient of a stored consultation in its year, itself included.
async fn acts_of_year(store: &dyn Store, consultation: &ConsultationRecord) -> Result<Option<ActsOfYear>, StoreError> {
    let Some(patient) = &consultation.patient else { return Ok(None) };
    let clinic = store.clinic(&consultation.clinic).await?;
    let Some(limit) = clinic.and_then(|clinic| clinic.demands.acts_per_year) else { return Ok(None) };
    let (from, to) = clock::year_of(consultation.starts_at.unwrap_or(consultation.created_at));
    let count = store.acts_of_patient(&consultation.clinic, patient, from, to).await?;
    Ok(Some(ActsOfYear::new(count, limit)))
}

fn uncounted<T>(result: Result<T, StoreError>) -> Option<T> {
    result.inspect_err(|error| tracing::error!(%error, "the acts of a patient were not counted")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warning_comes_one_before_the_limit_and_stays() {
        let warnings: Vec<_> = (1..=7).map(|count| ActsOfYear::new(count, 5).warning).collect();
        let (near, last, past) = (Some(ActsWarning::Near), Some(ActsWarning::Last), Some(ActsWarning::Past));
        assert_eq!(warnings, [None, None, None, near, last, past, past]);
        assert_eq!(ActsOfYear::new(1, 1).warning, last);
        assert_eq!(ActsOfYear::new(1, 0).warning, past, "a limit of none is past at once");
    }
}
