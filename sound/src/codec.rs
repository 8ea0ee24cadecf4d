//! One direction of a telephone line in whichever codec was agreed: frames to payloads, payloads to samples.
//!
//! Not here: when a packet is due (`jitter`) and what stands in for a lost one of G.711 and G.722 (`concealment`).

use std::time::Duration;

use crate::g711;
use crate::g722::{G722Decoder, G722Encoder};
use crate::opus::{OpusDecoder, OpusEncoder, OpusError, OpusSettings};
use crate::{Codec, Rate};

/// The longest sound that a packet may carry: Opus's limit. A higher one would only let one packet fill more buffers.
pub const PACKET_MAX: Duration = Duration::from_millis(120);

/// Samples of [`PACKET_MAX`] at the wide rate: the size of a buffer that takes any decoded packet.
pub const PACKET_SAMPLES_MAX: usize = 1_920;

/// Frames to payloads.
pub enum Encoder {
    /// G.711 A-law.
    Pcma,
    /// G.711 mu-law.
    Pcmu,
    /// G.722.
    G722(G722Encoder),
    /// Opus, fed at the rate it was made for.
    Opus(OpusEncoder),
}

impl Encoder {
    /// An encoder for frames at `codec.rate()`.
    pub fn new(codec: Codec) -> Result<Self, OpusError> {
        Ok(match codec {
            Codec::Pcma => Self::Pcma,
            Codec::Pcmu => Self::Pcmu,
            Codec::G722 => Self::G722(G722Encoder::default()),
            Codec::Opus => Self::Opus(OpusEncoder::new(codec.rate(), OpusSettings::voice(codec.rate()))?),
        })
    }

    /// Codes one frame; the payload's bytes, at most [`crate::opus::OPUS_PACKET_MAX`].
    pub fn encode(&mut self, frame: &[i16], out: &mut [u8]) -> Result<usize, OpusError> {
        let len = frame.len().min(out.len());
        match self {
            Self::Pcma => g711::encode_a_law(frame, out),
            Self::Pcmu => g711::encode_mu_law(frame, out),
            Self::G722(encoder) => return Ok(encoder.encode(frame, out)),
            Self::Opus(encoder) => return encoder.encode(frame, out),
        }
        Ok(len)
    }
}

/// Payloads to samples.
pub enum Decoder {
    /// G.711 A-law.
    Pcma,
    /// G.711 mu-law.
    Pcmu,
    /// G.722.
    G722(G722Decoder),
    /// Opus, to the rate it was made for.
    Opus(OpusDecoder),
}

impl Decoder {
    /// A decoder to `rate`, which counts for Opus only: the others have one rate, `codec.rate()`.
    pub fn new(codec: Codec, rate: Rate) -> Result<Self, OpusError> {
        Ok(match codec {
            Codec::Pcma => Self::Pcma,
            Codec::Pcmu => Self::Pcmu,
            Codec::G722 => Self::G722(G722Decoder::default()),
            Codec::Opus => Self::Opus(OpusDecoder::new(rate)?),
        })
    }

