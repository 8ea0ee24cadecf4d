//! Use cases: book, invite, join, admit, offer, mute, remove, leave, end. No HTTP, no sockets, no SDP parsing.
//!
//! ```text
//!   web ----> booking (clinics) ----> store
//!    |------> join (link -> session)
//!    |------> visit (a page's socket) --+
//!    |------> endpoint (WHIP and WHEP) -+--> room --Command--> media plane
//!   media plane --Event--> reports -----+      \--ServerMessage--> sockets
//! ```
//!
//! A consultation's live state is one `Room` behind one lock that is never held across an await. The store has the
//! last word on who is admitted; the room is its cache while somebody is there.

mod answers;
mod aside;
pub mod booking;
pub mod channel;
pub mod clinics;
mod chronicle;
pub mod clock;
pub mod endpoint;
pub mod erasure;
pub mod facts;
mod form;
mod gates;
mod hand_over;
mod hosting;
pub mod feed;
pub mod join;
pub mod journal;
mod leg;
pub mod login;
mod lock;
pub mod media;
mod media_port;
pub mod metrics;
mod mirror;
pub mod negotiation;
pub mod offer;
mod opening;
pub mod outbox;
pub mod outgoing;
pub mod phone;
pub mod policy;
mod queue;
pub mod random;
pub mod record;
mod reports;
mod room;
mod seat;
mod settle;
mod stage;
mod scribe;
mod spool;
pub mod tokens;
pub mod usage;
pub mod visit;
pub mod waiting_line;
pub mod webhooks;
pub mod yearly;

#[cfg(test)]
pub(crate) mod fake_media;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use dashmap::DashMap;

use crate::acts::Acts;
use crate::config::LoginConfig;
use crate::config::outbound::Outbound;
use crate::ids::{LegId, RoomId};
use crate::store::{Store, StoreError};

use facts::Departure;
use feed::Waiters;
use join::Pace;
use journal::{Hold, Journal};
use login::Logins;
use media::MediaPlane;
use metrics::{Census, Metrics};
use outbox::Outbox;
use outgoing::{Authorities, OutgoingError};
use phone::switchboard::Switchboard;
use record::Witness;
use room::{Room, RoomState};
use tokens::{NoSigningKey, Tokens};
use waiting_line::Lines;
use webhooks::Webhooks;

/// What the control plane is told once.
#[derive(Clone, Debug)]
pub struct ControlSettings {
    /// Where links lead: scheme, host, port, no slash at the end.
    pub base_url: String,
    /// How long a seat without a connection is kept.
    pub grace: Duration,
    /// Rooms at the same time before new ones are refused (emergencies are not).
    pub rooms_max: usize,
    /// What may be booked, and what each role may do there.
    pub acts: Acts,
    /// Days after which a new key signs links.
    pub signing_key_days: u32,
    /// Login of professionals.
    pub login: Option<LoginConfig>,
    /// What may be sent to others.
    pub outbound: Outbound,
    /// The telephone, on a server that has one.
    pub phones: Option<Arc<Switchboard>>,
    /// Where changes wait while the store is down: the data directory.
    pub spool_dir: PathBuf,
}

/// How long a seat without a connection is kept: long enough for a lift or a reboot, short enough that a host is
/// not left wondering.
pub const GRACE: Duration = Duration::from_secs(120);

/// All use cases, and the registry of live rooms.
pub struct Consultations {
    store: Arc<dyn Store>,
    journal: Arc<Journal>,
    media: Arc<dyn MediaPlane>,
    tokens: Tokens,
    pace: Pace,
    /// Held from reading a seat's epoch until the next one is written.
    revoking: tokio::sync::Mutex<()>,
    logins: Option<Logins>,
    settings: ControlSettings,
    witness: Witness,
    numbers: Numbers,
    rooms: DashMap<String, Arc<Room>>,
    rooms_by_number: DashMap<RoomId, Arc<Room>>,
    /// What live rooms may rely on while the store is down.
    holds: DashMap<RoomId, Hold>,
    legs: Arc<DashMap<LegId, RoomId>>,
    lines: Arc<Lines>,
    draining: AtomicBool,
    metrics: Metrics,
    waiters: Waiters,
    webhooks: Arc<Webhooks>,
    outbox: Outbox,
}

