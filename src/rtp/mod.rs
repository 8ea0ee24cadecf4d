//! Bytes <-> typed views of RTP, RTCP and codec payload headers. No state, no clock, no allocation per packet.
//!
//! Not here: encryption (`transport::srtp`), what to do with a packet (`sfu`).

pub mod codec;
pub mod extension;
pub mod seq;
