//! What strangers throw at a media port: datagrams that parse a little, enough to reach every check, and never pass one;
//! and among them what was overheard of running calls, valid but for where it comes from.
//!
//! Sent from sockets of their own at a steady rate, so that the server sees addresses it does not know. No source
//! address is forged. Nothing is answered or read.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use colloque::rtp::demux::Class;

use crate::overheard::{Overheard, Replays};
use crate::target::MediaAddress;

/// A thread that sends junk until it is stopped.
pub struct Storm {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    started: Instant,
    thread: JoinHandle<Replays>,
}

/// What a storm was.
#[derive(Clone, Copy, Debug)]
pub struct Thrown {
    /// Datagrams a second, replays included.
    pub per_second: f64,
    /// How many of them were replays.
    pub replays: Replays,
}

impl Storm {
    /// Begins to send `per_second` datagrams a second, evenly to all the addresses. Every second datagram that would have
    /// imitated one of a class is one of that class that was `overheard`, where there is one.
    pub fn start(targets: &[MediaAddress], overheard: &[Overheard], per_second: u32) -> Result<Self> {
        ensure!(!targets.is_empty(), "this target does not tell where its media goes");
        let pool = pool(targets, overheard);
        let any = if targets[0].address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let sockets: Vec<UdpSocket> =
            (0..SOCKETS).map(|_| UdpSocket::bind(any)).collect::<Result<_, _>>().context("a socket for junk")?;
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let body = move || send(&sockets, &pool, per_second, &stopped, &count);
        let thread = thread::Builder::new().name("junk".to_owned()).spawn(body)?;
        Ok(Self { stop, sent, started: Instant::now(), thread })
    }

    /// Stops and gives what went out.
    #[must_use]
    pub fn stop(self) -> Thrown {
        let seconds = self.started.elapsed().as_secs_f64();
        let sent = self.sent.load(Ordering::Relaxed);
        self.stop.store(true, Ordering::Relaxed);
        // A panic there would only mean that less was sent, which the count says.
        let replays = self.thread.join().unwrap_or_default();
        Thrown { per_second: sent as f64 / seconds.max(f64::EPSILON), replays }
    }
}

/// A datagram of the pool.
struct Missile {
    to: SocketAddr,
    bytes: Vec<u8>,
    /// Of what a replay was.
    replays: Option<Class>,
}

fn pool(targets: &[MediaAddress], overheard: &[Overheard]) -> Vec<Missile> {
    let mut random = Random(0x9e37_79b9);
    let missile = |index: usize| {
        let (round, kind) = (index / Kind::ALL.len(), Kind::ALL[index % Kind::ALL.len()]);
        let class = kind.imitated().filter(|_| round % 2 == 1);
        let of_class = || overheard.iter().filter(|one| Some(one.class) == class);
        if let Some(replay) = of_class().nth(round / 2 % of_class().count().max(1)) {
            return Missile { to: replay.to, bytes: replay.bytes.clone(), replays: class };
        }
        let target = &targets[index % targets.len()];
        Missile { to: target.address, bytes: kind.datagram(&mut random, &target.user), replays: None }
    };
    (0..POOL_LEN).map(missile).collect()
}

fn send(sockets: &[UdpSocket], pool: &[Missile], per_second: u32, stop: &AtomicBool, sent: &AtomicU64) -> Replays {
    let start = Instant::now();
    let mut replays = Replays::default();
    let mut next = 0usize;
    while !stop.load(Ordering::Relaxed) {
        let due = (start.elapsed().as_secs_f64() * f64::from(per_second)) as u64;
        // After a stall the rate goes on; it is not made up for, which would be a burst of another kind.
        let behind = due.saturating_sub(sent.load(Ordering::Relaxed)).min(u64::from(per_second) / 100 + 1);
        for _ in 0..behind {
            let missile = &pool[next % pool.len()];
            let socket = &sockets[next % sockets.len()];
            next += 1;
            if socket.send_to(&missile.bytes, missile.to).is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
                missile.replays.into_iter().for_each(|class| replays.record(class));
            }
        }
        thread::sleep(PAUSE);
    }
    replays
}

