//! What calls may cost: how often a seat is called, how many calls run at once, minutes a day, and the switch that stops them all.
//!
//! ```text
//!   ask --[switch, attempts, calls at once, minutes]--> CallId --handle_answer--> costs --handle_end--> minutes of the day
//!                                                        \--poll_news--> what a call has used; at 50, 80 and 100 % of a day: an alarm
//! ```
//!
//! A value without a clock. Minutes of the day outlive the process: whoever keeps what is told of them gives it back at the next start
//! ([`Budget::handle_earlier`]). Attempts and running calls do not: the calls end with the process. A running call is never cut for want of minutes, only by its own longest time: the
//! consultation goes first, and one call cannot cost more than that. Not here: which numbers may be called (`numbers`).

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::Percent;

/// What the operator allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    /// Calls are made at all: the switch.
    pub enabled: bool,
    /// Calls to one seat within `window`.
    pub attempts: u32,
    /// Over how long attempts are counted.
    pub window: Duration,
    /// Calls that one person (a seat that asks, or the clinic for one consultation) may have running.
    pub at_once: u32,
    /// Telephone legs of one clinic at the same time, those that dialled in included.
    pub legs_per_clinic: u32,
    /// Telephone legs of the whole server.
    pub legs: u32,
    /// Minutes of one clinic's calls in a day (UTC).
    pub daily_minutes: u32,
}

/// Who asks for a call, to whom.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Whose consultation.
    pub clinic: &'a str,
    /// Which.
    pub consultation: &'a str,
    /// Who is to be called.
    pub seat: &'a str,
    /// Who wants it: the seat that asks, or the consultation for which the clinic or the server does.
    pub by: &'a str,
}

/// Why no call is made. One at a time: the first that holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum BudgetRefusal {
    /// The operator has switched calls off.
    #[error("calls are switched off on this server")]
    SwitchedOff,
    /// This seat was called too often just now.
    #[error("this person was called too often just now")]
    TooOften,
    /// Whoever asks has as many calls running as they may.
    #[error("too many calls at once")]
    TooManyAtOnce,
    /// Clinic or server have as many telephones in their consultations as they may.
    #[error("every line is in use")]
    LinesBusy,
    /// The clinic's minutes of the day are used up.
    #[error("the clinic's minutes of telephone for today are used up")]
    MinutesUsed,
}

/// What was spent, and what runs.
#[derive(Debug)]
pub struct Budget {
    allowance: Allowance,
    attempts: HashMap<String, Vec<Instant>>,
    running: HashMap<CallId, Running>,
    days: HashMap<String, Day>,
    /// Calls that are over and were not told yet.
    over: VecDeque<Charge>,
    next: u64,
}

/// A call in the budget's books.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CallId(u64);

#[derive(Debug)]
struct Running {
    clinic: String,
    /// Nothing for a call that came in: the caller pays.
    made: Option<Made>,
    /// Since when it costs.
    answered: Option<Instant>,
}

/// A call that the server makes.
#[derive(Debug)]
struct Made {
    by: String,
    consultation: String,
    seat: String,
}

/// A clinic's day.
#[derive(Clone, Copy, Default, Debug)]
struct Day {
    /// Days since 1970.
    number: i64,
    spent: Duration,
    alarmed: u8,
}

/// What is told for good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// A call that the server made, and that was answered, is over.
    Charged(Charge),
    /// A clinic has passed a mark of its minutes of the day.
    Alarm(Alarm),
}

/// What a call has used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Charge {
    /// Whose minutes.
    pub clinic: String,
    /// In which consultation.
    pub consultation: String,
    /// Who was called.
    pub seat: String,
    /// From the answer to the end, a begun second counted whole.
    pub seconds: u64,
}

/// What was used today, of all clinics: which one it was is told in the log and by an alarm, never by a metric.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Usage {
    /// Of calls that the server made, what runs included.
    pub spent: Duration,
    /// Share of its minutes that the clinic has used which used most; more than 1 when a running call goes on.
    pub most: f64,
    /// Clinics that have used 50, 80 and 100 percent.
    pub past: [(Percent, usize); ALARMS.len()],
}

/// So much of a clinic's minutes of the day is used up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alarm {
    /// Whose.
    pub clinic: String,
    /// 50, 80 or 100.
    pub used: Percent,
    /// Of so many minutes.
    pub minutes: u32,
}

