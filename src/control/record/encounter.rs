//! The record as a FHIR R4 `Encounter`, in the form of the French core profile (hl7.fhir.fr.core, `fr-core-encounter`).
//!
//! That profile asks for a typed identifier with its system, a class with its system, and a period. Professionals are contained
//! `Practitioner`s with their RPPS number; the patient is the clinic's own pseudonym as a logical reference, never a name and
//! never an INS, which this server does not know. What FHIR has no element for (time by mode, authentication, incidents) stands
//! in extensions whose addresses begin with `urn:colloque:fhir:`. docs/record.md has the table. Pure.

use serde_json::{Map, Value, json};

use crate::acts::{is_professional, role_from_name};
use crate::pii::Pii;

use super::document::{Account, Authentication, Participant, RecordDocument, RecordStatus, TimeByMode};

/// The resource. `clinic` is the name under which people know the clinic.
#[must_use]
pub fn encounter(record: &RecordDocument, clinic: &Pii<String>) -> Value {
    let (account, issuer) = (&record.account, &record.statement.issuer);
    let booked = &account.consultation;
    // Only those who are referred to: FHIR allows no other contained resource (dom-3).
    let professionals = account.participants.iter().filter(|who| is_practitioner(who) && who.joined_at.is_some());
    let mut encounter = Map::new();
    let mut put = |name: &str, value: Value| {
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !empty {
            encounter.insert(name.to_owned(), value);
        }
    };
    put("resourceType", json!("Encounter"));
    put("id", json!(fhir_id(&booked.id)));
    put("meta", json!({ "profile": [PROFILE] }));
    put("language", json!(booked.language));
    put("contained", professionals.map(practitioner).collect());
    put("extension", extensions(record));
    put(
        "identifier",
        json!([{
            "type": { "coding": [{ "system": IDENTIFIER_TYPES, "code": "VN" }] },
            "system": format!("{issuer}/v1/consultations"),
            "value": booked.id,
        }]),
    );
    put("status", json!(status(account.status)));
    put("statusHistory", history(account));
    put("class", json!({ "system": ACT_CODES, "code": "VR", "display": "virtual" }));
    put("type", json!([{ "coding": [{ "system": "urn:colloque:act", "code": booked.act }], "text": booked.act }]));
    if booked.priority.is_some() {
        put("priority", json!({ "coding": [{ "system": PRIORITIES, "code": "EM", "display": "emergency" }] }));
    }
    if let Some(patient) = &booked.patient {
        let system = format!("urn:colloque:clinic:{}:patient", record.statement.clinic);
        put("subject", json!({ "type": "Patient", "identifier": { "system": system, "value": patient } }));
    }
    put("participant", account.participants.iter().filter_map(participant).collect());
    put("period", period(account));
    if account.status == RecordStatus::Finished {
        let together = talked(&account.with_patient) + talked(&account.between_professionals);
        put("length", json!({ "value": together, "unit": "s", "system": "http://unitsofmeasure.org", "code": "s" }));
    }
    let identifier = json!({ "system": "urn:colloque:clinic", "value": record.statement.clinic });
    let mut provider = json!({ "type": "Organization", "identifier": identifier });
    if !clinic.0.is_empty() {
        provider["display"] = json!(clinic.0);
    }
    put("serviceProvider", provider);
    Value::Object(encounter)
}

fn status(status: RecordStatus) -> &'static str {
    match status {
        RecordStatus::Planned => "planned",
        RecordStatus::InProgress => "in-progress",
        RecordStatus::Finished => "finished",
        RecordStatus::Cancelled => "cancelled",
    }
}

/// What it was before.
fn history(account: &Account) -> Value {
    let booked = &account.consultation.created_at;
    let first = account.started_at.as_ref().or(account.ended_at.as_ref());
    let Some(first) = first else { return Value::Null };
    let mut past = vec![json!({ "status": "planned", "period": span(booked, Some(first)) })];
    if let (Some(from), Some(_)) = (&account.started_at, &account.ended_at) {
        let until = account.ended_at.as_ref();
        past.push(json!({ "status": "in-progress", "period": span(from, until) }));
    }
    Value::Array(past)
}

/// The profile demands one: of what has not begun, when it was planned or booked.
fn period(account: &Account) -> Value {
    let booked = &account.consultation;
    let from = account.started_at.as_ref().or(booked.planned_at.as_ref()).unwrap_or(&booked.created_at);
    match account.status {
        RecordStatus::Finished => span(from, account.ended_at.as_ref()),
        _ => json!({ "start": from }),
    }
}

/// FHIR refuses a period that ends before it begins, which a clock that stepped back could give.
fn span(from: &str, until: Option<&String>) -> Value {
    match until {
        // RFC 3339 in UTC of one form: the order of the texts is that of the instants.
        Some(until) if until.as_str() >= from => json!({ "start": from, "end": until }),
        Some(_) => json!({ "start": from, "end": from }),
        None => json!({ "start": from }),
    }
}

