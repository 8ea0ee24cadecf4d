//! What the operator lets the server send to others: webhooks, e-mail, SMS. Everything is off until it is set here.
//!
//! Not here: sending. A fault names the key and never a password, a number or a header's value.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::pii::Pii;

use super::zone::{self, Zone};

/// What may leave, as the administrator wrote it.
#[derive(clap::Args, Deserialize, Clone, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct EmailSettings {
    /// SMTP server that takes invitations; without it no e-mail leaves
    #[arg(id = "email_host", long = "email-host", env = "COLLOQUE_EMAIL_HOST", value_name = "HOST")]
    pub host: Option<String>,
    /// Its port; default: 587, or 465 with implicit TLS
    #[arg(id = "email_port", long = "email-port", env = "COLLOQUE_EMAIL_PORT", value_name = "PORT")]
    pub port: Option<u16>,
    /// How the connection is secured; `none` only to this machine itself
    #[arg(id = "email_tls", long = "email-tls", env = "COLLOQUE_EMAIL_TLS", value_name = "MODE")]
    pub tls: Option<SmtpTls>,
    /// Name to log in with
    #[arg(id = "email_user", long = "email-user", env = "COLLOQUE_EMAIL_USER", value_name = "NAME")]
    pub user: Option<Pii<String>>,
    /// Password to log in with
    #[arg(
        id = "email_password",
        long = "email-password",
        env = "COLLOQUE_EMAIL_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    pub password: Option<Pii<String>>,
    /// Sender: `address@host` or `Name <address@host>`
    #[arg(id = "email_from", long = "email-from", env = "COLLOQUE_EMAIL_FROM", value_name = "SENDER")]
    pub from: Option<String>,
}

/// How SMTP is secured.
#[derive(clap::ValueEnum, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    /// The connection begins in the clear and must change to TLS before anything is said.
    Starttls,
    /// TLS from the first byte.
    Implicit,
    /// In the clear; loopback only.
    None,
}

/// An HTTP gateway for SMS, as the administrator wrote it.
#[derive(clap::Args, Deserialize, Clone, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct SmsSettings {
    /// HTTP gateway that takes SMS; without it none leaves
    #[arg(id = "sms_url", long = "sms-url", env = "COLLOQUE_SMS_URL", value_name = "URL")]
    pub url: Option<Pii<String>>,
    /// Method of the request; default: post
    #[arg(id = "sms_method", long = "sms-method", env = "COLLOQUE_SMS_METHOD", value_name = "METHOD")]
    pub method: Option<SmsMethod>,
    /// Value of the request's `Authorization` header
    #[arg(
        id = "sms_authorization",
        long = "sms-authorization",
        env = "COLLOQUE_SMS_AUTHORIZATION",
        value_name = "VALUE",
        hide_env_values = true
    )]
    pub authorization: Option<Pii<String>>,
    /// Form of the body; default: json
    #[arg(id = "sms_content", long = "sms-content", env = "COLLOQUE_SMS_CONTENT", value_name = "FORM")]
    pub content: Option<SmsContent>,
    /// Body with `{to}`, `{text}` and, if wanted, `{id}` in it
    #[arg(id = "sms_body", long = "sms-body", env = "COLLOQUE_SMS_BODY", value_name = "TEMPLATE")]
    pub body: Option<String>,
    /// Further headers; `{id}` in a value names the message; in the file only
    #[arg(skip)]
    #[serde(default)]
    pub headers: BTreeMap<String, Pii<String>>,
}

/// Method of a request to the gateway.
#[derive(clap::ValueEnum, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum SmsMethod {
    /// POST
    Post,
    /// PUT
    Put,
}

/// Form of the gateway's body: how what is filled in is escaped.
#[derive(clap::ValueEnum, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum SmsContent {
    /// `application/json`
    Json,
    /// `application/x-www-form-urlencoded`
    Form,
}

