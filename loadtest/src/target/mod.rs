//! What can be loaded: a server that opens rooms and seats people in them, behind one trait, so that every scenario
//! runs unchanged against each.
//!
//! ```text
//!   scenario ── open_room, join ──▶ Target ── signalling of its own ──▶ server
//!        │                            └── legs from the Engine ── UDP ──▶ server
//!        └── wait, leave ──▶ Seat (holds its legs, answers its signalling by itself)
//! ```
//!
//! A target knows nothing of what is measured; legs stamp and count by themselves ([`crate::tally`]). Scenarios are
//! generic over the target: nothing here is `dyn`. To add a server, write one file beside `colloque.rs`.

pub mod colloque;
pub mod janus;
mod janus_api;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::engine::Engine;
use crate::histogram::Histogram;
use crate::leg::LegPlan;
use crate::light::Replayer;
use crate::overheard::Overheard;
use crate::tally::{Milestones, Tally};

/// A server under load. Cheap to clone: every seat's task has one.
pub trait Target: Clone + Send + Sync + 'static {
    /// An open room; shared by the tasks of its seats.
    type Room: Clone + Send + Sync + 'static;
    /// Somebody who joined.
    type Seat: Seat;

    /// What `--target` and the report call it.
    fn name(&self) -> &'static str;

    /// How the server's threads that carry media are called (beginning of `/proc/PID/task/*/comm`); `None` when they
    /// cannot be told apart.
    fn media_threads(&self) -> Option<&'static str>;

    /// Opens a room for so many people. Nobody is in it yet. Not part of any measured time.
    fn open_room(&self, seats: usize) -> impl Future<Output = Result<Self::Room>> + Send;

    /// Seats the person of this index (0 to `seats` - 1, each once; 0 is the host) in the room: signalling, offer and
    /// answer, ICE and DTLS started. Returns when the answer was taken, not when media flows: that is
    /// [`Seat::wait`]'s to see.
    ///
    /// The seat sends `plan.voice` and `plan.camera`, stamped with `plan.number`, and receives the voice and camera of
    /// up to `plan.slots` others, also of those who join later. A target that needs several legs for this (one to
    /// send, one to receive) gives each the same `plan.number`, sending in one of them only.
    ///
    /// `started` is the zero of the seat's milestones. The caller takes it right before the call.
    fn join(
        &self,
        engine: &Engine,
        room: &Self::Room,
        index: usize,
        plan: LegPlan,
        started: Instant,
    ) -> impl Future<Output = Result<Self::Seat>> + Send;

    /// Closes the room for whoever is still in it.
    fn close_room(&self, room: Self::Room) -> impl Future<Output = Result<()>> + Send;
}

/// Somebody in a room. Signalling that the server expects in the meantime (acknowledgements, keep-alives, answers to
/// its offers) goes on by itself until `leave`.
pub trait Seat: Send + 'static {
    /// How far it came, each step counted from `started`. With several legs: the earliest of each step over those
    /// that can reach it.
    fn milestones(&self) -> Milestones;

    /// Waits until `until` is true of the milestones. An error when the deadline passes, or when the seat was lost
    /// (signalling closed, ICE or DTLS failed).
    fn wait(
        &mut self,
        until: impl Fn(&Milestones) -> bool + Send,
        deadline: Instant,
    ) -> impl Future<Output = Result<()>> + Send;

    /// The latency of what was counted since the last call; the tally at the end holds the rest.
    fn take_latency(&mut self) -> impl Future<Output = Result<Histogram>> + Send;

    /// Leaves for good. Gives what its legs sent and received while counting, added up.
    fn leave(self) -> impl Future<Output = Result<Tally>> + Send;

    /// Why the seat was lost without anybody asking for it; `None` while it is well.
    fn failure(&self) -> Option<String>;

    /// Where its media goes to, for scenarios that send junk there; `None` when the server does not tell.
    fn media_address(&self) -> Option<MediaAddress> {
        None
    }

    /// The last datagrams of each class that it sent, when the run keeps them ([`crate::tally::Shared::overhears`]).
    fn overheard(&mut self) -> impl Future<Output = Result<Vec<Overheard>>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Sends them again from its own socket; `None` where that cannot be.
    fn replayer(&self) -> Option<Replayer> {
        None
    }

    /// Loses all of its connections at once, as in a tunnel: the signalling socket breaks without a word, media is
    /// neither sent nor received. The server is not told.
    fn lose_network(&mut self) -> impl Future<Output = Result<()>> + Send {
        async { bail!("this target's seats cannot come back") }
    }

    /// Comes back after [`Seat::lose_network`] from a new UDP port: signalling resumed, ICE restarted. Returns when the
    /// answer was taken. Its milestones begin anew, counted from `started`: they tell when media came again.
    fn come_back(&mut self, started: Instant) -> impl Future<Output = Result<()>> + Send {
        let _ = started;
        async { bail!("this target's seats cannot come back") }
    }
}

/// A seat's address on the server, as its answer told it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MediaAddress {
    /// Of the first candidate.
    pub address: SocketAddr,
    /// What this leg's connectivity checks name: the server's user name fragment and its own.
    pub user: String,
}
