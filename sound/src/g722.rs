//! G.722 at 64 kbit/s (ITU-T G.722, mode 1): 320 samples at 16 kHz are 160 bytes.
//!
//! A thin wrapper, so that no other file names the library; what is ours are the lengths.

use audio_codec::g722;
use audio_codec::{Decoder as _, Encoder as _};

/// Two samples become a byte.
#[derive(Default)]
pub struct G722Encoder(Box<g722::G722Encoder>);

/// A byte becomes two samples.
#[derive(Default)]
pub struct G722Decoder(Box<g722::G722Decoder>);

impl G722Encoder {
    /// Codes an even number of samples at 16 kHz; the number of bytes, half as many. An `out` that is too short
    /// takes what fits.
    pub fn encode(&mut self, samples: &[i16], out: &mut [u8]) -> usize {
        let pairs = (samples.len() / 2).min(out.len());
        self.0.encode_into(&samples[..2 * pairs], &mut out[..pairs]).unwrap_or(0)
    }
}

impl G722Decoder {
    /// Decodes to 16 kHz; the number of samples, twice the bytes. An `out` that is too short takes what fits.
    pub fn decode(&mut self, bytes: &[u8], out: &mut [i16]) -> usize {
        let pairs = bytes.len().min(out.len() / 2);
        self.0.decode_into(&bytes[..pairs], &mut out[..2 * pairs]).unwrap_or(0)
    }
}
