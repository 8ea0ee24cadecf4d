//! Targets of `colloque::transport` and of the data-channel relay: what a stranger or a member sends to one leg.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use colloque::pii::Pii;
use colloque::sfu::data::Message;
use colloque::transport::Transport;
use colloque::transport::batch::{LocalSocket, Path, TransmitBatch};
use colloque::transport::boring_dtls::BoringAcceptor;
use colloque::transport::dtls::DtlsAcceptor;
use colloque::transport::dtls_sim::SimAcceptor;
use colloque::transport::parameters::{Fingerprint, IceCredentials, TransportParameters};
use colloque::transport::sctp::SctpEndpoint;
use colloque::transport::srtp::Profile;
use colloque::transport::stun_username;

fn path() -> Path {
    Path { local: LocalSocket(0), remote: ([127, 0, 0, 1], 9).into() }
}

fn credentials(ufrag: &str) -> IceCredentials {
    IceCredentials { ufrag: ufrag.to_owned(), pwd: Pii("0123456789abcdef012345".to_owned()) }
}

/// A stranger's STUN datagram: nobody without the password may bind a path or be answered.
pub fn stun(input: &[u8]) {
    black_box(stun_username(input));
    let now = Instant::now();
    let parameters = TransportParameters {
        local: credentials("here"),
        remote: credentials("there"),
        remote_fingerprint: Fingerprint::Sha256([7; 32]),
        data_channel: None,
    };
    let dtls = SimAcceptor::new(Profile::AeadAes128Gcm, 1).accept(now, &parameters.remote_fingerprint);
    let mut transport = Transport::new(now, parameters, dtls);
    let mut out = TransmitBatch::new(8192, 4);
    let outcome = transport.handle_stun(now, path(), input, &mut out);
    assert!(outcome.is_err() && out.datagrams().is_empty() && transport.paths().count() == 0);
}

/// DTLS datagrams, cut out of the input by a length byte each, into a fresh association.
pub fn dtls(input: &[u8]) {
    static ACCEPTOR: OnceLock<BoringAcceptor> = OnceLock::new();
    let acceptor = ACCEPTOR.get_or_init(|| BoringAcceptor::new().expect("the library works"));
    let now = Instant::now();
    let mut association = acceptor.accept(now, &Fingerprint::Sha256([7; 32]));
    let mut out = [0; 2048];
    for datagram in pieces(input) {
        association.handle_datagram(now, datagram);
        while association.poll_transmit(&mut out).is_some() {}
        while association.poll_event().is_some() {}
    }
}

/// SCTP packets of a member, cut out of the input likewise, with time passing between them.
pub fn sctp(input: &[u8]) {
    let mut now = Instant::now();
    let mut endpoint = SctpEndpoint::new(65_536);
    for packet in pieces(input) {
        black_box(endpoint.handle_packet(now, packet).is_ok());
        while endpoint.poll_packet(now).is_some() {}
        while endpoint.poll_event().is_some() {}
        now += Duration::from_millis(250);
        endpoint.handle_timeout(now);
    }
}

/// A data-channel message of a member.
pub fn data_envelope(input: &[u8]) {
    let Ok(message) = Message::read(true, input) else { return };
    assert!(input.len() <= message.kind.bounds().len_max);
    let stamped = message.stamped("seat");
    let text = std::str::from_utf8(&stamped).expect("what is relayed is text");
    assert!(text.starts_with(r#"{"from":"seat","kind":""#));
    // An envelope adds the sender and nothing else, and is JSON that a page can read.
    assert!(stamped.len() <= input.len() + "{\"from\":\"seat\",".len());
    serde_json::from_str::<&serde_json::value::RawValue>(text).expect("what is relayed is JSON");
    assert!(Message::read(true, &stamped).is_err(), "a stamped message is no message: senders are never claimed");
}

/// Cuts the input by a length byte before each piece.
pub(crate) fn pieces(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&len, after) = rest.split_first()?;
        let (piece, after) = after.split_at(usize::from(len).min(after.len()));
        rest = after;
        Some(piece)
    })
}
