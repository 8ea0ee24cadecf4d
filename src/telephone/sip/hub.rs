//! What all calls of an endpoint share: the stack, the ways to the trunks, the register of running calls, counters.
//!
//! Not here: any one call. Locks are held for look-ups alone, never across a wait; only a stream that is being opened is locked until it is,
//! and keeps waiting those who want this very stream.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rsipstack::platform::CancellationToken;
use rsipstack::sip::{Headers, Transport};
use rsipstack::transaction::endpoint::EndpointInnerRef;
use rsipstack::transaction::transaction::Transaction;
use rsipstack::transport::{SipAddr, SipConnection};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use crate::config::telephone::{Network, SipTransport, TrunkConfig, TrunkName};

use super::digest::Challenger;
use super::endpoint::Settings;
use super::fields::Address;
use super::screen::{Dropped, Screen};
use super::stream::{self, Place};
use super::{fields, names};

/// A way to the other side.
#[derive(Clone)]
pub(super) struct Flow {
    pub(super) connection: SipConnection,
    /// Where datagrams go; none on streams.
    pub(super) destination: Option<SipAddr>,
    pub(super) peer: SocketAddr,
    /// Where we are reached: a listener's address, else the connection's own.
    pub(super) local: SocketAddr,
    pub(super) transport: SipTransport,
    /// Its sender is gone when the stream is.
    pub(super) closed: Option<watch::Receiver<()>>,
}

impl Flow {
    pub(super) fn is_open(&self) -> bool {
        self.closed.as_ref().is_none_or(|closed| closed.has_changed().is_ok())
    }

    /// Whether it is this stream. Clones of one connection, and no others, have their address in common.
    fn is_by(&self, connection: &SipConnection) -> bool {
        std::ptr::eq(self.connection.get_addr(), connection.get_addr())
    }

    pub(super) fn is_secure(&self) -> bool {
        self.transport == SipTransport::Tls
    }
}

/// A stream of ours to one server of a trunk: none before it was opened, locked while it is being opened.
type Dialled = Arc<tokio::sync::Mutex<Option<Flow>>>;

/// Counters of one endpoint, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    dropped: [AtomicU64; 3],
    /// INVITEs that were refused: the called number is not ours.
    pub refused_number: AtomicU64,
    /// INVITEs that were refused: no agreement on sound.
    pub refused_media: AtomicU64,
    /// INVITEs that did not pass the digest challenge.
    pub refused_auth: AtomicU64,
    /// INVITEs that were refused: the server was full.
    pub refused_full: AtomicU64,
    /// INVITEs that reached the server's own logic.
    pub accepted: AtomicU64,
}

