//! The worker's loop: wake, take what is ready, let the `Sfu` work, send everything in a few calls, sleep.
//!
//! Not here: sockets' details (`socket`), decisions (`sfu`). Batches whatever is ready and never waits for more.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::sfu::command::Event;
use crate::sfu::{Flush, Sfu};
use crate::transport::batch::{Path, TransmitBatch};

use super::WorkerId;
use super::counters::{IoCounters, PublishedCounters};
use super::kernel_drops::{KernelDrops, host_overflows};
use super::locals::Locals;
use super::mailbox::{Inbox, Letter};
use super::socket::{MediaSocket, ReceiveBatch, Sender, local_socket};

pub(super) struct RunLoop {
    id: WorkerId,
    sfu: Sfu,
    sockets: Vec<MediaSocket>,
    epoll: OwnedFd,
    inbox: Inbox,
    locals: Locals,
    events: mpsc::Sender<(WorkerId, Event)>,
    unsent_event: Option<Event>,
    receive: ReceiveBatch,
    transmit: TransmitBatch,
    sender: Sender,
    counters: Arc<PublishedCounters>,
    io: IoCounters,
    /// Where the grid of timers begins.
    began: Instant,
    published_at: Instant,
    kernel_drops: KernelDrops,
}

/// Whether the loop goes on.
#[derive(PartialEq, Eq)]
enum Mail {
    Open,
    Closed,
}

