//! A call's place on its seat: it arrives, learns where it stands, gets its sound while it is inside, and leaves.
//!
//! ```text
//!   call --phone_arrive--> PhonePlace --standing, changed--> Waiting | Inside | Out
//!                              |--attach--> LocalPort (the media thread's), only while Inside
//!                              '--hang_up, or dropped--> the seat is kept for the grace period
//! ```
//! While its telephone is inside, a seat speaks and hears by it alone: the media plane stops the voice and the sound of its
//! page, and lets the pictures go on. Not here: SIP and sound (`telephone`), where a telephone stands (`seat_phone`).

use std::sync::Arc;
use std::time::Duration;

use colloque_signaling::message::{Card, Gate, GateAnswer, PhoneCause, PhoneInfo, Presence};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::control::facts::{Departure, Fact};
use crate::control::join::JoinError;
use crate::control::room::{Room, RoomState};
use crate::control::seat::{LiveSeat, Visit};
use crate::control::{Consultations, gates};
use crate::ids::LegId;
use crate::sfu::command::Command;
use crate::store::{Admission, ConsultationRecord, SeatRecord};
use crate::worker::local::LocalPort;

use super::encryption::Encryption;
use super::seat_phone::{Arrival, Comes, OnLine, PhoneOut, PhoneStage, PhoneStanding, SeatPhone, is_agreed, is_let_in};

/// A call's place on its seat. Dropping it counts as a line that broke.
pub struct PhonePlace {
    consultations: Arc<Consultations>,
    runtime: Handle,
    room: Arc<Room>,
    seat: String,
    call: u64,
    standing: watch::Receiver<PhoneStanding>,
    departure: Departure,
}

/// Why a telephone gets no place.
#[derive(Debug, thiserror::Error)]
pub enum PhoneRefusal {
    /// As for any other way in.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The consultation is end-to-end encrypted for good.
    #[error("a consultation that is always end-to-end encrypted takes no telephone")]
    EncryptionRequired,
}

impl Consultations {
    /// A telephone takes its place on a seat; a call that had it before is out. It may be the first to come.
    ///
    /// # Errors
    /// The consultation is over or takes no telephone, the seat is out of it, or the server takes no more rooms.
    pub async fn phone_arrive(
        self: &Arc<Self>,
        consultation: &ConsultationRecord,
        record: &SeatRecord,
        how: Arrival,
    ) -> Result<PhonePlace, PhoneRefusal> {
        if Encryption::from_name(&consultation.e2ee) == Encryption::Required {
            return Err(PhoneRefusal::EncryptionRequired);
        }
        let call = self.numbers.next();
        for _ in 0..ROOM_TRIES {
            let opened = self.open_room(consultation).await;
            let room = opened.inspect_err(|error| self.record_failed_join(consultation, &record.id, error))?;
            let mut state = room.lock();
            if state.is_closed() {
                drop(state);
                self.forget(&room);
                continue;
            }
            state.add_seat(record, &self.numbers);
            let arrived = state.take_phone(record, call, how);
            if arrived.is_err() {
                self.close_if_empty(&room, state);
            } else {
                drop(state);
            }
            let standing = arrived.inspect_err(|error| self.record_failed_join(consultation, &record.id, error))?;
            return Ok(PhonePlace {
                consultations: Arc::clone(self),
                runtime: Handle::current(),
                room,
                seat: record.id.clone(),
                call,
                standing,
                departure: Departure::Lost,
            });
        }
        Err(JoinError::Full.into())
    }
}

impl PhonePlace {
    /// Which telephone it is, among those that had the seat.
    #[must_use]
    pub fn call(&self) -> u64 {
        self.call
    }

    /// Where it stands now.
    #[must_use]
    pub fn standing(&self) -> PhoneStanding {
        *self.standing.borrow()
    }

    /// Waits until it stands elsewhere. Safe to cancel; once it is out, it never returns.
    pub async fn changed(&mut self) -> PhoneStanding {
        if self.standing.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        *self.standing.borrow_and_update()
    }

    /// The sound of the room, while it is inside. The one given before closes. A port that closes by itself while this stands
    /// inside was lost with its worker's room: attach again.
    #[must_use]
    pub fn attach(&self) -> Option<LocalPort> {
        let leg = LegId(self.consultations.numbers.next());
        self.room.lock().attach_phone(&self.seat, self.call, leg)
    }

