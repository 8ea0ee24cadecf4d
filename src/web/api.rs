//! The clinics' API under `/v1`, and the exchange of a link for a session.
//!
//! Bodies are typed and bounded; a field nobody knows is refused, so that a spelling mistake is not silently ignored.

use axum::Json;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use colloque_signaling::message::{Language, Presence, Role};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::booking::{BookingError, ConsultationState, Invitation, NewConsultation, NewSeat};
use crate::control::clinics::{ClinicId, Scope};
use crate::control::clock;
use crate::control::outbox::NotifyBy;
use crate::pii::Pii;
use crate::store::Admission;

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
    /// Gates before media. This version enforces none, so it takes none.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    gates: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default)]
    priority: Option<Priority>,
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
    /// Skips the waiting room.
    #[serde(default)]
    admitted: bool,
    /// Sends the link to the seat's `email` or `phone`, where the operator has configured that.
    #[serde(default)]
    notify: Vec<NotifyBy>,
}

impl From<SeatRequest> for NewSeat {
    fn from(seat: SeatRequest) -> Self {
        NewSeat {
            role: seat.role,
            display_name: seat.display_name.map(Pii),
            phone: seat.phone.map(Pii),
            email: seat.email.map(Pii),
            admitted: seat.admitted,
            notify: seat.notify,
        }
    }
}

/// Answer to a booking.
#[derive(Serialize, ToSchema)]
pub struct ConsultationCreated {
    id: String,
    seats: Vec<SeatInvitation>,
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
}

impl From<Invitation> for SeatInvitation {
    fn from(invitation: Invitation) -> Self {
        Self {
            id: invitation.seat,
            role: invitation.role,
            link: invitation.link.0,
            token: invitation.token.0,
            pin: invitation.pin.0,
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
    #[schema(value_type = String)]
    presence: Presence,
}

impl From<ConsultationState> for ConsultationView {
    fn from(state: ConsultationState) -> Self {
        let ConsultationState { consultation, seats } = state;
        let seat = |(seat, presence): (crate::store::SeatRecord, Presence)| SeatView {
            id: seat.id,
            role: seat.role,
            display_name: seat.display_name.map(|name| name.0),
            admitted: seat.admission.is_admitted(),
            removed: seat.admission == Admission::Refused,
            presence,
        };
        Self {
            id: consultation.id,
            act: consultation.act,
            language: consultation.language,
            created_at: clock::format_rfc3339(consultation.created_at),
            starts_at: consultation.starts_at.map(clock::format_rfc3339),
            ended_at: consultation.ended_at.map(clock::format_rfc3339),
            seats: seats.into_iter().map(seat).collect(),
        }
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
    if body.gates.is_some_and(|gates| !gates.is_empty()) {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "gates-unsupported",
            "This version enforces no gates before media",
        ));
    }
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
    };
    let (id, invitations) = state.consultations.create(&clinic, new).await?;
    let location = format!("/v1/consultations/{id}");
    let body = ConsultationCreated { id, seats: invitations.into_iter().map(SeatInvitation::from).collect() };
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
