//! What the server told one page, numbered and kept until the page says that it read it.
//!
//! Outlives the socket: while the page is away the server keeps pushing here, and a resumption sends again everything
//! after what the page had read. Bounded; when it forgot something the page needs, resumption fails and the page starts
//! afresh with a `welcome`.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::message::{ServerEnvelope, ServerMessage};

/// Messages kept unread. Lower forces more fresh starts after a bad network, higher costs memory a seat.
pub const KEPT_MAX: usize = 256;

/// Bytes kept unread; an answer of a large page is some 100 KiB.
pub const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Numbered messages of one seat's page, from 1. No `Debug`: frames hold names and tickets.
#[derive(Default)]
pub struct Outbox {
    /// Consecutive numbers, the last is `last`.
    kept: VecDeque<Arc<str>>,
    bytes: usize,
    last: u32,
}

impl Outbox {
    /// Numbers and keeps a message; returns its frame.
    pub fn push(&mut self, message: ServerMessage) -> Arc<str> {
        // 2^32 messages at the rate limit's pace are years; a seat lives hours.
        self.last = self.last.saturating_add(1);
        let frame = frame(self.last, message);
        self.bytes += frame.len();
        self.kept.push_back(Arc::clone(&frame));
        while self.kept.len() > KEPT_MAX || self.bytes > KEPT_BYTES_MAX {
            self.forget_oldest();
        }
        frame
    }

    /// Number of the newest message; 0 before the first.
    #[must_use]
    pub fn last(&self) -> u32 {
        self.last
    }

    /// Forgets everything up to `received`; false when that was never sent.
    pub(crate) fn handle_ack(&mut self, received: u32) -> bool {
        if received > self.last {
            return false;
        }
        while self.first_kept() <= received {
            self.forget_oldest();
        }
        true
    }

    /// Every frame after `received`, oldest first; `None` when some of them are forgotten or `received` was never sent.
    pub(crate) fn after(&self, received: u32) -> Option<impl Iterator<Item = Arc<str>>> {
        let known = received <= self.last && received + 1 >= self.first_kept();
        known.then(|| self.kept.iter().skip((received + 1 - self.first_kept()) as usize).cloned())
    }

    /// Number of the oldest kept message, or of the next one when none is.
    fn first_kept(&self) -> u32 {
        self.last + 1 - self.kept.len() as u32
    }

    fn forget_oldest(&mut self) {
        if let Some(frame) = self.kept.pop_front() {
            self.bytes -= frame.len();
        }
    }
}

/// The text frame of a message; `seq` 0 for one that is not kept.
pub(crate) fn frame(seq: u32, message: ServerMessage) -> Arc<str> {
    let envelope = ServerEnvelope { seq, message };
    serde_json::to_string(&envelope).expect("messages hold nothing that JSON cannot").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(outbox: &Outbox, received: u32) -> Option<Vec<u32>> {
        let numbers = outbox.after(received)?.map(|frame| {
            let envelope: ServerEnvelope = serde_json::from_str(&frame).unwrap();
            envelope.seq
        });
        Some(numbers.collect())
    }

    #[test]
    fn sends_again_exactly_what_was_not_read() {
        let mut outbox = Outbox::default();
        assert_eq!(after(&outbox, 0), Some(vec![]));
        for _ in 0..5 {
            outbox.push(ServerMessage::Admitted);
        }
        assert_eq!(after(&outbox, 0), Some(vec![1, 2, 3, 4, 5]));
        assert!(outbox.handle_ack(3));
        assert_eq!(after(&outbox, 3), Some(vec![4, 5]));
        assert_eq!(after(&outbox, 5), Some(vec![]));
        assert_eq!(after(&outbox, 2), None, "3 is forgotten");
        assert_eq!(after(&outbox, 6), None, "6 was never sent");
        assert!(outbox.handle_ack(1), "an old acknowledgement is harmless");
        assert!(!outbox.handle_ack(6));
        assert_eq!(after(&outbox, u32::MAX), None);
    }

    #[test]
    fn is_bounded_in_messages_and_bytes() {
        let mut outbox = Outbox::default();
        for _ in 0..KEPT_MAX + 10 {
            outbox.push(ServerMessage::Admitted);
        }
        assert_eq!(outbox.kept.len(), KEPT_MAX);
        assert_eq!(after(&outbox, 9), None);
        assert_eq!(after(&outbox, 10).map(|numbers| numbers.len()), Some(KEPT_MAX));
        for _ in 0..20 {
            outbox.push(ServerMessage::Answer { id: 1, sdp: "x".repeat(100 * 1024) });
        }
        assert!(outbox.bytes <= KEPT_BYTES_MAX && outbox.kept.len() < 20);
        assert_eq!(outbox.bytes, outbox.kept.iter().map(|frame| frame.len()).sum::<usize>());
    }
}
