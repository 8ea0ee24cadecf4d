//! The record over HTTP: both forms, whose it is, the key that proves it, usage figures and the count of a year.

use crate::control::clock;
use crate::control::facts::{Actor, Departure, Fact};
use crate::control::record::statement::{PublicKey, Statement};
use crate::store::{
    ApiKeyRecord, Change, Clinic, ClinicDemands, ConsultationRecord, Entry, SeatRecord, Store, Transaction,
};

use super::*;

fn entry(clinic: &str, consultation: &str, seat: Option<&str>, at: i64, fact: &Fact) -> Entry {
    let (kind, data) = fact.to_parts();
    Entry {
        id: format!("{:x}", rand::random::<u128>()),
        at,
        clinic: Some(clinic.into()),
        consultation: Some(consultation.into()),
        seat: seat.map(str::to_owned),
        kind,
        data,
    }
}

const MINUTE: i64 = 60_000;

/// A consultation that was booked and held in the past.
struct Past<'a> {
    server: &'a Server,
    clinic: String,
    id: String,
}

impl<'a> Past<'a> {
    /// With the seats `doctor` and `patient`.
    async fn book(server: &'a Server, booked_at: i64) -> Past<'a> {
        let (other, ..) = server.book().await;
        let (like, seats) = server.store.consultation(&other).await.unwrap().unwrap();
        let id = format!("{:x}", rand::random::<u64>());
        let past = Past { server, clinic: like.clinic.clone(), id };
        let seat = |(seat, name): (&SeatRecord, &str)| SeatRecord {
            id: past.seat(name),
            consultation: past.id.clone(),
            pin: Pii(format!("{}-{name}", past.id)),
            phone_consent: false,
            ..seat.clone()
        };
        let seats = seats.iter().zip(["doctor", "patient"]).map(seat).collect();
        let record = ConsultationRecord { id: past.id.clone(), created_at: booked_at / 1_000, ..like };
        let created = Fact::ConsultationCreated { act: record.act.clone() };
        past.tell(vec![Change::CreateConsultation(Box::new(record), seats)], &[(booked_at, "", created)]).await;
        past
    }

    fn seat(&self, name: &str) -> String {
        format!("{}-{name}", self.id)
    }

    async fn tell(&self, changes: Vec<Change>, facts: &[(i64, &str, Fact)]) {
        let told = |(at, seat, fact): &(i64, &str, Fact)| {
            let seat = Some(self.seat(seat)).filter(|_| !seat.is_empty());
            entry(&self.clinic, &self.id, seat.as_deref(), *at, fact)
        };
        let entries = facts.iter().map(told).collect();
        self.server.store.commit(Transaction { changes, entries }).await.unwrap();
    }

    fn path(&self) -> String {
        format!("/v1/consultations/{}/record", self.id)
    }
}

impl Server {
    async fn clinic_of(&self, consultation: &str) -> String {
        self.store.consultation(consultation).await.unwrap().unwrap().0.clinic
    }

    async fn get(&self, path: &str, accept: &str) -> Response<Body> {
        let request = Request::builder()
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.api_key))
            .header(header::ACCEPT, accept)
            .body(Body::empty())
            .unwrap();
        self.send(request).await
    }
}

