//! Targets of `colloque::rtp`: what arrives on the media port.

use std::collections::BTreeSet;
use std::hint::black_box;

use colloque::ids::{PayloadType, Ssrc};
use colloque::rtp::codec::Codec;
use colloque::rtp::dependency_descriptor::DescriptorReader;
use colloque::rtp::extension::{AudioLevel, transport_cc_number};
use colloque::rtp::packet::{HeaderFields, HeaderWriter, RtpHeader};
use colloque::rtp::rtcp::{Arrival, CompoundWriter, Rtcp, TICK_MICROS, packets};
use colloque::rtp::seq::SeqNo;
use colloque::rtp::{demux as classes, frame, red as redundancy};

pub fn demux(input: &[u8]) {
    black_box(classes::classify(input));
}

/// Parses a header and checks that our own writer can say the same again.
pub fn rtp_header(input: &[u8]) {
    let _ = black_box(RtpHeader::parse_protected(input));
    let Ok(header) = RtpHeader::parse(input) else {
        return;
    };
    for (_, value) in header.extensions(input) {
        black_box((AudioLevel::parse(value), transport_cc_number(value)));
    }
    let fields = HeaderFields {
        marker: header.marker,
        payload_type: header.payload_type,
        sequence: header.sequence,
        timestamp: header.timestamp,
        ssrc: header.ssrc,
    };
    // The two-byte form takes every element; each one is at most a byte longer in it, and it pads to 32 bits.
    let mut out = vec![0; 2 * header.len + 8];
    let mut writer = HeaderWriter::new(&mut out, fields, true);
    assert!(header.extensions(input).all(|(id, value)| writer.extension(id, value)));
    let len = writer.finish();
    let copy = &out[..len];
    let again = RtpHeader::parse(copy).expect("our writer's header parses");
    assert!(again.extensions(copy).eq(header.extensions(input)));
    assert_eq!((again.marker, again.payload_type, again.len), (header.marker, header.payload_type, len));
}

/// Reads a compound packet to its end and writes its NACKs again.
pub fn rtcp(input: &[u8]) {
    for packet in packets(input) {
        match packet {
            Ok(Rtcp::SenderReport { reports, .. } | Rtcp::ReceiverReport { reports, .. }) => {
                black_box(reports.count());
            }
            Ok(Rtcp::Sdes { chunks }) => {
                black_box(chunks.count());
            }
            Ok(Rtcp::Bye { sources } | Rtcp::Remb { sources, .. }) => {
                black_box(sources.count());
            }
            Ok(Rtcp::Nack { lost, .. }) => {
                let mut out = vec![0; 12 + 4 * lost.clone().count()];
                let mut writer = CompoundWriter::new(&mut out);
                let written = writer.nack(Ssrc(1), Ssrc(2), lost.clone());
                let len = writer.len();
                assert_eq!(written, lost.clone().next().is_some());
                if let Some(Ok(Rtcp::Nack { lost: again, .. })) = packets(&out[..len]).next() {
                    // Order and repetitions within a pair's mask are not kept.
                    assert_eq!(BTreeSet::from_iter(again), BTreeSet::from_iter(lost));
                }
            }
            Ok(Rtcp::Fir { entries, .. }) => {
                black_box(entries.count());
            }
            Ok(Rtcp::TransportFeedback(feedback)) => {
                assert!(feedback.arrivals().count() <= usize::from(feedback.count));
            }
            Ok(Rtcp::Pli { .. } | Rtcp::Other { .. }) | Err(_) => {}
        }
    }
}

/// Makes arrivals of the input (two bytes of gap, two of delay each), writes feedback for them and reads it again.
pub fn transport_feedback(input: &[u8]) {
    let mut seq = SeqNo(u64::from(u16::MAX));
    let mut micros = 0;
    let arrivals: Vec<Arrival> = input
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&[gap_high, gap_low, delay_high, delay_low]| {
            seq = seq + 1 + u64::from(u16::from_be_bytes([gap_high, gap_low]) >> 2);
            micros = (micros + 400 * i64::from(i16::from_be_bytes([delay_high, delay_low]))).max(0);
            Arrival { seq, micros }
        })
        .collect();
    let mut out = [0; 600];
    let mut writer = CompoundWriter::new(&mut out);
    let covered = writer.transport_feedback(Ssrc(1), Ssrc(2), 0, &arrivals);
    let len = writer.len();
    let Some(Ok(Rtcp::TransportFeedback(feedback))) = packets(&out[..len]).next() else {
        assert_eq!(covered, 0);
        return;
    };
    let told = feedback.arrivals().filter_map(|(sequence, at)| Some((sequence, at?)));
    // The reference time has 24 bits; the inputs here stay far below.
    let expected =
        arrivals[..covered].iter().map(|arrival| (arrival.seq.wire(), arrival.micros / TICK_MICROS * TICK_MICROS));
    assert!(told.eq(expected));
}

pub fn red(input: &[u8]) {
    let primary: Option<(PayloadType, _)> = redundancy::primary(input);
    let blocks = redundancy::blocks(input).into_iter().flatten();
    let mut last = None;
    for block in blocks {
        assert!(input.get(block.range.clone()).is_some());
        last = Some((block.payload_type, block.range));
    }
    assert_eq!(primary, last);
}

pub fn opus(input: &[u8]) {
    payload(Codec::Opus, input);
}

pub fn vp8(input: &[u8]) {
    payload(Codec::Vp8, input);
}

pub fn vp9(input: &[u8]) {
    payload(Codec::Vp9 { profile: 0 }, input);
}

pub fn h264(input: &[u8]) {
    payload(Codec::H264 { profile: 0x42e0, packetization_mode: 1 }, input);
}

pub fn av1(input: &[u8]) {
    payload(Codec::Av1, input);
}

/// Inspects a payload; new picture numbers must change those and nothing else that forwarding reads.
fn payload(codec: Codec, input: &[u8]) {
    let before = frame::inspect(codec, input, false);
    let mut rewritten = input.to_vec();
    frame::rewrite_picture_numbers(codec, &mut rewritten, 0x1234, Some(0x56));
    assert_eq!(frame::inspect(codec, &rewritten, false), before);
    match frame::picture_numbers(codec, &rewritten) {
        Some(numbers) => assert_eq!(numbers.picture_id & 0x7f, 0x34),
        None => assert_eq!(rewritten, input),
    }
}

/// A stream of descriptors, each behind a byte with its length, given to one reader.
pub fn dependency_descriptor(input: &[u8]) {
    let mut reader = DescriptorReader::new();
    let mut rest = input;
    while let Some((&len, behind)) = rest.split_first() {
        let (extension, next) = behind.split_at(usize::from(len).min(behind.len()));
        if let Some(descriptor) = reader.read(extension) {
            let targets = descriptor.decode_targets;
            assert!((1..=32).contains(&targets.len()));
            black_box((descriptor.frame_info(), targets.indication(targets.len() - 1)));
        }
        rest = next;
    }
}
