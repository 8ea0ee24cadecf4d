//! Calls that we make.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use colloque::config::telephone::{SipServer, SipTransport};
use colloque::telephone::sdp::Direction;
use colloque::telephone::sip::{
    DialFailure, Dialog, DialogEvent, EndCause, Found, Names, OutboundCall, Progress, Reason, ReofferFailure, Settings,
};

use super::sipp::{Sipp, Step, What, free_port, response, sdp};
use super::{Server, next, number, offer, soon};

const RING: Duration = Duration::from_secs(20);
/// Enough for the 180 of a busy machine's peer.
const UNANSWERED: Duration = Duration::from_secs(4);

fn dial(server: &Server, ring: Duration) -> OutboundCall {
    server.endpoint.dial(&server.trunk, &number(), offer(1, Direction::SendRecv), ring)
}

async fn answered(call: &mut OutboundCall) -> Dialog {
    loop {
        match soon(call.next()).await {
            Some(Progress::Ringing) => {}
            Some(Progress::Answered(dialog, answer)) => {
                let offered =
                    colloque::telephone::sdp::Offered::new(super::local(1, Direction::SendRecv), &super::rules());
                offered.accept(&answer).unwrap();
                return dialog;
            }
            Some(Progress::Failed(failure)) => panic!("{failure:?}"),
            None => panic!("no progress"),
        }
    }
}

async fn failed(call: &mut OutboundCall) -> DialFailure {
    loop {
        match soon(call.next()).await {
            Some(Progress::Ringing) => {}
            Some(Progress::Failed(failure)) => return failure,
            Some(Progress::Answered(..)) => panic!("answered"),
            None => panic!("no progress"),
        }
    }
}

/// Ringing and the answer of an ordinary telephone.
fn answering() -> Vec<Step> {
    vec![
        Step::Expect("INVITE"),
        Step::Once(response("100 Trying", "", "", "")),
        Step::Once(response("180 Ringing", "p1", "", "")),
        Step::Pause(200),
        Step::Say(response("200 OK", "p1", "", &sdp(4000, ""))),
        Step::Expect("ACK"),
    ]
}

fn hung_up() -> [Step; 2] {
    [Step::Holding(What::Request("BYE"), "Reason: Q.850"), Step::Once(response("200 OK", "", "", ""))]
}

#[tokio::test]
async fn a_call_is_made_rings_and_ends_with_our_bye() {
    for (transport, options) in [("udp", &["-t", "u1"][..]), ("tcp", &["-t", "t1"])] {
        let steps: Vec<Step> = answering().into_iter().chain(hung_up()).collect();
        let (peer, port) = Sipp::waiting(&steps, options).await;
        let server = Server::start(port, transport, "").await;
        let mut call = dial(&server, RING);
        assert!(matches!(soon(call.next()).await, Some(Progress::Ringing)));
        let dialog = answered(&mut call).await;
        assert_eq!(server.endpoint.calls(), 1);
        soon(dialog.bye(Reason::Normal)).await;
        peer.finish().await;
        server.is_empty().await;
    }
}

#[tokio::test]
async fn dropping_a_call_hangs_up() {
    let mut steps = answering();
    steps.extend(hung_up());
    let (peer, port) = Sipp::waiting(&steps, &[]).await;
    let server = Server::start(port, "udp", "").await;
    drop(answered(&mut dial(&server, RING)).await);
    peer.finish().await;
    server.is_empty().await;
}

#[tokio::test]
async fn refusals_have_their_causes_and_nobody_is_redirected() {
    let second = Some(Duration::from_secs(7));
    for (status, extra, cause) in [
        ("404 Not Found", "", DialFailure::NotInService),
        ("486 Busy Here", "", DialFailure::Busy),
        ("603 Decline", "", DialFailure::Refused),
        ("488 Not Acceptable Here", "", DialFailure::Media),
        ("403 Forbidden", "", DialFailure::Auth),
        ("302 Moved Temporarily", "", DialFailure::Redirected),
        ("503 Service Unavailable", "Retry-After: 7\n", DialFailure::TrunkBusy { retry_after: second }),
        ("401 Unauthorized", "WWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\n", DialFailure::Auth),
    ] {
        let steps = [Step::Expect("INVITE"), Step::Say(response(status, "p1", extra, "")), Step::Expect("ACK")];
        let (peer, port) = Sipp::waiting(&steps, &[]).await;
        let server = Server::start(port, "udp", "").await;
        assert_eq!(failed(&mut dial(&server, RING)).await, cause, "{status}");
        peer.finish().await;
        server.is_empty().await;
    }
}

#[tokio::test]
async fn a_silent_or_closed_trunk_is_known_before_a_patient_gives_up() {
    for transport in ["udp", "tcp"] {
        let server = Server::start(free_port(), transport, "first_response_ms = 600").await;
        assert_eq!(failed(&mut dial(&server, RING)).await, DialFailure::TrunkSilent);
        server.is_empty().await;
    }
}