    /// Stops the sound both ways; dropping the port does the same, a moment later.
    pub fn detach(&self) {
        let mut state = self.room.lock();
        state.drop_phone_leg(&self.seat, self.call);
        state.settle();
    }

    /// The person's answer, by key, to the gate of consent. Refusing also withdraws one that was given.
    pub fn consent(&self, accepted: bool) {
        let mut state = self.room.lock();
        if state.phone_of(&self.seat, self.call).is_some() {
            state.answer_consent(&self.seat, accepted);
            self.consultations.close_if_empty(&self.room, state);
        }
    }

    /// The person has stopped the own voice by key, or lets it again: the roster shows it. Send nothing meanwhile.
    pub fn set_muted(&self, muted: bool) {
        self.change(|line| line.muted = muted);
    }

    /// The person raises a hand by key, or takes it down.
    pub fn set_hand(&self, hand: bool) {
        self.change(|line| line.hand = hand);
    }

    /// The person hung up, or was hung up on. The seat is kept for the grace period, and who calls back is let in again.
    pub fn hang_up(mut self) {
        self.departure = Departure::Left;
    }

    fn change(&self, change: impl FnOnce(&mut OnLine)) {
        let mut state = self.room.lock();
        if let Some(line) = state.phone_of(&self.seat, self.call) {
            change(line);
            state.settle();
        }
    }
}

impl Drop for PhonePlace {
    fn drop(&mut self) {
        let (seat, call, departure) = (self.seat.clone(), self.call, self.departure);
        let mut state = self.room.lock();
        let is_kept = state.release_phone(&seat, call, departure);
        self.consultations.close_if_empty(&self.room, state);
        if is_kept {
            let (consultations, room) = (Arc::clone(&self.consultations), Arc::clone(&self.room));
            let grace: Duration = consultations.settings.grace;
            self.runtime.spawn(async move {
                tokio::time::sleep(grace).await;
                let mut state = room.lock();
                state.expire_phone(&seat, call, departure);
                consultations.close_if_empty(&room, state);
            });
        }
    }
}

impl RoomState {
    /// Puts a call on its seat. The record was read before: the room has the last word.
    fn take_phone(
        &mut self,
        record: &SeatRecord,
        call: u64,
        how: Arrival,
    ) -> Result<watch::Receiver<PhoneStanding>, JoinError> {
        let agreed = is_agreed(how, self.encryption);
        if how == Arrival::DialledIn {
            self.call_off_unseated(&record.id, PhoneOut::Replaced.cause());
        }
        let broke = self.seat(&record.id).is_some_and(LiveSeat::phone_broke);
        self.withdraw_phone(&record.id, PhoneOut::Replaced);
        let Some(seat) = self.seat_mut(&record.id) else { return Err(JoinError::Token) };
        match seat.admission {
            Admission::Refused => return Err(JoinError::Removed),
            Admission::Declined => return Err(JoinError::Declined),
            Admission::Waiting | Admission::Admitted | Admission::Direct => {}
        }
        let (vouched, returns) = (record.vouched, broke || seat.phone.is_away());
        let let_in = is_let_in(Comes { how, vouched, attends: seat.attends(), returns });
        let (standing, receiver) = watch::channel(PhoneStanding::of_arrival());
        seat.phone =
            SeatPhone::On(OnLine { call, how, let_in, agreed, leg: None, muted: false, hand: false, standing });
        self.settle();
        // The server calls the number of the file; of who calls in, `tell_phone_match` says whether the number is it.
        self.set_phone_match(&record.id, (how == Arrival::Called).then_some(true));
        Ok(receiver)
    }

    /// The telephone of this call, while it is on the line.
    fn phone_of(&mut self, seat: &str, call: u64) -> Option<&mut OnLine> {
        self.seat_mut(seat)?.phone.on_line_mut().filter(|line| line.call == call)
    }

    /// Gives a telephone that is inside its leg.
    fn attach_phone(&mut self, id: &str, call: u64, leg: LegId) -> Option<LocalPort> {
        self.drop_phone_leg(id, call);
        let port = self.port.clone();
        let seat = self.seat_mut(id)?;
        let is_inside = seat.phone_stage() == Some(PhoneStage::Inside);
        if !is_inside || seat.phone.on_line().is_none_or(|line| line.call != call) {
            return None;
        }
        // The policy goes first, so that the leg's first packet meets it.
        port.send(Command::SetPolicy { room: port.room, seat: seat.number, policy: seat.policy() }).ok()?;
        // Before the command: the first report may come back at once.
        port.legs.insert(leg, port.room);
        let Ok(local) = port.plane.add_local_leg(port.worker, port.room, seat.number, leg) else {
            port.legs.remove(&leg);
            return None;
        };
        if let Some(line) = seat.phone.on_line_mut() {
            line.leg = Some(leg);
        }
        self.settle();
        Some(local)
    }

