//! What stands in for a lost frame of G.711 and G.722, after the manner of G.711 Appendix I: the last pitch periods once more.
//!
//! One period for 10 ms, then two, then three, so that it does not buzz; full level for 10 ms, gone after 60 ms; what comes after is
//! faded in over 4 ms. Opus conceals by itself. Invariant: nothing made up is louder than the loudest sample it was made from.

use crate::{FRAME_SAMPLES_MAX, Rate};

/// Three periods of 15 ms and the quarter of one before them.
const HISTORY_MS: usize = 50;
const HISTORY_MAX: usize = 800;

/// See the module.
pub struct Concealment {
    rate: Rate,
    /// The last samples that were played.
    played: [i16; HISTORY_MAX],
    /// Present while frames are made up.
    loss: Option<Loss>,
}

struct Loss {
    /// What was played before.
    source: [i16; HISTORY_MAX],
    /// Samples of a pitch period.
    period: usize,
    /// Samples made up so far.
    made: usize,
    /// What the seam at the beginning lacks.
    step: f32,
    peak: f32,
}

impl Concealment {
    /// With silence as its past.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, played: [0; HISTORY_MAX], loss: None }
    }

    /// Samples came: remembers them, and fades them in after a loss.
    pub fn handle_samples(&mut self, samples: &mut [i16]) {
        if let Some(mut loss) = self.loss.take() {
            let overlap = self.rate.samples(OVERLAP_MS).min(samples.len());
            for (n, sample) in samples[..overlap].iter_mut().enumerate() {
                let share = (n + 1) as f32 / (overlap + 1) as f32;
                let made = loss.next(self.rate, self.history());
                *sample = (f32::from(*sample) * share + made * (1.0 - share)) as i16;
            }
        }
        self.remember(samples);
    }

    /// Makes samples up. How much of them is left at their beginning and end (1 all, 0 silence) is told, for comfort noise to
    /// fill the rest.
    pub fn poll_samples(&mut self, out: &mut [i16]) -> (f32, f32) {
        let mut loss = self.loss.take().unwrap_or_else(|| self.begin());
        let before = loss.share(self.rate);
        let history = self.history();
        for sample in out.iter_mut() {
            *sample = loss.next(self.rate, history) as i16;
        }
        let after = loss.share(self.rate);
        self.loss = Some(loss);
        self.remember(out);
        (before, after)
    }

    fn history(&self) -> usize {
        self.rate.samples(HISTORY_MS)
    }

    fn remember(&mut self, samples: &[i16]) {
        let history = self.history();
        let kept = &samples[samples.len().saturating_sub(history)..];
        self.played.copy_within(kept.len()..history, 0);
        self.played[history - kept.len()..history].copy_from_slice(kept);
    }

    fn begin(&self) -> Loss {
        let source = &self.played[..self.history()];
        let period = pitch(source, self.rate);
        let last = source.len() - 1;
        let peak = source.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
        Loss {
            source: self.played,
            period,
            made: 0,
            step: f32::from(source[last]) - f32::from(source[last - period]),
            peak: f32::from(peak),
        }
    }
}

impl Loss {
    fn share(&self, rate: Rate) -> f32 {
        let (full, gone) = (rate.samples(FULL_MS), rate.samples(GONE_MS));
        (gone.saturating_sub(self.made) as f32 / (gone - full) as f32).min(1.0)
    }

    fn next(&mut self, rate: Rate, history: usize) -> f32 {
        let stage = rate.samples(FULL_MS);
        let periods = (self.made / stage + 1).min(PERIODS_MAX);
        let mut sample = self.repeated(periods, history);
        // The first samples of two and three periods are faded over from what one and two would have gone on with.
        let (since, fade) = (self.made % stage, rate.samples(OVERLAP_MS));
        if (1..PERIODS_MAX).contains(&(self.made / stage)) && since < fade {
            let share = (since + 1) as f32 / (fade + 1) as f32;
            sample = sample * share + self.repeated(periods - 1, history) * (1.0 - share);
        }
        if self.made < fade {
            sample += self.step * (1.0 - self.made as f32 / fade as f32);
        }
        let share = self.share(rate);
        self.made += 1;
        sample.clamp(-self.peak, self.peak) * share
    }

    /// The sample in an endless repetition of the last `periods`, whose end is faded over into its beginning.
    fn repeated(&self, periods: usize, history: usize) -> f32 {
        let len = self.period * periods;
        let place = self.made % len;
        let at = |index: usize| f32::from(self.source[index]);
        let overlap = self.period / 4;
        let own = at(history - len + place);
        if place < len - overlap {
            return own;
        }
        let share = (place + overlap - len + 1) as f32 / (overlap + 1) as f32;
        own * (1.0 - share) + at(history + place - 2 * len) * share
    }
}

