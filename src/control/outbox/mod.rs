//! The outbox: invitations that leave by e-mail or SMS, tried again for a day, forgotten once they have left.
//!
//! ```text
//!   booking --AddMessage, with the seat--> store --due--> attempt --> mail server | SMS gateway
//!                                            ^              |
//!                                            |              +--> sent, failed for good: RemoveMessage and a fact
//!                                            +--- later ----/
//! ```
//!
//! The stored message holds the address and nothing else of its own: language, hour and link are made when it leaves, so that a
//! revoked link is never sent, and the link counts from then. Whoever was removed meanwhile, or whose consultation is over, is
//! not written to. A message may leave twice when the server dies between sending and remembering; its identifier
//! (`Message-ID`, `{id}`) is the same then. Not here: what may be sent to at all (`config::outbound`).

mod email;
mod metrics;
mod sms;
mod text;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};
use utoipa::ToSchema;

use crate::config::outbound::Outbound;
use crate::config::zone::Zone;
use crate::pii::Pii;
use crate::store::{Change, ConsultationRecord, OutgoingMessage, SeatRecord, StoreError, Transaction};

use super::booking::{BookingError, language_from_name};
use super::facts::Fact;
use super::outgoing::{Authorities, OutgoingError};
use super::webhooks::backoff;
use super::{Consultations, clock, random};

use email::Mailer;
use metrics::MessageMetrics;
use sms::Texter;

/// Sends invitations.
pub struct Outbox {
    mailer: Option<Mailer>,
    texter: Option<Texter>,
    zone: Zone,
    added: Notify,
    metrics: MessageMetrics,
}

/// How an invitation leaves.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotifyBy {
    /// To the seat's `email`.
    Email,
    /// To the seat's `phone`.
    Sms,
}

/// What became of an attempt. The words are labels of metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sent {
    /// The next server has it.
    Done,
    /// It may go another time.
    Later(&'static str),
    /// This one never will.
    Never(&'static str),
    /// It is no longer wanted.
    Withdrawn,
}

/// What is stored of a message beside its address.
#[derive(Serialize, Deserialize)]
struct Terms {
    /// Unix seconds.
    give_up_at: i64,
}

impl NotifyBy {
    /// Its name in the store, in facts and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            NotifyBy::Email => "email",
            NotifyBy::Sms => "sms",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [NotifyBy::Email, NotifyBy::Sms].into_iter().find(|channel| channel.name() == name)
    }
}

impl Outbox {
    /// With what the operator configured; nothing is sent yet.
    pub(super) fn new(
        outbound: &Outbound,
        authorities: &Authorities,
        registry: &Registry,
    ) -> Result<Self, OutgoingError> {
        let mailer = outbound.email.as_ref().map(|email| Mailer::new(email, authorities)).transpose()?;
        let texter = outbound.sms.as_ref().map(|sms| Texter::new(sms, authorities)).transpose()?;
        let metrics = MessageMetrics::new(registry);
        Ok(Self { mailer, texter, zone: outbound.timezone, added: Notify::new(), metrics })
    }

    /// Invitations to this seat, to be committed with it.
    pub(super) fn invitations(
        &self,
        consultation: &ConsultationRecord,
        seat: &SeatRecord,
        channels: &[NotifyBy],
    ) -> Result<Vec<Change>, BookingError> {
        let wanted = [NotifyBy::Email, NotifyBy::Sms].into_iter().filter(|channel| channels.contains(channel));
        wanted.map(|channel| self.invitation(consultation, seat, channel)).collect()
    }

    fn invitation(
        &self,
        consultation: &ConsultationRecord,
        seat: &SeatRecord,
        channel: NotifyBy,
    ) -> Result<Change, BookingError> {
        let (is_on, off, written, missing) = match channel {
            NotifyBy::Email => (self.mailer.is_some(), NO_EMAIL, &seat.email, NO_ADDRESS),
            NotifyBy::Sms => (self.texter.is_some(), NO_SMS, &seat.phone, NO_NUMBER),
        };
        if !is_on {
            return Err(BookingError::Invalid(off));
        }
        let usable = |to: &&Pii<String>| match channel {
            NotifyBy::Email => email::address(&to.0).is_some(),
            NotifyBy::Sms => sms::number(&to.0).is_some(),
        };
        let to = written.as_ref().filter(usable).ok_or(BookingError::Invalid(missing))?.clone();
        let terms = Terms { give_up_at: clock::unix_now() + GIVE_UP_AFTER };
        Ok(Change::AddMessage(OutgoingMessage {
            id: random::text::<16>(),
            seat: seat.id.clone(),
            consultation: consultation.id.clone(),
            clinic: consultation.clinic.clone(),
            channel: channel.name().to_owned(),
            to,
            body: Pii(serde_json::to_string(&terms).expect("a number is JSON")),
            failures: 0,
            retry_at: 0,
        }))
    }

    /// Messages were added.
    pub(super) fn wake(&self) {
        self.added.notify_one();
    }

    async fn send(&self, message: &OutgoingMessage, invitation: &text::Invitation<'_>) -> Sent {
        match (NotifyBy::from_name(&message.channel), &self.mailer, &self.texter) {
            (Some(NotifyBy::Email), Some(mailer), _) => {
                mailer.send(&message.id, &message.to, invitation.subject(), invitation.letter()).await
            }
            (Some(NotifyBy::Sms), _, Some(texter)) => texter.send(&message.id, &message.to, &invitation.short()).await,
            // The operator switched the channel off: the addresses should not lie here.
            _ => Sent::Never("off"),
        }
    }
}

