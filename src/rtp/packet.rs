//! The RTP header (RFC 3550 section 5.1) with its extensions (RFC 8285): a bounded view when reading, a writer into
//! the caller's buffer when sending.
//!
//! Not here: what an extension's value means (`extension`) and what the payload holds (`frame`).
//! Invariant: after a successful parse, `len + padding <= packet.len()`, so that no accessor can run out of bounds
//! on the packet it was parsed from; given another packet they return less, never panic.

use crate::ids::{PayloadType, Ssrc};

/// Bytes of a header without contributing sources and extensions.
pub const HEADER_LEN_MIN: usize = 12;

/// Why a packet is not RTP. The sender is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RtpError {
    /// Shorter than its fixed header, its contributing sources or its extension block.
    #[error("RTP packet shorter than its header says")]
    TooShort,
    /// Version is not 2.
    #[error("RTP version is not 2")]
    Version,
    /// The padding count is zero or larger than the payload.
    #[error("RTP padding does not fit the packet")]
    Padding,
}

/// A parsed header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtpHeader {
    /// For video: the last packet of a picture.
    pub marker: bool,
    /// As the sender's leg numbers it.
    pub payload_type: PayloadType,
    /// The 16 bits on the wire.
    pub sequence: u16,
    /// In units of the codec's clock rate.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: Ssrc,
    /// Bytes before the payload: fixed header, contributing sources, extension block.
    pub len: usize,
    /// Trailing padding bytes, their count included. 0 from [`RtpHeader::parse_protected`].
    pub padding: usize,
    form: ExtensionForm,
    /// Bytes of extension elements at the end of the header.
    extensions_len: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ExtensionForm {
    /// No extension block, or one that RFC 8285 does not define.
    None,
    OneByte,
    TwoByte,
}

impl RtpHeader {
    /// Parses the header of a plain (not, or no longer, encrypted) packet.
    ///
    /// # Errors
    /// When it is not RTP version 2 or shorter than it claims.
    pub fn parse(packet: &[u8]) -> Result<RtpHeader, RtpError> {
        let mut header = Self::parse_protected(packet)?;
        if packet[0] & PADDING_BIT != 0 {
            let padding = usize::from(packet[packet.len() - 1]);
            if padding == 0 || padding > packet.len() - header.len {
                return Err(RtpError::Padding);
            }
            header.padding = padding;
        }
        Ok(header)
    }

    /// Parses the header of a packet whose payload is still encrypted: its padding count cannot be read yet.
    ///
    /// # Errors
    /// When it is not RTP version 2 or shorter than it claims.
    pub fn parse_protected(packet: &[u8]) -> Result<RtpHeader, RtpError> {
        let fixed: &[u8; HEADER_LEN_MIN] = packet.first_chunk().ok_or(RtpError::TooShort)?;
        if fixed[0] >> 6 != 2 {
            return Err(RtpError::Version);
        }
        let sources = usize::from(fixed[0] & 0x0f);
        let mut len = HEADER_LEN_MIN + 4 * sources;
        let mut form = ExtensionForm::None;
        let mut extensions_len = 0;
        if fixed[0] & EXTENSION_BIT != 0 {
            let block = packet.get(len..len + 4).ok_or(RtpError::TooShort)?;
            form = ExtensionForm::from_profile(u16::from_be_bytes([block[0], block[1]]));
            extensions_len = 4 * usize::from(u16::from_be_bytes([block[2], block[3]]));
            len += 4 + extensions_len;
        }
        if packet.len() < len {
            return Err(RtpError::TooShort);
        }
        Ok(RtpHeader {
            marker: fixed[1] & 0x80 != 0,
            payload_type: PayloadType(fixed[1] & 0x7f),
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: Ssrc(u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]])),
            len,
            padding: 0,
            form,
            extensions_len,
        })
    }

    /// The extension elements in order: id and value. Ends at the first malformed one.
    #[must_use]
    pub fn extensions<'a>(&self, packet: &'a [u8]) -> ExtensionIter<'a> {
        let elements = packet.get(self.len - self.extensions_len..self.len).unwrap_or_default();
        ExtensionIter { rest: elements, form: self.form }
    }

    /// The value of one extension.
    #[must_use]
    pub fn extension<'a>(&self, packet: &'a [u8], id: u8) -> Option<&'a [u8]> {
        self.extensions(packet).find(|&(found, _)| found == id).map(|(_, value)| value)
    }

    /// The payload without padding.
    #[must_use]
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        let end = packet.len().saturating_sub(self.padding);
        packet.get(self.len..end).unwrap_or_default()
    }
}

