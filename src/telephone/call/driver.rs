//! One call's owner: ties its machine to SIP, sound, control plane and time, and cleans up when it is dropped.
//!
//! ```text
//!   SIP: `Dialog`, `Dialling` --+                                  +--> SIP: dial, probe, hang up
//!   keys, `Sound` --------------+--Input--> `Machine` --Action-----+--> `Sound`: prompts, tone, mute, attach
//!   room, PIN: `Attendance` ----+                                  +--> `Attendance`: arrive, consent, hand, tell, leave
//!   stop, time -----------------+
//! ```
//!
//! One task a call. It decides nothing: that is the machine's. Every wait in it has a deadline of its own or of whom it waits for. Not
//! here: how a call comes to its task (`telephone::lines`).

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use colloque_signaling::message::{Language, PhoneCause};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, sleep_until};

use crate::control::phone::switchboard::CallTicket;
use crate::pii::Pii;
use crate::store::ConsultationRecord;
use crate::telephone::lines::{Lines, PinOpens};
use crate::telephone::media::{Connection, MediaEvent, MediaLeg};
use crate::telephone::prompts::Prompt;
use crate::telephone::sdp::Remote;
use crate::telephone::sip::{Dialog, DialogEvent, EndCause, Reason, ReofferFailure};
use crate::telephone::tally::Tally;
use crate::telephone::trunk::Place;

use super::attendance::{Attendance, Attended, Caller, Whose};
use super::description::Description;
use super::dialling::{Dialling, Step, Taken};
use super::key_ways::{KeyWays, Way};
use super::line::LineNews;
use super::machine::Machine;
use super::sound::Sound;
use super::{Action, Input, NotTaken, OutReason, RoomNews};

/// See the module.
pub(in crate::telephone) struct Driver {
    lines: Arc<Lines>,
    machine: Machine,
    sound: Sound,
    keys: KeyWays,
    attendance: Attendance,
    dialog: Option<Dialog>,
    /// A call that was not answered yet.
    dialling: Option<Dialling>,
    /// What the other side was asked, and has not answered: whether it is there, and our new description.
    probing: Option<Asking<bool>>,
    offering: Option<Asking<Result<Remote, ReofferFailure>>>,
    /// Its place on its trunk, as long as the call.
    line: Option<Place>,
    /// Nothing once it was told.
    stopping: Option<watch::Receiver<bool>>,
    language: Language,
    /// The line broke: nobody hung up.
    broken: bool,
    inputs: VecDeque<Input>,
    tally: Tally,
    beat: Interval,
}

/// A question to the other side, which may take its time.
type Asking<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What came first.
enum Came {
    Dialog(DialogEvent),
    Probed(bool),
    Offered(Result<Remote, ReofferFailure>),
    Progress(Step),
    Sound(Option<MediaEvent>),
    Attended(Attended),
    Stopping,
    Due,
    Beat,
}

