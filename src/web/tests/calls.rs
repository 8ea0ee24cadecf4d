//! What works: from a booking to an answered offer, and every way back after a loss.

use std::time::Instant;

use colloque_signaling::message::{ErrorCode, MediaSource, Presence, SenderInfo};

use crate::sfu::command::{Command, Event};
use crate::transport::srtp::Profile;
use crate::worker::WorkerId;

use super::*;

fn offer(id: u32, sdp: &str) -> ClientMessage {
    let sender = |mid: &str, source| SenderInfo { mid: mid.into(), source };
    let senders = vec![sender("0", MediaSource::Microphone), sender("1", MediaSource::Camera)];
    ClientMessage::Offer { id, sdp: sdp.into(), senders }
}

fn presence_of(message: &ServerMessage, seat: &Value) -> Option<Presence> {
    let ServerMessage::Roster { seats } = message else { return None };
    seats.iter().find(|info| info.seat == *seat["id"].as_str().unwrap()).map(|info| info.presence)
}

/// Admits the patient over the practitioner's socket.
async fn admit(doctor: &mut Page, patient_page: &mut Page, patient: &Value) {
    let seat = patient["id"].as_str().unwrap().to_owned();
    doctor.say(&ClientMessage::Admit { seat, arrival: None }).await;
    // The two sockets race: a patient whose `join` comes after the click is welcomed as admitted already.
    let admitted = |message: &ServerMessage| {
        matches!(message, ServerMessage::Admitted | ServerMessage::Welcome { admitted: true, .. }).then_some(())
    };
    patient_page.hear_until(admitted).await;
}

#[tokio::test]
async fn a_patient_waits_is_admitted_and_gets_an_answer() {
    let server = Server::start().await;
    let (id, practitioner, patient) = server.book().await;
    assert!(patient["link"].as_str().unwrap().contains("/join#"));

    let mut doctor = server.page(&practitioner).await;
    let admitted = doctor.hear_until(|m| match m {
        ServerMessage::Welcome { admitted, permissions, .. } => Some(*admitted && permissions.admit),
        _ => None,
    });
    assert!(admitted.await, "a host passes the waiting room");

    let mut page = server.page(&patient).await;
    let admitted = page.hear_until(|m| match m {
        ServerMessage::Welcome { admitted, .. } => Some(*admitted),
        _ => None,
    });
    assert!(!admitted.await);
    let names = page.hear_until(|m| match m {
        ServerMessage::Roster { seats } => {
            Some(seats.iter().map(|s| (s.role, s.display_name.clone())).collect::<Vec<_>>())
        }
        _ => None,
    });
    let names = names.await;
    assert_eq!(names.len(), 2);
    assert!(!names.iter().any(|(_, name)| name.as_deref() == Some("Dr Planted")), "no name before admission");
    page.say(&offer(1, CHROMIUM_SEND)).await;
    assert_eq!(page.hear_error().await.1, ErrorCode::OutOfOrder);
    assert!(!server.media.take().iter().any(|c| matches!(c, Command::AddLeg { .. })));

    doctor.hear_until(|m| (presence_of(m, &patient) == Some(Presence::Waiting)).then_some(())).await;
    admit(&mut doctor, &mut page, &patient).await;
    page.say(&offer(2, CHROMIUM_SEND)).await;
    let answer = page.hear_until(|m| match m {
        ServerMessage::Answer { id: 2, sdp } => Some(sdp.clone()),
        _ => None,
    });
    assert!(answer.await.contains("192.0.2.1"));
    let commands = server.media.take();
    let policy = commands.iter().rposition(|c| matches!(c, Command::SetPolicy { policy, .. } if policy.microphone));
    let leg = commands
        .iter()
        .position(|c| matches!(c, Command::AddLeg { stamp, .. } if **stamp == *patient["id"].as_str().unwrap()));
    assert!(policy.unwrap() < leg.unwrap(), "the policy is there before the leg");

    let (_, state) = server.api("GET", &format!("/v1/consultations/{id}"), Value::Null).await;
    assert_eq!(state["seats"][1]["presence"], "present");
    let (status, _) = server.api("DELETE", &format!("/v1/consultations/{id}"), Value::Null).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(page.closes_after(&ServerMessage::Ended).await);
    assert!(server.media.take().iter().any(|c| matches!(c, Command::CloseRoom(_))));
    let (status, problem) = server.join(&patient["token"], "").await;
    assert_eq!((status, &problem["type"]), (StatusCode::GONE, &json!("urn:colloque:problem:consultation-over")));
}

