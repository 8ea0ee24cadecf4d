//! What datagrams do to a room: checks prove paths, handshakes give keys, packets are accepted once and fanned out.
//!
//! This is the packet's journey inside the room; RTCP and timers are in `reports`.

use std::time::Instant;

use crate::drops::DropReason;
use crate::rtp::codec::MediaKind;
use crate::rtp::extension::AudioLevel;
use crate::rtp::packet::RtpHeader;
use crate::transport::TransportEvent;
use crate::transport::batch::Path;

use super::command::Event;
use super::data::Message;
use super::egress::{PacketNumbers, PacketSize};
use super::engine::{Flush, Turn};
use super::ingress::{Accepted, IncomingRtp};
use super::leg::{LegState, Packets};
use super::local_room::hand_to_listeners;
use super::room::{Cursor, LegKey, Pending, Publisher, Room};
use super::slots::TrackKey;

impl Room {
    /// A STUN datagram with this leg's user name. True when the path is newly proved.
    pub(super) fn handle_stun(
        &mut self,
        turn: &mut Turn<'_>,
        key: LegKey,
        path: Path,
        datagram: &[u8],
    ) -> Result<bool, DropReason> {
        let leg = self.legs.get_mut(key).ok_or(DropReason::StunUnknownUfrag)?;
        let outcome = leg.transport.handle_stun(turn.now, path, datagram, turn.out)?;
        turn.forgotten.paths.extend(outcome.path_unbound);
        if leg.record_heard(turn.now) {
            turn.events.push(Event::LegHeard(leg.id));
        }
        self.drain_transport(turn, key);
        Ok(outcome.path_bound)
    }

    /// Whether this leg is sent to on this path and was heard not long ago.
    pub(super) fn lives_on(&self, now: Instant, key: LegKey, path: Path) -> bool {
        self.legs.get(key).is_some_and(|leg| leg.state == LegState::Connected && leg.lives_on(now, path))
    }

    /// Another leg has proved this path since.
    pub(super) fn forget_path(&mut self, key: LegKey, path: Path) {
        if let Some(leg) = self.legs.get_mut(key) {
            leg.transport.forget_path(path);
        }
    }

    pub(super) fn handle_dtls(
        &mut self,
        turn: &mut Turn<'_>,
        key: LegKey,
        path: Path,
        datagram: &[u8],
    ) -> Result<(), DropReason> {
        let leg = self.legs.get_mut(key).ok_or(DropReason::UnknownAddress)?;
        let handled = leg.transport.handle_dtls(turn.now, path, datagram);
        leg.transport.poll_transmit(turn.now, turn.out);
        self.drain_transport(turn, key);
        handled
    }

    /// True when the room has its first packet to forward since the last fan-out.
    pub(super) fn handle_rtp(
        &mut self,
        turn: &mut Turn<'_>,
        key: LegKey,
        path: Path,
        datagram: &mut [u8],
    ) -> Result<bool, DropReason> {
        let leg = self.legs.get_mut(key).ok_or(DropReason::UnknownAddress)?;
        let (len, _) = leg.transport.open_rtp(path, datagram)?;
        if leg.record_heard(turn.now) {
            turn.events.push(Event::LegHeard(leg.id));
        }
        let packet = &mut datagram[..len];
        let header = RtpHeader::parse(packet).map_err(|_| DropReason::RtpMalformed)?;
        leg.record_transport_cc(turn.arrived, &header, packet);
        let usage = leg.payloads.usage(header.payload_type).ok_or(DropReason::RtpUnknownPayloadType)?;
        let route = leg.bindings.resolve(&header, packet, usage, &leg.extensions)?;
        let track_key = *leg.tracks.get(route.section).ok_or(DropReason::RtpUnknownTrack)?;
        let track = self.tracks.get_mut(track_key).ok_or(DropReason::RtpUnknownTrack)?;
        if !track.permitted {
            return Err(DropReason::NotPermitted);
        }
        let rtp = IncomingRtp { header, packet, usage, extensions: &leg.extensions };
        let Some(accepted) = track.ingress.handle_rtp(turn.now, route, rtp)? else {
            turn.counters.probes_in += 1;
            return Ok(false);
        };
        turn.counters.rtp_in += 1;
        Ok(self.queue_for_fan_out(turn, track_key, accepted))
    }

