//! RTCP both ways and everything that happens by the clock: what receivers tell, what we owe publishers and receivers,
//! who speaks, who has been silent too long.
//!
//! Not here: single packets (`packets`). Invariant: a report from a leg changes only what that leg sends or receives.

use std::time::Duration;

use slab::Slab;

use crate::drops::DropReason;
use crate::ids::Ssrc;
use crate::rtp::codec::{MediaKind, Source};
use crate::rtp::rtcp::{ReportBlock, Rtcp, packets};
use crate::transport::batch::Path;

use super::command::Event;
use super::egress::{ClockMapping, NtpTime, SeatClock};
use super::engine::Turn;
use super::ingress::{LayerFacts, LayerIndex};
use super::leg::{Leg, LegState, REPORT_INTERVAL, TARGET_INTERVAL};
use super::local_leg::LocalLeg;
use super::room::{IDLE, LegKey, Publisher, Room, Track};
use super::slots::TrackKey;

impl Room {
    /// An SRTCP datagram of a leg.
    pub(super) fn handle_rtcp(
        &mut self,
        turn: &mut Turn<'_>,
        key: LegKey,
        path: Path,
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        let leg = self.legs.get_mut(key).ok_or(DropReason::UnknownAddress)?;
        let len = leg.transport.open_rtcp(path, datagram)?;
        if leg.record_heard(turn.now) {
            turn.events.push(Event::LegHeard(leg.id));
        }
        for packet in packets(&datagram[..len]) {
            self.handle_rtcp_packet(turn, key, packet.map_err(|_| DropReason::RtcpMalformed)?);
        }
        Ok(())
    }

    fn handle_rtcp_packet(&mut self, turn: &mut Turn<'_>, key: LegKey, packet: Rtcp<'_>) {
        match packet {
            Rtcp::SenderReport { ssrc, ntp, rtp_timestamp, reports, .. } => {
                self.handle_sender_report(turn, key, ssrc, ntp, rtp_timestamp);
                reports.for_each(|block| self.handle_report_block(turn, key, &block));
            }
            Rtcp::ReceiverReport { reports, .. } => {
                reports.for_each(|block| self.handle_report_block(turn, key, &block));
            }
            Rtcp::Nack { media, lost, .. } => {
                for wire in lost.take(NACKS_MAX) {
                    turn.counters.nacks_received += 1;
                    self.answer_nack(turn, key, media, wire);
                }
            }
            Rtcp::Pli { media, .. } => self.pass_keyframe_request(turn, key, media),
            Rtcp::Fir { entries, .. } => {
                for entry in entries.take(FIRS_MAX) {
                    self.pass_keyframe_request(turn, key, entry.ssrc);
                }
            }
            Rtcp::TransportFeedback(feedback) => {
                if let Some(leg) = self.legs.get_mut(key) {
                    leg.history.handle_feedback(&feedback);
                }
            }
            // A source that says goodbye simply stops; the bandwidth of REMB is the coming estimator's business.
            Rtcp::Sdes { .. } | Rtcp::Bye { .. } | Rtcp::Remb { .. } | Rtcp::Other { .. } => {}
        }
    }

    fn handle_sender_report(&mut self, turn: &mut Turn<'_>, key: LegKey, ssrc: Ssrc, ntp: u64, rtp: u32) {
        let Self { legs, tracks, .. } = self;
        let Some(leg) = legs.get_mut(key) else { return };
        let Some(route) = leg.bindings.route(ssrc) else { return };
        leg.clock.record_sender_report(turn.config.ntp.at(turn.now), NtpTime(ntp));
        let Some(track) = leg.tracks.get(route.section).and_then(|&key| tracks.get_mut(key)) else { return };
        track.ingress.handle_sender_report(turn.now, ssrc, ntp, rtp);
        let clock = ClockMapping { ntp: NtpTime(ntp), rtp };
        tell_clock(track, legs, route.layer, clock);
    }

