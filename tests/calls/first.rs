//! What a telephone is told of the others in its room: that it is the first, that they speak apart, that it is muted.
//!
//! Not here: what a telephone that waits or is inside may hear (`src/web/tests/phone_place.rs`).

use colloque::telephone::prompts::Prompt;
use colloque_signaling::message::{ClientMessage, MediaSource};
use serde_json::json;

use crate::phone::Call;
use crate::raw::Raw;
use crate::server::{Setup, id, pin, tone_of, trunk};
use crate::voice::Speech;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_dials_into_an_empty_room_is_told_that_nobody_is_there_yet() {
    let server = Setup::of(&[trunk("line", 9, "")]).start().await;
    let seats = json!([{"role": "practitioner"}, {"role": "patient"}, {"role": "companion", "admitted": true}]);
    let booked = server.book_seats(seats, json!({})).await;
    let [practitioner, patient, companion] = &booked.seats[..] else { panic!("three seats") };
    let mut inside = Call::dial(Raw::new().await, server.sip, Speech::Silence).await;
    inside.voice.press(pin(companion));
    inside.voice.hears(tone_of(Prompt::Alone)).await;
    let mut waits = Call::dial(Raw::new().await, server.sip, Speech::Silence).await;
    waits.voice.press(pin(patient));
    waits.voice.hears(tone_of(Prompt::HostAbsent)).await;
    waits.voice.hears(tone_of(Prompt::NotPrivate)).await;

    let mut doctor = server.page(practitioner).await;
    doctor.is_let_in().await;
    inside.voice.hears(tone_of(Prompt::Admitted)).await;
    doctor.admit(patient).await;
    waits.voice.hears(tone_of(Prompt::Admitted)).await;
    assert_eq!(waits.voice.times_heard(tone_of(Prompt::Waiting)), 0, "the arrival was announced to nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_telephone_hears_that_a_host_mutes_it_and_that_professionals_speak_apart() {
    let server = Setup::of(&[trunk("line", 9, "")]).start().await;
    let seats =
        json!([{"role": "practitioner"}, {"role": "patient", "admitted": true}, {"role": "expert", "admitted": true}]);
    let booked = server.book_seats(seats, json!({"act": "tele_expertise"})).await;
    let [practitioner, patient, expert] = &booked.seats[..] else { panic!("three seats") };
    let mut doctor = server.page(practitioner).await;
    doctor.is_let_in().await;
    let mut colleague = server.page(expert).await;
    colleague.is_let_in().await;
    let mut call = Call::dial(Raw::new().await, server.sip, Speech::Silence).await;
    call.voice.press(pin(patient));
    call.voice.hears(tone_of(Prompt::Admitted)).await;

    let mute = |muted| ClientMessage::Mute { seat: id(patient).into(), source: MediaSource::Microphone, muted };
    doctor.say(&mute(true)).await;
    call.voice.hears(tone_of(Prompt::Muted)).await;
    doctor.say(&mute(false)).await;
    call.voice.hears(tone_of(Prompt::Unmuted)).await;
    doctor.say(&ClientMessage::Aside { on: true }).await;
    call.voice.hears(tone_of(Prompt::Apart)).await;
    doctor.say(&ClientMessage::Aside { on: false }).await;
    call.voice.hears(tone_of(Prompt::Admitted)).await;
}
