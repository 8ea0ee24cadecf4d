//! A room's telephone mix: everybody hears the three loudest, and nobody hears himself (N-1).
//!
//! One mixer for each room, at one rate: frames in, sums out, every 20 ms. Sums are 32 bits wide and are brought back to 16 by each
//! listener's own [`Limiter`]. Not here: decoding, resampling, and who may hear whom: whoever is not to be heard is not pushed.

use crate::limiter::Limiter;
use crate::{FRAME_SAMPLES_MAX, Rate};

/// How many are heard at once. More would be a crowd, and each costs the decoding of a voice.
pub const HEARD_MAX: usize = 3;

/// Sources of one mixer. A consultation has fewer than ten; more only cost memory (1.3 KB each).
pub const SOURCES_MAX: usize = 64;

/// A place in the mixer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceId(usize);

struct Source {
    frame: [i16; FRAME_SAMPLES_MAX],
    /// Whether the frame is of this tick.
    is_fresh: bool,
    /// Mean square, rising at once and falling over some 300 ms: a pause between two words is no reason to be cut off.
    energy: f32,
    is_heard: bool,
}

/// See the module.
pub struct Mixer {
    rate: Rate,
    sources: Vec<Option<Box<Source>>>,
    sum: [i32; FRAME_SAMPLES_MAX],
}

impl Mixer {
    /// A mixer at that rate, without sources.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, sources: Vec::new(), sum: [0; FRAME_SAMPLES_MAX] }
    }

    /// The rate of all frames.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// A place for one more voice; `None` when [`SOURCES_MAX`] are taken.
    pub fn add_source(&mut self) -> Option<SourceId> {
        let source = Box::new(Source { frame: [0; FRAME_SAMPLES_MAX], is_fresh: false, energy: 0.0, is_heard: false });
        if let Some(free) = self.sources.iter().position(Option::is_none) {
            self.sources[free] = Some(source);
            return Some(SourceId(free));
        }
        if self.sources.len() == SOURCES_MAX {
            return None;
        }
        self.sources.push(Some(source));
        Some(SourceId(self.sources.len() - 1))
    }

    /// The voice is gone. Its place may be given to another.
    pub fn remove_source(&mut self, id: SourceId) {
        if let Some(place) = self.sources.get_mut(id.0) {
            *place = None;
        }
    }

    /// This tick's frame of a voice. Who pushes none is silent for this tick.
    pub fn push(&mut self, id: SourceId, frame: &[i16]) {
        let len = self.rate.frame_samples();
        let Some(source) = self.sources.get_mut(id.0).and_then(Option::as_mut).filter(|_| frame.len() == len) else {
            return;
        };
        source.frame[..len].copy_from_slice(frame);
        source.is_fresh = true;
        let square: f32 = frame.iter().map(|&sample| f32::from(sample) * f32::from(sample)).sum();
        source.energy = (square / len as f32).max(source.energy * ENERGY_KEPT);
    }

    /// All have pushed: chooses whom this tick lets hear, and adds them up.
    pub fn mix(&mut self) {
        for source in self.sources.iter_mut().flatten().filter(|source| !source.is_fresh) {
            source.energy *= ENERGY_KEPT;
        }
        let heard = self.loudest();
        self.sum.fill(0);
        for (index, source) in self.sources.iter_mut().enumerate() {
            let Some(source) = source else {
                continue;
            };
            source.is_heard = source.is_fresh && heard.contains(&Some(index));
            source.is_fresh = false;
            if source.is_heard {
                for (sum, &sample) in self.sum.iter_mut().zip(&source.frame) {
                    *sum = sum.saturating_add(i32::from(sample));
                }
            }
        }
    }

    /// What the owner of `own` hears this tick: the mix without his own voice. `None` hears all.
    pub fn mix_without(&self, own: Option<SourceId>, limiter: &mut Limiter, out: &mut [i16]) {
        let len = self.rate.frame_samples();
        let own = own.and_then(|id| self.sources.get(id.0)?.as_ref()).filter(|source| source.is_heard);
        let mut others = self.sum;
        if let Some(source) = own {
            for (sum, &sample) in others.iter_mut().zip(&source.frame) {
                *sum = sum.saturating_sub(i32::from(sample));
            }
        }
        limiter.process(&others[..len], &mut out[..len]);
    }

    /// Whether the voice was among those heard in this tick.
    #[must_use]
    pub fn is_heard(&self, id: SourceId) -> bool {
        self.sources.get(id.0).and_then(Option::as_ref).is_some_and(|source| source.is_heard)
    }

    /// The indices of the loudest. Who is heard already stays until somebody is clearly louder, so that two equal voices do not
    /// take turns.
    fn loudest(&self) -> [Option<usize>; HEARD_MAX] {
        let mut best: [Option<(f32, usize)>; HEARD_MAX] = [None; HEARD_MAX];
        for (index, source) in self.sources.iter().enumerate() {
            let Some(source) = source.as_ref().filter(|source| source.is_fresh) else {
                continue;
            };
            let mut candidate = Some((source.energy * if source.is_heard { STAY } else { 1.0 }, index));
            for place in &mut best {
                let is_louder = match (candidate, *place) {
                    (Some(_), None) => true,
                    (Some((own, _)), Some((other, _))) => own > other,
                    (None, _) => false,
                };
                if is_louder {
                    std::mem::swap(place, &mut candidate);
                }
            }
        }
        best.map(|place| place.map(|(_, index)| index))
    }
}

