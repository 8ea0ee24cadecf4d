//! SDP as far as a load generator needs it: page-like offers, answers to servers that offer, and what they say back.
//!
//! Text in, text out; nothing is checked that only a browser would care about. Not here: when to offer (`mod`).

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use colloque::rtp::extension::{ExtensionKind, ExtensionMap};
use colloque::transport::parameters::Fingerprint;

use super::ice::Credentials;

/// What a section carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Voice,
    Picture,
}

/// One section of our offer.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) mid: String,
    pub(super) kind: Kind,
    pub(super) content: Content,
}

/// What we offer in it.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// One SSRC with that of its retransmissions for each layer. Layers are named only when there are several.
    Sends(Vec<(u32, u32)>),
    Receives,
}

/// Our side of the transport.
pub(super) struct Ours<'a> {
    pub(super) credentials: &'a Credentials,
    pub(super) fingerprint: &'a [u8; 32],
    pub(super) address: SocketAddr,
    /// Counts our descriptions.
    pub(super) revision: u64,
}

/// The far side's transport.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub(super) credentials: Credentials,
    pub(super) fingerprint: Fingerprint,
    /// The far side sends the ClientHello.
    pub(super) active: bool,
    pub(super) candidates: Vec<SocketAddr>,
}

/// Payload types of the codec that we speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Payload {
    pub(super) media: u8,
    pub(super) rtx: Option<u8>,
}

/// A description that came in.
pub(super) struct Description {
    session: Vec<(String, String)>,
    pub(super) media: Vec<Media>,
}

/// One of its sections.
pub(super) struct Media {
    name: String,
    port: u16,
    protocol: String,
    formats: Vec<String>,
    attributes: Vec<(String, String)>,
}

/// Our offer.
pub(super) fn write_offer(sections: &[Section], ours: &Ours<'_>) -> String {
    let mut out = session_lines(ours, sections.iter().map(|section| section.mid.as_str()));
    for section in sections {
        let payload = match section.kind {
            Kind::Voice => Payload { media: OPUS, rtx: None },
            Kind::Picture => Payload { media: VP8, rtx: Some(VP8_RTX) },
        };
        write_media_line(&mut out, section.kind, "UDP/TLS/RTP/SAVPF", payload);
        write_transport(&mut out, &section.mid, ours, "actpass");
        for &(kind, id) in extensions(section.kind) {
            let _ = write!(out, "a=extmap:{id} {}\r\n", kind.uri());
        }
        write_codec(&mut out, section.kind, payload);
        match &section.content {
            Content::Receives => out.push_str("a=recvonly\r\n"),
            Content::Sends(layers) => write_sender(&mut out, layers),
        }
    }
    out
}

/// Our answer: every section that offers a codec we speak is received, the rest refused. `setup` is ours.
pub(super) fn write_answer(offer: &Description, ours: &Ours<'_>) -> String {
    let accepted = |media: &&Media| media.receivable().is_some();
    let mut out = session_lines(ours, offer.media.iter().filter(accepted).map(Media::mid));
    for media in &offer.media {
        let Some((kind, payload)) = media.receivable() else {
            let format = media.formats.first().map_or("0", String::as_str);
            let (name, protocol, mid) = (&media.name, &media.protocol, media.mid());
            let _ = write!(out, "m={name} 0 {protocol} {format}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=inactive\r\n");
            continue;
        };
        write_media_line(&mut out, kind, &media.protocol, payload);
        write_transport(&mut out, media.mid(), ours, "active");
        for (kind, id) in media.extensions().iter() {
            let _ = write!(out, "a=extmap:{id} {}\r\n", kind.uri());
        }
        write_codec(&mut out, kind, payload);
        out.push_str(if media.has("sendonly") || media.has("sendrecv") || !media.has_direction() {
            "a=recvonly\r\n"
        } else {
            "a=inactive\r\n"
        });
    }
    out
}

