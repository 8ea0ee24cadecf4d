//! One leg's secure channel: ICE-lite (RFC 8445), DTLS (RFC 9147, 6347), SRTP (RFC 3711, 7714), SCTP (RFC 8831).
//!
//! Sans-IO: datagrams and instants in, datagrams and events out. Not here: rooms, tracks, who may hear whom (`sfu`).

pub mod batch;
pub mod boring_dtls;
mod dcep;
pub mod dtls;
pub mod dtls_sim;
mod ice;
pub mod ice_sim;
mod leg_transport;
pub mod local;
#[cfg(test)]
mod oracle;
pub mod parameters;
pub mod sctp;
mod sctp_guard;
pub mod srtp;
pub mod stun;

pub use ice::StunOutcome;
pub use leg_transport::{Transport, TransportEvent};
pub use stun::stun_username;
