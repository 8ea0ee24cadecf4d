//! What simulated publishers put into RTP payloads, and what receivers find there again.
//!
//! Real payload headers of each codec, then a marker that names publisher, layer and frame, then bytes that follow from
//! it, so that a receiver can tell whose frame it holds and that every byte is the publisher's. Written apart from the
//! product's own parsers.

use colloque::rtp::codec::Codec;

/// How a stream is packetised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Opus,
    Vp8,
    Vp9Flexible,
    Vp9,
    H264,
    /// AV1 whose payload is encrypted end to end: only the dependency descriptor tells frames apart.
    Av1Sealed,
}

impl Format {
    pub fn codec(self) -> Codec {
        match self {
            Format::Opus => Codec::Opus,
            Format::Vp8 => Codec::Vp8,
            Format::Vp9 | Format::Vp9Flexible => Codec::Vp9 { profile: 0 },
            Format::H264 => Codec::H264 { profile: 0x42e0, packetization_mode: 1 },
            Format::Av1Sealed => Codec::Av1,
        }
    }
}

/// Names a packet's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marker {
    pub publisher: u32,
    /// Tells two legs of a seat apart, which count frames on their own.
    pub leg: u8,
    /// Layer of a camera; 0 elsewhere.
    pub layer: u8,
    pub keyframe: bool,
    pub temporal: u8,
    pub frame: u32,
    pub index: u16,
    pub count: u16,
    /// Microseconds since the simulation began.
    pub captured: u64,
    /// Bytes that follow the marker.
    pub filler: u16,
}

impl Marker {
    const MAGIC: [u8; 4] = [0xc0, 0x77, 0x0c, 0xe5];
    pub const LEN: usize = 4 + 4 + 4 + 4 + 2 + 2 + 8 + 2;

    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(Self::MAGIC);
        out.extend(self.publisher.to_be_bytes());
        out.extend([self.layer, u8::from(self.keyframe), self.temporal, self.leg]);
        out.extend(self.frame.to_be_bytes());
        out.extend(self.index.to_be_bytes());
        out.extend(self.count.to_be_bytes());
        out.extend(self.captured.to_be_bytes());
        out.extend(self.filler.to_be_bytes());
        out.extend(self.filling());
    }

    /// The marker in a payload, when it is there and every byte from it on is as written.
    pub fn find(payload: &[u8]) -> Option<Marker> {
        let at = payload.windows(4).take(64).position(|window| window == Self::MAGIC)?;
        let body = &payload[at..];
        let field = |from: usize, len: usize| body.get(from..from + len);
        let number = |from, len| field(from, len).map(|b| b.iter().fold(0u64, |sum, &byte| sum << 8 | u64::from(byte)));
        let marker = Marker {
            publisher: number(4, 4)? as u32,
            layer: number(8, 1)? as u8,
            keyframe: number(9, 1)? == 1,
            temporal: number(10, 1)? as u8,
            leg: number(11, 1)? as u8,
            frame: number(12, 4)? as u32,
            index: number(16, 2)? as u16,
            count: number(18, 2)? as u16,
            captured: number(20, 8)?,
            filler: number(28, 2)? as u16,
        };
        body[Self::LEN..].iter().copied().eq(marker.filling()).then_some(marker)
    }

    fn filling(&self) -> impl Iterator<Item = u8> {
        let mut state = (u64::from(self.publisher) << 40 ^ u64::from(self.frame) << 16 ^ u64::from(self.index)) | 1;
        (0..self.filler).map(move |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
    }
}

/// What a picture's payload headers need besides the marker.
#[derive(Clone, Copy, Debug)]
pub struct Picture {
    pub picture_id: u16,
    pub tl0: u8,
    pub width: u16,
    pub height: u16,
}

