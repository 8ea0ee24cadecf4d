//! Several lines of one server: what one of them does is none of the others' business, and each stays registered.
//!
//! Not here: which line a call takes (`src/telephone/trunk`, `tests/calls/turn.rs`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use colloque::telephone::sdp::Direction;
use colloque::telephone::sip::{Progress, Reason};
use colloque::telephone::trunk::{Registered, State, Trunks};
use tokio::net::{TcpListener, TcpStream};

use super::authority::Authority;
use super::raw::Raw;
use super::sipp::{free_port, sdp};
use super::tls::{message, reply};
use super::{Server, answer, number, offer, soon};

const RING: Duration = Duration::from_secs(20);

/// The configuration of a second line, behind that of the first.
fn second(port: u16) -> String {
    format!(
        "[[telephone.trunk]]\nname = \"second\"\nuri = \"sip:127.0.0.1:{port}\"\ntransport = \"tcp\"\nallow = [\"127.0.0.1\"]\n\
         first_response_ms = 5000"
    )
}

/// A line that registers; its password is asked for by nobody.
fn registers() -> (String, PathBuf) {
    let file = std::env::temp_dir().join(format!("colloque-lines-password-{}-{}", std::process::id(), free_port()));
    std::fs::write(&file, "sesame\n").unwrap();
    (format!("register = true\nusername = \"clinic\"\npassword_file = \"{}\"", file.display()), file)
}

/// An operator's server hangs in its TLS handshakes. All streams were opened one after the other, so that calls on every other line waited
/// for its time to run out, and those lines were taken for dead.
#[tokio::test]
async fn a_line_whose_streams_do_not_open_keeps_no_other_line_waiting() {
    let authority = Authority::new();
    // The kernel connects, and nobody ever says a word.
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let well = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lines = second(well.local_addr().unwrap().port());
    let server = Server::with(dead.local_addr().unwrap().port(), "tls", &lines, |settings| {
        settings.trusted_ca = Some(authority.file("ca.pem"));
    })
    .await;
    let second = server.trunks.iter().find(|trunk| trunk.name.as_str() == "second").unwrap().name.clone();
    let (endpoint, first) = (Arc::new(server.endpoint), server.trunk);
    for _ in 0..5 {
        let (endpoint, first) = (Arc::clone(&endpoint), first.clone());
        tokio::spawn(async move { endpoint.probe(&first, Duration::from_secs(30)).await });
    }
    let _hangs = soon(dead.accept()).await.unwrap();
    let mut call = endpoint.dial(&second, &number(), offer(1, Direction::SendRecv), RING);
    let answering = tokio::spawn(async move {
        let (mut stream, _) = well.accept().await.unwrap();
        let invite = message(&mut stream).await.unwrap();
        reply(&mut stream, &invite, "200 OK", "p1", &sdp(4000, "")).await;
        assert!(message(&mut stream).await.unwrap().starts_with("ACK"));
        let bye = message(&mut stream).await.unwrap();
        reply(&mut stream, &bye, "200 OK", "", "").await;
    });
    match soon(call.next()).await {
        Some(Progress::Answered(dialog, _)) => soon(dialog.bye(Reason::Normal)).await,
        Some(Progress::Failed(failure)) => panic!("{failure:?}"),
        _ => panic!("not answered"),
    }
    soon(answering).await.unwrap();
}

/// Two lines at the same operator have a stream each to the same server. With the older one the other was forgotten too, and calls on it
/// had no answer of any kind.
#[tokio::test]
async fn a_stream_that_closes_takes_no_other_stream_of_its_server_along() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Whoever has no listener is reached on its own streams alone.
    let mut server = Server::with(port, "tcp", &second(port), |settings| settings.sip_tcp = None).await;
    let mut streams = Vec::new();
    for trunk in &server.trunks {
        let probe = server.endpoint.probe(&trunk.name, Duration::from_secs(20));
        let asked = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let options = message(&mut stream).await.unwrap();
            reply(&mut stream, &options, "200 OK", "o", "").await;
            stream
        };
        let (probed, stream) = soon(async { tokio::join!(probe, asked) }).await;
        probed.unwrap();
        streams.push(stream);
    }
    let mut stays: TcpStream = streams.pop().unwrap();
    drop(streams);
    // Until it has seen that one of them is closed.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ours = stays.peer_addr().unwrap();
    let body = sdp(4000, "").replace('\n', "\r\n");
    let invite = format!(
        "INVITE sip:+33123456789@{ours} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:{port};branch=z9hG4bKa\r\nFrom: <sip:a@127.0.0.1>;tag=1\r\n\
         To: <sip:+33123456789@127.0.0.1>\r\nCall-ID: stays\r\nCSeq: 1 INVITE\r\nContact: <sip:a@127.0.0.1:{port};transport=tcp>\r\n\
         Max-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    tokio::io::AsyncWriteExt::write_all(&mut stays, invite.as_bytes()).await.unwrap();
    let call = server.call().await;
    let dialog = call.call.answer(answer(&call.offer.unwrap())).await.unwrap();
    let ok = loop {
        let text = soon(message(&mut stays)).await.unwrap();
        if text.starts_with("SIP/2.0 200") {
            break text;
        }
    };
    assert!(ok.contains(&format!("@{ours};transport=tcp>")), "{ok}");
    drop(dialog);
}

