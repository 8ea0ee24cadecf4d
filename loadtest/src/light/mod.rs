//! The load generator's own minimal media client: cheap enough that one core loads a server with a hundred legs.
//!
//! Real ICE checks, a real DTLS handshake, real SRTP on real sockets, NACK and RTX, reports and transport-wide
//! feedback; what is missing is everything that a decoder would do.
//!
//! ```text
//!   Engine --> Mailbox --> thread (epoll, heap) --> wire (one leg) --> ice, dtls, send, receive
//!   Leg ---- orders ------------^                        `---- Progress, Tally ----> Leg
//! ```
//!
//! It buys its price with independence: packets, SRTP, DTLS and sockets are those of the `colloque` crate. What judges
//! the server's protocols is str0m (`connection`) and the browsers; this engine only loads. Its sink is GRO sockets:
//! the kernel hands over coalesced datagrams, and a packet's time of arrival is the kernel's.

mod ice;
mod impair;
mod receive;
mod sdp;
mod send;
mod thread;
mod window;
mod wire;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use colloque::transport::boring_dtls::BoringAcceptor;
use colloque::transport::dtls::DtlsAcceptor;
use colloque::worker::socket::MediaSocket;
use colloque_signaling::message::{MediaSource, SenderInfo};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::sync::{oneshot, watch};
use tokio::time::{timeout, timeout_at};

use self::ice::{Credentials, Role};
use self::receive::Slot;
use self::sdp::{Content, Description, Kind, Ours, RIDS, Section};
use self::send::{Identity, Sending, Source};
pub use self::thread::THREADS;
use self::thread::{LegId, Mailbox, Order};
use self::wire::{Parameters, Progress, Renegotiated};
use crate::histogram::Histogram;
use crate::leg::{Camera, LAYERS_MAX, LegPlan, Offer, camera_stream, voice_stream};
use crate::media::{Encoding, OpusSource, Vp8Source};
use crate::overheard::{Overheard, Replays};
use crate::tally::{Milestones, Shared, Tally};

/// Media threads and the certificate that all legs present.
pub struct Engine {
    threads: Vec<Mailbox>,
    next: AtomicUsize,
    acceptor: BoringAcceptor,
    shared: Shared,
}

impl Engine {
    /// Starts the media threads and raises the limit of open files to what the system allows.
    pub fn start(threads: usize, shared: Shared) -> Result<Engine> {
        ensure!(threads > 0, "an engine needs a thread");
        raise_file_limit();
        Ok(Self {
            threads: (0..threads).map(Mailbox::spawn).collect::<Result<_>>()?,
            next: AtomicUsize::new(0),
            acceptor: BoringAcceptor::new().context("a certificate")?,
            shared,
        })
    }

    /// Binds a socket on the interface that reaches the server. Nothing is sent before the answer.
    pub fn open(&self, server: SocketAddr, plan: LegPlan) -> Result<Leg> {
        static LEGS: AtomicU64 = AtomicU64::new(0);
        if let Some(camera) = plan.camera {
            ensure!(camera.layers == 1 || camera.layers == LAYERS_MAX, "a camera has 1 or {LAYERS_MAX} layers");
            ensure!(camera.frames_per_second > 0, "a camera without frames");
        }
        let thread = self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len();
        let local = own_address(server)?;
        let socket = MediaSocket::bind_unfiltered(SocketAddr::new(local, 0)).context("no socket")?;
        let (progress_sender, progress) = watch::channel(Progress::default());
        let (connection, address) = (Connection::Unused(Box::new((socket, progress_sender))), local);
        let mut leg = Leg {
            id: LEGS.fetch_add(1, Ordering::Relaxed),
            mailbox: self.threads[thread].clone(),
            acceptor: self.acceptor.clone(),
            shared: self.shared.clone(),
            server,
            plan,
            address: SocketAddr::new(address, 0),
            sections: Vec::new(),
            local: Credentials::random(),
            remote: None,
            revision: 0,
            connection,
            progress,
            origin: Instant::now(),
            generation: 0,
            welcomed: None,
            answered: None,
        };
        leg.note_address();
        Ok(leg)
    }
}

/// One media connection. Dropping it ends it without counts.
pub struct Leg {
    id: LegId,
    mailbox: Mailbox,
    acceptor: BoringAcceptor,
    shared: Shared,
    server: SocketAddr,
    plan: LegPlan,
    address: SocketAddr,
    sections: Vec<Section>,
    local: Credentials,
    /// The far side's credentials as last heard.
    remote: Option<Credentials>,
    revision: u64,
    connection: Connection,
    progress: watch::Receiver<Progress>,
    origin: Instant,
    generation: u32,
    welcomed: Option<Instant>,
    answered: Option<Instant>,
}

