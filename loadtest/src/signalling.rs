//! One WebSocket to the server: typed messages in, typed messages out.
//!
//! Acknowledges as PROTOCOL.md asks and answers nothing else by itself. Not here: what the messages lead to
//! (`participant`).

use std::time::Duration;

use anyhow::{Context, Result, bail};
use colloque_signaling::message::{ClientMessage, ServerEnvelope, ServerMessage, VERSION};
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::api::Session;

/// A seat's signalling socket.
pub struct Signalling {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    received: u32,
    acknowledged: u32,
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
        Ok(Self { socket, received: 0, acknowledged: 0 })
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

/// Half of what the server asks its page to leave unacknowledged at most.
const ACK_EVERY: u32 = 16;
/// Longer than any answer takes on a working server; shorter would blame it for a busy machine.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
