//! Copies of the consultations that are live, as the store has them or soon will: every change reaches its copy the moment it
//! is handed to the journal, so that nobody reads from the store what is still on its way there.
//!
//! Because of these copies a join costs no query while its room is live, and goes on while the store is down. Not here: who is
//! connected (`room`), when a copy may be forgotten (`journal`: not before the store has everything that was changed in it).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::pii::Pii;
use crate::store::{Admission, Change, ConsultationRecord, LiveChange, SeatRecord, WithSeats};

/// The copies, behind one lock that is held for a few assignments.
#[derive(Default)]
pub(super) struct Mirror(Mutex<Copies>);

#[derive(Default)]
struct Copies {
    consultations: HashMap<String, Kept>,
    /// Seat to consultation.
    seats: HashMap<String, String>,
    /// Changes since somebody began to read a consultation from the store, by reading; nothing when they were too many.
    readings: HashMap<u64, Option<Vec<Change>>>,
    readings_ever: u64,
}

struct Kept {
    copy: WithSeats,
    /// Rooms and readings that rely on it.
    holds: usize,
}

/// A consultation is being read from the store: what changes meanwhile is applied to what was read.
pub(super) struct Reading<'a> {
    mirror: &'a Mirror,
    number: u64,
}

impl Mirror {
    /// A consultation with its seats; takes a hold on it. Nothing when there is no copy.
    pub(super) fn hold(&self, consultation: &str) -> Option<WithSeats> {
        let mut copies = self.lock();
        let kept = copies.consultations.get_mut(consultation)?;
        kept.holds += 1;
        Some(kept.copy.clone())
    }

    /// Gives a hold back. The copy stays until it is swept.
    pub(super) fn release(&self, consultation: &str) {
        if let Some(kept) = self.lock().consultations.get_mut(consultation) {
            kept.holds = kept.holds.saturating_sub(1);
        }
    }

    /// Forgets a copy that nobody holds.
    pub(super) fn sweep(&self, consultation: &str) {
        self.lock().forget_if(consultation, |kept| kept.holds == 0);
    }

