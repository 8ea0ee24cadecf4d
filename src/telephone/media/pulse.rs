//! Whether the telephone is still there: what its silence means, and for how long it is put up with.
//!
//! ```text
//!   Awaiting --RTP--> Flowing --5 s without RTP, RTCP goes on or on hold--> Silent --300 s--> given up
//!      | 5 s             ^  \---5 s without either--> Lost --10 s: probe--> --20 s--> given up
//!      v                 |                             | the probe was answered
//!   NoSound -------------+-------RTP-------------------+--> Silent
//! ```
//!
//! Not here: sockets, SIP (whoever owns the call probes and hangs up). Pure: instants come in, signs come out; each
//! sign once for each time that it is true.

use std::time::{Duration, Instant};

/// How long what is put up with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PulseTimers {
    /// Without sound before anybody is told.
    pub told: Duration,
    /// Without sound and reports before the owner asks the far end (SIP UPDATE).
    pub probe: Duration,
    /// Without sound and reports before the call is over.
    pub lost: Duration,
    /// Without sound, though the far end is there, before the call is over.
    pub silence: Duration,
}

impl Default for PulseTimers {
    fn default() -> Self {
        Self {
            told: Duration::from_secs(5),
            probe: Duration::from_secs(10),
            lost: Duration::from_secs(20),
            silence: Duration::from_secs(300),
        }
    }
}

/// What has become of the telephone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// The first packet.
    FirstPacket,
    /// Never a packet: sound goes one way only, or none.
    NeverHeard,
    /// No sound, though the far end is there.
    Silent,
    /// Neither sound nor reports.
    Lost,
    /// Still lost: the owner should ask the far end.
    ProbeDue,
    /// Sound again.
    Back,
    /// Longer than is put up with: the owner should hang up.
    GivenUp,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Since the call was connected.
    Awaiting { told: bool, probed: bool },
    Flowing,
    Silent,
    Lost { probed: bool },
    GivenUp,
}

/// One call's watch.
#[derive(Debug)]
pub struct Pulse {
    timers: PulseTimers,
    state: State,
    /// The last sound, or the beginning.
    heard: Instant,
    /// The last report or other proof of life.
    alive: Instant,
    held: bool,
}

impl Pulse {
    /// From the moment when the far end was told where to send.
    #[must_use]
    pub fn new(now: Instant, timers: PulseTimers) -> Self {
        let state = State::Awaiting { told: false, probed: false };
        Self { timers, state, heard: now, alive: now, held: false }
    }

    /// A packet of sound was accepted.
    pub fn handle_sound(&mut self, now: Instant) -> Option<Sign> {
        let sign = match self.state {
            State::Awaiting { .. } => Some(Sign::FirstPacket),
            State::Flowing => None,
            State::Silent | State::Lost { .. } | State::GivenUp => Some(Sign::Back),
        };
        self.state = State::Flowing;
        self.heard = now;
        self.alive = now;
        sign
    }

    /// The far end proved that it is there: a report, an answer to a probe.
    pub fn handle_life(&mut self, now: Instant) {
        self.alive = now;
    }

    /// Whether the far end said that it sends nothing now (hold).
    pub fn set_held(&mut self, now: Instant, held: bool) {
        if self.held && !held {
            // The wait for sound begins anew.
            self.heard = now;
            self.alive = now;
        }
        self.held = held;
    }

    /// What has become true by the passage of time. To be called a few times a second.
    pub fn poll(&mut self, now: Instant) -> Option<Sign> {
        let quiet = now.saturating_duration_since(self.heard);
        let dead = now.saturating_duration_since(self.alive);
        let there = self.held || dead < self.timers.told;
        let (state, sign) = match self.state {
            State::Awaiting { told, probed } => self.next_awaiting(quiet, there, told, probed)?,
            State::Flowing if quiet >= self.timers.told && there => (State::Silent, Sign::Silent),
            State::Flowing if quiet >= self.timers.told => (State::Lost { probed: false }, Sign::Lost),
            State::Silent if quiet >= self.timers.silence => (State::GivenUp, Sign::GivenUp),
            State::Silent if !self.held && dead >= self.dead_after_life() => (State::Lost { probed: false }, Sign::Lost),
            State::Lost { .. } if there => (State::Silent, Sign::Silent),
            State::Lost { probed: false } if dead >= self.timers.probe => (State::Lost { probed: true }, Sign::ProbeDue),
            State::Lost { .. } if dead >= self.timers.lost => (State::GivenUp, Sign::GivenUp),
            State::Flowing | State::Silent | State::Lost { .. } | State::GivenUp => return None,
        };
        self.state = state;
        Some(sign)
    }

