//! The built-in acts against the tables of docs/acts.md, which are the specification; and what holds in every act
//! whatever its table says.

use std::sync::Arc;

use colloque_signaling::message::Role;

use crate::acts::{Act, Acts, ROLES, UNCONFIGURED, is_professional, role_from_name, role_name};
use crate::rtp::codec::Source;
use crate::sfu::data::Kind;

use super::*;

/// Every act that a seat can be in.
fn every_act() -> Vec<Arc<Act>> {
    let acts = Acts::built_in();
    acts.iter().chain([acts.of_stored("an act of last year")]).cloned().collect()
}

#[test]
fn permissions_and_media_rights_follow_each_right_and_no_other() {
    for right in Right::ALL {
        let alone = Rights::from_iter([right]);
        let said = serde_json::to_value(permissions(alone)).unwrap();
        let granted: Vec<&String> =
            said.as_object().unwrap().iter().filter(|(_, value)| **value == true).map(|(name, _)| name).collect();
        assert_eq!(granted.len(), 1, "{right:?}: {granted:?}");
        let named: Right = serde_json::from_value(granted[0].as_str().into()).unwrap();
        assert_eq!(named, right, "the protocol's names are the configuration's");
        assert_eq!(seat_policy(alone), media_of(right), "{right:?}");
    }
    assert_eq!(permissions(Rights::NONE), Permissions::default());
    assert_eq!(seat_policy(Rights::NONE), SeatPolicy::default());
}

/// What one right alone is on the media plane: who is part of the conversation reads it too.
fn media_of(right: Right) -> SeatPolicy {
    let none = SeatPolicy::default();
    match right {
        Right::Microphone => SeatPolicy { microphone: true, ..none },
        Right::Camera => SeatPolicy { camera: true, ..none },
        Right::Screen => SeatPolicy { screen: true, ..none },
        Right::See => SeatPolicy { see: true, read: true, ..none },
        Right::Hear => SeatPolicy { hear: true, read: true, ..none },
        Right::Chat => SeatPolicy { chat: true, read: true, ..none },
        Right::Files => SeatPolicy { files: true, read: true, ..none },
        Right::Point => SeatPolicy { point: true, read: true, ..none },
        Right::Vitals => SeatPolicy { vitals: true, read: true, ..none },
        Right::Admit | Right::Remove | Right::Mute | Right::Invite | Right::HandOver | Right::Aside | Right::End => {
            none
        }
    }
}

#[test]
fn a_role_without_a_seat_may_do_nothing_even_if_admitted() {
    let acts = Acts::built_in();
    let caller = acts.by_name("teleconsultation").unwrap().rule(Role::Caller);
    assert_eq!(seat_policy(caller.may), SeatPolicy::default());
    assert_eq!(permissions(caller.may), Permissions::default());
    assert_eq!(first_admission(caller, false), Admission::Waiting);
}

#[test]
fn a_device_passes_the_waiting_room_wherever_it_sits() {
    for act in every_act() {
        for role in ROLES {
            assert_eq!(first_admission(act.rule(role), true), Admission::Direct, "{} {role:?}", act.name);
        }
    }
}

#[test]
fn a_trainee_publishes_nothing_anywhere() {
    for act in every_act() {
        let policy = seat_policy(act.rule(Role::Trainee).may);
        for source in [Source::Microphone, Source::Camera, Source::Screen] {
            assert!(!policy.may_publish(source), "{}", act.name);
        }
        for kind in Kind::ALL {
            assert!(!policy.may_send(kind), "{} {kind:?}", act.name);
        }
        assert!(act.rule(Role::Trainee).waits, "{}", act.name);
    }
}

#[test]
fn every_act_has_somebody_who_passes_admits_and_can_end_it() {
    for act in every_act() {
        let host = act.roles.values().find(|rule| {
            let may = permissions(rule.may);
            may.admit && may.remove && may.mute && may.end && first_admission(**rule, false) == Admission::Direct
        });
        assert!(host.is_some(), "{}", act.name);
    }
}

#[test]
fn only_professionals_hold_rights_over_others() {
    for act in every_act() {
        for (&role, rule) in &act.roles {
            let may = permissions(rule.may);
            let over_others =
                may.admit || may.remove || may.mute || may.invite || may.hand_over || may.aside || may.end;
            assert!(!over_others || is_professional(role), "{} {role:?}", act.name);
        }
    }
}

