//! What is measured: one [`Row`] a figure. A row builds its [`Case`], which both harnesses then repeat.
//!
//! Names are the keys of `benches/instructions.json`; a renamed row is a new row. Cases live in virtual time and take
//! every random number from a seed, so that the same code does the same work each time.

mod demux;
mod egress;
mod fan_out;
mod nack;
mod rooms;
mod srtp;

/// Work that can be repeated for ever. Only `run` is measured.
pub trait Case {
    /// Makes the input of the next run.
    fn prepare(&mut self);

    /// The work, by calls of production functions only.
    fn run(&mut self);

    /// Panics when the run did something else than what its row says: a benchmark of nothing is fast.
    fn check(&mut self);
}

/// One figure.
pub struct Row {
    /// Group first: `fan_out/9/1200`.
    pub name: String,
    /// What is counted: `packet`, `datagram`.
    pub unit: &'static str,
    /// How many of them one run does.
    pub units: u64,
    /// Makes the case; may take a while.
    pub build: Box<dyn Fn() -> Box<dyn Case>>,
}

impl Row {
    fn new<C: Case + 'static>(name: String, unit: &'static str, units: u64, build: impl Fn() -> C + 'static) -> Self {
        Self { name, unit, units, build: Box::new(move || Box::new(build())) }
    }
}

/// Every figure, in the order in which tables show them.
#[must_use]
pub fn rows() -> Vec<Row> {
    let groups = [fan_out::rows(), rooms::rows(), nack::rows(), egress::rows(), demux::rows(), srtp::rows()];
    groups.into_iter().flatten().collect()
}

/// Bytes of payload: a full video packet, and one of a voice.
const SIZES: [usize; 2] = [1200, 120];
/// Packets that arrive together, as a picture's do.
const BURST: usize = 8;
