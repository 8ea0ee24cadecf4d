//! Gates before media, as a value: what is asked of a seat, what it has answered, what an answer does.
//!
//! Which gates there are comes from the act, or from the booking; which cards there are, from the professionals' seats. Not
//! here: who is told, what is stored, what the media plane does about it (`room`).
//!
//! A gate that was passed stays passed. A card that comes later is asked of whoever is inside already without shutting them
//! out again: until they answer it is the newcomer's media that stays closed.

use std::collections::BTreeSet;

use colloque_signaling::message::{Card, Choice, Gate, GateAnswer, Role};

use crate::acts::{self, Act, Gates};
use crate::pii::Pii;
use crate::store::{ConsultationRecord, PassedGate, SeatRecord};

use super::facts::{Passed, Refused};

/// What is asked of one seat.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Asked {
    card: bool,
    /// Version of the text.
    consent: Option<String>,
    third_person: bool,
    preference: bool,
}

impl Asked {
    /// Nothing is asked of a seat that the clinic vouches for.
    pub(super) fn of(gates: &Gates, role: Role, vouched: bool) -> Self {
        if vouched {
            return Self::default();
        }
        let asks = |roles: &[Role]| roles.contains(&role);
        Self {
            card: asks(&gates.card),
            consent: asks(&gates.consent.asked).then(|| gates.consent.text.clone()),
            third_person: asks(&gates.third_person),
            preference: asks(&gates.preference),
        }
    }

    /// The version of the text that it is to consent to.
    pub(super) fn consent(&self) -> Option<String> {
        self.consent.clone()
    }

    /// Whether it is to read the professionals' cards.
    pub(super) fn reads_cards(&self) -> bool {
        self.card
    }
}

/// What one seat has answered.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Answers {
    /// Seats whose cards were read.
    cards: BTreeSet<String>,
    /// The version that was consented to.
    consent: Option<String>,
    third_person: Option<bool>,
    /// Chose video.
    preference: bool,
}

impl Answers {
    /// As they were stored.
    pub(super) fn read(passed: &[PassedGate]) -> Self {
        let mut answers = Self::default();
        for PassedGate { gate, answer, .. } in passed {
            match gate.as_str() {
                CONSENT => answers.consent = Some(answer.clone()),
                THIRD_PERSON => answers.third_person = Some(answer == YES),
                PREFERENCE => answers.preference = true,
                gate => answers.cards.extend(gate.strip_prefix(CARD).map(str::to_owned)),
            }
        }
        answers
    }

    /// What was declared of a third person.
    pub(super) fn third_person(&self) -> Option<bool> {
        self.third_person
    }

    /// Whether the card of this seat was read.
    pub(super) fn has_read(&self, seat: &str) -> bool {
        self.cards.contains(seat)
    }
}

/// What an answer does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answered {
    /// It was said before: nothing.
    Again,
    /// One or more gates are passed: to be stored by these names and answers, and told.
    Passed(Vec<(String, String)>, Passed),
    /// The seat is closed, for this reason.
    Refused(Refused),
}

/// An answer that fits nothing that is asked: nothing changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Misplaced {
    /// The seat is not asked this.
    NotAsked,
    /// It is, but not about this seat's card or this version of the text.
    Unknown,
}

/// What a seat still has to pass, in the order in which to ask. `login`: it has to log in, and has not.
pub(super) fn pending(asked: &Asked, answers: &Answers, cards: &[Card], login: bool) -> Vec<Gate> {
    let unread = || cards.iter().filter(|card| !answers.has_read(&card.seat)).cloned().collect::<Vec<_>>();
    let cards = if asked.card { unread() } else { Vec::new() };
    let consent = asked.consent.as_ref().filter(|text| answers.consent.as_ref() != Some(*text));
    let gates = [
        login.then_some(Gate::Login),
        (!cards.is_empty()).then_some(Gate::Card { cards }),
        consent.map(|text| Gate::Consent { text: text.clone() }),
        (asked.third_person && answers.third_person.is_none()).then_some(Gate::ThirdPerson),
        (asked.preference && !answers.preference).then_some(Gate::Preference),
    ];
    gates.into_iter().flatten().collect()
}

/// Whether these shut a seat out: all of them before it was inside, afterwards none but what was not asked before.
pub(super) fn shut_out(pending: &[Gate], was_inside: bool) -> bool {
    pending.iter().any(|gate| !was_inside || !matches!(gate, Gate::Card { .. }))
}

