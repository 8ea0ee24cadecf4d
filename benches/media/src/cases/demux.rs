//! From a datagram to its leg: the protocol by its first bytes, the leg by its address, among two hundred legs.
//!
//! `known` and `unknown` call `Sfu::handle_datagram` with RTP that is too short to hold a tag: what follows the look-up is
//! a refusal and a counter.

use std::hint::black_box;
use std::net::SocketAddr;

use crate::drops::DropReason;
use crate::rtp::demux::{Class, classify};
use crate::sim::world::World;
use crate::transport::batch::{LocalSocket, Path, TransmitBatch};

use super::rooms::{ROOMS, hundred_rooms};
use super::{Case, Row};

pub(super) fn rows() -> Vec<Row> {
    let legs = 2 * ROOMS as u64;
    vec![
        Row::new("demux/classify".into(), "datagram", CLASSIFIED as u64, Classify::new),
        Row::new("demux/known".into(), "datagram", legs, || LookUp::new(DropReason::SrtpAuth)),
        Row::new("demux/unknown".into(), "datagram", legs, || LookUp::new(DropReason::UnknownAddress)),
    ]
}

/// Mixed protocols, most of them media.
struct Classify {
    datagrams: Vec<[u8; 64]>,
    media: usize,
}

impl Classify {
    fn new() -> Self {
        let first = [0, 22, 0x80, 0x90, 0x80, 0x90, 0x80, 0x81];
        let datagrams = (0..CLASSIFIED).map(|at| {
            let mut datagram = [0; 64];
            // RTP with payload type 111 or 96, RTCP with packet type 206.
            (datagram[0], datagram[1]) = (first[at % 8], [111, 111, 111, 96, 111, 96, 96, 206][at % 8]);
            datagram
        });
        Self { datagrams: datagrams.collect(), media: 0 }
    }
}

impl Case for Classify {
    fn prepare(&mut self) {
        self.media = 0;
    }

    fn run(&mut self) {
        for datagram in &self.datagrams {
            let class = classify(black_box(&datagram[..]));
            self.media += usize::from(class == Some(Class::Rtp));
        }
    }

    fn check(&mut self) {
        assert_eq!(self.media, CLASSIFIED * 5 / 8, "five in eight are RTP");
    }
}

/// A datagram from everybody, or from as many strangers.
struct LookUp {
    world: World,
    batch: TransmitBatch,
    paths: Vec<Path>,
    refusal: DropReason,
    refused_before: u64,
}

impl LookUp {
    fn new(refusal: DropReason) -> Self {
        let world = hundred_rooms();
        let paths = world.people.iter().map(|person| {
            let known = person.address;
            let remote = match refusal {
                DropReason::UnknownAddress => SocketAddr::new(known.ip(), known.port() ^ 0x4000),
                _ => known,
            };
            Path { local: LocalSocket(0), remote }
        });
        let paths = paths.collect();
        Self { world, batch: TransmitBatch::new(64 << 10, 16), paths, refusal, refused_before: 0 }
    }
}

impl Case for LookUp {
    fn prepare(&mut self) {
        self.refused_before = self.world.sfu.counters().drops(self.refusal);
    }

    fn run(&mut self) {
        let now = self.world.now;
        for &path in &self.paths {
            let mut datagram = SHORT_RTP;
            self.world.sfu.handle_datagram(now, now, path, &mut datagram, &mut self.batch);
        }
    }

    fn check(&mut self) {
        let refused = self.world.sfu.counters().drops(self.refusal) - self.refused_before;
        assert_eq!(refused, self.paths.len() as u64, "each is refused for the same reason");
    }
}

const CLASSIFIED: usize = 1024;
const SHORT_RTP: [u8; 12] = [0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1];
