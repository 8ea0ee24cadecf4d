//! The chain that makes a change of the journal visible: each entry's hash covers the hash before it.
//!
//! ```text
//!   hash = SHA-256(hash before || cursor || entry, each field with its length)
//! ```
//!
//! Pure functions. A chain shows that an entry was changed, removed from the middle or put in; that the end was cut off shows
//! only against a signed head kept elsewhere. Not here: who writes the chain (`writer`), the key that signs it (`head_key`).

use aws_lc_rs::digest::{Context, SHA256};

use super::Entry;

/// The hash before the first entry ever.
pub const GENESIS: [u8; 32] = [0; 32];

/// Which end of the chain a mark is of. A mark of one is no mark of the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// The last entry before those that are kept.
    Begin,
    /// The last entry.
    Head,
}

impl Place {
    /// Its name in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Place::Begin => "begin",
            Place::Head => "head",
        }
    }
}

/// The hash of an entry at its place behind the hash before.
#[must_use]
pub fn chain(previous: &[u8; 32], cursor: i64, entry: &Entry) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(previous);
    hash.update(&cursor.to_be_bytes());
    field(&mut hash, Some(&entry.id));
    hash.update(&entry.at.to_be_bytes());
    field(&mut hash, entry.clinic.as_deref());
    field(&mut hash, entry.consultation.as_deref());
    field(&mut hash, entry.seat.as_deref());
    field(&mut hash, Some(&entry.kind));
    field(&mut hash, Some(&entry.data));
    let mut out = [0; 32];
    out.copy_from_slice(hash.finish().as_ref());
    out
}

/// What is signed of an end of the chain.
#[must_use]
pub fn mark_bytes(place: Place, cursor: i64, hash: &[u8; 32]) -> Vec<u8> {
    let mut bytes = format!("colloque journal {}\n", place.name()).into_bytes();
    bytes.extend_from_slice(&cursor.to_be_bytes());
    bytes.extend_from_slice(hash);
    bytes
}

/// Nothing and the empty text differ, and no two lists of fields give the same bytes.
fn field(hash: &mut Context, text: Option<&str>) {
    match text {
        None => hash.update(&[0]),
        Some(text) => {
            hash.update(&[1]);
            hash.update(&(text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            id: "e".into(),
            at: 1,
            clinic: Some("k".into()),
            consultation: None,
            seat: Some(String::new()),
            kind: "seat.joined".into(),
            data: "{}".into(),
        }
    }

    #[test]
    fn every_part_of_an_entry_changes_its_hash() {
        let first = chain(&GENESIS, 1, &entry());
        let mut others = vec![chain(&[1; 32], 1, &entry()), chain(&GENESIS, 2, &entry())];
        let changes: [fn(&mut Entry); 8] = [
            |entry| entry.id.push('x'),
            |entry| entry.at += 1,
            |entry| entry.clinic = None,
            |entry| entry.consultation = Some(String::new()),
            |entry| entry.seat = None,
            |entry| entry.kind.push('x'),
            |entry| entry.data.push(' '),
            |entry| (entry.kind, entry.data) = ("seat.joined{".into(), "}".into()),
        ];
        for change in changes {
            let mut other = entry();
            change(&mut other);
            others.push(chain(&GENESIS, 1, &other));
        }
        for (number, other) in others.iter().enumerate() {
            assert_ne!(first, *other, "{number}");
        }
        assert_eq!(first, chain(&GENESIS, 1, &entry()));
    }

    #[test]
    fn a_mark_of_the_head_is_no_mark_of_the_begin() {
        assert_ne!(mark_bytes(Place::Head, 1, &GENESIS), mark_bytes(Place::Begin, 1, &GENESIS));
    }
}
