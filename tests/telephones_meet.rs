//! Two telephones in one room: real media threads, a real worker with its `Sfu`, loopback sockets. Each hears the other, nobody
//! hears himself, and a seat that is not admitted hears nothing and is not heard.
//!
//! Not here: SIP, and who admits whom; the telephones are sockets that speak A-law.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use colloque::ids::{LegId, PayloadType, RoomId, SeatId, Ssrc};
use colloque::rtp::packet::{HEADER_LEN_MIN, HeaderFields, HeaderWriter, RtpHeader};
use colloque::rtp::seq::SeqNo;
use colloque::sfu::command::{Command, SeatPolicy};
use colloque::telephone::media::{Connection, Format, LegSpec, MediaLeg, MediaPool, MediaSettings};
use colloque::worker::WorkerId;
use colloque::worker::pool::{PoolSettings, WorkerPool};
use colloque_sound::measure::amplitude_of;
use colloque_sound::tones::Tone;
use colloque_sound::{Codec, Rate, g711};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ROOM: RoomId = RoomId(1);
const WORKER: WorkerId = WorkerId(0);
const PCMA: PayloadType = PayloadType(8);

/// Speaks a tone, keeps what it hears.
struct Telephone {
    leg: MediaLeg,
    socket: UdpSocket,
    tone: Tone,
    next: SeqNo,
    heard: Vec<i16>,
}

impl Telephone {
    fn call(pool: &MediaPool, hz: f32) -> Self {
        let (leg, _events) = pool.open(LegSpec::default()).unwrap();
        let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        leg.connect(Connection {
            remote: socket.local_addr().unwrap(),
            remote_reports: None,
            formats: vec![Format { codec: Codec::Pcma, payload_type: PCMA }],
            event_type: None,
            noise_type: None,
            packet: Duration::from_millis(20),
            keys: None,
            sends: true,
            receives: true,
        });
        Self { leg, socket, tone: Tone::new(hz, 8_000.0, Rate::Narrow), next: SeqNo(7), heard: Vec::new() }
    }

    fn frame(&mut self) {
        let (mut samples, mut packet) = ([0; 160], [0; HEADER_LEN_MIN + 160]);
        self.tone.fill(&mut samples);
        let fields = HeaderFields {
            marker: false,
            payload_type: PCMA,
            sequence: self.next.wire(),
            timestamp: self.next.0 as u32 * 160,
            ssrc: Ssrc(u32::from(self.leg.port())),
        };
        let header_len = HeaderWriter::new(&mut packet[..HEADER_LEN_MIN], fields, false).finish();
        g711::encode_a_law(&samples, &mut packet[header_len..]);
        self.next = self.next.next();
        self.socket.send_to(&packet, SocketAddr::new(LOOPBACK, self.leg.port())).unwrap();
        let mut datagram = [0; 400];
        while let Ok(len) = self.socket.recv(&mut datagram) {
            let payload = RtpHeader::parse(&datagram[..len]).unwrap().payload(&datagram[..len]).to_vec();
            let mut samples = vec![0; payload.len()];
            g711::decode_a_law(&payload, &mut samples);
            self.heard.extend(samples);
        }
    }

    /// Amplitude of the tone in the last half second.
    fn hears(&self, hz: f64) -> f64 {
        amplitude_of(&self.heard[self.heard.len().saturating_sub(4_000)..], 8_000, hz)
    }
}

fn speak(telephones: &mut [&mut Telephone], frames: u32) {
    let start = Instant::now();
    for frame in 0..frames {
        std::thread::sleep((start + Duration::from_millis(20) * frame).saturating_duration_since(Instant::now()));
        for telephone in telephones.iter_mut() {
            telephone.frame();
        }
    }
}

#[test]
fn telephones_in_a_room_hear_each_other_and_never_themselves() {
    let settings = PoolSettings {
        workers: 1,
        addresses: vec![(LOOPBACK, LOOPBACK)],
        first_port: 0,
        grace: Duration::from_secs(10),
    };
    let (workers, _events) = WorkerPool::start(&settings).unwrap();
    let media = MediaPool::start(&MediaSettings {
        bind: LOOPBACK,
        ports: 30_000..=39_999,
        port_rest: Duration::from_secs(1),
        threads: 2,
        legs_max: 4,
        complexity: 5,
    })
    .unwrap();
    workers.try_send(WORKER, Command::OpenRoom(ROOM)).unwrap();
    let (mut one, mut other) = (Telephone::call(&media, 500.0), Telephone::call(&media, 1_100.0));
    let mut waiting = Telephone::call(&media, 1_900.0);
    for (seat, telephone) in [(1, &one), (2, &other), (3, &waiting)] {
        let policy = if seat == 3 { SeatPolicy::default() } else { SeatPolicy::ALL };
        workers.try_send(WORKER, Command::SetPolicy { room: ROOM, seat: SeatId(seat), policy }).unwrap();
        telephone.leg.attach(workers.add_local_leg(WORKER, ROOM, SeatId(seat), LegId(seat)).unwrap());
    }
    speak(&mut [&mut one, &mut other, &mut waiting], 120);
    assert!(
        one.hears(1_100.0) > 1_500.0 && other.hears(500.0) > 1_500.0,
        "{} {}",
        one.hears(1_100.0),
        other.hears(500.0)
    );
    assert!(one.hears(500.0) < 100.0 && other.hears(1_100.0) < 100.0, "{} {}", one.hears(500.0), other.hears(1_100.0));
    for telephone in [&one, &other] {
        assert!(telephone.hears(1_900.0) < 50.0, "nobody hears who is not admitted");
    }
    assert!(waiting.hears(500.0) < 50.0 && waiting.hears(1_100.0) < 50.0, "who is not admitted hears nobody");

    let policy = SeatPolicy::ALL;
    workers.try_send(WORKER, Command::SetPolicy { room: ROOM, seat: SeatId(3), policy }).unwrap();
    speak(&mut [&mut one, &mut other, &mut waiting], 120);
    assert!(one.hears(1_100.0) > 1_000.0 && one.hears(1_900.0) > 1_000.0, "both others at once");
    assert!(waiting.hears(500.0) > 1_000.0 && waiting.hears(1_100.0) > 1_000.0);
    assert!(one.hears(500.0) < 100.0 && waiting.hears(1_900.0) < 100.0);
}
