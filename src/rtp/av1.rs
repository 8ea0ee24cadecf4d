//! AV1 payloads (RTP Payload Format for AV1 1.0 section 4.4): the aggregation header, OBU headers and the picture
//! size from a sequence header (AV1 specification section 5.5).
//!
//! Not here: frame headers. Layers and borders are only guessed without a dependency descriptor, which every sender
//! of layers attaches.

use super::bits::BitReader;
use super::frame::FrameInfo;
use crate::units::PictureSize;

/// Reads one packet's payload. Without a dependency descriptor a frame's start is the first packet whose first OBU
/// is whole and opens a frame, its end is the marker (the end of the temporal unit).
#[must_use]
pub fn inspect(payload: &[u8], marker: bool) -> FrameInfo {
    let Some((&aggregation, elements)) = payload.split_first() else {
        return FrameInfo::default();
    };
    let continues = aggregation & 0x80 != 0;
    let mut frame =
        FrameInfo { ends_frame: marker, keyframe: aggregation & 0x08 != 0 && !continues, ..FrameInfo::default() };
    frame.starts_frame = frame.keyframe;
    let units = Elements { rest: elements, count: aggregation >> 4 & 0x03, index: 0 };
    for (index, unit) in units.enumerate().take(OBUS_MAX) {
        if index == 0 && continues {
            continue;
        }
        let Some(header) = ObuHeader::parse(unit) else {
            break;
        };
        if index == 0 && OPENING_TYPES.contains(&header.kind) {
            frame.starts_frame = true;
        }
        if let Some((temporal, spatial)) = header.layer {
            (frame.temporal, frame.spatial) = (temporal, spatial);
        }
        if header.kind == OBU_SEQUENCE_HEADER && frame.keyframe {
            frame.picture_size = sequence_size(&unit[header.len..]);
        }
    }
    frame
}

/// OBU elements of a payload.
struct Elements<'a> {
    rest: &'a [u8],
    /// The W field: how many there are, the last one without a length; 0 when every one has a length.
    count: u8,
    index: u8,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() || (self.count != 0 && self.index == self.count) {
            return None;
        }
        self.index = self.index.saturating_add(1);
        if self.index == self.count {
            return Some(std::mem::take(&mut self.rest));
        }
        let (len, len_len) = leb128(self.rest)?;
        let (element, rest) = self.rest[len_len..].split_at_checked(len)?;
        self.rest = rest;
        Some(element)
    }
}

struct ObuHeader {
    kind: u8,
    /// Temporal and spatial id, when the header has them.
    layer: Option<(u8, u8)>,
    /// Bytes before the OBU's own data.
    len: usize,
}

impl ObuHeader {
    fn parse(unit: &[u8]) -> Option<Self> {
        let &first = unit.first()?;
        let mut header = ObuHeader { kind: first >> 3 & 0x0f, layer: None, len: 1 };
        if first & 0x04 != 0 {
            let &extension = unit.get(1)?;
            header.layer = Some((extension >> 5, extension >> 3 & 0x03));
            header.len += 1;
        }
        if first & 0x02 != 0 {
            header.len += leb128(&unit[header.len..])?.1;
        }
        Some(header)
    }
}

/// A little-endian base 128 number of at most five bytes (more cannot be a length here), and its width in bytes.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, index + 1));
        }
    }
    None
}

/// Largest picture of a sequence (AV1 specification section 5.5.1).
fn sequence_size(data: &[u8]) -> Option<PictureSize> {
    let mut bits = BitReader::new(data);
    bits.skip(4)?;
    let reduced = bits.flag()?;
    if reduced {
        bits.skip(5)?;
    } else {
        skip_operating_points(&mut bits)?;
    }
    let width_bits = bits.number(4)? + 1;
    let height_bits = bits.number(4)? + 1;
    let width = bits.number(width_bits)? + 1;
    let height = bits.number(height_bits)? + 1;
    Some(PictureSize { width: u16::try_from(width).ok()?, height: u16::try_from(height).ok()? })
}

fn skip_operating_points(bits: &mut BitReader<'_>) -> Option<()> {
    let mut decoder_model_bits = None;
    if bits.flag()? {
        bits.skip(64)?;
        if bits.flag()? {
            // `uvlc()` differs from Exp-Golomb only for a value that makes no sense here.
            bits.exp_golomb()?;
        }
        if bits.flag()? {
            decoder_model_bits = Some(bits.number(5)? as usize + 1);
            bits.skip(42)?;
        }
    }
    let has_display_delay = bits.flag()?;
    let points = bits.number(5)? + 1;
    for _ in 0..points {
        bits.skip(12)?;
        if bits.number(5)? > 7 {
            bits.flag()?;
        }
        if let Some(delay_bits) = decoder_model_bits
            && bits.flag()?
        {
            bits.skip(2 * delay_bits + 1)?;
        }
        if has_display_delay && bits.flag()? {
            bits.skip(4)?;
        }
    }
    Some(())
}

