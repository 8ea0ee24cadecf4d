//! Real browsers' offers, offers bent on purpose, and offers broken at random.

use std::net::SocketAddr;

use rtc_sdp::description::session::SessionDescription;

use super::*;
use crate::ids::PayloadType;
use crate::pii::Pii;
use crate::rtp::codec::{Codec, PayloadUse};
use crate::rtp::extension::ExtensionKind;
use crate::transport::parameters::Fingerprint;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sdp/", $name, ".sdp"))
    };
}

const CHROMIUM_SEND: &str = fixture!("chromium156-offer-sendonly-av-dc");
const CHROMIUM_RECEIVE: &str = fixture!("chromium156-offer-recvonly");
const CHROMIUM_SIMULCAST: &str = fixture!("chromium156-offer-simulcast3");
const CHROMIUM_SVC: &str = fixture!("chromium156-offer-vp9-svc-dd");
const CHROMIUM_DD: &str = fixture!("chromium156-offer-dd-forced");
const FIREFOX_SEND: &str = fixture!("firefox153-offer-sendonly-av-dc");
const FIREFOX_RECEIVE: &str = fixture!("firefox153-offer-recvonly");
const FIREFOX_SIMULCAST: &str = fixture!("firefox153-offer-simulcast3");

const OFFERS: [&str; 8] = [
    CHROMIUM_SEND,
    CHROMIUM_RECEIVE,
    CHROMIUM_SIMULCAST,
    CHROMIUM_SVC,
    CHROMIUM_DD,
    FIREFOX_SEND,
    FIREFOX_RECEIVE,
    FIREFOX_SIMULCAST,
];

/// Runs one of the three entry points with fixed numbers: SSRCs count up from 1000.
fn run(
    declared: &[SlotParameters],
    answer: impl FnOnce(OurSide<'_>) -> Result<Negotiated, OfferError>,
) -> Result<Negotiated, OfferError> {
    let candidates: [SocketAddr; 2] = ["192.0.2.1:40000".parse().unwrap(), "[2001:db8::1]:40000".parse().unwrap()];
    let mut next = 999;
    let mut ssrcs = || {
        next += 1;
        Ssrc(next)
    };
    answer(OurSide {
        credentials: IceCredentials { ufrag: "ours".into(), pwd: Pii("o".repeat(24)) },
        fingerprint: [0xab; 32],
        candidates: &candidates,
        ssrcs: &mut ssrcs,
        declared,
        revision: 0,
    })
}

fn page(offer: &str, senders: &[(&str, MediaSource)]) -> Result<Negotiated, OfferError> {
    run(&[], |ours| negotiate(offer, &senders_of(senders), ours))
}

fn senders_of(senders: &[(&str, MediaSource)]) -> Vec<SenderInfo> {
    senders.iter().map(|&(mid, source)| SenderInfo { mid: mid.into(), source }).collect()
}

const AV: &[(&str, MediaSource)] = &[("0", MediaSource::Microphone), ("1", MediaSource::Camera)];

/// The answer must read the same to two parsers that are not ours.
fn check_answer(answer: &str) {
    SessionDescription::unmarshal(&mut std::io::Cursor::new(answer)).expect("rtc-sdp reads the answer");
    str0m::change::SdpAnswer::from_sdp_string(answer).expect("str0m reads the answer");
    assert!(answer.lines().all(|line| line.len() > 2 && line.as_bytes()[1] == b'='));
}

fn lines<'a>(answer: &'a str, start: &str) -> Vec<&'a str> {
    answer.lines().filter(|line| line.starts_with(start)).collect()
}

fn rid_names(ingress: &IngressParameters) -> Vec<String> {
    ingress.rids.iter().map(|rid| format!("{rid:?}")).collect()
}

