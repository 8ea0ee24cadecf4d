//! Telephones in a room: legs within the server's process. They are heard by pages and hear them, as permissions say on
//! each packet, and never more than three at once.

use std::time::Duration;

use colloque::drops::DropReason;
use colloque::ids::{LegId, SeatId};
use colloque::rtp::codec::{MediaKind, Source};
use colloque::sfu::command::{Command, Event, SeatPolicy};

use super::network::Link;
use super::phone;
use super::world::{Page, ROOM, World, seed, seeds};

const ZERO: Duration = Duration::ZERO;
const PHONE_SEAT: SeatId = SeatId(50);
const PHONE: u32 = 505;

/// Pages in seats 1, 2, … and a telephone in a seat of its own.
fn call(seed: u64, pages: impl IntoIterator<Item = Page>) -> World {
    let mut world = World::with(seed, pages);
    world.set_policy(PHONE_SEAT, SeatPolicy::ALL);
    world.add_phone(PHONE_SEAT);
    world
}

/// What the first person and the telephone have heard of each other so far.
fn heard(world: &World) -> (u64, u64) {
    let of_phone = world.people[0].heard_of.get(&PHONE).copied().unwrap_or(0);
    (of_phone, world.phones[0].heard(10))
}

#[test]
fn a_page_and_a_telephone_hear_each_other_and_nothing_else_crosses() {
    for seed in seeds(0..6) {
        let mut world = call(seed, [Page::new().link(Link::rough())]);
        world.run(6000);
        world.assert_sound();
        let voice = world.frames(0, PHONE, ZERO);
        let (_, page_heard) = heard(&world);
        assert!(voice > 200 && page_heard > 200, "{voice} of the telephone, {page_heard} of the page, seed {seed}");
        assert_eq!(world.people[0].receiver(0, MediaKind::Audio).level, Some(60), "seed {seed}");
        let phone = &world.phones[0];
        assert_eq!(phone.levels[&10], Some(60));
        let others: u64 = phone.heard_of.values().sum();
        assert_eq!(others, page_heard, "no picture, and not its own voice: {:?}", phone.heard_of);
        let started = |event: &Event| {
            matches!(event, Event::TrackStarted { seat, leg, source: Source::Microphone, .. }
                if (*seat, *leg) == (PHONE_SEAT, LegId(200)))
        };
        assert_eq!(world.events_of(started), 1);
        assert_eq!(world.sfu.counters().legs_local, 1);
    }
}

#[test]
fn sender_reports_of_a_telephones_voice_tell_when_it_was_spoken() {
    let mut world = call(seed(1), [Page::new()]);
    world.run(8000);
    let receiver = world.people[0].receiver(0, MediaKind::Audio);
    let (ntp, rtp) = receiver.clock.expect("a sender report");
    let latest = receiver.frames_of(PHONE).last().expect("a voice");
    // The world's NTP time of its start; the simulation counts in microseconds from there.
    let start = 0xe8a1_0000_0000_0000_u64 + (world.seed << 20);
    let reported_micros = ((u128::from(ntp - start) * 1_000_000) >> 32) as i64;
    let ticks = i64::from(latest.timestamp.wrapping_sub(rtp) as i32);
    let spoken_micros = reported_micros + ticks * 1000 / 48;
    let error = spoken_micros - latest.captured as i64;
    assert!(error.abs() < 10_000, "the report is {error} µs from the truth");
}

#[test]
fn redundant_voices_reach_a_telephone_without_their_redundancy() {
    let mut world = call(seed(2), [Page { red: true, ..Page::new() }]);
    world.run(4000);
    world.assert_sound();
    let marked = world.phones[0].receivers.iter().flat_map(|receiver| receiver.frames_of(10)).count();
    assert!(marked > 100, "{marked} frames");
    assert!(heard(&world).1 > 100);
}

#[test]
fn before_admission_nothing_crosses_in_either_direction() {
    for seed in seeds(3..6) {
        let mut world = World::with(seed, [Page::new()]);
        world.set_policy(PHONE_SEAT, SeatPolicy::default());
        world.add_phone(PHONE_SEAT);
        world.run(4000);
        assert_eq!(heard(&world), (0, 0), "seed {seed}");
        let refused = world.sfu.counters().drops(DropReason::NotPermitted);
        assert!(refused > 150, "{refused} frames were refused");
        let admitted = world.elapsed();
        world.set_policy(PHONE_SEAT, SeatPolicy::ALL);
        let both = |world: &World| world.frames(0, PHONE, admitted) > 5 && heard(world).1 > 5;
        assert!(world.run_until(1000, both), "seed {seed}");
        world.assert_sound();
    }
}

