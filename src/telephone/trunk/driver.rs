//! The trunks at work: a task for each that registers and probes it, and calls that go to the next line when one fails.
//!
//! A call that only the rate of the lines keeps waiting has its turn: first come, first served.
//!
//! Not here: what a state means (`health`), which line is best (`choice`). Locks are held for look-ups alone, but for the turn.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout_at};

use crate::config::telephone::{Number, SrtpPolicy, TelephoneCodec, TrunkConfig, TrunkName};
use crate::pii::Pii;
use crate::telephone::sdp::Rules;
use crate::telephone::sip::{DialFailure, Endpoint, OutboundCall, ProbeFailure, Progress};

use super::choice::{Candidate, Choice, choose};
use super::health::{Health, State};

/// All lines. Dropping it stops probes and registrations; calls go on.
pub struct Trunks {
    endpoint: Arc<Endpoint>,
    lines: Vec<Arc<Tended>>,
    ring: RwLock<Duration>,
    /// Held by the call whose turn it is to take a line: the next ones queue here in their order, as many as the server has calls.
    turn: tokio::sync::Mutex<()>,
    stop: watch::Sender<()>,
}

struct Tended {
    name: TrunkName,
    trunk: RwLock<Arc<TrunkConfig>>,
    seen: Mutex<Seen>,
    /// Told when a probe is answered after others were not: whoever was away may have forgotten our registration.
    recovered: Notify,
}

struct Seen {
    health: Health,
    registered: Option<Instant>,
    round_trip: Option<Duration>,
}

/// What metrics and pages say of a line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Label.
    pub name: TrunkName,
    /// Up, suspect or down.
    pub state: State,
    /// The operator must look at the password.
    pub auth_alarm: bool,
    /// Calls at the moment.
    pub calls: u16,
    /// Our registration.
    pub registered: Registered,
    /// Of the last probe.
    pub round_trip: Option<Duration>,
    /// Calls that failed on it, by label.
    pub failures: BTreeMap<&'static str, u64>,
}

/// Our registration on a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Registered {
    /// The line is used without.
    Unwanted,
    /// It does not stand, or not yet.
    Missing,
    /// It was last confirmed so long ago.
    For(Duration),
}

/// A call that is being made, on whichever line takes it.
pub struct Dialled {
    /// The line that took it or tried last.
    pub trunk: TrunkName,
    /// How it ended so far: ringing, answered or failed on all lines.
    pub call: OutboundCall,
    /// Its first word, already heard.
    pub first: Progress,
    /// Gives the line's place back when dropped: keep it as long as the call.
    pub place: Place,
}

/// A call's place on its line.
pub struct Place(Arc<Tended>);

impl Place {
    /// On which line.
    #[must_use]
    pub fn trunk(&self) -> &TrunkName {
        &self.0.name
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.seen().health.handle_call_ended();
    }
}

impl Tended {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle_registered(&self, now: Instant) {
        let mut seen = self.seen();
        seen.registered = Some(now);
        seen.health.handle_answer();
    }

    fn handle_unregistered(&self, failure: ProbeFailure, now: Instant) {
        let mut seen = self.seen();
        seen.registered = None;
        seen.health.handle_probe_failure(failure, now);
        tracing::warn!(trunk = %self.name, cause = %failure, "a trunk does not register us");
    }

