//! Janus 1.1 with its VideoRoom plugin, as a second server under the same load.
//!
//! Everybody joins as VideoRoom's own page does: as a publisher (a viewer publishes nothing), told by Janus who
//! publishes; one peer connection to send and one more for each publisher watched. They count as one seat. Janus gathers
//! no loopback candidates: both ends must reach each other by another address, in a network namespace for example.
//!
//! ```text
//!   JanusSeat ── publisher Leg (offers) ─────────────┐
//!      └── follow (task) ── a Leg for each feed ─────┼── Janus: a handle a leg, a session a seat
//!                 ▲ Event::Feeds, Event::HungUp ─────┘
//! ```

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use reqwest::Url;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::janus_api::{Event, Gateway, Requests, SdpKind, Session};
use super::{Seat, Target};
use crate::api::is_own;
use crate::engine::{Engine, Leg};
use crate::histogram::Histogram;
use crate::leg::LegPlan;
use crate::tally::{Milestones, Tally};

/// What `--target` calls it.
pub const NAME: &str = "janus";

/// A Janus.
#[derive(Clone)]
pub struct Janus {
    gateway: Gateway,
    server: SocketAddr,
    rooms: Requests,
    room_next: Arc<AtomicU64>,
}

/// A room of VideoRoom.
#[derive(Clone, Copy, Debug)]
pub struct JanusRoom {
    id: u64,
}

impl Janus {
    /// Connects to `ws://ADDRESS:PORT`, Janus's WebSocket transport.
    pub async fn connect(url: &str, allow_remote: bool) -> Result<Self> {
        let server = address(url)?;
        if !allow_remote && !is_own(server.ip()) {
            bail!("{} is not an address of this machine: --allow-remote if the server is yours to load", server.ip());
        }
        let gateway = Gateway::connect(url).await?;
        // Rooms are opened and closed on a handle of their own, which has no peer connection.
        let (to, _) = mpsc::channel(1);
        let rooms = gateway.create_session().await?.attach(to).await?;
        Ok(Self { gateway, server, rooms, room_next: Arc::new(AtomicU64::new(FIRST_ROOM)) })
    }

    /// One for each slot: Janus gives every publisher that is watched a peer connection of its own.
    fn receiving_legs(&self, engine: &Engine, plan: LegPlan, started: Instant) -> Result<Vec<Leg>> {
        let receiving = LegPlan { voice: false, camera: None, slots: 1, ..plan };
        let open = |_| {
            let mut leg = engine.open(self.server, receiving)?;
            leg.count_from(started)?;
            Ok(leg)
        };
        (0..plan.slots).map(open).collect()
    }
}

impl Target for Janus {
    type Room = JanusRoom;
    type Seat = JanusSeat;

    fn name(&self) -> &'static str {
        NAME
    }

    fn media_threads(&self) -> Option<&'static str> {
        // One event loop for each peer connection: `hloop` and the handle's number.
        Some("hloop")
    }

    async fn open_room(&self, seats: usize) -> Result<JanusRoom> {
        let id = self.room_next.fetch_add(1, Ordering::Relaxed);
        let room = json!({"request": "create", "room": id, "is_private": true, "publishers": seats.max(1),
            "bitrate": 0, "fir_freq": 0, "audiocodec": "opus", "videocodec": "vp8", "record": false,
            "require_pvtid": false, "notify_joining": false});
        self.rooms.ask(room, None).await?;
        Ok(JanusRoom { id })
    }

    async fn join(
        &self,
        engine: &Engine,
        room: &JanusRoom,
        index: usize,
        plan: LegPlan,
        started: Instant,
    ) -> Result<JanusSeat> {
        let spare = self.receiving_legs(engine, plan, started)?;
        let session = self.gateway.create_session().await?;
        let welcomed = started.elapsed();
        let (to, events) = mpsc::channel(EVENTS_MAX);
        let requests = session.attach(to.clone()).await?;
        let mut body = json!({"request": "join", "ptype": "publisher", "room": room.id, "id": feed(index)});
        let mut publisher = None;
        let joined = if plan.voice || plan.camera.is_some() {
            let mut leg = engine.open(self.server, LegPlan { slots: 0, ..plan })?;
            leg.count_from(started)?;
            body["request"] = "joinandconfigure".into();
            let offer = dtls_client(&leg.offer().await?.sdp);
            let joined = requests.ask(body, Some((SdpKind::Offer, offer))).await?;
            leg.accept_answer(joined.sdp()?).await?;
            publisher = Some(leg);
            joined
        } else {
            requests.ask(body, None).await?
        };
        let answered = started.elapsed();
        let receivers = Arc::default();
        let mut viewer = Viewer {
            session: session.clone(),
            to,
            room: *room,
            watched: vec![feed(index)],
            spare,
            receivers: Arc::clone(&receivers),
        };
        viewer.watch(&joined.feeds()).await?;
        let following = tokio::spawn(viewer.follow(events));
        let steps = Milestones { welcomed, answered, ..Milestones::default() };
        Ok(JanusSeat { gateway: self.gateway.clone(), session, publisher, receivers, following, steps })
    }

    async fn close_room(&self, room: JanusRoom) -> Result<()> {
        self.rooms.ask(json!({"request": "destroy", "room": room.id}), None).await?;
        Ok(())
    }
}

