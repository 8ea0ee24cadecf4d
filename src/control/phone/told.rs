//! What pages are told of telephones: of the own one everything, of others' what concerns whoever is inside.
//!
//! ```text
//!   seat's telephone: can it be called? what does it do? --compared with what this page was told--> `phone`
//! ```
//!
//! Works like `settle`, of which it is a part: calling it once too often tells nothing twice. Not here: what the telephone does.

use std::collections::HashMap;

use colloque_signaling::message::{PhoneCause, PhoneState, ServerMessage};

use crate::control::room::RoomState;
use crate::control::seat::{LiveSeat, Visit};
use crate::pii::Pii;
use crate::store::SeatRecord;

use super::encryption::Encryption;
use super::switchboard::{Doing, Switchboard};

/// A seat's telephone, as pages may know it.
#[derive(Clone, Default, Debug)]
pub(in crate::control) struct Telephone {
    /// How its person comes in: the number, and the PIN.
    dial_in: Option<Pii<(String, String)>>,
    /// The number's last digits, or why it cannot be called. Nothing on a server without a telephone.
    callable: Option<Result<Pii<String>, PhoneCause>>,
    /// Its person agreed to be called when the connection fails.
    consent: bool,
    /// What it does.
    doing: Option<Doing>,
    /// Who called in did so from the number of the file.
    matches_file: Option<bool>,
}

/// What a telephone does, as pages are told it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Told {
    state: PhoneState,
    cause: Option<PhoneCause>,
    /// To hosts alone.
    matches_file: Option<bool>,
}

impl Told {
    fn new(state: PhoneState, cause: Option<PhoneCause>) -> Self {
        Self { state, cause, matches_file: None }
    }
}

/// What one page was told of telephones, by seat.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(in crate::control) struct PhonesTold {
    dial_in: bool,
    callable: HashMap<String, Told>,
    doing: HashMap<String, Told>,
}

/// A seat's telephone, as its clinic is told it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TelephoneState {
    /// What it does, or whether it can be called.
    pub state: PhoneState,
    /// Why.
    pub cause: Option<PhoneCause>,
    /// Since when, Unix seconds. Nothing while nobody has called.
    pub since: Option<i64>,
    /// The last digits of the number, where it can be called.
    pub number_ending: Option<Pii<String>>,
    /// Who called in did so from the number of the file, or from another. Nothing when either is unknown.
    pub matches_file: Option<bool>,
}

impl Telephone {
    /// Of a seat that nobody has called yet.
    pub(in crate::control) fn of(board: Option<&Switchboard>, encryption: Encryption, seat: &SeatRecord) -> Self {
        let Some(board) = board else { return Self::default() };
        let number = board.dial_in.clone().filter(|_| encryption != Encryption::Required);
        let ending = board.number_of(encryption, seat).map(|number| Pii(number.ending().to_owned()));
        let dial_in = number.map(|number| Pii((number, seat.pin.0.clone())));
        Self {
            dial_in,
            callable: Some(ending),
            consent: seat.phone_consent,
            doing: board.doing(&seat.id),
            ..Self::default()
        }
    }

    /// Whether the server may call it by itself.
    pub(super) fn may_be_called(&self) -> bool {
        self.consent && matches!(self.callable, Some(Ok(_)))
    }

    /// For the clinic. Nothing on a server without a telephone.
    pub(in crate::control) fn state(&self) -> Option<TelephoneState> {
        let callable = self.callable.as_ref()?;
        let (state, cause) = match (self.doing, callable) {
            (Some(doing), _) => (doing.state, doing.cause),
            (None, Ok(_)) => (PhoneState::Ready, None),
            (None, Err(cause)) => (PhoneState::Unavailable, Some(*cause)),
        };
        Some(TelephoneState {
            state,
            cause,
            since: self.doing.map(|doing| doing.since),
            number_ending: callable.as_ref().ok().cloned(),
            matches_file: self.matches_file,
        })
    }

