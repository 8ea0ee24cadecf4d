//! Whole calls on real threads and loopback sockets: a telephone that speaks and hears, and a room on the other end of the
//! line. Hearing is judged by the level of tones in what arrives.

use std::f64::consts::TAU;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use colloque_sound::codec::{Decoder, Encoder, PACKET_SAMPLES_MAX};
use colloque_sound::key::Key;
use colloque_sound::measure::amplitude_of;
use colloque_sound::opus::{OpusDecoder, OpusEncoder, OpusSettings};
use colloque_sound::tones::Tone;
use colloque_sound::{Codec, Rate};
use tokio::sync::mpsc::Receiver;

use super::quality::Mos;
use super::*;
use crate::ids::{LegId, PayloadType, Ssrc};
use crate::pii::Pii;
use crate::rtp::extension::AudioLevel;
use crate::rtp::packet::{HEADER_LEN_MIN, HeaderFields, HeaderWriter, RtpHeader};
use crate::rtp::rtcp::{Rtcp, packets};
use crate::rtp::seq::SeqNo;
use crate::transport::local::DownlinkFrame;
use crate::transport::srtp::{EgressSrtp, IngressSrtp, OVERHEAD_MAX, Profile};
use crate::worker::local::{WorkerPort, line_by_hand};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const EVENTS: PayloadType = PayloadType(101);
/// How often a test looks again for what a busy machine delays: half a minute in steps of half a second.
const PATIENCE: usize = 60;

fn pool(threads: usize) -> MediaPool {
    let settings = MediaSettings {
        bind: LOOPBACK,
        ports: 30_000..=49_999,
        port_rest: Duration::from_secs(30),
        threads,
        legs_max: 100,
        complexity: 5,
    };
    MediaPool::start(&settings).unwrap()
}

/// A telephone: sends a frame and takes what came, every 20 ms.
struct Telephone {
    socket: UdpSocket,
    to: SocketAddr,
    codec: Codec,
    encoder: Encoder,
    decoder: Decoder,
    seal: Option<EgressSrtp>,
    open: Option<IngressSrtp>,
    ssrc: u32,
    next: SeqNo,
    timestamp: u32,
    due: Instant,
    /// Headers and samples of everything that came.
    packets: Vec<RtpHeader>,
    heard: Vec<i16>,
}

/// What a telephone says in a frame.
#[derive(Clone, Copy)]
enum Say {
    Tone(f64),
    Nothing,
    /// A packet that gets lost.
    Lost,
    /// Packets of this key held down: event code and how many frames it has lasted.
    Press(Key, u16),
}

impl Telephone {
    fn new(to: SocketAddr, codec: Codec) -> Self {
        let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            to,
            codec,
            encoder: Encoder::new(codec).unwrap(),
            decoder: Decoder::new(codec, codec.rate()).unwrap(),
            seal: None,
            open: None,
            ssrc: 0xfeed,
            next: SeqNo(65_500),
            timestamp: 1_000,
            due: Instant::now(),
            packets: Vec::new(),
            heard: Vec::new(),
        }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn set_codec(&mut self, codec: Codec) {
        self.codec = codec;
        self.encoder = Encoder::new(codec).unwrap();
        self.decoder = Decoder::new(codec, codec.rate()).unwrap();
        self.heard.clear();
    }

    /// One frame's time.
    fn frame(&mut self, say: Say) {
        let now = Instant::now();
        std::thread::sleep(self.due.saturating_duration_since(now));
        self.due += Duration::from_millis(20);
        match say {
            Say::Nothing => {}
            Say::Lost => self.next = self.next.next(),
            Say::Tone(hz) => {
                let rate = self.codec.rate();
                let at = |n: usize| {
                    let tick = self.timestamp.wrapping_sub(1_000) as usize * rate.frame_samples() / 160 + n;
                    (8_000.0 * (TAU * hz * tick as f64 / f64::from(rate.hz())).sin()) as i16
                };
                let frame: Vec<i16> = (0..rate.frame_samples()).map(at).collect();
                let mut payload = [0; 400];
                let len = self.encoder.encode(&frame, &mut payload).unwrap();
                let number = PayloadType(self.codec.static_payload_type().unwrap());
                self.send(number, self.timestamp, &payload[..len]);
            }
            Say::Press(key, frames) => {
                let [high, low] = (frames * 160).to_be_bytes();
                let start = self.timestamp.wrapping_sub(u32::from(frames - 1) * 160);
                self.send(EVENTS, start, &[key.event(), 10, high, low]);
            }
        }
        self.timestamp = self.timestamp.wrapping_add(160);
        self.take();
    }

