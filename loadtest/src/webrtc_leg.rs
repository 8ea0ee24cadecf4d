//! A leg on the `webrtc` crate's peer connection: slower by an order of magnitude than `light`, and sharing no media
//! code with it or with the server, so that what both measure is not a misunderstanding of ours.
//!
//! What it cannot do is refused when the leg is opened: simulcast (the crate's pass-through track writes no RIDs).
//! The crate keeps RTCP feedback to itself, so a camera makes a keyframe every second instead of when asked.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use colloque_signaling::message::{MediaSource, SenderInfo};
use rtc::media_stream::MediaStreamTrack;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout, timeout_at};
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceConnectionState,
    RTCIceGatheringState, RTCPeerConnectionState, RTCSessionDescription, Registry, register_default_interceptors,
};
use webrtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};

use crate::histogram::Histogram;
use crate::leg::{Camera, LegPlan, Offer, camera_stream, voice_stream};
use crate::media::{Encoding, OPUS_INTERVAL, OpusSource, Piece, Stamp, Vp8Source};
use crate::tally::{Milestones, Phase, STREAMS_MAX, Shared, Tally};

/// Makes legs; they run in the runtime of whoever calls them.
pub struct Engine {
    shared: Shared,
}

impl Engine {
    /// Nothing is started.
    pub fn new(shared: Shared) -> Result<Self> {
        // Fails when another part of the process was first, which serves as well.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Ok(Self { shared })
    }

    /// Checks the plan; the peer connection is made with the offer.
    pub fn open(&self, server: SocketAddr, plan: LegPlan) -> Result<Leg> {
        ensure!(plan.camera.is_none_or(|camera| camera.layers == 1), NO_SIMULCAST);
        let state = Arc::new(State::new(self.shared.clone()));
        Ok(Leg { plan, server, state, connection: None, tracks: Vec::new(), sender: None })
    }
}

/// One peer connection.
pub struct Leg {
    plan: LegPlan,
    server: SocketAddr,
    state: Arc<State>,
    connection: Option<Arc<dyn PeerConnection>>,
    tracks: Vec<(MediaSource, Arc<TrackLocalStaticRTP>)>,
    sender: Option<JoinHandle<()>>,
}

