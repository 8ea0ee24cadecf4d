//! A server in a process of its own, and callers whose WebRTC stack shares no code with it.
//!
//! A [`Caller`] is driven step by step by the test, which says what it waits for. Not here: what is tested (`main`).

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use colloque_loadtest::api::{Clinic, Endpoint, Seat};
use colloque_loadtest::connection::{Connection, Offer, Sections};
use colloque_loadtest::media::{FRAME_INTERVAL, OPUS_INTERVAL, OpusSource, Stamp, Vp8Source};
use colloque_loadtest::signalling::{Received, Signalling};
use colloque_signaling::message::{ClientMessage, MediaState, ServerMessage};
use str0m::{Event, RtcConfig};

/// `colloque demo --json` on free ports.
pub struct Server {
    /// The demo clinic.
    pub clinic: Clinic,
    /// Where operators look.
    pub admin_url: String,
    /// Where clinics call.
    pub base_url: String,
    /// The demo clinic's.
    pub api_key: String,
    child: Child,
    data_dir: PathBuf,
    keeps_data: bool,
}

impl Server {
    /// Starts one and waits until it says where it is.
    pub fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let data_dir = std::env::temp_dir().join(format!("colloque-interop-{}-{count}", std::process::id()));
        Self::start_in(data_dir, &[])
    }

    /// Starts one on a data directory that may be there already, with more flags.
    pub fn start_in(data_dir: PathBuf, flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_colloque"))
            .args(["demo", "--json", "--http-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"])
            .args(["--media-port", "0", "--media-addr", "127.0.0.1", "--workers", "2", "--data-dir"])
            .arg(&data_dir)
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let facts: serde_json::Value = serde_json::from_str(&line).expect("the first line is JSON");
        let text = |name: &str| facts[name].as_str().unwrap().to_owned();
        let (base_url, api_key, admin_url) = (text("base_url"), text("api_key"), text("admin_url"));
        let clinic = Clinic::new(&base_url, &api_key, false).unwrap();
        Self { clinic, admin_url, base_url, api_key, child, data_dir, keeps_data: false }
    }

    /// Where it keeps its data.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Kills it as a power cut would, and gives its data directory.
    pub fn kill(mut self) -> PathBuf {
        self.keeps_data = true;
        self.data_dir.clone()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its HTTP address.
    pub fn address(&self) -> SocketAddr {
        self.clinic.address().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if !self.keeps_data {
            std::fs::remove_dir_all(&self.data_dir).ok();
        }
    }
}

/// A page, a publishing device or a player.
pub struct Caller {
    /// Its peer connection.
    pub connection: Connection,
    /// Absent for WHIP and WHEP.
    pub signalling: Option<Signalling>,
    /// Whether DTLS is done.
    pub connected: bool,
    /// Packets of another's voice.
    pub voices: usize,
    /// Packets of another's picture.
    pub pictures: usize,
    /// Texts from the data channel.
    pub texts: Vec<String>,
    /// Whether the data channel is open.
    pub channel_open: bool,
    /// What the server said, but for answers that were taken.
    pub messages: Vec<ServerMessage>,
    /// Keyframes that were asked of it.
    pub keyframe_requests: usize,
    sends: bool,
    voice: OpusSource,
    picture: Vp8Source,
    voice_due: Instant,
    frame_due: Instant,
}

/// Voice and picture both ways.
pub const PAGE: Sections = Sections { microphone: true, camera: true, screen: false, slots: 1, channel: None };

impl Caller {
    fn new(connection: Connection, signalling: Option<Signalling>, sends: bool) -> Self {
        let now = Instant::now();
        Self {
            connection,
            signalling,
            connected: false,
            voices: 0,
            pictures: 0,
            texts: Vec::new(),
            channel_open: false,
            messages: Vec::new(),
            keyframe_requests: 0,
            sends,
            voice: OpusSource::new(1),
            picture: Vp8Source::new(2),
            voice_due: now,
            frame_due: now,
        }
    }

    /// Joins as a page.
    pub async fn join(server: &Server, seat: &Seat, sections: Sections) -> Self {
        Self::join_with(server, seat, sections, RtcConfig::new(), |sdp| sdp).await
    }

    /// Joins as a page with another configuration, and an offer that `bend` may change on its way.
    pub async fn join_with(
        server: &Server,
        seat: &Seat,
        sections: Sections,
        config: RtcConfig,
        bend: impl Fn(String) -> String,
    ) -> Self {
        let session = server.clinic.join(&seat.token).await.unwrap();
        let mut signalling = Signalling::open(&session.ws_url).await.unwrap();
        signalling.enter(&session).await.expect("let in");
        let mut connection = Connection::open_with(server.address(), config).unwrap();
        let mut offer = connection.offer(sections).unwrap();
        offer.sdp = bend(offer.sdp);
        let mut caller = Self::new(connection, Some(signalling), sections.microphone);
        caller.negotiate(1, offer).await;
        caller
    }

