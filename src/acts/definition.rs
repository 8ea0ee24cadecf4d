//! An act as it is written in TOML: the built-in set and the configuration file's `[[acts]]` have this one form.
//!
//! A built-in act says everything. A variant names its `base` and says only what differs: a role's `may` replaces the
//! base's list as a whole, so that what applies can be read in one place; `seats = 0` takes the role's seat away.

use std::collections::BTreeMap;

use colloque_signaling::message::Role;
use serde::Deserialize;
use utoipa::ToSchema;

use super::faults;
use super::rights::Rights;
use super::roles::role_name;
use super::{Act, Consent, Facing, Gates, MediaDefaults, ScreenContent, SeatRule, Start};

/// One `[[acts]]` of a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActDefinition {
    pub(super) name: String,
    pub(super) base: Option<String>,
    about: Option<String>,
    emergency: Option<bool>,
    #[serde(default)]
    roles: BTreeMap<Role, RoleDefinition>,
    #[serde(default)]
    gates: GatesDefinition,
    #[serde(default)]
    media: MediaDefinition,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleDefinition {
    seats: Option<usize>,
    waits: Option<bool>,
    may: Option<Rights>,
}

/// Gates before media where they differ from the base's, or in a booking from its act's. What is not said stays.
#[derive(Clone, PartialEq, Eq, Default, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GatesDefinition {
    /// Who reads the professionals' cards.
    #[schema(value_type = Option<Vec<String>>)]
    pub card: Option<Vec<Role>>,
    /// Who is asked for consent, to which text.
    pub consent: Option<Consent>,
    /// Who declares whether a third person is in the room.
    #[schema(value_type = Option<Vec<String>>)]
    pub third_person: Option<Vec<Role>>,
    /// Who may answer that they prefer to come in person, or the telephone.
    #[schema(value_type = Option<Vec<String>>)]
    pub preference: Option<Vec<Role>>,
}

#[derive(Clone, Copy, Default, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MediaDefinition {
    start: Option<Start>,
    camera: Option<Facing>,
    cameras: Option<u8>,
    screen: Option<ScreenContent>,
    low_delay: Option<bool>,
}

/// The built-in acts; the last is the one for stored consultations whose own act is gone.
pub(super) fn built_in() -> Vec<ActDefinition> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct BuiltIn {
        acts: Vec<ActDefinition>,
    }
    toml::from_str::<BuiltIn>(BUILT_IN).expect("the embedded acts parse: a test says so").acts
}

impl ActDefinition {
    /// The complete act: this on its base, or on nothing when it is built in. Adds what is impossible about it, each
    /// beginning with `path`.
    pub(super) fn on(&self, base: Option<&Act>, path: &str, found: &mut Vec<String>) -> Act {
        let nothing = Act {
            name: String::new(),
            about: String::new(),
            emergency: false,
            roles: BTreeMap::new(),
            gates: Gates::default(),
            media: MediaDefaults::PLAIN,
        };
        let base = base.unwrap_or(&nothing);
        let act = Act {
            name: self.name.clone(),
            about: self.about.clone().unwrap_or_else(|| base.about.clone()),
            emergency: self.emergency.unwrap_or(base.emergency),
            roles: self.roles_on(&base.roles, path, found),
            gates: self.gates.on(&base.gates),
            media: self.media.on(base.media),
        };
        faults::find(&act, path, found);
        act
    }

    fn roles_on(
        &self,
        base: &BTreeMap<Role, SeatRule>,
        path: &str,
        found: &mut Vec<String>,
    ) -> BTreeMap<Role, SeatRule> {
        let mut roles = base.clone();
        for (&role, definition) in &self.roles {
            let key = format!("{path}.roles.{}", role_name(role));
            match definition.on(roles.remove(&role)) {
                Ok(Some(rule)) => _ = roles.insert(role, rule),
                Ok(None) => {}
                Err(why) => found.push(format!("{key}{why}")),
            }
        }
        roles
    }
}

impl RoleDefinition {
    /// The rule; none when the role may not sit. An error continues the key of the role.
    fn on(self, base: Option<SeatRule>) -> Result<Option<SeatRule>, &'static str> {
        let seats = self.seats.or(base.map(|base| base.seats)).ok_or(".seats: say how many may sit")?;
        if seats == 0 {
            let says_more = self.waits.is_some() || self.may.is_some_and(|may| may != Rights::NONE);
            return if says_more { Err(": a role without a seat may do nothing and need not wait") } else { Ok(None) };
        }
        let may = self.may.or(base.map(|base| base.may)).ok_or(".may: say what this role may do")?;
        // Who is not said to pass waits: forgetting a key must not open a door.
        let waits = self.waits.or(base.map(|base| base.waits)).unwrap_or(true);
        Ok(Some(SeatRule { seats, waits, may }))
    }
}

impl GatesDefinition {
    pub(super) fn on(&self, base: &Gates) -> Gates {
        let or = |own: &Option<Vec<Role>>, base: &Vec<Role>| own.clone().unwrap_or_else(|| base.clone());
        Gates {
            card: or(&self.card, &base.card),
            consent: self.consent.clone().unwrap_or_else(|| base.consent.clone()),
            third_person: or(&self.third_person, &base.third_person),
            preference: or(&self.preference, &base.preference),
        }
    }
}

impl MediaDefinition {
    fn on(self, base: MediaDefaults) -> MediaDefaults {
        MediaDefaults {
            start: self.start.unwrap_or(base.start),
            camera: self.camera.unwrap_or(base.camera),
            cameras: self.cameras.unwrap_or(base.cameras),
            screen: self.screen.unwrap_or(base.screen),
            low_delay: self.low_delay.unwrap_or(base.low_delay),
        }
    }
}

impl MediaDefaults {
    /// A conversation face to face.
    const PLAIN: MediaDefaults = MediaDefaults {
        start: Start::Video,
        camera: Facing::Front,
        cameras: 1,
        screen: ScreenContent::Motion,
        low_delay: false,
    };
}

const BUILT_IN: &str = include_str!("built_in.toml");
