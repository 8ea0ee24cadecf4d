//! Units of measure as types, so that a bit rate is never added to a byte count.

use std::time::Duration;

/// Bits per second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Bitrate(pub u64);

impl Bitrate {
    /// The rate that moves `size` in `span`; zero for an empty span.
    #[must_use]
    pub fn from_size(size: DataSize, span: Duration) -> Self {
        let micros = span.as_micros() as u64;
        Self(size.0.saturating_mul(8_000_000).checked_div(micros).unwrap_or(0))
    }
}

/// Bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct DataSize(pub u64);

/// A picture's size in pixels, as encoded or as shown on a page. `width == 0` means not shown at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PictureSize {
    /// Pixels across.
    pub width: u16,
    /// Pixels down.
    pub height: u16,
}
