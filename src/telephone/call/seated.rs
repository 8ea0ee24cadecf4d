//! A telephone that belongs to a seat: consent by key, the waiting room, the consultation, its keys, and every way out of it.
//!
//! ```text
//!   Arriving --Waiting--> Asking consent <--> Waiting --Inside--> In --> Ending --said--> Over
//!       \-----------------------Inside-------------------/
//! ```
//!
//! The second half of both machines: whoever dialled in and whoever was called are the same from here on. Sound is attached by the news
//! that the seat is inside and by nothing else, and detached by any other.

use std::time::{Duration, Instant};

use colloque_signaling::message::{PhoneCause, PhoneState};

use super::keys::{Command, Keys};
use super::line::LineNews;
use super::{Action, Company, Input, OutReason, RoomNews};
use crate::telephone::prompts::Prompt;
use crate::telephone::sip::Reason;

/// A seated telephone.
#[derive(Clone, Debug)]
pub struct Seated {
    state: State,
    keys: Keys,
    muted: bool,
    hand: bool,
    /// As it was told: `In`, `Silent` or `Lost`.
    heard: PhoneState,
    /// Nothing leaves for it.
    unsent: bool,
    /// The cause with which waiting was told last.
    told_waiting: Option<PhoneCause>,
    /// The longest that the call may last.
    until: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The room has not said yet where the seat is.
    Arriving,
    /// Consent is asked, and asked again then. A key pressed before `from` answered something else.
    Asking {
        from: Instant,
        again: Instant,
    },
    /// In the waiting room; the next word that the line is alive comes then.
    Waiting {
        next: Instant,
    },
    In {
        company: Company,
        /// By a host.
        silenced: bool,
    },
    /// The last words, cut off then at the latest.
    Ending {
        by: Instant,
        reason: Reason,
    },
    Over,
}

impl Seated {
    /// From its arrival. `call_max`: hang up after so long.
    #[must_use]
    pub fn new(now: Instant, call_max: Duration) -> Self {
        Self {
            state: State::Arriving,
            keys: Keys::default(),
            muted: false,
            hand: false,
            heard: PhoneState::In,
            unsent: false,
            told_waiting: None,
            until: now + call_max,
        }
    }

