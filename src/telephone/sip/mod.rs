//! SIP: one endpoint for all trunks, and one owner for each call.
//!
//! ```text
//!  datagrams, streams --> gate (allow-list, buckets, size, sanity) --> rsipstack: parser and transactions
//!                                                                         |                    ^
//!                     Incoming / Progress / DialogEvent <-- call tasks <--+---- requests ------+
//! ```
//!
//! `rsipstack` brings the parser, the transactions (RFC 3261 section 17, RFC 6026) and UDP's messages; none of its types leaves this
//! folder. Dialogs, timers, authentication, streams and TLS are our own. Not here: SDP, sound, trunk health, policy. Whoever is not on
//! the allow-list hears nothing at all. Every wait has a deadline of ours. Dropping a call's handle ends the call and forgets it.

mod afterlife;
mod call;
mod causes;
mod dialog;
mod digest;
mod endpoint;
mod exchange;
mod fields;
mod gate;
mod hub;
mod inbound;
mod info;
mod inspection;
mod malformed;
mod names;
mod offers;
mod outbound;
mod registration;
mod screen;
mod session_timer;
mod state;
mod stream;
mod tls;

pub use causes::{DialFailure, EndCause, Reason, Refusal};
pub use dialog::{Dialog, DialogEvent, Reoffer, ReofferFailure};
pub use endpoint::{Endpoint, Incoming, Settings, StartError, Timers};
pub use exchange::ProbeFailure;
pub use fields::looks_like_sip;
pub use hub::Counters;
pub use inbound::{Gone, InboundCall};
pub use names::{Found, Names, SystemNames};
pub use outbound::{OutboundCall, Progress};
pub use registration::Registration;
pub use screen::{Dropped, Screen};
