//! The clinics' API under `/v1`, and the exchange of a link for a session.
//!
//! Bodies are typed and bounded; a field nobody knows is refused, so that a spelling mistake is not silently ignored.

use axum::Json;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use colloque_signaling::message::{Card, Gate, HandOverReason, Language, Presence, Role};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::acts::GatesDefinition;
use crate::control::booking::{self, BookingError, ConsultationState, Invitation, NewConsultation, NewSeat, SeatState};
use crate::control::clinics::{ClinicId, Scope};
use crate::control::clock;
use crate::control::outbox::NotifyBy;
use crate::control::waiting_line::Queued;
use crate::control::yearly::ActsOfYear;
use crate::pii::Pii;
use crate::store::{Admission, PassedGate};

use super::AppState;
use super::problem::{Problem, ProblemDocument};

/// A JSON body that is refused by a problem document.
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<AppState> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        if !kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body must be application/json",
            ));
        }
        let bytes = axum::body::Bytes::from_request(request, state).await.map_err(too_large)?;
        serde_json::from_slice(&bytes).map(JsonBody).map_err(|error| {
            // serde's message may quote a value; its position and class do not.
            let class = match error.classify() {
                serde_json::error::Category::Data => "a field is missing, unknown or of the wrong type",
                _ => "not valid JSON",
            };
            Problem::bad_request(format!("line {} column {}: {class}", error.line(), error.column()))
        })
    }
}

/// A body that could not be taken: too large, or cut off.
pub(super) fn too_large(rejection: axum::extract::rejection::BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large")
    } else {
        Problem::bad_request("the body ended early")
    }
}

/// The credential of `Authorization: Bearer …`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, credential) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(credential.trim())
}

/// Whose API key the request carries, when it has this scope.
pub(super) async fn clinic(state: &AppState, headers: &HeaderMap, scope: Scope) -> Result<ClinicId, Problem> {
    Ok(state.consultations.authorize(bearer(headers).unwrap_or_default(), scope).await?)
}

/// `POST /v1/consultations`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsultationRequest {
    /// One of the acts of `GET /capabilities`.
    #[schema(example = "teleconsultation")]
    act: String,
    #[serde(default)]
    #[schema(value_type = String, example = "fr")]
    language: Language,
    /// RFC 3339.
    #[serde(default)]
    starts_at: Option<String>,
    seats: Vec<SeatRequest>,
    /// Gates before media where they differ from the act's.
    #[serde(default)]
    gates: Option<GatesDefinition>,
    #[serde(default)]
    priority: Option<Priority>,
    /// The clinic's pseudonym for the patient, for counting acts and for erasure. Never a national number.
    #[serde(default)]
    patient: Option<String>,
    /// First characters of the patient's postal code, for usage figures.
    #[serde(default)]
    postal_prefix: Option<String>,
    /// Consultations of the same queue are seen one after another: `[a-zA-Z0-9_-]{1,64}`.
    #[serde(default)]
    queue: Option<String>,
    /// Professionals log in before they get media.
    #[serde(default)]
    login: bool,
}

/// Whether a consultation goes before others.
#[derive(Deserialize, Clone, Copy, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Taken also by a full server.
    Emergency,
}

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
            email: seat.email.map(Pii),
            admitted: seat.admitted,
            card: seat.card.map(|card| Pii(card.into())),
            notify: seat.notify,
        }
    }
}

/// Answer to a booking.
#[derive(Serialize, ToSchema)]
pub struct ConsultationCreated {
    id: String,
    seats: Vec<SeatInvitation>,
    /// The patient's acts of the calendar year, when the clinic has a limit and gave a pseudonym.
    #[serde(skip_serializing_if = "Option::is_none")]
    acts: Option<ActsOfYear>,
}

/// What to send to the person of a seat.
#[derive(Serialize, ToSchema)]
pub struct SeatInvitation {
    id: String,
    #[schema(value_type = String)]
    role: Role,
    link: String,
    token: String,
    pin: String,
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
            expires_at: clock::format_rfc3339(invitation.expires_at),
        }
    }
}

