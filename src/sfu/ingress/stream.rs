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
mod tests;
