//! Consultations that are end-to-end encrypted: no telephone where it is required, and where it is preferred one that waits until a host agrees.

use axum::http::StatusCode;
use colloque::telephone::prompts::Prompt;
use colloque_signaling::message::{ClientMessage, PhoneCause, PhoneState};
use serde_json::json;

use crate::phone::Call;
use crate::raw::Raw;
use crate::server::{Setup, id, pin, tone_of, trunk};
use crate::voice::Speech;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_encryption_is_required_no_telephone_comes_in_and_none_is_called() {
    let mut sip = Raw::new().await;
    let server = Setup::of(&[trunk("line", sip.port(), "")]).start().await;
    let booked = server.book(json!({"e2ee": "required"})).await;
    let patient = &booked.seats[1];
    let mut doctor = server.page(&booked.seats[0]).await;
    doctor.is_let_in().await;
    let mut call = Call::dial(Raw::new().await, server.sip, Speech::Tone(400.0)).await;
    call.voice.press(pin(patient));
    call.voice.hears(tone_of(Prompt::EncryptionRequired)).await;
    call.is_hung_up().await;
    server.is_quiet().await;
    assert_eq!(server.told(&booked, 1).await, [("left".to_owned(), json!({"cause": "encryption_required"}))]);

    let (status, body) = server.call(&booked, 1, "POST").await;
    assert_eq!((status, &body["detail"]), (StatusCode::CONFLICT, &json!("encryption_required")));
    doctor.calls(patient).await;
    doctor.is_told(patient, PhoneState::Failed, Some(PhoneCause::EncryptionRequired)).await;
    assert_eq!(sip.hear(std::time::Duration::from_millis(300)).await, None, "nobody is called");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_it_is_preferred_a_telephone_waits_until_a_host_agrees_and_everybody_is_told() {
    let server = Setup::of(&[trunk("line", 9, "")]).start().await;
    let seats = json!([{"role": "practitioner"}, {"role": "patient"}, {"role": "companion", "admitted": true}]);
    let booked = server.book_seats(seats, json!({"e2ee": "preferred"})).await;
    let patient = &booked.seats[1];
    let mut doctor = server.page(&booked.seats[0]).await;
    doctor.is_let_in().await;
    let mut companion = server.page(&booked.seats[2]).await;
    companion.is_let_in().await;

    let mut call = Call::dial(Raw::new().await, server.sip, Speech::Tone(400.0)).await;
    call.voice.press(pin(patient));
    call.voice.hears(tone_of(Prompt::Waiting)).await;
    let ends = Some(PhoneCause::EncryptionEnds);
    doctor.admit(patient).await;
    // Let in by a host, and still outside: that encryption ends is a question of its own.
    call.voice.hears(tone_of(Prompt::EncryptionEnds)).await;
    doctor.is_told(patient, PhoneState::Waiting, ends).await;
    companion.is_told(patient, PhoneState::Waiting, ends).await;
    doctor.say(&ClientMessage::Call { seat: id(patient).into(), encryption_ends: true }).await;
    call.voice.hears(tone_of(Prompt::Admitted)).await;
    doctor.is_told(patient, PhoneState::In, ends).await;
    companion.is_told(patient, PhoneState::In, ends).await;
    call.hang_up().await;
    companion.is_told(patient, PhoneState::Left, Some(PhoneCause::HungUp)).await;
}
