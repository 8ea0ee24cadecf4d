//! One delivery: an event posted to a webhook's URL, signed, and what became of it.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode};

use crate::control::feed::Event;
use crate::control::{clock, outgoing};
use crate::store::Webhook;

use super::signature::Secrets;
use super::target::Targets;

/// Posts events.
pub(super) struct Sender {
    pub(super) client: Client,
    pub(super) targets: Targets,
}

/// What became of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// 2xx.
    Delivered(u16),
    /// 410: the receiver wants no more.
    Gone,
    /// Any other answer.
    Refused(u16),
    /// No answer: `timeout`, `unreachable` (refused connections and addresses, names not found, bad certificates), `broken`.
    Unanswered(&'static str),
    /// The operator's list no longer has the host, or the stored webhook cannot be read.
    Forbidden,
}

impl Outcome {
    /// Stable label for metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Outcome::Delivered(_) => "delivered",
            Outcome::Gone => "gone",
            Outcome::Refused(_) => "refused",
            Outcome::Unanswered(cause) => cause,
            Outcome::Forbidden => "forbidden",
        }
    }

    /// HTTP status, when there was an answer.
    #[must_use]
    pub fn status(self) -> Option<u16> {
        match self {
            Outcome::Delivered(status) | Outcome::Refused(status) => Some(status),
            Outcome::Gone => Some(StatusCode::GONE.as_u16()),
            Outcome::Unanswered(_) | Outcome::Forbidden => None,
        }
    }
}

impl Sender {
    /// Tries once.
    pub(super) async fn post(&self, webhook: &Webhook, event: &Event) -> Outcome {
        let (Ok(url), Some(secrets)) = (self.targets.check(&webhook.url.0), Secrets::from_stored(&webhook.secret))
        else {
            return Outcome::Forbidden;
        };
        let body = serde_json::to_vec(event).expect("events are plain data");
        let now = clock::unix_now();
        let request = self
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", secrets.sign(&event.id, now, &body))
            .body(body);
        match request.send().await {
            Ok(response) => match outgoing::finish(response).await {
                status if status.is_success() => Outcome::Delivered(status.as_u16()),
                StatusCode::GONE => Outcome::Gone,
                status => Outcome::Refused(status.as_u16()),
            },
            Err(error) => Outcome::Unanswered(outgoing::cause_of(&error)),
        }
    }
}
