//! Sequence numbers that do not wrap: the 16 bits of the wire extended by the rollover counter (RFC 3711 3.3.1).
//!
//! Not here: what a gap means. Invariant: no other file does arithmetic on a bare 16-bit sequence number.

/// An extended sequence number: rollover counter times 65536 plus the 16 bits of the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SeqNo(pub u64);

impl SeqNo {
    /// The 16 bits of the wire.
    #[must_use]
    pub fn wire(self) -> u16 {
        self.0 as u16
    }

    /// How often the wire's number wrapped.
    #[must_use]
    pub fn rollover(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// The number whose 16 bits are `wire` and that lies closest to `reference`; never below zero.
    #[must_use]
    pub fn nearest(wire: u16, reference: SeqNo) -> SeqNo {
        let step = wire.wrapping_sub(reference.wire()) as i16;
        match reference.0.checked_add_signed(i64::from(step)) {
            Some(extended) => SeqNo(extended),
            None => SeqNo(u64::from(wire)),
        }
    }
}
