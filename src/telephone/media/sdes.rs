//! Keys of a call that travel in its SDP: the value of `a=crypto` (RFC 4568), and the cipher state made of two of them.
//!
//! Only what trunks use: AES_CM_128_HMAC_SHA1_80 and _32, one key without MKI, no session parameter that changes how
//! packets look. A line with anything else is refused as a whole, as RFC 4568 section 6.3 asks, and the next is tried. Not
//! here: whether a call must have keys (the trunk's setting), SDP (`telephone::sdp`).
//! Invariant: a key is never printed but by [`CryptoLine::to_value`], which goes into our own SDP.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rand::Rng;

use crate::transport::srtp::{EgressSrtp, IngressSrtp, MasterKey, Profile};

/// The crypto suites that are spoken (RFC 4568 section 6.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Suite {
    /// 80 bits of tag.
    AesCm128HmacSha1_80,
    /// 32 bits of tag on sound, 80 on reports.
    AesCm128HmacSha1_32,
}

impl Suite {
    /// In the order in which they are offered.
    pub const ALL: [Suite; 2] = [Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32];

    /// As SDP writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Suite::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    fn profile(self) -> Profile {
        match self {
            Suite::AesCm128HmacSha1_80 => Profile::Aes128CmSha1_80,
            Suite::AesCm128HmacSha1_32 => Profile::Aes128CmSha1_32,
        }
    }
}

/// Why a line is not used. The far end is at fault, or wants more than we speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SdesError {
    /// Not `tag suite inline:key` with a tag of 1 to 9 digits.
    #[error("a crypto line that is not one")]
    Form,
    /// A suite that is not spoken.
    #[error("a crypto suite that is not spoken")]
    Suite,
    /// Not 30 bytes of key and salt, several keys, a key with an identifier, or one that lives too short.
    #[error("crypto key parameters that are not spoken")]
    Key,
    /// A session parameter that would change the packets.
    #[error("a crypto session parameter that is not spoken")]
    Session,
}

/// One `a=crypto` line: under what, and with which key, its author sends.
#[derive(Clone)]
pub struct CryptoLine {
    /// Pairs an answer's line with the offer's.
    pub tag: u32,
    /// Cipher and length of tags.
    pub suite: Suite,
    key: MasterKey,
}

impl fmt::Debug for CryptoLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CryptoLine({} {} ***)", self.tag, self.suite.name())
    }
}

impl CryptoLine {
    /// A line with a new random key.
    #[must_use]
    pub fn generate(tag: u32, suite: Suite, rng: &mut (impl Rng + rand::CryptoRng)) -> Self {
        let mut key = MasterKey { key: [0; 32], salt: [0; 14] };
        rng.fill(&mut key.key[..KEY_LEN]);
        rng.fill(&mut key.salt);
        Self { tag, suite, key }
    }

    /// Reads what stands behind `a=crypto:`.
    ///
    /// # Errors
    /// Why the line cannot be used.
    pub fn parse(value: &str) -> Result<Self, SdesError> {
        let mut words = value.split_ascii_whitespace();
        let tag = words.next().ok_or(SdesError::Form)?;
        let suite = words.next().ok_or(SdesError::Form)?;
        let keys = words.next().ok_or(SdesError::Form)?;
        let digits = (1..=TAG_DIGITS_MAX).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_digit());
        let tag = tag.parse().ok().filter(|_| digits).ok_or(SdesError::Form)?;
        let suite = Suite::ALL.into_iter().find(|known| known.name() == suite).ok_or(SdesError::Suite)?;
        let key = parse_key(keys)?;
        // A hint about the far end's own replay window changes nothing here; everything else would.
        if words.any(|word| !word.starts_with("WSH=")) {
            return Err(SdesError::Session);
        }
        Ok(Self { tag, suite, key })
    }

    /// What stands behind `a=crypto:`. Contains the key: for our own SDP only.
    #[must_use]
    pub fn to_value(&self) -> String {
        let mut bytes = [0; KEY_LEN + SALT_LEN];
        bytes[..KEY_LEN].copy_from_slice(&self.key.key[..KEY_LEN]);
        bytes[KEY_LEN..].copy_from_slice(&self.key.salt);
        format!("{} {} inline:{}", self.tag, self.suite.name(), BASE64.encode(bytes))
    }

    /// What opens the packets of whoever wrote this line.
    #[must_use]
    pub fn ingress(&self) -> IngressSrtp {
        IngressSrtp::new(self.suite.profile(), &self.key)
    }

    /// What seals the packets of whoever wrote this line.
    #[must_use]
    pub fn egress(&self) -> EgressSrtp {
        EgressSrtp::new(self.suite.profile(), &self.key)
    }

    /// Whether both lines say the same: then a repeated offer has not changed the keys, and the running numbers of both
    /// sides go on (RFC 4568 section 6.4).
    #[must_use]
    pub fn is_same(&self, other: &CryptoLine) -> bool {
        let (own, theirs) = (&self.key, &other.key);
        let keys = aws_lc_rs::constant_time::verify_slices_are_equal(&own.key, &theirs.key).is_ok();
        let salts = aws_lc_rs::constant_time::verify_slices_are_equal(&own.salt, &theirs.salt).is_ok();
        self.suite == other.suite && keys && salts
    }
}

