//! `[telephone.dialout]`, `[telephone.pin]` and `[telephone.ladder]`: whom the server may call, how PINs are guarded, and when
//! a consultation goes down to the telephone.
//!
//! Not here: the decisions themselves (`control`). Each is a value of its own that may be exchanged while calls run.

use std::time::Duration;

use serde::Deserialize;

use super::number as within;
use super::number::NumberPattern;

/// Whom we call, as the administrator wrote it.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(deny_unknown_fields, default)]
pub struct DialOutSettings {
    enabled: Option<bool>,
    allow: Option<Vec<NumberPattern>>,
    deny: Option<Vec<NumberPattern>>,
    ring_s: Option<u32>,
    attempts: Option<u32>,
    window_s: Option<u32>,
    busy_retry_s: Option<u32>,
    max_minutes: Option<u32>,
    daily_minutes: Option<u32>,
    concurrent_per_user: Option<u32>,
    confirm_s: Option<u32>,
}

/// Whom we call, how often and for how long.
#[derive(Clone, Debug)]
pub struct DialOut {
    /// False: nobody is called, whoever asks.
    pub enabled: bool,
    /// Only these are called.
    pub allow: Vec<NumberPattern>,
    /// And not these among them.
    pub deny: Vec<NumberPattern>,
    /// Time that it rings.
    pub ring: Duration,
    /// Calls to one seat within `window`.
    pub attempts: u32,
    /// See `attempts`.
    pub window: Duration,
    /// Time until a busy number is called once more.
    pub busy_retry: Duration,
    /// Longest call; 120 minutes at most.
    pub max: Duration,
    /// Minutes of one clinic on one day.
    pub daily_minutes: u32,
    /// Calls at the same time that one user of a clinic asked for.
    pub concurrent_per_user: u32,
    /// Time for the key by which the called person joins: a mailbox presses none.
    pub confirm: Duration,
}

impl DialOutSettings {
    pub(super) fn resolve(self, faults: &mut Vec<String>) -> DialOut {
        let patterns = |given: Option<Vec<NumberPattern>>, usual: &[&str]| {
            given.unwrap_or_else(|| usual.iter().filter_map(|text| text.parse().ok()).collect())
        };
        let mut seconds = |key, value, usual, range| {
            Duration::from_secs(u64::from(within::<u32>(&format!("dialout.{key}"), value, usual, range, faults)))
        };
        let ring = seconds("ring_s", self.ring_s, 35, 5..=120);
        let window = seconds("window_s", self.window_s, 900, 1..=86_400);
        let busy_retry = seconds("busy_retry_s", self.busy_retry_s, 45, 1..=3_600);
        let confirm = seconds("confirm_s", self.confirm_s, 12, 2..=60);
        let max_minutes = within("dialout.max_minutes", self.max_minutes, 60, 1..=120, faults);
        DialOut {
            enabled: self.enabled.unwrap_or(true),
            allow: patterns(self.allow, &ALLOW),
            deny: patterns(self.deny, &DENY),
            ring,
            attempts: within("dialout.attempts", self.attempts, 3, 1..=20, faults),
            window,
            busy_retry,
            max: Duration::from_secs(u64::from(max_minutes) * 60),
            daily_minutes: within("dialout.daily_minutes", self.daily_minutes, 600, 0..=100_000, faults),
            concurrent_per_user: within("dialout.concurrent_per_user", self.concurrent_per_user, 2, 1..=100, faults),
            confirm,
        }
    }
}

/// PINs, as the administrator wrote it.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(deny_unknown_fields, default)]
pub struct PinSettings {
    digits: Option<u32>,
    tries: Option<u32>,
    inter_digit_s: Option<u32>,
    total_s: Option<u32>,
    before_min: Option<u32>,
    after_min: Option<u32>,
    wrong_per_minute: Option<u32>,
}

/// How PINs are guarded.
#[derive(Clone, Debug)]
pub struct PinRules {
    /// Length of new ones.
    pub digits: usize,
    /// Tries of one call.
    pub tries: u32,
    /// Time between two digits.
    pub inter_digit: Duration,
    /// Time for all of it.
    pub total: Duration,
    /// A PIN works so long before the planned begin.
    pub before: Duration,
    /// And so long behind it.
    pub after: Duration,
    /// Wrong ones of one trunk in a minute before everybody's prompts become slower.
    pub wrong_per_minute: u32,
}

impl PinSettings {
    pub(super) fn resolve(self, faults: &mut Vec<String>) -> PinRules {
        let mut rule = |key, value, usual, range| within::<u32>(&format!("pin.{key}"), value, usual, range, faults);
        let seconds = |count: u32| Duration::from_secs(count.into());
        PinRules {
            // Shorter ones fall to guessing (200 live ones, 30 tries a minute: 8 digits 0.36 % an hour); nobody types longer ones.
            digits: usize::try_from(rule("digits", self.digits, 9, 8..=12)).unwrap_or(9),
            tries: rule("tries", self.tries, 3, 1..=5),
            inter_digit: seconds(rule("inter_digit_s", self.inter_digit_s, 15, 2..=60)),
            total: seconds(rule("total_s", self.total_s, 60, 5..=300)),
            before: seconds(60 * rule("before_min", self.before_min, 15, 0..=1_440)),
            after: seconds(60 * rule("after_min", self.after_min, 60, 0..=1_440)),
            wrong_per_minute: rule("wrong_per_minute", self.wrong_per_minute, 30, 1..=1_000),
        }
    }
}

