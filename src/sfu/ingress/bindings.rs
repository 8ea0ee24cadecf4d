//! Which of a leg's sending sections, and which layer of it, an SSRC carries (RFC 9143 section 9.2, RFC 8852).
//!
//! SSRCs are bound by `a=ssrc` with `a=ssrc-group:FID`, else by the mid, rid and repaired-rid that the first packets
//! carry, else because only one section of that kind exists. Not here: what a layer does with a second SSRC
//! (`track`). Invariant: at most [`StreamBindings::SSRCS_MAX`] SSRCs are remembered; a bound SSRC never moves.

use crate::drops::DropReason;
use crate::ids::Ssrc;
use crate::rtp::codec::{Codec, PayloadUse};
use crate::rtp::extension::{ExtensionKind, ExtensionMap};
use crate::rtp::packet::RtpHeader;

use super::meta::LayerIndex;
use crate::sfu::parameters::{IngressParameters, ShortName};

/// Where a stream belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamRoute {
    /// Index into `LegParameters::ingress`.
    pub section: usize,
    /// Which layer of it.
    pub layer: LayerIndex,
    /// Carries RFC 4588 retransmissions of that layer.
    pub repair: bool,
}

/// The SSRCs of one leg.
#[derive(Debug)]
pub struct StreamBindings {
    sections: Vec<IngressParameters>,
    bound: Vec<(Ssrc, StreamRoute)>,
}

impl StreamBindings {
    /// Three sources of four layers with RTX are 24. Higher only lengthens the look-up.
    pub const SSRCS_MAX: usize = 64;

    /// Binds what the offer declares.
    #[must_use]
    pub fn new(sections: &[IngressParameters]) -> Self {
        let mut bindings = Self { sections: sections.to_vec(), bound: Vec::new() };
        for (section, parameters) in sections.iter().enumerate() {
            for (layer, &(media, repair)) in parameters.ssrcs.iter().take(LayerIndex::COUNT_MAX).enumerate() {
                let layer = LayerIndex(layer as u8);
                bindings.bind(media, StreamRoute { section, layer, repair: false });
                if let Some(repair) = repair {
                    bindings.bind(repair, StreamRoute { section, layer, repair: true });
                }
            }
        }
        bindings
    }

    /// Where this packet belongs. Binds its SSRC when it is new and the packet says enough.
    pub fn resolve(
        &mut self,
        header: &RtpHeader,
        packet: &[u8],
        usage: PayloadUse,
        extensions: &ExtensionMap,
    ) -> Result<StreamRoute, DropReason> {
        let route = match self.route(header.ssrc) {
            Some(route) => route,
            None => {
                let route = self.read(header, packet, usage, extensions).ok_or(DropReason::RtpUnknownTrack)?;
                self.bind(header.ssrc, route).then_some(route).ok_or(DropReason::RtpUnknownTrack)?
            }
        };
        let (codec, repair) = match usage {
            PayloadUse::Media(codec) | PayloadUse::Red(codec) => (codec, false),
            PayloadUse::Rtx(codec) => (codec, true),
        };
        if repair != route.repair || !self.carries(route.section, codec) {
            return Err(DropReason::RtpUnknownPayloadType);
        }
        Ok(route)
    }

    /// Where an SSRC belongs, for RTCP; `None` when no packet and no offer told.
    #[must_use]
    pub fn route(&self, ssrc: Ssrc) -> Option<StreamRoute> {
        self.bound.iter().find(|(bound, _)| *bound == ssrc).map(|&(_, route)| route)
    }

    fn bind(&mut self, ssrc: Ssrc, route: StreamRoute) -> bool {
        if self.bound.len() >= Self::SSRCS_MAX || self.route(ssrc).is_some() {
            return false;
        }
        self.bound.push((ssrc, route));
        true
    }

