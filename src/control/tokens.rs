//! Links, sessions and tickets of this server: the store's signing keys around `signaling::token`.
//!
//! Not here: whether a good token was revoked since; callers compare its epoch with the seat's.

use colloque_signaling::token::{Claims, Key, Keyring, Purpose, SECRET_BYTES};

use crate::store::SigningKey;

use super::clock::unix_now;

/// Signs and verifies.
pub(super) struct Tokens(Keyring);

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
    /// `keys` newest first: the first one signs, the first two verify.
    pub(super) fn new(keys: &[SigningKey]) -> Result<Self, NoSigningKey> {
        let mut usable = keys.iter().filter_map(|key| {
            let secret: &[u8; SECRET_BYTES] = key.secret.0.as_slice().try_into().ok()?;
            // One byte names the key: only neighbours must differ.
            Some(Key::new((key.kid % 256) as u8, secret))
        });
        let current = usable.next().ok_or(NoSigningKey)?;
        Ok(Self(Keyring::new(current, usable.next())))
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
        self.0.sign(purpose, &claims).expect("our identifiers are neither empty nor longer than 64 bytes")
    }

    /// What a good token says.
    pub(super) fn verify(&self, purpose: Purpose, token: &str) -> Option<Claims> {
        self.0.verify(purpose, token, unix_now().max(0).unsigned_abs()).ok()
    }
}
