//! Whether a telephone is still there: what follows from how long nothing was heard of it. A pure watch, read about once a second.
//!
//! ```text
//!   no sound ever            5 s  NoSound, negotiate once more
//!   sound stops, RTCP lives  5 s  Silent            (or on hold)     300 s  GivenUp
//!   sound and RTCP stop      5 s  Lost      10 s  Probe (UPDATE)      20 s  GivenUp, unless the probe was answered
//! ```
//!
//! In the other direction: nothing of ours left for 5 s although it may  Unsent      it leaves again  Sent
//!
//! A probe that is answered says that the call stands although nothing is sent: from then on it counts as silent. Not here: what was
//! heard (`telephone::media`).

use std::time::{Duration, Instant};

/// What the sound's side knows at one instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// Since when the call stands.
    pub since: Instant,
    /// The last sound packet that counted.
    pub rtp: Option<Instant>,
    /// The last report (RTCP).
    pub rtcp: Option<Instant>,
    /// The other side said that it sends nothing for now.
    pub held: bool,
    /// The last sound packet that left for the telephone.
    pub sent: Option<Instant>,
    /// The other side wants to hear something.
    pub listens: bool,
}

/// What is new.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LineNews {
    /// Nothing was ever heard: negotiate once more.
    NoSound,
    /// Nothing is heard, but somebody is there.
    Silent,
    /// Nothing at all arrives.
    Lost,
    /// See whether the other side still answers.
    Probe,
    /// It is heard again.
    Back,
    /// Nothing leaves for it: it hears nothing.
    Unsent,
    /// Something leaves for it again.
    Sent,
    /// Too long: hang up.
    GivenUp,
}

/// Times of the watch. The operator's, from the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineTimes {
    /// A silent telephone with a living connection is kept for so long.
    pub silence: Duration,
    /// One of which nothing arrives at all for so long.
    pub lost: Duration,
}

/// The watch of one call.
#[derive(Clone, Debug)]
pub struct Watch {
    times: LineTimes,
    state: State,
    /// When the other side last proved by signalling that it is there.
    proved: Option<Instant>,
    negotiated_again: bool,
    unsent: bool,
    /// Since when the other side wants to hear something.
    listens: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Well,
    Silent,
    Lost { probed: bool },
    Over,
}

impl Watch {
    /// A call that is well.
    #[must_use]
    pub fn new(times: LineTimes) -> Self {
        Self { times, state: State::Well, proved: None, negotiated_again: false, unsent: false, listens: None }
    }

    /// A probe was answered.
    pub fn handle_proof(&mut self, now: Instant) {
        self.proved = Some(now);
    }

    /// What follows now. At most one thing a reading.
    pub fn handle_reading(&mut self, heard: Heard, now: Instant) -> Option<LineNews> {
        self.listen(heard, now).or_else(|| self.watch_sending(heard, now))
    }

    fn watch_sending(&mut self, heard: Heard, now: Instant) -> Option<LineNews> {
        self.listens = heard.listens.then(|| self.listens.unwrap_or(now));
        let due = self.listens.max(heard.sent.filter(|_| heard.listens));
        let unsent = due.is_some_and(|since| now.saturating_duration_since(since) >= QUIET);
        let changed = self.state != State::Over && std::mem::replace(&mut self.unsent, unsent) != unsent;
        changed.then_some(if unsent { LineNews::Unsent } else { LineNews::Sent })
    }

    fn listen(&mut self, heard: Heard, now: Instant) -> Option<LineNews> {
        let age = |at: Option<Instant>| now.saturating_duration_since(at.unwrap_or(heard.since));
        let (sound, sign) = (age(heard.rtp), age(heard.rtp.max(heard.rtcp).max(self.proved)));
        let (state, news) = match self.state {
            State::Over => return None,
            _ if sound < QUIET && heard.rtp.is_some() => {
                (State::Well, (self.state != State::Well).then_some(LineNews::Back))
            }
            State::Well if sound < QUIET => return None,
            _ if sound >= self.times.silence => (State::Over, Some(LineNews::GivenUp)),
            State::Well if heard.rtp.is_none() && !self.negotiated_again => {
                self.negotiated_again = true;
                (State::Silent, Some(LineNews::NoSound))
            }
            // Whoever holds a call may send nothing at all (RFC 3264 section 8.4).
            State::Silent if heard.held || sign < REPORTS => return None,
            _ if heard.held || sign < QUIET => {
                (State::Silent, (self.state != State::Silent).then_some(LineNews::Silent))
            }
            State::Lost { .. } if sign >= self.times.lost => (State::Over, Some(LineNews::GivenUp)),
            State::Lost { probed: false } if sign >= PROBE => (State::Lost { probed: true }, Some(LineNews::Probe)),
            State::Lost { .. } => return None,
            State::Well | State::Silent => (State::Lost { probed: false }, Some(LineNews::Lost)),
        };
        self.state = state;
        news
    }
}

