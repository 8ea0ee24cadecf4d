//! The clinics' API under `/v1`, and the exchange of a link for a session: one file for each thing it speaks of.
//!
//! Here is what their handlers share. Bodies are typed and bounded; a field nobody knows is refused, so that a spelling mistake is
//! not silently ignored.

pub mod consultations;
pub mod join;
pub mod queues;
pub mod seats;
pub mod telephone;

use axum::extract::{FromRequest, OptionalFromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use crate::control::clinics::{ClinicId, Scope};

use super::AppState;
use super::problem::Problem;

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

/// For bodies that may be left out: whatever type an empty one says it is.
impl<T: DeserializeOwned> OptionalFromRequest<AppState> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Option<Self>, Problem> {
        let (parts, body) = request.into_parts();
        let whole = Request::from_parts(parts.clone(), body);
        let bytes = axum::body::Bytes::from_request(whole, state).await.map_err(too_large)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let request = Request::from_parts(parts, axum::body::Body::from(bytes));
        <Self as FromRequest<AppState>>::from_request(request, state).await.map(Some)
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
