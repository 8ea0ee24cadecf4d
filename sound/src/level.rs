//! How loud a frame is: the audio level of RFC 6464 and the root mean square behind it.
//!
//! Not here: whether it is speech (`activity`).

/// Level below overload, in decibels: 0 is the loudest there is, 127 silence (RFC 6464 section 3). The root mean square of
/// full scale is the reference, so that a full-scale sine has 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u8);

impl Level {
    /// Digital silence.
    pub const SILENCE: Self = Self(127);

    /// The level of these samples.
    #[must_use]
    pub fn of(samples: &[i16]) -> Self {
        Self::of_mean_square(mean_square(samples))
    }

    /// The level that a mean square has.
    #[must_use]
    pub fn of_mean_square(mean_square: f32) -> Self {
        let below = -decibels(mean_square);
        Self(below.clamp(0.0, 127.0).round() as u8)
    }

    /// The value of the header extension: decibels below overload.
    #[must_use]
    pub fn below_overload(self) -> u8 {
        self.0
    }
}

/// The mean of the samples' squares; 0 for none.
#[must_use]
pub fn mean_square(samples: &[i16]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let chunks = samples.chunks_exact(8);
    let rest: f32 = chunks.remainder().iter().map(|&sample| f32::from(sample) * f32::from(sample)).sum();
    for chunk in chunks {
        for (lane, &sample) in lanes.iter_mut().zip(chunk) {
            *lane += f32::from(sample) * f32::from(sample);
        }
    }
    (lanes.iter().sum::<f32>() + rest) / samples.len().max(1) as f32
}

/// A mean square in decibels of full scale (dBFS, at most 0); silence is far below -127.
#[must_use]
pub fn decibels(mean_square: f32) -> f32 {
    10.0 * (mean_square / FULL_SCALE + 1e-20).log10()
}

/// The mean square that is `decibels` of full scale.
#[must_use]
pub fn from_decibels(decibels: f32) -> f32 {
    FULL_SCALE * 10.0_f32.powf(decibels / 10.0)
}

const FULL_SCALE: f32 = 32_768.0 * 32_768.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_rfc_6464() {
        let sine = |amplitude: f64| -> Vec<i16> {
            (0..160).map(|n| (amplitude * (f64::from(n) * std::f64::consts::TAU / 8.0).sin()) as i16).collect()
        };
        let cases =
            [(vec![0; 160], 127), (vec![i16::MIN; 160], 0), (sine(32_767.0), 3), (sine(3_276.7), 23), (vec![], 127)];
        for (samples, expected) in cases {
            assert_eq!(Level::of(&samples).below_overload(), expected);
        }
        assert!(Level::of(&[1; 163]).below_overload() == 90);
    }

    #[test]
    fn decibels_and_squares_are_each_others_inverse() {
        for level in [-60.0, -23.0, 0.0] {
            assert!((decibels(from_decibels(level)) - level).abs() < 0.01);
        }
    }
}