    fn ending(&self) -> Option<String> {
        self.callable.as_ref()?.as_ref().ok().map(|ending| ending.0.clone())
    }
}

impl RoomState {
    /// A telephone does something else now.
    pub(in crate::control) fn set_phone(&mut self, id: &str, state: PhoneState, cause: Option<PhoneCause>) {
        // As long as it is in, everybody knows what it ended.
        let ends = self.encryption == Encryption::Preferred && state == PhoneState::In;
        let cause = cause.or(ends.then_some(PhoneCause::EncryptionEnds));
        if let Some(seat) = self.seat_mut(id) {
            if matches!(state, PhoneState::Left | PhoneState::Failed) {
                seat.telephone.matches_file = None;
            }
            let new = Doing::now(state, cause);
            let before = seat.telephone.doing.filter(|doing| (doing.state, doing.cause) == (state, cause));
            seat.telephone.doing = Some(before.unwrap_or(new));
            self.tell_phones();
        }
    }

    /// Whether the number that calls in is the one of the file; told with what the telephone does next.
    pub(in crate::control) fn set_phone_match(&mut self, id: &str, matches_file: Option<bool>) {
        if let Some(seat) = self.seat_mut(id) {
            seat.telephone.matches_file = matches_file;
        }
    }

    /// Tells every page what is new of the telephones that it may know of.
    pub(in crate::control) fn tell_phones(&mut self) {
        for viewer in 0..self.seats.len() {
            if self.seats[viewer].visit == Visit::Absent {
                continue;
            }
            let messages = self.news_for(viewer);
            let page = &mut self.seats[viewer];
            messages.into_iter().for_each(|message| page.channel.send(message));
        }
    }

    fn news_for(&mut self, viewer: usize) -> Vec<ServerMessage> {
        let mut told = std::mem::take(&mut self.seats[viewer].told.phones);
        let page = &self.seats[viewer];
        let mut messages = Vec::new();
        if !told.dial_in
            && let Some(Pii((number, pin))) = page.telephone.dial_in.clone()
        {
            told.dial_in = true;
            messages.push(ServerMessage::DialIn { number, pin });
        }
        for seat in &self.seats {
            let knows = Knows::of(page, seat);
            let ending = seat.telephone.ending().filter(|_| knows.number);
            let mut tell = |told: &mut HashMap<_, _>, now: Told| {
                if told.insert(seat.id.clone(), now) != Some(now) {
                    let Told { state, cause, matches_file } = now;
                    messages.push(ServerMessage::Phone {
                        seat: seat.id.clone(),
                        state,
                        cause,
                        number_ending: ending.clone(),
                        matches_file,
                    });
                }
            };
            if knows.number
                && let Some(callable) = &seat.telephone.callable
            {
                let refusal = callable.as_ref().err().copied();
                let state = if refusal.is_none() { PhoneState::Ready } else { PhoneState::Unavailable };
                tell(&mut told.callable, Told::new(state, refusal));
            }
            if knows.doing
                && let Some(doing) = seat.telephone.doing
            {
                let matches_file = seat.telephone.matches_file.filter(|_| knows.matching);
                tell(&mut told.doing, Told { matches_file, ..Told::new(doing.state, doing.cause) });
            }
        }
        self.seats[viewer].told.phones = told;
        messages
    }
}

/// What a page may know of a seat's telephone.
struct Knows {
    /// Whether it can be called, and the end of its number.
    number: bool,
    /// What it does.
    doing: bool,
    /// Whether it is the number of the file.
    matching: bool,
}

impl Knows {
    fn of(page: &LiveSeat, seat: &LiveSeat) -> Self {
        let (own, inside) = (page.id == seat.id, page.stage.is_inside());
        let host = inside && page.permissions().admit;
        Knows { number: own || host, doing: own || inside, matching: host }
    }
}
