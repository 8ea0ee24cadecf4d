//! The commands beside `serve`, `demo` and `check`: each in a file of its own, for an administrator's shell.
//!
//! They may run beside a server on the same data directory.

pub mod audit;
pub mod backup;
pub mod clinic;
pub mod erase;
pub mod keys;
pub mod telephone;
