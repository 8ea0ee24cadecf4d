//! An answered call: the task that owns its dialog.
//!
//! ```text
//!  Dialog --commands--> task --requests--> the other side
//!     ^------events-----  ^----requests---
//! ```
//!
//! Not here: the handle (`dialog`), how the call came about. One task does everything in its order; what has to wait for an answer of the other side waits in a task
//! of its own and reports back. When the handle is dropped the task says BYE; when the task ends the call is forgotten.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rsipstack::sip::{Method, Response, SipMessage};
use rsipstack::transaction::transaction::{Transaction, TransactionEvent, TransactionEventSender};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

use crate::config::telephone::TrunkConfig;
use crate::telephone::sdp::Remote;

use super::afterlife::hang_up;
use super::causes::{EndCause, Reason};
use super::dialog::{Command, DialogEvent, Reoffer, ReofferFailure};
use super::endpoint::{ALLOW, SUPPORTED, reply};
use super::exchange::{self, ProbeFailure, Pump};
use super::fields;
use super::hub::{Flow, Hub, Registered};
use super::inbound::{description, known_option, response};
use super::session_timer::{Due, Said, SessionTimer};
use super::state::DialogState;

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
    parts: Parts,
    /// Their offer that waits for our user.
    pending: Option<Pending>,
    /// Our offer that waits for them.
    outgoing: Option<Outgoing>,
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
}

/// Their offer, and the way to answer it.
struct Pending {
    to: TransactionEventSender,
    request: rsipstack::sip::Request,
    /// An INVITE's CANCEL and ACK come out of it.
    pump: Pump,
    answer: oneshot::Receiver<String>,
    until: Instant,
    /// There was no offer: ours goes into the 200.
    late: bool,
    session: Vec<String>,
}

struct Outgoing {
    sdp: String,
    done: Option<oneshot::Sender<Result<Remote, ReofferFailure>>>,
    tries: u32,
    /// It crossed theirs: it goes out again then.
    again: Option<Instant>,
}

/// What came of a request of ours.
enum Report {
    Offer(Result<Response, ProbeFailure>),
    Refresh(Result<Response, ProbeFailure>),
    Probe(Result<Response, ProbeFailure>, oneshot::Sender<bool>),
}

type Step = ControlFlow<EndCause>;

impl Call {
    pub(super) fn new(parts: Parts) -> Call {
        Call { parts, pending: None, outgoing: None, reports: mpsc::channel(REPORTS_MAX) }
    }

