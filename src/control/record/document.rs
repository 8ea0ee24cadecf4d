//! The legal record of one consultation as clinics get it (CSP R.6316-4): a pure function from its journal and its seats.
//!
//! What the clinic gave (names, cards, its pseudonym for the patient) goes back to it: it is the one who owns it. What the
//! server saw comes from facts alone, so that the record can be told again from the journal. Times are RFC 3339 in UTC,
//! whole seconds, rounded down. docs/record.md explains every field; `GET /v1/schemas/record.json` is its JSON Schema.
//!
//! Not here: counting time (`timeline`), lists of what happened (`events`), signing (`statement`), FHIR (`encounter`).

use colloque_signaling::message::{Card, Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::acts::{Act, Right, role_from_name, role_name};
use crate::control::clock;
use crate::control::facts::Fact;
use crate::store::{ConsultationRecord, JournalEntry, SeatRecord};

use super::events::{self, GateEvent, HandOverEvent, IncidentEvent};
use super::statement::{JournalMark, StatedParticipant, Statement};
use super::timeline::{ModeTimes, Moment, Sitter, Stop, Timeline};

/// Everything a record is made of.
#[derive(Clone, Copy)]
pub struct Origins<'a> {
    /// Which server tells it.
    pub issuer: &'a str,
    /// As booked.
    pub consultation: &'a ConsultationRecord,
    /// Its act.
    pub act: &'a Act,
    /// In order of invitation.
    pub seats: &'a [SeatRecord],
    /// Its journal, in order.
    pub entries: &'a [JournalEntry],
    /// When the server was down, in order.
    pub stops: &'a [Stop],
    /// Unix milliseconds.
    pub now: i64,
}

/// The record with its signed statement of minutes.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct RecordDocument {
    /// What is told.
    #[serde(flatten)]
    pub account: Account,
    /// The statement of minutes in clear.
    pub statement: Statement,
    /// The same, signed: a compact JWS (EdDSA). `GET /v1/keys` has the key.
    pub signed_statement: String,
}

/// What is told of a consultation.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Account {
    /// Version of this form; grows when a field changes its meaning.
    #[schema(minimum = 1, maximum = 1)]
    pub version: u8,
    /// What was booked.
    pub consultation: RecordedConsultation,
    /// Where the consultation is.
    pub status: RecordStatus,
    /// When somebody was in the room first.
    pub started_at: Option<String>,
    /// When the consultation was ended for good.
    pub ended_at: Option<String>,
    /// When somebody was in the room last; everything is counted up to here.
    pub counted_until: Option<String>,
    /// From `started_at` to `counted_until`.
    #[schema(minimum = 0)]
    pub duration_seconds: i64,
    /// Professionals and patient's side in the room together.
    pub with_patient: TimeByMode,
    /// Professionals among themselves: before the patient, after, or in an aside.
    pub between_professionals: TimeByMode,
    /// Who was invited, in that order, and what became of it.
    pub participants: Vec<Participant>,
    /// What stood before media, in order of time.
    pub gates: Vec<GateEvent>,
    /// Every hand-over that was done.
    pub hand_overs: Vec<HandOverEvent>,
    /// Every technical incident in the room, in order of time; each has one cause.
    pub incidents: Vec<IncidentEvent>,
    /// Every attempt to join that failed, in order of time; each has one cause.
    pub failed_joins: Vec<IncidentEvent>,
    /// How media was secured.
    pub security: Security,
    /// Whether the journal still holds every entry of the consultation.
    pub complete: bool,
}

/// What was booked.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct RecordedConsultation {
    /// Random identifier.
    pub id: String,
    /// Act, by name.
    pub act: String,
    /// `fr` or `en`.
    pub language: String,
    /// `emergency` or nothing.
    pub priority: Option<String>,
    /// The clinic's pseudonym for the patient.
    pub patient: Option<String>,
    /// When it was booked.
    pub created_at: String,
    /// Planned begin.
    pub planned_at: Option<String>,
}

/// Where a consultation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordStatus {
    /// Nobody has been in the room yet.
    Planned,
    /// Somebody has been in the room, and it may go on.
    InProgress,
    /// Over, and somebody was in the room.
    Finished,
    /// Over, and nobody ever was in the room.
    Cancelled,
}

