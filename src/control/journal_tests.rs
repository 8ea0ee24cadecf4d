//! What the journal promises while its store is down, with a real store in a file and a switch in front of it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32};

use crate::pii::Pii;
use crate::store::testing::{TempDir, clinic, consultation, open_in, seat};
use crate::store::{
    Admission, ApiKeyRecord, ChainMark, Clinic, Erasure, JournalEntry, OutgoingMessage, Pruned, SigningKey, SqlStore,
    StoreFuture, Usage, Webhook,
};

use super::super::metrics::Metrics;
use super::*;

/// A store that can be out of reach, and refuses entries of the kind `poison`.
struct Switched {
    store: SqlStore,
    down: AtomicBool,
    /// Writes are done, but their answer is lost.
    deaf: AtomicBool,
    commits: AtomicU32,
}

impl Switched {
    async fn open(dir: &Path) -> Arc<Self> {
        let store = open_in(dir).await;
        let (down, deaf) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { store, down, deaf, commits: AtomicU32::new(0) })
    }

    fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn out_of_reach() -> StoreError {
        StoreError { operation: "test", cause: "out of reach".into() }
    }

    fn guard<'a, T: Send + 'a>(&'a self, call: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        Box::pin(async move { if self.down.load(Ordering::SeqCst) { Err(Self::out_of_reach()) } else { call.await } })
    }
}

impl Store for Switched {
    fn commit(&self, transaction: Transaction) -> StoreFuture<'_, Committed> {
        Box::pin(async move {
            if self.down.load(Ordering::SeqCst) || transaction.entries.iter().any(|entry| entry.kind == "poison") {
                return Err(Self::out_of_reach());
            }
            self.commits.fetch_add(1, Ordering::SeqCst);
            let outcome = self.store.commit(transaction).await;
            if self.deaf.load(Ordering::SeqCst) { Err(Self::out_of_reach()) } else { outcome }
        })
    }

    fn clinic(&self, id: &str) -> StoreFuture<'_, Option<Clinic>> {
        self.guard(self.store.clinic(id))
    }

    fn clinics(&self) -> StoreFuture<'_, Vec<Clinic>> {
        self.guard(self.store.clinics())
    }

    fn api_key(&self, prefix: &str) -> StoreFuture<'_, Option<ApiKeyRecord>> {
        self.guard(self.store.api_key(prefix))
    }

    fn api_keys(&self, clinic: &str) -> StoreFuture<'_, Vec<ApiKeyRecord>> {
        self.guard(self.store.api_keys(clinic))
    }

    fn consultation(&self, id: &str) -> StoreFuture<'_, Option<WithSeats>> {
        self.guard(self.store.consultation(id))
    }

    fn seats_of_pin(&self, pin: &Pii<String>) -> StoreFuture<'_, Vec<(ConsultationRecord, SeatRecord)>> {
        self.guard(self.store.seats_of_pin(pin))
    }

    fn seat(&self, id: &str) -> StoreFuture<'_, Option<(ConsultationRecord, SeatRecord)>> {
        self.guard(self.store.seat(id))
    }

    fn queue(&self, clinic: &str, queue: &str) -> StoreFuture<'_, Vec<WithSeats>> {
        self.guard(self.store.queue(clinic, queue))
    }

    fn acts_of_patient(&self, clinic: &str, patient: &Pii<String>, from: i64, to: i64) -> StoreFuture<'_, u32> {
        self.guard(self.store.acts_of_patient(clinic, patient, from, to))
    }

    fn usage(&self, clinic: &str, from: i64, to: i64) -> StoreFuture<'_, Vec<Usage>> {
        self.guard(self.store.usage(clinic, from, to))
    }

    fn signing_keys(&self) -> StoreFuture<'_, Vec<SigningKey>> {
        self.guard(self.store.signing_keys())
    }

    fn webhooks(&self, clinic: Option<&str>) -> StoreFuture<'_, Vec<Webhook>> {
        self.guard(self.store.webhooks(clinic))
    }

    fn due_messages(&self, now: i64, len_max: u32) -> StoreFuture<'_, Vec<OutgoingMessage>> {
        self.guard(self.store.due_messages(now, len_max))
    }

    fn entries_after(&self, clinic: Option<&str>, cursor: i64, len_max: u32) -> StoreFuture<'_, Vec<JournalEntry>> {
        self.guard(self.store.entries_after(clinic, cursor, len_max))
    }

    fn phone_minutes_since(&self, at: i64) -> StoreFuture<'_, Vec<Entry>> {
        self.guard(self.store.phone_minutes_since(at))
    }

    fn entries_of(&self, consultation: &str) -> StoreFuture<'_, Vec<JournalEntry>> {
        self.guard(self.store.entries_of(consultation))
    }

    fn chain_marks(&self) -> StoreFuture<'_, (Option<ChainMark>, Option<ChainMark>)> {
        self.guard(self.store.chain_marks())
    }

    fn erase(&self, erasure: Erasure, entry: Entry) -> StoreFuture<'_, u32> {
        self.guard(self.store.erase(erasure, entry))
    }

    fn prune(&self, before: i64, entry: Entry) -> StoreFuture<'_, Pruned> {
        self.guard(self.store.prune(before, entry))
    }

    fn back_up(&self, to: &Path) -> StoreFuture<'_, ()> {
        self.guard(self.store.back_up(to))
    }

    fn ping(&self) -> StoreFuture<'_, ()> {
        self.guard(self.store.ping())
    }
}