    /// Lists an accepted packet for the next fan-out. True when it is the room's first since the last one.
    #[inline]
    pub(super) fn queue_for_fan_out(&mut self, turn: &mut Turn<'_>, track_key: TrackKey, accepted: Accepted) -> bool {
        let Some(track) = self.tracks.get_mut(track_key) else { return false };
        let stored = track.ingress.packet(accepted.layer, accepted.seq);
        let (numbers, size) =
            stored.map(|(meta, packet)| (PacketNumbers::read(meta, packet), PacketSize::of(meta))).unwrap_or_default();
        track.pending.push(Pending { accepted, numbers, size });
        let first_of_track = track.pending.len() == 1;
        let first_of_room = self.dirty.is_empty();
        if first_of_track {
            self.dirty.push(track_key);
        }
        self.notice(turn, track_key, accepted);
        first_of_room && first_of_track
    }

    /// Sends what is pending to everyone it is for, viewer by viewer. `Full`: send the batch and call again.
    pub(super) fn fan_out(&mut self, turn: &mut Turn<'_>) -> Flush {
        let abs_send_time = turn.config.ntp.at(turn.now).abs_send_time();
        while let Some(&key) = self.dirty.last() {
            let Self { tracks, legs, locals, cursor, .. } = self;
            let Some(track) = tracks.get_mut(key) else {
                self.dirty.pop();
                continue;
            };
            if *cursor == Cursor::default() {
                track.pad_pending();
            }
            while let Some(viewer) = track.viewers.get(cursor.viewer) {
                if let Some(leg) = legs.get_mut(viewer.leg) {
                    let section = (viewer.slot, viewer.kind);
                    let packets = Packets { track: &track.ingress, pending: &track.pending, abs_send_time };
                    let state = leg.forward(turn, section, packets, &mut cursor.packet);
                    if state == Flush::Full {
                        return Flush::Full;
                    }
                }
                *cursor = Cursor { viewer: cursor.viewer + 1, packet: 0 };
            }
            if !track.listeners.is_empty() && hand_to_listeners(turn, locals, (key, track), cursor) == Flush::Full {
                return Flush::Full;
            }
            if turn.out.is_full() {
                return Flush::Full;
            }
            track.pending.clear();
            *cursor = Cursor::default();
            self.ask_publisher(turn, key);
            self.dirty.pop();
        }
        Flush::Done
    }

    /// Takes what the transport of a leg reports, and acts on it.
    pub(super) fn drain_transport(&mut self, turn: &mut Turn<'_>, key: LegKey) {
        while let Some(event) = self.legs.get_mut(key).and_then(|leg| leg.transport.poll_event()) {
            self.handle_transport_event(turn, key, event);
        }
        let due = self.legs.get(key).and_then(|leg| leg.transport.poll_timeout());
        if let Some(due) = due {
            self.wake(due);
        }
    }

    fn handle_transport_event(&mut self, turn: &mut Turn<'_>, key: LegKey, event: TransportEvent) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let id = leg.id;
        match event {
            TransportEvent::Connected { profile, version, group } => {
                leg.state = LegState::Connected;
                turn.counters.handshakes += 1;
                turn.events.push(Event::LegConnected { leg: id, profile, dtls_version: version, dtls_group: group });
                self.retarget(turn.now, key);
            }
            TransportEvent::Failed(reason) => {
                turn.counters.handshakes_failed += 1;
                self.lose_leg(turn, key, Event::LegFailed { leg: id, reason });
            }
            TransportEvent::Closed => self.lose_leg(turn, key, Event::LegGone(id)),
            TransportEvent::Silent => {
                leg.state = LegState::Silent { since: turn.now };
                turn.counters.consent_lost += 1;
                turn.events.push(Event::LegSilent(id));
            }
            TransportEvent::Back => {
                leg.state = LegState::Connected;
                turn.events.push(Event::LegBack(id));
                self.retarget(turn.now, key);
            }
            TransportEvent::PathChanged => turn.counters.path_changes += 1,
            TransportEvent::ChannelOpen { channel, .. } => {
                if leg.channels.len() < CHANNELS_MAX {
                    leg.channels.push(channel);
                }
            }
            TransportEvent::ChannelClosed { channel } => leg.channels.retain(|&open| open != channel),
            TransportEvent::Message { text, payload, .. } => {
                if let Err(reason) = self.relay(turn, key, text, &payload) {
                    turn.counters.record_drop(reason);
                }
            }
        }
    }

