//! Several calls at once: each has its turn on a line, and those for whom there is no place are told so.

use axum::http::StatusCode;
use colloque_signaling::message::{PhoneCause, PhoneState};
use serde_json::json;

use crate::page::Page;
use crate::phone::TAG;
use crate::raw::Raw;
use crate::server::{Booked, Server, Setup, trunk};

/// A consultation whose patient has this number, and its practitioner's page.
async fn booked(server: &Server, number: &str) -> (Booked, Page) {
    let seats = json!([{"role": "practitioner"}, {"role": "patient", "phone": number, "admitted": true}]);
    let booked = server.book_seats(seats, json!({})).await;
    let mut doctor = server.page(&booked.seats[0]).await;
    doctor.is_let_in().await;
    (booked, doctor)
}

async fn calls(server: &Server, booked: &Booked) {
    let (status, body) = server.call(booked, 1, "POST").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
}

/// A network fails and several patients lose their pages in the same second. The line took the first call; all others were told that no
/// line works, and nobody called them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_due_at_once_go_out_one_after_the_other_on_a_line_of_one_call_a_second() {
    let mut sip = Raw::new().await;
    // What a line may do unless told otherwise.
    let server = Setup::of(&[trunk("line", sip.port(), "calls_per_second = 1")]).start().await;
    let mut patients = Vec::new();
    for number in 0..5 {
        patients.push(booked(&server, &format!("+3361234567{number}")).await);
    }
    for (booked, _) in &patients {
        calls(&server, booked).await;
    }
    // One is well again before its turn comes.
    let (left, mut doctor) = patients.pop().unwrap();
    let (status, body) = server.call(&left, 1, "DELETE").await;
    assert!(status.is_success(), "{body}");
    doctor.is_told(&left.seats[1], PhoneState::Failed, Some(PhoneCause::Cancelled)).await;
    for _ in &patients {
        let invite = sip.expect("INVITE").await;
        assert!(!invite.contains("+33612345674"), "called all the same");
        // Nobody repeats what was answered.
        sip.reply(&invite, "603 Decline", TAG, "").await;
        sip.expect("ACK").await;
    }
    for (booked, mut doctor) in patients {
        doctor.is_told(&booked.seats[1], PhoneState::Failed, Some(PhoneCause::Refused)).await;
    }
    server.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_for_which_the_line_has_no_place_is_told_that_all_lines_are_busy() {
    let mut sip = Raw::new().await;
    let server = Setup::of(&[trunk("line", sip.port(), "max_calls = 1")]).start().await;
    let (first, mut of_first) = booked(&server, "+33612345670").await;
    let (second, mut of_second) = booked(&server, "+33612345671").await;
    calls(&server, &first).await;
    let invite = sip.expect("INVITE").await;
    sip.reply(&invite, "180 Ringing", TAG, "").await;
    of_first.is_told(&first.seats[1], PhoneState::Ringing, None).await;
    calls(&server, &second).await;
    of_second.is_told(&second.seats[1], PhoneState::Failed, Some(PhoneCause::LinesBusy)).await;
    // The place of a call that is over is free.
    sip.reply(&invite, "603 Decline", TAG, "").await;
    sip.expect("ACK").await;
    server.is_quiet().await;
    calls(&server, &second).await;
    let invite = sip.expect("INVITE").await;
    sip.reply(&invite, "603 Decline", TAG, "").await;
    sip.expect("ACK").await;
    of_second.is_told(&second.seats[1], PhoneState::Failed, Some(PhoneCause::Refused)).await;
    server.is_quiet().await;
}
