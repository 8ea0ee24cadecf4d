//! One call's owner: ties its machine to SIP, sound, control plane and time, and cleans up when it is dropped.
//!
//! ```text
//!   SIP dialog --+                                  +--> SIP: dial, probe, hang up
//!   keys, sound -+--Input--> machine --Action------+--> sound: prompts, tone, mute, attach
//!   room --------+           (dial_in, dial_out)    +--> room: arrive, consent, hand, leave
//!   wishes, time +                                  +--> pages and journal
//! ```
//!
//! One task a call. It decides nothing: that is the machine's. Every wait in it has a deadline of its own or of whom it waits for. Not
//! here: how a call comes to its task (`telephone::lines`).

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use colloque_signaling::message::{Language, PhoneCause, PhoneState};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, sleep_until};

use crate::control::join::JoinError;
use crate::control::phone::place::{PhonePlace, PhoneRefusal};
use crate::control::phone::seat_phone::{Arrival, PhoneOut, PhoneStage};
use crate::control::phone::switchboard::CallTicket;
use crate::pii::Pii;
use crate::store::{ConsultationRecord, SeatRecord};
use crate::telephone::lines::{Lines, Opened};
use crate::telephone::media::{Connection, MediaEvent, MediaLeg, PlayId};
use crate::telephone::prompts::Prompt;
use crate::telephone::sip::{Dialog, DialogEvent, EndCause, Reason};
use crate::telephone::tally::Tally;
use crate::telephone::trunk::Place;

use super::description::Description;
use super::dial_in::DialIn;
use super::dial_out::DialOut;
use super::dialling::{Dialling, Step, Taken};
use super::line::{Heard, LineNews, Watch};
use super::{Action, Input, OutReason, RoomNews};

/// A call in one of its two directions.
pub(in crate::telephone) enum Machine {
    In(DialIn),
    Out(DialOut),
}

/// The seat that a call is for.
#[derive(Clone)]
pub(in crate::telephone) struct Whose {
    pub(in crate::telephone) consultation: ConsultationRecord,
    pub(in crate::telephone) seat: SeatRecord,
}

/// Who calls, as far as guessing is concerned.
#[derive(Clone)]
pub(in crate::telephone) struct Caller {
    pub(in crate::telephone) mark: Option<crate::control::phone::pins::CallerMark>,
    pub(in crate::telephone) trunk: String,
}

/// See the module.
pub(in crate::telephone) struct Driver {
    lines: Arc<Lines>,
    machine: Machine,
    leg: MediaLeg,
    /// Nothing once its thread is gone.
    sound: Option<mpsc::Receiver<MediaEvent>>,
    description: Option<Description>,
    dialog: Option<Dialog>,
    /// A call that was not answered yet.
    dialling: Option<Dialling>,
    caller: Option<Caller>,
    checking: Option<Checking>,
    whose: Option<Whose>,
    place: Option<PhonePlace>,
    /// Its place on its trunk, as long as the call.
    line: Option<Place>,
    /// In the books as long as the call; a second attempt is there too.
    tickets: Vec<CallTicket>,
    cancelled: Option<mpsc::Receiver<PhoneCause>>,
    /// Nothing once it was told.
    stopping: Option<watch::Receiver<bool>>,
    language: Language,
    playing: Option<PlayId>,
    watch: Watch,
    /// Since when the call stands.
    answered: Option<Instant>,
    held: bool,
    /// It wants to hear something.
    listens: bool,
    /// The line broke: nobody hung up.
    broken: bool,
    /// Inside, and its worker had no room for the command: asked again with the next beat.
    attach_due: bool,
    muted: bool,
    inputs: VecDeque<Input>,
    tally: Tally,
    beat: Interval,
}

/// What came first.
enum Came {
    Dialog(DialogEvent),
    Progress(Step),
    Sound(Option<MediaEvent>),
    Room(PhoneStage),
    Pin(Opened),
    Cancelled(PhoneCause),
    Stopping,
    Due,
    Beat,
}

/// A PIN on its way through the store.
type Checking = Pin<Box<dyn Future<Output = Opened> + Send>>;

