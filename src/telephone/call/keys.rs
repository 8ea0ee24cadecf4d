//! Keys in a call: `*6` mute, `*9` hand, `*0` help, `##` leave. Everything else is swallowed.

use std::time::{Duration, Instant};

/// What two keys ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Command {
    Mute,
    Hand,
    Help,
    Leave,
}

/// Reads commands out of keys.
#[derive(Clone, Default, Debug)]
pub(super) struct Keys {
    first: Option<(char, Instant)>,
}

impl Keys {
    /// The command that this key completes.
    pub(super) fn handle_key(&mut self, key: char, now: Instant) -> Option<Command> {
        let first = self.first.take().filter(|(_, at)| now.saturating_duration_since(*at) < SECOND_KEY);
        match (first, key) {
            (Some(('*', _)), '6') => Some(Command::Mute),
            (Some(('*', _)), '9') => Some(Command::Hand),
            (Some(('*', _)), '0') => Some(Command::Help),
            (Some(('#', _)), '#') => Some(Command::Leave),
            (_, '*' | '#') => {
                self.first = Some((key, now));
                None
            }
            _ => None,
        }
    }
}

/// For the second key. Older hands need two seconds to find it; a cheek on the keypad should not have for ever.
const SECOND_KEY: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_in_three_seconds_are_a_command_and_nothing_else_is() {
        use Command::{Hand, Help, Leave, Mute};
        for (keys, expected) in [
            ("*6", &[Mute][..]),
            ("*9", &[Hand]),
            ("*0", &[Help]),
            ("##", &[Leave]),
            ("6", &[]),
            ("*", &[]),
            ("*1", &[]),
            ("*16", &[]),
            ("**6", &[Mute]),
            ("#*6", &[Mute]),
            ("*#6", &[]),
            ("*##", &[Leave]),
            ("###", &[Leave]),
            ("####", &[Leave, Leave]),
            ("*6*6", &[Mute, Mute]),
            ("123*9456#", &[Hand]),
            ("AB*D0", &[]),
        ] {
            let (mut read, start) = (Keys::default(), Instant::now());
            let commands: Vec<Command> = (0..)
                .zip(keys.chars())
                .filter_map(|(at, key)| read.handle_key(key, start + Duration::from_millis(at * 100)))
                .collect();
            assert_eq!(commands, expected, "{keys}");
        }
        let (mut late, start) = (Keys::default(), Instant::now());
        assert_eq!(late.handle_key('*', start), None);
        assert_eq!(late.handle_key('6', start + SECOND_KEY), None);
    }
}
