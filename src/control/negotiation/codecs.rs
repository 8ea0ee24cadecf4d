//! Which of a section's codecs we take, and how the answer names them: RFC 8866 rtpmap and fmtp, RFC 4585 feedback,
//! RFC 4588 rtx, RFC 2198 red.
//!
//! Payload types stay as the offerer numbered them. We take every variant of the codecs we forward, since any of
//! them may be what another seat publishes; we never transcode.

use crate::ids::PayloadType;
use crate::rtp::codec::{Codec, MediaKind, PayloadMap, PayloadMapping, PayloadUse};

use super::error::OfferError;
use super::offer::Section;

/// A codec of a section with what the answer says of it.
pub(super) struct AcceptedCodec {
    pub(super) mapping: PayloadMapping,
    /// `a=fmtp` parameters of the answer; empty for none.
    pub(super) parameters: String,
    /// `a=rtcp-fb` values of the answer.
    pub(super) feedback: Vec<&'static str>,
}

/// The codecs of a section that we forward, in the offerer's order except that H264 in packetization mode 0 goes last.
pub(super) fn accept(section: &Section, kind: MediaKind) -> Vec<AcceptedCodec> {
    let formats: Vec<Format<'_>> = section
        .formats
        .iter()
        .take(FORMATS_MAX)
        .filter_map(|format| Format::read(section, format.parse().ok().filter(|&pt: &u8| pt < 128)?))
        .collect();
    let mut accepted: Vec<AcceptedCodec> = Vec::new();
    for format in &formats {
        let Some(codec) = codec(format).filter(|codec| codec.kind() == kind) else { continue };
        if accepted.iter().any(|other| other.mapping.codec == codec) || accepted.len() == PayloadMap::LEN_MAX {
            continue;
        }
        let mapping = PayloadMapping {
            payload_type: PayloadType(format.payload_type),
            codec,
            rtx: formats.iter().find(|f| f.is_rtx_of(format)).map(|f| PayloadType(f.payload_type)),
            red: formats.iter().find(|f| f.is_red_of(format)).map(|f| PayloadType(f.payload_type)),
        };
        let feedback = feedback(section, format.payload_type, kind);
        accepted.push(AcceptedCodec { mapping, parameters: answer_parameters(codec, format), feedback });
    }
    accepted.sort_by_key(|codec| matches!(codec.mapping.codec, Codec::H264 { packetization_mode: 0, .. }));
    accepted
}

/// Joins the sections' codecs into the bundle's map. One payload type may mean one thing only (RFC 9143 section 9.1).
#[derive(Default)]
pub(super) struct BundlePayloads(Vec<PayloadMapping>);

