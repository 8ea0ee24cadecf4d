//! SIP over TLS and TCP: names are proved, certificates that ran out are refused, ours is shown where it is wanted, and a stream may
//! break.
//!
//! Not here: keys of sound.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use colloque::config::TlsFiles;
use colloque::config::telephone::{ClientCertificate, SipTransport};
use colloque::telephone::sdp::Direction;
use colloque::telephone::sip::{DialFailure, Progress, Reason};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::authority::Authority;
use super::raw::answer_to;
use super::sipp::sdp;
use super::{Server, answer, number, offer, soon};

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn roots(authority: &Authority) -> Arc<rustls::RootCertStore> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).unwrap();
    Arc::new(roots)
}

fn key(files: &TlsFiles) -> (Vec<rustls::pki_types::CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = rustls::pki_types::CertificateDer::pem_file_iter(&files.cert).unwrap().map(Result::unwrap).collect();
    (chain, PrivateKeyDer::from_pem_file(&files.key).unwrap())
}

/// A trunk's server: takes one connection and answers one INVITE; true when it came that far.
async fn trunk(listener: TcpListener, acceptor: TlsAcceptor) -> bool {
    let Ok((stream, _)) = listener.accept().await else { return false };
    let Ok(mut stream) = acceptor.accept(stream).await else { return false };
    while let Some(text) = message(&mut stream).await {
        match text.split(' ').next() {
            Some("INVITE") => reply(&mut stream, &text, "200 OK", "p1", &sdp(4000, "")).await,
            Some("BYE") => {
                reply(&mut stream, &text, "200 OK", "", "").await;
                return true;
            }
            _ => {}
        }
    }
    false
}

pub async fn message(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut byte = [0];
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        text.push(byte[0]);
        if text.ends_with(b"\r\n\r\n") {
            let head = String::from_utf8(text).unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.ok()?;
            return Some(head);
        }
    }
}

pub async fn reply(stream: &mut (impl AsyncWriteExt + Unpin), request: &str, status: &str, tag: &str, body: &str) {
    let text = answer_to(request, status, tag, "sip:t@127.0.0.1", body);
    stream.write_all(text.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_trunk_s_certificate_must_be_valid_and_ours_is_shown_where_it_is_wanted() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let client = authority.certify("client", "colloque.example", 2090);
    for (files, name, mutual, shown, connects) in [
        (authority.certify("good", "localhost", 2090), "good", false, false, true),
        (authority.certify("expired", "localhost", 2020), "expired", false, false, false),
        (authority.certify("other", "elsewhere.example", 2090), "wrong name", false, false, false),
        (stranger.certify("stranger", "localhost", 2090), "unknown authority", false, false, false),
        (authority.certify("mutual", "localhost", 2090), "mutual", true, true, true),
        (authority.certify("demanding", "localhost", 2090), "mutual without ours", true, false, false),
    ] {
        let (chain, secret) = key(&files);
        let builder =
            rustls::ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let verifier = || {
            rustls::server::WebPkiClientVerifier::builder_with_provider(roots(&authority), provider()).build().unwrap()
        };
        let builder =
            if mutual { builder.with_client_cert_verifier(verifier()) } else { builder.with_no_client_auth() };
        let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, secret).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = tokio::spawn(trunk(listener, acceptor));
        let server = Server::with(port, "tls", "first_response_ms = 6000", |settings| {
            settings.trunks[0].server.host = "localhost".to_owned();
            settings.trusted_ca = Some(authority.file("ca.pem"));
            let files = ClientCertificate { cert: client.cert.clone(), key: client.key.clone() };
            settings.trunks[0].client = shown.then_some(files);
        })
        .await;
        let mut call =
            server.endpoint.dial(&server.trunk, &number(), offer(1, Direction::SendRecv), Duration::from_secs(10));
        match soon(call.next()).await {
            Some(Progress::Answered(dialog, _)) => {
                assert!(connects, "{name}");
                soon(dialog.bye(Reason::Normal)).await;
                assert!(soon(peer).await.unwrap(), "{name}");
            }
            Some(Progress::Failed(failure)) => {
                assert!(!connects, "{name}");
                assert_eq!(failure, DialFailure::TrunkSilent, "{name}");
                peer.abort();
            }
            _ => panic!("{name}"),
        }
        server.is_empty().await;
    }
}

