//! The use cases: what the front doors ask and the media plane tells, without HTTP and without media.

pub mod negotiation;
