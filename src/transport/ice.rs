//! The ICE-lite responder of one leg (RFC 8445 sections 2.5 and 7.3, RFC 7675): which paths are proved, and which one
//! we send on.
//!
//! A path is proved by a check whose MESSAGE-INTEGRITY verifies; media is heard from any proved path and sent on the
//! selected one. Not here: the wire format (`stun`), candidates (signalling tells them). Invariants: a datagram that
//! does not verify changes nothing, and our role never switches; once media flows, a check alone does not take it to
//! another path, because whoever overheard the check can send it from anywhere: the far side's own packets must come
//! from there.
//!
//! ```text
//! selected path:   none --first proved--> provisional --USE-CANDIDATE--> nominated --USE-CANDIDATE elsewhere--> ...
//!                        (once media was heard: --USE-CANDIDATE elsewhere, then authenticated media from there--> ...)
//!                                 quiet while another proved path is alive --> that one
//! consent:      Awaited --check--> Fresh --30 s without a check on the selected path--> Lost --check--> Fresh
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;

use super::batch::{Path, TransmitBatch};
use super::parameters::IceCredentials;
use super::stun::{Answer, Request, TransactionId, integrity_key};
use crate::drops::DropReason;

/// One leg's ICE-lite state.
pub(super) struct IceLite {
    credentials: Credentials,
    /// After a restart, until a check proves them.
    restarted: Option<Credentials>,
    paths: Vec<ProvedPath>,
    selected: Option<Path>,
    nominated: bool,
    /// Authenticated media came, on whichever path.
    media_heard: bool,
    consent: Consent,
    checks_seen: VecDeque<(TransactionId, Path)>,
    strangers: TokenBucket,
    proved: TokenBucket,
    repeats: TokenBucket,
    tick: Instant,
    events: VecDeque<IceEvent>,
}

/// What a verified check did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StunOutcome {
    /// The path is newly proved: datagrams from it now belong to this leg.
    pub path_bound: bool,
    /// The path is the one we send on.
    pub selected: bool,
    /// A path given up for the new one: datagrams from it no longer belong to this leg.
    pub path_unbound: Option<Path>,
}

/// What changed for those who send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum IceEvent {
    /// Consent is lost.
    Silent,
    /// Consent is back.
    Back,
    /// Another path is selected than before.
    PathChanged,
}

/// Consent to send (RFC 7675).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Consent {
    Awaited,
    Fresh,
    Lost,
}

struct Credentials {
    local_ufrag: String,
    remote_ufrag: String,
    /// Of our password: it keys requests and our answers alike.
    key: hmac::Key,
}

struct ProvedPath {
    path: Path,
    checked: Instant,
    /// Last time that authenticated media was noticed, at the resolution of [`TICK`].
    media: Option<Instant>,
    /// Authenticated media since the last tick. A flag, because the media path carries no clock here.
    media_since_tick: bool,
    /// Nominated while media came on another path: selected with the first authenticated packet from here.
    nominee: bool,
}

impl IceLite {
    /// Paths one leg may have proved. Browsers keep two or three alive; more would let a member hoard addresses.
    pub(super) const PATHS_MAX: usize = 8;
    /// RFC 7675 section 5.1.
    pub(super) const CONSENT: Duration = Duration::from_secs(30);

    pub(super) fn new(now: Instant, local: IceCredentials, remote: IceCredentials) -> Self {
        Self {
            credentials: Credentials::new(local, remote),
            restarted: None,
            paths: Vec::with_capacity(2),
            selected: None,
            nominated: false,
            media_heard: false,
            consent: Consent::Awaited,
            checks_seen: VecDeque::new(),
            strangers: TokenBucket::new(now, CHECKS_FROM_STRANGERS),
            proved: TokenBucket::new(now, CHECKS_FROM_PROVED),
            repeats: TokenBucket::new(now, CHECKS_REPEATED),
            tick: now,
            events: VecDeque::new(),
        }
    }

