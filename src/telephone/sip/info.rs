//! Keys that come by INFO, in the two kinds of content that telephones use for them.
//!
//! Not here: what a key does. Any other INFO without content is answered and forgotten.

use rsipstack::transaction::transaction::Transaction;

use super::endpoint::reply;
use super::fields;

/// Answers an INFO; the key in it.
pub(super) fn answer(request: Transaction) -> Option<char> {
    let kind = fields::one(&request.original.headers, "Content-Type").unwrap_or_default().to_ascii_lowercase();
    let body = &request.original.body;
    let (status, digit) = match kind.split(';').next().unwrap_or_default().trim() {
        "application/dtmf-relay" | "application/dtmf" => (200, digit(body)),
        _ if body.is_empty() => (200, None),
        _ => (415, None),
    };
    let accept = ["Accept: application/dtmf-relay, application/dtmf"];
    reply(request, status, if status == 415 { &accept } else { &[] });
    digit
}

/// `Signal=5` in `application/dtmf-relay`, the bare key in `application/dtmf`; 10 and 11 are star and hash.
fn digit(body: &[u8]) -> Option<char> {
    let text = std::str::from_utf8(body).ok()?;
    let signal = text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
    });
    match signal.unwrap_or(text.trim()) {
        "10" => Some('*'),
        "11" => Some('#'),
        key => match key.as_bytes() {
            [c @ (b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D')] => Some(char::from(*c)),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_both_kinds_of_info() {
        for (body, key) in [
            ("Signal=5\r\nDuration=160\r\n", Some('5')),
            ("Signal= *\r\nDuration= 160", Some('*')),
            ("signal=11", Some('#')),
            ("10", Some('*')),
            ("7\r\n", Some('7')),
            ("D", Some('D')),
            ("Signal=55", None),
            ("Duration=160", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(digit(body.as_bytes()), key, "{body}");
        }
    }
}
