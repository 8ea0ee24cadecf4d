//! Times by mode: tables of what is counted how, and promises that hold for any sequence of facts.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::control::facts::{Actor, Departure};

const MINUTE: i64 = 60_000;

fn sitter(id: &str, role: Role) -> Sitter {
    Sitter { id: id.into(), role, sees: true, hears: true }
}

fn doctor_and_patient() -> Vec<Sitter> {
    vec![sitter("d", Role::Practitioner), sitter("p", Role::Patient)]
}

fn at(minute: i64, seat: &str, fact: Fact) -> Moment {
    Moment { at: minute * MINUTE, seat: Some(seat.into()), fact }
}

fn ended(minute: i64) -> Moment {
    Moment { at: minute * MINUTE, seat: None, fact: Fact::ConsultationEnded { by: Actor::Clinic } }
}

fn joined(minute: i64, seat: &str) -> Moment {
    at(minute, seat, Fact::SeatJoined {})
}

/// `m`icrophone, `c`amera, `s`creen, `t`elephone.
fn sends(minute: i64, seat: &str, what: &str) -> Moment {
    let has = |letter| what.contains(letter);
    let fact = Fact::SeatMedia { microphone: has('m'), camera: has('c'), screen: has('s'), telephone: has('t') };
    at(minute, seat, fact)
}

fn left(minute: i64, seat: &str) -> Moment {
    at(minute, seat, Fact::SeatLeft { cause: Departure::Left })
}

/// Video, video both ways, audio, telephone, silent; in minutes.
fn minutes(times: ModeTimes) -> [i64; 5] {
    [times.video, times.video_both_ways, times.audio, times.telephone, times.silent].map(|millis| millis / MINUTE)
}

#[test]
fn the_mode_is_what_one_side_perceives_of_the_other() {
    for (doctor, patient, expected) in [
        ("mc", "mc", [9, 9, 0, 0, 0]),
        ("mc", "m", [9, 0, 0, 0, 0]),
        ("m", "c", [9, 0, 0, 0, 0]),
        ("m", "m", [0, 0, 9, 0, 0]),
        ("m", "", [0, 0, 9, 0, 0]),
        ("ms", "m", [0, 0, 9, 0, 0]),
        ("", "", [0, 0, 0, 0, 9]),
        ("s", "", [0, 0, 0, 0, 9]),
        ("m", "t", [0, 0, 0, 9, 0]),
        ("", "t", [0, 0, 0, 9, 0]),
        // Whoever only phones does not see the doctor's picture; whoever phones and shows a picture is seen.
        ("mc", "t", [0, 0, 0, 9, 0]),
        ("mc", "tc", [9, 9, 0, 0, 0]),
        ("m", "tc", [9, 0, 0, 0, 0]),
    ] {
        let moments = [joined(0, "d"), sends(0, "d", doctor), joined(1, "p"), sends(1, "p", patient), ended(10)];
        let timeline = Timeline::read(&doctor_and_patient(), &moments, &[], 0);
        assert_eq!(minutes(timeline.with_patient), expected, "{doctor} {patient}");
        assert_eq!(timeline.between_professionals.total(), 0);
        assert_eq!((timeline.duration(), timeline.ended_at), (10 * MINUTE, Some(10 * MINUTE)));
        assert_eq!(timeline.seats[0].present, 10 * MINUTE);
        assert_eq!(minutes(timeline.seats[0].modes), expected);
        assert_eq!(minutes(timeline.seats[1].modes), expected);
    }
}

#[test]
fn a_consultation_goes_down_to_the_telephone_and_back() {
    let moments = [
        joined(0, "d"),
        sends(0, "d", "mc"),
        joined(0, "p"),
        sends(0, "p", "mc"),
        sends(10, "p", "m"),
        sends(10, "d", "m"),
        sends(14, "p", "t"),
        sends(20, "p", "mc"),
        left(23, "p"),
        left(30, "d"),
    ];
    let timeline = Timeline::read(&doctor_and_patient(), &moments, &[], 90 * MINUTE);
    assert_eq!(minutes(timeline.with_patient), [13, 10, 4, 6, 0]);
    assert_eq!(timeline.ended_at, None);
    assert_eq!(timeline.duration(), 30 * MINUTE, "until the last one left, not until it is read");
    assert_eq!(timeline.seats[1].left_at, Some(23 * MINUTE));
}

