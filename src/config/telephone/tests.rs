//! What an administrator may write about the telephone, and what is refused.

use crate::config::Settings;

use super::*;

const TRUNK: &str = "[telephone]\nenabled = true\npublic_ip = [\"192.0.2.1\"]\n[[telephone.trunk]]\nname = \"ovh\"\n\
                     uri = \"sip:sip.operator.example\"\nallow = [\"203.0.113.0/28\"]\n";

fn resolved(text: &str) -> Result<Option<TelephoneConfig>, String> {
    let settings: Settings = toml::from_str(text).map_err(|error| error.to_string())?;
    settings.resolve().map(|config| config.telephone).map_err(|error| error.to_string())
}

#[test]
fn there_is_no_telephone_until_it_is_enabled() {
    assert!(resolved("").unwrap().is_none());
    assert!(resolved(&TRUNK.replace("enabled = true\n", "")).unwrap().is_none());
}

#[test]
fn the_defaults_are_those_of_a_french_operator() {
    let telephone = resolved(TRUNK).unwrap().unwrap();
    assert_eq!(telephone.sip_udp, Some("0.0.0.0:5060".parse().unwrap()));
    assert_eq!((telephone.rtp_ports.clone(), telephone.max_legs), (20_000..=24_000, 90));
    let trunk = &telephone.trunks[0];
    assert_eq!(trunk.server, SipServer { host: "sip.operator.example".into(), port: None });
    assert_eq!(trunk.transport, SipTransport::Udp);
    assert_eq!(trunk.codecs, [TelephoneCodec::G722, TelephoneCodec::Pcma, TelephoneCodec::Pcmu]);
    assert!(trunk.register.is_none() && trunk.credentials.is_none());
    let number = |text| Number::parse(text, telephone.country).unwrap();
    let may_call = |text| {
        let number = number(text);
        let any = |patterns: &[NumberPattern]| patterns.iter().any(|pattern| pattern.matches(&number));
        any(&telephone.dialout.allow) && !any(&telephone.dialout.deny)
    };
    for (text, good) in [
        ("06 12 34 56 78", true),
        ("01 44 00 00 00", true),
        ("09 70 00 00 00", true),
        ("08 99 00 00 00", false),
        ("+262 692 00 00 00", false),
        ("+1 212 555 0100", false),
        ("+881 6 1234 5678", false),
    ] {
        assert_eq!(may_call(text), good, "{text}");
    }
}

#[test]
fn the_digits_that_try_a_line_are_shorter_than_a_pin_and_the_number_is_one() {
    let with = |line: &str| resolved(&TRUNK.replace("enabled = true\n", &format!("enabled = true\n{line}\n")));
    let code = |code: &str| with(&format!("self_test_code = \"{code}\"")).map(|config| config.unwrap().self_test_code);
    for good in ["0000", "12345678"] {
        assert_eq!(code(good).unwrap().as_deref(), Some(good));
    }
    for bad in ["123", "123456789", "12a4", "12 45", ""] {
        assert!(code(bad).unwrap_err().contains("4 to 8 digits"), "{bad}");
    }
    let number = |number: &str| with(&format!("self_test_number = \"{number}\""));
    assert_eq!(number("01 23 45 67 80").unwrap().unwrap().self_test_number.unwrap().0.e164(), "+33123456780");
    assert!(number("me").unwrap_err().contains("self_test_number") && !number("me").unwrap_err().contains("\"me\""));
}

#[test]
fn a_password_is_read_from_a_file_or_the_environment_and_never_from_the_configuration() {
    let text = format!("{TRUNK}username = \"hunter2\"\nregister = true\n");
    let telephone = resolved(&text.replace("\"ovh\"", "\"ovh-1\"")).unwrap().unwrap();
    let credentials = telephone.trunks[0].credentials.clone().unwrap();
    assert_eq!(credentials.password, PasswordSource::Variable("COLLOQUE_TRUNK_OVH_1_PASSWORD".into()));
    assert!(is_password_variable("COLLOQUE_TRUNK_OVH_1_PASSWORD") && !is_password_variable("COLLOQUE_TRUNKS"));
    assert!(credentials.password.read().unwrap_err().contains("COLLOQUE_TRUNK_OVH_1_PASSWORD"));
    assert!(!format!("{telephone:?}").contains("hunter2"));
    assert!(resolved(&format!("{TRUNK}password = \"x\"")).is_err());
    let file = std::env::temp_dir().join(format!("colloque-password-{}", std::process::id()));
    std::fs::write(&file, "sesame\r\nmore\n").unwrap();
    assert_eq!(PasswordSource::File(file.clone()).read().unwrap(), crate::pii::Pii("sesame".into()));
    std::fs::write(&file, "").unwrap();
    assert!(PasswordSource::File(file.clone()).read().is_err());
    std::fs::remove_file(file).unwrap();
}

