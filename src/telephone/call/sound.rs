//! A call's sound: its leg on a media thread, what both sides agreed on, what is being said, and whether anything is heard.
//!
//! Not here: what follows from any of it (the machine), packets (`telephone::media`).

use std::future::pending;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::telephone::media::{Clip, Connection, MediaEvent, MediaLeg, PlayId};
use crate::telephone::sdp::Remote;
use crate::worker::local::LocalPort;

use super::description::Description;
use super::line::{Heard, LineNews, LineTimes, Watch};

/// See the module.
pub(super) struct Sound {
    leg: MediaLeg,
    /// Nothing once its thread is gone.
    events: Option<mpsc::Receiver<MediaEvent>>,
    description: Option<Description>,
    playing: Option<PlayId>,
    watch: Watch,
    /// Since when the call stands.
    answered: Option<Instant>,
    held: bool,
    /// The other side wants to hear something.
    listens: bool,
}

impl Sound {
    /// Of a call that was not answered yet.
    pub(super) fn new((leg, events): (MediaLeg, mpsc::Receiver<MediaEvent>), times: LineTimes) -> Self {
        let watch = Watch::new(times);
        Self {
            leg,
            events: Some(events),
            description: None,
            playing: None,
            watch,
            answered: None,
            held: false,
            listens: false,
        }
    }

    /// The call stands. Without a connection, our offer has yet to be answered.
    pub(super) fn begin(&mut self, description: Description, connection: Option<Connection>, now: Instant) {
        self.description = Some(description);
        self.answered = Some(now);
        if let Some(connection) = connection {
            self.connect(connection);
        }
    }

    /// The next event; none, once, when its thread is gone. Safe to cancel.
    pub(super) async fn next(&mut self) -> Option<MediaEvent> {
        let Some(events) = &mut self.events else { return pending().await };
        let event = events.recv().await;
        if event.is_none() {
            self.events = None;
        }
        event
    }

    /// Where it is received.
    pub(super) fn port(&self) -> u16 {
        self.leg.port()
    }

    /// Our answer to an offer within the call; none when it cannot be agreed to: the call goes on as before.
    pub(super) fn answer(&mut self, offer: Option<&Remote>) -> Option<String> {
        let (connection, text) = self.description.as_mut()?.answer(offer).ok()?;
        if let Some(connection) = connection {
            self.connect(connection);
        }
        Some(text)
    }

    /// A fresh offer; none before the call stands.
    pub(super) fn offer(&mut self) -> Option<String> {
        self.description.as_mut().map(Description::offer)
    }

    /// The answer to our last offer.
    pub(super) fn accept(&mut self, answer: &Remote) {
        if let Some(Ok(connection)) = self.description.as_mut().map(|ours| ours.accept(answer)) {
            self.connect(connection);
        }
    }

    /// The answer to what both sides had agreed on, which was offered once more.
    pub(super) fn renew(&mut self, ours: &str, theirs: &Remote) {
        if let Some(Ok(connection)) = self.description.as_ref().map(|description| description.renew(ours, theirs)) {
            self.connect(connection);
        }
    }

    /// Says this; what was being said stops.
    pub(super) fn say(&mut self, clips: Vec<Clip>) {
        self.playing = Some(self.leg.play(clips));
    }

    pub(super) fn hush(&mut self) {
        self.playing = None;
        self.leg.play(Vec::new());
    }

    /// Whether what is through was the last thing to be said.
    pub(super) fn handle_said(&mut self, id: PlayId) -> bool {
        let is_last = self.playing == Some(id);
        if is_last {
            self.playing = None;
        }
        is_last
    }

    pub(super) fn set_waiting_tone(&self, on: bool) {
        self.leg.set_waiting_tone(on);
    }

    pub(super) fn set_echo(&self, on: bool) {
        self.leg.set_echo(on);
    }

    pub(super) fn set_muted(&self, muted: bool) {
        self.leg.set_muted(muted);
    }

    pub(super) fn attach(&self, port: LocalPort) {
        self.leg.attach(port);
    }

    pub(super) fn detach(&self) {
        self.leg.detach();
    }

    /// What is new of whether the telephone is heard. To be asked about twice a second while the call stands.
    pub(super) fn watch(&mut self, now: Instant) -> Option<LineNews> {
        let since = self.answered?;
        let last = self.leg.last_heard();
        let (sent, listens) = (self.leg.last_sent(), self.listens);
        let heard = Heard { since, rtp: last.sound, rtcp: last.report, held: self.held, sent, listens };
        self.watch.handle_reading(heard, now)
    }

    /// The other side proved by signalling that it is there.
    pub(super) fn handle_proof(&mut self, now: Instant) {
        self.watch.handle_proof(now);
    }

    fn connect(&mut self, connection: Connection) {
        (self.held, self.listens) = (!connection.receives, connection.sends);
        self.leg.connect(connection);
    }
}
