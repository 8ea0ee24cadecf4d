//! Gates by tables: what is asked of whom, what each answer does, whatever order a page sends them in.

use crate::acts::Acts;

use super::*;

fn card(seat: &str) -> Card {
    Card { seat: seat.into(), name: Some("A".into()), ..Card::default() }
}

fn full_card(seat: &str) -> Card {
    let text = || Some("x".to_owned());
    Card {
        seat: seat.into(),
        title: text(),
        name: text(),
        specialty: text(),
        rpps: text(),
        address: text(),
        fee: text(),
    }
}

fn everything() -> Asked {
    Asked { card: true, consent: Some("1".into()), third_person: true, preference: true }
}

fn names(pending: &[Gate]) -> Vec<&'static str> {
    let name = |gate: &Gate| match gate {
        Gate::Login => "login",
        Gate::Card { .. } => "card",
        Gate::Consent { .. } => "consent",
        Gate::ThirdPerson => "third_person",
        Gate::Preference => "preference",
    };
    pending.iter().map(name).collect()
}

fn consent(text: &str, accepted: bool) -> GateAnswer {
    GateAnswer::Consent { text: text.into(), accepted }
}

fn cards(seats: &[&str]) -> GateAnswer {
    GateAnswer::Card { seats: seats.iter().map(|seat| (*seat).to_owned()).collect() }
}

fn choice(choice: Choice) -> GateAnswer {
    GateAnswer::Preference { choice }
}

#[test]
fn the_acts_ask_the_patient_and_nobody_else() {
    let acts = Acts::built_in();
    for (act, role, expected) in [
        ("teleconsultation", Role::Patient, &["card", "consent", "third_person", "preference"][..]),
        ("teleconsultation", Role::Practitioner, &[]),
        ("teleconsultation", Role::Companion, &[]),
        ("tele_expertise", Role::Patient, &["card", "consent", "third_person"]),
        ("tele_expertise", Role::Expert, &[]),
        ("telemonitoring", Role::Patient, &["card", "consent", "third_person", "preference"]),
        ("teleassistance", Role::Patient, &["card", "consent", "third_person"]),
        ("regulation", Role::Caller, &[]),
        ("regulation", Role::Regulator, &[]),
    ] {
        let gates = &acts.by_name(act).unwrap().gates;
        let asked = |vouched| {
            let asked = Asked::of(gates, role, vouched);
            names(&pending(&asked, &Answers::default(), &[card("d")], false))
        };
        assert_eq!(asked(false), expected, "{act} {role:?}");
        assert!(asked(true).is_empty(), "{act} {role:?}: the clinic vouches for it");
    }
}

#[test]
fn without_a_professional_there_is_no_card_to_read() {
    assert!(!names(&pending(&everything(), &Answers::default(), &[], false)).contains(&"card"));
}

#[test]
fn a_login_is_asked_first_and_of_its_own_accord() {
    assert_eq!(names(&pending(&Asked::default(), &Answers::default(), &[card("d")], true)), ["login"]);
    assert_eq!(names(&pending(&everything(), &Answers::default(), &[], true))[0], "login");
}

/// One answer after another on a patient who is asked everything, with the cards of `d` and `e`: what each does, and what is left.
#[test]
fn answers_do_what_the_table_says_in_any_order() {
    let again = || Ok(Answered::Again);
    let passed = |stored: &[(&str, &str)], fact| {
        let stored = stored.iter().map(|(gate, answer)| ((*gate).to_owned(), (*answer).to_owned())).collect();
        Ok(Answered::Passed(stored, fact))
    };
    let refused = |what| Ok(Answered::Refused(what));
    let read = |seats: &[&str], complete| Passed::Card { seats: seats.iter().map(|s| (*s).into()).collect(), complete };
    let third = |present| GateAnswer::ThirdPerson { present };
    let steps: Vec<(GateAnswer, Result<Answered, Misplaced>, &[&str])> = vec![
        (consent("2", true), Err(Misplaced::Unknown), &["card", "consent", "third_person", "preference"]),
        (
            choice(Choice::Video),
            passed(&[("preference", "")], Passed::Preference),
            &["card", "consent", "third_person"],
        ),
        (choice(Choice::Video), again(), &["card", "consent", "third_person"]),
        (cards(&["x"]), Err(Misplaced::Unknown), &["card", "consent", "third_person"]),
        (cards(&["d", "x"]), Err(Misplaced::Unknown), &["card", "consent", "third_person"]),
        (cards(&[]), Err(Misplaced::Unknown), &["card", "consent", "third_person"]),
        (cards(&["d"]), passed(&[("card:d", "")], read(&["d"], true)), &["card", "consent", "third_person"]),
        (cards(&["d", "e"]), passed(&[("card:e", "")], read(&["e"], false)), &["consent", "third_person"]),
        (cards(&["e", "d"]), again(), &["consent", "third_person"]),
        (third(true), passed(&[("third_person", "yes")], Passed::ThirdPerson { present: true }), &["consent"]),
        (third(true), again(), &["consent"]),
        (third(false), passed(&[("third_person", "no")], Passed::ThirdPerson { present: false }), &["consent"]),
        (consent("1", true), passed(&[("consent", "1")], Passed::Consent { text: "1".into() }), &[]),
        (consent("1", true), again(), &[]),
        (consent("2", true), Err(Misplaced::Unknown), &[]),
        (choice(Choice::Phone), refused(Refused::Preference { choice: Choice::Phone }), &[]),
        (consent("anything", false), refused(Refused::ConsentWithdrawn), &["consent"]),
        (consent("1", false), refused(Refused::Consent), &["consent"]),
    ];
    let (asked, shown) = (everything(), [full_card("d"), card("e")]);
    let mut answers = Answers::default();
    for (index, (said, does, left)) in steps.into_iter().enumerate() {
        assert_eq!(answer(&asked, &mut answers, &shown, &said), does, "step {index}");
        assert_eq!(names(&pending(&asked, &answers, &shown, false)), left, "step {index}");
    }
}

