//! Offers within a call: theirs that wait for our user, ours that wait for them, and those that cross (RFC 3261 section 14, RFC 3311).
//!
//! ```text
//!   re-INVITE, UPDATE --> Pending --> user's answer --> 200 | 488          one at a time in each direction:
//!   user's offer --> Outgoing --> re-INVITE --> 200 | refused | 491, again  what crosses is told to wait
//! ```
//!
//! Not here: what a description says, and the rest of the call (`call`).

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rsipstack::sip::{Method, Response, SipMessage};
use rsipstack::transaction::transaction::{Transaction, TransactionEvent, TransactionEventSender};
use tokio::sync::oneshot;

use crate::telephone::sdp::Remote;

use super::call::{Call, Parts, Report, Step, is_lost};
use super::causes::{EndCause, Reason};
use super::dialog::{DialogEvent, Reoffer, ReofferFailure};
use super::endpoint::{ALLOW, SUPPORTED, refuse, reply};
use super::exchange::{self, ProbeFailure, Pump};
use super::inbound::response;
use super::inspection::description;

/// Their offer, and the way to answer it.
pub(super) struct Pending {
    to: TransactionEventSender,
    request: rsipstack::sip::Request,
    /// An INVITE's CANCEL and ACK come out of it.
    pump: Pump,
    answer: oneshot::Receiver<String>,
    pub(super) until: Instant,
    /// There was no offer: ours goes into the 200.
    late: bool,
    session: Vec<String>,
}

/// An offer of ours.
pub(super) struct Outgoing {
    sdp: String,
    done: Option<oneshot::Sender<Result<Remote, ReofferFailure>>>,
    tries: u32,
    /// It crossed theirs: it goes out again then.
    pub(super) again: Option<Instant>,
}

impl Outgoing {
    /// `done` hears what came of it; without, it is the description in force, to renew the session.
    pub(super) fn new(sdp: String, done: Option<oneshot::Sender<Result<Remote, ReofferFailure>>>) -> Outgoing {
        Outgoing { sdp, done, tries: 0, again: None }
    }
}

impl Call {
    /// A re-INVITE or UPDATE: a new description, a wish for ours, or a session that is renewed.
    pub(super) fn handle_offer(&mut self, request: Transaction) {
        let invite = request.original.method == Method::Invite;
        let offer = match description(&request.original) {
            Ok(offer) => offer,
            Err(no) => return refuse(request, no),
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

    /// A CANCEL of a re-INVITE; it has no effect on the call.
    pub(super) fn handle_pending_message(&mut self, message: Option<SipMessage>) -> Step {
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
    pub(super) fn handle_answer(&mut self, answer: Option<String>) -> Step {
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

    pub(super) fn handle_offer_answered(&mut self, response: Result<Response, ProbeFailure>) -> Step {
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
        let Some(done) = outgoing.done else {
            if let Ok(theirs) = answer {
                // Full: the user is stuck, and hears of the next one.
                let _ = self.parts.events.try_send(DialogEvent::Renewed { ours: outgoing.sdp, theirs });
            }
            return self.handle_refreshed(&response);
        };
        if answer.is_ok() {
            self.parts.sdp = outgoing.sdp;
        }
        let _ = done.send(answer);
        match response {
            _ if lost => self.hang_up(Reason::Fault, EndCause::Lost),
            Ok(response) if (200..300).contains(&status) => self.renewed(&response),
            _ => ControlFlow::Continue(()),
        }
    }

    pub(super) fn send_offer(&mut self) {
        let Some(outgoing) = &mut self.outgoing else { return };
        outgoing.tries += 1;
        outgoing.again = None;
        let mut lines = self.session_lines();
        lines.extend([ALLOW.to_owned(), SUPPORTED.to_owned()]);
        let sdp = self.outgoing.as_ref().map(|outgoing| outgoing.sdp.clone());
        self.ask("INVITE", lines, sdp, self.parts.hub.settings.timers.request, Report::Offer);
    }
}

impl Pending {
    pub(super) fn refuse(self, parts: &Parts, status: u16) {
        let refused = response(&parts.hub, &self.request, &parts.state.contact, status, None, &[]);
        let _ = self.to.send(TransactionEvent::Respond(refused));
    }
}

/// What happens to an offer of theirs.
pub(super) enum News {
    /// From its transaction; none: that is over.
    Message(Option<SipMessage>),
    /// From our user; none: refused.
    Answer(Option<String>),
}

pub(super) async fn pending(pending: &mut Option<Pending>) -> News {
    let Some(Pending { answer, pump, .. }) = pending else { return std::future::pending().await };
    tokio::select! {
        answer = answer => News::Answer(answer.ok()),
        message = pump.from.recv() => News::Message(message),
    }
}

/// Offers that cross three times are somebody's fault.
const OFFER_TRIES_MAX: u32 = 3;
