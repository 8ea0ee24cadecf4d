//! Strangers and members who send anything: counters change, nothing else does.

use std::net::SocketAddr;

use colloque::drops::DropReason;
use colloque::ids::Ssrc;
use colloque::rtp::codec::MediaKind;
use colloque::rtp::demux::{Class, classify};
use colloque::sfu::Sfu;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::publisher::Plain;
use super::world::{Page, World, seed, seeds};

/// Bytes that look like something, with luck.
fn junk(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(0..300)];
    random.fill(&mut bytes[..]);
    if bytes.len() < 3 {
        return bytes;
    }
    match random.random_range(0..6) {
        0 => {
            bytes[0] = 0;
            let stun = [0, 1, 0, 40, 0x21, 0x12, 0xa4, 0x42];
            let len = stun.len().min(bytes.len());
            bytes[..len].copy_from_slice(&stun[..len]);
        }
        1 => bytes[0] = random.random_range(20..64),
        2 => bytes[0] = 0x80,
        3 => (bytes[0], bytes[1]) = (0x80, random.random_range(192..224)),
        4 => bytes[0] = 0x90,
        _ => {}
    }
    bytes
}

fn sizes(sfu: &Sfu) -> [u64; 4] {
    let counters = sfu.counters();
    [counters.rooms, counters.legs, counters.legs_connected, counters.tracks]
}

fn dropped(sfu: &Sfu) -> u64 {
    DropReason::ALL.iter().map(|&reason| sfu.counters().drops(reason)).sum()
}

#[test]
fn strangers_change_only_counters() {
    for seed in seeds(0..3) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::with(seed, [Page::new(), Page::new()]);
        world.run(3000);
        let (events, shape, before) = (world.events.len(), sizes(&world.sfu), dropped(&world.sfu));
        let member = world.people[0].address;
        for round in 0..200 {
            for _ in 0..100 {
                let remote: SocketAddr = match random.random_range(0..4) {
                    0 => member,
                    _ => (random.random::<[u8; 4]>(), random.random()).into(),
                };
                let answers = world.inject(remote, &mut junk(&mut random));
                assert_eq!(answers, 0, "junk is never answered, round {round}");
            }
            world.run(10);
        }
        assert_eq!(world.events.len(), events, "seed {seed}");
        assert_eq!(sizes(&world.sfu), shape);
        assert_eq!(dropped(&world.sfu) - before, 20_000, "each is counted once, seed {seed}");
        world.run(1000);
        world.assert_sound();
        for viewer in 0..2 {
            let receiver = world.people[viewer].receiver(0, MediaKind::Video);
            assert_eq!((receiver.holes, receiver.freezes), (0, 0), "seed {seed}");
        }
    }
}

/// The checks of a replay carry a valid integrity and its media a valid tag: only where they come from, and that they
/// came before, tells them from the call's own.
#[test]
fn what_was_overheard_changes_only_counters_when_it_is_sent_again() {
    for seed in seeds(0..3) {
        let mut world = World::new(seed);
        world.overheard = Some(Vec::new());
        world.join(Page::new());
        world.join(Page::new());
        world.run(4000);
        let overheard = world.overheard.take().expect("an eavesdropper");
        // What was under way to the server is there before it is sent again.
        world.run(200);
        let (events, shape) = (world.events.len(), sizes(&world.sfu));
        let drops = |world: &World, reason| world.sfu.counters().drops(reason);
        let count = |class| overheard.iter().filter(|bytes| classify(bytes) == Some(class)).count() as u64;
        let (checks, secured) = (count(Class::Stun), overheard.len() as u64 - count(Class::Stun));
        let media = count(Class::Rtp) + count(Class::Rtcp);
        assert!(checks >= 2 && count(Class::Dtls) >= 2 && count(Class::Rtcp) > 10 && count(Class::Rtp) > 300);

        let stranger: SocketAddr = ([192, 0, 2, 66], 6666).into();
        for bytes in &overheard {
            assert_eq!(world.inject(stranger, &mut bytes.clone()), 0, "strangers get no answer");
        }
        assert_eq!(drops(&world, DropReason::StunReplay), checks);
        assert_eq!(drops(&world, DropReason::UnknownAddress), secured);
        assert_eq!(drops(&world, DropReason::SrtpReplay), 0);

        let own = world.people[0].address;
        for bytes in &overheard {
            world.inject(own, &mut bytes.clone());
        }
        assert_eq!(drops(&world, DropReason::SrtpReplay), media, "each packet once, seed {seed}");
        assert_eq!(drops(&world, DropReason::StunReplay), checks, "a repeated check is answered");

        world.run(2000);
        assert_eq!(world.events.len(), events, "seed {seed}");
        assert_eq!((sizes(&world.sfu), world.sfu.counters().path_changes), (shape, 0));
        assert!(!world.sent_to.contains_key(&stranger), "nothing ever went to the stranger");
        world.assert_sound();
        for viewer in 0..2 {
            let receiver = world.people[viewer].receiver(0, MediaKind::Video);
            assert_eq!((receiver.holes, receiver.freezes), (0, 0), "seed {seed}");
        }
    }
}

