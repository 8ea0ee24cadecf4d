//! What one packet costs the server, from the sealed datagram in to the sealed datagrams out, for N viewers.
//!
//! Calls `Sfu::handle_datagram` and `Sfu::flush` as the worker does, in bursts of eight packets; sealing the publisher's
//! packets is not measured, and nothing is sent. A plain timer, because a benchmark library would share dependencies with
//! the server and change how they are built. The median is the figure; the best tells how noisy the machine is.

#[path = "../tests/sim/data.rs"]
#[allow(dead_code)]
mod data;
#[path = "../tests/sim/far_side.rs"]
#[allow(dead_code)]
mod far_side;
#[path = "../tests/sim/network.rs"]
#[allow(dead_code)]
mod network;
#[path = "../tests/sim/publisher.rs"]
#[allow(dead_code)]
mod publisher;
#[path = "../tests/sim/receiver.rs"]
#[allow(dead_code)]
mod receiver;
#[path = "../tests/sim/wire.rs"]
#[allow(dead_code)]
mod wire;
#[path = "../tests/sim/world.rs"]
#[allow(dead_code)]
mod world;

use std::time::{Duration, Instant};

use colloque::rtp::codec::Source;
use colloque::sfu::Flush;
use colloque::transport::batch::{LocalSocket, Path, TransmitBatch};
use world::{Page, World};

fn main() {
    println!("ns per forwarded packet, the packet's own reception included");
    println!("{:>8} {:>8} {:>10} {:>10}", "bytes", "viewers", "median", "best");
    for bytes in [1200, 120] {
        for viewers in [1, 3, 9, 49] {
            let mut times = measure(bytes, viewers);
            times.sort_unstable_by(f64::total_cmp);
            println!("{bytes:>8} {viewers:>8} {:>10.0} {:>10.0}", times[times.len() / 2], times[0]);
        }
    }
}

/// Nanoseconds per forwarded packet, one figure a burst.
fn measure(bytes: usize, viewers: usize) -> Vec<f64> {
    let mut world = World::new(1);
    world.join(Page { voice: false, ..Page::new() });
    for _ in 0..viewers {
        world.join(Page::viewer().slots(1));
    }
    world.run(3000);
    world.people[0].publisher(Source::Camera).muted = true;
    world.run(200);
    let path = Path { local: LocalSocket(0), remote: world.people[0].address };
    let mut batch = TransmitBatch::new(2 << 20, 1024);
    let mut now = world.now;
    let mut packet = world.people[0].publishers[0].last_packet().expect("a packet was sent");
    packet.payload.resize(bytes, 0);
    packet.marker = false;
    let mut times = Vec::with_capacity(BURSTS);
    for burst in 0..BURSTS + WARM_UP {
        now += Duration::from_millis(10);
        let mut datagrams: [Vec<u8>; BURST] = std::array::from_fn(|_| {
            packet.seq += 1;
            let person = &mut world.people[0];
            person.send_plain(now, 0, &packet);
            person.outbox.pop().expect("a sealed packet")
        });
        packet.timestamp = packet.timestamp.wrapping_add(900);
        let began = Instant::now();
        for datagram in &mut datagrams {
            world.sfu.handle_datagram(now, now, path, datagram, &mut batch);
        }
        assert!(world.sfu.flush(now, &mut batch) == Flush::Done);
        let took = began.elapsed();
        assert_eq!(batch.datagrams().len(), BURST * viewers, "every packet to every viewer");
        batch.clear();
        if burst >= WARM_UP {
            times.push(took.as_nanos() as f64 / (BURST * viewers) as f64);
        }
    }
    times
}

/// Packets that arrive together, as a picture's do.
const BURST: usize = 8;
const BURSTS: usize = 1500;
const WARM_UP: usize = 300;
