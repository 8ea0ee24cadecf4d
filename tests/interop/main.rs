//! The whole server against an independent WebRTC stack (str0m): signalling, ICE, DTLS, SRTP, SCTP, WHIP and WHEP.
//!
//! Not here: real browsers (`tests/browser`), and what single modules promise. Everything runs over loopback.

mod audit;
mod caller;
mod light;
mod rooms;
mod outage;
#[path = "../../src/store/testing/postgres_server.rs"]
#[allow(dead_code)]
mod postgres_server;
mod scenarios;

use std::time::Duration;

use caller::{Caller, PAGE, Server, during, until};
use colloque_loadtest::api::Consultation;
use colloque_loadtest::connection::Sections;
use colloque_loadtest::signalling::{Received, Signalling};
use colloque_signaling::message::{ClientMessage, ErrorCode, MediaSource, MediaState, Role, ServerMessage, VERSION};
use str0m::RtcConfig;
use str0m::config::DtlsVersion;

async fn two_seats(server: &Server) -> Consultation {
    server.clinic.book(&[Role::Practitioner, Role::Patient]).await.unwrap()
}

/// Two pages that hear and see each other.
async fn call(server: &Server) -> (Caller, Caller) {
    let consultation = two_seats(server).await;
    let mut one = Caller::join(server, &consultation.seats[0], PAGE).await;
    let mut other = Caller::join(server, &consultation.seats[1], PAGE).await;
    until("both hear and see", [&mut one, &mut other], |callers| {
        callers.iter().all(|caller| caller.voices > 5 && caller.pictures > 20)
    })
    .await;
    (one, other)
}

/// Both still hear and see each other.
async fn goes_on(one: &mut Caller, other: &mut Caller) {
    let before = [(one.voices, one.pictures), (other.voices, other.pictures)];
    until("media goes on both ways", [one, other], |callers| {
        callers
            .iter()
            .zip(before)
            .all(|(caller, before)| caller.voices > before.0 + 20 && caller.pictures > before.1 + 50)
    })
    .await;
}

#[tokio::test]
async fn two_seats_hear_and_see_each_other_under_aead() {
    let server = Server::start();
    let (mut one, mut other) = call(&server).await;
    for caller in [&mut one, &mut other] {
        assert_eq!(caller.connection.srtp_overhead(), Some(16), "an AEAD profile was negotiated");
        assert!(caller.was_told(MediaState::Connected));
        let slots = caller.messages.iter().rev().find_map(|message| match message {
            ServerMessage::Slots { slots } => Some(slots),
            _ => None,
        });
        let [slot] = &slots.expect("slots were told")[..] else { panic!("one slot") };
        assert_eq!((slot.slot, slot.source, slot.codec_missing), (0, MediaSource::Camera, false));
        assert!(caller.keyframe_requests <= 5, "keyframes are asked for sparingly: {}", caller.keyframe_requests);
    }
    goes_on(&mut one, &mut other).await;
}

#[tokio::test]
async fn a_caller_with_dtls_1_3_is_connected() {
    let server = Server::start();
    let consultation = two_seats(&server).await;
    let config = RtcConfig::new().set_dtls_version(DtlsVersion::Auto);
    let mut one = Caller::join_with(&server, &consultation.seats[0], PAGE, config, |sdp| sdp).await;
    let mut other = Caller::join(&server, &consultation.seats[1], PAGE).await;
    until("media both ways", [&mut one, &mut other], |callers| callers.iter().all(|caller| caller.pictures > 20)).await;
}

#[tokio::test]
async fn a_whip_device_is_seen_by_a_page_and_by_a_whep_player() {
    let server = Server::start();
    let consultation = server.clinic.book(&[Role::Practitioner, Role::Patient, Role::Guest]).await.unwrap();
    let (mut device, resource) = Caller::publish(&server, &consultation.seats[0]).await;
    let (mut player, _) = Caller::play(&server, &consultation.seats[1]).await;
    let mut page = Caller::join(&server, &consultation.seats[2], Sections { slots: 1, ..Sections::default() }).await;
    until("the device is seen", [&mut device, &mut player, &mut page], |[_, player, page]| {
        [player, page].iter().all(|caller| caller.voices > 5 && caller.pictures > 20)
    })
    .await;
    server.clinic.close_endpoint(&resource).await.unwrap();
    during(Duration::from_millis(300), [&mut device, &mut player]).await;
    let before = (player.voices, player.pictures);
    during(Duration::from_millis(300), [&mut device, &mut player]).await;
    assert_eq!((player.voices, player.pictures), before, "nothing comes from a resource that was deleted");
}

