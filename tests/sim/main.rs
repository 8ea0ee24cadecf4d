//! The simulation: an `Sfu` with 2 to 50 simulated pages over a bad network, in virtual time and from one seed.
//!
//! Every page is a protocol peer of its own: authenticated checks, handshake, SRTP, SCTP, NACK, reports. Each receiver
//! holds what it gets against what the publisher sent, byte by byte. Not here: sockets, real DTLS, real browsers.

mod calls;
mod chaos;
mod data;
mod far_side;
mod hostile;
mod layers;
mod losses;
mod network;
mod paths;
mod permissions;
mod phone;
mod phones;
mod publisher;
mod receiver;
mod rooms;
mod runs;
mod wire;
mod world;
