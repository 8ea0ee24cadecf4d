//! Which of the packets that reach a call's port are the call's: the source rule.
//!
//! The address of the far end's SDP is good for the whole call. At most one other address is learnt, once, only from the
//! trunk's media networks, and only after [`PROOFS`] plausible packets in a row: a gateway may send from elsewhere than it
//! announced, a stranger who found the port may not. Within a good address the sound is one SSRC whose numbers go on
//! (RFC 3550 appendix A.1); another SSRC is followed only when the first has fallen silent, so that nobody speaks into a call
//! by writing the trunk's address on his packets without knowing its numbers.
//!
//! Not here: decryption, which comes between [`SourceRule::may_be_ours`] and [`SourceRule::judge`] when a call has keys.
//! Pure. Invariant: a refused packet changes counters and the proof it may be part of, nothing else.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::config::telephone::Network;
use crate::ids::{PayloadType, Ssrc};
use crate::rtp::packet::RtpHeader;
use crate::rtp::seq::SeqNo;

/// Why a packet was not used. The label is the metric's `reason`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Refusal {
    /// Not RTP or RTCP, or shorter than it claims.
    Malformed,
    /// Before the far end told where it is.
    Early,
    /// From an address that is not the call's.
    Address,
    /// A payload type that was not agreed.
    PayloadType,
    /// Another SSRC while the call's own is alive.
    Ssrc,
    /// A number far from the stream's.
    Sequence,
    /// A tag that does not verify: forged, in the clear, or under another key.
    Authentication,
    /// A number that was seen before.
    Replay,
}

impl Refusal {
    /// Every reason, in the order of [`Refusal::index`].
    pub const ALL: [Refusal; 8] = [
        Refusal::Malformed,
        Refusal::Early,
        Refusal::Address,
        Refusal::PayloadType,
        Refusal::Ssrc,
        Refusal::Sequence,
        Refusal::Authentication,
        Refusal::Replay,
    ];

    /// The metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Refusal::Malformed => "malformed",
            Refusal::Early => "early",
            Refusal::Address => "source",
            Refusal::PayloadType => "payload",
            Refusal::Ssrc => "ssrc",
            Refusal::Sequence => "sequence",
            Refusal::Authentication => "auth",
            Refusal::Replay => "replay",
        }
    }

    /// Position in [`Refusal::ALL`], for counter arrays.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// A packet of the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// Its number, extended.
    pub seq: SeqNo,
    /// Whether a stream begins with it: other numbers and timestamps than before, buffers begin anew.
    pub begins: bool,
}

/// The rule for one call.
#[derive(Debug)]
pub struct SourceRule {
    announced: Option<SocketAddr>,
    learnable: Vec<Network>,
    learnt: Option<SocketAddr>,
    /// The address that is proving itself.
    candidate: Option<Candidate>,
    stream: Option<Stream>,
    /// What may become the stream: another SSRC, or the same one with other numbers.
    successor: Option<Proof>,
}

/// Packets in a row that look like one stream.
#[derive(Clone, Copy, Debug)]
struct Proof {
    ssrc: Ssrc,
    last: u16,
    count: u32,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    address: SocketAddr,
    proof: Proof,
}

/// The call's sound.
#[derive(Clone, Copy, Debug)]
struct Stream {
    ssrc: Ssrc,
    highest: SeqNo,
    heard: Instant,
}

impl SourceRule {
    /// Nothing is accepted before [`SourceRule::set_announced`].
    #[must_use]
    pub fn new(learnable: Vec<Network>) -> Self {
        Self { announced: None, learnable, learnt: None, candidate: None, stream: None, successor: None }
    }

    /// What the far end's SDP says; again with every new one. An address that was learnt stays good.
    pub fn set_announced(&mut self, address: SocketAddr) {
        self.announced = Some(canonical(address));
    }

    /// Where to send: the announced address; the learnt one when the announced can not be reached from outside the far
    /// end's own network and the learnt one can. `None` before an announcement, and for one that says "nowhere".
    #[must_use]
    pub fn destination(&self) -> Option<SocketAddr> {
        let announced = self.announced.filter(|address| !address.ip().is_unspecified() && address.port() != 0)?;
        match self.learnt {
            Some(learnt) if is_private(announced) && !is_private(learnt) => Some(learnt),
            _ => Some(announced),
        }
    }

    /// Whether an address was learnt that the SDP did not tell.
    #[must_use]
    pub fn has_learnt(&self) -> bool {
        self.learnt.is_some()
    }

    /// Whether a packet from there may be the call's, before anything else of it is looked at.
    ///
    /// # Errors
    /// Why not.
    pub fn may_be_ours(&self, from: SocketAddr) -> Result<(), Refusal> {
        let from = canonical(from);
        let announced = self.announced.ok_or(Refusal::Early)?;
        let good = from == announced || Some(from) == self.learnt || self.may_learn(from);
        if good { Ok(()) } else { Err(Refusal::Address) }
    }

