//! One viewer's view of one track: `decide` whether and under which numbers a packet is sent, `write` it.
//!
//! This is the hot path of the whole server: no allocation, no look-up, no time read. Not here: retransmissions
//! (`nack_responder`), reports (`sender_report`), encryption (`transport::srtp`).

use std::time::Instant;

use crate::rtp::codec::MediaKind;
use crate::rtp::frame::{PictureNumbers, picture_numbers};
use crate::rtp::seq::SeqNo;
use crate::sfu::ingress::{LayerFacts, LayerIndex, PacketMeta};
use crate::sfu::parameters::EgressParameters;

use super::layer_selector::{LayerSelector, LayerTarget, Selection, Switching};
pub use super::packet_writer::{PacketWriter, Stamp, Written};
use super::rewriter::{Incoming, Rewriter, Rewritten};
use super::sender_report::ClockMapping;

/// What follows the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// The packet's own payload.
    Payload,
    /// Nothing: the packet is withheld, but its number was announced by a later one and must not be missed.
    Empty,
}

/// A packet that is to be sent, with its numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// Egress number.
    pub seq: SeqNo,
    /// Egress timestamp.
    pub timestamp: u32,
    /// VP8 and VP9: picture id and base layer index.
    pub pictures: Option<(u16, Option<u8>)>,
    /// Of the dependency descriptor.
    pub frame_number: Option<u16>,
    /// Last packet of the picture as this viewer gets it.
    pub marker: bool,
    /// What follows the header.
    pub body: Body,
}

/// The numbers inside a packet that viewers get rewritten: read once for all of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct PacketNumbers {
    pictures: Option<PictureNumbers>,
    frame_number: Option<u16>,
}

impl PacketNumbers {
    /// Reads them; `packet` must be the one that `meta` describes.
    #[must_use]
    pub fn read(meta: &PacketMeta, packet: &[u8]) -> Self {
        // The frame number is bits 8 to 23 of every descriptor (AV1 RTP specification, appendix A.8.2).
        let frame_number = meta.dependency_descriptor.of(packet).and_then(|descriptor| descriptor.get(1..3));
        Self {
            pictures: picture_numbers(meta.codec, meta.payload(packet)),
            frame_number: frame_number.map(|number| u16::from_be_bytes([number[0], number[1]])),
        }
    }
}

/// Selector, rewriter and writer of one egress stream.
#[derive(Clone, Debug)]
pub struct Forwarder {
    selector: LayerSelector,
    rewriter: Rewriter,
    writer: PacketWriter,
    /// Layer behind the rewriter's source.
    source_layer: Option<LayerIndex>,
    /// A source began since `take_started`.
    started: bool,
    /// Sender report of each layer, for the timestamp at a switch. Boxed: rarely used, and not to share the hot lines.
    clocks: Box<[Option<ClockMapping>; LayerIndex::COUNT_MAX]>,
}

impl Forwarder {
    /// Forwards nothing until a target is set. `seed` gives the first numbers.
    #[must_use]
    pub fn new(parameters: &EgressParameters, seed: u64) -> Self {
        let clock_rate = match parameters.kind {
            MediaKind::Audio => 48_000,
            MediaKind::Video => 90_000,
        };
        Self {
            selector: LayerSelector::new(parameters.kind),
            rewriter: Rewriter::new(clock_rate, seed),
            writer: PacketWriter::new(parameters),
            source_layer: None,
            started: false,
            clocks: Box::default(),
        }
    }

    /// Whether a packet of the track is sent to this viewer, and under which numbers. A number given here must be used
    /// at most once, and `numbers` must be those of the packet that `meta` describes.
    #[inline]
    pub fn decide(&mut self, meta: &PacketMeta, numbers: &PacketNumbers) -> Option<Outgoing> {
        let late = self.rewriter.is_late(meta.seq);
        let (marker, switched) = match self.selector.select(meta, late) {
            Selection::Ignore => return None,
            Selection::Skip { whole_picture } => return self.withhold(meta, numbers, whole_picture),
            Selection::Forward { marker, switched } => (marker, switched),
        };
        if !self.writer.set_codec(meta.codec) {
            return None;
        }
        let incoming = incoming(meta, numbers);
        if switched {
            self.start(meta, &incoming);
        } else if late {
            return self.forward_late(&incoming, marker);
        }
        Some(Outgoing::new(self.rewriter.forward_next(&incoming)?, marker, Body::Payload))
    }

