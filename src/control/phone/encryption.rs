//! End-to-end encryption and the telephone: a telephone cannot be part of it, so a consultation says beforehand what comes first.
//!
//! A pure rule. Encryption between pages is not here yet; what a clinic books about it counts for telephones already, so that
//! nothing has to change for a consultation that demands it.

use colloque_signaling::message::PhoneCause;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a consultation wants of end-to-end encryption.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// Nothing: the server could hear, and does not.
    #[default]
    Off,
    /// Where it can be. A telephone ends it, and the practitioner says yes first.
    Preferred,
    /// Always: no telephone.
    Required,
}

impl Encryption {
    /// As the store keeps it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Encryption::Off => "off",
            Encryption::Preferred => "preferred",
            Encryption::Required => "required",
        }
    }

    /// From the store. What a newer version wrote is the strictest.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "off" => Encryption::Off,
            "preferred" => Encryption::Preferred,
            _ => Encryption::Required,
        }
    }

    /// Whether a telephone may come in. `agreed`: the practitioner said that encryption may end for it.
    pub fn admits_telephone(self, agreed: bool) -> Result<(), PhoneCause> {
        match self {
            Encryption::Off => Ok(()),
            Encryption::Preferred if agreed => Ok(()),
            Encryption::Preferred => Err(PhoneCause::EncryptionEnds),
            Encryption::Required => Err(PhoneCause::EncryptionRequired),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_telephone_comes_in_where_encryption_allows() {
        use Encryption::{Off, Preferred, Required};
        for (encryption, agreed, expected) in [
            (Off, false, Ok(())),
            (Off, true, Ok(())),
            (Preferred, false, Err(PhoneCause::EncryptionEnds)),
            (Preferred, true, Ok(())),
            (Required, false, Err(PhoneCause::EncryptionRequired)),
            (Required, true, Err(PhoneCause::EncryptionRequired)),
        ] {
            assert_eq!(encryption.admits_telephone(agreed), expected, "{encryption:?} {agreed}");
            assert_eq!(Encryption::from_name(encryption.name()), encryption);
        }
        assert_eq!(Encryption::from_name("of a newer version"), Required);
    }
}
