//! Use cases: book, invite, join, admit, offer, mute, remove, leave, end. No HTTP, no sockets, no SDP parsing.
//!
//! ```text
//!   web ----> booking (clinics) ----> store
//!    |------> join (link -> session)
//!    |------> visit (a page's socket) --+
//!    |------> endpoint (WHIP and WHEP) -+--> room --Command--> media plane
//!   media plane --Event--> reports -----+      \--ServerMessage--> sockets
//! ```
//!
//! A consultation's live state is one `Room` behind one lock that is never held across an await. The store has the
//! last word on who is admitted; the room is its cache while somebody is there.

pub mod media;
pub mod policy;
