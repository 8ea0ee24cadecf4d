//! One simulcast layer as it reaches us: numbers extended, losses noticed, frames read, packets kept.
//!
//! Not here: which SSRC is which layer (`bindings`), what a track is (`track`), writing RTCP.
//! Invariant: a packet is accepted once, as itself or as its repair, and only while the cache can keep it.

use std::time::{Duration, Instant};

use crate::drops::DropReason;
use crate::ids::Ssrc;
use crate::rtp::codec::{Codec, MediaKind, PayloadUse};
use crate::rtp::dependency_descriptor::DescriptorReader;
use crate::rtp::extension::{ExtensionKind, ExtensionMap};
use crate::rtp::frame::{self, FrameInfo};
use crate::rtp::packet::RtpHeader;
use crate::rtp::rtcp::ReportBlock;
use crate::rtp::seq::{SeqExtender, SeqNo};
use crate::units::{DataSize, PictureSize};

use super::cache::{CacheLimits, PacketCache};
use super::keyframe::KeyframeRequests;
use super::meta::{ExtensionRange, LayerFacts, LayerIndex, PacketMeta};
use super::nack_generator::{Gap, NackGenerator};
use super::rate::RateMeter;
use super::receive_stats::ReceiveStats;

/// A parsed packet of a publisher, decrypted, with what its leg negotiated.
#[derive(Debug)]
pub struct IncomingRtp<'a> {
    /// Parsed from `packet`.
    pub header: RtpHeader,
    /// The whole packet. A repair is unwrapped in place.
    pub packet: &'a mut [u8],
    /// What the leg's payload map says of the payload type.
    pub usage: PayloadUse,
    /// The leg's extension ids.
    pub extensions: &'a ExtensionMap,
}

/// A point at which a stream's RTP clock is known on another clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClockPoints {
    /// The publisher's wall clock, from its last sender report.
    pub(super) sender_report: Option<(u64, u32)>,
    /// Ours, from the last packet in order.
    pub(super) arrival: Option<(Instant, u32)>,
}

/// One layer of a track.
#[derive(Debug)]
pub struct IngressStream {
    layer: LayerIndex,
    kind: MediaKind,
    ssrc: Option<Ssrc>,
    epoch: u8,
    extender: SeqExtender,
    cache: PacketCache,
    nacks: NackGenerator,
    stats: ReceiveStats,
    keyframes: KeyframeRequests,
    descriptors: DescriptorReader,
    rate: RateMeter,
    clock: ClockPoints,
    last_packet: Option<Instant>,
    last_keyframe: Option<Instant>,
    picture_size: Option<PictureSize>,
}

impl IngressStream {
    /// A pause that tells of an outage. Lower: a camera of few pictures a second would be asked at full rate.
    const SILENCE: Duration = Duration::from_millis(500);
    /// A layer counts as active for so long after a packet. A shared screen that stands still sends one every second or so.
    pub const ACTIVE: Duration = Duration::from_secs(2);
    /// Another SSRC takes the layer over when the current one was silent for so long; two at once would undo each other.
    pub const TAKEOVER: Duration = Duration::from_secs(1);

    /// A layer from which nothing came yet.
    #[must_use]
    pub fn new(layer: LayerIndex, kind: MediaKind) -> Self {
        Self {
            layer,
            kind,
            ssrc: None,
            epoch: 0,
            // One wrap ahead, so that a packet older than the first one has a number too.
            extender: SeqExtender::starting_at(1),
            cache: PacketCache::new(CacheLimits::of(kind)),
            nacks: NackGenerator::new(),
            stats: ReceiveStats::new(clock_rate(kind)),
            keyframes: KeyframeRequests::new(),
            descriptors: DescriptorReader::new(),
            rate: RateMeter::new(),
            clock: ClockPoints::default(),
            last_packet: None,
            last_keyframe: None,
            picture_size: None,
        }
    }