/// Makes a leg send again what it sent last, while others hold the leg.
#[derive(Clone)]
pub struct Replayer {
    id: LegId,
    mailbox: Mailbox,
}

impl Replayer {
    /// Sends it from the leg's own socket, byte for byte; how much it was. Nothing when the run does not keep it
    /// ([`Shared::overhears`]).
    pub async fn replay(&self) -> Result<Replays> {
        let (reply, sent) = oneshot::channel();
        self.mailbox.send(self.id, Order::Replay(reply))?;
        Ok(timeout(REPLY_TIME_MAX, sent).await??)
    }
}

/// Who holds the socket.
enum Connection {
    /// The handle: nothing was negotiated yet.
    Unused(Box<(MediaSocket, watch::Sender<Progress>)>),
    /// The media thread; `restarting` when our credentials are new since the last answer.
    Threaded {
        restarting: bool,
    },
    Closed,
}

impl Leg {
    /// The page-like offer: senders first, then slots.
    pub fn offer(&mut self) -> Result<Offer> {
        if self.sections.is_empty() {
            self.sections = sections(&self.plan);
        }
        ensure!(!self.sections.is_empty(), "a leg that neither sends nor receives");
        self.revision += 1;
        let ours = Ours {
            credentials: &self.local,
            fingerprint: &self.acceptor.fingerprint(),
            address: self.address,
            revision: self.revision,
        };
        let senders = self.sections.iter().filter(|section| matches!(section.content, Content::Sends(_)));
        let senders = senders.map(|section| {
            let source = if section.kind == Kind::Voice { MediaSource::Microphone } else { MediaSource::Camera };
            SenderInfo { mid: section.mid.clone(), source }
        });
        Ok(Offer { sdp: sdp::write_offer(&self.sections, &ours), senders: senders.collect() })
    }

    /// Takes the answer to the last offer and connects, or goes on with new ICE credentials.
    pub fn accept_answer(&mut self, sdp: &str) -> Result<()> {
        let answer = Description::parse(sdp)?;
        let mut senders = Vec::new();
        let mut slots = Vec::new();
        for section in &self.sections {
            let Some(media) = answer.by_mid(&section.mid) else { continue };
            match &section.content {
                Content::Receives => slots.extend(slot(media)),
                Content::Sends(layers) if media.receives() => {
                    senders.extend(self.senders(section, layers, media)?);
                }
                Content::Sends(_) => bail!("the far side refused the {:?} that it was offered", section.kind),
            }
        }
        self.negotiated(&answer, Role::Controlling, senders, slots)
    }

    /// Answers a server that offers, receive only, and connects. May be called again for later offers.
    pub fn answer(&mut self, offer: &str) -> Result<String> {
        let offer = Description::parse(offer)?;
        let remote = offer.remote()?;
        ensure!(!remote.active, "an offer must let us be the DTLS client");
        if self.remote.as_ref().is_some_and(|before| *before != remote.credentials) {
            self.renew_credentials();
        }
        let slots = offer.media.iter().filter_map(slot).collect();
        let role = if offer.is_lite() { Role::Controlling } else { Role::Controlled };
        self.negotiated(&offer, role, Vec::new(), slots)?;
        self.revision += 1;
        let ours = Ours {
            credentials: &self.local,
            fingerprint: &self.acceptor.fingerprint(),
            address: self.address,
            revision: self.revision,
        };
        Ok(sdp::write_answer(&offer, &ours))
    }

    /// The same offer with new ICE credentials; [`Leg::accept_answer`] follows.
    pub fn restart_ice(&mut self) -> Result<Offer> {
        self.renew_credentials();
        self.offer()
    }

    /// Goes on from a new UDP port, as after a change of network; the old one is dead at once.
    pub fn move_to_new_port(&mut self) -> Result<()> {
        let socket = MediaSocket::bind_unfiltered(SocketAddr::new(self.address.ip(), 0)).context("no socket")?;
        self.address = socket.address();
        match &mut self.connection {
            Connection::Unused(unused) => unused.0 = socket,
            Connection::Threaded { .. } => self.mailbox.send(self.id, Order::UseSocket(socket))?,
            Connection::Closed => {}
        }
        Ok(())
    }

    /// Where it sends from.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// True: the network is gone, nothing is sent or received. False: it is back. For a connected leg.
    pub fn silence(&mut self, silent: bool) -> Result<()> {
        self.mailbox.send(self.id, Order::Silence(silent))
    }