impl Counters {
    pub(super) fn record_dropped(&self, dropped: Dropped) {
        self.dropped[dropped as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many messages were dropped without a word, for a cause.
    #[must_use]
    pub fn dropped(&self, cause: Dropped) -> u64 {
        self.dropped[cause as usize].load(Ordering::Relaxed)
    }
}

/// Call-ID and our own tag.
pub(super) type CallKey = (String, String);

pub(super) struct Hub {
    pub(super) inner: EndpointInnerRef,
    /// Its trunks are in `trunks`.
    pub(super) settings: Settings,
    /// Lines, as they are configured now.
    trunks: RwLock<Vec<TrunkConfig>>,
    pub(super) screen: Arc<Mutex<Screen>>,
    pub(super) counters: Arc<Counters>,
    pub(super) challenger: Challenger,
    pub(super) connectors: HashMap<TrunkName, tokio_rustls::TlsConnector>,
    /// UDP's only connection, and its address.
    pub(super) udp: Option<(SipConnection, SocketAddr)>,
    /// Addresses of the listeners for streams, as bound.
    pub(super) listeners: Vec<(SipTransport, SocketAddr)>,
    calls: Mutex<HashMap<CallKey, Running>>,
    /// Told whenever the last call is taken out.
    emptied: Notify,
    /// Streams that are open, by their other end. Several lead to one server where several trunks do.
    streams: Mutex<HashMap<(SocketAddr, SipTransport), Vec<Flow>>>,
    /// Streams that we opened, by trunk and server.
    dialled: Mutex<HashMap<(TrunkName, SocketAddr), Dialled>>,
    /// Who called in last, on trunks that ring them: their address, and where the call was sent from.
    last_callers: Mutex<HashMap<TrunkName, (String, SocketAddr)>>,
    /// Realms that trunks named first.
    realms: Mutex<HashMap<TrunkName, String>>,
    places: Mutex<HashMap<IpAddr, usize>>,
    /// Numbers of requests outside of calls.
    pub(super) numbers: AtomicU32,
    began: Instant,
    /// Random; names this start in registrations.
    pub(super) id: String,
    token: CancellationToken,
    /// Cancelled before `token`: calls end while their messages still have a way.
    closing: CancellationToken,
}

impl Hub {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn new(
        inner: EndpointInnerRef,
        mut settings: Settings,
        screen: Arc<Mutex<Screen>>,
        counters: Arc<Counters>,
        connectors: HashMap<TrunkName, tokio_rustls::TlsConnector>,
        udp: Option<(SipConnection, SocketAddr)>,
        listeners: Vec<(SipTransport, SocketAddr)>,
        token: CancellationToken,
    ) -> Hub {
        Hub {
            inner,
            trunks: RwLock::new(std::mem::take(&mut settings.trunks)),
            settings,
            screen,
            counters,
            challenger: Challenger::new(rand::random()),
            connectors,
            udp,
            listeners,
            calls: Mutex::default(),
            emptied: Notify::new(),
            streams: Mutex::default(),
            dialled: Mutex::default(),
            last_callers: Mutex::default(),
            realms: Mutex::default(),
            places: Mutex::default(),
            numbers: AtomicU32::new(0),
            began: Instant::now(),
            id: fields::random_text(),
            closing: token.child_token(),
            token,
        }
    }

    /// A clock for nonces that only goes forward.
    pub(super) fn seconds(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }

    pub(super) async fn stopped(&self) {
        self.token.cancelled().await;
    }

    /// Returns when calls have to end.
    pub(super) async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Ends all calls, and returns when they are forgotten.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        loop {
            // Before the look: who is told in between is told.
            let emptied = self.emptied.notified();
            if self.calls() == 0 {
                return;
            }
            emptied.await;
        }
    }

    pub(super) fn screen(&self) -> MutexGuard<'_, Screen> {
        lock(&self.screen)
    }

    pub(super) fn trunk(&self, name: &TrunkName) -> Option<TrunkConfig> {
        let trunks = self.trunks.read().unwrap_or_else(PoisonError::into_inner);
        trunks.iter().find(|trunk| trunk.name == *name).cloned()
    }

    /// Whose call it is that comes from there: a trunk of the same transport first. One of TLS is none of another transport: whoever can
    /// write its address on a datagram would get past what TLS proves.
    pub(super) fn trunk_of(&self, from: IpAddr, transport: SipTransport) -> Option<TrunkConfig> {
        let trunks = self.trunks.read().unwrap_or_else(PoisonError::into_inner);
        let theirs = || trunks.iter().filter(|trunk| trunk.allow.iter().any(|net| net.contains(from)));
        theirs()
            .find(|trunk| trunk.transport == transport)
            .or_else(|| theirs().find(|trunk| trunk.transport != SipTransport::Tls))
            .cloned()
    }

    /// Who may speak from now on, and what is agreed with whom. Lines keep their names and places.
    pub(super) fn set_trunks(&self, trunks: Vec<TrunkConfig>) {
        self.screen().set_allow(allowed(&trunks));
        *self.trunks.write().unwrap_or_else(PoisonError::into_inner) = trunks;
    }

    /// What the realm of a trunk's password is; the first one that it named, unless it is configured.
    pub(super) fn is_realm_of(&self, trunk: &TrunkConfig, realm: &str) -> bool {
        let configured = trunk.credentials.as_ref().and_then(|credentials| credentials.realm.as_deref());
        match configured {
            Some(configured) => configured == realm,
            None => *lock(&self.realms).entry(trunk.name.clone()).or_insert_with(|| realm.to_owned()) == realm,
        }
    }

    /// Somebody called in. Under its own name, not its contact: that of a softphone is another one after each start.
    pub(super) fn handle_caller(&self, trunk: &TrunkConfig, headers: &Headers, from: SocketAddr) {
        let is_plain = |user: &String| user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-_.".contains(&byte));
        let caller = fields::one(headers, "From").and_then(Address::parse).and_then(|address| address.user());
        if trunk.rings_last_caller
            && let Some(user) = caller.filter(is_plain)
        {
            lock(&self.last_callers).insert(trunk.name.clone(), (format!("sip:{user}@{from}"), from));
        }
    }

    /// Whom a trunk of the demonstration rings, and where.
    pub(super) fn last_caller(&self, trunk: &TrunkConfig) -> Option<(String, SocketAddr)> {
        lock(&self.last_callers).get(&trunk.name).cloned().filter(|_| trunk.rings_last_caller)
    }

