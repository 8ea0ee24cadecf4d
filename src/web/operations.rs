//! For operators and machines: alive, ready, what the server can do, figures, drain.
//!
//! `/metrics` and `/admin/*` are open on the admin address; on the main address they need the operator's token and
//! otherwise look like nothing is there.

use std::collections::BTreeMap;
use std::fmt::Write;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use prometheus::TextEncoder;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::acts::{ROLES, role_name};
use crate::control::join::JoinError;
use crate::control::phone::test_call::TestReport;
use crate::pii::Pii;

use super::AppState;
use super::api::{JsonBody, bearer};
use super::problem::{Problem, ProblemDocument};

/// The process runs.
#[utoipa::path(get, path = "/live", responses((status = 200)))]
pub async fn live() -> StatusCode {
    StatusCode::OK
}

/// New rooms are taken.
#[utoipa::path(get, path = "/ready", responses((status = 200), (status = 503, body = ProblemDocument)))]
pub async fn ready(State(state): State<AppState>) -> Result<StatusCode, Problem> {
    if state.consultations.is_ready().await {
        Ok(StatusCode::OK)
    } else {
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "The server takes no new rooms now"))
    }
}

/// What this server can do, for catalogues and for the programs of clinics. Its schema is at `/v1/schemas/capabilities.json`.
#[derive(Serialize, ToSchema)]
pub struct Capabilities {
    /// `colloque`.
    product: &'static str,
    /// Of the program.
    version: &'static str,
    /// Of the signalling protocol.
    protocol_versions: [u16; 1],
    /// What may be booked.
    acts: Vec<String>,
    /// Functions of seats.
    roles: Vec<&'static str>,
    /// What may stand before media.
    gates: [&'static str; 5],
    recording: Recording,
    telephone: TelephoneCapabilities,
    end_to_end_encryption: Absent,
    /// Ways to send and receive media.
    endpoints: [&'static str; 3],
    audio_codecs: [&'static str; 1],
    video_codecs: [&'static str; 4],
    srtp_profiles: [&'static str; 3],
    /// Key exchange that resists quantum computers, used with whoever can.
    post_quantum: [&'static str; 1],
    record: RecordCapabilities,
    /// How clinics learn what happened.
    events: [&'static str; 2],
    limits: Limits,
}

/// Nothing is recorded: there is no recorder in this program.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recording {
    /// No picture, no voice and no message is kept, anywhere.
    Absent,
}

/// Something that this version does not have.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Absent {
    /// Not built.
    Absent,
}

/// The telephone.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum TelephoneCapabilities {
    /// This server has none.
    Absent(Absent),
    /// What it can do.
    Present {
        /// What people dial to come in: a telephone number, or a SIP address.
        dial_in: Option<String>,
        /// Whether the server calls people.
        calls: bool,
    },
}

/// The legal record.
#[derive(Serialize, ToSchema)]
pub struct RecordCapabilities {
    /// Media types of `GET /v1/consultations/{id}/record`.
    formats: [&'static str; 2],
    /// Of `application/fhir+json`.
    fhir_version: &'static str,
    /// Which FHIR profile it follows.
    fhir_profile: &'static str,
    /// How the statement of minutes is signed.
    signature: &'static str,
    /// What has a JSON Schema under `/v1/schemas/`.
    schemas: [&'static str; 4],
}

/// Bounds of this server.
#[derive(Serialize, ToSchema)]
pub struct Limits {
    seats_per_consultation: usize,
    rooms: usize,
    request_body_bytes: usize,
}

/// What this server can do.
#[utoipa::path(get, path = "/capabilities", responses((status = 200, body = Capabilities)))]
pub async fn capabilities(State(state): State<AppState>) -> Json<Capabilities> {
    Json(Capabilities {
        product: "colloque",
        version: env!("CARGO_PKG_VERSION"),
        protocol_versions: [colloque_signaling::message::VERSION],
        acts: state.consultations.acts().iter().map(|act| act.name.clone()).collect(),
        roles: ROLES.map(role_name).to_vec(),
        gates: ["login", "card", "consent", "third_person", "preference"],
        recording: Recording::Absent,
        telephone: telephone(&state),
        end_to_end_encryption: Absent::Absent,
        endpoints: ["websocket", "whip", "whep"],
        audio_codecs: ["opus"],
        video_codecs: ["vp8", "vp9", "h264", "av1"],
        srtp_profiles: ["AEAD_AES_128_GCM", "AEAD_AES_256_GCM", "AES128_CM_HMAC_SHA1_80"],
        post_quantum: ["X25519MLKEM768"],
        record: RecordCapabilities {
            formats: ["application/json", "application/fhir+json"],
            fhir_version: "4.0.1",
            fhir_profile: crate::control::record::encounter::PROFILE,
            signature: "EdDSA",
            schemas: ["record.json", "statement.json", "usage.json", "capabilities.json"],
        },
        events: ["feed", "webhooks"],
        limits: Limits {
            seats_per_consultation: crate::control::booking::SEATS_MAX,
            rooms: state.consultations.rooms_max(),
            request_body_bytes: super::BODY_BYTES_MAX,
        },
    })
}

fn telephone(state: &AppState) -> TelephoneCapabilities {
    match state.consultations.phones() {
        None => TelephoneCapabilities::Absent(Absent::Absent),
        Some(board) => TelephoneCapabilities::Present { dial_in: board.dial_in.clone(), calls: board.calls_allowed() },
    }
}

/// Prometheus text.
pub async fn metrics(State(state): State<AppState>) -> Response {
    let mut text = TextEncoder::new().encode_to_string(&state.consultations.gather_metrics()).unwrap_or_default();
    write_media_counters(&state, &mut text);
    ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response()
}

/// The workers' figures, read without a lock: `colloque_NAME_total{worker="0"}`, present sizes without `_total`.
fn write_media_counters(state: &AppState, text: &mut String) {
    let mut families: BTreeMap<&'static str, String> = BTreeMap::new();
    state.consultations.media().read_counters(&mut |worker, name, reason, value| {
        let lines = families.entry(name).or_default();
        let (worker, suffix) = (worker.0, suffix(name));
        let reason = reason.map(|reason| format!(",reason=\"{reason}\"")).unwrap_or_default();
        // Writing into a String cannot fail.
        writeln!(lines, "colloque_{name}{suffix}{{worker=\"{worker}\"{reason}}} {value}").ok();
    });
    for (name, lines) in families {
        let suffix = suffix(name);
        let kind = if suffix.is_empty() { "gauge" } else { "counter" };
        write!(text, "# TYPE colloque_{name}{suffix} {kind}\n{lines}").ok();
    }
}

fn suffix(name: &str) -> &'static str {
    if matches!(name, "rooms" | "legs" | "legs_connected" | "legs_local" | "tracks") { "" } else { "_total" }
}

/// Refuses new rooms from now on; running calls go on.
#[utoipa::path(post, path = "/admin/drain", responses((status = 204)))]
pub async fn drain(State(state): State<AppState>) -> StatusCode {
    tracing::info!("draining: new rooms are refused");
    state.consultations.set_draining(true);
    StatusCode::NO_CONTENT
}

/// Takes new rooms again.
#[utoipa::path(post, path = "/admin/undrain", responses((status = 204)))]
pub async fn undrain(State(state): State<AppState>) -> StatusCode {
    tracing::info!("serving: new rooms are taken");
    state.consultations.set_draining(false);
    StatusCode::NO_CONTENT
}

/// The server calls nobody from now on, whoever asks; running calls go on, and people may still call in.
#[utoipa::path(post, path = "/admin/stop-calls", responses((status = 204)))]
pub async fn stop_calls(State(state): State<AppState>) -> StatusCode {
    allow(&state, false)
}

/// The server calls people again, where its configuration lets it.
#[utoipa::path(post, path = "/admin/allow-calls", responses((status = 204)))]
pub async fn allow_calls(State(state): State<AppState>) -> StatusCode {
    allow(&state, true)
}

fn allow(state: &AppState, allowed: bool) -> StatusCode {
    if let Some(board) = state.consultations.phones() {
        tracing::info!(allowed, "telephone calls by the server");
        board.set_calls_allowed(allowed);
    }
    StatusCode::NO_CONTENT
}

/// `POST /admin/telephone/self-test`
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestCall {
    /// Name of the line.
    trunk: String,
    /// The operator's own number; without it the configured one.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    number: Option<Pii<String>>,
}

/// Calls a number of the operator's through one line, listens for some seconds, hangs up, and says what came of it. Takes up to a
/// minute. Such a call belongs to no consultation.
#[utoipa::path(post, path = "/admin/telephone/self-test", request_body = TestCall,
    responses((status = 200, body = TestReport), (status = "default", body = ProblemDocument)))]
pub async fn self_test(
    State(state): State<AppState>,
    JsonBody(body): JsonBody<TestCall>,
) -> Result<Json<TestReport>, Problem> {
    let refused =
        |why: &str| Problem::new(StatusCode::CONFLICT, "test-call-refused", "No test call is made").detail(why);
    let board = state.consultations.phones().ok_or_else(|| refused("this server has no telephone"))?;
    let reported = board.test_call(&body.trunk, body.number.as_ref()).map_err(|why| refused(&why.to_string()))?;
    reported.await.map(Json).map_err(|_| refused("the telephone stops"))
}

/// A new key signs links from soon on. Links that the one before signed go on working, older ones do not.
#[utoipa::path(post, path = "/admin/rotate-keys", responses((status = 204), (status = "default", body = ProblemDocument)))]
pub async fn rotate_keys(State(state): State<AppState>) -> Result<StatusCode, Problem> {
    state.consultations.rotate_keys().await.map_err(JoinError::Store)?;
    tracing::info!("a new key signs links from soon on");
    Ok(StatusCode::NO_CONTENT)
}

/// The admin address's front: where things are.
pub async fn index() -> Html<&'static str> {
    Html(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Colloque operations</title>\
         <h1>Colloque</h1><ul><li><a href=\"/metrics\">/metrics</a> Prometheus</li>\
         <li><a href=\"/ready\">/ready</a> takes new rooms</li>\
         <li><a href=\"/capabilities\">/capabilities</a></li></ul>\
         <p>POST /admin/drain refuses new rooms, POST /admin/undrain takes them again, POST /admin/rotate-keys \
         makes a new key sign links, POST /admin/stop-calls calls nobody any more, POST /admin/allow-calls does again, \
         POST /admin/telephone/self-test tries a line.</p></html>",
    )
}

/// On the main address: only with the operator's token, else nothing is there.
pub async fn require_operator(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let given = bearer(request.headers()).unwrap_or("");
    let is_operator = state.operator_token.as_ref().is_some_and(|token| {
        aws_lc_rs::constant_time::verify_slices_are_equal(token.0.as_bytes(), given.as_bytes()).is_ok()
    });
    if is_operator { next.run(request).await } else { Problem::not_found().into_response() }
}

/// On the admin address: a browser there must not be led to act by another site's page.
pub async fn refuse_cross_site(request: Request, next: Next) -> Response {
    if is_foreign(request.headers()) && request.method() != axum::http::Method::GET {
        return Problem::new(StatusCode::FORBIDDEN, "cross-site", "Requests of other sites are refused")
            .into_response();
    }
    next.run(request).await
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match (text(header::ORIGIN), text(header::HOST)) {
        (None, _) => false,
        (Some(origin), Some(host)) => origin.split_once("://").is_none_or(|(_, from)| from != host),
        (Some(_), None) => true,
    }
}