#[tokio::test]
async fn a_lost_socket_resumes_with_everything_it_missed_and_its_media_untouched() {
    let server = Server::start().await;
    let (_, practitioner, patient) = server.book().await;
    let mut doctor = server.page(&practitioner).await;
    let mut page = server.page(&patient).await;
    admit(&mut doctor, &mut page, &patient).await;
    page.say(&offer(1, CHROMIUM_SEND)).await;
    page.hear_until(|m| matches!(m, ServerMessage::Answer { .. }).then_some(())).await;
    server.media.take();

    let Page { socket, session, ticket, received } = page;
    drop(socket);
    doctor.hear_until(|m| (presence_of(m, &patient) == Some(Presence::Reconnecting)).then_some(())).await;
    let seat = patient["id"].as_str().unwrap().to_owned();
    doctor.say(&ClientMessage::Mute { seat, source: MediaSource::Camera, muted: true }).await;
    // One socket's messages are handled in order: the answer to the second proves that the first was carried out.
    doctor.say(&ClientMessage::Ping { id: 1 }).await;
    doctor.hear_until(|m| (*m == ServerMessage::Pong { id: 1 }).then_some(())).await;

    let away = Page { socket: Page::open(server.address).await.socket, session, ticket, received };
    let mut page = away.resume(server.address).await;
    assert!(matches!(page.hear().await, Some(ServerMessage::Resumed { .. })));
    let muted = ServerMessage::Muted { source: MediaSource::Camera, muted: true };
    page.hear_until(|m| (*m == muted).then_some(())).await;
    doctor.hear_until(|m| (presence_of(m, &patient) == Some(Presence::Present)).then_some(())).await;
    let commands = server.media.take();
    assert!(!commands.iter().any(|c| matches!(c, Command::RemoveLeg(_) | Command::AddLeg { .. })), "{commands:?}");
    assert!(
        commands.iter().any(|c| matches!(c, Command::SetPolicy { policy, .. } if !policy.camera && policy.microphone))
    );
}

#[tokio::test]
async fn a_second_tab_replaces_the_first_and_its_leg() {
    let server = Server::start().await;
    let (_, practitioner, _) = server.book().await;
    let mut first = server.page(&practitioner).await;
    first.say(&offer(1, CHROMIUM_SEND)).await;
    first.hear_until(|m| matches!(m, ServerMessage::Answer { .. }).then_some(())).await;
    let mut second = server.page(&practitioner).await;
    assert!(matches!(second.hear().await, Some(ServerMessage::Welcome { admitted: true, .. })));
    assert!(first.closes_after(&ServerMessage::Replaced).await);
    assert!(server.media.take().iter().any(|c| matches!(c, Command::RemoveLeg(_))));
    // The old page's ticket begins a new visit instead of resuming the other's.
    second.say(&ClientMessage::Ping { id: 7 }).await;
    second.hear_until(|m| (*m == ServerMessage::Pong { id: 7 }).then_some(())).await;
}

