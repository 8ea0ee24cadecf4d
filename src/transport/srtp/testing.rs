//! What the tests of this module share: keys, packets and hexadecimal.

use super::{MasterKey, OVERHEAD_MAX, Profile};

pub(super) const PROFILES: [Profile; 4] =
    [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80, Profile::Aes128CmSha1_32];

pub(super) fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let value = |digit: u8| (digit as char).to_digit(16).expect("a hexadecimal digit") as u8;
    digits.chunks(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect()
}

pub(super) fn master_key() -> MasterKey {
    MasterKey { key: std::array::from_fn(|i| i as u8 * 7 + 1), salt: std::array::from_fn(|i| i as u8 * 5 + 3) }
}

/// A plain packet with spare room behind it, its header's and its own length.
pub(super) struct Plain {
    pub(super) bytes: Vec<u8>,
    pub(super) header_len: usize,
    pub(super) len: usize,
}

/// An RTP packet; `extended` adds a CSRC and a header extension.
pub(super) fn rtp(ssrc: u32, sequence: u16, extended: bool) -> Plain {
    let mut bytes = vec![if extended { 0x91 } else { 0x80 }, 96];
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(&0x0102_0304_u32.to_be_bytes());
    bytes.extend_from_slice(&ssrc.to_be_bytes());
    if extended {
        bytes.extend_from_slice(&[9, 9, 9, 9, 0xbe, 0xde, 0, 2, 0x10, 0xaa, 0x31, 1, 2, 0, 0, 0]);
    }
    let header_len = bytes.len();
    bytes.extend((0..100_u32).map(|i| (i * 31 + u32::from(sequence)) as u8));
    with_room(bytes, header_len)
}

/// A receiver report without blocks, and a source description.
pub(super) fn rtcp(ssrc: u32) -> Plain {
    let mut bytes = vec![0x80, 201, 0, 1];
    bytes.extend_from_slice(&ssrc.to_be_bytes());
    bytes.extend_from_slice(&[0x81, 202, 0, 3]);
    bytes.extend_from_slice(&ssrc.to_be_bytes());
    bytes.extend_from_slice(&[1, 4, b'n', b'a', b'm', b'e', 0, 0]);
    with_room(bytes, 8)
}

fn with_room(mut bytes: Vec<u8>, header_len: usize) -> Plain {
    let len = bytes.len();
    bytes.resize(len + OVERHEAD_MAX, 0);
    Plain { bytes, header_len, len }
}

impl Plain {
    pub(super) fn plain(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
