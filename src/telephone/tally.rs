//! What calls add to the figures: how they were reached, how long they rang and lasted, how they sounded, how they ended.
//!
//! A call's owner shows its [`Tally`] what goes into its machine and what comes out; the rest follows. What ends without a word (a
//! panic) is counted too: the tally's drop counts. Not here: what is read at a scrape (`figures`). No number, PIN or digit gets here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use colloque_signaling::message::{PhoneCause, PhoneState};
use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts};

use crate::config::telephone::{TrunkConfig, TrunkName};
use crate::control::metrics::{CallOutcome, Metrics, NO_TRUNK, begin_at_zero};

use super::call::line::LineNews;
use super::call::{Action, Input};
use super::media::Quality;
use super::prompts::Prompt;
use super::sdp;

/// What all calls add to.
pub(super) struct CallFigures {
    post_dial: HistogramVec,
    ring: HistogramVec,
    lasted: HistogramVec,
    legs: IntGaugeVec,
    news: IntCounterVec,
    mos: HistogramVec,
    loss: HistogramVec,
    late: HistogramVec,
    concealed: HistogramVec,
    underrun: HistogramVec,
    jitter: HistogramVec,
    buffer: HistogramVec,
    target: HistogramVec,
    round_trip: HistogramVec,
    refused: [AtomicU64; RefusedHere::ALL.len()],
    keys_by_info: AtomicU64,
}

/// Why a call that came in was refused behind SIP's own rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RefusedHere {
    /// Its line has as many calls as it may.
    Quota,
    /// The server has, or its media threads have enough to do.
    Full,
    /// No codec that both sides know.
    Codec,
    /// No agreement on encryption.
    Srtp,
    /// No usable address in its description.
    Description,
    /// The server stops.
    Stopping,
}

impl RefusedHere {
    pub(super) const ALL: [RefusedHere; 6] =
        [Self::Quota, Self::Full, Self::Codec, Self::Srtp, Self::Description, Self::Stopping];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Full => "full",
            Self::Codec => "codec",
            Self::Srtp => "srtp",
            Self::Description => "description",
            Self::Stopping => "stopping",
        }
    }
}

impl From<sdp::Refused> for RefusedHere {
    fn from(refused: sdp::Refused) -> Self {
        match refused {
            sdp::Refused::Codec => Self::Codec,
            sdp::Refused::Srtp => Self::Srtp,
            sdp::Refused::Address => Self::Description,
        }
    }
}