    /// The call is over and was hung up.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// When to call [`Seated::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Arriving | State::In { .. } => Some(self.until),
            State::Asking { again, .. } => Some(again.min(self.until)),
            State::Waiting { next } => Some(next.min(self.until)),
            State::Ending { by, .. } => Some(by),
            State::Over => None,
        }
    }

    /// What follows from something that happened.
    pub fn handle_input(&mut self, input: &Input, now: Instant) -> Vec<Action> {
        match (input, self.state) {
            (_, State::Over) => Vec::new(),
            (Input::HungUp, _) => self.gone(PhoneCause::HungUp),
            (Input::Said, State::Ending { reason, .. }) => self.hang_up(reason),
            (_, State::Ending { .. }) => Vec::new(),
            (Input::Room(news), _) => self.handle_room(*news, now),
            (Input::Key(key), _) => self.handle_key(key.0, now),
            (Input::Line(news), _) => self.handle_line(*news),
            // A fax machine's tone, told so by the driver: whoever is seated has pressed keys, and something beside that person beeps.
            (Input::Cancelled(PhoneCause::NotConfirmed), _) => Vec::new(),
            (Input::Cancelled(cause), _) => self.end(Prompt::Goodbye, *cause, now),
            (Input::Draining, _) => self.end(Prompt::Draining, PhoneCause::Draining, now),
            _ => Vec::new(),
        }
    }

    /// What follows from time alone.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Action> {
        match self.state {
            State::Ending { by, reason } if now >= by => self.hang_up(reason),
            State::Ending { .. } | State::Over => Vec::new(),
            _ if now >= self.until => self.end(Prompt::TimeUp, PhoneCause::TimeUp, now),
            State::Asking { from, again } if now >= again => {
                self.state = State::Asking { from, again: now + ASK_AGAIN };
                vec![Action::Say(Prompt::AskConsent)]
            }
            State::Waiting { next } if now >= next => {
                self.state = State::Waiting { next: now + STILL_WAITING };
                vec![Action::Say(Prompt::StillWaiting)]
            }
            State::Arriving | State::Asking { .. } | State::Waiting { .. } | State::In { .. } => Vec::new(),
        }
    }

    fn handle_room(&mut self, news: RoomNews, now: Instant) -> Vec<Action> {
        match news {
            RoomNews::Inside { company, silenced } => self.handle_inside(company, silenced),
            RoomNews::Waiting { consent_due, encryption_ends, host_present } => {
                let cause = encryption_ends.then_some(PhoneCause::EncryptionEnds);
                let mut actions = if self.is_in() { vec![Action::Detach] } else { Vec::new() };
                let (state, phrase) = if consent_due {
                    (State::Asking { from: now + QUESTION_HEARD, again: now + ASK_AGAIN }, Prompt::AskConsent)
                } else {
                    let phrase = match (encryption_ends, host_present) {
                        (true, _) => Prompt::EncryptionEnds,
                        (false, true) => Prompt::Waiting,
                        (false, false) => Prompt::HostAbsent,
                    };
                    (State::Waiting { next: now + STILL_WAITING }, phrase)
                };
                // The same news again begins no prompt anew, nor does a host who comes: the next word is that one's.
                let is_new = std::mem::discriminant(&self.state) != std::mem::discriminant(&state);
                if is_new || self.told_waiting != cause {
                    actions.extend(self.leave_waiting());
                    self.state = state;
                    self.told_waiting = cause;
                    actions.extend((!consent_due).then_some(Action::WaitingTone(true)));
                    actions.extend([Action::Say(phrase), Action::Tell(PhoneState::Waiting, cause)]);
                }
                actions
            }
            RoomNews::Out(reason) => {
                let (phrase, cause) = last_words(reason);
                self.end(phrase, cause, now)
            }
        }
    }

    fn handle_inside(&mut self, company: Company, silenced: bool) -> Vec<Action> {
        let before = self.state;
        let company = match before {
            // "Nobody yet" is for the first: whoever is left behind knows, and is not told at each break of a line.
            State::In { company: Company::Others | Company::Apart, .. } if company == Company::Nobody => {
                Company::Others
            }
            _ => company,
        };
        self.state = State::In { company, silenced };
        let phrase = match before {
            State::In { company: was, silenced: was_silenced } if was == company => {
                let is_told = was_silenced != silenced && company == Company::Others && !self.muted;
                is_told.then_some(if silenced { Prompt::Muted } else { Prompt::Unmuted })
            }
            _ => Some(self.words_inside()),
        };
        let mut actions = Vec::new();
        if before.has_tone() != self.state.has_tone() {
            actions.push(Action::WaitingTone(self.state.has_tone()));
        }
        actions.extend(phrase.map(Action::Say));
        if !matches!(before, State::In { .. }) {
            actions.extend([Action::Attach, Action::Tell(PhoneState::In, None)]);
        }
        actions
    }

    /// How things are for a telephone that is inside.
    fn words_inside(&self) -> Prompt {
        match self.state {
            State::In { company: Company::Nobody, .. } => Prompt::Alone,
            State::In { company: Company::Apart, .. } => Prompt::Apart,
            State::In { silenced: true, .. } => Prompt::Muted,
            _ if self.muted => Prompt::Muted,
            _ => Prompt::Admitted,
        }
    }

    fn handle_key(&mut self, key: char, now: Instant) -> Vec<Action> {
        if let State::Asking { from, .. } = self.state
            && now >= from
        {
            match key {
                '1' => {
                    // What the room makes of it, it says itself: waiting, or inside.
                    self.state = State::Arriving;
                    return vec![Action::Hush, Action::Consent(true)];
                }
                '2' => {
                    self.state = State::Arriving;
                    return vec![Action::Hush, Action::Consent(false)];
                }
                _ => {}
            }
        }
        match self.keys.handle_key(key, now) {
            Some(Command::Mute) if self.is_in() => {
                self.muted = !self.muted;
                // Its own key gives no voice back that a host has stopped.
                let phrase = match self.state {
                    _ if self.muted => Prompt::Muted,
                    State::In { company: Company::Apart, .. } => Prompt::Apart,
                    State::In { silenced: true, .. } => Prompt::Muted,
                    _ => Prompt::Unmuted,
                };
                vec![Action::Mute(self.muted), Action::Say(phrase)]
            }
            Some(Command::Hand) if self.is_in() => {
                self.hand = !self.hand;
                let phrase = if self.hand { Prompt::HandUp } else { Prompt::HandDown };
                vec![Action::Hand(self.hand), Action::Say(phrase)]
            }
            Some(Command::Help) => vec![Action::Say(Prompt::Help)],
            Some(Command::Leave) => self.end(Prompt::Goodbye, PhoneCause::HungUp, now),
            Some(Command::Mute | Command::Hand) | None => Vec::new(),
        }
    }

    fn handle_line(&mut self, news: LineNews) -> Vec<Action> {
        match news {
            LineNews::NoSound => {
                let mut actions = self.tell_heard(PhoneState::Silent, Some(PhoneCause::NoSound));
                actions.push(Action::Renegotiate);
                actions
            }
            LineNews::Silent => self.tell_heard(PhoneState::Silent, None),
            LineNews::Lost => self.tell_heard(PhoneState::Lost, None),
            LineNews::Back => self.tell_heard(PhoneState::In, self.unsent.then_some(PhoneCause::NothingSent)),
            LineNews::Unsent | LineNews::Sent => {
                self.unsent = news == LineNews::Unsent;
                // A telephone that is not heard either has told the greater fault.
                let cause = self.unsent.then_some(PhoneCause::NothingSent);
                if self.heard == PhoneState::In { self.tell_heard(PhoneState::In, cause) } else { Vec::new() }
            }
            LineNews::Probe => vec![Action::Probe],
            LineNews::GivenUp => {
                // Nobody hears a goodbye.
                let mut actions = self.gone(PhoneCause::LineDead);
                actions.push(Action::HangUp(Reason::Timeout));
                actions
            }
        }
    }

    /// The room sees it only of a telephone that is inside.
    fn tell_heard(&mut self, state: PhoneState, cause: Option<PhoneCause>) -> Vec<Action> {
        self.heard = state;
        if self.is_in() { vec![Action::Tell(state, cause)] } else { Vec::new() }
    }

    /// Says the last words; the seat's place is given up at once.
    fn end(&mut self, phrase: Prompt, cause: PhoneCause, now: Instant) -> Vec<Action> {
        let mut actions = self.gone(cause);
        self.state = State::Ending { by: now + LAST_WORDS_MAX, reason: reason_of(phrase) };
        actions.push(Action::Say(phrase));
        actions
    }

    fn gone(&mut self, cause: PhoneCause) -> Vec<Action> {
        let mut actions = self.leave_waiting();
        let was = std::mem::replace(&mut self.state, State::Over);
        actions.extend(matches!(was, State::In { .. }).then_some(Action::Detach));
        if !matches!(was, State::Ending { .. }) {
            actions.extend([Action::Leave, Action::Tell(PhoneState::Left, Some(cause))]);
        }
        actions
    }

    fn leave_waiting(&self) -> Vec<Action> {
        if self.state.has_tone() { vec![Action::WaitingTone(false)] } else { Vec::new() }
    }

    fn is_in(&self) -> bool {
        matches!(self.state, State::In { .. })
    }

    fn hang_up(&mut self, reason: Reason) -> Vec<Action> {
        self.state = State::Over;
        vec![Action::HangUp(reason)]
    }
}

