//! The clocks behind our sender reports (RFC 3550 section 6.4.1), and what a receiver's reports tell of loss and delay.
//!
//! Lips stay in sync because both streams of a seat are reported on one clock: [`SeatClock`] is the distance between
//! the publisher's clock and ours, measured once for all of its streams. A moment at which a publisher captured sound
//! and picture is thus the same NTP time in both of our reports, whatever offsets their RTP timestamps got.
//!
//! Not here: writing RTCP (`rtp::rtcp`), the offsets (`rewriter`).

use std::time::{Duration, Instant};

use crate::ids::Ssrc;
use crate::rtp::rtcp::{ReportBlock, SenderInfo};

/// Seconds since 1900 as 32.32 fixed point (RFC 5905 section 6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// The middle 32 bits, as reports echo them.
    #[must_use]
    pub fn compact(self) -> u32 {
        (self.0 >> 16) as u32
    }

    /// 6.18 fixed point, 24 bits: the abs-send-time extension.
    #[must_use]
    pub fn abs_send_time(self) -> [u8; 3] {
        let [_, high, middle, low] = ((self.0 >> 14) as u32).to_be_bytes();
        [high, middle, low]
    }

    /// This time moved by a wrapping 32.32 difference.
    fn shifted(self, difference: i64) -> Self {
        Self(self.0.wrapping_add_signed(difference))
    }

    /// Wrapping 32.32 difference, positive when this is later.
    fn since(self, earlier: NtpTime) -> i64 {
        self.0.wrapping_sub(earlier.0) as i64
    }
}

/// How `Instant`s map to NTP time: read once when the `Sfu` is made, so that the wall clock may jump afterwards.
#[derive(Clone, Copy, Debug)]
pub struct NtpReference {
    /// A moment.
    pub instant: Instant,
    /// The same moment in NTP time.
    pub ntp: NtpTime,
}

impl NtpReference {
    /// The NTP time of a moment.
    #[must_use]
    pub fn at(&self, now: Instant) -> NtpTime {
        match now.checked_duration_since(self.instant) {
            Some(after) => self.ntp.shifted(to_ntp(after)),
            None => self.ntp.shifted(-to_ntp(self.instant - now)),
        }
    }
}

/// One reading of a stream's clock: this NTP time is this RTP timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClockMapping {
    /// On the clock of who made the reading.
    pub ntp: NtpTime,
    /// On the stream it was made for.
    pub rtp: u32,
}

impl ClockMapping {
    /// The RTP timestamp of another time on the same clock.
    #[must_use]
    pub fn rtp_at(&self, ntp: NtpTime, clock_rate: u32) -> u32 {
        // To the nearest tick: there and back must give the same timestamp.
        let ticks = (i128::from(ntp.since(self.ntp)) * i128::from(clock_rate) + (1 << 31)) >> 32;
        self.rtp.wrapping_add(ticks as u32)
    }

    /// The time of another timestamp of the same stream, within half a wrap.
    #[must_use]
    pub fn ntp_at(&self, rtp: u32, clock_rate: u32) -> NtpTime {
        let ticks = i64::from(rtp.wrapping_sub(self.rtp) as i32);
        self.ntp.shifted((i128::from(ticks) * (1 << 32) / i128::from(clock_rate.max(1))) as i64)
    }
}

/// The distance between one publishing leg's clock and ours, the same for all of its streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SeatClock {
    /// Ours minus theirs, once known.
    offset: Option<i64>,
}

impl SeatClock {
    /// Of a publisher that reads our clock.
    pub const OURS: SeatClock = SeatClock { offset: Some(0) };

    /// A sender report of any of the leg's streams came. The first one decides: measuring again would move sound
    /// against picture. Only a clock that was set (a jump of more than [`CLOCK_ERROR_MAX`]) is measured anew.
    pub fn record_sender_report(&mut self, arrived: NtpTime, theirs: NtpTime) {
        let offset = arrived.since(theirs);
        let jumped = |kept: i64| offset.wrapping_sub(kept).unsigned_abs() > to_ntp(CLOCK_ERROR_MAX) as u64;
        if self.offset.is_none_or(jumped) {
            self.offset = Some(offset);
        }
    }

    /// The publisher's time at one of ours.
    fn theirs(&self, ours: NtpTime) -> Option<NtpTime> {
        Some(ours.shifted(self.offset?.wrapping_neg()))
    }
}

/// Totals of one egress stream, without retransmissions on a stream of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EgressStats {
    /// RTP packets.
    pub packets: u64,
    /// Payload bytes, without headers.
    pub octets: u64,
    /// Packets sent again.
    pub resent: u64,
}

/// What a report's timestamp is extrapolated from, best first.
#[derive(Clone, Copy, Debug)]
pub struct ReportBasis {
    /// The publisher's clock against egress timestamps.
    pub clock: Option<ClockMapping>,
    /// The latest egress timestamp and when its packet reached us: takes capture for arrival.
    pub latest: Option<(u32, Instant)>,
    /// Hz.
    pub clock_rate: u32,
}

