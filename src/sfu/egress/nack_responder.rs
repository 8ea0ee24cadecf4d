//! Answers a receiver's NACK (RFC 4585 section 6.2.1): which cached packet an egress number stood for, and whether it
//! may be sent again now.
//!
//! Holds no packets: those are the publisher's shared `PacketCache`. Not here: reading RTCP, writing (`packet_writer`).
//! Bounds: a ring of numbers, not twice within a round trip, and a share of the media's own bytes.

use std::time::{Duration, Instant};

use crate::rtp::codec::MediaKind;
use crate::rtp::seq::SeqNo;
use crate::sfu::ingress::{LayerIndex, PacketMeta};

use super::forwarder::{Outgoing, Stamp};

/// A packet as it was sent.
#[derive(Clone, Copy, Debug)]
struct Entry {
    outgoing: Outgoing,
    ingress: SeqNo,
    stamp: Stamp,
    layer: LayerIndex,
    epoch: u8,
    resent: Option<Instant>,
}

/// A packet to fetch from the cache of `layer` and to send again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resend {
    /// Whose cache.
    pub layer: LayerIndex,
    /// Number there.
    pub ingress: SeqNo,
    /// How it was sent the first time.
    pub kind: ResendKind,
}

/// Whether a packet was sent before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResendKind {
    /// Yes, like this.
    Again {
        /// Its numbers.
        outgoing: Outgoing,
        /// The stamp of the first time: without RTX the same bytes must be sent again.
        stamp: Stamp,
        /// SSRC count of the layer at the time.
        epoch: u8,
    },
    /// No: it came before the keyframe's first packet, or not at all until now.
    First,
}

/// What is known of a number that the receiver misses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NackVerdict {
    /// Send it again.
    Resend(Resend),
    /// It was not sent under this number, as far as is remembered.
    Unknown,
    /// Sent again a moment ago, or the share is used up.
    Refused,
}

/// The memory of one egress stream's numbers.
#[derive(Clone, Debug)]
pub struct NackResponder {
    /// A power of two.
    len_max: usize,
    /// Empty until the first packet.
    entries: Box<[Option<Entry>]>,
    /// Bytes that may be sent again now.
    credit: usize,
}

impl NackResponder {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(kind: MediaKind) -> Self {
        let len_max = match kind {
            MediaKind::Audio => AUDIO_LEN_MAX,
            MediaKind::Video => VIDEO_LEN_MAX,
        };
        Self { len_max, entries: Box::default(), credit: CREDIT_FIRST }
    }

    /// A packet was sent for the first time.
    #[inline]
    pub fn record_sent(&mut self, meta: &PacketMeta, outgoing: &Outgoing, stamp: Stamp, len: usize) {
        if self.entries.is_empty() {
            self.entries = vec![None; self.len_max].into_boxed_slice();
        }
        self.credit = (self.credit + len / SHARE_DIVISOR).min(CREDIT_MAX);
        let slot = self.slot(outgoing.seq);
        let (layer, epoch) = (meta.layer, meta.epoch);
        self.entries[slot] = Some(Entry { outgoing: *outgoing, ingress: meta.seq, stamp, layer, epoch, resent: None });
    }

    /// The receiver misses `seq`. `rtt` is the round trip, when known.
    #[must_use]
    pub fn handle_nack(&self, now: Instant, seq: SeqNo, rtt: Option<Duration>) -> NackVerdict {
        let Some(entry) = self.entry(seq) else { return NackVerdict::Unknown };
        let wait = rtt.unwrap_or(RTT_GUESS).max(RESEND_INTERVAL_MIN);
        let recent = entry.resent.is_some_and(|resent| now.saturating_duration_since(resent) < wait);
        if recent || self.credit == 0 {
            return NackVerdict::Refused;
        }
        let kind = ResendKind::Again { outgoing: entry.outgoing, stamp: entry.stamp, epoch: entry.epoch };
        NackVerdict::Resend(Resend { layer: entry.layer, ingress: entry.ingress, kind })
    }

    /// A packet was sent again.
    pub fn record_resent(&mut self, now: Instant, seq: SeqNo, len: usize) {
        self.credit = self.credit.saturating_sub(len);
        if self.entry(seq).is_some() {
            let slot = self.slot(seq);
            if let Some(entry) = &mut self.entries[slot] {
                entry.resent = Some(now);
            }
        }
    }

    /// Forgets every number: the cache behind them is another one now.
    pub fn clear(&mut self) {
        self.entries.fill(None);
    }

    fn entry(&self, seq: SeqNo) -> Option<&Entry> {
        let entry = self.entries.get(self.slot(seq))?.as_ref()?;
        (entry.outgoing.seq == seq).then_some(entry)
    }

    fn slot(&self, seq: SeqNo) -> usize {
        seq.0 as usize & (self.len_max - 1)
    }
}

/// Numbers remembered for video; the cache keeps half a second to a second, in which 5 Mbit/s are 500 packets. Higher: memory
/// a viewer (66 bytes each).
const VIDEO_LEN_MAX: usize = 512;
/// A second of 20 ms packets; the cache keeps less.
const AUDIO_LEN_MAX: usize = 64;
/// One byte may be sent again for so many sent: repairs a loss of a third. Lower: a lossy path is flooded.
const SHARE_DIVISOR: usize = 2;
/// Credit before the first packet: a lost first keyframe can be repaired whole.
const CREDIT_FIRST: usize = 32 * 1024;
/// Longest burst of retransmissions. Higher: it may overrun a slow link's queue.
const CREDIT_MAX: usize = 96 * 1024;
/// Until a report tells: a receiver that asks again sooner has not waited for the answer.
const RTT_GUESS: Duration = Duration::from_millis(50);
/// Receivers ask at most every 20 ms; on a fast path one doubled answer costs little.
const RESEND_INTERVAL_MIN: Duration = Duration::from_millis(15);