    fn read(
        &self,
        header: &RtpHeader,
        packet: &[u8],
        usage: PayloadUse,
        extensions: &ExtensionMap,
    ) -> Option<StreamRoute> {
        let mut names = Names::default();
        for (id, value) in header.extensions(packet) {
            match extensions.kind(id) {
                Some(ExtensionKind::Mid) => names.mid = ShortName::new(value),
                Some(ExtensionKind::Rid) => names.rid = ShortName::new(value),
                Some(ExtensionKind::RepairedRid) => names.repaired_rid = ShortName::new(value),
                _ => {}
            }
        }
        let (codec, repair) = match usage {
            PayloadUse::Media(codec) | PayloadUse::Red(codec) => (codec, false),
            PayloadUse::Rtx(codec) => (codec, true),
        };
        let rid = if repair { names.repaired_rid.or(names.rid) } else { names.rid };
        let section = self.section(names.mid, rid, codec)?;
        let rids = &self.sections[section].rids;
        let layer = match rid {
            _ if rids.is_empty() => 0,
            Some(rid) => rids.iter().take(LayerIndex::COUNT_MAX).position(|&declared| declared == rid)?,
            None => return None,
        };
        Some(StreamRoute { section, layer: LayerIndex(layer as u8), repair })
    }

    /// By mid; else the only section that knows the rid; else the only one of the codec's kind. Never a guess between two.
    fn section(&self, mid: Option<ShortName>, rid: Option<ShortName>, codec: Codec) -> Option<usize> {
        if let Some(mid) = mid {
            return self.sections.iter().position(|section| section.mid == mid);
        }
        let knows = |at: &usize| rid.is_some_and(|rid| self.sections[*at].rids.contains(&rid));
        let of_kind = || (0..self.sections.len()).filter(|&at| self.carries(at, codec));
        only(of_kind().filter(knows)).or_else(|| only(of_kind()))
    }

    fn carries(&self, section: usize, codec: Codec) -> bool {
        self.sections[section].source.kind() == codec.kind()
    }
}

fn only(mut candidates: impl Iterator<Item = usize>) -> Option<usize> {
    let first = candidates.next()?;
    candidates.next().is_none().then_some(first)
}

#[derive(Default)]
struct Names {
    mid: Option<ShortName>,
    rid: Option<ShortName>,
    repaired_rid: Option<ShortName>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::codec::Source;
    use crate::sfu::ingress::testing::{Packet, extension_map, name};

    const VIDEO: PayloadUse = PayloadUse::Media(Codec::Vp8);
    const RTX: PayloadUse = PayloadUse::Rtx(Codec::Vp8);
    const AUDIO: PayloadUse = PayloadUse::Media(Codec::Opus);

    fn section(mid: &str, source: Source, rids: &[&str], ssrcs: &[(u32, Option<u32>)]) -> IngressParameters {
        IngressParameters {
            mid: name(mid),
            source,
            rids: rids.iter().map(|rid| name(rid)).collect(),
            ssrcs: ssrcs.iter().map(|&(media, repair)| (Ssrc(media), repair.map(Ssrc))).collect(),
        }
    }

    fn resolve(
        bindings: &mut StreamBindings,
        packet: Packet,
        usage: PayloadUse,
    ) -> Result<(usize, u8, bool), DropReason> {
        let bytes = packet.build();
        let header = RtpHeader::parse(&bytes).unwrap();
        bindings
            .resolve(&header, &bytes, usage, &extension_map())
            .map(|route| (route.section, route.layer.0, route.repair))
    }

    fn browser() -> StreamBindings {
        StreamBindings::new(&[
            section("0", Source::Microphone, &[], &[(10, None)]),
            section("1", Source::Camera, &["q", "h", "f"], &[]),
            section("2", Source::Screen, &[], &[(20, Some(21))]),
        ])
    }

    #[test]
    fn declared_ssrcs_need_no_extension() {
        let mut bindings = browser();
        assert_eq!(resolve(&mut bindings, Packet::new(10, 1), AUDIO), Ok((0, 0, false)));
        assert_eq!(resolve(&mut bindings, Packet::new(20, 1), VIDEO), Ok((2, 0, false)));
        assert_eq!(resolve(&mut bindings, Packet::new(21, 1), RTX), Ok((2, 0, true)));
    }

