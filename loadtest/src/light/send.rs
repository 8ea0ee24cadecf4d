//! One RTP stream that a leg sends: a voice or a layer of its camera, paced, numbered, stamped, sealed into the batch.
//!
//! A packet sent is remembered by its shape, not by its bytes: a resend writes it anew. Not here: RTCP on the wire
//! (`reports`), sockets (`wire`).

use std::time::{Duration, Instant};

use colloque::ids::{PayloadType, Ssrc};
use colloque::rtp::extension::{AudioLevel, ExtensionKind, ExtensionMap, abs_send_time};
use colloque::rtp::packet::{HeaderFields, HeaderWriter};
use colloque::rtp::rtcp::SenderInfo;
use colloque::rtp::seq::SeqNo;
use colloque::transport::batch::{Path, TransmitBatch};
use colloque::transport::srtp::EgressSrtp;

use super::impair::Impairment;
use super::sdp::Payload;
use crate::media::{OPUS_INTERVAL, OPUS_LEN, OpusSource, PieceShape, Stamp, Vp8Source};
use crate::tally::{Phase, Shared};

/// What a leg's streams share on their way out.
pub(super) struct Channel {
    pub(super) egress: EgressSrtp,
    pub(super) path: Path,
    pub(super) impairment: Impairment,
    transport_cc: u16,
}

impl Channel {
    pub(super) fn new(egress: EgressSrtp, path: Path, impairment: Impairment) -> Self {
        Self { egress, path, impairment, transport_cc: 0 }
    }
}

/// Who a stream is, on the wire and in stamps.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) ssrc: u32,
    pub(super) rtx_ssrc: u32,
    pub(super) payload: Payload,
    pub(super) extensions: ExtensionMap,
    pub(super) mid: String,
    /// Of a simulcast layer.
    pub(super) rid: Option<&'static str>,
    /// In stamps and tallies.
    pub(super) stream: u32,
}

/// What makes the packets.
pub(super) enum Source {
    Voice(OpusSource),
    Camera { encoder: Vp8Source, interval: Duration },
}

/// One stream.
pub(super) struct Sending {
    pub(super) identity: Identity,
    source: Source,
    due: Instant,
    next: SeqNo,
    rtx_next: SeqNo,
    /// The far side reported on the stream: it knows which section the SSRC belongs to.
    acknowledged: bool,
    packets: u32,
    octets: u32,
    timestamp: u32,
    sent_at: Instant,
    numbered: u32,
    keyframe_at: Option<Instant>,
    history: Vec<Sent>,
}

/// What is needed to write a packet again.
#[derive(Clone, Copy)]
struct Sent {
    seq: SeqNo,
    shape: PieceShape,
    stamp: Stamp,
    resent_at: Option<Instant>,
}

impl Sending {
    /// Nothing is due before [`Sending::begin`].
    pub(super) fn new(identity: Identity, source: Source, now: Instant) -> Self {
        let first = SeqNo(FIRST_SEQUENCE + u64::from(identity.ssrc % FIRST_SEQUENCE_SPREAD));
        Self {
            identity,
            source,
            due: now,
            next: first,
            rtx_next: first,
            acknowledged: false,
            packets: 0,
            octets: 0,
            timestamp: 0,
            sent_at: now,
            numbered: 0,
            keyframe_at: None,
            history: Vec::new(),
        }
    }

    /// The first packet is due at once, as a page's is.
    pub(super) fn begin(&mut self, now: Instant) {
        self.due = now;
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Numbered packets so far.
    pub(super) fn numbered(&self) -> u32 {
        self.numbered
    }

    pub(super) fn has_sent(&self) -> bool {
        self.packets > 0
    }

    /// Writes what is due by `now`, unless nothing is to be sent.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        shared: &Shared,
        silent: bool,
        channel: &mut Channel,
        batch: &mut TransmitBatch,
    ) {
        if now.saturating_duration_since(self.due) > LAG_MAX {
            // The generator was held up: what an encoder would have dropped is not sent in one heap.
            self.due = now;
        }
        while self.due <= now {
            let interval = match &self.source {
                Source::Voice(_) => OPUS_INTERVAL,
                Source::Camera { interval, .. } => *interval,
            };
            self.due += interval;
            if silent || shared.phase() == Phase::Listen {
                continue;
            }
            match self.source {
                Source::Voice(_) => self.send_voice(now, shared, channel, batch),
                Source::Camera { .. } => self.send_frame(now, shared, channel, batch),
            }
        }
    }