impl State {
    /// Whoever hears nobody hears that the line is alive.
    fn has_tone(self) -> bool {
        matches!(self, State::Waiting { .. } | State::In { company: Company::Nobody | Company::Apart, .. })
    }
}

/// What the other side's signalling is told beside these last words.
pub(super) fn reason_of(last_words: Prompt) -> Reason {
    match last_words {
        Prompt::Draining => Reason::Shutdown,
        Prompt::PinWrongLast => Reason::Rejected,
        Prompt::NothingTyped | Prompt::NotConfirmed | Prompt::TimeUp => Reason::Timeout,
        Prompt::Fault => Reason::Fault,
        _ => Reason::Normal,
    }
}

/// What is said to a telephone that may not stay, and told of it.
pub(super) fn last_words(reason: OutReason) -> (Prompt, PhoneCause) {
    match reason {
        OutReason::Removed => (Prompt::Removed, PhoneCause::Removed),
        OutReason::Declined => (Prompt::Declined, PhoneCause::Declined),
        OutReason::Over => (Prompt::Over, PhoneCause::Over),
        OutReason::EncryptionRequired => (Prompt::EncryptionRequired, PhoneCause::EncryptionRequired),
        OutReason::LinesBusy => (Prompt::LinesBusy, PhoneCause::LinesBusy),
        OutReason::BackToPage => (Prompt::Goodbye, PhoneCause::BackToPage),
        OutReason::Replaced => (Prompt::Goodbye, PhoneCause::HungUp),
        OutReason::Cancelled => (Prompt::Goodbye, PhoneCause::Cancelled),
        OutReason::Fault => (Prompt::Fault, PhoneCause::Fault),
    }
}

