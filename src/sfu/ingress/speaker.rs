//! Who speaks in a room, from the audio levels that the clients measured (RFC 6464).
//!
//! Each seat's level is smoothed; another seat takes over only when it has been clearly louder for a while, and after
//! a silence nobody speaks. Pure: it decides nothing about slots. Levels are the senders' own claims, so that
//! a liar can gain attention and nothing else.

use std::time::{Duration, Instant};

use crate::ids::SeatId;
use crate::rtp::extension::AudioLevel;

/// Chooses the active speaker of one room.
#[derive(Debug, Default)]
pub struct SpeakerDetector {
    seats: Vec<Voice>,
    floor: Floor,
    told: Option<SeatId>,
}

#[derive(Debug)]
struct Voice {
    seat: SeatId,
    /// Smoothed loudness in dB above silence, 0.0 to 127.0.
    loudness: f32,
    heard: Instant,
}

/// Who has the floor, and who is about to take it.
#[derive(Clone, Copy, Debug, Default)]
enum Floor {
    #[default]
    Free,
    Held {
        by: SeatId,
        last_voice: Instant,
        challenger: Option<(SeatId, Instant)>,
    },
}

impl SpeakerDetector {
    /// Seats listened to; the rest cannot become the speaker.
    pub const SEATS_MAX: usize = 64;
    /// Below 60 dB above silence (-67 dBov) a level is room noise.
    const VOICE_MIN: f32 = 60.0;
    /// How much louder a challenger must be. Higher: a soft voice never gets the picture; lower: it flickers.
    const MARGIN: f32 = 6.0;
    /// How long. A cough or a "yes" is shorter.
    const TAKEOVER: Duration = Duration::from_millis(400);
    /// A pause between sentences is shorter than this.
    const SILENCE: Duration = Duration::from_secs(3);
    /// Without packets (muted, discontinuous transmission) a voice counts as silent.
    const STALE: Duration = Duration::from_millis(500);
    /// Weight of a new packet: about 150 ms of memory at 20 ms a packet.
    const SMOOTHING: f32 = 0.13;

    /// An empty room.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A packet of this seat's microphone came with this level.
    pub fn record(&mut self, now: Instant, seat: SeatId, level: AudioLevel) {
        let loudness = f32::from(127 - level.decibels_below.min(127));
        if let Some(voice) = self.seats.iter_mut().find(|voice| voice.seat == seat) {
            voice.loudness += Self::SMOOTHING * (loudness - voice.loudness);
            voice.heard = now;
        } else if self.seats.len() < Self::SEATS_MAX {
            self.seats.push(Voice { seat, loudness: Self::SMOOTHING * loudness, heard: now });
        }
    }

    /// The seat left, or may not speak any more.
    pub fn remove(&mut self, seat: SeatId) {
        self.seats.retain(|voice| voice.seat != seat);
        if matches!(self.floor, Floor::Held { by, .. } if by == seat) {
            self.floor = Floor::Free;
        }
    }

    /// The new speaker when it changed since the last call, `Some(None)` after a silence. Call it every 100 ms or so.
    pub fn poll(&mut self, now: Instant) -> Option<Option<SeatId>> {
        let loudest = self.loudest(now);
        self.floor = match self.floor {
            Floor::Free => match loudest {
                Some((seat, _)) => Floor::Held { by: seat, last_voice: now, challenger: None },
                None => Floor::Free,
            },
            Floor::Held { by, last_voice, challenger } => {
                let own = self.loudness(now, by);
                let last_voice = if own >= Self::VOICE_MIN { now } else { last_voice };
                contest(now, by, own, last_voice, challenger, loudest)
            }
        };
        let speaker = self.speaker();
        if speaker == self.told {
            return None;
        }
        self.told = speaker;
        Some(speaker)
    }

    /// Who has the floor.
    #[must_use]
    pub fn speaker(&self) -> Option<SeatId> {
        match self.floor {
            Floor::Free => None,
            Floor::Held { by, .. } => Some(by),
        }
    }

    fn loudness(&self, now: Instant, seat: SeatId) -> f32 {
        self.seats
            .iter()
            .find(|voice| voice.seat == seat && now.saturating_duration_since(voice.heard) < Self::STALE)
            .map_or(0.0, |voice| voice.loudness)
    }

