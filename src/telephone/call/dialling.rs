//! A call that is being made, on whichever line takes it.
//!
//! Not here: which lines are well and come first (`telephone::trunk`), how long it may ring (the machine). Dropping it calls off.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::config::telephone::{Number, TrunkName};
use crate::pii::Pii;
use crate::telephone::lines::Lines;
use crate::telephone::media::Connection;
use crate::telephone::sip::{DialFailure, Dialog, OutboundCall, Progress, Reason};
use crate::telephone::trunk::{Dialled, Place};

use super::NotTaken;
use super::description::Description;

/// See the module.
pub(in crate::telephone) struct Dialling {
    lines: Arc<Lines>,
    number: Pii<Number>,
    state: State,
    /// The line that took the call, or tried it last.
    trunk: Option<TrunkName>,
    /// A line failed, and the next one is being tried.
    moved: mpsc::Receiver<()>,
}

enum State {
    Idle,
    Finding(Finding),
    Rings(Box<Attempt>),
}

/// The way to a line that answers at all.
type Finding = Pin<Box<dyn Future<Output = Found> + Send>>;
type Found = (Result<Dialled, DialFailure>, Option<Description>);

struct Attempt {
    call: OutboundCall,
    trunk: TrunkName,
    place: Place,
    description: Description,
}

/// How it goes on.
pub(in crate::telephone) enum Step {
    /// It rings.
    Ringing,
    /// A line did not work; the next one is being tried.
    AnotherLine,
    /// The call stands.
    Answered(Box<Taken>),
    /// It came to nothing.
    NotTaken(NotTaken),
}

/// A call that was answered.
pub(in crate::telephone) struct Taken {
    pub(in crate::telephone) dialog: Dialog,
    /// Our side of the sound's description.
    pub(in crate::telephone) description: Description,
    /// What was agreed.
    pub(in crate::telephone) connection: Connection,
    /// On its line, as long as the call.
    pub(in crate::telephone) place: Place,
}

impl Dialling {
    /// To this number, once it begins.
    pub(in crate::telephone) fn new(lines: Arc<Lines>, number: Number) -> Self {
        Self { lines, number: Pii(number), state: State::Idle, trunk: None, moved: mpsc::channel(1).1 }
    }

    /// Begins. `port`: where our sound is received.
    pub(in crate::telephone) fn begin(&mut self, port: u16) {
        let (mark, moved) = mpsc::channel(LINES_MAX);
        self.moved = moved;
        self.state = State::Finding(Box::pin(find(Arc::clone(&self.lines), self.number.clone(), port, mark)));
    }

    /// The line that took the call, as far as one did.
    pub(in crate::telephone) fn trunk(&self) -> Option<&TrunkName> {
        self.trunk.as_ref()
    }

    /// The next step. Safe to cancel.
    pub(in crate::telephone) async fn next(&mut self) -> Step {
        match &mut self.state {
            State::Idle => pending().await,
            State::Finding(finding) => {
                let (found, description) = tokio::select! {
                    biased;
                    Some(()) = self.moved.recv() => return Step::AnotherLine,
                    found = finding => found,
                };
                self.state = State::Idle;
                match (found, description) {
                    (Ok(Dialled { trunk, call, first, place }), Some(description)) => {
                        self.trunk = Some(trunk.clone());
                        self.after(first, Box::new(Attempt { call, trunk, place, description })).await
                    }
                    (Ok(_), None) => Step::NotTaken(NotTaken::NoLine),
                    (Err(failure), _) => Step::NotTaken(not_taken(failure)),
                }
            }
            State::Rings(attempt) => {
                let progress = attempt.call.next().await.unwrap_or(Progress::Failed(DialFailure::Other));
                match std::mem::replace(&mut self.state, State::Idle) {
                    State::Rings(attempt) => self.after(progress, attempt).await,
                    State::Idle | State::Finding(_) => Step::NotTaken(NotTaken::NoLine),
                }
            }
        }
    }

    async fn after(&mut self, progress: Progress, attempt: Box<Attempt>) -> Step {
        match progress {
            Progress::Ringing => {
                self.state = State::Rings(attempt);
                Step::Ringing
            }
            Progress::Answered(dialog, remote) => {
                let Attempt { mut description, place, .. } = *attempt;
                match description.accept(&remote) {
                    Ok(connection) => Step::Answered(Box::new(Taken { dialog, description, connection, place })),
                    Err(_) => {
                        // Behind the caller's back: the next step must not wait for it.
                        tokio::spawn(dialog.bye(Reason::Fault));
                        Step::NotTaken(NotTaken::NoLine)
                    }
                }
            }
            Progress::Failed(failure) => {
                self.lines.trunks().handle_failure(&attempt.trunk, failure);
                Step::NotTaken(not_taken(failure))
            }
        }
    }
}

async fn find(lines: Arc<Lines>, number: Pii<Number>, port: u16, moved: mpsc::Sender<()>) -> Found {
    let (mut description, mut tried) = (None, None);
    let dialled = lines.trunks().dial(&number, |trunk, rules| {
        if tried.replace(trunk.name.clone()).is_some_and(|before| before != trunk.name) {
            moved.try_send(()).ok();
        }
        description.insert(lines.describe(port, rules.clone())).offer()
    });
    let dialled = dialled.await;
    (dialled, description)
}

fn not_taken(failure: DialFailure) -> NotTaken {
    match failure {
        DialFailure::Busy => NotTaken::Busy,
        DialFailure::NoAnswer | DialFailure::Cancelled => NotTaken::NoAnswer,
        DialFailure::Refused => NotTaken::Refused,
        DialFailure::NotInService => NotTaken::NotInService,
        DialFailure::LinesBusy => NotTaken::LinesBusy,
        DialFailure::TrunkSilent
        | DialFailure::TrunkBusy { .. }
        | DialFailure::Auth
        | DialFailure::Media
        | DialFailure::Redirected
        | DialFailure::Other => NotTaken::NoLine,
    }
}

/// More lines than are configured.
const LINES_MAX: usize = 16;