    /// Until the call is over.
    pub(super) async fn run(mut self) {
        let cause = loop {
            let (tick, hub) = (self.next_tick(), Arc::clone(&self.parts.hub));
            let step = tokio::select! {
                command = self.parts.commands.recv() => self.handle_command(command).await,
                Some(request) = self.parts.requests.recv() => self.handle_request(request),
                message = unacknowledged(&mut self.parts.unacknowledged) => self.handle_acknowledged(message),
                news = pending(&mut self.pending) => match news {
                    News::Message(message) => self.handle_pending_message(message),
                    News::Answer(answer) => self.handle_answer(answer),
                },
                Some(report) = self.reports.1.recv() => self.handle_report(report),
                () = sleep_until(tick.into()) => self.handle_tick(),
                () = hub.stopped() => self.hang_up(Reason::Shutdown, EndCause::ByUs),
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
                let Parts { hub, trunk, state, flow, .. } = &self.parts;
                let _ = timeout(hub.settings.timers.bye, hang_up(hub, trunk, state, flow, reason)).await;
                let _ = done.send(());
                ControlFlow::Break(EndCause::ByUs)
            }
            Some(Command::Reoffer { sdp, done }) => {
                if self.outgoing.is_some() || self.pending.is_some() {
                    let _ = done.send(Err(ReofferFailure::Pending));
                } else {
                    self.outgoing = Some(Outgoing { sdp, done: Some(done), tries: 0, again: None });
                    self.send_offer();
                }
                ControlFlow::Continue(())
            }
            Some(Command::Probe { done }) => {
                let method = if self.parts.update { "UPDATE" } else { "OPTIONS" };
                let limit = self.parts.hub.settings.timers.request;
                self.ask(method, self.session_lines(), None, limit, |response| Report::Probe(response, done));
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
        let unknown: Vec<&str> =
            fields::tokens(headers, "Require").into_iter().filter(|token| !known_option(token)).collect();
        if !unknown.is_empty() {
            let line = format!("Unsupported: {}", unknown.join(", "));
            reply(request, 420, &[&line]);
            return ControlFlow::Continue(());
        }
        match request.original.method {
            Method::Bye => {
                reply(request, 200, &[]);
                return ControlFlow::Break(EndCause::Bye);
            }
            Method::Invite | Method::Update => self.handle_offer(request),
            Method::Info => self.handle_info(request),
            Method::Options => reply(request, 200, &["Accept: application/sdp", ALLOW, SUPPORTED]),
            Method::PRack => reply(request, 200, &[]),
            // Never followed: whoever could move a call elsewhere could make us dial.
            Method::Refer => reply(request, 603, &[]),
            _ => reply(request, 405, &[ALLOW]),
        }
        ControlFlow::Continue(())
    }

    /// A re-INVITE or UPDATE: a new description, a wish for ours, or a session that is renewed.
    fn handle_offer(&mut self, request: Transaction) {
        let invite = request.original.method == Method::Invite;
        let offer = match description(&request.original) {
            Ok(offer) => offer,
            Err(status) => return reply(request, status, &["Accept: application/sdp"]),
        };
        if invite && self.pending.is_some() {
            return reply(request, 500, &["Retry-After: 2"]);
        }
        // Two offers must not cross (RFC 3261 section 14.2, RFC 3311 section 5.2).
        let asks = invite || offer.is_some();
        let crossing =
            self.outgoing.as_ref().is_some_and(|outgoing| outgoing.again.is_none()) || self.pending.is_some();
        if asks && crossing {
            return reply(request, 491, &[]);
        }
        let Some(session) = self.renew(&request) else {
            let least = format!("Min-SE: {}", self.parts.hub.settings.timers.session_min.as_secs());
            return reply(request, 422, &[&least]);
        };
        self.parts.state.handle_target(&request.original.headers);
        if !asks {
            let mut lines: Vec<&str> = session.iter().map(String::as_str).collect();
            let contact = format!("Contact: <{}>", self.parts.state.contact);
            lines.push(&contact);
            return reply(request, 200, &lines);
        }
        let (answer, answered) = oneshot::channel();
        let late = offer.is_none();
        if self.parts.events.try_send(DialogEvent::Reoffer(Reoffer { offer, answer })).is_err() {
            return reply(request, 500, &["Retry-After: 2"]);
        }
        let (to, original) = (request.tu_sender.clone(), request.original.clone());
        // The user is quick; only a stuck one lets the other side wait, and hear 100.
        let pump = exchange::pump(request, self.parts.hub.settings.timers.ack);
        let until = Instant::now() + self.parts.hub.settings.timers.request;
        self.pending = Some(Pending { to, request: original, pump, answer: answered, until, late, session });
    }

    /// The timer's new state, and the lines for the 200; none: the interval is too short.
    fn renew(&mut self, request: &Transaction) -> Option<Vec<String>> {
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

    fn handle_info(&mut self, request: Transaction) {
        let kind = fields::one(&request.original.headers, "Content-Type").unwrap_or_default().to_ascii_lowercase();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_owned();
        match kind.as_str() {
            "application/dtmf-relay" | "application/dtmf" => {
                if let Some(digit) = digit(&request.original.body) {
                    // Full: the user hears no keys; nothing else is lost.
                    let _ = self.parts.events.try_send(DialogEvent::Digit(digit));
                }
                reply(request, 200, &[]);
            }
            _ if request.original.body.is_empty() => reply(request, 200, &[]),
            _ => reply(request, 415, &["Accept: application/dtmf-relay, application/dtmf"]),
        }
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

    /// A CANCEL of a re-INVITE; it has no effect on the call.
    fn handle_pending_message(&mut self, message: Option<SipMessage>) -> Step {
        match message {
            Some(SipMessage::Request(request)) if request.method != Method::Cancel => {}
            Some(SipMessage::Response(_)) => {}
            _ => {
                if let Some(pending) = self.pending.take() {
                    pending.refuse(&self.parts, 487);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// The user's word on their offer.
    fn handle_answer(&mut self, answer: Option<String>) -> Step {
        let Some(mut pending) = self.pending.take() else { return ControlFlow::Continue(()) };
        let Some(sdp) = answer else {
            pending.refuse(&self.parts, 488);
            return ControlFlow::Continue(());
        };
        let mut lines = std::mem::take(&mut pending.session);
        lines.extend([ALLOW.to_owned(), SUPPORTED.to_owned()]);
        let Parts { hub, state, .. } = &self.parts;
        let ok = response(hub, &pending.request, &state.contact, 200, Some(&sdp), &lines);
        if pending.to.send(TransactionEvent::Respond(ok)).is_ok() {
            self.parts.sdp = sdp;
            if pending.request.method == Method::Invite {
                self.parts.unacknowledged = Some((pending.pump, pending.late));
            }
        }
        ControlFlow::Continue(())
    }

    fn handle_report(&mut self, report: Report) -> Step {
        match report {
            Report::Probe(response, done) => {
                let lost = is_lost(&response);
                let _ = done.send(!lost);
                // The user decides what a silent line means; an unknown dialog leaves nothing to decide.
                match response {
                    Ok(response) if response.status_code.code() == 481 => self.hang_up(Reason::Fault, EndCause::Lost),
                    Ok(response) => self.renewed(&response),
                    Err(_) => ControlFlow::Continue(()),
                }
            }
            Report::Refresh(response) if is_lost(&response) => self.hang_up(Reason::Timeout, EndCause::Lost),
            Report::Refresh(Ok(response)) => self.renewed(&response),
            Report::Refresh(Err(_)) => ControlFlow::Continue(()),
            Report::Offer(response) => self.handle_offer_answered(response),
        }
    }

    fn handle_offer_answered(&mut self, response: Result<Response, ProbeFailure>) -> Step {
        let Some(mut outgoing) = self.outgoing.take() else { return ControlFlow::Continue(()) };
        let lost = is_lost(&response);
        let status = response.as_ref().map_or(0, |response| response.status_code.code());
        if status == 491 && outgoing.tries < OFFER_TRIES_MAX {
            // RFC 3261 section 14.1: who made the call waits longer.
            let random = u64::from(rand::random::<u8>()) * 8;
            let wait = if self.parts.state.we_called { 2_100 + random * 19 / 20 } else { random };
            outgoing.again = Some(Instant::now() + Duration::from_millis(wait));
            self.outgoing = Some(outgoing);
            return ControlFlow::Continue(());
        }
        let answer = match &response {
            Ok(response) if (200..300).contains(&status) => {
                Remote::read(&response.body).map_err(|_| ReofferFailure::Lost)
            }
            Ok(_) => Err(ReofferFailure::Refused(status)),
            Err(_) => Err(ReofferFailure::Lost),
        };
        if answer.is_ok() {
            self.parts.sdp = outgoing.sdp;
        }
        if let Some(done) = outgoing.done {
            let _ = done.send(answer);
        }
        match response {
            _ if lost => self.hang_up(Reason::Fault, EndCause::Lost),
            Ok(response) if (200..300).contains(&status) => self.renewed(&response),
            _ => ControlFlow::Continue(()),
        }
    }

    /// A 2xx to a re-INVITE or UPDATE of ours moves the target and renews the session.
    fn renewed(&mut self, response: &Response) -> Step {
        if (200..300).contains(&response.status_code.code()) {
            self.parts.state.handle_target(&response.headers);
            let said = fields::one(&response.headers, "Session-Expires").and_then(Said::parse);
            if said.is_some() {
                self.parts.timer =
                    SessionTimer::accepted(said, self.parts.hub.settings.timers.session_min, Instant::now());
            }
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
            self.outgoing = Some(Outgoing { sdp: self.parts.sdp.clone(), done: None, tries: 0, again: None });
            self.send_offer();
        }
    }

    fn send_offer(&mut self) {
        let Some(outgoing) = &mut self.outgoing else { return };
        outgoing.tries += 1;
        outgoing.again = None;
        let mut lines = self.session_lines();
        lines.extend([ALLOW.to_owned(), SUPPORTED.to_owned()]);
        let sdp = self.outgoing.as_ref().map(|outgoing| outgoing.sdp.clone());
        self.ask("INVITE", lines, sdp, self.parts.hub.settings.timers.request, Report::Offer);
    }

    /// `refresher`: whoever does it now goes on doing it (RFC 4028 section 7.4).
    fn session_lines(&self) -> Vec<String> {
        match self.parts.timer {
            SessionTimer::Off => Vec::new(),
            SessionTimer::On { interval, we_refresh, .. } => {
                let refresher = if we_refresh { "uac" } else { "uas" };
                let supported = SUPPORTED.to_owned();
                vec![format!("Session-Expires: {};refresher={refresher}", interval.as_secs()), supported]
            }
        }
    }

    fn ask(
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

    fn hang_up(&self, reason: Reason, cause: EndCause) -> Step {
        let Parts { hub, trunk, state, flow, .. } = &self.parts;
        // It goes on by itself: the call is over for us now.
        drop(hang_up(hub, trunk, state, flow, reason));
        ControlFlow::Break(cause)
    }
}

impl Pending {
    fn refuse(self, parts: &Parts, status: u16) {
        let refused = response(&parts.hub, &self.request, &parts.state.contact, status, None, &[]);
        let _ = self.to.send(TransactionEvent::Respond(refused));
    }
}

/// No answer, or one that says that the dialog is gone (RFC 5057).
fn is_lost(response: &Result<Response, ProbeFailure>) -> bool {
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

/// What happens to an offer of theirs.
enum News {
    /// From its transaction; none: that is over.
    Message(Option<SipMessage>),
    /// From our user; none: refused.
    Answer(Option<String>),
}

async fn pending(pending: &mut Option<Pending>) -> News {
    let Some(Pending { answer, pump, .. }) = pending else { return std::future::pending().await };
    tokio::select! {
        answer = answer => News::Answer(answer.ok()),
        message = pump.from.recv() => News::Message(message),
    }
}

/// `Signal=5` in `application/dtmf-relay`, the bare key in `application/dtmf`; 10 and 11 are star and hash.
fn digit(body: &[u8]) -> Option<char> {
    let text = std::str::from_utf8(body).ok()?;
    let signal = text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
    });
    match signal.unwrap_or(text.trim()) {
        "10" => Some('*'),
        "11" => Some('#'),
        key => match key.as_bytes() {
            [c @ (b'0'..=b'9' | b'*' | b'#' | b'A'..=b'D')] => Some(char::from(*c)),
            _ => None,
        },
    }
}

/// Offers that cross three times are somebody's fault.
const OFFER_TRIES_MAX: u32 = 3;
const REPORTS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_both_kinds_of_info() {
        for (body, key) in [
            ("Signal=5\r\nDuration=160\r\n", Some('5')),
            ("Signal= *\r\nDuration= 160", Some('*')),
            ("signal=11", Some('#')),
            ("10", Some('*')),
            ("7\r\n", Some('7')),
            ("D", Some('D')),
            ("Signal=55", None),
            ("Duration=160", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(digit(body.as_bytes()), key, "{body}");
        }
    }
}
