//! An answered call: the task that owns its dialog.
//!
//! ```text
//!  Dialog --commands--> task --requests--> the other side
//!     ^------events-----  ^----requests---
//! ```
//!
//! Not here: the handle (`dialog`), how the call came about, offers within it (`offers`). One task does everything in its order; what has to
//! wait for an answer of the other side waits in a task of its own and reports back. When the handle is dropped the task says BYE; when
//! the task ends the call is forgotten.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rsipstack::sip::{Method, Response, SipMessage};
use rsipstack::transaction::transaction::Transaction;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

use crate::config::telephone::TrunkConfig;
use crate::telephone::sdp::Remote;

use super::afterlife::hang_up;
use super::causes::{EndCause, Reason};
use super::dialog::{Command, DialogEvent, ReofferFailure};
use super::endpoint::{ALLOW, SUPPORTED, reply};
use super::exchange::{ProbeFailure, Pump};
use super::hub::{Flow, Hub, Registered};
use super::inspection::unsupported;
use super::offers::{News, Outgoing, Pending, pending};
use super::session_timer::{Due, Said, SessionTimer};
use super::state::DialogState;
use super::{fields, info};

/// What a call consists of.
pub(super) struct Parts {
    pub(super) hub: Arc<Hub>,
    pub(super) trunk: TrunkConfig,
    pub(super) flow: Flow,
    pub(super) state: DialogState,
    /// Taken out of the register when the call is forgotten.
    pub(super) _registered: Registered,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) requests: mpsc::Receiver<Transaction>,
    pub(super) events: mpsc::Sender<DialogEvent>,
    pub(super) end: Arc<OnceLock<EndCause>>,
    /// An INVITE that we answered with 200 and that waits for its ACK; whether the ACK brings the answer.
    pub(super) unacknowledged: Option<(Pump, bool)>,
    pub(super) timer: SessionTimer,
    /// The other side knows UPDATE.
    pub(super) update: bool,
    /// Our description in force.
    pub(super) sdp: String,
}

pub(super) struct Call {
    pub(super) parts: Parts,
    /// Their offer that waits for our user.
    pub(super) pending: Option<Pending>,
    /// Our offer that waits for them.
    pub(super) outgoing: Option<Outgoing>,
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
}

/// What came of a request of ours.
pub(super) enum Report {
    Offer(Result<Response, ProbeFailure>),
    Refresh(Result<Response, ProbeFailure>),
    /// `renews`: the request was an UPDATE.
    Probe {
        response: Result<Response, ProbeFailure>,
        renews: bool,
        done: oneshot::Sender<bool>,
    },
}

pub(super) type Step = ControlFlow<EndCause>;

impl Call {
    pub(super) fn new(parts: Parts) -> Call {
        Call { parts, pending: None, outgoing: None, reports: mpsc::channel(REPORTS_MAX) }
    }

    /// Until the call is over.
    pub(super) async fn run(mut self) {
        let cause = loop {
            let (tick, hub) = (self.next_tick(), Arc::clone(&self.parts.hub));
            // In this order: an ACK is heard before the BYE that followed it.
            let step = tokio::select! {
                biased;
                () = hub.closing() => self.hang_up_heard(Reason::Shutdown).await,
                command = self.parts.commands.recv() => self.handle_command(command).await,
                message = unacknowledged(&mut self.parts.unacknowledged) => self.handle_acknowledged(message),
                Some(request) = self.parts.requests.recv() => self.handle_request(request),
                news = pending(&mut self.pending) => match news {
                    News::Message(message) => self.handle_pending_message(message),
                    News::Answer(answer) => self.handle_answer(answer),
                },
                Some(report) = self.reports.1.recv() => self.handle_report(report),
                () = sleep_until(tick.into()) => self.handle_tick(),
            };
            if let ControlFlow::Break(cause) = step {
                break cause;
            }
        };
        let _ = self.parts.end.set(cause);
        if let Some(pending) = self.pending.take() {
            pending.refuse(&self.parts, 487);
        }
    }

