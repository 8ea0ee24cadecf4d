//! A whole consultation, from its journal to the record: what is told, what is not, and that every failure has its one cause.

use std::collections::BTreeMap;

use colloque_signaling::message::{Choice, PhoneCause};

use super::*;
use crate::acts::Acts;
use crate::control::facts::{Actor, Cause, Departure, Passed, Refused};
use crate::pii::Pii;
use crate::store::{Admission, Entry, Login};

const SECOND: i64 = 1_000;
const BEGIN: i64 = 1_772_357_400;

fn entry(cursor: i64, second: i64, seat: &str, fact: &Fact) -> JournalEntry {
    let (kind, data) = fact.to_parts();
    let entry = Entry {
        id: cursor.to_string(),
        at: (BEGIN + second) * SECOND,
        clinic: Some("clinic".into()),
        consultation: Some("c_1".into()),
        seat: Some(seat.to_owned()).filter(|seat| !seat.is_empty()),
        kind,
        data,
    };
    JournalEntry { cursor, entry, hash: [cursor as u8; 32] }
}

pub(in crate::control::record) fn consultation() -> ConsultationRecord {
    ConsultationRecord {
        id: "c_1".into(),
        clinic: "clinic".into(),
        act: "teleconsultation".into(),
        language: "fr".into(),
        priority: None,
        starts_at: Some(BEGIN),
        created_at: BEGIN - 86_400,
        booking: 1,
        ended_at: None,
        gates: None,
        patient: Some(Pii("P-4711".into())),
        postal_prefix: Some("972".into()),
        queue: None,
        login: true,
        locked: false,
        e2ee: "off".into(),
    }
}

fn seat(id: &str, role: &str, name: &str) -> SeatRecord {
    SeatRecord {
        id: id.into(),
        consultation: "c_1".into(),
        role: role.into(),
        display_name: Some(Pii(name.into())),
        phone: Some(Pii("+596 696 00 00 01".into())),
        email: Some(Pii("planted@clinic.example".into())),
        card: None,
        pin: Pii("00000000".into()),
        phone_consent: false,
        admission: Admission::Direct,
        vouched: false,
        token_epoch: 0,
        device: None,
        other_device: false,
        gates: Vec::new(),
        login: None,
    }
}

pub(in crate::control::record) fn seats() -> Vec<SeatRecord> {
    let card = Card {
        title: Some("Dr".into()),
        name: Some("Césaire Aimée".into()),
        specialty: Some("Médecine générale".into()),
        rpps: Some("10001774126".into()),
        address: Some("1 rue des Flamboyants, 97200 Fort-de-France".into()),
        fee: Some("25 €".into()),
        ..Card::default()
    };
    let mut doctor = seat("d_r", "practitioner", "Dr Césaire");
    doctor.card = Some(Pii(serde_json::to_string(&card).unwrap()));
    doctor.login = Some(Login { rpps: Some(Pii("10001774126".into())), level: "eidas2".into(), at: BEGIN });
    let mut device = seat("dev", "nurse", "Chariot 3");
    device.vouched = true;
    vec![doctor, seat("pat", "patient", "Patricia Planted"), device, seat("comp", "companion", "Son fils")]
}

