//! SRTP and SRTCP in place, without allocation (RFC 3711, RFC 7714, RFC 5764 for the profiles' names).
//!
//! [`IngressSrtp`] opens what one leg sends, [`EgressSrtp`] seals what we send to it. Not here: the handshake that
//! gives the keys (`transport::dtls`), what a packet means (`rtp`). Invariant: until a packet's tag has verified,
//! it creates no state and changes none.

mod aead;
mod aes_cm;
mod kdf;
mod replay;

use self::aead::Aead;
use self::aes_cm::AesCm;
use self::kdf::Kdf;
use self::replay::ReplayWindows;
use crate::drops::DropReason;
use crate::ids::Ssrc;
use crate::rtp::seq::SeqNo;

/// Protection profiles we accept (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Profile {
    /// AEAD_AES_128_GCM: preferred, a quarter of the cost of the HMAC profile.
    AeadAes128Gcm,
    /// AEAD_AES_256_GCM.
    AeadAes256Gcm,
    /// AES128_CM_HMAC_SHA1_80: for peers without either.
    Aes128CmSha1_80,
    /// AES128_CM_HMAC_SHA1_32: telephone trunks offer it beside the above (RFC 4568); never accepted in DTLS.
    Aes128CmSha1_32,
}

impl Profile {
    /// As RFC 5764 and RFC 7714 write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Profile::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Profile::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Profile::Aes128CmSha1_80 => "AES128_CM_HMAC_SHA1_80",
            Profile::Aes128CmSha1_32 => "AES128_CM_HMAC_SHA1_32",
        }
    }
}

/// One direction's master key and salt. Lengths follow the profile (16+12, 32+12, 16+14).
#[derive(Clone)]
pub struct MasterKey {
    /// Master key, 16 or 32 bytes used.
    pub key: [u8; 32],
    /// Master salt, 12 or 14 bytes used.
    pub salt: [u8; 14],
}

/// Both directions' master keys, as exported from DTLS.
#[derive(Clone)]
pub struct SessionKeys {
    /// What the DTLS client (the far side) writes with: our ingress.
    pub client: MasterKey,
    /// What the DTLS server (we) writes with: our egress.
    pub server: MasterKey,
}

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKeys(***)")
    }
}

/// Bytes that sealing may add: an AEAD tag and the SRTCP index word.
pub const OVERHEAD_MAX: usize = aead::TAG_LEN + SRTCP_INDEX_LEN;

/// Opens one leg's SRTP and SRTCP.
pub struct IngressSrtp {
    cipher: Cipher,
    rtp: ReplayWindows,
    rtcp: ReplayWindows,
}

impl IngressSrtp {
    /// Sources whose rollover counter and replay window one leg may occupy, for RTP and for RTCP. A leg publishes three
    /// sources with at most three layers and a repair stream each; more would only cost memory.
    pub const SSRCS_MAX: usize = 64;

    /// With the far side's writing key.
    #[must_use]
    pub fn new(profile: Profile, key: &MasterKey) -> Self {
        Self { cipher: Cipher::new(profile, key), rtp: ReplayWindows::new(), rtcp: ReplayWindows::new() }
    }

    /// Verifies and decrypts one RTP packet in place. Gives the plain packet's length and its extended number.
    ///
    /// # Errors
    /// Why the packet is dropped; its bytes are then unspecified, and no state has changed.
    #[inline]
    pub fn open_rtp(&mut self, packet: &mut [u8]) -> Result<(usize, SeqNo), DropReason> {
        let header_len = rtp_header_len(packet).ok_or(DropReason::RtpMalformed)?;
        let wire = u16::from_be_bytes([packet[2], packet[3]]);
        let ssrc = Ssrc(u32::from_be_bytes(ssrc_of(packet, 8)));
        let source = self.rtp.find(ssrc, Self::SSRCS_MAX)?;
        let index = match self.rtp.highest(source) {
            Some(highest) => SeqNo::nearest(wire, SeqNo(highest)),
            None => SeqNo(u64::from(wire)),
        };
        self.rtp.check(source, index.0)?;
        let len = match &self.cipher {
            Cipher::Aead(keys) => keys.open_rtp(packet, header_len, index.0),
            Cipher::AesCm(keys) => keys.open_rtp(packet, header_len, index.0),
        };
        let len = len.map_err(|Refused| DropReason::SrtpAuth)?;
        self.rtp.record(source, index.0);
        Ok((len, index))
    }

    /// Verifies and decrypts one RTCP compound packet in place. Gives the plain packet's length.
    ///
    /// # Errors
    /// As [`Self::open_rtp`]. A packet that is only authenticated (E flag clear) is refused: DTLS-SRTP has no way to
    /// negotiate that.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, DropReason> {
        let index_word = self.cipher.srtcp_index_word(packet).ok_or(DropReason::RtcpMalformed)?;
        if index_word & SRTCP_ENCRYPTED == 0 {
            return Err(DropReason::SrtpAuth);
        }
        let index = index_word & SRTCP_INDEX_MAX;
        let ssrc = Ssrc(u32::from_be_bytes(ssrc_of(packet, 4)));
        let source = self.rtcp.find(ssrc, Self::SSRCS_MAX)?;
        self.rtcp.check(source, u64::from(index))?;
        let len = match &self.cipher {
            Cipher::Aead(keys) => keys.open_rtcp(packet, index),
            Cipher::AesCm(keys) => keys.open_rtcp(packet, index),
        };
        let len = len.map_err(|Refused| DropReason::SrtpAuth)?;
        self.rtcp.record(source, u64::from(index));
        Ok(len)
    }
}

