//! What is erased is gone, from the files too; what is pruned leaves a chain that holds; a backup brings neither back.

use std::path::Path;

use super::testing::*;
use super::*;

on_each_engine!(
    a_patients_erasure_leaves_nothing_of_theirs_and_everything_of_others,
    another_clinic_erases_nothing,
    pruning_takes_what_is_old_and_keeps_the_chain_and_the_counts,
    pruning_stops_at_the_first_young_entry,
);

/// Marks that no other text holds; `plant` says who.
fn planted(plant: &str, number: usize, what: &str) -> String {
    format!("{plant}-{what}-{number:05}-{}", "Ünüsual".repeat(1 + number * 7 % 23))
}

/// Consultations of one patient, full of planted data, changed in every way that a call changes them.
async fn fill(store: &SqlStore, plant: &str, range: std::ops::Range<usize>) {
    for number in range {
        let mark = |what: &str| Pii(planted(plant, number, what));
        let (id, seat_id) = (format!("{plant}-c{number}"), format!("{plant}-s{number}"));
        let booked = ConsultationRecord { patient: Some(Pii(format!("{plant}-pseudonym"))), ..consultation(&id, "k1") };
        let full = SeatRecord {
            display_name: Some(mark("name")),
            phone: Some(mark("phone")),
            email: Some(mark("email")),
            card: Some(mark("card")),
            pin: mark("pin"),
            ..seat(&seat_id, &id)
        };
        let mail = OutgoingMessage {
            to: mark("to"),
            body: mark("body"),
            seat: seat_id.clone(),
            ..message(&format!("{plant}-m{number}"), &id)
        };
        let changes = vec![Change::CreateConsultation(Box::new(booked), vec![full]), Change::AddMessage(mail)];
        commit(store, changes, vec![entry(&format!("{plant}-e{number}"), &id, "seat.joined")]).await.unwrap();
        let login = Login { rpps: Some(mark("rpps")), level: "eidas1".into(), at: 1 };
        let passed = PassedGate { gate: "consent".into(), answer: "x".repeat(number % 300), at: 1 };
        let changes = vec![
            Change::SetLogin { seat: seat_id.clone(), login },
            Change::Live(LiveChange::PassGate { seat: seat_id.clone(), passed }),
        ];
        commit(store, changes, vec![]).await.unwrap();
        if number % 3 == 0 {
            done(store, Change::RemoveMessage { id: format!("{plant}-m{number}") }).await;
        }
    }
}

fn erase_patient(plant: &str, clinic: &str) -> Erasure {
    Erasure::Patient { clinic: clinic.into(), patient: Pii(format!("{plant}-pseudonym")) }
}

fn told(id: &str, kind: &str) -> Entry {
    Entry { consultation: None, ..entry(id, "", kind) }
}

async fn a_patients_erasure_leaves_nothing_of_theirs_and_everything_of_others(bench: &Bench) {
    let store = bench.open().await;
    fill(&store, "erased", 0..10).await;
    fill(&store, "kept", 0..10).await;
    let count = store.erase(erase_patient("erased", "k1"), told("er", "data.erased")).await.unwrap();
    assert_eq!(count, 10);
    for number in 0..10 {
        assert!(store.consultation(&format!("erased-c{number}")).await.unwrap().is_none());
        assert!(store.seat(&format!("erased-s{number}")).await.unwrap().is_none());
        assert!(store.consultation(&format!("kept-c{number}")).await.unwrap().is_some());
    }
    let messages = store.due_messages(99, 99).await.unwrap();
    assert!(messages.iter().all(|message| message.consultation.starts_with("kept")) && messages.len() == 6);
    assert_eq!(store.acts_of_patient("k1", &Pii("erased-pseudonym".into()), 0, 99).await.unwrap(), 0);
    assert_eq!(store.entries_of("erased-c3").await.unwrap().len(), 1, "the journal names nobody and stays");
    assert_eq!(whole_chain(&store).await.len(), 21);
    let last = store.entries_after(None, 20, 9).await.unwrap().remove(0);
    assert_eq!((last.entry.kind.as_str(), last.entry.data.as_str()), ("data.erased", "{\"consultations\":10}"));
    // Once more: nothing is there, and nothing is told.
    assert_eq!(store.erase(erase_patient("erased", "k1"), told("er2", "data.erased")).await.unwrap(), 0);
    assert_eq!(whole_chain(&store).await.len(), 21);
    let one = Erasure::Consultation { clinic: "k1".into(), consultation: "kept-c1".into() };
    assert_eq!(store.erase(one, told("er3", "data.erased")).await.unwrap(), 1);
    assert!(store.consultation("kept-c1").await.unwrap().is_none());
    assert!(store.consultation("kept-c2").await.unwrap().is_some());
}

