//! The telephone as the control plane knows it: what the operator allows, which calls run, and the way to whoever makes them.
//!
//! ```text
//!   page, clinic, ladder --call--> [number, encryption, budget] --Order--> telephone (another module: it makes the call)
//!                                        running calls by seat <--CallTicket-- for as long as it lasts
//! ```
//!
//! Not here: SIP and sound (`telephone`), who is in a room and hears whom (`leg`). A call that is in the books is out of them when its
//! [`CallTicket`] is dropped, however it ends.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use colloque_signaling::message::{Language, PhoneCause, PhoneState};
use dashmap::{DashMap, Entry};
use tokio::sync::mpsc;

use crate::config::telephone::{Number, TelephoneConfig};
use crate::control::{clock, facts::Actor};
use crate::pii::Pii;
use crate::store::{ConsultationRecord, SeatRecord};

use super::Percent;
use super::budget::{Allowance, Asked, Budget, BudgetRefusal, CallId, News, Usage};
use super::encryption::Encryption;
use super::numbers::{self, NumberRefusal};
use super::pins::{CallerMark, GuessingAlarm, Pace, Throttle};
use super::test_call::TestOrders;

/// The telephone of this server.
pub struct Switchboard {
    config: RwLock<Arc<TelephoneConfig>>,
    /// False: the operator has stopped calls while the server runs.
    calls_allowed: AtomicBool,
    /// What people dial to come in: a number of a trunk, or a SIP address.
    pub dial_in: Option<String>,
    budget: Arc<Mutex<Budget>>,
    throttle: Mutex<Throttle>,
    orders: mpsc::Sender<DialOrder>,
    /// Calls that we make, by seat: one at a time.
    calls: Arc<DashMap<String, Running>>,
    pub(super) tests: TestOrders,
    marks: ahash::RandomState,
}

struct Running {
    call: CallId,
    /// Nobody asked for it: the ladder did.
    alone: bool,
    consultation: String,
    control: mpsc::Sender<PhoneCause>,
    doing: Doing,
}

/// What a telephone does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Doing {
    pub(super) state: PhoneState,
    pub(super) cause: Option<PhoneCause>,
    /// Unix seconds.
    pub(super) since: i64,
}

impl Doing {
    pub(super) fn now(state: PhoneState, cause: Option<PhoneCause>) -> Self {
        Self { state, cause, since: clock::unix_now() }
    }
}

/// Nothing of what it holds: numbers, PINs' throttles.
impl fmt::Debug for Switchboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Switchboard").finish_non_exhaustive()
    }
}

/// A call to be made.
pub struct DialOrder {
    /// As it was when the call was asked for: it is made also when nothing can be read any more.
    pub consultation: ConsultationRecord,
    /// Whom to call.
    pub seat: SeatRecord,
    /// On this number.
    pub number: Number,
    /// Of the words that are said.
    pub language: Language,
    /// In the books as long as the call lasts.
    pub ticket: CallTicket,
    /// Somebody calls it off, or hangs up, and why.
    pub cancelled: mpsc::Receiver<PhoneCause>,
}

/// A call's place in the books; given back when it is dropped.
pub struct CallTicket {
    budget: Arc<Mutex<Budget>>,
    calls: Arc<DashMap<String, Running>>,
    call: CallId,
    seat: Option<String>,
}

impl CallTicket {
    /// Somebody has answered: from now on it costs.
    pub fn handle_answer(&self) {
        lock(&self.budget).handle_answer(self.call, Instant::now());
    }
}

impl Drop for CallTicket {
    fn drop(&mut self) {
        if let Some(seat) = &self.seat {
            self.calls.remove_if(seat, |_, running| running.call == self.call);
        }
        lock(&self.budget).handle_end(self.call, Instant::now(), today());
    }
}

/// Who wants a call, and of whom.
#[derive(Clone, Copy)]
pub(in crate::control) struct Wanted<'a> {
    pub(in crate::control) consultation: &'a ConsultationRecord,
    pub(in crate::control) seat: &'a SeatRecord,
    pub(in crate::control) by: &'a Actor,
    /// The practitioner agreed that encryption ends.
    pub(in crate::control) encryption_ends: bool,
}

