//! RTP header extensions (RFC 8285) by meaning, how a leg numbers them, and the values of those we read or write.
//!
//! Ids are per leg and differ between m-line sets even within one browser: never hard-code one. Not here: the elements'
//! framing (`packet`) and the dependency descriptor, which has a module of its own. Video orientation, playout delay and
//! colour space are passed on as the bytes they came in.

use std::time::Duration;

/// The header extensions we read, write or pass on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ExtensionKind {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 9143).
    Mid,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id` (RFC 8852).
    Rid,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id` (RFC 8852).
    RepairedRid,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`.
    AbsSendTime,
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`.
    TransportCc,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464).
    AudioLevel,
    /// `https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension`.
    DependencyDescriptor,
    /// `urn:3gpp:video-orientation`.
    VideoOrientation,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/playout-delay`.
    PlayoutDelay,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/color-space`. Without it a receiver takes full-range pictures for
    /// limited-range ones, and every colour is wrong.
    ColorSpace,
}

impl ExtensionKind {
    /// Every kind, in the order of the `as usize` cast.
    pub const ALL: [ExtensionKind; 10] = [
        ExtensionKind::Mid,
        ExtensionKind::Rid,
        ExtensionKind::RepairedRid,
        ExtensionKind::AbsSendTime,
        ExtensionKind::TransportCc,
        ExtensionKind::AudioLevel,
        ExtensionKind::DependencyDescriptor,
        ExtensionKind::VideoOrientation,
        ExtensionKind::PlayoutDelay,
        ExtensionKind::ColorSpace,
    ];

    /// The URI in `a=extmap`.
    #[must_use]
    pub fn uri(self) -> &'static str {
        match self {
            ExtensionKind::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            ExtensionKind::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            ExtensionKind::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            ExtensionKind::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            ExtensionKind::TransportCc => "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
            ExtensionKind::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            ExtensionKind::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
            ExtensionKind::VideoOrientation => "urn:3gpp:video-orientation",
            ExtensionKind::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
            ExtensionKind::ColorSpace => "http://www.webrtc.org/experiments/rtp-hdrext/color-space",
        }
    }

    /// The kind of a URI, or `None` for one we neither read nor pass on.
    #[must_use]
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.uri() == uri)
    }
}

/// Extension ids (1..=255; 1..=14 fit the one-byte form) of a leg or of one m-line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExtensionMap {
    ids: [Option<std::num::NonZeroU8>; ExtensionKind::ALL.len()],
}

impl ExtensionMap {
    /// Sets the id of a kind; 0 removes it.
    pub fn set(&mut self, kind: ExtensionKind, id: u8) {
        self.ids[kind as usize] = std::num::NonZeroU8::new(id);
    }

    /// The id of a kind, when negotiated.
    #[must_use]
    pub fn id(&self, kind: ExtensionKind) -> Option<u8> {
        self.ids[kind as usize].map(std::num::NonZeroU8::get)
    }

    /// The kind of an id, when negotiated.
    #[must_use]
    pub fn kind(&self, id: u8) -> Option<ExtensionKind> {
        ExtensionKind::ALL.into_iter().find(|&kind| self.id(kind) == Some(id))
    }

    /// Every negotiated kind with its id.
    pub fn iter(&self) -> impl Iterator<Item = (ExtensionKind, u8)> {
        ExtensionKind::ALL.into_iter().filter_map(|kind| Some((kind, self.id(kind)?)))
    }

    /// Whether an id does not fit the one-byte form. A dependency descriptor with a structure may need the two-byte
    /// form for its length even so.
    #[must_use]
    pub fn needs_two_byte(&self) -> bool {
        self.iter().any(|(_, id)| id > 14)
    }
}

/// A voice's loudness in one packet (RFC 6464).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AudioLevel {
    /// The sender believes that it holds speech.
    pub voice: bool,
    /// Below overload, in dB: 0 is the loudest, 127 is silence.
    pub decibels_below: u8,
}

impl AudioLevel {
    /// Reads the extension's value.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        // Two bytes are legal in the two-byte form, the second one zero (RFC 6464 section 3).
        let &first = value.first()?;
        Some(Self { voice: first & 0x80 != 0, decibels_below: first & 0x7f })
    }

    /// The extension's value.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 1] {
        [u8::from(self.voice) << 7 | self.decibels_below.min(127)]
    }
}

/// The transport-wide sequence number; version 2 of the extension appends a request, which we do not act upon.
#[must_use]
pub fn transport_cc_number(value: &[u8]) -> Option<u16> {
    value.first_chunk().map(|&number| u16::from_be_bytes(number))
}

/// The value of abs-send-time: 6.18 fixed point seconds, which wrap every 64 s. `elapsed` counts from any fixed
/// instant.
#[must_use]
pub fn abs_send_time(elapsed: Duration) -> [u8; 3] {
    let fixed = (elapsed.as_nanos() << 18) / 1_000_000_000;
    let [.., high, middle, low] = (fixed as u32).to_be_bytes();
    [high, middle, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_uri_and_stands_at_its_index() {
        for (index, kind) in ExtensionKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            assert_eq!(ExtensionKind::from_uri(kind.uri()), Some(kind));
        }
        assert_eq!(ExtensionKind::from_uri("urn:example"), None);
    }

    #[test]
    fn maps_kinds_and_ids_both_ways() {
        let mut map = ExtensionMap::default();
        map.set(ExtensionKind::Mid, 4);
        map.set(ExtensionKind::TransportCc, 14);
        assert_eq!((map.id(ExtensionKind::Mid), map.kind(14)), (Some(4), Some(ExtensionKind::TransportCc)));
        assert_eq!(map.iter().collect::<Vec<_>>(), [(ExtensionKind::Mid, 4), (ExtensionKind::TransportCc, 14)]);
        assert!(!map.needs_two_byte());
        map.set(ExtensionKind::Rid, 15);
        assert!(map.needs_two_byte());
        map.set(ExtensionKind::Mid, 0);
        assert_eq!((map.id(ExtensionKind::Mid), map.kind(4)), (None, None));
    }

    #[test]
    fn reads_and_writes_audio_levels() {
        let level = AudioLevel { voice: true, decibels_below: 30 };
        assert_eq!(level.to_bytes(), [0x80 | 30]);
        assert_eq!(AudioLevel::parse(&level.to_bytes()), Some(level));
        assert_eq!(AudioLevel::parse(&[127, 0]), Some(AudioLevel { voice: false, decibels_below: 127 }));
        assert_eq!(AudioLevel::parse(&[]), None);
    }

    #[test]
    fn abs_send_time_wraps_after_64_seconds() {
        assert_eq!(abs_send_time(Duration::from_secs(1)), [0x04, 0, 0]);
        assert_eq!(abs_send_time(Duration::from_millis(63_500)), [0xfe, 0, 0]);
        assert_eq!(abs_send_time(Duration::from_secs(65)), [0x04, 0, 0]);
        assert_eq!(abs_send_time(Duration::from_secs(100_000_000)), abs_send_time(Duration::ZERO));
    }

    #[test]
    fn reads_transport_cc_numbers_of_both_versions() {
        assert_eq!(transport_cc_number(&[0x12, 0x34]), Some(0x1234));
        assert_eq!(transport_cc_number(&[0x12, 0x34, 0, 0]), Some(0x1234));
        assert_eq!(transport_cc_number(&[0x12]), None);
    }
}
