//! Writes the answer's text (RFC 8866, RFC 9429 section 5.3.1). Everything was decided before; nothing can fail here.
//!
//! Each accepted section repeats the transport's attributes, as browsers do; candidates stand on the first one, which
//! carries the bundle (RFC 9143 section 7.3).

use std::fmt::Write;
use std::net::SocketAddr;

use crate::rtp::codec::{Codec, MediaKind, PayloadMapping};

use super::offer::{Direction, Offer, Section};
use super::{MESSAGE_SIZE_MAX, MediaPlan, OurSide, Plan};

/// Writes lines; `fmt::Write` into a `String` cannot fail.
struct Lines(String);

impl Lines {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.write_fmt(line).expect("writing into a String cannot fail");
        self.0.push_str("\r\n");
    }
}

macro_rules! line {
    ($lines:expr, $($text:tt)*) => { $lines.line(format_args!($($text)*)) };
}

pub(super) fn write(offer: &Offer, plans: &[Plan], ours: &OurSide<'_>) -> String {
    let mut out = Lines(String::with_capacity(1024 * plans.len().max(1)));
    line!(out, "v=0");
    // The user name and address are fixed: an answer must not name the machine.
    line!(out, "o=- {} {} IN IP4 0.0.0.0", SESSION_ID, ours.revision.saturating_add(1));
    line!(out, "s=-");
    line!(out, "t=0 0");
    line!(out, "a=group:BUNDLE{}", bundled_mids(offer, plans));
    line!(out, "a=ice-lite");
    line!(out, "a=msid-semantic: WMS *");
    let mut carrier = true;
    for (section, plan) in offer.sections.iter().zip(plans) {
        match plan {
            Plan::Rejected => write_rejected(&mut out, section),
            Plan::Data { .. } => {
                line!(out, "m=application 9 {} webrtc-datachannel", section.protocol);
                write_transport(&mut out, section, ours, &mut carrier);
                line!(out, "a=sctp-port:5000");
                line!(out, "a=max-message-size:{MESSAGE_SIZE_MAX}");
            }
            Plan::Media(media) => write_media(&mut out, offer, section, media, ours, &mut carrier),
        }
    }
    out.0
}

fn bundled_mids(offer: &Offer, plans: &[Plan]) -> String {
    let accepted = offer.sections.iter().zip(plans).filter(|(_, plan)| !matches!(plan, Plan::Rejected));
    accepted.map(|(section, _)| format!(" {:?}", section.mid)).collect()
}

fn write_rejected(out: &mut Lines, section: &Section) {
    let format = section.formats.first().map_or("0", String::as_str);
    line!(out, "m={} 0 {} {format}", section.media, section.protocol);
    line!(out, "c=IN IP4 0.0.0.0");
    line!(out, "a=mid:{:?}", section.mid);
    if section.is_rtp() {
        line!(out, "a=inactive");
        // Strict readers want every format explained, even here.
        for rtpmap in section.values("rtpmap").filter(|rtpmap| rtpmap.split(' ').next() == Some(format)).take(1) {
            line!(out, "a=rtpmap:{rtpmap}");
        }
    }
}

fn write_transport(out: &mut Lines, section: &Section, ours: &OurSide<'_>, carrier: &mut bool) {
    line!(out, "c=IN IP4 0.0.0.0");
    line!(out, "a=mid:{:?}", section.mid);
    line!(out, "a=ice-ufrag:{}", ours.credentials.ufrag);
    line!(out, "a=ice-pwd:{}", ours.credentials.pwd.0);
    let digest: Vec<String> = ours.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    line!(out, "a=fingerprint:sha-256 {}", digest.join(":"));
    line!(out, "a=setup:passive");
    if std::mem::take(carrier) {
        for candidate in candidate_lines(ours.candidates) {
            line!(out, "{candidate}");
        }
        line!(out, "a=end-of-candidates");
    }
}

/// Host candidates (RFC 8839 section 5.1), the first preferred.
pub(super) fn candidate_lines(candidates: &[SocketAddr]) -> impl Iterator<Item = String> {
    candidates.iter().take(CANDIDATES_MAX).enumerate().map(|(index, address)| {
        let priority = (HOST_TYPE_PREFERENCE << 24) | ((65_535 - index as u32) << 8) | 255;
        let (foundation, ip, port) = (index + 1, address.ip(), address.port());
        format!("a=candidate:{foundation} 1 udp {priority} {ip} {port} typ host")
    })
}

