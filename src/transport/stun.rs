//! STUN on the wire (RFC 8489, RFC 8445 section 7.3): what an ICE-lite responder reads and writes, without allocation,
//! and what the far sides of the simulation and of the load generator write and read back.
//!
//! Not here: whose credentials, rate limits, which path is proved (`ice`). Own code rather than a library, because
//! an attribute behind MESSAGE-INTEGRITY is not authenticated and must not be seen at all (RFC 8489 section 14.5):
//! a USE-CANDIDATE appended by a stranger would otherwise steer a leg's media.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
pub use aws_lc_rs::hmac::Key as IntegrityKey;
use rtc_stun::fingerprint::fingerprint_value;

use crate::drops::DropReason;

/// Joins a request to its response.
pub type TransactionId = [u8; 12];

/// The local half of a request's USERNAME (`local:remote`), for the look-up of an unknown address. Nothing is verified.
#[must_use]
pub fn stun_username(datagram: &[u8]) -> Option<&[u8]> {
    let message = Message::parse(datagram)?;
    let (_, username) = message.attributes().find(|(_, attribute)| attribute.kind == USERNAME)?;
    username.value.split(|byte| *byte == b':').next()
}

/// A Binding request. Only what stands before MESSAGE-INTEGRITY was read; nothing is verified until
/// [`Request::is_authentic`] said so.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    datagram: &'a [u8],
    integrity_at: usize,
    /// Chosen by the far side.
    pub transaction: TransactionId,
    /// `receiver:sender` user name fragments.
    pub username: &'a [u8],
    /// USE-CANDIDATE: the far side wants media on this path.
    pub nominates: bool,
    /// ICE-CONTROLLED: the far side believes that we control.
    pub claims_controlled: bool,
    /// The first attribute that we must understand and do not.
    pub unknown_attribute: Option<u16>,
}

/// What to answer to an authenticated request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// XOR-MAPPED-ADDRESS.
    Success(SocketAddr),
    /// 487: we never control.
    RoleConflict,
    /// 420 with the attribute's type.
    UnknownAttribute(u16),
}

impl<'a> Request<'a> {
    /// Reads what stands before MESSAGE-INTEGRITY.
    ///
    /// # Errors
    /// [`DropReason::StunMalformed`] for anything but a Binding request, [`DropReason::StunIntegrity`] when it lacks
    /// what ICE demands (USERNAME, MESSAGE-INTEGRITY, FINGERPRINT) or its FINGERPRINT is wrong.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, DropReason> {
        let message = Message::parse(datagram).ok_or(DropReason::StunMalformed)?;
        if message.kind != BINDING_REQUEST {
            return Err(DropReason::StunMalformed);
        }
        let mut request = Self {
            datagram,
            integrity_at: 0,
            transaction: message.transaction,
            username: &[],
            nominates: false,
            claims_controlled: false,
            unknown_attribute: None,
        };
        let mut attributes = message.attributes();
        for (at, attribute) in &mut attributes {
            match attribute.kind {
                USERNAME if request.username.is_empty() => request.username = attribute.value,
                USE_CANDIDATE => request.nominates = true,
                ICE_CONTROLLED => request.claims_controlled = true,
                MESSAGE_INTEGRITY if attribute.value.len() == INTEGRITY_LEN => {
                    request.integrity_at = at;
                    break;
                }
                kind if is_required(kind) && !KNOWN_REQUIRED.contains(&kind) => {
                    request.unknown_attribute.get_or_insert(kind);
                }
                _ => {}
            }
        }
        if request.integrity_at == 0 || request.username.is_empty() || !fingerprint_matches(datagram, attributes) {
            return Err(DropReason::StunIntegrity);
        }
        Ok(request)
    }

    /// Verifies MESSAGE-INTEGRITY (RFC 8489 section 14.5) in constant time.
    #[must_use]
    pub fn is_authentic(&self, key: &hmac::Key) -> bool {
        is_authentic(self.datagram, self.integrity_at, key)
    }
}

/// A Binding response to a check of ours. Nothing is verified until [`Response::is_authentic`] said so.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    datagram: &'a [u8],
    integrity_at: usize,
    /// That of the check.
    pub transaction: TransactionId,
    /// The error code of a refusal; `None` for success.
    pub refused: Option<u16>,
}

