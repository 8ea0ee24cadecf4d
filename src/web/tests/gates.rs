//! Gates before media: who is asked what, what opens, what closes, whatever order a page sends its answers in.

use colloque_signaling::message::{Choice, ErrorCode, Gate, GateAnswer, Presence};

use super::room::{Wire, card, id, is_shut};
use super::*;
use crate::control::booking::ClinicId;
use crate::store::{ClinicDemands, Store};

fn consent(text: &str, accepted: bool) -> GateAnswer {
    GateAnswer::Consent { text: text.into(), accepted }
}

fn cards(seats: &[&Value]) -> GateAnswer {
    GateAnswer::Card { seats: seats.iter().map(|seat| id(seat).to_owned()).collect() }
}

fn names(pending: &[Gate]) -> Vec<&'static str> {
    let name = |gate: &Gate| match gate {
        Gate::Login => "login",
        Gate::Card { .. } => "card",
        Gate::Consent { .. } => "consent",
        Gate::ThirdPerson => "third_person",
        Gate::Preference => "preference",
    };
    pending.iter().map(name).collect()
}

/// A consultation with every gate behind it: doctor and patient send.
struct Running {
    consultation: String,
    practitioner: Value,
    patient: Value,
    doctor: Page,
    page: Page,
}

impl Running {
    async fn past_gates(server: &Server) -> Running {
        let (consultation, practitioner, patient) = server.booked_with_gates().await;
        let mut doctor = server.page_inside(&practitioner).await;
        let mut page = server.page(&patient).await;
        page.passes_gates().await;
        doctor.say(&ClientMessage::Admit { seat: id(&patient).into(), arrival: None }).await;
        page.is_let_in().await;
        page.offers().await;
        Running { consultation, practitioner, patient, doctor, page }
    }
}

#[tokio::test]
async fn nothing_of_the_room_before_the_last_gate_and_all_of_it_after() {
    let server = Server::start().await;
    let (consultation, practitioner, patient) = server.booked_with_gates().await;
    let mut doctor = server.page_inside(&practitioner).await;
    let mut page = server.page(&patient).await;
    let pending = page.hears_gates().await;
    assert_eq!(names(&pending), ["card", "consent", "third_person", "preference"]);
    let Gate::Card { cards: shown } = &pending[0] else { panic!("{pending:?}") };
    assert_eq!(serde_json::to_value(shown).unwrap()[0]["fee"], card()["fee"]);
    assert_eq!((shown.len(), shown[0].seat.as_str()), (1, id(&practitioner)));

    doctor.say(&ClientMessage::Admit { seat: id(&patient).into(), arrival: None }).await;
    doctor.sees(&patient, |info| (info.gates_pending && info.presence == Presence::Waiting).then_some(())).await;
    page.answers(GateAnswer::Preference { choice: Choice::Video }).await;
    page.answers(GateAnswer::ThirdPerson { present: true }).await;
    page.answers(consent("1", true)).await;
    assert_eq!(names(&page.hears_gates().await), ["card", "consent", "third_person"]);
    page.hears_gates().await;
    assert_eq!(names(&page.hears_gates().await), ["card"]);
    page.say(&ClientMessage::Offer { id: 4, sdp: CHROMIUM_SEND.into(), senders: vec![] }).await;
    assert_eq!(page.hear_error().await.1, ErrorCode::OutOfOrder, "one gate is left");
    for message in page.settled().await {
        let ServerMessage::Roster { seats } = message else { panic!("{message:?}") };
        let leaks = |seat: &&colloque_signaling::message::SeatInfo| {
            seat.seat != id(&patient) && (seat.display_name.is_some() || seat.microphone || seat.camera)
        };
        assert_eq!(seats.iter().find(leaks), None);
    }
    let view = server.view(&consultation).await;
    assert_eq!(view["seats"][1]["gates_pending"], json!(["card"]));
    assert_eq!(view["seats"][1]["presence"], "waiting");

    page.answers(cards(&[&practitioner])).await;
    assert!(page.hears_gates().await.is_empty());
    page.is_let_in().await;
    page.sees(&practitioner, |info| info.display_name.as_ref().map(|_| ())).await;
    page.offers().await;
    let mut wire = Wire::new();
    assert!(wire.policy(&server, &patient).microphone);
    doctor.sees(&patient, |info| (info.third_person == Some(true) && !info.gates_pending).then_some(())).await;
    let passed = &server.view(&consultation).await["seats"][1]["gates_passed"];
    let answers: Vec<(&str, &str)> = passed
        .as_array()
        .unwrap()
        .iter()
        .map(|gate| (gate["gate"].as_str().unwrap(), gate["answer"].as_str().unwrap()))
        .collect();
    let of_card = format!("card:{}", id(&practitioner));
    assert_eq!(answers, [("preference", ""), ("third_person", "yes"), ("consent", "1"), (&of_card, "")]);
}

