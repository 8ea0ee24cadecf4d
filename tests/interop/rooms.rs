//! Rules of the room over real media: a seat that may not send sends anyway, and nothing of it comes out.

use std::time::Duration;

use colloque_loadtest::connection::Sections;
use colloque_signaling::message::{ClientMessage, GateAnswer, Role, ServerMessage};

use crate::caller::{Caller, PAGE, Server, during, until};

const VIEWER: Sections = Sections { microphone: false, camera: false, screen: false, slots: 1, channel: None };

async fn say(caller: &mut Caller, message: ClientMessage) {
    caller.signalling.as_mut().expect("the socket is open").send(&message).await.unwrap();
}

fn was_told(caller: &Caller, expected: &ServerMessage) -> bool {
    caller.messages.contains(expected)
}

#[tokio::test]
async fn a_colleague_who_comes_later_is_neither_heard_nor_seen_until_the_card_is_read() {
    let server = Server::start();
    let clinic = &server.clinic;
    let booked = clinic.book_with_gates("teleconsultation", &[Role::Practitioner, Role::Patient]).await.unwrap();
    let mut patient = Caller::join(&server, &booked.seats[1], VIEWER).await;
    let late = clinic.invite(&booked.id, Role::Practitioner).await.unwrap();
    let mut colleague = Caller::join(&server, &late, PAGE).await;
    let both = |callers: &mut [&mut Caller; 2]| callers.iter().all(|caller| caller.connected);
    until("both are connected", [&mut patient, &mut colleague], both).await;
    during(Duration::from_millis(1_500), [&mut patient, &mut colleague]).await;
    assert_eq!((patient.voices, patient.pictures), (0, 0), "the card was not read");
    let answer = GateAnswer::Card { seats: vec![late.id.clone()] };
    say(&mut patient, ClientMessage::Gate { answer }).await;
    until("the colleague is heard and seen", [&mut patient, &mut colleague], |[patient, _]| {
        patient.voices > 10 && patient.pictures > 20
    })
    .await;
}

#[tokio::test]
async fn in_an_aside_the_patients_seat_gets_nothing_and_is_told() {
    let server = Server::start();
    let roles = [Role::Practitioner, Role::Practitioner, Role::Patient];
    let booked = server.clinic.book_with_gates("tele_expertise", &roles).await.unwrap();
    let mut asker = Caller::join(&server, &booked.seats[0], PAGE).await;
    let mut adviser = Caller::join(&server, &booked.seats[1], PAGE).await;
    let mut patient = Caller::join(&server, &booked.seats[2], PAGE).await;
    until("all hear and see", [&mut asker, &mut adviser, &mut patient], |callers| {
        callers.iter().all(|caller| caller.voices > 10 && caller.pictures > 20)
    })
    .await;
    let notice = |on| ServerMessage::Aside { on, outside: on };
    say(&mut asker, ClientMessage::Aside { on: true }).await;
    until("the patient is told", [&mut asker, &mut adviser, &mut patient], |[_, _, patient]| {
        was_told(patient, &notice(true))
    })
    .await;
    // What was on its way has arrived.
    during(Duration::from_millis(300), [&mut asker, &mut adviser, &mut patient]).await;
    let before = [&asker, &adviser, &patient].map(|caller| (caller.voices, caller.pictures));
    during(Duration::from_millis(1_500), [&mut asker, &mut adviser, &mut patient]).await;
    let after = [&asker, &adviser, &patient].map(|caller| (caller.voices, caller.pictures));
    assert_eq!(after[2], before[2], "0 packets to the patient");
    for professional in 0..2 {
        let (voices, pictures) = (after[professional].0 - before[professional].0, after[professional].1);
        assert!(voices > 20 && pictures > before[professional].1, "they go on: {voices} voices");
        // One slot, and the patient sends all the time: what comes is the other professional's alone, 50 a second.
        assert!(voices < 110, "{voices} voices in 1.5 s are two people's");
    }
    say(&mut asker, ClientMessage::Aside { on: false }).await;
    until("the patient hears and sees again", [&mut asker, &mut adviser, &mut patient], |[_, _, patient]| {
        patient.voices > after[2].0 + 20 && patient.pictures > after[2].1 + 20 && was_told(patient, &notice(false))
    })
    .await;
}
