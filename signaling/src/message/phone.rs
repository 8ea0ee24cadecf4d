//! What messages say of a seat's telephone: what it does, and why. Pages have words for each.

use serde::{Deserialize, Serialize};

/// What the telephone of a seat does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum PhoneState {
    /// It can be called.
    Ready,
    /// It cannot be called, for the cause that is told.
    Unavailable,
    /// The server calls it soon by itself, because its page is gone: unless that ends, or somebody calls it off.
    Planned,
    /// It does nothing any more: a call that was planned is not made.
    Idle,
    /// The number is being called. With a cause: that was in the way, and it is tried again.
    Calling,
    /// It rings.
    Ringing,
    /// Somebody or something has answered: a key joins.
    Confirming,
    /// On the line, outside the room.
    Waiting,
    /// In the room.
    In,
    /// In the room, and nothing is heard from it.
    Silent,
    /// In the room, and its line seems dead.
    Lost,
    /// It has left.
    Left,
    /// The call came to nothing.
    Failed,
}

/// Why a telephone does what it does. One at a time; pages have words for each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum PhoneCause {
    /// This server has no telephone, or its operator has switched calls off.
    SwitchedOff,
    /// The clinic gave no number.
    NumberMissing,
    /// What the clinic gave is no telephone number.
    NumberUnreadable,
    /// Short numbers are not called.
    NumberShort,
    /// Premium and satellite numbers are not called.
    NumberPremium,
    /// Emergency services are not called from here.
    NumberEmergency,
    /// The operator allows no calls to this country or kind of number.
    NumberNotAllowed,
    /// The consultation is end-to-end encrypted for good: a telephone cannot be.
    EncryptionRequired,
    /// End-to-end encryption ends with the telephone: the practitioner has to say yes first.
    EncryptionEnds,
    /// The seat is not in the consultation any more, or the consultation is over.
    Over,
    /// This person was called too often just now.
    TooOften,
    /// Whoever asked has too many calls running.
    TooManyAtOnce,
    /// Every line is in use.
    LinesBusy,
    /// The clinic's minutes of the day are used up.
    MinutesUsed,
    /// The call may not last longer.
    TimeUp,
    /// One line did not work: another one is tried.
    AnotherLine,
    /// No line works.
    NoLine,
    /// The telephone network knows no such number.
    NotInService,
    /// Nobody answered.
    NoAnswer,
    /// The line is busy.
    Busy,
    /// The call was refused.
    Refused,
    /// Answered, and no key pressed: perhaps a mailbox.
    NotConfirmed,
    /// A page or the clinic called it off.
    Cancelled,
    /// Nothing was ever heard from the telephone.
    NoSound,
    /// Nothing leaves for the telephone: it hears nothing.
    NothingSent,
    /// The line went dead.
    LineDead,
    /// The person hung up.
    HungUp,
    /// A host removed or refused the seat.
    Removed,
    /// The person refused a gate.
    Declined,
    /// The page took the voice back.
    BackToPage,
    /// The server stops.
    Draining,
    /// A fault of the server.
    Fault,
}
