//! One voice out of packets: jitter buffer, decoder, concealment, a frame at a time.
//!
//! Not here: whose packets they are.

use std::time::{Duration, Instant};

use colloque_sound::codec::{Decoder, PACKET_SAMPLES_MAX};
use colloque_sound::jitter::{JitterBuffer, JitterCounts, Place, Taken};
use colloque_sound::opus::OpusError;
use colloque_sound::{Codec, Rate};

pub(super) struct Voice {
    codec: Codec,
    rate: Rate,
    buffer: JitterBuffer,
    decoder: Decoder,
    /// Decoded and not yet given out.
    ready: Vec<i16>,
}

impl Voice {
    pub(super) fn new(codec: Codec, rate: Rate) -> Result<Self, OpusError> {
        Ok(Self {
            codec,
            rate,
            buffer: JitterBuffer::new(codec.clock_hz()),
            decoder: Decoder::new(codec, rate)?,
            ready: Vec::with_capacity(2 * PACKET_SAMPLES_MAX),
        })
    }

    pub(super) fn handle_packet(&mut self, now: Instant, ssrc: u32, sequence: u16, timestamp: u32, payload: &[u8]) {
        if let Some(ticks) = self.codec.ticks(payload) {
            self.buffer.handle_packet(now, Place { ssrc, sequence, timestamp }, ticks, payload);
        }
    }

    pub(super) fn handle_other(&mut self, now: Instant, ssrc: u32, sequence: u16, timestamp: u32) {
        self.buffer.handle_other(now, Place { ssrc, sequence, timestamp });
    }

    /// Whether somebody speaks.
    pub(super) fn poll_frame(&mut self, now: Instant, out: &mut [i16]) -> bool {
        while self.ready.len() < out.len() {
            let before = self.ready.len();
            self.ready.resize(before + PACKET_SAMPLES_MAX, 0);
            let made = match self.buffer.poll_take(now, false) {
                Taken::Packet(payload) => self.decoder.decode(payload, &mut self.ready[before..]).unwrap_or(0),
                Taken::Lost { ticks, .. } | Taken::Empty { ticks } => {
                    let samples = ticks as usize * self.rate.hz() as usize / self.codec.clock_hz() as usize;
                    samples.min(PACKET_SAMPLES_MAX)
                }
            };
            self.ready.truncate(before + made.max(1));
        }
        out.copy_from_slice(&self.ready[..out.len()]);
        self.ready.drain(..out.len());
        true
    }

    pub(super) fn counts(&self) -> JitterCounts {
        self.buffer.counts()
    }

    pub(super) fn jitter(&self) -> Duration {
        self.buffer.jitter()
    }

    pub(super) fn delay(&self, now: Instant) -> Duration {
        self.buffer.delay(now)
    }
}