    /// Passes a data-channel message on to every other seat that may have it.
    fn relay(&mut self, turn: &mut Turn<'_>, from: LegKey, text: bool, payload: &[u8]) -> Result<(), DropReason> {
        let Self { legs, seats, .. } = self;
        let Some(leg) = legs.get(from) else { return Ok(()) };
        let message = Message::read(text, payload)?;
        let Some(sender) = seats.iter_mut().find(|seat| seat.id == leg.seat) else { return Ok(()) };
        if !sender.policy.may_send(message.kind) {
            return Err(DropReason::NotPermitted);
        }
        if !sender.budget.take(turn.now, message.kind, payload.len()) {
            return Err(DropReason::DataRate);
        }
        let (sender, stamped) = (sender.id, message.stamped(&leg.stamp));
        let backlog_max = message.kind.bounds().backlog_max;
        for (_, leg) in legs.iter_mut().filter(|(_, leg)| leg.seat != sender) {
            let addressed = message.to.as_deref().is_none_or(|to| to == &*leg.stamp);
            let Some(&channel) = leg.channels.first().filter(|_| addressed) else { continue };
            if !seats.iter().any(|seat| seat.id == leg.seat && seat.policy.read) {
                continue;
            }
            let keeps_up = leg.transport.message_backlog() <= backlog_max;
            if keeps_up && leg.transport.send_message(turn.now, channel, true, &stamped) {
                turn.counters.data_relayed += 1;
                if !turn.out.is_full() {
                    leg.transport.poll_transmit(turn.now, turn.out);
                }
            } else {
                turn.counters.record_drop(DropReason::DataReceiverBusy);
            }
        }
        self.wake(turn.now);
        Ok(())
    }

    /// What the first packet, a new codec or a voice tells the rest of the room.
    fn notice(&mut self, turn: &mut Turn<'_>, key: TrackKey, accepted: Accepted) {
        let Self { tracks, legs, locals, speaker, .. } = self;
        let Some(track) = tracks.get_mut(key) else { return };
        let Some((meta, packet)) = track.ingress.packet(accepted.layer, accepted.seq) else { return };
        if track.source.kind() == MediaKind::Audio
            && let Some(level) = meta.audio_level.of(packet).and_then(AudioLevel::parse)
        {
            speaker.record(turn.now, track.seat, level);
        }
        let codec = Some(meta.codec);
        if track.started && (track.codec == codec || track.codec_changes == CODEC_CHANGES_MAX) {
            return;
        }
        track.codec = codec;
        track.codec_changes += u8::from(track.started);
        if !std::mem::replace(&mut track.started, true) {
            let leg = match track.publisher {
                Publisher::WebRtc(key) => legs.get(key).map(|leg| leg.id),
                Publisher::Local(key) => locals.get(key).map(|leg| leg.id),
            };
            if let Some(leg) = leg {
                let (seat, id, source) = (track.seat, track.id, track.source);
                turn.events.push(Event::TrackStarted { seat, leg, track: id, source });
            }
        }
        self.restage(turn);
    }
}

/// A browser changes its codec once or twice in a call; each change costs the room a look at every slot.
const CODEC_CHANGES_MAX: u8 = 32;
/// A page opens one channel; a device may open a few.
const CHANNELS_MAX: usize = 4;
