//! Links, sessions and resume tickets: signed claims that need no look-up to be told from forgeries.
//!
//! HMAC-SHA-256 over a small binary form, base64url. One purpose's token never passes for another's. Every failure is
//! the same error. Whether a token was revoked since is the caller's to check by [`Claims::epoch`]. No clock is read.
//!
//! ```text
//! version 1 | purpose 1 | key id 1 | expires 8 | epoch 4 | serial 8 | length 1, consultation | length 1, seat | tag 32
//! ```

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes of a key's secret.
pub const SECRET_BYTES: usize = 32;

/// Characters that a token may have; longer ones are refused unread.
pub const TOKEN_LEN_MAX: usize = 512;

/// What a token is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Purpose {
    /// In a seat's link, after `#`: exchanged by `POST /v1/join`, or used as it is by WHIP and WHEP.
    Link = 1,
    /// From `POST /v1/join`, for the WebSocket's `join`.
    Session = 2,
    /// From `welcome` and `resumed`, for coming back.
    Ticket = 3,
}

/// What a token says. Identifiers only, never a name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Claims {
    /// Consultation's public identifier, 1 to 64 bytes.
    pub consultation: String,
    /// Seat's public identifier, 1 to 64 bytes.
    pub seat: String,
    /// The seat's revocation counter when the token was signed: valid only while the seat's is still the same.
    pub epoch: u32,
    /// Which session or device, as the caller counts; 0 when it does not matter.
    pub serial: u64,
    /// Seconds since 1970 from which on it is refused.
    pub expires: u64,
}

/// The token is not acceptable. Why is not told: forged, expired, for another purpose and malformed look alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the token is not valid")]
pub struct TokenError;

/// A signing key and its one-byte name.
pub struct Key {
    kid: u8,
    key: hmac::Key,
}

impl Key {
    /// Takes a random secret.
    #[must_use]
    pub fn new(kid: u8, secret: &[u8; SECRET_BYTES]) -> Self {
        Self { kid, key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({}, ***)", self.kid)
    }
}

/// The key that signs, and the one before it, which still verifies until its tokens have expired.
#[derive(Debug)]
pub struct Keyring {
    current: Key,
    previous: Option<Key>,
}

impl Keyring {
    /// `previous` must have another key id.
    #[must_use]
    pub fn new(current: Key, previous: Option<Key>) -> Self {
        Self { current, previous }
    }

