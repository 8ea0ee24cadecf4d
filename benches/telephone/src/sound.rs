//! What telephones and doctors say, encoded beforehand: a voice, or near silence with a burst every second.
//!
//! The voice is made, not recorded: harmonics of a wandering pitch in syllables. An encoder works on it as on speech.

use std::f64::consts::TAU;

use colloque_sound::codec::Encoder;
use colloque_sound::opus::OpusError;
use colloque_sound::{Codec, Rate};

/// Packets of 20 ms that are said over and over.
pub type Loop = Vec<Vec<u8>>;

/// A second of frames: what a burst's period is too.
pub const LOOP_FRAMES: usize = 50;
/// The burst begins with this frame of the second.
pub const BURST_AT: usize = 10;
const BURST_FRAMES: usize = 5;
/// Above this a frame is of a burst: between what silence is raised to and what a burst is lowered to, by any gain.
pub const LOUD: u8 = 33;

pub fn voice(codec: Codec) -> Result<Loop, OpusError> {
    encoded(codec, |t| {
        let pitch = 120.0 + 30.0 * (TAU * t).sin();
        let syllable = (TAU * 2.0 * t).sin().abs();
        let harmonics: f64 = (1..12).map(|n| (TAU * pitch * f64::from(n) * t).sin() / f64::from(n)).sum();
        3_000.0 * syllable * harmonics
    })
}

pub fn bursts(codec: Codec) -> Result<Loop, OpusError> {
    let burst = BURST_AT..BURST_AT + BURST_FRAMES;
    encoded(codec, move |t| {
        let amplitude = if burst.contains(&((t * 50.0) as usize)) { 12_000.0 } else { 20.0 };
        amplitude * (TAU * 600.0 * t).sin()
    })
}

fn encoded(codec: Codec, at: impl Fn(f64) -> f64) -> Result<Loop, OpusError> {
    let rate: Rate = codec.rate();
    let mut encoder = Encoder::new(codec)?;
    (0..LOOP_FRAMES)
        .map(|frame| {
            let len = rate.frame_samples();
            let time = |n: usize| (frame * len + n) as f64 / f64::from(rate.hz());
            let samples: Vec<i16> = (0..len).map(|n| at(time(n)) as i16).collect();
            let mut packet = [0; 400];
            let len = encoder.encode(&samples, &mut packet)?;
            Ok(packet[..len].to_vec())
        })
        .collect()
}
