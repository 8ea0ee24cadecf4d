//! What reaches the endpoint at all: strangers, mangled bytes, streams that trickle, flood or are too many.
//!
//! Not here: bad messages that can be told from each other (`torture`), and floods beside calls (`flood`).

use std::time::Duration;

use colloque::config::telephone::SipTransport;
use colloque::telephone::sip::Dropped;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::{Server, soon};

const OPTIONS: &str = "OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKBRANCH;rport\r\n\
                       From: <sip:b@127.0.0.1>;tag=1\r\nTo: <sip:a@127.0.0.1>\r\nCall-ID: BRANCH\r\nCSeq: 1 OPTIONS\r\n\
                       Content-Length: 0\r\n\r\n";

#[tokio::test]
async fn strangers_hear_nothing_at_all() {
    let server = Server::start(9, "udp", "").await;
    let stranger = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let to = ("127.0.0.1", server.port(SipTransport::Udp));
    for method in ["OPTIONS", "REGISTER", "INVITE", "SUBSCRIBE"] {
        stranger.send_to(OPTIONS.replace("OPTIONS", method).as_bytes(), to).await.unwrap();
    }
    stranger.send_to(b"\r\n\r\n", to).await.unwrap();
    let dropped = || server.endpoint.counters().dropped(Dropped::Address);
    soon(async {
        while dropped() < 5 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let mut buffer = [0; 2_000];
    let heard = tokio::time::timeout(Duration::from_millis(500), stranger.recv_from(&mut buffer)).await;
    assert!(heard.is_err(), "an answer");
    assert_eq!(dropped(), 5);
    // Over TCP the connection closes without a byte.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let tcp = ([127, 0, 0, 1], server.port(SipTransport::Tcp)).into();
    let mut stream = socket.connect(tcp).await.unwrap();
    let read = soon(stream.read(&mut buffer)).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

async fn options_answered(server: &Server, branch: &str) -> bool {
    let friend = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = ("127.0.0.1", server.port(SipTransport::Udp));
    friend.send_to(OPTIONS.replace("BRANCH", branch).as_bytes(), to).await.unwrap();
    let mut buffer = [0; 2_000];
    let heard = tokio::time::timeout(Duration::from_secs(5), friend.recv_from(&mut buffer)).await;
    heard.is_ok_and(|heard| heard.is_ok_and(|(len, _)| buffer[..len].starts_with(b"SIP/2.0 200")))
}

#[tokio::test]
async fn four_thousand_mangled_messages_leave_the_endpoint_well() {
    let server = Server::start(9, "udp", "").await;
    let friend = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = ("127.0.0.1", server.port(SipTransport::Udp));
    let mut seed = 1_u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    for number in 0..4_000 {
        let mut bytes = OPTIONS.replace("BRANCH", &number.to_string()).into_bytes();
        for _ in 0..=random(8) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = u8::try_from(random(256)).unwrap(),
                1 => bytes.truncate(at.max(1)),
                2 => bytes.insert(at, b"\r\n:;<>\"\0"[random(8)]),
                _ => drop(bytes.remove(at.min(bytes.len() - 1))),
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        friend.send_to(&bytes, to).await.unwrap();
        if number % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // Longer than the bucket of this address needs to fill again.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(options_answered(&server, "after").await);
    assert_eq!(server.endpoint.calls(), 0);
}

#[tokio::test]
async fn a_stream_that_trickles_or_floods_is_cut_off() {
    let server = Server::with(9, "tcp", "", |settings| settings.timers.message = Duration::from_millis(500)).await;
    let port = server.port(SipTransport::Tcp);
    let mut buffer = [0; 10];
    for junk in [vec![b'x'; 100_000], b"OPTIONS sip:a SIP/2.0\r\nContent-Length: -1\r\n\r\n".to_vec()] {
        let mut flood = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let _ = flood.write_all(&junk).await;
        let read = soon(flood.read(&mut buffer)).await;
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    }
    // A byte now and then is not progress: the whole message has its time.
    let (mut reader, mut writer) = TcpStream::connect(("127.0.0.1", port)).await.unwrap().into_split();
    let trickle = tokio::spawn(async move {
        for byte in OPTIONS.bytes().cycle() {
            if writer.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let read = soon(reader.read(&mut buffer)).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    trickle.abort();
}

#[tokio::test]
async fn one_address_has_so_many_streams_and_a_quiet_one_is_kept() {
    let server = Server::start(9, "tcp", "").await;
    let port = server.port(SipTransport::Tcp);
    let mut kept = Vec::new();
    for _ in 0..70 {
        kept.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let mut buffer = [0; 2_000];
    // Those past the limit are closed; nobody has anything to say on the others.
    soon(async {
        while kept.len() > 64 {
            let mut open = Vec::new();
            for mut stream in kept.drain(..) {
                if tokio::time::timeout(Duration::from_millis(5), stream.read(&mut buffer)).await.is_err() {
                    open.push(stream);
                }
            }
            kept = open;
        }
    })
    .await;
    assert_eq!(kept.len(), 64);
    // The first one is still good: a keep-alive and a probe.
    kept[0].write_all(b"\r\n\r\n").await.unwrap();
    assert_eq!(soon(kept[0].read(&mut buffer)).await.unwrap(), 2);
    kept[0].write_all(OPTIONS.replace("/UDP", "/TCP").as_bytes()).await.unwrap();
    let len = soon(kept[0].read(&mut buffer)).await.unwrap();
    assert!(buffer[..len].starts_with(b"SIP/2.0 200"));
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_answered_on_its_stream_and_the_next_one_too() {
    let server = Server::start(9, "tcp", "").await;
    let mut stream = TcpStream::connect(("127.0.0.1", server.port(SipTransport::Tcp))).await.unwrap();
    let options = OPTIONS.replace("/UDP", "/TCP");
    for (message, status) in [
        (options.replace("CSeq: 1 OPTIONS", "CSeq: 1 BYE"), "SIP/2.0 400"),
        (options.replace("OPTIONS", "NOVELTY"), "SIP/2.0 501"),
        (options, "SIP/2.0 200"),
    ] {
        stream.write_all(message.as_bytes()).await.unwrap();
        let mut buffer = [0; 2_000];
        let len = soon(stream.read(&mut buffer)).await.unwrap();
        let answer = String::from_utf8_lossy(&buffer[..len]);
        assert!(answer.starts_with(status) && answer.contains("Call-ID: BRANCH"), "{answer}");
    }
}
