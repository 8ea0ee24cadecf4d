//! What a sending section says of its RTP streams: SSRCs and their retransmissions (RFC 5576), or simulcast layers
//! (RFC 8851 rid, RFC 8853 simulcast).

use crate::ids::Ssrc;
use crate::sfu::parameters::ShortName;

use super::error::OfferError;
use super::offer::Section;

/// One simulcast layer as offered.
#[derive(Clone)]
pub(super) struct Layer {
    pub(super) rid: ShortName,
    /// Restrictions of its `a=rid` line, repeated in the answer as RFC 8851 section 6.3 asks; may be empty.
    pub(super) restrictions: String,
}

/// Layers a section may have: three are what browsers send; more only split the sender's bit rate.
pub(super) const LAYERS_MAX: usize = 4;

/// SSRCs read from one section; a section sends one stream, the rest is noise.
const SSRCS_MAX: usize = 4;

/// The layers of `a=simulcast:send`, in its order; of alternatives the first. Empty without simulcast.
pub(super) fn simulcast(section: &Section) -> Result<Vec<Layer>, OfferError> {
    let mut layers: Vec<Layer> = Vec::new();
    let Some(list) = section.value("simulcast").and_then(sent_streams) else { return Ok(layers) };
    for stream in list.split(';') {
        let name = stream.split(',').next().unwrap_or("").trim_start_matches('~');
        if !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(OfferError::Rid);
        }
        let rid = ShortName::new(name.as_bytes()).ok_or(OfferError::Rid)?;
        let declared = section.values("rid").find_map(|line| sent_rid(line, name));
        let repeated = layers.iter().any(|layer| layer.rid == rid);
        if let Some(restrictions) = declared.filter(|_| !repeated && layers.len() < LAYERS_MAX) {
            layers.push(Layer { rid, restrictions: restrictions.to_owned() });
        }
    }
    Ok(layers)
}

/// The rids with the lowest quality first. By `max-width`, `max-height` or `max-br` when every layer has one; else by
/// the names q, h, f that browsers' pages use; else as listed, which for browsers is the order of `sendEncodings`.
pub(super) fn lowest_first(layers: &[Layer]) -> Vec<ShortName> {
    let rank = |layer: &Layer| {
        ["max-width=", "max-height=", "max-br="].into_iter().find_map(|key| {
            layer.restrictions.split(';').find_map(|part| part.trim().strip_prefix(key)?.parse::<u64>().ok())
        })
    };
    let by_name = |layer: &Layer| LAYER_NAMES.iter().position(|name| *name == layer.rid.as_bytes());
    let mut ordered: Vec<&Layer> = layers.iter().collect();
    if ordered.iter().all(|layer| rank(layer).is_some()) {
        ordered.sort_by_key(|layer| rank(layer));
    } else if ordered.iter().all(|layer| by_name(layer).is_some()) {
        ordered.sort_by_key(|layer| by_name(layer));
    }
    ordered.into_iter().map(|layer| layer.rid).collect()
}

/// SSRCs with those of their retransmissions, from `a=ssrc` and `a=ssrc-group:FID`.
pub(super) fn ssrcs(section: &Section) -> Vec<(Ssrc, Option<Ssrc>)> {
    let groups: Vec<(&str, Vec<Ssrc>)> = section
        .values("ssrc-group")
        .take(SSRCS_MAX)
        .filter_map(|group| group.split_once(' '))
        .map(|(semantics, list)| (semantics, list.split(' ').take(SSRCS_MAX).filter_map(ssrc).collect()))
        .collect();
    let is_secondary = |ssrc: Ssrc| groups.iter().any(|(_, group)| group.iter().skip(1).any(|&other| other == ssrc));
    let mut streams: Vec<(Ssrc, Option<Ssrc>)> = Vec::new();
    for primary in section.values("ssrc").filter_map(|line| ssrc(line.split(' ').next()?)) {
        if streams.len() == SSRCS_MAX {
            break;
        }
        if is_secondary(primary) || streams.iter().any(|&(known, _)| known == primary) {
            continue;
        }
        let retransmission = groups.iter().find_map(|(semantics, group)| match group[..] {
            [first, second] if *semantics == "FID" && first == primary => Some(second),
            _ => None,
        });
        streams.push((primary, retransmission));
    }
    streams
}

fn ssrc(text: &str) -> Option<Ssrc> {
    text.parse().ok().map(Ssrc)
}

/// The part after `send` of `a=simulcast:send a;b recv c`.
fn sent_streams(value: &str) -> Option<&str> {
    let mut words = value.split_ascii_whitespace();
    words.find(|&word| word == "send")?;
    words.next()
}

/// The restrictions of `a=rid:<name> send [restrictions]`.
fn sent_rid<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let mut words = line.splitn(3, ' ');
    (words.next()? == name && words.next()? == "send").then(|| words.next().unwrap_or("").trim())
}

/// Lowest first.
const LAYER_NAMES: [&[u8]; 3] = [b"q", b"h", b"f"];

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(list: &[(&str, &str)]) -> Vec<Layer> {
        let layer = |&(rid, restrictions): &(&str, &str)| Layer {
            rid: ShortName::new(rid.as_bytes()).unwrap(),
            restrictions: restrictions.to_owned(),
        };
        list.iter().map(layer).collect()
    }

    #[test]
    fn orders_layers_by_limits_then_by_name_then_as_listed() {
        for (offered, expected) in [
            (&[("a", "max-width=1280"), ("b", "max-width=320"), ("c", "max-width=640")][..], "bca"),
            (&[("f", ""), ("h", ""), ("q", "")], "qhf"),
            (&[("q", ""), ("h", "")], "qh"),
            (&[("2", ""), ("0", "max-br=5"), ("1", "")], "201"),
        ] {
            let ordered = lowest_first(&layers(offered));
            let names: String =
                ordered.iter().map(|rid| String::from_utf8_lossy(rid.as_bytes()).into_owned()).collect();
            assert_eq!(names, expected);
        }
    }
}
