//! What is said to a request that cannot be read: 400, 501 or 505, made of the lines that can be found in it (RFC 3261 section 8.2.6).
//!
//! Not here: who is told and how often (`screen`), what counts as unreadable (`fields`). Pure; knows lines alone, for the parser has
//! given up before. Invariant: an answer holds a few hundred bytes more than what was sent at most, and goes where that came from.

use std::fmt::Write;

/// The answer to a request that the parser refused. None: it is no request, an ACK, or it names no transaction that could be answered.
pub(super) fn refusal(message: &[u8]) -> Option<Vec<u8>> {
    let end = message.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(message.len());
    let head = std::str::from_utf8(&message[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let (status, phrase) = verdict(lines.next()?)?;
    let mut kept = Kept::default();
    let mut last: Option<&mut String> = None;
    for line in lines {
        match line.strip_prefix([' ', '\t']) {
            // Folded (RFC 3261 section 7.3.1).
            Some(rest) => {
                if let Some(value) = &mut last {
                    let _ = write!(value, " {}", rest.trim());
                }
            }
            None => last = line.split_once(':').and_then(|(name, value)| kept.take(name.trim(), value.trim())),
        }
    }
    kept.answer(status, phrase)
}

/// What is wrong, as far as the first line says so.
fn verdict(line: &str) -> Option<(u16, &'static str)> {
    let mut words = line.split_ascii_whitespace();
    let (method, version) = (words.next()?, words.next_back()?);
    let is_sip = version.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("SIP/"));
    let is_request = is_sip && !method.contains('/');
    if !is_request || method == "ACK" {
        return None;
    }
    Some(match (version.eq_ignore_ascii_case("SIP/2.0"), METHODS.contains(&method)) {
        (false, _) => (505, "Version Not Supported"),
        (true, false) => (501, "Not Implemented"),
        (true, true) => (400, "Bad Request"),
    })
}

/// The lines that an answer repeats.
#[derive(Default)]
struct Kept {
    vias: Vec<String>,
    from: Option<String>,
    to: Option<String>,
    call_id: Option<String>,
    cseq: Option<String>,
}

impl Kept {
    /// Keeps a line that an answer repeats; of those that may stand once, the first.
    fn take(&mut self, name: &str, value: &str) -> Option<&mut String> {
        let value = || value.replace(char::is_control, " ");
        let place = match name.to_ascii_lowercase().as_str() {
            "via" | "v" if self.vias.len() < VIAS_MAX => {
                self.vias.push(value());
                return self.vias.last_mut();
            }
            "from" | "f" => &mut self.from,
            "to" | "t" => &mut self.to,
            "call-id" | "i" => &mut self.call_id,
            "cseq" => &mut self.cseq,
            _ => return None,
        };
        if place.is_some() {
            return None;
        }
        Some(place.insert(value()))
    }

    fn answer(self, status: u16, phrase: &str) -> Option<Vec<u8>> {
        let (Kept { vias, from, to, call_id, .. }, cseq) = (&self, self.cseq.as_ref()?);
        if vias.is_empty() {
            return None;
        }
        let mut text = format!("SIP/2.0 {status} {phrase}\r\n");
        for via in vias {
            let _ = write!(text, "Via: {via}\r\n");
        }
        // The tag of an answer without state is the same for each repetition (RFC 3261 section 8.2.7).
        let tag = |to: &String| if to.contains("tag=") { to.clone() } else { format!("{to};tag=unread") };
        let others = [("From", from.clone()), ("To", to.as_ref().map(tag)), ("Call-ID", call_id.clone())];
        for (name, value) in others {
            if let Some(value) = value {
                let _ = write!(text, "{name}: {value}\r\n");
            }
        }
        let _ = write!(text, "CSeq: {cseq}\r\nContent-Length: 0\r\n\r\n");
        Some(text.into_bytes())
    }
}

/// Of SIP and its extensions (the registry of IANA): what the parser knows.
const METHODS: [&str; 14] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "REGISTER",
    "PRACK",
    "SUBSCRIBE",
    "NOTIFY",
    "PUBLISH",
    "INFO",
    "REFER",
    "MESSAGE",
    "UPDATE",
];
/// Proxies on the way.
const VIAS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v: SIP/2.0/UDP a.example;\r\n\tbranch=z9hG4bKx\r\nVIA : SIP/2.0/TCP b.example\r\n\
                        f: \"A\" <sip:a@a.example>;tag=1\r\nTo: <sip:b@b.example>\r\ni: x\r\nCSeq: 7 INVITE\r\nl: 9\r\n";

    fn told(line: &str, head: &str) -> Option<String> {
        refusal(format!("{line}\r\n{head}\r\nbody").as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn an_unreadable_request_is_answered_with_its_own_lines() {
        let text = told("INVITE sip:b@b.example SIP/2.0", HEAD).unwrap();
        assert_eq!(
            text,
            "SIP/2.0 400 Bad Request\r\nVia: SIP/2.0/UDP a.example; branch=z9hG4bKx\r\nVia: SIP/2.0/TCP b.example\r\n\
             From: \"A\" <sip:a@a.example>;tag=1\r\nTo: <sip:b@b.example>;tag=unread\r\nCall-ID: x\r\nCSeq: 7 INVITE\r\n\
             Content-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn the_first_line_says_which_status_and_what_is_no_request_hears_nothing() {
        for (line, status) in [
            ("INVITE sip:b@b.example SIP/2.0", Some("400")),
            ("INVITE  sip:b@b.example; lr  SIP/2.0 ", Some("400")),
            ("OPTIONS sip:b@b.example SIP/7.0", Some("505")),
            ("NEWMETHOD sip:b@b.example SIP/2.0", Some("501")),
            ("!odd*method' sip:b@b.example SIP/2.0", Some("501")),
            ("ACK sip:b@b.example SIP/2.0", None),
            ("SIP/2.0 200 OK", None),
            ("SIP/2.0 9999 SIP/2.0", None),
            ("GET / HTTP/1.1", None),
            ("SIP/2.0", None),
            ("é", None),
            ("INVITE é SIP", None),
            // A character that stands across the fourth byte once made this panic.
            ("INVITE sip:b SIP\u{4bf}.0", None),
            ("INVITE sip:b SIP/", Some("505")),
            ("", None),
        ] {
            let told = told(line, HEAD);
            assert_eq!(told.as_deref().and_then(|text| text.split(' ').nth(1)), status, "{line}");
        }
    }

    #[test]
    fn what_names_no_transaction_is_not_answered_and_nothing_is_repeated_twice() {
        assert!(told("INVITE sip:b SIP/2.0", &HEAD.replace("CSeq", "Seq")).is_none());
        assert!(told("INVITE sip:b SIP/2.0", &HEAD.replace("v:", "w:").replace("VIA", "WIA")).is_none());
        let double = format!("{HEAD}Call-ID: y\r\n z\r\nTo: <sip:c>;tag=9\r\n");
        let text = told("INVITE sip:b SIP/2.0", &double).unwrap();
        assert!(!text.contains('y') && !text.contains("sip:c") && !text.contains(" z"), "{text}");
        let many = format!("{HEAD}{}", "Via: SIP/2.0/UDP c\r\n".repeat(100));
        assert_eq!(told("INVITE sip:b SIP/2.0", &many).unwrap().matches("Via:").count(), VIAS_MAX);
        let control = HEAD.replace("i: x", "i: x\u{7}\ry");
        assert!(told("INVITE sip:b SIP/2.0", &control).unwrap().contains("Call-ID: x  y\r\n"));
        assert!(refusal(&[0xff, 0xfe]).is_none());
    }
}