    fn handle_report_block(&mut self, turn: &mut Turn<'_>, key: LegKey, block: &ReportBlock) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let Some((slot, kind)) = leg.section_of(block.ssrc) else { return };
        let Some(section) = leg.slots[slot].section(kind) else { return };
        // Retransmissions have reports of their own, which say nothing about the network's loss.
        if section.stream.ssrc() != block.ssrc {
            return;
        }
        section.stream.handle_report(turn.config.ntp.at(turn.now), block);
        // A receiver may say anything: only what it adds to its own highest count, and no more than it could lose.
        let lost = u64::try_from(block.cumulative_lost).unwrap_or(0);
        turn.counters.lost_out += lost.saturating_sub(section.lost).min(LOST_A_REPORT_MAX);
        section.lost = section.lost.max(lost);
        if let Some(rtt) = section.stream.rtt() {
            leg.rtt = rtt;
        }
    }

    fn answer_nack(&mut self, turn: &mut Turn<'_>, key: LegKey, media: Ssrc, wire: u16) {
        let Self { legs, tracks, .. } = self;
        let Some(leg) = legs.get_mut(key) else { return };
        let Some((slot, kind)) = leg.section_of(media) else { return };
        let Some(section) = leg.slots[slot].section(kind) else { return };
        let Some(track) = section.track.and_then(|key| tracks.get(key)) else { return };
        if let Some(resend) = section.stream.handle_nack(turn.now, wire) {
            leg.resend(turn, (slot, kind), &track.ingress, &resend);
        }
    }

    fn pass_keyframe_request(&mut self, turn: &mut Turn<'_>, key: LegKey, media: Ssrc) {
        turn.counters.keyframe_requests_received += 1;
        let Self { legs, tracks, .. } = self;
        let Some(leg) = legs.get_mut(key) else { return };
        let Some((slot, kind)) = leg.section_of(media) else { return };
        let Some(section) = leg.slots[slot].section(kind) else { return };
        let Some(track_key) = section.track else { return };
        let Some(layer) = section.stream.keyframe_layer() else { return };
        if let Some(track) = tracks.get_mut(track_key) {
            track.ingress.request_keyframe(layer);
            self.ask_publisher(turn, track_key);
        }
    }

    /// Asks a track's publisher for what is due: lost packets and key frames.
    pub(super) fn ask_publisher(&mut self, turn: &mut Turn<'_>, key: TrackKey) {
        let Self { legs, tracks, .. } = self;
        let Some(track) = tracks.get_mut(key) else { return };
        // A local voice loses nothing on its way here.
        let Publisher::WebRtc(publisher) = track.publisher else { return };
        let Some(leg) = legs.get_mut(publisher) else { return };
        let rtt = leg.rtt;
        if turn.out.is_full() || leg.state != LegState::Connected {
            self.wake(turn.now + RETRY);
            return;
        }
        // The common case, after every batch of packets.
        if track.ingress.is_complete() {
            if let Some(due) = leg.feedback.poll_timeout() {
                self.wake(due);
            }
            return;
        }
        let now = turn.now;
        let (mut nacks, mut requests) = (0, 0);
        leg.send_rtcp(turn, |reporter, writer| {
            track.ingress.poll_nacks(now, rtt, |ssrc, lost| {
                nacks += lost.len() as u64;
                writer.nack(reporter, ssrc, lost.iter().copied());
            });
            track.ingress.poll_keyframe_requests(now, |ssrc| {
                requests += 1;
                writer.pli(reporter, ssrc);
            });
        });
        turn.counters.nacks_sent += nacks;
        turn.counters.keyframe_requests_sent += requests;
        let due = [track.ingress.poll_timeout(rtt), leg.feedback.poll_timeout()].into_iter().flatten().min();
        if let Some(due) = due {
            self.wake(due);
        }
    }

    /// Runs everything that is due in the room.
    pub(super) fn handle_timeout(&mut self, turn: &mut Turn<'_>) {
        self.due = turn.now + IDLE;
        for key in 0..self.legs.capacity() {
            if turn.out.is_full() {
                return self.wake(turn.now);
            }
            if self.legs.contains(key) {
                self.run_leg(turn, key);
            }
        }
        for key in 0..self.tracks.capacity() {
            if turn.out.is_full() {
                return self.wake(turn.now);
            }
            if self.tracks.contains(key) {
                self.ask_publisher(turn, key);
            }
        }
        self.poll_speaker(turn);
    }