impl RunLoop {
    pub(super) fn new(
        id: WorkerId,
        sfu: Sfu,
        sockets: Vec<MediaSocket>,
        inbox: Inbox,
        events: mpsc::Sender<(WorkerId, Event)>,
        counters: Arc<PublishedCounters>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (index, socket) in sockets.iter().enumerate() {
            epoll::add(&epoll, socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        }
        epoll::add(&epoll, inbox.bell(), epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        Ok(Self {
            id,
            sfu,
            sockets,
            epoll,
            inbox,
            locals: Locals::default(),
            events,
            unsent_event: None,
            receive: ReceiveBatch::new(),
            transmit: TransmitBatch::new(ARENA_LEN, TRANSMIT_LEN_MAX),
            sender: Sender::new(TRANSMIT_LEN_MAX),
            counters,
            io: IoCounters::default(),
            began: Instant::now(),
            published_at: Instant::now(),
            kernel_drops: KernelDrops::new(),
        })
    }

    /// Runs until every handle of the worker is gone.
    pub(super) fn run(&mut self) {
        let mut ready = Vec::with_capacity(self.sockets.len() + 1);
        loop {
            self.wait(&mut ready);
            let now = Instant::now();
            self.io.turns += 1;
            if ready.contains(&BELL) {
                // What was queued is taken below, and also on turns without a ring.
                self.inbox.silence();
            }
            if self.take_mail(now) == Mail::Closed {
                return;
            }
            self.take_local_frames(now);
            for &index in &ready {
                if index != BELL {
                    self.receive_from(index as usize, now);
                }
            }
            self.forward(now);
            self.run_timers(now);
            self.hand_out_events();
            self.publish(now);
        }
    }

    fn wait(&mut self, ready: &mut Vec<u64>) {
        let now = Instant::now();
        let due = self.sfu.poll_timeout().unwrap_or(now + PUBLISH_INTERVAL).min(self.published_at + PUBLISH_INTERVAL);
        let wait = until_next_grid_line(self.began, now, due);
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let mut events = [const { epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) } };
            EVENTS_MAX];
        ready.clear();
        match epoll::wait(&self.epoll, &mut events[..], Some(&timeout)) {
            Ok(count) => ready.extend(events[..count].iter().map(|event| event.data.u64())),
            Err(rustix::io::Errno::INTR) => {}
            // Nothing sensible is left to poll; do not spin at full speed while an operator looks.
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }

    fn take_mail(&mut self, now: Instant) -> Mail {
        if self.inbox.is_closed() {
            return Mail::Closed;
        }
        self.take_urgent_mail(now);
        for _ in 0..COMMANDS_MAX {
            if !self.inbox.has_ordinary() {
                return Mail::Open;
            }
            match self.inbox.take_ordinary() {
                Some(Letter::Command(command)) => self.guarded(now, |sfu, _| sfu.handle_command(now, command)),
                Some(Letter::LocalLeg(command, port)) => {
                    self.locals.add(port);
                    self.guarded(now, |sfu, _| sfu.handle_command(now, command));
                    self.locals.forget_gone(&self.sfu);
                }
                None => {}
            }
        }
        // The rest waits one turn: media first. Ring again so that the turn comes at once.
        self.inbox.ring();
        Mail::Open
    }

    /// All of it: what a seat may not do any more must not be done with the next packet.
    fn take_urgent_mail(&mut self, now: Instant) {
        if self.inbox.has_urgent() {
            for command in self.inbox.take_urgent() {
                self.guarded(now, |sfu, _| sfu.handle_command(now, command));
            }
            self.locals.forget_gone(&self.sfu);
        }
    }

    /// What threads of this process say on their legs.
    fn take_local_frames(&mut self, now: Instant) {
        if !self.inbox.take_frames_mark() {
            return;
        }
        for at in 0..self.locals.len() {
            let Self { sfu, transmit, locals, .. } = self;
            let taken = catch_unwind(AssertUnwindSafe(|| locals.take_from(at, now, sfu, transmit)));
            if taken.is_err() {
                sfu.abandon_room(now);
            }
        }
        self.locals.forget_gone(&self.sfu);
    }

    fn receive_from(&mut self, index: usize, now: Instant) {
        let local = local_socket(index);
        for _ in 0..RECEIVE_CALLS_MAX {
            let Some(socket) = self.sockets.get_mut(index) else { return };
            let more = self.receive.receive(socket);
            self.io.receive_calls += 1;
            // A turn under load is long.
            self.take_urgent_mail(now);
            let Self { sfu, receive, transmit, sender, sockets, io, .. } = self;
            receive.for_each(|remote, age, datagram| {
                if transmit.is_full() {
                    send(sender, sockets, transmit, io);
                }
                let path = Path { local, remote };
                let handled = catch_unwind(AssertUnwindSafe(|| {
                    sfu.handle_datagram(now, now - age, path, datagram, transmit);
                }));
                if handled.is_err() {
                    sfu.abandon_room(now);
                }
            });
            // Forward before taking more: a burst must not wait behind the next one, and the cache stays warm.
            self.forward(now);
            self.counters.publish_progress(self.io.turns, self.sfu.datagrams_in());
            if !more {
                return;
            }
        }
    }

    fn forward(&mut self, now: Instant) {
        let mut state = Flush::Full;
        while state == Flush::Full {
            self.guarded(now, |sfu, transmit| state = sfu.flush(now, transmit));
            self.send();
        }
    }

    fn run_timers(&mut self, now: Instant) {
        // Once: what is left, the rest of a storm of joins say, is due on the next turn, and media goes before it.
        if self.sfu.poll_timeout().is_some_and(|due| due <= now) {
            self.guarded(now, |sfu, transmit| sfu.handle_timeout(now, transmit));
            self.send();
        }
    }

    fn send(&mut self) {
        if !self.transmit.local().is_empty() {
            self.locals.deliver(self.transmit.local(), &mut self.sfu);
            self.transmit.local_mut().clear();
        }
        send(&mut self.sender, &mut self.sockets, &mut self.transmit, &mut self.io);
    }

    /// Runs one step of the `Sfu`; a panic closes the room it was working on.
    fn guarded(&mut self, now: Instant, step: impl FnOnce(&mut Sfu, &mut TransmitBatch)) {
        let Self { sfu, transmit, .. } = self;
        if catch_unwind(AssertUnwindSafe(|| step(sfu, transmit))).is_err() {
            sfu.abandon_room(now);
        }
    }

    fn hand_out_events(&mut self) {
        while let Some(event) = self.unsent_event.take().or_else(|| self.sfu.poll_event()) {
            match self.events.try_send((self.id, event)) {
                Ok(()) => {}
                Err(TrySendError::Full((_, event))) => {
                    self.unsent_event = Some(event);
                    return;
                }
                Err(TrySendError::Closed(_)) => return,
            }
        }
    }

    fn publish(&mut self, now: Instant) {
        if now < self.published_at + PUBLISH_INTERVAL {
            return;
        }
        self.published_at = now;
        self.kernel_drops.record(self.sockets.iter_mut().map(MediaSocket::poll_drops).sum(), host_overflows);
        self.io.kernel_drops = self.kernel_drops.overflowed;
        self.io.kernel_filtered = self.kernel_drops.filtered;
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        self.io.cpu_nanos = cpu.tv_sec as u64 * 1_000_000_000 + cpu.tv_nsec as u64;
        self.locals.forget_gone(&self.sfu);
        self.locals.report(&mut self.sfu);
        self.counters.publish(&self.sfu.counters(), self.io);
    }
}

/// How long to sleep for a timer: until the first grid line at or after `due`, so that the timers of many rooms share a
/// wake-up. What is due already is not put off.
fn until_next_grid_line(began: Instant, now: Instant, due: Instant) -> Duration {
    if due <= now {
        return Duration::ZERO;
    }
    let lines = due.saturating_duration_since(began).as_nanos().div_ceil(TIMER_GRID.as_nanos());
    let line = began + TIMER_GRID * u32::try_from(lines).unwrap_or(0);
    line.max(due).saturating_duration_since(now)
}

fn send(sender: &mut Sender, sockets: &mut [MediaSocket], transmit: &mut TransmitBatch, io: &mut IoCounters) {
    if transmit.datagrams().is_empty() {
        return;
    }
    let sent = sender.send(sockets, transmit);
    io.send_calls += u64::from(sent.calls);
    io.send_refused += u64::from(sent.refused);
    transmit.clear();
}

/// The bell's mark among the sockets' indices.
const BELL: u64 = u64::MAX;
/// epoll events taken at once; a worker has a handful of sockets.
const EVENTS_MAX: usize = 32;
/// recvmmsg calls on one socket before timers and the other sockets get their turn.
const RECEIVE_CALLS_MAX: usize = 8;
/// Commands taken in one turn: a storm of joins must not hold up packets.
const COMMANDS_MAX: usize = 16;
/// Datagrams in a transmit batch. More saves system calls and falls out of the second-level cache.
const TRANSMIT_LEN_MAX: usize = 128;
/// Bytes of the transmit arena: full packets for a whole batch.
const ARENA_LEN: usize = TRANSMIT_LEN_MAX * 1500 + TransmitBatch::DATAGRAM_LEN_MAX;
/// Timers run on such a grid. Coarser: reports and requests go out later; finer: rooms wake the worker one by one, which
/// at fifty rooms costs more than the packets' own wake-ups.
const TIMER_GRID: Duration = Duration::from_millis(2);
/// How often figures are published; also the longest sleep.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_waits_for_the_grid_but_never_longer_than_a_grid_line() {
        let began = Instant::now();
        let at = |micros| began + Duration::from_micros(micros);
        let wait = |now, due| until_next_grid_line(began, at(now), at(due)).as_micros();
        let table =
            [(0, 1, 2000), (0, 2000, 2000), (100, 2001, 3900), (5000, 4000, 0), (5000, 5000, 0), (3999, 4001, 2001)];
        for (now, due, expected) in table {
            assert_eq!(wait(now, due), expected, "due at {due} from {now}");
        }
    }
}