fn session_lines<'a>(ours: &Ours<'_>, mids: impl Iterator<Item = &'a str>) -> String {
    let mids: String = mids.flat_map(|mid| [" ", mid]).collect();
    format!(
        "v=0\r\no=- 7614219274584779017 {} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE{mids}\r\n\
         a=msid-semantic:WMS *\r\n",
        ours.revision
    )
}

fn write_media_line(out: &mut String, kind: Kind, protocol: &str, payload: Payload) {
    let name = if kind == Kind::Voice { "audio" } else { "video" };
    let _ = write!(out, "m={name} 9 {protocol} {}", payload.media);
    let _ = payload.rtx.map(|rtx| write!(out, " {rtx}"));
    out.push_str("\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n");
}

fn write_transport(out: &mut String, mid: &str, ours: &Ours<'_>, setup: &str) {
    let digest: Vec<String> = ours.fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
    let (ip, port) = (ours.address.ip(), ours.address.port());
    let Credentials { ufrag, pwd } = ours.credentials;
    let _ = write!(
        out,
        "a=candidate:1 1 udp {PRIORITY_HOST} {ip} {port} typ host\r\na=end-of-candidates\r\na=ice-ufrag:{ufrag}\r\n\
         a=ice-pwd:{pwd}\r\na=fingerprint:sha-256 {}\r\na=setup:{setup}\r\na=mid:{mid}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n",
        digest.join(":")
    );
}

fn write_codec(out: &mut String, kind: Kind, Payload { media, rtx }: Payload) {
    let _ = match kind {
        Kind::Voice => write!(
            out,
            "a=rtpmap:{media} opus/48000/2\r\na=fmtp:{media} minptime=10;useinbandfec=1\r\n\
             a=rtcp-fb:{media} transport-cc\r\n"
        ),
        Kind::Picture => write!(
            out,
            "a=rtpmap:{media} VP8/90000\r\na=rtcp-fb:{media} transport-cc\r\na=rtcp-fb:{media} ccm fir\r\n\
             a=rtcp-fb:{media} nack\r\na=rtcp-fb:{media} nack pli\r\n"
        ),
    };
    if let Some(rtx) = rtx {
        let _ = write!(out, "a=rtpmap:{rtx} rtx/90000\r\na=fmtp:{rtx} apt={media}\r\n");
    }
}

fn write_sender(out: &mut String, layers: &[(u32, u32)]) {
    out.push_str("a=sendonly\r\na=msid:loadtest loadtest\r\n");
    match layers {
        [(ssrc, rtx)] => {
            let _ = write!(out, "a=ssrc-group:FID {ssrc} {rtx}\r\n");
            for ssrc in [ssrc, rtx] {
                let _ = write!(out, "a=ssrc:{ssrc} cname:loadtest\r\n");
            }
        }
        layers => {
            let rids = &RIDS[..layers.len().min(RIDS.len())];
            for rid in rids {
                let _ = write!(out, "a=rid:{rid} send\r\n");
            }
            let _ = write!(out, "a=simulcast:send {}\r\n", rids.join(";"));
        }
    }
}

