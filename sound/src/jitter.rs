//! The jitter buffer: packets in as they come, one after the other out when they are due.
//!
//! It is indexed by RTP timestamp and told of every sequence number of the stream, telephone-events included, so that it knows
//! a lost packet from a pause. What it aims at is one frame more than the delay that 95 % of the packets keep. Too much delay
//! is cut at once when it is much, and otherwise frame by frame while nobody speaks; too little grows by waiting.
//!
//! Time is a parameter. Not here: decoding, concealment, and who the sender is (the caller has checked that).
//! Invariants: no packet is given out twice or before one that precedes it; at most [`PACKETS_MAX`] are held.

mod lateness;
mod seen;
#[cfg(test)]
mod tests;
mod unwrap;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::FRAME;
use lateness::Lateness;
use seen::Seen;
use unwrap::Unwrapper;

/// Packets held at most, 2.5 s of the usual ones. Fewer would lose the end of a burst after a stall, of which only the last
/// words are played anyway; more would hold what is cut at once.
pub const PACKETS_MAX: usize = 128;

/// Longer payloads are refused: no packet of 120 ms of any codec here is longer.
pub const PAYLOAD_MAX: usize = 1_500;

/// Delay is never aimed higher: beyond, people talk over each other, which is worse than a lost word.
pub const TARGET_MAX: Duration = Duration::from_millis(200);

/// With that much above the target the excess is cut at once: a delay that shrinks by one frame in a pause would last minutes.
pub const CUT_OVER: Duration = Duration::from_millis(160);

/// A packet's place in its stream, out of the RTP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Who sends; another one starts everything anew.
    pub ssrc: u32,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp.
    pub timestamp: u32,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It waits for its turn.
    Stored,
    /// It was there already.
    Duplicate,
    /// Its turn was over.
    Late,
    /// Its place is far from where the stream is; a second one that follows it restarts the stream there.
    Suspect,
    /// Too long, or without sound.
    Refused,
}

/// What is due now. All but `Packet` say how many ticks of the RTP clock are to be filled.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken<'a> {
    /// This payload.
    Packet(&'a [u8]),
    /// Something that was sent and is not here: conceal it. `next` is the packet after it, for codecs that repeat in it.
    Lost {
        /// How long what is lost is.
        ticks: u32,
        /// The payload that follows at once, if it is here.
        next: Option<&'a [u8]>,
    },
    /// Nothing was sent, or nothing came for long: comfort noise.
    Empty {
        /// For how long.
        ticks: u32,
    },
}

/// What happened since the beginning, for metrics and reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterCounts {
    /// Packets that were new, telephone-events included.
    pub received: u64,
    /// Packets that came a second time.
    pub duplicates: u64,
    /// Packets that came after their turn.
    pub late: u64,
    /// Sequence numbers that had not come when their turn was.
    pub lost: u64,
    /// Frames that had to be made up, lost or merely late.
    pub concealed: u64,
    /// Times that nothing was left to play, though the sender had not paused.
    pub dry: u64,
    /// Frames left out while nobody spoke.
    pub dropped: u64,
    /// Frames of waiting put in while nobody spoke.
    pub stretched: u64,
    /// Packets thrown away because the delay had become much too long.
    pub cut: u64,
    /// Packets thrown away because too many were waiting.
    pub overflowed: u64,
    /// Starts anew: another sender, or a jump of its clock.
    pub restarts: u64,
}

struct Waiting {
    /// Extended timestamp.
    at: i64,
    /// Extended sequence number.
    sequence: i64,
    ticks: u32,
    payload: Vec<u8>,
}

/// Where the playing is.
#[derive(Clone, Copy, Debug)]
enum Playing {
    /// Nothing was given out since the (re)start; the first packet came then.
    Filling { since: Instant },
    /// `head` is the timestamp that is due, `last` the sequence number that was given out last.
    Running { head: i64, last: i64 },
    /// As running, but the packet at `head` was not here and none after it, for `frames`, some of which were `concealed`.
    Stalled { head: i64, last: i64, frames: u32, concealed: u32 },
}

/// See the module.
pub struct JitterBuffer {
    clock_hz: u32,
    frame_ticks: u32,
    /// How long the packet given out last was: a lost one is taken to be as long.
    packet_ticks: u32,
    waiting: VecDeque<Waiting>,
    /// The payload that was given out last, and buffers to be filled again: nothing is allocated once all have been in use.
    given: Vec<u8>,
    spare: Vec<Vec<u8>>,
    playing: Option<Playing>,
    ssrc: Option<u32>,
    sequences: Unwrapper,
    timestamps: Unwrapper,
    seen: Seen,
    suspect: Option<Place>,
    lateness: Lateness,
    origin: Option<Instant>,
    counts: JitterCounts,
}

