//! `[telephone]`: SIP addresses, RTP ports, trunks, and the limits of dialling out, of PINs and of the degrade ladder.
//!
//! Not here: what the values do. Everything is off until `enabled = true`. The parts that may change while calls run (`dialout`,
//! `pin`, `ladder`, the limits of legs) are values of their own, so that their readers can be given new ones.

mod network;
mod number;
mod policy;
mod reload;
mod trunk;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::pii::Pii;

use super::TlsFiles;

pub use network::Network;
pub use number::{CountryCode, Number, NumberFormat, NumberPattern};
pub use policy::{DialOut, Ladder, LadderStep, PinRules};
pub use reload::is_reloadable;
pub use trunk::{
    ClientCertificate, PasswordSource, SipCredentials, SipServer, SipTransport, SrtpPolicy, TelephoneCodec,
    TrunkConfig, TrunkName, TrunkSettings, is_password_variable,
};

/// The telephone, as the administrator wrote it.
#[derive(clap::Args, Deserialize, Clone, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct TelephoneSettings {
    /// Connect the telephone; needs at least one trunk in the file
    #[arg(id = "telephone", long = "telephone", env = "COLLOQUE_TELEPHONE", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub enabled: Option<bool>,
    /// Address under which telephone operators reach this server; repeatable, one IPv4 and one IPv6; default: the bound ones
    #[arg(
        id = "telephone_public_ip",
        long = "telephone-public-ip",
        env = "COLLOQUE_TELEPHONE_PUBLIC_IP",
        value_name = "IP",
        value_delimiter = ','
    )]
    #[serde(default)]
    pub public_ip: Vec<IpAddr>,
    /// Address for SIP over UDP; default when no other is given: 0.0.0.0:5060
    #[arg(
        id = "telephone_sip_udp",
        long = "telephone-sip-udp",
        env = "COLLOQUE_TELEPHONE_SIP_UDP",
        value_name = "ADDR"
    )]
    pub sip_udp: Option<SocketAddr>,
    /// Address for SIP over TCP
    #[arg(
        id = "telephone_sip_tcp",
        long = "telephone-sip-tcp",
        env = "COLLOQUE_TELEPHONE_SIP_TCP",
        value_name = "ADDR"
    )]
    pub sip_tcp: Option<SocketAddr>,
    /// Address for SIP over TLS
    #[arg(
        id = "telephone_sip_tls",
        long = "telephone-sip-tls",
        env = "COLLOQUE_TELEPHONE_SIP_TLS",
        value_name = "ADDR"
    )]
    pub sip_tls: Option<SocketAddr>,
    /// Certificate chain (PEM) for SIP over TLS; default: the one of HTTPS
    #[arg(
        id = "telephone_tls_cert",
        long = "telephone-tls-cert",
        env = "COLLOQUE_TELEPHONE_TLS_CERT",
        value_name = "FILE"
    )]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of that certificate
    #[arg(
        id = "telephone_tls_key",
        long = "telephone-tls-key",
        env = "COLLOQUE_TELEPHONE_TLS_KEY",
        value_name = "FILE"
    )]
    pub tls_key: Option<PathBuf>,
    /// UDP ports for sound, two a call; default: 20000-24000
    #[arg(
        id = "telephone_rtp_ports",
        long = "telephone-rtp-ports",
        env = "COLLOQUE_TELEPHONE_RTP_PORTS",
        value_name = "FIRST-LAST"
    )]
    pub rtp_ports: Option<String>,
    /// Telephone calls at the same time
    #[arg(
        id = "telephone_max_legs",
        long = "telephone-max-legs",
        env = "COLLOQUE_TELEPHONE_MAX_LEGS",
        value_name = "N"
    )]
    pub max_legs: Option<usize>,
    /// Telephone calls of one clinic at the same time; in the file only, as all that follows
    #[arg(skip)]
    pub max_legs_per_clinic: Option<usize>,
    /// Calling code of numbers that begin with a single zero
    #[arg(skip)]
    pub country: Option<CountryCode>,
    /// Certificate authorities (PEM) of those who connect for SIP over TLS
    #[arg(skip)]
    pub tls_client_ca: Option<PathBuf>,
    /// Languages of the spoken words, the first one first
    #[arg(skip)]
    #[serde(default)]
    pub languages: Vec<String>,
    /// WAV files instead of the built-in words
    #[arg(skip)]
    pub prompts_dir: Option<PathBuf>,
    /// Session timer (RFC 4028)
    #[arg(skip)]
    pub session_expires: Option<u32>,
    /// Time that a port stays closed behind a call
    #[arg(skip)]
    pub drain_port_s: Option<u32>,
    /// Time that a silent telephone with a living connection is kept
    #[arg(skip)]
    pub media_silence_s: Option<u32>,
    /// Time until a telephone that sends nothing at all is given up
    #[arg(skip)]
    pub media_lost_s: Option<u32>,
    /// Digits that try a line instead of a PIN
    #[arg(skip)]
    pub self_test_code: Option<String>,
    /// Number that the operator's test calls go to
    #[arg(skip)]
    pub self_test_number: Option<Pii<String>>,
    /// Effort of the Opus encoder
    #[arg(skip)]
    pub opus_complexity: Option<u8>,
    /// Of the demonstration alone, no file can say so: who has no number of a line is told our SIP address to dial
    #[arg(skip)]
    #[serde(skip)]
    pub shows_address: bool,
    /// Lines
    #[arg(skip)]
    #[serde(default)]
    pub trunk: Vec<TrunkSettings>,
    /// Who may be called
    #[arg(skip)]
    #[serde(default)]
    pub dialout: policy::DialOutSettings,
    /// PINs
    #[arg(skip)]
    #[serde(default)]
    pub pin: policy::PinSettings,
    /// The degrade ladder
    #[arg(skip)]
    #[serde(default)]
    pub ladder: policy::LadderSettings,
}