/// What a datagram pretends to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Noise,
    StunTruncated,
    StunUnknownUfrag,
    StunBadIntegrity,
    Rtp,
    Rtcp,
    ClientHello,
}

impl Kind {
    const ALL: [Kind; 7] = [
        Kind::Noise,
        Kind::StunTruncated,
        Kind::StunUnknownUfrag,
        Kind::StunBadIntegrity,
        Kind::Rtp,
        Kind::Rtcp,
        Kind::ClientHello,
    ];

    /// The class that it would have to be of to be taken; `None` for what no leg ever sends.
    fn imitated(self) -> Option<Class> {
        match self {
            Kind::Noise | Kind::StunTruncated | Kind::StunUnknownUfrag => None,
            Kind::StunBadIntegrity => Some(Class::Stun),
            Kind::Rtp => Some(Class::Rtp),
            Kind::Rtcp => Some(Class::Rtcp),
            Kind::ClientHello => Some(Class::Dtls),
        }
    }

    /// `user` is what a running call's checks name.
    fn datagram(self, random: &mut Random, user: &str) -> Vec<u8> {
        match self {
            Kind::Noise => {
                let len = 1 + random.below(1_200);
                random.bytes(len)
            }
            Kind::StunTruncated => {
                let mut request = stun(random, "gone:none");
                request.truncate(20 + random.below(request.len() - 20));
                request
            }
            Kind::StunUnknownUfrag => {
                let stranger = format!("{:08x}:{:04x}", random.next(), random.next() as u16);
                stun(random, &stranger)
            }
            Kind::StunBadIntegrity => stun(random, user),
            Kind::Rtp => {
                let payload_type = [96, 111][random.below(2)];
                let len = 60 + random.below(1_100);
                rtp_like(random, payload_type, len)
            }
            // 0x80 0xc8: a sender report.
            Kind::Rtcp => rtp_like(random, 200, 60),
            Kind::ClientHello => client_hello(random),
        }
    }
}

/// A binding request in order down to its fingerprint, with an integrity that nobody computed (RFC 8489, RFC 8445).
fn stun(random: &mut Random, user: &str) -> Vec<u8> {
    let mut request = vec![0x00, 0x01, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    request.extend(random.bytes(12));
    attribute(&mut request, 0x0006, user.as_bytes());
    let priority = random.bytes(4);
    attribute(&mut request, 0x0024, &priority);
    let tie_breaker = random.bytes(8);
    attribute(&mut request, 0x802a, &tie_breaker);
    attribute(&mut request, 0x0025, &[]);
    let integrity = random.bytes(20);
    attribute(&mut request, 0x0008, &integrity);
    let with_fingerprint = (request.len() + 8 - 20) as u16;
    request[2..4].copy_from_slice(&with_fingerprint.to_be_bytes());
    let fingerprint = crc32(&request) ^ 0x5354_554e;
    attribute(&mut request, 0x8028, &fingerprint.to_be_bytes());
    request
}

fn attribute(request: &mut Vec<u8>, kind: u16, value: &[u8]) {
    request.extend(kind.to_be_bytes());
    request.extend((value.len() as u16).to_be_bytes());
    request.extend(value);
    request.resize(request.len().next_multiple_of(4), 0);
}

/// RTP or RTCP of version 2 from a source that nobody announced, under a tag that nobody computed.
fn rtp_like(random: &mut Random, payload_type: u8, len: usize) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(random.bytes(len));
    packet
}

/// A DTLS 1.2 record with a handshake message of type ClientHello (RFC 6347 section 4.3).
fn client_hello(random: &mut Random) -> Vec<u8> {
    let mut hello = vec![0xfe, 0xfd];
    hello.extend(random.bytes(32)); // random
    hello.extend([0, 0]); // no session, no cookie
    hello.extend([0, 4, 0xc0, 0x2b, 0xc0, 0x2f]); // ECDHE with AES-128-GCM
    hello.extend([1, 0]); // no compression
    let len = (hello.len() as u32).to_be_bytes();
    let mut message = vec![1, len[1], len[2], len[3], 0, 0, 0, 0, 0, len[1], len[2], len[3]];
    message.extend(hello);
    let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0];
    record.extend((message.len() as u16).to_be_bytes());
    record.extend(message);
    record
}