fn write_media(
    out: &mut Lines,
    offer: &Offer,
    section: &Section,
    media: &MediaPlan,
    ours: &OurSide<'_>,
    carrier: &mut bool,
) {
    line!(out, "m={} 9 {}{}", section.media, section.protocol, payload_types(media));
    write_transport(out, section, ours, carrier);
    for extension in &media.extensions {
        line!(out, "a=extmap:{}", extension.answer());
    }
    if offer.allows_mixed_extensions(section) {
        line!(out, "a=extmap-allow-mixed");
    }
    let direction = Direction::from_parts(media.egress.is_some(), media.source.is_some());
    line!(out, "a={}", direction.name());
    line!(out, "a=rtcp-mux");
    if section.has("rtcp-rsize") {
        line!(out, "a=rtcp-rsize");
    }
    for codec in &media.codecs {
        write_codec(out, &codec.mapping, &codec.parameters, &codec.feedback);
    }
    for layer in &media.layers {
        let gap = if layer.restrictions.is_empty() { "" } else { " " };
        line!(out, "a=rid:{:?} recv{gap}{}", layer.rid, layer.restrictions);
    }
    if !media.layers.is_empty() {
        let rids: Vec<String> = media.layers.iter().map(|layer| format!("{:?}", layer.rid)).collect();
        line!(out, "a=simulcast:recv {}", rids.join(";"));
    }
    write_egress(out, media);
}

/// The SSRCs we send with. Both halves of a slot share stream id and CNAME, so that lips stay with the voice.
fn write_egress(out: &mut Lines, media: &MediaPlan) {
    let Some((slot, egress)) = &media.egress else { return };
    let kind = if media.kind == MediaKind::Audio { "audio" } else { "video" };
    let cname = slot.cname();
    line!(out, "a=msid:{cname} {cname}-{kind}");
    if let Some(rtx) = egress.rtx_ssrc {
        line!(out, "a=ssrc-group:FID {} {rtx}", egress.ssrc);
    }
    for ssrc in std::iter::once(egress.ssrc).chain(egress.rtx_ssrc) {
        line!(out, "a=ssrc:{ssrc} cname:{cname}");
    }
}

fn payload_types(media: &MediaPlan) -> String {
    let types = media.codecs.iter().flat_map(|codec| {
        let PayloadMapping { payload_type, rtx, red, .. } = codec.mapping;
        [Some(payload_type), red, rtx].into_iter().flatten()
    });
    types.map(|payload_type| format!(" {payload_type}")).collect()
}

fn write_codec(out: &mut Lines, mapping: &PayloadMapping, parameters: &str, feedback: &[&str]) {
    let pt = mapping.payload_type;
    let encoding = match mapping.codec {
        Codec::Opus => "opus/48000/2",
        Codec::Vp8 => "VP8/90000",
        Codec::Vp9 { .. } => "VP9/90000",
        Codec::H264 { .. } => "H264/90000",
        Codec::Av1 => "AV1/90000",
    };
    line!(out, "a=rtpmap:{pt} {encoding}");
    if !parameters.is_empty() {
        line!(out, "a=fmtp:{pt} {parameters}");
    }
    for value in feedback {
        line!(out, "a=rtcp-fb:{pt} {value}");
    }
    if let Some(red) = mapping.red {
        line!(out, "a=rtpmap:{red} red/48000/2");
        line!(out, "a=fmtp:{red} {pt}/{pt}");
    }
    if let Some(rtx) = mapping.rtx {
        line!(out, "a=rtpmap:{rtx} rtx/{}", mapping.codec.clock_rate());
        line!(out, "a=fmtp:{rtx} apt={pt}");
    }
}

/// `o=` session id: one per answerer is enough, since each answer belongs to one connection.
const SESSION_ID: u64 = 4_611_686_018_427_387_905;

/// RFC 8445 section 5.1.2.1.
const HOST_TYPE_PREFERENCE: u32 = 126;

/// Addresses named in an answer: every one costs the browser checks.
const CANDIDATES_MAX: usize = 16;
