//! What a leg receives: numbers seen, gaps asked for again, repairs taken, stamps read, reports and feedback prepared.
//!
//! Plain (decrypted) packets in, RTCP out through the caller's writer. Invariant: a stamp's number counts once,
//! however often its packet came. Not here: SRTP and sockets (`wire`).

use std::time::{Duration, Instant};

use colloque::ids::Ssrc;
use colloque::rtp::extension::{ExtensionKind, ExtensionMap, transport_cc_number};
use colloque::rtp::packet::RtpHeader;
use colloque::rtp::rtcp::{Arrival, CompoundWriter, ReportBlock};
use colloque::rtp::seq::{SeqExtender, SeqNo};

use super::sdp::{Kind, Payload};
use super::window::Window;
use crate::media::Stamp;
use crate::tally::{Phase, STREAMS_MAX, Seen, Shared, Tally};

/// A receiving section's facts.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) kind: Kind,
    pub(super) payload: Payload,
    pub(super) ssrcs: Vec<(u32, Option<u32>)>,
    pub(super) extensions: ExtensionMap,
    /// Missing packets may be asked for.
    pub(super) nack: bool,
}

/// What one packet was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Received {
    /// New media of this kind.
    Media(Kind),
    /// Padding, a repetition, or of nobody we know.
    Nothing,
}

/// All that one leg receives.
pub(super) struct Receiving {
    slots: Vec<Slot>,
    /// One bundle has one id for it.
    transport_cc_id: Option<u8>,
    streams: Vec<Stream>,
    seen: Vec<(u32, Seen)>,
    transport_cc: SeqExtender,
    arrivals: Vec<Arrival>,
    feedback_count: u8,
    feedback_due: Option<Instant>,
    asks_due: Option<Instant>,
    heard_at: Option<Instant>,
}

/// One SSRC that came.
struct Stream {
    ssrc: u32,
    kind: Kind,
    rtx_ssrc: Option<u32>,
    nack: bool,
    clock_rate: u32,
    window: Window,
    missing: Vec<Missing>,
    keyframe: Keyframe,
    jitter: f32,
    transit: Option<i64>,
    reported: (u64, u64),
    sender_report: Option<(u32, Instant)>,
}

#[derive(Clone, Copy)]
struct Missing {
    seq: SeqNo,
    since: Instant,
    ask_at: Instant,
    asked: u32,
    counted: bool,
}

/// Whether a decoder could show the stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keyframe {
    /// None came yet, or a loss was given up; ask when this instant passes.
    Wanted(Instant),
    Seen,
}

impl Receiving {
    pub(super) fn new(slots: Vec<Slot>) -> Self {
        Self {
            transport_cc_id: transport_cc_id(&slots),
            slots,
            streams: Vec::new(),
            seen: Vec::new(),
            // A number that was overtaken by the very first one must not become a huge one.
            transport_cc: SeqExtender::starting_at(1),
            arrivals: Vec::new(),
            feedback_count: 0,
            feedback_due: None,
            asks_due: None,
            heard_at: None,
        }
    }

    /// Later descriptions may add sections and SSRCs.
    pub(super) fn set_slots(&mut self, slots: Vec<Slot>) {
        self.transport_cc_id = transport_cc_id(&slots);
        self.slots = slots;
    }

    /// Takes a decrypted packet. `at` is when the kernel received it.
    pub(super) fn handle_packet(
        &mut self,
        now: Instant,
        at: Instant,
        packet: &[u8],
        seq: SeqNo,
        shared: &Shared,
        tally: &mut Tally,
    ) -> Received {
        let Ok(header) = RtpHeader::parse(packet) else { return Received::Nothing };
        let Some((index, is_repair)) = self.stream(header.ssrc.0, header.payload_type.0, now) else {
            return Received::Nothing;
        };
        self.note_arrival(&header, packet, at, now, shared);
        let mut payload = header.payload(packet);
        let stream = &mut self.streams[index];
        if is_repair {
            let Some((original, rest)) = payload.split_first_chunk::<2>() else { return Received::Nothing };
            payload = rest;
            if !stream.repair(u16::from_be_bytes(*original)) {
                return Received::Nothing;
            }
            tally.retransmissions_received += 1;
        } else {
            let counting = shared.phase() == Phase::Count;
            if !stream.note(seq, now, counting) {
                return Received::Nothing;
            }
            stream.note_jitter(header.timestamp, at, shared.epoch);
        }
        if stream.kind == Kind::Picture && starts_keyframe(payload) {
            stream.keyframe = Keyframe::Seen;
        }
        let kind = stream.kind;
        self.asks_due = earliest(self.asks_due, self.streams[index].ask_due());
        let Some(stamp) = Stamp::read(payload) else { return Received::Nothing };
        self.count(stamp, at, shared, tally);
        Received::Media(kind)
    }

