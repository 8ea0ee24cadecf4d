//! Calls that the server makes: what becomes of them is told to the page and stands in the journal.

use std::time::Duration;

use axum::http::StatusCode;
use colloque::telephone::prompts::Prompt;
use colloque_signaling::message::{PhoneCause, PhoneState, Presence};
use serde_json::{Value, json};

use crate::page::Page;
use crate::phone::{Call, TAG};
use crate::raw::Raw;
use crate::server::{Booked, Server, Setup, tone_of, trunk};
use crate::voice::{PATIENCE, Speech};

/// A server whose only line this is, a consultation, and the practitioner's page in it. The patient needs nobody to come in.
async fn called(sip: &Raw, telephone: &str) -> (Server, Booked, Page) {
    let setup = Setup::of(&[trunk("line", sip.port(), "")]).telephone(telephone);
    let server = setup.change(|config| config.dialout.confirm = Duration::from_millis(300)).start().await;
    let seats = json!([{"role": "practitioner"}, {"role": "patient", "phone": "+33612345678", "admitted": true}]);
    let booked = server.book_seats(seats, json!({})).await;
    let mut doctor = server.page(&booked.seats[0]).await;
    doctor.is_let_in().await;
    (server, booked, doctor)
}

async fn calls(server: &Server, booked: &Booked) {
    let (status, body) = server.call(booked, 1, "POST").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
}

/// What the journal tells, and nothing of who wanted it nor of what it cost, which is told when the minutes are next looked at.
async fn journal(server: &Server, booked: &Booked) -> Vec<(String, Value)> {
    let told = server.told(booked, 1).await;
    told.into_iter().filter(|(kind, _)| kind != "called" && kind != "charged").collect()
}

