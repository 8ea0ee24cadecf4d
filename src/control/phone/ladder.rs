//! The degrade ladder: what a seat's connection is good for, and when it steps down or up. A pure policy with hysteresis.
//!
//! ```text
//!   full video -> lower layer -> stills -> sound -> narrow-band sound -> telephone
//!      reading --wanted--> step that it is good for --held for `down`--> step down
//!                                                   --good for `up`----> one step up
//! ```
//!
//! It gets readings and instants and gives moves with their cause and figures; what a move does is its caller's. A reading leaves out
//! what nobody measures: then nothing follows from it. Today the telephone alone is driven (`control::phone::watch`), by the readings of
//! what is gone; the rates come with the bandwidth estimator. Two rules stand above all: the telephone needs a number and consent given
//! before, and nothing but a person brings a seat back from it.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::config::telephone::{Ladder as Rules, LadderStep};

/// What a seat's connection is used for. Further down is greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LadderStepName)]
pub enum Step {
    /// Video as good as it comes.
    Full,
    /// A lower layer of the video.
    Lower,
    /// One picture every two seconds.
    Stills,
    /// Sound alone.
    Sound,
    /// Narrow-band sound in long packets.
    Narrow,
    /// The telephone.
    Telephone,
}

/// What is known of a seat's connection at one instant. What is not measured is `None`.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Reading {
    /// Estimated rate, kb/s.
    pub kbps: Option<u32>,
    /// Lost packets, percent.
    pub loss: Option<u32>,
    /// Round trip.
    pub rtt: Option<Duration>,
    /// The picture stands still for so long.
    pub frozen: Option<Duration>,
    /// Concealed share of the sound, percent.
    pub concealed: Option<u32>,
    /// Mean opinion score of the sound.
    pub mos: Option<f32>,
    /// Nothing has come over the media connection since.
    pub media_gone: Option<Instant>,
    /// The signalling connection is lost since.
    pub signalling_gone: Option<Instant>,
}

/// Whether the telephone is there to step down to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Telephone {
    /// A number is on file that may be called.
    pub number: bool,
    /// Its person agreed to be called, before.
    pub consent: bool,
}

/// Why the ladder moved.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LadderCause)]
pub enum Cause {
    /// The estimated rate.
    Rate,
    /// Lost packets.
    Loss,
    /// The round trip.
    Delay,
    /// The picture stood still.
    Frozen,
    /// Sound that nobody could follow.
    Unusable,
    /// Nothing comes over the media connection.
    MediaGone,
    /// The page is gone: media and signalling.
    PageGone,
    /// It is well again.
    Better,
    /// Somebody chose it.
    Chosen,
}

/// A step down or up.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Move {
    /// Where it was.
    pub from: Step,
    /// Where it is now.
    pub to: Step,
    /// Why.
    pub cause: Cause,
    /// The figures.
    pub reading: Reading,
}

/// One seat on the ladder.
#[derive(Clone, Debug)]
pub struct Ladder {
    step: Step,
    /// Since when readings want at least this step: `Lower` to `Narrow`, and unusable sound.
    wanted: [Option<(Instant, Cause)>; 4],
    unusable: Option<Instant>,
    /// Since when readings are good enough for one step up.
    good: Option<Instant>,
    /// The last step up.
    rose: Option<Instant>,
}

impl Default for Ladder {
    fn default() -> Self {
        Self { step: Step::Full, wanted: [None; 4], unusable: None, good: None, rose: None }
    }
}

impl Ladder {
    /// Where it is.
    #[must_use]
    pub fn step(&self) -> Step {
        self.step
    }

    /// Somebody chose a step: by hand, or the telephone was taken or left.
    pub fn set_step(&mut self, step: Step, reading: Reading) -> Option<Move> {
        let from = self.step;
        *self = Self { step, ..Self::default() };
        (from != step).then_some(Move { from, to: step, cause: Cause::Chosen, reading })
    }

    /// What follows from a reading.
    pub fn handle_reading(
        &mut self,
        reading: Reading,
        telephone: Telephone,
        rules: &Rules,
        now: Instant,
    ) -> Option<Move> {
        self.record(&reading, rules, now);
        let down = self.telephone_due(&reading, telephone, rules, now).or_else(|| self.step_down(rules, now));
        if let Some((to, cause)) = down {
            let from = std::mem::replace(&mut self.step, to);
            self.good = None;
            return Some(Move { from, to, cause, reading });
        }
        let to = self.step_up(&reading, rules, now)?;
        let from = std::mem::replace(&mut self.step, to);
        (self.good, self.rose) = (None, Some(now));
        Some(Move { from, to, cause: Cause::Better, reading })
    }

