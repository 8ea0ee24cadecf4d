//! Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1).
//!
//! ```text
//! sender | media | base, count | reference time 24, feedback count 8 | status chunks ... | receive deltas ...
//! ```
//!
//! A status chunk is a run of one symbol or a vector of 14 one-bit or 7 two-bit symbols. A delta of one or two bytes
//! follows for every packet that arrived. Times are microseconds since an epoch that only the far side knows.

use crate::ids::Ssrc;
use crate::rtp::seq::SeqNo;

use super::reader::ssrc_at;

/// Resolution of a receive delta, in microseconds.
pub const TICK_MICROS: i64 = 250;
/// Resolution of the reference time, in microseconds.
const REFERENCE_MICROS: i64 = 64_000;
const TICKS_PER_REFERENCE: i64 = REFERENCE_MICROS / TICK_MICROS;

/// A packet's arrival, for writing feedback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Transport-wide sequence number.
    pub seq: SeqNo,
    /// Microseconds since any fixed instant, not negative.
    pub micros: i64,
}

/// A feedback packet, not yet unpacked.
#[derive(Clone, Copy, Debug)]
pub struct TransportFeedback<'a> {
    /// Who reports.
    pub sender: Ssrc,
    /// Any of the streams reported on.
    pub media: Ssrc,
    /// Transport-wide number of the first packet reported on.
    pub base: u16,
    /// How many packets are reported on, received or not.
    pub count: u16,
    /// Signed 24 bits, in units of 64 ms.
    pub reference_time: i32,
    /// Counts feedback packets modulo 256.
    pub feedback_count: u8,
    /// Status chunks and receive deltas.
    fci: &'a [u8],
}

impl<'a> TransportFeedback<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let (fixed, fci) = body.split_first_chunk::<16>()?;
        Some(TransportFeedback {
            sender: ssrc_at(fixed, 0)?,
            media: ssrc_at(fixed, 4)?,
            base: u16::from_be_bytes([fixed[8], fixed[9]]),
            count: u16::from_be_bytes([fixed[10], fixed[11]]),
            reference_time: i32::from_be_bytes([fixed[12], fixed[13], fixed[14], 0]) >> 8,
            feedback_count: fixed[15],
            fci,
        })
    }

    /// Every packet reported on, in order of its number: the number and, when it arrived, the microseconds on the
    /// receiver's clock. Ends early when chunks or deltas are missing, and after 8,192 packets.
    #[must_use]
    pub fn arrivals(&self) -> ArrivalIter<'a> {
        ArrivalIter {
            chunks: Chunks { rest: self.fci, symbols: 0, left: 0, width: 0 },
            deltas: self.deltas(),
            sequence: self.base,
            left: self.count.min(STATUSES_MAX),
            ticks: i64::from(self.reference_time) * TICKS_PER_REFERENCE,
        }
    }

    /// The receive deltas: what lies behind as many chunks as `count` packets need.
    fn deltas(&self) -> &'a [u8] {
        let mut chunks = Chunks { rest: self.fci, symbols: 0, left: 0, width: 0 };
        let mut left = u32::from(self.count);
        while left > 0 && chunks.load().is_some() {
            left = left.saturating_sub(chunks.left);
        }
        if left == 0 { chunks.rest } else { &[] }
    }
}

/// What became of one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Symbol {
    NotReceived,
    SmallDelta,
    LargeDelta,
}

impl Symbol {
    /// The two-bit code; the one-bit code is the same for the first two. Code 3 is reserved.
    fn from_code(code: u32) -> Option<Self> {
        match code {
            0 => Some(Symbol::NotReceived),
            1 => Some(Symbol::SmallDelta),
            2 => Some(Symbol::LargeDelta),
            _ => None,
        }
    }
}

/// Status symbols, one chunk at a time.
#[derive(Clone, Debug)]
struct Chunks<'a> {
    rest: &'a [u8],
    /// A vector's symbols, the next one in the highest bits; a run's single symbol in the lowest.
    symbols: u16,
    left: u32,
    /// Bits of a vector's symbol; 0 for a run.
    width: u32,
}

