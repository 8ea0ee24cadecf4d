//! One continuous stream out of many: sequence numbers, timestamps, picture ids, base layer indices and frame numbers
//! go on without a jump when the layer or the track behind them changes, when the stream was paused, and when packets
//! are withheld on purpose. A gap in the input stays a gap in the output, so that the receiver asks for it.
//!
//! Knows no layers (`layer_selector`) and no headers (`forwarder`).
//! Invariant: no egress number is given out twice (`sent`): under AES-GCM (RFC 7714 section 8) a second packet with
//! the same number would break the key. Invariant: within one source, equal input maps to equal output.

use std::time::{Duration, Instant};

use crate::rtp::frame::PictureNumbers;
use crate::rtp::seq::SeqNo;

/// What must be known of a packet to renumber it.
#[derive(Clone, Copy, Debug)]
pub struct Incoming {
    /// Number on its own stream.
    pub seq: SeqNo,
    /// Timestamp on its own stream.
    pub timestamp: u32,
    /// When it reached us.
    pub arrived: Instant,
    /// VP8 and VP9 only.
    pub pictures: Option<PictureNumbers>,
    /// Of the dependency descriptor, when there is one.
    pub frame_number: Option<u16>,
}

/// The numbers under which a packet leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rewritten {
    /// Egress number; its upper bits are SRTP's rollover counter.
    pub seq: SeqNo,
    /// Egress timestamp.
    pub timestamp: u32,
    /// Picture id (15 bits; the narrow form takes the low 7) and base layer index.
    pub pictures: Option<(u16, Option<u8>)>,
    /// Frame number of the dependency descriptor.
    pub frame_number: Option<u16>,
}

/// How input numbers of the current source become output numbers, from one input number on.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// First input number it holds for.
    first: SeqNo,
    /// Output minus input, wrapping.
    seq_offset: u64,
    /// Output minus input, modulo 2^15.
    picture_offset: u16,
    /// Input pictures before this one were withheld or belong to an earlier segment.
    picture_first: u16,
}

/// The stream being continued now.
#[derive(Clone, Copy, Debug)]
struct Source {
    segment: Segment,
    /// Whether a packet went out under `segment`.
    segment_used: bool,
    timestamp_offset: u32,
    tl0_offset: u8,
    frame_number_offset: u16,
    /// One past the highest input number forwarded or withheld.
    seq_end: SeqNo,
    /// Newest input picture, 15 bits.
    picture_highest: u16,
}

/// The highest numbers given out, which the next source continues.
#[derive(Clone, Copy, Debug)]
struct Last {
    seq: SeqNo,
    timestamp: u32,
    /// When the packet with that timestamp reached us; `None` before the first.
    arrived: Option<Instant>,
    picture_id: u16,
    tl0_pic_idx: u8,
    frame_number: u16,
}

/// What only late packets need: kept apart so that the fast path touches one cache line of it.
#[derive(Clone, Debug)]
struct History {
    /// Bit per egress number, modulo [`SENT_WINDOW`].
    sent: [u64; SENT_WINDOW as usize / 64],
    segments: [Segment; SEGMENTS_MAX],
    /// Segments ever closed for the current source.
    segments_len: usize,
}

/// The numbering of one egress stream, for its whole life.
#[derive(Clone, Debug)]
pub struct Rewriter {
    clock_rate: u32,
    source: Option<Source>,
    last: Last,
    history: Box<History>,
}

impl Rewriter {
    /// All first numbers come from `seed`. The first sequence number lies below 2^15, so that a receiver that misses
    /// the first packets still guesses rollover 0 (RFC 3711 section 3.3.1).
    #[must_use]
    pub fn new(clock_rate: u32, seed: u64) -> Self {
        let random = splitmix(seed);
        let last = Last {
            seq: SeqNo(1 + random % 0x4000),
            timestamp: (random >> 16) as u32,
            arrived: None,
            picture_id: (random >> 48) as u16 & PICTURE_ID_MASK,
            tl0_pic_idx: (random >> 40) as u8,
            frame_number: (random >> 32) as u16,
        };
        let segments = [Segment { first: SeqNo(0), seq_offset: 0, picture_offset: 0, picture_first: 0 }; SEGMENTS_MAX];
        let sent = [0; SENT_WINDOW as usize / 64];
        Self { clock_rate, source: None, last, history: Box::new(History { sent, segments, segments_len: 0 }) }
    }

