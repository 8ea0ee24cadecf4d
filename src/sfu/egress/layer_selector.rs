//! Which packets of a track one viewer gets: one simulcast layer, and inside it the spatial and temporal layers up to
//! a cap.
//!
//! Knows no sequence numbers: what leaves is numbered by `rewriter`. Does not choose the target either (`target`).
//! Invariant: the packet after a change of simulcast layer, or after a spatial layer was added (K-SVC, RFC 9628),
//! starts a keyframe; a temporal layer is added only where the encoder says that this is safe.

use std::time::Instant;

use crate::rtp::codec::MediaKind;
use crate::sfu::ingress::{LayerFacts, LayerIndex, PacketMeta};

/// What a viewer should get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LayerTarget {
    /// Simulcast layer.
    pub layer: LayerIndex,
    /// Highest spatial layer inside it.
    pub spatial_max: u8,
    /// Highest temporal layer inside it.
    pub temporal_max: u8,
}

impl LayerTarget {
    /// All of one simulcast layer.
    #[must_use]
    pub fn whole(layer: LayerIndex) -> Self {
        Self { layer, spatial_max: u8::MAX, temporal_max: u8::MAX }
    }
}

/// Whether the viewer gets what it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Switching {
    /// Yes, or nothing is wanted.
    Settled,
    /// Not before a keyframe of this layer.
    AwaitingKeyframe {
        /// Where the keyframe must come from.
        target: LayerIndex,
        /// Since when it is missing.
        since: Instant,
    },
}

/// What to do with one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Selection {
    /// Of another layer, or before its keyframe: leaves no trace.
    Ignore,
    /// Of the forwarded stream but withheld: its number must not be missed by the receiver.
    Skip {
        /// Whether every packet of this picture is withheld, so that the picture's number must close up too.
        whole_picture: bool,
    },
    /// To be sent.
    Forward {
        /// RTP marker bit towards this viewer.
        marker: bool,
        /// The first packet of a stream that continues the one before: another layer, track or SSRC.
        switched: bool,
    },
}

/// The layer being forwarded, with the caps in force inside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Current {
    layer: LayerIndex,
    epoch: u8,
    spatial_max: u8,
    temporal_max: u8,
}

/// One viewer's choice of layers of one track.
#[derive(Clone, Debug)]
pub struct LayerSelector {
    kind: MediaKind,
    /// Bit per layer that sends at all.
    active: u8,
    target: Option<LayerTarget>,
    current: Option<Current>,
    switching: Switching,
}

impl LayerSelector {
    /// Forwards nothing until a target is set.
    #[must_use]
    pub fn new(kind: MediaKind) -> Self {
        Self { kind, active: ALL_ACTIVE, target: None, current: None, switching: Switching::Settled }
    }

    /// Decides on a packet. `late` when a later one of the same stream was seen: it may then still be sent, but
    /// changes nothing.
    #[inline]
    pub fn select(&mut self, meta: &PacketMeta, late: bool) -> Selection {
        let Some(target) = self.target else { return Selection::Ignore };
        if self.kind == MediaKind::Audio {
            return self.select_audio(meta);
        }
        match self.current {
            Some(current) if current.layer == meta.layer && current.epoch == meta.epoch => {
                self.select_within(current, target, meta, late)
            }
            _ => self.select_start(target, meta),
        }
    }

    /// The layer being forwarded.
    #[must_use]
    pub fn current(&self) -> Option<LayerIndex> {
        self.current.map(|current| current.layer)
    }

    /// Whether the viewer gets what it should.
    #[must_use]
    pub fn switching(&self) -> Switching {
        self.switching
    }

    /// What was asked for last.
    #[must_use]
    pub fn target(&self) -> Option<LayerTarget> {
        self.target
    }

    /// Sets what the viewer should get from now on; `None` pauses at once.
    pub fn set_target(&mut self, now: Instant, target: Option<LayerTarget>) {
        self.target = target;
        self.settle(now);
    }

