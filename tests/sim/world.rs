//! The simulated world: one `Sfu`, its far sides and the network between them, in virtual time from one seed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use colloque::ids::{LegId, RoomId, SeatId, SlotId, Ssrc};
use colloque::rtp::codec::{MediaKind, Source};
use colloque::sfu::command::{Command, Event, SeatPolicy, SlotAssignment};
use colloque::sfu::egress::{NtpReference, NtpTime};
use colloque::sfu::parameters::{
    EgressParameters, IngressParameters, LegParameters, ShortName, SlotParameters, SlotRole,
};
use colloque::sfu::{Flush, Sfu, SfuConfig};
use colloque::transport::batch::{LocalSocket, Path, TransmitBatch};
use colloque::transport::dtls::DtlsAcceptor;
use colloque::transport::dtls_sim::{SimAcceptor, SimDtlsClient};
use colloque::transport::parameters::{Fingerprint, IceCredentials, TransportParameters};
use colloque::transport::srtp::Profile;
use colloque::units::PictureSize;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::far_side::{Beginning, Dialect, FarSide};
use super::network::{Link, Network};
use super::phone::{self, Phone};
use super::publisher::{Publisher, RIDS};
use super::receiver::Receiver;
use super::wire::Format;

pub const ROOM: RoomId = RoomId(1);
/// Silent legs are kept so long.
pub const GRACE: Duration = Duration::from_secs(120);

/// What a page brings along.
#[derive(Clone)]
pub struct Page {
    pub policy: SeatPolicy,
    pub voice: bool,
    /// Format and whether with three rids.
    pub camera: Option<(Format, bool)>,
    pub screen: Option<Format>,
    pub slots: u16,
    pub role: SlotRole,
    pub formats: Vec<Format>,
    /// Takes and sends redundant voice.
    pub red: bool,
    pub dialect: Dialect,
    pub data: bool,
    /// Streams may begin just before their numbers wrap. SRTP fails for good when all packets before the wrap are lost.
    pub early_wrap: bool,
    pub link: Link,
}

impl Page {
    pub fn new() -> Self {
        Self {
            policy: SeatPolicy::ALL,
            voice: true,
            camera: Some((Format::Vp8, false)),
            screen: None,
            slots: 3,
            role: SlotRole::Seat,
            formats: vec![Format::Opus, Format::Vp8, Format::Vp9, Format::H264, Format::Av1Sealed],
            red: false,
            dialect: Dialect::Chromium,
            data: false,
            early_wrap: true,
            link: Link::GOOD,
        }
    }

    pub fn firefox() -> Self {
        Self { dialect: Dialect::Firefox, ..Self::new() }
    }

    pub fn viewer() -> Self {
        Self { voice: false, camera: None, ..Self::new() }
    }

    pub fn camera(self, format: Format) -> Self {
        Self { camera: Some((format, false)), ..self }
    }

    pub fn simulcast(self) -> Self {
        Self { camera: Some((Format::Vp8, true)), ..self }
    }

    pub fn slots(self, slots: u16) -> Self {
        Self { slots, ..self }
    }

    pub fn link(self, link: Link) -> Self {
        Self { link, ..self }
    }
}

pub struct World {
    pub seed: u64,
    pub start: Instant,
    pub now: Instant,
    pub sfu: Sfu,
    pub people: Vec<FarSide>,
    pub phones: Vec<Phone>,
    pub events: Vec<(Duration, Event)>,
    /// Which seat was on which slot of a leg, since when.
    pub stages: HashMap<LegId, Vec<(Instant, Vec<SlotAssignment>)>>,
    /// Packets of a seat on a slot that it was not mapped to.
    pub misplaced: Vec<String>,
    /// Datagrams the server sent, by far address.
    pub sent_to: HashMap<SocketAddr, u64>,
    /// What an eavesdropper beside the first person has heard of them so far, when there is one.
    pub overheard: Option<Vec<Vec<u8>>>,
    /// Called with true before the server works and with false after, to measure it alone.
    pub around_server: Option<fn(bool)>,
    /// The same for what is not media: joining, checks, handshakes, messages.
    pub around_control: Option<fn(bool)>,
    /// Where pages join now.
    room: RoomId,
    acceptor: SimAcceptor,
    batch: TransmitBatch,
    network: Network,
    by_address: HashMap<SocketAddr, usize>,
    random: StdRng,
}

