//! What every engine does alike: each test runs on SQLite and on PostgreSQL.

use super::testing::*;
use super::*;

on_each_engine!(
    a_reopened_store_still_knows_everything,
    a_consultation_ends_once_and_takes_no_seat_afterwards,
    a_failed_consultation_leaves_nothing_behind,
    seats_are_counted_where_they_are_added,
    live_changes_do_what_they_say_and_nothing_to_what_is_gone,
    signing_keys_are_two_and_made_once,
    writes_at_the_same_time_all_succeed,
    a_write_that_fails_undoes_itself_and_none_of_its_neighbours,
    what_is_not_applicable_leaves_neither_change_nor_entry,
    an_entry_is_written_once_however_often_it_is_told,
    a_booking_tried_again_is_done_already,
    the_chain_holds_and_its_head_is_signed,
    two_processes_write_one_chain,
    a_write_goes_on_when_its_caller_gives_up,
    a_closed_store_refuses_instead_of_waiting,
    errors_do_not_quote_what_was_stored,
    keys_webhooks_and_messages_come_and_go,
    a_queue_is_in_the_order_of_its_plan,
    a_pin_finds_its_seats_in_consultations_that_are_not_over,
    seats_from_before_pins_were_hashed_are_found_too,
    acts_are_counted_by_patient_and_by_place,
    minutes_of_telephone_are_found_by_their_day,
);

async fn a_reopened_store_still_knows_everything(bench: &Bench) {
    let store = bench.open().await;
    let mut full = seat("s3", "c2");
    full.phone = Some(Pii("+33 6".into()));
    full.email = Some(Pii("z@example.org".into()));
    full.card = Some(Pii("{\"fee\":30}".into()));
    full.vouched = true;
    full.phone_consent = true;
    full.pin = Pii("471100815".into());
    full.login = Some(Login { rpps: Some(Pii("810".into())), level: "eidas2".into(), at: 7 });
    full.gates = vec![PassedGate { gate: "consent".into(), answer: "1".into(), at: 8 }];
    let mut booked = consultation("c2", "k1");
    booked.gates = Some("{}".into());
    booked.patient = Some(Pii("pseudonym".into()));
    booked.postal_prefix = Some("75".into());
    booked.queue = Some("q".into());
    (booked.login, booked.locked, booked.priority) = (true, true, Some("emergency".into()));
    booked.e2ee = "required".into();
    done(&store, Change::CreateConsultation(Box::new(booked), vec![full])).await;
    live(&store, LiveChange::SetAdmission { seat: "s2".into(), admission: Admission::Admitted }).await;
    live(&store, LiveChange::SetDevice { seat: "s1".into(), device: [9; 32], other: true }).await;
    store.close().await;

    let store = bench.open_again().await;
    let (found, seats) = store.consultation("c1").await.unwrap().unwrap();
    assert_eq!((found.act.as_str(), found.starts_at, found.patient), ("teleconsultation", Some(5), None));
    assert_eq!(seats.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["s1", "s2"]);
    assert_eq!(seats[0].display_name, Some(Pii("Zoé Test".into())));
    assert_eq!((seats[0].device, seats[0].other_device), (Some([9; 32]), true));
    assert_eq!(seats[1].admission, Admission::Admitted);
    let (found, seats) = store.consultation("c2").await.unwrap().unwrap();
    assert_eq!(
        (found.gates.as_deref(), found.postal_prefix.as_deref(), found.queue.as_deref()),
        (Some("{}"), Some("75"), Some("q"))
    );
    assert_eq!((found.patient, found.login, found.locked), (Some(Pii("pseudonym".into())), true, true));
    assert_eq!((found.priority.as_deref(), found.e2ee.as_str()), (Some("emergency"), "required"));
    let full = &seats[0];
    assert_eq!((full.phone_consent, &full.pin), (true, &Pii("471100815".into())));
    let of_pin = store.seats_of_pin(&full.pin).await.unwrap();
    assert_eq!(of_pin.iter().map(|(_, seat)| seat.id.as_str()).collect::<Vec<_>>(), ["s3"], "the key is kept");
    assert_eq!(
        (full.phone.clone(), full.email.clone()),
        (Some(Pii("+33 6".into())), Some(Pii("z@example.org".into())))
    );
    assert_eq!((full.card.clone(), full.vouched), (Some(Pii("{\"fee\":30}".into())), true));
    assert_eq!(full.login, Some(Login { rpps: Some(Pii("810".into())), level: "eidas2".into(), at: 7 }));
    assert_eq!(full.gates, [PassedGate { gate: "consent".into(), answer: "1".into(), at: 8 }]);
    let key = store.api_key("ck_1").await.unwrap().unwrap();
    assert_eq!((key.hash, key.scopes.as_str()), (Pii([7; 32]), "events:read"));
    assert!(store.api_key("ck_2").await.unwrap().is_none());
    let clinic = store.clinic("k1").await.unwrap().unwrap();
    assert_eq!(clinic.demands, ClinicDemands { login: true, cards: false, acts_per_year: Some(12) });
}