/// Whether the configured mail server lets us in.
pub async fn check_email(outbound: &Outbound, authorities: &Authorities) -> Result<(), String> {
    let Some(email) = &outbound.email else { return Ok(()) };
    Mailer::new(email, authorities).map_err(|error| error.to_string())?.check().await
}

impl Consultations {
    /// Sends what is due for as long as the process runs.
    pub async fn send_messages(self: Arc<Self>) {
        // As many as are under way, and those have their limit.
        let (done, mut ended) = mpsc::unbounded_channel();
        let mut busy: HashSet<String> = HashSet::new();
        loop {
            // The oldest due ones are those under way: behind them there must be room for others.
            match self.store.due_messages(clock::unix_now(), 2 * SENDERS_MAX as u32).await {
                Ok(due) => {
                    for message in due {
                        if busy.len() >= SENDERS_MAX || !busy.insert(message.id.clone()) {
                            continue;
                        }
                        let (consultations, done) = (Arc::clone(&self), done.clone());
                        tokio::spawn(async move {
                            if let Err(error) = consultations.attempt(&message).await {
                                tracing::warn!(%error, "an invitation waits for the store");
                                tokio::time::sleep(POLL).await;
                            }
                            done.send(message.id).ok();
                        });
                    }
                }
                Err(error) => tracing::warn!(%error, "invitations wait for the store"),
            }
            tokio::select! {
                () = self.outbox.added.notified() => {}
                Some(id) = ended.recv() => { busy.remove(&id); }
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Sends one message if it is still wanted, and remembers what became of it.
    async fn attempt(&self, message: &OutgoingMessage) -> Result<(), StoreError> {
        // What cannot be remembered would leave again and again.
        if !self.journal.is_writable().await {
            return Err(StoreError { operation: "send message", cause: "not writable now".to_owned() });
        }
        let sent = self.send_if_wanted(message).await?;
        let (channel, now) = (message.channel.clone(), clock::unix_now());
        let terms: Option<Terms> = serde_json::from_str(&message.body.0).ok();
        let wait = backoff(message.failures + 1, &WAITS, random::bytes::<1>()[0]).as_secs() as i64;
        let is_late = terms.is_none_or(|terms| now + wait > terms.give_up_at);
        let (word, fact) = match sent {
            Sent::Done => ("sent", Some(Fact::MessageSent { channel })),
            Sent::Withdrawn => ("withdrawn", None),
            Sent::Never(_) => ("failed", Some(Fact::MessageFailed { channel })),
            Sent::Later(_) if is_late => ("failed", Some(Fact::MessageFailed { channel })),
            Sent::Later(_) => ("delayed", None),
        };
        if let Some(channel) = NotifyBy::from_name(&message.channel) {
            self.outbox.metrics.count(channel, word);
        }
        if let Sent::Never(cause) | Sent::Later(cause) = sent {
            tracing::warn!(
                message = message.id,
                channel = message.channel,
                cause,
                outcome = word,
                "an invitation did not leave"
            );
        }
        let change = if word == "delayed" {
            let failures = message.failures.saturating_add(1);
            Change::DelayMessage { id: message.id.clone(), failures, retry_at: now + wait }
        } else {
            Change::RemoveMessage { id: message.id.clone() }
        };
        let subject = (Some(&*message.clinic), Some(&*message.consultation), Some(&*message.seat));
        let entry = |fact: Fact| self.journal.entry(subject.0, subject.1, subject.2, &fact);
        let transaction = Transaction { changes: vec![change], entries: fact.map(entry).into_iter().collect() };
        // It has left: it stays among those under way, and is not sent again, until that is written.
        while let Err(error) = self.journal.commit(transaction.clone()).await {
            tracing::warn!(%error, "an invitation that left waits for the store");
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn send_if_wanted(&self, message: &OutgoingMessage) -> Result<Sent, StoreError> {
        let Some((consultation, seat)) = self.journal.seat(&message.seat).await? else { return Ok(Sent::Withdrawn) };
        if consultation.ended_at.is_some() || !seat.admission.is_open() {
            return Ok(Sent::Withdrawn);
        }
        let Some(clinic) = self.store.clinic(&message.clinic).await? else { return Ok(Sent::Withdrawn) };
        let link = self.invitation(&consultation, &seat).link;
        let invitation = text::Invitation {
            language: language_from_name(&consultation.language),
            clinic: &clinic.name.0,
            starts_at: consultation.starts_at,
            link: &link.0,
            zone: self.outbox.zone,
        };
        Ok(self.outbox.send(message, &invitation).await)
    }
}

/// What a clinic is told that asks for what this server cannot send.
const NO_EMAIL: &str = "this server sends no e-mail: its operator has not configured it";
const NO_SMS: &str = "this server sends no SMS: its operator has not configured it";
const NO_ADDRESS: &str = "notify by email needs a usable email of the seat";
const NO_NUMBER: &str = "notify by sms needs a usable phone of the seat";
/// Invitations on their way at the same time. More would look like a flood to a mail server; with fewer a dead one holds up the
/// other channel.
const SENDERS_MAX: usize = 8;
/// A connection to a mail server and each of its answers.
const SEND_TIME_MAX: Duration = Duration::from_secs(20);
/// Between two looks for what is due.
const POLL: Duration = Duration::from_secs(3);
/// Seconds: soon at first, greylisting (RFC 6647) lets in after some minutes, then every hour.
const WAITS: [u64; 7] = [5, 30, 120, 300, 900, 1_800, 3_600];
/// Seconds. An appointment's link that comes a day late helps nobody.
const GIVE_UP_AFTER: i64 = 24 * 3_600;