#[tokio::test]
async fn media_goes_on_from_another_port() {
    let server = Server::start();
    let (mut one, mut other) = call(&server).await;
    one.connection.move_to_new_port(server.address()).unwrap();
    goes_on(&mut one, &mut other).await;
}

#[tokio::test]
async fn media_goes_on_when_a_nat_forgets_its_binding() {
    let server = Server::start();
    let (mut one, mut other) = call(&server).await;
    one.connection.rebind_unnoticed(server.address()).unwrap();
    goes_on(&mut one, &mut other).await;
}

#[tokio::test]
async fn media_goes_on_after_an_ice_restart() {
    let server = Server::start();
    let (mut one, mut other) = call(&server).await;
    let restart = one.connection.restart_ice().unwrap();
    let answer = one.negotiate(2, restart).await;
    goes_on(&mut one, &mut other).await;
    let again = one.connection.restart_ice().unwrap();
    let second = one.negotiate(3, again).await;
    let ufrag = |sdp: &str| sdp.lines().find(|line| line.starts_with("a=ice-ufrag:")).map(str::to_owned);
    assert!(ufrag(&answer).is_some() && ufrag(&answer) != ufrag(&second), "each restart has its own credentials");
    goes_on(&mut one, &mut other).await;
}

#[tokio::test]
async fn a_message_is_relayed_with_its_senders_seat() {
    let server = Server::start();
    let consultation = two_seats(&server).await;
    let sections = Sections { channel: Some("colloque"), ..PAGE };
    let mut one = Caller::join(&server, &consultation.seats[0], sections).await;
    let mut other = Caller::join(&server, &consultation.seats[1], sections).await;
    until("both channels open", [&mut one, &mut other], |callers| callers.iter().all(|caller| caller.channel_open))
        .await;
    // Without an envelope, and with a claimed sender: neither is relayed, and the channel lives on.
    assert!(one.connection.send_text("hello").unwrap());
    assert!(one.connection.send_text(r#"{"from":"someone","kind":"chat","body":1}"#).unwrap());
    assert!(one.connection.send_text(r#"{"kind":"chat","body":{"text":"bonjour"}}"#).unwrap());
    until("the message arrives", [&mut one, &mut other], |[_, other]| !other.texts.is_empty()).await;
    let sender = &consultation.seats[0].id;
    let expected = serde_json::json!({"from": sender, "kind": "chat", "body": {"text": "bonjour"}});
    let received: Vec<serde_json::Value> = other.texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    assert_eq!(received, [expected]);
    assert!(one.texts.is_empty(), "nobody hears himself");
}

#[tokio::test]
async fn a_certificate_other_than_announced_is_refused() {
    let server = Server::start();
    let consultation = two_seats(&server).await;
    let mut honest = Caller::join(&server, &consultation.seats[0], PAGE).await;
    let forge = |sdp: String| {
        let forge_line = |line: &str| match line.strip_prefix("a=fingerprint:sha-256 ") {
            Some(_) => format!("a=fingerprint:sha-256 {}", ["AB"; 32].join(":")),
            None => line.to_owned(),
        };
        sdp.lines().map(forge_line).collect::<Vec<_>>().join("\r\n") + "\r\n"
    };
    let mut forger = Caller::join_with(&server, &consultation.seats[1], PAGE, RtcConfig::new(), forge).await;
    until("the connection is given up", [&mut honest, &mut forger], |[_, forger]| forger.was_told(MediaState::Gone))
        .await;
    during(Duration::from_millis(500), [&mut honest, &mut forger]).await;
    assert!(!forger.was_told(MediaState::Connected));
    assert_eq!((forger.voices, forger.pictures, honest.voices, honest.pictures), (0, 0, 0, 0));
}

/// What the server answers to frames on a fresh socket: the error codes, and with what it closed.
async fn told(server: &Server, frames: &[String]) -> (Vec<ErrorCode>, Option<u16>) {
    let consultation = two_seats(server).await;
    let session = server.clinic.join(&consultation.seats[0].token).await.unwrap();
    let mut signalling = Signalling::open(&session.ws_url).await.unwrap();
    for frame in frames {
        let frame = frame.replace("SESSION", &session.session);
        signalling.send_text(frame).await.unwrap();
    }
    signalling.send(&ClientMessage::Ping { id: 9 }).await.ok();
    let mut codes = Vec::new();
    loop {
        match signalling.next().await {
            Ok(Received::Message(ServerMessage::Error { code, message, .. })) => {
                assert!(!message.is_empty() && !message.contains(&session.session), "{message}");
                codes.push(code);
            }
            Ok(Received::Message(ServerMessage::Pong { .. })) => return (codes, None),
            Ok(Received::Message(_)) => {}
            Ok(Received::Closed(code)) => return (codes, Some(code)),
            Err(error) => panic!("after {codes:?}: {error}"),
        }
    }
}

#[tokio::test]
async fn bad_messages_get_clear_errors() {
    let server = Server::start();
    let join = format!(r#"{{"type":"join","version":{VERSION},"session":"SESSION"}}"#);
    let offer = r#"{"type":"offer","id":4,"sdp":"v=0\r\n","senders":[]}"#.to_owned();
    let closed = |code| (vec![code], Some(4_004));
    assert_eq!(told(&server, &["hello".into()]).await, closed(ErrorCode::BadMessage));
    assert_eq!(told(&server, std::slice::from_ref(&offer)).await, closed(ErrorCode::OutOfOrder));
    assert_eq!(told(&server, &[join.replace("SESSION", "nonsense")]).await, closed(ErrorCode::BadSession));
    let version = join.replace(&format!(r#""version":{VERSION}"#), r#""version":99"#);
    assert_eq!(told(&server, &[version]).await, closed(ErrorCode::BadVersion));
    let stays = |code| (vec![code], None);
    assert_eq!(told(&server, &[join.clone(), offer]).await, stays(ErrorCode::BadOffer));
    assert_eq!(told(&server, &[join.clone(), r#"{"type":"dance"}"#.into()]).await, stays(ErrorCode::BadMessage));
    assert_eq!(told(&server, &[join.clone(), join]).await, stays(ErrorCode::OutOfOrder));
}

#[tokio::test]
async fn bad_whip_requests_get_problem_documents() {
    let server = Server::start();
    let seats = [(Role::Practitioner, true), (Role::Patient, false)];
    let consultation = server.clinic.book_seats(&seats).await.unwrap();
    let (admitted, waiting) = (&consultation.seats[0].token, &consultation.seats[1].token);
    let mut connection = colloque_loadtest::connection::Connection::open(server.address()).unwrap();
    let good = connection.offer(Sections { microphone: true, ..Sections::default() }).unwrap().sdp;
    let sdp = "application/sdp";
    let cases = [
        ("nonsense", sdp, good.clone(), 401, "unauthorized"),
        (waiting, sdp, good.clone(), 403, "not-admitted"),
        (admitted, "text/plain", good.clone(), 415, "unsupported-media-type"),
        (admitted, sdp, "v=0\r\n".into(), 422, "bad-offer"),
        (admitted, sdp, "\0".repeat(500), 422, "bad-offer"),
    ];
    for (token, content_type, body, status, problem) in cases {
        for path in ["/whip", "/whep"] {
            let response = server.clinic.post_sdp(path, token, content_type, body.clone()).await.unwrap();
            let document_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
            let (found, text) = (response.status().as_u16(), response.text().await.unwrap());
            assert_eq!(found, status, "{path} {problem}: {text}");
            assert_eq!(document_type.as_deref(), Some("application/problem+json"), "{path} {problem}");
            assert!(text.contains(problem), "{path}: {text}");
        }
    }
    // The server answers before it has read all of this, and closes: the answer may be lost on the way.
    if let Ok(response) = server.clinic.post_sdp("/whip", admitted, sdp, "x".repeat(2_000_000)).await {
        assert_eq!(response.status().as_u16(), 413);
    }
}
