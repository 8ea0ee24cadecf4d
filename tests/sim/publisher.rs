//! One published source of a simulated page: captures, encodes, numbers, remembers for retransmission.
//!
//! Gives plain packets; the far side numbers them for the transport and seals them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use colloque::ids::Ssrc;
use colloque::rtp::codec::{MediaKind, Source};
use rand::Rng;
use rand::rngs::StdRng;

use super::wire::{Format, Marker, Picture, descriptor, payload};

/// A packet before it is sealed.
#[derive(Clone, Debug)]
pub struct Plain {
    pub ssrc: Ssrc,
    pub seq: u64,
    pub timestamp: u32,
    pub marker: bool,
    /// `Some` for a retransmission: names the repaired rid.
    pub repair: bool,
    pub red: bool,
    pub rid: Option<&'static str>,
    pub descriptor: Option<Vec<u8>>,
    pub level: Option<u8>,
    pub payload: Vec<u8>,
}

pub struct Layer {
    pub ssrc: Ssrc,
    pub rtx: Option<Ssrc>,
    pub rid: Option<&'static str>,
    pub picture: Picture,
    bytes_a_frame: usize,
    /// Frames encoded; a camera that is muted encodes none.
    frame: u32,
    seq: u64,
    rtx_seq: u64,
    timestamp_offset: u32,
    keyframe_wanted: bool,
    sent: VecDeque<Plain>,
    pub packets: u32,
    pub octets: u32,
    pub last: Option<(Instant, u32)>,
    pub active: bool,
    pub keyframes: u32,
}

/// A microphone, camera or screen.
pub struct Publisher {
    pub id: u32,
    pub leg: u8,
    pub source: Source,
    pub format: Format,
    pub mid: &'static str,
    pub layers: Vec<Layer>,
    pub muted: bool,
    /// Below overload; 127 is silence.
    pub level: u8,
    /// Payload type of Opus inside RED, when the voice is sent redundantly.
    pub red: Option<u8>,
    /// Answers keyframe requests; an encoder may not.
    pub obliging: bool,
    pub keyframe_requests: Vec<Instant>,
    /// What one frame lasts.
    pub interval: Duration,
    due: Instant,
    previous_voice: Vec<u8>,
}

pub const RIDS: [&str; 3] = ["q", "h", "f"];
const SIZES: [(u16, u16, usize); 3] = [(320, 176, 900), (640, 352, 2400), (1280, 720, 5200)];

impl Publisher {
    pub fn new(
        now: Instant,
        (id, leg): (u32, u8),
        source: Source,
        format: Format,
        simulcast: bool,
        random: &mut StdRng,
    ) -> Self {
        let layers = if simulcast { 0..3 } else { 1..2 };
        let kind = source.kind();
        let layers = layers.map(|at| {
            let (width, height, bytes) = SIZES[at];
            Layer {
                ssrc: Ssrc(random.random::<u32>() | 1),
                rtx: (kind == MediaKind::Video).then(|| Ssrc(random.random::<u32>() & !1)),
                rid: simulcast.then_some(RIDS[at]),
                picture: Picture { picture_id: random.random::<u16>() & 0x7fff, tl0: random.random(), width, height },
                bytes_a_frame: if kind == MediaKind::Audio { 80 } else { bytes },
                frame: 0,
                // Half of the streams wrap soon.
                seq: if random.random_bool(0.5) {
                    random.random_range(65_400..65_530)
                } else {
                    random.random_range(1..30_000)
                },
                rtx_seq: random.random_range(1..65_530),
                timestamp_offset: random.random(),
                keyframe_wanted: true,
                sent: VecDeque::new(),
                packets: 0,
                octets: 0,
                last: None,
                active: true,
                keyframes: 0,
            }
        });
        let interval = Duration::from_millis(if kind == MediaKind::Audio { 20 } else { 50 });
        let mid = match source {
            Source::Microphone => "0",
            Source::Camera => "1",
            Source::Screen => "2",
        };
        Self {
            id,
            leg,
            source,
            format,
            mid,
            layers: layers.collect(),
            muted: false,
            level: 60,
            red: None,
            obliging: true,
            keyframe_requests: Vec::new(),
            interval,
            due: now + Duration::from_micros(random.random_range(0..interval.as_micros() as u64)),
            previous_voice: Vec::new(),
        }
    }

    /// Numbers that do not wrap soon.
    pub fn begin_low(&mut self) {
        for layer in &mut self.layers {
            layer.seq %= 1 << 14;
        }
    }

    /// Packets of the frame that is due, if one is.
    pub fn poll(&mut self, start: Instant, now: Instant, random: &mut StdRng) -> Vec<Plain> {
        let mut out = Vec::new();
        while self.due <= now {
            let at = self.due;
            self.due += self.interval;
            if !self.muted {
                for layer in 0..self.layers.len() {
                    if self.layers[layer].active {
                        self.encode(start, at, layer, random, &mut out);
                    }
                }
            }
        }
        out
    }

