//! The telephone on a seat, as a value: whether one is on the line, whether it was let in, what it may hear of the room.
//!
//! ```text
//!   Absent --arrive--> On(waits) --admitted--> On(let in) --hangs up--> Away --calls back--> On(let in)
//!      ^--------------------hangs up--'                                   \--grace is over--> Absent
//! ```
//! A telephone is let in on its own, whatever its seat is: whoever types a PIN may be somebody else than the person on the
//! page. Not here: what changes it and who is told (`place`), calls (`telephone`). Invariant: it has a leg only while it is inside.

use colloque_signaling::message::PhoneCause;
use tokio::sync::watch;

use crate::control::stage::Stage;
use crate::ids::LegId;

use super::encryption::Encryption;

/// Where a telephone stands in its consultation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PhoneStage {
    /// Outside: nothing is heard in either direction.
    Waiting {
        /// Consent is asked of this person by key, and was not given.
        consent_due: bool,
        /// The practitioner has to agree that end-to-end encryption ends.
        encryption_ends: bool,
    },
    /// In the room: [`PhonePlace::attach`](super::place::PhonePlace::attach) gives its sound.
    Inside,
    /// Out for good: say why and hang up.
    Out(PhoneOut),
}

/// Why a telephone is out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PhoneOut {
    /// A host or the clinic removed or refused the seat.
    Removed,
    /// The person refused consent.
    Declined,
    /// The consultation is over.
    Over,
    /// Another call took the seat's place.
    Replaced,
    /// The page took the voice back.
    BackToPage,
    /// A host or the clinic hung up; the seat stays.
    Cancelled,
    /// The server closed the room.
    Fault,
}

impl PhoneOut {
    /// As a call that has no place yet is told it.
    pub(in crate::control) fn cause(self) -> PhoneCause {
        match self {
            PhoneOut::Removed => PhoneCause::Removed,
            PhoneOut::Declined => PhoneCause::Declined,
            PhoneOut::Over => PhoneCause::Over,
            PhoneOut::BackToPage => PhoneCause::BackToPage,
            PhoneOut::Replaced | PhoneOut::Cancelled => PhoneCause::Cancelled,
            PhoneOut::Fault => PhoneCause::Fault,
        }
    }
}

/// All that a call has to know of its room. The latest is what counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PhoneStanding {
    /// Where it stands.
    pub stage: PhoneStage,
    /// Somebody is in the room who lets people in.
    pub host_present: bool,
    /// Nobody else is in the room.
    pub alone: bool,
    /// A host has stopped its voice.
    pub silenced: bool,
    /// Professionals speak apart: it neither hears nor is heard.
    pub aside: bool,
}

impl PhoneStanding {
    /// Of a telephone that comes, until its room has settled.
    pub(in crate::control) fn of_arrival() -> Self {
        let stage = PhoneStage::Waiting { consent_due: false, encryption_ends: false };
        Self { stage, host_present: false, alone: true, silenced: false, aside: false }
    }
}

/// How a telephone comes to its seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// Somebody called us and typed the seat's PIN.
    DialledIn,
    /// We called the seat's number, and a key was pressed. That encryption ends was agreed to before.
    Called,
}

/// What is known when a telephone arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::control) struct Comes {
    pub(in crate::control) how: Arrival,
    /// The clinic vouched for the seat (`"admitted": true`).
    pub(in crate::control) vouched: bool,
    /// Its person is in the room.
    pub(in crate::control) attends: bool,
    /// It was in the room by telephone a moment ago, or still is as far as anybody knows, and is not heard any more.
    pub(in crate::control) returns: bool,
}

/// Whether a telephone that comes so needs no host. Everybody else waits: a PIN can be overheard, and a voice has no face.
pub(in crate::control) fn is_let_in(comes: Comes) -> bool {
    comes.vouched || comes.returns || (comes.how == Arrival::Called && comes.attends)
}

/// The telephone of a seat.
#[derive(Default)]
pub(in crate::control) enum SeatPhone {
    /// None.
    #[default]
    Absent,
    /// On the line.
    On(OnLine),
    /// It was in the room and hung up, or its line broke: kept for the grace period.
    Away { call: u64 },
}

