//! The way of commands into a worker: a bounded queue for what may be refused, and one for what must arrive.
//!
//! ```text
//! OpenRoom, SetPolicy, RemoveLeg, CloseRoom --> urgent   --all, before the next packet is forwarded--> Sfu
//! AddLeg, AddLocalLeg, RestartIce,
//! AddSlots, SetView                         --> ordinary --some a turn, media goes before them------> Sfu
//! ```
//! A permission that was taken away, a leg or a room that ended is never refused and never waits behind a storm of joins.
//! The worker looks at two flags a turn and takes the lock only when there is mail. Not here: what commands do (`sfu`).
//! Invariants: a leg that was removed is never added afterwards; the last policy of a seat is the one that holds.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ids::{LegId, RoomId};
use crate::sfu::command::Command;

use super::WorkerBusy;
use super::bell::Bell;
use super::local::WorkerPort;

/// A command with what only a worker has of it.
pub(super) enum Letter {
    /// Nothing but the command.
    Command(Command),
    /// `AddLocalLeg` with the end of its line.
    LocalLeg(Command, WorkerPort),
}

impl Letter {
    fn command(&self) -> &Command {
        match self {
            Letter::Command(command) | Letter::LocalLeg(command, _) => command,
        }
    }

    /// The leg that it makes.
    fn leg(&self) -> Option<LegId> {
        match self.command() {
            Command::AddLeg { leg, .. } | Command::AddLocalLeg { leg, .. } => Some(*leg),
            _ => None,
        }
    }
}

/// The control plane's end. The worker ends when every clone is dropped.
#[derive(Clone)]
pub(super) struct Outbox(Arc<LastOneRings>);

/// The worker's end.
pub(super) struct Inbox(Arc<Shared>);

struct LastOneRings(Arc<Shared>);

struct Shared {
    mail: Mutex<Mail>,
    /// Something urgent waits. Set and cleared under the lock, read without it.
    urgent_waits: AtomicBool,
    ordinary_waits: AtomicBool,
    /// Nobody writes any more.
    closed: AtomicBool,
    /// The worker is gone.
    abandoned: AtomicBool,
    bell: Bell,
}

#[derive(Default)]
struct Mail {
    /// Bounded by what exists: a policy for each seat, an end for each leg and room. What makes more of those is refused
    /// while the mailbox is full.
    urgent: VecDeque<Command>,
    ordinary: VecDeque<Letter>,
}

/// Both ends of a new mailbox.
pub(super) fn mailbox() -> io::Result<(Outbox, Inbox)> {
    let shared = Arc::new(Shared {
        mail: Mutex::default(),
        urgent_waits: AtomicBool::new(false),
        ordinary_waits: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        abandoned: AtomicBool::new(false),
        bell: Bell::new()?,
    });
    Ok((Outbox(Arc::new(LastOneRings(Arc::clone(&shared)))), Inbox(shared)))
}

impl Outbox {
    /// Queues a command and wakes the worker; never waits for it.
    ///
    /// # Errors
    /// The worker is gone, or the mailbox is full and the command may be refused.
    pub(super) fn post(&self, letter: Letter) -> Result<(), WorkerBusy> {
        let shared = &self.0.0;
        if shared.abandoned.load(Ordering::Acquire) {
            return Err(WorkerBusy);
        }
        {
            let mut mail = shared.lock();
            mail.put(letter)?;
            shared.flag(&mail);
        }
        shared.bell.ring();
        Ok(())
    }

    /// What wakes the worker.
    pub(super) fn bell(&self) -> &Bell {
        &self.0.0.bell
    }
}

impl Inbox {
    /// What rings when there is mail.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.0.bell.fd()
    }

    /// Silences the bell before mail is taken, so that what comes later rings again.
    pub(super) fn silence(&self) {
        self.0.bell.silence();
    }

    /// Wakes this worker again at once.
    pub(super) fn ring(&self) {
        self.0.bell.ring();
    }

    /// Whether some local leg rang since the last call.
    #[inline]
    pub(super) fn take_frames_mark(&self) -> bool {
        self.0.bell.take_frames_mark()
    }

    /// Whether [`Inbox::take_urgent`] would give something.
    #[inline]
    pub(super) fn has_urgent(&self) -> bool {
        self.0.urgent_waits.load(Ordering::Acquire)
    }

    /// Whether ordinary commands wait.
    #[inline]
    pub(super) fn has_ordinary(&self) -> bool {
        self.0.ordinary_waits.load(Ordering::Acquire)
    }

    /// Whether no command can come any more.
    pub(super) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    /// All that must arrive.
    pub(super) fn take_urgent(&self) -> VecDeque<Command> {
        let mut mail = self.0.lock();
        let taken = std::mem::take(&mut mail.urgent);
        self.0.flag(&mail);
        taken
    }

    /// The oldest ordinary command.
    pub(super) fn take_ordinary(&self) -> Option<Letter> {
        let mut mail = self.0.lock();
        let taken = mail.ordinary.pop_front();
        self.0.flag(&mail);
        taken
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.0.abandoned.store(true, Ordering::Release);
    }
}

