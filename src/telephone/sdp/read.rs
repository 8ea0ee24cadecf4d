//! Reading a session description.

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::*;

impl Remote {
    /// Reads a description of at most 16 kB. Unknown lines and attributes are passed over; LF alone ends a line too.
    pub fn read(text: &[u8]) -> Result<Remote, SdpError> {
        if text.len() > LEN_MAX {
            return Err(SdpError::TooLong);
        }
        let text = std::str::from_utf8(text).map_err(|_| SdpError::NotText)?;
        let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).peekable();
        if lines.next() != Some("v=0") {
            return Err(SdpError::Malformed);
        }
        let (mut version, mut session) = (0, Defaults::default());
        while let Some(line) = lines.next_if(|line| !line.starts_with("m=")) {
            match line.split_once('=') {
                Some(("o", origin)) => version = origin.split(' ').nth(2).and_then(|v| v.parse().ok()).unwrap_or(0),
                Some(("c", connection)) => session.connection(connection)?,
                Some(("a", attribute)) => session.attribute(attribute),
                Some(_) => {}
                None => return Err(SdpError::Malformed),
            }
        }
        let mut media = Vec::new();
        while let Some(line) = lines.next() {
            let mut draft = Draft::begin(line.strip_prefix("m=").ok_or(SdpError::Malformed)?, session)?;
            while let Some(line) = lines.next_if(|line| !line.starts_with("m=")) {
                match line.split_once('=') {
                    Some(("c", connection)) => draft.own.connection(connection)?,
                    Some(("a", attribute)) => draft.attribute(attribute),
                    Some(_) => {}
                    None => return Err(SdpError::Malformed),
                }
            }
            if media.len() == MEDIA_MAX {
                return Err(SdpError::TooLong);
            }
            media.push(draft.finish());
        }
        if media.iter().any(|line| matches!(line, Line::Audio(_))) {
            Ok(Remote { lines: media, version })
        } else {
            Err(SdpError::NoAudio)
        }
    }
}

/// What may stand above the media lines and in them.
#[derive(Clone, Copy, Default)]
struct Defaults {
    address: Option<IpAddr>,
    direction: Direction,
}

impl Defaults {
    fn connection(&mut self, value: &str) -> Result<(), SdpError> {
        let mut words = value.split_ascii_whitespace();
        let (Some("IN"), Some("IP4" | "IP6"), Some(address)) = (words.next(), words.next(), words.next()) else {
            return Err(SdpError::Malformed);
        };
        // Names are not resolved: nobody's SDP makes us ask a name server.
        let bare = address.split('/').next().unwrap_or_default();
        self.address = Some(bare.parse().map_err(|_| SdpError::Malformed)?);
        Ok(())
    }

    fn attribute(&mut self, attribute: &str) {
        let all = [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive];
        if let Some(direction) = all.into_iter().find(|direction| direction.name() == attribute) {
            self.direction = direction;
        }
    }
}

/// A media line that is being read.
struct Draft<'a> {
    own: Defaults,
    kind: &'a str,
    port: u16,
    /// Transport and formats.
    rest: &'a str,
    payloads: Vec<u8>,
    /// Names that `a=rtpmap` gave.
    named: Vec<(u8, &'a str)>,
    rtcp: Option<&'a str>,
    ptime: Option<u32>,
    ptime_max: Option<u32>,
    crypto: Vec<Crypto>,
}

impl<'a> Draft<'a> {
    fn begin(line: &'a str, own: Defaults) -> Result<Self, SdpError> {
        let (kind, behind) = line.split_once(' ').ok_or(SdpError::Malformed)?;
        let (port, rest) = behind.trim_start().split_once(' ').ok_or(SdpError::Malformed)?;
        let port = port.split('/').next().unwrap_or_default().parse().map_err(|_| SdpError::Malformed)?;
        let formats = rest.split_ascii_whitespace().skip(1).take(FORMATS_MAX);
        let payloads = formats.filter_map(|word| word.parse().ok()).filter(|payload| *payload < 128).collect();
        Ok(Draft {
            own,
            kind,
            port,
            rest,
            payloads,
            named: Vec::new(),
            rtcp: None,
            ptime: None,
            ptime_max: None,
            crypto: Vec::new(),
        })
    }

    fn attribute(&mut self, attribute: &'a str) {
        self.own.attribute(attribute);
        let Some((name, value)) = attribute.split_once(':') else { return };
        match name {
            "rtpmap" if self.named.len() < FORMATS_MAX => {
                if let Some((payload, name)) = value.trim().split_once(' ')
                    && let Ok(payload) = payload.parse()
                {
                    self.named.push((payload, name.trim()));
                }
            }
            "ptime" => self.ptime = value.trim().parse().ok(),
            "maxptime" => self.ptime_max = value.trim().parse().ok(),
            "rtcp" => self.rtcp = Some(value.trim()),
            "crypto" if self.crypto.len() < CRYPTO_MAX => self.crypto.extend(crypto(value)),
            _ => {}
        }
    }