#[test]
fn a_lost_seat_does_not_count_until_it_is_back() {
    let moments = [
        joined(0, "d"),
        joined(0, "p"),
        sends(0, "p", "mc"),
        at(5, "p", Fact::SeatLost {}),
        at(8, "p", Fact::SeatBack {}),
        at(10, "p", Fact::SeatLost {}),
        at(12, "p", Fact::SeatLeft { cause: Departure::Lost }),
        // It is not in the room any more: this says nothing.
        at(13, "p", Fact::SeatBack {}),
        ended(20),
    ];
    let timeline = Timeline::read(&doctor_and_patient(), &moments, &[], 0);
    assert_eq!(minutes(timeline.with_patient), [7, 0, 0, 0, 0]);
    assert_eq!((timeline.seats[1].present, timeline.seats[0].present), (7 * MINUTE, 20 * MINUTE));
}

#[test]
fn colleagues_alone_are_counted_apart_and_an_aside_is_theirs() {
    let sitters = [
        sitter("d", Role::Practitioner),
        sitter("e", Role::Expert),
        sitter("p", Role::Patient),
        sitter("i", Role::Interpreter),
        sitter("t", Role::Trainee),
    ];
    let moments = [
        joined(0, "d"),
        joined(0, "i"),
        joined(0, "t"),
        sends(0, "d", "m"),
        joined(5, "e"),
        sends(5, "e", "mc"),
        joined(10, "p"),
        sends(10, "p", "mc"),
        Moment { at: 20 * MINUTE, seat: Some("d".into()), fact: Fact::AsideBegan {} },
        Moment { at: 24 * MINUTE, seat: Some("d".into()), fact: Fact::AsideEnded {} },
        ended(30),
    ];
    let timeline = Timeline::read(&sitters, &moments, &[], 0);
    assert_eq!(minutes(timeline.between_professionals), [9, 0, 0, 0, 0], "5 to 10 and 20 to 24");
    assert_eq!(minutes(timeline.with_patient), [16, 16, 0, 0, 0]);
    let interpreter = &timeline.seats[3];
    assert_eq!((interpreter.present, minutes(interpreter.modes)), (30 * MINUTE, [21, 0, 0, 0, 0]));
}

#[test]
fn what_a_role_may_not_see_is_not_video() {
    let mut sitters = doctor_and_patient();
    sitters[0].sees = false;
    let moments = [joined(0, "d"), sends(0, "d", "m"), joined(0, "p"), sends(0, "p", "mc"), ended(4)];
    assert_eq!(minutes(Timeline::read(&sitters, &moments, &[], 0).with_patient), [0, 0, 4, 0, 0]);
}

#[test]
fn what_is_not_over_counts_up_to_now() {
    let moments = [joined(0, "d"), joined(2, "p"), sends(2, "p", "mc")];
    let timeline = Timeline::read(&doctor_and_patient(), &moments, &[], 12 * MINUTE);
    assert_eq!(minutes(timeline.with_patient), [10, 0, 0, 0, 0]);
    assert!(timeline.is_occupied && timeline.ended_at.is_none());
    assert_eq!(timeline.duration(), 12 * MINUTE);
}

#[test]
fn a_stop_of_the_server_empties_the_room_at_its_last_sign_of_life() {
    let moments = [
        joined(0, "d"),
        joined(0, "p"),
        sends(0, "p", "mc"),
        sends(0, "d", "mc"),
        // Killed after minute 9, up again at minute 12.
        joined(13, "d"),
        joined(14, "p"),
        sends(14, "p", "m"),
    ];
    let stops = [
        Stop { last_sign: -5 * MINUTE, next_start: -4 * MINUTE },
        Stop { last_sign: 9 * MINUTE, next_start: 12 * MINUTE },
        Stop { last_sign: 16 * MINUTE, next_start: 600 * MINUTE },
        Stop { last_sign: 605 * MINUTE, next_start: 610 * MINUTE },
    ];
    let timeline = Timeline::read(&doctor_and_patient(), &moments, &stops, 999 * MINUTE);
    assert_eq!(minutes(timeline.with_patient), [9, 9, 2, 0, 0]);
    let spans: Vec<(i64, i64)> = timeline.interruptions.iter().map(|i| (i.from / MINUTE, i.to / MINUTE)).collect();
    assert_eq!(spans, [(9, 12), (16, 600)], "of the others this consultation knows nothing");
    assert_eq!((timeline.duration(), timeline.is_occupied), (16 * MINUTE, false));
}

