//! From an SDP offer to [`LegParameters`] and an SDP answer: pure functions, the only place that knows SDP.
//!
//! We only answer (RFC 9429 section 5.3): ICE-lite, DTLS server, one BUNDLE transport, every candidate in the answer.
//! The offerer's sending sections become tracks, its receiving sections *slots*: the n-th receiving audio section and
//! the n-th receiving video section make slot n. Whether an offer restarts ICE is the caller's to see from the
//! credentials. Not here: what a seat may publish (that is policy, and changes without renegotiation).

mod answer;
mod codecs;
mod error;
mod extensions;
mod fragment;
mod offer;
mod streams;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use colloque_signaling::message::{MediaSource, SenderInfo};

use crate::ids::{SlotId, Ssrc};
use crate::rtp::codec::{MediaKind, PayloadMap, Source};
use crate::sfu::parameters::{EgressParameters, IngressParameters, LegParameters, ShortName, SlotParameters, SlotRole};
use crate::transport::parameters::{IceCredentials, TransportParameters};

pub use error::OfferError;
pub use fragment::{FRAGMENT_BYTES_MAX, read_fragment, write_fragment};
pub use offer::{OFFER_BYTES_MAX, OFFER_LINES_MAX};

use codecs::{AcceptedCodec, BundlePayloads};
use extensions::{AcceptedExtension, BundleExtensions};
use offer::{Offer, Section};
use streams::Layer;

/// Largest data-channel message we take, as the answer says (RFC 8841 section 6).
pub const MESSAGE_SIZE_MAX: u32 = 65_536;

/// Our side of the connection.
pub struct OurSide<'a> {
    /// ICE credentials of this answer.
    pub credentials: IceCredentials,
    /// SHA-256 of our certificate.
    pub fingerprint: [u8; 32],
    /// Where the leg's worker listens, as seen from outside; the first is preferred.
    pub candidates: &'a [SocketAddr],
    /// Draws a random SSRC; a draw that is taken already is drawn again.
    pub ssrcs: &'a mut dyn FnMut() -> Ssrc,
    /// Slots that an earlier answer on this leg declared: they keep their SSRCs. Empty for a first offer.
    pub declared: &'a [SlotParameters],
    /// How many answers this leg had before: the `o=` line's version.
    pub revision: u64,
}

/// The outcome of a negotiation.
pub struct Negotiated {
    /// For the media plane.
    pub parameters: LegParameters,
    /// For the offerer.
    pub answer: String,
}

/// Without the answer: it holds our ICE password.
impl std::fmt::Debug for Negotiated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Negotiated").field("parameters", &self.parameters).finish_non_exhaustive()
    }
}

/// Answers a page's offer. `senders` says what each of its sending sections carries.
pub fn negotiate(offer: &str, senders: &[SenderInfo], ours: OurSide<'_>) -> Result<Negotiated, OfferError> {
    answer_offer(offer, Purpose::Page(senders), ours)
}

/// Answers a WHIP offer (RFC 9725): the first audio section is the microphone, the first video section the camera,
/// anything else is rejected.
pub fn negotiate_whip(offer: &str, ours: OurSide<'_>) -> Result<Negotiated, OfferError> {
    answer_offer(offer, Purpose::Whip, ours)
}

/// Answers a WHEP offer: receiving sections only. With one audio and one video section they follow the active speaker.
pub fn negotiate_whep(offer: &str, ours: OurSide<'_>) -> Result<Negotiated, OfferError> {
    answer_offer(offer, Purpose::Whep, ours)
}

/// Which front door the offer came through.
#[derive(Clone, Copy)]
enum Purpose<'a> {
    Page(&'a [SenderInfo]),
    Whip,
    Whep,
}

/// What becomes of one section of the offer.
enum Plan {
    /// Port 0 in the answer.
    Rejected,
    /// The data channel's, with the largest message that the far side takes.
    Data {
        message_size_max: u32,
    },
    Media(MediaPlan),
}

struct MediaPlan {
    kind: MediaKind,
    /// What the far side sends here.
    source: Option<Source>,
    codecs: Vec<AcceptedCodec>,
    extensions: Vec<AcceptedExtension>,
    /// Simulcast layers it sends, in the offer's order.
    layers: Vec<Layer>,
    /// What we send here, and on which slot.
    egress: Option<(SlotId, EgressParameters)>,
}

fn answer_offer(text: &str, purpose: Purpose<'_>, mut ours: OurSide<'_>) -> Result<Negotiated, OfferError> {
    let offer = Offer::parse(text)?;
    if let Purpose::Page(senders) = purpose {
        check_senders(&offer, senders)?;
    }
    let mut bundle = Bundle::default();
    let mut plans = Vec::with_capacity(offer.sections.len());
    for section in &offer.sections {
        plans.push(bundle.plan(&offer, section, purpose, &mut ours)?);
    }
    let carrier = plans.iter().position(|plan| !matches!(plan, Plan::Rejected)).ok_or(OfferError::NothingAcceptable)?;
    let carrier = &offer.sections[carrier];
    offer.check_setup(carrier)?;
    let transport = TransportParameters {
        local: ours.credentials.clone(),
        remote: offer.ice_credentials(carrier)?,
        remote_fingerprint: offer.fingerprint(carrier)?,
        data_channel: plans.iter().find_map(|plan| match plan {
            Plan::Data { message_size_max } => Some(*message_size_max),
            _ => None,
        }),
    };
    let answer = answer::write(&offer, &plans, &ours);
    let slots = slots(&plans, purpose);
    let parameters = LegParameters {
        transport,
        payloads: bundle.payloads.finish(),
        extensions: bundle.extensions.ingress,
        ingress: bundle.ingress,
        slots,
    };
    Ok(Negotiated { parameters, answer })
}

