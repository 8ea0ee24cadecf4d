//! The configuration: flags before environment before file before defaults, one struct of settings for all of them.
//!
//! Not here: what the values do. A [`Config`] is valid by construction; [`Settings::resolve`] collects every fault
//! it finds, so that an administrator mends them in one go. Unknown keys of the file are errors. Unknown
//! `COLLOQUE_…` variables are only named, because container platforms inject some of their own under that prefix.
//!
//! A section of the file is a field of [`Settings`] and a file here: its settings with `or` (completed by those of lower rank) and
//! `resolve` (defaults, faults named by their key), and the valid values that come of them.

mod changes;
mod login;
mod media_addr;
pub mod outbound;
pub mod telephone;
mod unreadable;
pub mod zone;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

use crate::acts::{ActDefinition, Acts};
use crate::pii::Pii;

use outbound::{EmailSettings, Outbound, OutboundSettings, SmsSettings};
use telephone::{TelephoneConfig, TelephoneSettings};

use media_addr::loopback;

pub use changes::FileKeys;
pub use login::{LoginConfig, LoginSettings};
pub use media_addr::{MediaAddr, demo_media_addrs};
pub use unreadable::unreadable;

/// What an administrator may set; everything optional. The same keys as flags, environment and TOML.
#[derive(clap::Args, Deserialize, Clone, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address of pages, API and WebSocket; port 0 means any free port
    #[arg(long, env = "COLLOQUE_HTTP_ADDR", value_name = "ADDR")]
    pub http_addr: Option<SocketAddr>,
    /// Address of /metrics and /admin; never expose it to patients
    #[arg(long, env = "COLLOQUE_ADMIN_ADDR", value_name = "ADDR")]
    pub admin_addr: Option<SocketAddr>,
    /// Address for media, and the one to advertise when behind NAT; repeatable, IPv4 and IPv6
    #[arg(long, env = "COLLOQUE_MEDIA_ADDR", value_name = "BIND[=ADVERTISED]", value_delimiter = ',')]
    #[serde(default)]
    pub media_addr: Vec<MediaAddr>,
    /// First UDP port for media, one a worker; 0 means any free ports
    #[arg(long, env = "COLLOQUE_MEDIA_PORT", value_name = "PORT")]
    pub media_port: Option<u16>,
    /// Media threads; default: one a core
    #[arg(long, env = "COLLOQUE_WORKERS", value_name = "N")]
    pub workers: Option<usize>,
    /// The only directory that is written to
    #[arg(long, env = "COLLOQUE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// PostgreSQL server (postgres://USER:PASSWORD@HOST/DATABASE) instead of a file in the data directory
    #[arg(long, env = "COLLOQUE_STORE_URL", value_name = "URL", hide_env_values = true)]
    pub store_url: Option<Pii<String>>,
    /// Days after which consultations that are over, and what the journal tells of them, are removed
    #[arg(long, env = "COLLOQUE_RETENTION_DAYS", value_name = "N")]
    pub retention_days: Option<u32>,
    /// Certificate chain (PEM) for HTTPS and WSS
    #[arg(long, env = "COLLOQUE_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate
    #[arg(long, env = "COLLOQUE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// URL under which people reach the server, for links; default: from the HTTP address
    #[arg(long, env = "COLLOQUE_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// Origins of portals that embed the call; repeatable
    #[arg(long, env = "COLLOQUE_EMBED_ORIGIN", value_name = "ORIGIN", value_delimiter = ',')]
    #[serde(default)]
    pub embed_origin: Vec<String>,
    /// Lets /metrics and /admin be used on the main address by whoever carries it; at least 32 characters
    #[arg(long, env = "COLLOQUE_OPERATOR_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub operator_token: Option<Pii<String>>,
    /// Seconds that SIGTERM waits for running calls
    #[arg(long, env = "COLLOQUE_DRAIN_SECONDS", value_name = "N")]
    pub drain_seconds: Option<u32>,
    /// Rooms at the same time before new ones are refused
    #[arg(long, env = "COLLOQUE_ROOMS_MAX", value_name = "N")]
    pub rooms_max: Option<usize>,
    /// Days after which a new key signs links
    #[arg(long, env = "COLLOQUE_SIGNING_KEY_DAYS", value_name = "N")]
    pub signing_key_days: Option<u32>,
    /// Login of professionals
    #[command(flatten)]
    #[serde(default)]
    pub login: LoginSettings,
    /// Hosts that clinics may have events sent to; repeatable; without one there are no webhooks
    #[arg(long, env = "COLLOQUE_WEBHOOK_HOSTS", value_name = "HOST[:PORT]", value_delimiter = ',')]
    #[serde(default)]
    pub webhook_hosts: Vec<String>,
    /// Webhooks may go in the clear too
    #[arg(long, env = "COLLOQUE_ALLOW_HTTP_WEBHOOKS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub allow_http_webhooks: Option<bool>,
    /// Where the clinics' wall clocks are, for invitations; default: Europe/Paris
    #[arg(long, env = "COLLOQUE_TIMEZONE", value_name = "ZONE")]
    pub timezone: Option<String>,
    /// Further authorities (PEM) that webhooks, SMTP servers, gateways and the login may be certified by
    #[arg(long, env = "COLLOQUE_TRUSTED_CA", value_name = "FILE")]
    pub trusted_ca: Option<PathBuf>,
    /// Invitations by e-mail
    #[command(flatten)]
    #[serde(default)]
    pub email: EmailSettings,
    /// Invitations by SMS
    #[command(flatten)]
    #[serde(default)]
    pub sms: SmsSettings,
    /// The telephone
    #[command(flatten)]
    #[serde(default)]
    pub telephone: TelephoneSettings,
    /// Variants of the built-in acts; in the file only
    #[arg(skip)]
    #[serde(default)]
    pub acts: Vec<ActDefinition>,
}

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Pages, API and WebSocket.
    pub http_addr: SocketAddr,
    /// Metrics and life cycle.
    pub admin_addr: SocketAddr,
    /// One socket a worker each; never empty.
    pub media_addrs: Vec<MediaAddr>,
    /// First UDP port; 0 for any.
    pub media_port: u16,
    /// Media threads, at least 1.
    pub workers: usize,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// PostgreSQL instead of a file there.
    pub store_url: Option<Pii<String>>,
    /// Days that technical data is kept, at least 1.
    pub retention_days: u32,
    /// Certificate chain and key for HTTPS.
    pub tls: Option<TlsFiles>,
    /// Without a slash at the end.
    pub public_url: Option<String>,
    /// `scheme://host[:port]` each.
    pub embed_origins: Vec<String>,
    /// Secret of the operator.
    pub operator_token: Option<Pii<String>>,
    /// How long a drain waits for running calls.
    pub drain_seconds: u32,
    /// Rooms at the same time.
    pub rooms_max: usize,
    /// Days after which a new key signs links.
    pub signing_key_days: u32,
    /// Login of professionals, when there is one.
    pub login: Option<LoginConfig>,
    /// The built-in acts and the file's variants.
    pub acts: Acts,
    /// What may be sent to others.
    pub outbound: Outbound,
    /// The telephone, when there is one.
    pub telephone: Option<TelephoneConfig>,
}

/// PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pii<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Pii)
    }
}

impl<T: FromStr> FromStr for Pii<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        text.parse().map(Pii)
    }
}

/// Everything wrong with a configuration, one line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

impl Settings {
    /// Reads a TOML file. The message of an error names the line and the key.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        Self::read_file(path).map(|(settings, _)| settings)
    }

    /// The same, with what it takes to name what has changed when the file is read again.
    pub fn read_file(path: &Path) -> Result<(Self, FileKeys), ConfigError> {
        let fault = |error: &str| ConfigError(vec![format!("{}: {}", path.display(), error.trim_end())]);
        let text = std::fs::read_to_string(path).map_err(|error| fault(&unreadable(&error)))?;
        let settings = Self::from_toml(&text).map_err(|error| fault(&error))?;
        Ok((settings, FileKeys::of(&text).ok_or_else(|| fault("is no TOML"))?))
    }

    fn from_toml(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            // `message` without the excerpt: the offending line may hold a secret.
            match error.span() {
                Some(span) => {
                    let line = 1 + text[..span.start.min(text.len())].matches('\n').count();
                    format!("line {line}: {}", error.message())
                }
                None => error.message().to_owned(),
            }
        })
    }

    /// These settings, completed by `other` where they say nothing.
    #[must_use]
    pub fn or(self, other: Settings) -> Settings {
        Settings {
            http_addr: self.http_addr.or(other.http_addr),
            admin_addr: self.admin_addr.or(other.admin_addr),
            media_addr: if self.media_addr.is_empty() { other.media_addr } else { self.media_addr },
            media_port: self.media_port.or(other.media_port),
            workers: self.workers.or(other.workers),
            data_dir: self.data_dir.or(other.data_dir),
            store_url: self.store_url.or(other.store_url),
            retention_days: self.retention_days.or(other.retention_days),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
            public_url: self.public_url.or(other.public_url),
            embed_origin: if self.embed_origin.is_empty() { other.embed_origin } else { self.embed_origin },
            operator_token: self.operator_token.or(other.operator_token),
            drain_seconds: self.drain_seconds.or(other.drain_seconds),
            rooms_max: self.rooms_max.or(other.rooms_max),
            signing_key_days: self.signing_key_days.or(other.signing_key_days),
            login: self.login.or(other.login),
            acts: if self.acts.is_empty() { other.acts } else { self.acts },
            webhook_hosts: if self.webhook_hosts.is_empty() { other.webhook_hosts } else { self.webhook_hosts },
            allow_http_webhooks: self.allow_http_webhooks.or(other.allow_http_webhooks),
            timezone: self.timezone.or(other.timezone),
            trusted_ca: self.trusted_ca.or(other.trusted_ca),
            email: self.email.or(other.email),
            sms: self.sms.or(other.sms),
            telephone: self.telephone.or(other.telephone),
        }
    }

    /// Fills in the defaults and checks everything that can be checked without touching the machine.
    pub fn resolve(self) -> Result<Config, ConfigError> {
        let mut faults = Vec::new();
        let tls = match (self.tls_cert, self.tls_key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            _ => {
                faults.push("tls_cert and tls_key belong together: one is missing".to_owned());
                None
            }
        };
        let workers = self.workers.unwrap_or_else(cores);
        if !(1..=WORKERS_MAX).contains(&workers) {
            faults.push(format!("workers must be 1 to {WORKERS_MAX}, not {workers}"));
        }
        let media_port = self.media_port.unwrap_or(40_000);
        if media_port != 0 && usize::from(media_port) + workers > 65_536 {
            faults.push(format!("media_port {media_port} leaves no room for {workers} workers below 65536"));
        }
        let retention_days = self.retention_days.unwrap_or(90);
        if !(1..=RETENTION_DAYS_MAX).contains(&retention_days) {
            faults.push(format!("retention_days must be 1 to {RETENTION_DAYS_MAX}, not {retention_days}"));
        }
        let public_url = self.public_url.map(|url| url.trim_end_matches('/').to_owned());
        if let Some(url) = &public_url
            && !is_web_url(url)
        {
            faults.push("public_url must begin with https:// or http:// and name a host".to_owned());
        }
        for origin in &self.embed_origin {
            if !is_origin(origin) {
                faults.push(format!("embed_origin `{origin}` must be scheme://host[:port] and nothing more"));
            }
        }
        if self.operator_token.as_ref().is_some_and(|token| token.0.len() < OPERATOR_TOKEN_LEN_MIN) {
            faults.push(format!("operator_token must have at least {OPERATOR_TOKEN_LEN_MIN} characters"));
        }
        let signing_key_days = self.signing_key_days.unwrap_or(SIGNING_KEY_DAYS);
        if !SIGNING_KEY_DAYS_RANGE.contains(&signing_key_days) {
            let (least, most) = (SIGNING_KEY_DAYS_RANGE.start(), SIGNING_KEY_DAYS_RANGE.end());
            faults.push(format!("signing_key_days must be {least} to {most}, not {signing_key_days}"));
        }
        let login = self.login.resolve(&mut faults);
        let is_postgres =
            |url: &Pii<String>| ["postgres://", "postgresql://"].iter().any(|scheme| url.0.starts_with(scheme));
        if self.store_url.as_ref().is_some_and(|url| !is_postgres(url)) {
            faults.push("store_url must begin with postgres://".to_owned());
        }
        let outbound = OutboundSettings {
            webhook_hosts: self.webhook_hosts,
            allow_http_webhooks: self.allow_http_webhooks.unwrap_or(false),
            email: self.email,
            sms: self.sms,
            timezone: self.timezone,
            trusted_ca: self.trusted_ca,
        }
        .resolve(&mut faults);
        let telephone = self.telephone.resolve(tls.as_ref(), &mut faults);
        let media_ports =
            media_port..=media_port.saturating_add(u16::try_from(workers.saturating_sub(1)).unwrap_or(u16::MAX));
        if let Some(telephone) = &telephone
            && media_port != 0
            && telephone.rtp_ports.start() <= media_ports.end()
            && media_ports.start() <= telephone.rtp_ports.end()
        {
            faults.push("telephone.rtp_ports and the ports from media_port on must not overlap".to_owned());
        }
        let acts = match Acts::with_variants(&self.acts) {
            Ok(acts) if faults.is_empty() => acts,
            acts => {
                faults.extend(acts.err().into_iter().flatten());
                return Err(ConfigError(faults));
            }
        };
        Ok(Config {
            http_addr: self.http_addr.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080))),
            admin_addr: self.admin_addr.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9090))),
            media_addrs: if self.media_addr.is_empty() { loopback() } else { self.media_addr },
            media_port,
            workers,
            data_dir: self.data_dir.unwrap_or_else(|| PathBuf::from("data")),
            store_url: self.store_url,
            retention_days,
            tls,
            public_url,
            embed_origins: self.embed_origin,
            operator_token: self.operator_token,
            drain_seconds: self.drain_seconds.unwrap_or(3_600),
            rooms_max: self.rooms_max.unwrap_or(1_000),
            signing_key_days,
            login,
            acts,
            outbound,
            telephone,
        })
    }
}

