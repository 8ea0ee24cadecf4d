//! AEAD_AES_128_GCM and AEAD_AES_256_GCM on session keys (RFC 7714).
//!
//! The associated data is the whole RTP header with its extensions, so nothing of it can be changed on the way.
//! Not here: which rollover counter a packet has.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::aes_cm::xor;
use super::kdf::{Kdf, Label};
use super::{RTCP_CLEAR_LEN, Refused, SRTCP_ENCRYPTED, SRTCP_INDEX_LEN, ssrc_of};

/// A full GCM tag: the short ones are not negotiable in DTLS-SRTP.
pub(super) const TAG_LEN: usize = 16;

/// Session keys of one direction.
pub(super) struct Aead {
    rtp: HalfKeys,
    rtcp: HalfKeys,
}

struct HalfKeys {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Aead {
    pub(super) fn new_128(kdf: &Kdf) -> Self {
        Self {
            rtp: HalfKeys::new(&kdf.derive::<16>(Label::RtpEncryption), kdf.derive(Label::RtpSalt)),
            rtcp: HalfKeys::new(&kdf.derive::<16>(Label::RtcpEncryption), kdf.derive(Label::RtcpSalt)),
        }
    }

    pub(super) fn new_256(kdf: &Kdf) -> Self {
        Self {
            rtp: HalfKeys::new(&kdf.derive::<32>(Label::RtpEncryption), kdf.derive(Label::RtpSalt)),
            rtcp: HalfKeys::new(&kdf.derive::<32>(Label::RtcpEncryption), kdf.derive(Label::RtcpSalt)),
        }
    }

    /// Returns the sealed length, `None` when the tag does not fit.
    #[inline]
    pub(super) fn seal_rtp(&self, packet: &mut [u8], header_len: usize, len: usize, index: u64) -> Option<usize> {
        let (header, rest) = packet.get_mut(..len + TAG_LEN)?.split_at_mut_checked(header_len)?;
        let (body, tag) = rest.split_at_mut_checked(len - header_len)?;
        let nonce = self.rtp.rtp_nonce(ssrc_of(header, 8), index);
        self.rtp.key.seal_in_place_scatter(nonce, Aad::from(&*header), body, &[], tag).ok()?;
        Some(len + TAG_LEN)
    }

    #[inline]
    pub(super) fn open_rtp(&self, packet: &mut [u8], header_len: usize, index: u64) -> Result<usize, Refused> {
        let len = packet.len().checked_sub(TAG_LEN).ok_or(Refused)?;
        let (header, body) = packet.split_at_mut_checked(header_len).ok_or(Refused)?;
        let nonce = self.rtp.rtp_nonce(ssrc_of(header, 8), index);
        self.rtp.key.open_in_place(nonce, Aad::from(&*header), body).map_err(|_| Refused)?;
        Ok(len)
    }

    /// Layout: clear header, ciphertext, tag, E flag and index (RFC 7714 section 9.2). Returns the sealed length.
    pub(super) fn seal_rtcp(&self, packet: &mut [u8], len: usize, index: u32) -> Option<usize> {
        let sealed_len = len + TAG_LEN + SRTCP_INDEX_LEN;
        let (header, rest) = packet.get_mut(..sealed_len)?.split_at_mut_checked(RTCP_CLEAR_LEN)?;
        let (body, rest) = rest.split_at_mut_checked(len - RTCP_CLEAR_LEN)?;
        let (tag, index_word) = rest.split_at_mut(TAG_LEN);
        index_word.copy_from_slice(&(SRTCP_ENCRYPTED | index).to_be_bytes());
        let nonce = self.rtcp.rtcp_nonce(ssrc_of(header, 4), index);
        let aad = rtcp_associated_data(header, index_word);
        self.rtcp.key.seal_in_place_scatter(nonce, Aad::from(aad), body, &[], tag).ok()?;
        Some(sealed_len)
    }

    /// `index` is what stands in the packet; the caller has checked that packet holds header, index and tag.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], index: u32) -> Result<usize, Refused> {
        let len = packet.len().checked_sub(TAG_LEN + SRTCP_INDEX_LEN).ok_or(Refused)?;
        let (header, rest) = packet.split_at_mut_checked(RTCP_CLEAR_LEN).ok_or(Refused)?;
        let (body, index_word) = rest.split_at_mut_checked(rest.len() - SRTCP_INDEX_LEN).ok_or(Refused)?;
        let nonce = self.rtcp.rtcp_nonce(ssrc_of(header, 4), index);
        let aad = rtcp_associated_data(header, index_word);
        self.rtcp.key.open_in_place(nonce, Aad::from(aad), body).map_err(|_| Refused)?;
        Ok(len)
    }
}

