//! A worker's figures for `/metrics`: plain atomics that the worker overwrites a few times a second.
//!
//! The media path itself counts in the `Sfu`'s plain integers; nothing here is touched per packet, and a reader
//! takes no lock. Figures of one read may be a publication apart from each other. Only how far the worker has come is
//! told at once, batch by batch: whoever drives or watches it must not wait for a publication.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sfu::counters::Counters;

/// Figures that only the worker knows.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct IoCounters {
    /// Wake-ups of the loop.
    pub turns: u64,
    /// recvmmsg calls.
    pub receive_calls: u64,
    /// sendmmsg calls.
    pub send_calls: u64,
    /// Datagrams that the kernel refused to send.
    pub send_refused: u64,
    /// What the kernel dropped at full receive buffers.
    pub kernel_drops: u64,
    /// What the kernel dropped because the filter refused it.
    pub kernel_filtered: u64,
    /// CPU time of the worker's thread in nanoseconds.
    pub cpu_nanos: u64,
}

/// The published copy, shared between a worker and its readers.
pub struct PublishedCounters {
    sfu: Vec<AtomicU64>,
    io: [AtomicU64; 7],
    progress: Progress,
}

/// On a cache line of its own, which a reader may poll.
#[derive(Default)]
#[repr(align(64))]
struct Progress {
    turns: AtomicU64,
    datagrams: AtomicU64,
}

impl PublishedCounters {
    /// All zero.
    #[must_use]
    pub fn new() -> Self {
        let mut len = 0;
        Counters::default().for_each(|_, _, _| len += 1);
        Self {
            sfu: (0..len).map(|_| AtomicU64::new(0)).collect(),
            io: Default::default(),
            progress: Progress::default(),
        }
    }

    /// Overwrites everything. Only the owning worker calls it.
    pub fn publish(&self, sfu: &Counters, io: IoCounters) {
        let mut slots = self.sfu.iter();
        sfu.for_each(|_, _, value| {
            if let Some(slot) = slots.next() {
                slot.store(value, Ordering::Relaxed);
            }
        });
        let IoCounters { turns, receive_calls, send_calls, send_refused, kernel_drops, kernel_filtered, cpu_nanos } =
            io;
        let values = [turns, receive_calls, send_calls, send_refused, kernel_drops, kernel_filtered, cpu_nanos];
        for (slot, value) in self.io.iter().zip(values) {
            slot.store(value, Ordering::Relaxed);
        }
    }

    /// Tells how far the worker has come: after every batch of datagrams, once what follows from them was sent.
    pub fn publish_progress(&self, turns: u64, datagrams: u64) {
        self.progress.turns.store(turns, Ordering::Release);
        self.progress.datagrams.store(datagrams, Ordering::Release);
    }

    /// Wake-ups so far.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.progress.turns.load(Ordering::Acquire)
    }

    /// Datagrams that the worker has received and is done with.
    #[must_use]
    pub fn datagrams_done(&self) -> u64 {
        self.progress.datagrams.load(Ordering::Acquire)
    }

    /// Calls `each` with the metric's name, its `reason` label when it has one, and its value.
    pub fn for_each(&self, mut each: impl FnMut(&'static str, Option<&'static str>, u64)) {
        let mut slots = self.sfu.iter();
        Counters::default().for_each(|name, reason, _| {
            if let Some(slot) = slots.next() {
                each(name, reason, slot.load(Ordering::Relaxed));
            }
        });
    }

    /// The worker's own figures.
    #[must_use]
    pub fn io(&self) -> IoCounters {
        let [turns, receive_calls, send_calls, send_refused, kernel_drops, kernel_filtered, cpu_nanos] =
            std::array::from_fn(|index| self.io[index].load(Ordering::Relaxed));
        IoCounters { turns, receive_calls, send_calls, send_refused, kernel_drops, kernel_filtered, cpu_nanos }
    }
}

impl Default for PublishedCounters {
    fn default() -> Self {
        Self::new()
    }
}
