//! The only media I/O: one pinned thread owns one `Sfu`, its UDP sockets and its clock.
//!
//! ```text
//!   control --Command--> mailbox --+                         +--> events --> control
//!                                  v                         |
//!   kernel --recvmmsg + GRO--> run loop --handle, flush--> Sfu --> TransmitBatch --sendmmsg + GSO--> kernel
//!   threads of this process (telephone) <--- LocalPort, frames ---> run loop
//! ```
//!
//! Not here: any decision about media. Invariants: a room never leaves its worker; no lock, channel or allocation
//! per packet; a panic in the `Sfu` closes one room and nothing else.

pub mod bell;
pub mod counters;
mod filter;
pub mod grants;
mod kernel_drops;
pub mod local;
mod locals;
#[cfg(test)]
mod locals_tests;
mod mailbox;
pub mod pool;
mod run_loop;
pub mod socket;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use tokio::sync::mpsc;

use crate::ids::{LegId, RoomId, SeatId};
use crate::sfu::Sfu;
use crate::sfu::command::{Command, Event};
use counters::PublishedCounters;
use grants::Grants;
use local::LocalPort;
use mailbox::{Letter, Outbox, mailbox};
use run_loop::RunLoop;
use socket::MediaSocket;

/// Number of a worker in its process, from 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WorkerId(pub usize);

/// The mailbox is full: the worker is overloaded or gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the media worker does not take commands now")]
pub struct WorkerBusy;

/// The control plane's end of a worker. The thread ends when every handle is dropped.
#[derive(Clone)]
pub struct WorkerHandle {
    id: WorkerId,
    mailbox: Outbox,
    addresses: Arc<[SocketAddr]>,
    grants: Grants,
    counters: Arc<PublishedCounters>,
}

impl WorkerHandle {
    /// Binds one socket per address and starts the thread, pinned to the `id`-th core this process may use.
    ///
    /// # Errors
    /// An address cannot be bound, or the system has no thread or epoll instance left.
    pub fn spawn(
        id: WorkerId,
        addresses: &[SocketAddr],
        sfu: Sfu,
        events: mpsc::Sender<(WorkerId, Event)>,
    ) -> io::Result<Self> {
        let sockets = addresses.iter().map(|&address| MediaSocket::bind(address)).collect::<io::Result<Vec<_>>>()?;
        let grants = Grants::of(&sockets);
        let bound: Arc<[SocketAddr]> = sockets.iter().map(MediaSocket::address).collect();
        let (mailbox, inbox) = mailbox()?;
        let counters = Arc::new(PublishedCounters::new());
        let counters_of_loop = Arc::clone(&counters);
        let run = move || {
            pin_to_core(id);
            match RunLoop::new(id, sfu, sockets, inbox, events, counters_of_loop) {
                Ok(mut run_loop) => run_loop.run(),
                Err(error) => tracing::error!(worker = id.0, %error, "the media worker cannot poll its sockets"),
            }
        };
        thread::Builder::new().name(format!("media-{}", id.0)).spawn(run)?;
        Ok(Self { id, mailbox, addresses: bound, grants, counters })
    }

    /// Queues a command; never waits. One that must arrive ([`Command::must_arrive`]) is done before the next packet is
    /// forwarded, however much waits.
    ///
    /// # Errors
    /// The worker ended; or the mailbox is full, and the command may be refused.
    pub fn try_send(&self, command: Command) -> Result<(), WorkerBusy> {
        self.mailbox.post(Letter::Command(command))
    }

    /// Adds a leg to a seat whose far side is a thread of this process, which gets the port; never waits. The room and the
    /// seat's policy must exist: else the port closes again.
    ///
    /// # Errors
    /// The worker ended, or its mailbox is full.
    pub fn add_local_leg(&self, room: RoomId, seat: SeatId, leg: LegId) -> Result<LocalPort, WorkerBusy> {
        let (port, worker_port) = local::line(leg, self.mailbox.bell().clone());
        self.mailbox.post(Letter::LocalLeg(Command::AddLocalLeg { room, seat, leg }, worker_port))?;
        Ok(port)
    }

    /// Which worker this is.
    #[must_use]
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// The bound addresses, in the order given to [`WorkerHandle::spawn`], with real ports.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What the kernel granted to its sockets.
    #[must_use]
    pub fn grants(&self) -> Grants {
        self.grants
    }

    /// The worker's published figures.
    #[must_use]
    pub fn counters(&self) -> &PublishedCounters {
        &self.counters
    }
}

fn pin_to_core(id: WorkerId) {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
    if cores.is_empty() {
        return;
    }
    let mut only = CpuSet::new();
    only.set(cores[id.0 % cores.len()]);
    // A container may forbid it: then the scheduler places us, slower but right.
    sched_setaffinity(None, &only).ok();
}
