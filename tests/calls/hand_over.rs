//! A consultation that is handed to a colleague while its patient is on the telephone: the patient stays, and the colleague is heard.

use colloque::telephone::prompts::Prompt;
use colloque_signaling::message::{ClientMessage, HandOverReason, Presence};
use serde_json::json;

use crate::phone::Call;
use crate::raw::Raw;
use crate::server::{Setup, id, pin, tone_of, trunk};
use crate::voice::Speech;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_colleague_who_takes_over_hears_the_patient_on_the_telephone_and_is_heard() {
    let server = Setup::of(&[trunk("line", 9, "")]).start().await;
    let seats = json!([{"role": "practitioner"}, {"role": "patient", "admitted": true}, {"role": "practitioner"}]);
    let booked = server.book_seats(seats, json!({})).await;
    let [giver_seat, patient_seat, taker_seat] = &booked.seats[..] else { panic!("three seats") };
    let mut giver = server.page(giver_seat).await;
    giver.is_let_in().await;
    let mut patient = Call::dial(Raw::new().await, server.sip, Speech::Tone(400.0)).await;
    patient.voice.press(pin(patient_seat));
    patient.voice.hears(tone_of(Prompt::Admitted)).await;

    // Announced while the colleague is still away, done when the page comes.
    giver.say(&ClientMessage::HandOver { to: id(taker_seat).into(), reason: HandOverReason::ShiftEnd }).await;
    let mut taker = server.page(taker_seat).await;
    taker.is_let_in().await;
    // The colleague has no microphone, and takes a telephone, which the own page lets in.
    let mut colleague = Call::dial(Raw::new().await, server.sip, Speech::Tone(300.0)).await;
    colleague.voice.press(pin(taker_seat));
    colleague.voice.hears(tone_of(Prompt::Waiting)).await;
    taker.admit(taker_seat).await;
    colleague.voice.hears(tone_of(Prompt::Admitted)).await;
    giver.say(&ClientMessage::Leave).await;
    taker.sees(giver_seat, |info| info.presence == Presence::Absent).await;

    patient.voice.skip();
    colleague.voice.skip();
    colleague.voice.hears(400.0).await;
    patient.voice.hears(300.0).await;
    // Whoever took it over runs it.
    taker.say(&ClientMessage::End).await;
    patient.voice.hears(tone_of(Prompt::Over)).await;
    colleague.voice.hears(tone_of(Prompt::Over)).await;
    patient.is_hung_up().await;
    colleague.is_hung_up().await;
}
