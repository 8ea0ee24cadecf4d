//! Targets of the telephone's signalling: what a trunk, or whoever forges its address, may send.

use std::hint::black_box;

use colloque::config::telephone::{SrtpPolicy, TelephoneCodec};
use colloque::pii::Pii;
use colloque::telephone::sdp::{Direction, Local, Offered, Remote, Rules};
use colloque::telephone::sip::looks_like_sip;

/// A datagram on the SIP socket.
pub fn sip(input: &[u8]) {
    black_box(looks_like_sip(input));
}

/// The description of a telephone, as an offer and as an answer, with keys and without; what we answer reads back.
pub fn telephone_sdp(input: &[u8]) {
    let Ok(remote) = Remote::read(input) else { return };
    let address = ([192, 0, 2, 1], 20_000).into();
    let local = Local { address, session: 1, version: 1, key: Pii([1; 30]), direction: Direction::SendRecv };
    let codecs = vec![TelephoneCodec::Opus, TelephoneCodec::G722, TelephoneCodec::Pcma, TelephoneCodec::Pcmu];
    for srtp in [SrtpPolicy::Off, SrtpPolicy::Allow, SrtpPolicy::Require] {
        let rules = Rules { codecs: codecs.clone(), srtp, secure: srtp != SrtpPolicy::Off };
        if let Ok((agreed, text)) = remote.answer(&local, &rules) {
            assert!((10..=60).contains(&agreed.ptime) && agreed.format.payload < 128);
            assert!(Remote::read(text.as_bytes()).is_ok(), "our own answer does not read back");
        }
        black_box(Offered::new(local.clone(), &rules).accept(&remote).is_ok());
    }
}
