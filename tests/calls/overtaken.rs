//! Calls that are overtaken: by the end of what they were made for, or by another call of the same seat.

use std::time::Duration;

use axum::http::StatusCode;
use colloque::telephone::prompts::Prompt;
use colloque_signaling::message::{ClientMessage, PhoneCause, PhoneState, ServerMessage};
use serde_json::{Value, json};

use crate::page::Page;
use crate::phone::{Call, TAG};
use crate::raw::Raw;
use crate::server::{Booked, Server, Setup, id, pin, tone_of, trunk};
use crate::voice::Speech;

/// A server whose only line this is, and a consultation whose patient can be called.
async fn with_line(sip: &Raw, telephone: &str) -> (Server, Booked) {
    let server = Setup::of(&[trunk("line", sip.port(), "")]).telephone(telephone).start().await;
    let booked = server.book(json!({})).await;
    (server, booked)
}

async fn inside(server: &Server, seat: &Value) -> Page {
    let mut page = server.page(seat).await;
    page.is_let_in().await;
    page
}

async fn is_called(server: &Server, booked: &Booked) {
    assert_eq!(server.call(booked, 1, "POST").await.0, StatusCode::ACCEPTED);
}

async fn is_called_off(sip: &mut Raw, invite: &str) {
    let cancel = sip.expect("CANCEL").await;
    sip.reply(&cancel, "200 OK", TAG, "").await;
    sip.reply(invite, "487 Request Terminated", TAG, "").await;
    sip.expect("ACK").await;
}

async fn kinds(server: &Server, booked: &Booked) -> Vec<String> {
    let told = server.told(booked, 1).await.into_iter();
    told.map(|(kind, data)| format!("{kind} {data}")).filter(|told| !told.starts_with("called")).collect()
}

