//! Two sides that speak at once, answers and requests that come twice, and many calls at once.

use std::time::Duration;

use colloque::config::telephone::SipTransport;
use colloque::telephone::sdp::Direction;
use colloque::telephone::sip::{Dialog, DialogEvent, EndCause, Progress, Reason, Refusal};

use super::raw::Raw;
use super::sipp::{Sipp, Step, free_port, request, sdp};
use super::torture::{self, CONTACT, INVITE, written};
use super::{Server, answer, next, number, offer, soon};

/// A call that we made to the socket, and its INVITE.
async fn called(server: &Server, peer: &mut Raw) -> (Dialog, String) {
    let ring = Duration::from_secs(10);
    let mut call = server.endpoint.dial(&server.trunk, &number(), offer(1, Direction::SendRecv), ring);
    let invite = peer.expect("INVITE").await;
    peer.reply(&invite, "200 OK", "p1", &sdp(4000, "")).await;
    let Some(Progress::Answered(dialog, _)) = soon(call.next()).await else { panic!("not answered") };
    peer.expect("ACK").await;
    (dialog, invite)
}

/// A request of the called side within the call.
fn back(invite: &str, peer: &Raw, method: &str, cseq: u32, body: &str) -> String {
    let value = |name: &str| invite.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let body = body.replace('\n', "\r\n");
    let port = peer.port();
    format!(
        "{method} sip:colloque@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{method}{cseq}\r\n\
         From: {};tag=p1\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: <sip:raw@127.0.0.1:{port}>\r\n\
         Max-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        value("To:"),
        value("From:"),
        value("Call-ID:"),
        body.len()
    )
}

#[tokio::test]
async fn their_offer_that_crosses_ours_is_told_to_wait() {
    let mut peer = Raw::new().await;
    let server = Server::start(peer.port(), "udp", "").await;
    let port = server.port(SipTransport::Udp);
    let (dialog, invite) = called(&server, &mut peer).await;
    let asking = tokio::spawn(async move {
        let answered = dialog.reoffer(offer(2, Direction::SendOnly)).await;
        (dialog, answered)
    });
    let ours = peer.expect("INVITE").await;
    peer.send(back(&invite, &peer, "INVITE", 1, &sdp(4002, "")).as_bytes(), port).await;
    assert!(peer.expect("SIP/2.0").await.starts_with("SIP/2.0 491"));
    peer.send(back(&invite, &peer, "ACK", 1, "").replace("z9hG4bKACK1", "z9hG4bKINVITE1").as_bytes(), port).await;
    // Repetitions of ours may stand between; the last one is as good.
    peer.reply(&ours, "200 OK", "", &sdp(4000, "a=recvonly\n")).await;
    peer.expect("ACK").await;
    let (mut dialog, answered) = soon(asking).await.unwrap();
    answered.unwrap();
    // Theirs again, when ours is through.
    peer.send(back(&invite, &peer, "INVITE", 2, &sdp(4002, "")).as_bytes(), port).await;
    let DialogEvent::Reoffer(reoffer) = next(&mut dialog).await else { panic!("no offer") };
    let text = answer(reoffer.offer.as_ref().unwrap());
    reoffer.answer(text);
    assert!(peer.expect("SIP/2.0 200").await.contains("CSeq: 2 INVITE"));
    peer.send(back(&invite, &peer, "ACK", 2, "").as_bytes(), port).await;
    // An old number, a tag of nobody, and an INVITE that its sender takes back.
    peer.send(back(&invite, &peer, "OPTIONS", 1, "").as_bytes(), port).await;
    peer.expect("SIP/2.0 500").await;
    peer.send(back(&invite, &peer, "OPTIONS", 3, "").replace("tag=p1", "tag=p9").as_bytes(), port).await;
    peer.expect("SIP/2.0 481").await;
    peer.send(back(&invite, &peer, "INVITE", 4, &sdp(4002, "")).as_bytes(), port).await;
    let DialogEvent::Reoffer(kept) = next(&mut dialog).await else { panic!("no offer") };
    peer.send(back(&invite, &peer, "CANCEL", 4, "").replace("z9hG4bKCANCEL4", "z9hG4bKINVITE4").as_bytes(), port).await;
    assert!(peer.expect("SIP/2.0 487").await.contains("CSeq: 4 INVITE"));
    drop(kept);
    peer.send(back(&invite, &peer, "BYE", 5, "").as_bytes(), port).await;
    peer.expect("SIP/2.0 200").await;
    assert!(matches!(next(&mut dialog).await, DialogEvent::Ended(EndCause::Bye)));
    server.is_empty().await;
}