impl Description {
    /// Splits the lines; nothing is understood yet.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut description = Self { session: Vec::new(), media: Vec::new() };
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("m=") {
                description.media.push(Media::read(rest).with_context(|| format!("`{line}`"))?);
            } else if let Some(attribute) = line.strip_prefix("a=") {
                let (key, value) = attribute.split_once(':').unwrap_or((attribute, ""));
                let list = match description.media.last_mut() {
                    Some(media) => &mut media.attributes,
                    None => &mut description.session,
                };
                list.push((key.to_owned(), value.trim().to_owned()));
            }
        }
        ensure!(!description.media.is_empty(), "an SDP without sections");
        Ok(description)
    }

    /// The far side is an ICE-lite agent.
    pub(super) fn is_lite(&self) -> bool {
        self.session.iter().any(|(key, _)| key == "ice-lite")
    }

    /// The section of a mid.
    pub(super) fn by_mid(&self, mid: &str) -> Option<&Media> {
        self.media.iter().find(|media| media.mid() == mid)
    }

    /// The bundle's transport: what the first section that was not refused says, else the session.
    pub(super) fn remote(&self) -> Result<Remote> {
        let carrier = self.media.iter().find(|media| media.port != 0).context("every section was refused")?;
        let find = |key: &'static str| carrier.value(key).or_else(|| value(&self.session, key));
        let needed = |key: &'static str| find(key).with_context(|| format!("no {key}")).map(str::to_owned);
        let credentials = Credentials { ufrag: needed("ice-ufrag")?, pwd: needed("ice-pwd")? };
        let fingerprint = fingerprint(&needed("fingerprint")?)?;
        let every = self.media.iter().flat_map(|media| media.values("candidate"));
        let candidates = every.chain(values(&self.session, "candidate")).filter_map(candidate).collect();
        Ok(Remote { credentials, fingerprint, active: find("setup") == Some("active"), candidates })
    }
}

impl Remote {
    /// The candidate to use from a socket of `local`'s family: the one at `preferred` when there is one.
    pub(super) fn candidate(&self, local: IpAddr, preferred: IpAddr) -> Result<SocketAddr> {
        let usable = |address: &&SocketAddr| address.is_ipv4() == local.is_ipv4();
        let mut candidates = self.candidates.iter().filter(usable);
        let at_server = candidates.clone().find(|address| address.ip() == preferred);
        at_server.or_else(|| candidates.next()).copied().context("no candidate of the socket's address family")
    }
}

impl Media {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?.to_owned();
        let port = words.next()?.split('/').next()?.parse().ok()?;
        let protocol = words.next()?.to_owned();
        Some(Self { name, port, protocol, formats: words.map(str::to_owned).collect(), attributes: Vec::new() })
    }

    pub(super) fn mid(&self) -> &str {
        self.value("mid").unwrap_or("")
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        match self.name.as_str() {
            "audio" => Some(Kind::Voice),
            "video" => Some(Kind::Picture),
            _ => None,
        }
    }

    /// Whether the far side takes what we send here.
    pub(super) fn receives(&self) -> bool {
        self.port != 0 && (self.has("recvonly") || self.has("sendrecv") || !self.has_direction())
    }

    /// Opus or VP8 in the numbers of this section.
    pub(super) fn payload(&self) -> Option<Payload> {
        let codec = match self.kind()? {
            Kind::Voice => "opus/48000/2",
            Kind::Picture => "vp8/90000",
        };
        let maps = || self.values("rtpmap").filter_map(|line| line.split_once(' '));
        let media = maps().find(|(_, name)| name.trim().eq_ignore_ascii_case(codec))?.0.parse().ok()?;
        let is_rtx = |pt: &str| {
            let mut parameters = self.values("fmtp").filter_map(|line| line.split_once(' '));
            parameters.any(|(of, value)| of == pt && value.trim() == format!("apt={media}"))
        };
        let rtx = maps().find(|(pt, name)| name.to_ascii_lowercase().starts_with("rtx/") && is_rtx(pt));
        Some(Payload { media, rtx: rtx.and_then(|(pt, _)| pt.parse().ok()) })
    }

    /// Ids by kind.
    pub(super) fn extensions(&self) -> ExtensionMap {
        let mut map = ExtensionMap::default();
        for line in self.values("extmap") {
            let mut words = line.split_ascii_whitespace();
            let id = words.next().and_then(|id| id.split('/').next()?.parse().ok());
            let kind = words.next().and_then(ExtensionKind::from_uri);
            if let (Some(id @ 1..=14), Some(kind)) = (id, kind) {
                map.set(kind, id);
            }
        }
        map
    }

    /// Whether a feedback type was agreed for any payload type.
    pub(super) fn has_feedback(&self, name: &str) -> bool {
        self.values("rtcp-fb").any(|line| line.split_once(' ').is_some_and(|(_, value)| value.trim() == name))
    }

    /// Declared SSRCs with that of their retransmissions.
    pub(super) fn ssrcs(&self) -> Vec<(u32, Option<u32>)> {
        let groups: Vec<Vec<u32>> = self
            .values("ssrc-group")
            .filter_map(|line| line.strip_prefix("FID "))
            .map(|list| list.split(' ').filter_map(|ssrc| ssrc.trim().parse().ok()).collect())
            .collect();
        let mut found: Vec<(u32, Option<u32>)> = Vec::new();
        for ssrc in self.values("ssrc").filter_map(|line| line.split(' ').next()?.parse().ok()) {
            let repairs = groups.iter().any(|group| group.get(1) == Some(&ssrc));
            if !repairs && !found.iter().any(|(known, _)| *known == ssrc) {
                let rtx = groups.iter().find(|group| group.first() == Some(&ssrc)).and_then(|group| group.get(1));
                found.push((ssrc, rtx.copied()));
            }
        }
        found
    }

    /// What we can receive of an offer.
    fn receivable(&self) -> Option<(Kind, Payload)> {
        (self.port != 0 || self.has("bundle-only")).then(|| Some((self.kind()?, self.payload()?)))?
    }

    fn has_direction(&self) -> bool {
        ["sendonly", "recvonly", "sendrecv", "inactive"].iter().any(|name| self.has(name))
    }

    fn has(&self, key: &str) -> bool {
        self.attributes.iter().any(|(name, _)| name == key)
    }

    fn value<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        value(&self.attributes, key)
    }

    fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        values(&self.attributes, key)
    }
}

