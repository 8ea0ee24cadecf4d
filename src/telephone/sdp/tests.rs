//! Offers of real telephones, answers to them, and what must be refused.

use crate::config::telephone::SrtpPolicy;

use super::*;

const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

fn local() -> Local {
    Local {
        address: "192.0.2.1:20000".parse().unwrap(),
        session: 7,
        version: 1,
        key: Pii([9; 30]),
        direction: Direction::SendRecv,
    }
}

fn rules(srtp: SrtpPolicy, secure: bool) -> Rules {
    Rules { codecs: vec![TelephoneCodec::G722, TelephoneCodec::Pcma, TelephoneCodec::Pcmu], srtp, secure }
}

fn plain() -> Rules {
    rules(SrtpPolicy::Off, false)
}

fn description(media: &str) -> Remote {
    let text = format!("v=0\r\no=- 1 5 IN IP4 198.51.100.7\r\ns=x\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n{media}");
    Remote::read(text.as_bytes()).unwrap()
}

#[test]
fn the_best_common_codec_is_chosen_with_its_payload_type() {
    for (media, codec, payload) in [
        ("m=audio 4000 RTP/AVP 8 0 9\r\n", TelephoneCodec::G722, 9),
        ("m=audio 4000 RTP/AVP 0\r\n", TelephoneCodec::Pcmu, 0),
        ("m=audio 4000 RTP/AVP 18 97\r\na=rtpmap:97 pcma/8000\r\na=rtpmap:18 G729/8000\r\n", TelephoneCodec::Pcma, 97),
        ("m=audio 4000 RTP/AVP 3 8\r\n", TelephoneCodec::Pcma, 8),
    ] {
        let (agreed, text) = description(media).answer(&local(), &plain()).unwrap();
        assert_eq!(agreed.format, Format { codec, payload }, "{media}");
        assert_eq!(agreed.to, "198.51.100.7:4000".parse().unwrap());
        assert_eq!(agreed.rtcp, Some("198.51.100.7:4001".parse().unwrap()));
        assert!(text.contains(&format!("m=audio 20000 RTP/AVP {payload}")), "{text}");
    }
    let g729 = description("m=audio 4000 RTP/AVP 18\r\n");
    assert_eq!(g729.answer(&local(), &plain()).unwrap_err(), Refused::Codec);
}

#[test]
fn opus_is_taken_only_where_the_trunk_allows_it() {
    let offer = description(
        "m=audio 4000 RTP/AVP 111 8 101 110\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=rtpmap:110 telephone-event/48000\r\n",
    );
    assert_eq!(offer.answer(&local(), &plain()).unwrap().0.format.payload, 8);
    let with_opus = Rules { codecs: vec![TelephoneCodec::Opus, TelephoneCodec::Pcma], ..plain() };
    let (agreed, text) = offer.answer(&local(), &with_opus).unwrap();
    assert_eq!(agreed.format, Format { codec: TelephoneCodec::Opus, payload: 111 });
    assert_eq!(agreed.events, Some(Event { payload: 110, rate: 48_000 }));
    assert!(text.contains("a=rtpmap:111 opus/48000/2\r\n"));
}

#[test]
fn telephone_event_may_have_any_number_and_comfort_noise_may_come() {
    for payload in [96, 100, 101, 127] {
        let media = format!("m=audio 4000 RTP/AVP 8 13 {payload}\r\na=rtpmap:{payload} telephone-event/8000\r\n");
        let (agreed, text) = description(&media).answer(&local(), &plain()).unwrap();
        assert_eq!(agreed.events, Some(Event { payload, rate: 8_000 }));
        assert_eq!(agreed.comfort_noise, Some(13));
        assert!(text.contains(&format!("a=rtpmap:{payload} telephone-event/8000\r\na=fmtp:{payload} 0-15\r\n")));
    }
}

#[test]
fn packets_are_as_long_as_they_want_within_reason() {
    for (lines, ptime) in [
        ("", 20),
        ("a=ptime:10\r\n", 10),
        ("a=ptime:30\r\n", 30),
        ("a=ptime:60\r\n", 60),
        ("a=ptime:200\r\n", 60),
        ("a=ptime:0\r\n", 10),
        ("a=ptime:60\r\na=maxptime:40\r\n", 40),
        ("a=ptime:x\r\n", 20),
    ] {
        let (agreed, text) =
            description(&format!("m=audio 4000 RTP/AVP 8\r\n{lines}")).answer(&local(), &plain()).unwrap();
        assert_eq!(agreed.ptime, ptime, "{lines}");
        assert!(text.contains(&format!("a=ptime:{ptime}\r\n")));
    }
}