#[tokio::test]
async fn what_is_passed_is_told_once_and_in_order() {
    let server = Server::start().await;
    let (consultation, practitioner, patient) = server.booked_with_gates().await;
    let mut page = server.page(&patient).await;
    page.passes_gates().await;
    page.answers(consent("1", true)).await;
    page.answers(cards(&[&practitioner])).await;
    page.answers(GateAnswer::ThirdPerson { present: true }).await;
    page.settled().await;
    let told = server.told(&consultation, &[&practitioner, &patient]).await;
    let gates: Vec<&Value> =
        told.iter().filter(|(kind, _)| kind == "1 gate.passed").map(|(_, data)| &data["gate"]).collect();
    let expected = [
        json!({"gate": "card", "seats": [id(&practitioner)], "complete": true}),
        json!({"gate": "consent", "text": "1"}),
        json!({"gate": "third_person", "present": false}),
        json!({"gate": "preference"}),
        json!({"gate": "third_person", "present": true}),
    ];
    assert_eq!(gates, expected.iter().collect::<Vec<_>>());
    let restarted = server.restarted_with(Acts::built_in()).await;
    let mut page = restarted.page(&patient).await;
    let heard = page.settled().await;
    assert!(!heard.iter().any(|message| matches!(message, ServerMessage::Gates { .. })), "nothing is asked twice");
}

