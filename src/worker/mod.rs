//! worker
/// Number of a worker in its process, from 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WorkerId(pub usize);
