//! Tones in the sound itself: keys that come in band, the fax machine's call, and tones of our own.
//!
//! Goertzel's algorithm over blocks of 25.6 ms. The thresholds are wide, because a line distorts: a detector with
//! the strict values that are often seen (12 dB apart, 70 % of the energy) hears a third of the keys that this one hears. Not here: telephone-events, which are what nearly every line sends (`event`).

use std::f32::consts::TAU;

use crate::Rate;
use crate::key::{COLUMNS, Key, ROWS};

/// Finds the keys that are played as pairs of tones (ITU-T Q.23, Q.24).
pub struct KeyDetector {
    rows: [f32; 4],
    columns: [f32; 4],
    /// Two filter banks, half a block apart, so that a key has to last only two and a half blocks wherever it starts.
    banks: [Bank; 2],
    block: usize,
    /// The key of the last block and how many blocks it has been.
    last: Option<Key>,
    blocks: u32,
    /// The key that was reported and is still held, and blocks without it.
    held: Option<Key>,
    without: u32,
}

#[derive(Clone, Copy, Default)]
struct Bank {
    rows: [Goertzel; 4],
    columns: [Goertzel; 4],
    energy: f32,
    samples: usize,
}

impl KeyDetector {
    /// A detector for sound at that rate.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let block = BLOCK_NARROW * rate.hz() as usize / 8_000;
        let coefficient = |hz: u32| coefficient(hz as f32, rate);
        let mut banks = [Bank::default(); 2];
        banks[1].samples = block / 2;
        Self {
            rows: ROWS.map(coefficient),
            columns: COLUMNS.map(coefficient),
            banks,
            block,
            last: None,
            blocks: 0,
            held: None,
            without: 0,
        }
    }

    /// A frame was heard; a key, once, when it is sure that it is pressed.
    pub fn handle_frame(&mut self, frame: &[i16]) -> Option<Key> {
        let mut pressed = None;
        let mut rest = frame;
        while !rest.is_empty() {
            // Up to where the first of the two banks is full.
            let until_full = self.banks.iter().map(|bank| self.block - bank.samples).min().unwrap_or(1);
            let (now, later) = rest.split_at(until_full.min(rest.len()));
            rest = later;
            for index in 0..2 {
                self.banks[index].feed(now, &self.rows, &self.columns);
                if self.banks[index].samples == self.block {
                    let bank = std::mem::take(&mut self.banks[index]);
                    let key = bank.key(&self.rows, &self.columns, self.block);
                    pressed = pressed.or(self.judge(key));
                }
            }
        }
        pressed
    }

    /// Whether a key's tone is in the sound right now: the room is not to hear it.
    #[must_use]
    pub fn is_sounding(&self) -> bool {
        self.last.is_some() || self.held.is_some()
    }

    fn judge(&mut self, key: Option<Key>) -> Option<Key> {
        self.blocks = if key == self.last { self.blocks + 1 } else { 1 };
        self.last = key;
        if key != self.held {
            self.without += 1;
            if self.without >= RELEASE_BLOCKS {
                self.held = None;
            }
        } else {
            self.without = 0;
        }
        let key = key?;
        if self.blocks >= SURE_BLOCKS && self.held != Some(key) {
            (self.held, self.without) = (Some(key), 0);
            return Some(key);
        }
        None
    }
}

impl Bank {
    fn feed(&mut self, samples: &[i16], rows: &[f32; 4], columns: &[f32; 4]) {
        for &sample in samples {
            let sample = f32::from(sample);
            self.energy += sample * sample;
            for (filter, &coefficient) in self.rows.iter_mut().zip(rows) {
                filter.feed(sample, coefficient);
            }
            for (filter, &coefficient) in self.columns.iter_mut().zip(columns) {
                filter.feed(sample, coefficient);
            }
        }
        self.samples += samples.len();
    }

