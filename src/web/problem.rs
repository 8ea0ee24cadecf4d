//! RFC 9457 problem documents: the only form in which the HTTP side refuses anything.
//!
//! Each `type` is a stable URN. Details are English, for developers, and never repeat what the request said.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::control::booking::{BookingError, HandOverRefusal};
use crate::control::clinics::ClinicError;
use crate::control::endpoint::EndpointError;
use crate::control::join::JoinError;
use crate::control::login::LoginError;
use crate::control::offer::OfferRefusal;
use crate::control::phone::calling::CallError;

/// A refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    status: StatusCode,
    name: &'static str,
    title: &'static str,
    detail: Option<String>,
}

/// The document as it is sent.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ProblemDocument {
    /// Stable name, `urn:colloque:problem:…`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every problem of this type.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What about this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Problem {
    /// A problem of the type `urn:colloque:problem:NAME`.
    #[must_use]
    pub fn new(status: StatusCode, name: &'static str, title: &'static str) -> Self {
        Self { status, name, title, detail: None }
    }

    /// With what is particular about this one.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// Nothing is there.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here")
    }

    /// The request cannot be read.
    #[must_use]
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request cannot be read").detail(detail)
    }

    /// No or a wrong credential, whichever.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "A valid bearer credential is required")
    }

    fn store() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", "The store does not answer")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = ProblemDocument {
            kind: format!("urn:colloque:problem:{}", self.name),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
        };
        let mut response = (self.status, Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

impl From<BookingError> for Problem {
    fn from(error: BookingError) -> Self {
        match error {
            BookingError::Act => Problem::bad_request(error.to_string()),
            BookingError::Invalid(why) => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request asks for something impossible")
                    .detail(why)
            }
            BookingError::Impossible(why) => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The request asks for something impossible")
                    .detail(why)
            }
            BookingError::HandOver(HandOverRefusal::NoSuchSeat) | BookingError::NotFound => Problem::not_found(),
            BookingError::HandOver(refusal) => Problem::new(
                StatusCode::CONFLICT,
                "hand-over-refused",
                "The consultation cannot be handed over like this",
            )
            .detail(refusal.to_string()),
            BookingError::OpenedElsewhere => {
                Problem::new(StatusCode::CONFLICT, "opened-elsewhere", "Somebody else than was seen would be admitted")
                    .detail(error.to_string())
            }
            BookingError::Over => Problem::from(JoinError::Over),
            BookingError::Store(error) => {
                tracing::error!(%error, "the store does not answer");
                Problem::store()
            }
        }
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Booking(error) => Problem::from(error),
            CallError::Refused(cause) => {
                let word = serde_json::to_value(cause).ok().and_then(|word| Some(word.as_str()?.to_owned()));
                Problem::new(StatusCode::CONFLICT, "call-refused", "The telephone is not called")
                    .detail(word.unwrap_or_default())
            }
        }
    }
}

impl From<ClinicError> for Problem {
    fn from(error: ClinicError) -> Self {
        match error {
            ClinicError::ApiKey => Problem::unauthorized(),
            ClinicError::Scope(_) => {
                Problem::new(StatusCode::FORBIDDEN, "scope", "The API key may not do this").detail(error.to_string())
            }
            ClinicError::Invalid(why) => Problem::from(BookingError::Invalid(why)),
            ClinicError::NotFound => Problem::not_found(),
            ClinicError::Store(error) => Problem::from(JoinError::Store(error)),
        }
    }
}

impl From<LoginError> for Problem {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Join(error) => Problem::from(error),
            LoginError::Absent => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "login-absent", "This server has no login")
            }
            LoginError::NotForSeat => {
                Problem::new(StatusCode::FORBIDDEN, "login-not-for-seat", "This seat has no login")
            }
            LoginError::Busy => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "login-busy", "Too many logins at once"),
            LoginError::Provider(_) => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "login-unavailable", "The login provider cannot be used")
            }
            LoginError::Refused(_) => Problem::new(StatusCode::FORBIDDEN, "login-refused", "The login was refused"),
            LoginError::OtherPerson => Problem::new(
                StatusCode::FORBIDDEN,
                "login-other-person",
                "The login is of another professional than the booking names",
            ),
        }
    }
}

impl From<JoinError> for Problem {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Token | JoinError::Moved => Problem::unauthorized(),
            JoinError::Removed => {
                Problem::new(StatusCode::FORBIDDEN, "seat-removed", "This seat was removed from the consultation")
            }
            JoinError::Over => Problem::new(StatusCode::GONE, "consultation-over", "The consultation is over"),
            JoinError::NotAdmitted => {
                Problem::new(StatusCode::FORBIDDEN, "not-admitted", "The seat is not admitted yet")
            }
            JoinError::Declined => {
                Problem::new(StatusCode::FORBIDDEN, "seat-declined", "The person of this seat declined")
            }
            JoinError::Locked => Problem::new(StatusCode::FORBIDDEN, "room-locked", "The room is locked"),
            JoinError::GatesPending => {
                Problem::new(StatusCode::FORBIDDEN, "gates-pending", "The seat has questions to answer first")
            }
            JoinError::LoginRequired => {
                Problem::new(StatusCode::FORBIDDEN, "login-required", "The seat's professional has to log in first")
            }
            JoinError::TooOften => {
                Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-often", "The link is opened too often")
            }
            JoinError::Draining => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "The server takes no new rooms")
            }
            JoinError::Full => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "full", "The server is full"),
            JoinError::Store(error) => {
                tracing::error!(%error, "the store does not answer");
                Problem::store()
            }
        }
    }
}

impl From<EndpointError> for Problem {
    fn from(error: EndpointError) -> Self {
        let detail = error.to_string();
        match error {
            EndpointError::Join(error) => Problem::from(error),
            EndpointError::Offer(OfferRefusal::Busy(_)) => Problem::from(JoinError::Full),
            EndpointError::Offer(_) => {
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad-offer", "The offer cannot be answered")
                    .detail(detail)
            }
            EndpointError::NotFound => Problem::not_found(),
            EndpointError::TooMany => {
                Problem::new(StatusCode::CONFLICT, "too-many-connections", "The seat has too many connections")
            }
            EndpointError::Fragment => Problem::bad_request(detail),
            EndpointError::MatchRequired => {
                Problem::new(StatusCode::PRECONDITION_REQUIRED, "if-match-required", "If-Match is required")
            }
            EndpointError::MatchFailed => Problem::new(
                StatusCode::PRECONDITION_FAILED,
                "ice-session-changed",
                "The ICE session is not the current one",
            ),
        }
    }
}