/// Makes the sender reports of one egress stream.
#[derive(Clone, Debug)]
pub struct SenderReporter {
    ssrc: Ssrc,
    stats: EgressStats,
    /// When the next report is due; `None` until there is something to report.
    due: Option<Instant>,
}

impl SenderReporter {
    /// Nothing sent yet.
    #[must_use]
    pub fn new(ssrc: Ssrc) -> Self {
        Self { ssrc, stats: EgressStats::default(), due: None }
    }

    /// A packet was sent.
    #[inline]
    pub fn record_sent(&mut self, now: Instant, payload_len: usize) {
        self.stats.packets += 1;
        self.stats.octets += payload_len as u64;
        self.due.get_or_insert(now);
    }

    /// A packet was sent again.
    pub fn record_resent(&mut self) {
        self.stats.resent += 1;
    }

    /// Another source began: the receiver must learn the new clocks at once, or lips run apart until the next report.
    pub fn set_due(&mut self, now: Instant) {
        self.due = self.due.map(|_| now);
    }

    /// Totals so far.
    #[must_use]
    pub fn stats(&self) -> EgressStats {
        self.stats
    }

    /// The report, when one is due.
    pub fn poll(
        &mut self,
        now: Instant,
        reference: &NtpReference,
        seat: &SeatClock,
        basis: ReportBasis,
    ) -> Option<SenderInfo> {
        if self.due.is_none_or(|due| due > now) {
            return None;
        }
        let ntp = reference.at(now);
        let by_clock = basis.clock.zip(seat.theirs(ntp)).map(|(clock, theirs)| clock.rtp_at(theirs, basis.clock_rate));
        let by_arrival = || {
            let (timestamp, arrived) = basis.latest?;
            let arrived = ClockMapping { ntp: reference.at(arrived), rtp: timestamp };
            Some(arrived.rtp_at(ntp, basis.clock_rate))
        };
        let rtp_timestamp = by_clock.or_else(by_arrival)?;
        self.due = Some(now + REPORT_INTERVAL);
        Some(SenderInfo {
            ssrc: self.ssrc,
            ntp: ntp.0,
            rtp_timestamp,
            // Both counters wrap on the wire (RFC 3550 section 6.4.1).
            packets: self.stats.packets as u32,
            octets: self.stats.octets as u32,
        })
    }
}

/// What the receiver says of one of our streams.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReceiverFacts {
    loss: f32,
    rtt: Option<Duration>,
}

impl ReceiverFacts {
    /// Reads the block of a receiver report about our stream.
    pub fn handle_report(&mut self, now: NtpTime, block: &ReportBlock) {
        self.loss = f32::from(block.fraction_lost) / 256.0;
        if block.last_sr == 0 {
            return;
        }
        let units = now.compact().wrapping_sub(block.last_sr).wrapping_sub(block.delay_since_last_sr);
        let rtt = Duration::from_micros(u64::from(units) * 1_000_000 / 65_536);
        if rtt > RTT_MAX {
            // Also what a round trip below the clocks' resolution looks like when it comes out negative.
            return;
        }
        self.rtt = Some(match self.rtt {
            Some(smoothed) => (smoothed * 7 + rtt) / 8,
            None => rtt,
        });
    }

    /// Fraction lost between the last two reports, 0 to 1.
    #[must_use]
    pub fn loss(&self) -> f32 {
        self.loss
    }

    /// Smoothed round trip, once a report echoed one of ours.
    #[must_use]
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }
}

/// As a 32.32 difference; saturates at 68 years.
fn to_ntp(span: Duration) -> i64 {
    let seconds = span.as_secs().min(i32::MAX as u64) as i64;
    (seconds << 32) | ((i64::from(span.subsec_nanos()) << 32) / 1_000_000_000)
}

/// Higher: lips may run apart for longer after a loss; lower: more packets. RFC 3550's 5 s minimum is for multicast.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Far beyond network jitter and drift, far below a clock that was set.
const CLOCK_ERROR_MAX: Duration = Duration::from_secs(5);

