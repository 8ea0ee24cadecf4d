//! Who may speak at all, and how often: decided before anything is parsed.
//!
//! Pure: `now` is a parameter, nothing is read or sent. An address outside the list may change a counter and nothing else.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use crate::config::telephone::Network;

/// The allow-list of all trunks, and a bucket for each address on it that spoke lately.
#[derive(Debug)]
pub struct Screen {
    allow: Vec<Network>,
    /// Addresses of the trunks' own servers, as their names resolved.
    servers: Vec<IpAddr>,
    buckets: HashMap<IpAddr, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Thousandths of a request.
    openings: u64,
    others: u64,
    /// Answers to what nobody can read.
    faults: u64,
    at: Instant,
}

/// Why something was dropped without a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dropped {
    /// Not on the allow-list.
    Address,
    /// Too many at once.
    Rate,
    /// No SIP, or SIP that cannot be answered.
    Junk,
}

impl Dropped {
    /// All of them.
    pub const ALL: [Dropped; 3] = [Dropped::Address, Dropped::Rate, Dropped::Junk];

    /// Label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Dropped::Address => "address",
            Dropped::Rate => "rate",
            Dropped::Junk => "junk",
        }
    }
}

impl Screen {
    /// A screen for these networks.
    #[must_use]
    pub fn new(allow: Vec<Network>) -> Screen {
        Screen { allow, servers: Vec::new(), buckets: HashMap::new() }
    }

    /// Other networks from now on. Whoever is not on the list any more is not heard any more, also in a call that runs.
    pub fn set_allow(&mut self, allow: Vec<Network>) {
        self.allow = allow;
    }

    /// Takes a trunk's own server in: its answers must be heard.
    pub fn learn(&mut self, server: IpAddr) {
        let server = server.to_canonical();
        if !self.servers.contains(&server) {
            if self.servers.len() == SERVERS_MAX {
                self.servers.remove(0);
            }
            self.servers.push(server);
        }
    }

    /// Whether the address may speak.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allow.iter().any(|network| network.contains(address)) || self.servers.contains(&address)
    }

    /// Whether a message may pass. `opens`: it wants something new (a call, a probe) rather than belonging to what runs.
    pub fn handle_message(&mut self, from: IpAddr, opens: bool, now: Instant) -> Result<(), Dropped> {
        let from = from.to_canonical();
        let bucket = self.bucket(from, now)?;
        take(if opens { &mut bucket.openings } else { &mut bucket.others })
    }

    /// Whether an address may be told that what it sent cannot be read: often enough for who looks for the fault, and no mirror for who
    /// sends nothing else.
    pub fn handle_fault(&mut self, from: IpAddr, now: Instant) -> Result<(), Dropped> {
        take(&mut self.bucket(from.to_canonical(), now)?.faults)
    }

    /// The bucket of an address, filled up to now.
    fn bucket(&mut self, from: IpAddr, now: Instant) -> Result<&mut Bucket, Dropped> {
        if !self.allows(from) {
            return Err(Dropped::Address);
        }
        if self.buckets.len() >= BUCKETS_MAX && !self.buckets.contains_key(&from) {
            // Full buckets say nothing; the others stay.
            self.buckets.retain(|_, bucket| now.duration_since(bucket.at).as_secs() < BURST / OPENINGS_PER_SECOND + 1);
            if self.buckets.len() >= BUCKETS_MAX {
                return Err(Dropped::Rate);
            }
        }
        let full = Bucket {
            openings: BURST * 1_000,
            others: OTHERS_PER_SECOND * 1_000,
            faults: FAULTS_PER_SECOND * 1_000,
            at: now,
        };
        let bucket = self.buckets.entry(from).or_insert(full);
        let passed = u64::try_from(now.saturating_duration_since(bucket.at).as_millis()).unwrap_or(u64::MAX);
        let filled =
            |level: u64, rate: u64, most: u64| level.saturating_add(passed.saturating_mul(rate)).min(most * 1_000);
        bucket.openings = filled(bucket.openings, OPENINGS_PER_SECOND, BURST);
        bucket.others = filled(bucket.others, OTHERS_PER_SECOND, OTHERS_PER_SECOND);
        bucket.faults = filled(bucket.faults, FAULTS_PER_SECOND, FAULTS_PER_SECOND);
        bucket.at = now;
        Ok(bucket)
    }
}