#[test]
fn hold_is_answered_by_its_mirror() {
    for (theirs, ours) in [
        ("a=sendrecv\r\n", Direction::SendRecv),
        ("", Direction::SendRecv),
        ("a=sendonly\r\n", Direction::RecvOnly),
        ("a=recvonly\r\n", Direction::SendOnly),
        ("a=inactive\r\n", Direction::Inactive),
        ("c=IN IP4 0.0.0.0\r\n", Direction::Inactive),
    ] {
        let offer = description(&format!("m=audio 4000 RTP/AVP 8\r\n{theirs}"));
        let (agreed, text) = offer.answer(&local(), &plain()).unwrap();
        assert_eq!(agreed.direction, ours, "{theirs}");
        assert!(text.contains(&format!("a={}\r\n", ours.name())));
    }
    let above = b"v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\na=sendonly\r\nm=audio 4000 RTP/AVP 8\r\n";
    let (agreed, _) = Remote::read(above).unwrap().answer(&local(), &plain()).unwrap();
    assert_eq!(agreed.direction, Direction::RecvOnly);
}

#[test]
fn an_address_may_stand_in_the_media_line_and_be_ipv6() {
    let offer = description("m=audio 4000 RTP/AVP 8\r\nc=IN IP6 2001:db8::7\r\na=rtcp:4444 IN IP6 2001:db8::8\r\n");
    let ours = Local { address: "[2001:db8::1]:20000".parse().unwrap(), ..local() };
    let (agreed, text) = offer.answer(&ours, &plain()).unwrap();
    assert_eq!(agreed.to, "[2001:db8::7]:4000".parse().unwrap());
    assert_eq!(agreed.rtcp, Some("[2001:db8::8]:4444".parse().unwrap()));
    assert!(text.contains("c=IN IP6 2001:db8::1\r\n"));
}

