//! An offer as typed values: what every later step reads instead of text. Syntax is `rtc-sdp`'s (RFC 8866); the meaning
//! of attributes is read here, media level before session level.
//!
//! Nothing is decided here except what makes an offer unusable as a whole. Bounded before it is parsed.

use rtc_sdp::description::common::Attribute;
use rtc_sdp::description::media::MediaDescription;
use rtc_sdp::description::session::SessionDescription;

use crate::pii::Pii;
use crate::sfu::parameters::{LegParameters, ShortName};
use crate::transport::parameters::{Fingerprint, IceCredentials};

use super::error::OfferError;

/// Bytes an offer may have: 64 sections of a browser that trims nothing stay well below.
pub const OFFER_BYTES_MAX: usize = 256 * 1024;

/// Lines an offer may have: bounds what parsing allocates, about 1 MiB at this value.
pub const OFFER_LINES_MAX: usize = 16_384;

/// A bundled offer whose sections can be looked at one by one.
pub(super) struct Offer {
    session: Vec<Attribute>,
    pub(super) sections: Vec<Section>,
}

/// One m-line with its attributes.
pub(super) struct Section {
    pub(super) media: String,
    pub(super) protocol: String,
    pub(super) formats: Vec<String>,
    pub(super) mid: ShortName,
    pub(super) direction: Direction,
    /// Not rejected by the offerer itself (port 0 without `a=bundle-only`) and in the BUNDLE group.
    pub(super) usable: bool,
    attributes: Vec<Attribute>,
}

/// Direction as the offerer sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub(super) fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    pub(super) fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    pub(super) fn from_parts(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive]
            .into_iter()
            .find(|direction| direction.name() == name)
    }
}

impl Offer {
    pub(super) fn parse(text: &str) -> Result<Self, OfferError> {
        if text.len() > OFFER_BYTES_MAX
            || text.bytes().filter(|&b| b == b'\n' || b == b'\r').count() > 2 * OFFER_LINES_MAX
        {
            return Err(OfferError::TooLarge);
        }
        let description =
            SessionDescription::unmarshal(&mut std::io::Cursor::new(text)).map_err(|_| OfferError::Syntax)?;
        let session = description.attributes;
        if description.media_descriptions.len() > LegParameters::SECTIONS_MAX {
            return Err(OfferError::TooManySections);
        }
        if session.iter().any(|a| a.key == "ice-lite") {
            return Err(OfferError::IceLite);
        }
        let bundled = values(&session, "group")
            .find_map(|group| group.strip_prefix("BUNDLE"))
            .ok_or(OfferError::NoBundle)?
            .split_ascii_whitespace()
            .collect::<Vec<_>>();
        let mut sections: Vec<Section> = Vec::with_capacity(description.media_descriptions.len());
        for media in description.media_descriptions {
            let section = Section::read(media, &session, &bundled)?;
            if sections.iter().any(|other| other.mid == section.mid) {
                return Err(OfferError::Mid);
            }
            sections.push(section);
        }
        Ok(Self { session, sections })
    }

    /// ICE credentials as they stand on `section`, which is the one that carries the bundle.
    pub(super) fn ice_credentials(&self, section: &Section) -> Result<IceCredentials, OfferError> {
        let find = |key| section.value(key).or_else(|| values(&self.session, key).next());
        ice_credentials(find("ice-ufrag"), find("ice-pwd"))
    }

    /// The strongest acceptable fingerprint; browsers give one.
    pub(super) fn fingerprint(&self, section: &Section) -> Result<Fingerprint, OfferError> {
        let mut own = section.values("fingerprint").peekable();
        let own_level = own.peek().is_some();
        let candidates: Vec<&str> =
            if own_level { own.collect() } else { values(&self.session, "fingerprint").collect() };
        candidates
            .into_iter()
            .filter_map(fingerprint)
            .max_by_key(|fingerprint| match fingerprint {
                Fingerprint::Sha256(_) => 0,
                Fingerprint::Sha384(_) => 1,
                Fingerprint::Sha512(_) => 2,
            })
            .ok_or(OfferError::Fingerprint)
    }

    /// Fails unless the offerer can be the DTLS client. Absent means `active` (RFC 4145 section 4).
    pub(super) fn check_setup(&self, section: &Section) -> Result<(), OfferError> {
        match section.value("setup").or_else(|| values(&self.session, "setup").next()) {
            None | Some("actpass" | "active") => Ok(()),
            Some(_) => Err(OfferError::Setup),
        }
    }

    /// Both header extension forms may be mixed in one stream (RFC 8285 section 4.1.2).
    pub(super) fn allows_mixed_extensions(&self, section: &Section) -> bool {
        let key = "extmap-allow-mixed";
        section.has(key) || self.session.iter().any(|a| a.key == key)
    }