fn talked(time: &TimeByMode) -> i64 {
    time.seconds.video + time.seconds.audio + time.seconds.telephone + time.seconds.silent
}

fn is_practitioner(who: &Participant) -> bool {
    role_from_name(&who.role).is_some_and(is_professional) || who.role == "trainee"
}

/// Everyone who was in the room but the patient, who is the subject.
fn participant(who: &Participant) -> Option<Value> {
    let joined = who.joined_at.as_ref()?;
    let kind = match who.role.as_str() {
        "patient" | "caller" => return None,
        "practitioner" | "regulator" => (PARTICIPATIONS, "PPRF", "primary performer"),
        "nurse" => (PARTICIPATIONS, "SPRF", "secondary performer"),
        "expert" => (PARTICIPATIONS, "CON", "consultant"),
        "companion" => (PARTICIPATIONS, "ESC", "escort"),
        "interpreter" => ("http://terminology.hl7.org/CodeSystem/participant-type", "translator", "Translator"),
        _ => (PARTICIPATIONS, "PART", "Participation"),
    };
    let (system, code, display) = kind;
    let individual = if is_practitioner(who) {
        json!({ "reference": format!("#{}", fhir_id(&who.seat)) })
    } else {
        let mut person = json!({
            "type": "RelatedPerson",
            "identifier": { "system": "urn:colloque:seat", "value": who.seat },
        });
        if let Some(name) = &who.display_name {
            person["display"] = json!(name);
        }
        person
    };
    Some(json!({
        "extension": participant_extensions(who),
        "type": [{ "coding": [{ "system": system, "code": code, "display": display }], "text": who.role }],
        "period": span(joined, who.left_at.as_ref()),
        "individual": individual,
    }))
}

fn participant_extensions(who: &Participant) -> Value {
    let method = match who.authentication.method {
        Authentication::Link => "link",
        Authentication::Login => "login",
        Authentication::Vouched => "vouched",
    };
    let mut parts = vec![json!({ "url": "method", "valueCode": method })];
    if let Some(level) = &who.authentication.level {
        parts.push(json!({ "url": "level", "valueString": level }));
    }
    json!([
        { "url": "urn:colloque:fhir:authentication", "extension": parts },
        { "url": "urn:colloque:fhir:time-by-mode", "extension": by_mode(&who.time) },
    ])
}

fn practitioner(who: &Participant) -> Value {
    let card = who.card.as_ref();
    let mut practitioner = json!({ "resourceType": "Practitioner", "id": fhir_id(&who.seat) });
    let identifiers = identifiers(who);
    if !identifiers.is_empty() {
        practitioner["identifier"] = Value::Array(identifiers);
    }
    let name = card.and_then(|card| card.name.as_ref()).or(who.display_name.as_ref());
    if let Some(name) = name {
        let mut human = json!({ "text": name });
        // The French profile puts the title of practice there.
        if let Some(title) = card.and_then(|card| card.title.as_ref()) {
            human["suffix"] = json!([title]);
        }
        practitioner["name"] = json!([human]);
    }
    if let Some(address) = card.and_then(|card| card.address.as_ref()) {
        practitioner["address"] = json!([{ "use": "work", "text": address }]);
    }
    if let Some(specialty) = card.and_then(|card| card.specialty.as_ref()) {
        practitioner["qualification"] = json!([{ "code": { "text": specialty } }]);
    }
    practitioner
}

/// The number that a login proved, else the card's, in the two forms that French systems look for: the RPPS number, and the
/// national identifier, which has the register's digit before it (8 for RPPS) and comes so from some identity providers.
fn identifiers(who: &Participant) -> Vec<Value> {
    let card = who.card.as_ref().and_then(|card| card.rpps.as_ref());
    let digits = |text: &&String| text.bytes().all(|c| c.is_ascii_digit());
    let Some(number) = who.authentication.rpps.as_ref().or(card).filter(digits) else { return Vec::new() };
    let (rpps, national) = match (number.len(), number.strip_prefix('8')) {
        (11, _) => (Some(number.clone()), format!("8{number}")),
        (12, rpps) => (rpps.map(str::to_owned), number.clone()),
        _ => return Vec::new(),
    };
    let identifier = |code: &str, system: &str, value: String| {
        let kind = json!({ "coding": [{ "system": FR_IDENTIFIER_TYPES, "code": code }] });
        json!({ "use": "official", "type": kind, "system": system, "value": value })
    };
    let rpps = rpps.map(|rpps| identifier("RPPS", "https://rpps.esante.gouv.fr", rpps));
    rpps.into_iter().chain([identifier("IDNPS", "urn:oid:1.2.250.1.71.4.2.1", national)]).collect()
}

