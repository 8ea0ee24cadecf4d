//! One media connection of a seat: its secure channel, how it numbers things, and the slots on which it receives.
//!
//! Not here: which seat is on which slot (`stage`), the tracks it publishes (`room` owns them, because others read them).

use std::time::{Duration, Instant};

use crate::ids::{LegId, SeatId, Ssrc};
use crate::rtp::codec::{MediaKind, PayloadMap};
use crate::rtp::extension::{ExtensionKind, ExtensionMap};
use crate::rtp::packet::RtpHeader;
use crate::rtp::rtcp::CompoundWriter;
use crate::transport::Transport;
use crate::transport::batch::Path;
use crate::transport::dtls::Dtls;
use crate::transport::parameters::Fingerprint;
use crate::units::PictureSize;

use super::command::Event;
use super::egress::target::LossHold;
use super::egress::{Body, EgressStream, Resend, SeatClock, Stamp, TransportCcHistory};
use super::engine::{Flush, Turn};
use super::ingress::{IngressTrack, StreamBindings, TransportCcGenerator};
use super::parameters::{EgressParameters, LegParameters, SlotParameters, SlotRole};
use super::room::Pending;
use super::slots::{SlotState, TrackKey};

/// How far a leg has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum LegState {
    /// No keys yet.
    Connecting {
        /// When it was added.
        since: Instant,
    },
    /// Media flows.
    Connected,
    /// Consent was lost; kept for the grace period.
    Silent {
        /// When it was lost.
        since: Instant,
    },
}

/// Whether the far side gives any sign of life; far quicker than consent, and only for people to see.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hearing {
    /// Last at this moment.
    Heard(Instant),
    /// Not for [`QUIET_TIME`].
    Quiet,
}

/// One receiving section with what is mapped to it.
pub(super) struct Section {
    pub(super) stream: EgressStream,
    pub(super) track: Option<TrackKey>,
    pub(super) loss: LossHold,
    /// Losses already counted.
    pub(super) lost: u64,
}

/// A pair of receiving sections.
pub(super) struct Slot {
    pub(super) state: SlotState,
    pub(super) view: PictureSize,
    pub(super) audio: Option<Section>,
    pub(super) video: Option<Section>,
    /// What the control plane was told last.
    pub(super) codec_missing: bool,
}

impl Slot {
    pub(super) fn new(parameters: &SlotParameters, seed: &mut impl FnMut() -> u64) -> Self {
        let mut section = |parameters: &EgressParameters| Section {
            stream: EgressStream::new(parameters, seed()),
            track: None,
            loss: LossHold::default(),
            lost: 0,
        };
        let audio = parameters.audio.as_ref().map(&mut section);
        let video = parameters.video.as_ref().map(&mut section);
        let state = SlotState { slot: parameters.slot, role: parameters.role, shown: None };
        let view = match parameters.role {
            SlotRole::Seat => VIEW_UNTOLD,
            SlotRole::ActiveSpeaker => VIEW_WHOLE,
        };
        Self { state, view, audio, video, codec_missing: false }
    }

    pub(super) fn section(&mut self, kind: MediaKind) -> Option<&mut Section> {
        match kind {
            MediaKind::Audio => self.audio.as_mut(),
            MediaKind::Video => self.video.as_mut(),
        }
    }

    pub(super) fn sections(&mut self) -> impl Iterator<Item = &mut Section> {
        self.audio.iter_mut().chain(self.video.iter_mut())
    }
}

/// What a fan-out hands every viewer.
#[derive(Clone, Copy)]
pub(super) struct Packets<'a> {
    pub(super) track: &'a IngressTrack,
    pub(super) pending: &'a [Pending],
    /// The moment of sending, as the extension says it.
    pub(super) abs_send_time: [u8; 3],
}

/// What a leg begins with.
pub(super) struct NewLeg {
    pub(super) id: LegId,
    pub(super) seat: SeatId,
    /// The seat's public identifier, for messages.
    pub(super) stamp: Box<str>,
    pub(super) parameters: LegParameters,
    pub(super) dtls: Box<dyn Dtls>,
}

/// One media connection.
pub(super) struct Leg {
    pub(super) id: LegId,
    pub(super) seat: SeatId,
    pub(super) stamp: Box<str>,
    pub(super) state: LegState,
    pub(super) hearing: Hearing,
    pub(super) transport: Transport,
    pub(super) fingerprint: Fingerprint,
    pub(super) ufrags: Vec<Box<[u8]>>,
    pub(super) payloads: PayloadMap,
    pub(super) extensions: ExtensionMap,
    pub(super) bindings: StreamBindings,
    /// By section of the offer.
    pub(super) tracks: Vec<TrackKey>,
    pub(super) slots: Vec<Slot>,
    /// Distance of this publisher's clock to ours.
    pub(super) clock: SeatClock,
    pub(super) feedback: TransportCcGenerator,
    pub(super) history: TransportCcHistory,
    pub(super) channels: Vec<u16>,
    pub(super) reports_due: Instant,
    /// When to look again which layers are sent at all.
    pub(super) targets_due: Instant,
    /// SSRC under which we report; ours alone, never a media stream's.
    pub(super) reporter: Ssrc,
    pub(super) rtt: Duration,
    forwarded_any: bool,
}

