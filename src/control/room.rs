//! The live state of one consultation: who is connected, where they are in their visit, what each may send now.
//!
//! A room sits behind one lock that is never held across an await; everything here is synchronous. It knows nothing
//! of the store: callers write there first and tell the room afterwards. A closed room takes nobody in any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use colloque_signaling::message::{
    ErrorCode, Language, MediaSource, Permissions, Presence, Role, SeatInfo, ServerMessage, SlotInfo,
};
use colloque_signaling::session::CloseReason;
use dashmap::DashMap;

use crate::acts::{Act, role_from_name};
use crate::ids::{LegId, RoomId, SeatId, TrackId};
use crate::pii::Pii;
use crate::rtp::codec::Source;
use crate::sfu::command::{Command, SeatPolicy, SlotAssignment};
use crate::store::{Admission, ConsultationRecord, Login, SeatRecord};
use crate::worker::WorkerId;

use super::Numbers;
use super::booking::language_from_name;
use super::channel::Channel;
use super::leg::{EndpointLeg, PageLeg};
use super::media::{MediaBusy, MediaPlane};
use super::policy;

/// A consultation while somebody is there.
pub(super) struct Room {
    /// Its name on the media plane.
    pub(super) id: RoomId,
    /// Public identifier of the consultation.
    pub(super) consultation: String,
    /// Whose consultation it is.
    pub(super) clinic: String,
    pub(super) act: Arc<Act>,
    pub(super) language: Language,
    pub(super) port: MediaPort,
    state: Mutex<RoomState>,
}

/// The way from a room to its worker.
#[derive(Clone)]
pub(super) struct MediaPort {
    pub(super) plane: Arc<dyn MediaPlane>,
    pub(super) worker: WorkerId,
    pub(super) room: RoomId,
    /// Where reports about legs find their room.
    pub(super) legs: Arc<DashMap<LegId, RoomId>>,
}

impl MediaPort {
    pub(super) fn send(&self, command: Command) -> Result<(), MediaBusy> {
        self.plane.try_send(self.worker, command)
    }

    pub(super) fn remove_leg(&self, leg: LegId) {
        self.legs.remove(&leg);
        self.send_lossy(Command::RemoveLeg(leg));
    }

    /// For what cannot be refused: the worker forgets the leg by itself when it hears nothing for the grace period.
    pub(super) fn send_lossy(&self, command: Command) {
        if self.send(command).is_err() {
            tracing::warn!(worker = self.worker.0, "the media worker is overloaded: a command was dropped");
        }
    }
}

/// What the lock guards.
pub(super) struct RoomState {
    port: MediaPort,
    seats: Vec<LiveSeat>,
    closed: bool,
}

/// A seat while its consultation is live.
pub(super) struct LiveSeat {
    /// Its name on the media plane.
    pub(super) number: SeatId,
    /// Public identifier.
    pub(super) id: String,
    pub(super) role: Role,
    pub(super) display_name: Option<Pii<String>>,
    pub(super) admission: Admission,
    pub(super) visit: Visit,
    pub(super) channel: Channel,
    /// What the page says it sends.
    pub(super) sending: Sources,
    /// What a host stopped.
    pub(super) silenced: Sources,
    pub(super) tracks: Vec<LiveTrack>,
    pub(super) page_leg: Option<PageLeg>,
    pub(super) endpoints: Vec<EndpointLeg>,
    base_policy: SeatPolicy,
    pub(super) permissions: Permissions,
}

/// Where a seat's page is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Visit {
    /// Has not come, or has left.
    Absent,
    /// Its socket is open. `since` is for the join latency.
    Connected { generation: u64, since: Instant },
    /// Its socket was lost; kept for the grace period.
    Away { generation: u64 },
}

/// One flag a source.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Sources {
    pub(super) microphone: bool,
    pub(super) camera: bool,
    pub(super) screen: bool,
}

impl Sources {
    pub(super) fn flag(&mut self, source: MediaSource) -> &mut bool {
        match source {
            MediaSource::Microphone => &mut self.microphone,
            MediaSource::Camera => &mut self.camera,
            MediaSource::Screen => &mut self.screen,
        }
    }

    /// Those of them that the seat may send: the roster shows nothing that the media plane drops.
    pub(super) fn within(self, permissions: Permissions) -> Sources {
        Sources {
            microphone: self.microphone && permissions.microphone,
            camera: self.camera && permissions.camera,
            screen: self.screen && permissions.screen,
        }
    }

