//! Invitations by SMS: one request to the operator's HTTP gateway, filled in from templates.
//!
//! What is filled in is escaped for the form of the body, so that a text cannot add a field. Success is a status of 200 to 299.
//! Not here: when to send and when to give up.

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method};

use crate::config::outbound::{SmsContent, SmsMethod, SmsOut};
use crate::control::outgoing::{self, Authorities, OutgoingError};
use crate::pii::Pii;

use super::Sent;

/// A gateway that takes SMS.
pub(super) struct Texter {
    client: Client,
    gateway: SmsOut,
}

impl Texter {
    /// Connects only when there is something to send.
    pub(super) fn new(gateway: &SmsOut, authorities: &Authorities) -> Result<Self, OutgoingError> {
        Ok(Self { client: outgoing::http_client(authorities)?.build()?, gateway: gateway.clone() })
    }

    /// Sends one SMS.
    pub(super) async fn send(&self, id: &str, to: &Pii<String>, text: &str) -> Sent {
        let Some(number) = number(&to.0) else { return Sent::Never("address") };
        let SmsOut { url, method, content, body, headers } = &self.gateway;
        let method = match method {
            SmsMethod::Post => Method::POST,
            SmsMethod::Put => Method::PUT,
        };
        let kind = match content {
            SmsContent::Json => "application/json",
            SmsContent::Form => "application/x-www-form-urlencoded",
        };
        let mut request = self.client.request(method, url.0.clone()).header(CONTENT_TYPE, kind);
        for (name, value) in headers {
            // Our identifiers fit any header; the rest was checked with the configuration.
            let Ok(mut value) = HeaderValue::try_from(value.0.replace("{id}", id)) else {
                return Sent::Later("headers");
            };
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        match request.body(fill(body, *content, &number, text, id)).send().await {
            Ok(response) => match outgoing::finish(response).await.as_u16() {
                200..=299 => Sent::Done,
                // Of this number or text. What is left is about us (401, 403, 404) or the moment.
                400 | 413 | 422 => Sent::Never("refused"),
                _ => Sent::Later("refused"),
            },
            Err(error) => Sent::Later(outgoing::cause_of(&error)),
        }
    }
}

/// The template with its placeholders replaced in one pass: what is filled in is never looked at again.
fn fill(template: &str, content: SmsContent, to: &str, text: &str, id: &str) -> String {
    let mut out = String::with_capacity(template.len() + text.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let placeholders = [("{to}", to), ("{text}", text), ("{id}", id)];
        match placeholders.into_iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, value)) => {
                out.push_str(&escaped(value, content));
                rest = &rest[name.len()..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn escaped(value: &str, content: SmsContent) -> String {
    match content {
        SmsContent::Json => {
            let quoted = serde_json::to_string(value).expect("a text is JSON");
            quoted[1..quoted.len() - 1].to_owned()
        }
        SmsContent::Form => {
            let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'*');
            value.bytes().map(|c| if plain(c) { char::from(c).to_string() } else { format!("%{c:02X}") }).collect()
        }
    }
}

/// Reads a number that an SMS can be sent to: digits, with a plus in front when it is international.
pub(super) fn number(text: &str) -> Option<String> {
    let bare: String = text.chars().filter(|c| !matches!(c, ' ' | '.' | '-' | '(' | ')' | '/' | '\u{a0}')).collect();
    let digits = bare.strip_prefix('+').unwrap_or(&bare);
    let fits = digits.bytes().all(|c| c.is_ascii_digit()) && (DIGITS_MIN..=DIGITS_MAX).contains(&digits.len());
    fits.then_some(bare)
}

/// Short codes of test gateways.
const DIGITS_MIN: usize = 3;
/// E.164.
const DIGITS_MAX: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_adds_no_field() {
        let template = r#"{"to": "{to}", "m": {"text": "{text}"}, "id": "{id}", "x": "{other}"}"#;
        let evil = "a\", \"to\": \"+33\" {to} \\ \u{1} é\n";
        let filled = fill(template, SmsContent::Json, "+33612345678", evil, "m1");
        let json: serde_json::Value = serde_json::from_str(&filled).unwrap();
        assert_eq!(json["m"]["text"], evil);
        assert_eq!((&json["to"], &json["id"], &json["x"]), (&"+33612345678".into(), &"m1".into(), &"{other}".into()));
        let filled = fill("to={to}&text={text}", SmsContent::Form, "+336", "a&to=b c é{id}", "m1");
        assert_eq!(filled, "to=%2B336&text=a%26to%3Db%20c%20%C3%A9%7Bid%7D");
    }

    #[test]
    fn numbers_are_digits_once_their_punctuation_is_gone() {
        for (written, read) in [
            ("+33 6 12 34 56 78", "+33612345678"),
            ("06.12.34.56.78", "0612345678"),
            ("+1 (212) 555-0100", "+12125550100"),
        ] {
            assert_eq!(number(written).as_deref(), Some(read));
        }
        for bad in ["", "+", "12", "sip:a@b.example", "06123456781234567", "0612\r\nX: y", "٠٦١٢", "06 12 34 +5"] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }
}
