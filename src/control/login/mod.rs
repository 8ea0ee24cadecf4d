//! Professionals log in with the OpenID provider of the operator's choice: authorization code with PKCE, state and nonce.
//!
//! ```text
//!   page --session--> begin --URL--> page --> provider --code, state--> callback page --session, code, state--> finish
//!                       \-- pending: state, nonce, verifier -------------------------------------------------/    \--> store, room
//! ```
//!
//! The answer is brought back by the page that began, with its session, and by nobody else: there is no cookie, and the address
//! that the provider redirects to does nothing by itself. So whoever is lured to another's login, or brings the answer of their
//! own login into another's page, changes nothing. Not here: that media stays closed until then (`gates`).

mod id_token;
mod pending;
mod provider;

#[cfg(test)]
mod tests;

use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::acts::{is_professional, role_from_name};
use crate::config::LoginConfig;
use crate::pii::Pii;
use crate::store::{Change, Committed, ConsultationRecord, Login, SeatRecord, StoreError, Transaction};

use super::facts::Fact;
use super::join::JoinError;
use super::outgoing::{Authorities, OutgoingError};
use super::{Consultations, clock, random};

use id_token::Claims;
use pending::{Begun, PendingLogins};
use provider::Provider;

pub use provider::CALLBACK_PATH;

/// The login of this server, when it has one.
pub(super) struct Logins {
    provider: Provider,
    pending: PendingLogins,
}

/// What the provider's redirect brought, as the page repeats it.
#[derive(Clone, Copy, Debug)]
pub struct LoginAnswer<'a> {
    /// To be exchanged.
    pub code: &'a str,
    /// Which login it answers.
    pub state: &'a str,
    /// Who answers (RFC 9207), where the provider says so.
    pub issuer: Option<&'a str>,
}

/// Why a login did not come about.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The session, or its seat's state.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// This server has no provider.
    #[error("this server has no login")]
    Absent,
    /// A patient's seat, or another without a login.
    #[error("this seat has no login")]
    NotForSeat,
    /// Too many at the same time.
    #[error("too many logins are under way")]
    Busy,
    /// The provider does not do what it should.
    #[error("the provider cannot be used: {0}")]
    Provider(&'static str),
    /// The answer is not believed. The rule is for the operator's log alone.
    #[error("the login is refused: {0}")]
    Refused(&'static str),
    /// Somebody else than the booking names.
    #[error("the login is of another professional than the booking names")]
    OtherPerson,
}

impl From<StoreError> for LoginError {
    fn from(error: StoreError) -> Self {
        LoginError::Join(JoinError::Store(error))
    }
}

impl LoginError {
    /// Stable label for metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            LoginError::Join(error) => error.label(),
            LoginError::Absent => "absent",
            LoginError::NotForSeat => "not-for-seat",
            LoginError::Busy => "busy",
            LoginError::Provider(_) => "provider",
            LoginError::Refused(_) => "refused",
            LoginError::OtherPerson => "other-person",
        }
    }
}

impl Logins {
    pub(super) fn new(config: LoginConfig, authorities: &Authorities, base_url: &str) -> Result<Self, OutgoingError> {
        Ok(Self { provider: Provider::new(config, authorities, base_url)?, pending: PendingLogins::default() })
    }
}

/// Whether the provider can be reached and used, for `colloque check`.
pub async fn try_provider(config: LoginConfig, authorities: &Authorities) -> Result<(), LoginError> {
    let provider =
        Provider::new(config, authorities, "").map_err(|_| LoginError::Provider("no connection can be made"))?;
    provider.metadata().await.map(drop)
}

impl Consultations {
    /// Where the professional of this session logs in.
    pub async fn begin_login(&self, session: &str) -> Result<String, LoginError> {
        let begun = self.begin_login_inner(session).await;
        self.metrics.count_login(begun.as_ref().map_or_else(LoginError::label, |_| "begun"));
        begun
    }

    /// Takes the provider's answer, from the page that began.
    pub async fn finish_login(&self, session: &str, answer: LoginAnswer<'_>) -> Result<(), LoginError> {
        let finished = self.finish_login_inner(session, answer).await;
        self.metrics.count_login(finished.as_ref().map_or_else(LoginError::label, |()| "ok"));
        match &finished {
            Err(LoginError::Provider(why)) => tracing::warn!(why, "the login provider cannot be used"),
            Err(LoginError::Refused(why)) => tracing::info!(why, "a login was refused"),
            _ => {}
        }
        finished
    }