impl CallFigures {
    /// All zero, and known to `/metrics`; what alerts ask for is there for each line from the start.
    pub(super) fn new(metrics: &Metrics, trunks: &[TrunkConfig]) -> Arc<Self> {
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let made = HistogramVec::new(opts, labels).expect("names, labels and buckets are valid");
            metrics.register(Box::new(made.clone()) as Box<dyn Collector>);
            made
        };
        let of_leg = |name: &str, help: &str, buckets: &[f64]| histogram(name, help, &["trunk"], buckets);
        let both_ways = |name: &str, help: &str, buckets: &[f64]| histogram(name, help, &["way", "trunk"], buckets);
        let legs = Opts::new("colloque_telephone_legs", "Answered calls now, by what is heard in both directions");
        let legs = IntGaugeVec::new(legs, &["sound"]).expect("names and labels are valid");
        Sound::ALL.iter().for_each(|sound| legs.with_label_values(&[sound.label()]).set(0));
        let news = Opts::new("colloque_telephone_line_events_total", "What happened to the sound of answered calls");
        let news = IntCounterVec::new(news, &["trunk", "event"]).expect("names and labels are valid");
        metrics.register(Box::new(legs.clone()));
        metrics.register(Box::new(news.clone()));
        let figures = Self {
            post_dial: of_leg("colloque_telephone_post_dial_delay_seconds", "From dialling to ringing", &POST_DIAL),
            ring: of_leg(
                "colloque_telephone_ring_seconds",
                "From ringing to the answer, of calls that were answered",
                &RING,
            ),
            lasted: histogram(
                "colloque_telephone_call_seconds",
                "From the answer to the end",
                &["direction", "trunk"],
                &CALL,
            ),
            legs,
            news,
            mos: both_ways(
                "colloque_telephone_leg_mos",
                "Every five seconds of a leg: mean opinion score (E-model)",
                &MOS,
            ),
            loss: both_ways(
                "colloque_telephone_leg_loss_ratio",
                "Every five seconds of a leg: packets that did not come",
                &RATIO,
            ),
            late: of_leg(
                "colloque_telephone_leg_late_ratio",
                "Every five seconds of a leg: packets that came after their turn",
                &RATIO,
            ),
            concealed: of_leg(
                "colloque_telephone_leg_concealed_ratio",
                "Every five seconds of a leg: frames that were made up",
                &RATIO,
            ),
            underrun: of_leg(
                "colloque_telephone_leg_underrun_ratio",
                "Every five seconds of a leg: frames with nothing to play",
                &RATIO,
            ),
            jitter: of_leg(
                "colloque_telephone_leg_jitter_seconds",
                "Every five seconds of a leg: interarrival jitter",
                &WAIT,
            ),
            buffer: of_leg(
                "colloque_telephone_leg_buffer_seconds",
                "Every five seconds of a leg: how long packets wait",
                &WAIT,
            ),
            target: of_leg(
                "colloque_telephone_leg_buffer_target_seconds",
                "Every five seconds of a leg: how long they should",
                &WAIT,
            ),
            round_trip: of_leg(
                "colloque_telephone_leg_round_trip_seconds",
                "Every five seconds of a leg that reports",
                &ROUND_TRIP,
            ),
            refused: Default::default(),
            keys_by_info: AtomicU64::new(0),
        };
        trunks.iter().for_each(|trunk| figures.begin(trunk.name.as_str()));
        Arc::new(figures)
    }

    /// What alerts ask for of a line.
    fn begin(&self, trunk: &str) {
        begin_at_zero(&self.news, NEWS.into_iter().filter_map(event).map(|event| [trunk, event]));
        for way in ["in", "out"] {
            for family in [&self.lasted, &self.mos, &self.loss] {
                family.with_label_values(&[way, trunk]);
            }
        }
    }

    /// A call that came in is refused.
    pub(super) fn count_refused(&self, why: RefusedHere) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Calls that were refused, by cause.
    pub(super) fn refused(&self, why: RefusedHere) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }

    /// A key came by SIP INFO.
    pub(super) fn count_key_by_info(&self) {
        self.keys_by_info.fetch_add(1, Ordering::Relaxed);
    }

    /// Keys that came by SIP INFO.
    pub(super) fn keys_by_info(&self) -> u64 {
        self.keys_by_info.load(Ordering::Relaxed)
    }
}

/// What is heard of an answered call, in both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sound {
    Well,
    Unheard,
    Silent,
    Lost,
    NothingSent,
}

impl Sound {
    const ALL: [Sound; 5] = [Sound::Well, Sound::Unheard, Sound::Silent, Sound::Lost, Sound::NothingSent];

    fn label(self) -> &'static str {
        match self {
            Sound::Well => "well",
            Sound::Unheard => "no_sound",
            Sound::Silent => "silent",
            Sound::Lost => "lost",
            Sound::NothingSent => "nothing_sent",
        }
    }
}

/// The label of what happened to a line; none: it is asked whether it is there, and nothing happened.
fn event(news: LineNews) -> Option<&'static str> {
    match news {
        LineNews::NoSound => Some("no_sound"),
        LineNews::Silent => Some("silent"),
        LineNews::Lost => Some("lost"),
        LineNews::Back => Some("back"),
        LineNews::Unsent => Some("nothing_sent"),
        LineNews::Sent => Some("sent_again"),
        LineNews::GivenUp => Some("given_up"),
        LineNews::Probe => None,
    }
}

/// All that may happen.
const NEWS: [LineNews; 8] = [
    LineNews::NoSound,
    LineNews::Silent,
    LineNews::Lost,
    LineNews::Back,
    LineNews::Unsent,
    LineNews::Sent,
    LineNews::GivenUp,
    LineNews::Probe,
];

/// One call's.
pub(super) struct Tally {
    figures: Arc<CallFigures>,
    metrics: Arc<dyn CountsCalls>,
    direction: &'static str,
    trunk: Option<TrunkName>,
    dialled: Option<Instant>,
    rang: Option<Instant>,
    answered: Option<Instant>,
    /// What was heard of it last, beside whether anything leaves for it.
    heard: Sound,
    unsent: bool,
    /// As it is shown now; nothing before the answer.
    shown: Option<Sound>,
    outcome: Option<CallOutcome>,
    /// When nothing says how it ended: what happened last.
    likely: Option<CallOutcome>,
}

/// Where ended calls are counted: `control`'s, or a test's.
pub(super) trait CountsCalls: Send + Sync {
    fn count_call(&self, direction: &str, trunk: &str, outcome: CallOutcome);
}