    fn finish(self) -> Line {
        let profile = self.rest.split_ascii_whitespace().next().unwrap_or_default();
        let secure = match profile {
            "RTP/AVP" | "RTP/AVPF" => false,
            "RTP/SAVP" | "RTP/SAVPF" => true,
            _ => return self.other(),
        };
        if self.kind != "audio" {
            return self.other();
        }
        let (mut codecs, mut events, mut comfort_noise) = (Vec::new(), Vec::new(), None);
        for payload in &self.payloads {
            let name = self.named.iter().find(|(named, _)| named == payload).map(|(_, name)| *name);
            match name.map_or_else(|| well_known(*payload), by_name) {
                Some(Meaning::Codec(codec)) => codecs.push(Format { codec, payload: *payload }),
                Some(Meaning::Event(rate)) => events.push(Event { payload: *payload, rate }),
                Some(Meaning::ComfortNoise) => comfort_noise = comfort_noise.or(Some(*payload)),
                None => {}
            }
        }
        let usable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast();
        let address = self.own.address.filter(|_| self.port != 0).map(|ip| SocketAddr::new(ip, self.port));
        // RFC 2543's way to hold: an address of nothing but zeros.
        let direction = match self.own.address {
            Some(ip) if ip.is_unspecified() => Direction::Inactive,
            _ => self.own.direction,
        };
        let ptime = self.ptime.unwrap_or(20).min(self.ptime_max.unwrap_or(60)).clamp(10, 60) / 10 * 10;
        Line::Audio(Audio {
            rtcp: address.filter(|addr| usable(&addr.ip())).and_then(|addr| rtcp_address(addr, self.rtcp)),
            address: address.filter(|addr| usable(&addr.ip()) || direction == Direction::Inactive),
            codecs,
            events,
            comfort_noise,
            ptime: u8::try_from(ptime).unwrap_or(20),
            direction,
            secure,
            feedback: profile.ends_with('F'),
            crypto: self.crypto,
        })
    }

    fn other(self) -> Line {
        Line::Other { kind: self.kind.to_owned(), rest: self.rest.to_owned() }
    }
}

enum Meaning {
    Codec(TelephoneCodec),
    Event(u32),
    ComfortNoise,
}

/// Payload types that need no `a=rtpmap` (RFC 3551 table 4).
fn well_known(payload: u8) -> Option<Meaning> {
    match payload {
        0 => Some(Meaning::Codec(TelephoneCodec::Pcmu)),
        8 => Some(Meaning::Codec(TelephoneCodec::Pcma)),
        9 => Some(Meaning::Codec(TelephoneCodec::G722)),
        13 => Some(Meaning::ComfortNoise),
        _ => None,
    }
}

fn by_name(name: &str) -> Option<Meaning> {
    let mut parts = name.split('/');
    let (name, rate) = (parts.next()?.to_ascii_uppercase(), parts.next()?.parse::<u32>().ok()?);
    match (name.as_str(), rate) {
        ("PCMU", 8_000) => Some(Meaning::Codec(TelephoneCodec::Pcmu)),
        ("PCMA", 8_000) => Some(Meaning::Codec(TelephoneCodec::Pcma)),
        // 8000 by an old mistake (RFC 3551 section 4.5.2); some write the truth.
        ("G722", 8_000 | 16_000) => Some(Meaning::Codec(TelephoneCodec::G722)),
        ("OPUS", 48_000) => Some(Meaning::Codec(TelephoneCodec::Opus)),
        ("TELEPHONE-EVENT", 8_000 | 16_000 | 48_000) => Some(Meaning::Event(rate)),
        ("CN", 8_000) => Some(Meaning::ComfortNoise),
        _ => None,
    }
}

/// `a=rtcp:PORT [IN IP4 ADDRESS]` (RFC 3605), or the next port.
fn rtcp_address(rtp: SocketAddr, attribute: Option<&str>) -> Option<SocketAddr> {
    let next = || rtp.port().checked_add(1).map(|port| SocketAddr::new(rtp.ip(), port));
    let Some(attribute) = attribute else { return next() };
    let mut words = attribute.split_ascii_whitespace();
    let Some(port) = words.next().and_then(|port| port.parse().ok()).filter(|port| *port != 0) else { return next() };
    let address = words.nth(2).and_then(|word| word.parse().ok()).filter(|ip: &IpAddr| !ip.is_unspecified());
    Some(SocketAddr::new(address.unwrap_or(rtp.ip()), port))
}

/// `TAG SUITE inline:KEY[|LIFETIME] [PARAMETER ...]` (RFC 4568 section 9.1). None: the line asks for something that we do not do, and
/// must not be answered as if we did (section 7.1.1): another suite, a master key index or several keys, a parameter.
fn crypto(value: &str) -> Option<Crypto> {
    let mut words = value.split_ascii_whitespace();
    let tag = words.next()?.parse().ok()?;
    let suite = Suite::from_name(words.next()?)?;
    let inline = words.next()?.strip_prefix("inline:")?;
    let (key, lifetime) = inline.split_once('|').map_or((inline, None), |(key, lifetime)| (key, Some(lifetime)));
    if !lifetime.is_none_or(is_lifetime) || !words.all(is_harmless) {
        return None;
    }
    let key = key.trim_end_matches('=');
    let key = STANDARD_NO_PAD.decode(key).or_else(|_| STANDARD.decode(key)).ok()?;
    Some(Crypto { tag, suite, key: Pii(key.try_into().ok()?) })
}

/// `2^31` or a number: how many packets their key is for, which they have to keep to. A master key index (`1:4`) is neither.
fn is_lifetime(text: &str) -> bool {
    let number = text.strip_prefix("2^").unwrap_or(text);
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a session parameter may be passed over: the hint about the replay window, which changes nothing of what is sent, and
/// extensions that say so themselves (RFC 4568 sections 6.3.6, 6.3.7). Weaker or missing encryption, other key rates, forward error
/// correction and whatever we do not know may not.
fn is_harmless(parameter: &str) -> bool {
    let hint = parameter.strip_prefix("WSH=").is_some_and(|size| size.parse::<u32>().is_ok());
    hint || parameter.starts_with('-')
}
