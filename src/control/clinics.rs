//! Clinics, what they demand, and the API keys by which they are known.
//!
//! A key is shown once and kept as a hash. Its first characters, which are not secret, find it; the whole of it proves it. A
//! key that is unknown, wrong or revoked is refused in the same way after the same work. Not here: what a clinic does (`booking`).

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

use crate::pii::Pii;
use crate::store::{ApiKeyRecord, Change, Clinic, ClinicDemands, Committed, Entry, Store, StoreError, Transaction};

use super::facts::Fact;
use super::{Consultations, clock, journal, random};

/// A proved clinic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClinicId(pub String);

/// What an API key may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Book, invite, admit, remove, revoke, hand over, end.
    ConsultationsWrite,
    /// Read the state of consultations and queues.
    ConsultationsRead,
    /// Follow the event feed.
    EventsRead,
    /// Read legal records and figures of usage.
    RecordRead,
    /// Set and remove webhooks.
    WebhooksWrite,
    /// Erase personal data.
    Erase,
}

/// Every scope, in the order in which they are written.
pub const SCOPES: [Scope; 6] = [
    Scope::ConsultationsWrite,
    Scope::ConsultationsRead,
    Scope::EventsRead,
    Scope::RecordRead,
    Scope::WebhooksWrite,
    Scope::Erase,
];

impl Scope {
    /// As the store, the command line and the documentation write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scope::ConsultationsWrite => "consultations:write",
            Scope::ConsultationsRead => "consultations:read",
            Scope::EventsRead => "events:read",
            Scope::RecordRead => "record:read",
            Scope::WebhooksWrite => "webhooks:write",
            Scope::Erase => "erase",
        }
    }
}

/// A set of scopes; written as their names with spaces between.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Scopes(u8);

impl Scopes {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self(SCOPES.iter().fold(0, |all, &scope| all | bit(scope)))
    }

    /// Reads names separated by spaces or commas.
    ///
    /// # Errors
    /// When one of them is none of ours, or there is none.
    pub fn parse(text: &str) -> Result<Self, ClinicError> {
        let names = text.split([' ', ',']).filter(|name| !name.is_empty());
        let mut scopes = Self::default();
        for name in names {
            let scope = SCOPES.into_iter().find(|scope| scope.name() == name);
            scopes.0 |= bit(scope.ok_or(ClinicError::Invalid(UNKNOWN_SCOPE))?);
        }
        if scopes.0 == 0 { Err(ClinicError::Invalid(UNKNOWN_SCOPE)) } else { Ok(scopes) }
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn has(self, scope: Scope) -> bool {
        self.0 & bit(scope) != 0
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = SCOPES.into_iter().filter(|&scope| self.has(scope)).map(Scope::name).collect();
        f.write_str(&names.join(" "))
    }
}

fn bit(scope: Scope) -> u8 {
    1 << scope as u8
}

