//! Ordinary calls: everybody sees and hears the right others, with every codec and both browsers' numbering.

use std::time::Duration;

use colloque::ids::SeatId;
use colloque::rtp::codec::{MediaKind, Source};
use colloque::sfu::command::Event;

use super::network::Link;
use super::wire::Format;
use super::world::{Page, World, seed, seeds};

const ZERO: Duration = Duration::ZERO;

#[test]
fn two_seats_see_and_hear_each_other() {
    for seed in seeds(0..6) {
        let mut world = World::with(seed, [Page::new(), Page::firefox()]);
        world.run(5000);
        world.assert_sound();
        for (viewer, other) in [(0, 2), (1, 1)] {
            let voice = world.frames(viewer, other * 10, ZERO);
            let picture = world.frames(viewer, other * 10 + 1, ZERO);
            assert!(voice > 220, "{voice} voice frames, seed {seed}");
            assert!(picture > 85, "{picture} pictures, seed {seed}");
            let receiver = world.people[viewer].receiver(0, MediaKind::Video);
            assert_eq!((receiver.holes, receiver.freezes), (0, 0), "seed {seed}");
            assert_eq!(world.people[viewer].receiver(0, MediaKind::Audio).level, Some(60));
        }
        let started = world.events_of(|event| matches!(event, Event::TrackStarted { .. }));
        assert_eq!(started, 4);
        assert_eq!(world.events_of(|event| matches!(event, Event::LegConnected { .. })), 2);
        assert!(world.people.iter().all(|person| person.feedback_heard > 300), "transport-wide feedback");
    }
}

#[test]
fn every_codec_is_forwarded_whole() {
    for format in [Format::Vp8, Format::Vp9, Format::H264, Format::Av1Sealed] {
        for (seed, viewer) in [(1, Page::new()), (2, Page::firefox())] {
            let mut world = World::with(seed, [Page::new().camera(format), viewer]);
            world.run(4000);
            world.assert_sound();
            let pictures = world.frames(1, 11, ZERO);
            assert!(pictures > 65, "{pictures} pictures of {format:?}, seed {seed}");
        }
    }
}

#[test]
fn vp9_in_flexible_mode_is_forwarded_whole() {
    let formats = vec![Format::Opus, Format::Vp9Flexible];
    let page = Page { formats, ..Page::new().camera(Format::Vp9Flexible) };
    let mut world = World::with(seed(3), [page.clone(), page.link(Link::rough())]);
    world.run(4000);
    world.assert_sound();
    assert!(world.frames(1, 11, ZERO) > 60);
}

#[test]
fn a_late_joiner_gets_a_keyframe_quickly() {
    for seed in seeds(0..6) {
        let mut world = World::with(seed, [Page::new(), Page::new()]);
        world.run(5_000 + seed % 16 * 137);
        let joined = world.elapsed();
        let late = world.join(Page::firefox());
        let seen = world
            .run_until(1500, |world| world.sees_and_hears(late, 1, joined) && world.sees_and_hears(late, 2, joined));
        assert!(seen, "not seen within 1.5 s, seed {seed}");
        let connected = world.people[late].connected_at.expect("a connection");
        let first = world.people[late].receiver(0, MediaKind::Video).frames[0];
        assert!(first.keyframe);
        assert!(first.at < connected + Duration::from_millis(200), "seed {seed}: {:?}", first.at - connected);
        world.run(1000);
        world.assert_sound();
    }
}

#[test]
fn red_is_stripped_for_legs_without_it() {
    let mut world =
        World::with(seed(4), [Page { red: true, ..Page::new() }, Page::new(), Page { red: true, ..Page::firefox() }]);
    world.run(3000);
    // A receiver without RED would find no payload type for it, and the marker check sees every byte.
    world.assert_sound();
    assert!(world.frames(1, 10, ZERO) > 120, "voice without RED");
    assert!(world.frames(0, 30, ZERO) > 120, "voice between legs that both have it");
}

#[test]
fn a_viewer_without_the_codec_is_told_and_still_hears() {
    let old = Page { formats: vec![Format::Opus, Format::H264], camera: None, ..Page::new() };
    let mut world = World::with(seed(5), [Page::new().camera(Format::Vp8), old]);
    world.run(3000);
    world.assert_sound();
    assert_eq!(world.frames(1, 11, ZERO), 0);
    assert!(world.frames(1, 10, ZERO) > 120);
    let (_, stage) = world.stages[&world.people[1].leg].last().expect("a stage");
    assert!(stage.iter().any(|shown| shown.seat == SeatId(1) && shown.codec_missing));
}