    fn record(&mut self, reading: &Reading, rules: &Rules, now: Instant) {
        for (step, since) in STEPS.into_iter().zip(&mut self.wanted) {
            // A step that is wanted includes those above it.
            let cause =
                STEPS.into_iter().filter(|further| *further >= step).find_map(|step| wants(step, reading, rules));
            *since = cause.map(|cause| since.unwrap_or((now, cause)));
        }
        let unusable = reading.concealed.is_some_and(|concealed| concealed > rules.unusable_concealed)
            || reading.mos.is_some_and(|mos| mos < rules.unusable_mos);
        self.unusable = if unusable { self.unusable.or(Some(now)) } else { None };
    }

    /// In how long the telephone is due if nothing gets better, and why; as of this reading. Nothing when all is well enough, or when it
    /// may not be called.
    #[must_use]
    pub fn telephone_in(
        &self,
        reading: &Reading,
        telephone: Telephone,
        rules: &Rules,
        now: Instant,
    ) -> Option<(Duration, Cause)> {
        let may = rules.auto_call && telephone.number && (telephone.consent || !rules.consent_required);
        if !may || self.step == Step::Telephone {
            return None;
        }
        let left = |since: Option<Instant>, span: Duration, cause| {
            since.map(|since| (span.saturating_sub(now.saturating_duration_since(since)), cause))
        };
        let causes = [
            left(reading.signalling_gone, rules.gone, Cause::PageGone),
            left(reading.media_gone, rules.media_gone, Cause::MediaGone),
            left(self.unusable, rules.unusable, Cause::Unusable),
        ];
        causes.into_iter().flatten().min_by_key(|(left, _)| *left)
    }

    /// The telephone, when it is due and there to be called.
    fn telephone_due(
        &self,
        reading: &Reading,
        telephone: Telephone,
        rules: &Rules,
        now: Instant,
    ) -> Option<(Step, Cause)> {
        let (left, cause) = self.telephone_in(reading, telephone, rules, now)?;
        left.is_zero().then_some((Step::Telephone, cause))
    }

    /// The furthest step that was wanted all the time.
    fn step_down(&self, rules: &Rules, now: Instant) -> Option<(Step, Cause)> {
        let held = STEPS.into_iter().zip(self.wanted).rev().find_map(|(step, since)| {
            let (since, cause) = since?;
            (now.saturating_duration_since(since) >= rules.down).then_some((step, cause))
        });
        held.filter(|(step, _)| *step > self.step)
    }

    /// One step up at a time, never from the telephone.
    fn step_up(&mut self, reading: &Reading, rules: &Rules, now: Instant) -> Option<Step> {
        let above = match self.step {
            Step::Full | Step::Telephone => return None,
            step => STEPS.into_iter().rev().find(|above| *above < step).unwrap_or(Step::Full),
        };
        if !is_good_for_more(self.step, reading, rules) {
            self.good = None;
            return None;
        }
        let since = *self.good.get_or_insert(now);
        let held = now.saturating_duration_since(since) >= rules.up;
        let rested = self.rose.is_none_or(|rose| now.saturating_duration_since(rose) >= rules.up);
        (held && rested).then_some(above)
    }
}

/// Why this reading wants this step, if it does.
fn wants(step: Step, reading: &Reading, rules: &Rules) -> Option<Cause> {
    let rule = rule(step, rules)?;
    let frozen = step == Step::Stills && reading.frozen.is_some_and(|frozen| frozen >= FROZEN);
    if reading.kbps.is_some_and(|kbps| kbps < rule.kbps) {
        Some(Cause::Rate)
    } else if reading.loss.zip(rule.loss).is_some_and(|(loss, max)| loss > max) {
        Some(Cause::Loss)
    } else if reading.rtt.zip(rule.rtt).is_some_and(|(rtt, max)| rtt > max) {
        Some(Cause::Delay)
    } else {
        frozen.then_some(Cause::Frozen)
    }
}

/// Well above what made it step down, and measured: nothing rises on hope.
fn is_good_for_more(step: Step, reading: &Reading, rules: &Rules) -> bool {
    let Some(rule) = rule(step, rules) else { return false };
    let spare = reading.kbps.is_some_and(|kbps| u64::from(kbps) * 10 > u64::from(rule.kbps) * SPARE_TENTHS);
    let clean = reading.loss.is_some_and(|loss| loss < LOSS_TO_RISE);
    let prompt = reading.rtt.zip(rule.rtt).is_none_or(|(rtt, max)| rtt < max);
    let moving = reading.frozen.is_none_or(|frozen| frozen < FROZEN);
    spare && clean && prompt && moving
}

