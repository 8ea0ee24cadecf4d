//! What a caller is played by us: announcements one after another, and the tone that says "you are still waiting".
//!
//! Not here: which announcement when, and their words (`telephone::call`). Pure: frames come out, 20 ms each.

use std::collections::VecDeque;
use std::sync::Arc;

use colloque_sound::Rate;
use colloque_sound::tones::Tone;

/// A piece of speech at both rates, shared by all calls.
#[derive(Clone, Debug)]
pub struct Clip {
    narrow: Arc<[i16]>,
    wide: Arc<[i16]>,
}

impl Clip {
    /// The same sound at 8 and at 16 kHz.
    #[must_use]
    pub fn new(narrow: Arc<[i16]>, wide: Arc<[i16]>) -> Self {
        Self { narrow, wide }
    }

    /// Its samples at that rate.
    #[must_use]
    pub fn samples(&self, rate: Rate) -> &[i16] {
        match rate {
            Rate::Narrow => &self.narrow,
            Rate::Wide => &self.wide,
        }
    }
}

/// Which announcement ended: every request to play has its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlayId(pub u64);

/// Plays clips in order.
#[derive(Default)]
pub struct Player {
    playing: Option<PlayId>,
    queue: VecDeque<Clip>,
    /// In the front clip, in 8 kHz samples: the rate may change in the middle of it.
    position: usize,
}

impl Player {
    /// Plays these from now on, whatever was playing.
    pub fn play(&mut self, id: PlayId, clips: Vec<Clip>) {
        self.playing = Some(id);
        self.queue = clips.into();
        self.position = 0;
    }

    /// Whether anything is being played.
    #[must_use]
    pub fn is_playing(&self) -> bool {
        self.playing.is_some()
    }

    /// The next frame, silence behind the end of the last clip. Returns what ended with it.
    pub fn poll_frame(&mut self, rate: Rate, out: &mut [i16]) -> Option<PlayId> {
        let scale = rate.hz() as usize / NARROW_HZ;
        let mut filled = 0;
        while filled < out.len()
            && let Some(clip) = self.queue.front()
        {
            let rest = clip.samples(rate).get(self.position * scale..).unwrap_or_default();
            let taken = rest.len().min(out.len() - filled);
            out[filled..filled + taken].copy_from_slice(&rest[..taken]);
            filled += taken;
            self.position += taken.div_ceil(scale);
            if taken == rest.len() {
                self.queue.pop_front();
                self.position = 0;
            }
        }
        out[filled..].fill(0);
        if self.queue.is_empty() { self.playing.take() } else { None }
    }
}

/// A short soft tone at long intervals.
pub struct WaitingTone {
    /// Frames until the next one begins; counts on while it sounds.
    frame: u32,
    tone: Tone,
    rate: Rate,
}

impl WaitingTone {
    /// The first one comes after the first interval: an announcement stood before it.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { frame: 0, tone: Tone::new(TONE_HZ, TONE_AMPLITUDE, rate), rate }
    }

    /// At another rate from now on.
    pub fn set_rate(&mut self, rate: Rate) {
        if rate != self.rate {
            (self.rate, self.tone) = (rate, Tone::new(TONE_HZ, TONE_AMPLITUDE, rate));
        }
    }

    /// The next frame, if the tone sounds in it.
    pub fn poll_frame(&mut self, out: &mut [i16]) -> bool {
        self.frame += 1;
        if self.frame < INTERVAL_FRAMES {
            return false;
        }
        self.tone.fill(out);
        let (first, last) = (self.frame == INTERVAL_FRAMES, self.frame + 1 == INTERVAL_FRAMES + TONE_FRAMES);
        let len = out.len();
        for (index, sample) in out.iter_mut().enumerate() {
            // Soft edges: a tone that is switched clicks.
            let part = match (first, last) {
                (true, _) => index as f32 / len as f32,
                (_, true) => 1.0 - index as f32 / len as f32,
                _ => 1.0,
            };
            *sample = (f32::from(*sample) * part) as i16;
        }
        if last {
            self.frame = 0;
        }
        true
    }
}

