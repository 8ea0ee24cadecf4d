//! What both sides of a dialog know (RFC 3261 section 12): names, route, numbers of requests.
//!
//! Not here: transactions and their waits. Pure but for the counter of requests, which a call's own tasks share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rsipstack::sip::{Headers, Request};

use crate::config::telephone::SipTransport;

use super::fields::{self, Address, Draft, Via};

/// A dialog from our side.
#[derive(Clone, Debug)]
pub(super) struct DialogState {
    pub(super) call_id: String,
    /// Value of our `From` in requests, with tag.
    local: String,
    pub(super) local_tag: String,
    /// Value of our `To` in requests, with tag.
    remote: String,
    pub(super) remote_tag: String,
    /// Where requests are addressed to.
    pub(super) target: String,
    routes: Vec<String>,
    /// Our `Contact`.
    pub(super) contact: String,
    sequence: Arc<AtomicU32>,
    /// Highest request number of theirs.
    remote_sequence: u32,
    /// We sent the INVITE: our Call-ID (RFC 3261 section 14.1 decides by it who waits longer).
    pub(super) we_called: bool,
}

impl DialogState {
    /// We answer this INVITE with that tag.
    pub(super) fn from_request(request: &Request, local_tag: &str, contact: String) -> Option<Self> {
        let headers = &request.headers;
        let (from, to) = (fields::one(headers, "From")?, fields::one(headers, "To")?);
        Some(DialogState {
            call_id: fields::one(headers, "Call-ID")?.to_owned(),
            local: format!("{};tag={local_tag}", without_tag(to)),
            local_tag: local_tag.to_owned(),
            remote: from.to_owned(),
            remote_tag: Address::parse(from)?.param("tag")?.to_owned(),
            target: target(headers)?,
            routes: record_routes(headers).collect(),
            contact,
            sequence: Arc::new(AtomicU32::new(0)),
            remote_sequence: sequence_of(headers)?,
            we_called: false,
        })
    }

    /// They answered our INVITE, finally or not.
    pub(super) fn from_response(
        request: &Request,
        response: &Headers,
        contact: String,
        sequence: Arc<AtomicU32>,
    ) -> Option<Self> {
        let (from, to) = (fields::one(&request.headers, "From")?, fields::one(response, "To")?);
        let mut routes: Vec<String> = record_routes(response).collect();
        routes.reverse();
        Some(DialogState {
            call_id: fields::one(&request.headers, "Call-ID")?.to_owned(),
            local: from.to_owned(),
            local_tag: Address::parse(from)?.param("tag")?.to_owned(),
            remote: to.to_owned(),
            remote_tag: Address::parse(to)?.param("tag")?.to_owned(),
            // A careless 1xx names nobody: then the number that was called must do.
            target: target(response).unwrap_or_else(|| request.uri.to_string()),
            routes,
            contact,
            sequence,
            remote_sequence: 0,
            we_called: true,
        })
    }

    /// A request within the dialog.
    pub(super) fn request(
        &self,
        method: &str,
        sent_by: &str,
        transport: SipTransport,
        extra: &[String],
        body: Option<&str>,
    ) -> Option<Request> {
        let via = Via { transport, sent_by: sent_by.to_owned(), branch: fields::random_branch() };
        let mut lines = vec![format!("Contact: <{}>", self.contact)];
        lines.extend_from_slice(extra);
        let draft = Draft {
            method,
            uri: &self.target,
            via: &via,
            from: &self.local,
            to: &self.remote,
            call_id: &self.call_id,
            cseq: self.sequence.fetch_add(1, Ordering::Relaxed) + 1,
            routes: &self.routes,
            extra: &lines,
            body,
        };
        draft.build()
    }

    /// By what an INVITE of theirs is known that opened this dialog, whichever way it came: their tag and its number.
    pub(super) fn opened(&self) -> (String, u32) {
        (self.remote_tag.clone(), self.remote_sequence)
    }

    /// The counter of our requests.
    pub(super) fn sequence(&self) -> &Arc<AtomicU32> {
        &self.sequence
    }

    /// Whether a request of theirs comes in order (RFC 3261 section 12.2.2); remembers it.
    pub(super) fn handle_sequence(&mut self, headers: &Headers) -> bool {
        match sequence_of(headers) {
            Some(number) if number >= self.remote_sequence => {
                self.remote_sequence = number;
                true
            }
            _ => false,
        }
    }

    /// A re-INVITE, UPDATE or its answer may move the other side (RFC 3261 section 12.2.1.2).
    pub(super) fn handle_target(&mut self, headers: &Headers) {
        if let Some(target) = target(headers) {
            self.target = target;
        }
    }

    /// Where a datagram goes, when the first route or the target says so by an address.
    pub(super) fn next_hop(&self) -> Option<SocketAddr> {
        let first = self.routes.first().and_then(|route| Address::parse(route)).map(|route| route.uri);
        fields::socket_of(first.as_ref().unwrap_or(&self.target))
    }
}

fn target(headers: &Headers) -> Option<String> {
    Address::parse(fields::one(headers, "Contact")?).map(|contact| contact.uri).filter(|uri| uri.starts_with("sip"))
}

/// At most [`ROUTES_MAX`]: a longer list is nobody's real network.
fn record_routes(headers: &Headers) -> impl Iterator<Item = String> {
    let values = fields::all(headers, "Record-Route");
    let routes: Vec<String> = values.into_iter().flat_map(fields::split_list).map(str::to_owned).collect();
    routes.into_iter().take(ROUTES_MAX)
}

fn sequence_of(headers: &Headers) -> Option<u32> {
    fields::one(headers, "CSeq")?.split_ascii_whitespace().next()?.parse().ok()
}

/// The value of a `To` without its tag.
fn without_tag(value: &str) -> &str {
    let from = value.rfind('>').unwrap_or(0);
    value[from..].find(";tag=").map_or(value, |at| &value[..from + at])
}

/// Proxies between an operator's edge and us.
const ROUTES_MAX: usize = 16;