    /// Notes a sender report.
    pub(super) fn handle_sender_report(&mut self, now: Instant, ssrc: Ssrc, ntp: u64) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == ssrc.0) {
            stream.sender_report = Some(((ntp >> 16) as u32, now));
        }
    }

    /// When [`Receiving::poll_feedback`] or [`Receiving::poll_asks`] has something.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.feedback_due, self.asks_due)
    }

    /// Asks for what is missing: NACKs and keyframe requests. `us` is any SSRC of ours.
    pub(super) fn poll_asks(
        &mut self,
        now: Instant,
        us: Ssrc,
        round_trip: Duration,
        writer: &mut CompoundWriter<'_>,
        tally: &mut Tally,
    ) {
        if self.asks_due.is_none_or(|due| now < due) {
            return;
        }
        self.asks_due = None;
        for stream in &mut self.streams {
            stream.give_up(now, tally);
            stream.ask(now, us, round_trip, writer, tally);
            if matches!(stream.keyframe, Keyframe::Wanted(at) if now >= at) {
                writer.pli(us, Ssrc(stream.ssrc));
                stream.keyframe = Keyframe::Wanted(now + KEYFRAME_ASK_EVERY);
            }
            self.asks_due = earliest(self.asks_due, stream.ask_due());
        }
    }

    /// Transport-wide feedback on what arrived since the last one.
    pub(super) fn poll_feedback(&mut self, now: Instant, us: Ssrc, writer: &mut CompoundWriter<'_>) {
        if self.feedback_due.is_none_or(|due| now < due) {
            return;
        }
        self.feedback_due = None;
        self.arrivals.sort_unstable_by_key(|arrival| arrival.seq);
        self.arrivals.dedup_by_key(|arrival| arrival.seq);
        let media = self.streams.first().map_or(Ssrc(0), |stream| Ssrc(stream.ssrc));
        let mut rest = &self.arrivals[..];
        while !rest.is_empty() {
            let covered = writer.transport_feedback(us, media, self.feedback_count, rest);
            if covered == 0 {
                break;
            }
            self.feedback_count = self.feedback_count.wrapping_add(1);
            rest = &rest[covered..];
        }
        self.arrivals.clear();
    }

    /// Report blocks for the streams that came, at most 31.
    pub(super) fn report_blocks(&mut self, now: Instant) -> impl Iterator<Item = ReportBlock> {
        self.streams.iter_mut().take(REPORT_BLOCKS_MAX).filter_map(move |stream| stream.report(now))
    }

    /// Hands the counts over. What is missing still will not come any more.
    pub(super) fn finish(&mut self, tally: &mut Tally) {
        let open = self.streams.iter().flat_map(|stream| &stream.missing);
        tally.unrepaired += open.filter(|missing| missing.counted).count() as u64;
        tally.received = std::mem::take(&mut self.seen).into_iter().collect();
    }

    /// The stream of an SSRC, made when a section takes it; whether the SSRC carries repairs.
    fn stream(&mut self, ssrc: u32, payload_type: u8, now: Instant) -> Option<(usize, bool)> {
        if let Some(index) = self.streams.iter().position(|stream| stream.ssrc == ssrc) {
            return Some((index, false));
        }
        if let Some(index) = self.streams.iter().position(|stream| stream.rtx_ssrc == Some(ssrc)) {
            return Some((index, true));
        }
        let declares = |slot: &&Slot| slot.ssrcs.iter().any(|(media, _)| *media == ssrc);
        let carries = |slot: &&Slot| slot.ssrcs.is_empty() && slot.payload.media == payload_type;
        let slot = self.slots.iter().find(declares).or_else(|| self.slots.iter().find(carries))?;
        if self.streams.len() == STREAMS_MAX || slot.payload.media != payload_type {
            return None;
        }
        let rtx_ssrc = slot.ssrcs.iter().find(|(media, _)| *media == ssrc).and_then(|(_, rtx)| *rtx);
        self.streams.push(Stream::new(ssrc, rtx_ssrc, slot, now));
        Some((self.streams.len() - 1, false))
    }

    fn note_arrival(&mut self, header: &RtpHeader, packet: &[u8], at: Instant, now: Instant, shared: &Shared) {
        let number = self.transport_cc_id.and_then(|id| header.extension(packet, id)).and_then(transport_cc_number);
        let Some(number) = number.filter(|_| self.arrivals.len() < ARRIVALS_MAX) else { return };
        let micros = at.saturating_duration_since(shared.epoch).as_micros() as i64;
        self.arrivals.push(Arrival { seq: self.transport_cc.extend(number), micros });
        self.feedback_due.get_or_insert(now + FEEDBACK_EVERY);
    }

    fn count(&mut self, stamp: Stamp, at: Instant, shared: &Shared, tally: &mut Tally) {
        let before = self.heard_at.replace(at);
        let Some(number) = stamp.number else { return };
        if let Some(gap) = before.map(|before| at.saturating_duration_since(before)) {
            tally.gap_max = tally.gap_max.max(gap);
        }
        let index = match self.seen.iter().position(|(stream, _)| *stream == stamp.stream) {
            Some(index) => index,
            None if self.seen.len() < STREAMS_MAX => {
                self.seen.push((stamp.stream, Seen::default()));
                self.seen.len() - 1
            }
            None => return,
        };
        if self.seen[index].1.insert(number) {
            tally.latency.record(stamp.latency(shared.epoch, at));
        }
    }
}