impl Machine {
    fn handle_input(&mut self, input: &Input, now: Instant) -> Vec<Action> {
        match self {
            Machine::In(call) => call.handle_input(input, now),
            Machine::Out(call) => call.handle_input(input, now),
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Vec<Action> {
        match self {
            Machine::In(call) => call.handle_timeout(now),
            Machine::Out(call) => call.handle_timeout(now),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Machine::In(call) => call.poll_timeout(),
            Machine::Out(call) => call.poll_timeout(),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Machine::In(call) => call.is_over(),
            Machine::Out(call) => call.is_over(),
        }
    }

    fn direction(&self) -> &'static str {
        match self {
            Machine::In(_) => "in",
            Machine::Out(_) => "out",
        }
    }
}

impl Driver {
    /// A call of this machine, with its sound.
    pub(in crate::telephone) fn new(
        lines: Arc<Lines>,
        machine: Machine,
        (leg, sound): (MediaLeg, mpsc::Receiver<MediaEvent>),
        language: Language,
    ) -> Self {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            stopping: Some(lines.stopping()),
            watch: Watch::new(lines.line_times()),
            tally: lines.tally(machine.direction()),
            lines,
            machine,
            leg,
            sound: Some(sound),
            description: None,
            dialog: None,
            dialling: None,
            caller: None,
            checking: None,
            whose: None,
            place: None,
            line: None,
            tickets: Vec::new(),
            cancelled: None,
            language,
            playing: None,
            answered: None,
            held: false,
            listens: false,
            broken: false,
            attach_due: false,
            muted: false,
            inputs: VecDeque::new(),
            beat,
        }
    }

    /// A call that came in and was answered.
    pub(in crate::telephone) fn answered(
        &mut self,
        dialog: Dialog,
        (description, connection): (Description, Option<Connection>),
        caller: Caller,
        line: Place,
    ) {
        self.tally.set_trunk(line.trunk());
        self.line = Some(line);
        (self.dialog, self.description, self.caller) = (Some(dialog), Some(description), Some(caller));
        if let Some(connection) = connection {
            self.connect(connection);
        }
        self.answered = Some(Instant::now());
        self.inputs.push_back(Input::Answered);
    }

    /// A call that is to be made for this seat.
    pub(in crate::telephone) fn calls(
        &mut self,
        whose: Whose,
        dialling: Dialling,
        ticket: CallTicket,
        cancelled: mpsc::Receiver<PhoneCause>,
    ) {
        (self.whose, self.dialling) = (Some(whose), Some(dialling));
        self.tickets.push(ticket);
        self.cancelled = Some(cancelled);
    }

    /// Runs the call to its end. `first`: what its machine said when it was made.
    pub(in crate::telephone) async fn run(mut self, first: Vec<Action>) {
        self.act(first).await;
        loop {
            while let Some(input) = self.inputs.pop_front() {
                let now = Instant::now();
                self.tally.handle_input(&input, now);
                let actions = self.machine.handle_input(&input, now);
                self.act(actions).await;
            }
            if self.machine.is_over() {
                return;
            }
            self.wait().await;
        }
    }

    /// Waits for whatever comes first.
    async fn wait(&mut self) {
        let due = self.machine.poll_timeout();
        let came = tokio::select! {
            event = next_of_dialog(&mut self.dialog) => Came::Dialog(event),
            step = next_of_call(&mut self.dialling) => Came::Progress(step),
            event = next_of_sound(&mut self.sound) => Came::Sound(event),
            stage = next_of_place(&mut self.place) => Came::Room(stage),
            whose = checked(&mut self.checking) => Came::Pin(whose),
            cause = next_cancel(&mut self.cancelled) => Came::Cancelled(cause),
            () = stopped(&mut self.stopping) => Came::Stopping,
            () = wake(due) => Came::Due,
            _ = self.beat.tick() => Came::Beat,
        };
        match came {
            Came::Dialog(event) => self.handle_dialog(event),
            Came::Progress(step) => self.handle_progress(step),
            Came::Sound(event) => self.handle_sound(event),
            Came::Room(stage) => self.inputs.push_back(Input::Room(news(stage))),
            Came::Pin(whose) => self.handle_pin(whose),
            Came::Cancelled(cause) => self.inputs.push_back(Input::Cancelled(cause)),
            Came::Stopping => self.inputs.push_back(Input::Draining),
            Came::Due => {
                let actions = self.machine.handle_timeout(Instant::now());
                self.act(actions).await;
            }
            Came::Beat => {
                self.watch_line();
                if self.attach_due {
                    self.attach();
                }
            }
        }
    }

