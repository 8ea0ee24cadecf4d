//! Signatures of Standard Webhooks 1.0: HMAC-SHA256 over `id.timestamp.body`, one for each secret in force.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>. The stored form of a
//! webhook's secrets is one or two of 32 bytes each, the newest first: after a rotation the former one signs too, until the
//! next rotation, so that a receiver can change over without missing a delivery. That is no risk: a receiver that has
//! forgotten a secret does not care who still signs with it.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::control::random;
use crate::pii::Pii;

/// What signs the deliveries of a webhook.
#[derive(Clone)]
pub struct Secrets(Vec<[u8; SECRET_BYTES]>);

impl Secrets {
    /// A first one.
    #[must_use]
    pub fn new() -> Self {
        Self(vec![random::bytes()])
    }

    /// Reads the stored form; nothing when it is none of ours.
    #[must_use]
    pub fn from_stored(stored: &Pii<Vec<u8>>) -> Option<Self> {
        let (secrets, rest) = stored.0.as_chunks::<SECRET_BYTES>();
        (rest.is_empty() && (1..=SECRETS_MAX).contains(&secrets.len())).then(|| Self(secrets.to_vec()))
    }

    /// The stored form.
    #[must_use]
    pub fn to_stored(&self) -> Pii<Vec<u8>> {
        Pii(self.0.concat())
    }

    /// With a new one; the former signs beside it, an older one no longer.
    #[must_use]
    pub fn rotated(self) -> Self {
        Self([random::bytes()].into_iter().chain(self.0).take(SECRETS_MAX).collect())
    }

    /// The newest as clinics write it into their receiver.
    #[must_use]
    pub fn newest(&self) -> Pii<String> {
        Pii(format!("whsec_{}", STANDARD.encode(self.0[0])))
    }

    /// Value of the header `webhook-signature`.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signature = |secret: &[u8; SECRET_BYTES]| {
            let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
            context.update(format!("{id}.{timestamp}.").as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign().as_ref()))
        };
        self.0.iter().map(signature).collect::<Vec<_>>().join(" ")
    }
}

impl Default for Secrets {
    fn default() -> Self {
        Self::new()
    }
}

/// 256 random bits; the specification asks for 24 to 64 bytes.
const SECRET_BYTES: usize = 32;
/// One, and the one before.
const SECRETS_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's hmac module: `hmac.new(bytes(range(32)), b'msg_1.1700000000.{"a":1}', 'sha256')`.
    const KNOWN: &str = "v1,AMaOha7DUT/0J0JMycRuYOBSvbx3WtwLd2khXXbaVj4=";

    fn known() -> Secrets {
        Secrets::from_stored(&Pii((0..32).collect())).unwrap()
    }

    #[test]
    fn a_known_delivery_has_its_known_signature() {
        assert_eq!(known().sign("msg_1", 1_700_000_000, br#"{"a":1}"#), KNOWN);
        assert_eq!(known().newest().0, "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    }

    #[test]
    fn after_a_rotation_the_former_secret_signs_too_and_then_no_longer() {
        let second = known().rotated();
        let signed = second.sign("msg_1", 1_700_000_000, br#"{"a":1}"#);
        assert_eq!(signed.split(' ').count(), 2);
        assert!(!signed.starts_with(KNOWN) && signed.ends_with(KNOWN), "{signed}");
        let stored = Secrets::from_stored(&second.to_stored()).unwrap();
        assert_eq!(stored.newest(), second.newest());
        let third = second.rotated().sign("msg_1", 1_700_000_000, br#"{"a":1}"#);
        assert!(third.split(' ').count() == 2 && !third.contains(KNOWN), "{third}");
    }

    #[test]
    fn a_stored_secret_of_another_size_is_refused() {
        for len in [0, 31, 33, 65, 96] {
            assert!(Secrets::from_stored(&Pii(vec![0; len])).is_none(), "{len}");
        }
    }
}
