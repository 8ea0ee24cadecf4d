//! A call that we make: dialled, rung, answered, confirmed by a key, then seated.
//!
//! ```text
//!   Dialling --Ringing--> Ringing --Answered--> Confirming --key--> Seated (`seated`)
//!      | ^                  |  |                    \--no key, twice--> Ending --said--> Over
//!      | \--once-- Pausing <-busy                        (a mailbox answers too, and presses nothing)
//!      \--------------------\--> Over, with a cause
//! ```
//!
//! Nothing of the consultation is said or sent before the key, and nothing that is played before the answer is played to anybody. Who
//! may be called, when and how often was decided before (`control::phone`); which line takes the call is `telephone::trunk`.

use std::time::{Duration, Instant};

use colloque_signaling::message::{PhoneCause, PhoneState};

use super::line::LineNews;
use super::seated::{LAST_WORDS_MAX, Seated, last_words, reason_of};
use super::{Action, Input, NotTaken, RoomNews, Times};
use crate::pii::Pii;
use crate::telephone::prompts::Prompt;
use crate::telephone::sip::Reason;
use crate::telephone::trunk::TURN_MAX;

/// A call that we make.
#[derive(Clone, Debug)]
pub struct DialOut {
    times: Times,
    state: State,
    /// The one automatic retry was used.
    retried: bool,
}

#[derive(Clone, Debug)]
enum State {
    Dialling {
        until: Instant,
    },
    Ringing {
        until: Instant,
    },
    /// Busy: again then.
    Pausing {
        until: Instant,
    },
    Confirming {
        until: Instant,
        asked: u32,
    },
    Seated(Seated),
    Ending {
        by: Instant,
        reason: Reason,
    },
    Over,
}

impl DialOut {
    /// Calls.
    #[must_use]
    pub fn new(times: Times, now: Instant) -> (Self, Vec<Action>) {
        let state = State::Dialling { until: now + times.ring + DIALLING_MAX };
        (Self { times, state, retried: false }, vec![Action::Dial, Action::Tell(PhoneState::Calling, None)])
    }

