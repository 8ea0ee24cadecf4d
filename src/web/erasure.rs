//! Erasing by API: a consultation's data, a patient's data.
//!
//! Only translates: what is erased, and where, is `control::erasure`'s. Something that is not there, is another clinic's or was
//! erased before gives one and the same answer.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::clinics::Scope;
use crate::pii::Pii;

use super::AppState;
use super::api::clinic;
use super::problem::{Problem, ProblemDocument};

/// What was erased.
#[derive(Serialize, ToSchema)]
pub struct ErasedReport {
    /// Consultations that are gone with their seats.
    consultations: u32,
}

/// Erases a consultation with its seats, after ending it. Its record goes too: fetch it before.
#[utoipa::path(delete, path = "/v1/consultations/{id}/data",
    responses((status = 204), (status = "default", body = ProblemDocument)))]
pub async fn consultation(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let clinic = clinic(&state, &headers, Scope::Erase).await?;
    state.consultations.erase_consultation(&clinic, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Erases every consultation of a patient, by the clinic's pseudonym.
#[utoipa::path(delete, path = "/v1/patients/{pseudonym}/data",
    responses((status = 200, body = ErasedReport), (status = "default", body = ProblemDocument)))]
pub async fn patient(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(pseudonym): Path<String>,
) -> Result<Json<ErasedReport>, Problem> {
    let clinic = clinic(&state, &headers, Scope::Erase).await?;
    let consultations = state.consultations.erase_patient(&clinic, &Pii(pseudonym)).await?;
    Ok(Json(ErasedReport { consultations }))
}
