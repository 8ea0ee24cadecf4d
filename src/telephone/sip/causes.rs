//! Why calls fail and end: one cause for each way, as metrics name it and pages say it.
//!
//! Not here: what follows from a cause. The mapping from statuses is a pure function, with a table as its test.

use std::time::Duration;

/// Why a call out was not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DialFailure {
    /// No answer of any kind in time, or no connection: the line is suspect.
    TrunkSilent,
    /// The line has no room or is broken; it may say when to come back.
    TrunkBusy {
        /// From `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// The line refuses who we are.
    Auth,
    /// There is no such number.
    NotInService,
    /// It rang and nobody came.
    NoAnswer,
    /// Busy.
    Busy,
    /// The called person refused.
    Refused,
    /// No agreement on sound or its encryption.
    Media,
    /// Another address was named; it is never followed.
    Redirected,
    /// We called it off.
    Cancelled,
    /// Every line has as many calls as it may have, or too many wait for one: nothing was sent.
    LinesBusy,
    /// Something else.
    Other,
}

impl DialFailure {
    /// Label in metrics and facts.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            DialFailure::TrunkSilent => "trunk_silent",
            DialFailure::TrunkBusy { .. } => "trunk_busy",
            DialFailure::Auth => "auth",
            DialFailure::NotInService => "not_in_service",
            DialFailure::NoAnswer => "no_answer",
            DialFailure::Busy => "busy",
            DialFailure::Refused => "refused",
            DialFailure::Media => "media",
            DialFailure::Redirected => "redirected",
            DialFailure::Cancelled => "cancelled",
            DialFailure::LinesBusy => "lines_busy",
            DialFailure::Other => "other",
        }
    }

    /// Whether another line may do better.
    #[must_use]
    pub fn tries_next_trunk(self) -> bool {
        matches!(self, DialFailure::TrunkSilent | DialFailure::TrunkBusy { .. })
    }

    /// What a final status of an INVITE means. `rang`: a 180 or 183 came before.
    #[must_use]
    pub fn from_status(status: u16, rang: bool, retry_after: Option<Duration>) -> DialFailure {
        match status {
            300..=399 => DialFailure::Redirected,
            401 | 403 | 407 => DialFailure::Auth,
            404 | 410 | 484 | 604 => DialFailure::NotInService,
            408 if !rang => DialFailure::TrunkSilent,
            408 | 480 => DialFailure::NoAnswer,
            486 | 600 => DialFailure::Busy,
            603 | 607 | 608 => DialFailure::Refused,
            415 | 488 | 606 => DialFailure::Media,
            487 => DialFailure::Cancelled,
            500 | 502..=504 => DialFailure::TrunkBusy { retry_after },
            _ => DialFailure::Other,
        }
    }
}

/// How a call in is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The number is not ours.
    NotFound,
    /// Everything is taken.
    Busy,
    /// No agreement on sound.
    Media,
    /// Not now.
    Unavailable,
    /// Never.
    Declined,
    /// The server is full or stopping.
    Overloaded,
}

impl Refusal {
    /// RFC 3261 section 21.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Refusal::NotFound => 404,
            Refusal::Busy => 486,
            Refusal::Media => 488,
            Refusal::Unavailable => 480,
            Refusal::Declined => 603,
            Refusal::Overloaded => 503,
        }
    }
}

/// Why a call that was answered is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndCause {
    /// The other side hung up.
    Bye,
    /// We hung up.
    ByUs,
    /// Our answer was never acknowledged.
    NoAck,
    /// Nobody renewed the session (RFC 4028).
    SessionExpired,
    /// The other side no longer knows the call, or no longer answers.
    Lost,
}

impl EndCause {
    /// Label in metrics and facts.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            EndCause::Bye => "bye",
            EndCause::ByUs => "by_us",
            EndCause::NoAck => "no_ack",
            EndCause::SessionExpired => "session_expired",
            EndCause::Lost => "lost",
        }
    }
}

/// What the other side's `Reason` header says when we hang up (RFC 3326): no word about anybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// As planned.
    Normal,
    /// No key, no PIN, no sound in time.
    Timeout,
    /// Too many wrong PINs.
    Rejected,
    /// The server stops.
    Shutdown,
    /// Something failed here.
    Fault,
}

impl Reason {
    /// Value of the header (Q.850 causes).
    #[must_use]
    pub fn header(self) -> &'static str {
        match self {
            Reason::Normal => "Q.850;cause=16;text=\"Normal call clearing\"",
            Reason::Timeout => "Q.850;cause=102;text=\"Timer expired\"",
            Reason::Rejected => "Q.850;cause=21;text=\"Call rejected\"",
            Reason::Shutdown => "Q.850;cause=31;text=\"Service ends\"",
            Reason::Fault => "Q.850;cause=41;text=\"Temporary failure\"",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_the_cause_that_the_failure_table_gives_it() {
        let busy = DialFailure::TrunkBusy { retry_after: None };
        for (status, rang, cause) in [
            (401, false, DialFailure::Auth),
            (407, false, DialFailure::Auth),
            (403, false, DialFailure::Auth),
            (404, false, DialFailure::NotInService),
            (484, false, DialFailure::NotInService),
            (604, true, DialFailure::NotInService),
            (480, false, DialFailure::NoAnswer),
            (408, true, DialFailure::NoAnswer),
            (408, false, DialFailure::TrunkSilent),
            (486, true, DialFailure::Busy),
            (600, true, DialFailure::Busy),
            (603, true, DialFailure::Refused),
            (607, true, DialFailure::Refused),
            (488, false, DialFailure::Media),
            (503, false, busy),
            (500, false, busy),
            (502, false, busy),
            (504, false, busy),
            (302, false, DialFailure::Redirected),
            (300, false, DialFailure::Redirected),
            (487, true, DialFailure::Cancelled),
            (400, false, DialFailure::Other),
            (699, false, DialFailure::Other),
        ] {
            assert_eq!(DialFailure::from_status(status, rang, None), cause, "{status}");
        }
    }

    #[test]
    fn only_the_line_s_own_troubles_move_to_the_next_line() {
        for status in 300..700 {
            let cause = DialFailure::from_status(status, true, None);
            assert_eq!(cause.tries_next_trunk(), matches!(status, 500 | 502..=504), "{status}");
        }
        assert!(DialFailure::TrunkSilent.tries_next_trunk());
    }
}