#[test]
fn takes_chromiums_microphone_camera_and_data_channel() {
    let Negotiated { parameters, answer } = page(CHROMIUM_SEND, AV).unwrap();
    check_answer(&answer);
    assert_eq!(parameters.transport.remote.ufrag, "CvE1");
    assert!(matches!(parameters.transport.remote_fingerprint, Fingerprint::Sha256([0x1b, 0xb0, ..])));
    assert_eq!(parameters.transport.data_channel, Some(262_144));
    let [microphone, camera] = &parameters.ingress[..] else { panic!("two tracks") };
    assert_eq!((microphone.source, &microphone.ssrcs[..]), (Source::Microphone, &[(Ssrc(4_254_841_302), None)][..]));
    assert_eq!(camera.source, Source::Camera);
    assert_eq!(camera.ssrcs, [(Ssrc(2_320_410_395), Some(Ssrc(922_075_181)))]);
    assert!(camera.rids.is_empty() && parameters.slots.is_empty());

    let usage = |pt| parameters.payloads.usage(PayloadType(pt));
    assert_eq!(usage(111), Some(PayloadUse::Media(Codec::Opus)));
    assert_eq!(usage(63), Some(PayloadUse::Red(Codec::Opus)));
    assert_eq!(usage(97), Some(PayloadUse::Rtx(Codec::Vp8)));
    assert_eq!(usage(108), Some(PayloadUse::Media(Codec::H264 { profile: 0x42e0, packetization_mode: 1 })));
    assert_eq!(usage(100), Some(PayloadUse::Media(Codec::Vp9 { profile: 2 })));
    assert_eq!(usage(118), None, "video RED is not ours");
    assert_eq!(parameters.extensions.id(ExtensionKind::Mid), Some(4));
    assert_eq!(parameters.extensions.id(ExtensionKind::AudioLevel), Some(1));

    assert_eq!(lines(&answer, "a=group"), ["a=group:BUNDLE 0 1 2"]);
    assert_eq!(lines(&answer, "a=ice-lite").len(), 1);
    assert_eq!(lines(&answer, "a=setup"), ["a=setup:passive"; 3]);
    assert_eq!(lines(&answer, "a=recvonly").len(), 2);
    assert_eq!(lines(&answer, "a=rtcp-mux").len(), 2);
    assert_eq!(
        lines(&answer, "a=candidate"),
        [
            "a=candidate:1 1 udp 2130706431 192.0.2.1 40000 typ host",
            "a=candidate:2 1 udp 2130706175 2001:db8::1 40000 typ host"
        ]
    );
    assert_eq!(lines(&answer, "a=end-of-candidates").len(), 1);
    assert_eq!(lines(&answer, "a=max-message-size"), ["a=max-message-size:65536"]);
    assert_eq!(lines(&answer, "a=fmtp:111"), ["a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1"]);
    assert_eq!(
        lines(&answer, "a=rtcp-fb:96"),
        ["a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli", "a=rtcp-fb:96 ccm fir", "a=rtcp-fb:96 transport-cc"]
    );
    assert!(!answer.contains("goog-remb") && !answer.contains("ulpfec"));
    assert!(lines(&answer, "m=video")[0].ends_with(" 104 107 114 115 39 40"), "packetization mode 0 goes last");
}

#[test]
fn mirrors_simulcast_in_the_offers_order() {
    for (offer, ufrag) in [(CHROMIUM_SIMULCAST, "QJDM"), (FIREFOX_SIMULCAST, "d9ddfd56")] {
        let Negotiated { parameters, answer } = page(offer, AV).unwrap();
        check_answer(&answer);
        assert_eq!(parameters.transport.remote.ufrag, ufrag);
        assert_eq!(rid_names(&parameters.ingress[1]), ["q", "h", "f"]);
        assert!(parameters.ingress[1].ssrcs.is_empty());
        assert_eq!(lines(&answer, "a=rid"), ["a=rid:q recv", "a=rid:h recv", "a=rid:f recv"]);
        assert_eq!(lines(&answer, "a=simulcast"), ["a=simulcast:recv q;h;f"]);
        assert!(parameters.extensions.id(ExtensionKind::Rid).is_some());
        assert!(parameters.extensions.id(ExtensionKind::DependencyDescriptor).is_some());
    }
}

#[test]
fn returns_the_lowest_layer_first_whatever_the_order_offered() {
    let offer = CHROMIUM_SIMULCAST.replace("a=simulcast:send q;h;f", "a=simulcast:send f;~h,q;q");
    let Negotiated { parameters, answer } = page(&offer, AV).unwrap();
    assert_eq!(rid_names(&parameters.ingress[1]), ["q", "h", "f"]);
    assert_eq!(lines(&answer, "a=simulcast"), ["a=simulcast:recv f;h;q"]);
}

#[test]
fn turns_extension_directions_round() {
    let Negotiated { answer, .. } = page(FIREFOX_SIMULCAST, AV).unwrap();
    assert_eq!(lines(&answer, "a=extmap:9"), ["a=extmap:9/recvonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"]);
    assert!(lines(&answer, "a=extmap:6").is_empty(), "playout delay that the sender does not send");
    assert!(!answer.contains("toffset"));
}

