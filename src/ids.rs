//! Identities on the media plane: small opaque numbers, never names.
//!
//! The control plane maps its public identifiers (random strings) to these. They are unique within one
//! process and carry no meaning, so they may appear in logs, metrics and events.

use std::fmt;

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

identity!(
    /// The media of one consultation on one worker.
    RoomId(u64)
);
identity!(
    /// A person's place in a room; may hold several legs.
    SeatId(u64)
);
identity!(
    /// One media connection of a seat.
    LegId(u64)
);
identity!(
    /// One published source of a leg (microphone, camera or screen) with all its layers. Given by the `Sfu`.
    TrackId(u64)
);
identity!(
    /// Index of a receive slot in a leg's offer: an audio and camera pair, or a lone section for WHEP.
    SlotId(u16)
);
identity!(
    /// RTP synchronisation source (RFC 3550 section 8).
    Ssrc(u32)
);
identity!(
    /// RTP payload type, 0..=127 (RFC 3550 section 5.1).
    PayloadType(u8)
);

impl SlotId {
    /// RTCP CNAME and SDP stream id of everything sent on this slot: what a browser synchronises by.
    #[must_use]
    pub fn cname(self) -> String {
        format!("slot-{}", self.0)
    }
}
