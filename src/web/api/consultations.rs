//! Consultations in the clinics' API: booking, state, lock, end.
//!
//! Not here: what a seat of them may be asked or told (`seats`).

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use colloque_signaling::message::Language;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::acts::GatesDefinition;
use crate::control::booking::{BookingError, ConsultationState, NewConsultation, NewSeat};
use crate::control::clinics::Scope;
use crate::control::clock;
use crate::control::phone::encryption::Encryption;
use crate::control::yearly::ActsOfYear;
use crate::pii::Pii;
use crate::web::AppState;
use crate::web::problem::{Problem, ProblemDocument};

use super::seats::{SeatInvitation, SeatRequest, SeatView};
use super::{JsonBody, clinic};

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
    /// What is wanted of end-to-end encryption: `required` lets no telephone in, `preferred` asks the practitioner first.
    #[serde(default)]
    e2ee: Encryption,
}

/// Whether a consultation goes before others.
#[derive(Deserialize, Clone, Copy, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Taken also by a full server.
    Emergency,
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
    e2ee: Encryption,
    seats: Vec<SeatView>,
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
            e2ee: Encryption::from_name(&consultation.e2ee),
            seats: seats.into_iter().map(SeatView::from).collect(),
        }
    }
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
        e2ee: body.e2ee,
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
