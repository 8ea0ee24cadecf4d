//! SRTP and SRTCP in place, without allocation (RFC 3711, RFC 7714).

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