/// Doctor and patient for ten minutes, a lost connection, a refused companion, a device that could not join at first.
pub(in crate::control::record) fn journal() -> Vec<JournalEntry> {
    let media = |camera| Fact::SeatMedia { microphone: true, camera, screen: false, telephone: false };
    let secured = |group: &str| Fact::MediaSecured {
        dtls: "DTLSv1.3".into(),
        group: group.into(),
        srtp: "AEAD_AES_128_GCM".into(),
    };
    let facts = [
        (-86_400, "", Fact::ConsultationCreated { act: "teleconsultation".into() }),
        (0, "d_r", Fact::LoggedIn { level: "eidas2".into() }),
        (1, "d_r", Fact::SeatJoined {}),
        (2, "d_r", secured("X25519MLKEM768")),
        (3, "d_r", media(true)),
        (20, "dev", Fact::JoinFailed { cause: Cause::HandshakeFailed }),
        (21, "dev", Fact::GatesWaived {}),
        (30, "pat", Fact::GatePassed { gate: Passed::Card { seats: vec!["d_r".into()], complete: true } }),
        (40, "pat", Fact::GatePassed { gate: Passed::Consent { text: "1".into() } }),
        (45, "pat", Fact::GatePassed { gate: Passed::ThirdPerson { present: true } }),
        (60, "pat", Fact::SeatJoined {}),
        (61, "pat", secured("X25519MLKEM768")),
        (61, "pat", secured("X25519MLKEM768")),
        (62, "pat", media(true)),
        (300, "pat", Fact::SeatLost {}),
        (330, "pat", Fact::Incident { cause: Cause::ConnectionLost }),
        (330, "pat", Fact::SeatBack {}),
        (400, "comp", Fact::GateRefused { gate: Refused::Preference { choice: Choice::InPerson } }),
        (401, "comp", Fact::JoinFailed { cause: Cause::SeatDeclined }),
        (500, "pat", media(false)),
        (500, "d_r", media(false)),
        (661, "pat", Fact::SeatLeft { cause: Departure::Left }),
        (700, "", Fact::ConsultationEnded { by: Actor::Seat("d_r".into()) }),
    ];
    let numbered = facts.iter().zip(1..);
    numbered.map(|((second, seat, fact), cursor)| entry(cursor, *second, seat, fact)).collect()
}

pub(in crate::control::record) fn tell(
    entries: &[JournalEntry],
    stops: &[Stop],
    ended_at: Option<i64>,
) -> RecordDocument {
    let acts = Acts::built_in();
    let consultation = ConsultationRecord { ended_at, ..consultation() };
    let origins = Origins {
        issuer: "https://colloque.example",
        consultation: &consultation,
        act: acts.of_stored("teleconsultation"),
        seats: &seats(),
        entries,
        stops,
        now: (BEGIN + 90_000) * SECOND,
    };
    RecordDocument::tell(origins, |_| "header.payload.signature".into())
}

pub(in crate::control::record) fn finished() -> RecordDocument {
    tell(&journal(), &[], Some(BEGIN + 700))
}

#[test]
fn a_consultation_is_told_from_its_journal() {
    let RecordDocument { account, .. } = finished();
    assert_eq!(account.status, RecordStatus::Finished);
    assert_eq!(account.started_at.as_deref(), Some("2026-03-01T09:30:01Z"));
    assert_eq!(account.ended_at.as_deref(), Some("2026-03-01T09:41:40Z"));
    assert_eq!(account.duration_seconds, 699);
    let seconds = account.with_patient.seconds;
    assert_eq!((seconds.video, seconds.video_both_ways, seconds.audio, seconds.silent), (410, 408, 161, 0));
    assert_eq!(account.with_patient.minutes, MinutesByMode { video: 6, audio: 2, telephone: 0 });
    assert_eq!(account.between_professionals, TimeByMode::default());
    assert!(account.complete);
    let [doctor, patient, device, companion] = account.participants.as_slice() else { panic!("four seats") };
    assert_eq!(doctor.card.as_ref().unwrap().rpps.as_deref(), Some("10001774126"));
    assert_eq!(doctor.authentication.method, Authentication::Login);
    assert_eq!(doctor.authentication.level.as_deref(), Some("eidas2"));
    assert_eq!((doctor.present_seconds, patient.present_seconds), (699, 571));
    assert_eq!(patient.authentication.method, Authentication::Link);
    assert_eq!(device.authentication.method, Authentication::Vouched);
    assert_eq!((companion.joined_at.as_ref(), companion.present_seconds), (None, 0));
    assert_eq!(account.gates.len(), 5);
    assert_eq!(account.security.post_quantum, Some(true));
    assert_eq!(account.security.connections.len(), 2);
}

#[test]
fn every_failure_has_exactly_one_cause() {
    let record = finished();
    let failed: Vec<(Option<&str>, Cause)> =
        record.account.failed_joins.iter().map(|event| (event.seat.as_deref(), event.cause)).collect();
    assert_eq!(failed, [(Some("dev"), Cause::HandshakeFailed), (Some("comp"), Cause::SeatDeclined)]);
    assert_eq!(record.statement.failed_joins.values().sum::<u32>(), 2);
    assert_eq!(record.statement.incidents, BTreeMap::from([("connection_lost".to_owned(), 1)]));
}