    /// A packet of the layer's own SSRC.
    pub fn handle_media(&mut self, now: Instant, rtp: IncomingRtp<'_>) -> Result<SeqNo, DropReason> {
        let header = rtp.header;
        self.adopt(now, header.ssrc)?;
        let before = self.extender.highest();
        let seq = self.extender.extend(header.sequence);
        if !self.sent_within(now, Self::SILENCE) {
            self.keyframes.record_return();
        }
        self.last_packet = Some(now);
        self.stats.record(now, seq, header.timestamp);
        self.rate.record(now, DataSize(rtp.packet.len() as u64));
        if before.is_none_or(|before| seq > before) {
            self.clock.arrival = Some((now, header.timestamp));
        }
        self.accept(now, seq, rtp)
    }

    /// A retransmission of this layer (RFC 4588 section 4): useful when the packet inside is missing. `None` for one of
    /// a packet that is here already, or of none: browsers probe their bandwidth with both.
    pub fn handle_repair(&mut self, now: Instant, rtp: IncomingRtp<'_>) -> Result<Option<SeqNo>, DropReason> {
        let IncomingRtp { mut header, packet, usage, extensions } = rtp;
        let payload = header.payload(packet);
        if payload.is_empty() {
            return Ok(None);
        }
        let (Some(ssrc), Some(highest), Some(&[high, low])) =
            (self.ssrc, self.extender.highest(), payload.first_chunk())
        else {
            return Err(DropReason::RtxUseless);
        };
        let seq = SeqNo::nearest(u16::from_be_bytes([high, low]), highest);
        if !self.cache.is_new(seq) {
            return Ok(None);
        }
        // A number ahead of the highest cannot have been asked for, and would move the window by a mere repair.
        if seq >= highest {
            return Err(DropReason::RtxUseless);
        }
        self.rate.record(now, DataSize(packet.len() as u64));
        let packet = unwrap_repair(&mut header, packet, seq, ssrc);
        let repaired = self.accept(now, seq, IncomingRtp { header, packet, usage, extensions });
        repaired.map(Some).map_err(|_| DropReason::RtxUseless)
    }

    /// A sender report about this layer.
    pub fn handle_sender_report(&mut self, now: Instant, ntp: u64, rtp_timestamp: u32) {
        self.stats.record_sender_report(now, ntp);
        self.clock.sender_report = Some((ntp, rtp_timestamp));
    }

    /// Somebody needs a keyframe of this layer.
    pub fn request_keyframe(&mut self) {
        if self.kind == MediaKind::Video {
            self.keyframes.request();
        }
    }

    /// The SSRC to ask for a keyframe now.
    pub fn poll_keyframe_request(&mut self, now: Instant) -> Option<Ssrc> {
        let ssrc = self.ssrc?;
        self.keyframes.poll(now).then_some(ssrc)
    }

    /// The SSRC to ask for lost packets now, with how many numbers were put into `lost`, ascending.
    pub fn poll_nack(
        &mut self,
        now: Instant,
        rtt: Duration,
        lost: &mut [u16; NackGenerator::MISSING_MAX],
    ) -> Option<(Ssrc, usize)> {
        let ssrc = self.ssrc?;
        let mut len = 0;
        self.nacks.poll(now, rtt, |seq| {
            lost[len] = seq.wire();
            len += 1;
        });
        (len > 0).then_some((ssrc, len))
    }

    /// The next report block; the fraction lost is since the previous call.
    pub fn poll_report(&mut self, now: Instant) -> Option<ReportBlock> {
        self.stats.poll_report(now, self.ssrc?)
    }

