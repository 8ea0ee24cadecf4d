//! One WebSocket to the server: typed messages in, typed messages out.
//!
//! Acknowledges as PROTOCOL.md asks and answers nothing else by itself but gates, where it is asked to; a [`Line`] goes on doing so in the background.
//! Not here: what the messages lead to (`target::colloque`).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use colloque_signaling::message::{
    Choice, ClientMessage, Gate, GateAnswer, Resume, ServerEnvelope, ServerMessage, VERSION,
};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{interval_at, timeout};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::api::Session;

/// A seat's signalling socket.
pub struct Signalling {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    received: u32,
    acknowledged: u32,
    ticket: Option<String>,
}

/// What came in.
#[derive(Debug)]
pub enum Received {
    /// A message.
    Message(ServerMessage),
    /// The socket was closed with this code; 0 when there was none.
    Closed(u16),
}

impl Signalling {
    /// Opens the socket; nothing is sent yet.
    pub async fn open(ws_url: &str) -> Result<Self> {
        let (socket, _) = timeout(ANSWER_TIME_MAX, connect_async_with_config(ws_url, None, true))
            .await
            .context("the WebSocket did not open in time")??;
        Ok(Self { socket, received: 0, acknowledged: 0, ticket: None })
    }

    /// Sends `join` and waits for `welcome`. Gives whether the seat is admitted.
    pub async fn join(&mut self, session: &Session) -> Result<bool> {
        self.send(&ClientMessage::Join { version: VERSION, session: session.session.clone(), resume: None }).await?;
        self.wait(|message| match message {
            ServerMessage::Welcome { admitted, .. } => Some(*admitted),
            _ => None,
        })
        .await
    }

    /// Joins, answers whatever is asked before media, and waits to be let in.
    pub async fn enter(&mut self, session: &Session) -> Result<()> {
        if self.join(session).await? {
            return Ok(());
        }
        let inside = async {
            loop {
                match self.next().await? {
                    Received::Message(ServerMessage::Admitted) => return Ok(()),
                    Received::Message(ServerMessage::Gates { pending }) => self.answer(&pending).await?,
                    Received::Message(ServerMessage::Error { code, message, .. }) => bail!("{code:?}: {message}"),
                    Received::Message(_) => {}
                    Received::Closed(code) => bail!("the server closed the WebSocket with {code}"),
                }
            }
        };
        timeout(ANSWER_TIME_MAX, inside).await.context("the seat was not let in in time")?
    }

    /// Answers every gate the way that opens the door; what was answered before does no harm.
    pub async fn answer(&mut self, pending: &[Gate]) -> Result<()> {
        for answer in pending.iter().filter_map(opening) {
            self.send(&ClientMessage::Gate { answer }).await?;
        }
        Ok(())
    }

    /// Sends `join` with the ticket and goes on from the last message that was read. False when the server began anew.
    pub async fn resume(&mut self, session: &Session, resume: Resume) -> Result<bool> {
        self.received = resume.received;
        self.acknowledged = resume.received;
        let (version, session) = (VERSION, session.session.clone());
        self.send(&ClientMessage::Join { version, session, resume: Some(resume) }).await?;
        self.wait(|message| match message {
            ServerMessage::Resumed { .. } => Some(true),
            ServerMessage::Welcome { .. } => Some(false),
            _ => None,
        })
        .await
    }

    /// What a later socket needs to go on from here; `None` before `welcome`.
    #[must_use]
    pub fn resumption(&self) -> Option<Resume> {
        Some(Resume { ticket: self.ticket.clone()?, received: self.received })
    }

    /// Says that the seat leaves, and waits until the server has heard it.
    pub async fn leave(mut self) -> Result<()> {
        self.send(&ClientMessage::Leave).await?;
        // A socket that is closed with something unread takes back what was just sent.
        let heard = async { while !matches!(self.next().await, Ok(Received::Closed(_)) | Err(_)) {} };
        timeout(ANSWER_TIME_MAX, heard).await.context("leaving was not heard in time")
    }

    /// Sends a message.
    pub async fn send(&mut self, message: &ClientMessage) -> Result<()> {
        self.send_text(serde_json::to_string(message)?).await
    }

    /// Sends a text frame as it is.
    pub async fn send_text(&mut self, text: String) -> Result<()> {
        Ok(self.socket.send(Message::text(text)).await?)
    }

