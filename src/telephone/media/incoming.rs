//! The telephone's voice: packets in, frames of an even loudness and pressed keys out.
//!
//! Keys come as telephone-events (RFC 4733) or, from old lines, as tones in the sound; whichever way, the room does not hear
//! them. A line that has sent one event is believed to send them all: its tones are then cut and not counted, or a gateway
//! that does both would press every key twice. Not here: who may send (`source`), what keys do. Pure.

use std::time::Instant;

use colloque_sound::event::EventReader;
use colloque_sound::gain::Gain;
use colloque_sound::jitter::{JitterBuffer, Place};
use colloque_sound::key::Key;
use colloque_sound::opus::OpusError;
use colloque_sound::reception::Reception;
use colloque_sound::tones::{FaxDetector, KeyDetector};
use colloque_sound::{Codec, Rate};

use crate::rtp::packet::RtpHeader;

/// What one frame holds beside its sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Noticed {
    /// A key, pressed as tones.
    pub(super) key: Option<Key>,
    /// A fax machine's call, told once.
    pub(super) fax: bool,
    /// A key's tone is in it: not for the room.
    pub(super) cut: bool,
    /// Somebody speaks.
    pub(super) is_voice: bool,
}

/// See the module.
pub(super) struct Incoming {
    codec: Codec,
    reception: Reception,
    gain: Gain,
    seed: u32,
    events: EventReader,
    tones: KeyDetector,
    fax: FaxDetector,
    fax_told: bool,
    sends_events: bool,
    cut_frames: u32,
}

impl Incoming {
    /// # Errors
    /// libopus has no memory.
    pub(super) fn new(codec: Codec, seed: u32) -> Result<Self, OpusError> {
        let rate = codec.rate();
        Ok(Self {
            codec,
            reception: Reception::new(codec, rate, seed)?,
            gain: Gain::default(),
            seed,
            events: EventReader::default(),
            tones: KeyDetector::new(rate),
            fax: FaxDetector::new(rate),
            fax_told: false,
            sends_events: false,
            cut_frames: 0,
        })
    }

    /// The far end speaks that codec from now on.
    ///
    /// # Errors
    /// libopus has no memory; then all stays as it was.
    pub(super) fn set_codec(&mut self, codec: Codec) -> Result<(), OpusError> {
        if codec == self.codec {
            return Ok(());
        }
        let rate = codec.rate();
        self.reception = Reception::new(codec, rate, self.seed)?;
        if rate != self.codec.rate() {
            (self.tones, self.fax) = (KeyDetector::new(rate), FaxDetector::new(rate));
        }
        self.codec = codec;
        Ok(())
    }

    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    pub(super) fn rate(&self) -> Rate {
        self.codec.rate()
    }

    /// A packet of sound.
    pub(super) fn handle_sound(&mut self, arrived: Instant, header: &RtpHeader, payload: &[u8]) {
        self.reception.handle_packet(arrived, place(header), payload);
    }

    /// A packet of a telephone-event: the key, when it is the first of a press.
    pub(super) fn handle_event(&mut self, arrived: Instant, header: &RtpHeader, payload: &[u8]) -> Option<Key> {
        self.reception.handle_event(arrived, place(header));
        self.sends_events = true;
        self.events.handle_packet(header.ssrc.0, header.timestamp, header.marker, payload)
    }

    /// A packet that says how silence sounds (RFC 3389): its number is no loss.
    pub(super) fn handle_noise(&mut self, arrived: Instant, header: &RtpHeader, payload: &[u8]) {
        self.reception.handle_noise(arrived, place(header), payload);
    }

    /// The next frame of [`Incoming::rate`], as loud as everybody else.
    pub(super) fn poll_frame(&mut self, now: Instant, out: &mut [i16]) -> Noticed {
        let is_voice = self.reception.poll_frame(now, out);
        let key = self.tones.handle_frame(out).filter(|_| !self.sends_events);
        if self.tones.is_sounding() {
            self.cut_frames = CUT_FRAMES;
        }
        let cut = self.cut_frames > 0;
        self.cut_frames = self.cut_frames.saturating_sub(1);
        let fax = !self.fax_told && self.fax.handle_frame(out);
        self.fax_told |= fax;
        self.gain.process(out, self.reception.activity());
        Noticed { key, fax, cut, is_voice: is_voice && !cut }
    }

    /// How the packets come.
    pub(super) fn buffer(&self) -> &JitterBuffer {
        self.reception.buffer()
    }
}

fn place(header: &RtpHeader) -> Place {
    Place { ssrc: header.ssrc.0, sequence: header.sequence, timestamp: header.timestamp }
}

/// What is cut behind the last block in which a tone was found: 60 ms, as a block may end anywhere in the tone.
const CUT_FRAMES: u32 = 3;
