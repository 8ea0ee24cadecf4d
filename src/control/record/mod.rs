//! The legal record of a consultation (CSP R.6316-4), and what proves it: who took part, how it was proved who they are, how long
//! by which mode, what went wrong and why, which gates were passed.
//!
//! ```text
//!   journal's entries --+--> timeline (times by mode) --+--> document (JSON) --> encounter (FHIR)
//!   seats as booked ----+    runs (server down) --------+         \--> statement (no names) --> signed
//! ```
//!
//! Everything here is pure but the question to the store below and the file of `runs`. docs/record.md is for clinics.

pub mod document;
pub mod encounter;
pub mod events;
pub mod runs;
pub mod statement;
pub mod timeline;

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::pii::Pii;
use crate::store::{HeadKey, StoreError};

use super::booking::{BookingError, ClinicId};
use super::{Consultations, clock};

use document::{Origins, RecordDocument};
use runs::Runs;
use statement::{Jwks, PublicKey};

/// What proves a record: the key that signs it, and when the server was there to see.
#[derive(Clone)]
pub struct Witness {
    /// Signs statements. The same key signs the ends of the journal's chain.
    pub key: Arc<HeadKey>,
    /// When the server ran.
    pub runs: Arc<Runs>,
}

/// The proofs cannot be kept in the data directory.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The key.
    #[error(transparent)]
    Key(#[from] StoreError),
    /// The note of when the server ran.
    #[error("cannot keep the file `runs` in the data directory: {0}")]
    Runs(#[from] std::io::Error),
}

impl Witness {
    /// Reads or makes the key, and notes that a run begins.
    pub fn begin(data_dir: &Path) -> Result<Self, WitnessError> {
        let runs = Runs::begin(data_dir, clock::unix_now_millis())?;
        Ok(Self { key: Arc::new(HeadKey::open(data_dir)?), runs: Arc::new(runs) })
    }

    /// Notes that the server is alive.
    pub fn beat(&self) -> std::io::Result<()> {
        self.runs.beat(clock::unix_now_millis())
    }
}

impl Consultations {
    /// The record of a clinic's consultation, finished or not.
    pub async fn record(&self, clinic: &ClinicId, id: &str) -> Result<RecordDocument, BookingError> {
        let (consultation, seats) = self.own(clinic, id).await?;
        // What running rooms told a moment ago belongs to it.
        self.journal.flush().await;
        let entries = self.store.entries_of(id).await?;
        let origins = Origins {
            issuer: &self.settings.base_url,
            consultation: &consultation,
            act: self.settings.acts.of_stored(&consultation.act),
            seats: &seats,
            entries: &entries,
            stops: &self.witness.runs.stops(),
            now: clock::unix_now_millis(),
        };
        Ok(RecordDocument::tell(origins, |statement| statement.sign(&self.witness.key)))
    }

    /// The same as a FHIR R4 `Encounter`.
    pub async fn record_as_fhir(&self, clinic: &ClinicId, id: &str) -> Result<Value, BookingError> {
        let record = self.record(clinic, id).await?;
        let name = self.store.clinic(&clinic.0).await?.map_or(Pii(String::new()), |clinic| clinic.name);
        Ok(encounter::encounter(&record, &name))
    }

    /// With which statements are signed.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.witness.key.public_key())
    }

    /// The same as a JSON Web Key Set.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        Jwks { keys: vec![self.public_key().to_jwk()] }
    }
}
