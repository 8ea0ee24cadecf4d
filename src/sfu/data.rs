//! Data-channel messages between seats: a small checked envelope around an opaque body.
//!
//! ```text
//! in:  {"kind": "chat", "id"?: "m-7", "to"?: "SEAT", "body": …}
//! out: {"from": "SEAT", "kind": "chat", "id"?: "m-7", "body": …}
//! ```
//! The sender is stamped from the seat, never read from the payload. The body passes byte for byte and is not looked at (it
//! may be encrypted). Nothing is stored. What pages put into bodies: signaling/PROTOCOL.md. Not here: SCTP (`transport`), who
//! gets what (`packets`). Invariant: nothing that a seat sends closes its channel; a message passes or is dropped and counted.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::drops::DropReason;

/// What a message is, and so which right it takes and which bounds hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A line of text.
    Chat,
    /// A file: its offer, a piece, its end.
    File,
    /// Where somebody points on what is shown.
    Pointer,
    /// Vital signs.
    Vitals,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [Kind::Chat, Kind::File, Kind::Pointer, Kind::Vitals];

    fn from_name(name: &str) -> Option<Kind> {
        match name {
            "chat" => Some(Kind::Chat),
            "file" => Some(Kind::File),
            "pointer" => Some(Kind::Pointer),
            "vitals" => Some(Kind::Vitals),
            _ => None,
        }
    }

    /// What holds for one seat's messages of this kind.
    #[must_use]
    pub const fn bounds(self) -> &'static Bounds {
        match self {
            Kind::Chat => &CHAT,
            Kind::File => &FILE,
            Kind::Pointer => &POINTER,
            Kind::Vitals => &VITALS,
        }
    }
}

/// Limits of a kind. Rates are of what passes, for all legs of a seat together.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bounds {
    /// Longest message, envelope included, in bytes.
    pub len_max: usize,
    /// Messages a second, in the long run.
    pub messages_per_second: f64,
    /// Messages at once, after a pause.
    pub messages_burst: f64,
    /// Bytes a second, in the long run.
    pub bytes_per_second: f64,
    /// Bytes at once, after a pause.
    pub bytes_burst: f64,
    /// With more bytes than this on their way to a receiver, it does not get the message: on a thin line a pointer is old
    /// before it is there, and a file must leave room for what people write meanwhile.
    pub backlog_max: usize,
}

/// What a page sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Incoming<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    to: Option<Cow<'a, str>>,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// What the others get.
#[derive(Serialize)]
struct Outgoing<'a> {
    from: &'a str,
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    body: &'a RawValue,
}

/// A message in the form above, within the size of its kind.
#[derive(Debug)]
pub struct Message<'a> {
    /// What it is.
    pub kind: Kind,
    /// Only for the seat of this stamp; `None` for everyone else in the room.
    pub to: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    body: &'a RawValue,
}

impl<'a> Message<'a> {
    /// Reads what came on a data channel.
    ///
    /// # Errors
    /// Why it is dropped: too long, not this form, or of a kind that nobody knows.
    pub fn read(text: bool, payload: &'a [u8]) -> Result<Self, DropReason> {
        if payload.len() > LEN_MAX {
            return Err(DropReason::DataTooLong);
        }
        if !text || nests_too_deeply(payload) {
            return Err(DropReason::DataRefused);
        }
        let Incoming { kind, id, to, body } = serde_json::from_slice(payload).map_err(|_| DropReason::DataRefused)?;
        let kind = Kind::from_name(&kind).ok_or(DropReason::DataKindUnknown)?;
        if payload.len() > kind.bounds().len_max {
            return Err(DropReason::DataTooLong);
        }
        if !id.as_deref().is_none_or(is_name) || !to.as_deref().is_none_or(is_name) {
            return Err(DropReason::DataRefused);
        }
        Ok(Self { kind, to, id, body })
    }

    /// The message as the others get it, JSON text.
    #[must_use]
    pub fn stamped(&self, from: &str) -> Vec<u8> {
        let outgoing = Outgoing { from, kind: self.kind, id: self.id.as_deref(), body: self.body };
        serde_json::to_vec(&outgoing).expect("strings and checked JSON are written to memory")
    }
}