    fn send(&mut self, payload_type: PayloadType, timestamp: u32, payload: &[u8]) {
        let sequence = self.next.wire();
        let fields = HeaderFields { marker: false, payload_type, sequence, timestamp, ssrc: Ssrc(self.ssrc) };
        let mut packet = [0; 600];
        let header_len = HeaderWriter::new(&mut packet[..HEADER_LEN_MIN], fields, false).finish();
        let mut len = header_len + payload.len();
        packet[header_len..len].copy_from_slice(payload);
        if let Some(srtp) = &self.seal {
            len = srtp.seal_rtp(&mut packet[..len + OVERHEAD_MAX], header_len, len, SeqNo(u64::from(sequence)));
        }
        self.next = self.next.next();
        self.socket.send_to(&packet[..len], self.to).unwrap();
    }

    fn take(&mut self) {
        let mut datagram = [0; 1500];
        while let Ok((len, _)) = self.socket.recv_from(&mut datagram) {
            let mut packet = &mut datagram[..len];
            if let Some(srtp) = &mut self.open {
                let Ok((len, _)) = srtp.open_rtp(packet) else { continue };
                packet = &mut packet[..len];
            }
            let header = RtpHeader::parse(packet).unwrap();
            let mut samples = [0; PACKET_SAMPLES_MAX];
            let count = self.decoder.decode(header.payload(packet), &mut samples).unwrap();
            self.heard.extend_from_slice(&samples[..count]);
            self.packets.push(header);
        }
    }

    fn say(&mut self, what: Say, frames: usize) {
        for _ in 0..frames {
            self.frame(what);
        }
    }

    fn hears(&self, hz: f64) -> f64 {
        amplitude(&self.heard, self.codec.rate(), hz)
    }
}

/// Of the last half second.
fn amplitude(samples: &[i16], rate: Rate, hz: f64) -> f64 {
    let samples = &samples[samples.len().saturating_sub(rate.hz() as usize / 2)..];
    amplitude_of(samples, rate.hz(), hz)
}

/// The room's end of a line: hears what the telephone publishes, says a tone.
struct Room {
    port: WorkerPort,
    encoder: OpusEncoder,
    decoder: OpusDecoder,
    tone: Tone,
    next: SeqNo,
    heard: Vec<i16>,
    sequences: Vec<u16>,
    timestamps: Vec<u32>,
}

impl Room {
    fn new(port: WorkerPort, hz: f32) -> Self {
        Self {
            port,
            encoder: OpusEncoder::new(Rate::Wide, OpusSettings::voice(Rate::Wide)).unwrap(),
            decoder: OpusDecoder::new(Rate::Wide).unwrap(),
            tone: Tone::new(hz, 8_000.0, Rate::Wide),
            next: SeqNo(0),
            heard: Vec::new(),
            sequences: Vec::new(),
            timestamps: Vec::new(),
        }
    }

    fn frame(&mut self) {
        let (decoder, heard) = (&mut self.decoder, &mut self.heard);
        let (sequences, timestamps) = (&mut self.sequences, &mut self.timestamps);
        self.port.take(|frame| {
            let mut samples = [0; PACKET_SAMPLES_MAX];
            let count = decoder.decode(frame.payload, &mut samples).unwrap();
            heard.extend_from_slice(&samples[..count]);
            sequences.push(frame.sequence);
            timestamps.push(frame.timestamp);
        });
        let (mut samples, mut packet) = ([0; 320], [0; 400]);
        self.tone.fill(&mut samples);
        let len = self.encoder.encode(&samples, &mut packet).unwrap();
        let frame = DownlinkFrame {
            slot: 0,
            sequence: self.next.wire(),
            timestamp: (self.next.0 as u32).wrapping_mul(960),
            marker: self.next.0 == 0,
            level: Some(AudioLevel { voice: true, decibels_below: 15 }),
            payload: &packet[..len],
        };
        self.port.give(&frame).unwrap();
        self.next = self.next.next();
    }