/// The telephone. Valid by construction.
#[derive(Clone, Debug)]
pub struct TelephoneConfig {
    /// What SDP and Contact say, at most one of each family; empty: the bound addresses, which are then specific ones.
    pub public_ips: Vec<IpAddr>,
    /// SIP over UDP.
    pub sip_udp: Option<SocketAddr>,
    /// SIP over TCP.
    pub sip_tcp: Option<SocketAddr>,
    /// SIP over TLS, and its certificate.
    pub sip_tls: Option<(SocketAddr, TlsFiles)>,
    /// Who connects there must show a certificate of one of these authorities.
    pub tls_client_ca: Option<PathBuf>,
    /// Even ports for RTP, the odd ones behind them for RTCP.
    pub rtp_ports: RangeInclusive<u16>,
    /// Telephone legs at the same time.
    pub max_legs: usize,
    /// Those of one clinic.
    pub max_legs_per_clinic: usize,
    /// Of numbers that begin with a single zero.
    pub country: CountryCode,
    /// `fr` and `en`, the first one first; never empty.
    pub languages: Vec<String>,
    /// WAV files instead of the built-in words.
    pub prompts_dir: Option<PathBuf>,
    /// What we ask for (RFC 4028).
    pub session_expires: Duration,
    /// Time that a port stays closed behind a call.
    pub drain_port: Duration,
    /// Time that a silent telephone with a living connection is kept.
    pub media_silence: Duration,
    /// Time until a telephone that sends nothing at all is given up.
    pub media_lost: Duration,
    /// Digits that try a line instead of a PIN, shorter than a PIN.
    pub self_test_code: Option<String>,
    /// Number that the operator's test calls go to.
    pub self_test_number: Option<Pii<Number>>,
    /// 0 to 10.
    pub opus_complexity: u8,
    /// Of the demonstration alone: where no line has a number, people dial our SIP address. Elsewhere no telephone could dial it, and it
    /// would tell everybody the inner network.
    pub shows_address: bool,
    /// By priority; never empty.
    pub trunks: Vec<TrunkConfig>,
    /// Who may be called.
    pub dialout: DialOut,
    /// PINs.
    pub pin: PinRules,
    /// The degrade ladder.
    pub ladder: Ladder,
}

