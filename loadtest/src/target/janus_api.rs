//! The Janus API over one WebSocket: requests with transactions, sessions kept alive, events by handle.
//!
//! One task owns the socket. Sessions of all seats travel on it; the gateway does not care, and the generator keeps one
//! socket instead of hundreds. Facts are those of Janus 1.1: an `ack` says only that a request is queued and may even
//! come after the answer, so it is not read; the answer to a plugin request is a `success` (done at once) or an `event`
//! that carries the request's transaction. Not here: what VideoRoom is asked for (`janus`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// A connection to a Janus. Cheap to clone; closes when the last clone is gone.
#[derive(Clone)]
pub struct Gateway {
    orders: mpsc::Sender<Order>,
    transactions: Arc<AtomicU64>,
    open: Arc<AtomicBool>,
}

impl Gateway {
    /// Opens the WebSocket.
    pub async fn connect(url: &str) -> Result<Self> {
        let mut request = url.into_client_request().with_context(|| format!("`{url}` is not a WebSocket URL"))?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("janus-protocol"));
        let opening = timeout(ANSWER_TIME_MAX, connect_async_with_config(request, None, true)).await;
        let (socket, _) = opening.context("Janus did not open its WebSocket in time")?.context("Janus")?;
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let open = Arc::new(AtomicBool::new(true));
        tokio::spawn(carry(socket, taken, open.clone()));
        Ok(Self { orders, transactions: Arc::default(), open })
    }

    /// Whether the socket stands.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Creates a session, kept alive until it is destroyed.
    pub async fn create_session(&self) -> Result<Session> {
        let id = self.ask(json!({"janus": "create"})).await?.id()?;
        self.order(Order::KeepAlive(id)).await?;
        Ok(Session { gateway: self.clone(), id })
    }

    async fn ask(&self, mut request: Value) -> Result<Reply> {
        let transaction = self.transactions.fetch_add(1, Ordering::Relaxed);
        request["transaction"] = transaction.to_string().into();
        let (answer, answered) = oneshot::channel();
        self.order(Order::Ask { transaction, text: request.to_string(), answer }).await?;
        let answered = timeout(ANSWER_TIME_MAX, answered).await;
        let outcome = answered.with_context(|| format!("Janus did not answer {} in time", request["janus"]))?;
        match outcome.context("Janus closed the WebSocket")? {
            Ok(reply) => Ok(reply),
            Err(refusal) => bail!("Janus refuses {}: {refusal}", request["body"]["request"]),
        }
    }

    async fn order(&self, order: Order) -> Result<()> {
        self.orders.send(order).await.ok().context("Janus closed the WebSocket")
    }
}

/// One person's session.
#[derive(Clone)]
pub struct Session {
    gateway: Gateway,
    id: u64,
}

impl Session {
    /// Attaches a handle of VideoRoom: one peer connection at most. What Janus says of it unasked goes to `events`.
    pub async fn attach(&self, events: mpsc::Sender<Event>) -> Result<Requests> {
        let request = json!({"janus": "attach", "session_id": self.id, "plugin": "janus.plugin.videoroom"});
        let handle = self.gateway.ask(request).await?.id()?;
        self.gateway.order(Order::Listen { handle, events }).await?;
        Ok(Requests { gateway: self.gateway.clone(), session: self.id, handle })
    }

    /// Ends the session with its handles and their peer connections.
    pub async fn destroy(self) -> Result<()> {
        self.gateway.order(Order::LetGo(self.id)).await?;
        self.gateway.ask(json!({"janus": "destroy", "session_id": self.id})).await?;
        Ok(())
    }
}

/// One handle, to ask on it.
#[derive(Clone)]
pub struct Requests {
    gateway: Gateway,
    session: u64,
    handle: u64,
}

impl Requests {
    /// Asks the plugin, with an SDP offer or answer where the request needs one.
    pub async fn ask(&self, body: Value, sdp: Option<(SdpKind, String)>) -> Result<Reply> {
        let (session, handle) = (self.session, self.handle);
        let mut request = json!({"janus": "message", "session_id": session, "handle_id": handle, "body": body});
        if let Some((kind, sdp)) = sdp {
            let kind = match kind {
                SdpKind::Offer => "offer",
                SdpKind::Answer => "answer",
            };
            request["jsep"] = json!({"type": kind, "sdp": sdp});
        }
        self.gateway.ask(request).await
    }
}

/// Which half of a negotiation an SDP is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SdpKind {
    /// The first.
    Offer,
    /// The second.
    Answer,
}

/// What Janus answered.
#[derive(Clone, PartialEq, Debug)]
pub struct Reply {
    /// Its `data`: the core's or the plugin's.
    pub data: Value,
    /// The SDP that came with it.
    pub sdp: Option<String>,
}

