//! Bytes <-> typed views of RTP, RTCP and codec payload headers. No state, no clock, no allocation per packet.
//!
//! Not here: encryption (`transport::srtp`), what to do with a packet (`sfu`). The one exception to "no state" is
//! [`dependency_descriptor`]: its bytes mean nothing without the template structure that came before them.

pub mod av1;
mod bits;
pub mod codec;
pub mod demux;
pub mod dependency_descriptor;
pub mod extension;
pub mod frame;
pub mod h264;
pub mod packet;
pub mod red;
pub mod rtcp;
pub mod seq;
pub mod vp8;
pub mod vp9;

#[cfg(test)]
mod random;
