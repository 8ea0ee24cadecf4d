//! A telephone call from its first ring to its end, as pure machines: what happens goes in with its instant, what to do comes out.
//!
//! ```text
//!   dial-in    ring -> answer -> PIN, three tries ----------\
//!   dial-out   dial -> ringing -> answered -> "press 1" -----> seated: consent, waiting, in the room, keys, goodbye
//! ```
//!
//! Machines know no SIP, no sound and no rooms: [`Input`] is what their driver heard from these, [`Action`] is what it has to do with
//! them, in order. Each asks to be woken at [`poll_timeout`](dial_in::DialIn::poll_timeout). A digit that was typed lives in the machine
//! alone and prints as `***`.

pub(super) mod attendance;
pub(super) mod description;
pub mod dial_in;
pub mod dial_out;
pub(super) mod dialling;
pub(super) mod driver;
mod echo;
mod key_ways;
mod keys;
pub mod line;
pub(super) mod machine;
pub mod seated;
pub(super) mod test_call;
mod sound;

use std::time::Duration;

use colloque_signaling::message::{PhoneCause, PhoneState};

use crate::pii::Pii;

use super::prompts::Prompt;
use super::sip::Reason;

/// Something that happened to a call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// The telephone that we call rings.
    Ringing,
    /// The call stands, in either direction.
    Answered,
    /// The call that we make came to nothing.
    NotTaken(NotTaken),
    /// A line did not work; another one is being tried.
    AnotherLine,
    /// The other side hung up, or the signalling of the call broke.
    HungUp,
    /// A key was pressed.
    Key(Pii<char>),
    /// What was being said is through.
    Said,
    /// A PIN opens a seat.
    PinRight,
    /// A PIN opens nothing.
    PinWrong,
    /// Nobody can say whether a PIN opens anything.
    PinFault,
    /// The digits are those that try a line.
    SelfTest,
    /// Somebody spoke into the echo.
    Spoke,
    /// Where the seat is now.
    Room(RoomNews),
    /// What became of the sound.
    Line(line::LineNews),
    /// The person of the seat, a host or the clinic hangs up.
    Cancelled(PhoneCause),
    /// The server stops.
    Draining,
}

/// Where a call's seat is in its consultation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoomNews {
    /// Outside. `consent_due`: consent is asked of this person, and was not given.
    Waiting {
        /// Ask for it by key.
        consent_due: bool,
        /// The practitioner has to agree that encryption ends.
        encryption_ends: bool,
        /// Somebody is in the room who lets people in.
        host_present: bool,
    },
    /// Inside: sound may flow.
    Inside {
        /// Whom it hears.
        company: Company,
        /// A host has stopped its voice.
        silenced: bool,
    },
    /// Not to come in, or not any more.
    Out(OutReason),
}

/// Whom a telephone hears that is inside, and who hears it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Company {
    /// Nobody else is there.
    Nobody,
    /// Professionals speak apart from it.
    Apart,
    /// Everybody in the room.
    Others,
}

/// Why a seat is not in its consultation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OutReason {
    /// A host removed or refused it.
    Removed,
    /// Its person refused consent.
    Declined,
    /// The consultation is over.
    Over,
    /// It is end-to-end encrypted for good.
    EncryptionRequired,
    /// Every line is in use.
    LinesBusy,
    /// Its person is back on the page.
    BackToPage,
    /// Another call took the seat.
    Replaced,
    /// A host or the clinic hung up; the seat stays.
    Cancelled,
    /// The server could not do it.
    Fault,
}

/// Why a call that we make came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NotTaken {
    /// 486, 600.
    Busy,
    /// 480, 408 after it rang, 487.
    NoAnswer,
    /// 603, 607, 403 from the person's side.
    Refused,
    /// 404, 410, 484, 604.
    NotInService,
    /// Every line failed, or refused us.
    NoLine,
    /// Every line that works has as many calls as it may have.
    LinesBusy,
    /// The budget does not allow another try.
    NotAllowed(PhoneCause),
}

/// Something for the driver to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Answer the call that came in.
    Answer,
    /// Make the call: within budget, by the first line that works.
    Dial,
    /// Give up a call that was not answered.
    GiveUp,
    /// Say this; what is being said stops.
    Say(Prompt),
    /// Say nothing more.
    Hush,
    /// A short tone every fifteen seconds says that the line is alive, or does not any more.
    WaitingTone(bool),
    /// See what seat these digits open.
    CheckPin(Pii<String>),
    /// Take the seat's telephone place in the consultation.
    Arrive,
    /// The person's answer to the gate of consent.
    Consent(bool),
    /// Let the telephone hear itself, or not any more.
    Echo(bool),
    /// Let sound flow between telephone and room.
    Attach,
    /// Let none flow any more.
    Detach,
    /// Stop the telephone's voice, or let it again: its own wish.
    Mute(bool),
    /// Raise a hand, or take it down.
    Hand(bool),
    /// See whether the other side still answers (UPDATE, RFC 3311).
    Probe,
    /// Negotiate the sound anew.
    Renegotiate,
    /// Tell pages and journal.
    Tell(PhoneState, Option<PhoneCause>),
    /// Give the seat's place up.
    Leave,
    /// Hang up, for this reason. The call is over when this was done.
    HangUp(Reason),
}

/// Times of a call. The operator's, from the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// Tries at a PIN.
    pub pin_tries: u32,
    /// Digits after which a PIN is complete without a hash.
    pub pin_digits: usize,
    /// Between two digits of a PIN.
    pub inter_digit: Duration,
    /// For one try at a PIN.
    pub pin_total: Duration,
    /// How long a telephone rings.
    pub ring: Duration,
    /// Until a busy telephone is called once more.
    pub busy_retry: Duration,
    /// For the key that joins, after each of two prompts.
    pub confirm: Duration,
    /// Longest call that we make.
    pub call_max: Duration,
}

#[cfg(test)]
mod testing {
    //! What the machines' tests share.

    use super::*;

    pub(super) const TIMES: Times = Times {
        pin_tries: 3,
        pin_digits: 9,
        inter_digit: Duration::from_secs(15),
        pin_total: Duration::from_secs(60),
        ring: Duration::from_secs(35),
        busy_retry: Duration::from_secs(45),
        confirm: Duration::from_secs(12),
        call_max: Duration::from_secs(3_600),
    };

    pub(super) fn key(key: char) -> Input {
        Input::Key(Pii(key))
    }

    pub(super) fn waiting() -> Input {
        Input::Room(RoomNews::Waiting { consent_due: false, encryption_ends: false, host_present: true })
    }

    pub(super) fn inside() -> Input {
        Input::Room(RoomNews::Inside { company: Company::Others, silenced: false })
    }
}
