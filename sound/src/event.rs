//! Keys as RTP telephone-events (RFC 4733), read and written.
//!
//! A key is told apart from the next by the timestamp of its start, which all of its packets carry: so any of them may be lost,
//! marker and end included, and the same key twice is still two. Not here: sequence numbers and payload types; the jitter
//! buffer must be told of these packets too ([`crate::jitter::JitterBuffer::handle_other`]).

use crate::key::Key;

/// Reads events; a key is reported once, with the first of its packets that comes.
#[derive(Default)]
pub struct EventReader {
    newest: Option<Seen>,
}

#[derive(Clone, Copy)]
struct Seen {
    ssrc: u32,
    start: u32,
    code: u8,
    duration: u16,
    has_ended: bool,
}

impl EventReader {
    /// A packet came; the key, if it is the first packet of a press.
    pub fn handle_packet(&mut self, ssrc: u32, timestamp: u32, marker: bool, payload: &[u8]) -> Option<Key> {
        let &[code, flags, high, low, ..] = payload else {
            return None;
        };
        let packet = Seen {
            ssrc,
            start: timestamp,
            code,
            duration: u16::from_be_bytes([high, low]),
            has_ended: flags & END != 0,
        };
        let before = self.newest.filter(|before| before.ssrc == ssrc);
        let Some(before) = before else {
            self.newest = Some(packet);
            return Key::from_event(code);
        };
        let ahead = timestamp.wrapping_sub(before.start);
        if ahead > u32::MAX / 2 {
            // An older press's packet, out of order: that press has been reported.
            return None;
        }
        let continues = ahead == 0 || before.is_continued_by(&packet, ahead, marker);
        let start = if ahead == 0 { before.start } else { packet.start };
        let has_ended = packet.has_ended || (ahead == 0 && before.has_ended);
        self.newest = Some(Seen { start, has_ended, ..packet });
        if continues { None } else { Key::from_event(code) }
    }
}

impl Seen {
    /// Whether a packet with a later timestamp is still of this press. Long presses come in segments (RFC 4733 section 2.5.1.3),
    /// and some telephones move the timestamp with every packet: two presses cannot overlap.
    fn is_continued_by(self, packet: &Self, ahead: u32, marker: bool) -> bool {
        !marker && !self.has_ended && self.code == packet.code && ahead <= u32::from(self.duration)
    }
}

/// Writes the packets of one press, one for every 20 ms.
#[derive(Clone, Copy)]
pub struct EventWriter {
    key: Key,
    start: u32,
    frame_ticks: u16,
    frames: u16,
    sent: u16,
}

/// A packet to be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EventPacket {
    /// RTP's marker: the first packet of a press.
    pub marker: bool,
    /// The start of the press: the same in all of its packets.
    pub timestamp: u32,
    /// What goes behind the RTP header.
    pub payload: [u8; 4],
}

impl EventWriter {
    /// A press that starts at the RTP timestamp `start`, in a clock of `clock_hz`, and lasts `frames` frames of 20 ms.
    #[must_use]
    pub fn new(key: Key, start: u32, clock_hz: u32, frames: u16) -> Self {
        let frame_ticks = (clock_hz / 50) as u16;
        Self { key, start, frame_ticks, frames: frames.clamp(1, u16::MAX / frame_ticks), sent: 0 }
    }

    /// The next packet, until the end has been said three times.
    pub fn poll_packet(&mut self) -> Option<EventPacket> {
        if self.sent >= self.frames + ENDS - 1 {
            return None;
        }
        self.sent += 1;
        let elapsed = self.sent.min(self.frames);
        let end = if self.sent >= self.frames { END } else { 0 };
        let [high, low] = (elapsed * self.frame_ticks).to_be_bytes();
        let payload = [self.key.event(), end | VOLUME, high, low];
        Some(EventPacket { marker: self.sent == 1, timestamp: self.start, payload })
    }
}

