//! Colloque's signalling protocol: messages, the session state machine (no I/O), tokens, golden fixtures.
//!
//! `PROTOCOL.md` beside this crate is the contract for other people's clients; the fixtures under `fixtures/` are
//! read by the Rust and the TypeScript tests alike.

#[cfg(test)]
mod fixtures;
pub mod limits;
pub mod message;
pub mod outbox;
pub mod session;
pub mod token;
#[cfg(test)]
mod typescript;
