//! What clinics do by their API key: book a consultation, invite seats, read its state, revoke links, end it.
//!
//! Works on the store; whatever is live is told through the room. Every call names the clinic, and another
//! clinic's consultation looks exactly like one that does not exist.

use std::slice;

use colloque_signaling::message::{Card, Gate, HandOverReason, Language, PhoneCause, Presence, Role};
use colloque_signaling::token::Purpose;

use crate::acts::{self, Act, Gates, GatesDefinition};
use crate::pii::Pii;
use crate::store::{
    Admission, Change, ClinicDemands, Committed, ConsultationRecord, Entry, LiveChange, PassedGate, SeatRecord,
    StoreError, Transaction,
};

use super::facts::{Actor, Fact};
use super::gates::{self, Asked};
use super::outbox::NotifyBy;
use super::phone::encryption::Encryption;
use super::phone::{Telephone, TelephoneState};
use super::tokens::Subject;
use super::{Consultations, clock, opening, policy, random};
use super::{form, hand_over};

pub use super::clinics::ClinicId;
pub use super::hand_over::HandOverRefusal;
pub use super::opening::arrival;
pub use crate::acts::SEATS_MAX;

/// A new consultation, as asked for.
#[derive(Clone, Debug)]
pub struct NewConsultation {
    /// Which act, by name: a built-in one or a variant of the configuration.
    pub act: String,
    /// Of the pages.
    pub language: Language,
    /// Planned begin, Unix seconds.
    pub starts_at: Option<i64>,
    /// Emergency calls go first.
    pub emergency: bool,
    /// Who is invited.
    pub seats: Vec<NewSeat>,
    /// Gates before media where they differ from the act's.
    pub gates: Option<GatesDefinition>,
    /// The clinic's pseudonym for the patient.
    pub patient: Option<Pii<String>>,
    /// First characters of the patient's postal code.
    pub postal_prefix: Option<String>,
    /// The clinic's name for a row of consultations that are seen one after another.
    pub queue: Option<String>,
    /// Professionals log in before they get media.
    pub login: bool,
    /// What is wanted of end-to-end encryption.
    pub e2ee: Encryption,
}

/// A new seat, as asked for.
#[derive(Clone, Debug)]
pub struct NewSeat {
    /// Function.
    pub role: Role,
    /// Name to show.
    pub display_name: Option<Pii<String>>,
    /// For invitations and the telephone.
    pub phone: Option<Pii<String>>,
    /// Its person agreed to be called on `phone` when the connection fails.
    pub phone_consent: bool,
    /// For invitations.
    pub email: Option<Pii<String>>,
    /// The clinic vouches for it: it skips waiting room, gates and login.
    pub admitted: bool,
    /// What is shown of a professional before media.
    pub card: Option<Pii<Card>>,
    /// Ways by which the invitation is sent to its person.
    pub notify: Vec<NotifyBy>,
}

impl NewSeat {
    /// A seat of which nothing is known but its role.
    #[must_use]
    pub fn of(role: Role) -> Self {
        Self {
            role,
            display_name: None,
            phone: None,
            phone_consent: false,
            email: None,
            admitted: false,
            card: None,
            notify: Vec::new(),
        }
    }
}

impl NewConsultation {
    /// One of which nothing is asked but its act and its seats.
    #[must_use]
    pub fn of(act: &str, language: Language, seats: Vec<NewSeat>) -> Self {
        Self {
            act: act.to_owned(),
            language,
            starts_at: None,
            emergency: false,
            seats,
            gates: None,
            patient: None,
            postal_prefix: None,
            queue: None,
            login: false,
            e2ee: Encryption::Off,
        }
    }
}

/// What a clinic gets for each seat.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// Public identifier.
    pub seat: String,
    /// Function.
    pub role: Role,
    /// URL to open, token in the fragment.
    pub link: Pii<String>,
    /// The token alone, for WHIP and WHEP.
    pub token: Pii<String>,
    /// For telephone dial-in.
    pub pin: Pii<String>,
    /// What to dial, on a server that has a telephone and for a consultation that lets one in.
    pub dial_in: Option<String>,
    /// When the link stops working, Unix seconds.
    pub expires_at: i64,
}

