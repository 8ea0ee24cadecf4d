//! One receiving section of a simulated page: asks for what is lost, plays in order, and finds fault.
//!
//! A fault is anything that a decoder or a person would notice although the network was good enough: a picture that
//! begins without a keyframe, a hole, a timestamp or picture id out of step, a byte that is not the publisher's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use colloque::ids::{SlotId, Ssrc};
use colloque::rtp::codec::MediaKind;
use colloque::rtp::rtcp::ReportBlock;

use super::wire::{Format, Marker, descriptor_frame, picture_numbers};

/// A packet as it came out of SRTP.
#[derive(Clone, Debug)]
pub struct Heard {
    pub at: Instant,
    pub timestamp: u32,
    pub marker: bool,
    pub format: Format,
    pub descriptor: Option<Vec<u8>>,
    pub payload: Vec<u8>,
}

/// A whole frame that was played.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    pub at: Instant,
    pub publisher: u32,
    pub layer: u8,
    pub frame: u32,
    pub keyframe: bool,
    pub timestamp: u32,
    /// Microseconds since the simulation began.
    pub captured: u64,
}

#[derive(Clone, Copy)]
struct Missing {
    since: Instant,
    asked: Option<Instant>,
    times: u8,
}

/// The packet before the one being played.
#[derive(Clone, Copy)]
struct Previous {
    seq: u64,
    timestamp: u32,
    marker: Marker,
    numbers: Option<(u16, Option<u8>)>,
    descriptor_frame: Option<u16>,
}

pub struct Receiver {
    pub slot: SlotId,
    pub kind: MediaKind,
    pub ssrc: Ssrc,
    pub rtx: Option<Ssrc>,
    pub frames: Vec<Seen>,
    pub faults: Vec<String>,
    /// Times that the picture stood still because a packet never came.
    pub freezes: u32,
    /// Packets that never came.
    pub holes: u64,
    pub repaired: u64,
    pub packets: u64,
    /// NTP time and RTP timestamp of the latest sender report.
    pub clock: Option<(u64, u32)>,
    pub report_at: Option<Instant>,
    pub level: Option<u8>,
    first_at: Option<Instant>,
    next: Option<u64>,
    highest: u64,
    base: u64,
    waiting: BTreeMap<u64, Heard>,
    missing: BTreeMap<u64, Missing>,
    previous: Option<Previous>,
    /// Nothing can be decoded until a keyframe begins.
    blind: Option<Instant>,
    asked_keyframe: Option<Instant>,
    pub keyframe_requests: u32,
    pub counted: u64,
    reported: (u64, u64),
}

impl Receiver {
    pub fn new(slot: SlotId, kind: MediaKind, ssrc: Ssrc, rtx: Option<Ssrc>) -> Self {
        Self {
            slot,
            kind,
            ssrc,
            rtx,
            frames: Vec::new(),
            faults: Vec::new(),
            freezes: 0,
            holes: 0,
            repaired: 0,
            packets: 0,
            clock: None,
            report_at: None,
            level: None,
            first_at: None,
            next: None,
            highest: 0,
            base: 0,
            waiting: BTreeMap::new(),
            missing: BTreeMap::new(),
            previous: None,
            blind: None,
            asked_keyframe: None,
            keyframe_requests: 0,
            counted: 0,
            reported: (0, 0),
        }
    }

    /// A packet of the media stream, or one that a retransmission brought back.
    pub fn handle(&mut self, seq: u64, heard: Heard, repair: bool) {
        self.packets += 1;
        if self.first_at.is_none() {
            self.first_at = Some(heard.at);
            (self.highest, self.base) = (seq, seq);
        }
        if !repair {
            self.counted += 1;
        }
        self.base = self.base.min(seq);
        if self.next.is_some_and(|next| seq < next) || self.waiting.contains_key(&seq) {
            return;
        }
        for lost in self.highest + 1..seq {
            self.missing.insert(lost, Missing { since: heard.at, asked: None, times: 0 });
        }
        self.highest = self.highest.max(seq);
        if self.missing.remove(&seq).is_some() && repair {
            self.repaired += 1;
        }
        self.waiting.insert(seq, heard);
    }

    /// The extended number that a 16-bit one means here.
    pub fn nearest(&self, wire: u16) -> u64 {
        let difference = i64::from(wire.wrapping_sub(self.highest as u16) as i16);
        self.highest.saturating_add_signed(difference)
    }

