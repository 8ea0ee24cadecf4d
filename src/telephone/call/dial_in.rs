//! A call that came in: answered, asked for its PIN, then seated.
//!
//! ```text
//!   Ringing --Answered--> Pin --digits--> Checking --right--> Seated (`seated`)
//!                          ^------wrong, twice--|  |\--wrong, the third, or a fault--> Ending --said--> Over
//!                                                  \--the digits that try a line--> Echo (`echo`) --> Over
//! ```
//!
//! Whether the caller may call at all (address, number called, lines free) was decided before. The call is answered first: keys of an
//! unanswered call do not reach us from many networks. Wrong, expired and unknown PINs are one input, so that nothing here could tell them
//! apart.

use std::time::{Duration, Instant};

use super::echo::EchoTest;
use super::line::LineNews;
use super::seated::{LAST_WORDS_MAX, Seated, reason_of};
use super::{Action, Input, Times};
use crate::pii::Pii;
use crate::telephone::prompts::Prompt;
use crate::telephone::sip::Reason;

/// A call that came in.
#[derive(Clone, Debug)]
pub struct DialIn {
    times: Times,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Ringing,
    Pin(Entry),
    Checking { tries_left: u32 },
    Seated(Seated),
    Echo(EchoTest),
    Ending { by: Instant, reason: Reason },
    Over,
}

/// A PIN while it is typed.
#[derive(Clone, Debug)]
struct Entry {
    digits: Pii<String>,
    begun: Instant,
    last: Instant,
    tries_left: u32,
}

impl DialIn {
    /// A call that is to be taken.
    #[must_use]
    pub fn new(times: Times) -> (Self, Vec<Action>) {
        (Self { times, state: State::Ringing }, vec![Action::Answer])
    }

