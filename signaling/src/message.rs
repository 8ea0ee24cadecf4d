//! Every message of the protocol, version 1. JSON objects over WebSocket text frames, `type` first.
//!
//! Server messages travel in a [`ServerEnvelope`] with a sequence number, so that a page that comes back says how far
//! it had read and misses nothing. TypeScript types are generated from these (`web-client/src/protocol/generated.ts`).
//!
//! Here stand the messages themselves; what they speak of (seats, gates, media) stands in files of its own.

mod gate;
mod media;
mod phone;
mod seat;

use serde::{Deserialize, Serialize};

pub use gate::{Card, Choice, Gate, GateAnswer};
pub use media::{MediaHints, MediaSource, MediaState, SenderInfo, SlotInfo};
pub use phone::{PhoneCause, PhoneState};
pub use seat::{HandOverReason, Permissions, PhoneInfo, Presence, Role, SeatInfo};

/// The protocol version this crate speaks. The one before it is accepted too, once there is one.
pub const VERSION: u16 = 1;

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
        /// From the roster: refused when another device has come since. Without it, whoever is there is admitted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arrival: Option<u32>,
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
    /// Answer a gate, or withdraw consent. Also before admission.
    Gate {
        /// The answer.
        answer: GateAnswer,
    },
    /// Lock the room: whoever is not in it stays outside; or unlock it.
    Lock {
        /// True to lock.
        locked: bool,
    },
    /// Invite one more seat in mid-call; `invited` gives its link.
    Invite {
        /// Its function.
        role: Role,
        /// Name to show.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        display_name: Option<String>,
    },
    /// Give the consultation to a colleague's seat (of this consultation, perhaps just invited). The others are told now; it
    /// is done once the colleague is there.
    HandOver {
        /// The colleague's seat.
        to: String,
        /// Why.
        reason: HandOverReason,
    },
    /// Begin or end an aside: professionals hear each other, everyone else sends and receives nothing and is told.
    Aside {
        /// True to begin.
        on: bool,
    },
    /// Call this seat's telephone: the own one, also while waiting, or as a host another's. `phone` says how it goes.
    Call {
        /// Whose.
        seat: String,
        /// The practitioner agrees that end-to-end encryption ends with the telephone; lets one in that waits for that already.
        #[serde(default)]
        encryption_ends: bool,
    },
    /// Call off the call of this seat's telephone, or hang up: the own one, or as a host another's.
    HangUp {
        /// Whose.
        seat: String,
    },
    /// End this consultation and go on with the next one of the same queue; `next` says where.
    Next,
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
        /// Whether the seat may send its offer: admitted, and past every gate.
        admitted: bool,
        /// What this seat may do.
        permissions: Permissions,
        /// Which act, by name.
        act: String,
        /// How media begins.
        media: MediaHints,
    },
    /// Answer to a `join` whose `resume` was accepted: everything after `received` follows, media is untouched.
    Resumed {
        /// New ticket.
        ticket: String,
    },
    /// The seat is admitted and past every gate: it may send its offer.
    Admitted,
    /// What this seat still has to pass; replaces the list before, empty when all is passed. In mid-call it holds the card of a
    /// professional who came later: that one's media stays closed until it is answered.
    Gates {
        /// In the order in which to ask.
        pending: Vec<Gate>,
    },
    /// While waiting: how many are before this seat, and by whom it is awaited.
    Queue {
        /// Waiting seats that will be seen before; 0 for the next one.
        ahead: u32,
        /// Expected begin, seconds from now, when that can be said.
        expected_seconds: Option<u32>,
        /// Name of the practitioner, as the clinic gave it.
        practitioner: Option<String>,
    },
    /// Somebody has come into the room for the first time.
    Arrived {
        /// Seat.
        seat: String,
        /// Function.
        role: Role,
        /// Name to show.
        display_name: Option<String>,
    },
    /// The room was locked or unlocked; also told to whoever stands outside.
    Locked {
        /// True when locked.
        locked: bool,
    },
    /// Answer to `invite`: only to the seat that asked.
    Invited {
        /// Seat.
        seat: String,
        /// Function.
        role: Role,
        /// To be given to the person.
        link: String,
    },
    /// The consultation is being handed to a colleague (`done` false), or has been (`done` true).
    HandOver {
        /// Who gives.
        from: String,
        /// Who takes.
        to: String,
        /// Name of who takes.
        to_name: Option<String>,
        /// Why.
        reason: HandOverReason,
        /// Whether the colleague has it now.
        done: bool,
    },
    /// Professionals speak apart (or no longer): to the patient that nothing of theirs is heard and seen meanwhile.
    Aside {
        /// True while it lasts.
        on: bool,
        /// Whether this seat is shut out of it.
        outside: bool,
    },
    /// What this seat may do has changed.
    Permissions {
        /// All of them.
        permissions: Permissions,
    },
    /// Answer to `next`: the token of this person's seat in the next consultation; none when nobody waits. The socket closes after
    /// a token.
    Next {
        /// To be exchanged like a link's.
        token: Option<String>,
    },
    /// What a seat's telephone does: to the seat itself, and to those inside.
    Phone {
        /// Whose.
        seat: String,
        /// What it does.
        state: PhoneState,
        /// Why, when there is something to say.
        cause: Option<PhoneCause>,
        /// The last digits of the number; to the seat itself and to hosts alone.
        number_ending: Option<String>,
        /// Whether it is that number, or another one; to hosts alone. Nothing when the call shows none, or none is on file: say so
        /// rather than showing `number_ending`.
        #[serde(default)]
        matches_file: Option<bool>,
        /// With `planned`: the server calls in so many. With `ready`, to the seat itself: the server calls by itself when its page has
        /// been gone for so many; nothing when it would not.
        #[serde(default)]
        seconds: Option<u32>,
    },
    /// How this seat comes in by telephone.
    DialIn {
        /// A telephone number or a SIP address.
        number: String,
        /// To be typed there.
        pin: String,
    },
    /// To the professionals: the patient comes close to the yearly number of acts, or is past it.
    Acts {
        /// This one included.
        count: u32,
        /// The clinic's limit.
        limit: u32,
    },
    /// The person refused, or chose another way than video; recorded. The socket closes.
    Declined {
        /// The choice, when it was one.
        choice: Option<Choice>,
    },
    /// This seat was opened on another device, which waits to be admitted there: this page must stop. The socket closes.
    MovedDevice,
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
