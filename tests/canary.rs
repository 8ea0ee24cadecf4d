//! No personal data in anything an operator or a stranger reads: values planted in every input are looked for in logs (at their
//! most talkative), metrics, errors, the event feed and what the process leaves beside its store.
//!
//! The clinic's own answers may hold what the clinic itself gave; a seat's page may hold its room's names. Neither is looked at
//! here, but every refusal is. Not here: what erasure leaves (`tests/store…`), or which right shows what to whom.

mod softphone;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use softphone::Softphone;
use tokio_tungstenite::tungstenite::Message;

const NAME: &str = "Zébulon Canari-Tessier";
const PLAIN_NAME: &str = "Canaritessier";
const PHONE: &str = "+33698765432";
const EMAIL: &str = "canari.tessier@exemple.invalid";
const INS: &str = "269054958815780";
const RPPS: &str = "10009876543";
const ADDRESS: &str = "12 rue des Canaris";
const PATIENT: &str = "pseudonyme-canari-4711";
const DEVICE: &str = "appareil-canari-0815";
const POSTAL: &str = "97231";
const QUEUE: &str = "file-canari-5150";
const FEE: &str = "25 euros canari";
const JUNK: &str = "canari-inconnu-2342";
const WRONG_PIN: &str = "918273645";

/// The server at its most talkative, with everything it says collected.
struct Server {
    child: Child,
    data_dir: PathBuf,
    facts: Value,
    log: Arc<Mutex<String>>,
    http: Client,
}

impl Server {
    /// `peer`: where its telephone line ends.
    fn start(peer: u16) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let data_dir = std::env::temp_dir().join(format!("colloque-canary-{}", std::process::id()));
        let file = std::env::temp_dir().join(format!("colloque-canary-{}.toml", std::process::id()));
        let config = format!(
            "[telephone]\nenabled = true\nsip_udp = \"127.0.0.1:0\"\nmax_legs = 8\n[[telephone.trunk]]\nname = \"line\"\n\
             uri = \"sip:127.0.0.1:{peer}\"\nallow = [\"127.0.0.1\"]\noptions_s = 0\nfirst_response_ms = 10000\ncalls_per_second = 10\n"
        );
        std::fs::write(&file, config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_colloque"))
            .env("COLLOQUE_LOG", "trace")
            .env("RUST_BACKTRACE", "1")
            .args(["demo", "--json", "--http-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"])
            .args(["--media-port", "0", "--media-addr", "127.0.0.1", "--workers", "1", "--data-dir"])
            .arg(&data_dir)
            .arg("--config")
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let log = Arc::new(Mutex::new(String::new()));
        let (mut stderr, collected) = (child.stderr.take().unwrap(), Arc::clone(&log));
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(len @ 1..) = stderr.read(&mut piece) {
                collected.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..len]));
            }
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let facts = serde_json::from_str(&line).expect("the first line is JSON");
        std::fs::remove_file(&file).ok();
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(15)).build().unwrap();
        Self { child, data_dir, facts, log, http }
    }

    fn fact(&self, name: &str) -> &str {
        self.facts[name].as_str().unwrap()
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.fact("base_url"));
        let request = self.http.request(Method::from_bytes(method.as_bytes()).unwrap(), url);
        request.header("user-agent", JUNK).header("x-forwarded-for", JUNK).header("cookie", JUNK)
    }

    async fn clinic(&self, method: &str, path: &str, body: Value) -> Value {
        let request = self.request(method, path).bearer_auth(self.fact("api_key"));
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{method} {path}: {}", response.text().await.unwrap());
        response.json().await.unwrap_or(Value::Null)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.data_dir).ok();
    }
}

/// What must not be seen, each in the spellings in which carelessness would show it.
struct Planted(Vec<(String, String)>);

impl Planted {
    fn new() -> Self {
        let mut planted = Planted(Vec::new());
        let values = [NAME, PLAIN_NAME, PHONE, EMAIL, INS, RPPS, ADDRESS, PATIENT, DEVICE, POSTAL, QUEUE, FEE, JUNK];
        values.iter().for_each(|value| planted.add(value));
        planted
    }

