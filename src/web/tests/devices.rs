//! One seat, one device: where it is opened again, what becomes of the page before, and what revocation ends.

use colloque_signaling::message::{ErrorCode, Presence};

use crate::sfu::command::Command;

use super::*;

async fn seat_path(server: &Server, what: &str) -> (Value, Value, String) {
    let (id, practitioner, patient) = server.book().await;
    let path = format!("/v1/consultations/{id}/seats/{}/{what}", patient["id"].as_str().unwrap());
    (practitioner, patient, path)
}

async fn open(server: &Server, seat: &Value, device: &str) -> Page {
    let (status, joined) = server.join(&seat["token"], device).await;
    assert_eq!(status, StatusCode::OK, "{joined}");
    let mut page = Page::open(server.address).await;
    page.session = joined["session"].as_str().unwrap().to_owned();
    page.say(&ClientMessage::Join { version: VERSION, session: page.session.clone(), resume: None }).await;
    assert!(matches!(page.hear().await, Some(ServerMessage::Welcome { .. })));
    page
}

/// Whether a session, with or without its ticket, still opens a socket.
async fn is_dead(server: &Server, session: &str, ticket: &str) -> bool {
    let mut dead = true;
    for resume in [None, Some(Resume { ticket: ticket.to_owned(), received: 1 })] {
        let mut page = Page::open(server.address).await;
        page.say(&ClientMessage::Join { version: VERSION, session: session.to_owned(), resume }).await;
        let refusal = page.hear().await.expect("a word before the end");
        dead &=
            matches!(refusal, ServerMessage::Error { code: ErrorCode::BadSession, .. } | ServerMessage::MovedDevice);
        dead &= page.hear().await.is_none();
    }
    dead
}

#[tokio::test]
async fn the_first_device_keeps_an_admitted_seat_over_reloads() {
    let server = Server::start().await;
    let (_, patient, admit) = seat_path(&server, "admit").await;
    server.join(&patient["token"], "tablet").await;
    assert_eq!(server.api("POST", &admit, Value::Null).await.0, StatusCode::NO_CONTENT);
    for _ in 0..3 {
        let (_, joined) = server.join(&patient["token"], "tablet").await;
        assert_eq!(joined["admitted"], json!(true));
    }
}

#[tokio::test]
async fn on_another_device_the_seat_waits_again_and_the_page_before_cannot_come_back() {
    let server = Server::start().await;
    let (_, patient, admit) = seat_path(&server, "admit").await;
    let before = open(&server, &patient, "tablet").await;
    server.api("POST", &admit, Value::Null).await;
    let (session, ticket) = (before.session.clone(), before.ticket.clone());

    let (_, joined) = server.join(&patient["token"], "telephone").await;
    assert_eq!(joined["admitted"], json!(false));
    let mut before = before;
    assert!(before.closes_after(&ServerMessage::MovedDevice).await);
    assert!(is_dead(&server, &session, &ticket).await);
    // Its own device again is another one than the last: it waits as well.
    let (_, joined) = server.join(&patient["token"], "tablet").await;
    assert_eq!(joined["admitted"], json!(false));
}

/// A link was opened on a tablet, on a telephone, and on the tablet again. A session named its device alone, so that what the tablet
/// had got the first time, and lost, was good again from the third opening on.
#[tokio::test]
async fn what_a_device_lost_stays_lost_when_it_comes_back() {
    let server = Server::start().await;
    let (practitioner, patient, _) = seat_path(&server, "admit").await;
    for seat in [patient, practitioner] {
        let first = open(&server, &seat, "tablet").await;
        let (session, ticket) = (first.session.clone(), first.ticket.clone());
        assert_eq!(server.join(&seat["token"], "telephone").await.0, StatusCode::OK);
        let again = open(&server, &seat, "tablet").await;
        assert!(is_dead(&server, &session, &ticket).await, "the older session of the same device");
        // A reload is no other opening: the sessions of one stay good together.
        let reloaded = open(&server, &seat, "tablet").await;
        assert!(!is_dead(&server, &again.session, &again.ticket).await);
        assert!(!is_dead(&server, &reloaded.session, &reloaded.ticket).await);
    }
}