#[test]
fn each_fault_names_its_key_and_no_number() {
    for (text, key) in [
        ("[telephone]\nenabled = true\npublic_ip = [\"192.0.2.1\"]".to_owned(), "telephone.trunk is missing"),
        (TRUNK.replace("public_ip = [\"192.0.2.1\"]\n", ""), "telephone.public_ip is missing"),
        (TRUNK.replace("\"192.0.2.1\"", "\"192.0.2.1\", \"192.0.2.2\""), "at most one usable IPv4"),
        (TRUNK.replace("\"ovh\"", "\"OVH\""), "telephone.trunk.name"),
        (TRUNK.replace("sip:sip.operator.example", "https://x"), "telephone.trunk.ovh.uri"),
        (TRUNK.replace("sip:sip.operator.example", "sip:user@x"), "telephone.trunk.ovh.uri"),
        (TRUNK.replace("allow = [\"203.0.113.0/28\"]\n", ""), "telephone.trunk.ovh.allow is missing"),
        (format!("{TRUNK}srtp = \"require\""), "telephone.trunk.ovh.srtp"),
        (format!("{TRUNK}register = true"), "telephone.trunk.ovh.username is missing"),
        (format!("{TRUNK}password_file = \"x\""), "telephone.trunk.ovh.username is missing"),
        (format!("{TRUNK}codecs = []"), "telephone.trunk.ovh.codecs"),
        (format!("{TRUNK}codecs = [\"pcma\", \"pcma\"]"), "telephone.trunk.ovh.codecs"),
        (format!("{TRUNK}client_cert = \"x\""), "telephone.trunk.ovh.client_cert"),
        (format!("{TRUNK}first_response_ms = 1"), "telephone.trunk.ovh.first_response_ms"),
        (format!("{TRUNK}caller_number = \"hunter2\""), "telephone.trunk.ovh.caller_number"),
        (format!("{TRUNK}inbound_numbers = [\"hunter2\"]"), "telephone.trunk.ovh.inbound_numbers"),
        (format!("{TRUNK}{}", &TRUNK[TRUNK.find("[[").unwrap()..]), "telephone.trunk.ovh stands there twice"),
        (TRUNK.replace("enabled = true", "enabled = true\nrtp_ports = \"20000\""), "telephone.rtp_ports must be"),
        (TRUNK.replace("enabled = true", "enabled = true\nrtp_ports = \"20000-20099\""), "too few ports"),
        (TRUNK.replace("enabled = true", "enabled = true\nsip_tls = \"0.0.0.0:5061\""), "telephone.sip_tls needs"),
        (TRUNK.replace("enabled = true", "enabled = true\ntls_cert = \"x\""), "telephone.tls_cert and"),
        (TRUNK.replace("enabled = true", "enabled = true\ntls_client_ca = \"x\""), "telephone.tls_client_ca needs"),
        (TRUNK.replace("enabled = true", "enabled = true\nsip_tcp = \"0.0.0.0:5060\""), "telephone.sip_udp is missing"),
        (TRUNK.replace("enabled = true", "enabled = true\nlanguages = [\"tlh\"]"), "telephone.languages"),
        (TRUNK.replace("enabled = true", "enabled = true\nsession_expires = 60"), "telephone.session_expires"),
        (format!("{TRUNK}[telephone.dialout]\nmax_minutes = 240"), "telephone.dialout.max_minutes"),
        (format!("{TRUNK}[telephone.dialout]\nallow = [\"33\"]"), "no pattern"),
        (format!("{TRUNK}[telephone.pin]\ndigits = 4"), "telephone.pin.digits"),
        (format!("{TRUNK}[telephone.ladder]\nstills_kbps = 400"), "telephone.ladder: lower_kbps"),
        (format!("{TRUNK}[telephone.ladder]\nunusable_mos = 9.0"), "telephone.ladder.unusable_mos"),
    ] {
        let fault = resolved(&text).unwrap_err();
        assert!(fault.contains(key) && !fault.contains("hunter2"), "{text}: {fault}");
    }
}

