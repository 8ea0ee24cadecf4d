//! Checks the journal's chain from its signed beginning to its signed head, entry by entry, and names the first bad one.
//!
//! A value that is fed: it reads no store, so that it checks a running server, a copy and a PostgreSQL alike. What it cannot
//! see: that whoever holds the signing key wrote another journal, or that the whole store was set back to an older state, for
//! which a head noted elsewhere is needed ([`Verifier::expect`]).

use super::audit::{GENESIS, Place, chain, mark_bytes};
use super::head_key::HeadKey;
use super::{ChainMark, JournalEntry};

/// Walks a chain.
pub struct Verifier {
    public_key: [u8; 32],
    begin: i64,
    last: i64,
    hash: [u8; 32],
    entries: u64,
    noted: Option<NotedHead>,
}

/// An end of the chain that somebody noted earlier, outside the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotedHead {
    /// Its cursor.
    pub cursor: i64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// What is wrong, at the first place where something is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// The mark of the beginning was made by somebody else.
    #[error("the signature of the chain's beginning (before entry {}) is not of this key", .0 + 1)]
    BeginSignature(i64),
    /// Entries are missing between two others, or before the first.
    #[error("entry {missing} is missing: entry {found} follows entry {}", .missing - 1)]
    Gap {
        /// The first that is missing.
        missing: i64,
        /// What is there instead.
        found: i64,
    },
    /// The entry, or its place, was changed.
    #[error("entry {0} was changed: its hash does not follow from it and the entry before")]
    Hash(i64),
    /// Entries at the end are missing.
    #[error("entry {} is missing: the chain is cut off, its signed head is entry {head}", .last + 1)]
    Tail {
        /// The last that is there.
        last: i64,
        /// What the head says.
        head: i64,
    },
    /// Entries follow that the head does not know.
    #[error("entry {0} stands behind the chain's signed head")]
    BehindHead(i64),
    /// The head says another hash than the last entry's.
    #[error("entry {0} is not the one that the chain's head signs: entries were written anew")]
    HeadHash(i64),
    /// The head was signed by somebody else.
    #[error("the signature of the chain's head (entry {0}) is not of this key")]
    HeadSignature(i64),
    /// There are entries, and nothing signs them.
    #[error("the chain has no head: nothing signs entry {0}")]
    NoHead(i64),
    /// The head noted earlier is of another chain.
    #[error("entry {0} is not the one that was noted: the journal was written anew since")]
    Noted(i64),
    /// The head noted earlier is further on.
    #[error("entry {missing} is missing: entry {noted} was noted, the journal was set back since")]
    SetBack {
        /// The first that is missing.
        missing: i64,
        /// The noted one.
        noted: i64,
    },
}

/// A whole chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Whole {
    /// Entries that are there.
    pub entries: u64,
    /// The last entry's cursor.
    pub cursor: i64,
    /// The last entry's hash.
    pub hash: [u8; 32],
}

impl Verifier {
    /// Begins behind the mark of the beginning: without one, behind nothing.
    pub fn new(public_key: [u8; 32], begin: Option<&ChainMark>) -> Result<Self, Fault> {
        let (cursor, hash) = match begin {
            None => (0, GENESIS),
            Some(mark) if is_signed(&public_key, Place::Begin, mark) => (mark.cursor, mark.hash),
            Some(mark) => return Err(Fault::BeginSignature(mark.cursor)),
        };
        Ok(Self { public_key, begin: cursor, last: cursor, hash, entries: 0, noted: None })
    }

    /// Checks against a head that was noted earlier, too. One that was pruned since tells nothing.
    #[must_use]
    pub fn expect(self, noted: Option<NotedHead>) -> Self {
        Self { noted: noted.filter(|noted| noted.cursor >= self.begin), ..self }
    }

    /// The next entry in order of cursors.
    pub fn feed(&mut self, entry: &JournalEntry) -> Result<(), Fault> {
        self.check_noted()?;
        let due = self.last + 1;
        if entry.cursor != due {
            return Err(Fault::Gap { missing: due, found: entry.cursor });
        }
        if chain(&self.hash, entry.cursor, &entry.entry) != entry.hash {
            return Err(Fault::Hash(entry.cursor));
        }
        (self.last, self.hash) = (entry.cursor, entry.hash);
        self.entries += 1;
        Ok(())
    }