impl BundlePayloads {
    pub(super) fn add(&mut self, codecs: &[AcceptedCodec]) -> Result<(), OfferError> {
        for AcceptedCodec { mapping, .. } in codecs {
            let known = PayloadMap::new(self.0.clone());
            let uses = [
                (Some(mapping.payload_type), PayloadUse::Media(mapping.codec)),
                (mapping.rtx, PayloadUse::Rtx(mapping.codec)),
                (mapping.red, PayloadUse::Red(mapping.codec)),
            ];
            let conflicts = |&(pt, usage): &(Option<PayloadType>, PayloadUse)| {
                pt.and_then(|pt| known.usage(pt)).is_some_and(|before| before != usage)
            };
            if uses.iter().any(conflicts) {
                return Err(OfferError::PayloadTypeConflict);
            }
            if let Some(known) = self.0.iter_mut().find(|known| known.payload_type == mapping.payload_type) {
                known.rtx = known.rtx.or(mapping.rtx);
                known.red = known.red.or(mapping.red);
            } else if self.0.len() < PayloadMap::LEN_MAX {
                self.0.push(*mapping);
            } else {
                return Err(OfferError::PayloadTypeConflict);
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> PayloadMap {
        PayloadMap::new(self.0)
    }
}

/// One payload type as the offer describes it.
struct Format<'a> {
    payload_type: u8,
    name: String,
    clock_rate: u32,
    channels: u8,
    parameters: &'a str,
}

impl<'a> Format<'a> {
    fn read(section: &'a Section, payload_type: u8) -> Option<Self> {
        let encoding = value_of(section.values("rtpmap"), payload_type)?;
        let mut parts = encoding.trim().split('/');
        Some(Self {
            payload_type,
            name: parts.next()?.to_ascii_lowercase(),
            clock_rate: parts.next()?.parse().ok()?,
            channels: parts.next().map_or(Some(1), |channels| channels.parse().ok())?,
            parameters: value_of(section.values("fmtp"), payload_type).unwrap_or(""),
        })
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.split(';').find_map(|parameter| {
            let (key, value) = parameter.trim().split_once('=')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    fn is_rtx_of(&self, media: &Format<'_>) -> bool {
        self.name == "rtx"
            && self.clock_rate == media.clock_rate
            && self.parameter("apt").and_then(|apt| apt.parse().ok()) == Some(media.payload_type)
    }

    /// RFC 2198 redundancy whose every block is this codec (`a=fmtp:63 111/111`), audio only.
    fn is_red_of(&self, media: &Format<'_>) -> bool {
        self.name == "red"
            && media.name == "opus"
            && self.clock_rate == media.clock_rate
            && !self.parameters.is_empty()
            && self.parameters.split('/').all(|pt| pt.trim().parse() == Ok(media.payload_type))
    }
}

/// The rest of the first `<payload type> <rest>` line.
fn value_of<'a>(mut lines: impl Iterator<Item = &'a str>, payload_type: u8) -> Option<&'a str> {
    lines.find_map(|line| {
        let (pt, rest) = line.split_once(' ')?;
        (pt.parse() == Ok(payload_type)).then_some(rest)
    })
}

fn codec(format: &Format<'_>) -> Option<Codec> {
    match (format.name.as_str(), format.clock_rate) {
        ("opus", 48_000) if format.channels == 2 => Some(Codec::Opus),
        ("vp8", 90_000) => Some(Codec::Vp8),
        ("vp9", 90_000) => {
            let profile = format.parameter("profile-id").map_or(Some(0), |id| id.parse().ok())?;
            (profile <= 3).then_some(Codec::Vp9 { profile })
        }
        ("h264", 90_000) => {
            let level_id = format.parameter("profile-level-id").unwrap_or("42000a");
            let packetization_mode =
                format.parameter("packetization-mode").map_or(Some(0), |mode| mode.parse().ok())?;
            (packetization_mode <= 1).then_some(())?;
            Some(Codec::H264 { profile: h264_profile(level_id)?, packetization_mode })
        }
        ("av1", 90_000) if matches!(format.parameter("profile"), None | Some("0")) => Some(Codec::Av1),
        _ => None,
    }
}

/// One number for all spellings of one H264 profile (RFC 6184 table 5): `42e0`, `42c0`, `4d80` are all constrained
/// baseline and decode each other's streams.
fn h264_profile(profile_level_id: &str) -> Option<u16> {
    if profile_level_id.len() != 6 || !profile_level_id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let bits = u32::from_str_radix(profile_level_id, 16).ok()?;
    let (idc, constraints) = ((bits >> 16) as u8, (bits >> 8) as u8);
    let canonical = match idc {
        0x42 if constraints & 0x40 != 0 => 0x42e0,
        0x4d if constraints & 0x80 != 0 => 0x42e0,
        0x58 if constraints & 0xc0 == 0xc0 => 0x42e0,
        0x42 => 0x4200,
        0x4d => 0x4d00,
        _ => (u16::from(idc) << 8) | u16::from(constraints),
    };
    Some(canonical)
}

fn answer_parameters(codec: Codec, format: &Format<'_>) -> String {
    // What is repeated tells the variant apart; limits such as max-fs are the offerer's as a receiver, not ours.
    let repeated: &[&str] = match codec {
        Codec::Opus => return "minptime=10;useinbandfec=1;usedtx=1".to_owned(),
        Codec::Vp8 => &[],
        Codec::Vp9 { .. } => &["profile-id"],
        Codec::H264 { .. } => &["level-asymmetry-allowed", "packetization-mode", "profile-level-id"],
        Codec::Av1 => &["level-idx", "profile", "tier"],
    };
    let parameters = repeated.iter().filter_map(|name| {
        let value = format.parameter(name).filter(|value| value.bytes().all(|b| b.is_ascii_alphanumeric()))?;
        Some(format!("{name}={value}"))
    });
    parameters.collect::<Vec<_>>().join(";")
}

fn feedback(section: &Section, payload_type: u8, kind: MediaKind) -> Vec<&'static str> {
    let ours: &[&'static str] = match kind {
        MediaKind::Audio => &["nack", "transport-cc"],
        MediaKind::Video => &["nack", "nack pli", "ccm fir", "transport-cc"],
    };
    let offered: Vec<&str> = section
        .values("rtcp-fb")
        .filter_map(|line| {
            let (pt, value) = line.split_once(' ')?;
            (pt == "*" || pt.parse() == Ok(payload_type)).then_some(value.trim())
        })
        .collect();
    ours.iter().copied().filter(|ours| offered.contains(ours)).collect()
}

/// Payload types are seven bits: a longer m-line repeats itself.
const FORMATS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_each_h264_profile_once() {
        for (id, profile) in [
            ("42001f", Some(0x4200)),
            ("42e01f", Some(0x42e0)),
            ("42C01F", Some(0x42e0)),
            ("4d001f", Some(0x4d00)),
            ("4d801f", Some(0x42e0)),
            ("640c1f", Some(0x640c)),
            ("42e0", None),
            ("+2e01f", None),
        ] {
            assert_eq!(h264_profile(id), profile, "{id}");
        }
    }
}
