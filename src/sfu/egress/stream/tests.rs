//! What a receiver gets of a stream: the packets, their numbers, and what is sent again.

use super::*;
use crate::ids::PayloadType;
use crate::rtp::extension::ExtensionKind;
use crate::rtp::frame;
use crate::rtp::packet::RtpHeader;
use crate::sfu::egress::testing::{Packet, Vp8Layer, millis, opus, parameters};
use crate::sfu::ingress::ExtensionRange;

const STAMP: Stamp = Stamp { transport_cc: Some(0x1234), abs_send_time: [0xab, 0xcd, 0xef], padding: 0 };

fn stream(parameters: &EgressParameters, now: Instant) -> EgressStream {
    let mut stream = EgressStream::new(parameters, 42);
    stream.set_target(now, Some(LayerTarget::whole(LayerIndex(0))));
    stream
}

/// Sends a packet; the bytes and the egress number.
fn send(stream: &mut EgressStream, now: Instant, packet: &Packet) -> Option<(Vec<u8>, SeqNo)> {
    send_stamped(stream, now, packet, STAMP)
}

fn send_stamped(stream: &mut EgressStream, now: Instant, packet: &Packet, stamp: Stamp) -> Option<(Vec<u8>, SeqNo)> {
    let outgoing = stream.decide(&packet.meta, &packet.numbers())?;
    let mut out = [0; 512];
    let written = stream.write(&outgoing, &packet.meta, &packet.bytes, stamp, &mut out)?;
    stream.record_sent(now, &packet.meta, &outgoing, stamp, written);
    Some((out[..written.len].to_vec(), written.index))
}

fn resend(stream: &mut EgressStream, now: Instant, seq: SeqNo, packet: &Packet) -> Option<(Vec<u8>, WrittenResend)> {
    let resend = stream.handle_nack(now, seq.wire())?;
    let mut out = [0; 512];
    let stamp = Stamp { transport_cc: Some(0x5678), abs_send_time: [1; 3], padding: 0 };
    let written = stream.write_resend(now, &resend, &packet.meta, &packet.bytes, stamp, &mut out)?;
    Some((out[..written.written.len].to_vec(), written))
}

#[test]
fn a_packet_leaves_with_this_legs_numbers() {
    let now = Instant::now();
    let parameters = parameters(MediaKind::Video);
    let mut stream = stream(&parameters, now);
    let packet = &Vp8Layer::new(0).picture(now, true, 0, 1)[0];
    let (sent, index) = send(&mut stream, now, packet).unwrap();
    let header = RtpHeader::parse(&sent).unwrap();
    assert_eq!((header.ssrc, header.payload_type, header.marker), (parameters.ssrc, PayloadType(96), true));
    assert_eq!(header.sequence, index.wire());
    let value = |kind| parameters.extensions.id(kind).and_then(|id| header.extension(&sent, id));
    assert_eq!(value(ExtensionKind::Mid), Some(&b"4"[..]));
    assert_eq!(value(ExtensionKind::TransportCc), Some(&[0x12, 0x34][..]));
    assert_eq!(value(ExtensionKind::AbsSendTime), Some(&[0xab, 0xcd, 0xef][..]));
    assert_eq!(value(ExtensionKind::AudioLevel), None);
    assert_eq!(header.payload(&sent).len(), usize::from(packet.meta.payload_len));
    assert_eq!(stream.stats().octets, u64::from(packet.meta.payload_len));
}

#[test]
fn extensions_that_were_not_negotiated_are_left_out() {
    let now = Instant::now();
    let mut parameters = parameters(MediaKind::Video);
    parameters.extensions = crate::rtp::extension::ExtensionMap::default();
    let mut stream = stream(&parameters, now);
    let packet = &Vp8Layer::new(0).picture(now, true, 0, 1)[0];
    let (sent, _) = send(&mut stream, now, packet).unwrap();
    assert_eq!(RtpHeader::parse(&sent).unwrap().len, 12);
    assert!(!stream.has_transport_cc());
}