fn take(level: &mut u64) -> Result<(), Dropped> {
    *level = level.checked_sub(1_000).ok_or(Dropped::Rate)?;
    Ok(())
}

/// New calls, probes and registrations of one address in a second. Operators send one call a second and trunk; a higher value lets
/// one address fill the server.
const OPENINGS_PER_SECOND: u64 = 20;
/// And so many at once.
const BURST: u64 = 40;
/// What belongs to running calls, with repetitions: 100 calls that all end in one second.
const OTHERS_PER_SECOND: u64 = 1_000;
/// Messages that cannot be read and are answered; the others are passed over. A trunk sends none.
const FAULTS_PER_SECOND: u64 = 5;
/// Addresses that are counted; allow-lists are short.
const BUCKETS_MAX: usize = 4_096;
/// Two addresses a trunk, each changing now and then.
const SERVERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn screen() -> Screen {
        Screen::new(vec!["203.0.113.0/28".parse().unwrap(), "10.0.0.0/8".parse().unwrap()])
    }

    const TRUNK: &str = "203.0.113.1";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn strangers_are_dropped_and_cost_no_memory() {
        let mut screen = screen();
        for host in 0..=255 {
            let from = IpAddr::from([198, 51, 100, host]);
            assert_eq!(screen.handle_message(from, true, Instant::now()), Err(Dropped::Address));
        }
        assert!(screen.buckets.is_empty());
        assert!(screen.handle_message(ip(TRUNK), true, Instant::now()).is_ok());
        assert!(screen.handle_message(ip("::ffff:203.0.113.2"), true, Instant::now()).is_ok());
    }

    #[test]
    fn an_address_may_open_twenty_a_second_and_go_on_with_what_runs() {
        let (mut screen, start) = (screen(), Instant::now());
        let mut passed = 0;
        for millisecond in 0..10_000 {
            let now = start + Duration::from_millis(millisecond);
            passed += u32::from(screen.handle_message(ip(TRUNK), true, now).is_ok());
        }
        assert!((239..=240).contains(&passed), "{passed}");
        assert!(screen.handle_message(ip(TRUNK), false, start + Duration::from_secs(10)).is_ok());
        assert!(screen.handle_message(ip("203.0.113.2"), true, start + Duration::from_secs(10)).is_ok());
    }

    #[test]
    fn an_address_is_told_of_five_faults_a_second_and_they_cost_it_no_calls() {
        let (mut screen, start) = (screen(), Instant::now());
        let told = (0..2_000)
            .filter(|millisecond| screen.handle_fault(ip(TRUNK), start + Duration::from_millis(*millisecond)).is_ok());
        assert!((14..=15).contains(&told.count()));
        assert_eq!(screen.handle_fault(ip("198.51.100.1"), start), Err(Dropped::Address));
        assert!(screen.handle_message(ip(TRUNK), true, start + Duration::from_secs(2)).is_ok());
    }

    #[test]
    fn many_addresses_of_one_network_stay_bounded() {
        let (mut screen, now) = (screen(), Instant::now());
        for host in 0..10_000_u32 {
            let _ = screen.handle_message(IpAddr::from((0x0a00_0000 + host).to_be_bytes()), true, now);
        }
        assert!(screen.buckets.len() <= BUCKETS_MAX);
        assert!(screen.handle_message(ip("10.9.9.9"), true, now + Duration::from_secs(5)).is_ok());
    }

    #[test]
    fn a_trunk_s_own_server_is_heard() {
        let mut screen = screen();
        assert!(!screen.allows(ip("192.0.2.5")));
        for host in 0..200 {
            screen.learn(IpAddr::from([192, 0, 2, host]));
        }
        assert!(screen.allows(ip("192.0.2.199")) && screen.servers.len() == SERVERS_MAX);
    }
}