impl JitterBuffer {
    /// A buffer for a stream whose RTP clock ticks at `clock_hz`.
    #[must_use]
    pub fn new(clock_hz: u32) -> Self {
        Self {
            clock_hz,
            frame_ticks: clock_hz / 50,
            packet_ticks: clock_hz / 50,
            waiting: VecDeque::with_capacity(PACKETS_MAX),
            given: Vec::new(),
            spare: Vec::with_capacity(PACKETS_MAX),
            playing: None,
            ssrc: None,
            sequences: Unwrapper::new(16),
            timestamps: Unwrapper::new(32),
            seen: Seen::default(),
            suspect: None,
            lateness: Lateness::default(),
            origin: None,
            counts: JitterCounts::default(),
        }
    }

    /// A packet with sound came; `ticks` is how long its sound is ([`crate::Codec::ticks`]).
    pub fn handle_packet(&mut self, now: Instant, place: Place, ticks: u32, payload: &[u8]) -> Inserted {
        if payload.is_empty() || payload.len() > PAYLOAD_MAX || ticks == 0 {
            return Inserted::Refused;
        }
        let (sequence, at) = match self.locate(now, place) {
            Ok(place) => place,
            Err(why) => return why,
        };
        self.lateness.record(self.elapsed(now), self.span(at));
        let head = match self.playing {
            None => {
                self.playing = Some(Playing::Filling { since: now });
                i64::MIN
            }
            Some(Playing::Filling { .. }) => i64::MIN,
            Some(Playing::Running { head, .. } | Playing::Stalled { head, .. }) => head,
        };
        if at < head {
            self.counts.late += 1;
            return Inserted::Late;
        }
        self.store(at, sequence, ticks, payload);
        Inserted::Stored
    }

    /// A packet without sound of its own came in the same stream (telephone-event, comfort noise): its number is no loss.
    pub fn handle_other(&mut self, now: Instant, place: Place) -> Inserted {
        match self.locate(now, place) {
            Ok(_) => Inserted::Stored,
            Err(why) => why,
        }
    }

