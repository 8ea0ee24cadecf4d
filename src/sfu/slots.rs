//! Which seat is shown on which slot of a viewer's page: a pure function from what is published to a mapping.
//!
//! A slot is an audio and camera *pair* (one stream id, so that lips stay in sync). Invariants: a seat stays on the
//! slot it has as long as it may; nobody sees himself; a screen never displaces a voice.

use crate::ids::{SeatId, SlotId};
use crate::rtp::codec::Source;

use super::parameters::SlotRole;

/// Key of a track in its room.
pub type TrackKey = usize;

/// What one seat offers to be watched: its voice and camera together, or its shared screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offering {
    /// Whose.
    pub seat: SeatId,
    /// `Camera` for the pair, `Screen` for a shared screen.
    pub source: Source,
    /// Voice, when the viewer may hear and there is one.
    pub audio: Option<TrackKey>,
    /// Picture, when the viewer may see and there is one.
    pub video: Option<TrackKey>,
    /// Larger is later: when the seat last was the active speaker. Screens count as the seat that shares.
    pub spoke_at: u64,
}

/// A slot with what it shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotState {
    /// Which slot.
    pub slot: SlotId,
    /// What may be mapped here.
    pub role: SlotRole,
    /// What is mapped here now.
    pub shown: Option<Offering>,
}

/// Maps `offerings` (in the order in which seats came; without the viewer's own) to the viewer's slots.
///
/// Pairs come before screens. When there are more than slots, those who spoke last are kept and `speaker` (the
/// active one) is always among them.
pub fn assign(slots: &mut [SlotState], offerings: &[Offering], speaker: Option<SeatId>) {
    refresh(slots, offerings);
    for slot in slots.iter_mut().filter(|slot| slot.role == SlotRole::ActiveSpeaker) {
        slot.shown = follow_speaker(slot.shown, offerings, speaker);
    }
    for offering in offerings {
        if !is_shown(slots, offering) {
            place(slots, offering, speaker);
        }
    }
}

/// Gives every slot the current tracks of what it shows, and empties those whose offering is gone.
fn refresh(slots: &mut [SlotState], offerings: &[Offering]) {
    for slot in slots {
        slot.shown = slot.shown.and_then(|shown| offerings.iter().find(|o| same(o, &shown)).copied());
    }
}

fn follow_speaker(shown: Option<Offering>, offerings: &[Offering], speaker: Option<SeatId>) -> Option<Offering> {
    let pairs = || offerings.iter().filter(|o| o.source == Source::Camera);
    pairs().find(|o| Some(o.seat) == speaker).copied().or(shown).or_else(|| pairs().next().copied())
}

fn place(slots: &mut [SlotState], offering: &Offering, speaker: Option<SeatId>) {
    let fits = |slot: &SlotState| slot.role == SlotRole::Seat;
    if let Some(free) = slots.iter_mut().find(|slot| fits(slot) && slot.shown.is_none()) {
        free.shown = Some(*offering);
        return;
    }
    let weight = |o: &Offering| (o.source == Source::Camera, Some(o.seat) == speaker, o.spoke_at);
    let weakest = slots.iter_mut().filter(|slot| fits(slot)).min_by_key(|slot| slot.shown.as_ref().map(weight));
    if let Some(slot) = weakest
        && slot.shown.as_ref().map(weight) < Some(weight(offering))
    {
        slot.shown = Some(*offering);
    }
}

fn is_shown(slots: &[SlotState], offering: &Offering) -> bool {
    slots
        .iter()
        .filter(|slot| slot.role == SlotRole::Seat)
        .any(|slot| slot.shown.as_ref().is_some_and(|shown| same(shown, offering)))
}