    /// Tells which layers send at all. A silent layer is replaced by the next lower one that does, else by the lowest.
    pub fn set_active(&mut self, now: Instant, layers: &[LayerFacts]) {
        self.active = layers.iter().filter(|layer| layer.active).fold(0, |mask, layer| mask | bit(layer.index));
        self.settle(now);
    }

    /// Starts over with another track; the target stays.
    pub fn remap(&mut self, now: Instant) {
        self.current = None;
        self.active = ALL_ACTIVE;
        self.switching = Switching::Settled;
        self.settle(now);
    }

    /// Where a keyframe request of the receiver has to go.
    #[must_use]
    pub fn keyframe_layer(&self) -> Option<LayerIndex> {
        match (self.kind, self.switching) {
            (MediaKind::Audio, _) => None,
            (MediaKind::Video, Switching::AwaitingKeyframe { target, .. }) => Some(target),
            (MediaKind::Video, Switching::Settled) => self.current(),
        }
    }

    #[inline]
    fn select_audio(&mut self, meta: &PacketMeta) -> Selection {
        if meta.payload_len == 0 {
            return if self.current.is_some() { Selection::Skip { whole_picture: false } } else { Selection::Ignore };
        }
        let switched = self.current.is_none_or(|c| c.layer != meta.layer || c.epoch != meta.epoch);
        if switched {
            self.current =
                Some(Current { layer: meta.layer, epoch: meta.epoch, spatial_max: 0, temporal_max: u8::MAX });
        }
        // The marker begins a talk spurt (RFC 3551 section 4.1): the receiver may re-time its playout there.
        Selection::Forward { marker: meta.marker || switched, switched }
    }

    /// A packet of the forwarded stream.
    #[inline]
    fn select_within(&mut self, current: Current, target: LayerTarget, meta: &PacketMeta, late: bool) -> Selection {
        let frame = meta.frame;
        if meta.payload_len == 0 {
            return Selection::Skip { whole_picture: false };
        }
        let current = if frame.starts_frame && !late { self.recap(current, target, meta) } else { current };
        if frame.temporal > current.temporal_max {
            return Selection::Skip { whole_picture: true };
        }
        if frame.spatial > current.spatial_max {
            return Selection::Skip { whole_picture: false };
        }
        let marker = meta.marker || (frame.ends_frame && frame.spatial == current.spatial_max);
        Selection::Forward { marker, switched: false }
    }

    /// Moves the caps towards the target as far as this frame's start allows: down at any picture, spatially up at a
    /// keyframe, temporally up where the frame says so.
    #[inline]
    fn recap(&mut self, mut current: Current, target: LayerTarget, meta: &PacketMeta) -> Current {
        let frame = meta.frame;
        if frame.spatial == 0 {
            current.temporal_max = current.temporal_max.min(target.temporal_max);
            if frame.keyframe {
                current.spatial_max = target.spatial_max;
                current.temporal_max = target.temporal_max;
            } else {
                current.spatial_max = current.spatial_max.min(target.spatial_max);
            }
            if frame.layer_sync && frame.temporal > current.temporal_max && frame.temporal <= target.temporal_max {
                current.temporal_max = frame.temporal;
            }
        }
        if self.current != Some(current) {
            self.current = Some(current);
            self.settle(meta.arrived);
        }
        current
    }

    /// A packet of a stream that is not forwarded yet.
    #[cold]
    fn select_start(&mut self, target: LayerTarget, meta: &PacketMeta) -> Selection {
        let renewed = self.current.is_some_and(|c| c.layer == meta.layer && is_newer(meta.epoch, c.epoch));
        if renewed {
            // The publisher began this layer anew with another SSRC: what we forwarded will not go on.
            self.current = None;
            self.settle(meta.arrived);
        }
        let starts = meta.frame.keyframe && meta.frame.starts_frame && meta.frame.spatial == 0 && meta.payload_len > 0;
        if !starts || !self.may_start(meta.layer, meta.epoch) {
            return Selection::Ignore;
        }
        self.current = Some(Current {
            layer: meta.layer,
            epoch: meta.epoch,
            spatial_max: target.spatial_max,
            temporal_max: target.temporal_max,
        });
        self.settle(meta.arrived);
        let marker = meta.marker || (meta.frame.ends_frame && target.spatial_max == 0);
        Selection::Forward { marker, switched: true }
    }

