//! Simulcast: which layer a viewer gets, when it switches, and what the publisher is asked for.

use std::time::Duration;

use colloque::rtp::codec::{MediaKind, Source};

use super::world::{Page, World, seed, seeds};

fn layer(world: &World, viewer: usize) -> u8 {
    world.people[viewer].receiver(0, MediaKind::Video).frames.last().expect("a picture").layer
}

#[test]
fn simulcast_follows_the_view() {
    for seed in seeds(0..5) {
        let mut world = World::with(seed, [Page::new().simulcast(), Page::new()]);
        for (width, height, expected) in [(1280, 720, 2), (300, 170, 0), (640, 352, 1), (1280, 720, 2), (200, 112, 0)] {
            world.set_view(1, 0, width, height);
            world.run(3000);
            assert_eq!(layer(&world, 1), expected, "{width}x{height}, seed {seed}");
        }
        let packets = |world: &World| world.people[1].receiver(0, MediaKind::Video).packets;
        world.set_view(1, 0, 0, 0);
        world.run(100);
        let paused = packets(&world);
        let hidden = world.elapsed();
        world.run(2000);
        assert_eq!(packets(&world), paused, "hidden means paused, seed {seed}");
        assert!(world.frames(1, 10, hidden) > 90, "a hidden picture does not mute");
        world.set_view(1, 0, 640, 352);
        let shown = world.elapsed();
        assert!(world.run_until(1000, |world| world.frames(1, 11, shown) > 3), "seed {seed}");
        world.run(1000);
        assert_eq!(layer(&world, 1), 1);
        let receiver = world.people[1].receiver(0, MediaKind::Video);
        assert_eq!((receiver.freezes, receiver.holes), (0, 0), "seed {seed}");
        // That each switch began with a keyframe is what the receiver checks.
        world.assert_sound();
    }
}

#[test]
fn a_layer_that_the_publisher_stops_is_left() {
    for seed in seeds(5..9) {
        let mut world = World::with(seed, [Page::new().simulcast(), Page::new()]);
        world.set_view(1, 0, 1280, 720);
        world.run(3000);
        assert_eq!(layer(&world, 1), 2);
        world.people[0].publisher(Source::Camera).layers[2].active = false;
        world.run(3500);
        assert_eq!(layer(&world, 1), 1, "the best that is left, seed {seed}");
        let since = world.elapsed() - Duration::from_secs(1);
        assert!(world.frames(1, 11, since) > 15);
        world.people[0].publisher(Source::Camera).layers[2].active = true;
        world.run(3500);
        assert_eq!(layer(&world, 1), 2, "and back, seed {seed}");
        world.assert_sound();
    }
}

#[test]
fn viewers_of_one_camera_get_different_layers() {
    let mut world = World::with(seed(9), [Page::new().simulcast(), Page::new(), Page::firefox(), Page::new()]);
    for (viewer, width, height) in [(1, 300, 170), (2, 640, 352), (3, 1280, 720)] {
        world.set_view(viewer, 0, width, height);
    }
    world.run(4000);
    assert_eq!([1, 2, 3].map(|viewer| layer(&world, viewer)), [0, 1, 2]);
    world.assert_sound();
}

#[test]
fn keyframe_requests_are_coalesced() {
    let mut world = World::with(seed(10), [Page::new()]);
    for _ in 0..49 {
        world.join(Page::viewer().slots(1));
    }
    world.run(4000);
    let asked = world.people[0].publisher(Source::Camera).keyframe_requests.len();
    let before = world.sfu.counters().keyframe_requests_received;
    for viewer in 1..50 {
        world.people[viewer].ask_keyframe(0);
    }
    world.run(2000);
    assert!(world.sfu.counters().keyframe_requests_received - before >= 49);
    let requests = &world.people[0].publisher(Source::Camera).keyframe_requests;
    assert!((1..=2).contains(&(requests.len() - asked)), "{} requests for 49 wishes", requests.len() - asked);
    assert!(requests.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(490)));
    for viewer in 1..50 {
        assert!(world.frames(viewer, 11, Duration::from_secs(2)) > 60, "viewer {viewer}");
    }
    world.assert_sound();
}
