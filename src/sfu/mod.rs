//! Rooms and forwarding: the heart. `Sfu` is a value: datagrams, commands and instants in; datagrams, events and
//! the next instant out. It never reads a clock, opens a socket, spawns, locks or logs personal data.

pub mod command;
pub mod counters;
pub mod data;
pub mod egress;
mod engine;
mod handshakes;
pub mod ingress;
mod leg;
mod local_leg;
mod local_room;
mod loudest;
mod packets;
pub mod parameters;
mod reports;
mod room;
pub mod slots;
mod stage;

pub use engine::{Flush, Sfu, SfuConfig};
