//! One received stream from its packets to frames: jitter buffer, decoder, concealment, comfort noise.
//!
//! The same for a telephone's line and for a browser's Opus. Whatever the packets' length, a frame of 20 ms comes out at every call.
//! Not here: RTP, SRTP, who may send; gain and mixing, which come after.
//! Invariant: every frame is filled, and after the first packet none is digital silence that was not sent.

use std::time::Instant;

use crate::activity::Activity;
use crate::codec::{Decoder, PACKET_SAMPLES_MAX};
use crate::comfort_noise::ComfortNoise;
use crate::concealment::Concealment;
use crate::jitter::{Inserted, JitterBuffer, Place, Taken};
use crate::opus::OpusError;
use crate::{Codec, FRAME_SAMPLES_MAX, Rate};

/// See the module.
pub struct Reception {
    codec: Codec,
    rate: Rate,
    buffer: JitterBuffer,
    decoder: Decoder,
    concealment: Concealment,
    noise: ComfortNoise,
    activity: Activity,
    /// Samples that were made and not yet given out. Longer than a packet and a frame are never.
    ready: [i16; PACKET_SAMPLES_MAX + FRAME_SAMPLES_MAX],
    ready_len: usize,
    has_begun: bool,
    undecodable: u64,
}

impl Reception {
    /// A stream in that codec. `rate` is chosen for Opus; G.711 and G.722 have their own, `codec.rate()`. `seed` makes the
    /// comfort noise differ from other lines'.
    pub fn new(codec: Codec, rate: Rate, seed: u32) -> Result<Self, OpusError> {
        let rate = if codec == Codec::Opus { rate } else { codec.rate() };
        Ok(Self {
            codec,
            rate,
            buffer: JitterBuffer::new(codec.clock_hz()),
            decoder: Decoder::new(codec, rate)?,
            concealment: Concealment::new(rate),
            noise: ComfortNoise::new(seed),
            activity: Activity::default(),
            ready: [0; PACKET_SAMPLES_MAX + FRAME_SAMPLES_MAX],
            ready_len: 0,
            has_begun: false,
            undecodable: 0,
        })
    }

    /// The rate of the frames.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// A packet with sound came.
    pub fn handle_packet(&mut self, now: Instant, place: Place, payload: &[u8]) -> Inserted {
        match self.codec.ticks(payload) {
            Some(ticks) => self.buffer.handle_packet(now, place, ticks, payload),
            None => Inserted::Refused,
        }
    }

    /// A telephone-event of the same stream came: its sequence number is no loss.
    pub fn handle_event(&mut self, now: Instant, place: Place) -> Inserted {
        self.buffer.handle_other(now, place)
    }

    /// A comfort noise packet came (RFC 3389), whose first byte is the level of the peer's silence.
    pub fn handle_noise(&mut self, now: Instant, place: Place, payload: &[u8]) -> Inserted {
        if let Some(&level) = payload.first() {
            self.noise.set_level(level & 0x7f);
        }
        self.buffer.handle_other(now, place)
    }

    /// The next 20 ms. `frame` holds [`Rate::frame_samples`]; before the first packet it is silence. Whether somebody speaks is
    /// returned.
    pub fn poll_frame(&mut self, now: Instant, frame: &mut [i16]) -> bool {
        let len = self.rate.frame_samples().min(frame.len());
        while self.ready_len < len {
            self.make_more(now);
        }
        frame[..len].copy_from_slice(&self.ready[..len]);
        self.ready.copy_within(len..self.ready_len, 0);
        self.ready_len -= len;
        let is_active = self.activity.handle_frame(&frame[..len]);
        if self.has_begun && !is_active {
            self.noise.record_silence(&frame[..len]);
        }
        is_active
    }

    /// What happened to the packets, how long they wait, and how much they jitter.
    #[must_use]
    pub fn buffer(&self) -> &JitterBuffer {
        &self.buffer
    }