impl CountsCalls for crate::control::Consultations {
    fn count_call(&self, direction: &str, trunk: &str, outcome: CallOutcome) {
        self.metrics().count_call(direction, trunk, outcome);
    }
}

impl Tally {
    /// `direction`: `in` or `out`.
    pub(super) fn new(figures: Arc<CallFigures>, metrics: Arc<dyn CountsCalls>, direction: &'static str) -> Self {
        Self {
            figures,
            metrics,
            direction,
            trunk: None,
            dialled: None,
            rang: None,
            answered: None,
            heard: Sound::Well,
            unsent: false,
            shown: None,
            outcome: None,
            likely: None,
        }
    }

    /// Its line, as far as it is known now.
    pub(super) fn set_trunk(&mut self, trunk: &TrunkName) {
        self.trunk = Some(trunk.clone());
    }

    /// What goes into the call's machine.
    pub(super) fn handle_input(&mut self, input: &Input, now: Instant) {
        match input {
            Input::Ringing => self.rings(now),
            Input::AnotherLine => (self.dialled, self.rang) = (Some(now), None),
            Input::Answered => self.answers(now),
            Input::NotTaken(_) => (self.dialled, self.rang) = (None, None),
            Input::HungUp => self.likely = Some(CallOutcome::Seat(PhoneCause::HungUp)),
            Input::Cancelled(cause) => self.likely = Some(CallOutcome::Seat(*cause)),
            Input::Draining => self.likely = Some(CallOutcome::Seat(PhoneCause::Draining)),
            Input::SelfTest => self.outcome = Some(CallOutcome::SelfTest),
            Input::Line(news) => self.hears(*news),
            _ => {}
        }
    }

    /// What comes out of it.
    pub(super) fn handle_action(&mut self, action: &Action, now: Instant) {
        let ended = match action {
            Action::Dial => {
                (self.dialled, self.rang) = (Some(now), None);
                return;
            }
            Action::Tell(PhoneState::Left | PhoneState::Failed, Some(cause)) => CallOutcome::Seat(*cause),
            Action::Say(Prompt::PinWrongLast) => CallOutcome::WrongPin,
            Action::Say(Prompt::NothingTyped) => CallOutcome::NoPin,
            Action::Say(Prompt::Fault) => CallOutcome::Seat(PhoneCause::Fault),
            _ => return,
        };
        self.outcome.get_or_insert(ended);
    }

    /// How its last five seconds sounded.
    pub(super) fn record_quality(&self, quality: &Quality) {
        let (figures, trunk) = (&self.figures, self.trunk());
        let seconds = |of: Duration| of.as_secs_f64();
        // Silence loses nothing and is never late: it would pass for the best of sound.
        if let Some(score) = quality.score_in {
            figures.mos.with_label_values(&["in", trunk]).observe(score.value());
            figures.loss.with_label_values(&["in", trunk]).observe(quality.lost);
            for (family, value) in [
                (&figures.late, quality.late),
                (&figures.concealed, quality.concealed),
                (&figures.underrun, quality.dry),
                (&figures.jitter, seconds(quality.jitter)),
                (&figures.buffer, seconds(quality.buffer)),
                (&figures.target, seconds(quality.target)),
            ] {
                family.with_label_values(&[trunk]).observe(value);
            }
        }
        // What it hears of us is known of a telephone that reports.
        if let Some(round_trip) = quality.round_trip {
            figures.round_trip.with_label_values(&[trunk]).observe(seconds(round_trip));
            figures.mos.with_label_values(&["out", trunk]).observe(quality.score_out.value());
            figures.loss.with_label_values(&["out", trunk]).observe(quality.lost_out);
        }
    }

    /// A key came by SIP INFO.
    pub(super) fn record_key_by_info(&self) {
        self.figures.count_key_by_info();
    }

    fn trunk(&self) -> &str {
        self.trunk.as_ref().map_or(NO_TRUNK, TrunkName::as_str)
    }

    fn rings(&mut self, now: Instant) {
        if let Some(dialled) = self.dialled.take() {
            self.observe(&self.figures.post_dial, now - dialled);
        }
        self.rang.get_or_insert(now);
    }

    fn answers(&mut self, now: Instant) {
        if self.direction == "out" {
            // Some lines answer without a word before.
            self.rings(now);
            let rang = self.rang.take().unwrap_or(now);
            self.observe(&self.figures.ring, now - rang);
        }
        self.answered = Some(now);
        self.show();
    }

    fn observe(&self, family: &HistogramVec, lasted: Duration) {
        family.with_label_values(&[self.trunk()]).observe(lasted.as_secs_f64());
    }

