//! Whole calls through the driver: telephones at real trunks, SIP and sound, a seat in a consultation, and the page beside it.
//!
//! ```text
//!   telephone (SIP and RTP by hand, or baresip) <--trunk--> Lines, Driver <--> Consultations <--WebSocket--> page
//!                                                     \--sound--> worker --sound--> the other telephone
//! ```
//! Not here: SIP for itself (`tests/telephone`), sound for itself (`tests/telephones_meet.rs`), browsers (`tests/e2e`). Each test has a
//! server, ports and peers of its own. Nothing here measures speed: what is awaited is awaited for long.

#[path = "../telephone/authority.rs"]
mod authority;
mod baresip;
mod busy_worker;
mod dial_out;
mod drain;
mod encryption;
mod failover;
mod first;
mod hand_over;
mod line;
mod overtaken;
mod page;
mod phone;
#[path = "../telephone/raw.rs"]
mod raw;
mod secure;
mod server;
mod turn;
mod voice;
