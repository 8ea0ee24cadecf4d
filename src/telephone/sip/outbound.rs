//! A call that we make: INVITE, what comes before the answer, CANCEL, and whatever comes too late.
//!
//! Not here: which number may be called, which trunk is tried next. Nobody is redirected: a 3xx is a failure. Sound before the answer
//! is played to nobody. Dropping the handle calls off; behind the caller's back, a late 200 is acknowledged and ended.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rsipstack::sip::{Headers, Request, Response, SipMessage};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use crate::config::telephone::{Number, SipTransport, TrunkConfig, TrunkName};
use crate::pii::Pii;
use crate::telephone::sdp::Remote;

use super::afterlife::{Afterlife, call_off, end_forks, hang_up, state};
use super::call::{Call, Parts};
use super::causes::{DialFailure, Reason};
use super::dialog::Dialog;
use super::endpoint::{ALLOW, SUPPORTED};
use super::exchange::{self, Pump};
use super::fields::{self, Draft, Via};
use super::hub::{Flow, Hub};
use super::inbound::{COMMANDS_MAX, EVENTS_MAX};
use super::session_timer::{Said, SessionTimer};
use super::state::DialogState;

/// A call that we make. Dropping it calls off.
pub struct OutboundCall {
    progress: mpsc::Receiver<Progress>,
}

/// How it goes.
pub enum Progress {
    /// The telephone rings, or the network says that the call goes on.
    Ringing,
    /// Somebody or something answered: a mailbox does too.
    Answered(Dialog, Remote),
    /// It is over.
    Failed(DialFailure),
}

impl OutboundCall {
    /// The next step; after `Answered` or `Failed` there is none.
    pub async fn next(&mut self) -> Option<Progress> {
        self.progress.recv().await
    }
}

pub(super) fn dial(
    hub: &Arc<Hub>,
    trunk: &TrunkName,
    number: &Pii<Number>,
    offer: String,
    ring: Duration,
) -> OutboundCall {
    let (sender, progress) = mpsc::channel(PROGRESS_MAX);
    match hub.trunk(trunk) {
        Some(trunk) => {
            let dialling = Dialling {
                hub: Arc::clone(hub),
                number: number.clone(),
                offer,
                progress: sender,
                sequence: Arc::new(AtomicU32::new(0)),
                tag: fields::random_text(),
                call_id: fields::random_text(),
                until: Instant::now() + ring,
                trunk,
            };
            tokio::spawn(dialling.run());
        }
        None => {
            let _ = sender.try_send(Progress::Failed(DialFailure::Other));
        }
    }
    OutboundCall { progress }
}

struct Dialling {
    hub: Arc<Hub>,
    trunk: TrunkConfig,
    number: Pii<Number>,
    offer: String,
    progress: mpsc::Sender<Progress>,
    sequence: Arc<AtomicU32>,
    tag: String,
    call_id: String,
    /// It has rung long enough.
    until: Instant,
}

/// What one INVITE came to.
enum Outcome {
    Answered(Response),
    Final(Response),
    Failed(DialFailure),
    /// The handle was dropped or it rang too long: to be called off.
    CallOff(DialFailure),
}

impl Outcome {
    /// Nobody waits for the 487 of an INVITE that nobody has heard.
    fn called_off(heard: bool, failure: DialFailure) -> Outcome {
        if heard { Outcome::CallOff(failure) } else { Outcome::Failed(failure) }
    }
}

impl Dialling {
    async fn run(self) {
        let failure = match self.attempt().await {
            Ok(()) => return,
            Err(failure) => failure,
        };
        let _ = self.progress.send(Progress::Failed(failure)).await;
    }

    /// One server of the trunk after the other (RFC 3263 section 4.3), all within the time for a first answer: those that are still to
    /// come have their share of it. Once it rang there is no other.
    async fn attempt(&self) -> Result<(), DialFailure> {
        let until = Instant::now() + self.trunk.first_response;
        let servers = timeout(self.trunk.first_response, self.hub.servers(&self.trunk)).await.unwrap_or_default();
        let mut failure = DialFailure::TrunkSilent;
        for (place, server) in servers.iter().enumerate() {
            let left = until.saturating_duration_since(Instant::now());
            let mut rang = false;
            match self.attempt_at(*server, left / (servers.len() - place) as u32, &mut rang).await {
                Err(cause) if cause.tries_next_trunk() && !rang && !self.progress.is_closed() => failure = cause,
                outcome => return outcome,
            }
            if Instant::now() >= until {
                break;
            }
        }
        Err(failure)
    }

