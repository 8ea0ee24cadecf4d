//! Links, sessions and tickets of this server: the store's signing keys around `signaling::token`, and how keys follow each other.
//!
//! ```text
//!   made ----------- signs -------------------- verifies ---------------- forgotten
//!        PUBLISHED          until the next one            until the one after
//! ```
//!
//! A new key verifies at once and signs a little later, when every process on the same store has read it. Not here: whether a
//! good token was revoked since; callers compare its epoch with the seat's.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use colloque_signaling::token::{Claims, Key, Keyring, Purpose, SECRET_BYTES};

use crate::pii::Pii;
use crate::store::{Change, SigningKey, Store, StoreError, Transaction};

use super::clock::unix_now;
use super::facts::Fact;
use super::{Consultations, journal, random};

/// Signs and verifies.
pub(super) struct Tokens(RwLock<Arc<Ring>>);

struct Ring {
    keyring: Keyring,
    /// As the store gave them, newest first.
    keys: Vec<SigningKey>,
}

/// Whom a token is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) consultation: &'a str,
    pub(super) seat: &'a str,
    pub(super) epoch: u32,
}

/// The store gave no usable signing key.
#[derive(Debug, thiserror::Error)]
#[error("the store has no usable signing key")]
pub struct NoSigningKey;

impl Tokens {
    /// `keys` newest first; only the first two count.
    pub(super) fn new(keys: Vec<SigningKey>) -> Result<Self, NoSigningKey> {
        Ok(Self(RwLock::new(Arc::new(Ring::new(keys, unix_now())?))))
    }

    /// Takes what the store has now; the same keys again let a new one begin to sign when its time has come.
    pub(super) fn replace(&self, keys: Vec<SigningKey>) -> Result<(), NoSigningKey> {
        let ring = Arc::new(Ring::new(keys, unix_now())?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ring;
        Ok(())
    }

    /// The keys in use, newest first.
    pub(super) fn keys(&self) -> Vec<SigningKey> {
        self.ring().keys.clone()
    }

    /// A token that is good until `expires` (Unix seconds).
    pub(super) fn sign(&self, purpose: Purpose, subject: Subject<'_>, serial: u64, expires: i64) -> String {
        let claims = Claims {
            consultation: subject.consultation.to_owned(),
            seat: subject.seat.to_owned(),
            epoch: subject.epoch,
            serial,
            expires: expires.max(0).unsigned_abs(),
        };
        self.ring().keyring.sign(purpose, &claims).expect("our identifiers are neither empty nor longer than 64 bytes")
    }

    /// What a good token says.
    pub(super) fn verify(&self, purpose: Purpose, token: &str) -> Option<Claims> {
        self.ring().keyring.verify(purpose, token, unix_now().max(0).unsigned_abs()).ok()
    }

    fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ring {
    fn new(keys: Vec<SigningKey>, now: i64) -> Result<Self, NoSigningKey> {
        let mut usable = keys.iter().filter_map(|key| {
            let secret: &[u8; SECRET_BYTES] = key.secret.0.as_slice().try_into().ok()?;
            // One byte names the key: only neighbours must differ.
            Some((Key::new((key.kid % 256) as u8, secret), key.created_at))
        });
        let (newest, made) = usable.next().ok_or(NoSigningKey)?;
        let before = usable.next().map(|(key, _)| key);
        let keyring = match before {
            Some(before) if made + PUBLISHED_SECONDS > now => Keyring::new(before, Some(newest)),
            before => Keyring::new(newest, before),
        };
        Ok(Self { keyring, keys })
    }
}

impl Consultations {
    /// Adds a key that will sign; done too when another process just did.
    pub async fn rotate_keys(&self) -> Result<(), StoreError> {
        let change = next_key(&self.store.signing_keys().await?);
        let entries = vec![self.journal.entry(None, None, None, &Fact::SigningKeyRotated {})];
        self.journal.commit(Transaction { changes: vec![change], entries }).await?;
        self.read_keys().await;
        Ok(())
    }

    /// Follows the store's keys for as long as the server runs, and adds one when the newest is old enough.
    pub async fn watch_keys(&self) {
        let mut every = tokio::time::interval(READ_EVERY);
        loop {
            every.tick().await;
            if is_due(&self.tokens.keys(), self.settings.signing_key_days, unix_now())
                && let Err(error) = self.rotate_keys().await
            {
                tracing::warn!(%error, "the signing key is old and cannot be replaced now");
            }
            self.read_keys().await;
        }
    }

    async fn read_keys(&self) {
        // While the store is down the known ones go on; a young one among them may have come of age.
        let keys = self.store.signing_keys().await.unwrap_or_default();
        let keys = if keys.is_empty() { self.tokens.keys() } else { keys };
        if let Err(error) = self.tokens.replace(keys) {
            tracing::error!(%error, "the keys in use are kept");
        }
    }
}

/// The store's keys; makes the first one on a new store.
pub(super) async fn first_keys(store: &dyn Store) -> Result<Vec<SigningKey>, StoreError> {
    let keys = store.signing_keys().await?;
    if !keys.is_empty() {
        return Ok(keys);
    }
    // Another process may be faster: then its key is the first.
    rotate(store).await?;
    store.signing_keys().await
}

/// Adds a key that signs from soon on; the one before keeps verifying, older ones do not. Done too when another process added one
/// at the same moment. Needs no running server: those that run read it within a minute.
pub async fn rotate(store: &dyn Store) -> Result<(), StoreError> {
    let changes = vec![next_key(&store.signing_keys().await?)];
    let entries = vec![journal::entry(None, None, None, &Fact::SigningKeyRotated {})];
    store.commit(Transaction { changes, entries }).await.map(drop)
}

/// Whether the newest key has signed for as long as it may.
fn is_due(keys: &[SigningKey], days: u32, now: i64) -> bool {
    keys.first().is_none_or(|newest| newest.created_at + i64::from(days) * 86_400 <= now)
}

fn next_key(keys: &[SigningKey]) -> Change {
    let kid = keys.first().map_or(1, |newest| newest.kid.wrapping_add(1));
    let secret = Pii(random::bytes::<SECRET_BYTES>().to_vec());
    Change::AddSigningKey(SigningKey { kid, secret, created_at: unix_now() })
}

/// Between two readings of the store's keys by a running server.
const READ_EVERY: Duration = Duration::from_secs(60);
/// A key signs when it is as old as this: every process has read it twice by then.
const PUBLISHED_SECONDS: i64 = 2 * READ_EVERY.as_secs() as i64;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn key(kid: u32, created_at: i64) -> SigningKey {
        SigningKey { kid, secret: Pii(vec![kid as u8; SECRET_BYTES]), created_at }
    }

    fn kid_of(ring: &Ring) -> u8 {
        use base64::Engine;
        let claims = Claims { consultation: "c".into(), seat: "s".into(), epoch: 0, serial: 0, expires: u64::MAX };
        let token = ring.keyring.sign(Purpose::Link, &claims).unwrap();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token).unwrap()[2]
    }

