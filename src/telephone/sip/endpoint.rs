//! The endpoint: sockets, the loop that takes what arrives apart, and what a trunk is asked outside of calls.
//!
//! Not here: calls themselves. What opens nothing is answered here: OPTIONS with 200, everything else with 405 or 481.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rsipstack::EndpointBuilder;
use rsipstack::platform::CancellationToken;
use rsipstack::sip::{Header, Method, Response, StatusCode, Uri};
use rsipstack::transaction::endpoint::{EndpointOption, TargetLocator};
use rsipstack::transaction::transaction::Transaction;
use rsipstack::transport::transport_layer::DomainResolver;
use rsipstack::transport::udp::UdpConnection;
use rsipstack::transport::{SipAddr, SipConnection, TransportLayer};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::config::TlsFiles;
use crate::config::telephone::{CountryCode, Number, SipTransport, TelephoneConfig, TrunkConfig, TrunkName};
use crate::pii::Pii;
use crate::telephone::sdp::Remote;

use super::exchange::ProbeFailure;
use super::fields::{self, Draft, Via};
use super::gate::Gate;
use super::hub::{Counters, Flow, Hub, allowed, sip_addr};
use super::inbound::{self, InboundCall};
use super::inspection::{No, inspect};
use super::names::{Names, SystemNames};
use super::outbound::{self, OutboundCall};
use super::screen::Screen;
use super::session_timer::MIN_SE;
use super::{stream, tls};

/// What an endpoint is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the other side is told; the bound addresses when empty.
    pub public_ips: Vec<IpAddr>,
    /// SIP over UDP.
    pub sip_udp: Option<SocketAddr>,
    /// SIP over TCP.
    pub sip_tcp: Option<SocketAddr>,
    /// SIP over TLS.
    pub sip_tls: Option<(SocketAddr, TlsFiles)>,
    /// PEM file of the authorities of those who connect there; none: anybody who may speak at all.
    pub tls_client_ca: Option<PathBuf>,
    /// Lines.
    pub trunks: Vec<TrunkConfig>,
    /// Of numbers that begin with a single zero.
    pub country: CountryCode,
    /// What we ask for (RFC 4028).
    pub session_expires: Duration,
    /// PEM file of further authorities for TLS.
    pub trusted_ca: Option<PathBuf>,
    /// Who knows the addresses of trunks.
    pub names: Arc<dyn Names>,
    /// Waits that tests shorten.
    pub timers: Timers,
}

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// For the ACK of a 200 and for what comes late: 64 * T1 (RFC 3261 section 17).
    pub ack: Duration,
    /// For the 487 of a CANCEL; what comes later is ended behind the caller's back.
    pub cancel: Duration,
    /// For the answer of a BYE.
    pub bye: Duration,
    /// For the answer of requests within a call, and for our own answer to a re-INVITE.
    pub request: Duration,
    /// From a message's first byte to its last, on a stream: whoever trickles is let go.
    pub message: Duration,
    /// Shortest session that we take part in (RFC 4028 section 5).
    pub session_min: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Timers {
            ack: Duration::from_secs(32),
            cancel: Duration::from_secs(5),
            bye: Duration::from_secs(5),
            request: Duration::from_secs(10),
            message: Duration::from_secs(10),
            session_min: MIN_SE,
        }
    }
}

impl Settings {
    /// From the configuration.
    #[must_use]
    pub fn new(config: &TelephoneConfig, trusted_ca: Option<PathBuf>) -> Settings {
        Settings {
            public_ips: config.public_ips.clone(),
            sip_udp: config.sip_udp,
            sip_tcp: config.sip_tcp,
            sip_tls: config.sip_tls.clone(),
            tls_client_ca: config.tls_client_ca.clone(),
            trunks: config.trunks.clone(),
            country: config.country,
            session_expires: config.session_expires,
            trusted_ca,
            names: Arc::new(SystemNames),
            timers: Timers::default(),
        }
    }
}

/// A call that somebody makes to us.
pub struct Incoming {
    /// The line.
    pub trunk: TrunkName,
    /// Which number of ours was called.
    pub called: Option<Pii<Number>>,
    /// Who calls, as far as the line says so: it can be forged.
    pub caller: Option<Pii<Number>>,
    /// None: the other side waits for ours in the answer (RFC 3261 section 13.2.1).
    pub offer: Option<Remote>,
    /// Signalling is TLS: keys in SDP are secret.
    pub secure: bool,
    /// To ring, answer or refuse. Dropping it refuses.
    pub call: InboundCall,
}

