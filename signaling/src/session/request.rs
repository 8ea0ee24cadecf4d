//! What a page asks of the control plane, once the session has found it due and permitted.
//!
//! Not here: the answers, which are methods of the session or server messages.

use std::fmt;

use crate::message::{GateAnswer, HandOverReason, MediaSource, Resume, Role, SenderInfo};

/// What a page asks of the control plane. `join` aside, it is due and permitted when it gets here.
#[derive(Clone, PartialEq, Eq)]
pub enum Request {
    /// Answer with [`super::Session::welcome`], [`super::Session::resume`] or [`super::Session::refuse`].
    Join {
        /// Session token, unverified.
        session: String,
        /// When it claims to come back, unverified.
        resume: Option<Resume>,
    },
    /// Answer with `ServerMessage::Answer` or `Error` and the same id.
    Offer {
        /// Repeated in the answer.
        id: u32,
        /// Unread.
        sdp: String,
        /// What each sending section carries.
        senders: Vec<SenderInfo>,
    },
    /// The page's own mute buttons.
    Sending {
        /// Voice on.
        microphone: bool,
        /// Camera on.
        camera: bool,
        /// Screen shared.
        screen: bool,
    },
    /// The shown size of a slot's picture.
    View {
        /// Which slot, unchecked.
        slot: u16,
        /// Pixels across; 0 when hidden.
        width: u16,
        /// Pixels down.
        height: u16,
    },
    /// Admit this seat.
    Admit {
        /// Unchecked.
        seat: String,
        /// Whom the host saw there.
        arrival: Option<u32>,
    },
    /// Remove or refuse this seat.
    Remove {
        /// Unchecked.
        seat: String,
    },
    /// Stop a seat's source, or let it again.
    Mute {
        /// Unchecked.
        seat: String,
        /// What.
        source: MediaSource,
        /// True to stop.
        muted: bool,
    },
    /// An answer to a gate.
    Gate {
        /// Unchecked.
        answer: GateAnswer,
    },
    /// Lock or unlock the room.
    Lock {
        /// True to lock.
        locked: bool,
    },
    /// Invite one more seat.
    Invite {
        /// Unchecked against the act.
        role: Role,
        /// Unchecked.
        display_name: Option<String>,
    },
    /// Give the consultation to a colleague's seat.
    HandOver {
        /// Unchecked.
        to: String,
        /// Why.
        reason: HandOverReason,
    },
    /// Begin or end an aside.
    Aside {
        /// True to begin.
        on: bool,
    },
    /// Call a seat's telephone.
    Call {
        /// Unchecked.
        seat: String,
        /// Encryption may end for it.
        encryption_ends: bool,
    },
    /// Call off or hang up a seat's telephone.
    HangUp {
        /// Unchecked.
        seat: String,
    },
    /// End this consultation and go on with the next of the queue.
    Next,
    /// End the consultation for everyone.
    End,
    /// The seat leaves; the session is closed already.
    Leave,
}

/// The name only: requests hold tokens and addresses.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Request::Join { .. } => "Join",
            Request::Offer { .. } => "Offer",
            Request::Sending { .. } => "Sending",
            Request::View { .. } => "View",
            Request::Admit { .. } => "Admit",
            Request::Remove { .. } => "Remove",
            Request::Mute { .. } => "Mute",
            Request::Gate { .. } => "Gate",
            Request::Lock { .. } => "Lock",
            Request::Invite { .. } => "Invite",
            Request::HandOver { .. } => "HandOver",
            Request::Aside { .. } => "Aside",
            Request::Call { .. } => "Call",
            Request::HangUp { .. } => "HangUp",
            Request::Next => "Next",
            Request::End => "End",
            Request::Leave => "Leave",
        })
    }
}