/// A loaded machine may be slow; the stores of these tests fail when they are down, and are never silent.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// A journal with the consultation `c1` of two seats, `s1` and `s2`.
struct World {
    dir: TempDir,
    store: Arc<Switched>,
    journal: Arc<Journal>,
    metrics: JournalMetrics,
}

impl World {
    async fn new() -> Self {
        let dir = TempDir::new();
        let store = Switched::open(dir.path()).await;
        let booked =
            Change::CreateConsultation(Box::new(consultation("c1", "k1")), vec![seat("s1", "c1"), seat("s2", "c1")]);
        let changes = vec![Change::AddClinic(clinic("k1")), booked];
        store.commit(Transaction { changes, entries: Vec::new() }).await.unwrap();
        let metrics = Metrics::new().journal;
        let journal = Journal::open_with(store.clone(), dir.path(), metrics.clone(), PATIENCE).await.unwrap();
        Self { dir, store, journal, metrics }
    }

    /// As after a crash: what was in the queue is gone, what was spooled is not.
    async fn restart(self) -> Self {
        self.restart_after(|_, _| {}).await
    }

    /// Lets something happen to the data directory and the store while no process runs.
    async fn restart_after(self, meanwhile: impl FnOnce(&Path, &Switched)) -> Self {
        let World { dir, store, journal, .. } = self;
        drop(journal);
        // The task of the old one holds the store until it has ended.
        while Arc::strong_count(&store) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        meanwhile(dir.path(), &store);
        let metrics = Metrics::new().journal;
        let journal = Journal::open_with(store.clone(), dir.path(), metrics.clone(), PATIENCE).await.unwrap();
        Self { dir, store, journal, metrics }
    }

    fn record(&self, id: &str) {
        self.journal.record(Vec::new(), vec![named(id)]);
    }

    async fn caught_up(&self) {
        let behind = async {
            while self.journal.is_behind() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), behind).await.expect("the spool is stored");
    }

    /// Identifiers of the journal's entries in the order of their cursors.
    async fn stored(&self) -> Vec<String> {
        let entries = self.store.store.entries_after(None, 0, 10_000).await.unwrap();
        entries.into_iter().map(|entry| entry.entry.id).collect()
    }
}

fn named(id: &str) -> Entry {
    Entry { id: id.into(), ..entry(Some("k1"), Some("c1"), None, &Fact::SeatJoined {}) }
}

fn admit(seat: &str, admission: Admission) -> LiveChange {
    LiveChange::SetAdmission { seat: seat.into(), admission }
}