impl Reply {
    fn id(&self) -> Result<u64> {
        self.data["id"].as_u64().with_context(|| format!("an answer without an id: {}", self.data))
    }

    /// The SDP, which the request must have brought.
    pub fn sdp(&self) -> Result<&str> {
        self.sdp.as_deref().context("Janus answered without an SDP")
    }

    /// The feeds it names.
    #[must_use]
    pub fn feeds(&self) -> Vec<u64> {
        feeds(&self.data)
    }
}

/// What Janus says unasked about a handle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// These publish now.
    Feeds(Vec<u64>),
    /// The peer connection is gone, with Janus's reason.
    HungUp(String),
}

enum Order {
    Ask { transaction: u64, text: String, answer: oneshot::Sender<Result<Reply, String>> },
    Listen { handle: u64, events: mpsc::Sender<Event> },
    KeepAlive(u64),
    LetGo(u64),
}

/// What a message of Janus is to us.
#[derive(PartialEq, Debug)]
enum Incoming {
    Reply { transaction: u64, outcome: Result<Reply, String> },
    Unasked { handle: u64, event: Event },
    Nothing,
}

/// Carries orders to the socket and messages from it until either end is gone.
async fn carry(mut socket: Socket, mut orders: mpsc::Receiver<Order>, open: Arc<AtomicBool>) {
    let mut desk = Desk::default();
    let mut keep_alive = interval(KEEP_ALIVE_EVERY);
    keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let sent = tokio::select! {
            order = orders.recv() => match order.map(|order| desk.handle_order(order)) {
                Some(Some(text)) => socket.send(Message::text(text)).await,
                Some(None) => Ok(()),
                None => break,
            },
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    desk.handle_message(&text);
                    Ok(())
                }
                Some(Ok(Message::Close(_))) | Some(Err(_)) | None => break,
                Some(Ok(_)) => Ok(()),
            },
            _ = keep_alive.tick() => {
                let mut sent = Ok(());
                for session in &desk.sessions {
                    let text = json!({"janus": "keepalive", "session_id": session, "transaction": "-"});
                    sent = socket.feed(Message::text(text.to_string())).await;
                }
                match sent {
                    Ok(()) => socket.flush().await,
                    failed => failed,
                }
            }
        };
        if sent.is_err() {
            break;
        }
    }
    open.store(false, Ordering::Relaxed);
}

/// Who waits for what.
#[derive(Default)]
struct Desk {
    waiting: HashMap<u64, oneshot::Sender<Result<Reply, String>>>,
    listeners: HashMap<u64, mpsc::Sender<Event>>,
    sessions: HashSet<u64>,
}

impl Desk {
    /// Notes who waits; gives what must be sent.
    fn handle_order(&mut self, order: Order) -> Option<String> {
        match order {
            Order::Ask { transaction, text, answer } => {
                self.waiting.insert(transaction, answer);
                return Some(text);
            }
            Order::Listen { handle, events } => drop(self.listeners.insert(handle, events)),
            Order::KeepAlive(session) => drop(self.sessions.insert(session)),
            Order::LetGo(session) => drop(self.sessions.remove(&session)),
        }
        None
    }

    fn handle_message(&mut self, text: &str) {
        let Ok(message) = serde_json::from_str(text) else { return };
        match classify(&message) {
            Incoming::Reply { transaction, outcome } => {
                if let Some(answer) = self.waiting.remove(&transaction) {
                    // Whoever gave up waiting does not want it any more.
                    let _ = answer.send(outcome);
                }
            }
            Incoming::Unasked { handle, event } => {
                let gone = self.listeners.get(&handle).is_some_and(|to| to.try_send(event).is_err() && to.is_closed());
                if gone {
                    self.listeners.remove(&handle);
                }
            }
            Incoming::Nothing => {}
        }
    }
}

fn classify(message: &Value) -> Incoming {
    let kind = message["janus"].as_str().unwrap_or_default();
    let transaction = message["transaction"].as_str().and_then(|text| text.parse().ok());
    match (kind, transaction) {
        ("success" | "event", Some(transaction)) => Incoming::Reply { transaction, outcome: reply(message) },
        ("error", Some(transaction)) => {
            Incoming::Reply { transaction, outcome: Err(message["error"]["reason"].to_string()) }
        }
        ("event" | "hangup", None) => match (message["sender"].as_u64(), unasked(kind, message)) {
            (Some(handle), Some(event)) => Incoming::Unasked { handle, event },
            _ => Incoming::Nothing,
        },
        _ => Incoming::Nothing,
    }
}

fn reply(message: &Value) -> Result<Reply, String> {
    let plugin = &message["plugindata"]["data"];
    let data = if plugin.is_null() { &message["data"] } else { plugin };
    match data["error"].as_str() {
        Some(error) => Err(error.to_owned()),
        None => Ok(Reply { data: data.clone(), sdp: message["jsep"]["sdp"].as_str().map(str::to_owned) }),
    }
}

