//! Persistence behind one trait: clinics, consultations, seats, admission, token epochs, signing keys.
//!
//! Knows nothing of media, sockets or HTTP. Every write is durable when its future resolves. Running calls never
//! wait for the store on the media path; losing it stops only what needs a new fact from it. Values that the control
//! plane understands (act, role, language) travel as the strings it gave: the store does not judge them.

mod sqlite;
mod writer;

use futures_util::future::BoxFuture;

use crate::pii::Pii;

pub use sqlite::SqliteStore;

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
}

/// An appointment.
#[derive(Clone, Debug)]
pub struct ConsultationRecord {
    /// Public identifier.
    pub id: String,
    /// Owner.
    pub clinic: String,
    /// One of the five acts' names.
    pub act: String,
    /// `fr` or `en`.
    pub language: String,
    /// `emergency` or nothing.
    pub priority: Option<String>,
    /// Planned begin, Unix seconds.
    pub starts_at: Option<i64>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds; set once, for good.
    pub ended_at: Option<i64>,
}

/// Whether a seat may pass the waiting room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Must be admitted by a host.
    Waiting,
    /// Admitted by a host during the consultation.
    Admitted,
    /// Never waits: a host, a device, a regulation caller.
    Direct,
    /// Removed or revoked: its links no longer work.
    Refused,
}

impl Admission {
    /// Whether the seat may open media.
    #[must_use]
    pub fn is_admitted(self) -> bool {
        matches!(self, Admission::Admitted | Admission::Direct)
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
    /// For telephone dial-in: identifies the seat, not the room.
    pub pin: Pii<String>,
    /// Waiting room state.
    pub admission: Admission,
    /// Tokens of an older epoch are revoked.
    pub token_epoch: u32,
    /// SHA-256 of the first device's identifier.
    pub device: Option<[u8; 32]>,
}

/// A key that signs links, sessions and tickets.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// Names the key inside a token.
    pub kid: u32,
    /// 256 random bits.
    pub secret: Pii<Vec<u8>>,
}

/// Everything the control plane keeps. Later engines implement the same.
pub trait Store: Send + Sync {
    /// Adds a clinic with its first API key.
    fn add_clinic(&self, clinic: Clinic, key: ApiKeyRecord, now: i64) -> StoreFuture<'_, ()>;
    /// The key with this prefix.
    fn api_key(&self, prefix: &str) -> StoreFuture<'_, Option<ApiKeyRecord>>;
    /// Adds a consultation with its seats, all or nothing.
    fn create_consultation(&self, consultation: ConsultationRecord, seats: Vec<SeatRecord>) -> StoreFuture<'_, ()>;
    /// A consultation with its seats in order of invitation.
    fn consultation(&self, id: &str) -> StoreFuture<'_, Option<(ConsultationRecord, Vec<SeatRecord>)>>;
    /// Marks a consultation as over; false when it was already, or does not exist.
    fn end_consultation(&self, id: &str, now: i64) -> StoreFuture<'_, bool>;
    /// Adds a seat to a consultation that is not over; false when it is, or does not exist.
    fn add_seat(&self, seat: SeatRecord) -> StoreFuture<'_, bool>;
    /// One seat with its consultation.
    fn seat(&self, id: &str) -> StoreFuture<'_, Option<(ConsultationRecord, SeatRecord)>>;
    /// Sets the waiting room state of a seat.
    fn set_admission(&self, seat: &str, admission: Admission) -> StoreFuture<'_, ()>;
    /// Raises the token epoch, so that every token given out so far is refused. Gives the new epoch.
    fn raise_token_epoch(&self, seat: &str) -> StoreFuture<'_, u32>;
    /// Remembers the device a seat was first opened on, or replaces it.
    fn set_device(&self, seat: &str, device: [u8; 32]) -> StoreFuture<'_, ()>;
    /// All signing keys, newest first. Makes the first one from `fresh` when there is none.
    fn signing_keys(&self, fresh: [u8; 32], now: i64) -> StoreFuture<'_, Vec<SigningKey>>;
    /// Whether the store answers.
    fn ping(&self) -> StoreFuture<'_, ()>;
}
