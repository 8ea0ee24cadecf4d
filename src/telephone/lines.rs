//! The telephone of a server: takes calls that come in, makes those that control asks for, and lets all of them end in peace.
//!
//! ```text
//!   SIP endpoint --Incoming--> [a line free? sound agreed?] --> answered --> a task with its driver
//!   control ------DialOrder--> [lines in order] ------------------------^
//! ```
//!
//! What all calls share lives here: SIP, media threads, prompts, the way to control. Not here: one call (`call`).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use colloque_signaling::message::{Language, PhoneCause, PhoneState};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;

use crate::config::telephone::{TelephoneConfig, TrunkConfig, TrunkName};
use crate::control::Consultations;
use crate::control::metrics::{CallOutcome, NO_TRUNK};
use crate::control::phone::pins::{PinFinds, Try};
use crate::control::phone::switchboard::{CallTicket, DialOrder, Switchboard, check_wanted};
use crate::pii::Pii;

use super::call::Times;
use super::call::attendance::{Caller, Whose};
use super::call::description::Description;
use super::call::dial_in::DialIn;
use super::call::dial_out::DialOut;
use super::call::dialling::Dialling;
use super::call::driver::Driver;
use super::call::line::LineTimes;
use super::call::machine::Machine;
use super::call::test_call;
use super::figures::Figures;
use super::media::{Clip, LegSpec, MediaEvent, MediaLeg, MediaPool, OpenError};
use super::prompts::{Prompt, Prompts};
use super::sdp::Rules;
use super::sip::{Counters, Endpoint, InboundCall, Incoming, Refusal};
use super::tally::{CallFigures, RefusedHere, Tally};
use super::trunk::Trunks;

/// What all calls share.
pub struct Lines {
    endpoint: Arc<Endpoint>,
    trunks: Trunks,
    media: MediaPool,
    media_ip: IpAddr,
    prompts: Prompts,
    consultations: Arc<Consultations>,
    board: Arc<Switchboard>,
    stop: watch::Sender<bool>,
    running: Arc<AtomicUsize>,
    figures: Arc<CallFigures>,
}

/// What the telephone is made of.
pub struct Parts {
    /// SIP, started.
    pub endpoint: Arc<Endpoint>,
    /// Calls that come in.
    pub incoming: mpsc::Receiver<Incoming>,
    /// Media threads.
    pub media: MediaPool,
    /// Where the other side is to send sound.
    pub media_ip: IpAddr,
    /// What is said.
    pub prompts: Prompts,
    /// The use cases.
    pub consultations: Arc<Consultations>,
    /// The telephone as control knows it.
    pub board: Arc<Switchboard>,
    /// Calls that control asks for.
    pub orders: mpsc::Receiver<DialOrder>,
}

/// What digits open.
pub(super) enum PinOpens {
    /// A seat.
    Seat(Box<Whose>),
    /// The test of a line.
    Echo,
    /// Nothing, or nothing now.
    Nothing,
    /// Nobody can say.
    Fault,
}

