//! Whose a call is: the PIN that finds its seat, the seat's place in the consultation, its lines in the books, and what is told of it.
//!
//! Not here: when any of it is done (the machine), what the place allows (`control::phone::place`).

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

use colloque_signaling::message::{PhoneCause, PhoneState};
use tokio::sync::mpsc;

use crate::control::join::JoinError;
use crate::control::phone::pins::CallerMark;
use crate::control::phone::place::{PhonePlace, PhoneRefusal};
use crate::control::phone::seat_phone::{Arrival, PhoneOut, PhoneStage, PhoneStanding};
use crate::control::phone::switchboard::CallTicket;
use crate::pii::Pii;
use crate::store::{ConsultationRecord, SeatRecord};
use crate::telephone::lines::{Lines, PinOpens};
use crate::worker::local::LocalPort;

use super::dialling::Dialling;
use super::machine::Machine;
use super::{Company, OutReason, RoomNews};

/// The seat that a call is for.
#[derive(Clone)]
pub(in crate::telephone) struct Whose {
    pub(in crate::telephone) consultation: ConsultationRecord,
    pub(in crate::telephone) seat: SeatRecord,
}

/// Who calls, as far as guessing is concerned.
#[derive(Clone)]
pub(in crate::telephone) struct Caller {
    pub(in crate::telephone) mark: Option<CallerMark>,
    pub(in crate::telephone) trunk: String,
}

/// See the module.
pub(super) struct Attendance {
    lines: Arc<Lines>,
    /// Of a call that came in.
    caller: Option<Caller>,
    checking: Option<Checking>,
    whose: Option<Whose>,
    place: Option<PhonePlace>,
    /// In the books as long as the call.
    ticket: Option<CallTicket>,
    cancelled: Option<mpsc::Receiver<PhoneCause>>,
    /// Perhaps inside, and without the room's sound: its worker did not take the command, or let the leg go. To be asked again.
    attach_due: bool,
}

/// What is new.
pub(super) enum Attended {
    /// What a PIN opens.
    Pin(PinOpens),
    Room(RoomNews),
    /// The person of the seat, a host or the clinic hangs up.
    Cancelled(PhoneCause),
}

/// A PIN on its way through the store.
type Checking = Pin<Box<dyn Future<Output = PinOpens> + Send>>;

impl Attendance {
    /// Of a call of which nothing is known.
    pub(super) fn new(lines: Arc<Lines>) -> Self {
        Self {
            lines,
            caller: None,
            checking: None,
            whose: None,
            place: None,
            ticket: None,
            cancelled: None,
            attach_due: false,
        }
    }

    /// The call came in from there.
    pub(super) fn set_caller(&mut self, caller: Caller) {
        self.caller = Some(caller);
    }

    /// The call is made for this seat.
    pub(super) fn set_seat(&mut self, whose: Whose, ticket: CallTicket, cancelled: mpsc::Receiver<PhoneCause>) {
        (self.whose, self.ticket, self.cancelled) = (Some(whose), Some(ticket), Some(cancelled));
    }

    /// Another attempt of a call that we make, when its books allow it.
    pub(super) async fn call_again(&mut self) -> Result<Dialling, PhoneCause> {
        let (Some(whose), Some(ticket)) = (&self.whose, &self.ticket) else { return Err(PhoneCause::Fault) };
        self.lines.call_again(whose, ticket).await
    }

    /// The call that we make was answered: its minutes count.
    pub(super) fn handle_answer(&self) {
        if let Some(ticket) = &self.ticket {
            ticket.handle_answer();
        }
    }

    /// What comes next. Safe to cancel.
    pub(super) async fn next(&mut self) -> Attended {
        tokio::select! {
            standing = next_of_place(&mut self.place) => Attended::Room(news(standing)),
            opens = checked(&mut self.checking) => {
                self.checking = None;
                Attended::Pin(opens)
            }
            cause = next_cancel(&mut self.cancelled) => Attended::Cancelled(cause),
        }
    }

    /// Begins to look for the seat that these digits open.
    pub(super) fn check_pin(&mut self, digits: Pii<String>) {
        let Some(caller) = self.caller.clone() else { return };
        self.checking = Some(Box::pin(Arc::clone(&self.lines).check_pin(digits, caller)));
    }

    /// The PIN opened this seat.
    pub(super) fn handle_seat(&mut self, whose: Whose) {
        self.whose = Some(whose);
    }

    /// Takes the seat's place; says where it stands.
    pub(super) async fn arrive(&mut self, machine: &Machine) -> RoomNews {
        let Some(whose) = self.whose.clone() else { return RoomNews::Out(OutReason::Fault) };
        match place_of(&self.lines, &whose, matches!(machine, Machine::In(_))).await {
            Ok((place, ticket)) => {
                let Whose { consultation, seat } = &whose;
                if let Some(caller) = &self.caller {
                    let matches = self.lines.board().matches_file(caller.mark, seat);
                    self.lines.consultations().tell_phone_match(&consultation.id, &seat.id, matches);
                }
                let news = news(place.standing());
                self.place = Some(place);
                self.ticket = ticket.or(self.ticket.take());
                news
            }
            Err(reason) => RoomNews::Out(reason),
        }
    }