/// `inline:` and one key with its salt in base 64, perhaps with a lifetime.
fn parse_key(parameters: &str) -> Result<MasterKey, SdesError> {
    let (method, rest) = parameters.split_once(':').ok_or(SdesError::Form)?;
    if !method.eq_ignore_ascii_case("inline") || rest.contains(';') {
        return Err(SdesError::Key);
    }
    let mut fields = rest.split('|');
    let text = fields.next().unwrap_or_default();
    let mut bytes = [0; KEY_LEN + SALT_LEN];
    // Some write the padding that 30 bytes do not need, none may write more.
    let len = BASE64.decode_slice(text.trim_end_matches('='), &mut bytes).map_err(|_| SdesError::Key)?;
    if len != bytes.len() {
        return Err(SdesError::Key);
    }
    for field in fields {
        check_lifetime(field)?;
    }
    let mut key = MasterKey { key: [0; 32], salt: [0; 14] };
    key.key[..KEY_LEN].copy_from_slice(&bytes[..KEY_LEN]);
    key.salt.copy_from_slice(&bytes[KEY_LEN..]);
    Ok(key)
}

/// A lifetime in packets, `2^n` or decimal. What is over within a long call would need new keys in the middle of it; an
/// identifier (`1:4`) would stand in every packet.
fn check_lifetime(field: &str) -> Result<(), SdesError> {
    let packets = match field.split_once('^') {
        Some(("2", power)) => power.parse().ok().and_then(|power| 1u64.checked_shl(power)),
        Some(_) => None,
        None => field.parse().ok(),
    };
    if packets.is_some_and(|packets| packets >= LIFETIME_MIN) { Ok(()) } else { Err(SdesError::Key) }
}

