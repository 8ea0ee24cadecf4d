//! Which line takes the next call, now or in a moment. Pure.
//!
//! Not here: how well a line is (`health`), who is next (`driver`).

use std::time::Instant;

/// A line as a call sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// How well it is: lower first; none: it is not to be used.
    pub(super) rank: Option<u8>,
    /// The operator's order among lines that are equally well: lower first.
    pub(super) priority: u16,
    /// From when on its rate allows one more call; none: it has as many as it may have.
    pub(super) free_from: Option<Instant>,
}

/// What a call is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Choice {
    /// Take the line at this place of the list.
    Take(usize),
    /// Look again then: only the rate is in the way.
    Wait(Instant),
    /// Those that are to be used have as many calls as they may have.
    Full,
    /// None is to be used.
    NoLine,
}

/// Of the lines that are best off, the first by priority that is free. A line that is less well is no way around the rate of a better
/// one: it may cost seconds, and the better one is free again within a second.
pub(super) fn choose(lines: &[Candidate], now: Instant) -> Choice {
    let free =
        || lines.iter().enumerate().filter_map(|(at, line)| Some((at, line.rank?, line.priority, line.free_from?)));
    let Some(best) = free().map(|(_, rank, ..)| rank).min() else {
        return if lines.iter().any(|line| line.rank.is_some()) { Choice::Full } else { Choice::NoLine };
    };
    let best = || free().filter(|(_, rank, ..)| *rank == best);
    match best().filter(|(.., from)| *from <= now).min_by_key(|(_, _, priority, _)| *priority) {
        Some((at, ..)) => Choice::Take(at),
        None => best().map(|(.., from)| from).min().map_or(Choice::Full, Choice::Wait),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_best_line_that_is_free_takes_a_call_and_only_a_rate_is_waited_for() {
        let now = Instant::now();
        let soon = now + Duration::from_millis(400);
        let later = now + Duration::from_millis(900);
        let line = |rank, priority, free_from| Candidate { rank, priority, free_from };
        let (up, suspect, down) = (Some(0), Some(1), Some(3));
        for (lines, choice, why) in [
            (vec![], Choice::NoLine, "there is no line"),
            (vec![line(None, 1, Some(now))], Choice::NoLine, "it rests"),
            (vec![line(up, 2, Some(now)), line(up, 1, Some(now))], Choice::Take(1), "by priority"),
            (vec![line(up, 1, Some(now)), line(up, 1, Some(now))], Choice::Take(0), "then as configured"),
            (vec![line(suspect, 1, Some(now)), line(up, 2, Some(now))], Choice::Take(1), "by health first"),
            (vec![line(up, 1, Some(soon)), line(up, 2, Some(now))], Choice::Take(1), "another one is free now"),
            (vec![line(up, 1, Some(later)), line(up, 2, Some(soon))], Choice::Wait(soon), "whichever is free first"),
            (vec![line(up, 1, Some(soon)), line(down, 2, Some(now))], Choice::Wait(soon), "rather than a dead one"),
            (vec![line(up, 1, None), line(down, 2, Some(now))], Choice::Take(1), "a dead one is better than none"),
            (vec![line(up, 1, None), line(up, 2, None)], Choice::Full, "every place is taken"),
            (vec![line(up, 1, None), line(None, 2, Some(now))], Choice::Full, "the other one rests"),
            (vec![line(up, 1, None), line(up, 2, Some(soon))], Choice::Wait(soon), "one has places"),
        ] {
            assert_eq!(choose(&lines, now), choice, "{why}");
        }
    }
}
