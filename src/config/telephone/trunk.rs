//! `[[telephone.trunk]]`: the lines of the operators that connect us to the telephone network.
//!
//! Not here: whether a line is well (`telephone::trunk`). A password is never in the file: it is read from a file of its own or from
//! the environment when it is needed, so that changing it needs no restart.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::config::unreadable;
use crate::pii::Pii;

use super::network::Network;
use super::number::{CountryCode, Number, NumberFormat};

/// A trunk, as the administrator wrote it.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(deny_unknown_fields, default)]
pub struct TrunkSettings {
    name: String,
    priority: Option<u16>,
    uri: String,
    transport: Option<SipTransport>,
    register: bool,
    register_s: Option<u32>,
    username: Option<Pii<String>>,
    password_file: Option<PathBuf>,
    auth_username: Option<Pii<String>>,
    realm: Option<String>,
    challenge: bool,
    allow: Vec<Network>,
    media_allow: Vec<Network>,
    caller_number: Option<Pii<String>>,
    inbound_numbers: Vec<Pii<String>>,
    number_format: NumberFormat,
    codecs: Option<Vec<TelephoneCodec>>,
    srtp: SrtpPolicy,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    options_s: Option<u32>,
    first_response_ms: Option<u32>,
    max_calls: Option<u16>,
    calls_per_second: Option<u16>,
    #[serde(skip)]
    rings_last_caller: bool,
}

/// A trunk. Valid by construction.
#[derive(Clone, Debug)]
pub struct TrunkConfig {
    /// Label in logs and metrics; unique.
    pub name: TrunkName,
    /// Lower ones are tried first.
    pub priority: u16,
    /// Where its SIP server is.
    pub server: SipServer,
    /// How SIP reaches it.
    pub transport: SipTransport,
    /// Renewal of our registration there; none where the operator knows our address.
    pub register: Option<Duration>,
    /// Who we are there; also the user part of our addresses when we register.
    pub credentials: Option<SipCredentials>,
    /// Calls from there must know the password too.
    pub challenge: bool,
    /// Addresses that SIP is accepted from; never empty.
    pub allow: Vec<Network>,
    /// Addresses that sound is accepted from, besides the one that a call's SDP names.
    pub media_allow: Vec<Network>,
    /// What is shown to the called person: a number of the trunk.
    pub caller_number: Option<Pii<Number>>,
    /// Numbers of the trunk that calls for us come to; empty: every number that it brings is ours.
    pub inbound_numbers: Vec<Pii<Number>>,
    /// How it wants numbers dialled.
    pub number_format: NumberFormat,
    /// Best first; never empty.
    pub codecs: Vec<TelephoneCodec>,
    /// Encryption of sound.
    pub srtp: SrtpPolicy,
    /// PEM files of our certificate for mutual TLS.
    pub client: Option<ClientCertificate>,
    /// Time between two probes; none: it is not probed.
    pub options: Option<Duration>,
    /// A call without any answer for so long goes to the next trunk.
    pub first_response: Duration,
    /// Calls at the same time, both directions.
    pub max_calls: u16,
    /// New calls that it takes in a second.
    pub calls_per_second: u16,
    /// Of the demonstration alone: calls go to whoever called in last, whatever the number, as if that telephone had it.
    pub rings_last_caller: bool,
}

/// Name of a trunk: 1 to 32 of `a-z 0-9 - _`. No personal data: it stands in logs and metrics.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrunkName(Arc<str>);

impl TrunkName {
    /// None when it has other characters, none, or too many.
    #[must_use]
    pub fn new(text: &str) -> Option<TrunkName> {
        let fits = (1..=NAME_LEN_MAX).contains(&text.len())
            && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_'));
        fits.then(|| TrunkName(text.into()))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrunkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrunkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Host and port of a SIP server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SipServer {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// None: by SRV (RFC 3263) or the transport's own.
    pub port: Option<u16>,
}

impl SipServer {
    /// Reads `sip:host`, `sip:host:port`, `sips:host`, `sip:[2001:db8::1]:5060`. Users and parameters are refused.
    #[must_use]
    pub fn parse(text: &str) -> Option<SipServer> {
        let rest = text.strip_prefix("sip:").or_else(|| text.strip_prefix("sips:"))?;
        let (host, port) = match rest.strip_prefix('[') {
            Some(inside) => {
                let (host, behind) = inside.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, if behind.is_empty() { None } else { Some(behind.strip_prefix(':')?) })
            }
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        let is_name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b':');
        let port = port.map(|port| port.parse::<u16>().ok().filter(|port| *port != 0));
        let named = !host.is_empty() && host.len() <= 253 && host.bytes().all(is_name);
        match port {
            Some(None) => None,
            port => named.then(|| SipServer { host: host.to_owned(), port: port.flatten() }),
        }
    }
}

/// How SIP travels.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum SipTransport {
    /// In the clear; a source address can be forged.
    #[default]
    Udp,
    /// In the clear.
    Tcp,
    /// Encrypted, and the server proves its name.
    Tls,
}