/// Falls to a third in 300 ms.
const ENERGY_KEPT: f32 = 0.93;
/// Somebody must be 3 dB louder to take a place.
const STAY: f32 = 2.0;

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    fn tone(hz: f64, level: f64, tick: usize) -> [i16; 160] {
        std::array::from_fn(|n| (level * (TAU * hz * (tick * 160 + n) as f64 / 8_000.0).sin()) as i16)
    }

    fn amplitude(samples: &[i16], hz: f64) -> f64 {
        let step = TAU * hz / 8_000.0;
        let (re, im) = samples.iter().enumerate().fold((0.0, 0.0), |(re, im), (n, &s)| {
            (re + f64::from(s) * (step * n as f64).cos(), im + f64::from(s) * (step * n as f64).sin())
        });
        2.0 * f64::hypot(re, im) / samples.len() as f64
    }

    /// What each of the voices hears in a second in which they have those frequencies and levels.
    fn second(voices: &[(f64, f64)]) -> Vec<Vec<i16>> {
        let mut mixer = Mixer::new(Rate::Narrow);
        let ids: Vec<SourceId> = voices.iter().map(|_| mixer.add_source().unwrap()).collect();
        let mut limiters = vec![Limiter::new(Rate::Narrow); voices.len()];
        let mut heard = vec![Vec::new(); voices.len()];
        for tick in 0..50 {
            for (&id, &(hz, level)) in ids.iter().zip(voices) {
                mixer.push(id, &tone(hz, level, tick));
            }
            mixer.mix();
            for ((&id, limiter), heard) in ids.iter().zip(&mut limiters).zip(&mut heard) {
                let mut out = [0; 160];
                mixer.mix_without(Some(id), limiter, &mut out);
                heard.extend(out);
            }
        }
        heard
    }

    #[test]
    fn everybody_hears_the_others_and_nobody_himself() {
        let voices = [(400.0, 6_000.0), (700.0, 6_000.0), (1_000.0, 6_000.0)];
        for (own, heard) in second(&voices).iter().enumerate() {
            for (other, &(hz, level)) in voices.iter().enumerate() {
                let expected = if other == own { 0.0 } else { level };
                assert!((amplitude(&heard[800..], hz) - expected).abs() < 60.0, "{own} hears {other}");
            }
        }
    }

    #[test]
    fn only_the_three_loudest_are_heard() {
        let voices = [(400.0, 2_000.0), (600.0, 6_000.0), (800.0, 5_000.0), (1_000.0, 4_000.0), (1_200.0, 500.0)];
        let heard = &second(&voices)[4];
        for (hz, level) in voices {
            let expected = if level >= 4_000.0 { level } else { 0.0 };
            assert!((amplitude(&heard[800..], hz) - expected).abs() < 60.0, "{hz}");
        }
    }

    #[test]
    fn three_shouting_do_not_clip() {
        let heard = second(&[(400.0, 32_000.0), (700.0, 32_000.0), (1_000.0, 32_000.0), (1_300.0, 10.0)]);
        let loudest = heard[3].iter().map(|sample| sample.unsigned_abs()).max();
        assert!(loudest <= Some(29_204), "{loudest:?}");
        // All three are still there, and equal.
        let levels: Vec<f64> = [400.0, 700.0, 1_000.0].map(|hz| amplitude(&heard[3][800..], hz)).to_vec();
        assert!(levels.iter().all(|level| (8_000.0..13_000.0).contains(level)), "{levels:?}");
    }

    #[test]
    fn a_talker_keeps_his_place_through_a_short_pause() {
        let mut mixer = Mixer::new(Rate::Narrow);
        let ids: Vec<SourceId> = (0..4).map(|_| mixer.add_source().unwrap()).collect();
        let tick = |mixer: &mut Mixer, levels: [f64; 4], n: usize| {
            for (&id, level) in ids.iter().zip(levels) {
                mixer.push(id, &tone(500.0, level, n));
            }
            mixer.mix();
        };
        (0..20).for_each(|n| tick(&mut mixer, [8_000.0, 8_000.0, 8_000.0, 3_000.0], n));
        (20..24).for_each(|n| tick(&mut mixer, [0.0, 8_000.0, 8_000.0, 3_000.0], n));
        assert!(mixer.is_heard(ids[0]) && !mixer.is_heard(ids[3]));
        (24..80).for_each(|n| tick(&mut mixer, [0.0, 8_000.0, 8_000.0, 3_000.0], n));
        assert!(!mixer.is_heard(ids[0]) && mixer.is_heard(ids[3]));
    }

    #[test]
    fn who_pushes_nothing_is_silent_and_who_left_is_gone() {
        let mut mixer = Mixer::new(Rate::Wide);
        let (one, two) = (mixer.add_source().unwrap(), mixer.add_source().unwrap());
        let mut limiter = Limiter::new(Rate::Wide);
        let mut out = [0; 320];
        mixer.push(one, &[1_000; 320]);
        mixer.push(two, &[500; 160]);
        mixer.mix();
        mixer.mix_without(Some(two), &mut limiter, &mut out);
        assert_eq!(out[319], 1_000);
        mixer.mix();
        mixer.mix_without(Some(two), &mut limiter, &mut out);
        assert_eq!(out[319], 0);
        mixer.push(one, &[1_000; 320]);
        mixer.remove_source(one);
        mixer.mix();
        mixer.mix_without(Some(two), &mut limiter, &mut out);
        assert_eq!(out[319], 0);
        assert_eq!(mixer.add_source(), Some(one));
    }

    #[test]
    fn places_are_bounded() {
        let mut mixer = Mixer::new(Rate::Narrow);
        assert_eq!((0..SOURCES_MAX + 3).filter_map(|_| mixer.add_source()).count(), SOURCES_MAX);
    }
}
