//! VP9 payload descriptor (RFC 9628 section 4.2), in flexible and non-flexible mode.
//!
//! Not here: the VP9 bit stream itself; what forwarding needs is all in the descriptor.
//! Invariant: every offset handed out lies inside the payload it was read from.

use super::frame::{FrameInfo, PictureNumbers};
use crate::units::PictureSize;

/// The descriptor's fields.
#[derive(Clone, Copy, Default)]
struct PayloadDescriptor {
    starts_frame: bool,
    ends_frame: bool,
    /// Refers to an earlier picture.
    inter_picture: bool,
    /// Refers to a lower spatial layer of the same picture.
    inter_layer: bool,
    numbers: Option<PictureNumbers>,
    spatial: u8,
    temporal: u8,
    layer_sync: bool,
    picture_size: Option<PictureSize>,
}

/// Reads one packet's payload. Frame borders are those of a spatial layer's frame; the RTP marker ends the picture.
#[must_use]
pub fn inspect(payload: &[u8], marker: bool) -> FrameInfo {
    let Some(descriptor) = PayloadDescriptor::parse(payload) else {
        return FrameInfo::default();
    };
    let keyframe = descriptor.starts_frame && !descriptor.inter_picture && !descriptor.inter_layer;
    FrameInfo {
        starts_frame: descriptor.starts_frame,
        ends_frame: descriptor.ends_frame || marker,
        keyframe,
        spatial: descriptor.spatial,
        temporal: descriptor.temporal,
        layer_sync: descriptor.layer_sync,
        picture_size: descriptor.picture_size.filter(|_| keyframe),
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
        let [has_picture_id, inter_picture, has_layers, flexible, starts_frame, ends_frame, has_structure] =
            [0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02].map(|bit| first & bit != 0);
        let mut descriptor = PayloadDescriptor { starts_frame, ends_frame, inter_picture, ..Self::default() };
        let mut at = 1;
        if has_picture_id {
            at = descriptor.parse_picture_id(payload, at)?;
        }
        if has_layers {
            at = descriptor.parse_layers(payload, at, flexible)?;
        }
        if flexible && inter_picture {
            at = skip_references(payload, at)?;
        }
        if has_structure {
            descriptor.picture_size = structure_size(payload, at)?;
        }
        Some(descriptor)
    }

    fn parse_picture_id(&mut self, payload: &[u8], at: usize) -> Option<usize> {
        let &high = payload.get(at)?;
        let wide = high & 0x80 != 0;
        let picture_id = if wide { u16::from_be_bytes([high & 0x7f, *payload.get(at + 1)?]) } else { u16::from(high) };
        self.numbers = Some(PictureNumbers {
            picture_id,
            picture_id_bits: if wide { 15 } else { 7 },
            tl0_pic_idx: None,
            picture_id_offset: at,
            tl0_pic_idx_offset: None,
        });
        Some(at + if wide { 2 } else { 1 })
    }

    fn parse_layers(&mut self, payload: &[u8], at: usize, flexible: bool) -> Option<usize> {
        let &layer = payload.get(at)?;
        self.temporal = layer >> 5;
        self.layer_sync = layer & 0x10 != 0;
        self.spatial = layer >> 1 & 0x07;
        self.inter_layer = layer & 0x01 != 0;
        if flexible {
            return Some(at + 1);
        }
        let &index = payload.get(at + 1)?;
        if let Some(numbers) = &mut self.numbers {
            numbers.tl0_pic_idx = Some(index);
            numbers.tl0_pic_idx_offset = Some(at + 1);
        }
        Some(at + 2)
    }
}

/// Skips the list of references of flexible mode; more than three are not legal.
fn skip_references(payload: &[u8], start: usize) -> Option<usize> {
    for at in start..start + REFERENCES_MAX {
        if payload.get(at)? & 0x01 == 0 {
            return Some(at + 1);
        }
    }
    None
}

