//! The journal in an administrator's hands: checked, exported, backed up, erased from, while the server runs and in copies that
//! somebody tampered with.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use colloque_loadtest::signalling::Signalling;
use colloque_signaling::message::Role;
use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};

use super::caller::Server;

/// A directory that is removed when the test ends.
struct TempDir(PathBuf);

impl TempDir {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("colloque-audit-{}-{name}", std::process::id())))
    }

    /// What lies in `from`, in a directory of its own.
    fn copy_of(from: &Path, name: &str) -> Self {
        let copy = Self::new(name);
        std::fs::create_dir_all(&copy.0).unwrap();
        for file in std::fs::read_dir(from).unwrap().flatten() {
            std::fs::copy(file.path(), copy.0.join(file.file_name())).unwrap();
        }
        copy
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn colloque(command: &[&str], data_dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_colloque")).args(command).arg("--data-dir").arg(data_dir).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn exported(data_dir: &Path) -> Vec<Value> {
    let lines = said(&colloque(&["audit", "export"], data_dir));
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn tamper(data_dir: &Path, sql: &str) {
    let options = SqliteConnectOptions::new().filename(data_dir.join("colloque.sqlite"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
    connection.close().await.unwrap();
}

/// A server that has something to tell: some bookings and a seat that joined.
async fn with_history() -> Server {
    let server = Server::start();
    for _ in 0..3 {
        let consultation = server.clinic.book(&[Role::Practitioner, Role::Patient]).await.unwrap();
        let session = server.clinic.join(&consultation.seats[0].token).await.unwrap();
        Signalling::open(&session.ws_url).await.unwrap().join(&session).await.unwrap();
    }
    server
}

#[tokio::test]
async fn each_way_to_falsify_the_journal_is_named_with_its_first_entry() {
    let dir = with_history().await.kill();
    let whole = said(&colloque(&["audit", "verify"], &dir));
    let count: i64 = whole.split(' ').next().unwrap().parse().unwrap();
    let head = whole.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(count > 9 && whole.contains("entries, chain whole, head "), "{whole}");

    let swap = "UPDATE journal SET cursor = -5 WHERE cursor = 5; UPDATE journal SET cursor = 5 WHERE cursor = 6; \
                UPDATE journal SET cursor = 6 WHERE cursor = -5";
    let cut = format!("DELETE FROM journal WHERE cursor > {}", count - 2);
    let tail = format!("entry {} is missing: the chain is cut off, its signed head is entry {count}", count - 1);
    let refit = format!(
        "DELETE FROM journal WHERE cursor > {last}; UPDATE chain SET cursor = {last}, \
         hash = (SELECT hash FROM journal WHERE cursor = {last}) WHERE place = 'head'",
        last = count - 2
    );
    let forged_head = format!("the signature of the chain's head (entry {}) is not of this key", count - 2);
    let added = format!(
        "INSERT INTO journal SELECT {}, 'forged', at, clinic, consultation, seat, kind, data, hash FROM journal \
         WHERE cursor = {count}",
        count + 1
    );
    let changed = "entry 5 was changed";
    let tamperings: [(&str, &str, &str); 12] = [
        ("data", "UPDATE journal SET data = '{\"by\":\"operator\"}' WHERE cursor = 5", changed),
        ("kind", "UPDATE journal SET kind = 'seat.left' WHERE cursor = 5", changed),
        ("time", "UPDATE journal SET at = at + 1 WHERE cursor = 5", changed),
        ("seat", "UPDATE journal SET seat = NULL WHERE cursor = 5", changed),
        ("hash", "UPDATE journal SET hash = zeroblob(32) WHERE cursor = 5", changed),
        ("torn-hash", "UPDATE journal SET hash = x'00' WHERE cursor = 5", changed),
        ("order", swap, changed),
        ("middle", "DELETE FROM journal WHERE cursor = 5", "entry 5 is missing: entry 6 follows entry 4"),
        ("first", "DELETE FROM journal WHERE cursor = 1", "entry 1 is missing"),
        ("tail", &cut, &tail),
        ("head", &refit, &forged_head),
        ("added", &added, &format!("entry {} was changed", count + 1)),
    ];
    for (name, sql, fault) in tamperings {
        let copy = TempDir::copy_of(&dir, name);
        tamper(&copy.0, sql).await;
        let error = refused(&colloque(&["audit", "verify"], &copy.0));
        assert!(error.contains(fault), "{name}: {error}");
    }

    // Another key, none, and the right one from elsewhere.
    let copy = TempDir::copy_of(&dir, "key");
    std::fs::remove_file(copy.0.join("signing-key")).unwrap();
    assert!(refused(&colloque(&["audit", "verify"], &copy.0)).contains("--public-key"));
    assert!(!copy.0.join("signing-key").exists(), "checking makes no key");
    let other = "00".repeat(32);
    let error = refused(&colloque(&["audit", "verify", "--public-key", &other], &copy.0));
    assert!(error.contains("is not of this key"), "{error}");

    // A head that was noted is found again in a longer chain, and missed in one that was set back.
    said(&colloque(&["audit", "verify", "--noted-head", &head], &dir));
    let longer = TempDir::copy_of(&dir, "longer");
    said(&colloque(&["clinic", "add", "Later"], &longer.0));
    let later = said(&colloque(&["audit", "verify", "--noted-head", &head], &longer.0));
    let later_head = later.trim().rsplit(' ').next().unwrap();
    let error = refused(&colloque(&["audit", "verify", "--noted-head", later_head], &dir));
    assert!(error.contains("the journal was set back"), "{error}");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[tokio::test]
async fn the_journal_is_checked_exported_and_backed_up_while_the_server_writes() {
    let server = with_history().await;
    let backup = TempDir::new("backup");
    let writing = async {
        for _ in 0..20 {
            server.clinic.book(&[Role::Practitioner]).await.unwrap();
        }
    };
    let reading = async {
        for _ in 0..5 {
            let dir = server.data_dir().to_owned();
            tokio::task::spawn_blocking(move || said(&colloque(&["audit", "verify"], &dir))).await.unwrap();
        }
    };
    tokio::join!(writing, reading);
    let path = backup.0.to_str().unwrap();
    let told = said(&colloque(&["backup", path], server.data_dir()));
    assert!(told.contains("chain whole"), "{told}");
    let entries = exported(server.data_dir());
    assert_eq!(exported(&backup.0), entries, "a copy says the same");
    let (head, entries) = entries.split_last().unwrap();
    assert_eq!(head["head"]["hash"], entries.last().unwrap()["hash"]);
    let clinic = entries.iter().find_map(|entry| entry["clinic"].as_str()).unwrap();
    let of_clinic = said(&colloque(&["audit", "export", "--clinic", clinic], &backup.0));
    assert!(of_clinic.lines().count() < entries.len() && of_clinic.lines().all(|line| line.contains(clinic)));
    assert!(!refused(&colloque(&["backup", path], server.data_dir())).is_empty(), "no backup is overwritten");
}

#[tokio::test]
async fn what_a_command_erases_is_gone_from_the_running_server_and_from_a_restored_backup() {
    let server = Server::start();
    let consultation = server.clinic.book(&[Role::Practitioner, Role::Patient]).await.unwrap();
    let session = server.clinic.join(&consultation.seats[0].token).await.unwrap();
    let mut page = Signalling::open(&session.ws_url).await.unwrap();
    page.join(&session).await.unwrap();
    let backup = TempDir::new("before");
    said(&colloque(&["backup", backup.0.to_str().unwrap()], server.data_dir()));
    let entries = exported(server.data_dir());
    let of = |entry: &&Value| entry["consultation"] == consultation.id.as_str();
    let clinic = entries.iter().find(of).unwrap()["clinic"].as_str().unwrap().to_owned();

    let erase = ["erase", "consultation", &consultation.id, "--clinic", &clinic];
    let foreign = ["erase", "consultation", &consultation.id, "--clinic", "another"];
    assert!(refused(&colloque(&foreign, server.data_dir())).contains("nothing was erased"));
    said(&colloque(&erase, server.data_dir()));
    // The page in the room is told to go, and its link leads nowhere.
    while page.wait(|_| None::<()>).await.is_ok() {}
    let gone = server.clinic.join(&consultation.seats[0].token).await.unwrap_err().to_string();
    assert!(gone.contains("401"), "like a link that never was: {gone}");
    assert!(refused(&colloque(&erase, server.data_dir())).contains("nothing was erased"));
    said(&colloque(&["audit", "verify"], server.data_dir()));
    let entries = exported(server.data_dir());
    let erased = entries.iter().find(|entry| entry["kind"] == "data.erased").unwrap();
    assert_eq!(erased["data"], serde_json::json!({"consultations": 1}));
    assert!(entries.iter().filter(of).count() >= 3, "what happened is still told, of nobody");

    // Restored with the newest list, the backup is erased again before anybody can join.
    let list = server.data_dir().join("erased");
    let told = said(&colloque(&["erase", "replay", "--list", list.to_str().unwrap()], &backup.0));
    assert!(told.contains("1 consultations"), "{told}");
    assert!(refused(&colloque(&erase, &backup.0)).contains("nothing was erased"));
    said(&colloque(&["audit", "verify"], &backup.0));
}
