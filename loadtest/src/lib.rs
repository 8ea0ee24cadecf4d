//! Load generator: many participants of many rooms in one process, each with an independent WebRTC stack.
//!
//! A library, so that the server's interoperability tests use the same participant. Nothing here reads the server's
//! code: only its HTTP API, its signalling messages and the wire. Every scenario is bounded in people and in time.
//!
//! ```text
//!   main -> scenario -> participant -> signalling (WebSocket), connection (str0m, one UDP socket), media (stamps)
//!                    -> api (HTTP), process (/proc), report (JSON, table)
//! ```

pub mod api;
pub mod connection;
pub mod histogram;
pub mod leg;
pub mod light;
pub mod media;
pub mod participant;
pub mod process;
pub mod report;
pub mod scenario;
pub mod signalling;
pub mod tally;
