//! Digest authentication (RFC 3261 section 22, RFC 8760): answering a trunk's challenge, and challenging a trunk's calls.
//!
//! Not here: where passwords come from. A password answers its own realm only, so that nobody who redirects a request learns what to
//! try elsewhere. MD5 is what operators speak; SHA-256 is preferred when it is offered.

use aws_lc_rs::{constant_time, hmac};
use rsipstack::sip::headers::auth::{Algorithm, AuthQop};
use rsipstack::sip::services::DigestGenerator;
use rsipstack::sip::{Method, Uri};

use crate::pii::Pii;

use super::fields;

/// A challenge that can be answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Challenge {
    pub(super) realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Sort,
    qop_auth: bool,
    /// The last answer was right but too old.
    pub(super) stale: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
enum Sort {
    Md5,
    Sha256,
}

impl Challenge {
    /// The best of all challenges in a header's values.
    pub(super) fn best<'a>(values: impl Iterator<Item = &'a str>) -> Option<Challenge> {
        values
            .filter_map(Challenge::parse)
            .reduce(|best, other| if other.algorithm > best.algorithm { other } else { best })
    }

    fn parse(value: &str) -> Option<Challenge> {
        let params = params(value)?;
        let find = |name: &str| params.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
        let algorithm = match find("algorithm").unwrap_or_default().to_ascii_uppercase().as_str() {
            "" | "MD5" => Sort::Md5,
            "SHA-256" => Sort::Sha256,
            _ => return None,
        };
        let qop = find("qop");
        let qop_auth = qop.as_deref().is_some_and(|list| list.split(',').any(|word| word.trim() == "auth"));
        if qop.is_some() && !qop_auth {
            return None;
        }
        Some(Challenge {
            realm: find("realm")?,
            nonce: find("nonce")?,
            opaque: find("opaque"),
            algorithm,
            qop_auth,
            stale: find("stale").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        })
    }

    /// Value of the `Authorization` or `Proxy-Authorization` header.
    pub(super) fn answer(&self, username: &str, password: &Pii<String>, method: Method, uri: &Uri) -> String {
        let cnonce = fields::random_text();
        let qop = self.qop_auth.then(|| AuthQop::Auth { cnonce: cnonce.clone(), nc: 1 });
        let (algorithm, name) = self.algorithm.names();
        let response = DigestGenerator {
            username,
            password: &password.0,
            nonce: &self.nonce,
            uri,
            realm: &self.realm,
            method: &method,
            qop: qop.as_ref(),
            algorithm,
        }
        .compute();
        let Challenge { realm, nonce, .. } = self;
        let mut value = format!(
            "Digest username=\"{username}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm={name}"
        );
        if self.qop_auth {
            value.push_str(&format!(", qop=auth, nc=00000001, cnonce=\"{cnonce}\""));
        }
        if let Some(opaque) = &self.opaque {
            value.push_str(&format!(", opaque=\"{opaque}\""));
        }
        value
    }
}

impl Sort {
    fn names(self) -> (Algorithm, &'static str) {
        match self {
            Sort::Md5 => (Algorithm::Md5, "MD5"),
            Sort::Sha256 => (Algorithm::Sha256, "SHA-256"),
        }
    }
}

/// Our challenges: the nonce is a time with its keyed hash, so nothing is remembered for those who never answer.
pub(super) struct Challenger {
    key: hmac::Key,
}

/// What an answer to our challenge is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Right,
    Stale,
    Wrong,
}

impl Challenger {
    pub(super) fn new(seed: [u8; 32]) -> Challenger {
        Challenger { key: hmac::Key::new(hmac::HMAC_SHA256, &seed) }
    }

    /// Value of a `WWW-Authenticate` header. `now`: seconds of any clock that only goes forward.
    pub(super) fn challenge(&self, realm: &str, now: u64, stale: bool) -> String {
        let stale = if stale { ", stale=true" } else { "" };
        format!("Digest realm=\"{realm}\", nonce=\"{}\", algorithm=MD5, qop=\"auth\"{stale}", self.nonce(now))
    }

    fn nonce(&self, now: u64) -> String {
        let tag = hmac::sign(&self.key, &now.to_be_bytes());
        tag.as_ref()[..16].iter().fold(format!("{now:x}."), |text, byte| format!("{text}{byte:02x}"))
    }

