//! Packets for this module's tests: a VP8 or Opus publisher that numbers like a browser. Not for production.

use std::time::{Duration, Instant};

use crate::ids::{PayloadType, Ssrc};
use crate::rtp::codec::{Codec, MediaKind, PayloadMap, PayloadMapping};
use crate::rtp::extension::{ExtensionKind, ExtensionMap};
use crate::rtp::frame;
use crate::rtp::packet::{HeaderFields, HeaderWriter};
use crate::rtp::seq::SeqNo;
use crate::sfu::ingress::{ExtensionRange, LayerIndex, PacketMeta};
use crate::sfu::parameters::{EgressParameters, ShortName};

use super::forwarder::PacketNumbers;

/// A packet as ingress hands it over.
#[derive(Clone, Debug)]
pub struct Packet {
    pub meta: PacketMeta,
    pub bytes: Vec<u8>,
}

impl Packet {
    pub fn numbers(&self) -> PacketNumbers {
        PacketNumbers::read(&self.meta, &self.bytes)
    }
}

/// Reads `payload` as ingress would and wraps it into a packet.
pub fn packet(
    layer: u8,
    seq: u64,
    timestamp: u32,
    arrived: Instant,
    codec: Codec,
    payload: &[u8],
    marker: bool,
) -> Packet {
    let mut bytes = vec![0; 12 + payload.len()];
    let fields = HeaderFields { marker, payload_type: PayloadType(99), sequence: seq as u16, timestamp, ssrc: Ssrc(1) };
    let header_len = HeaderWriter::new(&mut bytes, fields, false).finish();
    bytes[header_len..].copy_from_slice(payload);
    let meta = PacketMeta {
        seq: SeqNo(seq),
        arrived,
        timestamp,
        codec,
        frame: frame::inspect(codec, payload, marker),
        header_len: header_len as u16,
        payload_len: payload.len() as u16,
        dependency_descriptor: ExtensionRange::default(),
        video_orientation: ExtensionRange::default(),
        playout_delay: ExtensionRange::default(),
        color_space: ExtensionRange::default(),
        audio_level: ExtensionRange::default(),
        layer: LayerIndex(layer),
        epoch: 0,
        marker,
        red: false,
    };
    Packet { meta, bytes }
}

/// One VP8 layer of a publisher.
#[derive(Clone, Debug)]
pub struct Vp8Layer {
    pub layer: u8,
    pub seq: u64,
    pub timestamp: u32,
    pub picture_id: u16,
    pub wide: bool,
    pub tl0: u8,
    /// Written into each payload, so that a test can tell where a packet comes from.
    pub tag: u8,
}

impl Vp8Layer {
    pub fn new(layer: u8) -> Self {
        Self { layer, seq: 100_000, timestamp: 7_000, picture_id: 500, wide: true, tl0: 9, tag: layer }
    }

    /// The next picture, 1/30 s after the one before, in `count` packets.
    pub fn picture(&mut self, arrived: Instant, keyframe: bool, temporal: u8, count: usize) -> Vec<Packet> {
        self.timestamp = self.timestamp.wrapping_add(3000);
        let mask = if self.wide { 0x7fff } else { 0x7f };
        self.picture_id = self.picture_id.wrapping_add(1) & mask;
        if temporal == 0 {
            self.tl0 = self.tl0.wrapping_add(1);
        }
        (0..count)
            .map(|at| {
                let payload = self.payload(at == 0, keyframe, temporal);
                self.seq += 1;
                packet(self.layer, self.seq, self.timestamp, arrived, Codec::Vp8, &payload, at + 1 == count)
            })
            .collect()
    }

    fn payload(&self, first: bool, keyframe: bool, temporal: u8) -> Vec<u8> {
        let mut payload = vec![if first { 0x90 } else { 0x80 }, 0xe0];
        if self.wide {
            payload.extend_from_slice(&(self.picture_id | 0x8000).to_be_bytes());
        } else {
            payload.push(self.picture_id as u8);
        }
        payload.push(self.tl0);
        payload.push(temporal << 6 | 0x20);
        payload.push(u8::from(!keyframe));
        payload.extend_from_slice(&[0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, self.tag]);
        payload
    }
}

/// The tag of a packet that left.
pub fn tag(payload: &[u8]) -> u8 {
    payload[payload.len() - 1]
}

pub fn opus(seq: u64, timestamp: u32, arrived: Instant, payload: &[u8]) -> Packet {
    packet(0, seq, timestamp, arrived, Codec::Opus, payload, false)
}

/// A receiving section with every extension, RTX for VP8 and RED for Opus.
pub fn parameters(kind: MediaKind) -> EgressParameters {
    let mut extensions = ExtensionMap::default();
    for (at, kind) in ExtensionKind::ALL.into_iter().enumerate() {
        extensions.set(kind, at as u8 + 1);
    }
    let video = |payload_type, codec, rtx| PayloadMapping {
        payload_type: PayloadType(payload_type),
        codec,
        rtx: Some(PayloadType(rtx)),
        red: None,
    };
    let payloads = match kind {
        MediaKind::Video => vec![video(96, Codec::Vp8, 97), video(98, Codec::Vp9 { profile: 0 }, 100)],
        MediaKind::Audio => vec![PayloadMapping {
            payload_type: PayloadType(109),
            codec: Codec::Opus,
            rtx: None,
            red: Some(PayloadType(63)),
        }],
    };
    EgressParameters {
        mid: ShortName::new(b"4").expect("short"),
        kind,
        ssrc: Ssrc(0x1111_2222),
        rtx_ssrc: (kind == MediaKind::Video).then_some(Ssrc(0x3333_4444)),
        payloads: PayloadMap::new(payloads),
        extensions,
    }
}

pub fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}
