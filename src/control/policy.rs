//! Who may do what: a pure table from act and role to permissions, and who passes the waiting room.
//!
//! An act is data: later issues widen this table (gates before media, clinics' own variants) without touching its
//! callers. Not here: enforcement, which is the media plane's for media and `visit`'s for messages.

use colloque_signaling::message::{Permissions, Role};
use serde::{Deserialize, Serialize};

use crate::sfu::command::SeatPolicy;
use crate::store::Admission;

/// The five acts of telemedicine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Practitioner and patient.
    Teleconsultation,
    /// Practitioners among themselves about a patient.
    TeleExpertise,
    /// Recurring follow-up at home.
    Telemonitoring,
    /// A professional assists another during an act.
    Teleassistance,
    /// Emergency call regulation.
    Regulation,
}

impl Act {
    /// Every act.
    pub const ALL: [Act; 5] =
        [Act::Teleconsultation, Act::TeleExpertise, Act::Telemonitoring, Act::Teleassistance, Act::Regulation];

    /// The identifier in the API and the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Act::Teleconsultation => "teleconsultation",
            Act::TeleExpertise => "tele_expertise",
            Act::Telemonitoring => "telemonitoring",
            Act::Teleassistance => "teleassistance",
            Act::Regulation => "regulation",
        }
    }

    /// The act of an identifier.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Act> {
        Act::ALL.into_iter().find(|act| act.name() == name)
    }
}

/// Every role, in the order of the contract.
pub const ROLES: [Role; 10] = [
    Role::Practitioner,
    Role::Patient,
    Role::Nurse,
    Role::Companion,
    Role::Interpreter,
    Role::Expert,
    Role::Trainee,
    Role::Regulator,
    Role::Caller,
    Role::Guest,
];

/// The identifier of a role in the API and the store.
#[must_use]
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Practitioner => "practitioner",
        Role::Patient => "patient",
        Role::Nurse => "nurse",
        Role::Companion => "companion",
        Role::Interpreter => "interpreter",
        Role::Expert => "expert",
        Role::Trainee => "trainee",
        Role::Regulator => "regulator",
        Role::Caller => "caller",
        Role::Guest => "guest",
    }
}

/// The role of an identifier.
#[must_use]
pub fn role_from_name(name: &str) -> Option<Role> {
    ROLES.into_iter().find(|&role| role_name(role) == name)
}

/// Hosts admit, mute, remove and end.
#[must_use]
pub fn is_host(role: Role) -> bool {
    matches!(role, Role::Practitioner | Role::Regulator)
}

/// Where a new seat begins. Hosts never wait; an emergency caller is never kept waiting.
#[must_use]
pub fn first_admission(act: Act, role: Role, admitted: bool) -> Admission {
    if admitted || is_host(role) || (act == Act::Regulation && role == Role::Caller) {
        Admission::Direct
    } else {
        Admission::Waiting
    }
}

/// What an admitted seat may do with media.
#[must_use]
pub fn seat_policy(act: Act, role: Role) -> SeatPolicy {
    let speaks = role != Role::Trainee;
    SeatPolicy {
        microphone: speaks,
        camera: speaks,
        screen: may_share_screen(act, role),
        see: true,
        hear: true,
        data: speaks,
    }
}

/// What the page of a seat is told, and what `visit` enforces.
#[must_use]
pub fn permissions(act: Act, role: Role) -> Permissions {
    let media = seat_policy(act, role);
    let host = is_host(role);
    Permissions {
        microphone: media.microphone,
        camera: media.camera,
        screen: media.screen,
        admit: host,
        remove: host,
        mute: host,
        end: host,
    }
}

fn may_share_screen(act: Act, role: Role) -> bool {
    match role {
        Role::Practitioner | Role::Nurse | Role::Expert | Role::Regulator => true,
        Role::Patient | Role::Guest => act != Act::Regulation,
        Role::Companion | Role::Interpreter | Role::Trainee | Role::Caller => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_devices_and_emergency_callers_pass_the_waiting_room() {
        for act in Act::ALL {
            for role in ROLES {
                let direct = is_host(role) || (act == Act::Regulation && role == Role::Caller);
                let expected = if direct { Admission::Direct } else { Admission::Waiting };
                assert_eq!(first_admission(act, role, false), expected, "{act:?} {role:?}");
                assert_eq!(first_admission(act, role, true), Admission::Direct);
            }
        }
    }

    #[test]
    fn only_hosts_may_admit_remove_mute_or_end() {
        for act in Act::ALL {
            for role in ROLES {
                let p = permissions(act, role);
                assert_eq!([p.admit, p.remove, p.mute, p.end], [is_host(role); 4], "{act:?} {role:?}");
            }
        }
    }

    #[test]
    fn a_trainee_listens_and_watches_only() {
        let policy = seat_policy(Act::Teleconsultation, Role::Trainee);
        assert!(policy.see && policy.hear);
        assert!(!policy.microphone && !policy.camera && !policy.screen && !policy.data);
    }

    #[test]
    fn identifiers_are_those_of_the_protocol() {
        for role in ROLES {
            assert_eq!(serde_json::to_value(role).unwrap(), role_name(role));
            assert_eq!(role_from_name(role_name(role)), Some(role));
        }
        for act in Act::ALL {
            assert_eq!(serde_json::to_value(act).unwrap(), act.name());
        }
        assert_eq!(role_from_name("admin"), None);
    }
}