impl Switchboard {
    /// Nothing runs yet. The orders go to whoever makes the calls.
    #[must_use]
    pub fn new(config: Arc<TelephoneConfig>, dial_in: Option<String>) -> (Self, mpsc::Receiver<DialOrder>) {
        let (orders, receiver) = mpsc::channel(ORDERS_MAX);
        let board = Self {
            budget: Arc::new(Mutex::new(Budget::new(allowance(&config)))),
            config: RwLock::new(config),
            calls_allowed: AtomicBool::new(true),
            dial_in,
            throttle: Mutex::default(),
            orders,
            calls: Arc::default(),
            tests: TestOrders::default(),
            marks: ahash::RandomState::new(),
        };
        (board, receiver)
    }

    /// What the operator allows now.
    #[must_use]
    pub fn config(&self) -> Arc<TelephoneConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other limits for what begins from now on; what runs goes on.
    pub fn set_config(&self, config: Arc<TelephoneConfig>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        self.set_allowance();
    }

    /// Stops every call that the server would make from now on, or allows them again.
    pub fn set_calls_allowed(&self, allowed: bool) {
        self.calls_allowed.store(allowed, Ordering::Relaxed);
        self.set_allowance();
    }

    fn set_allowance(&self) {
        let configured = allowance(&self.config());
        let enabled = configured.enabled && self.calls_allowed.load(Ordering::Relaxed);
        lock(&self.budget).set_allowance(Allowance { enabled, ..configured });
    }

    /// Whether the server calls anybody.
    #[must_use]
    pub fn calls_allowed(&self) -> bool {
        lock(&self.budget).is_enabled()
    }

    /// The number on which a seat would be called.
    pub fn number_of(&self, encryption: Encryption, seat: &SeatRecord) -> Result<Number, PhoneCause> {
        if encryption == Encryption::Required {
            return Err(PhoneCause::EncryptionRequired);
        }
        let written = seat.phone.as_ref().ok_or(PhoneCause::NumberMissing)?;
        let config = self.config();
        let number = numbers::read(&written.0, config.country).map_err(cause_of_number)?;
        numbers::check(&number, &config.dialout).map_err(cause_of_number)?;
        if self.calls_allowed() { Ok(number) } else { Err(PhoneCause::SwitchedOff) }
    }

    /// Has a seat called, when everything allows it.
    pub(in crate::control) fn call(&self, wanted: Wanted<'_>, language: Language) -> Result<Number, PhoneCause> {
        let Wanted { consultation, seat, by, encryption_ends } = wanted;
        check_wanted(consultation, seat)?;
        let encryption = Encryption::from_name(&consultation.e2ee);
        let number = self.number_of(encryption, seat)?;
        encryption.admits_telephone(encryption_ends)?;
        let alone = *by == Actor::Server;
        let by = match by {
            Actor::Seat(seat) => seat.as_str(),
            Actor::Clinic | Actor::Operator | Actor::Server => consultation.id.as_str(),
        };
        let asked = asked(consultation, seat, by);
        let (control, cancelled) = mpsc::channel(CANCELS_MAX);
        let call = match self.calls.entry(seat.id.clone()) {
            Entry::Occupied(_) => return Err(PhoneCause::TooManyAtOnce),
            Entry::Vacant(free) => {
                let call = lock(&self.budget).ask(asked, Instant::now(), today()).map_err(cause_of_budget)?;
                let doing = Doing::now(PhoneState::Calling, None);
                free.insert(Running { call, alone, consultation: consultation.id.clone(), control, doing });
                call
            }
        };
        let ticket = self.ticket(call, Some(seat.id.clone()));
        let (consultation, seat) = (consultation.clone(), seat.clone());
        let order = DialOrder { consultation, seat, number: number.clone(), language, ticket, cancelled };
        // A full queue is a telephone that does not work: the ticket goes with the order.
        self.orders.try_send(order).map_err(|_| PhoneCause::NoLine)?;
        Ok(number)
    }

