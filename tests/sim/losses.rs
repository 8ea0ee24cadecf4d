//! Bad networks: what is lost is repaired, what cannot be repaired costs as little as possible.

use std::time::Duration;

use colloque::drops::DropReason;
use colloque::rtp::codec::MediaKind;

use super::network::Link;
use super::publisher::Plain;
use super::wire::Format;
use super::world::{Page, World, seed, seeds};

#[test]
fn loss_is_repaired_by_retransmission() {
    for (seed, format) in
        [(1, Format::Vp8), (2, Format::H264), (3, Format::Vp9), (4, Format::Av1Sealed), (5, Format::Vp8)]
    {
        let page = || Page::new().camera(format).link(Link::losing(0.05));
        let mut world = World::with(seed, [page(), page()]);
        world.run(10_000);
        world.assert_sound();
        for (viewer, other) in [(0, 21), (1, 11)] {
            let receiver = world.people[viewer].receiver(0, MediaKind::Video);
            assert_eq!((receiver.freezes, receiver.holes), (0, 0), "{format:?}, seed {seed}");
            assert!(receiver.repaired > 5, "{} repaired, {format:?}, seed {seed}", receiver.repaired);
            let pictures = world.frames(viewer, other, Duration::from_secs(1));
            assert!(pictures > 165, "{pictures} pictures, {format:?}, seed {seed}");
        }
        let counters = world.sfu.counters();
        assert!(counters.nacks_sent > 0 && counters.nacks_received > 0 && counters.retransmitted > 0);
    }
}

#[test]
fn probes_are_neither_drops_nor_forwarded() {
    let mut world = World::with(seed(6), [Page::new(), Page::new()]);
    world.run(3000);
    let before = world.sfu.counters().clone();
    let layer = &world.people[1].publishers[1].layers[0];
    let padding = Plain {
        ssrc: layer.rtx.expect("a camera has retransmissions"),
        seq: 0,
        timestamp: 0,
        marker: false,
        repair: true,
        red: false,
        rid: layer.rid,
        descriptor: None,
        level: None,
        payload: Vec::new(),
    };
    for seq in 1..=50 {
        let now = world.now;
        world.people[1].send_plain(now, 1, &Plain { seq, ..padding.clone() });
        world.run(10);
    }
    world.run(1000);
    let after = world.sfu.counters();
    assert_eq!(after.probes_in - before.probes_in, 50);
    assert!(DropReason::ALL.iter().all(|&reason| after.drops(reason) == before.drops(reason)));
    world.assert_sound();
    let receiver = world.people[0].receiver(0, MediaKind::Video);
    assert_eq!((receiver.freezes, receiver.holes), (0, 0));
}

#[test]
fn a_rough_network_with_simulcast_stays_sound() {
    for seed in seeds(10..16) {
        let link = Link { loss: 0.03, ..Link::rough() };
        let page = || Page::new().simulcast().link(link);
        let mut world = World::with(seed, [page(), page(), Page::firefox().link(link)]);
        for round in 0..6u16 {
            for viewer in 0..3 {
                for slot in 0..2 {
                    let (width, height) = [(320, 180), (1280, 720), (640, 360)][usize::from(round + slot) % 3];
                    world.set_view(viewer, slot, width, height);
                }
            }
            world.run(2000);
        }
        world.assert_sound();
        for viewer in 0..3 {
            for seat in (1..=3).filter(|seat| *seat != viewer as u64 + 1) {
                let pictures = world.frames(viewer, seat as u32 * 10 + 1, Duration::ZERO);
                assert!(pictures > 190, "{pictures} pictures of {seat} at {viewer}, seed {seed}");
            }
        }
    }
}

#[test]
fn heavy_receiver_loss_steps_one_layer_down_and_audio_is_untouched() {
    for seed in seeds(20..23) {
        let mut world = World::with(seed, [Page::new().simulcast(), Page::viewer(), Page::viewer()]);
        world.set_view(1, 0, 1280, 720);
        world.set_view(2, 0, 1280, 720);
        world.run(5000);
        let layer = |world: &World, viewer: usize| {
            world.people[viewer].receiver(0, MediaKind::Video).frames.last().expect("a picture").layer
        };
        assert_eq!((layer(&world, 1), layer(&world, 2)), (2, 2), "seed {seed}");
        world.people[1].down = Link::losing(0.2);
        world.run(5000);
        assert_eq!(layer(&world, 1), 1, "one step down, seed {seed}");
        assert_eq!(layer(&world, 2), 2, "nobody else pays, seed {seed}");
        let before = world.elapsed();
        let heard = world.people[1].receiver(0, MediaKind::Audio).packets;
        world.run(5000);
        let heard = world.people[1].receiver(0, MediaKind::Audio).packets - heard;
        assert!((170..=230).contains(&heard), "{heard} of 250 voice packets at 20 % loss, seed {seed}");
        world.people[1].down = Link::GOOD;
        world.run(15_000);
        assert_eq!(layer(&world, 1), 2, "and up again, seed {seed}");
        assert_eq!(world.frames(2, 10, before), world.frames(2, 10, before));
        world.assert_sound();
    }
}

#[test]
fn a_publisher_that_never_repairs_is_asked_for_a_keyframe() {
    let mut world = World::with(seed(30), [Page::new(), Page::new()]);
    world.run(2000);
    // Longer than any retransmission window.
    world.people[0].up.loss = 0.9;
    world.run(3000);
    world.people[0].up.loss = 0.0;
    let back = world.elapsed();
    assert!(world.run_until(2500, |world| world.frames(1, 11, back) > 10), "the picture comes back");
    world.run(1000);
    world.assert_sound();
}
