//! A leg whose far side is a thread of this process (a telephone): it publishes one voice and hears the loudest others.
//!
//! It has no ICE, no keys, no pictures, no messages and no RTCP, so it shares with a page's [`super::leg::Leg`] what both
//! are made of (`IngressTrack`, `Forwarder`), and nothing else. Not here: who may hear whom (`local_room`), queues between
//! threads (`worker::local`). Invariant: on each place numbers and timestamps go on without a jump, whoever speaks.

use std::time::{Duration, Instant};

use crate::ids::{LegId, PayloadType, SeatId, Ssrc};
use crate::rtp::codec::{Codec, MediaKind, PayloadMap, PayloadMapping, PayloadUse};
use crate::rtp::extension::{AudioLevel, ExtensionKind, ExtensionMap};
use crate::rtp::packet::{HeaderFields, HeaderWriter, RtpHeader};
use crate::rtp::red;
use crate::transport::local::{DownlinkFrame, FRAME_LEN_MAX, LocalBatch, UplinkFrame};

use super::egress::{Body, Forwarder, LayerTarget, SeatClock};
use super::engine::{Flush, Turn};
use super::ingress::{IncomingRtp, IngressTrack, LayerIndex, PacketMeta, StreamRoute};
use super::loudest::{Holder, place_for};
use super::parameters::{EgressParameters, ShortName};
use super::room::Pending;
use super::slots::TrackKey;

/// One leg within this process.
pub(super) struct LocalLeg {
    pub(super) id: LegId,
    pub(super) seat: SeatId,
    /// The voice it publishes.
    pub(super) track: TrackKey,
    /// When to tell again which wall clock its timestamps are on.
    pub(super) clock_due: Instant,
    uplink: Uplink,
    places: [Place; LocalLeg::VOICES_MAX],
}

/// A voice with what waits of it.
#[derive(Clone, Copy)]
pub(super) struct Voice<'a> {
    pub(super) key: TrackKey,
    pub(super) track: &'a IngressTrack,
    pub(super) pending: &'a [Pending],
}

/// One of the voices that a leg hears.
struct Place {
    forwarder: Forwarder,
    holder: Option<Holder>,
}

/// Makes RTP of frames, so that a local voice goes the way of all voices.
struct Uplink {
    ssrc: Ssrc,
    extensions: ExtensionMap,
    packet: Box<[u8; PACKET_LEN_MAX]>,
}

impl LocalLeg {
    /// Voices heard at once. More than three people at a time are noise, and each costs the far side a decoder.
    pub(super) const VOICES_MAX: usize = 3;
    /// Its timestamps are told on our own clock.
    pub(super) const CLOCK: SeatClock = SeatClock::OURS;

    pub(super) fn new(
        now: Instant,
        (id, seat): (LegId, SeatId),
        track: TrackKey,
        mut seed: impl FnMut() -> u64,
    ) -> Self {
        let mut extensions = ExtensionMap::default();
        extensions.set(ExtensionKind::AudioLevel, LEVEL_ID);
        let uplink = Uplink { ssrc: Ssrc(seed() as u32 | 1), extensions, packet: Box::new([0; PACKET_LEN_MAX]) };
        let places = std::array::from_fn(|_| Place::new(now, seed()));
        Self { id, seat, track, clock_due: now, uplink, places }
    }

    /// SSRC of the voice it publishes.
    pub(super) fn ssrc(&self) -> Ssrc {
        self.uplink.ssrc
    }

    /// The frame as a packet of this leg's only section. `None` when it is no Opus packet.
    pub(super) fn packet(&mut self, frame: &UplinkFrame<'_>) -> Option<(StreamRoute, IncomingRtp<'_>)> {
        let route = StreamRoute { section: 0, layer: LayerIndex(0), repair: false };
        Some((route, self.uplink.packet(frame)?))
    }

    /// Hands on what waits of a voice, from `*next` on, when it is among the loudest. `Full` when the batch took no more.
    pub(super) fn hear(&mut self, turn: &mut Turn<'_>, voice: Voice<'_>, next: &mut usize) -> Flush {
        let Some(at) = self.place_of(turn.now, &voice) else { return Flush::Done };
        let forwarder = &mut self.places[at].forwarder;
        while let Some(Pending { accepted, numbers, .. }) = voice.pending.get(*next) {
            if turn.out.local().is_full() {
                return Flush::Full;
            }
            *next += 1;
            let Some((meta, packet)) = voice.track.packet(accepted.layer, accepted.seq) else { continue };
            let Some(outgoing) = forwarder.decide(meta, numbers) else { continue };
            let Some(payload) = opus(meta, packet).filter(|_| outgoing.body == Body::Payload) else { continue };
            let frame = DownlinkFrame {
                slot: at as u8,
                sequence: outgoing.seq.wire(),
                timestamp: outgoing.timestamp,
                marker: outgoing.marker,
                level: meta.audio_level.of(packet).and_then(AudioLevel::parse),
                payload,
            };
            hand_out(turn.out.local_mut(), self.id, &frame);
            turn.counters.local_out += 1;
        }
        Flush::Done
    }