/// Nothing for so long is told. Read twice a second, one-way sound is seen within five seconds.
const QUIET: Duration = Duration::from_millis(4_500);
/// A silent telephone reports about every five seconds, sometimes after seven and a half (RFC 3550 section 6.2).
const REPORTS: Duration = Duration::from_secs(10);
/// Then the other side is asked.
const PROBE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: LineTimes = LineTimes { silence: Duration::from_secs(300), lost: Duration::from_secs(20) };

    /// Reads once a second what `heard` says of each second; gives what was new and when.
    fn watch(
        seconds: u64,
        heard: impl Fn(u64) -> (Option<u64>, Option<u64>, bool),
        proofs: &[u64],
    ) -> Vec<(u64, LineNews)> {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let mut watch = Watch::new(TIMES);
        let mut news = Vec::new();
        for second in 0..seconds {
            if proofs.contains(&second) {
                watch.handle_proof(at(second));
            }
            let (rtp, rtcp, held) = heard(second);
            let heard = Heard {
                since: start,
                rtp: rtp.map(at),
                rtcp: rtcp.map(at),
                held,
                sent: Some(at(second)),
                listens: true,
            };
            news.extend(watch.handle_reading(heard, at(second)).map(|new| (second, new)));
        }
        news
    }

    #[test]
    fn each_row_of_the_failure_table() {
        use LineNews::{Back, GivenUp, Lost, NoSound, Probe, Silent};
        // All is well for an hour.
        assert_eq!(watch(3_600, |now| (Some(now), Some(now), false), &[]), []);
        // Sound stops after ten seconds, reports go on: kept five minutes.
        assert_eq!(watch(400, |now| (Some(now.min(10)), Some(now), false), &[]), [(15, Silent), (310, GivenUp)]);
        // On hold, with no report either.
        assert_eq!(watch(400, |now| (Some(now.min(10)), None, now > 10), &[]), [(15, Silent), (310, GivenUp)]);
        // Everything stops.
        let stops = |now: u64| (Some(now.min(10)), Some(now.min(10)), false);
        assert_eq!(watch(60, stops, &[]), [(15, Lost), (20, Probe), (30, GivenUp)]);
        // Everything stops, and the probe is answered: a telephone that sends nothing in silence.
        let answered = watch(60, stops, &[21]);
        assert_eq!(answered, [(15, Lost), (20, Probe), (21, Silent), (31, Lost), (32, Probe), (41, GivenUp)]);
        // Nothing was ever heard, but reports come.
        assert_eq!(watch(400, |now| (None, Some(now), false), &[]), [(5, NoSound), (300, GivenUp)]);
        // Nothing at all was ever heard.
        assert_eq!(watch(60, |_| (None, None, false), &[]), [(5, NoSound), (10, Lost), (11, Probe), (20, GivenUp)]);
        // Sound stops, and reports come as rarely as they may.
        let rarely = |now: u64| (Some(now.min(10)), Some(now - now % 7), false);
        assert_eq!(watch(200, rarely, &[]), [(15, Silent)]);
        // A gap of eight seconds.
        let gap = |now: u64| (Some(if (10..18).contains(&now) { 10 } else { now }), None, false);
        assert_eq!(watch(60, gap, &[]), [(15, Lost), (18, Back)]);
        // First sound after seven seconds.
        assert_eq!(watch(60, |now| ((now >= 7).then_some(now), None, false), &[]), [(5, NoSound), (7, Back)]);
    }

    #[test]
    fn sound_that_does_not_leave_is_told_once_and_again_when_it_does() {
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        let news = |sent: &dyn Fn(u64) -> Option<u64>, listens: &dyn Fn(u64) -> bool| {
            let mut watch = Watch::new(TIMES);
            let reading = |second: u64| {
                let (rtp, sent) = (Some(at(second)), sent(second).map(at));
                let heard = Heard { since: start, rtp, rtcp: None, held: false, sent, listens: listens(second) };
                watch.handle_reading(heard, at(second)).map(|new| (second, new))
            };
            (0..60).filter_map(reading).collect::<Vec<_>>()
        };
        assert_eq!(news(&|_| None, &|_| true), [(5, LineNews::Unsent)]);
        assert_eq!(news(&|now| Some(now.min(20)), &|_| true), [(25, LineNews::Unsent)]);
        let gap = |now| Some(if (10..30).contains(&now) { 10 } else { now });
        assert_eq!(news(&gap, &|_| true), [(15, LineNews::Unsent), (30, LineNews::Sent)]);
        // Whoever is held, or asked for nothing, is sent nothing.
        assert_eq!(news(&gap, &|now| !(8..40).contains(&now)), []);
        // Nothing in both directions: one thing a reading, and nothing behind the end.
        let mut watch = Watch::new(TIMES);
        let dead = Heard { since: start, rtp: None, rtcp: None, held: false, sent: None, listens: true };
        let told: Vec<_> = (0..60).filter_map(|now| Some((now, watch.handle_reading(dead, at(now))?))).collect();
        use LineNews::{GivenUp, Lost, NoSound, Probe, Unsent};
        assert_eq!(told, [(5, NoSound), (6, Unsent), (10, Lost), (11, Probe), (20, GivenUp)]);
    }

    #[test]
    fn five_minutes_of_silence_with_answered_probes_are_survived() {
        let proofs: Vec<u64> = (0..400).collect();
        let news = watch(299, |_| (Some(0), None, false), &proofs);
        assert_eq!(news, [(5, LineNews::Silent)]);
    }
}
