//! `/v1/consultations/{id}/seats/{seat}/call`: the server calls a seat's telephone, or hangs up.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::clinics::Scope;
use crate::web::AppState;
use crate::web::problem::{Problem, ProblemDocument};

use super::{JsonBody, clinic};

/// `POST /v1/consultations/{id}/seats/{seat}/call`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CallRequest {
    /// The practitioner agrees that end-to-end encryption ends with the telephone, in a consultation that prefers it.
    #[serde(default)]
    encryption_ends: bool,
}

/// The telephone is being called.
#[derive(Serialize, ToSchema)]
pub struct CallStarted {
    /// The last digits of the number.
    number_ending: String,
}

/// Calls the telephone of a seat, on the number of its booking. How it goes is told by events (`phone.answered`, `phone.joined`,
/// `phone.failed` and so on). Whoever answers presses a key before anything of the consultation is heard.
#[utoipa::path(post, path = "/v1/consultations/{id}/seats/{seat}/call", request_body = Option<CallRequest>,
    responses((status = 202, body = CallStarted), (status = "default", body = ProblemDocument)))]
pub async fn call(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path((id, seat)): Path<(String, String)>,
    body: Option<JsonBody<CallRequest>>,
) -> Result<(StatusCode, Json<CallStarted>), Problem> {
    let clinic = clinic(&state, &headers, Scope::ConsultationsWrite).await?;
    let agreed = body.is_some_and(|JsonBody(body)| body.encryption_ends);
    let number_ending = state.consultations.call_by_clinic(&clinic, &id, &seat, agreed).await?;
    Ok((StatusCode::ACCEPTED, Json(CallStarted { number_ending })))
}

/// Calls off the call of a seat's telephone, or hangs up. Nothing happens when there is none.
#[utoipa::path(delete, path = "/v1/consultations/{id}/seats/{seat}/call",
    responses((status = 204), (status = "default", body = ProblemDocument)))]
pub async fn hang_up(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path((id, seat)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let clinic = clinic(&state, &headers, Scope::ConsultationsWrite).await?;
    state.consultations.hang_up_by_clinic(&clinic, &id, &seat).await?;
    Ok(StatusCode::NO_CONTENT)
}
