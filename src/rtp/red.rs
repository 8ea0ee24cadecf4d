//! Redundant audio (RFC 2198): each packet repeats the ones before it in front of its own newest block.
//!
//! Only taking apart, for legs that did not negotiate RED. Making redundancy is the sender's business.
//!
//! ```text
//! |1| PT | ts offset 14 | length 10 | ... |0| PT | oldest data ... newest data
//! ```

use std::ops::Range;

use crate::ids::PayloadType;

/// One block of a RED payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// Of the codec inside.
    pub payload_type: PayloadType,
    /// How much older than the packet's timestamp it is; 0 for the newest.
    pub timestamp_offset: u16,
    /// Where its data lies in the payload.
    pub range: Range<usize>,
}

/// The newest block: what the packet would have carried without redundancy. `None` when malformed.
#[must_use]
pub fn primary(payload: &[u8]) -> Option<(PayloadType, Range<usize>)> {
    blocks(payload)?.last().map(|block| (block.payload_type, block.range))
}

/// All blocks, oldest first; the last one is the primary. `None` when the headers do not fit the payload.
#[must_use]
pub fn blocks(payload: &[u8]) -> Option<BlockIter<'_>> {
    let mut headers_len = 0;
    let mut redundant_len = 0;
    while payload.get(headers_len)? & MORE_BLOCKS != 0 {
        redundant_len += redundant_header(payload, headers_len)?.1;
        headers_len += REDUNDANT_HEADER_LEN;
    }
    headers_len += 1;
    (headers_len + redundant_len <= payload.len()).then_some(BlockIter {
        payload,
        header_at: 0,
        data_at: headers_len,
        done: false,
    })
}

/// Iterator over the blocks of a RED payload, see [`blocks`].
#[derive(Clone, Debug)]
pub struct BlockIter<'a> {
    payload: &'a [u8],
    header_at: usize,
    data_at: usize,
    done: bool,
}

impl Iterator for BlockIter<'_> {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        if self.done {
            return None;
        }
        let &first = self.payload.get(self.header_at)?;
        let payload_type = PayloadType(first & 0x7f);
        let start = self.data_at;
        if first & MORE_BLOCKS == 0 {
            self.done = true;
            return Some(Block { payload_type, timestamp_offset: 0, range: start..self.payload.len() });
        }
        let (timestamp_offset, len) = redundant_header(self.payload, self.header_at)?;
        self.header_at += REDUNDANT_HEADER_LEN;
        self.data_at += len;
        Some(Block { payload_type, timestamp_offset, range: start..self.data_at })
    }
}

/// Timestamp offset and data length of the redundant block whose header is at `at`.
fn redundant_header(payload: &[u8], at: usize) -> Option<(u16, usize)> {
    let header = payload.get(at..at + REDUNDANT_HEADER_LEN)?;
    let timestamp_offset = u16::from_be_bytes([header[1], header[2]]) >> 2;
    let len = usize::from(u16::from_be_bytes([header[2], header[3]]) & 0x03ff);
    Some((timestamp_offset, len))
}

const MORE_BLOCKS: u8 = 0x80;
const REDUNDANT_HEADER_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::random;

    /// Two redundant blocks of 2 and 3 bytes (960 and 480 ticks old) and a primary of 4 bytes.
    const THREE_BLOCKS: [u8; 18] = [
        0x80 | 111,
        0x0f,
        0x00,
        0x02, // 960 << 2 | 0, length 2
        0x80 | 111,
        0x07,
        0x80,
        0x03, // 480 << 2 | 0, length 3
        111,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
    ];

    #[test]
    fn finds_the_newest_block() {
        let (payload_type, range) = primary(&THREE_BLOCKS).unwrap();
        assert_eq!((payload_type, &THREE_BLOCKS[range]), (PayloadType(111), &[6, 7, 8, 9][..]));
        assert_eq!(primary(&[111, 0xaa]), Some((PayloadType(111), 1..2)), "a lone primary has a one-byte header");
    }

    #[test]
    fn lists_blocks_oldest_first() {
        let blocks: Vec<Block> = blocks(&THREE_BLOCKS).unwrap().collect();
        let told: Vec<(u16, &[u8])> =
            blocks.iter().map(|b| (b.timestamp_offset, &THREE_BLOCKS[b.range.clone()])).collect();
        assert_eq!(told, [(960, &[1, 2][..]), (480, &[3, 4, 5]), (0, &[6, 7, 8, 9])]);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert_eq!(primary(&[]), None);
        assert_eq!(primary(&THREE_BLOCKS[..8]), None, "no primary header");
        assert_eq!(primary(&THREE_BLOCKS[..13]), None, "redundant data cut short");
        assert_eq!(primary(&[0x80 | 111, 0, 0]), None, "header cut short");
        assert_eq!(primary(&THREE_BLOCKS[..14]), Some((PayloadType(111), 14..14)), "an empty primary is legal");
    }

    #[test]
    fn survives_hostile_input() {
        random::for_hostile_inputs(3, &[&THREE_BLOCKS], |input| {
            if let Some((_, range)) = primary(input) {
                assert!(range.end <= input.len() && range.start <= range.end);
            }
            for block in blocks(input).into_iter().flatten() {
                assert!(input.get(block.range).is_some());
            }
        });
    }
}