const KEY_LEN: usize = 16;
const SALT_LEN: usize = 14;
/// RFC 4568 section 9.1.
const TAG_DIGITS_MAX: usize = 9;
/// Packets that a key must live: a call of twelve hours at 50 a second is 2.2 million.
const LIFETIME_MIN: u64 = 1 << 22;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::rtp::seq::SeqNo;

    /// The key of RFC 4568 section 5.1's example.
    const EXAMPLE: &str = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";

    #[test]
    fn reads_what_trunks_write() {
        for (value, tag, suite) in [
            (format!("1 AES_CM_128_HMAC_SHA1_80 inline:{EXAMPLE}"), 1, Suite::AesCm128HmacSha1_80),
            (format!("2 AES_CM_128_HMAC_SHA1_32 inline:{EXAMPLE}|2^31"), 2, Suite::AesCm128HmacSha1_32),
            (format!("3  AES_CM_128_HMAC_SHA1_80  INLINE:{EXAMPLE}|281474976710656"), 3, Suite::AesCm128HmacSha1_80),
            (format!("004 AES_CM_128_HMAC_SHA1_80 inline:{EXAMPLE}|2^48 WSH=128"), 4, Suite::AesCm128HmacSha1_80),
        ] {
            let line = CryptoLine::parse(&value).unwrap();
            assert_eq!((line.tag, line.suite), (tag, suite));
            let again = format!("{tag} {} inline:{EXAMPLE}", suite.name());
            assert_eq!(line.to_value(), again, "a copy says the same");
        }
    }

    #[test]
    fn refuses_what_is_not_spoken() {
        let suite = "AES_CM_128_HMAC_SHA1_80";
        for (value, error) in [
            (String::new(), SdesError::Form),
            ("1".into(), SdesError::Form),
            (format!("1 {suite}"), SdesError::Form),
            (format!("1 {suite} {EXAMPLE}"), SdesError::Form),
            (format!("x {suite} inline:{EXAMPLE}"), SdesError::Form),
            (format!("+1 {suite} inline:{EXAMPLE}"), SdesError::Form),
            (format!("1234567890 {suite} inline:{EXAMPLE}"), SdesError::Form),
            (format!("1 AES_256_CM_HMAC_SHA1_80 inline:{EXAMPLE}"), SdesError::Suite),
            (format!("1 F8_128_HMAC_SHA1_80 inline:{EXAMPLE}"), SdesError::Suite),
            (format!("1 {suite} uri:{EXAMPLE}"), SdesError::Key),
            (format!("1 {suite} inline:"), SdesError::Key),
            (format!("1 {suite} inline:{}", &EXAMPLE[..38]), SdesError::Key),
            (format!("1 {suite} inline:{EXAMPLE}AAAA"), SdesError::Key),
            (format!("1 {suite} inline:{EXAMPLE}|1:4"), SdesError::Key),
            (format!("1 {suite} inline:{EXAMPLE}|2^20|1:4"), SdesError::Key),
            (format!("1 {suite} inline:{EXAMPLE}|2^10"), SdesError::Key),
            (format!("1 {suite} inline:{EXAMPLE}|2^99"), SdesError::Key),
            (format!("1 {suite} inline:{EXAMPLE};inline:{EXAMPLE}"), SdesError::Key),
            (format!("1 {suite} inline:{EXAMPLE} UNENCRYPTED_SRTCP"), SdesError::Session),
            (format!("1 {suite} inline:{EXAMPLE} KDR=1"), SdesError::Session),
        ] {
            assert_eq!(CryptoLine::parse(&value).map(|_| ()), Err(error), "{value}");
        }
    }

    #[test]
    fn a_generated_line_survives_the_journey_and_its_packets_open() {
        let mut rng = StdRng::seed_from_u64(4);
        for suite in Suite::ALL {
            let ours = CryptoLine::generate(1, suite, &mut rng);
            let theirs = CryptoLine::parse(&ours.to_value()).unwrap();
            assert!(ours.is_same(&theirs));
            let mut packet = vec![0x80, 8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3];
            packet.resize(packet.len() + 16, 0);
            let len = ours.egress().seal_rtp(&mut packet, 12, 15, SeqNo(7));
            assert_eq!(theirs.ingress().open_rtp(&mut packet[..len]), Ok((15, SeqNo(7))));
            assert_eq!(packet[12..15], [1, 2, 3]);
        }
    }

    #[test]
    fn keys_are_random_and_never_printed() {
        let mut rng = StdRng::seed_from_u64(5);
        let one = CryptoLine::generate(1, Suite::AesCm128HmacSha1_80, &mut rng);
        let other = CryptoLine::generate(1, Suite::AesCm128HmacSha1_80, &mut rng);
        assert!(!one.is_same(&other));
        assert_eq!(format!("{one:?}"), "CryptoLine(1 AES_CM_128_HMAC_SHA1_80 ***)");
    }

    #[test]
    fn survives_hostile_text() {
        let mut rng = StdRng::seed_from_u64(6);
        let good = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{EXAMPLE}|2^31 WSH=64");
        for _ in 0..5_000 {
            let mut bytes = good.clone().into_bytes();
            for _ in 0..rng.random_range(1..5) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random_range(1..128);
            }
            bytes.truncate(rng.random_range(0..=bytes.len()));
            let text = String::from_utf8(bytes).unwrap();
            if let Ok(line) = CryptoLine::parse(&text) {
                assert!(CryptoLine::parse(&line.to_value()).unwrap().is_same(&line));
            }
        }
    }
}
