//! The store's promise under kill -9: whatever was acknowledged is there exactly once, everything else wholly or not at all.
//!
//! ```text
//!   this test --starts itself again as--> writer --"ack ID." after each commit--> this test
//!       \--kill -9 at a random moment: the writer, or PostgreSQL with all its processes--> look into the store
//! ```
//!
//! Not here: power failures, which take what the kernel has not written yet; every commit syncs for that. `COLLOQUE_KILLS`
//! says how many (SQLite; a tenth of it for PostgreSQL).

#[path = "../src/store/testing/postgres_server.rs"]
mod postgres_server;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use colloque::pii::Pii;
use colloque::store::{
    Admission, Change, Clinic, ClinicDemands, Committed, ConsultationRecord, Entry, Erasure, HeadKey, JournalEntry,
    LiveChange, OutgoingMessage, PassedGate, SeatRecord, SqlStore, Store, Transaction, audit,
};
use postgres_server::PostgresServer;
use rand::{Rng, RngCore};

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kills_on_sqlite() {
    let kills = kills();
    let mut done = 0;
    while done < kills {
        let scene = Scene::new(None);
        let mut known = Known::default();
        // Several kills hit the same file, the first of them while it is made.
        for kill in 0..KILLS_A_STORE.min(kills - done) {
            let mut writer = Writer::start(&scene);
            if kill % 2 == 1 {
                // However slow the machine is: it wrote. The others may die at their first step.
                writer.listen_until_written(&mut known);
            }
            writer.listen_for(rand::rng().random_range(5..250), &mut known);
            writer.kill(&mut known);
            scene.check(&mut known);
            done += 1;
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kills_on_postgresql() {
    let kills = (kills() / 10).max(10);
    let server = PostgresServer::start();
    let mut done = 0;
    while done < kills {
        let scene = Scene::new(Some(server.fresh_database()));
        let mut known = Known::default();
        for kill in 0..KILLS_A_STORE.min(kills - done) {
            let mut writer = Writer::start(&scene);
            writer.listen_until_written(&mut known);
            writer.listen_for(rand::rng().random_range(5..250), &mut known);
            if kill % 2 == 0 {
                // The server, under a writer that tries again until it is back, and is killed then.
                server.signal("KILL");
                writer.listen_until_written(&mut known);
                writer.listen_for(100, &mut known);
            }
            writer.kill(&mut known);
            scene.check(&mut known);
            done += 1;
        }
        server.check(scene.url.as_ref().expect("given"));
    }
}

/// A full disk, as far as a process can be told that one is: files may not grow any more. Whoever asks whether the store takes
/// writes must be told that it does not, though it still locks and commits.
#[test]
fn a_full_disk_is_told_and_takes_nothing_that_was_acknowledged() {
    let scene = Scene::new(None);
    let mut known = Known::default();
    let mut writer = Writer::start(&scene);
    writer.listen_until_written(&mut known);
    writer.kill(&mut known);
    let mut writer = Writer::start_on_full_disk(&scene);
    writer.listen_until_refused(&mut known);
    writer.kill(&mut known);
    scene.check(&mut known);
    let mut writer = Writer::start(&scene);
    writer.listen_until_written(&mut known);
    writer.kill(&mut known);
    scene.check(&mut known);
}

/// Not a test: the process that is killed. Told by its environment.
#[test]
#[ignore = "the process that other tests start and kill"]
fn writer_process() {
    let Ok(dir) = std::env::var(DIR_VARIABLE) else { return };
    let url = std::env::var(URL_VARIABLE).ok();
    let run = std::env::var(RUN_VARIABLE).expect("a run's name");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    runtime.block_on(write_for_ever(PathBuf::from(dir), url, run));
}

/// Where a store is.
struct Scene {
    dir: PathBuf,
    url: Option<String>,
}

/// What the writers said so far.
#[derive(Default)]
struct Known {
    /// Identifiers of transactions.
    acknowledged: BTreeSet<String>,
    /// Consultations whose erasure was acknowledged.
    erased: BTreeSet<String>,
    /// The store takes no writes.
    refused: bool,
}

/// A writer's process, heard through its stderr.
struct Writer {
    process: Child,
    lines: Receiver<String>,
}

impl Scene {
    fn new(url: Option<String>) -> Self {
        let dir = std::env::temp_dir().join(format!("colloque-kill-{:x}", rand::random::<u64>()));
        std::fs::create_dir(&dir).expect("a temporary directory");
        Self { dir, url }
    }

    /// Opens the store as the next start would, and looks at everything.
    fn check(&self, known: &mut Known) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("threads");
        runtime.block_on(async {
            let store = open(&self.dir, self.url.as_ref()).await;
            let entries = chain(&store, &self.dir).await;
            let transactions = by_transaction(&entries);
            for id in &known.acknowledged {
                assert!(transactions.contains_key(id), "{id} was acknowledged and is lost");
            }
            check_consultations(&store, &transactions, known).await;
            // Found there once, it is promised: the next kill must not take it.
            known.acknowledged.extend(transactions.into_keys());
            store.close().await;
            if self.url.is_none() {
                check_file(&self.dir).await;
            }
        });
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Writer {
    fn start(scene: &Scene) -> Self {
        Self::run(Command::new(std::env::current_exe().expect("this test")), scene)
    }

    /// No file of its may grow past some hundred kilobytes.
    fn start_on_full_disk(scene: &Scene) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f 600; exec \"$0\" \"$@\""]);
        command.arg(std::env::current_exe().expect("this test"));
        Self::run(command, scene)
    }

    fn run(mut command: Command, scene: &Scene) -> Self {
        command.args(["--ignored", "--exact", "writer_process", "--nocapture"]);
        command.env(DIR_VARIABLE, &scene.dir).env(RUN_VARIABLE, format!("{:08x}", rand::random::<u32>()));
        if let Some(url) = &scene.url {
            command.env(URL_VARIABLE, url);
        }
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a process");
        let heard = BufReader::new(process.stderr.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in heard.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { process, lines }
    }

    fn listen_for(&self, milliseconds: u64, known: &mut Known) {
        let end = Instant::now() + Duration::from_millis(milliseconds);
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => known.hear(&line),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => panic!("the writer ended by itself"),
            }
        }
    }

    /// Until something new was acknowledged.
    fn listen_until_written(&self, known: &mut Known) {
        let before = known.acknowledged.len();
        while known.acknowledged.len() == before {
            known.hear(&self.lines.recv_timeout(HANGS).expect("the writer writes"));
        }
    }

    /// Until the store told a writer whose transaction failed that it takes no writes.
    fn listen_until_refused(&self, known: &mut Known) {
        while !std::mem::take(&mut known.refused) {
            known.hear(&self.lines.recv_timeout(HANGS).expect("the writer speaks"));
        }
    }

    fn kill(&mut self, known: &mut Known) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ran");
        // What it said before its death counts.
        while let Ok(line) = self.lines.recv_timeout(HANGS) {
            known.hear(&line);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Known {
    fn hear(&mut self, line: &str) {
        // A kill may cut a line off.
        let whole = line.strip_suffix('.').unwrap_or_default();
        if let Some(id) = whole.strip_prefix("ack ") {
            assert!(self.acknowledged.insert(id.to_owned()), "{id} twice");
        } else if let Some(id) = whole.strip_prefix("erased ") {
            self.erased.insert(id.to_owned());
        } else if whole == "no writes" {
            self.refused = true;
        } else if line.contains("panicked") || line.starts_with("fault ") {
            panic!("the writer: {line}");
        }
    }
}

/// Every entry in order; panics where the chain or its head does not hold.
async fn chain(store: &SqlStore, dir: &Path) -> Vec<JournalEntry> {
    let (mut all, mut hash) = (Vec::<JournalEntry>::new(), audit::GENESIS);
    loop {
        let page = store.entries_after(None, all.len() as i64, 1_000).await.expect("a page of the journal");
        if page.is_empty() {
            break;
        }
        for entry in page {
            hash = audit::chain(&hash, all.len() as i64 + 1, &entry.entry);
            assert_eq!((entry.cursor, entry.hash), (all.len() as i64 + 1, hash), "the chain is broken");
            all.push(entry);
        }
    }
    let head = store.chain_marks().await.expect("the chain's ends").1;
    assert_eq!(head.as_ref().map_or((0, audit::GENESIS), |head| (head.cursor, head.hash)), (all.len() as i64, hash));
    if let Some(head) = head {
        let key = HeadKey::open(dir).expect("the key").public_key();
        let bytes = audit::mark_bytes(audit::Place::Head, head.cursor, &head.hash);
        assert!(HeadKey::verifies(&key, &bytes, &head.signature), "the head is not signed");
    }
    all
}

/// Entries are called TRANSACTION/NUMBER/OF: all of a transaction, each once, or none.
fn by_transaction(entries: &[JournalEntry]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::<String, (Vec<usize>, usize, String)>::new();
    for JournalEntry { entry, .. } in entries {
        let Some((id, place)) = entry.id.split_once('/') else { continue };
        let (number, of) = place.split_once('/').expect("NUMBER/OF");
        let kept = found.entry(id.to_owned()).or_insert_with(|| (Vec::new(), of.parse().unwrap(), String::new()));
        kept.0.push(number.parse().unwrap());
        kept.2 = entry.consultation.clone().unwrap_or_default();
    }
    let whole = |(id, (numbers, of, consultation)): (String, (Vec<usize>, usize, String))| {
        assert_eq!(numbers, (0..of).collect::<Vec<_>>(), "{id} is there in part, twice or in disorder");
        (id, consultation)
    };
    found.into_iter().map(whole).collect()
}

/// A consultation is there with all its seats exactly when its booking is told, and not any more when it was erased.
async fn check_consultations(store: &SqlStore, transactions: &BTreeMap<String, String>, known: &Known) {
    for (id, consultation) in transactions.iter().filter(|(id, _)| id.starts_with("book-")) {
        let found = store.consultation(consultation).await.expect("an answer");
        match found {
            Some((_, seats)) => {
                assert!(!known.erased.contains(consultation), "{consultation} was erased and is back");
                assert_eq!(seats.len(), SEATS, "{id}");
                let ended = transactions.contains_key(&id.replace("book-", "end-"));
                let admitted = transactions.contains_key(&id.replace("book-", "admit-"));
                let record = store.seat(&seats[0].id).await.expect("an answer").expect("the seat");
                assert_eq!(record.0.ended_at.is_some(), ended, "{id}");
                assert_eq!(seats[0].admission == Admission::Admitted, admitted, "{id}");
                assert_eq!(!seats[1].gates.is_empty(), admitted, "{id}");
            }
            // The writer erases only what has ended.
            None => assert!(transactions.contains_key(&id.replace("book-", "end-")), "{id} is lost"),
        }
    }
}

async fn check_file(dir: &Path) {
    let file = format!("sqlite://{}", dir.join("colloque.sqlite").display());
    let mut connection = <sqlx::SqliteConnection as sqlx::Connection>::connect(&file).await.expect("the file");
    let said: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection).await.expect("a check");
    assert_eq!(said, "ok");
    let loose = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut connection).await.expect("a check");
    assert!(loose.is_empty());
}