const NARROW_HZ: usize = 8_000;
/// Every 15 s: often enough that nobody takes the line for dead.
const INTERVAL_FRAMES: u32 = 15 * 50;
/// 300 ms.
const TONE_FRAMES: u32 = 15;
/// Close to what European exchanges use, and far from every key's pair.
const TONE_HZ: f32 = 425.0;
/// About 24 dB below full scale.
const TONE_AMPLITUDE: f32 = 2_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// A clip whose samples count upwards, twice as fine at the wide rate.
    fn clip(first: i16, len: i16) -> Clip {
        let narrow: Vec<i16> = (first..first + len).collect();
        let wide: Vec<i16> = narrow.iter().flat_map(|&sample| [sample, sample]).collect();
        Clip::new(narrow.into(), wide.into())
    }

    fn play(player: &mut Player, rate: Rate, frames: usize) -> (Vec<i16>, Vec<PlayId>) {
        let (mut heard, mut done) = (Vec::new(), Vec::new());
        for _ in 0..frames {
            let mut out = vec![-1; rate.frame_samples()];
            done.extend(player.poll_frame(rate, &mut out));
            heard.extend(out);
        }
        (heard, done)
    }

    #[test]
    fn clips_follow_one_another_without_a_gap_and_the_end_is_told_once() {
        for (rate, scale) in [(Rate::Narrow, 1), (Rate::Wide, 2)] {
            let mut player = Player::default();
            player.play(PlayId(7), vec![clip(1, 250), clip(251, 100)]);
            assert!(player.is_playing());
            let (heard, done) = play(&mut player, rate, 4);
            let expected: Vec<i16> = (1..=350).flat_map(|sample| vec![sample; scale]).collect();
            assert_eq!(heard[..350 * scale], expected);
            assert!(heard[350 * scale..].iter().all(|&sample| sample == 0));
            assert_eq!((done, player.is_playing()), (vec![PlayId(7)], false));
        }
    }

    #[test]
    fn a_new_request_takes_the_place_of_the_old_and_the_old_end_is_never_told() {
        let mut player = Player::default();
        player.play(PlayId(1), vec![clip(1, 1000)]);
        play(&mut player, Rate::Narrow, 2);
        player.play(PlayId(2), vec![clip(5000, 160)]);
        let (heard, done) = play(&mut player, Rate::Narrow, 2);
        assert_eq!((heard[0], done), (5000, vec![PlayId(2)]));
    }

    #[test]
    fn nothing_to_play_ends_at_once() {
        let mut player = Player::default();
        player.play(PlayId(3), Vec::new());
        assert_eq!(play(&mut player, Rate::Narrow, 2).1, [PlayId(3)]);
    }

    #[test]
    fn the_rate_may_change_in_the_middle() {
        let mut player = Player::default();
        player.play(PlayId(1), vec![clip(0, 480)]);
        play(&mut player, Rate::Narrow, 1);
        let (heard, _) = play(&mut player, Rate::Wide, 1);
        assert_eq!((heard[0], heard[319]), (160, 319));
        let (heard, done) = play(&mut player, Rate::Narrow, 1);
        assert_eq!((heard[0], heard[159], done), (320, 479, vec![PlayId(1)]));
    }

    #[test]
    fn the_waiting_tone_sounds_every_15_seconds_softly_and_without_a_click() {
        let mut tone = WaitingTone::new(Rate::Narrow);
        let mut sounding = Vec::new();
        let mut last = 0i16;
        for frame in 0..50 * 46 {
            let mut out = [0; 160];
            if tone.poll_frame(&mut out) {
                sounding.push(frame);
                assert!(out.iter().all(|sample| sample.unsigned_abs() <= 2_000));
            }
            for sample in out {
                assert!(sample.abs_diff(last) < 800, "a click at frame {frame}");
                last = sample;
            }
        }
        assert_eq!(sounding.len(), 3 * 15);
        assert_eq!((sounding[0], sounding[15] - sounding[14]), (749, 750));
    }
}
