//! Media shaped like an encoder's: Opus packets every 20 ms, VP8 frames cut into packets as libwebrtc cuts them.
//!
//! The bytes are valid as far as an SFU reads (RFC 7741 descriptor, RFC 6386 frame header); the rest is filling that
//! ends in a [`Stamp`], from which the receiver tells loss and one-way latency. Sender and receiver share this
//! process's clock. Not here: RTP (`connection`, `light`).

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
        let mut payload = vec![0; OPUS_LEN];
        Piece { timestamp: self.next_into(&mut payload), marker: false, payload }
    }

    /// The same into the front of `out`, [`OPUS_LEN`] bytes. Gives the timestamp.
    pub fn next_into(&mut self, out: &mut [u8]) -> u32 {
        self.timestamp = self.timestamp.wrapping_add(960);
        out[..OPUS_LEN].fill(0x5a);
        out[0] = 0x78; // CELT, 20 ms, mono, one frame (RFC 6716 section 3.1)
        self.timestamp
    }
}

/// How a VP8 encoder is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Encoding {
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
    /// Mean, keyframes apart.
    pub kbit_per_second: u32,
    /// At least 1.
    pub frames_per_second: u32,
}

/// 1.5 Mbit/s, what browsers spend on 720p.
pub const HD: Encoding = Encoding { width: 1_280, height: 720, kbit_per_second: 1_500, frames_per_second: 30 };

/// A camera.
pub struct Vp8Source {
    encoding: Encoding,
    timestamp: u32,
    picture_id: u16,
    random: u32,
    keyframe_due: bool,
}

impl Vp8Source {
    /// 720p, starting at an arbitrary timestamp with a keyframe.
    #[must_use]
    pub fn new(timestamp: u32) -> Self {
        Self::with(HD, timestamp)
    }

    /// The same with another encoding.
    #[must_use]
    pub fn with(encoding: Encoding, timestamp: u32) -> Self {
        Self { encoding, timestamp, picture_id: 0, random: timestamp | 1, keyframe_due: true }
    }

    /// Makes the next frame a keyframe: a receiver asked for one.
    pub fn request_keyframe(&mut self) {
        self.keyframe_due = true;
    }

    /// The next frame's packets, written out.
    pub fn next_frame(&mut self) -> Vec<Piece> {
        self.next_shapes().map(PieceShape::to_piece).collect()
    }

    /// The next frame's packets, to be written by the caller.
    pub fn next_shapes(&mut self) -> impl Iterator<Item = PieceShape> + use<> {
        let keyframe = std::mem::take(&mut self.keyframe_due);
        let Encoding { width, height, kbit_per_second, frames_per_second } = self.encoding;
        self.timestamp = self.timestamp.wrapping_add(VIDEO_CLOCK / frames_per_second);
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        let frame_len = kbit_per_second as usize * 125 / frames_per_second as usize;
        let mean = if keyframe { frame_len * KEYFRAME_FACTOR } else { frame_len };
        let len = (mean * (700 + self.random() as usize % 600) / 1_000).max(DATA_LEN_MIN);
        let count = len.div_ceil(PIECE_LEN);
        // Like libwebrtc: sizes differ by a byte, the smaller ones first.
        let (least, smaller) = (len / count, count - len % count);
        let (timestamp, picture_id) = (self.timestamp, self.picture_id);
        (0..count).map(move |index| PieceShape {
            timestamp,
            picture_id,
            marker: index + 1 == count,
            start: index == 0,
            keyframe,
            data_len: (least + usize::from(index >= smaller)) as u16,
            width,
            height,
        })
    }

    /// xorshift32: frame sizes vary, and are the same in every run.
    fn random(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }
}

/// One packet of a VP8 frame, small enough to be remembered for a resend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PieceShape {
    /// 90 kHz.
    pub timestamp: u32,
    /// Last of its frame.
    pub marker: bool,
    /// First of its frame.
    pub start: bool,
    /// Of a frame that stands by itself.
    pub keyframe: bool,
    picture_id: u16,
    data_len: u16,
    width: u16,
    height: u16,
}

impl PieceShape {
    /// Bytes of the payload.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        DESCRIPTOR_LEN + usize::from(self.data_len)
    }

    /// Writes the payload, with room for the stamp at its end, into the front of `out`. Gives its length.
    pub fn write(&self, out: &mut [u8]) -> usize {
        let [high, low] = (self.picture_id | 0x8000).to_be_bytes();
        let start_of_partition = if self.start { 0x10 } else { 0 };
        let payload = &mut out[..self.payload_len()];
        payload[..DESCRIPTOR_LEN].copy_from_slice(&[0x80 | start_of_partition, 0x80, high, low]);
        let data = &mut payload[DESCRIPTOR_LEN..];
        data.fill(0x3c);
        if self.start {
            let inter = u8::from(!self.keyframe);
            data[..3].copy_from_slice(&[0x10 | inter, 0x02, 0x00]); // shown, first partition of 16 bytes and more
        }
        if self.start && self.keyframe {
            data[3..6].copy_from_slice(&[0x9d, 0x01, 0x2a]);
            data[6..8].copy_from_slice(&self.width.to_le_bytes());
            data[8..10].copy_from_slice(&self.height.to_le_bytes());
        }
        self.payload_len()
    }

    fn to_piece(self) -> Piece {
        let mut payload = vec![0; self.payload_len()];
        self.write(&mut payload);
        Piece { timestamp: self.timestamp, marker: self.marker, payload }
    }
}

/// Between two Opus packets.
pub const OPUS_INTERVAL: Duration = Duration::from_millis(20);
/// Between two video frames.
pub const FRAME_INTERVAL: Duration = Duration::from_nanos(33_333_333);

const MAGIC: [u8; 4] = *b"CLQs";
const STAMP_LEN: usize = 20;
/// 40 kbit/s.
pub const OPUS_LEN: usize = 100;
/// Browsers' keyframes are about five times as large as the other frames.
const KEYFRAME_FACTOR: usize = 5;
/// With RTP, extensions and SRTP below 1200 bytes.
const PIECE_LEN: usize = 1_100;
/// RFC 7741: first byte, extension bits, a picture id of 15 bits.
const DESCRIPTOR_LEN: usize = 4;
/// A keyframe's header and a stamp fit.
const DATA_LEN_MIN: usize = 10 + STAMP_LEN;
const VIDEO_CLOCK: u32 = 90_000;

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
    fn packets_of_a_frame_differ_by_a_byte_at_most_and_the_smaller_come_first() {
        let mut source = Vp8Source::new(9);
        let mut uneven = 0;
        for _ in 0..30 {
            let lens: Vec<usize> = source.next_shapes().map(|shape| shape.payload_len()).collect();
            assert!(lens.is_sorted() && lens[lens.len() - 1] - lens[0] <= 1, "{lens:?}");
            uneven += usize::from(lens[0] != lens[lens.len() - 1]);
        }
        assert!(uneven > 15, "runs of equal sizes break as they do with browsers");
    }

    #[test]
    fn a_small_layer_has_room_for_its_stamp() {
        let tiny = Encoding { width: 320, height: 180, kbit_per_second: 5, frames_per_second: 30 };
        let mut source = Vp8Source::with(tiny, 9);
        for _ in 0..10 {
            let mut frame = source.next_frame();
            let stamp = Stamp { stream: 1, number: Some(1), sent_micros: 1 };
            stamp.write(&mut frame[0].payload);
            assert!(frame[0].payload.len() >= DESCRIPTOR_LEN + DATA_LEN_MIN);
            assert_eq!(Stamp::read(&frame[0].payload), Some(stamp));
        }
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