/// Each right alone: whose policy, which, and what stops: the page hearing the telephone, the telephone hearing the page.
#[test]
fn a_right_that_is_taken_away_stops_a_telephone_within_200_ms() {
    let all = SeatPolicy::ALL;
    let silent = SeatPolicy { microphone: false, ..all };
    let deaf = SeatPolicy { hear: false, ..all };
    let aside = SeatPolicy::default();
    let cases = [
        (PHONE_SEAT, silent, (true, false)),
        (PHONE_SEAT, deaf, (false, true)),
        (PHONE_SEAT, aside, (true, true)),
        (SeatId(1), silent, (false, true)),
        (SeatId(1), deaf, (true, false)),
    ];
    for (seat, policy, stops) in cases {
        let mut world = call(seed(7), [Page::new().link(Link { loss: 0.05, ..Link::rough() })]);
        world.run(4000);
        let flowing = heard(&world);
        assert!(flowing.0 > 50 && flowing.1 > 50, "{flowing:?}");
        world.set_policy(seat, policy);
        world.run(200);
        let cut = heard(&world);
        world.run(2000);
        let later = heard(&world);
        assert_eq!((later.0 == cut.0, later.1 == cut.1), stops, "{policy:?} of {seat}: {cut:?}, later {later:?}");
        world.set_policy(seat, all);
        let back = world.elapsed();
        let again = |world: &World| world.frames(0, PHONE, back) > 5 && heard(world).1 > later.1 + 5;
        assert!(world.run_until(3000, again), "{policy:?} of {seat}: given back");
        world.assert_sound();
    }
}

#[test]
fn a_telephone_hears_the_three_loudest_of_five() {
    for seed in seeds(8..11) {
        let voices = || (0..5).map(|_| Page { camera: None, ..Page::new() });
        let mut world = call(seed, voices());
        for (person, level) in [100, 20, 95, 25, 30].into_iter().enumerate() {
            world.people[person].publisher(Source::Microphone).level = level;
        }
        world.run(5000);
        let counts = |world: &World| [10, 20, 30, 40, 50].map(|publisher| world.phones[0].heard(publisher));
        let before = counts(&world);
        world.run(2000);
        let after = counts(&world);
        let heard: Vec<bool> = before.iter().zip(after).map(|(before, after)| after > before + 90).collect();
        assert_eq!(heard, [false, true, false, true, true], "{before:?} {after:?}, seed {seed}");
        let sum: u64 = after.iter().sum::<u64>() - before.iter().sum::<u64>();
        assert!(sum <= 3 * 101, "{sum} frames of at most three voices");

        // The first one raises his voice: heard at once, in place of the softest.
        world.people[0].publisher(Source::Microphone).level = 10;
        world.run(300);
        assert!(world.phones[0].heard(10) > after[0] + 5, "seed {seed}");
        // And one who falls silent gives his place to whoever speaks on, however softly.
        world.people[1].publisher(Source::Microphone).muted = true;
        let soft = world.phones[0].heard(30) + world.phones[0].heard(50);
        world.run(1500);
        assert!(world.phones[0].heard(30) + world.phones[0].heard(50) > soft + 40, "seed {seed}");
        world.assert_sound();
    }
}

#[test]
fn two_telephones_hear_each_other_and_never_themselves() {
    let mut world = call(seed(12), [Page::new()]);
    world.set_policy(SeatId(60), SeatPolicy::ALL);
    world.add_phone(SeatId(60));
    world.run(5000);
    world.assert_sound();
    let heard = |phone: usize| {
        let mut heard: Vec<u32> = world.phones[phone].heard_of.keys().copied().collect();
        heard.sort_unstable();
        heard
    };
    assert_eq!((heard(0), heard(1)), (vec![10, 605], vec![10, 505]));
    assert!(world.frames(0, 505, ZERO) > 150 && world.frames(0, 605, ZERO) > 150);
}

#[test]
fn a_telephone_becomes_the_active_speaker() {
    let mut world = call(seed(13), [Page::new(), Page::new()]);
    world.people[0].publisher(Source::Microphone).level = 120;
    world.people[1].publisher(Source::Microphone).level = 120;
    world.phones[0].voice.level = 20;
    world.run(3000);
    let spoke = |event: &Event| matches!(event, Event::SpeakerChanged { seat: Some(seat), .. } if *seat == PHONE_SEAT);
    assert_eq!(world.events_of(spoke), 1);
}

#[test]
fn a_seat_with_a_telephone_speaks_and_hears_by_it_alone_and_keeps_its_picture() {
    for seed in seeds(14..17) {
        let mut world = World::with(seed, [Page::new(), Page::new()]);
        world.run(4000);
        let page = |world: &World| {
            let voice =
                |person: usize, publisher: u32| world.people[person].heard_of.get(&publisher).copied().unwrap_or(0);
            [voice(1, 20).max(voice(0, 20)), voice(1, 10)]
        };
        let [spoken, heard] = page(&world);
        assert!(spoken > 50 && heard > 50);
        let phone = world.add_phone(SeatId(2));
        let dual = world.elapsed();
        world.run(200);
        let cut = page(&world);
        let alone = world.phones[phone].heard(10);
        world.run(3000);
        assert_eq!(page(&world), cut, "the page is silent and deaf, seed {seed}");
        assert!(world.phones[phone].heard(10) > alone + 100, "seed {seed}");
        assert!(world.frames(0, 25, dual) > 100, "seed {seed}");
        assert!(world.frames(0, 21, dual) > 40 && world.frames(1, 11, dual) > 40, "pictures go on, seed {seed}");
        assert_eq!(world.slot_of(0, SeatId(2)), Some(0), "one person on one slot");
        assert_eq!(world.phones[phone].heard(20), 0, "it does not hear its own page");

        world.sfu.handle_command(world.now, Command::RemoveLeg(world.phones[phone].leg));
        let back = world.elapsed();
        let again = |world: &World| world.frames(0, 20, back) > 5 && world.frames(1, 10, back) > 5;
        assert!(world.run_until(1000, again), "seed {seed}");
        world.assert_sound();
    }
}