    /// Whether somebody speaks, by the last frame.
    #[must_use]
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Packets that the decoder refused; they were concealed.
    #[must_use]
    pub fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// Appends what the buffer says is due, which is always something.
    fn make_more(&mut self, now: Instant) {
        let is_quiet = self.has_begun && !self.activity.is_active();
        let ticks_a_sample = self.codec.clock_hz() as f32 / self.rate.hz() as f32;
        let samples_of = |ticks: u32| ((ticks as f32 / ticks_a_sample) as usize).clamp(1, PACKET_SAMPLES_MAX);
        let start = self.ready_len;
        let room = &mut self.ready[start..];
        let made = match self.buffer.poll_take(now, is_quiet) {
            Taken::Packet(payload) => {
                self.has_begun = true;
                match self.decoder.decode(payload, room) {
                    Ok(samples) if samples > 0 => {
                        self.concealment.handle_samples(&mut room[..samples]);
                        samples
                    }
                    _ => {
                        self.undecodable += 1;
                        let samples = self.codec.ticks(payload).map_or(1, samples_of);
                        conceal(&mut self.decoder, &mut self.concealment, &mut self.noise, None, &mut room[..samples])
                    }
                }
            }
            Taken::Lost { ticks, next } => {
                let out = &mut room[..samples_of(ticks)];
                conceal(&mut self.decoder, &mut self.concealment, &mut self.noise, next, out)
            }
            Taken::Empty { ticks } if self.has_begun => {
                // What was heard last fades, and the noise of the line comes in.
                let out = &mut room[..samples_of(ticks)];
                let (share, share_end) = self.concealment.poll_samples(out);
                self.noise.add(out, 1.0 - share, 1.0 - share_end);
                out.len()
            }
            Taken::Empty { ticks } => {
                let out = &mut room[..samples_of(ticks)];
                out.fill(0);
                out.len()
            }
        };
        self.ready_len = start + made;
    }
}