impl TelephoneSettings {
    /// These settings, completed by `other` where they say nothing. What is in the file only comes from `other`.
    #[must_use]
    pub(super) fn or(self, other: TelephoneSettings) -> TelephoneSettings {
        TelephoneSettings {
            enabled: self.enabled.or(other.enabled),
            public_ip: if self.public_ip.is_empty() { other.public_ip } else { self.public_ip },
            sip_udp: self.sip_udp.or(other.sip_udp),
            sip_tcp: self.sip_tcp.or(other.sip_tcp),
            sip_tls: self.sip_tls.or(other.sip_tls),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
            rtp_ports: self.rtp_ports.or(other.rtp_ports),
            max_legs: self.max_legs.or(other.max_legs),
            ..other
        }
    }

    /// Fills in the defaults; none when the telephone is off. `https` is the certificate of pages.
    pub(super) fn resolve(self, https: Option<&TlsFiles>, faults: &mut Vec<String>) -> Option<TelephoneConfig> {
        if !self.enabled.unwrap_or(false) {
            return None;
        }
        let country = self.country.unwrap_or(CountryCode::FRANCE);
        let sip_tls = self.tls_listener(https, faults);
        if self.tls_client_ca.is_some() && self.sip_tls.is_none() {
            faults.push("telephone.tls_client_ca needs telephone.sip_tls".to_owned());
        }
        let none_named = self.sip_udp.is_none() && self.sip_tcp.is_none() && self.sip_tls.is_none();
        let sip_udp = self.sip_udp.or(none_named.then_some(SIP_UDP));
        let max_legs = number("max_legs", self.max_legs, 90, 1..=2_000, faults);
        let max_legs_per_clinic = number("max_legs_per_clinic", self.max_legs_per_clinic, 20, 1..=2_000, faults);
        let rtp_ports = ports(self.rtp_ports.as_deref().unwrap_or("20000-24000"), max_legs, faults);
        let bound = [sip_udp, self.sip_tcp, self.sip_tls].into_iter().flatten().map(|addr| addr.ip());
        if self.public_ip.is_empty() && bound.clone().any(|ip| ip.is_unspecified()) {
            faults.push(
                "telephone.public_ip is missing: SIP listens everywhere, so it needs an address to name".to_owned(),
            );
        }
        if self.public_ip.iter().any(IpAddr::is_unspecified)
            || [true, false].iter().any(|v4| self.public_ip.iter().filter(|ip| ip.is_ipv4() == *v4).count() > 1)
        {
            faults.push("telephone.public_ip must be at most one usable IPv4 and one IPv6 address".to_owned());
        }
        let trunks = trunks(self.trunk, country, faults);
        // UDP has no connection of its own to be answered on.
        if sip_udp.is_none() && trunks.iter().any(|trunk| trunk.transport == SipTransport::Udp) {
            faults.push("telephone.sip_udp is missing: a trunk uses UDP".to_owned());
        }
        let languages = if self.languages.is_empty() { vec!["fr".to_owned(), "en".to_owned()] } else { self.languages };
        if languages.iter().any(|language| !LANGUAGES.contains(&language.as_str())) {
            faults.push(format!("telephone.languages must be among {}", LANGUAGES.join(", ")));
        }
        let mut seconds =
            |key, value, usual, range| Duration::from_secs(u64::from(number::<u32>(key, value, usual, range, faults)));
        let session_expires = seconds("session_expires", self.session_expires, 1_800, 90..=86_400);
        let drain_port = seconds("drain_port_s", self.drain_port_s, 30, 0..=3_600);
        let media_silence = seconds("media_silence_s", self.media_silence_s, 300, 5..=7_200);
        let media_lost = seconds("media_lost_s", self.media_lost_s, 20, 5..=600);
        let opus_complexity = number("opus_complexity", self.opus_complexity, 5, 0..=10, faults);
        let pin = self.pin.resolve(faults);
        let self_test_code = code(self.self_test_code, &pin, faults);
        let self_test_number = self.self_test_number.and_then(|number| {
            let read = Number::parse(&number.0, country).map(Pii);
            if read.is_none() {
                faults.push("telephone.self_test_number must be a number with + and country code".to_owned());
            }
            read
        });
        Some(TelephoneConfig {
            public_ips: self.public_ip,
            sip_udp,
            sip_tcp: self.sip_tcp,
            sip_tls,
            tls_client_ca: self.tls_client_ca,
            rtp_ports,
            max_legs,
            max_legs_per_clinic,
            country,
            languages,
            prompts_dir: self.prompts_dir,
            session_expires,
            drain_port,
            media_silence,
            media_lost,
            self_test_code,
            self_test_number,
            opus_complexity,
            shows_address: self.shows_address,
            trunks,
            dialout: self.dialout.resolve(faults),
            pin,
            ladder: self.ladder.resolve(faults),
        })
    }

