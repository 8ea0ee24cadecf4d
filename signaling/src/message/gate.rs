//! What a person is asked before media opens, and what they answer.
//!
//! Not here: who is asked what. That is the act's and the clinic's to say.

use serde::{Deserialize, Serialize};

/// What must be passed before media opens: by the person in front of the page, and refused by them too.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "gate", rename_all = "snake_case")]
pub enum Gate {
    /// The professional must log in first; the page asks `POST /v1/login` with its session where to go.
    Login,
    /// The cards of professionals that this seat has not acknowledged yet.
    Card {
        /// In the order of their seats.
        cards: Vec<Card>,
    },
    /// Consent to the consultation at a distance.
    Consent {
        /// Version of the text; the pages hold the text in both languages.
        text: String,
    },
    /// Whether a third person is in the room.
    ThirdPerson,
    /// Video, or rather in person or by telephone.
    Preference,
}

/// Who a professional is and what the consultation costs, shown before media (HAS good practice; CSS L. 1111-3-2).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(default, deny_unknown_fields)]
pub struct Card {
    /// Whose seat; stamped by the server.
    pub seat: String,
    /// `Dr`, `Pr` and so on.
    pub title: Option<String>,
    /// Family name and given name.
    pub name: Option<String>,
    /// As the profession's register writes it.
    pub specialty: Option<String>,
    /// National number of health professionals, 11 digits.
    pub rpps: Option<String>,
    /// Of the practice.
    pub address: Option<String>,
    /// What the patient will pay, in words, with the currency.
    pub fee: Option<String>,
}

/// An answer to a gate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "gate", rename_all = "snake_case", deny_unknown_fields)]
pub enum GateAnswer {
    /// The cards of these seats were read.
    Card {
        /// Those of the gate's cards.
        seats: Vec<String>,
    },
    /// Given or refused; refusing closes the seat, also later, in mid-call (withdrawal).
    Consent {
        /// The version that was shown.
        text: String,
        /// Given.
        accepted: bool,
    },
    /// The declaration.
    ThirdPerson {
        /// Somebody else is in the room.
        present: bool,
    },
    /// The choice; anything but video closes the seat and tells the clinic.
    Preference {
        /// How the person wants to be seen.
        choice: Choice,
    },
}

/// How a person wants to be seen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// Here and now.
    Video,
    /// At the practice.
    InPerson,
    /// By telephone.
    Phone,
}
