//! Which packets of each source have been seen (RFC 3711 section 3.3.2), and the highest, from which the rollover
//! counter of the next is estimated (section 3.3.1).
//!
//! Checking and recording are two steps, because only a packet whose tag verified may be recorded.

use crate::drops::DropReason;
use crate::ids::Ssrc;

/// Bits of a window's ring. A power of two, so that an index finds its bit by masking. Less would drop late
/// retransmissions of a fast stream, more costs memory: this is a quarter of a kilobyte a source.
const RING_BITS: u64 = 2048;
const WORDS: usize = (RING_BITS / 64) as usize;

/// How far behind the highest index a packet may arrive: one word of the ring is always being cleared (RFC 6479).
pub(super) const WINDOW: u64 = RING_BITS - 64;

/// The windows of all sources of one direction and protocol.
pub(super) struct ReplayWindows {
    sources: Vec<Ssrc>,
    windows: Vec<Window>,
}

/// A position in [`ReplayWindows`]: a known source, or one that [`ReplayWindows::record`] would add.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Known(usize),
    New(Ssrc),
}

struct Window {
    highest: u64,
    seen: [u64; WORDS],
}

impl ReplayWindows {
    pub(super) fn new() -> Self {
        Self { sources: Vec::new(), windows: Vec::new() }
    }

    /// Finds a source without adding it.
    #[inline]
    pub(super) fn find(&self, ssrc: Ssrc, sources_max: usize) -> Result<Source, DropReason> {
        match self.sources.iter().position(|known| *known == ssrc) {
            Some(at) => Ok(Source::Known(at)),
            None if self.sources.len() < sources_max => Ok(Source::New(ssrc)),
            None => Err(DropReason::SrtpTooManySsrcs),
        }
    }

    /// The highest index recorded for a source.
    #[inline]
    pub(super) fn highest(&self, source: Source) -> Option<u64> {
        match source {
            Source::Known(at) => Some(self.windows[at].highest),
            Source::New(_) => None,
        }
    }

    /// Whether `index` may be new.
    #[inline]
    pub(super) fn check(&self, source: Source, index: u64) -> Result<(), DropReason> {
        match source {
            Source::Known(at) if !self.windows[at].accepts(index) => Err(DropReason::SrtpReplay),
            _ => Ok(()),
        }
    }

    /// Remembers an authenticated `index`.
    #[inline]
    pub(super) fn record(&mut self, source: Source, index: u64) {
        match source {
            Source::Known(at) => self.windows[at].record(index),
            Source::New(ssrc) => {
                self.sources.push(ssrc);
                let mut window = Window { highest: index, seen: [0; WORDS] };
                window.record(index);
                self.windows.push(window);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }
}

impl Window {
    #[inline]
    fn accepts(&self, index: u64) -> bool {
        if index > self.highest {
            return true;
        }
        self.highest - index < WINDOW && self.seen[word(index)] & bit(index) == 0
    }

    #[inline]
    fn record(&mut self, index: u64) {
        if index > self.highest {
            let words_passed = (index / 64 - self.highest / 64).min(WORDS as u64);
            for step in 1..=words_passed {
                self.seen[word(self.highest + 64 * step)] = 0;
            }
            self.highest = index;
        }
        self.seen[word(index)] |= bit(index);
    }
}

#[inline]
fn word(index: u64) -> usize {
    (index / 64) as usize % WORDS
}

#[inline]
fn bit(index: u64) -> u64 {
    1 << (index % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn window(first: u64) -> Window {
        let mut window = Window { highest: first, seen: [0; WORDS] };
        window.record(first);
        window
    }

    #[test]
    fn accepts_every_index_of_the_window_once_in_any_order() {
        let mut window = window(10_000);
        for index in (10_001 - WINDOW..10_000).rev() {
            assert!(window.accepts(index), "{index}");
            window.record(index);
            assert!(!window.accepts(index), "{index}");
        }
        assert!(!window.accepts(10_000));
        assert!(!window.accepts(10_000 - WINDOW));
        const { assert!(WINDOW >= 1024) };
    }

    #[test]
    fn a_jump_over_the_whole_ring_forgets_the_old_ones() {
        let mut window = window(5);
        window.record(5 + 10 * RING_BITS);
        assert!(!window.accepts(5));
        for index in 6 + 10 * RING_BITS - WINDOW..5 + 10 * RING_BITS {
            assert!(window.accepts(index), "{index}");
        }
    }

    #[test]
    fn agrees_with_a_set_on_random_walks() {
        let mut rng = StdRng::seed_from_u64(7);
        for _ in 0..20 {
            let start = rng.random_range(0..1 << 20);
            let mut window = window(start);
            let mut seen = HashSet::from([start]);
            let mut highest = start;
            for _ in 0..5_000 {
                let jump_max = if rng.random_ratio(1, 50) { 5_000 } else { 4 };
                let index = (highest + rng.random_range(0..jump_max)).saturating_sub(rng.random_range(0..3_000));
                let fresh = highest < index || (highest - index < WINDOW && !seen.contains(&index));
                assert_eq!(window.accepts(index), fresh, "{index} after {highest}");
                if fresh {
                    window.record(index);
                    seen.insert(index);
                    highest = highest.max(index);
                }
            }
        }
    }
}