/// Time by mode. The four modes do not overlap.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeByMode {
    /// Exact to the second, each rounded down.
    pub seconds: SecondsByMode,
    /// Whole minutes, each rounded down.
    pub minutes: MinutesByMode,
}

/// Seconds by mode.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SecondsByMode {
    /// At least one sees the other.
    #[schema(minimum = 0)]
    pub video: i64,
    /// The part of `video` in which both see each other.
    #[schema(minimum = 0)]
    pub video_both_ways: i64,
    /// Voices over the network, no picture.
    #[schema(minimum = 0)]
    pub audio: i64,
    /// Voices, one of them by telephone, no picture.
    #[schema(minimum = 0)]
    pub telephone: i64,
    /// In the room together, and nothing was sent.
    #[schema(minimum = 0)]
    pub silent: i64,
}

/// Whole minutes by mode.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MinutesByMode {
    /// At least one sees the other.
    #[schema(minimum = 0)]
    pub video: i64,
    /// Voices over the network, no picture.
    #[schema(minimum = 0)]
    pub audio: i64,
    /// Voices, one of them by telephone, no picture.
    #[schema(minimum = 0)]
    pub telephone: i64,
}

/// Who took part, or was to.
#[derive(Clone, PartialEq, Debug, Serialize, ToSchema)]
pub struct Participant {
    /// Random identifier.
    pub seat: String,
    /// Function.
    pub role: String,
    /// As the clinic gave it.
    pub display_name: Option<String>,
    /// The professional's card, as the clinic gave it.
    pub card: Option<RecordedCard>,
    /// How it was proved who sat there.
    pub authentication: AuthenticationRecord,
    /// First time in the room; nothing for who never was.
    pub joined_at: Option<String>,
    /// Last instant in the room so far.
    pub left_at: Option<String>,
    /// Connected in the room.
    #[schema(minimum = 0)]
    pub present_seconds: i64,
    /// Of this: in conversation with the other side, by this seat's own mode.
    pub time: TimeByMode,
}

/// A professional's card.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct RecordedCard {
    /// `Dr`, `Pr` and so on.
    pub title: Option<String>,
    /// Family name and given name.
    pub name: Option<String>,
    /// As the profession's register writes it.
    pub specialty: Option<String>,
    /// National number of health professionals.
    pub rpps: Option<String>,
    /// Of the practice.
    pub address: Option<String>,
    /// What the patient was told to pay.
    pub fee: Option<String>,
}

/// How it was proved who sat there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Authentication {
    /// Whoever held the seat's link, which the clinic gave to the person.
    Link,
    /// The person logged in by the clinic's identity provider.
    Login,
    /// The clinic vouches for the seat: a device, or somebody it identified itself.
    Vouched,
}

/// [`Authentication`] with what a login said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct AuthenticationRecord {
    /// How.
    pub method: Authentication,
    /// Assurance level as the identity provider said it.
    pub level: Option<String>,
    /// National number of health professionals as the identity provider said it.
    pub rpps: Option<String>,
    /// When the person logged in.
    pub at: Option<String>,
}

/// How media was secured.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Security {
    /// Whether every connection's keys came from a key exchange that resists quantum computers; nothing without connections.
    pub post_quantum: Option<bool>,
    /// Every kind of connection that stood.
    pub connections: Vec<SecuredConnection>,
}

/// One kind of media connection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, ToSchema)]
pub struct SecuredConnection {
    /// Whose.
    pub seat: Option<String>,
    /// `DTLSv1.3` or `DTLSv1.2`.
    pub dtls: String,
    /// Key exchange group.
    pub group: String,
    /// SRTP profile.
    pub srtp: String,
    /// Whether the group resists quantum computers.
    pub post_quantum: bool,
}

impl RecordDocument {
    /// Tells it. `sign` gives the compact JWS of the statement.
    #[must_use]
    pub fn tell(origins: Origins<'_>, sign: impl FnOnce(&Statement) -> String) -> RecordDocument {
        let account = Account::tell(origins);
        let statement = account.state(&origins);
        let signed_statement = sign(&statement);
        RecordDocument { account, statement, signed_statement }
    }
}