/// Fills `out` with what stands in for lost sound; its length.
fn conceal(
    decoder: &mut Decoder,
    concealment: &mut Concealment,
    noise: &mut ComfortNoise,
    next: Option<&[u8]>,
    out: &mut [i16],
) -> usize {
    if let Decoder::Opus(decoder) = decoder {
        let made = decoder.conceal(next, out).unwrap_or(0).min(out.len());
        // libopus makes whole steps of 2.5 ms; of anything else nothing, and then it is a pause.
        if made > 0 {
            concealment.handle_samples(&mut out[..made]);
            return made;
        }
    }
    let (share, share_end) = concealment.poll_samples(out);
    noise.add(out, 1.0 - share, 1.0 - share_end);
    out.len()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::codec::Encoder;
    use crate::measure::{amplitude_of, gaps};
    use crate::tones::Tone;

    /// Ten seconds of a tone in that codec, of which the packets that `is_lost` names do not come.
    fn heard(codec: Codec, rate: Rate, is_lost: impl Fn(u32) -> bool) -> (Vec<i16>, Reception) {
        let mut tone = Tone::new(440.0, 8_000.0, codec.rate());
        let mut encoder = Encoder::new(codec).unwrap();
        let mut reception = Reception::new(codec, rate, 1).unwrap();
        let start = Instant::now();
        let mut all = Vec::new();
        for n in 0..500_u32 {
            let now = start + Duration::from_millis(20 * u64::from(n));
            let (mut frame, mut payload) = (vec![0; codec.rate().frame_samples()], [0; 400]);
            tone.fill(&mut frame);
            let bytes = encoder.encode(&frame, &mut payload).unwrap();
            let place = Place { ssrc: 1, sequence: n as u16, timestamp: n * codec.clock_hz() / 50 };
            if !is_lost(n) {
                assert_eq!(reception.handle_packet(now, place, &payload[..bytes]), Inserted::Stored);
            }
            let mut out = vec![0; reception.rate().frame_samples()];
            reception.poll_frame(now + Duration::from_millis(3), &mut out);
            all.extend(out);
        }
        (all, reception)
    }

    #[test]
    fn every_codec_is_heard_without_a_hole() {
        for (codec, rate) in [
            (Codec::Pcma, Rate::Narrow),
            (Codec::Pcmu, Rate::Narrow),
            (Codec::G722, Rate::Wide),
            (Codec::Opus, Rate::Narrow),
            (Codec::Opus, Rate::Wide),
        ] {
            let (sound, reception) = heard(codec, rate, |_| false);
            let level = amplitude_of(&sound[sound.len() / 2..], rate.hz(), 440.0);
            assert!((7_000.0..9_000.0).contains(&level), "{codec:?} {rate:?}: {level}");
            assert_eq!(gaps(&sound, rate.hz(), -30.0), 0, "{codec:?} {rate:?}");
            assert_eq!(reception.buffer().counts().concealed, 0);
        }
    }

    #[test]
    fn a_tenth_lost_leaves_no_hole_and_no_lower_level() {
        // libopus is made for voices: of a bare tone it keeps less.
        let cases =
            [(Codec::Pcma, Rate::Narrow, -25.0), (Codec::G722, Rate::Wide, -25.0), (Codec::Opus, Rate::Narrow, -45.0)];
        for (codec, rate, quiet) in cases {
            let (sound, reception) = heard(codec, rate, |n| n % 10 == 7);
            let level = amplitude_of(&sound[sound.len() / 2..], rate.hz(), 440.0);
            assert!(level > if codec == Codec::Opus { 6_300.0 } else { 7_300.0 }, "{codec:?}: {level}");
            assert_eq!(gaps(&sound, rate.hz(), quiet), 0, "{codec:?}");
            assert_eq!(reception.buffer().counts().lost, 50);
        }
    }

    #[test]
    fn a_line_that_stops_fades_into_noise_and_never_into_zero() {
        for codec in [Codec::Pcma, Codec::Opus] {
            let (sound, _) = heard(codec, Rate::Narrow, |n| n >= 250);
            let after = &sound[260 * 160..];
            assert!(after.chunks(160).all(|frame| frame.iter().any(|&sample| sample != 0)), "{codec:?}");
            assert!(after.iter().all(|sample| sample.unsigned_abs() < 400), "{codec:?}");
        }
    }

    #[test]
    fn packets_of_10_30_and_60_ms_become_frames() {
        for packet_ms in [10_usize, 30, 60] {
            let mut tone = Tone::new(440.0, 8_000.0, Rate::Narrow);
            let mut reception = Reception::new(Codec::Pcma, Rate::Narrow, 1).unwrap();
            let start = Instant::now();
            let (mut sound, mut sent) = (Vec::new(), 0_usize);
            for n in 0..500_usize {
                while (sent + 1) * packet_ms <= 20 * n {
                    let now = start + Duration::from_millis(((sent + 1) * packet_ms) as u64);
                    let (mut frame, mut payload) = (vec![0; 8 * packet_ms], vec![0; 8 * packet_ms]);
                    tone.fill(&mut frame);
                    crate::g711::encode_a_law(&frame, &mut payload);
                    let timestamp = (sent * packet_ms * 8) as u32;
                    reception.handle_packet(now, Place { ssrc: 1, sequence: sent as u16, timestamp }, &payload);
                    sent += 1;
                }
                let mut out = [0; 160];
                reception.poll_frame(start + Duration::from_millis(20 * n as u64 + 3), &mut out);
                sound.extend(out);
            }
            let counts = reception.buffer().counts();
            assert_eq!((counts.lost, counts.late), (0, 0), "{packet_ms} ms");
            assert!(counts.concealed <= 3, "{packet_ms} ms: {counts:?}");
            assert_eq!(gaps(&sound, 8_000, -30.0), 0, "{packet_ms} ms");
            assert!(reception.buffer().delay(start + Duration::from_secs(10)) < Duration::from_millis(110));
        }
    }

    #[test]
    fn what_cannot_be_decoded_is_concealed_and_counted() {
        let mut reception = Reception::new(Codec::Opus, Rate::Wide, 1).unwrap();
        let start = Instant::now();
        for n in 0..50_u32 {
            let now = start + Duration::from_millis(20 * u64::from(n));
            // Says 20 ms of SILK in code 2, with a length that exceeds the packet.
            let place = Place { ssrc: 1, sequence: n as u16, timestamp: 960 * n };
            reception.handle_packet(now, place, &[(8 << 3) | 2, 200, 0, 0]);
            reception.poll_frame(now, &mut [0; 320]);
        }
        assert!(reception.undecodable() > 40, "{}", reception.undecodable());
    }

    #[test]
    fn the_peers_comfort_noise_is_heard_at_its_level() {
        let mut reception = Reception::new(Codec::Pcmu, Rate::Narrow, 1).unwrap();
        let start = Instant::now();
        let mut out = [0; 160];
        for n in 0..100_u32 {
            let now = start + Duration::from_millis(20 * u64::from(n));
            let place = Place { ssrc: 1, sequence: n as u16, timestamp: 160 * n };
            if n < 10 {
                reception.handle_packet(now, place, &[0xff; 160]);
            } else if n == 10 {
                reception.handle_noise(now, place, &[55]);
            }
            reception.poll_frame(now, &mut out);
        }
        assert_eq!(reception.buffer().counts().lost, 0);
        let level = crate::level::Level::of(&out).below_overload();
        assert!((52..=58).contains(&level), "{level}");
    }
}