    /// Whether a later packet of the current source was seen.
    #[must_use]
    #[inline]
    pub fn is_late(&self, seq: SeqNo) -> bool {
        self.source.is_some_and(|source| seq < source.seq_end)
    }

    /// The highest number given out.
    #[must_use]
    pub fn highest(&self) -> SeqNo {
        self.last.seq
    }

    /// The highest timestamp given out and when its packet reached us; `None` before the first.
    #[must_use]
    pub fn latest(&self) -> Option<(u32, Instant)> {
        self.last.arrived.map(|arrived| (self.last.timestamp, arrived))
    }

    /// Output minus input timestamp of the current source.
    #[must_use]
    pub fn timestamp_offset(&self) -> Option<u32> {
        self.source.map(|source| source.timestamp_offset)
    }

    /// Forgets the source: what comes next must `start`.
    pub fn stop(&mut self) {
        self.source = None;
    }

    /// Hz.
    #[must_use]
    pub fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// Changes the clock rate at a remap to a track of another codec.
    pub fn set_clock_rate(&mut self, clock_rate: u32) {
        self.clock_rate = clock_rate;
    }

    /// Continues with another source from `first` on. `timestamp_hint` is the egress timestamp that sender reports
    /// give for `first`; without one, or when it is not believable, the time since the last packet decides. Always
    /// strictly forward.
    pub fn start(&mut self, first: &Incoming, timestamp_hint: Option<u32>) {
        let picture = first.pictures.map_or(0, |numbers| numbers.picture_id);
        let tl0 = first.pictures.and_then(|numbers| numbers.tl0_pic_idx).unwrap_or(0);
        let frame_number = first.frame_number.unwrap_or(0);
        let timestamp = self.start_timestamp(first.arrived, timestamp_hint);
        self.source = Some(Source {
            segment: Segment {
                first: first.seq,
                seq_offset: self.last.seq.0.wrapping_add(1).wrapping_sub(first.seq.0),
                picture_offset: self.last.picture_id.wrapping_add(1).wrapping_sub(picture) & PICTURE_ID_MASK,
                picture_first: picture,
            },
            segment_used: false,
            timestamp_offset: timestamp.wrapping_sub(first.timestamp),
            tl0_offset: self.last.tl0_pic_idx.wrapping_add(1).wrapping_sub(tl0),
            frame_number_offset: self.last.frame_number.wrapping_add(1).wrapping_sub(frame_number),
            seq_end: first.seq,
            picture_highest: picture.wrapping_sub(1) & PICTURE_ID_MASK,
        });
        self.history.segments_len = 0;
    }

    /// Numbers a packet of the current source, or `None` when it cannot have a number of its own any more.
    #[must_use]
    pub fn forward(&mut self, incoming: &Incoming) -> Option<Rewritten> {
        if self.is_late(incoming.seq) { self.forward_late(incoming) } else { self.forward_next(incoming) }
    }

    /// [`Self::forward`] for a packet that is not late. Always a part of its caller, so that the numbers stay in
    /// registers: a struct that is copied right after its fields were written waits for all writes before it, which was
    /// a tenth of what a forwarded packet costs.
    #[inline(always)]
    #[must_use]
    pub fn forward_next(&mut self, incoming: &Incoming) -> Option<Rewritten> {
        let source = self.source.as_mut()?;
        let picture = incoming.pictures.map(|numbers| widen(numbers, source.picture_highest));
        if let Some(picture) = picture {
            if picture == source.picture_highest && is_before(picture, source.segment.picture_first) {
                // The rest of a picture whose number was closed up already.
                self.skip(incoming, false);
                return None;
            }
            if is_before(picture, source.picture_highest) {
                source.restart_pictures(&mut self.history, incoming.seq, picture, self.last.picture_id);
            }
            source.record_picture(picture);
        }
        source.seq_end = incoming.seq.next();
        source.segment_used = true;
        let rewritten = rewrite(source, &source.segment, incoming, picture);
        self.history.advance(self.last.seq, rewritten.seq);
        self.last.record(&rewritten, incoming.arrived);
        Some(rewritten)
    }

