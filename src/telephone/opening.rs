//! Starts the telephone of a server from its configuration: SIP and media first, because control has to know what people dial.
//!
//! Not here: calls (`lines`). What is wrong is said before the first call: an address, a certificate, a recording.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::config::telephone::{SipTransport, TelephoneConfig, TrunkName};
use crate::control::Consultations;
use crate::control::phone::switchboard::{DialOrder, Switchboard};

use super::lines::{Lines, Parts};
use super::media::{MediaPool, MediaSettings};
use super::prompts::{Prompts, PromptsError};
use super::sip::{Endpoint, Incoming, Settings, StartError};

/// A telephone whose sockets and threads stand, and that takes no calls yet.
pub struct Opened {
    endpoint: Arc<Endpoint>,
    incoming: mpsc::Receiver<Incoming>,
    media: MediaPool,
    media_ip: IpAddr,
    prompts: Prompts,
    board: Arc<Switchboard>,
    orders: mpsc::Receiver<DialOrder>,
}

/// Why there is no telephone.
#[derive(Debug, thiserror::Error)]
pub enum OpeningError {
    /// A trunk's password: named here, because a trunk only says that we are refused.
    #[error("the password of the telephone trunk {0}: {1}")]
    Password(TrunkName, String),
    /// SIP.
    #[error(transparent)]
    Sip(#[from] StartError),
    /// Recordings.
    #[error("prompts: {0}")]
    Prompts(#[from] PromptsError),
    /// Threads.
    #[error("telephone media: {0}")]
    Media(#[from] std::io::Error),
}

impl Opened {
    /// Binds and reads everything. `trusted_ca`: further authorities for TLS.
    pub async fn open(config: TelephoneConfig, trusted_ca: Option<PathBuf>) -> Result<Self, OpeningError> {
        for trunk in &config.trunks {
            let read = trunk.credentials.as_ref().map_or(Ok(()), |known| known.password.read().map(drop));
            read.map_err(|error| OpeningError::Password(trunk.name.clone(), error))?;
        }
        let prompts = Prompts::new(config.prompts_dir.as_deref())?;
        let media_settings = media_settings(&config);
        let media = MediaPool::start(&media_settings)?;
        let media_ip = public(&config, media_settings.bind);
        let (endpoint, incoming) = Endpoint::start(Settings::new(&config, trusted_ca)).await?;
        let dial_in = dial_in(&config, &endpoint);
        let (board, orders) = Switchboard::new(Arc::new(config), dial_in);
        let endpoint = Arc::new(endpoint);
        Ok(Self { endpoint, incoming, media, media_ip, prompts, board: Arc::new(board), orders })
    }

    /// For control.
    #[must_use]
    pub fn board(&self) -> Arc<Switchboard> {
        Arc::clone(&self.board)
    }

    /// Takes and makes calls from now on.
    #[must_use]
    pub fn start(self, consultations: Arc<Consultations>) -> Arc<Lines> {
        let Opened { endpoint, incoming, media, media_ip, prompts, board, orders } = self;
        tokio::spawn(Arc::clone(&consultations).watch_ladder());
        Lines::start(Parts { endpoint, incoming, media, media_ip, prompts, consultations, board, orders })
    }
}

/// What people dial: a number of a trunk. None: people are called, and cannot call; in the demonstration they dial the SIP address.
fn dial_in(config: &TelephoneConfig, endpoint: &Endpoint) -> Option<String> {
    let number = config.trunks.iter().find_map(|trunk| trunk.inbound_numbers.first());
    number.map(|number| number.0.e164().to_owned()).or_else(|| {
        if !config.shows_address {
            return None;
        }
        let transports = [SipTransport::Udp, SipTransport::Tcp, SipTransport::Tls];
        let bound = transports.into_iter().find_map(|transport| endpoint.listening(transport))?;
        Some(format!("sip:appointment@{}", SocketAddr::new(public(config, bound.ip()), bound.port())))
    })
}

/// What the other side is told: behind NAT, or where we listen everywhere, another address than the bound one.
fn public(config: &TelephoneConfig, bound: IpAddr) -> IpAddr {
    let same = config.public_ips.iter().find(|ip| ip.is_ipv4() == bound.is_ipv4());
    same.copied().unwrap_or(bound)
}

fn media_settings(config: &TelephoneConfig) -> MediaSettings {
    let sip = [config.sip_udp, config.sip_tcp, config.sip_tls.as_ref().map(|(addr, _)| *addr)];
    let bind = sip.into_iter().flatten().map(|addr| addr.ip()).next();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    MediaSettings {
        bind: bind.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        ports: config.rtp_ports.clone(),
        port_rest: config.drain_port,
        threads: config.max_legs.div_ceil(LEGS_PER_THREAD).clamp(1, cores),
        legs_max: config.max_legs,
        complexity: config.opus_complexity,
    }
}

/// What one core carries.
const LEGS_PER_THREAD: usize = 90;