    fn hears(&self, hz: f64) -> f64 {
        amplitude(&self.heard, Rate::Wide, hz)
    }
}

/// A telephone and the media of its call.
struct Call {
    telephone: Telephone,
    leg: MediaLeg,
    events: Receiver<MediaEvent>,
    seen: Vec<MediaEvent>,
}

impl Call {
    /// A call with that codec, connected.
    fn connected(pool: &MediaPool, codec: Codec) -> Self {
        let call = Self::opened(pool, codec);
        call.leg.connect(call.connection());
        call
    }

    fn opened(pool: &MediaPool, codec: Codec) -> Self {
        let (leg, events) = pool.open(LegSpec::default()).unwrap();
        let telephone = Telephone::new((LOOPBACK, leg.port()).into(), codec);
        Self { telephone, leg, events, seen: Vec::new() }
    }

    fn connection(&self) -> Connection {
        let codec = self.telephone.codec;
        Connection {
            remote: self.telephone.address(),
            remote_reports: None,
            formats: vec![Format { codec, payload_type: PayloadType(codec.static_payload_type().unwrap()) }],
            event_type: Some(EVENTS),
            noise_type: None,
            packet: Duration::from_millis(20),
            keys: None,
            sends: true,
            receives: true,
        }
    }

    fn say(&mut self, what: Say, frames: usize) {
        self.telephone.say(what, frames);
        while let Ok(event) = self.events.try_recv() {
            self.seen.push(event);
        }
    }

    /// Frames in which both the telephone and the room go on.
    fn say_into(&mut self, room: &mut Room, what: Say, frames: usize) {
        for _ in 0..frames {
            self.say(what, 1);
            room.frame();
        }
    }

    /// Goes on until the room hears 700 Hz and the telephone the room's 440: what a busy machine leaves out is a hole in the sound, and
    /// heard no longer half a second later.
    fn until_heard(&mut self, room: &mut Room) {
        for _ in 0..PATIENCE {
            if room.hears(700.0) > 2_000.0 && self.telephone.hears(440.0) > 4_000.0 {
                return;
            }
            self.say_into(room, Say::Tone(700.0), 25);
        }
    }

    /// Goes on until `count` stays as it is for half a second: what was on its way has come. Gives it; nothing when it never stays.
    fn until_still<T: PartialEq>(&mut self, room: &mut Room, count: impl Fn(&Call, &Room) -> T) -> Option<T> {
        for _ in 0..PATIENCE {
            let before = count(self, room);
            self.say_into(room, Say::Tone(700.0), 25);
            if count(self, room) == before {
                return Some(before);
            }
        }
        None
    }

    fn keys(&self) -> String {
        self.seen
            .iter()
            .filter_map(|event| if let MediaEvent::Key(key, _) = event { Some(key.label()) } else { None })
            .collect()
    }
}

fn clip(hz: f32, frames: usize) -> Clip {
    let at = |rate: Rate| {
        let mut samples = vec![0; rate.frame_samples() * frames];
        Tone::new(hz, 8_000.0, rate).fill(&mut samples);
        samples.into()
    };
    Clip::new(at(Rate::Narrow), at(Rate::Wide))
}

#[test]
fn a_caller_hears_an_announcement_and_its_end_is_told() {
    for codec in [Codec::Pcma, Codec::Pcmu, Codec::G722] {
        let pool = pool(1);
        let mut call = Call::connected(&pool, codec);
        call.say(Say::Tone(700.0), 10);
        let mut last = None;
        let heard = (0..PATIENCE).any(|_| {
            last = Some(call.leg.play(vec![clip(1_000.0, 25), clip(1_000.0, 25)]));
            call.say(Say::Tone(700.0), 50);
            call.telephone.hears(1_000.0) > 6_000.0
        });
        assert!(heard, "{codec:?}: {}", call.telephone.hears(1_000.0));
        assert!(call.telephone.hears(700.0) < 100.0, "{codec:?}: nobody hears himself");
        let id = last.expect("something was played");
        let told = (0..PATIENCE).any(|_| {
            call.say(Say::Tone(700.0), 20);
            call.seen.contains(&MediaEvent::PromptDone(id))
        });
        assert!(told, "{:?}", call.seen);
        assert_eq!(call.seen[0], MediaEvent::FirstPacket);
    }
}

