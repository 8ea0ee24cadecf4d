//! What a telephone costs: CPU time of one leg for 20 ms, in a consultation with one browser.
//!
//! `cargo bench -p colloque-sound --bench telephone [-- --legs 90 --seconds 20]`. Runs as many consultations side by side as are asked
//! for, so that caches are as cold as in a server, and counts the thread's CPU time, so that other work on the machine hardly
//! matters. Calls what the server calls. Not in the figures: datagrams, SRTP, the SFU.

use std::f32::consts::TAU;
use std::time::{Duration, Instant};

use colloque_sound::codec::Encoder;
use colloque_sound::gain::Gain;
use colloque_sound::jitter::Place;
use colloque_sound::limiter::Limiter;
use colloque_sound::mixer::{Mixer, SourceId};
use colloque_sound::opus::{OPUS_PACKET_MAX, OpusEncoder, OpusSettings};
use colloque_sound::reception::Reception;
use colloque_sound::{Codec, FRAME_SAMPLES_MAX, Rate};

/// Seconds of talk that are coded beforehand and played again and again.
const LOOP_SECONDS: usize = 4;

/// The parts whose costs are told apart.
const PARTS: [&str; 5] = ["telephone in", "browser in", "mix", "telephone out", "browser out"];

struct Case {
    name: &'static str,
    codec: Codec,
    complexity: u8,
    is_fec_on: bool,
}

/// A consultation of one telephone and one browser.
struct Leg {
    clock_hz: u32,
    telephone: Reception,
    browser: Reception,
    gain: Gain,
    mixer: Mixer,
    telephone_id: SourceId,
    browser_id: SourceId,
    telephone_limiter: Limiter,
    line: Encoder,
    published: OpusEncoder,
    /// Where in the loop it began: no two legs code the same frame at the same time.
    phase: usize,
}

/// What both sides send, packet by packet.
struct Talk {
    line: Vec<Vec<u8>>,
    opus: Vec<Vec<u8>>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str, usual: usize| {
        let place = arguments.iter().position(|argument| argument == name);
        place.and_then(|place| arguments.get(place + 1)?.parse().ok()).unwrap_or(usual)
    };
    let (legs, seconds) = (option("--legs", 90), option("--seconds", 10));
    println!(
        "{legs} telephones, each with one browser, {seconds} s of talk; CPU time of one leg's 20 ms in microseconds"
    );
    let mut head = format!("{:<26}{:>7}{:>11}", "", "all", "legs/core");
    head.extend(PARTS.iter().map(|part| format!("{part:>15}")));
    println!("{head}");
    for case in CASES {
        let parts = run(&case, legs, seconds);
        let all: f64 = parts.iter().sum();
        let mut row = format!("{:<26}{all:>7.1}{:>11.0}", case.name, 20_000.0 / all);
        row.extend(parts.iter().map(|part| format!("{part:>15.1}")));
        println!("{row}");
    }
}

const CASES: [Case; 6] = [
    Case { name: "A-law, complexity 5", codec: Codec::Pcma, complexity: 5, is_fec_on: false },
    Case { name: "A-law, complexity 2", codec: Codec::Pcma, complexity: 2, is_fec_on: false },
    Case { name: "A-law, complexity 5, FEC", codec: Codec::Pcma, complexity: 5, is_fec_on: true },
    Case { name: "G.722, complexity 5", codec: Codec::G722, complexity: 5, is_fec_on: false },
    Case { name: "G.722, complexity 2", codec: Codec::G722, complexity: 2, is_fec_on: false },
    Case { name: "Opus, complexity 5", codec: Codec::Opus, complexity: 5, is_fec_on: false },
];

/// Microseconds of each part for a leg's frame.
fn run(case: &Case, legs: usize, seconds: usize) -> [f64; PARTS.len()] {
    let talk = Talk::new(case.codec);
    let mut all: Vec<Leg> = (0..legs).map(|n| Leg::new(case, n)).collect();
    let start = Instant::now();
    let ticks = seconds * 50;
    let mut spent = [0_u64; PARTS.len()];
    for tick in 0..ticks {
        let now = start + Duration::from_millis(20 * tick as u64);
        // One part of all legs after the other: the clock is read a few times a tick and not five times a leg.
        let mut mark = cpu_nanos();
        let mut lap = |part: usize| {
            let now = cpu_nanos();
            spent[part] += now - mark;
            mark = now;
        };
        let mut frames = vec![[0_i16; FRAME_SAMPLES_MAX]; legs];
        all.iter_mut().zip(&mut frames).for_each(|(leg, frame)| leg.hear_telephone(&talk, tick, now, frame));
        lap(0);
        all.iter_mut().for_each(|leg| leg.hear_browser(&talk, tick, now));
        lap(1);
        let mut mixes = vec![[0_i16; FRAME_SAMPLES_MAX]; legs];
        all.iter_mut().zip(&mut mixes).for_each(|(leg, out)| leg.mix(out));
        lap(2);
        all.iter_mut().zip(&mixes).for_each(|(leg, mix)| leg.send_line(mix));
        lap(3);
        all.iter_mut().zip(&frames).for_each(|(leg, frame)| leg.publish(frame));
        lap(4);
    }
    spent.map(|nanos| nanos as f64 / 1_000.0 / (legs * ticks) as f64)
}

