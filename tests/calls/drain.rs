//! A server that stops: whoever is on the telephone is told in words, and hung up on only then.

use std::time::Duration;

use colloque::telephone::prompts::Prompt;
use colloque_signaling::message::{PhoneCause, PhoneState};
use colloque_sound::level::{decibels, mean_square};
use serde_json::json;

use crate::phone::Call;
use crate::raw::Raw;
use crate::server::{Setup, pin, tone_of, trunk};
use crate::voice::Speech;

/// Seconds in which somebody spoke.
fn spoken(samples: &[i16]) -> f64 {
    samples.as_chunks::<800>().0.iter().filter(|piece| decibels(mean_square(&piece[..])) > -40.0).count() as f64 / 10.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_telephone_inside_one_that_waits_and_one_at_its_pin_hear_a_goodbye_before_they_are_hung_up() {
    let mut called = Raw::new().await;
    let server = Setup::of(&[trunk("line", called.port(), "")]).start().await;
    let seats = json!([{"role": "practitioner"}, {"role": "patient", "admitted": true},
        {"role": "companion"}, {"role": "interpreter", "phone": "+33612345678"}]);
    let booked = server.book_seats(seats, json!({})).await;
    let [_, patient, companion, interpreter] = &booked.seats[..] else { panic!("four seats") };
    let mut doctor = server.page(&booked.seats[0]).await;
    doctor.is_let_in().await;

    let mut inside = Call::dial(Raw::new().await, server.sip, Speech::Tone(400.0)).await;
    inside.voice.press(pin(patient));
    inside.voice.hears(tone_of(Prompt::Admitted)).await;
    let mut waits = Call::dial(Raw::new().await, server.sip, Speech::Silence).await;
    waits.voice.press(pin(companion));
    waits.voice.hears(tone_of(Prompt::Waiting)).await;
    let mut asked = Call::dial(Raw::new().await, server.sip, Speech::Silence).await;
    asked.voice.hears(tone_of(Prompt::AskPin)).await;
    doctor.calls(interpreter).await;
    let rings = called.expect("INVITE").await;
    called.reply(&rings, "180 Ringing", "t", "").await;
    doctor.is_told(interpreter, PhoneState::Ringing, None).await;

    let lines = std::sync::Arc::clone(&server.lines);
    let stopped = tokio::spawn(async move { lines.stop().await });
    // What rings is called off.
    let cancel = called.expect("CANCEL").await;
    called.reply(&cancel, "200 OK", "t", "").await;
    called.reply(&rings, "487 Request Terminated", "t", "").await;
    called.expect("ACK").await;
    for call in [&mut inside, &mut waits, &mut asked] {
        call.voice.hears(tone_of(Prompt::Draining)).await;
        call.is_hung_up().await;
    }
    stopped.await.unwrap();
    assert_eq!(server.lines.running(), 0);
    let told = |told: Vec<(String, serde_json::Value)>| told.last().map(|(kind, data)| format!("{kind} {data}"));
    assert_eq!(told(server.told(&booked, 1).await).unwrap(), "left {\"cause\":\"draining\"}");
    assert_eq!(told(server.told(&booked, 3).await).unwrap(), "failed {\"cause\":\"draining\"}");
    // Nobody else is taken.
    let late = Call::try_dial(Raw::new().await, server.sip, Speech::Silence).await;
    assert!(late.is_err_and(|refused| refused.starts_with("SIP/2.0 503")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_words_that_are_shipped_fit_into_the_time_of_a_goodbye() {
    let server = Setup::of(&[trunk("line", 9, "")]).shipped_prompts().start().await;
    let seats = json!([{"role": "practitioner"}, {"role": "patient", "admitted": true}]);
    let booked = server.book_seats(seats, json!({"language": "fr"})).await;
    let mut doctor = server.page(&booked.seats[0]).await;
    doctor.is_let_in().await;
    let mut call = Call::dial(Raw::new().await, server.sip, Speech::Silence).await;
    call.voice.press(pin(&booked.seats[1]));
    doctor.is_told(&booked.seats[1], PhoneState::In, None).await;
    // The end of what is said now.
    while spoken(&call.voice.heard()) > 0.0 {
        call.voice.skip();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let lines = std::sync::Arc::clone(&server.lines);
    let stopped = tokio::spawn(async move { lines.stop().await });
    call.is_hung_up().await;
    let goodbye = spoken(&call.voice.heard());
    stopped.await.unwrap();
    let prompts = colloque::telephone::prompts::Prompts::new(None).unwrap();
    let language = colloque_signaling::message::Language::Fr;
    let words = spoken(prompts.samples(language, Prompt::Draining, colloque_sound::Rate::Narrow));
    assert!(words > 1.0 && goodbye > words - 0.5, "{goodbye} of {words} seconds were heard");
    doctor.is_told(&booked.seats[1], PhoneState::Left, Some(PhoneCause::Draining)).await;
}
