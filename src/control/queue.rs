//! Consultations that one practitioner sees after each other: who is next, how many are before, when it is expected to begin.
//!
//! Pure functions over what the live rooms say. A consultation nobody waits in is passed over: whoever is late comes in between
//! when they are there. Not here: asking the rooms, telling the seats (`waiting_line`).

use colloque_signaling::message::Role;

/// One consultation of a queue, as its live room says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) consultation: String,
    /// Planned begin, Unix seconds.
    pub(super) starts_at: Option<i64>,
    /// When it was booked, Unix seconds: the order of those without a planned begin.
    pub(super) created_at: i64,
    /// The order of booking, also within a second.
    pub(super) booking: i64,
    /// Somebody waits to be let in.
    pub(super) waiting: bool,
    /// Somebody whom hosts let in, or need not, and a host are in it.
    pub(super) in_progress: bool,
}

impl Place {
    /// As the store gives a queue.
    fn order(&self) -> (i64, i64) {
        (self.starts_at.unwrap_or(self.created_at), self.booking)
    }
}

/// In the order in which they are seen.
pub(super) fn sort(places: &mut [Place]) {
    places.sort_by_key(Place::order);
}

/// How many are seen before this one.
pub(super) fn ahead(sorted: &[Place], consultation: &str) -> u32 {
    let before = sorted.iter().take_while(|place| place.consultation != consultation);
    u32::try_from(before.filter(|place| place.waiting && !place.in_progress).count()).unwrap_or(u32::MAX)
}

/// Those that come after this one, in their order: the ones with somebody waiting, also such as were planned before it.
pub(super) fn next_ones<'a>(sorted: &'a [Place], after: &'a str) -> impl Iterator<Item = &'a Place> {
    sorted.iter().filter(move |place| place.consultation != after && place.waiting && !place.in_progress)
}

/// When a consultation is expected to begin, Unix seconds: at its planned begin, or when those before it are through. A
/// consultation takes from its planned begin to the next one's. Nothing when the plan does not say.
pub(super) fn expected_begin(sorted: &[Place], consultation: &str, now: i64) -> Option<i64> {
    let own = sorted.iter().position(|place| place.consultation == consultation)?;
    let planned = sorted[own].starts_at?;
    let mut free_at = now;
    for (index, place) in sorted[..own].iter().enumerate() {
        if !place.waiting && !place.in_progress {
            continue;
        }
        let begin = place.starts_at?;
        let len = (sorted[index + 1].starts_at? - begin).clamp(SLOT_MIN, SLOT_MAX);
        free_at = match place.in_progress {
            true => free_at.max(begin + len),
            false => free_at.max(begin) + len,
        };
    }
    Some(planned.max(free_at))
}

/// A seat of the next consultation that might be a person's own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Candidate {
    pub(super) seat: String,
    pub(super) role: Role,
    pub(super) who: Identity,
}

/// What says who sits on a seat. Compared, never shown.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Identity {
    pub(super) rpps: Option<String>,
    pub(super) email: Option<String>,
    pub(super) name: Option<String>,
}

/// The seat of the same person: the only one of their role that nothing says is somebody else's.
pub(super) fn own_seat<'a>(role: Role, who: &Identity, candidates: &'a [Candidate]) -> Option<&'a str> {
    let mut own = candidates.iter().filter(|seat| seat.role == role && who.may_be(&seat.who));
    match (own.next(), own.next()) {
        (Some(seat), None) => Some(&seat.seat),
        _ => None,
    }
}

impl Identity {
    /// The strongest sign that both have decides.
    fn may_be(&self, other: &Identity) -> bool {
        let signs = [(&self.rpps, &other.rpps), (&self.email, &other.email), (&self.name, &other.name)];
        let known = signs.into_iter().find_map(|(a, b)| Some((a.as_ref()?, b.as_ref()?)));
        known.is_none_or(|(a, b)| a == b)
    }
}