    /// The call is over and was hung up.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match &self.state {
            State::Seated(seated) => seated.is_over(),
            State::Echo(test) => test.is_over(),
            state => matches!(state, State::Over),
        }
    }

    /// When to call [`DialIn::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Pin(entry) => Some((entry.last + self.times.inter_digit).min(entry.begun + self.times.pin_total)),
            State::Seated(seated) => seated.poll_timeout(),
            State::Echo(test) => test.poll_timeout(),
            State::Ending { by, .. } => Some(*by),
            // The driver has a deadline of its own for an answer and for the store.
            State::Ringing | State::Checking { .. } | State::Over => None,
        }
    }

    /// What follows from something that happened.
    pub fn handle_input(&mut self, input: &Input, now: Instant) -> Vec<Action> {
        match &mut self.state {
            State::Seated(seated) => return seated.handle_input(input, now),
            State::Echo(test) => return test.handle_input(input, now),
            _ => {}
        }
        match (input, &mut self.state) {
            (_, State::Over) => Vec::new(),
            (Input::HungUp, _) => {
                self.state = State::Over;
                Vec::new()
            }
            (Input::Said, State::Ending { reason, .. }) => {
                let reason = *reason;
                self.hang_up(reason)
            }
            (Input::Line(LineNews::GivenUp), _) => self.hang_up(Reason::Timeout),
            (_, State::Ending { .. }) => Vec::new(),
            (Input::Answered, State::Ringing) => self.ask(self.times.pin_tries, Prompt::AskPin, now),
            (Input::Key(key), State::Pin(_)) => self.handle_key(key.0, now),
            (Input::PinRight, State::Checking { .. }) => {
                self.state = State::Seated(Seated::new(now, WAIT_MAX));
                vec![Action::Arrive]
            }
            (Input::SelfTest, State::Checking { .. }) => {
                let (test, actions) = EchoTest::new(now);
                self.state = State::Echo(test);
                actions
            }
            // Nobody is told that a code is wrong which may be right, and no try helps.
            (Input::PinFault, State::Checking { .. }) => self.end(Prompt::Fault, now),
            (Input::PinWrong, State::Checking { tries_left: 1 }) => self.end(Prompt::PinWrongLast, now),
            (Input::PinWrong, State::Checking { tries_left }) => {
                let left = tries_left.saturating_sub(1).max(1);
                self.ask(left, Prompt::PinWrong, now)
            }
            (Input::Line(LineNews::NoSound), _) => vec![Action::Renegotiate],
            (Input::Line(LineNews::Probe), _) => vec![Action::Probe],
            (Input::Draining, _) => self.end(Prompt::Draining, now),
            (Input::Cancelled(_), _) => self.end(Prompt::Goodbye, now),
            _ => Vec::new(),
        }
    }

    /// What follows from time alone.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Action> {
        match &mut self.state {
            State::Seated(seated) => seated.handle_timeout(now),
            State::Echo(test) => test.handle_timeout(now),
            State::Ending { by, reason } if now >= *by => {
                let reason = *reason;
                self.hang_up(reason)
            }
            State::Pin(entry) if now >= entry.begun + self.times.pin_total => self.end(Prompt::NothingTyped, now),
            State::Pin(entry) if now >= entry.last + self.times.inter_digit => {
                // Half a PIN after so long is a person who has lost the place.
                entry.digits.0.clear();
                entry.last = now;
                vec![Action::Say(Prompt::HelpPin)]
            }
            _ => Vec::new(),
        }
    }

    fn ask(&mut self, tries_left: u32, phrase: Prompt, now: Instant) -> Vec<Action> {
        self.state = State::Pin(Entry { digits: Pii(String::new()), begun: now, last: now, tries_left });
        vec![Action::Say(phrase)]
    }

    fn handle_key(&mut self, key: char, now: Instant) -> Vec<Action> {
        let State::Pin(entry) = &mut self.state else { return Vec::new() };
        entry.last = now;
        match key {
            '0'..='9' if entry.digits.0.len() < DIGITS_MAX => entry.digits.0.push(key),
            '*' => entry.digits.0.clear(),
            '#' if !entry.digits.0.is_empty() => {}
            // Also the hash behind a whole PIN, which was checked already: what was said of that one goes on.
            _ => return Vec::new(),
        }
        let complete = entry.digits.0.len() >= self.times.pin_digits || key == '#';
        let mut actions = vec![Action::Hush];
        if complete {
            let digits = std::mem::take(&mut entry.digits);
            self.state = State::Checking { tries_left: entry.tries_left };
            actions.push(Action::CheckPin(digits));
        }
        actions
    }

    fn end(&mut self, phrase: Prompt, now: Instant) -> Vec<Action> {
        self.state = State::Ending { by: now + LAST_WORDS_MAX, reason: reason_of(phrase) };
        vec![Action::Say(phrase)]
    }

    fn hang_up(&mut self, reason: Reason) -> Vec<Action> {
        self.state = State::Over;
        vec![Action::HangUp(reason)]
    }
}

/// Longest that a caller stays: a receiver that was not put down blocks a line for ever. Waiting for a late doctor and the consultation
/// fit well.
const WAIT_MAX: Duration = Duration::from_secs(4 * 3_600);
/// No PIN is longer.
const DIGITS_MAX: usize = 12;

#[cfg(test)]
mod tests {
    use colloque_signaling::message::{PhoneCause, PhoneState};

    use super::super::testing::{TIMES, inside, key, waiting};
    use super::*;

    fn answered() -> (DialIn, Instant) {
        let now = Instant::now();
        let (mut call, actions) = DialIn::new(TIMES);
        assert_eq!(actions, [Action::Answer]);
        assert_eq!(call.handle_input(&Input::Answered, now), [Action::Say(Prompt::AskPin)]);
        (call, now)
    }

    fn keys(call: &mut DialIn, keys: &str, now: Instant) -> Vec<Action> {
        keys.chars().flat_map(|pressed| call.handle_input(&key(pressed), now)).collect()
    }

    fn checked(actions: &[Action]) -> Vec<&str> {
        let mut found = Vec::new();
        for action in actions {
            if let Action::CheckPin(Pii(digits)) = action {
                found.push(digits.as_str());
            }
        }
        found
    }

    #[test]
    fn a_pin_ends_with_hash_or_with_its_last_digit_and_a_star_begins_anew() {
        for (pressed, expected) in [
            ("12345678", &[][..]),
            ("12345678#", &["12345678"]),
            ("123456789", &["123456789"]),
            ("123456789#", &["123456789"]),
            ("999*123456789", &["123456789"]),
            ("**123456789", &["123456789"]),
            ("##123456789", &["123456789"]),
            ("12AB3456789", &["123456789"]),
            ("1234567890123456789", &["123456789"]),
        ] {
            let (mut call, now) = answered();
            let actions = keys(&mut call, pressed, now);
            assert_eq!(checked(&actions), expected, "{pressed}");
            assert_eq!(actions.first(), Some(&Action::Hush), "{pressed}: who types need not listen to the end");
        }
    }