impl Leg {
    /// Makes the peer connection and the page-like offer, all candidates in it.
    pub async fn offer(&mut self) -> Result<Offer> {
        ensure!(self.connection.is_none(), "the webrtc engine offers once");
        let mut codecs = MediaEngine::default();
        codecs.register_codec(codec(RtpCodecKind::Audio), RtpCodecKind::Audio)?;
        codecs.register_codec(codec(RtpCodecKind::Video), RtpCodecKind::Video)?;
        let registry = register_default_interceptors(Registry::new(), &mut codecs)?;
        let connection = PeerConnectionBuilder::new()
            .with_media_engine(codecs)
            .with_interceptor_registry(registry)
            .with_handler(Arc::new(Handler { state: Arc::clone(&self.state) }))
            .with_udp_addrs(vec![SocketAddr::new(local_ip(self.server)?, 0)])
            .build()
            .await?;
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);
        if self.plan.voice {
            self.add_sender(&*connection, MediaSource::Microphone).await?;
        }
        if self.plan.camera.is_some() {
            self.add_sender(&*connection, MediaSource::Camera).await?;
        }
        for _ in 0..self.plan.slots {
            for kind in [RtpCodecKind::Audio, RtpCodecKind::Video] {
                let receives = direction(RTCRtpTransceiverDirection::Recvonly);
                connection.add_transceiver_from_kind(kind, Some(receives)).await?;
            }
        }
        let offer = connection.create_offer(None).await?;
        connection.set_local_description(offer).await?;
        self.state.gathered().await?;
        let sdp = connection.local_description().await.context("no local description")?.sdp;
        let senders = name_senders(&sdp, self.tracks.iter().map(|(source, _)| *source))?;
        self.connection = Some(connection);
        Ok(Offer { sdp, senders })
    }

    /// Takes the answer; ICE begins, and media with it.
    pub async fn accept_answer(&mut self, sdp: &str) -> Result<()> {
        let connection = self.connection.as_ref().context("no offer was made")?;
        connection.set_remote_description(RTCSessionDescription::answer(sdp.to_owned())?).await?;
        self.state.reach(|milestones, since| milestones.answered = since);
        let (plan, tracks, state) = (self.plan, std::mem::take(&mut self.tracks), Arc::clone(&self.state));
        self.sender = Some(tokio::spawn(async move {
            if let Err(error) = send(plan, tracks, &state).await {
                state.fail(format!("sending: {error:#}"));
            }
        }));
        Ok(())
    }

    /// Milestones are counted from this instant; those reached so far are forgotten (not `connected`).
    pub fn count_from(&mut self, origin: Instant) {
        let mut counts = self.state.counts();
        counts.origin = origin;
        let connected = counts.milestones.connected.map(|_| Duration::ZERO);
        counts.milestones = Milestones { connected, ..Milestones::default() };
    }

    /// Notes that the server welcomed the seat.
    pub fn set_welcomed(&mut self, at: Instant) {
        let mut counts = self.state.counts();
        counts.milestones.welcomed = at.saturating_duration_since(counts.origin);
    }

    /// What was reached.
    #[must_use]
    pub fn milestones(&self) -> Milestones {
        self.state.counts().milestones
    }

    /// Waits until `until` holds. An error when the deadline passes or the connection failed.
    pub async fn wait(&mut self, until: impl Fn(&Milestones) -> bool, deadline: Instant) -> Result<()> {
        let mut changes = self.state.changes.subscribe();
        loop {
            let (milestones, failure) = {
                let counts = self.state.counts();
                (counts.milestones, counts.failure.clone())
            };
            if until(&milestones) {
                return Ok(());
            }
            if let Some(why) = failure {
                bail!(why);
            }
            let changed = timeout_at(deadline.into(), changes.changed()).await;
            changed.with_context(|| format!("not in time; reached so far: {milestones:?}"))??;
        }
    }

    /// The latency of what was counted since the last call.
    pub fn take_latency(&mut self) -> Histogram {
        std::mem::take(&mut self.state.counts().tally.latency)
    }

    /// Ends the connection and gives what it counted.
    pub async fn close(self) -> Result<Tally> {
        if let Some(sender) = &self.sender {
            sender.abort();
        }
        if let Some(connection) = &self.connection {
            connection.close().await?;
        }
        Ok(std::mem::take(&mut self.state.counts().tally))
    }

    async fn add_sender(&mut self, connection: &dyn PeerConnection, source: MediaSource) -> Result<()> {
        let kind = if source == MediaSource::Microphone { RtpCodecKind::Audio } else { RtpCodecKind::Video };
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(ssrc(self.plan.number, kind)),
                ..Default::default()
            },
            codec: codec(kind).rtp_codec,
            ..Default::default()
        };
        let name = format!("{}-{source:?}", self.plan.number);
        let track = MediaStreamTrack::new(name.clone(), name.clone(), name, kind, vec![encoding]);
        let track = Arc::new(TrackLocalStaticRTP::new(track));
        let local: Arc<dyn TrackLocal> = Arc::clone(&track) as Arc<dyn TrackLocal>;
        let sends = direction(RTCRtpTransceiverDirection::Sendonly);
        connection.add_transceiver_from_track(local, Some(sends)).await?;
        self.tracks.push((source, track));
        Ok(())
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        if let Some(sender) = &self.sender {
            sender.abort();
        }
    }
}

/// What the connection's callbacks, its sender and its owner share.
struct State {
    shared: Shared,
    counts: Mutex<Counts>,
    changes: watch::Sender<()>,
    gathered: watch::Sender<bool>,
}

struct Counts {
    origin: Instant,
    milestones: Milestones,
    tally: Tally,
    last_packet: Option<Instant>,
    failure: Option<String>,
}

