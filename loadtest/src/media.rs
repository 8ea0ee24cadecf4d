//! Media shaped like an encoder's: Opus packets every 20 ms, VP8 frames of 720p at 30 a second cut into packets.
//!
//! The bytes are valid as far as an SFU reads (RFC 7741 descriptor, RFC 6386 frame header); the rest is filling that
//! ends in a [`Stamp`], from which the receiver tells loss and one-way latency. Sender and receiver share this
//! process's clock. Not here: RTP (`connection`).

use std::time::{Duration, Instant};

/// The end of every payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Which stream: the participant's number and the kind.
    pub stream: u32,
    /// Counts the stream's packets in the measured window, from 0; `None` outside of it.
    pub number: Option<u32>,
    /// Microseconds since `epoch`.
    pub sent_micros: u64,
}

impl Stamp {
    /// Writes it over the payload's end.
    pub fn write(self, payload: &mut [u8]) {
        let start = payload.len() - STAMP_LEN;
        let end = &mut payload[start..];
        end[..4].copy_from_slice(&MAGIC);
        end[4..8].copy_from_slice(&self.stream.to_be_bytes());
        end[8..12].copy_from_slice(&self.number.unwrap_or(u32::MAX).to_be_bytes());
        end[12..].copy_from_slice(&self.sent_micros.to_be_bytes());
    }

    /// Reads it from the payload's end; `None` when there is none.
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Stamp> {
        let end: &[u8; STAMP_LEN] = payload.last_chunk()?;
        let (magic, rest) = end.split_first_chunk()?;
        let (stream, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let number = u32::from_be_bytes(*number);
        (*magic == MAGIC).then_some(Stamp {
            stream: u32::from_be_bytes(*stream),
            number: (number != u32::MAX).then_some(number),
            sent_micros: u64::from_be_bytes(rest.try_into().ok()?),
        })
    }

    /// How long the packet was under way.
    #[must_use]
    pub fn latency(self, epoch: Instant, now: Instant) -> Duration {
        now.saturating_duration_since(epoch + Duration::from_micros(self.sent_micros))
    }
}

/// One packet's payload, before RTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// In the codec's clock.
    pub timestamp: u32,
    /// Last of its video frame.
    pub marker: bool,
    /// Room for the stamp at its end.
    pub payload: Vec<u8>,
}

/// A voice.
pub struct OpusSource {
    timestamp: u32,
}

impl OpusSource {
    /// Starts at an arbitrary timestamp.
    #[must_use]
    pub fn new(timestamp: u32) -> Self {
        Self { timestamp }
    }

    /// The next 20 ms.
    pub fn next_packet(&mut self) -> Piece {
        self.timestamp = self.timestamp.wrapping_add(960);
        let mut payload = vec![0x5a; OPUS_LEN];
        payload[0] = 0x78; // CELT, 20 ms, mono, one frame (RFC 6716 section 3.1)
        Piece { timestamp: self.timestamp, marker: false, payload }
    }
}

/// A camera.
pub struct Vp8Source {
    timestamp: u32,
    picture_id: u16,
    random: u32,
    keyframe_due: bool,
}

impl Vp8Source {
    /// Starts at an arbitrary timestamp, with a keyframe.
    #[must_use]
    pub fn new(timestamp: u32) -> Self {
        Self { timestamp, picture_id: 0, random: timestamp | 1, keyframe_due: true }
    }

    /// Makes the next frame a keyframe: a receiver asked for one.
    pub fn request_keyframe(&mut self) {
        self.keyframe_due = true;
    }

    /// The next frame's packets.
    pub fn next_frame(&mut self) -> Vec<Piece> {
        let keyframe = std::mem::take(&mut self.keyframe_due);
        self.timestamp = self.timestamp.wrapping_add(3_000);
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        let mean = if keyframe { KEYFRAME_LEN } else { FRAME_LEN };
        let len = mean * (700 + self.random() as usize % 600) / 1_000;
        let count = len.div_ceil(PIECE_LEN).max(1);
        (0..count).map(|index| self.piece(keyframe, index, count, len / count)).collect()
    }

