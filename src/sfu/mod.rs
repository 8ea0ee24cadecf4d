//! Rooms and forwarding: the heart. `Sfu` is a value: datagrams, commands and instants in; datagrams, events and
//! the next instant out. It never reads a clock, opens a socket, spawns, locks or logs personal data.

pub mod command;
pub mod egress;
pub mod ingress;
pub mod parameters;