    /// Withholds a packet of the current source and closes its number up. When later packets went out already its
    /// number is a hole that the receiver would ask for in vain: the result is then the number for an empty packet.
    #[cold]
    pub fn skip(&mut self, incoming: &Incoming, whole_picture: bool) -> Option<Rewritten> {
        let source = self.source.as_mut()?;
        if incoming.seq < source.seq_end {
            return self.number_late(incoming, None);
        }
        let mut segment = source.segment;
        segment.first = incoming.seq.next();
        segment.seq_offset = segment.seq_offset.wrapping_sub(1);
        if let Some(numbers) = incoming.pictures {
            let picture = widen(numbers, source.picture_highest);
            if whole_picture && is_before(source.picture_highest, picture) {
                segment.picture_offset = segment.picture_offset.wrapping_sub(1) & PICTURE_ID_MASK;
                segment.picture_first = picture.wrapping_add(1) & PICTURE_ID_MASK;
                source.picture_highest = picture;
            }
        }
        // A run of withheld packets needs one segment only, unless lost ones among it must still find their numbers.
        if source.segment_used || source.segment.first != incoming.seq {
            self.history.push(source.segment);
        }
        source.segment = segment;
        source.segment_used = false;
        source.seq_end = incoming.seq.next();
        None
    }

    /// The input number behind an egress number that was never sent, if it may still be.
    #[must_use]
    pub fn locate(&self, egress: SeqNo) -> Option<SeqNo> {
        let source = self.source.as_ref()?;
        if !self.history.is_unsent(egress, self.last.seq) {
            return None;
        }
        let segments = std::iter::once(&source.segment).chain(self.history.segments());
        let segment = segments.into_iter().find(|s| egress.0 >= s.first.0.wrapping_add(s.seq_offset))?;
        Some(SeqNo(egress.0.wrapping_sub(segment.seq_offset)))
    }

    /// [`Self::forward`] for a packet that is late.
    #[cold]
    #[must_use]
    pub fn forward_late(&mut self, incoming: &Incoming) -> Option<Rewritten> {
        let highest = self.source.as_ref()?.picture_highest;
        // A late picture is never ahead: the narrow form then reaches back over all of its 128 numbers.
        let back = |n: PictureNumbers| highest.wrapping_sub(n.picture_id) & width_mask(n);
        let picture = incoming.pictures.map(|n| highest.wrapping_sub(back(n)) & PICTURE_ID_MASK);
        self.number_late(incoming, picture)
    }

    /// A packet behind the highest: numbered as it would have been in time, unless that number is gone.
    fn number_late(&mut self, incoming: &Incoming, picture: Option<u16>) -> Option<Rewritten> {
        let source = self.source.as_ref()?;
        let mut found = None;
        let mut following: Option<&Segment> = None;
        for segment in std::iter::once(&source.segment).chain(self.history.segments()) {
            if incoming.seq >= segment.first {
                found = Some(*segment);
                break;
            }
            following = Some(segment);
        }
        let segment = found?;
        let rewritten = rewrite(source, &segment, incoming, picture);
        let in_segment = following.is_none_or(|next| rewritten.seq < next.seq_first());
        let in_picture = picture.is_none_or(|picture| segment.holds(picture, following));
        if !in_segment || !in_picture || !self.history.is_unsent(rewritten.seq, self.last.seq) {
            return None;
        }
        self.history.mark(rewritten.seq);
        Some(rewritten)
    }

