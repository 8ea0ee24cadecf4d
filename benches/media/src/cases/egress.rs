//! What one viewer's copy costs before it is sealed: which packet, under which numbers, written how.
//!
//! `rewrite` goes on with a layer; `layer_switch` gets the end of one layer's pictures and then another's keyframe.

use std::time::{Duration, Instant};

use crate::ids::{PayloadType, Ssrc};
use crate::rtp::codec::{Codec, MediaKind, PayloadUse, Source};
use crate::rtp::extension::ExtensionMap;
use crate::rtp::packet::{HeaderFields, HeaderWriter, RtpHeader};
use crate::sfu::egress::{EgressStream, LayerTarget, PacketNumbers, Stamp};
use crate::sfu::ingress::{Accepted, IncomingRtp, IngressTrack, LayerIndex, StreamRoute};
use crate::sfu::parameters::{EgressParameters, IngressParameters, ShortName};
use crate::sim::far_side::Dialect;
use crate::sim::publisher::RIDS;
use crate::sim::wire::{Format, Marker, Picture, payload};

use super::{BURST, Case, Row};

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::new("egress/rewrite/1200".into(), "packet", BURST as u64, || Viewer::new(false)),
        Row::new("egress/layer_switch/1200".into(), "packet", BURST as u64, || Viewer::new(true)),
    ]
}

/// One viewer of a camera with three layers.
struct Viewer {
    track: IngressTrack,
    extensions: ExtensionMap,
    stream: EgressStream,
    switches: bool,
    layer: u8,
    now: Instant,
    captured: u64,
    next: [u16; 3],
    frame: u32,
    /// What came and is not yet written.
    pending: Vec<(Accepted, PacketNumbers)>,
    out: Vec<u8>,
    number: u16,
    written: usize,
}

impl Viewer {
    fn new(switches: bool) -> Self {
        let now = Instant::now();
        let name = |text: &str| ShortName::new(text.as_bytes()).expect("a short name");
        let rids = RIDS.iter().map(|rid| name(rid)).collect();
        let camera = IngressParameters { mid: name("1"), source: Source::Camera, rids, ssrcs: Vec::new() };
        let extensions = Dialect::Chromium.extensions();
        let section = EgressParameters {
            mid: name("v0"),
            kind: MediaKind::Video,
            ssrc: Ssrc(50),
            rtx_ssrc: Some(Ssrc(51)),
            payloads: Dialect::Chromium.payloads(&[Format::Vp8, Format::Vp9, Format::H264], false),
            extensions,
        };
        let mut viewer = Self {
            track: IngressTrack::new(&camera),
            extensions,
            stream: EgressStream::new(&section, 5),
            switches,
            layer: 0,
            now,
            captured: 0,
            next: [1; 3],
            frame: 0,
            pending: Vec::new(),
            out: vec![0; 2048],
            number: 0,
            written: 0,
        };
        viewer.stream.set_target(now, Some(LayerTarget::whole(LayerIndex(0))));
        viewer.arrive(0, true, BURST as u16);
        viewer.run();
        viewer.check();
        viewer
    }

    /// A picture of one layer reaches the cache.
    fn arrive(&mut self, layer: u8, keyframe: bool, count: u16) {
        self.frame += 1;
        self.now += Duration::from_millis(20);
        self.captured += 20_000;
        for index in 0..count {
            let marker = Marker {
                publisher: 1,
                leg: 0,
                layer,
                keyframe,
                temporal: 0,
                frame: self.frame,
                index,
                count,
                captured: self.captured,
                filler: PAYLOAD_LEN,
            };
            let number = self.frame as u16;
            let picture = Picture { picture_id: number & 0x7fff, tl0: number as u8, width: 640, height: 352 };
            let body = payload(Format::Vp8, picture, &marker);
            self.accept(layer, index + 1 == count, &body[..usize::from(PAYLOAD_LEN)]);
        }
    }

    fn accept(&mut self, layer: u8, marker: bool, body: &[u8]) {
        let next = &mut self.next[usize::from(layer)];
        let fields = HeaderFields {
            marker,
            payload_type: PayloadType(96),
            sequence: *next,
            timestamp: self.captured as u32 / 1000 * 90,
            ssrc: Ssrc(10 + u32::from(layer)),
        };
        *next = next.wrapping_add(1);
        let mut packet = vec![0; 12];
        let header_len = HeaderWriter::new(&mut packet, fields, false).finish();
        packet.truncate(header_len);
        packet.extend_from_slice(body);
        let header = RtpHeader::parse(&packet).expect("a header as written");
        let route = StreamRoute { section: 0, layer: LayerIndex(layer), repair: false };
        let rtp = IncomingRtp {
            header,
            packet: &mut packet,
            usage: PayloadUse::Media(Codec::Vp8),
            extensions: &self.extensions,
        };
        let taken = self.track.handle_rtp(self.now, route, rtp).expect("a packet that is taken");
        let accepted = taken.expect("a packet that is kept");
        let (meta, packet) = self.track.packet(accepted.layer, accepted.seq).expect("a kept packet");
        self.pending.push((accepted, PacketNumbers::read(meta, packet)));
    }
}

impl Case for Viewer {
    fn prepare(&mut self) {
        self.pending.clear();
        self.written = 0;
        if self.switches {
            let half = BURST as u16 / 2;
            self.arrive(self.layer, false, half);
            self.layer = (self.layer + 1) % 3;
            self.stream.set_target(self.now, Some(LayerTarget::whole(LayerIndex(self.layer))));
            self.arrive(self.layer, true, half);
        } else {
            self.arrive(self.layer, false, BURST as u16);
        }
    }

    fn run(&mut self) {
        for (accepted, numbers) in &self.pending {
            let (meta, packet) = self.track.packet(accepted.layer, accepted.seq).expect("a kept packet");
            let Some(outgoing) = self.stream.decide(meta, numbers) else { continue };
            self.number = self.number.wrapping_add(1);
            let stamp = Stamp { transport_cc: Some(self.number), abs_send_time: [0x12, 0x34, 0x56], padding: 0 };
            let Some(written) = self.stream.write(&outgoing, meta, packet, stamp, &mut self.out) else { continue };
            self.stream.record_sent(self.now, meta, &outgoing, stamp, written);
            self.written += 1;
        }
    }

    fn check(&mut self) {
        assert_eq!(self.written, BURST, "every packet was written");
        assert_eq!(self.stream.current_layer(), Some(LayerIndex(self.layer)), "the layer asked for");
    }
}

const PAYLOAD_LEN: u16 = 1200;