/// Codecs that a trunk may use.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[serde(rename_all = "lowercase")]
pub enum TelephoneCodec {
    /// RFC 7587
    Opus,
    /// Wide-band, 64 kb/s.
    G722,
    /// G.711 A-law: Europe.
    Pcma,
    /// G.711 mu-law: North America, Japan.
    Pcmu,
}

/// Encryption of sound with keys in the SDP (SDES, RFC 4568).
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum SrtpPolicy {
    /// Never.
    #[default]
    Off,
    /// When the other side offers it over TLS; we offer it over TLS and take a refusal.
    Allow,
    /// Calls without it are refused.
    Require,
}

/// Who we are for an operator.
#[derive(Clone, Debug)]
pub struct SipCredentials {
    /// User part of our address there.
    pub username: Pii<String>,
    /// Name in the digest; the user name unless it differs.
    pub auth_username: Pii<String>,
    /// The password is given to this realm only; none: to the trunk's own host as it names itself first.
    pub realm: Option<String>,
    /// Where the password is.
    pub password: PasswordSource,
}

/// Where a trunk's password is read from, each time it is needed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PasswordSource {
    /// The file's first line.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
}

impl PasswordSource {
    /// Reads it. The error names the place and never the content.
    pub fn read(&self) -> Result<Pii<String>, String> {
        match self {
            PasswordSource::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("{}: {}", path.display(), unreadable(&error)))?;
                let first = text.lines().next().unwrap_or_default();
                if first.is_empty() {
                    Err(format!("{}: its first line is empty", path.display()))
                } else {
                    Ok(Pii(first.to_owned()))
                }
            }
            PasswordSource::Variable(name) => {
                std::env::var(name).map(Pii).map_err(|_| format!("{name} is not set in the environment"))
            }
        }
    }
}

/// PEM files for mutual TLS.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

impl TrunkSettings {
    /// For the demonstration: no file can say so.
    #[must_use]
    pub fn for_demonstration(self) -> TrunkSettings {
        TrunkSettings { rings_last_caller: true, ..self }
    }

    /// Fills in the defaults; `faults` learns what is missing or impossible.
    pub(super) fn resolve(self, country: CountryCode, faults: &mut Vec<String>) -> Option<TrunkConfig> {
        let Some(name) = TrunkName::new(&self.name) else {
            faults.push(format!("telephone.trunk.name must be 1 to {NAME_LEN_MAX} of a-z, 0-9, - and _"));
            return None;
        };
        self.find_faults(&name, faults);
        let transport = self.carrier();
        let mut fault = |key: &str, text: &str| faults.push(format!("telephone.trunk.{name}.{key} {text}"));
        let mut number = |key: &str, written: Pii<String>| match Number::parse(&written.0, country) {
            Some(number) => Some(Pii(number)),
            None => {
                fault(key, "must be telephone numbers such as +33123456789");
                None
            }
        };
        let caller_number = self.caller_number.and_then(|written| number("caller_number", written));
        let inbound_numbers =
            self.inbound_numbers.into_iter().filter_map(|written| number("inbound_numbers", written)).collect();
        let client = self.client_cert.zip(self.client_key).map(|(cert, key)| ClientCertificate { cert, key });
        let mut within = |key: &str, value: u32, range: std::ops::RangeInclusive<u32>| {
            if !range.contains(&value) {
                fault(key, &format!("must be {} to {}, not {value}", range.start(), range.end()));
            }
            value
        };
        let register_s = within("register_s", self.register_s.unwrap_or(300), 5..=86_400);
        let options_s = within("options_s", self.options_s.unwrap_or(20), 0..=3_600);
        let first_response_ms = within("first_response_ms", self.first_response_ms.unwrap_or(3_000), 200..=30_000);
        let max_calls = within("max_calls", self.max_calls.unwrap_or(30).into(), 1..=2_000);
        let calls_per_second = within("calls_per_second", self.calls_per_second.unwrap_or(1).into(), 1..=100);
        let credentials = self.username.map(|username| SipCredentials {
            auth_username: self.auth_username.unwrap_or_else(|| username.clone()),
            username,
            realm: self.realm,
            password: self
                .password_file
                .map_or_else(|| PasswordSource::Variable(variable(&name)), PasswordSource::File),
        });
        Some(TrunkConfig {
            priority: self.priority.unwrap_or(10),
            server: SipServer::parse(&self.uri)?,
            transport,
            register: self.register.then(|| Duration::from_secs(register_s.into())),
            credentials,
            challenge: self.challenge,
            allow: self.allow,
            media_allow: self.media_allow,
            caller_number,
            inbound_numbers,
            number_format: self.number_format,
            codecs: self.codecs.unwrap_or_else(|| CODECS.to_vec()),
            srtp: self.srtp,
            client,
            options: (options_s > 0).then(|| Duration::from_secs(options_s.into())),
            first_response: Duration::from_millis(first_response_ms.into()),
            max_calls: u16::try_from(max_calls).unwrap_or(u16::MAX),
            calls_per_second: u16::try_from(calls_per_second).unwrap_or(u16::MAX),
            rings_last_caller: self.rings_last_caller,
            name,
        })
    }

