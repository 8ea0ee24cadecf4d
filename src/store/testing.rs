//! What tests of the store share: a directory of their own, and records to fill it with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::pii::Pii;

use super::*;

#[path = "testing/postgres_server.rs"]
pub(crate) mod postgres_server;

/// Makes a module of tests for each engine out of async functions that take a bench.
macro_rules! on_each_engine {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")] async fn $test() { super::$test(&$crate::store::testing::Bench::sqlite()).await; })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")] async fn $test() { super::$test(&$crate::store::testing::Bench::postgres()).await; })*
        }
    };
}

/// Removed when the test ends.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        let name = format!("colloque-store-{}-{:x}", std::process::id(), rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The store in a file of this directory.
pub(crate) async fn open_in(dir: &Path) -> SqlStore {
    SqlStore::open(dir, None, Arc::new(HeadKey::open(dir).unwrap())).await.unwrap()
}

pub(crate) fn clinic(id: &str) -> Clinic {
    Clinic { id: id.into(), name: Pii("Clinic".into()), demands: ClinicDemands::default() }
}

pub(crate) fn consultation(id: &str, clinic: &str) -> ConsultationRecord {
    ConsultationRecord {
        id: id.into(),
        clinic: clinic.into(),
        act: "teleconsultation".into(),
        language: "fr".into(),
        priority: None,
        starts_at: Some(5),
        created_at: 2,
        booking: 0,
        ended_at: None,
        gates: None,
        patient: None,
        postal_prefix: None,
        queue: None,
        login: false,
        locked: false,
        e2ee: "off".into(),
    }
}

pub(crate) fn seat(id: &str, consultation: &str) -> SeatRecord {
    SeatRecord {
        id: id.into(),
        consultation: consultation.into(),
        role: "patient".into(),
        display_name: Some(Pii("Zoé Test".into())),
        phone: None,
        email: None,
        card: None,
        pin: Pii("123456".into()),
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

pub(crate) fn entry(id: &str, consultation: &str, kind: &str) -> Entry {
    Entry {
        id: id.into(),
        at: 1_000,
        clinic: Some("k1".into()),
        consultation: Some(consultation.into()),
        seat: None,
        kind: kind.into(),
        data: "{}".into(),
    }
}

pub(crate) fn message(id: &str, consultation: &str) -> OutgoingMessage {
    OutgoingMessage {
        id: id.into(),
        seat: "s1".into(),
        consultation: consultation.into(),
        clinic: "k1".into(),
        channel: "email".into(),
        to: Pii("zoe@example.org".into()),
        body: Pii("{}".into()),
        failures: 0,
        retry_at: 0,
    }
}

pub(crate) fn add_seat(seat: SeatRecord) -> Change {
    Change::AddSeat { seat: Box::new(seat), of_role_max: 1_000, seats_max: 1_000 }
}

pub(crate) fn end(consultation: &str, at: i64) -> Change {
    Change::EndConsultation { consultation: consultation.into(), at }
}

pub(crate) async fn commit(
    store: &SqlStore,
    changes: Vec<Change>,
    entries: Vec<Entry>,
) -> Result<Committed, StoreError> {
    store.commit(Transaction { changes, entries }).await
}

pub(crate) async fn done(store: &SqlStore, change: Change) {
    assert_eq!(commit(store, vec![change], vec![]).await.unwrap(), Committed::Done);
}

pub(crate) async fn not_applicable(store: &SqlStore, change: Change) {
    assert_eq!(commit(store, vec![change], vec![]).await.unwrap(), Committed::NotApplicable);
}

pub(crate) async fn live(store: &SqlStore, change: LiveChange) {
    done(store, Change::Live(change)).await;
}

pub(crate) fn store_ids(messages: &[OutgoingMessage]) -> Vec<String> {
    messages.iter().map(|message| message.id.clone()).collect()
}

/// Every entry's identifier, in order; panics where the chain does not hold.
pub(crate) async fn whole_chain(store: &SqlStore) -> Vec<String> {
    let (begin, head) = store.chain_marks().await.unwrap();
    let (mut cursor, mut hash) = begin.map_or((0, audit::GENESIS), |begin| (begin.cursor, begin.hash));
    let mut ids = Vec::new();
    loop {
        let entries = store.entries_after(None, cursor, 1_000).await.unwrap();
        for entry in &entries {
            hash = audit::chain(&hash, cursor + 1, &entry.entry);
            assert_eq!((entry.cursor, entry.hash), (cursor + 1, hash), "{}", entry.entry.id);
            cursor += 1;
            ids.push(entry.entry.id.clone());
        }
        if entries.is_empty() {
            break;
        }
    }
    let head = head.map_or((0, audit::GENESIS), |head| (head.cursor, head.hash));
    assert_eq!(head, (cursor, hash), "the head is the last entry");
    ids
}

/// The PostgreSQL server that the tests of this process share.
fn shared_server() -> &'static postgres_server::PostgresServer {
    static SERVER: std::sync::OnceLock<postgres_server::PostgresServer> = std::sync::OnceLock::new();
    SERVER.get_or_init(postgres_server::PostgresServer::start)
}

/// Where a test's store is: a directory of its own, and a database of its own on the tests' PostgreSQL server.
pub(crate) struct Bench {
    dir: TempDir,
    url: Option<Pii<String>>,
}

impl Bench {
    pub(crate) fn sqlite() -> Self {
        Self::at(None)
    }

    pub(crate) fn postgres() -> Self {
        Self::at(Some(Pii(shared_server().fresh_database())))
    }

    pub(crate) fn at(url: Option<Pii<String>>) -> Self {
        Self { dir: TempDir::new(), url }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn key(&self) -> HeadKey {
        HeadKey::open(self.dir.path()).unwrap()
    }

    /// A new store: clinic `k1` with consultation `c1` and its seats `s1` and `s2`.
    pub(crate) async fn open(&self) -> SqlStore {
        let store = self.open_again().await;
        let demands = ClinicDemands { login: true, cards: false, acts_per_year: Some(12) };
        let key = ApiKeyRecord {
            prefix: "ck_1".into(),
            hash: Pii([7; 32]),
            clinic: "k1".into(),
            scopes: "events:read".into(),
        };
        let changes = vec![
            Change::AddClinic(Clinic { demands, ..clinic("k1") }),
            Change::AddApiKey(key, 1),
            Change::CreateConsultation(Box::new(consultation("c1", "k1")), vec![seat("s1", "c1"), seat("s2", "c1")]),
        ];
        assert_eq!(commit(&store, changes, vec![]).await.unwrap(), Committed::Done);
        store
    }

    /// The same store once more.
    pub(crate) async fn open_again(&self) -> SqlStore {
        SqlStore::open(self.dir.path(), self.url.as_ref(), Arc::new(self.key())).await.unwrap()
    }
}
