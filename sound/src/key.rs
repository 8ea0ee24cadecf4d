//! A key of the telephone. Which keys somebody presses may be a PIN, so that it prints redacted.

use std::fmt;

/// One of the sixteen keys of RFC 4733 section 3.2, with its event code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(u8);

impl Key {
    /// `*`.
    pub const STAR: Self = Self(10);
    /// `#`.
    pub const POUND: Self = Self(11);

    /// All sixteen, by code.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..16).map(Self)
    }

    /// The key of an event code; other events (hook flash, fax tones) are no keys.
    #[must_use]
    pub fn from_event(code: u8) -> Option<Self> {
        (code < 16).then_some(Self(code))
    }

    /// The key that is labelled so: `0`-`9`, `*`, `#`, `A`-`D`.
    #[must_use]
    pub fn from_label(label: char) -> Option<Self> {
        LABELS.iter().position(|&other| char::from(other) == label.to_ascii_uppercase()).map(|code| Self(code as u8))
    }

    /// The event code.
    #[must_use]
    pub fn event(self) -> u8 {
        self.0
    }

    /// What is printed on it. Never to be logged.
    #[must_use]
    pub fn label(self) -> char {
        char::from(LABELS[usize::from(self.0)])
    }

    /// Its number, if it is a digit.
    #[must_use]
    pub fn digit(self) -> Option<u8> {
        (self.0 < 10).then_some(self.0)
    }

    /// The low and the high frequency of its tone (ITU-T Q.23), in hertz.
    #[must_use]
    pub fn tones(self) -> (u32, u32) {
        let (row, column) = PLACES[usize::from(self.0)];
        (ROWS[row], COLUMNS[column])
    }

    /// The key in that row and column of the pad.
    #[must_use]
    pub fn at(row: usize, column: usize) -> Option<Self> {
        PLACES.iter().position(|&place| place == (row, column)).map(|code| Self(code as u8))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

/// Low frequencies, from the top row down.
pub const ROWS: [u32; 4] = [697, 770, 852, 941];
/// High frequencies, from left to right.
pub const COLUMNS: [u32; 4] = [1_209, 1_336, 1_477, 1_633];

const LABELS: &[u8; 16] = b"0123456789*#ABCD";
const PLACES: [(usize, usize); 16] = [
    (3, 1),
    (0, 0),
    (0, 1),
    (0, 2),
    (1, 0),
    (1, 1),
    (1, 2),
    (2, 0),
    (2, 1),
    (2, 2),
    (3, 0),
    (3, 2),
    (0, 3),
    (1, 3),
    (2, 3),
    (3, 3),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_code_and_place_name_the_same_key() {
        for key in Key::all() {
            assert!(Key::from_label(key.label()) == Some(key) && Key::from_event(key.event()) == Some(key));
            let (low, high) = key.tones();
            let row = ROWS.iter().position(|&hz| hz == low).unwrap();
            let column = COLUMNS.iter().position(|&hz| hz == high).unwrap();
            assert!(Key::at(row, column) == Some(key));
        }
        assert!(Key::from_event(16).is_none() && Key::from_label('E').is_none());
        assert!(Key::from_label('5').unwrap().tones() == (770, 1_336));
    }

    #[test]
    fn a_key_prints_redacted() {
        assert_eq!(format!("{:?}", Key::from_label('7')), "Some(Key(***))");
    }
}
