//! Faults of variants, each by the line an administrator reads, and what a variant takes from its base.

use super::*;

#[derive(Deserialize)]
struct File {
    acts: Vec<ActDefinition>,
}

fn read(text: &str) -> Result<Acts, Vec<String>> {
    let file: File = toml::from_str(text).map_err(|error| vec![error.message().to_owned()])?;
    Acts::with_variants(&file.acts)
}

/// A variant `ward` of an act, with more lines.
fn ward(base: &str, lines: &str) -> Result<Acts, Vec<String>> {
    read(&format!("[[acts]]\nname = \"ward\"\nbase = \"{base}\"\n{lines}"))
}

#[test]
fn the_built_in_acts_are_valid_and_bear_the_names_of_the_contract() {
    let acts = Acts::built_in();
    let names: Vec<&str> = acts.iter().map(|act| act.name.as_str()).collect();
    assert_eq!(names, ["teleconsultation", "tele_expertise", "telemonitoring", "teleassistance", "regulation"]);
    assert!(acts.by_name(UNCONFIGURED).is_none(), "not to be booked");
}

#[test]
fn a_variant_is_its_base_and_what_differs() {
    let acts = ward("teleconsultation", "roles.patient = { may = [\"hear\"] }\nroles.guest = { seats = 0 }").unwrap();
    let (ward, base) = (acts.by_name("ward").unwrap(), acts.by_name("teleconsultation").unwrap());
    assert_eq!(
        ward.rule(Role::Patient),
        SeatRule { may: [Right::Hear].into_iter().collect(), ..base.rule(Role::Patient) }
    );
    assert_eq!(ward.rule(Role::Guest), SeatRule::NO_SEAT);
    let mut expected = Act::clone(base);
    expected.name = "ward".into();
    expected.roles.insert(Role::Patient, ward.rule(Role::Patient));
    expected.roles.remove(&Role::Guest);
    assert_eq!(**ward, expected);
}

#[test]
fn a_role_that_is_new_to_an_act_waits_unless_it_is_said_to_pass() {
    let acts = ward("teleconsultation", "roles.expert = { seats = 1, may = [\"hear\"] }").unwrap();
    assert!(acts.by_name("ward").unwrap().rule(Role::Expert).waits);
}

#[test]
fn every_impossible_rule_is_one_line_that_begins_with_its_key() {
    let cases = [
        ("roles.practitioner = { waits = true }", "acts.ward.roles: practitioner waits"),
        ("roles.practitioner = { may = [\"hear\", \"end\"] }", "acts.ward.roles: patient waits"),
        ("roles.practitioner = { may = [\"hear\", \"admit\"] }", "acts.ward.roles: nobody may end"),
        ("roles.guest = { seats = 0, may = [\"hear\"] }", "acts.ward.roles.guest: a role without a seat"),
        ("roles.guest = { seats = 0, waits = false }", "acts.ward.roles.guest: a role without a seat"),
        ("roles.guest = { seats = 51 }", "acts.ward.roles.guest: a consultation has at most 50"),
        ("roles.expert = { may = [\"hear\"] }", "acts.ward.roles.expert.seats:"),
        ("roles.expert = { seats = 1 }", "acts.ward.roles.expert.may:"),
        ("roles.trainee = { may = [\"hear\", \"microphone\"] }", "acts.ward.roles.trainee: a trainee only"),
        ("roles.guest = { may = [\"hear\", \"point\"] }", "acts.ward.roles.guest: who may point"),
        ("roles.patient = { may = [\"hear\", \"aside\"] }", "acts.ward.roles.patient: an aside is between"),
        (
            "roles.practitioner = { seats = 1, may = [\"hear\", \"admit\", \"aside\", \"end\"] }\nroles.nurse = { seats = 0 }",
            "acts.ward.roles: an aside needs",
        ),
        ("roles.practitioner = { seats = 1 }\nroles.nurse = { seats = 0 }", "acts.ward.roles: handing over needs"),
        ("gates.card = [\"caller\"]", "acts.ward.gates.card: caller has no seat"),
        ("gates.consent = { asked = [\"expert\"], text = \"1\" }", "acts.ward.gates.consent.asked: expert has no seat"),
        (
            "roles.patient = { seats = 0 }\ngates.card = []\ngates.preference = []\ngates.third_person = []",
            "acts.ward.gates.consent.asked: patient has no seat",
        ),
        ("gates.consent = { asked = [\"patient\"], text = \" \" }", "acts.ward.gates.consent.text:"),
        ("media.cameras = 4", "acts.ward.media.cameras:"),
        ("media.cameras = 0", "acts.ward.media.cameras:"),
    ];
    for (lines, expected) in cases {
        let found = ward("teleconsultation", lines).expect_err(lines);
        assert_eq!(found.len(), 1, "{lines}: {found:?}");
        assert!(found[0].starts_with(expected) && !found[0].contains('\n'), "{lines}: {found:?}");
    }
}