    fn handle_dialog(&mut self, event: DialogEvent) {
        match event {
            DialogEvent::Reoffer(reoffer) => {
                let Some(description) = &mut self.description else { return };
                // Without an agreement the offer is refused, and the call goes on as before.
                if let Ok((connection, text)) = description.answer(reoffer.offer.as_ref()) {
                    reoffer.answer(text);
                    if let Some(connection) = connection {
                        self.connect(connection);
                    }
                }
            }
            DialogEvent::Answer(remote) => {
                if let Some(Ok(connection)) = self.description.as_mut().map(|ours| ours.accept(&remote)) {
                    self.connect(connection);
                }
            }
            DialogEvent::Digit(digit) => {
                self.tally.record_key_by_info();
                self.inputs.push_back(Input::Key(Pii(digit)));
            }
            DialogEvent::Ended(cause) => {
                self.dialog = None;
                self.broken |= !matches!(cause, EndCause::Bye | EndCause::ByUs);
                self.inputs.push_back(Input::HungUp);
            }
        }
    }

    fn handle_progress(&mut self, progress: Step) {
        if let Some(trunk) = self.dialling.as_ref().and_then(Dialling::trunk) {
            self.tally.set_trunk(trunk);
        }
        match progress {
            Step::Ringing => self.inputs.push_back(Input::Ringing),
            Step::AnotherLine => self.inputs.push_back(Input::AnotherLine),
            Step::NotTaken(why) => {
                self.dialling = None;
                self.inputs.push_back(Input::NotTaken(why));
            }
            Step::Answered(taken) => {
                let Taken { dialog, description, connection, place } = *taken;
                self.dialling = None;
                (self.dialog, self.description, self.line) = (Some(dialog), Some(description), Some(place));
                self.connect(connection);
                self.answered = Some(Instant::now());
                if let Some(ticket) = self.tickets.last() {
                    ticket.handle_answer();
                }
                self.inputs.push_back(Input::Answered);
            }
        }
    }

    fn handle_sound(&mut self, event: Option<MediaEvent>) {
        match event {
            Some(MediaEvent::Key(key, _)) => self.inputs.push_back(Input::Key(Pii(key.label()))),
            Some(MediaEvent::PromptDone(id)) if self.playing == Some(id) => {
                self.playing = None;
                self.inputs.push_back(Input::Said);
            }
            // Its worker's room was lost and opened again.
            Some(MediaEvent::Unplugged) => self.attach(),
            // A fax machine hears no question.
            Some(MediaEvent::Fax) => self.inputs.push_back(Input::Cancelled(PhoneCause::NotConfirmed)),
            Some(MediaEvent::PromptDone(_) | MediaEvent::FirstPacket) => {}
            Some(MediaEvent::Quality(quality)) => self.tally.record_quality(&quality),
            Some(MediaEvent::Spoke) => self.inputs.push_back(Input::Spoke),
            // The thread is gone: nothing will ever be heard.
            None => {
                self.broken = true;
                self.sound = None;
                self.inputs.push_back(Input::Room(RoomNews::Out(OutReason::Fault)));
            }
        }
    }

    fn handle_pin(&mut self, opened: Opened) {
        self.checking = None;
        self.inputs.push_back(match opened {
            Opened::Seat(whose) => {
                self.language = language_of(&whose.consultation);
                self.whose = Some(*whose);
                Input::PinRight
            }
            Opened::Echo => Input::SelfTest,
            Opened::Nothing => Input::PinWrong,
        });
    }