#[test]
fn what_leaves_is_known_and_what_the_kernel_refuses_does_not_count() {
    let pool = pool(1);
    let mut call = Call::connected(&pool, Codec::Pcma);
    call.say(Say::Nothing, 10);
    assert!(call.leg.last_sent().is_some());
    let lost = Call::opened(&pool, Codec::Pcma);
    // The system sends nobody's sound to everybody.
    lost.leg.connect(Connection { remote: (Ipv4Addr::BROADCAST, 4_000).into(), ..lost.connection() });
    call.say(Say::Nothing, 10);
    assert_eq!(lost.leg.last_sent(), None);
}

#[test]
fn a_telephone_hears_itself_a_second_later_and_nobody_else_does() {
    let pool = pool(1);
    let mut call = Call::connected(&pool, Codec::Pcma);
    call.say(Say::Tone(700.0), 10);
    call.leg.set_echo(true);
    call.say(Say::Tone(700.0), 40);
    assert!(call.telephone.hears(700.0) < 100.0, "not at once");
    let comes = (0..PATIENCE).any(|_| {
        call.say(Say::Tone(700.0), 60);
        call.telephone.hears(700.0) > 2_000.0
    });
    assert!(comes, "{}", call.telephone.hears(700.0));
    call.leg.set_echo(false);
    let goes = (0..PATIENCE).any(|_| {
        call.say(Say::Tone(700.0), 40);
        call.telephone.hears(700.0) < 100.0
    });
    assert!(goes, "{}", call.telephone.hears(700.0));
}

#[test]
fn what_a_caller_gets_is_one_unbroken_stream_and_never_digital_silence() {
    let pool = pool(1);
    let mut call = Call::connected(&pool, Codec::Pcma);
    let comes = (0..PATIENCE).any(|_| {
        call.say(Say::Tone(700.0), 60);
        call.telephone.packets.len() >= 50
    });
    let packets = &call.telephone.packets;
    assert!(comes, "{}", packets.len());
    for pair in packets.windows(2) {
        assert_eq!(SeqNo::nearest(pair[1].sequence, SeqNo::from_parts(1, pair[0].sequence)).wire(), pair[1].sequence);
        assert_eq!(pair[1].sequence.wrapping_sub(pair[0].sequence), 1);
        assert_eq!((pair[1].timestamp.wrapping_sub(pair[0].timestamp), pair[1].ssrc), (160, pair[0].ssrc));
    }
    let different: std::collections::HashSet<i16> = call.telephone.heard.iter().copied().collect();
    assert!(different.len() > 2 && different.iter().all(|sample| sample.unsigned_abs() < 200), "{different:?}");
}

#[test]
fn keys_are_read_from_events_and_each_press_counts_once() {
    let pool = pool(1);
    let mut call = Call::connected(&pool, Codec::Pcma);
    call.say(Say::Tone(0.0), 5);
    for label in "0477#".chars() {
        let key = Key::from_label(label).unwrap();
        // The first packet of every press is lost.
        for frames in 2..6 {
            call.say(Say::Press(key, frames), 1);
        }
        call.say(Say::Tone(0.0), 4);
    }
    call.say(Say::Tone(0.0), 5);
    assert_eq!(call.keys(), "0477#");
}

/// Scores of what we hear, interval by interval.
fn scores(call: &Call) -> Vec<Option<f64>> {
    let score = |event: &MediaEvent| match event {
        MediaEvent::Quality(quality) => Some(quality.score_in.map(Mos::value)),
        _ => None,
    };
    call.seen.iter().filter_map(score).collect()
}