#[test]
fn a_removed_telephone_leaves_nothing_behind() {
    let mut world = call(seed(18), [Page::new()]);
    world.run(3000);
    world.sfu.handle_command(world.now, Command::RemoveLeg(world.phones[0].leg));
    world.run(200);
    let cut = heard(&world);
    world.run(1000);
    assert_eq!(heard(&world), cut);
    assert!(world.sfu.counters().drops(DropReason::LocalLegGone) > 40);
    assert_eq!(world.sfu.counters().legs_local, 0);
    assert_eq!(world.slot_of(0, PHONE_SEAT), None);
    assert_eq!(world.events_of(|event| matches!(event, Event::LegGone(_))), 0, "somebody asked for it");
    world.add_phone(PHONE_SEAT);
    let back = world.elapsed();
    assert!(world.run_until(1000, |world| world.frames(0, PHONE, back) > 5), "and it may come again");
    world.assert_sound();
}

#[test]
fn a_telephone_ends_with_its_room() {
    let mut world = call(seed(19), [Page::new()]);
    world.run(2000);
    world.sfu.handle_command(world.now, Command::CloseRoom(ROOM));
    assert!(!world.sfu.has_local_leg(world.phones[0].leg));
    let cut = heard(&world).1;
    world.run(500);
    assert_eq!(heard(&world).1, cut);
}

#[test]
fn a_telephone_whose_thread_is_gone_is_told_and_gone() {
    let mut world = call(seed(20), [Page::new()]);
    world.run(2000);
    let leg = world.phones[0].leg;
    world.sfu.handle_local_end(world.now, leg);
    world.run(200);
    assert_eq!(world.events_of(|event| matches!(event, Event::LegGone(gone) if *gone == leg)), 1);
    let ended = |event: &Event| matches!(event, Event::TrackEnded { seat, .. } if *seat == PHONE_SEAT);
    assert_eq!(world.events_of(ended), 1);
    assert!(!world.sfu.has_local_leg(leg));
}

#[test]
fn a_telephone_without_a_seat_is_refused_and_told() {
    let mut world = World::with(seed(21), [Page::new()]);
    let phone = world.add_phone(PHONE_SEAT);
    world.run(100);
    let leg = world.phones[phone].leg;
    assert_eq!(world.events_of(|event| matches!(event, Event::LegGone(gone) if *gone == leg)), 1);
    assert!(!world.sfu.has_local_leg(leg));
}

/// A room that its worker does not know was passed over in silence: the telephone would have waited for its sound for ever.
#[test]
fn a_telephone_without_a_room_is_refused_and_told() {
    let mut world = World::with(seed(24), [Page::new()]);
    let (room, seat, leg) = (colloque::ids::RoomId(9_999), colloque::ids::SeatId(1), LegId(9_999));
    world.sfu.handle_command(world.now, Command::AddLocalLeg { room, seat, leg });
    world.run(100);
    assert_eq!(world.events_of(|event| matches!(event, Event::LegGone(gone) if *gone == leg)), 1);
    assert!(!world.sfu.has_local_leg(leg));
}

#[test]
fn what_listeners_lose_is_known() {
    let mut world = call(seed(22), [Page::new(), Page::new().link(Link { loss: 0.2, ..Link::GOOD })]);
    let leg = world.phones[0].leg;
    assert_eq!(world.sfu.listeners_loss(leg), 0.0);
    world.run(8000);
    let loss = world.sfu.listeners_loss(leg);
    assert!((0.03..0.5).contains(&loss), "{loss}: the worst of both");
    assert_eq!(world.sfu.listeners_loss(LegId(9999)), 0.0);
}

#[test]
fn a_frame_that_is_no_opus_packet_is_dropped_and_counted() {
    let mut world = call(seed(23), [Page::new()]);
    world.run(1000);
    let leg = world.phones[0].leg;
    let said = loop {
        let said = world.phones[0].poll(world.start, world.now);
        match said.into_iter().next() {
            Some(plain) => break plain,
            None => world.now += Duration::from_millis(1),
        }
    };
    let frame = phone::frame(&said);
    let mut batch = colloque::transport::batch::TransmitBatch::new(64 << 10, 16);
    for payload in [&[][..], &[0; 1276]] {
        let frame = colloque::transport::local::UplinkFrame { payload, ..frame };
        world.sfu.handle_local(world.now, leg, &frame, &mut batch);
    }
    assert_eq!(world.sfu.counters().drops(DropReason::LocalFrameLength), 2);
}