async fn open(dir: &Path, url: Option<&String>) -> SqlStore {
    let url = url.map(|url| Pii(url.clone()));
    let begun = Instant::now();
    loop {
        let key = Arc::new(HeadKey::open(dir).expect("the key"));
        match SqlStore::open(dir, url.as_ref(), key).await {
            Ok(store) => return store,
            // PostgreSQL is on its way up.
            Err(_) if url.is_some() && begun.elapsed() < HANGS => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("the store does not open: {error}"),
        }
    }
}

/// Several lives at once, as on a server.
async fn write_for_ever(dir: PathBuf, url: Option<String>, run: String) {
    let store = Arc::new(open(&dir, url.as_ref()).await);
    let clinic = Clinic { id: CLINIC.into(), name: Pii("Clinic".into()), demands: ClinicDemands::default() };
    if store.clinic(CLINIC).await.ok().flatten().is_none() {
        let changes = vec![Change::AddClinic(clinic)];
        store.commit(Transaction { changes, entries: vec![] }).await.ok();
    }
    let mut lives = tokio::task::JoinSet::new();
    for life in 0..LIVES {
        let (store, run) = (Arc::clone(&store), run.clone());
        lives.spawn(async move {
            for number in 0.. {
                live_once(&store, &format!("{run}-{life}-{number}")).await;
            }
        });
    }
    while let Some(ended) = lives.join_next().await {
        ended.expect("lives do not end");
    }
}

