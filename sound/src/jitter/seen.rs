//! Which sequence numbers of the last few thousand have come. Not here: when their turn is.

/// Numbers remembered; more than the largest jump that is still the same stream.
const WINDOW: i64 = 4_096;

/// See the module.
pub(super) struct Seen {
    bits: [u64; WINDOW as usize / 64],
    newest: Option<i64>,
}

impl Default for Seen {
    fn default() -> Self {
        Self { bits: [0; WINDOW as usize / 64], newest: None }
    }
}

impl Seen {
    /// The highest number that came; 0 before the first.
    pub(super) fn newest(&self) -> i64 {
        self.newest.unwrap_or(0)
    }

    /// Remembers the number; whether it is new. One too old to be remembered counts as seen.
    pub(super) fn insert(&mut self, sequence: i64) -> bool {
        let newest = *self.newest.get_or_insert(sequence);
        if sequence <= newest - WINDOW {
            return false;
        }
        if sequence > newest {
            if sequence - newest >= WINDOW {
                self.bits.fill(0);
            } else {
                (newest + 1..sequence).for_each(|skipped| self.set(skipped, false));
            }
            self.newest = Some(sequence);
            self.set(sequence, true);
            return true;
        }
        // The first number of all is its own newest, and not set yet.
        let is_new = !self.contains(sequence);
        self.set(sequence, true);
        is_new
    }

    /// How many numbers of `from..to` have not come. Those too old to be known count as come.
    pub(super) fn missing(&self, from: i64, to: i64) -> u64 {
        let from = from.max(self.newest() - WINDOW + 1);
        (from..to).filter(|&sequence| sequence > self.newest() || !self.contains(sequence)).count() as u64
    }

    /// The first number from `from` on that has not come.
    pub(super) fn first_missing(&self, from: i64) -> i64 {
        let from = from.max(self.newest() - WINDOW + 1);
        (from..=self.newest()).find(|&sequence| !self.contains(sequence)).unwrap_or(self.newest() + 1)
    }

    fn contains(&self, sequence: i64) -> bool {
        let (word, bit) = Self::index(sequence);
        self.bits[word] & bit != 0
    }

    fn set(&mut self, sequence: i64, is_seen: bool) {
        let (word, bit) = Self::index(sequence);
        if is_seen {
            self.bits[word] |= bit;
        } else {
            self.bits[word] &= !bit;
        }
    }

    fn index(sequence: i64) -> (usize, u64) {
        let place = sequence.rem_euclid(WINDOW) as usize;
        (place / 64, 1 << (place % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_come_is_missing_until_it_does() {
        let mut seen = Seen::default();
        for sequence in [10, 11, 14, 15] {
            assert!(seen.insert(sequence));
        }
        assert_eq!((seen.missing(10, 16), seen.first_missing(10)), (2, 12));
        assert!(seen.insert(13) && !seen.insert(13) && !seen.insert(10));
        assert_eq!((seen.missing(10, 16), seen.first_missing(10)), (1, 12));
        // Numbers to come are missing too.
        assert_eq!((seen.missing(16, 20), seen.first_missing(13)), (4, 16));
    }

    #[test]
    fn the_window_forgets_and_what_is_forgotten_counts_as_seen() {
        let mut seen = Seen::default();
        assert!(seen.insert(-1));
        assert!(seen.insert(WINDOW + 5));
        assert!(!seen.insert(5));
        assert_eq!(seen.missing(0, 6), 0);
        assert_eq!(seen.missing(6, WINDOW + 6), WINDOW as u64 - 1);
    }
}
