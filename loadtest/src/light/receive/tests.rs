//! Counting, asking and reporting on packets made here.

use super::*;
use colloque::ids::PayloadType;
use colloque::rtp::packet::{HeaderFields, HeaderWriter};
use colloque::rtp::rtcp::{self, Rtcp};

use crate::media::Vp8Source;

const MEDIA: u32 = 5;
const REPAIRS: u32 = 6;
const US: Ssrc = Ssrc(9);

struct World {
    receiving: Receiving,
    shared: Shared,
    tally: Tally,
    now: Instant,
    camera: Vp8Source,
}

impl World {
    fn new() -> Self {
        let payload = Payload { media: 96, rtx: Some(97) };
        let mut extensions = ExtensionMap::default();
        extensions.set(ExtensionKind::TransportCc, 3);
        let ssrcs = vec![(MEDIA, Some(REPAIRS))];
        let slot = Slot { kind: Kind::Picture, payload, ssrcs, extensions, nack: true };
        let shared = Shared::default();
        shared.set_phase(Phase::Count);
        let now = shared.epoch + Duration::from_millis(10);
        let (receiving, tally) = (Receiving::new(vec![slot]), Tally::default());
        Self { receiving, shared, tally, now, camera: Vp8Source::new(1) }
    }

    /// One packet of the stream, or of its repairs when `original` is set.
    fn takes(&mut self, number: u32, seq: u64, original: Option<u16>, padding: usize) -> Received {
        let (ssrc, payload_type) = if original.is_some() { (REPAIRS, 97) } else { (MEDIA, 96) };
        let fields = HeaderFields {
            marker: false,
            payload_type: PayloadType(payload_type),
            sequence: seq as u16,
            timestamp: 0,
            ssrc: Ssrc(ssrc),
        };
        let mut packet = vec![0; 2_000];
        let mut header = HeaderWriter::new(&mut packet, fields, false);
        header.extension(3, &(seq as u16).to_be_bytes());
        let mut len = header.finish();
        if let Some(original) = original {
            packet[len..len + 2].copy_from_slice(&original.to_be_bytes());
            len += 2;
        }
        let payload = &mut self.camera.next_frame()[0].payload;
        Stamp { stream: 1, number: Some(number), sent_micros: 4_000 }.write(payload);
        packet[len..len + payload.len()].copy_from_slice(payload);
        len += payload.len() + padding;
        if padding > 0 {
            packet[0] |= 0x20;
            packet[len - 1] = padding as u8;
        }
        let at = self.now;
        self.receiving.handle_packet(self.now, at, &packet[..len], SeqNo(seq), &self.shared, &mut self.tally)
    }

    /// Moves time and gives the numbers asked for, and how many keyframes.
    fn asks_after(&mut self, millis: u64) -> (Vec<u16>, usize) {
        self.now += Duration::from_millis(millis);
        let mut out = [0; 1_000];
        let mut writer = CompoundWriter::new(&mut out);
        self.receiving.poll_asks(self.now, US, Duration::from_millis(30), &mut writer, &mut self.tally);
        let len = writer.len();
        let (mut numbers, mut keyframes) = (Vec::new(), 0);
        for packet in rtcp::packets(&out[..len]) {
            match packet.unwrap() {
                Rtcp::Nack { lost, .. } => numbers.extend(lost),
                Rtcp::Pli { media, .. } => keyframes += usize::from(media == Ssrc(MEDIA)),
                other => panic!("{other:?}"),
            }
        }
        (numbers, keyframes)
    }
}

#[test]
fn a_stamp_is_read_in_front_of_padding() {
    let mut world = World::new();
    for (number, padding) in [(0, 0), (1, 1), (2, 4), (3, 255)] {
        assert_eq!(world.takes(number, 100 + u64::from(number), None, padding), Received::Media(Kind::Picture));
    }
    world.receiving.finish(&mut world.tally);
    assert_eq!(world.tally.received[&1].count(), 4);
    assert_eq!((world.tally.latency.len(), world.tally.latency.max()), (4, 6_000));
}