fn rule(step: Step, rules: &Rules) -> Option<LadderStep> {
    match step {
        Step::Lower => Some(rules.lower),
        Step::Stills => Some(rules.stills),
        Step::Sound => Some(rules.audio),
        Step::Narrow => Some(rules.narrow),
        Step::Full | Step::Telephone => None,
    }
}

/// Steps with a rule of their own, from the top.
const STEPS: [Step; 4] = [Step::Lower, Step::Stills, Step::Sound, Step::Narrow];
/// A picture that stands still for so long is none.
const FROZEN: Duration = Duration::from_secs(2);
/// A step up needs 1.3 times the rate below which one steps down from there: less would go up and down for ever.
const SPARE_TENTHS: u64 = 13;
/// Percent. More than this and the rate is not the trouble.
const LOSS_TO_RISE: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: Telephone = Telephone { number: true, consent: true };

    /// A ladder in virtual time that is read once a second.
    struct Bench {
        ladder: Ladder,
        rules: Rules,
        start: Instant,
        second: u64,
    }

    impl Bench {
        fn at(step: Step) -> Self {
            let ladder = Ladder { step, ..Ladder::default() };
            Self { ladder, rules: Rules::default(), start: Instant::now(), second: 0 }
        }

        /// The same reading for so many seconds; gives every move with the second in which it came.
        fn hold(&mut self, seconds: u64, reading: Reading, telephone: Telephone) -> Vec<(u64, Step, Cause)> {
            let mut moves = Vec::new();
            for _ in 0..seconds {
                let now = self.start + Duration::from_secs(self.second);
                let moved = self.ladder.handle_reading(reading, telephone, &self.rules, now);
                moves.extend(moved.map(|moved| (self.second, moved.to, moved.cause)));
                self.second += 1;
            }
            moves
        }
    }

    fn rate(kbps: u32, loss: u32) -> Reading {
        Reading { kbps: Some(kbps), loss: Some(loss), ..Reading::default() }
    }

    #[test]
    fn each_condition_leads_to_its_step_after_four_seconds() {
        let rtt = |ms| Reading { rtt: Some(Duration::from_millis(ms)), ..rate(2_000, 0) };
        let frozen = |ms| Reading { frozen: Some(Duration::from_millis(ms)), ..rate(2_000, 0) };
        for (reading, expected) in [
            (rate(2_000, 0), None),
            (rate(350, 0), None),
            (rate(349, 0), Some((Step::Lower, Cause::Rate))),
            (rate(2_000, 5), None),
            (rate(2_000, 6), Some((Step::Lower, Cause::Loss))),
            (rate(119, 0), Some((Step::Stills, Cause::Rate))),
            (frozen(1_999), None),
            (frozen(2_000), Some((Step::Stills, Cause::Frozen))),
            (rate(49, 0), Some((Step::Sound, Cause::Rate))),
            (rate(2_000, 11), Some((Step::Sound, Cause::Loss))),
            (rate(29, 0), Some((Step::Narrow, Cause::Rate))),
            (rate(2_000, 21), Some((Step::Narrow, Cause::Loss))),
            (rtt(800), None),
            (rtt(801), Some((Step::Narrow, Cause::Delay))),
            (Reading::default(), None),
        ] {
            let mut bench = Bench::at(Step::Full);
            assert_eq!(bench.hold(4, reading, PHONE), [], "{reading:?}: not before");
            let moves = bench.hold(30, reading, PHONE);
            assert_eq!(
                moves,
                expected.map(|(step, cause)| (4, step, cause)).into_iter().collect::<Vec<_>>(),
                "{reading:?}"
            );
        }
    }

    #[test]
    fn a_moment_of_trouble_moves_nothing() {
        let mut bench = Bench::at(Step::Full);
        for _ in 0..20 {
            assert_eq!(bench.hold(4, rate(20, 30), PHONE), []);
            assert_eq!(bench.hold(1, rate(2_000, 0), PHONE), []);
        }
    }

    #[test]
    fn it_falls_as_far_as_was_wanted_all_the_time_and_further_later() {
        let mut bench = Bench::at(Step::Full);
        bench.hold(2, rate(300, 0), PHONE);
        assert_eq!(bench.hold(3, rate(20, 0), PHONE), [(4, Step::Lower, Cause::Rate)]);
        assert_eq!(bench.hold(3, rate(20, 0), PHONE), [(6, Step::Narrow, Cause::Rate)]);
    }

    #[test]
    fn it_rises_one_step_every_fifteen_seconds_and_needs_room_to_spare() {
        let mut bench = Bench::at(Step::Narrow);
        let moves = bench.hold(70, rate(2_000, 0), PHONE);
        let steps: Vec<(u64, Step)> = moves.iter().map(|(second, step, _)| (*second, *step)).collect();
        assert_eq!(steps, [(15, Step::Sound), (31, Step::Stills), (47, Step::Lower), (63, Step::Full)]);
        assert!(moves.iter().all(|(_, _, cause)| *cause == Cause::Better));
        for (step, reading) in [
            (Step::Lower, rate(455, 0)),
            (Step::Lower, rate(2_000, 2)),
            (Step::Stills, rate(156, 0)),
            (Step::Lower, Reading { loss: None, ..rate(2_000, 0) }),
            (Step::Lower, Reading::default()),
            (Step::Telephone, rate(5_000, 0)),
        ] {
            assert_eq!(Bench::at(step).hold(120, reading, PHONE), [], "{step:?} {reading:?}");
        }
        assert_eq!(Bench::at(Step::Lower).hold(16, rate(456, 1), PHONE).len(), 1);
    }

    #[test]
    fn a_reading_between_the_thresholds_neither_falls_nor_rises() {
        for step in STEPS {
            let rule = rule(step, &Rules::default()).unwrap();
            assert_eq!(Bench::at(step).hold(300, rate(rule.kbps + rule.kbps / 5, 1), PHONE), [], "{step:?}");
        }
    }

    #[test]
    fn the_telephone_is_called_when_the_page_its_media_or_its_sound_is_gone() {
        for (reading, second, cause) in [
            (|start| Reading { signalling_gone: Some(start), ..Reading::default() }, 15, Cause::PageGone),
            (|start| Reading { media_gone: Some(start), ..rate(2_000, 0) }, 15, Cause::MediaGone),
            (|_| Reading { concealed: Some(31), ..rate(2_000, 0) }, 8, Cause::Unusable),
            (|_| Reading { mos: Some(1.9), ..rate(2_000, 0) }, 8, Cause::Unusable),
        ] as [(fn(Instant) -> Reading, u64, Cause); 4]
        {
            let mut bench = Bench::at(Step::Full);
            let reading = reading(bench.start);
            assert_eq!(bench.hold(second, reading, PHONE), []);
            let just_before = bench.start + Duration::from_millis(second * 1_000 - 250);
            let left = bench.ladder.telephone_in(&reading, PHONE, &bench.rules, just_before);
            assert_eq!(left, Some((Duration::from_millis(250), cause)));
            assert_eq!(bench.hold(60, reading, PHONE), [(second, Step::Telephone, cause)]);
            assert_eq!(bench.ladder.telephone_in(&reading, PHONE, &bench.rules, just_before), None, "it is called");
        }
        for reading in [Reading { concealed: Some(30), ..rate(2_000, 0) }, Reading { mos: Some(2.0), ..rate(2_000, 0) }]
        {
            assert_eq!(Bench::at(Step::Full).hold(60, reading, PHONE), []);
        }
    }

    #[test]
    fn nobody_is_called_without_a_number_and_consent() {
        let without = [
            (Telephone::default(), true, true),
            (Telephone { number: true, consent: false }, true, true),
            (Telephone { number: false, consent: true }, true, true),
            (PHONE, false, true),
        ];
        for (telephone, auto_call, consent_required) in without {
            let mut bench = Bench::at(Step::Full);
            (bench.rules.auto_call, bench.rules.consent_required) = (auto_call, consent_required);
            let reading = Reading { signalling_gone: Some(bench.start), ..Reading::default() };
            assert_eq!(bench.hold(60, reading, telephone), [], "{telephone:?}");
        }
        let mut bench = Bench::at(Step::Full);
        bench.rules.consent_required = false;
        let reading = Reading { signalling_gone: Some(bench.start), ..Reading::default() };
        assert_eq!(bench.hold(60, reading, Telephone { number: true, consent: false }).len(), 1);
    }

    #[test]
    fn only_a_person_brings_a_seat_back_from_the_telephone() {
        let mut bench = Bench::at(Step::Telephone);
        assert_eq!(bench.hold(300, rate(5_000, 0), PHONE), []);
        let back = bench.ladder.set_step(Step::Full, Reading::default()).unwrap();
        assert_eq!((back.from, back.to, back.cause), (Step::Telephone, Step::Full, Cause::Chosen));
        assert_eq!(bench.ladder.set_step(Step::Full, Reading::default()), None);
        assert_eq!(bench.hold(60, rate(20, 0), PHONE).len(), 1, "and from there it falls as before");
    }
}
