//! The legal record.
pub mod runs;
pub mod timeline;