    fn start_timestamp(&self, arrived: Instant, hint: Option<u32>) -> u32 {
        let Some(last_arrived) = self.last.arrived else { return self.last.timestamp };
        let elapsed = arrived.saturating_duration_since(last_arrived).min(PAUSE_MAX);
        let ticks = (elapsed.as_micros() as u64 * u64::from(self.clock_rate) / 1_000_000) as u32;
        let step_min = (self.clock_rate / 1000).max(1);
        let guess = self.last.timestamp.wrapping_add(ticks);
        let believable = i64::from(self.clock_rate) * HINT_ERROR_MAX.as_millis() as i64 / 1000;
        let chosen = hint.filter(|&h| i64::from(h.wrapping_sub(guess) as i32).abs() <= believable).unwrap_or(guess);
        if (chosen.wrapping_sub(self.last.timestamp) as i32) < step_min as i32 {
            return self.last.timestamp.wrapping_add(step_min);
        }
        chosen
    }
}

impl Segment {
    /// First output number.
    fn seq_first(&self) -> SeqNo {
        SeqNo(self.first.0.wrapping_add(self.seq_offset))
    }

    /// Whether an input picture has an output number of its own here: it was not closed up before this segment, nor
    /// by the start of the following one.
    fn holds(&self, picture: u16, following: Option<&Segment>) -> bool {
        let egress = |segment: &Segment, picture: u16| picture.wrapping_add(segment.picture_offset) & PICTURE_ID_MASK;
        let closed = following.is_some_and(|next| {
            next.picture_offset != self.picture_offset
                && !is_before(egress(self, picture), egress(next, next.picture_first))
        });
        !closed && !is_before(picture, self.picture_first)
    }
}

impl Source {
    /// Follows the newest picture, and keeps `picture_first` near enough to compare with.
    #[inline]
    fn record_picture(&mut self, picture: u16) {
        self.picture_highest = picture;
        if picture.wrapping_sub(self.segment.picture_first) & PICTURE_ID_MASK > PICTURES_LATE_MAX {
            self.segment.picture_first = picture.wrapping_sub(PICTURES_LATE_MAX / 2) & PICTURE_ID_MASK;
        }
    }

    /// The publisher's encoder began to count anew in the middle of its stream: go on from `last` instead.
    #[cold]
    fn restart_pictures(&mut self, history: &mut History, first: SeqNo, picture: u16, last: u16) {
        history.push(self.segment);
        self.segment.first = first;
        self.segment.picture_offset = last.wrapping_add(1).wrapping_sub(picture) & PICTURE_ID_MASK;
        self.segment.picture_first = picture;
    }
}

impl Last {
    #[inline]
    fn record(&mut self, sent: &Rewritten, arrived: Instant) {
        self.seq = sent.seq;
        if self.arrived.is_none() || (sent.timestamp.wrapping_sub(self.timestamp) as i32) > 0 {
            self.timestamp = sent.timestamp;
            self.arrived = Some(arrived);
        }
        if let Some((picture_id, tl0)) = sent.pictures {
            if is_before(self.picture_id, picture_id) {
                self.picture_id = picture_id;
            }
            if let Some(tl0) = tl0
                && (tl0.wrapping_sub(self.tl0_pic_idx) as i8) > 0
            {
                self.tl0_pic_idx = tl0;
            }
        }
        if let Some(number) = sent.frame_number
            && (number.wrapping_sub(self.frame_number) as i16) > 0
        {
            self.frame_number = number;
        }
    }
}

impl History {
    /// Moves the window from `highest` to `seq` and marks that as sent.
    #[inline]
    fn advance(&mut self, highest: SeqNo, seq: SeqNo) {
        let gap = seq.0.wrapping_sub(highest.0).min(SENT_WINDOW);
        for missing in 1..gap {
            let (word, bit) = Self::place(highest + missing);
            self.sent[word] &= !bit;
        }
        self.mark(seq);
    }

