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

    /// A packet that `StreamBindings` resolved to this track. `None` for a probe, which brings nothing.
    pub fn handle_rtp(
        &mut self,
        now: Instant,
        route: StreamRoute,
        rtp: IncomingRtp<'_>,
    ) -> Result<Option<Accepted>, DropReason> {
        let stream = self.layers.get_mut(usize::from(route.layer.0)).ok_or(DropReason::RtpUnknownTrack)?;
        let seq = if route.repair { stream.handle_repair(now, rtp)? } else { Some(stream.handle_media(now, rtp)?) };
        Ok(seq.map(|seq| Accepted { layer: route.layer, seq }))
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

    /// Whether there is nothing to ask the publisher for, now or later.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.layers.iter().all(IngressStream::is_complete)
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

    /// What is known of each layer, lowest first. `facts` is the caller's room for it. A layer that lags behind its
    /// siblings has been stopped by its encoder: nobody should wait for it as long as for a camera that stands still.
    pub fn layer_facts<'a>(
        &self,
        now: Instant,
        facts: &'a mut [LayerFacts; LayerIndex::COUNT_MAX],
    ) -> &'a [LayerFacts] {
        let latest = self.layers.iter().filter_map(IngressStream::last_packet).max();
        for (fact, stream) in facts.iter_mut().zip(&self.layers) {
            *fact = stream.facts(now);
            fact.active &= stream.last_packet().is_some_and(|last| latest.is_none_or(|at| at < last + LAYER_LAG));
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
            let elapsed = ((i128::from(from_ntp) - i128::from(onto_ntp)) * rate) >> 32;
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

/// Higher: a picture that stands still for longer when an encoder stops its layer; lower: a layer of few pictures a
/// second seems to stop between two of them.
const LAYER_LAG: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::codec::{Codec, PayloadUse};
    use crate::rtp::packet::RtpHeader;
    use crate::sfu::ingress::testing::{Packet, extension_map, name};

    const RTT: Duration = Duration::from_millis(40);

    struct Bench {
        start: Instant,
        track: IngressTrack,
    }

    impl Bench {
        fn new(source: Source, rids: &[&str]) -> Self {
            let rids = rids.iter().map(|rid| name(rid)).collect();
            let track = IngressTrack::new(&IngressParameters { mid: name("1"), source, rids, ssrcs: Vec::new() });
            Self { start: Instant::now(), track }
        }

        fn at(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        fn handle(&mut self, millis: u64, layer: u8, packet: &Packet) -> Result<Accepted, DropReason> {
            let mut bytes = packet.build();
            let header = RtpHeader::parse(&bytes).unwrap();
            let extensions = extension_map();
            let usage =
                PayloadUse::Media(if self.track.source == Source::Microphone { Codec::Opus } else { Codec::Vp8 });
            let route = StreamRoute { section: 0, layer: LayerIndex(layer), repair: false };
            let now = self.at(millis);
            let rtp = IncomingRtp { header, packet: &mut bytes, usage, extensions: &extensions };
            self.track.handle_rtp(now, route, rtp).map(|accepted| accepted.expect("no probe"))
        }
    }

    /// An encoder that runs short of bandwidth stops its highest layer; viewers stood still for up to three seconds,
    /// because the layer counted as active for as long as a still screen does.
    #[test]
    fn a_layer_is_stopped_when_its_siblings_go_on_without_it() {
        let mut bench = Bench::new(Source::Camera, &["q", "h", "f"]);
        bench.handle(0, 0, &Packet::new(10, 1)).unwrap();
        bench.handle(0, 2, &Packet::new(12, 1)).unwrap();
        let active = |bench: &Bench, at: u64| {
            let mut room = [LayerFacts::default(); LayerIndex::COUNT_MAX];
            let facts = bench.track.layer_facts(bench.at(at), &mut room);
            [facts[0].active, facts[2].active]
        };
        assert_eq!(active(&bench, 1900), [true, true], "both stand still");
        bench.handle(490, 0, &Packet::new(10, 2)).unwrap();
        assert_eq!(active(&bench, 495), [true, true]);
        bench.handle(510, 0, &Packet::new(10, 3)).unwrap();
        assert_eq!(active(&bench, 515), [true, false]);
    }

    #[test]
    fn layers_are_apart_and_in_rid_order() {
        let mut bench = Bench::new(Source::Camera, &["q", "h", "f"]);
        assert_eq!(bench.track.layer_count(), 3);
        let low = bench.handle(0, 0, &Packet::new(10, 500).payload(&[0x10, 1, 0, 0])).unwrap();
        let high = bench.handle(0, 2, &Packet::new(12, 500).payload(&[0x10, 1, 0, 0, 9])).unwrap();
        assert_eq!((low.layer, high.layer), (LayerIndex(0), LayerIndex(2)));
        assert_ne!(
            bench.track.packet(low.layer, low.seq).unwrap().1,
            bench.track.packet(high.layer, high.seq).unwrap().1
        );
        assert!(bench.track.packet(LayerIndex(1), low.seq).is_none());
        assert!(bench.track.packet(LayerIndex(9), low.seq).is_none());
        let mut room = [LayerFacts::default(); LayerIndex::COUNT_MAX];
        let active: Vec<bool> =
            bench.track.layer_facts(bench.at(1), &mut room).iter().map(|fact| fact.active).collect();
        assert_eq!(active, [true, false, true]);
        assert_eq!(bench.handle(0, 3, &Packet::new(13, 1)), Err(DropReason::RtpUnknownTrack));
    }

    #[test]
    fn a_section_with_too_many_rids_keeps_the_lowest_layers() {
        assert_eq!(
            Bench::new(Source::Camera, &["a", "b", "c", "d", "e", "f"]).track.layer_count(),
            LayerIndex::COUNT_MAX
        );
        assert_eq!(Bench::new(Source::Microphone, &[]).track.layer_count(), 1);
    }

    #[test]
    fn what_is_owed_to_the_publisher_goes_to_the_layer_it_concerns() {
        let mut bench = Bench::new(Source::Camera, &["q", "h"]);
        bench.handle(0, 0, &Packet::new(10, 1)).unwrap();
        bench.handle(0, 1, &Packet::new(11, 1)).unwrap();
        bench.handle(1, 1, &Packet::new(11, 5)).unwrap();
        let mut asked = Vec::new();
        bench.track.poll_nacks(bench.at(11), RTT, |ssrc, lost| asked.push((ssrc, lost.to_vec())));
        assert_eq!(asked, [(Ssrc(11), vec![2, 3, 4])]);

        for _ in 0..9 {
            bench.track.request_keyframe(LayerIndex(1));
        }
        let mut requested = Vec::new();
        for millis in 11..511 {
            bench.track.poll_keyframe_requests(bench.at(millis), |ssrc| requested.push(ssrc));
        }
        assert_eq!(requested, [Ssrc(11)]);

        bench.track.handle_sender_report(bench.at(20), Ssrc(11), 5 << 32, 1);
        bench.track.handle_sender_report(bench.at(20), Ssrc(99), 6 << 32, 1);
        let now = bench.at(20);
        let reports: Vec<ReportBlock> = bench.track.poll_reports(now).collect();
        let told: Vec<_> =
            reports.iter().map(|report| (report.ssrc.0, report.cumulative_lost, report.last_sr)).collect();
        assert_eq!(told, [(10, 0, 0), (11, 3, 5 << 16)]);
    }

    #[test]
    fn timestamps_align_by_sender_reports_across_their_wrap() {
        let mut bench = Bench::new(Source::Camera, &["q", "h"]);
        bench.handle(0, 0, &Packet::new(10, 1).timestamp(5000)).unwrap();
        bench.handle(0, 1, &Packet::new(11, 1).timestamp(0xffff_ff00)).unwrap();
        // Layer 1's report was taken half a second after layer 0's.
        bench.track.handle_sender_report(bench.at(0), Ssrc(10), 100 << 32, 9000);
        bench.track.handle_sender_report(bench.at(0), Ssrc(11), (100 << 32) + (1 << 31), 0xffff_fff0);
        let alignment = bench.track.timestamp_alignment(LayerIndex(1), LayerIndex(0)).unwrap();
        assert!(alignment.exact);
        assert_eq!(0xffff_fff0u32.wrapping_add(alignment.offset), 9000 + 45_000);
        let back = bench.track.timestamp_alignment(LayerIndex(0), LayerIndex(1)).unwrap();
        assert_eq!(back.offset.wrapping_add(alignment.offset), 0);
    }

    #[test]
    fn timestamps_align_by_arrival_before_both_have_reported() {
        let mut bench = Bench::new(Source::Camera, &["q", "h"]);
        assert_eq!(bench.track.timestamp_alignment(LayerIndex(1), LayerIndex(0)), None);
        bench.handle(0, 0, &Packet::new(10, 1).timestamp(1000)).unwrap();
        assert_eq!(bench.track.timestamp_alignment(LayerIndex(1), LayerIndex(0)), None);
        bench.handle(100, 1, &Packet::new(11, 1).timestamp(700_000)).unwrap();
        bench.track.handle_sender_report(bench.at(0), Ssrc(10), 100 << 32, 1000);
        let alignment = bench.track.timestamp_alignment(LayerIndex(1), LayerIndex(0)).unwrap();
        assert!(!alignment.exact);
        assert_eq!(700_000u32.wrapping_add(alignment.offset), 1000 + 9000);
        let back = bench.track.timestamp_alignment(LayerIndex(0), LayerIndex(1)).unwrap();
        assert_eq!(back.offset.wrapping_add(alignment.offset), 0);
    }

    #[test]
    fn a_consultation_of_two_stays_within_its_share_of_memory() {
        // 40 MiB for 100 legs in 50 rooms: 400 KiB a leg, camera at 2.5 Mbit/s and voice.
        let mut camera = Bench::new(Source::Camera, &[]);
        let mut voice = Bench::new(Source::Microphone, &[]);
        let full = Packet::new(10, 0).payload(&[0x10; 1180]);
        for packet in 0..2600u16 {
            let mut full = full.clone();
            full.fields.sequence = packet;
            camera.handle(u64::from(packet) * 19 / 5, 0, &full).unwrap();
        }
        for packet in 0..500u16 {
            voice.handle(u64::from(packet) * 20, 0, &Packet::new(20, packet).payload(&[0; 200])).unwrap();
        }
        let memory = camera.track.memory() + voice.track.memory();
        assert!(memory <= 400 * 1024, "{memory}");
    }
}