#[test]
fn what_a_member_seals_may_be_anything() {
    for seed in seeds(10..13) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::with(seed, [Page::new().simulcast(), Page::new(), Page::new()]);
        world.run(3000);
        let ssrcs: Vec<Ssrc> = world.people[2].publishers.iter().flat_map(|p| &p.layers).map(|l| l.ssrc).collect();
        for _ in 0..4000 {
            let now = world.now;
            let mut payload = vec![0; random.random_range(0..200)];
            random.fill(&mut payload[..]);
            let known = random.random_bool(0.5);
            let ssrc = if known { ssrcs[random.random_range(0..ssrcs.len())] } else { Ssrc(random.random()) };
            let plain = Plain {
                ssrc,
                seq: random.random_range(0..1 << 17),
                timestamp: random.random(),
                marker: random.random(),
                repair: false,
                red: false,
                rid: random.random_bool(0.2).then_some("f"),
                descriptor: random.random_bool(0.3).then(|| vec![random.random(); random.random_range(1..16)]),
                level: Some(random.random_range(0..128)),
                payload,
            };
            let person = &mut world.people[2];
            if person.dead {
                break;
            }
            match random.random_range(0..3) {
                0 => {
                    let media = world.people[2].receivers[random.random_range(0..6)].ssrc;
                    let lost: Vec<u16> = (0..50).map(|_| random.random()).collect();
                    world.people[2].send_rtcp(|writer| writer.nack(Ssrc(1), media, lost));
                }
                _ => {
                    let section = random.random_range(0..2);
                    person.send_plain(now, section, &plain);
                }
            }
            world.run(1);
        }
        world.run(2000);
        assert_eq!(world.misplaced, [""; 0]);
        // The two others see and hear each other as if nothing had happened.
        for (viewer, other) in [(0, 2), (1, 1)] {
            let slot = world.slot_of(viewer, colloque::ids::SeatId(other)).expect("a slot");
            for kind in [MediaKind::Audio, MediaKind::Video] {
                let receiver = world.people[viewer].receiver(slot, kind);
                assert_eq!(receiver.faults, [""; 0], "seed {seed}");
                assert_eq!((receiver.holes, receiver.freezes), (0, 0), "seed {seed}");
            }
        }
    }
}

#[test]
fn rtp_only_from_permitted_sources() {
    let policy = colloque::sfu::command::SeatPolicy {
        microphone: true,
        camera: false,
        screen: false,
        ..colloque::sfu::command::SeatPolicy::ALL
    };
    let mut world = World::with(seed(20), [Page { policy, ..Page::new() }, Page::new()]);
    world.run(3000);
    assert!(world.frames(1, 10, std::time::Duration::ZERO) > 100, "the voice is permitted");
    assert_eq!(world.people[1].receiver(0, MediaKind::Video).packets, 0, "the camera is not");
    assert!(world.sfu.counters().drops(DropReason::NotPermitted) > 30);
    world.assert_sound();
}

#[test]
fn a_seat_that_may_not_see_only_hears() {
    let policy = colloque::sfu::command::SeatPolicy { see: false, ..colloque::sfu::command::SeatPolicy::ALL };
    let mut world = World::with(seed(21), [Page::new(), Page { policy, ..Page::new() }]);
    world.run(3000);
    assert!(world.people[1].receivers.iter().all(|r| r.kind == MediaKind::Audio || r.packets == 0));
    assert!(world.frames(1, 10, std::time::Duration::ZERO) > 100);
    world.assert_sound();
}
