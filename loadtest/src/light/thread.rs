//! A media thread: epoll over its legs' sockets, one heap of what is due, commands by a bounded mailbox with a bell.
//!
//! No tokio, no lock and no allocation per packet. Not here: what a leg does when it has its turn (`wire`).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use colloque::worker::socket::MediaSocket;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use tokio::sync::oneshot;

use super::wire::{Parameters, Renegotiated, Tools, Wire};
use crate::histogram::Histogram;
use crate::overheard::{Overheard, Replays};
use crate::tally::Tally;

/// What a leg is to do.
pub(super) enum Order {
    Connect(Box<Parameters>),
    Renegotiate(Renegotiated),
    UseSocket(MediaSocket),
    Silence(bool),
    Lose { per_mille: u32 },
    CountFrom { origin: Instant, generation: u32 },
    TakeLatency(oneshot::Sender<Histogram>),
    TellOverheard(oneshot::Sender<Vec<Overheard>>),
    Replay(oneshot::Sender<Replays>),
    Close(Option<oneshot::Sender<Tally>>),
}

/// Number of a leg in its process.
pub(super) type LegId = u64;

/// The other end of a media thread. The thread ends when every mailbox is dropped.
#[derive(Clone)]
pub(super) struct Mailbox {
    orders: SyncSender<(LegId, Order)>,
    bell: Arc<OwnedFd>,
}

impl Mailbox {
    /// Starts a thread.
    pub(super) fn spawn(number: usize) -> Result<Self> {
        let (orders, inbox) = sync_channel(ORDERS_MAX);
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("no epoll instance")?;
        epoll::add(&epoll, bell.as_fd(), epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        let bell_of_thread = Arc::clone(&bell);
        let run = move || MediaThread::new(inbox, bell_of_thread, epoll).run();
        thread::Builder::new().name(format!("{THREADS}{number}")).spawn(run)?;
        Ok(Self { orders, bell })
    }

    /// Queues an order; waits while the thread has [`ORDERS_MAX`] before it.
    pub(super) fn send(&self, leg: LegId, order: Order) -> Result<()> {
        self.orders.send((leg, order)).map_err(|_| anyhow!("the media thread ended"))?;
        // A full counter already means "ring": nothing is lost when this fails.
        rustix::io::write(self.bell.as_fd(), &1u64.to_ne_bytes()).ok();
        Ok(())
    }
}

struct MediaThread {
    inbox: Receiver<(LegId, Order)>,
    bell: Arc<OwnedFd>,
    epoll: OwnedFd,
    legs: Vec<Option<Box<Wire>>>,
    free: Vec<usize>,
    slots: HashMap<LegId, usize>,
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    tools: Tools,
}

impl MediaThread {
    fn new(inbox: Receiver<(LegId, Order)>, bell: Arc<OwnedFd>, epoll: OwnedFd) -> Self {
        Self {
            inbox,
            bell,
            epoll,
            legs: Vec::new(),
            free: Vec::new(),
            slots: HashMap::new(),
            due: BinaryHeap::new(),
            tools: Tools::new(),
        }
    }

    fn run(&mut self) {
        while self.take_orders() {
            self.run_timers();
            self.receive();
        }
    }

