//! Hears keys that a telephone plays as tones, before the room can.
//!
//! ```text
//!   packet --+--> jitter buffer ----(its delay: a frame at least)----> frame to play --> [cut?] --> room
//!            \--> decoded at once --> detector --key, "a tone sounds"------------------------^
//! ```
//!
//! A detector is sure of a tone only when it has heard it for some time; the delay that the jitter buffer has anyway is that time, so that
//! nothing waits for it. Opus is not decoded twice for it: it is too dear, and telephones that speak it send telephone-events. Its tones
//! are found as they are played.
//!
//! What the room hears of a key all the same, in milliseconds of its whole tone, wherever in a packet it begins (`incoming` measures it, on
//! a steady line): nothing of G.711 and G.722, where a detector behind the buffer let 16 and 24 through at worst, and of Opus 12 on
//! average and 22 at worst. Five minutes of speech, the prompts, lose no frame. Not here: telephone-events, what keys do. Pure.

use std::time::Duration;

use colloque_sound::codec::{Decoder, PACKET_SAMPLES_MAX};
use colloque_sound::jitter::TARGET_MAX;
use colloque_sound::key::Key;
use colloque_sound::opus::OpusError;
use colloque_sound::tones::KeyDetector;
use colloque_sound::{Codec, FRAME};

/// See the module.
pub(super) struct Ear {
    tones: KeyDetector,
    /// For what is heard ahead of its time; none for Opus.
    ahead: Option<Decoder>,
    cut_frames: u32,
}

impl Ear {
    /// # Errors
    /// libopus has no memory.
    pub(super) fn new(codec: Codec) -> Result<Self, OpusError> {
        let ahead = (codec != Codec::Opus).then(|| Decoder::new(codec, codec.rate())).transpose()?;
        Ok(Self { tones: KeyDetector::new(codec.rate()), ahead, cut_frames: 0 })
    }

    /// A packet of sound came, which is played in its turn; `waiting` is how long packets wait for that now. A key, once, when it is sure
    /// that it is pressed.
    pub(super) fn handle_packet(&mut self, payload: &[u8], waiting: Duration) -> Option<Key> {
        let mut heard = [0; PACKET_SAMPLES_MAX];
        let len = self.ahead.as_mut()?.decode(payload, &mut heard).ok()?;
        let key = self.tones.handle_frame(&heard[..len]);
        self.keep_cutting(waiting);
        key
    }

    /// A frame is about to be played. A key, and whether the frame is not for the room.
    pub(super) fn handle_frame(&mut self, frame: &[i16], waiting: Duration) -> (Option<Key>, bool) {
        let key = if self.ahead.is_some() { None } else { self.tones.handle_frame(frame) };
        self.keep_cutting(waiting);
        let cut = self.cut_frames > 0;
        self.cut_frames = self.cut_frames.saturating_sub(1);
        (key, cut)
    }

    /// While a tone sounds, and as long as what was heard ahead is still to be played.
    fn keep_cutting(&mut self, waiting: Duration) {
        if self.tones.is_sounding() {
            let waiting = if self.ahead.is_some() { waiting.min(TARGET_MAX) } else { Duration::ZERO };
            let frames = waiting.as_millis().div_ceil(FRAME.as_millis()) as u32;
            self.cut_frames = self.cut_frames.max(CUT_FRAMES + frames);
        }
    }
}

/// What is cut behind the last block in which a tone was found: 60 ms, as a block may end anywhere in the tone.
const CUT_FRAMES: u32 = 3;
