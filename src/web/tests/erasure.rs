//! Erasing by API: gone from memory, from the store and from its files; told, and of nobody.

use crate::control::clinics::Scope;
use crate::pii::Pii;
use crate::store::testing::{consultation, seat};
use crate::store::verify::Verifier;
use crate::store::{Change, ConsultationRecord, HeadKey, JournalReader, SeatRecord, Store, Transaction};

use super::*;

impl Server {
    /// Every byte of the store's files.
    fn raw(&self) -> Vec<u8> {
        let files = std::fs::read_dir(&self.dir).unwrap().flatten();
        files.flat_map(|file| std::fs::read(file.path()).unwrap()).collect()
    }

    fn holds(&self, text: &str) -> bool {
        self.raw().windows(text.len()).any(|bytes| bytes == text.as_bytes())
    }

    async fn clinic_id(&self) -> String {
        self.consultations.authorize(&self.api_key, Scope::Erase).await.unwrap().0
    }

    /// Books for a patient of this pseudonym.
    async fn book_for(&self, clinic: &str, id: &str, patient: &str) {
        let mut record = consultation(id, clinic);
        record.patient = Some(Pii(patient.to_owned()));
        let name = Some(Pii(format!("Name of {patient}")));
        let seats = vec![SeatRecord { display_name: name, ..seat(&format!("seat of {id}"), id) }];
        let changes = vec![Change::CreateConsultation(Box::new(record), seats)];
        let entries = vec![self.consultations.journal().entry(
            Some(clinic),
            Some(id),
            None,
            &crate::control::facts::Fact::ConsultationCreated { act: "teleconsultation".into() },
        )];
        self.consultations.journal().commit(Transaction { changes, entries }).await.unwrap();
    }

    /// Kinds of the journal, in order; panics when its chain is not whole.
    async fn whole_journal(&self) -> Vec<String> {
        let mut reader = JournalReader::open(&self.dir, None).await.unwrap();
        let key = HeadKey::open(&self.dir).unwrap().public_key();
        let mut verifier = Verifier::new(key, reader.begin()).unwrap();
        let mut kinds = Vec::new();
        loop {
            let entries = reader.entries_after(verifier.last()).await.unwrap();
            if entries.is_empty() {
                verifier.finish(reader.head()).unwrap();
                return kinds;
            }
            for entry in entries {
                let entry = entry.unwrap();
                verifier.feed(&entry).unwrap();
                kinds.push(entry.entry.kind);
            }
        }
    }
}

#[tokio::test]
async fn an_erased_consultation_is_gone_everywhere_and_its_journal_stays_whole() {
    let server = Server::start().await;
    let (id, practitioner, patient) = server.book().await;
    let mut host = server.page(&practitioner).await;
    assert!(server.holds("Patricia Planted"), "the test sees what the files hold");

    let foreign = Server::start().await;
    let path = format!("/v1/consultations/{id}/data");
    let missing = foreign.api("DELETE", &path, Value::Null).await;
    assert_eq!(missing.0, StatusCode::NOT_FOUND);
    assert_eq!(server.api("DELETE", &path, Value::Null).await, (StatusCode::NO_CONTENT, Value::Null));
    while host.hear().await.is_some() {}
    for planted in ["Patricia Planted", "+33 6 00 00 00 01", "Dr Planted"] {
        assert!(!server.holds(planted), "{planted}");
    }
    let (status, _) = server.api("GET", &format!("/v1/consultations/{id}"), Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let unknown = server.join(&json!("x"), "").await;
    assert_eq!(server.join(&patient["token"], "").await, unknown, "its links never were");
    assert_eq!(server.api("DELETE", &path, Value::Null).await, missing, "erased, unknown and another's are one");
    let told = server.whole_journal().await;
    let place = |kind: &str| told.iter().position(|told| told == kind).unwrap_or_else(|| panic!("{kind}: {told:?}"));
    assert!(place("consultation.created") < place("consultation.ended"));
    assert!(place("consultation.ended") < place("data.erased"));
}

#[tokio::test]
async fn an_erased_patient_is_gone_from_every_consultation_and_others_are_not() {
    let server = Server::start().await;
    let clinic = server.clinic_id().await;
    for (id, patient) in [("c1", "patient-one"), ("c2", "patient-one"), ("c3", "patient-two")] {
        server.book_for(&clinic, id, patient).await;
    }
    let erase = |patient: &str| format!("/v1/patients/{patient}/data");
    let (status, body) = server.api("DELETE", &erase("patient-one"), Value::Null).await;
    assert_eq!((status, body), (StatusCode::OK, json!({"consultations": 2})));
    assert!(!server.holds("patient-one") && server.holds("Name of patient-two"));
    assert_eq!(server.api("DELETE", &erase("patient-one"), Value::Null).await.0, StatusCode::NOT_FOUND);
    assert!(server.store.consultation("c3").await.unwrap().is_some());
    server.whole_journal().await;
}

#[tokio::test]
async fn what_is_past_its_retention_goes_and_what_is_not_stays() {
    let server = Server::start().await;
    let (old, ..) = server.book().await;
    server.api("DELETE", &format!("/v1/consultations/{old}"), Value::Null).await;
    let (running, practitioner, _) = server.book().await;
    let _host = server.page(&practitioner).await;
    assert_eq!(server.consultations.prune(Duration::from_secs(24 * 3_600)).await.unwrap(), 0);
    let before = server.whole_journal().await.len();
    // As seen from a second later: what is over is past a retention of none, what was told since then is not.
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let (_, young, _) = server.book().await;
    let removed = server.consultations.prune(Duration::from_secs(1)).await.unwrap();
    assert!(removed >= before as u64, "{removed} of {before}");
    let (status, _) = server.api("GET", &format!("/v1/consultations/{old}"), Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(server.join(&young["token"], "").await.0, StatusCode::OK);
    let told = server.whole_journal().await;
    assert!(told.iter().any(|kind| kind == "data.pruned"), "{told:?}");
    let (status, _) = server.api("GET", &format!("/v1/consultations/{running}"), Value::Null).await;
    assert_eq!(status, StatusCode::OK, "somebody is in it");
}

/// Pruning stopped as soon as no entries were left to remove, and a call takes a thousand consultations: of more than that without
/// entries as old, the rest stayed until the next day.
#[tokio::test]
async fn more_past_consultations_than_one_call_takes_go_at_once() {
    let server = Server::start().await;
    let clinic = server.store.clinics().await.unwrap().remove(0).id;
    let past = |number: u32| {
        let past = ConsultationRecord { ended_at: Some(3), ..consultation(&format!("past-{number}"), &clinic) };
        Change::CreateConsultation(Box::new(past), Vec::new())
    };
    let changes = (0..2_500).map(past).collect();
    server.store.commit(Transaction { changes, entries: Vec::new() }).await.unwrap();
    assert_eq!(server.consultations.prune(Duration::from_secs(3_600)).await.unwrap(), 0, "no entry was so old");
    for number in [0, 999, 1_000, 2_499] {
        assert!(server.store.consultation(&format!("past-{number}")).await.unwrap().is_none(), "{number}");
    }
}
