//! HTTPS and WSS by the server itself with a certificate from files, and what is said of files that do not serve.
//!
//! The program runs in a process of its own; the client trusts the authority alone and never the server's certificate.
//! Not here: `demo --tls` in browsers (`tests/e2e/tests/tls.mjs`).

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use colloque_signaling::message::{ClientMessage, ServerEnvelope, ServerMessage, VERSION};
use futures_util::{SinkExt, StreamExt};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;

/// A directory of one test with the files an administrator would have.
struct Files {
    directory: PathBuf,
    authority: CertificateDer<'static>,
}

impl Files {
    /// `cert.pem` holds the server's certificate, then the intermediate one that signed it, as authorities deliver them.
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("colloque-https-{}-{count}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let authority = CertifiedIssuer::self_signed(issuing("Authority"), KeyPair::generate().unwrap()).unwrap();
        let intermediate =
            CertifiedIssuer::signed_by(issuing("Intermediate"), KeyPair::generate().unwrap(), &authority).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let cert = CertificateParams::new(names).unwrap().signed_by(&key, &intermediate).unwrap();
        let files = Self { directory, authority: authority.der().clone() };
        fs::write(files.path("cert.pem"), cert.pem() + &intermediate.pem()).unwrap();
        fs::write(files.path("key.pem"), key.serialize_pem()).unwrap();
        fs::write(files.path("other-key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        fs::write(files.path("garbage.pem"), "no PEM at all\n").unwrap();
        let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        fs::write(files.path("hollow.pem"), hollow).unwrap();
        fs::write(files.path("damaged.pem"), "-----BEGIN PRIVATE KEY-----\nc2VjcmV0!\n").unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The program with every address on free ports of loopback.
    fn command(&self, verb: &str, tls: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_colloque"));
        command.env("NO_COLOR", "1").arg(verb).arg("--data-dir").arg(self.path("data"));
        command.args(["--http-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0", "--workers", "1"]);
        command.args(["--media-addr", "127.0.0.1", "--media-port", "0"]);
        for (flag, name) in tls {
            command.arg(flag).arg(self.path(name));
        }
        command
    }

    fn client(&self) -> ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.authority.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        builder.with_root_certificates(roots).with_no_client_auth()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.directory).ok();
    }
}

fn issuing(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// A running `colloque serve`.
struct Server {
    child: Child,
    base: String,
}

impl Server {
    fn start(files: &Files) -> Self {
        let mut command = files.command("serve", &[("--tls-cert", "cert.pem"), ("--tls-key", "key.pem")]);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let line =
            log.by_ref().map(Result::unwrap).find(|line| line.contains("serving")).expect("it says that it serves");
        let url = line.split("url=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("it says where");
        let base = url.to_owned();
        // A full pipe would stop the server.
        std::thread::spawn(move || log.for_each(drop));
        Self { child, base }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn api_key(files: &Files) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_colloque"));
    let output = command.args(["clinic", "add", "Clinic", "--data-dir"]).arg(files.path("data")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn post(http: &reqwest::Client, url: String, key: &str, body: Value) -> Value {
    let response = http.post(url).bearer_auth(key).json(&body).send().await.unwrap();
    assert!(response.status().is_success(), "{}", response.status());
    response.json().await.unwrap()
}

#[tokio::test]
async fn pages_api_and_websocket_are_served_with_the_certificate_of_the_files() {
    let files = Files::new();
    let key = api_key(&files);
    let server = Server::start(&files);
    assert!(server.base.starts_with("https://127.0.0.1:"), "{}", server.base);
    let http = reqwest::Client::builder().no_proxy().use_preconfigured_tls(files.client()).build().unwrap();
    let live = http.get(format!("{}/live", server.base)).send().await.unwrap();
    assert_eq!(live.status(), 200);
    let page = http.get(format!("{}/", server.base)).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("<html"));

    let seats = json!([{"role": "practitioner", "admitted": true}, {"role": "patient", "admitted": true}]);
    let wanted = json!({"act": "teleconsultation", "language": "fr", "seats": seats});
    let booked = post(&http, format!("{}/v1/consultations", server.base), &key, wanted).await;
    let join = json!({"token": booked["seats"][0]["token"], "device": "test"});
    let session = post(&http, format!("{}/v1/join", server.base), "", join).await;
    let ws_url = session["ws_url"].as_str().unwrap();
    assert!(ws_url.starts_with("wss://127.0.0.1:"), "{ws_url}");

    let authority = ws_url.trim_start_matches("wss://").split('/').next().unwrap();
    let stream = TcpStream::connect(authority).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(Arc::new(files.client())).connect(name, stream).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(ws_url, stream).await.unwrap();
    let secret = session["session"].as_str().unwrap().to_owned();
    let join = ClientMessage::Join { version: VERSION, session: secret, resume: None };
    socket.send(Message::text(serde_json::to_string(&join).unwrap())).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.unwrap().unwrap().unwrap();
    let answer: ServerEnvelope = serde_json::from_str(answer.to_text().unwrap()).unwrap();
    assert!(matches!(answer.message, ServerMessage::Welcome { .. }), "{:?}", answer.message);
}

#[tokio::test]
async fn plain_http_gets_no_page_from_a_server_of_https() {
    let files = Files::new();
    let server = Server::start(&files);
    let http = reqwest::Client::builder().no_proxy().use_preconfigured_tls(files.client()).build().unwrap();
    assert!(http.get(server.base.replace("https", "http")).send().await.is_err());
    let stranger = Files::new();
    let http = reqwest::Client::builder().no_proxy().use_preconfigured_tls(stranger.client()).build().unwrap();
    assert!(http.get(&server.base).send().await.is_err(), "its authority is not trusted");
}

/// The program's only line of error, of `serve` on stderr and of `check` among its list.
fn complaints(files: &Files, tls: &[(&str, &str)]) -> [String; 2] {
    ["serve", "check"].map(|verb| {
        let Output { status, stdout, stderr } = files.command(verb, tls).output().unwrap();
        assert_eq!(status.code(), Some(1), "{verb} {tls:?}");
        let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
        let failed: Vec<&str> = stdout.lines().filter(|line| line.starts_with("failed")).collect();
        let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{verb} {tls:?}: {stderr}");
        let lines = if verb == "check" && !failed.is_empty() { failed } else { errors };
        assert_eq!(lines.len(), 1, "{verb} {tls:?}: {stdout}");
        lines[0].to_owned()
    })
}

#[test]
fn files_that_do_not_serve_are_named_in_one_line_and_nothing_starts() {
    let files = Files::new();
    let cases = [
        ("absent.pem", "key.pem", "absent.pem", "No such file"),
        ("cert.pem", "absent.pem", "absent.pem", "No such file"),
        ("garbage.pem", "key.pem", "garbage.pem", "no certificate in PEM form"),
        ("cert.pem", "garbage.pem", "garbage.pem", "no private key in PEM form"),
        ("key.pem", "cert.pem", "key.pem", "no certificate in PEM form"),
        ("hollow.pem", "key.pem", "hollow.pem", "not a valid X.509 certificate"),
        ("cert.pem", "damaged.pem", "damaged.pem", "damaged PEM"),
        ("cert.pem", "other-key.pem", "cert.pem", "does not belong to the key in"),
    ];
    for (cert, key, named, said) in cases {
        for complaint in complaints(&files, &[("--tls-cert", cert), ("--tls-key", key)]) {
            assert!(complaint.contains(named) && complaint.contains(said), "{cert}, {key}: {complaint}");
            assert!(!complaint.contains("c2VjcmV0"), "shows the key: {complaint}");
        }
    }
}

#[test]
fn half_a_pair_of_files_is_refused() {
    let files = Files::new();
    for half in [("--tls-cert", "cert.pem"), ("--tls-key", "key.pem")] {
        for complaint in complaints(&files, &[half]) {
            assert!(complaint.contains("tls_cert and tls_key belong together"), "{complaint}");
        }
    }
}