#[test]
fn the_dependency_descriptor_goes_on_counting_across_tracks() {
    let now = Instant::now();
    let parameters = parameters(MediaKind::Video);
    let id = parameters.extensions.id(ExtensionKind::DependencyDescriptor).unwrap();
    let mut stream = stream(&parameters, now);
    let number = |stream: &mut EgressStream, layer: &mut Vp8Layer, frame: u16, keyframe| {
        let mut packet = layer.picture(now, keyframe, 0, 1).remove(0);
        let at = packet.bytes.len();
        packet.bytes.extend_from_slice(&[0xc0, (frame >> 8) as u8, frame as u8]);
        packet.bytes.extend_from_slice(&[7; 20]);
        packet.meta.dependency_descriptor = ExtensionRange::new(at, 23);
        let (sent, _) = send(stream, now, &packet).unwrap();
        let header = RtpHeader::parse(&sent).unwrap();
        let value = header.extension(&sent, id).unwrap();
        assert_eq!((value[0], value.len(), value[22]), (0xc0, 23, 7), "a long one needs the two-byte form");
        u16::from_be_bytes([value[1], value[2]])
    };
    let mut first = Vp8Layer::new(0);
    let start = number(&mut stream, &mut first, 65_535, true);
    assert_eq!(number(&mut stream, &mut first, 1, false), start.wrapping_add(2), "a gap stays a gap");
    stream.remap(now);
    assert_eq!(number(&mut stream, &mut Vp8Layer::new(0), 9000, true), start.wrapping_add(3));
}

#[test]
fn a_nack_is_answered_on_the_retransmission_stream() {
    let now = Instant::now();
    let parameters = parameters(MediaKind::Video);
    let mut stream = stream(&parameters, now);
    let packet = &Vp8Layer::new(0).picture(now, true, 0, 1)[0];
    let (sent, index) = send(&mut stream, now, packet).unwrap();
    let (again, written) = resend(&mut stream, now, index, packet).unwrap();
    let (before, after) = (RtpHeader::parse(&sent).unwrap(), RtpHeader::parse(&again).unwrap());
    assert_eq!((after.ssrc, after.payload_type), (parameters.rtx_ssrc.unwrap(), PayloadType(97)));
    assert_eq!((after.timestamp, after.marker), (before.timestamp, before.marker));
    assert_eq!(after.payload(&again)[..2], index.wire().to_be_bytes());
    assert_eq!(&after.payload(&again)[2..], before.payload(&sent));
    assert!(written.stamped);
    let later = now + millis(200);
    let (_, next) = resend(&mut stream, later, index, packet).unwrap();
    assert_eq!(next.written.index, written.written.index.next());
    assert_eq!(stream.stats().resent, 2);
}

#[test]
fn without_a_retransmission_stream_the_very_same_bytes_go_out_again() {
    // The same number seals with the same nonce: any other plaintext or header would break AES-GCM.
    let now = Instant::now();
    let mut parameters = parameters(MediaKind::Video);
    parameters.rtx_ssrc = None;
    let mut stream = stream(&parameters, now);
    let mut layer = Vp8Layer::new(0);
    let packet = &layer.picture(now, true, 0, 1)[0];
    let (sent, index) = send(&mut stream, now, packet).unwrap();
    send(&mut stream, now, &layer.picture(now, false, 0, 1)[0]).unwrap();
    let (again, written) = resend(&mut stream, now, index, packet).unwrap();
    assert_eq!(again, sent);
    assert_eq!((written.written.index, written.stamped), (index, false));
}

