//! `POST /whip` (RFC 9725) and `POST /whep`: SDP over HTTP for devices and other people's players.
//!
//! The bearer is the seat's link token and is not consumed. Each resource is one leg; unknown resources and those of
//! other seats look the same.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::control::endpoint::{EndpointError, EndpointKind};
use crate::control::join::JoinError;

use super::AppState;
use super::api::{bearer, too_large};
use super::problem::{Problem, ProblemDocument};

type Body = Result<Bytes, BytesRejection>;

/// Publishes by WHIP.
#[utoipa::path(post, path = "/whip", request_body(content = String, content_type = "application/sdp"),
    responses((status = 201, body = String, content_type = "application/sdp"), (status = "default", body = ProblemDocument)))]
pub async fn publish(State(state): State<AppState>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    open(&state, EndpointKind::Publish, &headers, body).await
}

/// Plays by WHEP.
#[utoipa::path(post, path = "/whep", request_body(content = String, content_type = "application/sdp"),
    responses((status = 201, body = String, content_type = "application/sdp"), (status = "default", body = ProblemDocument)))]
pub async fn play(State(state): State<AppState>, headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    open(&state, EndpointKind::Play, &headers, body).await
}

/// What an endpoint takes.
pub async fn options() -> Response {
    let headers = [
        (header::ALLOW, "OPTIONS, POST"),
        (header::ACCEPT, SDP),
        (header::HeaderName::from_static("accept-post"), SDP),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// What a resource takes.
pub async fn resource_options() -> Response {
    let headers =
        [(header::ALLOW, "OPTIONS, PATCH, DELETE"), (header::HeaderName::from_static("accept-patch"), FRAGMENT)];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Trickled candidates, or an ICE restart.
#[utoipa::path(patch, path = "/whip/{resource}", request_body(content = String, content_type = "application/trickle-ice-sdpfrag"),
    responses((status = 204), (status = 200, body = String), (status = "default", body = ProblemDocument)))]
pub async fn patch(
    State(state): State<AppState>,
    Path(resource): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let token = bearer(&headers).ok_or(EndpointError::Join(JoinError::Token))?;
    let fragment = text(&headers, FRAGMENT, body)?;
    let if_match = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
    match state.consultations.patch_endpoint(token, &resource, if_match, &fragment).await? {
        None => Ok(StatusCode::NO_CONTENT.into_response()),
        Some(answer) => {
            let headers = [(header::CONTENT_TYPE, FRAGMENT.to_owned()), (header::ETAG, quoted(&answer.etag))];
            Ok((StatusCode::OK, headers, answer.sdp).into_response())
        }
    }
}

/// Ends the leg.
#[utoipa::path(delete, path = "/whip/{resource}", responses((status = 200), (status = "default", body = ProblemDocument)))]
pub async fn delete(
    State(state): State<AppState>,
    Path(resource): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let token = bearer(&headers).ok_or(EndpointError::Join(JoinError::Token))?;
    state.consultations.close_endpoint(token, &resource).await?;
    Ok(StatusCode::OK)
}

async fn open(state: &AppState, kind: EndpointKind, headers: &HeaderMap, body: Body) -> Result<Response, Problem> {
    let token = bearer(headers).ok_or(EndpointError::Join(JoinError::Token))?;
    let sdp = text(headers, SDP, body)?;
    let answer = state.consultations.open_endpoint(token, kind, &sdp).await?;
    let path = match kind {
        EndpointKind::Publish => "whip",
        EndpointKind::Play => "whep",
    };
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, format!("/{path}/{}", answer.resource)),
        (header::ETAG, quoted(&answer.etag)),
        (header::HeaderName::from_static("accept-patch"), FRAGMENT.to_owned()),
    ];
    Ok((StatusCode::CREATED, headers, answer.sdp).into_response())
}

fn text(headers: &HeaderMap, kind: &'static str, body: Body) -> Result<String, Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !given.split(';').next().is_some_and(|given| given.trim().eq_ignore_ascii_case(kind)) {
        let title = "The body is of another media type";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", title)
            .detail(format!("expected {kind}")));
    }
    let bytes = body.map_err(too_large)?;
    String::from_utf8(bytes.into()).map_err(|_| Problem::bad_request("the body is not UTF-8"))
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
