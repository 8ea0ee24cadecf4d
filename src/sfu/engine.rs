//! [`Sfu`]: all rooms of one worker as one value, and the look-ups that lead a datagram to its leg.
//!
//! Not here: what happens inside a room (`room`). Invariants: an address leads to a leg only after an authenticated
//! check from it; nothing in the maps outlives its leg; every map is bounded by the number of legs.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use ahash::RandomState;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use slab::Slab;

use crate::drops::DropReason;
use crate::ids::{LegId, RoomId, SeatId};
use crate::rtp::demux::{Class, classify};
use crate::transport::batch::{Path, TransmitBatch};
use crate::transport::dtls::DtlsAcceptor;
use crate::transport::local::UplinkFrame;
use crate::transport::stun_username;

use super::command::{Command, Event};
use super::counters::Counters;
use super::egress::NtpReference;
use super::handshakes::{Handshakes, Waiting};
use super::leg::NewLeg;
use super::room::{LegKey, LocalKey, Room};

/// What an `Sfu` is told once.
#[derive(Clone, Copy, Debug)]
pub struct SfuConfig {
    /// The wall clock at one instant, for sender reports.
    pub ntp: NtpReference,
    /// How long a silent leg is kept before it is gone.
    pub grace: Duration,
}

/// Whether [`Sfu::flush`] wants to be called again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flush {
    /// Everything received has been forwarded.
    Done,
    /// The transmit batch is full: send it, clear it, call again.
    Full,
}

/// Where a leg lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct LegPlace {
    room: usize,
    leg: LegKey,
}

/// Where a leg within this process lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct LocalPlace {
    room: usize,
    leg: LocalKey,
}

/// What one step works with besides the rooms.
pub(super) struct Turn<'a> {
    pub(super) now: Instant,
    /// When the datagram being handled reached this machine; `now` otherwise.
    pub(super) arrived: Instant,
    pub(super) config: &'a SfuConfig,
    pub(super) out: &'a mut TransmitBatch,
    pub(super) counters: &'a mut Counters,
    pub(super) events: &'a mut EventQueue,
    /// Addresses and names to forget, left by legs that went or moved.
    pub(super) forgotten: &'a mut Forgotten,
}

/// What the maps must forget.
#[derive(Default)]
pub(super) struct Forgotten {
    pub(super) legs: Vec<LegId>,
    pub(super) paths: Vec<Path>,
    pub(super) ufrags: Vec<Box<[u8]>>,
}

/// Events that wait for the worker, bounded.
#[derive(Default)]
pub(super) struct EventQueue(VecDeque<Event>);

impl EventQueue {
    /// Events are rare and the worker takes them every turn; only a control plane that hangs can fill this.
    const LEN_MAX: usize = 65_536;

    pub(super) fn push(&mut self, event: Event) {
        if self.0.len() < Self::LEN_MAX {
            self.0.push_back(event);
        }
    }
}

/// All rooms of one worker.
pub struct Sfu {
    config: SfuConfig,
    acceptor: Box<dyn DtlsAcceptor>,
    random: StdRng,
    rooms: Slab<Room>,
    /// When each room wants to be called, by its key: side by side, because every timer looks through all of them.
    dues: Vec<Option<Instant>>,
    room_keys: HashMap<RoomId, usize, RandomState>,
    legs: HashMap<LegId, LegPlace, RandomState>,
    local_legs: HashMap<LegId, LocalPlace, RandomState>,
    paths: HashMap<Path, LegPlace, RandomState>,
    ufrags: HashMap<Box<[u8]>, LegPlace, RandomState>,
    /// Rooms with packets to forward.
    ready: Vec<usize>,
    /// The room being worked on, so that a panic can be laid at its door.
    at: Option<usize>,
    due: Option<Instant>,
    /// What a turn does last, one at a time.
    handshakes: Handshakes,
    /// While a datagram is handled.
    arrived: Option<Instant>,
    events: EventQueue,
    forgotten: Forgotten,
    counters: Counters,
    /// For steps that send nothing.
    no_transmit: TransmitBatch,
}

