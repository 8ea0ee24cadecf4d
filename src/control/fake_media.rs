//! A media plane for tests: records every command, refuses when told to.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ids::{LegId, RoomId, SeatId};
use crate::sfu::command::Command;
use crate::worker::WorkerId;
use crate::worker::bell::Bell;
use crate::worker::local::{LocalPort, WorkerPort, line};

use super::media::{MediaBusy, MediaPlane};

pub(crate) struct FakeMedia {
    commands: Mutex<Vec<(WorkerId, Command)>>,
    /// The worker's ends of local legs that are there.
    pub(crate) locals: Mutex<Vec<WorkerPort>>,
    candidates: Vec<SocketAddr>,
    pub(crate) busy: AtomicBool,
}

impl FakeMedia {
    pub(crate) fn new() -> Self {
        let candidates = vec!["192.0.2.1:40000".parse().unwrap(), "[2001:db8::1]:40000".parse().unwrap()];
        Self { commands: Mutex::default(), locals: Mutex::default(), candidates, busy: AtomicBool::new(false) }
    }

    /// Everything sent since the last call.
    pub(crate) fn take(&self) -> Vec<Command> {
        self.commands.lock().unwrap().drain(..).map(|(_, command)| command).collect()
    }

    /// Workers that were asked to open rooms, in order; keeps the commands.
    pub(crate) fn rooms_by_worker(&self) -> Vec<usize> {
        let commands = self.commands.lock().unwrap();
        commands.iter().filter(|(_, c)| matches!(c, Command::OpenRoom(_))).map(|(worker, _)| worker.0).collect()
    }
}

impl MediaPlane for FakeMedia {
    fn workers(&self) -> usize {
        2
    }

    fn try_send(&self, worker: WorkerId, command: Command) -> Result<(), MediaBusy> {
        if self.busy.load(Ordering::Relaxed) && !command.must_arrive() {
            return Err(MediaBusy);
        }
        if let Command::RemoveLeg(gone) = command {
            self.locals.lock().unwrap().retain(|port| port.leg() != gone);
        }
        if let Command::CloseRoom(_) = command {
            self.locals.lock().unwrap().clear();
        }
        self.commands.lock().unwrap().push((worker, command));
        Ok(())
    }

    fn add_local_leg(&self, worker: WorkerId, room: RoomId, seat: SeatId, leg: LegId) -> Result<LocalPort, MediaBusy> {
        self.try_send(worker, Command::AddLocalLeg { room, seat, leg })?;
        let (port, worker_port) = line(leg, Bell::new().unwrap());
        self.locals.lock().unwrap().push(worker_port);
        Ok(port)
    }

    fn candidates(&self, _worker: WorkerId) -> &[SocketAddr] {
        &self.candidates
    }

    fn fingerprint(&self) -> [u8; 32] {
        [0xab; 32]
    }

    fn read_counters(&self, each: &mut dyn FnMut(WorkerId, &'static str, Option<&'static str>, u64)) {
        for worker in 0..self.workers() {
            each(WorkerId(worker), "packets_in", None, 7);
            each(WorkerId(worker), "drops", Some("srtp_auth"), 3);
        }
    }
}