impl Drop for LastOneRings {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.bell.ring();
    }
}

impl Shared {
    /// A panic between two queue operations leaves both queues whole.
    fn lock(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flag(&self, mail: &Mail) {
        self.urgent_waits.store(!mail.urgent.is_empty(), Ordering::Release);
        self.ordinary_waits.store(!mail.ordinary.is_empty(), Ordering::Release);
    }
}

impl Mail {
    fn put(&mut self, letter: Letter) -> Result<(), WorkerBusy> {
        let full = self.urgent.len() + self.ordinary.len() >= MAILBOX_LEN_MAX;
        if full && !letter.command().must_arrive() {
            return Err(WorkerBusy);
        }
        let command = match letter {
            Letter::Command(command) => command,
            Letter::LocalLeg(..) => {
                self.ordinary.push_back(letter);
                return Ok(());
            }
        };
        match command {
            Command::SetPolicy { room, seat, policy } => {
                let mut since_it_began = self.urgent.iter_mut().rev().take_while(|other| !begins_or_ends(other, room));
                let waiting = since_it_began.find_map(|other| match other {
                    Command::SetPolicy { room: of, seat: whose, policy } if (*of, *whose) == (room, seat) => {
                        Some(policy)
                    }
                    _ => None,
                });
                match waiting {
                    Some(waiting) => *waiting = policy,
                    None => self.urgent.push_back(Command::SetPolicy { room, seat, policy }),
                }
            }
            Command::RemoveLeg(gone) => {
                // It overtakes the leg's own coming, which must not happen afterwards.
                let before = self.ordinary.len();
                self.ordinary.retain(|other| other.leg() != Some(gone));
                if self.ordinary.len() == before {
                    self.urgent.push_back(Command::RemoveLeg(gone));
                }
            }
            // A room may be refused, but once it is not it comes before the policies of its seats.
            Command::OpenRoom(_) | Command::CloseRoom(_) => self.urgent.push_back(command),
            Command::AddLeg { .. }
            | Command::AddLocalLeg { .. }
            | Command::RestartIce { .. }
            | Command::AddSlots { .. }
            | Command::SetView { .. } => self.ordinary.push_back(Letter::Command(command)),
        }
        Ok(())
    }
}

fn begins_or_ends(command: &Command, room: RoomId) -> bool {
    matches!(command, Command::OpenRoom(other) | Command::CloseRoom(other) if *other == room)
}

/// Commands a worker may have waiting. Fuller means that it is overloaded: callers are told instead of queued.
const MAILBOX_LEN_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{LegId, SeatId, SlotId};
    use crate::pii::Pii;
    use crate::rtp::codec::PayloadMap;
    use crate::rtp::extension::ExtensionMap;
    use crate::sfu::command::SeatPolicy;
    use crate::sfu::parameters::LegParameters;
    use crate::transport::parameters::{Fingerprint, IceCredentials, TransportParameters};
    use crate::units::PictureSize;
    use crate::worker::local::{LocalPort, line};

    const ROOM: RoomId = RoomId(1);
    const NOTHING: SeatPolicy = SeatPolicy {
        microphone: false,
        camera: false,
        screen: false,
        see: false,
        hear: false,
        read: false,
        chat: false,
        files: false,
        point: false,
        vitals: false,
    };

    fn policy(seat: u64, policy: SeatPolicy) -> Letter {
        Letter::Command(Command::SetPolicy { room: ROOM, seat: SeatId(seat), policy })
    }

    fn view() -> Letter {
        let size = PictureSize { width: 1, height: 1 };
        Letter::Command(Command::SetView { leg: LegId(1), slot: SlotId(0), size })
    }

    fn local(leg: u64) -> (Letter, LocalPort) {
        let (port, worker_port) = line(LegId(leg), Bell::new().unwrap());
        let command = Command::AddLocalLeg { room: ROOM, seat: SeatId(1), leg: LegId(leg) };
        (Letter::LocalLeg(command, worker_port), port)
    }

    fn leg(leg: u64) -> Letter {
        let credentials = || IceCredentials { ufrag: "name".into(), pwd: Pii("0123456789abcdef012345".into()) };
        let parameters = LegParameters {
            transport: TransportParameters {
                local: credentials(),
                remote: credentials(),
                remote_fingerprint: Fingerprint::Sha256([0; 32]),
                data_channel: None,
            },
            payloads: PayloadMap::default(),
            extensions: ExtensionMap::default(),
            ingress: Vec::new(),
            slots: Vec::new(),
        };
        Letter::Command(Command::AddLeg {
            room: ROOM,
            seat: SeatId(1),
            leg: LegId(leg),
            stamp: "s".into(),
            parameters: Box::new(parameters),
        })
    }