    fn loudest(&self, now: Instant) -> Option<(SeatId, f32)> {
        self.seats
            .iter()
            .map(|voice| (voice.seat, self.loudness(now, voice.seat)))
            .filter(|&(_, loudness)| loudness >= Self::VOICE_MIN)
            .max_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// Whether the floor passes on: the same challenger, clearly louder for long enough, or alone after the holder fell silent.
fn contest(
    now: Instant,
    by: SeatId,
    own: f32,
    last_voice: Instant,
    challenger: Option<(SeatId, Instant)>,
    loudest: Option<(SeatId, f32)>,
) -> Floor {
    let louder = loudest.filter(|&(seat, loudness)| seat != by && loudness >= own + SpeakerDetector::MARGIN);
    let Some((seat, _)) = louder else {
        if now.saturating_duration_since(last_voice) >= SpeakerDetector::SILENCE {
            return Floor::Free;
        }
        return Floor::Held { by, last_voice, challenger: None };
    };
    match challenger {
        Some((same, since)) if same == seat => {
            if now.saturating_duration_since(since) >= SpeakerDetector::TAKEOVER {
                Floor::Held { by: seat, last_voice: now, challenger: None }
            } else {
                Floor::Held { by, last_voice, challenger }
            }
        }
        _ => Floor::Held { by, last_voice, challenger: Some((seat, now)) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: u8 = 127;
    const SOFT: u8 = 50;
    const LOUD: u8 = 20;

    /// Plays `(seat, level)` lines of 20 ms packets for so many milliseconds each; returns the changes with their time.
    fn play(script: &[(u64, &[(u64, u8)])]) -> Vec<(u64, Option<u64>)> {
        let start = Instant::now();
        let mut detector = SpeakerDetector::new();
        let mut changes = Vec::new();
        let mut millis = 0;
        for &(span, levels) in script {
            for _ in 0..span / 20 {
                let now = start + Duration::from_millis(millis);
                for &(seat, decibels_below) in levels {
                    detector.record(now, SeatId(seat), AudioLevel { voice: true, decibels_below });
                }
                if let Some(change) = detector.poll(now) {
                    changes.push((millis, change.map(|seat| seat.0)));
                }
                millis += 20;
            }
        }
        changes
    }

    fn speakers(script: &[(u64, &[(u64, u8)])]) -> Vec<Option<u64>> {
        play(script).into_iter().map(|(_, speaker)| speaker).collect()
    }

    #[test]
    fn table_of_conversations() {
        type Script = &'static [(u64, &'static [(u64, u8)])];
        let table: &[(&str, Script, &[Option<u64>])] = &[
            ("nobody speaks", &[(5000, &[(1, QUIET), (2, QUIET)])], &[]),
            ("room noise is not speech", &[(5000, &[(1, 80)])], &[]),
            ("one speaks", &[(1000, &[(1, LOUD), (2, QUIET)])], &[Some(1)]),
            ("a click is not speech", &[(20, &[(1, 0)]), (3000, &[(1, QUIET)])], &[]),
            (
                "one after another",
                &[(1000, &[(1, LOUD), (2, QUIET)]), (1500, &[(1, QUIET), (2, LOUD)])],
                &[Some(1), Some(2)],
            ),
            (
                "a cough does not take over",
                &[(1000, &[(1, LOUD), (2, QUIET)]), (200, &[(1, SOFT), (2, 10)]), (2000, &[(1, LOUD), (2, QUIET)])],
                &[Some(1)],
            ),
            (
                "a pause keeps the floor",
                &[(1000, &[(1, LOUD)]), (2500, &[(1, QUIET)]), (500, &[(1, LOUD)])],
                &[Some(1)],
            ),
            ("silence frees the floor", &[(1000, &[(1, LOUD)]), (5000, &[(1, QUIET)])], &[Some(1), None]),
            ("equals do not flicker", &[(200, &[(1, LOUD)]), (5000, &[(1, LOUD), (2, LOUD - 3)])], &[Some(1)]),
            ("a soft voice speaks when alone", &[(2000, &[(1, SOFT), (2, QUIET)])], &[Some(1)]),
            (
                "packets that stop are silence",
                &[(1000, &[(1, LOUD), (2, QUIET)]), (5000, &[(2, QUIET)])],
                &[Some(1), None],
            ),
        ];
        for (story, script, expected) in table {
            assert_eq!(speakers(script), *expected, "{story}");
        }
    }

    #[test]
    fn a_takeover_takes_about_half_a_second() {
        let changes = play(&[(1000, &[(1, LOUD), (2, QUIET)]), (2000, &[(1, QUIET), (2, LOUD)])]);
        let (at, speaker) = changes[1];
        assert_eq!(speaker, Some(2));
        assert!((1400..1800).contains(&at), "{at}");
    }

    #[test]
    fn a_seat_that_leaves_loses_the_floor_at_once() {
        let now = Instant::now();
        let mut detector = SpeakerDetector::new();
        for _ in 0..50 {
            detector.record(now, SeatId(1), AudioLevel { voice: true, decibels_below: 0 });
        }
        assert_eq!(detector.poll(now), Some(Some(SeatId(1))));
        detector.remove(SeatId(1));
        assert_eq!(detector.poll(now), Some(None));
        assert_eq!(detector.poll(now), None);
    }

    #[test]
    fn listens_to_a_bounded_number_of_seats() {
        let now = Instant::now();
        let mut detector = SpeakerDetector::new();
        for seat in 0..1000 {
            detector.record(now, SeatId(seat), AudioLevel { voice: true, decibels_below: 0 });
        }
        assert_eq!(detector.seats.len(), SpeakerDetector::SEATS_MAX);
    }
}