    /// Verifies a check and answers it into `out`.
    pub(super) fn handle_check(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &[u8],
        out: &mut TransmitBatch,
    ) -> Result<StunOutcome, DropReason> {
        let request = Request::parse(datagram)?;
        let by_restarted = self.authenticate(&request)?;
        let seen = self.checks_seen.iter().find(|(transaction, _)| *transaction == request.transaction);
        let repeated = match seen {
            Some((_, from)) if *from != path => return Err(DropReason::StunReplay),
            seen => seen.is_some(),
        };
        let bucket = match self.is_proved(path) {
            _ if repeated => &mut self.repeats,
            true => &mut self.proved,
            false => &mut self.strangers,
        };
        if !bucket.take(now) {
            return Err(DropReason::StunRate);
        }
        let answer = if request.claims_controlled {
            Answer::RoleConflict
        } else if let Some(kind) = request.unknown_attribute {
            Answer::UnknownAttribute(kind)
        } else {
            Answer::Success(path.remote)
        };
        let key = self.key(by_restarted);
        out.push(path, |buffer| answer.write(&request.transaction, key, buffer)).ok_or(DropReason::TransmitFull)?;

        let mut outcome = StunOutcome { path_bound: false, selected: false, path_unbound: None };
        // A check that was repeated (by its sender's timer, or by an eavesdropper) is answered again and proves nothing new.
        if !repeated && matches!(answer, Answer::Success(_)) {
            self.remember(request.transaction, path);
            outcome = self.record_check(now, path, request.nominates, by_restarted);
        }
        outcome.selected = self.selected == Some(path);
        Ok(outcome)
    }

    /// New credentials; the old ones stay valid until these are proved.
    pub(super) fn restart(&mut self, local: IceCredentials, remote: IceCredentials) {
        self.restarted = Some(Credentials::new(local, remote));
    }

    /// Runs the consent timer and looks whether the selected path has gone quiet.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.handle_tick(now);
        let expired = self.consent_deadline().is_some_and(|deadline| deadline <= now);
        if expired {
            self.lose_consent();
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let tick = (self.paths.len() > 1).then_some(self.tick + TICK);
        [tick, self.consent_deadline()].into_iter().flatten().min()
    }

    pub(super) fn poll_event(&mut self) -> Option<IceEvent> {
        self.events.pop_front()
    }

    /// The path to send on, while the far side consents.
    #[inline]
    pub(super) fn egress_path(&self) -> Option<Path> {
        self.selected.filter(|_| self.consent == Consent::Fresh)
    }

    /// Whether a datagram from `path` may belong to this leg at all.
    #[inline]
    pub(super) fn is_proved(&self, path: Path) -> bool {
        self.selected == Some(path) || self.paths.iter().any(|proved| proved.path == path)
    }

    /// Notes that authenticated media came on `path`.
    #[inline]
    pub(super) fn record_media(&mut self, path: Path) {
        self.media_heard = true;
        // With one path there is nothing to compare, so the common case costs nothing more.
        if self.paths.len() > 1
            && let Some(proved) = self.paths.iter_mut().find(|proved| proved.path == path)
        {
            proved.media_since_tick = true;
            if proved.nominee {
                self.select(Some(path));
            }
        }
    }

    /// Stops hearing and using a path.
    pub(super) fn forget(&mut self, path: Path) {
        self.paths.retain(|proved| proved.path != path);
        if self.selected == Some(path) {
            self.nominated = false;
            let freshest = self.paths.iter().max_by_key(|proved| proved.checked).map(|proved| proved.path);
            self.select(freshest);
            if freshest.is_none() {
                self.lose_consent();
            }
        }
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = Path> + '_ {
        self.paths.iter().map(|proved| proved.path)
    }

