//! What the journal is told of a consultation: everything once, each trouble with one cause.

use colloque_signaling::message::{MediaSource, SenderInfo};

use crate::ids::{LegId, SeatId, TrackId};
use crate::rtp::codec::Source;
use crate::sfu::command::{Command, Event};
use crate::transport::dtls::DtlsFailure;
use crate::transport::srtp::Profile;
use crate::worker::WorkerId;

use super::room::id;
use super::*;

impl Server {
    fn reports(&self, event: Event) {
        self.consultations.handle_event(WorkerId(0), event);
    }

    /// The leg that was added last, and its seat.
    fn last_leg(&self) -> (LegId, SeatId) {
        let added = |command: Command| match command {
            Command::AddLeg { leg, seat, .. } => Some((leg, seat)),
            _ => None,
        };
        self.media.take().into_iter().filter_map(added).next_back().expect("a leg was added")
    }
}

fn connected(leg: LegId) -> Event {
    Event::LegConnected { leg, profile: Profile::AeadAes128Gcm, dtls_version: "DTLSv1.3", dtls_group: "X25519MLKEM768" }
}

#[tokio::test]
async fn a_call_is_told_from_the_booking_to_its_end() {
    let server = Server::start().await;
    let (consultation, practitioner, patient) = server.book().await;
    let mut doctor = server.page_inside(&practitioner).await;
    let mut page = server.page(&patient).await;
    doctor.sees(&patient, |info| (info.presence == colloque_signaling::message::Presence::Waiting).then_some(())).await;
    doctor.say(&ClientMessage::Admit { seat: id(&patient).into(), arrival: None }).await;
    page.is_let_in().await;
    page.offers().await;
    let (leg, seat) = server.last_leg();
    server.reports(connected(leg));
    let track = TrackId(7);
    server.reports(Event::TrackStarted { seat, leg, track, source: Source::Microphone });
    page.say(&ClientMessage::Sending { microphone: false, camera: false, screen: false }).await;
    page.say(&ClientMessage::Sending { microphone: true, camera: true, screen: false }).await;
    page.settled().await;
    doctor.say(&ClientMessage::Mute { seat: id(&patient).into(), source: MediaSource::Microphone, muted: true }).await;
    doctor.settled().await;

    // The socket is lost and comes back: that is told, and nothing else again.
    let Page { socket, session, ticket, received } = page;
    drop(socket);
    doctor
        .sees(&patient, |info| (info.presence == colloque_signaling::message::Presence::Reconnecting).then_some(()))
        .await;
    let away = Page { socket: Page::open(server.address).await.socket, session, ticket, received };
    let mut page = away.resume(server.address).await;
    page.settled().await;
    page.say(&ClientMessage::Leave).await;
    doctor.sees(&patient, |info| (info.presence == colloque_signaling::message::Presence::Absent).then_some(())).await;
    doctor.say(&ClientMessage::End).await;
    assert!(doctor.closes_after(&ServerMessage::Ended).await);

    let told = server.told(&consultation, &[&practitioner, &patient]).await;
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    let expected = [
        "consultation.created",
        "0 seat.invited",
        "1 seat.invited",
        "0 seat.opened",
        "0 seat.joined",
        "1 seat.opened",
        "1 seat.waiting",
        "1 seat.admitted",
        "1 seat.joined",
        "1 seat.media_secured",
        "1 seat.media",
        "1 seat.media",
        "1 seat.media",
        "1 seat.muted",
        "1 seat.media",
        "1 seat.lost",
        "1 seat.back",
        "1 seat.left",
        "consultation.ended",
        "0 seat.left",
    ];
    assert_eq!(kinds, expected);
    let media: Vec<bool> =
        told.iter().filter(|(kind, _)| kind == "1 seat.media").map(|(_, data)| data["microphone"] == true).collect();
    assert_eq!(media, [true, false, true, false], "as forwarded: said so, and not muted");
    assert_eq!(told[9].1, json!({"dtls": "DTLSv1.3", "group": "X25519MLKEM768", "srtp": "AEAD_AES_128_GCM"}));
    assert_eq!(told[17].1["cause"], "left");
    assert_eq!(told[19].1["cause"], "ended");
}

#[tokio::test]
async fn each_trouble_is_told_once_with_one_cause() {
    let server = Server::start().await;
    let (consultation, practitioner, _) = server.book().await;
    let mut doctor = server.page_inside(&practitioner).await;
    let (leg, _) = server.last_leg();
    server.reports(Event::LegFailed { leg, reason: DtlsFailure::Handshake });
    let offer = |id| ClientMessage::Offer {
        id,
        sdp: "v=0".into(),
        senders: vec![SenderInfo { mid: "0".into(), source: MediaSource::Camera }],
    };
    for number in 2..5 {
        doctor.say(&offer(number)).await;
        doctor.hear_error().await;
    }
    doctor.offers().await;
    let (leg, _) = server.last_leg();
    server.reports(Event::LegGone(leg));
    doctor.offers().await;
    let (leg, _) = server.last_leg();
    server.reports(connected(leg));
    server.reports(Event::LegSilent(leg));
    server.reports(Event::LegGone(leg));
    doctor.settled().await;
    let told = server.told(&consultation, &[]).await;
    let causes: Vec<&Value> =
        told.iter().filter(|(kind, _)| kind == "seat.incident").map(|(_, data)| &data["cause"]).collect();
    assert_eq!(causes, ["handshake_failed", "offer_refused", "media_unreachable", "media_silent"]);
}

#[tokio::test]
async fn whoever_does_not_come_back_in_time_is_told_as_lost() {
    let server = Server::start_with(Duration::from_millis(50), 10).await;
    let (consultation, practitioner, _) = server.book().await;
    let page = server.page_inside(&practitioner).await;
    drop(page);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if server.consultations.census().rooms == 0 {
            break;
        }
    }
    let told = server.told(&consultation, &[&practitioner]).await;
    let tail: Vec<(&str, &Value)> =
        told[told.len() - 3..].iter().map(|(kind, data)| (kind.as_str(), &data["cause"])).collect();
    assert_eq!(
        tail,
        [
            ("0 seat.lost", &Value::Null),
            ("0 seat.incident", &json!("connection_lost")),
            ("0 seat.left", &json!("lost"))
        ]
    );
}
