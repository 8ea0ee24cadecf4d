//! The session's rules, each by what a page would see.

use std::time::Duration;

use super::*;
use crate::message::{Choice, ServerEnvelope};

const ALL: Permissions = Permissions {
    microphone: true,
    camera: true,
    screen: true,
    see: true,
    hear: true,
    chat: true,
    files: true,
    point: true,
    vitals: true,
    admit: true,
    remove: true,
    mute: true,
    invite: true,
    hand_over: true,
    aside: true,
    end: true,
};

fn welcome(admitted: bool, permissions: Permissions) -> Welcome {
    Welcome {
        seat: "s1".into(),
        role: Role::Patient,
        consultation: "c1".into(),
        language: Language::Fr,
        ticket: "t1".into(),
        grace_seconds: 120,
        standing: Standing { admitted, permissions },
        act: "teleconsultation".into(),
        media: MediaHints {
            start: "video".into(),
            camera: "front".into(),
            cameras: 1,
            screen: "motion".into(),
            low_delay: false,
        },
    }
}

/// What the page received since last asked, as (seq, type or error code).
fn received(session: &mut Session) -> Vec<(u32, String)> {
    let mut messages = Vec::new();
    while let Some(frame) = session.poll_transmit() {
        let _typed: ServerEnvelope = serde_json::from_str(&frame).unwrap();
        let value: serde_json::Value = serde_json::from_str(&frame).unwrap();
        let what = value.get("code").unwrap_or(&value["type"]).as_str().unwrap().to_owned();
        messages.push((value["seq"].as_u64().unwrap() as u32, what));
    }
    messages
}

fn expect(session: &mut Session, messages: &[(u32, &str)]) {
    let found = received(session);
    let found: Vec<(u32, &str)> = found.iter().map(|(seq, what)| (*seq, what.as_str())).collect();
    assert_eq!(found, messages);
}

