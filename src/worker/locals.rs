//! A worker's ends of all its local legs: frames from them to the `Sfu`, and from a batch back to them.
//!
//! Not here: the lines themselves (`local`). Invariant: a leg that the `Sfu` does not have keeps no line, so that its media
//! thread learns of it; a line whose media thread is gone keeps no leg.

use std::time::Instant;

use crate::drops::DropReason;
use crate::ids::LegId;
use crate::sfu::Sfu;
use crate::transport::batch::TransmitBatch;
use crate::transport::local::LocalBatch;

use super::local::WorkerPort;

/// The local legs of one worker.
#[derive(Default)]
pub(super) struct Locals {
    /// A telephone consultation has one or two, a worker a hundred: a list is searched faster than it is hashed.
    ports: Vec<WorkerPort>,
}

impl Locals {
    /// The line of a leg that the `Sfu` was just asked to add.
    pub(super) fn add(&mut self, port: WorkerPort) {
        self.ports.push(port);
    }

    /// Which line's turn it is, while there are any.
    pub(super) fn len(&self) -> usize {
        self.ports.len()
    }

    /// Hands the frames of one leg to the `Sfu`, and its end when its media thread is gone.
    pub(super) fn take_from(&mut self, at: usize, now: Instant, sfu: &mut Sfu, out: &mut TransmitBatch) {
        let Some(port) = self.ports.get_mut(at) else { return };
        let leg = port.leg();
        port.take(|frame| sfu.handle_local(now, leg, &frame, out));
        if !port.is_held() {
            sfu.handle_local_end(now, leg);
        }
    }

    /// Drops the lines of legs that are gone.
    pub(super) fn forget_gone(&mut self, sfu: &Sfu) {
        self.ports.retain(|port| sfu.has_local_leg(port.leg()));
    }

    /// Hands out what a batch holds for local legs.
    pub(super) fn deliver(&self, batch: &LocalBatch, sfu: &mut Sfu) {
        for (leg, frame) in batch.frames() {
            let given = self.port(leg).ok_or(DropReason::LocalLegGone);
            let given = given.and_then(|port| port.give(&frame).map_err(|_| DropReason::LocalFrameLength));
            if let Err(reason) = given {
                sfu.record_drops(reason, 1);
            }
        }
    }

    /// Counts what went unseen, and tells each leg what its listeners lose: a few times a second.
    pub(super) fn report(&self, sfu: &mut Sfu) {
        for port in &self.ports {
            let (up, down) = port.take_unseen();
            sfu.record_drops(DropReason::LocalUplinkFull, up);
            sfu.record_drops(DropReason::LocalDownlinkFull, down);
            port.set_listeners_loss(sfu.listeners_loss(port.leg()));
        }
    }

    fn port(&self, leg: LegId) -> Option<&WorkerPort> {
        self.ports.iter().find(|port| port.leg() == leg)
    }
}