#[test]
fn padding_is_behind_the_payload_and_no_media() {
    use rtc_shared::marshal::Unmarshal;
    let now = Instant::now();
    let mut layer = Vp8Layer::new(0);
    let packet = &layer.picture(now, true, 0, 1)[0];
    let (plain, _) = send(&mut stream(&parameters(MediaKind::Video), now), now, packet).unwrap();
    let mut stream = stream(&parameters(MediaKind::Video), now);
    let (padded, _) = send_stamped(&mut stream, now, packet, Stamp { padding: 3, ..STAMP }).unwrap();
    assert_eq!(padded[plain.len()..], [0, 0, 3]);
    assert_eq!(padded[0], plain[0] | 0x20);
    assert_eq!(padded[1..plain.len()], plain[1..]);
    let [read_plain, read_padded] = [&plain, &padded].map(|bytes| rtc_rtp::Packet::unmarshal(&mut &bytes[..]).unwrap());
    assert_eq!(read_padded.payload, read_plain.payload);
    assert_eq!(read_padded.payload.len(), usize::from(packet.meta.payload_len));
    // RFC 3550 section 6.4.1: payload octets, "not including header or padding".
    assert_eq!(stream.stats().octets, u64::from(packet.meta.payload_len));
}

#[test]
fn a_padded_packet_goes_out_again_byte_for_byte_or_unpadded_on_its_own_stream() {
    let now = Instant::now();
    for rtx in [false, true] {
        let mut parameters = parameters(MediaKind::Video);
        parameters.rtx_ssrc = parameters.rtx_ssrc.filter(|_| rtx);
        let mut stream = stream(&parameters, now);
        let packet = &Vp8Layer::new(0).picture(now, true, 0, 1)[0];
        let (sent, index) = send_stamped(&mut stream, now, packet, Stamp { padding: 5, ..STAMP }).unwrap();
        let (again, written) = resend(&mut stream, now, index, packet).unwrap();
        if rtx {
            let (before, after) = (RtpHeader::parse(&sent).unwrap(), RtpHeader::parse(&again).unwrap());
            // RFC 4588 section 4: padding is removed before the retransmission is made.
            assert_eq!((before.padding, after.padding), (5, 0));
            assert_eq!(&after.payload(&again)[2..], before.payload(&sent));
        } else {
            assert_eq!((again, written.written.index), (sent, index));
        }
    }
}

#[test]
fn a_packet_is_not_resent_twice_within_a_round_trip() {
    let now = Instant::now();
    let mut stream = stream(&parameters(MediaKind::Video), now);
    let packet = &Vp8Layer::new(0).picture(now, true, 0, 1)[0];
    let (_, index) = send(&mut stream, now, packet).unwrap();
    assert!(resend(&mut stream, now, index, packet).is_some());
    assert!(resend(&mut stream, now + millis(20), index, packet).is_none());
    assert!(resend(&mut stream, now + millis(60), index, packet).is_some());
}

#[test]
fn retransmissions_are_bounded_by_a_share_of_the_media() {
    let now = Instant::now();
    let mut stream = stream(&parameters(MediaKind::Video), now);
    let packet = &Vp8Layer::new(0).picture(now, true, 0, 1)[0];
    let (_, index) = send(&mut stream, now, packet).unwrap();
    let mut bytes = 0;
    for round in 1..10_000 {
        let at = now + millis(100 * round);
        bytes += resend(&mut stream, at, index, packet).map_or(0, |(again, _)| again.len());
    }
    assert!((30_000..34_000).contains(&bytes), "{bytes}");
}

#[test]
fn numbers_of_another_track_are_never_answered_from_the_new_one() {
    let now = Instant::now();
    let mut stream = stream(&parameters(MediaKind::Video), now);
    let packet = &Vp8Layer::new(0).picture(now, true, 0, 1)[0];
    let (_, index) = send(&mut stream, now, packet).unwrap();
    stream.remap(now);
    assert!(stream.handle_nack(now, index.wire()).is_none());
    send(&mut stream, now, packet).unwrap();
    assert!(stream.handle_nack(now, index.wire()).is_none());
    assert!(stream.handle_nack(now, index.wire().wrapping_add(9)).is_none(), "never sent");
}

