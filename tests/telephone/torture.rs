//! The torture messages of RFC 4475 section 3, all 49, each with what must be said to it and why.
//!
//! Not here: floods (`flood`), mangled bytes (`gate`). The messages are the document's own, shortened where a line of them tests
//! nothing, with the sender's address in the first `Via`, so that an answer reaches it. Calls that get through are refused with 480: that
//! status says that a message was understood.

use std::time::Duration;

use colloque::config::telephone::SipTransport;
use colloque::telephone::sip::Refusal;

use super::Server;
use super::raw::Raw;

/// One message of the document.
struct Case {
    section: &'static str,
    name: &'static str,
    /// None: not a word.
    expected: Option<u16>,
    why: &'static str,
    text: String,
}

const SILENCE: u16 = 0;

/// `rest`: lines of the message behind its `Via`.
fn case(section: &'static str, name: &'static str, expected: u16, why: &'static str, text: &str) -> Case {
    let expected = (expected != SILENCE).then_some(expected);
    Case { section, name, expected, why, text: text.to_owned() }
}

/// A request with the usual lines. `cseq` with its method; `rest`: further lines, each with its end, and perhaps a body.
pub fn request(line: &str, cseq: &str, rest: &str) -> String {
    let body = if rest.contains("\n\n") { "" } else { "\n" };
    format!("{line}\n{HEAD}CSeq: {cseq}\n{rest}{body}")
}

/// As it is sent by whoever listens on this port.
pub fn written(text: &str, port: u16, name: &str) -> String {
    text.replace("HERE", &format!("127.0.0.1:{port}")).replace("NAME", name).replace('\n', "\r\n")
}

const HEAD: &str = "Via: SIP/2.0/UDP HERE;branch=z9hG4bKNAME\nFrom: <sip:caller@example.net>;tag=134161461246\n\
                    To: <sip:user@example.com>\nCall-ID: NAME.0ha0isndaksdj\nMax-Forwards: 70\n";
pub const CONTACT: &str = "Contact: <sip:c@HERE>\n";
const EMPTY: &str = "Content-Length: 0\n";
pub const INVITE: &str = "INVITE sip:user@example.com SIP/2.0";
const OPTIONS: &str = "OPTIONS sip:user@example.com SIP/2.0";
const REGISTER: &str = "REGISTER sip:example.com SIP/2.0";
const SDP: &str = "v=0\no=mhandley 29739 7272939 IN IP4 192.0.2.3\ns=-\nc=IN IP4 192.0.2.4\nt=0 0\nm=audio 49217 RTP/AVP 0 12\n\
                   m=video 3227 RTP/AVP 31\na=rtpmap:31 LPC\n";

/// An INVITE with the document's description; `lines` stand above its own.
pub fn call(line: &str, cseq: &str, lines: &str) -> String {
    // Lines end with two bytes when they are sent.
    let len = SDP.len() + SDP.lines().count();
    request(line, cseq, &format!("{lines}Content-Type: application/sdp\nContent-Length: {len}\n\n{SDP}"))
}

