//! One leg on its media thread: its socket, its secure channel, its streams and its counts.
//!
//! ```text
//!   socket --recvmmsg + GRO--> ice | dtls | srtp -> receive (counts, asks)      timers -> send -> batch --sendmmsg + GSO-->
//! ```
//!
//! The only thing that the rest of the process sees of it is [`Progress`]. Not here: epoll and who is due (`thread`).

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use colloque::ids::Ssrc;
use colloque::rtp::demux::{Class, classify};
use colloque::rtp::rtcp::{self, CompoundWriter, Rtcp};
use colloque::transport::batch::{LocalSocket, Path, TransmitBatch};
use colloque::transport::boring_dtls::BoringAcceptor;
use colloque::transport::dtls::{Dtls, DtlsAcceptor, DtlsConnected, DtlsEvent};
use colloque::transport::parameters::Fingerprint;
use colloque::transport::srtp::{EgressSrtp, IngressSrtp, OVERHEAD_MAX};
use colloque::worker::socket::{MediaSocket, ReceiveBatch, Sender};
use tokio::sync::watch;

use super::ice::{Agent, Credentials, Role, STUN_LEN_MAX};
use super::impair::Impairment;
use super::receive::{Received, Receiving, Slot};
use super::sdp::{Kind, Remote};
use super::send::{Channel, Sending};
use crate::histogram::Histogram;
use crate::overheard::{Overheard, Recent, Replays};
use crate::tally::{Milestones, Shared, Tally};

/// What a leg's handle can see.
#[derive(Clone, Default)]
pub(super) struct Progress {
    /// Which call of `count_from` the milestones belong to.
    pub(super) generation: u32,
    pub(super) milestones: Milestones,
    /// Why the connection is no more.
    pub(super) failure: Option<Arc<str>>,
}

/// All that a leg begins with.
pub(super) struct Parameters {
    pub(super) socket: MediaSocket,
    pub(super) role: Role,
    pub(super) local: Credentials,
    pub(super) remote: Remote,
    pub(super) candidate: SocketAddr,
    pub(super) acceptor: BoringAcceptor,
    pub(super) senders: Vec<Sending>,
    pub(super) slots: Vec<Slot>,
    pub(super) shared: Shared,
    pub(super) progress: watch::Sender<Progress>,
    pub(super) origin: Instant,
}

/// A later negotiation.
pub(super) struct Renegotiated {
    /// Credentials when ICE restarts.
    pub(super) restart: Option<(Credentials, Credentials)>,
    pub(super) candidate: SocketAddr,
    pub(super) slots: Vec<Slot>,
}

/// What the legs of a thread share while one of them has its turn.
pub(super) struct Tools {
    batch: TransmitBatch,
    sender: Sender,
    received: ReceiveBatch,
}

impl Tools {
    pub(super) fn new() -> Self {
        Self {
            batch: TransmitBatch::new(BATCH_DATAGRAMS_MAX * TransmitBatch::DATAGRAM_LEN_MAX, BATCH_DATAGRAMS_MAX),
            sender: Sender::new(BATCH_DATAGRAMS_MAX),
            received: ReceiveBatch::new(),
        }
    }
}

/// A leg.
pub(super) struct Wire {
    /// The entry of the thread's timer heap that is this leg's.
    pub(super) armed: Option<Instant>,
    socket: MediaSocket,
    agent: Agent,
    acceptor: BoringAcceptor,
    fingerprint: Fingerprint,
    /// The far side is the DTLS client.
    remote_active: bool,
    dtls: Option<Box<dyn Dtls>>,
    secure: Option<Secure>,
    impairment: Impairment,
    us: Ssrc,
    senders: Vec<Sending>,
    receiving: Receiving,
    shared: Shared,
    progress: watch::Sender<Progress>,
    origin: Instant,
    milestones: Milestones,
    silent: bool,
    report_due: Instant,
    kernel_drops: u64,
    /// What was sent last, in scenarios that send it again.
    recent: Option<Recent>,
    tally: Tally,
}