    /// What is due. To be asked whenever the sound given out so far is used up: about every 20 ms. `is_quiet` says that nobody
    /// speaks in what was played last, so that a frame may be left out or put in.
    pub fn poll_take(&mut self, now: Instant, is_quiet: bool) -> Taken<'_> {
        let Some(playing) = self.playing else {
            return Taken::Empty { ticks: self.frame_ticks };
        };
        match playing {
            Playing::Filling { since } => self.begin(now, since),
            Playing::Running { head, last } => self.go_on(now, head, last, is_quiet),
            Playing::Stalled { head, last, frames, concealed } => {
                if self.waiting.is_empty() {
                    return self.stall(head, last, frames, concealed);
                }
                let head = self.end_stall(head, last, frames, concealed);
                self.go_on(now, head, last, is_quiet)
            }
        }
    }

    /// The delay aimed at, on top of the fastest packet's.
    #[must_use]
    pub fn target(&self) -> Duration {
        (FRAME + self.lateness.high_water()).min(TARGET_MAX)
    }

    /// How long the packet that is due has been waiting longer than the fastest one would need.
    #[must_use]
    pub fn delay(&self, now: Instant) -> Duration {
        let head = match self.playing {
            Some(Playing::Running { head, .. } | Playing::Stalled { head, .. }) => head,
            Some(Playing::Filling { .. }) => self.waiting.front().map_or(0, |first| first.at),
            None => return Duration::ZERO,
        };
        let micros = self.excess(now, head);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// Packets that wait.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.waiting.len()
    }

    /// The interarrival jitter of RFC 3550 section 6.4.1.
    #[must_use]
    pub fn jitter(&self) -> Duration {
        self.lateness.jitter()
    }

    /// What happened since the beginning.
    #[must_use]
    pub fn counts(&self) -> JitterCounts {
        self.counts
    }

    /// The packet's extended sequence number and timestamp, once it is known to be new and of this stream.
    fn locate(&mut self, now: Instant, place: Place) -> Result<(i64, i64), Inserted> {
        if self.ssrc != Some(place.ssrc) {
            if self.ssrc.is_some() {
                self.restart();
            }
            self.ssrc = Some(place.ssrc);
        }
        self.origin.get_or_insert(now);
        if self.is_far(now, place) {
            let follows = |before: Place| {
                before.sequence.wrapping_add(1) == place.sequence
                    && place.timestamp.wrapping_sub(before.timestamp) <= self.clock_hz
            };
            if !self.suspect.is_some_and(follows) {
                self.suspect = Some(place);
                return Err(Inserted::Suspect);
            }
            self.restart();
        }
        self.suspect = None;
        let sequence = self.sequences.extend(u32::from(place.sequence));
        let at = self.timestamps.extend(place.timestamp);
        if !self.seen.insert(sequence) {
            self.counts.duplicates += 1;
            return Err(Inserted::Duplicate);
        }
        self.counts.received += 1;
        Ok((sequence, at))
    }

    /// Whether the packet cannot belong where the stream is: its number or its clock is seconds away.
    fn is_far(&self, now: Instant, place: Place) -> bool {
        let Some(sequence) = self.sequences.peek(u32::from(place.sequence)) else {
            return false;
        };
        if (sequence - self.seen.newest()).abs() > SEQUENCE_JUMP_MAX {
            return true;
        }
        let at = self.timestamps.peek(place.timestamp).unwrap_or(0);
        self.lateness.over_base(self.elapsed(now), self.span(at)).abs() > micros(CLOCK_JUMP_MAX)
    }

    fn restart(&mut self) {
        self.counts.restarts += 1;
        while let Some(packet) = self.waiting.pop_front() {
            self.spare.push(packet.payload);
        }
        self.playing = None;
        self.sequences = Unwrapper::new(16);
        self.timestamps = Unwrapper::new(32);
        self.seen = Seen::default();
        self.suspect = None;
        self.lateness.restart();
    }

    fn store(&mut self, at: i64, sequence: i64, ticks: u32, bytes: &[u8]) {
        if self.waiting.len() == PACKETS_MAX
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.counts.overflowed += 1;
            self.spare.push(oldest.payload);
        }
        let mut payload = self.spare.pop().unwrap_or_default();
        payload.clear();
        payload.extend_from_slice(bytes);
        let behind = self.waiting.iter().rposition(|other| other.at <= at).map_or(0, |index| index + 1);
        self.waiting.insert(behind, Waiting { at, sequence, ticks, payload });
    }

    /// Plays nothing until the first packet has waited as long as is aimed at.
    fn begin(&mut self, now: Instant, since: Instant) -> Taken<'_> {
        match self.waiting.front() {
            Some(first) if now.saturating_duration_since(since) >= FRAME => {
                let (head, last) = (first.at, first.sequence - 1);
                self.go_on(now, head, last, false)
            }
            _ => Taken::Empty { ticks: self.frame_ticks },
        }
    }

    fn go_on(&mut self, now: Instant, head: i64, last: i64, is_quiet: bool) -> Taken<'_> {
        let (head, last) = self.shorten(now, head, last, is_quiet);
        let Some(first) = self.waiting.front() else {
            return self.stall(head, last, 0, 0);
        };
        let (next_at, next_sequence) = (first.at, first.sequence);
        if next_at > head {
            return self.fill_gap(head, last, next_at, next_sequence);
        }
        self.playing = Some(Playing::Running { head, last });
        if is_quiet && self.excess(now, head) < micros(self.lateness.high_water()) {
            self.counts.stretched += 1;
            return Taken::Empty { ticks: self.frame_ticks };
        }
        self.give()
    }

    /// The first packet, which is due.
    fn give(&mut self) -> Taken<'_> {
        let Some(first) = self.waiting.pop_front() else {
            return Taken::Empty { ticks: self.frame_ticks };
        };
        self.packet_ticks = first.ticks;
        self.playing = Some(Playing::Running { head: first.at + i64::from(first.ticks), last: first.sequence });
        self.spare.push(std::mem::replace(&mut self.given, first.payload));
        Taken::Packet(&self.given)
    }

    /// Less delay where there is too much: at once when it is much too much, else one packet in a pause.
    fn shorten(&mut self, now: Instant, head: i64, last: i64, is_quiet: bool) -> (i64, i64) {
        let excess = self.excess(now, head);
        let target = micros(self.target());
        if excess > target + micros(CUT_OVER) {
            return self.skip_to(head + self.ticks_of(excess - target), head, last);
        }
        if !is_quiet || excess < target + micros(FRAME) || self.waiting.len() < 2 {
            return (head, last);
        }
        self.counts.dropped += 1;
        match self.waiting.front() {
            Some(first) if first.at > head => (first.at.min(head + i64::from(self.frame_ticks)), last),
            _ => self.discard_first(head, last),
        }
    }

    /// Throws away what would have been played before `wanted`, but never the last packet.
    fn skip_to(&mut self, wanted: i64, mut head: i64, mut last: i64) -> (i64, i64) {
        while self.waiting.len() > 1 && self.waiting[0].at + i64::from(self.waiting[0].ticks) <= wanted {
            self.counts.cut += 1;
            (head, last) = self.discard_first(head, last);
        }
        let next_at = self.waiting.front().map_or(head, |first| first.at);
        (head.max(wanted.min(next_at)), last)
    }

    /// Where the stream is without its first packet.
    fn discard_first(&mut self, head: i64, last: i64) -> (i64, i64) {
        let Some(first) = self.waiting.pop_front() else {
            return (head, last);
        };
        self.spare.push(first.payload);
        (head.max(first.at + i64::from(first.ticks)), first.sequence)
    }

    /// The next packet is not due yet: what lies between was lost, or never sent.
    fn fill_gap(&mut self, head: i64, last: i64, next_at: i64, next_sequence: i64) -> Taken<'_> {
        let missing = self.seen.missing(last + 1, next_sequence);
        let longest = if missing == 0 { self.frame_ticks } else { self.packet_ticks };
        let ticks = u32::try_from(next_at - head).unwrap_or(u32::MAX).min(longest);
        let head = head + i64::from(ticks);
        if missing == 0 {
            self.playing = Some(Playing::Running { head, last });
            return Taken::Empty { ticks };
        }
        self.counts.concealed += 1;
        // Each of the missing is counted when its turn is over: one for each packet's time, the rest with the last.
        let is_next_adjacent = head == next_at;
        let (counted, last) =
            if is_next_adjacent { (missing, next_sequence - 1) } else { (1, self.seen.first_missing(last + 1)) };
        self.counts.lost += counted;
        self.playing = Some(Playing::Running { head, last });
        let next = self.waiting.front().filter(|_| is_next_adjacent).map(|packet| packet.payload.as_slice());
        Taken::Lost { ticks, next }
    }

    /// Nothing is here. Time does not go on for the stream: what comes late is still played.
    fn stall(&mut self, head: i64, last: i64, frames: u32, concealed: u32) -> Taken<'_> {
        let ticks = self.frame_ticks;
        let frames = frames.saturating_add(1);
        // The stream may go on with something else: a key is held down.
        let is_elsewhere = self.seen.newest() > last && self.seen.missing(last + 1, self.seen.newest() + 1) == 0;
        if is_elsewhere || frames > STALL_CONCEALED_MAX {
            self.playing = Some(Playing::Stalled { head, last, frames, concealed });
            return Taken::Empty { ticks };
        }
        self.counts.concealed += 1;
        self.counts.dry += u64::from(concealed == 0);
        self.playing = Some(Playing::Stalled { head, last, frames, concealed: concealed + 1 });
        Taken::Lost { ticks, next: None }
    }

    /// Something came after a stall: where the stream is now depends on whether it was merely late.
    fn end_stall(&mut self, head: i64, last: i64, frames: u32, concealed: u32) -> i64 {
        let Some(first) = self.waiting.front() else {
            return head;
        };
        let gap = (first.at - head).max(0);
        let missing = self.seen.missing(last + 1, first.sequence);
        if gap > 0 && missing == 0 {
            // A pause of the sender's: nobody had to make up for it.
            self.counts.concealed -= u64::from(concealed);
            self.counts.dry -= u64::from(concealed > 0);
        }
        let filled = i64::from(frames) * i64::from(self.frame_ticks);
        if filled >= gap {
            self.counts.lost += if gap > 0 { missing } else { 0 };
        }
        head + gap.min(filled)
    }

    /// By how many microseconds the stream at `head` is later than the fastest packet would allow.
    fn excess(&self, now: Instant, head: i64) -> i64 {
        self.lateness.over_base(self.elapsed(now), self.span(head))
    }

    fn elapsed(&self, now: Instant) -> i64 {
        let origin = self.origin.unwrap_or(now);
        micros(now.saturating_duration_since(origin))
    }

    /// Ticks as microseconds.
    fn span(&self, ticks: i64) -> i64 {
        (i128::from(ticks) * 1_000_000 / i128::from(self.clock_hz)) as i64
    }

    fn ticks_of(&self, micros: i64) -> i64 {
        (i128::from(micros) * i128::from(self.clock_hz) / 1_000_000) as i64
    }
}

fn micros(duration: Duration) -> i64 {
    duration.as_micros() as i64
}

/// A number that far from the newest is of another stream. RFC 3550 appendix A.1 allows 3,000 forward, which is a minute of sound.
const SEQUENCE_JUMP_MAX: i64 = 3_000;

/// A packet whose clock differs by more from what its arrival says comes from a clock that was set anew.
const CLOCK_JUMP_MAX: Duration = Duration::from_secs(3);

/// Frames for which an empty buffer counts as loss; then it is a pause. Concealment has faded out by then.
const STALL_CONCEALED_MAX: u32 = 5;
