//! Links, sessions and resume tickets: signed claims that need no look-up to be told from forgeries.
//!
//! HMAC-SHA-256 over a small binary form, base64url. One purpose's token never passes for another's. Every failure is
//! the same error and costs the same work: whatever comes in, as many bytes are authenticated. Whether a token was revoked
//! since is the caller's to check by [`Claims::epoch`]. No clock is read.
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

/// The key that signs, and one more that verifies: the one before it until its tokens have expired, or the next one until
/// every process knows it.
#[derive(Debug)]
pub struct Keyring {
    signing: Key,
    other: Option<Key>,
}

impl Keyring {
    /// `other` must have another key id.
    #[must_use]
    pub fn new(signing: Key, other: Option<Key>) -> Self {
        Self { signing, other }
    }

    /// Signs with the signing key. Fails only when an identifier is empty or longer than 64 bytes.
    pub fn sign(&self, purpose: Purpose, claims: &Claims) -> Result<String, TokenError> {
        let mut bytes = vec![FORMAT, purpose as u8, self.signing.kid];
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
        let tag = hmac::sign(&self.signing.key, &bytes);
        bytes.extend_from_slice(tag.as_ref());
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What a token says, when it was signed here for this purpose and has not expired. `now` in seconds since 1970.
    pub fn verify(&self, purpose: Purpose, token: &str, now: u64) -> Result<Claims, TokenError> {
        let mut buffer = [0; BYTES_MAX];
        // What cannot be read is authenticated all the same, as zeros, and found wrong: no answer comes earlier than another's.
        let len =
            if token.len() <= TOKEN_LEN_MAX { URL_SAFE_NO_PAD.decode_slice(token, &mut buffer).ok() } else { None };
        let bytes = &buffer[..len.unwrap_or(BYTES_MAX)];
        let (signed, tag) = bytes.split_last_chunk::<TAG_BYTES>().unwrap_or((&[], &[0; TAG_BYTES]));
        let kid = signed.get(2).copied();
        let key = std::iter::once(&self.signing).chain(&self.other).find(|key| Some(key.kid) == kid);
        // Constant time; nothing of the content is believed before it.
        let genuine = hmac::verify(&key.unwrap_or(&self.signing).key, signed, tag).is_ok();
        let claims = read(purpose, signed).filter(|claims| now < claims.expires);
        if genuine && key.is_some() && len.is_some() { claims.ok_or(TokenError) } else { Err(TokenError) }
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

/// Of the longest token that is read, decoded.
const BYTES_MAX: usize = TOKEN_LEN_MAX / 4 * 3;

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
    fn the_next_key_verifies_before_it_signs() {
        let key = |kid: u8| Key::new(kid, &[kid; SECRET_BYTES]);
        let elsewhere = Keyring::new(key(2), Some(key(1))).sign(Purpose::Link, &claims()).unwrap();
        assert!(Keyring::new(key(1), Some(key(2))).verify(Purpose::Link, &elsewhere, NOW).is_ok());
    }

    #[test]
    fn every_single_bit_counts() {
        let ring = ring(2, Some(1));
        for purpose in [Purpose::Link, Purpose::Session, Purpose::Ticket] {
            let token = ring.sign(purpose, &claims()).unwrap();
            let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut forged = bytes.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                assert!(ring.verify(purpose, &URL_SAFE_NO_PAD.encode(forged), NOW).is_err(), "bit {bit}");
            }
            for end in 0..token.len() {
                assert!(ring.verify(purpose, &token[..end], NOW).is_err());
            }
        }
    }

    #[test]
    fn a_token_has_one_spelling() {
        let ring = ring(1, None);
        // Lengths of one, two and three bytes modulo three: with and without bits that carry nothing.
        for seat in ["s", "ss", "sss"] {
            let token = ring.sign(Purpose::Link, &Claims { seat: seat.into(), ..claims() }).unwrap();
            assert!(ring.verify(Purpose::Link, &token, NOW).is_ok());
            let (head, last) = token.split_at(token.len() - 1);
            let alphabet =
                ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_', '+', '/', '=', '\n', ' ', 'é']);
            for other in alphabet.filter(|&c| !last.starts_with(c)) {
                assert!(ring.verify(Purpose::Link, &format!("{head}{other}"), NOW).is_err(), "{other:?}");
            }
            for extended in ["=", "==", "A", "AA", "\0", "\n", " ", ".", "."] {
                assert!(ring.verify(Purpose::Link, &format!("{token}{extended}"), NOW).is_err(), "{extended:?}");
                assert!(ring.verify(Purpose::Link, &format!("{extended}{token}"), NOW).is_err(), "{extended:?}");
            }
            let standard = token.replace('-', "+").replace('_', "/");
            assert!(standard == token || ring.verify(Purpose::Link, &standard, NOW).is_err());
        }
        assert!(ring.verify(Purpose::Link, &"A".repeat(TOKEN_LEN_MAX), NOW).is_err());
        assert!(ring.verify(Purpose::Link, &"A".repeat(100_000), NOW).is_err());
    }

    #[test]
    fn a_tag_of_another_key_purpose_or_content_is_worth_nothing() {
        let ring = ring(1, None);
        let token = URL_SAFE_NO_PAD.decode(ring.sign(Purpose::Link, &claims()).unwrap()).unwrap();
        let (signed, tag) = token.split_last_chunk::<TAG_BYTES>().unwrap();
        let assembled = |signed: &[u8], key: &hmac::Key| {
            let tag = hmac::sign(key, signed);
            URL_SAFE_NO_PAD.encode([signed, tag.as_ref()].concat())
        };
        // Keys that an outsider can know: none, the tag of a token, the token's own text.
        for secret in [&[][..], &[0; SECRET_BYTES], tag, &token] {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            assert!(ring.verify(Purpose::Link, &assembled(signed, &key), NOW).is_err());
        }
        // Signed by the right key, in a form that is not ours: a name too long, bytes left over, another format.
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[1; SECRET_BYTES]);
        assert!(ring.verify(Purpose::Link, &assembled(signed, &key), NOW).is_ok(), "the forger's method is right");
        for change in
            [|b: &mut Vec<u8>| b.push(0), |b: &mut Vec<u8>| b[0] = 2, |b: &mut Vec<u8>| b[23] = 255, Vec::clear]
        {
            let mut changed = signed.to_vec();
            change(&mut changed);
            assert!(ring.verify(Purpose::Link, &assembled(&changed, &key), NOW).is_err());
        }
    }

    #[test]
    fn tokens_of_another_kind_are_not_tokens() {
        let ring = ring(1, None);
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let payload = encoded(r#"{"consultation":"c1","seat":"s","exp":9999999999}"#);
        for header in [r#"{"alg":"none"}"#, r#"{"alg":"None","typ":"JWT"}"#, r#"{"alg":"HS256","kid":"1"}"#] {
            for signature in ["", "AAAA", &encoded(&"s".repeat(32))] {
                assert!(
                    ring.verify(Purpose::Link, &format!("{}.{payload}.{signature}", encoded(header)), NOW).is_err()
                );
            }
        }
        for text in ["", ".", "..", "null", "true", "{}", "ck_0123456789", "Bearer", "../../etc/passwd", "%2e", "\u{0}"]
        {
            assert!(ring.verify(Purpose::Link, text, NOW).is_err(), "{text}");
        }
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