impl<'a> Response<'a> {
    /// `None` for anything but a Binding response with MESSAGE-INTEGRITY and FINGERPRINT.
    #[must_use]
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let message = Message::parse(datagram)?;
        let mut refused = match message.kind {
            BINDING_SUCCESS => None,
            BINDING_ERROR => Some(0),
            _ => return None,
        };
        let mut attributes = message.attributes();
        for (at, attribute) in &mut attributes {
            match (attribute.kind, attribute.value) {
                (ERROR_CODE, [_, _, class, number, ..]) => {
                    refused = refused.map(|_| u16::from(class & 7) * 100 + u16::from(*number));
                }
                (MESSAGE_INTEGRITY, value) if value.len() == INTEGRITY_LEN => {
                    let found = Self { datagram, integrity_at: at, transaction: message.transaction, refused };
                    return fingerprint_matches(datagram, attributes).then_some(found);
                }
                _ => {}
            }
        }
        None
    }

    /// As [`Request::is_authentic`], with the key of the far side's password.
    #[must_use]
    pub fn is_authentic(&self, key: &hmac::Key) -> bool {
        is_authentic(self.datagram, self.integrity_at, key)
    }
}

impl Answer {
    /// Writes the response with MESSAGE-INTEGRITY and FINGERPRINT. `out` holds at least [`ANSWER_LEN_MAX`] bytes.
    #[must_use]
    pub fn write(self, transaction: &TransactionId, key: &hmac::Key, out: &mut [u8]) -> usize {
        debug_assert!(out.len() >= ANSWER_LEN_MAX);
        let kind = if matches!(self, Answer::Success(_)) { BINDING_SUCCESS } else { BINDING_ERROR };
        let mut writer = Writer::new(out, kind, transaction);
        match self {
            Answer::Success(mapped) => {
                let (value, len) = xor_mapped(mapped, transaction);
                writer.attribute(XOR_MAPPED_ADDRESS, &value[..len]);
            }
            Answer::RoleConflict => writer.attribute(ERROR_CODE, b"\0\0\x04\x57Role Conflict"),
            Answer::UnknownAttribute(kind) => {
                writer.attribute(ERROR_CODE, b"\0\0\x04\x14Unknown Attribute");
                writer.attribute(UNKNOWN_ATTRIBUTES, &kind.to_be_bytes());
            }
        }
        writer.finish(key)
    }
}

/// A STUN header and the attributes behind it, not looked at.
pub struct Message<'a> {
    /// Method and class.
    pub kind: u16,
    /// Joins a request to its response.
    pub transaction: TransactionId,
    datagram: &'a [u8],
}

impl<'a> Message<'a> {
    /// `None` for anything but a whole STUN message.
    #[must_use]
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let header: &[u8; HEADER_LEN] = datagram.first_chunk()?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let sound =
            kind >> 14 == 0 && header[4..8] == MAGIC_COOKIE && len % 4 == 0 && datagram.len() == HEADER_LEN + len;
        let transaction = *header.last_chunk()?;
        sound.then_some(Self { kind, transaction, datagram })
    }

    fn attributes(&self) -> Attributes<'a> {
        Attributes { datagram: self.datagram, at: HEADER_LEN }
    }
}

#[derive(Clone, Copy)]
struct Attribute<'a> {
    kind: u16,
    value: &'a [u8],
}

/// Attributes with their offsets in the datagram; ends at the first that does not fit.
struct Attributes<'a> {
    datagram: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (usize, Attribute<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.datagram.get(at..)?;
        let header: &[u8; ATTRIBUTE_HEADER_LEN] = rest.first_chunk()?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let value = rest.get(ATTRIBUTE_HEADER_LEN..ATTRIBUTE_HEADER_LEN + len)?;
        self.at = at + ATTRIBUTE_HEADER_LEN + len.next_multiple_of(4);
        Some((at, Attribute { kind, value }))
    }
}

/// FINGERPRINT must be there and be the last attribute (RFC 8489 section 14.7).
fn fingerprint_matches(datagram: &[u8], rest: Attributes<'_>) -> bool {
    let Some((at, fingerprint)) = rest.last() else { return false };
    fingerprint.kind == FINGERPRINT
        && at + ATTRIBUTE_HEADER_LEN + FINGERPRINT_LEN == datagram.len()
        && fingerprint.value == fingerprint_value(&datagram[..at]).to_be_bytes()
}

fn is_authentic(datagram: &[u8], integrity_at: usize, key: &hmac::Key) -> bool {
    let tag = integrity(key, &datagram[..integrity_at]);
    let value_at = integrity_at + ATTRIBUTE_HEADER_LEN;
    let claimed = &datagram[value_at..value_at + INTEGRITY_LEN];
    verify_slices_are_equal(tag.as_ref(), claimed).is_ok()
}

/// HMAC-SHA1 over the message up to the attribute, with the length that the header has when the attribute ends it.
fn integrity(key: &hmac::Key, message: &[u8]) -> hmac::Tag {
    let len = (message.len() - HEADER_LEN + ATTRIBUTE_HEADER_LEN + INTEGRITY_LEN) as u16;
    let mut context = hmac::Context::with_key(key);
    context.update(&message[..2]);
    context.update(&len.to_be_bytes());
    context.update(&message[4..]);
    context.sign()
}

