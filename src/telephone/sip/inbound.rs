//! A call that comes in, until it is answered: who may call which number, 100, 180, and the answer or a refusal.
//!
//! Not here: the answered call (`call`). Whatever happens to the handle, the INVITE gets a final response.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rsipstack::sip::{Header, Method, Request, Response, SipMessage, StatusCode};
use rsipstack::transaction::transaction::{Transaction, TransactionEvent};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

use crate::config::telephone::{CountryCode, Number, TrunkConfig};
use crate::pii::Pii;
use crate::telephone::sdp::Remote;

use super::call::{Call, Parts};
use super::causes::{EndCause, Refusal};
use super::dialog::{Command, Dialog, DialogEvent};
use super::digest::Verdict;
use super::endpoint::{ALLOW, Incoming, SUPPORTED, refuse, reply};
use super::exchange::{self, Pump};
use super::fields::{self, Address};
use super::hub::{Flow, Hub, Registered, Unregistered};
use super::inspection::{No, description};
use super::outbound;
use super::session_timer::{Said, SessionTimer};
use super::state::DialogState;

/// The handle of a call that nobody has answered yet. Dropping it refuses the call.
pub struct InboundCall {
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<DialogEvent>,
    end: Arc<OnceLock<EndCause>>,
}

/// The caller hung up before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the caller is gone")]
pub struct Gone;

impl InboundCall {
    /// Lets it ring at the caller's (180).
    pub async fn ring(&self) {
        let _ = self.commands.send(Command::Ring).await;
    }

    /// Answers with our description: the answer to the offer, or our offer when there was none.
    pub async fn answer(self, sdp: String) -> Result<Dialog, Gone> {
        let (done, answered) = oneshot::channel();
        self.commands.send(Command::Answer { sdp, done }).await.map_err(|_| Gone)?;
        match timeout(ANSWER, answered).await {
            Ok(Ok(())) => Ok(Dialog { commands: self.commands, events: self.events, end: self.end }),
            _ => Err(Gone),
        }
    }

    /// Refuses.
    pub async fn refuse(self, refusal: Refusal) {
        let _ = self.commands.send(Command::Refuse(refusal)).await;
    }

    /// Returns when the caller has hung up.
    pub async fn gone(&self) {
        self.commands.closed().await;
    }
}

/// A first INVITE: refused here, or handed on and carried to its end.
pub(super) async fn handle_invite(hub: Arc<Hub>, mut transaction: Transaction, incoming: mpsc::Sender<Incoming>) {
    // None: its stream is closed by now, and with it the way of an answer.
    let Some(flow) = hub.flow_of(&transaction) else { return };
    let Some(trunk) = hub.trunk_of(flow.peer.ip(), flow.transport) else {
        return reply(transaction, 403, &[]);
    };
    let screened = match screened(&hub, &trunk, &transaction.original).await {
        Ok(screened) => screened,
        Err(no) => return refuse(transaction, no),
    };
    let tag = fields::random_text();
    let contact = outbound::contact(&trunk, &flow);
    let state = DialogState::from_request(&transaction.original, &tag, contact);
    let Some(state) = state else { return reply(transaction, 400, &[]) };
    hub.handle_caller(&trunk, &transaction.original.headers, flow.peer);
    let (registered, requests) = match hub.register((state.call_id.clone(), tag.clone()), Some(state.opened())) {
        Ok(registered) => registered,
        // The same request came on two ways: one of them is enough (RFC 3261 section 8.2.2.2).
        Err(Unregistered::Merged) => return reply(transaction, 482, &[]),
        Err(Unregistered::Full) => {
            hub.counters.refused_full.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            return reply(transaction, 503, &[RETRY]);
        }
    };
    let _ = timeout(ANSWER, transaction.send_trying()).await;
    set_tag(&mut transaction.original, &tag);
    let (commands, orders) = mpsc::channel(COMMANDS_MAX);
    let (events, listener) = mpsc::channel(EVENTS_MAX);
    let end = Arc::new(OnceLock::new());
    let call = Incoming {
        trunk: trunk.name.clone(),
        called: screened.called,
        caller: caller(&transaction.original, hub.settings.country),
        offer: screened.offer.clone(),
        secure: flow.is_secure(),
        call: InboundCall { commands, events: listener, end: Arc::clone(&end) },
    };
    if incoming.try_send(call).is_err() {
        hub.counters.refused_full.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        return reply(transaction, 503, &[RETRY]);
    }
    hub.counters.accepted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let linger = hub.settings.timers.ack;
    let ringing = Ringing {
        pump: exchange::pump(transaction, linger),
        late: screened.offer.is_none(),
        timer: screened.timer,
        session: screened.session,
        hub,
        trunk,
        flow,
        state,
        registered,
        orders,
        requests,
        events,
        end,
        reliable: None,
    };
    ringing.run().await;
}