    pub(super) fn iter(self) -> impl Iterator<Item = MediaSource> {
        let all = [
            (self.microphone, MediaSource::Microphone),
            (self.camera, MediaSource::Camera),
            (self.screen, MediaSource::Screen),
        ];
        all.into_iter().filter_map(|(on, source)| on.then_some(source))
    }
}

/// A track that the media plane reported.
#[derive(Clone, Copy, Debug)]
pub(super) struct LiveTrack {
    pub(super) track: TrackId,
    pub(super) leg: LegId,
    pub(super) source: Source,
}

impl Room {
    pub(super) fn new(
        port: MediaPort,
        act: Arc<Act>,
        consultation: &ConsultationRecord,
        seats: &[SeatRecord],
        numbers: &Numbers,
    ) -> Room {
        let mut state = RoomState { port: port.clone(), seats: Vec::with_capacity(seats.len()), closed: false };
        for seat in seats {
            state.add_seat(seat, &act, numbers);
        }
        Room {
            id: port.room,
            consultation: consultation.id.clone(),
            clinic: consultation.clinic.clone(),
            act,
            language: language_from_name(&consultation.language),
            port,
            state: Mutex::new(state),
        }
    }

    /// A panic while the lock was held leaves plain values behind: they stay usable.
    pub(super) fn lock(&self) -> MutexGuard<'_, RoomState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RoomState {
    pub(super) fn add_seat(&mut self, seat: &SeatRecord, act: &Act, numbers: &Numbers) {
        if self.seat(&seat.id).is_some() {
            return;
        }
        let role = role_from_name(&seat.role).unwrap_or(Role::Guest);
        let may = act.rule(role).may;
        self.seats.push(LiveSeat {
            number: SeatId(numbers.next()),
            id: seat.id.clone(),
            role,
            display_name: seat.display_name.clone(),
            admission: seat.admission,
            visit: Visit::Absent,
            channel: Channel::default(),
            sending: Sources::default(),
            silenced: Sources::default(),
            tracks: Vec::new(),
            page_leg: None,
            endpoints: Vec::new(),
            base_policy: policy::seat_policy(may),
            permissions: policy::permissions(may),
        });
        self.broadcast_roster();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn seat(&self, id: &str) -> Option<&LiveSeat> {
        self.seats.iter().find(|seat| seat.id == id)
    }

    pub(super) fn seat_mut(&mut self, id: &str) -> Option<&mut LiveSeat> {
        self.seats.iter_mut().find(|seat| seat.id == id)
    }

    pub(super) fn seats_mut(&mut self) -> impl Iterator<Item = &mut LiveSeat> {
        self.seats.iter_mut()
    }

    /// The seat that holds this leg.
    pub(super) fn seat_of_leg(&mut self, leg: LegId) -> Option<&mut LiveSeat> {
        self.seats.iter_mut().find(|seat| {
            seat.page_leg.as_ref().is_some_and(|page| page.leg == leg)
                || seat.endpoints.iter().any(|endpoint| endpoint.leg == leg)
        })
    }

    /// How many seats are in the call, and how many wait.
    pub(super) fn census(&self) -> (usize, usize) {
        let count = |wanted| self.seats.iter().filter(|seat| seat.presence() == wanted).count();
        (count(Presence::Present) + count(Presence::Reconnecting), count(Presence::Waiting))
    }

    /// Lets a waiting seat in. False when nothing changed.
    pub(super) fn admit(&mut self, id: &str) -> bool {
        let Some(seat) = self.seat_mut(id) else { return false };
        if seat.admission.is_admitted() {
            return false;
        }
        seat.admission = Admission::Admitted;
        if let Visit::Connected { since, .. } = &mut seat.visit {
            *since = Instant::now();
        }
        seat.channel.admit(seat.permissions);
        self.apply_policy(id);
        self.broadcast_roster();
        true
    }

    /// The seat was opened on another device. `out`: it waits there to be let in, and its page here has to stop; else it simply
    /// moves when the other one connects.
    pub(super) fn move_device(&mut self, id: &str, out: bool) {
        if out {
            self.withdraw(id, Admission::Waiting, CloseReason::MovedDevice);
        }
    }

    /// Every token of the seat was revoked: whoever sits there is put out.
    pub(super) fn revoke(&mut self, id: &str, admission: Admission) {
        self.withdraw(id, admission, CloseReason::Refused(ErrorCode::BadSession));
    }

    /// The seat's professional logged in.
    pub(super) fn log_in(&mut self, id: &str, _login: Login) {
        self.apply_policy(id);
    }

    /// Removes a seat from the room, or refuses it while it waits.
    pub(super) fn remove(&mut self, id: &str) {
        self.withdraw(id, Admission::Refused, CloseReason::Removed);
    }

    /// The seat left by itself; it may come back by its link.
    pub(super) fn leave(&mut self, id: &str) {
        let Some(seat) = self.seat_mut(id) else { return };
        seat.channel.close(CloseReason::Left);
        seat.visit = Visit::Absent;
        self.drop_page_leg(id);
        self.broadcast_roster();
    }

    fn withdraw(&mut self, id: &str, admission: Admission, reason: CloseReason) {
        let Some(seat) = self.seat_mut(id) else { return };
        seat.admission = admission;
        seat.channel.close(reason);
        seat.visit = Visit::Absent;
        let endpoints = std::mem::take(&mut seat.endpoints);
        self.apply_policy(id);
        self.drop_page_leg(id);
        for endpoint in endpoints {
            self.port.remove_leg(endpoint.leg);
        }
        self.broadcast_roster();
    }

    /// Stops a seat's source, or lets it again. False when there is no such seat.
    pub(super) fn mute(&mut self, id: &str, source: MediaSource, muted: bool) -> bool {
        let Some(seat) = self.seat_mut(id) else { return false };
        if std::mem::replace(seat.silenced.flag(source), muted) != muted {
            seat.channel.send(ServerMessage::Muted { source, muted });
            self.apply_policy(id);
            self.broadcast_roster();
        }
        true
    }

    /// Tells the media plane what the seat may do from now on.
    pub(super) fn apply_policy(&self, id: &str) {
        if let Some(seat) = self.seat(id) {
            let (room, policy) = (self.port.room, seat.policy());
            self.port.send_lossy(Command::SetPolicy { room, seat: seat.number, policy });
        }
    }

    /// Forgets the page's media connection of a seat.
    pub(super) fn drop_page_leg(&mut self, id: &str) {
        if let Some(seat) = self.seat_mut(id) {
            seat.sending = Sources::default();
            if let Some(page) = seat.page_leg.take() {
                seat.tracks.retain(|track| track.leg != page.leg);
                self.port.remove_leg(page.leg);
            }
        }
    }

    /// Ends the room for everyone.
    pub(super) fn end(&mut self) {
        for seat in &mut self.seats {
            seat.channel.close(CloseReason::Ended);
            seat.visit = Visit::Absent;
            seat.page_leg = None;
            seat.endpoints.clear();
        }
        self.close();
    }

    /// Closes the room when nobody is there any more. True when it is closed now.
    pub(super) fn close_if_empty(&mut self) -> bool {
        let empty = self.seats.iter().all(|seat| seat.visit == Visit::Absent && seat.endpoints.is_empty());
        if empty && !self.closed {
            self.close();
        }
        self.closed
    }

    /// The worker closed the room by mistake: opens it again.
    pub(super) fn reopen(&self, open: Command) {
        self.port.send_lossy(open);
    }

    fn close(&mut self) {
        self.closed = true;
        self.port.send_lossy(Command::CloseRoom(self.port.room));
    }

    /// Every connected seat gets the list of those it may know of.
    pub(super) fn broadcast_roster(&mut self) {
        for index in 0..self.seats.len() {
            if self.seats[index].visit != Visit::Absent {
                let roster = ServerMessage::Roster { seats: self.roster_for(&self.seats[index]) };
                self.seats[index].channel.send(roster);
            }
        }
    }

    /// Every admitted, connected seat gets this message.
    pub(super) fn broadcast_admitted(&mut self, message: &ServerMessage) {
        for seat in &mut self.seats {
            if seat.visit != Visit::Absent && seat.admission.is_admitted() {
                seat.channel.send(message.clone());
            }
        }
    }

    /// What a seat may know of the others. Before admission: itself, and whether somebody is there who may admit it,
    /// without a name.
    pub(super) fn roster_for(&self, viewer: &LiveSeat) -> Vec<SeatInfo> {
        let is_inside = viewer.admission.is_admitted();
        let sees_waiting = viewer.permissions.admit;
        let visible = |seat: &&LiveSeat| {
            let itself = seat.id == viewer.id;
            let inside = seat.admission.is_admitted() || (sees_waiting && seat.admission == Admission::Waiting);
            itself || seat.permissions.admit || (is_inside && inside)
        };
        let info = |seat: &LiveSeat| {
            if is_inside || seat.id == viewer.id { seat.info() } else { seat.info_before_admission() }
        };
        self.seats.iter().filter(visible).map(info).collect()
    }

    /// The protocol's form of a slot list.
    pub(super) fn slot_infos(&self, slots: &[SlotAssignment]) -> Vec<SlotInfo> {
        let info = |slot: &SlotAssignment| {
            let seat = self.seats.iter().find(|seat| seat.number == slot.seat)?;
            Some(SlotInfo {
                slot: slot.slot.0,
                seat: seat.id.clone(),
                source: media_source(slot.source),
                codec_missing: slot.codec_missing,
            })
        };
        slots.iter().filter_map(info).collect()
    }

    /// A track ended. False when the seat is of another room.
    pub(super) fn forget_track(&mut self, number: SeatId, track: TrackId) -> bool {
        let Some(seat) = self.seats.iter_mut().find(|seat| seat.number == number) else { return false };
        seat.tracks.retain(|live| live.track != track);
        self.broadcast_roster();
        true
    }

    /// The public identifier of a seat of the media plane.
    pub(super) fn public_id(&self, number: SeatId) -> Option<String> {
        self.seats.iter().find(|seat| seat.number == number).map(|seat| seat.id.clone())
    }
}

impl LiveSeat {
    /// Where it is.
    pub(super) fn presence(&self) -> Presence {
        let has_endpoint = |quiet| self.endpoints.iter().any(|endpoint| endpoint.connected && endpoint.quiet == quiet);
        let on_endpoint = has_endpoint(false);
        let quiet = self.page_leg.as_ref().is_some_and(|page| page.quiet);
        match (self.visit, self.admission.is_admitted()) {
            (Visit::Connected { .. }, true) if quiet && !on_endpoint => Presence::Reconnecting,
            (Visit::Connected { .. }, true) => Presence::Present,
            (Visit::Connected { .. }, false) => Presence::Waiting,
            (_, true) if on_endpoint => Presence::Present,
            (Visit::Away { .. }, true) => Presence::Reconnecting,
            (Visit::Absent, true) if has_endpoint(true) => Presence::Reconnecting,
            (Visit::Away { .. } | Visit::Absent, _) => Presence::Absent,
        }
    }

