//! The OpenID provider that the operator configured: its metadata, its keys, its token and user info endpoints.
//!
//! The only outgoing connections of the login. They go to the issuer's host, or to hosts that the configuration names, never
//! where an answer redirects them; each has a limit of time and size. What the answers are worth is `id_token`'s.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use reqwest::{Client, RequestBuilder, Url, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::config::LoginConfig;
use crate::pii::Pii;

use super::super::outgoing::{Authorities, OutgoingError, http_client};
use super::LoginError;
use super::id_token::{self, Claims, Expected, Fault};

/// See the module.
pub(super) struct Provider {
    pub(super) settings: LoginConfig,
    http: Client,
    redirect_uri: String,
    /// Held while it is filled: whoever comes meanwhile waits for the same answer instead of asking again.
    known: Mutex<Known>,
}

/// What the provider published, and when it was read.
#[derive(Default)]
struct Known {
    metadata: Option<(Metadata, Instant)>,
    keys: Option<(Vec<Jwk>, Instant)>,
}

/// OpenID Connect Discovery 1.0 section 3, as far as it is used.
#[derive(Clone, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    code_challenge_methods_supported: Option<Vec<String>>,
    /// RFC 9207.
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

/// Answer of the token endpoint.
#[derive(Deserialize)]
struct Tokens {
    access_token: Pii<String>,
    id_token: Pii<String>,
}

impl Provider {
    /// Nothing is fetched before the first login.
    pub(super) fn new(settings: LoginConfig, authorities: &Authorities, base_url: &str) -> Result<Self, OutgoingError> {
        let redirect_uri = format!("{base_url}{CALLBACK_PATH}");
        Ok(Self {
            settings,
            http: http_client(authorities)?.timeout(ANSWER_WAIT_MAX).build()?,
            redirect_uri,
            known: Mutex::default(),
        })
    }

    /// What the provider says of itself, at most an hour old.
    pub(super) async fn metadata(&self) -> Result<Metadata, LoginError> {
        let mut known = self.known.lock().await;
        if let Some((metadata, since)) = &known.metadata
            && since.elapsed() < KEPT
        {
            return Ok(metadata.clone());
        }
        let address = format!("{}/.well-known/openid-configuration", self.settings.issuer.trim_end_matches('/'));
        let metadata: Metadata = json(self.http.get(self.reachable(&address)?)).await?;
        if metadata.issuer != self.settings.issuer {
            return Err(LoginError::Provider("it says that it is another issuer"));
        }
        if metadata.code_challenge_methods_supported.as_ref().is_some_and(|known| !known.iter().any(|m| m == "S256")) {
            return Err(LoginError::Provider("it does not support PKCE with S256"));
        }
        known.metadata = Some((metadata.clone(), Instant::now()));
        Ok(metadata)
    }

    /// Where the person logs in.
    pub(super) async fn authorization_url(
        &self,
        state: &str,
        nonce: &str,
        challenge: &str,
    ) -> Result<String, LoginError> {
        let metadata = self.metadata().await?;
        let mut url = self.checked(&metadata.authorization_endpoint)?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", &self.settings.scopes)
            .append_pair("state", state)
            .append_pair("nonce", nonce)
            .append_pair("code_challenge", challenge)
            .append_pair("code_challenge_method", "S256");
        if !self.settings.acr_values.is_empty() {
            url.query_pairs_mut().append_pair("acr_values", &self.settings.acr_values.join(" "));
        }
        Ok(url.into())
    }

    /// Exchanges a code for the claims of whoever logged in: those of the ID token, completed by user info when one that is asked
    /// for is not among them.
    pub(super) async fn claims(&self, code: &str, verifier: &str, nonce: &str) -> Result<Claims, LoginError> {
        let metadata = self.metadata().await?;
        let tokens = self.exchange(&metadata, code, verifier).await?;
        let (access_token, id_token) = (tokens.access_token.0, tokens.id_token.0);
        let LoginConfig { issuer, client_id, .. } = &self.settings;
        let expected = Expected { issuer, client_id, nonce, access_token: &access_token };
        let mut claims = self.with_keys(&metadata, |keys| id_token::read_id_token(&id_token, keys, &expected)).await?;
        let wanted = [&self.settings.rpps_claim, &self.settings.level_claim];
        if let Some(endpoint) = &metadata.userinfo_endpoint
            && wanted.iter().any(|name| !claims.contains_key(*name))
        {
            let user_info = self.user_info(&metadata, endpoint, &access_token).await?;
            if user_info.get("sub") != claims.get("sub") {
                return Err(LoginError::Refused("the user info is of another person"));
            }
            for (name, value) in user_info {
                claims.entry(name).or_insert(value);
            }
        }
        Ok(claims)
    }

