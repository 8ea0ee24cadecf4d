//! Reads our STUN answers with `rtc-stun`, which shares no code with ours. Tests only.

use std::net::SocketAddr;

use rtc_srtp::crypto::RTCCryptoProvider;
use rtc_srtp::crypto::providers::AwsLcRsProvider;
use rtc_stun::error_code::ErrorCodeAttribute;
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_ERROR, BINDING_SUCCESS, Getter, Message};
use rtc_stun::xoraddr::XorMappedAddress;

/// What an answer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Read {
    Success(SocketAddr),
    Error(u16),
}

/// Verifies an answer with the password and reads it.
pub(super) fn read_answer(bytes: &[u8], transaction: [u8; 12], password: &str) -> Read {
    let mut message = Message::new();
    message.unmarshal_binary(bytes).expect("a STUN message");
    assert_eq!(message.transaction_id.0, transaction);
    MessageIntegrity::check(&mut message, password.as_bytes(), AwsLcRsProvider::new().crypto()).expect("integrity");
    FINGERPRINT.check(&message).expect("fingerprint");
    if message.typ == BINDING_SUCCESS {
        let mut mapped = XorMappedAddress::default();
        mapped.get_from(&message).expect("a mapped address");
        return Read::Success(SocketAddr::new(mapped.ip, mapped.port));
    }
    assert_eq!(message.typ, BINDING_ERROR);
    let mut error = ErrorCodeAttribute::default();
    error.get_from(&message).expect("an error code");
    Read::Error(error.code.0)
}