    fn command(command: Command) -> Letter {
        Letter::Command(command)
    }

    /// Commands in short, in the order in which a worker would do them.
    fn take_all(inbox: &Inbox) -> Vec<String> {
        let ordinary = std::iter::from_fn(|| inbox.take_ordinary());
        let urgent = inbox.take_urgent().into_iter().map(Letter::Command);
        let taken = urgent.chain(ordinary).map(|letter| match letter.command() {
            Command::OpenRoom(RoomId(room)) => format!("open {room}"),
            Command::CloseRoom(RoomId(room)) => format!("close {room}"),
            Command::SetPolicy { seat: SeatId(seat), policy, .. } if *policy == NOTHING => {
                format!("nothing for {seat}")
            }
            Command::SetPolicy { seat: SeatId(seat), .. } => format!("something for {seat}"),
            Command::AddLeg { leg: LegId(leg), .. } | Command::AddLocalLeg { leg: LegId(leg), .. } => {
                format!("add {leg}")
            }
            Command::RemoveLeg(LegId(leg)) => format!("remove {leg}"),
            _ => "other".to_owned(),
        });
        let taken = taken.collect();
        assert!(!inbox.has_urgent() && !inbox.has_ordinary());
        taken
    }

    #[test]
    fn what_must_arrive_does_though_the_mailbox_is_full() {
        let (outbox, inbox) = mailbox().unwrap();
        while outbox.post(view()).is_ok() {}
        assert_eq!(outbox.post(leg(8)), Err(WorkerBusy));
        assert_eq!(outbox.post(command(Command::OpenRoom(RoomId(2)))), Err(WorkerBusy), "a new room can be refused");
        for letter in [policy(1, NOTHING), command(Command::RemoveLeg(LegId(7))), command(Command::CloseRoom(ROOM))] {
            outbox.post(letter).unwrap();
        }
        let taken = take_all(&inbox);
        assert_eq!(taken[..3], ["nothing for 1", "remove 7", "close 1"], "and it is first");
        assert_eq!(taken[3..], vec!["other"; MAILBOX_LEN_MAX]);
    }

    #[test]
    fn a_seat_has_one_policy_waiting_however_often_it_changes() {
        let (outbox, inbox) = mailbox().unwrap();
        outbox.post(command(Command::OpenRoom(ROOM))).unwrap();
        for round in 0..100_000 {
            let ends = [SeatPolicy::ALL, NOTHING];
            outbox.post(policy(round % 2, ends[usize::from(round % 4 < 2)])).unwrap();
        }
        assert_eq!(take_all(&inbox), ["open 1", "something for 0", "something for 1"]);
        outbox.post(policy(0, SeatPolicy::ALL)).unwrap();
        outbox.post(policy(0, NOTHING)).unwrap();
        assert_eq!(take_all(&inbox), ["nothing for 0"], "the last one holds");
    }

    #[test]
    fn a_policy_is_not_moved_before_its_room_begins_again() {
        let (outbox, inbox) = mailbox().unwrap();
        for letter in [policy(1, NOTHING), command(Command::OpenRoom(ROOM)), policy(1, SeatPolicy::ALL)] {
            outbox.post(letter).unwrap();
        }
        assert_eq!(take_all(&inbox), ["nothing for 1", "open 1", "something for 1"]);
    }

    #[test]
    fn a_leg_that_goes_before_it_came_never_comes() {
        let (outbox, inbox) = mailbox().unwrap();
        let (added, port) = local(3);
        let gone = |leg| command(Command::RemoveLeg(LegId(leg)));
        for letter in [command(Command::OpenRoom(ROOM)), policy(1, NOTHING), leg(1), leg(2), added, gone(1), gone(3)] {
            outbox.post(letter).unwrap();
        }
        assert!(!port.is_open(), "and its media thread knows");
        assert_eq!(take_all(&inbox), ["open 1", "nothing for 1", "add 2"]);
        outbox.post(gone(2)).unwrap();
        assert_eq!(take_all(&inbox), ["remove 2"]);
    }

    #[test]
    fn the_worker_is_told_when_nobody_can_write_any_more_and_writers_when_it_is_gone() {
        let (outbox, inbox) = mailbox().unwrap();
        let other = outbox.clone();
        drop(outbox);
        assert!(!inbox.is_closed());
        drop(other);
        assert!(inbox.is_closed());
        let (outbox, inbox) = mailbox().unwrap();
        drop(inbox);
        assert_eq!(outbox.post(policy(1, NOTHING)), Err(WorkerBusy));
    }
}
