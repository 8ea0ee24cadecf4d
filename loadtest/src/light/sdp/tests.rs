//! Offers, answers, and what is read of them.

use super::*;

fn ours(credentials: &Credentials) -> Ours<'_> {
    Ours { credentials, fingerprint: &[0xab; 32], address: ([192, 0, 2, 7], 40_123).into(), revision: 3 }
}

fn credentials() -> Credentials {
    Credentials { ufrag: "light".into(), pwd: "a password of more than 22".replace(' ', "-") }
}

fn section(mid: &str, kind: Kind, content: Content) -> Section {
    Section { mid: mid.into(), kind, content }
}

fn page(layers: Vec<(u32, u32)>) -> Vec<Section> {
    vec![
        section("0", Kind::Voice, Content::Sends(vec![(11, 12)])),
        section("1", Kind::Picture, Content::Sends(layers)),
        section("2", Kind::Voice, Content::Receives),
        section("3", Kind::Picture, Content::Receives),
    ]
}

#[test]
fn an_offer_reads_back_as_what_was_offered() {
    let credentials = credentials();
    let text = write_offer(&page(vec![(21, 22)]), &ours(&credentials));
    assert!(text.starts_with("v=0\r\n") && text.lines().all(|line| line.as_bytes()[1] == b'='), "{text}");
    assert!(text.contains("a=group:BUNDLE 0 1 2 3\r\n"));
    let offer = Description::parse(&text).unwrap();
    let kinds: Vec<_> = offer.media.iter().map(|media| (media.mid(), media.kind().unwrap())).collect();
    let expected = [("0", Kind::Voice), ("1", Kind::Picture), ("2", Kind::Voice), ("3", Kind::Picture)];
    assert_eq!(kinds, expected);
    let picture = offer.by_mid("1").unwrap();
    assert_eq!(picture.payload(), Some(Payload { media: VP8, rtx: Some(VP8_RTX) }));
    assert_eq!(picture.ssrcs(), [(21, Some(22))]);
    assert!(picture.has_feedback("nack") && picture.has_feedback("nack pli") && picture.has_feedback("transport-cc"));
    assert_eq!(picture.extensions().id(ExtensionKind::TransportCc), Some(3));
    assert!(!picture.receives() && offer.by_mid("3").unwrap().receives());
    let remote = offer.remote().unwrap();
    assert_eq!((remote.credentials, remote.active), (credentials, false));
    assert_eq!(remote.fingerprint, Fingerprint::Sha256([0xab; 32]));
    assert_eq!(remote.candidates[0], ([192, 0, 2, 7], 40_123).into());
}

#[test]
fn three_layers_are_offered_as_simulcast_without_ssrcs() {
    let text = write_offer(&page(vec![(21, 22), (31, 32), (41, 42)]), &ours(&credentials()));
    assert!(text.contains("a=rid:q send\r\na=rid:h send\r\na=rid:f send\r\na=simulcast:send q;h;f\r\n"));
    assert!(Description::parse(&text).unwrap().by_mid("1").unwrap().ssrcs().is_empty());
}

/// A full ICE agent that offers a voice, a picture, something we cannot take, and a section it closed.
const SUBSCRIBER_OFFER: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE a b c\r\n\
    a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:a\r\na=sendonly\r\na=rtcp-mux\r\na=ice-ufrag:abcd\r\na=ice-pwd:efgh\r\n\
    a=setup:actpass\r\na=rtpmap:111 opus/48000/2\r\na=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=ssrc:5 cname:x\r\n\
    a=candidate:1 1 TCP 5 10.0.0.1 9 typ host tcptype active\r\na=candidate:2 1 udp 4 10.0.0.1 5002 typ host\r\n\
    a=candidate:3 1 udp 3 fd00::1 5004 typ host\r\na=candidate:4 1 udp 3 name.local 5004 typ host\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 98 96 97\r\na=mid:b\r\na=sendonly\r\na=rtpmap:98 VP9/90000\r\na=rtpmap:96 VP8/90000\r\n\
    a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtcp-fb:96 nack\r\na=ssrc-group:FID 6 7\r\na=ssrc:6 cname:x\r\n\
    a=ssrc:7 cname:x\r\na=extmap:5/sendonly http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:c\r\n\
    m=video 0 UDP/TLS/RTP/SAVPF 96\r\na=mid:d\r\na=inactive\r\na=rtpmap:96 VP8/90000\r\n";

#[test]
fn an_offer_of_a_subscriber_is_answered_section_by_section() {
    let offer = Description::parse(SUBSCRIBER_OFFER).unwrap();
    let text = write_answer(&offer, &ours(&credentials()));
    let answer = Description::parse(&text).unwrap();
    let ports: Vec<_> = answer.media.iter().map(|media| (media.mid(), media.port)).collect();
    assert_eq!(ports, [("a", 9), ("b", 9), ("c", 0), ("d", 0)]);
    assert!(text.contains("a=group:BUNDLE a b\r\n"));
    let picture = answer.by_mid("b").unwrap();
    assert_eq!(picture.formats, ["96", "97"]);
    assert!(picture.receives() && picture.has("recvonly"));
    assert_eq!(picture.extensions().id(ExtensionKind::TransportCc), Some(5));
    assert!(answer.remote().unwrap().active, "we send the ClientHello");
    assert_eq!(offer.by_mid("b").unwrap().ssrcs(), [(6, Some(7))]);
}

#[test]
fn a_candidate_is_taken_of_the_sockets_family_and_at_the_servers_address_first() {
    let remote = Description::parse(SUBSCRIBER_OFFER).unwrap().remote().unwrap();
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let taken = |local: &str, preferred: &str| remote.candidate(ip(local), ip(preferred)).unwrap();
    assert_eq!(taken("127.0.0.1", "127.0.0.1"), ([10, 0, 0, 1], 5_002).into());
    assert_eq!(taken("::1", "::1"), "[fd00::1]:5004".parse().unwrap());
    let several = Remote { candidates: vec![([10, 0, 0, 1], 1).into(), ([10, 0, 0, 2], 2).into()], ..remote };
    assert_eq!(several.candidate(ip("10.0.0.9"), ip("10.0.0.2")).unwrap().port(), 2);
    assert!(several.candidate(ip("::1"), ip("::1")).is_err());
}

#[test]
fn what_cannot_be_used_is_named() {
    let refused = |text: &str| match Description::parse(text).and_then(|found| found.remote().map(|_| ())) {
        Ok(()) => panic!("accepted"),
        Err(error) => format!("{error:#}"),
    };
    assert!(refused("v=0\r\n").contains("without sections"));
    assert!(refused(&SUBSCRIBER_OFFER.replace("a=ice-pwd:efgh\r\n", "")).contains("ice-pwd"));
    assert!(refused(&SUBSCRIBER_OFFER.replace("sha-256", "md5")).contains("md5"));
    assert!(refused("v=0\r\nm=audio\r\n").contains("m=audio") || refused("v=0\r\nm=audio\r\n").contains("audio"));
}
