//! A whole server with its telephone, in this process: control and store, a worker, SIP and sound. Its trunks are sockets of the tests.
//!
//! Every prompt is a short tone of its own, so that a telephone's ear tells which one was played. Not here: what is tested.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use colloque::acts::Acts;
use colloque::config::Settings;
use colloque::config::outbound::Outbound;
use colloque::config::telephone::TelephoneConfig;
use colloque::control::media::MediaPlane;
use colloque::control::record::Witness;
use colloque::control::{Consultations, ControlSettings, clinics};
use colloque::pii::Pii;
use colloque::store::{HeadKey, SqlStore, Store};
use colloque::telephone::lines::Lines;
use colloque::telephone::opening::Opened;
use colloque::telephone::prompts::Prompt;
use colloque::web::listener::BoundedListener;
use colloque::web::security::SecurityHeaders;
use colloque::web::{self, AppState};
use colloque::worker::pool::{PoolSettings, WorkerPool};
use colloque_sound::Rate;
use colloque_sound::tones::Tone;
use colloque_sound::wav::Wav;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::page::Page;
use crate::voice::PATIENCE;

/// How a server is to be.
pub struct Setup {
    /// `[[telephone.trunk]]` of the configuration.
    trunks: String,
    /// Lines of `[telephone]` itself.
    telephone: String,
    change: Box<dyn FnOnce(&mut TelephoneConfig)>,
    plane: Box<dyn FnOnce(WorkerPool) -> Arc<dyn MediaPlane>>,
    own_prompts: bool,
    trusted_ca: Option<PathBuf>,
}

/// A running server.
pub struct Server {
    pub consultations: Arc<Consultations>,
    pub lines: Arc<Lines>,
    /// Its SIP port for datagrams.
    pub sip: u16,
    store: Arc<SqlStore>,
    router: Router,
    address: SocketAddr,
    api_key: String,
    folder: PathBuf,
}

/// A consultation and its seats, as the API gave them: practitioner and patient first.
pub struct Booked {
    pub id: String,
    pub seats: Vec<Value>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A line to a SIP server on this port of this machine.
pub fn trunk(name: &str, port: u16, more: &str) -> String {
    // Machines that run tests are slow; tests of silence set their own patience, tests of turns their own rate.
    let patience = if more.contains("first_response_ms") { "" } else { "first_response_ms = 15000\n" };
    let rate = if more.contains("calls_per_second") { "" } else { "calls_per_second = 20\n" };
    format!(
        "[[telephone.trunk]]\nname = \"{name}\"\nuri = \"sip:127.0.0.1:{port}\"\nallow = [\"127.0.0.1\"]\noptions_s = 0\n\
         caller_number = \"+33123456789\"\ncodecs = [\"pcma\"]\n{rate}{patience}{more}\n"
    )
}

impl Setup {
    /// With these lines, in their order.
    pub fn of(trunks: &[String]) -> Setup {
        Setup {
            trunks: trunks.concat(),
            telephone: String::new(),
            change: Box::new(|_| {}),
            plane: Box::new(|pool| Arc::new(pool)),
            own_prompts: true,
            trusted_ca: None,
        }
    }

    /// Further lines of `[telephone]`.
    pub fn telephone(self, lines: &str) -> Setup {
        Setup { telephone: lines.to_owned(), ..self }
    }

    /// What the file would not allow: shorter times.
    pub fn change(self, change: impl FnOnce(&mut TelephoneConfig) + 'static) -> Setup {
        Setup { change: Box::new(change), ..self }
    }

    /// Something between control and its workers.
    pub fn plane(self, plane: impl FnOnce(WorkerPool) -> Arc<dyn MediaPlane> + 'static) -> Setup {
        Setup { plane: Box::new(plane), ..self }
    }

    /// With the words that are shipped.
    pub fn shipped_prompts(self) -> Setup {
        Setup { own_prompts: false, ..self }
    }

    pub fn trusting(self, ca: PathBuf) -> Setup {
        Setup { trusted_ca: Some(ca), ..self }
    }

    pub async fn start(self) -> Server {
        let folder =
            std::env::temp_dir().join(format!("colloque-calls-{}-{:x}", std::process::id(), rand::random::<u64>()));
        std::fs::create_dir_all(&folder).unwrap();
        let store = Arc::new(SqlStore::open(&folder, None, Arc::new(HeadKey::open(&folder).unwrap())).await.unwrap());
        let (_, key) = clinics::add_clinic(&*store, Pii("Clinique Test".into()), Default::default()).await.unwrap();
        let loopback = "127.0.0.1".parse().unwrap();
        let (pool, mut events) = WorkerPool::start(&PoolSettings {
            workers: 1,
            addresses: vec![(loopback, loopback)],
            first_port: 0,
            grace: Duration::from_secs(30),
        })
        .unwrap();
        let mut config = configured(&self.telephone, &self.trunks);
        config.prompts_dir = self.own_prompts.then(|| tones(&folder));
        config.shows_address = true;
        (self.change)(&mut config);
        let opened = Opened::open(config, self.trusted_ca).await.unwrap();
        let board = opened.board();
        let sip = board.dial_in.as_ref().unwrap().rsplit(':').next().unwrap().parse().unwrap();
        let settings = ControlSettings {
            base_url: "http://127.0.0.1:1".to_owned(),
            grace: Duration::from_secs(30),
            rooms_max: 10,
            acts: Acts::built_in(),
            signing_key_days: 365,
            login: None,
            outbound: Outbound::default(),
            phones: Some(board),
            spool_dir: folder.clone(),
        };
        let witness = Witness::begin(&folder).unwrap();
        let consultations = Consultations::open(store.clone(), (self.plane)(pool), settings, witness).await.unwrap();
        let lines = opened.start(Arc::clone(&consultations));
        let reported = Arc::clone(&consultations);
        tokio::spawn(async move {
            while let Some((worker, event)) = events.recv().await {
                reported.handle_event(worker, event);
            }
        });
        let state = AppState {
            consultations: Arc::clone(&consultations),
            operator_token: None,
            tls: false,
            has_public_url: false,
        };
        let router = web::router(state, SecurityHeaders::new(&[], false));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = BoundedListener::new(listener, None).unwrap();
        let service = router.clone();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Server { consultations, lines, sip, store, router, address, api_key: key.0, folder }
    }
}

impl Server {
    /// A practitioner and a patient who can be called. `more`: further members of the booking.
    pub async fn book(&self, more: Value) -> Booked {
        self.book_seats(json!([{"role": "practitioner"}, {"role": "patient", "phone": NUMBER}]), more).await
    }