/// The control plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store has no usable key.
    #[error(transparent)]
    Keys(#[from] NoSigningKey),
    /// Nothing can be sent as it is configured.
    #[error(transparent)]
    Outgoing(#[from] OutgoingError),
}

impl Consultations {
    /// Reads the signing keys; makes the first one on a new store.
    pub async fn open(
        store: Arc<dyn Store>,
        media: Arc<dyn MediaPlane>,
        settings: ControlSettings,
        witness: Witness,
    ) -> Result<Arc<Self>, StartError> {
        let metrics = Metrics::new();
        let journal = Journal::open(Arc::clone(&store), &settings.spool_dir, metrics.journal.clone()).await?;
        let authorities = Authorities::read(settings.outbound.trusted_ca.as_deref())?;
        let webhooks = Webhooks::new(&journal, &store, &settings.outbound, &authorities, metrics.registry())?;
        let outbox = Outbox::new(&settings.outbound, &authorities, metrics.registry())?;
        let logins = settings.login.clone().map(|login| Logins::new(login, &authorities, &settings.base_url));
        let lines = Arc::<Lines>::default();
        let consultations = Arc::new(Self {
            tokens: Tokens::new(tokens::first_keys(&*store).await?)?,
            pace: Pace::default(),
            revoking: tokio::sync::Mutex::default(),
            logins: logins.transpose()?,
            journal,
            store,
            media,
            settings,
            witness,
            numbers: Numbers::default(),
            rooms: DashMap::new(),
            rooms_by_number: DashMap::new(),
            holds: DashMap::new(),
            legs: Arc::default(),
            lines: Arc::clone(&lines),
            draining: AtomicBool::new(false),
            metrics,
            waiters: Waiters::default(),
            webhooks: Arc::new(webhooks),
            outbox,
        });
        consultations.recall_phone_minutes().await?;
        tokio::spawn(Self::follow_lines(lines, Arc::downgrade(&consultations)));
        Ok(consultations)
    }

    /// Sends what leaves, for as long as the process runs.
    pub fn start_sending(self: &Arc<Self>) {
        tokio::spawn(Arc::clone(&self.webhooks).deliver());
        tokio::spawn(Arc::clone(self).send_messages());
    }

    /// Where clinics have their events sent.
    #[must_use]
    pub fn webhooks(&self) -> &Webhooks {
        &self.webhooks
    }

    /// Refuses new rooms from now on, or takes them again.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// Whether new rooms are refused.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether a new room would be taken now.
    pub async fn is_ready(&self) -> bool {
        !self.is_draining()
            && self.rooms.len() < self.settings.rooms_max
            && self.store.ping().await.is_ok()
            && self.journal.is_writable().await
    }

    /// The one way to the store for what changes.
    #[must_use]
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Counters of the control plane.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Workers, for their counters.
    #[must_use]
    pub fn media(&self) -> &dyn MediaPlane {
        &*self.media
    }

    /// Where links lead.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.settings.base_url
    }

    /// Rooms at the same time before new ones are refused.
    #[must_use]
    pub fn rooms_max(&self) -> usize {
        self.settings.rooms_max
    }

    /// Acts that can be booked.
    #[must_use]
    pub fn acts(&self) -> &Acts {
        &self.settings.acts
    }

    /// Who is there now.
    #[must_use]
    pub fn census(&self) -> Census {
        let rooms: Vec<Arc<Room>> = self.rooms.iter().map(|entry| Arc::clone(&entry)).collect();
        let mut census = Census { rooms: rooms.len(), draining: self.is_draining(), ..Census::default() };
        for room in rooms {
            let (present, waiting) = room.lock().census();
            census.present += present;
            census.waiting += waiting;
        }
        census
    }

    /// Every metric family of the control plane, up to date.
    #[must_use]
    pub fn gather_metrics(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.metrics.gather(self.census())
    }

    /// Ends every live room; for the end of a drain whose deadline passed. Nothing is written: the consultations may
    /// go on elsewhere.
    pub fn close_all(&self) {
        let rooms: Vec<Arc<Room>> = self.rooms.iter().map(|entry| Arc::clone(&entry)).collect();
        for room in rooms {
            room.lock().end(Departure::Lost);
            self.forget(&room);
        }
    }

    fn live_room(&self, consultation: &str) -> Option<Arc<Room>> {
        self.rooms.get(consultation).map(|entry| Arc::clone(&entry))
    }

    /// Closes and forgets a room when nobody is there. Takes the lock's guard so that nobody enters meanwhile.
    fn close_if_empty(&self, room: &Arc<Room>, mut state: MutexGuard<'_, RoomState>) {
        let closed = state.close_if_empty();
        drop(state);
        if closed {
            self.forget(room);
        }
    }

    fn forget(&self, room: &Arc<Room>) {
        self.rooms.remove_if(&room.consultation, |_, live| live.id == room.id);
        self.rooms_by_number.remove(&room.id);
        self.holds.remove(&room.id);
        self.legs.retain(|_, of| *of != room.id);
    }
}

/// Numbers that are unique in this process: rooms, seats, legs, visits.
#[derive(Default)]
struct Numbers(AtomicU64);

impl Numbers {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}
