//! No allocation per forwarded packet, proved by a counting allocator around the production functions.
//!
//! The far sides of the simulation record a call's datagrams first, sealed and all; then the same second of media is
//! driven through `handle_datagram`, `flush` and `handle_timeout` with counting on. Timers are inside the window: reports,
//! transport-wide feedback, receiver reports and NACKs must not allocate either. What may allocate is rare by nature:
//! joining, leaving, remapping, checks, handshakes, data channels.

#[path = "sim/data.rs"]
#[allow(dead_code)]
mod data;
#[path = "sim/far_side.rs"]
#[allow(dead_code)]
mod far_side;
#[path = "sim/network.rs"]
#[allow(dead_code)]
mod network;
#[path = "sim/phone.rs"]
#[allow(dead_code)]
mod phone;
#[path = "sim/publisher.rs"]
#[allow(dead_code)]
mod publisher;
#[path = "sim/receiver.rs"]
#[allow(dead_code)]
mod receiver;
#[path = "sim/wire.rs"]
#[allow(dead_code)]
mod wire;
#[path = "sim/world.rs"]
#[allow(dead_code)]
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use colloque::ids::SeatId;
use colloque::sfu::command::SeatPolicy;
use network::Link;
use world::{Page, World};

/// Counts what its own thread allocates while `COUNTING`.
struct Counting;

thread_local! {
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends has no counter any more, and nothing that is counted.
    let _ = COUNTING.try_with(|counting| {
        if counting.get() {
            ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
        }
    });
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as our caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as our caller's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as our caller's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What happened in the server in a second of a call that has run for a while.
struct Second {
    allocations: u64,
    forwarded: u64,
    padded: u64,
    again: u64,
}

fn measure(publisher: Page, viewer: Page, viewers: usize) -> Second {
    let mut world = World::new(7);
    world.join(publisher);
    for _ in 0..viewers {
        world.join(viewer.clone());
    }
    world.run(6000);
    world.around_server = Some(|inside| COUNTING.with(|counting| counting.set(inside)));
    let before = world.sfu.counters().clone();
    ALLOCATIONS.with(|allocations| allocations.set(0));
    world.run(1000);
    world.around_server = None;
    let after = world.sfu.counters();
    world.assert_sound();
    Second {
        allocations: ALLOCATIONS.with(Cell::get),
        forwarded: after.rtp_forwarded - before.rtp_forwarded,
        padded: after.rtp_padded - before.rtp_padded,
        again: after.retransmitted - before.retransmitted,
    }
}

#[test]
fn forwarding_voice_and_picture_allocates_nothing() {
    for viewers in [1, 3, 9] {
        let Second { allocations, forwarded, padded, .. } = measure(Page::new(), Page::viewer(), viewers);
        assert!(forwarded >= 90 * viewers as u64, "{forwarded} packets to {viewers} viewers");
        assert!(padded >= 4 * viewers as u64, "{padded} of {forwarded} packets padded");
        assert_eq!(allocations, 0, "for {forwarded} packets to {viewers} viewers");
    }
}

#[test]
fn simulcast_and_retransmission_both_ways_allocate_nothing() {
    for viewers in [1, 3, 9] {
        let lossy = Link::losing(0.05);
        let Second { allocations, forwarded, again, .. } =
            measure(Page::new().simulcast().link(lossy), Page::firefox().link(lossy), viewers);
        assert!(forwarded >= 90 * viewers as u64 && again > 0, "{forwarded} packets, {again} again");
        assert_eq!(allocations, 0, "for {forwarded} packets and {again} again to {viewers} viewers");
    }
}

#[test]
fn telephones_speak_and_hear_without_allocation() {
    for phones in [1, 3] {
        let mut world = World::with(8, (0..5).map(|_| Page { camera: None, ..Page::new() }));
        for at in 0..phones {
            let seat = SeatId(100 + at);
            world.set_policy(seat, SeatPolicy::ALL);
            world.add_phone(seat);
        }
        world.run(6000);
        world.around_server = Some(|inside| COUNTING.with(|counting| counting.set(inside)));
        let before = world.sfu.counters().clone();
        ALLOCATIONS.with(|allocations| allocations.set(0));
        world.run(1000);
        world.around_server = None;
        let after = world.sfu.counters();
        world.assert_sound();
        let (spoken, heard) = (after.local_in - before.local_in, after.local_out - before.local_out);
        assert!(spoken >= 48 * phones && heard >= 3 * 48 * phones, "{spoken} frames spoken, {heard} heard");
        assert_eq!(ALLOCATIONS.with(Cell::get), 0, "for {spoken} frames spoken and {heard} heard");
    }
}

#[test]
fn the_counter_counts() {
    COUNTING.with(|counting| counting.set(true));
    let boxed = std::hint::black_box(Box::new(1));
    COUNTING.with(|counting| counting.set(false));
    assert!(ALLOCATIONS.with(Cell::get) >= 1, "{boxed}");
}