    /// What the media plane lets it do now.
    pub(super) fn policy(&self) -> SeatPolicy {
        if !self.admission.is_admitted() {
            return SeatPolicy::default();
        }
        SeatPolicy {
            microphone: self.base_policy.microphone && !self.silenced.microphone,
            camera: self.base_policy.camera && !self.silenced.camera,
            screen: self.base_policy.screen && !self.silenced.screen,
            ..self.base_policy
        }
    }

    fn info(&self) -> SeatInfo {
        let endpoint_sends = |source| {
            let is_endpoint = |leg| self.endpoints.iter().any(|endpoint| endpoint.leg == leg);
            self.tracks.iter().any(|track| track.source == source && is_endpoint(track.leg))
        };
        SeatInfo {
            seat: self.id.clone(),
            role: self.role,
            display_name: self.display_name.as_ref().map(|name| name.0.clone()),
            presence: self.presence(),
            microphone: !self.silenced.microphone && (self.sending.microphone || endpoint_sends(Source::Microphone)),
            camera: !self.silenced.camera && (self.sending.camera || endpoint_sends(Source::Camera)),
            screen: !self.silenced.screen && (self.sending.screen || endpoint_sends(Source::Screen)),
            gates_pending: false,
            other_device: false,
            third_person: None,
        }
    }

    fn info_before_admission(&self) -> SeatInfo {
        SeatInfo { display_name: None, microphone: false, camera: false, screen: false, ..self.info() }
    }
}

/// The protocol's word for a source.
pub(super) fn media_source(source: Source) -> MediaSource {
    match source {
        Source::Microphone => MediaSource::Microphone,
        Source::Camera => MediaSource::Camera,
        Source::Screen => MediaSource::Screen,
    }
}