/// Of a gap a tenth of a second was concealed, and only that counted: the worst lines had the best score.
#[test]
fn a_line_that_falls_silent_has_no_score_and_one_with_a_gap_a_bad_one() {
    let pool = pool(1);
    let (mut dead, mut gap, mut held) =
        (Call::connected(&pool, Codec::Pcma), Call::connected(&pool, Codec::Pcma), Call::opened(&pool, Codec::Pcma));
    held.leg.connect(Connection { receives: false, ..held.connection() });
    for frame in 0..560 {
        dead.say(if frame < 100 { Say::Tone(700.0) } else { Say::Nothing }, 1);
        gap.say(if (75..125).contains(&frame) { Say::Lost } else { Say::Tone(700.0) }, 1);
        held.say(Say::Tone(700.0), 1);
    }
    let gone = scores(&dead);
    assert!(gone.len() >= 2 && gone.iter().all(Option::is_none), "{gone:?}");
    let scored = scores(&gap);
    assert!(scored[0].is_some_and(|score| score < 3.0) && scored[1].is_some(), "{scored:?}");
    assert!(!scores(&held).is_empty() && scores(&held).iter().all(Option::is_none));
}

/// The sum of a key's two tones.
fn key_frame(key: Key, frame: i32) -> Vec<i16> {
    let (row, column) = key.tones();
    let at = |n: f64, hz: u32| (TAU * f64::from(hz) * n / 8_000.0).sin();
    let samples = (0..160).map(|sample| f64::from(frame * 160 + sample));
    samples.map(|n| (5_000.0 * (at(n, row) + at(n, column))) as i16).collect()
}

#[test]
fn keys_are_read_from_tones_on_lines_without_events_and_the_room_hears_little_of_them() {
    let pool = pool(1);
    let mut call = Call::connected(&pool, Codec::Pcma);
    let (port, worker) = line_by_hand(LegId(1)).unwrap();
    let mut room = Room::new(worker, 440.0);
    call.leg.attach(port);
    call.say_into(&mut room, Say::Tone(0.0), 10);
    let before = room.sequences.len();
    for label in "471".chars() {
        for n in 0..10 {
            let mut payload = [0; 160];
            let frame = key_frame(Key::from_label(label).unwrap(), n);
            call.telephone.encoder.encode(&frame, &mut payload).unwrap();
            let timestamp = call.telephone.timestamp;
            call.telephone.send(PayloadType(8), timestamp, &payload);
            call.say_into(&mut room, Say::Nothing, 1);
        }
        call.say_into(&mut room, Say::Tone(0.0), 10);
    }
    call.say_into(&mut room, Say::Tone(0.0), 10);
    assert_eq!(call.keys(), "471");
    // Of each press the tone's 10 frames and 3 behind them are cut, but for what came before a block was full.
    let (passed, published) = (70, room.sequences.len() - before);
    assert!(passed - published >= 3 * 9, "{published} of {passed} frames reached the room");
}

#[test]
fn telephone_and_room_hear_each_other_from_the_moment_of_attaching_and_not_before_or_after() {
    for codec in [Codec::Pcma, Codec::G722] {
        let pool = pool(1);
        let mut call = Call::connected(&pool, codec);
        call.say(Say::Tone(700.0), 30);
        let (port, worker) = line_by_hand(LegId(1)).unwrap();
        let mut room = Room::new(worker, 440.0);
        call.say_into(&mut room, Say::Tone(700.0), 10);
        assert!(room.heard.is_empty() && call.telephone.hears(440.0) < 100.0, "not attached yet");
        call.leg.attach(port);
        call.say_into(&mut room, Say::Tone(700.0), 75);
        call.until_heard(&mut room);
        assert!(room.hears(700.0) > 2_000.0, "{codec:?}: {}", room.hears(700.0));
        assert!(room.hears(440.0) < 100.0, "the room gets no echo of itself");
        assert!(call.telephone.hears(440.0) > 4_000.0, "{codec:?}: {}", call.telephone.hears(440.0));
        assert!(call.telephone.hears(700.0) < 150.0, "{codec:?}: {}", call.telephone.hears(700.0));
        call.leg.detach();
        call.say(Say::Tone(700.0), 40);
        assert!(!room.port.is_held() && call.telephone.hears(440.0) < 100.0, "detached");
    }
}