    /// The prompt asks for a hash, and the ninth digit alone begins the check: whoever pressed it as told did not hear that the PIN was wrong.
    #[test]
    fn a_hash_without_digits_cuts_nothing_off() {
        let (mut call, now) = answered();
        assert_eq!(keys(&mut call, "#", now), []);
        keys(&mut call, "000000000", now);
        assert_eq!(call.handle_input(&Input::PinWrong, now), [Action::Say(Prompt::PinWrong)]);
        assert_eq!(keys(&mut call, "#", now), []);
        assert_eq!(checked(&keys(&mut call, "1234#", now)), ["1234"]);
    }

    #[test]
    fn a_fax_machine_that_calls_hears_goodbye() {
        let (mut call, now) = answered();
        let fax = Input::Cancelled(PhoneCause::NotConfirmed);
        assert_eq!(call.handle_input(&fax, now), [Action::Say(Prompt::Goodbye)]);
        assert_eq!(call.handle_input(&Input::Said, now), [Action::HangUp(Reason::Normal)]);
        assert!(call.is_over());
    }

    #[test]
    fn the_right_pin_leads_to_the_waiting_room_and_only_admission_further() {
        let (mut call, now) = answered();
        keys(&mut call, "123456789", now);
        assert_eq!(call.handle_input(&inside(), now), [], "nobody is inside before the PIN is right");
        assert_eq!(call.handle_input(&Input::PinRight, now), [Action::Arrive]);
        let told = call.handle_input(&waiting(), now);
        let waits = Action::Tell(PhoneState::Waiting, None);
        assert_eq!(told, [Action::WaitingTone(true), Action::Say(Prompt::Waiting), waits]);
        let admitted = call.handle_input(&inside(), now);
        assert!(admitted.contains(&Action::Attach));
        let left = Action::Tell(PhoneState::Left, Some(PhoneCause::HungUp));
        assert_eq!(call.handle_input(&Input::HungUp, now), [Action::Detach, Action::Leave, left]);
        assert!(call.is_over());
    }

    #[test]
    fn three_wrong_pins_end_the_call() {
        let (mut call, now) = answered();
        for (wrong, phrase) in [Prompt::PinWrong, Prompt::PinWrong, Prompt::PinWrongLast].into_iter().enumerate() {
            assert_eq!(checked(&keys(&mut call, "000000000", now)).len(), 1, "{wrong}");
            assert_eq!(keys(&mut call, "123456789#", now), [], "{wrong}: one at a time");
            assert_eq!(call.handle_input(&Input::PinWrong, now), [Action::Say(phrase)], "{wrong}");
        }
        assert_eq!(keys(&mut call, "123456789#", now), []);
        assert_eq!(call.handle_input(&Input::PinRight, now), [], "nothing opens a call that ends");
        assert_eq!(call.handle_input(&Input::Said, now), [Action::HangUp(Reason::Rejected)]);
        assert!(call.is_over() && call.poll_timeout().is_none());
    }

    /// While the store was down, whoever typed the right PIN was told three times that it is wrong.
    #[test]
    fn a_pin_that_nobody_can_check_is_a_fault_and_not_a_wrong_pin() {
        for earlier_tries in 0..3 {
            let (mut call, now) = answered();
            for _ in 0..earlier_tries {
                keys(&mut call, "000000000", now);
                call.handle_input(&Input::PinWrong, now);
            }
            assert_eq!(call.handle_input(&Input::PinFault, now), [], "nothing is being checked");
            keys(&mut call, "123456789", now);
            assert_eq!(call.handle_input(&Input::PinFault, now), [Action::Say(Prompt::Fault)], "{earlier_tries}");
            assert_eq!(call.handle_input(&Input::Said, now), [Action::HangUp(Reason::Fault)]);
            assert!(call.is_over());
        }
    }

