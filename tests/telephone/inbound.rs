//! Calls that come in.

use std::time::Duration;

use colloque::config::telephone::SipTransport;
use colloque::telephone::sdp::Direction;
use colloque::telephone::sip::{DialogEvent, EndCause, Gone, Reason, Refusal};

use super::sipp::{Sipp, Step, What, free_port, request, response, sdp};
use super::{Server, answer, local, next, offer, rules, soon};

fn ended(event: DialogEvent) -> EndCause {
    match event {
        DialogEvent::Ended(cause) => cause,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_rings_is_answered_and_ends_with_their_bye() {
    for (transport, options) in [("udp", &["-t", "u1"][..]), ("tcp", &["-t", "t1"])] {
        let mut server = Server::start(9, transport, "").await;
        let kind = if transport == "udp" { SipTransport::Udp } else { SipTransport::Tcp };
        let peer = Sipp::start(
            &[
                Step::Say(request("INVITE", 1, "", &sdp(4000, ""))),
                Step::Maybe(100),
                Step::Status(180),
                Step::Holding(What::Status(200), "m=audio 20000 RTP/AVP 8 0 101"),
                Step::Once(request("ACK", 1, "", "")),
                Step::Pause(200),
                Step::Say(request("BYE", 2, "", "")),
                Step::Status(200),
            ],
            free_port(),
            Some(server.port(kind)),
            options,
        );
        let call = server.call().await;
        assert_eq!(call.called.unwrap().0.e164(), "+33123456789");
        assert_eq!(call.caller.unwrap().0.e164(), "+33612345678");
        assert_eq!(server.endpoint.calls(), 1);
        call.call.ring().await;
        let mut dialog = call.call.answer(answer(&call.offer.unwrap())).await.unwrap();
        assert_eq!(ended(next(&mut dialog).await), EndCause::Bye);
        peer.finish().await;
        server.is_empty().await;
    }
}

#[tokio::test]
async fn hold_update_new_ports_and_keys_by_info_pass_through_a_call() {
    let mut server = Server::start(9, "tcp", "").await;
    let moved = sdp(4010, "").replace("101", "97");
    let peer = Sipp::start(
        &[
            Step::Say(request("INVITE", 1, "Session-Expires: 600;refresher=uac\nSupported: timer\n", &sdp(4000, ""))),
            Step::Maybe(100),
            Step::Holding(What::Status(200), "Session-Expires: 600;refresher=uac"),
            Step::Once(request("ACK", 1, "", "")),
            Step::Say(request("INVITE", 2, "", &sdp(4000, "a=sendonly\n"))),
            Step::Maybe(100),
            Step::Holding(What::Status(200), "a=recvonly"),
            Step::Once(request("ACK", 2, "", "")),
            Step::Say(request("INVITE", 3, "", &moved)),
            Step::Maybe(100),
            Step::Holding(What::Status(200), "telephone-event/8000"),
            Step::Once(request("ACK", 3, "", "")),
            Step::Say(request("UPDATE", 4, "Session-Expires: 300;refresher=uac\nSupported: timer\n", "")),
            Step::Holding(What::Status(200), "Session-Expires: 300;refresher=uac"),
            Step::Say(request("UPDATE", 5, "Session-Expires: 20\nSupported: timer\n", "")),
            Step::Holding(What::Status(422), "Min-SE: 90"),
            Step::Say(request("INFO", 6, "Content-Type: application/dtmf-relay\n", "Signal=5\nDuration=160\n")),
            Step::Status(200),
            Step::Say(request("REFER", 7, "Refer-To: <sip:+33899000000@[local_ip]>\n", "")),
            Step::Status(603),
            Step::Say(request("OPTIONS", 8, "", "")),
            Step::Status(200),
            Step::Say(request("BYE", 9, "", "")),
            Step::Status(200),
        ],
        free_port(),
        Some(server.port(SipTransport::Tcp)),
        &["-t", "t1"],
    );
    let call = server.call().await;
    let mut dialog = call.call.answer(answer(&call.offer.unwrap())).await.unwrap();
    for (direction, port, event) in [(Direction::RecvOnly, 4000, 101), (Direction::SendRecv, 4010, 97)] {
        let DialogEvent::Reoffer(reoffer) = next(&mut dialog).await else { panic!("no offer") };
        let (agreed, text) = reoffer.offer.as_ref().unwrap().answer(&local(2, Direction::SendRecv), &rules()).unwrap();
        assert_eq!((agreed.direction, agreed.to.port()), (direction, port));
        assert_eq!(agreed.events.unwrap().payload, event);
        reoffer.answer(text);
    }
    assert!(matches!(next(&mut dialog).await, DialogEvent::Digit('5')));
    assert_eq!(ended(next(&mut dialog).await), EndCause::Bye);
    peer.finish().await;
    server.is_empty().await;
}

#[tokio::test]
async fn an_invite_without_an_offer_gets_ours_and_its_ack_brings_the_answer() {
    let mut server = Server::start(9, "udp", "").await;
    let peer = Sipp::start(
        &[
            Step::Say(request("INVITE", 1, "", "")),
            Step::Maybe(100),
            Step::Holding(What::Status(200), "m=audio 20000"),
            Step::Once(request("ACK", 1, "", &sdp(4000, ""))),
            Step::Expect("BYE"),
            Step::Once(response("200 OK", "", "", "")),
        ],
        free_port(),
        Some(server.port(SipTransport::Udp)),
        &[],
    );
    let call = server.call().await;
    assert!(call.offer.is_none());
    let mut dialog = call.call.answer(offer(1, Direction::SendRecv)).await.unwrap();
    assert!(matches!(next(&mut dialog).await, DialogEvent::Answer(_)));
    soon(dialog.bye(Reason::Normal)).await;
    peer.finish().await;
    server.is_empty().await;
}

#[tokio::test]
async fn an_answer_that_nobody_acknowledges_ends_with_our_bye() {
    let mut server = Server::with(9, "udp", "", |settings| settings.timers.ack = Duration::from_secs(2)).await;
    let peer = Sipp::start(
        &[
            Step::Once(request("INVITE", 1, "", &sdp(4000, ""))),
            Step::Maybe(100),
            // Its repetitions are the same message for SIPp.
            Step::Status(200),
            Step::Expect("BYE"),
            Step::Once(response("200 OK", "", "", "")),
        ],
        free_port(),
        Some(server.port(SipTransport::Udp)),
        &[],
    );
    let call = server.call().await;
    let mut dialog = call.call.answer(answer(&call.offer.unwrap())).await.unwrap();
    assert_eq!(ended(next(&mut dialog).await), EndCause::NoAck);
    peer.finish().await;
    server.is_empty().await;
}

#[tokio::test]
async fn a_caller_who_hangs_up_before_the_answer_is_gone() {
    let mut server = Server::start(9, "udp", "").await;
    let peer = Sipp::start(
        &[
            Step::Say(request("INVITE", 1, "", &sdp(4000, ""))),
            Step::Maybe(100),
            Step::Status(180),
            Step::Say(request("CANCEL", 1, "", "").replace("[branch]", "[branch-3]")),
            Step::Status(200),
            Step::Status(487),
            Step::Once(request("ACK", 1, "", "").replace("[branch]", "[branch-6]")),
        ],
        free_port(),
        Some(server.port(SipTransport::Udp)),
        &[],
    );
    let call = server.call().await;
    call.call.ring().await;
    soon(call.call.gone()).await;
    assert_eq!(call.call.answer(String::new()).await.unwrap_err(), Gone);
    peer.finish().await;
    server.is_empty().await;
}

#[tokio::test]
async fn a_reliable_ringing_is_repeated_until_its_prack() {
    let mut server = Server::start(9, "udp", "").await;
    let peer = Sipp::start(
        &[
            Step::Say(request("INVITE", 1, "Require: 100rel\n", &sdp(4000, ""))),
            Step::Maybe(100),
            Step::Holding(What::Status(180), "RSeq: 1"),
            Step::Pause(700),
            Step::Say(request("PRACK", 2, "RAck: 1 1 INVITE\n", "")),
            Step::Status(200),
            Step::Status(200),
            Step::Once(request("ACK", 1, "", "")),
            Step::Say(request("BYE", 3, "", "")),
            Step::Status(200),
        ],
        free_port(),
        Some(server.port(SipTransport::Udp)),
        &[],
    );
    let call = server.call().await;
    call.call.ring().await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let mut dialog = call.call.answer(answer(&call.offer.unwrap())).await.unwrap();
    assert_eq!(ended(next(&mut dialog).await), EndCause::Bye);
    peer.finish().await;
}

#[tokio::test]
async fn what_is_refused_is_refused_with_its_own_status() {
    let lines = "inbound_numbers = [\"+33123456789\"]";
    let invite = request("INVITE", 1, "", &sdp(4000, ""));
    for (message, status) in [
        (request("REGISTER", 1, "", ""), 405),
        (request("MESSAGE", 1, "", ""), 405),
        (request("OPTIONS", 1, "", "").replace("[peer_tag_param]", ""), 200),
        (request("BYE", 1, "", "").replace("[peer_tag_param]", ";tag=nobody"), 481),
        (invite.replace("+33123456789", "+33999999999"), 404),
        (invite.replace("Max-Forwards", "Require: foo\nMax-Forwards"), 420),
        (invite.replace("application/sdp", "text/plain"), 415),
        (invite.replace("v=0", "v=x"), 488),
        (request("INVITE", 1, "Session-Expires: 30\nSupported: timer\n", &sdp(4000, "")), 422),
    ] {
        let server = Server::start(9, "udp", lines).await;
        let mut steps = vec![Step::Say(message.clone()), Step::Maybe(100), Step::Status(status)];
        if message.starts_with("INVITE") {
            steps.push(Step::Once(request("ACK", 1, "", "").replace("[branch]", "[branch-3]")));
        }
        Sipp::start(&steps, free_port(), Some(server.port(SipTransport::Udp)), &[]).finish().await;
        server.is_empty().await;
    }
    let mut server = Server::start(9, "udp", "").await;
    let steps = [Step::Say(invite), Step::Maybe(100), Step::Status(486)];
    let peer = Sipp::start(&steps, free_port(), Some(server.port(SipTransport::Udp)), &[]);
    server.call().await.call.refuse(Refusal::Busy).await;
    peer.finish().await;
}

#[tokio::test]
async fn a_trunk_s_calls_know_the_password_where_that_is_asked() {
    let file = std::env::temp_dir().join(format!("colloque-challenge-{}", std::process::id()));
    std::fs::write(&file, "sesame\n").unwrap();
    let lines = format!("challenge = true\nusername = \"trunk\"\npassword_file = \"{}\"", file.display());
    for (password, status) in [("sesame", 200), ("guess", 401)] {
        let mut server = Server::start(9, "udp", &lines).await;
        let with = request("INVITE", 2, "[authentication username=trunk password=PASSWORD]\n", &sdp(4000, ""));
        let with = with.replace("PASSWORD", password).replace("[peer_tag_param]", "");
        let mut text = vec![
            Step::Say(request("INVITE", 1, "", &sdp(4000, ""))),
            Step::Maybe(100),
            Step::Status(401),
            Step::Once(request("ACK", 1, "", "").replace("[branch]", "[branch-3]")),
            Step::Say(with),
            Step::Maybe(100),
            Step::Status(status),
            Step::Once(request("ACK", 2, "", "")),
        ];
        if status == 200 {
            text.extend([Step::Say(request("BYE", 3, "", "")), Step::Status(200)]);
        }
        let peer = Sipp::start(&text, free_port(), Some(server.port(SipTransport::Udp)), &[]);
        if status == 200 {
            let call = server.call().await;
            let mut dialog = call.call.answer(answer(&call.offer.unwrap())).await.unwrap();
            assert_eq!(ended(next(&mut dialog).await), EndCause::Bye);
        }
        peer.finish().await;
        assert!(server.calls.try_recv().is_err());
    }
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn an_offer_may_be_asked_for_in_the_middle_of_a_call() {
    let mut server = Server::start(9, "udp", "").await;
    let peer = Sipp::start(
        &[
            Step::Say(request("INVITE", 1, "", &sdp(4000, ""))),
            Step::Maybe(100),
            Step::Status(200),
            Step::Once(request("ACK", 1, "", "")),
            Step::Say(request("INVITE", 2, "", "")),
            Step::Maybe(100),
            Step::Holding(What::Status(200), "m=audio 20000"),
            Step::Once(request("ACK", 2, "", &sdp(4020, ""))),
            Step::Pause(300),
            Step::Say(request("BYE", 3, "", "")),
            Step::Status(200),
        ],
        free_port(),
        Some(server.port(SipTransport::Udp)),
        &[],
    );
    let call = server.call().await;
    let mut dialog = call.call.answer(answer(&call.offer.unwrap())).await.unwrap();
    let DialogEvent::Reoffer(reoffer) = next(&mut dialog).await else { panic!("no wish") };
    assert!(reoffer.offer.is_none());
    reoffer.answer(offer(2, Direction::SendRecv));
    let DialogEvent::Answer(answered) = next(&mut dialog).await else { panic!("no answer") };
    let offered = colloque::telephone::sdp::Offered::new(local(2, Direction::SendRecv), &rules());
    assert_eq!(offered.accept(&answered).unwrap().to.port(), 4020);
    assert_eq!(ended(next(&mut dialog).await), EndCause::Bye);
    peer.finish().await;
    server.is_empty().await;
}

#[tokio::test]
async fn sessions_of_calls_that_came_in_are_renewed_by_whoever_has_to() {
    for (refresher, allow, renewal) in [
        ("uas", "Allow: INVITE, ACK, BYE, UPDATE\n", Some("UPDATE")),
        // Who knows no UPDATE gets our description once more.
        ("uas", "", Some("INVITE")),
        ("uac", "", None),
    ] {
        let mut server = Server::with(9, "udp", "", |settings| {
            settings.timers.session_min = Duration::from_secs(1);
            settings.session_expires = Duration::from_secs(4);
        })
        .await;
        let timer = format!("Session-Expires: 4;refresher={refresher}\nSupported: timer\n{allow}");
        let mut steps = vec![
            Step::Say(request("INVITE", 1, &timer, &sdp(4000, ""))),
            Step::Maybe(100),
            Step::Status(200),
            Step::Once(request("ACK", 1, "", "")),
        ];
        let renewed = "Session-Expires: 4;refresher=uac\nRequire: timer\n";
        match renewal {
            Some("UPDATE") => steps.extend([
                Step::Holding(What::Request("UPDATE"), "Session-Expires: 4;refresher=uac"),
                Step::Once(response("200 OK", "", renewed, "")),
                Step::Expect("UPDATE"),
                Step::Once(response("200 OK", "", renewed, "")),
            ]),
            Some(_) => steps.extend([
                Step::Holding(What::Request("INVITE"), "m=audio 20000"),
                Step::Say(response("200 OK", "", renewed, &sdp(4000, ""))),
                Step::Expect("ACK"),
                Step::Expect("INVITE"),
                Step::Say(response("200 OK", "", renewed, &sdp(4000, ""))),
                Step::Expect("ACK"),
            ]),
            None => {}
        }
        // Nobody renews: the call is over, and said to be.
        match renewal {
            Some(_) => steps.extend([Step::Say(request("BYE", 2, "", "")), Step::Status(200)]),
            None => steps.extend([
                Step::Holding(What::Request("BYE"), "Q.850;cause=102"),
                Step::Once(response("200 OK", "", "", "")),
            ]),
        }
        let peer = Sipp::start(&steps, free_port(), Some(server.port(SipTransport::Udp)), &[]);
        let call = server.call().await;
        let mut dialog = call.call.answer(answer(&call.offer.unwrap())).await.unwrap();
        let expected = if renewal.is_some() { EndCause::Bye } else { EndCause::SessionExpired };
        let mut answers = 0;
        let last = loop {
            match next(&mut dialog).await {
                DialogEvent::Renewed { .. } => answers += 1,
                event => break event,
            }
        };
        assert_eq!(ended(last), expected, "{refresher} {allow}");
        assert_eq!(answers, if renewal == Some("INVITE") { 2 } else { 0 });
        peer.finish().await;
        server.is_empty().await;
    }
}

#[tokio::test]
async fn a_server_that_stops_hangs_up_with_its_reason_and_refuses_who_still_rings() {
    let mut server = Server::start(9, "udp", "").await;
    let port = server.port(SipTransport::Udp);
    let talking = Sipp::start(
        &[
            Step::Say(request("INVITE", 1, "", &sdp(4000, ""))),
            Step::Maybe(100),
            Step::Status(200),
            Step::Once(request("ACK", 1, "", "")),
            Step::Holding(What::Request("BYE"), "Reason: Q.850;cause=31"),
            Step::Once(response("200 OK", "", "", "")),
        ],
        free_port(),
        Some(port),
        &[],
    );
    let call = server.call().await;
    let mut dialog = call.call.answer(answer(&call.offer.unwrap())).await.unwrap();
    let ringing = Sipp::start(
        &[
            Step::Say(request("INVITE", 1, "", &sdp(4002, ""))),
            Step::Maybe(100),
            Step::Maybe(180),
            Step::Holding(What::Status(503), "Retry-After: 10"),
            Step::Once(request("ACK", 1, "", "").replace("[branch]", "[branch-4]")),
        ],
        free_port(),
        Some(port),
        &[],
    );
    let call = server.call().await;
    call.call.ring().await;
    soon(server.endpoint.close(Duration::from_secs(20))).await;
    assert_eq!(server.endpoint.calls(), 0);
    assert_eq!(ended(next(&mut dialog).await), EndCause::ByUs);
    soon(call.call.gone()).await;
    talking.finish().await;
    ringing.finish().await;
}