impl Budget {
    /// Nothing spent.
    #[must_use]
    pub fn new(allowance: Allowance) -> Self {
        let (attempts, running, days) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { allowance, attempts, running, days, over: VecDeque::new(), next: 0 }
    }

    /// What an earlier process told of today: a call's seconds, or the mark that a clinic was told of.
    pub fn handle_earlier(&mut self, clinic: &str, seconds: u64, told: Percent, today: i64) {
        if let Some(day) = self.day(clinic, today) {
            day.spent = day.spent.saturating_add(Duration::from_secs(seconds));
            day.alarmed = day.alarmed.max(told.0);
        }
    }

    /// Other limits from now on; what runs goes on.
    pub fn set_allowance(&mut self, allowance: Allowance) {
        self.allowance = allowance;
    }

    /// Whether calls are made at all.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.allowance.enabled
    }

    /// Whether this call may be made now. An allowed one is in the books from here on, as an attempt and as running; it has to be ended
    /// with [`Budget::handle_end`].
    pub fn ask(&mut self, asked: Asked<'_>, now: Instant, today: i64) -> Result<CallId, BudgetRefusal> {
        let Allowance { enabled, attempts, at_once, daily_minutes, .. } = self.allowance;
        self.forget_old_attempts(now);
        let tried = self.attempts.get(asked.seat).map_or(0, Vec::len);
        let has = |count: u32, max: u32| count >= max;
        if !enabled {
            return Err(BudgetRefusal::SwitchedOff);
        }
        if tried >= attempts as usize || self.attempts.len() >= SEATS_MAX && tried == 0 {
            return Err(BudgetRefusal::TooOften);
        }
        if has(self.count(|running| running.made.as_ref().is_some_and(|made| made.by == asked.by)), at_once) {
            return Err(BudgetRefusal::TooManyAtOnce);
        }
        self.check_lines(asked.clinic)?;
        if self.spent(asked.clinic, now, today) >= minutes(daily_minutes) {
            return Err(BudgetRefusal::MinutesUsed);
        }
        self.attempts.entry(asked.seat.to_owned()).or_default().push(now);
        let Asked { clinic, consultation, seat, by } = asked;
        let made = Made { by: by.to_owned(), consultation: consultation.to_owned(), seat: seat.to_owned() };
        Ok(self.book(clinic, Some(made)))
    }

    /// A telephone that dialled in takes a line, and costs the clinic nothing. Refused when there is none.
    pub fn handle_arrival(&mut self, clinic: &str) -> Result<CallId, BudgetRefusal> {
        self.check_lines(clinic)?;
        Ok(self.book(clinic, None))
    }

    /// Somebody has answered: from now on it costs.
    pub fn handle_answer(&mut self, call: CallId, now: Instant) {
        if let Some(running) = self.running.get_mut(&call) {
            running.answered.get_or_insert(now);
        }
    }

    /// A call is over. Its minutes are the day's on which it ended.
    pub fn handle_end(&mut self, call: CallId, now: Instant, today: i64) {
        let Some(Running { clinic, made, answered }) = self.running.remove(&call) else { return };
        let (Some(Made { consultation, seat, .. }), Some(since)) = (made, answered) else { return };
        // Operators charge whole seconds from the first.
        let lasted = now.saturating_duration_since(since).as_millis().div_ceil(1_000).max(1);
        let seconds = u64::try_from(lasted).unwrap_or(u64::MAX);
        if let Some(day) = self.day(&clinic, today) {
            day.spent = day.spent.saturating_add(Duration::from_secs(seconds));
        }
        if self.over.len() == OVER_MAX {
            self.over.pop_front();
        }
        self.over.push_back(Charge { clinic, consultation, seat, seconds });
    }

    /// What is to be told: calls that are over, then marks that a clinic has passed today and was not told of.
    pub fn poll_news(&mut self, now: Instant, today: i64) -> Option<News> {
        if let Some(charge) = self.over.pop_front() {
            return Some(News::Charged(charge));
        }
        let clinics = self.clinics();
        clinics.iter().find_map(|clinic| self.poll_alarm(clinic, now, today)).map(News::Alarm)
    }

    fn poll_alarm(&mut self, clinic: &str, now: Instant, today: i64) -> Option<Alarm> {
        let daily_minutes = self.allowance.daily_minutes;
        let whole = Some(minutes(daily_minutes)).filter(|whole| !whole.is_zero())?;
        let spent = self.spent(clinic, now, today);
        let passed = ALARMS.into_iter().rev().find(|mark| spent * 100 >= whole * u32::from(*mark))?;
        let day = self.day(clinic, today)?;
        if day.alarmed >= passed {
            return None;
        }
        day.alarmed = passed;
        Some(Alarm { clinic: clinic.to_owned(), used: Percent(passed), minutes: daily_minutes })
    }

    /// Minutes that a clinic has used today, what runs included.
    #[must_use]
    pub fn spent(&self, clinic: &str, now: Instant, today: i64) -> Duration {
        let over = self.days.get(clinic).filter(|day| day.number == today).map_or(Duration::ZERO, |day| day.spent);
        let of_clinic = |running: &&Running| running.clinic == clinic && running.made.is_some();
        let since = |running: &Running| running.answered.map(|since| now.saturating_duration_since(since));
        over + self.running.values().filter(of_clinic).filter_map(since).sum::<Duration>()
    }

    /// What all of them have used today.
    #[must_use]
    pub fn usage(&self, now: Instant, today: i64) -> Usage {
        let spent: Vec<Duration> = self.clinics().iter().map(|clinic| self.spent(clinic, now, today)).collect();
        let whole = minutes(self.allowance.daily_minutes);
        let share = |spent: &Duration| spent.as_secs_f64() / whole.as_secs_f64().max(1.0);
        let past = |mark: u8| {
            let passed = spent.iter().filter(|spent| !spent.is_zero() && **spent * 100 >= whole * u32::from(mark));
            (Percent(mark), passed.count())
        };
        Usage { spent: spent.iter().sum(), most: spent.iter().map(share).fold(0.0, f64::max), past: ALARMS.map(past) }
    }

    /// Clinics with calls in the books of today or running, for metrics and alarms.
    pub fn clinics(&self) -> Vec<String> {
        let mut clinics: Vec<String> =
            self.days.keys().chain(self.running.values().map(|running| &running.clinic)).cloned().collect();
        clinics.sort();
        clinics.dedup();
        clinics
    }

    fn check_lines(&self, clinic: &str) -> Result<(), BudgetRefusal> {
        let Allowance { legs, legs_per_clinic, .. } = self.allowance;
        let of_clinic = self.count(|running| running.clinic == clinic);
        let full = of_clinic >= legs_per_clinic || self.count(|_| true) >= legs;
        if full { Err(BudgetRefusal::LinesBusy) } else { Ok(()) }
    }

    fn count(&self, which: impl Fn(&Running) -> bool) -> u32 {
        u32::try_from(self.running.values().filter(|running| which(running)).count()).unwrap_or(u32::MAX)
    }

    fn book(&mut self, clinic: &str, made: Option<Made>) -> CallId {
        self.next += 1;
        let call = CallId(self.next);
        let running = Running { clinic: clinic.to_owned(), made, answered: None };
        self.running.insert(call, running);
        call
    }

    fn day(&mut self, clinic: &str, today: i64) -> Option<&mut Day> {
        if self.days.len() >= CLINICS_MAX {
            self.days.retain(|_, day| day.number == today);
        }
        if self.days.len() >= CLINICS_MAX && !self.days.contains_key(clinic) {
            return None;
        }
        let day = self.days.entry(clinic.to_owned()).or_default();
        if day.number != today {
            *day = Day { number: today, ..Day::default() };
        }
        Some(day)
    }

    fn forget_old_attempts(&mut self, now: Instant) {
        let window = self.allowance.window;
        self.attempts.retain(|_, attempts| {
            attempts.retain(|at| now.saturating_duration_since(*at) < window);
            !attempts.is_empty()
        });
    }
}

