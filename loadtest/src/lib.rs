//! Load generator: many participants of many rooms in one process, each with its own WebRTC connection.
//!
//! A library, so that the server's interoperability tests use the same parts. Scenarios and targets know the server by its
//! HTTP API, its signalling messages and the wire alone; `light` is cheap because it takes packets, SRTP, DTLS and sockets
//! from the `colloque` crate. Every scenario is bounded in people, count and time.
//!
//! ```text
//!   main -> scenario -> target (colloque, ...) -> api (HTTP), signalling (WebSocket)
//!              |            `-> engine -> light, or the webrtc crate      both: media (stamps), tally (counts)
//!              `-> process (/proc), own_cost, metrics, report (JSON, table), junk (with what was overheard of the legs)
//! ```
//!
//! `connection` is a third stack, str0m, which shares no code with the server: its tests drive it step by step.

pub mod api;
pub mod connection;
pub mod engine;
pub mod histogram;
pub mod junk;
pub mod leg;
pub mod light;
pub mod media;
pub mod metrics;
pub mod overheard;
pub mod own_cost;
pub mod process;
pub mod progress;
pub mod report;
pub mod scenario;
pub mod signalling;
pub mod tally;
pub mod target;
pub mod webrtc_leg;
