//! Messages after RFC 4475, floods of junk, and the rule that nothing of it harms a call that runs.

use std::time::{Duration, Instant};

use colloque::config::telephone::SipTransport;
use colloque::telephone::sdp::Direction;
use colloque::telephone::sip::{Dropped, Progress, Refusal};

use super::raw::Raw;
use super::sipp::sdp;
use super::{Server, number, offer, soon};

/// What is sane: one of these statuses, or no word where there are none. The calls that get through are refused with 480.
struct Case {
    name: &'static str,
    text: String,
    sane: &'static [u16],
}

fn case(name: &'static str, text: &str, sane: &'static [u16]) -> Case {
    Case { name, text: text.replace('\n', "\r\n"), sane }
}

const HEAD: &str = "Via: SIP/2.0/UDP HERE;branch=z9hG4bKNAME\nFrom: <sip:caller@example.net>;tag=134161461246\n\
                    To: <sip:user@example.com>\nCall-ID: NAME.0ha0isndaksdj\nMax-Forwards: 70\n";

fn request(name: &'static str, line: &str, cseq: &str, rest: &str, sane: &'static [u16]) -> Case {
    case(name, &format!("{line}\n{HEAD}CSeq: {cseq}\n{rest}\n"), sane)
}

fn valid() -> Vec<Case> {
    vec![
        // 3.1.1.1: every kind of odd but allowed writing at once.
        case(
            "wsinv",
            "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\n\
             TO :\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\n\
             from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\n  ;\n  tag = 98asjd8\n\
             MaX-fOrWaRdS: 0068\nCall-ID: wsinv.ndaksdj@192.0.2.1\nContent-Length   : 0\n\
             cseq: 0009\n  INVITE\nVia  : SIP  /   2.0\n /UDP\n    HERE;branch=390skdjuw\ns :\n\
             NewFangledHeader:   newfangled value\n continued newfangled value\n\
             v:  SIP  / 2.0  / TCP     spindle.example.com   ;\n  branch  =   z9hG4bK9ikj8  ,\n\
             SIP  /    2.0   / UDP  192.168.255.111   ; branch=\n z9hG4bK30239\n\
             m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\n      newvalue ;\n  secondparam ; q = 0.33\n\n",
            &[480, 481, 400],
        ),
        request(
            "esc01",
            "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0",
            "1 INVITE",
            "Contact: <sip:c@HERE>\nContent-Length: 0\n",
            &[480],
        ),
        request("escnull", "OPTIONS sip:null-%00-null@example.com SIP/2.0", "1 OPTIONS", "Content-Length: 0\n", &[200]),
        request(
            "semiuri",
            "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0",
            "8 OPTIONS",
            "Accept: application/sdp\nl: 0\n",
            &[200],
        ),
        request(
            "lwsdisp",
            "OPTIONS sip:user@example.com SIP/2.0",
            "60 OPTIONS",
            "Contact: caller <sip:caller@example.net>\nl: 0\n",
            &[200],
        ),
        request(
            "longreq",
            &format!("OPTIONS sip:user@{}.example.com SIP/2.0", "a".repeat(200)),
            "3882340 OPTIONS",
            &format!("Unknown-{0}: {0}\nl: 0\n", "long".repeat(200)),
            &[200],
        ),
        request(
            "unknownbody",
            "INVITE sip:user@example.com SIP/2.0",
            "8 INVITE",
            "Contact: <sip:c@HERE>\nContent-Type: application/unknown\nContent-Length: 3\n\nabc",
            &[415],
        ),
    ]
}