#[test]
fn a_keyframe_packet_that_came_before_the_first_one_is_sent_when_asked_for() {
    let now = Instant::now();
    let mut stream = stream(&parameters(MediaKind::Video), now);
    let keyframe = Vp8Layer::new(0).picture(now, true, 0, 3);
    assert!(send(&mut stream, now, &keyframe[1]).is_none());
    let (_, first) = send(&mut stream, now, &keyframe[0]).unwrap();
    let (_, third) = send(&mut stream, now, &keyframe[2]).unwrap();
    assert_eq!(third, first + 2);
    let (sent, written) = resend(&mut stream, now, first.next(), &keyframe[1]).unwrap();
    assert_eq!(written.written.index, first.next());
    assert_eq!(RtpHeader::parse(&sent).unwrap().ssrc, stream.ssrc());
    assert!(send(&mut stream, now, &keyframe[1]).is_none(), "its number is used");
}

#[test]
fn redundant_audio_is_stripped_or_renumbered() {
    let now = Instant::now();
    // Two blocks of payload type 111: one of 2 bytes, 960 ticks old, and the newest of 3 bytes.
    let payload = [0x80 | 111, (960u16 >> 6) as u8, ((960u16 & 0x3f) << 2) as u8, 2, 111, 1, 2, 7, 8, 9];
    let mut packet = opus(1 << 17, 4000, now, &payload);
    packet.meta.red = true;
    let parameters = parameters(MediaKind::Audio);
    let mut with = stream(&parameters, now);
    let (sent, _) = send(&mut with, now, &packet).unwrap();
    let header = RtpHeader::parse(&sent).unwrap();
    assert_eq!(header.payload_type, PayloadType(63));
    let block_types: Vec<_> =
        crate::rtp::red::blocks(header.payload(&sent)).unwrap().map(|block| block.payload_type).collect();
    assert_eq!(block_types, [PayloadType(109), PayloadType(109)]);
    let mut plain = parameters.clone();
    let mapping = crate::rtp::codec::PayloadMapping { red: None, ..*parameters.payloads.iter().next().unwrap() };
    plain.payloads = crate::rtp::codec::PayloadMap::new(vec![mapping]);
    let mut without = stream(&plain, now);
    let (sent, _) = send(&mut without, now, &packet).unwrap();
    let header = RtpHeader::parse(&sent).unwrap();
    assert_eq!((header.payload_type, header.payload(&sent)), (PayloadType(109), &[7, 8, 9][..]));
    packet.meta.seq = packet.meta.seq.next();
    packet.bytes[12] = 0xff;
    packet.bytes[15] = 0xff;
    assert!(send(&mut without, now, &packet).is_none(), "malformed");
}

#[test]
fn audio_goes_on_without_a_keyframe_and_marks_a_new_voice() {
    let now = Instant::now();
    let mut stream = stream(&parameters(MediaKind::Audio), now);
    let (first, seq) = send(&mut stream, now, &opus(70_000, 960, now, &[1])).unwrap();
    assert!(RtpHeader::parse(&first).unwrap().marker);
    let (second, _) = send(&mut stream, now, &opus(70_001, 1920, now, &[1])).unwrap();
    assert!(!RtpHeader::parse(&second).unwrap().marker);
    stream.remap(now);
    let later = now + millis(500);
    let (other, other_seq) = send(&mut stream, later, &opus(90, 7, later, &[1])).unwrap();
    assert_eq!(other_seq, seq + 2);
    let header = RtpHeader::parse(&other).unwrap();
    assert!(header.marker);
    assert_eq!(header.timestamp.wrapping_sub(RtpHeader::parse(&second).unwrap().timestamp), 24_000);
    assert_eq!(stream.keyframe_layer(), None);
    assert_eq!(stream.wants_keyframe(), None);
}