    /// A receiver wants a keyframe: the next frame is one, at most every [`KEYFRAME_EVERY`].
    pub(super) fn request_keyframe(&mut self, now: Instant) {
        let Source::Camera { encoder, .. } = &mut self.source else { return };
        if self.keyframe_at.is_none_or(|at| now.saturating_duration_since(at) >= KEYFRAME_EVERY) {
            self.keyframe_at = Some(now);
            encoder.request_keyframe();
        }
    }

    /// The far side reported on this stream.
    pub(super) fn acknowledge(&mut self) {
        self.acknowledged = true;
    }

    /// Sends a packet again. False when it is too old or was just sent again.
    pub(super) fn resend(
        &mut self,
        now: Instant,
        wire: u16,
        shared: &Shared,
        channel: &mut Channel,
        batch: &mut TransmitBatch,
    ) -> bool {
        let seq = SeqNo::nearest(wire, self.next);
        let slot = seq.0 as usize % HISTORY_LEN;
        let Some(sent) = self.history.get_mut(slot).filter(|sent| sent.seq == seq) else { return false };
        if sent.resent_at.is_some_and(|at| now.saturating_duration_since(at) < RESEND_EVERY) {
            return false;
        }
        sent.resent_at = Some(now);
        let Sent { shape, stamp, .. } = *sent;
        let Some(rtx) = self.identity.payload.rtx else { return false };
        let rtx_seq = self.rtx_next;
        self.rtx_next = rtx_seq.next();
        let fields = HeaderFields {
            marker: shape.marker,
            payload_type: PayloadType(rtx),
            sequence: rtx_seq.wire(),
            timestamp: shape.timestamp,
            ssrc: Ssrc(self.identity.rtx_ssrc),
        };
        let identity = &self.identity;
        seal(channel, batch, now.saturating_duration_since(shared.epoch), identity, true, fields, rtx_seq, |payload| {
            payload[..2].copy_from_slice(&seq.wire().to_be_bytes());
            let len = 2 + shape.write(&mut payload[2..]);
            stamp.write(&mut payload[..len]);
            len
        });
        true
    }

    /// For a sender report. `clock` is the same instant in 32.32 NTP seconds.
    pub(super) fn sender_info(&self, now: Instant, ntp: u64) -> SenderInfo {
        let rate: u128 = if matches!(self.source, Source::Voice(_)) { 48_000 } else { 90_000 };
        let since = now.saturating_duration_since(self.sent_at).as_nanos() * rate / 1_000_000_000;
        SenderInfo {
            ssrc: Ssrc(self.identity.ssrc),
            ntp,
            rtp_timestamp: self.timestamp.wrapping_add(since as u32),
            packets: self.packets,
            octets: self.octets,
        }
    }

    fn send_voice(&mut self, now: Instant, shared: &Shared, channel: &mut Channel, batch: &mut TransmitBatch) {
        let stamp = self.stamp(now, shared);
        let seq = self.next;
        self.next = seq.next();
        let Source::Voice(source) = &mut self.source else { return };
        let mut packet = [0; OPUS_LEN];
        let timestamp = source.next_into(&mut packet);
        stamp.write(&mut packet);
        let fields = HeaderFields {
            marker: false,
            payload_type: PayloadType(self.identity.payload.media),
            sequence: seq.wire(),
            timestamp,
            ssrc: Ssrc(self.identity.ssrc),
        };
        let (identity, named) = (&self.identity, !self.acknowledged);
        let elapsed = now.saturating_duration_since(shared.epoch);
        let len = seal(channel, batch, elapsed, identity, named, fields, seq, |payload| {
            payload[..OPUS_LEN].copy_from_slice(&packet);
            OPUS_LEN
        });
        self.count(now, timestamp, len);
    }

