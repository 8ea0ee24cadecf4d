//! The login of professionals: where to go, and the way back.
//!
//! The provider's redirect comes to a page that does one thing: it takes the answer out of its address and sends it with the session
//! of this tab (`control::login`), then goes back to the seat. No token is ever in an address here.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::control::login::LoginAnswer;

use super::AppState;
use super::api::JsonBody;
use super::problem::{Problem, ProblemDocument};

/// `POST /v1/login`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// From `POST /v1/join`.
    session: String,
}

/// Where to log in.
#[derive(Serialize, ToSchema)]
pub struct LoginResponse {
    /// At the provider; it sends the browser back to this server.
    url: String,
}

/// `POST /v1/login/finish`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginFinish {
    /// The one that began.
    session: String,
    /// From the provider's redirect.
    code: String,
    /// From the provider's redirect.
    state: String,
    /// From the provider's redirect, when it is there.
    #[serde(default)]
    iss: Option<String>,
}

/// Says where the professional of a session logs in.
#[utoipa::path(post, path = "/v1/login", request_body = LoginRequest,
    responses((status = 200, body = LoginResponse), (status = "default", body = ProblemDocument)))]
pub async fn begin(State(state): State<AppState>, JsonBody(body): JsonBody<LoginRequest>) -> Result<Response, Problem> {
    let url = state.consultations.begin_login(&body.session).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(LoginResponse { url })).into_response())
}

/// Takes the provider's answer from the page that began.
#[utoipa::path(post, path = "/v1/login/finish", request_body = LoginFinish,
    responses((status = 204), (status = "default", body = ProblemDocument)))]
pub async fn finish(
    State(state): State<AppState>,
    JsonBody(body): JsonBody<LoginFinish>,
) -> Result<StatusCode, Problem> {
    let answer = LoginAnswer { code: &body.code, state: &body.state, issuer: body.iss.as_deref() };
    state.consultations.finish_login(&body.session, answer).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Where the provider redirects to. The same bytes for everybody: what the address says is read by the page alone.
#[utoipa::path(get, path = "/v1/login/callback", responses((status = 200, description = "A page that goes back to the call")))]
pub async fn callback() -> impl IntoResponse {
    (NEVER_KEPT, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], include_str!("login/callback.html"))
}

/// The callback page's script.
pub async fn callback_script() -> impl IntoResponse {
    (NEVER_KEPT, [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("login/callback.js"))
}

const NEVER_KEPT: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];