    fn tls_listener(&self, https: Option<&TlsFiles>, faults: &mut Vec<String>) -> Option<(SocketAddr, TlsFiles)> {
        let own = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert: cert.clone(), key: key.clone() }),
            (None, None) => https.cloned(),
            _ => {
                faults.push("telephone.tls_cert and telephone.tls_key belong together: one is missing".to_owned());
                return None;
            }
        };
        let addr = self.sip_tls?;
        if own.is_none() {
            faults.push("telephone.sip_tls needs telephone.tls_cert and telephone.tls_key".to_owned());
        }
        Some((addr, own?))
    }
}

/// Shorter than a PIN, so that no seat can ever be under it.
fn code(code: Option<String>, pin: &PinRules, faults: &mut Vec<String>) -> Option<String> {
    let code = code?;
    if !(CODE_DIGITS_MIN..pin.digits).contains(&code.len()) || !code.bytes().all(|digit| digit.is_ascii_digit()) {
        faults.push(format!("telephone.self_test_code must be {CODE_DIGITS_MIN} to {} digits", pin.digits - 1));
    }
    Some(code)
}

fn trunks(settings: Vec<TrunkSettings>, country: CountryCode, faults: &mut Vec<String>) -> Vec<TrunkConfig> {
    if settings.is_empty() {
        faults.push("telephone.trunk is missing: without a line no call comes in or goes out".to_owned());
    }
    if settings.len() > TRUNKS_MAX {
        faults.push(format!("telephone.trunk: at most {TRUNKS_MAX}"));
    }
    let mut trunks: Vec<TrunkConfig> =
        settings.into_iter().filter_map(|trunk| trunk.resolve(country, faults)).collect();
    for (at, trunk) in trunks.iter().enumerate() {
        if trunks[..at].iter().any(|other| other.name == trunk.name) {
            faults.push(format!("telephone.trunk.{} stands there twice", trunk.name));
        }
    }
    trunks.sort_by_key(|trunk| trunk.priority);
    trunks
}

fn ports(text: &str, max_legs: usize, faults: &mut Vec<String>) -> RangeInclusive<u16> {
    let range =
        text.split_once('-').and_then(|(first, last)| Some((first.trim().parse().ok()?, last.trim().parse().ok()?)));
    let Some((first, last)) = range.filter(|(first, last): &(u16, u16)| *first >= 1_024 && first < last) else {
        faults.push("telephone.rtp_ports must be FIRST-LAST, 1024 and above".to_owned());
        return 20_000..=24_000;
    };
    // Twice the calls: a port rests behind its call.
    if usize::from(last - first) + 1 < 4 * max_legs {
        faults.push(format!(
            "telephone.rtp_ports has too few ports for {max_legs} calls: two a call, and as many that rest"
        ));
    }
    first..=last
}

/// The value or its default, and a fault when it is out of range.
fn number<T: PartialOrd + std::fmt::Display + Copy>(
    key: &str,
    value: Option<T>,
    usual: T,
    range: RangeInclusive<T>,
    faults: &mut Vec<String>,
) -> T {
    let value = value.unwrap_or(usual);
    if !range.contains(&value) {
        faults.push(format!("telephone.{key} must be {} to {}, not {value}", range.start(), range.end()));
    }
    value
}

/// Fewer digits are typed by accident.
const CODE_DIGITS_MIN: usize = 4;
const SIP_UDP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 5_060);
/// Those that the server has words in.
const LANGUAGES: [&str; 2] = ["fr", "en"];
/// Each is probed, registered and a metric's label.
const TRUNKS_MAX: usize = 16;

#[cfg(test)]
#[path = "telephone/tests.rs"]
mod tests;