/// Whether a server that wants certificates of its clients serves one that shows this.
async fn is_served(server: &Server, authority: &Authority, shown: Option<&TlsFiles>) -> bool {
    let config = rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots(authority));
    let config = match shown {
        None => config.with_no_client_auth(),
        Some(files) => {
            let (chain, secret) = key(files);
            config.with_client_auth_cert(chain, secret).unwrap()
        }
    };
    let tcp = TcpStream::connect(("127.0.0.1", server.port(SipTransport::Tls))).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    // TLS 1.3 tells a client of its refusal behind the handshake.
    let Ok(mut stream) = TlsConnector::from(Arc::new(config)).connect(name, tcp).await else { return false };
    let options = "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:9;branch=z9hG4bKo\r\nFrom: <sip:a@127.0.0.1>;tag=1\r\n\
         To: <sip:127.0.0.1>\r\nCall-ID: shown\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
    if stream.write_all(options.as_bytes()).await.is_err() {
        return false;
    }
    soon(message(&mut stream)).await.is_some_and(|answer| answer.starts_with("SIP/2.0 200"))
}

#[tokio::test]
async fn who_connects_shows_a_certificate_where_we_want_one() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let files = authority.certify("server", "localhost", 2090);
    let server = Server::with(9, "tls", "", |settings| {
        settings.sip_tls = Some(("127.0.0.1:0".parse().unwrap(), files));
        settings.tls_client_ca = Some(authority.file("ca.pem"));
        settings.trusted_ca = Some(authority.file("ca.pem"));
    })
    .await;
    let certified = authority.certify("operator", "operator.example", 2090);
    let expired = authority.certify("expired", "operator.example", 2020);
    let foreign = stranger.certify("foreign", "operator.example", 2090);
    for (shown, served, what) in [
        (None, false, "nothing"),
        (Some(&foreign), false, "another authority's"),
        (Some(&expired), false, "expired"),
        (Some(&certified), true, "certified"),
    ] {
        assert_eq!(is_served(&server, &authority, shown).await, served, "{what}");
    }
}

#[tokio::test]
async fn a_call_comes_in_over_tls_and_outlives_its_stream() {
    let authority = Authority::new();
    let files = authority.certify("server", "localhost", 2090);
    let mut server = Server::with(9, "tls", "", |settings| {
        settings.sip_tls = Some(("127.0.0.1:0".parse().unwrap(), files));
        settings.trusted_ca = Some(authority.file("ca.pem"));
        settings.timers.bye = Duration::from_secs(1);
    })
    .await;
    let config = rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots(&authority)).with_no_client_auth();
    let tcp = TcpStream::connect(("127.0.0.1", server.port(SipTransport::Tls))).await.unwrap();
    tcp.set_zero_linger().unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    let body = sdp(4000, "").replace('\n', "\r\n");
    let invite = format!(
        "INVITE sip:+33123456789@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:9;branch=z9hG4bKa\r\nFrom: <sip:a@127.0.0.1>;tag=1\r\n\
         To: <sip:+33123456789@127.0.0.1>\r\nCall-ID: tls\r\nCSeq: 1 INVITE\r\nContact: <sip:a@127.0.0.1:9;transport=tls>\r\n\
         Max-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(invite.as_bytes()).await.unwrap();
    let call = server.call().await;
    assert!(call.secure);
    let mut dialog = call.call.answer(answer(&call.offer.unwrap())).await.unwrap();
    let ok = loop {
        let text = soon(message(&mut stream)).await.unwrap();
        if text.starts_with("SIP/2.0 200") {
            break text;
        }
    };
    let to = ok.lines().find(|line| line.starts_with("To:")).unwrap();
    let ack = invite.split("Max-Forwards").next().unwrap().replace("INVITE", "ACK").replace("z9hG4bKa", "z9hG4bKb");
    let ack = ack.replace("To: <sip:+33123456789@127.0.0.1>", to) + "Content-Length: 0\r\n\r\n";
    stream.write_all(ack.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    // A reset: no goodbye of TLS, no FIN.
    drop(stream);
    let quiet = tokio::time::timeout(Duration::from_millis(700), dialog.next()).await;
    assert!(quiet.is_err(), "the call ended with its stream: {quiet:?}");
    assert_eq!(server.endpoint.calls(), 1);
    // Nobody listens at the trunk: the call is lost, and forgotten all the same.
    assert!(!soon(dialog.probe()).await);
    soon(dialog.bye(Reason::Normal)).await;
    server.is_empty().await;
}

#[tokio::test]
async fn a_call_whose_stream_is_reset_goes_on_over_another_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Server::with(port, "tcp", "", |settings| settings.timers.request = Duration::from_secs(2)).await;
    let ring = Duration::from_secs(20);
    let mut call = server.endpoint.dial(&server.trunk, &number(), offer(1, Direction::SendRecv), ring);
    let (mut first, _) = soon(listener.accept()).await.unwrap();
    let invite = soon(message(&mut first)).await.unwrap();
    reply(&mut first, &invite, "200 OK", "p1", &sdp(4000, "")).await;
    let Some(Progress::Answered(dialog, _)) = soon(call.next()).await else { panic!("not answered") };
    assert!(soon(message(&mut first)).await.unwrap().starts_with("ACK"));
    first.set_zero_linger().unwrap();
    drop(first);
    let answering = tokio::spawn(async move {
        let (mut second, _) = listener.accept().await.unwrap();
        loop {
            let asked = message(&mut second).await.unwrap();
            assert!(asked.contains("tag=p1"), "{asked}");
            reply(&mut second, &asked, "200 OK", "", "").await;
            if asked.starts_with("BYE") {
                return;
            }
        }
    });
    // A question that is written before the reset is noticed is lost with the stream; the next one is not.
    soon(async { while !dialog.probe().await {} }).await;
    soon(dialog.bye(Reason::Normal)).await;
    soon(answering).await.unwrap();
    server.is_empty().await;
}

