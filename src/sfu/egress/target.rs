//! Which layer a viewer should get: a pure function of the size at which its page shows the picture, of what the
//! publisher sends, and of the loss the viewer reports. Until the bandwidth estimator comes this is the whole policy.
//!
//! Not here: when the switch happens (`layer_selector`); audio, which no policy may touch.

use std::time::{Duration, Instant};

use crate::sfu::ingress::{LayerFacts, LayerIndex};
use crate::units::PictureSize;

/// The smallest active layer at least as large as the picture shown, one step lower on heavy loss; `None` when it is
/// not shown. `layers` in ascending order. `current` stays while the view outgrows it by less than a tenth, so that
/// a page being resized does not flap. While no layer sends, the lowest is the target.
#[must_use]
pub fn layer_target(
    view: PictureSize,
    layers: &[LayerFacts],
    loss: f32,
    current: Option<LayerIndex>,
) -> Option<LayerIndex> {
    if view.width == 0 || view.height == 0 {
        return None;
    }
    let active = || layers.iter().filter(|layer| layer.active);
    let suffices =
        |layer: &&LayerFacts| layer.picture_size.is_some_and(|size| covers(size, view, current, layer.index));
    let wanted = active().find(suffices).or_else(|| active().next_back()).map_or(LayerIndex(0), |layer| layer.index);
    if loss <= LOSS_MAX {
        return Some(wanted);
    }
    let lower = active().rfind(|layer| layer.index < wanted);
    Some(lower.map_or(wanted, |layer| layer.index))
}

/// Whether a layer need not be enlarged to fill the view. A picture is shown whole, so one matching side is enough;
/// sides are compared by length because a telephone held upright sends its picture lying on its side.
fn covers(layer: PictureSize, view: PictureSize, current: Option<LayerIndex>, index: LayerIndex) -> bool {
    let sides = |size: PictureSize| {
        let (width, height) = (u32::from(size.width), u32::from(size.height));
        (width.max(height), width.min(height))
    };
    let percent = if current == Some(index) { 110 } else { 100 };
    let ((layer_long, layer_short), (view_long, view_short)) = (sides(layer), sides(view));
    layer_long * percent >= view_long * 100 || layer_short * percent >= view_short * 100
}

/// Remembers heavy loss for a while: a step down that cures the loss must not be undone by the very next report.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct LossHold {
    held: Option<Held>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Held {
    loss: f32,
    /// When loss was last heavy.
    since: Instant,
}

impl LossHold {
    /// Takes the loss of a report; the loss to decide by is the heavy one until [`LOSS_HOLD`] after it was seen.
    pub fn record(&mut self, now: Instant, loss: f32) -> f32 {
        if loss > LOSS_MAX {
            self.held = Some(Held { loss, since: now });
            return loss;
        }
        match self.held {
            Some(held) if now.saturating_duration_since(held.since) < LOSS_HOLD => held.loss,
            _ => {
                self.held = None;
                loss
            }
        }
    }
}

/// Loss that costs one step. Higher: a picture that freezes; lower: a radio link's ordinary loss blurs it.
pub const LOSS_MAX: f32 = 0.10;

/// Higher: a passing disturbance blurs the picture for long; lower: it flaps between two layers.
pub const LOSS_HOLD: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: [(u16, u16); 3] = [(320, 180), (640, 360), (1280, 720)];

    fn layers(active: [bool; 3]) -> Vec<LayerFacts> {
        (0..3u8)
            .map(|index| {
                let (width, height) = FULL[usize::from(index)];
                LayerFacts {
                    index: LayerIndex(index),
                    active: active[usize::from(index)],
                    picture_size: Some(PictureSize { width, height }),
                    ..LayerFacts::default()
                }
            })
            .collect()
    }

    #[test]
    fn picks_the_smallest_active_layer_that_fills_the_view() {
        let all = [true; 3];
        let table: [((u16, u16), [bool; 3], f32, Option<u8>, Option<u8>); 14] = [
            ((0, 0), all, 0.0, None, None),
            ((0, 500), all, 0.0, Some(2), None),
            ((320, 180), all, 0.0, None, Some(0)),
            ((321, 181), all, 0.0, None, Some(1)),
            ((640, 360), all, 0.0, None, Some(1)),
            ((1200, 700), all, 0.0, None, Some(2)),
            ((3000, 2000), all, 0.0, None, Some(2)),
            ((700, 390), all, 0.0, Some(1), Some(1)),
            ((720, 400), all, 0.0, Some(1), Some(2)),
            ((1200, 700), [true, true, false], 0.0, Some(2), Some(1)),
            ((100, 100), [false, false, true], 0.0, None, Some(2)),
            ((1200, 700), all, 0.11, Some(2), Some(1)),
            ((1200, 700), [true, false, true], 0.5, Some(2), Some(0)),
            ((300, 100), all, 0.5, Some(0), Some(0)),
        ];
        for ((width, height), active, loss, current, expected) in table {
            let view = PictureSize { width, height };
            let target = layer_target(view, &layers(active), loss, current.map(LayerIndex));
            assert_eq!(target, expected.map(LayerIndex), "{width}x{height} {active:?} {loss} {current:?}");
        }
    }

    #[test]
    fn an_upright_telephone_is_compared_by_its_sides() {
        assert_eq!(
            layer_target(PictureSize { width: 180, height: 320 }, &layers([true; 3]), 0.0, None),
            Some(LayerIndex(0))
        );
    }

    #[test]
    fn a_layer_of_unknown_size_is_used_only_when_no_other_fits() {
        let mut unknown = layers([true; 3]);
        unknown[2].picture_size = None;
        unknown[0].picture_size = None;
        let view = |width| PictureSize { width, height: width };
        assert_eq!(layer_target(view(300), &unknown, 0.0, None), Some(LayerIndex(1)));
        assert_eq!(layer_target(view(1000), &unknown, 0.0, None), Some(LayerIndex(2)));
        assert_eq!(layer_target(view(300), &[], 0.0, None), Some(LayerIndex(0)));
    }

    #[test]
    fn one_step_down_is_not_repeated_while_the_loss_lasts() {
        let view = PictureSize { width: 1280, height: 720 };
        let mut current = Some(LayerIndex(2));
        for _ in 0..5 {
            current = layer_target(view, &layers([true; 3]), 0.2, current);
        }
        assert_eq!(current, Some(LayerIndex(1)));
    }

    #[test]
    fn heavy_loss_is_remembered_for_the_hold_time() {
        let start = Instant::now();
        let mut hold = LossHold::default();
        assert_eq!(hold.record(start, 0.05), 0.05);
        assert_eq!(hold.record(start, 0.2), 0.2);
        assert_eq!(hold.record(start + Duration::from_secs(9), 0.0), 0.2);
        assert_eq!(hold.record(start + Duration::from_secs(10), 0.01), 0.01);
        assert_eq!(hold.record(start + Duration::from_secs(11), 0.0), 0.0);
    }
}