#[test]
fn sender_reports_align_the_layers_at_a_switch() {
    let now = Instant::now();
    let mut stream = stream(&parameters(MediaKind::Video), now);
    let (mut low, mut high) = (Vp8Layer::new(0), Vp8Layer::new(1));
    high.timestamp = 3_000_000_000;
    // Both readings are of the same moment: 3000 ticks before the first picture.
    stream.set_clock(LayerIndex(0), ClockMapping { ntp: NtpTime(1 << 40), rtp: low.timestamp });
    stream.set_clock(LayerIndex(1), ClockMapping { ntp: NtpTime(1 << 40), rtp: high.timestamp });
    let (first, _) = send(&mut stream, now, &low.picture(now, true, 0, 1)[0]).unwrap();
    high.picture(now, false, 0, 1);
    stream.set_target(now, Some(LayerTarget::whole(LayerIndex(1))));
    assert_eq!(stream.wants_keyframe(), Some(LayerIndex(1)));
    // The keyframe took 120 ms instead of 33: its timestamp says when it was captured all the same.
    let late = now + millis(120);
    let (second, _) = send(&mut stream, late, &high.picture(late, true, 0, 1)[0]).unwrap();
    let stamp = |packet: &[u8]| RtpHeader::parse(packet).unwrap().timestamp;
    assert_eq!(stamp(&second).wrapping_sub(stamp(&first)), 3000);
    assert_eq!(stream.current_layer(), Some(LayerIndex(1)));
}

#[test]
fn a_codec_that_the_far_side_lacks_is_not_sent() {
    let now = Instant::now();
    let mut stream = stream(&parameters(MediaKind::Video), now);
    let mut packet = Vp8Layer::new(0).picture(now, true, 0, 1).remove(0);
    packet.meta.codec = Codec::Av1;
    assert!(!stream.can_take(Codec::Av1));
    assert!(send(&mut stream, now, &packet).is_none());
}

#[test]
fn a_withheld_packet_that_comes_late_fills_its_number_with_nothing() {
    let now = Instant::now();
    let mut stream = stream(&parameters(MediaKind::Video), now);
    let target = LayerTarget { layer: LayerIndex(0), spatial_max: 0, temporal_max: 0 };
    stream.set_target(now, Some(target));
    let mut layer = Vp8Layer::new(0);
    send(&mut stream, now, &layer.picture(now, true, 0, 1)[0]).unwrap();
    let withheld = layer.picture(now, false, 1, 1).remove(0);
    let (_, after) = send(&mut stream, now, &layer.picture(now, false, 0, 1)[0]).unwrap();
    let (filler, seq) = send(&mut stream, now, &withheld).unwrap();
    assert_eq!(seq.next(), after);
    let header = RtpHeader::parse(&filler).unwrap();
    assert_eq!(header.len, filler.len(), "no payload");
}

#[test]
fn the_picture_numbers_in_the_payload_are_the_viewers() {
    let now = Instant::now();
    let mut stream = stream(&parameters(MediaKind::Video), now);
    let (mut one, mut other) = (Vp8Layer::new(0), Vp8Layer::new(0));
    other.picture_id = 12_000;
    let numbers = |bytes: &[u8]| {
        let payload = RtpHeader::parse(bytes).unwrap().payload(bytes).to_vec();
        frame::picture_numbers(Codec::Vp8, &payload).unwrap()
    };
    let first = numbers(&send(&mut stream, now, &one.picture(now, true, 0, 1)[0]).unwrap().0);
    stream.remap(now);
    let second = numbers(&send(&mut stream, now, &other.picture(now, true, 0, 1)[0]).unwrap().0);
    assert_eq!(second.picture_id, first.picture_id.wrapping_add(1) & 0x7fff);
    assert_eq!(second.tl0_pic_idx, first.tl0_pic_idx.map(|tl0| tl0.wrapping_add(1)));
}

#[test]
fn a_buffer_that_is_too_small_writes_nothing() {
    let now = Instant::now();
    let mut stream = stream(&parameters(MediaKind::Video), now);
    let packet = &Vp8Layer::new(0).picture(now, true, 0, 1)[0];
    let outgoing = stream.decide(&packet.meta, &packet.numbers()).unwrap();
    for len in 0..50 {
        let mut out = vec![0; len];
        let written = stream.write(&outgoing, &packet.meta, &packet.bytes, STAMP, &mut out);
        assert!(written.is_none_or(|written| written.len <= len), "{len}");
    }
}
