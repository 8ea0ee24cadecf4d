//! Headers that every response carries, cross-origin access for embedding portals, the time limit of a request.
//!
//! The policy allows this server's own scripts, styles and media and nothing from elsewhere. Which portals may frame
//! the pages or load the element is configuration.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::control::feed;

use super::problem::Problem;

/// The headers, made once.
#[derive(Clone)]
pub struct SecurityHeaders {
    content_policy: HeaderValue,
    embed_origins: Arc<[String]>,
    strict_transport: bool,
}

impl SecurityHeaders {
    /// `embed_origins` were checked by the configuration. `strict_transport` only where HTTPS is meant to stay.
    #[must_use]
    pub fn new(embed_origins: &[String], strict_transport: bool) -> Self {
        let ancestors = if embed_origins.is_empty() { "'none'".to_owned() } else { embed_origins.join(" ") };
        let policy = format!("{CONTENT_POLICY}; frame-ancestors {ancestors}");
        Self {
            content_policy: HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static(CONTENT_POLICY)),
            embed_origins: embed_origins.into(),
            strict_transport,
        }
    }

    fn add(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONTENT_SECURITY_POLICY, self.content_policy.clone());
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(HeaderName::from_static("permissions-policy"), HeaderValue::from_static(PERMISSIONS));
        if self.strict_transport {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        }
    }

    /// The origin, when it is one of the configured portals and the path is for pages.
    fn portal<'a>(&self, path: &str, origin: Option<&'a HeaderValue>) -> Option<&'a HeaderValue> {
        let for_clinics = path.starts_with("/v1/") && path != "/v1/join";
        let for_operators = path.starts_with("/admin") || path == "/metrics";
        if for_clinics || for_operators {
            return None;
        }
        origin.filter(|origin| self.embed_origins.iter().any(|known| known.as_bytes() == origin.as_bytes()))
    }
}

/// Adds the headers, and answers portals' preflight requests.
pub async fn add_headers(State(security): State<SecurityHeaders>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let portal = security.portal(request.uri().path(), origin.as_ref()).cloned();
    let is_preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && portal.is_some();
    let mut response = if is_preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    security.add(headers);
    if let Some(portal) = portal {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, portal);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("location, etag, accept-patch"));
        if is_preflight {
            let methods = HeaderValue::from_static("GET, POST, PATCH, DELETE");
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
            let allowed = HeaderValue::from_static("authorization, content-type, if-match");
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
    }
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    response
}

/// Ends a request that takes too long: a body that trickles in, a store that hangs.
pub async fn limit_time(request: Request, next: Next) -> Response {
    let more = match request.uri().path() {
        FEED => feed::WAIT_MAX,
        TEST_CALL => TEST_CALL_MAX,
        _ => Duration::ZERO,
    };
    let time_max = REQUEST_TIME_MAX + more;
    match tokio::time::timeout(time_max, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "The request took too long").into_response(),
    }
}

/// `blob:` and `data:` hold what the page itself made: a preview, a still.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
     media-src 'self' blob: mediastream:; font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; \
     base-uri 'none'; form-action 'none'";
const PERMISSIONS: &str = "camera=(self), microphone=(self), display-capture=(self), fullscreen=(self), \
     autoplay=(self), geolocation=(), payment=(), usb=()";
/// Waits until its telephone call is over.
pub(super) const TEST_CALL: &str = "/admin/telephone/self-test";
/// The longest ringing that can be configured, and some seconds of listening.
const TEST_CALL_MAX: Duration = Duration::from_secs(140);
/// May wait for an event.
const FEED: &str = "/v1/events";
/// Every request is small and answered from memory or a local file; longer only holds connections.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(20);