    /// The call is over and was hung up.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match &self.state {
            State::Seated(seated) => seated.is_over(),
            state => matches!(state, State::Over),
        }
    }

    /// When to call [`DialOut::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Dialling { until }
            | State::Ringing { until }
            | State::Pausing { until }
            | State::Confirming { until, .. }
            | State::Ending { by: until, .. } => Some(*until),
            State::Seated(seated) => seated.poll_timeout(),
            State::Over => None,
        }
    }

    /// What follows from something that happened.
    pub fn handle_input(&mut self, input: &Input, now: Instant) -> Vec<Action> {
        match &mut self.state {
            State::Seated(seated) => seated.handle_input(input, now),
            State::Dialling { .. } | State::Ringing { .. } => self.handle_unanswered(input, now),
            State::Pausing { .. } => match way_out(input) {
                Some(cause) => self.fail(cause),
                None => Vec::new(),
            },
            State::Confirming { .. } => self.handle_unconfirmed(input, now),
            State::Ending { reason, .. } => match input {
                Input::Said => {
                    let reason = *reason;
                    self.hang_up(reason)
                }
                Input::HungUp => {
                    self.state = State::Over;
                    Vec::new()
                }
                _ => Vec::new(),
            },
            State::Over => Vec::new(),
        }
    }

    /// What follows from time alone.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Action> {
        match &mut self.state {
            State::Seated(seated) => seated.handle_timeout(now),
            State::Dialling { until } | State::Ringing { until } if now >= *until => {
                let mut actions = vec![Action::GiveUp];
                actions.extend(self.fail(PhoneCause::NoAnswer));
                actions
            }
            State::Pausing { until } if now >= *until => {
                self.state = State::Dialling { until: now + self.times.ring + DIALLING_MAX };
                vec![Action::Dial, Action::Tell(PhoneState::Calling, None)]
            }
            State::Confirming { until, asked } if now >= *until => {
                if *asked >= CONFIRM_PROMPTS {
                    return self.end(Prompt::NotConfirmed, PhoneCause::NotConfirmed, now);
                }
                *asked += 1;
                *until = now + self.times.confirm + PROMPT_MAX;
                vec![Action::Say(Prompt::Confirm)]
            }
            State::Ending { by, reason } if now >= *by => {
                let reason = *reason;
                self.hang_up(reason)
            }
            _ => Vec::new(),
        }
    }

    fn handle_unanswered(&mut self, input: &Input, now: Instant) -> Vec<Action> {
        match input {
            Input::Ringing if matches!(self.state, State::Dialling { .. }) => {
                self.state = State::Ringing { until: now + self.times.ring };
                vec![Action::Tell(PhoneState::Ringing, None)]
            }
            Input::AnotherLine => {
                self.state = State::Dialling { until: now + self.times.ring + DIALLING_MAX };
                vec![Action::Tell(PhoneState::Calling, Some(PhoneCause::AnotherLine))]
            }
            Input::Answered => {
                let until = now + self.times.confirm + PROMPT_MAX;
                self.state = State::Confirming { until, asked: 1 };
                vec![Action::Say(Prompt::Confirm), Action::Tell(PhoneState::Confirming, None)]
            }
            Input::NotTaken(NotTaken::Busy) if !self.retried => {
                self.retried = true;
                self.state = State::Pausing { until: now + self.times.busy_retry };
                vec![Action::Tell(PhoneState::Calling, Some(PhoneCause::Busy))]
            }
            Input::NotTaken(why) => self.fail(cause(*why)),
            Input::HungUp => self.fail(PhoneCause::NoAnswer),
            input => match way_out(input) {
                Some(cause) => {
                    let mut actions = vec![Action::GiveUp];
                    actions.extend(self.fail(cause));
                    actions
                }
                None => Vec::new(),
            },
        }
    }

    fn handle_unconfirmed(&mut self, input: &Input, now: Instant) -> Vec<Action> {
        match input {
            Input::Key(Pii(JOINS)) => {
                self.state = State::Seated(Seated::new(now, self.times.call_max));
                vec![Action::Hush, Action::Arrive]
            }
            Input::Said => {
                if let State::Confirming { until, .. } = &mut self.state {
                    *until = now + self.times.confirm;
                }
                Vec::new()
            }
            // It was answered, and whatever answered did not want to join.
            Input::HungUp => self.fail(PhoneCause::NotConfirmed),
            Input::Line(LineNews::GivenUp) => {
                let mut actions = self.fail(PhoneCause::LineDead);
                actions.push(Action::HangUp(Reason::Timeout));
                actions
            }
            Input::Line(LineNews::NoSound) => vec![Action::Renegotiate],
            Input::Line(LineNews::Probe) => vec![Action::Probe],
            Input::Draining => self.end(Prompt::Draining, PhoneCause::Draining, now),
            Input::Cancelled(cause) => self.end(Prompt::Goodbye, *cause, now),
            // Whether the consultation is over is none of a mailbox's business.
            Input::Room(RoomNews::Out(reason)) => self.end(Prompt::Goodbye, last_words(*reason).1, now),
            _ => Vec::new(),
        }
    }

    fn fail(&mut self, cause: PhoneCause) -> Vec<Action> {
        self.state = State::Over;
        vec![Action::Tell(PhoneState::Failed, Some(cause))]
    }

    fn end(&mut self, phrase: Prompt, cause: PhoneCause, now: Instant) -> Vec<Action> {
        self.state = State::Ending { by: now + LAST_WORDS_MAX, reason: reason_of(phrase) };
        vec![Action::Tell(PhoneState::Failed, Some(cause)), Action::Say(phrase)]
    }

    fn hang_up(&mut self, reason: Reason) -> Vec<Action> {
        self.state = State::Over;
        vec![Action::HangUp(reason)]
    }
}

/// What makes a call unwanted that nobody has answered yet.
fn way_out(input: &Input) -> Option<PhoneCause> {
    match input {
        Input::Cancelled(cause) => Some(*cause),
        Input::Draining => Some(PhoneCause::Draining),
        Input::Room(RoomNews::Out(reason)) => Some(last_words(*reason).1),
        _ => None,
    }
}

fn cause(why: NotTaken) -> PhoneCause {
    match why {
        NotTaken::Busy => PhoneCause::Busy,
        NotTaken::NoAnswer => PhoneCause::NoAnswer,
        NotTaken::Refused => PhoneCause::Refused,
        NotTaken::NotInService => PhoneCause::NotInService,
        NotTaken::NoLine => PhoneCause::NoLine,
        NotTaken::LinesBusy => PhoneCause::LinesBusy,
        NotTaken::NotAllowed(cause) => cause,
    }
}

