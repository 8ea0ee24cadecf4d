//! The simulation's stand-in for DTLS: the same states, flights and loss recovery, in virtual time and without randomness.
//!
//! BoringSSL reads the wall clock, so a simulated room cannot use it. Keys here follow from what stands in the hellos in
//! clear: this protects nothing, and production never constructs it. Both ends are here, so that a simulated far side
//! completes a handshake in one round trip and holds the mirrored keys.
//!
//! ```text
//! client  hello ------>            <------ hello  server   (each repeats its flight until it hears the next)
//!         finished --->            <------ ack             (the client is connected at the server's hello,
//!         data, close <----------------------->             the server at the client's finished)
//! ```

use std::cell::Cell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;

use super::dtls::{Dtls, DtlsAcceptor, DtlsConnected, DtlsEvent, DtlsFailure};
use super::parameters::Fingerprint;
use super::srtp::{MasterKey, Profile, SessionKeys};

/// Accepts simulated associations.
pub struct SimAcceptor {
    profile: Profile,
    seed: u64,
    accepted: Cell<u64>,
}

impl SimAcceptor {
    /// All associations negotiate `profile` and derive their secrets from `seed`.
    #[must_use]
    pub fn new(profile: Profile, seed: u64) -> Self {
        Self { profile, seed, accepted: Cell::new(0) }
    }
}

impl DtlsAcceptor for SimAcceptor {
    fn accept(&self, _now: Instant, remote_fingerprint: &Fingerprint) -> Box<dyn Dtls> {
        self.accepted.set(self.accepted.get() + 1);
        Box::new(SimDtlsServer {
            profile: self.profile,
            random: hash(&[b"server", &self.seed.to_be_bytes(), &self.accepted.get().to_be_bytes()]),
            fingerprint: self.fingerprint(),
            remote_fingerprint: remote_fingerprint.clone(),
            state: ServerState::AwaitingHello,
            link: Link::default(),
        })
    }

    fn fingerprint(&self) -> [u8; 32] {
        hash(&[b"certificate", &self.seed.to_be_bytes()])
    }
}

struct SimDtlsServer {
    profile: Profile,
    random: [u8; 32],
    fingerprint: [u8; 32],
    remote_fingerprint: Fingerprint,
    state: ServerState,
    link: Link,
}

enum ServerState {
    AwaitingHello,
    AwaitingFinished(Secrets),
    Connected(Secrets),
    Ended,
}

impl SimDtlsServer {
    fn handle_hello(&mut self, now: Instant, client_random: [u8; 32], fingerprint: [u8; 32]) -> bool {
        match &self.state {
            ServerState::AwaitingHello if self.remote_fingerprint != Fingerprint::Sha256(fingerprint) => {
                self.link.push(record(ALERT, &[FAILURE]));
                self.fail(DtlsFailure::Fingerprint);
            }
            ServerState::AwaitingHello => {
                let hello = [&[SERVER_HELLO, self.profile as u8], &self.random[..], &self.fingerprint].concat();
                self.link.start_flight(now, record(HANDSHAKE, &hello));
                self.state = ServerState::AwaitingFinished(Secrets::new(&client_random, &self.random));
            }
            ServerState::AwaitingFinished(_) => self.link.repeat_flight(),
            ServerState::Connected(_) | ServerState::Ended => return false,
        }
        true
    }

    fn handle_finished(&mut self, tag: &[u8]) -> bool {
        match std::mem::replace(&mut self.state, ServerState::Ended) {
            ServerState::AwaitingFinished(secrets) if secrets.is_tag(tag, CLIENT, &[FINISHED]) => {
                self.link.end_flight();
                self.link.acknowledge(&secrets);
                self.link.events.push_back(DtlsEvent::Connected(secrets.connected(self.profile)));
                self.state = ServerState::Connected(secrets);
                true
            }
            ServerState::Connected(secrets) if secrets.is_tag(tag, CLIENT, &[FINISHED]) => {
                self.link.acknowledge(&secrets);
                self.state = ServerState::Connected(secrets);
                true
            }
            unchanged => {
                self.state = unchanged;
                false
            }
        }
    }

    fn fail(&mut self, failure: DtlsFailure) {
        self.link.end_flight();
        self.link.events.push_back(DtlsEvent::Failed(failure));
        self.state = ServerState::Ended;
    }
}

