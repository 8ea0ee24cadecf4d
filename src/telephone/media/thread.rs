//! A media thread: takes its calls' frames on the clock's deadlines, sleeps in between, and measures itself.
//!
//! Not here: what a frame is (`leg`), the order of deadlines (`clock`). A call whose work panics is over, and no other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use crate::worker::socket::ReceiveBatch;

use super::clock::{Backlog, Due, Effort, Interval, LATE_AFTER, PHASES, Rota, Strain};
use super::counters::{Counters, Published};
use super::leg::{Leg, Life, Turn};

/// What others see of a thread.
pub(super) struct Gauge {
    /// Calls on it or on their way to it.
    pub(super) legs: AtomicUsize,
    pub(super) takes_calls: AtomicBool,
    pub(super) figures: Published,
}

impl Gauge {
    pub(super) fn new() -> Self {
        Self { legs: AtomicUsize::new(0), takes_calls: AtomicBool::new(true), figures: Published::default() }
    }
}

/// See the module.
pub(super) struct MediaThread {
    arrivals: Receiver<Box<Leg>>,
    phases: [Vec<Box<Leg>>; PHASES],
    rota: Rota,
    batch: ReceiveBatch,
    counters: Counters,
    gauge: Arc<Gauge>,
    strain: Strain,
    effort: Effort,
    backlog: Backlog,
    /// What the thread had computed when its last phase was done.
    cpu: Duration,
    measured: Measured,
}

/// Where the running second began.
struct Measured {
    at: Instant,
    cpu: Duration,
    frames: u64,
    late: u64,
}

impl MediaThread {
    pub(super) fn new(arrivals: Receiver<Box<Leg>>, gauge: Arc<Gauge>) -> Self {
        let now = Instant::now();
        Self {
            arrivals,
            phases: std::array::from_fn(|_| Vec::new()),
            rota: Rota::new(now),
            batch: ReceiveBatch::new(),
            counters: Counters::default(),
            gauge,
            strain: Strain::new(),
            effort: Effort::Full,
            backlog: Backlog::default(),
            cpu: Duration::ZERO,
            measured: Measured { at: now, cpu: Duration::ZERO, frames: 0, late: 0 },
        }
    }

    /// Runs until the pool is gone and the last call is over.
    pub(super) fn run(mut self) {
        raise_priority();
        while self.welcome() {
            let now = Instant::now();
            match self.rota.poll(now, |phase| !self.phases[phase].is_empty()) {
                Due::Frames { phase, deadline } => self.run_phase(phase, deadline),
                Due::Wait(until) => std::thread::sleep(until.saturating_duration_since(now)),
                Due::Idle => {
                    if !self.wait_for_a_call() {
                        return;
                    }
                }
            }
            self.measure();
        }
    }

    /// Gives new calls a phase. False when neither calls nor a pool are left.
    fn welcome(&mut self) -> bool {
        loop {
            match self.arrivals.try_recv() {
                Ok(leg) => self.place(leg),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return self.phases.iter().any(|legs| !legs.is_empty()),
            }
        }
    }

    fn wait_for_a_call(&mut self) -> bool {
        match self.arrivals.recv_timeout(MEASURE_INTERVAL) {
            Ok(leg) => self.place(leg),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    fn place(&mut self, leg: Box<Leg>) {
        let emptiest = self.phases.iter_mut().min_by_key(|legs| legs.len()).expect("there are phases");
        emptiest.push(leg);
    }

    fn run_phase(&mut self, phase: usize, deadline: Instant) {
        let mut legs = std::mem::take(&mut self.phases[phase]);
        let frames = legs.len() as u64;
        legs.retain_mut(|leg| {
            let mut turn =
                Turn { now: Instant::now(), batch: &mut self.batch, counters: &mut self.counters, effort: self.effort };
            let life = catch_unwind(AssertUnwindSafe(|| leg.tick(&mut turn))).unwrap_or_else(|_| {
                self.counters.failed_calls += 1;
                tracing::error!("a telephone call's media failed and was closed");
                Life::Over
            });
            self.counters.frames += 1;
            if deadline.elapsed() > LATE_AFTER {
                self.counters.frames_late += 1;
            }
            if life == Life::Over {
                self.gauge.legs.fetch_sub(1, Ordering::Relaxed);
            }
            life == Life::Goes
        });
        for leg in &mut legs {
            leg.ring();
        }
        self.phases[phase] = legs;
        let cpu = thread_cpu();
        // The last of a phase's frames speaks for all: they are few.
        if self.backlog.record(deadline, cpu.saturating_sub(self.cpu)) > LATE_AFTER {
            self.counters.frames_late_by_work += frames;
        }
        self.cpu = cpu;
    }

    /// Once a second: what was it like, and what follows from it.
    fn measure(&mut self) {
        let now = Instant::now();
        let wall = now.saturating_duration_since(self.measured.at);
        if wall < MEASURE_INTERVAL {
            return;
        }
        let cpu = thread_cpu();
        let interval = Interval {
            wall,
            busy: cpu.saturating_sub(self.measured.cpu),
            frames: self.counters.frames - self.measured.frames,
            late: self.counters.frames_late - self.measured.late,
        };
        self.effort = self.strain.record(interval);
        self.measured = Measured { at: now, cpu, frames: self.counters.frames, late: self.counters.frames_late };
        self.counters.seconds_reduced += u64::from(self.effort == Effort::Reduced);
        self.counters.seconds_refusing += u64::from(!self.strain.takes_calls());
        self.counters.cpu_nanoseconds = cpu.as_nanos() as u64;
        self.counters.stalls = self.rota.stalls();
        self.gauge.figures.publish(&self.counters);
        self.gauge.takes_calls.store(self.strain.takes_calls(), Ordering::Relaxed);
    }
}

fn thread_cpu() -> Duration {
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32)
}

/// Before ordinary threads, as far as the system permits: a frame that waits is heard.
fn raise_priority() {
    // Refused to the unprivileged: then the scheduler's fairness must do.
    rustix::process::setpriority_process(None, NICE).ok();
}

const MEASURE_INTERVAL: Duration = Duration::from_secs(1);
/// As sound servers ask for.
const NICE: i32 = -11;