#[tokio::test]
async fn answers_out_of_place_change_nothing() {
    let server = Server::start().await;
    let (consultation, practitioner, patient) = server.booked_with_gates().await;
    let mut doctor = server.page_inside(&practitioner).await;
    let mut page = server.page(&patient).await;
    page.hears_gates().await;
    let before = server.told(&consultation, &[]).await.len();
    for (answer, code) in [
        (consent("2", true), ErrorCode::NotFound),
        (consent("", true), ErrorCode::NotFound),
        (cards(&[&patient]), ErrorCode::NotFound),
        (cards(&[&practitioner, &patient]), ErrorCode::NotFound),
        (cards(&[]), ErrorCode::NotFound),
    ] {
        page.answers(answer.clone()).await;
        assert_eq!(page.hear_error().await.1, code, "{answer:?}");
    }
    for answer in [
        consent("1", true),
        consent("1", false),
        cards(&[&practitioner]),
        GateAnswer::ThirdPerson { present: true },
        GateAnswer::Preference { choice: Choice::Phone },
    ] {
        doctor.answers(answer.clone()).await;
        assert_eq!(doctor.hear_error().await.1, ErrorCode::OutOfOrder, "{answer:?}");
    }
    assert_eq!(server.told(&consultation, &[]).await.len(), before);
    assert_eq!(server.view(&consultation).await["seats"][1]["gates_pending"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_refusal_closes_the_seat_for_good() {
    let server = Server::start().await;
    for (answer, words, refused) in [
        (consent("whatever was shown", false), ServerMessage::Declined { choice: None }, json!({"gate": "consent"})),
        (
            GateAnswer::Preference { choice: Choice::InPerson },
            ServerMessage::Declined { choice: Some(Choice::InPerson) },
            json!({"gate": "preference", "choice": "in_person"}),
        ),
    ] {
        let (consultation, practitioner, patient) = server.booked_with_gates().await;
        let mut page = server.page(&patient).await;
        page.answers(answer).await;
        assert_eq!(page.last_words().await, words);
        let (status, problem) = server.join(&patient["token"], "").await;
        assert_eq!((status, &problem["type"]), (StatusCode::FORBIDDEN, &json!("urn:colloque:problem:seat-declined")));
        let view = server.view(&consultation).await;
        assert_eq!((&view["seats"][1]["declined"], &view["seats"][1]["admitted"]), (&json!(true), &json!(false)));
        let told = server.told(&consultation, &[&practitioner, &patient]).await;
        let tail: Vec<&str> = told.iter().rev().take(3).rev().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(tail, ["1 gate.refused", "1 seat.left", "1 seat.join_failed"]);
        assert_eq!(told[told.len() - 3].1["gate"], refused);
        assert_eq!(told[told.len() - 1].1["cause"], "seat_declined");
    }
}

#[tokio::test]
async fn consent_can_be_withdrawn_in_mid_call_and_ends_media() {
    let server = Server::start().await;
    let Running { consultation, practitioner, patient, mut doctor, mut page } = Running::past_gates(&server).await;
    let mut wire = Wire::new();
    assert!(wire.policy(&server, &patient).camera);
    page.answers(consent("1", false)).await;
    assert_eq!(page.last_words().await, ServerMessage::Declined { choice: None });
    doctor.settled().await;
    assert!(is_shut(wire.policy(&server, &patient)));
    assert_eq!(wire.removed(&server), 1);
    let told = server.told(&consultation, &[&practitioner, &patient]).await;
    let refused = told.iter().find(|(kind, _)| kind == "1 gate.refused").unwrap();
    assert_eq!(refused.1["gate"], json!({"gate": "consent_withdrawn"}));
    assert_eq!(told.last().unwrap().1["cause"], "declined");
    let passed = server.view(&consultation).await["seats"][1]["gates_passed"].clone();
    assert!(!passed.as_array().unwrap().iter().any(|gate| gate["gate"] == "consent"), "{passed}");
}

#[tokio::test]
async fn a_professional_who_comes_later_is_shut_until_the_card_is_read() {
    let server = Server::start().await;
    let Running { consultation, practitioner, patient, doctor: _doctor, mut page } = Running::past_gates(&server).await;
    let body = json!({"role": "practitioner", "display_name": "Dr Late", "card": {"title": "Pr"}});
    let (_, colleague) = server.api("POST", &format!("/v1/consultations/{consultation}/seats"), body).await;
    let pending = page.hears_gates().await;
    let Gate::Card { cards: shown } = &pending[0] else { panic!("{pending:?}") };
    assert_eq!((shown.len(), shown[0].name.as_deref(), shown[0].title.as_deref()), (1, Some("Dr Late"), Some("Pr")));

    let _late = server.page_inside(&colleague).await;
    let mut wire = Wire::new();
    assert!(is_shut(wire.policy(&server, &colleague)), "nobody has read the card");
    assert!(wire.policy(&server, &patient).microphone && wire.policy(&server, &practitioner).microphone);
    page.answers(cards(&[&colleague])).await;
    assert!(page.hears_gates().await.is_empty());
    assert!(wire.policy(&server, &colleague).microphone);
    let told = server.told(&consultation, &[]).await;
    let last = told.iter().rev().find(|(kind, _)| kind == "gate.passed").unwrap();
    assert_eq!(last.1["gate"], json!({"gate": "card", "seats": [id(&colleague)], "complete": false}));
}

#[tokio::test]
async fn a_seat_the_clinic_vouches_for_is_asked_nothing_and_the_record_says_so() {
    let server = Server::with_login().await;
    let seats = json!([{"role": "practitioner"}, {"role": "patient", "admitted": true}]);
    let booked = server.booked(json!({"act": "teleconsultation", "login": true, "seats": seats})).await;
    let (consultation, patient) = (booked["id"].as_str().unwrap(), &booked["seats"][1]);
    let mut page = server.page_inside(patient).await;
    assert!(!page.settled().await.iter().any(|message| matches!(message, ServerMessage::Gates { .. })));
    assert_eq!(
        server.kinds(consultation, &[&booked["seats"][0], patient]).await[..4],
        ["consultation.created", "0 seat.invited", "1 seat.invited", "1 gate.waived"]
    );
}

#[tokio::test]
async fn devices_are_refused_by_the_first_thing_in_their_way() {
    let server = Server::with_login().await;
    let (consultation, _, patient) = server.booked_with_gates().await;
    let login = json!({"act": "teleconsultation", "login": true, "seats": [{"role": "practitioner"}]});
    let booked = server.booked(login).await;
    let whip = |seat: &Value| {
        let request = Request::post("/whip")
            .header(header::AUTHORIZATION, format!("Bearer {}", seat["token"].as_str().unwrap()))
            .header(header::CONTENT_TYPE, "application/sdp");
        server.send(request.body(Body::from(CHROMIUM_SEND)).unwrap())
    };
    let refused = |(status, problem): (StatusCode, Value)| {
        assert_eq!(status, StatusCode::FORBIDDEN);
        problem["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
    };
    assert_eq!(refused(json_of(whip(&patient).await).await), "not-admitted");
    assert_eq!(server.on_seat(&consultation, &patient, "admit", Value::Null).await, StatusCode::NO_CONTENT);
    assert_eq!(refused(json_of(whip(&patient).await).await), "gates-pending");
    assert_eq!(refused(json_of(whip(&booked["seats"][0]).await).await), "login-required");
    let causes: Vec<Value> = server
        .told(&consultation, &[])
        .await
        .into_iter()
        .filter(|(kind, _)| kind == "seat.join_failed")
        .map(|(_, data)| data["cause"].clone())
        .collect();
    assert_eq!(causes, ["not_admitted", "gates_pending"]);
    assert_eq!(server.consultations.census().rooms, 0, "no room was left open for them");
}

#[tokio::test]
async fn a_professional_logs_in_first_where_the_booking_says_so() {
    let server = Server::with_login().await;
    let seats = json!([{"role": "practitioner"}, {"role": "patient"}, {"role": "trainee"}]);
    let booked =
        server.booked(json!({"act": "teleconsultation", "gates": no_gates(), "login": true, "seats": seats})).await;
    let mut doctor = server.page(&booked["seats"][0]).await;
    assert_eq!(doctor.hears_gates().await, [Gate::Login]);
    doctor.say(&ClientMessage::End).await;
    assert_eq!(doctor.hear_error().await.1, ErrorCode::OutOfOrder, "it is not inside");
    for seat in [1, 2] {
        let mut page = server.page(&booked["seats"][seat]).await;
        assert!(!page.settled().await.iter().any(|message| matches!(message, ServerMessage::Gates { .. })));
    }
}

/// Such a booking was taken, and its professionals stood before a login that nobody could do.
#[tokio::test]
async fn nobody_is_made_to_log_in_where_there_is_no_provider() {
    let server = Server::start().await;
    let booking = |seats: Value| json!({"act": "teleconsultation", "gates": no_gates(), "seats": seats});
    let refused = async |path: &str, body: Value| {
        let (status, problem) = server.api("POST", path, body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("no OpenID provider"), "{problem}");
    };
    let mut asked = booking(json!([{"role": "patient"}]));
    asked["login"] = json!(true);
    refused("/v1/consultations", asked).await;

    let clinic = server.store.clinics().await.unwrap().remove(0).id;
    let demands = ClinicDemands { login: true, ..ClinicDemands::default() };
    clinics::set_demands(&*server.store, &ClinicId(clinic), demands).await.unwrap();
    refused("/v1/consultations", booking(json!([{"role": "practitioner"}, {"role": "patient"}]))).await;
    let vouched = json!([{"role": "practitioner", "admitted": true}, {"role": "patient"}]);
    let booked = server.booked(booking(vouched)).await;
    let invite = format!("/v1/consultations/{}/seats", booked["id"].as_str().unwrap());
    refused(&invite, json!({"role": "practitioner"})).await;
    assert_eq!(server.api("POST", &invite, json!({"role": "companion"})).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn bookings_that_cannot_be_are_refused_with_a_reason() {
    let server = Server::start().await;
    let seats = |card: Value| json!([{"role": "practitioner", "card": card}]);
    let with = |key: &str, value: Value| {
        let mut body = json!({"act": "teleconsultation", "seats": [{"role": "practitioner"}, {"role": "patient"}]});
        body[key] = value;
        body
    };
    for (body, status, detail) in [
        (with("gates", json!({"card": ["caller"]})), 422, "gates.card: caller has no seat in this act"),
        (with("gates", json!({"consent": {"asked": ["patient"]}})), 422, "gates.consent.text"),
        (with("gates", json!({"blood": []})), 400, "unknown"),
        (with("queue", json!("a queue")), 422, "queue"),
        (with("patient", json!("2 69 05 49 588 157 80")), 422, "pseudonym"),
        (with("postal_prefix", json!("750 11")), 422, "postal_prefix"),
        (with("seats", seats(json!({"rpps": "123"}))), 422, "card.rpps"),
        (with("seats", seats(json!({"seat": "s1"}))), 400, "unknown"),
        (with("seats", json!([{"role": "patient", "card": {}}])), 422, "card"),
    ] {
        let (found, problem) = server.api("POST", "/v1/consultations", body).await;
        assert_eq!(found, status, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
    }
    let whole = json!({"act": "teleconsultation", "queue": "dr-a", "patient": "p-7", "postal_prefix": "97",
        "gates": {"consent": {"asked": ["patient"], "text": "2"}, "preference": []},
        "seats": [{"role": "practitioner", "card": card()}, {"role": "patient"}]});
    let booked = server.booked(whole).await;
    let mut page = server.page(&booked["seats"][1]).await;
    let pending = page.hears_gates().await;
    assert_eq!(names(&pending), ["card", "consent", "third_person"], "what is not said stays the act's");
    assert!(pending.contains(&Gate::Consent { text: "2".into() }));
}