    /// Whether a keyframe of `layer` may begin what is forwarded. While nothing flows, a lower layer is better than
    /// a black picture.
    fn may_start(&self, layer: LayerIndex, epoch: u8) -> bool {
        let Switching::AwaitingKeyframe { target, .. } = self.switching else { return false };
        match self.current {
            Some(current) if current.layer == layer => is_newer(epoch, current.epoch),
            Some(current) if self.is_active(current.layer) => layer == target,
            _ => layer <= target,
        }
    }

    /// The one place where `switching` changes.
    fn settle(&mut self, now: Instant) {
        let Some(target) = self.target else {
            self.current = None;
            self.switching = Switching::Settled;
            return;
        };
        if self.kind == MediaKind::Audio {
            return;
        }
        let wanted = self.reachable(target.layer);
        let settled = self.current.is_some_and(|c| c.layer == wanted && c.spatial_max >= target.spatial_max);
        self.switching = match self.switching {
            _ if settled => Switching::Settled,
            Switching::AwaitingKeyframe { target, since } if target == wanted => {
                Switching::AwaitingKeyframe { target, since }
            }
            _ => Switching::AwaitingKeyframe { target: wanted, since: now },
        };
    }

    /// The highest active layer up to `layer`, else the lowest active one; `layer` itself while none is.
    fn reachable(&self, layer: LayerIndex) -> LayerIndex {
        let lower = (0..=layer.0).rev().map(LayerIndex).find(|&lower| self.is_active(lower));
        let higher = || (layer.0 + 1..LayerIndex::COUNT_MAX as u8).map(LayerIndex).find(|&h| self.is_active(h));
        lower.or_else(higher).unwrap_or(layer)
    }

    fn is_active(&self, layer: LayerIndex) -> bool {
        self.active & bit(layer) != 0
    }
}

/// Until the first facts come, every layer counts as sending.
const ALL_ACTIVE: u8 = u8::MAX;

fn bit(layer: LayerIndex) -> u8 {
    1u8.checked_shl(u32::from(layer.0)).unwrap_or(0)
}