impl Talk {
    fn new(codec: Codec) -> Self {
        let mut line = Encoder::new(codec).expect("an encoder");
        let mut opus = Encoder::new(Codec::Opus).expect("an encoder");
        let packets = |encoder: &mut Encoder, rate: Rate, pitch: f32| {
            voice(rate, pitch)
                .chunks_exact(rate.frame_samples())
                .map(|frame| {
                    let mut payload = [0; OPUS_PACKET_MAX];
                    let len = encoder.encode(frame, &mut payload).expect("a payload");
                    payload[..len].to_vec()
                })
                .collect()
        };
        Self { line: packets(&mut line, codec.rate(), 120.0), opus: packets(&mut opus, Rate::Wide, 190.0) }
    }
}

impl Leg {
    fn new(case: &Case, number: usize) -> Self {
        let rate = case.codec.rate();
        let mut mixer = Mixer::new(rate);
        let (telephone_id, browser_id) = (mixer.add_source().expect("room"), mixer.add_source().expect("room"));
        let voice = OpusSettings { complexity: case.complexity, ..OpusSettings::voice(rate) };
        let settings = if case.is_fec_on { voice.against_loss(10) } else { voice };
        Self {
            clock_hz: case.codec.clock_hz(),
            telephone: Reception::new(case.codec, rate, number as u32).expect("a decoder"),
            browser: Reception::new(Codec::Opus, rate, number as u32).expect("a decoder"),
            gain: Gain::default(),
            mixer,
            telephone_id,
            browser_id,
            telephone_limiter: Limiter::new(rate),
            line: Encoder::new(case.codec).expect("an encoder"),
            published: OpusEncoder::new(rate, settings).expect("an encoder"),
            phase: number * 7,
        }
    }

    fn hear_telephone(&mut self, talk: &Talk, tick: usize, now: Instant, frame: &mut [i16; FRAME_SAMPLES_MAX]) {
        let payload = &talk.line[(tick + self.phase) % talk.line.len()];
        let place = Place { ssrc: 1, sequence: tick as u16, timestamp: self.clock_hz / 50 * tick as u32 };
        self.telephone.handle_packet(now, place, payload);
        let frame = &mut frame[..self.telephone.rate().frame_samples()];
        self.telephone.poll_frame(now, frame);
        self.gain.process(frame, self.telephone.activity());
        self.mixer.push(self.telephone_id, frame);
    }

    fn hear_browser(&mut self, talk: &Talk, tick: usize, now: Instant) {
        let payload = &talk.opus[(tick + self.phase) % talk.opus.len()];
        let place = Place { ssrc: 2, sequence: tick as u16, timestamp: 960 * tick as u32 };
        self.browser.handle_packet(now, place, payload);
        let mut frame = [0; FRAME_SAMPLES_MAX];
        let frame = &mut frame[..self.browser.rate().frame_samples()];
        self.browser.poll_frame(now, frame);
        self.mixer.push(self.browser_id, frame);
    }

    fn mix(&mut self, out: &mut [i16; FRAME_SAMPLES_MAX]) {
        self.mixer.mix();
        self.mixer.mix_without(Some(self.telephone_id), &mut self.telephone_limiter, out);
    }

    fn send_line(&mut self, mix: &[i16; FRAME_SAMPLES_MAX]) {
        let mut payload = [0; OPUS_PACKET_MAX];
        let len = self.line.encode(&mix[..self.telephone.rate().frame_samples()], &mut payload).expect("a payload");
        std::hint::black_box(&payload[..len]);
    }

    fn publish(&mut self, frame: &[i16; FRAME_SAMPLES_MAX]) {
        let mut packet = [0; OPUS_PACKET_MAX];
        let len =
            self.published.encode(&frame[..self.telephone.rate().frame_samples()], &mut packet).expect("a packet");
        std::hint::black_box(&packet[..len]);
    }
}

/// Something to talk with: a pitch that moves, overtones, syllables, pauses and a little noise.
fn voice(rate: Rate, pitch: f32) -> Vec<i16> {
    let (mut phase, mut random) = (0.0_f32, 1_u32);
    (0..LOOP_SECONDS * rate.hz() as usize)
        .map(|n| {
            let t = n as f32 / rate.hz() as f32;
            phase = (phase + TAU * pitch * (1.0 + 0.15 * (TAU * 0.7 * t).sin()) / rate.hz() as f32) % TAU;
            let voiced: f32 = (1..20).map(|k| (k as f32 * phase).sin() / k as f32).sum();
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hiss = (random >> 8) as f32 / (1 << 23) as f32 - 1.0;
            let syllable = (TAU * 2.2 * t).sin().max(0.0);
            let consonant = (TAU * 2.2 * t + 2.0).sin().max(0.0).powi(4);
            // Three quarters of the time somebody talks.
            let talks = if t % LOOP_SECONDS as f32 > LOOP_SECONDS as f32 * 0.75 { 0.0 } else { 1.0 };
            ((4_000.0 * voiced * syllable + 1_500.0 * hiss * consonant) * talks + 12.0 * hiss) as i16
        })
        .collect()
}

/// CPU time of this thread, from the kernel's own count.
fn cpu_nanos() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts CPU time");
    told.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("a number of nanoseconds")
}