/// For its turn on a line, and fifteen seconds for an operator to find the telephone, before it rings; every trunk's first answer is waited
/// for within it.
const DIALLING_MAX: Duration = Duration::from_secs(TURN_MAX.as_secs() + 15);
/// This key joins. Prompts and pages name it too.
const JOINS: char = '1';
/// Times that the key is asked for.
const CONFIRM_PROMPTS: u32 = 2;
/// The longest prompt that asks for it: its time counts from the prompt's end.
const PROMPT_MAX: Duration = Duration::from_secs(12);

#[cfg(test)]
mod tests {
    use super::super::OutReason;
    use super::super::testing::{TIMES, inside, key, waiting};
    use super::*;

    fn tell(state: PhoneState, cause: Option<PhoneCause>) -> Action {
        Action::Tell(state, cause)
    }

    fn failed(cause: PhoneCause) -> Action {
        tell(PhoneState::Failed, Some(cause))
    }

    fn dialling() -> (DialOut, Instant) {
        let now = Instant::now();
        let (call, actions) = DialOut::new(TIMES, now);
        assert_eq!(actions, [Action::Dial, tell(PhoneState::Calling, None)]);
        (call, now)
    }

    fn ringing() -> (DialOut, Instant) {
        let (mut call, now) = dialling();
        assert_eq!(call.handle_input(&Input::Ringing, now), [tell(PhoneState::Ringing, None)]);
        assert_eq!(call.handle_input(&Input::Ringing, now), [], "181, 182 and 183 say nothing new");
        (call, now)
    }

    fn answered() -> (DialOut, Instant) {
        let (mut call, now) = ringing();
        let actions = call.handle_input(&Input::Answered, now);
        assert_eq!(actions, [Action::Say(Prompt::Confirm), tell(PhoneState::Confirming, None)]);
        (call, now)
    }

    #[test]
    fn a_call_is_bridged_by_its_key_and_by_nothing_else() {
        let (mut call, now) = answered();
        for input in
            [inside(), waiting(), key('2'), key('#'), key('*'), Input::PinRight, Input::Answered, Input::Ringing]
        {
            assert_eq!(call.handle_input(&input, now), [], "{input:?}");
        }
        assert_eq!(call.handle_input(&key('1'), now), [Action::Hush, Action::Arrive]);
        let admitted = call.handle_input(&inside(), now);
        assert_eq!(admitted, [Action::Say(Prompt::Admitted), Action::Attach, tell(PhoneState::In, None)]);
    }

    #[test]
    fn a_mailbox_is_asked_twice_and_left_without_a_word_of_the_consultation() {
        let (mut call, start) = answered();
        let at = |second| start + Duration::from_secs(second);
        call.handle_input(&Input::Said, at(5));
        assert_eq!(call.poll_timeout(), Some(at(17)));
        assert_eq!(call.handle_timeout(at(17)), [Action::Say(Prompt::Confirm)]);
        call.handle_input(&Input::Said, at(22));
        let actions = call.handle_timeout(at(34));
        assert_eq!(actions, [failed(PhoneCause::NotConfirmed), Action::Say(Prompt::NotConfirmed)]);
        assert_eq!(call.handle_input(&key('1'), at(35)), [], "too late");
        assert_eq!(call.handle_timeout(at(34) + LAST_WORDS_MAX), [Action::HangUp(Reason::Timeout)]);
        assert!(call.is_over());
        // A telephone that never plays a prompt to its end does not hold the call up.
        let (mut deaf, start) = answered();
        assert_eq!(deaf.poll_timeout(), Some(start + Duration::from_secs(24)));
        deaf.handle_timeout(start + Duration::from_secs(24));
        assert_eq!(deaf.handle_timeout(start + Duration::from_secs(48)).len(), 2);
    }

    #[test]
    fn each_refusal_has_its_own_cause_and_only_busy_is_tried_again() {
        for (why, cause) in [
            (NotTaken::NoAnswer, PhoneCause::NoAnswer),
            (NotTaken::Refused, PhoneCause::Refused),
            (NotTaken::NotInService, PhoneCause::NotInService),
            (NotTaken::NoLine, PhoneCause::NoLine),
            (NotTaken::LinesBusy, PhoneCause::LinesBusy),
            (NotTaken::NotAllowed(PhoneCause::TooOften), PhoneCause::TooOften),
        ] {
            for (mut call, now) in [dialling(), ringing()] {
                assert_eq!(call.handle_input(&Input::NotTaken(why), now), [failed(cause)], "{why:?}");
                assert!(call.is_over() && call.poll_timeout().is_none());
            }
        }
    }