async fn another_clinic_erases_nothing(bench: &Bench) {
    let store = bench.open().await;
    done(&store, Change::AddClinic(clinic("k2"))).await;
    fill(&store, "kept", 0..2).await;
    let one = Erasure::Consultation { clinic: "k2".into(), consultation: "kept-c1".into() };
    assert_eq!(store.erase(one, told("er", "data.erased")).await.unwrap(), 0);
    assert_eq!(store.erase(erase_patient("kept", "k2"), told("er", "data.erased")).await.unwrap(), 0);
    assert!(store.consultation("kept-c1").await.unwrap().is_some());
}

async fn pruning_takes_what_is_old_and_keeps_the_chain_and_the_counts(bench: &Bench) {
    const DAY: i64 = 86_400;
    let store = bench.open().await;
    let book = |id: &str, day: i64| ConsultationRecord {
        created_at: day * DAY,
        starts_at: Some(day * DAY),
        patient: Some(Pii("p".into())),
        postal_prefix: Some("75".into()),
        ..consultation(id, "k1")
    };
    // Booked on, joined on, ended on.
    let cases = [
        ("ended", 100, Some(100), Some(101)),
        ("never_held", 100, None, None),
        ("never_ended", 100, Some(100), None),
        ("ended_lately", 100, Some(100), Some(300)),
        ("still_talking", 100, Some(300), None),
        ("planned", 300, None, None),
    ];
    let at = |id: &str, consultation: &str, kind: &str, day: i64| Entry {
        at: day * DAY * 1_000,
        ..entry(id, consultation, kind)
    };
    let mut young = Vec::new();
    for (id, booked, joined, ended) in cases {
        let created = vec![at(&format!("{id}-created"), id, "consultation.created", booked)];
        let booked = Change::CreateConsultation(Box::new(book(id, booked)), vec![seat(&format!("s-{id}"), id)]);
        commit(&store, vec![booked], created).await.unwrap();
        match joined {
            Some(100) => {
                commit(&store, vec![], vec![at(&format!("{id}-j"), id, "seat.joined", 100)]).await.map(drop).unwrap()
            }
            Some(day) => young.push(at(&format!("{id}-j"), id, "seat.joined", day)),
            None => {}
        }
        if let Some(day) = ended {
            done(&store, end(id, day * DAY)).await;
        }
    }
    commit(&store, vec![], young).await.unwrap();
    let before_pruning = whole_chain(&store).await.len();
    let removed = store.prune(200 * DAY, told("pr", "data.pruned")).await.unwrap();
    assert_eq!((removed.consultations, removed.entries as usize), (4, before_pruning - 2), "and `c1`");
    let mut left = Vec::new();
    for (id, ..) in cases {
        if store.consultation(id).await.unwrap().is_some() {
            left.push(id);
        }
    }
    assert_eq!(left, ["ended_lately", "still_talking", "planned"]);
    assert!(store.seat("s-ended").await.unwrap().is_none());
    assert_eq!(whole_chain(&store).await, ["planned-created", "still_talking-j", "pr"]);
    let begin = store.chain_marks().await.unwrap().0.unwrap();
    let bytes = audit::mark_bytes(audit::Place::Begin, begin.cursor, &begin.hash);
    assert!(HeadKey::verifies(&bench.key().public_key(), &bytes, &begin.signature));
    let last = store.entries_after(None, begin.cursor + 2, 9).await.unwrap().remove(0);
    assert_eq!(last.entry.data, format!("{{\"entries\":{}}}", removed.entries));

    // The year's count and the usage figures do not forget with the records: held ones stay counted.
    let held = ["ended", "never_ended", "ended_lately", "still_talking", "planned"];
    let count = store.acts_of_patient("k1", &Pii("p".into()), 0, 999 * DAY).await.unwrap();
    assert_eq!(count as usize, held.len());
    assert_eq!(store.usage("k1", 0, 999 * DAY).await.unwrap()[0].consultations, 4);
    // They can be erased all the same, and are forgotten after two years.
    let one = Erasure::Consultation { clinic: "k1".into(), consultation: "ended".into() };
    assert_eq!(store.erase(one, told("er", "data.erased")).await.unwrap(), 1);
    store.prune(200 * DAY + 2 * 366 * DAY, told("pr2", "data.pruned")).await.unwrap();
    let count = store.acts_of_patient("k1", &Pii("p".into()), 0, 150 * DAY).await.unwrap();
    assert_eq!(count, 0);
    assert!(whole_chain(&store).await.len() <= 2);
}

async fn pruning_stops_at_the_first_young_entry(bench: &Bench) {
    let store = bench.open().await;
    let at = |id: &str, at: i64| Entry { at, ..entry(id, "c1", "seat.waiting") };
    // The third was spooled while the store was down: it is older than the one before.
    let told = vec![at("e1", 1_000), at("e2", 9_000), at("e3", 1_000)];
    commit(&store, vec![], told).await.unwrap();
    assert_eq!(store.prune(5, self::told("pr", "data.pruned")).await.unwrap().entries, 1);
    assert_eq!(whole_chain(&store).await, ["e2", "e3", "pr"]);
    let again = store.prune(5, self::told("pr2", "data.pruned")).await.unwrap();
    assert_eq!(again, Pruned::default(), "nothing more, and nothing told");
    assert_eq!(whole_chain(&store).await, ["e2", "e3", "pr"]);
}

