//! The whole control side over real HTTP messages and real WebSockets, on a media plane that only records.

mod acts;
mod calls;
mod erasure;
mod credentials;
mod devices;
mod record;
mod events;
mod facts;
mod gates;
mod hosting;
mod phone_place;
mod queue;
mod refusals;
mod room;
mod telephone;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use colloque_signaling::message::{ClientMessage, Resume, ServerEnvelope, ServerMessage, VERSION};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite};
use tower::ServiceExt;

use crate::acts::Acts;
use crate::config::LoginSettings;
use crate::config::outbound::Outbound;
use crate::control::fake_media::FakeMedia;
use crate::control::record::Witness;
use crate::control::{ControlSettings, clinics};
use crate::store::SqlStore;

use super::*;

const CHROMIUM_SEND: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sdp/chromium156-offer-sendonly-av-dc.sdp"));
const CHROMIUM_RECEIVE: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sdp/chromium156-offer-recvonly.sdp"));

/// A server with one clinic.
struct Server {
    consultations: Arc<Consultations>,
    media: Arc<FakeMedia>,
    store: Arc<SqlStore>,
    router: Router,
    api_key: String,
    address: SocketAddr,
    dir: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Server {
    async fn start() -> Server {
        Self::start_with(Duration::from_secs(120), 10).await
    }

    async fn start_with(grace: Duration, rooms_max: usize) -> Server {
        Self::begin(|settings| ControlSettings { grace, rooms_max, ..settings }).await
    }

    async fn begin(change: impl FnOnce(ControlSettings) -> ControlSettings) -> Server {
        let dir = std::env::temp_dir().join(format!("colloque-web-{}-{:x}", std::process::id(), rand::random::<u64>()));
        std::fs::create_dir_all(&dir).unwrap();
        let store = Arc::new(crate::store::testing::open_in(&dir).await);
        let (_, api_key) = clinics::add_clinic(&*store, Pii("Clinique Test".into()), Default::default()).await.unwrap();
        let settings = change(settings(&dir));
        Self::start_on(dir, store, api_key.0, settings).await
    }

    /// With an OpenID provider, whom nobody reaches.
    async fn with_login() -> Server {
        let login = LoginSettings {
            issuer: Some("https://provider.example".into()),
            client_id: Some("colloque".into()),
            ..LoginSettings::default()
        };
        let login = login.resolve(&mut Vec::new());
        Self::begin(|settings| ControlSettings { login, ..settings }).await
    }

    /// Another process on the same store, with other acts in its configuration.
    async fn restarted_with(&self, acts: Acts) -> Server {
        self.restarted(|settings| ControlSettings { acts, ..settings }).await
    }

    /// Another process on the same store, with other settings.
    async fn restarted(&self, change: impl FnOnce(ControlSettings) -> ControlSettings) -> Server {
        let settings = change(settings(&self.dir));
        Self::start_on(self.dir.clone(), self.store.clone(), self.api_key.clone(), settings).await
    }

    async fn start_on(dir: PathBuf, store: Arc<SqlStore>, api_key: String, settings: ControlSettings) -> Server {
        let media = Arc::new(FakeMedia::new());
        let consultations =
            Consultations::open(store.clone(), media.clone(), settings, Witness::begin(&dir).unwrap()).await.unwrap();
        let state = AppState {
            consultations: consultations.clone(),
            operator_token: Some(Pii("o".repeat(32).into())),
            tls: false,
            has_public_url: false,
        };
        let router = router(state, SecurityHeaders::new(&["https://portal.example".into()], false));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = listener::BoundedListener::new(listener, None).unwrap();
        let service = router.clone();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Server { consultations, media, store, router, api_key, address, dir }
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// A JSON request with the API key. Gives status and body.
    async fn api(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.api_key))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(if body.is_null() { String::new() } else { body.to_string() }))
            .unwrap();
        json_of(self.send(request).await).await
    }

    /// A practitioner and a patient: consultation and both seats as the API gave them.
    async fn book(&self) -> (String, Value, Value) {
        let (status, body) = self
            .api(
                "POST",
                "/v1/consultations",
                json!({"act": "teleconsultation", "language": "en", "gates": no_gates(), "seats": [
                    {"role": "practitioner", "display_name": "Dr Planted"},
                    {"role": "patient", "display_name": "Patricia Planted", "phone": "+33 6 00 00 00 01"},
                ]}),
            )
            .await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        (body["id"].as_str().unwrap().to_owned(), body["seats"][0].clone(), body["seats"][1].clone())
    }

    async fn join(&self, token: &Value, device: &str) -> (StatusCode, Value) {
        self.api("POST", "/v1/join", json!({"token": token, "device": device})).await
    }

    /// Joins by a seat's link and opens its page's socket.
    async fn page(&self, seat: &Value) -> Page {
        self.page_on(seat, "").await
    }

    /// The same on this device.
    async fn page_on(&self, seat: &Value, device: &str) -> Page {
        let (status, joined) = self.join(&seat["token"], device).await;
        assert_eq!(status, StatusCode::OK, "{joined}");
        let mut page = Page::open(self.address).await;
        page.session = joined["session"].as_str().unwrap().to_owned();
        page.say(&ClientMessage::Join { version: VERSION, session: page.session.clone(), resume: None }).await;
        page
    }
}