struct Secure {
    ingress: IngressSrtp,
    channel: Channel,
}

impl Wire {
    pub(super) fn new(parameters: Parameters, now: Instant) -> Self {
        let Parameters { socket, role, local, remote, candidate, acceptor, senders, slots, .. } = parameters;
        let us = senders.first().map_or_else(rand::random, |sender| sender.identity.ssrc);
        // Whoever sends the ClientHello begins; as the server we wait for it from now on.
        let dtls = remote.active.then(|| acceptor.accept(now, &remote.fingerprint));
        Self {
            armed: None,
            socket,
            agent: Agent::new(role, &local, &remote.credentials, candidate, now),
            acceptor,
            fingerprint: remote.fingerprint,
            remote_active: remote.active,
            dtls,
            secure: None,
            impairment: Impairment::new(us),
            us: Ssrc(us),
            senders,
            receiving: Receiving::new(slots),
            recent: parameters.shared.overhears.then(Recent::default),
            shared: parameters.shared,
            progress: parameters.progress,
            origin: parameters.origin,
            milestones: Milestones::default(),
            silent: false,
            report_due: now + REPORT_EVERY,
            kernel_drops: 0,
            tally: Tally::default(),
        }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn handle_renegotiated(&mut self, now: Instant, what: Renegotiated) {
        if let Some((local, remote)) = what.restart {
            self.agent.restart(&local, &remote, what.candidate, now);
            self.redirect();
        }
        self.receiving.set_slots(what.slots);
    }

    /// Goes on from another socket; the old one is dropped.
    pub(super) fn handle_socket(&mut self, now: Instant, socket: MediaSocket) {
        self.kernel_drops += self.socket.poll_drops();
        self.socket = socket;
        self.agent.recheck(now);
    }

    pub(super) fn set_silent(&mut self, now: Instant, silent: bool) {
        if self.silent && !silent {
            self.agent.recheck(now);
        }
        self.silent = silent;
    }

    pub(super) fn set_loss(&mut self, per_mille: u32) {
        self.impairment.set(per_mille);
        if let Some(secure) = &mut self.secure {
            secure.channel.impairment.set(per_mille);
        }
    }

    /// Forgets the milestones and counts them from another instant.
    pub(super) fn count_from(&mut self, origin: Instant, generation: u32) {
        self.origin = origin;
        let connected = self.secure.as_ref().map(|_| Duration::ZERO);
        self.milestones = Milestones { connected, ..Milestones::default() };
        self.progress.send_modify(|progress| {
            (progress.generation, progress.milestones) = (generation, self.milestones);
        });
    }

    pub(super) fn take_latency(&mut self) -> Histogram {
        std::mem::take(&mut self.tally.latency)
    }

    /// The datagrams sent last, when the run asked for them to be kept.
    pub(super) fn overheard(&self) -> Vec<Overheard> {
        self.recent.iter().flat_map(Recent::iter).cloned().collect()
    }

    /// Sends them again from the leg's own socket, byte for byte.
    pub(super) fn replay(&mut self, tools: &mut Tools) -> Replays {
        let mut replays = Replays::default();
        // Taken out while they are sent, lest they be remembered a second time.
        let Some(recent) = self.recent.take() else { return replays };
        for overheard in recent.iter() {
            push_bytes(&mut tools.batch, overheard.to, &overheard.bytes);
            replays.record(overheard.class);
        }
        self.flush(tools);
        self.recent = Some(recent);
        replays
    }

    /// Takes what lies in the socket.
    pub(super) fn handle_readable(&mut self, tools: &mut Tools) {
        let Tools { batch, received, .. } = tools;
        received.receive(&self.socket);
        let now = Instant::now();
        received.for_each(|from, age, datagram| {
            self.tally.datagrams_received += 1;
            if !self.silent {
                let at = now.checked_sub(age).unwrap_or(now);
                self.handle_datagram(now, at, from, datagram, batch);
            }
        });
        self.flush(tools);
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant, tools: &mut Tools) {
        let batch = &mut tools.batch;
        let mut check = [0; STUN_LEN_MAX];
        if let Some(len) = self.agent.poll_transmit(now, &mut check) {
            push_bytes(batch, self.agent.candidate(), &check[..len]);
        }
        if let Some(dtls) = &mut self.dtls {
            dtls.handle_timeout(now);
            self.pump_dtls(now, batch);
        }
        if let Some(secure) = &mut self.secure {
            for sender in &mut self.senders {
                sender.handle_timeout(now, &self.shared, self.silent, &mut secure.channel, batch);
            }
            self.write_reports(now, batch);
        }
        self.flush(tools);
    }

    /// When [`Wire::handle_timeout`] is wanted.
    pub(super) fn poll_timeout(&self) -> Instant {
        let mut due = self.agent.poll_timeout();
        let dtls = self.dtls.as_ref().and_then(|dtls| dtls.poll_timeout());
        if self.secure.is_some() {
            due = self.senders.iter().map(Sending::due).fold(due.min(self.report_due), Instant::min);
        }
        [dtls, self.receiving.poll_timeout()].into_iter().flatten().fold(due, Instant::min)
    }

    /// Says goodbye and hands the counts over.
    pub(super) fn finish(mut self, now: Instant, tools: &mut Tools) -> Tally {
        if let Some(dtls) = &mut self.dtls {
            dtls.close();
            self.pump_dtls(now, &mut tools.batch);
        }
        self.flush(tools);
        self.receiving.finish(&mut self.tally);
        let sent = self.senders.iter().map(|sender| (sender.identity.stream, sender.numbered()));
        self.tally.sent = sent.filter(|(_, numbered)| *numbered > 0).collect();
        self.tally.kernel_drops = self.kernel_drops + self.socket.poll_drops();
        self.tally
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        at: Instant,
        from: SocketAddr,
        datagram: &mut [u8],
        batch: &mut TransmitBatch,
    ) {
        match classify(datagram) {
            Some(Class::Stun) => self.handle_stun(now, from, datagram, batch),
            Some(Class::Dtls) => {
                if let Some(dtls) = &mut self.dtls {
                    dtls.handle_datagram(now, datagram);
                    self.pump_dtls(now, batch);
                }
            }
            Some(Class::Rtp) => self.handle_rtp(now, at, datagram),
            Some(Class::Rtcp) => self.handle_rtcp(now, datagram, batch),
            None => {}
        }
    }

    fn handle_stun(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], batch: &mut TransmitBatch) {
        let mut reply = [0; STUN_LEN_MAX];
        let handled = self.agent.handle_datagram(now, from, datagram, &mut reply);
        if handled.reply_len > 0 {
            push_bytes(batch, from, &reply[..handled.reply_len]);
        }
        if !handled.proved {
            return;
        }
        self.redirect();
        self.reach(now, |milestones, since| milestones.path.get_or_insert(since));
        if self.dtls.is_none() && !self.remote_active {
            self.dtls = Some(self.acceptor.connect(now, &self.fingerprint));
            self.pump_dtls(now, batch);
        }
    }