#[tokio::test]
async fn an_offer_that_our_side_does_not_answer_is_refused_and_the_call_goes_on() {
    let mut peer = Raw::new().await;
    let server =
        Server::with(peer.port(), "udp", "", |settings| settings.timers.request = Duration::from_secs(1)).await;
    let port = server.port(SipTransport::Udp);
    let (mut dialog, invite) = called(&server, &mut peer).await;
    for (cseq, keep, status) in [(1, true, "SIP/2.0 500"), (2, false, "SIP/2.0 488")] {
        peer.send(back(&invite, &peer, "INVITE", cseq, &sdp(4002, "")).as_bytes(), port).await;
        let DialogEvent::Reoffer(reoffer) = next(&mut dialog).await else { panic!("no offer") };
        let kept = keep.then_some(reoffer);
        peer.expect(status).await;
        let branch = format!("z9hG4bKINVITE{cseq}");
        let ack = back(&invite, &peer, "ACK", cseq, "").replace(&format!("z9hG4bKACK{cseq}"), &branch);
        peer.send(ack.as_bytes(), port).await;
        drop(kept);
    }
    assert_eq!(server.endpoint.calls(), 1);
    tokio::spawn(dialog.bye(Reason::Normal));
    let bye = peer.expect("BYE").await;
    peer.reply(&bye, "200 OK", "", "").await;
    server.is_empty().await;
}

#[tokio::test]
async fn sixty_calls_at_ten_a_second_leave_nothing_behind() {
    let Server { endpoint, mut calls, .. } = Server::start(9, "udp", "max_calls = 100").await;
    let port = endpoint.listening(SipTransport::Udp).unwrap().port();
    let peer = Sipp::start(
        &[
            Step::Say(request("INVITE", 1, "", &sdp(4000, ""))),
            Step::Maybe(100),
            Step::Status(200),
            Step::Once(request("ACK", 1, "", "")),
            Step::Pause(1_000),
            Step::Say(request("BYE", 2, "", "")),
            Step::Status(200),
        ],
        free_port(),
        Some(port),
        &["-m", "60", "-r", "10"],
    );
    let mut most = 0;
    for _ in 0..60 {
        let call = soon(calls.recv()).await.unwrap();
        most = most.max(endpoint.calls());
        tokio::spawn(async move {
            let mut dialog = call.call.answer(answer(&call.offer.unwrap())).await.unwrap();
            dialog.next().await
        });
    }
    peer.finish().await;
    assert!(most > 5, "{most} at once");
    assert_eq!(endpoint.calls(), 0);
}

#[tokio::test]
async fn an_answer_whose_acknowledgement_was_lost_is_acknowledged_again() {
    let mut peer = Raw::new().await;
    let server = Server::start(peer.port(), "udp", "").await;
    let (dialog, invite) = called(&server, &mut peer).await;
    for _ in 0..3 {
        peer.reply(&invite, "200 OK", "p1", &sdp(4000, "")).await;
        assert!(peer.expect("ACK").await.contains("tag=p1"));
    }
    tokio::spawn(dialog.bye(Reason::Normal));
    let bye = peer.expect("BYE").await;
    peer.reply(&bye, "200 OK", "", "").await;
    server.is_empty().await;
}

