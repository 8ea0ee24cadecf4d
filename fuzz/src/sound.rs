//! Targets of `colloque_sound`: what arrives on a telephone's media port, behind the RTP header.

use std::hint::black_box;
use std::time::{Duration, Instant};

use colloque_sound::event::EventReader;
use colloque_sound::jitter::{Inserted, JitterBuffer, PACKETS_MAX, Place, Taken};
use colloque_sound::reception::Reception;
use colloque_sound::wav::Wav;
use colloque_sound::{Codec, FRAME_SAMPLES_MAX, Rate};

/// A stream of telephone-events, nine bytes each: flags, two of timestamp, one length, payload.
pub fn telephone_event(input: &[u8]) {
    let mut reader = EventReader::default();
    let (mut rest, mut pressed, mut packets) = (input, 0, 0);
    while let Some((&[flags, high, low, len], body)) = rest.split_first_chunk::<4>() {
        let (payload, behind) = body.split_at(usize::from(len % 6).min(body.len()));
        let timestamp = u32::from_be_bytes([flags & 0x80, high, low, 0]);
        pressed +=
            usize::from(reader.handle_packet(u32::from(flags & 1), timestamp, flags & 2 != 0, payload).is_some());
        packets += 1;
        rest = behind;
    }
    assert!(pressed <= packets);
}

/// A stream of packets, eight bytes each: what it is, milliseconds until it comes, place.
pub fn jitter_buffer(input: &[u8]) {
    let start = Instant::now();
    let (mut now, mut next_poll) = (start, start);
    let mut buffer = JitterBuffer::new(8_000);
    let (mut stored, mut played) = (0_u64, 0_u64);
    let mut last: Option<(u64, u32)> = None;
    for packet in input.chunks_exact(8) {
        now += Duration::from_millis(u64::from(packet[1]));
        while next_poll <= now {
            let restarts = buffer.counts().restarts;
            match buffer.poll_take(next_poll, packet[0] & 8 != 0) {
                Taken::Packet(payload) => {
                    played += 1;
                    let number = u32::from_be_bytes(payload.try_into().expect("our own payload"));
                    // In the order in which they were sent, unless the stream began anew.
                    if let Some((epoch, before)) = last.filter(|&(epoch, _)| epoch == restarts) {
                        assert!(number.wrapping_sub(before) < u32::MAX / 2, "{number} after {before} in {epoch}");
                    }
                    last = Some((restarts, number));
                }
                Taken::Lost { ticks, .. } | Taken::Empty { ticks } => assert!((1..=8_000).contains(&ticks)),
            }
            next_poll += Duration::from_millis(20);
        }
        let place = Place {
            ssrc: u32::from(packet[0] & 1),
            sequence: u16::from_be_bytes([packet[2], packet[3]]),
            timestamp: u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]),
        };
        let inserted = if packet[0] & 2 != 0 {
            buffer.handle_other(now, place)
        } else {
            buffer.handle_packet(now, place, 160, &place.timestamp.to_be_bytes())
        };
        stored += u64::from(inserted == Inserted::Stored && packet[0] & 2 == 0);
        assert!(buffer.depth() <= PACKETS_MAX);
        black_box((buffer.target(), buffer.delay(now), buffer.jitter()));
    }
    assert!(played <= stored);
}

/// A stream of payloads through the whole reception: codec, then for each packet its kind, length and bytes.
pub fn reception(input: &[u8]) {
    let Some((&codec, mut rest)) = input.split_first() else {
        return;
    };
    let codec = [Codec::Pcma, Codec::Pcmu, Codec::G722, Codec::Opus][usize::from(codec % 4)];
    let mut reception = Reception::new(codec, Rate::Narrow, 1).expect("a decoder");
    let mut now = Instant::now();
    let (mut sequence, mut timestamp) = (0_u16, 0_u32);
    while let Some((&[kind, len], body)) = rest.split_first_chunk::<2>() {
        let (payload, behind) = body.split_at(usize::from(len).min(body.len()));
        rest = behind;
        sequence = sequence.wrapping_add(1 + u16::from(kind >> 6));
        timestamp = timestamp.wrapping_add(codec.clock_hz() / 50 * (1 + u32::from(kind >> 6)));
        let place = Place { ssrc: 1, sequence, timestamp };
        black_box(match kind & 3 {
            0 => reception.handle_event(now, place),
            1 => reception.handle_noise(now, place, payload),
            _ => reception.handle_packet(now, place, payload),
        });
        now += Duration::from_millis(20);
        let mut frame = [0; FRAME_SAMPLES_MAX];
        black_box(reception.poll_frame(now, &mut frame[..reception.rate().frame_samples()]));
    }
}

/// A recording of the operator's; what was read is written and read again.
pub fn wav(input: &[u8]) {
    if let Ok(sound) = Wav::parse(input) {
        assert_eq!(Wav::parse(&sound.to_bytes()), Ok(sound));
    }
}
