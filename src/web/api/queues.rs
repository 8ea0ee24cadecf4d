//! Queues in the clinics' API: who waits where.
//!
//! Not here: the order, which `control` keeps.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::clinics::Scope;
use crate::control::clock;
use crate::control::waiting_line::Queued;
use crate::web::AppState;
use crate::web::problem::{Problem, ProblemDocument};

use super::clinic;

/// A queue: its consultations that are not over, in the order in which they are seen.
#[derive(Serialize, ToSchema)]
pub struct QueueView {
    queue: String,
    consultations: Vec<QueuedView>,
}

/// A consultation of a queue.
#[derive(Serialize, ToSchema)]
pub struct QueuedView {
    id: String,
    starts_at: Option<String>,
    /// Seats that wait to be let in.
    waiting: usize,
    /// Seats in the call.
    present: usize,
    /// Consultations with somebody waiting that are seen before.
    ahead: u32,
    /// Expected begin, where the plan says it.
    expected_at: Option<String>,
}

impl QueueView {
    fn new(queue: String, consultations: Vec<Queued>) -> Self {
        let view = |queued: Queued| QueuedView {
            id: queued.consultation,
            starts_at: queued.starts_at.map(clock::format_rfc3339),
            waiting: queued.waiting,
            present: queued.present,
            ahead: queued.ahead,
            expected_at: queued.expected_at.map(clock::format_rfc3339),
        };
        Self { queue, consultations: consultations.into_iter().map(view).collect() }
    }
}

/// The consultations of a queue, with who waits where. An unknown queue is an empty one.
#[utoipa::path(get, path = "/v1/queues/{queue}",
    responses((status = 200, body = QueueView), (status = "default", body = ProblemDocument)))]
pub async fn queue(
    State(state): State<AppState>,
    headers: HeaderMap,
    Path(queue): Path<String>,
) -> Result<Json<QueueView>, Problem> {
    let clinic = clinic(&state, &headers, Scope::ConsultationsRead).await?;
    let consultations = state.consultations.queue(&clinic, &queue).await?;
    Ok(Json(QueueView::new(queue, consultations)))
}