async fn a_consultation_ends_once_and_takes_no_seat_afterwards(bench: &Bench) {
    let store = bench.open().await;
    done(&store, add_seat(seat("s3", "c1"))).await;
    done(&store, end("c1", 9)).await;
    not_applicable(&store, end("c1", 10)).await;
    not_applicable(&store, end("unknown", 10)).await;
    not_applicable(&store, add_seat(seat("s4", "c1"))).await;
    live(&store, LiveChange::End { consultation: "c1".into(), at: 11 }).await;
    let (consultation, seats) = store.consultation("c1").await.unwrap().unwrap();
    assert_eq!((consultation.ended_at, seats.len()), (Some(9), 3));
}

async fn a_failed_consultation_leaves_nothing_behind(bench: &Bench) {
    let store = bench.open().await;
    let doubled =
        Change::CreateConsultation(Box::new(consultation("c2", "k1")), vec![seat("s9", "c2"), seat("s1", "c2")]);
    assert!(commit(&store, vec![doubled], vec![]).await.is_err());
    assert!(store.consultation("c2").await.unwrap().is_none());
    assert!(store.seat("s9").await.unwrap().is_none());
}

async fn seats_are_counted_where_they_are_added(bench: &Bench) {
    let store = bench.open().await;
    let with = |id: &str, role: &str, of_role_max, seats_max| {
        let seat = Box::new(SeatRecord { role: role.into(), ..seat(id, "c1") });
        Change::AddSeat { seat, of_role_max, seats_max }
    };
    not_applicable(&store, with("s3", "patient", 2, 50)).await;
    not_applicable(&store, with("s3", "guest", 5, 2)).await;
    done(&store, with("s3", "guest", 1, 3)).await;
    // Whoever was removed or has declined leaves the place to another.
    for (gone, admission) in [("s1", Admission::Refused), ("s2", Admission::Declined)] {
        live(&store, LiveChange::SetAdmission { seat: gone.into(), admission }).await;
    }
    done(&store, with("s4", "patient", 1, 2)).await;
    let (_, seats) = store.consultation("c1").await.unwrap().unwrap();
    assert_eq!(seats.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["s1", "s2", "s3", "s4"]);
}

async fn live_changes_do_what_they_say_and_nothing_to_what_is_gone(bench: &Bench) {
    let store = bench.open().await;
    let gate = |gate: &str, answer: &str| PassedGate { gate: gate.into(), answer: answer.into(), at: 1 };
    for seat in ["s1", "gone"] {
        let seat = || seat.to_owned();
        live(&store, LiveChange::SetDevice { seat: seat(), device: [1; 32], other: true }).await;
        live(&store, LiveChange::PassGate { seat: seat(), passed: gate("consent", "1") }).await;
        live(&store, LiveChange::PassGate { seat: seat(), passed: gate("card:s2", "") }).await;
        live(&store, LiveChange::PassGate { seat: seat(), passed: gate("consent", "2") }).await;
        live(&store, LiveChange::SetEpoch { seat: seat(), epoch: 3 }).await;
        live(&store, LiveChange::SetEpoch { seat: seat(), epoch: 2 }).await;
    }
    for (consultation, locked) in [("c1", true), ("gone", true)] {
        live(&store, LiveChange::SetLocked { consultation: consultation.into(), locked }).await;
        live(&store, LiveChange::End { consultation: "gone".into(), at: 1 }).await;
    }
    let (consultation, found) = store.seat("s1").await.unwrap().unwrap();
    assert!(consultation.locked && found.other_device && found.token_epoch == 3);
    assert_eq!(found.gates, [gate("card:s2", ""), gate("consent", "2")]);

    live(&store, LiveChange::SetAdmission { seat: "s1".into(), admission: Admission::Waiting }).await;
    assert!(store.seat("s1").await.unwrap().unwrap().1.other_device, "waiting alone lifts nothing");
    live(&store, LiveChange::SetAdmission { seat: "s1".into(), admission: Admission::Admitted }).await;
    live(&store, LiveChange::ForgetGate { seat: "s1".into(), gate: "consent".into() }).await;
    live(&store, LiveChange::SetLocked { consultation: "c1".into(), locked: false }).await;
    let (consultation, found) = store.seat("s1").await.unwrap().unwrap();
    assert!(!consultation.locked && !found.other_device && found.admission == Admission::Admitted);
    assert_eq!(found.gates, [gate("card:s2", "")]);
}

