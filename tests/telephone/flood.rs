//! Thousands of bad messages a second, and the rule that nothing of it harms a call.
//!
//! Not here: what single bad messages are answered (`torture`).

use std::time::{Duration, Instant};

use colloque::config::telephone::SipTransport;
use colloque::telephone::sip::Dropped;

use super::Server;
use super::raw::Raw;
use super::torture::{CONTACT, call, written};

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
            let invite = written(&call(line, "1 INVITE", CONTACT), peer.port(), &format!("call{number}"));
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
    super::is_empty(&endpoint).await;
}