impl Stream {
    fn new(ssrc: u32, rtx_ssrc: Option<u32>, slot: &Slot, now: Instant) -> Self {
        let picture = slot.kind == Kind::Picture;
        Self {
            ssrc,
            kind: slot.kind,
            rtx_ssrc,
            nack: slot.nack && picture,
            clock_rate: if picture { 90_000 } else { 48_000 },
            window: Window::default(),
            missing: Vec::new(),
            keyframe: if picture { Keyframe::Wanted(now + KEYFRAME_PATIENCE) } else { Keyframe::Seen },
            jitter: 0.0,
            transit: None,
            reported: (0, 0),
            sender_report: None,
        }
    }

    /// Notes a packet of the stream itself. False when it came before.
    fn note(&mut self, seq: SeqNo, now: Instant, counting: bool) -> bool {
        let highest = self.window.highest();
        if !self.window.insert(seq) {
            return false;
        }
        match highest {
            Some(highest) if seq > highest => {
                let first = highest.next().0.max(seq.0.saturating_sub(GAP_MAX));
                for lost in (first..seq.0).map(SeqNo) {
                    let ask_at = now + NACK_AFTER;
                    self.missing.push(Missing { seq: lost, since: now, ask_at, asked: 0, counted: counting });
                }
            }
            _ => self.missing.retain(|missing| missing.seq != seq),
        }
        true
    }

    /// Notes a packet that came again on request. False when it was there already.
    fn repair(&mut self, wire: u16) -> bool {
        let Some(highest) = self.window.highest() else { return false };
        let seq = SeqNo::nearest(wire, highest);
        if !self.window.insert(seq) {
            return false;
        }
        self.missing.retain(|missing| missing.seq != seq);
        true
    }