    async fn exchange(&self, metadata: &Metadata, code: &str, verifier: &str) -> Result<Tokens, LoginError> {
        let LoginConfig { client_id, client_secret, .. } = &self.settings;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", verifier),
        ];
        let mut request = self.http.post(self.reachable(&metadata.token_endpoint)?);
        // Discovery 1.0 section 3: basic is what is meant by silence.
        let methods = metadata.token_endpoint_auth_methods_supported.as_deref();
        let takes_basic = methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"));
        match client_secret {
            Some(secret) if takes_basic => {
                // RFC 6749 section 2.3.1: each half form-encoded first.
                let credentials = STANDARD.encode(format!("{}:{}", form_encoded(client_id), form_encoded(&secret.0)));
                request = request.header(header::AUTHORIZATION, format!("Basic {credentials}"));
            }
            Some(secret) => form.extend([("client_id", client_id.as_str()), ("client_secret", secret.0.as_str())]),
            None => form.push(("client_id", client_id)),
        }
        json(request.form(&form)).await
    }

    async fn user_info(&self, metadata: &Metadata, endpoint: &str, access_token: &str) -> Result<Claims, LoginError> {
        let request = self.http.get(self.reachable(endpoint)?).bearer_auth(access_token);
        let (kind, body) = answer(request).await?;
        if kind != "application/jwt" {
            return serde_json::from_slice(&body).map_err(|_| LoginError::Provider("its user info cannot be read"));
        }
        let text = String::from_utf8(body).map_err(|_| LoginError::Provider("its user info cannot be read"))?;
        let LoginConfig { issuer, client_id, .. } = &self.settings;
        self.with_keys(metadata, |keys| id_token::read_signed_user_info(text.trim(), keys, issuer, client_id)).await
    }

    /// Checks something with the provider's keys; when it was signed by an unknown one, once more with fresh keys.
    async fn with_keys(
        &self,
        metadata: &Metadata,
        check: impl Fn(&[Jwk]) -> Result<Claims, Fault>,
    ) -> Result<Claims, LoginError> {
        let refused = |fault| match fault {
            Fault::UnknownKey => LoginError::Refused("signed by an unknown key"),
            Fault::Refused(why) => LoginError::Refused(why),
        };
        match check(&self.keys(metadata, KEPT).await?) {
            Err(Fault::UnknownKey) => check(&self.keys(metadata, KEYS_FRESH).await?).map_err(refused),
            checked => checked.map_err(refused),
        }
    }

    async fn keys(&self, metadata: &Metadata, age_max: Duration) -> Result<Vec<Jwk>, LoginError> {
        let mut known = self.known.lock().await;
        if let Some((keys, since)) = &known.keys
            && since.elapsed() < age_max
        {
            return Ok(keys.clone());
        }
        let set: Value = json(self.http.get(self.reachable(&metadata.jwks_uri)?)).await?;
        let all = set["keys"].as_array().ok_or(LoginError::Provider("its keys cannot be read"))?;
        // A key of a kind that we do not know must not hide the others.
        let keys: Vec<Jwk> =
            all.iter().take(KEYS_MAX).filter_map(|key| serde_json::from_value(key.clone()).ok()).collect();
        known.keys = Some((keys.clone(), Instant::now()));
        Ok(keys)
    }

    /// An address that this server may connect to.
    fn reachable(&self, address: &str) -> Result<Url, LoginError> {
        let url = self.checked(address)?;
        let issuer = self.checked(&self.settings.issuer)?;
        let known = url.host_str() == issuer.host_str()
            || self.settings.hosts.iter().any(|host| Some(host.as_str()) == url.host_str());
        if known { Ok(url) } else { Err(LoginError::Provider("it points to a host that is not configured")) }
    }

    /// An address that may be used at all: HTTPS, unless the issuer itself is not.
    fn checked(&self, address: &str) -> Result<Url, LoginError> {
        let url = Url::parse(address).map_err(|_| LoginError::Provider("it gives an address that cannot be read"))?;
        let plain = self.settings.issuer.starts_with("http://") && url.scheme() == "http";
        if (url.scheme() == "https" || plain) && url.has_host() {
            Ok(url)
        } else {
            Err(LoginError::Provider("it gives an address that is not HTTPS"))
        }
    }
}

async fn json<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, LoginError> {
    let (_, body) = answer(request.header(header::ACCEPT, "application/json")).await?;
    serde_json::from_slice(&body).map_err(|_| LoginError::Provider("its answer cannot be read"))
}

/// Media type and body of an answer with status 200.
async fn answer(request: RequestBuilder) -> Result<(String, Vec<u8>), LoginError> {
    let mut response = request.send().await.map_err(|_| LoginError::Provider("it does not answer"))?;
    let status = response.status();
    if matches!(status.as_u16(), 400 | 401 | 403) {
        return Err(LoginError::Refused("the provider refused the code, or this client"));
    }
    if status != reqwest::StatusCode::OK {
        return Err(LoginError::Provider("it answers with an error"));
    }
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|_| LoginError::Provider("its answer broke off"))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(LoginError::Provider("its answer is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((kind, body))
}

/// `application/x-www-form-urlencoded`, of one value.
fn form_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => char::from(byte).to_string(),
            b' ' => "+".to_owned(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Where the provider sends the browser back to; registered there.
pub const CALLBACK_PATH: &str = "/v1/login/callback";
/// Metadata and keys are asked for again after this: a withdrawn key is believed no longer than that.
const KEPT: Duration = Duration::from_secs(3_600);
/// A token signed by an unknown key makes them be asked for again, unless they are younger than this: invented keys must not make
/// us ask without end.
const KEYS_FRESH: Duration = Duration::from_secs(30);
/// Providers publish two to five.
const KEYS_MAX: usize = 64;
/// The longest real answer, metadata of a large provider, is some 10 KB.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Of one answer. A login needs four of them at most, within the time that a request may take.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_encoded_before_it_is_joined() {
        assert_eq!(form_encoded("a b:c/é%-._*"), "a+b%3Ac%2F%C3%A9%25-._*");
    }
}