impl Dtls for SimDtlsServer {
    fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> bool {
        match (Record::parse(datagram), &self.state) {
            (Some(Record::ClientHello { random, fingerprint }), _) => self.handle_hello(now, random, fingerprint),
            (Some(Record::Finished(tag)), _) => self.handle_finished(tag),
            (Some(Record::Data(data)), ServerState::Connected(secrets)) => self.link.receive(secrets, CLIENT, data),
            (Some(Record::Close(tag)), ServerState::Connected(secrets)) if secrets.is_tag(tag, CLIENT, &[CLOSE]) => {
                self.link.events.push_back(DtlsEvent::Closed);
                self.state = ServerState::Ended;
                true
            }
            // An alert in clear ends an unfinished handshake, as in DTLS; never an association.
            (Some(Record::Failure), ServerState::AwaitingFinished(_)) => {
                self.fail(DtlsFailure::Handshake);
                true
            }
            _ => false,
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.link.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.link.poll_timeout()
    }

    fn poll_transmit(&mut self, out: &mut [u8]) -> Option<usize> {
        self.link.poll_transmit(out)
    }

    fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.link.events.pop_front()
    }

    fn send(&mut self, data: &[u8]) -> bool {
        match &self.state {
            ServerState::Connected(secrets) => self.link.send(secrets, SERVER, data),
            _ => false,
        }
    }

    fn close(&mut self) {
        if let ServerState::Connected(secrets) = &self.state {
            self.link.push(record(ALERT, &[&[CLOSE], &secrets.tag(SERVER, &[CLOSE])[..]].concat()));
        }
        self.link.end_flight();
        self.state = ServerState::Ended;
    }
}

/// The far side of a simulated association.
pub struct SimDtlsClient {
    remote_fingerprint: [u8; 32],
    random: [u8; 32],
    state: ClientState,
    link: Link,
}

enum ClientState {
    AwaitingHello,
    Connected(Secrets),
    Ended,
}

impl SimDtlsClient {
    /// Presents `fingerprint` as its certificate's SHA-256 and expects the server's to be `remote_fingerprint`. The first
    /// flight waits in [`Self::poll_transmit`].
    #[must_use]
    pub fn new(now: Instant, fingerprint: [u8; 32], remote_fingerprint: [u8; 32], seed: u64) -> Self {
        let random = hash(&[b"client", &seed.to_be_bytes()]);
        let mut link = Link::default();
        link.start_flight(now, record(HANDSHAKE, &[&[CLIENT_HELLO], &random[..], &fingerprint].concat()));
        Self { remote_fingerprint, random, state: ClientState::AwaitingHello, link }
    }

    /// Feeds one datagram from the server; false when it was refused.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> bool {
        match (Record::parse(datagram), &self.state) {
            (Some(Record::ServerHello { profile, random, fingerprint }), ClientState::AwaitingHello) => {
                self.handle_hello(now, profile, random, fingerprint);
                true
            }
            (Some(Record::Ack(tag)), ClientState::Connected(secrets)) if secrets.is_tag(tag, SERVER, &[ACK]) => {
                self.link.end_flight();
                true
            }
            (Some(Record::Data(data)), ClientState::Connected(secrets)) => self.link.receive(secrets, SERVER, data),
            (Some(Record::Close(tag)), ClientState::Connected(secrets)) if secrets.is_tag(tag, SERVER, &[CLOSE]) => {
                self.end(DtlsEvent::Closed);
                true
            }
            (Some(Record::Failure), ClientState::AwaitingHello) => {
                self.end(DtlsEvent::Failed(DtlsFailure::Handshake));
                true
            }
            _ => false,
        }
    }

    /// Runs the retransmission timer.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.link.handle_timeout(now);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.link.poll_timeout()
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self, out: &mut [u8]) -> Option<usize> {
        self.link.poll_transmit(out)
    }

    /// The next thing that happened. `Connected` carries the same keys as the server's.
    pub fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.link.events.pop_front()
    }

    /// Queues application data (one SCTP packet); false before the handshake is done.
    pub fn send(&mut self, data: &[u8]) -> bool {
        match &self.state {
            ClientState::Connected(secrets) => self.link.send(secrets, CLIENT, data),
            _ => false,
        }
    }

    /// Sends close_notify.
    pub fn close(&mut self) {
        if let ClientState::Connected(secrets) = &self.state {
            self.link.push(record(ALERT, &[&[CLOSE], &secrets.tag(CLIENT, &[CLOSE])[..]].concat()));
        }
        self.link.end_flight();
        self.state = ClientState::Ended;
    }

    fn handle_hello(&mut self, now: Instant, profile: Profile, random: [u8; 32], fingerprint: [u8; 32]) {
        if fingerprint != self.remote_fingerprint {
            self.link.push(record(ALERT, &[FAILURE]));
            self.end(DtlsEvent::Failed(DtlsFailure::Fingerprint));
            return;
        }
        let secrets = Secrets::new(&self.random, &random);
        let finished = [&[FINISHED], &secrets.tag(CLIENT, &[FINISHED])[..]].concat();
        self.link.start_flight(now, record(HANDSHAKE, &finished));
        self.link.events.push_back(DtlsEvent::Connected(secrets.connected(profile)));
        self.state = ClientState::Connected(secrets);
    }

    fn end(&mut self, event: DtlsEvent) {
        self.link.end_flight();
        self.link.events.push_back(event);
        self.state = ClientState::Ended;
    }
}