    /// The way to a trunk: the first of its servers that datagrams can be sent to, or that takes a stream. None: it cannot be reached.
    pub(super) async fn flow_to(self: &Arc<Self>, trunk: &TrunkConfig) -> Option<Flow> {
        for server in self.servers(trunk).await {
            if let Some(flow) = self.flow_at(trunk, server).await {
                return Some(flow);
            }
        }
        None
    }

    /// The servers of a trunk, in the order in which they are to be tried.
    pub(super) async fn servers(&self, trunk: &TrunkConfig) -> Vec<SocketAddr> {
        if let Some((_, caller)) = self.last_caller(trunk) {
            return vec![caller];
        }
        let found = match trunk.server.host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, trunk.server.port.unwrap_or(names::usual_port(trunk.transport)))],
            Err(_) => {
                let found = timeout(RESOLVE, self.settings.names.find(&trunk.server, trunk.transport));
                let own = self.udp.as_ref().map(|(_, own)| *own).filter(|_| trunk.transport == SipTransport::Udp);
                names::tried(found.await.unwrap_or_default(), own)
            }
        };
        let mut screen = self.screen();
        found.iter().for_each(|server| screen.learn(server.ip()));
        found
    }

    /// The way to one server of a trunk: its datagrams' address, or a stream that is open or opened now.
    pub(super) async fn flow_at(self: &Arc<Self>, trunk: &TrunkConfig, server: SocketAddr) -> Option<Flow> {
        if trunk.transport == SipTransport::Udp {
            return self.datagrams_to(server);
        }
        let dialled = self.dialled(&trunk.name, server);
        let mut dialled = dialled.lock().await;
        if let Some(flow) = dialled.as_ref().filter(|flow| flow.is_open()) {
            return Some(flow.clone());
        }
        let tls = match trunk.transport {
            SipTransport::Tls => Some((self.connectors.get(&trunk.name)?.clone(), trunk.server.host.as_str())),
            _ => None,
        };
        let mut flow = stream::connect(self, server, tls).await?;
        flow.local = self.advertised(trunk.transport, flow.local);
        *dialled = Some(flow.clone());
        Some(flow)
    }

    /// Names lead to other servers in time: streams that are closed and that nobody opens are forgotten.
    fn dialled(&self, trunk: &TrunkName, server: SocketAddr) -> Dialled {
        let mut dialled = lock(&self.dialled);
        dialled.retain(|_, stream| {
            let closed = stream.try_lock().is_ok_and(|stream| !stream.as_ref().is_some_and(Flow::is_open));
            !closed || Arc::strong_count(stream) > 1
        });
        Arc::clone(dialled.entry((trunk.clone(), server)).or_default())
    }

    pub(super) fn datagrams_to(&self, peer: SocketAddr) -> Option<Flow> {
        let (connection, local) = self.udp.clone()?;
        Some(Flow {
            connection,
            destination: Some(sip_addr(peer)),
            peer,
            local: self.public(local, peer.is_ipv4()),
            transport: SipTransport::Udp,
            closed: None,
        })
    }

    /// The way back to where a request came from.
    pub(super) fn flow_of(&self, transaction: &Transaction) -> Option<Flow> {
        let connection = transaction.connection.as_ref()?;
        let remote = connection.get_remote_addr()?;
        let peer = remote.get_socketaddr().ok()?;
        match connection {
            SipConnection::Udp(_) => self.datagrams_to(peer),
            _ => {
                let transport =
                    if remote.r#type == Some(Transport::Tls) { SipTransport::Tls } else { SipTransport::Tcp };
                let streams = lock(&self.streams);
                let mut flow = streams.get(&(peer, transport))?.iter().find(|flow| flow.is_by(connection)).cloned()?;
                drop(streams);
                flow.local = self.advertised(transport, flow.local);
                Some(flow)
            }
        }
    }

    /// The address of a listener of ours, as the other side shall know it.
    pub(super) fn listening(&self, transport: SipTransport) -> Option<SocketAddr> {
        self.listeners.iter().find(|(own, _)| *own == transport).map(|(_, addr)| *addr)
    }

    fn advertised(&self, transport: SipTransport, connection: SocketAddr) -> SocketAddr {
        let port = self.listening(transport).map_or(connection.port(), |addr| addr.port());
        self.public(SocketAddr::new(connection.ip(), port), connection.is_ipv4())
    }

    fn public(&self, bound: SocketAddr, v4: bool) -> SocketAddr {
        let ip = self.settings.public_ips.iter().find(|ip| ip.is_ipv4() == v4).copied().unwrap_or(bound.ip());
        SocketAddr::new(ip, bound.port())
    }

    pub(super) fn keep_flow(&self, flow: &Flow) {
        lock(&self.streams).entry((flow.peer, flow.transport)).or_default().push(flow.clone());
    }

    /// This stream is closed; others to the same server stay.
    pub(super) fn forget_flow(&self, closed: &Flow) {
        let mut streams = lock(&self.streams);
        let key = (closed.peer, closed.transport);
        let Some(open) = streams.get_mut(&key) else { return };
        open.retain(|flow| !flow.is_by(&closed.connection));
        if open.is_empty() {
            streams.remove(&key);
        }
    }

    /// A place for one more stream from there; none for strangers and for those who have too many.
    pub(super) fn admit_stream(self: &Arc<Self>, from: IpAddr) -> Option<Place> {
        if !self.screen().allows(from) {
            self.counters.record_dropped(Dropped::Address);
            return None;
        }
        let mut places = lock(&self.places);
        let taken = places.entry(from).or_default();
        if *taken >= STREAMS_MAX {
            self.counters.record_dropped(Dropped::Rate);
            return None;
        }
        *taken += 1;
        Some(Place { hub: Arc::clone(self), from })
    }

    pub(super) fn leave_stream(&self, from: IpAddr) {
        let mut places = lock(&self.places);
        if let Some(taken) = places.get_mut(&from) {
            *taken -= 1;
            if *taken == 0 {
                places.remove(&from);
            }
        }
    }

    /// Makes a call reachable for requests within its dialog. `opened`: by what an INVITE of theirs is known
    /// ([`opened`](super::state::DialogState::opened)).
    pub(super) fn register(
        self: &Arc<Self>,
        key: CallKey,
        opened: Option<(String, u32)>,
    ) -> Result<(Registered, mpsc::Receiver<Transaction>), Unregistered> {
        let mut calls = lock(&self.calls);
        let is_same = |(of, call): (&CallKey, &Running)| of.0 == key.0 && call.opened == opened;
        if opened.is_some() && calls.iter().any(is_same) {
            return Err(Unregistered::Merged);
        }
        if calls.len() >= CALLS_MAX || calls.contains_key(&key) {
            return Err(Unregistered::Full);
        }
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        calls.insert(key.clone(), Running { requests, opened });
        drop(calls);
        Ok((Registered { hub: Arc::clone(self), key }, receiver))
    }

    pub(super) fn call(&self, key: &CallKey) -> Option<mpsc::Sender<Transaction>> {
        lock(&self.calls).get(key).map(|call| call.requests.clone())
    }

    /// Calls that are known, answered or not.
    pub(super) fn calls(&self) -> usize {
        lock(&self.calls).len()
    }
}