    /// `a=extmap` lines that hold for a section; those of the session hold for all.
    pub(super) fn extmaps<'a>(&'a self, section: &'a Section) -> impl Iterator<Item = &'a str> {
        section.values("extmap").chain(values(&self.session, "extmap"))
    }
}

impl Section {
    fn read(media: MediaDescription, session: &[Attribute], bundled: &[&str]) -> Result<Self, OfferError> {
        let attributes = media.attributes;
        let mid_text = values(&attributes, "mid").next().ok_or(OfferError::Mid)?;
        let mid = ShortName::new(mid_text.as_bytes()).filter(|_| is_token(mid_text)).ok_or(OfferError::Mid)?;
        let direction = direction(&attributes).or_else(|| direction(session)).unwrap_or(Direction::SendRecv);
        let refused = media.media_name.port.value == 0 && !attributes.iter().any(|a| a.key == "bundle-only");
        let usable = !refused && bundled.contains(&mid_text);
        let name = media.media_name;
        Ok(Self {
            media: name.media,
            protocol: name.protos.join("/"),
            formats: name.formats,
            mid,
            direction,
            usable,
            attributes,
        })
    }

    /// Every value of an attribute, in order.
    pub(super) fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        values(&self.attributes, key)
    }

    /// The first value of an attribute.
    pub(super) fn value<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        self.values(key).next()
    }

    /// Whether a property attribute is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.attributes.iter().any(|a| a.key == key)
    }

    pub(super) fn is_rtp(&self) -> bool {
        matches!(self.media.as_str(), "audio" | "video")
    }
}

fn values<'a>(attributes: &'a [Attribute], key: &'a str) -> impl Iterator<Item = &'a str> {
    attributes.iter().filter(move |a| a.key == key).filter_map(|a| a.value.as_deref()).map(str::trim)
}

fn direction(attributes: &[Attribute]) -> Option<Direction> {
    attributes.iter().find_map(|a| Direction::from_name(&a.key))
}

/// RFC 8866 section 9 `token`, as far as identifiers need it.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&b))
}

/// RFC 8839 section 5.4.
pub(super) fn ice_credentials(ufrag: Option<&str>, pwd: Option<&str>) -> Result<IceCredentials, OfferError> {
    let is_ice = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
    let ufrag = ufrag.filter(|text| (4..=256).contains(&text.len()) && is_ice(text));
    let pwd = pwd.filter(|text| (22..=256).contains(&text.len()) && is_ice(text));
    match (ufrag, pwd) {
        (Some(ufrag), Some(pwd)) => Ok(IceCredentials { ufrag: ufrag.to_owned(), pwd: Pii(pwd.to_owned()) }),
        _ => Err(OfferError::IceCredentials),
    }
}

/// RFC 8122 section 5; `None` for other hash functions and malformed values.
fn fingerprint(value: &str) -> Option<Fingerprint> {
    let (hash, hex) = value.split_once(' ')?;
    let mut bytes = [0_u8; 64];
    let mut len = 0;
    for pair in hex.trim().split(':') {
        let valid = pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
        *bytes.get_mut(len)? = if valid { u8::from_str_radix(pair, 16).ok()? } else { return None };
        len += 1;
    }
    let digest = &bytes[..len];
    match hash.to_ascii_lowercase().as_str() {
        "sha-256" => digest.try_into().ok().map(Fingerprint::Sha256),
        "sha-384" => digest.try_into().ok().map(Fingerprint::Sha384),
        "sha-512" => digest.try_into().ok().map(Fingerprint::Sha512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_hash_and_refuses_weak_or_broken_ones() {
        let hex = |n: usize| vec!["0a"; n].join(":");
        assert_eq!(fingerprint(&format!("sha-256 {}", hex(32))), Some(Fingerprint::Sha256([10; 32])));
        assert_eq!(fingerprint(&format!("SHA-384 {}", hex(48))), Some(Fingerprint::Sha384([10; 48])));
        assert_eq!(fingerprint(&format!("sha-512 {}", hex(64))), Some(Fingerprint::Sha512([10; 64])));
        for bad in [
            format!("sha-1 {}", hex(20)),
            format!("sha-256 {}", hex(31)),
            format!("sha-512 {}", hex(65)),
            "sha-256".into(),
            format!("sha-256 +a:{}", hex(31)),
        ] {
            assert_eq!(fingerprint(&bad), None, "{bad}");
        }
    }

    #[test]
    fn holds_ice_credentials_to_their_grammar() {
        let pwd = "p".repeat(22);
        assert!(ice_credentials(Some("abcd"), Some(&pwd)).is_ok());
        assert!(ice_credentials(Some("abc"), Some(&pwd)).is_err());
        assert!(ice_credentials(Some("ab:d"), Some(&pwd)).is_err());
        assert!(ice_credentials(Some("abcd"), Some(&pwd[1..])).is_err());
        assert!(ice_credentials(Some(&"a".repeat(257)), Some(&pwd)).is_err());
        assert!(ice_credentials(None, Some(&pwd)).is_err());
    }
}