/// Why the endpoint did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be bound.
    #[error("SIP address {0}: {1}")]
    Bind(SocketAddr, std::io::Error),
    /// A certificate or key cannot be used.
    #[error("SIP over TLS: {0}")]
    Tls(String),
    /// Something in the SIP stack itself.
    #[error("the SIP stack did not start")]
    Stack,
}

/// All SIP of a server. Dropping it ends every call and closes every socket.
pub struct Endpoint {
    hub: Arc<Hub>,
    token: CancellationToken,
}

impl Endpoint {
    /// Binds and starts. Calls come out of the receiver; while it is full, further ones are refused with 503.
    pub async fn start(settings: Settings) -> Result<(Endpoint, mpsc::Receiver<Incoming>), StartError> {
        let token = CancellationToken::new();
        let screen = Arc::new(Mutex::new(Screen::new(allowed(&settings.trunks))));
        let counters = Arc::new(Counters::default());
        let layer = TransportLayer::new_with_domain_resolver(token.child_token(), Box::new(NoNames));
        let mut udp = None;
        if let Some(addr) = settings.sip_udp {
            let fault = |error| StartError::Bind(addr, error);
            let socket = UdpSocket::bind(addr).await.map_err(fault)?;
            let bound = socket.local_addr().map_err(fault)?;
            let gate = Gate { socket, screen: Arc::clone(&screen), counters: Arc::clone(&counters) };
            let connection = UdpConnection::from_socket(Arc::new(gate), None, Some(token.child_token()));
            let connection = SipConnection::Udp(connection.await.map_err(|_| StartError::Stack)?);
            layer.add_transport(connection.clone());
            udp = Some((connection, bound));
        }
        let mut listeners = Vec::new();
        for (transport, addr) in
            [(SipTransport::Tcp, settings.sip_tcp), (SipTransport::Tls, settings.sip_tls.as_ref().map(|tls| tls.0))]
        {
            let Some(addr) = addr else { continue };
            let listener = TcpListener::bind(addr).await.map_err(|error| StartError::Bind(addr, error))?;
            let bound = listener.local_addr().map_err(|error| StartError::Bind(addr, error))?;
            listeners.push((transport, bound, listener));
        }
        let acceptor =
            settings.sip_tls.as_ref().map(|(_, files)| tls::acceptor(files, settings.tls_client_ca.as_deref()));
        let acceptor = acceptor.transpose().map_err(StartError::Tls)?;
        let connectors = connectors(&settings)?;
        let option = EndpointOption { t1x64: settings.timers.ack, ..EndpointOption::default() };
        let stack = EndpointBuilder::new()
            .with_user_agent("Colloque")
            .with_transport_layer(layer)
            .with_cancel_token(token.child_token())
            .with_target_locator(Box::new(Addresses(Arc::clone(&screen))))
            .with_option(option)
            .build();
        let transactions = stack.incoming_transactions().map_err(|_| StartError::Stack)?;
        let bound = listeners.iter().map(|(transport, addr, _)| (*transport, *addr)).collect();
        let inner = stack.inner.clone();
        let hub = Arc::new(Hub::new(inner, settings, screen, counters, connectors, udp, bound, token.clone()));
        let (sender, receiver) = mpsc::channel(INCOMING_MAX);
        tokio::spawn(async move { stack.serve().await });
        for (transport, _, listener) in listeners {
            let tls = acceptor.clone().filter(|_| transport == SipTransport::Tls);
            tokio::spawn(stream::serve(Arc::clone(&hub), listener, tls));
        }
        tokio::spawn(take_apart(Arc::clone(&hub), transactions, sender));
        Ok((Endpoint { hub, token }, receiver))
    }

    /// Calls a number on a trunk. Dropping the call ends it.
    #[must_use]
    pub fn dial(&self, trunk: &TrunkName, number: &Pii<Number>, offer: String, ring: Duration) -> OutboundCall {
        outbound::dial(&self.hub, trunk, number, offer, ring)
    }

    /// Asks a trunk whether it is there; the time of the way there and back. Any answer but 408, 5xx counts: one that wants a
    /// password for OPTIONS is there too.
    pub async fn probe(&self, trunk: &TrunkName, limit: Duration) -> Result<Duration, ProbeFailure> {
        let began = Instant::now();
        match self.ask(trunk, Method::Options, &[], limit).await.map(|(response, _)| response.status_code.code()) {
            Ok(408) => Err(ProbeFailure::Silent),
            Ok(status @ 500..=599) => Err(ProbeFailure::Status(status)),
            Ok(_) | Err(ProbeFailure::Auth) => Ok(began.elapsed()),
            Err(failure) => Err(failure),
        }
    }

