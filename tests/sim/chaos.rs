//! Everything at once, in any order: what no scenario thought of.

use std::time::Duration;

use colloque::ids::SeatId;
use colloque::rtp::codec::Source;
use colloque::sfu::command::SeatPolicy;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::network::Link;
use super::wire::Format;
use super::world::{Page, World, seeds};

fn page(random: &mut StdRng) -> Page {
    let format = [Format::Vp8, Format::Vp9, Format::H264, Format::Av1Sealed][random.random_range(0..4)];
    let page = if random.random() { Page::new() } else { Page::firefox() };
    Page {
        camera: random.random_bool(0.9).then(|| if random.random() { (Format::Vp8, true) } else { (format, false) }),
        screen: random.random_bool(0.2).then_some(Format::Vp8),
        red: random.random_bool(0.3),
        early_wrap: false,
        slots: random.random_range(1..5),
        link: link(random),
        ..page
    }
}

fn link(random: &mut StdRng) -> Link {
    Link {
        loss: [0.0, 0.0, 0.01, 0.05][random.random_range(0..4)],
        delay: Duration::from_millis(random.random_range(1..60)),
        jitter: Duration::from_millis(random.random_range(0..15)),
        reordered: [0.0, 0.02][random.random_range(0..2)],
        doubled: [0.0, 0.02][random.random_range(0..2)],
        ..Link::GOOD
    }
}

fn disturb(world: &mut World, random: &mut StdRng) {
    let person = random.random_range(0..world.people.len());
    match random.random_range(0..10) {
        0 if world.people.len() < 12 => {
            world.join(page(random));
        }
        1 if world.people.iter().filter(|person| !person.dead).count() > 3 => world.remove(person),
        2 => {
            let seat = SeatId(random.random_range(1..=world.people.len() as u64));
            let mut may = || random.random_bool(0.8);
            let policy = SeatPolicy {
                microphone: may(),
                camera: may(),
                screen: may(),
                see: may(),
                hear: may(),
                ..SeatPolicy::ALL
            };
            world.set_policy(seat, policy);
        }
        3 | 4 => {
            let (width, height) = [(0, 0), (160, 90), (640, 352), (1280, 720)][random.random_range(0..4)];
            world.set_view(person, random.random_range(0..4), width, height);
        }
        5 => {
            let sources = [Source::Microphone, Source::Camera, Source::Screen];
            let source = sources[random.random_range(0..3)];
            if let Some(publisher) = world.people[person].publishers.iter_mut().find(|p| p.source == source) {
                publisher.muted = random.random();
            }
        }
        6 => {
            for publisher in world.people.iter_mut().flat_map(|person| &mut person.publishers) {
                publisher.level = random.random_range(10..120);
            }
        }
        7 => {
            world.people[person].up = link(random);
            world.people[person].down = link(random);
        }
        8 => world.people[person].up.up = random.random_bool(0.7),
        _ => world.people[person].ask_keyframe(0),
    }
}

#[test]
fn anything_in_any_order_leaves_every_stream_sound() {
    for seed in seeds(0..8) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut world = World::new(seed);
        for _ in 0..4 {
            let page = page(&mut random);
            world.join(page);
        }
        world.run(1500);
        for _ in 0..60 {
            disturb(&mut world, &mut random);
            world.run(random.random_range(10..500));
        }
        world.assert_sound();
        // And when all is well again, everybody sees and hears.
        for index in 0..world.people.len() {
            (world.people[index].up, world.people[index].down) = (Link::GOOD, Link::GOOD);
            world.set_policy(SeatId(index as u64 + 1), SeatPolicy::ALL);
            for slot in 0..4 {
                world.set_view(index, slot, 640, 352);
            }
            world.people[index].publishers.iter_mut().for_each(|publisher| publisher.muted = false);
        }
        world.run(4000);
        world.assert_sound();
        let since = world.elapsed() - Duration::from_millis(1500);
        for viewer in 0..world.people.len() {
            if world.people[viewer].dead {
                continue;
            }
            let (_, stage) = world.stages[&world.people[viewer].leg].last().expect("a stage");
            for shown in stage {
                let publisher = &world.people[shown.seat.0 as usize - 1];
                for source in publisher.publishers.iter().filter(|publisher| match shown.source {
                    Source::Screen => publisher.source == Source::Screen,
                    _ => publisher.source != Source::Screen,
                }) {
                    let frames = world.frames(viewer, source.id, since);
                    let name = source.source;
                    assert!(frames > 15, "{frames} frames of {name:?} of {} at {viewer}, seed {seed}", shown.seat);
                }
            }
        }
    }
}
