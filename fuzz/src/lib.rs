//! Fuzz targets: one function per parser of something that a stranger may send.
//!
//! A target must never panic, whatever the bytes; where there is a writer too, it also checks that what was read can
//! be written and read again. To add one: write the function, put it into [`TARGETS`], put a seed or two into
//! `fuzz/corpus/<name>/`. `scripts/fuzz.sh` and `tests/corpus.rs` then find it. Not here: how inputs are made
//! (libFuzzer does that) and round trips that need no hostile bytes (the tests beside the code).

mod call_packets;
mod channel;
mod media;
mod signalling;
mod sound;
mod telephone;

/// A target: takes the bytes as the parser would get them from the network.
pub type Target = fn(&[u8]);

/// Every target by name, which is also its folder in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("demux", media::demux),
    ("rtp_header", media::rtp_header),
    ("rtcp", media::rtcp),
    ("transport_feedback", media::transport_feedback),
    ("red", media::red),
    ("opus", media::opus),
    ("vp8", media::vp8),
    ("vp9", media::vp9),
    ("h264", media::h264),
    ("av1", media::av1),
    ("dependency_descriptor", media::dependency_descriptor),
    ("stun", channel::stun),
    ("dtls", channel::dtls),
    ("sctp", channel::sctp),
    ("data_envelope", channel::data_envelope),
    ("sdp", signalling::sdp),
    ("sdp_fragment", signalling::sdp_fragment),
    ("websocket", signalling::websocket),
    ("token", signalling::token),
    ("telephone_event", sound::telephone_event),
    ("jitter_buffer", sound::jitter_buffer),
    ("reception", sound::reception),
    ("wav", sound::wav),
    ("sip", telephone::sip),
    ("telephone_sdp", telephone::telephone_sdp),
    ("telephone_packets", call_packets::telephone_packets),
];

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|&(_, target)| target)
}