/// State of a consultation.
#[derive(Serialize, ToSchema)]
pub struct ConsultationView {
    id: String,
    act: String,
    language: String,
    created_at: String,
    starts_at: Option<String>,
    ended_at: Option<String>,
    queue: Option<String>,
    /// Whoever is not in the room stays outside.
    locked: bool,
    /// Professionals log in before they get media.
    login: bool,
    seats: Vec<SeatView>,
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
    #[schema(value_type = String)]
    presence: Presence,
    /// What it still has to pass before media: `login`, `card`, `consent`, `third_person`, `preference`.
    gates_pending: Vec<&'static str>,
    /// What it has passed, with the answer where there is one to give.
    gates_passed: Vec<PassedView>,
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
        let SeatState { record, presence, gates_pending } = state;
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
            id: record.id,
            role: record.role,
            display_name: record.display_name.map(|name| name.0),
            admitted: record.admission.is_admitted() && !record.other_device,
            removed: record.admission == Admission::Refused,
            declined: record.admission == Admission::Declined,
            vouched: record.vouched,
            other_device: record.other_device,
            presence,
            gates_pending: gates_pending.iter().map(pending).collect(),
            gates_passed: record.gates.into_iter().filter(booking::is_answer).map(passed).collect(),
        }
    }
}

impl From<ConsultationState> for ConsultationView {
    fn from(state: ConsultationState) -> Self {
        let ConsultationState { consultation, seats } = state;
        Self {
            id: consultation.id,
            act: consultation.act,
            language: consultation.language,
            created_at: clock::format_rfc3339(consultation.created_at),
            starts_at: consultation.starts_at.map(clock::format_rfc3339),
            ended_at: consultation.ended_at.map(clock::format_rfc3339),
            queue: consultation.queue,
            locked: consultation.locked,
            login: consultation.login,
            seats: seats.into_iter().map(SeatView::from).collect(),
        }
    }
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

/// A queue: its consultations that are not over, in the order in which they are seen.
#[derive(Serialize, ToSchema)]
pub struct QueueView {
    queue: String,
    consultations: Vec<QueuedView>,
}

/// A consultation of a queue.
#[derive(Serialize, ToSchema)]
pub struct QueuedView {
    id: String,
    starts_at: Option<String>,
    /// Seats that wait to be let in.
    waiting: usize,
    /// Seats in the call.
    present: usize,
    /// Consultations with somebody waiting that are seen before.
    ahead: u32,
    /// Expected begin, where the plan says it.
    expected_at: Option<String>,
}

impl QueueView {
    fn new(queue: String, consultations: Vec<Queued>) -> Self {
        let view = |queued: Queued| QueuedView {
            id: queued.consultation,
            starts_at: queued.starts_at.map(clock::format_rfc3339),
            waiting: queued.waiting,
            present: queued.present,
            ahead: queued.ahead,
            expected_at: queued.expected_at.map(clock::format_rfc3339),
        };
        Self { queue, consultations: consultations.into_iter().map(view).collect() }
    }
}

/// `POST /v1/join`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The part of the link after `#`.
    token: String,
    /// A random identifier that the browser keeps; another one later takes the seat back to the waiting room.
    #[serde(default)]
    device: String,
}

/// A session for the WebSocket.
#[derive(Serialize, ToSchema)]
pub struct JoinResponse {
    session: String,
    ws_url: String,
    seat: String,
    #[schema(value_type = String)]
    role: Role,
    consultation: String,
    act: String,
    #[schema(value_type = String)]
    language: Language,
    admitted: bool,
}

/// Books a consultation.
#[utoipa::path(post, path = "/v1/consultations", request_body = ConsultationRequest,
    responses((status = 201, body = ConsultationCreated), (status = "default", body = ProblemDocument)))]