impl Account {
    fn tell(origins: Origins<'_>) -> Account {
        let moments = moments(origins.entries);
        let seats = sitters(&origins, &moments);
        // An end that the journal does not tell (yet) still bounds what is counted.
        let now =
            origins.consultation.ended_at.map_or(origins.now, |ended| origins.now.min(ended.saturating_mul(1_000)));
        let timeline = Timeline::read(&seats, &moments, origins.stops, now);
        let ended_at = origins.consultation.ended_at.or(timeline.ended_at.map(|millis| millis.div_euclid(1_000)));
        let status = match (timeline.started_at, ended_at) {
            (None, None) => RecordStatus::Planned,
            (Some(_), None) => RecordStatus::InProgress,
            (Some(_), Some(_)) => RecordStatus::Finished,
            (None, Some(_)) => RecordStatus::Cancelled,
        };
        let (incidents, failed_joins) = events::incidents(&moments, &timeline);
        Account {
            version: 1,
            consultation: booked(origins.consultation),
            status,
            started_at: timeline.started_at.map(format_millis),
            ended_at: ended_at.map(clock::format_rfc3339),
            counted_until: timeline.counted_until.map(format_millis),
            duration_seconds: timeline.duration() / 1_000,
            with_patient: timeline.with_patient.into(),
            between_professionals: timeline.between_professionals.into(),
            participants: participants(&origins, &moments, &seats, &timeline),
            gates: events::gates(&moments),
            hand_overs: events::hand_overs(&moments),
            incidents,
            failed_joins,
            security: security(&moments),
            complete: moments.first().is_some_and(|first| matches!(first.fact, Fact::ConsultationCreated { .. })),
        }
    }

    fn state(&self, origins: &Origins<'_>) -> Statement {
        let present = |who: &&Participant| who.joined_at.is_some();
        let stated = |who: &Participant| StatedParticipant {
            seat: who.seat.clone(),
            role: who.role.clone(),
            authentication: who.authentication.method,
            level: who.authentication.level.clone(),
            present_seconds: who.present_seconds,
        };
        let last = origins.entries.last();
        Statement {
            version: 1,
            issuer: origins.issuer.to_owned(),
            clinic: origins.consultation.clinic.clone(),
            consultation: self.consultation.id.clone(),
            act: self.consultation.act.clone(),
            status: self.status,
            started_at: self.started_at.clone(),
            ended_at: self.ended_at.clone(),
            counted_until: self.counted_until.clone(),
            duration_seconds: self.duration_seconds,
            with_patient: self.with_patient,
            between_professionals: self.between_professionals,
            participants: self.participants.iter().filter(present).map(stated).collect(),
            incidents: events::by_cause(&self.incidents),
            failed_joins: events::by_cause(&self.failed_joins),
            complete: self.complete,
            journal: last.map(|last| JournalMark { cursor: last.cursor, hash: hexadecimal(&last.hash) }),
        }
    }
}

impl From<ModeTimes> for TimeByMode {
    fn from(times: ModeTimes) -> Self {
        let seconds = SecondsByMode {
            video: times.video / 1_000,
            video_both_ways: times.video_both_ways / 1_000,
            audio: times.audio / 1_000,
            telephone: times.telephone / 1_000,
            silent: times.silent / 1_000,
        };
        let minutes =
            MinutesByMode { video: seconds.video / 60, audio: seconds.audio / 60, telephone: seconds.telephone / 60 };
        Self { seconds, minutes }
    }
}

/// Unix milliseconds as RFC 3339, whole seconds.
pub(super) fn format_millis(millis: i64) -> String {
    clock::format_rfc3339(millis.div_euclid(1_000))
}

/// Facts that this version knows; those of a newer one say nothing here.
fn moments(entries: &[JournalEntry]) -> Vec<Moment> {
    let moment = |entry: &JournalEntry| {
        let fact = Fact::from_parts(&entry.entry.kind, &entry.entry.data)?;
        Some(Moment { at: entry.entry.at, seat: entry.entry.seat.clone(), fact })
    };
    entries.iter().filter_map(moment).collect()
}

