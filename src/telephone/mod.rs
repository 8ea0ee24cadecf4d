//! The telephone: SIP trunks to the public network, sound to and from them, and the calls that take a seat.
//!
//! A front door onto `control`, like `web`; neither knows the other. Nothing of a number, a PIN or a key that was pressed reaches a log.

pub mod prompts;
pub mod sdp;
pub mod sip;
pub mod trunk;
pub mod media;
pub mod call;
mod figures;
pub mod lines;
pub mod opening;
mod tally;
