//! UDP ports for calls: a random even one for RTP and the next for RTCP, closed for a while after use.
//!
//! Random, because a stranger who guesses a call's port may try to speak into it; closed, because the far end of a
//! call that is over may go on sending for seconds, and the next call must not hear it. Not here: what is accepted on
//! an open port (`source`). Invariant: a number is free, resting or with one [`PortPair`].

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng;

use crate::worker::socket::MediaSocket;

/// Why a call gets no ports.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Every number of the range is in use or resting: widen `rtp_ports`.
    #[error("no telephone port is free")]
    NoneFree,
    /// The numbers that were tried could not be bound.
    #[error("cannot open a telephone port: {0}")]
    System(io::Error),
}

/// The ports of this server's calls.
#[derive(Clone)]
pub struct PortPool {
    bind: IpAddr,
    rest: Duration,
    numbers: Arc<Mutex<Numbers>>,
}

impl PortPool {
    /// Calls are bound to `bind`, on even numbers of `range`; a number that was used rests for `rest`.
    #[must_use]
    pub fn new(bind: IpAddr, range: RangeInclusive<u16>, rest: Duration) -> Self {
        Self { bind, rest, numbers: Arc::new(Mutex::new(Numbers::new(range))) }
    }

    /// Opens a pair. Never waits.
    ///
    /// # Errors
    /// None is free, or the system refuses several in a row.
    pub fn claim(&self) -> Result<PortPair, PortError> {
        let mut refused = None;
        for _ in 0..ATTEMPTS_MAX {
            let number = self.lock().take(Instant::now(), &mut rand::rng());
            let Some(number) = number else { break };
            match self.open(number) {
                Ok(pair) => return Ok(pair),
                // Somebody else's: it rests like one of ours.
                Err(error) => refused = Some(error),
            }
            self.lock().rest(number, Instant::now() + self.rest);
        }
        Err(refused.map_or(PortError::NoneFree, PortError::System))
    }

    fn open(&self, number: u16) -> io::Result<PortPair> {
        let rtp = MediaSocket::bind_for_voice(SocketAddr::new(self.bind, number), RECEIVE_BUFFER)?;
        let rtcp = MediaSocket::bind_for_voice(SocketAddr::new(self.bind, number + 1), RECEIVE_BUFFER)?;
        Ok(PortPair { rtp, rtcp, _claim: Claim { number, pool: self.clone() } })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Numbers> {
        // Every change of the numbers is complete before anything that could panic.
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call's sockets. Dropping it closes them and lets the number rest.
pub struct PortPair {
    /// Sound; bound to an even port.
    pub rtp: MediaSocket,
    /// Reports; bound to the port above.
    pub rtcp: MediaSocket,
    /// Behind the sockets: they are closed first.
    _claim: Claim,
}

/// A number in use.
struct Claim {
    number: u16,
    pool: PortPool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.pool.lock().rest(self.number, Instant::now() + self.pool.rest);
    }
}

/// Which numbers may be used. Even ones only, whose successor is in the range too.
struct Numbers {
    free: Vec<u16>,
    /// With the moment from which each is free; they are due in this order.
    resting: VecDeque<(Instant, u16)>,
}

impl Numbers {
    fn new(range: RangeInclusive<u16>) -> Self {
        let (first, last) = (*range.start(), *range.end());
        let free = range.filter(|number| number % 2 == 0 && *number >= first && *number < last).collect();
        Self { free, resting: VecDeque::new() }
    }

    fn take(&mut self, now: Instant, rng: &mut impl Rng) -> Option<u16> {
        while let Some((_, number)) = self.resting.pop_front_if(|(due, _)| *due <= now) {
            self.free.push(number);
        }
        (!self.free.is_empty()).then(|| self.free.swap_remove(rng.random_range(0..self.free.len())))
    }

    fn rest(&mut self, number: u16, until: Instant) {
        self.resting.push_back((until, number));
    }
}

/// Numbers tried for one call. More would only cost time where another program holds the whole range.
const ATTEMPTS_MAX: usize = 8;
/// Asked of the kernel for each socket: about 200 datagrams with its bookkeeping, four seconds of a voice that came
/// while the media thread could not run. More would only keep a flood for longer.
const RECEIVE_BUFFER: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{Ipv4Addr, UdpSocket};

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn only_even_numbers_whose_successor_is_in_the_range_are_given_and_each_once() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut numbers = Numbers::new(20_001..=20_010);
        let now = Instant::now();
        let given: HashSet<u16> = std::iter::from_fn(|| numbers.take(now, &mut rng)).collect();
        assert_eq!(given, HashSet::from([20_002, 20_004, 20_006, 20_008]));
        assert_eq!(Numbers::new(7..=7).take(now, &mut rng), None);
        assert_eq!(Numbers::new(u16::MAX - 1..=u16::MAX).take(now, &mut rng), Some(u16::MAX - 1));
    }