/// State of a consultation.
#[derive(Clone, Debug)]
pub struct ConsultationState {
    /// As booked.
    pub consultation: ConsultationRecord,
    /// Its seats with where they are now.
    pub seats: Vec<SeatState>,
}

/// State of a seat.
#[derive(Clone, Debug)]
pub struct SeatState {
    /// As booked, and what happened to it since.
    pub record: SeatRecord,
    /// Where it is.
    pub presence: Presence,
    /// What it still has to pass before media.
    pub gates_pending: Vec<Gate>,
    /// Its telephone, on a server that has one.
    pub telephone: Option<TelephoneState>,
}

/// Why a clinic's call was refused.
#[derive(Debug, thiserror::Error)]
pub enum BookingError {
    /// The act is none of this server's.
    #[error("this server has no such act: GET /capabilities lists them")]
    Act,
    /// Something asked for cannot be; the text says what, without repeating personal data.
    #[error("{0}")]
    Invalid(&'static str),
    /// As `Invalid`, for what is found out one by one.
    #[error("{0}")]
    Impossible(String),
    /// The consultation cannot be handed over like this.
    #[error(transparent)]
    HandOver(#[from] HandOverRefusal),
    /// No such consultation or seat for this clinic.
    #[error("no such consultation or seat")]
    NotFound,
    /// The seat that was to be admitted is another device's by now.
    #[error("the seat's link was opened on another device meanwhile")]
    OpenedElsewhere,
    /// The consultation is over.
    #[error("the consultation is over")]
    Over,
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Consultations {
    /// Books a consultation.
    pub async fn create(
        &self,
        clinic: &ClinicId,
        new: NewConsultation,
    ) -> Result<(String, Vec<Invitation>), BookingError> {
        form::check_consultation(&new)?;
        let act = self.settings.acts.by_name(&new.act).ok_or(BookingError::Act)?;
        form::check_roles(act, new.seats.iter().map(|seat| seat.role))?;
        let own_gates = new.gates.as_ref().map(|gates| act.gates_with(gates)).transpose().map_err(impossible)?;
        let gates = own_gates.as_ref().unwrap_or(&act.gates);
        let demands = self.demands(&clinic.0).await?;
        for seat in &new.seats {
            form::check_demands(demands, !gates.card.is_empty(), seat)?;
        }
        form::check_login(self.logins.is_some(), new.login, demands.login, &new.seats)?;
        let consultation = ConsultationRecord {
            id: random::text::<16>(),
            clinic: clinic.0.clone(),
            act: act.name.clone(),
            language: language_name(new.language).to_owned(),
            priority: new.emergency.then(|| "emergency".to_owned()),
            starts_at: new.starts_at,
            created_at: clock::unix_now(),
            booking: 0,
            ended_at: None,
            gates: own_gates.as_ref().map(|gates| serde_json::to_string(gates).expect("gates are plain data")),
            patient: new.patient,
            postal_prefix: new.postal_prefix,
            queue: new.queue,
            login: new.login || demands.login,
            locked: false,
            e2ee: new.e2ee.name().to_owned(),
        };
        let notify: Vec<Vec<NotifyBy>> = new.seats.iter().map(|seat| seat.notify.clone()).collect();
        let pin_digits = self.pin_digits();
        let seats: Vec<SeatRecord> =
            new.seats.into_iter().map(|seat| seat_record(&consultation.id, act, seat, pin_digits)).collect();
        let mut messages = Vec::new();
        for (seat, channels) in seats.iter().zip(&notify) {
            messages.extend(self.outbox.invitations(&consultation, seat, channels)?);
        }
        let invitations = seats.iter().map(|seat| self.invitation(&consultation, seat)).collect();
        let id = consultation.id.clone();
        let created = Fact::ConsultationCreated { act: consultation.act.clone() };
        let mut entries = vec![self.told(&consultation, None, &created)];
        for seat in &seats {
            entries.extend(self.invited(&consultation, gates, seat, Actor::Clinic));
        }
        let booked = Change::CreateConsultation(Box::new(consultation), seats);
        let changes = [booked].into_iter().chain(messages).collect();
        self.journal.commit(Transaction { changes, entries }).await?;
        self.outbox.wake();
        Ok((id, invitations))
    }

    /// Invites one more seat, also in mid-call.
    pub async fn invite(&self, clinic: &ClinicId, id: &str, new: NewSeat) -> Result<Invitation, BookingError> {
        self.add_seat(clinic, id, new, Actor::Clinic).await
    }

    /// Adds a seat, unless the act or the consultation is full: the store counts, so that two at once cannot be too many.
    pub(super) async fn add_seat(
        &self,
        clinic: &ClinicId,
        id: &str,
        new: NewSeat,
        by: Actor,
    ) -> Result<Invitation, BookingError> {
        form::check_seat(&new)?;
        let (consultation, seats) = self.own(clinic, id).await?;
        if consultation.ended_at.is_some() {
            return Err(BookingError::Over);
        }
        if seats.len() >= SEATS_EVER_MAX {
            return Err(BookingError::Invalid(
                "a consultation has at most 200 seats, those that were removed included",
            ));
        }
        let act = self.settings.acts.of_stored(&consultation.act);
        form::check_roles(act, [new.role].into_iter())?;
        let gates = gates::of_consultation(&consultation, act);
        form::check_demands(self.demands(&clinic.0).await?, !gates.card.is_empty(), &new)?;
        form::check_login(self.logins.is_some(), false, consultation.login, slice::from_ref(&new))?;
        let of_role_max = u32::try_from(act.rule(new.role).seats).unwrap_or(u32::MAX);
        let notify = new.notify.clone();
        let seat = seat_record(id, act, new, self.pin_digits());
        let messages = self.outbox.invitations(&consultation, &seat, &notify)?;
        let invitation = self.invitation(&consultation, &seat);
        let change = Change::AddSeat { seat: Box::new(seat.clone()), of_role_max, seats_max: SEATS_MAX as u32 };
        let entries = self.invited(&consultation, &gates, &seat, by);
        let changes = [change].into_iter().chain(messages).collect();
        if self.journal.commit(Transaction { changes, entries }).await? == Committed::NotApplicable {
            let over = self.journal.consultation(id).await?.is_none_or(|(now, _)| now.ended_at.is_some());
            let full =
                BookingError::Invalid("the act has fewer seats for one of the roles, or the consultation is full");
            return Err(if over { BookingError::Over } else { full });
        }
        self.outbox.wake();
        if let Some(room) = self.live_room(id) {
            room.lock().add_seat(&seat, &self.numbers);
        }
        Ok(invitation)
    }

    /// What is told of a new seat.
    fn invited(&self, consultation: &ConsultationRecord, gates: &Gates, seat: &SeatRecord, by: Actor) -> Vec<Entry> {
        let role = acts::role_from_name(&seat.role).unwrap_or(Role::Guest);
        let mut entries = vec![self.told(consultation, Some(&seat.id), &Fact::SeatInvited { role, by })];
        let asked = Asked::of(gates, role, false) != Asked::default();
        if seat.vouched && (asked || (consultation.login && acts::is_professional(role))) {
            entries.push(self.told(consultation, Some(&seat.id), &Fact::GatesWaived {}));
        }
        entries
    }

    async fn demands(&self, clinic: &str) -> Result<ClinicDemands, StoreError> {
        Ok(self.store.clinic(clinic).await?.map_or_else(ClinicDemands::default, |clinic| clinic.demands))
    }

    /// State with seats and presence.
    pub async fn state(&self, clinic: &ClinicId, id: &str) -> Result<ConsultationState, BookingError> {
        let (consultation, seats) = self.own(clinic, id).await?;
        let room = self.live_room(id);
        let state = room.as_ref().map(|room| room.lock());
        let encryption = Encryption::from_name(&consultation.e2ee);
        let now = |seat: &SeatRecord| match state.as_ref().and_then(|state| state.seat(&seat.id)) {
            Some(live) => (live.presence(), live.telephone.state()),
            None => (Presence::Absent, Telephone::of(self.settings.phones.as_deref(), encryption, seat).state()),
        };
        let gates = gates::of_consultation(&consultation, self.settings.acts.of_stored(&consultation.act));
        let pending = gates::pending_of_records(&gates, consultation.login, &seats);
        let seats = seats.into_iter().zip(pending);
        let seats = seats
            .map(|(record, gates_pending)| {
                let (presence, telephone) = now(&record);
                SeatState { record, presence, gates_pending, telephone }
            })
            .collect();
        Ok(ConsultationState { consultation, seats })
    }

    /// Ends a consultation for everyone.
    pub async fn end_by_clinic(&self, clinic: &ClinicId, id: &str) -> Result<(), BookingError> {
        let (consultation, _) = self.own(clinic, id).await?;
        Ok(self.end(&consultation).await?)
    }

    /// Admits a waiting seat; nothing happens when it is admitted already.
    /// `arrival`: as it was seen; refused when the link was opened on another device since.
    pub async fn admit_by_clinic(
        &self,
        clinic: &ClinicId,
        id: &str,
        seat: &str,
        arrival: Option<u32>,
    ) -> Result<(), BookingError> {
        let (consultation, seat) = self.own_seat(clinic, id, seat).await?;
        if arrival.is_some() && arrival != opening::arrival(&seat) {
            return Err(BookingError::OpenedElsewhere);
        }
        Ok(self.admit(&consultation, &seat).await?)
    }

    /// Removes a seat, or refuses it while it waits: its links stop working.
    pub async fn remove_by_clinic(&self, clinic: &ClinicId, id: &str, seat: &str) -> Result<(), BookingError> {
        let (consultation, seat) = self.own_seat(clinic, id, seat).await?;
        Ok(self.remove(&consultation, &seat).await?)
    }

    /// Locks a consultation, so that whoever is not in it stays outside; or unlocks it.
    pub async fn lock_by_clinic(&self, clinic: &ClinicId, id: &str, locked: bool) -> Result<(), BookingError> {
        let (consultation, _) = self.own(clinic, id).await?;
        if consultation.ended_at.is_some() {
            return Err(BookingError::Over);
        }
        Ok(self.set_locked(&consultation, locked).await?)
    }

    /// Hands a live consultation from one of its seats to a colleague's.
    pub async fn hand_over_by_clinic(
        &self,
        clinic: &ClinicId,
        id: &str,
        from: &str,
        to: &str,
        reason: HandOverReason,
    ) -> Result<(), BookingError> {
        let (consultation, from) = self.own_seat(clinic, id, from).await?;
        self.hand_over(&consultation, &from.id, to, reason).await
    }

    /// Makes every link, session and ticket given out for this seat worthless, puts out whoever sits there, and gives a new link.
    /// Whoever comes by it has to be admitted again, unless the seat never waits.
    pub async fn revoke(&self, clinic: &ClinicId, id: &str, seat: &str) -> Result<Invitation, BookingError> {
        // One after the other: two that read the same epoch would raise it to the same, and both their links would work.
        let _turn = self.revoking.lock().await;
        let (consultation, mut record) = self.own_seat(clinic, id, seat).await?;
        record.token_epoch += 1;
        let mut changes = vec![Change::Live(LiveChange::SetEpoch { seat: seat.to_owned(), epoch: record.token_epoch })];
        if record.admission == Admission::Admitted {
            record.admission = Admission::Waiting;
            let change = LiveChange::SetAdmission { seat: seat.to_owned(), admission: record.admission };
            changes.push(Change::Live(change));
        }
        let told = Fact::SeatRevoked { by: Actor::Clinic };
        let entries = vec![self.journal.entry(Some(&clinic.0), Some(id), Some(seat), &told)];
        self.journal.commit(Transaction { changes, entries }).await?;
        if let Some(room) = self.live_room(id) {
            let mut state = room.lock();
            state.revoke(seat, record.admission);
            self.close_if_empty(&room, state);
        } else {
            self.hang_up(seat, PhoneCause::Removed);
        }
        Ok(self.invitation(&consultation, &record))
    }

    pub(super) async fn own(
        &self,
        clinic: &ClinicId,
        id: &str,
    ) -> Result<(ConsultationRecord, Vec<SeatRecord>), BookingError> {
        let found = self.journal.consultation(id).await?;
        found.filter(|(consultation, _)| consultation.clinic == clinic.0).ok_or(BookingError::NotFound)
    }

    pub(super) async fn own_seat(
        &self,
        clinic: &ClinicId,
        id: &str,
        seat: &str,
    ) -> Result<(ConsultationRecord, SeatRecord), BookingError> {
        let (consultation, seats) = self.own(clinic, id).await?;
        let seat = seats.into_iter().find(|record| record.id == seat).ok_or(BookingError::NotFound)?;
        if consultation.ended_at.is_some() { Err(BookingError::Over) } else { Ok((consultation, seat)) }
    }

    fn pin_digits(&self) -> usize {
        self.phones().map_or(PIN_DIGITS, |board| board.config().pin.digits)
    }

    /// What whoever has a seat of this consultation dials.
    fn dial_in(&self, consultation: &ConsultationRecord) -> Option<String> {
        let board = self.phones()?;
        board.dial_in.clone().filter(|_| Encryption::from_name(&consultation.e2ee) != Encryption::Required)
    }

    pub(super) fn invitation(&self, consultation: &ConsultationRecord, seat: &SeatRecord) -> Invitation {
        let now = clock::unix_now();
        // No longer than the key that signs it is sure to be known.
        let ahead_max = i64::from(self.settings.signing_key_days) * 86_400;
        let expires_at = consultation.starts_at.unwrap_or(0).clamp(now, now + ahead_max - LINK_SECONDS) + LINK_SECONDS;
        let subject = Subject { consultation: &consultation.id, seat: &seat.id, epoch: seat.token_epoch };
        let token = self.tokens.sign(Purpose::Link, subject, 0, expires_at);
        Invitation {
            seat: seat.id.clone(),
            // The role was written by this version or an older one, whose names all stay valid.
            role: acts::role_from_name(&seat.role).unwrap_or(Role::Guest),
            link: Pii(format!("{}/join#{token}", self.settings.base_url)),
            token: Pii(token),
            pin: seat.pin.clone(),
            dial_in: self.dial_in(consultation),
            expires_at,
        }
    }
}

/// Whether this is a person's answer: a seat's gates also hold what else is to be remembered of it.
#[must_use]
pub fn is_answer(gate: &PassedGate) -> bool {
    gate.gate != hand_over::GIVEN_AWAY
}

/// A booking's gates that cannot be played, each by its key.
fn impossible(faults: Vec<String>) -> BookingError {
    BookingError::Impossible(faults.join("; "))
}

fn seat_record(consultation: &str, act: &Act, new: NewSeat, pin_digits: usize) -> SeatRecord {
    SeatRecord {
        id: random::text::<12>(),
        consultation: consultation.to_owned(),
        role: acts::role_name(new.role).to_owned(),
        display_name: new.display_name,
        phone: new.phone,
        email: new.email,
        card: new.card.map(|card| Pii(serde_json::to_string(&card.0).expect("a card is plain data"))),
        pin: Pii(random::digits(pin_digits)),
        phone_consent: new.phone_consent,
        admission: policy::first_admission(act.rule(new.role), new.admitted),
        vouched: new.admitted,
        token_epoch: 0,
        device: None,
        other_device: false,
        gates: Vec::new(),
        login: None,
    }
}

fn language_name(language: Language) -> &'static str {
    match language {
        Language::Fr => "fr",
        Language::En => "en",
    }
}

pub(super) fn language_from_name(name: &str) -> Language {
    if name == "en" { Language::En } else { Language::Fr }
}

/// Seats that were removed count: whoever may invite and remove could else fill the store.
const SEATS_EVER_MAX: usize = 200;
/// With 200 live PINs and 30 wrong ones a minute, one is guessed in 0.04 % of hours; with 8 digits in 0.36 %, with 6 in 36 %.
const PIN_DIGITS: usize = 9;
/// A link works until a day after the planned begin. Longer leaves more links lying in mailboxes; shorter locks out
/// a consultation that runs late.
const LINK_SECONDS: i64 = 24 * 3_600;