/// The checksum of ISO 3309, bit by bit: the pool is made once.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// xorshift32: junk is the same in every run.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end.max(1)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 11) as u8).collect()
    }
}

/// Different datagrams: more would only cost memory, fewer would be in the server's cache.
const POOL_LEN: usize = 7_000;
/// Strangers' addresses.
const SOCKETS: usize = 16;
/// Between two bursts.
const PAUSE: Duration = Duration::from_micros(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_check_is_well_formed_and_for_the_leg_it_names() {
        let request = stun(&mut Random(7), "abcd:wxyz");
        assert_eq!(request.len() - 20, usize::from(u16::from_be_bytes([request[2], request[3]])));
        assert!(request.windows(9).any(|window| window == b"abcd:wxyz"));
        let (body, fingerprint) = request.split_last_chunk::<4>().unwrap();
        assert_eq!(crc32(&body[..body.len() - 4]) ^ 0x5354_554e, u32::from_be_bytes(*fingerprint));
    }

    #[test]
    fn every_kind_is_what_its_first_byte_says() {
        let mut random = Random(3);
        for kind in Kind::ALL {
            for _ in 0..50 {
                let datagram = kind.datagram(&mut random, "abcd");
                assert!(!datagram.is_empty() && datagram.len() <= 1_300, "{kind:?}");
                // RFC 7983.
                match kind {
                    Kind::Noise => {}
                    Kind::StunTruncated | Kind::StunUnknownUfrag | Kind::StunBadIntegrity => {
                        assert!(datagram[0] < 4 && datagram[4..8] == [0x21, 0x12, 0xa4, 0x42], "{kind:?}");
                    }
                    Kind::Rtp | Kind::Rtcp => assert!((128..192).contains(&datagram[0]), "{kind:?}"),
                    Kind::ClientHello => assert_eq!((datagram[0], datagram[13]), (22, 1)),
                }
            }
        }
    }

    #[test]
    fn a_storm_sends_what_it_says() {
        let sink = UdpSocket::bind("127.0.0.1:0").unwrap();
        sink.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let target = MediaAddress { address: sink.local_addr().unwrap(), user: "abcd:wxyz".to_owned() };
        let overheard = media_of(7, target.address);
        let storm = Storm::start(&[target], std::slice::from_ref(&overheard), 1_000).unwrap();
        let mut buffer = [0; 2_000];
        let mut replayed = 0;
        for _ in 0..50 {
            let len = sink.recv(&mut buffer).unwrap();
            replayed += u64::from(buffer[..len] == overheard.bytes);
        }
        let thrown = storm.stop();
        assert!(thrown.per_second > 0.0);
        assert!((3..=thrown.replays.rtp).contains(&replayed), "{replayed} came of {:?}", thrown.replays);
        assert!(Storm::start(&[], &[], 1_000).is_err());
    }

    fn media_of(number: u8, to: SocketAddr) -> Overheard {
        Overheard { class: Class::Rtp, to, bytes: [&[0x80, 96, 0, number][..], &[number; 60]].concat() }
    }

    #[test]
    fn every_second_imitation_is_a_replay_where_something_was_overheard() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let target = MediaAddress { address: address(40_000), user: "abcd:wxyz".to_owned() };
        let overheard = [media_of(1, address(40_001)), media_of(2, address(40_002))];
        let pool = pool(std::slice::from_ref(&target), &overheard);
        let replays: Vec<&Missile> = pool.iter().filter(|missile| missile.replays.is_some()).collect();
        assert_eq!((pool.len(), replays.len()), (POOL_LEN, POOL_LEN / Kind::ALL.len() / 2));
        for (number, replay) in replays.iter().enumerate() {
            let own = &overheard[number % 2];
            assert_eq!((replay.to, &replay.bytes, replay.replays), (own.to, &own.bytes, Some(Class::Rtp)));
        }
        assert!(super::pool(&[target], &[]).iter().all(|missile| missile.replays.is_none()));
    }
}
