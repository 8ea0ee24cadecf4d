//! The telephone's voice: packets in, frames of an even loudness and pressed keys out.
//!
//! Keys come as telephone-events (RFC 4733) or, from old lines, as tones in the sound; whichever way, the room does not hear
//! them. A line that has sent one event is believed to send them all: its tones are then cut and not counted, or a gateway
//! that does both would press every key twice. Not here: how tones are found before they are played (`ear`), who may send (`source`),
//! what keys do. Pure.

use std::time::Instant;

use colloque_sound::event::EventReader;
use colloque_sound::gain::Gain;
use colloque_sound::jitter::{Inserted, JitterBuffer, Place};
use colloque_sound::key::Key;
use colloque_sound::opus::OpusError;
use colloque_sound::reception::Reception;
use colloque_sound::tones::FaxDetector;
use colloque_sound::{Codec, Rate};

use super::ear::Ear;
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
    ear: Ear,
    fax: FaxDetector,
    fax_told: bool,
    sends_events: bool,
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
            ear: Ear::new(codec)?,
            fax: FaxDetector::new(rate),
            fax_told: false,
            sends_events: false,
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
        (self.reception, self.ear) = (Reception::new(codec, rate, self.seed)?, Ear::new(codec)?);
        if rate != self.codec.rate() {
            self.fax = FaxDetector::new(rate);
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

    /// A packet of sound: the key, when its tone has been there long enough.
    pub(super) fn handle_sound(&mut self, arrived: Instant, header: &RtpHeader, payload: &[u8]) -> Option<Key> {
        let inserted = self.reception.handle_packet(arrived, place(header), payload);
        // What comes too late or twice is not played either.
        if inserted != Inserted::Stored {
            return None;
        }
        let waiting = self.buffer().delay(arrived);
        self.ear.handle_packet(payload, waiting).filter(|_| !self.sends_events)
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
        let waiting = self.buffer().delay(now);
        let (key, cut) = self.ear.handle_frame(out, waiting);
        let key = key.filter(|_| !self.sends_events);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use colloque_sound::codec::Encoder;
    use colloque_sound::measure::{amplitude_of, gaps};
    use colloque_sound::tones::Tone;

    use super::*;
    use crate::ids::{PayloadType, Ssrc};
    use crate::rtp::packet::{HEADER_LEN_MIN, HeaderFields, HeaderWriter};

    fn header(sequence: u16, timestamp: u32) -> RtpHeader {
        let mut bytes = [0; HEADER_LEN_MIN];
        let fields = HeaderFields { marker: false, payload_type: PayloadType(8), sequence, timestamp, ssrc: Ssrc(7) };
        let _ = HeaderWriter::new(&mut bytes, fields, false).finish();
        RtpHeader::parse(&bytes).unwrap()
    }

    /// A hold of twelve minutes, in which nothing comes; the far end counts its packets on meanwhile, or does not.
    #[test]
    fn a_call_that_was_held_for_long_is_heard_again_at_once() {
        let held = 12 * 60 * 50;
        for counted in [0, held] {
            let mut incoming = Incoming::new(Codec::Pcma, 1).unwrap();
            let mut tone = Tone::new(440.0, 8_000.0, Rate::Narrow);
            let (begun, mut heard) = (Instant::now(), Vec::new());
            for frame in 0..50 + held + 50 {
                let now = begun + Duration::from_millis(20 * u64::from(frame));
                let is_held = (50..50 + held).contains(&frame);
                if !is_held {
                    let (mut samples, mut payload) = ([0; 160], [0; 160]);
                    tone.fill(&mut samples);
                    colloque_sound::g711::encode_a_law(&samples, &mut payload);
                    let number = if frame < 50 { frame } else { frame - held + counted };
                    incoming.handle_sound(now, &header(number as u16, frame * 160), &payload);
                }
                let mut out = [0; 160];
                incoming.poll_frame(now + Duration::from_millis(3), &mut out);
                if frame >= 50 + held {
                    heard.extend(out);
                }
            }
            // All but a frame or two of the second behind the hold.
            let level = amplitude_of(&heard[5 * 160..], 8_000, 440.0);
            assert!(level > 2_000.0, "{counted}: {level}");
            assert_eq!(gaps(&heard[5 * 160..], 8_000, -30.0), 0, "{counted}");
            assert!(incoming.buffer().delay(begun + Duration::from_secs(722)) < Duration::from_millis(100));
        }
    }

    /// What a line that sounds so makes of itself, frame by frame of 20 ms.
    fn listen(codec: Codec, line: &[i16], is_lost: impl Fn(usize) -> bool, mut heard: impl FnMut(&[i16], Noticed)) {
        let (mut incoming, mut encoder) = (Incoming::new(codec, 1).unwrap(), Encoder::new(codec).unwrap());
        let begun = Instant::now();
        for (number, frame) in line.chunks(codec.rate().frame_samples()).enumerate() {
            let now = begun + Duration::from_millis(20 * number as u64);
            let mut payload = [0; 400];
            let payload_len = encoder.encode(frame, &mut payload).unwrap();
            let header = header(number as u16, number as u32 * codec.clock_hz() / 50);
            let key = if is_lost(number) { None } else { incoming.handle_sound(now, &header, &payload[..payload_len]) };
            let mut out = vec![0; frame.len()];
            let noticed = incoming.poll_frame(now + Duration::from_millis(3), &mut out);
            heard(&out, Noticed { key: key.or(noticed.key), ..noticed });
        }
    }

    #[test]
    fn a_fax_machine_is_told_once_however_long_it_calls() {
        for codec in [Codec::Pcma, Codec::G722] {
            let mut line = vec![0; codec.rate().samples(8_000)];
            // Half a second of tone, three seconds of nothing (ITU-T T.30).
            for begins in [1_000, 4_500] {
                let call = codec.rate().samples(begins)..codec.rate().samples(begins + 500);
                Tone::new(1_100.0, 3_000.0, codec.rate()).fill(&mut line[call]);
            }
            let mut told = 0;
            listen(codec, &line, |_| false, |_, noticed| told += u32::from(noticed.fax));
            assert_eq!(told, 1, "{codec:?}");
        }
    }

    /// A line that is silent but for a press of 100 ms that begins so many samples (of 8 kHz) into its 20th packet. What the room hears of
    /// it, in milliseconds of the whole tone; how many frames were kept from the room; the keys that were noticed.
    fn press(codec: Codec, begins: usize, is_lost: impl Fn(usize) -> bool) -> (f64, usize, String) {
        let rate = codec.rate();
        let (scale, len) = (rate.hz() as usize / 8_000, rate.frame_samples());
        let mut line = vec![0; len * 60];
        let start = len * 20 + begins * scale;
        Tone::of_key(Key::from_label('5').unwrap(), 5_000.0, rate).fill(&mut line[start..start + len * 5]);
        let (mut keys, mut energy, mut leaked, mut cut) = (String::new(), 0.0, 0.0, 0);
        listen(codec, &line, is_lost, |out, noticed| {
            keys.extend(noticed.key.map(Key::label));
            let loud: f64 = out.iter().map(|&sample| f64::from(sample).powi(2)).sum();
            energy += loud;
            cut += usize::from(noticed.cut);
            leaked += if noticed.cut { 0.0 } else { loud };
        });
        (100.0 * leaked / energy, cut, keys)
    }

    /// The most that leaks wherever the press begins, and the mean.
    fn leak(codec: Codec) -> (f64, f64) {
        let leaks: Vec<f64> = (0..160)
            .step_by(4)
            .map(|begins| {
                let (leaked, cut, keys) = press(codec, begins, |_| false);
                assert_eq!(keys, "5", "{codec:?} after {begins}");
                assert!((5..=14).contains(&cut), "{codec:?} after {begins}: {cut} frames are cut");
                leaked
            })
            .collect();
        (leaks.iter().copied().fold(0.0, f64::max), leaks.iter().sum::<f64>() / leaks.len() as f64)
    }

    #[test]
    fn of_a_key_that_is_played_as_tones_the_room_hears_hardly_a_click() {
        for (codec, most) in [(Codec::Pcma, 0.1), (Codec::Pcmu, 0.1), (Codec::G722, 0.1), (Codec::Opus, 25.0)] {
            let (worst, mean) = leak(codec);
            assert!(worst <= most, "{codec:?}: {worst:.1} ms at worst, {mean:.1} ms on average");
        }
    }

    #[test]
    fn a_lost_packet_makes_no_second_key_of_one() {
        for lost in 18..28 {
            let (_, _, keys) = press(Codec::Pcma, 0, |number| number == lost);
            assert_eq!(keys, "5", "{lost}");
        }
    }
}