    #[test]
    fn a_busy_telephone_is_called_once_more_after_a_while() {
        let (mut call, now) = dialling();
        let busy = Input::NotTaken(NotTaken::Busy);
        assert_eq!(call.handle_input(&busy, now), [tell(PhoneState::Calling, Some(PhoneCause::Busy))]);
        let again = now + TIMES.busy_retry;
        assert_eq!(call.poll_timeout(), Some(again));
        assert_eq!(call.handle_timeout(again), [Action::Dial, tell(PhoneState::Calling, None)]);
        assert_eq!(call.handle_input(&busy, again), [failed(PhoneCause::Busy)]);
        assert!(call.is_over());
        // Called off meanwhile: there is nothing to give up.
        let (mut call, now) = dialling();
        call.handle_input(&busy, now);
        let cancelled = Input::Cancelled(PhoneCause::Cancelled);
        assert_eq!(call.handle_input(&cancelled, now), [failed(PhoneCause::Cancelled)]);
    }

    #[test]
    fn it_rings_for_its_time_and_no_longer() {
        let (mut call, now) = ringing();
        assert_eq!(call.poll_timeout(), Some(now + TIMES.ring));
        assert_eq!(call.handle_timeout(now + TIMES.ring - Duration::from_millis(1)), []);
        assert_eq!(call.handle_timeout(now + TIMES.ring), [Action::GiveUp, failed(PhoneCause::NoAnswer)]);
        let (mut silent, now) = dialling();
        let end = now + TIMES.ring + DIALLING_MAX;
        assert_eq!(silent.handle_timeout(end), [Action::GiveUp, failed(PhoneCause::NoAnswer)]);
    }

    #[test]
    fn another_line_is_told_and_rings_anew() {
        let (mut call, now) = ringing();
        let told = tell(PhoneState::Calling, Some(PhoneCause::AnotherLine));
        assert_eq!(call.handle_input(&Input::AnotherLine, now), [told]);
        assert_eq!(call.handle_input(&Input::Ringing, now), [tell(PhoneState::Ringing, None)]);
    }

    #[test]
    fn a_call_that_nobody_wants_any_more_stops_ringing() {
        for (input, cause) in [
            (Input::Cancelled(PhoneCause::Cancelled), PhoneCause::Cancelled),
            (Input::Draining, PhoneCause::Draining),
            // Its consultation is over, or its seat was removed.
            (Input::Cancelled(PhoneCause::Over), PhoneCause::Over),
            // Its media thread is gone; a room has nothing to say before the call has a place there.
            (Input::Room(RoomNews::Out(OutReason::Fault)), PhoneCause::Fault),
        ] {
            for (mut call, now) in [dialling(), ringing()] {
                assert_eq!(call.handle_input(&input, now), [Action::GiveUp, failed(cause)], "{input:?}");
                assert!(call.is_over());
            }
            let (mut call, now) = answered();
            let actions = call.handle_input(&input, now);
            assert_eq!(actions[0], failed(cause), "{input:?}");
            assert!(matches!(actions[1], Action::Say(Prompt::Goodbye | Prompt::Draining)), "{input:?}");
        }
    }

    #[test]
    fn hanging_up_before_the_key_is_not_joining() {
        let (mut call, now) = answered();
        assert_eq!(call.handle_input(&Input::HungUp, now), [failed(PhoneCause::NotConfirmed)]);
        assert!(call.is_over());
        let (mut dead, now) = answered();
        let gone = dead.handle_input(&Input::Line(LineNews::GivenUp), now);
        assert_eq!(gone, [failed(PhoneCause::LineDead), Action::HangUp(Reason::Timeout)]);
    }

    #[test]
    fn a_call_that_we_pay_for_has_an_end() {
        let (mut call, now) = answered();
        call.handle_input(&key('1'), now);
        call.handle_input(&inside(), now);
        assert_eq!(call.poll_timeout(), Some(now + TIMES.call_max));
        assert!(call.handle_timeout(now + TIMES.call_max).contains(&Action::Say(Prompt::TimeUp)));
    }
}