async fn signing_keys_are_two_and_made_once(bench: &Bench) {
    let store = bench.open().await;
    let key = |kid, secret| Change::AddSigningKey(SigningKey { kid, secret: Pii(vec![secret; 32]), created_at: 3 });
    done(&store, key(1, 1)).await;
    not_applicable(&store, key(1, 2)).await;
    done(&store, key(2, 2)).await;
    done(&store, key(3, 3)).await;
    let keys = store.signing_keys().await.unwrap();
    assert_eq!(keys.iter().map(|key| (key.kid, key.secret.0[0])).collect::<Vec<_>>(), [(3, 3), (2, 2)]);
}

/// Adding a seat read before it wrote: when another write was committed in between, SQLite refused it at once.
async fn writes_at_the_same_time_all_succeed(bench: &Bench) {
    let store = std::sync::Arc::new(bench.open().await);
    let mut writes = tokio::task::JoinSet::new();
    for number in 0..200u8 {
        let store = std::sync::Arc::clone(&store);
        let told = vec![entry(&format!("e{number}"), "c1", "seat.waiting")];
        let change = match number % 4 {
            0 => add_seat(seat(&format!("n{number}"), "c1")),
            1 => Change::Live(LiveChange::SetDevice { seat: "s1".into(), device: [number; 32], other: false }),
            2 => Change::Live(LiveChange::PassGate {
                seat: "s2".into(),
                passed: PassedGate { gate: format!("card:{number}"), answer: String::new(), at: 0 },
            }),
            _ => Change::Live(LiveChange::SetAdmission { seat: "s1".into(), admission: Admission::Admitted }),
        };
        writes.spawn(async move { commit(&store, vec![change], told).await });
    }
    for outcome in writes.join_all().await {
        assert_eq!(outcome.unwrap(), Committed::Done);
    }
    store.close().await;
    let store = bench.open_again().await;
    let (_, seats) = store.consultation("c1").await.unwrap().unwrap();
    assert_eq!((seats.len(), seats[1].gates.len()), (52, 50));
    assert_eq!(whole_chain(&store).await.len(), 200);
}

async fn a_write_that_fails_undoes_itself_and_none_of_its_neighbours(bench: &Bench) {
    let store = bench.open().await;
    let doubled =
        Change::CreateConsultation(Box::new(consultation("c2", "k1")), vec![seat("s9", "c2"), seat("s1", "c2")]);
    // All three wait before the writer looks: one transaction.
    let device = Change::Live(LiveChange::SetDevice { seat: "s1".into(), device: [1; 32], other: false });
    let (before, between, after) = tokio::join!(
        commit(&store, vec![device], vec![entry("e1", "c1", "seat.opened")]),
        commit(&store, vec![doubled], vec![entry("e2", "c2", "consultation.created")]),
        commit(&store, vec![add_seat(seat("s3", "c1"))], vec![entry("e3", "c1", "seat.invited")]),
    );
    assert_eq!(before.unwrap(), Committed::Done);
    assert_eq!(between.unwrap_err().operation, "commit");
    assert_eq!(after.unwrap(), Committed::Done);
    assert!(store.consultation("c2").await.unwrap().is_none() && store.seat("s9").await.unwrap().is_none());
    assert_eq!(store.seat("s1").await.unwrap().unwrap().1.device, Some([1; 32]));
    assert!(store.seat("s3").await.unwrap().is_some());
    assert_eq!(whole_chain(&store).await, ["e1", "e3"]);
}

