//! Voice to and from a leg whose far side is a thread of this process: frames instead of datagrams, and the batch in which
//! the `Sfu` leaves them beside its datagrams.
//!
//! Not here: the queues between the threads (`worker::local`), which voices a leg hears (`sfu`). A frame is one Opus packet
//! with what RTP would say of it; nothing is encrypted, because nothing leaves the process.

use crate::ids::LegId;
use crate::rtp::extension::AudioLevel;

/// Longest Opus packet of one frame (RFC 6716 section 3.2.1). Browsers stay far below it; a longer one is dropped.
pub const FRAME_LEN_MAX: usize = 1275;

/// A voice packet that a local leg publishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UplinkFrame<'a> {
    /// The publisher's own numbering, as RTP's: one more for each frame, across holds and new encoders too.
    pub sequence: u16,
    /// At 48 kHz, as RTP's (RFC 7587 section 4.1): goes on with time while nothing is sent.
    pub timestamp: u32,
    /// First frame of a talk spurt.
    pub marker: bool,
    /// How loud it is: by this the others' pages tell who speaks.
    pub level: AudioLevel,
    /// One Opus packet of 1 to [`FRAME_LEN_MAX`] bytes.
    pub payload: &'a [u8],
}

/// A voice packet that a local leg hears.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DownlinkFrame<'a> {
    /// Which of the leg's voices, from 0. Whoever speaks on it may change; numbers and timestamps then go on without a jump.
    pub slot: u8,
    /// Continuous on its slot, as RTP's: a missing number is a lost packet.
    pub sequence: u16,
    /// At 48 kHz, continuous on its slot.
    pub timestamp: u32,
    /// First frame of a talk spurt, or of another speaker.
    pub marker: bool,
    /// How loud its sender says it is, if he says so.
    pub level: Option<AudioLevel>,
    /// One Opus packet of 1 to [`FRAME_LEN_MAX`] bytes.
    pub payload: &'a [u8],
}

/// Frames for local legs, in order. Grows to its bound once and keeps the memory.
#[derive(Default)]
pub struct LocalBatch {
    frames: Vec<Stored>,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Stored {
    leg: LegId,
    slot: u8,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    level: Option<AudioLevel>,
    offset: usize,
    len: usize,
}

impl LocalBatch {
    /// A burst of a hundred telephones' voices. Higher costs memory once; lower hands frames out in more pieces.
    const FRAMES_MAX: usize = 256;

    /// Whether the next `push` would be refused.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.frames.len() >= Self::FRAMES_MAX
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Copies a frame in. False, with nothing kept, when the batch is full.
    pub fn push(&mut self, leg: LegId, frame: &DownlinkFrame<'_>) -> bool {
        if self.is_full() {
            return false;
        }
        let DownlinkFrame { slot, sequence, timestamp, marker, level, payload } = *frame;
        let (offset, len) = (self.bytes.len(), payload.len());
        self.bytes.extend_from_slice(payload);
        self.frames.push(Stored { leg, slot, sequence, timestamp, marker, level, offset, len });
        true
    }

    /// What waits, in the order in which it came.
    pub fn frames(&self) -> impl Iterator<Item = (LegId, DownlinkFrame<'_>)> {
        self.frames.iter().map(|stored| {
            let Stored { leg, slot, sequence, timestamp, marker, level, offset, len } = *stored;
            let payload = &self.bytes[offset..offset + len];
            (leg, DownlinkFrame { slot, sequence, timestamp, marker, level, payload })
        })
    }

    /// Forgets everything; keeps the memory.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_was_put_in_until_it_is_full() {
        let mut batch = LocalBatch::default();
        let level = Some(AudioLevel { voice: true, decibels_below: 30 });
        let frame = |sequence: u16, payload: &'static [u8; 80]| DownlinkFrame {
            slot: 2,
            sequence,
            timestamp: u32::from(sequence) * 960,
            marker: sequence == 0,
            level,
            payload,
        };
        for payload in [&[0; 80], &[1; 80], &[2; 80]] {
            assert!(batch.is_empty());
            let mut sequence = 0;
            while batch.push(LegId(u64::from(sequence)), &frame(sequence, payload)) {
                sequence += 1;
            }
            assert!(batch.is_full() && usize::from(sequence) == LocalBatch::FRAMES_MAX);
            for (at, (leg, given)) in batch.frames().enumerate() {
                assert_eq!((leg, given), (LegId(at as u64), frame(at as u16, payload)));
            }
            batch.clear();
        }
    }
}
