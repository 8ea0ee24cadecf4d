//! STUN on the wire (RFC 8489): what an ICE-lite responder must read and write, without allocation.

/// The local half of a request's USERNAME (`local:remote`), for the look-up of an unknown address. Nothing is verified.
#[must_use]
pub fn stun_username(_datagram: &[u8]) -> Option<&[u8]> {
    None
}
