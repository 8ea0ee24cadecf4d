//! The sound of a telephone: a tone for a voice, keys, reports, and an ear that remembers everything.
//!
//! RTP in the clear, A-law, by hand. Not here: SIP.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use colloque_sound::Rate;
use colloque_sound::event::EventWriter;
use colloque_sound::g711;
use colloque_sound::key::Key;
use colloque_sound::measure::amplitude_of;
use colloque_sound::tones::Tone;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// What a telephone sends.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Speech {
    /// No packet.
    Nothing,
    /// Packets of silence.
    Silence,
    /// A tone of so many hertz.
    Tone(f32),
}

/// See the module.
pub struct Voice {
    port: u16,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
    /// Up to where the ear has been asked.
    asked: usize,
}

struct Shared {
    remote: Option<SocketAddr>,
    speech: Speech,
    /// Receiver reports are sent.
    reports: bool,
    keys: VecDeque<Key>,
    heard: Vec<i16>,
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Voice {
    /// Says this once it knows to whom.
    pub async fn new(speech: Speech) -> Voice {
        let (socket, reporter) = pair().await;
        let port = socket.local_addr().unwrap().port();
        let shared = Shared { remote: None, speech, reports: true, keys: VecDeque::new(), heard: Vec::new() };
        let shared = Arc::new(Mutex::new(shared));
        let task = tokio::spawn(live(socket, reporter, Arc::clone(&shared)));
        Voice { port, shared, task, asked: 0 }
    }

    /// What this side of a call says of its sound.
    pub fn sdp(&self) -> String {
        format!(
            "v=0\no=phone 5 {0} IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {0} RTP/AVP 8 101\n\
             a=rtpmap:101 telephone-event/8000\n",
            self.port
        )
    }

    /// Speaks to where this description says.
    pub fn speak_to(&self, message: &str) {
        let line = message.lines().find(|line| line.starts_with("m=audio ")).expect("a description of sound");
        let port = line.split(' ').nth(1).unwrap().parse().unwrap();
        self.lock().remote = Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }

    pub fn say(&self, speech: Speech) {
        self.lock().speech = speech;
    }

    pub fn set_reports(&self, reports: bool) {
        self.lock().reports = reports;
    }

    /// Presses these, one after the other.
    pub fn press(&self, keys: &str) {
        self.lock().keys.extend(keys.chars().map(|key| Key::from_label(key).unwrap()));
    }

    /// Waits until a tone sounds, behind what was waited for before.
    pub async fn hears(&mut self, hz: f32) {
        let begun = Instant::now();
        loop {
            {
                let shared = self.shared.lock().unwrap();
                let found = shared.heard[self.asked..].chunks_exact(PIECE).position(|piece| level(piece, hz) > LOUD);
                if let Some(at) = found {
                    self.asked += at * PIECE;
                    return;
                }
            }
            assert!(begun.elapsed() < PATIENCE, "{hz} Hz were never heard; {}", self.told());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How often a tone has sounded since the call began.
    pub fn times_heard(&self, hz: f32) -> usize {
        let shared = self.lock();
        let mut sounded = false;
        let begins =
            |piece: &[i16]| !std::mem::replace(&mut sounded, level(piece, hz) > LOUD) && level(piece, hz) > LOUD;
        shared.heard.chunks_exact(PIECE).map(begins).filter(|begins| *begins).count()
    }

    /// Forgets what was not asked about yet.
    pub fn skip(&mut self) {
        let heard = self.lock().heard.len();
        self.asked = heard;
    }

    /// What was heard since the last question.
    pub fn heard(&self) -> Vec<i16> {
        self.lock().heard[self.asked..].to_vec()
    }

    /// For a person who reads that something was not heard: what was, second by second.
    fn told(&self) -> String {
        let shared = self.lock();
        let seconds = shared.heard.chunks(8_000).map(|second| {
            let loudest = (200..2_800).step_by(10).max_by(|a, b| {
                amplitude_of(second, 8_000, f64::from(*a)).total_cmp(&amplitude_of(second, 8_000, f64::from(*b)))
            });
            let hz = loudest.unwrap_or_default();
            format!("{hz} Hz {:.0}", amplitude_of(second, 8_000, f64::from(hz)))
        });
        format!("heard by seconds: {:?}", seconds.collect::<Vec<_>>())
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }
}

/// Sockets for sound and for reports.
async fn pair() -> (UdpSocket, UdpSocket) {
    loop {
        let sound = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = sound.local_addr().unwrap().port();
        if port % 2 == 0
            && let Ok(reports) = UdpSocket::bind(("127.0.0.1", port + 1)).await
        {
            return (sound, reports);
        }
    }
}

/// Speaks and listens, a frame of 20 ms at a time.
async fn live(socket: UdpSocket, reporter: UdpSocket, shared: Arc<Mutex<Shared>>) {
    let mut frames = tokio::time::interval(Duration::from_millis(20));
    let mut mouth =
        Mouth { ssrc: rand::random(), sequence: rand::random(), timestamp: rand::random(), ..Mouth::default() };
    let mut datagram = [0; 2_048];
    for frame in 0_u64.. {
        frames.tick().await;
        let (remote, packet, reports) = {
            let mut shared = shared.lock().unwrap();
            (shared.remote, mouth.packet(&mut shared), shared.reports)
        };
        if let Some(remote) = remote {
            if let Some(packet) = packet {
                let _ = socket.send_to(&packet, remote).await;
            }
            if reports && frame % 50 == 0 {
                let mut report = vec![0x80, 201, 0, 1];
                report.extend(mouth.ssrc.to_be_bytes());
                let _ = reporter.send_to(&report, (remote.ip(), remote.port() + 1)).await;
            }
        }
        while let Ok((len, _)) = socket.try_recv_from(&mut datagram) {
            let mut samples = vec![0; len.saturating_sub(HEAD)];
            if len > HEAD && datagram[1] & 0x7f == PCMA {
                g711::decode_a_law(&datagram[HEAD..len], &mut samples);
                shared.lock().unwrap().heard.extend(samples);
            }
        }
    }
}

/// One stream of packets.
#[derive(Default)]
struct Mouth {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    tone: Option<(f32, Tone)>,
    press: Option<EventWriter>,
    /// Frames until the next key.
    pause: u32,
}

impl Mouth {
    fn packet(&mut self, shared: &mut Shared) -> Option<Vec<u8>> {
        self.timestamp = self.timestamp.wrapping_add(160);
        shared.remote?;
        if self.press.is_none() && self.pause == 0 {
            self.press = shared.keys.pop_front().map(|key| EventWriter::new(key, self.timestamp, 8_000, 3));
        }
        self.pause = self.pause.saturating_sub(1);
        if let Some(press) = &mut self.press {
            if let Some(event) = press.poll_packet() {
                return Some(self.with_head(event.marker, EVENTS, event.timestamp, &event.payload));
            }
            (self.press, self.pause) = (None, 2);
        }
        let mut samples = [0; 160];
        match shared.speech {
            Speech::Nothing => return None,
            Speech::Silence => {}
            Speech::Tone(hz) => {
                if self.tone.as_ref().is_none_or(|(of, _)| *of != hz) {
                    self.tone = Some((hz, Tone::new(hz, 8_000.0, Rate::Narrow)));
                }
                if let Some((_, tone)) = &mut self.tone {
                    tone.fill(&mut samples);
                }
            }
        }
        let mut payload = [0; 160];
        g711::encode_a_law(&samples, &mut payload);
        Some(self.with_head(false, PCMA, self.timestamp, &payload))
    }

    fn with_head(&mut self, marker: bool, kind: u8, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = vec![0x80, kind | if marker { 0x80 } else { 0 }];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        packet
    }
}

fn level(piece: &[i16], hz: f32) -> f64 {
    amplitude_of(piece, 8_000, f64::from(hz))
}

const HEAD: usize = 12;
const PCMA: u8 = 8;
const EVENTS: u8 = 101;
/// A tenth of a second: tones 45 Hz apart are told apart.
const PIECE: usize = 800;
/// Voices and words have 4,000 and more; what is beside them has a tenth of that.
const LOUD: f64 = 1_500.0;
/// Far more than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(45);