#[test]
fn a_sign_of_life_from_the_future_counts_up_to_the_next_start_at_most() {
    let moments = [joined(0, "d"), joined(0, "p")];
    let stops = [Stop { last_sign: i64::MAX, next_start: 5 * MINUTE }];
    let timeline = Timeline::read(&doctor_and_patient(), &moments, &stops, 60 * MINUTE);
    assert_eq!((timeline.duration(), timeline.is_occupied), (5 * MINUTE, false));
}

#[test]
fn a_stop_without_a_sign_of_life_counts_up_to_the_last_fact() {
    let moments = [joined(0, "d"), joined(0, "p"), sends(7, "p", "m")];
    let stops = [Stop { last_sign: i64::MIN, next_start: 50 * MINUTE }];
    let timeline = Timeline::read(&doctor_and_patient(), &moments, &stops, 60 * MINUTE);
    assert_eq!(minutes(timeline.with_patient), [0, 0, 0, 0, 7]);
}

#[test]
fn a_clock_that_steps_back_never_counts_a_minute_twice() {
    let moments = [
        joined(60, "d"),
        joined(60, "p"),
        sends(60, "p", "mc"),
        sends(65, "d", "mc"),
        // One hour back: until the clock has caught up, no time passes.
        sends(10, "d", "m"),
        left(30, "p"),
        joined(40, "p"),
        ended(70),
    ];
    let timeline = Timeline::read(&doctor_and_patient(), &moments, &[], 0);
    assert_eq!(timeline.with_patient.total(), 10 * MINUTE);
    assert_eq!(minutes(timeline.with_patient), [5, 0, 5, 0, 0], "then only the doctor's voice");
}

#[test]
fn nothing_after_the_end_counts() {
    let moments = [joined(0, "d"), joined(0, "p"), ended(3), left(9, "p"), joined(10, "p"), joined(10, "d"), ended(20)];
    let timeline = Timeline::read(&doctor_and_patient(), &moments, &[], 99 * MINUTE);
    assert_eq!((timeline.duration(), timeline.with_patient.total()), (3 * MINUTE, 3 * MINUTE));
    assert_eq!(timeline.ended_at, Some(3 * MINUTE));
}

const ROLES: [Role; 7] =
    [Role::Practitioner, Role::Patient, Role::Companion, Role::Interpreter, Role::Expert, Role::Nurse, Role::Trainee];

fn random_moments(rng: &mut StdRng, steps: usize) -> Vec<Moment> {
    let mut now = 0_i64;
    let mut moments = Vec::new();
    for _ in 0..steps {
        // Often nothing, at times a step back, now and then an hour.
        now += match rng.random_range(0..20) {
            0..8 => 0,
            8 => -rng.random_range(0..100_000),
            9 => 3_600_000,
            _ => rng.random_range(0..60_000),
        };
        let mut flag = || rng.random_bool(0.5);
        let media = Fact::SeatMedia { microphone: flag(), camera: flag(), screen: flag(), telephone: flag() && flag() };
        let seat = rng.random_range(0..ROLES.len()).to_string();
        let fact = match rng.random_range(0..100) {
            0..30 => Fact::SeatJoined {},
            30..60 => media,
            60..70 => Fact::SeatLost {},
            70..80 => Fact::SeatBack {},
            80..90 => Fact::SeatLeft { cause: Departure::Left },
            90..93 => Fact::AsideBegan {},
            93..97 => Fact::AsideEnded {},
            97 => Fact::SeatRemoved { by: Actor::Clinic },
            98 => Fact::ConsultationEnded { by: Actor::Clinic },
            _ => Fact::SeatWaiting {},
        };
        moments.push(Moment { at: now, seat: Some(seat), fact });
    }
    moments
}