/// Every entry of `senders` names its own sending section of the right kind, and no source is there twice.
fn check_senders(offer: &Offer, senders: &[SenderInfo]) -> Result<(), OfferError> {
    for (index, sender) in senders.iter().enumerate() {
        let matches = offer.sections.iter().any(|section| {
            section.mid.as_bytes() == sender.mid.as_bytes()
                && section.direction.sends()
                && kind_of(section) == Some(source_of(sender.source).kind())
        });
        let repeated = senders[..index].iter().any(|other| other.mid == sender.mid || other.source == sender.source);
        if !matches || repeated {
            return Err(OfferError::SenderMismatch);
        }
    }
    Ok(())
}

/// What the sections seen so far have used up.
#[derive(Default)]
struct Bundle {
    payloads: BundlePayloads,
    extensions: BundleExtensions,
    ingress: Vec<IngressParameters>,
    egress_ssrcs: Vec<Ssrc>,
    audio_slots: u16,
    video_slots: u16,
    data: bool,
}

impl Bundle {
    fn plan(
        &mut self,
        offer: &Offer,
        section: &Section,
        purpose: Purpose<'_>,
        ours: &mut OurSide<'_>,
    ) -> Result<Plan, OfferError> {
        let Some(kind) = kind_of(section) else { return Ok(self.plan_data(section)) };
        // Counted also when rejected, so that page and server agree on every index.
        let receives = section.direction.receives() && !matches!(purpose, Purpose::Whip);
        let slot = receives.then(|| self.next_slot(kind));
        if !section.usable {
            return Ok(Plan::Rejected);
        }
        if !section.protocol.contains("/TLS/RTP/SAVP") {
            return Err(OfferError::PlainRtp);
        }
        if !section.has("rtcp-mux") {
            return Err(OfferError::NoRtcpMux);
        }
        let source = self.source(section, kind, purpose)?;
        let idle = source.is_none() && slot.is_none();
        let codecs = codecs::accept(section, kind);
        if codecs.is_empty() || (idle && section.direction != offer::Direction::Inactive) {
            return Ok(Plan::Rejected);
        }
        self.payloads.add(&codecs)?;
        let extensions = self.extensions.accept(offer, section, kind, source.is_some(), slot.is_some())?;
        let layers = match source {
            Some(source) => self.add_ingress(section, source)?,
            None => Vec::new(),
        };
        let egress = slot.map(|slot| (slot, self.egress(section, kind, &codecs, &extensions, ours)));
        Ok(Plan::Media(MediaPlan { kind, source, codecs, extensions, layers, egress }))
    }

    /// One data channel section, SCTP over DTLS on the port every browser uses; anything else is rejected.
    fn plan_data(&mut self, section: &Section) -> Plan {
        let is_channel = section.media == "application"
            && section.protocol.ends_with("/DTLS/SCTP")
            && section.formats.iter().any(|format| format == "webrtc-datachannel")
            && section.value("sctp-port").is_none_or(|port| port == "5000");
        if !section.usable || !is_channel || self.data {
            return Plan::Rejected;
        }
        self.data = true;
        let announced = section.value("max-message-size").and_then(|size| size.parse::<u64>().ok());
        let message_size_max = match announced {
            None => MESSAGE_SIZE_MAX,
            Some(0) => u32::MAX,
            Some(size) => u32::try_from(size).unwrap_or(u32::MAX),
        };
        Plan::Data { message_size_max }
    }

    fn next_slot(&mut self, kind: MediaKind) -> SlotId {
        let next = match kind {
            MediaKind::Audio => &mut self.audio_slots,
            MediaKind::Video => &mut self.video_slots,
        };
        *next += 1;
        SlotId(*next - 1)
    }

    fn source(&self, section: &Section, kind: MediaKind, purpose: Purpose<'_>) -> Result<Option<Source>, OfferError> {
        if !section.direction.sends() {
            return Ok(None);
        }
        match purpose {
            Purpose::Whep => Ok(None),
            Purpose::Whip => {
                let source = if kind == MediaKind::Audio { Source::Microphone } else { Source::Camera };
                Ok((!self.ingress.iter().any(|known| known.source == source)).then_some(source))
            }
            Purpose::Page(senders) => {
                let sender = senders.iter().find(|sender| sender.mid.as_bytes() == section.mid.as_bytes());
                match sender {
                    Some(sender) => Ok(Some(source_of(sender.source))),
                    // `sendrecv` is what pages get that never said otherwise: it may be there for receiving only.
                    None if section.direction.receives() => Ok(None),
                    None => Err(OfferError::SenderUndeclared),
                }
            }
        }
    }