#[test]
fn a_muted_camera_comes_back_without_a_jump() {
    let mut world = World::with(seed(6), [Page::new(), Page::new()]);
    world.run(3000);
    world.people[0].publisher(Source::Camera).muted = true;
    world.run(4000);
    world.people[0].publisher(Source::Camera).muted = false;
    let back = world.elapsed();
    world.run(3000);
    world.assert_sound();
    assert!(world.frames(1, 11, back) > 20);
}

#[test]
fn a_shared_screen_takes_a_slot_of_its_own_and_gives_it_back() {
    let mut world = World::with(seed(7), [Page { screen: Some(Format::Vp8), ..Page::new() }, Page::new()]);
    world.people[0].publisher(Source::Screen).muted = true;
    world.run(2000);
    let shared = |world: &World| {
        let (_, stage) = world.stages[&world.people[1].leg].last().expect("a stage");
        stage.iter().any(|shown| shown.source == Source::Screen)
    };
    assert!(!shared(&world));
    world.people[0].publisher(Source::Screen).muted = false;
    world.run(3000);
    assert!(shared(&world));
    assert!(world.frames(1, 12, ZERO) > 40);
    world.people[0].publisher(Source::Screen).muted = true;
    assert!(world.run_until(10_000, |world| !shared(world)), "the slot is given back");
    world.assert_sound();
}

#[test]
fn data_channel_messages_are_relayed_and_stamped() {
    for (seed, link) in [(8, Link::GOOD), (9, Link::losing(0.1))] {
        let page = || Page { data: true, ..Page::new() }.link(link);
        let mut world = World::with(seed, [page(), page(), page()]);
        let open = |world: &World| world.people.iter().all(|person| person.data.as_ref().is_some_and(|data| data.open));
        assert!(world.run_until(20_000, open), "channels open, seed {seed}");
        let say = |world: &mut World, text: &str| world.people[0].data.as_mut().expect("a channel").send(text);
        say(&mut world, r#"{"kind":"chat","body":{"text":"bonjour"}}"#);
        say(&mut world, r#"{"kind":"pointer","to":"seat_3","body":[0.5,0.25]}"#);
        say(&mut world, r#"{"from":"seat_2","kind":"chat","body":1}"#);
        world.run(10_000);
        let received = |at: usize| world.people[at].data.as_ref().expect("a channel").received.clone();
        let chat = r#"{"from":"seat_1","kind":"chat","body":{"text":"bonjour"}}"#;
        assert_eq!(received(0), [""; 0], "nobody hears himself");
        assert_eq!(received(1), [chat]);
        assert_eq!(received(2), [chat, r#"{"from":"seat_1","kind":"pointer","body":[0.5,0.25]}"#]);
        world.assert_sound();
    }
}

#[test]
fn before_admission_no_packet_leaves() {
    let waiting = Page { policy: colloque::sfu::command::SeatPolicy::default(), ..Page::new() };
    let mut world = World::with(seed(10), [Page::new(), waiting]);
    world.run(4000);
    assert!(world.people.iter().all(|person| person.connected_at.is_some()));
    assert_eq!(world.people[0].rtp_heard, 0, "what the waiting seat sends");
    assert_eq!(world.people[1].rtp_heard, 0, "what others send");
    assert!(world.sfu.counters().drops(colloque::drops::DropReason::NotPermitted) > 100);
    let admitted = world.elapsed();
    world.set_policy(SeatId(2), colloque::sfu::command::SeatPolicy::ALL);
    let both = |world: &World| world.sees_and_hears(0, 2, admitted) && world.sees_and_hears(1, 1, admitted);
    assert!(world.run_until(1000, both), "after admission");
    world.run(1000);
    world.assert_sound();
}

#[test]
fn a_revoked_publisher_is_cut_at_the_next_packet() {
    let mut world = World::with(seed(11), [Page::new(), Page::new()]);
    world.run(3000);
    let policy = colloque::sfu::command::SeatPolicy { camera: false, ..colloque::sfu::command::SeatPolicy::ALL };
    let forwarded = world.people[1].receiver(0, MediaKind::Video).packets;
    world.set_policy(SeatId(1), policy);
    world.run(2000);
    let after = world.people[1].receiver(0, MediaKind::Video).packets;
    // One way of the network was full of what had been forwarded before.
    assert!(after - forwarded <= 12, "{} packets after the cut", after - forwarded);
    assert_eq!(world.frames(1, 11, Duration::from_millis(3100)), 0);
    assert!(world.frames(1, 10, Duration::from_millis(3100)) > 80, "the voice goes on");
    let ended = |event: &Event| matches!(event, Event::TrackEnded { source: Source::Camera, .. });
    assert_eq!(world.events_of(ended), 1);
    world.set_policy(SeatId(1), colloque::sfu::command::SeatPolicy::ALL);
    let back = world.elapsed();
    assert!(world.run_until(1500, |world| world.frames(1, 11, back) > 5), "and again when allowed");
    world.assert_sound();
}