    /// The last entry that was fed.
    #[must_use]
    pub fn last(&self) -> i64 {
        self.last
    }

    /// After the last entry.
    pub fn finish(self, head: Option<&ChainMark>) -> Result<Whole, Fault> {
        self.check_noted()?;
        let Some(head) = head else {
            return if self.last == 0 { self.whole() } else { Err(Fault::NoHead(self.last)) };
        };
        if self.last < head.cursor {
            Err(Fault::Tail { last: self.last, head: head.cursor })
        } else if self.last > head.cursor {
            Err(Fault::BehindHead(head.cursor + 1))
        } else if self.hash != head.hash {
            Err(Fault::HeadHash(head.cursor))
        } else if !is_signed(&self.public_key, Place::Head, head) {
            Err(Fault::HeadSignature(head.cursor))
        } else {
            self.whole()
        }
    }

    fn whole(&self) -> Result<Whole, Fault> {
        match self.noted {
            Some(noted) if noted.cursor > self.last => {
                Err(Fault::SetBack { missing: self.last + 1, noted: noted.cursor })
            }
            _ => Ok(Whole { entries: self.entries, cursor: self.last, hash: self.hash }),
        }
    }

    fn check_noted(&self) -> Result<(), Fault> {
        match self.noted {
            Some(noted) if noted.cursor == self.last && noted.hash != self.hash => Err(Fault::Noted(noted.cursor)),
            _ => Ok(()),
        }
    }
}