/// Between two words that the line is alive, while somebody waits. Tones come in between.
const STILL_WAITING: Duration = Duration::from_secs(60);
/// Until consent is asked again: the question takes about ten seconds.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// From the question to the first key that answers it: people press the key that joins twice, and that is no consent. More would swallow
/// the answer of somebody who knows the question.
const QUESTION_HEARD: Duration = Duration::from_secs(2);
/// The longest goodbye; a telephone that plays nothing is hung up on all the same.
pub(super) const LAST_WORDS_MAX: Duration = Duration::from_secs(12);

#[cfg(test)]
mod tests {
    use super::super::testing::{inside, key, waiting};
    use super::*;
    use crate::pii::Pii;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn seated() -> (Seated, Instant) {
        let now = Instant::now();
        (Seated::new(now, HOUR), now)
    }

    fn in_room() -> (Seated, Instant) {
        let (mut seated, now) = seated();
        let actions = seated.handle_input(&inside(), now);
        assert_eq!(actions, [Action::Say(Prompt::Admitted), Action::Attach, Action::Tell(PhoneState::In, None)]);
        (seated, now)
    }

    fn keys(seated: &mut Seated, keys: &str, now: Instant) -> Vec<Action> {
        keys.chars().flat_map(|pressed| seated.handle_input(&key(pressed), now)).collect()
    }

    #[test]
    fn waiting_is_told_and_the_line_gives_signs_of_life() {
        let (mut seated, start) = seated();
        let told = seated.handle_input(&waiting(), start);
        let waits = Action::Tell(PhoneState::Waiting, None);
        assert_eq!(told, [Action::WaitingTone(true), Action::Say(Prompt::Waiting), waits]);
        assert_eq!(seated.handle_input(&waiting(), start), [], "the same news says nothing new");
        for minutes in 1..5 {
            let now = start + STILL_WAITING * minutes;
            assert_eq!(seated.poll_timeout(), Some(now));
            assert_eq!(seated.handle_timeout(now - Duration::from_millis(1)), []);
            assert_eq!(seated.handle_timeout(now), [Action::Say(Prompt::StillWaiting)]);
        }
        assert_eq!(seated.handle_input(&inside(), start)[0], Action::WaitingTone(false));
    }

    #[test]
    fn a_telephone_that_ends_encryption_waits_with_words_of_its_own() {
        let (mut seated, now) = seated();
        let asks = Input::Room(RoomNews::Waiting { consent_due: false, encryption_ends: true, host_present: true });
        let told = Action::Tell(PhoneState::Waiting, Some(PhoneCause::EncryptionEnds));
        let expected = [Action::WaitingTone(true), Action::Say(Prompt::EncryptionEnds), told];
        assert_eq!(seated.handle_input(&asks, now), expected);
        assert_eq!(seated.handle_input(&asks, now), []);
        assert!(seated.handle_input(&inside(), now).contains(&Action::Attach));
    }

    #[test]
    fn what_beeps_beside_a_seated_person_is_no_fax_machine() {
        let (mut seated, now) = in_room();
        let fax = Input::Cancelled(PhoneCause::NotConfirmed);
        assert_eq!(seated.handle_input(&fax, now), []);
        assert_eq!(seated.poll_timeout(), Some(now + HOUR), "the call goes on");
    }

    #[test]
    fn sound_is_attached_inside_alone_and_detached_outside() {
        let (mut seated, now) = seated();
        let mut actions = seated.handle_input(&waiting(), now);
        actions.extend(keys(&mut seated, "*6*9*012345#", now));
        assert!(!actions.iter().any(|action| matches!(action, Action::Attach | Action::Mute(_) | Action::Hand(_))));
        assert!(seated.handle_input(&inside(), now).contains(&Action::Attach));
        assert_eq!(seated.handle_input(&inside(), now), [], "once");
        let out = seated.handle_input(&waiting(), now);
        assert_eq!(out[0], Action::Detach);
        assert!(seated.handle_input(&inside(), now).contains(&Action::Attach));
    }

