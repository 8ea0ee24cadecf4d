//! The ten roles by name, and which of them are professionals.

use colloque_signaling::message::Role;

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

/// The identifier of a role in the API, the store and the configuration.
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

/// Those who may speak among themselves about a patient who does not hear them. A trainee is one too, but has no say;
/// an interpreter is bound by secrecy, but takes no part in the care.
#[must_use]
pub fn is_professional(role: Role) -> bool {
    matches!(role, Role::Practitioner | Role::Nurse | Role::Expert | Role::Regulator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_those_of_the_protocol() {
        for role in ROLES {
            assert_eq!(serde_json::to_value(role).unwrap(), role_name(role));
            assert_eq!(role_from_name(role_name(role)), Some(role));
        }
        assert_eq!(role_from_name("admin"), None);
    }
}
