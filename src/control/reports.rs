//! What the media plane reports, turned into messages for pages, presence, and metrics.
//!
//! Rare events only, in the order each worker sent them. A report about a leg or room that is gone is ignored.

use std::sync::Arc;
use std::time::Instant;

use colloque_signaling::message::{MediaState, ServerMessage};

use crate::ids::{LegId, RoomId};
use crate::sfu::command::{Command, Event};
use crate::worker::WorkerId;

use super::Consultations;
use super::facts::{Cause, Departure, Fact};
use super::room::{Room, RoomState};
use super::seat::{LiveSeat, LiveTrack, Visit};

impl Consultations {
    /// Takes one report.
    pub fn handle_event(&self, worker: WorkerId, event: Event) {
        match event {
            Event::LegConnected { leg, profile, dtls_version, dtls_group } => {
                tracing::debug!(%leg, worker = worker.0, ?profile, dtls_version, dtls_group, "leg connected");
                let security = Fact::MediaSecured {
                    dtls: dtls_version.to_owned(),
                    group: dtls_group.to_owned(),
                    srtp: profile.name().to_owned(),
                };
                self.with_leg(leg, |state| leg_connected(state, leg, &security));
            }
            Event::LegFailed { leg, reason } => {
                tracing::info!(%leg, worker = worker.0, %reason, "leg failed");
                self.with_leg(leg, |state| incident(state, leg, Cause::HandshakeFailed));
                self.leg_gone(leg);
            }
            Event::LegSilent(leg) => self.with_leg(leg, |state| {
                incident(state, leg, Cause::MediaSilent);
                tell_page(state, leg, MediaState::Silent);
            }),
            Event::LegBack(leg) => self.with_leg(leg, |state| tell_page(state, leg, MediaState::Connected)),
            Event::LegQuiet { leg, since } => self.with_leg(leg, |state| set_quiet(state, leg, Some(since))),
            Event::LegHeard(leg) => self.with_leg(leg, |state| set_quiet(state, leg, None)),
            Event::LegGone(leg) => {
                self.with_leg(leg, |state| {
                    if was_awaited_in_vain(state, leg) {
                        incident(state, leg, Cause::MediaUnreachable);
                    }
                });
                self.leg_gone(leg);
            }
            Event::TrackStarted { leg, track, source, .. } => self.with_leg(leg, |state| {
                if let Some(seat) = state.seat_of_leg(leg) {
                    seat.tracks.push(LiveTrack { track, leg, source });
                    state.settle();
                }
            }),
            Event::TrackEnded { seat, track, .. } => {
                // The leg may be gone already, so the room is found by the seat.
                for room in self.rooms_of(worker) {
                    let mut state = room.lock();
                    if state.forget_track(seat, track) {
                        break;
                    }
                }
            }
            Event::SlotsChanged { leg, slots } => self.with_leg(leg, |state| {
                let slots = state.slot_infos(&slots);
                if let Some(seat) = page_of(state, leg) {
                    seat.channel.send(ServerMessage::Slots { slots });
                }
            }),
            Event::SpeakerChanged { room, seat } => self.with_room(room, |state| {
                let seat = seat.and_then(|seat| state.public_id(seat));
                state.broadcast_inside(&ServerMessage::Speaker { seat });
            }),
            Event::FirstForwarded(leg) => self.with_leg(leg, |state| {
                let due_since = page_of(state, leg).and_then(|seat| seat.page_leg.as_mut()?.due_since.take());
                if let Some(since) = due_since {
                    self.metrics.join_latency.observe(since.elapsed().as_secs_f64());
                }
            }),
            Event::RoomFailed(room) => {
                tracing::error!(%room, worker = worker.0, "a room failed on its worker and was opened again");
                self.with_room(room, |state| room_failed(state, room));
                self.legs.retain(|_, of| *of != room);
            }
        }
    }

    fn leg_gone(&self, leg: LegId) {
        let Some((_, room)) = self.legs.remove(&leg) else { return };
        let Some(room) = self.room_numbered(room) else { return };
        let mut state = room.lock();
        tell_page(&mut state, leg, MediaState::Gone);
        if let Some(seat) = state.seat_of_leg(leg) {
            seat.tracks.retain(|track| track.leg != leg);
            seat.endpoints.retain(|endpoint| endpoint.leg != leg);
            if seat.page_leg.as_ref().is_some_and(|page| page.leg == leg) {
                seat.page_leg = None;
            }
            if let Some(line) = seat.phone.on_line_mut().filter(|line| line.leg == Some(leg)) {
                line.leg = None;
            }
            if seat.visit == Visit::Absent && !seat.is_taken() {
                seat.departure = Departure::Lost;
            }
            state.settle();
        }
        self.close_if_empty(&room, state);
    }

