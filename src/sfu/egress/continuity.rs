//! The promise of this module as a property: whatever the network and the page do to the input, what one viewer gets
//! is one continuous, decodable stream. Seeded, in virtual time.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::rtp::codec::{Codec, MediaKind};
use crate::rtp::frame::{self, PictureNumbers};
use crate::rtp::packet::RtpHeader;
use crate::sfu::ingress::{LayerFacts, LayerIndex};

use super::forwarder::{Body, Stamp};
use super::layer_selector::LayerTarget;
use super::stream::EgressStream;
use super::testing::{Packet, Vp8Layer, millis, parameters, tag};

/// What the network does, in parts per thousand.
#[derive(Clone, Copy)]
struct Network {
    lost: u32,
    delayed: u32,
    doubled: u32,
}

/// What a viewer received under one number.
#[derive(Clone)]
struct Received {
    header: RtpHeader,
    tag: u8,
    numbers: PictureNumbers,
    starts: bool,
    keyframe: bool,
    temporal: u8,
}

struct Viewer {
    stream: EgressStream,
    /// By extended egress number; `None` for an empty packet.
    received: BTreeMap<u64, Option<Received>>,
}

impl Viewer {
    fn take(&mut self, now: Instant, packet: &Packet) {
        let Some(outgoing) = self.stream.decide(&packet.meta, &packet.numbers()) else { return };
        let mut out = [0; 256];
        let stamp = Stamp { transport_cc: Some(1), abs_send_time: [2; 3], padding: 3 };
        let written = self.stream.write(&outgoing, &packet.meta, &packet.bytes, stamp, &mut out).expect("fits");
        self.stream.record_sent(now, &packet.meta, &outgoing, stamp, written);
        let body = (outgoing.body == Body::Payload).then(|| read(&out[..written.len]));
        assert!(self.received.insert(outgoing.seq.0, body).is_none(), "number {:?} used twice", outgoing.seq);
    }

    /// Asks for what is missing among the last numbers, from a cache of all that reached the server.
    fn ask(&mut self, now: Instant, cache: &HashMap<(u8, u64), Packet>) {
        let Some((&last, _)) = self.received.last_key_value() else { return };
        let first = *self.received.first_key_value().expect("not empty").0;
        for missing in first.max(last.saturating_sub(200))..last {
            if self.received.contains_key(&missing) {
                continue;
            }
            let Some(resend) = self.stream.handle_nack(now, missing as u16) else { continue };
            let Some(packet) = cache.get(&(resend.layer.0, resend.ingress.0)) else { continue };
            let mut out = [0; 256];
            let stamp = Stamp::default();
            let sent = self.stream.write_resend(now, &resend, &packet.meta, &packet.bytes, stamp, &mut out);
            if let Some(sent) = sent {
                assert_eq!(sent.written.index.0, missing, "a number that was never sent has no retransmission");
                let header = RtpHeader::parse(&out[..sent.written.len]).expect("our own");
                let body = (sent.written.len > header.len).then(|| read(&out[..sent.written.len]));
                self.received.insert(missing, body);
            }
        }
    }
}

fn read(packet: &[u8]) -> Received {
    let header = RtpHeader::parse(packet).expect("our own");
    let payload = header.payload(packet);
    let info = frame::inspect(Codec::Vp8, payload, header.marker);
    Received {
        header,
        tag: tag(payload),
        numbers: frame::picture_numbers(Codec::Vp8, payload).expect("kept"),
        starts: info.starts_frame,
        keyframe: info.keyframe,
        temporal: info.temporal,
    }
}

