//! What signalling negotiated for one leg: the only form in which SDP reaches the media plane.

use crate::ids::{SlotId, Ssrc};
use crate::rtp::codec::{MediaKind, PayloadMap, Source};
use crate::rtp::extension::ExtensionMap;
use crate::transport::parameters::TransportParameters;

/// A short identifier from SDP: mid or rid, at most 16 bytes (RFC 8852 allows more; no browser uses them).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShortName {
    bytes: [u8; 16],
    len: u8,
}

impl ShortName {
    /// Of sections that nobody negotiated.
    pub(super) const LOCAL: ShortName =
        ShortName { bytes: [b'0', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], len: 1 };

    /// `None` when empty or longer than 16 bytes.
    #[must_use]
    pub fn new(name: &[u8]) -> Option<Self> {
        if name.is_empty() || name.len() > 16 {
            return None;
        }
        let mut bytes = [0; 16];
        bytes[..name.len()].copy_from_slice(name);
        Some(Self { bytes, len: name.len() as u8 })
    }

    /// The name's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::fmt::Debug for ShortName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(self.as_bytes()))
    }
}

/// Everything the media plane needs to know of a leg.
#[derive(Clone, Debug)]
pub struct LegParameters {
    /// ICE, DTLS and data channel.
    pub transport: TransportParameters,
    /// Payload types of the whole bundle.
    pub payloads: PayloadMap,
    /// Extension ids of the whole bundle, for reading what the far side sends.
    pub extensions: ExtensionMap,
    /// The sections on which the far side sends, at most [`LegParameters::SECTIONS_MAX`].
    pub ingress: Vec<IngressParameters>,
    /// The sections on which the far side receives, in pairs.
    pub slots: Vec<SlotParameters>,
}

impl LegParameters {
    /// Sections an offer may have; a browser's page uses 3 senders and 2 a slot.
    pub const SECTIONS_MAX: usize = 64;
}

/// One sending section of the far side.
#[derive(Clone, Debug)]
pub struct IngressParameters {
    /// `a=mid`.
    pub mid: ShortName,
    /// Which of the seat's sources it is.
    pub source: Source,
    /// `a=rid … send`, lowest quality first; empty without simulcast.
    pub rids: Vec<ShortName>,
    /// SSRCs declared by `a=ssrc` with the SSRC of their retransmissions (`a=ssrc-group:FID`). Empty with simulcast.
    pub ssrcs: Vec<(Ssrc, Option<Ssrc>)>,
}

/// An audio and a video section of one stream id, or one of them alone.
#[derive(Clone, Debug)]
pub struct SlotParameters {
    /// Index that signalling uses.
    pub slot: SlotId,
    /// What may be mapped here by itself.
    pub role: SlotRole,
    /// The audio section.
    pub audio: Option<EgressParameters>,
    /// The video section.
    pub video: Option<EgressParameters>,
}

/// Who gets mapped to a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotRole {
    /// One other seat at a time: its microphone and camera, or a shared screen (the page's slots).
    Seat,
    /// The active speaker's voice and camera (WHEP with one audio and one video section).
    ActiveSpeaker,
}

/// One receiving section of the far side, with the numbers our answer declared for it.
#[derive(Clone, Debug)]
pub struct EgressParameters {
    /// `a=mid`.
    pub mid: ShortName,
    /// Audio or video.
    pub kind: MediaKind,
    /// SSRC we send with.
    pub ssrc: Ssrc,
    /// SSRC of our retransmissions.
    pub rtx_ssrc: Option<Ssrc>,
    /// Payload types the far side accepts here.
    pub payloads: PayloadMap,
    /// Extension ids the far side accepts here.
    pub extensions: ExtensionMap,
}
