//! The noise of a line on which nobody speaks: at the level of its last silence, never digital zero.
//!
//! A caller who hears nothing at all believes that the line is dead. Not here: when it is due (`reception`), and what the peer's own
//! comfort noise packets look like (RFC 3389): only their level is taken.

use crate::level::{from_decibels, mean_square};

/// No noise is made louder: above, it is somebody's room and no line.
pub const LOUDEST: f32 = -50.0;

/// Nor softer: A-law would turn it into silence.
pub const SOFTEST: f32 = -66.0;

/// See the module.
#[derive(Clone, Debug)]
pub struct ComfortNoise {
    /// The mean square to make.
    level: f32,
    random: u32,
    /// The last sample of the low-pass: white noise hisses.
    last: f32,
}

impl ComfortNoise {
    /// Noise that differs from that of another `seed`.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        Self { level: from_decibels(START), random: seed, last: 0.0 }
    }

    /// A frame in which nobody spoke was heard.
    pub fn record_silence(&mut self, frame: &[i16]) {
        let heard = mean_square(frame).clamp(from_decibels(SOFTEST), from_decibels(LOUDEST));
        self.level += (heard - self.level) * LEARNING;
    }

    /// The peer said how loud its silence is: decibels below overload (RFC 3389 section 3.1).
    pub fn set_level(&mut self, below_overload: u8) {
        self.level = from_decibels((-f32::from(below_overload)).clamp(SOFTEST, LOUDEST));
    }

    /// Adds noise to the samples, `share` of it at the beginning and `share_end` at the end.
    pub fn add(&mut self, samples: &mut [i16], share: f32, share_end: f32) {
        // Uniform noise in -1..1 has a mean square of 1/3; the low-pass leaves (1 - a) / (1 + a) of it.
        let amplitude = (self.level * 3.0 * (1.0 + SMOOTH) / (1.0 - SMOOTH)).sqrt();
        let step = (share_end - share) / samples.len().max(1) as f32;
        for (n, sample) in samples.iter_mut().enumerate() {
            self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let white = (self.random >> 8) as f32 / (1_u32 << 23) as f32 - 1.0;
            self.last = self.last * SMOOTH + white * (1.0 - SMOOTH);
            let noise = self.last * amplitude * (share + step * n as f32);
            *sample = (f32::from(*sample) + noise).round() as i16;
        }
    }
}

/// Before anything was heard.
const START: f32 = -60.0;
/// A third of a new silence counts after about 100 ms.
const LEARNING: f32 = 0.1;
const SMOOTH: f32 = 0.5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::decibels;

    fn made(noise: &mut ComfortNoise) -> Vec<i16> {
        let mut out = vec![0; 16_000];
        noise.add(&mut out, 1.0, 1.0);
        out
    }

    #[test]
    fn it_is_as_loud_as_the_last_silence() {
        for amplitude in [35_i16, 50, 90] {
            let silence: Vec<i16> = (0..160).map(|n| if n % 2 == 0 { amplitude } else { -amplitude }).collect();
            let mut noise = ComfortNoise::new(1);
            (0..100).for_each(|_| noise.record_silence(&silence));
            let (heard, made) = (decibels(mean_square(&silence)), decibels(mean_square(&made(&mut noise))));
            assert!((heard - made).abs() < 1.0, "{heard} became {made}");
        }
    }

    #[test]
    fn it_is_never_zero_and_never_loud() {
        let mut noise = ComfortNoise::new(1);
        (0..100).for_each(|_| noise.record_silence(&[0; 160]));
        let level = decibels(mean_square(&made(&mut noise)));
        assert!((level - SOFTEST).abs() < 1.0, "{level}");
        (0..100).for_each(|_| noise.record_silence(&[9_000; 160]));
        let level = decibels(mean_square(&made(&mut noise)));
        assert!((level - LOUDEST).abs() < 1.0, "{level}");
        noise.set_level(127);
        assert!(made(&mut noise).iter().any(|&sample| sample != 0));
    }

    #[test]
    fn it_does_not_overflow_on_full_scale() {
        let mut loud = [i16::MAX; 160];
        ComfortNoise::new(3).add(&mut loud, 0.0, 1.0);
        assert!(loud.iter().all(|&sample| sample > 32_000));
    }
}