    fn watch_line(&mut self) {
        let Some(since) = self.answered.filter(|_| self.dialog.is_some()) else { return };
        let last = self.leg.last_heard();
        let (sent, listens) = (self.leg.last_sent(), self.listens);
        let heard = Heard { since, rtp: last.sound, rtcp: last.report, held: self.held, sent, listens };
        if let Some(news) = self.watch.handle_reading(heard, Instant::now()) {
            self.broken |= news == LineNews::GivenUp;
            self.inputs.push_back(Input::Line(news));
        }
    }

    async fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.tally.handle_action(&action, Instant::now());
            match action {
                // An incoming call was answered before its machine began: keys need an answered call.
                Action::Answer => {}
                Action::Dial => self.dial().await,
                Action::GiveUp => self.dialling = None,
                Action::Say(prompt) => self.say(prompt),
                Action::Hush => {
                    self.playing = None;
                    self.leg.play(Vec::new());
                }
                Action::WaitingTone(on) => self.leg.set_waiting_tone(on),
                Action::CheckPin(digits) => self.check_pin(digits),
                Action::Arrive => self.arrive().await,
                Action::Consent(accepted) => self.with_place(|place| place.consent(accepted)),
                Action::Echo(on) => self.leg.set_echo(on),
                Action::Attach => self.attach(),
                Action::Detach => {
                    self.attach_due = false;
                    self.leg.detach();
                    self.with_place(PhonePlace::detach);
                }
                Action::Mute(muted) => {
                    self.muted = muted;
                    self.leg.set_muted(muted);
                    self.with_place(|place| place.set_muted(muted));
                }
                Action::Hand(up) => self.with_place(|place| place.set_hand(up)),
                Action::Probe => self.probe().await,
                Action::Renegotiate => self.renegotiate().await,
                Action::Tell(state, cause) => self.tell(state, cause),
                Action::Leave => self.leave(),
                Action::HangUp => self.hang_up().await,
            }
        }
    }

    async fn dial(&mut self) {
        // A second attempt is in the books like the first one.
        if self.dialling.is_none()
            && let Some(whose) = &self.whose
        {
            match self.lines.call_again(whose) {
                Ok((dialling, ticket)) => {
                    self.dialling = Some(dialling);
                    self.tickets.push(ticket);
                }
                Err(cause) => self.inputs.push_back(Input::NotTaken(super::NotTaken::NotAllowed(cause))),
            }
        }
        if let Some(dialling) = &mut self.dialling {
            dialling.begin(self.leg.port());
        }
    }

    fn say(&mut self, prompt: Prompt) {
        let clips = self.lines.clips(prompt, self.language);
        self.playing = Some(self.leg.play(clips));
    }

    fn check_pin(&mut self, digits: Pii<String>) {
        let Some(caller) = self.caller.clone() else { return };
        self.checking = Some(Box::pin(Arc::clone(&self.lines).check_pin(digits, caller)));
    }

    async fn arrive(&mut self) {
        let Some(whose) = self.whose.clone() else { return };
        let dialled_in = matches!(self.machine, Machine::In(_));
        let arrived = place_of(Arc::clone(&self.lines), whose, dialled_in).await;
        let news = match arrived {
            Ok((place, ticket)) => {
                if let (Some(caller), Some(Whose { consultation, seat })) = (&self.caller, &self.whose) {
                    let matches = self.lines.board().matches_file(caller.mark, seat);
                    self.lines.consultations().tell_phone_match(&consultation.id, &seat.id, matches);
                }
                let news = news(place.standing().stage);
                self.place = Some(place);
                self.tickets.extend(ticket);
                news
            }
            Err(reason) => RoomNews::Out(reason),
        };
        self.inputs.push_back(Input::Room(news));
    }

    fn attach(&mut self) {
        let inside = self.place.as_ref().filter(|place| place.standing().stage == PhoneStage::Inside);
        let port = inside.map(PhonePlace::attach);
        self.attach_due = matches!(port, Some(None));
        if let Some(port) = port.flatten() {
            self.leg.attach(port);
        }
    }

    async fn probe(&mut self) {
        if let Some(dialog) = &self.dialog
            && dialog.probe().await
        {
            self.watch.handle_proof(Instant::now());
        }
    }

    async fn renegotiate(&mut self) {
        let (Some(dialog), Some(description)) = (&self.dialog, &mut self.description) else { return };
        if let Ok(remote) = dialog.reoffer(description.offer()).await
            && let Ok(connection) = description.accept(&remote)
        {
            self.connect(connection);
        }
    }

    fn connect(&mut self, connection: Connection) {
        (self.held, self.listens) = (!connection.receives, connection.sends);
        self.leg.connect(connection);
    }

    fn tell(&self, state: PhoneState, cause: Option<PhoneCause>) {
        if let Some(Whose { consultation, seat }) = &self.whose {
            self.lines.consultations().tell_phone(consultation, &seat.id, state, cause);
        }
    }

    /// A line that broke is told as lost; whoever hung up has left.
    fn leave(&mut self) {
        match self.place.take() {
            Some(place) if !self.broken => place.hang_up(),
            place => drop(place),
        }
    }

    async fn hang_up(&mut self) {
        if let Some(dialog) = self.dialog.take() {
            dialog.bye(Reason::Normal).await;
        }
    }

    fn with_place(&self, act: impl FnOnce(&PhonePlace)) {
        if let Some(place) = &self.place {
            act(place);
        }
    }
}

