//! Whether somebody speaks: by energy over the line's own noise, with a hang-over of 300 ms.
//!
//! Not a recogniser of speech: a cough is activity. What follows from it is small: gain and comfort noise learn, and the jitter
//! buffer may drop a frame.

use crate::level::{decibels, from_decibels, mean_square};

/// See the module.
#[derive(Clone, Debug)]
pub struct Activity {
    /// The mean square of the line without speech.
    floor: f32,
    hang_over: u32,
}

impl Default for Activity {
    fn default() -> Self {
        Self { floor: from_decibels(FLOOR_START), hang_over: 0 }
    }
}

impl Activity {
    /// A frame was heard; whether somebody speaks, or did so within the last 300 ms.
    pub fn handle_frame(&mut self, frame: &[i16]) -> bool {
        let energy = mean_square(frame);
        let is_loud = energy > (self.floor * OVER_FLOOR).max(from_decibels(LEAST));
        // Down at once, up slowly: a word does not lift the floor, a fan that is switched on does, within seconds.
        let floor = if energy < self.floor { energy } else { (self.floor * RISE).min(energy) };
        self.floor = floor.clamp(from_decibels(FLOOR_MIN), from_decibels(FLOOR_MAX));
        if is_loud {
            self.hang_over = HANG_OVER;
        } else {
            self.hang_over = self.hang_over.saturating_sub(1);
        }
        self.hang_over > 0
    }

    /// Whether the last frame was within speech.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.hang_over > 0
    }

    /// The level of the line without speech, in dBFS.
    #[must_use]
    pub fn floor(&self) -> f32 {
        decibels(self.floor)
    }
}

/// Frames after the last loud one: 300 ms, longer than the pauses within words.
const HANG_OVER: u32 = 15;
/// Speech is at least 9 dB over the floor.
const OVER_FLOOR: f32 = 8.0;
/// And at least that loud: below is what a codec makes of silence.
const LEAST: f32 = -55.0;
/// 5 dB a second.
const RISE: f32 = 1.023;
const FLOOR_START: f32 = -60.0;
const FLOOR_MIN: f32 = -75.0;
/// A floor above that would take soft speech for noise.
const FLOOR_MAX: f32 = -40.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rate;
    use crate::tones::Tone;

    fn voice(amplitude: f32) -> impl FnMut() -> [i16; 160] {
        let mut tone = Tone::new(300.0, amplitude, Rate::Narrow);
        move || {
            let mut frame = [0; 160];
            tone.fill(&mut frame);
            frame
        }
    }

    #[test]
    fn speech_is_active_at_once_and_for_300_ms_after() {
        let mut activity = Activity::default();
        let (mut word, mut hiss) = (voice(2_000.0), voice(20.0));
        assert!((0..100).all(|_| !activity.handle_frame(&hiss())));
        assert!((0..50).all(|_| activity.handle_frame(&word())));
        let after = (0..50).take_while(|_| activity.handle_frame(&hiss())).count();
        assert_eq!(after, 14);
    }

    #[test]
    fn a_noisy_line_is_not_speech_for_long_and_speech_over_it_is() {
        let mut activity = Activity::default();
        let mut fan = voice(250.0);
        let last = (0..500).filter(|_| activity.handle_frame(&fan())).count();
        assert!(last < 250, "{last}");
        assert!(!activity.is_active());
        assert!(activity.handle_frame(&voice(2_500.0)()));
    }

    #[test]
    fn soft_speech_is_heard() {
        assert!(Activity::default().handle_frame(&voice(150.0)()));
    }

    #[test]
    fn a_long_speech_does_not_become_the_floor() {
        let mut activity = Activity::default();
        let mut word = voice(5_000.0);
        assert!((0..3_000).all(|_| activity.handle_frame(&word())));
    }
}