#[tokio::test]
async fn of_two_telephones_that_answer_the_second_is_ended() {
    let mut peer = Raw::new().await;
    let server = Server::start(peer.port(), "udp", "").await;
    let mut call =
        server.endpoint.dial(&server.trunk, &number(), offer(1, Direction::SendRecv), Duration::from_secs(10));
    let invite = peer.expect("INVITE").await;
    peer.reply(&invite, "180 Ringing", "p1", "").await;
    peer.reply(&invite, "200 OK", "p1", &sdp(4000, "")).await;
    peer.reply(&invite, "200 OK", "p2", &sdp(4002, "")).await;
    let dialog = loop {
        match soon(call.next()).await {
            Some(Progress::Answered(dialog, _)) => break dialog,
            Some(Progress::Ringing) => {}
            _ => panic!("not answered"),
        }
    };
    let mut acknowledged = Vec::new();
    let bye = loop {
        let text = peer.hear(Duration::from_secs(10)).await.expect("a BYE");
        let tag = text
            .lines()
            .find(|line| line.starts_with("To:"))
            .and_then(|to| to.split("tag=").nth(1))
            .unwrap_or("")
            .to_owned();
        if text.starts_with("BYE") {
            assert_eq!(tag, "p2");
            break text;
        }
        if text.starts_with("ACK") {
            acknowledged.push(tag);
        }
    };
    assert_eq!(acknowledged, ["p1", "p2"]);
    peer.reply(&bye, "200 OK", "", "").await;
    drop(dialog);
    let bye = peer.expect("BYE").await;
    assert!(bye.contains("tag=p1"));
    peer.reply(&bye, "200 OK", "", "").await;
    server.is_empty().await;
}

#[tokio::test]
async fn a_call_that_ends_as_it_is_answered_waits_for_its_acknowledgement() {
    let mut peer = Raw::new().await;
    let mut server = Server::start(9, "udp", "").await;
    let port = server.port(SipTransport::Udp);
    let invite = written(&torture::call(INVITE, "1 INVITE", CONTACT), peer.port(), "quick");
    peer.send(invite.as_bytes(), port).await;
    let call = server.call().await;
    let dialog = call.call.answer(answer(&call.offer.unwrap())).await.unwrap();
    let ended = tokio::spawn(dialog.bye(Reason::Normal));
    let ok = peer.expect("SIP/2.0 200").await;
    let waits = tokio::time::timeout(Duration::from_millis(700), peer.expect("BYE")).await;
    assert!(waits.is_err(), "a BYE before the ACK");
    let to = ok.lines().find(|line| line.starts_with("To:")).unwrap();
    let ack = invite.split("Contact").next().unwrap().replace("INVITE", "ACK").replace("z9hG4bK", "z9hG4bKack");
    let ack = ack.replace("To: <sip:user@example.com>", to) + "Content-Length: 0\r\n\r\n";
    peer.send(ack.as_bytes(), port).await;
    let bye = peer.expect("BYE").await;
    peer.reply(&bye, "200 OK", "", "").await;
    soon(ended).await.unwrap();
    server.is_empty().await;
}

#[tokio::test]
async fn a_call_that_comes_on_two_ways_rings_once() {
    let mut peer = Raw::new().await;
    let mut server = Server::start(9, "udp", "").await;
    let port = server.port(SipTransport::Udp);
    let invite = written(&torture::call(INVITE, "1 INVITE", CONTACT), peer.port(), "merged");
    peer.send(invite.as_bytes(), port).await;
    let call = server.call().await;
    // Another proxy's branch is another transaction, and the same call (RFC 3261 section 8.2.2.2).
    let other = invite.replace("z9hG4bK", "z9hG4bKother");
    peer.send(other.as_bytes(), port).await;
    assert!(peer.expect("SIP/2.0 482").await.contains("z9hG4bKother"));
    call.call.ring().await;
    peer.expect("SIP/2.0 180").await;
    call.call.refuse(Refusal::Busy).await;
    assert!(!peer.expect("SIP/2.0 486").await.contains("z9hG4bKother"));
    // The same caller may call again: another number.
    peer.send(invite.replace("z9hG4bK", "z9hG4bKnext").replace("1 INVITE", "2 INVITE").as_bytes(), port).await;
    server.call().await.call.refuse(Refusal::Busy).await;
    assert!(peer.expect("SIP/2.0 486").await.contains("z9hG4bKnext"));
    server.is_empty().await;
}