fn extensions(record: &RecordDocument) -> Value {
    let account = &record.account;
    let mut all = vec![
        json!({ "url": "urn:colloque:fhir:time-with-patient", "extension": by_mode(&account.with_patient) }),
        json!({ "url": "urn:colloque:fhir:time-between-professionals", "extension": by_mode(&account.between_professionals) }),
        json!({ "url": "urn:colloque:fhir:signed-statement", "valueString": record.signed_statement }),
    ];
    for (events, url) in
        [(&account.incidents, "urn:colloque:fhir:incident"), (&account.failed_joins, "urn:colloque:fhir:failed-join")]
    {
        all.extend(events.iter().map(|event| {
            let parts = json!([
                { "url": "at", "valueDateTime": event.at },
                { "url": "cause", "valueCode": event.cause.name() },
            ]);
            json!({ "url": url, "extension": parts })
        }));
    }
    Value::Array(all)
}

fn by_mode(time: &TimeByMode) -> Value {
    let seconds = time.seconds;
    [("video", seconds.video), ("audio", seconds.audio), ("telephone", seconds.telephone), ("silent", seconds.silent)]
        .map(|(mode, value)| {
            let duration = json!({ "value": value, "unit": "s", "system": "http://unitsofmeasure.org", "code": "s" });
            json!({ "url": mode, "valueDuration": duration })
        })
        .into_iter()
        .collect()
}

/// FHIR's identifiers know no underscore; ours know no full stop.
fn fhir_id(id: &str) -> String {
    id.replace('_', ".")
}

/// The profile whose form this is.
pub const PROFILE: &str = "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-encounter";
const IDENTIFIER_TYPES: &str = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-identifier-type";
const FR_IDENTIFIER_TYPES: &str = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203";
const ACT_CODES: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
const PRIORITIES: &str = "http://terminology.hl7.org/CodeSystem/v3-ActPriority";
const PARTICIPATIONS: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";

#[cfg(test)]
mod tests {
    use super::super::document::tests::{finished, journal, tell};
    use super::*;

    fn of(record: &RecordDocument) -> Value {
        encounter(record, &Pii("Clinique des Flamboyants".into()))
    }

    #[test]
    fn a_finished_consultation_is_a_virtual_encounter_of_whoever_was_there() {
        let encounter = of(&finished());
        assert_eq!((&encounter["status"], &encounter["class"]["code"]), (&json!("finished"), &json!("VR")));
        assert_eq!((&encounter["id"], &encounter["identifier"][0]["value"]), (&json!("c.1"), &json!("c_1")));
        assert_eq!(encounter["period"], json!({ "start": "2026-03-01T09:30:01Z", "end": "2026-03-01T09:41:40Z" }));
        assert_eq!(encounter["length"]["value"], 571);
        let participants = encounter["participant"].as_array().unwrap();
        assert_eq!(participants.len(), 1, "the patient is the subject, device and companion never came");
        assert_eq!(participants[0]["individual"]["reference"], "#d.r");
        let doctor = &encounter["contained"][0];
        let numbers: Vec<&Value> = doctor["identifier"].as_array().unwrap().iter().map(|i| &i["value"]).collect();
        assert_eq!(numbers, ["10001774126", "810001774126"]);
        assert_eq!((&doctor["id"], &doctor["name"][0]["suffix"][0]), (&json!("d.r"), &json!("Dr")));
        assert_eq!(encounter["subject"]["identifier"]["value"], "P-4711");
        assert!(!encounter.to_string().contains("Patricia"), "the patient is the pseudonym, not the name");
    }

    #[test]
    fn what_has_not_begun_has_a_period_all_the_same() {
        let planned = of(&tell(&journal()[..1], &[], None));
        assert_eq!(planned["period"], json!({ "start": "2026-03-01T09:30:00Z" }));
        assert_eq!((planned.get("participant"), planned.get("contained")), (None, None));
        let running = of(&tell(&journal()[..14], &[], None));
        assert_eq!((&running["status"], running["period"].get("end")), (&json!("in-progress"), None));
    }

    #[test]
    fn a_number_that_is_no_register_number_is_left_out() {
        let mut record = finished();
        let doctor = &mut record.account.participants[0];
        doctor.authentication.rpps = None;
        doctor.card.as_mut().unwrap().rpps = Some("fake".into());
        assert_eq!(of(&record)["contained"][0].get("identifier"), None);
    }

    /// The files that independent libraries judge (tests/record) are what the code makes. `COLLOQUE_WRITE_FIXTURES=1` writes them anew.
    #[test]
    fn the_fixtures_are_what_the_code_makes() {
        let record = finished();
        for (name, value) in [("record", serde_json::to_value(&record).unwrap()), ("encounter", of(&record))] {
            let path = format!("{}/tests/fixtures/record/{name}.json", env!("CARGO_MANIFEST_DIR"));
            if std::env::var_os("COLLOQUE_WRITE_FIXTURES").is_some() {
                std::fs::write(&path, serde_json::to_string_pretty(&value).unwrap() + "\n").unwrap();
            }
            let fixture: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(fixture, value, "{name}");
        }
    }
}