impl Chunks<'_> {
    /// Reads the next chunk over whatever is left of this one.
    fn load(&mut self) -> Option<()> {
        let (&chunk, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        let chunk = u16::from_be_bytes(chunk);
        (self.symbols, self.left, self.width) = match chunk >> 14 {
            0b10 => (chunk << 2, 14, 1),
            0b11 => (chunk << 2, 7, 2),
            _ => (chunk >> 13, u32::from(chunk & 0x1fff), 0),
        };
        Some(())
    }

    fn next(&mut self) -> Option<Symbol> {
        // A run of length zero says nothing; a chain of them ends with the bytes.
        while self.left == 0 {
            self.load()?;
        }
        self.left -= 1;
        if self.width == 0 {
            return Symbol::from_code(u32::from(self.symbols));
        }
        let code = u32::from(self.symbols) >> (16 - self.width);
        self.symbols <<= self.width;
        Symbol::from_code(code)
    }
}

/// Iterator over a feedback packet, see [`TransportFeedback::arrivals`].
#[derive(Clone, Debug)]
pub struct ArrivalIter<'a> {
    chunks: Chunks<'a>,
    deltas: &'a [u8],
    sequence: u16,
    left: u16,
    ticks: i64,
}

impl Iterator for ArrivalIter<'_> {
    type Item = (u16, Option<i64>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let delta = match self.chunks.next()? {
            Symbol::NotReceived => None,
            Symbol::SmallDelta => {
                let (&delta, rest) = self.deltas.split_first()?;
                self.deltas = rest;
                Some(i64::from(delta))
            }
            Symbol::LargeDelta => {
                let (&delta, rest) = self.deltas.split_first_chunk()?;
                self.deltas = rest;
                Some(i64::from(i16::from_be_bytes(delta)))
            }
        };
        let sequence = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        let micros = delta.map(|delta| {
            self.ticks += delta;
            self.ticks * TICK_MICROS
        });
        Some((sequence, micros))
    }
}

/// Writes the feedback message (without the common header) for the front of `arrivals`. Returns the bytes written
/// and how many arrivals they cover: fewer than all when `out` is full or a delta does not fit 16 bits. `None` when
/// not even one fits. The result's length is not yet padded to 32 bits.
pub(super) fn write_body(
    out: &mut [u8],
    sender: Ssrc,
    media: Ssrc,
    feedback_count: u8,
    arrivals: &[Arrival],
) -> Option<(usize, usize)> {
    let first = arrivals.first()?;
    let reference = first.micros.div_euclid(REFERENCE_MICROS);
    let covered = covered_count(arrivals, reference, out.len());
    let covered = arrivals.get(..covered).filter(|covered| !covered.is_empty())?;
    let count = covered[covered.len() - 1].seq.distance(first.seq) + 1;

    out.get_mut(..4)?.copy_from_slice(&sender.0.to_be_bytes());
    out.get_mut(4..8)?.copy_from_slice(&media.0.to_be_bytes());
    out.get_mut(8..10)?.copy_from_slice(&first.seq.wire().to_be_bytes());
    out.get_mut(10..12)?.copy_from_slice(&(count as u16).to_be_bytes());
    out.get_mut(12..15)?.copy_from_slice(&(reference as u32).to_be_bytes()[1..]);
    *out.get_mut(15)? = feedback_count;

    let mut at = 16;
    let mut statuses = Statuses { arrivals: covered, next: first.seq, reference, index: 0 };
    while let Some(chunk) = statuses.take_chunk() {
        out.get_mut(at..at + 2)?.copy_from_slice(&chunk.to_be_bytes());
        at += 2;
    }
    for index in 0..covered.len() {
        let delta = delta_ticks(covered, index, reference);
        if is_small(delta) {
            *out.get_mut(at)? = delta as u8;
            at += 1;
        } else {
            out.get_mut(at..at + 2)?.copy_from_slice(&(delta as i16).to_be_bytes());
            at += 2;
        }
    }
    Some((at, covered.len()))
}

