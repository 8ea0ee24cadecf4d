//! The seat's telephone: who may be called and how often, which seat a PIN opens, when a call takes over from a page.
//!
//! ```text
//!   numbers   what was written -> E.164, where calls may go
//!   budget    attempts, calls at once, minutes a day, the switch
//!   minutes   a clinic's minutes of the day: told when they are used, found again after a restart
//!   switchboard  all of that together, and the calls that run
//!   calling   who may want a call; what journal and pages are told of it (`told`), whose page is gone (`watch`)
//!   pins      digits -> seat in its time window; throttles against guessing
//!   encryption  whether a telephone may come in at all
//!   test_call the operator's own calls, to see whether a line works
//!   place     a call's place on its seat: waits, inside, out; its sound (`seat_phone` is the seat's side)
//!   ladder    what a connection is good for: video, stills, audio, telephone; when to step down and up
//! ```
//!
//! No SIP and no media: those are `telephone`. Everything personal (numbers, PINs, digits) travels as `Pii`.

pub mod budget;
pub mod calling;
pub mod encryption;
pub mod ladder;
mod minutes;
pub mod numbers;
pub mod pins;
pub mod place;
pub mod seat_phone;
pub mod switchboard;
pub mod test_call;
mod told;
mod watch;

pub use told::TelephoneState;
pub(super) use told::{PhonesTold, Telephone};

/// A share of a whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Percent(pub u8);
