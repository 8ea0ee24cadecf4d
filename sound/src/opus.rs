//! Opus (RFC 6716) by libopus, straight at the rate of the line.
//!
//! An A-law call is coded from 8 kHz and decoded to 8 kHz: libopus needs no resampler, and an encoder at 8 kHz costs a third of
//! one at 48 kHz. Decoding conceals: from the next packet's copy of the lost frame (FEC) or out of the past. Not here: RTP,
//! whose clock counts 48,000 ticks a second whatever the rate (RFC 7587 section 4.1).

use opus::{Application, Bitrate, Channels, Signal};

use crate::Rate;

/// The longest packet that [`OpusEncoder::encode`] makes: 20 ms at 64 kbit/s would be 160 bytes, so this is never met.
pub const OPUS_PACKET_MAX: usize = 400;

/// What an encoder may spend and must withstand. Each may change between two frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusSettings {
    /// 0 to 10; 5 is the product's, 2 when the media clock runs late.
    pub complexity: u8,
    /// Bits a second.
    pub bits_per_second: u32,
    /// Whether each packet repeats the one before in short, for a receiver that lost it.
    pub is_fec_on: bool,
    /// Percent of packets that receivers report lost: how much the repetition may cost.
    pub loss_percent: u8,
}

impl OpusSettings {
    /// What a voice at that rate needs.
    #[must_use]
    pub const fn voice(rate: Rate) -> Self {
        let bits_per_second = match rate {
            Rate::Narrow => 16_000,
            Rate::Wide => 24_000,
        };
        Self { complexity: 5, bits_per_second, is_fec_on: false, loss_percent: 0 }
    }

    /// The same voice for receivers that lose packets: with repetition, and the bits without which libopus leaves it out
    /// (at 16 kbit/s and 8 kHz it does, silently).
    #[must_use]
    pub const fn against_loss(self, loss_percent: u8) -> Self {
        Self { is_fec_on: true, loss_percent, bits_per_second: self.bits_per_second + 8_000, ..self }
    }
}

/// libopus refused; never because of what a stranger sent, except in [`OpusDecoder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusError;

impl std::fmt::Display for OpusError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("libopus refused the packet or the setting")
    }
}

impl std::error::Error for OpusError {}

impl From<opus::Error> for OpusError {
    fn from(_: opus::Error) -> Self {
        Self
    }
}

/// Makes one packet of each frame.
pub struct OpusEncoder {
    inner: opus::Encoder,
    settings: OpusSettings,
}

impl OpusEncoder {
    /// An encoder that is fed at `rate`.
    pub fn new(rate: Rate, settings: OpusSettings) -> Result<Self, OpusError> {
        let mut inner = opus::Encoder::new(rate.hz(), Channels::Mono, Application::Voip)?;
        inner.set_signal(Signal::Voice)?;
        let mut encoder = Self { inner, settings };
        encoder.apply(settings)?;
        Ok(encoder)
    }

    /// What is in force.
    #[must_use]
    pub fn settings(&self) -> OpusSettings {
        self.settings
    }

    /// In force from the next frame on; costs nothing when nothing changed.
    pub fn set(&mut self, settings: OpusSettings) -> Result<(), OpusError> {
        if settings == self.settings {
            return Ok(());
        }
        self.apply(settings)
    }

    fn apply(&mut self, settings: OpusSettings) -> Result<(), OpusError> {
        self.inner.set_complexity(i32::from(settings.complexity.min(10)))?;
        self.inner.set_bitrate(Bitrate::Bits(settings.bits_per_second.clamp(6_000, 64_000) as i32))?;
        self.inner.set_inband_fec(settings.is_fec_on)?;
        self.inner.set_packet_loss_perc(i32::from(settings.loss_percent.min(100)))?;
        self.settings = settings;
        Ok(())
    }

    /// Codes one frame; the packet's bytes. `out` should hold [`OPUS_PACKET_MAX`].
    pub fn encode(&mut self, frame: &[i16], out: &mut [u8]) -> Result<usize, OpusError> {
        Ok(self.inner.encode(frame, out)?)
    }
}

/// Makes samples of packets, and of their absence.
pub struct OpusDecoder {
    inner: opus::Decoder,
}

impl OpusDecoder {
    /// A decoder that gives samples at `rate`.
    pub fn new(rate: Rate) -> Result<Self, OpusError> {
        Ok(Self { inner: opus::Decoder::new(rate.hz(), Channels::Mono)? })
    }

    /// Decodes a packet; the number of samples. Fails on what is no packet, and on one that is longer than `out`.
    pub fn decode(&mut self, packet: &[u8], out: &mut [i16]) -> Result<usize, OpusError> {
        // To the library no bytes mean a loss.
        if packet.is_empty() {
            return Err(OpusError);
        }
        Ok(self.inner.decode(packet, out, false)?)
    }

    /// Fills `out` (a multiple of 2.5 ms) with the lost sound: out of `next`, the packet that followed it, which may carry a copy,
    /// or else out of the past.
    pub fn conceal(&mut self, next: Option<&[u8]>, out: &mut [i16]) -> Result<usize, OpusError> {
        let recovered = next.filter(|packet| !packet.is_empty()).map(|packet| self.inner.decode(packet, out, true));
        match recovered {
            Some(Ok(samples)) => Ok(samples),
            _ => Ok(self.inner.decode(&[], out, false)?),
        }
    }
}

/// How long the packet is, in ticks of RTP's clock of 48 kHz, read from its first bytes (RFC 6716 section 3).
#[must_use]
pub fn samples_at_48_khz(packet: &[u8]) -> Option<u32> {
    let samples = opus::packet::get_nb_samples(packet, 48_000).ok()?;
    u32::try_from(samples).ok().filter(|&samples| samples > 0)
}
