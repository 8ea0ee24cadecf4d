//! Which voices a leg hears that takes only a few: the loudest. A pure function of how loud everybody is.
//!
//! Not here: numbering (`local_leg`), and who has the floor (`ingress::speaker`, which is in no hurry: here the first
//! syllable counts). Invariant: a voice that is heard goes on being heard until it stops or somebody is clearly louder, so
//! that no sentence is chopped.

use std::time::{Duration, Instant};

use super::slots::TrackKey;

/// A voice on one of the places.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Holder {
    pub(super) track: TrackKey,
    /// In dB above silence: at once as loud as its loudest packet, and slowly softer.
    pub(super) loudness: f32,
    /// When its last packet came.
    pub(super) heard: Instant,
}

impl Holder {
    /// Another packet came, which is so loud.
    pub(super) fn record(&mut self, now: Instant, loudness: f32) {
        self.heard = now;
        let fading = self.loudness + RELEASE * (loudness - self.loudness);
        self.loudness = fading.max(loudness);
    }
}

/// The place for a packet of `track`, which is so loud: its own, else a free one, else that of a voice that sends nothing any
/// more, else that of the softest when this one is clearly louder.
pub(super) fn place_for(
    now: Instant,
    track: TrackKey,
    loudness: f32,
    places: impl Iterator<Item = Option<Holder>> + Clone,
) -> Option<usize> {
    let holders = || places.clone().enumerate();
    let own = || holders().find(|(_, holder)| holder.is_some_and(|holder| holder.track == track));
    let free = || holders().find(|(_, holder)| holder.is_none());
    let is_idle = |holder: Holder| now.saturating_duration_since(holder.heard) >= IDLE;
    let idle = || holders().find(|(_, holder)| holder.is_some_and(is_idle));
    let softer = || {
        let held = holders().filter_map(|(at, holder)| Some((at, holder?)));
        let softest = held.min_by(|(_, a), (_, b)| a.loudness.total_cmp(&b.loudness));
        softest.filter(|(_, holder)| loudness >= holder.loudness + MARGIN)
    };
    let place = own().or_else(free).or_else(idle).map(|(at, _)| at);
    place.or_else(|| softer().map(|(at, _)| at))
}

/// Weight of a softer packet: about 700 ms of memory at 20 ms a packet. Higher: who pauses for breath loses his place; lower:
/// who has finished keeps it.
const RELEASE: f32 = 0.03;
/// A voice without packets for so long is over. With discontinuous transmission one comes every 400 ms (RFC 7587 section
/// 3.1.3).
const IDLE: Duration = Duration::from_millis(500);
/// In dB. Higher: whoever begins softly is not heard at first; lower: voices of a crowd chop each other.
const MARGIN: f32 = 6.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voice_is_loud_at_once_and_softer_slowly() {
        let start = Instant::now();
        let mut holder = Holder { track: 1, loudness: 20.0, heard: start };
        let at = |packet: u32| start + Duration::from_millis(20) * packet;
        holder.record(at(1), 90.0);
        assert_eq!((holder.loudness, holder.heard), (90.0, at(1)));
        let mut packets = 1;
        while holder.loudness > 20.0 + 35.0 {
            packets += 1;
            holder.record(at(packets), 20.0);
        }
        assert!((20..30).contains(&packets), "half of it is gone after {packets} packets");
    }

    #[test]
    fn table_of_places() {
        let now = Instant::now() + Duration::from_secs(10);
        let fresh = now - Duration::from_millis(20);
        let long_ago = now - Duration::from_millis(500);
        let voice = |track, loudness| Some(Holder { track, loudness, heard: fresh });
        let idle = |track, loudness| Some(Holder { track, loudness, heard: long_ago });
        let table: &[(&str, TrackKey, f32, [Option<Holder>; 3], Option<usize>)] = &[
            ("the first comer", 9, 0.0, [None, None, None], Some(0)),
            ("its own place, however soft", 2, 0.0, [voice(1, 90.0), voice(2, 80.0), None], Some(1)),
            ("a free place, however soft", 9, 0.0, [voice(1, 90.0), None, voice(2, 80.0)], Some(1)),
            ("one that stopped sending gives way", 9, 0.0, [voice(1, 9.0), voice(2, 8.0), idle(3, 90.0)], Some(2)),
            ("the softest gives way", 9, 86.0, [voice(1, 90.0), voice(2, 80.0), voice(3, 85.0)], Some(1)),
            ("not to one hardly louder", 9, 85.0, [voice(1, 90.0), voice(2, 80.0), voice(3, 85.0)], None),
            ("not to a softer one", 9, 20.0, [voice(1, 90.0), voice(2, 80.0), voice(3, 85.0)], None),
        ];
        for (story, track, loudness, places, expected) in table {
            assert_eq!(place_for(now, *track, *loudness, places.iter().copied()), *expected, "{story}");
        }
    }
}