/// The seat's place for this call. A call that came in takes a line; one that we make has its own already.
async fn place_of(
    lines: Arc<Lines>,
    whose: Whose,
    dialled_in: bool,
) -> Result<(PhonePlace, Option<CallTicket>), OutReason> {
    let Whose { consultation, seat } = whose;
    let (how, ticket) = if dialled_in {
        let ticket = lines.board().arrive(&consultation.clinic).map_err(|_| OutReason::LinesBusy)?;
        (Arrival::DialledIn, Some(ticket))
    } else {
        (Arrival::Called, None)
    };
    let place = lines.consultations().phone_arrive(&consultation, &seat, how).await;
    place.map(|place| (place, ticket)).map_err(|refusal| match refusal {
        PhoneRefusal::EncryptionRequired => OutReason::EncryptionRequired,
        PhoneRefusal::Join(JoinError::Over) => OutReason::Over,
        PhoneRefusal::Join(JoinError::Declined) => OutReason::Declined,
        PhoneRefusal::Join(JoinError::Full | JoinError::Draining) => OutReason::LinesBusy,
        PhoneRefusal::Join(JoinError::Store(_)) => OutReason::Fault,
        PhoneRefusal::Join(_) => OutReason::Removed,
    })
}

fn news(stage: PhoneStage) -> RoomNews {
    match stage {
        PhoneStage::Waiting { consent_due, encryption_ends } => RoomNews::Waiting { consent_due, encryption_ends },
        PhoneStage::Inside => RoomNews::Inside,
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

pub(in crate::telephone) fn language_of(consultation: &ConsultationRecord) -> Language {
    if consultation.language == "en" { Language::En } else { Language::Fr }
}

async fn next_of_dialog(dialog: &mut Option<Dialog>) -> DialogEvent {
    match dialog {
        Some(dialog) => dialog.next().await,
        None => pending().await,
    }
}

async fn next_of_call(dialling: &mut Option<Dialling>) -> Step {
    match dialling {
        Some(dialling) => dialling.next().await,
        None => pending().await,
    }
}

async fn next_of_sound(sound: &mut Option<mpsc::Receiver<MediaEvent>>) -> Option<MediaEvent> {
    match sound {
        Some(sound) => sound.recv().await,
        None => pending().await,
    }
}

async fn next_of_place(place: &mut Option<PhonePlace>) -> PhoneStage {
    match place {
        Some(place) => place.changed().await.stage,
        None => pending().await,
    }
}

async fn checked(checking: &mut Option<Checking>) -> Opened {
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

async fn stopped(stopping: &mut Option<watch::Receiver<bool>>) {
    let Some(told) = stopping else { return pending().await };
    // The sender lives as long as the lines, which this call holds.
    told.wait_for(|stopping| *stopping).await.ok();
    *stopping = None;
}

async fn wake(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => pending().await,
    }
}

/// Between two looks at whether the telephone is heard: with the watch's own time, one-way sound is told within five seconds.
const BEAT: Duration = Duration::from_millis(500);
