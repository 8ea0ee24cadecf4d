//! What we send to one viewer: which packets (`layer_selector`), under which numbers (`rewriter`), written how
//! (`forwarder`), how long (`run_padding`), answered again when lost (`nack_responder`), reported by (`sender_report`, `transport_cc`).
//!
//! Not here: the packets (`ingress::PacketCache`), encryption (`transport::srtp`), who sees whom (`room`).
//!
//! ```text
//!  PacketMeta ─► LayerSelector ─► Rewriter ─► Outgoing ─► write ─► (seal) ─► TransmitBatch
//!                 which layer      which number             │ record_sent
//!  viewer's NACK ─► NackResponder ─► PacketCache ─► write_resend (RFC 4588)
//!  viewer's RR, transport-cc ─► loss, round trip, TransportCcHistory ─► target::layer_target
//! ```

pub mod forwarder;
pub mod layer_selector;
pub mod nack_responder;
pub mod packet_writer;
pub mod rewriter;
pub mod run_padding;
pub mod sender_report;
pub mod stream;
pub mod target;
pub mod transport_cc;

#[cfg(test)]
mod continuity;
#[cfg(test)]
mod testing;

pub use forwarder::{Body, Forwarder, Outgoing, PacketNumbers};
pub use layer_selector::{LayerTarget, Switching};
pub use nack_responder::{NackResponder, Resend};
pub use packet_writer::{Stamp, Written};
pub use run_padding::{PacketSize, pad_runs};
pub use sender_report::{ClockMapping, EgressStats, NtpReference, NtpTime, SeatClock};
pub use stream::{EgressStream, WrittenResend};
pub use transport_cc::TransportCcHistory;
