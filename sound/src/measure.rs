//! Measures of recorded sound, for tests: is the tone there, how late, with how many holes.
//!
//! Not for calls: nothing here is made to be fast. Levels are amplitudes in samples' units, so that what was sent with 8,000 is
//! heard with 8,000.

use std::f64::consts::TAU;

use crate::level::{decibels, mean_square};

/// The amplitude of the tone of `tone_hz` in sound at `hz`.
#[must_use]
pub fn amplitude_of(samples: &[i16], hz: u32, tone_hz: f64) -> f64 {
    let step = TAU * tone_hz / f64::from(hz);
    let (re, im) = samples.iter().enumerate().fold((0.0, 0.0), |(re, im), (n, &sample)| {
        let angle = step * n as f64;
        (re + f64::from(sample) * angle.cos(), im + f64::from(sample) * angle.sin())
    });
    2.0 * f64::hypot(re, im) / samples.len().max(1) as f64
}

/// What can be said of a recording at a glance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Length.
    pub seconds: f64,
    /// The largest sample.
    pub peak: u16,
    /// The root mean square in dBFS.
    pub decibels: f32,
    /// Samples at the very top: clipping.
    pub clipped: usize,
}

/// Measures the recording as a whole.
#[must_use]
pub fn summary(samples: &[i16], hz: u32) -> Summary {
    Summary {
        seconds: samples.len() as f64 / f64::from(hz),
        peak: samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0),
        decibels: decibels(mean_square(samples)),
        clipped: samples.iter().filter(|sample| sample.unsigned_abs() >= 32_767).count(),
    }
}

/// How many holes of 10 ms and more, softer than `quiet` dBFS, lie between the first and the last sound.
#[must_use]
pub fn gaps(samples: &[i16], hz: u32, quiet: f32) -> usize {
    let pieces: Vec<bool> =
        samples.chunks_exact(hz as usize / 100).map(|piece| decibels(mean_square(piece)) < quiet).collect();
    let first = pieces.iter().position(|&is_quiet| !is_quiet).unwrap_or(0);
    let last = pieces.iter().rposition(|&is_quiet| !is_quiet).unwrap_or(0);
    pieces.get(first..last).unwrap_or_default().windows(2).filter(|pair| pair[1] && !pair[0]).count()
}

/// A tone that rises from 300 to 3,000 Hz: what [`delay`] finds best.
#[must_use]
pub fn chirp(hz: u32, seconds: f64, amplitude: f64) -> Vec<i16> {
    let samples = (seconds * f64::from(hz)) as usize;
    (0..samples)
        .map(|n| {
            let t = n as f64 / f64::from(hz);
            let phase = TAU * (300.0 * t + 1_350.0 * t * t / seconds);
            (amplitude * phase.sin()) as i16
        })
        .collect()
}

/// At which sample of `recording` the `sent` sound begins, by cross-correlation, and how alike they are there (1: the same but
/// for loudness). `None` when the recording is shorter than what was sent.
#[must_use]
pub fn delay(sent: &[i16], recording: &[i16]) -> Option<(usize, f64)> {
    let energy = |samples: &[i16]| samples.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>();
    let sent_energy = energy(sent).max(1.0);
    let mut best = (0, 0.0);
    for (start, window) in recording.windows(sent.len().max(1)).enumerate() {
        let product: f64 = sent.iter().zip(window).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        let likeness = product / (sent_energy * energy(window).max(1.0)).sqrt();
        if likeness > best.1 {
            best = (start, likeness);
        }
    }
    (recording.len() >= sent.len()).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rate;
    use crate::tones::Tone;

    fn tone(hz: f32, amplitude: f32, samples: usize) -> Vec<i16> {
        let mut out = vec![0; samples];
        Tone::new(hz, amplitude, Rate::Narrow).fill(&mut out);
        out
    }

    #[test]
    fn a_tone_is_measured_at_its_own_frequency_only() {
        let sound = tone(1_000.0, 8_000.0, 8_000);
        assert!((amplitude_of(&sound, 8_000, 1_000.0) - 8_000.0).abs() < 5.0);
        assert!(amplitude_of(&sound, 8_000, 440.0) < 5.0);
        assert_eq!(amplitude_of(&[], 8_000, 440.0), 0.0);
    }

    #[test]
    fn holes_are_counted_within_the_sound_only() {
        let mut sound = tone(500.0, 5_000.0, 8_000);
        sound[..800].fill(0);
        sound[2_000..2_400].fill(0);
        sound[4_000..4_200].fill(0);
        sound[7_000..].fill(0);
        assert_eq!(gaps(&sound, 8_000, -50.0), 2);
        assert_eq!(gaps(&[0; 800], 8_000, -50.0), 0);
    }

    #[test]
    fn a_delay_is_found_to_the_sample_in_noise_and_at_another_level() {
        let sent = chirp(8_000, 0.2, 8_000.0);
        let mut random = 1_u32;
        let mut recording: Vec<i16> = (0..4_000)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 22) as i16 - 512
            })
            .collect();
        recording[1_234..1_234 + sent.len()].iter_mut().zip(&sent).for_each(|(a, b)| *a += b / 3);
        let (place, likeness) = delay(&sent, &recording).unwrap();
        assert_eq!(place, 1_234);
        assert!(likeness > 0.95);
        assert_eq!(delay(&sent, &recording[..100]), None);
    }

    #[test]
    fn a_summary_tells_length_level_and_clipping() {
        let told = summary(&tone(500.0, 3_276.8, 4_000), 8_000);
        assert!((told.seconds - 0.5).abs() < 1e-9 && told.peak == 3_276 && told.clipped == 0);
        assert!((told.decibels + 23.0).abs() < 0.1);
        assert_eq!(summary(&[i16::MIN, i16::MAX, 0], 8_000).clipped, 2);
    }
}
