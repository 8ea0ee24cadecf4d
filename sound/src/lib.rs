//! Telephone sound: codecs, jitter buffer, concealment, tones and mixing, 20 ms at a time.
//!
//! Pure values without I/O, clock or lock: whoever owns the sockets hands packets and instants in and takes frames out.
//! Not here: RTP headers, SRTP, SDP, and who may hear whom. Samples are 16-bit mono throughout; a *frame* is 20 ms of
//! them, at the narrow or the wide [`Rate`].
//!
//! ```text
//!   telephone ─RTP─► Reception (jitter buffer ► decoder ► concealment, comfort noise) ► Gain ─► Mixer ─► Opus encoder ─► SFU
//!   telephone ◄─RTP─ Encoder ◄─ Limiter ◄─ mix of the others ◄─ Mixer ◄─ Reception (Opus) ◄─ SFU
//! ```

use std::time::Duration;

pub mod activity;
pub mod codec;
pub mod comfort_noise;
pub mod concealment;
pub mod event;
pub mod g711;
pub mod g722;
pub mod gain;
pub mod jitter;
pub mod key;
pub mod level;
pub mod limiter;
pub mod measure;
pub mod mixer;
pub mod opus;
pub mod reception;
pub mod resample;
pub mod tones;
pub mod wav;

/// How much sound one step of everything here is.
pub const FRAME: Duration = Duration::from_millis(20);

/// Samples of a wide frame, the longest: the size of a buffer that takes any frame.
pub const FRAME_SAMPLES_MAX: usize = 320;

/// At how many samples a second sound is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rate {
    /// 8 kHz: A-law and mu-law. libopus codes it directly, so nothing is ever resampled for these.
    Narrow,
    /// 16 kHz: G.722 and Opus.
    Wide,
}

impl Rate {
    /// Samples a second.
    #[must_use]
    pub const fn hz(self) -> u32 {
        match self {
            Self::Narrow => 8_000,
            Self::Wide => 16_000,
        }
    }

    /// Samples of one frame of 20 ms.
    #[must_use]
    pub const fn frame_samples(self) -> usize {
        match self {
            Self::Narrow => 160,
            Self::Wide => FRAME_SAMPLES_MAX,
        }
    }

    /// How many samples `milliseconds` are.
    #[must_use]
    pub const fn samples(self, milliseconds: usize) -> usize {
        self.hz() as usize / 1_000 * milliseconds
    }
}

/// A codec of a telephone line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 A-law, Europe's.
    Pcma,
    /// G.711 mu-law, America's and Japan's.
    Pcmu,
    /// G.722 at 64 kbit/s.
    G722,
    /// Opus (RFC 6716).
    Opus,
}

impl Codec {
    /// The encoding name of SDP (RFC 3551, RFC 7587).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcma => "PCMA",
            Self::Pcmu => "PCMU",
            Self::G722 => "G722",
            Self::Opus => "opus",
        }
    }

    /// Ticks a second of the RTP clock. G.722's says 8,000 although it samples at 16 kHz (RFC 3551 section 4.5.2).
    #[must_use]
    pub const fn clock_hz(self) -> u32 {
        match self {
            Self::Pcma | Self::Pcmu | Self::G722 => 8_000,
            Self::Opus => 48_000,
        }
    }

    /// The static payload type (RFC 3551 section 6), where there is one.
    #[must_use]
    pub const fn static_payload_type(self) -> Option<u8> {
        match self {
            Self::Pcma => Some(8),
            Self::Pcmu => Some(0),
            Self::G722 => Some(9),
            Self::Opus => None,
        }
    }

    /// The rate at which its sound is worked on without loss.
    #[must_use]
    pub const fn rate(self) -> Rate {
        match self {
            Self::Pcma | Self::Pcmu => Rate::Narrow,
            Self::G722 | Self::Opus => Rate::Wide,
        }
    }

    /// How long the packet's sound is, in ticks of [`Codec::clock_hz`]; `None` for a payload that is no packet of this codec
    /// or is longer than [`codec::PACKET_MAX`].
    #[must_use]
    pub fn ticks(self, payload: &[u8]) -> Option<u32> {
        let ticks = match self {
            // A byte is a sample of G.711, and two of G.722, whose clock counts them as one.
            Self::Pcma | Self::Pcmu | Self::G722 => u32::try_from(payload.len()).ok()?,
            Self::Opus => crate::opus::samples_at_48_khz(payload)?,
        };
        let longest = self.clock_hz() / 1_000 * codec::PACKET_MAX.as_millis() as u32;
        (1..=longest).contains(&ticks).then_some(ticks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_20_ms_at_every_rate() {
        for rate in [Rate::Narrow, Rate::Wide] {
            assert_eq!(rate.frame_samples(), rate.samples(20));
            assert_eq!(rate.frame_samples() as u32 * 50, rate.hz());
        }
    }

    #[test]
    fn a_packet_of_20_ms_is_20_ms_of_the_codecs_clock() {
        for codec in [Codec::Pcma, Codec::Pcmu, Codec::G722] {
            assert_eq!(codec.ticks(&[0x55; 160]), Some(codec.clock_hz() / 50));
        }
        // Configuration 9: SILK, wide band, 20 ms; one frame.
        assert_eq!(Codec::Opus.ticks(&[9 << 3, 0]), Some(960));
    }

    #[test]
    fn a_packet_without_sound_or_with_too_much_is_none() {
        assert_eq!(Codec::Pcma.ticks(&[]), None);
        assert_eq!(Codec::Pcma.ticks(&[0; 961]), None);
        assert_eq!(Codec::Opus.ticks(&[]), None);
        // Code 3 with a count of no frames.
        assert_eq!(Codec::Opus.ticks(&[(9 << 3) | 3, 0]), None);
    }
}