    /// Signs with the current key. Fails only when an identifier is empty or longer than 64 bytes.
    pub fn sign(&self, purpose: Purpose, claims: &Claims) -> Result<String, TokenError> {
        let mut bytes = vec![FORMAT, purpose as u8, self.current.kid];
        bytes.extend_from_slice(&claims.expires.to_be_bytes());
        bytes.extend_from_slice(&claims.epoch.to_be_bytes());
        bytes.extend_from_slice(&claims.serial.to_be_bytes());
        for name in [&claims.consultation, &claims.seat] {
            if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
                return Err(TokenError);
            }
            bytes.push(name.len() as u8);
            bytes.extend_from_slice(name.as_bytes());
        }
        let tag = hmac::sign(&self.current.key, &bytes);
        bytes.extend_from_slice(tag.as_ref());
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a token says, when it was signed here for this purpose and has not expired. `now` in seconds since 1970.
    pub fn verify(&self, purpose: Purpose, token: &str, now: u64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_LEN_MAX {
            return Err(TokenError);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError)?;
        let (signed, tag) = bytes.split_last_chunk::<TAG_BYTES>().ok_or(TokenError)?;
        let kid = *signed.get(2).ok_or(TokenError)?;
        let key = std::iter::once(&self.current).chain(&self.previous).find(|key| key.kid == kid).ok_or(TokenError)?;
        // Constant time; nothing of the content is believed before it.
        hmac::verify(&key.key, signed, tag).map_err(|_| TokenError)?;
        let claims = read(purpose, signed).ok_or(TokenError)?;
        if now < claims.expires { Ok(claims) } else { Err(TokenError) }
    }
}

fn read(purpose: Purpose, mut signed: &[u8]) -> Option<Claims> {
    let [format, kind, _kid] = take(&mut signed)?;
    if (format, kind) != (FORMAT, purpose as u8) {
        return None;
    }
    let expires = u64::from_be_bytes(take(&mut signed)?);
    let epoch = u32::from_be_bytes(take(&mut signed)?);
    let serial = u64::from_be_bytes(take(&mut signed)?);
    let (consultation, seat) = (name(&mut signed)?, name(&mut signed)?);
    signed.is_empty().then_some(Claims { consultation, seat, epoch, serial, expires })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

fn name(bytes: &mut &[u8]) -> Option<String> {
    let [len] = take(bytes)?;
    let (name, rest) = bytes.split_at_checked(usize::from(len))?;
    *bytes = rest;
    String::from_utf8(name.to_vec()).ok()
}

/// Changes when the layout does, so that old tokens are refused instead of misread.
const FORMAT: u8 = 1;

/// Of an identifier; keeps every token below [`TOKEN_LEN_MAX`].
const NAME_BYTES_MAX: usize = 64;

/// HMAC-SHA-256, untruncated.
const TAG_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn claims() -> Claims {
        Claims { consultation: "c1".into(), seat: "s".repeat(64), epoch: 7, serial: 9, expires: NOW + 60 }
    }

    fn ring(current: u8, previous: Option<u8>) -> Keyring {
        let key = |kid: u8| Key::new(kid, &[kid; SECRET_BYTES]);
        Keyring::new(key(current), previous.map(key))
    }

    #[test]
    fn returns_the_claims_until_they_expire() {
        let ring = ring(1, None);
        let token = ring.sign(Purpose::Session, &claims()).unwrap();
        assert!(token.len() <= TOKEN_LEN_MAX);
        assert_eq!(ring.verify(Purpose::Session, &token, NOW + 59), Ok(claims()));
        assert_eq!(ring.verify(Purpose::Session, &token, NOW + 60), Err(TokenError));
    }

    #[test]
    fn one_purpose_never_passes_for_another() {
        let ring = ring(1, None);
        let all = [Purpose::Link, Purpose::Session, Purpose::Ticket];
        for signed in all {
            let token = ring.sign(signed, &claims()).unwrap();
            for asked in all {
                assert_eq!(ring.verify(asked, &token, NOW).is_ok(), signed == asked);
            }
        }
    }

    #[test]
    fn the_previous_key_still_verifies_and_older_ones_do_not() {
        let token = ring(1, None).sign(Purpose::Link, &claims()).unwrap();
        assert!(ring(2, Some(1)).verify(Purpose::Link, &token, NOW).is_ok());
        assert!(ring(3, Some(2)).verify(Purpose::Link, &token, NOW).is_err());
        let same_name = Keyring::new(Key::new(1, &[9; SECRET_BYTES]), None);
        assert!(same_name.verify(Purpose::Link, &token, NOW).is_err());
    }

    #[test]
    fn every_single_bit_counts() {
        let ring = ring(1, None);
        let token = ring.sign(Purpose::Link, &claims()).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(ring.verify(Purpose::Link, &URL_SAFE_NO_PAD.encode(forged), NOW).is_err(), "bit {bit}");
        }
        for end in 0..token.len() {
            assert!(ring.verify(Purpose::Link, &token[..end], NOW).is_err());
        }
        assert!(ring.verify(Purpose::Link, &format!("{token}="), NOW).is_err());
        assert!(ring.verify(Purpose::Link, &"A".repeat(100_000), NOW).is_err());
    }

    #[test]
    fn refuses_identifiers_it_could_not_read_back() {
        let ring = ring(1, None);
        for seat in [String::new(), "s".repeat(65)] {
            assert_eq!(ring.sign(Purpose::Link, &Claims { seat, ..claims() }), Err(TokenError));
        }
    }

    #[test]
    fn prints_no_secret() {
        assert_eq!(format!("{:?}", Key::new(1, &[7; SECRET_BYTES])), "Key(1, ***)");
    }
}
