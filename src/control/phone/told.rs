//! What pages are told of telephones: of the own one everything, of others' what concerns whoever is inside.
//!
//! ```text
//!   seat's telephone: can it be called? what does it do? --compared with what this page was told--> `phone`
//! ```
//!
//! Works like `settle`, of which it is a part: calling it once too often tells nothing twice. Not here: what the telephone does.

use std::collections::HashMap;
use std::time::{Duration, Instant};

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
    /// The server calls by itself when its page is gone for so long: its person agreed to that, or the operator needs nobody to.
    alone_after: Option<Duration>,
    /// What is to become of it while its page is gone.
    plan: Plan,
    /// What it does.
    doing: Option<Doing>,
    /// It is the number of the file. Nothing when the call shows none.
    matches_file: Option<bool>,
}

/// Whether the server is about to call by itself.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Plan {
    #[default]
    Nothing,
    /// It calls then.
    Call { at: Instant },
    /// Somebody has called it off, and the ladder has not heard of it yet.
    CalledOff,
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
    /// It is the number of the file, or another one. Nothing when the call shows none, or none is on file.
    pub matches_file: Option<bool>,
}

impl Telephone {
    /// Of a seat that nobody has called yet.
    pub(in crate::control) fn of(board: Option<&Switchboard>, encryption: Encryption, seat: &SeatRecord) -> Self {
        let Some(board) = board else { return Self::default() };
        let number = board.dial_in.clone().filter(|_| encryption != Encryption::Required);
        let ending = board.number_of(encryption, seat).map(|number| Pii(number.ending().to_owned()));
        let dial_in = number.map(|number| Pii((number, seat.pin.0.clone())));
        let config = board.config();
        let rules = &config.ladder;
        let may = rules.auto_call && (seat.phone_consent || !rules.consent_required) && ending.is_ok();
        let (alone_after, doing) = (may.then_some(rules.gone), board.doing(&seat.id));
        Self { dial_in, callable: Some(ending), alone_after, doing, ..Self::default() }
    }

    /// Whether the server may call it by itself.
    pub(super) fn may_be_called(&self) -> bool {
        self.alone_after.is_some()
    }

    /// A call of it is being made, or it waits on the line.
    pub(super) fn is_dialled(&self) -> bool {
        use PhoneState::{Calling, Confirming, Ringing, Waiting};
        self.doing.is_some_and(|doing| matches!(doing.state, Calling | Ringing | Confirming | Waiting))
    }

    /// It is in the room, and nothing is heard from it.
    pub(super) fn is_unheard(&self) -> bool {
        self.doing.is_some_and(|doing| matches!(doing.state, PhoneState::Silent | PhoneState::Lost))
    }

    /// Whether somebody has called the server's own call off since the last question.
    pub(super) fn take_called_off(&mut self) -> bool {
        let called_off = self.plan == Plan::CalledOff;
        if called_off {
            self.plan = Plan::Nothing;
        }
        called_off
    }

    /// What goes with a state, whole seconds.
    fn seconds(&self, state: PhoneState, own: bool, encryption: Encryption) -> Option<u32> {
        let time = match (state, self.plan) {
            (PhoneState::Ready, _) if own && encryption == Encryption::Off => self.alone_after?,
            (PhoneState::Planned, Plan::Call { at }) => at.saturating_duration_since(Instant::now()),
            _ => return None,
        };
        u32::try_from(time.as_millis().div_ceil(1_000)).ok()
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
    /// A telephone does something else now. `call`: the one that tells it, while it has the seat. As long as one is on the line, its word
    /// alone counts: one that it replaced goes later, and one that was being made comes to nothing. False when it does not count.
    pub(in crate::control) fn set_phone(
        &mut self,
        id: &str,
        call: Option<u64>,
        state: PhoneState,
        cause: Option<PhoneCause>,
    ) -> bool {
        let on_line = self.seat(id).and_then(|seat| seat.phone.on_line());
        if on_line.is_some_and(|line| Some(line.call) != call) {
            return false;
        }
        // As long as it is in, everybody knows what it ended.
        let ends = self.encryption == Encryption::Preferred && state == PhoneState::In;
        let cause = cause.or(ends.then_some(PhoneCause::EncryptionEnds));
        if let Some(seat) = self.seat_mut(id) {
            if matches!(state, PhoneState::Left | PhoneState::Failed) {
                seat.telephone.matches_file = None;
            }
            // Whatever it does now, nobody calls it beside.
            seat.telephone.plan = Plan::Nothing;
            let new = Doing::now(state, cause);
            let before = seat.telephone.doing.filter(|doing| (doing.state, doing.cause) == (state, cause));
            seat.telephone.doing = Some(before.unwrap_or(new));
            self.tell_phones();
        }
        true
    }

    /// The server is about to call a telephone by itself: everybody inside is told, and may call it off. Where encryption would end with
    /// it, nobody is promised a call that the practitioner has to agree to first.
    pub(super) fn plan_call(&mut self, id: &str, at: Instant) {
        let is_free = self.encryption == Encryption::Off;
        if let Some(seat) = self.seat_mut(id).filter(|_| is_free) {
            seat.telephone.plan = Plan::Call { at };
            seat.telephone.doing = Some(Doing::now(PhoneState::Planned, None));
            self.tell_phones();
        }
    }

    /// The page is back before it was called.
    pub(super) fn withdraw_call(&mut self, id: &str) {
        self.drop_plan(id, Plan::Nothing, PhoneCause::BackToPage);
    }

    /// Somebody wants no such call. False when none is planned.
    pub(super) fn call_off(&mut self, id: &str) -> bool {
        self.drop_plan(id, Plan::CalledOff, PhoneCause::Cancelled)
    }

    fn drop_plan(&mut self, id: &str, plan: Plan, cause: PhoneCause) -> bool {
        let planned = |seat: &&mut LiveSeat| matches!(seat.telephone.plan, Plan::Call { .. });
        let Some(seat) = self.seat_mut(id).filter(planned) else { return false };
        seat.telephone.plan = plan;
        seat.telephone.doing = Some(Doing::now(PhoneState::Idle, Some(cause)));
        self.tell_phones();
        true
    }

    /// Whether the telephone's number is the one of the file; told with what the telephone does next.
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
            let seconds = |state| seat.telephone.seconds(state, page.id == seat.id, self.encryption);
            let mut tell = |told: &mut HashMap<_, _>, now: Told| {
                if told.insert(seat.id.clone(), now) != Some(now) {
                    let Told { state, cause, matches_file } = now;
                    messages.push(ServerMessage::Phone {
                        seat: seat.id.clone(),
                        state,
                        cause,
                        number_ending: ending.clone(),
                        matches_file,
                        seconds: seconds(state),
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
