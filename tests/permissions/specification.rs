//! Which role may do what, as the test expects it: read from the tables of docs/acts.md, which clinicians check, and for
//! one variant from the very text that configures the server. Nothing here asks the product.

use std::collections::BTreeSet;

use colloque_signaling::message::Role;

/// A seat of each role of one act.
pub struct Act {
    pub name: &'static str,
    pub roles: Vec<(Role, BTreeSet<String>)>,
}

/// The acts that can be booked without any configuration.
pub const BUILT_IN: [&str; 5] =
    ["teleconsultation", "tele_expertise", "telemonitoring", "teleassistance", "regulation"];

/// A variant in which a role has one right or two: each right is seen alone, on the sending and on the receiving side.
pub const ALONE: &str = "alone";

/// Its configuration. The practitioner keeps what the base gives, so that somebody hears, sees and admits.
pub const CONFIGURATION: &str = r#"
[[acts]]
name = "alone"
base = "tele_expertise"
[acts.gates]
card = []
consent = { asked = [], text = "" }
third_person = []
[acts.roles]
nurse = { may = ["microphone"] }
expert = { may = ["camera"] }
patient = { may = ["screen"] }
companion = { may = ["hear"] }
trainee = { may = ["see"] }
interpreter = { may = ["chat"] }
guest = { may = ["files"] }
caller = { seats = 1, may = ["vitals"] }
regulator = { seats = 1, may = ["see", "point"] }
"#;

impl Act {
    /// An act of docs/acts.md.
    pub fn built_in(name: &'static str) -> Self {
        let page = include_str!("../../docs/acts.md");
        let section = page.split(&format!("\n## {name}\n")).nth(1).expect("a heading");
        let section = section.split("\n## ").next().expect("a first part");
        let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim);
        let mut lines = section.lines().filter(|line| line.starts_with('|'));
        let columns: Vec<_> = cells(lines.next().expect("a table")).collect();
        let row = |line| {
            let cells: Vec<_> = cells(line).collect();
            let granted = columns.iter().zip(&cells).filter(|(_, cell)| **cell == "yes");
            (role(cells[0]), granted.map(|(column, _)| column.replace(' ', "_")).collect())
        };
        Self { name, roles: lines.filter(|line| !line.contains("---")).map(row).collect() }
    }

    /// The variant of [`CONFIGURATION`].
    pub fn alone() -> Self {
        let mut roles = Self::built_in("tele_expertise").roles;
        roles.retain(|(role, _)| *role == Role::Practitioner);
        for line in CONFIGURATION.lines() {
            let Some((name, rule)) = line.split_once(" = { ") else { continue };
            let Some((_, rights)) = rule.split_once("may = [") else { continue };
            let rights = rights.split('"').skip(1).step_by(2).map(str::to_owned);
            roles.push((role(name), rights.collect()));
        }
        assert_eq!(roles.len(), 10, "a seat of every role");
        Self { name: ALONE, roles }
    }
}

fn role(name: &str) -> Role {
    serde_json::from_value(name.into()).expect("a role")
}
