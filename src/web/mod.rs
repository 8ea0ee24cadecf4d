//! The HTTP front door: clinics' API, pages, WebSocket, WHIP and WHEP, operations. It only translates: every decision
//! is `control`'s. It knows nothing of the telephone.

pub mod api;
pub mod endpoints;
pub mod erasure;
pub mod events;
pub mod listener;
pub mod login;
mod openapi;
pub mod operations;
pub mod pages;
pub mod problem;
pub mod record;
pub mod schemas;
pub mod security;
pub mod socket;
pub mod tls;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, options, patch, post};
use axum::{Json, Router};
use utoipa::OpenApi;

use crate::control::Consultations;
use crate::control::negotiation::OFFER_BYTES_MAX;
use crate::pii::Pii;

use api::{consultations, join, queues, seats, telephone};
use openapi::Completion;
use problem::Problem;
use security::SecurityHeaders;

/// What every handler may use.
#[derive(Clone)]
pub struct AppState {
    /// The use cases.
    pub consultations: Arc<Consultations>,
    /// Lets operations be used on the main address.
    pub operator_token: Option<Pii<Arc<str>>>,
    /// Whether this process speaks HTTPS itself.
    pub tls: bool,
    /// Whether the administrator said under which URL people come.
    pub has_public_url: bool,
}

impl AppState {
    /// Where a page opens its WebSocket: the public URL, else the very host it came to, since its content policy
    /// allows no other.
    fn socket_url(&self, uri: &Uri, headers: &HeaderMap) -> String {
        let base = self.consultations.base_url();
        let host =
            headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(uri.authority().map(|a| a.as_str()));
        match host {
            Some(host) if !self.has_public_url => format!("{}://{host}/ws", if self.tls { "wss" } else { "ws" }),
            _ => format!("{}/ws", base.replacen("http", "ws", 1)),
        }
    }
}

/// The main address.
pub fn router(state: AppState, security: SecurityHeaders) -> Router {
    let operations = operations_router().layer(from_fn_with_state(state.clone(), operations::require_operator));
    Router::new()
        .route("/v1/consultations", post(consultations::create))
        .route("/v1/consultations/{id}", get(consultations::state).delete(consultations::end))
        .route("/v1/consultations/{id}/seats", post(seats::invite))
        .route("/v1/consultations/{id}/seats/{seat}/admit", post(seats::admit))
        .route("/v1/consultations/{id}/seats/{seat}/remove", post(seats::remove))
        .route("/v1/consultations/{id}/seats/{seat}/revoke", post(seats::revoke))
        .route("/v1/consultations/{id}/seats/{seat}/hand-over", post(seats::hand_over))
        .route("/v1/consultations/{id}/seats/{seat}/call", post(telephone::call).delete(telephone::hang_up))
        .route("/v1/consultations/{id}/lock", post(consultations::lock))
        .route("/v1/consultations/{id}/unlock", post(consultations::unlock))
        .route("/v1/queues/{queue}", get(queues::queue))
        .route("/v1/events", get(events::events))
        .route("/v1/webhooks", get(events::webhooks).post(events::add_webhook))
        .route("/v1/webhooks/{id}", get(events::webhook).delete(events::remove_webhook))
        .route("/v1/webhooks/{id}/test", post(events::test_webhook))
        .route("/v1/webhooks/{id}/replay", post(events::replay_webhook))
        .route("/v1/webhooks/{id}/rotate", post(events::rotate_webhook))
        .route("/v1/consultations/{id}/record", get(record::record))
        .route("/v1/keys", get(record::keys))
        .route("/v1/usage", get(record::usage))
        .route("/v1/schemas/{name}", get(schemas::schema))
        .route("/v1/consultations/{id}/data", delete(erasure::consultation))
        .route("/v1/patients/{pseudonym}/data", delete(erasure::patient))
        .route("/v1/join", post(join::join))
        .route("/v1/login", post(login::begin))
        .route("/v1/login/callback", get(login::callback))
        .route("/v1/login/callback.js", get(login::callback_script))
        .route("/v1/login/finish", post(login::finish))
        .route("/ws", get(socket::upgrade))
        .route("/whip", post(endpoints::publish).options(endpoints::options))
        .route("/whep", post(endpoints::play).options(endpoints::options))
        .route("/whip/{resource}", resource())
        .route("/whep/{resource}", resource())
        .merge(probes())
        .merge(operations)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(pages::serve)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(security::limit_time))
        .layer(from_fn_with_state(security, security::add_headers))
        .with_state(state)
}

/// The admin address.
pub fn admin_router(state: AppState, security: SecurityHeaders) -> Router {
    Router::new()
        .route("/", get(operations::index))
        .merge(probes())
        .merge(operations_router().layer(from_fn(operations::refuse_cross_site)))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(async || Problem::not_found())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(security::limit_time))
        .layer(from_fn_with_state(security, security::add_headers))
        .with_state(state)
}

fn resource() -> axum::routing::MethodRouter<AppState> {
    patch(endpoints::patch).delete(endpoints::delete).merge(options(endpoints::resource_options))
}

fn probes() -> Router<AppState> {
    Router::new()
        .route("/live", get(operations::live))
        .route("/ready", get(operations::ready))
        .route("/capabilities", get(operations::capabilities))
        .route("/openapi.json", get(async || Json(ApiDescription::openapi())))
}

fn operations_router() -> Router<AppState> {
    Router::new()
        .route("/metrics", get(operations::metrics))
        .route("/admin/drain", post(operations::drain))
        .route("/admin/undrain", post(operations::undrain))
        .route("/admin/stop-calls", post(operations::stop_calls))
        .route("/admin/allow-calls", post(operations::allow_calls))
        .route(security::TEST_CALL, post(operations::self_test))
        .route("/admin/rotate-keys", post(operations::rotate_keys))
}

async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "This method is not possible here")
}

/// `/openapi.json`
#[derive(OpenApi)]
#[openapi(
    info(title = "Colloque", description = "Self-hosted video teleconsultation"),
    modifiers(&Completion),
    components(schemas(problem::ProblemDocument)),
    paths(
        consultations::create,
        consultations::state,
        consultations::end,
        seats::invite,
        seats::admit,
        seats::remove,
        seats::revoke,
        seats::hand_over,
        telephone::call,
        telephone::hang_up,
        consultations::lock,
        consultations::unlock,
        queues::queue,
        events::events,
        events::webhooks,
        events::add_webhook,
        events::webhook,
        events::remove_webhook,
        events::test_webhook,
        events::replay_webhook,
        events::rotate_webhook,
        record::record,
        record::keys,
        record::usage,
        schemas::schema,
        erasure::consultation,
        erasure::patient,
        join::join,
        login::begin,
        login::callback,
        login::finish,
        socket::upgrade,
        endpoints::publish,
        endpoints::play,
        endpoints::patch,
        endpoints::delete,
        operations::live,
        operations::ready,
        operations::capabilities,
        operations::drain,
        operations::undrain,
        operations::stop_calls,
        operations::allow_calls,
        operations::self_test,
        operations::rotate_keys,
    )
)]
struct ApiDescription;

/// An offer is the largest thing anybody sends.
pub const BODY_BYTES_MAX: usize = OFFER_BYTES_MAX + 16 * 1024;
