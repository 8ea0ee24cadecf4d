//! What a clinic keeps of a consultation: the legal record (JSON or FHIR), the key that proves it, usage figures.
//!
//! Only translates: every decision is `control::record`'s and `control::usage`'s.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::control::booking::BookingError;
use crate::control::clinics::Scope;
use crate::control::clock;
use crate::control::record::document::RecordDocument;
use crate::control::record::statement::Jwks;
use crate::control::usage::UsageReport;

use super::AppState;
use super::api::clinic;
use super::problem::{Problem, ProblemDocument};

/// How a record is wanted.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordFormat {
    /// As `/v1/schemas/record.json` describes it.
    Json,
    /// A FHIR R4 `Encounter`.
    Fhir,
}

/// Query of `GET /v1/consultations/{id}/record`.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RecordQuery {
    /// Instead of an `Accept` header.
    #[param(inline)]
    format: Option<RecordFormat>,
}

/// The legal record: who took part, how that was proved, times by mode, incidents, gates; with its signed statement of minutes.
#[utoipa::path(get, path = "/v1/consultations/{id}/record", params(RecordQuery), responses(
    (status = 200, description = "The record; as a FHIR R4 `Encounter` when `Accept` or `format` asks for it", content(
        (RecordDocument = "application/json"),
        (serde_json::Map<String, serde_json::Value> = "application/fhir+json"),
    )),
    (status = "default", body = ProblemDocument)))]
pub async fn record(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(id): Path<String>,
    query: Result<Query<RecordQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let clinic = clinic(&state, &headers, Scope::RecordRead).await?;
    let Query(query) = query.map_err(|_| Problem::bad_request("format is json or fhir"))?;
    let mut response = match query.format.unwrap_or_else(|| accepted(&headers)) {
        RecordFormat::Json => Json(state.consultations.record(&clinic, &id).await?).into_response(),
        RecordFormat::Fhir => {
            let encounter = state.consultations.record_as_fhir(&clinic, &id).await?;
            ([(header::CONTENT_TYPE, FHIR)], encounter.to_string()).into_response()
        }
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// FHIR for whoever asks for nothing else first; everyone else gets JSON.
fn accepted(headers: &HeaderMap) -> RecordFormat {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
    let kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or("").trim());
    let wanted = kinds.filter_map(|kind| match kind.to_ascii_lowercase().as_str() {
        "application/fhir+json" => Some(RecordFormat::Fhir),
        "application/json" | "*/*" | "application/*" => Some(RecordFormat::Json),
        _ => None,
    });
    wanted.take(1).next().unwrap_or(RecordFormat::Json)
}

/// Query of `GET /v1/keys`.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct KeysQuery {
    /// A key set, or the key as openssl reads it.
    #[param(inline)]
    format: Option<KeyFormat>,
}

/// How a key is wanted.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyFormat {
    /// A JSON Web Key Set.
    Jwks,
    /// PEM.
    Pem,
}

/// The public key that verifies statements and the journal's ends.
#[utoipa::path(get, path = "/v1/keys", params(KeysQuery), responses(
    (status = 200, description = "A JSON Web Key Set, or PEM when `format` asks for it", content(
        (Jwks = "application/json"),
        (String = "application/x-pem-file"),
    )),
    (status = "default", body = ProblemDocument)))]
pub async fn keys(
    State(state): State<AppState>,
    query: Result<Query<KeysQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|_| Problem::bad_request("format is jwks or pem"))?;
    Ok(match query.format.unwrap_or(KeyFormat::Jwks) {
        KeyFormat::Jwks => Json(state.consultations.jwks()).into_response(),
        KeyFormat::Pem => ([(header::CONTENT_TYPE, PEM)], state.consultations.public_key().to_pem()).into_response(),
    })
}

/// Query of `GET /v1/usage`.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// RFC 3339; the whole calendar month (UTC) of this instant is told.
    #[param(example = "2026-01-01T00:00:00Z")]
    from: String,
    /// RFC 3339; the month of the last instant before it is told too, once it is over.
    #[param(example = "2026-07-01T00:00:00Z")]
    to: String,
}

/// Consultations held by month, postal prefix and act; no number under ten, and none to be had by subtraction.
#[utoipa::path(get, path = "/v1/usage", params(UsageQuery),
    responses((status = 200, body = UsageReport), (status = "default", body = ProblemDocument)))]
pub async fn usage(
    State(state): State<AppState>,
    headers: HeaderMap,
    query: Result<Query<UsageQuery>, QueryRejection>,
) -> Result<Json<UsageReport>, Problem> {
    let clinic = clinic(&state, &headers, Scope::RecordRead).await?;
    let Query(query) = query.map_err(|_| Problem::bad_request("from and to are needed, and nothing else"))?;
    let instant = |text: &str| clock::parse_rfc3339(text).ok_or(BookingError::Invalid("from and to are RFC 3339"));
    let (from, to) = (instant(&query.from)?, instant(&query.to)?);
    Ok(Json(state.consultations.usage(&clinic, from, to).await?))
}

const FHIR: &str = "application/fhir+json";
const PEM: &str = "application/x-pem-file";