    /// Drops this share of the media packets, both ways. For a connected leg.
    pub fn lose(&mut self, per_mille: u32) -> Result<()> {
        self.mailbox.send(self.id, Order::Lose { per_mille })
    }

    /// Milestones are counted from this instant; those reached so far are forgotten. `connected` is zero when DTLS was
    /// done before.
    pub fn count_from(&mut self, origin: Instant) -> Result<()> {
        self.origin = origin;
        self.generation += 1;
        (self.welcomed, self.answered) = (None, None);
        match &self.connection {
            Connection::Unused(unused) => {
                unused.1.send_modify(|progress| progress.generation = self.generation);
                Ok(())
            }
            _ => self.mailbox.send(self.id, Order::CountFrom { origin, generation: self.generation }),
        }
    }

    /// Notes that the server welcomed the seat; the engine cannot know.
    pub fn set_welcomed(&mut self, at: Instant) {
        self.welcomed = Some(at);
    }

    /// What was reached.
    #[must_use]
    pub fn milestones(&self) -> Milestones {
        let progress = self.progress.borrow();
        // The media thread may not have read yet that the count began anew.
        let current = progress.generation == self.generation;
        let since = |at: Option<Instant>| at.map_or(Duration::ZERO, |at| at.saturating_duration_since(self.origin));
        Milestones {
            welcomed: since(self.welcomed),
            answered: since(self.answered),
            ..if current { progress.milestones } else { Milestones::default() }
        }
    }

    /// Waits until `until` holds. An error when the deadline passes or the connection failed.
    pub async fn wait(&mut self, until: impl Fn(&Milestones) -> bool, deadline: Instant) -> Result<()> {
        loop {
            let failure = self.progress.borrow_and_update().failure.clone();
            if let Some(failure) = failure {
                bail!("{failure}");
            }
            if until(&self.milestones()) {
                return Ok(());
            }
            timeout_at(deadline.into(), self.progress.changed())
                .await
                .with_context(|| format!("not reached in time: {:?}", self.milestones()))?
                .context("the media thread ended")?;
        }
    }

    /// The latency of what was counted since the last call; the tally at the end holds the rest.
    pub async fn take_latency(&mut self) -> Result<Histogram> {
        let (reply, taken) = oneshot::channel();
        self.mailbox.send(self.id, Order::TakeLatency(reply))?;
        Ok(timeout(REPLY_TIME_MAX, taken).await??)
    }

    /// The last datagrams of each class that it sent, when the run keeps them ([`Shared::overhears`]).
    pub async fn overheard(&mut self) -> Result<Vec<Overheard>> {
        let (reply, told) = oneshot::channel();
        self.mailbox.send(self.id, Order::TellOverheard(reply))?;
        Ok(timeout(REPLY_TIME_MAX, told).await??)
    }

    /// Sends them again.
    #[must_use]
    pub fn replayer(&self) -> Replayer {
        Replayer { id: self.id, mailbox: self.mailbox.clone() }
    }

    /// Ends the connection and gives what it counted.
    pub async fn close(mut self) -> Result<Tally> {
        match std::mem::replace(&mut self.connection, Connection::Closed) {
            Connection::Threaded { .. } => {
                let (reply, counted) = oneshot::channel();
                self.mailbox.send(self.id, Order::Close(Some(reply)))?;
                timeout(REPLY_TIME_MAX, counted).await?.context("the media thread lost the leg")
            }
            Connection::Unused(_) | Connection::Closed => Ok(Tally::default()),
        }
    }

    fn negotiated(
        &mut self,
        description: &Description,
        role: Role,
        senders: Vec<Sending>,
        slots: Vec<Slot>,
    ) -> Result<()> {
        let remote = description.remote()?;
        let candidate = remote.candidate(self.address.ip(), self.server.ip())?;
        self.answered = Some(Instant::now());
        let changed = self.remote.replace(remote.credentials.clone()).is_some_and(|was| was != remote.credentials);
        let order = match std::mem::replace(&mut self.connection, Connection::Threaded { restarting: false }) {
            Connection::Unused(unused) => {
                let (socket, progress) = *unused;
                let local = self.local.clone();
                let (acceptor, shared, origin) = (self.acceptor.clone(), self.shared.clone(), self.origin);
                Order::Connect(Box::new(Parameters {
                    socket,
                    role,
                    local,
                    remote,
                    candidate,
                    acceptor,
                    senders,
                    slots,
                    shared,
                    progress,
                    origin,
                }))
            }
            Connection::Threaded { restarting } => {
                let restart = (restarting || changed).then(|| (self.local.clone(), remote.credentials));
                Order::Renegotiate(Renegotiated { restart, candidate, slots })
            }
            Connection::Closed => bail!("the leg is closed"),
        };
        self.mailbox.send(self.id, order)
    }

