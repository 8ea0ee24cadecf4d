//! Between 8 and 16 kHz, by a half-band filter of 47 taps.
//!
//! Needed only where a narrow and a wide line meet; G.711 alone never is. Flat to 3.4 kHz, 60 dB down from 4.6 kHz, 1.4 ms of delay.
//! Not here: any other ratio.

use crate::{FRAME_SAMPLES_MAX, Rate};

/// Pairs of taps beside the middle one; every second tap of a half-band filter is zero.
const PAIRS: usize = 12;
/// Samples that the filter looks back at 16 kHz.
const REACH: usize = 4 * PAIRS - 2;

/// The taps at odd distances 1, 3, 5 ... from the middle: a sinc under a Kaiser window (beta 6).
fn taps() -> [f32; PAIRS] {
    let bessel = |x: f64| {
        let (mut sum, mut term) = (1.0, 1.0);
        for k in 1..30 {
            term *= (x / 2.0 / f64::from(k)).powi(2);
            sum += term;
        }
        sum
    };
    let mut taps: [f64; PAIRS] = std::array::from_fn(|n| {
        let distance = (2 * n + 1) as f64;
        let window = bessel(6.0 * (1.0 - (distance / (2.0 * PAIRS as f64)).powi(2)).sqrt()) / bessel(6.0);
        let angle = std::f64::consts::PI * distance / 2.0;
        0.5 * angle.sin() / angle * window
    });
    // A constant has to stay what it is: all taps together are one.
    let sum: f64 = taps.iter().sum();
    taps.iter_mut().for_each(|tap| *tap *= 0.25 / sum);
    taps.map(|tap| tap as f32)
}

/// 16 kHz to 8.
pub struct Downsampler {
    taps: [f32; PAIRS],
    past: [f32; REACH],
}

impl Default for Downsampler {
    fn default() -> Self {
        Self { taps: taps(), past: [0.0; REACH] }
    }
}

impl Downsampler {
    /// One wide frame to one narrow frame.
    pub fn process(&mut self, wide: &[i16], narrow: &mut [i16]) {
        let mut line = [0.0; REACH + FRAME_SAMPLES_MAX];
        line[..REACH].copy_from_slice(&self.past);
        let len = wide.len().min(FRAME_SAMPLES_MAX);
        for (value, &sample) in line[REACH..].iter_mut().zip(wide) {
            *value = f32::from(sample);
        }
        for (n, out) in narrow.iter_mut().enumerate().take(len / 2) {
            let middle = 2 * n + 1 + REACH / 2;
            let mut sum = 0.5 * line[middle];
            for (k, tap) in self.taps.iter().enumerate() {
                sum += tap * (line[middle - 2 * k - 1] + line[middle + 2 * k + 1]);
            }
            *out = saturated(sum);
        }
        self.past.copy_from_slice(&line[len..len + REACH]);
    }
}

/// 8 kHz to 16.
pub struct Upsampler {
    taps: [f32; PAIRS],
    past: [f32; 2 * PAIRS - 1],
}

impl Default for Upsampler {
    fn default() -> Self {
        Self { taps: taps(), past: [0.0; 2 * PAIRS - 1] }
    }
}

impl Upsampler {
    /// One narrow frame to one wide frame.
    pub fn process(&mut self, narrow: &[i16], wide: &mut [i16]) {
        const PAST: usize = 2 * PAIRS - 1;
        let mut line = [0.0; PAST + FRAME_SAMPLES_MAX / 2];
        line[..PAST].copy_from_slice(&self.past);
        let len = narrow.len().min(FRAME_SAMPLES_MAX / 2);
        for (value, &sample) in line[PAST..].iter_mut().zip(narrow) {
            *value = f32::from(sample);
        }
        for (n, pair) in wide.chunks_exact_mut(2).enumerate().take(len) {
            // Old samples stay, between them lies what the filter makes of their neighbours.
            let before = n + PAIRS - 1;
            let mut sum = 0.0;
            for (k, tap) in self.taps.iter().enumerate() {
                sum += 2.0 * tap * (line[before - k] + line[before + 1 + k]);
            }
            pair[0] = saturated(line[before]);
            pair[1] = saturated(sum);
        }
        self.past.copy_from_slice(&line[len..len + PAST]);
    }
}

fn saturated(sample: f32) -> i16 {
    sample.round().clamp(f32::from(i16::MIN), f32::from(i16::MAX)) as i16
}

/// Brings frames from one rate to another, or leaves them as they are.
pub enum Resampler {
    /// Both rates are the same.
    None,
    /// 16 kHz to 8.
    Down(Downsampler),
    /// 8 kHz to 16.
    Up(Upsampler),
}

impl Resampler {
    /// What is needed between the two.
    #[must_use]
    pub fn between(from: Rate, to: Rate) -> Self {
        match (from, to) {
            (Rate::Narrow, Rate::Wide) => Self::Up(Upsampler::default()),
            (Rate::Wide, Rate::Narrow) => Self::Down(Downsampler::default()),
            _ => Self::None,
        }
    }

    /// One frame at the one rate to one at the other.
    pub fn process(&mut self, frame: &[i16], out: &mut [i16]) {
        match self {
            Self::None => out[..frame.len()].copy_from_slice(frame),
            Self::Down(filter) => filter.process(frame, out),
            Self::Up(filter) => filter.process(frame, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::amplitude_of;
    use crate::tones::Tone;

    fn through(from: Rate, to: Rate, hz: f32) -> Vec<i16> {
        let (mut tone, mut resampler) = (Tone::new(hz, 10_000.0, from), Resampler::between(from, to));
        let mut all = Vec::new();
        for _ in 0..50 {
            let (mut frame, mut out) = (vec![0; from.frame_samples()], vec![0; to.frame_samples()]);
            tone.fill(&mut frame);
            resampler.process(&frame, &mut out);
            all.extend(out);
        }
        all.split_off(to.frame_samples())
    }

    #[test]
    fn what_a_telephone_carries_keeps_its_level() {
        for hz in [100.0, 300.0, 1_000.0, 2_500.0, 3_400.0] {
            for (from, to) in [(Rate::Narrow, Rate::Wide), (Rate::Wide, Rate::Narrow)] {
                let level = amplitude_of(&through(from, to, hz), to.hz(), f64::from(hz));
                assert!((9_700.0..10_300.0).contains(&level), "{hz} Hz from {from:?}: {level}");
            }
        }
    }

    #[test]
    fn what_cannot_be_carried_is_not_folded_down() {
        for hz in [4_700.0, 5_500.0, 7_000.0] {
            let folded = amplitude_of(&through(Rate::Wide, Rate::Narrow, hz), 8_000, f64::from(8_000.0 - hz));
            assert!(folded < 15.0, "{hz} Hz: {folded}");
        }
        for hz in [300.0, 1_000.0, 3_300.0] {
            let image = amplitude_of(&through(Rate::Narrow, Rate::Wide, hz), 16_000, f64::from(8_000.0 - hz));
            assert!(image < 15.0, "{hz} Hz: {image}");
        }
    }

    #[test]
    fn full_scale_saturates_and_equal_rates_change_nothing() {
        let mut out = [0; 320];
        let mut upsampler = Upsampler::default();
        for _ in 0..3 {
            upsampler.process(&[i16::MAX; 160], &mut out);
        }
        assert!(out.iter().all(|&sample| sample >= 32_600));
        let frame: [i16; 160] = std::array::from_fn(|n| n as i16 * 100);
        Resampler::between(Rate::Narrow, Rate::Narrow).process(&frame, &mut out[..160]);
        assert_eq!(out[..160], frame);
    }
}
