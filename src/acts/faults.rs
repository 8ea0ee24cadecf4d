//! Rules that cannot be played: one clear line each, beginning with the key of the file that is at fault.
//!
//! Spelling mistakes (unknown keys, roles, rights) do not get here: reading the file refuses them.

use std::collections::BTreeMap;

use colloque_signaling::message::Role;

use super::roles::{is_professional, role_name};
use super::{Act, Gates, Right, SEATS_MAX, SeatRule};

/// How lines name an act of the file: by its name when that can be one, else by its place from 1.
pub(super) fn path(index: usize, name: &str) -> String {
    if is_name(name) { format!("acts.{name}") } else { format!("acts[{}]", index + 1) }
}

/// Adds every fault of a complete act.
pub(super) fn find(act: &Act, path: &str, found: &mut Vec<String>) {
    let mut fault = |key: &str, why: String| found.push(format!("{path}.{key}: {why}"));
    if !is_name(&act.name) {
        fault("name", format!("1 to {NAME_LEN_MAX} of a-z, 0-9 and _, a letter first"));
    }
    for (&role, rule) in &act.roles {
        let key = format!("roles.{}", role_name(role));
        seat_faults(role, *rule, |why| fault(&key, why.to_owned()));
    }
    for (key, why) in hosting_faults(act) {
        fault(key, why);
    }
    gate_faults(&act.gates, &act.roles, &mut fault);
    if !(1..=CAMERAS_MAX).contains(&act.media.cameras) {
        fault("media.cameras", format!("1 to {CAMERAS_MAX}"));
    }
}

/// Faults of gates among these roles.
pub(super) fn gate_faults(gates: &Gates, roles: &BTreeMap<Role, SeatRule>, mut fault: impl FnMut(&str, String)) {
    for (key, asked) in [
        ("gates.card", &gates.card),
        ("gates.consent.asked", &gates.consent.asked),
        ("gates.third_person", &gates.third_person),
        ("gates.preference", &gates.preference),
    ] {
        for &role in asked.iter().filter(|role| !roles.contains_key(*role)) {
            fault(key, format!("{} has no seat in this act", role_name(role)));
        }
    }
    let text = gates.consent.text.trim();
    if !gates.consent.asked.is_empty() && (text.is_empty() || text.len() > TEXT_LEN_MAX) {
        fault("gates.consent.text", format!("name the version of the text, in 1 to {TEXT_LEN_MAX} bytes"));
    }
}

fn seat_faults(role: Role, rule: SeatRule, mut fault: impl FnMut(&str)) {
    if rule.seats > SEATS_MAX {
        fault("a consultation has at most 50 seats");
    }
    let quiet = [Right::See, Right::Hear];
    if role == Role::Trainee && rule.may.iter().any(|right| !quiet.contains(&right)) {
        fault("a trainee only listens and watches: see, hear");
    }
    if rule.may.has(Right::Point) && !rule.may.has(Right::See) {
        fault("who may point must see what is pointed at");
    }
    if rule.may.has(Right::Aside) && !is_professional(role) {
        fault("an aside is between professionals");
    }
}

/// Faults of the act as a whole: who opens the door, who closes it, who speaks apart.
fn hosting_faults(act: &Act) -> Vec<(&'static str, String)> {
    let some = |test: &dyn Fn(Role, SeatRule) -> bool| act.roles.iter().any(|(&role, &rule)| test(role, rule));
    let mut faults = Vec::new();
    let waiting = act.roles.iter().find(|(_, rule)| rule.waits);
    // Whoever admits must not be waiting to be admitted.
    if let Some((&role, _)) = waiting
        && !some(&|_, rule| rule.may.has(Right::Admit) && !rule.waits)
    {
        faults.push(("roles", format!("{} waits, and nobody who passes may admit", role_name(role))));
    }
    if !some(&|_, rule| rule.may.has(Right::End)) {
        faults.push(("roles", "nobody may end the consultation".to_owned()));
    }
    let professionals: usize =
        act.roles.iter().filter(|(role, _)| is_professional(**role)).map(|(_, rule)| rule.seats).sum();
    if professionals < 2 && some(&|_, rule| rule.may.has(Right::Aside)) {
        faults.push(("roles", "an aside needs seats for two professionals".to_owned()));
    }
    if professionals < 2 && some(&|_, rule| rule.may.has(Right::HandOver)) {
        faults.push(("roles", "handing over needs a second professional's seat".to_owned()));
    }
    faults
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_LEN_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// A version or a date.
const TEXT_LEN_MAX: usize = 40;
/// It stands in the API, in records and in metrics.
const NAME_LEN_MAX: usize = 40;
/// Video sources of one seat; the bandwidth of a home line carries no more.
const CAMERAS_MAX: u8 = 3;