fn unasked(kind: &str, message: &Value) -> Option<Event> {
    if kind == "hangup" {
        return Some(Event::HungUp(message["reason"].as_str().unwrap_or("no reason given").to_owned()));
    }
    let feeds = feeds(&message["plugindata"]["data"]);
    (!feeds.is_empty()).then_some(Event::Feeds(feeds))
}

fn feeds(data: &Value) -> Vec<u64> {
    data["publishers"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_u64()).collect()
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Janus forgets a session after 60 s without a word.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(25);
/// Longer than any answer takes on a working server.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Requests that wait for the socket; more senders wait in turn.
const ORDERS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_hdr_async;
    use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

    /// As Janus 1.1.2 answered `joinandconfigure`.
    fn joined(transaction: &str) -> Value {
        json!({"janus": "event", "session_id": 1, "transaction": transaction, "sender": 5,
            "plugindata": {"plugin": "janus.plugin.videoroom", "data": {"videoroom": "joined", "room": 77, "id": 1,
                "private_id": 414952129, "publishers": [{"id": 2, "streams": []}]}},
            "jsep": {"type": "answer", "sdp": "v=0\r\n"}})
    }

    #[test]
    fn an_answer_carries_data_sdp_and_feeds() {
        let Incoming::Reply { transaction: 3, outcome: Ok(reply) } = classify(&joined("3")) else { panic!() };
        assert_eq!((reply.sdp().unwrap(), reply.feeds()), ("v=0\r\n", vec![2]));
    }

    #[test]
    fn an_acknowledgement_is_not_an_answer() {
        assert_eq!(classify(&json!({"janus": "ack", "session_id": 1, "transaction": "3"})), Incoming::Nothing);
    }

    #[test]
    fn the_core_and_the_plugin_refuse_in_different_places() {
        let core = json!({"janus": "error", "transaction": "3", "error": {"code": 458, "reason": "No such session 1"}});
        let plugin = json!({"janus": "event", "transaction": "3", "sender": 5, "plugindata": {"data":
            {"videoroom": "event", "error_code": 426, "error": "No such room (78)"}}});
        for (message, words) in [(core, "No such session"), (plugin, "No such room")] {
            let Incoming::Reply { transaction: 3, outcome: Err(why) } = classify(&message) else { panic!() };
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn what_comes_unasked_goes_to_its_handle() {
        let mut arrival = joined("3");
        arrival.as_object_mut().unwrap().remove("transaction");
        assert_eq!(classify(&arrival), Incoming::Unasked { handle: 5, event: Event::Feeds(vec![2]) });
        let hangup = json!({"janus": "hangup", "session_id": 1, "sender": 5, "reason": "ICE failed"});
        assert_eq!(classify(&hangup), Incoming::Unasked { handle: 5, event: Event::HungUp("ICE failed".to_owned()) });
        assert_eq!(classify(&json!({"janus": "webrtcup", "session_id": 1, "sender": 5})), Incoming::Nothing);
    }

    /// Answers requests as Janus does: the second one first, and each `ack` after its answer.
    async fn serve(listener: TcpListener) {
        let (stream, _) = listener.accept().await.unwrap();
        #[expect(clippy::result_large_err, reason = "the type is the library's")]
        let choose = |request: &Request, mut response: Response| {
            assert_eq!(request.headers()["Sec-WebSocket-Protocol"], "janus-protocol");
            response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("janus-protocol"));
            Ok(response)
        };
        let mut socket = accept_hdr_async(stream, choose).await.unwrap();
        let mut creations = Vec::new();
        while let Some(Ok(Message::Text(text))) = socket.next().await {
            let request: Value = serde_json::from_str(&text).unwrap();
            if request["janus"] == "create" {
                creations.push(request["transaction"].clone());
            }
            if creations.len() == 2 {
                for (id, transaction) in creations.drain(..).enumerate().rev() {
                    let success = json!({"janus": "success", "transaction": transaction, "data": {"id": id}});
                    let ack = json!({"janus": "ack", "transaction": transaction});
                    socket.send(Message::text(success.to_string())).await.unwrap();
                    socket.send(Message::text(ack.to_string())).await.unwrap();
                }
            }
        }
    }

    #[tokio::test]
    async fn answers_find_who_asked_in_whatever_order_they_come() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(serve(listener));
        let gateway = Gateway::connect(&url).await.unwrap();
        let (first, second) = tokio::join!(gateway.create_session(), gateway.create_session());
        assert_eq!((first.unwrap().id, second.unwrap().id), (0, 1));
        server.abort();
        let _ = server.await;
        let error = gateway.create_session().await.err().expect("the socket is gone").to_string();
        assert!(error.contains("closed"), "{error}");
        assert!(!gateway.is_open());
    }
}