    pub async fn book_seats(&self, seats: Value, more: Value) -> Booked {
        let gates = json!({"card": [], "consent": {"asked": []}, "third_person": [], "preference": []});
        let mut body = json!({"act": "teleconsultation", "language": "en", "gates": gates, "seats": seats});
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let (status, body) = self.api("POST", "/v1/consultations", body).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        Booked { id: body["id"].as_str().unwrap().to_owned(), seats: body["seats"].as_array().unwrap().clone() }
    }

    /// Has a seat called, or called off (`DELETE`), as its clinic does.
    pub async fn call(&self, booked: &Booked, seat: usize, method: &str) -> (StatusCode, Value) {
        let path = format!("/v1/consultations/{}/seats/{}/call", booked.id, id(&booked.seats[seat]));
        self.api(method, &path, Value::Null).await
    }

    /// The page of a seat.
    pub async fn page(&self, seat: &Value) -> Page {
        let (status, joined) =
            self.api("POST", "/v1/join", json!({"token": seat["token"], "device": "d".repeat(32)})).await;
        assert_eq!(status, StatusCode::OK, "{joined}");
        Page::open(self.address, joined["session"].as_str().unwrap()).await
    }

    /// What the journal tells of the telephone of a seat so far: kinds without `phone.`, and their data.
    pub async fn told(&self, booked: &Booked, seat: usize) -> Vec<(String, Value)> {
        self.consultations.journal().flush().await;
        let entries = self.store.entries_of(&booked.id).await.unwrap();
        let of_seat = entries
            .into_iter()
            .map(|entry| entry.entry)
            .filter(|entry| entry.seat.as_deref() == Some(id(&booked.seats[seat])));
        let phone = of_seat.filter_map(|entry| {
            let kind = entry.kind.strip_prefix("phone.")?.to_owned();
            Some((kind, serde_json::from_str(&entry.data).unwrap()))
        });
        phone.collect()
    }

    /// Waits until no call runs.
    pub async fn is_quiet(&self) {
        let begun = Instant::now();
        while self.lines.running() > 0 {
            assert!(begun.elapsed() < PATIENCE, "{} calls run", self.lines.running());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A request of the clinic.
    pub async fn api(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.api_key))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(if body.is_null() { String::new() } else { body.to_string() }))
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() })
    }
}

/// Public identifier of a seat.
pub fn id(seat: &Value) -> &str {
    seat["id"].as_str().unwrap()
}

/// The PIN of a seat.
pub fn pin(seat: &Value) -> &str {
    seat["pin"].as_str().unwrap()
}

/// The tone that stands for a prompt.
pub fn tone_of(prompt: Prompt) -> f32 {
    let at = Prompt::ALL.iter().position(|each| *each == prompt).unwrap();
    640.0 + 45.0 * at as f32
}

/// Recordings in which each prompt is its tone.
fn tones(folder: &Path) -> PathBuf {
    let folder = folder.join("prompts");
    for language in ["fr", "en"] {
        std::fs::create_dir_all(folder.join(language)).unwrap();
        for prompt in Prompt::ALL {
            let mut samples = vec![0; PROMPT_SAMPLES];
            Tone::new(tone_of(*prompt), 8_000.0, Rate::Narrow).fill(&mut samples);
            let recording = Wav { hz: Rate::Narrow.hz(), samples };
            std::fs::write(folder.join(language).join(format!("{}.wav", prompt.name())), recording.to_bytes()).unwrap();
        }
    }
    folder
}

fn configured(telephone: &str, trunks: &str) -> TelephoneConfig {
    let text = format!(
        "[telephone]\nenabled = true\nsip_udp = \"127.0.0.1:0\"\nrtp_ports = \"20000-29999\"\nmax_legs = 20\n{telephone}\n{trunks}"
    );
    let settings: Settings = toml::from_str(&text).unwrap();
    settings.resolve().unwrap().telephone.unwrap()
}

/// The patient's.
const NUMBER: &str = "+33612345678";
/// Four tenths of a second.
const PROMPT_SAMPLES: usize = 3_200;
