//! Codecs we forward and how a leg numbers them (payload types are per leg, RFC 8866 rtpmap).

use crate::ids::PayloadType;

/// Audio or video.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MediaKind {
    /// Opus.
    Audio,
    /// VP8, H264, VP9, AV1.
    Video,
}

/// Where a track comes from; the unit of permission.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// A seat's voice.
    Microphone,
    /// A seat's face or lesion camera.
    Camera,
    /// A seat's shared screen.
    Screen,
}

impl Source {
    /// The kind of media this source carries.
    #[must_use]
    pub fn kind(self) -> MediaKind {
        match self {
            Source::Microphone => MediaKind::Audio,
            Source::Camera | Source::Screen => MediaKind::Video,
        }
    }
}

/// A codec with what must match between two legs for a packet to be forwarded unchanged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// RFC 7587, 48 kHz, two channels in SDP.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 9628; the profile must match.
    Vp9 {
        /// `profile-id`, 0 when absent.
        profile: u8,
    },
    /// RFC 6184.
    H264 {
        /// `profile_idc` and constraint flags: the first two bytes of `profile-level-id`.
        profile: u16,
        /// `packetization-mode`, 0 when absent.
        packetization_mode: u8,
    },
    /// AV1 RTP payload format 1.0; main profile.
    Av1,
}

impl Codec {
    /// RTP clock rate in Hz.
    #[must_use]
    pub fn clock_rate(self) -> u32 {
        match self {
            Codec::Opus => 48_000,
            _ => 90_000,
        }
    }

    /// Audio or video.
    #[must_use]
    pub fn kind(self) -> MediaKind {
        match self {
            Codec::Opus => MediaKind::Audio,
            _ => MediaKind::Video,
        }
    }
}

/// One negotiated codec of a leg.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PayloadMapping {
    /// Payload type of the codec itself.
    pub payload_type: PayloadType,
    /// What it carries.
    pub codec: Codec,
    /// Payload type of its RFC 4588 retransmissions, when negotiated.
    pub rtx: Option<PayloadType>,
    /// Payload type of RFC 2198 redundancy over this codec (Opus only), when negotiated.
    pub red: Option<PayloadType>,
}

/// What a payload type of a leg means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PayloadUse {
    /// The codec's own packets.
    Media(Codec),
    /// RFC 4588 retransmission of that codec's packets.
    Rtx(Codec),
    /// RFC 2198 redundancy; the inner blocks are that codec's.
    Red(Codec),
}

/// A leg's negotiated codecs, in order of preference. At most [`PayloadMap::LEN_MAX`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PayloadMap {
    mappings: Vec<PayloadMapping>,
}

impl PayloadMap {
    /// More codecs than any browser offers; a longer list only costs look-up time.
    pub const LEN_MAX: usize = 32;

    /// Keeps the first [`Self::LEN_MAX`] mappings.
    #[must_use]
    pub fn new(mut mappings: Vec<PayloadMapping>) -> Self {
        mappings.truncate(Self::LEN_MAX);
        Self { mappings }
    }

    /// In order of preference.
    pub fn iter(&self) -> impl Iterator<Item = &PayloadMapping> {
        self.mappings.iter()
    }

    /// What an incoming payload type means, or `None` when it was not negotiated.
    #[must_use]
    pub fn usage(&self, payload_type: PayloadType) -> Option<PayloadUse> {
        self.mappings.iter().find_map(|m| {
            if m.payload_type == payload_type {
                Some(PayloadUse::Media(m.codec))
            } else if m.rtx == Some(payload_type) {
                Some(PayloadUse::Rtx(m.codec))
            } else if m.red == Some(payload_type) {
                Some(PayloadUse::Red(m.codec))
            } else {
                None
            }
        })
    }

    /// How this leg numbers `codec`, or `None` when it cannot take it.
    #[must_use]
    pub fn mapping(&self, codec: Codec) -> Option<&PayloadMapping> {
        self.mappings.iter().find(|m| m.codec == codec)
    }
}