    fn next_awaiting(&self, quiet: Duration, there: bool, told: bool, probed: bool) -> Option<(State, Sign)> {
        // Whoever holds the line from the beginning owes no sound.
        let patience = if there { self.timers.silence } else { self.timers.lost };
        if !told && !self.held && quiet >= self.timers.told {
            return Some((State::Awaiting { told: true, probed }, Sign::NeverHeard));
        }
        if !there && !probed && quiet >= self.timers.probe {
            return Some((State::Awaiting { told, probed: true }, Sign::ProbeDue));
        }
        (quiet >= patience).then_some((State::GivenUp, Sign::GivenUp))
    }

    /// Reports come every few seconds, an answer to a probe just once: one that was alive a moment ago is not lost again
    /// before two intervals of reports have passed.
    fn dead_after_life(&self) -> Duration {
        self.timers.told + self.timers.probe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a watch in steps of 100 ms: `life` tells at which tenth of a second a sound ('s') or a report ('r') comes.
    fn signs(seconds: u64, held: bool, life: impl Fn(u64) -> Option<char>) -> Vec<(u64, Sign)> {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, PulseTimers::default());
        pulse.set_held(start, held);
        let mut seen = Vec::new();
        for tenth in 0..seconds * 10 {
            let now = start + Duration::from_millis(tenth * 100);
            let sign = match life(tenth) {
                Some('s') => pulse.handle_sound(now),
                Some(_) => {
                    pulse.handle_life(now);
                    None
                }
                None => None,
            };
            seen.extend(sign.or_else(|| pulse.poll(now)).map(|sign| (tenth / 10, sign)));
        }
        seen
    }

    #[test]
    fn a_call_that_is_never_heard_is_told_at_five_seconds_probed_and_given_up() {
        assert_eq!(signs(60, false, |_| None), [(5, Sign::NeverHeard), (10, Sign::ProbeDue), (20, Sign::GivenUp)]);
    }

    #[test]
    fn a_call_that_only_reports_is_told_once_and_put_up_with_for_five_minutes() {
        let reports = |tenth: u64| (tenth % 40 == 0).then_some('r');
        assert_eq!(signs(400, false, reports), [(5, Sign::NeverHeard), (300, Sign::GivenUp)]);
    }

    #[test]
    fn a_call_that_sends_is_never_spoken_of_again() {
        assert_eq!(signs(600, false, |tenth| (tenth % 2 == 0).then_some('s')), [(0, Sign::FirstPacket)]);
    }

    #[test]
    fn silence_with_reports_is_told_at_five_seconds_and_kept_five_minutes() {
        let life = |tenth: u64| match tenth {
            0..=100 => Some('s'),
            _ => (tenth % 40 == 0).then_some('r'),
        };
        let expected = [(0, Sign::FirstPacket), (15, Sign::Silent), (310, Sign::GivenUp)];
        assert_eq!(signs(400, false, life), expected);
    }

    #[test]
    fn neither_sound_nor_reports_is_lost_probed_and_given_up() {
        let life = |tenth: u64| (tenth <= 100).then_some('s');
        let expected = [(0, Sign::FirstPacket), (15, Sign::Lost), (20, Sign::ProbeDue), (30, Sign::GivenUp)];
        assert_eq!(signs(60, false, life), expected);
    }

    #[test]
    fn an_answered_probe_makes_it_silence_until_that_is_old_too() {
        let life = |tenth: u64| match tenth {
            0..=100 => Some('s'),
            210 | 370 => Some('r'),
            _ => None,
        };
        let expected = [
            (0, Sign::FirstPacket),
            (15, Sign::Lost),
            (20, Sign::ProbeDue),
            (21, Sign::Silent),
            (36, Sign::Lost),
            (36, Sign::ProbeDue),
            (37, Sign::Silent),
            (52, Sign::Lost),
            (52, Sign::ProbeDue),
            (57, Sign::GivenUp),
        ];
        assert_eq!(signs(90, false, life), expected);
    }

    #[test]
    fn a_held_call_is_silent_and_never_lost() {
        let life = |tenth: u64| (tenth == 0).then_some('s');
        assert_eq!(signs(400, true, life), [(0, Sign::FirstPacket), (5, Sign::Silent), (300, Sign::GivenUp)]);
        assert_eq!(signs(290, true, |_| None), [], "held from the beginning: nothing is owed");
    }

    #[test]
    fn sound_brings_it_back_from_everywhere() {
        for gap in [60, 120, 250] {
            let life = |tenth: u64| (tenth == 0 || tenth >= gap).then_some('s');
            let seen = signs(40, false, life);
            assert_eq!(seen.last(), Some(&(gap / 10, Sign::Back)), "{seen:?}");
        }
    }

    #[test]
    fn after_a_hold_the_wait_begins_anew() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, PulseTimers::default());
        pulse.handle_sound(start);
        pulse.set_held(start, true);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(pulse.poll(at(6)), Some(Sign::Silent));
        pulse.set_held(at(100), false);
        assert_eq!(pulse.poll(at(104)), None);
        assert_eq!(pulse.poll(at(116)), Some(Sign::Lost), "no report since");
    }
}
