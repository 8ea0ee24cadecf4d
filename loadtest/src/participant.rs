//! A seat that behaves like a page: joins by WebSocket, offers, sends a voice and a picture, receives the other's.
//!
//! Notes when each step of its join was done and what came of every counted packet. Not here: who joins when and how
//! long (`scenario`).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use colloque_signaling::message::{ClientMessage, ServerMessage};
use str0m::rtp::RtpPacket;
use str0m::{Event, IceConnectionState};

use crate::api::{Clinic, Session};
use crate::connection::{Connection, Sections};
use crate::leg::{camera_stream, voice_stream};
use crate::media::{FRAME_INTERVAL, OPUS_INTERVAL, OpusSource, Piece, Stamp, Vp8Source};
use crate::signalling::{Received, Signalling};
use crate::tally::{Milestones, Phase, STREAMS_MAX, Shared, Tally};

/// One seat in a call.
pub struct Participant {
    /// Its number in this process, from which its streams are named.
    pub number: u32,
    /// Steps of the join.
    pub milestones: Milestones,
    /// Counts of the measured window.
    pub tally: Tally,
    shared: Shared,
    opened_at: Instant,
    signalling: Signalling,
    connection: Connection,
    voice: OpusSource,
    picture: Vp8Source,
    voice_due: Instant,
    frame_due: Instant,
    connected: bool,
}

impl Participant {
    /// Opens the WebSocket and gets an answer to a page's offer. Media follows in [`Participant::run`].
    pub async fn join(clinic: &Clinic, session: &Session, number: u32, shared: Shared) -> Result<Self> {
        // A page makes its peer connection while the WebSocket opens; so its offer is ready and costs no time.
        let mut connection = Connection::open(clinic.address()?)?;
        let offer = connection.offer(Sections { microphone: true, camera: true, slots: 1, channel: None })?;
        let opened_at = Instant::now();
        let mut signalling = Signalling::open(&session.ws_url).await?;
        if !signalling.join(session).await? {
            bail!("the seat is not admitted");
        }
        let welcomed = opened_at.elapsed();
        signalling.send(&ClientMessage::Offer { id: 1, sdp: offer.sdp, senders: offer.senders }).await?;
        let answer = signalling
            .wait(|message| match message {
                ServerMessage::Answer { sdp, .. } => Some(sdp.clone()),
                _ => None,
            })
            .await?;
        connection.accept(&answer)?;
        let milestones = Milestones { welcomed, answered: opened_at.elapsed(), ..Milestones::default() };
        let now = Instant::now();
        Ok(Self {
            number,
            milestones,
            tally: Tally::default(),
            shared,
            opened_at,
            signalling,
            connection,
            voice: OpusSource::new(number.wrapping_mul(7_919)),
            picture: Vp8Source::new(number.wrapping_mul(104_729)),
            voice_due: now,
            frame_due: now,
            connected: false,
        })
    }

    /// Sends and receives until `done` says so or the deadline passes.
    pub async fn run(&mut self, deadline: Instant, mut done: impl FnMut(&Milestones) -> bool) -> Result<()> {
        while !done(&self.milestones) {
            let now = Instant::now();
            if now >= deadline {
                return Ok(());
            }
            self.send_due(now)?;
            let next_due = self.next_due(now).min(deadline);
            tokio::select! {
                event = self.connection.next(next_due) => if let Some(event) = event? {
                    self.handle_event(event)?;
                },
                received = self.signalling.next() => self.handle_signalling(received?)?,
            }
        }
        Ok(())
    }

    /// Leaves for good.
    pub async fn leave(mut self) -> Result<Tally> {
        self.tally.send_errors = self.connection.send_errors();
        self.signalling.send(&ClientMessage::Leave).await.context("leaving")?;
        Ok(self.tally)
    }

    fn handle_event(&mut self, event: Event) -> Result<()> {
        let since = self.opened_at.elapsed();
        match event {
            Event::IceConnectionStateChange(state) if state.is_disconnected() => bail!("ICE lost the path"),
            Event::IceConnectionStateChange(IceConnectionState::Connected | IceConnectionState::Completed) => {
                self.milestones.path.get_or_insert(since);
            }
            Event::Connected => {
                self.milestones.connected = Some(since);
                self.connected = true;
                self.voice_due = Instant::now();
                self.frame_due = self.voice_due;
            }
            Event::RtpPacket(packet) => self.handle_packet(&packet, since),
            Event::KeyframeRequest(_) => self.picture.request_keyframe(),
            Event::Closed => bail!("the server closed the peer connection"),
            _ => {}
        }
        Ok(())
    }

    fn handle_packet(&mut self, packet: &RtpPacket, since: Duration) {
        let Some(stamp) = Stamp::read(&packet.payload) else { return };
        if self.connection.is_voice(packet.header.payload_type) {
            self.milestones.voice.get_or_insert(since);
        } else {
            self.milestones.picture.get_or_insert(since);
        }
        let Some(number) = stamp.number else { return };
        if self.tally.received.len() >= STREAMS_MAX && !self.tally.received.contains_key(&stamp.stream) {
            return;
        }
        if self.tally.received.entry(stamp.stream).or_default().insert(number) {
            self.tally.latency.record(stamp.latency(self.shared.epoch, Instant::now()));
        }
    }

    fn handle_signalling(&mut self, received: Received) -> Result<()> {
        match received {
            Received::Message(ServerMessage::Error { code, message, .. }) => bail!("{code:?}: {message}"),
            Received::Message(_) => Ok(()),
            Received::Closed(code) => bail!("the server closed the WebSocket with {code}"),
        }
    }

    fn send_due(&mut self, now: Instant) -> Result<()> {
        if !self.connected || self.shared.phase() == Phase::Listen {
            return Ok(());
        }
        while self.voice_due <= now {
            self.voice_due += OPUS_INTERVAL;
            let mut piece = self.voice.next_packet();
            self.stamp(now, &mut piece, voice_stream(self.number));
            self.connection.send_voice(now, piece)?;
        }
        while self.frame_due <= now {
            self.frame_due += FRAME_INTERVAL;
            let mut pieces = self.picture.next_frame();
            pieces.iter_mut().for_each(|piece| self.stamp(now, piece, camera_stream(self.number, 0)));
            self.connection.send_frame(now, pieces)?;
        }
        Ok(())
    }

    fn next_due(&self, now: Instant) -> Instant {
        if self.connected && self.shared.phase() != Phase::Listen {
            self.voice_due.min(self.frame_due)
        } else {
            now + OPUS_INTERVAL
        }
    }

    fn stamp(&mut self, now: Instant, piece: &mut Piece, stream: u32) {
        let number = (self.shared.phase() == Phase::Count).then(|| {
            let sent = self.tally.sent.entry(stream).or_default();
            *sent += 1;
            *sent - 1
        });
        let sent_micros = now.saturating_duration_since(self.shared.epoch).as_micros() as u64;
        Stamp { stream, number, sent_micros }.write(&mut piece.payload);
    }
}
