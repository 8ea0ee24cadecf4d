//! SRTP and SRTCP in place, without allocation (RFC 3711, RFC 7714, RFC 5764 for the profiles' names).
//!
//! [`IngressSrtp`] opens what one leg sends, [`EgressSrtp`] seals what we send to it. Not here: the handshake that
//! gives the keys (`transport::dtls`), what a packet means (`rtp`). Invariant: until a packet's tag has verified,
//! it creates no state and changes none.

use crate::drops::DropReason;
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
pub const OVERHEAD_MAX: usize = 16 + 4;

/// Opens one leg's SRTP and SRTCP.
pub struct IngressSrtp {}

impl IngressSrtp {
    /// Sources whose rollover counter and replay window one leg may occupy. A leg publishes three sources with at most
    /// three layers and a repair stream each; more would only cost memory (half a kilobyte each).
    pub const SSRCS_MAX: usize = 64;

    /// With the far side's writing key.
    #[must_use]
    pub fn new(_profile: Profile, _key: &MasterKey) -> Self {
        Self {}
    }

    /// Verifies and decrypts one RTP packet in place. Gives the plain packet's length and its extended number.
    ///
    /// # Errors
    /// Why the packet is dropped; its bytes are then unspecified, and no state has changed.
    pub fn open_rtp(&mut self, _packet: &mut [u8]) -> Result<(usize, SeqNo), DropReason> {
        Err(DropReason::SrtpAuth)
    }

    /// Verifies and decrypts one RTCP compound packet in place. Gives the plain packet's length.
    ///
    /// # Errors
    /// As [`Self::open_rtp`].
    pub fn open_rtcp(&mut self, _packet: &mut [u8]) -> Result<usize, DropReason> {
        Err(DropReason::SrtpAuth)
    }
}

/// Seals what we send to one leg.
pub struct EgressSrtp {}

impl EgressSrtp {
    /// With our writing key.
    #[must_use]
    pub fn new(_profile: Profile, _key: &MasterKey) -> Self {
        Self {}
    }

    /// Encrypts and authenticates one RTP packet in place. `packet[..len]` is plain, `header_len` the bytes before the
    /// payload (with CSRCs and extensions); at least [`OVERHEAD_MAX`] bytes must follow `len`. `index` is the packet's
    /// extended number: the first packet of an SSRC must have rollover 0, its low 16 bits must be the header's.
    /// Returns the sealed length, 0 when the lengths do not fit.
    #[must_use]
    pub fn seal_rtp(&self, _packet: &mut [u8], _header_len: usize, _len: usize, _index: SeqNo) -> usize {
        0
    }

    /// Encrypts and authenticates one RTCP compound packet in place, as [`Self::seal_rtp`].
    #[must_use]
    pub fn seal_rtcp(&mut self, _packet: &mut [u8], _len: usize) -> usize {
        0
    }
}
