//! The transmit batch: one contiguous arena that the media path writes into and the worker sends from.
//!
//! Neighbouring datagrams of one path lie side by side, so that the worker can hand a run of equal sizes to
//! the kernel as one UDP_SEGMENT message without a copy. Bounded; when full, the packet is dropped and counted.

use std::net::SocketAddr;

use super::local::LocalBatch;

/// Index of one of the worker's sockets (one per `--media-addr`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LocalSocket(pub u8);

/// A network path of a leg: our socket and the far address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Path {
    /// Which of our sockets.
    pub local: LocalSocket,
    /// The far address as the socket saw it. Personal data: never log it.
    pub remote: SocketAddr,
}

/// One datagram of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Datagram {
    /// Where it goes.
    pub path: Path,
    /// Offset of its first byte in the arena.
    pub offset: usize,
    /// Bytes.
    pub len: usize,
}

/// Datagrams to send and frames to hand out, in order. Appended to by `transport` and `sfu`, emptied by the worker.
pub struct TransmitBatch {
    arena: Box<[u8]>,
    used: usize,
    datagrams: Vec<Datagram>,
    local: LocalBatch,
}

impl TransmitBatch {
    /// Largest datagram we build: an Ethernet MTU with room for tunnels is kept by senders; this is the hard bound.
    pub const DATAGRAM_LEN_MAX: usize = 2048;
    /// What a full media packet takes at most; longer ones only mean that room is misjudged.
    const PACKET_LEN_USUAL: usize = 1300;

    /// A batch of at most `datagrams_max` datagrams in an arena of `bytes`.
    #[must_use]
    pub fn new(bytes: usize, datagrams_max: usize) -> Self {
        Self {
            arena: vec![0; bytes].into_boxed_slice(),
            used: 0,
            datagrams: Vec::with_capacity(datagrams_max),
            local: LocalBatch::default(),
        }
    }

    /// Lets `write` fill up to [`Self::DATAGRAM_LEN_MAX`] bytes and returns what it returned. `write` gives the
    /// datagram's length; 0 means nothing to send. Returns `None` without calling it when the batch is full.
    #[inline]
    pub fn push(&mut self, path: Path, write: impl FnOnce(&mut [u8]) -> usize) -> Option<usize> {
        if self.is_full() {
            return None;
        }
        let offset = self.used;
        let len = write(&mut self.arena[offset..offset + Self::DATAGRAM_LEN_MAX]);
        debug_assert!(len <= Self::DATAGRAM_LEN_MAX);
        if len > 0 {
            self.used += len;
            self.datagrams.push(Datagram { path, offset, len });
        }
        Some(len)
    }

    /// Whether the next `push` would be refused. The worker sends and clears before that happens.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.datagrams.len() == self.datagrams.capacity() || self.arena.len() - self.used < Self::DATAGRAM_LEN_MAX
    }

    /// Whether no datagram waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Whether that many full packets fit besides what is in it.
    #[must_use]
    pub fn has_room_for(&self, datagrams: usize) -> bool {
        self.datagrams.capacity() - self.datagrams.len() >= datagrams
            && self.arena.len() - self.used >= datagrams * Self::PACKET_LEN_USUAL + Self::DATAGRAM_LEN_MAX
    }

    /// What waits to be sent.
    #[must_use]
    pub fn datagrams(&self) -> &[Datagram] {
        &self.datagrams
    }

    /// The bytes that [`Datagram::offset`] points into.
    #[must_use]
    pub fn arena(&self) -> &[u8] {
        &self.arena
    }

    /// The bytes of one datagram.
    #[must_use]
    pub fn bytes(&self, datagram: &Datagram) -> &[u8] {
        &self.arena[datagram.offset..datagram.offset + datagram.len]
    }

    /// What waits for legs within this process.
    #[must_use]
    pub fn local(&self) -> &LocalBatch {
        &self.local
    }

    /// The place of what waits for legs within this process.
    pub fn local_mut(&mut self) -> &mut LocalBatch {
        &mut self.local
    }

    /// Forgets everything; keeps the memory.
    pub fn clear(&mut self) {
        self.used = 0;
        self.datagrams.clear();
        self.local.clear();
    }
}