/// All networks that SIP may come from.
pub(super) fn allowed(trunks: &[TrunkConfig]) -> Vec<Network> {
    trunks.iter().flat_map(|trunk| trunk.allow.iter().copied()).collect()
}

/// What the register knows of a call.
struct Running {
    /// Takes requests of its dialog.
    requests: mpsc::Sender<Transaction>,
    /// Their tag and the number of their INVITE, if they called.
    opened: Option<(String, u32)>,
}

/// Why a call is not in the register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unregistered {
    /// Too many calls, or the name is taken.
    Full,
    /// This very INVITE opened another one.
    Merged,
}

/// A call in the register; dropping it takes it out.
pub(super) struct Registered {
    hub: Arc<Hub>,
    key: CallKey,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut calls = lock(&self.hub.calls);
        calls.remove(&self.key);
        if calls.is_empty() {
            self.hub.emptied.notify_waiters();
        }
    }
}

pub(super) fn sip_addr(addr: SocketAddr) -> SipAddr {
    SipAddr { r#type: Some(Transport::Udp), addr: addr.into() }
}

/// A poisoned lock is only a panic elsewhere: what it holds is whole, for no code here panics halfway.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// More than any machine's media threads carry.
const CALLS_MAX: usize = 4_096;
/// Requests of one dialog that wait for its task; more are answered 500 by nobody, and repeated.
const REQUESTS_MAX: usize = 32;
/// Streams from one address.
const STREAMS_MAX: usize = 64;
/// Names are resolved anew for each call: operators move.
const RESOLVE: Duration = Duration::from_secs(2);
