//! A store that is away: calls fail in bounded time instead of hanging, and work again when it is back.

use std::time::Duration;

use super::testing::postgres_server::PostgresServer;
use super::testing::*;
use super::*;

/// Not a measure of speed: without an answer by then a call hangs.
const HANGS: Duration = Duration::from_secs(60);

async fn write(store: &SqlStore, id: &str) -> Result<Committed, StoreError> {
    let told = vec![entry(id, "c1", "seat.waiting")];
    tokio::time::timeout(HANGS, commit(store, vec![end("c1", 1)], told)).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_file_is_told_and_its_release_noticed() {
    let bench = Bench::sqlite();
    let store = bench.open().await;
    let file = format!("sqlite://{}", bench.dir().join("colloque.sqlite").display());
    let mut other = <sqlx::SqliteConnection as sqlx::Connection>::connect(&file).await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    assert!(write(&store, "e1").await.is_err());
    assert!(store.seat("s1").await.unwrap().is_some(), "reading goes on");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(write(&store, "e1").await.unwrap(), Committed::Done);
    assert_eq!(whole_chain(&store).await, ["e1"]);
}

/// SQLite would go on writing into the file without a name, and everything would be lost with the process.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_into_a_file_that_was_removed() {
    let bench = Bench::sqlite();
    let store = bench.open().await;
    let (file, away) = (bench.dir().join("colloque.sqlite"), bench.dir().join("away"));
    std::fs::rename(&file, &away).unwrap();
    assert!(write(&store, "e1").await.unwrap_err().cause.contains("removed"));
    assert!(store.ping().await.is_err());
    std::fs::copy(&away, &file).unwrap();
    assert!(write(&store, "e1").await.is_err(), "another file of the same name");
    std::fs::rename(&away, &file).unwrap();
    assert_eq!(write(&store, "e1").await.unwrap(), Committed::Done);
    store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_or_dies_is_told_and_its_return_noticed() {
    let server = PostgresServer::start();
    let url = server.fresh_database();
    let bench = Bench::at(Some(Pii(url.clone())));
    let store = bench.open().await;
    server.signal("STOP");
    let (written, read) = tokio::join!(write(&store, "e1"), tokio::time::timeout(HANGS, store.seat("s1")));
    server.signal("CONT");
    assert!(written.is_err() && read.expect("an answer").is_err());
    until_done(&store, "e1").await;

    server.signal("KILL");
    until_done(&store, "e2").await;
    assert_eq!(whole_chain(&store).await, ["e1", "e2"]);
    server.check(&url);
    tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
    assert!(write(&store, "e3").await.is_err());
    assert!(tokio::time::timeout(HANGS, store.ping()).await.expect("an answer").is_err());
}

/// Tries until the store takes it.
async fn until_done(store: &SqlStore, id: &str) {
    let told = || vec![entry(id, "c1", "seat.waiting")];
    let tries = async {
        while !matches!(commit(store, vec![], told()).await, Ok(Committed::Done)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(HANGS, tries).await.expect("the store comes back");
}
