//! One leg's ICE agent (RFC 8445): full, with one local candidate and one chosen candidate of the far side.
//!
//! Checks until answered, then keeps consent fresh; answers the far side's own checks. Sans-IO: instants and datagrams
//! in, datagrams out. Not here: which candidate is taken (`sdp`), sockets (`wire`).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use colloque::transport::stun::{
    ANSWER_LEN_MAX, Answer, BINDING_REQUEST, ICE_CONTROLLED, ICE_CONTROLLING, IntegrityKey, PRIORITY, Request,
    Response, TransactionId, USE_CANDIDATE, USERNAME, Writer, integrity_key,
};
use rand::Rng;

/// A user name fragment with its password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Credentials {
    pub(super) ufrag: String,
    pub(super) pwd: String,
}

impl Credentials {
    /// Fresh ones.
    pub(super) fn random() -> Self {
        let mut rng = rand::rng();
        let mut word = |len| (0..len).map(|_| char::from(rng.sample(rand::distr::Alphanumeric))).collect();
        Self { ufrag: word(8), pwd: word(24) }
    }
}

/// Who nominates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Controlling,
    Controlled,
}

/// What a datagram did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Handled {
    /// Bytes to send back.
    pub(super) reply_len: usize,
    /// The path is proved now and was not before.
    pub(super) proved: bool,
}

/// Checks one pair.
pub(super) struct Agent {
    role: Role,
    tie_breaker: u64,
    username: String,
    local_ufrag: String,
    local_key: IntegrityKey,
    remote_key: IntegrityKey,
    candidate: SocketAddr,
    pending: [Option<(TransactionId, Instant)>; PENDING_MAX],
    sent: usize,
    unanswered: u32,
    check_due: Instant,
    proved: bool,
    round_trip: Duration,
}

impl Agent {
    /// The first check is due at once.
    pub(super) fn new(
        role: Role,
        local: &Credentials,
        remote: &Credentials,
        candidate: SocketAddr,
        now: Instant,
    ) -> Self {
        Self {
            role,
            tie_breaker: rand::random(),
            username: format!("{}:{}", remote.ufrag, local.ufrag),
            local_ufrag: local.ufrag.clone(),
            local_key: integrity_key(&local.pwd),
            remote_key: integrity_key(&remote.pwd),
            candidate,
            pending: [None; PENDING_MAX],
            sent: 0,
            unanswered: 0,
            check_due: now,
            proved: false,
            round_trip: ROUND_TRIP_INITIAL,
        }
    }

    /// Goes on with other credentials: an ICE restart. The role stays (RFC 8445 section 6.1.1).
    pub(super) fn restart(&mut self, local: &Credentials, remote: &Credentials, candidate: SocketAddr, now: Instant) {
        *self = Self { tie_breaker: self.tie_breaker, ..Self::new(self.role, local, remote, candidate, now) };
    }

    /// The local address changed: proves the path anew with the same credentials.
    pub(super) fn recheck(&mut self, now: Instant) {
        self.pending = [None; PENDING_MAX];
        self.unanswered = 0;
        self.check_due = now;
        self.proved = false;
    }

    pub(super) fn candidate(&self) -> SocketAddr {
        self.candidate
    }

    /// Of the last check that was answered.
    pub(super) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// Takes a STUN message. `out` has room for an answer.
    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
        out: &mut [u8],
    ) -> Handled {
        if let Ok(request) = Request::parse(datagram) {
            return Handled { reply_len: self.answer(from, &request, now, out), proved: false };
        }
        let Some(response) = Response::parse(datagram) else { return Handled::default() };
        let found = self.pending.iter_mut().find(|slot| slot.is_some_and(|(id, _)| id == response.transaction));
        let Some((_, sent_at)) = found.filter(|_| response.is_authentic(&self.remote_key)).and_then(Option::take)
        else {
            return Handled::default();
        };
        match response.refused {
            None => {
                self.round_trip = now.saturating_duration_since(sent_at);
                self.unanswered = 0;
                self.check_due = now + CONSENT_EVERY;
                Handled { reply_len: 0, proved: !std::mem::replace(&mut self.proved, true) }
            }
            Some(ROLE_CONFLICT) => {
                self.role = if self.role == Role::Controlling { Role::Controlled } else { Role::Controlling };
                self.check_due = now;
                Handled::default()
            }
            Some(_) => Handled::default(),
        }
    }

    /// The next check, when one is due.
    pub(super) fn poll_transmit(&mut self, now: Instant, out: &mut [u8]) -> Option<usize> {
        if now < self.check_due {
            return None;
        }
        let transaction: TransactionId = rand::random();
        self.pending[self.sent % PENDING_MAX] = Some((transaction, now));
        self.sent += 1;
        self.check_due = now + (CHECK_INTERVAL * (1 << self.unanswered.min(5))).min(CHECK_INTERVAL_MAX);
        self.unanswered += 1;
        let mut writer = Writer::new(out, BINDING_REQUEST, &transaction);
        writer.attribute(USERNAME, self.username.as_bytes());
        match self.role {
            Role::Controlling => {
                writer.attribute(ICE_CONTROLLING, &self.tie_breaker.to_be_bytes());
                writer.attribute(USE_CANDIDATE, &[]);
            }
            Role::Controlled => writer.attribute(ICE_CONTROLLED, &self.tie_breaker.to_be_bytes()),
        }
        writer.attribute(PRIORITY, &PRIORITY_PEER_REFLEXIVE.to_be_bytes());
        Some(writer.finish(&self.remote_key))
    }

    /// When [`Agent::poll_transmit`] has something.
    pub(super) fn poll_timeout(&self) -> Instant {
        self.check_due
    }

    /// Answers a check of the far side and, as RFC 8445 section 7.3.1.4 wants it, checks back while nothing is proved.
    fn answer(&mut self, from: SocketAddr, request: &Request<'_>, now: Instant, out: &mut [u8]) -> usize {
        let receiver = request.username.split(|byte| *byte == b':').next();
        if receiver != Some(self.local_ufrag.as_bytes()) || !request.is_authentic(&self.local_key) {
            return 0;
        }
        if !self.proved {
            self.candidate = from;
            self.check_due = self.check_due.min(now);
        }
        Answer::Success(from).write(&request.transaction, &self.local_key, out)
    }
}