#[tokio::test]
async fn a_record_is_told_in_both_forms_and_its_statement_verifies() {
    let server = Server::start().await;
    // It ran all the time.
    let now = clock::unix_now_millis();
    std::fs::write(server.dir.join("runs"), format!("{} {now}\n", now - 60 * MINUTE)).unwrap();
    let server = server.restarted_with(Acts::built_in()).await;
    let past = Past::book(&server, now - 30 * MINUTE).await;
    let begin = now - 20 * MINUTE;
    let media = Fact::SeatMedia { microphone: true, camera: true, screen: false, telephone: false };
    let facts = [
        (begin, "doctor", Fact::SeatJoined {}),
        (begin, "doctor", media.clone()),
        (begin, "patient", Fact::SeatJoined {}),
        (begin, "patient", media),
        (begin + 10 * MINUTE, "patient", Fact::SeatLeft { cause: Departure::Left }),
        (begin + 10 * MINUTE, "", Fact::ConsultationEnded { by: Actor::Clinic }),
    ];
    let end = Change::EndConsultation { consultation: past.id.clone(), at: (begin + 10 * MINUTE) / 1_000 };
    past.tell(vec![end], &facts).await;
    let (id, path) = (past.id.clone(), past.path());
    let (status, record) = server.api("GET", &path, Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{record}");
    assert_eq!((&record["status"], &record["complete"]), (&json!("finished"), &json!(true)));
    assert_eq!(record["with_patient"]["minutes"], json!({"video": 10, "audio": 0, "telephone": 0}));
    assert_eq!(record["participants"][1]["display_name"], "Patricia Planted");

    let keys = PublicKey::read(&json_of(server.get("/v1/keys", "*/*").await).await.1.to_string()).unwrap();
    let (statement, _) = Statement::verify_file(&record.to_string(), &keys).unwrap();
    assert_eq!((statement.consultation.as_str(), statement.with_patient.minutes.video), (id.as_str(), 10));
    let pem = server.get("/v1/keys?format=pem", "*/*").await;
    let pem = axum::body::to_bytes(pem.into_body(), 1_000).await.unwrap();
    assert_eq!(PublicKey::read(std::str::from_utf8(&pem).unwrap()).unwrap(), keys);

    for (query, accept) in [("?format=fhir", "*/*"), ("", "application/fhir+json"), ("", "Application/FHIR+json;q=1")] {
        let answer = server.get(&format!("{path}{query}"), accept).await;
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/fhir+json");
        assert_eq!(
            (&answer.headers()[header::VARY], &answer.headers()[header::CACHE_CONTROL]),
            (&"accept".parse().unwrap(), &"no-store".parse().unwrap())
        );
        let (_, encounter) = json_of(answer).await;
        assert_eq!((&encounter["resourceType"], &encounter["status"]), (&json!("Encounter"), &json!("finished")));
    }
    for (query, accept) in [("?format=json", "application/fhir+json"), ("", "application/json, application/fhir+json")]
    {
        let (_, record) = json_of(server.get(&format!("{path}{query}"), accept).await).await;
        assert_eq!(record["version"], 1);
    }
    let (status, _) = server.api("GET", &format!("{path}?format=pdf"), Value::Null).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_restart_ends_what_was_counted_at_its_last_sign_of_life() {
    let server = Server::start().await;
    let now = clock::unix_now_millis();
    // A run that began an hour ago and gave its last sign twenty minutes ago, in the middle of a call.
    std::fs::write(server.dir.join("runs"), format!("{} {}\n", now - 60 * MINUTE, now - 20 * MINUTE)).unwrap();
    let server = server.restarted_with(Acts::built_in()).await;
    let past = Past::book(&server, now - 50 * MINUTE).await;
    let joined = now - 25 * MINUTE;
    past.tell(vec![], &[(joined, "doctor", Fact::SeatJoined {}), (joined, "patient", Fact::SeatJoined {})]).await;
    let (_, record) = server.api("GET", &past.path(), Value::Null).await;
    assert_eq!((&record["status"], &record["duration_seconds"]), (&json!("in_progress"), &json!(300)));
    assert_eq!(record["statement"]["incidents"], json!({"server_stopped": 2}));
}

#[tokio::test]
async fn another_clinics_record_is_not_there() {
    let server = Server::start().await;
    let (id, ..) = server.book().await;
    let (_, other) = server.consultations.add_clinic(Pii("Autre clinique".into())).await.unwrap();
    let own = server.api_key.clone();
    let mut answers = Vec::new();
    for (key, id) in [(other.0.as_str(), id.as_str()), (own.as_str(), "unknown")] {
        let request = Request::builder()
            .uri(format!("/v1/consultations/{id}/record"))
            .header(header::AUTHORIZATION, format!("Bearer {key}"))
            .body(Body::empty())
            .unwrap();
        answers.push(json_of(server.send(request).await).await);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].0, StatusCode::NOT_FOUND);
    let anonymous = Request::builder().uri(format!("/v1/consultations/{id}/record")).body(Body::empty()).unwrap();
    assert_eq!(server.send(anonymous).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn usage_tells_months_that_are_over_and_no_small_number() {
    let server = Server::start().await;
    let (id, ..) = server.book().await;
    let clinic = server.clinic_of(&id).await;
    let at = |text: &str| clock::parse_rfc3339(text).unwrap();
    let (march, april) = (at("2025-03-10T12:00:00Z"), at("2025-04-10T12:00:00Z"));
    for (prefix, month, count) in [("972", march, 14), ("973", march, 11), ("974", march, 3), ("972", april, 9)] {
        for number in 0..count {
            let id = format!("{prefix}-{month}-{number}");
            let held = entry(&clinic, &id, None, month * 1_000, &Fact::SeatJoined {});
            let changes = vec![Change::CreateConsultation(Box::new(held_in(&clinic, &id, prefix, month)), vec![])];
            server.store.commit(Transaction { changes, entries: vec![held] }).await.unwrap();
        }
    }
    let (status, usage) =
        server.api("GET", "/v1/usage?from=2025-03-31T00:00:00Z&to=2025-04-01T00:00:01Z", Value::Null).await;
    assert_eq!(status, StatusCode::OK, "{usage}");
    let cell = json!({"postal_prefix": "972", "act": "teleconsultation", "consultations": 14});
    let expected = json!({"threshold": 10, "months": [
        {"month": "2025-03", "total": 28, "cells": [cell]},
        {"month": "2025-04", "total": null, "cells": []},
    ]});
    assert_eq!(usage, expected);
    let running = format!("/v1/usage?from={0}&to={0}", clock::format_rfc3339(clock::unix_now()));
    for path in
        [running.as_str(), "/v1/usage?from=2000-01-01T00:00:00Z&to=2025-01-01T00:00:00Z", "/v1/usage?from=a&to=b"]
    {
        assert_eq!(server.api("GET", path, Value::Null).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
    }
    assert_eq!(server.api("GET", "/v1/usage?from=a", Value::Null).await.0, StatusCode::BAD_REQUEST);
    let now = clock::unix_now();
    let (from, to) = (clock::format_rfc3339(now - 60), clock::format_rfc3339(now + 60));
    let (_, usage) = server.api("GET", &format!("/v1/usage?from={from}&to={to}"), Value::Null).await;
    let this_month = &clock::format_rfc3339(now)[..7];
    assert!(!usage.to_string().contains(this_month), "the month is not over: {usage}");
}

fn held_in(clinic: &str, id: &str, prefix: &str, at: i64) -> ConsultationRecord {
    ConsultationRecord {
        id: id.into(),
        clinic: clinic.into(),
        act: "teleconsultation".into(),
        language: "fr".into(),
        priority: None,
        starts_at: None,
        created_at: at,
        booking: 0,
        ended_at: Some(at),
        gates: None,
        patient: None,
        postal_prefix: Some(prefix.into()),
        queue: None,
        login: false,
        locked: false,
        e2ee: "off".into(),
    }
}

#[tokio::test]
async fn schemas_are_published_and_others_are_not_there() {
    let server = Server::start().await;
    for name in ["record", "statement", "usage", "capabilities"] {
        let (status, schema) = server.api("GET", &format!("/v1/schemas/{name}.json"), Value::Null).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(schema["$id"], format!("http://127.0.0.1:1/v1/schemas/{name}.json"));
    }
    assert_eq!(server.api("GET", "/v1/schemas/secret.json", Value::Null).await.0, StatusCode::NOT_FOUND);
    let (_, capabilities) = server.api("GET", "/capabilities", Value::Null).await;
    assert_eq!(capabilities["recording"], "absent");
}

/// A clinic of the server's that has a yearly limit.
async fn clinic_with_limit(server: &Server, limit: u32) -> String {
    let key = format!("ck_{}", "k".repeat(51));
    let mut hash = [0; 32];
    hash.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes()).as_ref());
    let record = ApiKeyRecord {
        prefix: key[..11].to_owned(),
        hash: Pii(hash),
        clinic: "strict".into(),
        scopes: "consultations:write consultations:read events:read record:read".into(),
    };
    let demands = ClinicDemands { acts_per_year: Some(limit), ..ClinicDemands::default() };
    let clinic = Clinic { id: "strict".into(), name: Pii("Stricte".into()), demands };
    let changes = vec![Change::AddClinic(clinic), Change::AddApiKey(record, 0)];
    server.store.commit(Transaction { changes, entries: vec![] }).await.unwrap();
    key
}

#[tokio::test]
async fn a_patients_acts_of_the_year_are_counted_and_professionals_are_warned() {
    let mut server = Server::start().await;
    server.api_key = clinic_with_limit(&server, 3).await;
    let booking = |patient: &str, starts_at: &str| {
        let seats = json!([
            {"role": "practitioner", "admitted": true},
            {"role": "patient", "admitted": true},
        ]);
        json!({"act": "teleconsultation", "patient": patient, "starts_at": starts_at, "seats": seats})
    };
    let mut last = Value::Null;
    let mut counts = Vec::new();
    for (patient, year) in [("P-1", 2031), ("P-1", 2031), ("P-2", 2031), ("P-1", 2032), ("P-1", 2031), ("P-1", 2031)] {
        let body = booking(patient, &format!("{year}-03-01T09:00:00Z"));
        let (status, booked) = server.api("POST", "/v1/consultations", body).await;
        assert_eq!(status, StatusCode::CREATED, "{booked}");
        counts.push(booked["acts"].clone());
        last = booked;
    }
    let acts = |count: u32, warning: Option<&str>| json!({"count": count, "limit": 3, "warning": warning});
    let expected = [
        acts(1, None),
        acts(2, Some("near")),
        acts(1, None),
        acts(1, None),
        acts(3, Some("last")),
        acts(4, Some("past")),
    ];
    assert_eq!(counts, expected);
    server.consultations.journal().flush().await;
    let (_, events) = server.api("GET", "/v1/events?after=0", Value::Null).await;
    assert_eq!(events.to_string().matches("consultation.acts_near_limit").count(), 3, "{events}");

    let mut doctor = server.page(&last["seats"][0]).await;
    let mut patient = server.page(&last["seats"][1]).await;
    let told = doctor.hear_until(|m| match m {
        ServerMessage::Acts { count, limit } => Some((*count, *limit)),
        _ => None,
    });
    assert_eq!(told.await, (4, 3));
    patient.say(&ClientMessage::Ping { id: 5 }).await;
    let done = patient.hear_until(|m| match m {
        ServerMessage::Acts { .. } => Some(false),
        ServerMessage::Pong { id: 5 } => Some(true),
        _ => None,
    });
    assert!(done.await, "the patient is not told");
}

#[tokio::test]
async fn real_visits_make_a_record() {
    let server = Server::start().await;
    let (id, doctor, patient) = server.book().await;
    let mut pages = (server.page(&doctor).await, server.page(&patient).await);
    for page in [&mut pages.0, &mut pages.1] {
        assert!(matches!(page.hear().await, Some(ServerMessage::Welcome { .. })));
    }
    let (status, _) = server.api("DELETE", &format!("/v1/consultations/{id}"), Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, _) = server.join(&patient["token"], "").await;
    assert_eq!(status, StatusCode::GONE);
    drop(pages);
    let (_, record) = server.api("GET", &format!("/v1/consultations/{id}/record"), Value::Null).await;
    assert_eq!(record["status"], "finished", "{record}");
    let joined = |index: usize| record["participants"][index]["joined_at"].is_string();
    assert!(joined(0) && !joined(1), "the patient waited and was never let in: {record}");
}
