//! Targets of the signalling: SDP offers, ICE restart fragments, WebSocket frames, tokens.

use std::hint::black_box;
use std::time::Instant;

use colloque::control::negotiation::{OurSide, negotiate, negotiate_whep, negotiate_whip, read_fragment};
use colloque::ids::Ssrc;
use colloque::pii::Pii;
use colloque::transport::parameters::IceCredentials;
use colloque_signaling::message::{MediaSource, SenderInfo};
use colloque_signaling::session::Session;
use colloque_signaling::token::{Key, Keyring, Purpose};

fn our_side(ssrcs: &mut dyn FnMut() -> Ssrc) -> OurSide<'_> {
    OurSide {
        credentials: IceCredentials { ufrag: "here".to_owned(), pwd: Pii("0123456789abcdef012345".to_owned()) },
        fingerprint: [7; 32],
        candidates: &[],
        ssrcs,
        declared: &[],
        revision: 0,
    }
}

/// An SDP offer, taken as the page's, as WHIP's and as WHEP's.
pub fn sdp(input: &[u8]) {
    let offer = String::from_utf8_lossy(input);
    let mut next = 1;
    let mut ssrcs = || {
        next += 1;
        Ssrc(next)
    };
    let senders = [("0", MediaSource::Microphone), ("1", MediaSource::Camera)]
        .map(|(mid, source)| SenderInfo { mid: mid.to_owned(), source });
    black_box(negotiate(&offer, &senders, our_side(&mut ssrcs)).is_ok());
    black_box(negotiate_whip(&offer, our_side(&mut ssrcs)).is_ok());
    black_box(negotiate_whep(&offer, our_side(&mut ssrcs)).is_ok());
}

/// The body of a WHIP or WHEP PATCH.
pub fn sdp_fragment(input: &[u8]) {
    black_box(read_fragment(&String::from_utf8_lossy(input)).is_ok());
}

/// WebSocket text frames, one a line, before anybody joined.
pub fn websocket(input: &[u8]) {
    let now = Instant::now();
    let mut session = Session::new(now);
    for frame in String::from_utf8_lossy(input).lines() {
        black_box(session.handle_text(now, frame).is_some());
        while session.poll_transmit().is_some() {}
    }
}

/// A token that nobody signed.
pub fn token(input: &[u8]) {
    let keys = Keyring::new(Key::new(1, &[1; 32]), Some(Key::new(2, &[2; 32])));
    let text = String::from_utf8_lossy(input);
    for purpose in [Purpose::Link, Purpose::Session, Purpose::Ticket] {
        assert!(keys.verify(purpose, &text, 0).is_err());
    }
}
