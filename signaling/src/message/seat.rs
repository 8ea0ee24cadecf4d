//! Who sits in a consultation: function, where they are in their visit, what they may do.
//!
//! Not here: what a seat sends and receives (`media`), what it is asked first (`gate`).

use serde::{Deserialize, Serialize};

/// A seat's function in the consultation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Host: the professional responsible for the consultation.
    Practitioner,
    /// The person cared for.
    Patient,
    /// Nurse or assistant.
    Nurse,
    /// Family or other person of trust.
    Companion,
    /// Spoken or sign language interpreter.
    Interpreter,
    /// Consulted professional.
    Expert,
    /// Listens and watches only.
    Trainee,
    /// Emergency call regulator: host of a regulation room.
    Regulator,
    /// Anonymous caller of a regulation room.
    Caller,
    /// Anyone else invited.
    Guest,
}

/// Where a seat is in its visit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Has not come, or has left.
    Absent,
    /// Connected, not admitted.
    Waiting,
    /// Admitted and connected.
    Present,
    /// Admitted, connection lost, seat kept for the grace period.
    Reconnecting,
}

/// What others may know of a seat.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SeatInfo {
    /// Public identifier.
    pub seat: String,
    /// Function.
    pub role: Role,
    /// Name to show, as the clinic gave it.
    pub display_name: Option<String>,
    /// Where it is.
    pub presence: Presence,
    /// Sends its voice.
    pub microphone: bool,
    /// Sends its camera.
    pub camera: bool,
    /// Shares its screen.
    pub screen: bool,
    /// It still has to answer what its act asks before media.
    pub gates_pending: bool,
    /// It was opened on another device than the first, and waits for that reason.
    pub other_device: bool,
    /// What it declared of a third person in the room with it; nothing when it was not asked.
    pub third_person: Option<bool>,
    /// There when its person takes part by telephone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telephone: Option<PhoneInfo>,
    /// For those who may admit: names the device that opened the seat's link last, another one each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrival: Option<u32>,
}

/// What others may know of a seat that takes part by telephone. Its voice is in `microphone`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct PhoneInfo {
    /// Its person has raised a hand by key.
    pub hand: bool,
}

/// What this seat may do; the page shows only what is allowed, the server enforces it all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Permissions {
    /// May send its voice.
    pub microphone: bool,
    /// May send its camera.
    pub camera: bool,
    /// May share its screen.
    pub screen: bool,
    /// Receives the others' pictures.
    pub see: bool,
    /// Receives the others' voices.
    pub hear: bool,
    /// May write messages on the data channel.
    pub chat: bool,
    /// May send files on the data channel.
    pub files: bool,
    /// May point at what is shown.
    pub point: bool,
    /// May send vital signs on the data channel.
    pub vitals: bool,
    /// May admit from the waiting room.
    pub admit: bool,
    /// May remove others.
    pub remove: bool,
    /// May mute others.
    pub mute: bool,
    /// May invite one more seat.
    pub invite: bool,
    /// May give the consultation to a colleague.
    pub hand_over: bool,
    /// May speak with the other professionals apart from the patient.
    pub aside: bool,
    /// May end the consultation for everyone.
    pub end: bool,
}

/// Why a consultation is handed over. No free text: it would end up in the audit log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum HandOverReason {
    /// The shift ends.
    ShiftEnd,
    /// Another specialty is needed.
    Specialty,
    /// Called to an emergency.
    Emergency,
    /// Equipment or network.
    Technical,
    /// Anything else.
    Other,
}
