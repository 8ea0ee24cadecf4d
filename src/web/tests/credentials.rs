//! Credentials that are not accepted look alike, byte for byte; and what they would have opened stays shut.

use colloque_signaling::message::{ErrorCode, ServerMessage};
use colloque_signaling::token::{Claims, Key, Keyring, Purpose};

use crate::control::clinics::{self, ClinicId, Scopes};
use crate::control::clock::unix_now;
use crate::store::{Change, ClinicDemands, Store, Transaction};

use super::*;

/// Status, headers and body, as they go over the wire.
type Wire = (StatusCode, Vec<(String, Vec<u8>)>, Vec<u8>);

async fn wire(server: &Server, request: Request<Body>) -> Wire {
    let response = server.send(request).await;
    let headers =
        response.headers().iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    let status = response.status();
    (status, headers, axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec())
}

fn json_request(path: &str, body: Value) -> Request<Body> {
    let request = Request::builder().method("POST").uri(path).header(header::CONTENT_TYPE, "application/json");
    request.body(Body::from(body.to_string())).unwrap()
}

fn with_bearer(method: &str, path: &str, credential: &str, kind: &str, body: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind);
    request.header(header::AUTHORIZATION, format!("Bearer {credential}")).body(Body::from(body.to_owned())).unwrap()
}

/// All of them the same, with this status.
fn assert_alike(answers: &[(String, Wire)], status: StatusCode) {
    let (_, first) = &answers[0];
    assert_eq!(first.0, status, "{}", String::from_utf8_lossy(&first.2));
    for (name, answer) in answers {
        assert_eq!(answer, first, "{name}: {}", String::from_utf8_lossy(&answer.2));
    }
}

/// The server's own key, with which a test signs what the server would never give out.
async fn own_ring(server: &Server) -> Keyring {
    let keys = server.store.signing_keys().await.unwrap();
    let key = |at: usize| {
        let secret: &[u8; 32] = keys[at].secret.0.as_slice().try_into().unwrap();
        Key::new((keys[at].kid % 256) as u8, secret)
    };
    Keyring::new(key(0), None)
}

/// Tokens that must open nothing for `purpose`, by name. One good token of each purpose is taken as the pattern.
async fn mutants(server: &Server, purpose: Purpose) -> Vec<(String, String)> {
    let (consultation, practitioner, patient) = server.book().await;
    let seat = patient["id"].as_str().unwrap().to_owned();
    let ring = own_ring(server).await;
    let claims = Claims {
        consultation: consultation.clone(),
        seat: seat.clone(),
        epoch: 0,
        serial: 0,
        expires: unix_now() as u64 + 60,
    };
    let sign = |purpose, claims: &Claims| ring.sign(purpose, claims).unwrap();
    let good = sign(purpose, &claims);
    let others = [Purpose::Link, Purpose::Session, Purpose::Ticket].into_iter().filter(|other| *other != purpose);
    let mut mutants: Vec<(String, String)> = vec![
        ("expired".into(), sign(purpose, &Claims { expires: unix_now() as u64 - 1, ..claims.clone() })),
        ("epoch to come".into(), sign(purpose, &Claims { epoch: 1, ..claims.clone() })),
        ("unknown seat".into(), sign(purpose, &Claims { seat: "nobody".into(), ..claims.clone() })),
        ("seat of another room".into(), sign(purpose, &Claims { consultation: "elsewhere".into(), ..claims.clone() })),
        ("room for a seat".into(), sign(purpose, &Claims { seat: consultation.clone(), ..claims.clone() })),
        ("zero key".into(), Keyring::new(Key::new(1, &[0; 32]), None).sign(purpose, &claims).unwrap()),
        ("unknown key".into(), Keyring::new(Key::new(99, &[7; 32]), None).sign(purpose, &claims).unwrap()),
        ("API key".into(), server.api_key.clone()),
        ("PIN".into(), patient["pin"].as_str().unwrap().to_owned()),
        ("seat's name".into(), seat),
        ("room's name".into(), consultation),
        ("nothing".into(), String::new()),
        ("nonsense".into(), "x".repeat(300)),
        ("longest".into(), "A".repeat(512)),
        ("too long".into(), "A".repeat(5_000)),
        ("JWT without algorithm".into(), "eyJhbGciOiJub25lIn0.eyJzdWIiOiJkb2N0b3IifQ.".into()),
        ("signed JWT".into(), format!("eyJhbGciOiJIUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJkb2N0b3IifQ.{}", "A".repeat(43))),
        ("extended".into(), format!("{good}A")),
        ("padded".into(), format!("{good}=")),
        ("cut".into(), good[..good.len() - 1].to_owned()),
        ("twice".into(), format!("{good}{good}")),
    ];
    mutants.extend(others.map(|other| (format!("for another purpose: {other:?}"), sign(other, &claims))));
    if purpose == Purpose::Session {
        mutants.push(("link".into(), practitioner["token"].as_str().unwrap().to_owned()));
    }
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (at, byte) in good.bytes().enumerate().step_by(3) {
        let value = alphabet.iter().position(|&c| c == byte).unwrap();
        for bit in 0..6 {
            let mut flipped = good.clone().into_bytes();
            flipped[at] = alphabet[value ^ (1 << bit)];
            mutants.push((format!("bit {bit} of character {at}"), String::from_utf8(flipped).unwrap()));
        }
    }
    mutants
}

