//! The probe's packets: a 20-byte RTP header with one extension, AES-128-GCM around the rest.

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// The part that stays readable.
pub const HEADER_LEN: usize = 20;
/// What sealing adds.
pub const TAG_LEN: usize = 16;

/// The one publisher's key.
pub struct Publisher {
    key: LessSafeKey,
}

impl Publisher {
    const SALT: [u8; 12] = [0x11; 12];
    const SSRC: u32 = 0xcafe;

    /// Always the same key.
    #[must_use]
    pub fn new() -> Self {
        Self { key: key(&[0xa5; 16]) }
    }

    /// Packet `number`, `len` bytes long once sealed.
    #[must_use]
    pub fn seal(&self, number: u16, len: usize) -> Vec<u8> {
        let mut packet = vec![number as u8; len - TAG_LEN];
        packet[..HEADER_LEN].fill(0);
        packet[..2].copy_from_slice(&[0x90, 96]);
        packet[2..4].copy_from_slice(&number.to_be_bytes());
        packet[8..12].copy_from_slice(&Self::SSRC.to_be_bytes());
        packet[12..17].copy_from_slice(&[0xbe, 0xde, 0, 1, 0x11]);
        let nonce = nonce(&Self::SALT, Self::SSRC, number);
        let (header, body) = packet.split_at_mut(HEADER_LEN);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(&*header), body).expect("a short packet");
        packet.extend_from_slice(tag.as_ref());
        packet
    }

    /// Decrypts in place.
    pub fn open(&self, packet: &mut [u8]) {
        let nonce = nonce(&Self::SALT, Self::SSRC, number_of(packet));
        let (header, body) = packet.split_at_mut(HEADER_LEN);
        self.key.open_in_place(nonce, Aad::from(&*header), body).expect("the generator's packet");
    }
}

impl Default for Publisher {
    fn default() -> Self {
        Self::new()
    }
}

/// One viewer's key and numbers.
pub struct Viewer {
    key: LessSafeKey,
    salt: [u8; 12],
    ssrc: u32,
    number_offset: u16,
    timestamp_offset: u32,
    transport_cc: u16,
}

impl Viewer {
    /// Viewer `index`; its key and offsets follow from that.
    #[must_use]
    pub fn new(index: usize) -> Self {
        let mut bytes = [index as u8; 16];
        bytes[0] = 0x5a;
        Self {
            key: key(&bytes),
            salt: [index as u8 ^ 0x33; 12],
            ssrc: 0x1000 + index as u32,
            number_offset: index as u16 * 77,
            timestamp_offset: index as u32 * 90_001,
            transport_cc: 0,
        }
    }

    /// Copies a plain packet into `out` with this viewer's numbers and `padding` bytes, and seals it there. Returns
    /// its length.
    pub fn write(&mut self, packet: &[u8], padding: usize, out: &mut [u8]) -> usize {
        let len = packet.len() + padding;
        out[..packet.len()].copy_from_slice(packet);
        if padding > 0 {
            out[packet.len()..len - 1].fill(0);
            out[len - 1] = padding as u8;
            out[0] |= 0x20;
        }
        let nonce = self.renumber(out);
        let (header, rest) = out.split_at_mut(HEADER_LEN);
        let (body, rest) = rest.split_at_mut(len - HEADER_LEN);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(&*header), body).expect("a short packet");
        rest[..TAG_LEN].copy_from_slice(tag.as_ref());
        len + TAG_LEN
    }

    fn renumber(&mut self, packet: &mut [u8]) -> Nonce {
        let number = number_of(packet).wrapping_add(self.number_offset);
        let timestamp = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        packet[2..4].copy_from_slice(&number.to_be_bytes());
        packet[4..8].copy_from_slice(&timestamp.wrapping_add(self.timestamp_offset).to_be_bytes());
        packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        self.transport_cc = self.transport_cc.wrapping_add(1);
        packet[17..19].copy_from_slice(&self.transport_cc.to_be_bytes());
        nonce(&self.salt, self.ssrc, number)
    }
}

/// The sequence number in the header.
#[must_use]
pub fn number_of(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

fn key(bytes: &[u8; 16]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, bytes).expect("16 bytes"))
}

/// RFC 7714 section 8.1, without a rollover counter: no run is long enough for one.
fn nonce(salt: &[u8; 12], ssrc: u32, number: u16) -> Nonce {
    let mut nonce = *salt;
    nonce[2..6].iter_mut().zip(ssrc.to_be_bytes()).for_each(|(byte, with)| *byte ^= with);
    nonce[10..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, with)| *byte ^= with);
    Nonce::assume_unique_for_key(nonce)
}