fn crowd() -> Vec<Sitter> {
    ROLES.iter().enumerate().map(|(index, &role)| sitter(&index.to_string(), role)).collect()
}

fn random_stops(rng: &mut StdRng) -> Vec<Stop> {
    let mut starts: Vec<i64> = (0..rng.random_range(0..4)).map(|_| rng.random_range(0..6_000_000)).collect();
    starts.sort_unstable();
    starts
        .into_iter()
        .map(|next_start| Stop { last_sign: next_start - rng.random_range(0..90_000), next_start })
        .collect()
}

#[test]
fn modes_never_overlap_and_never_exceed_the_duration_whatever_happens() {
    let mut counted = ModeTimes::default();
    for seed in 0..400 {
        let mut rng = StdRng::seed_from_u64(seed);
        let moments = random_moments(&mut rng, 120);
        let stops = random_stops(&mut rng);
        let now = rng.random_range(0..50_000_000);
        let timeline = Timeline::read(&crowd(), &moments, &stops, now);
        let both = timeline.with_patient.total() + timeline.between_professionals.total();
        assert!(both <= timeline.duration(), "seed {seed}: {timeline:?}");
        for times in [timeline.with_patient, timeline.between_professionals] {
            assert!(0 <= times.video_both_ways && times.video_both_ways <= times.video, "seed {seed}");
            counted.video += times.video;
            counted.audio += times.audio;
            counted.telephone += times.telephone;
            counted.silent += times.silent;
        }
        for seat in &timeline.seats {
            assert!(seat.modes.total() <= seat.present && seat.present <= timeline.duration(), "seed {seed}: {seat:?}");
            assert!(seat.modes.total() <= both, "seed {seed}");
            if let Some((from, until)) = seat.joined_at.zip(seat.left_at) {
                assert!(seat.present <= until - from, "seed {seed}: {seat:?}");
            }
        }
        for pair in timeline.interruptions.windows(2) {
            assert!(pair[0].from <= pair[1].from, "seed {seed}");
        }
    }
    assert!(counted.video > 0 && counted.audio > 0 && counted.telephone > 0 && counted.silent > 0, "{counted:?}");
}

/// Seats are independent witnesses: facts of different seats with the same time may be written in either order.
#[test]
fn the_order_of_simultaneous_facts_of_different_seats_does_not_matter() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        // Without what concerns everyone: an end or an aside at the same instant does have an order.
        let mut moments: Vec<Moment> = random_moments(&mut rng, 120);
        moments.retain(|moment| {
            !matches!(moment.fact, Fact::ConsultationEnded { .. } | Fact::AsideBegan {} | Fact::AsideEnded {})
        });
        let expected = Timeline::read(&crowd(), &moments, &[], 10_000_000);
        let mut shuffled = Vec::new();
        for group in moments.chunk_by(|a, b| a.at == b.at) {
            let mut seats: Vec<&Option<String>> = group.iter().map(|moment| &moment.seat).collect();
            seats.sort_unstable();
            seats.dedup();
            seats.shuffle(&mut rng);
            // Each seat's own facts keep their order.
            for seat in seats {
                shuffled.extend(group.iter().filter(|moment| moment.seat == *seat).cloned());
            }
        }
        assert_eq!(shuffled.len(), moments.len());
        assert_eq!(Timeline::read(&crowd(), &shuffled, &[], 10_000_000), expected, "seed {seed}");
    }
}

#[test]
fn reading_on_never_takes_back_what_was_counted() {
    for seed in 0..100 {
        let mut rng = StdRng::seed_from_u64(seed);
        let moments = random_moments(&mut rng, 60);
        let mut before = 0;
        for len in 0..=moments.len() {
            let timeline = Timeline::read(&crowd(), &moments[..len], &[], i64::MIN);
            let counted = timeline.with_patient.total() + timeline.between_professionals.total();
            assert!(counted >= before, "seed {seed}");
            before = counted;
        }
    }
}
