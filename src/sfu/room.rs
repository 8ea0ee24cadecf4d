//! One consultation's media on one worker: its seats, legs and published tracks, and what commands do to them.
//!
//! `packets` is what datagrams do, `reports` what RTCP and timers do, `stage` who is shown where.
//! Invariants: a track without permission takes no packet; a leg that is removed leaves nothing behind but events.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use slab::Slab;

use crate::ids::{RoomId, SeatId, SlotId, TrackId};
use crate::rtp::codec::{Codec, MediaKind, Source};
use crate::transport::parameters::{Fingerprint, IceCredentials};
use crate::units::PictureSize;

use super::command::{Event, SeatPolicy};
use super::data::DataBudget;
use super::egress::{PacketNumbers, PacketSize, pad_runs};
use super::engine::Turn;
use super::ingress::{Accepted, IngressTrack, SpeakerDetector};
use super::leg::{Leg, LegState, NewLeg, Slot};
use super::local_leg::LocalLeg;
use super::parameters::{IngressParameters, LegParameters, SlotParameters};
use super::slots::TrackKey;

/// Key of a page's or device's leg in its room.
pub(super) type LegKey = usize;
/// Key of a leg within this process in its room.
pub(super) type LocalKey = usize;

/// Which leg a track comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Publisher {
    WebRtc(LegKey),
    Local(LocalKey),
}

/// A person's place.
pub(super) struct Seat {
    pub(super) id: SeatId,
    pub(super) policy: SeatPolicy,
    /// Counts up with every change of speaker; larger is later.
    pub(super) spoke_at: u64,
    /// What it may still send on data channels.
    pub(super) budget: DataBudget,
}

impl Seat {
    fn new(now: Instant, id: SeatId, policy: SeatPolicy) -> Self {
        Self { id, policy, spoke_at: 0, budget: DataBudget::new(now) }
    }
}

/// One published source with those who watch it.
pub(super) struct Track {
    pub(super) id: TrackId,
    pub(super) seat: SeatId,
    pub(super) publisher: Publisher,
    pub(super) source: Source,
    pub(super) ingress: IngressTrack,
    /// May be published now.
    pub(super) permitted: bool,
    /// A packet was accepted since it was permitted.
    pub(super) started: bool,
    /// What it is encoded with, once a packet told.
    pub(super) codec: Option<Codec>,
    /// How often that changed.
    pub(super) codec_changes: u8,
    /// Losses already counted.
    pub(super) lost: u64,
    /// Packets that wait for fan-out.
    pub(super) pending: Vec<Pending>,
    pub(super) viewers: Vec<Viewer>,
    /// Legs within this process that may hear it.
    pub(super) listeners: Vec<LocalKey>,
}

/// What a track begins with.
pub(super) struct NewTrack<'a> {
    pub(super) seat: SeatId,
    pub(super) publisher: Publisher,
    pub(super) section: &'a IngressParameters,
}

/// An accepted packet that waits for fan-out.
#[derive(Clone, Copy)]
pub(super) struct Pending {
    pub(super) accepted: Accepted,
    pub(super) numbers: PacketNumbers,
    pub(super) size: PacketSize,
}

impl Track {
    /// Whether a leg within this process speaks in its place, when the seat has one.
    fn is_replaced(&self, is_local: bool) -> bool {
        is_local && self.source == Source::Microphone && matches!(self.publisher, Publisher::WebRtc(_))
    }

    /// Makes pictures that wait for fan-out go in few messages. Voices come one by one.
    pub(super) fn pad_pending(&mut self) {
        if self.source.kind() == MediaKind::Video && self.pending.len() > 1 {
            pad_runs(&mut self.pending, |pending| &mut pending.size);
        }
    }
}

/// A receiving section that shows a track.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Viewer {
    pub(super) leg: LegKey,
    pub(super) slot: usize,
    pub(super) kind: MediaKind,
}

/// How far a fan-out has come that the transmit batch interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cursor {
    pub(super) viewer: usize,
    pub(super) packet: usize,
}

/// One room.
pub(super) struct Room {
    id: RoomId,
    pub(super) seats: Vec<Seat>,
    pub(super) legs: Slab<Leg>,
    pub(super) locals: Slab<LocalLeg>,
    pub(super) tracks: Slab<Track>,
    /// Tracks with pending packets.
    pub(super) dirty: Vec<TrackKey>,
    pub(super) cursor: Cursor,
    pub(super) speaker: SpeakerDetector,
    pub(super) speaker_due: Instant,
    pub(super) turns_of_speech: u64,
    pub(super) due: Instant,
    random: StdRng,
    next_track: u64,
}

