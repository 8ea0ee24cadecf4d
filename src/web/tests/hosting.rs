//! Those who run a consultation: lock, invite, hand over, speak apart; and those who may not.

use colloque_signaling::message::{ErrorCode, HandOverReason, Presence, Role};

use super::room::{OWN_DEVICE, Wire, id, is_shut};
use super::*;

fn hand_over(to: &str) -> ClientMessage {
    ClientMessage::HandOver { to: to.to_owned(), reason: HandOverReason::ShiftEnd }
}

#[tokio::test]
async fn a_locked_room_keeps_out_whoever_is_not_in_it_until_let_in_by_hand() {
    let server = Server::start().await;
    let roles = ["practitioner", "patient", "companion", "practitioner"];
    let (consultation, seats) = server.booked_roles("teleconsultation", &roles).await;
    for seat in &seats[1..3] {
        server.on_seat(&consultation, seat, "admit", Value::Null).await;
    }
    let mut doctor = server.page_inside(&seats[0]).await;
    let mut patient = server.page_inside(&seats[1]).await;
    patient.say(&ClientMessage::Lock { locked: true }).await;
    assert_eq!(patient.hear_error().await.1, ErrorCode::NotPermitted);
    doctor.say(&ClientMessage::Lock { locked: true }).await;
    patient.hears(ServerMessage::Locked { locked: true }).await;

    let mut companion = server.page(&seats[2]).await;
    companion.hears(ServerMessage::Locked { locked: true }).await;
    doctor.sees(&seats[2], |info| (info.presence == Presence::Waiting).then_some(())).await;
    let mut colleague = server.page(&seats[3]).await;
    colleague.hears(ServerMessage::Locked { locked: true }).await;
    doctor.say(&ClientMessage::Admit { seat: id(&seats[3]).into(), arrival: None }).await;
    colleague.is_let_in().await;
    assert!(!companion.settled().await.contains(&ServerMessage::Admitted));

    // Whoever is inside comes back, also by a second page; whoever has left does not.
    let mut again = server.page_on(&seats[1], OWN_DEVICE).await;
    again.is_let_in().await;
    again.say(&ClientMessage::Leave).await;
    assert_eq!(again.hear_until(|_| Some(())).await, ());
    let mut back = server.page_on(&seats[1], OWN_DEVICE).await;
    back.hears(ServerMessage::Locked { locked: true }).await;
    assert!(!back.settled().await.contains(&ServerMessage::Admitted));

    assert_eq!(server.view(&consultation).await["locked"], true);
    let path = format!("/v1/consultations/{consultation}/unlock");
    assert_eq!(server.api("POST", &path, Value::Null).await.0, StatusCode::NO_CONTENT);
    back.is_let_in().await;
    companion.is_let_in().await;
    let told = server.told(&consultation, &[]).await;
    let locks: Vec<&(String, Value)> = told.iter().filter(|(kind, _)| kind.ends_with("locked")).collect();
    assert_eq!(locks.len(), 2);
    assert_eq!(locks[0].1["by"], json!({"seat": id(&seats[0])}));
    assert_eq!((locks[1].0.as_str(), &locks[1].1["by"]), ("consultation.unlocked", &json!("clinic")));
}

#[tokio::test]
async fn a_lock_survives_a_restart_and_lets_in_whoever_can_open_it() {
    let server = Server::start().await;
    let (consultation, seats) = server.booked_roles("teleconsultation", &["practitioner", "patient"]).await;
    server.on_seat(&consultation, &seats[1], "admit", Value::Null).await;
    let path = format!("/v1/consultations/{consultation}/lock");
    assert_eq!(server.api("POST", &path, Value::Null).await.0, StatusCode::NO_CONTENT);
    let restarted = server.restarted_with(Acts::built_in()).await;
    let mut patient = restarted.page(&seats[1]).await;
    patient.hears(ServerMessage::Locked { locked: true }).await;
    let mut doctor = restarted.page_inside(&seats[0]).await;
    doctor.say(&ClientMessage::Lock { locked: false }).await;
    patient.is_let_in().await;
}

