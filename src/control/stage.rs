//! How far a seat has come, and what that lets it do with media: pure functions from what is known of it.
//!
//! ```text
//!   Out       removed, or declined: its links do not work
//!   Waiting   something is in its way: a host, the lock, a login, a gate
//!   Inside    roster, messages, media - unless an aside or a card nobody has read yet shuts its media
//! ```
//!
//! Not here: what changes these things (`room`), and rights by role (`policy`).

use crate::sfu::command::SeatPolicy;
use crate::store::Admission;

use super::seat::Sources;

/// What is known of a seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Known {
    pub(super) admission: Admission,
    /// Opened on another device, and not let in since.
    pub(super) other_device: bool,
    /// The lock is against it (`lock`).
    pub(super) locked_out: bool,
    /// A login is demanded, and has not been.
    pub(super) login_due: bool,
    /// A gate is in its way (`gates::shut_out`).
    pub(super) gates_due: bool,
}

/// How far a seat has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Its links do not work.
    Out,
    /// Outside, for this first reason.
    Waiting(Obstacle),
    /// In the room.
    Inside,
}

/// What is in the way of a seat. In the order in which it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Obstacle {
    /// A host has to let it in.
    Host,
    /// The room is locked.
    Lock,
    /// Its professional has to log in.
    Login,
    /// Its person has to answer.
    Gates,
}

impl Stage {
    /// How far a seat has come.
    pub(super) fn of(known: Known) -> Self {
        let Known { admission, other_device, locked_out, login_due, gates_due } = known;
        let obstacle = match admission {
            Admission::Refused | Admission::Declined => return Stage::Out,
            Admission::Waiting => Some(Obstacle::Host),
            // A seat that never waits moves with its person.
            Admission::Admitted if other_device => Some(Obstacle::Host),
            Admission::Admitted | Admission::Direct if locked_out => Some(Obstacle::Lock),
            Admission::Admitted | Admission::Direct if login_due => Some(Obstacle::Login),
            Admission::Admitted | Admission::Direct if gates_due => Some(Obstacle::Gates),
            Admission::Admitted | Admission::Direct => None,
        };
        obstacle.map_or(Stage::Inside, Stage::Waiting)
    }

    /// Whether it is in the room.
    pub(super) fn is_inside(self) -> bool {
        self == Stage::Inside
    }
}

/// What shuts the media of a seat that is inside.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Shut {
    /// Professionals speak apart from it.
    pub(super) aside: bool,
    /// Its card was not read yet by somebody who is to read it first.
    pub(super) card: bool,
    /// What a host stopped.
    pub(super) silenced: Sources,
}

/// What the media plane is to let a seat do, of what its role may.
pub(super) fn media_policy(of_role: SeatPolicy, stage: Stage, shut: Shut) -> SeatPolicy {
    if !stage.is_inside() || shut.aside || shut.card {
        return SeatPolicy::default();
    }
    SeatPolicy {
        microphone: of_role.microphone && !shut.silenced.microphone,
        camera: of_role.camera && !shut.silenced.camera,
        screen: of_role.screen && !shut.silenced.screen,
        ..of_role
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMISSIONS: [Admission; 5] =
        [Admission::Waiting, Admission::Admitted, Admission::Direct, Admission::Refused, Admission::Declined];

    /// Every combination of what can be known of a seat.
    fn everything_known() -> impl Iterator<Item = Known> {
        let bit = |bits: u8, at: u8| bits & (1 << at) != 0;
        ADMISSIONS.into_iter().flat_map(move |admission| {
            (0..16).map(move |bits| Known {
                admission,
                other_device: bit(bits, 0),
                locked_out: bit(bits, 1),
                login_due: bit(bits, 2),
                gates_due: bit(bits, 3),
            })
        })
    }

    #[test]
    fn a_seat_is_inside_only_when_nothing_at_all_is_in_its_way() {
        for known in everything_known() {
            let Known { admission, other_device, locked_out, login_due, gates_due } = known;
            let passes = match admission {
                Admission::Direct => true,
                Admission::Admitted => !other_device,
                Admission::Waiting | Admission::Refused | Admission::Declined => false,
            };
            let expected = passes && !locked_out && !login_due && !gates_due;
            assert_eq!(Stage::of(known).is_inside(), expected, "{known:?}");
            let out = matches!(admission, Admission::Refused | Admission::Declined);
            assert_eq!(Stage::of(known) == Stage::Out, out, "{known:?}");
        }
    }

    #[test]
    fn no_media_before_a_seat_is_inside_whatever_its_role() {
        for known in everything_known() {
            let policy = media_policy(SeatPolicy::ALL, Stage::of(known), Shut::default());
            let expected = if Stage::of(known).is_inside() { SeatPolicy::ALL } else { SeatPolicy::default() };
            assert_eq!(policy, expected, "{known:?}");
        }
    }

    #[test]
    fn an_aside_or_an_unread_card_shuts_everything_and_a_mute_its_source_alone() {
        let shut = |shut: Shut| media_policy(SeatPolicy::ALL, Stage::Inside, shut);
        assert_eq!(shut(Shut { aside: true, ..Shut::default() }), SeatPolicy::default());
        assert_eq!(shut(Shut { card: true, ..Shut::default() }), SeatPolicy::default());
        let silenced = Sources { camera: true, ..Sources::default() };
        let policy = shut(Shut { silenced, ..Shut::default() });
        assert_eq!(policy, SeatPolicy { camera: false, ..SeatPolicy::ALL });
        assert_eq!(media_policy(SeatPolicy::default(), Stage::Inside, Shut::default()), SeatPolicy::default());
    }
}
