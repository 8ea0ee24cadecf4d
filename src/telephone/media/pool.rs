//! The media threads together, and the handle that a call's owner holds.
//!
//! Not here: what happens on the threads (`thread`, `leg`). Nothing here waits: opening a call binds its ports and hands it
//! to the thread with the fewest calls.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rand::Rng;
use tokio::sync::mpsc;

use crate::config::telephone::Network;
use crate::sfu::egress::NtpReference;
use crate::worker::local::LocalPort;
use crate::worker::pool::ntp_reference;

use super::desk::{Connection, Desk, LastHeard, LineWish, MediaEvent, desk};
use super::leg::Leg;
use super::ports::{PortError, PortPool};
use super::prompt::{Clip, PlayId};
use super::source::SourceRule;
use super::thread::{Gauge, MediaThread};

/// What the pool is told once.
#[derive(Clone, Debug)]
pub struct MediaSettings {
    /// Address that calls' ports are bound to.
    pub bind: IpAddr,
    /// Ports for sound and reports.
    pub ports: RangeInclusive<u16>,
    /// How long a port stays closed after a call.
    pub port_rest: Duration,
    /// Threads, at least 1.
    pub threads: usize,
    /// Calls at once.
    pub legs_max: usize,
    /// 0 to 10: what Opus encoders may spend.
    pub complexity: u8,
}

/// What a new call is told.
#[derive(Clone, Debug, Default)]
pub struct LegSpec {
    /// The trunk's media networks: from where sound may come that the SDP did not announce.
    pub learnable: Vec<Network>,
}

/// Why a call gets no media.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// As many calls as are allowed, or threads that have enough to do.
    #[error("no room for another telephone call")]
    Full,
    /// No port.
    #[error(transparent)]
    Ports(#[from] PortError),
    /// libopus has no memory.
    #[error("no memory for another telephone call")]
    Memory,
}

/// All media threads. They end when every pool handle and every call is dropped.
#[derive(Clone)]
pub struct MediaPool {
    shared: Arc<Shared>,
}

struct Shared {
    threads: Vec<Thread>,
    ports: PortPool,
    ntp: NtpReference,
    legs_max: AtomicUsize,
    complexity: u8,
}

struct Thread {
    arrivals: SyncSender<Box<Leg>>,
    gauge: Arc<Gauge>,
}

impl MediaPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(settings: &MediaSettings) -> io::Result<Self> {
        let threads = (0..settings.threads.max(1)).map(start_thread).collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            shared: Arc::new(Shared {
                threads,
                ports: PortPool::new(settings.bind, settings.ports.clone(), settings.port_rest),
                ntp: ntp_reference(),
                legs_max: AtomicUsize::new(settings.legs_max),
                complexity: settings.complexity,
            }),
        })
    }

    /// Opens the media of a call: its port is open, and nothing is heard before [`MediaLeg::connect`].
    ///
    /// # Errors
    /// There is no room or no port.
    pub fn open(&self, spec: LegSpec) -> Result<(MediaLeg, mpsc::Receiver<MediaEvent>), OpenError> {
        let shared = &*self.shared;
        if self.legs() >= shared.legs_max.load(Ordering::Relaxed) {
            return Err(OpenError::Full);
        }
        let thread = least_busy(&shared.threads).ok_or(OpenError::Full)?;
        let ports = shared.ports.claim()?;
        let address = ports.rtp.address();
        let now = Instant::now();
        let (desk, inbox, events) = desk(now);
        let rule = SourceRule::new(spec.learnable);
        let seed = rand::rng().random();
        let leg = Leg::new(now, inbox, ports, rule, shared.ntp, shared.complexity, seed);
        let leg = Box::new(leg.map_err(|_| OpenError::Memory)?);
        thread.gauge.legs.fetch_add(1, Ordering::Relaxed);
        if thread.arrivals.try_send(leg).is_err() {
            thread.gauge.legs.fetch_sub(1, Ordering::Relaxed);
            return Err(OpenError::Full);
        }
        Ok((MediaLeg { desk, address, plays: AtomicU64::new(0) }, events))
    }

    /// Another limit from now on; calls that run keep their places, and threads and ports are as many as before.
    pub fn set_legs_max(&self, legs_max: usize) {
        self.shared.legs_max.store(legs_max, Ordering::Relaxed);
    }

    /// Calls that have media.
    #[must_use]
    pub fn legs(&self) -> usize {
        self.shared.threads.iter().map(|thread| thread.gauge.legs.load(Ordering::Relaxed)).sum()
    }

    /// Calls `each` with every figure of every thread: thread, name, `reason` label, value.
    pub fn read_counters(&self, each: &mut dyn FnMut(usize, &'static str, Option<&'static str>, u64)) {
        for (index, thread) in self.shared.threads.iter().enumerate() {
            thread.gauge.figures.for_each(&mut |name, reason, value| each(index, name, reason, value));
        }
    }
}