/// A telephone on the line.
pub(in crate::control) struct OnLine {
    /// Which call: the place of one that was replaced can do nothing any more.
    pub(in crate::control) call: u64,
    pub(in crate::control) how: Arrival,
    /// By a host, or as [`is_let_in`] says.
    pub(in crate::control) let_in: bool,
    /// The practitioner agreed that encryption ends for it, or there is none.
    pub(in crate::control) agreed: bool,
    /// Its leg on the media plane.
    pub(in crate::control) leg: Option<LegId>,
    /// By its own key.
    pub(in crate::control) muted: bool,
    pub(in crate::control) hand: bool,
    /// What its call was told.
    pub(in crate::control) standing: watch::Sender<PhoneStanding>,
}

impl SeatPhone {
    pub(in crate::control) fn on_line(&self) -> Option<&OnLine> {
        match self {
            SeatPhone::On(line) => Some(line),
            SeatPhone::Absent | SeatPhone::Away { .. } => None,
        }
    }

    pub(in crate::control) fn on_line_mut(&mut self) -> Option<&mut OnLine> {
        match self {
            SeatPhone::On(line) => Some(line),
            SeatPhone::Absent | SeatPhone::Away { .. } => None,
        }
    }

    /// How the telephone on the line came.
    pub(in crate::control) fn came(&self) -> Option<Arrival> {
        Some(self.on_line()?.how)
    }

    /// Whether the seat is kept for it.
    pub(in crate::control) fn is_there(&self) -> bool {
        !matches!(self, SeatPhone::Absent)
    }

    /// Whether it left the room a moment ago.
    pub(in crate::control) fn is_away(&self) -> bool {
        matches!(self, SeatPhone::Away { .. })
    }

    pub(in crate::control) fn leg(&self) -> Option<LegId> {
        self.on_line()?.leg
    }
}

impl OnLine {
    /// Where it stands, as far as its seat has come. Whoever puts a seat out tells its telephone beside.
    pub(in crate::control) fn stage(&self, seat: Stage, consent_due: bool) -> PhoneStage {
        if seat.is_inside() && self.let_in && self.agreed {
            PhoneStage::Inside
        } else {
            PhoneStage::Waiting { consent_due, encryption_ends: self.let_in && !self.agreed }
        }
    }
}

/// Whether a telephone that comes so needs nobody's yes to the end of encryption.
pub(in crate::control) fn is_agreed(how: Arrival, encryption: Encryption) -> bool {
    encryption.admits_telephone(how == Arrival::Called).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::stage::Obstacle;

    #[test]
    fn a_telephone_waits_for_a_host_unless_it_is_known_already() {
        for bits in 0..16 {
            let bit = |at: u8| bits & (1 << at) != 0;
            let how = if bit(0) { Arrival::Called } else { Arrival::DialledIn };
            let comes = Comes { how, vouched: bit(1), attends: bit(2), returns: bit(3) };
            let expected = comes.vouched || comes.returns || (how == Arrival::Called && comes.attends);
            assert_eq!(is_let_in(comes), expected, "{comes:?}");
        }
        let stranger = Comes { how: Arrival::DialledIn, vouched: false, attends: true, returns: false };
        assert!(!is_let_in(stranger), "also beside a page that is inside");
    }

    #[test]
    fn it_is_inside_only_with_its_seat_let_in_itself_and_with_encryption_settled() {
        let stages = [Stage::Out, Stage::Inside]
            .into_iter()
            .chain([Obstacle::Host, Obstacle::Lock, Obstacle::Login, Obstacle::Gates].map(Stage::Waiting));
        for stage in stages {
            for (let_in, agreed) in [(false, false), (false, true), (true, false), (true, true)] {
                let (standing, _) = watch::channel(PhoneStanding::of_arrival());
                let how = Arrival::DialledIn;
                let line = OnLine { call: 1, how, let_in, agreed, leg: None, muted: false, hand: false, standing };
                let expected = match stage {
                    Stage::Inside if let_in && agreed => PhoneStage::Inside,
                    _ => PhoneStage::Waiting { consent_due: true, encryption_ends: let_in && !agreed },
                };
                assert_eq!(line.stage(stage, true), expected, "{stage:?} {let_in} {agreed}");
            }
        }
    }

    #[test]
    fn encryption_is_settled_for_whom_we_called_and_never_where_it_is_required() {
        for (how, encryption, expected) in [
            (Arrival::DialledIn, Encryption::Off, true),
            (Arrival::DialledIn, Encryption::Preferred, false),
            (Arrival::Called, Encryption::Preferred, true),
            (Arrival::Called, Encryption::Required, false),
        ] {
            assert_eq!(is_agreed(how, encryption), expected, "{how:?} {encryption:?}");
        }
    }
}
