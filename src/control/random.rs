//! Random identifiers and secrets, from the operating system's generator.
//!
//! Identifiers carry no meaning, so they may appear in logs. Secrets travel as `Pii`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore;
use rand::rngs::OsRng;

/// `N` random bytes. The operating system's generator does not fail once the machine is up.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).expect("the system has a random generator");
    bytes
}

/// `N` random bytes as text for URLs and JSON.
#[must_use]
pub fn text<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<N>())
}

/// `digits` decimal digits, each equally likely.
#[must_use]
pub fn digits(digits: usize) -> String {
    let mut out = String::with_capacity(digits);
    while out.len() < digits {
        // 250 is the largest multiple of ten below 256: bytes above it would favour small digits.
        let [byte] = bytes::<1>();
        if byte < 250 {
            out.push(char::from(b'0' + byte % 10));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_differ_and_fit_a_url() {
        let (a, b) = (text::<16>(), text::<16>());
        assert_ne!(a, b);
        assert_eq!(a.len(), 22);
        assert!(a.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_'));
    }

    #[test]
    fn digits_are_digits() {
        let pin = digits(200);
        assert_eq!(pin.len(), 200);
        assert!((b'0'..=b'9').all(|digit| pin.bytes().any(|c| c == digit)));
    }
}