    async fn handle_command(&mut self, command: Option<Command>) -> Step {
        match command {
            None => self.hang_up(Reason::Normal, EndCause::ByUs),
            Some(Command::Bye { reason, done }) => {
                let over = self.hang_up_heard(reason).await;
                let _ = done.send(());
                over
            }
            Some(Command::Reoffer { sdp, done }) => {
                if self.outgoing.is_some() || self.pending.is_some() {
                    let _ = done.send(Err(ReofferFailure::Pending));
                } else {
                    self.outgoing = Some(Outgoing::new(sdp, Some(done)));
                    self.send_offer();
                }
                ControlFlow::Continue(())
            }
            Some(Command::Probe { done }) => {
                let renews = self.parts.update;
                let method = if renews { "UPDATE" } else { "OPTIONS" };
                let limit = self.parts.hub.settings.timers.request;
                let report = move |response| Report::Probe { response, renews, done };
                self.ask(method, self.session_lines(), None, limit, report);
                ControlFlow::Continue(())
            }
            // An answered call neither rings nor is refused.
            Some(Command::Ring | Command::Answer { .. } | Command::Refuse(_)) => ControlFlow::Continue(()),
        }
    }

    /// A request of the other side within the dialog.
    fn handle_request(&mut self, request: Transaction) -> Step {
        let headers = &request.original.headers;
        let from = fields::one(headers, "From").and_then(fields::Address::parse);
        if from.and_then(|from| from.param("tag").map(str::to_owned)).as_deref() != Some(&self.parts.state.remote_tag) {
            reply(request, 481, &[]);
            return ControlFlow::Continue(());
        }
        if !self.parts.state.handle_sequence(headers) {
            reply(request, 500, &[]);
            return ControlFlow::Continue(());
        }
        if let Some(line) = unsupported(&request.original) {
            reply(request, 420, &[&line]);
            return ControlFlow::Continue(());
        }
        match request.original.method {
            Method::Bye => {
                reply(request, 200, &[]);
                return ControlFlow::Break(EndCause::Bye);
            }
            Method::Invite | Method::Update => self.handle_offer(request),
            Method::Info => {
                if let Some(digit) = info::answer(request) {
                    // Full: the user hears no keys; nothing else is lost.
                    let _ = self.parts.events.try_send(DialogEvent::Digit(digit));
                }
            }
            Method::Options => reply(request, 200, &["Accept: application/sdp", ALLOW, SUPPORTED]),
            Method::PRack => reply(request, 200, &[]),
            // Never followed: whoever could move a call elsewhere could make us dial.
            Method::Refer => reply(request, 603, &[]),
            _ => reply(request, 405, &[ALLOW]),
        }
        ControlFlow::Continue(())
    }

    /// The timer's new state, and the lines for the 200; none: the interval is too short.
    pub(super) fn renew(&mut self, request: &Transaction) -> Option<Vec<String>> {
        let headers = &request.original.headers;
        let supported =
            fields::has_token(headers, "Supported", "timer") || fields::has_token(headers, "Require", "timer");
        let said = fields::one(headers, "Session-Expires").and_then(Said::parse);
        let settings = &self.parts.hub.settings;
        let (own, least) = (settings.session_expires, settings.timers.session_min);
        // A request that says nothing of timers from one who knows them switches nothing off.
        if said.is_none() && self.parts.timer == SessionTimer::Off {
            return Some(Vec::new());
        }
        let (timer, session) = SessionTimer::answer(said, supported, own, least, Instant::now()).ok()?;
        self.parts.timer = timer;
        let mut lines: Vec<String> = session.iter().map(|session| format!("Session-Expires: {session}")).collect();
        if session.is_some_and(|session| session.ends_with("uac")) {
            lines.push("Require: timer".to_owned());
        }
        Some(lines)
    }

