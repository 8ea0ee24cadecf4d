//! Sessions that we renew (RFC 4028), and telephones that answer it in their own way.
//!
//! Not here: the ordinary course, and who renews (`outbound`, `inbound`).

use std::time::Duration;

use colloque::telephone::sdp::{Direction, Offered};
use colloque::telephone::sip::{Dialog, DialogEvent, EndCause, Progress, Reason};

use super::raw::Raw;
use super::sipp::sdp;
use super::{Server, local, next, number, offer, rules, soon};

/// A call to a telephone whose session we renew after so many seconds, with this `Allow`.
async fn called(seconds: u32, allow: &str) -> (Server, Raw, Dialog) {
    let mut peer = Raw::new().await;
    let server = Server::with(peer.port(), "udp", "", |settings| {
        settings.timers.session_min = Duration::from_secs(1);
        settings.timers.request = Duration::from_millis(700);
    })
    .await;
    let mut call =
        server.endpoint.dial(&server.trunk, &number(), offer(1, Direction::SendRecv), Duration::from_secs(10));
    let invite = peer.expect("INVITE").await;
    let ok = format!("200 OK\r\nAllow: {allow}\r\n{}", timer(2 * seconds));
    peer.reply(&invite, &ok, "p1", &sdp(4000, "")).await;
    let Some(Progress::Answered(dialog, _)) = soon(call.next()).await else { panic!("not answered") };
    peer.expect("ACK").await;
    (server, peer, dialog)
}

fn timer(seconds: u32) -> String {
    format!("Require: timer\r\nSession-Expires: {seconds};refresher=uac")
}

fn number_of(request: &str) -> &str {
    request.lines().find(|line| line.starts_with("CSeq:")).unwrap()
}

/// A request of this kind that is not the one from before.
async fn another(peer: &mut Raw, before: &str) -> String {
    loop {
        let request = peer.expect(before.split(' ').next().unwrap()).await;
        if number_of(&request) != number_of(before) {
            return request;
        }
    }
}

async fn ends(server: Server, mut peer: Raw, dialog: Dialog) {
    tokio::spawn(dialog.bye(Reason::Normal));
    let bye = peer.expect("BYE").await;
    peer.reply(&bye, "200 OK", "", "").await;
    server.is_empty().await;
}

/// A 200 that says nothing of timers ends them (RFC 4028 section 7.2). We counted on, and hung up in the middle of a consultation.
#[tokio::test]
async fn a_renewal_that_is_answered_without_a_timer_ends_the_timer_and_not_the_call() {
    let (server, mut peer, mut dialog) = called(2, "INVITE, ACK, BYE, CANCEL, UPDATE").await;
    let update = peer.expect("UPDATE").await;
    peer.reply(&update, "200 OK", "", "").await;
    let ended = tokio::time::timeout(Duration::from_secs(6), dialog.next()).await;
    assert!(ended.is_err(), "{ended:?}");
    ends(server, peer, dialog).await;
}

/// One bad answer, or none in time, ended the call with half of its interval unused.
#[tokio::test]
async fn a_renewal_that_fails_once_is_tried_again() {
    let failures = ["503 Service Unavailable", "500 Server Error", "405 Method Not Allowed", ""];
    let mut calls: tokio::task::JoinSet<()> = failures.into_iter().map(fails_once).collect();
    while let Some(done) = calls.join_next().await {
        done.unwrap();
    }
}

/// `failure`: a status, or nothing for no answer.
async fn fails_once(failure: &'static str) {
    let (server, mut peer, mut dialog) = called(8, "INVITE, ACK, BYE, CANCEL, UPDATE").await;
    let update = peer.expect("UPDATE").await;
    if !failure.is_empty() {
        peer.reply(&update, failure, "", "").await;
    }
    let (again, body) = if failure.starts_with("405") {
        // It never knew UPDATE.
        (peer.expect("INVITE").await, sdp(4000, ""))
    } else {
        (another(&mut peer, &update).await, String::new())
    };
    peer.reply(&again, &format!("200 OK\r\n{}", timer(60)), "", &body).await;
    // Longer than the first interval had left.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(6);
    while let Ok(event) = tokio::time::timeout_at(deadline, dialog.next()).await {
        assert!(matches!(event, DialogEvent::Renewed { .. }), "{failure}: {event:?}");
    }
    ends(server, peer, dialog).await;
}

#[tokio::test]
async fn who_never_renews_and_who_knows_the_call_no_more_end_it() {
    for (answer, cause) in
        [("503 Service Unavailable", EndCause::SessionExpired), ("481 Call Does Not Exist", EndCause::Lost)]
    {
        let (server, mut peer, mut dialog) = called(2, "INVITE, ACK, BYE, CANCEL, UPDATE").await;
        let mut tries = 0;
        loop {
            let request = peer.hear(Duration::from_secs(20)).await.expect("a request");
            if request.starts_with("BYE") {
                peer.reply(&request, "200 OK", "", "").await;
                break;
            }
            tries += usize::from(request.starts_with("UPDATE"));
            peer.reply(&request, answer, "", "").await;
        }
        let ended = next(&mut dialog).await;
        assert!(matches!(ended, DialogEvent::Ended(seen) if seen == cause), "{answer}: {ended:?}");
        assert_eq!(tries > 1, cause == EndCause::SessionExpired, "{answer}: {tries}");
        server.is_empty().await;
    }
}

/// Who knows no UPDATE gets our description once more, and answers with its own: nobody read it, and its sound was lost when it moved.
#[tokio::test]
async fn the_answer_to_a_renewal_by_invite_reaches_the_sound() {
    let (server, mut peer, mut dialog) = called(2, "INVITE, ACK, BYE, CANCEL").await;
    let invite = peer.expect("INVITE").await;
    peer.reply(&invite, &format!("200 OK\r\n{}", timer(60)), "", &sdp(4002, "")).await;
    let DialogEvent::Renewed { ours, theirs } = next(&mut dialog).await else { panic!("not renewed") };
    assert_eq!(ours, offer(1, Direction::SendRecv));
    let offered = Offered::again(&ours, local(1, Direction::SendRecv)).unwrap();
    assert_eq!(offered.accept(&theirs).unwrap().to.port(), 4002);
    assert_eq!(Offered::new(local(1, Direction::SendRecv), &rules()).accept(&theirs).unwrap().to.port(), 4002);
    peer.expect("ACK").await;
    ends(server, peer, dialog).await;
}
