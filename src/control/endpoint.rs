//! WHIP (RFC 9725) and WHEP without their HTTP: a device's offer by its seat's token, ICE restart, end.
//!
//! Each resource is one leg of its seat, beside the page's and other devices'. The token is not consumed. Trickled
//! candidates are not read: as the lite side we learn every address from its checks.

use std::sync::Arc;

use crate::ids::LegId;
use crate::sfu::command::Command;
use crate::store::{ConsultationRecord, SeatRecord};

use super::join::JoinError;
use super::leg::{self, EndpointLeg, Negotiation};
use super::media::MediaBusy;
use super::negotiation;
use super::offer::{self, OfferRefusal};
use super::room::Room;
use super::{Consultations, random};

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndpointKind {
    /// WHIP: the device sends.
    Publish,
    /// WHEP: the device receives.
    Play,
}

/// A new or restarted leg.
#[derive(Clone, Debug)]
pub struct EndpointAnswer {
    /// Names the resource in its URL.
    pub resource: String,
    /// The ICE session's tag, without quotes.
    pub etag: String,
    /// The answer, or the fragment of one after a restart.
    pub sdp: String,
}

/// Why a device's request was refused.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The token, or the seat's state.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The offer.
    #[error(transparent)]
    Offer(#[from] OfferRefusal),
    /// No such resource of this seat.
    #[error("no such resource")]
    NotFound,
    /// The seat has as many legs as it may.
    #[error("this seat has too many connections")]
    TooMany,
    /// Not an SDP fragment, or half of its credentials.
    #[error("the fragment cannot be read")]
    Fragment,
    /// No `If-Match`.
    #[error("an If-Match header is required")]
    MatchRequired,
    /// `If-Match` names an older ICE session.
    #[error("the ICE session was restarted since")]
    MatchFailed,
}

impl From<MediaBusy> for EndpointError {
    fn from(busy: MediaBusy) -> Self {
        EndpointError::Offer(OfferRefusal::Busy(busy))
    }
}

impl Consultations {
    /// Adds a leg to the token's seat.
    pub async fn open_endpoint(
        &self,
        token: &str,
        kind: EndpointKind,
        sdp: &str,
    ) -> Result<EndpointAnswer, EndpointError> {
        let (consultation, record) = self.seat_of_token(token).await?;
        let room = self.room_for_endpoint(&consultation, &record).await.inspect_err(|refusal| {
            self.record_failed_join(&consultation, &record.id, refusal);
        })?;
        let answered = offer::answer(&room.port, None, |ours| match kind {
            EndpointKind::Publish => negotiation::negotiate_whip(sdp, ours),
            EndpointKind::Play => negotiation::negotiate_whep(sdp, ours),
        });
        self.metrics.count_offer(answered.is_ok());
        let added =
            answered.map_err(EndpointError::from).and_then(|answered| self.add_endpoint(&room, &record, answered));
        if added.is_err() {
            // The room may have been opened for this leg alone.
            self.close_if_empty(&room, room.lock());
        }
        added
    }

    /// The room of a device's seat, when nothing keeps the seat from media: a device can neither wait nor answer.
    async fn room_for_endpoint(
        &self,
        consultation: &ConsultationRecord,
        record: &SeatRecord,
    ) -> Result<Arc<Room>, JoinError> {
        if !record.admission.is_admitted() {
            return Err(JoinError::NotAdmitted);
        }
        let room = self.open_room(consultation).await?;
        let mut state = room.lock();
        state.add_seat(record, &self.numbers);
        let Some(refusal) = state.obstacle(&record.id) else {
            drop(state);
            return Ok(room);
        };
        // The room may have been opened for this device alone.
        self.close_if_empty(&room, state);
        Err(refusal)
    }