    /// Another attempt of the same call (it was busy): counted like any other, and still one call in the books.
    pub fn call_again(
        &self,
        consultation: &ConsultationRecord,
        seat: &SeatRecord,
        ticket: &CallTicket,
    ) -> Result<Number, PhoneCause> {
        check_wanted(consultation, seat)?;
        let number = self.number_of(Encryption::from_name(&consultation.e2ee), seat)?;
        lock(&self.budget).ask_again(ticket.call, &seat.id, Instant::now(), today()).map_err(cause_of_budget)?;
        Ok(number)
    }

    /// A call came in for this clinic's seat: it takes a line.
    pub fn arrive(&self, clinic: &str) -> Result<CallTicket, PhoneCause> {
        let call = lock(&self.budget).handle_arrival(clinic).map_err(cause_of_budget)?;
        Ok(self.ticket(call, None))
    }

    /// Calls off or hangs up a call that the server makes. False when there is none.
    pub fn hang_up(&self, seat: &str, cause: PhoneCause) -> bool {
        // Full: it is being called off already.
        self.calls.get(seat).map(|running| running.control.try_send(cause)).is_some()
    }

    /// The same for every seat of a consultation.
    pub(super) fn hang_up_all(&self, consultation: &str, cause: PhoneCause) {
        for running in self.calls.iter().filter(|running| running.consultation == consultation) {
            running.control.try_send(cause).ok();
        }
    }

    /// Calls off a call that the ladder had made, unless somebody has answered it: whoever did may be on the way in.
    pub(super) fn call_off_own(&self, seat: &str, cause: PhoneCause) {
        let rings = |running: &Running| matches!(running.doing.state, PhoneState::Calling | PhoneState::Ringing);
        if let Some(running) = self.calls.get(seat).filter(|running| running.alone && rings(running)) {
            running.control.try_send(cause).ok();
        }
    }

    /// A call that the server makes does something else now.
    pub(super) fn handle_state(&self, seat: &str, state: PhoneState, cause: Option<PhoneCause>) {
        if let Some(mut running) = self.calls.get_mut(seat) {
            running.doing = Doing::now(state, cause);
        }
    }

    /// What a call that the server makes does: it may run before anybody is in the room.
    pub(super) fn doing(&self, seat: &str) -> Option<Doing> {
        self.calls.get(seat).map(|running| running.doing)
    }

    /// Recognises a caller without remembering the number. Nobody for a withheld one.
    #[must_use]
    pub fn mark(&self, caller: Option<&Pii<Number>>) -> Option<CallerMark> {
        caller.map(|caller| CallerMark(self.marks.hash_one(caller.0.e164())))
    }

    /// Whether a caller shows the number of the seat's file. Nothing when either has none.
    #[must_use]
    pub fn matches_file(&self, caller: Option<CallerMark>, seat: &SeatRecord) -> Option<bool> {
        let number = numbers::read(&seat.phone.as_ref()?.0, self.config().country).ok()?;
        caller.map(|caller| self.mark(Some(&Pii(number))) == Some(caller))
    }

    /// What holds for whoever types PINs on this call.
    #[must_use]
    pub fn pace(&self, caller: Option<CallerMark>, trunk: &str) -> Pace {
        lock(&self.throttle).pace(caller, trunk, &self.config().pin, Instant::now())
    }

    /// A PIN was guessed, and wrong.
    pub fn handle_wrong_pin(&self, caller: Option<CallerMark>, trunk: &str) {
        let alarm = lock(&self.throttle).handle_wrong(caller, trunk, &self.config().pin, Instant::now());
        if let Some(GuessingAlarm { trunk }) = alarm {
            tracing::warn!(trunk, "many wrong PINs within a minute: answers on this trunk are slower now");
        }
    }

    /// What calls have used today, for metrics.
    #[must_use]
    pub fn usage(&self) -> Usage {
        lock(&self.budget).usage(Instant::now(), today())
    }

