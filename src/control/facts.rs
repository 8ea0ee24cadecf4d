//! What happened in a consultation: the one vocabulary of the event feed, webhooks, audit log and legal record.
//!
//! A fact names seats by their random identifiers and holds fixed words, counts and versions; never a name, an address, a
//! number or free text. Facts are only ever added to; a kind keeps its meaning for good. Not here: storing and
//! chaining them (`store`), telling clinics (`control::feed`), reading a record out of them (`control::record`).

use colloque_signaling::message::{Choice, HandOverReason, MediaSource, PhoneCause, Role};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use super::phone::ladder::{Cause as LadderCause, Step};

/// Something that happened. Written as `{"kind": "seat.joined", "data": {…}}`; every kind has `data`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", content = "data")]
pub enum Fact {
    /// Booked.
    #[serde(rename = "consultation.created")]
    ConsultationCreated {
        /// Which act, by name.
        act: String,
    },
    /// Over for good.
    #[serde(rename = "consultation.ended")]
    ConsultationEnded {
        /// Who ended it.
        by: Actor,
    },
    /// The room was locked.
    #[serde(rename = "consultation.locked")]
    Locked {
        /// By whom.
        by: Actor,
    },
    /// The room was unlocked.
    #[serde(rename = "consultation.unlocked")]
    Unlocked {
        /// By whom.
        by: Actor,
    },
    /// The patient comes close to the clinic's yearly number of acts, or is past it.
    #[serde(rename = "consultation.acts_near_limit")]
    ActsNearLimit {
        /// This one included.
        count: u32,
        /// The clinic's limit.
        limit: u32,
    },
    /// A seat was made.
    #[serde(rename = "seat.invited")]
    SeatInvited {
        /// Its function.
        #[schema(value_type = String)]
        role: Role,
        /// By whom.
        by: Actor,
    },
    /// Every link and session of the seat stopped working.
    #[serde(rename = "seat.revoked")]
    SeatRevoked {
        /// By whom.
        by: Actor,
    },
    /// Its link was exchanged for a session.
    #[serde(rename = "seat.opened")]
    SeatOpened {
        /// On which device.
        device: Device,
    },
    /// Somebody tried to join and could not. Exactly one cause.
    #[serde(rename = "seat.join_failed")]
    JoinFailed {
        /// Why.
        cause: Cause,
    },
    /// The professional of the seat logged in.
    #[serde(rename = "seat.logged_in")]
    LoggedIn {
        /// Assurance level as the provider said it, `eidas1` and so on.
        level: String,
    },
    /// Connected, and not yet let in.
    #[serde(rename = "seat.waiting")]
    SeatWaiting {},
    /// Let in from the waiting room.
    #[serde(rename = "seat.admitted")]
    SeatAdmitted {
        /// By whom.
        by: Actor,
    },
    /// Put out, or refused while waiting.
    #[serde(rename = "seat.removed")]
    SeatRemoved {
        /// By whom.
        by: Actor,
    },
    /// Connected, admitted and past every gate.
    #[serde(rename = "seat.joined")]
    SeatJoined {},
    /// Connection lost; the seat is kept.
    #[serde(rename = "seat.lost")]
    SeatLost {},
    /// Back after it was lost.
    #[serde(rename = "seat.back")]
    SeatBack {},
    /// Not in the room any more; it may come back by its link unless something else says so.
    #[serde(rename = "seat.left")]
    SeatLeft {
        /// Why.
        cause: Departure,
    },
    /// What the seat really sends changed, as the server sees it.
    #[serde(rename = "seat.media")]
    SeatMedia {
        /// Voice from a browser or a device.
        microphone: bool,
        /// A camera.
        camera: bool,
        /// A screen.
        screen: bool,
        /// Voice from a telephone.
        telephone: bool,
    },
    /// Its media connection stands: how it is secured.
    #[serde(rename = "seat.media_secured")]
    MediaSecured {
        /// `DTLSv1.3` or `DTLSv1.2`.
        dtls: String,
        /// Key exchange group.
        group: String,
        /// SRTP profile.
        srtp: String,
    },
    /// Something technical went wrong. Exactly one cause.
    #[serde(rename = "seat.incident")]
    Incident {
        /// What.
        cause: Cause,
    },
    /// A host stopped one of its sources, or let it again.
    #[serde(rename = "seat.muted")]
    SeatMuted {
        /// By whom.
        by: Actor,
        /// Which.
        #[schema(value_type = String)]
        source: MediaSource,
        /// True when stopped.
        muted: bool,
    },
    /// A gate before media was passed.
    #[serde(rename = "gate.passed")]
    GatePassed {
        /// Which, and how.
        gate: Passed,
    },
    /// A gate was refused, or consent withdrawn: the seat is closed.
    #[serde(rename = "gate.refused")]
    GateRefused {
        /// Which.
        gate: Refused,
    },
    /// The clinic vouched for a seat (`"admitted": true`): it is asked nothing.
    #[serde(rename = "gate.waived")]
    GatesWaived {},
    /// Gates that cannot be shown on a telephone: the practitioner says them, and by letting the telephone in says that they were said.
    #[serde(rename = "gate.spoken")]
    GatesSpoken {
        /// `card`, `third_person`, `preference`.
        gates: Vec<String>,
    },
    /// The seat's telephone is being called.
    #[serde(rename = "phone.called")]
    PhoneCalled {
        /// By whose wish.
        by: Actor,
    },
    /// The consultation prefers end-to-end encryption, and it was agreed that it ends as long as the seat's telephone is in.
    #[serde(rename = "phone.encryption_waived")]
    PhoneEncryptionWaived {
        /// By whom.
        by: Actor,
    },
    /// The call was answered, by a person or a mailbox: nothing of the consultation is heard yet.
    #[serde(rename = "phone.answered")]
    PhoneAnswered {},
    /// The call came to nothing. Exactly one cause.
    #[serde(rename = "phone.failed")]
    PhoneFailed {
        /// Why.
        #[schema(value_type = String)]
        cause: PhoneCause,
    },
    /// The seat takes part by telephone.
    #[serde(rename = "phone.joined")]
    PhoneJoined {},
    /// Nothing is heard from the telephone, but somebody is there.
    #[serde(rename = "phone.silent")]
    PhoneSilent {
        /// Nothing was ever heard.
        never_heard: bool,
    },
    /// Nothing at all arrives from the telephone.
    #[serde(rename = "phone.lost")]
    PhoneLost {},
    /// Nothing leaves for the telephone: it hears nothing.
    #[serde(rename = "phone.nothing_sent")]
    PhoneNothingSent {},
    /// The seat's telephone is gone. Exactly one cause.
    #[serde(rename = "phone.left")]
    PhoneLeft {
        /// Why.
        #[schema(value_type = String)]
        cause: PhoneCause,
    },
    /// A call that the server made is over: so much of it counts against the clinic's minutes of the day (UTC).
    #[serde(rename = "phone.charged")]
    PhoneCharged {
        /// From the answer to the end.
        seconds: u64,
    },
    /// The clinic has used so much of its minutes of calls for the day (UTC); of the clinic as a whole. At 100 nobody is called any more
    /// until midnight; what runs goes on.
    #[serde(rename = "phone.minutes_used")]
    PhoneMinutesUsed {
        /// 50, 80 or 100.
        percent: u8,
        /// The clinic's minutes of a day.
        limit: u32,
    },
    /// The seat's connection was taken a step down, or up again.
    #[serde(rename = "ladder.step")]
    LadderStep {
        /// Where it was.
        from: Step,
        /// Where it is now.
        to: Step,
        /// Why.
        cause: LadderCause,
    },
    /// The consultation is being given to a colleague's seat; the subject is the seat that gives.
    #[serde(rename = "hand_over.announced")]
    HandOverAnnounced {
        /// The colleague's seat.
        to: String,
        /// Why.
        #[schema(value_type = String)]
        reason: HandOverReason,
    },
    /// The colleague has it now.
    #[serde(rename = "hand_over.done")]
    HandOverDone {
        /// The colleague's seat.
        to: String,
    },
    /// Professionals began to speak apart; the subject is the seat that began.
    #[serde(rename = "aside.began")]
    AsideBegan {},
    /// They speak with everyone again.
    #[serde(rename = "aside.ended")]
    AsideEnded {},
    /// An invitation left by e-mail or SMS.
    #[serde(rename = "message.sent")]
    MessageSent {
        /// `email` or `sms`.
        channel: String,
    },
    /// An invitation could not be delivered, for good.
    #[serde(rename = "message.failed")]
    MessageFailed {
        /// `email` or `sms`.
        channel: String,
    },
    /// A webhook was added; of the clinic as a whole, as are the following.
    #[serde(rename = "webhook.created")]
    WebhookCreated {
        /// Which.
        webhook: String,
    },
    /// A webhook was removed.
    #[serde(rename = "webhook.removed")]
    WebhookRemoved {
        /// Which.
        webhook: String,
    },
    /// A webhook got a new secret.
    #[serde(rename = "webhook.secret_rotated")]
    WebhookSecretRotated {
        /// Which.
        webhook: String,
    },
    /// A webhook goes on from where the clinic said.
    #[serde(rename = "webhook.replayed")]
    WebhookReplayed {
        /// Which.
        webhook: String,
    },
    /// A webhook's receiver refused an event again and again but takes others: it was passed over.
    #[serde(rename = "webhook.skipped")]
    WebhookSkipped {
        /// Which.
        webhook: String,
        /// Of the event that was not delivered.
        cursor: String,
    },
    /// A webhook was given up: nothing is sent to it until the clinic replays it.
    #[serde(rename = "webhook.disabled")]
    WebhookDisabled {
        /// Which.
        webhook: String,
    },
    /// An API key was made; of the clinic as a whole, as are the following.
    #[serde(rename = "api_key.created")]
    ApiKeyCreated {
        /// What it may do.
        scopes: String,
    },
    /// An API key was revoked.
    #[serde(rename = "api_key.revoked")]
    ApiKeyRevoked {},
    /// A new key signs links from now on.
    #[serde(rename = "signing_key.rotated")]
    SigningKeyRotated {},
    /// Personal data was erased; only how many consultations.
    #[serde(rename = "data.erased")]
    Erased {
        /// How many.
        consultations: u32,
    },
    /// Entries were lost: neither the store nor the disk took them. Written as soon as one of them does.
    #[serde(rename = "journal.lost")]
    EntriesLost {
        /// How many.
        entries: u64,
    },
    /// Entries older than the retention were removed.
    #[serde(rename = "data.pruned")]
    Pruned {
        /// How many.
        entries: u32,
    },
}

