//! The clinic's queues over the live rooms: tells whoever waits how many are before them, and finds the next one.
//!
//! A room says when its place in a queue changed ([`Lines::moved`], under its lock, so that it asks nothing of other rooms there);
//! one task asks all rooms of that queue in turn, and tells them. The order itself is `queue`'s.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use colloque_signaling::message::ServerMessage;
use tokio::sync::Notify;

use crate::store::ConsultationRecord;

use super::booking::{BookingError, ClinicId};
use super::room::Room;
use super::{Consultations, clock, queue};

/// Names a queue.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct LineKey {
    pub(super) clinic: String,
    pub(super) queue: String,
}

/// A consultation's place in its queue.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// A consultation of no queue is alone.
    pub(super) key: Option<LineKey>,
    starts_at: Option<i64>,
    created_at: i64,
    booking: i64,
    waiting: bool,
    in_progress: bool,
    ahead: u32,
    /// Expected begin, Unix seconds.
    begin: Option<i64>,
}

impl Line {
    pub(super) fn of(consultation: &ConsultationRecord) -> Self {
        let key = |queue: &String| LineKey { clinic: consultation.clinic.clone(), queue: queue.clone() };
        Self {
            key: consultation.queue.as_ref().map(key),
            starts_at: consultation.starts_at,
            created_at: consultation.created_at,
            booking: consultation.booking,
            waiting: false,
            in_progress: false,
            ahead: 0,
            begin: consultation.starts_at,
        }
    }

    /// Takes what the room has now. True when that is news for the queue.
    pub(super) fn set(&mut self, waiting: bool, in_progress: bool) -> bool {
        let news = (self.waiting, self.in_progress) != (waiting, in_progress);
        (self.waiting, self.in_progress) = (waiting, in_progress);
        news
    }

    /// What is told to whoever waits; nothing when there is nothing to say.
    pub(super) fn message(&self, practitioner: Option<String>, now: i64) -> Option<ServerMessage> {
        let seconds = |begin: i64| u32::try_from((begin - now).max(0)).unwrap_or(u32::MAX);
        // Alone, nobody knows by how much a begin that has passed is late.
        let begin = self.begin.filter(|&begin| self.key.is_some() || begin > now);
        let known = self.key.is_some() || begin.is_some() || practitioner.is_some();
        known.then(|| ServerMessage::Queue { ahead: self.ahead, expected_seconds: begin.map(seconds), practitioner })
    }

    fn place(&self, consultation: &str) -> queue::Place {
        queue::Place {
            consultation: consultation.to_owned(),
            starts_at: self.starts_at,
            created_at: self.created_at,
            booking: self.booking,
            waiting: self.waiting,
            in_progress: self.in_progress,
        }
    }
}

/// A consultation of a queue, as clinics see it.
#[derive(Clone, Debug)]
pub struct Queued {
    /// Public identifier.
    pub consultation: String,
    /// Planned begin, Unix seconds.
    pub starts_at: Option<i64>,
    /// Seats that wait to be let in.
    pub waiting: usize,
    /// Seats in the call.
    pub present: usize,
    /// Consultations with somebody waiting that are seen before.
    pub ahead: u32,
    /// Expected begin, Unix seconds.
    pub expected_at: Option<i64>,
}

/// Queues in which something changed.
#[derive(Default)]
pub(super) struct Lines {
    moved: Mutex<HashSet<LineKey>>,
    wake: Notify,
}

impl Lines {
    /// Something changed in this queue; nothing for a consultation of none.
    pub(super) fn moved(&self, key: Option<&LineKey>) {
        if let Some(key) = key {
            self.moved.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
            self.wake.notify_one();
        }
    }

    fn take(&self) -> HashSet<LineKey> {
        std::mem::take(&mut *self.moved.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Consultations {
    /// Keeps every queue up to date until the control plane is gone.
    pub(super) async fn follow_lines(lines: Arc<Lines>, consultations: Weak<Consultations>) {
        loop {
            lines.wake.notified().await;
            let Some(consultations) = consultations.upgrade() else { return };
            for key in lines.take() {
                consultations.tell_line(&key);
            }
        }
    }

    /// The consultations of a clinic's queue that are not over; none for a queue that nobody named.
    pub async fn queue(&self, clinic: &ClinicId, queue: &str) -> Result<Vec<Queued>, BookingError> {
        let booked = self.store.queue(&clinic.0, queue).await?;
        let mut found: Vec<(queue::Place, usize, usize)> = Vec::with_capacity(booked.len());
        for (consultation, _) in booked {
            let mut line = Line::of(&consultation);
            let (mut present, mut waiting) = (0, 0);
            if let Some(room) = self.live_room(&consultation.id) {
                let state = room.lock();
                line = state.line.clone();
                (present, waiting) = state.census();
            }
            found.push((line.place(&consultation.id), present, waiting));
        }
        let mut places: Vec<queue::Place> = found.iter().map(|(place, ..)| place.clone()).collect();
        queue::sort(&mut places);
        let now = clock::unix_now();
        let view = |place: &queue::Place| {
            let (_, present, waiting) = found.iter().find(|(found, ..)| found == place)?;
            Some(Queued {
                consultation: place.consultation.clone(),
                starts_at: place.starts_at,
                waiting: *waiting,
                present: *present,
                ahead: queue::ahead(&places, &place.consultation),
                expected_at: queue::expected_begin(&places, &place.consultation, now),
            })
        };
        Ok(places.iter().filter_map(view).collect())
    }

    /// The live consultations of a queue, in the order in which they are seen.
    pub(super) fn line(&self, key: &LineKey) -> Vec<queue::Place> {
        let rooms = self.rooms_of_line(key);
        let live = rooms.iter().filter_map(|room| {
            let state = room.lock();
            (!state.is_closed()).then(|| state.line.place(&room.consultation))
        });
        let mut places: Vec<queue::Place> = live.collect();
        queue::sort(&mut places);
        places
    }

    fn tell_line(&self, key: &LineKey) {
        let (places, now) = (self.line(key), clock::unix_now());
        for room in self.rooms_of_line(key) {
            let mut state = room.lock();
            state.line.ahead = queue::ahead(&places, &room.consultation);
            state.line.begin = queue::expected_begin(&places, &room.consultation, now);
            state.tell_queue();
        }
    }

    fn rooms_of_line(&self, key: &LineKey) -> Vec<Arc<Room>> {
        self.rooms.iter().filter(|room| room.line.as_ref() == Some(key)).map(|room| Arc::clone(&room)).collect()
    }
}