fn minutes(minutes: u32) -> Duration {
    Duration::from_secs(u64::from(minutes) * 60)
}

/// At these shares of a clinic's minutes somebody is told.
const ALARMS: [u8; 3] = [50, 80, 100];
/// Seats called within a window: far more than a server's lines can call in it. Past that, seats that were not called yet have to wait.
const SEATS_MAX: usize = 10_000;
/// Calls that ended and wait to be told, which happens every second: as many as the server may have lines, twice. Past that the oldest is
/// told to nobody, and still counts.
const OVER_MAX: usize = 4_000;
/// Clinics in the books of one day; more clinics than one server has. Past that a further clinic's minutes are not counted.
const CLINICS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance = Allowance {
        enabled: true,
        attempts: 3,
        window: Duration::from_secs(900),
        at_once: 2,
        legs_per_clinic: 4,
        legs: 5,
        daily_minutes: 10,
    };
    const TODAY: i64 = 20_000;

    fn asked<'a>(clinic: &'a str, seat: &'a str, by: &'a str) -> Asked<'a> {
        Asked { clinic, consultation: "consultation", seat, by }
    }

    fn news(budget: &mut Budget, now: Instant, today: i64) -> Vec<News> {
        std::iter::from_fn(|| budget.poll_news(now, today)).collect()
    }

    fn charged(clinic: &str, seconds: u64) -> News {
        let (consultation, seat) = ("consultation".to_owned(), "s".to_owned());
        News::Charged(Charge { clinic: clinic.to_owned(), consultation, seat, seconds })
    }

    fn alarm(used: u8) -> News {
        News::Alarm(Alarm { clinic: "c".to_owned(), used: Percent(used), minutes: 10 })
    }

    #[test]
    fn a_seat_is_called_three_times_in_a_quarter_of_an_hour() {
        let (mut budget, start) = (Budget::new(ALLOWANCE), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for seconds in [0, 60, 120] {
            let call = budget.ask(asked("c", "s", "host"), at(seconds), TODAY).unwrap();
            budget.handle_end(call, at(seconds + 30), TODAY);
        }
        assert_eq!(budget.ask(asked("c", "s", "host"), at(899), TODAY), Err(BudgetRefusal::TooOften));
        assert!(budget.ask(asked("c", "other", "host"), at(899), TODAY).is_ok());
        assert!(budget.ask(asked("c", "s", "host"), at(900), TODAY).is_ok(), "the first attempt is forgotten");
        assert_eq!(budget.ask(asked("c", "s", "host"), at(901), TODAY), Err(BudgetRefusal::TooOften));
    }

    #[test]
    fn a_refused_call_is_no_attempt() {
        let (mut budget, now) = (Budget::new(ALLOWANCE), Instant::now());
        budget.set_allowance(Allowance { enabled: false, ..ALLOWANCE });
        for _ in 0..10 {
            assert_eq!(budget.ask(asked("c", "s", "host"), now, TODAY), Err(BudgetRefusal::SwitchedOff));
        }
        budget.set_allowance(ALLOWANCE);
        assert!(budget.ask(asked("c", "s", "host"), now, TODAY).is_ok());
    }

    #[test]
    fn calls_at_once_are_limited_by_asker_by_clinic_and_in_all() {
        let (mut budget, now) = (Budget::new(ALLOWANCE), Instant::now());
        let first = budget.ask(asked("c", "s1", "host"), now, TODAY).unwrap();
        budget.ask(asked("c", "s2", "host"), now, TODAY).unwrap();
        assert_eq!(budget.ask(asked("c", "s3", "host"), now, TODAY), Err(BudgetRefusal::TooManyAtOnce));
        budget.ask(asked("c", "s3", "colleague"), now, TODAY).unwrap();
        budget.handle_arrival("c").unwrap();
        assert_eq!(budget.handle_arrival("c"), Err(BudgetRefusal::LinesBusy), "four of one clinic");
        budget.handle_arrival("d").unwrap();
        assert_eq!(budget.handle_arrival("e"), Err(BudgetRefusal::LinesBusy), "five in all");
        assert_eq!(budget.ask(asked("e", "s9", "x"), now, TODAY), Err(BudgetRefusal::LinesBusy));
        budget.handle_end(first, now, TODAY);
        let fourth = budget.ask(asked("c", "s4", "host"), now, TODAY).unwrap();
        budget.handle_answer(fourth, now);
        budget.handle_end(fourth, now, TODAY);
        budget.handle_end(fourth, now, TODAY);
        assert_eq!(budget.spent("c", now, TODAY), Duration::from_secs(1), "an end is counted once");
    }

    #[test]
    fn minutes_count_from_the_answer_and_are_new_every_day() {
        let (mut budget, start) = (Budget::new(ALLOWANCE), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let call = budget.ask(asked("c", "s", "host"), start, TODAY).unwrap();
        assert_eq!(budget.spent("c", at(300), TODAY), Duration::ZERO, "ringing costs nothing");
        budget.handle_answer(call, at(300));
        assert_eq!(budget.spent("c", at(360), TODAY), Duration::from_secs(60));
        budget.handle_end(call, at(900), TODAY);
        assert_eq!(budget.spent("c", at(900), TODAY), Duration::from_secs(600));
        assert_eq!(budget.ask(asked("c", "t", "host"), at(900), TODAY), Err(BudgetRefusal::MinutesUsed));
        assert!(budget.ask(asked("d", "t", "host"), at(900), TODAY).is_ok(), "each clinic has its own");
        assert!(budget.ask(asked("c", "t", "host"), at(900), TODAY + 1).is_ok());
    }

    #[test]
    fn a_call_that_came_in_costs_the_clinic_nothing() {
        let (mut budget, now) = (Budget::new(ALLOWANCE), Instant::now());
        let call = budget.handle_arrival("c").unwrap();
        budget.handle_answer(call, now);
        let later = now + Duration::from_secs(36_000);
        assert_eq!(budget.spent("c", later, TODAY), Duration::ZERO);
        budget.handle_end(call, later, TODAY);
        assert_eq!(news(&mut budget, later, TODAY), []);
    }

    #[test]
    fn an_alarm_is_raised_once_a_day_at_each_mark() {
        let (mut budget, start) = (Budget::new(ALLOWANCE), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let call = budget.ask(asked("c", "s", "host"), start, TODAY).unwrap();
        budget.handle_answer(call, start);
        assert_eq!(news(&mut budget, at(299), TODAY), []);
        assert_eq!(news(&mut budget, at(300), TODAY), [alarm(50)]);
        assert_eq!(news(&mut budget, at(301), TODAY), []);
        assert_eq!(news(&mut budget, at(480), TODAY), [alarm(80)]);
        budget.handle_end(call, at(600), TODAY);
        assert_eq!(news(&mut budget, at(600), TODAY), [charged("c", 600), alarm(100)]);
        assert_eq!(news(&mut budget, at(700), TODAY), []);
        assert_eq!(budget.clinics(), ["c"]);
        let past = |counts: [usize; 3]| [50, 80, 100].map(Percent).into_iter().zip(counts).collect::<Vec<_>>();
        let usage = budget.usage(at(700), TODAY);
        assert_eq!((usage.spent, usage.most, usage.past.to_vec()), (Duration::from_secs(600), 1.0, past([1, 1, 1])));
        budget.handle_arrival("d").unwrap();
        let usage = budget.usage(at(700), TODAY + 1);
        assert_eq!((usage.spent, usage.most, usage.past.to_vec()), (Duration::ZERO, 0.0, past([0, 0, 0])));
    }

    #[test]
    fn a_jump_over_two_marks_is_one_alarm_and_no_minutes_at_all_are_none() {
        let (mut budget, start) = (Budget::new(ALLOWANCE), Instant::now());
        let call = budget.ask(asked("c", "s", "host"), start, TODAY).unwrap();
        budget.handle_answer(call, start);
        let later = start + Duration::from_millis(599_001);
        budget.handle_end(call, later, TODAY);
        assert_eq!(news(&mut budget, later, TODAY), [charged("c", 600), alarm(100)]);
        let mut closed = Budget::new(Allowance { daily_minutes: 0, ..ALLOWANCE });
        closed.handle_arrival("c").unwrap();
        assert_eq!(news(&mut closed, start, TODAY), []);
    }

    #[test]
    fn what_an_earlier_process_told_of_today_counts_and_is_not_told_again() {
        let (mut budget, now) = (Budget::new(ALLOWANCE), Instant::now());
        for seconds in [200, 280] {
            budget.handle_earlier("c", seconds, Percent(0), TODAY);
        }
        budget.handle_earlier("c", 0, Percent(50), TODAY);
        assert_eq!(budget.spent("c", now, TODAY), Duration::from_secs(480));
        assert_eq!(news(&mut budget, now, TODAY), [alarm(80)], "the mark of 50 was told");
        budget.handle_earlier("c", 120, Percent(80), TODAY);
        assert_eq!(budget.ask(asked("c", "s", "host"), now, TODAY), Err(BudgetRefusal::MinutesUsed));
        assert!(budget.ask(asked("c", "s", "host"), now, TODAY + 1).is_ok());
    }

    #[test]
    fn calls_that_nobody_asks_after_stay_bounded() {
        let (mut budget, now) =
            (Budget::new(Allowance { attempts: u32::MAX, daily_minutes: 100_000, ..ALLOWANCE }), Instant::now());
        for _ in 0..OVER_MAX + 10 {
            let call = budget.ask(asked("c", "s", "host"), now, TODAY).unwrap();
            budget.handle_answer(call, now);
            budget.handle_end(call, now, TODAY);
        }
        assert_eq!(budget.over.len(), OVER_MAX);
        assert_eq!(budget.spent("c", now, TODAY).as_secs(), OVER_MAX as u64 + 10);
    }
}