fn failed(cause: &str) -> (String, Value) {
    ("failed".to_owned(), json!({"cause": cause}))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_telephone_is_called_once_more_and_joins_by_its_key() {
    let mut sip = Raw::new().await;
    // One call at a time: the second attempt is the same call.
    let rules = "[telephone.dialout]\nbusy_retry_s = 1\nconcurrent_per_user = 1\n";
    let (server, booked, mut doctor) = called(&sip, rules).await;
    let patient = &booked.seats[1];
    let mut page = server.page(patient).await;
    page.is_let_in().await;
    page.calls(patient).await;
    let invite = sip.expect("INVITE").await;
    sip.reply(&invite, "486 Busy Here", "busy", "").await;
    sip.expect("ACK").await;
    doctor.is_told(patient, PhoneState::Calling, Some(PhoneCause::Busy)).await;
    let invite = sip.expect("INVITE").await;
    sip.reply(&invite, "180 Ringing", TAG, "").await;
    doctor.is_told(patient, PhoneState::Ringing, None).await;
    let mut call = Call::take(sip, server.sip, &invite, Speech::Tone(400.0)).await;
    doctor.is_told(patient, PhoneState::Confirming, None).await;
    call.voice.hears(tone_of(Prompt::Confirm)).await;
    call.voice.press("1");
    call.voice.hears(tone_of(Prompt::Admitted)).await;
    doctor.is_told(patient, PhoneState::In, None).await;
    doctor.sees(patient, |info| info.presence == Presence::Present && info.telephone.is_some()).await;
    call.hang_up().await;
    doctor.is_told(patient, PhoneState::Left, Some(PhoneCause::HungUp)).await;
    server.is_quiet().await;
    let kinds: Vec<String> = journal(&server, &booked).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["answered", "joined", "left"]);
    let charged = async {
        while !server.told(&booked, 1).await.iter().any(|(kind, _)| kind == "charged") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, charged).await.expect("what was answered counts against the clinic's minutes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_telephone_that_is_busy_twice_is_told_as_busy() {
    let mut sip = Raw::new().await;
    let (server, booked, mut doctor) = called(&sip, "[telephone.dialout]\nbusy_retry_s = 1\n").await;
    calls(&server, &booked).await;
    for _ in 0..2 {
        let invite = sip.expect("INVITE").await;
        sip.reply(&invite, "486 Busy Here", "busy", "").await;
        sip.expect("ACK").await;
    }
    doctor.is_told(&booked.seats[1], PhoneState::Failed, Some(PhoneCause::Busy)).await;
    server.is_quiet().await;
    assert_eq!(journal(&server, &booked).await, [failed("busy")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_telephone_that_nobody_takes_or_that_is_called_off_stops_ringing() {
    tokio::join!(
        stops_ringing(Duration::from_secs(1), None, PhoneCause::NoAnswer, "no_answer"),
        stops_ringing(Duration::from_secs(60), Some("DELETE"), PhoneCause::Cancelled, "cancelled"),
    );
}

/// `by`: what the clinic does meanwhile, if it is not the time that ends it.
async fn stops_ringing(ring: Duration, by: Option<&str>, cause: PhoneCause, name: &str) {
    let mut sip = Raw::new().await;
    let setup = Setup::of(&[trunk("line", sip.port(), "")]).change(move |config| config.dialout.ring = ring);
    let server = setup.start().await;
    let booked = server.book(json!({})).await;
    let mut doctor = server.page(&booked.seats[0]).await;
    doctor.is_let_in().await;
    calls(&server, &booked).await;
    let invite = sip.expect("INVITE").await;
    sip.reply(&invite, "180 Ringing", TAG, "").await;
    doctor.is_told(&booked.seats[1], PhoneState::Ringing, None).await;
    if let Some(method) = by {
        assert_eq!(server.call(&booked, 1, method).await.0, StatusCode::NO_CONTENT);
    }
    let cancel = sip.expect("CANCEL").await;
    sip.reply(&cancel, "200 OK", TAG, "").await;
    sip.reply(&invite, "487 Request Terminated", TAG, "").await;
    sip.expect("ACK").await;
    doctor.is_told(&booked.seats[1], PhoneState::Failed, Some(cause)).await;
    server.is_quiet().await;
    assert_eq!(journal(&server, &booked).await, [failed(name)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_presses_no_key_and_hears_nothing_of_the_consultation() {
    let mut sip = Raw::new().await;
    let (server, booked, mut doctor) = called(&sip, "").await;
    let patient = &booked.seats[1];
    calls(&server, &booked).await;
    let invite = sip.expect("INVITE").await;
    let mut call = Call::take(sip, server.sip, &invite, Speech::Tone(400.0)).await;
    doctor.is_told(patient, PhoneState::Confirming, None).await;
    call.voice.hears(tone_of(Prompt::Confirm)).await;
    // Another key is none.
    call.voice.press("5");
    call.voice.hears(tone_of(Prompt::NotConfirmed)).await;
    assert_eq!(call.voice.times_heard(tone_of(Prompt::Confirm)), 2);
    call.is_hung_up().await;
    doctor.is_told(patient, PhoneState::Failed, Some(PhoneCause::NotConfirmed)).await;
    server.is_quiet().await;
    let told = journal(&server, &booked).await;
    assert_eq!(told, [("answered".to_owned(), json!({})), failed("not_confirmed")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_is_told_with_its_cause() {
    let mut sip = Raw::new().await;
    let (server, booked, mut doctor) = called(&sip, "[telephone.dialout]\nattempts = 20\n").await;
    let mut expected = Vec::new();
    // The last one marks the line as broken.
    for (status, cause, name) in [
        ("603 Decline", PhoneCause::Refused, "refused"),
        ("404 Not Found", PhoneCause::NotInService, "not_in_service"),
        ("480 Temporarily Unavailable", PhoneCause::NoAnswer, "no_answer"),
        ("503 Service Unavailable", PhoneCause::NoLine, "no_line"),
    ] {
        calls(&server, &booked).await;
        let invite = sip.expect("INVITE").await;
        sip.reply(&invite, status, "no", "").await;
        sip.expect("ACK").await;
        doctor.is_told(&booked.seats[1], PhoneState::Failed, Some(cause)).await;
        server.is_quiet().await;
        expected.push(failed(name));
    }
    // No line is left to try: nobody is bothered.
    calls(&server, &booked).await;
    doctor.is_told(&booked.seats[1], PhoneState::Failed, Some(PhoneCause::NoLine)).await;
    server.is_quiet().await;
    expected.push(failed("no_line"));
    assert_eq!(sip.hear(Duration::from_millis(300)).await, None);
    assert_eq!(journal(&server, &booked).await, expected);
}
