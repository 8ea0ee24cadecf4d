//! Acts over the API and the socket: who may be booked, who waits, what a seat may do, and an act that is gone.

use colloque_signaling::message::{ErrorCode, Permissions, Role};

use crate::acts::{ActDefinition, Acts};
use crate::sfu::command::{Command, SeatPolicy};

use super::*;

async fn book(server: &Server, act: &str, roles: &[&str]) -> (StatusCode, Value) {
    let seats: Vec<Value> = roles.iter().map(|role| json!({"role": role})).collect();
    server.api("POST", "/v1/consultations", json!({"act": act, "seats": seats, "gates": no_gates()})).await
}

/// Whether the seat passed, and what it may do.
async fn welcomed(page: &mut Page) -> (bool, Permissions) {
    let welcome = |message: &ServerMessage| match message {
        ServerMessage::Welcome { admitted, permissions, .. } => Some((*admitted, *permissions)),
        _ => None,
    };
    page.hear_until(welcome).await
}

fn kiosk() -> Acts {
    #[derive(serde::Deserialize)]
    struct File {
        acts: Vec<ActDefinition>,
    }
    let text = "[[acts]]\nname = \"kiosk\"\nbase = \"teleconsultation\"\n\
                roles.patient = { seats = 1, may = [\"microphone\", \"see\", \"hear\"] }\n";
    Acts::with_variants(&toml::from_str::<File>(text).unwrap().acts).unwrap()
}

