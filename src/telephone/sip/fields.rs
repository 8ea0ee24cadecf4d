//! Reading and writing what SIP messages consist of: header values, addresses with parameters, requests from their parts.
//!
//! Not here: what they mean. Everything read here came from outside and is bounded by the size of a message.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rsipstack::dialog::DialogId;
use rsipstack::sip::prelude::HeadersExt;
use rsipstack::sip::{Header, Headers, Request, SipMessage};
use rsipstack::transaction::key::{TransactionKey, TransactionRole};

use crate::config::telephone::SipTransport;

/// A message that may go on: it parses, has all that a transaction is named by, and contradicts itself nowhere.
///
/// A fault of the parser costs this message and nothing else: the same calls run again behind here, outside of our reach.
pub(super) fn checked(bytes: &[u8]) -> Option<SipMessage> {
    catch_unwind(AssertUnwindSafe(|| check(bytes))).ok().flatten()
}

/// For the fuzz target: whether these bytes would go on to the transactions. All that is read of a message behind that is read here
/// too, without the catch: a panic is to be found, not survived.
#[must_use]
pub fn looks_like_sip(bytes: &[u8]) -> bool {
    let Some(message) = quick_look(bytes).then(|| check(bytes)).flatten() else {
        if let Some(told) = super::malformed::refusal(bytes) {
            assert!(told.len() <= bytes.len() + 512, "an answer that grows");
        }
        return false;
    };
    let SipMessage::Request(request) = &message else {
        if let SipMessage::Response(response) = &message {
            for name in ["WWW-Authenticate", "Proxy-Authenticate"] {
                let _ = super::digest::Challenge::best(all(&response.headers, name).into_iter());
            }
        }
        return true;
    };
    let _ = (super::inspection::inspect(request), super::inspection::description(request));
    let state = super::state::DialogState::from_request(request, "tag", "sip:a@192.0.2.1".to_owned());
    if let Some(state) = state {
        let _ = state.next_hop();
        let _ = state.request("BYE", "192.0.2.1", SipTransport::Udp, &[], None).map(|request| request.to_bytes());
    }
    let session = one(&request.headers, "Session-Expires").and_then(super::session_timer::Said::parse);
    let _ = super::session_timer::SessionTimer::answer(
        session,
        true,
        std::time::Duration::from_secs(1_800),
        super::session_timer::MIN_SE,
        std::time::Instant::now(),
    );
    for name in ["From", "To", "Contact", "P-Asserted-Identity"] {
        for address in all(&request.headers, name).into_iter().flat_map(split_list).filter_map(Address::parse) {
            let _ = (address.user(), socket_of(&address.uri), address.param("tag"));
        }
    }
    true
}

/// Cheap: the first line ends or begins as SIP's does. Most junk goes no further.
pub(super) fn quick_look(bytes: &[u8]) -> bool {
    let Some(end) = bytes.iter().take(FIRST_LINE_MAX).position(|c| *c == b'\n') else { return false };
    let line = bytes[..end].trim_ascii_end();
    let request = line.ends_with(b" SIP/2.0") && line[0].is_ascii_uppercase();
    request || line.starts_with(b"SIP/2.0 ")
}

fn check(bytes: &[u8]) -> Option<SipMessage> {
    let message = SipMessage::try_from(bytes).ok()?;
    let headers = match &message {
        SipMessage::Request(request) => &request.headers,
        SipMessage::Response(response) => &response.headers,
    };
    let name_max = |name: &str| all(headers, name).len() == 1;
    if !["From", "To", "Call-ID", "CSeq"].into_iter().all(name_max) || headers.len() > HEADERS_MAX {
        return None;
    }
    // A body shorter than it says, or a length that is no number.
    if let Some(length) = one(headers, "Content-Length") {
        let body = match &message {
            SipMessage::Request(request) => request.body.len(),
            SipMessage::Response(response) => response.body.len(),
        };
        if length.parse() != Ok(body) {
            return None;
        }
    }
    message.via_header().ok()?;
    // The parser takes a request line with brackets for an address with a name.
    if matches!(message, SipMessage::Request(_)) && bytes.split(|c| *c == b'\n').next()?.contains(&b'<') {
        return None;
    }
    match &message {
        SipMessage::Request(request) => {
            TransactionKey::from_request(request, TransactionRole::Server).ok()?;
            DialogId::try_from((request, TransactionRole::Server)).ok()?;
            let cseq = request.cseq_header().ok()?;
            (cseq.method().ok()? == request.method && cseq.seq().ok()? < 1 << 31).then_some(())?;
        }
        SipMessage::Response(response) => {
            TransactionKey::from_response(response, TransactionRole::Client).ok()?;
            response.to_header().ok()?.tag().ok()?;
        }
    }
    Some(message)
}

