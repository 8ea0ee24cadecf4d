//! Persistence behind one trait: clinics, consultations, seats, gates, the journal of what happened, deliveries.
//!
//! Knows nothing of media, sockets or HTTP. What the control plane understands (act, role, language, kinds of entries) travels
//! as the strings it gave: the store does not judge them. Running calls never wait for the store on the media path.
//!
//! ```text
//!   use case --Transaction: changes + entries--> commit --> all of it on the disk, or nothing
//!                                                 \--> each entry chained to the one before (audit)
//! ```
//!
//! Everything is written by [`Store::commit`]: what changed and what is told of it (feed, webhooks, record, audit) cannot
//! come apart. Entries are told once by their identifier, so that a transaction may be tried again.

pub mod audit;
mod changes;
mod database;
mod engine;
mod erasure;
mod head_key;
mod pin_key;
mod reader;
mod rows;
mod transaction;
pub mod verify;
mod writer;

#[cfg(test)]
#[macro_use]
pub(crate) mod testing;
#[cfg(test)]
mod down_tests;
#[cfg(test)]
mod erasure_tests;
#[cfg(test)]
mod tests;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::pii::Pii;

pub use database::{STORE_FILE_NAME, SqlStore};
pub use erasure::{ErasedList, LIST_FILE_NAME as ERASED_FILE_NAME};
pub use head_key::{HeadKey, KEY_FILE_NAME};
pub use reader::{JournalReader, ReadEntry};
pub use transaction::{Change, Committed, Entry, Erasure, LiveChange, Transaction};

/// What a store call gives back.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// The store could not do it. Never a caller's fault; the text names the operation and carries no stored value.
#[derive(Debug, thiserror::Error)]
#[error("store: {operation}: {cause}")]
pub struct StoreError {
    /// What was tried.
    pub operation: &'static str,
    /// The engine's kind of failure, without the values involved.
    pub cause: String,
}

/// A clinic: the owner of consultations.
#[derive(Clone, Debug)]
pub struct Clinic {
    /// Random identifier.
    pub id: String,
    /// As its administrator typed it.
    pub name: Pii<String>,
    /// What it demands.
    pub demands: ClinicDemands,
}

/// What a clinic demands of its consultations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClinicDemands {
    /// Professionals log in before they get media.
    pub login: bool,
    /// Professionals' seats are booked with a complete card where the act shows cards.
    pub cards: bool,
    /// Acts of one patient in one calendar year; the warning comes one before.
    pub acts_per_year: Option<u32>,
}

/// How an API key is kept: found by its prefix, proved by its hash.
#[derive(Clone, Debug)]
pub struct ApiKeyRecord {
    /// The first characters of the key, which are not secret.
    pub prefix: String,
    /// SHA-256 of the whole key.
    pub hash: Pii<[u8; 32]>,
    /// Whose key.
    pub clinic: String,
    /// What it may do, words separated by spaces.
    pub scopes: String,
}

/// An appointment.
#[derive(Clone, Debug)]
pub struct ConsultationRecord {
    /// Public identifier.
    pub id: String,
    /// Owner.
    pub clinic: String,
    /// Act's name.
    pub act: String,
    /// `fr` or `en`.
    pub language: String,
    /// `emergency` or nothing.
    pub priority: Option<String>,
    /// Planned begin, Unix seconds.
    pub starts_at: Option<i64>,
    /// Unix seconds.
    pub created_at: i64,
    /// Counts up with every booking. Given by the store: whatever a new record says is not kept.
    pub booking: i64,
    /// Unix seconds; set once, for good.
    pub ended_at: Option<i64>,
    /// Gates instead of the act's own, JSON.
    pub gates: Option<String>,
    /// The clinic's pseudonym for the patient.
    pub patient: Option<Pii<String>>,
    /// First characters of the patient's postal code, for usage figures.
    pub postal_prefix: Option<String>,
    /// The clinic's name for a row of consultations that one practitioner sees after each other.
    pub queue: Option<String>,
    /// Professionals log in before they get media.
    pub login: bool,
    /// Whoever is not in the room stays outside.
    pub locked: bool,
    /// End-to-end encryption: `off`, `preferred` or `required`.
    pub e2ee: String,
}

/// Whether a seat may pass the waiting room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// Must be admitted by a host.
    Waiting,
    /// Admitted by a host during the consultation.
    Admitted,
    /// Never waits: a host, a device, a regulation caller.
    Direct,
    /// Removed or revoked: its links no longer work.
    Refused,
    /// Its person refused a gate: its links no longer work.
    Declined,
}

impl Admission {
    /// Whether the waiting room lets the seat pass.
    #[must_use]
    pub fn is_admitted(self) -> bool {
        matches!(self, Admission::Admitted | Admission::Direct)
    }

