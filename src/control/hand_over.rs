//! Giving a consultation to a colleague: pure rules of who may take it, and what the giver keeps.
//!
//! The colleague's seat is one of the same consultation: the patient needs no new link. Nobody gets more by it than their role
//! has anyway, so it goes to a role that could run this consultation by itself.

use colloque_signaling::message::{HandOverReason, Permissions};

use super::stage::Stage;

/// A hand-over that was announced and is not done: the colleague is not there yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct HandOver {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) reason: HandOverReason,
}

/// What is known of the seat that is to take over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Colleague {
    /// Of its role.
    pub(super) of_role: Permissions,
    pub(super) stage: Stage,
}

/// Why a hand-over cannot be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HandOverRefusal {
    /// To the seat that gives.
    #[error("a consultation cannot be handed to oneself")]
    Oneself,
    /// No such seat, or one that was removed.
    #[error("no such seat")]
    NoSuchSeat,
    /// The role does not run consultations of this act.
    #[error("the role of this seat cannot run the consultation")]
    Role,
    /// The giver has no such right, or gave it away already.
    #[error("this seat may not do that")]
    NotPermitted,
    /// Nobody is there to be told.
    #[error("nobody is in the consultation")]
    NobodyThere,
}

/// Whether `from` may give to `to`.
pub(super) fn check(from: (&str, Permissions), to: (&str, Option<Colleague>)) -> Result<(), HandOverRefusal> {
    let (giver, granted) = from;
    let (taker, colleague) = to;
    if !granted.hand_over {
        return Err(HandOverRefusal::NotPermitted);
    }
    if giver == taker {
        return Err(HandOverRefusal::Oneself);
    }
    match colleague {
        None => Err(HandOverRefusal::NoSuchSeat),
        Some(colleague) if colleague.stage == Stage::Out => Err(HandOverRefusal::NoSuchSeat),
        Some(colleague) if !(colleague.of_role.end && colleague.of_role.hand_over) => Err(HandOverRefusal::Role),
        Some(_) => Ok(()),
    }
}

/// What is left to whoever gave the consultation away: to take part, no longer to run it.
pub(super) fn without_running(permissions: Permissions) -> Permissions {
    Permissions { admit: false, remove: false, mute: false, invite: false, hand_over: false, end: false, ..permissions }
}

/// Name in the store, among a seat's gates, of having given the consultation away; the answer is the seat that took it.
pub(super) const GIVEN_AWAY: &str = "handed_over";

#[cfg(test)]
mod tests {
    use colloque_signaling::message::Role;

    use crate::acts::Acts;

    use super::super::policy;
    use super::super::stage::Obstacle;
    use super::*;

    fn permissions(act: &str, role: Role) -> Permissions {
        policy::permissions(Acts::built_in().by_name(act).unwrap().rule(role).may)
    }

    #[test]
    fn it_goes_from_whoever_runs_a_consultation_to_whoever_could() {
        use HandOverRefusal as No;
        use Role::*;
        let waiting = Stage::Waiting(Obstacle::Host);
        for (act, from, to, stage, expected) in [
            ("teleconsultation", Practitioner, Practitioner, Stage::Inside, Ok(())),
            ("teleconsultation", Practitioner, Practitioner, waiting, Ok(())),
            ("teleconsultation", Practitioner, Practitioner, Stage::Out, Err(No::NoSuchSeat)),
            ("teleconsultation", Practitioner, Patient, Stage::Inside, Err(No::Role)),
            ("teleconsultation", Practitioner, Nurse, Stage::Inside, Err(No::Role)),
            ("teleconsultation", Patient, Practitioner, Stage::Inside, Err(No::NotPermitted)),
            ("tele_expertise", Practitioner, Expert, Stage::Inside, Err(No::Role)),
            ("tele_expertise", Expert, Practitioner, Stage::Inside, Err(No::NotPermitted)),
            ("telemonitoring", Nurse, Practitioner, Stage::Inside, Ok(())),
            ("regulation", Regulator, Regulator, Stage::Inside, Ok(())),
            ("regulation", Regulator, Practitioner, Stage::Inside, Ok(())),
            ("regulation", Regulator, Caller, Stage::Inside, Err(No::Role)),
        ] {
            let colleague = Colleague { of_role: permissions(act, to), stage };
            let found = check(("a", permissions(act, from)), ("b", Some(colleague)));
            assert_eq!(found, expected, "{act} {from:?} -> {to:?} {stage:?}");
        }
        let host = permissions("teleconsultation", Practitioner);
        let own = Colleague { of_role: host, stage: Stage::Inside };
        assert_eq!(check(("a", host), ("a", Some(own))), Err(No::Oneself));
        assert_eq!(check(("a", host), ("b", None)), Err(No::NoSuchSeat));
    }

    #[test]
    fn whoever_gave_it_away_takes_part_and_runs_nothing() {
        let host = permissions("tele_expertise", Role::Practitioner);
        let left = without_running(host);
        assert!(left.microphone && left.see && left.chat && left.aside);
        assert!(!(left.admit || left.remove || left.mute || left.invite || left.hand_over || left.end));
        assert_eq!(check(("a", left), ("b", None)), Err(HandOverRefusal::NotPermitted));
    }
}