/// All values of a header, in their order, by its long name; the compact forms that the parser does not know are known here.
pub(super) fn all<'a>(headers: &'a Headers, name: &str) -> Vec<&'a str> {
    let compact = COMPACT.iter().find(|(long, _)| *long == name).map_or("", |(_, compact)| compact);
    let fits =
        |header: &&Header| header.name().eq_ignore_ascii_case(name) || header.name().eq_ignore_ascii_case(compact);
    headers.iter().filter(fits).map(|header| header.value().trim()).collect()
}

/// The first value of a header.
pub(super) fn one<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    all(headers, name).into_iter().next()
}

/// Whether a list of tokens has this one.
pub(super) fn has_token(headers: &Headers, name: &str, token: &str) -> bool {
    tokens(headers, name).iter().any(|other| other.eq_ignore_ascii_case(token))
}

/// All tokens of a header that is a list.
pub(super) fn tokens<'a>(headers: &'a Headers, name: &str) -> Vec<&'a str> {
    let values = all(headers, name);
    values.into_iter().flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty()).collect()
}

/// `"Name" <sip:user@host;x>;tag=y`, or without brackets.
#[derive(Clone, Debug, Default)]
pub(super) struct Address {
    /// Without brackets.
    pub(super) uri: String,
    params: Vec<(String, String)>,
}

impl Address {
    /// Reads the first address of a header's value.
    pub(super) fn parse(value: &str) -> Option<Address> {
        let value = split_list(value).into_iter().next()?;
        let (uri, rest) = match unquoted(value, '<') {
            Some(open) => {
                let close = open + value[open..].find('>')?;
                (&value[open + 1..close], &value[close + 1..])
            }
            // Without brackets, parameters belong to the header (RFC 3261 section 20.10).
            None => value.split_once(';').map_or((value, ""), |(uri, rest)| (uri, rest)),
        };
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned())
        };
        let params = rest.split(';').filter(|part| !part.trim().is_empty()).map(pair).collect();
        Some(Address { uri: uri.trim().to_owned(), params })
    }

    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn user(&self) -> Option<String> {
        user_of(&self.uri)
    }
}

/// The user part of a `sip:` address or the number of a `tel:` one, without parameters, `%2B` and the like decoded.
pub(super) fn user_of(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once(':')?;
    let user = match scheme.to_ascii_lowercase().as_str() {
        "sip" | "sips" => rest.split_once('@')?.0,
        "tel" => rest,
        _ => return None,
    };
    let user = user.split([';', ':']).next().unwrap_or_default();
    let mut plain = Vec::new();
    let mut bytes = user.bytes();
    while let Some(byte) = bytes.next() {
        let decoded = if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
        } else {
            byte
        };
        plain.push(decoded);
    }
    String::from_utf8(plain).ok().filter(|user| !user.is_empty())
}

/// Host and port of a `sip:` address, when the host is an address itself.
pub(super) fn socket_of(uri: &str) -> Option<SocketAddr> {
    let (_, rest) = uri.split_once(':')?;
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split([';', '?', '>']).next()?;
    let (host, port) = match host.strip_prefix('[') {
        Some(inside) => inside.split_once(']').map(|(host, port)| (host, port.strip_prefix(':')))?,
        None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
    };
    let ip: IpAddr = host.parse().ok()?;
    Some(SocketAddr::new(ip, port.map_or(Ok(5_060), str::parse).ok()?))
}