    /// A request outside of calls: its final answer, and the way on which it came.
    pub(super) async fn ask(
        &self,
        trunk: &TrunkName,
        method: Method,
        extra: &[String],
        limit: Duration,
    ) -> Result<(Response, Flow), ProbeFailure> {
        let (hub, until) = (&self.hub, Instant::now() + limit);
        let trunk = &hub.trunk(trunk).ok_or(ProbeFailure::Silent)?;
        let mut last = Err(ProbeFailure::Silent);
        let servers = timeout(limit, hub.servers(trunk)).await.unwrap_or_default();
        for (place, server) in servers.iter().enumerate() {
            // Those that come after it have their share of the time.
            let share = until.saturating_duration_since(Instant::now()) / (servers.len() - place) as u32;
            last = self.ask_at(trunk, *server, method, extra, share).await;
            if !matches!(last, Err(ProbeFailure::Silent)) {
                break;
            }
        }
        last
    }

    async fn ask_at(
        &self,
        trunk: &TrunkConfig,
        server: SocketAddr,
        method: Method,
        extra: &[String],
        limit: Duration,
    ) -> Result<(Response, Flow), ProbeFailure> {
        let hub = &self.hub;
        let flow = timeout(limit, hub.flow_at(trunk, server)).await.ok().flatten().ok_or(ProbeFailure::Silent)?;
        let (host, user) = (outbound::host(trunk), outbound::user(trunk));
        let via = Via { transport: flow.transport, sent_by: flow.local.to_string(), branch: fields::random_branch() };
        let own = format!("<sip:{user}@{host}>");
        let mut lines = vec![format!("Contact: <{}>", outbound::contact(trunk, &flow))];
        lines.extend_from_slice(extra);
        let register = method == Method::Register;
        let number = hub.next_number();
        let draft = Draft {
            method: if register { "REGISTER" } else { "OPTIONS" },
            uri: &format!("sip:{host}"),
            via: &via,
            from: &format!("{own};tag={}", fields::random_text()),
            to: &if register { own.clone() } else { format!("<sip:{host}>") },
            // All registrations of an endpoint share one Call-ID (RFC 3261 section 10.2.4).
            call_id: &if register { hub.registration_id(&trunk.name) } else { fields::random_text() },
            cseq: number,
            routes: &[],
            extra: &lines,
            body: None,
        };
        let request = draft.build().ok_or(ProbeFailure::Silent)?;
        let response = hub.exchange(request, &flow, trunk, hub.numbers(), limit).await?;
        Ok((response, flow))
    }

    /// The same lines with other limits and allow-lists, for what begins from now on.
    pub fn set_trunks(&self, trunks: Vec<TrunkConfig>) {
        self.hub.set_trunks(trunks);
    }

    /// Ends all calls with [`Reason::Shutdown`](super::Reason::Shutdown), refuses those that come, and returns when the other sides have
    /// heard it, or after `limit`. The sockets stay until the drop.
    pub async fn close(&self, limit: Duration) {
        let _ = timeout(limit, self.hub.close()).await;
    }

    /// For metrics.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.hub.counters
    }

    /// Calls that are known, answered or not.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.hub.calls()
    }

    /// Where SIP is received, as bound.
    #[must_use]
    pub fn listening(&self, transport: SipTransport) -> Option<SocketAddr> {
        match transport {
            SipTransport::Udp => self.hub.udp.as_ref().map(|(_, bound)| *bound),
            _ => self.hub.listening(transport),
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.token.cancel();
    }
}

fn connectors(settings: &Settings) -> Result<HashMap<TrunkName, tokio_rustls::TlsConnector>, StartError> {
    let secure = settings.trunks.iter().filter(|trunk| trunk.transport == SipTransport::Tls);
    let made = secure.map(|trunk| {
        let connector = tls::connector(settings.trusted_ca.as_deref(), trunk.client.as_ref());
        connector.map(|connector| (trunk.name.clone(), connector)).map_err(StartError::Tls)
    });
    made.collect()
}

