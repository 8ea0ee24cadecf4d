//! Everything around the pool: telephones on loopback sockets and the rooms' ends of the lines, all in one thread.
//!
//! Telephones and doctors are spread over the 20 ms by turns of 2 ms; in every turn the measuring calls look at what has come. So
//! a delay is told up to 2 ms too long, never too short.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use colloque::ids::{LegId, PayloadType, Ssrc};
use colloque::rtp::packet::{HEADER_LEN_MIN, HeaderFields, HeaderWriter, RtpHeader};
use colloque::rtp::seq::SeqNo;
use colloque::telephone::media::{Connection, Format, LegSpec, MediaEvent, MediaLeg, MediaPool};
use colloque::transport::local::DownlinkFrame;
use colloque::worker::local::{WorkerPort, line_by_hand};
use colloque::worker::socket::{MediaSocket, ReceiveBatch};
use colloque_sound::Codec;
use colloque_sound::codec::{Decoder, PACKET_SAMPLES_MAX};
use colloque_sound::level::Level;
use tokio::sync::mpsc::Receiver;

use crate::sound::{self, BURST_AT, LOOP_FRAMES, LOUD, Loop};

pub struct FarEnd {
    calls: Vec<Call>,
    batch: ReceiveBatch,
    said: Said,
    began: Instant,
    turn: u64,
    pub to_room: Delays,
    pub to_telephone: Delays,
}

/// What is said, by everybody of a kind.
struct Said {
    voice: Loop,
    bursts: Loop,
    doctor_voice: Loop,
    doctor_bursts: Loop,
}

struct Call {
    leg: MediaLeg,
    events: Receiver<MediaEvent>,
    to: SocketAddr,
    socket: MediaSocket,
    room: WorkerPort,
    /// The turn of the 20 ms in which the telephone speaks; the doctor speaks five later.
    turn: u64,
    measures: bool,
    next: SeqNo,
    decoder: Decoder,
    telephone_burst: Burst,
    doctor_burst: Burst,
    made_up: Vec<f64>,
}

/// A burst that is on its way.
#[derive(Default)]
struct Burst {
    sent: Option<Instant>,
    was_loud: bool,
}

impl Burst {
    fn send(&mut self, now: Instant) {
        self.sent = Some(now);
    }

    /// A frame of that level came; how long the burst took, if it is its first.
    fn hear(&mut self, now: Instant, level: u8) -> Option<Duration> {
        let is_loud = level < LOUD;
        let begins = is_loud && !std::mem::replace(&mut self.was_loud, is_loud);
        self.was_loud = is_loud;
        if begins { self.sent.take().map(|sent| now.saturating_duration_since(sent)) } else { None }
    }
}

/// How long sound took.
#[derive(Default)]
pub struct Delays(Vec<Duration>);

impl Delays {
    /// The median and what 95 % keep.
    pub fn describe(&mut self) -> String {
        self.0.sort_unstable();
        let at = |part: f64| self.0.get(((self.0.len() as f64 * part) as usize).min(self.0.len().saturating_sub(1)));
        match (at(0.5), at(0.95)) {
            (Some(half), Some(most)) => {
                format!("{:.0}, p95 {:.0} ms", half.as_secs_f64() * 1e3, most.as_secs_f64() * 1e3)
            }
            _ => "nothing heard".to_owned(),
        }
    }
}

impl FarEnd {
    /// Calls that are connected and in their rooms.
    pub fn open(pool: &MediaPool, count: usize) -> Result<Self, Box<dyn Error>> {
        let calls = (0..count).map(|index| Call::open(pool, index)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            calls,
            batch: ReceiveBatch::new(),
            said: Said {
                voice: sound::voice(Codec::Pcma)?,
                bursts: sound::bursts(Codec::Pcma)?,
                doctor_voice: sound::voice(Codec::Opus)?,
                doctor_bursts: sound::bursts(Codec::Opus)?,
            },
            began: Instant::now(),
            turn: 0,
            to_room: Delays::default(),
            to_telephone: Delays::default(),
        })
    }

    /// Lets everybody speak and hear for so long; how long it really was.
    pub fn run(&mut self, span: Duration) -> Duration {
        let start = Instant::now();
        while start.elapsed() < span {
            let due = self.began + TURN * self.turn as u32;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            for call in &mut self.calls {
                if call.turn == self.turn % TURNS {
                    call.speak(self.turn / TURNS, &self.said);
                }
                if (call.turn + TURNS / 2) % TURNS == self.turn % TURNS {
                    call.speak_as_doctor(self.turn / TURNS, &self.said);
                }
                // Whoever measures listens all the time; the others' packets only have to be taken away.
                if call.measures || call.turn == self.turn % TURNS {
                    self.to_room.0.extend(call.hear_as_doctor());
                    call.hear(&mut self.batch, &mut self.to_telephone);
                }
            }
            self.turn += 1;
        }
        start.elapsed()
    }

    /// Forgets what was measured so far.
    pub fn forget(&mut self) {
        (self.to_room, self.to_telephone) = (Delays::default(), Delays::default());
        for call in &mut self.calls {
            call.made_up.clear();
        }
    }

    /// The part of the telephones' frames that had to be made up.
    pub fn made_up(&self) -> f64 {
        let all: Vec<f64> = self.calls.iter().flat_map(|call| call.made_up.iter().copied()).collect();
        all.iter().sum::<f64>() / all.len().max(1) as f64
    }
}

