//! Slow gain for a telephone's voice, so that a soft caller and a loud one are equally loud in the room.
//!
//! Speech is brought to [`TARGET`] by at most 12 dB up or down. Only speech moves the gain, so that pauses are not pumped up.
//! Not here: the limiter of a mix.

use crate::activity::Activity;
use crate::level::{decibels, mean_square};
use crate::limiter::CEILING;

/// The level that speech is brought to, in dBFS.
pub const TARGET: f32 = -23.0;

/// The most that is added or taken away, in decibels.
pub const REACH: f32 = 12.0;

/// See the module.
#[derive(Clone, Debug)]
pub struct Gain {
    /// Smoothed mean square of speech, once there was any.
    speech: Option<f32>,
    /// In decibels.
    gain: f32,
    /// The factor at the end of the last frame.
    factor: f32,
}

impl Default for Gain {
    fn default() -> Self {
        Self { speech: None, gain: 0.0, factor: 1.0 }
    }
}

impl Gain {
    /// Changes the frame; `activity` has been told of it already.
    pub fn process(&mut self, frame: &mut [i16], activity: &Activity) {
        let energy = mean_square(frame);
        // Of the hang-over only what is still louder than the line counts as speech.
        if activity.is_active() && decibels(energy) > activity.floor() + 6.0 {
            let speech = self.speech.map_or(energy, |speech| speech + (energy - speech) * LEARNING);
            self.speech = Some(speech);
            let wanted = (TARGET - decibels(speech)).clamp(-REACH, REACH);
            self.gain += (wanted - self.gain).clamp(-DOWN, UP);
        }
        let peak = frame.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
        let highest = CEILING as f32 / f32::from(peak.max(1));
        let end = 10.0_f32.powf(self.gain / 20.0).min(highest);
        let start = self.factor.min(highest);
        let step = (end - start) / frame.len().max(1) as f32;
        for (n, sample) in frame.iter_mut().enumerate() {
            *sample = (f32::from(*sample) * (start + step * n as f32)) as i16;
        }
        self.factor = end;
    }

    /// What is added at present, in decibels.
    #[must_use]
    pub fn decibels(&self) -> f32 {
        self.gain
    }
}

/// 10 dB a second up, and twice as fast down: too loud hurts.
const UP: f32 = 0.2;
const DOWN: f32 = 0.4;
/// Speech's level is that of about a second.
const LEARNING: f32 = 0.03;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rate;
    use crate::tones::Tone;

    /// Seconds of talk at that amplitude; the gain, and the loudest sample of the last second.
    fn talk(gain: &mut Gain, activity: &mut Activity, amplitude: f32, seconds: usize) -> u16 {
        let mut tone = Tone::new(300.0, amplitude, Rate::Narrow);
        let mut peak = 0;
        for n in 0..seconds * 50 {
            let mut frame = [0; 160];
            tone.fill(&mut frame);
            activity.handle_frame(&frame);
            gain.process(&mut frame, activity);
            if n >= (seconds - 1) * 50 {
                peak = peak.max(frame.iter().map(|sample| sample.unsigned_abs()).max().unwrap());
            }
        }
        peak
    }

    #[test]
    fn soft_and_loud_voices_come_to_the_same_level() {
        // -23 dBFS of a sine is an amplitude of 3,280.
        for amplitude in [1_000.0, 3_280.0, 12_000.0] {
            let (mut gain, mut activity) = (Gain::default(), Activity::default());
            let peak = talk(&mut gain, &mut activity, amplitude, 5);
            assert!((3_000..3_600).contains(&peak), "{amplitude} became {peak}");
        }
    }

    #[test]
    fn it_rises_by_10_db_a_second_and_reaches_12() {
        let (mut gain, mut activity) = (Gain::default(), Activity::default());
        talk(&mut gain, &mut activity, 400.0, 1);
        assert!((9.5..=10.1).contains(&gain.decibels()), "{}", gain.decibels());
        talk(&mut gain, &mut activity, 400.0, 10);
        assert_eq!(gain.decibels(), REACH);
    }

    #[test]
    fn pauses_are_not_pumped_up() {
        let (mut gain, mut activity) = (Gain::default(), Activity::default());
        talk(&mut gain, &mut activity, 3_280.0, 5);
        let before = gain.decibels();
        talk(&mut gain, &mut activity, 15.0, 30);
        assert!((gain.decibels() - before).abs() < 0.5);
    }

    #[test]
    fn a_shout_after_a_whisper_does_not_overflow() {
        let (mut gain, mut activity) = (Gain::default(), Activity::default());
        talk(&mut gain, &mut activity, 200.0, 5);
        assert!(talk(&mut gain, &mut activity, 32_700.0, 1) <= 29_204);
    }
}