    /// Stops every voice that may not be heard any more.
    pub(super) fn retain(&mut self, now: Instant, may_hear: impl Fn(TrackKey) -> bool) {
        for place in &mut self.places {
            if place.holder.is_some_and(|holder| !may_hear(holder.track)) {
                place.holder = None;
                place.forwarder.remap(now);
            }
        }
    }

    fn place_of(&mut self, now: Instant, voice: &Voice<'_>) -> Option<usize> {
        let loudness = voice.loudness();
        let at = place_for(now, voice.key, loudness, self.places.iter().map(|place| place.holder))?;
        let Place { forwarder, holder } = &mut self.places[at];
        match holder {
            Some(holder) if holder.track == voice.key => holder.record(now, loudness),
            _ => {
                *holder = Some(Holder { track: voice.key, loudness, heard: now });
                forwarder.remap(now);
            }
        }
        Some(at)
    }
}

impl Voice<'_> {
    /// Of its loudest waiting packet, in dB above silence.
    fn loudness(&self) -> f32 {
        let packets = self.pending.iter().filter_map(|p| self.track.packet(p.accepted.layer, p.accepted.seq));
        let levels = packets.map(|(meta, packet)| meta.audio_level.of(packet).and_then(AudioLevel::parse));
        let loudness = levels.map(|level| level.map_or(UNTOLD, |level| 127.0 - f32::from(level.decibels_below)));
        loudness.fold(0.0, f32::max)
    }
}

impl Place {
    fn new(now: Instant, seed: u64) -> Self {
        let opus = PayloadMapping { payload_type: OPUS, codec: Codec::Opus, rtx: None, red: None };
        let mut forwarder = Forwarder::new(
            &EgressParameters {
                mid: ShortName::LOCAL,
                kind: MediaKind::Audio,
                ssrc: Ssrc(0),
                rtx_ssrc: None,
                payloads: PayloadMap::new(vec![opus]),
                extensions: ExtensionMap::default(),
            },
            seed,
        );
        forwarder.set_target(now, Some(LayerTarget::whole(LayerIndex(0))));
        Self { forwarder, holder: None }
    }
}

impl Uplink {
    fn packet(&mut self, frame: &UplinkFrame<'_>) -> Option<IncomingRtp<'_>> {
        let UplinkFrame { sequence, timestamp, marker, level, payload } = *frame;
        if payload.is_empty() || payload.len() > FRAME_LEN_MAX {
            return None;
        }
        let fields = HeaderFields { marker, payload_type: OPUS, sequence, timestamp, ssrc: self.ssrc };
        let mut writer = HeaderWriter::new(&mut self.packet[..], fields, false);
        writer.extension(LEVEL_ID, &level.to_bytes());
        let header_len = writer.finish();
        let len = header_len + payload.len();
        self.packet.get_mut(header_len..len)?.copy_from_slice(payload);
        let packet = &mut self.packet[..len];
        let header = RtpHeader::parse(packet).ok()?;
        Some(IncomingRtp { header, packet, usage: PayloadUse::Media(Codec::Opus), extensions: &self.extensions })
    }
}

/// A packet's Opus, without the redundancy of RFC 2198.
fn opus<'a>(meta: &PacketMeta, packet: &'a [u8]) -> Option<&'a [u8]> {
    let payload = meta.payload(packet);
    let opus = if meta.red { payload.get(red::primary(payload)?.1)? } else { payload };
    (!opus.is_empty()).then_some(opus)
}

fn hand_out(batch: &mut LocalBatch, leg: LegId, frame: &DownlinkFrame<'_>) {
    let taken = batch.push(leg, frame);
    debug_assert!(taken, "there was room");
}

/// Fixed header, one extension of one byte, one frame.
const PACKET_LEN_MAX: usize = 12 + 4 + 4 + FRAME_LEN_MAX;
/// A number of ours: nobody negotiated it.
const OPUS: PayloadType = PayloadType(111);
const LEVEL_ID: u8 = 1;
/// Who never says how loud he is counts as just speaking, in dB above silence.
const UNTOLD: f32 = 60.0;
/// How often the clock is told, as by the sender reports of other legs.
pub(super) const CLOCK_INTERVAL: Duration = Duration::from_secs(1);