/// For bookings of tests that are not about gates.
fn no_gates() -> Value {
    json!({"card": [], "consent": {"asked": []}, "third_person": [], "preference": []})
}

/// As a small server has them, with its spool in this directory.
fn settings(dir: &Path) -> ControlSettings {
    ControlSettings {
        base_url: "http://127.0.0.1:1".to_owned(),
        grace: Duration::from_secs(120),
        rooms_max: 10,
        acts: Acts::built_in(),
        signing_key_days: 365,
        login: None,
        outbound: Outbound::default(),
        phones: None,
        spool_dir: dir.to_owned(),
    }
}

async fn json_of(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() })
}

/// A page's side of the socket.
struct Page {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: String,
    ticket: String,
    received: u32,
}

impl Page {
    async fn open(address: SocketAddr) -> Page {
        let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await.unwrap();
        Page { socket, session: String::new(), ticket: String::new(), received: 0 }
    }

    async fn say(&mut self, message: &ClientMessage) {
        self.say_text(&serde_json::to_string(message).unwrap()).await;
    }

    async fn say_text(&mut self, text: &str) {
        self.socket.send(tungstenite::Message::text(text)).await.unwrap();
    }

    /// The next server message; `None` when the socket is closed.
    async fn hear(&mut self) -> Option<ServerMessage> {
        loop {
            let frame =
                tokio::time::timeout(Duration::from_secs(5), self.socket.next()).await.expect("a message in time");
            match frame {
                Some(Ok(tungstenite::Message::Text(text))) => {
                    let envelope: ServerEnvelope = serde_json::from_str(&text).unwrap();
                    if envelope.seq > 0 {
                        assert_eq!(envelope.seq, self.received + 1, "no message is lost or doubled");
                        self.received = envelope.seq;
                    }
                    if let ServerMessage::Welcome { ticket, .. } | ServerMessage::Resumed { ticket } = &envelope.message
                    {
                        self.ticket = ticket.clone();
                    }
                    return Some(envelope.message);
                }
                Some(Ok(tungstenite::Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Skips messages until one fits.
    async fn hear_until<T>(&mut self, mut fits: impl FnMut(&ServerMessage) -> Option<T>) -> T {
        loop {
            let message = self.hear().await.expect("the socket is open");
            if let Some(found) = fits(&message) {
                return found;
            }
        }
    }

    async fn hear_error(&mut self) -> (Option<u32>, colloque_signaling::message::ErrorCode) {
        self.hear_until(|message| match message {
            ServerMessage::Error { id, code, .. } => Some((*id, *code)),
            _ => None,
        })
        .await
    }

    /// Whether the socket closes after this message, if any.
    async fn closes_after(&mut self, last: &ServerMessage) -> bool {
        let mut seen = false;
        while let Some(message) = self.hear().await {
            seen = message == *last;
        }
        seen
    }

    /// Comes back on a new socket with this page's ticket.
    async fn resume(self, address: SocketAddr) -> Page {
        let Page { session, ticket, received, .. } = self;
        let mut page = Page::open(address).await;
        let resume = Resume { ticket: ticket.clone(), received };
        page.say(&ClientMessage::Join { version: VERSION, session: session.clone(), resume: Some(resume) }).await;
        Page { session, ticket, received, ..page }
    }
}
