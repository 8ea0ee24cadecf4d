//! AES_CM_128_HMAC_SHA1_80 and _32 on session keys (RFC 3711 sections 4.1.1 and 4.2): counter mode, then a truncated HMAC.
//!
//! Not here: which rollover counter a packet has. Invariant: nothing is decrypted before its tag has verified.

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

use super::kdf::{Kdf, Label};
use super::{RTCP_CLEAR_LEN, Refused, SRTCP_ENCRYPTED, SRTCP_INDEX_LEN, ssrc_of};

/// Truncated HMAC-SHA1: of RTP in the profile that is called 80, of RTCP in both (RFC 4568 section 6.2).
pub(super) const TAG_LEN: usize = 10;
/// Of RTP in the profile that is called 32.
pub(super) const SHORT_TAG_LEN: usize = 4;

/// Session keys of one direction.
pub(super) struct AesCm {
    rtp: HalfKeys,
    rtcp: HalfKeys,
    rtp_tag_len: usize,
}

struct HalfKeys {
    cipher: EncryptingKey,
    authentication: hmac::Key,
    salt: [u8; 14],
}

/// A counter-mode key. `key` must be 16 or 32 bytes.
pub(super) fn ctr_key(key: &[u8]) -> EncryptingKey {
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    UnboundCipherKey::new(algorithm, key).and_then(EncryptingKey::ctr).expect("the length fits the algorithm")
}

impl AesCm {
    /// `rtp_tag_len` is one of the two lengths above.
    pub(super) fn new(kdf: &Kdf, rtp_tag_len: usize) -> Self {
        Self {
            rtp_tag_len,
            rtp: HalfKeys::new(
                &kdf.derive(Label::RtpEncryption),
                &kdf.derive(Label::RtpAuthentication),
                kdf.derive(Label::RtpSalt),
            ),
            rtcp: HalfKeys::new(
                &kdf.derive(Label::RtcpEncryption),
                &kdf.derive(Label::RtcpAuthentication),
                kdf.derive(Label::RtcpSalt),
            ),
        }
    }

    /// Returns the sealed length, `None` when the tag does not fit.
    pub(super) fn seal_rtp(&self, packet: &mut [u8], header_len: usize, len: usize, index: u64) -> Option<usize> {
        let sealed = packet.get_mut(..len + self.rtp_tag_len)?;
        let (plain, tag) = sealed.split_at_mut(len);
        let ssrc = ssrc_of(plain, 8);
        self.rtp.apply_keystream(ssrc, index, plain.get_mut(header_len..)?);
        tag.copy_from_slice(&self.rtp.tag(plain, &rollover(index))[..self.rtp_tag_len]);
        Some(len + self.rtp_tag_len)
    }

    pub(super) fn open_rtp(&self, packet: &mut [u8], header_len: usize, index: u64) -> Result<usize, Refused> {
        let len = packet.len().checked_sub(self.rtp_tag_len).ok_or(Refused)?;
        let (sealed, tag) = packet.split_at_mut(len);
        let expected = self.rtp.tag(sealed, &rollover(index));
        verify_slices_are_equal(tag, &expected[..self.rtp_tag_len]).map_err(|_| Refused)?;
        let ssrc = ssrc_of(sealed, 8);
        self.rtp.apply_keystream(ssrc, index, sealed.get_mut(header_len..).ok_or(Refused)?);
        Ok(len)
    }

    /// Layout: clear header, ciphertext, E flag and index, tag. Returns the sealed length.
    pub(super) fn seal_rtcp(&self, packet: &mut [u8], len: usize, index: u32) -> Option<usize> {
        let authenticated_len = len + SRTCP_INDEX_LEN;
        let sealed = packet.get_mut(..authenticated_len + TAG_LEN)?;
        let ssrc = ssrc_of(sealed, 4);
        self.rtcp.apply_keystream(ssrc, u64::from(index), &mut sealed[RTCP_CLEAR_LEN..len]);
        sealed[len..authenticated_len].copy_from_slice(&(SRTCP_ENCRYPTED | index).to_be_bytes());
        let (authenticated, tag) = sealed.split_at_mut(authenticated_len);
        tag.copy_from_slice(&self.rtcp.tag(authenticated, &[]));
        Some(authenticated_len + TAG_LEN)
    }

    /// `index` is what stands in the packet; the caller has checked that packet holds header, index and tag.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], index: u32) -> Result<usize, Refused> {
        let authenticated_len = packet.len().checked_sub(TAG_LEN).ok_or(Refused)?;
        let (authenticated, tag) = packet.split_at_mut(authenticated_len);
        verify_slices_are_equal(tag, &self.rtcp.tag(authenticated, &[])).map_err(|_| Refused)?;
        let len = authenticated_len.checked_sub(SRTCP_INDEX_LEN).ok_or(Refused)?;
        let ssrc = ssrc_of(authenticated, 4);
        let body = authenticated.get_mut(RTCP_CLEAR_LEN..len).ok_or(Refused)?;
        self.rtcp.apply_keystream(ssrc, u64::from(index), body);
        Ok(len)
    }
}

impl HalfKeys {
    fn new(cipher: &[u8; 16], authentication: &[u8; 20], salt: [u8; 14]) -> Self {
        Self {
            cipher: ctr_key(cipher),
            authentication: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, authentication),
            salt,
        }
    }

    /// Encrypts or decrypts: the keystream is the same (RFC 3711 section 4.1.1).
    fn apply_keystream(&self, ssrc: [u8; 4], index: u64, body: &mut [u8]) {
        let mut counter = [0; 16];
        counter[..14].copy_from_slice(&self.salt);
        xor(&mut counter[4..8], &ssrc);
        xor(&mut counter[8..14], &index.to_be_bytes()[2..]);
        self.cipher
            .less_safe_encrypt(body, EncryptionContext::Iv128(counter.into()))
            .expect("counter mode takes any length");
    }

    fn tag(&self, authenticated: &[u8], suffix: &[u8]) -> [u8; TAG_LEN] {
        let mut context = hmac::Context::with_key(&self.authentication);
        context.update(authenticated);
        context.update(suffix);
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&context.sign().as_ref()[..TAG_LEN]);
        tag
    }
}

/// What the HMAC covers behind the packet (RFC 3711 section 4.2).
fn rollover(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

pub(super) fn xor(into: &mut [u8], with: &[u8]) {
    for (byte, mask) in into.iter_mut().zip(with) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::hex;
    use super::*;

    /// RFC 3711 appendix B.2: SSRC and index are zero there, so that the counter is the salt alone.
    #[test]
    fn keystream_is_that_of_rfc_3711_appendix_b2() {
        let keys = HalfKeys::new(
            &hex("2B7E151628AED2A6ABF7158809CF4F3C").try_into().unwrap(),
            &[0; 20],
            hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap(),
        );
        let mut stream = vec![0; 16 * 0xff02];
        keys.apply_keystream([0; 4], 0, &mut stream);
        assert_eq!(
            stream[..48],
            hex("E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB41E95B3BB0A2E8DD477901E4FCA894C0")
        );
        assert_eq!(
            stream[16 * 0xfeff..],
            hex("EC8CDF7398607CB0F2D21675EA9EA1E4362B7C3C6773516318A077D7FC5073AE6A2CC3787889374FBEB4C81B17BA6C44")
        );
    }
}
