//! Everything of one receiving section of a leg: forwarding, retransmission and reports behind one door.
//!
//! A section keeps its `EgressStream` for the leg's whole life; which track is behind it changes by `remap`.
//! Not here: the leg's transport-wide numbers (`transport_cc`), the packets, encryption.
//! Invariant: a packet that `decide` gave a number to is sealed at most once under it, except byte for byte the same.

use std::time::{Duration, Instant};

use crate::ids::Ssrc;
use crate::rtp::codec::{Codec, MediaKind};
use crate::rtp::rtcp::{ReportBlock, SenderInfo};
use crate::rtp::seq::SeqNo;
use crate::sfu::ingress::{LayerFacts, LayerIndex, PacketMeta};
use crate::sfu::parameters::EgressParameters;

use super::forwarder::{Forwarder, Outgoing, PacketNumbers, Stamp, Written};
use super::layer_selector::LayerTarget;
use super::nack_responder::{NackResponder, NackVerdict, Resend, ResendKind};
use super::sender_report::{
    ClockMapping, EgressStats, NtpReference, NtpTime, ReceiverFacts, ReportBasis, SeatClock, SenderReporter,
};

/// A retransmission in the caller's buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrittenResend {
    /// What to seal.
    pub written: Written,
    /// Whether the stamp's transport-wide number is in it, so that it counts as sent.
    pub stamped: bool,
}

/// One receiving section of a leg.
#[derive(Clone, Debug)]
pub struct EgressStream {
    forwarder: Forwarder,
    responder: NackResponder,
    reporter: SenderReporter,
    receiver: ReceiverFacts,
    kind: MediaKind,
    /// Next number of the retransmission stream.
    rtx_next: SeqNo,
}

impl EgressStream {
    /// Forwards nothing until a target is set. `seed` gives the first numbers and must differ between streams.
    #[must_use]
    pub fn new(parameters: &EgressParameters, seed: u64) -> Self {
        Self {
            forwarder: Forwarder::new(parameters, seed),
            responder: NackResponder::new(parameters.kind),
            reporter: SenderReporter::new(parameters.ssrc),
            receiver: ReceiverFacts::default(),
            kind: parameters.kind,
            rtx_next: SeqNo(1 + seed.rotate_left(17) % 0x4000),
        }
    }

    /// Audio or video.
    #[must_use]
    pub fn kind(&self) -> MediaKind {
        self.kind
    }

    /// SSRC of the media packets.
    #[must_use]
    pub fn ssrc(&self) -> Ssrc {
        self.forwarder.writer().ssrc()
    }

    /// SSRC of the retransmissions, when negotiated.
    #[must_use]
    pub fn rtx_ssrc(&self) -> Option<Ssrc> {
        self.forwarder.writer().rtx_ssrc()
    }

    /// Whether the far side takes this codec here.
    #[must_use]
    pub fn can_take(&self, codec: Codec) -> bool {
        self.forwarder.writer().can_take(codec)
    }

    /// Whether packets of this section carry the leg's transport-wide numbers.
    #[must_use]
    pub fn has_transport_cc(&self) -> bool {
        self.forwarder.writer().has_transport_cc()
    }

    /// Another track (or none) stands behind this section from now on. Numbers go on without a jump; the target stays.
    pub fn remap(&mut self, now: Instant) {
        self.forwarder.remap(now);
        self.responder.clear();
    }

    /// Sets which layer the viewer should get; `None` pauses. For audio any target means all of it.
    pub fn set_target(&mut self, now: Instant, target: Option<LayerTarget>) {
        self.forwarder.set_target(now, target);
    }

    /// Tells which layers of the track send at all.
    pub fn set_active(&mut self, now: Instant, layers: &[LayerFacts]) {
        self.forwarder.set_active(now, layers);
    }

    /// Keeps the clock reading of a sender report of the publisher.
    pub fn set_clock(&mut self, layer: LayerIndex, clock: ClockMapping) {
        self.forwarder.set_clock(layer, clock);
    }

    /// The layer whose keyframe is missing: to be asked for until it comes.
    #[must_use]
    pub fn wants_keyframe(&self) -> Option<LayerIndex> {
        self.forwarder.wants_keyframe()
    }

    /// Where a keyframe request of the receiver (PLI, FIR) has to go.
    #[must_use]
    pub fn keyframe_layer(&self) -> Option<LayerIndex> {
        self.forwarder.selector().keyframe_layer()
    }

    /// The layer being forwarded.
    #[must_use]
    pub fn current_layer(&self) -> Option<LayerIndex> {
        self.forwarder.selector().current()
    }

    /// What was asked for last.
    #[must_use]
    pub fn target(&self) -> Option<LayerTarget> {
        self.forwarder.selector().target()
    }