/// Why something about a clinic could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ClinicError {
    /// No, unknown, wrong or revoked API key: never told apart.
    #[error("the API key is missing or unknown")]
    ApiKey,
    /// A good key that may not do this.
    #[error("this API key has not the scope {}", .0.name())]
    Scope(Scope),
    /// What was asked for cannot be.
    #[error("{0}")]
    Invalid(&'static str),
    /// No such clinic, or no such key of it.
    #[error("no such clinic or key")]
    NotFound,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Creates a clinic and gives its first API key, which is shown only once. Needs no running server, as all of the following.
pub async fn add_clinic(
    store: &dyn Store,
    name: Pii<String>,
    demands: ClinicDemands,
) -> Result<(ClinicId, Pii<String>), ClinicError> {
    if name.0.trim().is_empty() || name.0.len() > NAME_LEN_MAX || name.0.chars().any(char::is_control) {
        return Err(ClinicError::Invalid("the clinic's name must have 1 to 200 bytes and no control characters"));
    }
    check_demands(demands)?;
    let clinic = ClinicId(random::text::<12>());
    let (key, added) = new_key(&clinic, Scopes::all());
    let changes = vec![Change::AddClinic(Clinic { id: clinic.0.clone(), name, demands }), added];
    let entries = vec![entry(&clinic, &Fact::ApiKeyCreated { scopes: Scopes::all().to_string() })];
    store.commit(Transaction { changes, entries }).await?;
    Ok((clinic, key))
}

/// Gives a clinic one more API key, which is shown only once.
pub async fn add_key(store: &dyn Store, clinic: &ClinicId, scopes: Scopes) -> Result<Pii<String>, ClinicError> {
    store.clinic(&clinic.0).await?.ok_or(ClinicError::NotFound)?;
    if store.api_keys(&clinic.0).await?.len() >= KEYS_MAX {
        return Err(ClinicError::Invalid("the clinic has 100 keys: revoke those that nobody uses"));
    }
    let (key, added) = new_key(clinic, scopes);
    let entries = vec![entry(clinic, &Fact::ApiKeyCreated { scopes: scopes.to_string() })];
    store.commit(Transaction { changes: vec![added], entries }).await?;
    Ok(key)
}

/// Revokes a key by its prefix: refused from the next call on, by servers that run too.
pub async fn revoke_key(store: &dyn Store, clinic: &ClinicId, prefix: &str) -> Result<(), ClinicError> {
    let change = Change::RevokeApiKey { clinic: clinic.0.clone(), prefix: prefix.to_owned() };
    let entries = vec![entry(clinic, &Fact::ApiKeyRevoked {})];
    match store.commit(Transaction { changes: vec![change], entries }).await? {
        Committed::Done => Ok(()),
        Committed::NotApplicable => Err(ClinicError::NotFound),
    }
}

/// Changes what a clinic demands; of bookings and seats that come after.
pub async fn set_demands(store: &dyn Store, clinic: &ClinicId, demands: ClinicDemands) -> Result<(), ClinicError> {
    check_demands(demands)?;
    let change = Change::SetDemands { clinic: clinic.0.clone(), demands };
    match store.commit(Transaction { changes: vec![change], entries: Vec::new() }).await? {
        Committed::Done => Ok(()),
        Committed::NotApplicable => Err(ClinicError::NotFound),
    }
}

impl Consultations {
    /// Creates a clinic and gives its API key, which is shown only once.
    pub async fn add_clinic(&self, name: Pii<String>) -> Result<(ClinicId, Pii<String>), ClinicError> {
        add_clinic(&*self.store, name, ClinicDemands::default()).await
    }

    /// Whose API key this is, when it may do what is asked.
    pub async fn authorize(&self, key: &str, scope: Scope) -> Result<ClinicId, ClinicError> {
        let proved = self.prove_key(key).await;
        if matches!(proved, Err(ClinicError::ApiKey)) {
            self.metrics.count_refused_credential("api_key");
        }
        let (clinic, scopes) = proved?;
        if scopes.has(scope) { Ok(clinic) } else { Err(ClinicError::Scope(scope)) }
    }

    /// Reads one record and compares one hash whatever came in.
    async fn prove_key(&self, key: &str) -> Result<(ClinicId, Scopes), ClinicError> {
        let readable = key.len() <= KEY_LEN_MAX && key.is_ascii();
        let key = if readable { key } else { "" };
        let prefix = key.get(..PREFIX_LEN).unwrap_or(NO_PREFIX);
        let found = self.store.api_key(prefix).await?;
        let hash = found.as_ref().map_or([0; 32], |record| record.hash.0);
        let genuine = verify_slices_are_equal(&hash, &sha256(key.as_bytes())).is_ok();
        match found {
            Some(record) if genuine => {
                // Scopes that a newer version knows are nothing to this one.
                let names = record.scopes.split(' ').filter(|name| SCOPES.iter().any(|scope| scope.name() == *name));
                let scopes = Scopes::parse(&names.collect::<Vec<_>>().join(" ")).unwrap_or_default();
                Ok((ClinicId(record.clinic), scopes))
            }
            _ => Err(ClinicError::ApiKey),
        }
    }
}

fn check_demands(demands: ClinicDemands) -> Result<(), ClinicError> {
    match demands.acts_per_year {
        Some(limit) if !(1..=ACTS_PER_YEAR_MAX).contains(&limit) => {
            Err(ClinicError::Invalid("the yearly number of acts must be 1 to 1000"))
        }
        _ => Ok(()),
    }
}

fn new_key(clinic: &ClinicId, scopes: Scopes) -> (Pii<String>, Change) {
    let key = format!("{MARK}{}{}", random::text::<6>(), random::text::<32>());
    let record = ApiKeyRecord {
        prefix: key[..PREFIX_LEN].to_owned(),
        hash: Pii(sha256(key.as_bytes())),
        clinic: clinic.0.clone(),
        scopes: scopes.to_string(),
    };
    (Pii(key), Change::AddApiKey(record, clock::unix_now()))
}

fn entry(clinic: &ClinicId, fact: &Fact) -> Entry {
    journal::entry(Some(&clinic.0), None, None, fact)
}

/// Of a key, or a device's identifier: what is looked up without being kept.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// Lets secret scanners recognise a key.
const MARK: &str = "ck_";
/// The mark and 48 random bits.
const PREFIX_LEN: usize = 11;
/// Finds nothing: no key begins so.
const NO_PREFIX: &str = "-";
/// Ours have 54.
const KEY_LEN_MAX: usize = 200;
/// Of a clinic's name; the roster never shows it.
const NAME_LEN_MAX: usize = 200;
/// Of one clinic. A few for each system that is connected; more is a leak in somebody's script.
const KEYS_MAX: usize = 100;
/// More than three a day is no limit any more.
const ACTS_PER_YEAR_MAX: u32 = 1_000;
const UNKNOWN_SCOPE: &str =
    "scopes are consultations:write, consultations:read, events:read, record:read, webhooks:write and erase";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written() {
        assert_eq!(Scopes::parse(&Scopes::all().to_string()).unwrap(), Scopes::all());
        let some = Scopes::parse("erase,events:read").unwrap();
        assert_eq!(some.to_string(), "events:read erase");
        assert!(some.has(Scope::Erase) && !some.has(Scope::ConsultationsWrite));
        for bad in ["", " ", "admin", "events:read events:write", "EVENTS:READ"] {
            assert!(Scopes::parse(bad).is_err(), "{bad}");
        }
        assert!(SCOPES.iter().all(|scope| UNKNOWN_SCOPE.contains(scope.name())));
    }
}
