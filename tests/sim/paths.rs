//! Networks that change, fail and come back under a call.

use std::time::Duration;

use colloque::drops::DropReason;
use colloque::ids::SeatId;
use colloque::rtp::codec::MediaKind;
use colloque::sfu::command::Event;
use colloque::transport::parameters::Fingerprint;

use super::network::Link;
use super::world::{GRACE, Page, World, address, seed, seeds};

#[test]
fn path_change_keeps_the_call() {
    for seed in seeds(0..5) {
        let mut world = World::with(seed, [Page::new(), Page::new()]);
        world.run(3000);
        let old = world.people[0].address;
        world.move_to(0, ([192, 0, 2, 9], 61_000).into());
        let moved = world.elapsed();
        world.run(1500);
        assert!(world.sees_and_hears(0, 2, moved) && world.sees_and_hears(1, 1, moved), "seed {seed}");
        let to_old = world.sent_to[&old];
        world.run(1500);
        assert_eq!(world.sent_to[&old], to_old, "nothing goes to the address that was left, seed {seed}");
        assert_eq!(world.sfu.counters().path_changes, 1);
        assert_eq!(world.events_of(|event| matches!(event, Event::LegConnected { .. })), 2);
        world.assert_sound();
    }
}

#[test]
fn twenty_second_outage_resumes() {
    for seed in seeds(0..4) {
        let mut world = World::with(seed, [Page::new(), Page::new().simulcast()]);
        world.run(3000);
        let cut = Link { up: false, ..Link::GOOD };
        (world.people[0].up, world.people[0].down) = (cut, cut);
        world.run(10_000);
        let leg = world.people[0].leg;
        let quiet = |event: &Event| matches!(event, Event::LegQuiet { leg: of, .. } if *of == leg);
        assert_eq!(world.events_of(quiet), 1, "others are told within 10 s, seed {seed}");
        world.run(10_000);
        (world.people[0].up, world.people[0].down) = (Link::GOOD, Link::GOOD);
        let back = world.elapsed();
        let both = |world: &World| world.sees_and_hears(0, 2, back) && world.sees_and_hears(1, 1, back);
        assert!(world.run_until(1500, both), "back within 1.5 s, seed {seed}");
        world.run(2000);
        assert_eq!(world.events_of(|event| matches!(event, Event::LegHeard(of) if *of == leg)), 1);
        world.assert_sound();
        assert_eq!(world.events_of(|event| matches!(event, Event::LegSilent(_) | Event::LegGone(_))), 0);
    }
}

#[test]
fn consent_loss_stops_egress_and_comes_back() {
    for seed in seeds(0..3) {
        let mut world = World::with(seed, [Page::new(), Page::new()]);
        world.run(3000);
        world.people[0].up.up = false;
        world.run(31_000);
        let leg = world.people[0].leg;
        assert_eq!(world.events_of(|event| matches!(event, Event::LegSilent(gone) if *gone == leg)), 1);
        let sent = world.sent_to[&address(0)];
        world.run(5000);
        assert_eq!(world.sent_to[&address(0)], sent, "nothing is sent without consent, seed {seed}");
        world.people[0].up.up = true;
        let back = world.elapsed();
        let both = |world: &World| world.sees_and_hears(0, 2, back) && world.sees_and_hears(1, 1, back);
        assert!(world.run_until(2000, both), "seed {seed}");
        assert_eq!(world.events_of(|event| matches!(event, Event::LegBack(same) if *same == leg)), 1);
        world.run(1000);
        world.assert_sound();
    }
}

#[test]
fn silent_beyond_grace_is_gone() {
    let mut world = World::with(seed(4), [Page::viewer(), Page::new()]);
    world.run(2000);
    world.people[1].dead = true;
    let leg = world.people[1].leg;
    let gone = |world: &World| world.events_of(|event| matches!(event, Event::LegGone(gone) if *gone == leg)) == 1;
    assert!(!world.run_until(30_000 + GRACE.as_millis() as u64 - 5000, gone), "kept for the grace period");
    assert!(world.run_until(10_000, gone));
    let counters = world.sfu.counters();
    assert_eq!((counters.legs, counters.tracks), (1, 0));
    assert!(world.stages[&world.people[0].leg].last().expect("a stage").1.is_empty());
}

#[test]
fn a_leg_that_says_goodbye_is_gone_at_once() {
    let mut world = World::with(seed(5), [Page::new(), Page::new()]);
    world.run(2000);
    world.people[1].close();
    world.run(100);
    let leg = world.people[1].leg;
    assert_eq!(world.events_of(|event| matches!(event, Event::LegGone(gone) if *gone == leg)), 1);
    assert_eq!(world.sfu.counters().legs, 1);
}

