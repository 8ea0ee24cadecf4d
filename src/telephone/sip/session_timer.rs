//! Session timers (RFC 4028): who renews a call, when, and when a call that nobody renews is over.
//!
//! Pure: `now` is a parameter. Not here: the UPDATE or re-INVITE itself.

use std::time::{Duration, Instant};

/// The timer of one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SessionTimer {
    /// The other side knows none.
    Off,
    /// The call is over at `since + interval` unless somebody renews it.
    On {
        interval: Duration,
        we_refresh: bool,
        since: Instant,
        /// When we renew it; none while we do, and when they are to.
        refresh_at: Option<Instant>,
    },
}

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    Refresh,
    Expire,
}

/// What a request or an answer said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Said {
    pub(super) interval: Duration,
    pub(super) refresher: Option<Refresher>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refresher {
    Uac,
    Uas,
}

impl Said {
    /// Reads `1800;refresher=uac`.
    pub(super) fn parse(value: &str) -> Option<Said> {
        let mut parts = value.split(';').map(str::trim);
        let seconds: u32 = parts.next()?.parse().ok()?;
        let refresher = parts.find_map(|part| match part.to_ascii_lowercase().as_str() {
            "refresher=uac" => Some(Refresher::Uac),
            "refresher=uas" => Some(Refresher::Uas),
            _ => None,
        });
        Some(Said { interval: Duration::from_secs(seconds.into()), refresher })
    }
}

impl SessionTimer {
    /// Answers a request (we are its UAS): the timer, and the header for the 200. Errors: the interval is under the minimum (422).
    pub(super) fn answer(
        said: Option<Said>,
        supported: bool,
        own: Duration,
        least: Duration,
        now: Instant,
    ) -> Result<(SessionTimer, Option<String>), TooShort> {
        let Some(said) = said else {
            if !supported {
                return Ok((SessionTimer::Off, None));
            }
            // They know timers and asked for none: we ask and do the work.
            let timer = SessionTimer::on(own, true, now);
            return Ok((timer, Some(format!("{};refresher=uas", own.as_secs()))));
        };
        if said.interval < least {
            return Err(TooShort);
        }
        let interval = said.interval.min(own.max(least));
        let refresher = match said.refresher {
            // Who does not know timers cannot refresh.
            _ if !supported => Refresher::Uas,
            Some(refresher) => refresher,
            None => Refresher::Uac,
        };
        let we_refresh = refresher == Refresher::Uas;
        let name = if we_refresh { "uas" } else { "uac" };
        let timer = SessionTimer::on(interval, we_refresh, now);
        Ok((timer, Some(format!("{};refresher={name}", interval.as_secs()))))
    }

    /// Takes the 2xx to an INVITE or UPDATE of ours (we are its UAC). One that says nothing ends all counting (RFC 4028 section 7.2).
    pub(super) fn accepted(said: Option<Said>, least: Duration, now: Instant) -> SessionTimer {
        said.map_or(SessionTimer::Off, |said| {
            SessionTimer::on(said.interval.max(least), said.refresher != Some(Refresher::Uas), now)
        })
    }

    fn on(interval: Duration, we_refresh: bool, now: Instant) -> SessionTimer {
        SessionTimer::On { interval, we_refresh, since: now, refresh_at: we_refresh.then(|| now + interval / 2) }
    }

    /// The next moment, and what is due then.
    pub(super) fn poll_due(&self) -> Option<(Instant, Due)> {
        let SessionTimer::On { interval, since, refresh_at, .. } = *self else { return None };
        // RFC 4028 section 10: the smaller of 32 s and a third before the end.
        let expires = since + interval - (interval / 3).min(Duration::from_secs(32));
        Some(match refresh_at.filter(|at| *at < expires) {
            Some(at) => (at, Due::Refresh),
            None => (expires, Due::Expire),
        })
    }

    /// Our refresh is on its way.
    pub(super) fn handle_asked(&mut self) {
        if let SessionTimer::On { refresh_at, .. } = self {
            *refresh_at = None;
        }
    }

    /// Nothing came of our refresh, but the call stands: another one follows while there is time.
    pub(super) fn handle_failed(&mut self, now: Instant) {
        if let SessionTimer::On { interval, we_refresh: true, refresh_at, .. } = self {
            *refresh_at = Some(now + *interval / RETRIES);
        }
    }
}

/// The other side wants renewals faster than we do them: 422.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooShort;

/// Refreshes that fail are this part of the interval apart: ten before a session of half an hour is over, four in the
/// shortest. More would press whoever has just said no (RFC 4028 section 10), fewer would lose a call to one bad moment.
const RETRIES: u32 = 20;
/// RFC 4028 section 5.
pub(super) const MIN_SE: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Duration = Duration::from_secs(1_800);

    fn answer(header: Option<&str>, supported: bool) -> Result<(SessionTimer, Option<String>), TooShort> {
        SessionTimer::answer(header.map(|value| Said::parse(value).unwrap()), supported, OWN, MIN_SE, Instant::now())
    }

    #[test]
    fn the_answer_names_who_refreshes() {
        for (header, supported, written) in [
            (None, false, None),
            (None, true, Some("1800;refresher=uas")),
            (Some("600"), true, Some("600;refresher=uac")),
            (Some("600;refresher=uas"), true, Some("600;refresher=uas")),
            (Some("600;Refresher=UAC"), true, Some("600;refresher=uac")),
            (Some("600;refresher=uac"), false, Some("600;refresher=uas")),
            (Some("90"), true, Some("90;refresher=uac")),
            (Some("7200"), true, Some("1800;refresher=uac")),
        ] {
            assert_eq!(answer(header, supported).unwrap().1.as_deref(), written, "{header:?}");
        }
        assert_eq!(answer(Some("89"), true), Err(TooShort));
        assert_eq!(Said::parse("x"), None);
    }

    #[test]
    fn we_refresh_at_half_time_and_end_what_they_do_not_refresh() {
        let now = Instant::now();
        let ours = SessionTimer::accepted(Said::parse("600;refresher=uac"), MIN_SE, now);
        assert_eq!(ours.poll_due(), Some((now + Duration::from_secs(300), Due::Refresh)));
        let mut asked = ours;
        asked.handle_asked();
        assert_eq!(asked.poll_due(), Some((now + Duration::from_secs(568), Due::Expire)));
        let theirs = SessionTimer::accepted(Said::parse("90;refresher=uas"), MIN_SE, now);
        assert_eq!(theirs.poll_due(), Some((now + Duration::from_secs(60), Due::Expire)));
        assert_eq!(SessionTimer::accepted(None, MIN_SE, now).poll_due(), None);
    }

    #[test]
    fn a_refresh_that_fails_is_tried_again_until_the_session_is_over() {
        let now = Instant::now();
        let mut timer = SessionTimer::accepted(Said::parse("600;refresher=uac"), MIN_SE, now);
        let (mut tries, mut at) = (0, now);
        while let Some((due, Due::Refresh)) = timer.poll_due() {
            assert!(due > at, "never twice at once");
            (tries, at) = (tries + 1, due);
            timer.handle_asked();
            timer.handle_failed(due);
        }
        assert_eq!((tries, timer.poll_due()), (9, Some((now + Duration::from_secs(568), Due::Expire))));
        let mut theirs = SessionTimer::accepted(Said::parse("600;refresher=uas"), MIN_SE, now);
        theirs.handle_failed(now);
        assert_eq!(theirs.poll_due(), Some((now + Duration::from_secs(568), Due::Expire)));
    }
}
