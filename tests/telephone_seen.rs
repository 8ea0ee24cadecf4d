//! What an operator sees of the telephone: the real program, calls over real sockets, and what `/metrics`, pages, the record and test
//! calls say of them.
//!
//! Not here: what SIP peers may do (`tests/telephone`), how calls go (`telephone::call`).

mod softphone;

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use softphone::Softphone;
use tokio_tungstenite::tungstenite::Message;

struct Server {
    child: Child,
    directory: PathBuf,
    facts: Value,
    http: Client,
}

impl Server {
    /// With one line, whose other end is at that port of this machine.
    fn start(peer: u16) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let directory = std::env::temp_dir().join(format!("colloque-seen-{}-{peer}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let config = format!(
            "[telephone]\nenabled = true\nsip_udp = \"127.0.0.1:0\"\nmax_legs = 8\nself_test_code = \"0000\"\n\
             self_test_number = \"+33612345678\"\n[[telephone.trunk]]\nname = \"peer\"\nuri = \"sip:127.0.0.1:{peer}\"\n\
             allow = [\"127.0.0.1\"]\nmedia_allow = [\"127.0.0.1\"]\noptions_s = 0\nfirst_response_ms = 10000\ncalls_per_second = 10\n"
        );
        std::fs::write(directory.join("colloque.toml"), config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_colloque"))
            .args(["demo", "--json", "--http-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0", "--workers", "1"])
            .args(["--media-port", "0", "--media-addr", "127.0.0.1", "--config"])
            .arg(directory.join("colloque.toml"))
            .arg("--data-dir")
            .arg(directory.join("data"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let facts = serde_json::from_str(&line).expect("the first line is JSON");
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        Self { child, directory, facts, http }
    }

    fn fact(&self, name: &str) -> &str {
        self.facts[name].as_str().unwrap()
    }

    fn dial_in(&self) -> &str {
        self.facts["dial_in"]["sip_uri"].as_str().unwrap()
    }

    async fn clinic(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.fact("base_url"));
        let request = self.http.request(method, url).bearer_auth(self.fact("api_key"));
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.text().await.unwrap());
        response.json().await.unwrap_or(Value::Null)
    }

    async fn metrics(&self) -> Metrics {
        let url = format!("{}/metrics", self.fact("admin_url"));
        Metrics(self.http.get(url).send().await.unwrap().text().await.unwrap())
    }

    /// Lives with the telephone until a figure has this value.
    async fn shows(&self, phone: &mut Softphone, figure: &str, labels: &[&str], value: f64) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            phone.live(0.2);
            let metrics = self.metrics().await;
            if metrics.sum(figure, labels) == value {
                return;
            }
            assert!(Instant::now() < until, "{figure} {labels:?} is not {value}:\n{}", metrics.about(figure));
        }
    }

    fn test_call(&self, body: Value) -> tokio::task::JoinHandle<(u16, Value)> {
        let request = self.http.post(format!("{}/admin/telephone/self-test", self.fact("admin_url"))).json(&body);
        tokio::spawn(async move {
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.json().await.unwrap())
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.directory).ok();
    }
}

/// One scrape.
struct Metrics(String);

impl Metrics {
    /// The sum of all series of that name whose labels hold all of these.
    fn sum(&self, figure: &str, labels: &[&str]) -> f64 {
        let value = |line: &str| {
            let rest = line.strip_prefix(figure)?;
            let fits = rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label));
            fits.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        };
        self.0.lines().filter_map(value).sum()
    }

    /// Whether there is such a series, of whatever value.
    fn has(&self, figure: &str, label: &str) -> bool {
        // A histogram's own name stands for all of its series.
        let is_it = |line: &&str| {
            let rest = line.strip_prefix(figure);
            rest.is_some_and(|rest| rest.trim_start_matches("_bucket").starts_with('{'))
        };
        self.0.lines().filter(is_it).any(|line| line.contains(label))
    }

    fn values(&self, figure: &str, label: &str) -> HashSet<String> {
        let start = format!("{label}=\"");
        let lines = self.0.lines().filter(|line| line.starts_with(&format!("{figure}{{")));
        lines.filter_map(|line| Some(line.split_once(&start)?.1.split_once('"')?.0.to_owned())).collect()
    }

    fn about(&self, figure: &str) -> String {
        self.0.lines().filter(|line| line.contains(figure)).collect::<Vec<_>>().join("\n")
    }

    fn names(&self) -> HashSet<String> {
        let names = self.0.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        names.map(str::to_owned).collect()
    }
}

