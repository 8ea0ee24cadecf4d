//! A telephone that is not heard: what the room is told, what the server does about it, and that silence alone ends no call.

use std::time::Duration;

use colloque::telephone::prompts::Prompt;
use colloque_signaling::message::{PhoneCause, PhoneState};
use serde_json::json;

use crate::page::Page;
use crate::phone::Call;
use crate::raw::Raw;
use crate::server::{Booked, Server, Setup, pin, tone_of, trunk};
use crate::voice::Speech;

/// A server with these lines in its configuration, and the practitioner's page in a consultation whose patient waits for nobody.
struct Scene {
    server: Server,
    booked: Booked,
    doctor: Page,
}

impl Scene {
    async fn with(lost: Duration, silence: Duration) -> Scene {
        let setup = Setup::of(&[trunk("line", 9, "")]);
        let setup = setup.change(move |config| (config.media_lost, config.media_silence) = (lost, silence));
        let server = setup.start().await;
        let seats = json!([{"role": "practitioner"}, {"role": "patient", "admitted": true}]);
        let booked = server.book_seats(seats, json!({})).await;
        let mut doctor = server.page(&booked.seats[0]).await;
        doctor.is_let_in().await;
        Scene { server, booked, doctor }
    }

    /// The patient dials in and is in the room. Keys by INFO: its sound begins when the test says so.
    async fn patient_inside(&mut self, speech: Speech) -> Call {
        let patient = &self.booked.seats[1];
        let mut call = Call::dial(Raw::new().await, self.server.sip, speech).await;
        call.voice.hears(tone_of(Prompt::AskPin)).await;
        call.presses_by_info(pin(patient)).await;
        self.doctor.is_told(patient, PhoneState::In, None).await;
        call
    }

    async fn is_told(&mut self, state: PhoneState, cause: Option<PhoneCause>) {
        self.doctor.is_told(&self.booked.seats[1], state, cause).await;
    }

    async fn journal(&self) -> Vec<String> {
        self.server.told(&self.booked, 1).await.into_iter().map(|(kind, data)| format!("{kind} {data}")).collect()
    }
}

