//! PINs: when one opens its seat, and what slows down whoever guesses.
//!
//! ```text
//!   digits --store, by keyed hash--> seats --open--> the one in its window, one outside, or nobody --Try--> opens or not, guessed or not
//!   guesses --Throttle--> barred caller · slower answers · alarm
//! ```
//!
//! Pure. To a caller wrong, expired and unknown are one answer, and whoever asks the store gives every answer at the same time after the
//! last digit ([`Pace::answer_after`]): neither words nor time tell which it was. Only digits that no seat has are a guess: whoever calls
//! too early has the right ones. A caller's number can be forged and many people share one, so it shortens nothing and bars only for a
//! while. Not here: tries within one call (`telephone::call`), the hash (`store`).

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::config::telephone::PinRules;
use crate::store::{ConsultationRecord, SeatRecord};

/// When a PIN works: Unix seconds, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// From.
    pub opens: i64,
    /// To, unless the consultation is still going on then.
    pub closes: i64,
}

impl Window {
    /// Of a consultation planned for `starts_at`, or for nothing but now.
    #[must_use]
    pub fn of(starts_at: Option<i64>, created_at: i64, rules: &PinRules) -> Self {
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        match starts_at {
            Some(begin) => Window {
                opens: begin.saturating_sub(seconds(rules.before)),
                closes: begin.saturating_add(seconds(rules.after)),
            },
            None => Window { opens: created_at, closes: created_at.saturating_add(UNPLANNED_SECONDS) },
        }
    }

    /// Whether it works. `live`: somebody is in the consultation, which may run late.
    #[must_use]
    pub fn is_open(self, now: i64, live: bool) -> bool {
        self.opens <= now && (live || now <= self.closes)
    }
}

/// What is under a PIN.
#[derive(Clone, Debug)]
pub enum PinFinds {
    /// The seat that it opens now.
    Seat(Box<(ConsultationRecord, SeatRecord)>),
    /// Seats that it does not open now.
    Outside,
    /// Nothing.
    Nothing,
}

/// The one seat that this PIN opens now, of those that the store has under it. Two at once are nobody: a caller in the wrong waiting
/// room is worse than one who has to be invited again.
#[must_use]
pub fn open(
    found: Vec<(ConsultationRecord, SeatRecord)>,
    rules: &PinRules,
    now: i64,
    is_live: impl Fn(&str) -> bool,
) -> PinFinds {
    let none = if found.is_empty() { PinFinds::Nothing } else { PinFinds::Outside };
    let mut open = found.into_iter().filter(|(consultation, seat)| {
        let window = Window::of(consultation.starts_at, consultation.created_at, rules);
        consultation.ended_at.is_none() && seat.admission.is_open() && window.is_open(now, is_live(&consultation.id))
    });
    match (open.next(), open.next()) {
        (Some(seat), None) => PinFinds::Seat(Box::new(seat)),
        _ => none,
    }
}

/// What a try at a PIN comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Try {
    /// It opens its seat.
    Right,
    /// It is a seat's, and opens nothing now.
    Outside,
    /// It is nobody's.
    Wrong,
    /// Its caller is barred, whatever it is.
    Barred {
        /// It is nobody's.
        wrong: bool,
    },
}

impl Try {
    /// `barred`: the caller is.
    #[must_use]
    pub fn of(finds: &PinFinds, barred: bool) -> Self {
        match finds {
            finds if barred => Try::Barred { wrong: matches!(finds, PinFinds::Nothing) },
            PinFinds::Seat(_) => Try::Right,
            PinFinds::Outside => Try::Outside,
            PinFinds::Nothing => Try::Wrong,
        }
    }

    /// Whether it counts as a guess, for its caller and its trunk. Right digits never do, or the people of a house with one number
    /// would bar each other for ever.
    #[must_use]
    pub fn is_guess(self) -> bool {
        matches!(self, Try::Wrong | Try::Barred { wrong: true })
    }

    /// For the label of a metric.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Try::Right => "right",
            Try::Outside => "outside",
            Try::Wrong => "wrong",
            Try::Barred { .. } => "barred",
        }
    }
}

/// What whoever guesses has to bear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// An answer is given so long after the last digit, whatever it is.
    pub answer_after: Duration,
    /// Every PIN is wrong.
    pub barred: bool,
}

/// Counts wrong PINs by caller and by trunk.
#[derive(Debug, Default)]
pub struct Throttle {
    callers: HashMap<CallerMark, VecDeque<Instant>>,
    trunks: HashMap<String, VecDeque<Instant>>,
}

/// A caller's number under a random key of the process: it recognises, and says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CallerMark(pub u64);

/// Guessing is going on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuessingAlarm {
    /// Over which trunk.
    pub trunk: String,
}

