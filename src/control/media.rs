//! The control plane's view of the media plane: place a room, send a command, say what answers must contain.
//!
//! The only implementations are the real workers and the recording stand-in of the tests. Media reports come the
//! other way, as `(WorkerId, Event)` through one channel, into `Consultations::handle_event`.

use std::net::SocketAddr;

use crate::ids::{LegId, RoomId, SeatId};
use crate::sfu::command::Command;
use crate::worker::WorkerId;
use crate::worker::local::LocalPort;
use crate::worker::pool::WorkerPool;

/// The worker's mailbox is full or the worker is gone: try later or elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the media worker is overloaded")]
pub struct MediaBusy;

/// Workers, seen from the control plane.
pub trait MediaPlane: Send + Sync {
    /// How many workers there are; their ids count from 0.
    fn workers(&self) -> usize;
    /// Queues a command; never waits. One that must arrive is refused only by a worker that is gone.
    fn try_send(&self, worker: WorkerId, command: Command) -> Result<(), MediaBusy>;
    /// Adds a leg to a seat whose far side is a thread of this process, which gets the port. Never waits. The seat's policy must
    /// have been sent.
    fn add_local_leg(&self, worker: WorkerId, room: RoomId, seat: SeatId, leg: LegId) -> Result<LocalPort, MediaBusy>;
    /// What answers advertise for rooms of this worker, most preferred first.
    fn candidates(&self, worker: WorkerId) -> &[SocketAddr];
    /// SHA-256 of the certificate that every leg of this process presents.
    fn fingerprint(&self) -> [u8; 32];
    /// Calls `each` with every published figure: worker, metric name without prefix, `reason` label, value.
    fn read_counters(&self, each: &mut dyn FnMut(WorkerId, &'static str, Option<&'static str>, u64));
}

impl MediaPlane for WorkerPool {
    fn workers(&self) -> usize {
        self.len()
    }

    fn try_send(&self, worker: WorkerId, command: Command) -> Result<(), MediaBusy> {
        WorkerPool::try_send(self, worker, command).map_err(|_| MediaBusy)
    }

    fn add_local_leg(&self, worker: WorkerId, room: RoomId, seat: SeatId, leg: LegId) -> Result<LocalPort, MediaBusy> {
        WorkerPool::add_local_leg(self, worker, room, seat, leg).map_err(|_| MediaBusy)
    }

    fn candidates(&self, worker: WorkerId) -> &[SocketAddr] {
        WorkerPool::candidates(self, worker)
    }

    fn fingerprint(&self) -> [u8; 32] {
        WorkerPool::fingerprint(self)
    }

    fn read_counters(&self, each: &mut dyn FnMut(WorkerId, &'static str, Option<&'static str>, u64)) {
        WorkerPool::read_counters(self, each);
    }
}