    /// INVITEs until one is answered or refused: a challenge (401, 407) and a session timer (422) are answered by another one.
    async fn attempt_at(&self, server: SocketAddr, limit: Duration, rang: &mut bool) -> Result<(), DialFailure> {
        let first = Instant::now() + limit;
        let flow = timeout(limit, self.hub.flow_at(&self.trunk, server)).await.ok().flatten();
        let flow = flow.ok_or(DialFailure::TrunkSilent)?;
        let mut request = self.invite(&flow, None).ok_or(DialFailure::Other)?;
        for round in 0..ROUNDS_MAX {
            let mut transaction = self.hub.client(request.clone(), &flow).ok_or(DialFailure::Other)?;
            let sent = timeout(limit, transaction.send()).await;
            if !matches!(sent, Ok(Ok(()))) {
                return Err(DialFailure::TrunkSilent);
            }
            let mut pump = exchange::pump(transaction, self.hub.settings.timers.ack);
            let mut early = None;
            // A round behind a challenge has its own time for the first answer.
            let first = if round == 0 { first } else { Instant::now() + self.trunk.first_response };
            match self.wait(&mut pump, &flow, &request, first, rang, &mut early).await {
                Outcome::Answered(response) => return self.answered(pump, &flow, &request, &response, early).await,
                Outcome::Final(response) => {
                    request = self.again(&request, &response, &flow, *rang, round).await?;
                }
                Outcome::Failed(failure) => {
                    tokio::spawn(call_off(self.afterlife(request, flow, pump, false)));
                    return Err(failure);
                }
                Outcome::CallOff(failure) => {
                    // The caller waits for the 487, but not for ever.
                    let heard = *rang || early.is_some();
                    let afterlife = tokio::spawn(call_off(self.afterlife(request, flow, pump, heard)));
                    let _ = timeout(self.hub.settings.timers.cancel, afterlife).await;
                    return Err(failure);
                }
            }
        }
        Err(DialFailure::Auth)
    }

    /// Until the final response, the end of our patience, or nobody wants the call any more.
    async fn wait(
        &self,
        pump: &mut Pump,
        flow: &Flow,
        request: &Request,
        first: Instant,
        rang: &mut bool,
        early: &mut Option<Vec<u8>>,
    ) -> Outcome {
        let mut heard = false;
        let mut reliable = 0;
        loop {
            let tick = if heard { self.until } else { first.min(self.until) };
            let message = tokio::select! {
                message = pump.from.recv() => message,
                () = self.progress.closed() => return Outcome::called_off(heard, DialFailure::Cancelled),
                () = sleep_until(tick.into()) => {
                    let failure = if heard { DialFailure::NoAnswer } else { DialFailure::TrunkSilent };
                    return Outcome::called_off(heard, failure);
                }
                () = self.hub.closing() => return Outcome::CallOff(DialFailure::Cancelled),
            };
            let response = match message {
                Some(SipMessage::Response(response)) => response,
                Some(SipMessage::Request(_)) => continue,
                None => return Outcome::Failed(DialFailure::TrunkSilent),
            };
            match response.status_code.code() {
                100 => heard = true,
                101..=199 => {
                    heard = true;
                    if self.acknowledge(&response, request, flow, &mut reliable) && !response.body.is_empty() {
                        // A description that is acknowledged is the answer; a 200 need not repeat it (RFC 3262 section 5).
                        *early = Some(response.body.clone());
                    }
                    if !*rang {
                        *rang = true;
                        let _ = self.progress.try_send(Progress::Ringing);
                    }
                }
                200..=299 => return Outcome::Answered(response),
                _ => return Outcome::Final(response),
            }
        }
    }

