//! Who sits in which room and sends what: pure tables from a scenario's name and the command line's numbers.

use super::Plan;
use crate::leg::{Camera, LAYERS_MAX, LegPlan};

/// One seat before it has its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeatShape {
    /// Sends a voice.
    pub voice: bool,
    /// Sends a picture.
    pub camera: Option<Camera>,
    /// Receives so many others.
    pub slots: usize,
}

/// Somebody of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Person {
    /// Index of the room.
    pub room: usize,
    /// Index of the seat in it.
    pub seat: usize,
    /// What its leg sends and receives.
    pub plan: LegPlan,
}

/// A scenario of calls that stand and are measured.
pub struct Steady {
    /// On the command line.
    pub name: &'static str,
    /// Each room's seats.
    pub rooms: Vec<Vec<SeatShape>>,
    /// One-way, milliseconds.
    pub p99_ms_max: f64,
    /// Server memory of a room, kB; judged from some rooms on.
    pub room_kb_max: Option<f64>,
}

impl Steady {
    /// The scenario of this name; `None` when it is not one of these.
    #[must_use]
    pub fn named(name: &str, plan: &Plan) -> Option<Steady> {
        let rooms = |default| plan.rooms.unwrap_or(default);
        let camera = |default| camera(plan.kbit_per_second.unwrap_or(default), 1);
        let (name, rooms, room_kb_max) = match name {
            "consultation" => {
                ("consultation", vec![pair(Some(camera(CONSULTATION_KBIT))); rooms(2)], Some(ACTIVE_ROOM_KB_MAX))
            }
            "audio" => ("audio", vec![pair(None); rooms(2)], Some(ACTIVE_ROOM_KB_MAX)),
            "ward_round" => ("ward_round", vec![everyone(5, true, Some(camera(CONSULTATION_KBIT))); rooms(1)], None),
            "webinar" => {
                let room = webinar(plan.subscribers.unwrap_or(30), camera(WEBINAR_KBIT));
                ("webinar", vec![room; rooms(1)], None)
            }
            "simulcast" => {
                let camera = self::camera(plan.kbit_per_second.unwrap_or(SIMULCAST_KBIT), LAYERS_MAX);
                // Two, three, and so on to eight, then two again.
                let room = |index: usize| everyone(2 + index % 7, true, Some(camera));
                ("simulcast", (0..rooms(7)).map(room).collect(), None)
            }
            _ => return None,
        };
        Some(Steady { name, rooms, p99_ms_max: P99_MS_MAX, room_kb_max })
    }

    /// Everyone of all rooms, numbered from `first`.
    #[must_use]
    pub fn people(rooms: &[Vec<SeatShape>], first: u32) -> Vec<Person> {
        let mut numbers = first..;
        let seats = rooms
            .iter()
            .enumerate()
            .flat_map(|(room, seats)| seats.iter().enumerate().map(move |(seat, shape)| (room, seat, *shape)));
        let person = |(room, seat, shape): (usize, usize, SeatShape)| {
            let number = numbers.next()?;
            let plan = LegPlan { number, voice: shape.voice, camera: shape.camera, slots: shape.slots };
            Some(Person { room, seat, plan })
        };
        seats.map_while(person).collect()
    }
}

/// Two who talk.
#[must_use]
pub fn pair(camera: Option<Camera>) -> Vec<SeatShape> {
    everyone(2, true, camera)
}

/// So many who all send and receive all others.
#[must_use]
pub fn everyone(seats: usize, voice: bool, camera: Option<Camera>) -> Vec<SeatShape> {
    vec![SeatShape { voice, camera, slots: seats - 1 }; seats]
}

/// One picture without a voice, and those who watch.
#[must_use]
pub fn webinar(subscribers: usize, camera: Camera) -> Vec<SeatShape> {
    let speaker = SeatShape { voice: false, camera: Some(camera), slots: 0 };
    let viewer = SeatShape { voice: false, camera: None, slots: 1 };
    std::iter::once(speaker).chain(std::iter::repeat_n(viewer, subscribers)).collect()
}

/// Thirty frames a second.
#[must_use]
pub fn camera(kbit_per_second: u32, layers: usize) -> Camera {
    Camera { kbit_per_second, frames_per_second: 30, layers }
}

/// A consultation's camera, as in the comparison with other servers.
pub const CONSULTATION_KBIT: u32 = 1_000;
/// A lecture's.
pub const WEBINAR_KBIT: u32 = 1_500;
/// Of all three layers.
pub const SIMULCAST_KBIT: u32 = 2_000;
/// At 80 % of capacity.
const P99_MS_MAX: f64 = 5.0;
/// Two people with voice and camera.
const ACTIVE_ROOM_KB_MAX: f64 = 3_000.0;

#[cfg(test)]
mod tests {
    use super::super::tests::plan;
    use super::*;

    #[test]
    fn rooms_and_bitrate_are_the_command_lines() {
        let plan = Plan { rooms: Some(20), kbit_per_second: Some(700), ..plan() };
        let steady = Steady::named("consultation", &plan).unwrap();
        assert_eq!(steady.rooms.len(), 20);
        assert!(steady.rooms.iter().flatten().all(|seat| seat.camera.unwrap().kbit_per_second == 700 && seat.voice));
    }

    #[test]
    fn a_webinar_has_one_picture_and_no_voice() {
        let plan = Plan { subscribers: Some(30), ..plan() };
        let room = &Steady::named("webinar", &plan).unwrap().rooms[0];
        assert_eq!((room.len(), room.iter().filter(|seat| seat.camera.is_some()).count()), (31, 1));
        assert!(room.iter().all(|seat| !seat.voice) && room[1..].iter().all(|seat| seat.slots == 1));
        assert_eq!(room[0].camera.unwrap().kbit_per_second, 1_500);
    }

    #[test]
    fn simulcast_rooms_have_two_to_eight_people_who_all_see_all() {
        let steady = Steady::named("simulcast", &Plan { rooms: Some(8), ..plan() }).unwrap();
        let sizes: Vec<usize> = steady.rooms.iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 3, 4, 5, 6, 7, 8, 2]);
        assert!(steady.rooms.iter().all(|room| room.iter().all(|seat| seat.slots == room.len() - 1)));
        assert!(steady.rooms[0][0].camera.unwrap().layers == 3);
    }

    #[test]
    fn nobody_shares_a_number() {
        let people = Steady::people(&[pair(None), webinar(3, camera(100, 1))], 7);
        let numbers: Vec<u32> = people.iter().map(|person| person.plan.number).collect();
        assert_eq!(numbers, [7, 8, 9, 10, 11, 12]);
        assert_eq!((people[2].room, people[2].seat, people[5].seat), (1, 0, 3));
    }

    #[test]
    fn other_names_are_none_of_these() {
        assert!(Steady::named("joins", &plan()).is_none());
    }
}
