//! What goes on while the store is down, and what is true afterwards: with a file that vanishes, a file that somebody locks, and
//! a PostgreSQL that refuses.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use colloque_loadtest::api::{Clinic, Consultation};
use colloque_loadtest::signalling::Signalling;
use colloque_signaling::message::{ClientMessage, GateAnswer, MediaSource, Role, ServerMessage};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, Executor, SqliteConnection};

use super::caller::{Caller, PAGE, Server, until};
use super::goes_on;
use super::postgres_server::PostgresServer;

/// A way in which a store can be down.
enum Outage {
    /// Its disk was unmounted.
    Vanished(PathBuf),
    /// Another process writes and does not finish.
    Locked(PathBuf, Option<SqliteConnection>),
    /// The database server takes nobody.
    Refused(PostgresServer, String),
}

impl Outage {
    async fn begin(&mut self) {
        match self {
            Outage::Vanished(file) => std::fs::rename(&*file, away(file)).unwrap(),
            Outage::Locked(file, lock) => {
                let options = SqliteConnectOptions::new().filename(&*file).busy_timeout(Duration::from_secs(10));
                let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                connection.execute("BEGIN EXCLUSIVE").await.unwrap();
                *lock = Some(connection);
            }
            Outage::Refused(server, database) => {
                server.run_sql(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false"));
                server.run_sql(&format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
                ));
            }
        }
    }