    /// Decodes a payload; the number of samples. `out` should hold [`PACKET_SAMPLES_MAX`].
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, OpusError> {
        let len = payload.len().min(out.len());
        match self {
            Self::Pcma => g711::decode_a_law(payload, out),
            Self::Pcmu => g711::decode_mu_law(payload, out),
            Self::G722(decoder) => return Ok(decoder.decode(payload, out)),
            Self::Opus(decoder) => return decoder.decode(payload, out),
        }
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn tone(rate: Rate, hz: f64, samples: usize) -> Vec<i16> {
        (0..samples).map(|n| (8_000.0 * (TAU * hz * n as f64 / f64::from(rate.hz())).sin()) as i16).collect()
    }

    fn amplitude(samples: &[i16], rate: Rate, hz: f64) -> f64 {
        let step = TAU * hz / f64::from(rate.hz());
        let (re, im) = samples.iter().enumerate().fold((0.0, 0.0), |(re, im), (n, &s)| {
            (re + f64::from(s) * (step * n as f64).cos(), im + f64::from(s) * (step * n as f64).sin())
        });
        2.0 * f64::hypot(re, im) / samples.len() as f64
    }

    #[test]
    fn a_tone_comes_through_every_codec_at_its_level() {
        for codec in [Codec::Pcma, Codec::Pcmu, Codec::G722, Codec::Opus] {
            let rate = codec.rate();
            let sent = tone(rate, 1_000.0, 50 * rate.frame_samples());
            let (mut encoder, mut decoder) = (Encoder::new(codec).unwrap(), Decoder::new(codec, rate).unwrap());
            let mut heard = Vec::new();
            for frame in sent.chunks(rate.frame_samples()) {
                let (mut payload, mut samples) = ([0; 400], [0; PACKET_SAMPLES_MAX]);
                let bytes = encoder.encode(frame, &mut payload).unwrap();
                assert_eq!(codec.ticks(&payload[..bytes]), Some(codec.clock_hz() / 50), "{codec:?}");
                let count = decoder.decode(&payload[..bytes], &mut samples).unwrap();
                assert_eq!(count, frame.len(), "{codec:?}");
                heard.extend_from_slice(&samples[..count]);
            }
            let level = amplitude(&heard[heard.len() / 2..], rate, 1_000.0);
            assert!((7_200.0..8_800.0).contains(&level), "{codec:?}: {level}");
        }
    }

    #[test]
    fn opus_decodes_one_stream_to_either_rate() {
        let sent = tone(Rate::Wide, 700.0, 50 * 320);
        let mut encoder = OpusEncoder::new(Rate::Wide, OpusSettings::voice(Rate::Wide)).unwrap();
        for rate in [Rate::Narrow, Rate::Wide] {
            let mut decoder = Decoder::new(Codec::Opus, rate).unwrap();
            let mut heard = Vec::new();
            for frame in sent.chunks(320) {
                let (mut packet, mut samples) = ([0; 400], [0; PACKET_SAMPLES_MAX]);
                let bytes = encoder.encode(frame, &mut packet).unwrap();
                let count = decoder.decode(&packet[..bytes], &mut samples).unwrap();
                assert_eq!(count, rate.frame_samples());
                heard.extend_from_slice(&samples[..count]);
            }
            assert!((7_000.0..9_000.0).contains(&amplitude(&heard[heard.len() / 2..], rate, 700.0)));
        }
    }

    #[test]
    fn opus_conceals_a_loss_and_recovers_it_from_the_next_packet() {
        let settings = OpusSettings::voice(Rate::Narrow).against_loss(20);
        let mut encoder = OpusEncoder::new(Rate::Narrow, settings).unwrap();
        // A voice whose pitch rises: what is repeated out of the past has the wrong pitch, what was recovered the right one.
        let sent: Vec<i16> = (0..16_000)
            .map(|n| {
                let t = n as f64 / 8_000.0;
                let phase = TAU * (100.0 * t + 60.0 * t * t);
                let voice: f64 = (1..20).map(|k| (f64::from(k) * phase).sin() / f64::from(k)).sum();
                // Syllables: what sounds without a pause is noise to the encoder, and not repeated.
                let syllable = (TAU * 2.0 * t).sin().max(0.0);
                (5_000.0 * syllable * voice) as i16
            })
            .collect();
        let packets: Vec<Vec<u8>> = sent
            .chunks(160)
            .map(|frame| {
                let mut packet = [0; 400];
                let bytes = encoder.encode(frame, &mut packet).unwrap();
                packet[..bytes].to_vec()
            })
            .collect();
        let error = |with_next: bool| {
            let mut whole = OpusDecoder::new(Rate::Narrow).unwrap();
            let mut holed = OpusDecoder::new(Rate::Narrow).unwrap();
            let mut sum = 0.0;
            for (n, packet) in packets.iter().enumerate() {
                let (mut right, mut guessed) = ([0; 160], [0; 160]);
                whole.decode(packet, &mut right).unwrap();
                if n % 10 == 5 {
                    let next = packets.get(n + 1).filter(|_| with_next).map(Vec::as_slice);
                    assert_eq!(holed.conceal(next, &mut guessed), Ok(160));
                    sum += right.iter().zip(guessed).map(|(&a, b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>();
                } else {
                    holed.decode(packet, &mut guessed).unwrap();
                }
            }
            sum
        };
        assert!(error(true) < error(false) / 2.0, "{} against {}", error(true), error(false));
    }

    #[test]
    fn what_is_no_opus_packet_is_refused_and_harms_nothing() {
        let mut decoder = OpusDecoder::new(Rate::Wide).unwrap();
        let mut out = [0; PACKET_SAMPLES_MAX];
        for bad in [&[][..], &[0xff], &[3, 63], &[0xff; 1_500]] {
            assert_eq!(decoder.decode(bad, &mut out), Err(OpusError), "{bad:?}");
        }
        let mut encoder = OpusEncoder::new(Rate::Wide, OpusSettings::voice(Rate::Wide)).unwrap();
        let mut packet = [0; 400];
        let bytes = encoder.encode(&[0; 320], &mut packet).unwrap();
        assert_eq!(decoder.decode(&packet[..bytes], &mut out), Ok(320));
    }
}