    #[test]
    fn a_new_key_signs_when_every_process_has_read_it() {
        let age = |seconds| Ring::new(vec![key(8, NOW - seconds), key(7, NOW - 1_000_000)], NOW).unwrap();
        assert_eq!(kid_of(&age(0)), 7);
        assert_eq!(kid_of(&age(PUBLISHED_SECONDS - 1)), 7);
        assert_eq!(kid_of(&age(PUBLISHED_SECONDS)), 8);
        assert_eq!(kid_of(&Ring::new(vec![key(1, NOW)], NOW).unwrap()), 1, "the only one signs at once");
    }

    #[test]
    fn tokens_survive_one_rotation_and_not_two() {
        let claims = Claims { consultation: "c".into(), seat: "s".into(), epoch: 0, serial: 0, expires: u64::MAX };
        let rings = [vec![key(1, 0)], vec![key(2, 0), key(1, 0)], vec![key(3, 0), key(2, 0)]];
        let [first, second, third] = rings.map(|keys| Ring::new(keys, NOW).unwrap());
        let token = first.keyring.sign(Purpose::Link, &claims).unwrap();
        assert!(second.keyring.verify(Purpose::Link, &token, 0).is_ok());
        assert!(third.keyring.verify(Purpose::Link, &token, 0).is_err());
    }

    #[test]
    fn a_key_is_due_after_its_days() {
        assert!(!is_due(&[key(1, NOW - 86_399), key(0, 0)], 1, NOW));
        assert!(is_due(&[key(1, NOW - 86_400)], 1, NOW));
        assert!(is_due(&[], 1, NOW));
    }

    #[test]
    fn a_damaged_key_is_passed_over() {
        let damaged = SigningKey { secret: Pii(vec![1; 5]), ..key(2, 0) };
        assert_eq!(kid_of(&Ring::new(vec![damaged.clone(), key(1, 0)], NOW).unwrap()), 1);
        assert!(Ring::new(vec![damaged], NOW).is_err());
    }
}
