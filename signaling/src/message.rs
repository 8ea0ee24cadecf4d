//! Every message of the protocol, version 1. JSON objects over WebSocket text frames, `type` first.
//!
//! Server messages travel in a [`ServerEnvelope`] with a sequence number, so that a page that comes back says how far
//! it had read and misses nothing. TypeScript types are generated from these (`web-client/src/protocol/generated.ts`).

use serde::{Deserialize, Serialize};

/// The protocol version this crate speaks. The one before it is accepted too, once there is one.
pub const VERSION: u16 = 1;

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

/// Interface language of a consultation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// French.
    #[default]
    Fr,
    /// English.
    En,
}

/// What a media source is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum MediaSource {
    /// Voice.
    Microphone,
    /// Face or examination camera.
    Camera,
    /// Shared screen.
    Screen,
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

/// Which seat is on which receive slot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SlotInfo {
    /// Index of the pair of receiving sections in the offer, from 0 in offer order.
    pub slot: u16,
    /// Whose media.
    pub seat: String,
    /// `camera` for a voice and camera pair, `screen` for a shared screen.
    pub source: MediaSource,
    /// This page cannot decode the picture's codec; the voice still flows.
    pub codec_missing: bool,
}

/// A page that comes back after its socket was lost.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Resume {
    /// From the last `welcome` or `resumed`.
    pub ticket: String,
    /// Sequence number of the last server message it read; 0 for none.
    pub received: u32,
}

/// From the page to the server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// First message on every socket.
    Join {
        /// Protocol version.
        version: u16,
        /// From `POST /v1/join`.
        session: String,
        /// When coming back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<Resume>,
    },
    /// An SDP offer: the first, an ICE restart, or more slots. Only when admitted.
    Offer {
        /// Chosen by the page; the `answer` or `error` repeats it.
        id: u32,
        /// The offer.
        sdp: String,
        /// What each sending section is, by mid.
        senders: Vec<SenderInfo>,
    },
    /// What the page sends now: its own mute buttons.
    Sending {
        /// Voice on.
        microphone: bool,
        /// Camera on.
        camera: bool,
        /// Screen shared.
        screen: bool,
    },
    /// The size at which a slot's picture is shown, in device pixels; zero width when hidden.
    View {
        /// Which slot.
        slot: u16,
        /// Pixels across.
        width: u16,
        /// Pixels down.
        height: u16,
    },
    /// Admit a waiting seat.
    Admit {
        /// Which.
        seat: String,
    },
    /// Remove a seat from the room, or refuse it while it waits.
    Remove {
        /// Which.
        seat: String,
    },
    /// Stop (or let again) a seat's source.
    Mute {
        /// Which.
        seat: String,
        /// What.
        source: MediaSource,
        /// True to stop it, false to lift the stop.
        muted: bool,
    },
    /// End the consultation for everyone.
    End,
    /// Leave for good; the seat may come back by its link.
    Leave,
    /// Everything up to this sequence number was read; the server may forget it.
    Ack {
        /// Sequence number.
        received: u32,
    },
    /// Keeps the socket alive through proxies and proves the server is there.
    Ping {
        /// Repeated in `pong`.
        id: u32,
    },
}

/// What a sending section of an offer carries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SenderInfo {
    /// `a=mid` of the section.
    pub mid: String,
    /// What it carries.
    pub source: MediaSource,
}

/// A server message with its number on this session, from 1. Numbers go on across resumptions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ServerEnvelope {
    /// Sequence number; 0 for messages that are not kept for resumption (`resumed`, `pong`, an `error` before `welcome`
    /// or with which the socket closes).
    pub seq: u32,
    /// The message.
    #[serde(flatten)]
    pub message: ServerMessage,
}

/// From the server to the page.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// Answer to a `join` without `resume`, or with one that is too old: start afresh.
    Welcome {
        /// Own seat.
        seat: String,
        /// Own role.
        role: Role,
        /// Consultation's public identifier.
        consultation: String,
        /// Language the clinic chose.
        language: Language,
        /// For coming back; replaced by every `welcome` and `resumed`.
        ticket: String,
        /// How long the seat is kept without a connection.
        grace_seconds: u32,
        /// Whether the seat is already admitted.
        admitted: bool,
        /// What this seat may do.
        permissions: Permissions,
    },
    /// Answer to a `join` whose `resume` was accepted: everything after `received` follows, media is untouched.
    Resumed {
        /// New ticket.
        ticket: String,
    },
    /// The seat is admitted: it may send its offer.
    Admitted,
    /// Everyone this seat may know of; before admission only itself and the presence of those that may
    /// admit it.
    Roster {
        /// All of them; replaces the list before.
        seats: Vec<SeatInfo>,
    },
    /// Answer to `offer`.
    Answer {
        /// The offer's id.
        id: u32,
        /// The answer.
        sdp: String,
    },
    /// Which seat is on which slot; replaces the list before.
    Slots {
        /// Occupied slots.
        slots: Vec<SlotInfo>,
    },
    /// Who speaks now; none after a silence.
    Speaker {
        /// Seat.
        seat: Option<String>,
    },
    /// A host stopped (or lets again) one of this seat's sources.
    Muted {
        /// What.
        source: MediaSource,
        /// True when stopped.
        muted: bool,
    },
    /// The media connection's state as the server sees it.
    Media {
        /// State.
        state: MediaState,
    },
    /// This seat was opened elsewhere (second tab, reload): this page must stop. The socket closes.
    Replaced,
    /// A host removed this seat, or refused it. The socket closes.
    Removed,
    /// The consultation is over. The socket closes.
    Ended,
    /// Something the page asked cannot be done.
    Error {
        /// The offer's id when it concerns one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u32>,
        /// Stable code.
        code: ErrorCode,
        /// For developers, English, without personal data.
        message: String,
    },
    /// Answer to `ping`.
    Pong {
        /// The ping's id.
        id: u32,
    },
}

/// State of a seat's media connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum MediaState {
    /// Handshake done.
    Connected,
    /// Nothing heard for 30 s: restart ICE.
    Silent,
    /// Gone: make a new connection and send a fresh offer.
    Gone,
}

/// Stable error codes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not JSON, unknown type, or over the size limit.
    BadMessage,
    /// Session unknown, expired or revoked. The socket closes.
    BadSession,
    /// The version is not spoken here. The socket closes.
    BadVersion,
    /// Right message, wrong moment.
    OutOfOrder,
    /// The seat may not do this.
    NotPermitted,
    /// The offer cannot be answered; the message says why.
    BadOffer,
    /// No such seat or slot.
    NotFound,
    /// Too many messages. The socket closes.
    TooMany,
    /// The server is full or draining.
    Unavailable,
}