    #[test]
    fn consent_is_given_or_refused_by_key_before_anything_else() {
        let due = Input::Room(RoomNews::Waiting { consent_due: true, encryption_ends: false, host_present: true });
        for (pressed, given) in [('1', true), ('2', false)] {
            let (mut seated, now) = seated();
            let asked = seated.handle_input(&due, now);
            assert_eq!(asked, [Action::Say(Prompt::AskConsent), Action::Tell(PhoneState::Waiting, None)]);
            assert_eq!(seated.handle_input(&key('5'), now), []);
            let now = now + ASK_AGAIN;
            assert_eq!(seated.handle_timeout(now), [Action::Say(Prompt::AskConsent)]);
            assert_eq!(seated.handle_input(&key(pressed), now), [Action::Hush, Action::Consent(given)]);
            assert_eq!(seated.handle_input(&key(pressed), now), [], "an answer is given once");
            let next = seated.handle_input(&waiting(), now);
            assert_eq!(next[1], Action::Say(Prompt::Waiting));
        }
    }

    /// Somebody who was called pressed 1 twice to join, and had consented before a word of the question.
    #[test]
    fn a_key_pressed_before_the_question_was_heard_is_no_answer() {
        let due = Input::Room(RoomNews::Waiting { consent_due: true, encryption_ends: false, host_present: true });
        let (mut seated, now) = seated();
        seated.handle_input(&due, now);
        let heard = now + QUESTION_HEARD;
        for early in [now, heard - Duration::from_millis(1)] {
            assert_eq!(keys(&mut seated, "12", early), []);
        }
        assert_eq!(seated.handle_input(&key('1'), heard), [Action::Hush, Action::Consent(true)]);
    }

    #[test]
    fn keys_do_what_they_say_in_the_room() {
        let (mut seated, now) = in_room();
        assert_eq!(keys(&mut seated, "*6", now), [Action::Mute(true), Action::Say(Prompt::Muted)]);
        assert_eq!(keys(&mut seated, "*6", now), [Action::Mute(false), Action::Say(Prompt::Unmuted)]);
        assert_eq!(keys(&mut seated, "*9", now), [Action::Hand(true), Action::Say(Prompt::HandUp)]);
        assert_eq!(keys(&mut seated, "*9", now), [Action::Hand(false), Action::Say(Prompt::HandDown)]);
        assert_eq!(keys(&mut seated, "*0", now), [Action::Say(Prompt::Help)]);
        assert_eq!(keys(&mut seated, "123456789", now), []);
        let left = keys(&mut seated, "##", now);
        let told = Action::Tell(PhoneState::Left, Some(PhoneCause::HungUp));
        assert_eq!(left, [Action::Detach, Action::Leave, told, Action::Say(Prompt::Goodbye)]);
        assert_eq!(seated.handle_input(&Input::Said, now), [Action::HangUp(Reason::Normal)]);
        assert!(seated.is_over());
    }