#[tokio::test]
async fn a_call_that_nobody_takes_is_cancelled() {
    let steps = [
        Step::Expect("INVITE"),
        Step::Once(response("180 Ringing", "p1", "", "")),
        Step::Expect("CANCEL"),
        Step::Once(response("200 OK", "p1", "", "")),
        Step::Say(response("487 Request Terminated", "p1", "", "").replace("[last_CSeq:]", "CSeq: 1 INVITE")),
        Step::Expect("ACK"),
    ];
    let (peer, port) = Sipp::waiting(&steps, &[]).await;
    let server = Server::start(port, "udp", "").await;
    assert_eq!(failed(&mut dial(&server, UNANSWERED)).await, DialFailure::NoAnswer);
    peer.finish().await;
    server.is_empty().await;
}

#[tokio::test]
async fn a_487_that_never_comes_holds_nobody_up() {
    let steps = [
        Step::Expect("INVITE"),
        Step::Once(response("180 Ringing", "p1", "", "")),
        Step::Expect("CANCEL"),
        Step::Once(response("200 OK", "p1", "", "")),
        Step::Pause(6_000),
    ];
    let (peer, port) = Sipp::waiting(&steps, &[]).await;
    let server = Server::start(port, "udp", "").await;
    assert_eq!(failed(&mut dial(&server, UNANSWERED)).await, DialFailure::NoAnswer);
    peer.finish().await;
    server.is_empty().await;
}

#[tokio::test]
async fn an_answer_that_crosses_our_cancel_is_acknowledged_and_ended() {
    let mut steps = vec![
        Step::Expect("INVITE"),
        Step::Once(response("180 Ringing", "p1", "", "")),
        Step::Expect("CANCEL"),
        Step::Once(response("481 Call/Transaction Does Not Exist", "p1", "", "")),
        Step::Say(response("200 OK", "p1", "", &sdp(4000, "")).replace("[last_CSeq:]", "CSeq: 1 INVITE")),
        Step::Expect("ACK"),
    ];
    steps.extend(hung_up());
    let (peer, port) = Sipp::waiting(&steps, &[]).await;
    let server = Server::start(port, "udp", "").await;
    assert_eq!(failed(&mut dial(&server, UNANSWERED)).await, DialFailure::NoAnswer);
    peer.finish().await;
    server.is_empty().await;
}

#[tokio::test]
async fn early_media_that_demands_a_prack_gets_one() {
    let mut steps = vec![
        Step::Expect("INVITE"),
        Step::Once(response("183 Session Progress", "p1", "Require: 100rel\nRSeq: 7\n", &sdp(4000, ""))),
        Step::Holding(What::Request("PRACK"), "RAck: 7 1 INVITE"),
        Step::Once(response("200 OK", "", "", "")),
        // Without a description: the one of the 183 holds.
        Step::Say(
            response("200 OK", "p1", "", "")
                .replace("[last_CSeq:]", "CSeq: 1 INVITE")
                .replace("[last_To:];tag=p1", "[last_To:]")
                .replace("[last_Via:]", "Via:[$via]"),
        ),
        Step::Expect("ACK"),
    ];
    steps.extend(hung_up());
    let (peer, port) = Sipp::waiting(&steps, &[]).await;
    let server = Server::start(port, "udp", "").await;
    let dialog = answered(&mut dial(&server, RING)).await;
    soon(dialog.bye(Reason::Normal)).await;
    peer.finish().await;
}

#[tokio::test]
async fn offers_of_ours_that_cross_theirs_are_repeated() {
    let mut steps = answering();
    steps.extend([
        Step::Expect("INVITE"),
        Step::Say(response("491 Request Pending", "", "", "")),
        Step::Expect("ACK"),
        Step::Expect("INVITE"),
        Step::Say(response("200 OK", "", "", &sdp(4000, "a=recvonly\n"))),
        Step::Expect("ACK"),
        Step::Expect("INVITE"),
        Step::Say(response("488 Not Acceptable Here", "", "", "")),
        Step::Expect("ACK"),
    ]);
    steps.extend(hung_up());
    let (peer, port) = Sipp::waiting(&steps, &[]).await;
    let server = Server::start(port, "udp", "").await;
    let dialog = answered(&mut dial(&server, RING)).await;
    soon(dialog.reoffer(offer(2, Direction::SendOnly))).await.unwrap();
    let refused = soon(dialog.reoffer(offer(3, Direction::SendRecv))).await.unwrap_err();
    assert_eq!(refused, ReofferFailure::Refused(488));
    soon(dialog.bye(Reason::Normal)).await;
    peer.finish().await;
    server.is_empty().await;
}