#[test]
fn pairs_receiving_sections_into_slots() {
    for offer in [CHROMIUM_RECEIVE, FIREFOX_RECEIVE] {
        let Negotiated { parameters, answer } = page(offer, &[]).unwrap();
        check_answer(&answer);
        let [slot] = &parameters.slots[..] else { panic!("one slot") };
        assert_eq!((slot.slot, slot.role), (SlotId(0), SlotRole::Seat));
        let (audio, video) = (slot.audio.as_ref().unwrap(), slot.video.as_ref().unwrap());
        assert_eq!((audio.ssrc, audio.rtx_ssrc), (Ssrc(1000), None));
        assert_eq!((video.ssrc, video.rtx_ssrc), (Ssrc(1001), Some(Ssrc(1002))));
        assert!(video.payloads.mapping(Codec::Vp8).unwrap().rtx.is_some());
        assert!(video.extensions.id(ExtensionKind::TransportCc).is_some());
        assert_eq!(video.extensions.id(ExtensionKind::Rid), None);
        assert_eq!(lines(&answer, "a=msid:"), ["a=msid:slot-0 slot-0-audio", "a=msid:slot-0 slot-0-video"]);
        assert_eq!(lines(&answer, "a=ssrc-group"), ["a=ssrc-group:FID 1001 1002"]);
        assert_eq!(lines(&answer, "a=ssrc:1001"), ["a=ssrc:1001 cname:slot-0"]);
        assert_eq!(lines(&answer, "a=sendonly").len(), 2);
    }
    let firefox = page(FIREFOX_RECEIVE, &[]).unwrap();
    let video = firefox.parameters.slots[0].video.as_ref().unwrap();
    assert!(video.extensions.id(ExtensionKind::PlayoutDelay).is_some());
    assert!(firefox.answer.contains("a=extmap:6/sendonly "));
}

/// A page's offer: three senders, data channel and as many slots as asked for, made of Chromium's own sections.
fn page_offer(slots: usize) -> String {
    let (head, send) = CHROMIUM_SEND.split_once("m=audio").unwrap();
    let (audio, rest) = send.split_once("m=video").unwrap();
    let (video, data) = rest.split_once("m=application").unwrap();
    let mut body = String::new();
    let mut mids = 0;
    let mut section = |text: String, mid: &str, receive: bool| {
        let mut text = text.replace(&format!("a=mid:{mid}\r\n"), &format!("a=mid:{mids}\r\n"));
        mids += 1;
        if receive {
            let kept = text.lines().filter(|line| !line.starts_with("a=ssrc") && !line.starts_with("a=msid"));
            text = kept.map(|line| format!("{}\r\n", line.replace("a=sendonly", "a=recvonly"))).collect();
        }
        body.push_str(&text);
    };
    section(format!("m=audio{audio}"), "0", false);
    section(format!("m=video{video}"), "1", false);
    section(format!("m=application{data}"), "2", false);
    for _ in 0..slots {
        section(format!("m=audio{audio}"), "0", true);
        section(format!("m=video{video}"), "1", true);
    }
    let group: String = (0..mids).map(|mid| format!(" {mid}")).collect();
    head.replace("BUNDLE 0 1 2", &format!("BUNDLE{group}")) + &body
}

#[test]
fn a_later_offer_with_more_slots_keeps_declared_ssrcs() {
    let first = page(&page_offer(1), AV).unwrap().parameters;
    let numbers = |slot: &SlotParameters| {
        let video = slot.video.as_ref().unwrap();
        (slot.audio.as_ref().unwrap().ssrc, video.ssrc, video.rtx_ssrc)
    };
    // The counter starts at 1000 again: what is declared must not be drawn a second time.
    let again = run(&first.slots, |ours| negotiate(&page_offer(3), &senders_of(AV), ours)).unwrap();
    check_answer(&again.answer);
    let slots = &again.parameters.slots;
    assert_eq!(slots.len(), 3);
    assert_eq!(numbers(&slots[0]), numbers(&first.slots[0]));
    assert_eq!(numbers(&slots[1]), (Ssrc(1003), Ssrc(1004), Some(Ssrc(1005))));
    assert_eq!(again.parameters.transport.data_channel, Some(262_144));
}

#[test]
fn answers_the_largest_page_and_refuses_one_section_more() {
    assert_eq!(page(&page_offer(30), AV).unwrap().parameters.slots.len(), 30);
    assert_eq!(page(&page_offer(31), AV).unwrap_err(), OfferError::TooManySections);
}