    fn run_leg(&mut self, turn: &mut Turn<'_>, key: LegKey) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        if leg.transport.poll_timeout().is_some_and(|due| due <= turn.now) {
            leg.transport.handle_timeout(turn.now);
        }
        leg.transport.poll_transmit(turn.now, turn.out);
        self.drain_transport(turn, key);
        if self.expire(turn, key) {
            return;
        }
        self.send_feedback(turn, key);
        let Some(leg) = self.legs.get_mut(key) else { return };
        if leg.reports_due <= turn.now + EARLY {
            leg.reports_due = turn.now + REPORT_INTERVAL;
            if let Some(since) = leg.falls_quiet(turn.now) {
                turn.events.push(Event::LegQuiet { leg: leg.id, since });
            }
            self.send_receiver_reports(turn, key);
            self.end_stopped_screens(turn, key);
            self.due = self.due.min(turn.now + REPORT_INTERVAL);
        }
        if let Some(leg) = self.legs.get_mut(key).filter(|leg| leg.targets_due <= turn.now + EARLY) {
            leg.targets_due = turn.now + TARGET_INTERVAL;
            self.retarget(turn.now, key);
            // `retarget` wakes the room for requests, which this very round makes.
            self.due = self.due.max(turn.now + FEEDBACK_PAUSE);
        }
        self.send_sender_reports(turn, key);
        if let Some(leg) = self.legs.get(key) {
            let due = leg.reports_due.min(leg.targets_due);
            self.wake(due.max(turn.now));
        }
    }

    /// Removes a leg that never connected, or was silent for the grace period. True when it is gone.
    fn expire(&mut self, turn: &mut Turn<'_>, key: LegKey) -> bool {
        let Some(leg) = self.legs.get(key) else { return true };
        let deadline = match leg.state {
            LegState::Connecting { since } => since + CONNECT_TIME,
            LegState::Connected => return false,
            LegState::Silent { since } => since + turn.config.grace,
        };
        if turn.now < deadline {
            self.wake(deadline);
            return false;
        }
        let id = leg.id;
        self.lose_leg(turn, key, Event::LegGone(id));
        true
    }

    /// Transport-wide congestion feedback: what lets a publisher's own rate control work.
    fn send_feedback(&mut self, turn: &mut Turn<'_>, key: LegKey) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let now = turn.now;
        if leg.feedback.may_tell(now) && !turn.out.is_full() {
            let media =
                leg.tracks.first().and_then(|&key| self.tracks.get(key)).and_then(|t| t.ingress.ssrc(LayerIndex(0)));
            let mut feedback = std::mem::take(&mut leg.feedback);
            leg.send_rtcp(turn, |reporter, writer| {
                feedback.poll_feedback(now, reporter, media.unwrap_or(Ssrc(0)), writer);
            });
            leg.feedback = feedback;
        }
        if let Some(due) = leg.feedback.poll_timeout() {
            self.wake(due.max(now + FEEDBACK_PAUSE));
        }
    }

    fn send_receiver_reports(&mut self, turn: &mut Turn<'_>, key: LegKey) {
        let Self { legs, tracks, .. } = self;
        let Some(leg) = legs.get_mut(key) else { return };
        if leg.state != LegState::Connected || turn.out.is_full() {
            return;
        }
        let now = turn.now;
        let mut blocks = [None; BLOCKS_MAX];
        let mut filled = 0;
        for &track in &leg.tracks {
            let Some(track) = tracks.get_mut(track) else { continue };
            let mut lost = 0;
            for block in track.ingress.poll_reports(now) {
                lost += u64::try_from(block.cumulative_lost).unwrap_or(0);
                if let Some(free) = blocks.get_mut(filled) {
                    *free = Some(block);
                    filled += 1;
                }
            }
            turn.counters.lost_in += lost.saturating_sub(track.lost);
            track.lost = track.lost.max(lost);
        }
        if filled > 0 {
            leg.send_rtcp(turn, |reporter, writer| {
                writer.receiver_report(reporter, blocks.into_iter().flatten());
            });
        }
    }

    fn send_sender_reports(&mut self, turn: &mut Turn<'_>, key: LegKey) {
        let Some(slots) = self.legs.get(key).map(|leg| leg.slots.len()) else { return };
        for slot in 0..slots {
            for kind in [MediaKind::Audio, MediaKind::Video] {
                if turn.out.is_full() {
                    return self.wake(turn.now);
                }
                self.send_sender_report(turn, key, slot, kind);
            }
        }
    }

    fn send_sender_report(&mut self, turn: &mut Turn<'_>, key: LegKey, slot: usize, kind: MediaKind) {
        let Self { legs, tracks, .. } = self;
        let section = legs.get(key).and_then(|leg| leg.slots.get(slot)).and_then(|slot| match kind {
            MediaKind::Audio => slot.audio.as_ref(),
            MediaKind::Video => slot.video.as_ref(),
        });
        let track = section.and_then(|s| s.track).and_then(|key| tracks.get(key));
        let clock = match track.map(|track| track.publisher) {
            Some(Publisher::WebRtc(key)) => legs.get(key).map_or(SeatClock::default(), |leg| leg.clock),
            Some(Publisher::Local(_)) => LocalLeg::CLOCK,
            None => SeatClock::default(),
        };
        let Some(leg) = legs.get_mut(key) else { return };
        let Some(section) = leg.slots.get_mut(slot).and_then(|slot| slot.section(kind)) else { return };
        if let Some(report) = section.stream.poll_sender_report(turn.now, &turn.config.ntp, &clock) {
            leg.send_rtcp(turn, |_, writer| {
                writer.sender_report(report, []);
            });
        }
    }

    /// A page that stops sharing only stops sending: after a while its screen gives the slot back.
    fn end_stopped_screens(&mut self, turn: &mut Turn<'_>, key: LegKey) {
        let Self { legs, tracks, .. } = self;
        let Some(leg) = legs.get(key) else { return };
        let mut ended = false;
        for &key in &leg.tracks {
            let Some(track) = tracks.get_mut(key) else { continue };
            let mut room_for_facts = [LayerFacts::default(); LayerIndex::COUNT_MAX];
            let silent = track.ingress.layer_facts(turn.now, &mut room_for_facts).iter().all(|layer| !layer.active);
            if track.source == Source::Screen && track.started && silent {
                track.started = false;
                ended = true;
                turn.events.push(Event::TrackEnded { seat: track.seat, track: track.id, source: track.source });
            }
        }
        if ended {
            self.restage(turn);
        }
    }

    fn poll_speaker(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        if now + EARLY >= self.speaker_due {
            self.speaker_due = now + SPEAKER_INTERVAL;
            if let Some(speaker) = self.speaker.poll(now) {
                self.turns_of_speech += 1;
                if let Some(seat) = self.seats.iter_mut().find(|seat| Some(seat.id) == speaker) {
                    seat.spoke_at = self.turns_of_speech;
                }
                turn.events.push(Event::SpeakerChanged { room: self.id(), seat: speaker });
                self.restage(turn);
                self.due = self.due.max(now + FEEDBACK_PAUSE);
            }
        }
        if self.tracks.iter().any(|(_, track)| track.started) {
            let due = self.speaker_due;
            self.wake(due);
        }
    }
}