    #[cold]
    fn withhold(&mut self, meta: &PacketMeta, numbers: &PacketNumbers, whole_picture: bool) -> Option<Outgoing> {
        let hole = self.rewriter.skip(&incoming(meta, numbers), whole_picture)?;
        Some(Outgoing::new(hole, false, Body::Empty))
    }

    #[cold]
    fn forward_late(&mut self, incoming: &Incoming, marker: bool) -> Option<Outgoing> {
        Some(Outgoing::new(self.rewriter.forward_late(incoming)?, marker, Body::Payload))
    }

    /// Writes the packet as this viewer gets it. `None` when `out` is too small or the payload is malformed.
    #[inline(always)]
    pub fn write(
        &self,
        outgoing: &Outgoing,
        meta: &PacketMeta,
        packet: &[u8],
        stamp: Stamp,
        out: &mut [u8],
    ) -> Option<Written> {
        self.writer.write(outgoing, meta, packet, stamp, out)
    }

    /// Another track from now on: numbers go on, layers and clocks start over.
    pub fn remap(&mut self, now: Instant) {
        self.selector.remap(now);
        self.rewriter.stop();
        self.source_layer = None;
        *self.clocks = Default::default();
    }

    /// Sets what this viewer should get; `None` pauses.
    pub fn set_target(&mut self, now: Instant, target: Option<LayerTarget>) {
        self.selector.set_target(now, target);
    }

    /// Tells which layers send at all.
    pub fn set_active(&mut self, now: Instant, layers: &[LayerFacts]) {
        self.selector.set_active(now, layers);
    }

    /// Keeps what the publisher's latest sender report says of a layer's clock.
    pub fn set_clock(&mut self, layer: LayerIndex, clock: ClockMapping) {
        if let Some(kept) = self.clocks.get_mut(usize::from(layer.0)) {
            *kept = Some(clock);
        }
    }

    /// The layer whose keyframe is missing.
    #[must_use]
    pub fn wants_keyframe(&self) -> Option<LayerIndex> {
        match self.selector.switching() {
            Switching::AwaitingKeyframe { target, .. } => Some(target),
            Switching::Settled => None,
        }
    }

    /// What to send, how numbered so far, how written.
    #[must_use]
    pub fn selector(&self) -> &LayerSelector {
        &self.selector
    }

    /// The numbering.
    #[must_use]
    pub fn rewriter(&self) -> &Rewriter {
        &self.rewriter
    }

    /// The section's own numbers.
    #[must_use]
    pub fn writer(&self) -> &PacketWriter {
        &self.writer
    }

    /// The layer and ingress number behind an egress number that was never sent, if it may still be.
    #[must_use]
    pub fn locate(&self, egress: SeqNo) -> Option<(LayerIndex, SeqNo)> {
        Some((self.source_layer?, self.rewriter.locate(egress)?))
    }

    /// The egress timestamp of the publisher's clock reading, for the layer being forwarded.
    #[must_use]
    pub fn clock(&self) -> Option<ClockMapping> {
        let clock = self.clocks.get(usize::from(self.source_layer?.0)).copied()??;
        Some(ClockMapping { ntp: clock.ntp, rtp: clock.rtp.wrapping_add(self.rewriter.timestamp_offset()?) })
    }

    /// Whether another source began since the last call.
    #[inline]
    pub fn take_started(&mut self) -> bool {
        std::mem::take(&mut self.started)
    }

    #[cold]
    fn start(&mut self, meta: &PacketMeta, incoming: &Incoming) {
        let clock_rate = meta.codec.clock_rate();
        self.rewriter.set_clock_rate(clock_rate);
        let clock_next = self.clocks.get(usize::from(meta.layer.0)).copied().flatten();
        let hint = match (self.clock(), clock_next) {
            (Some(before), Some(next)) => Some(before.rtp_at(next.ntp_at(meta.timestamp, clock_rate), clock_rate)),
            _ => None,
        };
        self.rewriter.start(incoming, hint);
        self.source_layer = Some(meta.layer);
        self.started = true;
    }
}

impl Outgoing {
    #[inline]
    fn new(rewritten: Rewritten, marker: bool, body: Body) -> Self {
        let Rewritten { seq, timestamp, pictures, frame_number } = rewritten;
        Self { seq, timestamp, pictures, frame_number, marker, body }
    }
}

#[inline]
fn incoming(meta: &PacketMeta, numbers: &PacketNumbers) -> Incoming {
    let PacketNumbers { pictures, frame_number } = *numbers;
    Incoming { seq: meta.seq, timestamp: meta.timestamp, arrived: meta.arrived, pictures, frame_number }
}