/// OBUs looked at in one packet; a real one has a handful, and only the first few matter.
const OBUS_MAX: usize = 16;

const OBU_SEQUENCE_HEADER: u8 = 1;
const OBU_TEMPORAL_DELIMITER: u8 = 2;
const OBU_FRAME_HEADER: u8 = 3;
const OBU_METADATA: u8 = 5;
const OBU_FRAME: u8 = 6;
/// OBUs that stand at the beginning of a frame; tile groups stand inside.
const OPENING_TYPES: [u8; 5] = [OBU_SEQUENCE_HEADER, OBU_TEMPORAL_DELIMITER, OBU_FRAME_HEADER, OBU_METADATA, OBU_FRAME];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::bits::BitWriter;

    /// A sequence header OBU without a size field.
    fn sequence_header(width: u32, height: u32, timing: bool) -> Vec<u8> {
        let mut bits = BitWriter::default();
        bits.number(u32::from(OBU_SEQUENCE_HEADER) << 3, 8).number(0, 5);
        bits.number(u32::from(timing), 1);
        if timing {
            // Ticks, equal interval with uvlc 0, decoder model with 10-bit delays.
            bits.number(1, 32).number(30, 32).number(1, 1).number(1, 1).number(1, 1);
            bits.number(9, 5).number(1, 32).number(9, 5).number(9, 5);
        }
        // Display delay; two operating points, one with a tier bit.
        bits.number(1, 1).number(1, 5);
        for level in [8, 4] {
            bits.number(0, 12).number(level, 5);
            if level > 7 {
                bits.number(0, 1);
            }
            if timing {
                bits.number(1, 1).number(0, 10).number(0, 10).number(0, 1);
            }
            bits.number(1, 1).number(3, 4);
        }
        bits.number(10, 4).number(9, 4).number(width - 1, 11).number(height - 1, 10).number(0, 8);
        std::mem::take(&mut bits.bytes)
    }

    #[test]
    fn the_first_packet_of_a_sequence_is_a_keyframe_with_a_size() {
        for timing in [false, true] {
            let sequence = sequence_header(1280, 720, timing);
            // W = 2, N: a sequence header with a length, a frame without.
            let payload = [&[0x28, sequence.len() as u8][..], &sequence, &[OBU_FRAME << 3, 0x10]].concat();
            let frame = inspect(&payload, false);
            assert!(frame.keyframe && frame.starts_frame && !frame.ends_frame);
            assert_eq!(frame.picture_size, Some(PictureSize { width: 1280, height: 720 }), "timing {timing}");
        }
    }

    #[test]
    fn a_packet_that_continues_an_obu_does_not_start_a_frame() {
        let frame = inspect(&[0x90, OBU_FRAME << 3, 1, 2], true);
        assert!(!frame.starts_frame && !frame.keyframe && frame.ends_frame);
        assert!(!inspect(&[0x98, OBU_FRAME << 3], false).keyframe, "a sequence cannot begin inside an OBU");
    }

    #[test]
    fn a_frame_starts_with_its_header_and_not_with_a_tile_group() {
        assert!(inspect(&[0x10, OBU_FRAME << 3, 1, 2], false).starts_frame);
        assert!(inspect(&[0x10, OBU_FRAME_HEADER << 3, 1], false).starts_frame);
        assert!(!inspect(&[0x10, 4 << 3, 1, 2], false).starts_frame);
    }

    #[test]
    fn reads_layers_from_the_obu_extension() {
        // W = 0: every element has a length; the OBU has a size field too.
        let frame = inspect(&[0x00, 4, OBU_FRAME << 3 | 0x06, 2 << 5 | 1 << 3, 1, 0xaa], false);
        assert_eq!((frame.temporal, frame.spatial), (2, 1));
    }

    #[test]
    fn lengths_beyond_the_packet_end_the_walk() {
        let frame = inspect(&[0x08, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x0a], false);
        assert_eq!((frame.keyframe, frame.picture_size), (true, None));
        assert_eq!(leb128(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x01]), None);
        assert_eq!(leb128(&[0xac, 0x02]), Some((300, 2)));
    }
}
