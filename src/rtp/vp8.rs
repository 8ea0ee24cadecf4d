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