    fn with_leg(&self, leg: LegId, act: impl FnOnce(&mut RoomState)) {
        if let Some(room) = self.legs.get(&leg).map(|entry| *entry) {
            self.with_room(room, act);
        }
    }

    fn with_room(&self, room: RoomId, act: impl FnOnce(&mut RoomState)) {
        if let Some(room) = self.room_numbered(room) {
            act(&mut room.lock());
        }
    }

    /// A clone, so that the map's lock is not held while the room's is taken.
    fn room_numbered(&self, room: RoomId) -> Option<Arc<Room>> {
        self.rooms_by_number.get(&room).map(|entry| Arc::clone(&entry))
    }

    fn rooms_of(&self, worker: WorkerId) -> Vec<Arc<Room>> {
        self.rooms_by_number.iter().filter(|room| room.port.worker == worker).map(|room| Arc::clone(&room)).collect()
    }
}

/// The seat whose page has this leg; endpoints have no socket to tell.
fn page_of(state: &mut RoomState, leg: LegId) -> Option<&mut LiveSeat> {
    state.seats_mut().find(|seat| seat.page_leg.as_ref().is_some_and(|page| page.leg == leg))
}

fn tell_page(state: &mut RoomState, leg: LegId, media: MediaState) {
    if let Some(seat) = page_of(state, leg) {
        seat.channel.send(ServerMessage::Media { state: media });
    }
}

/// Others see within seconds that a network is gone: long before its TCP connection notices, and of a device, which has
/// none, at all.
fn set_quiet(state: &mut RoomState, leg: LegId, since: Option<Instant>) {
    let Some(seat) = state.seat_of_leg(leg) else { return };
    if let Some(page) = seat.page_leg.as_mut().filter(|page| page.leg == leg) {
        page.quiet_since = since;
    } else if let Some(endpoint) = seat.endpoints.iter_mut().find(|endpoint| endpoint.leg == leg) {
        endpoint.quiet = since.is_some();
    }
    state.settle();
}

fn leg_connected(state: &mut RoomState, leg: LegId, security: &Fact) {
    tell_page(state, leg, MediaState::Connected);
    let Some(seat) = state.seat_of_leg(leg) else { return };
    if let Some(page) = seat.page_leg.as_mut().filter(|page| page.leg == leg) {
        page.connected = true;
    } else if let Some(endpoint) = seat.endpoints.iter_mut().find(|endpoint| endpoint.leg == leg) {
        endpoint.connected = true;
    }
    let id = seat.id.clone();
    // First that it is there, then how.
    state.settle();
    state.chronicle.tell(&id, security);
}

fn incident(state: &mut RoomState, leg: LegId, cause: Cause) {
    if let Some(id) = state.seat_of_leg(leg).map(|seat| seat.id.clone()) {
        state.tell_incident(&id, cause, Instant::now());
    }
}

/// A leg that never stood, though its page still waits for it. One that stood fell silent before, or was closed by the page.
fn was_awaited_in_vain(state: &mut RoomState, leg: LegId) -> bool {
    page_of(state, leg).is_some_and(|seat| {
        let stood = seat.page_leg.as_ref().is_some_and(|page| page.connected);
        !stood && matches!(seat.visit, Visit::Connected { .. })
    })
}

/// Every leg of the room is gone; pages make new ones in a fresh room under the same number.
fn room_failed(state: &mut RoomState, room: RoomId) {
    state.reopen(Command::OpenRoom(room));
    let now = Instant::now();
    let there = state.seats.iter().filter(|seat| seat.attends()).map(|seat| seat.id.clone());
    for id in there.collect::<Vec<_>>() {
        state.tell_incident(&id, Cause::ServerFault, now);
    }
    for seat in state.seats_mut() {
        seat.tracks.clear();
        seat.endpoints.clear();
        if let Some(line) = seat.phone.on_line_mut() {
            line.leg = None;
        }
        if seat.page_leg.take().is_some() {
            seat.channel.send(ServerMessage::Media { state: MediaState::Gone });
        }
    }
    state.settle();
}