#[tokio::test]
async fn no_forged_link_is_exchanged_and_all_are_refused_alike() {
    let server = Server::start().await;
    let mut answers = Vec::new();
    for (name, token) in mutants(&server, Purpose::Link).await {
        let request = json_request("/v1/join", json!({"token": token, "device": "d"}));
        answers.push((name, wire(&server, request).await));
    }
    let (id, _, patient) = server.book().await;
    let path = format!("/v1/consultations/{id}/seats/{}/revoke", patient["id"].as_str().unwrap());
    assert_eq!(server.api("POST", &path, Value::Null).await.0, StatusCode::OK);
    let revoked = json_request("/v1/join", json!({"token": patient["token"], "device": "d"}));
    answers.push(("revoked".into(), wire(&server, revoked).await));
    assert_alike(&answers, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn no_forged_token_opens_a_leg_and_all_are_refused_alike() {
    let server = Server::start().await;
    let mutants = mutants(&server, Purpose::Link).await;
    for (method, path, kind) in [
        ("POST", "/whip", "application/sdp"),
        ("POST", "/whep", "application/sdp"),
        ("PATCH", "/whip/x", "application/trickle-ice-sdpfrag"),
        ("DELETE", "/whep/x", "application/sdp"),
    ] {
        let mut answers = Vec::new();
        for (name, token) in mutants.iter().filter(|(_, token)| !token.is_empty()) {
            answers.push((name.clone(), wire(&server, with_bearer(method, path, token, kind, CHROMIUM_SEND)).await));
        }
        assert_alike(&answers, StatusCode::UNAUTHORIZED);
    }
    assert!(server.media.take().is_empty(), "the media plane heard nothing");
}

#[tokio::test]
async fn no_forged_session_begins_a_login_and_all_are_refused_alike() {
    let server = Server::start().await;
    let mutants = mutants(&server, Purpose::Session).await;
    for (path, more) in [("/v1/login", json!({})), ("/v1/login/finish", json!({"code": "c", "state": "s"}))] {
        let mut answers = Vec::new();
        for (name, session) in &mutants {
            let mut body = more.clone();
            body["session"] = json!(session);
            answers.push((name.clone(), wire(&server, json_request(path, body)).await));
        }
        assert_alike(&answers, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn no_forged_session_or_ticket_joins_a_socket_and_all_are_refused_alike() {
    let server = Server::start().await;
    let mut seen = Vec::new();
    let fits_a_message = |(_, token): &(String, String)| token.len() < 1_000;
    for (name, session) in mutants(&server, Purpose::Session).await.into_iter().filter(fits_a_message).step_by(7) {
        let mut page = Page::open(server.address).await;
        page.say(&ClientMessage::Join { version: VERSION, session, resume: None }).await;
        seen.push((name, page.hear().await, page.hear().await));
    }
    let (first, closed) = (seen[0].1.clone().unwrap(), seen[0].2.clone());
    assert!(matches!(first, ServerMessage::Error { code: ErrorCode::BadSession, .. }) && closed.is_none());
    assert!(seen.iter().all(|(_, said, then)| said.as_ref() == Some(&first) && *then == closed), "{seen:?}");

    // A good session with a ticket that is none begins afresh: the ticket gives nothing.
    let (_, practitioner, _) = server.book().await;
    let (_, joined) = server.join(&practitioner["token"], "d").await;
    for (name, ticket) in mutants(&server, Purpose::Ticket).await.into_iter().step_by(40) {
        let mut page = Page::open(server.address).await;
        let session = joined["session"].as_str().unwrap().to_owned();
        page.say(&ClientMessage::Join { version: VERSION, session, resume: Some(Resume { ticket, received: 0 }) })
            .await;
        assert!(matches!(page.hear().await, Some(ServerMessage::Welcome { .. })), "{name}");
    }
}

#[tokio::test]
async fn no_wrong_api_key_opens_anything_and_all_are_refused_alike() {
    let server = Server::start().await;
    let (id, ..) = server.book().await;
    let (_, revoked) = server.consultations.add_clinic(Pii("Other".into())).await.unwrap();
    let record = server.store.api_key(&revoked.0[..11]).await.unwrap().unwrap();
    clinics::revoke_key(&*server.store, &ClinicId(record.clinic), &record.prefix).await.unwrap();
    let key = &server.api_key;
    let wrong: Vec<(String, String)> = vec![
        ("revoked".into(), revoked.0),
        ("unknown prefix".into(), format!("ck_AAAAAAAA{}", &key[11..])),
        ("known prefix, wrong key".into(), format!("{}{}", &key[..11], "A".repeat(43))),
        ("its prefix".into(), key[..11].to_owned()),
        ("cut".into(), key[..key.len() - 1].to_owned()),
        ("extended".into(), format!("{key}A")),
        ("another case".into(), key.to_uppercase()),
        ("its mark".into(), "ck_".into()),
        ("long".into(), "c".repeat(4_000)),
        ("SQL".into(), "ck_' OR 1=1".into()),
        ("room's name".into(), id.clone()),
    ];
    for (method, path) in [
        ("GET", format!("/v1/consultations/{id}")),
        ("DELETE", format!("/v1/consultations/{id}")),
        ("GET", "/v1/consultations/nothing".to_owned()),
        ("GET", "/v1/events".to_owned()),
        ("GET", format!("/v1/consultations/{id}/record")),
    ] {
        let mut answers = Vec::new();
        for (name, key) in &wrong {
            answers.push((name.clone(), wire(&server, with_bearer(method, &path, key, "application/json", "")).await));
        }
        assert_alike(&answers, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(server.api("GET", &format!("/v1/consultations/{id}"), Value::Null).await.0, StatusCode::OK);
}

#[tokio::test]
async fn what_is_anothers_and_what_is_not_there_look_alike() {
    let server = Server::start().await;
    let (id, _, patient) = server.book().await;
    let seat = patient["id"].as_str().unwrap();
    let (_, other) = server.consultations.add_clinic(Pii("Other".into())).await.unwrap();
    let ended = server.book().await.0;
    server.api("DELETE", &format!("/v1/consultations/{ended}"), Value::Null).await;
    for (method, end) in [
        ("GET", String::new()),
        ("DELETE", String::new()),
        ("POST", "/seats".to_owned()),
        ("POST", format!("/seats/{seat}/admit")),
        ("POST", format!("/seats/{seat}/remove")),
        ("POST", format!("/seats/{seat}/revoke")),
        ("GET", "/record".to_owned()),
    ] {
        let body = if end == "/seats" { json!({"role": "guest"}).to_string() } else { String::new() };
        let mut answers = Vec::new();
        for (name, consultation) in [("another clinic's", &id), ("ended", &ended), ("none", &"A".repeat(22))] {
            let path = format!("/v1/consultations/{consultation}{end}");
            let request = with_bearer(method, &path, &other.0, "application/json", &body);
            answers.push((format!("{method} {end} {name}"), wire(&server, request).await));
        }
        assert_alike(&answers, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say() {
    let server = Server::start().await;
    let (id, _, patient) = server.book().await;
    let record = server.store.api_key(&server.api_key[..11]).await.unwrap().unwrap();
    let clinic = ClinicId(record.clinic);
    let calls = [
        (
            "consultations:write",
            "POST",
            format!("/v1/consultations/{id}/seats/{}/admit", patient["id"].as_str().unwrap()),
        ),
        ("consultations:read", "GET", format!("/v1/consultations/{id}")),
        ("events:read", "GET", "/v1/events".to_owned()),
        ("record:read", "GET", format!("/v1/consultations/{id}/record")),
        ("webhooks:write", "GET", "/v1/webhooks".to_owned()),
        ("erase", "DELETE", "/v1/patients/nobody/data".to_owned()),
    ];
    for (scope, ..) in &calls {
        let key = clinics::add_key(&*server.store, &clinic, Scopes::parse(scope).unwrap()).await.unwrap();
        for (needed, method, path) in &calls {
            let response = server.send(with_bearer(method, path, &key.0, "application/json", "")).await;
            let (status, body) = json_of(response).await;
            let lacks = body["type"] == "urn:colloque:problem:scope";
            assert_eq!(lacks, needed != scope, "{scope}: {method} {path}: {status} {body}");
            assert_eq!(status == StatusCode::FORBIDDEN, lacks, "{scope}: {method} {path}: {status} {body}");
        }
        clinics::revoke_key(&*server.store, &clinic, &key.0[..11]).await.unwrap();
        let after = server.send(with_bearer("GET", "/v1/events", &key.0, "application/json", "")).await;
        assert_eq!(after.status(), StatusCode::UNAUTHORIZED, "revoked at once");
    }
    assert_eq!(server.api("POST", &calls[0].2, Value::Null).await.0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_clinic_revokes_no_key_of_another_and_settings_change() {
    let server = Server::start().await;
    let mine = server.store.api_key(&server.api_key[..11]).await.unwrap().unwrap();
    let (other, _) = server.consultations.add_clinic(Pii("Other".into())).await.unwrap();
    assert!(clinics::revoke_key(&*server.store, &other, &mine.prefix).await.is_err());
    assert!(server.store.api_key(&mine.prefix).await.unwrap().is_some());
    let demands = ClinicDemands { login: true, cards: true, acts_per_year: Some(5) };
    clinics::set_demands(&*server.store, &other, demands).await.unwrap();
    assert_eq!(server.store.clinic(&other.0).await.unwrap().unwrap().demands, demands);
    assert_eq!(server.store.clinic(&mine.clinic).await.unwrap().unwrap().demands, ClinicDemands::default());
    assert!(clinics::set_demands(&*server.store, &ClinicId("nobody".into()), demands).await.is_err());
    assert!(clinics::add_key(&*server.store, &ClinicId("nobody".into()), Scopes::all()).await.is_err());
    assert_eq!(server.store.clinics().await.unwrap().len(), 2);
}

#[tokio::test]
async fn links_outlive_one_rotation_and_no_second() {
    let server = Server::start().await;
    let (_, _, patient) = server.book().await;
    let kid = || async { server.store.signing_keys().await.unwrap()[0].kid };
    let before = kid().await;
    server.consultations.rotate_keys().await.unwrap();
    assert_eq!(kid().await, before + 1);
    assert_eq!(server.join(&patient["token"], "d").await.0, StatusCode::OK);
    let (_, _, later) = server.book().await;
    // Another process that read the keys at this moment agrees, and so does one that starts.
    let second = server.restarted_with(Acts::built_in()).await;
    assert_eq!(second.join(&later["token"], "d").await.0, StatusCode::OK);
    second.consultations.rotate_keys().await.unwrap();
    assert_eq!(second.join(&patient["token"], "d").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn two_that_rotate_at_once_make_one_key() {
    let server = Server::start().await;
    let keys = server.store.signing_keys().await.unwrap();
    let next = |secret: u8| {
        let key = crate::store::SigningKey { kid: keys[0].kid + 1, secret: Pii(vec![secret; 32]), created_at: 0 };
        Transaction { changes: vec![Change::AddSigningKey(key)], entries: Vec::new() }
    };
    server.store.commit(next(1)).await.unwrap();
    server.store.commit(next(2)).await.unwrap();
    assert_eq!(server.store.signing_keys().await.unwrap()[0].secret.0, vec![1; 32]);
}

#[tokio::test]
async fn a_link_says_until_when_it_works_and_no_longer_than_its_key() {
    let server = Server::start().await;
    for (days_ahead, lasts) in [(0, 1), (30, 31), (363, 364), (364, 365), (365, 365), (5_000, 365)] {
        let now = unix_now();
        let starts_at = crate::control::clock::format_rfc3339(now + days_ahead * 86_400);
        let body = json!({"act": "teleconsultation", "starts_at": starts_at, "seats": [{"role": "patient"}]});
        let (status, booked) = server.api("POST", "/v1/consultations", body).await;
        assert_eq!(status, StatusCode::CREATED, "{booked}");
        let expires_at = booked["seats"][0]["expires_at"].as_str().unwrap();
        let expires_at = crate::control::clock::parse_rfc3339(expires_at).unwrap();
        assert!((0..60).contains(&(expires_at - now - lasts * 86_400)), "{days_ahead} days ahead: {booked}");
        assert_eq!(server.join(&booked["seats"][0]["token"], "d").await.0, StatusCode::OK);
    }
}