    fn key(&self, rows: &[f32; 4], columns: &[f32; 4], block: usize) -> Option<Key> {
        let power = |filters: &[Goertzel; 4], coefficients: &[f32; 4]| -> [f32; 4] {
            std::array::from_fn(|n| filters[n].power(coefficients[n]))
        };
        let (row, low, low_next) = strongest(power(&self.rows, rows));
        let (column, high, high_next) = strongest(power(&self.columns, columns));
        let samples = block as f32;
        // A tone of amplitude a has a power of (a * samples / 2)^2 here and an energy of a^2 / 2 * samples.
        let share = (low + high) * 2.0 / samples / self.energy.max(1.0);
        let is_loud = low.min(high).sqrt() * 2.0 / samples >= AMPLITUDE_MIN;
        let is_clear = low >= low_next * APART && high >= high_next * APART;
        let is_balanced = high <= low * TWIST_HIGH && low <= high * TWIST_LOW;
        if is_loud && is_clear && is_balanced && share >= SHARE_MIN { Key::at(row, column) } else { None }
    }
}

/// The index and power of the strongest, and the power of the second.
fn strongest(powers: [f32; 4]) -> (usize, f32, f32) {
    let mut best = (0, powers[0], 0.0);
    for (index, &power) in powers.iter().enumerate().skip(1) {
        best = if power > best.1 { (index, power, best.1) } else { (best.0, best.1, power.max(best.2)) };
    }
    best
}

/// Finds the tone with which a fax machine calls (ITU-T T.30: 1,100 Hz, half a second long, every three seconds).
pub struct FaxDetector {
    coefficient: f32,
    filter: Goertzel,
    energy: f32,
    samples: usize,
    block: usize,
    blocks: u32,
}

impl FaxDetector {
    /// A detector for sound at that rate.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self {
            coefficient: coefficient(1_100.0, rate),
            filter: Goertzel::default(),
            energy: 0.0,
            samples: 0,
            block: rate.frame_samples(),
            blocks: 0,
        }
    }

    /// A frame was heard; `true` once the tone has been there for 400 ms without a break.
    pub fn handle_frame(&mut self, frame: &[i16]) -> bool {
        let mut is_found = false;
        for &sample in frame {
            let sample = f32::from(sample);
            self.energy += sample * sample;
            self.filter.feed(sample, self.coefficient);
            self.samples += 1;
            if self.samples == self.block {
                let samples = self.block as f32;
                let power = self.filter.power(self.coefficient);
                let is_tone =
                    power * 2.0 / samples >= 0.85 * self.energy && power.sqrt() * 2.0 / samples >= AMPLITUDE_MIN;
                self.blocks = if is_tone { self.blocks + 1 } else { 0 };
                is_found |= self.blocks == FAX_BLOCKS;
                (self.filter, self.energy, self.samples) = (Goertzel::default(), 0.0, 0);
            }
        }
        is_found
    }
}

/// A generator of one tone or two, for keys in band, the tone of a held line and measurements.
#[derive(Clone)]
pub struct Tone {
    steps: [f32; 2],
    phases: [f32; 2],
    amplitude: f32,
}

impl Tone {
    /// A sine of `hz` with that amplitude in samples' units.
    #[must_use]
    pub fn new(hz: f32, amplitude: f32, rate: Rate) -> Self {
        Self { steps: [TAU * hz / rate.hz() as f32, 0.0], phases: [0.0; 2], amplitude }
    }

    /// The two tones of a key, each with that amplitude.
    #[must_use]
    pub fn of_key(key: Key, amplitude: f32, rate: Rate) -> Self {
        let (low, high) = key.tones();
        Self { steps: [low, high].map(|hz| TAU * hz as f32 / rate.hz() as f32), phases: [0.0; 2], amplitude }
    }

    /// The next samples.
    pub fn fill(&mut self, out: &mut [i16]) {
        for sample in out {
            // The second tone of a single one stands still at zero.
            let sum: f32 = self.phases.iter().map(|phase| phase.sin()).sum();
            *sample = (self.amplitude * sum).clamp(-32_768.0, 32_767.0) as i16;
            for (phase, step) in self.phases.iter_mut().zip(self.steps) {
                *phase = (*phase + step) % TAU;
            }
        }
    }
}