    fn hears(&mut self, news: LineNews) {
        match news {
            LineNews::NoSound => self.heard = Sound::Unheard,
            // One that never was heard is told so, whatever else it does.
            LineNews::Silent if self.heard != Sound::Unheard => self.heard = Sound::Silent,
            LineNews::Silent | LineNews::Probe => {}
            LineNews::Lost => self.heard = Sound::Lost,
            LineNews::Back => self.heard = Sound::Well,
            LineNews::Unsent => self.unsent = true,
            LineNews::Sent => self.unsent = false,
            LineNews::GivenUp => self.likely = Some(CallOutcome::Seat(PhoneCause::LineDead)),
        }
        let Some(event) = event(news) else { return };
        self.figures.news.with_label_values(&[self.trunk(), event]).inc();
        self.show();
    }

    fn show(&mut self) {
        if self.answered.is_none() {
            return;
        }
        let now = if self.heard == Sound::Well && self.unsent { Sound::NothingSent } else { self.heard };
        let before = self.shown.replace(now);
        if before != Some(now) {
            self.figures.legs.with_label_values(&[now.label()]).inc();
            self.hide(before);
        }
    }

    fn hide(&self, shown: Option<Sound>) {
        if let Some(shown) = shown {
            self.figures.legs.with_label_values(&[shown.label()]).dec();
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.hide(self.shown);
        if let Some(answered) = self.answered {
            let lasted = self.figures.lasted.with_label_values(&[self.direction, self.trunk()]);
            lasted.observe(answered.elapsed().as_secs_f64());
        }
        let outcome = self.outcome.or(self.likely).unwrap_or(CallOutcome::Seat(PhoneCause::Fault));
        self.metrics.count_call(self.direction, self.trunk(), outcome);
    }
}

const POST_DIAL: [f64; 9] = [0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0];
const RING: [f64; 9] = [2.0, 5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0, 60.0];
const CALL: [f64; 9] = [10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0];
const MOS: [f64; 10] = [1.5, 2.0, 2.5, 3.0, 3.3, 3.6, 3.8, 4.0, 4.2, 4.4];
const RATIO: [f64; 10] = [0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5];
const WAIT: [f64; 10] = [0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.15, 0.2];
const ROUND_TRIP: [f64; 9] = [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.8, 2.0];

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::telephone::call::NotTaken;
    use crate::telephone::media::quality::Mos as Score;
    use crate::telephone::sip::Reason;

    #[derive(Default)]
    struct Ended(Mutex<Vec<(String, String, CallOutcome)>>);

    impl CountsCalls for Ended {
        fn count_call(&self, direction: &str, trunk: &str, outcome: CallOutcome) {
            self.0.lock().unwrap().push((direction.to_owned(), trunk.to_owned(), outcome));
        }
    }

    struct Desk {
        figures: Arc<CallFigures>,
        ended: Arc<Ended>,
    }

    impl Desk {
        fn new() -> Self {
            let metrics = Metrics::new();
            let figures = CallFigures::new(&metrics, &[]);
            Self { figures, ended: Arc::default() }
        }

        fn call(&self, direction: &'static str) -> Tally {
            let mut tally = Tally::new(Arc::clone(&self.figures), Arc::clone(&self.ended) as _, direction);
            tally.set_trunk(&TrunkName::new("a").unwrap());
            tally
        }

        fn legs(&self, sound: Sound) -> i64 {
            self.figures.legs.with_label_values(&[sound.label()]).get()
        }

        fn ended(&self) -> Vec<CallOutcome> {
            self.ended.0.lock().unwrap().drain(..).map(|(_, _, outcome)| outcome).collect()
        }
    }