    fn add(&mut self, value: &str) {
        let percent: String = value.bytes().map(percent).collect();
        let debug = format!("{value:?}").trim_matches('"').to_owned();
        let json = serde_json::to_string(value).unwrap().trim_matches('"').to_owned();
        let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
        let spellings =
            [value.to_owned(), percent, debug, json, hex, STANDARD.encode(value), URL_SAFE_NO_PAD.encode(value)];
        self.0.extend(spellings.into_iter().map(|spelling| (value.to_owned(), spelling)));
    }

    fn assert_absent(&self, from: &str, text: &str) {
        for (value, spelling) in &self.0 {
            if let Some(at) = text.find(spelling.as_str()) {
                let before = text[..at].lines().last().unwrap_or("");
                panic!("{from} shows `{value}` after: {before}");
            }
        }
    }
}

fn percent(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
        (byte as char).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// Everything a seat's page says and is told, with junk between. Gives the error messages it got.
async fn visit(ws_url: &str, session: &str, planted: &mut Planted) -> Vec<String> {
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("{ws_url}?{JUNK}")).await.unwrap();
    let sdp = format!("v=0\r\no={PLAIN_NAME} 1 1 IN IP4 127.0.0.1\r\ns={PHONE}\r\nt=0 0\r\na=ice-pwd:{INS}\r\n");
    let mut texts = vec![json!({"type": "join", "version": 1, "session": session}).to_string()];
    texts.extend([
        json!({"type": "offer", "id": 1, "sdp": sdp, "senders": [{"mid": JUNK, "source": "camera"}]}).to_string(),
        json!({"type": "admit", "seat": PLAIN_NAME}).to_string(),
        json!({"type": "remove", "seat": EMAIL}).to_string(),
        json!({"type": "invite", "role": "companion", "display_name": NAME}).to_string(),
        json!({"type": "hand_over", "to": PLAIN_NAME, "reason": "other"}).to_string(),
        json!({"type": "gate", "answer": {"gate": "consent", "text": JUNK, "accepted": true}}).to_string(),
        json!({"type": "gate", "answer": {"gate": "card", "seats": [PLAIN_NAME]}}).to_string(),
        json!({"type": "gate", "answer": {"gate": "consent", "text": "1", "accepted": true}}).to_string(),
        json!({"type": "gate", "answer": {"gate": "third_person", "present": true}}).to_string(),
        json!({"type": PLAIN_NAME}).to_string(),
        format!("not JSON: {NAME}"),
    ]);
    for text in texts {
        socket.send(Message::text(text)).await.unwrap();
    }
    let mut errors = Vec::new();
    while let Ok(Some(Ok(message))) = tokio::time::timeout(Duration::from_millis(700), socket.next()).await {
        let Message::Text(text) = message else { continue };
        let value: Value = serde_json::from_str(&text).unwrap();
        if let Some(ticket) = value["ticket"].as_str() {
            planted.add(ticket);
        }
        if value["type"] == "error" {
            errors.push(text.to_string());
        }
    }
    errors
}

