//! Where a webhook stands in the journal, and what a delivery's outcome makes of it: the rules of trying again, as a value.

use std::time::Duration;

use crate::store::{Change, Webhook};

use super::sender::Outcome;

/// Everything up to `cursor` was delivered or passed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position {
    pub(super) cursor: i64,
    pub(super) failures: u32,
    /// Unix seconds.
    pub(super) retry_at: i64,
    pub(super) disabled: bool,
}

impl Position {
    pub(super) fn of(webhook: &Webhook) -> Self {
        let Webhook { cursor, failures, retry_at, disabled, .. } = *webhook;
        Self { cursor, failures, retry_at, disabled }
    }

    pub(super) fn change(self, id: &str) -> Change {
        let Self { cursor, failures, retry_at, disabled } = self;
        Change::MoveWebhook { id: id.to_owned(), cursor, failures, retry_at, disabled }
    }

    /// After the event at `cursor` was delivered.
    pub(super) fn past(cursor: i64) -> Self {
        Self { cursor, failures: 0, retry_at: 0, disabled: false }
    }

    /// After a failure: later again, or given up. `jitter` is a random byte.
    pub(super) fn after_failure(self, outcome: Outcome, now: i64, jitter: u8) -> Self {
        let failures = self.failures.saturating_add(1);
        let disabled = outcome == Outcome::Gone || failures >= FAILURES_MAX;
        let wait = backoff(failures, &WAITS, jitter);
        let retry_at = now.saturating_add(wait.as_secs().try_into().unwrap_or(i64::MAX));
        Self { failures, retry_at, disabled, ..self }
    }

    /// Whether the event after the one that fails should be tried: the receiver answers, and perhaps it is only this one that it
    /// never takes.
    pub(super) fn should_look_past(self, outcome: Outcome) -> bool {
        matches!(outcome, Outcome::Refused(_)) && !self.disabled && self.failures >= LOOK_PAST_AFTER
    }
}

/// How long to wait after so many failures: the waits in turn, then the last again and again; up to a quarter more by chance, so
/// that what failed together does not come back together.
pub(crate) fn backoff(failures: u32, waits: &[u64], jitter: u8) -> Duration {
    let index = (failures.max(1) as usize - 1).min(waits.len() - 1);
    let base = Duration::from_secs(waits[index]);
    base + base * u32::from(jitter) / 1_024
}

/// Seconds: soon at first, for a restart of the receiver; then as rarely as a broken one deserves.
const WAITS: [u64; 10] = [5, 15, 60, 300, 900, 1_800, 3_600, 7_200, 10_800, 21_600];
/// With the waits above: given up after 72 to 90 hours, a long weekend.
const FAILURES_MAX: u32 = 21;
/// With the waits above: after some 21 minutes.
const LOOK_PAST_AFTER: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Position = Position { cursor: 7, failures: 0, retry_at: 0, disabled: false };

    #[test]
    fn waits_grow_to_six_hours_and_end_after_three_days() {
        let (mut position, mut now, mut waits) = (FRESH, 0, Vec::new());
        while !position.disabled {
            position = position.after_failure(Outcome::Unanswered("timeout"), now, 0);
            waits.push(position.retry_at - now);
            now = position.retry_at;
        }
        assert!(waits.is_sorted() && waits[0] == 5 && waits.last() == Some(&21_600), "{waits:?}");
        let tried_for = now - waits.last().unwrap();
        assert!((72 * 3_600..90 * 3_600).contains(&tried_for), "{tried_for} s");
        assert_eq!(position.cursor, 7, "what was not delivered stays where it is");
    }

    #[test]
    fn jitter_adds_at_most_a_quarter() {
        for failures in 1..40 {
            let (least, most) = (backoff(failures, &WAITS, 0), backoff(failures, &WAITS, 255));
            assert!(least < most && most <= least * 5 / 4, "{failures}");
        }
        assert_eq!(backoff(0, &WAITS, 0), backoff(1, &WAITS, 0));
        assert_eq!(backoff(u32::MAX, &WAITS, 0), Duration::from_secs(21_600));
    }

    #[test]
    fn a_receiver_that_wants_no_more_is_believed_at_once() {
        assert!(FRESH.after_failure(Outcome::Gone, 0, 0).disabled);
        assert!(!FRESH.after_failure(Outcome::Refused(404), 0, 0).disabled);
    }

    #[test]
    fn only_a_receiver_that_answers_is_looked_past_and_not_at_once() {
        let tried = |failures| Position { failures, ..FRESH };
        for (failures, outcome, expected) in [
            (5, Outcome::Refused(500), false),
            (6, Outcome::Refused(500), true),
            (20, Outcome::Refused(400), true),
            (20, Outcome::Unanswered("timeout"), false),
            (20, Outcome::Forbidden, false),
        ] {
            assert_eq!(tried(failures).should_look_past(outcome), expected, "{failures} {outcome:?}");
        }
        assert!(!Position { disabled: true, ..tried(20) }.should_look_past(Outcome::Refused(500)));
    }
}