#[tokio::test]
async fn we_renew_sessions_and_end_those_that_nobody_renews() {
    let shorter = |settings: &mut colloque::telephone::sip::Settings| {
        settings.timers.session_min = Duration::from_secs(1);
        settings.session_expires = Duration::from_secs(4);
    };
    for (refresher, cause) in [("uac", EndCause::Bye), ("uas", EndCause::SessionExpired)] {
        let timer = format!("Session-Expires: 3;refresher={refresher}\nRequire: timer\n");
        let mut steps = vec![
            Step::Expect("INVITE"),
            Step::Say(response("200 OK", "p1", &timer, &sdp(4000, ""))),
            Step::Expect("ACK"),
        ];
        if cause == EndCause::Bye {
            steps.push(Step::Holding(What::Request("UPDATE"), "Session-Expires: 3;refresher=uac"));
            steps.push(Step::Once(response("200 OK", "", &timer, "")));
            // Renewed: the next one comes after half the time again.
            steps.push(Step::Expect("UPDATE"));
            steps.push(Step::Once(response("481 Call/Transaction Does Not Exist", "", "", "")));
        }
        steps.push(Step::Expect("BYE"));
        steps.push(Step::Once(response("200 OK", "", "", "")));
        let (peer, port) = Sipp::waiting(&steps, &[]).await;
        let server = Server::with(port, "udp", "", shorter).await;
        let mut dialog = answered(&mut dial(&server, RING)).await;
        let ended = next(&mut dialog).await;
        let expected = if cause == EndCause::Bye { EndCause::Lost } else { cause };
        assert!(matches!(ended, DialogEvent::Ended(cause) if cause == expected), "{ended:?}");
        peer.finish().await;
        server.is_empty().await;
    }
}

#[tokio::test]
async fn a_probe_tells_a_living_call_from_a_lost_one() {
    for (reply, alive) in [("200 OK", true), ("481 Call/Transaction Does Not Exist", false)] {
        let mut steps = answering();
        steps.extend([Step::Expect("UPDATE"), Step::Once(response(reply, "", "", ""))]);
        steps.extend(hung_up());
        let (peer, port) = Sipp::waiting(&steps, &[]).await;
        let server = Server::start(port, "udp", "").await;
        let dialog = answered(&mut dial(&server, RING)).await;
        assert_eq!(soon(dialog.probe()).await, alive);
        drop(dialog);
        peer.finish().await;
        server.is_empty().await;
    }
}

/// A name server that knows one trunk, with these servers on this machine.
#[derive(Debug)]
struct Known(Vec<u16>);

impl Names for Known {
    fn find<'a>(&'a self, server: &'a SipServer, _: SipTransport) -> Found<'a> {
        let known = if server.host == "trunk.example" { self.0.clone() } else { Vec::new() };
        Box::pin(async move { known.into_iter().map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect() })
    }
}

/// A trunk by its name alone, whose servers are these.
fn named(servers: Vec<u16>) -> impl FnOnce(&mut Settings) {
    move |settings| {
        settings.trunks[0].server = SipServer { host: "trunk.example".to_owned(), port: None };
        settings.names = Arc::new(Known(servers));
    }
}

#[tokio::test]
async fn a_name_with_several_servers_reaches_the_first_that_works() {
    for transport in ["udp", "tcp"] {
        let mut refusing = vec![Step::Expect("INVITE")];
        refusing.extend([Step::Say(response("503 Service Unavailable", "p0", "", "")), Step::Expect("ACK")]);
        let options: &[&str] = if transport == "tcp" { &["-t", "t1"] } else { &[] };
        let (full, full_port) = Sipp::waiting(&refusing, options).await;
        let steps: Vec<Step> = answering().into_iter().chain(hung_up()).collect();
        let (peer, port) = Sipp::waiting(&steps, options).await;
        // Nobody listens at the first; the second has no room; the last is not needed.
        let servers = vec![free_port(), full_port, port, free_port()];
        let server = Server::with(9, transport, "first_response_ms = 12000", named(servers)).await;
        let dialog = answered(&mut dial(&server, RING)).await;
        soon(dialog.bye(Reason::Normal)).await;
        full.finish().await;
        peer.finish().await;
        server.is_empty().await;
    }
}

#[tokio::test]
async fn all_servers_of_a_name_share_the_time_for_a_first_answer() {
    let lines = "first_response_ms = 1200";
    let server = Server::with(9, "udp", lines, named(vec![free_port(), free_port(), free_port()])).await;
    assert_eq!(failed(&mut dial(&server, Duration::from_secs(3))).await, DialFailure::TrunkSilent);
    let probed = server.endpoint.probe(&server.trunk, Duration::from_secs(1)).await;
    assert_eq!(probed, Err(colloque::telephone::sip::ProbeFailure::Silent));
    let unknown = Server::with(9, "udp", lines, named(Vec::new())).await;
    assert_eq!(failed(&mut dial(&unknown, RING)).await, DialFailure::TrunkSilent);
    // Who rang is the one that is called: its refusal is final.
    let steps = [
        Step::Expect("INVITE"),
        Step::Once(response("180 Ringing", "p1", "", "")),
        Step::Say(response("503 Service Unavailable", "p1", "", "")),
        Step::Expect("ACK"),
    ];
    let (peer, port) = Sipp::waiting(&steps, &[]).await;
    let never = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let servers = vec![port, never.local_addr().unwrap().port()];
    let server = Server::with(9, "udp", "", named(servers)).await;
    assert_eq!(failed(&mut dial(&server, RING)).await, DialFailure::TrunkBusy { retry_after: None });
    peer.finish().await;
    assert!(never.try_recv(&mut [0; 10]).is_err());
}
