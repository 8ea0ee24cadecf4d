//! When which call's frame is due, and how hard the thread may work: absolute deadlines, spread over phases.
//!
//! Time is cut into slots of [`SLOT`]; a call has one phase, and its frame is due in every slot of that phase, every 20 ms.
//! A deadline is computed from the thread's beginning, never from the frame before, so that the clock does not drift; late
//! slots follow one another at once until they have caught up, none is left out but after a stall of [`STALL_MAX`].
//! Not here: threads and sleeping (`thread`). Pure: instants come in.

use std::time::{Duration, Instant};

/// The slots of one frame: calls spread over so many moments.
pub const PHASES: usize = 10;
/// A slot. More phases would spread calls better and wake the thread more often.
pub const SLOT: Duration = Duration::from_millis(2);

/// What the thread should do now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// The frames of this phase, which were due at that moment.
    Frames {
        /// 0 to [`PHASES`].
        phase: usize,
        /// When they should have gone.
        deadline: Instant,
    },
    /// Nothing before that moment.
    Wait(Instant),
    /// No call has a phase: nothing to wait for.
    Idle,
}

/// The order of work of one thread.
#[derive(Debug)]
pub struct Rota {
    origin: Instant,
    /// The next slot, counted from the origin.
    next: u64,
    /// No phase had calls the last time.
    is_idle: bool,
    stalls: u64,
}

impl Rota {
    /// Begins now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { origin: now, next: 0, is_idle: false, stalls: 0 }
    }

    /// What is due. `has_calls` tells which phases have any.
    pub fn poll(&mut self, now: Instant, has_calls: impl Fn(usize) -> bool) -> Due {
        let was_idle = std::mem::replace(&mut self.is_idle, !(0..PHASES).any(&has_calls));
        if was_idle || self.is_idle {
            // Nobody waited for what lies before: it is neither late nor missed.
            let passed = now.saturating_duration_since(self.origin).as_nanos() / SLOT.as_nanos();
            self.next = self.next.max(passed as u64);
        }
        let behind = now.saturating_duration_since(self.deadline(self.next));
        if behind > STALL_MAX {
            let slots = (behind.as_nanos() / SLOT.as_nanos()) as u64;
            self.next += slots;
            self.stalls += 1;
        }
        for ahead in 0..PHASES as u64 {
            let slot = self.next + ahead;
            let phase = (slot % PHASES as u64) as usize;
            if !has_calls(phase) {
                continue;
            }
            let deadline = self.deadline(slot);
            if deadline > now {
                self.next = slot;
                return Due::Wait(deadline);
            }
            self.next = slot + 1;
            return Due::Frames { phase, deadline };
        }
        Due::Idle
    }

    /// How often the thread stood still for longer than could be caught up.
    #[must_use]
    pub fn stalls(&self) -> u64 {
        self.stalls
    }

    fn deadline(&self, slot: u64) -> Instant {
        self.origin + Duration::from_nanos(slot * SLOT.as_nanos() as u64)
    }
}

/// A stall that is not caught up: the machine slept. What lies before it is of no use to anybody.
pub const STALL_MAX: Duration = Duration::from_secs(1);
/// A frame that leaves later than this after its deadline counts as late: half a frame, which the telephone's own buffer
/// still swallows.
pub const LATE_AFTER: Duration = Duration::from_millis(10);

/// How late frames would be if the thread had a core of its own: computed from CPU time alone.
///
/// By the wall clock a thread is late as well for what a hypervisor or other programs took; here only its own work counts.
#[derive(Debug, Default)]
pub struct Backlog {
    /// When that core would be done with all work so far.
    free_at: Option<Instant>,
}

impl Backlog {
    /// Work of so much CPU time was due at that moment. Returns how long after it the work would be done.
    pub fn record(&mut self, deadline: Instant, busy: Duration) -> Duration {
        let done = self.free_at.map_or(deadline, |free_at| free_at.max(deadline)) + busy;
        self.free_at = Some(done);
        done.saturating_duration_since(deadline)
    }
}

