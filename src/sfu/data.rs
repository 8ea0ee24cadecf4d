//! Data-channel messages between seats: a small checked envelope around an opaque body.
//!
//! A page sends `{"kind": "chat", "body": …}`, optionally with `"to": "SEAT"`; every other seat that may receive gets
//! `{"from": "SEAT", "kind": "chat", "body": …}`. The sender is stamped from the seat, never read from the payload;
//! the body is not looked at (it may be encrypted). Nothing is stored. Not here: SCTP (`transport`).

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a page sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Incoming {
    kind: String,
    #[serde(default)]
    to: Option<String>,
    body: Value,
}

/// What the others get.
#[derive(Serialize)]
struct Outgoing<'a> {
    from: &'a str,
    kind: &'a str,
    body: &'a Value,
}

/// A message that may be relayed.
#[derive(Debug, PartialEq, Eq)]
pub struct Relay {
    /// Only for this seat's stamp; `None` for everyone else in the room.
    pub to: Option<String>,
    /// The stamped envelope, JSON text.
    pub text: Vec<u8>,
}

/// Checks an envelope and stamps its sender. `None` when it is not a text message in the form above, or too long.
#[must_use]
pub fn stamp(from: &str, text: bool, payload: &[u8]) -> Option<Relay> {
    if !text || payload.len() > MESSAGE_LEN_MAX {
        return None;
    }
    let incoming: Incoming = serde_json::from_slice(payload).ok()?;
    let kind_is_name = !incoming.kind.is_empty()
        && incoming.kind.len() <= KIND_LEN_MAX
        && incoming.kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if !kind_is_name {
        return None;
    }
    let outgoing = Outgoing { from, kind: &incoming.kind, body: &incoming.body };
    Some(Relay { to: incoming.to, text: serde_json::to_vec(&outgoing).ok()? })
}

/// A token bucket over messages and bytes of one leg.
#[derive(Debug)]
pub struct DataBudget {
    messages: f64,
    bytes: f64,
    refilled_at: Instant,
}

impl DataBudget {
    /// A full budget.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { messages: MESSAGES_BURST, bytes: BYTES_BURST, refilled_at: now }
    }

    /// Takes a message of `len` bytes from the budget; false when it is spent.
    pub fn take(&mut self, now: Instant, len: usize) -> bool {
        let span = now.saturating_duration_since(self.refilled_at).min(Duration::from_secs(60)).as_secs_f64();
        self.refilled_at = now;
        self.messages = (self.messages + span * MESSAGES_PER_SECOND).min(MESSAGES_BURST);
        self.bytes = (self.bytes + span * BYTES_PER_SECOND).min(BYTES_BURST);
        if self.messages < 1.0 || self.bytes < len as f64 {
            return false;
        }
        self.messages -= 1.0;
        self.bytes -= len as f64;
        true
    }
}

/// Longest message. A longer one would hold up the pointer behind it; files travel in pieces.
const MESSAGE_LEN_MAX: usize = 16 * 1024;
/// Longest kind; it is a word.
const KIND_LEN_MAX: usize = 32;
/// A pointer moves 30 times a second; more is a bug or an attack.
const MESSAGES_PER_SECOND: f64 = 60.0;
const MESSAGES_BURST: f64 = 120.0;
/// Bounds what one seat can make the server send to each of the others.
const BYTES_PER_SECOND: f64 = 64.0 * 1024.0;
const BYTES_BURST: f64 = 256.0 * 1024.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_is_stamped_and_cannot_be_claimed() {
        let relay = stamp("seat_a", true, br#"{"kind":"chat","body":{"text":"bonjour"}}"#).expect("good envelope");
        assert_eq!(relay.text, br#"{"from":"seat_a","kind":"chat","body":{"text":"bonjour"}}"#);
        assert_eq!(stamp("seat_a", true, br#"{"from":"seat_b","kind":"chat","body":1}"#), None);
    }

    #[test]
    fn a_message_may_name_its_receiver() {
        let relay = stamp("a", true, br#"{"kind":"pointer","to":"b","body":[0.5,0.5]}"#).expect("good envelope");
        assert_eq!(relay.to.as_deref(), Some("b"));
    }

    #[test]
    fn refuses_what_is_not_the_envelope() {
        for bad in [
            &b""[..],
            b"null",
            b"{}",
            br#"{"kind":"","body":1}"#,
            br#"{"kind":"Chat!","body":1}"#,
            br#"{"kind":"chat"}"#,
            b"\xff\xfe",
        ] {
            assert_eq!(stamp("a", true, bad), None, "{bad:?}");
        }
        assert_eq!(stamp("a", false, br#"{"kind":"chat","body":1}"#), None, "binary");
        let long = format!(r#"{{"kind":"chat","body":"{}"}}"#, "x".repeat(MESSAGE_LEN_MAX));
        assert_eq!(stamp("a", true, long.as_bytes()), None);
        let deep = format!(r#"{{"kind":"chat","body":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
        assert_eq!(stamp("a", true, deep.as_bytes()), None);
    }

    #[test]
    fn the_budget_refills_with_time() {
        let start = Instant::now();
        let mut budget = DataBudget::new(start);
        let taken = (0..1000).filter(|_| budget.take(start, 10)).count();
        assert_eq!(taken, MESSAGES_BURST as usize);
        assert!(budget.take(start + Duration::from_millis(100), 10));
        let mut bytes = DataBudget::new(start);
        let taken = (0..100).filter(|_| bytes.take(start, MESSAGE_LEN_MAX)).count();
        assert_eq!(taken, 16);
    }
}