/// Sections 3.1.1.1 to 3.1.1.13: odd, and allowed.
fn valid() -> Vec<Case> {
    let contact = |lines: &str| format!("{lines}{CONTACT}");
    let len = SDP.len() + SDP.lines().count();
    let folded = format!(
        "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\nTO :\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\n\
         from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>\n  ;\n  tag = 98asjd8\nMaX-fOrWaRdS: 0068\n\
         Call-ID: wsinv.ndaksdj@192.0.2.1\nContent-Length   : {len}\ncseq: 0009\n  INVITE\nVia  : SIP  /   2.0\n /UDP\n    HERE;branch=390skdjuw\n\
         s :\nNewFangledHeader:   newfangled value\n continued newfangled value\nUnknownHeaderWithUnusualValue: ;;,,;;,;\n\
         Content-Type: application/sdp\nRoute:\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\n\
         v:  SIP  / 2.0  / TCP     spindle.example.com   ;\n  branch  =   z9hG4bK9ikj8  ,\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\n z9hG4bK30239\n\
         m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =\n      newvalue ;\n  secondparam ; q = 0.33\n\n{SDP}"
    );
    let odd = "!interesting-Method0123456789_*+`.%indeed'~";
    let odd_uri =
        "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com";
    let odd = format!(
        "{odd} {odd_uri} SIP/2.0\nVia: SIP/2.0/UDP HERE;branch=z9hG4bK-.!%66*_+`'~\n\
         To: \"BEL:\\\u{7} NUL:\\\0 DEL:\\\u{7f}\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>\n\
         From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\u{440}\u{430}\u{431}\";tag=_token~1'+`*%!-.\n\
         Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}}{{\nCSeq: 139122385 {odd}\nMax-Forwards: 255\n\
         extensionHeader-!.%*+_`'~: \u{feff}\u{5927}\u{505c}\u{96fb}\nContent-Length: 0\n\n"
    );
    let long = "long".repeat(60);
    let parts = "--7a9cbec02ceef655\nContent-Type: text/plain\n\nHello\n--7a9cbec02ceef655\nContent-Type: application/octet-stream\n\n\
                 0\u{82}1R\n--7a9cbec02ceef655--\n";
    let parts_len = parts.len() + parts.lines().count();
    vec![
        case(
            "3.1.1.1",
            "wsinv",
            400,
            "allowed, but blanks around the `=` of a tag are more than our parser reads, and nobody sends them",
            &folded,
        ),
        case("3.1.1.2", "intmeth", 501, "an endpoint says that it does not know the method", &odd),
        case(
            "3.1.1.3",
            "esc01",
            480,
            "escapes in addresses are characters of them",
            &call(
                "INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0",
                "234234 INVITE",
                "Contact:\n  <sip:cal%6Cer@HERE;%6C%72;n%61me=v%61lue%25%34%31>\n",
            ),
        ),
        case(
            "3.1.1.4",
            "escnull",
            405,
            "well-formed, but nobody registers here",
            &request(
                REGISTER,
                "14398234 REGISTER",
                "Contact: <sip:%00@host5.example.com>\nContact: <sip:%00%00@host5.example.com>\nL:0\n",
            ),
        ),
        case(
            "3.1.1.5",
            "esc02",
            501,
            "a method is not escaped: this one is unknown",
            &request(
                "RE%47IST%45R sip:registrar.example.com SIP/2.0",
                "29344 RE%47IST%45R",
                "Contact: <sip:alias1@host1.example.com>\nL:0\n",
            ),
        ),
        case(
            "3.1.1.6",
            "lwsdisp",
            200,
            "no blank is needed between a name and its bracket",
            &request(OPTIONS, "60 OPTIONS", "l: 0\n").replace("From: <", "From: caller<"),
        ),
        case(
            "3.1.1.7",
            "longreq",
            480,
            "values may be long",
            &call(
                &format!("INVITE sip:user@{}.example.com;unknown_{long}=value SIP/2.0", "a".repeat(60)),
                "3882340 INVITE",
                &contact(&format!(
                    "Unknown-{long}: {long};{long}={long}\nVia: SIP/2.0/TCP sip33.example.com;branch=z9hG4bK{long}\n"
                )),
            ),
        ),
        case(
            "3.1.1.8",
            "dblreq",
            405,
            "what stands behind the length of a datagram is no part of it: one REGISTER, refused, and no call",
            &(request(REGISTER, "8 REGISTER", "Contact: <sip:j.user@host.example.com>\nContent-Length: 0\n")
                + &call("INVITE sip:joe@example.com SIP/2.0", "8 INVITE", CONTACT)),
        ),
        case(
            "3.1.1.9",
            "semiuri",
            200,
            "semicolons in a user are no parameters",
            &request(
                "OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0",
                "8 OPTIONS",
                "Accept: application/sdp, application/pkcs7-mime,\n        multipart/mixed, message/sip\nl: 0\n",
            ),
        ),
        case(
            "3.1.1.10",
            "transports",
            200,
            "proxies may have spoken whatever they liked",
            &request(
                OPTIONS,
                "60 OPTIONS",
                "Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf\nVia: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2980unddj\n\
                 Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en\nVia: SIP/2.0/TCP t5.example.com;branch=z9hG4bK0a9idfnee\nl: 0\n",
            ),
        ),
        case(
            "3.1.1.11",
            "mpart01",
            405,
            "messages are not for telephones",
            &request(
                "MESSAGE sip:kumiko@example.org SIP/2.0",
                "1 MESSAGE",
                &format!(
                    "Content-Type: multipart/mixed;boundary=7a9cbec02ceef655\nContent-Length: {parts_len}\n\n{parts}"
                ),
            ),
        ),
        case(
            "3.1.1.12",
            "unreason",
            SILENCE,
            "an answer to nothing of ours",
            &request("SIP/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e} \u{441}\u{442}\u{43e}", "35 INVITE", EMPTY),
        ),
        case(
            "3.1.1.13",
            "noreason",
            SILENCE,
            "an answer to nothing of ours",
            &request("SIP/2.0 100 ", "35 INVITE", EMPTY),
        ),
    ]
}