/// Somebody in a room.
pub struct JanusSeat {
    gateway: Gateway,
    session: Session,
    publisher: Option<Leg>,
    receivers: Arc<Mutex<Receivers>>,
    following: JoinHandle<()>,
    steps: Milestones,
}

impl JanusSeat {
    fn receivers(&self) -> MutexGuard<'_, Receivers> {
        self.receivers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The legs that receive, shared with the task that opens them.
#[derive(Default)]
struct Receivers {
    legs: Vec<Leg>,
    lost: Option<String>,
}

impl Seat for JanusSeat {
    fn milestones(&self) -> Milestones {
        let receivers = self.receivers();
        earliest(self.steps, self.publisher.iter().chain(&receivers.legs).map(Leg::milestones))
    }

    async fn wait(&mut self, until: impl Fn(&Milestones) -> bool + Send, deadline: Instant) -> Result<()> {
        let mut pause = PAUSE_MIN;
        while !until(&self.milestones()) {
            if let Some(why) = self.failure() {
                bail!("the seat was lost: {why}");
            }
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "not in time");
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Ok(())
    }

    async fn take_latency(&mut self) -> Result<Histogram> {
        let mut legs = std::mem::take(&mut self.receivers().legs);
        let mut latency = Histogram::default();
        let mut outcome = Ok(());
        for leg in &mut legs {
            match leg.take_latency().await {
                Ok(more) => latency.merge(&more),
                Err(error) => outcome = Err(error),
            }
        }
        // Legs that were opened meanwhile stand behind.
        self.receivers().legs.splice(0..0, legs);
        outcome.map(|()| latency)
    }

    fn failure(&self) -> Option<String> {
        let closed = || (!self.gateway.is_open()).then(|| "Janus closed the WebSocket".to_owned());
        self.receivers().lost.clone().or_else(closed)
    }

    async fn leave(self) -> Result<Tally> {
        self.following.abort();
        let legs = std::mem::take(&mut self.receivers().legs);
        let mut tally = Tally::default();
        for leg in self.publisher.into_iter().chain(legs) {
            tally.merge(leg.close().await?);
        }
        self.session.destroy().await?;
        Ok(tally)
    }
}

/// Watches each publisher that Janus names, as long as there are legs for it.
struct Viewer {
    session: Session,
    to: mpsc::Sender<Event>,
    room: JanusRoom,
    /// Feeds that need no more legs: those watched, and the seat's own.
    watched: Vec<u64>,
    /// One for each slot that nobody was shown in yet.
    spare: Vec<Leg>,
    receivers: Arc<Mutex<Receivers>>,
}

impl Viewer {
    async fn follow(mut self, mut events: mpsc::Receiver<Event>) {
        while let Some(event) = events.recv().await {
            let outcome = match event {
                Event::Feeds(feeds) => self.watch(&feeds).await.map_err(|error| format!("{error:#}")),
                Event::HungUp(why) => Err(why),
            };
            if let Err(why) = outcome {
                self.receivers().lost.get_or_insert(why);
            }
        }
    }

