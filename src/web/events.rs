//! Events out: the feed and the webhooks of a clinic, under `/v1/events` and `/v1/webhooks`.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::control::booking::BookingError;
use crate::control::clinics::Scope;
use crate::control::clock;
use crate::control::feed::{EVENTS_MAX, EventPage, EventQuery, FeedError, WAIT_MAX, format_cursor, parse_cursor};
use crate::control::webhooks::{Outcome, WebhookError};
use crate::pii::Pii;
use crate::store::Webhook;

use super::AppState;
use super::api::{JsonBody, clinic};
use super::problem::{Problem, ProblemDocument};

/// Query of `GET /v1/events`.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FeedQuery {
    /// Cursor of the last event that is known; from the first that is kept when absent.
    #[param(example = "0000000000000042")]
    after: Option<String>,
    /// Events at most, 100 when absent.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Seconds to wait for an event when there is none; at once when absent.
    #[param(maximum = 25)]
    wait: Option<u32>,
}

/// `POST /v1/webhooks`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookRequest {
    /// Where events are posted to; host and port must be in the operator's list.
    #[schema(example = "https://dossier.example.org/colloque")]
    url: String,
}

/// `POST /v1/webhooks/{id}/replay`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// Go on after this cursor; where it stopped when absent.
    #[serde(default)]
    after: Option<String>,
}

/// State of a webhook.
#[derive(Serialize, ToSchema)]
pub struct WebhookView {
    id: String,
    url: String,
    created_at: String,
    /// Everything up to here was delivered or passed over.
    cursor: String,
    /// Failures in a row.
    failures: u32,
    /// Not tried again before, after a failure.
    retry_at: Option<String>,
    /// Given up: nothing is sent until it is replayed.
    disabled: bool,
}

/// A webhook with its secret, which is shown only here.
#[derive(Serialize, ToSchema)]
pub struct WebhookSecret {
    #[serde(flatten)]
    webhook: WebhookView,
    /// Key of the signatures, as libraries for Standard Webhooks take it.
    #[schema(example = "whsec_…")]
    secret: String,
}

/// A clinic's webhooks.
#[derive(Serialize, ToSchema)]
pub struct WebhookList {
    webhooks: Vec<WebhookView>,
}

/// What became of a test.
#[derive(Serialize, ToSchema)]
pub struct WebhookTest {
    /// Acknowledged by 2xx.
    delivered: bool,
    /// `delivered`, `gone`, `refused`, `timeout`, `unreachable`, `broken` or `forbidden`.
    outcome: String,
    /// HTTP status of the receiver's answer.
    status: Option<u16>,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        Self {
            id: webhook.id,
            url: webhook.url.0,
            created_at: clock::format_rfc3339(webhook.created_at),
            cursor: format_cursor(webhook.cursor),
            failures: webhook.failures,
            retry_at: (webhook.failures > 0).then(|| clock::format_rfc3339(webhook.retry_at)),
            disabled: webhook.disabled,
        }
    }
}

impl From<Outcome> for WebhookTest {
    fn from(outcome: Outcome) -> Self {
        let delivered = matches!(outcome, Outcome::Delivered(_));
        Self { delivered, outcome: outcome.label().to_owned(), status: outcome.status() }
    }
}

impl From<FeedError> for Problem {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Gone { first } => cursor_gone(&first),
            FeedError::Store(error) => BookingError::Store(error).into(),
        }
    }
}

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Self {
        let detail = error.to_string();
        match error {
            WebhookError::Target(_) => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "webhook-target", "Webhooks cannot be sent there")
                    .detail(detail)
            }
            WebhookError::TooMany => {
                Problem::new(StatusCode::CONFLICT, "too-many-webhooks", "The clinic has too many webhooks")
                    .detail(detail)
            }
            WebhookError::NotFound => Problem::not_found(),
            WebhookError::Gone { first } => cursor_gone(&first),
            WebhookError::Store(error) => BookingError::Store(error).into(),
        }
    }
}

fn cursor_gone(first: &str) -> Problem {
    Problem::new(StatusCode::GONE, "cursor-gone", "Events after this cursor are no longer kept")
        .detail(format!("go on with after={first}"))
}

fn cursor(text: Option<&str>) -> Result<Option<i64>, Problem> {
    let read = |text| parse_cursor(text).ok_or_else(|| Problem::bad_request("the cursor is none that was given out"));
    text.map(read).transpose()
}

/// A clinic's events, in order.
#[utoipa::path(get, path = "/v1/events", params(FeedQuery),
    responses((status = 200, body = EventPage), (status = 410, description = "Events after the cursor are no longer kept", body = ProblemDocument,
            content_type = "application/problem+json"),
        (status = "default", body = ProblemDocument)))]