/// What may leave. Valid by construction.
#[derive(Clone, Debug, Default)]
pub struct Outbound {
    /// Hosts that clinics may have events sent to; none: no webhooks.
    pub webhook_hosts: Vec<HostRule>,
    /// Whether webhooks may go in the clear.
    pub allow_http_webhooks: bool,
    /// E-mail.
    pub email: Option<EmailOut>,
    /// SMS.
    pub sms: Option<SmsOut>,
    /// Wall clocks of the invited.
    pub timezone: Zone,
    /// Further authorities (PEM) that are trusted beside the web's, for connections that we open.
    pub trusted_ca: Option<PathBuf>,
}

/// A host that may be sent to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostRule {
    /// As URLs write it: lower case, IDNA, an IPv6 address in brackets.
    pub host: String,
    /// The scheme's own when absent.
    pub port: Option<u16>,
}

/// An SMTP server and who we are for it.
#[derive(Clone, Debug)]
pub struct EmailOut {
    /// Name or address.
    pub host: String,
    /// TCP.
    pub port: u16,
    /// How it is secured.
    pub tls: SmtpTls,
    /// Name and password.
    pub login: Option<(Pii<String>, Pii<String>)>,
    /// Sender.
    pub from: lettre::message::Mailbox,
}

/// A gateway for SMS.
#[derive(Clone, Debug)]
pub struct SmsOut {
    /// Where.
    pub url: Pii<Url>,
    /// How.
    pub method: SmsMethod,
    /// Form of `body`.
    pub content: SmsContent,
    /// With placeholders.
    pub body: String,
    /// With placeholders; the names are valid.
    pub headers: Vec<(HeaderName, Pii<String>)>,
}

impl EmailSettings {
    pub(super) fn or(self, other: EmailSettings) -> EmailSettings {
        EmailSettings {
            host: self.host.or(other.host),
            port: self.port.or(other.port),
            tls: self.tls.or(other.tls),
            user: self.user.or(other.user),
            password: self.password.or(other.password),
            from: self.from.or(other.from),
        }
    }

    fn resolve(self, faults: &mut Vec<String>) -> Option<EmailOut> {
        let Some(host) = self.host else {
            if self.port.is_some() || self.tls.is_some() || self.user.is_some() || self.from.is_some() {
                faults.push("email.host is missing: without it no e-mail can leave".to_owned());
            }
            return None;
        };
        let tls = self.tls.unwrap_or(SmtpTls::Starttls);
        if Url::parse(&format!("smtp://{host}")).is_err() || host.contains(['/', '@', '?', '#']) {
            faults.push("email.host must be a name or an address and nothing more".to_owned());
        }
        if tls == SmtpTls::None && !is_loopback(&host) {
            faults.push(
                "email.tls = \"none\" is for a server on this machine only (localhost, 127.0.0.1, ::1)".to_owned(),
            );
        }
        let login = match (self.user, self.password) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            _ => {
                faults.push("email.user and email.password belong together: one is missing".to_owned());
                None
            }
        };
        let Some(from) = self.from.as_deref().and_then(|from| from.parse().ok()) else {
            faults.push("email.from must be `address@host` or `Name <address@host>`".to_owned());
            return None;
        };
        let port = self.port.unwrap_or(if tls == SmtpTls::Implicit { 465 } else { 587 });
        Some(EmailOut { host, port, tls, login, from })
    }
}

impl SmsSettings {
    pub(super) fn or(self, other: SmsSettings) -> SmsSettings {
        SmsSettings {
            url: self.url.or(other.url),
            method: self.method.or(other.method),
            authorization: self.authorization.or(other.authorization),
            content: self.content.or(other.content),
            body: self.body.or(other.body),
            headers: if self.headers.is_empty() { other.headers } else { self.headers },
        }
    }