    /// Whether there is nothing to ask the publisher for, now or later.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.nacks.missing() == 0 && !self.keyframes.is_wanted()
    }

    /// When a request falls due that is not due yet.
    #[must_use]
    pub fn poll_timeout(&self, rtt: Duration) -> Option<Instant> {
        self.ssrc?;
        [self.nacks.poll_timeout(rtt), self.keyframes.poll_timeout()].into_iter().flatten().min()
    }

    /// A kept packet with its plaintext.
    #[must_use]
    pub fn packet(&self, seq: SeqNo) -> Option<(&PacketMeta, &[u8])> {
        self.cache.get(seq)
    }

    /// What is known of the layer now.
    #[must_use]
    pub fn facts(&self, now: Instant) -> LayerFacts {
        LayerFacts {
            index: self.layer,
            active: self.sent_within(now, Self::ACTIVE),
            bitrate: self.rate.rate(now),
            picture_size: self.picture_size,
            last_keyframe: self.last_keyframe,
        }
    }

    /// The SSRC that carries the layer.
    #[must_use]
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.ssrc
    }

    /// The memory of the cache, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.cache.memory()
    }

    pub(super) fn clock(&self) -> ClockPoints {
        self.clock
    }

    /// When the last packet came.
    #[must_use]
    pub(super) fn last_packet(&self) -> Option<Instant> {
        self.last_packet
    }

    fn sent_within(&self, now: Instant, span: Duration) -> bool {
        self.last_packet.is_some_and(|last| now.saturating_duration_since(last) < span)
    }

    /// Begins anew for another SSRC: its numbers and timestamps have nothing to do with the former ones.
    fn adopt(&mut self, now: Instant, ssrc: Ssrc) -> Result<(), DropReason> {
        if self.ssrc == Some(ssrc) {
            return Ok(());
        }
        if self.sent_within(now, Self::TAKEOVER) {
            return Err(DropReason::RtpUnknownTrack);
        }
        let keyframes = std::mem::take(&mut self.keyframes);
        let mut fresh = Self { ssrc: Some(ssrc), keyframes, ..Self::new(self.layer, self.kind) };
        if let Some(highest) = self.extender.highest() {
            fresh.epoch = self.epoch.wrapping_add(1);
            // Numbers never repeat on a layer, so that a viewer's late NACK cannot fetch another stream's packet.
            fresh.extender = SeqExtender::starting_at(highest.rollover().wrapping_add(2));
        }
        *self = fresh;
        Ok(())
    }

    /// Reads and keeps a packet that is not known yet.
    fn accept(&mut self, now: Instant, seq: SeqNo, rtp: IncomingRtp<'_>) -> Result<SeqNo, DropReason> {
        if !self.cache.is_new(seq) {
            return Err(DropReason::RtpStale);
        }
        let meta = self.describe(now, seq, &rtp)?;
        let len = usize::from(meta.header_len) + usize::from(meta.payload_len);
        // Padding is not kept, so its flag must not be either.
        rtp.packet[0] &= !PADDING_BIT;
        if !self.cache.store(now, &meta, &rtp.packet[..len]) {
            return Err(DropReason::RtpStale);
        }
        if self.kind == MediaKind::Video {
            if self.nacks.record(now, seq) == Gap::TooMuch {
                self.keyframes.request();
            }
            self.record_frame(now, &meta.frame);
        }
        Ok(seq)
    }

    fn describe(&mut self, now: Instant, seq: SeqNo, rtp: &IncomingRtp<'_>) -> Result<PacketMeta, DropReason> {
        let (codec, red) = match rtp.usage {
            PayloadUse::Media(codec) | PayloadUse::Rtx(codec) => (codec, false),
            PayloadUse::Red(codec) => (codec, true),
        };
        let header = &rtp.header;
        let payload = header.payload(rtp.packet);
        let mut meta = PacketMeta {
            seq,
            arrived: now,
            timestamp: header.timestamp,
            codec,
            frame: FrameInfo::default(),
            header_len: u16::try_from(header.len).map_err(|_| DropReason::RtpMalformed)?,
            payload_len: u16::try_from(payload.len()).map_err(|_| DropReason::RtpMalformed)?,
            dependency_descriptor: ExtensionRange::default(),
            video_orientation: ExtensionRange::default(),
            playout_delay: ExtensionRange::default(),
            color_space: ExtensionRange::default(),
            audio_level: ExtensionRange::default(),
            layer: self.layer,
            epoch: self.epoch,
            marker: header.marker,
            red,
        };
        let carried = note_extensions(&mut meta, header, rtp.packet, rtp.extensions);
        meta.frame = self.read_frame(codec, payload, header.marker, carried);
        Ok(meta)
    }

    /// The descriptor wins over the payload, which may be encrypted end to end.
    fn read_frame(&mut self, codec: Codec, payload: &[u8], marker: bool, descriptor: Option<&[u8]>) -> FrameInfo {
        if payload.is_empty() {
            return FrameInfo::default();
        }
        let Some(descriptor) = descriptor.and_then(|value| self.descriptors.read(value)) else {
            return frame::inspect(codec, payload, marker);
        };
        let mut info = descriptor.frame_info();
        if info.keyframe && info.picture_size.is_none() {
            info.picture_size = frame::inspect(codec, payload, marker).picture_size;
        }
        info
    }

    fn record_frame(&mut self, now: Instant, frame: &FrameInfo) {
        if frame.keyframe && frame.starts_frame {
            self.last_keyframe = Some(now);
            self.keyframes.record_keyframe();
        }
        // With spatial layers in one SSRC the largest one is the layer's size.
        if let Some(size) = frame.picture_size
            && (frame.spatial == 0 || self.picture_size.is_none_or(|known| size.width >= known.width))
        {
            self.picture_size = Some(size);
        }
    }
}

