//! Seats in the clinics' API: inviting, admitting, removing, new links, handing over, and how a seat stands.
//!
//! Not here: coming in by a link (`join`).

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use colloque_signaling::message::{Card, Gate, HandOverReason, PhoneCause, PhoneState, Presence, Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::booking::{self, Invitation, NewSeat, SeatState};
use crate::control::clinics::Scope;
use crate::control::clock;
use crate::control::outbox::NotifyBy;
use crate::control::phone::TelephoneState;
use crate::pii::Pii;
use crate::store::{Admission, PassedGate};
use crate::web::AppState;
use crate::web::problem::{Problem, ProblemDocument};

use super::{JsonBody, clinic};

/// One invited seat.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SeatRequest {
    #[schema(value_type = String, example = "patient")]
    role: Role,
    #[serde(default)]
    display_name: Option<String>,
    #[serde(default)]
    phone: Option<String>,
    /// Its person agreed to be called on `phone` when the connection fails: the server may then call by itself.
    #[serde(default)]
    phone_consent: bool,
    #[serde(default)]
    email: Option<String>,
    /// The clinic vouches for it: it skips waiting room, gates and login.
    #[serde(default)]
    admitted: bool,
    /// Of a professional: what is shown before media.
    #[serde(default)]
    card: Option<CardRequest>,
    /// Sends the link to the seat's `email` or `phone`, where the operator has configured that.
    #[serde(default)]
    notify: Vec<NotifyBy>,
}

/// Who a professional is, and what the consultation costs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CardRequest {
    #[serde(default)]
    #[schema(example = "Dr")]
    title: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    specialty: Option<String>,
    /// National number of health professionals, 11 digits.
    #[serde(default)]
    #[schema(pattern = "^[0-9]{11}$")]
    rpps: Option<String>,
    /// Of the practice.
    #[serde(default)]
    address: Option<String>,
    /// What the patient will pay, in words, with the currency.
    #[serde(default)]
    fee: Option<String>,
}

impl From<CardRequest> for Card {
    fn from(card: CardRequest) -> Self {
        let CardRequest { title, name, specialty, rpps, address, fee } = card;
        Card { seat: String::new(), title, name, specialty, rpps, address, fee }
    }
}

impl From<SeatRequest> for NewSeat {
    fn from(seat: SeatRequest) -> Self {
        NewSeat {
            role: seat.role,
            display_name: seat.display_name.map(Pii),
            phone: seat.phone.map(Pii),
            phone_consent: seat.phone_consent,
            email: seat.email.map(Pii),
            admitted: seat.admitted,
            card: seat.card.map(|card| Pii(card.into())),
            notify: seat.notify,
        }
    }
}

/// What to send to the person of a seat.
#[derive(Serialize, ToSchema)]
pub struct SeatInvitation {
    id: String,
    #[schema(value_type = String)]
    role: Role,
    link: String,
    token: String,
    /// For the telephone: whoever dials `dial_in` and types it is on this seat.
    pin: String,
    /// A telephone number, or a SIP address; nothing on a server without a telephone and for a consultation that lets none in.
    dial_in: Option<String>,
    /// When the link stops working: a day after the planned begin, or earlier when that is further ahead than a key signs.
    expires_at: String,
}

impl From<Invitation> for SeatInvitation {
    fn from(invitation: Invitation) -> Self {
        Self {
            id: invitation.seat,
            role: invitation.role,
            link: invitation.link.0,
            token: invitation.token.0,
            pin: invitation.pin.0,
            dial_in: invitation.dial_in,
            expires_at: clock::format_rfc3339(invitation.expires_at),
        }
    }
}

/// State of a seat.
#[derive(Serialize, ToSchema)]
pub struct SeatView {
    id: String,
    role: String,
    display_name: Option<String>,
    /// Whether it may pass the waiting room.
    admitted: bool,
    /// Whether a host removed it.
    removed: bool,
    /// Whether its person refused a gate, or chose another way than video.
    declined: bool,
    /// The clinic vouches for it: nothing is asked of it.
    vouched: bool,
    /// Opened on another device than before, and not admitted there since.
    other_device: bool,
    /// Its person agreed to be called when the connection fails.
    phone_consent: bool,
    /// Names the device that opened the link last, another one each time; nothing before the first.
    arrival: Option<u32>,
    #[schema(value_type = String)]
    presence: Presence,
    /// What it still has to pass before media: `login`, `card`, `consent`, `third_person`, `preference`.
    gates_pending: Vec<&'static str>,
    /// What it has passed, with the answer where there is one to give.
    gates_passed: Vec<PassedView>,
    /// Its telephone; nothing on a server without one.
    telephone: Option<TelephoneView>,
}

/// A seat's telephone (docs/telephone.md has every state and cause in words).
#[derive(Serialize, ToSchema)]
pub struct TelephoneView {
    /// `ready` or `unavailable` until somebody calls; `planned` while the server is about to, `idle` when that was called off; then
    /// `calling`, `ringing`, `confirming`, `waiting`, `in`, `silent`, `lost`, `left` or `failed`.
    #[schema(value_type = String, example = "ringing")]
    state: PhoneState,
    /// Why, where there is something to say: `busy`, `no_answer`, `number_missing` and so on.
    #[schema(value_type = Option<String>)]
    cause: Option<PhoneCause>,
    /// Nothing for `ready` and `unavailable`.
    since: Option<String>,
    /// The last digits of the number, where it can be called.
    number_ending: Option<String>,
    /// The telephone has the number of the file, as every one that the server called, or another one; nothing when it was withheld or
    /// there is none in the file. A number can be forged.
    matches_file: Option<bool>,
}