/// The size of the highest spatial layer in the scalability structure at `at`, when it tells sizes.
fn structure_size(payload: &[u8], at: usize) -> Option<Option<PictureSize>> {
    let &first = payload.get(at)?;
    if first & 0x10 == 0 {
        return Some(None);
    }
    let highest = at + 1 + 4 * usize::from(first >> 5);
    let size = payload.get(highest..highest + 4)?;
    Some(Some(PictureSize {
        width: u16::from_be_bytes([size[0], size[1]]),
        height: u16::from_be_bytes([size[2], size[3]]),
    }))
}

const REFERENCES_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_keyframe_and_the_size_of_its_highest_layer() {
        // I, L, B, V; 15-bit id; TID 0, SID 0; TL0PICIDX; structure of two layers with sizes and no picture group.
        let payload =
            [0xaa, 0x81, 0x23, 0x00, 0x07, 1 << 5 | 0x10, 0x01, 0x40, 0x00, 0xb4, 0x02, 0x80, 0x01, 0x68, 0xde];
        let frame = inspect(&payload, false);
        assert!(frame.keyframe && frame.starts_frame && !frame.ends_frame);
        assert_eq!(frame.picture_size, Some(PictureSize { width: 640, height: 360 }));
        let numbers = picture_numbers(&payload).unwrap();
        assert_eq!((numbers.picture_id, numbers.picture_id_bits, numbers.tl0_pic_idx), (0x123, 15, Some(7)));
    }

    #[test]
    fn upper_spatial_layers_of_a_key_picture_are_not_keyframes() {
        let upper = inspect(&[0xa8, 0x01, 1 << 1 | 1, 0x07, 0xde], false);
        assert_eq!((upper.spatial, upper.keyframe, upper.starts_frame), (1, false, true));
        let independent = inspect(&[0xa8, 0x01, 1 << 1, 0x07, 0xde], false);
        assert!(independent.keyframe, "a spatial layer of its own can be decoded alone");
    }

    #[test]
    fn reads_layers_in_flexible_mode() {
        // I, P, L, F, B, E; 7-bit id; TID 2, U, SID 1, D; two references; no TL0PICIDX in this mode.
        let payload = [0xfc, 0x05, 2 << 5 | 0x10 | 1 << 1 | 1, 0x03, 0x04, 0xde];
        let frame = inspect(&payload, false);
        assert_eq!((frame.temporal, frame.spatial, frame.layer_sync, frame.keyframe), (2, 1, true, false));
        assert!(frame.starts_frame && frame.ends_frame);
        let numbers = picture_numbers(&payload).unwrap();
        assert_eq!((numbers.picture_id, numbers.picture_id_bits, numbers.tl0_pic_idx), (5, 7, None));
        assert_eq!(inspect(&[0xfc, 0x05, 0x00, 0x03, 0x03, 0x03, 0xde], false), FrameInfo::default(), "4 references");
    }

    #[test]
    fn rewrites_both_widths_in_place() {
        let mut wide = [0xa8, 0x81, 0x23, 0x00, 0x07, 0xde];
        rewrite_picture_numbers(&mut wide, 0x4321, Some(8));
        assert_eq!(wide, [0xa8, 0x80 | 0x43, 0x21, 0x00, 8, 0xde]);
        let mut narrow = [0xb8, 0x05, 0x00, 0xde];
        rewrite_picture_numbers(&mut narrow, 0x4321, Some(8));
        assert_eq!(narrow, [0xb8, 0x21, 0x00, 0xde], "flexible mode has no base layer index to write");
    }

    #[test]
    fn a_descriptor_cut_short_says_nothing() {
        let whole = [0xfa, 0x81, 0x23, 0x00, 0x03, 0x04, 0x10, 0x01, 0x40, 0x00, 0xb4];
        assert!(inspect(&whole, false).starts_frame);
        for len in 0..whole.len() {
            assert_eq!(inspect(&whole[..len], true), FrameInfo::default(), "{len} bytes");
        }
    }
}