/// Of those that take a further call, the one with the fewest.
fn least_busy(threads: &[Thread]) -> Option<&Thread> {
    let ready = threads.iter().filter(|thread| thread.gauge.takes_calls.load(Ordering::Relaxed));
    ready.min_by_key(|thread| thread.gauge.legs.load(Ordering::Relaxed))
}

fn start_thread(index: usize) -> io::Result<Thread> {
    let (arrivals, receiver) = sync_channel(ARRIVALS_MAX);
    let gauge = Arc::new(Gauge::new());
    let of_thread = Arc::clone(&gauge);
    let run = move || MediaThread::new(receiver, of_thread).run();
    std::thread::Builder::new().name(format!("phone-{index}")).spawn(run)?;
    Ok(Thread { arrivals, gauge })
}

/// The owner's handle of a call's media. Dropping it says goodbye, closes the ports and lets them rest.
pub struct MediaLeg {
    desk: Desk,
    address: SocketAddr,
    plays: AtomicU64,
}

impl MediaLeg {
    /// The port of our SDP; reports come on the next.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Offer and answer agreed; again with every new agreement.
    pub fn connect(&self, connection: Connection) {
        self.desk.wish(|wishes| wishes.connection = Some(connection));
    }

    /// Plays these one after another, instead of what is being played; over the room's sound, if there is any.
    /// [`MediaEvent::PromptDone`] tells the end, unless another request takes its place.
    pub fn play(&self, clips: Vec<Clip>) -> PlayId {
        let id = PlayId(self.plays.fetch_add(1, Ordering::Relaxed));
        self.desk.wish(|wishes| wishes.play = Some((id, clips)));
        id
    }

    /// Whether a short tone is heard every 15 seconds.
    pub fn set_waiting_tone(&self, on: bool) {
        self.desk.wish(|wishes| wishes.waiting_tone = Some(on));
    }

    /// Lets telephone and room hear each other from now on. Only for a seat that is inside.
    pub fn attach(&self, port: LocalPort) {
        self.desk.wish(|wishes| wishes.line = Some(LineWish::Attach(port)));
    }

    /// Takes the telephone out of the room.
    pub fn detach(&self) {
        self.desk.wish(|wishes| wishes.line = Some(LineWish::Detach));
    }

    /// Whether the room does not hear the telephone.
    pub fn set_muted(&self, muted: bool) {
        self.desk.wish(|wishes| wishes.muted = Some(muted));
    }

    /// Whether the telephone hears its own voice a second late, while nothing else is said to it. Each begin listens anew for a voice.
    pub fn set_echo(&self, on: bool) {
        self.desk.wish(|wishes| wishes.echo = Some(on));
    }

    /// When a packet of sound left for the telephone last.
    #[must_use]
    pub fn last_sent(&self) -> Option<Instant> {
        self.desk.last_sent()
    }

    /// When the telephone was heard last.
    #[must_use]
    pub fn last_heard(&self) -> LastHeard {
        self.desk.last_heard()
    }
}

/// New calls on their way to one thread, which looks at least every 20 ms. More than that at once is an attack.
const ARRIVALS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_with_enough_to_do_get_no_further_call() {
        let thread = |legs: usize, takes_calls: bool| {
            let gauge = Gauge::new();
            gauge.legs.store(legs, Ordering::Relaxed);
            gauge.takes_calls.store(takes_calls, Ordering::Relaxed);
            Thread { arrivals: sync_channel(1).0, gauge: Arc::new(gauge) }
        };
        for (threads, chosen) in [
            (vec![thread(3, true), thread(2, true)], Some(2)),
            (vec![thread(3, true), thread(2, false)], Some(3)),
            (vec![thread(0, false), thread(0, false)], None),
        ] {
            let found = least_busy(&threads).map(|thread| thread.gauge.legs.load(Ordering::Relaxed));
            assert_eq!(found, chosen);
        }
    }
}