/// What both ends have: queues, a flight to repeat, a record counter.
#[derive(Default)]
struct Link {
    outgoing: VecDeque<Vec<u8>>,
    events: VecDeque<DtlsEvent>,
    flight: Option<Flight>,
    sent: u64,
}

struct Flight {
    datagram: Vec<u8>,
    due: Instant,
    interval: Duration,
}

impl Link {
    fn push(&mut self, datagram: Vec<u8>) {
        // Over the bound it is lost, as on any network.
        if self.outgoing.len() < OUTGOING_LEN_MAX {
            self.outgoing.push_back(datagram);
        }
    }

    fn start_flight(&mut self, now: Instant, datagram: Vec<u8>) {
        self.push(datagram.clone());
        self.flight = Some(Flight { datagram, due: now + RETRANSMISSION_MIN, interval: RETRANSMISSION_MIN });
    }

    fn repeat_flight(&mut self) {
        if let Some(datagram) = self.flight.as_ref().map(|flight| flight.datagram.clone()) {
            self.push(datagram);
        }
    }

    fn end_flight(&mut self) {
        self.flight = None;
    }

    fn acknowledge(&mut self, secrets: &Secrets) {
        self.push(record(HANDSHAKE, &[&[ACK], &secrets.tag(SERVER, &[ACK])[..]].concat()));
    }

    fn handle_timeout(&mut self, now: Instant) {
        let Some(flight) = self.flight.as_mut().filter(|flight| flight.due <= now) else { return };
        flight.interval = (flight.interval * 2).min(RETRANSMISSION_MAX);
        flight.due = now + flight.interval;
        self.repeat_flight();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.flight.as_ref().map(|flight| flight.due)
    }

    fn poll_transmit(&mut self, out: &mut [u8]) -> Option<usize> {
        let datagram = self.outgoing.pop_front()?;
        out.get_mut(..datagram.len())?.copy_from_slice(&datagram);
        Some(datagram.len())
    }

    fn send(&mut self, secrets: &Secrets, from: u8, data: &[u8]) -> bool {
        if self.outgoing.len() >= OUTGOING_LEN_MAX || data.len() > DATA_LEN_MAX {
            return false;
        }
        self.sent += 1;
        let numbered = [&self.sent.to_be_bytes(), data].concat();
        self.push(record(DATA, &[&secrets.tag(from, &numbered)[..], &numbered].concat()));
        true
    }

    fn receive(&mut self, secrets: &Secrets, from: u8, tag_and_numbered: &[u8]) -> bool {
        let Some((tag, numbered)) = tag_and_numbered.split_at_checked(TAG_LEN) else { return false };
        let accepted = numbered.len() >= 8 && secrets.is_tag(tag, from, numbered);
        if accepted {
            self.events.push_back(DtlsEvent::Data(numbered[8..].to_vec()));
        }
        accepted
    }
}

/// What both ends know after the hellos.
struct Secrets {
    master: [u8; 32],
}

impl Secrets {
    fn new(client_random: &[u8; 32], server_random: &[u8; 32]) -> Self {
        Self { master: hash(&[b"master", client_random, server_random]) }
    }