/// Shorter slots are appointments that were booked twice for the same time.
const SLOT_MIN: i64 = 5 * 60;
/// Longer ones have a pause in them.
const SLOT_MAX: i64 = 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn place(id: &str, starts_at: Option<i64>, waiting: bool, in_progress: bool) -> Place {
        Place { consultation: id.into(), starts_at, created_at: 5, booking: 1, waiting, in_progress }
    }

    /// Planned at 10-minute steps: a is being seen, nobody is in b, c and d wait.
    fn morning() -> Vec<Place> {
        let mut places = vec![
            place("d", Some(1_800), true, false),
            place("b", Some(600), false, false),
            place("a", Some(0), false, true),
            place("c", Some(1_200), true, false),
        ];
        sort(&mut places);
        places
    }

    #[test]
    fn the_planned_begin_is_the_order_and_booking_where_there_is_none() {
        let names: Vec<String> = morning().into_iter().map(|place| place.consultation).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
        let mut unplanned =
            vec![Place { created_at: 9, ..place("y", None, true, false) }, place("x", None, true, false)];
        sort(&mut unplanned);
        assert_eq!(unplanned[0].consultation, "x");
    }

    /// Consultations without a planned begin that were booked within one second came in the order of their random identifiers.
    #[test]
    fn within_a_second_the_first_booked_is_the_first() {
        let booked = |id: &str, booking| Place { booking, ..place(id, None, true, false) };
        let mut places = vec![booked("m", 3), booked("a", 2), booked("z", 1)];
        sort(&mut places);
        let names: Vec<&str> = places.iter().map(|place| place.consultation.as_str()).collect();
        assert_eq!(names, ["z", "a", "m"]);
    }

    #[test]
    fn whoever_waits_in_an_earlier_consultation_is_before() {
        let places = morning();
        for (id, before) in [("a", 0), ("b", 0), ("c", 0), ("d", 1)] {
            assert_eq!(ahead(&places, id), before, "{id}");
        }
    }

    #[test]
    fn next_is_the_first_where_somebody_waits() {
        let mut places = morning();
        let next = |places: &[Place], after: &str| -> Vec<String> {
            next_ones(places, after).map(|place| place.consultation.clone()).collect()
        };
        assert_eq!(next(&places, "a"), ["c", "d"]);
        places[2].waiting = false;
        assert_eq!(next(&places, "a"), ["d"]);
        assert!(next(&places, "d").is_empty(), "never the same again");
        places[1].waiting = true;
        assert_eq!(next(&places, "d"), ["b"], "whoever was late comes in between");
    }

    #[test]
    fn the_expected_begin_follows_the_plan_and_what_is_late() {
        let places = morning();
        for (id, now, expected) in [
            ("c", 300, Some(1_200)),
            ("c", 900, Some(1_200)),
            ("d", 900, Some(1_800)),
            // a should have been over at 600 and is not: c begins when it can, d after it.
            ("c", 1_500, Some(1_500)),
            ("d", 1_500, Some(2_100)),
            ("nobody's", 0, None),
        ] {
            assert_eq!(expected_begin(&places, id, now), expected, "{id} at {now}");
        }
        let unplanned = [place("a", None, true, false), place("b", Some(600), true, false)];
        assert_eq!(expected_begin(&unplanned, "b", 0), None);
        assert_eq!(expected_begin(&unplanned, "a", 0), None);
    }

    #[test]
    fn the_next_seat_is_the_same_persons_or_nobodys() {
        let who = |rpps: Option<&str>, name: Option<&str>| Identity {
            rpps: rpps.map(str::to_owned),
            email: None,
            name: name.map(str::to_owned),
        };
        let seat = |id: &str, who: Identity| Candidate { seat: id.into(), role: Role::Practitioner, who };
        let martin = who(Some("1"), Some("Martin"));
        for (candidates, expected) in [
            (vec![], None),
            (vec![seat("x", who(None, None))], Some("x")),
            (vec![seat("x", who(Some("2"), Some("Martin")))], None),
            (vec![seat("x", who(Some("1"), Some("Dr Martin")))], Some("x")),
            (vec![seat("x", who(None, Some("Nadir"))), seat("y", who(None, Some("Martin")))], Some("y")),
            (vec![seat("x", who(None, None)), seat("y", who(None, None))], None),
        ] {
            assert_eq!(own_seat(Role::Practitioner, &martin, &candidates), expected, "{candidates:?}");
            assert_eq!(own_seat(Role::Nurse, &martin, &candidates), None);
        }
    }
}