    /// PRACK (RFC 3262 section 4), once for each reliable response. True when the response is one.
    fn acknowledge(&self, response: &Response, request: &Request, flow: &Flow, last: &mut u32) -> bool {
        let number = fields::one(&response.headers, "RSeq").and_then(|value| value.parse::<u32>().ok());
        let Some(number) = number.filter(|_| fields::has_token(&response.headers, "Require", "100rel")) else {
            return false;
        };
        if *last != 0 && number <= *last {
            return true;
        }
        *last = number;
        let cseq = fields::one(&request.headers, "CSeq").unwrap_or_default().to_owned();
        if let Some(state) = self.state(request, &response.headers, flow) {
            let rack = format!("RAck: {number} {cseq}");
            let (hub, trunk, flow) = (Arc::clone(&self.hub), self.trunk.clone(), flow.clone());
            tokio::spawn(async move {
                let request = state.request("PRACK", &flow.local.to_string(), flow.transport, &[rack], None)?;
                let flow = hub.hop(&state, &flow);
                hub.exchange(request, &flow, &trunk, state.sequence(), hub.settings.timers.ack).await.ok()
            });
        }
        true
    }

    /// Another INVITE, when the response asks for one that we can make.
    async fn again(
        &self,
        request: &Request,
        response: &Response,
        flow: &Flow,
        rang: bool,
        round: usize,
    ) -> Result<Request, DialFailure> {
        let status = response.status_code.code();
        let headers = &response.headers;
        match status {
            401 | 407 => {
                let again = fields::one(&request.headers, "Authorization").is_some()
                    || fields::one(&request.headers, "Proxy-Authorization").is_some();
                let with = self.hub.with_credentials(request, response, &self.trunk, &self.sequence, again).await;
                with.ok_or(DialFailure::Auth)
            }
            422 if round + 1 < ROUNDS_MAX => {
                let least =
                    fields::one(headers, "Min-SE").and_then(|value| value.split(';').next()?.trim().parse().ok());
                let least: u64 = least.filter(|seconds| *seconds <= SESSION_MAX).ok_or(DialFailure::Other)?;
                self.invite(flow, Some(least)).ok_or(DialFailure::Other)
            }
            // The stack's own word for "could not be sent".
            503 if fields::one(headers, "To").is_none_or(|to| !to.contains("tag=")) => Err(DialFailure::TrunkSilent),
            _ => Err(DialFailure::from_status(status, rang, retry_after(headers))),
        }
    }

    async fn answered(
        &self,
        pump: Pump,
        flow: &Flow,
        request: &Request,
        response: &Response,
        early: Option<Vec<u8>>,
    ) -> Result<(), DialFailure> {
        let state = self.state(request, &response.headers, flow).ok_or(DialFailure::Other)?;
        let body = if response.body.is_empty() { early.unwrap_or_default() } else { response.body.clone() };
        let key = (state.call_id.clone(), state.local_tag.clone());
        let (Ok(answer), Ok((registered, requests))) = (Remote::read(&body), self.hub.register(key, None)) else {
            hang_up(&self.hub, &self.trunk, &state, flow, Reason::Fault);
            return Err(DialFailure::Media);
        };
        let afterlife = self.afterlife(request.clone(), flow.clone(), pump, true);
        tokio::spawn(end_forks(afterlife, state.remote_tag.clone()));
        let (commands, orders) = mpsc::channel(COMMANDS_MAX);
        let (events, listener) = mpsc::channel(EVENTS_MAX);
        let end = Arc::new(OnceLock::new());
        let said = fields::one(&response.headers, "Session-Expires").and_then(Said::parse);
        let call = Call::new(Parts {
            hub: Arc::clone(&self.hub),
            trunk: self.trunk.clone(),
            flow: flow.clone(),
            state,
            _registered: registered,
            commands: orders,
            requests,
            events,
            end: Arc::clone(&end),
            unacknowledged: None,
            timer: SessionTimer::accepted(said, self.hub.settings.timers.session_min, Instant::now()),
            update: fields::has_token(&response.headers, "Allow", "UPDATE"),
            sdp: self.offer.clone(),
        });
        tokio::spawn(call.run());
        let dialog = Dialog { commands, events: listener, end };
        // If nobody waits any more, the dialog is dropped here and ends.
        let _ = self.progress.send(Progress::Answered(dialog, answer)).await;
        Ok(())
    }

