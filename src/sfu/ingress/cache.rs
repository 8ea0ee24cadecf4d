//! The packets of one layer, kept once in plaintext for fan-out and for every viewer's retransmissions.
//!
//! One byte ring and one ring of [`PacketMeta`] indexed by sequence number. Both start small and double up to a
//! cap, only while packets younger than `CacheLimits::keep_min` would be lost; after that nothing allocates.
//! Not here: numbers that were never received (`nack_generator`).
//!
//! Invariant: a packet is handed out only while its bytes are whole: `position + bytes.len() >= written`.

use std::time::{Duration, Instant};

use crate::rtp::codec::MediaKind;
use crate::rtp::seq::SeqNo;

use super::meta::PacketMeta;

/// How much a cache may keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheLimits {
    /// The rings grow rather than lose a packet younger than this. Higher: more memory at the same bit rate;
    /// lower: a viewer with a long round trip asks in vain.
    pub keep_min: Duration,
    /// Older packets are never handed out. Higher: replies that come after the viewer gave up.
    pub keep_max: Duration,
    /// First size of the byte ring; a power of two.
    pub bytes_min: usize,
    /// Last size of the byte ring; a power of two.
    pub bytes_max: usize,
    /// First size of the metadata ring; a power of two above [`REORDER_MAX`].
    pub packets_min: usize,
    /// Last size of the metadata ring; a power of two.
    pub packets_max: usize,
}

impl CacheLimits {
    /// 2.5 Mbit/s for half a second fits 256 KiB; the cap holds a second at 16 Mbit/s.
    pub const VIDEO: Self = Self {
        keep_min: Duration::from_millis(500),
        keep_max: Duration::from_secs(1),
        bytes_min: 16 * 1024,
        bytes_max: 2 * 1024 * 1024,
        packets_min: 32,
        packets_max: 2048,
    };
    /// 15 packets of 20 ms; later than that, concealment has already played.
    pub const AUDIO: Self = Self {
        keep_min: Duration::from_millis(200),
        keep_max: Duration::from_millis(300),
        bytes_min: 2 * 1024,
        bytes_max: 32 * 1024,
        packets_min: 32,
        packets_max: 128,
    };

    /// The limits for a kind of media.
    #[must_use]
    pub fn of(kind: MediaKind) -> Self {
        match kind {
            MediaKind::Audio => Self::AUDIO,
            MediaKind::Video => Self::VIDEO,
        }
    }
}

/// How far before the first packet a stream's window opens, for packets that the network put in another order.
pub const REORDER_MAX: u64 = 16;

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Byte count of the ring when this packet was written.
    position: u64,
    meta: PacketMeta,
}

/// The retransmission cache of one layer stream.
#[derive(Debug)]
pub struct PacketCache {
    limits: CacheLimits,
    bytes: Vec<u8>,
    /// Bytes ever written, with the gaps left at the ring's end.
    written: u64,
    entries: Vec<Option<Entry>>,
    /// First number of the window.
    tail: SeqNo,
    /// One past the last number of the window.
    head: SeqNo,
    /// No number before this one has whole bytes, late arrivals apart.
    oldest: SeqNo,
}

impl PacketCache {
    /// Allocates nothing until the first packet: most legs never share a screen.
    #[must_use]
    pub fn new(limits: CacheLimits) -> Self {
        debug_assert!(limits.bytes_min.is_power_of_two() && limits.bytes_max.is_power_of_two());
        debug_assert!(limits.packets_min.is_power_of_two() && limits.packets_max.is_power_of_two());
        debug_assert!(limits.packets_min as u64 > REORDER_MAX);
        Self {
            limits,
            bytes: Vec::new(),
            written: 0,
            entries: Vec::new(),
            tail: SeqNo(0),
            head: SeqNo(0),
            oldest: SeqNo(0),
        }
    }

    /// Keeps a packet. `false`, and nothing is kept, when its number is older than the window or already there, or when
    /// the packet is larger than the cap.
    pub fn store(&mut self, now: Instant, meta: &PacketMeta, packet: &[u8]) -> bool {
        self.expire(now);
        if packet.len() > self.limits.bytes_max || !self.is_new(meta.seq) {
            return false;
        }
        if self.entries.is_empty() {
            self.open(meta.seq);
        }
        // Bytes first: once the window holds `seq`, its still empty entry would count as lost.
        let position = self.write(now, packet);
        self.advance(now, meta.seq);
        let slot = self.slot(meta.seq);
        self.entries[slot] = Some(Entry { position, meta: *meta });
        true
    }

    /// Whether this number lies in or after the window and was not stored.
    #[must_use]
    pub fn is_new(&self, seq: SeqNo) -> bool {
        self.entries.is_empty()
            || seq.0 >= self.head.0
            || (seq.0 >= self.tail.0 && self.entries[self.slot(seq)].is_none())
    }