    /// As it is configured now.
    fn trunk(&self) -> Arc<TrunkConfig> {
        Arc::clone(&self.trunk.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Trunks {
    /// Begins to register and probe. `ring`: how long a call out may ring.
    #[must_use]
    pub fn start(endpoint: Arc<Endpoint>, trunks: &[TrunkConfig], ring: Duration) -> Trunks {
        let (stop, stopped) = watch::channel(());
        let tended = |trunk: &TrunkConfig| {
            let seen = Seen { health: Health::new(trunk), registered: None, round_trip: None };
            let name = trunk.name.clone();
            let trunk = RwLock::new(Arc::new(trunk.clone()));
            Arc::new(Tended { name, trunk, seen: Mutex::new(seen), recovered: Notify::new() })
        };
        let lines: Vec<Arc<Tended>> = trunks.iter().map(tended).collect();
        for line in &lines {
            let trunk = line.trunk();
            if trunk.options.is_some() {
                tokio::spawn(until(stopped.clone(), probe(Arc::clone(&endpoint), Arc::clone(line))));
            }
            if let Some(every) = trunk.register {
                tokio::spawn(until(stopped.clone(), register(Arc::clone(&endpoint), Arc::clone(line), every)));
            }
        }
        Trunks { endpoint, lines, ring: RwLock::new(ring), turn: tokio::sync::Mutex::default(), stop }
    }

    /// The same lines with other limits, for calls that begin from now on.
    pub fn set_limits(&self, trunks: &[TrunkConfig], ring: Duration) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
        for line in &self.lines {
            let Some(trunk) = trunks.iter().find(|trunk| trunk.name == line.name) else { continue };
            line.seen().health.set_limits(trunk);
            *line.trunk.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(trunk.clone());
        }
    }

    /// Stops probes and registrations, and takes back those that stand (RFC 3261 section 10.2.2): a line whose server is gone would
    /// ring into nothing until they run out. Returns when the registrars have heard it, or after some seconds.
    pub async fn stop(&self) {
        self.stop.send_replace(());
        let mut farewells = JoinSet::new();
        for line in &self.lines {
            if line.seen().registered.take().is_none() {
                continue;
            }
            let (endpoint, name) = (Arc::clone(&self.endpoint), line.name.clone());
            farewells.spawn(async move {
                if endpoint.register(&name, Duration::ZERO, FAREWELL_MAX).await.is_err() {
                    tracing::warn!(trunk = %name, "a trunk did not take back our registration");
                }
            });
        }
        while farewells.join_next().await.is_some() {}
    }

    /// Calls a number on the first line that answers at all: no answer within its time, 500, 502, 503 and 504 move on to the next.
    /// `offer` writes our description for a line. While only the rate of the lines is in the way it waits for its turn, [`TURN_MAX`] at
    /// most; who drops it meanwhile leaves the queue.
    pub async fn dial(
        &self,
        number: &Pii<Number>,
        mut offer: impl FnMut(&TrunkConfig, &Rules) -> String,
    ) -> Result<Dialled, DialFailure> {
        let until = Instant::now() + TURN_MAX;
        let mut tried: Vec<TrunkName> = Vec::new();
        let mut failure = DialFailure::TrunkBusy { retry_after: None };
        loop {
            let rank = |line: &Tended, now| line.seen().health.rank(now).filter(|_| !tried.contains(&line.name));
            let Some(place) = self.place(until, rank).await else { return Err(failure) };
            let place = place?;
            tried.push(place.trunk().clone());
            match self.try_line(place, number, &mut offer).await {
                Ok(dialled) => return Ok(dialled),
                Err(cause) if cause.tries_next_trunk() => failure = cause,
                Err(cause) => return Err(cause),
            }
        }
    }

    /// Calls a number on this line and no other, whatever its health: to see whether it works.
    pub async fn dial_on(
        &self,
        trunk: &str,
        number: &Pii<Number>,
        mut offer: impl FnMut(&TrunkConfig, &Rules) -> String,
    ) -> Result<Dialled, DialFailure> {
        let rank = |line: &Tended, _| (line.name.as_str() == trunk).then_some(0);
        let place = self.place(Instant::now() + TURN_MAX, rank).await.ok_or(DialFailure::Other)?;
        self.try_line(place?, number, &mut offer).await
    }

    /// A place on the best of the lines to which `rank` gives a rank. None: there is no such line.
    async fn place(
        &self,
        until: Instant,
        rank: impl Fn(&Tended, Instant) -> Option<u8>,
    ) -> Option<Result<Place, DialFailure>> {
        let busy = Some(Err(DialFailure::LinesBusy));
        let Ok(_turn) = timeout_at(until.into(), self.turn.lock()).await else { return busy };
        loop {
            let now = Instant::now();
            let candidate = |line: &Arc<Tended>| Candidate {
                rank: rank(line, now),
                priority: line.trunk().priority,
                free_from: line.seen().health.free_from(now),
            };
            let lines: Vec<Candidate> = self.lines.iter().map(candidate).collect();
            match choose(&lines, now) {
                Choice::Take(at) => {
                    let line = &self.lines[at];
                    // Not where a call that came in has taken the place meanwhile.
                    if line.seen().health.handle_call_begun(now) {
                        return Some(Ok(Place(Arc::clone(line))));
                    }
                }
                Choice::Wait(free) if free <= until => sleep_until(free.into()).await,
                Choice::Wait(_) | Choice::Full => return busy,
                Choice::NoLine => return None,
            }
        }
    }

    async fn try_line(
        &self,
        place: Place,
        number: &Pii<Number>,
        offer: &mut impl FnMut(&TrunkConfig, &Rules) -> String,
    ) -> Result<Dialled, DialFailure> {
        let line = &place.0;
        let ring = *self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let trunk = line.trunk();
        let mut rules = rules(&trunk);
        loop {
            let text = offer(&trunk, &rules);
            let mut call = self.endpoint.dial(&line.name, number, text, ring);
            let first = call.next().await.unwrap_or(Progress::Failed(DialFailure::Other));
            let Progress::Failed(cause) = first else {
                line.seen().health.handle_answer();
                return Ok(Dialled { trunk: line.name.clone(), call, first, place });
            };
            line.seen().health.handle_dial_failure(cause, Instant::now());
            tracing::info!(trunk = %line.name, cause = cause.label(), "a call out failed");
            // 488: once more with what every telephone knows.
            match simpler(&rules, &trunk) {
                Some(fewer) if cause == DialFailure::Media => rules = fewer,
                _ => return Err(cause),
            }
        }
    }

    /// A place for a call that came in on this line; none: it has too many.
    #[must_use]
    pub fn admit(&self, trunk: &TrunkName) -> Option<Place> {
        let line = self.lines.iter().find(|line| line.name == *trunk)?;
        line.seen().health.handle_call_came().then(|| Place(Arc::clone(line)))
    }

    /// A failure that came after the first word of a call (ringing, then 503) belongs to the line too.
    pub fn handle_failure(&self, trunk: &TrunkName, failure: DialFailure) {
        if let Some(line) = self.lines.iter().find(|line| line.name == *trunk) {
            line.seen().health.handle_dial_failure(failure, Instant::now());
        }
    }

    /// All lines, by priority.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let shown = |line: &Arc<Tended>| {
            let seen = line.seen();
            Line {
                name: line.name.clone(),
                state: seen.health.state(),
                auth_alarm: seen.health.auth_alarm(),
                calls: seen.health.calls(),
                registered: match seen.registered {
                    Some(at) => Registered::For(at.elapsed()),
                    None if line.trunk().register.is_some() => Registered::Missing,
                    None => Registered::Unwanted,
                },
                round_trip: seen.round_trip,
                failures: seen.health.failures().clone(),
            }
        };
        self.lines.iter().map(shown).collect()
    }
}