/// Sections 3.1.2.1 to 3.1.2.19: against the grammar.
fn invalid() -> Vec<Case> {
    let empty = |lines: &str| format!("{lines}{EMPTY}");
    vec![
        case(
            "3.1.2.1",
            "badinv01",
            480,
            "separators too many in `Contact` and `Via`: what is needed can be read; the document allows to go on",
            &call(INVITE, "0 INVITE", "Contact: <sip:joe@HERE>;;;;\nVia: SIP/2.0/UDP 192.0.2.15;;,;,,\n"),
        ),
        case(
            "3.1.2.2",
            "clerr",
            400,
            "the body is shorter than it says",
            &request(
                INVITE,
                "8 INVITE",
                &format!("{CONTACT}Content-Type: application/sdp\nContent-Length: 9999\n\n{SDP}"),
            ),
        ),
        case(
            "3.1.2.3",
            "ncl",
            400,
            "no length is negative",
            &request(
                INVITE,
                "8 INVITE",
                &format!("{CONTACT}Content-Type: application/sdp\nContent-Length: -999\n\n{SDP}"),
            ),
        ),
        case(
            "3.1.2.4",
            "scalar02",
            400,
            "a number of a request has 31 bits",
            &request(
                REGISTER,
                "36893488147419103232 REGISTER",
                "Max-Forwards: 300\nExpires: 10000000000000000000000\nContent-Length: 0\n",
            ),
        ),
        case(
            "3.1.2.5",
            "scalarlg",
            SILENCE,
            "no answer to an answer",
            &request(
                "SIP/2.0 503 Service Unavailable",
                "9292394834772304023312 OPTIONS",
                "Retry-After: 949302838503028349304023988\nContent-Length: 0\n",
            ),
        ),
        case(
            "3.1.2.6",
            "quotbal",
            480,
            "a quote that never ends spoils a name that nobody looks at: the address behind it can be read",
            &call(INVITE, "8 INVITE", CONTACT).replace("To: <", "To: \"Mr. J. User <"),
        ),
        case(
            "3.1.2.7",
            "ltgtruri",
            400,
            "no brackets in the first line",
            &call("INVITE <sip:user@example.com> SIP/2.0", "1 INVITE", CONTACT),
        ),
        case(
            "3.1.2.8",
            "lwsruri",
            400,
            "no blanks within its address",
            &call("INVITE sip:user@example.com; lr SIP/2.0", "1 INVITE", CONTACT),
        ),
        case(
            "3.1.2.9",
            "lwsstart",
            400,
            "one blank between its parts",
            &call("INVITE  sip:user@example.com  SIP/2.0", "8893884 INVITE", CONTACT),
        ),
        case(
            "3.1.2.10",
            "trws",
            200,
            "blanks behind the version say nothing; the document allows to go on",
            &request("OPTIONS sip:remote-target@example.com SIP/2.0  ", "18 OPTIONS", EMPTY),
        ),
        case(
            "3.1.2.11",
            "escruri",
            480,
            "header lines in the address are not followed, whatever they name",
            &call("INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0", "149209342 INVITE", CONTACT),
        ),
        case(
            "3.1.2.12",
            "baddate",
            480,
            "nobody reads the date",
            &call(INVITE, "392934 INVITE", &format!("Date: Fri, 01 Jan 2010 16:00:00 EST\n{CONTACT}")),
        ),
        case(
            "3.1.2.13",
            "regbadct",
            405,
            "its address is wrong, and nobody registers here anyway",
            &request(
                REGISTER,
                "2934 REGISTER",
                &empty("Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E\n"),
            ),
        ),
        case(
            "3.1.2.14",
            "badaspec",
            200,
            "blanks within brackets: nobody looks into that address",
            &request(OPTIONS, "3923239 OPTIONS", "l: 0\n")
                .replace("<sip:user@example.com>", "\"Watson, Thomas\" < sip:t.watson@example.org >"),
        ),
        case(
            "3.1.2.15",
            "baddn",
            200,
            "names without quotes that need them: nobody looks at them",
            &request(OPTIONS, "3923239 OPTIONS", "Contact: <sip:c@HERE>\nl: 0\n")
                .replace("From: <", "From:    Bell, Alexander <"),
        ),
        case(
            "3.1.2.16",
            "badvers",
            505,
            "there is no other version",
            &request("OPTIONS sip:t.watson@example.org SIP/7.0", "20 OPTIONS", EMPTY),
        ),
        case("3.1.2.17", "mismatch01", 400, "two methods", &request(OPTIONS, "8 INVITE", EMPTY)),
        case(
            "3.1.2.18",
            "mismatch02",
            501,
            "an unknown method and another one",
            &request("NEWMETHOD sip:user@example.com SIP/2.0", "8 INVITE", EMPTY),
        ),
        case(
            "3.1.2.19",
            "bigcode",
            SILENCE,
            "no answer to an answer",
            &request("SIP/2.0 4294967301 better not break the receiver", "353494 INVITE", EMPTY),
        ),
    ]
}