/// Tells everyone who is sent a track how its publisher's clock stands.
pub(super) fn tell_clock(track: &Track, legs: &mut Slab<Leg>, layer: LayerIndex, clock: ClockMapping) {
    for viewer in &track.viewers {
        let section = legs.get_mut(viewer.leg).and_then(|leg| leg.slots[viewer.slot].section(viewer.kind));
        if let Some(section) = section {
            section.stream.set_clock(layer, clock);
        }
    }
}

/// Numbers answered of one NACK packet; more than a receiver's buffer holds is an attack.
const NACKS_MAX: usize = 256;
/// More than a second of a large picture's packets.
const LOST_A_REPORT_MAX: u64 = 2000;
/// Entries of one FIR packet: one a section.
const FIRS_MAX: usize = 32;
/// Report blocks in a receiver report (a 5-bit count).
const BLOCKS_MAX: usize = 31;
/// A browser needs a second on a good network; past this it has given up too.
const CONNECT_TIME: Duration = Duration::from_secs(30);
/// When a request could not be written: the batch will be empty again at once.
const RETRY: Duration = Duration::from_millis(5);
/// Bounds the wake-ups that a burst of arrivals can cause.
const FEEDBACK_PAUSE: Duration = Duration::from_millis(2);
/// How much before its time regular work is done together with what is due, so that a room is looked at ten times a second
/// and not once for each thing and leg.
const EARLY: Duration = Duration::from_millis(20);
/// How often the loudest voice is looked for. Longer feels late.
const SPEAKER_INTERVAL: Duration = Duration::from_millis(200);