fn numbers(of: std::ops::Range<u32>) -> Vec<String> {
    of.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn what_rooms_record_is_stored_in_order() {
    let world = World::new().await;
    let mut told = world.journal.subscribe();
    for id in numbers(0..1000) {
        world.record(&id);
    }
    world.journal.flush().await;
    assert_eq!(world.stored().await, numbers(0..1000));
    assert!(told.has_changed().unwrap());
    told.mark_unchanged();
    let commits = world.store.commits.load(Ordering::SeqCst);
    assert!(commits < 100, "what waits together is written together: {commits} commits");
    assert_eq!(world.metrics.spooled.get(), 0);
}

#[tokio::test]
async fn an_outage_loses_nothing_doubles_nothing_and_keeps_the_order() {
    let world = World::new().await;
    world.record("0");
    world.journal.flush().await;
    world.store.set_down(true);
    for id in numbers(1..200) {
        world.record(&id);
    }
    world.journal.flush().await;
    assert!(world.journal.is_behind() && world.metrics.spooled.get() > 0);
    assert_eq!(world.stored().await, numbers(0..1));
    world.store.set_down(false);
    // Also what comes while the spool is being stored goes behind it.
    for id in numbers(200..400) {
        world.record(&id);
        tokio::task::yield_now().await;
    }
    world.caught_up().await;
    for id in numbers(400..500) {
        world.record(&id);
    }
    world.journal.flush().await;
    assert_eq!(world.stored().await, numbers(0..500));
    assert_eq!((world.metrics.spooled.get(), world.metrics.lost.get()), (0, 0));
    assert_eq!(std::fs::metadata(world.dir.path().join(SPOOL_FILE_NAME)).unwrap().len(), 0);
}

#[tokio::test]
async fn an_outage_of_any_shape_loses_nothing_doubles_nothing_and_keeps_the_order() {
    let mut world = World::new().await;
    let mut next = 0;
    for round in 0..30u32 {
        let some = rand::random_range(0..40);
        for id in numbers(next..next + some) {
            world.record(&id);
        }
        next += some;
        match rand::random_range(0..6) {
            0 => world.store.set_down(true),
            1 => world.store.deaf.store(true, Ordering::SeqCst),
            2 | 3 => {
                world.store.set_down(false);
                world.store.deaf.store(false, Ordering::SeqCst);
            }
            4 => tokio::time::sleep(Duration::from_millis(rand::random_range(0..30))).await,
            _ => {
                world.journal.flush().await;
                world = world.restart().await;
            }
        }
        if round % 3 == 0 {
            world.journal.flush().await;
        }
    }
    world.store.set_down(false);
    world.store.deaf.store(false, Ordering::SeqCst);
    world.journal.flush().await;
    world.caught_up().await;
    assert_eq!(world.stored().await, numbers(0..next));
    assert_eq!(world.metrics.lost.get(), 0);
}

#[tokio::test]
async fn what_was_spooled_is_stored_by_the_next_process_even_behind_a_torn_line() {
    let world = World::new().await;
    world.store.set_down(true);
    for id in numbers(0..50) {
        world.record(&id);
        world.journal.flush().await;
    }
    // While the store is down nobody waits for it at the start.
    let mut world = world.restart().await;
    assert!(world.journal.is_behind());
    let tear = |dir: &Path, store: &Switched| {
        let path = dir.join(SPOOL_FILE_NAME);
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend_from_slice(b"{\"changes\":[],\"entries\":[{\"id\":\"to");
        std::fs::write(&path, torn).unwrap();
        store.set_down(false);
    };
    world = world.restart_after(tear).await;
    assert!(!world.journal.is_behind(), "a start stores the spool before anything else");
    assert_eq!(world.stored().await, numbers(0..50));
}

#[tokio::test]
async fn changes_of_running_rooms_are_durable_while_the_store_is_down_and_bookings_fail() {
    let world = World::new().await;
    world.store.set_down(true);
    let live = |seat: &str| Transaction {
        changes: vec![Change::Live(admit(seat, Admission::Admitted))],
        entries: vec![named(seat)],
    };
    assert_eq!(world.journal.commit(live("s1")).await.unwrap(), Committed::Done);
    let spool = std::fs::read_to_string(world.dir.path().join(SPOOL_FILE_NAME)).unwrap();
    assert!(spool.contains("\"s1\""), "answered when it is on the disk");
    let booking = |id: &str| Transaction {
        changes: vec![Change::EndConsultation { consultation: "c1".into(), at: 7 }],
        entries: vec![named(id)],
    };
    assert!(world.journal.commit(booking("early")).await.is_err());
    assert!(!world.journal.is_writable().await);
    world.store.set_down(false);
    assert_eq!(world.journal.commit(live("s2")).await.unwrap(), Committed::Done);
    world.caught_up().await;
    assert!(world.journal.is_writable().await);
    assert_eq!(world.journal.commit(booking("end")).await.unwrap(), Committed::Done);
    assert_eq!(world.journal.commit(booking("again")).await.unwrap(), Committed::NotApplicable);
    assert_eq!(world.stored().await, ["s1", "s2", "end"]);
    for id in ["s1", "s2"] {
        assert_eq!(world.store.store.seat(id).await.unwrap().unwrap().1.admission, Admission::Admitted);
    }
}

#[tokio::test]
async fn the_last_of_several_changes_counts_though_the_store_was_down_between() {
    let world = World::new().await;
    world.journal.record(vec![admit("s1", Admission::Admitted)], Vec::new());
    world.journal.flush().await;
    world.store.set_down(true);
    world.journal.record(vec![admit("s1", Admission::Refused)], Vec::new());
    world.journal.flush().await;
    world.store.set_down(false);
    world.journal.record(vec![admit("s1", Admission::Waiting)], Vec::new());
    world.journal.flush().await;
    world.caught_up().await;
    assert_eq!(world.store.store.seat("s1").await.unwrap().unwrap().1.admission, Admission::Waiting);
}

#[tokio::test]
async fn a_line_that_no_store_takes_does_not_stand_before_the_others_for_ever() {
    let world = World::new().await;
    world.store.set_down(true);
    world.record("before");
    world.journal.flush().await;
    world.journal.record(Vec::new(), vec![Entry { kind: "poison".into(), ..named("bad") }]);
    world.journal.flush().await;
    world.record("after");
    world.journal.flush().await;
    world.store.set_down(false);
    world.caught_up().await;
    world.journal.flush().await;
    let entries = world.store.store.entries_after(None, 0, 9).await.unwrap();
    let kinds: Vec<&str> = entries.iter().map(|entry| entry.entry.kind.as_str()).collect();
    assert_eq!(kinds, ["seat.joined", "seat.joined", "journal.lost"], "the journal says that something is missing");
    assert_eq!(entries[2].entry.data, r#"{"entries":1}"#);
    assert_eq!(world.metrics.lost.get(), 1);
}

#[tokio::test]
async fn a_damaged_line_costs_itself_alone() {
    let world = World::new().await;
    world.store.set_down(true);
    for id in ["one", "two", "three"] {
        world.record(id);
        world.journal.flush().await;
    }
    let damage = |dir: &Path, store: &Switched| {
        let path = dir.join(SPOOL_FILE_NAME);
        let damaged = std::fs::read_to_string(&path).unwrap().replace("\"two\"", "\"t}o");
        std::fs::write(&path, damaged).unwrap();
        store.set_down(false);
    };
    let world = world.restart_after(damage).await;
    assert_eq!(world.stored().await[..2], ["one", "three"]);
    assert_eq!(world.metrics.lost.get(), 1);
}

#[tokio::test]
async fn the_pin_of_a_live_consultation_is_known_while_the_store_is_down_and_any_other_is_a_fault() {
    let world = World::new().await;
    let ((_, seats), hold) = world.journal.hold("c1").await.unwrap().unwrap();
    let of_pin = async |pin: &Pii<String>| {
        let found = world.journal.seats_of_pin(pin).await;
        found
            .map(|found| found.into_iter().map(|(_, seat)| seat.id).collect::<Vec<_>>())
            .map_err(|error| error.operation)
    };
    let (known, unknown) = (seats[0].pin.clone(), Pii("000000000".to_owned()));
    let both_ways = of_pin(&known).await.unwrap();
    assert!(both_ways.contains(&seats[0].id));
    assert_eq!(of_pin(&unknown).await, Ok(Vec::new()));
    world.store.set_down(true);
    assert_eq!(of_pin(&known).await, Ok(both_ways.clone()), "out of reach");
    world.record("behind");
    world.journal.flush().await;
    assert!(world.journal.is_behind());
    assert_eq!(of_pin(&known).await, Ok(both_ways), "behind");
    assert!(of_pin(&unknown).await.is_err(), "not a wrong one: nobody knows");
    world.journal.record(vec![LiveChange::End { consultation: "c1".into(), at: 9 }], Vec::new());
    assert!(of_pin(&known).await.is_err(), "over");
    drop(hold);
}

#[tokio::test]
async fn a_live_consultation_is_read_as_it_is_now_whatever_the_store_says() {
    let world = World::new().await;
    let ((_, seats), hold) = world.journal.hold("c1").await.unwrap().unwrap();
    assert_eq!(seats.len(), 2);
    world.journal.record(vec![admit("s1", Admission::Refused)], Vec::new());
    let (_, now) = world.journal.seat("s1").await.unwrap().unwrap();
    assert_eq!(now.admission, Admission::Refused, "seen before the store has it");
    world.store.set_down(true);
    world.journal.record(vec![admit("s2", Admission::Admitted)], Vec::new());
    world.journal.flush().await;
    assert_eq!(world.journal.seat("s2").await.unwrap().unwrap().1.admission, Admission::Admitted);
    assert!(world.journal.consultation("c1").await.unwrap().is_some());
    assert!(world.journal.hold("c1").await.unwrap().is_some(), "its room may be opened again");
    drop(hold);
    world.journal.flush().await;
    assert!(world.journal.seat("s1").await.unwrap().is_some(), "kept while the store cannot know");
    assert!(world.journal.consultation("c2").await.is_err(), "the store might be behind what was spooled");
    world.store.set_down(false);
    world.caught_up().await;
    assert_eq!(world.journal.seat("s1").await.unwrap().unwrap().1.admission, Admission::Refused);
    assert!(world.journal.consultation("c2").await.unwrap().is_none());
}

#[tokio::test]
async fn a_copy_is_forgotten_only_when_the_store_has_everything_of_it() {
    let world = World::new().await;
    for round in 0..20 {
        let hold = world.journal.hold("c1").await.unwrap().unwrap().1;
        let admission = if round % 2 == 0 { Admission::Refused } else { Admission::Waiting };
        world.journal.record(vec![admit("s1", admission)], Vec::new());
        drop(hold);
        // Whoever asks right behind the last change sees it, from the copy or from the store.
        let (_, seat) = world.journal.seat("s1").await.unwrap().unwrap();
        assert_eq!(seat.admission, admission, "round {round}");
    }
    world.journal.flush().await;
    assert!(world.journal.mirror.consultation("c1").is_none());
}

#[tokio::test]
async fn bookings_reach_the_copies_when_the_store_has_them() {
    let world = World::new().await;
    let _hold = world.journal.hold("c1").await.unwrap().unwrap().1;
    let add = |id: &str| Transaction {
        changes: vec![Change::AddSeat { seat: Box::new(seat(id, "c1")), of_role_max: 3, seats_max: 50 }],
        entries: Vec::new(),
    };
    assert_eq!(world.journal.commit(add("s3")).await.unwrap(), Committed::Done);
    assert_eq!(world.journal.commit(add("s4")).await.unwrap(), Committed::NotApplicable);
    assert!(world.journal.seat("s3").await.unwrap().is_some());
    assert!(world.journal.seat("s4").await.unwrap().is_none());
}