/// Requests that must all be refused, each with planted values wherever something can be written.
async fn refusals(server: &Server, token: &str) -> Vec<String> {
    let key = server.fact("api_key");
    let wrong_key = format!("{}{JUNK}", &key[..11]);
    let booking = json!({"act": PLAIN_NAME, "seats": [{"role": "patient", "display_name": NAME}]});
    let unknown_field = json!({"act": "teleconsultation", "seats": [], "ins": INS, NAME: PHONE});
    let wrong_type = json!({"act": "teleconsultation", "seats": [{"role": NAME, "phone": PHONE, "email": EMAIL}]});
    let too_long = json!({"act": "teleconsultation", "seats": [{"role": "patient", "display_name": NAME.repeat(50)}]});
    let mut requests = vec![
        server.request("POST", "/v1/consultations").bearer_auth(&wrong_key).json(&booking),
        server.request("GET", &format!("/v1/consultations/{PLAIN_NAME}")).bearer_auth(key),
        server.request("GET", &format!("/{PLAIN_NAME}/{INS}?q={EMAIL}")),
        server.request("DELETE", &format!("/join?token={token}")),
        server.request("POST", "/v1/join").json(&json!({"token": format!("{token}{JUNK}"), "device": DEVICE})),
        server.request("POST", "/v1/join").json(&json!({"token": JUNK, "device": DEVICE, "name": NAME})),
        server.request("POST", "/v1/join").header("content-type", "application/json").body(format!("{{{NAME}")),
        server.request("POST", "/whip").bearer_auth(token).header("content-type", "application/sdp").body(NAME),
        server.request("POST", "/whep").bearer_auth(JUNK).header("content-type", PLAIN_NAME).body(NAME),
        server.request("PATCH", &format!("/whip/{PLAIN_NAME}")).bearer_auth(token).header("if-match", JUNK).body(INS),
        server.request("GET", &format!("/v1/events?after={PLAIN_NAME}&{PLAIN_NAME}={INS}")).bearer_auth(key),
        server.request("POST", "/metrics").bearer_auth(JUNK),
        server
            .request("POST", "/v1/webhooks")
            .bearer_auth(key)
            .json(&json!({"url": format!("https://{PLAIN_NAME}/{INS}")})),
        server.request("POST", "/v1/login").json(&json!({"session": format!("{token}{JUNK}")})),
        server
            .request("POST", "/v1/login/finish")
            .json(&json!({"session": token, "code": JUNK, "state": PLAIN_NAME, "iss": NAME})),
        server.request("POST", &format!("/v1/login/callback?code={JUNK}&state={PLAIN_NAME}")),
        server.request("GET", &format!("/v1/queues/{QUEUE}?{EMAIL}")).bearer_auth(&wrong_key),
        server.request("DELETE", &format!("/v1/patients/{JUNK}/data")).bearer_auth(&wrong_key),
        server.request("GET", &format!("/v1/consultations/{INS}/record?format={JUNK}")).bearer_auth(key),
    ];
    for body in [&booking, &unknown_field, &wrong_type, &too_long] {
        requests.push(server.request("POST", "/v1/consultations").bearer_auth(key).json(body));
    }
    let mut texts = Vec::new();
    for request in requests {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), format!("{:?}", response.headers()));
        assert!(status.is_client_error(), "{status} {}", response.url());
        texts.push(format!("{headers}\n{}", response.text().await.unwrap()));
    }
    // The page that a login comes back to is the same for everybody, and says nothing of its address.
    let address = format!("/v1/login/callback?code={JUNK}&state={PLAIN_NAME}");
    let callback = server.request("GET", &address).send().await.unwrap();
    let headers = format!("{:?}", callback.headers());
    texts.push(format!("{headers}\n{}", callback.text().await.unwrap()));
    texts
}

/// Everything in the data directory but the store's own files, which hold what the clinic gave.
fn beside_the_store(directory: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        text.push_str(&format!("{name}\n"));
        if path.is_dir() {
            text.push_str(&beside_the_store(&path));
        } else if !name.starts_with("colloque.sqlite") {
            text.push_str(&String::from_utf8_lossy(&std::fs::read(&path).unwrap()));
        }
    }
    text
}

