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
    /// It still has to answer what its act asks before media.
    pub gates_pending: bool,
    /// It was opened on another device than the first, and waits for that reason.
    pub other_device: bool,
    /// What it declared of a third person in the room with it; nothing when it was not asked.
    pub third_person: Option<bool>,
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

/// What the telephone of a seat does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum PhoneState {
    /// It can be called.
    Ready,
    /// It cannot be called, for the cause that is told.
    Unavailable,
    /// The number is being called. With a cause: that was in the way, and it is tried again.
    Calling,
    /// It rings.
    Ringing,
    /// Somebody or something has answered: a key joins.
    Confirming,
    /// On the line, outside the room.
    Waiting,
    /// In the room.
    In,
    /// In the room, and nothing is heard from it.
    Silent,
    /// In the room, and its line seems dead.
    Lost,
    /// It has left.
    Left,
    /// The call came to nothing.
    Failed,
}

/// Why a telephone does what it does. One at a time; pages have words for each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum PhoneCause {
    /// This server has no telephone, or its operator has switched calls off.
    SwitchedOff,
    /// The clinic gave no number.
    NumberMissing,
    /// What the clinic gave is no telephone number.
    NumberUnreadable,
    /// Short numbers are not called.
    NumberShort,
    /// Premium and satellite numbers are not called.
    NumberPremium,
    /// Emergency services are not called from here.
    NumberEmergency,
    /// The operator allows no calls to this country or kind of number.
    NumberNotAllowed,
    /// The consultation is end-to-end encrypted for good: a telephone cannot be.
    EncryptionRequired,
    /// End-to-end encryption ends with the telephone: the practitioner has to say yes first.
    EncryptionEnds,
    /// The seat is not in the consultation any more, or the consultation is over.
    Over,
    /// This person was called too often just now.
    TooOften,
    /// Whoever asked has too many calls running.
    TooManyAtOnce,
    /// Every line is in use.
    LinesBusy,
    /// The clinic's minutes of the day are used up.
    MinutesUsed,
    /// The call may not last longer.
    TimeUp,
    /// One line did not work: another one is tried.
    AnotherLine,
    /// No line works.
    NoLine,
    /// The telephone network knows no such number.
    NotInService,
    /// Nobody answered.
    NoAnswer,
    /// The line is busy.
    Busy,
    /// The call was refused.
    Refused,
    /// Answered, and no key pressed: perhaps a mailbox.
    NotConfirmed,
    /// A page or the clinic called it off.
    Cancelled,
    /// Nothing was ever heard from the telephone.
    NoSound,
    /// The line went dead.
    LineDead,
    /// The person hung up.
    HungUp,
    /// A host removed or refused the seat.
    Removed,
    /// The person refused a gate.
    Declined,
    /// The page took the voice back.
    BackToPage,
    /// The server stops.
    Draining,
    /// A fault of the server.
    Fault,
}

/// How media begins, from the act.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct MediaHints {
    /// `video`, `audio` or `telephone`: the rung on which the page begins.
    pub start: String,
    /// `front` or `rear`: the camera that a mobile device offers first.
    pub camera: String,
    /// Cameras that one seat may show at the same time.
    pub cameras: u8,
    /// `motion` or `detail`: what a shared screen is tuned for.
    pub screen: String,
    /// Shorter buffers at the price of more stalls.
    pub low_delay: bool,
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
