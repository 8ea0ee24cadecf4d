//! VP8 payload descriptor (RFC 7741 section 4.2) and as much of the frame header (RFC 6386 section 9.1) as tells a
//! keyframe and its size.
//!
//! Not here: decoding. Invariant: every offset handed out lies inside the payload it was read from.

use super::frame::{FrameInfo, PictureNumbers};
use crate::units::PictureSize;

/// The descriptor's fields, and where the VP8 data starts.
#[derive(Clone, Copy, Default)]
struct PayloadDescriptor {
    /// First packet of partition 0, which is the first of the frame.
    starts_frame: bool,
    numbers: Option<PictureNumbers>,
    temporal: u8,
    layer_sync: bool,
    len: usize,
}

/// Reads one packet's payload.
#[must_use]
pub fn inspect(payload: &[u8], marker: bool) -> FrameInfo {
    let Some(descriptor) = PayloadDescriptor::parse(payload) else {
        return FrameInfo::default();
    };
    let data = &payload[descriptor.len..];
    let keyframe = descriptor.starts_frame && data.first().is_some_and(|first| first & 1 == 0);
    FrameInfo {
        starts_frame: descriptor.starts_frame,
        ends_frame: marker,
        keyframe,
        spatial: 0,
        temporal: descriptor.temporal,
        layer_sync: descriptor.layer_sync,
        picture_size: if keyframe { keyframe_size(data) } else { None },
    }
}

/// The picture id and base layer index; `None` when the sender gives no picture id.
#[must_use]
pub fn picture_numbers(payload: &[u8]) -> Option<PictureNumbers> {
    PayloadDescriptor::parse(payload)?.numbers
}

/// Replaces the picture numbers in place; does nothing where there are none. The picture id keeps its width.
pub fn rewrite_picture_numbers(payload: &mut [u8], picture_id: u16, tl0_pic_idx: Option<u8>) {
    if let Some(numbers) = picture_numbers(payload) {
        numbers.write(payload, picture_id, tl0_pic_idx);
    }
}

impl PayloadDescriptor {
    /// `None` when the payload ends inside its descriptor.
    fn parse(payload: &[u8]) -> Option<Self> {
        let &first = payload.first()?;
        let starts_frame = first & 0x10 != 0 && first & 0x07 == 0;
        let mut descriptor = PayloadDescriptor { starts_frame, len: 1, ..Self::default() };
        if first & 0x80 == 0 {
            return Some(descriptor);
        }
        let &flags = payload.get(1)?;
        let [has_picture_id, has_tl0_pic_idx, has_temporal, has_key_index] =
            [0x80, 0x40, 0x20, 0x10].map(|bit| flags & bit != 0);
        let mut at = 2;
        if has_picture_id {
            let &high = payload.get(at)?;
            let wide = high & 0x80 != 0;
            let picture_id =
                if wide { u16::from_be_bytes([high & 0x7f, *payload.get(at + 1)?]) } else { u16::from(high) };
            descriptor.numbers = Some(PictureNumbers {
                picture_id,
                picture_id_bits: if wide { 15 } else { 7 },
                tl0_pic_idx: None,
                picture_id_offset: at,
                tl0_pic_idx_offset: None,
            });
            at += if wide { 2 } else { 1 };
        }
        if has_tl0_pic_idx {
            let &index = payload.get(at)?;
            if let Some(numbers) = &mut descriptor.numbers {
                numbers.tl0_pic_idx = Some(index);
                numbers.tl0_pic_idx_offset = Some(at);
            }
            at += 1;
        }
        if has_temporal || has_key_index {
            let &layer = payload.get(at)?;
            if has_temporal {
                descriptor.temporal = layer >> 6;
                descriptor.layer_sync = layer & 0x20 != 0;
            }
            at += 1;
        }
        descriptor.len = at;
        Some(descriptor)
    }
}

