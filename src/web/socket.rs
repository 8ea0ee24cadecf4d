//! `GET /ws`: one task per WebSocket around its `signaling::Session`.
//!
//! ```text
//!   socket --text--> Session --Request--> control
//!   socket <--text-- Session <--Wire----- room
//! ```
//!
//! Nothing is decided here. A socket that stops reading is closed and its seat kept: the session bounds what waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use colloque_signaling::limits::FRAME_BYTES_MAX;
use colloque_signaling::message::{ErrorCode, Resume};
use colloque_signaling::session::{CloseReason, Request};

use crate::control::Consultations;
use crate::control::channel::Wire;
use crate::control::join::JoinError;
use crate::control::visit::Attachment;

use super::AppState;

/// Upgrades to the signalling protocol.
#[utoipa::path(get, path = "/ws", responses((status = 101, description = "WebSocket; first message `join`")))]
pub async fn upgrade(State(state): State<AppState>, upgrade: WebSocketUpgrade) -> Response {
    let consultations = Arc::clone(&state.consultations);
    upgrade
        .read_buffer_size(READ_BUFFER_LEN)
        .max_message_size(FRAME_BYTES_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .on_upgrade(move |socket| SocketTask::new(consultations, socket).run())
}

struct SocketTask {
    consultations: Arc<Consultations>,
    socket: WebSocket,
    wire: Arc<Wire>,
    visit: Option<Attachment>,
}

/// Why the loop ends before its session says so.
struct Gone;

impl SocketTask {
    fn new(consultations: Arc<Consultations>, socket: WebSocket) -> Self {
        Self { consultations, socket, wire: Wire::new(Instant::now()), visit: None }
    }

    async fn run(mut self) {
        let sockets = self.consultations.metrics().sockets.clone();
        sockets.inc();
        let mut ping = tokio::time::interval(PING_EVERY);
        ping.tick().await;
        while self.turn(&mut ping).await.is_ok() {}
        sockets.dec();
        if let Some(visit) = self.visit.take() {
            self.consultations.detach(visit);
        }
    }

    /// Waits for the next thing to do, does it, then sends whatever that left to send.
    async fn turn(&mut self, ping: &mut tokio::time::Interval) -> Result<(), Gone> {
        let timeout = self.wire.session().poll_timeout();
        let due = async {
            match timeout {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            frame = self.socket.recv() => match frame {
                Some(Ok(Message::Text(text))) => self.handle_text(&text).await,
                Some(Ok(Message::Binary(_))) => self.wire.session().handle_binary(Instant::now()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Gone),
            },
            () = self.wire.changed() => {}
            () = due => self.wire.session().handle_timeout(Instant::now()),
            _ = ping.tick() => self.send(Message::Ping(Default::default())).await?,
        }
        self.flush().await
    }

    async fn handle_text(&mut self, text: &str) {
        let request = self.wire.session().handle_text(Instant::now(), text);
        match (request, &self.visit) {
            (None, _) => {}
            (Some(Request::Join { session, resume }), _) => self.join(&session, resume.as_ref()).await,
            (Some(request), Some(visit)) => self.consultations.handle(visit, request).await,
            // The session gives nothing else before a `welcome`.
            (Some(_), None) => {}
        }
    }

    async fn join(&mut self, session: &str, resume: Option<&Resume>) {
        match self.consultations.attach(session, resume, &self.wire).await {
            Ok(visit) => self.visit = Some(visit),
            Err(error) => {
                if let JoinError::Store(error) = &error {
                    tracing::error!(%error, "the store does not answer");
                }
                if matches!(error, JoinError::Moved) {
                    return self.wire.session().close(CloseReason::MovedDevice);
                }
                let code = match error {
                    JoinError::Draining | JoinError::Full | JoinError::TooOften | JoinError::Store(_) => {
                        ErrorCode::Unavailable
                    }
                    _ => ErrorCode::BadSession,
                };
                self.wire.session().refuse(code, error.label());
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        loop {
            let frame = self.wire.session().poll_transmit();
            let Some(frame) = frame else { break };
            self.send(Message::Text(frame.as_ref().into())).await?;
        }
        let closed = self.wire.session().closed();
        match closed {
            None => Ok(()),
            Some(reason) => {
                let frame = CloseFrame { code: reason.code(), reason: close_word(reason).into() };
                self.send(Message::Close(Some(frame))).await.ok();
                Err(Gone)
            }
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        match tokio::time::timeout(SEND_WAIT_MAX, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

fn close_word(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Left => "left",
        CloseReason::Replaced => "replaced",
        CloseReason::MovedDevice => "moved to another device",
        CloseReason::Removed => "removed",
        CloseReason::Declined(_) => "declined",
        CloseReason::Next => "next",
        CloseReason::Ended => "ended",
        CloseReason::Refused(_) => "refused",
        CloseReason::TooMany => "too many messages",
        CloseReason::Lost => "lost",
    }
}

/// Kept by every socket for its whole life; the library's own 128 KiB would be a quarter of what a consultation holds.
/// An offer takes three reads of it, everything later one.
const READ_BUFFER_LEN: usize = 4 * 1024;
/// Below the idle time-outs of common proxies (60 s).
const PING_EVERY: Duration = Duration::from_secs(20);
/// A socket that takes nothing for so long is closed; shorter would cut off slow mobile networks.
const SEND_WAIT_MAX: Duration = Duration::from_secs(10);