impl Throttle {
    /// What holds for this call now. `caller`: nobody when the number is withheld.
    pub fn pace(&mut self, caller: Option<CallerMark>, trunk: &str, rules: &PinRules, now: Instant) -> Pace {
        let of_caller = caller.and_then(|caller| self.callers.get_mut(&caller));
        let wrong_by_caller = of_caller.map_or(0, |wrong| recent(wrong, now, CALLER_WINDOW));
        let wrong_on_trunk = self.trunks.get_mut(trunk).map_or(0, |wrong| recent(wrong, now, TRUNK_WINDOW));
        let fast = wrong_on_trunk < rules.wrong_per_minute as usize;
        Pace {
            answer_after: if fast { ANSWER_AFTER } else { ANSWER_AFTER_SLOW },
            barred: wrong_by_caller >= CALLER_WRONG_MAX,
        }
    }

    /// A PIN was wrong. Gives an alarm when it is the one too many of its trunk in this minute.
    pub fn handle_wrong(
        &mut self,
        caller: Option<CallerMark>,
        trunk: &str,
        rules: &PinRules,
        now: Instant,
    ) -> Option<GuessingAlarm> {
        if let Some(caller) = caller {
            if self.callers.len() >= CALLERS_MAX {
                self.callers.retain(|_, wrong| recent(wrong, now, CALLER_WINDOW) > 0);
            }
            // A full table is an attack with forged numbers, which the count by trunk slows down.
            if self.callers.len() < CALLERS_MAX || self.callers.contains_key(&caller) {
                push(self.callers.entry(caller).or_default(), now, CALLER_WRONG_MAX);
            }
        }
        let max = rules.wrong_per_minute as usize;
        let wrong = self.trunks.entry(trunk.to_owned()).or_default();
        let before = recent(wrong, now, TRUNK_WINDOW);
        push(wrong, now, max);
        (before + 1 == max).then(|| GuessingAlarm { trunk: trunk.to_owned() })
    }
}

/// How many lie within the window; older ones are forgotten.
fn recent(times: &mut VecDeque<Instant>, now: Instant, window: Duration) -> usize {
    while times.front().is_some_and(|first| now.saturating_duration_since(*first) >= window) {
        times.pop_front();
    }
    times.len()
}

/// Keeps the newest `len_max`: more say nothing more.
fn push(times: &mut VecDeque<Instant>, now: Instant, len_max: usize) {
    if times.len() >= len_max.max(1) {
        times.pop_front();
    }
    times.push_back(now);
}

