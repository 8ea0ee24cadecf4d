//! What a request outside of calls must be before anybody thinks about it (RFC 3261 sections 8.2.2 and 8.2.3): addressed in a way that
//! we know, in need of no extension that we lack, and content with a description as its answer.
//!
//! Not here: methods (`endpoint`), who may call whom (`inbound`). Pure.

use rsipstack::sip::{Method, Request};

use crate::telephone::sdp::Remote;

use super::fields;

/// Why a request is refused: a status, and a header line that says more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct No {
    pub(super) status: u16,
    pub(super) line: Option<String>,
}

impl No {
    pub(super) fn with(status: u16, line: String) -> No {
        No { status, line: Some(line) }
    }
}

impl From<u16> for No {
    fn from(status: u16) -> No {
        No { status, line: None }
    }
}

/// Looks at a request that opens something.
pub(super) fn inspect(request: &Request) -> Result<(), No> {
    let scheme = request.uri.scheme.as_ref().map(|scheme| scheme.to_string().to_ascii_lowercase());
    if !scheme.is_some_and(|scheme| matches!(scheme.trim_end_matches(':'), "sip" | "sips" | "tel")) {
        return Err(No::from(416));
    }
    if let Some(line) = unsupported(request) {
        return Err(No::with(420, line));
    }
    let described = |kind: &str| ["application/sdp", "application/*", "*/*"].contains(&kind);
    let wants = fields::all(&request.headers, "Accept");
    let kinds = fields::tokens(&request.headers, "Accept");
    let kinds = kinds.iter().map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    // Without the header a description is meant (RFC 3261 section 20.1).
    if request.method == Method::Invite && !wants.is_empty() && !kinds.into_iter().any(|kind| described(&kind)) {
        return Err(No::from(406));
    }
    Ok(())
}

/// The line that names what is required of us and unknown here.
pub(super) fn unsupported(request: &Request) -> Option<String> {
    let unknown: Vec<&str> =
        fields::tokens(&request.headers, "Require").into_iter().filter(|token| !is_known(token)).collect();
    (!unknown.is_empty()).then(|| format!("Unsupported: {}", unknown.join(", ")))
}

fn is_known(option: &str) -> bool {
    ["timer", "100rel"].iter().any(|known| option.eq_ignore_ascii_case(known))
}

/// The body: an offer, none, or what is wrong with it.
pub(super) fn description(request: &Request) -> Result<Option<Remote>, No> {
    if request.body.is_empty() {
        return Ok(None);
    }
    if fields::one(&request.headers, "Content-Encoding").is_some() {
        return Err(No::with(415, "Accept-Encoding: identity".to_owned()));
    }
    let accept = || "Accept: application/sdp".to_owned();
    let kind = fields::one(&request.headers, "Content-Type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/sdp") {
        return Err(No::with(415, accept()));
    }
    Remote::read(&request.body).map(Some).map_err(|_| No::with(488, accept()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, uri: &str, lines: &str, body: &str) -> Request {
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKx\r\nFrom: <sip:b@192.0.2.2>;tag=1\r\n\
             To: <sip:a@192.0.2.1>\r\nCall-ID: x\r\nCSeq: 1 {method}\r\n{lines}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Request::try_from(text.as_bytes()).unwrap()
    }

    fn status(method: &str, uri: &str, lines: &str) -> u16 {
        inspect(&request(method, uri, lines, "")).map_or_else(|no| no.status, |()| 200)
    }

    #[test]
    fn only_telephones_addresses_are_known() {
        for (uri, expected) in [
            ("sip:a@192.0.2.1", 200),
            ("sips:a@192.0.2.1", 200),
            ("tel:+33123456789", 200),
            ("nobodyKnowsThisScheme:totallyopaquecontent", 416),
            ("soap.beep://192.0.2.103:3002", 416),
        ] {
            assert_eq!(status("OPTIONS", uri, ""), expected, "{uri}");
        }
    }

    #[test]
    fn extensions_that_we_lack_are_named() {
        assert_eq!(status("INVITE", "sip:a", "Require: timer\r\nRequire: 100REL\r\n"), 200);
        assert_eq!(status("OPTIONS", "sip:a", "Proxy-Require: foo\r\n"), 200, "for proxies alone");
        let unknown = inspect(&request("INVITE", "sip:a", "Require: timer, foo\r\nRequire: bar\r\n", ""));
        assert_eq!(unknown, Err(No::with(420, "Unsupported: foo, bar".to_owned())));
    }

    #[test]
    fn a_call_must_take_a_description_for_its_answer() {
        for (lines, expected) in [
            ("", 200),
            ("Accept: application/sdp\r\n", 200),
            ("Accept: text/plain, application/SDP;level=1\r\n", 200),
            ("Accept: text/plain\r\nAccept: */*;q=0.1\r\n", 200),
            ("Accept: application/*\r\n", 200),
            ("Accept: text/nobodyKnowsThis\r\n", 406),
            ("Accept:\r\n", 406),
        ] {
            assert_eq!(status("INVITE", "sip:a", lines), expected, "{lines}");
        }
        assert_eq!(status("OPTIONS", "sip:a", "Accept: text/plain\r\n"), 200);
    }

    #[test]
    fn a_body_that_is_no_description_says_what_is_wrong() {
        let status = |lines: &str, body: &str| {
            description(&request("INVITE", "sip:a", lines, body)).map_or_else(|no| no.status, |_| 200)
        };
        let sdp = "v=0\r\nc=IN IP4 192.0.2.2\r\nm=audio 4000 RTP/AVP 8\r\n";
        assert_eq!(status("", ""), 200);
        assert_eq!(status("Content-Type: Application/SDP; x=y\r\n", sdp), 200);
        assert_eq!(status("c: application/sdp\r\n", sdp), 200);
        assert_eq!(status("Content-Type: application/sdp\r\n", "v=1"), 488);
        assert_eq!(status("Content-Type: text/plain\r\n", sdp), 415);
        assert_eq!(status("", sdp), 415);
        assert_eq!(status("Content-Type: application/sdp\r\nContent-Encoding: gzip\r\n", sdp), 415);
        assert_eq!(status("Content-Type: application/sdp\r\ne: gzip\r\n", sdp), 415);
    }
}