/// A real telephone: baresip, with its encryption of sound.
struct Baresip {
    child: tokio::process::Child,
    folder: PathBuf,
}

impl Baresip {
    /// Calls this address once, trusting the authority.
    fn dial(authority: &Authority, address: &str, encryption: &str) -> Baresip {
        let folder = authority.file(&format!("baresip-{}", super::sipp::free_port()));
        std::fs::create_dir_all(&folder).unwrap();
        let config = format!(
            "poll_method epoll\nsip_listen 127.0.0.1:{}\nsip_cafile {}\naudio_source aubridge,x\naudio_player aubridge,x\n\
             module_path /usr/lib/baresip/modules\nmodule g711.so\nmodule aubridge.so\nmodule srtp.so\n\
             module_app account.so\nmodule_app menu.so\n",
            super::sipp::free_port(),
            authority.file("ca.pem").display(),
        );
        let media = if encryption.is_empty() { String::new() } else { format!(";mediaenc={encryption}") };
        std::fs::write(folder.join("config"), config).unwrap();
        std::fs::write(
            folder.join("accounts"),
            format!("<sip:+33612345678@127.0.0.1;transport=tls>;regint=0{media}\n"),
        )
        .unwrap();
        std::fs::write(folder.join("contacts"), "").unwrap();
        let mut command = tokio::process::Command::new("baresip");
        command.args(["-f", &folder.display().to_string(), "-t", "30", "-e", &format!("/dial {address}")]);
        command.stdin(std::process::Stdio::null()).kill_on_drop(true);
        command.stdout(std::fs::File::create(folder.join("out")).unwrap());
        command.stderr(std::fs::File::create(folder.join("err")).unwrap());
        Baresip { child: command.spawn().expect("baresip is installed (scripts/setup.sh test)"), folder }
    }

    fn told(&self) -> String {
        ["out", "err"].map(|name| std::fs::read_to_string(self.folder.join(name)).unwrap_or_default()).concat()
    }
}

#[tokio::test]
async fn baresip_calls_over_tls_with_and_without_encrypted_sound() {
    let authority = Authority::new();
    let files = authority.certify("server", "127.0.0.1", 2090);
    let mut server = Server::with(9, "tls", "srtp = \"allow\"", |settings| {
        settings.sip_tls = Some(("127.0.0.1:0".parse().unwrap(), files));
        settings.trusted_ca = Some(authority.file("ca.pem"));
    })
    .await;
    let port = server.port(SipTransport::Tls);
    for (encryption, secure) in [("srtp-mand", true), ("", false)] {
        let address = format!("sip:+33123456789@127.0.0.1:{port}");
        let mut phone = Baresip::dial(&authority, &address, encryption);
        let call = tokio::time::timeout(Duration::from_secs(20), server.calls.recv()).await;
        let call = call.unwrap_or_else(|_| panic!("no call: {}", phone.told())).unwrap();
        assert_eq!(call.caller.as_ref().unwrap().0.e164(), "+33612345678");
        let offer = call.offer.unwrap();
        let rules = colloque::telephone::sdp::Rules {
            srtp: colloque::config::telephone::SrtpPolicy::Allow,
            secure: call.secure,
            ..super::rules()
        };
        let (agreed, text) = offer.answer(&super::local(1, Direction::SendRecv), &rules).unwrap();
        assert_eq!(agreed.srtp.is_some(), secure);
        call.call.ring().await;
        let mut dialog = call.call.answer(text).await.unwrap();
        // baresip takes the answer: it neither hangs up nor says that it is wrong.
        let quiet = tokio::time::timeout(Duration::from_millis(800), dialog.next()).await;
        assert!(quiet.is_err(), "{quiet:?}: {}", phone.told());
        assert!(soon(dialog.probe()).await, "{}", phone.told());
        soon(dialog.bye(Reason::Normal)).await;
        server.is_empty().await;
        let _ = phone.child.kill().await;
    }
}