/// Longer than the store takes for a PIN that it has, so that having one takes no longer.
const ANSWER_AFTER: Duration = Duration::from_millis(1_500);
/// While somebody guesses: with three tries a call, a trunk of thirty lines gets under nine hundred answers in ten minutes.
const ANSWER_AFTER_SLOW: Duration = Duration::from_secs(6);
/// Wrong PINs of one number until it is barred: two calls.
const CALLER_WRONG_MAX: usize = 5;
/// For so long. A care home's exchange shows one number for all its people: longer would shut them all out for one who cannot read.
const CALLER_WINDOW: Duration = Duration::from_secs(15 * 60);
/// `wrong_per_minute`.
const TRUNK_WINDOW: Duration = Duration::from_secs(60);
/// Numbers that are remembered; 24 bytes and up to five instants each.
const CALLERS_MAX: usize = 20_000;
/// As long as a link to a consultation that was planned for no hour.
const UNPLANNED_SECONDS: i64 = 24 * 3_600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Admission;
    use crate::store::testing::{consultation, seat};

    fn rules() -> PinRules {
        PinRules::default()
    }

    #[test]
    fn a_pin_works_from_a_quarter_of_an_hour_before_to_an_hour_after_and_while_the_consultation_lasts() {
        const BEGIN: i64 = 1_000_000;
        let window = Window::of(Some(BEGIN), 5, &rules());
        for (now, live, expected) in [
            (BEGIN - 901, false, false),
            (BEGIN - 900, false, true),
            (BEGIN, false, true),
            (BEGIN + 3_600, false, true),
            (BEGIN + 3_601, false, false),
            (BEGIN + 3_601, true, true),
            (BEGIN - 901, true, false),
        ] {
            assert_eq!(window.is_open(now, live), expected, "{now} {live}");
        }
        let unplanned = Window::of(None, BEGIN, &rules());
        assert!(unplanned.is_open(BEGIN, false) && unplanned.is_open(BEGIN + 86_400, false));
        assert!(!unplanned.is_open(BEGIN + 86_401, false));
        // Whatever a clinic wrote, nothing overflows.
        assert!(!Window::of(Some(i64::MIN), 0, &rules()).is_open(0, false));
        assert!(!Window::of(Some(i64::MAX), 0, &rules()).is_open(0, true));
    }

    #[test]
    fn a_pin_opens_exactly_one_seat_or_none() {
        const NOW: i64 = 1_000_000;
        let of = |id: &str, starts_at, ended_at, admission| {
            let mut consultation = consultation(id, "clinic");
            (consultation.starts_at, consultation.ended_at) = (Some(starts_at), ended_at);
            let mut seat = seat(&format!("{id}-seat"), id);
            seat.admission = admission;
            (consultation, seat)
        };
        let good = || of("good", NOW, None, Admission::Waiting);
        let opened =
            |found: &[(ConsultationRecord, SeatRecord)], live: &str| match open(found.to_vec(), &rules(), NOW, |id| {
                id == live
            }) {
                PinFinds::Seat(opened) => Ok(opened.0.id),
                other => Err(Try::of(&other, false).label()),
            };
        assert_eq!(opened(&[], ""), Err("wrong"));
        assert_eq!(opened(&[good()], ""), Ok("good".into()));
        let early = of("early", NOW + 901, None, Admission::Waiting);
        let late = of("late", NOW - 3_601, None, Admission::Admitted);
        let over = of("over", NOW, Some(NOW), Admission::Admitted);
        let removed = of("removed", NOW, None, Admission::Refused);
        for other in [&early, &late, &over, &removed] {
            assert_eq!(opened(std::slice::from_ref(other), ""), Err("outside"));
            assert_eq!(opened(&[other.clone(), good()], ""), Ok("good".into()), "the same digits at another time");
        }
        assert_eq!(opened(&[late], "late"), Ok("late".into()));
        let twin = of("twin", NOW + 60, None, Admission::Waiting);
        assert_eq!(opened(&[good(), twin], ""), Err("outside"), "never the wrong one");
    }

    /// Whoever called twenty minutes early was barred when the time had come, and each further try with the right PIN kept the bar up.
    #[test]
    fn only_digits_that_no_seat_has_are_a_guess() {
        let seat = PinFinds::Seat(Box::new((consultation("c", "clinic"), seat("s", "c"))));
        for (finds, barred, label, is_guess) in [
            (&seat, false, "right", false),
            (&PinFinds::Outside, false, "outside", false),
            (&PinFinds::Nothing, false, "wrong", true),
            (&seat, true, "barred", false),
            (&PinFinds::Outside, true, "barred", false),
            (&PinFinds::Nothing, true, "barred", true),
        ] {
            let tried = Try::of(finds, barred);
            assert_eq!((tried.label(), tried.is_guess()), (label, is_guess), "{finds:?} {barred}");
            assert_eq!(tried == Try::Right, label == "right", "nothing else opens a seat");
        }
    }

    #[test]
    fn a_caller_is_barred_after_five_wrong_pins_for_a_quarter_of_an_hour() {
        let (mut throttle, start, rules) = (Throttle::default(), Instant::now(), rules());
        let (guesser, other) = (Some(CallerMark(1)), Some(CallerMark(2)));
        for wrong in 0..5 {
            assert!(!throttle.pace(guesser, "t", &rules, start).barred, "{wrong}");
            throttle.handle_wrong(guesser, "t", &rules, start);
        }
        assert!(throttle.pace(guesser, "t", &rules, start).barred);
        assert!(!throttle.pace(other, "t", &rules, start).barred);
        assert!(!throttle.pace(None, "t", &rules, start).barred, "a withheld number is many people's");
        let later = start + Duration::from_secs(899);
        assert!(throttle.pace(guesser, "t", &rules, later).barred);
        assert!(!throttle.pace(guesser, "t", &rules, later + Duration::from_secs(1)).barred);
    }

    #[test]
    fn thirty_wrong_pins_in_a_minute_make_a_trunk_slower_and_raise_one_alarm() {
        let (mut throttle, start, rules) = (Throttle::default(), Instant::now(), rules());
        let mut alarms = Vec::new();
        for wrong in 0..40 {
            let now = start + Duration::from_secs(wrong);
            alarms.extend(throttle.handle_wrong(Some(CallerMark(wrong)), "t", &rules, now).map(|_| wrong));
        }
        assert_eq!(alarms, [29], "the thirtieth");
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(throttle.pace(None, "t", &rules, at(40)).answer_after, ANSWER_AFTER_SLOW);
        assert_eq!(throttle.pace(None, "other", &rules, at(40)).answer_after, ANSWER_AFTER);
        assert_eq!(throttle.pace(None, "t", &rules, at(71)).answer_after, ANSWER_AFTER);
        for wrong in 0..30 {
            alarms.extend(throttle.handle_wrong(None, "t", &rules, at(200)).map(|_| 200 + wrong));
        }
        assert_eq!(alarms, [29, 229], "again after it was quiet");
    }

    #[test]
    fn memory_is_bounded_whoever_calls() {
        let (mut throttle, now, rules) = (Throttle::default(), Instant::now(), rules());
        for caller in 0..(CALLERS_MAX as u64 + 500) {
            throttle.handle_wrong(Some(CallerMark(caller)), "t", &rules, now);
        }
        assert_eq!(throttle.callers.len(), CALLERS_MAX);
        assert!(throttle.trunks["t"].len() <= 30);
        throttle.handle_wrong(Some(CallerMark(u64::MAX)), "t", &rules, now + CALLER_WINDOW);
        assert_eq!(throttle.callers.len(), 1);
    }
}
