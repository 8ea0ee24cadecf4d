//! Which keys of a configuration file changed since it was read last, by name alone: values may be secrets or personal.
//!
//! Not here: what a key means, and whether it may change while the server runs (`telephone::is_reloadable`).

use std::collections::BTreeSet;

use toml::{Table, Value};

/// The file as it was read: enough to name what has changed since.
#[derive(Clone)]
pub struct FileKeys(Table);

impl FileKeys {
    /// Of a file's text. Nothing when it is no TOML.
    #[must_use]
    pub fn of(text: &str) -> Option<FileKeys> {
        text.parse().ok().map(FileKeys)
    }

    /// Keys whose values differ in a later reading, in alphabetical order: `media_port`, `telephone.dialout.attempts`,
    /// `telephone.trunk.NAME.allow`; `telephone.trunk.NAME` when that came or went.
    #[must_use]
    pub fn changed_in(&self, later: &FileKeys) -> Vec<String> {
        let mut keys = BTreeSet::new();
        compare("", (&self.0, &later.0), Kind::Section, &mut keys);
        keys.into_iter().collect()
    }
}

/// What a table is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Of the file.
    Section,
    /// A list of tables, by their names.
    List,
}

fn compare(prefix: &str, (before, after): (&Table, &Table), kind: Kind, keys: &mut BTreeSet<String>) {
    for name in before.keys().chain(after.keys()) {
        let key = format!("{prefix}{name}");
        match (before.get(name), after.get(name)) {
            (before, after) if before == after => {}
            (Some(Value::Table(before)), Some(Value::Table(after))) => {
                compare(&format!("{key}."), (before, after), Kind::Section, keys);
            }
            // A section that is not there stands for its defaults.
            (None, Some(Value::Table(table))) | (Some(Value::Table(table)), None) if kind == Kind::Section => {
                keys.extend(table.keys().map(|inner| format!("{key}.{inner}")));
            }
            (Some(before), Some(after)) => match (named(before), named(after)) {
                (Some(before), Some(after)) => compare(&format!("{key}."), (&before, &after), Kind::List, keys),
                _ => _ = keys.insert(key),
            },
            _ => _ = keys.insert(key),
        }
    }
}

/// A list of tables with names, as `[[telephone.trunk]]`, by those names.
fn named(list: &Value) -> Option<Table> {
    let entry = |entry: &Value| Some((entry.get("name")?.as_str()?.to_owned(), entry.clone()));
    list.as_array().filter(|list| !list.is_empty())?.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(before: &str, after: &str) -> Vec<String> {
        FileKeys::of(before).unwrap().changed_in(&FileKeys::of(after).unwrap())
    }

    #[test]
    fn keys_are_named_where_they_stand_and_nothing_of_their_values() {
        let before = "media_port = 1\nworkers = 2\n[telephone]\nmax_legs = 3\n[telephone.pin]\ntries = 3\n\
                      [[telephone.trunk]]\nname = \"a\"\nallow = [\"192.0.2.1\"]\n[[telephone.trunk]]\nname = \"b\"\n";
        assert_eq!(changed(before, before), [""; 0]);
        let after = "media_port = 9\nrooms_max = 5\n[telephone]\nmax_legs = 3\n[telephone.pin]\ntries = 4\n[telephone.dialout]\n\
                     attempts = 1\nring_s = 9\n[[telephone.trunk]]\nname = \"a\"\nallow = [\"192.0.2.2\"]\n[[telephone.trunk]]\nname = \"c\"\n";
        let expected = [
            "media_port",
            "rooms_max",
            "telephone.dialout.attempts",
            "telephone.dialout.ring_s",
            "telephone.pin.tries",
            "telephone.trunk.a.allow",
            "telephone.trunk.b",
            "telephone.trunk.c",
            "workers",
        ];
        assert_eq!(changed(before, after), expected);
    }

    #[test]
    fn the_order_of_trunks_and_of_keys_is_no_change() {
        let one = "[[telephone.trunk]]\nname = \"a\"\nx = 1\n[[telephone.trunk]]\nname = \"b\"\n";
        let other = "[[telephone.trunk]]\nname = \"b\"\n[[telephone.trunk]]\nx = 1\nname = \"a\"\n";
        assert_eq!(changed(one, other), [""; 0]);
        assert_eq!(changed("[[acts]]\nname = \"x\"\nseats = 1", "[[acts]]\nname = \"x\"\nseats = 2"), ["acts.x.seats"]);
        assert_eq!(changed("a = [1]", "a = [2]"), ["a"]);
        assert_eq!(changed("a = []", "[[a]]\nname = \"x\""), ["a"]);
        assert!(FileKeys::of("a =").is_none());
    }
}