    /// Whether RTCP from there is the call's: from a good host, whatever the port, as announcements of RTCP ports are
    /// rare and often wrong.
    #[must_use]
    pub fn is_reporter(&self, from: SocketAddr) -> bool {
        let host = canonical(from).ip();
        [self.announced, self.learnt].into_iter().flatten().any(|good| good.ip() == host)
    }

    /// Judges a packet whose header parsed and whose tag, if the call has keys, verified. `expected` tells which payload
    /// types were agreed.
    ///
    /// # Errors
    /// Why the packet is not used.
    pub fn judge(
        &mut self,
        now: Instant,
        from: SocketAddr,
        header: &RtpHeader,
        expected: impl Fn(PayloadType) -> bool,
    ) -> Result<Accepted, Refusal> {
        let from = canonical(from);
        self.may_be_ours(from)?;
        if !expected(header.payload_type) {
            return Err(Refusal::PayloadType);
        }
        if Some(from) != self.announced && Some(from) != self.learnt {
            self.prove(from, header)?;
        }
        self.follow(now, header)
    }

    fn may_learn(&self, from: SocketAddr) -> bool {
        self.learnt.is_none() && self.learnable.iter().any(|network| network.contains(from.ip()))
    }

    /// One more packet of an address that is not known yet.
    fn prove(&mut self, from: SocketAddr, header: &RtpHeader) -> Result<(), Refusal> {
        let candidate = match self.candidate {
            Some(Candidate { address, proof }) if address == from => Candidate { address, proof: proof.with(header) },
            _ => Candidate { address: from, proof: Proof::of(header) },
        };
        self.candidate = Some(candidate);
        if candidate.proof.count < PROOFS {
            return Err(Refusal::Address);
        }
        self.learnt = Some(from);
        self.candidate = None;
        Ok(())
    }

    fn follow(&mut self, now: Instant, header: &RtpHeader) -> Result<Accepted, Refusal> {
        let Some(stream) = &mut self.stream else { return Ok(self.begin(now, header)) };
        if stream.ssrc == header.ssrc {
            let seq = SeqNo::nearest(header.sequence, stream.highest);
            let ahead = seq.distance(stream.highest);
            if (-MISORDER_MAX..=DROPOUT_MAX).contains(&ahead) {
                stream.highest = stream.highest.max(seq);
                stream.heard = now;
                return Ok(Accepted { seq, begins: false });
            }
        }
        let same = stream.ssrc == header.ssrc;
        let silent = now.saturating_duration_since(stream.heard) >= SILENCE_BEFORE_CHANGE;
        let proof = match self.successor {
            Some(proof) if proof.ssrc == header.ssrc => proof.with(header),
            _ => Proof::of(header),
        };
        self.successor = Some(proof);
        if proof.count >= SUCCESSION && (same || silent) {
            return Ok(self.begin(now, header));
        }
        Err(if same { Refusal::Sequence } else { Refusal::Ssrc })
    }

    fn begin(&mut self, now: Instant, header: &RtpHeader) -> Accepted {
        // Rollover 1: a packet that the first one overtook still has a number before it.
        let seq = SeqNo::from_parts(1, header.sequence);
        self.stream = Some(Stream { ssrc: header.ssrc, highest: seq, heard: now });
        self.successor = None;
        Accepted { seq, begins: true }
    }
}

impl Proof {
    fn of(header: &RtpHeader) -> Self {
        Proof { ssrc: header.ssrc, last: header.sequence, count: 1 }
    }

    /// One packet more; begins anew with another SSRC or when a number is not the next.
    fn with(self, header: &RtpHeader) -> Self {
        let next = SeqNo::nearest(header.sequence, SeqNo::from_parts(1, self.last));
        if header.ssrc != self.ssrc || next != SeqNo::from_parts(1, self.last).next() {
            return Self::of(header);
        }
        Proof { last: header.sequence, count: self.count + 1, ..self }
    }
}

