//! A microphone, camera or screen of a leg: its simulcast layers together.
//!
//! The leg finds the track and layer (`bindings`), hands packets and sender reports in, and asks what it owes the
//! publisher: NACKs, keyframe requests, report blocks. Not here: congestion feedback (`transport_cc`, a leg's), RED
//! (kept as it came, egress strips it), permission.

use std::time::{Duration, Instant};

use crate::drops::DropReason;
use crate::ids::Ssrc;
use crate::rtp::codec::Source;
use crate::rtp::rtcp::ReportBlock;
use crate::rtp::seq::SeqNo;
use crate::sfu::parameters::IngressParameters;

use super::bindings::StreamRoute;
use super::meta::{Accepted, LayerFacts, LayerIndex, PacketMeta};
use super::nack_generator::NackGenerator;
use super::stream::{IncomingRtp, IngressStream};

/// One published source.
#[derive(Debug)]
pub struct IngressTrack {
    source: Source,
    layers: Vec<IngressStream>,
}

/// How to bring the timestamps of one layer onto the timeline of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampAlignment {
    /// What to add to a timestamp, modulo 2^32.
    pub offset: u32,
    /// From sender reports; else from arrivals, good to some tens of milliseconds.
    pub exact: bool,
}

impl IngressTrack {
    /// A track with as many layers as its section declares.
    #[must_use]
    pub fn new(parameters: &IngressParameters) -> Self {
        let count = parameters.rids.len().max(parameters.ssrcs.len()).clamp(1, LayerIndex::COUNT_MAX);
        let kind = parameters.source.kind();
        let layers = (0..count as u8).map(|layer| IngressStream::new(LayerIndex(layer), kind)).collect();
        Self { source: parameters.source, layers }
    }

    /// A packet that `StreamBindings` resolved to this track.
    pub fn handle_rtp(
        &mut self,
        now: Instant,
        route: StreamRoute,
        rtp: IncomingRtp<'_>,
    ) -> Result<Accepted, DropReason> {
        let stream = self.layers.get_mut(usize::from(route.layer.0)).ok_or(DropReason::RtpUnknownTrack)?;
        let seq = if route.repair { stream.handle_repair(now, rtp) } else { stream.handle_media(now, rtp) }?;
        Ok(Accepted { layer: route.layer, seq })
    }

    /// A sender report about one of this track's SSRCs.
    pub fn handle_sender_report(&mut self, now: Instant, ssrc: Ssrc, ntp: u64, rtp_timestamp: u32) {
        if let Some(stream) = self.layers.iter_mut().find(|stream| stream.ssrc() == Some(ssrc)) {
            stream.handle_sender_report(now, ntp, rtp_timestamp);
        }
    }

    /// A viewer needs a keyframe of this layer. Any number of wishes become one request.
    pub fn request_keyframe(&mut self, layer: LayerIndex) {
        if let Some(stream) = self.layers.get_mut(usize::from(layer.0)) {
            stream.request_keyframe();
        }
    }

    /// Tells which SSRCs to send a PLI for now. Call it after every batch and at `poll_timeout`.
    pub fn poll_keyframe_requests(&mut self, now: Instant, mut request: impl FnMut(Ssrc)) {
        self.layers.iter_mut().filter_map(|stream| stream.poll_keyframe_request(now)).for_each(&mut request);
    }

    /// Tells which packets to ask for again now, ascending. Call it after every batch and at `poll_timeout`.
    pub fn poll_nacks(&mut self, now: Instant, rtt: Duration, mut ask: impl FnMut(Ssrc, &[u16])) {
        let mut lost = [0; NackGenerator::MISSING_MAX];
        for stream in &mut self.layers {
            if let Some((ssrc, len)) = stream.poll_nack(now, rtt, &mut lost) {
                ask(ssrc, &lost[..len]);
            }
        }
    }

    /// A report block for every layer that sent; the fractions lost are since the previous call.
    pub fn poll_reports(&mut self, now: Instant) -> impl Iterator<Item = ReportBlock> {
        self.layers.iter_mut().filter_map(move |stream| stream.poll_report(now))
    }

    /// When a request falls due that is not due yet.
    #[must_use]
    pub fn poll_timeout(&self, rtt: Duration) -> Option<Instant> {
        self.layers.iter().filter_map(|stream| stream.poll_timeout(rtt)).min()
    }

    /// A kept packet with its plaintext, for fan-out and for retransmission.
    #[must_use]
    pub fn packet(&self, layer: LayerIndex, seq: SeqNo) -> Option<(&PacketMeta, &[u8])> {
        self.layers.get(usize::from(layer.0))?.packet(seq)
    }

    /// What is known of each layer, lowest first. `facts` is the caller's room for it.
    pub fn layer_facts<'a>(
        &self,
        now: Instant,
        facts: &'a mut [LayerFacts; LayerIndex::COUNT_MAX],
    ) -> &'a [LayerFacts] {
        for (fact, stream) in facts.iter_mut().zip(&self.layers) {
            *fact = stream.facts(now);
        }
        &facts[..self.layers.len().min(LayerIndex::COUNT_MAX)]
    }

    /// What to add to timestamps of `from` so that they continue the timeline of `onto`. `None` before both have sent.
    #[must_use]
    pub fn timestamp_alignment(&self, from: LayerIndex, onto: LayerIndex) -> Option<TimestampAlignment> {
        let from = self.layers.get(usize::from(from.0))?.clock();
        let onto = self.layers.get(usize::from(onto.0))?.clock();
        let rate = i128::from(self.clock_rate());
        if let (Some((from_ntp, from_rtp)), Some((onto_ntp, onto_rtp))) = (from.sender_report, onto.sender_report) {
            let elapsed = (i128::from(from_ntp) - i128::from(onto_ntp)) * rate >> 32;
            return Some(TimestampAlignment { offset: offset(from_rtp, onto_rtp, elapsed), exact: true });
        }
        let ((from_at, from_rtp), (onto_at, onto_rtp)) = (from.arrival?, onto.arrival?);
        let forward = from_at.saturating_duration_since(onto_at).as_nanos() as i128;
        let back = onto_at.saturating_duration_since(from_at).as_nanos() as i128;
        let elapsed = (forward - back) * rate / 1_000_000_000;
        Some(TimestampAlignment { offset: offset(from_rtp, onto_rtp, elapsed), exact: false })
    }

    /// The last sender report of a layer: the publisher's NTP time and the RTP timestamp of the same instant.
    #[must_use]
    pub fn sender_report(&self, layer: LayerIndex) -> Option<(u64, u32)> {
        self.layers.get(usize::from(layer.0))?.clock().sender_report
    }

    /// Which SSRC carries a layer now.
    #[must_use]
    pub fn ssrc(&self, layer: LayerIndex) -> Option<Ssrc> {
        self.layers.get(usize::from(layer.0))?.ssrc()
    }

    /// How many layers the section declares.
    #[must_use]
    pub fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// Where the media comes from.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// RTP clock of all layers, in Hz.
    #[must_use]
    pub fn clock_rate(&self) -> u32 {
        match self.source {
            Source::Microphone => 48_000,
            Source::Camera | Source::Screen => 90_000,
        }
    }

    /// The memory of all caches, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.layers.iter().map(IngressStream::memory).sum()
    }
}

/// `onto_rtp` moved on by what passed until `from_rtp` was taken, less `from_rtp`.
fn offset(from_rtp: u32, onto_rtp: u32, elapsed: i128) -> u32 {
    onto_rtp.wrapping_add(elapsed as u32).wrapping_sub(from_rtp)
}