/// One packet's payload: the codec's headers, then the marker.
pub fn payload(format: Format, picture: Picture, marker: &Marker) -> Vec<u8> {
    let (first, last) = (marker.index == 0, marker.index + 1 == marker.count);
    let mut out = Vec::with_capacity(64 + usize::from(marker.filler));
    match format {
        Format::Opus => out.push(0xfc),
        Format::Vp8 => {
            let [high, low] = picture.picture_id.to_be_bytes();
            out.extend([0x80 | u8::from(first) << 4, 0xe0, 0x80 | high, low, picture.tl0, marker.temporal << 6 | 0x20]);
            if first {
                out.extend([u8::from(!marker.keyframe), 2, 0]);
                if marker.keyframe {
                    out.extend([0x9d, 0x01, 0x2a]);
                    out.extend(picture.width.to_le_bytes());
                    out.extend(picture.height.to_le_bytes());
                }
            }
        }
        Format::Vp9 | Format::Vp9Flexible => {
            let [high, low] = picture.picture_id.to_be_bytes();
            let (inter, flexible) = (!marker.keyframe, format == Format::Vp9Flexible);
            let structure = marker.keyframe && first;
            out.push(
                0x80 | u8::from(inter) << 6
                    | 0x20
                    | u8::from(flexible) << 4
                    | u8::from(first) << 3
                    | u8::from(last) << 2
                    | u8::from(structure) << 1,
            );
            out.extend([0x80 | high, low, marker.temporal << 5 | u8::from(marker.temporal > 0) << 4]);
            if flexible {
                if inter {
                    out.push(1 << 1);
                }
            } else {
                out.push(picture.tl0);
            }
            if structure {
                out.push(0x10);
                out.extend(picture.width.to_be_bytes());
                out.extend(picture.height.to_be_bytes());
            }
        }
        Format::H264 if marker.keyframe && first => {
            let parameters = sequence_parameters(picture);
            out.push(0x78);
            for unit in [&parameters[..], &[0x68, 0xce, 0x3c, 0x80]] {
                out.extend((unit.len() as u16).to_be_bytes());
                out.extend(unit);
            }
            // A supplemental unit carries the marker.
            out.extend((1 + Marker::LEN as u16 + marker.filler).to_be_bytes());
            out.push(0x06);
        }
        Format::H264 => {
            let (kind, start) = if marker.keyframe { (5, marker.index == 1) } else { (1, first) };
            out.extend([0x7c, u8::from(start) << 7 | u8::from(last) << 6 | kind]);
            if start {
                out.push(0x88);
            }
        }
        Format::Av1Sealed => out.extend([0xff, 0xff, 0xff]),
    }
    marker.write(&mut out);
    out
}

/// Picture id and base layer index as they stand in a payload.
pub fn picture_numbers(format: Format, payload: &[u8]) -> Option<(u16, Option<u8>)> {
    let id = |at: usize| Some(u16::from_be_bytes([payload.get(at)? & 0x7f, *payload.get(at + 1)?]));
    match format {
        Format::Vp8 => Some((id(2)?, Some(*payload.get(4)?))),
        Format::Vp9 => Some((id(1)?, Some(*payload.get(4)?))),
        Format::Vp9Flexible => Some((id(1)?, None)),
        Format::Opus | Format::H264 | Format::Av1Sealed => None,
    }
}

/// A dependency descriptor of a stream without layers (AV1 RTP specification, appendix A).
pub fn descriptor(marker: &Marker, picture: Picture) -> Vec<u8> {
    let (first, last) = (marker.index == 0, marker.index + 1 == marker.count);
    let mut bits = Bits::default();
    bits.put(u32::from(first), 1)
        .put(u32::from(last), 1)
        .put(u32::from(!marker.keyframe), 6)
        .put(marker.frame & 0xffff, 16);
    if marker.keyframe && first {
        bits.put(0b10000, 5);
        // Template 0 is a keyframe, 1 refers to the frame before it; one decode target, no chains.
        bits.put(0, 6).put(0, 5).put(0, 2).put(3, 2);
        bits.put(2, 2).put(2, 2);
        bits.put(0, 1).put(1, 1).put(0, 4).put(0, 1);
        bits.put(0, 1);
        bits.put(1, 1).put(u32::from(picture.width) - 1, 16).put(u32::from(picture.height) - 1, 16);
    }
    bits.bytes
}

/// The frame number in a dependency descriptor.
pub fn descriptor_frame(descriptor: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes([*descriptor.get(1)?, *descriptor.get(2)?]))
}

/// Baseline, one reference, whole macroblocks.
fn sequence_parameters(picture: Picture) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(0x67, 8).put(0x42, 8).put(0xe0, 8).put(0x1f, 8);
    bits.golomb(0).golomb(0).golomb(2).golomb(1).put(0, 1);
    bits.golomb(u32::from(picture.width / 16) - 1).golomb(u32::from(picture.height / 16) - 1);
    bits.put(1, 1).put(1, 1).put(0, 1).put(0, 1).put(1, 1);
    bits.bytes
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn put(&mut self, value: u32, width: usize) -> &mut Self {
        for bit in (0..width).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.len() - 1;
            self.bytes[last] |= ((value >> bit & 1) as u8) << (7 - self.used % 8);
            self.used += 1;
        }
        self
    }

    fn golomb(&mut self, value: u32) -> &mut Self {
        let width = (u32::BITS - (value + 1).leading_zeros()) as usize;
        self.put(0, width - 1).put(value + 1, width)
    }
}

/// The newest block of an RFC 2198 payload.
pub fn newest_block(payload: &[u8]) -> &[u8] {
    let (mut at, mut older) = (0, 0);
    while payload[at] & 0x80 != 0 {
        older += usize::from(u16::from_be_bytes([payload[at + 2], payload[at + 3]]) & 0x3ff);
        at += 4;
    }
    &payload[at + 1 + older..]
}