#[tokio::test]
async fn a_host_invites_in_mid_call_and_everyone_is_told_who_came() {
    let server = Server::start().await;
    let (consultation, seats) = server.booked_roles("teleconsultation", &["practitioner", "patient"]).await;
    server.on_seat(&consultation, &seats[1], "admit", Value::Null).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    let mut patient = server.page_inside(&seats[1]).await;
    let invite = |role, name: Option<&str>| ClientMessage::Invite { role, display_name: name.map(str::to_owned) };
    patient.say(&invite(Role::Companion, None)).await;
    assert_eq!(patient.hear_error().await.1, ErrorCode::NotPermitted);
    for (role, name) in [(Role::Caller, None), (Role::Interpreter, Some("x".repeat(201)))] {
        doctor.say(&invite(role, name.as_deref())).await;
        assert_eq!(doctor.hear_error().await.1, ErrorCode::NotPermitted);
    }
    doctor.say(&invite(Role::Interpreter, Some("Awa Planted"))).await;
    let (seat, link) = doctor
        .hear_until(|message| match message {
            ServerMessage::Invited { seat, role: Role::Interpreter, link } => Some((seat.clone(), link.clone())),
            _ => None,
        })
        .await;
    let told = patient.settled().await;
    assert!(!told.iter().any(|message| matches!(message, ServerMessage::Invited { .. })), "only to whoever asked");

    let invited = json!({"id": seat, "token": link.split('#').nth(1).unwrap()});
    let mut interpreter = server.page_on(&invited, OWN_DEVICE).await;
    doctor.sees(&invited, |info| (info.presence == Presence::Waiting).then_some(())).await;
    doctor.say(&ClientMessage::Admit { seat: seat.clone(), arrival: None }).await;
    interpreter.is_let_in().await;
    let arrived = ServerMessage::Arrived {
        seat: seat.clone(),
        role: Role::Interpreter,
        display_name: Some("Awa Planted".into()),
    };
    doctor.hears(arrived.clone()).await;
    patient.hears(arrived.clone()).await;
    let mut again = server.page_on(&invited, OWN_DEVICE).await;
    again.is_let_in().await;
    assert!(!doctor.settled().await.contains(&arrived), "announced the first time only");
    let told = server.told(&consultation, &[]).await;
    let fact = told.iter().rev().find(|(kind, _)| kind == "seat.invited").unwrap();
    assert_eq!(fact.1, json!({"role": "interpreter", "by": {"seat": id(&seats[0])}}));
}

#[tokio::test]
async fn invitations_at_once_are_no_more_than_the_act_has_seats() {
    let server = Server::start().await;
    let (consultation, seats) = server.booked_roles("tele_expertise", &["practitioner", "nurse"]).await;
    let path = format!("/v1/consultations/{consultation}/seats");
    let mut doctor = server.page_inside(&seats[0]).await;
    for _ in 0..3 {
        doctor.say(&ClientMessage::Invite { role: Role::Nurse, display_name: None }).await;
    }
    let by_api = (0..5).map(|_| server.api("POST", &path, json!({"role": "nurse"})));
    let answers = futures_util::future::join_all(by_api).await;
    let taken = answers.iter().filter(|(status, _)| *status == StatusCode::CREATED).count();
    assert!(answers.iter().all(|(status, _)| matches!(status.as_u16(), 201 | 422)), "{answers:?}");
    let by_host = doctor.settled().await;
    let invited = by_host.iter().filter(|message| matches!(message, ServerMessage::Invited { .. })).count();
    assert_eq!(taken + invited, 3, "four nurses' seats, one of them booked");
}