fn invalid() -> Vec<Case> {
    vec![
        // Well-formed, but the parser knows SIP's own methods alone.
        request("intmeth", "!interesting-Method0123456789_*+`.%indeed'~ sip:user@example.com SIP/2.0", "139122385 !interesting-Method0123456789_*+`.%indeed'~", "Content-Length: 0\n", &[405, 501]),
        request("badinv01", "INVITE sip:user@example.com SIP/2.0", "0 INVITE", "Contact: \"Joe\" <sip:joe@example.org>;;;;,,;,;\nContent-Length: 0\n", &[400, 480]),
        request("clerr", "INVITE sip:user@example.com SIP/2.0", "8 INVITE", "Content-Type: application/sdp\nContent-Length: 9999\n\nv=0\n", &[400]),
        request("ncl", "INVITE sip:user@example.com SIP/2.0", "8 INVITE", "Content-Type: application/sdp\nContent-Length: -999\n\nv=0\n", &[400]),
        request("scalar02", "REGISTER sip:example.com SIP/2.0", "36893488147419103232 REGISTER", "Expires: 1000000000000000000000\nContent-Length: 0\n", &[400, 405]),
        case("quotbal", &format!("INVITE sip:user@example.com SIP/2.0\n{HEAD}CSeq: 8 INVITE\nContact: \"Joe <sip:joe@example.org>\nContent-Length: 0\n\n").replace("To: <", "To: \"Mr. J. User <"), &[400, 480]),
        request("ltgtruri", "INVITE <sip:user@example.com> SIP/2.0", "1 INVITE", "Contact: <sip:c@HERE>\nContent-Length: 0\n", &[400, 416]),
        request("lwsruri", "INVITE sip:user@example.com; lr SIP/2.0", "1 INVITE", "Contact: <sip:c@HERE>\nContent-Length: 0\n", &[400, 505]),
        request("lwsstart", "INVITE  sip:user@example.com  SIP/2.0", "1 INVITE", "Contact: <sip:c@HERE>\nContent-Length: 0\n", &[400, 480]),
        request("trws", "OPTIONS sip:remote-target@example.com SIP/2.0  ", "18 OPTIONS", "Content-Length: 0\n", &[200, 400]),
        request("badvers", "OPTIONS sip:t.watson@example.org SIP/7.0", "20 OPTIONS", "Content-Length: 0\n", &[505]),
        request("mismatch01", "OPTIONS sip:user@example.com SIP/2.0", "8 INVITE", "Content-Length: 0\n", &[400]),
        request("mismatch02", "NEWMETHOD sip:user@example.com SIP/2.0", "8 INVITE", "Content-Length: 0\n", &[400, 501]),
        case("insuf", "INVITE sip:user@example.com SIP/2.0\nCSeq: 193942 INVITE\nVia: SIP/2.0/UDP HERE;branch=z9hG4bKins\nContent-Length: 0\n\n", &[400]),
        request("unkscm", "OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0", "3923423 OPTIONS", "Content-Length: 0\n", &[416, 200]),
        request("bext01", "INVITE sip:user@example.com SIP/2.0", "8 INVITE", "Contact: <sip:c@HERE>\nRequire: nothingSupportsThis, nothingSupportsThisEither\nContent-Length: 0\n", &[420]),
        request("multi01", "INVITE sip:user@example.com SIP/2.0", "5 INVITE", "Call-ID: another\nTo: <sip:other@example.com>\nCSeq: 59 INVITE\nContent-Length: 0\n", &[400]),
        request("mcl01", "OPTIONS sip:user@example.com SIP/2.0", "5 OPTIONS", "Content-Length: 13\nContent-Length: 5\n\nThere's no way to know how many octets are supposed to be here.", &[400]),
        request("zeromf", "OPTIONS sip:user@example.com SIP/2.0", "39234321 OPTIONS", "Content-Length: 0\n", &[200, 483]),
        request("regescrt", "REGISTER sip:example.com SIP/2.0", "14398234 REGISTER", "Contact: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>\nL: 0\n", &[405]),
        request("badcontact", "INVITE sip:user@example.com SIP/2.0", "9 INVITE", "Contact: <http://example.com>\nContent-Length: 0\n", &[400]),
        // Responses to nothing.
        case("bigcode", &format!("SIP/2.0 4294967301 better not break the receiver\n{HEAD}CSeq: 353494 INVITE\nContent-Length: 0\n\n"), &[]),
        case("unreason", &format!("SIP/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e}\n{HEAD}CSeq: 35 INVITE\nContent-Length: 0\n\n"), &[]),
        case("bcast", &format!("SIP/2.0 200 OK\n{HEAD}CSeq: 8 INVITE\nContent-Length: 0\n\n"), &[]),
    ]
}

