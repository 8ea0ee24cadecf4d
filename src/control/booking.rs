//! What clinics do by their API key: book a consultation, invite seats, read its state, revoke links, end it.
//!
//! Works on the store; whatever is live is told through the room. Every call names the clinic, and another
//! clinic's consultation looks exactly like one that does not exist.

use colloque_signaling::message::{Language, Presence, Role};
use colloque_signaling::token::Purpose;

use crate::acts::{self, Act};
use crate::pii::Pii;
use crate::store::{Admission, Change, Committed, ConsultationRecord, LiveChange, SeatRecord, StoreError, Transaction};

use super::facts::{Actor, Fact};
use super::outbox::NotifyBy;
use super::tokens::Subject;
use super::{Consultations, clock, policy, random};

pub use super::clinics::ClinicId;
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
    /// For invitations.
    pub email: Option<Pii<String>>,
    /// Skips the waiting room.
    pub admitted: bool,
    /// Ways by which the invitation is sent to its person.
    pub notify: Vec<NotifyBy>,
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
}

/// State of a consultation.
#[derive(Clone, Debug)]
pub struct ConsultationState {
    /// As booked.
    pub consultation: ConsultationRecord,
    /// Its seats with where they are now.
    pub seats: Vec<(SeatRecord, Presence)>,
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
    /// No such consultation or seat for this clinic.
    #[error("no such consultation or seat")]
    NotFound,
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
        if new.seats.is_empty() || new.seats.len() > SEATS_MAX {
            return Err(BookingError::Invalid("a consultation needs 1 to 50 seats"));
        }
        new.seats.iter().try_for_each(check_seat)?;
        let ahead_max = i64::from(self.settings.signing_key_days) * 86_400 - LINK_SECONDS;
        if new.starts_at.is_some_and(|at| at > clock::unix_now() + ahead_max) {
            return Err(BookingError::Invalid("starts_at is further ahead than a link can live (signing_key_days)"));
        }
        let act = self.settings.acts.by_name(&new.act).ok_or(BookingError::Act)?;
        check_roles(act, new.seats.iter().map(|seat| seat.role))?;
        let now = clock::unix_now();
        let consultation = ConsultationRecord {
            id: random::text::<16>(),
            clinic: clinic.0.clone(),
            act: act.name.clone(),
            language: language_name(new.language).to_owned(),
            priority: new.emergency.then(|| "emergency".to_owned()),
            starts_at: new.starts_at,
            created_at: now,
            ended_at: None,
            gates: None,
            patient: None,
            postal_prefix: None,
            queue: None,
            login: false,
            locked: false,
        };
        let notify: Vec<Vec<NotifyBy>> = new.seats.iter().map(|seat| seat.notify.clone()).collect();
        let seats: Vec<SeatRecord> =
            new.seats.into_iter().map(|seat| seat_record(&consultation.id, act, seat)).collect();
        let mut messages = Vec::new();
        for (seat, channels) in seats.iter().zip(&notify) {
            messages.extend(self.outbox.invitations(&consultation, seat, channels)?);
        }
        let invitations = seats.iter().map(|seat| self.invitation(&consultation, seat)).collect();
        let id = consultation.id.clone();
        let tell = |seat: Option<&str>, fact: &Fact| self.journal.entry(Some(&clinic.0), Some(&id), seat, fact);
        let mut entries = vec![tell(None, &Fact::ConsultationCreated { act: consultation.act.clone() })];
        entries.extend(seats.iter().map(|seat| tell(Some(&seat.id), &invited(seat))));
        let booked = Change::CreateConsultation(Box::new(consultation), seats);
        let changes = [booked].into_iter().chain(messages).collect();
        self.journal.commit(Transaction { changes, entries }).await?;
        self.outbox.wake();
        Ok((id, invitations))
    }

    /// Invites one more seat, also in mid-call.
    pub async fn invite(&self, clinic: &ClinicId, id: &str, new: NewSeat) -> Result<Invitation, BookingError> {
        check_seat(&new)?;
        let (consultation, seats) = self.own(clinic, id).await?;
        if consultation.ended_at.is_some() {
            return Err(BookingError::Over);
        }
        // Whoever was removed has left their seat to another.
        let seated = || seats.iter().filter(|seat| seat.admission.is_open());
        if seated().count() >= SEATS_MAX {
            return Err(BookingError::Invalid("a consultation has at most 50 seats"));
        }
        let act = self.settings.acts.of_stored(&consultation.act);
        let seated = seated().filter_map(|seat| acts::role_from_name(&seat.role));
        check_roles(act, seated.filter(|&role| role == new.role).chain([new.role]))?;
        let (new_role, notify) = (new.role, new.notify.clone());
        let seat = seat_record(id, act, new);
        let messages = self.outbox.invitations(&consultation, &seat, &notify)?;
        let invitation = self.invitation(&consultation, &seat);
        let change = Change::AddSeat {
            seat: Box::new(seat.clone()),
            of_role_max: u32::try_from(act.rule(new_role).seats).unwrap_or(u32::MAX),
            seats_max: SEATS_MAX as u32,
        };
        let entries = vec![self.journal.entry(Some(&clinic.0), Some(id), Some(&seat.id), &invited(&seat))];
        let changes = [change].into_iter().chain(messages).collect();
        if self.journal.commit(Transaction { changes, entries }).await? == Committed::NotApplicable {
            // Ended, or filled by somebody else meanwhile.
            return Err(BookingError::Over);
        }
        self.outbox.wake();
        if let Some(room) = self.live_room(id) {
            room.lock().add_seat(&seat, &room.act, &self.numbers);
        }
        Ok(invitation)
    }

    /// State with seats and presence.
    pub async fn state(&self, clinic: &ClinicId, id: &str) -> Result<ConsultationState, BookingError> {
        let (consultation, seats) = self.own(clinic, id).await?;
        let room = self.live_room(id);
        let state = room.as_ref().map(|room| room.lock());
        let presence = |seat: &SeatRecord| {
            state.as_ref().and_then(|state| state.seat(&seat.id)).map_or(Presence::Absent, |live| live.presence())
        };
        let seats = seats.into_iter().map(|seat| (presence(&seat), seat)).map(|(p, seat)| (seat, p)).collect();
        Ok(ConsultationState { consultation, seats })
    }

    /// Ends a consultation for everyone.
    pub async fn end_by_clinic(&self, clinic: &ClinicId, id: &str) -> Result<(), BookingError> {
        self.own(clinic, id).await?;
        Ok(self.end(&clinic.0, id, Actor::Clinic).await?)
    }

    /// Admits a waiting seat; nothing happens when it is admitted already.
    pub async fn admit_by_clinic(&self, clinic: &ClinicId, id: &str, seat: &str) -> Result<(), BookingError> {
        self.own_seat(clinic, id, seat).await?;
        Ok(self.admit(&clinic.0, id, seat, Actor::Clinic).await?)
    }

    /// Removes a seat, or refuses it while it waits: its links stop working.
    pub async fn remove_by_clinic(&self, clinic: &ClinicId, id: &str, seat: &str) -> Result<(), BookingError> {
        self.own_seat(clinic, id, seat).await?;
        Ok(self.remove(&clinic.0, id, seat, Actor::Clinic).await?)
    }

    /// Makes every link, session and ticket given out for this seat worthless, puts out whoever sits there, and gives a new link.
    /// Whoever comes by it has to be admitted again, unless the seat never waits.
    pub async fn revoke(&self, clinic: &ClinicId, id: &str, seat: &str) -> Result<Invitation, BookingError> {
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

    async fn own_seat(
        &self,
        clinic: &ClinicId,
        id: &str,
        seat: &str,
    ) -> Result<(ConsultationRecord, SeatRecord), BookingError> {
        let (consultation, seats) = self.own(clinic, id).await?;
        let seat = seats.into_iter().find(|record| record.id == seat).ok_or(BookingError::NotFound)?;
        if consultation.ended_at.is_some() { Err(BookingError::Over) } else { Ok((consultation, seat)) }
    }

    pub(super) fn invitation(&self, consultation: &ConsultationRecord, seat: &SeatRecord) -> Invitation {
        let from = consultation.starts_at.unwrap_or(0).max(clock::unix_now());
        let subject = Subject { consultation: &consultation.id, seat: &seat.id, epoch: seat.token_epoch };
        let token = self.tokens.sign(Purpose::Link, subject, 0, from + LINK_SECONDS);
        Invitation {
            seat: seat.id.clone(),
            // The role was written by this version or an older one, whose names all stay valid.
            role: acts::role_from_name(&seat.role).unwrap_or(Role::Guest),
            link: Pii(format!("{}/join#{token}", self.settings.base_url)),
            token: Pii(token),
            pin: seat.pin.clone(),
        }
    }
}