/// The distance at which the last 20 ms are most like what came before them: 2.5 to 15 ms.
fn pitch(source: &[i16], rate: Rate) -> usize {
    // A wide signal is searched in every second sample, which is exact enough for a pitch and costs a quarter.
    let stride = rate.frame_samples() / Rate::Narrow.frame_samples();
    let window = rate.samples(20);
    let mut recent = [0.0_f32; FRAME_SAMPLES_MAX];
    let mut whole = [0.0_f32; HISTORY_MAX];
    let whole_len = source.len() / stride;
    for (value, sample) in whole.iter_mut().zip(source.iter().step_by(stride)) {
        *value = f32::from(*sample);
    }
    let len = window / stride;
    recent[..len].copy_from_slice(&whole[whole_len - len..whole_len]);
    let (mut best, mut best_likeness) = (LONGEST_PERIOD, 0.0);
    for lag in SHORTEST_PERIOD..=LONGEST_PERIOD {
        let earlier = &whole[whole_len - len - lag..whole_len - lag];
        let (mut product, mut energy) = ([0.0_f32; 8], [1.0_f32; 8]);
        for (now, before) in recent[..len].chunks_exact(8).zip(earlier.chunks_exact(8)) {
            for n in 0..8 {
                product[n] += now[n] * before[n];
                energy[n] += before[n] * before[n];
            }
        }
        let product: f32 = product.iter().sum();
        let likeness = product.max(0.0) * product / energy.iter().sum::<f32>();
        if likeness > best_likeness {
            (best, best_likeness) = (lag, likeness);
        }
    }
    best * stride
}

/// At 8 kHz: 400 Hz and 67 Hz.
const SHORTEST_PERIOD: usize = 20;
const LONGEST_PERIOD: usize = 120;
const PERIODS_MAX: usize = 3;
const FULL_MS: usize = 10;
const GONE_MS: usize = 60;
const OVERLAP_MS: usize = 4;

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;

    /// A voice of that pitch, with overtones.
    fn voice(rate: Rate, pitch: f32, samples: usize) -> Vec<i16> {
        (0..samples)
            .map(|n| {
                let phase = TAU * pitch * n as f32 / rate.hz() as f32;
                let sum: f32 = (1..8).map(|k| (k as f32 * phase).sin() / k as f32).sum();
                (4_000.0 * sum) as i16
            })
            .collect()
    }

    #[test]
    fn a_steady_voice_goes_on_as_if_nothing_was_lost() {
        for rate in [Rate::Narrow, Rate::Wide] {
            for pitch in [80.0, 125.0, 200.0, 333.0] {
                let sent = voice(rate, pitch, 20 * rate.frame_samples());
                let mut concealment = Concealment::new(rate);
                let (known, lost) = sent.split_at(10 * rate.frame_samples());
                concealment.handle_samples(&mut known.to_vec());
                let mut made = vec![0; rate.samples(10)];
                concealment.poll_samples(&mut made);
                let error: f32 = made.iter().zip(lost).map(|(&a, &b)| (f32::from(a) - f32::from(b)).powi(2)).sum();
                let energy: f32 = lost[..made.len()].iter().map(|&b| f32::from(b).powi(2)).sum();
                assert!(error < energy / 5.0, "{rate:?} {pitch} Hz: {}", error / energy);
            }
        }
    }

    #[test]
    fn it_is_never_louder_than_what_it_was_made_from() {
        let mut random = 7_u32;
        for round in 0..200 {
            let rate = if round % 2 == 0 { Rate::Narrow } else { Rate::Wide };
            let mut concealment = Concealment::new(rate);
            let mut past: Vec<i16> = (0..rate.samples(HISTORY_MS))
                .map(|_| {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (random >> 16) as i16
                })
                .collect();
            past[0] = 32_767;
            past.iter_mut().for_each(|sample| *sample /= 1 + (round as i16 % 7));
            concealment.handle_samples(&mut past);
            let loudest = past.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
            for _ in 0..5 {
                let mut made = vec![0; rate.frame_samples()];
                concealment.poll_samples(&mut made);
                assert!(made.iter().all(|sample| sample.unsigned_abs() <= loudest));
            }
        }
    }

    #[test]
    fn it_is_gone_after_60_ms_and_says_so() {
        let mut concealment = Concealment::new(Rate::Narrow);
        concealment.handle_samples(&mut voice(Rate::Narrow, 150.0, 800));
        let mut shares = Vec::new();
        for _ in 0..4 {
            let mut made = [0; 160];
            shares.push(concealment.poll_samples(&mut made));
            if shares.len() == 4 {
                assert!(made.iter().all(|&sample| sample == 0));
            }
        }
        assert_eq!(shares[0], (1.0, 0.8));
        assert_eq!((shares[2].1, shares[3]), (0.0, (0.0, 0.0)));
    }

    /// Neither where the loss begins nor where the periods change nor where it ends may it click.
    #[test]
    fn there_is_no_seam() {
        for rate in [Rate::Narrow, Rate::Wide] {
            let sent = voice(rate, 140.0, 40 * rate.frame_samples());
            let steepest = |samples: &[i16]| {
                samples.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap()
            };
            let mut concealment = Concealment::new(rate);
            let mut heard = Vec::new();
            for (n, frame) in sent.chunks(rate.frame_samples()).enumerate() {
                let mut frame = frame.to_vec();
                if n % 5 == 3 || n % 10 == 4 {
                    concealment.poll_samples(&mut frame);
                } else {
                    concealment.handle_samples(&mut frame);
                }
                heard.extend(frame);
            }
            assert!(steepest(&heard) < steepest(&sent) * 5 / 4, "{} {}", steepest(&heard), steepest(&sent));
        }
    }

    #[test]
    fn silence_stays_silence() {
        let mut concealment = Concealment::new(Rate::Wide);
        let mut made = [1; 320];
        concealment.poll_samples(&mut made);
        assert_eq!(made, [0; 320]);
    }
}
