//! What travels beside the messages: sources, the sections that carry them, the slots on which they are received.
//!
//! Not here: SDP, which the messages carry unread.

use serde::{Deserialize, Serialize};

/// What a media source is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum MediaSource {
    /// Voice.
    Microphone,
    /// Face or examination camera.
    Camera,
    /// Shared screen.
    Screen,
}

/// How media begins, from the act.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct MediaHints {
    /// `video`, `audio` or `telephone`: the rung on which the page begins.
    pub start: String,
    /// `front` or `rear`: the camera that a mobile device offers first.
    pub camera: String,
    /// Cameras that one seat may show at the same time.
    pub cameras: u8,
    /// `motion` or `detail`: what a shared screen is tuned for.
    pub screen: String,
    /// Shorter buffers at the price of more stalls.
    pub low_delay: bool,
}

/// What a sending section of an offer carries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SenderInfo {
    /// `a=mid` of the section.
    pub mid: String,
    /// What it carries.
    pub source: MediaSource,
}

/// Which seat is on which receive slot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct SlotInfo {
    /// Index of the pair of receiving sections in the offer, from 0 in offer order.
    pub slot: u16,
    /// Whose media.
    pub seat: String,
    /// `camera` for a voice and camera pair, `screen` for a shared screen.
    pub source: MediaSource,
    /// This page cannot decode the picture's codec; the voice still flows.
    pub codec_missing: bool,
}

/// State of a seat's media connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum MediaState {
    /// Handshake done.
    Connected,
    /// Nothing heard for 30 s: restart ICE.
    Silent,
    /// Gone: make a new connection and send a fresh offer.
    Gone,
}