/// The seeds of a scenario, moved by the environment's `COLLOQUE_SIM_SEED` to look for bad luck elsewhere.
pub fn seeds(range: std::ops::Range<u64>) -> impl Iterator<Item = u64> {
    range.map(seed)
}

/// One of them.
pub fn seed(own: u64) -> u64 {
    let base: u64 = std::env::var("COLLOQUE_SIM_SEED").ok().and_then(|base| base.parse().ok()).unwrap_or(0);
    own + base
}

/// Where person `index` lives at first.
pub fn address(index: usize) -> SocketAddr {
    match index % 3 {
        0 => ([198, 51, 100, index as u8], 40_000 + index as u16).into(),
        1 => ([203, 0, 113, 7], 50_000 + index as u16).into(),
        _ => ([0x2001, 0xdb8, 0, 0, 0, 0, 0, index as u16], 6_000).into(),
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let start = Instant::now();
        let ntp = NtpReference { instant: start, ntp: NtpTime(0xe8a1_0000_0000_0000 + (seed << 20)) };
        let mut random = StdRng::seed_from_u64(seed);
        let acceptor = || SimAcceptor::new(Profile::AeadAes128Gcm, seed);
        let mut sfu = Sfu::new(SfuConfig { ntp, grace: GRACE }, random.random(), Box::new(acceptor()));
        sfu.handle_command(start, Command::OpenRoom(ROOM));
        Self {
            seed,
            start,
            now: start,
            sfu,
            people: Vec::new(),
            phones: Vec::new(),
            events: Vec::new(),
            stages: HashMap::new(),
            misplaced: Vec::new(),
            sent_to: HashMap::new(),
            overheard: None,
            around_server: None,
            around_control: None,
            room: ROOM,
            acceptor: acceptor(),
            // Small, so that flushing into a full batch is what always happens.
            batch: TransmitBatch::new(64 * 1024, 40),
            network: Network::new(random.random()),
            by_address: HashMap::new(),
            random,
        }
    }

    /// A world in which these pages have joined, with seats 1, 2, ….
    pub fn with(seed: u64, pages: impl IntoIterator<Item = Page>) -> Self {
        let mut world = Self::new(seed);
        for page in pages {
            world.join(page);
        }
        world
    }

    /// Another room is opened, and pages join there from now on.
    #[allow(dead_code)]
    pub fn enter_room(&mut self, room: RoomId) {
        self.sfu.handle_command(self.now, Command::OpenRoom(room));
        self.room = room;
    }

    /// The next seat joins; gives its index.
    pub fn join(&mut self, page: Page) -> usize {
        let seat = SeatId(self.people.len() as u64 + 1);
        self.set_policy(seat, page.policy);
        self.add_leg(seat, page)
    }

    pub fn set_policy(&mut self, seat: SeatId, policy: SeatPolicy) {
        self.sfu.handle_command(self.now, Command::SetPolicy { room: self.room, seat, policy });
    }

    /// Another leg of a seat; gives its index.
    pub fn add_leg(&mut self, seat: SeatId, page: Page) -> usize {
        let index = self.people.len();
        let leg = LegId(100 + index as u64);
        let (local, server) = (self.credentials(), self.credentials());
        let publishers = self.publishers(seat, &page);
        let (slots, receivers) = self.slots(&page);
        let fingerprint: [u8; 32] = self.random.random();
        let parameters = LegParameters {
            transport: TransportParameters {
                local: server.clone(),
                remote: local.clone(),
                remote_fingerprint: Fingerprint::Sha256(fingerprint),
                data_channel: page.data.then_some(65_536),
            },
            payloads: page.dialect.payloads(&page.formats, page.red),
            extensions: page.dialect.extensions(),
            ingress: publishers.iter().map(section).collect(),
            slots,
        };
        let stamp = format!("seat_{seat}").into();
        let parameters = Box::new(parameters);
        self.measure_control(true);
        self.sfu.handle_command(self.now, Command::AddLeg { room: self.room, seat, leg, stamp, parameters });
        self.measure_control(false);
        let dtls = SimDtlsClient::new(self.now, fingerprint, self.acceptor.fingerprint(), self.random.random::<u64>());
        let begin = Beginning {
            seat,
            leg,
            dialect: page.dialect,
            formats: page.formats,
            red: page.red,
            address: address(index),
            link: page.link,
            publishers,
            receivers,
            data: page.data,
            local,
            server,
            dtls,
            fingerprint,
            random: StdRng::seed_from_u64(self.random.random()),
        };
        self.people.push(FarSide::new(self.start, self.now, begin));
        self.by_address.insert(address(index), index);
        index
    }

    /// A telephone of a seat; gives its index.
    pub fn add_phone(&mut self, seat: SeatId) -> usize {
        let index = self.phones.len();
        let leg = LegId(200 + index as u64);
        self.sfu.handle_command(self.now, Command::AddLocalLeg { room: self.room, seat, leg });
        self.phones.push(Phone::new(self.now, seat, leg, StdRng::seed_from_u64(self.random.random())));
        index
    }

    fn credentials(&mut self) -> IceCredentials {
        let mut word = |len: usize| (0..len).map(|_| char::from(self.random.random_range(b'a'..=b'z'))).collect();
        IceCredentials { ufrag: word(8), pwd: colloque::pii::Pii(word(24)) }
    }

    fn publishers(&mut self, seat: SeatId, page: &Page) -> Vec<Publisher> {
        let id = seat.0 as u32 * 10;
        let leg = self.people.len() as u8;
        let mut publishers = Vec::new();
        if page.voice {
            let mut voice =
                Publisher::new(self.now, (id, leg), Source::Microphone, Format::Opus, false, &mut self.random);
            voice.red = page.red.then_some(page.dialect.payload_types(Format::Opus).0);
            publishers.push(voice);
        }
        if let Some((format, simulcast)) = page.camera {
            publishers.push(Publisher::new(
                self.now,
                (id + 1, leg),
                Source::Camera,
                format,
                simulcast,
                &mut self.random,
            ));
        }
        if let Some(format) = page.screen {
            publishers.push(Publisher::new(self.now, (id + 2, leg), Source::Screen, format, false, &mut self.random));
        }
        if !page.early_wrap {
            publishers.iter_mut().for_each(Publisher::begin_low);
        }
        publishers
    }

    fn slots(&mut self, page: &Page) -> (Vec<SlotParameters>, Vec<Receiver>) {
        let mut receivers = Vec::new();
        let mut slots = Vec::new();
        for slot in 0..page.slots {
            let slot = SlotId(slot);
            let mut egress = |kind: MediaKind| {
                let ssrc = Ssrc(self.random.random());
                let rtx_ssrc = (kind == MediaKind::Video).then(|| Ssrc(self.random.random()));
                receivers.push(Receiver::new(slot, kind, ssrc, rtx_ssrc));
                let of_kind = |format: &&Format| format.codec().kind() == kind;
                let formats: Vec<Format> = page.formats.iter().filter(of_kind).copied().collect();
                let mid = format!("{}{slot}", if kind == MediaKind::Audio { "a" } else { "v" });
                EgressParameters {
                    mid: ShortName::new(mid.as_bytes()).expect("a short name"),
                    kind,
                    ssrc,
                    rtx_ssrc,
                    payloads: page.dialect.payloads(&formats, page.red),
                    extensions: page.dialect.extensions(),
                }
            };
            let audio = Some(egress(MediaKind::Audio));
            let video = Some(egress(MediaKind::Video));
            slots.push(SlotParameters { slot, role: page.role, audio, video });
        }
        (slots, receivers)
    }

    /// New credentials on a leg that lives on.
    pub fn restart_ice(&mut self, person: usize, remote_fingerprint: Fingerprint) {
        let (local, server) = (self.credentials(), self.credentials());
        let leg = self.people[person].leg;
        let command = Command::RestartIce { leg, local: server.clone(), remote: local.clone(), remote_fingerprint };
        self.sfu.handle_command(self.now, command);
        self.people[person].restart_ice(self.now, local, server);
    }

    pub fn set_view(&mut self, person: usize, slot: u16, width: u16, height: u16) {
        let size = PictureSize { width, height };
        let leg = self.people[person].leg;
        self.sfu.handle_command(self.now, Command::SetView { leg, slot: SlotId(slot), size });
    }

    pub fn remove(&mut self, person: usize) {
        self.sfu.handle_command(self.now, Command::RemoveLeg(self.people[person].leg));
        self.people[person].dead = true;
    }

    pub fn move_to(&mut self, person: usize, address: SocketAddr) {
        self.by_address.remove(&self.people[person].address);
        self.by_address.insert(address, person);
        self.people[person].move_to(self.now, address);
    }

    /// A datagram from anywhere, straight to the server; gives how many datagrams it answered with.
    pub fn inject(&mut self, remote: SocketAddr, bytes: &mut [u8]) -> usize {
        self.make_room();
        let before = self.batch.datagrams().len();
        let path = Path { local: LocalSocket(0), remote };
        self.sfu.handle_datagram(self.now, self.now, path, bytes, &mut self.batch);
        let answers = self.batch.datagrams().len() - before;
        self.flush();
        answers
    }

    /// Lets virtual time pass.
    pub fn run(&mut self, millis: u64) {
        for _ in 0..millis {
            self.step();
        }
    }

    /// Lets time pass until `done`, at most so long; whether it came to be.
    pub fn run_until(&mut self, millis_max: u64, mut done: impl FnMut(&World) -> bool) -> bool {
        for _ in 0..millis_max {
            if done(self) {
                return true;
            }
            self.step();
        }
        done(self)
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(1);
        let now = self.now;
        let tick = (now - self.start).as_millis() as usize;
        for index in 0..self.people.len() {
            // Everybody has a turn every 5 ms.
            if (tick + index).is_multiple_of(5) {
                self.people[index].poll(now);
            }
            self.post(index);
        }
        let mut landed = false;
        while let Some(mut flying) = self.network.land(now) {
            if flying.to_server {
                landed = true;
                self.make_room();
                let path = Path { local: LocalSocket(0), remote: flying.remote };
                // Checks and messages may allocate: neither is per packet.
                let is_media = flying.bytes[0] >= 128;
                self.measure(is_media);
                self.measure_control(!is_media);
                self.sfu.handle_datagram(now, now, path, &mut flying.bytes, &mut self.batch);
                self.measure_control(false);
                self.measure(false);
            } else if let Some(&index) = self.by_address.get(&flying.remote) {
                self.people[index].handle(now, &mut flying.bytes);
                self.post(index);
            }
        }
        for index in 0..self.phones.len() {
            if (tick + index).is_multiple_of(5) {
                landed |= self.speak(index);
            }
        }
        if landed {
            self.flush();
        }
        if self.sfu.poll_timeout().is_some_and(|due| due <= now) {
            self.make_room();
            self.measure(true);
            self.sfu.handle_timeout(now, &mut self.batch);
            self.measure(false);
            self.flush();
        }
        self.take_events();
        self.check_places();
    }

    /// What a telephone says now; true when it said something.
    fn speak(&mut self, index: usize) -> bool {
        let phone = &mut self.phones[index];
        let leg = phone.leg;
        let said = phone.poll(self.start, self.now);
        for plain in &said {
            self.measure(true);
            self.sfu.handle_local(self.now, leg, &phone::frame(plain), &mut self.batch);
            self.measure(false);
        }
        !said.is_empty()
    }

    fn flush(&mut self) {
        loop {
            self.measure(true);
            let state = self.sfu.flush(self.now, &mut self.batch);
            self.measure(false);
            self.ship();
            if state == Flush::Done {
                return;
            }
        }
    }

    fn measure(&self, inside: bool) {
        if let Some(around) = self.around_server {
            around(inside);
        }
    }

    fn measure_control(&self, inside: bool) {
        if let Some(around) = self.around_control {
            around(inside);
        }
    }

    fn make_room(&mut self) {
        if self.batch.is_full() {
            self.ship();
        }
    }

    fn ship(&mut self) {
        for (leg, frame) in self.batch.local().frames() {
            let phone = self.phones.iter_mut().find(|phone| phone.leg == leg).expect("a telephone that was added");
            phone.handle(self.now, &frame);
        }
        for datagram in self.batch.datagrams() {
            let remote = datagram.path.remote;
            *self.sent_to.entry(remote).or_default() += 1;
            assert!(datagram.len <= 1452, "{} bytes do not fit every network", datagram.len);
            let Some(&index) = self.by_address.get(&remote) else { continue };
            let person = &mut self.people[index];
            let (link, last) = (person.down, &mut person.down_last);
            self.network.launch(self.now, &link, last, false, remote, self.batch.bytes(datagram));
        }
        self.batch.clear();
    }

    fn post(&mut self, index: usize) {
        let person = &mut self.people[index];
        let (link, remote) = (person.up, person.address);
        for bytes in std::mem::take(&mut person.outbox) {
            if let Some(overheard) = self.overheard.as_mut().filter(|_| index == 0) {
                overheard.push(bytes.clone());
            }
            self.network.launch(self.now, &link, &mut person.up_last, true, remote, &bytes);
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.sfu.poll_event() {
            if let Event::SlotsChanged { leg, slots } = &event {
                self.stages.entry(*leg).or_default().push((self.now, slots.clone()));
            }
            self.events.push((self.now - self.start, event));
        }
    }

    fn check_places(&mut self) {
        let now = self.now;
        for person in &mut self.people {
            for (slot, publisher) in std::mem::take(&mut person.heard) {
                let seat = SeatId(u64::from(publisher / 10));
                let stages = self.stages.get(&person.leg).map_or(&[][..], |stages| stages);
                let shown = |stage: &[SlotAssignment]| {
                    stage.iter().any(|shown| usize::from(shown.slot.0) == slot && shown.seat == seat)
                };
                // What was under way, or sent again, when the slot changed is still of the one before.
                let right = stages.iter().rev().enumerate().any(|(back, (_, stage))| {
                    let ended = back.checked_sub(1).map(|next| stages[stages.len() - 1 - next].0);
                    shown(stage) && ended.is_none_or(|ended| now < ended + Duration::from_millis(400))
                });
                if !right && self.misplaced.len() < 20 {
                    self.misplaced.push(format!("{publisher} on slot {slot} of {}", person.leg));
                }
            }
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Every stream could be decoded and every packet was on its slot.
    pub fn assert_sound(&self) {
        assert_eq!(self.misplaced, [""; 0], "seed {}", self.seed);
        for phone in &self.phones {
            for receiver in &phone.receivers {
                let slot = receiver.slot;
                assert_eq!(receiver.faults, [""; 0], "seed {}, telephone {}, slot {slot}", self.seed, phone.leg);
            }
        }
        for person in &self.people {
            for receiver in &person.receivers {
                assert_eq!(
                    receiver.faults, [""; 0],
                    "seed {}, leg {}, slot {}, {:?}",
                    self.seed, person.leg, receiver.slot, receiver.kind
                );
            }
        }
    }

    /// The slot of `viewer` on which `seat` is now.
    pub fn slot_of(&self, viewer: usize, seat: SeatId) -> Option<u16> {
        let (_, stage) = self.stages.get(&self.people[viewer].leg)?.last()?;
        stage.iter().find(|shown| shown.seat == seat && shown.source == Source::Camera).map(|shown| shown.slot.0)
    }

    /// Whole frames that `viewer` has played of a seat's source since `since`.
    pub fn frames(&self, viewer: usize, publisher: u32, since: Duration) -> usize {
        let since = self.start + since;
        let receivers = self.people[viewer].receivers.iter();
        receivers.flat_map(|receiver| receiver.frames_of(publisher)).filter(|seen| seen.at >= since).count()
    }

    /// Whether `viewer` has voice and picture of `seat` since `since`.
    pub fn sees_and_hears(&self, viewer: usize, seat: u64, since: Duration) -> bool {
        let id = seat as u32 * 10;
        self.frames(viewer, id, since) > 0 && self.frames(viewer, id + 1, since) > 0
    }

    pub fn events_of(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|(_, event)| is(event)).count()
    }
}

fn section(publisher: &Publisher) -> IngressParameters {
    let name = |name: &str| ShortName::new(name.as_bytes()).expect("a short name");
    let simulcast = publisher.layers.len() > 1;
    IngressParameters {
        mid: name(publisher.mid),
        source: publisher.source,
        rids: if simulcast { RIDS.iter().map(|rid| name(rid)).collect() } else { Vec::new() },
        ssrcs: if simulcast { Vec::new() } else { vec![(publisher.layers[0].ssrc, publisher.layers[0].rtx)] },
    }
}
