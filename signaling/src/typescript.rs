//! Writes the page's protocol types from the Rust ones, so that they are never written twice.
//!
//! A test, not a build step: it compares `web-client/src/protocol/generated.ts` with what the types say now and fails
//! when the file is stale. `COLLOQUE_WRITE_GENERATED=1 cargo test -p colloque-signaling` writes it anew.

use std::path::Path;

use ts_rs::{Config, TS};

use crate::message::{
    Card, Choice, ClientMessage, ErrorCode, Gate, GateAnswer, HandOverReason, Language, MediaHints, MediaSource,
    MediaState, Permissions, PhoneCause, PhoneInfo, PhoneState, Presence, Resume, Role, SeatInfo, SenderInfo,
    ServerEnvelope, ServerMessage, SlotInfo, VERSION,
};

fn declaration<T: TS>(config: &Config) -> String {
    let docs = T::docs().unwrap_or_default();
    format!("{}\nexport {}\n", docs.trim_end(), T::decl(config))
}

/// ts-rs writes the flattened message out a second time; its name says the same.
fn envelope(config: &Config) -> String {
    let flattened = format!("({})", ServerMessage::inline(config));
    declaration::<ServerEnvelope>(config).replace(&flattened, "ServerMessage")
}

/// One comment a line and one field a line, as a person would have written it.
fn lay_out(generated: &str) -> String {
    let mut out = String::new();
    let mut comment: Option<String> = None;
    let mut depth = 0_usize;
    for line in generated.lines().map(str::trim_end) {
        match (line, &mut comment) {
            ("/**", _) => comment = Some(String::new()),
            (" */", Some(text)) => {
                out.push_str(&format!("{}/** {} */\n", "  ".repeat(depth), text.trim()));
                comment = None;
            }
            (_, Some(text)) => {
                text.push(' ');
                text.push_str(line.trim_start_matches(" *").trim());
            }
            (_, None) => {
                let broken = line.replace(" } | { ", " }\n  | { ");
                let closes = broken.starts_with('}') || broken.contains(", }");
                out.push_str(&format!("{}{}\n", "  ".repeat(depth), broken.replace(", }", " }")));
                depth = if broken.ends_with('{') || broken.ends_with(',') { 1 } else { 0 };
                if closes && broken.ends_with(';') {
                    depth = 0;
                }
            }
        }
    }
    out
}

fn generate() -> String {
    let config = Config::default();
    let declarations = [
        declaration::<Role>(&config),
        declaration::<Language>(&config),
        declaration::<MediaSource>(&config),
        declaration::<Presence>(&config),
        declaration::<MediaState>(&config),
        declaration::<PhoneState>(&config),
        declaration::<PhoneInfo>(&config),
        declaration::<PhoneCause>(&config),
        declaration::<ErrorCode>(&config),
        declaration::<SeatInfo>(&config),
        declaration::<Permissions>(&config),
        declaration::<SlotInfo>(&config),
        declaration::<SenderInfo>(&config),
        declaration::<Resume>(&config),
        declaration::<Card>(&config),
        declaration::<Gate>(&config),
        declaration::<Choice>(&config),
        declaration::<GateAnswer>(&config),
        declaration::<HandOverReason>(&config),
        declaration::<MediaHints>(&config),
        declaration::<ClientMessage>(&config),
        declaration::<ServerMessage>(&config),
        envelope(&config),
    ];
    let header = "// Generated from signaling/src/message.rs by the tests of the signaling crate. Do not edit.\n\
                  // To write it anew: COLLOQUE_WRITE_GENERATED=1 cargo test -p colloque-signaling typescript\n";
    let version =
        format!("/** The protocol version that these types describe. */\nexport const VERSION = {VERSION};\n");
    format!("{header}\n{version}\n{}", declarations.map(|text| lay_out(text.trim_start())).join("\n"))
}

#[test]
fn generated_typescript_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../web-client/src/protocol/generated.ts");
    let expected = generate();
    if std::env::var_os("COLLOQUE_WRITE_GENERATED").is_some() {
        std::fs::create_dir_all(path.parent().expect("the path has a parent")).unwrap();
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(found == expected, "generated.ts is stale: run with COLLOQUE_WRITE_GENERATED=1 and commit it");
}