/// What a line may agree to.
fn rules(trunk: &TrunkConfig) -> Rules {
    let secure = trunk.transport == crate::config::telephone::SipTransport::Tls;
    Rules { codecs: trunk.codecs.clone(), srtp: trunk.srtp, secure }
}

/// A-law alone, without keys where the policy allows that; none: it was that already.
fn simpler(rules: &Rules, trunk: &TrunkConfig) -> Option<Rules> {
    let srtp = if trunk.srtp == SrtpPolicy::Require { SrtpPolicy::Require } else { SrtpPolicy::Off };
    let fewer = Rules { codecs: vec![TelephoneCodec::Pcma], srtp, secure: rules.secure };
    let differs = fewer.codecs != rules.codecs || fewer.offers_srtp() != rules.offers_srtp();
    (differs && trunk.codecs.contains(&TelephoneCodec::Pcma)).then_some(fewer)
}

async fn until(mut stopped: watch::Receiver<()>, work: impl Future<Output = ()>) {
    tokio::select! {
        _ = stopped.changed() => {}
        () = work => {}
    }
}

/// OPTIONS every so often; sooner while something is wrong.
async fn probe(endpoint: Arc<Endpoint>, line: Arc<Tended>) {
    loop {
        let last = Instant::now();
        let trunk = line.trunk();
        let probed = endpoint.probe(&line.name, trunk.first_response).await;
        let next = {
            let mut seen = line.seen();
            let before = seen.health.state();
            match probed {
                Ok(round_trip) => {
                    seen.round_trip = Some(round_trip);
                    // A probe needs no password.
                    seen.health.handle_probe_answer();
                }
                Err(failure) => seen.health.handle_probe_failure(failure, Instant::now()),
            }
            let after = seen.health.state();
            if before.label() != after.label() {
                tracing::warn!(trunk = %line.name, state = after.label(), "a trunk changed its state");
            }
            // Not where it is the registration alone that is not answered: that has its own waits.
            if after == State::Up
                && (matches!(before, State::Down { .. }) || before != after && seen.registered.is_some())
            {
                line.recovered.notify_one();
            }
            seen.health.next_probe(last, trunk.options)
        };
        sleep_until(next.unwrap_or(last + IDLE).into()).await;
    }
}

/// REGISTER before the registration runs out, and when the line may have lost it; after a failure with the waits of health.
async fn register(endpoint: Arc<Endpoint>, line: Arc<Tended>, every: Duration) {
    let (mut retry, mut renewal) = (RETRY_MIN, RETRY_MIN);
    loop {
        let registered = endpoint.register(&line.name, every, line.trunk().first_response).await;
        let asked = Instant::now();
        match registered {
            Ok(mut registration) => {
                line.handle_registered(asked);
                retry = RETRY_MIN;
                // RFC 3261 leaves it to us; half of it survives one lost try.
                let half = (registration.granted / 2).max(Duration::from_secs(1));
                // A server that closes every stream is not asked without a pause.
                let soonest = asked + renewal;
                let lost = async {
                    tokio::select! {
                        () = registration.lost() => {}
                        () = line.recovered.notified() => {}
                    }
                    sleep_until(soonest.into()).await;
                };
                tokio::select! {
                    () = sleep(half) => renewal = RETRY_MIN,
                    () = lost => renewal = (renewal * 2).min(RETRY_MAX),
                }
            }
            Err(failure) => {
                line.handle_unregistered(failure, asked);
                tokio::select! {
                    () = sleep(retry) => retry = (retry * 2).min(RETRY_MAX),
                    () = line.recovered.notified() => retry = RETRY_MIN,
                }
            }
        }
    }
}

/// How long a call waits for its turn. Thirty calls that are lost at once, as when a ward's network fails, go out on a line of one call a
/// second, and no more than thirty run on it unless told otherwise. Less would leave some uncalled; more, and people give up or are back.
pub const TURN_MAX: Duration = Duration::from_secs(30);
/// For the last word to a registrar; a stopping server waits no longer.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// Where probes are off: only looks whether they are due.
const IDLE: Duration = Duration::from_secs(20);
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);
