//! The simulated far sides of `tests/sim`: they join, connect and seal what the benchmarks hand to the server.

#[path = "../../../tests/sim/data.rs"]
pub mod data;
#[path = "../../../tests/sim/far_side.rs"]
pub mod far_side;
#[path = "../../../tests/sim/network.rs"]
pub mod network;
#[path = "../../../tests/sim/phone.rs"]
pub mod phone;
#[path = "../../../tests/sim/publisher.rs"]
pub mod publisher;
#[path = "../../../tests/sim/receiver.rs"]
pub mod receiver;
#[path = "../../../tests/sim/wire.rs"]
pub mod wire;
#[path = "../../../tests/sim/world.rs"]
pub mod world;