/// `COLLOQUE_…` variables that no setting reads: perhaps a spelling mistake.
#[must_use]
pub fn unknown_variables() -> Vec<String> {
    let known: Vec<String> = <Settings as clap::Args>::augment_args(clap::Command::new("known"))
        .get_arguments()
        .filter_map(|argument| argument.get_env().map(|name| name.to_string_lossy().into_owned()))
        .collect();
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("COLLOQUE_") && !known.contains(name))
        .filter(|name| !OTHER_VARIABLES.contains(&name.as_str()) && !telephone::is_password_variable(name))
        .collect()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX)
}

fn is_web_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['#', '?', ' ', '"', '\'', ';', ',', '\n', '\r']))
}

/// An origin goes into response headers as it is: nothing but a scheme, a host and a port may pass.
fn is_origin(origin: &str) -> bool {
    is_web_url(origin) && origin.matches('/').count() == 2 && origin.is_ascii()
}

/// A socket and a thread each; more than any machine has cores for.
const WORKERS_MAX: usize = 256;
/// Twenty years: whoever wants it for ever exports the journal.
const RETENTION_DAYS_MAX: u32 = 7_305;
/// 128 bits and more when random hexadecimal; shorter ones could be guessed.
const OPERATOR_TOKEN_LEN_MIN: usize = 32;
/// A link is signed when its consultation is booked and must work until a day after the planned begin, and a key verifies for as
/// long again as it signed. So this is also how long a link can work: a year, as follow-up visits are. A shorter time limits what
/// a stolen key is worth. NIST SP 800-57 part 1 section 5.3.6 allows such a key to sign for two years.
const SIGNING_KEY_DAYS: u32 = 365;
/// Less than two days would not outlive a link's own last day.
const SIGNING_KEY_DAYS_RANGE: std::ops::RangeInclusive<u32> = 2..=730;
/// Variables of this prefix that are read elsewhere.
const OTHER_VARIABLES: [&str; 2] = ["COLLOQUE_CONFIG", "COLLOQUE_LOG"];