/// Takes an answer. Refusing is always possible where something is asked, whichever version was shown, also after it was passed.
pub(super) fn answer(
    asked: &Asked,
    answers: &mut Answers,
    cards: &[Card],
    answer: &GateAnswer,
) -> Result<Answered, Misplaced> {
    match answer {
        GateAnswer::Card { seats } if asked.card => read_cards(answers, cards, seats),
        GateAnswer::Consent { text, accepted } => match &asked.consent {
            None => Err(Misplaced::NotAsked),
            Some(_) if !accepted => Ok(Answered::Refused(match answers.consent.take() {
                Some(_) => Refused::ConsentWithdrawn,
                None => Refused::Consent,
            })),
            Some(asked) if asked != text => Err(Misplaced::Unknown),
            Some(_) if answers.consent.as_ref() == Some(text) => Ok(Answered::Again),
            Some(_) => {
                answers.consent = Some(text.clone());
                let stored = vec![(CONSENT.to_owned(), text.clone())];
                Ok(Answered::Passed(stored, Passed::Consent { text: text.clone() }))
            }
        },
        GateAnswer::ThirdPerson { present } if asked.third_person => {
            if answers.third_person.replace(*present) == Some(*present) {
                return Ok(Answered::Again);
            }
            let stored = vec![(THIRD_PERSON.to_owned(), if *present { YES } else { NO }.to_owned())];
            Ok(Answered::Passed(stored, Passed::ThirdPerson { present: *present }))
        }
        GateAnswer::Preference { choice } if asked.preference => match choice {
            Choice::Video if answers.preference => Ok(Answered::Again),
            Choice::Video => {
                answers.preference = true;
                Ok(Answered::Passed(vec![(PREFERENCE.to_owned(), String::new())], Passed::Preference))
            }
            Choice::InPerson | Choice::Phone => Ok(Answered::Refused(Refused::Preference { choice: *choice })),
        },
        GateAnswer::Card { .. } | GateAnswer::ThirdPerson { .. } | GateAnswer::Preference { .. } => {
            Err(Misplaced::NotAsked)
        }
    }
}

fn read_cards(answers: &mut Answers, cards: &[Card], seats: &[String]) -> Result<Answered, Misplaced> {
    if seats.is_empty() || !seats.iter().all(|seat| cards.iter().any(|card| card.seat == *seat)) {
        return Err(Misplaced::Unknown);
    }
    let is_new = |card: &&Card| seats.contains(&card.seat) && !answers.has_read(&card.seat);
    let read: Vec<&Card> = cards.iter().filter(is_new).collect();
    if read.is_empty() {
        return Ok(Answered::Again);
    }
    let stored = read.iter().map(|card| (format!("{CARD}{}", card.seat), String::new())).collect();
    let complete = read.iter().all(|card| is_complete(card));
    let seats: Vec<String> = read.into_iter().map(|card| card.seat.clone()).collect();
    answers.cards.extend(seats.iter().cloned());
    Ok(Answered::Passed(stored, Passed::Card { seats, complete }))
}

/// Whether a card says everything that the law wants shown.
pub(super) fn is_complete(card: &Card) -> bool {
    let Card { seat: _, title, name, specialty, rpps, address, fee } = card;
    [title, name, specialty, rpps, address, fee].into_iter().all(Option::is_some)
}

/// What is shown of a professional's seat: the card it was booked with, at least its name. No card for anyone else.
pub(super) fn card_of(seat: &str, role: Role, booked: Option<&str>, display_name: Option<&str>) -> Option<Card> {
    if !acts::is_professional(role) {
        return None;
    }
    // What cannot be read was written by a later version: the name alone is shown then.
    let mut card: Card = booked.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    card.seat = seat.to_owned();
    card.name = card.name.or_else(|| display_name.map(str::to_owned));
    Some(card)
}

/// The gates of a consultation: its booking's, else its act's.
pub(super) fn of_consultation(consultation: &ConsultationRecord, act: &Act) -> Gates {
    let booked = consultation.gates.as_deref().and_then(|json| serde_json::from_str(json).ok());
    booked.unwrap_or_else(|| act.gates.clone())
}

/// Whether a seat has to log in, and has not.
pub(super) fn is_login_due(demanded: bool, role: Role, seat: &SeatRecord) -> bool {
    demanded && !seat.vouched && acts::is_professional(role) && seat.login.is_none()
}

/// What each seat of a stored consultation still has to pass.
pub(super) fn pending_of_records(gates: &Gates, login: bool, seats: &[SeatRecord]) -> Vec<Vec<Gate>> {
    let role_of = |seat: &SeatRecord| acts::role_from_name(&seat.role).unwrap_or(Role::Guest);
    let open = seats.iter().filter(|seat| seat.admission.is_open());
    let cards: Vec<Card> = open.filter_map(|seat| card_of_record(role_of(seat), seat)).collect();
    let pending = |seat: &SeatRecord| {
        let asked = Asked::of(gates, role_of(seat), seat.vouched);
        pending(&asked, &Answers::read(&seat.gates), &cards, is_login_due(login, role_of(seat), seat))
    };
    seats.iter().map(pending).collect()
}

/// What is shown of a stored seat.
pub(super) fn card_of_record(role: Role, seat: &SeatRecord) -> Option<Card> {
    let text = |text: &'_ Option<Pii<String>>| text.as_ref().map(|text| text.0.clone());
    card_of(&seat.id, role, text(&seat.card).as_deref(), text(&seat.display_name).as_deref())
}

/// Name in the store of a withdrawn or given consent.
pub(super) const CONSENT: &str = "consent";
const THIRD_PERSON: &str = "third_person";
const PREFERENCE: &str = "preference";
const CARD: &str = "card:";
const YES: &str = "yes";
const NO: &str = "no";

#[cfg(test)]
#[path = "gates_tests.rs"]
mod tests;