    #[inline]
    fn mark(&mut self, seq: SeqNo) {
        let (word, bit) = Self::place(seq);
        self.sent[word] |= bit;
    }

    fn is_unsent(&self, seq: SeqNo, highest: SeqNo) -> bool {
        let (word, bit) = Self::place(seq);
        seq < highest && seq.0 + SENT_WINDOW > highest.0 && self.sent[word] & bit == 0
    }

    fn place(seq: SeqNo) -> (usize, u64) {
        let at = seq.0 % SENT_WINDOW;
        (at as usize / 64, 1 << (at % 64))
    }

    fn push(&mut self, segment: Segment) {
        self.segments[self.segments_len % SEGMENTS_MAX] = segment;
        self.segments_len += 1;
    }

    /// Closed segments, newest first.
    fn segments(&self) -> impl Iterator<Item = &Segment> {
        let kept = self.segments_len.min(SEGMENTS_MAX);
        (1..=kept).map(move |back| &self.segments[(self.segments_len - back) % SEGMENTS_MAX])
    }
}

#[inline]
fn rewrite(source: &Source, segment: &Segment, incoming: &Incoming, picture: Option<u16>) -> Rewritten {
    let tl0 = incoming.pictures.and_then(|numbers| numbers.tl0_pic_idx);
    Rewritten {
        seq: SeqNo(incoming.seq.0.wrapping_add(segment.seq_offset)),
        timestamp: incoming.timestamp.wrapping_add(source.timestamp_offset),
        pictures: picture.map(|picture| {
            let picture_id = picture.wrapping_add(segment.picture_offset) & PICTURE_ID_MASK;
            (picture_id, tl0.map(|tl0| tl0.wrapping_add(source.tl0_offset)))
        }),
        frame_number: incoming.frame_number.map(|number| number.wrapping_add(source.frame_number_offset)),
    }
}

fn width_mask(numbers: PictureNumbers) -> u16 {
    if numbers.picture_id_bits == 15 { PICTURE_ID_MASK } else { 0x7f }
}

/// The 15-bit picture id nearest to `reference`.
fn widen(numbers: PictureNumbers, reference: u16) -> u16 {
    if numbers.picture_id_bits == 15 {
        return numbers.picture_id & PICTURE_ID_MASK;
    }
    let ahead = numbers.picture_id.wrapping_sub(reference) & 0x7f;
    let signed = if ahead >= 64 { ahead.wrapping_sub(128) } else { ahead };
    reference.wrapping_add(signed) & PICTURE_ID_MASK
}

/// Whether 15-bit picture `a` comes before `b`.
fn is_before(a: u16, b: u16) -> bool {
    let ahead = b.wrapping_sub(a) & PICTURE_ID_MASK;
    ahead != 0 && ahead < PICTURE_ID_MASK.div_ceil(2)
}

/// A well mixed number from a seed (Steele, Lea, Flood: SplitMix64).
fn splitmix(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

const PICTURE_ID_MASK: u16 = 0x7fff;

/// Pictures back from the newest among which a late packet's picture is looked for.
const PICTURES_LATE_MAX: u16 = 0x1000;

/// Egress numbers, back from the highest, that may still be sent late. Higher: more memory a viewer; lower: a
/// retransmission by the publisher comes too late at high rates (2048 is a second at 20 Mbit/s).
const SENT_WINDOW: u64 = 2048;

/// Runs of withheld packets that are remembered. With a temporal layer withheld there are 15 in a second; a late packet
/// from before the oldest is dropped.
const SEGMENTS_MAX: usize = 64;

/// How far a timestamp from sender reports may lie from the time that passed. Higher: a publisher with a wrong clock
/// freezes its viewers for that long; lower: jitter makes us ignore good reports.
const HINT_ERROR_MAX: Duration = Duration::from_millis(500);

/// Longest pause that timestamps follow: past it they would look like a step back (2^31 ticks at 90 kHz are 6.6 h).
const PAUSE_MAX: Duration = Duration::from_secs(3600);