    fn resolve(self, faults: &mut Vec<String>) -> Option<SmsOut> {
        let Some(url) = self.url else {
            if self.body.is_some() || self.authorization.is_some() || !self.headers.is_empty() {
                faults.push("sms.url is missing: without it no SMS can leave".to_owned());
            }
            return None;
        };
        let url = Url::parse(&url.0).ok().filter(|url| url.username().is_empty() && url.password().is_none());
        let secure = url.as_ref().and_then(Url::host_str).map(is_loopback);
        if !url.as_ref().is_some_and(|url| url.scheme() == "https" || url.scheme() == "http" && secure == Some(true)) {
            faults.push("sms.url must be https:// without a user name (http:// only to this machine)".to_owned());
        }
        let content = self.content.unwrap_or(SmsContent::Json);
        let body = self.body.unwrap_or_default();
        let sample = body.replace("{to}", "x").replace("{text}", "x").replace("{id}", "x");
        if !body.contains("{to}") || !body.contains("{text}") {
            faults.push("sms.body must have both {to} and {text} in it".to_owned());
        } else if content == SmsContent::Json && serde_json::from_str::<serde_json::Value>(&sample).is_err() {
            faults.push("sms.body is not JSON once {to} and {text} are filled in: write \"{to}\" in quotes".to_owned());
        }
        let authorization = self.authorization.map(|value| ("authorization".to_owned(), value));
        let mut headers = Vec::new();
        for (name, value) in self.headers.into_iter().chain(authorization) {
            match (HeaderName::try_from(&name), HeaderValue::try_from(&value.0)) {
                (Ok(name), Ok(_)) => headers.push((name, value)),
                _ => faults.push(format!("sms.headers: `{}` or its value is no header", name.escape_debug())),
            }
        }
        let method = self.method.unwrap_or(SmsMethod::Post);
        Some(SmsOut { url: Pii(url?), method, content, body, headers })
    }
}

impl HostRule {
    /// Reads `host`, `host:port`, `192.0.2.1`, `[2001:db8::1]:8443`.
    #[must_use]
    pub fn parse(text: &str) -> Option<HostRule> {
        if text.is_empty() || text.contains(['/', '@', '?', '#', '\\', '*', ' ']) {
            return None;
        }
        let bare_v6 = text.parse::<std::net::Ipv6Addr>().is_ok();
        let url = Url::parse(&if bare_v6 { format!("https://[{text}]/") } else { format!("https://{text}/") }).ok()?;
        Some(HostRule { host: url.host_str()?.to_owned(), port: url.port() })
    }

    /// The address itself, when the rule is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

/// Everything that was said of what may leave.
pub(super) struct OutboundSettings {
    pub(super) webhook_hosts: Vec<String>,
    pub(super) allow_http_webhooks: bool,
    pub(super) email: EmailSettings,
    pub(super) sms: SmsSettings,
    pub(super) timezone: Option<String>,
    pub(super) trusted_ca: Option<PathBuf>,
}

impl OutboundSettings {
    pub(super) fn resolve(self, faults: &mut Vec<String>) -> Outbound {
        let mut webhook_hosts = Vec::new();
        for text in &self.webhook_hosts {
            match HostRule::parse(text) {
                Some(rule) => webhook_hosts.push(rule),
                None => faults.push(format!("webhook_hosts: `{text}` must be a host or host:port and nothing more")),
            }
        }
        let timezone = self.timezone.map(|name| {
            Zone::from_name(&name).unwrap_or_else(|| {
                faults.push(format!("timezone must be an offset such as +04:00 or one of {}", zone::names()));
                Zone::default()
            })
        });
        Outbound {
            webhook_hosts,
            allow_http_webhooks: self.allow_http_webhooks,
            email: self.email.resolve(faults),
            sms: self.sms.resolve(faults),
            timezone: timezone.unwrap_or_default(),
            trusted_ca: self.trusted_ca,
        }
    }
}

/// Whether what is sent to this host stays on this machine.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;

    use super::*;

    fn resolved(text: &str) -> Result<Outbound, String> {
        let settings: Settings = toml::from_str(text).map_err(|error| error.to_string())?;
        settings.resolve().map(|config| config.outbound).map_err(|error| error.to_string())
    }