#[test]
fn trunks_stand_in_the_order_of_their_priority() {
    let second = TRUNK[TRUNK.find("[[").unwrap()..].replace("\"ovh\"", "\"first\"");
    let telephone = resolved(&format!("{TRUNK}{second}priority = 1\n")).unwrap().unwrap();
    let names: Vec<&str> = telephone.trunks.iter().map(|trunk| trunk.name.as_str()).collect();
    assert_eq!(names, ["first", "ovh"]);
}

#[test]
fn a_sips_address_means_tls() {
    let telephone = resolved(&TRUNK.replace("sip:", "sips:")).unwrap().unwrap();
    assert_eq!(telephone.trunks[0].transport, SipTransport::Tls);
    for (text, host, port) in [
        ("sip:192.0.2.1:5080", "192.0.2.1", Some(5080)),
        ("sip:[2001:db8::1]", "2001:db8::1", None),
        ("sips:[2001:db8::1]:5061", "2001:db8::1", Some(5061)),
    ] {
        assert_eq!(SipServer::parse(text), Some(SipServer { host: host.into(), port }), "{text}");
    }
    for bad in [
        "sip:",
        "sip:host:",
        "sip:host:0",
        "sip:host:65536",
        "sip:host;lr",
        "sip:a b",
        "sip:[host]",
        "tel:+33",
        "sip:[::1]x",
    ] {
        assert_eq!(SipServer::parse(bad), None, "{bad}");
    }
}

/// The sample's `[telephone]` with its example values in force.
fn sample() -> toml::Table {
    let sample = include_str!("../../../deploy/colloque.toml");
    let text: Vec<&str> = sample.lines().map(|line| line.strip_prefix("#= ").unwrap_or(line)).collect();
    let mut sample: toml::Table = text.join("\n").parse().unwrap();
    [("telephone".to_owned(), sample.remove("telephone").unwrap())].into_iter().collect()
}

/// Another value that is as good.
fn other(key: &str, value: &toml::Value) -> toml::Value {
    use toml::Value;
    match value {
        Value::Integer(count) => Value::Integer(count + 1),
        Value::Float(number) => Value::Float(number + 0.5),
        Value::Boolean(truth) => Value::Boolean(!truth),
        Value::Array(_) => Value::Array(vec![Value::String(match key {
            "codecs" => "pcma".into(),
            "languages" => "en".into(),
            "inbound_numbers" => "+33123456780".into(),
            "dialout.allow" => "+33[1-5]".into(),
            "deny" => "+337".into(),
            _ => "198.51.100.77".into(),
        })]),
        _ => Value::String(match key {
            "sip_udp" | "sip_tcp" | "sip_tls" => "0.0.0.0:5099".into(),
            "rtp_ports" => "30000-34000".into(),
            "uri" => "sip:other.operator.example".into(),
            "transport" => "tcp".into(),
            "number_format" => "national".into(),
            "caller_number" => "+33123456780".into(),
            "srtp" => "allow".into(),
            "self_test_code" => "1111".into(),
            "self_test_number" => "+33123456781".into(),
            _ => "other".into(),
        }),
    }
}

