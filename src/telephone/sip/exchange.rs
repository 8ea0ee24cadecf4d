//! One request of ours and its final response, with the digest's second round and a deadline.
//!
//! Not here: INVITEs that open a call (`outbound`). A re-INVITE's 200 is acknowledged by the stack, and again for every repetition.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rsipstack::sip::{Header, Method, Request, Response, SipMessage};
use rsipstack::transaction::key::{TransactionKey, TransactionRole};
use rsipstack::transaction::transaction::{Transaction, TransactionEventSender};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::telephone::TrunkConfig;

use super::digest::Challenge;
use super::fields;
use super::hub::{Flow, Hub};

/// Why a request had no good answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProbeFailure {
    /// No connection, or no answer in time.
    #[error("no answer")]
    Silent,
    /// The password or who we are is refused.
    #[error("the password or the user name is refused")]
    Auth,
    /// Another final status.
    #[error("it answers with status {0}")]
    Status(u16),
}

impl Hub {
    /// Sends a request and waits for its final response, answering one challenge. The numbers of `sequence` go on.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        request: Request,
        flow: &Flow,
        trunk: &TrunkConfig,
        sequence: &AtomicU32,
        limit: Duration,
    ) -> Result<Response, ProbeFailure> {
        let until = Instant::now() + limit;
        let mut request = request;
        for round in 0..CHALLENGES_MAX {
            let response = self.once(&request, flow, until).await?;
            let code = response.status_code.code();
            if !matches!(code, 401 | 407) {
                return Ok(response);
            }
            request = self
                .with_credentials(&request, &response, trunk, sequence, round > 0)
                .await
                .ok_or(ProbeFailure::Auth)?;
        }
        Err(ProbeFailure::Auth)
    }

    async fn once(self: &Arc<Self>, request: &Request, flow: &Flow, until: Instant) -> Result<Response, ProbeFailure> {
        let mut transaction = self.client(request.clone(), flow).ok_or(ProbeFailure::Silent)?;
        let exchanged = timeout_at(until, async {
            transaction.send().await.ok()?;
            while let Some(message) = transaction.receive().await {
                if let SipMessage::Response(response) = message
                    && response.status_code.code() >= 200
                {
                    return Some(response);
                }
            }
            None
        });
        let response = exchanged.await.ok().flatten();
        // The stack says 408 and 503 itself when nothing came or nothing could be sent: those have no remote tag and no sender.
        // A 200 that comes too late for us still wants its ACK.
        if request.method == Method::Invite {
            drain(transaction, self.settings.timers.ack);
        }
        response.ok_or(ProbeFailure::Silent)
    }

    /// A client transaction of ours on a way that is known: nothing is looked up.
    pub(super) fn client(&self, request: Request, flow: &Flow) -> Option<Transaction> {
        let key = TransactionKey::from_request(&request, TransactionRole::Client).ok()?;
        let mut transaction = Transaction::new_client(key, request, self.inner.clone(), Some(flow.connection.clone()));
        transaction.destination = flow.destination.clone();
        Some(transaction)
    }

    /// The same request once more, with an answer to the challenge. None: we have none for that realm, or it was refused.
    pub(super) async fn with_credentials(
        &self,
        request: &Request,
        response: &Response,
        trunk: &TrunkConfig,
        sequence: &AtomicU32,
        again: bool,
    ) -> Option<Request> {
        let proxy = response.status_code.code() == 407;
        let (ask, answer) =
            if proxy { ("Proxy-Authenticate", "Proxy-Authorization") } else { ("WWW-Authenticate", "Authorization") };
        let challenge = Challenge::best(fields::all(&response.headers, ask).into_iter())?;
        if again && !challenge.stale || !self.is_realm_of(trunk, &challenge.realm) {
            return None;
        }
        let credentials = trunk.credentials.clone()?;
        // A small local file.
        let read = tokio::task::spawn_blocking(move || (credentials.password.read(), credentials));
        let (password, credentials) = timeout(PASSWORD, read).await.ok()?.ok()?;
        let password =
            password.inspect_err(|error| tracing::error!(%error, trunk = %trunk.name, "no password")).ok()?;
        let value = challenge.answer(&credentials.auth_username.0, &password, request.method, &request.uri);
        let mut request = request.clone();
        request.headers.retain(|header| !header.name().eq_ignore_ascii_case(answer));
        request.headers.push(Header::Other(answer.to_owned(), value));
        renumber(&mut request, sequence.fetch_add(1, Ordering::Relaxed) + 1);
        Some(request)
    }
}

/// A fresh branch and number: another transaction.
pub(super) fn renumber(request: &mut Request, number: u32) {
    let branch = fields::random_branch();
    let method = request.method;
    for header in request.headers.iter_mut() {
        match header {
            Header::Via(via) => {
                let value = via.value().to_owned();
                if let Some((before, after)) = value.split_once("branch=") {
                    let rest = after.find(';').map_or("", |at| &after[at..]);
                    *via = rsipstack::sip::headers::untyped::Via::new(format!("{before}branch={branch}{rest}"));
                }
            }
            Header::CSeq(cseq) => {
                *cseq = rsipstack::sip::headers::untyped::CSeq::new(format!("{number} {method}"));
            }
            _ => {}
        }
    }
}

/// A transaction in a task of its own: reading it must never be broken off halfway, for its timers are re-armed there.
pub(super) struct Pump {
    /// Takes responses to send.
    pub(super) to: TransactionEventSender,
    /// The request.
    pub(super) original: Request,
    /// What the other side sends; closed when the transaction is over.
    pub(super) from: mpsc::Receiver<SipMessage>,
}

/// `linger`: how long the transaction goes on absorbing repetitions when nobody listens any more.
pub(super) fn pump(mut transaction: Transaction, linger: Duration) -> Pump {
    let (sender, from) = mpsc::channel(MESSAGES_MAX);
    let (to, original) = (transaction.tu_sender.clone(), transaction.original.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                biased;
                () = sender.closed() => return drain(transaction, linger),
                message = transaction.receive() => match message {
                    Some(message) => {
                        let _ = sender.send(message).await;
                    }
                    None => return,
                },
            }
        }
    });
    Pump { to, original, from }
}

/// Lets a transaction absorb repetitions until its own timers or `limit` end it.
pub(super) fn drain(mut transaction: Transaction, limit: Duration) {
    tokio::spawn(async move {
        let _ = timeout(limit, async { while transaction.receive().await.is_some() {} }).await;
    });
}

/// The first, and one more when the nonce was stale.
const CHALLENGES_MAX: usize = 3;
/// Messages of one transaction that wait for its call.
const MESSAGES_MAX: usize = 16;
const PASSWORD: Duration = Duration::from_secs(2);
