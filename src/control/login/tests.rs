//! What is read from claims. Signatures, nonces and the way back are played against real and hostile providers in `tests/login`.

use serde_json::json;

use crate::store::Admission;

use super::*;

fn settings(acr_values: &[&str]) -> LoginConfig {
    let mut faults = Vec::new();
    let settings = crate::config::LoginSettings {
        issuer: Some("https://auth.example".into()),
        client_id: Some("colloque".into()),
        acr_values: Some(acr_values.join(" ")),
        ..Default::default()
    };
    settings.resolve(&mut faults).unwrap()
}

fn claims(value: Value) -> Claims {
    value.as_object().unwrap().clone()
}

fn seat(card: Option<Value>) -> SeatRecord {
    SeatRecord {
        id: "s".into(),
        consultation: "c".into(),
        role: "practitioner".into(),
        display_name: None,
        phone: None,
        email: None,
        card: card.map(|card| Pii(card.to_string())),
        pin: Pii(String::new()),
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

fn login(rpps: Option<&str>) -> Login {
    Login { rpps: rpps.map(|rpps| Pii(rpps.to_owned())), level: "eidas1".into(), at: 0 }
}

#[test]
fn pro_sante_connects_number_is_the_rpps_number_after_its_kind() {
    assert_eq!(rpps_of("810001234567").as_deref(), Some("10001234567"));
    assert_eq!(rpps_of("10001234567").as_deref(), Some("10001234567"));
    for other in ["", "8", "010001234567", "0123456789", "1000123456a", "8100012345678", "899700218896é", "é0001234567"]
    {
        assert_eq!(rpps_of(other), None, "{other}");
    }
}

#[test]
fn the_level_must_be_one_of_those_asked_for() {
    let level =
        |acr: Value, wanted: &[&str]| login_of(&claims(json!({ "acr": acr })), &settings(wanted)).map(|l| l.level);
    assert_eq!(level(json!("eidas1"), &["eidas1", "eidas2"]).unwrap(), "eidas1");
    assert_eq!(level(json!("eidas1"), &[]).unwrap(), "eidas1");
    for wrong in [json!("eidas0"), json!(""), json!(null), json!(["eidas1"]), json!("eidas1 eidas2")] {
        assert!(level(wrong.clone(), &["eidas1", "eidas2"]).is_err(), "{wrong}");
    }
}

#[test]
fn only_a_word_goes_into_the_journal() {
    assert_eq!(level_word("urn:mace:incommon:iap:silver"), "urn:mace:incommon:iap:silver");
    for text in ["", "Dr Planted", "a@b.example", "eidas1\n", &"x".repeat(101)] {
        assert_eq!(level_word(text), "unknown", "{text}");
    }
}

#[test]
fn a_booked_number_must_be_the_proved_one() {
    let booked = |rpps: Value| seat(Some(json!({ "rpps": rpps, "name": "Planted" })));
    assert!(check_person(&booked(json!("10001234567")), &login(Some("10001234567"))).is_ok());
    assert!(check_person(&booked(json!("810001234567")), &login(Some("10001234567"))).is_ok());
    assert!(check_person(&booked(json!("10001234567")), &login(Some("10001234568"))).is_err());
    assert!(check_person(&booked(json!("10001234567")), &login(None)).is_err());
    assert!(check_person(&booked(json!("unreadable")), &login(None)).is_err());
    assert!(check_person(&booked(json!(null)), &login(None)).is_ok());
    assert!(check_person(&seat(None), &login(Some("10001234567"))).is_ok());
}