    fn tag(&self, from: u8, data: &[u8]) -> [u8; TAG_LEN] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.master));
        context.update(&[from]);
        context.update(data);
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&context.sign().as_ref()[..TAG_LEN]);
        tag
    }

    fn is_tag(&self, tag: &[u8], from: u8, data: &[u8]) -> bool {
        self.tag(from, data) == tag
    }

    fn connected(&self, profile: Profile) -> DtlsConnected {
        let half = |writer: &[u8]| {
            let mut salt = [0; 14];
            salt.copy_from_slice(&hash(&[b"salt", writer, &self.master])[..14]);
            MasterKey { key: hash(&[b"key", writer, &self.master]), salt }
        };
        DtlsConnected {
            profile,
            keys: SessionKeys { client: half(b"client"), server: half(b"server") },
            version: "DTLSv1.3",
            group: "simulated",
        }
    }
}

/// A parsed datagram; tags are not verified yet.
enum Record<'a> {
    ClientHello { random: [u8; 32], fingerprint: [u8; 32] },
    ServerHello { profile: Profile, random: [u8; 32], fingerprint: [u8; 32] },
    Finished(&'a [u8]),
    Ack(&'a [u8]),
    Data(&'a [u8]),
    Close(&'a [u8]),
    Failure,
}

impl<'a> Record<'a> {
    fn parse(datagram: &'a [u8]) -> Option<Self> {
        let (&[kind, ..], rest) = datagram.split_first_chunk::<RECORD_HEADER_LEN>()?;
        let body = rest.strip_prefix(MAGIC)?;
        if kind == DATA {
            return Some(Record::Data(body));
        }
        let (&message, body) = body.split_first()?;
        match (kind, message) {
            (HANDSHAKE, CLIENT_HELLO) => {
                let (random, fingerprint) = hello(body)?;
                Some(Record::ClientHello { random, fingerprint })
            }
            (HANDSHAKE, SERVER_HELLO) => {
                let (&profile, body) = body.split_first()?;
                let profile = PROFILES.into_iter().find(|known| *known as u8 == profile)?;
                let (random, fingerprint) = hello(body)?;
                Some(Record::ServerHello { profile, random, fingerprint })
            }
            (HANDSHAKE, FINISHED) => Some(Record::Finished(body)),
            (HANDSHAKE, ACK) => Some(Record::Ack(body)),
            (ALERT, CLOSE) => Some(Record::Close(body)),
            (ALERT, FAILURE) => Some(Record::Failure),
            _ => None,
        }
    }
}

fn hello(body: &[u8]) -> Option<([u8; 32], [u8; 32])> {
    let (random, fingerprint) = body.split_first_chunk::<32>()?;
    Some((*random, fingerprint.try_into().ok()?))
}

/// With the header of a record in plaintext (RFC 9147 section 4), so that it passes for one on a real socket.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut header = [0; RECORD_HEADER_LEN];
    header[..3].copy_from_slice(&[kind, 0xfe, 0xfd]);
    header[RECORD_HEADER_LEN - 2..].copy_from_slice(&((MAGIC.len() + body.len()) as u16).to_be_bytes());
    [&header, MAGIC, body].concat()
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, &parts.concat()).as_ref());
    out
}

const PROFILES: [Profile; 3] = [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80];
/// DTLS content types, so that the datagrams classify as DTLS (RFC 7983).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
/// Type, version, epoch, number and length.
const RECORD_HEADER_LEN: usize = 13;
const MAGIC: &[u8] = b"SIM";
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const FINISHED: u8 = 3;
const ACK: u8 = 4;
const CLOSE: u8 = 5;
const FAILURE: u8 = 6;
const CLIENT: u8 = 0;
const SERVER: u8 = 1;
const TAG_LEN: usize = 16;
/// As the real stack: 200 ms first, then doubled.
const RETRANSMISSION_MIN: Duration = Duration::from_millis(200);
const RETRANSMISSION_MAX: Duration = Duration::from_secs(3);
/// Datagrams waiting to be sent; SCTP sends again what is lost over it.
const OUTGOING_LEN_MAX: usize = 256;
/// Longest SCTP packet carried, below any datagram bound.
const DATA_LEN_MAX: usize = 1_400;

#[cfg(test)]
mod tests;