#[test]
fn a_stuck_source_of_numbers_still_gives_distinct_ssrcs() {
    let mut ours_ssrcs = || Ssrc(u32::MAX);
    let ours = OurSide {
        credentials: IceCredentials { ufrag: "ours".into(), pwd: Pii("o".repeat(24)) },
        fingerprint: [0; 32],
        candidates: &[],
        ssrcs: &mut ours_ssrcs,
        declared: &[],
        revision: 0,
    };
    let slots = negotiate(&page_offer(1), &senders_of(AV), ours).unwrap().parameters.slots;
    let video = slots[0].video.as_ref().unwrap();
    assert_eq!(slots[0].audio.as_ref().unwrap().ssrc, Ssrc(u32::MAX));
    assert_eq!((video.ssrc, video.rtx_ssrc), (Ssrc(1), Some(Ssrc(2))));
}

#[test]
fn whip_names_its_tracks_by_kind_and_whep_follows_the_speaker() {
    for offer in [CHROMIUM_SEND, FIREFOX_SEND] {
        let whip = run(&[], |ours| negotiate_whip(offer, ours)).unwrap();
        check_answer(&whip.answer);
        let sources: Vec<Source> = whip.parameters.ingress.iter().map(|ingress| ingress.source).collect();
        assert_eq!(sources, [Source::Microphone, Source::Camera]);
    }
    for offer in [CHROMIUM_RECEIVE, FIREFOX_RECEIVE] {
        let whep = run(&[], |ours| negotiate_whep(offer, ours)).unwrap();
        check_answer(&whep.answer);
        assert_eq!(whep.parameters.slots[0].role, SlotRole::ActiveSpeaker);
    }
    let many = run(&[], |ours| negotiate_whep(&page_offer(2), ours)).unwrap();
    check_answer(&many.answer);
    assert_eq!(lines(&many.answer, "m=audio 0").len(), 1, "a WHEP leg sends nothing");
    assert!(many.parameters.slots.iter().all(|slot| slot.role == SlotRole::Seat));
    assert_eq!(many.parameters.slots.len(), 2);
}

#[test]
fn an_independent_client_accepts_the_answer() {
    use str0m::media::{Direction, MediaKind};
    let mut client = str0m::Rtc::new(std::time::Instant::now());
    let mut changes = client.sdp_api();
    changes.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
    changes.add_media(MediaKind::Video, Direction::SendOnly, None, None, None);
    let (offer, pending) = changes.apply().unwrap();
    let whip = run(&[], |ours| negotiate_whip(&offer.to_sdp_string(), ours)).unwrap();
    let answer = str0m::change::SdpAnswer::from_sdp_string(&whip.answer).unwrap();
    client.sdp_api().accept_answer(pending, answer).expect("str0m accepts the answer");
    assert_eq!(whip.parameters.ingress.len(), 2);

    let mut client = str0m::Rtc::new(std::time::Instant::now());
    let mut changes = client.sdp_api();
    let audio = changes.add_media(MediaKind::Audio, Direction::RecvOnly, None, None, None);
    let video = changes.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
    changes.add_channel("chat".into());
    let (offer, pending) = changes.apply().unwrap();
    let whep = run(&[], |ours| negotiate_whep(&offer.to_sdp_string(), ours)).unwrap();
    let answer = str0m::change::SdpAnswer::from_sdp_string(&whep.answer).unwrap();
    client.sdp_api().accept_answer(pending, answer).expect("str0m accepts the answer");
    for mid in [audio, video] {
        assert_eq!(client.media(mid).expect("the section is there").direction(), Direction::RecvOnly);
    }
    assert_eq!(whep.parameters.slots[0].role, SlotRole::ActiveSpeaker);
}

#[test]
fn a_section_without_known_codec_is_rejected_alone() {
    let offer = CHROMIUM_SEND.replace("opus/48000/2", "vorbis/48000/2");
    let Negotiated { parameters, answer } = page(&offer, AV).unwrap();
    check_answer(&answer);
    assert_eq!(lines(&answer, "m=audio"), ["m=audio 0 UDP/TLS/RTP/SAVPF 111"]);
    assert_eq!(lines(&answer, "a=group"), ["a=group:BUNDLE 1 2"]);
    assert_eq!(lines(&answer, "a=candidate").len(), 2);
    assert_eq!(parameters.ingress.len(), 1);
}

