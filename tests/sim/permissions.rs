//! What a seat may not do it may do anyway, as far as its page goes: nothing of it reaches anybody, and it is counted.
//! A right that is taken away is gone within 200 ms, whatever was under way, and comes back when it is given back.

use colloque::drops::DropReason;
use colloque::ids::SeatId;
use colloque::sfu::command::SeatPolicy;
use colloque::sfu::data::Kind;

use super::network::Link;
use super::wire::Format;
use super::world::{Page, World, seed};

fn page() -> Page {
    Page { screen: Some(Format::Vp8), data: true, ..Page::new() }
}

/// Three pages with open channels.
fn meeting(seed: u64, policies: [SeatPolicy; 3]) -> World {
    let mut world = World::with(seed, policies.map(|policy| Page { policy, ..page() }));
    let open = |world: &World| world.people.iter().all(|person| person.data.as_ref().is_some_and(|data| data.open));
    assert!(world.run_until(20_000, open), "channels open, seed {seed}");
    world
}

fn message(kind: Kind, body: &str) -> String {
    format!(r#"{{"kind":{},"body":"{body}"}}"#, serde_json::to_string(&kind).expect("a name"))
}

fn say(world: &mut World, person: usize, text: &str) {
    world.people[person].data.as_mut().expect("a channel").send(text);
}

fn received(world: &World, person: usize) -> usize {
    world.people[person].data.as_ref().expect("a channel").received.len()
}

fn drops(world: &World, reason: DropReason) -> u64 {
    world.sfu.counters().drops(reason)
}

fn without(kind: Kind) -> SeatPolicy {
    let all = SeatPolicy::ALL;
    match kind {
        Kind::Chat => SeatPolicy { chat: false, ..all },
        Kind::File => SeatPolicy { files: false, ..all },
        Kind::Pointer => SeatPolicy { point: false, ..all },
        Kind::Vitals => SeatPolicy { vitals: false, ..all },
    }
}

#[test]
fn each_kind_of_message_takes_its_own_right() {
    for kind in Kind::ALL {
        let mut world = meeting(seed(60), [without(kind), SeatPolicy::ALL, SeatPolicy::ALL]);
        for each in Kind::ALL {
            for _ in 0..3 {
                say(&mut world, 0, &message(each, "x"));
            }
        }
        world.run(1000);
        assert_eq!(drops(&world, DropReason::NotPermitted), 3, "{kind:?}");
        let word = serde_json::to_string(&kind).expect("a name");
        for person in [1, 2] {
            let received = &world.people[person].data.as_ref().expect("a channel").received;
            assert_eq!(received.len(), 9, "{kind:?}");
            assert!(received.iter().all(|text| !text.contains(&word)), "{kind:?}: {received:?}");
        }
    }
}

#[test]
fn who_may_not_read_gets_no_message_even_when_it_is_for_him() {
    let mut world =
        meeting(seed(61), [SeatPolicy::ALL, SeatPolicy { read: false, ..SeatPolicy::ALL }, SeatPolicy::ALL]);
    say(&mut world, 0, &message(Kind::Chat, "for all"));
    say(&mut world, 0, r#"{"kind":"chat","to":"seat_2","body":"for one"}"#);
    world.run(1000);
    assert_eq!((received(&world, 1), received(&world, 2)), (0, 1));
    say(&mut world, 1, &message(Kind::Chat, "it may still write"));
    world.run(1000);
    assert_eq!((received(&world, 0), received(&world, 2)), (1, 2));
}

#[test]
fn what_is_no_message_is_counted_for_its_reason_and_the_channel_lives_on() {
    let mut world = meeting(seed(62), [SeatPolicy::ALL; 3]);
    say(&mut world, 0, r#"{"kind":"gossip","body":1}"#);
    say(&mut world, 0, &message(Kind::Pointer, &"x".repeat(2000)));
    say(&mut world, 0, "hello");
    for _ in 0..200 {
        say(&mut world, 0, &message(Kind::Pointer, "x"));
    }
    say(&mut world, 0, &message(Kind::Chat, "bonjour"));
    world.run(1000);
    for (reason, times) in
        [(DropReason::DataKindUnknown, 1), (DropReason::DataTooLong, 1), (DropReason::DataRefused, 1)]
    {
        assert_eq!(drops(&world, reason), times, "{reason:?}");
    }
    let refused = drops(&world, DropReason::DataRate);
    assert!((100..200).contains(&refused), "{refused}");
    let last = world.people[1].data.as_ref().expect("a channel").received.last();
    assert_eq!(last.map(String::as_str), Some(r#"{"from":"seat_1","kind":"chat","body":"bonjour"}"#));
    assert_eq!(received(&world, 1) as u64, 201 - refused);
}

#[test]
fn a_second_leg_of_a_seat_has_no_second_budget() {
    let mut world = meeting(seed(63), [SeatPolicy::ALL; 3]);
    let second = world.add_leg(SeatId(1), Page { voice: false, camera: None, ..page() });
    assert!(world.run_until(20_000, |world| world.people[second].data.as_ref().is_some_and(|data| data.open)));
    for person in [0, second] {
        for _ in 0..20 {
            say(&mut world, person, &message(Kind::Vitals, "97"));
        }
    }
    world.run(500);
    let passed = Kind::Vitals.bounds().messages_burst as usize;
    assert!((passed..passed + 5).contains(&received(&world, 1)), "{}", received(&world, 1));
}

/// A seat's publishers, as markers name them.
const VOICE: u32 = 10;
const CAMERA: u32 = 11;
const SCREEN: u32 = 12;

#[test]
fn a_right_that_is_taken_away_is_gone_within_200_ms_and_nothing_comes_late() {
    let all = SeatPolicy::ALL;
    let cases: [(u64, SeatPolicy, &[u32]); 6] = [
        (1, SeatPolicy { microphone: false, ..all }, &[VOICE]),
        (1, SeatPolicy { camera: false, ..all }, &[CAMERA]),
        (1, SeatPolicy { screen: false, ..all }, &[SCREEN]),
        (2, SeatPolicy { hear: false, ..all }, &[VOICE]),
        (2, SeatPolicy { see: false, ..all }, &[CAMERA, SCREEN]),
        (2, SeatPolicy::default(), &[VOICE, CAMERA, SCREEN]),
    ];
    for (seat, policy, silenced) in cases {
        // With losses, so that packets are asked again when the right is gone.
        let link = Link { loss: 0.05, ..Link::rough() };
        let mut world = World::with(seed(64), [page().link(link), page().link(link)]);
        world.run(4000);
        let of = |world: &World, publisher: u32| world.people[1].heard_of.get(&publisher).copied().unwrap_or(0);
        let flowing = [VOICE, CAMERA, SCREEN].map(|publisher| of(&world, publisher));
        assert!(flowing.iter().all(|&packets| packets > 50), "{flowing:?}");
        world.set_policy(SeatId(seat), policy);
        world.run(200);
        let cut = [VOICE, CAMERA, SCREEN].map(|publisher| of(&world, publisher));
        world.run(2000);
        for (at, publisher) in [VOICE, CAMERA, SCREEN].into_iter().enumerate() {
            let later = of(&world, publisher) - cut[at];
            assert_eq!(later == 0, silenced.contains(&publisher), "{policy:?} {publisher}: {later} packets");
        }
        world.set_policy(SeatId(seat), all);
        let back = world.elapsed();
        let again = |world: &World| silenced.iter().all(|&publisher| world.frames(1, publisher, back) > 5);
        assert!(world.run_until(3000, again), "{policy:?}: given back");
        world.assert_sound();
    }
}

#[test]
fn messages_stop_and_come_back_with_the_right() {
    let mut world = meeting(seed(65), [SeatPolicy::ALL; 3]);
    let mut expected = 0;
    for (seat, policy) in [(1, without(Kind::Vitals)), (2, SeatPolicy { read: false, ..SeatPolicy::ALL })] {
        world.set_policy(SeatId(seat), policy);
        for _ in 0..10 {
            say(&mut world, 0, &message(Kind::Vitals, "97"));
            world.run(100);
        }
        assert_eq!(received(&world, 1), expected);
        world.set_policy(SeatId(seat), SeatPolicy::ALL);
        say(&mut world, 0, &message(Kind::Vitals, "98"));
        world.run(500);
        expected += 1;
        assert_eq!(received(&world, 1), expected);
        world.run(5000);
    }
}

/// How late a voice is heard, in milliseconds at the 99th percentile, while a file passes or none does; and how many
/// pieces of it arrived.
fn voice_beside_a_file(sends_file: bool) -> (u64, usize) {
    let mut world = World::new(seed(66));
    world.join(Page { camera: None, screen: None, ..page() });
    // A thin line: one megabit, of which the voice takes a tenth.
    let thin = Link { rate: Some(125_000.0), ..Link::GOOD };
    world.join(Page { camera: None, screen: None, ..page() }.link(thin));
    world.run(3000);
    let since = world.elapsed();
    let mut pieces = 0;
    for tick in 0..15_000 {
        // As our page does: a piece of 11,250 bytes, in base64, every 260 ms.
        if sends_file && tick % 260 == 0 {
            say(&mut world, 0, &message(Kind::File, &"x".repeat(15_000)));
            pieces += 1;
        }
        world.run(1);
    }
    assert_eq!(drops(&world, DropReason::DataRate) + drops(&world, DropReason::DataReceiverBusy), 0);
    assert!(pieces == 0 || received(&world, 1) >= pieces - 2, "{} of {pieces}", received(&world, 1));
    let start = world.start;
    let late =
        |seen: &super::receiver::Seen| ((seen.at - start).as_micros() as u64).saturating_sub(seen.captured) / 1000;
    let voices = world.people[1].receivers.iter().flat_map(|receiver| receiver.frames_of(VOICE));
    let mut late: Vec<u64> = voices.filter(|seen| seen.at >= start + since).map(late).collect();
    late.sort_unstable();
    assert!(late.len() > 14_000 / 20, "{} of the voice's packets", late.len());
    (late[late.len() * 99 / 100], received(&world, 1))
}

#[test]
fn a_file_at_its_full_rate_leaves_the_voice_alone_on_a_thin_line() {
    let ((alone, _), (beside, _)) = (voice_beside_a_file(false), voice_beside_a_file(true));
    assert!(beside <= alone + 150, "the voice is {beside} ms late, {alone} ms without the file");
}

#[test]
fn a_line_that_does_not_keep_up_loses_pieces_and_still_gets_what_is_written() {
    let mut world = World::new(seed(67));
    world.join(Page { camera: None, screen: None, ..page() });
    let thin = Link { rate: Some(16_000.0), ..Link::GOOD };
    world.join(Page { voice: false, camera: None, screen: None, ..page() }.link(thin));
    world.run(5000);
    for _ in 0..60 {
        say(&mut world, 0, &message(Kind::File, &"x".repeat(16_000)));
        world.run(300);
    }
    assert!(drops(&world, DropReason::DataReceiverBusy) > 5, "pieces are dropped for this receiver");
    say(&mut world, 0, &message(Kind::Chat, "bonjour"));
    let chat = |world: &World| {
        world.people[1].data.as_ref().is_some_and(|data| data.received.iter().any(|text| text.contains("bonjour")))
    };
    assert!(world.run_until(30_000, chat), "what people write gets through");
}