    fn handle_rtp(&mut self, now: Instant, at: Instant, datagram: &mut [u8]) {
        let Some(secure) = &mut self.secure else { return };
        if secure.channel.impairment.loses() {
            return;
        }
        let Ok((len, seq)) = secure.ingress.open_rtp(datagram) else { return };
        let packet = &datagram[..len];
        match self.receiving.handle_packet(now, at, packet, seq, &self.shared, &mut self.tally) {
            Received::Media(kind) => self.note_media(at, kind),
            Received::Nothing => {}
        }
    }

    fn note_media(&mut self, at: Instant, kind: Kind) {
        let known = match kind {
            Kind::Voice => self.milestones.voice,
            Kind::Picture => self.milestones.picture,
        };
        // What was under way when the origin was set belongs to the time before.
        if known.is_none() && at >= self.origin {
            self.reach(at, |milestones, since| match kind {
                Kind::Voice => milestones.voice.get_or_insert(since),
                Kind::Picture => milestones.picture.get_or_insert(since),
            });
        }
    }

    fn handle_rtcp(&mut self, now: Instant, datagram: &mut [u8], batch: &mut TransmitBatch) {
        let Some(secure) = &mut self.secure else { return };
        let Ok(len) = secure.ingress.open_rtcp(datagram) else { return };
        for packet in rtcp::packets(&datagram[..len]).map_while(Result::ok) {
            match packet {
                Rtcp::SenderReport { ssrc, ntp, reports, .. } => {
                    self.receiving.handle_sender_report(now, ssrc, ntp);
                    acknowledge(&mut self.senders, reports);
                }
                Rtcp::ReceiverReport { reports, .. } => acknowledge(&mut self.senders, reports),
                Rtcp::Nack { media, lost, .. } => {
                    let Some(sender) = sender_of(&mut self.senders, media) else { continue };
                    for wire in lost {
                        let sent = sender.resend(now, wire, &self.shared, &mut secure.channel, batch);
                        self.tally.retransmissions_sent += u64::from(sent);
                    }
                }
                Rtcp::Pli { media, .. } => request_keyframe(&mut self.senders, media, now, &mut self.tally),
                Rtcp::Fir { entries, .. } => {
                    for entry in entries {
                        request_keyframe(&mut self.senders, entry.ssrc, now, &mut self.tally);
                    }
                }
                _ => {}
            }
        }
    }

