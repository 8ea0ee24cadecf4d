//! Which RTP header extensions of a section we take (RFC 8285), with the offerer's ids and directions.
//!
//! Only kinds that the media plane reads, writes or passes on. Within one bundle an id means one thing.

use crate::rtp::codec::MediaKind;
use crate::rtp::extension::{ExtensionKind, ExtensionMap};

use super::error::OfferError;
use super::offer::{Direction, Offer, Section};

/// An extension as the answer repeats it.
#[derive(Clone, Copy)]
pub(super) struct AcceptedExtension {
    pub(super) id: u8,
    pub(super) kind: ExtensionKind,
    /// What the offer said after the id, seen from the offerer; `None` when it said nothing.
    direction: Option<Direction>,
}

impl AcceptedExtension {
    /// `<id>[/<direction>] <uri>`, the direction turned round to ours.
    pub(super) fn answer(&self) -> String {
        let ours = self.direction.map(|theirs| Direction::from_parts(theirs.receives(), theirs.sends()));
        let direction = ours.map_or(String::new(), |ours| format!("/{}", ours.name()));
        format!("{}{direction} {}", self.id, self.kind.uri())
    }

    fn sent_by_offerer(&self) -> bool {
        self.direction.is_none_or(Direction::sends)
    }

    fn received_by_offerer(&self) -> bool {
        self.direction.is_none_or(Direction::receives)
    }
}

/// How the whole bundle numbers extensions; grows section by section.
#[derive(Default)]
pub(super) struct BundleExtensions {
    kinds: Vec<(u8, ExtensionKind)>,
    /// What the far side may put on packets it sends.
    pub(super) ingress: ExtensionMap,
}

impl BundleExtensions {
    /// What of a section's extensions we take, when the offerer `sends` or `receives` media on it.
    pub(super) fn accept(
        &mut self,
        offer: &Offer,
        section: &Section,
        kind: MediaKind,
        sends: bool,
        receives: bool,
    ) -> Result<Vec<AcceptedExtension>, OfferError> {
        let id_max = if offer.allows_mixed_extensions(section) { u8::MAX } else { ONE_BYTE_ID_MAX };
        let mut accepted: Vec<AcceptedExtension> = Vec::new();
        for extension in offer.extmaps(section).filter_map(read) {
            let useful = (sends && extension.sent_by_offerer() && may_come_in(extension.kind, kind))
                || (receives && extension.received_by_offerer() && may_go_out(extension.kind, kind));
            let repeated = accepted.iter().any(|other| other.kind == extension.kind || other.id == extension.id);
            if !useful || repeated || extension.id > id_max || extension.id == 0 {
                continue;
            }
            if self.kinds.iter().any(|&(id, kind)| id == extension.id && kind != extension.kind) {
                return Err(OfferError::ExtensionConflict);
            }
            if sends && extension.sent_by_offerer() {
                // The media plane reads a leg with one map: a second number for one kind is simply not taken.
                match self.ingress.id(extension.kind) {
                    Some(id) if id != extension.id => continue,
                    _ => self.ingress.set(extension.kind, extension.id),
                }
            }
            self.kinds.push((extension.id, extension.kind));
            accepted.push(extension);
        }
        Ok(accepted)
    }
}

/// What we may write on packets of a section that the offerer receives.
pub(super) fn egress_map(accepted: &[AcceptedExtension], kind: MediaKind) -> ExtensionMap {
    let mut map = ExtensionMap::default();
    for extension in accepted.iter().filter(|e| e.received_by_offerer() && may_go_out(e.kind, kind)) {
        map.set(extension.kind, extension.id);
    }
    map
}

/// `a=extmap:<id>[/<direction>] <uri> [attributes]`; `None` for kinds we do not know.
fn read(line: &str) -> Option<AcceptedExtension> {
    let mut words = line.split_ascii_whitespace();
    let (number, kind) = (words.next()?, ExtensionKind::from_uri(words.next()?)?);
    let (id, direction) = match number.split_once('/') {
        Some((id, direction)) => (id, Some(Direction::from_name(direction)?)),
        None => (number, None),
    };
    Some(AcceptedExtension { id: id.parse().ok()?, kind, direction })
}

fn may_come_in(extension: ExtensionKind, kind: MediaKind) -> bool {
    use ExtensionKind::{AbsSendTime, AudioLevel, Mid, TransportCc};
    match kind {
        MediaKind::Audio => matches!(extension, Mid | AbsSendTime | TransportCc | AudioLevel),
        MediaKind::Video => extension != AudioLevel,
    }
}

fn may_go_out(extension: ExtensionKind, kind: MediaKind) -> bool {
    // Each slot has one SSRC: rids would say nothing there.
    let layered = matches!(extension, ExtensionKind::Rid | ExtensionKind::RepairedRid);
    may_come_in(extension, kind) && !layered
}

/// RFC 8285 section 4.2: 15 is reserved in the one-byte form.
const ONE_BYTE_ID_MAX: u8 = 14;
