//! Reception statistics of one stream: RFC 3550 appendices A.1 (numbers), A.3 (loss) and A.8 (jitter), as they go into
//! a report block (section 6.4.1).
//!
//! Repaired packets are not counted: the block tells the publisher what its path loses.
//! Not here: extending sequence numbers (`rtp::seq`), writing RTCP.

use std::time::{Duration, Instant};

use crate::ids::Ssrc;
use crate::rtp::rtcp::ReportBlock;
use crate::rtp::seq::SeqNo;

/// Statistics of one stream.
#[derive(Debug)]
pub struct ReceiveStats {
    clock_rate: u32,
    arrivals: Option<Arrivals>,
    sender_report: Option<(u32, Instant)>,
}

#[derive(Debug)]
struct Arrivals {
    first: SeqNo,
    highest: SeqNo,
    received: u64,
    expected_prior: u64,
    received_prior: u64,
    origin: Instant,
    transit: u32,
    /// Sixteen times the jitter, as in RFC 3550 A.8's integer form.
    jitter_scaled: u32,
}

impl ReceiveStats {
    /// For a stream with this RTP clock.
    #[must_use]
    pub fn new(clock_rate: u32) -> Self {
        Self { clock_rate, arrivals: None, sender_report: None }
    }

    /// A packet came by itself, not as a repair.
    pub fn record(&mut self, now: Instant, seq: SeqNo, timestamp: u32) {
        let Some(arrivals) = &mut self.arrivals else {
            self.arrivals = Some(Arrivals {
                first: seq,
                highest: seq,
                received: 1,
                expected_prior: 0,
                received_prior: 0,
                origin: now,
                transit: 0u32.wrapping_sub(timestamp),
                jitter_scaled: 0,
            });
            return;
        };
        arrivals.received += 1;
        arrivals.highest = arrivals.highest.max(seq);
        let micros = now.saturating_duration_since(arrivals.origin).as_micros();
        let transit = ((micros * u128::from(self.clock_rate) / 1_000_000) as u32).wrapping_sub(timestamp);
        let difference = (transit.wrapping_sub(arrivals.transit) as i32).unsigned_abs();
        arrivals.transit = transit;
        let scaled = u64::from(arrivals.jitter_scaled) + u64::from(difference);
        arrivals.jitter_scaled =
            (scaled - ((u64::from(arrivals.jitter_scaled) + 8) >> 4)).min(u64::from(u32::MAX)) as u32;
    }

    /// A sender report of this stream came.
    pub fn record_sender_report(&mut self, now: Instant, ntp: u64) {
        self.sender_report = Some(((ntp >> 16) as u32, now));
    }

    /// The next report block about `ssrc`; the fraction lost is since the previous call. `None` before the first packet.
    pub fn poll_report(&mut self, now: Instant, ssrc: Ssrc) -> Option<ReportBlock> {
        let arrivals = self.arrivals.as_mut()?;
        let expected = (arrivals.highest.distance(arrivals.first) + 1).max(0) as u64;
        let expected_interval = expected - arrivals.expected_prior;
        let received_interval = arrivals.received - arrivals.received_prior;
        arrivals.expected_prior = expected;
        arrivals.received_prior = arrivals.received;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction_lost = match expected_interval {
            0 => 0,
            expected => (lost_interval * 256 / expected).min(255) as u8,
        };
        let cumulative = expected as i64 - arrivals.received as i64;
        let (last_sr, delay_since_last_sr) = match self.sender_report {
            Some((middle, at)) => (middle, to_compact_ntp(now.saturating_duration_since(at))),
            None => (0, 0),
        };
        Some(ReportBlock {
            ssrc,
            fraction_lost,
            cumulative_lost: cumulative.clamp(-CUMULATIVE_MAX, CUMULATIVE_MAX - 1) as i32,
            // Counts wraps from the first packet on, whatever wrap our own numbers began with.
            highest_sequence: arrivals.highest.0.saturating_sub(arrivals.first.0 & !0xffff) as u32,
            jitter: arrivals.jitter_scaled >> 4,
            last_sr,
            delay_since_last_sr,
        })
    }
}

/// 24 bits with sign (RFC 3550 section 6.4.1).
const CUMULATIVE_MAX: i64 = 1 << 23;

/// A span as the 16.16 seconds of LSR and DLSR; saturates after 18 hours.
#[must_use]
pub fn to_compact_ntp(span: Duration) -> u32 {
    (span.as_nanos() * 65_536 / 1_000_000_000).min(u128::from(u32::MAX)) as u32
}

