//! What wakes a worker from other threads: an eventfd, and a mark that frames of local legs wait.
//!
//! Not here: what waits (`mailbox`, `local`). Ringing twice before the worker wakes is one system call, not two.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

/// One worker's bell; clones ring the same one.
#[derive(Clone)]
pub struct Bell(Arc<Shared>);

struct Shared {
    fd: OwnedFd,
    frames_wait: AtomicBool,
}

impl Bell {
    /// A bell that nobody hears yet.
    ///
    /// # Errors
    /// The system has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Shared { fd, frames_wait: AtomicBool::new(false) })))
    }

    /// What becomes readable when it rings.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }

    /// Wakes the worker.
    pub(super) fn ring(&self) {
        // A full counter already means "ring": nothing is lost when this fails.
        rustix::io::write(self.0.fd.as_fd(), &1u64.to_ne_bytes()).ok();
    }

    /// Makes the bell silent until it is rung again.
    pub(super) fn silence(&self) {
        rustix::io::read(self.0.fd.as_fd(), &mut [0; 8]).ok();
    }

    /// Wakes the worker for frames, unless it has been rung for that and not looked yet.
    pub(super) fn ring_for_frames(&self) {
        if !self.0.frames_wait.swap(true, Ordering::AcqRel) {
            self.ring();
        }
    }

    /// Whether it was rung for frames since the last call.
    pub(super) fn take_frames_mark(&self) -> bool {
        // Most turns of a worker without telephones: no write to a line that others read.
        self.0.frames_wait.load(Ordering::Acquire) && self.0.frames_wait.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(bell: &Bell) -> u64 {
        let mut count = [0; 8];
        rustix::io::read(bell.fd(), &mut count).map_or(0, |_| u64::from_ne_bytes(count))
    }

    #[test]
    fn rings_once_for_all_frames_of_a_tick_and_again_after_the_worker_looked() {
        let bell = Bell::new().unwrap();
        assert!(!bell.take_frames_mark());
        for _ in 0..5 {
            bell.clone().ring_for_frames();
        }
        assert_eq!(rings(&bell), 1);
        assert!(bell.take_frames_mark() && !bell.take_frames_mark());
        bell.ring_for_frames();
        assert_eq!(rings(&bell), 1);
    }
}
