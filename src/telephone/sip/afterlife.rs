//! INVITEs that nobody waits for any more, and the end of dialogs: CANCEL, BYE, second telephones that answer.
//!
//! Not here: why a call is called off. Whatever still comes is acknowledged and ended for 64 * T1, behind the caller's back.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use rsipstack::sip::{Header, Headers, Method, Request, Response, SipMessage};
use rsipstack::transaction::transaction::Transaction;
use tokio::time::timeout;

use crate::config::telephone::{SipTransport, TrunkConfig};

use super::causes::Reason;
use super::exchange::Pump;
use super::fields;
use super::hub::{Flow, Hub};
use super::outbound::contact;
use super::state::DialogState;

/// An INVITE that nobody waits for any more.
pub(super) struct Afterlife {
    pub(super) hub: Arc<Hub>,
    pub(super) trunk: TrunkConfig,
    pub(super) sequence: Arc<AtomicU32>,
    pub(super) request: Request,
    pub(super) flow: Flow,
    pub(super) pump: Pump,
    /// A provisional response came: only then may it be cancelled (RFC 3261 section 9.1).
    pub(super) heard: bool,
}

/// CANCEL as soon as it is allowed; a 200 that comes all the same is ended. Returns with the final response.
pub(super) async fn call_off(mut afterlife: Afterlife) {
    if afterlife.heard {
        afterlife.cancel();
    }
    let limit = afterlife.hub.settings.timers.ack;
    let _ = timeout(limit, async {
        while let Some(message) = afterlife.pump.from.recv().await {
            let SipMessage::Response(response) = message else { continue };
            match response.status_code.code() {
                100..=199 if !afterlife.heard => {
                    afterlife.heard = true;
                    afterlife.cancel();
                }
                100..=199 => {}
                200..=299 => {
                    afterlife.bye(&response);
                    tokio::spawn(end_forks(afterlife, String::new()));
                    return;
                }
                _ => return,
            }
        }
    })
    .await;
}

/// An INVITE may be answered by several telephones (RFC 3261 section 13.2.2.4): all but the first are ended.
pub(super) async fn end_forks(mut afterlife: Afterlife, kept: String) {
    let mut known = vec![kept];
    let limit = afterlife.hub.settings.timers.ack;
    let _ = timeout(limit, async {
        while let Some(message) = afterlife.pump.from.recv().await {
            let SipMessage::Response(response) = message else { continue };
            let to = fields::one(&response.headers, "To").and_then(fields::Address::parse);
            let Some(tag) = to.and_then(|to| to.param("tag").map(str::to_owned)) else { continue };
            if (200..300).contains(&response.status_code.code()) && !known.contains(&tag) && known.len() < FORKS_MAX {
                known.push(tag);
                afterlife.bye(&response);
            }
        }
    })
    .await;
}

impl Afterlife {
    /// Same branch, number and way as the INVITE.
    fn cancel(&self) {
        let mut cancel = self.request.clone();
        cancel.method = Method::Cancel;
        cancel.body.clear();
        let keeps = |header: &Header| {
            ["Via", "From", "To", "Call-ID", "Max-Forwards", "Route"]
                .iter()
                .any(|name| header.name().eq_ignore_ascii_case(name))
        };
        let number =
            fields::one(&cancel.headers, "CSeq").and_then(|value| value.split(' ').next()?.parse::<u32>().ok());
        cancel.headers.retain(keeps);
        cancel
            .headers
            .push(Header::CSeq(rsipstack::sip::headers::untyped::CSeq::new(format!("{} CANCEL", number.unwrap_or(1)))));
        let Some(transaction) = self.hub.client(cancel, &self.flow) else { return };
        let limit = self.hub.settings.timers.ack;
        tokio::spawn(timeout(limit, finish(transaction)));
    }

    fn bye(&self, response: &Response) {
        if let Some(state) = state(&self.trunk, &self.request, &response.headers, &self.flow, &self.sequence) {
            hang_up(&self.hub, &self.trunk, &state, &self.flow, Reason::Normal);
        }
    }
}

async fn finish(mut transaction: Transaction) {
    if transaction.send().await.is_ok() {
        while transaction.receive().await.is_some() {}
    }
}

/// BYE in a task of its own, with its repetitions.
pub(super) fn hang_up(
    hub: &Arc<Hub>,
    trunk: &TrunkConfig,
    state: &DialogState,
    flow: &Flow,
    reason: Reason,
) -> tokio::task::JoinHandle<()> {
    let (hub, trunk, state, flow) = (Arc::clone(hub), trunk.clone(), state.clone(), flow.clone());
    tokio::spawn(async move {
        let limit = hub.settings.timers.ack;
        let Ok(Some(flow)) = timeout(limit, hub.fresh(&trunk, &state, &flow)).await else { return };
        let reason = format!("Reason: {}", reason.header());
        let Some(request) = state.request("BYE", &flow.local.to_string(), flow.transport, &[reason], None) else {
            return;
        };
        let _ = hub.exchange(request, &flow, &trunk, state.sequence(), limit).await;
    })
}

impl Hub {
    /// The way of a request within a dialog: where its route leads, as far as that may hear us.
    pub(super) fn hop(&self, state: &DialogState, flow: &Flow) -> Flow {
        if flow.transport != SipTransport::Udp {
            return flow.clone();
        }
        let hop = state.next_hop().filter(|hop| self.screen().allows(hop.ip()));
        hop.and_then(|hop| self.datagrams_to(hop)).unwrap_or_else(|| flow.clone())
    }

    /// The same, over a new stream when the old one is gone.
    pub(super) async fn fresh(self: &Arc<Self>, trunk: &TrunkConfig, state: &DialogState, flow: &Flow) -> Option<Flow> {
        if flow.is_open() {
            return Some(self.hop(state, flow));
        }
        self.flow_to(trunk).await
    }
}

/// What a response to an INVITE of ours makes of it.
pub(super) fn state(
    trunk: &TrunkConfig,
    request: &Request,
    response: &Headers,
    flow: &Flow,
    sequence: &Arc<AtomicU32>,
) -> Option<DialogState> {
    DialogState::from_response(request, response, contact(trunk, flow), Arc::clone(sequence))
}

/// Telephones that answer one call.
const FORKS_MAX: usize = 16;
