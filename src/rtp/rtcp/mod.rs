//! RTCP on byte slices (RFC 3550 section 6, RFC 4585, RFC 5104, transport-wide congestion control): a reader that
//! borrows and a writer into the caller's buffer. Nothing here allocates.
//!
//! Not here: when to send what (`sfu::ingress`, `sfu::egress`) and SRTCP (`transport::srtp`).
//! Invariant: every iterator is bounded by the bytes it reads, whatever a header claims.

mod reader;
mod transport_feedback;
mod writer;

pub use reader::{
    FirEntry, FirIter, NackIter, ReportBlock, ReportIter, Rtcp, RtcpError, RtcpIter, SdesIter, SsrcIter, packets,
};
pub use transport_feedback::{Arrival, ArrivalIter, TICK_MICROS, TransportFeedback};
pub use writer::{CompoundWriter, SenderInfo};

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const TRANSPORT_LAYER_FEEDBACK: u8 = 205;
const PAYLOAD_SPECIFIC_FEEDBACK: u8 = 206;

/// Feedback message types of [`TRANSPORT_LAYER_FEEDBACK`].
const FORMAT_NACK: u8 = 1;
const FORMAT_TRANSPORT_CC: u8 = 15;
/// Feedback message types of [`PAYLOAD_SPECIFIC_FEEDBACK`].
const FORMAT_PLI: u8 = 1;
const FORMAT_FIR: u8 = 4;
const FORMAT_APPLICATION: u8 = 15;

#[cfg(test)]
mod tests;
