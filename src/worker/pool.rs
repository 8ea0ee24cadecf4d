//! All workers of the process: started together, with one certificate and one channel of events.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use rand::Rng;
use tokio::sync::mpsc;

use crate::ids::{LegId, RoomId, SeatId};
use crate::sfu::command::{Command, Event};
use crate::sfu::egress::{NtpReference, NtpTime};
use crate::sfu::{Sfu, SfuConfig};
use crate::transport::boring_dtls::{BoringAcceptor, DtlsSetupError};
use crate::transport::dtls::DtlsAcceptor;

use super::grants::Grants;
use super::local::LocalPort;
use super::{WorkerBusy, WorkerHandle, WorkerId};

/// What the pool is told once.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// Threads, at least 1.
    pub workers: usize,
    /// Address to bind and address to advertise; one socket each per worker.
    pub addresses: Vec<(IpAddr, IpAddr)>,
    /// UDP port of the first worker, the next ones follow; 0 for any.
    pub first_port: u16,
    /// How long a silent leg is kept.
    pub grace: Duration,
}

/// Why the pool could not start.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The cryptographic library refused its configuration.
    #[error(transparent)]
    Dtls(#[from] DtlsSetupError),
    /// A socket could not be bound or a thread not started.
    #[error("cannot open media socket {address}: {error}")]
    Socket {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
}

/// The workers, seen from the control plane.
pub struct WorkerPool {
    workers: Vec<WorkerHandle>,
    candidates: Vec<Vec<SocketAddr>>,
    fingerprint: [u8; 32],
}

impl WorkerPool {
    /// Starts every worker; their events come out of the receiver.
    ///
    /// # Errors
    /// A socket cannot be bound, or the cryptographic library refuses to work.
    pub fn start(settings: &PoolSettings) -> Result<(Self, mpsc::Receiver<(WorkerId, Event)>), PoolError> {
        let acceptor = BoringAcceptor::new()?;
        let fingerprint = acceptor.fingerprint();
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let config = SfuConfig { ntp: ntp_reference(), grace: settings.grace };
        let mut workers = Vec::with_capacity(settings.workers);
        let mut candidates = Vec::with_capacity(settings.workers);
        for index in 0..settings.workers.max(1) {
            let port = if settings.first_port == 0 { 0 } else { settings.first_port.saturating_add(index as u16) };
            let binds: Vec<_> = settings.addresses.iter().map(|&(bind, _)| SocketAddr::new(bind, port)).collect();
            let sfu = Sfu::new(config, rand::rng().random(), Box::new(acceptor.clone()));
            let worker = WorkerHandle::spawn(WorkerId(index), &binds, sfu, events.clone()).map_err(|error| {
                PoolError::Socket { address: binds.first().copied().unwrap_or(([0, 0, 0, 0], port).into()), error }
            })?;
            let advertised = settings.addresses.iter().zip(worker.addresses());
            candidates.push(advertised.map(|(&(_, ip), bound)| SocketAddr::new(ip, bound.port())).collect());
            workers.push(worker);
        }
        if let Some(least) = workers.iter().map(WorkerHandle::grants).reduce(Grants::and) {
            for shortcoming in least.shortcomings() {
                tracing::warn!("{shortcoming}");
            }
        }
        Ok((Self { workers, candidates, fingerprint }, receiver))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// Never: a pool has at least one worker.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Queues a command; never waits.
    ///
    /// # Errors
    /// The worker's mailbox is full, or there is no such worker.
    pub fn try_send(&self, worker: WorkerId, command: Command) -> Result<(), WorkerBusy> {
        self.workers.get(worker.0).ok_or(WorkerBusy)?.try_send(command)
    }

    /// Adds a leg whose far side is a thread of this process: [`WorkerHandle::add_local_leg`].
    ///
    /// # Errors
    /// The worker's mailbox is full, or there is no such worker.
    pub fn add_local_leg(
        &self,
        worker: WorkerId,
        room: RoomId,
        seat: SeatId,
        leg: LegId,
    ) -> Result<LocalPort, WorkerBusy> {
        self.workers.get(worker.0).ok_or(WorkerBusy)?.add_local_leg(room, seat, leg)
    }

    /// What answers advertise for rooms of this worker.
    #[must_use]
    pub fn candidates(&self, worker: WorkerId) -> &[SocketAddr] {
        self.candidates.get(worker.0).map_or(&[], Vec::as_slice)
    }

    /// SHA-256 of the certificate of every leg.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// The bound UDP ports, without repetition.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.candidates.iter().flatten().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Calls `each` with every published figure: worker, name, `reason` label, value.
    pub fn read_counters(&self, each: &mut dyn FnMut(WorkerId, &'static str, Option<&'static str>, u64)) {
        for worker in &self.workers {
            let (id, counters) = (worker.id(), worker.counters());
            counters.for_each(|name, reason, value| each(id, name, reason, value));
            let io = counters.io();
            each(id, "worker_turns", None, io.turns);
            each(id, "receive_calls", None, io.receive_calls);
            each(id, "send_calls", None, io.send_calls);
            each(id, "send_refused", None, io.send_refused);
            each(id, "kernel_drops", None, io.kernel_drops);
            each(id, "kernel_filtered", None, io.kernel_filtered);
            each(id, "worker_cpu_nanoseconds", None, io.cpu_nanos);
        }
    }
}

/// The wall clock is read once: it may jump afterwards and no report will.
#[must_use]
pub fn ntp_reference() -> NtpReference {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since_1970.as_secs() + SECONDS_1900_TO_1970;
    let fraction = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
    NtpReference { instant: Instant::now(), ntp: NtpTime(seconds << 32 | fraction) }
}

/// RFC 868: the NTP era began in 1900.
const SECONDS_1900_TO_1970: u64 = 2_208_988_800;
/// Events of all workers that may wait for the control plane; past that the workers keep them.
const EVENTS_MAX: usize = 8192;