#[test]
fn a_leg_that_never_connects_is_gone() {
    let mut world = World::with(seed(6), [Page::new()]);
    world.people[0].dead = true;
    world.run(32_000);
    assert_eq!(world.events_of(|event| matches!(event, Event::LegGone(_))), 1);
    assert_eq!(world.sfu.counters().legs, 0);
}

#[test]
fn ice_restart_keeps_the_leg() {
    for seed in seeds(0..3) {
        let mut world = World::with(seed, [Page::new(), Page::new()]);
        world.run(3000);
        let mine = world.people[0].fingerprint();
        // Another certificate is another device: refused.
        world.sfu.handle_command(
            world.now,
            colloque::sfu::command::Command::RestartIce {
                leg: world.people[0].leg,
                local: world.people[1].credentials(),
                remote: world.people[1].credentials(),
                remote_fingerprint: Fingerprint::Sha256([1; 32]),
            },
        );
        world.run(500);
        world.restart_ice(0, mine);
        world.move_to(0, ([192, 0, 2, 77], 5555).into());
        let restarted = world.elapsed();
        world.run(1500);
        assert!(world.sees_and_hears(0, 2, restarted) && world.sees_and_hears(1, 1, restarted), "seed {seed}");
        assert_eq!(world.events_of(|event| matches!(event, Event::LegConnected { .. })), 2, "no new handshake");
        let receiver = world.people[1].receiver(0, MediaKind::Video);
        assert_eq!(receiver.freezes, 0);
        world.assert_sound();
    }
}

#[test]
fn reload_replaces_the_old_leg() {
    for seed in seeds(0..3) {
        let mut world = World::with(seed, [Page::new(), Page::new()]);
        world.run(3000);
        world.remove(0);
        let fresh = world.add_leg(SeatId(1), Page::new());
        let reloaded = world.elapsed();
        let both = |world: &World| world.sees_and_hears(fresh, 2, reloaded) && world.sees_and_hears(1, 1, reloaded);
        assert!(world.run_until(1500, both), "seed {seed}");
        world.run(1000);
        assert_eq!(world.slot_of(1, SeatId(1)), Some(0), "on the slot that it had");
        assert_eq!(world.sfu.counters().legs, 2);
        world.assert_sound();
    }
}

#[test]
fn a_second_leg_of_a_seat_adds_nothing_that_is_seen_twice() {
    let mut world = World::with(seed(9), [Page::new(), Page::new()]);
    world.run(2000);
    let device = world.add_leg(SeatId(1), Page { voice: false, ..Page::new() });
    world.run(3000);
    world.assert_sound();
    assert!(world.frames(device, 21, Duration::ZERO) > 20, "each leg receives");
    assert_eq!(
        world.frames(device, 10, Duration::ZERO) + world.frames(0, 11, Duration::ZERO),
        0,
        "nobody sees himself"
    );
    let (_, stage) = world.stages[&world.people[1].leg].last().expect("a stage");
    assert_eq!(stage.len(), 1);
}

/// A member's own check is valid whatever address stands on it. Written with somebody else's, it took that address over
/// until its owner's next check, seconds later.
#[test]
fn a_member_who_forges_an_address_does_not_take_it_from_who_talks_there() {
    for seed in seeds(30..33) {
        let mut world = World::with(seed, [Page::new(), Page::new(), Page::new()]);
        world.run(3000);
        let victim = world.people[1].address;
        // The forger's checks go nowhere else, so that they are fresh.
        world.people[0].up.up = false;
        world.overheard = Some(Vec::new());
        let begun = world.elapsed();
        for _ in 0..30 {
            world.run(100);
            for mut bytes in world.overheard.replace(Vec::new()).unwrap_or_default() {
                if bytes[0] < 4 {
                    assert_eq!(world.inject(victim, &mut bytes), 0, "no answer, seed {seed}");
                }
            }
        }
        let counters = world.sfu.counters();
        assert!(counters.drops(DropReason::StunAddressTaken) > 0, "seed {seed}");
        assert_eq!(counters.drops(DropReason::SrtpAuth), 0, "seed {seed}");
        assert!(world.frames(2, 20, begun) > 140, "the victim's voice goes on, seed {seed}");
        assert!(world.frames(2, 21, begun) > 50, "and the picture, seed {seed}");
        assert!(world.frames(1, 30, begun) > 140, "the victim hears, seed {seed}");
        world.assert_sound();
    }
}

#[test]
fn an_address_whose_leg_fell_silent_is_the_next_ones() {
    let mut world = World::with(seed(34), [Page::new(), Page::new()]);
    world.run(3000);
    let address = world.people[0].address;
    world.people[0].dead = true;
    world.run(500);
    let next = world.join(Page::new());
    world.move_to(next, address);
    let hears = |world: &World| world.sees_and_hears(1, 3, Duration::ZERO);
    assert!(!world.run_until(2000, hears), "the leg before may be back any moment");
    assert!(world.run_until(12_000, hears), "it is not");
    world.assert_sound();
}
