//! Trunks: which line is well, which is tried first, and the one driver that registers, probes and dials.
//!
//! Not here: SIP itself (`sip`), which number may be called. `health` is pure: facts and instants in, states and next moments out.

mod check;
mod choice;
mod driver;
mod health;

pub use check::{Asked, check};
pub use driver::{Dialled, Line, Place, Registered, TURN_MAX, Trunks};
pub use health::{Health, State};
