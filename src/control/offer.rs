//! A page's offer: decide what it means for the leg there is, negotiate, tell the media plane, answer.
//!
//! ```text
//!   certificate unknown               -> a new connection: the old leg goes, AddLeg
//!   same certificate, new credentials -> ICE restart on the same leg: RestartIce
//!   same certificate, more slots      -> the same leg receives more: AddSlots
//!   same certificate, nothing new     -> the same answer again
//! ```
//!
//! Not here: SDP, which only `negotiation` reads.

use std::time::Instant;

use colloque_signaling::message::{ErrorCode, SenderInfo, ServerMessage};

use crate::ids::{LegId, Ssrc};
use crate::sfu::command::Command;
use crate::sfu::parameters::{LegParameters, SlotParameters};
use crate::transport::parameters::IceCredentials;

use super::Consultations;
use super::facts::Cause;
use super::leg::{self, Negotiation, PageLeg};
use super::media::MediaBusy;
use super::media_port::MediaPort;
use super::negotiation::{self, Negotiated, OfferError, OurSide};
use super::seat::{LiveSeat, Visit};
use super::visit::Attachment;

/// What an offer means for the leg that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OfferMeaning {
    /// Another connection of the far side.
    NewLeg,
    /// The same connection.
    SameLeg {
        /// With new credentials.
        ice_restart: bool,
        /// With receive slots appended.
        more_slots: bool,
    },
    /// Fewer slots, or other sending sections, than the leg has.
    Reshaped,
}

/// Compares what was just negotiated with what is in force.
pub(super) fn meaning(before: Option<&Negotiation>, now: &LegParameters) -> OfferMeaning {
    let Some(before) = before else { return OfferMeaning::NewLeg };
    if before.remote_fingerprint != now.transport.remote_fingerprint {
        OfferMeaning::NewLeg
    } else if now.slots.len() < before.slots.len() || before.ingress_len != now.ingress.len() {
        OfferMeaning::Reshaped
    } else {
        OfferMeaning::SameLeg {
            ice_restart: before.remote != now.transport.remote,
            more_slots: now.slots.len() > before.slots.len(),
        }
    }
}

/// Why an offer was not answered.
#[derive(Debug, thiserror::Error)]
pub enum OfferRefusal {
    /// The offer itself.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// Sections of a running connection were taken away.
    #[error("a running connection can only gain receive slots: make a new connection")]
    Reshaped,
    /// The worker is overloaded.
    #[error(transparent)]
    Busy(#[from] MediaBusy),
}

impl Consultations {
    pub(super) fn answer_page(&self, visit: &Attachment, id: u32, sdp: &str, senders: &[SenderInfo]) {
        let before = {
            let mut state = visit.room.lock();
            let Some(seat) = visit.current_seat(&mut state) else { return };
            if !seat.stage.is_inside() {
                drop(state);
                return visit.refuse(Some(id), ErrorCode::OutOfOrder, "the seat is not admitted yet");
            }
            seat.page_leg.clone()
        };
        // Parsing a large offer takes a while: never under the room's lock.
        let port = &visit.room.port;
        let answered = answer(port, before.as_ref().map(|page| &page.negotiation), |ours| {
            negotiation::negotiate(sdp, senders, ours)
        })
        .and_then(|answered| self.put_page_leg(visit, before, answered));
        let (message, incident) = match answered {
            Ok(sdp) => (ServerMessage::Answer { id, sdp }, None),
            Err(OfferRefusal::Busy(busy)) => {
                (error(id, ErrorCode::Unavailable, busy.to_string()), Some(Cause::ServerFull))
            }
            Err(refusal) => (error(id, ErrorCode::BadOffer, refusal.to_string()), Some(Cause::OfferRefused)),
        };
        self.metrics.count_offer(incident.is_none());
        let mut state = visit.room.lock();
        let Some(seat) = visit.current_seat(&mut state) else { return };
        seat.channel.send(message);
        if let Some(cause) = incident {
            state.tell_incident(&visit.seat, cause, Instant::now());
        }
    }