fn joining(now: Instant) -> Session {
    let mut session = Session::new(now);
    let request = session.handle_text(now, r#"{"type":"join","version":1,"session":"x"}"#);
    assert_eq!(request, Some(Request::Join { session: "x".into(), resume: None }));
    session
}

fn joined(now: Instant, admitted: bool, permissions: Permissions) -> Session {
    let mut session = joining(now);
    session.welcome(welcome(admitted, permissions));
    expect(&mut session, &[(1, "welcome")]);
    session
}

const OFFER: &str = r#"{"type":"offer","id":3,"sdp":"v=0","senders":[{"mid":"0","source":"camera"}]}"#;

#[test]
fn the_first_message_must_be_a_join_of_this_version() {
    let now = Instant::now();
    for (first, code) in [
        (r#"{"type":"ping","id":1}"#, "out_of_order"),
        (OFFER, "out_of_order"),
        ("{", "bad_message"),
        (r#"{"type":"dance"}"#, "bad_message"),
        (r#"{"type":"join","version":2,"session":"x"}"#, "bad_version"),
    ] {
        let mut session = Session::new(now);
        assert_eq!(session.handle_text(now, first), None);
        expect(&mut session, &[(0, code)]);
        assert!(matches!(session.closed(), Some(CloseReason::Refused(_))), "{first}");
        assert_eq!(session.handle_text(now, r#"{"type":"join","version":1,"session":"x"}"#), None);
    }
}

#[test]
fn joins_once_only() {
    let now = Instant::now();
    let mut session = joining(now);
    assert_eq!(session.handle_text(now, r#"{"type":"join","version":1,"session":"x"}"#), None);
    expect(&mut session, &[(0, "out_of_order")]);
    session.welcome(welcome(true, ALL));
    session.welcome(welcome(true, ALL));
    expect(&mut session, &[(1, "welcome")]);
    assert_eq!(session.handle_text(now, r#"{"type":"join","version":1,"session":"x"}"#), None);
    expect(&mut session, &[(2, "out_of_order")]);
    assert_eq!(session.closed(), None);
}

#[test]
fn a_refused_join_says_why_and_closes() {
    let mut session = joining(Instant::now());
    session.refuse(ErrorCode::BadSession, "unknown session");
    expect(&mut session, &[(0, "bad_session")]);
    assert_eq!(session.closed(), Some(CloseReason::Refused(ErrorCode::BadSession)));
}

#[test]
fn offers_wait_for_admission() {
    let now = Instant::now();
    let mut session = joined(now, false, ALL);
    assert_eq!(session.handle_text(now, OFFER), None);
    assert_eq!(session.handle_text(now, r#"{"type":"end"}"#), None);
    expect(&mut session, &[(2, "out_of_order"), (3, "out_of_order")]);
    let sending = r#"{"type":"sending","microphone":true,"camera":false,"screen":false}"#;
    assert!(session.handle_text(now, sending).is_some());
    session.admit(ALL);
    session.admit(ALL);
    expect(&mut session, &[(4, "admitted")]);
    let Some(Request::Offer { id: 3, senders, .. }) = session.handle_text(now, OFFER) else { panic!("an offer") };
    assert_eq!(senders.len(), 1);
}

/// What only some may ask.
const OVER_OTHERS: [&str; 9] = [
    r#"{"type":"admit","seat":"s"}"#,
    r#"{"type":"remove","seat":"s"}"#,
    r#"{"type":"mute","seat":"s","source":"microphone","muted":true}"#,
    r#"{"type":"lock","locked":true}"#,
    r#"{"type":"invite","role":"guest"}"#,
    r#"{"type":"hand_over","to":"s","reason":"other"}"#,
    r#"{"type":"aside","on":true}"#,
    r#"{"type":"next"}"#,
    r#"{"type":"end"}"#,
];

#[test]
fn gates_are_answered_while_waiting_and_in_mid_call() {
    let now = Instant::now();
    let answers = [
        r#"{"type":"gate","answer":{"gate":"card","seats":["s1"]}}"#,
        r#"{"type":"gate","answer":{"gate":"consent","text":"1","accepted":false}}"#,
        r#"{"type":"gate","answer":{"gate":"third_person","present":true}}"#,
        r#"{"type":"gate","answer":{"gate":"preference","choice":"phone"}}"#,
    ];
    for admitted in [false, true] {
        let mut session = joined(now, admitted, Permissions::default());
        for text in answers {
            assert!(matches!(session.handle_text(now, text), Some(Request::Gate { .. })), "{text}");
        }
        expect(&mut session, &[]);
    }
    for (state, mut session) in [("no join", Session::new(now)), ("no welcome", joining(now))] {
        assert_eq!(session.handle_text(now, answers[0]), None, "{state}");
        expect(&mut session, &[(0, "out_of_order")]);
    }
}

#[test]
fn half_an_answer_or_one_with_more_in_it_is_none() {
    let now = Instant::now();
    let mut session = joined(now, false, ALL);
    for text in [
        r#"{"type":"gate"}"#,
        r#"{"type":"gate","answer":{"gate":"consent","accepted":true}}"#,
        r#"{"type":"gate","answer":{"gate":"consent","text":"1"}}"#,
        r#"{"type":"gate","answer":{"gate":"login"}}"#,
        r#"{"type":"gate","answer":{"gate":"preference","choice":"letter"}}"#,
        r#"{"type":"gate","answer":{"gate":"preference","choice":"video","name":"x"}}"#,
    ] {
        assert_eq!(session.handle_text(now, text), None, "{text}");
        assert_eq!(received(&mut session)[0].1, "bad_message", "{text}");
    }
}

#[test]
fn rights_that_change_are_told_once_and_count_from_then_on() {
    let now = Instant::now();
    let mut session = joined(now, true, ALL);
    let fewer = Permissions { microphone: true, ..Permissions::default() };
    session.set_permissions(ALL);
    session.set_permissions(fewer);
    session.set_permissions(fewer);
    expect(&mut session, &[(2, "permissions")]);
    for text in OVER_OTHERS {
        assert_eq!(session.handle_text(now, text), None, "{text}");
        assert_eq!(received(&mut session)[0].1, "not_permitted");
    }
    let mut waiting = joined(now, false, ALL);
    waiting.set_permissions(fewer);
    expect(&mut waiting, &[]);
}

#[test]
fn locking_is_of_whoever_admits_and_the_next_patient_of_whoever_ends() {
    let now = Instant::now();
    let mut admits = joined(now, true, Permissions { admit: true, ..Permissions::default() });
    assert!(admits.handle_text(now, r#"{"type":"lock","locked":true}"#).is_some());
    assert!(admits.handle_text(now, r#"{"type":"next"}"#).is_none());
    let mut ends = joined(now, true, Permissions { end: true, ..Permissions::default() });
    assert!(ends.handle_text(now, r#"{"type":"lock","locked":true}"#).is_none());
    assert!(ends.handle_text(now, r#"{"type":"next"}"#).is_some());
}

#[test]
fn whoever_waits_may_ask_nothing_of_others() {
    let now = Instant::now();
    let mut session = joined(now, false, ALL);
    for text in OVER_OTHERS {
        assert_eq!(session.handle_text(now, text), None, "{text}");
        assert_eq!(received(&mut session)[0].1, "out_of_order");
    }
}

#[test]
fn hosts_rights_are_checked_before_anything_is_asked() {
    let now = Instant::now();
    let mut patient = joined(now, true, Permissions { microphone: true, ..Permissions::default() });
    let mut host = joined(now, true, ALL);
    for text in OVER_OTHERS {
        assert_eq!(patient.handle_text(now, text), None);
        assert!(matches!(received(&mut patient)[..], [(_, ref code)] if code == "not_permitted"));
        assert!(host.handle_text(now, text).is_some(), "{text}");
    }
}

#[test]
fn resumption_misses_nothing_and_goes_on_counting() {
    let now = Instant::now();
    let mut first = joined(now, true, ALL);
    first.send(ServerMessage::Speaker { seat: None });
    first.send(ServerMessage::Roster { seats: vec![] });
    assert_eq!(received(&mut first).len(), 2);
    assert_eq!(first.handle_text(now, r#"{"type":"ack","received":1}"#), None);
    let mut kept = first.into_outbox();
    kept.push(ServerMessage::Media { state: crate::message::MediaState::Silent });

    let mut second = joining(now);
    assert!(second.resume(kept, 2, "t2".into(), Standing { admitted: true, permissions: ALL }));
    second.send(ServerMessage::Slots { slots: vec![] });
    expect(&mut second, &[(0, "resumed"), (3, "roster"), (4, "media"), (5, "slots")]);
    assert!(second.handle_text(now, OFFER).is_some(), "still admitted");
}

#[test]
fn a_resumption_from_too_far_back_starts_afresh() {
    let now = Instant::now();
    let mut first = joined(now, true, ALL);
    first.send(ServerMessage::Admitted);
    first.handle_text(now, r#"{"type":"ack","received":2}"#);
    for wrong in [1, 3] {
        let mut second = joining(now);
        let kept = std::mem::take(&mut first.outbox);
        assert!(!second.resume(kept, wrong, "t2".into(), Standing { admitted: true, permissions: ALL }));
        second.welcome(welcome(true, ALL));
        expect(&mut second, &[(1, "welcome")]);
    }
}

#[test]
fn an_ack_of_what_was_never_sent_is_an_error() {
    let now = Instant::now();
    let mut session = joined(now, true, ALL);
    assert_eq!(session.handle_text(now, r#"{"type":"ack","received":9}"#), None);
    expect(&mut session, &[(2, "out_of_order")]);
}

#[test]
fn closing_tells_the_page_why() {
    let now = Instant::now();
    for (reason, what) in [
        (CloseReason::Replaced, "replaced"),
        (CloseReason::Removed, "removed"),
        (CloseReason::Ended, "ended"),
        (CloseReason::MovedDevice, "moved_device"),
        (CloseReason::Declined(Some(Choice::Phone)), "declined"),
    ] {
        let mut session = joined(now, false, ALL);
        session.close(reason);
        session.send(ServerMessage::Admitted);
        session.close(CloseReason::Lost);
        expect(&mut session, &[(2, what)]);
        assert_eq!(session.closed(), Some(reason));
        assert_eq!(session.handle_text(now, r#"{"type":"ping","id":1}"#), None);
        expect(&mut session, &[]);
    }
    let mut session = joined(now, true, ALL);
    assert_eq!(session.handle_text(now, r#"{"type":"leave"}"#), Some(Request::Leave));
    assert_eq!(session.closed(), Some(CloseReason::Left));
}

#[test]
fn a_flood_closes_the_socket() {
    let now = Instant::now();
    let mut session = joined(now, true, ALL);
    let mut answered = 0;
    while session.closed().is_none() {
        session.handle_text(now, r#"{"type":"ping","id":1}"#);
        answered += 1;
    }
    assert!(answered <= 121, "{answered}");
    assert_eq!(received(&mut session).last(), Some(&(0, "too_many".into())));
    let mut session = joined(now, true, ALL);
    let offers = std::iter::repeat_with(|| session.handle_text(now, OFFER)).take_while(Option::is_some).count();
    assert_eq!(offers, 10);
    assert_eq!(session.closed(), Some(CloseReason::TooMany));
}

#[test]
fn frames_are_bounded_by_kind() {
    let now = Instant::now();
    let mut session = joined(now, true, ALL);
    let long = "x".repeat(SMALL_FRAME_BYTES_MAX);
    assert_eq!(session.handle_text(now, &format!(r#"{{"type":"admit","seat":"{long}"}}"#)), None);
    assert_eq!(session.handle_text(now, &" ".repeat(FRAME_BYTES_MAX + 1)), None);
    expect(&mut session, &[(2, "bad_message"), (3, "bad_message")]);
    let offer = |len: usize| format!(r#"{{"type":"offer","id":1,"sdp":"{}","senders":[]}}"#, "x".repeat(len));
    assert!(session.handle_text(now, &offer(SDP_BYTES_MAX)).is_some());
    assert!(session.handle_text(now, &offer(SDP_BYTES_MAX + 1)).is_none());
    expect(&mut session, &[(4, "bad_offer")]);
    session.handle_binary(now);
    expect(&mut session, &[(5, "bad_message")]);
}

#[test]
fn a_silent_socket_is_given_up_and_may_resume() {
    let now = Instant::now();
    let mut stranger = Session::new(now);
    stranger.handle_timeout(now + JOIN_WAIT_MAX - Duration::from_millis(1));
    assert_eq!(stranger.closed(), None);
    stranger.handle_timeout(now + JOIN_WAIT_MAX);
    assert!(matches!(stranger.closed(), Some(CloseReason::Refused(_))));
    assert_eq!(stranger.poll_timeout(), None);

    let mut page = joined(now, true, ALL);
    let later = now + Duration::from_secs(30);
    page.handle_text(later, r#"{"type":"ping","id":7}"#);
    expect(&mut page, &[(0, "pong")]);
    assert_eq!(page.poll_timeout(), Some(later + SILENCE_MAX));
    page.handle_timeout(later + SILENCE_MAX);
    assert_eq!(page.closed(), Some(CloseReason::Lost));
    assert_eq!(page.into_outbox().last(), 1);
}

#[test]
fn a_socket_that_takes_nothing_is_given_up_with_bounded_memory() {
    let mut session = joined(Instant::now(), true, ALL);
    for _ in 0..TRANSMIT_MAX + 1 {
        session.send(ServerMessage::Admitted);
    }
    assert_eq!(session.closed(), Some(CloseReason::Lost));
    assert!(session.transmit.is_empty());
}

#[test]
fn errors_repeat_nothing_of_what_was_sent() {
    let now = Instant::now();
    let mut session = joined(now, true, ALL);
    session.handle_text(now, r#"{"type":"admit","seat":"s","name":"Mme Dupont"}"#);
    session.handle_text(now, r#"{"type":"Mme Dupont"}"#);
    let frames: Vec<_> = std::iter::from_fn(|| session.poll_transmit()).collect();
    assert_eq!(frames.len(), 2);
    assert!(frames.iter().all(|frame| !frame.contains("Dupont")));
}
