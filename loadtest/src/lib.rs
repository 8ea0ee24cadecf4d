//! Load generator: many participants of many rooms in one process.
//!
//! A library, so that the server's interoperability tests use the same participants. What judges the server's
//! protocols is `connection` (str0m), which shares no code with it; `light` only loads it, and is cheap because it takes
//! packets, SRTP, DTLS and sockets from the `colloque` crate. Every scenario is bounded in people and in time.
//!
//! ```text
//!   main -> scenario -> participant -> signalling (WebSocket), connection (str0m, one UDP socket), media (stamps)
//!                    -> light (media threads), leg (what one sends), tally (what it counted)
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
