//! What an eavesdropper on a call's way would have: the last datagrams of each class that a leg sent, byte for byte.
//!
//! Bounded and kept only when a scenario asks for it. Sent again they carry valid tags: nothing but the address they come
//! from, and that they came before, tells them from the call's own. Not here: who sends them again (`junk` from strange
//! addresses, `light` from the leg's own).

use std::collections::VecDeque;
use std::net::SocketAddr;

use colloque::rtp::demux::{Class, classify};
use serde::Serialize;

/// A datagram that a leg sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overheard {
    /// What it is.
    pub class: Class,
    /// Where it went.
    pub to: SocketAddr,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// The last [`Recent::OF_EACH_MAX`] of each class.
#[derive(Default)]
pub struct Recent {
    stun: VecDeque<Overheard>,
    dtls: VecDeque<Overheard>,
    rtp: VecDeque<Overheard>,
    rtcp: VecDeque<Overheard>,
}

impl Recent {
    /// A handshake's records and a burst of media; more would only be more of the same.
    pub const OF_EACH_MAX: usize = 8;

    /// Notes a datagram; the oldest of its class makes room.
    pub fn record(&mut self, to: SocketAddr, datagram: &[u8]) {
        let Some(class) = classify(datagram) else { return };
        let recent = match class {
            Class::Stun => &mut self.stun,
            Class::Dtls => &mut self.dtls,
            Class::Rtp => &mut self.rtp,
            Class::Rtcp => &mut self.rtcp,
        };
        let oldest = if recent.len() == Self::OF_EACH_MAX { recent.pop_front() } else { None };
        let mut bytes = oldest.map(|oldest| oldest.bytes).unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(datagram);
        recent.push_back(Overheard { class, to, bytes });
    }

    /// All of them, oldest of each class first.
    pub fn iter(&self) -> impl Iterator<Item = &Overheard> {
        [&self.stun, &self.dtls, &self.rtp, &self.rtcp].into_iter().flatten()
    }
}

/// How many datagrams of each class were sent again.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Replays {
    /// Connectivity checks.
    pub stun: u64,
    /// DTLS records.
    pub dtls: u64,
    /// SRTP packets.
    pub rtp: u64,
    /// SRTCP packets.
    pub rtcp: u64,
}

impl Replays {
    /// Counts one.
    pub fn record(&mut self, class: Class) {
        *match class {
            Class::Stun => &mut self.stun,
            Class::Dtls => &mut self.dtls,
            Class::Rtp => &mut self.rtp,
            Class::Rtcp => &mut self.rtcp,
        } += 1;
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: Replays) {
        self.stun += other.stun;
        self.dtls += other.dtls;
        self.rtp += other.rtp;
        self.rtcp += other.rtcp;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> SocketAddr {
        ([127, 0, 0, 1], 40_000).into()
    }

    #[test]
    fn the_last_of_each_class_are_kept_byte_for_byte() {
        let mut recent = Recent::default();
        let media = |number: u8| [&[0x80, 96, 0, number][..], &[7; 40]].concat();
        let check = [0_u8; 20];
        recent.record(address(), &check);
        (0..20).for_each(|number| recent.record(address(), &media(number)));
        recent.record(address(), &[0x80, 200, 0, 0, 0, 0, 0, 0]);
        recent.record(address(), &[200; 40]);
        let classes: Vec<Class> = recent.iter().map(|one| one.class).collect();
        assert_eq!((classes[0], classes[9]), (Class::Stun, Class::Rtcp));
        assert_eq!(classes.len(), 1 + Recent::OF_EACH_MAX + 1, "what is of no class is not kept");
        let kept: Vec<Vec<u8>> =
            recent.iter().filter(|one| one.class == Class::Rtp).map(|one| one.bytes.clone()).collect();
        assert_eq!(kept, (12..20).map(media).collect::<Vec<_>>());
        assert!(recent.iter().all(|one| one.to == address()));
    }

    #[test]
    fn replays_are_counted_by_class() {
        let mut replays = Replays::default();
        [Class::Rtp, Class::Rtp, Class::Stun].into_iter().for_each(|class| replays.record(class));
        replays.merge(Replays { rtcp: 3, rtp: 1, ..Replays::default() });
        assert_eq!(replays, Replays { stun: 1, dtls: 0, rtp: 3, rtcp: 3 });
    }
}