    /// Whether the seat's links work.
    #[must_use]
    pub fn is_open(self) -> bool {
        !matches!(self, Admission::Refused | Admission::Declined)
    }
}

/// A person's place in a consultation.
#[derive(Clone, Debug)]
pub struct SeatRecord {
    /// Public identifier.
    pub id: String,
    /// Of which consultation.
    pub consultation: String,
    /// Role identifier.
    pub role: String,
    /// Name to show.
    pub display_name: Option<Pii<String>>,
    /// For invitations and the telephone.
    pub phone: Option<Pii<String>>,
    /// For invitations.
    pub email: Option<Pii<String>>,
    /// A professional's card, JSON.
    pub card: Option<Pii<String>>,
    /// For telephone dial-in: identifies the seat, not the room.
    pub pin: Pii<String>,
    /// Its person agreed to be called on `phone` when the connection fails.
    pub phone_consent: bool,
    /// Waiting room state.
    pub admission: Admission,
    /// The clinic vouches for it: no gates are asked.
    pub vouched: bool,
    /// Tokens of an older epoch are revoked.
    pub token_epoch: u32,
    /// The device it was opened on last, as the control plane digests it, and the opening.
    pub device: Option<[u8; 32]>,
    /// It was opened on another device than before, and not admitted since.
    pub other_device: bool,
    /// Gates passed, with their answers.
    pub gates: Vec<PassedGate>,
    /// The login of its professional.
    pub login: Option<Login>,
}

/// A gate that a seat has passed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PassedGate {
    /// `card:SEAT` (one a card), `consent`, `third_person`, `preference`.
    pub gate: String,
    /// Version of the consent text, `yes` or `no`, or empty.
    pub answer: String,
    /// Unix seconds.
    pub at: i64,
}

/// How a professional proved who they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Login {
    /// National number of health professionals.
    pub rpps: Option<Pii<String>>,
    /// Assurance level as the provider said it.
    pub level: String,
    /// Unix seconds.
    pub at: i64,
}

/// A key that signs links, sessions and tickets.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// Names the key inside a token. Counts up.
    pub kid: u32,
    /// 256 random bits.
    pub secret: Pii<Vec<u8>>,
    /// Unix seconds.
    pub created_at: i64,
}

/// Where a clinic wants its events.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Public identifier.
    pub id: String,
    /// Whose.
    pub clinic: String,
    /// `https://…`, or `http://` where the operator allows it.
    pub url: Pii<String>,
    /// Signs deliveries, 24 to 64 bytes.
    pub secret: Pii<Vec<u8>>,
    /// Unix seconds.
    pub created_at: i64,
    /// Everything up to this cursor was delivered, or given up.
    pub cursor: i64,
    /// Failures in a row.
    pub failures: u32,
    /// Not before, Unix seconds.
    pub retry_at: i64,
    /// Given up until the clinic sets it again.
    pub disabled: bool,
}

/// An invitation that waits to leave.
#[derive(Clone, Debug)]
pub struct OutgoingMessage {
    /// Random identifier; also the message's own (`Message-ID`), so that a second delivery can be recognised.
    pub id: String,
    /// Seat that is invited.
    pub seat: String,
    /// Consultation of the seat.
    pub consultation: String,
    /// Clinic of the consultation.
    pub clinic: String,
    /// `email` or `sms`.
    pub channel: String,
    /// Address or number.
    pub to: Pii<String>,
    /// What to say, JSON of the control plane; holds a link.
    pub body: Pii<String>,
    /// Failures so far.
    pub failures: u32,
    /// Not before, Unix seconds.
    pub retry_at: i64,
}

/// An entry of the journal with its place and its link in the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JournalEntry {
    /// Its place: counts up by one.
    pub cursor: i64,
    /// What was told.
    pub entry: Entry,
    /// SHA-256 over the hash before and the entry (`audit`).
    pub hash: [u8; 32],
}

/// Where the chain begins after old entries were removed, and where it ends; both signed by the server's key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChainMark {
    /// Cursor of the last entry before, or of the last entry.
    pub cursor: i64,
    /// Its hash.
    pub hash: [u8; 32],
    /// Ed25519 over `audit::mark_bytes`.
    pub signature: Vec<u8>,
}

/// What one call removed by its age.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pruned {
    /// Consultations with their seats.
    pub consultations: u32,
    /// Entries of the journal.
    pub entries: u32,
}

/// Consultations of one postal prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Usage {
    /// As the clinic gave it.
    pub postal_prefix: String,
    /// Which act.
    pub act: String,
    /// How many were held (somebody joined).
    pub consultations: u32,
}

