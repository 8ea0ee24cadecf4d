//! A server in a process of its own, and seats whose pages do whatever they like: they send every source and every kind
//! of message, and ask for everything, without a look at their permissions.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use colloque_loadtest::api::{Clinic, Seat};
use colloque_loadtest::connection::{Connection, Sections};
use colloque_loadtest::media::{Encoding, OpusSource, Stamp, Vp8Source};
use colloque_loadtest::metrics;
use colloque_loadtest::signalling::{Received, Signalling};
use colloque_signaling::message::{ClientMessage, ErrorCode, Role, ServerMessage};
use futures_util::future::join_all;
use str0m::Event;

use super::specification::CONFIGURATION;

/// `colloque demo --json` on free ports, with [`CONFIGURATION`].
pub struct Server {
    pub clinic: Clinic,
    admin_url: String,
    child: Child,
    data_dir: PathBuf,
}

impl Server {
    pub fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let data_dir = std::env::temp_dir().join(format!("colloque-permissions-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&data_dir).unwrap();
        let configuration = data_dir.join("colloque.toml");
        std::fs::write(&configuration, CONFIGURATION).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_colloque"))
            .args(["demo", "--json", "--http-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0", "--workers", "1"])
            .args(["--media-port", "0", "--media-addr", "127.0.0.1", "--config"])
            .arg(&configuration)
            .arg("--data-dir")
            .arg(data_dir.join("data"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let facts: serde_json::Value = serde_json::from_str(&line).expect("the first line is JSON");
        let clinic = Clinic::new(facts["base_url"].as_str().unwrap(), facts["api_key"].as_str().unwrap(), false);
        let admin_url = facts["admin_url"].as_str().unwrap().to_owned();
        Self { clinic: clinic.unwrap(), admin_url, child, data_dir }
    }

    /// How much was dropped because a seat may not send it.
    pub async fn not_permitted(&self) -> u64 {
        let counters = metrics::read(&format!("{}/metrics", self.admin_url)).await.unwrap();
        counters["colloque_drops_total not_permitted"]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.data_dir).ok();
    }
}

/// What a seat may publish, in the order of a participant's streams.
pub const SOURCES: [&str; 3] = ["microphone", "camera", "screen"];
/// Kinds of messages with the right that each takes.
pub const KINDS: [(&str, &str); 4] = [("chat", "chat"), ("file", "files"), ("pointer", "point"), ("vitals", "vitals")];

/// One seat with its page.
pub struct Participant {
    pub role: Role,
    pub seat: Seat,
    /// Sends its three sources.
    pub sends: bool,
    /// Packets sent of each source.
    pub sent: [u64; 3],
    /// Packets that came, by the number of the participant who sent them, and source.
    pub heard: BTreeMap<(usize, usize), u64>,
    /// Messages that came: sender, kind.
    pub messages: Vec<(String, String)>,
    /// What the server said.
    pub told: Vec<ServerMessage>,
    /// With which code the server closed the socket.
    pub closed: Option<u16>,
    pub connected: bool,
    pub channel_open: bool,
    number: usize,
    connection: Option<Connection>,
    signalling: Option<Signalling>,
    voice: OpusSource,
    pictures: [Vp8Source; 2],
    voice_due: Instant,
    pictures_due: Instant,
}

impl Participant {
    /// Joins; an admitted one offers all three sources, a channel and room for everything of `others`.
    pub async fn join(server: &Server, number: usize, (role, seat): (Role, &Seat), others: usize) -> Self {
        let session = server.clinic.join(&seat.token).await.unwrap();
        let mut signalling = Signalling::open(&session.ws_url).await.unwrap();
        let admitted = signalling.join(&session).await.unwrap();
        let now = Instant::now();
        let mut participant = Self {
            role,
            seat: seat.clone(),
            sends: false,
            sent: [0; 3],
            heard: BTreeMap::new(),
            messages: Vec::new(),
            told: Vec::new(),
            closed: None,
            connected: false,
            channel_open: false,
            number,
            connection: None,
            signalling: Some(signalling),
            voice: OpusSource::new(number as u32),
            pictures: [1, 2].map(|source| Vp8Source::with(SMALL, number as u32 * 3 + source)),
            voice_due: now,
            pictures_due: now,
        };
        if admitted {
            participant.connect(server, others).await;
        }
        participant
    }

    async fn connect(&mut self, server: &Server, others: usize) {
        let mut connection = Connection::open(server.clinic.address().unwrap()).unwrap();
        let (microphone, camera, screen) = (true, true, true);
        let sections = Sections { microphone, camera, screen, slots: 2 * others, channel: Some("colloque") };
        let offer = connection.offer(sections).unwrap();
        let signalling = self.signalling.as_mut().unwrap();
        signalling.send(&ClientMessage::Offer { id: 1, sdp: offer.sdp, senders: offer.senders }).await.unwrap();
        let answer = signalling.wait(|message| match message {
            ServerMessage::Answer { sdp, .. } => Some(sdp.clone()),
            _ => None,
        });
        connection.accept(&answer.await.unwrap()).unwrap();
        self.connection = Some(connection);
    }

    /// Asks for something on its socket.
    pub async fn ask(&mut self, message: &ClientMessage) {
        self.signalling.as_mut().expect("an open socket").send(message).await.unwrap();
    }

    /// Sends a message of every kind.
    pub fn say_everything(&mut self) {
        for (kind, _) in KINDS {
            let text = format!(r#"{{"kind":"{kind}","id":"m-1","body":"sealed"}}"#);
            assert!(self.connection.as_mut().expect("a connection").send_text(&text).unwrap());
        }
    }

    /// Packets of a participant's source that came so far.
    pub fn heard_of(&self, sender: usize, source: usize) -> u64 {
        self.heard.get(&(sender, source)).copied().unwrap_or(0)
    }

    /// How often the server refused for want of a right.
    pub fn refusals(&self) -> usize {
        let refusal =
            |message: &&ServerMessage| matches!(message, ServerMessage::Error { code: ErrorCode::NotPermitted, .. });
        self.told.iter().filter(refusal).count()
    }

    async fn step(&mut self) {
        let now = Instant::now();
        if self.connected && self.sends {
            self.send_due(now);
        }
        match &mut self.connection {
            Some(connection) => {
                let mut events = Vec::new();
                while let Ok(Some(event)) = connection.next(now + STEP).await {
                    events.push(event);
                }
                events.into_iter().for_each(|event| self.handle_event(event));
            }
            None => tokio::time::sleep(STEP).await,
        }
        let Some(signalling) = &mut self.signalling else { return };
        while let Ok(received) = tokio::time::timeout(Duration::ZERO, signalling.next()).await {
            match received {
                Ok(Received::Message(message)) => self.told.push(message),
                closed => {
                    self.closed = Some(if let Ok(Received::Closed(code)) = closed { code } else { 0 });
                    self.signalling = None;
                    return;
                }
            }
        }
    }

    fn send_due(&mut self, now: Instant) {
        let connection = self.connection.as_mut().expect("it is connected");
        let stamp = |source| Stamp { stream: (self.number * 3 + source) as u32, number: None, sent_micros: 0 };
        if self.voice_due <= now {
            self.voice_due = now + VOICE_INTERVAL;
            let mut piece = self.voice.next_packet();
            stamp(0).write(&mut piece.payload);
            self.sent[0] += u64::from(connection.send_voice(now, piece).is_ok());
        }
        if self.pictures_due <= now {
            self.pictures_due = now + PICTURE_INTERVAL;
            for source in [1, 2] {
                let mut pieces = self.pictures[source - 1].next_frame();
                pieces.iter_mut().for_each(|piece| stamp(source).write(&mut piece.payload));
                let count = pieces.len() as u64;
                let sent = match source {
                    1 => connection.send_frame(now, pieces),
                    _ => connection.send_screen(now, pieces),
                };
                self.sent[source] += if sent.is_ok() { count } else { 0 };
            }
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Connected => self.connected = true,
            Event::RtpPacket(packet) if !packet.payload.is_empty() => {
                let stream = Stamp::read(&packet.payload).expect("a payload as it was sent").stream as usize;
                *self.heard.entry((stream / 3, stream % 3)).or_default() += 1;
            }
            Event::KeyframeRequest(_) => self.pictures.iter_mut().for_each(Vp8Source::request_keyframe),
            Event::ChannelOpen(..) => self.channel_open = true,
            Event::ChannelData(data) => {
                let message: serde_json::Value = serde_json::from_slice(&data.data).expect("a stamped message");
                let word = |key: &str| message[key].as_str().expect("a word").to_owned();
                self.messages.push((word("from"), word("kind")));
            }
            _ => {}
        }
    }
}

/// Drives everybody until `reached`, which must be soon.
pub async fn until(what: &str, participants: &mut [Participant], mut reached: impl FnMut(&mut [Participant]) -> bool) {
    let deadline = Instant::now() + REACHED_MAX;
    while !reached(participants) {
        join_all(participants.iter_mut().map(Participant::step)).await;
        if Instant::now() >= deadline {
            let state: Vec<_> = participants
                .iter()
                .map(|one| (one.role, one.connected, one.channel_open, one.closed, &one.heard, &one.messages))
                .collect();
            panic!("not reached in {REACHED_MAX:?}: {what}\n{state:#?}");
        }
    }
}

/// Drives everybody for a while, to see that something does not happen.
pub async fn during(time: Duration, participants: &mut [Participant]) {
    let end = Instant::now() + time;
    until("time passes", participants, |_| Instant::now() >= end).await;
}

/// A picture of a packet or two.
const SMALL: Encoding = Encoding { width: 320, height: 180, kbit_per_second: 80, frames_per_second: 10 };
const VOICE_INTERVAL: Duration = Duration::from_millis(40);
const PICTURE_INTERVAL: Duration = Duration::from_millis(100);
const STEP: Duration = Duration::from_millis(4);
/// Far longer than anything takes, for machines that do much else.
const REACHED_MAX: Duration = Duration::from_secs(30);