/// Room for the longest check: a user name of 2 x 256 characters is never met, 2 x 32 is.
pub(super) const STUN_LEN_MAX: usize = if ANSWER_LEN_MAX > 1_024 { ANSWER_LEN_MAX } else { 1_024 };

const PENDING_MAX: usize = 8;
/// Between the first checks; doubles. Lower costs packets in a storm, higher delays every join that lost one.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
const CHECK_INTERVAL_MAX: Duration = Duration::from_secs(1);
/// As browsers do; RFC 7675 allows 5 s.
const CONSENT_EVERY: Duration = Duration::from_millis(2_500);
const ROUND_TRIP_INITIAL: Duration = Duration::from_millis(50);
const ROLE_CONFLICT: u16 = 487;
/// Type preference 110, local preference 65535, component 1 (RFC 8445 section 5.1.2.1).
const PRIORITY_PEER_REFLEXIVE: u32 = 110 << 24 | 0xffff << 8 | 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn pair(role: Role) -> (Agent, Agent, Instant) {
        let now = Instant::now();
        let (one, other) = (Credentials::random(), Credentials::random());
        let agent = Agent::new(role, &one, &other, address(2), now);
        let far = Agent::new(Role::Controlled, &other, &one, address(1), now);
        (agent, far, now)
    }

    #[test]
    fn a_check_is_answered_and_proves_the_path_once() {
        let (mut agent, mut far, now) = pair(Role::Controlling);
        let (mut check, mut reply) = ([0; STUN_LEN_MAX], [0; STUN_LEN_MAX]);
        let len = agent.poll_transmit(now, &mut check).unwrap();
        let request = Request::parse(&check[..len]).unwrap();
        assert!(request.nominates && !request.claims_controlled && request.unknown_attribute.is_none());
        let handled = far.handle_datagram(now, address(1), &check[..len], &mut reply);
        assert!(handled.reply_len > 0 && !handled.proved);
        let later = now + Duration::from_millis(7);
        let answered = agent.handle_datagram(later, address(2), &reply[..handled.reply_len], &mut check);
        assert_eq!(answered, Handled { reply_len: 0, proved: true });
        assert_eq!(agent.round_trip(), Duration::from_millis(7));
        assert_eq!(agent.poll_timeout(), later + CONSENT_EVERY);
        let again = agent.handle_datagram(later, address(2), &reply[..handled.reply_len], &mut check);
        assert_eq!(again, Handled::default(), "an answer counts once");
    }

    #[test]
    fn an_unanswered_check_is_repeated_ever_more_slowly() {
        let (mut agent, _, mut now) = pair(Role::Controlling);
        let mut out = [0; STUN_LEN_MAX];
        let mut intervals = Vec::new();
        for _ in 0..7 {
            assert!(agent.poll_transmit(now, &mut out).is_some() && agent.poll_transmit(now, &mut out).is_none());
            intervals.push(agent.poll_timeout().duration_since(now).as_millis());
            now = agent.poll_timeout();
        }
        assert_eq!(intervals, [50, 100, 200, 400, 800, 1_000, 1_000]);
    }

    #[test]
    fn strangers_prove_nothing_and_get_no_answer() {
        let (mut agent, _, now) = pair(Role::Controlling);
        let (mut stranger, _, _) = pair(Role::Controlling);
        let (mut check, mut reply) = ([0; STUN_LEN_MAX], [0; STUN_LEN_MAX]);
        let len = stranger.poll_transmit(now, &mut check).unwrap();
        assert_eq!(agent.handle_datagram(now, address(9), &check[..len], &mut reply), Handled::default());
        let own = agent.poll_transmit(now, &mut check).unwrap();
        let transaction = Request::parse(&check[..own]).unwrap().transaction;
        let forged = Answer::Success(address(1)).write(&transaction, &integrity_key("guess"), &mut reply);
        assert_eq!(agent.handle_datagram(now, address(2), &reply[..forged], &mut check), Handled::default());
        assert!(!agent.proved);
    }

    #[test]
    fn a_role_conflict_switches_the_role() {
        let (mut agent, _, now) = pair(Role::Controlling);
        let (mut check, mut reply) = ([0; STUN_LEN_MAX], [0; STUN_LEN_MAX]);
        let len = agent.poll_transmit(now, &mut check).unwrap();
        let transaction = Request::parse(&check[..len]).unwrap().transaction;
        let len = Answer::RoleConflict.write(&transaction, &agent.remote_key, &mut reply);
        agent.handle_datagram(now, address(2), &reply[..len], &mut check);
        let len = agent.poll_transmit(now, &mut check).unwrap();
        let request = Request::parse(&check[..len]).unwrap();
        assert!(request.claims_controlled && !request.nominates);
    }
}