/// What a first INVITE must have.
struct Screened {
    called: Option<Pii<Number>>,
    offer: Option<Remote>,
    timer: SessionTimer,
    session: Option<String>,
}

async fn screened(hub: &Hub, trunk: &TrunkConfig, request: &Request) -> Result<Screened, No> {
    let headers = &request.headers;
    if trunk.challenge {
        challenged(hub, trunk, request).await?;
    }
    let called = called(trunk, request, hub.settings.country).ok_or_else(|| {
        hub.counters.refused_number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        No::from(404)
    })?;
    let offer = description(request).inspect_err(|_| {
        hub.counters.refused_media.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    })?;
    let (own, least) = (hub.settings.session_expires, hub.settings.timers.session_min);
    let supported = fields::has_token(headers, "Supported", "timer") || fields::has_token(headers, "Require", "timer");
    let said = fields::one(headers, "Session-Expires").and_then(Said::parse);
    let (timer, session) = SessionTimer::answer(said, supported, own, least, Instant::now())
        .map_err(|_| No::with(422, format!("Min-SE: {}", least.as_secs())))?;
    Ok(Screened { called, offer, timer, session })
}

async fn challenged(hub: &Hub, trunk: &TrunkConfig, request: &Request) -> Result<(), No> {
    let Some(credentials) = trunk.credentials.clone() else { return Err(No::from(403)) };
    let realm = credentials.realm.clone().unwrap_or_else(|| "colloque".to_owned());
    let now = hub.seconds();
    let username = credentials.auth_username.clone();
    let read = tokio::task::spawn_blocking(move || credentials.password.read());
    let password = timeout(ANSWER, read).await.ok().and_then(Result::ok).and_then(Result::ok).ok_or(No::from(500))?;
    let verdict = fields::one(&request.headers, "Authorization")
        .map(|value| hub.challenger.judge(value, &username.0, &password, &realm, request.method, now));
    if verdict == Some(Verdict::Right) {
        return Ok(());
    }
    if verdict == Some(Verdict::Wrong) {
        hub.counters.refused_auth.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
    let challenge = hub.challenger.challenge(&realm, now, verdict == Some(Verdict::Stale));
    Err(No::with(401, format!("WWW-Authenticate: {challenge}")))
}

/// Which number of the trunk is called. The outer none: the number is not ours.
fn called(trunk: &TrunkConfig, request: &Request, country: CountryCode) -> Option<Option<Pii<Number>>> {
    let target = fields::user_of(&request.uri.to_string());
    let to = fields::one(&request.headers, "To").and_then(Address::parse).and_then(|to| to.user());
    let mut named = [&target, &to].into_iter().flatten().filter_map(|user| number(user, country));
    if trunk.inbound_numbers.is_empty() {
        return Some(named.next());
    }
    if let Some(ours) = named.find(|number| trunk.inbound_numbers.contains(number)) {
        return Some(Some(ours));
    }
    // A registered line is called by its user name.
    let username =
        trunk.credentials.as_ref().filter(|_| trunk.register.is_some()).map(|credentials| &credentials.username.0);
    (username.is_some() && username == target.as_ref()).then_some(None)
}

/// Operators write `+33…`, `0033…`, `33…` and `01…`.
fn number(user: &str, country: CountryCode) -> Option<Pii<Number>> {
    let international = || Number::parse(&format!("+{user}"), country);
    Number::parse(user, country).or_else(international).map(Pii)
}

fn caller(request: &Request, country: CountryCode) -> Option<Pii<Number>> {
    if fields::all(&request.headers, "Privacy").iter().any(|value| value.split(';').any(|word| word.trim() == "id")) {
        return None;
    }
    let asserted = fields::all(&request.headers, "P-Asserted-Identity").into_iter().flat_map(fields::split_list);
    let named = asserted.chain(fields::one(&request.headers, "From"));
    named.filter_map(Address::parse).filter_map(|address| address.user()).find_map(|user| number(&user, country))
}

/// All responses of the dialog carry the same tag.
fn set_tag(request: &mut Request, tag: &str) {
    for header in request.headers.iter_mut() {
        if let Header::To(to) = header {
            *to = rsipstack::sip::headers::untyped::To::new(format!("{};tag={tag}", to.value()));
        }
    }
}

/// A call between its INVITE and our answer.
struct Ringing {
    hub: Arc<Hub>,
    trunk: TrunkConfig,
    flow: Flow,
    state: DialogState,
    registered: Registered,
    pump: Pump,
    orders: mpsc::Receiver<Command>,
    requests: mpsc::Receiver<Transaction>,
    events: mpsc::Sender<DialogEvent>,
    end: Arc<OnceLock<EndCause>>,
    /// The other side waits for our offer.
    late: bool,
    timer: SessionTimer,
    session: Option<String>,
    /// A 180 that wants its PRACK: the response, when it goes out again, and the wait behind that (RFC 3262 section 3).
    reliable: Option<(Response, Instant, Duration)>,
}

impl Ringing {
    async fn run(mut self) {
        let give_up = Instant::now() + RINGING_MAX;
        loop {
            let tick = self.reliable.as_ref().map_or(give_up, |(_, at, _)| give_up.min(*at));
            let step = tokio::select! {
                order = self.orders.recv() => self.handle_order(order),
                message = self.pump.from.recv() => self.handle_message(message),
                Some(request) = self.requests.recv() => self.handle_request(request),
                () = sleep_until(tick.into()) => self.handle_tick(give_up),
                () = self.hub.closing() => self.refuse(503),
            };
            match step {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(None) => return,
                ControlFlow::Break(Some(sdp)) => return self.up(sdp).run().await,
            }
        }
    }

    /// Break: with our description the call is answered, without it is over.
    fn handle_order(&mut self, order: Option<Command>) -> ControlFlow<Option<String>> {
        match order {
            Some(Command::Ring) if self.reliable.is_none() => {
                let mut response = self.response(180, None, &[]);
                if fields::has_token(&self.pump.original.headers, "Require", "100rel") {
                    response.headers.push(Header::Other("Require".into(), "100rel".into()));
                    response.headers.push(Header::Other("RSeq".into(), "1".into()));
                    self.reliable = Some((response.clone(), Instant::now() + T1, T1));
                }
                self.send(response)
            }
            Some(Command::Answer { sdp, done }) => {
                let mut lines = vec![ALLOW.to_owned(), SUPPORTED.to_owned()];
                if let Some(session) = &self.session {
                    lines.push(format!("Session-Expires: {session}"));
                    if session.ends_with("uac") {
                        lines.push("Require: timer".to_owned());
                    }
                }
                self.send(self.response(200, Some(&sdp), &lines))?;
                let _ = done.send(());
                ControlFlow::Break(Some(sdp))
            }
            Some(Command::Refuse(refusal)) => self.refuse(refusal.status()),
            Some(_) => ControlFlow::Continue(()),
            None => self.refuse(480),
        }
    }

    fn handle_message(&mut self, message: Option<SipMessage>) -> ControlFlow<Option<String>> {
        match message {
            Some(SipMessage::Request(request)) if request.method == Method::Cancel => self.refuse(487),
            Some(_) => ControlFlow::Continue(()),
            None => ControlFlow::Break(None),
        }
    }

    fn handle_request(&mut self, request: Transaction) -> ControlFlow<Option<String>> {
        match request.original.method {
            Method::PRack => {
                let acknowledged =
                    self.reliable.as_mut().filter(|_| fields::one(&request.original.headers, "RAck").is_some());
                let status = if acknowledged.is_some() { 200 } else { 481 };
                if let Some((_, at, _)) = acknowledged {
                    // It stays, so that a second `ring` sends nothing; it only is not repeated any more.
                    *at = Instant::now() + RINGING_MAX;
                }
                reply(request, status, &[]);
                ControlFlow::Continue(())
            }
            Method::Bye => {
                reply(request, 200, &[]);
                self.refuse(487)
            }
            Method::Options => {
                reply(request, 200, &[ALLOW, SUPPORTED]);
                ControlFlow::Continue(())
            }
            _ => {
                reply(request, 500, &["Retry-After: 3"]);
                ControlFlow::Continue(())
            }
        }
    }

    fn handle_tick(&mut self, give_up: Instant) -> ControlFlow<Option<String>> {
        let now = Instant::now();
        if now >= give_up {
            return self.refuse(480);
        }
        let Some((response, at, wait)) = &mut self.reliable else { return ControlFlow::Continue(()) };
        *wait *= 2;
        *at = now + *wait;
        // 64 * T1 without PRACK: the INVITE is refused (RFC 3262 section 3).
        if *wait > 64 * T1 {
            return self.refuse(504);
        }
        let response = response.clone();
        self.send(response)
    }

    fn refuse(&mut self, status: u16) -> ControlFlow<Option<String>> {
        let lines = if status == 503 { vec![RETRY.to_owned()] } else { Vec::new() };
        let _ = self.send(self.response(status, None, &lines));
        ControlFlow::Break(None)
    }

    fn send(&self, response: Response) -> ControlFlow<Option<String>> {
        match self.pump.to.send(TransactionEvent::Respond(response)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(None),
        }
    }

    fn response(&self, status: u16, sdp: Option<&str>, lines: &[String]) -> Response {
        response(&self.hub, &self.pump.original, &self.state.contact, status, sdp, lines)
    }

    fn up(self, sdp: String) -> Call {
        let update = fields::has_token(&self.pump.original.headers, "Allow", "UPDATE");
        Call::new(Parts {
            hub: self.hub,
            trunk: self.trunk,
            flow: self.flow,
            state: self.state,
            _registered: self.registered,
            commands: self.orders,
            requests: self.requests,
            events: self.events,
            end: self.end,
            unacknowledged: Some((self.pump, self.late)),
            timer: self.timer,
            update,
            sdp,
        })
    }
}

/// A response within a dialog, with what makes and keeps one: `Contact`, `Record-Route` (RFC 3261 section 12.1.1).
pub(super) fn response(
    hub: &Hub,
    request: &Request,
    contact: &str,
    status: u16,
    sdp: Option<&str>,
    lines: &[String],
) -> Response {
    let body = sdp.map(|sdp| sdp.as_bytes().to_vec());
    let mut response = hub.inner.make_response(request, StatusCode::from(status), body);
    let routes = request.headers.iter().filter(|header| matches!(header, Header::RecordRoute(_)));
    response.headers.extend(routes.cloned().collect());
    if status < 300 {
        response.headers.push(Header::Other("Contact".into(), format!("<{contact}>")));
    }
    for (name, value) in lines.iter().filter_map(|line| line.split_once(": ")) {
        response.headers.push(Header::Other(name.to_owned(), value.to_owned()));
    }
    if sdp.is_some() {
        response.headers.push(Header::Other("Content-Type".into(), "application/sdp".into()));
    }
    response
}

const RETRY: &str = "Retry-After: 10";
const T1: Duration = Duration::from_millis(500);
/// A proxy gives up after three minutes (RFC 3261 section 16.6).
const RINGING_MAX: Duration = Duration::from_secs(180);
/// To hand a message to the stack.
const ANSWER: Duration = Duration::from_secs(5);
/// Orders to a call that it has not taken up; more wait.
pub(super) const COMMANDS_MAX: usize = 8;
/// Events that nobody has fetched: digits beyond it are lost.
pub(super) const EVENTS_MAX: usize = 64;