/// A running call, counted.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lines {
    /// Takes and makes calls from now on.
    #[must_use]
    pub fn start(parts: Parts) -> Arc<Lines> {
        let Parts { endpoint, mut incoming, media, media_ip, prompts, consultations, board, mut orders } = parts;
        let config = board.config();
        let figures = CallFigures::new(consultations.metrics(), &config.trunks);
        let mut tests = board.test_orders();
        let lines = Arc::new(Lines {
            endpoint: Arc::clone(&endpoint),
            trunks: Trunks::start(Arc::clone(&endpoint), &config.trunks, config.dialout.ring),
            media,
            media_ip,
            prompts,
            consultations,
            board,
            stop: watch::channel(false).0,
            running: Arc::default(),
            figures,
        });
        let figures = Figures::new(Arc::downgrade(&lines));
        lines.consultations.metrics().register(Box::new(figures));
        let taking = Arc::clone(&lines);
        tokio::spawn(async move {
            while let Some(call) = incoming.recv().await {
                taking.spawn(Arc::clone(&taking).take(call));
            }
        });
        let making = Arc::clone(&lines);
        tokio::spawn(async move {
            while let Some(order) = orders.recv().await {
                making.spawn(Arc::clone(&making).make(order));
            }
        });
        let testing = Arc::clone(&lines);
        tokio::spawn(async move {
            while let Some(order) = tests.recv().await {
                testing.spawn(test_call::run(Arc::clone(&testing), order));
            }
        });
        lines
    }

    /// Tells every call that the server stops, and waits until they have said goodbye, or for some seconds. Then hangs up on the rest, and
    /// takes our registrations back.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let deadline = tokio::time::Instant::now() + GOODBYES_MAX;
        while self.running.load(Ordering::Relaxed) > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Registrations go last: some networks end the calls of a line with them.
        self.endpoint.close(HANG_UPS_MAX).await;
        self.trunks.stop().await;
        self.consultations.tell_phone_minutes();
    }

    /// The limits of this configuration hold for calls that begin from now on; what runs goes on as it began. Addresses and lines stay
    /// as they were opened ([`TelephoneConfig::with_limits_of`]).
    pub fn set_limits(&self, new: &TelephoneConfig) {
        let config = self.config().with_limits_of(new);
        self.endpoint.set_trunks(config.trunks.clone());
        self.trunks.set_limits(&config.trunks, config.dialout.ring);
        self.media.set_legs_max(config.max_legs);
        self.board.set_config(Arc::new(config));
    }

    /// Calls that run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    fn spawn(&self, call: impl Future<Output = ()> + Send + 'static) {
        self.running.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(&self.running));
        tokio::spawn(async move {
            // A panic of one call ends this task alone: its owner's drop hangs up.
            let _counted = counted;
            call.await;
        });
    }

    async fn take(self: Arc<Self>, incoming: Incoming) {
        let Incoming { trunk, called: _, caller, offer, secure, call } = incoming;
        let refuse = async |call: InboundCall, why: RefusedHere, answer: Refusal| {
            self.figures.count_refused(why);
            call.refuse(answer).await;
        };
        let Some(config) = self.trunk(&trunk) else { return call.refuse(Refusal::NotFound).await };
        if *self.stop.borrow() {
            return refuse(call, RefusedHere::Stopping, Refusal::Overloaded).await;
        }
        let Some(place) = self.trunks.admit(&trunk) else {
            return refuse(call, RefusedHere::Quota, Refusal::Busy).await;
        };
        let Ok((leg, sound)) = self.open_on(&trunk) else {
            return refuse(call, RefusedHere::Full, Refusal::Overloaded).await;
        };
        let rules = Rules { codecs: config.codecs.clone(), srtp: config.srtp, secure };
        let mut description = self.describe(leg.port(), rules);
        let (connection, text) = match description.answer(offer.as_ref()) {
            Ok(agreed) => agreed,
            Err(why) => return refuse(call, why.into(), Refusal::Media).await,
        };
        call.ring().await;
        // Whoever hung up meanwhile is gone.
        let Ok(dialog) = call.answer(text).await else { return };
        let (machine, first) = DialIn::new(self.times());
        let language = self.config().languages.first().map_or(Language::Fr, |language| language_named(language));
        let caller = Caller { mark: self.board.mark(caller.as_ref()), trunk: trunk.to_string() };
        let mut driver = Driver::new(Arc::clone(&self), Machine::In(machine), (leg, sound), language);
        driver.answered(dialog, (description, connection), caller, place);
        driver.run(first).await;
    }

    async fn make(self: Arc<Self>, order: DialOrder) {
        let DialOrder { consultation, seat, number, language, ticket, cancelled } = order;
        // It may have been put out while its call was on the way here. Where that cannot be read, it is as it was when it was asked for.
        let (consultation, seat) = match self.consultations.journal().seat(&seat.id).await {
            Ok(Some(now)) => now,
            Ok(None) => return,
            Err(_) => (consultation, seat),
        };
        let opened = check_wanted(&consultation, &seat).and_then(|()| {
            self.media.open(LegSpec { learnable: self.media_networks() }).map_err(|_| PhoneCause::LinesBusy)
        });
        let (leg, sound) = match opened {
            Ok(opened) => opened,
            Err(cause) => {
                self.consultations.metrics().count_call("out", NO_TRUNK, CallOutcome::Seat(cause));
                return self.consultations.tell_phone(&consultation, &seat.id, None, PhoneState::Failed, Some(cause));
            }
        };
        let (machine, first) = DialOut::new(self.times(), Instant::now());
        let dialling = Dialling::new(Arc::clone(&self), number);
        let mut driver = Driver::new(Arc::clone(&self), Machine::Out(machine), (leg, sound), language);
        driver.calls(Whose { consultation, seat }, dialling, ticket, cancelled);
        driver.run(first).await;
    }

    /// Another attempt of the same call, when its books and its seat allow it as they are now.
    pub(super) async fn call_again(
        self: &Arc<Self>,
        whose: &Whose,
        ticket: &CallTicket,
    ) -> Result<Dialling, PhoneCause> {
        let found = self.consultations.journal().seat(&whose.seat.id).await.map_err(|error| {
            tracing::error!(%error, "no telephone can be called again");
            PhoneCause::Fault
        })?;
        // An erased one is nowhere.
        let (consultation, seat) = found.ok_or(PhoneCause::Over)?;
        let number = self.board.call_again(&consultation, &seat, ticket)?;
        Ok(Dialling::new(Arc::clone(self), number))
    }

    /// What these digits open, always after the same time.
    pub(super) async fn check_pin(self: Arc<Self>, digits: Pii<String>, caller: Caller) -> PinOpens {
        let pace = self.board.pace(caller.mark, &caller.trunk);
        let answer_at = Instant::now() + pace.answer_after;
        let metrics = self.consultations.metrics();
        // Shorter than every PIN: no seat is under it, and nothing is learnt by guessing it.
        if self.config().self_test_code.as_ref() == Some(&digits.0) {
            sleep_until(answer_at.into()).await;
            return if pace.barred { PinOpens::Nothing } else { PinOpens::Echo };
        }
        let found = self.consultations.open_pin(&digits).await;
        let tried = found.as_ref().map(|found| Try::of(found, pace.barred));
        metrics.count_pin(tried.as_ref().map_or("fault", |tried| tried.label()));
        if tried.is_ok_and(Try::is_guess) {
            self.board.handle_wrong_pin(caller.mark, &caller.trunk);
        }
        sleep_until(answer_at.into()).await;
        match found {
            Ok(_) if pace.barred => PinOpens::Nothing,
            Ok(PinFinds::Seat(found)) => {
                let (consultation, seat) = *found;
                PinOpens::Seat(Box::new(Whose { consultation, seat }))
            }
            Ok(PinFinds::Outside | PinFinds::Nothing) => PinOpens::Nothing,
            Err(error) => {
                tracing::error!(%error, "no PIN can be checked");
                PinOpens::Fault
            }
        }
    }

    /// The clips of a prompt, with what belongs to it.
    pub(super) fn clips(&self, prompt: Prompt, language: Language) -> Vec<Clip> {
        let with = match prompt {
            Prompt::Waiting | Prompt::HostAbsent => vec![prompt, Prompt::NotPrivate],
            _ => vec![prompt],
        };
        with.into_iter().map(|prompt| self.clip(prompt, language)).collect()
    }

    fn clip(&self, prompt: Prompt, language: Language) -> Clip {
        use colloque_sound::Rate;
        let samples = |rate| Arc::clone(self.prompts.samples(language, prompt, rate));
        Clip::new(samples(Rate::Narrow), samples(Rate::Wide))
    }

    /// Our side of the descriptions of a call whose sound comes to this port.
    pub(super) fn describe(&self, port: u16, rules: Rules) -> Description {
        Description::new(SocketAddr::new(self.media_ip, port), rules)
    }

    /// The media of a call on this line.
    pub(super) fn open_on(&self, trunk: &TrunkName) -> Result<(MediaLeg, mpsc::Receiver<MediaEvent>), OpenError> {
        let learnable = self.trunk(trunk).map(|config| config.media_allow.clone()).unwrap_or_default();
        self.media.open(LegSpec { learnable })
    }

    /// For one call.
    pub(super) fn tally(&self, direction: &'static str) -> Tally {
        Tally::new(Arc::clone(&self.figures), Arc::clone(&self.consultations) as _, direction)
    }

    /// What calls add to the figures.
    pub(super) fn call_figures(&self) -> &Arc<CallFigures> {
        &self.figures
    }

    pub(super) fn media(&self) -> &MediaPool {
        &self.media
    }

    pub(super) fn sip_counters(&self) -> &Counters {
        self.endpoint.counters()
    }

    pub(super) fn trunks(&self) -> &Trunks {
        &self.trunks
    }

    pub(super) fn board(&self) -> &Switchboard {
        &self.board
    }

    pub(super) fn consultations(&self) -> &Arc<Consultations> {
        &self.consultations
    }

    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stop.subscribe()
    }

    pub(super) fn line_times(&self) -> LineTimes {
        let config = self.config();
        LineTimes { silence: config.media_silence, lost: config.media_lost }
    }

    fn times(&self) -> Times {
        let config = self.config();
        let (pin, out) = (&config.pin, &config.dialout);
        Times {
            pin_tries: pin.tries,
            pin_digits: pin.digits,
            inter_digit: pin.inter_digit,
            pin_total: pin.total,
            ring: out.ring,
            busy_retry: out.busy_retry,
            confirm: out.confirm,
            call_max: out.max,
        }
    }

    fn trunk(&self, name: &TrunkName) -> Option<TrunkConfig> {
        self.config().trunks.iter().find(|trunk| trunk.name == *name).cloned()
    }

    fn config(&self) -> Arc<TelephoneConfig> {
        self.board.config()
    }

    fn media_networks(&self) -> Vec<crate::config::telephone::Network> {
        self.config().trunks.iter().flat_map(|trunk| trunk.media_allow.iter().copied()).collect()
    }
}

fn language_named(name: &str) -> Language {
    if name == "en" { Language::En } else { Language::Fr }
}

/// The longest goodbye that a stopping server waits for.
const GOODBYES_MAX: Duration = Duration::from_secs(8);
/// For the BYEs of calls that were still talking then, with their answers.
const HANG_UPS_MAX: Duration = Duration::from_secs(4);