    /// A packet with its plaintext, as long as its bytes are kept. Age is not looked at: the window is as of the last
    /// `store`, and a stream that stopped still answers for its last packets.
    #[must_use]
    #[inline]
    pub fn get(&self, seq: SeqNo) -> Option<(&PacketMeta, &[u8])> {
        if seq.0 < self.tail.0 || seq.0 >= self.head.0 {
            return None;
        }
        let entry = self.entries[self.slot(seq)].as_ref()?;
        if !self.is_whole(entry) {
            return None;
        }
        let start = entry.position as usize & (self.bytes.len() - 1);
        let len = usize::from(entry.meta.header_len) + usize::from(entry.meta.payload_len);
        Some((&entry.meta, self.bytes.get(start..start + len)?))
    }

    /// Forgets everything and gives the memory back: the stream ended, or another one takes its place.
    pub fn clear(&mut self) {
        *self = Self::new(self.limits);
    }

    /// Memory held by both rings, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Option<Entry>>()
    }

    fn open(&mut self, first: SeqNo) {
        self.entries.resize(self.limits.packets_min, None);
        self.bytes.resize(self.limits.bytes_min, 0);
        self.tail = SeqNo(first.0.saturating_sub(REORDER_MAX));
        self.head = self.tail;
        self.oldest = self.tail;
    }

    /// Drops from the window's old end what is past `keep_max`. Holes go with the packets after them.
    fn expire(&mut self, now: Instant) {
        let mut scan = self.tail.0;
        while scan < self.head.0 {
            if let Some(entry) = &self.entries[self.slot(SeqNo(scan))] {
                if now.saturating_duration_since(entry.meta.arrived) <= self.limits.keep_max {
                    return;
                }
                self.drop_until(scan + 1);
            }
            scan += 1;
        }
    }

    /// Moves the window so that it holds `seq`, growing the metadata ring when that would lose young packets.
    fn advance(&mut self, now: Instant, seq: SeqNo) {
        if seq.0 < self.head.0 {
            return;
        }
        let head = seq.0 + 1;
        while head - self.tail.0 > self.entries.len() as u64
            && self.entries.len() < self.limits.packets_max
            && head - self.tail.0 <= self.limits.packets_max as u64
            && self.loses_young(now, head - self.entries.len() as u64)
        {
            self.grow_entries();
        }
        let len = self.entries.len() as u64;
        self.drop_until(head.saturating_sub(len).min(self.head.0));
        if head.saturating_sub(len) > self.head.0 {
            self.tail = SeqNo(head - len);
        }
        self.head = SeqNo(head);
    }

    fn loses_young(&self, now: Instant, until: u64) -> bool {
        (self.tail.0..until.min(self.head.0))
            .any(|seq| self.entries[self.slot(SeqNo(seq))].as_ref().is_some_and(|entry| self.is_young(now, entry)))
    }

    fn grow_entries(&mut self) {
        let mut larger = vec![None; self.entries.len() * 2];
        for seq in self.tail.0..self.head.0 {
            larger[seq as usize & (self.entries.len() * 2 - 1)] = self.entries[self.slot(SeqNo(seq))];
        }
        self.entries = larger;
    }

    fn drop_until(&mut self, until: u64) {
        for seq in self.tail.0..until {
            let slot = self.slot(SeqNo(seq));
            self.entries[slot] = None;
        }
        self.tail = SeqNo(self.tail.0.max(until));
    }

    /// Copies a packet in and returns its position. A packet never wraps: it skips to the ring's start instead.
    fn write(&mut self, now: Instant, packet: &[u8]) -> u64 {
        while self.bytes.len() < self.limits.bytes_max
            && (packet.len() > self.bytes.len() || self.overwrites_young(now, packet.len()))
        {
            self.grow_bytes();
        }
        let position = self.next_position(packet.len());
        let start = position as usize & (self.bytes.len() - 1);
        self.bytes[start..start + packet.len()].copy_from_slice(packet);
        self.written = position + packet.len() as u64;
        position
    }

    fn next_position(&self, len: usize) -> u64 {
        let start = self.written as usize & (self.bytes.len() - 1);
        let skip = if start + len > self.bytes.len() { self.bytes.len() - start } else { 0 };
        self.written + skip as u64
    }

    /// Looks at the oldest packet only: bytes are written in about the order of numbers.
    fn overwrites_young(&mut self, now: Instant, len: usize) -> bool {
        let written = self.next_position(len) + len as u64;
        self.oldest = self.oldest.max(self.tail);
        while self.oldest < self.head {
            if let Some(entry) = self.entries[self.slot(self.oldest)].filter(|entry| self.is_whole(entry)) {
                return entry.position + (self.bytes.len() as u64) < written && self.is_young(now, &entry);
            }
            self.oldest = SeqNo(self.oldest.0 + 1);
        }
        false
    }

    fn grow_bytes(&mut self) {
        let len = self.bytes.len() * 2;
        let mut larger = vec![0; len];
        // So far ahead that what was already overwritten stays so under the new length.
        let base = self.written.next_multiple_of(len as u64) + len as u64;
        let mut at = 0;
        for seq in (self.tail.0..self.head.0).map(SeqNo) {
            let Some((meta, packet)) = self.get(seq) else { continue };
            let (meta, packet_len) = (*meta, packet.len());
            larger[at..at + packet_len].copy_from_slice(packet);
            let slot = self.slot(seq);
            self.entries[slot] = Some(Entry { position: base + at as u64, meta });
            at += packet_len;
        }
        self.bytes = larger;
        self.written = base + at as u64;
    }

    fn is_whole(&self, entry: &Entry) -> bool {
        entry.position + self.bytes.len() as u64 >= self.written
    }

    fn is_young(&self, now: Instant, entry: &Entry) -> bool {
        now.saturating_duration_since(entry.meta.arrived) < self.limits.keep_min
    }

    fn slot(&self, seq: SeqNo) -> usize {
        seq.0 as usize & (self.entries.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::codec::Codec;
    use crate::rtp::frame::FrameInfo;
    use crate::sfu::ingress::meta::{ExtensionRange, LayerIndex};

    const SMALL: CacheLimits = CacheLimits {
        keep_min: Duration::from_millis(500),
        keep_max: Duration::from_secs(1),
        bytes_min: 1024,
        bytes_max: 8192,
        packets_min: 32,
        packets_max: 128,
    };

    struct Bench {
        start: Instant,
        cache: PacketCache,
    }

    impl Bench {
        fn new(limits: CacheLimits) -> Self {
            Self { start: Instant::now(), cache: PacketCache::new(limits) }
        }

        fn at(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        fn store(&mut self, millis: u64, seq: u64, len: usize) -> bool {
            let now = self.at(millis);
            let meta = PacketMeta {
                seq: SeqNo(seq),
                arrived: now,
                timestamp: 0,
                codec: Codec::Vp8,
                frame: FrameInfo::default(),
                header_len: 12,
                payload_len: (len - 12) as u16,
                dependency_descriptor: ExtensionRange::default(),
                video_orientation: ExtensionRange::default(),
                playout_delay: ExtensionRange::default(),
                color_space: ExtensionRange::default(),
                audio_level: ExtensionRange::default(),
                layer: LayerIndex(0),
                epoch: 0,
                marker: false,
                red: false,
            };
            let stored = self.cache.store(now, &meta, &content(seq, len));
            self.check(seq);
            stored
        }

        /// Whatever is handed out is whole and the packet that was asked for; sizes stay within their caps.
        fn check(&self, around: u64) {
            for seq in around.saturating_sub(300)..around + 300 {
                if let Some((meta, packet)) = self.cache.get(SeqNo(seq)) {
                    assert_eq!(meta.seq, SeqNo(seq));
                    assert_eq!(packet, content(seq, packet.len()), "bytes of {seq}");
                }
            }
            assert!(self.cache.bytes.len() <= self.cache.limits.bytes_max);
            assert!(self.cache.entries.len() <= self.cache.limits.packets_max);
            assert!(self.cache.head.0 - self.cache.tail.0 <= self.cache.entries.len() as u64);
        }

        fn has(&self, seq: u64) -> bool {
            self.cache.get(SeqNo(seq)).is_some()
        }
    }

    fn content(seq: u64, len: usize) -> Vec<u8> {
        (0..len).map(|i| (seq as usize * 31 + i) as u8).collect()
    }

    #[test]
    fn holds_no_memory_before_the_first_packet() {
        assert_eq!(PacketCache::new(CacheLimits::VIDEO).memory(), 0);
        assert!(PacketCache::new(CacheLimits::VIDEO).get(SeqNo(5)).is_none());
    }

    #[test]
    fn keeps_what_was_stored_and_refuses_it_twice() {
        let mut bench = Bench::new(SMALL);
        assert!(bench.store(0, 100, 200));
        assert!(!bench.store(1, 100, 200));
        assert!(bench.has(100));
        assert!(!bench.has(99) && !bench.has(101));
    }

    #[test]
    fn takes_late_packets_within_the_window_only() {
        let mut bench = Bench::new(SMALL);
        assert!(bench.store(0, 100, 50));
        assert!(bench.store(1, 100 - REORDER_MAX, 50), "before the first, by reordering");
        assert!(!bench.store(1, 99 - REORDER_MAX, 50));
        assert!(bench.store(2, 110, 50));
        assert!(bench.store(3, 105, 50), "fills a hole");
        assert!(!bench.store(4, 105, 50));
    }

    #[test]
    fn works_at_the_very_first_numbers() {
        let mut bench = Bench::new(SMALL);
        assert!(bench.store(0, 0, 50));
        assert!(bench.store(1, 1, 50));
        assert!(bench.has(0) && bench.has(1));
    }

    #[test]
    fn forgets_packets_past_the_longest_age_but_not_younger_ones() {
        let mut bench = Bench::new(SMALL);
        bench.store(0, 1000, 50);
        bench.store(600, 1001, 50);
        bench.store(1001, 1002, 50);
        assert!(!bench.has(1000));
        assert!(bench.has(1001) && bench.has(1002));
        assert!(!bench.store(1001, 1000, 50), "an expired number is stale, not new");
    }

    #[test]
    fn grows_rather_than_lose_young_packets_and_stops_at_the_cap() {
        let mut bench = Bench::new(SMALL);
        for seq in 0..30 {
            assert!(bench.store(seq, 1000 + seq, 200));
        }
        assert!((0..30).all(|seq| bench.has(1000 + seq)), "6000 bytes fit the cap");
        assert_eq!(bench.cache.bytes.len(), 8192);
        for seq in 30..100 {
            assert!(bench.store(seq, 1000 + seq, 200));
        }
        assert_eq!(bench.cache.bytes.len(), 8192);
        assert!(bench.has(1099) && !bench.has(1030));
        assert!(!bench.store(101, 1050, 200), "overwritten, but still known as received");
    }

    #[test]
    fn a_slow_stream_never_grows() {
        let mut bench = Bench::new(SMALL);
        bench.store(0, 1000, 100);
        let memory = bench.cache.memory();
        for seq in 1..200 {
            assert!(bench.store(seq * 100, 1000 + seq, 100));
        }
        assert_eq!(bench.cache.memory(), memory);
    }

    #[test]
    fn grows_the_metadata_ring_for_many_small_packets() {
        let mut bench = Bench::new(SMALL);
        for seq in 0..100 {
            assert!(bench.store(seq, 1000 + seq, 20));
        }
        assert!((0..100).all(|seq| bench.has(1000 + seq)));
        assert_eq!(bench.cache.entries.len(), 128);
        for seq in 100..400 {
            assert!(bench.store(seq, 1000 + seq, 20));
        }
        assert_eq!(bench.cache.entries.len(), 128);
        assert!(bench.has(1399) && !bench.has(1399 - 128));
    }

    #[test]
    fn a_jump_past_the_window_starts_over_without_growing() {
        let mut bench = Bench::new(SMALL);
        bench.store(0, 1000, 50);
        assert!(bench.store(1, 900_000, 50));
        assert!(bench.has(900_000) && !bench.has(1000));
        assert_eq!(bench.cache.entries.len(), SMALL.packets_min);
        assert!(!bench.store(2, 1001, 50));
        assert!(bench.store(3, 899_999, 50));
    }

    #[test]
    fn refuses_a_packet_larger_than_the_cap_and_takes_one_as_large() {
        let mut bench = Bench::new(SMALL);
        assert!(!bench.store(0, 1, 8193));
        assert!(bench.store(0, 1, 8192));
        assert!(bench.store(0, 2, 8192));
        assert!(bench.has(2) && !bench.has(1));
    }

    #[test]
    fn never_hands_out_torn_bytes_whatever_the_order_and_sizes() {
        let mut bench = Bench::new(SMALL);
        let mut state = 1u64;
        for step in 0..5000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let jitter = (state >> 33) % 24;
            let len = 12 + (state >> 40) as usize % 1400;
            bench.store(step * 7, 5000 + step - jitter.min(step), len);
        }
    }

    #[test]
    fn does_not_allocate_in_steady_state() {
        let mut bench = Bench::new(CacheLimits::VIDEO);
        let mut after_warm_up = 0;
        for seq in 0..2600u64 {
            bench.store(seq * 4, seq, 1200); // 2.4 Mbit/s
            if seq == 600 {
                after_warm_up = bench.cache.memory();
            }
        }
        assert_eq!(bench.cache.memory(), after_warm_up);
        // 100 such cameras must stay well within 40 MiB.
        assert!(after_warm_up <= 300 * 1024, "{after_warm_up}");
    }

    #[test]
    fn clearing_gives_the_memory_back() {
        let mut bench = Bench::new(SMALL);
        bench.store(0, 1000, 50);
        bench.cache.clear();
        assert_eq!(bench.cache.memory(), 0);
        assert!(!bench.has(1000));
        assert!(bench.store(1, 7, 50));
    }
}