/// Seals what we send to one leg.
pub struct EgressSrtp {
    cipher: Cipher,
    /// Of the last SRTCP packet. One counter for all our SSRCs: each sees a rising index, which is all RFC 3711 asks.
    srtcp_index: u32,
}

impl EgressSrtp {
    /// With our writing key.
    #[must_use]
    pub fn new(profile: Profile, key: &MasterKey) -> Self {
        Self { cipher: Cipher::new(profile, key), srtcp_index: 0 }
    }

    /// Encrypts and authenticates one RTP packet in place. `packet[..len]` is plain, `header_len` the bytes before the
    /// payload (with CSRCs and extensions); at least [`OVERHEAD_MAX`] bytes must follow `len`. `index` is the packet's
    /// extended number: the first packet of an SSRC must have rollover 0, its low 16 bits must be the header's.
    /// Returns the sealed length, 0 when the lengths do not fit.
    #[must_use]
    #[inline]
    pub fn seal_rtp(&self, packet: &mut [u8], header_len: usize, len: usize, index: SeqNo) -> usize {
        if header_len < RTP_FIXED_LEN || len < header_len || packet.len() < len {
            return 0;
        }
        debug_assert_eq!(packet[2..4], index.wire().to_be_bytes(), "the index belongs to another packet");
        let sealed = match &self.cipher {
            Cipher::Aead(keys) => keys.seal_rtp(packet, header_len, len, index.0),
            Cipher::AesCm(keys) => keys.seal_rtp(packet, header_len, len, index.0),
        };
        sealed.unwrap_or(0)
    }

    /// Encrypts and authenticates one RTCP compound packet in place, as [`Self::seal_rtp`].
    #[must_use]
    pub fn seal_rtcp(&mut self, packet: &mut [u8], len: usize) -> usize {
        if len < RTCP_CLEAR_LEN || self.srtcp_index == SRTCP_INDEX_MAX {
            return 0;
        }
        self.srtcp_index += 1;
        let sealed = match &self.cipher {
            Cipher::Aead(keys) => keys.seal_rtcp(packet, len, self.srtcp_index),
            Cipher::AesCm(keys) => keys.seal_rtcp(packet, len, self.srtcp_index),
        };
        sealed.unwrap_or(0)
    }
}

/// The tag did not verify.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Refused;

/// Session keys of one direction.
enum Cipher {
    Aead(Box<Aead>),
    AesCm(Box<AesCm>),
}

impl Cipher {
    fn new(profile: Profile, key: &MasterKey) -> Self {
        let mut salt_96 = [0; 14];
        salt_96[..12].copy_from_slice(&key.salt[..12]);
        match profile {
            Profile::AeadAes128Gcm => Cipher::Aead(Box::new(Aead::new_128(&Kdf::new(&key.key[..16], salt_96)))),
            Profile::AeadAes256Gcm => Cipher::Aead(Box::new(Aead::new_256(&Kdf::new(&key.key, salt_96)))),
            Profile::Aes128CmSha1_80 => Cipher::aes_cm(key, aes_cm::TAG_LEN),
            Profile::Aes128CmSha1_32 => Cipher::aes_cm(key, aes_cm::SHORT_TAG_LEN),
        }
    }

    fn aes_cm(key: &MasterKey, rtp_tag_len: usize) -> Self {
        Cipher::AesCm(Box::new(AesCm::new(&Kdf::new(&key.key[..16], key.salt), rtp_tag_len)))
    }

    /// E flag and index of a packet that is long enough to hold header, index and tag.
    fn srtcp_index_word(&self, packet: &[u8]) -> Option<u32> {
        let (tag_len, behind_len) = match self {
            Cipher::Aead(_) => (aead::TAG_LEN, 0),
            Cipher::AesCm(_) => (aes_cm::TAG_LEN, aes_cm::TAG_LEN),
        };
        if packet.len() < RTCP_CLEAR_LEN + tag_len + SRTCP_INDEX_LEN {
            return None;
        }
        let at = packet.len() - behind_len - SRTCP_INDEX_LEN;
        packet[at..].first_chunk().map(|word| u32::from_be_bytes(*word))
    }
}

/// Length of the RTP header with CSRCs and extension: the part that stays clear. The full parser cannot be asked,
/// because it looks at the padding, which is still encrypted.
#[inline]
fn rtp_header_len(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let mut len = RTP_FIXED_LEN + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        let words: [u8; 2] = *packet.get(len + 2..)?.first_chunk()?;
        len += 4 + 4 * usize::from(u16::from_be_bytes(words));
    }
    (first >> 6 == 2 && len <= packet.len()).then_some(len)
}

/// The four bytes of an SSRC. The caller has checked the header's length.
#[inline]
fn ssrc_of(packet: &[u8], at: usize) -> [u8; 4] {
    [packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]
}

const RTP_FIXED_LEN: usize = 12;
/// The RTCP header and the sender's SSRC stay clear.
const RTCP_CLEAR_LEN: usize = 8;
const SRTCP_INDEX_LEN: usize = 4;
/// The E flag of the index word.
const SRTCP_ENCRYPTED: u32 = 1 << 31;
const SRTCP_INDEX_MAX: u32 = SRTCP_ENCRYPTED - 1;

#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
