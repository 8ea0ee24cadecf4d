//! Golden fixtures: one file a message, read by these tests and by the TypeScript ones, and quoted in PROTOCOL.md.
//!
//! A fixture is the exact text that travels. A message without a fixture fails here, and so does an example in
//! PROTOCOL.md that is not word for word a fixture.

use std::collections::BTreeMap;
use std::path::Path;

use crate::message::{ClientMessage, ServerEnvelope};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// File stem to text without its final newline.
fn fixtures(side: &str) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(root().join("fixtures")).unwrap().map(|entry| entry.unwrap().path());
    let named = files.filter_map(|path| {
        let stem = path.file_stem()?.to_str()?.strip_prefix(side)?.to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        Some((stem, text.strip_suffix('\n').expect("a fixture ends in a newline").to_owned()))
    });
    named.collect()
}

fn type_of(text: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    value["type"].as_str().unwrap().to_owned()
}

/// The `type`s that the generated TypeScript lists for one of the unions: no second list to keep.
fn types_in(declaration: &str) -> Vec<String> {
    let inline = declaration.split("\"type\": \"").skip(1);
    inline.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[test]
fn client_messages_round_trip_to_the_letter() {
    for (name, text) in fixtures("client-") {
        let message: ClientMessage = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(serde_json::to_string(&message).unwrap(), text, "{name}");
    }
}

#[test]
fn server_messages_round_trip_to_the_letter() {
    for (name, text) in fixtures("server-") {
        let message: ServerEnvelope = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(serde_json::to_string(&message).unwrap(), text, "{name}");
    }
}

#[test]
fn every_message_has_a_fixture() {
    let config = ts_rs::Config::default();
    let declared = [
        ("client-", types_in(&<ClientMessage as ts_rs::TS>::decl(&config))),
        ("server-", types_in(&<crate::message::ServerMessage as ts_rs::TS>::decl(&config))),
    ];
    for (side, types) in declared {
        assert!(types.len() > 10, "{side} {types:?}");
        let found: Vec<String> = fixtures(side).values().map(|text| type_of(text)).collect();
        for name in types {
            assert!(found.contains(&name), "no fixture {side}{name}.json");
        }
    }
}

#[test]
fn every_example_in_the_protocol_document_is_a_fixture() {
    let document = std::fs::read_to_string(root().join("PROTOCOL.md")).unwrap();
    let known: Vec<String> =
        ["client-", "server-", "data-"].iter().flat_map(|side| fixtures(side).into_values()).collect();
    let mut examples = 0;
    for block in document.split("```json\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for line in block.lines() {
            assert!(known.iter().any(|text| text == line), "not a fixture: {line}");
            examples += 1;
        }
    }
    assert!(examples >= 20, "{examples}");
}

#[test]
fn unknown_fields_and_types_are_refused() {
    for text in [
        r#"{"type":"ping","id":1,"extra":2}"#,
        r#"{"type":"ping","id":-1}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"view","slot":70000,"width":1,"height":1}"#,
        r#"{"type":"mute","seat":"s","source":"thoughts","muted":true}"#,
        r#"{"id":1}"#,
        "[]",
        "null",
        "",
    ] {
        assert!(serde_json::from_str::<ClientMessage>(text).is_err(), "{text}");
    }
}
