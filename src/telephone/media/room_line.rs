//! A call's line to the room: the telephone's voice out as one Opus track, up to three other voices in, summed.
//!
//! The room never sends a seat its own voice, so that what comes in is what everybody else says (N-1). Not here: who is in
//! the room, and whether this call may hear it: the line exists only while the seat is inside.

use std::time::{Duration, Instant};

use colloque_sound::jitter::Place;
use colloque_sound::level::Level;
use colloque_sound::limiter::Limiter;
use colloque_sound::mixer::{HEARD_MAX, Mixer, SourceId};
use colloque_sound::opus::{OPUS_PACKET_MAX, OpusEncoder, OpusError, OpusSettings};
use colloque_sound::reception::Reception;
use colloque_sound::{Codec, FRAME_SAMPLES_MAX, Rate};

use crate::rtp::extension::AudioLevel;
use crate::rtp::seq::SeqNo;
use crate::transport::local::UplinkFrame;
use crate::worker::local::LocalPort;

use super::clock::Effort;

/// The numbers of what is published: they go on over hold, mute and a new line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbering {
    next: SeqNo,
    timestamp: u32,
    /// The next frame is the first of a talk spurt.
    marker: bool,
}

impl Numbering {
    pub(super) fn new(timestamp: u32) -> Self {
        Self { next: SeqNo(0), timestamp, marker: true }
    }

    /// One frame's time passes unpublished.
    pub(super) fn skip(&mut self) {
        self.timestamp = self.timestamp.wrapping_add(FRAME_TICKS);
        self.marker = true;
    }
}

/// See the module.
pub(super) struct RoomLine {
    port: LocalPort,
    rate: Rate,
    encoder: OpusEncoder,
    complexity: u8,
    others: Vec<Other>,
    mixer: Mixer,
    limiter: Limiter,
    /// Frames until the encoder's settings are looked at again.
    review_in: u32,
    pushed: bool,
}

/// One of the voices that come in.
struct Other {
    reception: Reception,
    source: SourceId,
    /// The last frame that came: who has been gone for long is not decoded.
    heard: Option<Instant>,
}

impl RoomLine {
    /// # Errors
    /// libopus has no memory.
    pub(super) fn new(port: LocalPort, rate: Rate, complexity: u8) -> Result<Self, OpusError> {
        let mut mixer = Mixer::new(rate);
        let mut others = Vec::with_capacity(HEARD_MAX);
        while others.len() < HEARD_MAX
            && let Some(source) = mixer.add_source()
        {
            let seed = others.len() as u32;
            others.push(Other { reception: Reception::new(Codec::Opus, rate, seed)?, source, heard: None });
        }
        let settings = OpusSettings { complexity, ..OpusSettings::voice(rate) };
        Ok(Self {
            port,
            rate,
            encoder: OpusEncoder::new(rate, settings)?,
            complexity,
            others,
            mixer,
            limiter: Limiter::new(rate),
            review_in: 0,
            pushed: false,
        })
    }

    /// The same line at another rate: the telephone changed its codec.
    pub(super) fn at_rate(self, rate: Rate) -> Result<Self, OpusError> {
        if rate == self.rate { Ok(self) } else { Self::new(self.port, rate, self.complexity) }
    }

    /// Whether the room still has this leg.
    pub(super) fn is_open(&self) -> bool {
        self.port.is_open()
    }

    /// Publishes one frame of the telephone's voice.
    pub(super) fn publish(&mut self, numbering: &mut Numbering, frame: &[i16], is_voice: bool) {
        let mut packet = [0; OPUS_PACKET_MAX];
        let encoded = self.encoder.encode(frame, &mut packet);
        let Ok(len @ 1..) = encoded else {
            numbering.skip();
            return;
        };
        let frame = UplinkFrame {
            sequence: numbering.next.wire(),
            timestamp: numbering.timestamp,
            marker: numbering.marker,
            level: AudioLevel { voice: is_voice, decibels_below: Level::of(frame).below_overload() },
            payload: &packet[..len],
        };
        self.pushed |= self.port.push(&frame).is_ok();
        numbering.next = numbering.next.next();
        numbering.timestamp = numbering.timestamp.wrapping_add(FRAME_TICKS);
        numbering.marker = false;
    }