    /// The ACK of a 200 of ours, or that none came.
    fn handle_acknowledged(&mut self, message: Option<SipMessage>) -> Step {
        match message {
            Some(SipMessage::Request(ack)) if ack.method == Method::Ack => {
                let late = self.parts.unacknowledged.take().is_some_and(|(_, late)| late);
                if late {
                    match Remote::read(&ack.body) {
                        Ok(answer) => {
                            let _ = self.parts.events.try_send(DialogEvent::Answer(answer));
                        }
                        Err(_) => return self.hang_up(Reason::Fault, EndCause::ByUs),
                    }
                }
                ControlFlow::Continue(())
            }
            Some(_) => ControlFlow::Continue(()),
            // 64 * T1 (RFC 3261 section 13.3.1.4).
            None => self.hang_up(Reason::Timeout, EndCause::NoAck),
        }
    }

    fn handle_report(&mut self, report: Report) -> Step {
        match report {
            Report::Probe { response, renews, done } => {
                let _ = done.send(!is_lost(&response));
                // The user decides what a silent line means; an unknown dialog leaves nothing to decide.
                match response {
                    Ok(response) if response.status_code.code() == 481 => self.hang_up(Reason::Fault, EndCause::Lost),
                    Ok(response) if renews => self.renewed(&response),
                    _ => ControlFlow::Continue(()),
                }
            }
            Report::Refresh(response) => self.handle_refreshed(&response),
            Report::Offer(response) => self.handle_offer_answered(response),
        }
    }

    /// Only an answer that says that the call is gone ends it at once; after any other, and none, the session is renewed a little later,
    /// until it expires (RFC 4028 section 10).
    pub(super) fn handle_refreshed(&mut self, response: &Result<Response, ProbeFailure>) -> Step {
        match response {
            Ok(_) if is_lost(response) => return self.hang_up(Reason::Timeout, EndCause::Lost),
            Ok(response) if (200..300).contains(&response.status_code.code()) => return self.renewed(response),
            // It does not know UPDATE after all: the next one is an INVITE.
            Ok(response) if matches!(response.status_code.code(), 405 | 501) => self.parts.update = false,
            _ => {}
        }
        self.parts.timer.handle_failed(Instant::now());
        ControlFlow::Continue(())
    }

    /// A 2xx to a re-INVITE or UPDATE of ours moves the target and renews the session.
    pub(super) fn renewed(&mut self, response: &Response) -> Step {
        if (200..300).contains(&response.status_code.code()) {
            self.parts.state.handle_target(&response.headers);
            let said = fields::one(&response.headers, "Session-Expires").and_then(Said::parse);
            self.parts.timer = SessionTimer::accepted(said, self.parts.hub.settings.timers.session_min, Instant::now());
        }
        ControlFlow::Continue(())
    }

    fn next_tick(&self) -> Instant {
        let timer = self.parts.timer.poll_due().map(|(at, _)| at);
        let pending = self.pending.as_ref().map(|pending| pending.until);
        let again = self.outgoing.as_ref().and_then(|outgoing| outgoing.again);
        let far = Instant::now() + Duration::from_secs(3_600);
        [timer, pending, again].into_iter().flatten().min().unwrap_or(far)
    }