    #[test]
    fn whoever_types_nothing_is_helped_every_fifteen_seconds_and_left_after_a_minute() {
        let (mut call, start) = answered();
        let mut said = Vec::new();
        while let Some(now) = call.poll_timeout() {
            assert_eq!(call.handle_timeout(now - Duration::from_millis(1)), []);
            said.extend(call.handle_timeout(now).into_iter().map(|action| ((now - start).as_secs(), action)));
        }
        let help = |second| (second, Action::Say(Prompt::HelpPin));
        let nothing = (60, Action::Say(Prompt::NothingTyped));
        assert_eq!(said, [help(15), help(30), help(45), nothing, (72, Action::HangUp(Reason::Timeout))]);
    }

    #[test]
    fn each_digit_gives_fifteen_seconds_more_within_the_minute_and_half_a_pin_is_forgotten() {
        let (mut call, start) = answered();
        let at = |second| start + Duration::from_secs(second);
        keys(&mut call, "1234", at(14));
        assert_eq!(call.poll_timeout(), Some(at(29)));
        assert_eq!(call.handle_timeout(at(29)), [Action::Say(Prompt::HelpPin)]);
        assert_eq!(checked(&keys(&mut call, "56789#", at(40))), ["56789"], "not the digits from before");
        let (mut slow, start) = answered();
        for second in (5..60).step_by(10) {
            keys(&mut slow, "1", start + Duration::from_secs(second));
        }
        assert_eq!(slow.handle_timeout(start + TIMES.pin_total), [Action::Say(Prompt::NothingTyped)]);
    }

    #[test]
    fn a_wrong_try_has_a_minute_of_its_own() {
        let (mut call, start) = answered();
        let later = start + Duration::from_secs(50);
        keys(&mut call, "000000000", later);
        assert_eq!(call.poll_timeout(), None, "the store answers in its own time");
        call.handle_input(&Input::PinWrong, later);
        assert_eq!(call.poll_timeout(), Some(later + TIMES.inter_digit));
        assert_eq!(call.handle_timeout(later + TIMES.inter_digit), [Action::Say(Prompt::HelpPin)]);
    }

    #[test]
    fn a_caller_who_hangs_up_or_whose_line_dies_before_the_pin_leaves_nothing() {
        for typed in ["", "1234", "123456789"] {
            let (mut call, now) = answered();
            keys(&mut call, typed, now);
            assert_eq!(call.handle_input(&Input::HungUp, now), []);
            assert!(call.is_over());
            let (mut dead, now) = answered();
            keys(&mut dead, typed, now);
            assert_eq!(dead.handle_input(&Input::Line(LineNews::GivenUp), now), [Action::HangUp(Reason::Timeout)]);
            assert!(dead.is_over());
            let (mut drained, now) = answered();
            keys(&mut drained, typed, now);
            assert_eq!(drained.handle_input(&Input::Draining, now), [Action::Say(Prompt::Draining)]);
        }
    }

    #[test]
    fn the_digits_that_try_a_line_lead_to_the_echo_and_never_to_a_seat() {
        let (mut call, now) = answered();
        assert_eq!(call.handle_input(&Input::SelfTest, now), [], "not before it was asked");
        keys(&mut call, "4711#", now);
        assert_eq!(call.handle_input(&Input::SelfTest, now), [Action::Say(Prompt::EchoBegins)]);
        for input in [Input::PinRight, inside(), waiting(), key('1'), key('#'), Input::Answered, Input::PinWrong] {
            assert_eq!(call.handle_input(&input, now), [], "{input:?}");
        }
        let mut actions = Vec::new();
        while let Some(due) = call.poll_timeout() {
            actions.extend(call.handle_timeout(due));
        }
        assert_eq!(actions.last(), Some(&Action::HangUp(Reason::Normal)));
        assert!(call.is_over() && !actions.iter().any(|action| matches!(action, Action::Arrive | Action::Attach)));
    }

    #[test]
    fn digits_are_never_printed() {
        let (mut call, now) = answered();
        keys(&mut call, "4711", now);
        let actions = keys(&mut call, "4711#", now);
        assert_eq!(checked(&actions), ["47114711"]);
        assert!(!format!("{call:?} {actions:?}").contains("4711"));
    }
}