/// Every request that opens a transaction: to its call, to a new call, or answered on the spot.
async fn take_apart(
    hub: Arc<Hub>,
    mut transactions: rsipstack::transaction::TransactionReceiver,
    incoming: mpsc::Sender<Incoming>,
) {
    loop {
        let mut transaction = tokio::select! {
            Some(transaction) = transactions.recv() => transaction,
            () = hub.stopped() => return,
            else => return,
        };
        let headers = &transaction.original.headers;
        let tag = fields::one(headers, "To").and_then(fields::Address::parse);
        let tag = tag.and_then(|to| to.param("tag").map(str::to_owned)).filter(|tag| !tag.is_empty());
        let call_id = fields::one(headers, "Call-ID").unwrap_or_default().to_owned();
        match (tag, transaction.original.method) {
            (Some(tag), _) => match hub.call(&(call_id, tag)) {
                Some(call) => {
                    // Full: the other side sends it again.
                    let _ = call.try_send(transaction);
                }
                None => reply(transaction, 481, &[]),
            },
            (None, Method::Invite | Method::Options) => match inspect(&transaction.original) {
                Err(no) => refuse(transaction, no),
                Ok(()) if transaction.original.method == Method::Options => {
                    reply(transaction, 200, &["Accept: application/sdp", ALLOW, SUPPORTED]);
                }
                Ok(()) => {
                    tokio::spawn(inbound::handle_invite(Arc::clone(&hub), transaction, incoming.clone()));
                }
            },
            (None, Method::Bye | Method::Cancel | Method::Update | Method::PRack | Method::Info) => {
                reply(transaction, 481, &[]);
            }
            // Nobody answers an ACK (RFC 3261 section 17.1.1.3).
            (None, Method::Ack) => {}
            (None, _) => {
                transaction.original.headers.retain(|header| !matches!(header, Header::Route(_)));
                reply(transaction, 405, &[ALLOW]);
            }
        }
    }
}

/// Refuses, and says what we take.
pub(super) fn refuse(transaction: Transaction, No { status, line }: No) {
    let lines: Vec<&str> = line.iter().map(String::as_str).chain([ALLOW]).collect();
    reply(transaction, status, &lines);
}

/// Answers and forgets; in a task of its own, because the transaction may wait for the socket or for an ACK.
pub(super) fn reply(mut transaction: Transaction, status: u16, lines: &[&str]) {
    let headers = lines
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| Header::Other(name.into(), value.into()));
    let headers: Vec<Header> = headers.collect();
    tokio::spawn(async move {
        let invite = transaction.original.method == Method::Invite;
        let _ = timeout(REPLY, transaction.reply_with(StatusCode::from(status), headers, None)).await;
        if invite {
            let wait = transaction.endpoint_inner.option.t1x64;
            super::exchange::drain(transaction, wait);
        }
    });
}

impl Hub {
    pub(super) fn next_number(&self) -> u32 {
        self.numbers().fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1
    }

    /// Numbers of requests outside of calls: they only go up.
    pub(super) fn numbers(&self) -> &AtomicU32 {
        &self.numbers
    }

    fn registration_id(&self, trunk: &TrunkName) -> String {
        format!("{}-{trunk}", self.id)
    }
}

/// Names in what others send are never resolved: nobody makes us ask a name server, or send anywhere.
struct NoNames;

type Waiting<'a, T> = Pin<Box<dyn Future<Output = rsipstack::Result<T>> + Send + 'a>>;

impl DomainResolver for NoNames {
    fn resolve<'life0, 'life1, 'async_trait>(&'life0 self, _: &'life1 SipAddr) -> Waiting<'async_trait, SipAddr>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async { Err(rsipstack::Error::Error("names are not resolved here".to_owned())) })
    }
}

/// Where an ACK goes over UDP: to the address in the route, when that may hear us; else where the INVITE went.
struct Addresses(Arc<Mutex<Screen>>);

impl TargetLocator for Addresses {
    fn locate<'life0, 'life1, 'async_trait>(&'life0 self, uri: &'life1 Uri) -> Waiting<'async_trait, SipAddr>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        let target = fields::socket_of(&uri.to_string());
        let allowed = target.filter(|addr| super::hub::lock(&self.0).allows(addr.ip()));
        let located = allowed.map(sip_addr).ok_or_else(|| rsipstack::Error::Error("not an allowed address".to_owned()));
        Box::pin(async { located })
    }
}

pub(super) const ALLOW: &str = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK, INFO";
pub(super) const SUPPORTED: &str = "Supported: timer, 100rel";
/// Calls that nobody has taken up yet; more come only when the server is stuck.
const INCOMING_MAX: usize = 64;
const REPLY: Duration = Duration::from_secs(5);