/// A token bucket over messages and bytes for each kind, of one seat: a seat with two legs sends no more than with one.
#[derive(Debug)]
pub struct DataBudget([Bucket; Kind::ALL.len()]);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    messages: f64,
    bytes: f64,
    refilled_at: Instant,
}

impl DataBudget {
    /// A full budget.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self(Kind::ALL.map(|kind| {
            let Bounds { messages_burst, bytes_burst, .. } = *kind.bounds();
            Bucket { messages: messages_burst, bytes: bytes_burst, refilled_at: now }
        }))
    }

    /// Takes a message of `len` bytes from the budget of its kind; false when that is spent.
    pub fn take(&mut self, now: Instant, kind: Kind, len: usize) -> bool {
        let (bucket, bounds) = (&mut self.0[kind as usize], kind.bounds());
        let span = now.saturating_duration_since(bucket.refilled_at).min(Duration::from_secs(60)).as_secs_f64();
        bucket.refilled_at = now;
        bucket.messages = (bucket.messages + span * bounds.messages_per_second).min(bounds.messages_burst);
        bucket.bytes = (bucket.bytes + span * bounds.bytes_per_second).min(bounds.bytes_burst);
        if bucket.messages < 1.0 || bucket.bytes < len as f64 {
            return false;
        }
        bucket.messages -= 1.0;
        bucket.bytes -= len as f64;
        true
    }
}