impl ExtensionForm {
    fn from_profile(profile: u16) -> Self {
        match profile {
            PROFILE_ONE_BYTE => ExtensionForm::OneByte,
            // The low four bits are the application's (RFC 8285 section 4.3).
            _ if profile & 0xfff0 == PROFILE_TWO_BYTE => ExtensionForm::TwoByte,
            _ => ExtensionForm::None,
        }
    }
}

/// Iterator over a header's extension elements, see [`RtpHeader::extensions`].
#[derive(Clone, Debug)]
pub struct ExtensionIter<'a> {
    rest: &'a [u8],
    form: ExtensionForm,
}

impl<'a> ExtensionIter<'a> {
    fn one_byte(&mut self) -> Option<(u8, &'a [u8])> {
        let (&first, rest) = self.rest.split_first()?;
        // Id 15 is reserved in this form and ends processing (RFC 8285 section 4.2).
        let (id, len) = (first >> 4, usize::from(first & 0x0f) + 1);
        if id == 15 {
            return None;
        }
        let (value, rest) = rest.split_at_checked(len)?;
        self.rest = rest;
        Some((id, value))
    }

    fn two_byte(&mut self) -> Option<(u8, &'a [u8])> {
        let (&[id, len], rest) = self.rest.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(usize::from(len))?;
        self.rest = rest;
        Some((id, value))
    }
}

impl<'a> Iterator for ExtensionIter<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // Only an all-zero byte is padding: a one-byte element of id 0 with a length ends processing below.
        while let [0, rest @ ..] = self.rest {
            self.rest = rest;
        }
        let element = match self.form {
            ExtensionForm::None => None,
            ExtensionForm::OneByte => self.one_byte().filter(|&(id, _)| id != 0),
            ExtensionForm::TwoByte => self.two_byte(),
        };
        if element.is_none() {
            self.rest = &[];
        }
        element
    }
}

/// What every header that we send needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeaderFields {
    /// For video: the last packet of a picture.
    pub marker: bool,
    /// As the receiving leg numbers it.
    pub payload_type: PayloadType,
    /// The 16 bits on the wire.
    pub sequence: u16,
    /// In units of the codec's clock rate.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: Ssrc,
}

impl HeaderFields {
    /// The fixed header: version 2, no padding, no extension, no CSRC.
    #[inline]
    fn to_bytes(self) -> [u8; HEADER_LEN_MIN] {
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [r0, r1, r2, r3] = self.ssrc.0.to_be_bytes();
        let marker_and_type = u8::from(self.marker) << 7 | self.payload_type.0 & 0x7f;
        [2 << 6, marker_and_type, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3]
    }
}

/// A header that was begun, kept to start others with the same extension elements: see [`HeaderWriter::resume`].
#[derive(Clone, Copy, Debug)]
pub struct HeaderFront {
    bytes: [u8; HeaderFront::LEN_MAX],
    len: usize,
    two_byte: bool,
}

impl HeaderFront {
    /// Holds the fixed header with mid, transport-wide number and send time in either form.
    pub const LEN_MAX: usize = 48;
}

/// Writes a header into the front of `out`. When `out` is too small nothing more is written and
/// [`HeaderWriter::finish`] returns 0.
#[derive(Debug)]
pub struct HeaderWriter<'a> {
    out: &'a mut [u8],
    len: usize,
    two_byte: bool,
}

impl<'a> HeaderWriter<'a> {
    /// Starts a header. `two_byte` must be set when an extension has an id above 14, an empty value or one of more
    /// than 16 bytes, and may be set only when the far side negotiated `extmap-allow-mixed` or such an id.
    #[inline]
    pub fn new(out: &'a mut [u8], fields: HeaderFields, two_byte: bool) -> Self {
        let mut len = 0;
        if let Some(fixed) = out.first_chunk_mut::<HEADER_LEN_MIN>() {
            *fixed = fields.to_bytes();
            len = HEADER_LEN_MIN;
        }
        Self { out, len, two_byte }
    }