impl HalfKeys {
    fn new(key: &[u8], salt: [u8; 12]) -> Self {
        let algorithm = if key.len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
        let key = UnboundKey::new(algorithm, key).expect("the length fits the algorithm");
        Self { key: LessSafeKey::new(key), salt }
    }

    /// RFC 7714 section 8.1: two zero bytes, SSRC, rollover counter, sequence number; all under the salt.
    #[inline]
    fn rtp_nonce(&self, ssrc: [u8; 4], index: u64) -> Nonce {
        let mut nonce = self.salt;
        xor(&mut nonce[2..6], &ssrc);
        xor(&mut nonce[6..12], &index.to_be_bytes()[2..]);
        Nonce::assume_unique_for_key(nonce)
    }

    /// RFC 7714 section 9.1: two zero bytes, SSRC, two zero bytes, index; all under the salt.
    fn rtcp_nonce(&self, ssrc: [u8; 4], index: u32) -> Nonce {
        let mut nonce = self.salt;
        xor(&mut nonce[2..6], &ssrc);
        xor(&mut nonce[8..12], &index.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

/// RFC 7714 section 9.2: the clear header and the index word, which the tag and the ciphertext separate on the wire.
fn rtcp_associated_data(header: &[u8], index_word: &[u8]) -> [u8; RTCP_CLEAR_LEN + SRTCP_INDEX_LEN] {
    let mut aad = [0; RTCP_CLEAR_LEN + SRTCP_INDEX_LEN];
    aad[..RTCP_CLEAR_LEN].copy_from_slice(header);
    aad[RTCP_CLEAR_LEN..].copy_from_slice(index_word);
    aad
}

#[cfg(test)]
mod tests {
    use super::super::testing::hex;
    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const SALT: &str = "517569642070726f2071756f";
    const RTP: &str =
        "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573";
    const RTCP: &str = "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61\
                        deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";

    fn session_keys(key_len: usize) -> Aead {
        let half = || HalfKeys::new(&hex(KEY)[..key_len], hex(SALT).try_into().unwrap());
        Aead { rtp: half(), rtcp: half() }
    }

    fn check_rtp(key_len: usize, sealed: &str) {
        let keys = session_keys(key_len);
        let plain = hex(RTP);
        let mut packet = plain.clone();
        packet.resize(plain.len() + TAG_LEN, 0);
        assert_eq!(keys.seal_rtp(&mut packet, 12, plain.len(), 0xf17b), Some(packet.len()));
        assert_eq!(packet, hex(sealed));
        assert_eq!(keys.open_rtp(&mut packet, 12, 0xf17b), Ok(plain.len()));
        assert_eq!(packet[..plain.len()], plain);
    }

    fn check_rtcp(key_len: usize, sealed: &str) {
        let keys = session_keys(key_len);
        let plain = hex(RTCP);
        let mut packet = plain.clone();
        packet.resize(plain.len() + TAG_LEN + SRTCP_INDEX_LEN, 0);
        assert_eq!(keys.seal_rtcp(&mut packet, plain.len(), 0x5d4), Some(packet.len()));
        assert_eq!(packet, hex(sealed));
        assert_eq!(keys.open_rtcp(&mut packet, 0x5d4), Ok(plain.len()));
        assert_eq!(packet[..plain.len()], plain);
    }

    #[test]
    fn seals_and_opens_rtp_as_rfc_7714_section_16() {
        check_rtp(
            16,
            "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
             899d7f27beb16a9152cf765ee4390cce",
        );
        check_rtp(
            32,
            "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b\
             7aa3db36dfffd6b0f9bb7878d7a76c13",
        );
    }

    #[test]
    fn seals_and_opens_rtcp_as_rfc_7714_section_17() {
        check_rtcp(
            16,
            "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9\
             275bc84aa45896cf4d2fc5abf87245d9eade800005d4",
        );
        check_rtcp(
            32,
            "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b\
             6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4",
        );
    }
}