    /// Forgets every copy that nobody holds.
    pub(super) fn sweep_all(&self) {
        let mut copies = self.lock();
        let loose = copies.consultations.iter().filter(|(_, kept)| kept.holds == 0);
        for consultation in loose.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            copies.forget_if(&consultation, |_| true);
        }
    }

    /// Forgets a copy whoever holds it: its data was erased.
    pub(super) fn erase(&self, consultation: &str) {
        self.lock().forget_if(consultation, |_| true);
    }

    /// Copies of a clinic that are of this patient.
    pub(super) fn of_patient(&self, clinic: &str, patient: &str) -> Vec<String> {
        let copies = self.lock();
        let of_patient = copies.consultations.values().map(|kept| &kept.copy.0).filter(|consultation| {
            consultation.clinic == clinic && consultation.patient.as_ref().is_some_and(|name| name.0 == patient)
        });
        of_patient.map(|consultation| consultation.id.clone()).collect()
    }

    /// Seats that have this PIN, in consultations that are not over. For when the store does not say: looks at every copy.
    pub(super) fn of_pin(&self, pin: &Pii<String>) -> Vec<(ConsultationRecord, SeatRecord)> {
        let is_it = |seat: &&SeatRecord| verify_slices_are_equal(seat.pin.0.as_bytes(), pin.0.as_bytes()).is_ok();
        let copies = self.lock();
        let going_on = copies.consultations.values().filter(|kept| kept.copy.0.ended_at.is_none());
        let of_kept = |kept: &'_ Kept| {
            let (consultation, seats) = &kept.copy;
            seats.iter().filter(is_it).map(|seat| (consultation.clone(), seat.clone())).collect::<Vec<_>>()
        };
        going_on.flat_map(of_kept).collect()
    }

    /// A consultation with its seats.
    pub(super) fn consultation(&self, id: &str) -> Option<WithSeats> {
        self.lock().consultations.get(id).map(|kept| kept.copy.clone())
    }

    /// A seat with its consultation.
    pub(super) fn seat(&self, id: &str) -> Option<(ConsultationRecord, SeatRecord)> {
        let copies = self.lock();
        let (consultation, seats) = &copies.consultations.get(copies.seats.get(id)?)?.copy;
        let seat = seats.iter().find(|seat| seat.id == id)?;
        Some((consultation.clone(), seat.clone()))
    }

    /// Applies changes that the store has.
    pub(super) fn apply(&self, changes: &[Change]) {
        self.lock().apply(changes);
    }

    /// Applies changes of running rooms while `hand_over` gives them to the scribe: in the same order for both.
    pub(super) fn apply_live(&self, changes: &[LiveChange], hand_over: impl FnOnce()) {
        let mut copies = self.lock();
        for change in changes {
            copies.apply(&[Change::Live(change.clone())]);
        }
        hand_over();
    }

    /// To be called before the store is asked.
    pub(super) fn begin_reading(&self) -> Reading<'_> {
        let mut copies = self.lock();
        copies.readings_ever += 1;
        let number = copies.readings_ever;
        copies.readings.insert(number, Some(Vec::new()));
        Reading { mirror: self, number }
    }

    fn lock(&self) -> MutexGuard<'_, Copies> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading<'_> {
    /// Keeps what was read, brought up to date, and takes a hold on it. Nothing when the store took so long that too much
    /// changed.
    pub(super) fn keep(self, read: WithSeats) -> Option<WithSeats> {
        let mut copies = self.mirror.lock();
        let missed = copies.readings.remove(&self.number).flatten()?;
        let id = read.0.id.clone();
        // Another reading may have been faster: its copy has every change since.
        if !copies.consultations.contains_key(&id) {
            copies.seats.extend(read.1.iter().map(|seat| (seat.id.clone(), id.clone())));
            copies.consultations.insert(id.clone(), Kept { copy: read, holds: 0 });
            copies.change(&missed);
        }
        let kept = copies.consultations.get_mut(&id).expect("it was just put there or seen there");
        kept.holds += 1;
        Some(kept.copy.clone())
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.mirror.lock().readings.remove(&self.number);
    }
}

impl Copies {
    fn apply(&mut self, changes: &[Change]) {
        for reading in self.readings.values_mut() {
            match reading {
                Some(missed) if missed.len() + changes.len() <= MISSED_LEN_MAX => missed.extend_from_slice(changes),
                _ => *reading = None,
            }
        }
        self.change(changes);
    }