    #[test]
    fn simulcast_is_bound_by_mid_and_rid_and_stays_bound_without_them() {
        let mut bindings = browser();
        for (layer, rid) in ["q", "h", "f"].into_iter().enumerate() {
            let ssrc = 100 + layer as u32;
            assert_eq!(resolve(&mut bindings, Packet::new(ssrc, 1), VIDEO), Err(DropReason::RtpUnknownTrack));
            let named =
                Packet::new(ssrc, 1).extension(ExtensionKind::Mid, b"1").extension(ExtensionKind::Rid, rid.as_bytes());
            assert_eq!(resolve(&mut bindings, named, VIDEO), Ok((1, layer as u8, false)));
            assert_eq!(resolve(&mut bindings, Packet::new(ssrc, 2), VIDEO), Ok((1, layer as u8, false)));
            let repair = Packet::new(ssrc + 50, 1)
                .extension(ExtensionKind::Mid, b"1")
                .extension(ExtensionKind::RepairedRid, rid.as_bytes());
            assert_eq!(resolve(&mut bindings, repair, RTX), Ok((1, layer as u8, true)));
        }
    }

    #[test]
    fn a_rid_alone_is_enough_when_one_section_has_it() {
        let mut bindings = browser();
        let packet = Packet::new(100, 1).extension(ExtensionKind::Rid, b"h");
        assert_eq!(resolve(&mut bindings, packet, VIDEO), Ok((1, 1, false)));
    }

    #[test]
    fn the_only_section_of_a_kind_takes_an_undeclared_ssrc() {
        let mut bindings =
            StreamBindings::new(&[section("a", Source::Microphone, &[], &[]), section("v", Source::Camera, &[], &[])]);
        assert_eq!(resolve(&mut bindings, Packet::new(7, 1), VIDEO), Ok((1, 0, false)));
        assert_eq!(resolve(&mut bindings, Packet::new(8, 1), RTX), Ok((1, 0, true)));
        assert_eq!(resolve(&mut bindings, Packet::new(9, 1), AUDIO), Ok((0, 0, false)));
    }

    #[test]
    fn ambiguous_or_unknown_names_are_refused() {
        let mut bindings =
            StreamBindings::new(&[section("v", Source::Camera, &[], &[]), section("w", Source::Screen, &[], &[])]);
        assert_eq!(resolve(&mut bindings, Packet::new(7, 1), VIDEO), Err(DropReason::RtpUnknownTrack));
        let unknown = Packet::new(7, 1).extension(ExtensionKind::Mid, b"zz");
        assert_eq!(resolve(&mut bindings, unknown, VIDEO), Err(DropReason::RtpUnknownTrack));
        let unknown = Packet::new(7, 1).extension(ExtensionKind::Mid, b"1").extension(ExtensionKind::Rid, b"x");
        assert_eq!(resolve(&mut browser(), unknown, VIDEO), Err(DropReason::RtpUnknownTrack));
    }

    #[test]
    fn the_payload_must_fit_the_stream() {
        let mut bindings = browser();
        for (ssrc, usage) in [(10, VIDEO), (20, AUDIO), (20, RTX), (21, VIDEO)] {
            assert_eq!(resolve(&mut bindings, Packet::new(ssrc, 1), usage), Err(DropReason::RtpUnknownPayloadType));
        }
    }

    #[test]
    fn remembers_a_bounded_number_of_ssrcs() {
        let mut bindings = browser();
        let results: Vec<_> = (1000..1200)
            .map(|ssrc| {
                let packet =
                    Packet::new(ssrc, 1).extension(ExtensionKind::Mid, b"1").extension(ExtensionKind::Rid, b"q");
                resolve(&mut bindings, packet, VIDEO).is_ok()
            })
            .collect();
        assert_eq!(results.iter().filter(|&&ok| ok).count(), StreamBindings::SSRCS_MAX - 3);
        assert_eq!(resolve(&mut bindings, Packet::new(20, 1), VIDEO), Ok((2, 0, false)), "declared ones keep working");
    }
}
