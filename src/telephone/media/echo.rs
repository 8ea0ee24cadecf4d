//! A telephone's own voice, a second later: how somebody tries a line alone.
//!
//! Not here: when (`telephone::call`). Pure: frames in, frames out. What waits is at most [`DELAY_FRAMES`] frames.

use std::collections::VecDeque;

/// See the module.
#[derive(Default)]
pub struct Echo {
    waiting: VecDeque<i16>,
    /// As long as the telephone speaks at one rate: another one would play what waits at the wrong speed.
    frame_len: usize,
    voice_frames: u32,
}

impl Echo {
    /// What the telephone said. True once, when enough of it was a voice.
    pub fn handle_frame(&mut self, voice: &[i16], is_voice: bool) -> bool {
        if voice.len() != self.frame_len {
            self.frame_len = voice.len();
            self.waiting.clear();
        }
        if self.waiting.len() > DELAY_FRAMES * self.frame_len {
            self.waiting.drain(..self.frame_len);
        }
        self.waiting.extend(voice);
        self.voice_frames = self.voice_frames.saturating_add(u32::from(is_voice));
        is_voice && self.voice_frames == VOICE_FRAMES
    }

    /// What it hears of it now, in the place of `out`.
    pub fn poll_frame(&mut self, out: &mut [i16]) {
        let is_due = self.waiting.len() > DELAY_FRAMES * self.frame_len && out.len() == self.frame_len;
        if is_due {
            let heard = self.waiting.drain(..out.len());
            out.iter_mut().zip(heard).for_each(|(out, sample)| *out = sample);
        }
    }
}

/// A second: long enough that nobody takes it for his own line's side tone.
const DELAY_FRAMES: usize = 50;
/// 200 ms of voice: a click is none.
const VOICE_FRAMES: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_heard_a_second_later_and_nothing_before() {
        let mut echo = Echo::default();
        for n in 0..200_i16 {
            let mut heard = [-1; 160];
            assert!(!echo.handle_frame(&[n; 160], false));
            echo.poll_frame(&mut heard);
            let expected = if n < DELAY_FRAMES as i16 { -1 } else { n - DELAY_FRAMES as i16 };
            assert_eq!(heard, [expected; 160], "{n}");
        }
        // A telephone that fetches nothing makes nothing grow.
        (0..1_000).for_each(|_| _ = echo.handle_frame(&[0; 160], false));
        assert!(echo.waiting.len() <= (DELAY_FRAMES + 1) * 160);
    }

    #[test]
    fn another_rate_begins_anew() {
        let mut echo = Echo::default();
        (0..60).for_each(|_| _ = echo.handle_frame(&[7; 160], false));
        let mut heard = [0; 320];
        for _ in 0..DELAY_FRAMES {
            echo.handle_frame(&[9; 320], false);
            echo.poll_frame(&mut heard);
            assert_eq!(heard, [0; 320]);
        }
        echo.handle_frame(&[9; 320], false);
        echo.poll_frame(&mut heard);
        assert_eq!(heard, [9; 320]);
    }

    #[test]
    fn a_voice_is_told_once_and_a_click_never() {
        let told = |voices: u32| {
            let mut echo = Echo::default();
            (0..100).filter(|n| echo.handle_frame(&[0; 160], *n < voices)).count()
        };
        assert_eq!([told(0), told(9), told(10), told(100)], [0, 0, 1, 1]);
    }
}