    /// The next message. Cancel safe.
    pub async fn next(&mut self) -> Result<Received> {
        if self.received >= self.acknowledged + ACK_EVERY {
            self.acknowledged = self.received;
            self.send(&ClientMessage::Ack { received: self.received }).await?;
        }
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let envelope: ServerEnvelope = serde_json::from_str(&text).context("a server message")?;
                    self.received = self.received.max(envelope.seq);
                    if let ServerMessage::Welcome { ticket, .. } | ServerMessage::Resumed { ticket } = &envelope.message
                    {
                        self.ticket = Some(ticket.clone());
                    }
                    return Ok(Received::Message(envelope.message));
                }
                Some(Ok(Message::Close(frame))) => {
                    return Ok(Received::Closed(frame.map_or(0, |frame| frame.code.into())));
                }
                Some(Ok(_)) => {}
                None | Some(Err(Error::ConnectionClosed | Error::Protocol(_))) => return Ok(Received::Closed(0)),
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// Waits for the first message of which `pick` makes something. An error message or a close ends the wait.
    pub async fn wait<T>(&mut self, mut pick: impl FnMut(&ServerMessage) -> Option<T>) -> Result<T> {
        let wait = async {
            loop {
                match self.next().await? {
                    Received::Message(message) => match (pick(&message), message) {
                        (Some(picked), _) => return Ok(picked),
                        (None, ServerMessage::Error { code, message, .. }) => bail!("{code:?}: {message}"),
                        (None, _) => {}
                    },
                    Received::Closed(code) => bail!("the server closed the WebSocket with {code}"),
                }
            }
        };
        timeout(ANSWER_TIME_MAX, wait).await.context("no answer on the WebSocket in time")?
    }
}

/// A signalling socket that is read, acknowledged and kept alive in the background.
pub struct Line {
    messages: mpsc::Sender<ClientMessage>,
    task: JoinHandle<Option<Signalling>>,
    failure: Arc<OnceLock<String>>,
}

impl Line {
    /// Takes the socket over.
    #[must_use]
    pub fn start(signalling: Signalling) -> Self {
        let (messages, queue) = mpsc::channel(MESSAGES_MAX);
        let failure = Arc::new(OnceLock::new());
        let task = tokio::spawn(attend(signalling, queue, Arc::clone(&failure)));
        Self { messages, task, failure }
    }

    /// Sends a message.
    pub async fn send(&self, message: ClientMessage) -> Result<()> {
        self.messages.send(message).await.context("the WebSocket is gone")
    }

    /// Why the socket or the seat was lost; `None` while both are well.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }

    /// Gives the socket back as it is, no longer read.
    pub async fn stop(self) -> Result<Signalling> {
        drop(self.messages);
        let why = || self.failure.get().cloned().unwrap_or_else(|| "the WebSocket is gone".to_owned());
        self.task.await?.with_context(why)
    }
}

/// Ends when nobody holds the line any more, giving the socket back, or when the socket is lost.
async fn attend(
    mut signalling: Signalling,
    mut queue: mpsc::Receiver<ClientMessage>,
    failure: Arc<OnceLock<String>>,
) -> Option<Signalling> {
    let mut ping = interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY);
    let mut pings = 0;
    let why = loop {
        let outcome = tokio::select! {
            message = queue.recv() => match message {
                Some(message) => signalling.send(&message).await,
                None => return Some(signalling),
            },
            received = signalling.next() => match received {
                Ok(Received::Message(ServerMessage::Error { code, message, .. })) => break format!("{code:?}: {message}"),
                // A professional who came later brings a card to be read.
                Ok(Received::Message(ServerMessage::Gates { pending })) => signalling.answer(&pending).await,
                Ok(Received::Message(_)) => Ok(()),
                Ok(Received::Closed(code)) => break format!("the server closed the WebSocket with {code}"),
                Err(error) => Err(error),
            },
            _ = ping.tick() => {
                pings += 1;
                signalling.send(&ClientMessage::Ping { id: pings }).await
            }
        };
        if let Err(error) = outcome {
            break format!("{error:#}");
        }
    };
    let _ = failure.set(why);
    None
}

/// The answer that opens a gate; none to a login, which is no message.
fn opening(gate: &Gate) -> Option<GateAnswer> {
    Some(match gate {
        Gate::Login => return None,
        Gate::Card { cards } => GateAnswer::Card { seats: cards.iter().map(|card| card.seat.clone()).collect() },
        Gate::Consent { text } => GateAnswer::Consent { text: text.clone(), accepted: true },
        Gate::ThirdPerson => GateAnswer::ThirdPerson { present: false },
        Gate::Preference => GateAnswer::Preference { choice: Choice::Video },
    })
}

/// Messages that wait for the socket: one for each slot that is shown.
const MESSAGES_MAX: usize = 64;
/// What pages do; the server takes a socket that is silent for 45 s as lost.
const PING_EVERY: Duration = Duration::from_secs(15);
/// Half of what the server asks its page to leave unacknowledged at most.
const ACK_EVERY: u32 = 16;
/// Longer than any answer takes on a working server; shorter would blame it for a busy machine.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
