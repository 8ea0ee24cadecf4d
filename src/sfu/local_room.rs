//! What legs within this process do to a room: come, speak, hear, go.
//!
//! Not here: numbering and the choice of the loudest (`local_leg`, `loudest`), and everything that local voices share with
//! all others (`packets`, `stage`). Invariant: while a seat has such a leg, it speaks and hears by it alone: its page in
//! the same room would be an echo.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use slab::Slab;

use crate::drops::DropReason;
use crate::ids::{LegId, SeatId};
use crate::rtp::codec::Source;
use crate::transport::local::UplinkFrame;

use super::command::Event;
use super::egress::ClockMapping;
use super::engine::{Flush, Turn};
use super::ingress::LayerIndex;
use super::local_leg::{CLOCK_INTERVAL, LocalLeg, Voice};
use super::parameters::{IngressParameters, ShortName};
use super::reports::tell_clock;
use super::room::{Cursor, LocalKey, NewTrack, Publisher, Room, Track, Viewer};
use super::slots::TrackKey;

impl Room {
    /// `None` when the seat is unknown or the room is full; the control plane is told.
    pub(super) fn add_local_leg(
        &mut self,
        turn: &mut Turn<'_>,
        id: LegId,
        seat: SeatId,
        seed: u64,
    ) -> Option<LocalKey> {
        if !self.takes_leg_of(seat) {
            turn.events.push(Event::LegGone(id));
            return None;
        }
        let key = self.locals.vacant_key();
        let voice = IngressParameters {
            mid: ShortName::LOCAL,
            source: Source::Microphone,
            rids: Vec::new(),
            ssrcs: Vec::new(),
        };
        let publisher = Publisher::Local(key);
        let track = self.add_track(NewTrack { seat, publisher, section: &voice });
        let mut random = StdRng::seed_from_u64(seed);
        self.locals.insert(LocalLeg::new(turn.now, (id, seat), track, || random.random()));
        self.permit(turn, seat);
        self.restage(turn);
        Some(key)
    }

    pub(super) fn remove_local_leg(&mut self, turn: &mut Turn<'_>, key: LocalKey) {
        let Some(leg) = self.locals.try_remove(key) else { return };
        turn.forgotten.legs.push(leg.id);
        self.remove_tracks(turn, &[leg.track]);
        self.forget_voice_of(leg.seat);
        self.permit(turn, leg.seat);
        self.restage(turn);
    }

    /// Its thread is gone, and nobody asked for it.
    pub(super) fn lose_local_leg(&mut self, turn: &mut Turn<'_>, key: LocalKey) {
        if let Some(leg) = self.locals.get(key) {
            turn.events.push(Event::LegGone(leg.id));
            self.remove_local_leg(turn, key);
        }
    }

    /// Whether the seat speaks and hears within this process, and not by its page.
    pub(super) fn is_local(&self, seat: SeatId) -> bool {
        self.locals.iter().any(|(_, leg)| leg.seat == seat)
    }

    /// True when the room has its first packet to forward since the last fan-out.
    pub(super) fn handle_local(
        &mut self,
        turn: &mut Turn<'_>,
        key: LocalKey,
        frame: &UplinkFrame<'_>,
    ) -> Result<bool, DropReason> {
        let Self { locals, tracks, legs, .. } = self;
        let leg = locals.get_mut(key).ok_or(DropReason::LocalLegGone)?;
        let (track_key, ssrc) = (leg.track, leg.ssrc());
        let track = tracks.get_mut(track_key).ok_or(DropReason::RtpUnknownTrack)?;
        if !track.permitted {
            return Err(DropReason::NotPermitted);
        }
        let clock_is_due = turn.now >= leg.clock_due;
        if clock_is_due {
            leg.clock_due = turn.now + CLOCK_INTERVAL;
        }
        let (route, rtp) = leg.packet(frame).ok_or(DropReason::LocalFrameLength)?;
        let accepted = track.ingress.handle_rtp(turn.now, route, rtp)?;
        if clock_is_due {
            let clock = ClockMapping { ntp: turn.config.ntp.at(turn.now), rtp: frame.timestamp };
            track.ingress.handle_sender_report(turn.now, ssrc, clock.ntp.0, clock.rtp);
            tell_clock(track, legs, LayerIndex(0), clock);
        }
        turn.counters.local_in += 1;
        Ok(accepted.is_some_and(|accepted| self.queue_for_fan_out(turn, track_key, accepted)))
    }

    /// The worst loss, 0 to 1, that a viewer of this leg's voice reported last.
    pub(super) fn listeners_loss(&self, key: LocalKey) -> f32 {
        let track = self.locals.get(key).and_then(|leg| self.tracks.get(leg.track));
        let viewers = track.into_iter().flat_map(|track| &track.viewers);
        let loss = |viewer: &Viewer| {
            let section = self.legs.get(viewer.leg)?.slots.get(viewer.slot)?.audio.as_ref()?;
            Some(section.stream.loss())
        };
        viewers.filter_map(loss).fold(0.0, f32::max)
    }

    /// Notes which voices each local leg may hear.
    pub(super) fn list_listeners(&mut self, turn: &Turn<'_>) {
        for (_, track) in &mut self.tracks {
            track.listeners.clear();
        }
        let keys: Vec<LocalKey> = self.locals.iter().map(|(key, _)| key).collect();
        for key in keys {
            let seat = self.locals[key].seat;
            let voices = self.voices_for(seat);
            for &voice in &voices {
                self.tracks[voice].listeners.push(key);
            }
            self.locals[key].retain(turn.now, |track| voices.contains(&track));
        }
    }

    /// The voices of all others, when the seat may hear.
    fn voices_for(&self, listener: SeatId) -> Vec<TrackKey> {
        if !self.policy(listener).hear {
            return Vec::new();
        }
        let others = self.seats.iter().filter(|seat| seat.id != listener);
        others.filter_map(|seat| self.pick(seat.id, Source::Microphone)).collect()
    }
}

/// Hands what waits of a voice to the local legs that may hear it. The cursor counts them behind the viewers.
pub(super) fn hand_to_listeners(
    turn: &mut Turn<'_>,
    locals: &mut Slab<LocalLeg>,
    (key, track): (TrackKey, &Track),
    cursor: &mut Cursor,
) -> Flush {
    while let Some(&listener) = track.listeners.get(cursor.viewer.saturating_sub(track.viewers.len())) {
        if let Some(leg) = locals.get_mut(listener) {
            let voice = Voice { key, track: &track.ingress, pending: &track.pending };
            if leg.hear(turn, voice, &mut cursor.packet) == Flush::Full {
                return Flush::Full;
            }
        }
        *cursor = Cursor { viewer: cursor.viewer + 1, packet: 0 };
    }
    Flush::Done
}
