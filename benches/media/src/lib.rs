//! The media path's benchmarks: set-ups that two harnesses share, `times.rs` (times, for people) and `instructions.rs`
//! (counts, for the gate).
//!
//! Compiles the media core from the server's own files, the first five rows of the module order, and nothing else of the
//! server: built with optimisation the whole server takes minutes, and the gate would pay them for each commit. Not a
//! copy: the modules below *are* `src/`. Without its feature this crate is empty.
#![cfg(feature = "media")]
// Much of the core is there for the rest of the server.
#![allow(dead_code, unused_imports)]

// The simulated far sides name the server's crate.
extern crate self as colloque;

#[path = "../../../src/drops.rs"]
pub mod drops;
#[path = "../../../src/ids.rs"]
pub mod ids;
#[path = "../../../src/pii.rs"]
pub mod pii;
#[path = "../../../src/rtp/mod.rs"]
pub mod rtp;
#[path = "../../../src/sfu/mod.rs"]
pub mod sfu;
#[path = "../../../src/transport/mod.rs"]
pub mod transport;
#[path = "../../../src/units.rs"]
pub mod units;

pub mod cases;
mod sim;