#[tokio::test]
async fn a_registrar_has_the_time_that_it_wants() {
    let mut sip = Raw::new().await;
    let (lines, file) = registers();
    let lines = format!("{lines}\nregister_s = 60\noptions_s = 0");
    let Server { endpoint, trunks, .. } = Server::start(sip.port(), "udp", &lines).await;
    let trunks = Trunks::start(Arc::new(endpoint), &trunks, RING);
    let brief = sip.expect("REGISTER").await;
    assert!(brief.contains("Expires: 60\r\n"), "{brief}");
    sip.reply(&brief, "423 Interval Too Brief\r\nMin-Expires: 1800", "r", "").await;
    let longer = soon(async {
        loop {
            let register = sip.expect("REGISTER").await;
            if !register.contains("Expires: 60\r\n") {
                return register;
            }
        }
    })
    .await;
    assert!(longer.contains("Expires: 1800\r\n"), "{longer}");
    sip.reply(&longer, "200 OK", "r", "").await;
    soon(async {
        while !matches!(trunks.lines()[0].registered, Registered::For(_)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn a_line_that_does_not_register_us_takes_calls_and_is_seen_as_not_registered() {
    let mut sip = Raw::new().await;
    let (lines, file) = registers();
    let Server { endpoint, trunks, .. } = Server::start(sip.port(), "udp", &format!("{lines}\noptions_s = 0")).await;
    let trunks = Trunks::start(Arc::new(endpoint), &trunks, RING);
    // The second one is asked when the first answer was understood.
    for _ in 0..2 {
        let register = sip.expect("REGISTER").await;
        sip.reply(&register, "404 Not Found", "r", "").await;
    }
    let line = &trunks.lines()[0];
    assert_eq!((line.registered, line.state), (Registered::Missing, State::Up));
    std::fs::remove_file(file).unwrap();
}

/// The other side knows us by the stream on which we registered. When that was closed, calls in had nowhere to go until the registration
/// was renewed for its age.
#[tokio::test]
async fn a_registration_is_renewed_when_its_stream_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (lines, file) = registers();
    let lines = format!("{lines}\noptions_s = 0");
    let port = listener.local_addr().unwrap().port();
    let Server { endpoint, trunks, .. } = Server::with(port, "tcp", &lines, |settings| settings.sip_tcp = None).await;
    let _trunks = Trunks::start(Arc::new(endpoint), &trunks, RING);
    for _ in 0..2 {
        let (mut stream, ours) = soon(listener.accept()).await.unwrap();
        let register = soon(message(&mut stream)).await.unwrap();
        assert!(register.starts_with("REGISTER"), "{register}");
        assert!(register.contains(&format!("Contact: <sip:clinic@{ours};transport=tcp>")), "{register}");
        reply(&mut stream, &register, "200 OK", "r", "").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    std::fs::remove_file(file).unwrap();
}

/// A server that was away may have started anew and know nobody.
#[tokio::test]
async fn a_registration_is_renewed_when_the_line_answers_again() {
    let mut sip = Raw::new().await;
    let (lines, file) = registers();
    let lines = format!("{lines}\noptions_s = 1\nfirst_response_ms = 1000");
    let Server { endpoint, trunks, .. } = Server::start(sip.port(), "udp", &lines).await;
    let trunks = Trunks::start(Arc::new(endpoint), &trunks, RING);
    let mut registrations = std::collections::BTreeSet::new();
    soon(async {
        while registrations.len() < 2 {
            let Some(asked) = sip.hear(Duration::from_secs(20)).await else { continue };
            if asked.starts_with("REGISTER") {
                registrations.insert(asked.lines().find(|line| line.starts_with("CSeq:")).unwrap().to_owned());
            }
            // Away until its silence was noticed.
            if asked.starts_with("REGISTER") || trunks.lines()[0].state != State::Up || registrations.is_empty() {
                sip.reply(&asked, "200 OK", "r", "").await;
            }
        }
    })
    .await;
    std::fs::remove_file(file).unwrap();
}