#[tokio::test]
async fn the_same_certificate_with_new_credentials_restarts_ice_on_the_same_leg() {
    let server = Server::start().await;
    let (_, practitioner, _) = server.book().await;
    let mut page = server.page(&practitioner).await;
    let ufrag = CHROMIUM_SEND.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).unwrap();
    let restarted = CHROMIUM_SEND.replace(&format!("a=ice-ufrag:{ufrag}"), "a=ice-ufrag:NEWU");
    let mut answers = Vec::new();
    for (id, sdp) in [(1, CHROMIUM_SEND), (2, CHROMIUM_SEND), (3, &*restarted)] {
        page.say(&offer(id, sdp)).await;
        answers.push(
            page.hear_until(|m| match m {
                ServerMessage::Answer { id: of, sdp } if *of == id => Some(sdp.clone()),
                _ => None,
            })
            .await,
        );
    }
    let own_ufrag = |answer: &str| answer.lines().find(|line| line.starts_with("a=ice-ufrag")).unwrap().to_owned();
    assert_eq!(own_ufrag(&answers[0]), own_ufrag(&answers[1]), "a repeated offer changes nothing");
    assert_ne!(own_ufrag(&answers[0]), own_ufrag(&answers[2]));
    let commands = server.media.take();
    assert_eq!(commands.iter().filter(|c| matches!(c, Command::AddLeg { .. })).count(), 1);
    let restarts: Vec<_> = commands.iter().filter(|c| matches!(c, Command::RestartIce { .. })).collect();
    assert!(matches!(restarts[..], [Command::RestartIce { remote, .. }] if remote.ufrag == "NEWU"));
}

#[tokio::test]
async fn a_seat_nobody_returns_to_is_given_up_after_the_grace_period() {
    let server = Server::start_with(Duration::from_millis(100), 10).await;
    let (_, practitioner, _) = server.book().await;
    let mut page = server.page(&practitioner).await;
    page.say(&offer(1, CHROMIUM_SEND)).await;
    page.hear_until(|m| matches!(m, ServerMessage::Answer { .. }).then_some(())).await;
    assert_eq!(server.consultations.census().rooms, 1);
    drop(page);
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if server.consultations.census().rooms == 0 {
            let commands = server.media.take();
            assert!(commands.iter().any(|c| matches!(c, Command::RemoveLeg(_))));
            assert!(matches!(commands.last(), Some(Command::CloseRoom(_))));
            return;
        }
    }
    panic!("the room is still there");
}