#[test]
fn a_gap_is_asked_for_after_a_while_and_its_repair_counts_once() {
    let mut world = World::new();
    world.takes(0, 100, None, 0);
    world.takes(3, 103, None, 0);
    assert!(world.asks_after(19).0.is_empty());
    assert_eq!(world.asks_after(1).0, [101, 102]);
    assert_eq!(world.takes(1, 40, Some(101), 0), Received::Media(Kind::Picture));
    assert_eq!(world.takes(1, 41, Some(101), 0), Received::Nothing, "answered twice");
    assert!(world.asks_after(29).0.is_empty());
    assert_eq!(world.asks_after(1).0, [102], "again after a round trip");
    assert_eq!(world.takes(2, 102, None, 0), Received::Media(Kind::Picture), "overtaken, not lost");
    assert!(world.asks_after(100).0.is_empty());
    world.receiving.finish(&mut world.tally);
    let Tally { nacks_sent, retransmissions_received, unrepaired, .. } = world.tally;
    assert_eq!((nacks_sent, retransmissions_received, unrepaired), (3, 1, 0));
    assert_eq!(world.tally.received[&1].count(), 4);
}

#[test]
fn what_never_comes_is_given_up_for_a_keyframe() {
    let mut world = World::new();
    world.takes(0, 100, None, 0);
    world.takes(2, 102, None, 0);
    let asked: Vec<_> = (0..60).map(|_| world.asks_after(20)).collect();
    assert_eq!(asked.iter().map(|(numbers, _)| numbers.len()).sum::<usize>(), 10);
    assert_eq!(asked.iter().map(|(_, keyframes)| keyframes).sum::<usize>(), 1);
    assert_eq!(world.tally.unrepaired, 1);
}

#[test]
fn a_picture_without_a_keyframe_asks_for_one() {
    let mut world = World::new();
    world.camera.next_frame();
    world.takes(0, 100, None, 0);
    assert_eq!(world.asks_after(499), (vec![], 0));
    assert_eq!(world.asks_after(1), (vec![], 1));
    assert_eq!(world.asks_after(999), (vec![], 0), "not all the time");
    assert_eq!(world.asks_after(1), (vec![], 1));
    world.camera.request_keyframe();
    world.takes(1, 101, None, 0);
    assert_eq!(world.asks_after(2_000), (vec![], 0));
}

#[test]
fn feedback_tells_every_transport_number_that_came() {
    let mut world = World::new();
    for seq in [65_534, 65_535, 65_537, 65_536] {
        world.takes(seq as u32, seq, None, 0);
        world.now += Duration::from_millis(2);
    }
    world.now += FEEDBACK_EVERY;
    let mut out = [0; 1_000];
    let mut writer = CompoundWriter::new(&mut out);
    world.receiving.poll_feedback(world.now, US, &mut writer);
    let len = writer.len();
    let Some(Ok(Rtcp::TransportFeedback(feedback))) = rtcp::packets(&out[..len]).next() else { panic!("no feedback") };
    let numbers: Vec<_> = feedback.arrivals().map(|(number, at)| (number, at.is_some())).collect();
    assert_eq!(numbers, [(65_534, true), (65_535, true), (0, true), (1, true)]);
}

#[test]
fn reports_tell_the_loss_since_the_last_one() {
    let mut world = World::new();
    for seq in [100, 101, 103, 104] {
        world.takes(seq, u64::from(seq), None, 0);
    }
    world.receiving.handle_sender_report(world.now, Ssrc(MEDIA), 0x1234_5678_9abc_def0);
    world.now += Duration::from_millis(500);
    let block = world.receiving.report_blocks(world.now).next().unwrap();
    assert_eq!((block.highest_sequence, block.cumulative_lost, block.fraction_lost), (104, 1, 51));
    assert_eq!((block.last_sr, block.delay_since_last_sr), (0x5678_9abc, 32_768));
    world.takes(105, 105, None, 0);
    assert_eq!(world.receiving.report_blocks(world.now).next().unwrap().fraction_lost, 0);
}