/// What encoders may spend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// The configured complexity, and forward error correction where listeners lose packets.
    Full,
    /// Complexity 2 and no correction: a frame in time is worth more.
    Reduced,
}

/// One interval of a thread's work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interval {
    /// How long it was.
    pub wall: Duration,
    /// What the thread computed in it.
    pub busy: Duration,
    /// Frames made.
    pub frames: u64,
    /// Those that left late.
    pub late: u64,
}

impl Interval {
    /// Part of a core, 0 to 1.
    #[must_use]
    pub fn load(&self) -> f64 {
        if self.wall.is_zero() { 0.0 } else { self.busy.as_secs_f64() / self.wall.as_secs_f64() }
    }
}

/// How a thread's work is going: decides its [`Effort`] and whether it takes calls.
#[derive(Debug)]
pub struct Strain {
    effort: Effort,
    load: f64,
    calm: u32,
}

impl Strain {
    /// Rested.
    #[must_use]
    pub fn new() -> Self {
        Self { effort: Effort::Full, load: 0.0, calm: 0 }
    }

    /// One second of work is over. Returns what encoders may spend from now on.
    pub fn record(&mut self, interval: Interval) -> Effort {
        self.load = interval.load();
        let late = interval.late as f64 / interval.frames.max(1) as f64;
        if self.load > LOAD_REDUCE || late > LATE_REDUCE {
            self.effort = Effort::Reduced;
            self.calm = 0;
        } else if self.load < LOAD_RESTORE && interval.late == 0 {
            self.calm += 1;
        } else {
            self.calm = 0;
        }
        if self.calm >= CALM_INTERVALS {
            self.effort = Effort::Full;
        }
        self.effort
    }

    /// Whether one more call may begin.
    #[must_use]
    pub fn takes_calls(&self) -> bool {
        self.load <= LOAD_REFUSE
    }
}

impl Default for Strain {
    fn default() -> Self {
        Self::new()
    }
}

