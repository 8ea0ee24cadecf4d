//! What a leg sends us: one [`IngressTrack`] per microphone, camera or screen, with one [`IngressStream`] per
//! simulcast layer. Every accepted packet is kept once, in plaintext, for all of its viewers.
//!
//! Not here: decryption (`transport::srtp`), who receives what (`sfu::egress`), when to send what we owe the
//! publisher (the leg asks through the `poll_*` functions). No clock, no allocation per packet after warm-up.
//!
//! ```text
//!  plain RTP ─► StreamBindings ─► IngressTrack ──────────────► Accepted { layer, seq } ─► fan-out
//!               ssrc/rid/mid       │ RTX unwrapped, frame read
//!                                  ▼
//!                            IngressStream (a layer)
//!                              SeqExtender ─► ReceiveStats ─► report block ─┐
//!                                  ├────────► NackGenerator ─► NACK ────────┤
//!                                  ├────────► KeyframeRequests ─► PLI ──────┼─► RTCP to the publisher
//!                                  ▼                                        │
//!                             PacketCache ◄── viewers' NACKs                │
//!  transport-wide number ─► TransportCcGenerator (a leg) ─► feedback ───────┘
//!  audio level ─► SpeakerDetector (a room) ─► who speaks
//! ```

pub mod bindings;
pub mod cache;
pub mod keyframe;
pub mod meta;
pub mod nack_generator;
pub mod rate;
pub mod receive_stats;
pub mod speaker;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod track;
pub mod transport_cc;

pub use bindings::{StreamBindings, StreamRoute};
pub use cache::PacketCache;
pub use meta::{Accepted, ExtensionRange, LayerFacts, LayerIndex, PacketMeta};
pub use speaker::SpeakerDetector;
pub use stream::IncomingRtp;
pub use track::{IngressTrack, TimestampAlignment};
pub use transport_cc::TransportCcGenerator;
