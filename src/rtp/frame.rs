//! What forwarding must know of a packet's payload: frame borders, keyframes, layers, picture size.
//!
//! Read from the codec's payload header here, or from the dependency descriptor when there is one
//! ([`super::dependency_descriptor::Descriptor::frame_info`]), which also works when the payload is encrypted end to
//! end. Never decodes a picture and never trusts a length without checking it.

use super::codec::Codec;
use super::{av1, h264, vp8, vp9};
use crate::units::PictureSize;

/// What one packet says of the frame it belongs to. A malformed payload gives the default: nothing special.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FrameInfo {
    /// First packet of a frame (of one spatial layer's frame with SVC). For H264 also a parameter set before it.
    pub starts_frame: bool,
    /// Last packet of a frame (of one spatial layer's frame with SVC).
    pub ends_frame: bool,
    /// First packet of a picture from which a decoder can start. Every audio packet is one.
    pub keyframe: bool,
    /// Spatial layer inside this stream; 0 without SVC.
    pub spatial: u8,
    /// Temporal layer; 0 without.
    pub temporal: u8,
    /// A receiver of lower temporal layers may take up this one here.
    pub layer_sync: bool,
    /// Encoded size, when this packet tells it (keyframes only).
    pub picture_size: Option<PictureSize>,
}

/// The picture numbers in a VP8 or VP9 payload header, which must stay continuous across a switch of layers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PictureNumbers {
    /// Counts pictures modulo `2^picture_id_bits`.
    pub picture_id: u16,
    /// 7 or 15.
    pub picture_id_bits: u8,
    /// Counts base temporal layer pictures, when present.
    pub tl0_pic_idx: Option<u8>,
    /// Where the picture id starts in the payload.
    pub picture_id_offset: usize,
    /// Where the base layer index is in the payload.
    pub tl0_pic_idx_offset: Option<usize>,
}

impl PictureNumbers {
    /// Writes new numbers into the payload from which these were read. The width of the picture id stays as it is,
    /// a base layer index is written only where there was one. Does nothing on a payload that is too short.
    pub(super) fn write(self, payload: &mut [u8], picture_id: u16, tl0_pic_idx: Option<u8>) {
        let at = self.picture_id_offset;
        if self.picture_id_bits == 15 {
            if let Some(wide) = payload.get_mut(at..at + 2) {
                wide.copy_from_slice(&(picture_id | 0x8000).to_be_bytes());
            }
        } else if let Some(narrow) = payload.get_mut(at) {
            *narrow = picture_id as u8 & 0x7f;
        }
        if let (Some(index), Some(at)) = (tl0_pic_idx, self.tl0_pic_idx_offset)
            && let Some(byte) = payload.get_mut(at)
        {
            *byte = index;
        }
    }
}

/// Reads a payload of `codec` (without padding) as far as forwarding needs it. `marker` is the RTP header's.
#[must_use]
pub fn inspect(codec: Codec, payload: &[u8], marker: bool) -> FrameInfo {
    match codec {
        Codec::Opus => FrameInfo { starts_frame: true, ends_frame: true, keyframe: true, ..FrameInfo::default() },
        Codec::Vp8 => vp8::inspect(payload, marker),
        Codec::Vp9 { .. } => vp9::inspect(payload, marker),
        Codec::H264 { .. } => h264::inspect(payload, marker),
        Codec::Av1 => av1::inspect(payload, marker),
    }
}

/// The picture numbers of a payload, for the codecs that have them.
#[must_use]
pub fn picture_numbers(codec: Codec, payload: &[u8]) -> Option<PictureNumbers> {
    match codec {
        Codec::Vp8 => vp8::picture_numbers(payload),
        Codec::Vp9 { .. } => vp9::picture_numbers(payload),
        Codec::Opus | Codec::H264 { .. } | Codec::Av1 => None,
    }
}

/// Replaces the picture numbers of a payload in place; does nothing where there are none.
pub fn rewrite_picture_numbers(codec: Codec, payload: &mut [u8], picture_id: u16, tl0_pic_idx: Option<u8>) {
    if let Some(numbers) = picture_numbers(codec, payload) {
        numbers.write(payload, picture_id, tl0_pic_idx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::random;

    const CODECS: [Codec; 5] = [
        Codec::Opus,
        Codec::Vp8,
        Codec::Vp9 { profile: 0 },
        Codec::H264 { profile: 0x42e0, packetization_mode: 1 },
        Codec::Av1,
    ];

    #[test]
    fn every_audio_packet_is_a_frame_of_its_own() {
        let frame = inspect(Codec::Opus, &[0x78], false);
        assert!(frame.starts_frame && frame.ends_frame && frame.keyframe);
    }

    #[test]
    fn an_empty_video_payload_says_nothing() {
        for codec in &CODECS[1..] {
            assert_eq!(inspect(*codec, &[], true), FrameInfo::default(), "{codec:?}");
        }
    }

    #[test]
    fn only_video_with_a_picture_id_is_rewritten() {
        let mut payload = [0x90, 0x80, 0x05, 0x00];
        rewrite_picture_numbers(Codec::H264 { profile: 0x42e0, packetization_mode: 1 }, &mut payload, 9, None);
        assert_eq!(payload, [0x90, 0x80, 0x05, 0x00]);
        rewrite_picture_numbers(Codec::Vp8, &mut payload, 9, None);
        assert_eq!(payload, [0x90, 0x80, 0x09, 0x00]);
    }

    #[test]
    fn survives_hostile_input_and_rewrites_only_numbers() {
        let seeds: [&[u8]; 4] = [
            &[0x90, 0xf0, 0x80, 0x05, 0x07, 0x60, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0],
            &[0xaa, 0x81, 0x05, 0x02, 0x07, 0x38, 1, 0x40, 0, 0xf0, 1],
            &[0x78, 0, 5, 0x67, 0x42, 0xe0, 0x1f, 0x8c, 0, 2, 0x65, 0x88],
            &[0x18, 0x0a, 0x0b, 0, 0, 0, 0x24, 0xc4, 0xff, 0xdf, 0x3f],
        ];
        random::for_hostile_inputs(6, &seeds, |input| {
            for codec in CODECS {
                let mut rewritten = input.to_vec();
                rewrite_picture_numbers(codec, &mut rewritten, 0x7abc, Some(0xde));
                assert_eq!(inspect(codec, &rewritten, true), inspect(codec, input, true));
                if let Some(numbers) = picture_numbers(codec, &rewritten) {
                    let mask = if numbers.picture_id_bits == 15 { 0x7fff } else { 0x7f };
                    assert_eq!(numbers.picture_id, 0x7abc & mask);
                    assert!(numbers.tl0_pic_idx.is_none_or(|index| index == 0xde));
                } else {
                    assert_eq!(rewritten, input);
                }
            }
        });
    }
}