async fn what_is_not_applicable_leaves_neither_change_nor_entry(bench: &Bench) {
    let store = bench.open().await;
    let changes = vec![
        Change::Live(LiveChange::SetDevice { seat: "s1".into(), device: [1; 32], other: false }),
        end("unknown", 3),
    ];
    let outcome = commit(&store, changes, vec![entry("e1", "c1", "consultation.ended")]).await.unwrap();
    assert_eq!(outcome, Committed::NotApplicable);
    assert_eq!(store.seat("s1").await.unwrap().unwrap().1.device, None);
    assert!(whole_chain(&store).await.is_empty());
}

async fn an_entry_is_written_once_however_often_it_is_told(bench: &Bench) {
    let store = bench.open().await;
    let lock = |locked| vec![Change::Live(LiveChange::SetLocked { consultation: "c1".into(), locked })];
    commit(&store, lock(true), vec![entry("e1", "c1", "consultation.locked")]).await.unwrap();
    // Tried again in other company, with a change that tells nothing.
    let told = vec![entry("e1", "c1", "consultation.locked")];
    assert_eq!(commit(&store, lock(false), told).await.unwrap(), Committed::Done);
    assert!(!store.consultation("c1").await.unwrap().unwrap().0.locked);
    let told = vec![entry("e1", "c1", "consultation.locked"), entry("e2", "c1", "seat.left")];
    commit(&store, vec![], told).await.unwrap();
    assert_eq!(whole_chain(&store).await, ["e1", "e2"]);
}

async fn a_booking_tried_again_is_done_already(bench: &Bench) {
    let store = bench.open().await;
    for _ in 0..2 {
        let booked = Change::CreateConsultation(Box::new(consultation("c2", "k1")), vec![seat("s9", "c2")]);
        let told = vec![entry("e1", "c2", "consultation.created"), entry("e2", "c2", "seat.invited")];
        assert_eq!(commit(&store, vec![booked], told).await.unwrap(), Committed::Done);
    }
    assert_eq!(whole_chain(&store).await, ["e1", "e2"]);
}

async fn the_chain_holds_and_its_head_is_signed(bench: &Bench) {
    let store = bench.open().await;
    assert_eq!(store.chain_marks().await.unwrap(), (None, None));
    for number in 0..5 {
        let mut told = entry(&format!("e{number}"), "c1", "seat.waiting");
        told.clinic = (number % 2 == 0).then(|| "k1".to_owned());
        commit(&store, vec![], vec![told]).await.unwrap();
    }
    assert_eq!(whole_chain(&store).await.len(), 5);
    let head = store.chain_marks().await.unwrap().1.unwrap();
    assert_eq!(head.cursor, 5);
    let bytes = audit::mark_bytes(audit::Place::Head, head.cursor, &head.hash);
    assert!(HeadKey::verifies(&bench.key().public_key(), &bytes, &head.signature));

    let cursors = |entries: Vec<JournalEntry>| entries.iter().map(|entry| entry.cursor).collect::<Vec<_>>();
    assert_eq!(cursors(store.entries_after(None, 1, 2).await.unwrap()), [2, 3]);
    assert_eq!(cursors(store.entries_after(Some("k1"), 1, 10).await.unwrap()), [3, 5]);
    assert!(store.entries_after(Some("k2"), 0, 10).await.unwrap().is_empty());
    assert_eq!(cursors(store.entries_of("c1").await.unwrap()), [1, 2, 3, 4, 5]);
    assert!(store.entries_of("c2").await.unwrap().is_empty());
}

async fn two_processes_write_one_chain(bench: &Bench) {
    let first = bench.open().await;
    let second = bench.open_again().await;
    let tell = |store, number: usize| {
        let told = vec![entry(&format!("e{number}"), "c1", "seat.waiting")];
        commit(store, vec![], told)
    };
    for number in 0..20 {
        let (one, other) = tokio::join!(tell(&first, 2 * number), tell(&second, 2 * number + 1));
        assert_eq!((one.unwrap(), other.unwrap()), (Committed::Done, Committed::Done));
    }
    assert_eq!(whole_chain(&first).await.len(), 40);
}

async fn a_write_goes_on_when_its_caller_gives_up(bench: &Bench) {
    let store = bench.open().await;
    let change = Change::Live(LiveChange::SetDevice { seat: "s1".into(), device: [3; 32], other: false });
    tokio::select! {
        biased;
        _ = commit(&store, vec![change], vec![]) => panic!("no disk is that fast"),
        () = std::future::ready(()) => {}
    }
    // Whatever comes later is written later.
    live(&store, LiveChange::SetAdmission { seat: "s2".into(), admission: Admission::Admitted }).await;
    assert_eq!(store.seat("s1").await.unwrap().unwrap().1.device, Some([3; 32]));
}