#[tokio::test]
async fn a_consultation_goes_to_a_colleague_once_they_are_there() {
    let server = Server::start().await;
    let roles = ["practitioner", "patient", "practitioner", "nurse"];
    let (consultation, seats) = server.booked_roles("teleconsultation", &roles).await;
    server.on_seat(&consultation, &seats[1], "admit", Value::Null).await;
    let (giver, taker) = (id(&seats[0]), id(&seats[2]));
    let mut doctor = server.page_inside(&seats[0]).await;
    let mut patient = server.page_inside(&seats[1]).await;
    for (to, code) in [
        (giver, ErrorCode::NotPermitted),
        (id(&seats[1]), ErrorCode::NotPermitted),
        (id(&seats[3]), ErrorCode::NotPermitted),
        ("nobody", ErrorCode::NotFound),
    ] {
        doctor.say(&hand_over(to)).await;
        assert_eq!(doctor.hear_error().await.1, code, "{to}");
    }
    patient.say(&hand_over(taker)).await;
    assert_eq!(patient.hear_error().await.1, ErrorCode::NotPermitted);
    assert!(!server.kinds(&consultation, &[]).await.iter().any(|kind| kind.starts_with("hand_over")));

    doctor.say(&hand_over(taker)).await;
    let message = |done| ServerMessage::HandOver {
        from: giver.into(),
        to: taker.into(),
        to_name: Some("N. practitioner".into()),
        reason: HandOverReason::ShiftEnd,
        done,
    };
    patient.hears(message(false)).await;
    let mut colleague = server.page_inside(&seats[2]).await;
    patient.hears(message(true)).await;
    let left = doctor.hears_permissions().await;
    assert!(left.microphone && !(left.admit || left.remove || left.mute || left.invite || left.hand_over || left.end));
    doctor.say(&ClientMessage::End).await;
    assert_eq!(doctor.hear_error().await.1, ErrorCode::NotPermitted);
    let told = server.told(&consultation, &[&seats[0]]).await;
    let facts: Vec<&(String, Value)> = told.iter().filter(|(kind, _)| kind.contains("hand_over")).collect();
    assert_eq!(facts[0], &("0 hand_over.announced".into(), json!({"to": taker, "reason": "shift_end"})));
    assert_eq!((facts.len(), facts[1]), (2, &("0 hand_over.done".into(), json!({"to": taker}))));

    // It holds after a restart, and goes back the same way, by the clinic this time.
    let restarted = server.restarted_with(Acts::built_in()).await;
    let mut doctor = restarted.page(&seats[0]).await;
    let may = doctor.hear_until(|message| match message {
        ServerMessage::Welcome { permissions, .. } => Some(*permissions),
        _ => None,
    });
    assert!(!may.await.end);
    colleague.settled().await;
    let _colleague = restarted.page_inside(&seats[2]).await;
    let to = json!({"to": giver, "reason": "other"});
    assert_eq!(restarted.on_seat(&consultation, &seats[2], "hand-over", to).await, StatusCode::NO_CONTENT);
    assert!(doctor.hears_permissions().await.end);
}

#[tokio::test]
async fn a_hand_over_by_the_clinic_is_refused_where_it_cannot_be() {
    let server = Server::start().await;
    let roles = ["practitioner", "patient", "practitioner"];
    let (consultation, seats) = server.booked_roles("teleconsultation", &roles).await;
    let to = |seat: &Value| json!({"to": id(seat), "reason": "other"});
    let from = |seat: usize, body: Value| server.on_seat(&consultation, &seats[seat], "hand-over", body);
    assert_eq!(from(0, to(&seats[2])).await, StatusCode::CONFLICT, "nobody is there to be told");
    let _doctor = server.page_inside(&seats[0]).await;
    assert_eq!(from(0, to(&seats[1])).await, StatusCode::CONFLICT);
    assert_eq!(from(0, to(&seats[0])).await, StatusCode::CONFLICT);
    assert_eq!(from(1, to(&seats[2])).await, StatusCode::CONFLICT);
    assert_eq!(from(0, json!({"to": "nobody", "reason": "other"})).await, StatusCode::NOT_FOUND);
    assert_eq!(from(0, json!({"to": id(&seats[2]), "reason": "because"})).await, StatusCode::BAD_REQUEST);
    server.on_seat(&consultation, &seats[2], "remove", Value::Null).await;
    assert_eq!(from(0, to(&seats[2])).await, StatusCode::NOT_FOUND, "it was removed");
}