    #[test]
    fn a_used_number_rests_and_comes_back() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut numbers = Numbers::new(100..=103);
        let start = Instant::now();
        let (a, b) = (numbers.take(start, &mut rng).unwrap(), numbers.take(start, &mut rng).unwrap());
        numbers.rest(a, start + Duration::from_secs(30));
        numbers.rest(b, start + Duration::from_secs(31));
        assert_eq!(numbers.take(start + Duration::from_secs(29), &mut rng), None);
        assert_eq!(numbers.take(start + Duration::from_secs(30), &mut rng), Some(a));
        assert_eq!(numbers.take(start + Duration::from_secs(30), &mut rng), None);
        assert_eq!(numbers.take(start + Duration::from_secs(40), &mut rng), Some(b));
    }

    #[test]
    fn numbers_are_given_in_no_order_that_can_be_foretold() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut numbers = Numbers::new(20_000..=24_000);
        let given: Vec<u16> = (0..100).map_while(|_| numbers.take(Instant::now(), &mut rng)).collect();
        let steps: HashSet<i32> = given.windows(2).map(|pair| i32::from(pair[1]) - i32::from(pair[0])).collect();
        assert!(steps.len() > 90, "{steps:?}");
    }

    /// A range of a few ports that are free now, found by asking the kernel for one.
    fn free_range() -> RangeInclusive<u16> {
        let port = UdpSocket::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port();
        let first = (port & !1).min(u16::MAX - 40);
        first..=first + 40
    }

    #[test]
    fn a_pair_is_an_even_port_and_the_next_and_is_closed_when_dropped() {
        let pool = PortPool::new(LOOPBACK, free_range(), Duration::from_secs(30));
        let pair = pool.claim().unwrap();
        let (rtp, rtcp) = (pair.rtp.address(), pair.rtcp.address());
        assert_eq!((rtp.port() % 2, rtcp.port()), (0, rtp.port() + 1));
        assert!(UdpSocket::bind(rtp).is_err(), "it is open");
        drop(pair);
        UdpSocket::bind(rtp).expect("closed when the call is over");
        assert!(pool.lock().resting.iter().any(|&(_, number)| number == rtp.port()), "and resting");
    }

    #[test]
    fn a_full_range_says_so_and_a_foreign_socket_is_passed_over() {
        let range = free_range();
        let first = *range.start();
        let foreign = UdpSocket::bind((LOOPBACK, first));
        let pool = PortPool::new(LOOPBACK, first..=first + 3, Duration::from_secs(30));
        if foreign.is_ok()
            && let Ok(pair) = pool.claim()
        {
            assert_eq!(pair.rtp.address().port(), first + 2);
        }
        let held: Vec<_> = std::iter::from_fn(|| pool.claim().ok()).collect();
        assert!(held.len() <= 2);
        assert!(matches!(pool.claim(), Err(PortError::NoneFree)));
    }
}