    #[test]
    fn every_way_out_says_why_and_hangs_up_by_itself() {
        use PhoneCause as Cause;
        let out = |reason| Input::Room(RoomNews::Out(reason));
        for (input, phrase, cause) in [
            (out(OutReason::Removed), Prompt::Removed, Cause::Removed),
            (out(OutReason::Declined), Prompt::Declined, Cause::Declined),
            (out(OutReason::Over), Prompt::Over, Cause::Over),
            (out(OutReason::EncryptionRequired), Prompt::EncryptionRequired, Cause::EncryptionRequired),
            (out(OutReason::LinesBusy), Prompt::LinesBusy, Cause::LinesBusy),
            (out(OutReason::BackToPage), Prompt::Goodbye, Cause::BackToPage),
            (out(OutReason::Fault), Prompt::Fault, Cause::Fault),
            (Input::Cancelled(Cause::Cancelled), Prompt::Goodbye, Cause::Cancelled),
            (Input::Draining, Prompt::Draining, Cause::Draining),
        ] {
            for arrive in [None, Some(waiting()), Some(inside())] {
                let (mut seated, now) = seated();
                if let Some(news) = &arrive {
                    seated.handle_input(news, now);
                }
                let mut expected = match arrive.as_ref() {
                    None => vec![],
                    Some(news) if *news == inside() => vec![Action::Detach],
                    Some(_) => vec![Action::WaitingTone(false)],
                };
                expected.extend([Action::Leave, Action::Tell(PhoneState::Left, Some(cause)), Action::Say(phrase)]);
                assert_eq!(seated.handle_input(&input, now), expected, "{input:?} {arrive:?}");
                // While the last words are said nothing else counts, and a telephone that hears nothing is hung up on.
                for late in [inside(), waiting(), key('#'), Input::Draining, input.clone()] {
                    assert_eq!(seated.handle_input(&late, now), []);
                }
                let reason = match cause {
                    Cause::Draining => Reason::Shutdown,
                    Cause::Fault => Reason::Fault,
                    _ => Reason::Normal,
                };
                assert_eq!(seated.handle_timeout(now + LAST_WORDS_MAX), [Action::HangUp(reason)]);
                assert_eq!((seated.poll_timeout(), seated.is_over()), (None, true));
            }
        }
    }

    #[test]
    fn whoever_hangs_up_leaves_at_once() {
        let (mut seated, now) = in_room();
        let told = Action::Tell(PhoneState::Left, Some(PhoneCause::HungUp));
        assert_eq!(seated.handle_input(&Input::HungUp, now), [Action::Detach, Action::Leave, told]);
        assert!(seated.is_over());
        let (mut ending, now) = in_room();
        ending.handle_input(&Input::Draining, now);
        assert_eq!(ending.handle_input(&Input::HungUp, now), [], "left and told already");
        assert!(ending.is_over());
    }

    #[test]
    fn whoever_comes_first_hears_that_the_host_is_not_there_and_a_host_who_comes_begins_no_prompt_anew() {
        let (mut seated, now) = seated();
        let waits =
            |host_present| Input::Room(RoomNews::Waiting { consent_due: false, encryption_ends: false, host_present });
        let told = seated.handle_input(&waits(false), now);
        let waiting = Action::Tell(PhoneState::Waiting, None);
        assert_eq!(told, [Action::WaitingTone(true), Action::Say(Prompt::HostAbsent), waiting]);
        for host_present in [true, false, true] {
            assert_eq!(seated.handle_input(&waits(host_present), now), []);
        }
        assert_eq!(seated.handle_timeout(now + STILL_WAITING), [Action::Say(Prompt::StillWaiting)]);
    }

    fn inside_with(company: Company, silenced: bool) -> Input {
        Input::Room(RoomNews::Inside { company, silenced })
    }

    #[test]
    fn the_first_inside_hears_that_nobody_is_there_yet_and_then_that_it_may_speak() {
        let (mut seated, now) = seated();
        let entered = [Action::Attach, Action::Tell(PhoneState::In, None)];
        let mut expected = vec![Action::WaitingTone(true), Action::Say(Prompt::Alone)];
        expected.extend(entered);
        assert_eq!(seated.handle_input(&inside_with(Company::Nobody, false), now), expected);
        let joined = seated.handle_input(&inside(), now);
        assert_eq!(joined, [Action::WaitingTone(false), Action::Say(Prompt::Admitted)]);
        let left = seated.handle_input(&inside_with(Company::Nobody, false), now);
        assert_eq!(left, [], "who is left alone was not the first");
        assert_eq!(seated.handle_input(&inside(), now), []);
        let mut hangs_up = Seated::new(now, HOUR);
        hangs_up.handle_input(&inside_with(Company::Nobody, false), now);
        let actions = hangs_up.handle_input(&Input::HungUp, now);
        assert_eq!(actions[..2], [Action::WaitingTone(false), Action::Detach]);
    }