    fn add_ingress(&mut self, section: &Section, source: Source) -> Result<Vec<Layer>, OfferError> {
        let layers = if source.kind() == MediaKind::Video { streams::simulcast(section)? } else { Vec::new() };
        let ssrcs = if layers.is_empty() { streams::ssrcs(section) } else { Vec::new() };
        if ssrcs.iter().flat_map(both).any(|ssrc| self.is_ingress_ssrc(ssrc)) {
            return Err(OfferError::SsrcConflict);
        }
        let rids = streams::lowest_first(&layers);
        self.ingress.push(IngressParameters { mid: section.mid, source, rids, ssrcs });
        Ok(layers)
    }

    fn is_ingress_ssrc(&self, ssrc: Ssrc) -> bool {
        self.ingress.iter().flat_map(|section| &section.ssrcs).flat_map(both).any(|known| known == ssrc)
    }

    fn egress(
        &mut self,
        section: &Section,
        kind: MediaKind,
        codecs: &[AcceptedCodec],
        extensions: &[AcceptedExtension],
        ours: &mut OurSide<'_>,
    ) -> EgressParameters {
        let before = declared(ours.declared, section.mid);
        let ssrc = before.map_or_else(|| self.draw_ssrc(ours), |before| before.ssrc);
        let retransmits = codecs.iter().any(|codec| codec.mapping.rtx.is_some());
        let rtx_ssrc =
            retransmits.then(|| before.and_then(|before| before.rtx_ssrc).unwrap_or_else(|| self.draw_ssrc(ours)));
        EgressParameters {
            mid: section.mid,
            kind,
            ssrc,
            rtx_ssrc,
            payloads: PayloadMap::new(codecs.iter().map(|codec| codec.mapping).collect()),
            extensions: extensions::egress_map(extensions, kind),
        }
    }

    /// An SSRC that nobody on this leg has. Sections still to come may clash; browsers then pick anew (RFC 3550
    /// section 8.2).
    fn draw_ssrc(&mut self, ours: &mut OurSide<'_>) -> Ssrc {
        let mut ssrc = (ours.ssrcs)();
        let taken = |ssrc: Ssrc| {
            let declared = ours.declared.iter().flat_map(|slot| [&slot.audio, &slot.video]).flatten();
            let mut declared = declared.flat_map(|egress| [Some(egress.ssrc), egress.rtx_ssrc]).flatten();
            ssrc.0 == 0
                || self.egress_ssrcs.contains(&ssrc)
                || self.is_ingress_ssrc(ssrc)
                || declared.any(|known| known == ssrc)
        };
        // Counting up ends even when the source of numbers is stuck on one.
        while taken(ssrc) {
            ssrc = Ssrc(ssrc.0.wrapping_add(1));
        }
        self.egress_ssrcs.push(ssrc);
        ssrc
    }
}

/// Gathers the sections into slots; a slot whose sections were all rejected is left out, its index stays free.
fn slots(plans: &[Plan], purpose: Purpose<'_>) -> Vec<SlotParameters> {
    let sections = |kind: MediaKind| {
        plans.iter().filter_map(move |plan| match plan {
            Plan::Media(media) if media.kind == kind => media.egress.as_ref(),
            _ => None,
        })
    };
    let pair = (sections(MediaKind::Audio).count(), sections(MediaKind::Video).count()) == (1, 1);
    let role = if matches!(purpose, Purpose::Whep) && pair { SlotRole::ActiveSpeaker } else { SlotRole::Seat };
    let mut slots: Vec<SlotParameters> = Vec::new();
    for (slot, egress) in sections(MediaKind::Audio).chain(sections(MediaKind::Video)) {
        let index = slots.iter().position(|known| known.slot == *slot).unwrap_or_else(|| {
            slots.push(SlotParameters { slot: *slot, role, audio: None, video: None });
            slots.len() - 1
        });
        match egress.kind {
            MediaKind::Audio => slots[index].audio = Some(egress.clone()),
            MediaKind::Video => slots[index].video = Some(egress.clone()),
        }
    }
    slots.sort_by_key(|slot| slot.slot);
    slots
}

fn declared(slots: &[SlotParameters], mid: ShortName) -> Option<&EgressParameters> {
    slots.iter().flat_map(|slot| [&slot.audio, &slot.video]).flatten().find(|egress| egress.mid == mid)
}

fn both(&(ssrc, rtx): &(Ssrc, Option<Ssrc>)) -> impl Iterator<Item = Ssrc> {
    std::iter::once(ssrc).chain(rtx)
}

fn kind_of(section: &Section) -> Option<MediaKind> {
    match section.media.as_str() {
        "audio" => Some(MediaKind::Audio),
        "video" => Some(MediaKind::Video),
        _ => None,
    }
}

fn source_of(source: MediaSource) -> Source {
    match source {
        MediaSource::Microphone => Source::Microphone,
        MediaSource::Camera => Source::Camera,
        MediaSource::Screen => Source::Screen,
    }
}