    /// What to ask for again now.
    pub fn poll_nack(&mut self, now: Instant) -> Vec<u16> {
        if self.kind == MediaKind::Audio {
            return Vec::new();
        }
        let due = |lost: &Missing| match lost.asked {
            None => now >= lost.since + Duration::from_millis(10),
            Some(asked) => now >= asked + Duration::from_millis(60) && lost.times < 10,
        };
        let ask = |(&seq, lost): (&u64, &mut Missing)| {
            due(lost).then(|| {
                (lost.asked, lost.times) = (Some(now), lost.times + 1);
                seq as u16
            })
        };
        self.missing.iter_mut().filter_map(ask).take(100).collect()
    }

    /// Plays what can be played; true when a keyframe is to be asked for.
    pub fn play(&mut self, now: Instant) -> bool {
        let Some(first_at) = self.first_at else { return false };
        if self.next.is_none() {
            if now < first_at + Duration::from_millis(100) {
                return false;
            }
            self.next = self.waiting.keys().next().copied();
            self.blind = (self.kind == MediaKind::Video).then_some(now);
        }
        while let Some(next) = self.next {
            if let Some(heard) = self.waiting.remove(&next) {
                self.next = Some(next + 1);
                self.take(next, &heard);
                continue;
            }
            let Some((&after, waiting)) = self.waiting.iter().next() else { break };
            if now < waiting.at + self.patience() {
                break;
            }
            self.holes += after - next;
            self.missing = self.missing.split_off(&after);
            self.next = Some(after);
            if self.kind == MediaKind::Video && self.blind.is_none() {
                self.freezes += 1;
                self.blind = Some(now);
            }
        }
        let asks = self.blind.is_some_and(|since| now >= since + Duration::from_millis(100))
            && self.asked_keyframe.is_none_or(|asked| now >= asked + Duration::from_millis(300));
        if asks {
            self.asked_keyframe = Some(now);
            self.keyframe_requests += 1;
        }
        asks
    }

