//! What a packet costs from the sealed datagram in to the sealed datagrams out, for N viewers: `Sfu::handle_datagram` and
//! `Sfu::flush` as the worker calls them, in bursts.
//!
//! The publisher's sealing is not measured, nothing is sent, and timers run between the bursts.

use std::time::Duration;

use crate::rtp::codec::Source;
use crate::sfu::Flush;
use crate::sim::publisher::Plain;
use crate::sim::world::{Page, World};
use crate::transport::batch::{LocalSocket, Path, TransmitBatch};

use super::{BURST, Case, Row, SIZES};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for bytes in SIZES {
        for viewers in [1, 3, 9, 49] {
            let name = format!("fan_out/{viewers}/{bytes}");
            rows.push(Row::new(name, "forwarded packet", (BURST * viewers) as u64, move || {
                FanOut::new(viewers, bytes)
            }));
        }
    }
    // As browsers cut a frame: half of the packets are a byte shorter, and are padded.
    rows.push(Row::new("fan_out/9/uneven".into(), "forwarded packet", (BURST * 9) as u64, || FanOut {
        uneven: true,
        ..FanOut::new(9, 1200)
    }));
    rows
}

/// One camera and its viewers.
pub(super) struct FanOut {
    pub(super) world: World,
    pub(super) batch: TransmitBatch,
    viewers: usize,
    bytes: usize,
    uneven: bool,
    path: Path,
    packet: Plain,
    burst: Vec<Vec<u8>>,
}

impl FanOut {
    /// Everybody has joined; the packets no longer carry the names that only the first seconds need.
    pub(super) fn new(viewers: usize, bytes: usize) -> Self {
        let mut world = World::new(1);
        world.join(Page { voice: false, ..Page::new() });
        for _ in 0..viewers {
            world.join(Page::viewer().slots(1));
        }
        world.run(400);
        world.people[0].publisher(Source::Camera).muted = true;
        world.run(2100);
        let mut packet = world.people[0].publishers[0].last_packet().expect("a packet was sent");
        packet.payload.resize(bytes, 0);
        packet.marker = false;
        let path = Path { local: LocalSocket(0), remote: world.people[0].address };
        let batch = TransmitBatch::new(2 << 20, 1024);
        Self { world, batch, viewers, bytes, uneven: false, path, packet, burst: Vec::new() }
    }

    /// Forwarded packets wait in `batch`.
    pub(super) fn forward(&mut self) {
        let Self { world, batch, path, burst, .. } = self;
        for datagram in burst {
            world.sfu.handle_datagram(world.now, world.now, *path, datagram, batch);
        }
        assert!(world.sfu.flush(world.now, batch) == Flush::Done);
    }
}

impl Case for FanOut {
    fn prepare(&mut self) {
        self.batch.clear();
        self.burst.clear();
        // Timers, reports and checks go on, whose cost is the `rooms` row's business.
        self.world.run(PAUSE.as_millis() as u64);
        let now = self.world.now;
        self.packet.timestamp = self.packet.timestamp.wrapping_add(PAUSE.as_millis() as u32 * 90);
        for at in 0..BURST {
            self.packet.seq += 1;
            self.packet.payload.resize(self.bytes - usize::from(self.uneven && at < BURST / 2), 0);
            let person = &mut self.world.people[0];
            person.send_plain(now, 0, &self.packet);
            self.burst.push(person.outbox.pop().expect("a sealed packet"));
        }
    }

    fn run(&mut self) {
        self.forward();
    }

    fn check(&mut self) {
        assert_eq!(self.batch.datagrams().len(), BURST * self.viewers, "every packet to every viewer");
        let len = self.batch.datagrams()[0].len;
        assert!(self.batch.datagrams().iter().all(|datagram| datagram.len == len), "all in one size");
    }
}

/// Between two bursts.
const PAUSE: Duration = Duration::from_millis(10);