    async fn begin_login_inner(&self, session: &str) -> Result<String, LoginError> {
        let (_, seat, serial) = self.visitor_of_session(session).await?;
        let logins = self.logins_for(&seat)?;
        let (state, nonce, verifier) = (random::text::<32>(), random::text::<32>(), random::text::<32>());
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        let url = logins.provider.authorization_url(&state, &nonce, &challenge).await?;
        let begun = Begun { serial, state, nonce, verifier, since: Instant::now() };
        logins.pending.begin(&seat.id, begun).map_err(|_| LoginError::Busy)?;
        Ok(url)
    }

    async fn finish_login_inner(&self, session: &str, answer: LoginAnswer<'_>) -> Result<(), LoginError> {
        let (consultation, seat, serial) = self.visitor_of_session(session).await?;
        let logins = self.logins_for(&seat)?;
        let provider = &logins.provider;
        let begun = logins.pending.take(Instant::now(), &seat.id, serial, answer.state);
        let begun = begun.ok_or(LoginError::Refused("nobody began this login, or it was finished"))?;
        let named = match answer.issuer {
            Some(issuer) => issuer == provider.settings.issuer,
            None => !provider.metadata().await?.authorization_response_iss_parameter_supported,
        };
        if !named {
            return Err(LoginError::Refused("the answer is another issuer's"));
        }
        let claims = provider.claims(answer.code, &begun.verifier, &begun.nonce).await?;
        let login = login_of(&claims, &provider.settings)?;
        check_person(&seat, &login)?;
        self.store_login(&consultation, &seat, login).await
    }

    fn logins_for(&self, seat: &SeatRecord) -> Result<&Logins, LoginError> {
        if !role_from_name(&seat.role).is_some_and(is_professional) {
            return Err(LoginError::NotForSeat);
        }
        self.logins.as_ref().ok_or(LoginError::Absent)
    }

    async fn store_login(
        &self,
        consultation: &ConsultationRecord,
        seat: &SeatRecord,
        login: Login,
    ) -> Result<(), LoginError> {
        let fact = Fact::LoggedIn { level: login.level.clone() };
        let entry = self.journal.entry(Some(&consultation.clinic), Some(&consultation.id), Some(&seat.id), &fact);
        let change = Change::SetLogin { seat: seat.id.clone(), login };
        match self.journal.commit(Transaction { changes: vec![change], entries: vec![entry] }).await? {
            Committed::NotApplicable => return Err(JoinError::Token.into()),
            Committed::Done => {}
        }
        if let Some(room) = self.live_room(&consultation.id) {
            room.lock().log_in(&seat.id);
        }
        Ok(())
    }
}

/// What the claims say that matters here; nothing else of them is kept.
fn login_of(claims: &Claims, settings: &LoginConfig) -> Result<Login, LoginError> {
    let level = claims.get(&settings.level_claim).and_then(Value::as_str).unwrap_or_default();
    if !settings.acr_values.is_empty() && !settings.acr_values.iter().any(|wanted| wanted == level) {
        return Err(LoginError::Refused("the assurance level is none of those that are asked for"));
    }
    let rpps = claims.get(&settings.rpps_claim).and_then(Value::as_str).and_then(rpps_of);
    Ok(Login { rpps: rpps.map(Pii), level: level_word(level), at: clock::unix_now() })
}

/// When the booking says which professional it is, it must be that one.
fn check_person(seat: &SeatRecord, login: &Login) -> Result<(), LoginError> {
    let card = seat.card.as_ref().and_then(|card| serde_json::from_str::<Value>(&card.0).ok()).unwrap_or_default();
    match (card["rpps"].as_str(), &login.rpps) {
        (None, _) => Ok(()),
        (Some(booked), Some(proved)) if rpps_of(booked).as_ref() == Some(&proved.0) => Ok(()),
        _ => Err(LoginError::OtherPerson),
    }
}

/// The eleven digits of an RPPS number; Pro Santé Connect writes the kind of identifier before it, 8 for RPPS (ANS, `SubjectNameID`).
fn rpps_of(text: &str) -> Option<String> {
    let digits = if text.len() == RPPS_LEN + 1 { text.strip_prefix('8')? } else { text };
    (digits.len() == RPPS_LEN && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.to_owned())
}

/// The level as it may stand in the journal, which takes words and no free text.
fn level_word(level: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-._:/".contains(c);
    if (1..=LEVEL_LEN_MAX).contains(&level.len()) && level.chars().all(is_word) {
        level.to_owned()
    } else {
        "unknown".to_owned()
    }
}

const RPPS_LEN: usize = 11;
/// `eidas1`, or a URN of an identity federation.
const LEVEL_LEN_MAX: usize = 100;
