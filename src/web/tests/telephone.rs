//! Calls that pages, clinics and hosts ask for, with somebody in the telephone's place who only takes the orders.

use colloque_signaling::message::{ErrorCode, PhoneCause, PhoneState};
use tokio::sync::mpsc;

use crate::config::Settings;
use crate::config::telephone::TelephoneConfig;
use crate::control::phone::pins::{PinFinds, Try};
use crate::control::phone::seat_phone::{Arrival, PhoneStage};
use crate::control::phone::switchboard::{DialOrder, Switchboard};
use crate::store::Store as _;

use crate::control::facts::Fact;

use super::room::{OWN_DEVICE, id};
use super::*;

const NUMBER: &str = "+33123456789";

impl Server {
    /// With a telephone, whose orders come out here.
    async fn with_telephone() -> (Server, mpsc::Receiver<DialOrder>) {
        Self::with_telephone_and("").await
    }

    /// The same with more in its configuration.
    async fn with_telephone_and(more: &str) -> (Server, mpsc::Receiver<DialOrder>) {
        let (board, orders) = board(more);
        (Self::begin(|settings| ControlSettings { phones: Some(board), ..settings }).await, orders)
    }

    async fn book_with(&self, patient: Value, more: Value) -> (String, Vec<Value>) {
        let mut body = json!({"act": "teleconsultation", "gates": no_gates(), "seats": [
            {"role": "practitioner", "display_name": "Dr Planted"}, patient, {"role": "companion"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, body) = self.api("POST", "/v1/consultations", body).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        (body["id"].as_str().unwrap().to_owned(), body["seats"].as_array().unwrap().clone())
    }

    async fn call(&self, consultation: &str, seat: &Value, method: &str) -> (StatusCode, Value) {
        let path = format!("/v1/consultations/{consultation}/seats/{}/call", id(seat));
        self.api(method, &path, Value::Null).await
    }

    /// What somebody in the telephone's place tells.
    async fn tells(&self, consultation: &str, seat: &Value, state: PhoneState, cause: Option<PhoneCause>) {
        let (consultation, _) = self.store.consultation(consultation).await.unwrap().unwrap();
        self.consultations.tell_phone(&consultation, id(seat), None, state, cause);
    }
}

/// `limits`: lines of `[telephone.dialout]`.
fn board(limits: &str) -> (Arc<Switchboard>, mpsc::Receiver<DialOrder>) {
    let (board, orders) = Switchboard::new(Arc::new(config(limits)), Some(NUMBER.to_owned()));
    (Arc::new(board), orders)
}

fn config(limits: &str) -> TelephoneConfig {
    let text = format!(
        "[telephone]\nenabled = true\nsip_udp = \"127.0.0.1:5060\"\n\
         [[telephone.trunk]]\nname = \"test\"\nuri = \"sip:127.0.0.1\"\nallow = [\"127.0.0.1\"]\n[telephone.dialout]\n{limits}"
    );
    let settings: Settings = toml::from_str(&text).unwrap();
    settings.resolve().unwrap().telephone.unwrap()
}

fn patient() -> Value {
    json!({"role": "patient", "display_name": "Patricia Planted", "phone": "06 12 34 56 78"})
}

fn phone(seat: &Value, state: PhoneState, cause: Option<PhoneCause>, ending: Option<&str>) -> ServerMessage {
    let number_ending = ending.map(str::to_owned);
    ServerMessage::Phone { seat: id(seat).to_owned(), state, cause, number_ending, matches_file: None, seconds: None }
}

fn about_telephones(messages: Vec<ServerMessage>) -> Vec<ServerMessage> {
    let is_about =
        |message: &ServerMessage| matches!(message, ServerMessage::Phone { .. } | ServerMessage::DialIn { .. });
    messages.into_iter().filter(is_about).collect()
}

#[tokio::test]
async fn a_booking_says_how_to_dial_in_and_pages_know_what_concerns_them() {
    let (server, _orders) = Server::with_telephone().await;
    let (_, seats) = server.book_with(patient(), json!({})).await;
    assert_eq!(seats[1]["dial_in"], NUMBER);
    assert_eq!(seats[1]["pin"].as_str().unwrap().len(), 9);
    let ready = phone(&seats[1], PhoneState::Ready, None, Some("78"));
    let dial_in = |seat: &Value| ServerMessage::DialIn {
        number: NUMBER.to_owned(),
        pin: seat["pin"].as_str().unwrap().to_owned(),
    };
    let missing = |seat: &Value| phone(seat, PhoneState::Unavailable, Some(PhoneCause::NumberMissing), None);

    let mut page = server.page(&seats[1]).await;
    assert_eq!(about_telephones(page.settled().await), [dial_in(&seats[1]), ready.clone()]);
    let mut doctor = server.page(&seats[0]).await;
    let told = about_telephones(doctor.settled().await);
    // The host hears before it is let in what concerns itself, and then of everybody.
    assert!(told.contains(&ready) && told.contains(&missing(&seats[2])), "{told:?}");
    // Somebody inside who is no host knows nothing of another's number.
    doctor.say(&ClientMessage::Admit { seat: id(&seats[2]).into(), arrival: None }).await;
    let mut companion = server.page(&seats[2]).await;
    companion.is_let_in().await;
    let told = about_telephones(companion.settled().await);
    assert!(
        !told.iter().any(|message| matches!(message, ServerMessage::Phone { seat, .. } if seat == id(&seats[1]))),
        "{told:?}"
    );
}

#[tokio::test]
async fn the_patient_asks_for_a_call_and_both_sides_see_how_it_goes() {
    let (server, mut orders) = Server::with_telephone().await;
    let (consultation, seats) = server.book_with(patient(), json!({})).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    let mut page = server.page(&seats[1]).await;
    page.say(&ClientMessage::Call { seat: id(&seats[1]).into(), encryption_ends: false }).await;
    let order = orders.recv().await.unwrap();
    assert_eq!((order.seat.id.as_str(), order.number.e164()), (id(&seats[1]), "+33612345678"));
    for (state, cause) in [
        (PhoneState::Calling, None),
        (PhoneState::Ringing, None),
        (PhoneState::Confirming, None),
        (PhoneState::Failed, Some(PhoneCause::NotConfirmed)),
    ] {
        server.tells(&consultation, &seats[1], state, cause).await;
        page.hears(phone(&seats[1], state, cause, Some("78"))).await;
        doctor.hears(phone(&seats[1], state, cause, Some("78"))).await;
    }
    drop(order);
    let told = server.told(&consultation, &[&seats[0], &seats[1]]).await;
    let calls: Vec<(&str, &Value)> =
        told.iter().filter(|(kind, _)| kind.contains("phone.")).map(|(kind, data)| (kind.as_str(), data)).collect();
    assert_eq!(calls[0], ("1 phone.called", &json!({"by": {"seat": id(&seats[1])}})));
    assert_eq!(calls[1].0, "1 phone.answered");
    assert_eq!(calls[2], ("1 phone.failed", &json!({"cause": "not_confirmed"})));
    assert_eq!(calls.len(), 3);
}

#[tokio::test]
async fn only_hosts_call_others_and_a_refusal_is_told() {
    let (server, mut orders) = Server::with_telephone().await;
    let (_, seats) = server.book_with(json!({"role": "patient", "phone": "08 99 12 34 56"}), json!({})).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    let mut page = server.page(&seats[1]).await;
    let call = |seat: &Value| ClientMessage::Call { seat: id(seat).into(), encryption_ends: false };
    page.say(&call(&seats[2])).await;
    assert_eq!(page.hear_error().await.1, ErrorCode::NotPermitted);
    doctor.say(&call(&seats[1])).await;
    doctor.hears(phone(&seats[1], PhoneState::Failed, Some(PhoneCause::NumberPremium), None)).await;
    doctor.say(&call(&seats[2])).await;
    doctor.hears(phone(&seats[2], PhoneState::Failed, Some(PhoneCause::NumberMissing), None)).await;
    doctor.say(&ClientMessage::HangUp { seat: id(&seats[1]).into() }).await;
    assert_eq!(doctor.hear_error().await.1, ErrorCode::OutOfOrder);
    assert!(orders.try_recv().is_err());
}

#[tokio::test]
async fn a_clinic_calls_and_calls_off_within_its_limits() {
    let (server, mut orders) = Server::with_telephone().await;
    let (consultation, seats) = server.book_with(patient(), json!({})).await;
    let refused = |cause: &str| (StatusCode::CONFLICT, json!(cause));
    let outcome = |(status, body): (StatusCode, Value)| (status, body["detail"].clone());
    let (status, body) = server.call(&consultation, &seats[1], "POST").await;
    assert_eq!((status, &body["number_ending"]), (StatusCode::ACCEPTED, &json!("78")));
    let mut order = orders.recv().await.unwrap();
    assert_eq!(outcome(server.call(&consultation, &seats[1], "POST").await), refused("too_many_at_once"));
    assert_eq!(server.call(&consultation, &seats[1], "DELETE").await.0, StatusCode::NO_CONTENT);
    assert_eq!(order.cancelled.recv().await, Some(PhoneCause::Cancelled));
    drop(order);
    assert_eq!(server.call(&consultation, &seats[1], "DELETE").await.0, StatusCode::NO_CONTENT, "nothing to hang up");
    for _ in 0..2 {
        assert_eq!(server.call(&consultation, &seats[1], "POST").await.0, StatusCode::ACCEPTED);
        drop(orders.recv().await);
    }
    assert_eq!(outcome(server.call(&consultation, &seats[1], "POST").await), refused("too_often"));
    assert_eq!(outcome(server.call(&consultation, &seats[2], "POST").await), refused("number_missing"));
    server.consultations.phones().unwrap().set_calls_allowed(false);
    assert_eq!(outcome(server.call(&consultation, &seats[1], "POST").await), refused("switched_off"));
    server.consultations.phones().unwrap().set_calls_allowed(true);
    let path = format!("/v1/consultations/{consultation}");
    server.api("DELETE", &path, Value::Null).await;
    assert_eq!(server.call(&consultation, &seats[1], "POST").await.0, StatusCode::GONE);
}

#[tokio::test]
async fn encryption_that_is_required_lets_no_telephone_in_and_preferred_asks_the_host() {
    let (server, mut orders) = Server::with_telephone().await;
    let (required, seats) = server.book_with(patient(), json!({"e2ee": "required"})).await;
    assert_eq!(seats[1]["dial_in"], Value::Null);
    assert_eq!(server.call(&required, &seats[1], "POST").await.1["detail"], "encryption_required");
    let mut page = server.page(&seats[1]).await;
    page.hears(phone(&seats[1], PhoneState::Unavailable, Some(PhoneCause::EncryptionRequired), None)).await;

    let (preferred, seats) = server.book_with(patient(), json!({"e2ee": "preferred"})).await;
    assert_eq!(server.call(&preferred, &seats[1], "POST").await.1["detail"], "encryption_ends");
    let mut page = server.page(&seats[1]).await;
    let call = ClientMessage::Call { seat: id(&seats[1]).into(), encryption_ends: true };
    page.say(&call).await;
    page.hears(phone(&seats[1], PhoneState::Failed, Some(PhoneCause::EncryptionEnds), Some("78"))).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    doctor.say(&call).await;
    assert_eq!(orders.recv().await.unwrap().seat.id, id(&seats[1]), "the host's word counts, not the patient's");
}

#[tokio::test]
async fn a_pin_opens_its_seat_and_no_other_digits_do() {
    let (server, _orders) = Server::with_telephone().await;
    let (consultation, seats) = server.book_with(patient(), json!({})).await;
    let opens = async |digits: &str| match server.consultations.open_pin(&Pii(digits.to_owned())).await.unwrap() {
        PinFinds::Seat(found) => Ok(found.1.id),
        other => Err(Try::of(&other, false)),
    };
    let pin = seats[1]["pin"].as_str().unwrap().to_owned();
    assert_eq!(opens(&pin).await.as_deref(), Ok(id(&seats[1])));
    assert_eq!(opens(&pin[1..]).await, Err(Try::Wrong));
    assert_eq!(opens("").await, Err(Try::Wrong));
    let (_, later) = server.book_with(patient(), json!({"starts_at": "2099-01-01T09:00:00Z"})).await;
    assert_eq!(opens(later[1]["pin"].as_str().unwrap()).await, Err(Try::Outside), "not yet");
    server.on_seat(&consultation, &seats[1], "remove", Value::Null).await;
    assert_eq!(opens(&pin).await, Err(Try::Outside), "removed");
    server.api("DELETE", &format!("/v1/consultations/{consultation}"), Value::Null).await;
    assert_eq!(opens(seats[0]["pin"].as_str().unwrap()).await, Err(Try::Wrong), "over");
}

#[tokio::test]
async fn a_server_without_a_telephone_says_so() {
    let server = Server::start().await;
    let (consultation, _, patient) = server.book().await;
    assert_eq!(patient["dial_in"], Value::Null);
    assert_eq!(server.call(&consultation, &patient, "POST").await.1["detail"], "switched_off");
    assert_eq!(server.api("GET", "/capabilities", Value::Null).await.1["telephone"], "absent");
    let (with, _orders) = Server::with_telephone().await;
    let capabilities = with.api("GET", "/capabilities", Value::Null).await.1;
    assert_eq!(capabilities["telephone"], json!({"dial_in": NUMBER, "calls": true}));
    let mut page = server.page(&patient).await;
    assert_eq!(about_telephones(page.settled().await), []);
}

#[tokio::test]
async fn consent_to_be_called_needs_a_number() {
    let (server, _orders) = Server::with_telephone().await;
    let seats = json!([{"role": "patient", "phone_consent": true}]);
    let body = json!({"act": "teleconsultation", "seats": seats});
    assert_eq!(server.api("POST", "/v1/consultations", body).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let (consultation, seats) =
        server.book_with(json!({"role": "patient", "phone": "0612345678", "phone_consent": true}), json!({})).await;
    let view = server.view(&consultation).await;
    assert_eq!((&view["seats"][1]["phone_consent"], &view["e2ee"]), (&json!(true), &json!("off")));
    assert_eq!(view["seats"][1]["id"], id(&seats[1]));
}

#[tokio::test]
async fn whose_number_called_is_told_to_hosts_alone_and_what_a_telephone_ends_to_all() {
    let (server, _orders) = Server::with_telephone().await;
    let (consultation, seats) = server.book_with(patient(), json!({"e2ee": "preferred"})).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    let mut page = server.page(&seats[1]).await;
    server.consultations.tell_phone_match(&consultation, id(&seats[1]), Some(true));
    let told = |state, cause, matches_file| ServerMessage::Phone {
        seat: id(&seats[1]).to_owned(),
        state,
        cause,
        number_ending: Some("78".to_owned()),
        matches_file,
        seconds: None,
    };
    server.tells(&consultation, &seats[1], PhoneState::Waiting, None).await;
    doctor.hears(told(PhoneState::Waiting, None, Some(true))).await;
    page.hears(told(PhoneState::Waiting, None, None)).await;
    server.tells(&consultation, &seats[1], PhoneState::In, None).await;
    let ends = Some(PhoneCause::EncryptionEnds);
    doctor.hears(told(PhoneState::In, ends, Some(true))).await;
    page.hears(told(PhoneState::In, ends, None)).await;
    let left = Some(PhoneCause::HungUp);
    server.tells(&consultation, &seats[1], PhoneState::Left, left).await;
    doctor.hears(told(PhoneState::Left, left, None)).await;

    // A number that is not shown is not taken for the one of the file; that which the server called is it.
    let (consultation_of, record) = server.consultations.journal().seat(id(&seats[1])).await.unwrap().unwrap();
    for (how, matches_file) in [(Arrival::DialledIn, None), (Arrival::Called, Some(true)), (Arrival::DialledIn, None)] {
        let place = server.consultations.phone_arrive(&consultation_of, &record, how).await.unwrap();
        let (call, waits) = (Some(place.call()), PhoneState::Waiting);
        server.consultations.tell_phone(&consultation_of, id(&seats[1]), call, waits, None);
        doctor.hears(told(waits, None, matches_file)).await;
        drop(place);
        server.tells(&consultation, &seats[1], PhoneState::Ringing, None).await;
    }
}

#[tokio::test]
async fn the_clinic_reads_what_each_telephone_does_and_since_when() {
    let (server, mut orders) = Server::with_telephone().await;
    let (consultation, seats) = server.book_with(patient(), json!({})).await;
    let telephone = async |seat: usize| server.view(&consultation).await["seats"][seat]["telephone"].clone();
    let idle = |state: &str, cause: Value, ending: Value| json!({"state": state, "cause": cause, "since": null, "number_ending": ending, "matches_file": null});
    let missing = idle("unavailable", json!("number_missing"), Value::Null);
    let ready = idle("ready", Value::Null, json!("78"));
    assert_eq!((telephone(0).await, telephone(1).await), (missing, ready.clone()), "nobody is there");
    assert_eq!(server.call(&consultation, &seats[1], "POST").await.0, StatusCode::ACCEPTED);
    let order = orders.recv().await.unwrap();
    assert_eq!(telephone(1).await["state"], "calling", "also before there is a room");
    server.tells(&consultation, &seats[1], PhoneState::Ringing, None).await;
    assert_eq!(telephone(1).await["state"], "ringing");
    let mut page = server.page(&seats[1]).await;
    page.hears(phone(&seats[1], PhoneState::Ringing, None, Some("78"))).await;
    drop(order);
    let (consultation, seats) = server.book_with(patient(), json!({})).await;
    let telephone = async |seat: usize| server.view(&consultation).await["seats"][seat]["telephone"].clone();
    let mut page = server.page(&seats[1]).await;
    page.settled().await;
    assert_eq!(telephone(1).await, ready);
    server.tells(&consultation, &seats[1], PhoneState::Ringing, None).await;
    let rings = telephone(1).await;
    let since = rings["since"].as_str().and_then(crate::control::clock::parse_rfc3339).unwrap();
    assert!((0..60).contains(&(crate::control::clock::unix_now() - since)), "{rings}");
    assert_eq!((&rings["state"], &rings["number_ending"]), (&json!("ringing"), &json!("78")));
    server.consultations.tell_phone_match(&consultation, id(&seats[1]), Some(false));
    server.tells(&consultation, &seats[1], PhoneState::Waiting, None).await;
    assert_eq!(telephone(1).await["matches_file"], false);
    server.tells(&consultation, &seats[1], PhoneState::Failed, Some(PhoneCause::Busy)).await;
    let failed = telephone(1).await;
    assert_eq!(
        (&failed["state"], &failed["cause"], &failed["matches_file"]),
        (&json!("failed"), &json!("busy"), &Value::Null)
    );
    assert!(!server.view(&consultation).await.to_string().contains("612345678"));
}

#[tokio::test]
async fn a_clinic_is_told_what_calls_have_used_and_each_mark_of_its_day_once() {
    let (server, mut orders) = Server::with_telephone().await;
    let (consultation, seats) = server.book_with(patient(), json!({})).await;
    assert_eq!(server.call(&consultation, &seats[1], "POST").await.0, StatusCode::ACCEPTED);
    let order = orders.recv().await.unwrap();
    order.ticket.handle_answer();
    drop(order);
    server.consultations.tell_phone_minutes();
    server.consultations.tell_phone_minutes();
    let told = server.told(&consultation, &[&seats[0], &seats[1]]).await;
    let charges: Vec<_> = told.iter().filter(|(kind, _)| kind.ends_with("phone.charged")).collect();
    assert_eq!(charges, [&("1 phone.charged".to_owned(), json!({"seconds": 1}))]);

    // An earlier process of the same day told of four minutes more.
    let clinic = server.store.clinics().await.unwrap()[0].id.clone();
    let earlier = server.consultations.journal().entry(Some(&clinic), None, None, &Fact::PhoneCharged { seconds: 240 });
    server.consultations.journal().record(Vec::new(), vec![earlier]);
    server.consultations.journal().flush().await;
    let restarted = async |minutes: u32| {
        let (board, orders) = board(&format!("daily_minutes = {minutes}"));
        (server.restarted(|settings| ControlSettings { phones: Some(board), ..settings }).await, orders)
    };
    let marks = async |server: &Server| {
        server.consultations.tell_phone_minutes();
        server.consultations.journal().flush().await;
        let (_, feed) = server.api("GET", "/v1/events?limit=500", Value::Null).await;
        let events = feed["events"].as_array().unwrap().clone();
        let marks = events.into_iter().filter(|event| event["kind"] == "phone.minutes_used");
        marks.map(|event| (event["data"].clone(), event["seat"].clone())).collect::<Vec<_>>()
    };
    let (second, _orders) = restarted(8).await;
    let half = (json!({"percent": 50, "limit": 8}), Value::Null);
    assert_eq!(marks(&second).await, std::slice::from_ref(&half));
    assert_eq!(marks(&second).await, std::slice::from_ref(&half), "once a day");
    let (third, mut orders) = restarted(8).await;
    assert_eq!(marks(&third).await, std::slice::from_ref(&half), "also when the server was started again");
    assert_eq!(third.call(&consultation, &seats[1], "POST").await.0, StatusCode::ACCEPTED);
    drop(orders.recv().await);
    // The limit is lowered while the server runs.
    third.consultations.phones().unwrap().set_config(Arc::new(config("daily_minutes = 4")));
    assert_eq!(marks(&third).await, [half, (json!({"percent": 100, "limit": 4}), Value::Null)]);
    assert_eq!(third.call(&consultation, &seats[1], "POST").await.1["detail"], "minutes_used");
}

/// The ladder's last step, as pages live through it. Its times are in the table of `watch`; here they are short.
#[tokio::test]
async fn a_call_that_the_server_plans_is_told_and_may_be_called_off() {
    let rules = "[telephone.ladder]\ngone_s = 2\nmedia_gone_s = 8\ncancel_s = 60\n";
    let (server, mut orders) = Server::with_telephone_and(rules).await;
    tokio::spawn(Arc::clone(&server.consultations).watch_ladder());
    let consents = json!({"role": "patient", "phone": "06 12 34 56 78", "phone_consent": true});
    let (consultation, seats) = server.book_with(consents, json!({})).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    let patient = id(&seats[1]);
    let ready = phone(&seats[1], PhoneState::Ready, None, Some("78"));
    let own = match ready {
        ServerMessage::Phone { seat, state, cause, number_ending, matches_file, .. } => {
            ServerMessage::Phone { seat, state, cause, number_ending, matches_file, seconds: Some(2) }
        }
        other => other,
    };
    let mut page = server.page_on(&seats[1], OWN_DEVICE).await;
    page.hears(own.clone()).await;
    assert!(server.on_seat(&consultation, &seats[1], "admit", Value::Null).await.is_success());
    page.is_let_in().await;

    let is_planned = |message: &ServerMessage| match message {
        ServerMessage::Phone { state: PhoneState::Planned, seconds, .. } => *seconds,
        _ => None,
    };
    drop(page);
    assert!(doctor.hear_until(is_planned).await <= 2);
    doctor.say(&ClientMessage::HangUp { seat: patient.into() }).await;
    doctor.hears(phone(&seats[1], PhoneState::Idle, Some(PhoneCause::Cancelled), Some("78"))).await;
    doctor.say(&ClientMessage::HangUp { seat: patient.into() }).await;
    assert_eq!(doctor.hear_error().await.1, ErrorCode::OutOfOrder, "once is enough");
    // The host's page is reloaded: what was called off stays so.
    drop(doctor);
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let mut doctor = server.page_inside(&seats[0]).await;
    tokio::time::sleep(std::time::Duration::from_millis(3_500)).await;
    assert!(orders.try_recv().is_err(), "not called behind the host's back");

    let mut page = server.page_on(&seats[1], OWN_DEVICE).await;
    page.hears(own).await;
    // Seen well for a look of the ladder; what is called off is over by then as well.
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    assert!(orders.try_recv().is_err(), "whoever calls it off is not called");
    drop(page);
    doctor.hear_until(is_planned).await;
    let order = orders.recv().await.unwrap();
    assert_eq!((order.consultation.id.as_str(), order.seat.id.as_str()), (consultation.as_str(), patient));
    assert_eq!(server.call(&consultation, &seats[1], "DELETE").await.0, StatusCode::NO_CONTENT);
    drop(order);

    let page = server.page_on(&seats[1], OWN_DEVICE).await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    drop((doctor, page));
    tokio::time::sleep(std::time::Duration::from_millis(4_500)).await;
    assert!(orders.try_recv().is_err(), "nobody is called into a room that has lost its host as well");
}

/// It hung up on whoever had dialled in after its own call was not answered, and on whoever was about to press the key.
#[tokio::test]
async fn the_ladder_calls_off_its_own_unanswered_call_and_no_other_telephone() {
    let rules = "attempts = 9\n[telephone.ladder]\ngone_s = 1\nmedia_gone_s = 8\ncancel_s = 60\n";
    let (server, mut orders) = Server::with_telephone_and(rules).await;
    tokio::spawn(Arc::clone(&server.consultations).watch_ladder());
    let consents = json!({"role": "patient", "phone": "06 12 34 56 78", "phone_consent": true});
    let (consultation, seats) = server.book_with(consents, json!({})).await;
    let _doctor = server.page_inside(&seats[0]).await;
    let mut page = server.page_on(&seats[1], OWN_DEVICE).await;
    assert!(server.on_seat(&consultation, &seats[1], "admit", Value::Null).await.is_success());
    page.is_let_in().await;
    let two_looks = || tokio::time::sleep(std::time::Duration::from_millis(2_500));

    drop(page);
    let mut rings = orders.recv().await.unwrap();
    server.tells(&consultation, &seats[1], PhoneState::Ringing, None).await;
    let page = server.page_on(&seats[1], OWN_DEVICE).await;
    assert_eq!(rings.cancelled.recv().await, Some(PhoneCause::BackToPage));
    server.tells(&consultation, &seats[1], PhoneState::Failed, Some(PhoneCause::BackToPage)).await;
    drop((rings, page));

    let mut at_its_key = orders.recv().await.unwrap();
    server.tells(&consultation, &seats[1], PhoneState::Confirming, None).await;
    let page = server.page_on(&seats[1], OWN_DEVICE).await;
    two_looks().await;
    assert!(at_its_key.cancelled.try_recv().is_err(), "whoever has picked up is asked, not hung up on");
    server.tells(&consultation, &seats[1], PhoneState::Failed, Some(PhoneCause::NotConfirmed)).await;
    drop((at_its_key, page));

    drop(orders.recv().await.unwrap());
    server.tells(&consultation, &seats[1], PhoneState::Failed, Some(PhoneCause::NoAnswer)).await;
    let (of, record) = server.consultations.journal().seat(id(&seats[1])).await.unwrap().unwrap();
    let dialled_in = server.consultations.phone_arrive(&of, &record, Arrival::DialledIn).await.unwrap();
    server.tells(&consultation, &seats[1], PhoneState::Waiting, None).await;
    let _page = server.page_on(&seats[1], OWN_DEVICE).await;
    two_looks().await;
    let waits = PhoneStage::Waiting { consent_due: false, encryption_ends: false };
    assert_eq!(dialled_in.standing().stage, waits, "nobody has said yes to that");
}
