//! A network with seeded bad luck: loss, delay, jitter, reordering and doubling, each direction apart, changeable while
//! it runs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// One direction between a person and the server.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Share lost, 0 to 1.
    pub loss: f64,
    pub delay: Duration,
    /// Added to the delay, up to this; keeps the order.
    pub jitter: Duration,
    /// Share that comes 15 ms late, behind others.
    pub reordered: f64,
    pub doubled: f64,
    pub up: bool,
    /// Bytes a second; what waits longer than [`Link::QUEUE`] for its turn is lost.
    pub rate: Option<f64>,
}

impl Link {
    pub const GOOD: Link = Link {
        loss: 0.0,
        delay: Duration::from_millis(10),
        jitter: Duration::ZERO,
        reordered: 0.0,
        doubled: 0.0,
        up: true,
        rate: None,
    };

    /// What a home router holds back on a line that is full.
    pub const QUEUE: Duration = Duration::from_millis(400);

    pub fn losing(loss: f64) -> Link {
        Link { loss, ..Link::GOOD }
    }

    pub fn rough() -> Link {
        Link { loss: 0.02, jitter: Duration::from_millis(8), reordered: 0.02, doubled: 0.01, ..Link::GOOD }
    }
}

/// A datagram on its way. `remote` is the person's address in both directions.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Flying {
    pub lands: Instant,
    order: u64,
    pub to_server: bool,
    pub remote: SocketAddr,
    pub bytes: Vec<u8>,
}

pub struct Network {
    random: StdRng,
    flying: BinaryHeap<Reverse<Flying>>,
    order: u64,
}

impl Network {
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), flying: BinaryHeap::new(), order: 0 }
    }

    /// `last` is when the previous datagram of this direction lands.
    pub fn launch(
        &mut self,
        now: Instant,
        link: &Link,
        last: &mut Instant,
        to_server: bool,
        remote: SocketAddr,
        bytes: &[u8],
    ) {
        if !link.up || self.random.random_bool(link.loss) {
            return;
        }
        let jitter = link.jitter.mul_f64(self.random.random::<f64>());
        let mut lands = (now + link.delay + jitter).max(*last);
        if let Some(rate) = link.rate {
            if lands > now + link.delay + jitter + Link::QUEUE {
                return;
            }
            lands += Duration::from_secs_f64(bytes.len() as f64 / rate);
        }
        *last = lands;
        if self.random.random_bool(link.reordered) {
            lands += Duration::from_millis(15);
        }
        let copies = 1 + usize::from(self.random.random_bool(link.doubled));
        for _ in 0..copies {
            self.order += 1;
            let order = self.order;
            self.flying.push(Reverse(Flying { lands, order, to_server, remote, bytes: bytes.to_vec() }));
        }
    }

    pub fn land(&mut self, now: Instant) -> Option<Flying> {
        if self.flying.peek()?.0.lands > now {
            return None;
        }
        self.flying.pop().map(|flying| flying.0)
    }
}
