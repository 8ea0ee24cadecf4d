//! H264 payloads (RFC 6184): single NAL units, STAP-A and FU-A, as packetization modes 0 and 1 have them, and the
//! picture size from a sequence parameter set (ITU-T H.264 section 7.3.2.1.1).
//!
//! Not here: decoding, interleaved mode (STAP-B, MTAP, FU-B), which no browser offers.

use super::bits::BitReader;
use super::frame::FrameInfo;
use crate::units::PictureSize;

/// Reads one packet's payload. A parameter set or delimiter before a picture counts as its start, since a receiver
/// must not miss it. A keyframe begins with its sequence parameters, which WebRTC sends in band (RFC 7742 section 6.2):
/// at an IDR picture without them a receiver that saw another stream before could not begin.
#[must_use]
pub fn inspect(payload: &[u8], marker: bool) -> FrameInfo {
    let mut frame = FrameInfo { ends_frame: marker, ..FrameInfo::default() };
    let Some(&indicator) = payload.first() else {
        return FrameInfo::default();
    };
    match indicator & NAL_TYPE {
        STAP_A => {
            for unit in AggregatedUnits(&payload[1..]) {
                frame.note(unit);
            }
        }
        FU_A => frame.note_fragment(payload),
        1..=23 => frame.note(payload),
        _ => return FrameInfo::default(),
    }
    frame
}

impl FrameInfo {
    /// Takes in what a whole NAL unit says.
    fn note(&mut self, unit: &[u8]) {
        let Some((&header, data)) = unit.split_first() else {
            return;
        };
        self.note_start(header & NAL_TYPE, data);
    }

    /// Takes in what a fragment of a NAL unit says; only the first one tells where a picture starts.
    fn note_fragment(&mut self, payload: &[u8]) {
        if let [_, header, data @ ..] = payload
            && header & FU_START != 0
        {
            self.note_start(header & NAL_TYPE, data);
        }
    }

    fn note_start(&mut self, nal_type: u8, data: &[u8]) {
        match nal_type {
            SLICE | SLICE_IDR if starts_picture(data) => self.starts_frame = true,
            SEQUENCE_PARAMETERS => {
                self.starts_frame = true;
                self.keyframe = true;
                self.picture_size = sequence_size(data);
            }
            SUPPLEMENTAL | PICTURE_PARAMETERS | DELIMITER => self.starts_frame = true,
            _ => {}
        }
    }
}

/// Whether a slice is the first of its picture: `first_mb_in_slice` is 0, which is coded as a single 1.
fn starts_picture(slice: &[u8]) -> bool {
    slice.first().is_some_and(|first| first & 0x80 != 0)
}

/// NAL units of a STAP-A: each behind its length.
struct AggregatedUnits<'a>(&'a [u8]);

impl<'a> Iterator for AggregatedUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&len, rest) = self.0.split_first_chunk()?;
        let (unit, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(len)))?;
        self.0 = rest;
        Some(unit)
    }
}

/// Cropped picture size of a sequence parameter set (after its NAL header). `None` when it does not parse.
fn sequence_size(data: &[u8]) -> Option<PictureSize> {
    let (bytes, len) = without_emulation_prevention(data);
    let mut bits = BitReader::new(&bytes[..len]);
    let profile = bits.small(8)?;
    bits.skip(16)?;
    bits.exp_golomb()?;
    let mut chroma_format = 1;
    if HIGH_PROFILES.contains(&profile) {
        chroma_format = skip_high_profile_fields(&mut bits)?;
    }
    bits.exp_golomb()?;
    skip_picture_order(&mut bits)?;
    bits.exp_golomb()?;
    bits.flag()?;
    let width_in_blocks = bits.exp_golomb()?.checked_add(1)?;
    let height_in_units = bits.exp_golomb()?.checked_add(1)?;
    let frames_only = bits.flag()?;
    if !frames_only {
        bits.flag()?;
    }
    bits.flag()?;
    let fields = if frames_only { 1 } else { 2 };
    let (crop_x, crop_y) = match chroma_format {
        1 => (2, 2 * fields),
        2 => (2, fields),
        _ => (1, fields),
    };
    let mut width = width_in_blocks.checked_mul(16)?;
    let mut height = height_in_units.checked_mul(16 * fields)?;
    if bits.flag()? {
        let [left, right, top, bottom] =
            [bits.exp_golomb()?, bits.exp_golomb()?, bits.exp_golomb()?, bits.exp_golomb()?];
        width = width.checked_sub(left.checked_add(right)?.checked_mul(crop_x)?)?;
        height = height.checked_sub(top.checked_add(bottom)?.checked_mul(crop_y)?)?;
    }
    Some(PictureSize { width: u16::try_from(width).ok()?, height: u16::try_from(height).ok()? })
}