/// The state of a telephone that was told last, while the page reads for a moment.
async fn told_last(page: &mut Page, seat: &Value) -> Option<PhoneState> {
    let heard = page.reads_for(Duration::from_millis(500)).await;
    let mut of_seat = heard.into_iter().filter_map(|message| match message {
        ServerMessage::Phone { seat: of, state, .. } if of == id(seat) => Some(state),
        _ => None,
    });
    of_seat.next_back()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_telephone_stops_ringing_when_its_consultation_is_ended_or_its_seat_is_removed() {
    tokio::join!(
        a_page_stops_it(|_| ClientMessage::End, "over"),
        a_page_stops_it(|seat| ClientMessage::Remove { seat: id(seat).to_owned() }, "removed"),
        // Nobody is there: there is no room.
        a_clinic_stops_it("DELETE", "", "over"),
        a_clinic_stops_it("POST", "/remove", "removed"),
        a_clinic_stops_it("POST", "/revoke", "removed"),
        a_clinic_stops_it("DELETE", "/data", "over"),
    );
}

async fn a_page_stops_it(how: impl Fn(&Value) -> ClientMessage, cause: &str) {
    let mut sip = Raw::new().await;
    let (server, booked) = with_line(&sip, "").await;
    let patient = &booked.seats[1];
    let mut doctor = inside(&server, &booked.seats[0]).await;
    is_called(&server, &booked).await;
    let invite = sip.expect("INVITE").await;
    sip.reply(&invite, "180 Ringing", TAG, "").await;
    doctor.is_told(patient, PhoneState::Ringing, None).await;
    doctor.say(&how(patient)).await;
    is_called_off(&mut sip, &invite).await;
    server.is_quiet().await;
    assert_eq!(kinds(&server, &booked).await, [format!("failed {{\"cause\":\"{cause}\"}}")]);
}

/// `path`: of the consultation, or of the patient's seat when it begins as a seat's does.
async fn a_clinic_stops_it(method: &str, path: &str, cause: &str) {
    let mut sip = Raw::new().await;
    let (server, booked) = with_line(&sip, "").await;
    is_called(&server, &booked).await;
    let invite = sip.expect("INVITE").await;
    sip.reply(&invite, "180 Ringing", TAG, "").await;
    let seat =
        if matches!(path, "/remove" | "/revoke") { format!("/seats/{}", id(&booked.seats[1])) } else { String::new() };
    let (status, body) = server.api(method, &format!("/v1/consultations/{}{seat}{path}", booked.id), Value::Null).await;
    assert!(status.is_success(), "{path} {status} {body}");
    is_called_off(&mut sip, &invite).await;
    server.is_quiet().await;
    assert_eq!(kinds(&server, &booked).await, [format!("failed {{\"cause\":\"{cause}\"}}")], "{method} {path}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_telephone_is_not_called_again_for_a_consultation_that_is_over() {
    let mut sip = Raw::new().await;
    let (server, booked) = with_line(&sip, "[telephone.dialout]\nbusy_retry_s = 3\n").await;
    let mut doctor = inside(&server, &booked.seats[0]).await;
    is_called(&server, &booked).await;
    let invite = sip.expect("INVITE").await;
    sip.reply(&invite, "486 Busy Here", "busy", "").await;
    sip.expect("ACK").await;
    doctor.is_told(&booked.seats[1], PhoneState::Calling, Some(PhoneCause::Busy)).await;
    doctor.say(&ClientMessage::End).await;
    server.is_quiet().await;
    assert_eq!(sip.hear(Duration::from_secs(4)).await, None, "called for nothing");
    assert_eq!(kinds(&server, &booked).await, ["failed {\"cause\":\"over\"}"]);
}

/// The server's second try came into the running consultation, and told the page that its telephone was not in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dials_in_while_being_called_is_not_called_again_and_stays_in() {
    let mut sip = Raw::new().await;
    let (server, booked) = with_line(&sip, "[telephone.dialout]\nbusy_retry_s = 3\n").await;
    let patient = &booked.seats[1];
    let mut doctor = inside(&server, &booked.seats[0]).await;
    is_called(&server, &booked).await;
    let invite = sip.expect("INVITE").await;
    doctor.is_told(patient, PhoneState::Calling, None).await;
    doctor.calls(patient).await;
    assert_eq!(told_last(&mut doctor, patient).await, None, "wanted twice, and made once");
    // Because it is calling.
    let mut call = Call::dial(Raw::new().await, server.sip, Speech::Tone(400.0)).await;
    sip.reply(&invite, "486 Busy Here", "busy", "").await;
    sip.expect("ACK").await;
    call.voice.press(pin(patient));
    call.voice.hears(tone_of(Prompt::Waiting)).await;
    doctor.admit(patient).await;
    doctor.is_told(patient, PhoneState::In, None).await;
    assert_eq!(sip.hear(Duration::from_secs(4)).await, None, "called beside");
    assert_eq!(told_last(&mut doctor, patient).await, None);
    // Nor by hand, while it is there.
    assert_eq!(server.call(&booked, 1, "POST").await.1["detail"], "too_many_at_once");
    doctor.calls(patient).await;
    assert_eq!(told_last(&mut doctor, patient).await, None);
    // Who hangs up now hangs up on the telephone that is there.
    doctor.say(&ClientMessage::HangUp { seat: id(patient).to_owned() }).await;
    call.is_hung_up().await;
    doctor.is_told(patient, PhoneState::Left, Some(PhoneCause::Cancelled)).await;
    server.is_quiet().await;
    let [called_off, left] = ["failed", "left"].map(|kind| format!("{kind} {{\"cause\":\"cancelled\"}}"));
    assert_eq!(kinds(&server, &booked).await, [called_off, "joined {}".to_owned(), left]);
}

/// The call that was put out told last, that the telephone had left, and the host saw nobody waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dials_again_beside_a_call_that_stands_is_told_as_waiting_and_not_as_gone() {
    let sip = Raw::new().await;
    let (server, booked) = with_line(&sip, "").await;
    let patient = &booked.seats[1];
    let mut doctor = inside(&server, &booked.seats[0]).await;
    let mut first = Call::dial(Raw::new().await, server.sip, Speech::Tone(400.0)).await;
    first.voice.press(pin(patient));
    first.voice.hears(tone_of(Prompt::Waiting)).await;
    doctor.admit(patient).await;
    doctor.is_told(patient, PhoneState::In, None).await;
    let mut second = Call::dial(Raw::new().await, server.sip, Speech::Tone(400.0)).await;
    second.voice.press(pin(patient));
    second.voice.hears(tone_of(Prompt::Waiting)).await;
    first.voice.hears(tone_of(Prompt::Goodbye)).await;
    first.is_hung_up().await;
    assert_eq!(told_last(&mut doctor, patient).await, Some(PhoneState::Waiting));
    doctor.admit(patient).await;
    doctor.is_told(patient, PhoneState::In, None).await;
    second.hang_up().await;
    server.is_quiet().await;
    assert_eq!(kinds(&server, &booked).await, ["joined {}", "joined {}", "left {\"cause\":\"hung_up\"}"]);
}

/// The line was lost without a goodbye, and who called back at once waited for the host like a stranger.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_line_broke_and_who_calls_back_before_that_is_known_for_sure_is_let_in_at_once() {
    let sip = Raw::new().await;
    let (server, booked) = with_line(&sip, "").await;
    let patient = &booked.seats[1];
    let mut doctor = inside(&server, &booked.seats[0]).await;
    let mut first = Call::dial(Raw::new().await, server.sip, Speech::Silence).await;
    first.voice.press(pin(patient));
    first.voice.hears(tone_of(Prompt::Waiting)).await;
    doctor.admit(patient).await;
    doctor.is_told(patient, PhoneState::In, None).await;
    first.voice.say(Speech::Nothing);
    first.voice.set_reports(false);
    doctor.is_told(patient, PhoneState::Lost, None).await;
    let mut second = Call::dial(Raw::new().await, server.sip, Speech::Tone(400.0)).await;
    second.voice.press(pin(patient));
    second.voice.hears(tone_of(Prompt::Admitted)).await;
    doctor.is_told(patient, PhoneState::In, None).await;
    first.is_hung_up().await;
    assert_eq!(told_last(&mut doctor, patient).await, None);
}
