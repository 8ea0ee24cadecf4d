//! SDP fragments (RFC 8840 section 9) as WHIP and WHEP use them in PATCH (RFC 9725 section 4.3): trickled candidates,
//! which an ICE-lite agent needs not, and ICE restarts.
//!
//! A fragment is not a session description, so its few lines are read here.

use std::fmt::Write;
use std::net::SocketAddr;

use crate::transport::parameters::IceCredentials;

use super::answer::candidate_lines;
use super::error::OfferError;
use super::offer::{ice_credentials, is_token};

/// Bytes a fragment may have: dozens of candidates.
pub const FRAGMENT_BYTES_MAX: usize = 16 * 1024;

/// The ICE credentials of a fragment: the leg's own when it trickles, new ones when it asks for a restart, `None` when it
/// names none.
pub fn read_fragment(text: &str) -> Result<Option<IceCredentials>, OfferError> {
    if text.len() > FRAGMENT_BYTES_MAX {
        return Err(OfferError::TooLarge);
    }
    if text.lines().any(|line| !line.is_empty() && line.as_bytes().get(1) != Some(&b'=')) {
        return Err(OfferError::Syntax);
    }
    match (value(text, "a=ice-ufrag:"), value(text, "a=ice-pwd:")) {
        (None, None) => Ok(None),
        (ufrag, pwd) => ice_credentials(ufrag, pwd).map(Some),
    }
}

/// Answers a restart: our new credentials and all candidates, on the section that the request named.
#[must_use]
pub fn write_fragment(request: &str, ours: &IceCredentials, candidates: &[SocketAddr]) -> String {
    let mid = value(request, "a=mid:").filter(|mid| is_token(mid)).unwrap_or("0");
    let media = if request.lines().any(|line| line.starts_with("m=video")) && !request.contains("m=audio") {
        "video"
    } else {
        "audio"
    };
    let mut out = String::from("a=ice-lite\r\n");
    write!(
        out,
        "m={media} 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{mid}\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
        ours.ufrag, ours.pwd.0
    )
    .expect("writing into a String cannot fail");
    for candidate in candidate_lines(candidates) {
        out.push_str(&candidate);
        out.push_str("\r\n");
    }
    out.push_str("a=end-of-candidates\r\n");
    out
}

fn value<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(prefix)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pii::Pii;

    const RESTART: &str = "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
                           a=mid:0\r\na=ice-ufrag:ysXw\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n";

    #[test]
    fn reads_restarts_and_plain_trickle() {
        assert_eq!(read_fragment(RESTART).unwrap().unwrap().ufrag, "ysXw");
        let trickle = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n";
        assert_eq!(read_fragment(trickle), Ok(None));
        assert_eq!(read_fragment(""), Ok(None));
    }

    #[test]
    fn refuses_what_is_no_fragment() {
        assert_eq!(read_fragment("{\"candidate\":1}"), Err(OfferError::Syntax));
        assert_eq!(read_fragment(&"a=x\r\n".repeat(FRAGMENT_BYTES_MAX)), Err(OfferError::TooLarge));
        assert_eq!(read_fragment("a=ice-ufrag:ysXw\r\n"), Err(OfferError::IceCredentials));
        for end in 0..RESTART.len() {
            let _ = read_fragment(&RESTART[..end]);
        }
    }

    #[test]
    fn answers_a_restart_with_new_credentials() {
        let ours = IceCredentials { ufrag: "ours".into(), pwd: Pii("o".repeat(24)) };
        let answer = write_fragment(RESTART, &ours, &["192.0.2.1:40000".parse().unwrap()]);
        assert!(answer.contains("a=mid:0\r\na=ice-ufrag:ours\r\n"));
        assert!(answer.contains("a=candidate:1 1 udp 2130706431 192.0.2.1 40000 typ host\r\n"));
        assert_eq!(read_fragment(&answer).unwrap().unwrap().ufrag, "ours");
    }
}
