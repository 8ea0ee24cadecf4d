//! Professionals apart from everyone else: pure rules of who is shut out, and how long an aside lasts.
//!
//! Whoever is shut out sends and receives nothing, on the data channel neither, and is told so. Who they are follows from the
//! role alone: a newcomer is on the right side without anybody saying so.

use colloque_signaling::message::Role;

use crate::acts;

/// Whether an aside shuts out this role.
pub(super) fn shuts_out(on: bool, role: Role) -> bool {
    on && !acts::is_professional(role)
}

/// Whether there is somebody to speak apart with. `inside`: the roles of everyone in the room, those who reconnect included.
pub(super) fn is_possible(inside: impl Iterator<Item = Role>) -> bool {
    inside.filter(|&role| acts::is_professional(role)).count() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_but_professionals_is_shut_out_while_it_lasts() {
        for role in acts::ROLES {
            assert!(!shuts_out(false, role));
            let stays = matches!(role, Role::Practitioner | Role::Nurse | Role::Expert | Role::Regulator);
            assert_eq!(shuts_out(true, role), !stays, "{role:?}");
        }
    }

    #[test]
    fn it_takes_two_professionals() {
        use Role::*;
        for (inside, possible) in [
            (&[][..], false),
            (&[Practitioner], false),
            (&[Practitioner, Patient, Companion, Interpreter, Trainee], false),
            (&[Practitioner, Expert], true),
            (&[Expert, Expert, Patient], true),
        ] {
            assert_eq!(is_possible(inside.iter().copied()), possible, "{inside:?}");
        }
    }
}