/// How often any of these occurs in any file of the directory.
fn raw_hits(dir: &Path, needles: &[String]) -> usize {
    let files = std::fs::read_dir(dir).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let searched: Vec<Vec<u8>> = files.collect();
    let occurs = |needle: &String| {
        let needle = needle.as_bytes();
        searched
            .iter()
            .map(|bytes| bytes.windows(needle.len()).filter(|window| *window == needle).count())
            .sum::<usize>()
    };
    needles.iter().map(occurs).sum()
}

/// Prefixes that every planted value of a patient begins with: their remains would show even where a page cut them.
fn needles(plant: &str) -> Vec<String> {
    let kinds = ["name", "phone", "email", "card", "pin", "to", "body", "rpps"];
    kinds.iter().map(|kind| format!("{plant}-{kind}-")).chain([format!("{plant}-pseudonym")]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_scan_of_the_files_finds_nothing_of_what_was_erased() {
    let bench = Bench::sqlite();
    let store = std::sync::Arc::new(bench.open().await);
    for part in 0..4 {
        fill(&store, "erased", part * 60..(part + 1) * 60).await;
        fill(&store, "kept", part * 60..(part + 1) * 60).await;
    }
    assert!(raw_hits(bench.dir(), &needles("erased")) > 1_000, "the scan finds what is there");
    // Others read meanwhile, as in life.
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move {
                loop {
                    store.entries_after(None, 0, 500).await.unwrap();
                }
            })
        })
        .collect();
    let count = store.erase(erase_patient("erased", "k1"), told("er", "data.erased")).await.unwrap();
    readers.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(count, 240);
    assert_eq!(raw_hits(bench.dir(), &needles("erased")), 0);
    assert!(raw_hits(bench.dir(), &needles("kept")) > 1_000);
    assert_eq!(whole_chain(&store).await.len(), 481);
    store.close().await;
    assert_eq!(raw_hits(bench.dir(), &needles("erased")), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_whole_and_a_restored_one_is_erased_again() {
    let bench = Bench::sqlite();
    let store = std::sync::Arc::new(bench.open().await);
    fill(&store, "erased", 0..20).await;
    let writing = {
        let store = std::sync::Arc::clone(&store);
        tokio::spawn(async move { fill(&store, "kept", 0..200).await })
    };
    let backup = bench.dir().join("backup.sqlite");
    store.back_up(&backup).await.unwrap();
    assert!(store.back_up(&backup).await.is_err(), "an older copy is not overwritten");
    let at_backup = store.chain_marks().await.unwrap().1.unwrap().cursor;
    writing.await.unwrap();
    store.erase(erase_patient("erased", "k1"), told("er", "data.erased")).await.unwrap();
    store.close().await;

    // The drill: key and list of what was erased stay, the file is replaced.
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&backup).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    for old in ["colloque.sqlite-wal", "colloque.sqlite-shm"] {
        std::fs::remove_file(bench.dir().join(old)).ok();
    }
    std::fs::rename(&backup, bench.dir().join("colloque.sqlite")).unwrap();
    let store = bench.open_again().await;
    let chain = whole_chain(&store).await;
    assert!(chain.len() as i64 <= at_backup + 1 && chain.len() > 20);
    assert!(chain.last().unwrap().starts_with("erased-again-"));
    assert!(store.consultation("erased-c7").await.unwrap().is_none());
    assert_eq!(raw_hits(bench.dir(), &needles("erased")), 0);
    fill(&store, "kept", 300..302).await;
    store.close().await;
    // The next opening finds nothing to do.
    let length = whole_chain(&bench.open_again().await).await.len();
    assert_eq!(length, chain.len() + 2);
}

/// What a server's list lacks, because it is another server's or was lost, it learns from the store.
#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_what_was_erased_is_completed_from_the_store() {
    let bench = Bench::sqlite();
    let store = bench.open().await;
    fill(&store, "erased", 0..2).await;
    store.erase(erase_patient("erased", "k1"), told("er", "data.erased")).await.unwrap();
    store.close().await;
    let list = bench.dir().join("erased");
    let before = std::fs::read_to_string(&list).unwrap();
    assert!(before.contains("erased-c0\n") && before.contains("erased-c1\n"));
    std::fs::write(&list, "erased-c1\nhalf-a-li").unwrap();
    bench.open_again().await.close().await;
    let after = std::fs::read_to_string(&list).unwrap();
    assert!(after.lines().any(|line| line == "erased-c0") && !after.contains("half-a-lierased"));
}
