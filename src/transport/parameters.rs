//! What signalling tells a leg's transport before the first packet.

use crate::pii::Pii;

/// ICE user name fragment and password (RFC 8839 section 5.4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IceCredentials {
    /// 4 to 256 characters.
    pub ufrag: String,
    /// 22 to 256 characters.
    pub pwd: Pii<String>,
}

/// A certificate fingerprint from `a=fingerprint` (RFC 8122). Only SHA-256 and stronger are accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fingerprint {
    /// 32 bytes.
    Sha256([u8; 32]),
    /// 48 bytes.
    Sha384([u8; 48]),
    /// 64 bytes.
    Sha512([u8; 64]),
}

/// Everything a transport needs to begin. We are always the ICE-lite agent and the DTLS server.
#[derive(Clone, Debug)]
pub struct TransportParameters {
    /// Ours, as in our answer.
    pub local: IceCredentials,
    /// Theirs, as in their offer.
    pub remote: IceCredentials,
    /// The certificate that the far side must present.
    pub remote_fingerprint: Fingerprint,
    /// `a=max-message-size` of the far side when the offer has a data channel section (RFC 8841).
    pub data_channel: Option<u32>,
}