fn is_signed(public_key: &[u8; 32], place: Place, mark: &ChainMark) -> bool {
    HeadKey::verifies(public_key, &mark_bytes(place, mark.cursor, &mark.hash), &mark.signature)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::super::Entry;
    use super::*;

    struct Chain {
        key: Ed25519KeyPair,
        begin: Option<ChainMark>,
        entries: Vec<JournalEntry>,
        head: Option<ChainMark>,
    }

    /// Nine entries, numbered from one.
    fn nine() -> Chain {
        let key = Ed25519KeyPair::generate().unwrap();
        let mut hash = GENESIS;
        let entries: Vec<JournalEntry> = (1..=9)
            .map(|cursor| {
                let entry = Entry {
                    id: format!("e{cursor}"),
                    at: 1_000 + cursor,
                    clinic: Some("k1".into()),
                    consultation: Some("c1".into()),
                    seat: None,
                    kind: "seat.joined".into(),
                    data: "{}".into(),
                };
                hash = chain(&hash, cursor, &entry);
                JournalEntry { cursor, entry, hash }
            })
            .collect();
        let head = Some(mark(&key, Place::Head, &entries[8]));
        Chain { key, begin: None, entries, head }
    }

    fn mark(key: &Ed25519KeyPair, place: Place, entry: &JournalEntry) -> ChainMark {
        let signature = key.sign(&mark_bytes(place, entry.cursor, &entry.hash)).as_ref().to_vec();
        ChainMark { cursor: entry.cursor, hash: entry.hash, signature }
    }

    impl Chain {
        fn check(&self, noted: Option<NotedHead>) -> Result<Whole, Fault> {
            let public_key = self.key.public_key().as_ref().try_into().unwrap();
            let mut verifier = Verifier::new(public_key, self.begin.as_ref())?.expect(noted);
            self.entries.iter().try_for_each(|entry| verifier.feed(entry))?;
            verifier.finish(self.head.as_ref())
        }

        /// As somebody would who has the store but not the key: every hash from there on is right again.
        fn rewrite_from(&mut self, index: usize) {
            let mut hash = if index == 0 { GENESIS } else { self.entries[index - 1].hash };
            for entry in &mut self.entries[index..] {
                hash = chain(&hash, entry.cursor, &entry.entry);
                entry.hash = hash;
            }
        }

        fn noted(&self, cursor: usize) -> Option<NotedHead> {
            Some(NotedHead { cursor: cursor as i64, hash: self.entries[cursor - 1].hash })
        }
    }

    #[test]
    fn a_whole_chain_is_whole() {
        let chain = nine();
        let hash = chain.entries[8].hash;
        assert_eq!(chain.check(None), Ok(Whole { entries: 9, cursor: 9, hash }));
        assert!(chain.check(chain.noted(9)).is_ok() && chain.check(chain.noted(4)).is_ok());
        let nothing = Chain { entries: Vec::new(), head: None, ..nine() };
        assert_eq!(nothing.check(None), Ok(Whole { entries: 0, cursor: 0, hash: GENESIS }));
    }

    #[test]
    fn a_pruned_chain_is_whole_behind_its_signed_beginning() {
        let mut chain = nine();
        chain.begin = Some(mark(&chain.key, Place::Begin, &chain.entries[3]));
        let noted = chain.noted(2);
        chain.entries.drain(..4);
        assert_eq!(chain.check(noted).unwrap().entries, 5);
        chain.begin.as_mut().unwrap().signature[0] ^= 1;
        assert_eq!(chain.check(None), Err(Fault::BeginSignature(4)));
        // Everything pruned: the head is the beginning.
        let mut chain = nine();
        chain.begin = Some(mark(&chain.key, Place::Begin, &chain.entries[8]));
        chain.entries.clear();
        assert_eq!(chain.check(None).unwrap().entries, 0);
    }

    #[test]
    fn each_way_to_falsify_is_found_at_its_first_entry() {
        let stranger = Ed25519KeyPair::generate().unwrap();
        let tamperings: [(&str, Box<dyn Fn(&mut Chain)>, Fault); 14] = [
            ("data", Box::new(|chain| chain.entries[4].entry.data = "{ }".into()), Fault::Hash(5)),
            ("time", Box::new(|chain| chain.entries[4].entry.at += 1), Fault::Hash(5)),
            ("hash", Box::new(|chain| chain.entries[4].hash[0] ^= 1), Fault::Hash(5)),
            (
                "order",
                Box::new(|chain| {
                    chain.entries.swap(4, 5);
                    (chain.entries[4].cursor, chain.entries[5].cursor) = (5, 6);
                }),
                Fault::Hash(5),
            ),
            ("middle", Box::new(|chain| drop(chain.entries.remove(4))), Fault::Gap { missing: 5, found: 6 }),
            ("first", Box::new(|chain| drop(chain.entries.remove(0))), Fault::Gap { missing: 1, found: 2 }),
            ("tail", Box::new(|chain| chain.entries.truncate(6)), Fault::Tail { last: 6, head: 9 }),
            (
                "middle, renumbered",
                Box::new(|chain| {
                    chain.entries.remove(4);
                    (1..).zip(&mut chain.entries).for_each(|(cursor, entry)| entry.cursor = cursor);
                }),
                Fault::Hash(5),
            ),
            (
                "data, hashes again",
                Box::new(|chain| {
                    chain.entries[4].entry.data = "{ }".into();
                    chain.rewrite_from(4);
                }),
                Fault::HeadHash(9),
            ),
            (
                "tail, head by another key",
                Box::new(move |chain| {
                    chain.entries.truncate(6);
                    chain.head = Some(mark(&stranger, Place::Head, &chain.entries[5]));
                }),
                Fault::HeadSignature(6),
            ),
            (
                "head of the beginning",
                Box::new(|chain| chain.head = Some(mark(&chain.key, Place::Begin, &chain.entries[8]))),
                Fault::HeadSignature(9),
            ),
            ("no head", Box::new(|chain| chain.head = None), Fault::NoHead(9)),
            (
                "more behind the head",
                Box::new(|chain| chain.head = Some(mark(&chain.key, Place::Head, &chain.entries[7]))),
                Fault::BehindHead(9),
            ),
            ("another key", Box::new(|chain| chain.key = Ed25519KeyPair::generate().unwrap()), Fault::HeadSignature(9)),
        ];
        for (name, tamper, fault) in tamperings {
            let mut chain = nine();
            tamper(&mut chain);
            assert_eq!(chain.check(None), Err(fault), "{name}");
        }
    }

    #[test]
    fn a_noted_head_shows_what_the_keys_holder_did() {
        let mut chain = nine();
        let noted = chain.noted(7);
        chain.entries[2].entry.data = "{ }".into();
        chain.rewrite_from(2);
        chain.head = Some(mark(&chain.key, Place::Head, &chain.entries[8]));
        assert!(chain.check(None).is_ok(), "the key's holder can write another journal");
        assert_eq!(chain.check(noted), Err(Fault::Noted(7)));
        let mut chain = nine();
        let noted = chain.noted(9);
        chain.entries.truncate(6);
        chain.head = Some(mark(&chain.key, Place::Head, &chain.entries[5]));
        assert_eq!(chain.check(noted), Err(Fault::SetBack { missing: 7, noted: 9 }));
    }
}