impl State {
    fn new(shared: Shared) -> Self {
        let counts = Counts {
            origin: Instant::now(),
            milestones: Milestones::default(),
            tally: Tally::default(),
            last_packet: None,
            failure: None,
        };
        Self {
            shared,
            counts: Mutex::new(counts),
            changes: watch::Sender::new(()),
            gathered: watch::Sender::new(false),
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // A panic elsewhere leaves counts that are still counts.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a step with the time it took.
    fn reach(&self, note: impl FnOnce(&mut Milestones, Duration)) {
        let mut counts = self.counts();
        let since = counts.origin.elapsed();
        note(&mut counts.milestones, since);
        drop(counts);
        self.changes.send_replace(());
    }

    fn fail(&self, why: String) {
        self.counts().failure.get_or_insert(why);
        self.changes.send_replace(());
    }

    async fn gathered(&self) -> Result<()> {
        let mut gathered = self.gathered.subscribe();
        timeout(GATHER_TIME_MAX, gathered.wait_for(|done| *done)).await.context("gathering took too long")??;
        Ok(())
    }

    fn handle_packet(&self, kind: RtpCodecKind, payload: &[u8]) {
        let now = Instant::now();
        let mut counts = self.counts();
        counts.tally.datagrams_received += 1;
        let Some(stamp) = Stamp::read(payload) else { return };
        let counting = self.shared.phase() == Phase::Count;
        if let Some(last) = counts.last_packet.replace(now).filter(|_| counting) {
            counts.tally.gap_max = counts.tally.gap_max.max(now.saturating_duration_since(last));
        }
        let since = now.saturating_duration_since(counts.origin);
        let step = match kind {
            RtpCodecKind::Audio => &mut counts.milestones.voice,
            _ => &mut counts.milestones.picture,
        };
        if step.is_none() {
            *step = Some(since);
            self.changes.send_replace(());
        }
        let Some(number) = stamp.number else { return };
        let received = &counts.tally.received;
        if received.len() >= STREAMS_MAX && !received.contains_key(&stamp.stream) {
            return;
        }
        if counts.tally.received.entry(stamp.stream).or_default().insert(number) {
            counts.tally.latency.record(stamp.latency(self.shared.epoch, now));
        }
    }

    /// Numbers a packet while the run counts.
    fn stamp(&self, stream: u32, now: Instant, payload: &mut [u8]) {
        let number = (self.shared.phase() == Phase::Count).then(|| {
            let mut counts = self.counts();
            let sent = counts.tally.sent.entry(stream).or_default();
            *sent += 1;
            *sent - 1
        });
        let sent_micros = now.saturating_duration_since(self.shared.epoch).as_micros() as u64;
        Stamp { stream, number, sent_micros }.write(payload);
    }
}

struct Handler {
    state: Arc<State>,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.state.gathered.send_replace(true);
        }
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        if matches!(state, RTCIceConnectionState::Connected | RTCIceConnectionState::Completed) {
            self.state.reach(|milestones, since| {
                milestones.path.get_or_insert(since);
            });
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        match state {
            RTCPeerConnectionState::Connected => self.state.reach(|milestones, since| {
                milestones.connected.get_or_insert(since);
            }),
            RTCPeerConnectionState::Failed => self.state.fail("the peer connection failed".to_owned()),
            _ => {}
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let state = Arc::clone(&self.state);
        tokio::spawn(async move {
            let kind = track.kind().await;
            // Ends with the connection.
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    state.handle_packet(kind, &packet.payload);
                }
            }
        });
    }
}

/// Sends the plan's media from the moment of connection on, until it is aborted.
async fn send(plan: LegPlan, tracks: Vec<(MediaSource, Arc<TrackLocalStaticRTP>)>, state: &State) -> Result<()> {
    let mut changes = state.changes.subscribe();
    while state.counts().milestones.connected.is_none() {
        changes.changed().await?;
    }
    let mut streams: Vec<Stream> = tracks.into_iter().map(|(source, track)| Stream::new(plan, source, track)).collect();
    while let Some(due) = streams.iter().map(|stream| stream.due).min() {
        sleep_until(due.into()).await;
        if state.shared.phase() == Phase::Listen {
            streams.iter_mut().for_each(|stream| stream.due = Instant::now() + OPUS_INTERVAL);
            continue;
        }
        for stream in streams.iter_mut().filter(|stream| stream.due <= due) {
            stream.send(state).await?;
        }
    }
    Ok(())
}

/// What one track sends.
struct Stream {
    number: u32,
    source: Source,
    track: Arc<TrackLocalStaticRTP>,
    header: rtp::Header,
    interval: Duration,
    due: Instant,
}

enum Source {
    Voice(OpusSource),
    Picture { camera: Vp8Source, frames: u32, frames_per_second: u32 },
}

impl Stream {
    fn new(plan: LegPlan, source: MediaSource, track: Arc<TrackLocalStaticRTP>) -> Self {
        let camera = plan.camera.filter(|_| source != MediaSource::Microphone);
        let (number, kind) = match camera {
            Some(_) => (camera_stream(plan.number, 0), RtpCodecKind::Video),
            None => (voice_stream(plan.number), RtpCodecKind::Audio),
        };
        let interval = camera.map_or(OPUS_INTERVAL, |camera| Duration::from_secs(1) / camera.frames_per_second.max(1));
        let payload_type = codec(kind).payload_type;
        let header = rtp::Header { version: 2, payload_type, ssrc: ssrc(plan.number, kind), ..Default::default() };
        Self { number, source: Source::new(plan, camera), track, header, interval, due: Instant::now() }
    }