    /// False when nobody can order anything any more.
    fn take_orders(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok((leg, order)) => self.handle_order(leg, order),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn handle_order(&mut self, leg: LegId, order: Order) {
        let now = Instant::now();
        if let Order::Connect(parameters) = order {
            return self.add(leg, Wire::new(*parameters, now));
        }
        let Some(&slot) = self.slots.get(&leg) else { return };
        let Some(wire) = self.legs[slot].as_mut() else { return };
        match order {
            Order::Connect(_) => {}
            Order::Renegotiate(what) => wire.handle_renegotiated(now, what),
            Order::UseSocket(socket) => {
                // The old one leaves the set by being closed.
                wire.handle_socket(now, socket);
                watch(&self.epoll, wire, slot).ok();
            }
            Order::Silence(silent) => wire.set_silent(now, silent),
            Order::Lose { per_mille } => wire.set_loss(per_mille),
            Order::CountFrom { origin, generation } => wire.count_from(origin, generation),
            Order::TakeLatency(reply) => drop(reply.send(wire.take_latency())),
            Order::TellOverheard(reply) => drop(reply.send(wire.overheard())),
            Order::Replay(reply) => drop(reply.send(wire.replay(&mut self.tools))),
            Order::Close(reply) => return self.remove(leg, slot, now, reply),
        }
        self.arm(slot);
    }

    fn add(&mut self, leg: LegId, wire: Wire) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.legs.push(None);
            self.legs.len() - 1
        });
        // Without a place in the set the leg hears nothing, which its handle sees as a join that fails.
        watch(&self.epoll, &wire, slot).ok();
        self.legs[slot] = Some(Box::new(wire));
        self.slots.insert(leg, slot);
        self.arm(slot);
    }

    fn remove(&mut self, leg: LegId, slot: usize, now: Instant, reply: Option<oneshot::Sender<Tally>>) {
        self.slots.remove(&leg);
        self.free.push(slot);
        let Some(wire) = self.legs[slot].take() else { return };
        let tally = wire.finish(now, &mut self.tools);
        // Whoever asked may have given up.
        reply.map(|reply| reply.send(tally).ok());
    }

    fn run_timers(&mut self) {
        let now = Instant::now();
        while let Some(&Reverse((at, slot))) = self.due.peek() {
            if at > now {
                return;
            }
            self.due.pop();
            let Some(wire) = self.legs[slot].as_mut().filter(|wire| wire.armed == Some(at)) else { continue };
            wire.armed = None;
            wire.handle_timeout(now, &mut self.tools);
            self.arm(slot);
        }
    }

    /// Waits for the next datagram, order or timer.
    fn receive(&mut self) {
        let next = self.due.peek().map(|&Reverse((at, _))| at.saturating_duration_since(Instant::now()));
        let wait = next.unwrap_or(WAIT_MAX).min(WAIT_MAX);
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let mut events = [const { epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) } };
            EVENTS_MAX];
        let Ok(ready) = epoll::wait(&self.epoll, &mut events[..], Some(&timeout)) else { return };
        for event in &events[..ready] {
            let data = event.data.u64();
            if data == BELL {
                let mut rung = [0; 8];
                rustix::io::read(self.bell.as_fd(), &mut rung).ok();
                continue;
            }
            let slot = data as usize;
            if let Some(wire) = self.legs.get_mut(slot).and_then(Option::as_mut) {
                wire.handle_readable(&mut self.tools);
                self.arm(slot);
            }
        }
    }

    /// Puts the leg's next instant into the heap when it is earlier than the one there.
    fn arm(&mut self, slot: usize) {
        let Some(wire) = self.legs[slot].as_mut() else { return };
        let due = wire.poll_timeout();
        if wire.armed.is_none_or(|armed| due < armed) {
            wire.armed = Some(due);
            self.due.push(Reverse((due, slot)));
        }
    }
}

fn watch(epoll: &OwnedFd, wire: &Wire, slot: usize) -> io::Result<()> {
    epoll::add(epoll, wire.socket(), epoll::EventData::new_u64(slot as u64), epoll::EventFlags::IN)?;
    Ok(())
}

/// How the threads' names begin.
pub const THREADS: &str = "light-";
const BELL: u64 = u64::MAX;
/// Orders a thread may have waiting: a storm of a thousand legs with one each.
const ORDERS_MAX: usize = 4_096;
/// Sockets served between two looks at the timers. More would delay frames, fewer cost calls.
const EVENTS_MAX: usize = 32;
/// How long an idle thread may not notice that nobody holds its mailbox.
const WAIT_MAX: Duration = Duration::from_secs(1);