    const EMAIL: &str = "[email]\nhost = \"mail.clinic.example\"\nfrom = \"Clinic <no-reply@clinic.example>\"\n";
    const SMS: &str = "[sms]\nurl = \"https://sms.example/send\"\nbody = '{\"to\": \"{to}\", \"m\": \"{text}\"}'\n";

    #[test]
    fn nothing_leaves_until_it_is_configured() {
        let outbound = resolved("").unwrap();
        assert!(outbound.webhook_hosts.is_empty() && outbound.email.is_none() && outbound.sms.is_none());
    }

    #[test]
    fn e_mail_is_secured_unless_it_stays_on_the_machine() {
        let email = resolved(EMAIL).unwrap().email.unwrap();
        assert_eq!((email.port, email.tls), (587, SmtpTls::Starttls));
        let implicit = resolved(&format!("{EMAIL}tls = \"implicit\"")).unwrap().email.unwrap();
        assert_eq!(implicit.port, 465);
        assert!(resolved(&format!("{EMAIL}tls = \"none\"")).unwrap_err().contains("email.tls"));
        let local = EMAIL.replace("mail.clinic.example", "127.0.0.1");
        assert!(resolved(&format!("{local}tls = \"none\"")).is_ok());
    }

    #[test]
    fn half_a_configuration_is_named() {
        for (text, key) in [
            ("[email]\nfrom = \"a@b.example\"", "email.host"),
            ("[email]\nhost = \"mail.example\"", "email.from"),
            ("[email]\nhost = \"mail.example\"\nfrom = \"nobody\"", "email.from"),
            ("[email]\nhost = \"mail.example/x\"\nfrom = \"a@b.example\"", "email.host"),
            ("[email]\nhost = \"mail.example\"\nfrom = \"a@b.example\"\nuser = \"a\"", "email.password"),
            ("[sms]\nauthorization = \"Bearer x\"", "sms.url"),
            ("[sms]\nurl = \"http://sms.example\"\nbody = '{\"a\": \"{to}{text}\"}'", "sms.url"),
            ("[sms]\nurl = \"https://sms.example\"\nbody = '{\"a\": \"{to}\"}'", "sms.body"),
            ("[sms]\nurl = \"https://sms.example\"\nbody = '{\"a\": {to}, \"b\": \"{text}\"}'", "sms.body"),
            ("webhook_hosts = [\"https://a.example\"]", "webhook_hosts"),
            ("timezone = \"Mars/Olympus\"", "timezone"),
        ] {
            let fault = resolved(text).unwrap_err();
            assert!(fault.contains(key), "{text}: {fault}");
        }
        let bad = format!("{SMS}[sms.headers]\nx-key = \"hunter2\\nx: y\"");
        let fault = resolved(&bad).unwrap_err();
        assert!(fault.contains("x-key") && !fault.contains("hunter2"), "{fault}");
    }

    #[test]
    fn hosts_are_read_as_urls_write_them() {
        let rule = |text| HostRule::parse(text).map(|rule| (rule.host, rule.port));
        assert_eq!(rule("Portal.Example"), Some(("portal.example".to_owned(), None)));
        assert_eq!(rule("portal.example:443"), Some(("portal.example".to_owned(), None)));
        assert_eq!(rule("santé.example:8443"), Some(("xn--sant-epa.example".to_owned(), Some(8443))));
        assert_eq!(rule("2001:db8::1"), Some(("[2001:db8::1]".to_owned(), None)));
        assert_eq!(HostRule::parse("[2001:db8::1]:8443").unwrap().address(), "2001:db8::1".parse().ok());
        for bad in ["", "*.example", "a/b", "user@host", "host:99999", "https://a", "a b"] {
            assert_eq!(rule(bad), None, "{bad}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let text = format!("{EMAIL}user = \"u\"\npassword = \"hunter2\"\n{SMS}authorization = \"Bearer hunter3\"");
        let shown = format!("{:?}", resolved(&text).unwrap());
        assert!(!shown.contains("hunter"), "{shown}");
    }
}