/// How many arrivals fit, counting two bytes of delta and one whole chunk for each, which is the worst case.
fn covered_count(arrivals: &[Arrival], reference: i64, room: usize) -> usize {
    let mut used = 16;
    for (index, arrival) in arrivals.iter().enumerate() {
        let gap = if index == 0 { 0 } else { arrival.seq.distance(arrivals[index - 1].seq) - 1 };
        let delta = delta_ticks(arrivals, index, reference);
        let span = arrival.seq.distance(arrivals[0].seq);
        // Unsorted input ends the packet too: the next one starts at a base of its own.
        if gap < 0 || span >= i64::from(STATUSES_MAX) || i16::try_from(delta).is_err() {
            return index;
        }
        used += 4 + 2 * (gap as usize).div_ceil(RUN_LEN_MAX);
        if used > room {
            return index;
        }
    }
    arrivals.len()
}

/// Ticks between an arrival and the one before it, or the reference time. Differences of rounded times, so that
/// rounding errors do not add up.
fn delta_ticks(arrivals: &[Arrival], index: usize, reference: i64) -> i64 {
    let previous = match index.checked_sub(1) {
        Some(previous) => arrivals[previous].micros.div_euclid(TICK_MICROS),
        None => reference * TICKS_PER_REFERENCE,
    };
    arrivals[index].micros.div_euclid(TICK_MICROS) - previous
}

fn is_small(delta: i64) -> bool {
    (0..=255).contains(&delta)
}

/// Walks the symbols of a range of numbers, arrived or not, and packs them into chunks.
#[derive(Clone)]
struct Statuses<'a> {
    arrivals: &'a [Arrival],
    next: SeqNo,
    reference: i64,
    /// The first arrival that is not yet packed.
    index: usize,
}

impl Statuses<'_> {
    fn take(&mut self) -> Option<Symbol> {
        let arrival = self.arrivals.get(self.index)?;
        let symbol = if arrival.seq != self.next {
            Symbol::NotReceived
        } else if is_small(delta_ticks(self.arrivals, self.index, self.reference)) {
            self.index += 1;
            Symbol::SmallDelta
        } else {
            self.index += 1;
            Symbol::LargeDelta
        };
        self.next = self.next.next();
        Some(symbol)
    }

    /// The next chunk: a run when that takes more than a vector could, else the narrowest vector.
    fn take_chunk(&mut self) -> Option<u16> {
        let missing = self.arrivals.get(self.index)?.seq.distance(self.next) as usize;
        if missing >= ONE_BIT_VECTOR_LEN {
            // Not symbol by symbol: whoever numbers the packets decides how wide a gap is.
            let run = missing.min(RUN_LEN_MAX);
            self.next = self.next + run as u64;
            return Some(run as u16);
        }
        let mut look = self.clone();
        let first = look.take()?;
        let mut run = 1;
        let mut after_run = look.clone();
        while run < RUN_LEN_MAX && look.take() == Some(first) {
            run += 1;
            after_run = look.clone();
        }
        let narrow = self.clone().take_vector(ONE_BIT_VECTOR_LEN, 1);
        let vector_len = if narrow.is_some() { ONE_BIT_VECTOR_LEN } else { TWO_BIT_VECTOR_LEN };
        if run >= vector_len || after_run.index == self.arrivals.len() {
            *self = after_run;
            return Some((first as u16) << 13 | run as u16);
        }
        let width = if narrow.is_some() { 1 } else { 2 };
        self.take_vector(vector_len, width)
    }

    /// `None` when a symbol does not fit the width. Past the end, symbols are zero.
    fn take_vector(&mut self, len: usize, width: u16) -> Option<u16> {
        let mut chunk = 0b10 | (width - 1);
        for _ in 0..len {
            let symbol = self.take().unwrap_or(Symbol::NotReceived);
            if width == 1 && symbol == Symbol::LargeDelta {
                return None;
            }
            chunk = chunk << width | symbol as u16;
        }
        Some(chunk)
    }
}

const RUN_LEN_MAX: usize = 0x1fff;
const ONE_BIT_VECTOR_LEN: usize = 14;
const TWO_BIT_VECTOR_LEN: usize = 7;
/// Packets that one feedback may report on. Some hundreds are usual, after a long outage thousands; 65,535 could be
/// claimed in 36 bytes, so that a datagram full of such packets would keep a worker busy for milliseconds.
const STATUSES_MAX: u16 = 8_192;
