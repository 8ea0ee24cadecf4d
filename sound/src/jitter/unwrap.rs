//! Counters that wrap, extended to 64 bits by their distance to the newest one. Not here: what a jump means.

/// Extends numbers of up to 32 bits.
pub(super) struct Unwrapper {
    bits: u32,
    newest: Option<i64>,
}

impl Unwrapper {
    pub(super) fn new(bits: u32) -> Self {
        Self { bits, newest: None }
    }

    /// The extended number nearest to the newest one, without remembering it; `None` before the first.
    pub(super) fn peek(&self, wrapped: u32) -> Option<i64> {
        let newest = self.newest?;
        let modulus = 1_i64 << self.bits;
        let ahead = (i64::from(wrapped) - newest).rem_euclid(modulus);
        Some(newest + if ahead > modulus / 2 { ahead - modulus } else { ahead })
    }

    /// As [`Unwrapper::peek`]; a number ahead of the newest becomes the newest.
    pub(super) fn extend(&mut self, wrapped: u32) -> i64 {
        let extended = self.peek(wrapped).unwrap_or_else(|| i64::from(wrapped));
        self.newest = Some(self.newest.map_or(extended, |newest| newest.max(extended)));
        extended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrap_goes_on_and_a_step_back_goes_back() {
        let mut unwrapper = Unwrapper::new(16);
        let numbers = [65_534, 65_535, 0, 65_533, 1, 32_000];
        let extended: Vec<i64> = numbers.map(|n| unwrapper.extend(n)).to_vec();
        assert_eq!(extended, [65_534, 65_535, 65_536, 65_533, 65_537, 97_536]);
    }

    #[test]
    fn thirty_two_bits_wrap_too() {
        let mut unwrapper = Unwrapper::new(32);
        assert_eq!(unwrapper.extend(u32::MAX), i64::from(u32::MAX));
        assert_eq!(unwrapper.extend(159), i64::from(u32::MAX) + 160);
    }
}