    /// Reports once a second; what is asked for and transport-wide feedback when due.
    fn write_reports(&mut self, now: Instant, batch: &mut TransmitBatch) {
        let report = now >= self.report_due;
        let asks = self.receiving.poll_timeout().is_some_and(|due| now >= due);
        let Some(secure) = self.secure.as_mut().filter(|_| report || asks) else { return };
        let Channel { egress, path, impairment, .. } = &mut secure.channel;
        let (us, round_trip) = (self.us, self.agent.round_trip());
        let (receiving, senders, tally) = (&mut self.receiving, &self.senders, &mut self.tally);
        let mut scratch = [0; RTCP_LEN_MAX + OVERHEAD_MAX];
        let mut writer = CompoundWriter::new(&mut scratch[..RTCP_LEN_MAX]);
        if report {
            self.report_due = now + REPORT_EVERY;
            let ntp = ntp_now();
            let mut blocks = Some(receiving.report_blocks(now).collect::<Vec<_>>());
            for sender in senders.iter().filter(|sender| sender.has_sent()) {
                writer.sender_report(sender.sender_info(now, ntp), blocks.take().unwrap_or_default());
            }
            if let Some(blocks) = blocks {
                writer.receiver_report(us, blocks);
            }
            writer.sdes_cname(us, b"loadtest");
        }
        receiving.poll_asks(now, us, round_trip, &mut writer, tally);
        receiving.poll_feedback(now, us, &mut writer);
        let len = writer.len();
        if len > 0 && !impairment.loses() {
            let sealed = egress.seal_rtcp(&mut scratch, len);
            push_bytes(batch, path.remote, &scratch[..sealed]);
        }
    }