fn invited(seat: &SeatRecord) -> Fact {
    Fact::SeatInvited { role: acts::role_from_name(&seat.role).unwrap_or(Role::Guest), by: Actor::Clinic }
}

fn seat_record(consultation: &str, act: &Act, new: NewSeat) -> SeatRecord {
    SeatRecord {
        id: random::text::<12>(),
        consultation: consultation.to_owned(),
        role: acts::role_name(new.role).to_owned(),
        display_name: new.display_name,
        phone: new.phone,
        email: new.email,
        card: None,
        pin: Pii(random::digits(PIN_DIGITS)),
        admission: policy::first_admission(act.rule(new.role), new.admitted),
        vouched: new.admitted,
        token_epoch: 0,
        device: None,
        other_device: false,
        gates: Vec::new(),
        login: None,
    }
}

/// Whether these seats fit the act.
fn check_roles(act: &Act, roles: impl Iterator<Item = Role>) -> Result<(), BookingError> {
    match act.overfull(roles) {
        None => Ok(()),
        Some(role) if act.rule(role).seats == 0 => {
            Err(BookingError::Invalid("the act has no seat for one of the roles"))
        }
        Some(_) => Err(BookingError::Invalid("the act has fewer seats for one of the roles")),
    }
}

fn check_seat(seat: &NewSeat) -> Result<(), BookingError> {
    let fits = |text: &Option<Pii<String>>, len_max: usize| {
        text.as_ref().is_none_or(|text| text.0.len() <= len_max && !text.0.chars().any(char::is_control))
    };
    if !fits(&seat.display_name, NAME_LEN_MAX) {
        Err(BookingError::Invalid("display_name has at most 200 bytes and no control characters"))
    } else if !fits(&seat.phone, PHONE_LEN_MAX) {
        Err(BookingError::Invalid("phone has at most 40 characters"))
    } else if !fits(&seat.email, EMAIL_LEN_MAX) {
        Err(BookingError::Invalid("email has at most 254 characters"))
    } else {
        Ok(())
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

/// Long enough for every real name; the roster repeats it to every seat.
const NAME_LEN_MAX: usize = 200;
/// An international number with spaces, or a SIP address.
const PHONE_LEN_MAX: usize = 40;
/// RFC 5321 section 4.5.3.1.3.
const EMAIL_LEN_MAX: usize = 254;
/// With three tries before a lock, a guess succeeds once in 33 million.
const PIN_DIGITS: usize = 8;
/// A link works until a day after the planned begin. Longer leaves more links lying in mailboxes; shorter locks out
/// a consultation that runs late.
const LINK_SECONDS: i64 = 24 * 3_600;
