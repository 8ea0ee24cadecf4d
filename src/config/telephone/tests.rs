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
        (TRUNK.replace("enabled = true", "enabled = true\nsip_tcp = \"0.0.0.0:5060\""), "telephone.sip_udp is missing"),
        (TRUNK.replace("enabled = true", "enabled = true\nlanguages = [\"tlh\"]"), "telephone.languages"),
        (TRUNK.replace("enabled = true", "enabled = true\nsession_expires = 60"), "telephone.session_expires"),
        (format!("{TRUNK}[telephone.dialout]\nmax_minutes = 240"), "telephone.dialout.max_minutes"),
        (format!("{TRUNK}[telephone.dialout]\nconfirm_key = \"12\""), "telephone.dialout.confirm_key"),
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