/// Some telephones send each key both ways: the PIN came to "1122334", and was wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_come_as_events_and_by_info_count_once() {
    let scene = Scene::with(Duration::from_secs(20), Duration::from_secs(300)).await;
    let Scene { server, booked, mut doctor } = scene;
    let mut call = Call::dial(Raw::new().await, server.sip, Speech::Silence).await;
    call.voice.hears(tone_of(Prompt::AskPin)).await;
    for key in pin(&booked.seats[1]).chars() {
        let key = key.to_string();
        call.voice.press(&key);
        call.presses_by_info(&key).await;
        // Until the key is let go, and a little more.
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    doctor.is_told(&booked.seats[1], PhoneState::In, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_telephone_that_was_never_heard_is_told_negotiated_once_and_told_back() {
    let mut scene = Scene::with(Duration::from_secs(20), Duration::from_secs(300)).await;
    let mut call = scene.patient_inside(Speech::Nothing).await;
    let offer = call.expect("INVITE").await;
    scene.is_told(PhoneState::Silent, Some(PhoneCause::NoSound)).await;
    // While the offer waits for its answer the call goes on: its keys count.
    call.presses_by_info("*9").await;
    call.voice.hears(tone_of(Prompt::HandUp)).await;
    call.agree(&offer).await;
    call.voice.speak_to(&offer);
    call.voice.say(Speech::Tone(400.0));
    scene.is_told(PhoneState::In, None).await;
    assert!(call.is_spared("INVITE", Duration::from_secs(2)).await, "negotiated twice");
    call.hang_up().await;
    scene.server.is_quiet().await;
    let told = scene.journal().await;
    assert_eq!(told, ["joined {}", "silent {\"never_heard\":true}", "joined {}", "left {\"cause\":\"hung_up\"}"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_went_dead_is_probed_and_given_up_unless_the_probe_is_answered() {
    tokio::join!(a_dead_line_is_given_up(), a_telephone_that_answers_its_probe_is_kept());
}

async fn a_dead_line_is_given_up() {
    let mut scene = Scene::with(Duration::from_secs(12), Duration::from_secs(300)).await;
    let mut call = scene.patient_inside(Speech::Silence).await;
    call.voice.say(Speech::Nothing);
    call.voice.set_reports(false);
    scene.is_told(PhoneState::Lost, None).await;
    call.expect("UPDATE").await;
    // It stays without an answer.
    scene.is_told(PhoneState::Left, Some(PhoneCause::LineDead)).await;
    call.is_hung_up().await;
    scene.server.is_quiet().await;
    assert_eq!(scene.journal().await, ["joined {}", "lost {}", "left {\"cause\":\"line_dead\"}"]);
}

async fn a_telephone_that_answers_its_probe_is_kept() {
    let mut scene = Scene::with(Duration::from_secs(12), Duration::from_secs(300)).await;
    let mut call = scene.patient_inside(Speech::Silence).await;
    call.voice.say(Speech::Nothing);
    call.voice.set_reports(false);
    scene.is_told(PhoneState::Lost, None).await;
    let probe = call.expect("UPDATE").await;
    call.agree(&probe).await;
    scene.is_told(PhoneState::Silent, None).await;
    call.voice.say(Speech::Tone(400.0));
    scene.is_told(PhoneState::In, None).await;
    call.hang_up().await;
}

/// `silence`: after so long a telephone that sends no packet is given up. `kept`: so long it is silent, and kept.
async fn survives(silence: Duration, kept: Duration) {
    let mut scene = Scene::with(Duration::from_secs(20), silence).await;
    let mut other = Scene::with(Duration::from_secs(20), silence).await;
    // Packets of silence one way, the room's silence the other.
    let mut quiet = scene.patient_inside(Speech::Silence).await;
    // Not even packets, as from a telephone that saves bandwidth; only its reports say that it is there.
    let mut saving = other.patient_inside(Speech::Silence).await;
    saving.voice.say(Speech::Nothing);
    let (read, _) = tokio::join!(scene.doctor.reads_for(kept), other.doctor.reads_for(kept));
    assert!(read.iter().all(|message| !format!("{message:?}").contains("Phone {")), "{read:?}");
    for call in [&mut quiet, &mut saving] {
        assert!(call.is_spared("BYE", Duration::from_millis(1)).await, "silence hung up");
        call.voice.say(Speech::Tone(400.0));
    }
    // Both are there, and a key is answered.
    for call in [&mut quiet, &mut saving] {
        call.voice.press("*0");
        call.voice.hears(tone_of(Prompt::Help)).await;
    }
    quiet.hang_up().await;
    saving.hang_up().await;
    for scene in [&scene, &other] {
        scene.server.is_quiet().await;
    }
    assert_eq!(scene.journal().await, ["joined {}", "left {\"cause\":\"hung_up\"}"]);
    let told = other.journal().await;
    let silent = "silent {\"never_heard\":false}";
    assert_eq!(told, ["joined {}", silent, "joined {}", "left {\"cause\":\"hung_up\"}"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_survives_silence_on_both_sides_as_long_as_it_may_last() {
    tokio::join!(survives(Duration::from_secs(12), Duration::from_secs(8)), silence_ends_a_call_at_last());
}

/// With the times that are shipped; `make soak` runs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes five minutes: make soak"]
async fn a_call_survives_five_minutes_of_silence_on_both_sides() {
    survives(Duration::from_secs(300), Duration::from_secs(290)).await;
}

async fn silence_ends_a_call_at_last() {
    let mut scene = Scene::with(Duration::from_secs(20), Duration::from_secs(7)).await;
    let mut call = scene.patient_inside(Speech::Silence).await;
    call.voice.say(Speech::Nothing);
    scene.is_told(PhoneState::Silent, None).await;
    scene.is_told(PhoneState::Left, Some(PhoneCause::LineDead)).await;
    call.is_hung_up().await;
}