#[tokio::test]
async fn an_aside_shuts_out_everyone_but_professionals_and_ends_when_one_is_left() {
    let server = Server::start().await;
    let roles = ["practitioner", "expert", "patient", "companion"];
    let (consultation, seats) = server.booked_roles("tele_expertise", &roles).await;
    for seat in &seats[2..] {
        server.on_seat(&consultation, seat, "admit", Value::Null).await;
    }
    let mut doctor = server.page_inside(&seats[0]).await;
    let mut patient = server.page_inside(&seats[2]).await;
    doctor.say(&ClientMessage::Aside { on: true }).await;
    assert_eq!(doctor.hear_error().await.1, ErrorCode::OutOfOrder, "there is nobody to speak apart with");
    let mut expert = server.page_inside(&seats[1]).await;
    patient.say(&ClientMessage::Aside { on: true }).await;
    assert_eq!(patient.hear_error().await.1, ErrorCode::NotPermitted);

    let mut wire = Wire::new();
    expert.say(&ClientMessage::Aside { on: true }).await;
    expert.hears(ServerMessage::Aside { on: true, outside: false }).await;
    patient.hears(ServerMessage::Aside { on: true, outside: true }).await;
    assert!(is_shut(wire.policy(&server, &seats[2])), "sends and receives nothing, on the data channel neither");
    assert!(wire.policy(&server, &seats[0]).hear && wire.policy(&server, &seats[1]).microphone);
    let mut companion = server.page(&seats[3]).await;
    companion.hears(ServerMessage::Aside { on: true, outside: true }).await;
    companion.offers().await;
    assert!(is_shut(wire.policy(&server, &seats[3])), "a newcomer is on the right side");

    doctor.say(&ClientMessage::Leave).await;
    patient.hears(ServerMessage::Aside { on: false, outside: false }).await;
    assert!(wire.policy(&server, &seats[2]).microphone && wire.policy(&server, &seats[3]).hear);
    let kinds = server.kinds(&consultation, &[]).await;
    assert_eq!(
        kinds.iter().filter(|kind| kind.starts_with("aside")).collect::<Vec<_>>(),
        ["aside.began", "aside.ended"]
    );
}

#[tokio::test]
async fn nobody_hears_who_speaks_in_an_aside() {
    use crate::sfu::command::Event;
    use crate::worker::WorkerId;

    let server = Server::start().await;
    let (consultation, seats) = server.booked_roles("tele_expertise", &["practitioner", "expert", "patient"]).await;
    server.on_seat(&consultation, &seats[2], "admit", Value::Null).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    let _expert = server.page_inside(&seats[1]).await;
    let mut patient = server.page_inside(&seats[2]).await;
    doctor.say(&ClientMessage::Aside { on: true }).await;
    patient.hears(ServerMessage::Aside { on: true, outside: true }).await;
    let found = server.media.take().into_iter().find_map(|command| match command {
        crate::sfu::command::Command::AddLeg { room, seat, .. } => Some((room, seat)),
        _ => None,
    });
    let (room, number) = found.unwrap();
    server.consultations.handle_event(WorkerId(0), Event::SpeakerChanged { room, seat: Some(number) });
    doctor.hear_until(|message| matches!(message, ServerMessage::Speaker { .. }).then_some(())).await;
    let heard = patient.settled().await;
    assert!(!heard.iter().any(|message| matches!(message, ServerMessage::Speaker { .. })), "{heard:?}");
}

#[tokio::test]
async fn an_instant_link_lets_a_nameless_caller_in_at_once_also_when_the_server_is_full() {
    let server = Server::start_with(Duration::from_secs(120), 1).await;
    let (_, seats) = server.booked_roles("teleconsultation", &["practitioner"]).await;
    let _other = server.page_inside(&seats[0]).await;
    let (_, seats) = server.booked_roles("teleconsultation", &["practitioner"]).await;
    assert_eq!(server.join(&seats[0]["token"], "").await.0, StatusCode::OK);
    let booked =
        json!({"act": "regulation", "seats": [{"role": "caller"}, {"role": "regulator"}, {"role": "regulator"}]});
    let booked = server.booked(booked).await;
    let consultation = booked["id"].as_str().unwrap();
    let mut caller = server.page_inside(&booked["seats"][0]).await;
    let mut regulator = server.page_inside(&booked["seats"][1]).await;
    let _colleague = server.page_inside(&booked["seats"][2]).await;
    regulator.say(&hand_over(id(&booked["seats"][2]))).await;
    caller.hear_until(|message| matches!(message, ServerMessage::HandOver { done: true, .. }).then_some(())).await;
    for (kind, data) in server.told(consultation, &[]).await {
        assert!(!data.to_string().contains("name") && !kind.contains("gate"), "{kind} {data}");
    }
}