    fn pump_dtls(&mut self, now: Instant, batch: &mut TransmitBatch) {
        let Some(dtls) = &mut self.dtls else { return };
        let path = path_to(self.agent.candidate());
        let mut waiting = true;
        while waiting {
            let written = batch.push(path, |out| dtls.poll_transmit(out).unwrap_or(0));
            waiting = written.is_some_and(|len| len > 0);
        }
        while let Some(event) = self.dtls.as_mut().and_then(|dtls| dtls.poll_event()) {
            match event {
                DtlsEvent::Connected(connected) => self.handle_connected(now, &connected),
                DtlsEvent::Data(_) => {}
                DtlsEvent::Closed => self.fail("the far side closed the connection"),
                DtlsEvent::Failed(why) => self.fail(&format!("DTLS: {why}")),
            }
        }
    }

    fn handle_connected(&mut self, now: Instant, connected: &DtlsConnected) {
        let (keys, profile) = (&connected.keys, connected.profile);
        let (ours, theirs) =
            if self.remote_active { (&keys.server, &keys.client) } else { (&keys.client, &keys.server) };
        let egress = EgressSrtp::new(profile, ours);
        let channel = Channel::new(egress, path_to(self.agent.candidate()), self.impairment);
        self.secure = Some(Secure { ingress: IngressSrtp::new(profile, theirs), channel });
        self.tally.profile = Some(profile.name());
        self.senders.iter_mut().for_each(|sender| sender.begin(now));
        self.report_due = now + REPORT_EVERY;
        self.reach(now, |milestones, since| milestones.connected.get_or_insert(since));
    }

    /// Media goes where ICE checks.
    fn redirect(&mut self) {
        if let Some(secure) = &mut self.secure {
            secure.channel.path = path_to(self.agent.candidate());
        }
    }

    fn reach(&mut self, now: Instant, note: impl FnOnce(&mut Milestones, Duration) -> &mut Duration) {
        note(&mut self.milestones, now.saturating_duration_since(self.origin));
        self.progress.send_modify(|progress| progress.milestones = self.milestones);
    }

    fn fail(&mut self, why: &str) {
        self.secure = None;
        self.progress.send_modify(|progress| {
            progress.failure.get_or_insert(why.into());
        });
    }

    fn flush(&mut self, tools: &mut Tools) {
        if !self.silent && !tools.batch.datagrams().is_empty() {
            if let Some(recent) = &mut self.recent {
                for datagram in tools.batch.datagrams() {
                    recent.record(datagram.path.remote, tools.batch.bytes(datagram));
                }
            }
            let sent = tools.sender.send(slice::from_mut(&mut self.socket), &tools.batch);
            self.tally.send_errors += u64::from(sent.refused);
        }
        tools.batch.clear();
    }
}

fn path_to(remote: SocketAddr) -> Path {
    Path { local: LocalSocket(0), remote }
}

fn push_bytes(batch: &mut TransmitBatch, remote: SocketAddr, bytes: &[u8]) {
    batch.push(path_to(remote), |out| {
        out[..bytes.len()].copy_from_slice(bytes);
        bytes.len()
    });
}

fn sender_of(senders: &mut [Sending], ssrc: Ssrc) -> Option<&mut Sending> {
    senders.iter_mut().find(|sender| sender.identity.ssrc == ssrc.0)
}

fn acknowledge(senders: &mut [Sending], reports: impl Iterator<Item = rtcp::ReportBlock>) {
    for report in reports {
        if let Some(sender) = sender_of(senders, report.ssrc) {
            sender.acknowledge();
        }
    }
}

fn request_keyframe(senders: &mut [Sending], media: Ssrc, now: Instant, tally: &mut Tally) {
    if let Some(sender) = sender_of(senders, media) {
        tally.keyframe_requests += 1;
        sender.request_keyframe(now);
    }
}

/// 32.32 fixed point seconds since 1900 (RFC 3550 section 4).
fn ntp_now() -> u64 {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    ((unix.as_secs() + NTP_TO_UNIX) << 32) | ((u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000)
}

/// What one turn of one leg may send: three keyframes and a held-up generator's rest.
const BATCH_DATAGRAMS_MAX: usize = 512;
const RTCP_LEN_MAX: usize = 1_150;
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Seconds between 1900 and 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;
