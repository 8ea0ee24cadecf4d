//! Two sides that speak at once, many calls at once, and the newer Internet.

use std::time::Duration;

use colloque::config::telephone::SipTransport;
use colloque::telephone::sdp::Direction;
use colloque::telephone::sip::{Dialog, DialogEvent, EndCause, Progress, Reason};

use super::raw::Raw;
use super::sipp::{Sipp, Step, free_port, request, sdp};
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
async fn a_trunk_may_be_reached_by_ipv6() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("skipped: this kernel has no IPv6");
        return;
    }
    let phone = tokio::net::UdpSocket::bind("[::1]:0").await.unwrap();
    let server = Server::with(phone.local_addr().unwrap().port(), "udp", "", |settings| {
        settings.sip_udp = Some("[::1]:0".parse().unwrap());
        settings.trunks[0].server.host = "::1".to_owned();
        settings.trunks[0].allow = vec!["::1".parse().unwrap()];
    })
    .await;
    let mut call =
        server.endpoint.dial(&server.trunk, &number(), offer(1, Direction::SendRecv), Duration::from_secs(10));
    let mut buffer = vec![0; 4_000];
    let (len, from) = soon(phone.recv_from(&mut buffer)).await.unwrap();
    let invite = String::from_utf8_lossy(&buffer[..len]).into_owned();
    assert!(
        invite.starts_with(&format!("INVITE sip:+33612345678@[::1]:{};", phone.local_addr().unwrap().port())),
        "{invite}"
    );
    assert!(invite.contains(&format!("Via: SIP/2.0/UDP [::1]:{}", from.port())));
    let kept: String = ["Via:", "From:", "Call-ID:", "CSeq:"]
        .iter()
        .map(|name| format!("{}\r\n", invite.lines().find(|line| line.starts_with(name)).unwrap()))
        .collect();
    let to = invite.lines().find(|line| line.starts_with("To:")).unwrap();
    let busy = format!("SIP/2.0 486 Busy Here\r\n{kept}{to};tag=p1\r\nContent-Length: 0\r\n\r\n");
    phone.send_to(busy.as_bytes(), from).await.unwrap();
    let failed = soon(call.next()).await;
    assert!(matches!(failed, Some(Progress::Failed(colloque::telephone::sip::DialFailure::Busy))));
    let (len, _) = soon(phone.recv_from(&mut buffer)).await.unwrap();
    assert!(buffer[..len].starts_with(b"ACK "));
}
