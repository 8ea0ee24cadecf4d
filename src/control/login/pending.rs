//! Logins that were begun and did not come back yet. In memory only: after a restart a person begins again.
//!
//! One a seat, and bound to the session that began it: only the page that sent the person away can bring the answer back. An
//! answer that somebody else obtained, or that is brought to another's page, finds nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What one login must come back with.
pub(super) struct Begun {
    /// Which device of the seat began it.
    pub(super) serial: u64,
    pub(super) state: String,
    pub(super) nonce: String,
    /// PKCE (RFC 7636): the challenge's secret.
    pub(super) verifier: String,
    pub(super) since: Instant,
}

/// Begun logins by seat.
#[derive(Default)]
pub(super) struct PendingLogins(Mutex<HashMap<String, Begun>>);

/// Too many logins are under way.
#[derive(Debug)]
pub(super) struct TooMany;

impl PendingLogins {
    /// Remembers a login; one that the seat began before is forgotten.
    pub(super) fn begin(&self, seat: &str, begun: Begun) -> Result<(), TooMany> {
        let mut all = self.lock();
        if all.len() >= PENDING_MAX && !all.contains_key(seat) {
            all.retain(|_, other| begun.since.duration_since(other.since) < LIFE);
            if all.len() >= PENDING_MAX {
                return Err(TooMany);
            }
        }
        all.insert(seat.to_owned(), begun);
        Ok(())
    }

    /// Takes the seat's login when the answer is its own; it cannot be taken twice. A wrong answer leaves it untouched, so that
    /// nobody can spoil another's login by guessing.
    pub(super) fn take(&self, now: Instant, seat: &str, serial: u64, state: &str) -> Option<Begun> {
        let mut all = self.lock();
        let begun = all.get(seat)?;
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(begun.state.as_bytes(), state.as_bytes()).is_ok();
        if !same || begun.serial != serial {
            return None;
        }
        all.remove(seat).filter(|begun| now.duration_since(begun.since) < LIFE)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Begun>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Long enough to find one's card and type its PIN, short enough that a forgotten window is worth nothing.
const LIFE: Duration = Duration::from_secs(600);
/// Professionals who log in at the same time; 300 bytes each. More would cost memory, less would refuse a large hospital's morning.
const PENDING_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(state: &str, since: Instant) -> Begun {
        Begun { serial: 7, state: state.into(), nonce: "n".into(), verifier: "v".into(), since }
    }

    #[test]
    fn an_answer_is_taken_once_by_the_page_that_began() {
        let (pending, now) = (PendingLogins::default(), Instant::now());
        pending.begin("seat", begun("right", now)).unwrap();
        assert!(pending.take(now, "seat", 7, "wrong").is_none());
        assert!(pending.take(now, "seat", 8, "right").is_none(), "another device");
        assert!(pending.take(now, "other", 7, "right").is_none(), "another seat");
        assert!(pending.take(now, "seat", 7, "right").is_some());
        assert!(pending.take(now, "seat", 7, "right").is_none(), "replayed");
    }

    #[test]
    fn a_second_beginning_replaces_the_first() {
        let (pending, now) = (PendingLogins::default(), Instant::now());
        pending.begin("seat", begun("first", now)).unwrap();
        pending.begin("seat", begun("second", now)).unwrap();
        assert!(pending.take(now, "seat", 7, "first").is_none());
        assert!(pending.take(now, "seat", 7, "second").is_some());
    }

    #[test]
    fn old_ones_are_worth_nothing_and_make_room() {
        let (pending, now) = (PendingLogins::default(), Instant::now());
        pending.begin("late", begun("s", now)).unwrap();
        assert!(pending.take(now + LIFE, "late", 7, "s").is_none());
        for seat in 0..PENDING_MAX {
            pending.begin(&seat.to_string(), begun("s", now)).unwrap();
        }
        assert!(pending.begin("one more", begun("s", now)).is_err());
        assert!(pending.begin("0", begun("again", now)).is_ok(), "its own place");
        assert!(pending.begin("one more", begun("s", now + LIFE)).is_ok());
        assert_eq!(pending.lock().len(), 1);
    }
}