impl Call {
    fn open(pool: &MediaPool, index: usize) -> Result<Self, Box<dyn Error>> {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let (leg, events) = pool.open(LegSpec::default())?;
        let socket = MediaSocket::bind_for_voice(SocketAddr::new(local, 0), 64 << 10)?;
        leg.connect(Connection {
            remote: socket.address(),
            remote_reports: Some(socket.address()),
            formats: vec![Format { codec: Codec::Pcma, payload_type: PCMA }],
            event_type: None,
            noise_type: None,
            packet: Duration::from_millis(20),
            keys: None,
            sends: true,
            receives: true,
        });
        let (port, room) = line_by_hand(LegId(index as u64))?;
        leg.attach(port);
        Ok(Self {
            to: SocketAddr::new(local, leg.port()),
            leg,
            events,
            socket,
            room,
            turn: index as u64 % TURNS,
            measures: index.is_multiple_of(MEASURED),
            next: SeqNo(0),
            decoder: Decoder::new(Codec::Pcma, Codec::Pcma.rate())?,
            telephone_burst: Burst::default(),
            doctor_burst: Burst::default(),
            made_up: Vec::new(),
        })
    }

    fn speak(&mut self, frame: u64, said: &Said) {
        // Each call at another place of the second.
        let at = (frame + self.leg.port() as u64) as usize % LOOP_FRAMES;
        let payload = if self.measures { &said.bursts[at] } else { &said.voice[at] };
        let mut packet = [0; 200];
        let fields = HeaderFields {
            marker: false,
            payload_type: PCMA,
            sequence: self.next.wire(),
            timestamp: (self.next.0 as u32).wrapping_mul(160),
            ssrc: Ssrc(u32::from(self.leg.port())),
        };
        let header_len = HeaderWriter::new(&mut packet[..HEADER_LEN_MIN], fields, false).finish();
        let len = header_len + payload.len();
        packet[header_len..len].copy_from_slice(payload);
        self.next = self.next.next();
        if self.measures && at == BURST_AT {
            self.telephone_burst.send(Instant::now());
        }
        // A refused packet is a lost one.
        self.socket.send_to(&packet[..len], self.to).ok();
    }

    fn speak_as_doctor(&mut self, frame: u64, said: &Said) {
        let at = (frame + self.leg.port() as u64 + 25) as usize % LOOP_FRAMES;
        let payload = if self.measures { &said.doctor_bursts[at] } else { &said.doctor_voice[at] };
        let frame = DownlinkFrame {
            slot: 0,
            sequence: SeqNo(frame).wire(),
            timestamp: (frame as u32).wrapping_mul(960),
            marker: false,
            level: None,
            payload,
        };
        if self.measures && at == BURST_AT {
            self.doctor_burst.send(Instant::now());
        }
        self.room.give(&frame).ok();
    }

    fn hear_as_doctor(&mut self) -> Option<Duration> {
        while let Ok(event) = self.events.try_recv() {
            if let MediaEvent::Quality(quality) = event {
                self.made_up.push(quality.concealed);
            }
        }
        let (burst, measures, mut took) = (&mut self.telephone_burst, self.measures, None);
        self.room.take(|frame| {
            if measures {
                took = took.or(burst.hear(Instant::now(), frame.level.decibels_below));
            }
        });
        took
    }

    fn hear(&mut self, batch: &mut ReceiveBatch, delays: &mut Delays) {
        batch.receive(&self.socket);
        let now = Instant::now();
        batch.for_each(|_, age, datagram| {
            let Ok(header) = RtpHeader::parse(datagram) else { return };
            if !self.measures || header.payload_type != PCMA {
                return;
            }
            let mut samples = [0; PACKET_SAMPLES_MAX];
            let count = self.decoder.decode(header.payload(datagram), &mut samples).unwrap_or(0);
            let level = Level::of(&samples[..count]).below_overload();
            delays.0.extend(self.doctor_burst.hear(now - age, level));
        });
    }
}

const PCMA: PayloadType = PayloadType(8);
/// One call of so many measures delay.
const MEASURED: usize = 10;
const TURN: Duration = Duration::from_millis(2);
const TURNS: u64 = 10;
