//! The sound of telephone calls: one leg between a trunk's RTP and the room.
//!
//! ```text
//!  telephone --RTP--> source (whose packets) --> SRTP --+--> telephone-events ------------------> keys  --> owner
//!                                                       +--> jitter buffer, decoder --> tones ----^
//!                                                                  | gain
//!                                                                  v
//!                              room_line: Opus encoder --> LocalPort --> worker --> browsers
//!                              room_line: three decoders, mix, limiter <-- LocalPort <-- worker
//!                                                                  |
//!  telephone <--RTP-- SRTP <-- outgoing: encoder <-- prompts, tone, or the room, never digital silence
//! ```
//!
//! Threads of their own do all this in frames of 20 ms on absolute deadlines (`clock`, `thread`); a call's owner in the
//! control half of the program holds a [`MediaLeg`], wishes and is told (`desk`), and never waits. Not here: SIP, SDP,
//! prompts' words, who may enter a room. Invariant: no sound crosses between telephone and room unless a
//! [`crate::worker::local::LocalPort`] is attached, and that is only given for an admitted seat.

pub mod clock;
mod counters;
mod desk;
mod echo;
mod ear;
mod incoming;
mod keys;
mod leg;
mod outgoing;
mod pool;
pub mod ports;
mod prompt;
pub mod quality;
pub mod rtcp;
mod room_line;
pub mod source;
mod thread;

pub use desk::{Connection, Format, KeyWay, LastHeard, MediaEvent, Quality};
pub use keys::{CallKeys, KEY_AND_SALT_LEN};
pub use pool::{LegSpec, MediaLeg, MediaPool, MediaSettings, OpenError};
pub use prompt::{Clip, PlayId};

#[cfg(test)]
mod tests;