    /// What is missing or contradicts itself.
    fn find_faults(&self, name: &TrunkName, faults: &mut Vec<String>) {
        let mut fault = |key: &str, text: &str| faults.push(format!("telephone.trunk.{name}.{key} {text}"));
        if SipServer::parse(&self.uri).is_none() {
            fault("uri", "must be sip:HOST or sip:HOST:PORT and nothing more");
        }
        let secure = self.uri.starts_with("sips:");
        let transport = self.carrier();
        if secure && transport != SipTransport::Tls {
            fault("transport", "must be \"tls\" for a sips: address");
        }
        if self.srtp == SrtpPolicy::Require && transport != SipTransport::Tls {
            fault("srtp", "= \"require\" needs transport = \"tls\": keys in the clear protect nothing");
        }
        if self.allow.is_empty() {
            fault("allow", "is missing: the addresses or networks that the operator's SIP comes from");
        }
        if self.allow.len() > NETWORKS_MAX || self.media_allow.len() > NETWORKS_MAX {
            fault("allow", &format!("and media_allow have at most {NETWORKS_MAX} entries"));
        }
        if (self.register || self.challenge) && self.username.is_none() {
            fault("username", "is missing: register and challenge need one");
        }
        if self.username.is_none() && (self.password_file.is_some() || self.auth_username.is_some()) {
            fault("username", "is missing beside the password or auth_username");
        }
        let codecs = self.codecs.as_deref().unwrap_or(&CODECS);
        if codecs.is_empty() || (1..codecs.len()).any(|at| codecs[..at].contains(&codecs[at])) {
            fault("codecs", "must name at least one codec and none twice");
        }
        if self.client_cert.is_some() != self.client_key.is_some() {
            fault("client_cert", "and client_key belong together: one is missing");
        }
        if self.client_cert.is_some() && transport != SipTransport::Tls {
            fault("client_cert", "needs transport = \"tls\"");
        }
    }

    fn carrier(&self) -> SipTransport {
        let usual = if self.uri.starts_with("sips:") { SipTransport::Tls } else { SipTransport::Udp };
        self.transport.unwrap_or(usual)
    }
}

/// `ovh-1` keeps its password in `COLLOQUE_TRUNK_OVH_1_PASSWORD`.
fn variable(name: &TrunkName) -> String {
    format!("{PASSWORD_PREFIX}{}{PASSWORD_SUFFIX}", name.as_str().to_ascii_uppercase().replace('-', "_"))
}

/// Whether the environment variable may be some trunk's password.
#[must_use]
pub fn is_password_variable(name: &str) -> bool {
    name.strip_prefix(PASSWORD_PREFIX).is_some_and(|rest| rest.ends_with(PASSWORD_SUFFIX))
}

const PASSWORD_PREFIX: &str = "COLLOQUE_TRUNK_";
const PASSWORD_SUFFIX: &str = "_PASSWORD";
/// A metric's label.
const NAME_LEN_MAX: usize = 32;
/// Operators publish a handful of networks; each packet is compared with all of them.
const NETWORKS_MAX: usize = 64;
/// Wide-band where the operator has it, then Europe's, then America's.
const CODECS: [TelephoneCodec; 3] = [TelephoneCodec::G722, TelephoneCodec::Pcma, TelephoneCodec::Pcmu];