/// Whether an agent that does not know the attribute must refuse (RFC 8489 section 14).
fn is_required(kind: u16) -> bool {
    kind < 0x8000
}

/// RFC 8489 section 14.2. An IPv4 address that a dual-stack socket shows as IPv6 is written as IPv4.
fn xor_mapped(address: SocketAddr, transaction: &TransactionId) -> ([u8; 20], usize) {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE);
    mask[4..].copy_from_slice(transaction);
    let mut value = [0; 20];
    let port = address.port().to_be_bytes();
    value[2..4].copy_from_slice(&[port[0] ^ mask[0], port[1] ^ mask[1]]);
    let mut put = |family: u8, octets: &[u8]| {
        value[1] = family;
        for (at, octet) in octets.iter().enumerate() {
            value[4 + at] = octet ^ mask[at];
        }
        4 + octets.len()
    };
    let len = match address.ip().to_canonical() {
        IpAddr::V4(ip) => put(1, &ip.octets()),
        IpAddr::V6(ip) => put(2, &ip.octets()),
    };
    (value, len)
}

/// Appends attributes to a caller's buffer.
pub struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Starts a message. `out` must hold all that follows.
    pub fn new(out: &'a mut [u8], kind: u16, transaction: &TransactionId) -> Self {
        out[..2].copy_from_slice(&kind.to_be_bytes());
        out[4..8].copy_from_slice(&MAGIC_COOKIE);
        out[8..HEADER_LEN].copy_from_slice(transaction);
        Self { out, len: HEADER_LEN }
    }

    /// Appends one attribute with its padding.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let padded_len = value.len().next_multiple_of(4);
        let slot = &mut self.out[self.len..self.len + ATTRIBUTE_HEADER_LEN + padded_len];
        slot[..2].copy_from_slice(&kind.to_be_bytes());
        slot[2..4].copy_from_slice(&(value.len() as u16).to_be_bytes());
        slot[4..4 + value.len()].copy_from_slice(value);
        slot[4 + value.len()..].fill(0);
        self.len += ATTRIBUTE_HEADER_LEN + padded_len;
        let body_len = (self.len - HEADER_LEN) as u16;
        self.out[2..4].copy_from_slice(&body_len.to_be_bytes());
    }

    /// Appends MESSAGE-INTEGRITY and FINGERPRINT. Gives the datagram's length.
    #[must_use]
    pub fn finish(mut self, key: &hmac::Key) -> usize {
        let tag = integrity(key, &self.out[..self.len]);
        self.attribute(MESSAGE_INTEGRITY, tag.as_ref());
        let body_len = (self.len - HEADER_LEN + ATTRIBUTE_HEADER_LEN + FINGERPRINT_LEN) as u16;
        self.out[2..4].copy_from_slice(&body_len.to_be_bytes());
        let fingerprint = fingerprint_value(&self.out[..self.len]);
        self.attribute(FINGERPRINT, &fingerprint.to_be_bytes());
        self.len
    }
}

/// The key of short-term credentials (RFC 8489 section 9.1.1).
#[must_use]
pub fn integrity_key(password: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes())
}

/// Longest answer: header, error text, unknown attributes, integrity, fingerprint.
pub const ANSWER_LEN_MAX: usize = 128;

const HEADER_LEN: usize = 20;
const ATTRIBUTE_HEADER_LEN: usize = 4;
const INTEGRITY_LEN: usize = 20;
const FINGERPRINT_LEN: usize = 4;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// A connectivity check.
pub const BINDING_REQUEST: u16 = 0x0001;
/// Its answer.
pub const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

/// RFC 8489 section 14.3.
pub const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// RFC 8445 section 16.1.
pub const PRIORITY: u16 = 0x0024;
/// RFC 8445 section 16.1: the sender nominates the path.
pub const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
/// RFC 8445 section 16.1: the sender is controlled.
pub const ICE_CONTROLLED: u16 = 0x8029;
/// RFC 8445 section 16.1: the sender controls.
pub const ICE_CONTROLLING: u16 = 0x802a;
/// What browsers say of the kind of their network.
pub const NETWORK_COST: u16 = 0xc057;

/// Comprehension-required attributes that a check may carry: those of RFC 8489 (with its SHA-256 integrity, which
/// comes beside the SHA-1 one) and of RFC 8445.
const KNOWN_REQUIRED: [u16; 10] =
    [USERNAME, MESSAGE_INTEGRITY, 0x0014, 0x0015, 0x001c, 0x001d, 0x001e, XOR_MAPPED_ADDRESS, PRIORITY, USE_CANDIDATE];

#[cfg(test)]
mod tests;