    /// Publishes by WHIP.
    pub async fn publish(server: &Server, seat: &Seat) -> (Self, Endpoint) {
        Self::open_endpoint(server, "/whip", seat, Sections { microphone: true, camera: true, ..Sections::default() })
            .await
    }

    /// Plays by WHEP.
    pub async fn play(server: &Server, seat: &Seat) -> (Self, Endpoint) {
        Self::open_endpoint(server, "/whep", seat, Sections { slots: 1, ..Sections::default() }).await
    }

    async fn open_endpoint(server: &Server, path: &str, seat: &Seat, sections: Sections) -> (Self, Endpoint) {
        let mut connection = Connection::open(server.address()).unwrap();
        let offer = connection.offer(sections).unwrap();
        let endpoint = server.clinic.open_endpoint(path, &seat.token, offer.sdp).await.unwrap();
        connection.accept(&endpoint.answer).unwrap();
        (Self::new(connection, None, sections.microphone), endpoint)
    }

    /// Sends an offer and takes its answer, which it gives.
    pub async fn negotiate(&mut self, id: u32, offer: Offer) -> String {
        let signalling = self.signalling.as_mut().unwrap();
        signalling.send(&ClientMessage::Offer { id, sdp: offer.sdp, senders: offer.senders }).await.unwrap();
        let messages = &mut self.messages;
        let answer = signalling.wait(|message| match message {
            ServerMessage::Answer { sdp, id: answered } if *answered == id => Some(sdp.clone()),
            other => {
                messages.push(other.clone());
                None
            }
        });
        let answer = answer.await.unwrap();
        self.connection.accept(&answer).unwrap();
        answer
    }

    /// Whether the server reported this state of the media connection.
    pub fn was_told(&self, state: MediaState) -> bool {
        self.messages.contains(&ServerMessage::Media { state })
    }

    async fn step(&mut self) {
        let now = Instant::now();
        if self.connected && self.sends {
            self.send_due(now);
        }
        let deadline = now + STEP;
        while let Ok(Some(event)) = self.connection.next(deadline).await {
            self.handle_event(event);
        }
        let Some(signalling) = &mut self.signalling else { return };
        while let Ok(received) = tokio::time::timeout(Duration::ZERO, signalling.next()).await {
            match received {
                Ok(Received::Message(message)) => self.messages.push(message),
                Ok(Received::Closed(_)) | Err(_) => {
                    self.signalling = None;
                    return;
                }
            }
        }
    }

    fn send_due(&mut self, now: Instant) {
        while self.voice_due <= now {
            self.voice_due += OPUS_INTERVAL;
            let mut piece = self.voice.next_packet();
            STAMP.write(&mut piece.payload);
            self.connection.send_voice(now, piece).ok();
        }
        while self.frame_due <= now {
            self.frame_due += FRAME_INTERVAL;
            let mut pieces = self.picture.next_frame();
            pieces.iter_mut().for_each(|piece| STAMP.write(&mut piece.payload));
            self.connection.send_frame(now, pieces).ok();
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Connected => {
                self.connected = true;
                self.voice_due = Instant::now();
                self.frame_due = self.voice_due;
            }
            Event::RtpPacket(packet) => {
                if !packet.payload.is_empty() {
                    assert_eq!(Stamp::read(&packet.payload), Some(STAMP), "the payload arrives as it was sent");
                }
                if self.connection.is_voice(packet.header.payload_type) {
                    self.voices += 1;
                } else {
                    self.pictures += 1;
                }
            }
            Event::KeyframeRequest(_) => {
                self.keyframe_requests += 1;
                self.picture.request_keyframe();
            }
            Event::ChannelOpen(..) => self.channel_open = true,
            Event::ChannelData(data) => self.texts.push(String::from_utf8(data.data).unwrap()),
            _ => {}
        }
    }
}

/// Drives callers until `reached`, which must be soon.
pub async fn until<const N: usize>(
    what: &str,
    mut callers: [&mut Caller; N],
    mut reached: impl FnMut(&mut [&mut Caller; N]) -> bool,
) {
    let deadline = Instant::now() + REACHED_MAX;
    while !reached(&mut callers) {
        for caller in &mut callers {
            caller.step().await;
        }
        if Instant::now() >= deadline {
            let state: Vec<_> =
                callers.iter().map(|c| (c.connected, c.voices, c.pictures, c.texts.len(), &c.messages)).collect();
            panic!("not reached in {REACHED_MAX:?}: {what}\n{state:?}");
        }
    }
}

/// Drives callers for a while, to see that something does not happen.
pub async fn during<const N: usize>(time: Duration, callers: [&mut Caller; N]) {
    let end = Instant::now() + time;
    until("time passes", callers, |_| Instant::now() >= end).await;
}

const STAMP: Stamp = Stamp { stream: 1, number: None, sent_micros: 7 };
/// One caller's turn.
const STEP: Duration = Duration::from_millis(4);
/// Far longer than anything takes, for machines that do much else.
const REACHED_MAX: Duration = Duration::from_secs(15);
