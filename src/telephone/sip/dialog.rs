//! The handle of an answered call: what its user does and hears.
//!
//! Not here: the task behind it (`call`). Orders and events go through bounded queues; every wait ends.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::telephone::sdp::Remote;

use super::causes::{EndCause, Reason, Refusal};

/// An answered call. Dropping it hangs up.
#[derive(Debug)]
pub struct Dialog {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) events: mpsc::Receiver<DialogEvent>,
    pub(super) end: Arc<OnceLock<EndCause>>,
}

/// What the other side does.
pub enum DialogEvent {
    /// It changes the sound: hold, another port, another codec. To be answered within some seconds.
    Reoffer(Reoffer),
    /// Its answer to an offer of ours that stood in a 200.
    Answer(Remote),
    /// Its answer to the description in force, which went out once more to renew the session; it may be another one than before.
    Renewed {
        /// What we described.
        ours: String,
        /// The answer.
        theirs: Remote,
    },
    /// A key, by INFO: `0`-`9`, `*`, `#`, `A`-`D`.
    Digit(char),
    /// It is over. Nothing comes behind it.
    Ended(EndCause),
}

/// Says which kind, and never which key.
impl fmt::Debug for DialogEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialogEvent::Reoffer(_) => f.write_str("Reoffer"),
            DialogEvent::Answer(_) => f.write_str("Answer"),
            DialogEvent::Renewed { .. } => f.write_str("Renewed"),
            DialogEvent::Digit(_) => f.write_str("Digit(***)"),
            DialogEvent::Ended(cause) => write!(f, "Ended({cause:?})"),
        }
    }
}

/// An offer within a call. Dropping it refuses the offer (488); the call goes on as before.
#[derive(Debug)]
pub struct Reoffer {
    /// None: it wants an offer of ours, and the answer follows as [`DialogEvent::Answer`].
    pub offer: Option<Remote>,
    pub(super) answer: oneshot::Sender<String>,
}

impl Reoffer {
    /// Answers with our description.
    pub fn answer(self, sdp: String) {
        let _ = self.answer.send(sdp);
    }
}

/// Why an offer of ours within a call came to nothing. The call goes on as before unless it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReofferFailure {
    /// Another offer is under way.
    #[error("another offer is under way")]
    Pending,
    /// The other side refuses it.
    #[error("refused with status {0}")]
    Refused(u16),
    /// No answer, or the call is over.
    #[error("no answer")]
    Lost,
}

impl Dialog {
    /// The next thing that the other side does.
    pub async fn next(&mut self) -> DialogEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => DialogEvent::Ended(self.end.get().copied().unwrap_or(EndCause::Lost)),
        }
    }

    /// Offers another description; theirs comes back. An offer that crosses theirs (491) is repeated. It is under way at once, and the
    /// call goes on meanwhile.
    pub fn reoffer(&self, sdp: String) -> impl Future<Output = Result<Remote, ReofferFailure>> + Send + use<> {
        let (done, answer) = oneshot::channel();
        // Full: the task has more to do than a call can ask of it.
        let asked = self.commands.try_send(Command::Reoffer { sdp, done });
        async move {
            asked.map_err(|_| ReofferFailure::Lost)?;
            match timeout(REOFFER_MAX, answer).await {
                Ok(Ok(answer)) => answer,
                _ => Err(ReofferFailure::Lost),
            }
        }
    }

    /// Hangs up; returns when the other side has heard it, or after some seconds.
    pub async fn bye(self, reason: Reason) {
        let (done, heard) = oneshot::channel();
        if self.commands.send(Command::Bye { reason, done }).await.is_ok() {
            let _ = timeout(BYE_MAX, heard).await;
        }
    }

    /// Whether the other side still knows the call. It is asked at once, and the call goes on meanwhile.
    pub fn probe(&self) -> impl Future<Output = bool> + Send + use<> {
        let (done, alive) = oneshot::channel();
        let asked = self.commands.try_send(Command::Probe { done }).is_ok();
        async move { asked && matches!(timeout(PROBE_MAX, alive).await, Ok(Ok(true))) }
    }
}

/// Orders to a call's task.
#[derive(Debug)]
pub(super) enum Command {
    Ring,
    Answer { sdp: String, done: oneshot::Sender<()> },
    Refuse(Refusal),
    Reoffer { sdp: String, done: oneshot::Sender<Result<Remote, ReofferFailure>> },
    Bye { reason: Reason, done: oneshot::Sender<()> },
    Probe { done: oneshot::Sender<bool> },
}

/// Three crossings with their waits.
const REOFFER_MAX: Duration = Duration::from_secs(45);
const BYE_MAX: Duration = Duration::from_secs(10);
const PROBE_MAX: Duration = Duration::from_secs(20);