#[test]
fn the_act_for_lost_names_grants_no_more_than_any_act_in_which_the_role_sits() {
    let acts = Acts::built_in();
    let lost = acts.of_stored("gone");
    assert_eq!(lost.name, UNCONFIGURED);
    assert!(ROLES.iter().all(|role| lost.roles.contains_key(role)), "whoever was booked keeps a seat");
    for act in acts.iter() {
        for (&role, rule) in &act.roles {
            let more: Vec<Right> = lost.rule(role).may.iter().filter(|&right| !rule.may.has(right)).collect();
            assert!(more.is_empty(), "{} {role:?}: {more:?}", act.name);
            assert!(lost.rule(role).waits || !rule.waits, "{} {role:?}", act.name);
        }
    }
}

/// One row of a table of docs/acts.md.
struct Row<'a> {
    role: Role,
    seats: &'a str,
    enters: &'a str,
    /// By the name of the column.
    rights: Vec<(&'a str, &'a str)>,
}

/// The page's part about an act: its table, and the line about its gates.
fn specified<'a>(page: &'a str, act: &str) -> (Vec<Row<'a>>, &'a str) {
    let heading = format!("\n## {act}\n");
    let section = page.split(&heading).nth(1).unwrap_or_else(|| panic!("no heading {act}"));
    let section = section.split("\n## ").next().expect("a split has a first part");
    let cells = |line: &'a str| -> Vec<&'a str> { line.trim_matches('|').split('|').map(str::trim).collect() };
    let mut lines = section.lines().filter(|line| line.starts_with('|'));
    let columns = cells(lines.next().expect("a table"));
    let rows = lines.skip(1).map(|line| {
        let found = cells(line);
        assert_eq!(found.len(), columns.len(), "{act}: {line}");
        Row {
            role: role_from_name(found[0]).unwrap_or_else(|| panic!("{act}: {line}")),
            seats: found[1],
            enters: found[2],
            rights: columns[3..].iter().copied().zip(found[3..].iter().copied()).collect(),
        }
    });
    let gates = section.lines().find(|line| line.starts_with("Gates: ")).expect("a line of gates");
    (rows.collect(), gates)
}

#[test]
fn every_act_grants_what_the_page_for_clinicians_says_and_nothing_else() {
    let page = include_str!("../../docs/acts.md");
    for act in every_act() {
        let (rows, gates) = specified(page, &act.name);
        let seated: Vec<Role> = rows.iter().map(|row| row.role).collect();
        assert_eq!(seated, act.roles.keys().copied().collect::<Vec<_>>(), "{}: who may sit", act.name);
        for row in rows {
            let (place, rule) = (format!("{} {}", act.name, role_name(row.role)), act.rule(row.role));
            assert_eq!(rule.seats.to_string(), row.seats, "{place}");
            let enters = if first_admission(rule, false) == Admission::Direct { "directly" } else { "waits" };
            assert_eq!(enters, row.enters, "{place}");
            assert_eq!(row.rights.len(), Right::ALL.len(), "{place}");
            let granted = serde_json::to_value(permissions(rule.may)).unwrap();
            for (column, cell) in &row.rights {
                let expected = match *cell {
                    "yes" => true,
                    "-" => false,
                    other => panic!("{place} {column}: {other}"),
                };
                assert_eq!(granted[column.replace(' ', "_")], expected, "{place} {column}");
            }
            assert_media(&row, seat_policy(rule.may), &place);
        }
        assert_eq!(gates, describe_gates(&act), "{}", act.name);
    }
}

/// The media plane is told what the page for clinicians says.
fn assert_media(row: &Row<'_>, policy: SeatPolicy, place: &str) {
    let says = |name: &str| row.rights.iter().any(|&(column, cell)| column == name && cell == "yes");
    let expected = SeatPolicy {
        microphone: says("microphone"),
        camera: says("camera"),
        screen: says("screen"),
        see: says("see"),
        hear: says("hear"),
        read: ["see", "hear", "chat", "files", "point", "vitals"].into_iter().any(says),
        chat: says("chat"),
        files: says("files"),
        point: says("point"),
        vitals: says("vitals"),
    };
    assert_eq!(policy, expected, "{place}");
}

fn describe_gates(act: &Act) -> String {
    let names = |roles: &[Role]| match roles {
        [] => "nobody".to_owned(),
        roles => roles.iter().map(|&role| role_name(role)).collect::<Vec<_>>().join(", "),
    };
    let gates = &act.gates;
    format!(
        "Gates: card: {}. consent: {}. third person: {}. preference: {}.",
        names(&gates.card),
        names(&gates.consent.asked),
        names(&gates.third_person),
        names(&gates.preference)
    )
}
