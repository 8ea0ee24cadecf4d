//! Who is shown where: gathers what each viewer may have, lets `slots::assign` decide, and carries it out.
//!
//! Runs when seats, tracks, permissions, codecs or the speaker change: never per packet.

use std::time::Instant;

use slab::Slab;

use crate::ids::SeatId;
use crate::rtp::codec::{MediaKind, Source};

use super::command::{Event, SlotAssignment};
use super::egress::target::layer_target;
use super::egress::{ClockMapping, LayerTarget, NtpTime};
use super::engine::Turn;
use super::ingress::{LayerFacts, LayerIndex};
use super::leg::{Leg, LegState, Section, Slot};
use super::room::{LegKey, Room, Track, Viewer};
use super::slots::{Offering, TrackKey, assign};

impl Room {
    /// Maps tracks to slots anew and tells every page whose slots changed.
    pub(super) fn restage(&mut self, turn: &mut Turn<'_>) {
        let keys: Vec<LegKey> = self.legs.iter().map(|(key, _)| key).collect();
        for &key in &keys {
            self.restage_leg(turn, key);
        }
        self.list_viewers();
        self.list_listeners(turn);
        for key in keys {
            self.retarget(turn.now, key);
        }
        self.wake(turn.now);
    }

    /// Decides anew which layer each picture of a leg should be, and asks for missing key frames.
    pub(super) fn retarget(&mut self, now: Instant, key: LegKey) {
        let Self { legs, tracks, .. } = self;
        let Some(leg) = legs.get_mut(key) else { return };
        let connected = leg.state == LegState::Connected;
        for slot in &mut leg.slots {
            let view = slot.view;
            for section in slot.sections() {
                let Some(track) = section.track.and_then(|key| tracks.get_mut(key)) else {
                    section.stream.set_target(now, None);
                    continue;
                };
                let mut room_for_facts = [LayerFacts::default(); LayerIndex::COUNT_MAX];
                let facts = track.ingress.layer_facts(now, &mut room_for_facts);
                let target = match track.source.kind() {
                    MediaKind::Audio => Some(LayerIndex(0)),
                    MediaKind::Video => {
                        let loss = section.loss.record(now, section.stream.loss());
                        layer_target(view, facts, loss, section.stream.current_layer())
                    }
                };
                section.stream.set_active(now, facts);
                section.stream.set_target(now, target.map(LayerTarget::whole));
                // Asked for before it can be forwarded, a keyframe would be wasted and hold up the next one.
                if let Some(layer) = section.stream.wants_keyframe().filter(|_| connected) {
                    track.ingress.request_keyframe(layer);
                }
            }
        }
        self.wake(now);
    }

    fn restage_leg(&mut self, turn: &mut Turn<'_>, key: LegKey) {
        let Some(seat) = self.legs.get(key).map(|leg| leg.seat) else { return };
        let offerings = self.offerings_for(seat);
        let speaker = self.speaker.speaker();
        let Self { legs, tracks, .. } = self;
        let Some(leg) = legs.get_mut(key) else { return };
        let mut states: Vec<_> = leg.slots.iter().map(|slot| slot.state).collect();
        assign(&mut states, &offerings, speaker);
        let mut changed = false;
        for (slot, state) in leg.slots.iter_mut().zip(states) {
            let was = slot.state.shown.map(|shown| (shown.seat, shown.source));
            changed |= was != state.shown.map(|shown| (shown.seat, shown.source));
            slot.state = state;
            let (audio, video) = state.shown.map_or((None, None), |shown| (shown.audio, shown.video));
            show(turn.now, slot.audio.as_mut(), audio, tracks);
            show(turn.now, slot.video.as_mut(), video, tracks);
            let missing = codec_missing(slot, video.and_then(|key| tracks.get(key)));
            changed |= missing != slot.codec_missing;
            slot.codec_missing = missing;
        }
        if changed {
            turn.events.push(Event::SlotsChanged { leg: leg.id, slots: assignments(leg) });
        }
    }

    /// What others publish and this seat may have, in the order in which seats came.
    fn offerings_for(&self, viewer: SeatId) -> Vec<Offering> {
        let mut policy = self.policy(viewer);
        policy.hear &= !self.is_local(viewer);
        let mut offerings = Vec::new();
        for seat in self.seats.iter().filter(|seat| seat.id != viewer) {
            let pick = |source| self.pick(seat.id, source);
            let (voice, camera, screen) = (pick(Source::Microphone), pick(Source::Camera), pick(Source::Screen));
            let offering = |source, audio: Option<TrackKey>, video: Option<TrackKey>| Offering {
                seat: seat.id,
                source,
                audio: audio.filter(|_| policy.hear),
                video: video.filter(|_| policy.see),
                spoke_at: seat.spoke_at,
            };
            if (voice.is_some() && policy.hear) || (camera.is_some() && policy.see) {
                offerings.push(offering(Source::Camera, voice, camera));
            }
            // A page offers its screen section from the start; it takes a slot only while something is shared.
            if policy.see && screen.is_some_and(|key| self.tracks[key].started) {
                offerings.push(offering(Source::Screen, None, screen));
            }
        }
        offerings
    }

    /// The track that stands for a seat's source: one that sends before one that might, the latest among equals.
    pub(super) fn pick(&self, seat: SeatId, source: Source) -> Option<TrackKey> {
        self.tracks
            .iter()
            .filter(|(_, track)| track.seat == seat && track.source == source && track.permitted)
            .max_by_key(|(_, track)| (track.started, track.id))
            .map(|(key, _)| key)
    }

    fn list_viewers(&mut self) {
        let Self { legs, tracks, .. } = self;
        for (_, track) in tracks.iter_mut() {
            track.viewers.clear();
        }
        for (leg, of) in legs.iter() {
            for (slot, sections) in of.slots.iter().enumerate() {
                for (kind, section) in [(MediaKind::Audio, &sections.audio), (MediaKind::Video, &sections.video)] {
                    if let Some(track) = section.as_ref().and_then(|s| s.track).and_then(|key| tracks.get_mut(key)) {
                        track.viewers.push(Viewer { leg, slot, kind });
                    }
                }
            }
        }
    }
}

fn show(now: Instant, section: Option<&mut Section>, track: Option<TrackKey>, tracks: &Slab<Track>) {
    let Some(section) = section.filter(|section| section.track != track) else { return };
    section.track = track;
    section.stream.remap(now);
    let Some(ingress) = track.and_then(|key| tracks.get(key)).map(|track| &track.ingress) else { return };
    // The publisher's clock is known already: without it lips would run apart until its next report.
    for layer in (0..ingress.layer_count() as u8).map(LayerIndex) {
        if let Some((ntp, rtp)) = ingress.sender_report(layer) {
            section.stream.set_clock(layer, ClockMapping { ntp: NtpTime(ntp), rtp });
        }
    }
}

fn codec_missing(slot: &Slot, track: Option<&Track>) -> bool {
    match (&slot.video, track.and_then(|track| track.codec)) {
        (Some(section), Some(codec)) => !section.stream.can_take(codec),
        _ => false,
    }
}

fn assignments(leg: &Leg) -> Vec<SlotAssignment> {
    let assignment = |slot: &Slot| {
        let shown = slot.state.shown?;
        Some(SlotAssignment {
            slot: slot.state.slot,
            seat: shown.seat,
            source: shown.source,
            codec_missing: slot.codec_missing,
        })
    };
    leg.slots.iter().filter_map(assignment).collect()
}