    pub(super) fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.credentials).chain(&self.restarted).map(|credentials| credentials.local_ufrag.as_str())
    }

    /// Whether the restarted credentials (true) or the others (false) vouch for the request.
    fn authenticate(&self, request: &Request<'_>) -> Result<bool, DropReason> {
        let by_restarted = self.restarted.as_ref().is_some_and(|restarted| restarted.are_named_by(request.username));
        if !by_restarted && !self.credentials.are_named_by(request.username) {
            return Err(DropReason::StunUnknownUfrag);
        }
        request.is_authentic(self.key(by_restarted)).then_some(by_restarted).ok_or(DropReason::StunIntegrity)
    }

    fn key(&self, restarted: bool) -> &hmac::Key {
        match &self.restarted {
            Some(credentials) if restarted => &credentials.key,
            _ => &self.credentials.key,
        }
    }

    fn remember(&mut self, transaction: TransactionId, path: Path) {
        if self.checks_seen.len() == CHECKS_REMEMBERED {
            self.checks_seen.pop_front();
        }
        self.checks_seen.push_back((transaction, path));
    }

    fn record_check(&mut self, now: Instant, path: Path, nominates: bool, by_restarted: bool) -> StunOutcome {
        if by_restarted && let Some(restarted) = self.restarted.take() {
            self.credentials = restarted;
            self.nominated = false;
        }
        let (path_bound, path_unbound) = self.prove(now, path);
        // Until a nomination, the first path proved under the current credentials; nothing better is known after consent
        // was lost either.
        let provisional = !self.nominated && (self.selected.is_none() || by_restarted);
        if provisional || self.consent == Consent::Lost || (nominates && !self.media_heard) {
            self.nominated |= nominates;
            self.select(Some(path));
        } else if nominates {
            self.nominated = true;
            self.note_nominee(path);
        }
        if self.selected == Some(path) {
            if self.consent == Consent::Lost {
                self.events.push_back(IceEvent::Back);
            }
            self.consent = Consent::Fresh;
        }
        self.leave_quiet_path(now);
        StunOutcome { path_bound, selected: false, path_unbound }
    }

    /// Enters or refreshes a path: whether it is new, and which one had to make room.
    fn prove(&mut self, now: Instant, path: Path) -> (bool, Option<Path>) {
        if let Some(proved) = self.paths.iter_mut().find(|proved| proved.path == path) {
            proved.checked = now;
            return (false, None);
        }
        let mut path_unbound = None;
        if self.paths.len() == Self::PATHS_MAX {
            let idle = (0..self.paths.len())
                .filter(|at| self.selected != Some(self.paths[*at].path))
                .min_by_key(|at| self.paths[*at].heard());
            path_unbound = idle.map(|at| self.paths.swap_remove(at).path);
        }
        if self.paths.len() == 1 {
            // From now on paths are compared; what the first one carried so far was not recorded.
            self.tick = now;
            self.paths[0].media = Some(now);
        }
        self.paths.push(ProvedPath { path, checked: now, media: None, media_since_tick: false, nominee: false });
        (true, path_unbound)
    }

    /// Notes a nomination that the far side's media has yet to confirm; one of the selected path withdraws the others.
    fn note_nominee(&mut self, path: Path) {
        if self.selected == Some(path) {
            self.paths.iter_mut().for_each(|proved| proved.nominee = false);
        } else if let Some(proved) = self.paths.iter_mut().find(|proved| proved.path == path) {
            proved.nominee = true;
        }
    }

    fn select(&mut self, path: Option<Path>) {
        let changed = self.selected.is_some() && path.is_some() && self.selected != path;
        if changed && self.events.back() != Some(&IceEvent::PathChanged) {
            self.events.push_back(IceEvent::PathChanged);
        }
        self.selected = path;
        if let Some(proved) = self.paths.iter_mut().find(|proved| Some(proved.path) == path) {
            proved.nominee = false;
        }
    }

    fn handle_tick(&mut self, now: Instant) {
        if self.paths.len() < 2 || now < self.tick + TICK {
            return;
        }
        self.tick = now;
        for proved in &mut self.paths {
            if std::mem::take(&mut proved.media_since_tick) {
                proved.media = Some(now);
            }
        }
        self.leave_quiet_path(now);
    }

    /// Moves to a livelier path when the selected one has gone quiet: a phone that left the Wi-Fi without nominating.
    fn leave_quiet_path(&mut self, now: Instant) {
        let Some(selected) = self.paths.iter().find(|proved| Some(proved.path) == self.selected) else { return };
        let quiet = now.saturating_duration_since(selected.heard());
        let alive = |proved: &&ProvedPath| {
            let carries_media = proved.media.is_some_and(|media| now.saturating_duration_since(media) <= 2 * TICK);
            let checked = now.saturating_duration_since(proved.checked);
            (carries_media && quiet >= QUIET_BESIDE_MEDIA) || (checked <= CHECK_FRESH && quiet >= QUIET_BESIDE_CHECKS)
        };
        let livelier = self
            .paths
            .iter()
            .filter(|proved| Some(proved.path) != self.selected)
            .filter(alive)
            .max_by_key(|proved| proved.heard());
        if let Some(path) = livelier.map(|proved| proved.path) {
            self.select(Some(path));
        }
    }

    fn lose_consent(&mut self) {
        self.consent = Consent::Lost;
        self.events.push_back(IceEvent::Silent);
    }

    fn consent_deadline(&self) -> Option<Instant> {
        if self.consent != Consent::Fresh {
            return None;
        }
        let selected = self.paths.iter().find(|proved| Some(proved.path) == self.selected)?;
        Some(selected.checked + Self::CONSENT)
    }
}

