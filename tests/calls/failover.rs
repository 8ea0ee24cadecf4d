//! Lines that do not work: the next one is tried, and the telephone rings within the time that was promised.

use std::time::{Duration, Instant};

use colloque_signaling::message::{PhoneCause, PhoneState};
use serde_json::json;
use tokio::net::UdpSocket;

use crate::phone::TAG;
use crate::raw::Raw;
use crate::server::{Setup, trunk};

/// A port on which nobody listens: the kernel refuses each datagram.
async fn dead_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// Lets the first lines fail; tells how long it took from the wish to the ringing.
async fn rings_behind(broken: &[u16]) -> Duration {
    let mut sip = Raw::new().await;
    // The patience with a line is the product's own.
    let patience = "first_response_ms = 3000";
    let name = |at: usize| format!("broken-{at}");
    let mut trunks: Vec<String> = broken
        .iter()
        .enumerate()
        .map(|(at, port)| trunk(&name(at), *port, &format!("{patience}\npriority = {}", at + 1)))
        .collect();
    trunks.push(trunk("works", sip.port(), &format!("{patience}\npriority = 90")));
    let server = Setup::of(&trunks).start().await;
    let booked = server.book(json!({})).await;
    let patient = &booked.seats[1];
    let mut doctor = server.page(&booked.seats[0]).await;
    doctor.is_let_in().await;
    let decided = Instant::now();
    doctor.calls(patient).await;
    let invite = sip.expect("INVITE").await;
    sip.reply(&invite, "180 Ringing", TAG, "").await;
    doctor.is_told(patient, PhoneState::Calling, Some(PhoneCause::AnotherLine)).await;
    doctor.is_told(patient, PhoneState::Ringing, None).await;
    let took = decided.elapsed();
    let refused = Some(PhoneCause::Refused);
    sip.reply(&invite, "603 Decline", TAG, "").await;
    sip.expect("ACK").await;
    doctor.is_told(patient, PhoneState::Failed, refused).await;
    server.is_quiet().await;
    // The next call does not try the broken ones first.
    doctor.calls(patient).await;
    let invite = sip.expect("INVITE").await;
    sip.reply(&invite, "603 Decline", TAG, "").await;
    sip.expect("ACK").await;
    let next = doctor.hears_of_phone(patient, |state, _| state == PhoneState::Failed).await;
    assert_eq!(next, [(PhoneState::Calling, None), (PhoneState::Failed, refused)]);
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_first_lines_are_dead_or_silent_rings_on_the_next_within_ten_seconds() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (dead, silent_port) = (dead_port().await, silent.local_addr().unwrap().port());
    let both = [dead, silent_port];
    let (dead, quiet, both) = tokio::join!(rings_behind(&both[..1]), rings_behind(&both[1..]), rings_behind(&both));
    for (name, took) in [("a dead line", dead), ("a silent line", quiet), ("both", both)] {
        println!("behind {name}: rings after {took:?}");
        assert!(took < PROMISED, "behind {name}: {took:?}");
    }
}

/// From the decision to the ringing: what the product promises, however many lines fail before.
const PROMISED: Duration = Duration::from_secs(10);
