//! The physical limit: one thread that receives SRTP, opens it once, and copies, rewrites, seals and sends it for every
//! viewer, with nothing else around it.
//!
//! Not here: anything an SFU is for. No rooms, no look-up, no replay window, no cache, no reports: what a real worker
//! costs above this is the price of being one. The generator is shared with the worker's benchmark, so that both are
//! driven alike. Bounded in time; sends to loopback addresses of a private network namespace only (`netns.sh`).

pub mod forward;
pub mod generator;
pub mod kernel;
pub mod packets;
pub mod settings;

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use forward::Forwarder;
use generator::{PacketPool, SendTimes, drive};
use settings::Settings;

/// Where a run is: warming up, being measured, over. Shared by its threads.
#[derive(Clone, Default)]
pub struct Phase(Arc<AtomicU8>);

impl Phase {
    const MEASURED: u8 = 1;
    const OVER: u8 = 2;

    /// Whether counting has begun.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::MEASURED
    }

    /// Whether every thread is to end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::OVER
    }

    /// Counting begins.
    pub fn begin_measuring(&self) {
        self.0.store(Self::MEASURED, Ordering::Release);
    }

    /// Every thread is to end.
    pub fn end(&self) {
        self.0.store(Self::OVER, Ordering::Release);
    }
}

/// What one worker did while it was measured.
#[derive(Clone, Default, Debug)]
pub struct Figures {
    /// Packets received.
    pub packets_in: u64,
    /// Packets sent: received ones times viewers.
    pub packets_out: u64,
    /// CPU time of the worker's thread.
    pub cpu_nanos: u64,
    /// Time that passed.
    pub wall_nanos: u64,
    /// Times it woke up.
    pub wakeups: u64,
    /// System calls that sent.
    pub send_calls: u64,
    /// From the generator's send call to the end of the worker's, of every packet; empty unless asked for.
    pub latencies: Latencies,
}

impl Figures {
    /// CPU-ns per forwarded packet: the figure that everything else is compared by.
    #[must_use]
    pub fn cost(&self) -> f64 {
        self.cpu_nanos as f64 / self.packets_out.max(1) as f64
    }

    /// Packets per wake-up.
    #[must_use]
    pub fn batch(&self) -> f64 {
        self.packets_in as f64 / self.wakeups.max(1) as f64
    }

    /// Share of the time that the thread ran.
    #[must_use]
    pub fn busy(&self) -> f64 {
        self.cpu_nanos as f64 / self.wall_nanos.max(1) as f64
    }
}

/// Latencies in nanoseconds, in any order.
#[derive(Clone, Default, Debug)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// Higher: more of a long run is looked at; lower: less memory. A second at full speed fits.
    const LEN_MAX: usize = 4_000_000;

    /// Room for as many as are ever kept, so that recording never allocates.
    #[must_use]
    pub fn reserved() -> Self {
        Self(Vec::with_capacity(Self::LEN_MAX))
    }

    /// Keeps one.
    pub fn record(&mut self, nanos: u64) {
        if self.0.len() < self.0.capacity() {
            self.0.push(u32::try_from(nanos).unwrap_or(u32::MAX));
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The value that `share` of them do not exceed, in microseconds; 0 without any.
    #[must_use]
    pub fn quantile_micros(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len().saturating_sub(1) as f64 * share) as usize;
        sorted.get(at).map_or(0.0, |&nanos| f64::from(nanos) / 1000.0)
    }
}

/// Runs the settings once: every worker's figures.
///
/// # Panics
/// When a socket cannot be bound or the kernel refuses to send: there is no figure then.
#[must_use]
pub fn run(settings: &Settings) -> Vec<Figures> {
    let phase = Phase::default();
    let mut workers = Vec::new();
    for index in 0..settings.workers {
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, FIRST_PORT + index as u16);
        let socket = UdpSocket::bind(address).expect("a free port of the private namespace");
        let processed = Arc::new(AtomicU64::new(0));
        let sent_at = Arc::new(SendTimes::new());
        let worker = {
            let (settings, phase) = (settings.clone(), phase.clone());
            let (processed, sent_at) = (Arc::clone(&processed), Arc::clone(&sent_at));
            let run = move || {
                kernel::pin_to_core(index);
                Forwarder::new(&settings, socket, index, &sent_at).run(&phase, &processed)
            };
            // A name by which a profiler tells it from the generator.
            thread::Builder::new().name(format!("probe-{index}")).spawn(run).expect("a thread")
        };
        let generator = {
            let (settings, phase) = (settings.clone(), phase.clone());
            thread::spawn(move || {
                kernel::pin_to_core(GENERATOR_CORE);
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
                socket.connect(address).expect("a local address");
                let mut pool = PacketPool::new(&settings);
                let progress = || processed.load(Ordering::Acquire);
                drive(&settings, &socket, &phase, &sent_at, &mut pool, progress, || {});
            })
        };
        workers.push((worker, generator));
    }
    thread::sleep(WARM_UP);
    phase.begin_measuring();
    thread::sleep(Duration::from_millis(settings.millis));
    phase.end();
    workers
        .into_iter()
        .map(|(worker, generator)| {
            generator.join().expect("a generator that ends");
            worker.join().expect("a worker that ends")
        })
        .collect()
}

/// Long enough for keys, buffers and caches to be warm.
pub const WARM_UP: Duration = Duration::from_millis(60);
/// Workers take the cores from 0 on; the generators of all of them share this one.
pub const GENERATOR_CORE: usize = 1;
const FIRST_PORT: u16 = 20_000;