pub async fn events(
    State(state): State<AppState>,
    headers: HeaderMap,
    query: Result<Query<FeedQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let clinic = clinic(&state, &headers, Scope::EventsRead).await?;
    let Query(query) = query.map_err(|_| Problem::bad_request("after, limit and wait are all there is to ask"))?;
    let limit = query.limit.unwrap_or(EVENTS_DEFAULT);
    if !(1..=EVENTS_MAX).contains(&limit) {
        return Err(Problem::bad_request("limit must be 1 to 500"));
    }
    let wait = Duration::from_secs(query.wait.unwrap_or(0).into());
    if wait > WAIT_MAX {
        return Err(Problem::bad_request("wait must be 0 to 25"));
    }
    let after = cursor(query.after.as_deref())?;
    let page = state.consultations.events(&clinic, EventQuery { after, limit, wait }).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(page)).into_response())
}

/// Sends the clinic's events to a URL from now on.
#[utoipa::path(post, path = "/v1/webhooks", request_body = WebhookRequest,
    responses((status = 201, body = WebhookSecret), (status = "default", body = ProblemDocument)))]
pub async fn add_webhook(
    State(state): State<AppState>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<WebhookRequest>,
) -> Result<Response, Problem> {
    let clinic = clinic(&state, &headers, Scope::WebhooksWrite).await?;
    let (webhook, secret) = state.consultations.webhooks().add(&clinic, Pii(body.url)).await?;
    let location = format!("/v1/webhooks/{}", webhook.id);
    let body = WebhookSecret { webhook: webhook.into(), secret: secret.0 };
    let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, "no-store".to_owned())];
    Ok((StatusCode::CREATED, headers, Json(body)).into_response())
}

/// The clinic's webhooks.
#[utoipa::path(get, path = "/v1/webhooks",
    responses((status = 200, body = WebhookList), (status = "default", body = ProblemDocument)))]
pub async fn webhooks(State(state): State<AppState>, headers: HeaderMap) -> Result<Json<WebhookList>, Problem> {
    let clinic = clinic(&state, &headers, Scope::WebhooksWrite).await?;
    let webhooks = state.consultations.webhooks().list(&clinic).await?;
    Ok(Json(WebhookList { webhooks: webhooks.into_iter().map(WebhookView::from).collect() }))
}

/// One of the clinic's webhooks.
#[utoipa::path(get, path = "/v1/webhooks/{id}",
    responses((status = 200, body = WebhookView), (status = "default", body = ProblemDocument)))]
pub async fn webhook(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<WebhookView>, Problem> {
    let clinic = clinic(&state, &headers, Scope::WebhooksWrite).await?;
    Ok(Json(state.consultations.webhooks().find(&clinic, &id).await?.into()))
}

/// Sends nothing there any more.
#[utoipa::path(delete, path = "/v1/webhooks/{id}",
    responses((status = 204), (status = "default", body = ProblemDocument)))]
pub async fn remove_webhook(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let clinic = clinic(&state, &headers, Scope::WebhooksWrite).await?;
    state.consultations.webhooks().remove(&clinic, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends one event of the kind `webhook.test`, now and once.
#[utoipa::path(post, path = "/v1/webhooks/{id}/test",
    responses((status = 200, body = WebhookTest), (status = "default", body = ProblemDocument)))]
pub async fn test_webhook(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<WebhookTest>, Problem> {
    let clinic = clinic(&state, &headers, Scope::WebhooksWrite).await?;
    Ok(Json(state.consultations.webhooks().test(&clinic, &id).await?.into()))
}

/// Delivers again from a cursor on, or goes on where it was given up.
#[utoipa::path(post, path = "/v1/webhooks/{id}/replay", request_body = ReplayRequest,
    responses((status = 200, body = WebhookView), (status = "default", body = ProblemDocument)))]
pub async fn replay_webhook(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<ReplayRequest>,
) -> Result<Json<WebhookView>, Problem> {
    let clinic = clinic(&state, &headers, Scope::WebhooksWrite).await?;
    let after = cursor(body.after.as_deref())?;
    Ok(Json(state.consultations.webhooks().replay(&clinic, &id, after).await?.into()))
}

/// Gives the webhook a new secret; the former one signs beside it until the next rotation.
#[utoipa::path(post, path = "/v1/webhooks/{id}/rotate",
    responses((status = 200, body = WebhookSecret), (status = "default", body = ProblemDocument)))]
pub async fn rotate_webhook(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let clinic = clinic(&state, &headers, Scope::WebhooksWrite).await?;
    let (webhook, secret) = state.consultations.webhooks().rotate_secret(&clinic, &id).await?;
    let body = WebhookSecret { webhook: webhook.into(), secret: secret.0 };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// Events in one answer, unless asked for otherwise.
const EVENTS_DEFAULT: u32 = 100;