#[test]
fn what_is_not_asked_cannot_be_answered_nor_refused() {
    let mut answers = Answers::default();
    for said in [
        cards(&["d"]),
        consent("1", true),
        consent("1", false),
        GateAnswer::ThirdPerson { present: true },
        choice(Choice::Video),
        choice(Choice::InPerson),
    ] {
        let outcome = answer(&Asked::default(), &mut answers, &[card("d")], &said);
        assert_eq!(outcome, Err(Misplaced::NotAsked), "{said:?}");
        assert_eq!(answers, Answers::default());
    }
}

#[test]
fn what_was_stored_is_read_back() {
    let (asked, shown) = (everything(), [full_card("d"), card("e")]);
    let mut answers = Answers::default();
    let mut stored = Vec::new();
    for said in
        [cards(&["d", "e"]), consent("1", true), GateAnswer::ThirdPerson { present: true }, choice(Choice::Video)]
    {
        match answer(&asked, &mut answers, &shown, &said) {
            Ok(Answered::Passed(gates, _)) => {
                stored.extend(gates.into_iter().map(|(gate, answer)| PassedGate { gate, answer, at: 1 }));
            }
            other => panic!("{said:?}: {other:?}"),
        }
    }
    assert_eq!(Answers::read(&stored), answers);
    assert_eq!(Answers::read(&stored).third_person(), Some(true));
    let foreign = PassedGate { gate: "of a later version".into(), answer: "x".into(), at: 1 };
    assert_eq!(Answers::read(&[foreign]), Answers::default());
}

#[test]
fn a_card_that_comes_later_shuts_nobody_out_who_was_inside() {
    let asked = everything();
    for (was_inside, gates, shut) in [
        (false, &[Gate::Card { cards: vec![] }][..], true),
        (true, &[Gate::Card { cards: vec![] }], false),
        (true, &[Gate::Card { cards: vec![] }, Gate::Consent { text: "1".into() }], true),
        (true, &[Gate::Login], true),
        (false, &[], false),
        (true, &[], false),
    ] {
        assert_eq!(shut_out(gates, was_inside), shut, "{was_inside} {gates:?}");
    }
    assert!(shut_out(&pending(&asked, &Answers::default(), &[], false), false));
}

#[test]
fn a_card_shows_what_is_known_and_never_a_seat_of_its_own_choosing() {
    assert_eq!(card_of("s", Role::Patient, Some("{}"), Some("A")), None);
    assert_eq!(card_of("s", Role::Trainee, None, None), None);
    for role in [Role::Practitioner, Role::Expert, Role::Nurse, Role::Regulator] {
        let shown = card_of("s", role, None, Some("A")).unwrap();
        assert_eq!(shown, card("s"));
        assert!(!is_complete(&shown));
    }
    let booked = serde_json::to_string(&full_card("forged")).unwrap();
    let shown = card_of("s", Role::Expert, Some(&booked), Some("A")).unwrap();
    assert_eq!(shown, full_card("s"));
    assert!(is_complete(&shown));
    assert_eq!(card_of("s", Role::Expert, Some("{later"), Some("A")).unwrap(), card("s"));
}
