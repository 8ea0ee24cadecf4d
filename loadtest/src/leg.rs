//! One media connection as a scenario plans it, whichever engine makes it: what it sends, what it takes, its names.
//!
//! Not here: how (`light`, `connection`) and to whom (`target`).

use colloque_signaling::message::SenderInfo;

/// What one leg sends and receives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LegPlan {
    /// Its number in this process, from which its streams are named.
    pub number: u32,
    /// Sends a voice.
    pub voice: bool,
    /// Sends a picture.
    pub camera: Option<Camera>,
    /// Pairs of receiving sections, voice and picture.
    pub slots: usize,
}

/// A camera's encoder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Camera {
    /// Of all layers together.
    pub kbit_per_second: u32,
    /// Of each layer.
    pub frames_per_second: u32,
    /// 1, or 3: simulcast with the rids `q`, `h`, `f` at a quarter, a half and the full size.
    pub layers: usize,
}

/// An offer for a server.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The SDP.
    pub sdp: String,
    /// What its sending sections carry.
    pub senders: Vec<SenderInfo>,
}

/// The stream of a leg's voice in stamps and tallies.
#[must_use]
pub fn voice_stream(leg: u32) -> u32 {
    leg * STREAMS_PER_LEG
}

/// The stream of a leg's picture; layer 0 is the smallest, or the only one.
#[must_use]
pub fn camera_stream(leg: u32, layer: usize) -> u32 {
    leg * STREAMS_PER_LEG + 1 + layer as u32
}

/// The leg that sends a stream.
#[must_use]
pub fn sender_of(stream: u32) -> u32 {
    stream / STREAMS_PER_LEG
}

/// Layers of a simulcast camera.
pub const LAYERS_MAX: usize = 3;
/// A voice and three layers.
pub const STREAMS_PER_LEG: u32 = 1 + LAYERS_MAX as u32;