    /// Wakes the worker for what was published since the last call.
    pub(super) fn ring(&mut self) {
        if std::mem::take(&mut self.pushed) {
            self.port.ring();
        }
    }

    /// What the others say in this frame. False when nobody is there to say anything.
    pub(super) fn hear(&mut self, now: Instant, out: &mut [i16]) -> bool {
        let others = &mut self.others;
        self.port.drain(|frame| {
            if let Some(other) = others.get_mut(usize::from(frame.slot)) {
                let place = Place { ssrc: 0, sequence: frame.sequence, timestamp: frame.timestamp };
                other.reception.handle_packet(now, place, frame.payload);
                other.heard = Some(now);
            }
        });
        let mut anybody = false;
        for other in others.iter_mut() {
            if other.heard.is_some_and(|heard| now.saturating_duration_since(heard) < GONE_AFTER) {
                let mut frame = [0; FRAME_SAMPLES_MAX];
                let frame = &mut frame[..self.rate.frame_samples()];
                other.reception.poll_frame(now, frame);
                self.mixer.push(other.source, frame);
                anybody = true;
            }
        }
        self.mixer.mix();
        self.mixer.mix_without(None, &mut self.limiter, out);
        anybody
    }

    /// Looks once a second whether the encoder should spend differently.
    pub(super) fn review(&mut self, effort: Effort) {
        if self.review_in > 0 {
            self.review_in -= 1;
            return;
        }
        self.review_in = REVIEW_FRAMES;
        let settings = encoder_settings(self.rate, self.complexity, effort, self.port.listeners_loss());
        if settings != self.encoder.settings() {
            // Refused settings leave the encoder as it was.
            self.encoder.set(settings).ok();
        }
    }
}

/// What the encoder may spend: forward error correction answers listeners' losses, unless the thread is late.
fn encoder_settings(rate: Rate, complexity: u8, effort: Effort, loss: f32) -> OpusSettings {
    let normal = OpusSettings::voice(rate);
    match effort {
        Effort::Full => OpusSettings {
            complexity,
            is_fec_on: loss > FEC_FROM,
            // Rough steps: each change costs libopus a moment.
            loss_percent: if loss > FEC_FROM { ((loss * 20.0).ceil() * 5.0).min(30.0) as u8 } else { 0 },
            ..normal
        },
        Effort::Reduced => OpusSettings { complexity: complexity.min(REDUCED_COMPLEXITY), ..normal },
    }
}

/// 20 ms at Opus's RTP clock.
const FRAME_TICKS: u32 = 960;
const REVIEW_FRAMES: u32 = 50;
/// A voice of which nothing came for so long costs nothing more: what concealment makes has faded by then.
const GONE_AFTER: Duration = Duration::from_millis(500);
/// Loss from which correction is worth its bits.
const FEC_FROM: f32 = 0.03;
const REDUCED_COMPLEXITY: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correction_answers_losses_and_gives_way_to_lateness() {
        let table = [
            (Effort::Full, 0.0, 5, false, 0),
            (Effort::Full, 0.03, 5, false, 0),
            (Effort::Full, 0.04, 5, true, 5),
            (Effort::Full, 0.12, 5, true, 15),
            (Effort::Full, 1.0, 5, true, 30),
            (Effort::Reduced, 0.12, 2, false, 0),
        ];
        for (effort, loss, complexity, is_fec_on, loss_percent) in table {
            let expected = OpusSettings { complexity, is_fec_on, loss_percent, ..OpusSettings::voice(Rate::Narrow) };
            assert_eq!(encoder_settings(Rate::Narrow, 5, effort, loss), expected, "{effort:?} {loss}");
        }
        assert_eq!(encoder_settings(Rate::Wide, 1, Effort::Reduced, 0.0).complexity, 1, "never more than configured");
    }
}