    /// What a receiver report says of this section.
    pub fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        self.first_at?;
        let expected = self.highest - self.base + 1;
        let (expected_before, counted_before) = self.reported;
        let (expected_since, counted_since) = (expected - expected_before, self.counted - counted_before);
        self.reported = (expected, self.counted);
        let lost = expected_since.saturating_sub(counted_since);
        let (last_sr, delay) = match (self.clock, self.report_at) {
            (Some((ntp, _)), Some(at)) => ((ntp >> 16) as u32, ((now - at).as_secs_f64() * 65_536.0) as u32),
            _ => (0, 0),
        };
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: (lost * 256).checked_div(expected_since).unwrap_or(0).min(255) as u8,
            cumulative_lost: (expected as i64 - self.counted as i64).clamp(-0x80_0000, 0x7f_ffff) as i32,
            highest_sequence: self.highest as u32,
            jitter: 10,
            last_sr,
            delay_since_last_sr: delay,
        })
    }

    pub fn frames_of(&self, publisher: u32) -> impl Iterator<Item = &Seen> {
        self.frames.iter().filter(move |seen| seen.publisher == publisher)
    }

    /// How long a hole is waited for.
    fn patience(&self) -> Duration {
        Duration::from_millis(if self.kind == MediaKind::Audio { 200 } else { 1000 })
    }

    fn take(&mut self, seq: u64, heard: &Heard) {
        if heard.payload.is_empty() {
            return;
        }
        let Some(marker) = Marker::find(&heard.payload) else {
            self.fault(format!("{seq}: the payload is not what a publisher sent"));
            return;
        };
        match self.kind {
            MediaKind::Audio => self.take_voice(seq, heard, marker),
            MediaKind::Video => self.take_picture(seq, heard, marker),
        }
        self.previous = Some(Previous {
            seq,
            timestamp: heard.timestamp,
            marker,
            numbers: picture_numbers(heard.format, &heard.payload),
            descriptor_frame: heard.descriptor.as_deref().and_then(descriptor_frame),
        });
    }

    fn take_voice(&mut self, seq: u64, heard: &Heard, marker: Marker) {
        if let Some(before) = self.previous {
            let frames = i64::from(marker.frame) - i64::from(before.marker.frame);
            let ticks = heard.timestamp.wrapping_sub(before.timestamp) as i32;
            if ticks <= 0 {
                self.fault(format!("{seq}: voice goes back {ticks} ticks"));
            }
            let ongoing = (marker.publisher, marker.leg) == (before.marker.publisher, before.marker.leg);
            let captured = (marker.captured as i64 - before.marker.captured as i64) * 48 / 1000;
            // After a pause the time is known only as well as the network's jitter lets it.
            let paused = frames != (seq - before.seq) as i64 || captured > frames * 960 + 960;
            let allowed = if paused { 4800 } else { 1 };
            if ongoing && (i64::from(ticks) - captured).abs() > allowed {
                self.fault(format!("{seq}: {captured} ticks of voice take {ticks}"));
            }
            // More frames than numbers: the voice was withheld for a while. Fewer: losses that never were.
            if ongoing && frames < (seq - before.seq) as i64 {
                self.fault(format!("{seq}: {frames} voice frames in {} numbers", seq - before.seq));
            }
        }
        self.see(heard, marker);
    }

    fn take_picture(&mut self, seq: u64, heard: &Heard, marker: Marker) {
        let begins = marker.index == 0;
        if self.blind.is_some() {
            if !(begins && marker.keyframe) {
                return;
            }
            self.blind = None;
            self.check_marker(seq, heard, marker);
        } else if let Some(before) = self.previous {
            if begins {
                self.check_next_picture(seq, heard, marker, before);
            } else {
                self.check_same_picture(seq, heard, marker, before);
            }
            self.check_marker(seq, heard, marker);
        }
        if marker.index + 1 == marker.count {
            self.see(heard, marker);
        }
    }

    fn check_marker(&mut self, seq: u64, heard: &Heard, marker: Marker) {
        if heard.marker != (marker.index + 1 == marker.count) {
            self.fault(format!("{seq}: marker bit {} on {marker:?}", heard.marker));
        }
    }

    fn check_same_picture(&mut self, seq: u64, heard: &Heard, marker: Marker, before: Previous) {
        let continues = (marker.publisher, marker.layer, marker.frame, marker.index)
            == (before.marker.publisher, before.marker.layer, before.marker.frame, before.marker.index + 1);
        if !continues {
            self.fault(format!("{seq}: {marker:?} after {:?}", before.marker));
        }
        if heard.timestamp != before.timestamp {
            self.fault(format!("{seq}: two timestamps in one picture, {marker:?}"));
        }
        if picture_numbers(heard.format, &heard.payload) != before.numbers {
            self.fault(format!("{seq}: two picture ids in one picture, {marker:?}"));
        }
    }

    fn check_next_picture(&mut self, seq: u64, heard: &Heard, marker: Marker, before: Previous) {
        let stream = |marker: Marker| (marker.publisher, marker.leg, marker.layer);
        let ongoing = stream(marker) == stream(before.marker);
        let whole = before.marker.index + 1 == before.marker.count;
        let next = ongoing && marker.frame == before.marker.frame + 1;
        if !(marker.keyframe || next && whole) {
            self.fault(format!("{seq}: {marker:?} cannot be decoded after {:?}", before.marker));
        }
        let ticks = heard.timestamp.wrapping_sub(before.timestamp) as i32;
        let captured = (marker.captured as i64 - before.marker.captured as i64) * 90 / 1000;
        if ticks <= 0 {
            self.fault(format!("{seq}: picture goes back {ticks} ticks, {marker:?} after {:?}", before.marker));
        } else if next && (i64::from(ticks) - captured).abs() > 2 {
            self.fault(format!("{seq}: {captured} ticks of picture take {ticks}"));
        }
        let numbers = picture_numbers(heard.format, &heard.payload);
        if let (Some((id, tl0)), Some((id_before, tl0_before))) = (numbers, before.numbers) {
            if id != (id_before + 1) & 0x7fff {
                self.fault(format!("{seq}: picture id {id} after {id_before}, {marker:?} after {:?}", before.marker));
            }
            let expected = tl0_before.map(|tl0| tl0.wrapping_add(u8::from(marker.temporal == 0)));
            if tl0.is_some() && tl0_before.is_some() && tl0 != expected {
                self.fault(format!("{seq}: base layer index {tl0:?} after {tl0_before:?}, {marker:?}"));
            }
        }
        let frame = heard.descriptor.as_deref().and_then(descriptor_frame);
        if let (Some(frame), Some(frame_before)) = (frame, before.descriptor_frame)
            && next
            && frame != frame_before.wrapping_add(1)
        {
            self.fault(format!("{seq}: frame number {frame} after {frame_before}"));
        }
    }

    fn see(&mut self, heard: &Heard, marker: Marker) {
        self.frames.push(Seen {
            at: heard.at,
            publisher: marker.publisher,
            layer: marker.layer,
            frame: marker.frame,
            keyframe: marker.keyframe,
            timestamp: heard.timestamp,
            captured: marker.captured,
        });
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < 20 {
            self.faults.push(fault);
        }
    }
}