    fn change(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Live(live) => self.change_live(live),
                Change::AddSeat { seat, .. } => {
                    if let Some(kept) = self.consultations.get_mut(&seat.consultation)
                        && kept.copy.1.iter().all(|other| other.id != seat.id)
                    {
                        kept.copy.1.push((**seat).clone());
                        self.seats.insert(seat.id.clone(), seat.consultation.clone());
                    }
                }
                Change::EndConsultation { consultation, at } => {
                    self.change_consultation(consultation, |record| {
                        record.ended_at.get_or_insert(*at);
                    });
                }
                Change::SetLogin { seat, login } => {
                    self.change_seat(seat, |record| record.login = Some(login.clone()));
                }
                // Nothing of a consultation that is kept.
                Change::AddClinic(..)
                | Change::SetDemands { .. }
                | Change::AddApiKey(..)
                | Change::RevokeApiKey { .. }
                | Change::CreateConsultation(..)
                | Change::AddSigningKey(..)
                | Change::SetWebhook(..)
                | Change::RemoveWebhook { .. }
                | Change::MoveWebhook { .. }
                | Change::AddMessage(..)
                | Change::DelayMessage { .. }
                | Change::RemoveMessage { .. } => {}
            }
        }
    }

    /// As the store does it (`store::LiveChange`).
    fn change_live(&mut self, change: &LiveChange) {
        match change {
            LiveChange::SetAdmission { seat, admission } => self.change_seat(seat, |record| {
                record.admission = *admission;
                record.other_device &= *admission != Admission::Admitted;
            }),
            LiveChange::SetDevice { seat, device, other } => self.change_seat(seat, |record| {
                record.device = Some(*device);
                record.other_device = *other;
            }),
            LiveChange::PassGate { seat, passed } => self.change_seat(seat, |record| {
                record.gates.retain(|before| before.gate != passed.gate);
                record.gates.push(passed.clone());
            }),
            LiveChange::ForgetGate { seat, gate } => {
                self.change_seat(seat, |record| record.gates.retain(|passed| passed.gate != *gate));
            }
            LiveChange::SetEpoch { seat, epoch } => {
                self.change_seat(seat, |record| record.token_epoch = record.token_epoch.max(*epoch));
            }
            LiveChange::SetLocked { consultation, locked } => {
                self.change_consultation(consultation, |record| record.locked = *locked);
            }
            LiveChange::End { consultation, at } => self.change_consultation(consultation, |record| {
                record.ended_at.get_or_insert(*at);
            }),
        }
    }

    fn change_consultation(&mut self, id: &str, change: impl FnOnce(&mut ConsultationRecord)) {
        if let Some(kept) = self.consultations.get_mut(id) {
            change(&mut kept.copy.0);
        }
    }

    fn change_seat(&mut self, id: &str, change: impl FnOnce(&mut SeatRecord)) {
        let Some(consultation) = self.seats.get(id) else { return };
        let kept = self.consultations.get_mut(consultation);
        if let Some(seat) = kept.and_then(|kept| kept.copy.1.iter_mut().find(|seat| seat.id == id)) {
            change(seat);
        }
    }

    fn forget_if(&mut self, consultation: &str, condition: impl FnOnce(&Kept) -> bool) {
        if self.consultations.get(consultation).is_some_and(condition)
            && let Some(kept) = self.consultations.remove(consultation)
        {
            for seat in &kept.copy.1 {
                self.seats.remove(&seat.id);
            }
        }
    }
}