#[test]
fn every_other_media_line_is_refused_in_its_place() {
    let offer = description(
        "m=video 5000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\nm=audio 4000 RTP/AVP 8\r\nm=image 5002 udptl t38\r\n\
         m=audio 4002 RTP/AVP 0\r\n",
    );
    let (_, text) = offer.answer(&local(), &plain()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
    let refused = ["m=video 0 RTP/AVP 96", "m=audio 20000 RTP/AVP 8", "m=image 0 udptl t38", "m=audio 0 RTP/AVP 0"];
    assert_eq!(lines, refused);
}

#[test]
fn keys_are_taken_by_the_trunks_policy_and_only_over_tls() {
    let secure = format!("m=audio 4000 RTP/SAVP 8\r\na=crypto:3 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^31\r\n");
    let bare = "m=audio 4000 RTP/AVP 8\r\n".to_owned();
    let both = format!("{bare}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n");
    let unknown = "m=audio 4000 RTP/SAVP 8\r\na=crypto:1 AES_256_CM_HMAC_SHA1_80 inline:AAAA\r\n".to_owned();
    for (offer, policy, tls, outcome) in [
        (&secure, SrtpPolicy::Off, true, Err(Refused::Srtp)),
        (&secure, SrtpPolicy::Allow, false, Err(Refused::Srtp)),
        (&secure, SrtpPolicy::Allow, true, Ok(true)),
        (&secure, SrtpPolicy::Require, true, Ok(true)),
        (&secure, SrtpPolicy::Require, false, Err(Refused::Srtp)),
        (&bare, SrtpPolicy::Off, true, Ok(false)),
        (&bare, SrtpPolicy::Allow, true, Ok(false)),
        (&bare, SrtpPolicy::Require, true, Err(Refused::Srtp)),
        (&both, SrtpPolicy::Allow, true, Ok(false)),
        (&both, SrtpPolicy::Require, true, Err(Refused::Srtp)),
        (&unknown, SrtpPolicy::Allow, true, Err(Refused::Srtp)),
    ] {
        let answer = description(offer).answer(&local(), &rules(policy, tls));
        let seen = answer.as_ref().map(|(agreed, _)| agreed.srtp.is_some()).map_err(|refused| *refused);
        assert_eq!(seen, outcome, "{offer} {policy:?} {tls}");
    }
    let (agreed, text) = description(&secure).answer(&local(), &rules(SrtpPolicy::Allow, true)).unwrap();
    let (suite, ours, theirs) = agreed.srtp.clone().unwrap();
    assert_eq!((suite, ours), (Suite::Sha1_32, Pii([9; 30])));
    assert_ne!(theirs, Pii([9; 30]));
    assert!(text.contains("m=audio 20000 RTP/SAVP 8\r\n"));
    assert!(text.contains("a=crypto:3 AES_CM_128_HMAC_SHA1_32 inline:CQkJ"), "{text}");
    assert!(!format!("{agreed:?}").contains("9, 9"), "keys are printed");
}

#[test]
fn a_key_line_is_taken_only_if_all_of_it_can_be_kept() {
    for (behind_the_key, taken) in [
        ("", true),
        ("|2^31", true),
        ("|1048576", true),
        (" WSH=64", true),
        ("|2^48 WSH=4096", true),
        (" -SOMETHING_NEW", true),
        (" -SOMETHING=7 WSH=128", true),
        // A master key index, with a lifetime and without; several keys.
        ("|1:4", false),
        ("|2^20|1:4", false),
        (&format!("|2^20|1:4;inline:{KEY}|2^20|2:4"), false),
        (&format!(";inline:{KEY}"), false),
        ("|", false),
        ("|2^", false),
        ("|soon", false),
        (" KDR=0", false),
        (" KDR=16", false),
        (" UNENCRYPTED_SRTP", false),
        (" UNENCRYPTED_SRTCP", false),
        (" UNAUTHENTICATED_SRTP", false),
        (" FEC_ORDER=FEC_SRTP", false),
        (&format!(" FEC_KEY=inline:{KEY}"), false),
        (" WSH=64 UNENCRYPTED_SRTCP", false),
        (" WSH", false),
        (" WSH=wide", false),
        (" wsh=64", false),
        (" SOMETHING_NEW", false),
    ] {
        let line = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{behind_the_key}\r\n");
        let alone = description(&format!("m=audio 4000 RTP/SAVP 8\r\n{line}"));
        let secure = rules(SrtpPolicy::Allow, true);
        let agreed = alone.answer(&local(), &secure).map(|(agreed, _)| agreed.srtp.is_some());
        assert_eq!(agreed, if taken { Ok(true) } else { Err(Refused::Srtp) }, "{behind_the_key}");
        // Another line that can be kept is chosen instead, and named in the answer.
        let other = format!("a=crypto:7 AES_CM_128_HMAC_SHA1_32 inline:{KEY}\r\n");
        let both = description(&format!("m=audio 4000 RTP/SAVP 8\r\n{line}{other}"));
        let (_, text) = both.answer(&local(), &secure).unwrap();
        assert!(text.contains(if taken { "a=crypto:1 " } else { "a=crypto:7 " }), "{text}");
        assert_eq!(text.matches("a=crypto").count(), 1);
        // Nothing of it stood in our offer: an answer that adds it is none.
        let accepted = Offered::new(local(), &secure).accept(&alone).map(|agreed| agreed.srtp.is_some());
        assert_eq!(accepted, if taken { Ok(true) } else { Err(Refused::Srtp) }, "{behind_the_key}");
    }
}

#[test]
fn an_answer_takes_the_key_line_that_was_offered() {
    let offered = Offered::new(local(), &rules(SrtpPolicy::Require, true));
    for (tag, suite, taken) in [
        (1, "AES_CM_128_HMAC_SHA1_80", true),
        (2, "AES_CM_128_HMAC_SHA1_80", false),
        (1, "AES_CM_128_HMAC_SHA1_32", false),
    ] {
        let answer = description(&format!("m=audio 4000 RTP/SAVP 8\r\na=crypto:{tag} {suite} inline:{KEY}\r\n"));
        assert_eq!(offered.accept(&answer).is_ok(), taken, "{tag} {suite}");
    }
}

#[test]
fn a_secure_line_wins_beside_a_plain_one_when_it_must() {
    let offer = description(&format!(
        "m=audio 4000 RTP/AVP 8\r\nm=audio 4002 RTP/SAVP 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n"
    ));
    let (agreed, text) = offer.answer(&local(), &rules(SrtpPolicy::Require, true)).unwrap();
    assert_eq!(agreed.to.port(), 4002);
    assert!(text.contains("m=audio 0 RTP/AVP 8\r\nm=audio 20000 RTP/SAVP 8\r\n"), "{text}");
}

#[test]
fn our_offer_and_its_answer_meet() {
    for (srtp, tls, secure) in
        [(SrtpPolicy::Off, true, false), (SrtpPolicy::Allow, false, false), (SrtpPolicy::Require, true, true)]
    {
        let offered = Offered::new(local(), &rules(srtp, tls));
        assert_eq!(offered.text.contains("RTP/SAVP"), secure);
        let remote = Remote::read(offered.text.as_bytes()).unwrap();
        let other = Local { address: "198.51.100.7:4000".parse().unwrap(), key: Pii([1; 30]), ..local() };
        let theirs = Rules { codecs: vec![TelephoneCodec::Pcma], ..rules(srtp, tls) };
        let (agreed_there, text) = remote.answer(&other, &theirs).unwrap();
        let agreed_here = offered.accept(&Remote::read(text.as_bytes()).unwrap()).unwrap();
        assert_eq!(agreed_here.format, agreed_there.format);
        assert_eq!(agreed_here.to, other.address);
        assert_eq!(agreed_here.events.unwrap().payload, 101);
        let keys = |srtp: Option<(Suite, MasterKey, MasterKey)>| srtp.map(|(_, own, theirs)| (own, theirs));
        assert_eq!(keys(agreed_here.srtp), keys(agreed_there.srtp).map(|(own, theirs)| (theirs, own)));
    }
}

#[test]
fn an_answer_that_was_not_offered_is_refused() {
    let offered = Offered::new(local(), &plain());
    for (answer, refused) in [
        ("m=audio 4000 RTP/AVP 18\r\n", Refused::Codec),
        ("m=audio 0 RTP/AVP 8\r\n", Refused::Address),
        ("m=video 1 RTP/AVP 8\r\nm=audio 4000 RTP/AVP 8\r\n", Refused::Address),
    ] {
        assert_eq!(offered.accept(&description(answer)).unwrap_err(), refused, "{answer}");
    }
    let secure = format!("m=audio 4000 RTP/SAVP 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n");
    assert_eq!(offered.accept(&description(&secure)).unwrap_err(), Refused::Srtp);
    let stripped = Offered::new(local(), &rules(SrtpPolicy::Require, true));
    assert_eq!(stripped.accept(&description("m=audio 4000 RTP/AVP 8\r\n")).unwrap_err(), Refused::Srtp);
}

#[test]
fn what_is_no_description_is_refused_and_nothing_grows() {
    let big = "a=x\r\n".repeat(10_000);
    let many = format!("v=0\r\n{}", "m=audio 1 RTP/AVP 0\r\n".repeat(9));
    for (text, fault) in [
        ("", SdpError::Malformed),
        ("v=1\r\n", SdpError::Malformed),
        ("v=0\r\n", SdpError::NoAudio),
        ("v=0\r\nm=video 1 RTP/AVP 0\r\n", SdpError::NoAudio),
        ("v=0\r\nc=IN IP4 host.example\r\nm=audio 1 RTP/AVP 0\r\n", SdpError::Malformed),
        ("v=0\r\nm=audio x RTP/AVP 0\r\n", SdpError::Malformed),
        ("v=0\r\nm=audio 65536 RTP/AVP 0\r\n", SdpError::Malformed),
        ("v=0\r\nm=audio\r\n", SdpError::Malformed),
        ("v=0\r\nnonsense\r\nm=audio 1 RTP/AVP 0\r\n", SdpError::Malformed),
        (&big, SdpError::TooLong),
        (&many, SdpError::TooLong),
    ] {
        assert_eq!(Remote::read(text.as_bytes()).unwrap_err(), fault, "{}", &text[..text.len().min(60)]);
    }
    assert_eq!(Remote::read(&[0xff]).unwrap_err(), SdpError::NotText);
    let nowhere = description("m=audio 4000 RTP/AVP 8\r\nc=IN IP4 224.0.0.1\r\n");
    assert_eq!(nowhere.answer(&local(), &plain()).unwrap_err(), Refused::Address);
}
