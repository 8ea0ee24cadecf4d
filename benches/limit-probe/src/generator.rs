//! The publisher's side, alike for the probe and for the worker's benchmark: sends a burst whenever the window or the
//! clock allows, on its own core.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::Phase;
use crate::kernel::{self, BURST_MAX};
use crate::packets::{Publisher, number_of};
use crate::settings::Settings;

/// Where the packets come from.
pub trait PacketSource {
    /// The next `len` packets.
    fn next_burst(&mut self, len: usize) -> &[Vec<u8>];
}

/// Packets sealed beforehand, over and over again: only a worker without replay protection takes them.
pub struct PacketPool {
    packets: Vec<Vec<u8>>,
    next: usize,
}

impl PacketPool {
    /// Packets in the pool, about; a whole number of bursts.
    const LEN: usize = 1440;

    /// Seals them.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let publisher = Publisher::new();
        let len = Self::LEN.next_multiple_of(settings.burst);
        let packets = (0..len).map(|index| publisher.seal(index as u16, settings.size_of(index))).collect();
        Self { packets, next: 0 }
    }
}

impl PacketSource for PacketPool {
    fn next_burst(&mut self, len: usize) -> &[Vec<u8>] {
        let at = self.next;
        self.next = (at + len) % self.packets.len();
        &self.packets[at..at + len]
    }
}

/// When each packet was sent, by its sequence number: wall clock, so that it compares with the kernel's time stamps.
pub struct SendTimes(Box<[AtomicU64]>);

impl SendTimes {
    /// None sent yet.
    #[must_use]
    pub fn new() -> Self {
        Self((0..=u16::MAX).map(|_| AtomicU64::new(0)).collect())
    }

    /// When the packet was sent, in nanoseconds since 1970.
    #[must_use]
    pub fn of(&self, number: u16) -> u64 {
        self.0[usize::from(number)].load(Ordering::Relaxed)
    }

    fn record(&self, packet: &[u8], nanos: u64) {
        self.0[usize::from(number_of(packet))].store(nanos, Ordering::Relaxed);
    }
}

impl Default for SendTimes {
    fn default() -> Self {
        Self::new()
    }
}

/// Sends bursts until the run is over. `progress` tells how many packets the worker is done with; `idle` is called
/// again and again while there is nothing to send.
pub fn drive(
    settings: &Settings,
    socket: &UdpSocket,
    phase: &Phase,
    sent_at: &SendTimes,
    source: &mut impl PacketSource,
    progress: impl Fn() -> u64,
    mut idle: impl FnMut(),
) {
    assert!(settings.burst <= BURST_MAX);
    let burst = settings.burst as u64;
    let mut clock = RandomClock::new(settings.rate);
    let mut sent = 0;
    while !phase.is_over() {
        if settings.rate > 0.0 {
            clock.wait(&mut idle);
            if sent - progress() > UNDER_WAY_MAX {
                continue;
            }
        } else {
            sent = wait_for_window(sent, settings.window as u64 * burst - burst, phase, &progress, &mut idle);
        }
        let packets = source.next_burst(settings.burst);
        let now = kernel::wall_nanos();
        packets.iter().for_each(|packet| sent_at.record(packet, now));
        kernel::send_burst(socket, packets);
        sent += burst;
    }
}

/// Waits until no more than `under_way_max` packets are under way. Returns how many are taken as sent: packets that the
/// kernel lost are forgotten after a while.
fn wait_for_window(
    sent: u64,
    under_way_max: u64,
    phase: &Phase,
    progress: &impl Fn() -> u64,
    idle: &mut impl FnMut(),
) -> u64 {
    let mut spins = 0_u32;
    while sent.saturating_sub(progress()) > under_way_max && !phase.is_over() {
        spins += 1;
        if spins.is_multiple_of(64) {
            thread::yield_now();
            idle();
        }
        std::hint::spin_loop();
        if spins > STALLED_SPINS {
            eprintln!("the worker does not take what it was sent");
            return progress();
        }
    }
    sent
}

/// Exponential intervals: as many publishers that know nothing of each other.
struct RandomClock {
    rate: f64,
    next: f64,
    state: u64,
}

impl RandomClock {
    fn new(rate: f64) -> Self {
        Self { rate, next: kernel::monotonic_nanos() as f64, state: 0x9e37_79b9_7f4a_7c15 }
    }

    fn wait(&mut self, idle: &mut impl FnMut()) {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let uniform = ((self.state >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        self.next += -uniform.ln() * 1e9 / self.rate;
        while (kernel::monotonic_nanos() as f64) < self.next {
            idle();
            std::hint::spin_loop();
        }
    }
}

/// Beyond this a worker at a given rate is overloaded; sending more would only measure the kernel's queue.
const UNDER_WAY_MAX: u64 = 400;
/// About a quarter of a second.
const STALLED_SPINS: u32 = 20_000_000;
