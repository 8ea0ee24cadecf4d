//! What is written to the store in one go: changes, and the entries of the journal that tell of them.
//!
//! Not here: how it gets there (`writer`), and what is read back.

use serde::{Deserialize, Serialize};

use crate::pii::Pii;

use super::{
    Admission, ApiKeyRecord, Clinic, ClinicDemands, ConsultationRecord, Login, OutgoingMessage, PassedGate, SeatRecord,
    SigningKey, Webhook,
};

/// What is told of a change: one line of the journal. Holds no personal data.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Random identifier; a second entry with the same one is not written.
    pub id: String,
    /// Unix milliseconds.
    pub at: i64,
    /// Whom it concerns; nobody for the server's own.
    pub clinic: Option<String>,
    /// Which consultation.
    pub consultation: Option<String>,
    /// Which seat.
    pub seat: Option<String>,
    /// What: `seat.joined`.
    pub kind: String,
    /// JSON object.
    pub data: String,
}

/// A change of a running consultation. Names nobody, so that it may wait on the disk while the store is down. Applied to what
/// is gone meanwhile, it does nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum LiveChange {
    /// Sets the waiting room state of a seat.
    SetAdmission {
        /// Which.
        seat: String,
        /// State; `Admitted` lifts `other_device` too.
        admission: Admission,
    },
    /// Remembers the device a seat was opened on.
    SetDevice {
        /// Which.
        seat: String,
        /// As in [`SeatRecord::device`].
        device: [u8; 32],
        /// Another one than before.
        other: bool,
    },
    /// Remembers a gate; a second answer replaces the first.
    PassGate {
        /// Which seat.
        seat: String,
        /// Which gate.
        passed: PassedGate,
    },
    /// Forgets a gate: consent was withdrawn.
    ForgetGate {
        /// Which seat.
        seat: String,
        /// Which gate.
        gate: String,
    },
    /// Locks or unlocks.
    SetLocked {
        /// Which consultation.
        consultation: String,
        /// True to lock.
        locked: bool,
    },
    /// Raises the token epoch to this value, so that every token given out before is refused.
    SetEpoch {
        /// Which seat.
        seat: String,
        /// New epoch; a lower one does nothing.
        epoch: u32,
    },
    /// Marks a consultation as over; an earlier end stays.
    End {
        /// Which.
        consultation: String,
        /// Unix seconds.
        at: i64,
    },
}

/// Any change.
#[derive(Clone, Debug)]
pub enum Change {
    /// Of a running consultation.
    Live(LiveChange),
    /// Adds a clinic.
    AddClinic(Clinic),
    /// Sets what a clinic demands; not applicable when there is no such clinic.
    SetDemands {
        /// Whose.
        clinic: String,
        /// All of them.
        demands: ClinicDemands,
    },
    /// Adds an API key.
    AddApiKey(ApiKeyRecord, i64),
    /// Revokes an API key; not applicable when the clinic has none of this prefix.
    RevokeApiKey {
        /// Whose.
        clinic: String,
        /// Which.
        prefix: String,
    },
    /// Books a consultation with its seats.
    CreateConsultation(Box<ConsultationRecord>, Vec<SeatRecord>),
    /// Adds a seat; not applicable when the consultation is over or gone, or has as many open seats of the role, or of all roles.
    AddSeat {
        /// The new seat.
        seat: Box<SeatRecord>,
        /// Open seats of its role at the same time, this one included.
        of_role_max: u32,
        /// Open seats of all roles.
        seats_max: u32,
    },
    /// Ends a consultation; not applicable when it is over already.
    EndConsultation {
        /// Which.
        consultation: String,
        /// Unix seconds.
        at: i64,
    },
    /// Remembers a professional's login.
    SetLogin {
        /// Which seat.
        seat: String,
        /// How.
        login: Login,
    },
    /// Adds a signing key. Not applicable when one with this `kid` exists: another process was faster.
    AddSigningKey(SigningKey),
    /// Adds a webhook, or replaces the one with the same id.
    SetWebhook(Webhook),
    /// Removes a webhook; not applicable when the clinic has none of this id.
    RemoveWebhook {
        /// Whose.
        clinic: String,
        /// Which.
        id: String,
    },
    /// Where a webhook is now; nothing when it was removed meanwhile.
    MoveWebhook {
        /// Which.
        id: String,
        /// Delivered up to here.
        cursor: i64,
        /// Failures in a row.
        failures: u32,
        /// Not before, Unix seconds.
        retry_at: i64,
        /// Given up.
        disabled: bool,
    },
    /// Puts an invitation into the outbox.
    AddMessage(OutgoingMessage),
    /// An invitation failed: later again.
    DelayMessage {
        /// Which.
        id: String,
        /// Failures so far.
        failures: u32,
        /// Not before, Unix seconds.
        retry_at: i64,
    },
    /// An invitation left, or never will: address and text are forgotten.
    RemoveMessage {
        /// Which.
        id: String,
    },
}

/// Changes and what is told of them: all or nothing.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// In order.
    pub changes: Vec<Change>,
    /// In order.
    pub entries: Vec<Entry>,
}

/// Whether a transaction was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Committed {
    /// On the disk.
    Done,
    /// One of its changes was not applicable: nothing was written.
    NotApplicable,
}

/// Whose data is erased.
#[derive(Clone, Debug)]
pub enum Erasure {
    /// One consultation with its seats.
    Consultation {
        /// Whose.
        clinic: String,
        /// Which.
        consultation: String,
    },
    /// Every consultation of a patient, by the clinic's pseudonym.
    Patient {
        /// Whose.
        clinic: String,
        /// Pseudonym.
        patient: Pii<String>,
    },
}