impl Room {
    pub(super) fn new(now: Instant, id: RoomId, seed: u64) -> Self {
        Self {
            id,
            seats: Vec::new(),
            legs: Slab::new(),
            locals: Slab::new(),
            tracks: Slab::new(),
            dirty: Vec::new(),
            cursor: Cursor::default(),
            speaker: SpeakerDetector::new(),
            speaker_due: now,
            turns_of_speech: 0,
            due: now + IDLE,
            random: StdRng::seed_from_u64(seed),
            next_track: 0,
        }
    }

    pub(super) fn id(&self) -> RoomId {
        self.id
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Makes the next timeout come by `at`.
    pub(super) fn wake(&mut self, at: Instant) {
        self.due = self.due.min(at);
    }

    pub(super) fn connected(&self) -> usize {
        self.legs.iter().filter(|(_, leg)| leg.state == LegState::Connected).count()
    }

    /// Whether this leg is there and has no keys yet.
    pub(super) fn is_connecting(&self, key: LegKey) -> bool {
        self.legs.get(key).is_some_and(|leg| matches!(leg.state, LegState::Connecting { .. }))
    }

    pub(super) fn tracks_started(&self) -> usize {
        self.tracks.iter().filter(|(_, track)| track.started).count()
    }

    pub(super) fn policy(&self, seat: SeatId) -> SeatPolicy {
        self.seats.iter().find(|other| other.id == seat).map_or(SeatPolicy::default(), |seat| seat.policy)
    }

    pub(super) fn set_policy(&mut self, turn: &mut Turn<'_>, id: SeatId, policy: SeatPolicy) {
        match self.seats.iter().position(|seat| seat.id == id) {
            Some(at) => self.seats[at].policy = policy,
            None if self.seats.len() < SEATS_MAX => self.seats.push(Seat::new(turn.now, id, policy)),
            None => return,
        }
        self.permit(turn, id);
        if !policy.microphone {
            self.speaker.remove(id);
        }
        self.restage(turn);
    }

    /// Gives and takes permission to the tracks of a seat, as its policy and its legs are now.
    pub(super) fn permit(&mut self, turn: &mut Turn<'_>, seat: SeatId) {
        let policy = self.policy(seat);
        let is_local = self.is_local(seat);
        for (_, track) in self.tracks.iter_mut().filter(|(_, track)| track.seat == seat) {
            track.permitted = policy.may_publish(track.source) && !track.is_replaced(is_local);
            if !track.permitted {
                end(turn, track);
            }
        }
    }

    /// Whether the seat is known and has room for a leg.
    pub(super) fn takes_leg_of(&self, seat: SeatId) -> bool {
        let known = self.seats.iter().any(|other| other.id == seat);
        known && self.legs.len() + self.locals.len() < LEGS_MAX
    }

    /// A track without permission yet.
    pub(super) fn add_track(&mut self, new: NewTrack<'_>) -> TrackKey {
        let NewTrack { seat, publisher, section } = new;
        self.next_track += 1;
        self.tracks.insert(Track {
            id: TrackId(self.id.0 << 20 | self.next_track),
            seat,
            publisher,
            source: section.source,
            ingress: IngressTrack::new(section),
            permitted: false,
            started: false,
            codec: None,
            codec_changes: 0,
            lost: 0,
            pending: Vec::with_capacity(PENDING_LEN),
            viewers: Vec::new(),
            listeners: Vec::new(),
        })
    }

    /// `None` when the seat is unknown or the room is full; the control plane is told.
    pub(super) fn add_leg(&mut self, turn: &mut Turn<'_>, new: NewLeg, seed: u64) -> Option<LegKey> {
        let (seat, id) = (new.seat, new.id);
        if !self.takes_leg_of(seat) {
            turn.events.push(Event::LegGone(id));
            return None;
        }
        let publisher = Publisher::WebRtc(self.legs.vacant_key());
        let sections = new.parameters.ingress.iter();
        let keys = sections.map(|section| self.add_track(NewTrack { seat, publisher, section })).collect();
        let mut random = StdRng::seed_from_u64(seed ^ self.random.random::<u64>());
        let leg = Leg::new(turn.now, new, keys, || random.random());
        let key = self.legs.insert(leg);
        self.permit(turn, seat);
        self.restage(turn);
        Some(key)
    }

    pub(super) fn remove_leg(&mut self, turn: &mut Turn<'_>, key: LegKey) {
        let Some(mut leg) = self.legs.try_remove(key) else { return };
        leg.transport.close();
        if !turn.out.is_full() {
            leg.transport.poll_transmit(turn.now, turn.out);
        }
        turn.forgotten.legs.push(leg.id);
        turn.forgotten.paths.extend(leg.transport.paths());
        turn.forgotten.ufrags.append(&mut leg.ufrags);
        self.remove_tracks(turn, &leg.tracks);
        self.forget_voice_of(leg.seat);
        self.restage(turn);
    }

    /// Removes what a leg published.
    pub(super) fn remove_tracks(&mut self, turn: &mut Turn<'_>, keys: &[TrackKey]) {
        for &key in keys {
            if let Some(mut track) = self.tracks.try_remove(key) {
                end(turn, &mut track);
            }
        }
        self.dirty.retain(|key| self.tracks.contains(*key));
        self.cursor = Cursor::default();
    }

    /// A leg of the seat went: without another one nobody speaks there.
    pub(super) fn forget_voice_of(&mut self, seat: SeatId) {
        if !self.is_local(seat) && !self.legs.iter().any(|(_, other)| other.seat == seat) {
            self.speaker.remove(seat);
        }
    }

    /// Removes a leg and tells that it is gone, because nobody asked for it.
    pub(super) fn lose_leg(&mut self, turn: &mut Turn<'_>, key: LegKey, event: Event) {
        turn.events.push(event);
        self.remove_leg(turn, key);
    }

    /// False when the leg is gone or the certificate is another one.
    pub(super) fn restart_ice(
        &mut self,
        turn: &mut Turn<'_>,
        key: LegKey,
        local: IceCredentials,
        remote: IceCredentials,
        fingerprint: &Fingerprint,
    ) -> bool {
        let Some(leg) = self.legs.get_mut(key) else { return false };
        if leg.fingerprint != *fingerprint {
            return false;
        }
        leg.ufrags.push(local.ufrag.as_bytes().into());
        if leg.ufrags.len() > UFRAGS_MAX {
            turn.forgotten.ufrags.push(leg.ufrags.remove(0));
        }
        leg.transport.restart_ice(local, remote);
        true
    }

    /// Appends slots to a leg and fills them.
    pub(super) fn add_slots(&mut self, turn: &mut Turn<'_>, key: LegKey, slots: &[SlotParameters]) {
        let Self { legs, random, .. } = self;
        let Some(leg) = legs.get_mut(key) else { return };
        for slot in slots {
            let known = leg.slots.iter().any(|other| other.state.slot == slot.slot);
            if !known && leg.slots.len() < LegParameters::SECTIONS_MAX {
                leg.slots.push(Slot::new(slot, &mut || random.random()));
            }
        }
        self.restage(turn);
    }

    pub(super) fn set_view(&mut self, turn: &mut Turn<'_>, key: LegKey, slot: SlotId, size: PictureSize) {
        if let Some(slot) = self.legs.get_mut(key).and_then(|leg| leg.slots.iter_mut().find(|s| s.state.slot == slot)) {
            slot.view = size;
            self.retarget(turn.now, key);
        }
    }

    /// Removes every leg.
    pub(super) fn close(&mut self, turn: &mut Turn<'_>) {
        let keys: Vec<LegKey> = self.legs.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.remove_leg(turn, key);
        }
        let keys: Vec<LocalKey> = self.locals.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.remove_local_leg(turn, key);
        }
    }
}

/// Tells that a track is over, when anybody was told that it began.
fn end(turn: &mut Turn<'_>, track: &mut Track) {
    track.pending.clear();
    if std::mem::take(&mut track.started) {
        turn.events.push(Event::TrackEnded { seat: track.seat, track: track.id, source: track.source });
    }
}

/// A room's next look at itself when nothing else is due.
pub(super) const IDLE: Duration = Duration::from_secs(1);
/// Places in a room: a consultation has fewer than ten, a webinar test fifty. A higher bound costs remapping time.
const SEATS_MAX: usize = 256;
/// A seat may hold a page, a device and a subscriber at once.
const LEGS_MAX: usize = 256;
/// Credentials that may still be in flight after restarts in a row.
const UFRAGS_MAX: usize = 3;
/// Packets a track brings in one receive batch, usually; more only grow the list once.
const PENDING_LEN: usize = 64;
