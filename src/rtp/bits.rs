//! Reads bit fields, most significant bit first, from a bounded slice: for the codec headers and the dependency
//! descriptor. Running past the end gives `None`, always.

/// A position in a slice of bytes, in bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// One bit.
    pub(super) fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// An unsigned number of `count` bits, at most 32.
    pub(super) fn number(&mut self, count: u32) -> Option<u32> {
        debug_assert!(count <= 32);
        let mut value = 0u64;
        for _ in 0..count {
            value = value << 1 | u64::from(self.flag()?);
        }
        Some(value as u32)
    }

    /// Like [`Self::number`], for fields of at most eight bits.
    pub(super) fn small(&mut self, count: u32) -> Option<u8> {
        debug_assert!(count <= 8);
        self.number(count).map(|value| value as u8)
    }

    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        let end = self.at.checked_add(count)?;
        (end <= self.bytes.len() * 8).then(|| self.at = end)
    }

    /// `ns(n)`: a number below `limit` in as few bits as possible (AV1 specification section 4.10.7).
    pub(super) fn non_symmetric(&mut self, limit: u32) -> Option<u32> {
        let width = u32::BITS - limit.leading_zeros();
        let short_codes = (1u32 << width) - limit;
        let value = self.number(width.saturating_sub(1))?;
        if value < short_codes {
            return Some(value);
        }
        Some((value << 1 | u32::from(self.flag()?)) - short_codes)
    }

    /// `ue(v)`: an unsigned Exp-Golomb number (ITU-T H.264 section 9.1), at most `2^32 - 2`.
    pub(super) fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.number(zeros)?)
    }

    /// `se(v)`: a signed Exp-Golomb number (ITU-T H.264 section 9.1.1).
    pub(super) fn signed_exp_golomb(&mut self) -> Option<i32> {
        let code = self.exp_golomb()?;
        let magnitude = code.div_ceil(2) as i32;
        Some(if code % 2 == 1 { magnitude } else { -magnitude })
    }
}

/// The other direction, to build test inputs field by field.
#[cfg(test)]
#[derive(Default)]
pub(super) struct BitWriter {
    pub(super) bytes: Vec<u8>,
    len: usize,
}

#[cfg(test)]
impl BitWriter {
    pub(super) fn number(&mut self, value: u32, count: u32) -> &mut Self {
        for bit in (0..count).rev() {
            if self.len.is_multiple_of(8) {
                self.bytes.push(0);
            }
            self.bytes[self.len / 8] |= ((value >> bit & 1) as u8) << (7 - self.len % 8);
            self.len += 1;
        }
        self
    }

    pub(super) fn exp_golomb(&mut self, value: u32) -> &mut Self {
        let width = u32::BITS - (value + 1).leading_zeros();
        self.number(0, width - 1).number(value + 1, width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_across_bytes_and_stops_at_the_end() {
        let mut bits = BitReader::new(&[0b1010_0000, 0b0000_0111]);
        assert_eq!(bits.flag(), Some(true));
        assert_eq!(bits.number(12), Some(0b0100_0000_0000));
        assert_eq!(bits.small(3), Some(7));
        assert_eq!(bits.flag(), None);
        assert_eq!(bits.skip(1), None);
        assert_eq!(bits.number(0), Some(0));
    }

    #[test]
    fn reads_exp_golomb_codes() {
        // 1 | 010 | 011 | 00100 | 0001000 -> 0, 1, 2, 3, 7
        let mut bits = BitReader::new(&[0b1010_0110, 0b0100_0001, 0b0000_0000]);
        let codes: Vec<_> = (0..5).map(|_| bits.exp_golomb()).collect();
        assert_eq!(codes, [Some(0), Some(1), Some(2), Some(3), Some(7)]);
        assert_eq!(BitReader::new(&[0; 16]).exp_golomb(), None, "an endless prefix is refused");
        // 010 -> 1, 011 -> -1, 00100 -> 2
        let mut bits = BitReader::new(&[0b0100_1100, 0b1000_0000]);
        let signed: Vec<_> = (0..3).map(|_| bits.signed_exp_golomb()).collect();
        assert_eq!(signed, [Some(1), Some(-1), Some(2)]);
    }

    #[test]
    fn reads_non_symmetric_numbers() {
        // ns(5): 0 = 00, 1 = 01, 2 = 10, 3 = 110, 4 = 111 (the specification's example).
        let mut bits = BitReader::new(&[0b0001_1011, 0b0111_0000]);
        let values: Vec<_> = (0..5).map(|_| bits.non_symmetric(5)).collect();
        assert_eq!(values, [Some(0), Some(1), Some(2), Some(3), Some(4)]);
        assert_eq!(BitReader::new(&[]).non_symmetric(1), Some(0), "one possible value takes no bits");
    }
}