    async fn end(&mut self) {
        match self {
            Outage::Vanished(file) => std::fs::rename(away(file), &*file).unwrap(),
            Outage::Locked(_, lock) => lock.take().expect("it is locked").close().await.unwrap(),
            Outage::Refused(server, database) => {
                server.run_sql(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"));
            }
        }
    }
}

fn away(file: &Path) -> PathBuf {
    file.with_extension("away")
}

#[tokio::test]
async fn calls_go_on_while_the_stores_file_is_gone() {
    let server = Server::start();
    let outage = Outage::Vanished(server.data_dir().join("colloque.sqlite"));
    calls_go_on_and_nothing_is_lost(server, &[], outage).await;
}

#[tokio::test]
async fn calls_go_on_while_the_stores_file_is_locked() {
    let server = Server::start();
    let outage = Outage::Locked(server.data_dir().join("colloque.sqlite"), None);
    calls_go_on_and_nothing_is_lost(server, &[], outage).await;
}

#[tokio::test]
async fn calls_go_on_while_postgresql_refuses() {
    let postgres = PostgresServer::start();
    let url = postgres.fresh_database();
    let database = url.split_once("localhost/").and_then(|(_, rest)| rest.split('?').next()).unwrap().to_owned();
    let flags = ["--store-url", url.as_str()];
    let dir = std::env::temp_dir().join(format!("colloque-outage-{}-{database}", std::process::id()));
    let server = Server::start_in(dir, &flags);
    calls_go_on_and_nothing_is_lost(server, &flags, Outage::Refused(postgres, database)).await;
}

const SEATS: [(Role, bool); 5] = [
    (Role::Practitioner, true),
    (Role::Guest, true),
    (Role::Patient, false),
    (Role::Companion, false),
    (Role::Companion, false),
];

async fn calls_go_on_and_nothing_is_lost(server: Server, flags: &[&str], mut outage: Outage) {
    let consultation = book(&server).await;
    let elsewhere = server.clinic.book(&[Role::Practitioner]).await.unwrap();
    let seat = |index: usize| consultation.seats[index].id.clone();
    let mut host = Caller::join(&server, &consultation.seats[0], PAGE).await;
    let mut guest = Caller::join(&server, &consultation.seats[1], PAGE).await;
    until("both see", [&mut host, &mut guest], |callers| callers.iter().all(|caller| caller.pictures > 20)).await;
    assert_eq!(status(&server, "/ready").await, 200);

    outage.begin().await;
    goes_on(&mut host, &mut guest).await;
    // Links of a consultation in memory join, gates are passed, admitted people come back, hosts admit, mute, lock and remove.
    let (mut patient, admitted) = open(&server, &consultation, 2).await;
    assert!(!admitted);
    let (mut companion, _) = open(&server, &consultation, 3).await;
    say(&mut host, ClientMessage::Admit { seat: seat(2), arrival: None }).await;
    let is_admitted = |message: &ServerMessage| matches!(message, ServerMessage::Admitted).then_some(());
    let answer = GateAnswer::Consent { text: "1".to_owned(), accepted: true };
    patient.send(&ClientMessage::Gate { answer }).await.unwrap();
    patient.wait(is_admitted).await.unwrap();
    say(&mut host, ClientMessage::Mute { seat: seat(1), source: MediaSource::Camera, muted: true }).await;
    until("muted", [&mut host, &mut guest], |[_, guest]| {
        guest.messages.iter().any(|message| matches!(message, ServerMessage::Muted { muted: true, .. }))
    })
    .await;
    for locked in [true, false] {
        say(&mut host, ClientMessage::Lock { locked }).await;
        until("locked, then unlocked", [&mut host, &mut guest], |[_, guest]| {
            guest.messages.contains(&ServerMessage::Locked { locked })
        })
        .await;
    }
    say(&mut host, ClientMessage::Remove { seat: seat(3) }).await;
    while companion.wait(|_| None::<()>).await.is_ok() {}
    let refused = server.clinic.join(&consultation.seats[3].token).await.unwrap_err().to_string();
    assert!(refused.contains("403") && refused.contains("seat-removed"), "{refused}");
    drop(patient);
    let (_patient, admitted) = open(&server, &consultation, 2).await;
    assert!(admitted, "whoever was admitted comes back, though the store cannot know");
    // What needs the store says so.
    assert_eq!(status(&server, "/ready").await, 503);
    let refused = server.clinic.book(&[Role::Practitioner]).await.unwrap_err().to_string();
    assert!(refused.contains("503"), "{refused}");
    let refused = server.clinic.join(&elsewhere.seats[0].token).await.unwrap_err().to_string();
    assert!(refused.contains("503"), "{refused}");
    assert!(metric(&server, "colloque_journal_spooled").await > 0);

    // Killed in the middle of it: what was told stays told.
    let (api_key, before) = (server.api_key.clone(), consultation);
    drop((host, guest));
    let dir = server.kill();
    outage.end().await;
    let server = Server::start_in(dir, flags);
    let clinic = Clinic::new(&server.base_url, &api_key, false).unwrap();
    let refused = clinic.join(&before.seats[3].token).await.unwrap_err().to_string();
    assert!(refused.contains("403"), "{refused}");
    let (patient, admitted) = open(&server, &before, 2).await;
    assert!(admitted, "admitted while the store was down");

    // A second outage, in which the host ends it and which the server outlives.
    let mut host = Signalling::open(&clinic.join(&before.seats[0].token).await.unwrap().ws_url).await.unwrap();
    assert!(host.join(&clinic.join(&before.seats[0].token).await.unwrap()).await.unwrap());
    outage.begin().await;
    host.send(&ClientMessage::End).await.unwrap();
    while host.wait(|_| None::<()>).await.is_ok() {}
    drop(patient);
    let refused = clinic.join(&before.seats[2].token).await.unwrap_err().to_string();
    assert!(refused.contains("410"), "{refused}");
    outage.end().await;
    back(&server).await;
    assert_eq!(metric(&server, "colloque_journal_lost_total").await, 0);
    check_journal(&server, flags, &before);
}

/// Every event is there once and in order, and the chain is whole.
fn check_journal(server: &Server, flags: &[&str], consultation: &Consultation) {
    let verified = colloque(server, &["audit", "verify"], flags);
    assert!(verified.contains("chain whole"), "{verified}");
    let exported = colloque(server, &["audit", "export"], flags);
    let entries: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut ids: Vec<&str> = entries.iter().filter_map(|entry| entry["id"].as_str()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "no entry twice");
    let told = |seat: Option<usize>, kind: &str| -> Vec<i64> {
        let seat = seat.map(|index| consultation.seats[index].id.as_str());
        let of = |entry: &&Value| {
            entry["consultation"] == consultation.id.as_str() && entry["kind"] == kind && entry["seat"].as_str() == seat
        };
        entries.iter().filter(of).map(|entry| entry["cursor"].as_i64().unwrap()).collect()
    };
    let happened = [
        (Some(2), "seat.admitted"),
        (Some(1), "seat.muted"),
        (None, "consultation.locked"),
        (None, "consultation.unlocked"),
        (Some(3), "seat.removed"),
        (None, "consultation.ended"),
    ];
    let told_times = |seat, kind| told(seat, kind).len();
    let told: Vec<i64> = happened
        .into_iter()
        .map(|(seat, kind)| {
            let told = told(seat, kind);
            assert_eq!(told.len(), 1, "{kind} is told once");
            told[0]
        })
        .collect();
    // Two sockets told of the admission and of the gate: either may have been first.
    assert_eq!(told_times(Some(2), "gate.passed"), 1);
    assert!(told.is_sorted(), "in the order in which it happened: {told:?}");
    let times: Vec<i64> = entries
        .iter()
        .filter(|entry| entry["consultation"] == consultation.id.as_str())
        .map(|entry| entry["at"].as_i64().unwrap())
        .collect();
    assert!(times.is_sorted_by(|one, next| *one <= next + CLOCK_TURN_MS), "{times:?}");
}

/// The patient is asked for consent, and nobody anything else.
async fn book(server: &Server) -> Consultation {
    let seats = SEATS.map(|(role, admitted)| json!({"role": role, "admitted": admitted}));
    let consent = json!({"asked": ["patient"], "text": "1"});
    let gates = json!({"card": [], "consent": consent, "third_person": [], "preference": []});
    let body = json!({"act": "teleconsultation", "language": "en", "seats": seats, "gates": gates});
    let request = reqwest::Client::new().post(format!("{}/v1/consultations", server.base_url));
    request.bearer_auth(&server.api_key).json(&body).send().await.unwrap().json().await.unwrap()
}

async fn open(server: &Server, consultation: &Consultation, seat: usize) -> (Signalling, bool) {
    let session = server.clinic.join(&consultation.seats[seat].token).await.unwrap();
    let mut signalling = Signalling::open(&session.ws_url).await.unwrap();
    let admitted = signalling.join(&session).await.unwrap();
    (signalling, admitted)
}

async fn say(caller: &mut Caller, message: ClientMessage) {
    caller.signalling.as_mut().unwrap().send(&message).await.unwrap();
}

async fn status(server: &Server, path: &str) -> u16 {
    reqwest::get(format!("{}{path}", server.base_url)).await.unwrap().status().as_u16()
}

async fn metric(server: &Server, name: &str) -> i64 {
    let text = reqwest::get(format!("{}/metrics", server.admin_url)).await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
    line.parse().unwrap()
}

/// Waits until the server takes new rooms again, and nothing waits for the store.
async fn back(server: &Server) {
    let deadline = Instant::now() + BACK_MAX;
    // A busy machine's store may be slow once more, and have something spooled again: that passes too.
    while status(server, "/ready").await != 200 || metric(server, "colloque_journal_spooled").await > 0 {
        assert!(Instant::now() < deadline, "not ready again in {BACK_MAX:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Runs a command on the server's data directory; gives what it prints.
fn colloque(server: &Server, command: &[&str], flags: &[&str]) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_colloque"))
        .args(command)
        .arg("--data-dir")
        .arg(server.data_dir())
        .args(flags)
        .output()
        .unwrap();
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    said
}

/// Far more than the longest pause between two attempts.
const BACK_MAX: Duration = Duration::from_secs(60);
/// Entries of two threads may be made in one order and handed over in the other.
const CLOCK_TURN_MS: i64 = 50;