/// Width and height of a keyframe (RFC 6386 section 9.1); the upper two bits of each are a scaling hint.
fn keyframe_size(data: &[u8]) -> Option<PictureSize> {
    let header: &[u8; 10] = data.first_chunk()?;
    if header[3..6] != [0x9d, 0x01, 0x2a] {
        return None;
    }
    let dimension = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]) & 0x3fff;
    Some(PictureSize { width: dimension(6), height: dimension(8) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frame header of a 320x240 keyframe: tag, start code, dimensions with scaling bits set.
    const KEYFRAME_DATA: [u8; 10] = [0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x41, 0xf0, 0x80];

    fn payload(descriptor: &[u8], data: &[u8]) -> Vec<u8> {
        [descriptor, data].concat()
    }

    #[test]
    fn tells_a_keyframe_and_its_size() {
        let frame = inspect(&payload(&[0x10], &KEYFRAME_DATA), false);
        assert!(frame.starts_frame && frame.keyframe && !frame.ends_frame);
        assert_eq!(frame.picture_size, Some(PictureSize { width: 320, height: 240 }));
    }

    #[test]
    fn a_later_packet_of_a_keyframe_is_not_a_keyframe() {
        assert!(!inspect(&payload(&[0x00], &KEYFRAME_DATA), true).keyframe, "no start of partition");
        let second_partition = inspect(&payload(&[0x11], &KEYFRAME_DATA), true);
        assert!(!second_partition.starts_frame && !second_partition.keyframe && second_partition.ends_frame);
    }

    #[test]
    fn an_inter_frame_is_not_a_keyframe() {
        let frame = inspect(&payload(&[0x10], &[0x11, 0, 0]), true);
        assert!(frame.starts_frame && !frame.keyframe);
        assert_eq!(frame.picture_size, None);
    }

    #[test]
    fn reads_layers_behind_every_combination_of_optional_fields() {
        for flags in 0u8..16 {
            let mut descriptor = vec![0x90, flags << 4];
            if flags & 8 != 0 {
                descriptor.extend_from_slice(&[0x80 | 0x12, 0x34]);
            }
            if flags & 4 != 0 {
                descriptor.push(0x55);
            }
            if flags & 3 != 0 {
                descriptor.push(2 << 6 | 0x20 | 7);
            }
            let payload = payload(&descriptor, &KEYFRAME_DATA);
            let frame = inspect(&payload, false);
            assert!(frame.keyframe, "flags {flags:04b}");
            assert_eq!(frame.picture_size, Some(PictureSize { width: 320, height: 240 }), "flags {flags:04b}");
            let has_layers = flags & 2 != 0;
            assert_eq!((frame.temporal, frame.layer_sync), if has_layers { (2, true) } else { (0, false) });
            let numbers = picture_numbers(&payload);
            assert_eq!(numbers.map(|n| (n.picture_id, n.picture_id_bits)), (flags & 8 != 0).then_some((0x1234, 15)));
            let index = (flags & 12 == 12).then_some(0x55);
            assert_eq!(numbers.and_then(|n| n.tl0_pic_idx), index, "flags {flags:04b}");
        }
    }

    #[test]
    fn rewrites_both_widths_in_place() {
        let mut wide = payload(&[0x90, 0xc0, 0x80, 0x01, 0x02], &KEYFRAME_DATA);
        rewrite_picture_numbers(&mut wide, 0x7fff, Some(9));
        assert_eq!(wide[..5], [0x90, 0xc0, 0xff, 0xff, 9]);
        assert_eq!(wide[5..], KEYFRAME_DATA);

        let mut narrow = payload(&[0x90, 0xc0, 0x01, 0x02], &KEYFRAME_DATA);
        rewrite_picture_numbers(&mut narrow, 0x7fff, None);
        assert_eq!(narrow[..4], [0x90, 0xc0, 0x7f, 0x02], "seven bits stay seven, no index stays as it was");
        assert_eq!(narrow[4..], KEYFRAME_DATA);
    }

    #[test]
    fn a_descriptor_cut_short_says_nothing() {
        let whole = [0x90, 0xf0, 0x80, 0x01, 0x02, 0x03];
        for len in 0..whole.len() {
            assert_eq!(inspect(&whole[..len], true), FrameInfo::default(), "{len} bytes");
            assert_eq!(picture_numbers(&whole[..len]), None);
        }
    }
}
