//! What a room costs in memory, counted by the allocator around the production functions, and that it stops growing.
//!
//! Not counted: what BoringSSL keeps of a handshake (the simulation has its own), sockets, and the workers' batches, which
//! do not grow with rooms. `--nocapture` prints the figures.

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

use world::{Page, World};

/// Follows what its own thread holds of what it allocated while `COUNTING`.
struct Counting;

thread_local! {
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static HELD: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: i64) {
    // A thread that ends has no counter any more, and nothing that is counted.
    let _ = COUNTING.try_with(|counting| {
        if counting.get() {
            HELD.with(|held| held.set(held.get() + bytes));
        }
    });
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: as our caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as our caller's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: as our caller's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn inside(inside: bool) {
    COUNTING.with(|counting| counting.set(inside));
}

/// A room of two such pages, everything of which is counted.
fn room_of_two(page: &Page) -> World {
    HELD.with(|held| held.set(0));
    let mut world = World::new(3);
    world.around_server = Some(inside);
    world.around_control = Some(inside);
    for _ in 0..2 {
        world.join(page.clone());
    }
    world
}

fn held_kib() -> i64 {
    HELD.with(Cell::get) / 1024
}

/// Data channels open, nobody says or shows anything.
#[test]
fn an_idle_room_of_two_holds_less_than_a_megabyte() {
    let mut world = room_of_two(&Page { data: true, ..Page::new() });
    for person in &mut world.people {
        person.publishers.iter_mut().for_each(|publisher| publisher.muted = true);
    }
    world.run(10_000);
    let held = held_kib();
    println!("an idle room of two: {held} KiB");
    assert!((1..1000).contains(&held), "{held} KiB");
}

#[test]
fn an_active_room_of_two_holds_less_than_three_megabytes_and_does_not_grow() {
    let mut world = room_of_two(&Page { data: true, ..Page::new().simulcast() });
    world.run(10_000);
    let early = held_kib();
    world.run(30_000);
    let late = held_kib();
    println!("an active room of two with three layers: {early} KiB after 10 s, {late} KiB after 40 s");
    assert!((1..3000).contains(&early), "{early} KiB");
    assert!(late <= early + early / 50, "from {early} to {late} KiB");
    world.assert_sound();
}
