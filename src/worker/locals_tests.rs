//! Legs within the process on a real worker thread: frames cross from port to port, and every end is told.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::ids::{LegId, RoomId, SeatId};
use crate::rtp::extension::AudioLevel;
use crate::sfu::command::{Command, Event, SeatPolicy};
use crate::sfu::egress::{NtpReference, NtpTime};
use crate::sfu::{Sfu, SfuConfig};
use crate::transport::dtls_sim::SimAcceptor;
use crate::transport::local::UplinkFrame;
use crate::transport::srtp::Profile;

use super::local::{LocalPort, Refused};
use super::{WorkerHandle, WorkerId};

const ROOM: RoomId = RoomId(1);

fn worker() -> (WorkerHandle, mpsc::Receiver<(WorkerId, Event)>) {
    let ntp = NtpReference { instant: Instant::now(), ntp: NtpTime(0) };
    let config = SfuConfig { ntp, grace: Duration::from_secs(120) };
    let sfu = Sfu::new(config, 1, Box::new(SimAcceptor::new(Profile::AeadAes128Gcm, 1)));
    let (events, receiver) = mpsc::channel(64);
    let worker = WorkerHandle::spawn(WorkerId(0), &[([127, 0, 0, 1], 0).into()], sfu, events).unwrap();
    worker.try_send(Command::OpenRoom(ROOM)).unwrap();
    (worker, receiver)
}

fn seated(worker: &WorkerHandle, seat: u64) -> LocalPort {
    let policy = SeatPolicy::ALL;
    worker.try_send(Command::SetPolicy { room: ROOM, seat: SeatId(seat), policy }).unwrap();
    worker.add_local_leg(ROOM, SeatId(seat), LegId(seat)).unwrap()
}

/// Speaks until `done`, as a media thread does: some frames, one ring.
fn speak_until(port: &mut LocalPort, mut done: impl FnMut() -> bool) {
    let level = AudioLevel { voice: true, decibels_below: 30 };
    let deadline = Instant::now() + Duration::from_secs(20);
    for sequence in 0..u16::MAX {
        let payload = &sequence.to_be_bytes();
        let timestamp = u32::from(sequence) * 960;
        match port.push(&UplinkFrame { sequence, timestamp, marker: false, level, payload }) {
            Ok(()) | Err(Refused::Gone) => {}
            Err(refused) => panic!("{refused}"),
        }
        port.ring();
        if done() {
            return;
        }
        assert!(Instant::now() < deadline, "it never came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn voices_cross_a_worker_from_port_to_port_until_a_leg_is_removed() {
    let (worker, _events) = worker();
    let (mut speaker, mut listener) = (seated(&worker, 1), seated(&worker, 2));
    let mut heard = Vec::new();
    speak_until(&mut speaker, || {
        listener.drain(|frame| heard.push(u16::from_be_bytes(frame.payload.try_into().unwrap())));
        heard.len() > 20
    });
    assert!(heard.is_sorted(), "{heard:?}");
    worker.try_send(Command::RemoveLeg(LegId(2))).unwrap();
    speak_until(&mut speaker, || !listener.is_open());
    assert!(speaker.is_open());
}

#[test]
fn each_end_of_a_line_ends_the_other() {
    let (worker, mut events) = worker();
    let (port, other) = (seated(&worker, 1), seated(&worker, 2));
    drop(port);
    let gone = |event: &Event| matches!(event, Event::LegGone(LegId(1)));
    while !gone(&events.blocking_recv().expect("the worker lives").1) {}
    assert!(other.is_open());
    worker.try_send(Command::CloseRoom(ROOM)).unwrap();
    let mut other = other;
    let mut refused = worker.add_local_leg(RoomId(9), SeatId(1), LegId(3)).unwrap();
    speak_until(&mut refused, || !other.is_open());
    speak_until(&mut other, || true);
    let late = worker.add_local_leg(RoomId(9), SeatId(1), LegId(4)).unwrap();
    drop(worker);
    let deadline = Instant::now() + Duration::from_secs(20);
    while late.is_open() || refused.is_open() {
        assert!(Instant::now() < deadline, "a line without a room stays open");
        std::thread::sleep(Duration::from_millis(1));
    }
}
