//! Sequence numbers extended to 64 bits (RFC 3550 appendix A.1, RFC 3711 section 3.3.1).
//!
//! The one place where 16-bit sequence arithmetic is done: everything else counts in [`SeqNo`], which never wraps.
//! Not here: replay protection (`transport::srtp`) and loss detection (`sfu::ingress`).
//! Invariant: a `SeqNo`'s low 16 bits are the number on the wire, the bits above count the wraps.

use std::ops::Add;

/// Distance at which a 16-bit number is taken to have wrapped rather than to have been reordered.
const HALF: u64 = 1 << 15;
const WRAP: u64 = 1 << 16;

/// An extended sequence number: `rollover << 16 | wire`. Also the SRTP packet index (RFC 3711 section 3.3.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct SeqNo(pub u64);

impl SeqNo {
    /// Builds one from its two halves.
    #[must_use]
    pub fn from_parts(rollover: u32, wire: u16) -> Self {
        Self(u64::from(rollover) << 16 | u64::from(wire))
    }

    /// The number closest to `reference` whose low 16 bits are `wire`. Numbers below zero do not exist: there the
    /// one after `reference` is taken.
    #[must_use]
    pub fn nearest(wire: u16, reference: SeqNo) -> SeqNo {
        let ahead = u64::from(wire.wrapping_sub(reference.wire()));
        let up = reference.0.wrapping_add(ahead);
        if ahead >= HALF && up >= WRAP { SeqNo(up - WRAP) } else { SeqNo(up) }
    }

    /// The 16 bits that travel in the RTP header.
    #[must_use]
    pub fn wire(self) -> u16 {
        self.0 as u16
    }

    /// How often the wire number has wrapped (SRTP's rollover counter).
    #[must_use]
    pub fn rollover(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// How far this number is ahead of `other`; negative when it is behind.
    #[must_use]
    pub fn distance(self, other: SeqNo) -> i64 {
        self.0.wrapping_sub(other.0) as i64
    }
}

impl Add<u64> for SeqNo {
    type Output = SeqNo;

    fn add(self, count: u64) -> SeqNo {
        SeqNo(self.0.wrapping_add(count))
    }
}

/// Turns a stream of wire numbers into [`SeqNo`]s by following the highest one seen.
///
/// Only for numbers that were authenticated: a forged one would move it by up to half the number space.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeqExtender {
    rollover_first: u32,
    highest: Option<SeqNo>,
}

impl SeqExtender {
    /// The first number gets rollover 0, as SRTP wants it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The first number gets this rollover; with 1, packets that were overtaken by the very first one across a wrap
    /// still sort before it.
    #[must_use]
    pub fn starting_at(rollover: u32) -> Self {
        Self { rollover_first: rollover, highest: None }
    }

    /// Extends `wire` to the number nearest to the highest one seen.
    pub fn extend(&mut self, wire: u16) -> SeqNo {
        let Some(highest) = self.highest else {
            let first = SeqNo::from_parts(self.rollover_first, wire);
            self.highest = Some(first);
            return first;
        };
        let seq = SeqNo::nearest(wire, highest);
        let before_zero = seq.distance(highest) >= HALF as i64;
        if seq > highest && !before_zero {
            self.highest = Some(seq);
        }
        seq
    }

    /// The highest number so far.
    #[must_use]
    pub fn highest(&self) -> Option<SeqNo> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::random;
    use rand::Rng;

    #[test]
    fn takes_the_nearest_number_on_both_sides_of_a_wrap() {
        let reference = SeqNo(0x1_0002);
        assert_eq!(SeqNo::nearest(0x0003, reference), SeqNo(0x1_0003));
        assert_eq!(SeqNo::nearest(0xfffe, reference), SeqNo(0x0_fffe));
        assert_eq!(SeqNo::nearest(0x0001, SeqNo(0x1_ffff)), SeqNo(0x2_0001));
        assert_eq!(SeqNo::nearest(0x8001, reference), SeqNo(0x1_8001));
        assert_eq!(SeqNo::nearest(0x8002, reference), SeqNo(0x0_8002));
    }

    #[test]
    fn never_goes_below_zero() {
        assert_eq!(SeqNo::nearest(0xffff, SeqNo(2)), SeqNo(0xffff));
        let mut extender = SeqExtender::new();
        extender.extend(2);
        extender.extend(0xffff);
        assert_eq!(extender.extend(3), SeqNo(3), "an overtaken first packet must not wrap the stream");
    }

    #[test]
    fn a_start_at_rollover_one_sorts_overtaken_packets_first() {
        let mut extender = SeqExtender::starting_at(1);
        let first = extender.extend(0);
        let overtaken = extender.extend(0xffff);
        assert_eq!(overtaken.next(), first);
        assert_eq!(extender.highest(), Some(first));
    }

    #[test]
    fn splits_into_rollover_and_wire() {
        let seq = SeqNo::from_parts(7, 0xabcd);
        assert_eq!((seq.rollover(), seq.wire()), (7, 0xabcd));
        assert_eq!(SeqNo::from_parts(0, 0xffff).next(), SeqNo::from_parts(1, 0));
        assert_eq!((seq + 5).distance(seq), 5);
        assert_eq!(seq.distance(seq + 5), -5);
    }

    #[test]
    fn follows_a_reordered_and_lossy_stream_across_many_wraps() {
        let mut rng = random::rng(1);
        let mut extender = SeqExtender::new();
        let mut truth = SeqNo(60_000);
        extender.extend(truth.wire());
        let mut highest = truth;
        for _ in 0..200_000 {
            truth = truth + rng.random_range(1..40);
            let reordered = SeqNo(truth.0 - rng.random_range(0..200));
            assert_eq!(extender.extend(reordered.wire()), reordered);
            highest = highest.max(reordered);
            assert_eq!(extender.highest(), Some(highest));
        }
        assert!(highest.rollover() > 50);
    }
}