/// The round trip that a report block about one of our streams proves (RFC 3550 section 6.4.1): `now - LSR - DLSR`, all
/// in 16.16 seconds. `None` when the far side has had no report of ours, or claims an impossible delay.
#[must_use]
pub fn round_trip(now: u32, last_sender_report: u32, delay_since_last: u32) -> Option<Duration> {
    if last_sender_report == 0 {
        return None;
    }
    let units = now.wrapping_sub(last_sender_report).wrapping_sub(delay_since_last);
    // More than half the range is a negative number: the far side's delay is longer than the time that passed.
    if units > u32::MAX / 2 {
        return None;
    }
    Some(Duration::from_nanos(u64::from(units) * 1_000_000_000 / 65_536))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn reports_nothing_before_the_first_packet() {
        assert_eq!(ReceiveStats::new(90_000).poll_report(Instant::now(), Ssrc(1)), None);
    }

    #[test]
    fn counts_loss_by_interval_and_in_total() {
        let start = Instant::now();
        let mut stats = ReceiveStats::new(90_000);
        for seq in (65_536 + 65_500..65_536 + 65_600u64).filter(|seq| seq % 4 != 0) {
            stats.record(start, SeqNo(seq), 0);
        }
        let report = stats.poll_report(start, Ssrc(1)).unwrap();
        // 65536+65500 is itself lost before the first packet: 99 expected, 24 of them lost.
        assert_eq!(report.fraction_lost, (24 * 256 / 99) as u8);
        assert_eq!(report.cumulative_lost, 24);
        assert_eq!(report.highest_sequence, 65_599, "one wrap since the first packet");

        for seq in 65_536 + 65_600..65_536 + 65_700u64 {
            stats.record(start, SeqNo(seq), 0);
        }
        let report = stats.poll_report(start, Ssrc(1)).unwrap();
        assert_eq!(report.fraction_lost, 0);
        assert_eq!(report.cumulative_lost, 24);
        assert_eq!(stats.poll_report(start, Ssrc(1)).unwrap().fraction_lost, 0, "an empty interval");
    }

    #[test]
    fn duplicates_make_the_total_negative_but_never_the_fraction() {
        let start = Instant::now();
        let mut stats = ReceiveStats::new(90_000);
        for seq in [5, 6, 6, 6, 7] {
            stats.record(start, SeqNo(seq), 0);
        }
        let report = stats.poll_report(start, Ssrc(1)).unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (0, -2));
    }

    #[test]
    fn the_total_stays_within_24_bits() {
        let start = Instant::now();
        let mut stats = ReceiveStats::new(90_000);
        stats.record(start, SeqNo(0), 0);
        stats.record(start, SeqNo(1 << 40), 0);
        let report = stats.poll_report(start, Ssrc(1)).unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost), (255, 0x7f_ffff));
    }

    #[test]
    fn a_steady_stream_has_no_jitter_across_a_timestamp_wrap() {
        let start = Instant::now();
        let mut stats = ReceiveStats::new(48_000);
        for packet in 0..100u32 {
            let timestamp = 0xffff_f000u32.wrapping_add(packet * 960);
            stats.record(after(start, u64::from(packet) * 20), SeqNo(u64::from(packet)), timestamp);
        }
        assert_eq!(stats.poll_report(start, Ssrc(1)).unwrap().jitter, 0);
    }

    #[test]
    fn jitter_follows_the_filter_of_rfc_3550() {
        let start = Instant::now();
        let mut stats = ReceiveStats::new(90_000);
        let mut expected = 0.0f64;
        let mut last = None;
        for packet in 0..200u64 {
            let wobble = (packet * 37) % 11;
            stats.record(after(start, packet * 20 + wobble), SeqNo(packet), (packet * 1800) as u32);
            let transit = wobble as f64 * 90.0;
            if let Some(last) = last {
                let difference: f64 = transit - last;
                expected += (difference.abs() - expected) / 16.0;
            }
            last = Some(transit);
        }
        let jitter = f64::from(stats.poll_report(start, Ssrc(1)).unwrap().jitter);
        assert!(expected > 100.0 && (jitter - expected).abs() < 3.0, "{jitter} {expected}");
    }

    #[test]
    fn tells_the_last_sender_report_and_its_age() {
        let start = Instant::now();
        let mut stats = ReceiveStats::new(90_000);
        stats.record(start, SeqNo(1), 0);
        stats.record_sender_report(start, 0x1122_3344_5566_7788);
        let report = stats.poll_report(after(start, 1500), Ssrc(1)).unwrap();
        assert_eq!(report.last_sr, 0x3344_5566);
        assert_eq!(report.delay_since_last_sr, 65_536 + 32_768);
    }

    #[test]
    fn round_trips() {
        let second = 65_536;
        for (now, lsr, dlsr, expected) in [
            (10 * second, 8 * second, second, Some(Duration::from_secs(1))),
            (second, 0u32.wrapping_sub(second), second, Some(Duration::from_secs(1))),
            (10 * second, 0, second, None),
            (10 * second, 9 * second, 2 * second, None),
            (10 * second, 9 * second, second, Some(Duration::ZERO)),
        ] {
            assert_eq!(round_trip(now, lsr, dlsr), expected, "{now} {lsr} {dlsr}");
        }
        assert_eq!(to_compact_ntp(Duration::from_millis(500)), 32_768);
        assert_eq!(to_compact_ntp(Duration::from_secs(1 << 40)), u32::MAX);
    }
}
