//! Session descriptions of one audio line (RFC 8866, RFC 3264): what telephones offer, and what we answer or offer ourselves.
//!
//! Not here: SIP, sockets, keys' randomness (the caller brings it). Reading is lenient where real telephones are careless and bounded
//! everywhere; every other media line is refused with port 0. Keys in the SDP (SDES, RFC 4568) only where signalling is TLS.

mod agree;
mod read;

use std::net::SocketAddr;

use crate::config::telephone::TelephoneCodec;
use crate::pii::Pii;

pub use agree::{Agreed, Local, Offered, Refused, Rules};

/// What the other side described.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remote {
    /// All media lines in their order, at most [`MEDIA_MAX`].
    lines: Vec<Line>,
    /// Version in `o=`: unchanged means that nothing changed.
    pub version: u64,
}

/// One media line.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Line {
    Audio(Audio),
    /// Refused by port 0: what stands between `m=` and the port, and behind it.
    Other {
        kind: String,
        rest: String,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Audio {
    /// None: port 0, refused or switched off.
    address: Option<SocketAddr>,
    rtcp: Option<SocketAddr>,
    /// In the order of preference.
    codecs: Vec<Format>,
    events: Vec<Event>,
    comfort_noise: Option<u8>,
    ptime: u8,
    direction: Direction,
    /// RTP/SAVP or RTP/SAVPF.
    secure: bool,
    /// `F` behind AVP or SAVP: the answer repeats it.
    feedback: bool,
    crypto: Vec<Crypto>,
}

/// A codec and its payload type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    /// Which.
    pub codec: TelephoneCodec,
    /// 0 to 127.
    pub payload: u8,
}

/// Telephone-event (RFC 4733).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// 0 to 127.
    pub payload: u8,
    /// RTP clock.
    pub rate: u32,
}

/// Who sends, as the describing side sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Direction {
    /// Both.
    #[default]
    SendRecv,
    /// It holds us, perhaps with music.
    SendOnly,
    /// It only listens.
    RecvOnly,
    /// Nobody.
    Inactive,
}

impl Direction {
    /// The same from the other side.
    #[must_use]
    pub fn reversed(self) -> Direction {
        match self {
            Direction::SendOnly => Direction::RecvOnly,
            Direction::RecvOnly => Direction::SendOnly,
            both => both,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }
}

/// Length of the authentication tag (RFC 4568 section 6.2); the cipher is AES-128 in both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Suite {
    /// `AES_CM_128_HMAC_SHA1_80`
    Sha1_80,
    /// `AES_CM_128_HMAC_SHA1_32`
    Sha1_32,
}

impl Suite {
    /// As RFC 4568 writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Suite::Sha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::Sha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    fn from_name(name: &str) -> Option<Suite> {
        [Suite::Sha1_80, Suite::Sha1_32].into_iter().find(|suite| suite.name() == name)
    }
}

/// 16 octets of key and 14 of salt.
pub type MasterKey = Pii<[u8; 30]>;

/// A line of `a=crypto`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Crypto {
    tag: u32,
    suite: Suite,
    key: MasterKey,
}

/// Why a description cannot be read: the other side is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SdpError {
    /// Longer than any telephone writes.
    #[error("the description is too long")]
    TooLong,
    /// No text.
    #[error("the description is no text")]
    NotText,
    /// A line without meaning where one is needed.
    #[error("a line of the description is malformed")]
    Malformed,
    /// No `m=audio`.
    #[error("the description has no audio")]
    NoAudio,
}

/// Real ones have under 2 kB; those with video and ICE 8 kB.
const LEN_MAX: usize = 16 * 1024;
/// Lines of media; telephones send one or two.
const MEDIA_MAX: usize = 8;
/// Formats of one line: as many as there are payload types.
const FORMATS_MAX: usize = 128;
/// Keys of one line.
const CRYPTO_MAX: usize = 8;

#[cfg(test)]
mod tests;