/// One bin of a Fourier transform, sample by sample.
#[derive(Clone, Copy, Default)]
struct Goertzel {
    before: f32,
    before_that: f32,
}

impl Goertzel {
    fn feed(&mut self, sample: f32, coefficient: f32) {
        let now = sample + coefficient * self.before - self.before_that;
        (self.before_that, self.before) = (self.before, now);
    }

    /// The square of the bin's magnitude.
    fn power(self, coefficient: f32) -> f32 {
        self.before * self.before + self.before_that * self.before_that - coefficient * self.before * self.before_that
    }
}

fn coefficient(hz: f32, rate: Rate) -> f32 {
    2.0 * (TAU * hz / rate.hz() as f32).cos()
}

/// Samples of a block at 8 kHz: its width of 39 Hz tells neighbouring tones apart and forgives 1.5 %.
const BLOCK_NARROW: usize = 205;
/// The second strongest tone of a group is at least 6 dB weaker.
const APART: f32 = 4.0;
/// The high tone is at most 6 dB stronger than the low one, and the low one 9 dB stronger than the high.
const TWIST_HIGH: f32 = 4.0;
const TWIST_LOW: f32 = 8.0;
/// The two tones are at least that much of the sound.
const SHARE_MIN: f32 = 0.35;
/// Each tone is at least -40 dBFS: a line's hum and a codec's noise are less.
const AMPLITUDE_MIN: f32 = 330.0;
/// Half-overlapping blocks that must agree: 51 ms. Fewer hear keys in speech.
const SURE_BLOCKS: u32 = 3;
/// Blocks without the key until the same one counts as pressed again.
const RELEASE_BLOCKS: u32 = 2;
/// 400 ms: no voice holds one pitch without overtones for as long.
const FAX_BLOCKS: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::g711;

    /// Uniform noise in -1..1.
    fn noise(seed: &mut u32) -> f32 {
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (*seed >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    fn keys(detector: &mut KeyDetector, sound: &[i16], rate: Rate) -> String {
        sound.chunks(rate.frame_samples()).filter_map(|frame| detector.handle_frame(frame)).map(Key::label).collect()
    }

    /// The pair of tones, detuned, twisted and in noise, as it comes through A-law.
    fn on_a_line(key: Key, detune: f32, (low_level, high_level): (f32, f32), noisy: f32, samples: usize) -> Vec<i16> {
        let (low, high) = key.tones();
        let mut seed = u32::from(key.event());
        let clean: Vec<i16> = (0..samples)
            .map(|n| {
                let t = n as f32 / 8_000.0 * TAU * (1.0 + detune);
                let tones = low_level * (low as f32 * t).sin() + high_level * (high as f32 * t).sin();
                (tones + noisy * noise(&mut seed)) as i16
            })
            .collect();
        let (mut bytes, mut heard) = (vec![0; samples], vec![0; samples]);
        g711::encode_a_law(&clean, &mut bytes);
        g711::decode_a_law(&bytes, &mut heard);
        heard
    }

    #[test]
    fn every_key_is_heard_detuned_twisted_and_in_noise() {
        // Detuning makes the difference larger: the high tones leave the filter's middle first.
        let levels = [(4_000.0, 4_000.0), (5_000.0, 4_000.0), (800.0, 900.0)];
        let mut heard = 0;
        for key in Key::all() {
            for detune in [-0.015, 0.0, 0.015] {
                for level in levels {
                    let sound = on_a_line(key, detune, level, level.0 / 5.0, 800);
                    let mut detector = KeyDetector::new(Rate::Narrow);
                    let found = keys(&mut detector, &[&[0; 333][..], &sound, &[0; 800]].concat(), Rate::Narrow);
                    assert_eq!(found, key.label().to_string(), "detuned by {detune} at {level:?}");
                    heard += 1;
                }
            }
        }
        assert_eq!(heard, 144);
    }

    #[test]
    fn a_press_of_70_ms_is_heard_wherever_it_begins() {
        let sound = on_a_line(Key::POUND, 0.0, (3_000.0, 3_000.0), 100.0, 560);
        for before in 0..205 {
            let line = [&vec![0; before][..], &sound, &[0; 800]].concat();
            assert_eq!(keys(&mut KeyDetector::new(Rate::Narrow), &line, Rate::Narrow), "#", "after {before} samples");
        }
    }

    #[test]
    fn the_same_key_twice_is_two_and_a_long_one_is_one() {
        let press = on_a_line(Key::STAR, 0.0, (3_000.0, 3_000.0), 50.0, 800);
        let long = on_a_line(Key::STAR, 0.0, (3_000.0, 3_000.0), 50.0, 16_000);
        let pause = vec![0; 480];
        let line = [&press[..], &pause, &press, &pause, &long, &pause].concat();
        assert_eq!(keys(&mut KeyDetector::new(Rate::Narrow), &line, Rate::Narrow), "***");
    }

    #[test]
    fn keys_are_heard_at_the_wide_rate_too() {
        for key in Key::all() {
            let mut sound = vec![0; 3_200];
            Tone::of_key(key, 3_000.0, Rate::Wide).fill(&mut sound[..1_600]);
            assert_eq!(keys(&mut KeyDetector::new(Rate::Wide), &sound, Rate::Wide), key.label().to_string());
        }
    }

    #[test]
    fn single_tones_noise_and_chords_are_no_keys() {
        for (hz, other) in
            [(697.0, 0.0), (1_209.0, 0.0), (440.0, 480.0), (350.0, 440.0), (425.0, 0.0), (1_100.0, 2_100.0)]
        {
            let (mut one, mut two) = (vec![0; 16_000], vec![0; 16_000]);
            Tone::new(hz, 6_000.0, Rate::Narrow).fill(&mut one);
            Tone::new(other, 6_000.0, Rate::Narrow).fill(&mut two);
            let sound: Vec<i16> = one.iter().zip(&two).map(|(a, b)| a + b).collect();
            assert_eq!(keys(&mut KeyDetector::new(Rate::Narrow), &sound, Rate::Narrow), "", "{hz} and {other}");
        }
        let mut seed = 1;
        let hiss: Vec<i16> = (0..80_000).map(|_| (8_000.0 * noise(&mut seed)) as i16).collect();
        assert_eq!(keys(&mut KeyDetector::new(Rate::Narrow), &hiss, Rate::Narrow), "");
    }

    #[test]
    fn a_fax_machine_is_known_by_its_call_and_nothing_else_is() {
        for rate in [Rate::Narrow, Rate::Wide] {
            let calls = |hz: f32, milliseconds: usize| {
                let mut sound = vec![0; rate.samples(1_000)];
                Tone::new(hz, 3_000.0, rate).fill(&mut sound[..rate.samples(milliseconds)]);
                let mut detector = FaxDetector::new(rate);
                sound.chunks(rate.frame_samples()).filter(|frame| detector.handle_frame(frame)).count()
            };
            // The recommendation allows 38 Hz off.
            assert_eq!([calls(1_100.0, 500), calls(1_090.0, 500), calls(1_110.0, 500)], [1, 1, 1]);
            assert_eq!([calls(1_100.0, 300), calls(1_209.0, 500), calls(440.0, 1_000)], [0, 0, 0]);
        }
    }

    #[test]
    fn a_tone_has_its_level_and_no_seam() {
        let mut tone = Tone::new(1_000.0, 8_000.0, Rate::Narrow);
        let mut sound = vec![0; 1_600];
        sound.chunks_mut(160).for_each(|frame| tone.fill(frame));
        assert_eq!(sound.iter().max(), Some(&8_000));
        let steepest = sound.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max();
        assert!(steepest <= Some(6_130), "{steepest:?}");
    }
}
