//! Rooms of many, and slots that change hands: the right other on every slot, lips in sync.

use std::time::Duration;

use colloque::ids::SeatId;
use colloque::rtp::codec::{MediaKind, Source};
use colloque::sfu::command::Event;
use colloque::sfu::parameters::SlotRole;

use super::network::Link;
use super::wire::Format;
use super::world::{Page, World, seed, seeds};

#[test]
fn fifty_seats_in_a_room() {
    let formats = || vec![Format::Opus, Format::Vp8];
    let mut world = World::new(seed(1));
    for seat in 1..=50 {
        let camera = (seat <= 4).then_some((Format::Vp8, seat <= 2));
        world.join(Page {
            camera,
            formats: formats(),
            ..Page::new().slots(9).link(Link { jitter: Duration::from_millis(4), ..Link::GOOD })
        });
    }
    world.run(4000);
    world.assert_sound();
    for viewer in 0..50 {
        let (_, stage) = world.stages[&world.people[viewer].leg].last().expect("a stage");
        assert_eq!(stage.len(), 9, "every slot is in use");
        let own = world.people[viewer].seat;
        let mut seats: Vec<SeatId> = stage.iter().map(|shown| shown.seat).collect();
        seats.sort_unstable();
        seats.dedup();
        assert!(seats.len() == 9 && !seats.contains(&own), "nobody twice, nobody himself");
        for shown in stage {
            let id = shown.seat.0 as u32 * 10;
            let voice = world.frames(viewer, id, Duration::from_secs(2));
            assert!(voice > 80, "{voice} voice frames of {} at {viewer}", shown.seat);
            let pictures = world.frames(viewer, id + 1, Duration::from_secs(2));
            assert_eq!(pictures > 30, shown.seat.0 <= 4, "{pictures} pictures of {} at {viewer}", shown.seat);
        }
    }
}

#[test]
fn one_publisher_reaches_forty_nine_viewers() {
    let mut world = World::with(seed(2), [Page::new()]);
    for at in 0..49 {
        let page = if at % 2 == 0 { Page::viewer() } else { Page { voice: false, camera: None, ..Page::firefox() } };
        world.join(page.slots(1).link(Link::losing(0.01)));
    }
    world.run(4000);
    world.assert_sound();
    for viewer in 1..50 {
        let receiver = world.people[viewer].receiver(0, MediaKind::Video);
        assert_eq!((receiver.holes, receiver.freezes), (0, 0));
        assert!(world.frames(viewer, 11, Duration::from_secs(1)) > 50, "viewer {viewer}");
    }
}

/// What a sender report says a capture's NTP time is, minus the truth, in milliseconds.
fn clock_error(world: &World, viewer: usize, slot: u16, kind: MediaKind) -> f64 {
    let receiver = world.people[viewer].receiver(slot, kind);
    let (ntp, rtp) = receiver.clock.expect("a sender report");
    let seen = receiver.frames.last().expect("a frame");
    let rate = if kind == MediaKind::Audio { 48.0 } else { 90.0 };
    let since = f64::from(seen.timestamp.wrapping_sub(rtp) as i32) / rate;
    // Only differences count: the low bits hold centuries of milliseconds apart.
    let millis = (ntp & 0xffff_ffff_ffff) as f64 / f64::from(1u32 << 16) / 65.536;
    millis + since - seen.captured as f64 / 1000.0
}

#[test]
fn remap_keeps_numbers_and_lips_in_sync() {
    for seed in seeds(0..5) {
        let quiet_link = Link { delay: Duration::from_millis(35), ..Link::rough() };
        let mut world = World::with(
            seed,
            [Page::viewer().slots(1), Page::new(), Page::firefox().link(quiet_link), Page::new().simulcast()],
        );
        world.run(3000);
        for speaker in [3, 2, 4, 3] {
            for person in 1..4 {
                let loud = person + 1 == speaker as usize;
                world.people[person].publisher(Source::Microphone).level = if loud { 12 } else { 110 };
            }
            let shown = world.run_until(5000, |world| world.slot_of(0, SeatId(speaker)) == Some(0));
            assert!(shown, "speaker {speaker} takes the slot, seed {seed}");
            let since = world.elapsed();
            let seen = world.run_until(1500, |world| world.sees_and_hears(0, speaker, since));
            assert!(seen, "speaker {speaker} is seen, seed {seed}");
            world.run(2500);
            let audio = clock_error(&world, 0, 0, MediaKind::Audio);
            let video = clock_error(&world, 0, 0, MediaKind::Video);
            assert!((audio - video).abs() < 80.0, "lips {:.0} ms apart, seed {seed}", audio - video);
        }
        assert!(world.events_of(|event| matches!(event, Event::SpeakerChanged { .. })) >= 4);
        world.assert_sound();
    }
}

#[test]
fn a_subscriber_of_the_active_speaker_follows_the_voice() {
    let device = Page { role: SlotRole::ActiveSpeaker, ..Page::viewer().slots(1) };
    let mut world = World::with(seed(7), [device, Page::new(), Page::new()]);
    world.run(2000);
    for speaker in [3, 2] {
        for person in 1..3 {
            let loud = person + 1 == speaker as usize;
            world.people[person].publisher(Source::Microphone).level = if loud { 12 } else { 110 };
        }
        let shown = world.run_until(5000, |world| world.slot_of(0, SeatId(speaker)) == Some(0));
        assert!(shown, "speaker {speaker}");
        world.run(1000);
    }
    world.assert_sound();
}

#[test]
fn seats_that_come_and_go_leave_the_others_alone() {
    for seed in seeds(20..23) {
        let mut world = World::with(seed, [Page::new(), Page::firefox()]);
        world.run(1500);
        for round in 0..4 {
            let guest = world.join(Page::new().simulcast());
            world.run(1200 + round * 77);
            assert!(world.frames(0, world.people[guest].seat.0 as u32 * 10 + 1, Duration::ZERO) > 5, "seed {seed}");
            world.remove(guest);
            world.run(300);
        }
        assert_eq!(world.sfu.counters().legs, 2);
        world.assert_sound();
        let between = world.people[0].receiver(0, MediaKind::Video);
        assert_eq!((between.holes, between.freezes), (0, 0));
    }
}

#[test]
fn of_a_crowd_that_comes_at_once_one_at_a_time_shakes_hands() {
    let crowd = 40;
    let mut world = World::new(seed(31));
    for _ in 0..crowd {
        world.join(Page::viewer().slots(1));
    }
    let connected = |world: &World| -> Vec<Duration> {
        let of_legs = world.events.iter().filter(|(_, event)| matches!(event, Event::LegConnected { .. }));
        of_legs.map(|&(at, _)| at).collect()
    };
    assert!(world.run_until(2_000, |world| connected(world).len() == crowd), "{}", connected(&world).len());
    // The world gives the server one turn a millisecond.
    let moments = connected(&world);
    assert!(moments.windows(2).all(|pair| pair[0] < pair[1]), "{moments:?}");
}
