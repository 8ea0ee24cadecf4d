//! The trunks at work: a task for each that registers and probes it, and calls that go to the next line when one fails.
//!
//! Not here: what a state means (`health`). Locks are held for look-ups alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::config::telephone::{Number, SrtpPolicy, TelephoneCodec, TrunkConfig, TrunkName};
use crate::pii::Pii;
use crate::telephone::sdp::Rules;
use crate::telephone::sip::{DialFailure, Endpoint, OutboundCall, ProbeFailure, Progress};

use super::health::{Health, State};

/// All lines. Dropping it stops probes and registrations; calls go on.
pub struct Trunks {
    endpoint: Arc<Endpoint>,
    lines: Vec<Arc<Tended>>,
    ring: RwLock<Duration>,
    stop: watch::Sender<()>,
}

struct Tended {
    name: TrunkName,
    trunk: RwLock<Arc<TrunkConfig>>,
    seen: Mutex<Seen>,
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
    /// Since our registration was last confirmed; none where we do not register or are not registered.
    pub registered_for: Option<Duration>,
    /// Of the last probe.
    pub round_trip: Option<Duration>,
    /// Calls that failed on it, by label.
    pub failures: BTreeMap<&'static str, u64>,
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
            Arc::new(Tended { name, trunk: RwLock::new(Arc::new(trunk.clone())), seen: Mutex::new(seen) })
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
        Trunks { endpoint, lines, ring: RwLock::new(ring), stop }
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
    /// `offer` writes our description for a line. None: there is no line that may take a call now.
    pub async fn dial(
        &self,
        number: &Pii<Number>,
        mut offer: impl FnMut(&TrunkConfig, &Rules) -> String,
    ) -> Result<Dialled, DialFailure> {
        let mut failure = DialFailure::TrunkBusy { retry_after: None };
        for line in self.order(Instant::now()) {
            match self.try_line(&line, number, &mut offer).await {
                Some(Ok(dialled)) => return Ok(dialled),
                Some(Err(cause)) => failure = cause,
                None => continue,
            }
            if !failure.tries_next_trunk() {
                break;
            }
        }
        Err(failure)
    }

    /// Calls a number on this line and no other, whatever its health: to see whether it works.
    pub async fn dial_on(
        &self,
        trunk: &str,
        number: &Pii<Number>,
        mut offer: impl FnMut(&TrunkConfig, &Rules) -> String,
    ) -> Result<Dialled, DialFailure> {
        let line = self.lines.iter().find(|line| line.name.as_str() == trunk).ok_or(DialFailure::Other)?;
        let busy = Err(DialFailure::TrunkBusy { retry_after: None });
        self.try_line(line, number, &mut offer).await.unwrap_or(busy)
    }

    /// Nothing when the line may not take one more call.
    async fn try_line(
        &self,
        line: &Arc<Tended>,
        number: &Pii<Number>,
        offer: &mut impl FnMut(&TrunkConfig, &Rules) -> String,
    ) -> Option<Result<Dialled, DialFailure>> {
        if !line.seen().health.handle_call_begun(Instant::now()) {
            return None;
        }
        let place = Place(Arc::clone(line));
        let ring = *self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let trunk = line.trunk();
        let mut rules = rules(&trunk);
        loop {
            let text = offer(&trunk, &rules);
            let mut call = self.endpoint.dial(&line.name, number, text, ring);
            let first = call.next().await.unwrap_or(Progress::Failed(DialFailure::Other));
            let Progress::Failed(cause) = first else {
                line.seen().health.handle_answer();
                return Some(Ok(Dialled { trunk: line.name.clone(), call, first, place }));
            };
            line.seen().health.handle_dial_failure(cause, Instant::now());
            tracing::info!(trunk = %line.name, cause = cause.label(), "a call out failed");
            // 488: once more with what every telephone knows.
            match simpler(&rules, &trunk) {
                Some(fewer) if cause == DialFailure::Media => rules = fewer,
                _ => return Some(Err(cause)),
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
                registered_for: seen.registered.map(|at| at.elapsed()),
                round_trip: seen.round_trip,
                failures: seen.health.failures().clone(),
            }
        };
        self.lines.iter().map(shown).collect()
    }

    /// Those that may take a call: by health, then by priority.
    fn order(&self, now: Instant) -> Vec<Arc<Tended>> {
        let rank = |line: &Tended| Some((line.seen().health.rank(now)?, line.trunk().priority));
        let ranked = self.lines.iter().filter_map(|line| Some((rank(line)?, line)));
        let mut ranked: Vec<((u8, u16), &Arc<Tended>)> = ranked.collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked.into_iter().map(|(_, line)| Arc::clone(line)).collect()
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
                    // A refused password stays an alarm: a probe needs none.
                    if !seen.health.auth_alarm() {
                        seen.health.handle_answer();
                    }
                }
                Err(failure) => seen.health.handle_probe_failure(failure, Instant::now()),
            }
            let after = seen.health.state();
            if before.label() != after.label() {
                tracing::warn!(trunk = %line.name, state = after.label(), "a trunk changed its state");
            }
            seen.health.next_probe(last, trunk.options)
        };
        sleep_until(next.unwrap_or(last + IDLE).into()).await;
    }
}

/// REGISTER before the registration runs out; after a failure with the waits of health.
async fn register(endpoint: Arc<Endpoint>, line: Arc<Tended>, every: Duration) {
    let mut wait = RETRY_MIN;
    loop {
        let registered = endpoint.register(&line.name, every, line.trunk().first_response).await;
        let pause = {
            let mut seen = line.seen();
            match registered {
                Ok(granted) => {
                    seen.registered = Some(Instant::now());
                    seen.health.handle_answer();
                    wait = RETRY_MIN;
                    // RFC 3261 leaves it to us; half of it survives one lost try.
                    (granted / 2).max(Duration::from_secs(1))
                }
                Err(failure) => {
                    seen.registered = None;
                    seen.health.handle_probe_failure(failure, Instant::now());
                    let cause = if failure == ProbeFailure::Auth { "auth" } else { "no answer" };
                    tracing::warn!(trunk = %line.name, cause, "a trunk does not register us");
                    let pause = wait;
                    wait = (wait * 2).min(RETRY_MAX);
                    pause
                }
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// For the last word to a registrar; a stopping server waits no longer.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// Where probes are off: only looks whether they are due.
const IDLE: Duration = Duration::from_secs(20);
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);