impl Credentials {
    fn new(local: IceCredentials, remote: IceCredentials) -> Self {
        Self { local_ufrag: local.ufrag.clone(), remote_ufrag: remote.ufrag.clone(), key: integrity_key(&local.pwd.0) }
    }

    /// USERNAME is `local:remote` (RFC 8445 section 7.2.2).
    fn are_named_by(&self, username: &[u8]) -> bool {
        let remote = username.strip_prefix(self.local_ufrag.as_bytes()).and_then(|rest| rest.strip_prefix(b":"));
        remote == Some(self.remote_ufrag.as_bytes())
    }
}

impl ProvedPath {
    fn heard(&self) -> Instant {
        self.media.map_or(self.checked, |media| media.max(self.checked))
    }
}

/// Answers a leg gives: `burst` at once, then `per_second`.
#[derive(Clone, Copy)]
struct Rate {
    per_second: u32,
    burst: u32,
}

struct TokenBucket {
    rate: Rate,
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    fn new(now: Instant, rate: Rate) -> Self {
        Self { rate, tokens: f64::from(rate.burst), filled: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.tokens = (self.tokens + elapsed * f64::from(self.rate.per_second)).min(f64::from(self.rate.burst));
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

/// Checks from addresses without proof: a browser with ten candidates sends twenty in its first second. More would make
/// us a reflector for whoever learned one check.
const CHECKS_FROM_STRANGERS: Rate = Rate { per_second: 20, burst: 60 };
/// Checks on proved paths: browsers send at most twenty a second on each while they connect.
const CHECKS_FROM_PROVED: Rate = Rate { per_second: 60, burst: 120 };
/// Checks that came before on the same path: senders repeat one a few times at most. A measure of their own, so that an
/// eavesdropper who sends overheard ones under the leg's address cannot use up what its fresh ones need.
const CHECKS_REPEATED: Rate = Rate { per_second: 20, burst: 60 };
/// Transactions remembered against replay from another address: more than a minute of a browser's checks. An older check
/// proves its new sender's path, which brings him neither media nor consent. Fewer would let strangers into the table of
/// paths sooner, more cost memory (48 bytes each).
const CHECKS_REMEMBERED: usize = 128;
/// How often paths are compared while there are several.
const TICK: Duration = Duration::from_millis(500);
/// Silence of the selected path after which another that carries media takes over. Receiver reports alone come every
/// second or so; shorter would flap between two live paths.
const QUIET_BESIDE_MEDIA: Duration = Duration::from_millis(1_500);
/// Silence after which another path that only gets checks takes over: Firefox checks an idle path every 5 s.
const QUIET_BESIDE_CHECKS: Duration = Duration::from_secs(7);
/// How recent a check must be for that.
const CHECK_FRESH: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