#[test]
fn says_what_is_wrong_with_an_offer() {
    let camera_twice = &[("0", MediaSource::Microphone), ("1", MediaSource::Camera), ("1", MediaSource::Screen)][..];
    let cases: &[(&str, &str, &[(&str, MediaSource)], OfferError)] = &[
        ("a=setup:actpass", "a=setup:passive", AV, OfferError::Setup),
        ("a=rtcp-mux\r\n", "", AV, OfferError::NoRtcpMux),
        ("a=group:BUNDLE 0 1 2\r\n", "", AV, OfferError::NoBundle),
        ("UDP/TLS/RTP/SAVPF", "RTP/AVP", AV, OfferError::PlainRtp),
        ("a=ice-ufrag:CvE1", "a=ice-ufrag:x", AV, OfferError::IceCredentials),
        ("a=ice-pwd:", "a=ice-pw:", AV, OfferError::IceCredentials),
        ("fingerprint:sha-256", "fingerprint:sha-1", AV, OfferError::Fingerprint),
        ("a=extmap-allow-mixed", "a=ice-lite", AV, OfferError::IceLite),
        ("a=mid:1", "a=mid:0", AV, OfferError::Mid),
        ("a=mid:1", "a=mid:a-very-long-identifier", AV, OfferError::Mid),
        ("v=0", "v=1", AV, OfferError::Syntax),
        ("", "", &AV[..1], OfferError::SenderUndeclared),
        ("", "", camera_twice, OfferError::SenderMismatch),
        ("", "", &[("0", MediaSource::Camera)], OfferError::SenderMismatch),
        ("", "", &[("7", MediaSource::Camera)], OfferError::SenderMismatch),
        ("ssrc:2320410395", "ssrc:4254841302", AV, OfferError::SsrcConflict),
    ];
    for (index, (from, to, senders, expected)) in cases.iter().enumerate() {
        let offer = if from.is_empty() { CHROMIUM_SEND.to_owned() } else { CHROMIUM_SEND.replace(from, to) };
        assert_eq!(page(&offer, senders).err(), Some(*expected), "case {index}");
    }
    assert_eq!(page("", AV).err(), Some(OfferError::Syntax));
    assert_eq!(page(&"a".repeat(OFFER_BYTES_MAX + 1), AV).err(), Some(OfferError::TooLarge));
    assert_eq!(page(&"\r\n".repeat(OFFER_LINES_MAX + 1), AV).err(), Some(OfferError::TooLarge));
}

#[test]
fn one_number_means_one_thing_in_the_bundle() {
    let moved = CHROMIUM_SEND
        .replace("m=video 9 UDP/TLS/RTP/SAVPF 96", "m=video 9 UDP/TLS/RTP/SAVPF 111")
        .replace("a=rtpmap:96 ", "a=rtpmap:111 ");
    assert_eq!(page(&moved, AV).err(), Some(OfferError::PayloadTypeConflict));
    let moved = CHROMIUM_SEND.replace("a=extmap:13 urn:3gpp", "a=extmap:1 urn:3gpp");
    assert_eq!(page(&moved, AV).err(), Some(OfferError::ExtensionConflict));
}

#[test]
fn bundle_only_sections_are_not_rejected() {
    let offer = CHROMIUM_SEND.replace("m=video 9 ", "m=video 0 ").replace("a=mid:1", "a=bundle-only\r\na=mid:1");
    assert_eq!(page(&offer, AV).unwrap().parameters.ingress.len(), 2);
    let offer = CHROMIUM_SEND.replace("m=video 9 ", "m=video 0 ");
    assert_eq!(page(&offer, AV).unwrap().parameters.ingress.len(), 1);
}

/// One entry point after the other; an answer, if there is one, must be readable.
fn throw(round: usize, text: &str) {
    let result = match round % 3 {
        0 => page(text, AV),
        1 => run(&[], |ours| negotiate_whip(text, ours)),
        _ => run(&[], |ours| negotiate_whep(text, ours)),
    };
    if let Ok(Negotiated { answer, parameters }) = result {
        SessionDescription::unmarshal(&mut std::io::Cursor::new(&answer)).expect("an answer is always readable");
        assert!(parameters.slots.len() <= LegParameters::SECTIONS_MAX);
    }
}

#[test]
fn truncation_anywhere_never_panics() {
    for offer in OFFERS {
        for end in 0..offer.len() {
            throw(end, &offer[..end]);
        }
    }
}

#[test]
fn random_damage_never_panics() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..20_000 {
        let mut bytes = OFFERS[round % OFFERS.len()].as_bytes().to_vec();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(5) {
                0 => bytes[at] = random(128) as u8,
                1 => bytes.insert(at, b" :;,=/\r\n0a"[random(10)]),
                2 => drop(bytes.drain(at..(at + random(40)).min(bytes.len()))),
                3 => bytes.extend_from_within(at..(at + random(400)).min(bytes.len())),
                _ => bytes[at] = bytes[at].wrapping_add(1) & 0x7f,
            }
        }
        throw(round / OFFERS.len(), std::str::from_utf8(&bytes).expect("only ASCII is written"));
    }
}