#[test]
fn a_muted_or_holding_telephone_is_not_published_and_the_numbers_go_on() {
    let pool = pool(1);
    let mut call = Call::connected(&pool, Codec::Pcma);
    let (port, worker) = line_by_hand(LegId(1)).unwrap();
    let mut room = Room::new(worker, 440.0);
    call.leg.attach(port);
    call.say_into(&mut room, Say::Tone(700.0), 30);
    call.leg.set_muted(true);
    call.until_still(&mut room, |_, room| room.sequences.len()).expect("muted");
    let hears = (0..PATIENCE).any(|_| {
        call.say_into(&mut room, Say::Tone(700.0), 10);
        call.telephone.hears(440.0) > 4_000.0
    });
    assert!(hears, "who is muted hears");
    call.leg.set_muted(false);
    call.leg.connect(Connection { sends: false, receives: false, ..call.connection() });
    let still = call.until_still(&mut room, |call, room| (room.sequences.len(), call.telephone.packets.len()));
    let (_, sent) = still.expect("held");
    call.leg.connect(call.connection());
    call.say_into(&mut room, Say::Tone(700.0), 50);
    call.until_heard(&mut room);
    assert!(room.hears(700.0) > 2_000.0 && call.telephone.hears(440.0) > 4_000.0);
    assert!(room.sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "{:?}", room.sequences);
    let passed = room.timestamps.last().unwrap().wrapping_sub(room.timestamps[0]) / 960;
    assert!(passed as usize > room.sequences.len() + 40, "time passed while nothing was said");
    let [.., before, after] = &call.telephone.packets[..=sent] else { panic!("packets on both sides of the hold") };
    assert_eq!((after.sequence.wrapping_sub(before.sequence), after.ssrc), (1, before.ssrc));
    assert!(after.timestamp.wrapping_sub(before.timestamp) > 20 * 160 && after.marker);
}

#[test]
fn another_codec_in_the_middle_of_a_call_is_heard_both_ways_under_the_same_numbers() {
    let pool = pool(1);
    let mut call = Call::connected(&pool, Codec::Pcma);
    let (port, worker) = line_by_hand(LegId(1)).unwrap();
    let mut room = Room::new(worker, 440.0);
    call.leg.attach(port);
    call.say_into(&mut room, Say::Tone(700.0), 40);
    call.telephone.set_codec(Codec::G722);
    call.leg.connect(call.connection());
    call.say_into(&mut room, Say::Tone(700.0), 75);
    call.until_heard(&mut room);
    assert!(room.hears(700.0) > 2_000.0, "{}", room.hears(700.0));
    assert!(call.telephone.hears(440.0) > 4_000.0, "{}", call.telephone.hears(440.0));
    for pair in call.telephone.packets.windows(2) {
        assert_eq!((pair[1].sequence.wrapping_sub(pair[0].sequence), pair[1].ssrc), (1, pair[0].ssrc));
    }
}

#[test]
fn a_telephone_may_change_among_the_agreed_codecs_without_asking_and_is_followed() {
    let pool = pool(1);
    let mut call = Call::opened(&pool, Codec::Pcma);
    let formats = [Codec::Pcma, Codec::Pcmu]
        .map(|codec| Format { codec, payload_type: PayloadType(codec.static_payload_type().unwrap()) });
    call.leg.connect(Connection { formats: formats.to_vec(), ..call.connection() });
    call.say(Say::Tone(700.0), 10);
    call.telephone.set_codec(Codec::Pcmu);
    let (port, worker) = line_by_hand(LegId(1)).unwrap();
    let mut room = Room::new(worker, 440.0);
    call.leg.attach(port);
    call.say_into(&mut room, Say::Tone(700.0), 60);
    call.until_heard(&mut room);
    assert!(room.hears(700.0) > 2_000.0, "{}", room.hears(700.0));
    assert_eq!(call.telephone.packets.last().unwrap().payload_type, PayloadType(0));
}

