//! Handshake datagrams that wait for a quieter moment: a handshake takes as long as hundreds of packets do, and in a storm
//! of joins those packets must not stand behind it.
//!
//! Not here: what becomes of them (`transport`). Bounded: a few datagrams a leg, and a leg is there only because it was
//! admitted. Nothing is lost that DTLS would not send again.

use std::collections::VecDeque;

use crate::drops::DropReason;
use crate::transport::batch::Path;

/// First come, first served, whichever leg's.
#[derive(Default)]
pub(super) struct Handshakes(VecDeque<Waiting>);

/// One datagram, as it came.
pub(super) struct Waiting {
    pub(super) path: Path,
    pub(super) datagram: Box<[u8]>,
}

impl Handshakes {
    /// A client's longest flight, doubled by a network, and some of its next one.
    const PER_PATH_MAX: usize = 8;
    /// For everyone together. Longer: joins of a storm that have given up hold up those that have not.
    const LEN_MAX: usize = 2048;

    /// Queues one.
    ///
    /// # Errors
    /// There are too many; it is dropped, and the far side sends it again.
    pub(super) fn push(&mut self, path: Path, datagram: &[u8]) -> Result<(), DropReason> {
        // A walk through the queue costs less than one of the handshakes in it.
        let of_path = self.0.iter().filter(|waiting| waiting.path == path).count();
        if of_path >= Self::PER_PATH_MAX || self.0.len() >= Self::LEN_MAX {
            return Err(DropReason::HandshakeQueueFull);
        }
        self.0.push_back(Waiting { path, datagram: datagram.into() });
        Ok(())
    }

    /// The oldest.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::batch::LocalSocket;

    fn path(port: u16) -> Path {
        Path { local: LocalSocket(0), remote: ([192, 0, 2, 1], port).into() }
    }

    #[test]
    fn they_come_out_in_the_order_of_their_arrival() {
        let mut waiting = Handshakes::default();
        for (port, byte) in [(1, 1), (2, 2), (1, 3)] {
            waiting.push(path(port), &[byte]).unwrap();
        }
        let order: Vec<u8> = std::iter::from_fn(|| waiting.pop()).map(|waiting| waiting.datagram[0]).collect();
        assert_eq!(order, [1, 2, 3]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn one_that_floods_takes_nobody_elses_place() {
        let mut waiting = Handshakes::default();
        let taken = (0..100).filter(|_| waiting.push(path(1), &[22]).is_ok()).count();
        assert_eq!(taken, Handshakes::PER_PATH_MAX);
        assert_eq!(waiting.push(path(1), &[22]), Err(DropReason::HandshakeQueueFull));
        assert_eq!(waiting.push(path(2), &[22]), Ok(()));
    }

    #[test]
    fn there_is_an_end_to_how_many_wait() {
        let mut waiting = Handshakes::default();
        let taken = (0..4096).filter(|&port| waiting.push(path(port), &[22]).is_ok()).count();
        assert_eq!(taken, Handshakes::LEN_MAX);
    }
}
