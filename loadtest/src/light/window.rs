//! Which of a stream's latest numbers came: told apart from repetitions, and counted for reports.

use colloque::rtp::seq::SeqNo;

/// The last [`LEN`] numbers.
#[derive(Default)]
pub(super) struct Window {
    first: Option<SeqNo>,
    highest: SeqNo,
    received: u64,
    bits: [u64; WORDS],
}

impl Window {
    /// The highest so far.
    pub(super) fn highest(&self) -> Option<SeqNo> {
        self.first.map(|_| self.highest)
    }

    /// Notes a number. False when it came before, or is too old to know.
    pub(super) fn insert(&mut self, seq: SeqNo) -> bool {
        match self.first {
            None => {
                self.first = Some(seq);
                self.highest = seq;
            }
            Some(_) if seq > self.highest => {
                // The ring's places between the two are those of numbers LEN ago.
                for between in self.highest.0 + 1..=seq.0.min(self.highest.0 + LEN) {
                    self.clear(SeqNo(between));
                }
                self.highest = seq;
            }
            Some(first) => {
                if self.highest.distance(seq) >= LEN as i64 || self.has(seq) {
                    return false;
                }
                self.first = Some(first.min(seq));
            }
        }
        let (word, bit) = place(seq);
        self.bits[word] |= bit;
        self.received += 1;
        true
    }

    /// The highest number, how many were expected up to it, and how many came. `None` before the first.
    pub(super) fn counts(&self) -> Option<(SeqNo, u64, u64)> {
        let first = self.first?;
        Some((self.highest, self.highest.0 - first.0 + 1, self.received))
    }

    fn has(&self, seq: SeqNo) -> bool {
        let (word, bit) = place(seq);
        self.bits[word] & bit != 0
    }

    fn clear(&mut self, seq: SeqNo) {
        let (word, bit) = place(seq);
        self.bits[word] &= !bit;
    }
}

fn place(seq: SeqNo) -> (usize, u64) {
    ((seq.0 % LEN) as usize / 64, 1 << (seq.0 % 64))
}

/// Two seconds of any stream here.
const LEN: u64 = 512;
const WORDS: usize = LEN as usize / 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_new_once_whatever_the_order() {
        let mut window = Window::default();
        for (seq, new) in [(1_000, true), (1_003, true), (1_001, true), (1_001, false), (1_003, false), (999, true)] {
            assert_eq!(window.insert(SeqNo(seq)), new, "{seq}");
        }
        assert_eq!(window.counts(), Some((SeqNo(1_003), 5, 4)));
        assert!(window.insert(SeqNo(1_003 + LEN)) && !window.insert(SeqNo(1_003)), "too old to know");
        assert!(window.insert(SeqNo(1_002 + LEN)), "the ring's places were cleared");
    }
}
