//! A page without media: what a host says and everybody is told.
//!
//! Not here: what is tested.

use std::net::SocketAddr;
use std::time::Duration;

use colloque_signaling::message::{
    ClientMessage, PhoneCause, PhoneState, SeatInfo, ServerEnvelope, ServerMessage, VERSION,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite};

use crate::server::id;
use crate::voice::PATIENCE;

/// A page's side of the socket.
pub struct Page {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Page {
    pub async fn open(address: SocketAddr, session: &str) -> Page {
        let (socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await.unwrap();
        let mut page = Page { socket };
        page.say(&ClientMessage::Join { version: VERSION, session: session.to_owned(), resume: None }).await;
        page
    }

    pub async fn say(&mut self, message: &ClientMessage) {
        let text = serde_json::to_string(message).unwrap();
        self.socket.send(tungstenite::Message::text(text)).await.unwrap();
    }

    /// Waits for a message that fits; others are passed over.
    pub async fn hears<T>(&mut self, what: &str, mut fits: impl FnMut(&ServerMessage) -> Option<T>) -> T {
        let mut passed = Vec::new();
        let found = async {
            while let Some(frame) = self.socket.next().await {
                let Ok(tungstenite::Message::Text(text)) = frame else { continue };
                let envelope: ServerEnvelope = serde_json::from_str(&text).unwrap();
                if let Some(found) = fits(&envelope.message) {
                    return Some(found);
                }
                passed.push(envelope.message);
            }
            None
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.ok().flatten().unwrap_or_else(|| panic!("never heard: {what}; heard: {passed:?}"))
    }

    pub async fn is_let_in(&mut self) {
        let let_in = |message: &ServerMessage| {
            matches!(message, ServerMessage::Admitted | ServerMessage::Welcome { admitted: true, .. }).then_some(())
        };
        self.hears("let in", let_in).await;
    }

    /// Waits until a seat's telephone is told to be like this.
    pub async fn is_told(&mut self, seat: &Value, state: PhoneState, cause: Option<PhoneCause>) {
        self.hears_of_phone(seat, |now, why| (now, why) == (state, cause)).await;
    }

    /// What is told of a seat's telephone up to the state that fits.
    pub async fn hears_of_phone(
        &mut self,
        seat: &Value,
        fits: impl Fn(PhoneState, Option<PhoneCause>) -> bool,
    ) -> Vec<(PhoneState, Option<PhoneCause>)> {
        let mut told = Vec::new();
        self.hears("a telephone's state", |message| {
            let ServerMessage::Phone { seat: of, state, cause, .. } = message else { return None };
            if of != id(seat) {
                return None;
            }
            told.push((*state, *cause));
            fits(*state, *cause).then_some(())
        })
        .await;
        told
    }

    /// Waits until the roster says this of a seat.
    pub async fn sees(&mut self, seat: &Value, mut fits: impl FnMut(&SeatInfo) -> bool) {
        self.hears("a roster", |message| match message {
            ServerMessage::Roster { seats } => {
                seats.iter().find(|info| info.seat == id(seat)).filter(|info| fits(info)).map(drop)
            }
            _ => None,
        })
        .await;
    }

    pub async fn admit(&mut self, seat: &Value) {
        self.say(&ClientMessage::Admit { seat: id(seat).into(), arrival: None }).await;
    }

    /// Has a seat called: the own one, or as a host another's.
    pub async fn calls(&mut self, seat: &Value) {
        self.say(&ClientMessage::Call { seat: id(seat).into(), encryption_ends: false }).await;
    }

    /// Reads for so long, and gives the signs of life of a page.
    pub async fn reads_for(&mut self, time: Duration) -> Vec<ServerMessage> {
        let mut heard = Vec::new();
        let deadline = tokio::time::Instant::now() + time;
        let mut pings = tokio::time::interval(Duration::from_secs(10));
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return heard,
                _ = pings.tick() => self.say(&ClientMessage::Ping { id: 1 }).await,
                frame = self.socket.next() => {
                    let frame = frame.expect("the socket is open").unwrap();
                    if let tungstenite::Message::Text(text) = frame {
                        let envelope: ServerEnvelope = serde_json::from_str(&text).unwrap();
                        heard.push(envelope.message);
                    }
                }
            }
        }
    }
}
