//! The answers of a room's seats to their gates: kept, journalled, and what follows when one is a refusal.
//!
//! Not here: which answer belongs to which gate (`gates`), and who may go on after it (`settle`).

use colloque_signaling::message::{Card, Choice, GateAnswer};
use colloque_signaling::session::CloseReason;

use crate::store::{Admission, LiveChange, PassedGate};

use super::clock;
use super::facts::{Fact, Refused};
use super::gates::{self, Answered, Misplaced};
use super::room::RoomState;

impl RoomState {
    /// Takes an answer to a gate.
    pub(super) fn answer(&mut self, id: &str, answer: &GateAnswer) -> Result<(), Misplaced> {
        let cards = self.cards();
        let Some(seat) = self.seat_mut(id) else { return Err(Misplaced::NotAsked) };
        match gates::answer(&seat.asked, &mut seat.answers, &cards, answer)? {
            Answered::Again => {}
            Answered::Passed(stored, gate) => {
                let at = clock::unix_now();
                let pass = |(gate, answer)| LiveChange::PassGate {
                    seat: id.to_owned(),
                    passed: PassedGate { gate, answer, at },
                };
                let changes = stored.into_iter().map(pass).collect();
                self.chronicle.record(changes, Some(id), &Fact::GatePassed { gate });
                self.settle();
            }
            Answered::Refused(gate) => self.decline(id, gate),
        }
        Ok(())
    }

    fn decline(&mut self, id: &str, gate: Refused) {
        let mut changes = vec![LiveChange::SetAdmission { seat: id.to_owned(), admission: Admission::Declined }];
        if gate == Refused::ConsentWithdrawn {
            changes.push(LiveChange::ForgetGate { seat: id.to_owned(), gate: gates::CONSENT.to_owned() });
        }
        let choice: Option<Choice> = match gate {
            Refused::Preference { choice } => Some(choice),
            Refused::Consent | Refused::ConsentWithdrawn => None,
        };
        self.chronicle.record(changes, Some(id), &Fact::GateRefused { gate });
        self.withdraw(id, Admission::Declined, CloseReason::Declined(choice));
        self.settle();
    }

    /// The cards of every professional who has a seat, in the order of their seats.
    pub(super) fn cards(&self) -> Vec<Card> {
        let open = self.seats.iter().filter(|seat| seat.admission.is_open());
        open.filter_map(|seat| seat.card.as_ref().map(|card| card.0.clone())).collect()
    }
}