pub async fn create(
    State(state): State<AppState>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<ConsultationRequest>,
) -> Result<Response, Problem> {
    let clinic = clinic(&state, &headers, Scope::ConsultationsWrite).await?;
    let starts_at = match body.starts_at.as_deref() {
        None => None,
        Some(text) => Some(clock::parse_rfc3339(text).ok_or(BookingError::Invalid("starts_at is not RFC 3339"))?),
    };
    let new = NewConsultation {
        act: body.act,
        language: body.language,
        starts_at,
        emergency: matches!(body.priority, Some(Priority::Emergency)),
        seats: body.seats.into_iter().map(NewSeat::from).collect(),
        gates: body.gates,
        patient: body.patient.map(Pii),
        postal_prefix: body.postal_prefix,
        queue: body.queue,
        login: body.login,
    };
    let counts = new.patient.is_some();
    let (id, invitations) = state.consultations.create(&clinic, new).await?;
    let acts = if counts { state.consultations.count_booking(&id).await } else { None };
    let location = format!("/v1/consultations/{id}");
    let body = ConsultationCreated { id, seats: invitations.into_iter().map(SeatInvitation::from).collect(), acts };
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(body)).into_response())
}

/// State with seats and presence.
#[utoipa::path(get, path = "/v1/consultations/{id}",
    responses((status = 200, body = ConsultationView), (status = "default", body = ProblemDocument)))]
pub async fn state(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<ConsultationView>, Problem> {
    let clinic = clinic(&state, &headers, Scope::ConsultationsRead).await?;
    Ok(Json(state.consultations.state(&clinic, &id).await?.into()))
}

/// Ends a consultation for everyone.
#[utoipa::path(delete, path = "/v1/consultations/{id}",
    responses((status = 204), (status = "default", body = ProblemDocument)))]
pub async fn end(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let clinic = clinic(&state, &headers, Scope::ConsultationsWrite).await?;
    state.consultations.end_by_clinic(&clinic, &id).await?;
    Ok(StatusCode::NO_CONTENT)
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
#[utoipa::path(post, path = "/v1/consultations/{id}/seats/{seat}/admit",
    responses((status = 204), (status = "default", body = ProblemDocument)))]
pub async fn admit(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path((id, seat)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let clinic = clinic(&state, &headers, Scope::ConsultationsWrite).await?;
    state.consultations.admit_by_clinic(&clinic, &id, &seat).await?;
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

/// Locks the consultation: whoever is not in it stays outside.
#[utoipa::path(post, path = "/v1/consultations/{id}/lock",
    responses((status = 204), (status = "default", body = ProblemDocument)))]
pub async fn lock(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let clinic = clinic(&state, &headers, Scope::ConsultationsWrite).await?;
    state.consultations.lock_by_clinic(&clinic, &id, true).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unlocks the consultation.
#[utoipa::path(post, path = "/v1/consultations/{id}/unlock",
    responses((status = 204), (status = "default", body = ProblemDocument)))]
pub async fn unlock(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let clinic = clinic(&state, &headers, Scope::ConsultationsWrite).await?;
    state.consultations.lock_by_clinic(&clinic, &id, false).await?;
    Ok(StatusCode::NO_CONTENT)
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

/// The consultations of a queue, with who waits where. An unknown queue is an empty one.
#[utoipa::path(get, path = "/v1/queues/{queue}",
    responses((status = 200, body = QueueView), (status = "default", body = ProblemDocument)))]
pub async fn queue(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(queue): Path<String>,
) -> Result<Json<QueueView>, Problem> {
    let clinic = clinic(&state, &headers, Scope::ConsultationsRead).await?;
    let consultations = state.consultations.queue(&clinic, &queue).await?;
    Ok(Json(QueueView::new(queue, consultations)))
}

/// Exchanges a link's token for a session.
#[utoipa::path(post, path = "/v1/join", request_body = JoinRequest,
    responses((status = 200, body = JoinResponse), (status = "default", body = ProblemDocument)))]
pub async fn join(
    State(state): State<AppState>,
    uri: Uri,
    headers: HeaderMap,
    JsonBody(body): JsonBody<JoinRequest>,
) -> Result<Response, Problem> {
    let joined = state.consultations.join(&body.token, &body.device).await?;
    let response = JoinResponse {
        session: joined.session,
        ws_url: state.socket_url(&uri, &headers),
        seat: joined.seat,
        role: joined.role,
        consultation: joined.consultation,
        act: joined.act,
        language: joined.language,
        admitted: joined.admitted,
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(response)).into_response())
}