impl Driver {
    /// A call of this machine, with its sound.
    pub(in crate::telephone) fn new(
        lines: Arc<Lines>,
        machine: Machine,
        sound: (MediaLeg, mpsc::Receiver<MediaEvent>),
        language: Language,
    ) -> Self {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            stopping: Some(lines.stopping()),
            tally: lines.tally(machine.direction()),
            sound: Sound::new(sound, lines.line_times()),
            keys: KeyWays::default(),
            attendance: Attendance::new(Arc::clone(&lines)),
            lines,
            machine,
            dialog: None,
            dialling: None,
            probing: None,
            offering: None,
            line: None,
            language,
            broken: false,
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
        (self.dialog, self.line) = (Some(dialog), Some(line));
        self.attendance.set_caller(caller);
        self.sound.begin(description, connection, Instant::now());
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
        self.dialling = Some(dialling);
        self.attendance.set_seat(whose, ticket, cancelled);
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
            alive = answered(&mut self.probing) => Came::Probed(alive),
            answer = answered(&mut self.offering) => Came::Offered(answer),
            step = next_of_call(&mut self.dialling) => Came::Progress(step),
            event = self.sound.next() => Came::Sound(event),
            attended = self.attendance.next() => Came::Attended(attended),
            () = stopped(&mut self.stopping) => Came::Stopping,
            () = wake(due) => Came::Due,
            _ = self.beat.tick() => Came::Beat,
        };
        match came {
            Came::Dialog(event) => self.handle_dialog(event),
            Came::Probed(true) => self.sound.handle_proof(Instant::now()),
            Came::Offered(Ok(remote)) => self.sound.accept(&remote),
            // The watch and the dialog's end say what follows.
            Came::Probed(false) | Came::Offered(Err(_)) => {}
            Came::Progress(step) => self.handle_progress(step),
            Came::Sound(event) => self.handle_sound(event),
            Came::Attended(Attended::Pin(opens)) => self.handle_pin(opens),
            Came::Attended(Attended::Room(news)) => self.inputs.push_back(Input::Room(news)),
            Came::Attended(Attended::Cancelled(cause)) => self.inputs.push_back(Input::Cancelled(cause)),
            Came::Stopping => self.inputs.push_back(Input::Draining),
            Came::Due => {
                let actions = self.machine.handle_timeout(Instant::now());
                self.act(actions).await;
            }
            Came::Beat => self.handle_beat(),
        }
    }

    fn handle_dialog(&mut self, event: DialogEvent) {
        match event {
            DialogEvent::Reoffer(reoffer) => {
                // Without an agreement the offer is refused, and the call goes on as before.
                if let Some(text) = self.sound.answer(reoffer.offer.as_ref()) {
                    reoffer.answer(text);
                    self.keys.handle_agreement();
                }
            }
            DialogEvent::Answer(remote) => self.sound.accept(&remote),
            DialogEvent::Renewed { ours, theirs } => self.sound.renew(&ours, &theirs),
            DialogEvent::Digit(digit) => {
                self.tally.record_key_by_info();
                self.handle_key(Way::Info, digit);
            }
            DialogEvent::Ended(cause) => {
                (self.dialog, self.probing, self.offering) = (None, None, None);
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
                (self.dialog, self.line) = (Some(dialog), Some(place));
                self.sound.begin(description, Some(connection), Instant::now());
                self.attendance.handle_answer();
                self.inputs.push_back(Input::Answered);
            }
        }
    }

    fn handle_sound(&mut self, event: Option<MediaEvent>) {
        match event {
            Some(MediaEvent::Key(key, way)) => self.handle_key(way.into(), key.label()),
            Some(MediaEvent::PromptDone(id)) => {
                if self.sound.handle_said(id) {
                    self.inputs.push_back(Input::Said);
                }
            }
            // Its worker's room was lost and opened again, or has no place for it.
            Some(MediaEvent::Unplugged) => self.attendance.set_attach_due(),
            // A fax machine hears no question.
            Some(MediaEvent::Fax) => self.inputs.push_back(Input::Cancelled(PhoneCause::NotConfirmed)),
            Some(MediaEvent::FirstPacket) => {}
            Some(MediaEvent::Quality(quality)) => self.tally.record_quality(&quality),
            Some(MediaEvent::Spoke) => self.inputs.push_back(Input::Spoke),
            // The thread is gone: nothing will ever be heard.
            None => {
                self.broken = true;
                self.inputs.push_back(Input::Room(RoomNews::Out(OutReason::Fault)));
            }
        }
    }

    fn handle_key(&mut self, way: Way, key: char) {
        if self.keys.handle_key(way, key, Instant::now()) {
            self.inputs.push_back(Input::Key(Pii(key)));
        }
    }

    fn handle_pin(&mut self, opens: PinOpens) {
        self.inputs.push_back(match opens {
            PinOpens::Seat(whose) => {
                self.language = language_of(&whose.consultation);
                self.attendance.handle_seat(*whose);
                Input::PinRight
            }
            PinOpens::Echo => Input::SelfTest,
            PinOpens::Nothing => Input::PinWrong,
            PinOpens::Fault => Input::PinFault,
        });
    }

    fn handle_beat(&mut self) {
        if self.dialog.is_some()
            && let Some(news) = self.sound.watch(Instant::now())
        {
            self.broken |= news == LineNews::GivenUp;
            self.inputs.push_back(Input::Line(news));
        }
        if self.attendance.is_attach_due() {
            self.attach();
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
                Action::Hush => self.sound.hush(),
                Action::WaitingTone(on) => self.sound.set_waiting_tone(on),
                Action::CheckPin(digits) => self.attendance.check_pin(digits),
                Action::Arrive => {
                    let news = self.attendance.arrive(&self.machine).await;
                    self.inputs.push_back(Input::Room(news));
                }
                Action::Consent(accepted) => self.attendance.with_place(|place| place.consent(accepted)),
                Action::Echo(on) => self.sound.set_echo(on),
                Action::Attach => self.attach(),
                Action::Detach => {
                    self.sound.detach();
                    self.attendance.detach();
                }
                Action::Mute(muted) => {
                    self.sound.set_muted(muted);
                    self.attendance.with_place(|place| place.set_muted(muted));
                }
                Action::Hand(up) => self.attendance.with_place(|place| place.set_hand(up)),
                Action::Probe => self.probe(),
                Action::Renegotiate => self.renegotiate(),
                Action::Tell(state, cause) => self.attendance.tell(state, cause),
                Action::Leave => self.attendance.leave(self.broken),
                Action::HangUp(reason) => self.hang_up(reason).await,
            }
        }
    }

    async fn dial(&mut self) {
        // A second attempt is in the books like the first one.
        if self.dialling.is_none() {
            match self.attendance.call_again().await {
                Ok(dialling) => self.dialling = Some(dialling),
                Err(cause) => self.inputs.push_back(Input::NotTaken(NotTaken::NotAllowed(cause))),
            }
        }
        if let Some(dialling) = &mut self.dialling {
            dialling.begin(self.sound.port());
        }
    }

    fn say(&mut self, prompt: Prompt) {
        self.sound.say(self.lines.clips(prompt, self.language));
    }

    fn attach(&mut self) {
        if let Some(port) = self.attendance.attach() {
            self.sound.attach(port);
        }
    }

    fn probe(&mut self) {
        self.probing = self.dialog.as_ref().map(|dialog| Box::pin(dialog.probe()) as Asking<_>);
    }

    fn renegotiate(&mut self) {
        if let Some(dialog) = &self.dialog
            && let Some(offer) = self.sound.offer()
        {
            self.offering = Some(Box::pin(dialog.reoffer(offer)));
        }
    }

    async fn hang_up(&mut self, reason: Reason) {
        if let Some(dialog) = self.dialog.take() {
            dialog.bye(reason).await;
        }
    }
}

fn language_of(consultation: &ConsultationRecord) -> Language {
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

/// What a question came to, once: then there is none.
async fn answered<T>(asking: &mut Option<Asking<T>>) -> T {
    let Some(answer) = asking else { return pending().await };
    let answer = answer.await;
    *asking = None;
    answer
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