/// Sections 3.2 to 3.4: what the transactions, the call itself and the older protocol make of it.
fn semantic() -> Vec<Case> {
    let contact = |lines: &str| format!("{lines}{CONTACT}");
    vec![
        case(
            "3.2.1",
            "badbranch",
            200,
            "a branch that is only its cookie is matched by everything else, as in RFC 2543",
            &request(OPTIONS, "8 OPTIONS", "l: 0\n").replace("z9hG4bKNAME", "z9hG4bK"),
        ),
        case(
            "3.3.1",
            "insuf",
            400,
            "no From, no To, no Call-ID",
            &format!("{INVITE}\nCSeq: 193942 INVITE\nVia: SIP/2.0/UDP HERE;branch=z9hG4bKins\nContent-Length: 0\n\n"),
        ),
        case(
            "3.3.2",
            "unkscm",
            416,
            "an unknown kind of address",
            &request("OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0", "3923423 OPTIONS", EMPTY),
        ),
        case(
            "3.3.3",
            "novelsc",
            416,
            "a known kind that is no telephone",
            &request("OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", "3923423 OPTIONS", EMPTY),
        ),
        case(
            "3.3.4",
            "unksm2",
            405,
            "unknown kinds in other lines say nothing about who is called",
            &request(REGISTER, "234902 REGISTER", "Contact: <name:John_Smith>\nContent-Length: 0\n")
                .replace("<sip:user@example.com>", "isbn:2983792873")
                .replace("<sip:caller@example.net>", "<http://www.example.com>"),
        ),
        case(
            "3.3.5",
            "bext01",
            420,
            "extensions that nobody has",
            &request(
                OPTIONS,
                "8 OPTIONS",
                "Require: nothingSupportsThis, nothingSupportsThisEither\nProxy-Require: noProxiesSupportThis\nContent-Length: 0\n",
            ),
        ),
        case(
            "3.3.6",
            "invut",
            415,
            "no description",
            &request(
                INVITE,
                "8 INVITE",
                &format!("{CONTACT}Content-Type: application/unknownformat\nContent-Length: 3\n\nabc"),
            ),
        ),
        case(
            "3.3.7",
            "regaut01",
            405,
            "nobody registers here, with whatever proof",
            &request(
                REGISTER,
                "9338 REGISTER",
                "Authorization: NoOneKnowsThisScheme opaque-data=here\nContent-Length:0\n",
            ),
        ),
        case(
            "3.3.8",
            "multi01",
            400,
            "which of two names is meant cannot be known",
            &call(
                INVITE,
                "5 INVITE",
                &contact(
                    "CSeq: 59 INVITE\nCall-ID: another.0ha0isndaksdj\nTo: <sip:other@example.com>\nFrom: <sip:other@example.com>;tag=9\n",
                ),
            ),
        ),
        case(
            "3.3.9",
            "mcl01",
            400,
            "which of two lengths is meant cannot be known",
            &request(
                OPTIONS,
                "5 OPTIONS",
                "Content-Length: 13\nContent-Length: 5\n\nThere's no way to know how many octets are supposed to be here.",
            ),
        ),
        case(
            "3.3.10",
            "bcast",
            SILENCE,
            "an answer to nothing of ours",
            &request(
                "SIP/2.0 200 OK",
                "8 INVITE",
                &format!("Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bKsaj9\n{EMPTY}"),
            ),
        ),
        case(
            "3.3.11",
            "zeromf",
            200,
            "it has reached its end: only proxies count",
            &request(OPTIONS, "39234321 OPTIONS", EMPTY).replace("Max-Forwards: 70", "Max-Forwards: 0"),
        ),
        case(
            "3.3.12",
            "cparam01",
            405,
            "nobody registers here",
            &request(
                REGISTER,
                "9338012 REGISTER",
                "Contact: sip:+19725552222@gw1.example.net;unknownparam\nContent-Length: 0\n",
            ),
        ),
        case(
            "3.3.13",
            "cparam02",
            405,
            "nobody registers here",
            &request(
                REGISTER,
                "9338013 REGISTER",
                "Contact: <sip:+19725552222@gw1.example.net;unknownparam>\nContent-Length: 0\n",
            ),
        ),
        case(
            "3.3.14",
            "regescrt",
            405,
            "nobody registers here, and the route in the address is not followed",
            &request(
                REGISTER,
                "14398234 REGISTER",
                "Contact: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>\nL:0\n",
            ),
        ),
        case(
            "3.3.15",
            "sdp01",
            406,
            "it could not read our description",
            &call(INVITE, "9 INVITE", &contact("Accept: text/nobodyKnowsThis\n")),
        ),
        case(
            "3.4.1",
            "inv2543",
            400,
            "without a tag and a branch it is of 1999: no trunk speaks that any more, and its calls could not be told apart",
            &format!(
                "{INVITE}\nVia: SIP/2.0/UDP HERE\nFrom: sip:iuser@example.com\nTo: sip:user@example.net\nRecord-Route: <sip:services.example.com>\n\
                 Call-ID: inv2543.1717@ift.client.example.com\nCSeq: 56 INVITE\nContent-Type: application/sdp\n\n{SDP}"
            ),
        ),
    ]
}