#[tokio::test]
async fn another_device_takes_an_admitted_seat_back_to_the_waiting_room() {
    let server = Server::start().await;
    let (id, practitioner, patient) = server.book().await;
    let _doctor = server.page(&practitioner).await;
    let (_, first) = server.join(&patient["token"], "phone").await;
    assert_eq!(first["admitted"], false);
    let path = format!("/v1/consultations/{id}/seats/{}/admit", patient["id"].as_str().unwrap());
    assert_eq!(server.api("POST", &path, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(server.join(&patient["token"], "phone").await.1["admitted"], true);
    assert_eq!(server.join(&patient["token"], "laptop").await.1["admitted"], false);
}

#[tokio::test]
async fn whip_and_whep_follow_their_life_cycle() {
    let server = Server::start().await;
    let (id, _, patient) = server.book().await;
    let call = |method: &str, path: &str, kind: &str, extra: Option<(&str, &str)>, body: &str| {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", patient["token"].as_str().unwrap()))
            .header(header::CONTENT_TYPE, kind);
        if let Some((name, value)) = extra {
            request = request.header(name, value);
        }
        server.send(request.body(Body::from(body.to_owned())).unwrap())
    };
    let refused = call("POST", "/whip", "application/sdp", None, CHROMIUM_SEND).await;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let path = format!("/v1/consultations/{id}/seats/{}/admit", patient["id"].as_str().unwrap());
    server.api("POST", &path, Value::Null).await;

    let played = call("POST", "/whep", "application/sdp", None, CHROMIUM_RECEIVE).await;
    assert_eq!(played.status(), StatusCode::CREATED);
    let created = call("POST", "/whip", "application/sdp", None, CHROMIUM_SEND).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    let text = |name: header::HeaderName| created.headers()[name].to_str().unwrap().to_owned();
    let (location, etag) = (text(header::LOCATION), text(header::ETAG));
    assert!(location.starts_with("/whip/") && etag.starts_with('"'));
    assert_eq!(text(header::CONTENT_TYPE), "application/sdp");

    let fragment = "application/trickle-ice-sdpfrag";
    let value = |key: &str| CHROMIUM_SEND.lines().find(|line| line.starts_with(key)).unwrap();
    let trickle = format!("{}\r\n{}\r\n", value("a=ice-ufrag:"), value("a=ice-pwd:"));
    let status = |response: Response<Body>| response.status();
    assert_eq!(status(call("PATCH", &location, fragment, None, &trickle).await), StatusCode::PRECONDITION_REQUIRED);
    let matched = Some(("if-match", etag.as_str()));
    assert_eq!(status(call("PATCH", &location, fragment, matched, &trickle).await), StatusCode::NO_CONTENT);
    let restart =
        "a=ice-ufrag:NEWU\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaaaa\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n";
    let restarted = call("PATCH", &location, fragment, Some(("if-match", "*")), restart).await;
    assert_eq!(restarted.status(), StatusCode::OK);
    assert_ne!(restarted.headers()[header::ETAG].to_str().unwrap(), etag);
    assert_eq!(status(call("PATCH", &location, fragment, matched, &trickle).await), StatusCode::PRECONDITION_FAILED);
    assert!(server.media.take().iter().any(|c| matches!(c, Command::RestartIce { .. })));

    assert_eq!(status(call("DELETE", &location, fragment, None, "").await), StatusCode::OK);
    assert_eq!(status(call("DELETE", &location, fragment, None, "").await), StatusCode::NOT_FOUND);
    assert!(server.media.take().iter().any(|c| matches!(c, Command::RemoveLeg(_))));
}

/// A cart's camera whose network is gone: the doctor sees within seconds that it is not the patient who sits so still.
#[tokio::test]
async fn a_device_that_falls_quiet_is_shown_as_reconnecting_until_it_is_heard_again() {
    let server = Server::start().await;
    let (id, practitioner, patient) = server.book().await;
    let path = format!("/v1/consultations/{id}/seats/{}/admit", patient["id"].as_str().unwrap());
    server.api("POST", &path, Value::Null).await;
    let request = Request::post("/whip")
        .header(header::AUTHORIZATION, format!("Bearer {}", patient["token"].as_str().unwrap()))
        .header(header::CONTENT_TYPE, "application/sdp");
    let created = server.send(request.body(Body::from(CHROMIUM_SEND)).unwrap()).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    let added = |command: Command| match command {
        Command::AddLeg { leg, .. } => Some(leg),
        _ => None,
    };
    let leg = server.media.take().into_iter().find_map(added).expect("a leg was added");
    let mut doctor = server.page(&practitioner).await;
    let report = |event: Event| server.consultations.handle_event(WorkerId(0), event);
    let connected = Event::LegConnected { leg, profile: Profile::AeadAes128Gcm, dtls_version: "", dtls_group: "" };
    for (event, presence) in [
        (connected, Presence::Present),
        (Event::LegQuiet { leg, since: Instant::now() }, Presence::Reconnecting),
        (Event::LegHeard(leg), Presence::Present),
        (Event::LegQuiet { leg, since: Instant::now() }, Presence::Reconnecting),
        (Event::LegGone(leg), Presence::Absent),
    ] {
        report(event);
        doctor.hear_until(|message| (presence_of(message, &patient) == Some(presence)).then_some(())).await;
    }
}

#[tokio::test]
async fn rooms_are_spread_over_the_workers() {
    let server = Server::start().await;
    let mut pages = Vec::new();
    for _ in 0..4 {
        let (_, practitioner, _) = server.book().await;
        let mut page = server.page(&practitioner).await;
        page.hear().await;
        pages.push(page);
    }
    let mut workers = server.media.rooms_by_worker();
    workers.sort_unstable();
    assert_eq!(workers, [0, 0, 1, 1]);
}