    fn senders(&self, section: &Section, layers: &[(u32, u32)], media: &sdp::Media) -> Result<Vec<Sending>> {
        let payload = media.payload().context("the answer has no codec of ours")?;
        let (number, now) = (self.plan.number, Instant::now());
        let identity = |layer: usize, stream: u32| Identity {
            ssrc: layers[layer].0,
            rtx_ssrc: layers[layer].1,
            payload,
            extensions: media.extensions(),
            mid: section.mid.clone(),
            rid: (layers.len() > 1).then(|| RIDS[layer]),
            stream,
        };
        Ok(match (section.kind, self.plan.camera) {
            (Kind::Picture, Some(camera)) => (0..layers.len())
                .map(|layer| {
                    let encoding = encoding(camera, layer);
                    // Layers of one camera share its clock.
                    let encoder = Vp8Source::with(encoding, number.wrapping_mul(104_729));
                    let interval = Duration::from_secs(1) / camera.frames_per_second;
                    let source = Source::Camera { encoder, interval };
                    Sending::new(identity(layer, camera_stream(number, layer)), source, now)
                })
                .collect(),
            _ => {
                let source = Source::Voice(OpusSource::new(number.wrapping_mul(7_919)));
                vec![Sending::new(identity(0, voice_stream(number)), source, now)]
            }
        })
    }

    fn renew_credentials(&mut self) {
        self.local = Credentials::random();
        if let Connection::Threaded { restarting } = &mut self.connection {
            *restarting = true;
        }
    }

    fn note_address(&mut self) {
        if let Connection::Unused(unused) = &self.connection {
            self.address = unused.0.address();
        }
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        if matches!(self.connection, Connection::Threaded { .. }) {
            // The thread may have ended before us: then there is nothing to end.
            self.mailbox.send(self.id, Order::Close(None)).ok();
        }
    }
}

/// In a page's order: microphone, camera, then slots of a voice and a picture.
fn sections(plan: &LegPlan) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut add = |kind, content| {
        let mid = sections.len().to_string();
        sections.push(Section { mid, kind, content });
    };
    let ssrcs = |count: usize| (0..count).map(|_| (ssrc(), ssrc())).collect();
    if plan.voice {
        add(Kind::Voice, Content::Sends(ssrcs(1)));
    }
    if let Some(camera) = plan.camera {
        add(Kind::Picture, Content::Sends(ssrcs(camera.layers)));
    }
    for _ in 0..plan.slots {
        add(Kind::Voice, Content::Receives);
        add(Kind::Picture, Content::Receives);
    }
    sections
}

fn slot(media: &sdp::Media) -> Option<Slot> {
    let kind = media.kind()?;
    let (ssrcs, extensions, nack) = (media.ssrcs(), media.extensions(), media.has_feedback("nack"));
    Some(Slot { kind, payload: media.payload()?, ssrcs, extensions, nack })
}

fn encoding(camera: Camera, layer: usize) -> Encoding {
    let Camera { kbit_per_second, frames_per_second, layers } = camera;
    let full = Encoding { width: 1_280, height: 720, kbit_per_second, frames_per_second };
    if layers == 1 {
        return full;
    }
    // What browsers give three layers of one camera: an eighth, a third, the rest.
    let (divisor, share) = [(4, 3), (2, 8), (1, 13)][layer];
    let (width, height) = (full.width / divisor, full.height / divisor);
    Encoding { width, height, kbit_per_second: kbit_per_second * share / 24, frames_per_second }
}

/// Not zero, and never the same twice in a process by more than chance.
fn ssrc() -> u32 {
    rand::random::<u32>().max(1)
}

/// The address of the interface from which the server is reached.
fn own_address(server: SocketAddr) -> Result<IpAddr> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let probe = UdpSocket::bind(any)?;
    probe.connect(server).context("no route to the server")?;
    Ok(probe.local_addr()?.ip())
}

/// A leg is a socket: the usual 1,024 files end a storm early.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused only where it cannot be raised; then the scenario says which socket was one too many.
    setrlimit(Resource::Nofile, limit).ok();
}

/// A media thread answers within a turn; longer means that it is gone.
const REPLY_TIME_MAX: Duration = Duration::from_secs(5);