/// The seats that are stored, then those that only facts tell of.
fn sitters(origins: &Origins<'_>, moments: &[Moment]) -> Vec<Sitter> {
    let sitter = |id: &str, role: Role| {
        let may = origins.act.rule(role).may;
        Sitter { id: id.to_owned(), role, sees: may.has(Right::See), hears: may.has(Right::Hear) }
    };
    let role_of = |seat: &SeatRecord| role_from_name(&seat.role).unwrap_or(Role::Guest);
    let mut all: Vec<Sitter> = origins.seats.iter().map(|seat| sitter(&seat.id, role_of(seat))).collect();
    for moment in moments {
        if let (Fact::SeatInvited { role, .. }, Some(seat)) = (&moment.fact, &moment.seat)
            && !all.iter().any(|known| known.id == *seat)
        {
            all.push(sitter(seat, *role));
        }
    }
    all
}

fn booked(consultation: &ConsultationRecord) -> RecordedConsultation {
    RecordedConsultation {
        id: consultation.id.clone(),
        act: consultation.act.clone(),
        language: consultation.language.clone(),
        priority: consultation.priority.clone(),
        patient: consultation.patient.as_ref().map(|patient| patient.0.clone()),
        created_at: clock::format_rfc3339(consultation.created_at),
        planned_at: consultation.starts_at.map(clock::format_rfc3339),
    }
}

fn participants(
    origins: &Origins<'_>,
    moments: &[Moment],
    sitters: &[Sitter],
    timeline: &Timeline,
) -> Vec<Participant> {
    let participant = |(sitter, times): (&Sitter, &super::timeline::SeatTimes)| {
        let record = origins.seats.iter().find(|seat| seat.id == sitter.id);
        Participant {
            seat: sitter.id.clone(),
            role: role_name(sitter.role).to_owned(),
            display_name: record.and_then(|seat| Some(seat.display_name.as_ref()?.0.clone())),
            card: record.and_then(card_of),
            authentication: authentication(&sitter.id, record, moments),
            joined_at: times.joined_at.map(format_millis),
            left_at: times.left_at.map(format_millis),
            present_seconds: times.present / 1_000,
            time: times.modes.into(),
        }
    };
    sitters.iter().zip(&timeline.seats).map(participant).collect()
}

fn card_of(seat: &SeatRecord) -> Option<RecordedCard> {
    let card: Card = serde_json::from_str(&seat.card.as_ref()?.0).ok()?;
    let Card { title, name, specialty, rpps, address, fee, .. } = card;
    Some(RecordedCard { title, name, specialty, rpps, address, fee })
}

/// A login counts before the clinic's word, and the word before the link alone.
fn authentication(id: &str, record: Option<&SeatRecord>, moments: &[Moment]) -> AuthenticationRecord {
    let own = || moments.iter().filter(|moment| moment.seat.as_deref() == Some(id));
    let told = own().rev().find_map(|moment| match &moment.fact {
        Fact::LoggedIn { level } => Some((level.clone(), moment.at)),
        _ => None,
    });
    let login = record.and_then(|seat| seat.login.as_ref());
    if let Some((level, at)) = told.or(login.map(|login| (login.level.clone(), login.at.saturating_mul(1_000)))) {
        let rpps = login.and_then(|login| Some(login.rpps.as_ref()?.0.clone()));
        return AuthenticationRecord {
            method: Authentication::Login,
            level: Some(level),
            rpps,
            at: Some(format_millis(at)),
        };
    }
    let vouched = record.is_some_and(|seat| seat.vouched) || own().any(|moment| moment.fact == Fact::GatesWaived {});
    let method = if vouched { Authentication::Vouched } else { Authentication::Link };
    AuthenticationRecord { method, level: None, rpps: None, at: None }
}

fn security(moments: &[Moment]) -> Security {
    let connection = |moment: &Moment| {
        let Fact::MediaSecured { dtls, group, srtp } = &moment.fact else { return None };
        Some(SecuredConnection {
            seat: moment.seat.clone(),
            dtls: dtls.clone(),
            group: group.clone(),
            srtp: srtp.clone(),
            // X25519MLKEM768 and its kin: a hybrid with ML-KEM (FIPS 203).
            post_quantum: group.to_ascii_uppercase().contains("MLKEM"),
        })
    };
    let mut connections: Vec<SecuredConnection> = moments.iter().filter_map(connection).collect();
    connections.sort();
    connections.dedup();
    let all = connections.iter().all(|connection| connection.post_quantum);
    Security { post_quantum: (!connections.is_empty()).then_some(all), connections }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "document_tests.rs"]
pub(super) mod tests;
