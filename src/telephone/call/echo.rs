//! Somebody tries a line alone: words, then the own voice a second late, then whether it was heard, then goodbye.
//!
//! ```text
//!   Telling --said--> Echoing --ten seconds--> Ending --said--> Over
//! ```
//!
//! A pure machine without a way to any seat or room: nothing is recorded, nobody else hears anything. It always ends: each of its
//! three parts has a longest time.

use std::time::{Duration, Instant};

use super::line::LineNews;
use super::seated::{LAST_WORDS_MAX, reason_of};
use super::{Action, Input};
use crate::telephone::prompts::Prompt;
use crate::telephone::sip::Reason;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct EchoTest {
    state: State,
    /// A voice came back.
    spoke: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Telling { by: Instant },
    Echoing { until: Instant },
    Ending { by: Instant, reason: Reason },
    Over,
}

impl EchoTest {
    pub(super) fn new(now: Instant) -> (Self, Vec<Action>) {
        let test = Self { state: State::Telling { by: now + LAST_WORDS_MAX }, spoke: false };
        (test, vec![Action::Say(Prompt::EchoBegins)])
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Telling { by: at } | State::Echoing { until: at } | State::Ending { by: at, .. } => Some(at),
            State::Over => None,
        }
    }

    pub(super) fn handle_input(&mut self, input: &Input, now: Instant) -> Vec<Action> {
        match (input, self.state) {
            (_, State::Over) => Vec::new(),
            (Input::HungUp, _) => {
                self.state = State::Over;
                Vec::new()
            }
            (Input::Line(LineNews::GivenUp), _) => self.hang_up(Reason::Timeout),
            (Input::Said, State::Ending { reason, .. }) => self.hang_up(reason),
            (Input::Draining, State::Telling { .. } | State::Echoing { .. }) => self.end(Prompt::Draining, now),
            (Input::Said, State::Telling { .. }) => self.listen(now),
            (Input::Spoke, State::Echoing { .. }) => {
                self.spoke = true;
                Vec::new()
            }
            (Input::Line(LineNews::NoSound), _) => vec![Action::Renegotiate],
            (Input::Line(LineNews::Probe), _) => vec![Action::Probe],
            _ => Vec::new(),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<Action> {
        match self.state {
            State::Telling { by } if now >= by => self.listen(now),
            State::Echoing { until } if now >= until => {
                let words = if self.spoke { Prompt::EchoHeard } else { Prompt::EchoUnheard };
                self.end(words, now)
            }
            State::Ending { by, reason } if now >= by => self.hang_up(reason),
            _ => Vec::new(),
        }
    }

    fn listen(&mut self, now: Instant) -> Vec<Action> {
        self.state = State::Echoing { until: now + ECHO };
        vec![Action::Echo(true)]
    }

    fn end(&mut self, words: Prompt, now: Instant) -> Vec<Action> {
        self.state = State::Ending { by: now + LAST_WORDS_MAX, reason: reason_of(words) };
        vec![Action::Echo(false), Action::Say(words)]
    }

    fn hang_up(&mut self, reason: Reason) -> Vec<Action> {
        self.state = State::Over;
        vec![Action::HangUp(reason)]
    }
}

/// Long enough for a sentence and its return; a line that is only tried must not stay taken.
const ECHO: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_whether_a_voice_came() {
        for (spoke, words) in [(true, Prompt::EchoHeard), (false, Prompt::EchoUnheard)] {
            let start = Instant::now();
            let (mut test, actions) = EchoTest::new(start);
            assert_eq!(actions, [Action::Say(Prompt::EchoBegins)]);
            assert_eq!(test.handle_input(&Input::Spoke, start), [], "not what was said before it was asked for");
            assert_eq!(test.handle_input(&Input::Said, start), [Action::Echo(true)]);
            if spoke {
                assert_eq!(test.handle_input(&Input::Spoke, start), []);
            }
            let due = start + ECHO;
            assert_eq!((test.poll_timeout(), test.handle_timeout(due - Duration::from_millis(1))), (Some(due), vec![]));
            assert_eq!(test.handle_timeout(due), [Action::Echo(false), Action::Say(words)]);
            assert_eq!(test.handle_input(&Input::Said, due), [Action::HangUp(Reason::Normal)]);
            assert!(test.is_over());
        }
    }

    #[test]
    fn it_ends_whatever_comes_or_does_not_come() {
        let start = Instant::now();
        // Nothing is ever told of what was said.
        let (mut test, _) = EchoTest::new(start);
        let mut actions = Vec::new();
        while let Some(due) = test.poll_timeout() {
            assert!(due < start + Duration::from_secs(60));
            actions.extend(test.handle_timeout(due));
        }
        let words = Action::Say(Prompt::EchoUnheard);
        assert_eq!(actions, [Action::Echo(true), Action::Echo(false), words, Action::HangUp(Reason::Normal)]);
        // It is cut off at any point.
        for steps in 0..3 {
            let told = |input: &Input| {
                let (mut test, _) = EchoTest::new(start);
                (0..steps).for_each(|_| _ = test.handle_timeout(test.poll_timeout().unwrap()));
                (test.handle_input(input, start), test.is_over())
            };
            assert_eq!(told(&Input::HungUp), (vec![], true));
            assert_eq!(told(&Input::Line(LineNews::GivenUp)), (vec![Action::HangUp(Reason::Timeout)], true));
            let goodbye = vec![Action::Echo(false), Action::Say(Prompt::Draining)];
            assert_eq!(told(&Input::Draining), (if steps < 2 { goodbye } else { vec![] }, false));
        }
    }
}