#[test]
fn a_key_of_the_sample_holds_when_it_is_read_again_or_is_named_as_one_that_does_not() {
    let config = |table: &toml::Table| resolved(&toml::to_string(table).unwrap()).unwrap();
    let (sample, mut tried) = (sample(), 0);
    let running = config(&sample).unwrap();
    let text = |config: &TelephoneConfig| format!("{config:?}");
    let mut try_key = |full: &str, changed: toml::Table| {
        let Some(new) = config(&changed) else { return assert_eq!(full, "telephone.enabled") };
        let names = |table: &toml::Table| crate::config::FileKeys::of(&toml::to_string(table).unwrap()).unwrap();
        assert_eq!(names(&sample).changed_in(&names(&changed)), [full]);
        let merged = running.with_limits_of(&new);
        assert_eq!(text(&merged) != text(&running), is_reloadable(full), "{full}");
        assert_eq!(text(&merged.with_limits_of(&running)), text(&running), "{full}, and back");
        tried += 1;
    };
    for (key, value) in sample["telephone"].as_table().unwrap() {
        let mut changed = sample.clone();
        match (key.as_str(), value) {
            ("trunk", _) => {
                for (name, value) in value[0].as_table().unwrap().iter().filter(|(name, _)| *name != "name") {
                    let mut changed = sample.clone();
                    changed["telephone"]["trunk"][0][name.as_str()] = other(name, value);
                    try_key(&format!("telephone.trunk.ovh.{name}"), changed);
                }
            }
            (section, toml::Value::Table(table)) => {
                for (name, value) in table {
                    let mut changed = sample.clone();
                    let named = if name == "allow" { "dialout.allow" } else { name };
                    changed["telephone"][section][name.as_str()] = other(named, value);
                    try_key(&format!("telephone.{section}.{name}"), changed);
                }
            }
            (key, value) => {
                changed["telephone"][key] = other(key, value);
                try_key(&format!("telephone.{key}"), changed);
            }
        }
    }
    assert!(tried > 70, "{tried}");
}

#[test]
fn a_line_that_came_or_went_waits_for_a_restart() {
    let second = TRUNK[TRUNK.find("[[").unwrap()..].replace("\"ovh\"", "\"second\"");
    let one = resolved(TRUNK).unwrap().unwrap();
    let two = resolved(&format!("{TRUNK}{second}")).unwrap().unwrap();
    assert_eq!(one.with_limits_of(&two).trunks.len(), 1);
    assert_eq!(two.with_limits_of(&one).trunks.len(), 2);
}

/// Rows of the table in docs/telephone.md: key, and whether it may change while the server runs.
fn documented() -> Vec<(String, bool)> {
    let text = include_str!("../../../docs/telephone.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `telephone."));
    let row = |row: &str| {
        let (key, rest) = row.split_once('`').unwrap();
        (format!("telephone.{key}"), rest.trim_end().trim_end_matches('|').trim_end().ends_with("| yes"))
    };
    rows.map(row).collect()
}

#[test]
fn every_key_is_documented_with_whether_it_may_change() {
    let documented = documented();
    for (key, reload) in &documented {
        assert_eq!(*reload, is_reloadable(key), "{key}");
    }
    let mut missing = Vec::new();
    let mut look = |key: String| missing.extend(documented.iter().all(|(known, _)| *known != key).then_some(key));
    for (key, value) in sample()["telephone"].as_table().unwrap() {
        let tables = value.as_array().cloned().unwrap_or_default();
        let trunks: Vec<&toml::Table> = tables.iter().filter_map(toml::Value::as_table).collect();
        match value.as_table() {
            Some(section) => section.keys().for_each(|name| look(format!("telephone.{key}.{name}"))),
            None if !trunks.is_empty() => {
                trunks
                    .iter()
                    .flat_map(|trunk| trunk.keys())
                    .for_each(|name| look(format!("telephone.trunk.NAME.{name}")));
            }
            None => look(format!("telephone.{key}")),
        }
    }
    assert_eq!(missing, [""; 0]);
    assert!(documented.len() > 75, "{}", documented.len());
}

#[test]
fn each_example_of_a_line_is_valid_below_the_sample() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/telephone");
    let mut lines = Vec::new();
    for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        let example = std::fs::read_to_string(&file).unwrap();
        let text = format!("{}\n{example}", include_str!("../../../deploy/colloque.toml"));
        let telephone = resolved(&text).unwrap_or_else(|fault| panic!("{file:?}: {fault}")).unwrap();
        let number = telephone.trunks.iter().find_map(|trunk| trunk.inbound_numbers.first());
        assert!(number.is_some() && !telephone.shows_address, "{file:?}: people dial a number");
        lines.extend(telephone.trunks.into_iter().map(|trunk| trunk.name.to_string()));
    }
    lines.sort();
    assert_eq!(lines, ["line", "sbc-a", "sbc-b", "trunk"]);
}