/// Changes while one consultation is read. A read takes milliseconds; past this the store has not answered for seconds.
const MISSED_LEN_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(id: &str) -> SeatRecord {
        SeatRecord {
            id: id.into(),
            consultation: "c1".into(),
            role: "patient".into(),
            display_name: None,
            phone: None,
            email: None,
            card: None,
            pin: Pii("12345678".into()),
            phone_consent: false,
            admission: Admission::Waiting,
            vouched: false,
            token_epoch: 1,
            device: None,
            other_device: false,
            gates: Vec::new(),
            login: None,
        }
    }

    fn consultation() -> WithSeats {
        let record = ConsultationRecord {
            id: "c1".into(),
            clinic: "k1".into(),
            act: "teleconsultation".into(),
            language: "fr".into(),
            priority: None,
            starts_at: None,
            created_at: 1,
            booking: 1,
            ended_at: None,
            gates: None,
            patient: Some(Pii("p-7".into())),
            postal_prefix: None,
            queue: None,
            login: false,
            locked: false,
            e2ee: "off".into(),
        };
        (record, vec![seat("s1"), seat("s2")])
    }

    fn admitted(seat: &str) -> Change {
        Change::Live(LiveChange::SetAdmission { seat: seat.into(), admission: Admission::Admitted })
    }

    #[test]
    fn what_changed_while_the_store_was_read_is_not_lost() {
        let mirror = Mirror::default();
        let reading = mirror.begin_reading();
        mirror.apply(&[admitted("s2")]);
        mirror.apply(&[admitted("of another consultation")]);
        let (_, seats) = reading.keep(consultation()).unwrap();
        assert_eq!([seats[0].admission, seats[1].admission], [Admission::Waiting, Admission::Admitted]);
        assert_eq!(mirror.seat("s2").unwrap().1.admission, Admission::Admitted);
    }

    #[test]
    fn the_slower_of_two_readings_does_not_undo_what_changed_since() {
        let mirror = Mirror::default();
        let (slow, fast) = (mirror.begin_reading(), mirror.begin_reading());
        fast.keep(consultation()).unwrap();
        mirror.apply(&[admitted("s1")]);
        let (_, seats) = slow.keep(consultation()).unwrap();
        assert_eq!(seats[0].admission, Admission::Admitted);
    }

    #[test]
    fn a_reading_that_missed_too_much_keeps_nothing() {
        let mirror = Mirror::default();
        let reading = mirror.begin_reading();
        for _ in 0..=MISSED_LEN_MAX {
            mirror.apply(&[admitted("s1")]);
        }
        assert!(reading.keep(consultation()).is_none() && mirror.consultation("c1").is_none());
        drop(mirror.begin_reading());
        assert!(mirror.lock().readings.is_empty(), "a reading that was given up leaves nothing behind");
    }

    #[test]
    fn a_copy_stays_until_nobody_holds_it_and_it_is_swept() {
        let mirror = Mirror::default();
        mirror.begin_reading().keep(consultation()).unwrap();
        assert!(mirror.hold("c1").is_some());
        mirror.release("c1");
        mirror.sweep("c1");
        assert!(mirror.seat("s1").is_some(), "one hold is left");
        mirror.release("c1");
        assert!(mirror.seat("s1").is_some(), "released, and not yet swept");
        mirror.sweep_all();
        assert!(mirror.seat("s1").is_none() && mirror.hold("c1").is_none() && mirror.lock().seats.is_empty());
    }

    #[test]
    fn changes_are_applied_as_the_store_applies_them() {
        let mirror = Mirror::default();
        mirror.begin_reading().keep(consultation()).unwrap();
        let seat_of = |id: &str| mirror.seat(id).unwrap().1;
        let live = |change| mirror.apply(&[Change::Live(change)]);
        live(LiveChange::SetDevice { seat: "s1".into(), device: [1; 32], other: true });
        assert_eq!((seat_of("s1").device, seat_of("s1").other_device), (Some([1; 32]), true));
        live(LiveChange::SetAdmission { seat: "s1".into(), admission: Admission::Waiting });
        assert!(seat_of("s1").other_device);
        mirror.apply(&[admitted("s1")]);
        assert!(!seat_of("s1").other_device, "whoever is admitted is known on this device");
        let consent = |answer: &str| crate::store::PassedGate { gate: "consent".into(), answer: answer.into(), at: 5 };
        live(LiveChange::PassGate { seat: "s1".into(), passed: consent("1") });
        live(LiveChange::PassGate { seat: "s1".into(), passed: consent("2") });
        assert_eq!(seat_of("s1").gates, [consent("2")]);
        live(LiveChange::ForgetGate { seat: "s1".into(), gate: "consent".into() });
        assert!(seat_of("s1").gates.is_empty());
        live(LiveChange::SetEpoch { seat: "s1".into(), epoch: 4 });
        live(LiveChange::SetEpoch { seat: "s1".into(), epoch: 3 });
        assert_eq!(seat_of("s1").token_epoch, 4);
        live(LiveChange::SetLocked { consultation: "c1".into(), locked: true });
        live(LiveChange::End { consultation: "c1".into(), at: 9 });
        live(LiveChange::End { consultation: "c1".into(), at: 10 });
        let (record, _) = mirror.consultation("c1").unwrap();
        assert_eq!((record.locked, record.ended_at), (true, Some(9)));
        let new = Change::AddSeat { seat: Box::new(seat("s3")), of_role_max: 9, seats_max: 50 };
        mirror.apply(&[new.clone(), new]);
        assert_eq!(mirror.consultation("c1").unwrap().1.len(), 3);
        assert_eq!(mirror.of_patient("k1", "p-7"), ["c1"]);
        assert!(mirror.of_patient("k2", "p-7").is_empty());
    }
}