impl Leg {
    /// A leg that waits for its first check. `tracks` are the keys of its publishing sections, in their order.
    pub(super) fn new(now: Instant, new: NewLeg, tracks: Vec<TrackKey>, mut seed: impl FnMut() -> u64) -> Self {
        let NewLeg { id, seat, stamp, parameters, dtls } = new;
        let LegParameters { transport, payloads, extensions, ingress, slots } = parameters;
        Self {
            id,
            seat,
            stamp,
            state: LegState::Connecting { since: now },
            hearing: Hearing::Heard(now),
            fingerprint: transport.remote_fingerprint.clone(),
            ufrags: vec![transport.local.ufrag.as_bytes().into()],
            payloads,
            extensions,
            bindings: StreamBindings::new(&ingress),
            tracks,
            slots: slots.iter().map(|slot| Slot::new(slot, &mut seed)).collect(),
            clock: SeatClock::default(),
            feedback: TransportCcGenerator::new(),
            history: TransportCcHistory::new(),
            channels: Vec::new(),
            reports_due: now + REPORT_INTERVAL,
            targets_due: now + TARGET_INTERVAL,
            reporter: Ssrc(seed() as u32 | 1),
            rtt: RTT_GUESS,
            forwarded_any: false,
            transport: Transport::new(now, transport, dtls),
        }
    }

    /// Something authentic came. True when it ends a quiet time.
    pub(super) fn record_heard(&mut self, now: Instant) -> bool {
        std::mem::replace(&mut self.hearing, Hearing::Heard(now)) == Hearing::Quiet
    }

    /// Since when it was not heard, for a connected leg that has just become quiet.
    pub(super) fn falls_quiet(&mut self, now: Instant) -> Option<Instant> {
        let Hearing::Heard(at) = self.hearing else { return None };
        let quiet = self.state == LegState::Connected && now.saturating_duration_since(at) >= QUIET_TIME;
        if quiet {
            self.hearing = Hearing::Quiet;
        }
        quiet.then_some(at)
    }

    /// Whether media for it goes to this path, and something authentic came from it within [`QUIET_TIME`].
    pub(super) fn lives_on(&self, now: Instant, path: Path) -> bool {
        let Hearing::Heard(at) = self.hearing else { return false };
        now.saturating_duration_since(at) < QUIET_TIME && self.transport.egress_path() == Some(path)
    }

    /// Remembers a transport-wide number of a packet that authenticated.
    pub(super) fn record_transport_cc(&mut self, arrived: Instant, header: &RtpHeader, packet: &[u8]) {
        let Some(id) = self.extensions.id(ExtensionKind::TransportCc) else { return };
        let number =
            header.extensions(packet).find(|(found, _)| *found == id).and_then(|(_, value)| value.first_chunk());
        if let Some(&number) = number {
            self.feedback.record(arrived, u16::from_be_bytes(number));
        }
    }

    /// Sends what `pending` names to one section, from `*next` on. `Full` when the batch took no more.
    pub(super) fn forward(
        &mut self,
        turn: &mut Turn<'_>,
        (slot, kind): (usize, MediaKind),
        packets: Packets<'_>,
        next: &mut usize,
    ) -> Flush {
        let Packets { track, pending, abs_send_time } = packets;
        let Self { transport, slots, history, id, forwarded_any, .. } = self;
        let Some(section) = slots.get_mut(slot).and_then(|slot| slot.section(kind)) else { return Flush::Done };
        let Some((path, srtp)) = transport.egress() else { return Flush::Done };
        // All for one viewer in one batch: that makes one message to the kernel instead of two.
        if *next == 0 && !turn.out.is_empty() && !turn.out.has_room_for(pending.len()) {
            return Flush::Full;
        }
        let stamped = section.stream.has_transport_cc();
        let layer_before = section.stream.current_layer();
        while let Some(Pending { accepted, numbers, size }) = pending.get(*next) {
            if turn.out.is_full() {
                return Flush::Full;
            }
            *next += 1;
            let Some((meta, packet)) = track.packet(accepted.layer, accepted.seq) else { continue };
            // Looked at where it lies: a copy would wait for its fields to be written.
            let decided = section.stream.decide(meta, numbers);
            let Some(outgoing) = &decided else { continue };
            let transport_cc = stamped.then(|| history.next_number());
            let padding = if outgoing.body == Body::Payload { size.padding() } else { 0 };
            let stamp = Stamp { transport_cc, abs_send_time, padding };
            let mut sent = None;
            let pushed = turn.out.push(path, |out| {
                let Some(written) = section.stream.write(outgoing, meta, packet, stamp, out) else { return 0 };
                sent = Some(written);
                srtp.seal_rtp(out, written.header_len, written.len, written.index)
            });
            if let (Some(written), Some(len)) = (sent, pushed) {
                section.stream.record_sent(turn.now, meta, outgoing, stamp, written);
                if stamped {
                    history.record_sent(turn.now, len);
                }
                turn.counters.rtp_forwarded += 1;
                turn.counters.rtp_padded += u64::from(stamp.padding > 0);
                turn.counters.bytes_forwarded += len as u64;
                if !*forwarded_any {
                    *forwarded_any = true;
                    turn.events.push(Event::FirstForwarded(*id));
                }
            }
        }
        let layer = section.stream.current_layer();
        turn.counters.layer_switches += u64::from(layer_before.is_some() && layer.is_some() && layer != layer_before);
        Flush::Done
    }