    fn invite(&self, flow: &Flow, session: Option<u64>) -> Option<Request> {
        let (trunk, host) = (&self.trunk, host(&self.trunk));
        let called = self.number.0.dialled(trunk.number_format, self.hub.settings.country);
        let uri = match self.hub.last_caller(trunk) {
            Some((contact, _)) => contact,
            None => format!("sip:{called}@{host};user=phone"),
        };
        let country = self.hub.settings.country;
        let caller = trunk.caller_number.as_ref().map(|number| number.0.dialled(trunk.number_format, country));
        let from = caller.clone().unwrap_or_else(|| user(trunk));
        let seconds = self.hub.settings.session_expires.as_secs().max(session.unwrap_or(0));
        let least = self.hub.settings.timers.session_min.as_secs().max(session.unwrap_or(0));
        let mut extra = vec![
            format!("Contact: <{}>", contact(trunk, flow)),
            ALLOW.to_owned(),
            SUPPORTED.to_owned(),
            format!("Session-Expires: {seconds}"),
            format!("Min-SE: {least}"),
        ];
        extra.extend(caller.map(|number| format!("P-Asserted-Identity: <sip:{number}@{host}>")));
        let via = Via { transport: flow.transport, sent_by: flow.local.to_string(), branch: fields::random_branch() };
        let draft = Draft {
            method: "INVITE",
            uri: &uri,
            via: &via,
            from: &format!("<sip:{from}@{host}>;tag={}", self.tag),
            to: &format!("<{uri}>"),
            call_id: &self.call_id,
            cseq: self.sequence.fetch_add(1, Ordering::Relaxed) + 1,
            routes: &[],
            extra: &extra,
            body: Some(&self.offer),
        };
        draft.build()
    }

    fn state(&self, request: &Request, response: &Headers, flow: &Flow) -> Option<DialogState> {
        state(&self.trunk, request, response, flow, &self.sequence)
    }

    fn afterlife(&self, request: Request, flow: Flow, pump: Pump, heard: bool) -> Afterlife {
        Afterlife {
            hub: Arc::clone(&self.hub),
            trunk: self.trunk.clone(),
            sequence: Arc::clone(&self.sequence),
            request,
            flow,
            pump,
            heard,
        }
    }
}

/// The trunk's own name in addresses.
pub(super) fn host(trunk: &TrunkConfig) -> String {
    let host = &trunk.server.host;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    // The default port is left out: registrars compare addresses as text.
    trunk.server.port.filter(|port| *port != 5_060).map_or(host.clone(), |port| format!("{host}:{port}"))
}

/// Who we are there.
pub(super) fn user(trunk: &TrunkConfig) -> String {
    trunk.credentials.as_ref().map_or_else(|| "colloque".to_owned(), |credentials| credentials.username.0.clone())
}

/// Where requests to us go.
pub(super) fn contact(trunk: &TrunkConfig, flow: &Flow) -> String {
    let (user, local) = (user(trunk), flow.local);
    match flow.transport {
        SipTransport::Udp => format!("sip:{user}@{local}"),
        SipTransport::Tcp => format!("sip:{user}@{local};transport=tcp"),
        SipTransport::Tls => format!("sip:{user}@{local};transport=tls"),
    }
}

fn retry_after(headers: &Headers) -> Option<Duration> {
    let value = fields::one(headers, "Retry-After")?;
    let digits: String = value.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().map(|seconds: u64| Duration::from_secs(seconds.min(RETRY_MAX)))
}

/// INVITEs of one call: plain, challenged, stale nonce, session timer.
const ROUNDS_MAX: usize = 4;
/// A ringing and an end.
const PROGRESS_MAX: usize = 4;
/// A day: longer sessions are nobody's business.
const SESSION_MAX: u64 = 86_400;
/// An hour: a trunk that asks for more is tried again then.
const RETRY_MAX: u64 = 3_600;
