//! Colloque: a self-hosted video teleconsultation server. This crate is the server; `main.rs` only wires it.
//!
//! The modules stand in dependency order: each may use only the ones above it (`tests/tidy.rs` keeps this).
//! `rtp`, `transport` and `sfu` are sans-IO: they never read a clock, open a socket, spawn, lock or use
//! unseeded randomness. `worker` is the only media I/O. ARCHITECTURE.md is the map.

pub mod ids;
pub mod units;
pub mod drops;
pub mod pii;
pub mod acts;
pub mod config;

pub mod rtp;
pub mod transport;
pub mod sfu;
pub mod worker;
pub mod store;
pub mod control;
pub mod web;
pub mod telephone;