    fn add_endpoint(
        &self,
        room: &Arc<Room>,
        record: &SeatRecord,
        answered: offer::Answered,
    ) -> Result<EndpointAnswer, EndpointError> {
        let mut state = room.lock();
        if state.is_closed() {
            return Err(JoinError::Full.into());
        }
        if let Some(refusal) = state.obstacle(&record.id) {
            return Err(refusal.into());
        }
        let seat = state.seat_mut(&record.id).ok_or(EndpointError::NotFound)?;
        if seat.endpoints.len() >= ENDPOINTS_MAX {
            return Err(EndpointError::TooMany);
        }
        let leg = LegId(self.numbers.next());
        offer::add(&room.port, seat, leg, answered.parameters)?;
        let endpoint = EndpointLeg {
            leg,
            resource: random::text::<16>(),
            etag: random::text::<9>(),
            negotiation: answered.negotiation,
            connected: false,
            quiet: false,
        };
        let answer =
            EndpointAnswer { resource: endpoint.resource.clone(), etag: endpoint.etag.clone(), sdp: answered.sdp };
        seat.endpoints.push(endpoint);
        state.settle();
        Ok(answer)
    }

    /// A PATCH: `None` for trickled candidates, the new ICE session for a restart.
    pub async fn patch_endpoint(
        &self,
        token: &str,
        resource: &str,
        if_match: Option<&str>,
        fragment: &str,
    ) -> Result<Option<EndpointAnswer>, EndpointError> {
        let (room, seat) = self.endpoint_room(token).await?;
        let mut state = room.lock();
        let seat = state.seat_mut(&seat).ok_or(EndpointError::NotFound)?;
        let endpoint = seat.endpoints.iter_mut().find(|e| e.resource == resource).ok_or(EndpointError::NotFound)?;
        let if_match = if_match.ok_or(EndpointError::MatchRequired)?.trim();
        if if_match != "*" && if_match.trim_matches('"') != endpoint.etag {
            return Err(EndpointError::MatchFailed);
        }
        let remote = negotiation::read_fragment(fragment).map_err(|_| EndpointError::Fragment)?;
        let Some(remote) = remote.filter(|remote| *remote != endpoint.negotiation.remote) else { return Ok(None) };
        let negotiation = Negotiation { local: leg::ice_credentials(), remote, ..endpoint.negotiation.clone() };
        room.port.send(Command::RestartIce {
            leg: endpoint.leg,
            local: negotiation.local.clone(),
            remote: negotiation.remote.clone(),
            remote_fingerprint: negotiation.remote_fingerprint.clone(),
        })?;
        endpoint.negotiation = negotiation;
        endpoint.etag = random::text::<9>();
        Ok(Some(EndpointAnswer {
            resource: resource.to_owned(),
            etag: endpoint.etag.clone(),
            sdp: negotiation::write_fragment(
                fragment,
                &endpoint.negotiation.local,
                room.port.plane.candidates(room.port.worker),
            ),
        }))
    }

    /// A DELETE.
    pub async fn close_endpoint(&self, token: &str, resource: &str) -> Result<(), EndpointError> {
        let (room, seat) = self.endpoint_room(token).await?;
        let mut state = room.lock();
        let live = state.seat_mut(&seat).ok_or(EndpointError::NotFound)?;
        let at = live.endpoints.iter().position(|e| e.resource == resource).ok_or(EndpointError::NotFound)?;
        let endpoint = live.endpoints.swap_remove(at);
        live.tracks.retain(|track| track.leg != endpoint.leg);
        room.port.remove_leg(endpoint.leg);
        state.settle();
        self.close_if_empty(&room, state);
        Ok(())
    }

    async fn endpoint_room(&self, token: &str) -> Result<(Arc<Room>, String), EndpointError> {
        let (consultation, seat) = self.seat_of_token(token).await?;
        Ok((self.live_room(&consultation.id).ok_or(EndpointError::NotFound)?, seat.id))
    }
}

/// Legs by WHIP and WHEP that one seat may have: cameras, a monitor, a recorder of tests.
const ENDPOINTS_MAX: usize = 8;