/// Who did something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The clinic, by its API key.
    Clinic,
    /// The operator, by command or the admin address.
    Operator,
    /// The server itself, by a rule.
    Server,
    /// A seat, by its identifier.
    Seat(String),
}

/// On which device a link was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// For the first time.
    First,
    /// As before.
    Same,
    /// On another one: back to the waiting room.
    Other,
}

/// Why a seat is no longer in the room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Departure {
    /// By itself.
    Left,
    /// Lost for longer than the grace period.
    Lost,
    /// Put out by a host or the clinic.
    Removed,
    /// The person refused a gate or withdrew consent.
    Declined,
    /// Opened on another device.
    OtherDevice,
    /// The consultation ended.
    Ended,
}

/// A gate with its answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "gate", rename_all = "snake_case")]
pub enum Passed {
    /// The cards of these seats were acknowledged.
    Card {
        /// Seats of professionals.
        seats: Vec<String>,
        /// Whether every one of these cards was complete.
        complete: bool,
    },
    /// Consent was given to this version of the text.
    Consent {
        /// Version.
        text: String,
    },
    /// Declared whether a third person is in the room.
    ThirdPerson {
        /// Somebody is.
        present: bool,
    },
    /// Chose video.
    Preference,
}

/// A gate that was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "gate", rename_all = "snake_case")]
pub enum Refused {
    /// Consent was refused.
    Consent,
    /// Consent was given, then withdrawn.
    ConsentWithdrawn,
    /// Another way than video was chosen.
    Preference {
        /// Which.
        #[schema(value_type = String)]
        choice: Choice,
    },
}