#[cfg(test)]
mod tests {
    use colloque_signaling::message::Role;

    use crate::acts::{Right, SeatRule};

    use super::*;

    #[test]
    fn defaults_are_local_and_valid() {
        let config = Settings::default().resolve().unwrap();
        assert!(config.http_addr.ip().is_loopback() && config.admin_addr.ip().is_loopback());
        assert!(config.workers >= 1 && config.media_port == 40_000);
        assert!(config.media_addrs.iter().all(|addr| addr.bind.is_loopback()));
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let flags = Settings { media_port: Some(50_000), ..Settings::default() };
        let file =
            Settings::from_toml("media_port = 45000\nworkers = 3\nmedia_addr = [\"0.0.0.0=192.0.2.7\"]").unwrap();
        let config = flags.or(file).resolve().unwrap();
        assert_eq!((config.media_port, config.workers), (50_000, 3));
        assert_eq!(config.media_addrs[0].advertised, Some("192.0.2.7".parse().unwrap()));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = Settings::from_toml("workers = 1\nwrokers = 2").unwrap_err();
        assert!(error.starts_with("line 2:") && error.contains("wrokers"), "{error}");
    }

    #[test]
    fn an_error_beside_a_secret_does_not_show_it() {
        let error = Settings::from_toml("operator_token = \"hunter2hunter2\" x").unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        let settings = Settings::from_toml("operator_token = \"hunter2hunter2\"").unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let settings = Settings {
            tls_cert: Some("cert.pem".into()),
            workers: Some(0),
            public_url: Some("ftp://x".into()),
            embed_origin: vec!["https://portal.example/path".into()],
            operator_token: Some(Pii("short".into())),
            store_url: Some(Pii("mysql://user:secret@host/db".into())),
            ..Settings::default()
        };
        assert_eq!(settings.resolve().unwrap_err().0.len(), 6);
    }