/// A page that hears what is said of telephones.
struct Page(tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>);

impl Page {
    async fn open(server: &Server, seat: &Value) -> Self {
        let body = json!({"token": seat["token"], "device": "seen"});
        let url = format!("{}/v1/join", server.fact("base_url"));
        let joined: Value = server.http.post(url).json(&body).send().await.unwrap().json().await.unwrap();
        let (mut socket, _) = tokio_tungstenite::connect_async(joined["ws_url"].as_str().unwrap()).await.unwrap();
        let join = json!({"type": "join", "version": 1, "session": joined["session"]});
        socket.send(Message::text(join.to_string())).await.unwrap();
        Self(socket)
    }

    /// Lives with the telephone until the page is told this of it.
    async fn hears(&mut self, phone: &mut Softphone, state: &str) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            phone.live(0.1);
            while let Ok(Some(Ok(message))) = tokio::time::timeout(Duration::from_millis(5), self.0.next()).await {
                let Message::Text(text) = message else { continue };
                let told: Value = serde_json::from_str(&text).unwrap();
                if told["type"] == "phone" && told["state"] == state {
                    return;
                }
            }
            assert!(Instant::now() < until, "the page is not told {state}");
        }
    }
}

async fn book(server: &Server) -> (String, Value, Value) {
    let gates = json!({"card": [], "consent": {"asked": []}, "third_person": [], "preference": []});
    let seats = json!([{"role": "practitioner"}, {"role": "patient", "phone": "+33612345678"}]);
    let booking = json!({"act": "teleconsultation", "gates": gates, "seats": seats});
    let booked = server.clinic(Method::POST, "/v1/consultations", booking).await;
    (booked["id"].as_str().unwrap().to_owned(), booked["seats"][0].clone(), booked["seats"][1].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_garbage_and_one_way_sound_are_seen_in_a_scrape_on_the_page_and_in_the_record() {
    let mut phone = Softphone::new();
    let server = Server::start(phone.port());
    let (consultation, doctor, patient) = book(&server).await;
    let mut page = Page::open(&server, &doctor).await;

    // A call that says nothing at all, then does.
    phone.voice = None;
    assert_eq!(phone.dial(server.dial_in()), 200);
    server.shows(&mut phone, "colloque_telephone_legs", &["sound=\"no_sound\""], 1.0).await;
    phone.voice = Some(700.0);
    server.shows(&mut phone, "colloque_telephone_legs", &["sound=\"well\""], 1.0).await;
    phone.press("111111111");
    server.shows(&mut phone, "colloque_telephone_pins_total", &["outcome=\"wrong\""], 1.0).await;
    // It was counted; it is answered later, as every PIN is, and digits before the answer do not count.
    phone.live(3.0);
    phone.press(patient["pin"].as_str().unwrap());
    page.hears(&mut phone, "waiting").await;
    let id = patient["id"].as_str().unwrap();
    let admit = format!("/v1/consultations/{consultation}/seats/{id}/admit");
    server.clinic(Method::POST, &admit, Value::Null).await;
    page.hears(&mut phone, "in").await;
    let quality =
        |metrics: &Metrics| metrics.sum("colloque_telephone_leg_mos_count", &["trunk=\"peer\"", "way=\"in\""]);
    while quality(&server.metrics().await) < 2.0 {
        phone.live(1.0);
    }
    // In the room it falls silent, without reports.
    phone.voice = None;
    page.hears(&mut phone, "lost").await;
    phone.voice = Some(700.0);
    page.hears(&mut phone, "in").await;
    phone.hang_up();
    let ended = &["direction=\"in\"", "trunk=\"peer\"", "outcome=\"hung_up\""];
    server.shows(&mut phone, "colloque_telephone_calls_total", ended, 1.0).await;

    // A call of the server's, taken and left; then one that is refused.
    let call = format!("/v1/consultations/{consultation}/seats/{id}/call");
    server.clinic(Method::POST, &call, Value::Null).await;
    phone.take_call("200 OK");
    phone.live(1.0);
    phone.press("1");
    page.hears(&mut phone, "in").await;
    phone.hang_up();
    server.shows(&mut phone, "colloque_telephone_calls_total", &["direction=\"out\"", "hung_up"], 1.0).await;
    server.clinic(Method::POST, &call, Value::Null).await;
    phone.take_call("603 Decline");
    server
        .shows(&mut phone, "colloque_telephone_calls_total", &["direction=\"out\"", "trunk=\"peer\"", "refused"], 1.0)
        .await;

    // Strangers, junk, a number without a common codec.
    let sip = server.dial_in().rsplit('@').next().unwrap().parse().unwrap();
    UdpSocket::bind("127.0.0.2:0").unwrap().send_to(b"OPTIONS sip:x SIP/2.0\r\n\r\n", sip).unwrap();
    phone.throw(b"no SIP at all", sip);
    server.shows(&mut phone, "colloque_telephone_sip_refused_total", &["reason=\"address\""], 1.0).await;
    server.shows(&mut phone, "colloque_telephone_sip_refused_total", &["reason=\"junk\""], 1.0).await;

    let metrics = server.metrics().await;
    for (figure, labels) in [
        ("colloque_telephone_post_dial_delay_seconds_count", &["trunk=\"peer\""][..]),
        ("colloque_telephone_ring_seconds_count", &["trunk=\"peer\""]),
        ("colloque_telephone_call_seconds_count", &["direction=\"out\""]),
        ("colloque_telephone_trunk_failures_total", &["trunk=\"peer\"", "cause=\"refused\""]),
        ("colloque_telephone_trunk_state", &["trunk=\"peer\"", "state=\"up\""]),
        ("colloque_telephone_line_events_total", &["event=\"no_sound\""]),
        ("colloque_telephone_keys_total", &["way=\"event\""]),
        ("colloque_telephone_media_total", &["figure=\"frames\""]),
        ("colloque_telephone_media_total", &["figure=\"packets_in\""]),
        ("colloque_telephone_media_total", &["figure=\"packets_out\""]),
        ("colloque_telephone_media_total", &["figure=\"cpu_nanoseconds\""]),
        ("colloque_telephone_minutes_today", &[]),
        ("colloque_telephone_budget_used_ratio", &[]),
        ("colloque_telephone_leg_jitter_seconds_count", &[]),
    ] {
        assert!(metrics.sum(figure, labels) > 0.0, "{figure} {labels:?}:\n{}", metrics.about(figure));
    }
    assert_eq!(metrics.sum("colloque_telephone_legs", &[]), 0.0, "who is gone is not shown");
    assert_eq!(metrics.sum("colloque_telephone_pins_total", &["outcome=\"right\""]), 1.0);
    let record = server.clinic(Method::GET, &format!("/v1/consultations/{consultation}/record"), Value::Null).await;
    assert_eq!(record["statement"]["incidents"]["telephone_lost"], 1, "{}", record["statement"]);
    assert_deploy_names(&metrics);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_tried_by_its_caller_and_by_the_operator() {
    let mut phone = Softphone::new();
    let server = Server::start(phone.port());

    // Somebody tries his own telephone: his voice comes back, and it is said that it was heard.
    assert_eq!(phone.dial(server.dial_in()), 200);
    phone.press("0000#");
    let mut echo = 0.0_f64;
    let until = Instant::now() + Duration::from_secs(60);
    while phone.is_up() && Instant::now() < until {
        phone.live(0.5);
        echo = echo.max(phone.hears(700.0, 0.5));
    }
    assert!(!phone.is_up(), "the test ends by itself");
    assert!(echo > 2_000.0, "the own voice came back: {echo}");
    server.shows(&mut phone, "colloque_telephone_calls_total", &["direction=\"in\"", "self_test"], 1.0).await;

    // The operator tries the line, by its command.
    let command = self_test_command(&server);
    phone.take_call("200 OK");
    let begun = Instant::now();
    while phone.is_up() && begun.elapsed() < Duration::from_secs(30) {
        phone.live(0.5);
    }
    let output = command.await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in
        ["trunk peer", "outcome answered", "received true", "sent true", "encrypted false", "loss_in 0.0", "mos_in 4."]
    {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(output.status.success() && !phone.is_up(), "{told}");
    assert!(phone.heard.iter().any(|sample| sample.unsigned_abs() > 2_000), "words were said");

    // Busy is an outcome; a number that may not be called is none.
    let called = server.test_call(json!({"trunk": "peer", "number": "+33612345679"}));
    phone.take_call("486 Busy Here");
    let (status, report) = called.await.unwrap();
    assert_eq!((status, &report["outcome"], &report["received"]), (200, &json!("busy"), &json!(false)));
    for (body, why) in [
        (json!({"trunk": "peer", "number": "0899123456"}), "premium and satellite numbers are not called"),
        (json!({"trunk": "other"}), "there is no trunk of this name"),
    ] {
        let (status, problem) = server.test_call(body).await.unwrap();
        assert_eq!((status, problem["detail"].as_str()), (409, Some(why)));
    }
    let events = server.clinic(Method::GET, "/v1/events?after=0", Value::Null).await;
    let kinds: Vec<&str> =
        events["events"].as_array().unwrap().iter().filter_map(|event| event["kind"].as_str()).collect();
    assert!(!kinds.iter().any(|kind| kind.starts_with("phone.")), "no consultation was touched: {kinds:?}");
}

fn self_test_command(server: &Server) -> tokio::task::JoinHandle<Output> {
    let admin = server.fact("admin_url").trim_start_matches("http://").to_owned();
    let config = server.directory.join("colloque.toml");
    tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_colloque"))
            .args(["telephone", "self-test", "--trunk", "peer", "--admin-addr", &admin, "--config"])
            .arg(config)
            .output()
            .unwrap()
    })
}

/// Alerts and board ask for nothing that no server says: every name is in this scrape, or in the source where no series of it began; every
/// label's value is in this scrape, for a series that begins with its first event is missed by alerts.
fn assert_deploy_names(metrics: &Metrics) {
    let mut known = metrics.names();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    literals(&root.join("src"), &mut known);
    let mut asked = 0;
    for file in [
        "deploy/alerts.yml",
        "deploy/grafana/colloque.json",
        "docs/operations.md",
        "deploy/README.md",
        "deploy/telephone.md",
    ] {
        let text = std::fs::read_to_string(root.join(file)).unwrap().replace("\\\"", "\"");
        let named = names_in(&text);
        assert!(file.ends_with(".md") || named.len() > 10, "{file}: {}", named.len());
        for name in named {
            let plain = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let is_known = known.contains(&name) || plain.is_some_and(|plain| known.contains(plain));
            assert!(is_known || name.ends_with('_'), "{file} names {name}, which no server says");
        }
        for (name, label, value) in selectors(&text) {
            let shown = match value.strip_suffix(".*") {
                Some(start) => format!("{label}=\"{start}"),
                None => format!("{label}=\"{value}\""),
            };
            assert!(metrics.has(&name, &shown), "{file} asks for {name}{{{shown}}}:\n{}", metrics.about(&name));
            asked += 1;
        }
    }
    assert!(asked > 25, "{asked}");
    assert_words_of_figures(metrics, &std::fs::read_to_string(root.join("docs/operations.md")).unwrap());
}

/// The words that the table of figures gives for labels whose words are few are those of the scrape, and all of them.
fn assert_words_of_figures(metrics: &Metrics, guide: &str) {
    for (figure, label) in [
        ("colloque_telephone_line_events_total", "event"),
        ("colloque_telephone_sip_refused_total", "reason"),
        ("colloque_telephone_keys_total", "way"),
        ("colloque_telephone_pins_total", "outcome"),
    ] {
        let row = guide.lines().find(|line| line.starts_with('|') && line.contains(&format!("{figure}{{"))).unwrap();
        let words = metrics.values(figure, label);
        assert!(words.len() >= 3, "{figure} {words:?}");
        for word in &words {
            assert!(row.contains(&format!("`{word}`")), "{figure}: docs/operations.md does not tell of {word}");
        }
    }
    let row = guide.lines().find(|line| line.contains("colloque_telephone_line_events_total{")).unwrap();
    let told = row.rsplit("| ").next().unwrap().matches('`').count() / 2;
    assert_eq!(told, metrics.values("colloque_telephone_line_events_total", "event").len(), "{row}");
}

/// What is asked for: `name{label="a",other=~"b|c"}` gives three; names of lines are the operator's own.
fn selectors(text: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("colloque_") {
        let rest = &text[at..];
        let Some((name, inside)) = rest.split_once('{') else { continue };
        let Some((inside, _)) = inside.split_once('}') else { continue };
        if !name.chars().all(|c| c.is_ascii_lowercase() || c == '_') || !inside.contains('"') {
            continue;
        }
        for matcher in inside.split("\",").filter(|matcher| !matcher.starts_with("trunk")) {
            let (label, values) = matcher.split_once('=').unwrap();
            let values = values.trim_matches(['~', '"']);
            let every = |value: &str| (name.to_owned(), label.trim_end_matches('!').to_owned(), value.to_owned());
            found.extend(values.split('|').map(every));
        }
    }
    found
}

fn names_in(text: &str) -> HashSet<String> {
    let starts = text.match_indices("colloque_").map(|(at, _)| &text[at..]);
    let name = |text: &str| text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
    starts.map(name).collect()
}

fn literals(folder: &Path, known: &mut HashSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            literals(&path, known);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            known.extend(names_in(&text));
        }
    }
}
