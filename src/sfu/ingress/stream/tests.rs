//! What is made of the packets that a publisher sends: numbers, keyframes, repairs, and what is asked again.

use super::*;
use crate::sfu::ingress::testing::{Packet, extension_map};
use crate::units::Bitrate;

const MEDIA: u32 = 100;
const REPAIR: u32 = 200;
/// VP8: start of a keyframe of 640x360 in the first partition.
const VP8_KEYFRAME: [u8; 12] = [0x10, 0x00, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, 0];
/// VP8: start of a frame that refers to others.
const VP8_DELTA: [u8; 6] = [0x10, 0x01, 0, 0, 0, 0];
const RTT: Duration = Duration::from_millis(40);

struct Bench {
    start: Instant,
    extensions: ExtensionMap,
    stream: IngressStream,
}

impl Bench {
    fn new(kind: MediaKind) -> Self {
        let stream = IngressStream::new(LayerIndex(1), kind);
        Self { start: Instant::now(), extensions: extension_map(), stream }
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    fn handle(&mut self, millis: u64, packet: &Packet, usage: PayloadUse) -> Result<SeqNo, DropReason> {
        self.deliver(millis, packet, usage).map(|seq| seq.expect("no probe"))
    }

    /// `None` for a probe.
    fn deliver(&mut self, millis: u64, packet: &Packet, usage: PayloadUse) -> Result<Option<SeqNo>, DropReason> {
        let mut bytes = packet.build();
        let header = RtpHeader::parse(&bytes).unwrap();
        let now = self.at(millis);
        let rtp = IncomingRtp { header, packet: &mut bytes, usage, extensions: &self.extensions };
        match usage {
            PayloadUse::Rtx(_) => self.stream.handle_repair(now, rtp),
            _ => self.stream.handle_media(now, rtp).map(Some),
        }
    }

    fn video(&mut self, millis: u64, sequence: u16) -> Result<SeqNo, DropReason> {
        self.handle(millis, &Packet::new(MEDIA, sequence).payload(&VP8_DELTA), PayloadUse::Media(Codec::Vp8))
    }

    fn repair(&mut self, millis: u64, packet: &Packet) -> Result<Option<SeqNo>, DropReason> {
        self.deliver(millis, &packet.clone().repair(REPAIR, 7), PayloadUse::Rtx(Codec::Vp8))
    }

    fn lost(&mut self, millis: u64) -> Vec<u16> {
        let mut lost = [0; NackGenerator::MISSING_MAX];
        let now = self.at(millis);
        match self.stream.poll_nack(now, RTT, &mut lost) {
            Some((ssrc, len)) => {
                assert_eq!(ssrc, Ssrc(MEDIA));
                lost[..len].to_vec()
            }
            None => Vec::new(),
        }
    }
}

#[test]
fn keeps_a_packet_with_what_forwarding_must_know() {
    let mut bench = Bench::new(MediaKind::Video);
    let packet = Packet::new(MEDIA, 65_535)
        .timestamp(1234)
        .extension(ExtensionKind::VideoOrientation, &[3])
        .extension(ExtensionKind::PlayoutDelay, &[1, 2, 3])
        .payload(&VP8_KEYFRAME);
    let seq = bench.handle(0, &packet, PayloadUse::Media(Codec::Vp8)).unwrap();
    let (meta, bytes) = bench.stream.packet(seq).unwrap();
    assert_eq!(bytes, packet.build());
    assert_eq!((meta.seq, meta.timestamp, meta.layer, meta.epoch), (seq, 1234, LayerIndex(1), 0));
    assert_eq!(meta.payload(bytes), VP8_KEYFRAME);
    assert_eq!(meta.video_orientation.of(bytes), Some(&[3][..]));
    assert_eq!(meta.playout_delay.of(bytes), Some(&[1, 2, 3][..]));
    assert_eq!(meta.audio_level.of(bytes), None);
    assert!(meta.frame.keyframe && meta.frame.starts_frame && !meta.red);

    let facts = bench.stream.facts(bench.at(10));
    assert_eq!(facts.picture_size, Some(PictureSize { width: 640, height: 360 }));
    assert_eq!((facts.active, facts.last_keyframe), (true, Some(bench.start)));
    assert!(facts.bitrate > Bitrate(0));
    assert!(!bench.stream.facts(bench.at(2000)).active);

    assert_eq!(bench.video(11, 0), Ok(seq.next()), "the numbers wrap");
}

#[test]
fn a_double_or_an_old_packet_is_stale_but_counted() {
    let mut bench = Bench::new(MediaKind::Video);
    bench.video(0, 1000).unwrap();
    assert_eq!(bench.video(1, 1000), Err(DropReason::RtpStale));
    assert_eq!(bench.video(1, 900), Err(DropReason::RtpStale));
    bench.video(2, 1001).unwrap();
    assert_eq!(bench.stream.poll_report(bench.at(3)).unwrap().cumulative_lost, -2);
}

#[test]
fn a_loss_is_asked_for_and_its_repair_takes_its_place() {
    let mut bench = Bench::new(MediaKind::Video);
    bench.video(0, 10).unwrap();
    bench.video(1, 12).unwrap();
    assert_eq!(bench.lost(11), [11]);

    let missing =
        Packet::new(MEDIA, 11).timestamp(77).extension(ExtensionKind::PlayoutDelay, &[9, 9, 9]).payload(&VP8_DELTA);
    let seq = bench.repair(50, &missing).unwrap().expect("it was missing");
    let (meta, bytes) = bench.stream.packet(seq).unwrap();
    assert_eq!(bytes, missing.build(), "as it would have come by itself");
    assert_eq!((meta.seq.wire(), meta.timestamp), (11, 77));
    assert_eq!(meta.playout_delay.of(bytes), Some(&[9, 9, 9][..]));
    assert!(bench.lost(200).is_empty());
    assert_eq!(bench.video(201, 11), Err(DropReason::RtpStale), "the original after its repair");
    assert_eq!(bench.repair(202, &missing), Ok(None), "twice");
}

#[test]
fn repairs_count_as_loss_in_the_report() {
    let mut bench = Bench::new(MediaKind::Video);
    bench.video(0, 10).unwrap();
    bench.video(1, 12).unwrap();
    bench.repair(2, &Packet::new(MEDIA, 11).payload(&VP8_DELTA)).unwrap();
    assert_eq!(bench.stream.poll_report(bench.at(3)).unwrap().cumulative_lost, 1);
}

#[test]
fn useless_repairs_are_refused() {
    let mut bench = Bench::new(MediaKind::Video);
    let missing = Packet::new(MEDIA, 11).payload(&VP8_DELTA);
    assert_eq!(bench.repair(0, &missing), Err(DropReason::RtxUseless), "before any packet");
    bench.video(0, 10).unwrap();
    assert_eq!(bench.repair(1, &missing), Err(DropReason::RtxUseless), "ahead of the highest");
    bench.video(1, 12).unwrap();
    let half = Packet::new(REPAIR, 7).payload(&[0]).padding(20);
    assert_eq!(bench.deliver(2, &half, PayloadUse::Rtx(Codec::Vp8)), Err(DropReason::RtxUseless));
    assert_eq!(bench.lost(100), [11], "none of them filled the gap");
}

/// Chromium sends what it sent already, or padding alone, to learn how much its network carries: the operator's
/// board showed hundreds of drops a second in a sound call.
#[test]
fn probes_are_told_from_useless_repairs() {
    let mut bench = Bench::new(MediaKind::Video);
    let padding = Packet::new(REPAIR, 7).payload(&[]).padding(255);
    assert_eq!(bench.deliver(0, &padding, PayloadUse::Rtx(Codec::Vp8)), Ok(None), "before any packet");
    bench.video(1, 10).unwrap();
    bench.video(2, 12).unwrap();
    for sequence in [10, 12] {
        assert_eq!(bench.repair(3, &Packet::new(MEDIA, sequence).payload(&VP8_DELTA)), Ok(None));
    }
    assert_eq!(bench.deliver(4, &padding, PayloadUse::Rtx(Codec::Vp8)), Ok(None));
    assert_eq!(bench.lost(100), [11], "none of them filled the gap");
}

#[test]
fn padding_is_not_kept() {
    let mut bench = Bench::new(MediaKind::Video);
    let packet = Packet::new(MEDIA, 10).payload(&VP8_DELTA);
    let seq = bench.handle(0, &packet.clone().padding(200), PayloadUse::Media(Codec::Vp8)).unwrap();
    assert_eq!(bench.stream.packet(seq).unwrap().1, packet.build());

    bench.video(1, 12).unwrap();
    let repaired = Packet::new(MEDIA, 11).payload(&VP8_DELTA);
    let seq = bench.repair(2, &repaired.clone().padding(100)).unwrap().expect("it was missing");
    assert_eq!(bench.stream.packet(seq).unwrap().1, repaired.build());

    let probe = Packet::new(MEDIA, 13).payload(&[]).padding(255);
    let seq = bench.handle(3, &probe, PayloadUse::Media(Codec::Vp8)).unwrap();
    let meta = bench.stream.packet(seq).unwrap().0;
    assert_eq!((meta.payload_len, meta.frame), (0, FrameInfo::default()));
}

#[test]
fn asks_for_a_keyframe_instead_when_too_much_is_missing_until_one_comes() {
    let mut bench = Bench::new(MediaKind::Video);
    bench.video(0, 10).unwrap();
    assert_eq!(bench.stream.poll_keyframe_request(bench.at(0)), None);
    bench.video(1, 1000).unwrap();
    assert!(bench.lost(20).is_empty());
    assert_eq!(bench.stream.poll_keyframe_request(bench.at(20)), Some(Ssrc(MEDIA)));
    assert_eq!(bench.stream.poll_timeout(RTT), Some(bench.at(520)));
    assert_eq!(bench.stream.poll_keyframe_request(bench.at(520)), Some(Ssrc(MEDIA)));
    let keyframe = Packet::new(MEDIA, 1001).payload(&VP8_KEYFRAME);
    bench.handle(600, &keyframe, PayloadUse::Media(Codec::Vp8)).unwrap();
    assert_eq!(bench.stream.poll_keyframe_request(bench.at(5000)), None);
}

#[test]
fn voice_is_neither_asked_for_again_nor_for_keyframes_and_red_is_kept_as_it_came() {
    let mut bench = Bench::new(MediaKind::Audio);
    for sequence in [1, 5, 500] {
        let packet = Packet::new(MEDIA, sequence).extension(ExtensionKind::AudioLevel, &[0x80 | 20]);
        let seq = bench.handle(0, &packet, PayloadUse::Red(Codec::Opus)).unwrap();
        let (meta, bytes) = bench.stream.packet(seq).unwrap();
        assert_eq!(meta.audio_level.of(bytes), Some(&[0x80 | 20][..]));
        assert!(meta.red && meta.codec == Codec::Opus);
        assert_eq!(bytes, packet.build());
    }
    bench.stream.request_keyframe();
    assert!(bench.lost(100).is_empty());
    assert_eq!(bench.stream.poll_keyframe_request(bench.at(100)), None);
}

#[test]
fn another_ssrc_takes_over_only_after_a_silence_and_starts_an_epoch() {
    let mut bench = Bench::new(MediaKind::Video);
    let first = bench.video(0, 10).unwrap();
    let other = Packet::new(MEDIA + 1, 60_000).payload(&VP8_DELTA);
    assert_eq!(
        bench.handle(999, &other, PayloadUse::Media(Codec::Vp8)),
        Err(DropReason::RtpUnknownTrack),
        "two SSRCs at once would undo each other"
    );
    bench.stream.request_keyframe();
    let seq = bench.handle(1000, &other, PayloadUse::Media(Codec::Vp8)).unwrap();
    assert_eq!(bench.stream.packet(seq).unwrap().0.epoch, 1);
    assert!(seq > first && bench.stream.packet(first).is_none());
    assert_eq!(bench.stream.poll_report(bench.at(1000)).unwrap().highest_sequence, 60_000, "counts from its own start");
    assert_eq!(bench.stream.poll_keyframe_request(bench.at(1001)), Some(Ssrc(MEDIA + 1)), "a wish outlives it");
}

#[test]
fn the_descriptor_tells_the_frame_when_the_payload_is_encrypted() {
    let mut bench = Bench::new(MediaKind::Video);
    let encrypted = [0xaa; 40];
    // A first packet with one template and its structure: 1 spatial, 1 temporal layer, 1 decode target.
    let keyframe = structure_descriptor();
    let packet = Packet::new(MEDIA, 1).extension(ExtensionKind::DependencyDescriptor, &keyframe).payload(&encrypted);
    let seq = bench.handle(0, &packet, PayloadUse::Media(Codec::Vp8)).unwrap();
    let (meta, bytes) = bench.stream.packet(seq).unwrap();
    assert!(meta.frame.keyframe && meta.frame.starts_frame && !meta.frame.ends_frame);
    assert_eq!(meta.dependency_descriptor.of(bytes), Some(&keyframe[..]));

    // End of frame 2, template 0, no structure.
    let delta = [0x40, 0x00, 0x02];
    let packet = Packet::new(MEDIA, 2).extension(ExtensionKind::DependencyDescriptor, &delta).payload(&encrypted);
    let seq = bench.handle(1, &packet, PayloadUse::Media(Codec::Vp8)).unwrap();
    let frame = bench.stream.packet(seq).unwrap().0.frame;
    assert!(!frame.keyframe && !frame.starts_frame && frame.ends_frame);
}

#[test]
fn hostile_packets_neither_panic_nor_grow_the_cache_past_its_cap() {
    let mut bench = Bench::new(MediaKind::Video);
    let mut state = 11u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let mut accepted = 0;
    for step in 0..20_000u64 {
        let noise: Vec<u8> = (0..random() % 60).map(|_| random() as u8).collect();
        let kind = ExtensionKind::ALL[random() as usize % ExtensionKind::ALL.len()];
        let value: Vec<u8> = (0..1 + random() % 40).map(|_| random() as u8).collect();
        let packet = Packet::new(MEDIA, random() as u16).extension(kind, &value).payload(&noise);
        let packet = packet.padding((random() % 4) as u8 * 50);
        let codec = [Codec::Vp8, Codec::Vp9 { profile: 0 }, Codec::Av1][random() as usize % 3];
        let usage = match random() % 3 {
            0 => PayloadUse::Rtx(codec),
            _ => PayloadUse::Media(codec),
        };
        accepted += u32::from(matches!(bench.deliver(step, &packet, usage), Ok(Some(_))));
        bench.lost(step);
    }
    assert!(accepted > 0);
    let cap = CacheLimits::VIDEO.bytes_max + CacheLimits::VIDEO.packets_max * 2 * size_of::<PacketMeta>();
    assert!(bench.stream.memory() <= cap);
}

/// AV1 RTP appendix A.8.2, bit by bit.
fn structure_descriptor() -> Vec<u8> {
    let mut bits = String::new();
    bits += "1"; // start of frame
    bits += "0"; // not its end
    bits += "000000"; // template 0
    bits += "0000000000000001"; // frame 1
    bits += "1"; // structure present
    bits += "0000"; // no active targets, custom indications, differences, chains
    bits += "000000"; // template id offset
    bits += "00000"; // one decode target
    bits += "11"; // no more layers
    bits += "10"; // its indication: switch
    bits += "0"; // no frame differences
    bits += "0"; // no chains: ns(2) of 0
    bits += "0"; // no resolutions
    while !bits.len().is_multiple_of(8) {
        bits += "0";
    }
    bits.as_bytes().chunks(8).map(|byte| u8::from_str_radix(str::from_utf8(byte).unwrap(), 2).unwrap()).collect()
}