#[test]
fn an_encrypted_call_is_heard_both_ways_and_nothing_in_the_clear_gets_in() {
    for profile in [Profile::Aes128CmSha1_80, Profile::Aes128CmSha1_32] {
        let pool = pool(1);
        let mut call = Call::opened(&pool, Codec::Pcma);
        let keys = CallKeys { profile, ours: Pii([1; 30]), theirs: Pii([2; 30]) };
        let theirs = CallKeys { profile, ours: Pii([2; 30]), theirs: Pii([1; 30]) };
        call.telephone.seal = theirs.new_egress(None);
        call.telephone.open = theirs.new_ingress(None);
        call.telephone.next = SeqNo(100);
        call.leg.connect(Connection { keys: Some(keys), ..call.connection() });
        let (port, worker) = line_by_hand(LegId(1)).unwrap();
        let mut room = Room::new(worker, 440.0);
        call.leg.attach(port);
        for n in 0..75u32 {
            call.say_into(&mut room, Say::Tone(700.0), 1);
            // From the telephone's own address, with its numbers, but without its key.
            let seal = call.telephone.seal.take();
            let next = call.telephone.next;
            call.telephone.send(PayloadType(8), n * 160, &[0x2a; 160]);
            call.telephone.next = next;
            call.telephone.seal = seal;
        }
        call.until_heard(&mut room);
        assert!(room.hears(700.0) > 2_000.0 && call.telephone.hears(440.0) > 4_000.0, "{profile:?}");
        let refused = || {
            let mut refused = 0;
            pool.read_counters(&mut |_, _, reason, value| refused += if reason == Some("auth") { value } else { 0 });
            refused
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while refused() < 70 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(refused() >= 70, "{}", refused());
    }
}

#[test]
fn packets_of_strangers_are_not_heard() {
    let pool = pool(1);
    let mut call = Call::connected(&pool, Codec::Pcma);
    let (port, worker) = line_by_hand(LegId(1)).unwrap();
    let mut room = Room::new(worker, 440.0);
    call.leg.attach(port);
    let mut stranger = Telephone::new((LOOPBACK, call.leg.port()).into(), Codec::Pcma);
    let heard = (0..PATIENCE).any(|_| {
        for _ in 0..75 {
            call.say_into(&mut room, Say::Tone(700.0), 1);
            stranger.due = Instant::now();
            stranger.say(Say::Tone(1_900.0), 3);
        }
        assert!(room.hears(1_900.0) < 50.0, "{}", room.hears(1_900.0));
        room.hears(700.0) > 2_000.0
    });
    assert!(heard, "{}", room.hears(700.0));
    assert!(stranger.heard.is_empty());
}

#[test]
fn a_call_that_is_let_go_says_goodbye_and_closes_its_ports() {
    let pool = pool(1);
    let mut call = Call::opened(&pool, Codec::Pcma);
    let reports = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    reports.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let remote_reports = Some(reports.local_addr().unwrap());
    call.leg.connect(Connection { remote_reports, ..call.connection() });
    call.say(Say::Tone(700.0), 10);
    assert!(call.leg.last_heard().sound.is_some());
    let port = call.leg.port();
    drop(call.leg);
    let mut datagram = [0; 200];
    let len = reports.recv(&mut datagram).expect("a goodbye");
    assert!(packets(&datagram[..len]).any(|packet| matches!(packet, Ok(Rtcp::Bye { .. }))));
    while call.events.blocking_recv().is_some() {}
    UdpSocket::bind((LOOPBACK, port)).expect("closed");
    assert_eq!(pool.legs(), 0);
}

#[test]
fn calls_past_the_limit_are_refused() {
    let settings = MediaSettings {
        bind: LOOPBACK,
        ports: 30_000..=49_999,
        port_rest: Duration::from_secs(30),
        threads: 2,
        legs_max: 3,
        complexity: 5,
    };
    let pool = MediaPool::start(&settings).unwrap();
    let calls: Vec<_> = std::iter::from_fn(|| pool.open(LegSpec::default()).ok()).collect();
    assert_eq!((calls.len(), pool.legs()), (3, 3));
    assert!(matches!(pool.open(LegSpec::default()), Err(OpenError::Full)));
    drop(calls);
    let deadline = Instant::now() + Duration::from_secs(5);
    while pool.legs() > 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    pool.open(LegSpec::default()).expect("room again");
}
