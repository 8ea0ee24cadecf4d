//! The load generator's own minimal media client: cheap enough that one core loads a server with a hundred legs.
//!
//! Real ICE checks, a real DTLS handshake, real SRTP on real sockets; what is missing is everything a decoder would do.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::histogram::Histogram;
use crate::leg::{LegPlan, Offer};
use crate::tally::{Milestones, Shared, Tally};

/// Media threads and the certificate that all legs present.
pub struct Engine {}

impl Engine {
    /// Starts the media threads and raises the limit of open files to what the system allows.
    pub fn start(_threads: usize, _shared: Shared) -> Result<Engine> {
        bail!("incomplete")
    }

    /// Binds a socket on the interface that reaches the server. Nothing is sent before the answer.
    pub fn open(&self, _server: SocketAddr, _plan: LegPlan) -> Result<Leg> {
        bail!("incomplete")
    }
}

/// One media connection. Dropping it ends it without counts.
pub struct Leg {}

impl Leg {
    /// The page-like offer: senders first, then slots.
    pub fn offer(&mut self) -> Result<Offer> {
        bail!("incomplete")
    }

    /// Takes the answer to the last offer and connects, or goes on with new ICE credentials.
    pub fn accept_answer(&mut self, _sdp: &str) -> Result<()> {
        bail!("incomplete")
    }

    /// Answers a server that offers, receive only, and connects. May be called again for later offers.
    pub fn answer(&mut self, _offer: &str) -> Result<String> {
        bail!("incomplete")
    }

    /// The same offer with new ICE credentials; [`Leg::accept_answer`] follows.
    pub fn restart_ice(&mut self) -> Result<Offer> {
        bail!("incomplete")
    }

    /// Goes on from a new UDP port, as after a change of network; the old one is dead at once.
    pub fn move_to_new_port(&mut self) -> Result<()> {
        bail!("incomplete")
    }

    /// True: the network is gone, nothing is sent or received. False: it is back.
    pub fn silence(&mut self, _silent: bool) -> Result<()> {
        bail!("incomplete")
    }

    /// Milestones are counted from this instant; those reached so far are forgotten (not `connected`, when DTLS is done).
    pub fn count_from(&mut self, _origin: Instant) -> Result<()> {
        bail!("incomplete")
    }

    /// Notes that the server welcomed the seat; the engine cannot know.
    pub fn set_welcomed(&mut self, _at: Instant) {}

    /// What was reached.
    #[must_use]
    pub fn milestones(&self) -> Milestones {
        Milestones::default()
    }

    /// Waits until `until` holds. An error when the deadline passes or the connection failed.
    pub async fn wait(&mut self, _until: impl Fn(&Milestones) -> bool, _deadline: Instant) -> Result<()> {
        bail!("incomplete")
    }

    /// The latency of what was counted since the last call; the tally at the end holds the rest.
    pub async fn take_latency(&mut self) -> Result<Histogram> {
        bail!("incomplete")
    }

    /// Ends the connection and gives what it counted.
    pub async fn close(self) -> Result<Tally> {
        bail!("incomplete")
    }
}