/// What `wsinv` is refused for is what its entry says, and nothing else of it.
#[tokio::test]
async fn all_oddities_of_the_first_message_but_blanks_in_its_tags_are_understood() {
    let server = Server::start(9, "udp", "").await;
    let mut peer = Raw::new().await;
    let text = valid().remove(0).text.replace(" ;   tag    = ", ";tag=").replace("\n  ;\n  tag = ", ";tag=");
    peer.send(written(&text, peer.port(), "wsinv").as_bytes(), server.port(SipTransport::Udp)).await;
    // A tag of ours in it names a call that does not exist.
    assert!(peer.expect("SIP/2.0 4").await.starts_with("SIP/2.0 481"));
}

#[tokio::test]
async fn each_message_of_rfc_4475_has_its_answer() {
    let Server { endpoint, mut calls, .. } = Server::start(9, "udp", "").await;
    let port = endpoint.listening(SipTransport::Udp).unwrap().port();
    tokio::spawn(async move {
        while let Some(call) = calls.recv().await {
            call.call.refuse(Refusal::Unavailable).await;
        }
    });
    let cases: Vec<Case> = [valid(), invalid(), semantic()].into_iter().flatten().collect();
    assert_eq!(cases.len(), 49, "the document's messages");
    let mut faults = Vec::new();
    for Case { section, name, expected, why, text } in cases {
        let mut peer = Raw::new().await;
        peer.send(written(&text, peer.port(), name).as_bytes(), port).await;
        if expected.is_none() {
            // Behind it an ordinary question: whoever answers that one has dealt with the message.
            let after = request(OPTIONS, "1 OPTIONS", EMPTY);
            peer.send(written(&after, peer.port(), &format!("after-{name}")).as_bytes(), port).await;
        }
        let status = loop {
            let Some(answer) = peer.hear(Duration::from_secs(10)).await else { break None };
            let status = answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
            if answer.contains("after-") {
                break None;
            }
            if status.is_some_and(|status| status >= 200) {
                break status;
            }
        };
        if status != expected {
            faults.push(format!("{section} {name}: {status:?} and not {expected:?} ({why})"));
        }
        // The bucket of answers to what cannot be read fills again.
        tokio::time::sleep(Duration::from_millis(if matches!(expected, Some(400 | 501 | 505)) { 220 } else { 0 }))
            .await;
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    super::is_empty(&endpoint).await;
}