/// The ladder, as the administrator wrote it. Rates in kb/s, losses and concealment in percent.
#[derive(Deserialize, Clone, Debug, Default)]
#[serde(deny_unknown_fields, default)]
pub struct LadderSettings {
    auto_call: Option<bool>,
    consent_required: Option<bool>,
    down_s: Option<u32>,
    up_s: Option<u32>,
    lower_kbps: Option<u32>,
    lower_loss: Option<u32>,
    stills_kbps: Option<u32>,
    audio_kbps: Option<u32>,
    audio_loss: Option<u32>,
    narrow_kbps: Option<u32>,
    narrow_loss: Option<u32>,
    narrow_rtt_ms: Option<u32>,
    unusable_s: Option<u32>,
    unusable_concealed: Option<u32>,
    unusable_mos: Option<f32>,
    media_gone_s: Option<u32>,
    gone_s: Option<u32>,
    cancel_s: Option<u32>,
}

/// When a consultation goes down a step, and up again.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// The server calls the patient by itself.
    pub auto_call: bool,
    /// But only who has agreed to it before.
    pub consent_required: bool,
    /// A step down needs its condition for so long.
    pub down: Duration,
    /// A step up too; at most one in this time.
    pub up: Duration,
    /// A lower layer of the picture.
    pub lower: LadderStep,
    /// Stills instead of video.
    pub stills: LadderStep,
    /// No picture.
    pub audio: LadderStep,
    /// Narrow-band sound.
    pub narrow: LadderStep,
    /// The telephone: sound was unusable for so long.
    pub unusable: Duration,
    /// Share of concealed sound above which it is unusable, in percent.
    pub unusable_concealed: u32,
    /// Mean opinion score below which it is unusable.
    pub unusable_mos: f32,
    /// The telephone: nothing came over the page's media connection for so long.
    pub media_gone: Duration,
    /// The telephone: the page's signalling is gone for so long.
    pub gone: Duration,
    /// So long before, it is told that the telephone will be called, and may be called off.
    pub cancel: Duration,
}

/// What takes a consultation down to one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LadderStep {
    /// Estimated rate below it.
    pub kbps: u32,
    /// Loss above it, in percent; none: it does not matter.
    pub loss: Option<u32>,
    /// Round trip above it; none: it does not matter.
    pub rtt: Option<Duration>,
}

impl LadderSettings {
    pub(super) fn resolve(self, faults: &mut Vec<String>) -> Ladder {
        let mut rule = |key, value, usual, range| within::<u32>(&format!("ladder.{key}"), value, usual, range, faults);
        let seconds = |count: u32| Duration::from_secs(count.into());
        let percent = 1..=100;
        let rate = 1..=100_000;
        let narrow_rtt = rule("narrow_rtt_ms", self.narrow_rtt_ms, 800, 50..=10_000);
        let ladder = Ladder {
            auto_call: self.auto_call.unwrap_or(true),
            consent_required: self.consent_required.unwrap_or(true),
            down: seconds(rule("down_s", self.down_s, 4, 1..=60)),
            up: seconds(rule("up_s", self.up_s, 15, 1..=600)),
            lower: LadderStep {
                kbps: rule("lower_kbps", self.lower_kbps, 350, rate.clone()),
                loss: Some(rule("lower_loss", self.lower_loss, 5, percent.clone())),
                rtt: None,
            },
            stills: LadderStep {
                kbps: rule("stills_kbps", self.stills_kbps, 120, rate.clone()),
                loss: None,
                rtt: None,
            },
            audio: LadderStep {
                kbps: rule("audio_kbps", self.audio_kbps, 50, rate.clone()),
                loss: Some(rule("audio_loss", self.audio_loss, 10, percent.clone())),
                rtt: None,
            },
            narrow: LadderStep {
                kbps: rule("narrow_kbps", self.narrow_kbps, 30, rate),
                loss: Some(rule("narrow_loss", self.narrow_loss, 20, percent.clone())),
                rtt: Some(Duration::from_millis(narrow_rtt.into())),
            },
            unusable: seconds(rule("unusable_s", self.unusable_s, 8, 1..=120)),
            unusable_concealed: rule("unusable_concealed", self.unusable_concealed, 30, percent),
            unusable_mos: self.unusable_mos.unwrap_or(2.0),
            media_gone: seconds(rule("media_gone_s", self.media_gone_s, 15, 8..=600)),
            gone: seconds(rule("gone_s", self.gone_s, 15, 1..=600)),
            cancel: seconds(rule("cancel_s", self.cancel_s, 8, 0..=60)),
        };
        let rates = [ladder.lower.kbps, ladder.stills.kbps, ladder.audio.kbps, ladder.narrow.kbps];
        if !rates.is_sorted_by(|upper, lower| upper > lower) {
            faults
                .push("telephone.ladder: lower_kbps, stills_kbps, audio_kbps and narrow_kbps must go down".to_owned());
        }
        if !(1.0..=4.5).contains(&ladder.unusable_mos) {
            faults.push("telephone.ladder.unusable_mos must be 1.0 to 4.5".to_owned());
        }
        ladder
    }
}

impl Default for DialOut {
    fn default() -> Self {
        DialOutSettings::default().resolve(&mut Vec::new())
    }
}

impl Default for PinRules {
    fn default() -> Self {
        PinSettings::default().resolve(&mut Vec::new())
    }
}

impl Default for Ladder {
    fn default() -> Self {
        LadderSettings::default().resolve(&mut Vec::new())
    }
}

/// French geographic and mobile numbers, and 09. Overseas ranges are the operator's to add.
const ALLOW: [&str; 2] = ["+33[1-7]", "+339"];
/// Surcharged numbers and short codes.
const DENY: [&str; 2] = ["+338", "+33[0-9]{2,4}$"];