    /// Whether a packet of the track is sent, and under which numbers; each result is to be written at most once.
    #[inline]
    pub fn decide(&mut self, meta: &PacketMeta, numbers: &PacketNumbers) -> Option<Outgoing> {
        self.forwarder.decide(meta, numbers)
    }

    /// Writes a decided packet. `None` when `out` is too small or the payload is malformed.
    #[inline(always)]
    pub fn write(
        &self,
        outgoing: &Outgoing,
        meta: &PacketMeta,
        packet: &[u8],
        stamp: Stamp,
        out: &mut [u8],
    ) -> Option<Written> {
        self.forwarder.write(outgoing, meta, packet, stamp, out)
    }

    /// A written packet was sealed: remembers it for NACKs and reports.
    #[inline]
    pub fn record_sent(
        &mut self,
        now: Instant,
        meta: &PacketMeta,
        outgoing: &Outgoing,
        stamp: Stamp,
        written: Written,
    ) {
        let first_of_source = self.forwarder.take_started();
        self.responder.record_sent(meta, outgoing, stamp, written.len);
        self.reporter.record_sent(now, written.len - written.header_len - usize::from(stamp.padding));
        if first_of_source {
            self.reporter.set_due(now);
        }
    }

    /// The receiver misses a packet: what to fetch from the cache for [`EgressStream::write_resend`], if anything.
    #[must_use]
    pub fn handle_nack(&self, now: Instant, wire: u16) -> Option<Resend> {
        let highest = self.forwarder.rewriter().highest();
        let seq = SeqNo::nearest(wire, highest);
        if seq > highest {
            return None;
        }
        match self.responder.handle_nack(now, seq, self.receiver.rtt()) {
            NackVerdict::Resend(resend) => Some(resend),
            NackVerdict::Refused => None,
            NackVerdict::Unknown => {
                let (layer, ingress) = self.forwarder.locate(seq)?;
                Some(Resend { layer, ingress, kind: ResendKind::First })
            }
        }
    }

    /// Writes a packet again: on the retransmission stream when there is one, else under its old number. Records it
    /// as sent, so the result must be sealed and sent.
    pub fn write_resend(
        &mut self,
        now: Instant,
        resend: &Resend,
        meta: &PacketMeta,
        packet: &[u8],
        stamp: Stamp,
        out: &mut [u8],
    ) -> Option<WrittenResend> {
        if meta.layer != resend.layer || meta.seq != resend.ingress {
            return None;
        }
        let ResendKind::Again { outgoing, stamp: first_stamp, epoch } = resend.kind else {
            let outgoing = self.decide(meta, &PacketNumbers::read(meta, packet))?;
            let written = self.write(&outgoing, meta, packet, stamp, out)?;
            self.record_sent(now, meta, &outgoing, stamp, written);
            return Some(WrittenResend { written, stamped: self.has_transport_cc() });
        };
        if epoch != meta.epoch {
            return None;
        }
        let writer = self.forwarder.writer();
        let (written, stamped) = if writer.has_rtx() {
            let written = writer.write_rtx(self.rtx_next, &outgoing, meta, packet, stamp, out)?;
            self.rtx_next = self.rtx_next.next();
            (written, self.has_transport_cc())
        } else {
            (self.write(&outgoing, meta, packet, first_stamp, out)?, false)
        };
        self.responder.record_resent(now, outgoing.seq, written.len);
        self.reporter.record_resent();
        Some(WrittenResend { written, stamped })
    }

    /// A block about our media SSRC in a receiver's report.
    pub fn handle_report(&mut self, now: NtpTime, block: &ReportBlock) {
        self.receiver.handle_report(now, block);
    }

    /// The sender report, when one is due: every second, and at once after another source began. `seat` is the clock
    /// of the leg that publishes the track.
    pub fn poll_sender_report(
        &mut self,
        now: Instant,
        reference: &NtpReference,
        seat: &SeatClock,
    ) -> Option<SenderInfo> {
        let basis = ReportBasis {
            clock: self.forwarder.clock(),
            latest: self.forwarder.rewriter().latest(),
            clock_rate: self.forwarder.rewriter().clock_rate(),
        };
        self.reporter.poll(now, reference, seat, basis)
    }

    /// Fraction lost as the receiver reported last, 0 to 1.
    #[must_use]
    pub fn loss(&self) -> f32 {
        self.receiver.loss()
    }

    /// Round trip to the receiver, once known.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.receiver.rtt()
    }

    /// Totals so far.
    #[must_use]
    pub fn stats(&self) -> EgressStats {
        self.reporter.stats()
    }
}

#[cfg(test)]
mod tests;