/// Calls in both directions in which everything that a telephone can say is planted: names and numbers in every header, wrong digits, a
/// right PIN, junk. Gives what the operator is answered.
async fn telephone(server: &Server, phone: &mut Softphone, (id, patient): (&str, &str), pin: &str) -> String {
    let dial_in = server.facts["dial_in"]["sip_uri"].as_str().unwrap();
    let sip = dial_in.rsplit('@').next().unwrap().parse().unwrap();
    (phone.name, phone.number) = (NAME.to_owned(), PHONE.to_owned());
    phone.more = format!(
        "P-Asserted-Identity: \"{PLAIN_NAME}\" <sip:{PHONE}@127.0.0.1>\r\nSubject: {EMAIL}\r\nUser-Agent: {JUNK}\r\nX-Canary: {INS}\r\n"
    );
    assert_eq!(phone.dial(dial_in), 200);
    phone.live(0.5);
    phone.press(WRONG_PIN);
    phone.live(3.0);
    phone.press(pin);
    phone.live(2.0);
    phone.hang_up();
    for junk in [
        format!("INVITE sip:{PHONE}@{PLAIN_NAME} SIP/2.0\r\nFrom: {NAME}\r\n\r\n"),
        format!("{PLAIN_NAME} sip:{EMAIL} SIP/2.0\r\nVia: {JUNK}\r\nX: {INS}\r\n\r\n"),
        format!("OPTIONS sip:{PHONE}@127.0.0.1 SIP/2.0\r\nCall-ID: {JUNK}\r\nCSeq: 1 {PLAIN_NAME}\r\n\r\n"),
    ] {
        phone.throw(junk.as_bytes(), sip);
    }
    server.clinic("POST", &format!("/v1/consultations/{id}/seats/{patient}/call"), Value::Null).await;
    phone.take_call(&format!("603 {PLAIN_NAME}"));
    phone.live(0.5);
    let url = format!("{}/admin/telephone/self-test", server.fact("admin_url"));
    let test = server.http.post(url).json(&json!({"trunk": "line", "number": PHONE}));
    let test = tokio::spawn(async move { test.send().await.unwrap().text().await.unwrap() });
    phone.take_call("404 Not Found");
    let told = test.await.unwrap();
    assert!(told.contains("not_in_service"), "{told}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_planted_is_seen_by_those_whom_it_does_not_concern() {
    let mut phone = Softphone::new();
    let server = Server::start(phone.port());
    let mut planted = Planted::new();
    planted.add(server.fact("api_key"));
    let booked = server
        .clinic(
            "POST",
            "/v1/consultations",
            json!({"act": "teleconsultation", "patient": PATIENT, "postal_prefix": POSTAL, "queue": QUEUE, "seats": [
                {"role": "practitioner", "display_name": NAME, "phone": PHONE, "email": EMAIL,
                 "card": {"title": "Dr", "name": NAME, "specialty": PLAIN_NAME, "rpps": RPPS, "address": ADDRESS, "fee": FEE}},
                {"role": "patient", "display_name": PLAIN_NAME, "phone": PHONE, "email": EMAIL},
            ]}),
        )
        .await;
    let seats = booked["seats"].as_array().unwrap();
    let mut seen = Vec::new();
    for seat in seats {
        let token = seat["token"].as_str().unwrap();
        planted.add(token);
        planted.add(seat["pin"].as_str().unwrap());
        let body = json!({"token": token, "device": DEVICE});
        let joined: Value = server.request("POST", "/v1/join").json(&body).send().await.unwrap().json().await.unwrap();
        let session = joined["session"].as_str().unwrap();
        planted.add(session);
        seen.extend(visit(joined["ws_url"].as_str().unwrap(), session, &mut planted).await);
        seen.extend(refusals(&server, token).await);
    }
    let id = booked["id"].as_str().unwrap();
    let (patient, token) = (seats[1]["id"].as_str().unwrap(), seats[1]["token"].as_str().unwrap());
    planted.add(WRONG_PIN);
    seen.push(telephone(&server, &mut phone, (id, patient), seats[1]["pin"].as_str().unwrap()).await);
    server.clinic("POST", &format!("/v1/consultations/{id}/seats/{patient}/remove"), Value::Null).await;
    seen.extend(refusals(&server, token).await);
    server.clinic("DELETE", &format!("/v1/consultations/{id}"), Value::Null).await;
    seen.extend(refusals(&server, token).await);
    assert!(seen.len() > 80, "refusals and errors were collected: {}", seen.len());
    for refusal in &seen {
        planted.assert_absent("a refusal", refusal);
    }

    let metrics = server.http.get(format!("{}/metrics", server.fact("admin_url"))).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(metrics.contains("colloque_joins_total"));
    for counted in
        ["pins_total{outcome=\"right\"} 1", "pins_total{outcome=\"wrong\"} 1", "trunk_failures_total{cause=\"refused\""]
    {
        assert!(metrics.contains(&format!("colloque_telephone_{counted}")), "the telephone was heard: {counted}");
    }
    planted.assert_absent("/metrics", &metrics);
    let events = server.clinic("GET", "/v1/events?after=0", Value::Null).await;
    assert!(events["events"].as_array().unwrap().len() > 10);
    planted.assert_absent("the event feed", &events.to_string());
    planted.assert_absent("a file beside the store", &beside_the_store(&server.data_dir));
    server.http.post(format!("{}/admin/drain", server.fact("admin_url"))).send().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let log = server.log.lock().unwrap().clone();
    assert!(log.contains("draining"), "the log was collected: {log}");
    planted.assert_absent("the log", &log);
}