impl Sfu {
    /// No rooms. `seed` must be unpredictable to strangers: it orders the look-up maps and numbers streams.
    #[must_use]
    pub fn new(config: SfuConfig, seed: u64, acceptor: Box<dyn DtlsAcceptor>) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut hasher = || RandomState::with_seeds(random.random(), random.random(), random.random(), random.random());
        let (room_keys, legs) = (HashMap::with_hasher(hasher()), HashMap::with_hasher(hasher()));
        let (paths, ufrags) = (HashMap::with_hasher(hasher()), HashMap::with_hasher(hasher()));
        let local_legs = HashMap::with_hasher(hasher());
        Self {
            config,
            acceptor,
            random,
            rooms: Slab::new(),
            dues: Vec::new(),
            room_keys,
            legs,
            local_legs,
            paths,
            ufrags,
            ready: Vec::new(),
            at: None,
            due: None,
            handshakes: Handshakes::default(),
            arrived: None,
            events: EventQueue::default(),
            forgotten: Forgotten::default(),
            counters: Counters::default(),
            no_transmit: TransmitBatch::new(TransmitBatch::DATAGRAM_LEN_MAX, 1),
        }
    }

    /// Does what the control plane asks. Datagrams that follow from it leave with the next timeout, which is now.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::OpenRoom(id) => self.open_room(now, id),
            Command::CloseRoom(id) => self.close_room(now, id),
            Command::SetPolicy { room, seat, policy } => {
                if let Some(&key) = self.room_keys.get(&room) {
                    self.in_room(now, key, |room, turn| room.set_policy(turn, seat, policy));
                }
            }
            Command::AddLeg { room, seat, leg, stamp, parameters } => {
                let Some(&key) = self.room_keys.get(&room) else { return };
                if self.has_leg(leg) {
                    return;
                }
                let ufrag: Box<[u8]> = parameters.transport.local.ufrag.as_bytes().into();
                let dtls = self.acceptor.accept(now, &parameters.transport.remote_fingerprint);
                let seed = self.random.random();
                let new = NewLeg { id: leg, seat, stamp, parameters: *parameters, dtls };
                let added = self.in_room(now, key, |room, turn| room.add_leg(turn, new, seed));
                if let Some(Some(added)) = added {
                    let place = LegPlace { room: key, leg: added };
                    self.legs.insert(leg, place);
                    self.ufrags.insert(ufrag, place);
                }
            }
            Command::AddLocalLeg { room, seat, leg } => self.add_local_leg(now, room, seat, leg),
            Command::RemoveLeg(id) => {
                if let Some(&place) = self.legs.get(&id) {
                    self.in_room(now, place.room, |room, turn| room.remove_leg(turn, place.leg));
                } else if let Some(&place) = self.local_legs.get(&id) {
                    self.in_room(now, place.room, |room, turn| room.remove_local_leg(turn, place.leg));
                }
            }
            Command::RestartIce { leg, local, remote, remote_fingerprint } => {
                let Some(&place) = self.legs.get(&leg) else { return };
                let ufrag: Box<[u8]> = local.ufrag.as_bytes().into();
                let done = self.in_room(now, place.room, |room, turn| {
                    room.restart_ice(turn, place.leg, local, remote, &remote_fingerprint)
                });
                if done == Some(true) {
                    self.ufrags.insert(ufrag, place);
                }
            }
            Command::AddSlots { leg, slots } => {
                if let Some(&place) = self.legs.get(&leg) {
                    self.in_room(now, place.room, |room, turn| room.add_slots(turn, place.leg, &slots));
                }
            }
            Command::SetView { leg, slot, size } => {
                if let Some(&place) = self.legs.get(&leg) {
                    self.in_room(now, place.room, |room, turn| room.set_view(turn, place.leg, slot, size));
                }
            }
        }
    }

    /// Takes one datagram, which reached this machine at `arrived`: a publisher's rate control must see the network's
    /// delays and not those of a busy worker. Its bytes are decrypted in place. `out` must not be full.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        arrived: Instant,
        path: Path,
        datagram: &mut [u8],
        out: &mut TransmitBatch,
    ) {
        self.arrived = Some(arrived);
        self.counters.datagrams_in += 1;
        self.counters.bytes_in += datagram.len() as u64;
        let handled = match classify(datagram) {
            None => Err(DropReason::Unclassified),
            Some(Class::Stun) => self.handle_stun(now, path, datagram, out),
            Some(class) => self.handle_secured(now, path, class, datagram, out),
        };
        self.arrived = None;
        if let Err(reason) = handled {
            self.counters.record_drop(reason);
        }
    }

    /// Takes one frame of a leg within this process.
    pub fn handle_local(&mut self, now: Instant, leg: LegId, frame: &UplinkFrame<'_>, out: &mut TransmitBatch) {
        let place = self.local_legs.get(&leg).copied();
        let handled = place
            .and_then(|at| self.step(now, at.room, out, |room, turn| room.handle_local(turn, at.leg, frame)))
            .unwrap_or(Err(DropReason::LocalLegGone));
        match (handled, place) {
            (Ok(true), Some(place)) => self.ready.push(place.room),
            (Ok(_), _) => {}
            (Err(reason), _) => self.counters.record_drop(reason),
        }
    }

    /// The thread behind a leg within this process is gone: so is the leg, and the control plane is told.
    pub fn handle_local_end(&mut self, now: Instant, leg: LegId) {
        if let Some(&place) = self.local_legs.get(&leg) {
            self.in_room(now, place.room, |room, turn| room.lose_local_leg(turn, place.leg));
        }
    }

    /// Whether this leg within this process exists.
    #[must_use]
    pub fn has_local_leg(&self, leg: LegId) -> bool {
        self.local_legs.contains_key(&leg)
    }

    /// The worst loss, 0 to 1, that anybody who hears this leg within this process reported last.
    #[must_use]
    pub fn listeners_loss(&self, leg: LegId) -> f32 {
        let place = self.local_legs.get(&leg);
        place.and_then(|at| Some(self.rooms.get(at.room)?.listeners_loss(at.leg))).unwrap_or(0.0)
    }

    /// Counts what its caller dropped.
    pub fn record_drops(&mut self, reason: DropReason, count: u64) {
        self.counters.record_drops(reason, count);
    }

    /// Forwards what the datagrams since the last call brought, viewer by viewer.
    pub fn flush(&mut self, now: Instant, out: &mut TransmitBatch) -> Flush {
        while let Some(&key) = self.ready.last() {
            let state = self.step(now, key, out, Room::fan_out).unwrap_or(Flush::Done);
            if state == Flush::Full {
                return Flush::Full;
            }
            self.ready.pop();
        }
        Flush::Done
    }

    /// Runs what is due, and one step of one handshake. Work that does not fit `out`, and further steps, stay due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut TransmitBatch) {
        for key in 0..self.dues.len() {
            if out.is_full() {
                break;
            }
            if self.dues[key].is_some_and(|due| due <= now) {
                self.step(now, key, out, Room::handle_timeout);
            }
        }
        self.shake_hands(now, out);
        let rooms_due = self.dues.iter().flatten().min().copied();
        self.due = if self.handshakes.is_empty() { rooms_due } else { Some(now) };
    }

    /// When [`Sfu::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// The next thing to tell the control plane.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.0.pop_front()
    }

    /// Everything counted so far, and what there is now: for publication, not for every turn.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        counters.rooms = self.rooms.len() as u64;
        counters.legs = self.legs.len() as u64;
        counters.legs_local = self.local_legs.len() as u64;
        for (_, room) in &self.rooms {
            counters.legs_connected += room.connected() as u64;
            counters.tracks += room.tracks_started() as u64;
        }
        counters
    }

    /// Datagrams taken so far.
    #[must_use]
    pub fn datagrams_in(&self) -> u64 {
        self.counters.datagrams_in
    }

    /// After a panic: closes the room that was being worked on. Nothing of it is touched but its names.
    pub fn abandon_room(&mut self, _now: Instant) {
        let Some(key) = self.at.take() else { return };
        if !self.rooms.contains(key) {
            return;
        }
        let room = self.rooms.remove(key);
        self.dues[key] = None;
        self.ready.retain(|&ready| ready != key);
        self.forget_places_of(key);
        self.room_keys.remove(&room.id());
        self.counters.rooms_failed += 1;
        self.counters.record_drop(DropReason::RoomFailed);
        self.events.push(Event::RoomFailed(room.id()));
    }

    fn open_room(&mut self, now: Instant, id: RoomId) {
        if !self.room_keys.contains_key(&id) {
            let room = Room::new(now, id, self.random.random());
            let due = Some(room.due());
            let key = self.rooms.insert(room);
            match self.dues.get_mut(key) {
                Some(vacant) => *vacant = due,
                None => self.dues.push(due),
            }
            self.room_keys.insert(id, key);
        }
    }

    fn add_local_leg(&mut self, now: Instant, room: RoomId, seat: SeatId, leg: LegId) {
        let Some(&key) = self.room_keys.get(&room) else { return self.events.push(Event::LegGone(leg)) };
        if self.has_leg(leg) {
            return;
        }
        let seed = self.random.random();
        let added = self.in_room(now, key, |room, turn| room.add_local_leg(turn, leg, seat, seed));
        if let Some(Some(added)) = added {
            self.local_legs.insert(leg, LocalPlace { room: key, leg: added });
        }
    }

    fn has_leg(&self, leg: LegId) -> bool {
        self.legs.contains_key(&leg) || self.local_legs.contains_key(&leg)
    }

    fn close_room(&mut self, now: Instant, id: RoomId) {
        let Some(key) = self.room_keys.remove(&id) else { return };
        self.in_room(now, key, Room::close);
        self.rooms.remove(key);
        self.dues[key] = None;
        self.ready.retain(|&ready| ready != key);
        self.forget_places_of(key);
    }

    fn handle_stun(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &[u8],
        out: &mut TransmitBatch,
    ) -> Result<(), DropReason> {
        let ufrag = stun_username(datagram).ok_or(DropReason::StunMalformed)?;
        let place = *self.ufrags.get(ufrag).ok_or(DropReason::StunUnknownUfrag)?;
        if self.paths.get(&path).is_some_and(|&owner| owner != place && self.is_in_use(now, owner, path)) {
            return Err(DropReason::StunAddressTaken);
        }
        let bound = self
            .step(now, place.room, out, |room, turn| room.handle_stun(turn, place.leg, path, datagram))
            .unwrap_or(Err(DropReason::StunUnknownUfrag))?;
        if bound && let Some(older) = self.paths.insert(path, place).filter(|&older| older != place) {
            // The older leg is silent and the newer has proved the address: what comes from there is the newer one's.
            self.step(now, older.room, out, |room, _| room.forget_path(older.leg, path));
        }
        Ok(())
    }

    /// Whether a leg lives on this address. Another's check is then a forgery: a member who writes somebody's address on
    /// his own check would take it away from whoever talks from there.
    fn is_in_use(&self, now: Instant, place: LegPlace, path: Path) -> bool {
        self.rooms.get(place.room).is_some_and(|room| room.lives_on(now, place.leg, path))
    }

    fn handle_secured(
        &mut self,
        now: Instant,
        path: Path,
        class: Class,
        datagram: &mut [u8],
        out: &mut TransmitBatch,
    ) -> Result<(), DropReason> {
        let place = *self.paths.get(&path).ok_or(DropReason::UnknownAddress)?;
        if class == Class::Dtls && self.rooms.get(place.room).is_some_and(|room| room.is_connecting(place.leg)) {
            self.handshakes.push(path, datagram)?;
            self.due = Some(self.due.map_or(now, |due| due.min(now)));
            return Ok(());
        }
        let handled = self.step(now, place.room, out, |room, turn| match class {
            Class::Stun => Err(DropReason::StunMalformed),
            Class::Dtls => room.handle_dtls(turn, place.leg, path, datagram).map(|()| false),
            Class::Rtp => room.handle_rtp(turn, place.leg, path, datagram),
            Class::Rtcp => room.handle_rtcp(turn, place.leg, path, datagram).map(|()| false),
        });
        if handled.unwrap_or(Err(DropReason::UnknownAddress))? {
            self.ready.push(place.room);
        }
        Ok(())
    }

    /// Takes the oldest handshake datagram that waits.
    fn shake_hands(&mut self, now: Instant, out: &mut TransmitBatch) {
        if out.is_full() {
            return;
        }
        let Some(Waiting { path, datagram }) = self.handshakes.pop() else { return };
        // The leg may have gone meanwhile.
        let place = self.paths.get(&path).copied();
        let handled = place
            .and_then(|at| self.step(now, at.room, out, |room, turn| room.handle_dtls(turn, at.leg, path, &datagram)));
        if let Err(reason) = handled.unwrap_or(Err(DropReason::UnknownAddress)) {
            self.counters.record_drop(reason);
        }
    }

    /// Runs a step that sends nothing by itself.
    fn in_room<T>(&mut self, now: Instant, key: usize, step: impl FnOnce(&mut Room, &mut Turn<'_>) -> T) -> Option<T> {
        let mut none = std::mem::replace(&mut self.no_transmit, TransmitBatch::new(0, 0));
        let result = self.step(now, key, &mut none, |room, turn| {
            let result = step(room, turn);
            room.wake(now);
            result
        });
        none.clear();
        self.no_transmit = none;
        result
    }

    fn step<T>(
        &mut self,
        now: Instant,
        key: usize,
        out: &mut TransmitBatch,
        step: impl FnOnce(&mut Room, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let Self { rooms, dues, config, counters, events, forgotten, at, arrived, .. } = self;
        let arrived = arrived.unwrap_or(now);
        let room = rooms.get_mut(key)?;
        *at = Some(key);
        let result = step(room, &mut Turn { now, arrived, config, out, counters, events, forgotten });
        *at = None;
        let due = room.due();
        dues[key] = Some(due);
        self.due = Some(self.due.map_or(due, |other| other.min(due)));
        if !self.forgotten.is_empty() {
            self.forget();
        }
        Some(result)
    }

    fn forget(&mut self) {
        let Forgotten { legs, paths, ufrags } = std::mem::take(&mut self.forgotten);
        for leg in &legs {
            self.legs.remove(leg);
            self.local_legs.remove(leg);
        }
        for path in &paths {
            self.paths.remove(path);
        }
        for ufrag in &ufrags {
            self.ufrags.remove(ufrag);
        }
    }

    fn forget_places_of(&mut self, room: usize) {
        self.legs.retain(|_, place| place.room != room);
        self.local_legs.retain(|_, place| place.room != room);
        self.paths.retain(|_, place| place.room != room);
        self.ufrags.retain(|_, place| place.room != room);
    }
}

impl Forgotten {
    fn is_empty(&self) -> bool {
        self.legs.is_empty() && self.paths.is_empty() && self.ufrags.is_empty()
    }
}