async fn a_closed_store_refuses_instead_of_waiting(bench: &Bench) {
    let store = bench.open().await;
    store.close().await;
    assert_eq!(commit(&store, vec![end("c1", 1)], vec![]).await.unwrap_err().cause, "closed");
    assert!(store.ping().await.is_err());
}

async fn errors_do_not_quote_what_was_stored(bench: &Bench) {
    let store = bench.open().await;
    let error = commit(&store, vec![add_seat(seat("s1", "c1"))], vec![]).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("Zoé"));
}

async fn keys_webhooks_and_messages_come_and_go(bench: &Bench) {
    let store = bench.open().await;
    done(&store, Change::AddClinic(clinic("k2"))).await;
    not_applicable(&store, Change::RevokeApiKey { clinic: "k2".into(), prefix: "ck_1".into() }).await;
    assert_eq!(store.api_keys("k1").await.unwrap().len(), 1);
    done(&store, Change::RevokeApiKey { clinic: "k1".into(), prefix: "ck_1".into() }).await;
    assert!(store.api_key("ck_1").await.unwrap().is_none() && store.api_keys("k1").await.unwrap().is_empty());

    let hook = Webhook {
        id: "w1".into(),
        clinic: "k1".into(),
        url: Pii("https://example.org".into()),
        secret: Pii(vec![5; 24]),
        created_at: 1,
        cursor: 0,
        failures: 0,
        retry_at: 0,
        disabled: false,
    };
    done(&store, Change::SetWebhook(hook.clone())).await;
    not_applicable(&store, Change::SetWebhook(Webhook { clinic: "k2".into(), ..hook.clone() })).await;
    done(&store, Change::MoveWebhook { id: "w1".into(), cursor: 4, failures: 2, retry_at: 9, disabled: true }).await;
    done(&store, Change::MoveWebhook { id: "gone".into(), cursor: 4, failures: 2, retry_at: 9, disabled: true }).await;
    let found = store.webhooks(Some("k1")).await.unwrap().remove(0);
    assert_eq!((found.cursor, found.failures, found.retry_at, found.disabled), (4, 2, 9, true));
    assert_eq!((found.secret, found.url), (hook.secret.clone(), hook.url.clone()));
    done(&store, Change::SetWebhook(Webhook { cursor: 4, ..hook })).await;
    assert!(!store.webhooks(None).await.unwrap()[0].disabled);
    assert!(store.webhooks(Some("k2")).await.unwrap().is_empty());
    not_applicable(&store, Change::RemoveWebhook { clinic: "k2".into(), id: "w1".into() }).await;
    done(&store, Change::RemoveWebhook { clinic: "k1".into(), id: "w1".into() }).await;
    assert!(store.webhooks(None).await.unwrap().is_empty());

    for id in ["m1", "m2", "m3"] {
        done(&store, Change::AddMessage(message(id, "c1"))).await;
    }
    done(&store, Change::DelayMessage { id: "m1".into(), failures: 1, retry_at: 50 }).await;
    let due = |now| async move { store_ids(&bench.open_again().await.due_messages(now, 2).await.unwrap()) };
    assert_eq!(due(10).await, ["m2", "m3"]);
    assert_eq!(due(50).await, ["m1", "m2"]);
    done(&store, Change::RemoveMessage { id: "m2".into() }).await;
    assert_eq!(due(50).await, ["m1", "m3"]);
}

async fn a_queue_is_in_the_order_of_its_plan(bench: &Bench) {
    let store = bench.open().await;
    for (id, starts_at, queue) in
        [("a", None, "q"), ("b", Some(1), "q"), ("c", None, "q"), ("d", Some(9), "q"), ("e", None, "r")]
    {
        let booked = ConsultationRecord { starts_at, queue: Some(queue.into()), ..consultation(id, "k1") };
        done(&store, Change::CreateConsultation(Box::new(booked), vec![seat(&format!("s-{id}"), id)])).await;
    }
    done(&store, end("d", 3)).await;
    let queue = store.queue("k1", "q").await.unwrap();
    assert_eq!(queue.iter().map(|(c, _)| c.id.as_str()).collect::<Vec<_>>(), ["b", "a", "c"]);
    assert!(queue[1].0.booking < queue[2].0.booking, "booked within one second, one after the other");
    assert!(queue.iter().all(|(c, seats)| seats.len() == 1 && seats[0].consultation == c.id));
    assert!(store.queue("k2", "q").await.unwrap().is_empty());
}