/// A consultation from its booking to its erasure.
async fn live_once(store: &SqlStore, name: &str) {
    let consultation = format!("c-{name}");
    let seat = |number: usize| format!("s-{name}-{number}");
    let booked = Change::CreateConsultation(
        Box::new(consultation_record(&consultation)),
        (0..SEATS).map(|number| seat_record(&seat(number), &consultation)).collect(),
    );
    let mail = Change::AddMessage(message(&format!("m-{name}"), &seat(0), &consultation));
    acknowledged(store, &format!("book-{name}"), &consultation, vec![booked, mail], 1 + SEATS).await;
    let passed = PassedGate { gate: "consent".into(), answer: "1".into(), at: 1 };
    let changes = vec![
        Change::Live(LiveChange::SetAdmission { seat: seat(0), admission: Admission::Admitted }),
        Change::Live(LiveChange::PassGate { seat: seat(1), passed }),
    ];
    acknowledged(store, &format!("admit-{name}"), &consultation, changes, 2).await;
    let changes = vec![
        Change::Live(LiveChange::End { consultation: consultation.clone(), at: 3 }),
        Change::RemoveMessage { id: format!("m-{name}") },
    ];
    acknowledged(store, &format!("end-{name}"), &consultation, changes, 1).await;
    if rand::rng().next_u32().is_multiple_of(8) {
        let erasure = Erasure::Consultation { clinic: CLINIC.into(), consultation: consultation.clone() };
        let mut told = entry("", "");
        told.id = format!("er-{name}");
        if store.erase(erasure, told).await.is_ok() {
            say(&format!("erased {consultation}."));
        }
    }
}

