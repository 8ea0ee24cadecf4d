//! Plain values that ingress hands to egress: what is known of one packet, and of one layer.
//!
//! All of them are `Copy`; none holds packet bytes. [`PacketMeta`] must stay within 64 bytes, because a ring of
//! them lies beside every layer's packets.

use std::time::Instant;

use crate::rtp::codec::Codec;
use crate::rtp::frame::FrameInfo;
use crate::rtp::seq::SeqNo;
use crate::units::{Bitrate, PictureSize};

/// A simulcast layer of a track by rid order, 0 being the lowest; always 0 without simulcast.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LayerIndex(pub u8);

impl LayerIndex {
    /// Layers a track may have. Browsers send at most 3; a higher value only costs room in fixed arrays.
    pub const COUNT_MAX: usize = 4;
}

/// Where an extension's data lies in a packet. Empty when the packet does not carry it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExtensionRange {
    start: u8,
    len: u8,
}

impl ExtensionRange {
    /// Past 255 bytes into the packet it counts as not carried: browsers' headers end before byte 100.
    #[must_use]
    pub fn new(start: usize, len: usize) -> Self {
        match (u8::try_from(start), u8::try_from(len)) {
            (Ok(start), Ok(len)) => Self { start, len },
            _ => Self::default(),
        }
    }

    /// The extension's data, or `None` when the packet does not carry it.
    #[must_use]
    pub fn of(self, packet: &[u8]) -> Option<&[u8]> {
        let start = usize::from(self.start);
        if self.len == 0 { None } else { packet.get(start..start + usize::from(self.len)) }
    }

    /// Bytes of the extension's data, 0 when the packet does not carry it.
    #[must_use]
    pub fn size(self) -> u8 {
        self.len
    }
}

/// What forwarding must know of one packet. The packet itself lies in the layer's `PacketCache`.
#[derive(Clone, Copy, Debug)]
pub struct PacketMeta {
    /// Extended sequence number on the layer's stream.
    pub seq: SeqNo,
    /// When it reached us.
    pub arrived: Instant,
    /// RTP timestamp on the layer's stream.
    pub timestamp: u32,
    /// What the payload is. The payload type in the packet's header is the publisher's and may be that of RTX.
    pub codec: Codec,
    /// Frame boundaries and dependency layers.
    pub frame: FrameInfo,
    /// Bytes of fixed header, CSRCs and extensions.
    pub header_len: u16,
    /// Bytes of payload, without padding; zero for a packet of padding alone (a bandwidth probe).
    pub payload_len: u16,
    /// AV1 dependency descriptor.
    pub dependency_descriptor: ExtensionRange,
    /// Coordination of video orientation.
    pub video_orientation: ExtensionRange,
    /// Playout delay limits.
    pub playout_delay: ExtensionRange,
    /// Colour space; on keyframes.
    pub color_space: ExtensionRange,
    /// RFC 6464 audio level.
    pub audio_level: ExtensionRange,
    /// Which simulcast layer.
    pub layer: LayerIndex,
    /// Counts the SSRCs that carried this layer. Across epochs numbers only grow, and timestamps do not compare.
    pub epoch: u8,
    /// RTP marker bit.
    pub marker: bool,
    /// The payload is RFC 2198 redundancy; `codec` is that of its blocks.
    pub red: bool,
}

impl PacketMeta {
    /// Extensions that are passed on to viewers as they came.
    pub const EXTENSIONS: usize = 5;

    /// Bytes of each of them: packets alike in this get headers of one length for any one viewer.
    #[must_use]
    pub fn extension_sizes(&self) -> [u8; Self::EXTENSIONS] {
        let passed_on = [
            self.dependency_descriptor,
            self.video_orientation,
            self.playout_delay,
            self.color_space,
            self.audio_level,
        ];
        passed_on.map(ExtensionRange::size)
    }

    /// The payload without padding. `packet` must be the one this describes, else the result is empty or wrong bytes.
    #[must_use]
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.header_len);
        packet.get(start..start + usize::from(self.payload_len)).unwrap_or_default()
    }
}

/// What is known of one simulcast layer now.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct LayerFacts {
    /// Which.
    pub index: LayerIndex,
    /// A packet came within the last two seconds.
    pub active: bool,
    /// Media rate over the last second, headers included.
    pub bitrate: Bitrate,
    /// As the latest keyframe told it.
    pub picture_size: Option<PictureSize>,
    /// When the latest keyframe began to arrive.
    pub last_keyframe: Option<Instant>,
}

/// A packet that is new and stored; `IngressTrack::packet` has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// Which layer.
    pub layer: LayerIndex,
    /// Its number there.
    pub seq: SeqNo,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_meta_stays_within_a_cache_line() {
        assert!(size_of::<PacketMeta>() <= 64, "{}", size_of::<PacketMeta>());
    }

    #[test]
    fn an_extension_that_is_absent_or_out_of_reach_is_not_carried() {
        let packet = [1, 2, 3, 4];
        assert_eq!(ExtensionRange::default().of(&packet), None);
        assert_eq!(ExtensionRange::new(1, 2).of(&packet), Some(&[2, 3][..]));
        assert_eq!(ExtensionRange::new(3, 2).of(&packet), None);
        assert_eq!(ExtensionRange::new(300, 2).of(&packet), None);
        assert_eq!(ExtensionRange::new(2, 300).of(&packet), None);
    }
}