    fn encode(&mut self, start: Instant, at: Instant, layer: usize, random: &mut StdRng, out: &mut Vec<Plain>) {
        let audio = self.source.kind() == MediaKind::Audio;
        let clock = if audio { 48 } else { 90 };
        let captured = (at - start).as_micros() as u64;
        let state = &mut self.layers[layer];
        let keyframe = audio || std::mem::take(&mut state.keyframe_wanted);
        state.frame += 1;
        let frame = state.frame;
        let temporal = match (self.format, frame % 4) {
            (Format::Vp8 | Format::Vp9 | Format::Vp9Flexible, phase) if !keyframe => [0, 2, 1, 2][phase as usize],
            _ => 0,
        };
        state.picture.picture_id = (state.picture.picture_id + 1) & 0x7fff;
        if temporal == 0 {
            state.picture.tl0 = state.picture.tl0.wrapping_add(1);
        }
        let scale = if keyframe && !audio { 4 } else { 1 };
        let bytes = state.bytes_a_frame * scale * random.random_range(70..130) / 100;
        let count =
            if audio { 1 } else { bytes.div_ceil(1050).max(if self.format == Format::H264 { 2 } else { 1 }) } as u16;
        let timestamp = state.timestamp_offset.wrapping_add((captured * clock / 1000) as u32);
        state.last = Some((at, timestamp));
        state.keyframes += u32::from(keyframe);
        for index in 0..count {
            let filler = (bytes / usize::from(count)) as u16 + random.random_range(0..9);
            let layer = layer as u8;
            let marker = Marker {
                publisher: self.id,
                leg: self.leg,
                layer,
                keyframe,
                temporal,
                frame,
                index,
                count,
                captured,
                filler,
            };
            let body = payload(self.format, state.picture, &marker);
            let (body, red) = match self.red {
                Some(opus) => {
                    (redundant(opus, &std::mem::replace(&mut self.previous_voice, body.clone()), &body), true)
                }
                None => (body, false),
            };
            let descriptor = (self.format == Format::Av1Sealed).then(|| descriptor(&marker, state.picture));
            let plain = Plain {
                ssrc: state.ssrc,
                seq: state.seq,
                timestamp,
                marker: if audio { false } else { index + 1 == count },
                repair: false,
                red,
                rid: state.rid,
                descriptor,
                level: audio.then_some(self.level),
                payload: body,
            };
            state.seq += 1;
            state.packets += 1;
            state.octets += plain.payload.len() as u32;
            if state.rtx.is_some() {
                state.sent.push_back(plain.clone());
                if state.sent.len() > 600 {
                    state.sent.pop_front();
                }
            }
            out.push(plain);
        }
    }

    /// What was sent last, for the benchmark.
    #[allow(dead_code)]
    pub fn last_packet(&self) -> Option<Plain> {
        self.layers[0].sent.back().cloned()
    }

    /// A voice packet behind all that were sent, for the benchmark. Voices are not remembered, so it is made anew.
    #[allow(dead_code)]
    pub fn next_voice(&self, len: usize) -> Plain {
        let layer = &self.layers[0];
        Plain {
            ssrc: layer.ssrc,
            seq: layer.seq,
            timestamp: layer.last.map_or(0, |(_, timestamp)| timestamp),
            marker: false,
            repair: false,
            red: false,
            rid: None,
            descriptor: None,
            level: Some(self.level),
            payload: vec![0xfc; len],
        }
    }

    /// The retransmission of a packet, when it is still remembered.
    pub fn handle_nack(&mut self, ssrc: Ssrc, wire: u16) -> Option<Plain> {
        let layer = self.layers.iter_mut().find(|layer| layer.ssrc == ssrc)?;
        let rtx = layer.rtx?;
        let lost = layer.sent.iter().find(|plain| plain.seq as u16 == wire)?;
        let mut again = lost.clone();
        again.payload.splice(0..0, wire.to_be_bytes());
        (again.ssrc, again.repair, again.seq) = (rtx, true, layer.rtx_seq);
        layer.rtx_seq += 1;
        Some(again)
    }

    pub fn handle_keyframe_request(&mut self, now: Instant, ssrc: Ssrc) -> bool {
        let obliging = self.obliging;
        let Some(layer) = self.layers.iter_mut().find(|layer| layer.ssrc == ssrc) else { return false };
        layer.keyframe_wanted |= obliging;
        self.keyframe_requests.push(now);
        true
    }
}

/// RFC 2198 with the packet before as redundancy.
fn redundant(opus: u8, previous: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if !previous.is_empty() {
        let offset_and_len = (960u32 << 10 | previous.len() as u32).to_be_bytes();
        out.extend([0x80 | opus, offset_and_len[1], offset_and_len[2], offset_and_len[3]]);
    }
    out.push(opus);
    out.extend(previous);
    out.extend(body);
    out
}