    fn piece(&self, keyframe: bool, index: usize, count: usize, len: usize) -> Piece {
        let [high, low] = (self.picture_id | 0x8000).to_be_bytes();
        let start_of_partition = if index == 0 { 0x10 } else { 0 };
        let mut payload = vec![0x80 | start_of_partition, 0x80, high, low];
        if index == 0 {
            let inter = u8::from(!keyframe);
            payload.extend([0x10 | inter, 0x02, 0x00]); // shown, first partition of 16 bytes and more
        }
        if index == 0 && keyframe {
            payload.extend([0x9d, 0x01, 0x2a]);
            payload.extend(WIDTH.to_le_bytes());
            payload.extend(HEIGHT.to_le_bytes());
        }
        payload.resize(payload.len() + len.max(STAMP_LEN), 0x3c);
        Piece { timestamp: self.timestamp, marker: index + 1 == count, payload }
    }

    /// xorshift32: frame sizes vary, and are the same in every run.
    fn random(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }
}

/// Between two Opus packets.
pub const OPUS_INTERVAL: Duration = Duration::from_millis(20);
/// Between two video frames.
pub const FRAME_INTERVAL: Duration = Duration::from_nanos(33_333_333);

const MAGIC: [u8; 4] = *b"CLQs";
const STAMP_LEN: usize = 20;
/// 40 kbit/s.
const OPUS_LEN: usize = 100;
/// 1.5 Mbit/s, what browsers spend on 720p.
const FRAME_LEN: usize = 6_250;
/// Browsers' keyframes are about five times as large.
const KEYFRAME_LEN: usize = 31_000;
/// With RTP, extensions and SRTP below 1200 bytes.
const PIECE_LEN: usize = 1_100;
const WIDTH: u16 = 1_280;
const HEIGHT: u16 = 720;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_the_way() {
        let stamp = Stamp { stream: 77, number: Some(3), sent_micros: 1_234_567 };
        let mut piece = OpusSource::new(5).next_packet();
        stamp.write(&mut piece.payload);
        assert_eq!(Stamp::read(&piece.payload), Some(stamp));
        let unnumbered = Stamp { number: None, ..stamp };
        unnumbered.write(&mut piece.payload);
        assert_eq!(Stamp::read(&piece.payload), Some(unnumbered));
        assert_eq!(Stamp::read(&[0; 40]), None);
        assert_eq!(Stamp::read(&[0; 4]), None);
    }

    #[test]
    fn a_frame_is_cut_into_packets_of_one_timestamp_with_one_start_and_one_marker() {
        let mut source = Vp8Source::new(9);
        for keyframe in [true, false] {
            let frame = source.next_frame();
            assert!(frame.len() > 2);
            assert_eq!(frame.iter().filter(|piece| piece.payload[0] & 0x10 != 0).count(), 1);
            assert_eq!(frame.iter().position(|piece| piece.marker), Some(frame.len() - 1));
            assert!(frame.iter().all(|piece| piece.timestamp == frame[0].timestamp && piece.payload.len() < 1_150));
            assert_eq!(frame[0].payload[4] & 1 == 0, keyframe);
        }
        source.request_keyframe();
        assert_eq!(source.next_frame()[0].payload[4] & 1, 0);
    }

    #[test]
    fn bitrate_is_about_that_of_a_browsers_720p() {
        let mut source = Vp8Source::new(9);
        source.next_frame();
        let bytes: usize = (0..300).flat_map(|_| source.next_frame()).map(|piece| piece.payload.len()).sum();
        let kbit_per_second = bytes * 8 / 10 / 1_000;
        assert!((1_300..1_800).contains(&kbit_per_second), "{kbit_per_second}");
    }
}
