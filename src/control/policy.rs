//! Who may do what, as pure functions from a rule of the act to what each layer enforces.
//!
//! The rules are data (`acts`); here is only their translation: into admission for the store, into media rights for
//! the `Sfu`, which checks them on every packet and data-channel message, into permissions for the protocol, whose
//! session checks them on every request. Not here: what a host changed meanwhile (`room`).

use colloque_signaling::message::{MediaHints, Permissions};

use crate::acts::{Facing, MediaDefaults, Right, Rights, ScreenContent, SeatRule, Start};
use crate::sfu::command::SeatPolicy;
use crate::store::Admission;

/// Where a new seat begins. `admitted`: the clinic lets it skip the waiting room (devices).
#[must_use]
pub fn first_admission(rule: SeatRule, admitted: bool) -> Admission {
    if rule.waits && !admitted { Admission::Waiting } else { Admission::Direct }
}

/// What an admitted seat may do with media.
#[must_use]
pub fn seat_policy(may: Rights) -> SeatPolicy {
    SeatPolicy {
        microphone: may.has(Right::Microphone),
        camera: may.has(Right::Camera),
        screen: may.has(Right::Screen),
        see: may.has(Right::See),
        hear: may.has(Right::Hear),
        // Who is part of the conversation at all reads what is written in it, as it hears what is said.
        read: may.has_any(&[Right::See, Right::Hear, Right::Chat, Right::Files, Right::Point, Right::Vitals]),
        chat: may.has(Right::Chat),
        files: may.has(Right::Files),
        point: may.has(Right::Point),
        vitals: may.has(Right::Vitals),
    }
}

/// What the page of a seat is told, and what its session and `visit` enforce.
#[must_use]
pub fn permissions(may: Rights) -> Permissions {
    Permissions {
        microphone: may.has(Right::Microphone),
        camera: may.has(Right::Camera),
        screen: may.has(Right::Screen),
        see: may.has(Right::See),
        hear: may.has(Right::Hear),
        chat: may.has(Right::Chat),
        files: may.has(Right::Files),
        point: may.has(Right::Point),
        vitals: may.has(Right::Vitals),
        admit: may.has(Right::Admit),
        remove: may.has(Right::Remove),
        mute: may.has(Right::Mute),
        invite: may.has(Right::Invite),
        hand_over: may.has(Right::HandOver),
        aside: may.has(Right::Aside),
        end: may.has(Right::End),
    }
}

/// Whether somebody may invite a seat of this role: one that exists, and that runs no more of the consultation than they do.
#[must_use]
pub fn may_invite(inviter: Permissions, rule: SeatRule) -> bool {
    let new = permissions(rule.may);
    let pairs = [
        (new.admit, inviter.admit),
        (new.remove, inviter.remove),
        (new.mute, inviter.mute),
        (new.invite, inviter.invite),
        (new.hand_over, inviter.hand_over),
        (new.end, inviter.end),
    ];
    rule.seats > 0 && inviter.invite && pairs.into_iter().all(|(new, own)| own || !new)
}

/// How the page of a seat begins.
#[must_use]
pub fn media_hints(media: MediaDefaults) -> MediaHints {
    let start = match media.start {
        Start::Video => "video",
        Start::Audio => "audio",
        Start::Telephone => "telephone",
    };
    let camera = match media.camera {
        Facing::Front => "front",
        Facing::Rear => "rear",
    };
    let screen = match media.screen {
        ScreenContent::Motion => "motion",
        ScreenContent::Detail => "detail",
    };
    MediaHints {
        start: start.to_owned(),
        camera: camera.to_owned(),
        cameras: media.cameras,
        screen: screen.to_owned(),
        low_delay: media.low_delay,
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