    #[test]
    fn media_addresses_accept_both_families_and_nat_and_nothing_ambiguous() {
        let addr: MediaAddr = "[2001:db8::1]=2001:db8::2".parse().unwrap();
        assert_eq!(addr.advertised, Some("2001:db8::2".parse().unwrap()));
        for bad in ["0.0.0.0", "::", "10.0.0.1=2001:db8::1", "10.0.0.1:4000", "host", "10.0.0.1=0.0.0.0", ""] {
            assert!(bad.parse::<MediaAddr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn faults_of_acts_are_reported_beside_the_others() {
        let text = "workers = 0\n[[acts]]\nname = \"ward\"\nbase = \"surgery\"\n";
        let error = Settings::from_toml(text).unwrap().resolve().unwrap_err();
        assert_eq!(error.0.len(), 2, "{error}");
        assert!(error.0[1].starts_with("acts.ward.base:"), "{error}");
        let error = Settings::from_toml("workers = 1\n[[acts]]\nname = \"ward\"\nseats = 3\n").unwrap_err();
        assert!(error.starts_with("line 4:") && error.contains("seats"), "{error}");
    }

    #[test]
    fn the_sample_configuration_is_valid_and_names_only_known_keys() {
        let sample = include_str!("../deploy/colloque.toml");
        Settings::from_toml(sample).unwrap();
        let config = uncommented(sample);
        let variants: Vec<&str> = config.acts.iter().skip(5).map(|act| act.name.as_str()).collect();
        assert_eq!(variants, ["kiosk", "stroke", "anaesthesia", "care_home"]);
        let trunks = config.telephone.unwrap().trunks;
        assert_eq!(trunks.iter().map(|trunk| trunk.name.as_str()).collect::<Vec<_>>(), ["ovh", "backup"]);
    }

    #[test]
    fn the_sample_variants_say_what_their_descriptions_promise() {
        let config = uncommented(include_str!("../deploy/colloque.toml"));
        let act = |name| config.acts.by_name(name).unwrap();
        let kiosk = act("kiosk");
        let detainee = kiosk.rule(Role::Patient);
        let leaves_the_room = [Right::Chat, Right::Files, Right::Screen, Right::Point, Right::Vitals];
        assert!(detainee.waits && !detainee.may.has_any(&leaves_the_room));
        assert_eq!(kiosk.gates.third_person, [Role::Patient]);
        for role in [Role::Companion, Role::Guest, Role::Trainee] {
            assert_eq!(kiosk.rule(role), SeatRule::NO_SEAT);
        }
        let stroke = act("stroke");
        assert!(stroke.emergency && !stroke.rule(Role::Nurse).waits && !stroke.rule(Role::Patient).waits);
        assert!(stroke.gates.card.is_empty() && stroke.gates.consent.asked.is_empty());
        assert_eq!(act("anaesthesia").rule(Role::Patient).seats, 1);
        let nurse = act("care_home").rule(Role::Nurse);
        assert!(!nurse.waits && nurse.may.has(Right::Admit) && nurse.may.has(Right::Vitals));
        assert_eq!(act("care_home").media.cameras, 2);
    }

    /// The sample with its example values in force.
    fn uncommented(sample: &str) -> Config {
        let text: Vec<&str> = sample.lines().map(|line| line.strip_prefix("#= ").unwrap_or(line)).collect();
        Settings::from_toml(&text.join("\n")).unwrap().resolve().unwrap()
    }
}
