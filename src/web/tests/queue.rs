//! One practitioner's row of consultations: who is before, who is next, and that nothing of one is left in another.

use colloque_signaling::message::Presence;

use super::room::id;
use super::*;

/// Two consultations of one queue, planned ten minutes apart.
async fn row(server: &Server) -> Vec<Value> {
    let mut booked = Vec::new();
    for minute in ["00", "10"] {
        let body = json!({"act": "teleconsultation", "gates": no_gates(), "queue": "dr-a",
            "starts_at": format!("2020-01-01T09:{minute}:00Z"),
            "seats": [{"role": "practitioner", "display_name": "Dr Planted"}, {"role": "patient"}]});
        booked.push(server.booked(body).await);
    }
    booked
}

async fn place(page: &mut Page, ahead: u32) {
    page.hear_until(|message| match message {
        ServerMessage::Queue { ahead: found, practitioner, .. } if *found == ahead => {
            assert_eq!(practitioner.as_deref(), Some("Dr Planted"));
            Some(())
        }
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn one_click_ends_a_consultation_and_lets_in_the_next_patient() {
    let server = Server::start().await;
    let booked = row(&server).await;
    let seat = |consultation: usize, seat: usize| booked[consultation]["seats"][seat].clone();
    let mut second = server.page(&seat(1, 1)).await;
    place(&mut second, 0).await;
    let mut first = server.page(&seat(0, 1)).await;
    place(&mut first, 0).await;
    place(&mut second, 1).await;
    let (_, view) = server.api("GET", "/v1/queues/dr-a", Value::Null).await;
    let shown =
        |key: &str| -> Vec<&Value> { view["consultations"].as_array().unwrap().iter().map(|c| &c[key]).collect() };
    assert_eq!(shown("id"), [&booked[0]["id"], &booked[1]["id"]]);
    assert_eq!((shown("waiting"), shown("ahead")), (vec![&json!(1), &json!(1)], vec![&json!(0), &json!(1)]));

    let mut doctor = server.page_inside(&seat(0, 0)).await;
    doctor.say(&ClientMessage::Admit { seat: id(&seat(0, 1)).into(), arrival: None }).await;
    first.is_let_in().await;
    place(&mut second, 0).await;
    first.say(&ClientMessage::Next).await;
    assert_eq!(first.hear_error().await.1, colloque_signaling::message::ErrorCode::NotPermitted);

    doctor.say(&ClientMessage::Next).await;
    let ServerMessage::Next { token: Some(token) } = doctor.last_words().await else { panic!("no token") };
    assert!(first.closes_after(&ServerMessage::Ended).await);
    second.is_let_in().await;
    let own = json!({"id": id(&seat(1, 0)), "token": token});
    let mut doctor = server.page(&own).await;
    doctor.sees(&seat(1, 1), |info| (info.presence == Presence::Present).then_some(())).await;
    assert_eq!(server.view(booked[0]["id"].as_str().unwrap()).await["seats"][0]["presence"], "absent");
    assert!(server.view(booked[0]["id"].as_str().unwrap()).await["ended_at"].is_string());

    doctor.say(&ClientMessage::Next).await;
    doctor.hears(ServerMessage::Next { token: None }).await;
    doctor.settled().await;
    let (_, view) = server.api("GET", "/v1/queues/dr-a", Value::Null).await;
    assert_eq!(view["consultations"].as_array().unwrap().len(), 1, "the one that goes on");
    assert_eq!(server.api("GET", "/v1/queues/dr-b", Value::Null).await.1["consultations"], json!([]));
}

#[tokio::test]
async fn ten_in_a_row_each_with_its_own_seats_and_nothing_of_the_one_before() {
    let server = Server::start_with(Duration::from_secs(120), 20).await;
    let mut tokens = Vec::new();
    let mut patients = Vec::new();
    for minute in 10..20 {
        let body = json!({"act": "teleconsultation", "gates": no_gates(), "queue": "anaesthesia",
            "starts_at": format!("2020-01-01T09:{minute}:00Z"),
            "seats": [{"role": "practitioner"}, {"role": "patient", "display_name": "P."}]});
        let booked = server.booked(body).await;
        tokens.push(booked["seats"][0].clone());
        patients.push((booked["seats"][1].clone(), server.page(&booked["seats"][1]).await));
    }
    let mut doctor = server.page_inside(&tokens[0]).await;
    doctor.say(&ClientMessage::Admit { seat: id(&patients[0].0).into(), arrival: None }).await;
    for index in 0..10 {
        patients[index].1.is_let_in().await;
        doctor.say(&ClientMessage::Next).await;
        if index == 9 {
            doctor.hears(ServerMessage::Next { token: None }).await;
            break;
        }
        let ServerMessage::Next { token: Some(token) } = doctor.last_words().await else { panic!("no token") };
        doctor = server.page(&json!({"id": "own", "token": token})).await;
        let roster = doctor.hear_until(|message| match message {
            ServerMessage::Roster { seats } if seats.len() == 2 => Some(seats.clone()),
            _ => None,
        });
        let roster = roster.await;
        assert_eq!(roster[1].seat, id(&patients[index + 1].0), "{index}");
    }
    assert_eq!(server.consultations.census().rooms, 1);
}

#[tokio::test]
async fn another_clinics_queue_of_the_same_name_is_another_queue() {
    let server = Server::start().await;
    let booked = row(&server).await;
    let _waiting = server.page(&booked[0]["seats"][1]).await;
    let (_, other) = server.consultations.add_clinic(Pii("Other".into())).await.unwrap();
    let request = Request::get("/v1/queues/dr-a").header(header::AUTHORIZATION, format!("Bearer {}", other.0));
    let (status, view) = json_of(server.send(request.body(Body::empty()).unwrap()).await).await;
    assert_eq!((status, &view["consultations"]), (StatusCode::OK, &json!([])));
}

#[tokio::test]
async fn whoever_waits_in_no_queue_hears_by_whom_they_are_awaited() {
    let server = Server::start().await;
    let (_, seats) = server.booked_roles("teleconsultation", &["practitioner", "patient"]).await;
    let mut page = server.page(&seats[1]).await;
    let expected =
        ServerMessage::Queue { ahead: 0, expected_seconds: None, practitioner: Some("N. practitioner".into()) };
    page.hears(expected).await;
}