/// A host clicked on the patient who waited; a moment before, somebody else had opened the link, and was let in unseen.
#[tokio::test]
async fn a_host_lets_in_whom_the_roster_showed_and_nobody_who_came_since() {
    let server = Server::start().await;
    let (practitioner, patient, admit) = seat_path(&server, "admit").await;
    let mut doctor = open(&server, &practitioner, "office").await;
    let seat = patient["id"].as_str().unwrap().to_owned();
    let shown = |message: &ServerMessage| match message {
        ServerMessage::Roster { seats } => {
            let info = seats.iter().find(|info| info.seat == seat)?;
            (info.presence == Presence::Waiting).then_some((info.arrival?, info.other_device))
        }
        _ => None,
    };
    let mut first = open(&server, &patient, "tablet").await;
    let (seen, _) = doctor.hear_until(shown).await;
    let roster = |message: &ServerMessage| match message {
        ServerMessage::Roster { seats } => Some(seats.clone()),
        _ => None,
    };
    let seats = first.hear_until(roster).await;
    assert!(seats.iter().all(|info| info.seat == seat || info.arrival.is_none()), "for hosts alone: {seats:?}");

    let mut second = open(&server, &patient, "telephone").await;
    let stale = json!({ "arrival": seen });
    doctor.say(&ClientMessage::Admit { seat: seat.clone(), arrival: Some(seen) }).await;
    assert_eq!(doctor.hear_error().await.1, ErrorCode::OutOfOrder);
    let (status, problem) = server.api("POST", &admit, stale).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    assert!(problem["type"].as_str().unwrap().ends_with("opened-elsewhere"), "{problem}");
    // Refused, the doctor looks again.
    doctor.say(&ClientMessage::Admit { seat: seat.clone(), arrival: Some(seen) }).await;
    let (now, _) = doctor.hear_until(|message| shown(message).filter(|(arrival, _)| *arrival != seen)).await;
    doctor.say(&ClientMessage::Admit { seat: seat.clone(), arrival: Some(now) }).await;
    second.hear_until(|message| matches!(message, ServerMessage::Admitted).then_some(())).await;
    let view = server.api("GET", admit.split("/seats").next().unwrap(), Value::Null).await.1;
    assert_eq!(view["seats"][1]["arrival"], json!(now));
    let (status, _) = server.api("POST", &admit, json!({ "arrival": now })).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn an_admission_by_api_has_no_body_or_a_good_one() {
    let server = Server::start().await;
    let (_, _, admit) = seat_path(&server, "admit").await;
    assert_eq!(server.api("POST", &admit, json!({"arrivals": 1})).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(server.api("POST", &admit, json!({"arrival": -1})).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(server.api("POST", &admit, json!({"arrival": 1})).await.0, StatusCode::CONFLICT, "nobody has come");
    assert_eq!(server.api("POST", &admit, json!({})).await.0, StatusCode::NO_CONTENT);
    assert_eq!(server.api("POST", &admit, Value::Null).await.0, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_page_that_keeps_no_identifier_is_another_device_each_time() {
    let server = Server::start().await;
    let (_, patient, admit) = seat_path(&server, "admit").await;
    server.join(&patient["token"], "").await;
    server.api("POST", &admit, Value::Null).await;
    assert_eq!(server.join(&patient["token"], "").await.1["admitted"], json!(false));
}

#[tokio::test]
async fn a_host_moves_without_waiting_and_the_page_before_cannot_come_back() {
    let server = Server::start().await;
    let (practitioner, ..) = seat_path(&server, "admit").await;
    let mut before = open(&server, &practitioner, "office").await;
    let (session, ticket) = (before.session.clone(), before.ticket.clone());
    let (_, joined) = server.join(&practitioner["token"], "home").await;
    assert_eq!(joined["admitted"], json!(true));
    let _after = open(&server, &practitioner, "home").await;
    while before.hear().await.is_some() {}
    assert!(is_dead(&server, &session, &ticket).await);
}

#[tokio::test]
async fn revocation_ends_links_sessions_tickets_sockets_and_legs_at_once_and_for_good() {
    let server = Server::start().await;
    let (_, patient, admit) = seat_path(&server, "admit").await;
    let revoke = admit.replace("/admit", "/revoke");
    let mut page = open(&server, &patient, "tablet").await;
    server.api("POST", &admit, Value::Null).await;
    let token = patient["token"].as_str().unwrap();
    let leg = Request::builder().method("POST").uri("/whip").header(header::CONTENT_TYPE, "application/sdp");
    let leg = leg.header(header::AUTHORIZATION, format!("Bearer {token}")).body(Body::from(CHROMIUM_SEND)).unwrap();
    let leg = server.send(leg).await.status();
    server.media.take();
    let (session, ticket) = (page.session.clone(), page.ticket.clone());

    let (status, renewed) = server.api("POST", &revoke, Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    while page.hear().await.is_some() {}
    let removed = server.media.take().iter().filter(|command| matches!(command, Command::RemoveLeg(_))).count();
    assert_eq!(removed, usize::from(leg == StatusCode::CREATED), "its leg went at once");
    assert!(is_dead(&server, &session, &ticket).await);
    assert_eq!(server.join(&patient["token"], "tablet").await.0, StatusCode::UNAUTHORIZED);

    let again = server.restarted_with(Acts::built_in()).await;
    assert!(is_dead(&again, &session, &ticket).await);
    assert_eq!(again.join(&patient["token"], "tablet").await.0, StatusCode::UNAUTHORIZED);
    let (status, joined) = again.join(&renewed["token"], "tablet").await;
    assert_eq!((status, &joined["admitted"]), (StatusCode::OK, &json!(false)), "somebody has to let them in again");
}

/// Two revocations at the same time read the same epoch and raised it to the same: both new links worked.
#[tokio::test]
async fn of_links_from_revocations_at_the_same_time_one_works() {
    let server = Server::start().await;
    let (_, patient, revoke) = seat_path(&server, "revoke").await;
    for live in [false, true] {
        let _page = match live {
            false => None,
            true => {
                let (_, renewed) = server.api("POST", &revoke, Value::Null).await;
                Some(open(&server, &renewed, "tablet").await)
            }
        };
        let revocations = (0..8).map(|_| server.api("POST", &revoke, Value::Null));
        let mut working = 0;
        for (status, renewed) in futures_util::future::join_all(revocations).await {
            assert_eq!(status, StatusCode::OK);
            working += usize::from(server.join(&renewed["token"], "tablet").await.0 == StatusCode::OK);
        }
        assert_eq!(working, 1, "a room that is live: {live}");
    }
    assert_eq!(server.join(&patient["token"], "tablet").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_link_that_is_opened_without_end_is_stopped() {
    let server = Server::start().await;
    let (_, patient, _) = seat_path(&server, "admit").await;
    let mut refused = 0;
    for _ in 0..60 {
        refused += usize::from(server.join(&patient["token"], "tablet").await.0 == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(refused >= 20, "{refused}");
    let (_, other, _) = seat_path(&server, "admit").await;
    assert_eq!(server.join(&other["token"], "tablet").await.0, StatusCode::OK, "only this seat");
}