    async fn send(&mut self, state: &State) -> Result<()> {
        let now = Instant::now();
        self.due += self.interval;
        for mut piece in self.source.next() {
            state.stamp(self.number, now, &mut piece.payload);
            self.header.timestamp = piece.timestamp;
            self.header.marker = piece.marker;
            let packet = rtp::Packet { header: self.header.clone(), payload: piece.payload.into() };
            self.header.sequence_number = self.header.sequence_number.wrapping_add(1);
            self.track.write_rtp(packet).await?;
        }
        Ok(())
    }
}

impl Source {
    fn new(plan: LegPlan, camera: Option<Camera>) -> Self {
        let seed = plan.number.wrapping_mul(104_729);
        let Some(camera) = camera else { return Source::Voice(OpusSource::new(seed)) };
        let Camera { kbit_per_second, frames_per_second, .. } = camera;
        let encoding = Encoding { width: 1_280, height: 720, kbit_per_second, frames_per_second };
        Source::Picture { camera: Vp8Source::with(encoding, seed), frames: 0, frames_per_second }
    }

    fn next(&mut self) -> Vec<Piece> {
        match self {
            Source::Voice(voice) => vec![voice.next_packet()],
            Source::Picture { camera, frames, frames_per_second } => {
                if frames.is_multiple_of(*frames_per_second) {
                    camera.request_keyframe();
                }
                *frames += 1;
                camera.next_frame()
            }
        }
    }
}

fn codec(kind: RtpCodecKind) -> RTCRtpCodecParameters {
    let (mime_type, clock_rate, channels, payload_type) = match kind {
        RtpCodecKind::Audio => ("audio/opus", 48_000, 2, 111),
        _ => ("video/VP8", 90_000, 0, 96),
    };
    let rtp_codec = RTCRtpCodec { mime_type: mime_type.to_owned(), clock_rate, channels, ..Default::default() };
    RTCRtpCodecParameters { rtp_codec, payload_type }
}

fn direction(direction: RTCRtpTransceiverDirection) -> RTCRtpTransceiverInit {
    RTCRtpTransceiverInit { direction, ..Default::default() }
}

/// Different for every stream of the process, and the same in every run.
fn ssrc(number: u32, kind: RtpCodecKind) -> u32 {
    0x1000_0000 + number * 2 + u32::from(kind == RtpCodecKind::Video)
}

/// The first sections of the offer are the senders, in their order.
fn name_senders(sdp: &str, sources: impl Iterator<Item = MediaSource>) -> Result<Vec<SenderInfo>> {
    let mut mids = sdp.lines().filter_map(|line| line.strip_prefix("a=mid:")).map(|mid| mid.trim().to_owned());
    sources.map(|source| Ok(SenderInfo { mid: mids.next().context("a section without mid")?, source })).collect()
}

/// The address from which the server is reached.
fn local_ip(server: SocketAddr) -> Result<std::net::IpAddr> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let probe = UdpSocket::bind(any)?;
    probe.connect(server).context("no route to the server")?;
    Ok(probe.local_addr()?.ip())
}

const NO_SIMULCAST: &str =
    "--engine webrtc sends no simulcast: the crate's RTP track writes no RIDs; use --engine light";
/// Host candidates only: they are there at once.
const GATHER_TIME_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_are_named_by_the_first_sections() {
        let sdp = "v=0\r\nm=audio 9\r\na=mid:0\r\nm=video 9\r\na=mid:1\r\nm=audio 9\r\na=mid:2\r\n";
        let sources = [MediaSource::Microphone, MediaSource::Camera];
        let senders = name_senders(sdp, sources.into_iter()).unwrap();
        let mids: Vec<_> = senders.iter().map(|sender| (sender.mid.as_str(), sender.source)).collect();
        assert_eq!(mids, [("0", MediaSource::Microphone), ("1", MediaSource::Camera)]);
        assert!(name_senders("v=0\r\n", sources.into_iter()).is_err());
    }

    #[tokio::test]
    async fn simulcast_is_refused_in_words() {
        let engine = Engine::new(Shared::default()).unwrap();
        let camera = Camera { kbit_per_second: 1_000, frames_per_second: 30, layers: 3 };
        let plan = LegPlan { number: 0, voice: true, camera: Some(camera), slots: 1 };
        let error = engine.open("127.0.0.1:9".parse().unwrap(), plan).err().unwrap();
        assert!(error.to_string().contains("--engine light"), "{error}");
    }
}