impl From<TelephoneState> for TelephoneView {
    fn from(telephone: TelephoneState) -> Self {
        let TelephoneState { state, cause, since, number_ending, matches_file } = telephone;
        let (since, number_ending) = (since.map(clock::format_rfc3339), number_ending.map(|ending| ending.0));
        Self { state, cause, since, number_ending, matches_file }
    }
}

/// A gate that a seat has passed.
#[derive(Serialize, ToSchema)]
pub struct PassedView {
    /// `card:SEAT` for each card, `consent`, `third_person`, `preference`.
    gate: String,
    /// Version of the consent text, `yes` or `no`, or empty.
    answer: String,
    at: String,
}

impl From<SeatState> for SeatView {
    fn from(state: SeatState) -> Self {
        let SeatState { record, presence, gates_pending, telephone } = state;
        let pending = |gate: &Gate| match gate {
            Gate::Login => "login",
            Gate::Card { .. } => "card",
            Gate::Consent { .. } => "consent",
            Gate::ThirdPerson => "third_person",
            Gate::Preference => "preference",
        };
        let passed =
            |gate: PassedGate| PassedView { gate: gate.gate, answer: gate.answer, at: clock::format_rfc3339(gate.at) };
        SeatView {
            arrival: booking::arrival(&record),
            id: record.id,
            role: record.role,
            display_name: record.display_name.map(|name| name.0),
            admitted: record.admission.is_admitted() && !record.other_device,
            removed: record.admission == Admission::Refused,
            declined: record.admission == Admission::Declined,
            vouched: record.vouched,
            other_device: record.other_device,
            phone_consent: record.phone_consent,
            presence,
            gates_pending: gates_pending.iter().map(pending).collect(),
            gates_passed: record.gates.into_iter().filter(booking::is_answer).map(passed).collect(),
            telephone: telephone.map(TelephoneView::from),
        }
    }
}

/// `POST /v1/consultations/{id}/seats/{seat}/admit`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdmitRequest {
    /// The seat's `arrival` as it was seen; without it, whoever is there is admitted.
    #[serde(default)]
    arrival: Option<u32>,
}

/// `POST /v1/consultations/{id}/seats/{seat}/hand-over`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandOverRequest {
    /// The colleague's seat of the same consultation.
    to: String,
    /// `shift_end`, `specialty`, `emergency`, `technical` or `other`.
    #[schema(value_type = String, example = "shift_end")]
    reason: HandOverReason,
}

/// Invites one more seat, also in mid-call.
#[utoipa::path(post, path = "/v1/consultations/{id}/seats", request_body = SeatRequest,
    responses((status = 201, body = SeatInvitation), (status = "default", body = ProblemDocument)))]
pub async fn invite(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<SeatRequest>,
) -> Result<(StatusCode, Json<SeatInvitation>), Problem> {
    let clinic = clinic(&state, &headers, Scope::ConsultationsWrite).await?;
    let invitation = state.consultations.invite(&clinic, &id, body.into()).await?;
    Ok((StatusCode::CREATED, Json(invitation.into())))
}

/// Admits a waiting seat.
#[utoipa::path(post, path = "/v1/consultations/{id}/seats/{seat}/admit", request_body = Option<AdmitRequest>,
    responses((status = 204), (status = "default", body = ProblemDocument)))]
pub async fn admit(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path((id, seat)): Path<(String, String)>,
    body: Option<JsonBody<AdmitRequest>>,
) -> Result<StatusCode, Problem> {
    let clinic = clinic(&state, &headers, Scope::ConsultationsWrite).await?;
    let arrival = body.and_then(|JsonBody(body)| body.arrival);
    state.consultations.admit_by_clinic(&clinic, &id, &seat, arrival).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a seat, or refuses it while it waits.
#[utoipa::path(post, path = "/v1/consultations/{id}/seats/{seat}/remove",
    responses((status = 204), (status = "default", body = ProblemDocument)))]
pub async fn remove(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path((id, seat)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let clinic = clinic(&state, &headers, Scope::ConsultationsWrite).await?;
    state.consultations.remove_by_clinic(&clinic, &id, &seat).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes the seat's links worthless and gives a new one.
#[utoipa::path(post, path = "/v1/consultations/{id}/seats/{seat}/revoke",
    responses((status = 200, body = SeatInvitation), (status = "default", body = ProblemDocument)))]
pub async fn revoke(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path((id, seat)): Path<(String, String)>,
) -> Result<Json<SeatInvitation>, Problem> {
    let clinic = clinic(&state, &headers, Scope::ConsultationsWrite).await?;
    Ok(Json(state.consultations.revoke(&clinic, &id, &seat).await?.into()))
}

/// Hands a running consultation from this seat to a colleague's: everyone in it is told; done once the colleague is there.
#[utoipa::path(post, path = "/v1/consultations/{id}/seats/{seat}/hand-over", request_body = HandOverRequest,
    responses((status = 204), (status = "default", body = ProblemDocument)))]
pub async fn hand_over(
    State(state): State<AppState>,
    Path((id, seat)): Path<(String, String)>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<HandOverRequest>,
) -> Result<StatusCode, Problem> {
    let clinic = clinic(&state, &headers, Scope::ConsultationsWrite).await?;
    state.consultations.hand_over_by_clinic(&clinic, &id, &seat, &body.to, body.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}
