//! The exchange of a link for a session: the one request of the API that needs no key, but a token.
//!
//! Not here: the session itself, which lives on the WebSocket.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use colloque_signaling::message::{Language, Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::web::AppState;
use crate::web::problem::{Problem, ProblemDocument};

use super::JsonBody;

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