    /// The sound of the room, while it is inside.
    pub(super) fn attach(&mut self) -> Option<LocalPort> {
        let inside = self.place.as_ref().filter(|place| place.standing().stage == PhoneStage::Inside);
        let port = inside.map(PhonePlace::attach);
        self.attach_due = matches!(port, Some(None));
        port.flatten()
    }

    /// The sound of the room is gone: ask for it with the next beat, and not sooner, for it may go again.
    pub(super) fn set_attach_due(&mut self) {
        self.attach_due = true;
    }

    /// Whether the sound of the room was asked for in vain, or went.
    pub(super) fn is_attach_due(&self) -> bool {
        self.attach_due
    }

    pub(super) fn detach(&mut self) {
        self.attach_due = false;
        self.with_place(PhonePlace::detach);
    }

    pub(super) fn with_place(&self, act: impl FnOnce(&PhonePlace)) {
        if let Some(place) = &self.place {
            act(place);
        }
    }

    /// Tells pages and journal.
    pub(super) fn tell(&self, state: PhoneState, cause: Option<PhoneCause>) {
        if let Some(Whose { consultation, seat }) = &self.whose {
            let call = self.place.as_ref().map(PhonePlace::call);
            self.lines.consultations().tell_phone(consultation, &seat.id, call, state, cause);
        }
    }

    /// Gives the place up. A line that broke is told as lost; whoever hung up has left.
    pub(super) fn leave(&mut self, broken: bool) {
        match self.place.take() {
            Some(place) if !broken => place.hang_up(),
            place => drop(place),
        }
    }
}

/// The seat's place for this call. A call that came in takes a line; one that we make has its own already.
async fn place_of(
    lines: &Lines,
    Whose { consultation, seat }: &Whose,
    dialled_in: bool,
) -> Result<(PhonePlace, Option<CallTicket>), OutReason> {
    let (how, ticket) = if dialled_in {
        let ticket = lines.board().arrive(&consultation.clinic).map_err(|_| OutReason::LinesBusy)?;
        (Arrival::DialledIn, Some(ticket))
    } else {
        (Arrival::Called, None)
    };
    let place = lines.consultations().phone_arrive(consultation, seat, how).await;
    place.map(|place| (place, ticket)).map_err(|refusal| match refusal {
        PhoneRefusal::EncryptionRequired => OutReason::EncryptionRequired,
        PhoneRefusal::Join(JoinError::Over) => OutReason::Over,
        PhoneRefusal::Join(JoinError::Declined) => OutReason::Declined,
        PhoneRefusal::Join(JoinError::Full | JoinError::Draining) => OutReason::LinesBusy,
        PhoneRefusal::Join(JoinError::Store(_)) => OutReason::Fault,
        PhoneRefusal::Join(_) => OutReason::Removed,
    })
}

fn news(standing: PhoneStanding) -> RoomNews {
    let PhoneStanding { stage, host_present, alone, silenced, aside } = standing;
    match stage {
        PhoneStage::Waiting { consent_due, encryption_ends } => {
            RoomNews::Waiting { consent_due, encryption_ends, host_present }
        }
        PhoneStage::Inside => {
            let company = match (aside, alone) {
                (true, _) => Company::Apart,
                (false, true) => Company::Nobody,
                (false, false) => Company::Others,
            };
            RoomNews::Inside { company, silenced }
        }
        PhoneStage::Out(out) => RoomNews::Out(match out {
            PhoneOut::Removed => OutReason::Removed,
            PhoneOut::Declined => OutReason::Declined,
            PhoneOut::Over => OutReason::Over,
            PhoneOut::Replaced => OutReason::Replaced,
            PhoneOut::BackToPage => OutReason::BackToPage,
            PhoneOut::Cancelled => OutReason::Cancelled,
            PhoneOut::Fault => OutReason::Fault,
        }),
    }
}

async fn next_of_place(place: &mut Option<PhonePlace>) -> PhoneStanding {
    match place {
        Some(place) => place.changed().await,
        None => pending().await,
    }
}

async fn checked(checking: &mut Option<Checking>) -> PinOpens {
    match checking {
        Some(checking) => checking.await,
        None => pending().await,
    }
}

async fn next_cancel(cancelled: &mut Option<mpsc::Receiver<PhoneCause>>) -> PhoneCause {
    match cancelled {
        Some(cancels) => match cancels.recv().await {
            Some(cause) => cause,
            None => pending().await,
        },
        None => pending().await,
    }
}