const END: u8 = 0x80;
/// 10 dB below full scale, as everybody sends.
const VOLUME: u8 = 10;
/// How often the end is said (RFC 4733 section 2.5.1.4).
const ENDS: u16 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn press(label: char, start: u32) -> Vec<EventPacket> {
        let mut writer = EventWriter::new(Key::from_label(label).unwrap(), start, 8_000, 5);
        std::iter::from_fn(|| writer.poll_packet()).collect()
    }

    fn read(packets: impl IntoIterator<Item = EventPacket>) -> String {
        let mut reader = EventReader::default();
        packets
            .into_iter()
            .filter_map(|packet| reader.handle_packet(7, packet.timestamp, packet.marker, &packet.payload))
            .map(Key::label)
            .collect()
    }

    #[test]
    fn a_press_is_five_packets_and_its_end_three() {
        let packets = press('5', 1_000);
        assert_eq!(packets.len(), 7);
        assert_eq!(packets.iter().filter(|packet| packet.marker).count(), 1);
        let ends: Vec<bool> = packets.iter().map(|packet| packet.payload[1] & END != 0).collect();
        assert_eq!(ends, [false, false, false, false, true, true, true]);
        let durations = packets.iter().map(|packet| u16::from_be_bytes([packet.payload[2], packet.payload[3]]));
        assert_eq!(durations.collect::<Vec<_>>(), [160, 320, 480, 640, 800, 800, 800]);
        assert!(packets.iter().all(|packet| packet.timestamp == 1_000 && packet.payload[0] == 5));
    }

    #[test]
    fn all_sixteen_are_read_once_each_across_the_clocks_wrap() {
        let labels = "0123456789*#ABCD";
        let start = u32::MAX - 5_000;
        let packets = labels.chars().zip(0..).flat_map(|(label, n)| press(label, start.wrapping_add(n * 1_600)));
        assert_eq!(read(packets), labels);
    }

    /// Operators send without a marker, and networks lose starts and ends; whichever packet comes is enough.
    #[test]
    fn any_one_packet_of_a_press_is_enough_and_more_are_not_more() {
        for kept in 1..1_u32 << 7 {
            let pressed = [press('1', 0), press('1', 1_600), press('2', 3_200), press('2', 4_800)];
            let packets = pressed.into_iter().flat_map(|packets| {
                packets.into_iter().enumerate().filter(|(n, _)| kept & (1 << n) != 0).map(|(_, packet)| packet)
            });
            assert_eq!(read(packets.map(|packet| EventPacket { marker: false, ..packet })), "1122", "{kept:b}");
        }
    }

    #[test]
    fn packets_out_of_order_and_doubled_report_nothing_twice() {
        let (first, second) = (press('3', 0), press('3', 1_600));
        let mixed = [&first[..5], &second[..2], &first[5..], &second[..], &second[2..]].concat();
        assert_eq!(read(mixed), "33");
    }

    #[test]
    fn a_clock_that_moves_within_a_press_is_one_press() {
        let moving = press('8', 0).into_iter().enumerate().map(|(n, packet)| EventPacket {
            timestamp: 160 * n as u32,
            marker: n == 0,
            ..packet
        });
        assert_eq!(read(moving.take(5)), "8");
    }

    #[test]
    fn a_press_of_ten_seconds_in_segments_is_one_press() {
        let segment = |start: u32, duration: u16| {
            let [high, low] = duration.to_be_bytes();
            EventPacket { marker: start == 0, timestamp: start, payload: [4, 10, high, low] }
        };
        let long = [segment(0, 40_000), segment(0, 0xffff), segment(0xffff, 160), segment(0xffff, 14_000)];
        assert_eq!(read(long), "4");
    }

    #[test]
    fn what_is_no_key_is_none() {
        let mut reader = EventReader::default();
        assert!(reader.handle_packet(1, 0, true, &[16, 0, 0, 160]).is_none());
        assert!(reader.handle_packet(1, 0, true, &[1, 0, 0]).is_none());
        assert!(reader.handle_packet(1, 800, true, &[]).is_none());
        assert!(reader.handle_packet(1, 1_600, true, &[1, 0, 0, 160]).is_some());
        // Another stream has its own clock.
        assert!(reader.handle_packet(2, 100, true, &[1, 0, 0, 160]).is_some());
    }
}
