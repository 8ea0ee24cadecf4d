//! Packets of a frame leave in one size where a few bytes of padding do it, so that they share a message to the kernel.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use colloque::rtp::codec::Source;
use colloque::sfu::Flush;
use colloque::transport::batch::{LocalSocket, Path, TransmitBatch};

use super::wire::Format;
use super::world::{Page, World, seed};

/// Lets a frame of packets with payloads of these lengths arrive at once: the lengths that leave, by viewer.
fn forwarded(world: &mut World, lens: &[usize]) -> HashMap<SocketAddr, Vec<usize>> {
    let mut plain = world.people[0].publisher(Source::Camera).last_packet().expect("a picture was sent");
    let path = Path { local: LocalSocket(0), remote: world.people[0].address };
    let mut batch = TransmitBatch::new(1 << 20, 512);
    plain.marker = false;
    for &len in lens {
        plain.seq += 1;
        plain.payload.resize(len, 0);
        world.people[0].send_plain(world.now, 0, &plain);
        let mut sealed = world.people[0].outbox.pop().expect("a sealed packet");
        world.sfu.handle_datagram(world.now, world.now, path, &mut sealed, &mut batch);
    }
    assert_eq!(world.sfu.flush(world.now, &mut batch), Flush::Done);
    let mut forwarded: HashMap<_, Vec<_>> = HashMap::new();
    for datagram in batch.datagrams() {
        forwarded.entry(datagram.path.remote).or_default().push(datagram.len);
    }
    forwarded
}

#[test]
fn packets_of_a_frame_that_differ_by_a_byte_leave_in_one_size() {
    let mut world = World::new(seed(1));
    world.join(Page { voice: false, ..Page::new() });
    world.join(Page::viewer());
    world.join(Page { dialect: Page::firefox().dialect, ..Page::viewer() });
    world.run(400);
    world.people[0].publisher(Source::Camera).muted = true;
    // Packets carry names for the first two seconds.
    world.run(2100);
    let before = world.sfu.counters();
    let sent = forwarded(&mut world, &[1041, 1041, 1041, 1042, 1042, 400]);
    let after = world.sfu.counters();
    assert_eq!(sent.len(), 2, "both viewers");
    for lens in sent.values() {
        assert!(lens[..5].iter().all(|&len| len == lens[3]), "{lens:?}");
        assert_eq!(lens[5] + 642, lens[3], "the last may be shorter");
    }
    assert_eq!(after.rtp_padded - before.rtp_padded, 6);
    let bytes: usize = sent.values().flatten().sum();
    assert_eq!(after.bytes_forwarded - before.bytes_forwarded, bytes as u64, "what is sent is counted");
}

#[test]
fn padding_is_never_a_part_of_the_picture() {
    for format in [Format::Vp8, Format::Vp9, Format::H264, Format::Av1Sealed] {
        let mut world = World::with(seed(2), [Page::new().camera(format), Page::firefox().camera(format)]);
        world.run(4000);
        world.assert_sound();
        let counters = world.sfu.counters();
        assert!(counters.rtp_padded > 20, "{} padded, {format:?}", counters.rtp_padded);
        assert!(world.frames(1, 11, Duration::ZERO) > 65, "{format:?}");
    }
}

#[test]
fn voices_are_never_padded() {
    let page = || Page { camera: None, ..Page::new() };
    let mut world = World::with(seed(3), [page(), page(), page()]);
    world.run(3000);
    let counters = world.sfu.counters();
    assert!(counters.rtp_forwarded > 600 && counters.rtp_padded == 0, "{counters:?}");
}