    /// Starts a header with other fields and the elements of `front`. `None` when `out` is shorter than
    /// [`HeaderFront::LEN_MAX`].
    #[inline]
    pub fn resume(out: &'a mut [u8], fields: HeaderFields, front: &HeaderFront) -> Option<Self> {
        // A copy of constant length is a few moves; one of just the right length would be a call.
        *out.first_chunk_mut()? = front.bytes;
        *out.first_chunk_mut()? = fields.to_bytes();
        Some(Self { out, len: front.len, two_byte: front.two_byte })
    }

    /// What is written so far, to start other headers with. `None` when it is longer than [`HeaderFront::LEN_MAX`].
    #[must_use]
    pub fn front(&self) -> Option<HeaderFront> {
        let mut bytes = [0; HeaderFront::LEN_MAX];
        bytes.get_mut(..self.len)?.copy_from_slice(self.out.get(..self.len)?);
        Some(HeaderFront { bytes, len: self.len, two_byte: self.two_byte })
    }

    /// Where the next byte goes.
    #[must_use]
    pub fn position(&self) -> usize {
        self.len
    }

    /// Overwrites what was written at a position.
    #[inline]
    pub fn patch<const LEN: usize>(&mut self, at: usize, value: [u8; LEN]) {
        if let Some(place) = self.out.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            *place = value;
        }
    }

    /// Appends an extension element. False, with nothing written, when it does not fit the form or the buffer.
    #[inline]
    pub fn extension(&mut self, id: u8, value: &[u8]) -> bool {
        let legal = match self.two_byte {
            true => id != 0 && value.len() <= 255,
            false => (1..=14).contains(&id) && (1..=16).contains(&value.len()),
        };
        if self.len == 0 || !legal {
            return false;
        }
        let start = if self.len == HEADER_LEN_MIN { HEADER_LEN_MIN + 4 } else { self.len };
        let value_at = start + if self.two_byte { 2 } else { 1 };
        let end = value_at + value.len();
        // `finish` pads to 32 bits, so there must be room for that too.
        if end.next_multiple_of(4) > self.out.len() {
            return false;
        }
        if self.two_byte {
            self.out[start] = id;
            self.out[start + 1] = value.len() as u8;
        } else {
            self.out[start] = id << 4 | (value.len() - 1) as u8;
        }
        self.out[value_at..end].copy_from_slice(value);
        self.len = end;
        true
    }

    /// Completes the header and returns its length in bytes, a multiple of four; 0 when `out` was too small for any.
    #[must_use]
    #[inline]
    pub fn finish(self) -> usize {
        if self.len <= HEADER_LEN_MIN {
            return self.len;
        }
        let end = self.len.next_multiple_of(4);
        match self.out.get_mut(self.len..).and_then(|rest| rest.first_chunk_mut::<3>()) {
            // Perhaps more than there is to pad, but the payload follows; of constant length it is no call.
            Some(padding) if end > self.len => *padding = [0; 3],
            _ => self.out[self.len..end].fill(0),
        }
        let words = ((end - HEADER_LEN_MIN - 4) / 4) as u16;
        let profile = if self.two_byte { PROFILE_TWO_BYTE } else { PROFILE_ONE_BYTE };
        self.out[0] |= EXTENSION_BIT;
        self.out[HEADER_LEN_MIN..HEADER_LEN_MIN + 2].copy_from_slice(&profile.to_be_bytes());
        self.out[HEADER_LEN_MIN + 2..HEADER_LEN_MIN + 4].copy_from_slice(&words.to_be_bytes());
        end
    }
}

/// Appends `padding` bytes to the packet of `len` bytes in the front of `out`; its new length. `None` when `out` is too
/// small.
#[inline]
pub fn pad(out: &mut [u8], len: usize, padding: u8) -> Option<usize> {
    if padding == 0 {
        return Some(len);
    }
    let end = len + usize::from(padding);
    let (count, zeros) = out.get_mut(len..end)?.split_last_mut()?;
    zeros.fill(0);
    *count = padding;
    out[0] |= PADDING_BIT;
    Some(end)
}