#[test]
fn what_goes_wrong_with_a_telephone_is_an_incident_with_one_cause() {
    let mut entries = journal()[..14].to_vec();
    let telephone = [
        Fact::PhoneCalled { by: Actor::Server },
        Fact::PhoneFailed { cause: PhoneCause::NoLine },
        Fact::PhoneFailed { cause: PhoneCause::NoAnswer },
        Fact::PhoneJoined {},
        Fact::PhoneSilent { never_heard: true },
        Fact::PhoneNothingSent {},
        Fact::PhoneSilent { never_heard: false },
        Fact::PhoneLost {},
        Fact::PhoneLeft { cause: PhoneCause::LineDead },
    ];
    let begin = entries.len() as i64;
    entries.extend(telephone.iter().zip(begin..).map(|(fact, at)| entry(at + 1, 200 + at, "pat", fact)));
    let record = tell(&entries, &[], None);
    let causes: Vec<Cause> = record.account.incidents.iter().map(|event| event.cause).collect();
    use Cause::{TelephoneLost, TelephoneNoSound, TelephoneNothingSent, TelephoneUnavailable};
    assert_eq!(causes, [TelephoneUnavailable, TelephoneNoSound, TelephoneNothingSent, TelephoneLost]);
    assert!(record.account.incidents.iter().all(|event| event.seat.as_deref() == Some("pat")));
    assert_eq!(record.statement.incidents["telephone_no_sound"], 1);
}

#[test]
fn a_stop_of_the_server_is_an_incident_of_everyone_who_was_there() {
    let entries = &journal()[..14];
    let stop = Stop { last_sign: (BEGIN + 200) * SECOND, next_start: (BEGIN + 900) * SECOND };
    let record = tell(entries, &[stop], None);
    let seats: Vec<Option<&str>> = record.account.incidents.iter().map(|event| event.seat.as_deref()).collect();
    assert_eq!(seats, [Some("d_r"), Some("pat")]);
    assert_eq!(record.statement.incidents, BTreeMap::from([("server_stopped".to_owned(), 2)]));
    assert_eq!((record.account.status, record.account.duration_seconds), (RecordStatus::InProgress, 199));
    assert_eq!(record.account.ended_at, None);
}

#[test]
fn what_never_began_is_planned_and_then_cancelled() {
    let entries = &journal()[..1];
    assert_eq!(tell(entries, &[], None).account.status, RecordStatus::Planned);
    let record = tell(entries, &[], Some(BEGIN + 5));
    assert_eq!((record.account.status, record.account.duration_seconds), (RecordStatus::Cancelled, 0));
}

#[test]
fn a_journal_whose_beginning_was_pruned_says_so() {
    let record = tell(&journal()[2..], &[], Some(BEGIN + 700));
    assert!(!record.account.complete && !record.statement.complete);
}

#[test]
fn the_end_bounds_what_is_counted_even_if_the_journal_does_not_tell_it_yet() {
    let entries = &journal()[..14];
    let record = tell(entries, &[], Some(BEGIN + 160));
    assert_eq!((record.account.status, record.account.duration_seconds), (RecordStatus::Finished, 159));
    assert_eq!(record.account.with_patient.seconds.video, 100);
}

#[test]
fn the_statement_names_nobody_and_is_the_same_each_time() {
    let record = finished();
    let statement = serde_json::to_string(&record.statement).unwrap();
    for planted in ["saire", "Planted", "10001774126", "P-4711", "Flamboyants", "fils", "+596", "@clinic", "00000000"] {
        assert!(!statement.contains(planted), "{planted}");
    }
    let whole = serde_json::to_string(&record).unwrap();
    for planted in ["+596", "@clinic", "00000000"] {
        assert!(!whole.contains(planted), "{planted}: not even the clinic needs it in the record");
    }
    assert_eq!(finished(), record);
    let last = record.statement.journal.as_ref().unwrap();
    assert_eq!((last.cursor, &last.hash[..4]), (23, "1717"));
    let seats: Vec<&str> = record.statement.participants.iter().map(|who| who.seat.as_str()).collect();
    assert_eq!(seats, ["d_r", "pat"], "who was in the room");
}