/// Serial number comparison of the counter of SSRCs.
fn is_newer(epoch: u8, than: u8) -> bool {
    (epoch.wrapping_sub(than) as i8) > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::frame::FrameInfo;
    use crate::sfu::egress::testing::{Vp8Layer, millis};

    /// A packet that is a whole frame of one spatial layer.
    fn frame(layer: u8, keyframe: bool, spatial: u8, temporal: u8, marker: bool) -> PacketMeta {
        let mut meta = Vp8Layer::new(layer).picture(Instant::now(), keyframe, 0, 1)[0].meta;
        meta.frame = FrameInfo {
            starts_frame: true,
            ends_frame: true,
            keyframe: keyframe && spatial == 0,
            spatial,
            temporal,
            ..FrameInfo::default()
        };
        meta.marker = marker;
        meta
    }

    fn sent(marker: bool, switched: bool) -> Selection {
        Selection::Forward { marker, switched }
    }

    fn selector(layer: u8, spatial_max: u8, temporal_max: u8) -> LayerSelector {
        let mut selector = LayerSelector::new(MediaKind::Video);
        let target = LayerTarget { layer: LayerIndex(layer), spatial_max, temporal_max };
        selector.set_target(Instant::now(), Some(target));
        selector
    }

    #[test]
    fn switches_only_at_a_keyframe_of_the_target_layer() {
        let mut selector = selector(0, u8::MAX, u8::MAX);
        assert_eq!(selector.select(&frame(0, false, 0, 0, true), false), Selection::Ignore);
        assert_eq!(selector.select(&frame(0, true, 0, 0, true), false), sent(true, true));
        selector.set_target(Instant::now(), Some(LayerTarget::whole(LayerIndex(2))));
        assert!(matches!(selector.switching(), Switching::AwaitingKeyframe { target: LayerIndex(2), .. }));
        assert_eq!(selector.select(&frame(2, false, 0, 0, true), false), Selection::Ignore);
        assert_eq!(selector.select(&frame(1, true, 0, 0, true), false), Selection::Ignore);
        assert_eq!(selector.select(&frame(0, false, 0, 0, true), false), sent(true, false));
        assert_eq!(selector.select(&frame(2, true, 0, 0, true), false), sent(true, true));
        assert_eq!(selector.select(&frame(0, false, 0, 0, true), false), Selection::Ignore);
        assert_eq!(selector.switching(), Switching::Settled);
    }

    #[test]
    fn starts_on_a_lower_layer_rather_than_wait_for_the_target() {
        let mut selector = selector(2, u8::MAX, u8::MAX);
        assert_eq!(selector.select(&frame(0, true, 0, 0, true), false), sent(true, true));
        assert_eq!(selector.keyframe_layer(), Some(LayerIndex(2)));
        let mut low = self::selector(0, u8::MAX, u8::MAX);
        assert_eq!(low.select(&frame(1, true, 0, 0, true), false), Selection::Ignore, "never above the target");
    }

    #[test]
    fn the_wait_for_a_keyframe_keeps_its_beginning() {
        let start = Instant::now();
        let mut selector = LayerSelector::new(MediaKind::Video);
        selector.set_target(start, Some(LayerTarget::whole(LayerIndex(1))));
        selector.set_target(start + millis(700), Some(LayerTarget::whole(LayerIndex(1))));
        let awaiting = Switching::AwaitingKeyframe { target: LayerIndex(1), since: start };
        assert_eq!(selector.switching(), awaiting);
    }

    #[test]
    fn spatial_layers_go_down_at_a_picture_and_up_at_a_keyframe() {
        let mut selector = selector(0, 2, u8::MAX);
        assert_eq!(selector.select(&frame(0, true, 0, 0, false), false), sent(false, true));
        assert_eq!(selector.select(&frame(0, true, 1, 0, false), false), sent(false, false));
        assert_eq!(selector.select(&frame(0, true, 2, 0, true), false), sent(true, false));
        let target = |spatial_max| LayerTarget { layer: LayerIndex(0), spatial_max, temporal_max: u8::MAX };
        selector.set_target(Instant::now(), Some(target(1)));
        assert_eq!(selector.select(&frame(0, false, 0, 0, false), false), sent(false, false));
        assert_eq!(selector.select(&frame(0, false, 1, 0, false), false), sent(true, false), "last of its picture now");
        let skip = Selection::Skip { whole_picture: false };
        assert_eq!(selector.select(&frame(0, false, 2, 0, true), false), skip);
        selector.set_target(Instant::now(), Some(target(2)));
        assert_eq!(selector.keyframe_layer(), Some(LayerIndex(0)));
        assert_eq!(selector.select(&frame(0, false, 0, 0, false), false), sent(false, false));
        assert_eq!(selector.select(&frame(0, false, 2, 0, true), false), skip);
        assert_eq!(
            selector.select(&frame(0, true, 0, 0, false), true),
            sent(false, false),
            "a late one changes nothing"
        );
        assert_eq!(selector.select(&frame(0, false, 2, 0, true), false), skip);
        assert_eq!(selector.select(&frame(0, true, 0, 0, false), false), sent(false, false));
        assert_eq!(selector.select(&frame(0, false, 2, 0, true), false), sent(true, false));
    }

    #[test]
    fn a_spatial_layer_that_stops_leaves_the_marker_where_it_is() {
        let mut selector = selector(0, 2, u8::MAX);
        selector.select(&frame(0, true, 0, 0, false), false);
        assert_eq!(selector.select(&frame(0, false, 0, 0, false), false), sent(false, false));
        assert_eq!(selector.select(&frame(0, false, 1, 0, true), false), sent(true, false));
    }

    #[test]
    fn temporal_layers_go_up_only_where_the_encoder_allows() {
        let mut selector = selector(0, u8::MAX, 0);
        selector.select(&frame(0, true, 0, 0, true), false);
        let skip = Selection::Skip { whole_picture: true };
        assert_eq!(selector.select(&frame(0, false, 0, 1, true), false), skip);
        selector.set_target(Instant::now(), Some(LayerTarget::whole(LayerIndex(0))));
        assert_eq!(selector.select(&frame(0, false, 0, 1, true), false), skip);
        let mut sync = frame(0, false, 0, 1, true);
        sync.frame.layer_sync = true;
        assert_eq!(selector.select(&sync, true), skip, "a late one changes nothing");
        assert_eq!(selector.select(&sync, false), sent(true, false));
        assert_eq!(selector.select(&frame(0, false, 0, 1, true), false), sent(true, false));
        assert_eq!(selector.select(&frame(0, false, 0, 2, true), false), skip);
    }

    #[test]
    fn another_ssrc_of_the_layer_needs_a_keyframe_again() {
        let mut selector = selector(0, u8::MAX, u8::MAX);
        selector.select(&frame(0, true, 0, 0, true), false);
        let mut renewed = frame(0, false, 0, 0, true);
        renewed.epoch = 1;
        assert_eq!(selector.select(&renewed, false), Selection::Ignore);
        assert_eq!(selector.keyframe_layer(), Some(LayerIndex(0)));
        renewed.frame.keyframe = true;
        assert_eq!(selector.select(&renewed, false), sent(true, true));
    }

    #[test]
    fn padding_is_withheld_and_a_pause_forgets_the_layer() {
        let mut selector = selector(0, u8::MAX, u8::MAX);
        let mut padding = frame(0, true, 0, 0, false);
        padding.payload_len = 0;
        assert_eq!(selector.select(&padding, false), Selection::Ignore);
        selector.select(&frame(0, true, 0, 0, true), false);
        assert_eq!(selector.select(&padding, false), Selection::Skip { whole_picture: false });
        selector.set_target(Instant::now(), None);
        assert_eq!(selector.select(&frame(0, true, 0, 0, true), false), Selection::Ignore);
        assert_eq!((selector.current(), selector.switching()), (None, Switching::Settled));
    }

    #[test]
    fn a_silent_layer_is_replaced_by_the_next_lower_one_that_sends() {
        let facts = |active: [bool; 3]| -> Vec<LayerFacts> {
            let layer = |index: u8| LayerFacts {
                index: LayerIndex(index),
                active: active[usize::from(index)],
                ..LayerFacts::default()
            };
            (0..3).map(layer).collect()
        };
        let table: [([bool; 3], u8); 5] = [
            ([true, true, false], 1),
            ([true, false, false], 0),
            ([false, false, false], 2),
            ([true, true, true], 2),
            ([false, true, true], 2),
        ];
        for (active, expected) in table {
            let mut selector = selector(2, u8::MAX, u8::MAX);
            selector.set_active(Instant::now(), &facts(active));
            assert_eq!(selector.keyframe_layer(), Some(LayerIndex(expected)), "{active:?}");
        }
        let mut low = selector(0, u8::MAX, u8::MAX);
        low.set_active(Instant::now(), &facts([false, true, true]));
        assert_eq!(low.keyframe_layer(), Some(LayerIndex(1)), "better too large than black");
    }
}