    fn handle_tick(&mut self) -> Step {
        let now = Instant::now();
        if self.pending.as_ref().is_some_and(|pending| now >= pending.until)
            && let Some(pending) = self.pending.take()
        {
            pending.refuse(&self.parts, 500);
        }
        if self.outgoing.as_ref().is_some_and(|outgoing| outgoing.again.is_some_and(|at| now >= at)) {
            self.send_offer();
        }
        match self.parts.timer.poll_due() {
            Some((at, Due::Expire)) if now >= at => self.hang_up(Reason::Timeout, EndCause::SessionExpired),
            Some((at, Due::Refresh)) if now >= at => {
                self.parts.timer.handle_asked();
                self.refresh();
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Continue(()),
        }
    }

    /// UPDATE where they know it, else the description in force once more.
    fn refresh(&mut self) {
        let limit = self.parts.hub.settings.timers.request;
        if self.parts.update {
            self.ask("UPDATE", self.session_lines(), None, limit, Report::Refresh);
        } else if self.outgoing.is_none() && self.pending.is_none() {
            self.outgoing = Some(Outgoing::new(self.parts.sdp.clone(), None));
            self.send_offer();
        } else {
            // What is under way may renew the session too, or not.
            self.parts.timer.handle_failed(Instant::now());
        }
    }

    /// `refresher`: whoever does it now goes on doing it (RFC 4028 section 7.4).
    pub(super) fn session_lines(&self) -> Vec<String> {
        match self.parts.timer {
            SessionTimer::Off => Vec::new(),
            SessionTimer::On { interval, we_refresh, .. } => {
                let refresher = if we_refresh { "uac" } else { "uas" };
                let supported = SUPPORTED.to_owned();
                vec![format!("Session-Expires: {};refresher={refresher}", interval.as_secs()), supported]
            }
        }
    }

    pub(super) fn ask(
        &self,
        method: &'static str,
        lines: Vec<String>,
        sdp: Option<String>,
        limit: Duration,
        report: impl FnOnce(Result<Response, ProbeFailure>) -> Report + Send + 'static,
    ) {
        let Parts { hub, trunk, state, flow, .. } = &self.parts;
        let (hub, trunk, state, flow) = (Arc::clone(hub), trunk.clone(), state.clone(), flow.clone());
        let reports = self.reports.0.clone();
        tokio::spawn(async move {
            let asked = async {
                let flow = hub.fresh(&trunk, &state, &flow).await.ok_or(ProbeFailure::Silent)?;
                let request = state.request(method, &flow.local.to_string(), flow.transport, &lines, sdp.as_deref());
                let request = request.ok_or(ProbeFailure::Silent)?;
                hub.exchange(request, &flow, &trunk, state.sequence(), limit).await
            };
            // Longer than the exchange's own limit: a name may have to be resolved before it.
            let response = timeout(limit * 2, asked).await.unwrap_or(Err(ProbeFailure::Silent));
            let _ = reports.send(report(response)).await;
        });
    }

    /// Waits until the other side has heard it, or for some seconds.
    async fn hang_up_heard(&mut self, reason: Reason) -> Step {
        let Parts { hub, trunk, state, flow, unacknowledged, .. } = &mut self.parts;
        let limit = hub.settings.timers.bye;
        // No BYE before the ACK of our 200 (RFC 3261 section 15).
        if let Some((invite, _)) = unacknowledged {
            let _ = timeout(limit, invite.from.recv()).await;
        }
        let _ = timeout(limit, hang_up(hub, trunk, state, flow, reason)).await;
        ControlFlow::Break(EndCause::ByUs)
    }

    pub(super) fn hang_up(&self, reason: Reason, cause: EndCause) -> Step {
        let Parts { hub, trunk, state, flow, .. } = &self.parts;
        // It goes on by itself: the call is over for us now.
        drop(hang_up(hub, trunk, state, flow, reason));
        ControlFlow::Break(cause)
    }
}

/// No answer, or one that says that the dialog is gone (RFC 5057).
pub(super) fn is_lost(response: &Result<Response, ProbeFailure>) -> bool {
    match response {
        Ok(response) => matches!(response.status_code.code(), 408 | 481),
        Err(failure) => *failure == ProbeFailure::Silent,
    }
}

async fn unacknowledged(invite: &mut Option<(Pump, bool)>) -> Option<SipMessage> {
    match invite {
        Some((pump, _)) => pump.from.recv().await,
        None => std::future::pending().await,
    }
}

const REPORTS_MAX: usize = 8;
