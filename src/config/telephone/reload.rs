//! What of the telephone may change while the server runs: limits, times and lists; and whose lines are where, which may not.
//!
//! ```text
//!   file, read again --resolve--> TelephoneConfig --limits of it, addresses and lines of the running one--> what holds from now on
//! ```
//!
//! Not here: reading the file (`config::changes` names what changed in it), and telling those who use the values (`telephone::lines`).

use super::{PinRules, TelephoneConfig, TrunkConfig};

impl TelephoneConfig {
    /// This configuration with the limits of another one, for calls that begin from now on. Sockets, threads, registrations and what
    /// was given out already (numbers to dial, the length of PINs) stay as they are; a line that is new in the other one is not taken,
    /// one that is gone stays.
    #[must_use]
    pub fn with_limits_of(&self, new: &TelephoneConfig) -> TelephoneConfig {
        let trunk = |own: &TrunkConfig| match new.trunks.iter().find(|trunk| trunk.name == own.name) {
            Some(new) => own.with_limits_of(new),
            None => own.clone(),
        };
        TelephoneConfig {
            max_legs: new.max_legs,
            max_legs_per_clinic: new.max_legs_per_clinic,
            media_silence: new.media_silence,
            media_lost: new.media_lost,
            trunks: self.trunks.iter().map(trunk).collect(),
            dialout: new.dialout.clone(),
            pin: PinRules { digits: self.pin.digits, ..new.pin.clone() },
            ladder: new.ladder.clone(),
            ..self.clone()
        }
    }
}

impl TrunkConfig {
    fn with_limits_of(&self, new: &TrunkConfig) -> TrunkConfig {
        TrunkConfig {
            priority: new.priority,
            allow: new.allow.clone(),
            media_allow: new.media_allow.clone(),
            first_response: new.first_response,
            max_calls: new.max_calls,
            calls_per_second: new.calls_per_second,
            ..self.clone()
        }
    }
}

/// Whether a key of the file (`telephone.dialout.attempts`, `telephone.trunk.NAME.allow`) holds from when it is read again.
#[must_use]
pub fn is_reloadable(key: &str) -> bool {
    let Some(key) = key.strip_prefix("telephone.") else { return false };
    match key.split_once('.') {
        Some(("pin", key)) => key != "digits",
        Some(("dialout" | "ladder", _)) => true,
        Some(("trunk", key)) => key.split_once('.').is_some_and(|(_, key)| OF_TRUNKS.contains(&key)),
        _ => LIMITS.contains(&key),
    }
}

const LIMITS: [&str; 4] = ["max_legs", "max_legs_per_clinic", "media_silence_s", "media_lost_s"];
const OF_TRUNKS: [&str; 6] = ["priority", "allow", "media_allow", "first_response_ms", "max_calls", "calls_per_second"];