const PADDING_BIT: u8 = 0x20;
const EXTENSION_BIT: u8 = 0x10;
const PROFILE_ONE_BYTE: u16 = 0xbede;
const PROFILE_TWO_BYTE: u16 = 0x1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::random;
    use rand::Rng;

    const FIELDS: HeaderFields = HeaderFields {
        marker: true,
        payload_type: PayloadType(96),
        sequence: 0x1234,
        timestamp: 0xdead_beef,
        ssrc: Ssrc(0xcafe_babe),
    };

    fn written(two_byte: bool, extensions: &[(u8, &[u8])], payload: &[u8]) -> Vec<u8> {
        let mut out = [0xff; 2048];
        let mut writer = HeaderWriter::new(&mut out, FIELDS, two_byte);
        for &(id, value) in extensions {
            assert!(writer.extension(id, value), "extension {id}");
        }
        let len = writer.finish();
        let mut packet = out[..len].to_vec();
        packet.extend_from_slice(payload);
        packet
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let packet = written(false, &[(1, &[7]), (14, &[9; 16]), (3, &[1, 2, 3])], b"payload");
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!((header.marker, header.payload_type, header.sequence), (true, PayloadType(96), 0x1234));
        assert_eq!((header.timestamp, header.ssrc), (0xdead_beef, Ssrc(0xcafe_babe)));
        assert_eq!(header.len % 4, 0);
        assert_eq!(header.payload(&packet), b"payload");
        let extensions: Vec<_> = header.extensions(&packet).collect();
        assert_eq!(extensions, [(1, &[7][..]), (14, &[9; 16]), (3, &[1, 2, 3])]);
        assert_eq!(header.extension(&packet, 3), Some(&[1, 2, 3][..]));
        assert_eq!(header.extension(&packet, 4), None);
    }

    #[test]
    fn two_byte_form_takes_id_15_empty_and_long_values() {
        let long = [5; 255];
        let packet = written(true, &[(15, &[1]), (200, &[]), (255, &long)], b"x");
        let header = RtpHeader::parse(&packet).unwrap();
        let extensions: Vec<_> = header.extensions(&packet).collect();
        assert_eq!(extensions, [(15, &[1][..]), (200, &[]), (255, &long[..])]);
        assert_eq!(header.payload(&packet), b"x");
    }

    #[test]
    fn a_header_without_extensions_has_no_extension_block() {
        let packet = written(true, &[], b"x");
        assert_eq!((packet.len(), packet[0]), (13, 0x80));
    }

    #[test]
    fn another_parser_finds_the_padding_that_was_added() {
        use rtc_shared::marshal::Unmarshal;
        for padding in [0, 1, 2, 8, 255] {
            // What lies behind the packet is left over from others.
            let mut out = vec![0xaa; 600];
            let plain = written(false, &[(1, &[7])], b"payload");
            out[..plain.len()].copy_from_slice(&plain);
            let len = pad(&mut out, plain.len(), padding).unwrap();
            assert_eq!(len, plain.len() + usize::from(padding));
            let parsed = rtc_rtp::Packet::unmarshal(&mut &out[..len]).unwrap();
            assert_eq!((parsed.header.padding, &parsed.payload[..]), (padding > 0, &b"payload"[..]), "{padding}");
            assert_eq!((parsed.header.sequence_number, parsed.header.payload_type), (0x1234, 96));
            let header = RtpHeader::parse(&out[..len]).unwrap();
            assert_eq!((header.padding, header.payload(&out[..len])), (usize::from(padding), &b"payload"[..]));
            let zeros = out[plain.len()..len].split_last().map_or(&[][..], |(_, zeros)| zeros);
            assert!(zeros.iter().all(|&byte| byte == 0), "nothing of other packets goes out");
        }
        assert_eq!(pad(&mut [0x80; 20], 13, 8), None, "no room");
        assert_eq!(pad(&mut [0x80; 20], 13, 7), Some(20));
    }

    #[test]
    fn matches_the_bytes_of_rfc_8285() {
        // One-byte form: id 1 with one byte, padding, id 2 with three bytes (section 4.2's figure, reordered).
        let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, 2];
        packet.extend_from_slice(&[0x10, 0xaa, 0, 0, 0x22, 1, 2, 3, b'p']);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.extensions(&packet).collect::<Vec<_>>(), [(1, &[0xaa][..]), (2, &[1, 2, 3])]);
        // Two-byte form with application bits set.
        packet[12..].copy_from_slice(&[0x10, 0x0f, 0, 2, 1, 0, 0, 2, 3, 1, 2, 3, b'p']);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.extensions(&packet).collect::<Vec<_>>(), [(1, &[][..]), (2, &[1, 2, 3])]);
    }

    #[test]
    fn id_15_ends_the_one_byte_form_and_other_profiles_have_no_elements() {
        let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, 1, 0x10, 7, 0xf0, 8];
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!(header.extensions(&packet).collect::<Vec<_>>(), [(1, &[7][..])]);
        packet[12] = 0x77;
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!((header.len, header.extensions(&packet).count()), (20, 0));
    }

    #[test]
    fn skips_contributing_sources_and_padding() {
        let mut packet = vec![0x80 | 0x20 | 2, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 1, 1, 1, 2, 2, 2, 2];
        packet.extend_from_slice(&[b'p', 0, 0, 3]);
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!((header.len, header.padding, header.payload(&packet)), (20, 3, &b"p"[..]));
        let protected = RtpHeader::parse_protected(&packet).unwrap();
        assert_eq!(protected.payload(&packet).len(), 4, "an encrypted packet's last byte is no padding count");
    }

    #[test]
    fn refuses_impossible_headers() {
        let packet = written(false, &[], &[4]);
        assert_eq!(RtpHeader::parse(&packet[..11]), Err(RtpError::TooShort));
        let with_first = |first: u8| {
            let mut packet = packet.clone();
            packet[0] = first;
            RtpHeader::parse(&packet)
        };
        assert_eq!(with_first(0x40), Err(RtpError::Version));
        assert_eq!(with_first(0x81), Err(RtpError::TooShort), "no room for the contributing source");
        assert_eq!(with_first(0x90), Err(RtpError::TooShort), "no room for the extension block");
        assert_eq!(with_first(0xa0), Err(RtpError::Padding), "four bytes of padding in one");
        let mut zero_padding = packet.clone();
        (zero_padding[0], zero_padding[12]) = (0xa0, 0);
        assert_eq!(RtpHeader::parse(&zero_padding), Err(RtpError::Padding));
        let mut all_padding = packet;
        (all_padding[0], all_padding[12]) = (0xa0, 1);
        assert_eq!(RtpHeader::parse(&all_padding).map(|header| header.payload(&all_padding).len()), Ok(0));
    }

    #[test]
    fn writes_nothing_that_does_not_fit() {
        let mut out = [0; 11];
        let mut writer = HeaderWriter::new(&mut out, FIELDS, false);
        assert!(!writer.extension(1, &[1]));
        assert_eq!(writer.finish(), 0);

        let mut out = [0; 20];
        let mut writer = HeaderWriter::new(&mut out, FIELDS, false);
        assert!(!writer.extension(0, &[1]), "id 0 is padding");
        assert!(!writer.extension(15, &[1]), "id 15 needs the two-byte form");
        assert!(!writer.extension(1, &[]), "so does an empty value");
        assert!(!writer.extension(1, &[0; 4]), "five bytes and their padding do not fit");
        assert!(writer.extension(1, &[0; 3]));
        assert!(!writer.extension(2, &[0]));
        assert_eq!(writer.finish(), 20);
    }

    #[test]
    fn any_set_of_extensions_survives_a_round_trip() {
        let mut rng = random::rng(4);
        for _ in 0..2_000 {
            let two_byte = rng.random();
            let (id_max, len_range) = if two_byte { (255, 0..=40) } else { (14, 1..=16) };
            let extensions: Vec<(u8, Vec<u8>)> = (0..rng.random_range(0..6))
                .map(|_| (rng.random_range(1..=id_max), vec![rng.random(); rng.random_range(len_range.clone())]))
                .collect();
            let borrowed: Vec<(u8, &[u8])> = extensions.iter().map(|(id, value)| (*id, &value[..])).collect();
            let packet = written(two_byte, &borrowed, b"payload");
            let header = RtpHeader::parse(&packet).unwrap();
            assert_eq!(header.extensions(&packet).collect::<Vec<_>>(), borrowed);
            assert_eq!(header.payload(&packet), b"payload");
        }
    }

    #[test]
    fn survives_hostile_input() {
        let one_byte = written(false, &[(1, &[7]), (14, &[9; 16])], b"payload");
        let two_byte = written(true, &[(15, &[7]), (200, &[9; 20])], b"payload");
        random::for_hostile_inputs(5, &[&one_byte, &two_byte], |input| {
            if let Ok(header) = RtpHeader::parse(input) {
                assert_eq!(header.len + header.padding + header.payload(input).len(), input.len());
                assert!(header.extensions(input).map(|(_, value)| value.len()).sum::<usize>() <= header.len);
                let shorter = &input[..input.len() / 2];
                assert!(header.payload(shorter).len() <= shorter.len());
                assert!(header.extensions(shorter).count() <= header.len);
            }
        });
    }
}