/// A consultation with its seats in order of invitation.
pub type WithSeats = (ConsultationRecord, Vec<SeatRecord>);

/// Everything the control plane keeps. Each engine implements the same, and the same tests run against each.
pub trait Store: Send + Sync {
    /// Writes a transaction. Durable when its future resolves; it goes on when the caller gives up waiting. An empty one is a write too:
    /// it tells whether the store takes writes.
    fn commit(&self, transaction: Transaction) -> StoreFuture<'_, Committed>;

    /// A clinic.
    fn clinic(&self, id: &str) -> StoreFuture<'_, Option<Clinic>>;
    /// Every clinic, oldest first.
    fn clinics(&self) -> StoreFuture<'_, Vec<Clinic>>;
    /// The key with this prefix, unless it was revoked.
    fn api_key(&self, prefix: &str) -> StoreFuture<'_, Option<ApiKeyRecord>>;
    /// A clinic's keys that were not revoked.
    fn api_keys(&self, clinic: &str) -> StoreFuture<'_, Vec<ApiKeyRecord>>;
    /// A consultation with its seats.
    fn consultation(&self, id: &str) -> StoreFuture<'_, Option<WithSeats>>;
    /// Seats that have this PIN, in consultations that are not over; mostly one or none. Found by a keyed hash.
    fn seats_of_pin(&self, pin: &Pii<String>) -> StoreFuture<'_, Vec<(ConsultationRecord, SeatRecord)>>;
    /// One seat with its consultation.
    fn seat(&self, id: &str) -> StoreFuture<'_, Option<(ConsultationRecord, SeatRecord)>>;
    /// Consultations of a clinic's queue that are not over, by planned begin, then by when they were booked; at most 200.
    fn queue(&self, clinic: &str, queue: &str) -> StoreFuture<'_, Vec<WithSeats>>;
    /// How many consultations of a patient were held or booked from one instant to another (Unix seconds, by planned begin or, without
    /// one, by booking).
    fn acts_of_patient(&self, clinic: &str, patient: &Pii<String>, from: i64, to: i64) -> StoreFuture<'_, u32>;
    /// Consultations held in a span (Unix seconds of booking) by postal prefix and act.
    fn usage(&self, clinic: &str, from: i64, to: i64) -> StoreFuture<'_, Vec<Usage>>;
    /// The newest signing keys, newest first, at most two.
    fn signing_keys(&self) -> StoreFuture<'_, Vec<SigningKey>>;
    /// All webhooks, or a clinic's.
    fn webhooks(&self, clinic: Option<&str>) -> StoreFuture<'_, Vec<Webhook>>;
    /// Invitations that are due, oldest first.
    fn due_messages(&self, now: i64, len_max: u32) -> StoreFuture<'_, Vec<OutgoingMessage>>;

    /// Entries of the whole journal, or of a clinic, after a cursor, in order.
    fn entries_after(&self, clinic: Option<&str>, cursor: i64, len_max: u32) -> StoreFuture<'_, Vec<JournalEntry>>;
    /// Entries of a consultation, in order.
    fn entries_of(&self, consultation: &str) -> StoreFuture<'_, Vec<JournalEntry>>;
    /// What was told of clinics' minutes of telephone (`phone.charged`, `phone.minutes_used`) from an instant on (Unix milliseconds), in
    /// order.
    fn phone_minutes_since(&self, at: i64) -> StoreFuture<'_, Vec<Entry>>;
    /// Where the chain begins (nothing before the first pruning) and where it ends (nothing on a new store).
    fn chain_marks(&self) -> StoreFuture<'_, (Option<ChainMark>, Option<ChainMark>)>;

    /// Erases personal data beyond recovery from the store's files; gives the number of consultations. Entries stay: they name nobody.
    /// What was erased is remembered by identifier alone, so that a restored backup is erased again when it is opened. The entry is
    /// written, with the number as `consultations` in its data, when there was something to erase.
    fn erase(&self, erasure: Erasure, entry: Entry) -> StoreFuture<'_, u32>;
    /// Removes consultations that ended (or were booked and never held) before this instant, with their seats, and entries that are
    /// older; at most some thousands a call. Unix seconds. Gives what was removed; the entry is written, with the number of entries as
    /// `entries` in its data, when there were any.
    fn prune(&self, before: i64, entry: Entry) -> StoreFuture<'_, Pruned>;
    /// Writes a consistent copy while the store is in use. Not for PostgreSQL, which has its own tools.
    fn back_up(&self, to: &std::path::Path) -> StoreFuture<'_, ()>;
    /// Whether the store answers.
    fn ping(&self) -> StoreFuture<'_, ()>;
}