#[tokio::test]
async fn an_act_seats_only_its_roles_and_no_more_of_them_than_it_says() {
    let server = Server::start().await;
    for (act, roles, expected) in [
        ("teleconsultation", &["practitioner", "caller"][..], 422),
        ("tele_expertise", &["practitioner", "patient", "patient"], 422),
        ("regulation", &["regulator", "caller", "nurse"], 201),
        ("kiosk", &["patient"], 400),
        ("unconfigured", &["patient"], 400),
    ] {
        let (status, body) = book(&server, act, roles).await;
        assert_eq!(status, expected, "{act} {roles:?} {body}");
    }
    let (_, booked) = book(&server, "tele_expertise", &["practitioner", "patient"]).await;
    let seats = format!("/v1/consultations/{}/seats", booked["id"].as_str().unwrap());
    let patient = json!({"role": "patient"});
    assert_eq!(server.api("POST", &seats, patient.clone()).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let remove = format!("{seats}/{}/remove", booked["seats"][1]["id"].as_str().unwrap());
    assert_eq!(server.api("POST", &remove, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(server.api("POST", &seats, patient).await.0, StatusCode::CREATED, "the removed one left the seat");
}

#[tokio::test]
async fn who_waits_and_who_admits_is_the_acts_to_say() {
    let server = Server::start().await;
    let (_, booked) = book(&server, "telemonitoring", &["nurse", "patient"]).await;
    let mut nurse = server.page(&booked["seats"][0]).await;
    let (passes, may) = welcomed(&mut nurse).await;
    assert!(passes && may.admit && may.hand_over && !may.aside);
    let mut patient = server.page(&booked["seats"][1]).await;
    assert!(!welcomed(&mut patient).await.0);
    let hosts = patient.hear_until(|m| match m {
        ServerMessage::Roster { seats } => Some(seats.iter().map(|seat| seat.role).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(hosts.await, [Role::Nurse, Role::Patient], "the waiting patient sees that somebody is there");
    nurse.say(&ClientMessage::Admit { seat: booked["seats"][1]["id"].as_str().unwrap().into(), arrival: None }).await;
    patient.hear_until(|m| (*m == ServerMessage::Admitted).then_some(())).await;

    // The same roles in a teleconsultation: there the nurse waits and admits nobody.
    let (_, booked) = book(&server, "teleconsultation", &["practitioner", "nurse", "patient"]).await;
    let mut nurse = server.page(&booked["seats"][1]).await;
    assert!(!welcomed(&mut nurse).await.0);
    let mut doctor = server.page(&booked["seats"][0]).await;
    doctor.say(&ClientMessage::Admit { seat: booked["seats"][1]["id"].as_str().unwrap().into(), arrival: None }).await;
    nurse.hear_until(|m| (*m == ServerMessage::Admitted).then_some(())).await;
    nurse.say(&ClientMessage::Admit { seat: booked["seats"][2]["id"].as_str().unwrap().into(), arrival: None }).await;
    assert_eq!(nurse.hear_error().await.1, ErrorCode::NotPermitted);
}

#[tokio::test]
async fn a_trainee_says_it_sends_and_nobody_is_told_so_and_the_media_plane_is_told_no() {
    let server = Server::start().await;
    let (_, booked) = book(&server, "teleconsultation", &["practitioner", "trainee"]).await;
    let trainee = booked["seats"][1]["id"].as_str().unwrap().to_owned();
    let mut doctor = server.page(&booked["seats"][0]).await;
    let mut page = server.page(&booked["seats"][1]).await;
    doctor.say(&ClientMessage::Admit { seat: trainee.clone(), arrival: None }).await;
    page.hear_until(|m| {
        matches!(m, ServerMessage::Admitted | ServerMessage::Welcome { admitted: true, .. }).then_some(())
    })
    .await;
    page.say(&ClientMessage::Sending { microphone: true, camera: true, screen: true }).await;
    page.say(&ClientMessage::Ping { id: 9 }).await;
    page.hear_until(|m| (*m == ServerMessage::Pong { id: 9 }).then_some(())).await;
    // Something that changes the roster for certain: what it says of the trainee comes after the claim.
    doctor.say(&ClientMessage::Sending { microphone: true, camera: false, screen: false }).await;
    let claim = doctor.hear_until(|m| match m {
        ServerMessage::Roster { seats } if seats[0].microphone => Some(seats[1].clone()),
        _ => None,
    });
    let claim = claim.await;
    assert!(!claim.microphone && !claim.camera && !claim.screen, "{claim:?}");
    let expected = SeatPolicy { see: true, hear: true, read: true, ..SeatPolicy::default() };
    let policies: Vec<SeatPolicy> = server
        .media
        .take()
        .into_iter()
        .filter_map(|command| if let Command::SetPolicy { policy, .. } = command { Some(policy) } else { None })
        .collect();
    assert_eq!(policies.last(), Some(&expected), "the trainee's, once admitted");
    assert_eq!(policies.iter().filter(|policy| policy.microphone).count(), 1, "the practitioner's: {policies:?}");
}

#[tokio::test]
async fn a_consultation_outlives_the_configuration_of_its_act() {
    let before = Server::start().await;
    let first = before.restarted_with(kiosk()).await;
    let (status, booked) = book(&first, "kiosk", &["practitioner", "patient"]).await;
    assert_eq!(status, StatusCode::CREATED, "{booked}");
    let (practitioner, patient) = (&booked["seats"][0], &booked["seats"][1]);
    let mut page = first.page(patient).await;
    let (_, may) = welcomed(&mut page).await;
    assert!(may.microphone && !may.camera && !may.chat);

    let second = first.restarted_with(Acts::built_in()).await;
    let mut doctor = second.page(practitioner).await;
    let (passes, may) = welcomed(&mut doctor).await;
    assert!(passes && may.admit && may.end && may.microphone);
    assert!(!may.chat && !may.invite && !may.hand_over, "nobody knows whether the lost act allowed it");
    let mut page = second.page(patient).await;
    let (passes, may) = welcomed(&mut page).await;
    assert!(!passes && may.hear && !may.chat && !may.files && !may.screen);
    let path = format!("/v1/consultations/{}", booked["id"].as_str().unwrap());
    assert_eq!(second.api("GET", &path, Value::Null).await.1["act"], "kiosk");
    doctor.say(&ClientMessage::End).await;
    assert!(page.closes_after(&ServerMessage::Ended).await);
}