    fn send_frame(&mut self, now: Instant, shared: &Shared, channel: &mut Channel, batch: &mut TransmitBatch) {
        let Source::Camera { encoder, .. } = &mut self.source else { return };
        for shape in encoder.next_shapes() {
            let stamp = self.stamp(now, shared);
            let seq = self.next;
            self.next = seq.next();
            let fields = HeaderFields {
                marker: shape.marker,
                payload_type: PayloadType(self.identity.payload.media),
                sequence: seq.wire(),
                timestamp: shape.timestamp,
                ssrc: Ssrc(self.identity.ssrc),
            };
            let (identity, named) = (&self.identity, !self.acknowledged);
            let elapsed = now.saturating_duration_since(shared.epoch);
            let len = seal(channel, batch, elapsed, identity, named, fields, seq, |payload| {
                let len = shape.write(payload);
                stamp.write(&mut payload[..len]);
                len
            });
            self.count(now, shape.timestamp, len);
            self.remember(Sent { seq, shape, stamp, resent_at: None });
        }
    }

    fn stamp(&mut self, now: Instant, shared: &Shared) -> Stamp {
        let number = (shared.phase() == Phase::Count).then(|| {
            self.numbered += 1;
            self.numbered - 1
        });
        let sent_micros = now.saturating_duration_since(shared.epoch).as_micros() as u64;
        Stamp { stream: self.identity.stream, number, sent_micros }
    }

    fn count(&mut self, now: Instant, timestamp: u32, payload_len: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload_len as u32);
        self.timestamp = timestamp;
        self.sent_at = now;
    }

    fn remember(&mut self, sent: Sent) {
        if self.identity.payload.rtx.is_none() {
            return;
        }
        let slot = sent.seq.0 as usize % HISTORY_LEN;
        if self.history.is_empty() {
            self.history.resize(HISTORY_LEN, sent);
        }
        self.history[slot] = sent;
    }
}

/// Writes one packet into the batch: header, payload, seal. `named` adds the mid (and rid) for a far side that does not
/// know the SSRC yet. Gives the payload's length.
#[allow(clippy::too_many_arguments)] // One call's facts; a struct would be built and taken apart per packet.
fn seal(
    channel: &mut Channel,
    batch: &mut TransmitBatch,
    elapsed: Duration,
    identity: &Identity,
    named: bool,
    fields: HeaderFields,
    seq: SeqNo,
    write: impl FnOnce(&mut [u8]) -> usize,
) -> usize {
    let transport_cc = channel.transport_cc;
    channel.transport_cc = transport_cc.wrapping_add(1);
    if channel.impairment.loses() {
        return 0;
    }
    let egress = &channel.egress;
    let mut payload_len = 0;
    batch.push(channel.path, |out| {
        let mut header = HeaderWriter::new(out, fields, false);
        for (kind, id) in identity.extensions.iter() {
            match kind {
                ExtensionKind::AbsSendTime => header.extension(id, &abs_send_time(elapsed)),
                ExtensionKind::TransportCc => header.extension(id, &transport_cc.to_be_bytes()),
                ExtensionKind::AudioLevel => header.extension(id, &VOICE_LEVEL.to_bytes()),
                ExtensionKind::Mid if named => header.extension(id, identity.mid.as_bytes()),
                ExtensionKind::Rid if named && fields.ssrc.0 == identity.ssrc => rid(&mut header, id, identity),
                ExtensionKind::RepairedRid if named && fields.ssrc.0 != identity.ssrc => rid(&mut header, id, identity),
                _ => true,
            };
        }
        let header_len = header.finish();
        payload_len = write(&mut out[header_len..]);
        egress.seal_rtp(out, header_len, header_len + payload_len, seq)
    });
    payload_len
}

fn rid(header: &mut HeaderWriter<'_>, id: u8, identity: &Identity) -> bool {
    identity.rid.is_none_or(|rid| header.extension(id, rid.as_bytes()))
}

/// Below half of 16 bits, so that SRTP's rollover counter survives the loss of the first packets (RFC 3711 section
/// 3.3.1), and near enough that a few minutes of video cross the wrap.
const FIRST_SEQUENCE: u64 = 32_000;
const FIRST_SEQUENCE_SPREAD: u32 = 700;
/// A second and more of 1.5 Mbit/s; a keyframe's burst fits several times.
const HISTORY_LEN: usize = 256;
/// A second request on the way while the first is being answered.
const RESEND_EVERY: Duration = Duration::from_millis(10);
/// Browsers limit themselves to about three keyframes a second.
const KEYFRAME_EVERY: Duration = Duration::from_millis(500);
/// Later than that and a real encoder would have dropped frames.
const LAG_MAX: Duration = Duration::from_millis(200);
const VOICE_LEVEL: AudioLevel = AudioLevel { voice: true, decibels_below: 30 };