/// Identifiers of messages and seats.
fn is_name(name: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// Whether brackets outside of strings go deeper than a receiver's parser should be asked to follow.
fn nests_too_deeply(payload: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in payload {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

/// People write a line every few seconds; a pasted letter of two pages fits, encrypted and in base64 too.
const CHAT: Bounds = Bounds {
    len_max: 8 * 1024,
    messages_per_second: 2.0,
    messages_burst: 20.0,
    bytes_per_second: 4.0 * 1024.0,
    bytes_burst: 32.0 * 1024.0,
    backlog_max: 256 * 1024,
};

/// Pieces of 16 KiB: a longer one would hold up the pointer behind it, as SCTP does not interleave messages. 512 kbit/s: a
/// photograph of 3 MB takes a minute; more would take the voice's share of a thin line, on which a camera is paused first and
/// a file is not. The burst is what a sender's line holds back while it loses packets for two seconds.
const FILE: Bounds = Bounds {
    len_max: 16 * 1024,
    messages_per_second: 16.0,
    messages_burst: 32.0,
    bytes_per_second: 64.0 * 1024.0,
    bytes_burst: 128.0 * 1024.0,
    backlog_max: 128 * 1024,
};

/// A pointer moves 30 times a second; the burst is what one second of lost packets holds back.
const POINTER: Bounds = Bounds {
    len_max: 1024,
    messages_per_second: 40.0,
    messages_burst: 60.0,
    bytes_per_second: 16.0 * 1024.0,
    bytes_burst: 32.0 * 1024.0,
    backlog_max: 8 * 1024,
};

/// A device tells once a second; one with several sensors may tell them apart.
const VITALS: Bounds = Bounds {
    len_max: 2 * 1024,
    messages_per_second: 4.0,
    messages_burst: 20.0,
    bytes_per_second: 4.0 * 1024.0,
    bytes_burst: 16.0 * 1024.0,
    backlog_max: 64 * 1024,
};

/// The longest message of any kind, looked at before a message is read.
const LEN_MAX: usize = FILE.len_max;
/// Seats' identifiers are shorter, and a UUID fits.
const NAME_LEN_MAX: usize = 64;
/// Our bodies nest three deep. Parsers of other people's clients end somewhere above a hundred.
const DEPTH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: bool, payload: &[u8]) -> Option<DropReason> {
        Message::read(text, payload).err()
    }

    fn passed(payload: &str) -> String {
        let message = Message::read(true, payload.as_bytes()).unwrap_or_else(|reason| panic!("{payload}: {reason:?}"));
        String::from_utf8(message.stamped("seat_a")).unwrap()
    }

    #[test]
    fn the_sender_is_stamped_and_cannot_be_claimed() {
        assert_eq!(
            passed(r#"{"kind":"chat","body":{"text":"bonjour"}}"#),
            r#"{"from":"seat_a","kind":"chat","body":{"text":"bonjour"}}"#
        );
        assert_eq!(refusal(true, br#"{"from":"seat_b","kind":"chat","body":1}"#), Some(DropReason::DataRefused));
    }

    #[test]
    fn a_message_may_name_its_receiver_and_itself() {
        let payload = br#"{"kind":"pointer","id":"m-7","to":"b","body":[0.5,0.5]}"#;
        let message = Message::read(true, payload).expect("a good envelope");
        assert_eq!(message.to.as_deref(), Some("b"));
        assert_eq!(message.stamped("a"), br#"{"from":"a","kind":"pointer","id":"m-7","body":[0.5,0.5]}"#);
    }

    #[test]
    fn a_body_passes_byte_for_byte() {
        let long = "x".repeat(6000);
        for body in [
            "1.0e2",
            r#""sealed:\u00e9==""#,
            r#"{"b":1,"a":12345678901234567890,"b":2}"#,
            "null",
            &format!("\"{long}\""),
        ] {
            let sent = format!(r#"{{"body":{body},"kind":"chat"}}"#);
            assert_eq!(passed(&sent), format!(r#"{{"from":"seat_a","kind":"chat","body":{body}}}"#));
        }
    }

    /// The examples of signaling/PROTOCOL.md, as pages send them and as they are relayed.
    #[test]
    fn the_documented_messages_pass() {
        let read = |name: &str| {
            let path = format!("{}/signaling/fixtures/data-{name}.json", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_to_string(path).unwrap().trim_end().to_owned()
        };
        for name in ["chat", "file-offer", "file-piece", "file-end", "file-again", "pointer", "vitals"] {
            passed(&read(&format!("sent-{name}")));
        }
        for (name, seat) in [("chat", "s-4rk9"), ("file-again", "s-07xa")] {
            let sent = read(&format!("sent-{name}"));
            let message = Message::read(true, sent.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(message.stamped(seat)).unwrap(), read(&format!("relayed-{name}")));
        }
    }

    /// The table of signaling/PROTOCOL.md says what holds.
    #[test]
    fn the_documented_bounds_are_the_real_ones() {
        let page = include_str!("../../signaling/PROTOCOL.md");
        let kib = |bytes: f64| format!("{} KiB", bytes / 1024.0);
        for kind in Kind::ALL {
            let name = serde_json::to_value(kind).unwrap();
            let Bounds { messages_per_second, messages_burst, .. } = *kind.bounds();
            let row = format!(
                "| `{}` | {} | {messages_per_second}, {messages_burst} | {}, {} |",
                name.as_str().unwrap(),
                kib(kind.bounds().len_max as f64),
                kib(kind.bounds().bytes_per_second),
                kib(kind.bounds().bytes_burst),
            );
            assert!(page.contains(&row), "{row}");
        }
    }

    #[test]
    fn every_kind_has_a_name_and_no_other_word_is_one() {
        for kind in Kind::ALL {
            let name = serde_json::to_value(kind).unwrap();
            assert_eq!(Kind::from_name(name.as_str().unwrap()), Some(kind));
        }
        for other in ["", "Chat", "files", "CHAT", "key", "chat "] {
            let sent = format!(r#"{{"kind":"{other}","body":1}}"#);
            assert_eq!(refusal(true, sent.as_bytes()), Some(DropReason::DataKindUnknown), "{other}");
        }
    }

    #[test]
    fn refuses_what_is_not_the_envelope() {
        for bad in [
            &b""[..],
            b"null",
            b"{}",
            b"[]",
            br#"{"kind":"chat"}"#,
            br#"{"kind":1,"body":1}"#,
            br#"{"kind":"chat","body":1,"kind":"file"}"#,
            br#"{"kind":"chat","body":1,"to":""}"#,
            br#"{"kind":"chat","body":1,"to":7}"#,
            br#"{"kind":"chat","body":1,"id":"a b"}"#,
            br#"{"kind":"chat","body":1} "more""#,
            br#"{"kind":"chat","body":{"a":}}"#,
            b"{\"kind\":\"chat\",\"body\":\"\xff\xfe\"}",
            b"\xff\xfe",
        ] {
            assert_eq!(refusal(true, bad), Some(DropReason::DataRefused), "{:?}", String::from_utf8_lossy(bad));
        }
        assert_eq!(refusal(false, br#"{"kind":"chat","body":1}"#), Some(DropReason::DataRefused), "binary");
        let named = |len| format!(r#"{{"kind":"chat","body":1,"id":"{}"}}"#, "a".repeat(len));
        assert_eq!(refusal(true, named(NAME_LEN_MAX).as_bytes()), None);
        assert_eq!(refusal(true, named(NAME_LEN_MAX + 1).as_bytes()), Some(DropReason::DataRefused));
    }

    #[test]
    fn a_body_nests_only_so_deep_and_brackets_in_text_do_not_count() {
        let nested = |depth: usize| format!(r#"{{"kind":"chat","body":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert_eq!(refusal(true, nested(DEPTH_MAX - 1).as_bytes()), None);
        for depth in [DEPTH_MAX, 3000] {
            assert_eq!(refusal(true, nested(depth).as_bytes()), Some(DropReason::DataRefused), "{depth}");
        }
        let quoted = format!(r#"{{"kind":"chat","body":"\"{}\\"}}"#, "[".repeat(500));
        assert_eq!(refusal(true, quoted.as_bytes()), None);
    }

    #[test]
    fn every_kind_has_its_own_longest_message() {
        for kind in Kind::ALL {
            let name = serde_json::to_value(kind).unwrap();
            let envelope = format!(r#"{{"kind":{name},"body":""}}"#).len();
            let of_len = |len: usize| format!(r#"{{"kind":{name},"body":"{}"}}"#, "x".repeat(len - envelope));
            let max = kind.bounds().len_max;
            assert!(max <= LEN_MAX);
            assert_eq!(refusal(true, of_len(max).as_bytes()), None, "{kind:?}");
            assert_eq!(refusal(true, of_len(max + 1).as_bytes()), Some(DropReason::DataTooLong), "{kind:?}");
        }
        assert_eq!(refusal(true, &[b'x'; LEN_MAX + 1]), Some(DropReason::DataTooLong), "before it is read");
    }

    #[test]
    fn a_kind_that_is_spent_leaves_the_others_theirs_and_refills_with_time() {
        let start = Instant::now();
        for kind in Kind::ALL {
            let mut budget = DataBudget::new(start);
            let taken = (0..1000).filter(|_| budget.take(start, kind, 10)).count();
            assert_eq!(taken, kind.bounds().messages_burst as usize, "{kind:?}");
            for other in Kind::ALL {
                assert_eq!(budget.take(start, other, 10), other != kind);
            }
            let wait = Duration::from_secs_f64(1.01 / kind.bounds().messages_per_second);
            assert!(budget.take(start + wait, kind, 10), "{kind:?}");
            assert!(!budget.take(start + wait, kind, 10), "{kind:?}");
        }
    }

    #[test]
    fn what_passes_in_a_minute_is_the_rate_and_one_burst() {
        let start = Instant::now();
        for kind in Kind::ALL {
            let bounds = kind.bounds();
            let mut budget = DataBudget::new(start);
            let mut passed = 0_usize;
            for tick in 0..60_000 {
                let now = start + Duration::from_millis(tick);
                passed += if budget.take(now, kind, bounds.len_max) { bounds.len_max } else { 0 };
            }
            assert!(passed as f64 <= bounds.bytes_burst + 60.0 * bounds.bytes_per_second, "{kind:?}: {passed}");
            assert!(passed > 10 * bounds.len_max, "{kind:?}: {passed}");
        }
    }
}