async fn acts_are_counted_by_patient_and_by_place(bench: &Bench) {
    let store = bench.open().await;
    let book = |id: &str, starts_at| ConsultationRecord {
        starts_at: Some(starts_at),
        patient: Some(Pii("p".into())),
        postal_prefix: Some("75".into()),
        ..consultation(id, "k1")
    };
    for (id, at) in [("held", 10), ("booked", 20), ("cancelled", 20), ("later", 30)] {
        done(&store, Change::CreateConsultation(Box::new(book(id, at)), vec![])).await;
    }
    commit(&store, vec![], vec![entry("e1", "held", "seat.joined"), entry("e2", "held", "seat.joined")]).await.unwrap();
    done(&store, end("cancelled", 5)).await;
    done(&store, end("held", 11)).await;
    let count = async |from, to| store.acts_of_patient("k1", &Pii("p".into()), from, to).await.unwrap();
    assert_eq!((count(0, 30).await, count(10, 31).await, count(11, 20).await), (2, 3, 0));
    assert_eq!(store.acts_of_patient("k2", &Pii("p".into()), 0, 99).await.unwrap(), 0);
    let usage = store.usage("k1", 0, 99).await.unwrap();
    assert_eq!(usage, [Usage { postal_prefix: "75".into(), act: "teleconsultation".into(), consultations: 1 }]);
    assert!(store.usage("k1", 3, 99).await.unwrap().is_empty());
}

async fn a_pin_finds_its_seats_in_consultations_that_are_not_over(bench: &Bench) {
    let store = bench.open().await;
    let with_pin = |id: &str, of: &str, pin: &str| SeatRecord { pin: Pii(pin.into()), ..seat(id, of) };
    for (id, seats) in [
        ("c2", vec![with_pin("s3", "c2", "471100815"), with_pin("s4", "c2", "471100816")]),
        ("c3", vec![with_pin("s5", "c3", "471100815")]),
        ("c4", vec![with_pin("s6", "c4", "471100815")]),
    ] {
        done(&store, Change::CreateConsultation(Box::new(consultation(id, "k1")), seats)).await;
    }
    done(&store, add_seat(with_pin("s7", "c2", "999999999"))).await;
    done(&store, end("c4", 9)).await;
    for (pin, expected) in [
        ("471100815", &["s3/c2", "s5/c3"][..]),
        ("471100816", &["s4/c2"]),
        ("999999999", &["s7/c2"]),
        ("47110081", &[]),
        ("4711008150", &[]),
        ("", &[]),
    ] {
        let found = store.seats_of_pin(&Pii(pin.into())).await.unwrap();
        let found: Vec<String> = found.iter().map(|(of, seat)| format!("{}/{}", seat.id, of.id)).collect();
        assert_eq!(found, expected, "{pin}");
    }
}

/// An update from a version without the hash: PINs that were given out go on working.
async fn seats_from_before_pins_were_hashed_are_found_too(bench: &Bench) {
    let store = bench.open().await;
    store.forget_pin_hashes().await;
    assert_eq!(store.seats_of_pin(&Pii("123456".into())).await.unwrap().len(), 0);
    store.close().await;
    let store = bench.open_again().await;
    assert_eq!(store.seats_of_pin(&Pii("123456".into())).await.unwrap().len(), 2);
}

async fn minutes_of_telephone_are_found_by_their_day(bench: &Bench) {
    let store = bench.open().await;
    for (id, kind, at) in [
        ("e1", "phone.charged", 99),
        ("e2", "phone.charged", 100),
        ("e3", "phone.left", 101),
        ("e4", "phone.minutes_used", 200),
    ] {
        commit(&store, vec![], vec![Entry { at, ..entry(id, "c1", kind) }]).await.unwrap();
    }
    let found: Vec<String> = store.phone_minutes_since(100).await.unwrap().into_iter().map(|entry| entry.id).collect();
    assert_eq!(found, ["e2", "e4"]);
}