/// An IPv4 address in IPv6 clothes is the IPv4 address that it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Addresses that mean something only within one network or host.
fn is_private(address: SocketAddr) -> bool {
    match address.ip() {
        std::net::IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        std::net::IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

/// Plausible packets in a row before an address that nobody announced is believed: 100 ms of a call.
pub const PROOFS: u32 = 5;
/// Numbers in a row after which a jump within the SSRC, or another SSRC, is the new stream (RFC 3550 appendix A.1 asks
/// for two).
const SUCCESSION: u32 = 2;
/// How long the stream must have been silent before another SSRC is followed: five packets. Longer would cut more of a
/// call that was handed to another telephone, shorter would let a forged packet in between two of a jittery stream.
const SILENCE_BEFORE_CHANGE: Duration = Duration::from_millis(100);
/// RFC 3550 appendix A.1: a gap of a minute of voice, and two seconds of reordering.
const DROPOUT_MAX: i64 = 3000;
const MISORDER_MAX: i64 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::packet::{HeaderFields, HeaderWriter};

    const VOICE: PayloadType = PayloadType(8);

    fn header(ssrc: u32, sequence: u16) -> RtpHeader {
        with_type(VOICE, ssrc, sequence)
    }

    fn with_type(payload_type: PayloadType, ssrc: u32, sequence: u16) -> RtpHeader {
        let fields = HeaderFields { marker: false, payload_type, sequence, timestamp: 0, ssrc: Ssrc(ssrc) };
        let mut out = [0; 16];
        let len = HeaderWriter::new(&mut out, fields, false).finish();
        RtpHeader::parse(&out[..len]).unwrap()
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    struct Call {
        rule: SourceRule,
        now: Instant,
    }

    impl Call {
        fn new() -> Self {
            let mut rule = SourceRule::new(vec!["198.51.100.0/24".parse().unwrap()]);
            rule.set_announced(address("203.0.113.1:4000"));
            Self { rule, now: Instant::now() }
        }

        /// One packet, 20 ms after the one before.
        fn packet(&mut self, from: &str, header: RtpHeader) -> Result<Accepted, Refusal> {
            self.now += Duration::from_millis(20);
            self.rule.judge(self.now, address(from), &header, |kind| kind == VOICE)
        }

        fn refused(&mut self, from: &str, header: RtpHeader) -> Refusal {
            self.packet(from, header).expect_err("a packet that is not the call's")
        }
    }

    const ANNOUNCED: &str = "203.0.113.1:4000";
    const GATEWAY: &str = "198.51.100.7:5000";

    #[test]
    fn the_announced_address_is_good_at_once_and_numbers_are_extended_over_the_wrap() {
        let mut call = Call::new();
        let first = call.packet(ANNOUNCED, header(1, 65_534)).unwrap();
        assert!(first.begins);
        for (index, sequence) in [65_535, 0, 1].into_iter().enumerate() {
            let next = call.packet(ANNOUNCED, header(1, sequence)).unwrap();
            assert_eq!(next, Accepted { seq: first.seq + 1 + index as u64, begins: false });
        }
        let overtaken = call.packet(ANNOUNCED, header(1, 65_533)).unwrap();
        assert_eq!(overtaken.seq.next(), first.seq);
    }

    #[test]
    fn nothing_is_taken_before_the_far_end_said_where_it_is() {
        let mut rule = SourceRule::new(vec!["203.0.113.0/24".parse().unwrap()]);
        assert_eq!(rule.may_be_ours(address(ANNOUNCED)), Err(Refusal::Early));
        assert_eq!(rule.judge(Instant::now(), address(ANNOUNCED), &header(1, 1), |_| true), Err(Refusal::Early));
        assert_eq!(rule.destination(), None);
    }

    #[test]
    fn a_foreign_address_is_never_taken_however_long_it_tries() {
        let mut call = Call::new();
        call.packet(ANNOUNCED, header(1, 0)).unwrap();
        for sequence in 0..200 {
            assert_eq!(call.refused("192.0.2.9:4000", header(1, sequence)), Refusal::Address);
            // The announced host's other ports are foreign too.
            assert_eq!(call.refused("203.0.113.1:4002", header(1, sequence)), Refusal::Address);
        }
        assert!(!call.packet(ANNOUNCED, header(1, 1)).unwrap().begins);
    }

    #[test]
    fn one_other_address_of_the_trunk_is_learnt_after_five_packets_in_a_row_and_never_another() {
        let mut call = Call::new();
        for sequence in 10..14 {
            assert_eq!(call.refused(GATEWAY, header(9, sequence)), Refusal::Address);
        }
        assert!(call.packet(GATEWAY, header(9, 14)).unwrap().begins);
        assert!(call.rule.has_learnt());
        for sequence in 0..20 {
            assert_eq!(call.refused("198.51.100.8:5000", header(9, sequence)), Refusal::Address);
            assert_eq!(call.refused("198.51.100.7:5002", header(9, sequence)), Refusal::Address);
        }
        assert!(call.packet(GATEWAY, header(9, 15)).is_ok());
        call.rule.set_announced(address("203.0.113.2:7000"));
        assert!(call.packet(GATEWAY, header(9, 16)).is_ok(), "a new announcement does not take it back");
    }

    #[test]
    fn a_proof_that_breaks_begins_anew() {
        let breaks: [fn(&mut Call); 5] = [
            |call| assert_eq!(call.refused(GATEWAY, header(9, 15)), Refusal::Address),
            |call| assert_eq!(call.refused(GATEWAY, header(9, 13)), Refusal::Address),
            |call| assert_eq!(call.refused(GATEWAY, header(8, 14)), Refusal::Address),
            |call| assert_eq!(call.refused("198.51.100.8:5000", header(9, 14)), Refusal::Address),
            |call| assert_eq!(call.refused("198.51.100.8:5000", header(7, 1)), Refusal::Address),
        ];
        for (index, broken) in breaks.into_iter().enumerate() {
            let mut call = Call::new();
            for sequence in 10..14 {
                call.refused(GATEWAY, header(9, sequence));
            }
            broken(&mut call);
            assert_eq!(call.refused(GATEWAY, header(9, 14)), Refusal::Address, "break {index}");
        }
    }

    #[test]
    fn a_payload_type_that_was_not_agreed_is_refused_and_proves_nothing() {
        let mut call = Call::new();
        for sequence in 0..10 {
            assert_eq!(call.refused(GATEWAY, with_type(PayloadType(96), 9, sequence)), Refusal::PayloadType);
        }
        assert!(!call.rule.has_learnt());
        assert_eq!(call.refused(ANNOUNCED, with_type(PayloadType(0), 1, 0)), Refusal::PayloadType);
    }

    #[test]
    fn another_ssrc_gets_no_word_in_while_the_call_is_alive() {
        let mut call = Call::new();
        for sequence in 0..100 {
            call.packet(ANNOUNCED, header(1, sequence)).unwrap();
            assert_eq!(call.refused(ANNOUNCED, header(666, sequence)), Refusal::Ssrc);
        }
    }

    #[test]
    fn another_ssrc_is_followed_once_the_first_has_stopped() {
        let mut call = Call::new();
        call.packet(ANNOUNCED, header(1, 50)).unwrap();
        let outcomes: Vec<_> = (0..8).map(|n| call.packet(ANNOUNCED, header(2, 900 + n)).ok()).collect();
        let accepted: Vec<bool> = outcomes.iter().map(Option::is_some).collect();
        assert_eq!(accepted, [false, false, false, false, true, true, true, true], "after 100 ms of silence");
        assert!(outcomes[4].unwrap().begins && !outcomes[5].unwrap().begins);
        assert_eq!(call.refused(ANNOUNCED, header(1, 51)), Refusal::Ssrc, "the first is over");
    }

    #[test]
    fn a_jump_within_the_stream_needs_two_numbers_in_a_row() {
        for (to, begins) in [(2_900, false), (3_500, true), (60_000, true)] {
            let mut call = Call::new();
            call.packet(ANNOUNCED, header(1, 100)).unwrap();
            if begins {
                assert_eq!(call.refused(ANNOUNCED, header(1, to)), Refusal::Sequence);
                assert_eq!(call.refused(ANNOUNCED, header(1, to + 7)), Refusal::Sequence, "not the next");
                assert!(call.packet(ANNOUNCED, header(1, to + 8)).unwrap().begins);
            } else {
                assert!(!call.packet(ANNOUNCED, header(1, to)).unwrap().begins);
            }
        }
    }

    #[test]
    fn sound_goes_to_the_announced_address_unless_that_is_hidden_behind_the_learnt_one() {
        for (announced, from, expected) in [
            (ANNOUNCED, GATEWAY, Some(ANNOUNCED)),
            ("10.0.0.5:4000", GATEWAY, Some(GATEWAY)),
            ("10.0.0.5:4000", "10.0.0.6:4000", Some("10.0.0.5:4000")),
            ("0.0.0.0:4000", GATEWAY, None),
            ("203.0.113.1:0", GATEWAY, None),
        ] {
            let networks = ["198.51.100.0/24", "10.0.0.0/8"].map(|network| network.parse().unwrap());
            let mut rule = SourceRule::new(networks.to_vec());
            rule.set_announced(address(announced));
            for sequence in 0..5 {
                rule.judge(Instant::now(), address(from), &header(1, sequence), |_| true).ok();
            }
            assert!(rule.has_learnt(), "{announced}");
            assert_eq!(rule.destination(), expected.map(address), "{announced}");
        }
    }

    #[test]
    fn reports_come_from_the_calls_hosts() {
        let mut call = Call::new();
        assert!(call.rule.is_reporter(address("203.0.113.1:4001")));
        assert!(!call.rule.is_reporter(address("198.51.100.7:5001")));
        for sequence in 0..5 {
            call.packet(GATEWAY, header(9, sequence)).ok();
        }
        assert!(call.rule.is_reporter(address("198.51.100.7:5001")));
        assert!(!call.rule.is_reporter(address("192.0.2.1:4001")));
    }

    #[test]
    fn addresses_are_the_same_on_sockets_of_either_family() {
        let mut call = Call::new();
        assert!(call.packet("[::ffff:203.0.113.1]:4000", header(1, 1)).is_ok());
    }
}