    /// Judges an `Authorization` header.
    pub(super) fn judge(
        &self,
        value: &str,
        username: &str,
        password: &Pii<String>,
        realm: &str,
        method: Method,
        now: u64,
    ) -> Verdict {
        let judged = || {
            let params = params(value)?;
            let find = |name: &str| params.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
            let nonce = find("nonce")?;
            let issued = u64::from_str_radix(nonce.split_once('.')?.0, 16).ok()?;
            if !same(&self.nonce(issued), nonce) || find("realm")? != realm || find("username")? != username {
                return None;
            }
            let written = find("uri")?;
            let uri = Uri::try_from(written).ok().filter(|uri| uri.to_string() == written)?;
            let qop = match find("qop") {
                None => None,
                Some("auth") => {
                    let nc = u32::from_str_radix(find("nc")?, 16).ok()?;
                    Some(AuthQop::Auth { cnonce: find("cnonce")?.to_owned(), nc: nc.try_into().ok()? })
                }
                Some(_) => return None,
            };
            let generator = DigestGenerator {
                username,
                password: &password.0,
                nonce,
                uri: &uri,
                realm,
                method: &method,
                qop: qop.as_ref(),
                algorithm: Algorithm::Md5,
            };
            let right = same(&generator.compute(), find("response")?);
            right.then_some(if now.saturating_sub(issued) <= NONCE_SECONDS { Verdict::Right } else { Verdict::Stale })
        };
        judged().unwrap_or(Verdict::Wrong)
    }
}

fn same(left: &str, right: &str) -> bool {
    constant_time::verify_slices_are_equal(left.as_bytes(), right.as_bytes()).is_ok()
}

/// `Digest name="value", name=value`; names in lower case.
fn params(value: &str) -> Option<Vec<(String, String)>> {
    let (scheme, rest) = value.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("digest") {
        return None;
    }
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        // What is repeated in our header may hold no quote of its own.
        let value = value.trim();
        let value = value.strip_prefix('"').and_then(|inside| inside.strip_suffix('"')).unwrap_or(value);
        (!value.contains(['"', '\\'])).then(|| (name.trim().to_ascii_lowercase(), value.to_owned()))
    };
    Some(fields::split_list(rest).into_iter().filter_map(pair).collect())
}

/// A call's second INVITE follows the first at once.
const NONCE_SECONDS: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &str =
        "Digest realm=\"atlanta.example\", qop=\"auth,auth-int\", nonce=\"dcd98b\", opaque=\"5ccc\"";

    fn uri() -> Uri {
        Uri::try_from("sip:bob@atlanta.example").unwrap()
    }

    #[test]
    fn the_strongest_challenge_that_we_know_is_answered() {
        let sha = "Digest realm=\"a\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"";
        let sess = "Digest realm=\"a\", nonce=\"n\", algorithm=MD5-sess";
        let only_int = "Digest realm=\"a\", nonce=\"n\", qop=\"auth-int\"";
        assert_eq!(Challenge::best([CHALLENGE, sha, sess].into_iter()).unwrap().algorithm, Sort::Sha256);
        assert_eq!(Challenge::best([sess, only_int, "Basic realm=\"a\""].into_iter()), None);
        assert!(Challenge::best(["Digest realm=\"a\", nonce=\"n\", stale=TRUE"].into_iter()).unwrap().stale);
    }

    #[test]
    fn the_answer_is_the_one_of_rfc_2617() {
        // No qop: MD5(MD5(user:realm:password):nonce:MD5(method:uri)), computed with another implementation.
        let challenge = Challenge::parse("Digest realm=\"testrealm@host.com\", nonce=\"abc\"").unwrap();
        let value = challenge.answer("Mufasa", &Pii("Circle Of Life".into()), Method::Invite, &uri());
        assert!(value.contains("response=\"c193512e81d19f121edc171b91eb913d\"") && !value.contains("qop"), "{value}");
    }

    #[test]
    fn our_challenge_is_passed_by_the_password_alone_and_grows_old() {
        let challenger = Challenger::new([7; 32]);
        let challenge = Challenge::parse(&challenger.challenge("colloque", 1_000, false)).unwrap();
        let password = Pii("sesame".to_owned());
        let value = challenge.answer("trunk", &password, Method::Invite, &uri());
        let judge = |value: &str, password: &str, now| {
            challenger.judge(value, "trunk", &Pii(password.to_owned()), "colloque", Method::Invite, now)
        };
        assert_eq!(judge(&value, "sesame", 1_030), Verdict::Right);
        assert_eq!(judge(&value, "sesame", 1_061), Verdict::Stale);
        assert_eq!(judge(&value, "other", 1_030), Verdict::Wrong);
        assert_eq!(judge(&value.replace("nonce=\"3e8.", "nonce=\"3e9."), "sesame", 1_030), Verdict::Wrong);
        assert_eq!(judge(&value.replace("trunk", "other"), "sesame", 1_030), Verdict::Wrong);
        for bad in [
            "",
            "Digest",
            "Digest nonce=x",
            "Basic abc",
            "Digest nonce=\"zz.\"",
            &value.replace("qop=auth", "qop=auth-int"),
        ] {
            assert_eq!(judge(bad, "sesame", 1_030), Verdict::Wrong, "{bad}");
        }
        let forged = Challenge::parse(&Challenger::new([8; 32]).challenge("colloque", 1_000, false)).unwrap();
        assert_eq!(judge(&forged.answer("trunk", &password, Method::Invite, &uri()), "sesame", 1_000), Verdict::Wrong);
    }
}