    #[test]
    fn a_call_out_is_timed_from_dialling_over_ringing_to_its_end() {
        let (desk, start) = (Desk::new(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut call = desk.call("out");
        call.handle_action(&Action::Dial, at(0));
        call.handle_input(&Input::NotTaken(NotTaken::Busy), at(1));
        call.handle_action(&Action::Dial, at(40));
        call.handle_input(&Input::AnotherLine, at(43));
        call.handle_input(&Input::Ringing, at(45));
        call.handle_input(&Input::Ringing, at(46));
        call.handle_input(&Input::Answered, at(57));
        let sum = |family: &HistogramVec| {
            let of_line = family.with_label_values(&["a"]);
            (of_line.get_sample_count(), of_line.get_sample_sum())
        };
        assert_eq!((sum(&desk.figures.post_dial), sum(&desk.figures.ring)), ((1, 2.0), (1, 12.0)));
        call.handle_input(&Input::HungUp, at(60));
        call.handle_action(&Action::Tell(PhoneState::Left, Some(PhoneCause::BackToPage)), at(60));
        drop(call);
        assert_eq!(desk.ended(), [CallOutcome::Seat(PhoneCause::BackToPage)], "what was told, not what happened last");
        assert_eq!(desk.figures.lasted.with_label_values(&["out", "a"]).get_sample_count(), 1);
    }

    #[test]
    fn every_way_to_end_is_counted_once_also_before_a_seat_is_known() {
        use CallOutcome::{NoPin, Seat, SelfTest, WrongPin};
        let desk = Desk::new();
        let said = |prompt| (None, Some(Action::Say(prompt)));
        let came = |input| (Some(input), None);
        for ((input, action), outcome) in [
            (said(Prompt::PinWrongLast), WrongPin),
            (said(Prompt::NothingTyped), NoPin),
            (said(Prompt::PinWrong), Seat(PhoneCause::Fault)),
            (came(Input::HungUp), Seat(PhoneCause::HungUp)),
            (came(Input::Draining), Seat(PhoneCause::Draining)),
            (came(Input::Line(LineNews::GivenUp)), Seat(PhoneCause::LineDead)),
            (came(Input::SelfTest), SelfTest),
        ] {
            let (mut call, now) = (desk.call("in"), Instant::now());
            call.handle_input(&Input::Answered, now);
            input.iter().for_each(|input| call.handle_input(input, now));
            action.iter().for_each(|action| call.handle_action(action, now));
            call.handle_action(&Action::HangUp(Reason::Normal), now);
            drop(call);
            assert_eq!(desk.ended(), [outcome]);
        }
        assert_eq!(Sound::ALL.map(|sound| desk.legs(sound)), [0; 5], "who is gone is not shown");
    }

    #[test]
    fn what_is_heard_of_running_calls_is_shown_and_each_call_once() {
        let desk = Desk::new();
        let mut call = desk.call("in");
        call.handle_input(&Input::Answered, Instant::now());
        assert_eq!(desk.legs(Sound::Well), 1);
        for (news, shown) in [
            (LineNews::NoSound, Sound::Unheard),
            (LineNews::Unsent, Sound::Unheard),
            (LineNews::Lost, Sound::Lost),
            (LineNews::Probe, Sound::Lost),
            (LineNews::Back, Sound::NothingSent),
            (LineNews::Sent, Sound::Well),
            (LineNews::Silent, Sound::Silent),
        ] {
            call.handle_input(&Input::Line(news), Instant::now());
            let legs = Sound::ALL.map(|sound| desk.legs(sound));
            assert_eq!((legs.iter().sum::<i64>(), desk.legs(shown)), (1, 1), "{news:?} {legs:?}");
        }
        assert_eq!(desk.figures.news.with_label_values(&["a", "no_sound"]).get(), 1);
    }

    #[test]
    fn quality_is_observed_with_what_a_telephone_reports_and_no_more() {
        let desk = Desk::new();
        let call = desk.call("in");
        let quality = Quality {
            score_in: Some(Score(412)),
            score_out: Score(300),
            lost: 0.01,
            late: 0.02,
            concealed: 0.03,
            dry: 0.004,
            lost_out: 0.5,
            jitter: Duration::from_millis(7),
            buffer: Duration::from_millis(41),
            target: Duration::from_millis(40),
            round_trip: None,
        };
        call.record_quality(&quality);
        call.record_quality(&Quality { round_trip: Some(Duration::from_millis(80)), ..quality });
        // Nothing came of a telephone: nothing is known of how it sounds.
        call.record_quality(&Quality { score_in: None, ..quality });
        let of = |family: &HistogramVec, labels: &[&str]| {
            let seen = family.with_label_values(labels);
            (seen.get_sample_count(), (seen.get_sample_sum() * 1_000.0).round() as i64)
        };
        let figures = &desk.figures;
        assert_eq!([of(&figures.mos, &["in", "a"]), of(&figures.mos, &["out", "a"])], [(2, 8_240), (1, 3_000)]);
        assert_eq!([of(&figures.loss, &["in", "a"]), of(&figures.loss, &["out", "a"])], [(2, 20), (1, 500)]);
        let seen =
            [&figures.late, &figures.concealed, &figures.underrun, &figures.jitter, &figures.buffer, &figures.target];
        assert_eq!(seen.map(|family| of(family, &["a"]).1), [40, 60, 8, 14, 82, 80]);
        assert_eq!(of(&figures.round_trip, &["a"]), (1, 80));
    }
}