/// Part of a core from which encoders spend less; complexity 2 takes a fifth less than 5.
const LOAD_REDUCE: f64 = 0.75;
/// Part of a second's frames that may leave late before encoders spend less.
const LATE_REDUCE: f64 = 0.01;
/// Part of a core below which a reduced thread may spend again: what full effort adds must still fit.
const LOAD_RESTORE: f64 = 0.5;
/// Calm seconds before it does.
const CALM_INTERVALS: u32 = 10;
/// Part of a core from which calls are refused.
pub const LOAD_REFUSE: f64 = 0.85;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_of_its_own_is_late_by_its_work_alone() {
        let (mut core, start) = (Backlog::default(), Instant::now());
        let mut lateness = |deadline, busy| core.record(start + millis(deadline), millis(busy)).as_millis();
        // Work that fits before the next deadline waits for nothing, however late the wall clock says it was done.
        assert_eq!([lateness(0, 1), lateness(2, 2), lateness(4, 1)], [1, 2, 1]);
        // Too much work piles up, and is worked off where there is none.
        assert_eq!([lateness(6, 7), lateness(8, 7), lateness(10, 1)], [7, 12, 11]);
        assert_eq!(lateness(100, 1), 1);
    }

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// All frames that a thread makes which wakes at these moments (milliseconds): moment, phase, deadline.
    fn frames(wakes: &[u64], phases: &[usize]) -> Vec<(u64, usize, u64)> {
        let origin = Instant::now();
        let mut rota = Rota::new(origin);
        let mut made = Vec::new();
        for &wake in wakes {
            while let Due::Frames { phase, deadline } = rota.poll(origin + millis(wake), |p| phases.contains(&p)) {
                made.push((wake, phase, (deadline - origin).as_millis() as u64));
            }
        }
        made
    }

    #[test]
    fn a_call_is_due_every_20_ms_from_its_phase_on() {
        let wakes: Vec<u64> = (0..100).collect();
        let expected: Vec<_> = (0..5).map(|frame| (frame * 20 + 6, 3, frame * 20 + 6)).collect();
        assert_eq!(frames(&wakes, &[3]), expected);
    }

    #[test]
    fn late_frames_are_caught_up_in_order_and_none_is_left_out() {
        let made = frames(&[0, 150, 151, 160], &[0, 7]);
        let deadlines: Vec<u64> = made.iter().map(|&(_, _, deadline)| deadline).collect();
        assert_eq!(deadlines, [0, 14, 20, 34, 40, 54, 60, 74, 80, 94, 100, 114, 120, 134, 140, 154, 160]);
        assert_eq!(made[1], (150, 7, 14));
        assert_eq!(made.last(), Some(&(160, 0, 160)));
    }

    #[test]
    fn a_clock_that_wakes_late_every_time_does_not_drift() {
        let origin = Instant::now();
        let mut rota = Rota::new(origin);
        let mut now = origin;
        let mut count = 0;
        while now < origin + Duration::from_secs(3600) {
            match rota.poll(now, |phase| phase == 4) {
                Due::Frames { deadline, .. } => {
                    assert_eq!(deadline, origin + millis(8 + 20 * count));
                    count += 1;
                }
                Due::Wait(until) => now = until + millis(13),
                Due::Idle => unreachable!("a phase has calls"),
            }
        }
        assert!(count.abs_diff(3600 * 50) <= 1, "{count}");
    }

    #[test]
    fn after_a_long_stall_it_goes_on_from_now_and_says_so() {
        let origin = Instant::now();
        let mut rota = Rota::new(origin);
        assert_eq!(rota.poll(origin, |p| p == 0), Due::Frames { phase: 0, deadline: origin });
        let later = origin + Duration::from_secs(100);
        let mut made = 0;
        while let Due::Frames { deadline, .. } = rota.poll(later, |p| p == 0) {
            assert!(later - deadline <= millis(20));
            made += 1;
        }
        assert!(made <= 2 && rota.stalls() == 1, "{made}");
    }

    #[test]
    fn without_calls_there_is_nothing_to_wait_for_and_nothing_to_catch_up_with() {
        let origin = Instant::now();
        let mut rota = Rota::new(origin);
        for second in 0..5 {
            assert_eq!(rota.poll(origin + millis(second * 1_001), |_| false), Due::Idle);
        }
        // A call that comes in the middle of such a wait has missed no frame.
        let came = origin + millis(4_904);
        let first = rota.poll(came, |phase| phase == 3);
        assert!(matches!(first, Due::Wait(until) if until > came && until - came < millis(20)), "{first:?}");
        assert_eq!(rota.stalls(), 0);
    }

    fn second(load: f64, late: u64) -> Interval {
        Interval { wall: millis(1000), busy: Duration::from_secs_f64(load), frames: 4_000, late }
    }

    #[test]
    fn effort_falls_at_once_and_rises_after_ten_calm_seconds() {
        let mut strain = Strain::new();
        assert_eq!(strain.record(second(0.7, 20)), Effort::Full);
        assert_eq!(strain.record(second(0.3, 50)), Effort::Reduced, "late without load: others have the core");
        for _ in 0..9 {
            assert_eq!(strain.record(second(0.4, 0)), Effort::Reduced);
        }
        assert_eq!(strain.record(second(0.4, 1)), Effort::Reduced, "one late frame begins the wait anew");
        for _ in 0..9 {
            assert_eq!(strain.record(second(0.4, 0)), Effort::Reduced);
        }
        assert_eq!(strain.record(second(0.4, 0)), Effort::Full);
        assert_eq!(strain.record(second(0.8, 0)), Effort::Reduced);
    }

    #[test]
    fn calls_are_refused_over_85_percent() {
        let mut strain = Strain::new();
        assert!(strain.takes_calls());
        for (load, takes) in [(0.85, true), (0.86, false), (1.0, false), (0.2, true)] {
            strain.record(second(load, 0));
            assert_eq!(strain.takes_calls(), takes, "{load}");
        }
    }
}