fn value<'a>(attributes: &'a [(String, String)], key: &'a str) -> Option<&'a str> {
    values(attributes, key).next()
}

fn values<'a>(attributes: &'a [(String, String)], key: &'a str) -> impl Iterator<Item = &'a str> {
    attributes.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
}

/// RFC 8839 section 5.1, UDP component 1 with a literal address.
fn candidate(line: &str) -> Option<SocketAddr> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (component, protocol, ip, port) = (words.get(1)?, words.get(2)?, words.get(4)?, words.get(5)?);
    let udp = *component == "1" && protocol.eq_ignore_ascii_case("udp");
    udp.then(|| Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?)))?
}

fn fingerprint(value: &str) -> Result<Fingerprint> {
    let (hash, digest) = value.split_once(' ').context("a fingerprint without a digest")?;
    let bytes: Vec<u8> = digest.trim().split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
    Ok(match hash.to_ascii_lowercase().as_str() {
        "sha-256" => Fingerprint::Sha256(bytes.as_slice().try_into()?),
        "sha-384" => Fingerprint::Sha384(bytes.as_slice().try_into()?),
        "sha-512" => Fingerprint::Sha512(bytes.as_slice().try_into()?),
        other => bail!("a fingerprint by {other}"),
    })
}

/// What a page offers for each kind; the ids are Chromium's.
fn extensions(kind: Kind) -> &'static [(ExtensionKind, u8)] {
    use ExtensionKind::{AbsSendTime, AudioLevel, Mid, RepairedRid, Rid, TransportCc};
    match kind {
        Kind::Voice => &[(AudioLevel, 1), (AbsSendTime, 2), (TransportCc, 3), (Mid, 4)],
        Kind::Picture => &[(AbsSendTime, 2), (TransportCc, 3), (Mid, 4), (Rid, 10), (RepairedRid, 11)],
    }
}

/// The layers' names, the smallest first.
pub(super) const RIDS: [&str; 3] = ["q", "h", "f"];

const OPUS: u8 = 111;
const VP8: u8 = 96;
const VP8_RTX: u8 = 97;
/// Host type preference 126 (RFC 8445 section 5.1.2.1).
const PRIORITY_HOST: u32 = 126 << 24 | 0xffff << 8 | 255;

#[cfg(test)]
mod tests;
