//! A simulated telephone: the far side of a leg within the server's process, which speaks one voice and hears three.
//!
//! Not here: queues between threads, sound. It holds what it hears against what was sent, as a page's receivers do.

use std::collections::HashMap;
use std::time::Instant;

use colloque::ids::{LegId, SeatId, SlotId, Ssrc};
use colloque::rtp::codec::{MediaKind, Source};
use colloque::rtp::extension::AudioLevel;
use colloque::rtp::seq::SeqExtender;
use colloque::transport::local::{DownlinkFrame, UplinkFrame};
use rand::rngs::StdRng;

use super::publisher::{Plain, Publisher};
use super::receiver::{Heard, Receiver};
use super::wire::{Format, Marker};

/// Voices that a telephone hears at once.
pub const VOICES: u16 = 3;

pub struct Phone {
    pub leg: LegId,
    pub voice: Publisher,
    pub receivers: Vec<Receiver>,
    /// Frames that came of each publisher.
    pub heard_of: HashMap<u32, u64>,
    /// Level of the latest frame of each publisher.
    pub levels: HashMap<u32, Option<u8>>,
    numbers: Vec<SeqExtender>,
    random: StdRng,
}

impl Phone {
    /// Its voice is publisher `seat * 10 + 5`, to be told from that of the seat's page.
    pub fn new(now: Instant, seat: SeatId, leg: LegId, mut random: StdRng) -> Self {
        let id = (seat.0 as u32 * 10 + 5, leg.0 as u8);
        let receiver = |slot| Receiver::new(SlotId(slot), MediaKind::Audio, Ssrc(0), None);
        Self {
            leg,
            voice: Publisher::new(now, id, Source::Microphone, Format::Opus, false, &mut random),
            receivers: (0..VOICES).map(receiver).collect(),
            heard_of: HashMap::new(),
            levels: HashMap::new(),
            numbers: vec![SeqExtender::starting_at(1); usize::from(VOICES)],
            random,
        }
    }

    /// What it says now.
    pub fn poll(&mut self, start: Instant, now: Instant) -> Vec<Plain> {
        for receiver in &mut self.receivers {
            receiver.play(now);
        }
        self.voice.poll(start, now, &mut self.random)
    }

    pub fn handle(&mut self, now: Instant, frame: &DownlinkFrame<'_>) {
        let marker = Marker::find(frame.payload).expect("a whole frame of a publisher's");
        *self.heard_of.entry(marker.publisher).or_default() += 1;
        self.levels.insert(marker.publisher, frame.level.map(|level| level.decibels_below));
        let slot = usize::from(frame.slot);
        let seq = self.numbers[slot].extend(frame.sequence);
        let heard = Heard {
            at: now,
            timestamp: frame.timestamp,
            marker: frame.marker,
            format: Format::Opus,
            descriptor: None,
            payload: frame.payload.to_vec(),
        };
        self.receivers[slot].handle(seq.0, heard, false);
    }

    pub fn heard(&self, publisher: u32) -> u64 {
        self.heard_of.get(&publisher).copied().unwrap_or(0)
    }
}

/// A simulated voice packet as a frame.
pub fn frame(plain: &Plain) -> UplinkFrame<'_> {
    let decibels_below = plain.level.unwrap_or(127);
    UplinkFrame {
        sequence: plain.seq as u16,
        timestamp: plain.timestamp,
        marker: plain.marker,
        level: AudioLevel { voice: true, decibels_below },
        payload: &plain.payload,
    }
}