const PADDING_BIT: u8 = 0x20;

fn clock_rate(kind: MediaKind) -> u32 {
    match kind {
        MediaKind::Audio => 48_000,
        MediaKind::Video => 90_000,
    }
}

/// Turns a repair into the packet it repeats: the header moves over the original number, padding goes.
fn unwrap_repair<'a>(header: &mut RtpHeader, packet: &'a mut [u8], seq: SeqNo, ssrc: Ssrc) -> &'a mut [u8] {
    let end = packet.len() - header.padding;
    packet.copy_within(..header.len, ORIGINAL_LEN);
    let original = &mut packet[ORIGINAL_LEN..end];
    original[0] &= !PADDING_BIT;
    original[2..4].copy_from_slice(&seq.wire().to_be_bytes());
    original[8..12].copy_from_slice(&ssrc.0.to_be_bytes());
    header.padding = 0;
    header.sequence = seq.wire();
    header.ssrc = ssrc;
    original
}

/// The original sequence number before a repair's payload.
const ORIGINAL_LEN: usize = 2;

/// Notes where the extensions lie that egress passes on. Returns the dependency descriptor.
fn note_extensions<'a>(
    meta: &mut PacketMeta,
    header: &RtpHeader,
    packet: &'a [u8],
    extensions: &ExtensionMap,
) -> Option<&'a [u8]> {
    let mut descriptor = None;
    for (id, value) in header.extensions(packet) {
        let range = ExtensionRange::new(value.as_ptr().addr() - packet.as_ptr().addr(), value.len());
        match extensions.kind(id) {
            Some(ExtensionKind::DependencyDescriptor) => {
                meta.dependency_descriptor = range;
                descriptor = Some(value);
            }
            Some(ExtensionKind::VideoOrientation) => meta.video_orientation = range,
            Some(ExtensionKind::PlayoutDelay) => meta.playout_delay = range,
            Some(ExtensionKind::ColorSpace) => meta.color_space = range,
            Some(ExtensionKind::AudioLevel) => meta.audio_level = range,
            _ => {}
        }
    }
    descriptor
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sfu::ingress::testing::{Packet, extension_map};
    use crate::units::Bitrate;

    const MEDIA: u32 = 100;
    const REPAIR: u32 = 200;
    /// VP8: start of a keyframe of 640x360 in the first partition.
    const VP8_KEYFRAME: [u8; 12] = [0x10, 0x00, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, 0];
    /// VP8: start of a frame that refers to others.
    const VP8_DELTA: [u8; 6] = [0x10, 0x01, 0, 0, 0, 0];
    const RTT: Duration = Duration::from_millis(40);

    struct Bench {
        start: Instant,
        extensions: ExtensionMap,
        stream: IngressStream,
    }

    impl Bench {
        fn new(kind: MediaKind) -> Self {
            let stream = IngressStream::new(LayerIndex(1), kind);
            Self { start: Instant::now(), extensions: extension_map(), stream }
        }

        fn at(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        fn handle(&mut self, millis: u64, packet: &Packet, usage: PayloadUse) -> Result<SeqNo, DropReason> {
            self.deliver(millis, packet, usage).map(|seq| seq.expect("no probe"))
        }

        /// `None` for a probe.
        fn deliver(&mut self, millis: u64, packet: &Packet, usage: PayloadUse) -> Result<Option<SeqNo>, DropReason> {
            let mut bytes = packet.build();
            let header = RtpHeader::parse(&bytes).unwrap();
            let now = self.at(millis);
            let rtp = IncomingRtp { header, packet: &mut bytes, usage, extensions: &self.extensions };
            match usage {
                PayloadUse::Rtx(_) => self.stream.handle_repair(now, rtp),
                _ => self.stream.handle_media(now, rtp).map(Some),
            }
        }

        fn video(&mut self, millis: u64, sequence: u16) -> Result<SeqNo, DropReason> {
            self.handle(millis, &Packet::new(MEDIA, sequence).payload(&VP8_DELTA), PayloadUse::Media(Codec::Vp8))
        }

        fn repair(&mut self, millis: u64, packet: &Packet) -> Result<Option<SeqNo>, DropReason> {
            self.deliver(millis, &packet.clone().repair(REPAIR, 7), PayloadUse::Rtx(Codec::Vp8))
        }

        fn lost(&mut self, millis: u64) -> Vec<u16> {
            let mut lost = [0; NackGenerator::MISSING_MAX];
            let now = self.at(millis);
            match self.stream.poll_nack(now, RTT, &mut lost) {
                Some((ssrc, len)) => {
                    assert_eq!(ssrc, Ssrc(MEDIA));
                    lost[..len].to_vec()
                }
                None => Vec::new(),
            }
        }
    }

    #[test]
    fn keeps_a_packet_with_what_forwarding_must_know() {
        let mut bench = Bench::new(MediaKind::Video);
        let packet = Packet::new(MEDIA, 65_535)
            .timestamp(1234)
            .extension(ExtensionKind::VideoOrientation, &[3])
            .extension(ExtensionKind::PlayoutDelay, &[1, 2, 3])
            .payload(&VP8_KEYFRAME);
        let seq = bench.handle(0, &packet, PayloadUse::Media(Codec::Vp8)).unwrap();
        let (meta, bytes) = bench.stream.packet(seq).unwrap();
        assert_eq!(bytes, packet.build());
        assert_eq!((meta.seq, meta.timestamp, meta.layer, meta.epoch), (seq, 1234, LayerIndex(1), 0));
        assert_eq!(meta.payload(bytes), VP8_KEYFRAME);
        assert_eq!(meta.video_orientation.of(bytes), Some(&[3][..]));
        assert_eq!(meta.playout_delay.of(bytes), Some(&[1, 2, 3][..]));
        assert_eq!(meta.audio_level.of(bytes), None);
        assert!(meta.frame.keyframe && meta.frame.starts_frame && !meta.red);

        let facts = bench.stream.facts(bench.at(10));
        assert_eq!(facts.picture_size, Some(PictureSize { width: 640, height: 360 }));
        assert_eq!((facts.active, facts.last_keyframe), (true, Some(bench.start)));
        assert!(facts.bitrate > Bitrate(0));
        assert!(!bench.stream.facts(bench.at(2000)).active);

        assert_eq!(bench.video(11, 0), Ok(seq.next()), "the numbers wrap");
    }

    #[test]
    fn a_double_or_an_old_packet_is_stale_but_counted() {
        let mut bench = Bench::new(MediaKind::Video);
        bench.video(0, 1000).unwrap();
        assert_eq!(bench.video(1, 1000), Err(DropReason::RtpStale));
        assert_eq!(bench.video(1, 900), Err(DropReason::RtpStale));
        bench.video(2, 1001).unwrap();
        assert_eq!(bench.stream.poll_report(bench.at(3)).unwrap().cumulative_lost, -2);
    }

    #[test]
    fn a_loss_is_asked_for_and_its_repair_takes_its_place() {
        let mut bench = Bench::new(MediaKind::Video);
        bench.video(0, 10).unwrap();
        bench.video(1, 12).unwrap();
        assert_eq!(bench.lost(11), [11]);

        let missing =
            Packet::new(MEDIA, 11).timestamp(77).extension(ExtensionKind::PlayoutDelay, &[9, 9, 9]).payload(&VP8_DELTA);
        let seq = bench.repair(50, &missing).unwrap().expect("it was missing");
        let (meta, bytes) = bench.stream.packet(seq).unwrap();
        assert_eq!(bytes, missing.build(), "as it would have come by itself");
        assert_eq!((meta.seq.wire(), meta.timestamp), (11, 77));
        assert_eq!(meta.playout_delay.of(bytes), Some(&[9, 9, 9][..]));
        assert!(bench.lost(200).is_empty());
        assert_eq!(bench.video(201, 11), Err(DropReason::RtpStale), "the original after its repair");
        assert_eq!(bench.repair(202, &missing), Ok(None), "twice");
    }

    #[test]
    fn repairs_count_as_loss_in_the_report() {
        let mut bench = Bench::new(MediaKind::Video);
        bench.video(0, 10).unwrap();
        bench.video(1, 12).unwrap();
        bench.repair(2, &Packet::new(MEDIA, 11).payload(&VP8_DELTA)).unwrap();
        assert_eq!(bench.stream.poll_report(bench.at(3)).unwrap().cumulative_lost, 1);
    }

    #[test]
    fn useless_repairs_are_refused() {
        let mut bench = Bench::new(MediaKind::Video);
        let missing = Packet::new(MEDIA, 11).payload(&VP8_DELTA);
        assert_eq!(bench.repair(0, &missing), Err(DropReason::RtxUseless), "before any packet");
        bench.video(0, 10).unwrap();
        assert_eq!(bench.repair(1, &missing), Err(DropReason::RtxUseless), "ahead of the highest");
        bench.video(1, 12).unwrap();
        let half = Packet::new(REPAIR, 7).payload(&[0]).padding(20);
        assert_eq!(bench.deliver(2, &half, PayloadUse::Rtx(Codec::Vp8)), Err(DropReason::RtxUseless));
        assert_eq!(bench.lost(100), [11], "none of them filled the gap");
    }

    /// Chromium sends what it sent already, or padding alone, to learn how much its network carries: the operator's
    /// board showed hundreds of drops a second in a sound call.
    #[test]
    fn probes_are_told_from_useless_repairs() {
        let mut bench = Bench::new(MediaKind::Video);
        let padding = Packet::new(REPAIR, 7).payload(&[]).padding(255);
        assert_eq!(bench.deliver(0, &padding, PayloadUse::Rtx(Codec::Vp8)), Ok(None), "before any packet");
        bench.video(1, 10).unwrap();
        bench.video(2, 12).unwrap();
        for sequence in [10, 12] {
            assert_eq!(bench.repair(3, &Packet::new(MEDIA, sequence).payload(&VP8_DELTA)), Ok(None));
        }
        assert_eq!(bench.deliver(4, &padding, PayloadUse::Rtx(Codec::Vp8)), Ok(None));
        assert_eq!(bench.lost(100), [11], "none of them filled the gap");
    }

    #[test]
    fn padding_is_not_kept() {
        let mut bench = Bench::new(MediaKind::Video);
        let packet = Packet::new(MEDIA, 10).payload(&VP8_DELTA);
        let seq = bench.handle(0, &packet.clone().padding(200), PayloadUse::Media(Codec::Vp8)).unwrap();
        assert_eq!(bench.stream.packet(seq).unwrap().1, packet.build());

        bench.video(1, 12).unwrap();
        let repaired = Packet::new(MEDIA, 11).payload(&VP8_DELTA);
        let seq = bench.repair(2, &repaired.clone().padding(100)).unwrap().expect("it was missing");
        assert_eq!(bench.stream.packet(seq).unwrap().1, repaired.build());

        let probe = Packet::new(MEDIA, 13).payload(&[]).padding(255);
        let seq = bench.handle(3, &probe, PayloadUse::Media(Codec::Vp8)).unwrap();
        let meta = bench.stream.packet(seq).unwrap().0;
        assert_eq!((meta.payload_len, meta.frame), (0, FrameInfo::default()));
    }

    #[test]
    fn asks_for_a_keyframe_instead_when_too_much_is_missing_until_one_comes() {
        let mut bench = Bench::new(MediaKind::Video);
        bench.video(0, 10).unwrap();
        assert_eq!(bench.stream.poll_keyframe_request(bench.at(0)), None);
        bench.video(1, 1000).unwrap();
        assert!(bench.lost(20).is_empty());
        assert_eq!(bench.stream.poll_keyframe_request(bench.at(20)), Some(Ssrc(MEDIA)));
        assert_eq!(bench.stream.poll_timeout(RTT), Some(bench.at(520)));
        assert_eq!(bench.stream.poll_keyframe_request(bench.at(520)), Some(Ssrc(MEDIA)));
        let keyframe = Packet::new(MEDIA, 1001).payload(&VP8_KEYFRAME);
        bench.handle(600, &keyframe, PayloadUse::Media(Codec::Vp8)).unwrap();
        assert_eq!(bench.stream.poll_keyframe_request(bench.at(5000)), None);
    }

    #[test]
    fn voice_is_neither_asked_for_again_nor_for_keyframes_and_red_is_kept_as_it_came() {
        let mut bench = Bench::new(MediaKind::Audio);
        for sequence in [1, 5, 500] {
            let packet = Packet::new(MEDIA, sequence).extension(ExtensionKind::AudioLevel, &[0x80 | 20]);
            let seq = bench.handle(0, &packet, PayloadUse::Red(Codec::Opus)).unwrap();
            let (meta, bytes) = bench.stream.packet(seq).unwrap();
            assert_eq!(meta.audio_level.of(bytes), Some(&[0x80 | 20][..]));
            assert!(meta.red && meta.codec == Codec::Opus);
            assert_eq!(bytes, packet.build());
        }
        bench.stream.request_keyframe();
        assert!(bench.lost(100).is_empty());
        assert_eq!(bench.stream.poll_keyframe_request(bench.at(100)), None);
    }

    #[test]
    fn another_ssrc_takes_over_only_after_a_silence_and_starts_an_epoch() {
        let mut bench = Bench::new(MediaKind::Video);
        let first = bench.video(0, 10).unwrap();
        let other = Packet::new(MEDIA + 1, 60_000).payload(&VP8_DELTA);
        assert_eq!(
            bench.handle(999, &other, PayloadUse::Media(Codec::Vp8)),
            Err(DropReason::RtpUnknownTrack),
            "two SSRCs at once would undo each other"
        );
        bench.stream.request_keyframe();
        let seq = bench.handle(1000, &other, PayloadUse::Media(Codec::Vp8)).unwrap();
        assert_eq!(bench.stream.packet(seq).unwrap().0.epoch, 1);
        assert!(seq > first && bench.stream.packet(first).is_none());
        assert_eq!(
            bench.stream.poll_report(bench.at(1000)).unwrap().highest_sequence,
            60_000,
            "counts from its own start"
        );
        assert_eq!(bench.stream.poll_keyframe_request(bench.at(1001)), Some(Ssrc(MEDIA + 1)), "a wish outlives it");
    }

    #[test]
    fn the_descriptor_tells_the_frame_when_the_payload_is_encrypted() {
        let mut bench = Bench::new(MediaKind::Video);
        let encrypted = [0xaa; 40];
        // A first packet with one template and its structure: 1 spatial, 1 temporal layer, 1 decode target.
        let keyframe = structure_descriptor();
        let packet =
            Packet::new(MEDIA, 1).extension(ExtensionKind::DependencyDescriptor, &keyframe).payload(&encrypted);
        let seq = bench.handle(0, &packet, PayloadUse::Media(Codec::Vp8)).unwrap();
        let (meta, bytes) = bench.stream.packet(seq).unwrap();
        assert!(meta.frame.keyframe && meta.frame.starts_frame && !meta.frame.ends_frame);
        assert_eq!(meta.dependency_descriptor.of(bytes), Some(&keyframe[..]));

        // End of frame 2, template 0, no structure.
        let delta = [0x40, 0x00, 0x02];
        let packet = Packet::new(MEDIA, 2).extension(ExtensionKind::DependencyDescriptor, &delta).payload(&encrypted);
        let seq = bench.handle(1, &packet, PayloadUse::Media(Codec::Vp8)).unwrap();
        let frame = bench.stream.packet(seq).unwrap().0.frame;
        assert!(!frame.keyframe && !frame.starts_frame && frame.ends_frame);
    }

    #[test]
    fn hostile_packets_neither_panic_nor_grow_the_cache_past_its_cap() {
        let mut bench = Bench::new(MediaKind::Video);
        let mut state = 11u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32
        };
        let mut accepted = 0;
        for step in 0..20_000u64 {
            let noise: Vec<u8> = (0..random() % 60).map(|_| random() as u8).collect();
            let kind = ExtensionKind::ALL[random() as usize % ExtensionKind::ALL.len()];
            let value: Vec<u8> = (0..1 + random() % 40).map(|_| random() as u8).collect();
            let packet = Packet::new(MEDIA, random() as u16).extension(kind, &value).payload(&noise);
            let packet = packet.padding((random() % 4) as u8 * 50);
            let codec = [Codec::Vp8, Codec::Vp9 { profile: 0 }, Codec::Av1][random() as usize % 3];
            let usage = match random() % 3 {
                0 => PayloadUse::Rtx(codec),
                _ => PayloadUse::Media(codec),
            };
            accepted += u32::from(matches!(bench.deliver(step, &packet, usage), Ok(Some(_))));
            bench.lost(step);
        }
        assert!(accepted > 0);
        let cap = CacheLimits::VIDEO.bytes_max + CacheLimits::VIDEO.packets_max * 2 * size_of::<PacketMeta>();
        assert!(bench.stream.memory() <= cap);
    }

    /// AV1 RTP appendix A.8.2, bit by bit.
    fn structure_descriptor() -> Vec<u8> {
        let mut bits = String::new();
        bits += "1"; // start of frame
        bits += "0"; // not its end
        bits += "000000"; // template 0
        bits += "0000000000000001"; // frame 1
        bits += "1"; // structure present
        bits += "0000"; // no active targets, custom indications, differences, chains
        bits += "000000"; // template id offset
        bits += "00000"; // one decode target
        bits += "11"; // no more layers
        bits += "10"; // its indication: switch
        bits += "0"; // no frame differences
        bits += "0"; // no chains: ns(2) of 0
        bits += "0"; // no resolutions
        while !bits.len().is_multiple_of(8) {
            bits += "0";
        }
        bits.as_bytes().chunks(8).map(|byte| u8::from_str_radix(str::from_utf8(byte).unwrap(), 2).unwrap()).collect()
    }
}
