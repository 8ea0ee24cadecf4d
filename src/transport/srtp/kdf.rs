//! Key derivation (RFC 3711 section 4.3): session keys out of a master key, by AES in counter mode.
//!
//! The key derivation rate is always zero in DTLS-SRTP (RFC 5764 section 4.1.2), so there is one derivation a key.
//! AES-256 masters use AES-256 here too (RFC 6188); a 96-bit salt is padded on the right (RFC 7714 section 11).

use super::aes_cm::ctr_key;
use aws_lc_rs::cipher::{EncryptingKey, EncryptionContext};

/// What a derived key is for (RFC 3711 sections 4.3.1 and 4.3.2).
#[derive(Clone, Copy)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// One master key, ready to derive from.
pub(super) struct Kdf {
    master: EncryptingKey,
    salt: [u8; 14],
}

impl Kdf {
    /// `key` is 16 or 32 bytes; `salt` holds what the profile has, zeros behind.
    pub(super) fn new(key: &[u8], salt: [u8; 14]) -> Self {
        Self { master: ctr_key(key), salt }
    }

    /// The session key for `label`, of any length.
    pub(super) fn derive<const N: usize>(&self, label: Label) -> [u8; N] {
        let mut block = [0; 16];
        block[..14].copy_from_slice(&self.salt);
        block[7] ^= label as u8;
        let mut out = [0; N];
        self.master
            .less_safe_encrypt(&mut out, EncryptionContext::Iv128(block.into()))
            .expect("counter mode takes any length");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::hex;
    use super::*;

    /// RFC 3711 appendix B.3.
    #[test]
    fn derives_the_keys_of_rfc_3711_appendix_b3() {
        let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
        let kdf = Kdf::new(&hex("E1F97A0D3E018BE0D64FA32C06DE4139"), salt.try_into().unwrap());
        assert_eq!(kdf.derive::<16>(Label::RtpEncryption).to_vec(), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(kdf.derive::<14>(Label::RtpSalt).to_vec(), hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(
            kdf.derive::<94>(Label::RtpAuthentication).to_vec(),
            hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF722709863\
                 71C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2")
        );
    }
}