    /// What calls have used, and which marks of their minutes clinics have passed.
    pub(super) fn poll_news(&self) -> Vec<News> {
        let (mut budget, now, today) = (lock(&self.budget), Instant::now(), today());
        std::iter::from_fn(|| budget.poll_news(now, today)).collect()
    }

    /// What an earlier process told of a clinic's day (days since 1970): a call's seconds, or a mark. Other days are over.
    pub(super) fn handle_earlier(&self, clinic: &str, seconds: u64, told: Percent, day: i64) {
        if day == today() {
            lock(&self.budget).handle_earlier(clinic, seconds, told, day);
        }
    }

    /// A test call's place in the books.
    pub(super) fn book_test(&self, asked: Asked<'_>) -> Result<CallTicket, BudgetRefusal> {
        let call = lock(&self.budget).ask(asked, Instant::now(), today())?;
        Ok(self.ticket(call, None))
    }

    fn ticket(&self, call: CallId, seat: Option<String>) -> CallTicket {
        CallTicket { budget: Arc::clone(&self.budget), calls: Arc::clone(&self.calls), call, seat }
    }
}

/// Whether anybody can still want a call for this seat.
///
/// # Errors
/// Its consultation is over, or it was put out of it.
pub fn check_wanted(consultation: &ConsultationRecord, seat: &SeatRecord) -> Result<(), PhoneCause> {
    let open = consultation.ended_at.is_none() && seat.admission.is_open();
    if open { Ok(()) } else { Err(PhoneCause::Over) }
}

fn asked<'a>(consultation: &'a ConsultationRecord, seat: &'a SeatRecord, by: &'a str) -> Asked<'a> {
    Asked { clinic: &consultation.clinic, consultation: &consultation.id, seat: &seat.id, by }
}

fn allowance(config: &TelephoneConfig) -> Allowance {
    let count = |legs: usize| u32::try_from(legs).unwrap_or(u32::MAX);
    Allowance {
        enabled: config.dialout.enabled,
        attempts: config.dialout.attempts,
        window: config.dialout.window,
        at_once: config.dialout.concurrent_per_user,
        legs_per_clinic: count(config.max_legs_per_clinic),
        legs: count(config.max_legs),
        daily_minutes: config.dialout.daily_minutes,
    }
}

/// The word for pages.
#[must_use]
pub fn cause_of_number(refusal: NumberRefusal) -> PhoneCause {
    match refusal {
        NumberRefusal::Unreadable => PhoneCause::NumberUnreadable,
        NumberRefusal::Emergency => PhoneCause::NumberEmergency,
        NumberRefusal::Short => PhoneCause::NumberShort,
        NumberRefusal::Premium => PhoneCause::NumberPremium,
        NumberRefusal::NotAllowed => PhoneCause::NumberNotAllowed,
    }
}

fn cause_of_budget(refusal: BudgetRefusal) -> PhoneCause {
    match refusal {
        BudgetRefusal::SwitchedOff => PhoneCause::SwitchedOff,
        BudgetRefusal::TooOften => PhoneCause::TooOften,
        BudgetRefusal::TooManyAtOnce => PhoneCause::TooManyAtOnce,
        BudgetRefusal::LinesBusy => PhoneCause::LinesBusy,
        BudgetRefusal::MinutesUsed => PhoneCause::MinutesUsed,
    }
}

/// Days since 1970 (UTC).
pub(super) fn today() -> i64 {
    day_of(clock::unix_now())
}

/// The day of a moment in Unix seconds.
pub(super) fn day_of(unix: i64) -> i64 {
    unix.div_euclid(DAY)
}

/// Plain values: a panic elsewhere leaves them usable.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds.
pub(super) const DAY: i64 = 86_400;
/// Calls that nobody has begun to make yet. The telephone takes them at once; more than this is one that hangs.
const ORDERS_MAX: usize = 64;
/// A call is called off once; a second wish says nothing new.
const CANCELS_MAX: usize = 1;