    async fn watch(&mut self, feeds: &[u64]) -> Result<()> {
        for &feed in feeds {
            if self.watched.contains(&feed) {
                continue;
            }
            let Some(leg) = self.spare.pop() else { return Ok(()) };
            self.watched.push(feed);
            let leg = self.subscribe(feed, leg).await.with_context(|| format!("watching feed {feed}"))?;
            self.receivers().legs.push(leg);
        }
        Ok(())
    }

    async fn subscribe(&self, feed: u64, mut leg: Leg) -> Result<Leg> {
        let requests = self.session.attach(self.to.clone()).await?;
        let join = json!({"request": "join", "ptype": "subscriber", "room": self.room.id,
            "streams": [{"feed": feed}]});
        let attached = requests.ask(join, None).await?;
        let answer = leg.answer(attached.sdp()?).await?;
        requests.ask(json!({"request": "start"}), Some((SdpKind::Answer, answer))).await?;
        Ok(leg)
    }

    fn receivers(&self) -> MutexGuard<'_, Receivers> {
        self.receivers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The earliest of each step over the legs; welcome and answer are the seat's own.
fn earliest(seat: Milestones, legs: impl Iterator<Item = Milestones>) -> Milestones {
    let first = |one: Option<Duration>, other: Option<Duration>| one.into_iter().chain(other).min();
    legs.fold(seat, |so_far, leg| Milestones {
        path: first(so_far.path, leg.path),
        connected: first(so_far.connected, leg.connected),
        voice: first(so_far.voice, leg.voice),
        picture: first(so_far.picture, leg.picture),
        ..so_far
    })
}

/// Janus takes the client's part of DTLS whenever an offer leaves it the choice; legs are clients.
fn dtls_client(offer: &str) -> String {
    offer.replace("a=setup:actpass", "a=setup:active")
}

/// A seat's number as a publisher; 0 would be an absent one.
fn feed(index: usize) -> u64 {
    index as u64 + 1
}

fn address(url: &str) -> Result<SocketAddr> {
    let url = Url::parse(url).with_context(|| format!("`{url}` is not a URL"))?;
    if url.scheme() != "ws" {
        bail!("{url}: Janus is reached by its WebSocket transport, ws://ADDRESS:PORT");
    }
    let host = url.host_str().context("the URL has no host")?.trim_matches(['[', ']']);
    let port = url.port_or_known_default().context("the URL has no port")?;
    let address = (host, port).to_socket_addrs()?.next().with_context(|| format!("`{host}` has no address"))?;
    if address.ip().is_loopback() {
        bail!("{address}: Janus gathers no loopback candidates; run both ends in a network namespace");
    }
    Ok(address)
}

/// Away from the demonstration rooms of Debian's configuration.
const FIRST_ROOM: u64 = 100_000;
/// Unread events of a seat.
const EVENTS_MAX: usize = 256;
/// Between two looks at the milestones, which carry their own times.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_http_are_refused_with_the_reason() {
        let refusal = |url| address(url).expect_err(url).to_string();
        assert!(refusal("ws://127.0.0.1:8188").contains("namespace"));
        assert!(refusal("http://10.0.0.1:8088").contains("ws://"));
        assert_eq!(address("ws://10.0.0.1:8188").unwrap(), SocketAddr::from(([10, 0, 0, 1], 8188)));
    }

    #[test]
    fn a_seat_is_as_far_as_its_quickest_leg() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let seat = Milestones { welcomed: Duration::from_millis(3), ..Milestones::default() };
        let sending = Milestones { path: ms(20), connected: ms(30), ..Milestones::default() };
        let receiving = Milestones { path: ms(25), connected: ms(28), voice: ms(40), ..Milestones::default() };
        let all = earliest(seat, [sending, receiving].into_iter());
        assert_eq!((all.path, all.connected, all.voice, all.picture), (ms(20), ms(28), ms(40), None));
        assert_eq!(all.welcomed, Duration::from_millis(3));
    }

    #[test]
    fn the_offer_takes_the_clients_part_of_dtls() {
        assert_eq!(dtls_client("a=mid:0\r\na=setup:actpass\r\n"), "a=mid:0\r\na=setup:active\r\n");
    }
}