/// Numbers that never reached the viewer, other than those cut off by a switch.
fn check(received: &BTreeMap<u64, Option<Received>>, seed: u64) -> usize {
    let mut before: Option<(u64, &Received)> = None;
    let mut switched_at = BTreeSet::new();
    for (&seq, packet) in received {
        let Some(packet) = packet else { continue };
        assert_eq!(packet.header.sequence, seq as u16);
        let Some((before_seq, last)) = before.replace((seq, packet)) else {
            assert!(packet.keyframe, "seed {seed}: does not begin with a keyframe");
            continue;
        };
        let step = packet.header.timestamp.wrapping_sub(last.header.timestamp) as i32;
        let context = format!("seed {seed}: {before_seq} -> {seq}");
        assert!(step >= 0, "{context}: time went back by {step}");
        assert!(step < 90_000 * 20, "{context}: time jumped by {step}");
        if packet.tag != last.tag {
            assert!(packet.starts && packet.keyframe, "{context}: {} begins without a keyframe", packet.tag);
            assert!(step > 0, "{context}: time stood still at a switch");
            switched_at.insert(seq);
        }
        let adjacent = seq == before_seq + 1;
        let width = u16::from(packet.numbers.picture_id_bits.min(last.numbers.picture_id_bits));
        let pictures = packet.numbers.picture_id.wrapping_sub(last.numbers.picture_id) & ((1 << width) - 1);
        if step == 0 {
            assert_eq!(pictures, 0, "{context}: one picture, two numbers");
            assert!(!adjacent || !packet.starts, "{context}: starts twice");
        } else if adjacent {
            assert_eq!(pictures, 1, "{context}: pictures must count by one");
            // A switch may cut off the end of the picture before it.
            assert!(packet.starts && (last.header.marker || packet.keyframe), "{context}: frame border");
            let bases = u8::from(packet.temporal == 0);
            let tl0 = packet.numbers.tl0_pic_idx.expect("kept").wrapping_sub(last.numbers.tl0_pic_idx.expect("kept"));
            assert_eq!(tl0, bases, "{context}: base layer index");
        } else {
            assert!((1..=40).contains(&pictures), "{context}: {pictures} pictures in a gap");
        }
    }
    let (Some(first), Some(last)) = (received.keys().next(), received.keys().last()) else { return 0 };
    // What is still under way when the call ends is not lost.
    (*first..last.saturating_sub(40))
        .filter(|seq| !received.contains_key(seq) && switched_at.range(*seq..*seq + 40).next().is_none())
        .count()
}

/// Runs one call and gives the received packets and how many packets the network lost for good.
fn call(seed: u64, network: Network, changes: bool) -> (BTreeMap<u64, Option<Received>>, usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    let start = Instant::now();
    let mut publishers: Vec<Vec<Vp8Layer>> = (0..2u8)
        .map(|publisher| {
            (0..3u8)
                .map(|layer| Vp8Layer {
                    layer,
                    seq: (1 << 16) + 65_300 + rng.random_range(0..200),
                    timestamp: u32::MAX - rng.random_range(0..400_000),
                    picture_id: if publisher == 0 { 32_700 } else { 100 },
                    wide: publisher == 0 || seed.is_multiple_of(2),
                    tl0: rng.random(),
                    tag: publisher * 10 + layer,
                })
                .collect()
        })
        .collect();
    let mut viewer =
        Viewer { stream: EgressStream::new(&parameters(MediaKind::Video), seed), received: BTreeMap::new() };
    let mut cache = HashMap::new();
    let mut in_flight: Vec<(u64, u32, Packet)> = Vec::new();
    let (mut shown, mut lost, mut keyframe_at) = (0, 0, [0u64; 3]);
    viewer.stream.set_target(start, Some(LayerTarget::whole(LayerIndex(2))));
    for step in 1..600u64 {
        let now = start + millis(33 * step);
        if changes && rng.random_range(0..40) == 0 {
            let layer = LayerIndex(rng.random_range(0..3));
            let temporal_max = rng.random_range(0..3);
            let target = LayerTarget { layer, spatial_max: u8::MAX, temporal_max };
            viewer.stream.set_target(now, (rng.random_range(0..6) != 0).then_some(target));
        }
        if changes && rng.random_range(0..120) == 0 {
            shown = 1 - shown;
            viewer.stream.remap(now);
            cache.clear();
            in_flight.clear();
        }
        if let Some(layer) = viewer.stream.wants_keyframe()
            && keyframe_at[usize::from(layer.0)] < step
        {
            keyframe_at[usize::from(layer.0)] = step + 3;
        }
        for layer in &mut publishers[shown] {
            let keyframe = keyframe_at[usize::from(layer.layer)] == step;
            let temporal = if keyframe { 0 } else { [0, 2, 1, 2][(step % 4) as usize] };
            let count = rng.random_range(1..5);
            for packet in layer.picture(now, keyframe, temporal, count) {
                let dice = rng.random_range(0..1000);
                let due =
                    if rng.random_range(0..1000) < network.delayed { step + rng.random_range(1..5) } else { step };
                if dice < network.lost {
                    lost += 1;
                    continue;
                }
                in_flight.push((due, rng.random_range(0..1 + network.delayed), packet.clone()));
                if rng.random_range(0..1000) < network.doubled {
                    in_flight.push((due + 1, 0, packet));
                }
            }
        }
        let (mut arrived, waiting): (Vec<_>, Vec<_>) = in_flight.into_iter().partition(|(due, ..)| *due <= step);
        in_flight = waiting;
        arrived.sort_by_key(|(_, order, _)| if network.delayed == 0 { 0 } else { *order / 300 });
        for (_, _, mut packet) in arrived {
            packet.meta.arrived = now;
            cache.insert((packet.meta.layer.0, packet.meta.seq.0), packet.clone());
            viewer.take(now, &packet);
        }
        viewer.ask(now, &cache);
    }
    (viewer.received, lost)
}

