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
    let wanted = active().find(suffices).or_else(|| active().last()).map_or(LayerIndex(0), |layer| layer.index);
    if loss <= LOSS_MAX {
        return Some(wanted);
    }
    let lower = active().filter(|layer| layer.index < wanted).last();
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