/// Returns `chroma_format_idc`.
fn skip_high_profile_fields(bits: &mut BitReader<'_>) -> Option<u32> {
    let chroma_format = bits.exp_golomb()?;
    if chroma_format == 3 {
        bits.flag()?;
    }
    bits.exp_golomb()?;
    bits.exp_golomb()?;
    bits.flag()?;
    if bits.flag()? {
        let lists = if chroma_format == 3 { 12 } else { 8 };
        for list in 0..lists {
            if bits.flag()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(chroma_format)
}

fn skip_scaling_list(bits: &mut BitReader<'_>, len: usize) -> Option<()> {
    let mut last = 8;
    for _ in 0..len {
        let next = last + i64::from(bits.signed_exp_golomb()?);
        last = next.rem_euclid(256);
        if last == 0 {
            break;
        }
    }
    Some(())
}

fn skip_picture_order(bits: &mut BitReader<'_>) -> Option<()> {
    match bits.exp_golomb()? {
        0 => {
            bits.exp_golomb()?;
        }
        1 => {
            bits.flag()?;
            bits.signed_exp_golomb()?;
            bits.signed_exp_golomb()?;
            // The count is at most 255 by the standard; beyond the bytes at hand the reader ends it anyway.
            for _ in 0..bits.exp_golomb()? {
                bits.signed_exp_golomb()?;
            }
        }
        _ => {}
    }
    Some(())
}

/// The first bytes of a NAL unit without the 3 of each `00 00 03` (ITU-T H.264 section 7.4.1).
fn without_emulation_prevention(data: &[u8]) -> ([u8; SEQUENCE_LEN_MAX], usize) {
    let mut plain = [0; SEQUENCE_LEN_MAX];
    let (mut len, mut zeros) = (0, 0);
    for &byte in data {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        let Some(slot) = plain.get_mut(len) else {
            break;
        };
        *slot = byte;
        len += 1;
    }
    (plain, len)
}

/// A parameter set with all scaling lists may be longer: then its size stays unknown. Browsers' are about 20 bytes.
const SEQUENCE_LEN_MAX: usize = 128;

const NAL_TYPE: u8 = 0x1f;
const SLICE: u8 = 1;
const SLICE_IDR: u8 = 5;
const SUPPLEMENTAL: u8 = 6;
const SEQUENCE_PARAMETERS: u8 = 7;
const PICTURE_PARAMETERS: u8 = 8;
const DELIMITER: u8 = 9;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;
/// Profiles whose parameter sets have the chroma and scaling fields.
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::bits::BitWriter;

    /// A sequence parameter set with its NAL header, of `width` x `height` blocks of 16, cropped by `crop` units at
    /// the bottom.
    fn sequence_parameters(profile: u32, width: u32, height: u32, crop: u32) -> Vec<u8> {
        let mut bits = BitWriter::default();
        bits.number(0x67, 8).number(profile, 8).number(0xc0, 8).number(31, 8).exp_golomb(0);
        if profile == 100 {
            // 4:2:0, 8 bits, no bypass, one scaling list: a delta of -8 (se code 16) ends it at once.
            bits.exp_golomb(1).exp_golomb(0).exp_golomb(0).number(0, 1).number(1, 1).number(1, 1).exp_golomb(16);
            bits.number(0, 7);
        }
        bits.exp_golomb(0).exp_golomb(2).exp_golomb(1).number(0, 1);
        bits.exp_golomb(width - 1).exp_golomb(height - 1).number(1, 1).number(1, 1);
        bits.number(1, 1).exp_golomb(0).exp_golomb(0).exp_golomb(0).exp_golomb(crop).number(0, 1).number(1, 1);
        std::mem::take(&mut bits.bytes)
    }

    fn stap_a(units: &[&[u8]]) -> Vec<u8> {
        let mut payload = vec![0x78];
        for unit in units {
            payload.extend_from_slice(&(unit.len() as u16).to_be_bytes());
            payload.extend_from_slice(unit);
        }
        payload
    }

    #[test]
    fn an_aggregate_with_parameter_sets_starts_a_keyframe_and_tells_its_size() {
        let payload = stap_a(&[&sequence_parameters(66, 80, 45, 0), &[0x68, 0xce], &[0x65, 0x88]]);
        let frame = inspect(&payload, true);
        assert!(frame.keyframe && frame.starts_frame && frame.ends_frame);
        assert_eq!(frame.picture_size, Some(PictureSize { width: 1280, height: 720 }));
    }

    #[test]
    fn reads_sizes_with_cropping_and_of_the_high_profile() {
        let cropped = inspect(&sequence_parameters(66, 120, 68, 4), false);
        assert_eq!(cropped.picture_size, Some(PictureSize { width: 1920, height: 1080 }));
        let high = inspect(&sequence_parameters(100, 20, 15, 0), false);
        assert_eq!(high.picture_size, Some(PictureSize { width: 320, height: 240 }));
    }

    #[test]
    fn a_parameter_set_that_does_not_parse_has_no_size() {
        let huge = inspect(&sequence_parameters(66, 0x1_0000, 0x1_0000, 0), false);
        assert_eq!((huge.keyframe, huge.picture_size), (true, None));
        let overcropped = inspect(&sequence_parameters(66, 1, 1, 100), false);
        assert_eq!(overcropped.picture_size, None);
        assert_eq!(inspect(&[0x67, 0x42], false).picture_size, None);
    }

    #[test]
    fn undoes_emulation_prevention() {
        let (plain, len) = without_emulation_prevention(&[1, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3]);
        assert_eq!(plain[..len], [1, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(without_emulation_prevention(&[9; 500]).1, SEQUENCE_LEN_MAX);
    }

    #[test]
    fn only_the_first_fragment_of_an_idr_picture_starts_it() {
        let first = inspect(&[0x7c, 0x80 | 5, 0x88, 1, 2], false);
        assert!(first.starts_frame && !first.ends_frame);
        let middle = inspect(&[0x7c, 5, 0x88, 1, 2], false);
        assert!(!middle.keyframe && !middle.starts_frame);
        let last = inspect(&[0x7c, 0x40 | 5, 0x88, 1, 2], true);
        assert!(!last.keyframe && last.ends_frame);
    }

    /// When the packet of parameter sets came late, viewers were switched at the IDR slice behind it, with the former
    /// publisher's parameter sets.
    #[test]
    fn an_idr_slice_without_its_parameter_sets_is_no_place_to_begin() {
        assert!(!inspect(&[0x7c, 0x80 | 5, 0x88, 1, 2], false).keyframe);
        assert!(!inspect(&[0x65, 0x88], true).keyframe);
        assert!(inspect(&sequence_parameters(66, 80, 45, 0), false).keyframe, "also as a packet of its own");
    }

    #[test]
    fn a_later_slice_of_a_picture_does_not_start_it() {
        let first = inspect(&[0x41, 0x9a], false);
        assert!(first.starts_frame && !first.keyframe);
        let second_slice = inspect(&[0x65, 0x40], false);
        assert!(!second_slice.starts_frame && !second_slice.keyframe);
    }

    #[test]
    fn interleaved_and_broken_aggregates_say_nothing() {
        assert_eq!(inspect(&[0x79, 0, 0, 0, 2, 0x65, 0x88], true), FrameInfo::default());
        let broken = inspect(&[0x78, 0, 9, 0x65, 0x88], false);
        assert!(!broken.starts_frame && !broken.keyframe);
    }
}