#[test]
fn names_are_checked() {
    for (name, base, expected) in [
        ("regulation", "teleconsultation", "acts.regulation.name: there is an act"),
        ("unconfigured", "teleconsultation", "acts.unconfigured.name: there is an act"),
        ("ward", "ward", "acts.ward.base:"),
        ("ward", "unconfigured", "acts.ward.base:"),
        ("Ward 7", "teleconsultation", "acts[1].name:"),
        ("", "teleconsultation", "acts[1].name:"),
    ] {
        let found = read(&format!("[[acts]]\nname = \"{name}\"\nbase = \"{base}\"")).expect_err(name);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{name}: {found:?}");
    }
    let one = "[[acts]]\nname = \"ward\"\nbase = \"teleconsultation\"\n";
    let two = one.replace("ward", "ward_2");
    assert_eq!(read(&format!("{one}{two}")).unwrap().iter().count(), 7);
    assert_eq!(read(&format!("{one}{one}")).unwrap_err(), ["acts.ward.name: there is an act of this name already"]);
    let (built_on_a_variant, no_base) = (two.replace("teleconsultation", "ward"), "[[acts]]\nname = \"ward\"");
    assert!(read(&format!("{one}{built_on_a_variant}")).unwrap_err()[0].starts_with("acts.ward_2.base:"));
    assert!(read(no_base).unwrap_err()[0].starts_with("acts.ward.base:"));
}

#[test]
fn unknown_words_are_refused_by_name() {
    for (lines, word) in [
        ("colour = 1", "colour"),
        ("roles.doctor = { seats = 1 }", "doctor"),
        ("roles.patient = { may = [\"fly\"] }", "fly"),
        ("roles.patient = { rights = [] }", "rights"),
        ("gates.card = [\"doctor\"]", "doctor"),
        ("gates.blood = []", "blood"),
        ("gates.consent = { asked = [\"patient\"], text = \"\" }", "text"),
        ("media.start = \"hologram\"", "hologram"),
    ] {
        let found = ward("teleconsultation", lines).expect_err(lines);
        assert!(found.len() == 1 && found[0].contains(word), "{lines}: {found:?}");
    }
}

#[test]
fn every_fault_is_found_at_once() {
    let found = ward("tele_expertise", "media.cameras = 9\nroles.guest = { seats = 60 }\ngates.card = [\"caller\"]");
    assert_eq!(found.unwrap_err().len(), 3);
}

#[test]
fn seats_are_counted_by_role() {
    let acts = Acts::built_in();
    let act = acts.by_name("tele_expertise").unwrap();
    let fits = [Role::Practitioner, Role::Patient, Role::Expert, Role::Expert];
    assert_eq!(act.overfull(fits.into_iter()), None);
    assert_eq!(act.overfull(fits.into_iter().chain([Role::Patient])), Some(Role::Patient));
    assert_eq!(act.overfull([Role::Caller].into_iter()), Some(Role::Caller));
}
