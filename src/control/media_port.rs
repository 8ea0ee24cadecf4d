//! The way from a room to its worker, with the legs whose reports find the room by it.
//!
//! Not here: the media plane itself, and what a command does there.

use std::sync::Arc;

use dashmap::DashMap;

use crate::ids::{LegId, RoomId};
use crate::sfu::command::Command;
use crate::worker::WorkerId;

use super::media::{MediaBusy, MediaPlane};

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