#[test]
fn an_ideal_network_gives_a_stream_without_any_gap() {
    for seed in 0..20 {
        let (received, _) = call(seed, Network { lost: 0, delayed: 0, doubled: 0 }, true);
        assert!(received.len() > 200, "seed {seed}: {}", received.len());
        check(&received, seed);
        let (first, last) = (*received.keys().next().unwrap(), *received.keys().last().unwrap());
        assert_eq!(received.len() as u64, last - first + 1, "seed {seed}");
    }
}

#[test]
fn reordering_and_doubling_leave_no_gap_but_before_a_switch() {
    for seed in 100..140 {
        let (received, _) = call(seed, Network { lost: 0, delayed: 100, doubled: 50 }, true);
        assert!(received.len() > 200, "seed {seed}: {}", received.len());
        assert!(check(&received, seed) <= 3, "seed {seed}: {}", check(&received, seed));
    }
}

#[test]
fn loss_leaves_only_the_gaps_of_the_input() {
    for seed in 200..260 {
        let (received, lost) = call(seed, Network { lost: 30, delayed: 60, doubled: 30 }, true);
        assert!(received.len() > 100, "seed {seed}: {}", received.len());
        let missing = check(&received, seed);
        assert!(missing <= lost, "seed {seed}: {missing} missing, {lost} lost");
    }
}

#[test]
fn a_call_without_changes_stays_on_its_layer() {
    let (received, _) = call(7, Network { lost: 0, delayed: 50, doubled: 0 }, false);
    let tags: HashSet<u8> = received.values().flatten().map(|packet| packet.tag).collect();
    assert_eq!(tags, HashSet::from([2]));
    assert_eq!(check(&received, 7), 0);
}

#[test]
fn a_top_layer_that_stops_does_not_black_out_the_viewer() {
    let start = Instant::now();
    let mut layers: Vec<Vp8Layer> = (0..3).map(Vp8Layer::new).collect();
    let mut viewer = Viewer { stream: EgressStream::new(&parameters(MediaKind::Video), 1), received: BTreeMap::new() };
    viewer.stream.set_target(start, Some(LayerTarget::whole(LayerIndex(2))));
    let mut seen = Vec::new();
    let mut keyframe = None;
    for step in 0..200u64 {
        let now = start + millis(33 * step);
        let top_active = step < 60;
        let facts = [true, true, step < 120].map(|active| LayerFacts { active, ..LayerFacts::default() });
        let facts: Vec<_> =
            facts.into_iter().zip(0..).map(|(f, index)| LayerFacts { index: LayerIndex(index), ..f }).collect();
        viewer.stream.set_active(now, &facts);
        let wanted = viewer.stream.wants_keyframe();
        for layer in &mut layers {
            if layer.layer == 2 && !top_active {
                continue;
            }
            for packet in layer.picture(now, keyframe == Some(LayerIndex(layer.layer)), 0, 2) {
                viewer.take(now, &packet);
            }
        }
        keyframe = wanted;
        seen.push(viewer.received.len());
    }
    check(&viewer.received, 0);
    assert_eq!(viewer.stream.current_layer(), Some(LayerIndex(1)));
    assert!(seen[199] - seen[125] > 100, "the next lower layer flows after the top one was found silent");
}

#[test]
fn timestamps_follow_the_clock_through_a_long_pause() {
    let start = Instant::now();
    let mut layer = Vp8Layer::new(0);
    let mut viewer = Viewer { stream: EgressStream::new(&parameters(MediaKind::Video), 1), received: BTreeMap::new() };
    viewer.stream.set_target(start, Some(LayerTarget::whole(LayerIndex(0))));
    viewer.take(start, &layer.picture(start, true, 0, 1)[0]);
    viewer.stream.set_target(start, None);
    let later = start + Duration::from_secs(10);
    viewer.stream.set_target(later, Some(LayerTarget::whole(LayerIndex(0))));
    viewer.take(later, &layer.picture(later, true, 0, 1)[0]);
    let stamps: Vec<u32> = viewer.received.values().flatten().map(|packet| packet.header.timestamp).collect();
    assert_eq!(stamps[1].wrapping_sub(stamps[0]), 900_000);
}