    /// RFC 3550 appendix A.8.
    fn note_jitter(&mut self, timestamp: u32, at: Instant, epoch: Instant) {
        let arrival = at.saturating_duration_since(epoch).as_micros() as i64 * i64::from(self.clock_rate) / 1_000_000;
        let transit = arrival - i64::from(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit - before) as i32;
            self.jitter += (difference.unsigned_abs() as f32 - self.jitter) / 16.0;
        }
    }

    fn ask_due(&self) -> Option<Instant> {
        let asks = self.missing.iter().map(|missing| missing.ask_at).min();
        let keyframe = match self.keyframe {
            Keyframe::Wanted(at) => Some(at),
            Keyframe::Seen => None,
        };
        earliest(asks, keyframe)
    }

    /// Forgets what is too late for any decoder, and wants a keyframe instead.
    fn give_up(&mut self, now: Instant, tally: &mut Tally) {
        let before = self.missing.len();
        self.missing.retain(|missing| {
            let hopeless = now.saturating_duration_since(missing.since) >= MISSING_MAX;
            tally.unrepaired += u64::from(hopeless && missing.counted);
            !hopeless
        });
        if self.missing.len() < before && self.kind == Kind::Picture && self.keyframe == Keyframe::Seen {
            self.keyframe = Keyframe::Wanted(now);
        }
    }

    fn ask(
        &mut self,
        now: Instant,
        us: Ssrc,
        round_trip: Duration,
        writer: &mut CompoundWriter<'_>,
        tally: &mut Tally,
    ) {
        let again = round_trip.max(NACK_AFTER);
        let (nack, end) = (self.nack, MISSING_MAX);
        let mut asked = 0;
        let due = self.missing.iter_mut().filter(|missing| now >= missing.ask_at).filter_map(|missing| {
            let asks = nack && missing.asked < NACKS_MAX;
            missing.asked += u32::from(asks);
            missing.ask_at = if nack && missing.asked < NACKS_MAX { now + again } else { missing.since + end };
            asked += u64::from(asks);
            asks.then_some(missing.seq.wire())
        });
        writer.nack(us, Ssrc(self.ssrc), due);
        tally.nacks_sent += asked;
    }

    fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        let (highest, expected, received) = self.window.counts()?;
        let (expected_now, received_now) = (expected - self.reported.0, received.saturating_sub(self.reported.1));
        self.reported = (expected, received);
        let lost_now = expected_now.saturating_sub(received_now);
        let (last_sr, delay) = match self.sender_report {
            Some((last_sr, at)) => (last_sr, (now.saturating_duration_since(at).as_secs_f64() * 65_536.0) as u32),
            None => (0, 0),
        };
        Some(ReportBlock {
            ssrc: Ssrc(self.ssrc),
            fraction_lost: (lost_now * 256).checked_div(expected_now).unwrap_or(0).min(255) as u8,
            cumulative_lost: i32::try_from(expected as i64 - received as i64).unwrap_or(i32::MAX),
            highest_sequence: highest.0 as u32,
            jitter: self.jitter as u32,
            last_sr,
            delay_since_last_sr: delay,
        })
    }
}

/// The first packet of a VP8 keyframe: start of partition 0, and the P bit of the frame header is clear (RFC 7741
/// section 4).
fn starts_keyframe(payload: &[u8]) -> bool {
    let Some(&first) = payload.first().filter(|first| **first & 0x17 == 0x10) else { return false };
    let mut len = 1;
    if first & 0x80 != 0 {
        let extension = payload.get(1).copied().unwrap_or(0);
        len += 1;
        if extension & 0x80 != 0 {
            len += if payload.get(len).is_some_and(|id| id & 0x80 != 0) { 2 } else { 1 };
        }
        len += usize::from(extension & 0x40 != 0) + usize::from(extension & 0x30 != 0);
    }
    payload.get(len).is_some_and(|header| header & 1 == 0)
}

fn transport_cc_id(slots: &[Slot]) -> Option<u8> {
    slots.iter().find_map(|slot| slot.extensions.id(ExtensionKind::TransportCc))
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Overtaken packets come by themselves meanwhile.
const NACK_AFTER: Duration = Duration::from_millis(20);
/// As browsers do: on a machine that stalls for a tenth of a second, five requests are out before the first can be answered, and all
/// of them meet the same loss.
const NACKS_MAX: u32 = 10;
/// A picture that waits longer is frozen.
const MISSING_MAX: Duration = Duration::from_secs(1);
/// A wider gap is a stream that went on elsewhere; asking for all of it would be a flood.
const GAP_MAX: u64 = 256;
/// From a stream's first packet; its own keyframe is usually on the way.
const KEYFRAME_PATIENCE: Duration = Duration::from_millis(500);
const KEYFRAME_ASK_EVERY: Duration = Duration::from_secs(1);
/// What browsers do at usual rates.
const FEEDBACK_EVERY: Duration = Duration::from_millis(100);
/// A tenth of a second at 40 Mbit/s.
const ARRIVALS_MAX: usize = 512;
/// What the header's five bits hold.
const REPORT_BLOCKS_MAX: usize = 31;

#[cfg(test)]
mod tests;