    /// Takes a telephone's sound away; does not settle.
    fn drop_phone_leg(&mut self, id: &str, call: u64) {
        if let Some(line) = self.phone_of(id, call)
            && let Some(leg) = line.leg.take()
        {
            self.port.remove_leg(leg);
            if let Some(seat) = self.seat_mut(id) {
                seat.tracks.retain(|track| track.leg != leg);
            }
        }
    }

    /// A call is over. True when the seat is kept for it.
    fn release_phone(&mut self, id: &str, call: u64, departure: Departure) -> bool {
        if self.phone_of(id, call).is_none() {
            return false;
        }
        self.drop_phone_leg(id, call);
        let Some(seat) = self.seat_mut(id) else { return false };
        let was_inside = seat.phone_stage() == Some(PhoneStage::Inside);
        seat.phone = if was_inside { SeatPhone::Away { call } } else { SeatPhone::Absent };
        seat.departure = departure;
        self.settle();
        was_inside
    }

    /// Nobody called back in time.
    fn expire_phone(&mut self, id: &str, call: u64, departure: Departure) {
        let Some(seat) = self.seat_mut(id) else { return };
        if matches!(seat.phone, SeatPhone::Away { call: of } if of == call) {
            seat.phone = SeatPhone::Absent;
            seat.departure = departure;
            self.settle();
        }
    }

    /// Puts a telephone out; its seat may go on by its page. False when none is on the line.
    pub(in crate::control) fn put_phone_out(&mut self, id: &str, out: PhoneOut) -> bool {
        let is_on_line = self.seat(id).is_some_and(|seat| seat.phone.on_line().is_some());
        if is_on_line {
            self.withdraw_phone(id, out);
            self.settle();
        }
        is_on_line
    }

    /// Tells a seat's telephone that it is out, and forgets it; does not settle. One that is away is forgotten too, unless the
    /// next call is that which it is awaited for. One that is still being called has nobody to speak to any more.
    pub(in crate::control) fn withdraw_phone(&mut self, id: &str, out: PhoneOut) {
        if out != PhoneOut::Replaced {
            self.call_off_unseated(id, out.cause());
        }
        let Some(seat) = self.seat(id) else { return };
        match seat.phone.on_line().map(|line| line.call) {
            Some(call) => self.drop_phone_leg(id, call),
            None if out == PhoneOut::Replaced => return,
            None => {}
        }
        let phone = self.seat_mut(id).map(|seat| std::mem::take(&mut seat.phone));
        if let Some(SeatPhone::On(line)) = phone {
            line.standing.send_modify(|standing| standing.stage = PhoneStage::Out(out));
        }
    }

    /// Calls off the call that is being made for a seat. Not one that has the seat: that is told by its place.
    fn call_off_unseated(&self, id: &str, cause: PhoneCause) {
        let is_seated = self.seat(id).is_some_and(|seat| seat.phone.came() == Some(Arrival::Called));
        if let Some(board) = self.phones.as_ref().filter(|_| !is_seated) {
            board.hang_up(id, cause);
        }
    }

    /// The practitioner agrees that encryption ends for a telephone that waits for that. False when none does.
    pub(in crate::control) fn agree_to_phone(&mut self, id: &str) -> bool {
        let Some(line) = self.seat_mut(id).and_then(|seat| seat.phone.on_line_mut()) else { return false };
        let waited = !std::mem::replace(&mut line.agreed, true);
        self.settle();
        waited
    }

    /// Lets a waiting telephone in beside whatever its seat is, by its host's word: what a telephone cannot show was said.
    /// Does not settle.
    pub(in crate::control) fn let_phone_in(&mut self, id: &str) {
        let cards = self.cards();
        let Some(seat) = self.seat_mut(id) else { return };
        let Some(line) = seat.phone.on_line_mut() else { return };
        line.let_in = true;
        let spoken: Vec<String> =
            seat.pending_gates(&cards).iter().filter_map(spoken_name).map(str::to_owned).collect();
        if !spoken.is_empty() && !std::mem::replace(&mut seat.gates_spoken, true) {
            self.chronicle.tell(id, &Fact::GatesSpoken { gates: spoken });
        }
    }

