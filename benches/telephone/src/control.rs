//! A thread beside the media thread that wakes on the same kind of deadlines and does nothing: how late is it?
//!
//! What makes it late is the machine (a hypervisor that gave the core away, other programs), not the telephone. A second in which it
//! was on time is a second in which lateness of the media thread is the media thread's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use colloque::telephone::media::clock::{LATE_AFTER, SLOT};

/// Runs until it is dropped.
pub struct Control {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    wakes: AtomicU64,
    late: AtomicU64,
    stop: AtomicBool,
}

impl Control {
    pub fn start() -> Self {
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        Self { shared, thread: Some(std::thread::spawn(move || of_thread.run())) }
    }

    /// Deadlines so far, and those that it missed by as much as makes a frame late.
    pub fn read(&self) -> (u64, u64) {
        (self.shared.wakes.load(Ordering::Relaxed), self.shared.late.load(Ordering::Relaxed))
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut due = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            due += SLOT;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.wakes.fetch_add(1, Ordering::Relaxed);
            if due.elapsed() > LATE_AFTER {
                self.late.fetch_add(1, Ordering::Relaxed);
            }
            if due.elapsed() > Duration::from_secs(1) {
                due = Instant::now();
            }
        }
    }
}
