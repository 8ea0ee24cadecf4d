//! Keeps a mix below full scale without the crackle of clipping, by looking 5 ms ahead.
//!
//! The gain between two blocks of 5 ms is the least that either needs, and runs linearly within one: so it is never more than a
//! block needs, and the output cannot exceed [`CEILING`]. Costs 5 ms of delay. Not here: making quiet voices louder (`gain`).

use crate::{FRAME_SAMPLES_MAX, Rate};

/// The highest sample that comes out: 1 dB below full scale, which leaves room for what a codec adds.
pub const CEILING: i32 = 29_204;

/// Blocks in a frame.
const BLOCKS: usize = 4;

/// See the module.
#[derive(Clone)]
pub struct Limiter {
    block: usize,
    /// The block that is held back, and the gain that it needs.
    held: [i32; FRAME_SAMPLES_MAX / BLOCKS],
    needed: f32,
    /// The gain at the end of what was given out.
    gain: f32,
}

impl Limiter {
    /// A limiter at that rate, which begins with 5 ms of silence.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { block: rate.frame_samples() / BLOCKS, held: [0; FRAME_SAMPLES_MAX / BLOCKS], needed: 1.0, gain: 1.0 }
    }

    /// One frame in, one frame out, 5 ms older.
    pub fn process(&mut self, frame: &[i32], out: &mut [i16]) {
        for (block, out) in frame.chunks_exact(self.block).zip(out.chunks_exact_mut(self.block)) {
            let peak = block.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
            let needed = if peak <= CEILING as u32 { 1.0 } else { CEILING as f32 / peak as f32 };
            let end = self.needed.min(needed).min(self.gain * RELEASE);
            let step = (end - self.gain) / self.block as f32;
            let held = &mut self.held[..self.block];
            if self.gain == 1.0 && end == 1.0 {
                for (out, &sample) in out.iter_mut().zip(held.iter()) {
                    *out = sample as i16;
                }
            } else {
                for (n, (out, &sample)) in out.iter_mut().zip(held.iter()).enumerate() {
                    let scaled = sample as f32 * (self.gain + step * n as f32);
                    *out = scaled.clamp(-CEILING as f32, CEILING as f32) as i16;
                }
            }
            held.copy_from_slice(block);
            (self.needed, self.gain) = (needed, end);
        }
    }
}

/// How much a block may be louder than the one before when the loud part is over: 6 dB in 60 ms. Faster pumps, slower swallows the
/// word after a cough.
const RELEASE: f32 = 1.06;

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rate: Rate, input: &[i32]) -> Vec<i16> {
        let mut limiter = Limiter::new(rate);
        let mut all = Vec::new();
        for frame in input.chunks_exact(rate.frame_samples()) {
            let mut out = vec![0; frame.len()];
            limiter.process(frame, &mut out);
            all.extend(out);
        }
        all
    }

    #[test]
    fn what_is_quiet_enough_passes_5_ms_later_unchanged() {
        for rate in [Rate::Narrow, Rate::Wide] {
            let input: Vec<i32> = (0..rate.frame_samples() as i32 * 10).map(|n| (n * 977) % 58_000 - 29_000).collect();
            let output = run(rate, &input);
            let delay = rate.samples(5);
            assert!(output[..delay].iter().all(|&sample| sample == 0));
            assert!(output[delay..].iter().zip(&input).all(|(&out, &sample)| i32::from(out) == sample));
        }
    }

    #[test]
    fn nothing_comes_out_over_the_ceiling_and_nothing_is_clipped() {
        // Three voices at once, starting at full level.
        let input: Vec<i32> = (0..16_000)
            .map(|n| {
                let t = f64::from(n) * std::f64::consts::TAU / 8_000.0;
                (30_000.0 * ((300.0 * t).sin() + (410.0 * t).sin() + (530.0 * t).sin())) as i32
            })
            .collect();
        let output = run(Rate::Narrow, &input);
        assert!(output.iter().all(|&sample| i32::from(sample).abs() <= CEILING));
        // Clipping would make runs of equal samples at the top.
        let clipped = output.windows(2).filter(|pair| pair[0] == pair[1] && pair[0].unsigned_abs() > 20_000).count();
        assert!(clipped < 20, "{clipped}");
    }

    #[test]
    fn the_gain_comes_back_after_the_loud_part() {
        let mut input = vec![90_000; 160];
        input.extend(vec![10_000; 8_000]);
        let output = run(Rate::Narrow, &input);
        assert!(output[300] < 9_000);
        assert_eq!(output.last(), Some(&10_000));
    }
}
