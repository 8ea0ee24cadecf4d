//! Which WebRTC stack the legs use: our own light one, which loads a server from one core, or the `webrtc` crate's real
//! peer connections, slow but independent. Both stamp and count alike.
//!
//! Not here: what a leg is for (`target`), and str0m (`connection`), which serves the server's tests.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::histogram::Histogram;
use crate::leg::{LegPlan, Offer};
use crate::overheard::Overheard;
use crate::tally::{Milestones, Shared, Tally};
use crate::{light, webrtc_leg};

/// The name of an engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Kind {
    /// Our own media client.
    #[default]
    Light,
    /// The `webrtc` crate.
    Webrtc,
}

/// Makes legs.
pub enum Engine {
    /// Our own.
    Light(light::Engine),
    /// The crate's.
    Webrtc(webrtc_leg::Engine),
}

/// One media connection of either engine.
#[expect(clippy::large_enum_variant, reason = "one a person, and moved once")]
pub enum Leg {
    /// Our own.
    Light(light::Leg),
    /// The crate's.
    Webrtc(webrtc_leg::Leg),
}

impl Kind {
    /// On the command line and in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Light => "light",
            Kind::Webrtc => "webrtc",
        }
    }

    /// How the names of its media threads begin; `None` when it has none of its own.
    #[must_use]
    pub fn media_threads(self) -> Option<&'static str> {
        match self {
            Kind::Light => Some(light::THREADS),
            Kind::Webrtc => None,
        }
    }

    /// How it receives; figures of different sinks do not compare.
    #[must_use]
    pub fn sink(self) -> &'static str {
        match self {
            Kind::Light => "GRO sockets",
            Kind::Webrtc => "sockets of the webrtc crate",
        }
    }
}

impl Engine {
    /// Starts it; `threads` is for the light engine, the other runs in the caller's runtime.
    pub fn start(kind: Kind, threads: usize, shared: Shared) -> Result<Self> {
        Ok(match kind {
            Kind::Light => Engine::Light(light::Engine::start(threads, shared)?),
            Kind::Webrtc => Engine::Webrtc(webrtc_leg::Engine::new(shared)?),
        })
    }

    /// A leg that will talk to this server. Nothing is sent yet.
    pub fn open(&self, server: SocketAddr, plan: LegPlan) -> Result<Leg> {
        Ok(match self {
            Engine::Light(engine) => Leg::Light(engine.open(server, plan)?),
            Engine::Webrtc(engine) => Leg::Webrtc(engine.open(server, plan)?),
        })
    }
}

impl Leg {
    /// A page-like offer: senders first, then slots.
    pub async fn offer(&mut self) -> Result<Offer> {
        match self {
            Leg::Light(leg) => leg.offer(),
            Leg::Webrtc(leg) => leg.offer().await,
        }
    }

    /// Takes the answer to the last offer and connects, or goes on with new ICE credentials.
    pub async fn accept_answer(&mut self, sdp: &str) -> Result<()> {
        match self {
            Leg::Light(leg) => leg.accept_answer(sdp),
            Leg::Webrtc(leg) => leg.accept_answer(sdp).await,
        }
    }

    /// Answers a server that offers, receive only, and connects. May be called again for later offers.
    pub async fn answer(&mut self, offer: &str) -> Result<String> {
        match self {
            Leg::Light(leg) => leg.answer(offer),
            Leg::Webrtc(_) => bail!("--engine webrtc does not answer servers that offer; use --engine light"),
        }
    }

    /// The same offer with new ICE credentials; [`Leg::accept_answer`] follows.
    pub async fn restart_ice(&mut self) -> Result<Offer> {
        match self {
            Leg::Light(leg) => leg.restart_ice(),
            Leg::Webrtc(_) => bail!(NO_RECONNECT),
        }
    }

    /// Goes on from a new UDP port, as after a change of network; the old one is dead at once.
    pub fn move_to_new_port(&mut self) -> Result<()> {
        match self {
            Leg::Light(leg) => leg.move_to_new_port(),
            Leg::Webrtc(_) => bail!(NO_RECONNECT),
        }
    }

    /// True: the network is gone, nothing is sent or received. False: it is back.
    pub fn silence(&mut self, silent: bool) -> Result<()> {
        match self {
            Leg::Light(leg) => leg.silence(silent),
            Leg::Webrtc(_) => bail!(NO_RECONNECT),
        }
    }

    /// Milestones are counted from this instant; those reached so far are forgotten (not `connected`, when DTLS is
    /// done).
    pub fn count_from(&mut self, origin: Instant) -> Result<()> {
        match self {
            Leg::Light(leg) => leg.count_from(origin),
            Leg::Webrtc(leg) => {
                leg.count_from(origin);
                Ok(())
            }
        }
    }

    /// Notes that the server welcomed the seat; the engine cannot know.
    pub fn set_welcomed(&mut self, at: Instant) {
        match self {
            Leg::Light(leg) => leg.set_welcomed(at),
            Leg::Webrtc(leg) => leg.set_welcomed(at),
        }
    }

    /// What was reached.
    #[must_use]
    pub fn milestones(&self) -> Milestones {
        match self {
            Leg::Light(leg) => leg.milestones(),
            Leg::Webrtc(leg) => leg.milestones(),
        }
    }

    /// Waits until `until` holds. An error when the deadline passes or the connection failed.
    pub async fn wait(&mut self, until: impl Fn(&Milestones) -> bool, deadline: Instant) -> Result<()> {
        match self {
            Leg::Light(leg) => leg.wait(until, deadline).await,
            Leg::Webrtc(leg) => leg.wait(until, deadline).await,
        }
    }

    /// The latency of what was counted since the last call; the tally at the end holds the rest.
    pub async fn take_latency(&mut self) -> Result<Histogram> {
        match self {
            Leg::Light(leg) => leg.take_latency().await,
            Leg::Webrtc(leg) => Ok(leg.take_latency()),
        }
    }

    /// The last datagrams of each class that it sent, when the run keeps them; none of the `webrtc` crate's.
    pub async fn overheard(&mut self) -> Result<Vec<Overheard>> {
        match self {
            Leg::Light(leg) => leg.overheard().await,
            Leg::Webrtc(_) => Ok(Vec::new()),
        }
    }

    /// Sends them again from the leg's own socket; `None` where that cannot be.
    #[must_use]
    pub fn replayer(&self) -> Option<light::Replayer> {
        match self {
            Leg::Light(leg) => Some(leg.replayer()),
            Leg::Webrtc(_) => None,
        }
    }

    /// Ends the connection and gives what it counted.
    pub async fn close(self) -> Result<Tally> {
        match self {
            Leg::Light(leg) => leg.close().await,
            Leg::Webrtc(leg) => leg.close().await,
        }
    }
}

const NO_RECONNECT: &str = "--engine webrtc cannot lose its network on purpose; use --engine light";