    /// Makes the outcome of a negotiation the seat's leg. Gives the answer's text.
    fn put_page_leg(
        &self,
        visit: &Attachment,
        before: Option<PageLeg>,
        answered: Answered,
    ) -> Result<String, OfferRefusal> {
        let mut state = visit.room.lock();
        let Some(seat) = visit.current_seat(&mut state) else { return Ok(answered.sdp) };
        let port = &visit.room.port;
        let changed = before.as_ref().map(|page| page.leg) != seat.page_leg.as_ref().map(|page| page.leg);
        match (answered.meaning, before) {
            (OfferMeaning::SameLeg { ice_restart, more_slots }, Some(mut page)) if !changed => {
                if ice_restart {
                    restart(port, page.leg, &answered.parameters)?;
                }
                if more_slots {
                    let slots = answered.parameters.slots[page.negotiation.slots.len()..].to_vec();
                    port.send(Command::AddSlots { leg: page.leg, slots })?;
                }
                page.negotiation = answered.negotiation;
                seat.page_leg = Some(page);
            }
            _ => {
                let due_since = match seat.visit {
                    Visit::Connected { since, .. } => Some(since),
                    Visit::Absent | Visit::Away { .. } => None,
                };
                let leg = LegId(self.numbers.next());
                add(port, seat, leg, answered.parameters)?;
                let page =
                    PageLeg { leg, negotiation: answered.negotiation, due_since, connected: false, quiet_since: None };
                let replaced = seat.page_leg.replace(page);
                if let Some(replaced) = replaced {
                    seat.tracks.retain(|track| track.leg != replaced.leg);
                    port.remove_leg(replaced.leg);
                }
            }
        }
        Ok(answered.sdp)
    }
}

/// The outcome of a negotiation, not yet in force.
pub(super) struct Answered {
    pub(super) meaning: OfferMeaning,
    pub(super) negotiation: Negotiation,
    pub(super) parameters: LegParameters,
    pub(super) sdp: String,
}

/// Negotiates with fresh credentials; with the old ones when nothing changed.
pub(super) fn answer(
    port: &MediaPort,
    before: Option<&Negotiation>,
    negotiate: impl Fn(OurSide<'_>) -> Result<Negotiated, OfferError>,
) -> Result<Answered, OfferRefusal> {
    let run = |credentials: IceCredentials, declared: &[SlotParameters], revision: u64| {
        negotiate(OurSide {
            credentials,
            fingerprint: port.plane.fingerprint(),
            candidates: port.plane.candidates(port.worker),
            ssrcs: &mut || Ssrc(rand::random()),
            declared,
            revision,
        })
    };
    let declared = before.map_or(&[][..], |before| &before.slots);
    let revision = before.map_or(0, |before| before.revision);
    let mut negotiated = run(leg::ice_credentials(), declared, revision)?;
    let meaning = meaning(before, &negotiated.parameters);
    match (meaning, before) {
        (OfferMeaning::Reshaped, _) => return Err(OfferRefusal::Reshaped),
        (OfferMeaning::SameLeg { ice_restart: false, .. }, Some(before)) => {
            negotiated = run(before.local.clone(), declared, revision)?
        }
        (OfferMeaning::NewLeg, Some(_)) => negotiated = run(leg::ice_credentials(), &[], 0)?,
        _ => {}
    }
    let mut negotiation = Negotiation::first(&negotiated.parameters);
    if meaning != OfferMeaning::NewLeg {
        negotiation.revision = revision + 1;
    }
    Ok(Answered { meaning, negotiation, parameters: negotiated.parameters, sdp: negotiated.answer })
}

/// Gives a seat a new leg. The policy goes first, so that the leg's first packet meets it.
pub(super) fn add(port: &MediaPort, seat: &LiveSeat, leg: LegId, parameters: LegParameters) -> Result<(), MediaBusy> {
    port.send(Command::SetPolicy { room: port.room, seat: seat.number, policy: seat.policy() })?;
    let stamp = seat.id.clone().into_boxed_str();
    // Before the command: the first report may come back at once.
    port.legs.insert(leg, port.room);
    port.send(Command::AddLeg { room: port.room, seat: seat.number, leg, stamp, parameters: Box::new(parameters) })
        .inspect_err(|_| {
            port.legs.remove(&leg);
        })
}

/// Puts new credentials on a leg.
pub(super) fn restart(port: &MediaPort, leg: LegId, parameters: &LegParameters) -> Result<(), MediaBusy> {
    port.send(Command::RestartIce {
        leg,
        local: parameters.transport.local.clone(),
        remote: parameters.transport.remote.clone(),
        remote_fingerprint: parameters.transport.remote_fingerprint.clone(),
    })
}

fn error(id: u32, code: ErrorCode, message: String) -> ServerMessage {
    ServerMessage::Error { id: Some(id), code, message }
}
