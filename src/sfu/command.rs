//! The mailbox vocabulary: what the control plane asks of an `Sfu`, and what the `Sfu` tells.

use std::time::Instant;

use crate::ids::{LegId, RoomId, SeatId, SlotId, TrackId};
use crate::rtp::codec::Source;
use crate::transport::dtls::DtlsFailure;
use crate::transport::parameters::{Fingerprint, IceCredentials};
use crate::transport::srtp::Profile;
use crate::units::PictureSize;

use super::data::Kind;
use super::parameters::{LegParameters, SlotParameters};

/// What the control plane asks. Unknown ids are ignored: the room may have ended meanwhile.
#[derive(Debug)]
pub enum Command {
    /// Makes a room; ignored when it exists.
    OpenRoom(RoomId),
    /// Removes a room with all its legs.
    CloseRoom(RoomId),
    /// Sets what a seat may do from now on (also before its first leg). Takes effect on the next packet.
    SetPolicy {
        /// Where.
        room: RoomId,
        /// Who.
        seat: SeatId,
        /// What the seat may do.
        policy: SeatPolicy,
    },
    /// Adds a media connection to a seat. The room and the seat's policy must exist.
    AddLeg {
        /// Where.
        room: RoomId,
        /// Whose.
        seat: SeatId,
        /// Its id, new.
        leg: LegId,
        /// Public identifier of the seat, stamped as the sender on data-channel messages.
        stamp: Box<str>,
        /// What was negotiated.
        parameters: Box<LegParameters>,
    },
    /// Adds a leg whose far side is a thread of this process: one voice in, the loudest others out. The room and the seat's
    /// policy must exist. While the seat has such a leg it speaks and hears by it alone.
    AddLocalLeg {
        /// Where.
        room: RoomId,
        /// Whose.
        seat: SeatId,
        /// Its id, new.
        leg: LegId,
    },
    /// Removes a leg of either kind at once (left, replaced, removed).
    RemoveLeg(LegId),
    /// A new offer on the same leg with new ICE credentials and the same certificate (RFC 8839 section 4.4.1.1.1).
    RestartIce {
        /// Which leg.
        leg: LegId,
        /// Ours, as in our new answer.
        local: IceCredentials,
        /// Theirs.
        remote: IceCredentials,
        /// Must be the one the leg began with.
        remote_fingerprint: Fingerprint,
    },
    /// Appends receive slots that a further offer on the same leg declared.
    AddSlots {
        /// Which leg.
        leg: LegId,
        /// The new ones only, with slot numbers that the leg does not have.
        slots: Vec<SlotParameters>,
    },
    /// The size at which a page shows a slot's picture; zero width means hidden: its video is paused.
    SetView {
        /// Whose page.
        leg: LegId,
        /// Which slot.
        slot: SlotId,
        /// Shown size in device pixels.
        size: PictureSize,
    },
}

impl Command {
    /// Whether nobody may refuse it: a permission that changed, a leg or a room that ended.
    #[must_use]
    pub fn must_arrive(&self) -> bool {
        matches!(self, Command::SetPolicy { .. } | Command::RemoveLeg(_) | Command::CloseRoom(_))
    }
}

/// What the server lets a seat do with media. The default forbids everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SeatPolicy {
    /// May send its voice.
    pub microphone: bool,
    /// May send its camera.
    pub camera: bool,
    /// May share its screen.
    pub screen: bool,
    /// Receives others' pictures.
    pub see: bool,
    /// Receives others' voices.
    pub hear: bool,
    /// Receives others' messages, of every kind.
    pub read: bool,
    /// May send chat messages.
    pub chat: bool,
    /// May send files.
    pub files: bool,
    /// May send where it points.
    pub point: bool,
    /// May send vital signs.
    pub vitals: bool,
}

impl SeatPolicy {
    /// Everything allowed.
    pub const ALL: SeatPolicy = SeatPolicy {
        microphone: true,
        camera: true,
        screen: true,
        see: true,
        hear: true,
        read: true,
        chat: true,
        files: true,
        point: true,
        vitals: true,
    };

    /// Whether this source may be published.
    #[must_use]
    pub fn may_publish(self, source: Source) -> bool {
        match source {
            Source::Microphone => self.microphone,
            Source::Camera => self.camera,
            Source::Screen => self.screen,
        }
    }

    /// Whether this kind of message may be sent.
    #[must_use]
    pub fn may_send(self, kind: Kind) -> bool {
        match kind {
            Kind::Chat => self.chat,
            Kind::File => self.files,
            Kind::Pointer => self.point,
            Kind::Vitals => self.vitals,
        }
    }
}

/// What the `Sfu` tells the control plane. Rare: never per packet.
#[derive(Debug)]
pub enum Event {
    /// The leg's handshake is done; media can flow.
    LegConnected {
        /// Which.
        leg: LegId,
        /// SRTP profile in force.
        profile: Profile,
        /// `DTLSv1.2` or `DTLSv1.3`.
        dtls_version: &'static str,
        /// Key exchange group.
        dtls_group: &'static str,
    },
    /// The handshake failed for good; the leg is gone.
    LegFailed {
        /// Which.
        leg: LegId,
        /// Why.
        reason: DtlsFailure,
    },
    /// No authenticated check for 30 s (RFC 7675): egress stopped, state kept.
    LegSilent(LegId),
    /// Checks are back after `LegSilent`.
    LegBack(LegId),
    /// Nothing authentic was heard for some seconds: its network is probably gone. Egress goes on.
    LegQuiet {
        /// Which.
        leg: LegId,
        /// When it was heard last.
        since: Instant,
    },
    /// Heard again after `LegQuiet`.
    LegHeard(LegId),
    /// Silent for the whole grace period, closed by the far side, never connected, or never taken by its room: the leg is gone.
    LegGone(LegId),
    /// The first media packet of a track arrived.
    TrackStarted {
        /// Whose.
        seat: SeatId,
        /// On which leg.
        leg: LegId,
        /// Its id.
        track: TrackId,
        /// What it is.
        source: Source,
    },
    /// The track ended: its leg went, or the seat may not publish it any more.
    TrackEnded {
        /// Whose.
        seat: SeatId,
        /// Its id.
        track: TrackId,
        /// What it was.
        source: Source,
    },
    /// Which seat is on which slot of a leg changed; the whole list.
    SlotsChanged {
        /// Whose page.
        leg: LegId,
        /// Occupied slots only.
        slots: Vec<SlotAssignment>,
    },
    /// The active speaker of a room changed; `None` after a silence.
    SpeakerChanged {
        /// Where.
        room: RoomId,
        /// Who speaks.
        seat: Option<SeatId>,
    },
    /// The first media packet was forwarded to this leg.
    FirstForwarded(LegId),
    /// The room hit a bug and was closed; its legs are gone.
    RoomFailed(RoomId),
}

/// One occupied slot of a leg.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotAssignment {
    /// Which slot.
    pub slot: SlotId,
    /// Whose media.
    pub seat: SeatId,
    /// `Camera` for a voice and camera pair, `Screen` for a shared screen.
    pub source: Source,
    /// Whether this viewer lacks the codec of the picture (audio still flows).
    pub codec_missing: bool,
}
