//! A media worker that is too busy for a telephone that was just let in: the room's sound is asked for again, and comes.
//!
//! The worker is kept busy by what it may not refuse (rooms that close), and meanwhile its mailbox is filled with what it may: the
//! telephone's leg finds it full.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use colloque::control::media::{MediaBusy, MediaPlane};
use colloque::ids::{LegId, RoomId, SeatId, SlotId};
use colloque::sfu::command::Command;
use colloque::telephone::prompts::Prompt;
use colloque::units::PictureSize;
use colloque::worker::WorkerId;
use colloque::worker::local::LocalPort;
use colloque::worker::pool::WorkerPool;
use serde_json::json;

use crate::phone::Call;
use crate::raw::Raw;
use crate::server::{Setup, pin, tone_of, trunk};
use crate::voice::Speech;

/// Workers that are busy whenever a telephone comes, until one was refused.
struct Busy {
    pool: WorkerPool,
    /// Further telephones that find them busy.
    due: Arc<AtomicU32>,
    refused: Arc<AtomicU32>,
}

impl Busy {
    fn keep_busy(&self, worker: WorkerId) {
        let rooms = || (0..ROOMS).map(|room| RoomId(u64::MAX - room));
        for room in rooms() {
            while self.pool.try_send(worker, Command::OpenRoom(room)).is_err() {
                std::thread::yield_now();
            }
        }
        for room in rooms() {
            self.pool.try_send(worker, Command::CloseRoom(room)).unwrap();
        }
        let nobody = || Command::SetView { leg: LegId(u64::MAX), slot: SlotId(0), size: PictureSize::default() };
        while self.pool.try_send(worker, nobody()).is_ok() {}
    }
}

impl MediaPlane for Busy {
    fn workers(&self) -> usize {
        self.pool.workers()
    }

    fn try_send(&self, worker: WorkerId, command: Command) -> Result<(), MediaBusy> {
        MediaPlane::try_send(&self.pool, worker, command)
    }

    fn add_local_leg(&self, worker: WorkerId, room: RoomId, seat: SeatId, leg: LegId) -> Result<LocalPort, MediaBusy> {
        if self.due.load(Ordering::Relaxed) > 0 {
            self.keep_busy(worker);
        }
        let added = MediaPlane::add_local_leg(&self.pool, worker, room, seat, leg);
        if added.is_err() {
            self.due.store(0, Ordering::Relaxed);
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        added
    }

    fn candidates(&self, worker: WorkerId) -> &[SocketAddr] {
        MediaPlane::candidates(&self.pool, worker)
    }

    fn fingerprint(&self) -> [u8; 32] {
        MediaPlane::fingerprint(&self.pool)
    }

    fn read_counters(&self, each: &mut dyn FnMut(WorkerId, &'static str, Option<&'static str>, u64)) {
        MediaPlane::read_counters(&self.pool, each);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_telephone_that_came_while_its_worker_was_busy_hears_and_is_heard_a_moment_later() {
    let (due, refused) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (of_plane, counted) = (Arc::clone(&due), Arc::clone(&refused));
    let setup = Setup::of(&[trunk("line", 9, "")]);
    let setup = setup.plane(|pool| Arc::new(Busy { pool, due: of_plane, refused: counted }));
    let server = setup.start().await;
    let seats = json!([{"role": "practitioner"}, {"role": "patient", "admitted": true}, {"role": "companion", "admitted": true}]);
    let booked = server.book_seats(seats, json!({})).await;
    let mut doctor = server.page(&booked.seats[0]).await;
    doctor.is_let_in().await;
    let mut companion = Call::dial(Raw::new().await, server.sip, Speech::Tone(300.0)).await;
    companion.voice.press(pin(&booked.seats[2]));
    companion.voice.hears(tone_of(Prompt::Admitted)).await;

    // A worker that is quick enough takes the telephone all the same: then it is tried again.
    for _ in 0..TRIES_MAX {
        due.store(1, Ordering::Relaxed);
        let mut call = Call::dial(Raw::new().await, server.sip, Speech::Tone(400.0)).await;
        call.voice.press(pin(&booked.seats[1]));
        call.voice.hears(tone_of(Prompt::Admitted)).await;
        call.voice.hears(300.0).await;
        companion.voice.skip();
        companion.voice.hears(400.0).await;
        call.hang_up().await;
        if refused.load(Ordering::Relaxed) > 0 {
            return;
        }
    }
    panic!("the worker was never busy: nothing was tested");
}

/// Rooms whose end keeps a worker busy for longer than its mailbox takes to be filled.
const ROOMS: u64 = 4_000;
const TRIES_MAX: u32 = 20;