/// A round trip beyond this is a receiver's mistake: satellite links stay below 1 s.
const RTT_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1 << 32;

    fn reference() -> NtpReference {
        NtpReference { instant: Instant::now(), ntp: NtpTime(3_900_000_000 * SECOND) }
    }

    #[test]
    fn instants_map_to_ntp_both_ways_round() {
        let reference = reference();
        let later = reference.at(reference.instant + Duration::from_millis(1500));
        assert_eq!(later.0, reference.ntp.0 + SECOND * 3 / 2);
        assert_eq!(NtpTime(SECOND).abs_send_time(), [4, 0, 0]);
        assert_eq!(NtpTime(SECOND).compact(), 1 << 16);
    }

    #[test]
    fn a_clock_reading_extends_both_ways_and_over_the_wrap() {
        let clock = ClockMapping { ntp: NtpTime(10 * SECOND), rtp: 100 };
        assert_eq!(clock.rtp_at(NtpTime(11 * SECOND), 90_000), 90_100);
        assert_eq!(clock.rtp_at(NtpTime(9 * SECOND), 90_000), 100u32.wrapping_sub(90_000));
        assert_eq!(clock.ntp_at(100u32.wrapping_sub(45_000), 90_000), NtpTime(10 * SECOND - SECOND / 2));
    }

    #[test]
    fn sound_and_picture_of_one_moment_get_one_ntp_time() {
        let reference = reference();
        let start = reference.instant;
        // The publisher's clock is 1000 s behind ours; its reports arrive with different delays.
        let theirs = |at: Duration| NtpTime(reference.at(start + at).0 - 1000 * SECOND);
        let mut seat = SeatClock::default();
        seat.record_sender_report(reference.at(start + Duration::from_millis(30)), theirs(Duration::ZERO));
        seat.record_sender_report(reference.at(start + Duration::from_millis(390)), theirs(Duration::from_millis(300)));
        let report = |rate, rtp, at| {
            let mut reporter = SenderReporter::new(Ssrc(1));
            reporter.record_sent(start, 100);
            let clock = Some(ClockMapping { ntp: theirs(Duration::ZERO), rtp });
            let basis = ReportBasis { clock, latest: None, clock_rate: rate };
            reporter.poll(start + at, &reference, &seat, basis).unwrap()
        };
        let voice = report(48_000, 5000, Duration::from_secs(2));
        let face = report(90_000, 900_000, Duration::from_secs(3));
        // Both say when the moment of the publisher's first reports was, on our clock.
        let moment = |info: &SenderInfo, rtp, rate| {
            ClockMapping { ntp: NtpTime(info.ntp), rtp: info.rtp_timestamp }.ntp_at(rtp, rate)
        };
        let apart = moment(&voice, 5000, 48_000).since(moment(&face, 900_000, 90_000)).unsigned_abs();
        assert!(apart < SECOND / 10_000, "{apart}");
    }

    #[test]
    fn a_publisher_clock_that_was_set_is_measured_anew() {
        let mut seat = SeatClock::default();
        seat.record_sender_report(NtpTime(100 * SECOND), NtpTime(50 * SECOND));
        seat.record_sender_report(NtpTime(101 * SECOND), NtpTime(52 * SECOND));
        assert_eq!(seat.theirs(NtpTime(100 * SECOND)), Some(NtpTime(50 * SECOND)));
        seat.record_sender_report(NtpTime(102 * SECOND), NtpTime(2 * SECOND));
        assert_eq!(seat.theirs(NtpTime(100 * SECOND)), Some(NtpTime(0)));
    }

    #[test]
    fn reports_come_every_second_and_at_once_after_a_new_source() {
        let reference = reference();
        let start = reference.instant;
        let basis = ReportBasis { clock: None, latest: Some((1000, start)), clock_rate: 90_000 };
        let mut reporter = SenderReporter::new(Ssrc(7));
        let seat = SeatClock::default();
        assert!(reporter.poll(start, &reference, &seat, basis).is_none(), "nothing was sent");
        reporter.record_sent(start, 10);
        reporter.record_sent(start, 20);
        let later = start + Duration::from_millis(100);
        let info = reporter.poll(later, &reference, &seat, basis).unwrap();
        assert_eq!((info.packets, info.octets), (2, 30));
        assert_eq!(info.rtp_timestamp, 10_000);
        assert!(reporter.poll(later, &reference, &seat, basis).is_none());
        reporter.set_due(later);
        assert!(reporter.poll(later, &reference, &seat, basis).is_some());
        assert!(reporter.poll(later + REPORT_INTERVAL, &reference, &seat, basis).is_some());
    }

    #[test]
    fn receiver_reports_give_loss_and_round_trip() {
        let mut facts = ReceiverFacts::default();
        let mut block = ReportBlock {
            ssrc: Ssrc(1),
            fraction_lost: 64,
            cumulative_lost: 1,
            highest_sequence: 0,
            jitter: 0,
            last_sr: 0,
            delay_since_last_sr: 0,
        };
        facts.handle_report(NtpTime(100 * SECOND), &block);
        assert_eq!((facts.loss(), facts.rtt()), (0.25, None));
        block.last_sr = NtpTime(99 * SECOND).compact();
        block.delay_since_last_sr = 65_536 / 2;
        facts.handle_report(NtpTime(100 * SECOND), &block);
        assert_eq!(facts.rtt(), Some(Duration::from_millis(500)));
        // A report from the future is not a round trip of 18 hours.
        block.last_sr = NtpTime(101 * SECOND).compact();
        facts.handle_report(NtpTime(100 * SECOND), &block);
        assert_eq!(facts.rtt(), Some(Duration::from_millis(500)));
    }
}