fn same(a: &Offering, b: &Offering) -> bool {
    a.seat == b.seat && a.source == b.source
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(seat: u64, spoke_at: u64) -> Offering {
        Offering {
            seat: SeatId(seat),
            source: Source::Camera,
            audio: Some(seat as usize * 10),
            video: Some(seat as usize * 10 + 1),
            spoke_at,
        }
    }

    fn screen(seat: u64) -> Offering {
        Offering { seat: SeatId(seat), source: Source::Screen, audio: None, video: Some(99), spoke_at: 0 }
    }

    fn empty_slots(count: u16) -> Vec<SlotState> {
        (0..count).map(|n| SlotState { slot: SlotId(n), role: SlotRole::Seat, shown: None }).collect()
    }

    fn seats(slots: &[SlotState]) -> Vec<Option<u64>> {
        slots.iter().map(|slot| slot.shown.map(|shown| shown.seat.0)).collect()
    }

    #[test]
    fn fills_slots_in_the_order_in_which_seats_came() {
        let mut slots = empty_slots(3);
        assign(&mut slots, &[pair(7, 0), pair(4, 0)], None);
        assert_eq!(seats(&slots), [Some(7), Some(4), None]);
    }

    #[test]
    fn a_seat_keeps_its_slot_when_another_leaves() {
        let mut slots = empty_slots(3);
        assign(&mut slots, &[pair(1, 0), pair(2, 0), pair(3, 0)], None);
        assign(&mut slots, &[pair(2, 0), pair(3, 0)], None);
        assert_eq!(seats(&slots), [None, Some(2), Some(3)]);
        assign(&mut slots, &[pair(2, 0), pair(3, 0), pair(4, 0)], None);
        assert_eq!(seats(&slots), [Some(4), Some(2), Some(3)]);
    }

    #[test]
    fn a_slot_takes_the_new_tracks_of_the_seat_it_shows() {
        let mut slots = empty_slots(1);
        assign(&mut slots, &[pair(1, 0)], None);
        let moved = Offering { video: Some(77), ..pair(1, 0) };
        assign(&mut slots, &[moved], None);
        assert_eq!(slots[0].shown, Some(moved));
    }

    #[test]
    fn the_speaker_displaces_whoever_was_silent_longest() {
        let mut slots = empty_slots(2);
        assign(&mut slots, &[pair(1, 5), pair(2, 3), pair(3, 0)], None);
        assert_eq!(seats(&slots), [Some(1), Some(2)]);
        assign(&mut slots, &[pair(1, 5), pair(2, 3), pair(3, 6)], Some(SeatId(3)));
        assert_eq!(seats(&slots), [Some(1), Some(3)]);
    }

    #[test]
    fn a_screen_takes_a_free_slot_but_never_that_of_a_voice() {
        let mut slots = empty_slots(2);
        assign(&mut slots, &[pair(1, 0), screen(1)], None);
        assert_eq!(slots[1].shown, Some(screen(1)));
        assign(&mut slots, &[pair(1, 0), pair(2, 0), screen(1)], None);
        assert_eq!(seats(&slots), [Some(1), Some(2)]);
        assert_eq!(slots[1].shown, Some(pair(2, 0)));
    }

    #[test]
    fn a_speaker_slot_follows_the_speaker_and_stays_in_a_silence() {
        let mut slots = [SlotState { slot: SlotId(0), role: SlotRole::ActiveSpeaker, shown: None }];
        assign(&mut slots, &[pair(1, 0), pair(2, 0)], None);
        assert_eq!(seats(&slots), [Some(1)]);
        assign(&mut slots, &[pair(1, 0), pair(2, 1)], Some(SeatId(2)));
        assert_eq!(seats(&slots), [Some(2)]);
        assign(&mut slots, &[pair(1, 0), pair(2, 1)], None);
        assert_eq!(seats(&slots), [Some(2)]);
    }

    #[test]
    fn nothing_is_shown_twice_and_nothing_unpublished_is_shown() {
        let mut slots = empty_slots(4);
        for round in 0..50u64 {
            let offerings: Vec<_> = (0..6).filter(|seat| (round >> (seat % 5)) & 1 == 0).map(|s| pair(s, s)).collect();
            assign(&mut slots, &offerings, Some(SeatId(round % 6)));
            let mut shown: Vec<_> = slots.iter().filter_map(|slot| slot.shown).map(|o| o.seat).collect();
            assert!(shown.iter().all(|seat| offerings.iter().any(|o| o.seat == *seat)));
            shown.sort_unstable();
            shown.dedup();
            assert_eq!(shown.len(), offerings.len().min(4));
        }
    }
}