    /// A host had stopped the voice, and the person's own key said "you can be heard again".
    #[test]
    fn a_telephone_is_told_of_its_silence_and_of_an_aside_and_its_key_claims_nothing_else() {
        let (mut seated, now) = in_room();
        let (apart, silenced) = (inside_with(Company::Apart, false), inside_with(Company::Others, true));
        let says = Action::Say;
        assert_eq!(seated.handle_input(&silenced, now), [says(Prompt::Muted)]);
        assert_eq!(keys(&mut seated, "*6", now), [Action::Mute(true), says(Prompt::Muted)]);
        assert_eq!(keys(&mut seated, "*6", now), [Action::Mute(false), says(Prompt::Muted)], "not heard all the same");
        assert_eq!(seated.handle_input(&inside(), now), [says(Prompt::Unmuted)]);
        assert_eq!(keys(&mut seated, "*6", now), [Action::Mute(true), says(Prompt::Muted)]);
        assert_eq!(seated.handle_input(&silenced, now), []);
        assert_eq!(seated.handle_input(&inside(), now), [], "its own silence goes on");
        assert_eq!(keys(&mut seated, "*6", now), [Action::Mute(false), says(Prompt::Unmuted)]);

        assert_eq!(seated.handle_input(&apart, now), [Action::WaitingTone(true), says(Prompt::Apart)]);
        assert_eq!(seated.handle_input(&apart, now), []);
        assert_eq!(keys(&mut seated, "*6*6", now)[2..], [Action::Mute(false), says(Prompt::Apart)]);
        assert_eq!(seated.handle_input(&inside(), now), [Action::WaitingTone(false), says(Prompt::Admitted)]);
        seated.handle_input(&apart, now);
        seated.handle_input(&inside_with(Company::Apart, true), now);
        assert_eq!(seated.handle_input(&silenced, now), [Action::WaitingTone(false), says(Prompt::Muted)]);

        let mut late = Seated::new(now, HOUR);
        late.handle_input(&waiting(), now);
        let entered = late.handle_input(&apart, now);
        assert_eq!(entered, [says(Prompt::Apart), Action::Attach, Action::Tell(PhoneState::In, None)]);
    }

    #[test]
    fn what_the_line_does_is_told_inside_and_acted_on_everywhere() {
        let line = Input::Line;
        let (mut seated, now) = in_room();
        let silent = Action::Tell(PhoneState::Silent, Some(PhoneCause::NoSound));
        assert_eq!(seated.handle_input(&line(LineNews::NoSound), now), [silent, Action::Renegotiate]);
        for (news, expected) in [
            (LineNews::Silent, Action::Tell(PhoneState::Silent, None)),
            (LineNews::Lost, Action::Tell(PhoneState::Lost, None)),
            (LineNews::Probe, Action::Probe),
            (LineNews::Back, Action::Tell(PhoneState::In, None)),
            (LineNews::Unsent, Action::Tell(PhoneState::In, Some(PhoneCause::NothingSent))),
            (LineNews::Sent, Action::Tell(PhoneState::In, None)),
        ] {
            assert_eq!(seated.handle_input(&line(news), now), [expected], "{news:?}");
        }
        seated.handle_input(&line(LineNews::Silent), now);
        assert_eq!(seated.handle_input(&line(LineNews::Unsent), now), [], "the greater fault stands");
        let unsent = Action::Tell(PhoneState::In, Some(PhoneCause::NothingSent));
        assert_eq!(seated.handle_input(&line(LineNews::Back), now), [unsent], "and the other one behind it");
        let dead = Action::Tell(PhoneState::Left, Some(PhoneCause::LineDead));
        let given_up = seated.handle_input(&line(LineNews::GivenUp), now);
        assert_eq!(given_up, [Action::Detach, Action::Leave, dead, Action::HangUp(Reason::Timeout)]);
        let mut waits = Seated::new(now, HOUR);
        waits.handle_input(&waiting(), now);
        assert_eq!(waits.handle_input(&line(LineNews::Silent), now), [], "the room does not see who waits");
        assert_eq!(waits.handle_input(&line(LineNews::NoSound), now), [Action::Renegotiate]);
    }

    #[test]
    fn a_call_ends_when_it_has_lasted_as_long_as_it_may() {
        let (mut seated, now) = in_room();
        assert_eq!(seated.poll_timeout(), Some(now + HOUR));
        let actions = seated.handle_timeout(now + HOUR);
        assert!(actions.contains(&Action::Say(Prompt::TimeUp)) && actions.contains(&Action::Detach));
    }

    #[test]
    fn a_key_prints_nothing() {
        assert!(!format!("{:?}", Input::Key(Pii('7'))).contains('7'));
    }
}
