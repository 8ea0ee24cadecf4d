//! What the control plane remembers of a seat's media connections between two offers.
//!
//! Not here: negotiation itself, or anything that changes per packet.

use std::time::Instant;

use crate::ids::LegId;
use crate::pii::Pii;
use crate::sfu::parameters::{LegParameters, SlotParameters};
use crate::transport::parameters::{Fingerprint, IceCredentials};

use super::random;

/// What both kinds of leg keep of their last offer and answer.
#[derive(Clone, Debug)]
pub(super) struct Negotiation {
    /// Ours, as in the last answer.
    pub(super) local: IceCredentials,
    /// Theirs, as in the last offer.
    pub(super) remote: IceCredentials,
    pub(super) remote_fingerprint: Fingerprint,
    /// Declared to the far side: they keep their SSRCs.
    pub(super) slots: Vec<SlotParameters>,
    /// Sections on which the far side sends.
    pub(super) ingress_len: usize,
    /// Answers given so far.
    pub(super) revision: u64,
}

impl Negotiation {
    pub(super) fn first(parameters: &LegParameters) -> Self {
        Self {
            local: parameters.transport.local.clone(),
            remote: parameters.transport.remote.clone(),
            remote_fingerprint: parameters.transport.remote_fingerprint.clone(),
            slots: parameters.slots.clone(),
            ingress_len: parameters.ingress.len(),
            revision: 1,
        }
    }
}

/// The one leg of a seat's page.
#[derive(Clone, Debug)]
pub(super) struct PageLeg {
    pub(super) leg: LegId,
    pub(super) negotiation: Negotiation,
    /// From when the join latency counts; taken when the first packet was forwarded.
    pub(super) due_since: Option<Instant>,
    /// Its handshake is done.
    pub(super) connected: bool,
    /// Nothing was heard of it since: its network is probably gone, whatever its socket seems to be.
    pub(super) quiet_since: Option<Instant>,
}

/// A leg by WHIP or WHEP.
#[derive(Clone, Debug)]
pub(super) struct EndpointLeg {
    pub(super) leg: LegId,
    /// Last part of the resource's path.
    pub(super) resource: String,
    /// Changes with every ICE restart (RFC 9725 section 4.3.1).
    pub(super) etag: String,
    pub(super) negotiation: Negotiation,
    pub(super) connected: bool,
    /// As of a page's leg.
    pub(super) quiet: bool,
}

/// Fresh credentials: 64 and 192 random bits, above the 24 and 128 of RFC 8445 section 5.3, so that the name alone finds
/// the leg on its worker.
pub(super) fn ice_credentials() -> IceCredentials {
    IceCredentials { ufrag: ice_text::<8>(), pwd: Pii(ice_text::<24>()) }
}

/// RFC 8839 section 5.4: `ice-char` has the standard base64 alphabet, not the one for URLs.
fn ice_text<const BYTES: usize>() -> String {
    random::text::<BYTES>().replace('-', "+").replace('_', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_ice_characters_of_the_right_length() {
        for _ in 0..50 {
            let IceCredentials { ufrag, pwd } = ice_credentials();
            assert!((4..=256).contains(&ufrag.len()) && (22..=256).contains(&pwd.0.len()));
            assert!(ufrag.bytes().chain(pwd.0.bytes()).all(|c| c.is_ascii_alphanumeric() || c == b'+' || c == b'/'));
        }
    }
}