/// Commits, again when the answer was lost, and says so.
async fn acknowledged(store: &SqlStore, id: &str, consultation: &str, changes: Vec<Change>, entries: usize) {
    let told = |number| Entry { id: format!("{id}/{number}/{entries}"), ..entry("seat.waiting", consultation) };
    loop {
        let transaction = Transaction { changes: changes.clone(), entries: (0..entries).map(told).collect() };
        match store.commit(transaction).await {
            Ok(Committed::Done) => break,
            Ok(Committed::NotApplicable) => eprintln!("fault {id} is not applicable"),
            Err(_) => {
                if store.commit(Transaction::default()).await.is_err() {
                    say("no writes.");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    say(&format!("ack {id}."));
}

/// In one piece.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).ok();
}

fn entry(kind: &str, consultation: &str) -> Entry {
    Entry {
        id: String::new(),
        at: 1,
        clinic: Some(CLINIC.into()),
        consultation: (!consultation.is_empty()).then(|| consultation.to_owned()),
        seat: None,
        kind: kind.into(),
        data: "{}".into(),
    }
}

fn consultation_record(id: &str) -> ConsultationRecord {
    ConsultationRecord {
        id: id.into(),
        clinic: CLINIC.into(),
        act: "teleconsultation".into(),
        language: "fr".into(),
        priority: None,
        starts_at: None,
        created_at: 1,
        booking: 0,
        ended_at: None,
        gates: None,
        patient: Some(Pii("p".into())),
        postal_prefix: None,
        queue: None,
        login: false,
        locked: false,
        e2ee: "off".into(),
    }
}

fn seat_record(id: &str, consultation: &str) -> SeatRecord {
    SeatRecord {
        id: id.into(),
        consultation: consultation.into(),
        role: "patient".into(),
        display_name: Some(Pii("x".repeat(rand::rng().random_range(0..900)))),
        phone: None,
        email: None,
        card: None,
        pin: Pii("1".into()),
        phone_consent: false,
        admission: Admission::Waiting,
        vouched: false,
        token_epoch: 0,
        device: None,
        other_device: false,
        gates: Vec::new(),
        login: None,
    }
}

fn message(id: &str, seat: &str, consultation: &str) -> OutgoingMessage {
    OutgoingMessage {
        id: id.into(),
        seat: seat.into(),
        consultation: consultation.into(),
        clinic: CLINIC.into(),
        channel: "email".into(),
        to: Pii("x@example.org".into()),
        body: Pii("{}".into()),
        failures: 0,
        retry_at: 0,
    }
}

fn kills() -> usize {
    std::env::var("COLLOQUE_KILLS").ok().map_or(50, |kills| kills.parse().expect("COLLOQUE_KILLS is a number"))
}

const CLINIC: &str = "k1";
const SEATS: usize = 3;
/// Consultations at the same time: commits are shared by several.
const LIVES: usize = 6;
const KILLS_A_STORE: usize = 10;
const DIR_VARIABLE: &str = "COLLOQUE_KILL_DIR";
const URL_VARIABLE: &str = "COLLOQUE_KILL_URL";
const RUN_VARIABLE: &str = "COLLOQUE_KILL_RUN";
/// Not a measure of speed: without a word for so long something hangs.
const HANGS: Duration = Duration::from_secs(60);
