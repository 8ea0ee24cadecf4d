//! Why a session is over, and the WebSocket close code that says so (RFC 6455 section 7.4).
//!
//! Not here: the message that tells the page, which goes before the close.

use crate::message::{Choice, ErrorCode};

/// Why a session is over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CloseReason {
    /// The page left.
    Left,
    /// The seat was opened elsewhere.
    Replaced,
    /// The seat was opened on another device.
    MovedDevice,
    /// A host removed or refused the seat.
    Removed,
    /// The person refused a gate or chose another way than video; the choice, when it was one.
    Declined(Option<Choice>),
    /// The page goes on in the next consultation of its queue.
    Next,
    /// The consultation is over.
    Ended,
    /// The first message was not an acceptable `join`, or none came; or a refusal by the control plane.
    Refused(ErrorCode),
    /// Too many messages.
    TooMany,
    /// Nothing heard for [`crate::limits::SILENCE_MAX`], or the socket did not take what was sent. The seat may resume.
    Lost,
}

impl CloseReason {
    /// WebSocket close code (RFC 6455 section 7.4); 4000 and up are this protocol's own.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            CloseReason::Left => 1000,
            CloseReason::Replaced => 4001,
            CloseReason::Removed => 4002,
            CloseReason::Ended => 4003,
            CloseReason::Refused(ErrorCode::Unavailable) => 1013,
            CloseReason::Refused(_) => 4004,
            CloseReason::TooMany => 4005,
            CloseReason::Lost => 4006,
            CloseReason::MovedDevice => 4007,
            CloseReason::Declined(_) => 4008,
            CloseReason::Next => 4009,
        }
    }
}
