//! Acts of telemedicine as data: who may sit, who waits, what each role may do, gates before media, media defaults.
//!
//! The built-in set is `built_in.toml`; clinics add variants of their own in the configuration file, in the same form
//! (`definition`). [`Acts`] is valid by construction: `faults` refuses what cannot be played. docs/acts.md shows
//! the matrix to people, and a test holds it against this data. Not here: enforcement (`control::policy` onwards).
//!
//! ```text
//! built_in.toml ------> ActDefinition --on nothing----+
//! configuration file -> ActDefinition --on its base---+--> Act --faults--> Acts
//! ```

mod definition;
mod faults;
mod rights;
mod roles;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use colloque_signaling::message::Role;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use definition::{ActDefinition, GatesDefinition};
pub use rights::{Right, Rights};
pub use roles::{ROLES, is_professional, role_from_name, role_name};

/// One act, complete.
#[derive(Clone, PartialEq, Debug)]
pub struct Act {
    /// Identifier in the API and the store.
    pub name: String,
    /// For people who read the configuration.
    pub about: String,
    /// Opened also by a full server.
    pub emergency: bool,
    /// Who may sit, in the order of the contract. Others may not.
    pub roles: BTreeMap<Role, SeatRule>,
    /// What stands before media.
    pub gates: Gates,
    /// How media begins.
    pub media: MediaDefaults,
}

/// What holds for every seat of a role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeatRule {
    /// How many of them a consultation may have at the same time.
    pub seats: usize,
    /// Whether it begins in the waiting room.
    pub waits: bool,
    /// What it may do once admitted.
    pub may: Rights,
}

impl SeatRule {
    /// A role that may not sit: it waits for ever, and admitted all the same it may do nothing.
    pub const NO_SEAT: SeatRule = SeatRule { seats: 0, waits: true, may: Rights::NONE };
}

/// What must happen before a seat gets media, by role.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Gates {
    /// Who must have seen the card of every professional (title, name, specialty, RPPS number, address, fee).
    pub card: Vec<Role>,
    /// Who is asked for consent, to which text.
    pub consent: Consent,
    /// Who must declare whether a third person is in the room with them.
    pub third_person: Vec<Role>,
    /// Who is offered to answer that they prefer to come in person, or the telephone.
    pub preference: Vec<Role>,
}

/// Consent to the consultation at a distance.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// Who is asked; nobody when empty.
    #[schema(value_type = Vec<String>)]
    pub asked: Vec<Role>,
    /// Version of the text that was consented to, for the record.
    #[serde(default)]
    pub text: String,
}

/// How media begins. Data only in this version: pages do not read it yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MediaDefaults {
    /// The rung of the ladder on which seats begin.
    pub start: Start,
    /// Which camera a mobile device offers first.
    pub camera: Facing,
    /// Cameras that one seat may show at the same time.
    pub cameras: u8,
    /// What a shared screen is tuned for.
    pub screen: ScreenContent,
    /// Shorter buffers at the price of more stalls, for guided gestures.
    pub low_delay: bool,
}

/// See [`MediaDefaults::start`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Picture and voice.
    Video,
    /// Voice alone.
    Audio,
    /// A telephone call.
    Telephone,
}

/// See [`MediaDefaults::camera`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Facing {
    /// Towards the person.
    Front,
    /// Towards what the person looks at.
    Rear,
}

/// See [`MediaDefaults::screen`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScreenContent {
    /// Smooth.
    Motion,
    /// Sharp at few pictures a second: text, imaging.
    Detail,
}

impl Act {
    /// What holds for a role; for one without a seat, that it may do nothing.
    #[must_use]
    pub fn rule(&self, role: Role) -> SeatRule {
        self.roles.get(&role).copied().unwrap_or(SeatRule::NO_SEAT)
    }

    /// The gates of a booking that differ from this act's. Gives every fault, each with its key.
    pub fn gates_with(&self, own: &GatesDefinition) -> Result<Gates, Vec<String>> {
        let gates = own.on(&self.gates);
        let mut found = Vec::new();
        faults::gate_faults(&gates, &self.roles, |key, why| found.push(format!("{key}: {why}")));
        if found.is_empty() { Ok(gates) } else { Err(found) }
    }

    /// The first role of which there would be more seats than the act has.
    #[must_use]
    pub fn overfull(&self, seats: impl Iterator<Item = Role>) -> Option<Role> {
        let mut counts: BTreeMap<Role, usize> = BTreeMap::new();
        for role in seats {
            *counts.entry(role).or_default() += 1;
        }
        counts.into_iter().find(|&(role, count)| count > self.rule(role).seats).map(|(role, _)| role)
    }
}

/// Every act of this server.
#[derive(Clone, Debug)]
pub struct Acts {
    acts: Vec<Arc<Act>>,
    unconfigured: Arc<Act>,
}

impl Acts {
    /// The five built-in acts alone.
    #[must_use]
    pub fn built_in() -> Self {
        Self::with_variants(&[]).expect("nothing was added to the built-in acts, which a test holds to be valid")
    }

    /// The built-in acts and a clinic's variants of them. Gives every fault, each with the key of the file.
    pub fn with_variants(variants: &[ActDefinition]) -> Result<Self, Vec<String>> {
        let built_in = definition::built_in();
        let mut acts: Vec<Arc<Act>> = Vec::with_capacity(built_in.len() + variants.len());
        let mut found = Vec::new();
        for definition in &built_in {
            acts.push(Arc::new(definition.on(None, &definition.name, &mut found)));
        }
        let unconfigured = acts.pop().expect("the last of the built-in acts is the one for lost names");
        debug_assert_eq!(unconfigured.name, UNCONFIGURED);
        for (index, variant) in variants.iter().enumerate() {
            let path = faults::path(index, &variant.name);
            if acts.iter().any(|act| act.name == variant.name) || variant.name == UNCONFIGURED {
                found.push(format!("{path}.name: there is an act of this name already"));
                continue;
            }
            let base = acts.iter().take(built_in.len() - 1).find(|act| Some(&act.name) == variant.base.as_ref());
            match base.cloned() {
                Some(base) => acts.push(Arc::new(variant.on(Some(base.as_ref()), &path, &mut found))),
                None => found.push(format!("{path}.base: name the built-in act that this one varies")),
            }
        }
        if found.is_empty() { Ok(Self { acts, unconfigured }) } else { Err(found) }
    }

    /// The act that a booking names.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<Act>> {
        self.acts.iter().find(|act| act.name == name)
    }

    /// The act under which a stored consultation goes on. When its variant is no longer configured, nobody knows what
    /// it allowed: then everyone may see, hear and speak, hosts admit and end, and nothing else is possible.
    #[must_use]
    pub fn of_stored(&self, name: &str) -> &Arc<Act> {
        self.by_name(name).unwrap_or(&self.unconfigured)
    }

    /// Those that can be booked, the built-in ones first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Act>> {
        self.acts.iter()
    }
}

/// Seats of a consultation. They are small; the simulation proves rooms of this size.
pub const SEATS_MAX: usize = 50;
/// The act of stored consultations whose own is gone. Cannot be booked.
pub const UNCONFIGURED: &str = "unconfigured";