    fn answer_consent(&mut self, id: &str, accepted: bool) {
        let Some(text) = self.seat(id).and_then(|seat| seat.asked.consent()) else { return };
        // The version that is asked now: it cannot be another one's.
        self.answer(id, &GateAnswer::Consent { text, accepted }).ok();
    }

    /// Tells each call where it stands, after taking the sound of those that are not inside any more.
    pub(in crate::control) fn settle_phones(&mut self) {
        for index in 0..self.seats.len() {
            let seat = &mut self.seats[index];
            let (Some(stage), shut) = (seat.phone_stage(), seat.shut) else { continue };
            let Some(line) = seat.phone.on_line_mut() else { continue };
            if stage != PhoneStage::Inside
                && let Some(leg) = line.leg.take()
            {
                self.port.remove_leg(leg);
                seat.tracks.retain(|track| track.leg != leg);
            }
            let others = self.seats.iter().enumerate().filter(|(other, _)| *other != index);
            let now = PhoneStanding {
                stage,
                // Also the own page of a host who takes a telephone beside it.
                host_present: self.seats.iter().any(|seat| seat.attends() && seat.permissions().admit),
                alone: !others.map(|(_, other)| other).any(LiveSeat::attends),
                silenced: shut.silenced.microphone,
                aside: shut.aside,
            };
            let Some(line) = self.seats[index].phone.on_line() else { continue };
            line.standing.send_if_modified(|told| std::mem::replace(told, now) != now);
        }
    }
}

impl LiveSeat {
    /// Where its telephone stands, while one is on the line.
    pub(in crate::control) fn phone_stage(&self) -> Option<PhoneStage> {
        let consent_due = self.told.gates.iter().any(|gate| matches!(gate, Gate::Consent { .. }));
        Some(self.phone.on_line()?.stage(self.stage, consent_due))
    }

    /// Whether it takes part by telephone.
    pub(in crate::control) fn is_on_phone(&self) -> bool {
        self.phone_stage() == Some(PhoneStage::Inside)
    }

    /// Whether its telephone was in the room when it was heard last.
    fn phone_broke(&self) -> bool {
        self.is_on_phone() && self.telephone.is_unheard()
    }

    /// Whether a telephone on it waits for a host.
    pub(in crate::control) fn phone_waits(&self) -> bool {
        self.phone.on_line().is_some_and(|line| !line.let_in)
    }

    /// What its telephone says of where it is.
    pub(in crate::control) fn phone_presence(&self) -> Presence {
        match (&self.phone, self.phone_stage()) {
            (SeatPhone::Absent, _) => Presence::Absent,
            (SeatPhone::Away { .. }, _) if self.stage.is_inside() => Presence::Reconnecting,
            (SeatPhone::Away { .. }, _) => Presence::Absent,
            (SeatPhone::On(_), Some(PhoneStage::Inside)) => Presence::Present,
            (SeatPhone::On(_), _) => Presence::Waiting,
        }
    }

    /// What others see of its telephone.
    pub(in crate::control) fn phone_info(&self) -> Option<PhoneInfo> {
        let line = self.phone.on_line().filter(|_| self.is_on_phone())?;
        Some(PhoneInfo { hand: line.hand })
    }

    /// What it still has to pass. What a host has said to a telephone is not asked any more.
    pub(in crate::control) fn pending_gates(&self, cards: &[Card]) -> Vec<Gate> {
        let mut pending = gates::pending(&self.asked, &self.answers, cards, self.login_due);
        pending.retain(|gate| !(self.gates_spoken && spoken_name(gate).is_some()));
        pending
    }

    /// Whether somebody is on it who can be shown a card.
    pub(in crate::control) fn reads_cards(&self) -> bool {
        let phone_alone = self.visit == Visit::Absent && self.phone.is_there();
        self.asked.reads_cards() && self.attends() && !phone_alone && !self.gates_spoken
    }
}

/// The name of a gate that a telephone cannot show.
fn spoken_name(gate: &Gate) -> Option<&'static str> {
    match gate {
        Gate::Card { .. } => Some("card"),
        Gate::ThirdPerson => Some("third_person"),
        Gate::Preference => Some("preference"),
        Gate::Login | Gate::Consent { .. } => None,
    }
}

/// A room that closes while somebody arrives is opened again; more tries than this means that it keeps failing.
const ROOM_TRIES: usize = 3;