/// The one cause of a failed join or an incident.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The seat was removed before.
    SeatRemoved,
    /// The person had declined before.
    SeatDeclined,
    /// The consultation is over.
    ConsultationOver,
    /// The room is locked.
    RoomLocked,
    /// The professional has not logged in.
    LoginRequired,
    /// Not admitted yet (devices, which cannot wait).
    NotAdmitted,
    /// Not past every gate (devices, which cannot answer).
    GatesPending,
    /// The server drains.
    Draining,
    /// The server is full.
    ServerFull,
    /// The store did not answer.
    StoreUnavailable,
    /// The offer could not be answered.
    OfferRefused,
    /// The DTLS handshake failed.
    HandshakeFailed,
    /// No media connection came about.
    MediaUnreachable,
    /// The signalling connection was lost for longer than the grace period.
    ConnectionLost,
    /// Media was silent for 30 s or more.
    MediaSilent,
    /// A fault of the server closed the room's media; it was opened again.
    ServerFault,
    /// The server stopped while the seat was in the room.
    ServerStopped,
    /// Nothing was ever heard from the seat's telephone.
    TelephoneNoSound,
    /// Nothing left for the seat's telephone: it heard nothing.
    TelephoneNothingSent,
    /// The line of the seat's telephone was dead for 5 s or more.
    TelephoneLost,
    /// The seat's telephone could not be called, or was cut off, by a fault of the lines or of the server.
    TelephoneUnavailable,
}