    /// Sends a packet again to the section it was lost on.
    pub(super) fn resend(
        &mut self,
        turn: &mut Turn<'_>,
        (slot, kind): (usize, MediaKind),
        track: &IngressTrack,
        resend: &Resend,
    ) {
        let Self { transport, slots, history, .. } = self;
        let Some(section) = slots.get_mut(slot).and_then(|slot| slot.section(kind)) else { return };
        let Some((path, srtp)) = transport.egress() else { return };
        let Some((meta, packet)) = track.packet(resend.layer, resend.ingress) else { return };
        let stamped = section.stream.has_transport_cc();
        let stamp = Stamp {
            transport_cc: stamped.then(|| history.next_number()),
            abs_send_time: turn.config.ntp.at(turn.now).abs_send_time(),
            padding: 0,
        };
        let mut counts = false;
        let pushed = turn.out.push(path, |out| {
            let Some(again) = section.stream.write_resend(turn.now, resend, meta, packet, stamp, out) else { return 0 };
            counts = again.stamped;
            srtp.seal_rtp(out, again.written.header_len, again.written.len, again.written.index)
        });
        match pushed {
            Some(0) => {}
            Some(len) => {
                if counts {
                    history.record_sent(turn.now, len);
                }
                turn.counters.retransmitted += 1;
                turn.counters.bytes_forwarded += len as u64;
            }
            None => turn.counters.record_drop(crate::drops::DropReason::TransmitFull),
        }
    }

    /// Sends one RTCP compound that `fill` writes; nothing when it writes nothing or the leg cannot be reached now.
    pub(super) fn send_rtcp(&mut self, turn: &mut Turn<'_>, fill: impl FnOnce(Ssrc, &mut CompoundWriter<'_>)) {
        let reporter = self.reporter;
        let Some((path, srtp)) = self.transport.egress() else { return };
        let pushed = turn.out.push(path, |out| {
            let mut writer = CompoundWriter::new(&mut out[..RTCP_LEN_MAX]);
            fill(reporter, &mut writer);
            match writer.len() {
                0 => 0,
                len => srtp.seal_rtcp(out, len),
            }
        });
        if pushed.is_none() {
            turn.counters.record_drop(crate::drops::DropReason::TransmitFull);
        }
    }

    /// The slot and kind of the section that sends with this SSRC (media or retransmission).
    pub(super) fn section_of(&self, ssrc: Ssrc) -> Option<(usize, MediaKind)> {
        let is = |section: &Option<Section>| {
            section.as_ref().is_some_and(|s| s.stream.ssrc() == ssrc || s.stream.rtx_ssrc() == Some(ssrc))
        };
        self.slots.iter().enumerate().find_map(|(index, slot)| {
            let kind = if is(&slot.audio) {
                MediaKind::Audio
            } else if is(&slot.video) {
                MediaKind::Video
            } else {
                return None;
            };
            Some((index, kind))
        })
    }
}

/// Before the page tells: the size of a tile on a telephone.
const VIEW_UNTOLD: PictureSize = PictureSize { width: 640, height: 360 };
/// A subscriber without a page (WHEP) never tells: it gets the whole picture.
const VIEW_WHOLE: PictureSize = PictureSize { width: 1920, height: 1080 };
/// A compound must pass every network unfragmented.
const RTCP_LEN_MAX: usize = 1200;
/// Before the first round trip is known.
const RTT_GUESS: Duration = Duration::from_millis(100);
/// Browsers that only listen still report every few seconds and check every 6 s at the latest. Higher: the others wonder
/// for longer why a picture stands still; lower: a page that only listens seems gone after one lost check.
const QUIET_TIME: Duration = Duration::from_secs(7);
/// Receiver reports. Shorter costs packets, longer makes round trips and loss stale.
pub(super) const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How often layers are chosen anew. Longer leaves a picture standing when a publisher's encoder gives its layer up.
pub(super) const TARGET_INTERVAL: Duration = Duration::from_millis(250);