#[tokio::test]
async fn torture_messages_are_answered_sanely() {
    let Server { endpoint, mut calls, .. } = Server::start(9, "udp", "").await;
    let port = endpoint.listening(SipTransport::Udp).unwrap().port();
    tokio::spawn(async move {
        while let Some(call) = calls.recv().await {
            call.call.refuse(Refusal::Unavailable).await;
        }
    });
    let mut faults = Vec::new();
    for (good, Case { name, text, sane }) in
        valid().into_iter().map(|case| (true, case)).chain(invalid().into_iter().map(|case| (false, case)))
    {
        let mut peer = Raw::new().await;
        let text = text.replace("HERE", &format!("127.0.0.1:{}", peer.port())).replace("NAME", name);
        peer.send(text.as_bytes(), port).await;
        let mut status = None;
        while let Some(answer) = peer.hear(Duration::from_millis(400)).await {
            status = answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
            if status.is_some_and(|status| status >= 200) {
                break;
            }
        }
        // What is malformed may be passed over without a word; what is well-formed may not.
        let fine = status.map_or(!good || name == "wsinv", |status| sane.contains(&status));
        if !fine {
            faults.push(format!("{name}: {status:?}"));
        }
    }
    assert!(faults.is_empty(), "{faults:?}");
    let mut friend = Raw::new().await;
    let options = request("after", "OPTIONS sip:user@example.com SIP/2.0", "1 OPTIONS", "Content-Length: 0\n", &[]);
    let text = options.text.replace("HERE", &format!("127.0.0.1:{}", friend.port()));
    friend.send(text.as_bytes(), port).await;
    assert!(friend.expect("SIP/2.0").await.starts_with("SIP/2.0 200"));
    assert_eq!(endpoint.calls(), 0);
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

/// Runs for seconds on purpose: 5,000 junk datagrams a second while twenty calls come and go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_at_five_thousand_a_second_stops_no_call() {
    let server = Server::start(9, "udp", "max_calls = 50").await;
    let port = server.port(SipTransport::Udp);
    let Server { endpoint, mut calls, .. } = server;
    tokio::spawn(async move {
        while let Some(call) = calls.recv().await {
            let Some(offer) = call.offer else { continue };
            let answer = super::answer(&offer);
            tokio::spawn(async move {
                if let Ok(mut dialog) = call.call.answer(answer).await {
                    dialog.next().await;
                }
            });
        }
    });
    let flood = tokio::spawn(async move {
        let socket = Raw::new().await;
        let (began, mut sent) = (Instant::now(), 0_u64);
        while began.elapsed() < Duration::from_secs(4) {
            while sent < u64::try_from(began.elapsed().as_millis()).unwrap() * 5 {
                let junk = format!("INVITE sip:{sent} SIP/2.0\r\nVia: SIP/2.0/UDP x\r\nCSeq: {sent} INVITE\r\n\r\n");
                socket.send(junk.as_bytes(), port).await;
                sent += 1;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        sent
    });
    let mut made = Vec::new();
    for number in 0..20 {
        made.push(tokio::spawn(async move {
            let mut peer = Raw::new().await;
            let line = "INVITE sip:+33123456789@127.0.0.1 SIP/2.0";
            let body = sdp(4000, "").replace('\n', "\r\n");
            let rest =
                format!("Contact: <sip:c@HERE>\nContent-Type: application/sdp\nContent-Length: {}\n", body.len());
            let invite = request("flood", line, "1 INVITE", &rest, &[]).text + &body;
            let invite =
                invite.replace("HERE", &format!("127.0.0.1:{}", peer.port())).replace("NAME", &format!("call{number}"));
            // A trunk repeats what has no answer yet: some of it drowns in the socket's buffer.
            let mut ok = None;
            for _ in 0..8 {
                peer.send(invite.as_bytes(), port).await;
                while let Some(text) = peer.hear(Duration::from_millis(500)).await {
                    if text.starts_with("SIP/2.0 200") {
                        ok = Some(text);
                        break;
                    }
                }
                if ok.is_some() {
                    break;
                }
            }
            let ok = ok.expect("the call is answered");
            let to = ok.lines().find(|line| line.starts_with("To:")).unwrap().to_owned();
            let then = |method: &str, cseq: u32| {
                let text = invite.split("\r\n\r\n").next().unwrap();
                let text = text
                    .replace("INVITE sip", &format!("{method} sip"))
                    .replace("CSeq: 1 INVITE", &format!("CSeq: {cseq} {method}"));
                let text = text
                    .replace("To: <sip:user@example.com>", &to)
                    .replace("branch=z9hG4bK", &format!("branch=z9hG4bK{method}"));
                let head = text.split("Content-Type").next().unwrap().to_owned();
                format!("{head}Content-Length: 0\r\n\r\n")
            };
            for _ in 0..8 {
                peer.send(then("ACK", 1).as_bytes(), port).await;
                peer.send(then("BYE", 2).as_bytes(), port).await;
                while let Some(text) = peer.hear(Duration::from_millis(500)).await {
                    if text.contains("CSeq: 2 BYE") {
                        return;
                    }
                }
            }
            panic!("the BYE is not answered");
        }));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for call in made {
        call.await.unwrap();
    }
    assert!(flood.await.unwrap() > 10_000);
    assert!(endpoint.counters().dropped(Dropped::Junk) > 5_000);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(endpoint.calls(), 0);
}