/// Splits at commas that stand neither in quotes nor in brackets.
pub(super) fn split_list(value: &str) -> Vec<&str> {
    let (mut parts, mut from, mut quoted, mut bracket, mut escaped) = (Vec::new(), 0, false, false, false);
    for (at, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => bracket = true,
            '>' if !quoted => bracket = false,
            ',' if !quoted && !bracket => {
                parts.push(value[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(value[from..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

fn unquoted(value: &str, wanted: char) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == wanted && !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// A request from its parts.
pub(super) struct Draft<'a> {
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    pub(super) via: &'a Via,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) call_id: &'a str,
    pub(super) cseq: u32,
    pub(super) routes: &'a [String],
    /// Whole lines without their end.
    pub(super) extra: &'a [String],
    /// SDP.
    pub(super) body: Option<&'a str>,
}

/// What a `Via` says of us.
#[derive(Clone, Debug)]
pub(super) struct Via {
    pub(super) transport: SipTransport,
    /// `host:port`
    pub(super) sent_by: String,
    pub(super) branch: String,
}

impl Draft<'_> {
    /// None when a part that came from outside makes no request.
    pub(super) fn build(&self) -> Option<Request> {
        let mut text = String::new();
        let transport = match self.via.transport {
            SipTransport::Udp => "UDP",
            SipTransport::Tcp => "TCP",
            SipTransport::Tls => "TLS",
        };
        let Draft { method, uri, from, to, call_id, cseq, .. } = self;
        let Via { sent_by, branch, .. } = self.via;
        let _ = write!(text, "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{transport} {sent_by};branch={branch};rport\r\n");
        for route in self.routes {
            let _ = write!(text, "Route: {route}\r\n");
        }
        let _ = write!(
            text,
            "Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n"
        );
        for line in self.extra {
            let _ = write!(text, "{line}\r\n");
        }
        let body = self.body.unwrap_or_default();
        if !body.is_empty() {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        let _ = write!(text, "User-Agent: Colloque\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        Request::try_from(text.as_bytes()).ok()
    }
}

/// A random text for tags, branches and Call-IDs: 96 bits (RFC 3261 section 19.3 wants 32).
pub(super) fn random_text() -> String {
    let bytes: [u8; 12] = rand::random();
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A `Via` branch (RFC 3261 section 8.1.1.7).
pub(super) fn random_branch() -> String {
    format!("z9hG4bK{}", random_text())
}

const COMPACT: [(&str, &str); 3] = [("Session-Expires", "x"), ("Supported", "k"), ("Content-Length", "l")];
/// A request line with a long address; real ones have under 300.
const FIRST_LINE_MAX: usize = 2_048;
/// Real ones have under 40.
const HEADERS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_their_parameters() {
        for (value, uri, tag, user) in [
            (
                "<sip:+33612345678@a.example;user=phone>;tag=x",
                "sip:+33612345678@a.example;user=phone",
                Some("x"),
                Some("+33612345678"),
            ),
            ("\"Dr. \\\"A\\\" <x>, B\" <sip:%2B33@a.example>", "sip:%2B33@a.example", None, Some("+33")),
            ("sip:a@b.example;tag=y", "sip:a@b.example", Some("y"), Some("a")),
            ("<tel:+33-612;phone-context=x>", "tel:+33-612;phone-context=x", None, Some("+33-612")),
            ("<sip:b.example>", "sip:b.example", None, None),
        ] {
            let address = Address::parse(value).unwrap();
            assert_eq!((address.uri.as_str(), address.param("tag"), address.user().as_deref()), (uri, tag, user));
        }
        assert!(Address::parse("<sip:a").is_none() && Address::parse("").is_none());
    }

    #[test]
    fn hosts_that_are_addresses_are_found() {
        for (uri, socket) in [
            ("sip:a@192.0.2.1:5070;lr", Some("192.0.2.1:5070")),
            ("sip:192.0.2.1", Some("192.0.2.1:5060")),
            ("sip:[2001:db8::1]:5070;transport=tcp", Some("[2001:db8::1]:5070")),
            ("sip:a@host.example", None),
            ("sip:a@192.0.2.1:x", None),
        ] {
            assert_eq!(socket_of(uri), socket.map(|text| text.parse().unwrap()), "{uri}");
        }
    }

    #[test]
    fn lists_are_split_at_their_own_commas() {
        assert_eq!(split_list("<sip:a,b@c>;x, \"q,r\" <sip:d>,,e"), ["<sip:a,b@c>;x", "\"q,r\" <sip:d>", "e"]);
    }

    const OPTIONS: &str = "OPTIONS sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKx\r\n\
                           f: <sip:b@192.0.2.2>;tag=1\r\nt: <sip:a@192.0.2.1>\r\ni: x\r\nCSeq: 1 OPTIONS\r\nl: 0\r\n\r\n";

    #[test]
    fn only_whole_messages_go_on() {
        assert!(looks_like_sip(OPTIONS.as_bytes()));
        for (from, to) in [
            ("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"),
            ("CSeq: 1 OPTIONS", "CSeq: 4294967296 OPTIONS"),
            ("CSeq: 1 OPTIONS\r\n", ""),
            ("l: 0", "l: 1"),
            ("l: 0", "l: -1"),
            (";tag=1", ""),
            ("i: x\r\n", ""),
            ("i: x\r\n", "i: x\r\ni: y\r\n"),
            ("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"),
            ("OPTIONS sip", "options sip"),
            ("sip:a@192.0.2.1 SIP", "<sip:a@192.0.2.1> SIP"),
        ] {
            assert!(!looks_like_sip(OPTIONS.replacen(from, to, 1).as_bytes()), "{from} -> {to}");
        }
        for junk in [&b""[..], b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", &[0; 3_000], b"SIP/2.0 "] {
            assert!(!looks_like_sip(junk));
        }
    }

    #[test]
    fn a_drafted_request_reads_back() {
        let via = Via { transport: SipTransport::Tcp, sent_by: "192.0.2.1:5060".into(), branch: random_branch() };
        let draft = Draft {
            method: "INVITE",
            uri: "sip:+33612345678@b.example",
            via: &via,
            from: "<sip:a@b.example>;tag=1",
            to: "<sip:c@d.example>",
            call_id: "x",
            cseq: 7,
            routes: &["<sip:p.example;lr>".into()],
            extra: &["Supported: timer, 100rel".into()],
            body: Some("v=0\r\n"),
        };
        let request = draft.build().unwrap();
        assert!(has_token(&request.headers, "Supported", "100REL"));
        assert_eq!(one(&request.headers, "Route"), Some("<sip:p.example;lr>"));
        assert_eq!(request.body, b"v=0\r\n");
        assert!(checked(&request.to_bytes()).is_some());
        assert!(Draft { uri: "sip:", ..draft }.build().is_none());
    }
}
