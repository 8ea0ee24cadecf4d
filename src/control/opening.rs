//! Which opening of a link a seat belongs to: what the store keeps of its device, sessions say, and hosts saw.
//!
//! ```text
//!   32 bytes of the seat = 8 random ones of the opening | 24 of the digest that recognises the device
//! ```
//!
//! A device that comes back after another one had the seat is another opening. A reload on the same device is not. Not here: what
//! becomes of the page before (`join`).

use crate::store::SeatRecord;

use super::random;

/// The device with this digest takes the seat: what the store keeps.
pub(super) fn begun_by(device: [u8; 32]) -> [u8; 32] {
    let mut opening = device;
    opening[..OPENING_LEN].copy_from_slice(&random::bytes::<OPENING_LEN>());
    opening
}

/// Whether a seat that keeps this belongs to the device with this digest.
pub(super) fn is_by(kept: &[u8; 32], device: &[u8; 32]) -> bool {
    kept[OPENING_LEN..] == device[OPENING_LEN..]
}

/// Names the opening inside a session.
pub(super) fn serial(seat: &SeatRecord) -> u64 {
    let device = seat.device.unwrap_or_default();
    u64::from_be_bytes(device[..OPENING_LEN].try_into().expect("eight of 32 bytes"))
}

/// Names the opening to hosts, who say by it whom they admit; nothing before the first. A session cannot be made of it.
#[must_use]
pub fn arrival(seat: &SeatRecord) -> Option<u32> {
    seat.device.map(|_| serial(seat) as u32)
}

/// The other 24 bytes still tell all devices apart, and these all openings.
const OPENING_LEN: usize = 8;