impl Cause {
    /// Its code, as in JSON.
    #[must_use]
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|code| Some(code.as_str()?.to_owned())).unwrap_or_default()
    }
}

impl Fact {
    /// Its kind and its data as JSON.
    #[must_use]
    pub fn to_parts(&self) -> (String, String) {
        let value = serde_json::to_value(self).expect("facts are plain data");
        let kind = value["kind"].as_str().expect("the tag is text").to_owned();
        (kind, value["data"].to_string())
    }

    /// Reads what [`Fact::to_parts`] wrote; nothing for a kind of a newer version.
    #[must_use]
    pub fn from_parts(kind: &str, data: &str) -> Option<Fact> {
        let data: serde_json::Value = serde_json::from_str(data).ok()?;
        serde_json::from_value(serde_json::json!({ "kind": kind, "data": data })).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_read_back_as_it_was_written() {
        let facts = [
            Fact::SeatWaiting {},
            Fact::SeatAdmitted { by: Actor::Seat("s1".into()) },
            Fact::GatePassed { gate: Passed::Preference },
            Fact::GatePassed { gate: Passed::Consent { text: "1".into() } },
            Fact::GateRefused { gate: Refused::Preference { choice: Choice::InPerson } },
            Fact::Incident { cause: Cause::HandshakeFailed },
            Fact::PhoneFailed { cause: PhoneCause::NotConfirmed },
            Fact::PhoneMinutesUsed { percent: 80, limit: 600 },
            Fact::LadderStep { from: Step::Full, to: Step::Telephone, cause: LadderCause::PageGone },
        ];
        for fact in facts {
            let (kind, data) = fact.to_parts();
            assert_eq!(Fact::from_parts(&kind, &data), Some(fact), "{kind} {data}");
        }
        assert_eq!(Fact::from_parts("seat.abducted", "{}"), None);
    }
}
