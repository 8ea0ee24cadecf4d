//! What a role may do, right by right, and sets of rights.

use serde::Deserialize;

/// One column of the role matrix.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Send one's voice.
    Microphone,
    /// Send one's camera.
    Camera,
    /// Share one's screen.
    Screen,
    /// Receive the others' pictures.
    See,
    /// Receive the others' voices.
    Hear,
    /// Write messages.
    Chat,
    /// Send files.
    Files,
    /// Point at what is shown.
    Point,
    /// Send vital signs, from a device or typed.
    Vitals,
    /// Let in who waits.
    Admit,
    /// Put somebody out, or refuse who waits.
    Remove,
    /// Stop somebody else's source.
    Mute,
    /// Invite one more seat in mid-call.
    Invite,
    /// Give the consultation to a colleague.
    HandOver,
    /// Speak with the other professionals while the patient hears, sees and sends nothing.
    Aside,
    /// End the consultation for everyone.
    End,
}

impl Right {
    /// Every right, in the order of the matrix.
    pub const ALL: [Right; 16] = [
        Right::Microphone,
        Right::Camera,
        Right::Screen,
        Right::See,
        Right::Hear,
        Right::Chat,
        Right::Files,
        Right::Point,
        Right::Vitals,
        Right::Admit,
        Right::Remove,
        Right::Mute,
        Right::Invite,
        Right::HandOver,
        Right::Aside,
        Right::End,
    ];

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A set of rights; nothing by default.
#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "Vec<Right>")]
pub struct Rights(u32);

impl Rights {
    /// Nothing at all.
    pub const NONE: Rights = Rights(0);

    /// Whether the right is in the set.
    #[must_use]
    pub fn has(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }

    /// Whether one of these is in the set.
    #[must_use]
    pub fn has_any(self, rights: &[Right]) -> bool {
        rights.iter().any(|&right| self.has(right))
    }

    /// Those in the set, in the order of the matrix.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |&right| self.has(right))
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Rights(rights.into_iter().fold(0, |set, right| set | right.bit()))
    }
}

impl From<Vec<Right>> for Rights {
    fn from(rights: Vec<Right>) -> Self {
        rights.into_iter().collect()
    }
}

impl std::fmt::Debug for Rights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        for one in Right::ALL {
            let set = Rights::from_iter([one]);
            assert_eq!(set.iter().collect::<Vec<_>>(), [one]);
            assert!(!Rights::NONE.has(one));
        }
        assert_eq!(Right::ALL.into_iter().collect::<Rights>().iter().count(), Right::ALL.len());
    }
}
