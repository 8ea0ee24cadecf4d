//! A hundred rooms of two on one `Sfu`: a whole turn of the worker, and the set-up for `demux`.
//!
//! A turn brings a voice packet of everybody and a picture of eight packets of every tenth, then everything is flushed and
//! timers run that are due. Every fiftieth turn the far sides catch up with their checks and reports, unmeasured.

use std::time::Duration;

use crate::ids::RoomId;
use crate::rtp::codec::Source;
use crate::sfu::Flush;
use crate::sim::publisher::Plain;
use crate::sim::world::{Page, World};
use crate::transport::batch::{LocalSocket, Path, TransmitBatch};

use super::{BURST, Case, Row};

pub(super) fn rows() -> Vec<Row> {
    vec![Row::new("turn/100_rooms".into(), "forwarded packet", FORWARDED as u64, Turn::new)]
}

/// The rooms, with voices and cameras that were heard and are quiet now.
pub(super) fn hundred_rooms() -> World {
    let mut world = World::new(2);
    for room in 0..ROOMS as u64 {
        world.enter_room(RoomId(100 + room));
        for _ in 0..2 {
            world.join(Page { early_wrap: false, ..Page::new().slots(1) });
        }
    }
    // The server takes one step of one handshake in each of the world's milliseconds.
    world.run(1000);
    for person in &mut world.people {
        person.publishers.iter_mut().for_each(|publisher| publisher.muted = true);
    }
    // Packets carry names for the first two seconds.
    world.run(2000);
    assert_eq!(world.sfu.counters().tracks, 4 * ROOMS as u64, "everybody sends voice and picture");
    world
}

/// A page's two sources as they go on.
struct Sources {
    voice: Plain,
    picture: Plain,
}

struct Turn {
    world: World,
    batch: TransmitBatch,
    sources: Vec<Sources>,
    arrived: Vec<(Path, Vec<u8>)>,
    turns: usize,
    forwarded_before: u64,
}

impl Turn {
    fn new() -> Self {
        let mut world = hundred_rooms();
        let sources = world.people.iter_mut().map(|person| {
            let picture = person.publisher(Source::Camera).last_packet().expect("a picture was sent");
            let voice = person.publisher(Source::Microphone).next_voice(VOICE_LEN);
            Sources { voice, picture: Plain { payload: resized(picture.payload, PICTURE_LEN), ..picture } }
        });
        let sources = sources.collect();
        let batch = TransmitBatch::new(2 << 20, 1024);
        Self { world, batch, sources, arrived: Vec::new(), turns: 0, forwarded_before: 0 }
    }

    /// Seals a packet of a person as it would arrive now.
    fn arrive(&mut self, index: usize, source: Source) {
        let Sources { voice, picture } = &mut self.sources[index];
        let plain = if source == Source::Microphone { voice } else { picture };
        plain.seq += 1;
        let person = &mut self.world.people[index];
        let publisher = person.publishers.iter().position(|publisher| publisher.source == source);
        person.send_plain(self.world.now, publisher.expect("a published source"), plain);
        let path = Path { local: LocalSocket(0), remote: person.address };
        self.arrived.push((path, person.outbox.pop().expect("a sealed packet")));
    }
}

impl Case for Turn {
    fn prepare(&mut self) {
        self.batch.clear();
        self.arrived.clear();
        if self.turns.is_multiple_of(TURNS_A_SECOND) {
            self.world.run(INTERVAL.as_millis() as u64);
        } else {
            self.world.now += INTERVAL;
        }
        self.turns += 1;
        for index in 0..self.sources.len() {
            let Sources { voice, picture } = &mut self.sources[index];
            voice.timestamp = voice.timestamp.wrapping_add(960);
            picture.timestamp = picture.timestamp.wrapping_add(1800);
            self.arrive(index, Source::Microphone);
            if index % PEOPLE_A_PICTURE == self.turns % PEOPLE_A_PICTURE {
                (0..BURST).for_each(|_| self.arrive(index, Source::Camera));
            }
        }
        self.forwarded_before = self.world.sfu.counters().rtp_forwarded;
    }

    fn run(&mut self) {
        let Self { world: World { sfu, now, .. }, batch, arrived, .. } = self;
        for (path, datagram) in arrived {
            sfu.handle_datagram(*now, *now, *path, datagram, batch);
        }
        assert!(sfu.flush(*now, batch) == Flush::Done);
        if sfu.poll_timeout().is_some_and(|due| due <= *now) {
            sfu.handle_timeout(*now, batch);
        }
    }

    fn check(&mut self) {
        let forwarded = self.world.sfu.counters().rtp_forwarded - self.forwarded_before;
        assert_eq!(forwarded, FORWARDED as u64, "every packet to the other person");
        while self.world.sfu.poll_event().is_some() {}
    }
}

fn resized(mut payload: Vec<u8>, len: usize) -> Vec<u8> {
    payload.resize(len, 0);
    payload
}

pub(super) const ROOMS: usize = 100;
const PEOPLE: usize = 2 * ROOMS;
/// One in so many sends a picture in a turn.
const PEOPLE_A_PICTURE: usize = 10;
const FORWARDED: usize = PEOPLE + PEOPLE / PEOPLE_A_PICTURE * BURST;
/// Of a voice.
const INTERVAL: Duration = Duration::from_millis(20);
const TURNS_A_SECOND: usize = 50;
const VOICE_LEN: usize = 100;
const PICTURE_LEN: usize = 1000;
