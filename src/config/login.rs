//! The login of professionals: which OpenID provider, and how to read who logged in.

use serde::Deserialize;

use crate::pii::Pii;

/// `[login]` of the file; everything optional, and no login without an issuer.
#[derive(clap::Args, Deserialize, Clone, Debug, Default)]
#[serde(deny_unknown_fields)]
pub struct LoginSettings {
    /// OpenID provider of professionals, as it names itself; no login without it
    #[arg(id = "login_issuer", long = "login-issuer", env = "COLLOQUE_LOGIN_ISSUER", value_name = "URL")]
    pub issuer: Option<String>,
    /// This server's name at the provider
    #[arg(id = "login_client_id", long = "login-client-id", env = "COLLOQUE_LOGIN_CLIENT_ID", value_name = "ID")]
    pub client_id: Option<String>,
    /// This server's secret at the provider; rather in the environment than in the file
    #[arg(
        id = "login_client_secret",
        long = "login-client-secret",
        env = "COLLOQUE_LOGIN_CLIENT_SECRET",
        value_name = "SECRET",
        hide_env_values = true
    )]
    pub client_secret: Option<Pii<String>>,
    /// Scopes, separated by spaces; `openid` is always among them
    #[arg(id = "login_scopes", long = "login-scopes", env = "COLLOQUE_LOGIN_SCOPES", value_name = "SCOPES")]
    pub scopes: Option<String>,
    /// Assurance levels of which one is demanded, separated by spaces
    #[arg(id = "login_acr_values", long = "login-acr-values", env = "COLLOQUE_LOGIN_ACR_VALUES", value_name = "ACR")]
    pub acr_values: Option<String>,
    /// Claim with the RPPS number; default: SubjectNameID
    #[arg(id = "login_rpps_claim", long = "login-rpps-claim", env = "COLLOQUE_LOGIN_RPPS_CLAIM", value_name = "CLAIM")]
    pub rpps_claim: Option<String>,
    /// Claim with the assurance level; default: acr
    #[arg(
        id = "login_level_claim",
        long = "login-level-claim",
        env = "COLLOQUE_LOGIN_LEVEL_CLAIM",
        value_name = "CLAIM"
    )]
    pub level_claim: Option<String>,
    /// Further hosts of the provider that this server may connect to; repeatable
    #[arg(
        id = "login_host",
        long = "login-host",
        env = "COLLOQUE_LOGIN_HOST",
        value_name = "HOST",
        value_delimiter = ','
    )]
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// A valid login.
#[derive(Clone, Debug)]
pub struct LoginConfig {
    /// Exactly as the provider writes it.
    pub issuer: String,
    /// At the provider.
    pub client_id: String,
    /// None for a client that is public there.
    pub client_secret: Option<Pii<String>>,
    /// Separated by spaces, `openid` among them.
    pub scopes: String,
    /// One of them is demanded, unless empty.
    pub acr_values: Vec<String>,
    /// Name of a claim.
    pub rpps_claim: String,
    /// Name of a claim.
    pub level_claim: String,
    /// Beside the issuer's.
    pub hosts: Vec<String>,
}

impl LoginSettings {
    /// These settings, completed by `other` where they say nothing.
    #[must_use]
    pub fn or(self, other: LoginSettings) -> LoginSettings {
        LoginSettings {
            issuer: self.issuer.or(other.issuer),
            client_id: self.client_id.or(other.client_id),
            client_secret: self.client_secret.or(other.client_secret),
            scopes: self.scopes.or(other.scopes),
            acr_values: self.acr_values.or(other.acr_values),
            rpps_claim: self.rpps_claim.or(other.rpps_claim),
            level_claim: self.level_claim.or(other.level_claim),
            hosts: if self.hosts.is_empty() { other.hosts } else { self.hosts },
        }
    }

    /// Fills in the defaults; says what is missing or impossible.
    pub fn resolve(self, faults: &mut Vec<String>) -> Option<LoginConfig> {
        let Some(issuer) = self.issuer else {
            if self.client_id.is_some() || self.client_secret.is_some() {
                faults.push("login.issuer is missing".to_owned());
            }
            return None;
        };
        if !is_issuer(&issuer) {
            faults.push("login.issuer must begin with https:// (http:// only on this machine)".to_owned());
        }
        if self.client_id.as_ref().is_none_or(String::is_empty) {
            faults.push("login.client_id is missing".to_owned());
        }
        let mut scopes = self.scopes.unwrap_or_else(|| "openid".to_owned());
        if !scopes.split_whitespace().any(|scope| scope == "openid") {
            scopes = format!("openid {scopes}").trim_end().to_owned();
        }
        let acr_values = self.acr_values.unwrap_or_default();
        Some(LoginConfig {
            issuer,
            client_id: self.client_id.unwrap_or_default(),
            client_secret: self.client_secret.filter(|secret| !secret.0.is_empty()),
            scopes,
            acr_values: acr_values.split_whitespace().map(str::to_owned).collect(),
            rpps_claim: self.rpps_claim.unwrap_or_else(|| "SubjectNameID".to_owned()),
            level_claim: self.level_claim.unwrap_or_else(|| "acr".to_owned()),
            hosts: self.hosts.into_iter().filter(|host| !host.is_empty()).collect(),
        })
    }
}

/// Without TLS, whoever sits between could write identities: only where nobody does.
fn is_issuer(issuer: &str) -> bool {
    let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
    let rest = |start: &str| issuer.strip_prefix(start).filter(|rest| rest.is_empty() || rest.starts_with([':', '/']));
    issuer.strip_prefix("https://").is_some_and(|rest| !rest.is_empty())
        || local.iter().any(|start| rest(start).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(issuer: &str) -> LoginSettings {
        LoginSettings { issuer: Some(issuer.into()), client_id: Some("colloque".into()), ..LoginSettings::default() }
    }

    #[test]
    fn there_is_no_login_unless_somebody_asks_for_one() {
        let mut faults = Vec::new();
        assert!(LoginSettings::default().resolve(&mut faults).is_none());
        assert!(faults.is_empty());
        let half = LoginSettings { client_secret: Some(Pii("s".into())), ..LoginSettings::default() };
        assert!(half.resolve(&mut faults).is_none());
        assert_eq!(faults, ["login.issuer is missing"]);
    }

    #[test]
    fn an_issuer_on_the_network_must_be_https() {
        for (issuer, good) in [
            ("https://auth.example/realms/x", true),
            ("http://127.0.0.1:4000", true),
            ("http://localhost/realm", true),
            ("http://localhost.example", false),
            ("http://127.0.0.1.example", false),
            ("http://auth.example", false),
            ("https://", false),
            ("auth.example", false),
        ] {
            let mut faults = Vec::new();
            settings(issuer).resolve(&mut faults);
            assert_eq!(faults.is_empty(), good, "{issuer}: {faults:?}");
        }
    }

    #[test]
    fn openid_is_always_asked_for() {
        let scopes = |text: &str| {
            let settings = LoginSettings { scopes: Some(text.into()), ..settings("https://a.example") };
            settings.resolve(&mut Vec::new()).unwrap().scopes
        };
        assert_eq!(scopes("openid scope_all"), "openid scope_all");
        assert_eq!(scopes("scope_all"), "openid scope_all");
        assert_eq!(scopes(""), "openid");
    }
}
