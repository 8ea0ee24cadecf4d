//! A call's reports (RFC 3550 section 6): what we tell the telephone of its sound, and what it tells of ours.
//!
//! Not here: sockets, SRTCP, what silence means (`pulse`), the score (`quality`). Pure: instants and bytes in, bytes out.

use std::time::{Duration, Instant};

use colloque_sound::Codec;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::ids::Ssrc;
use crate::rtp::rtcp::{CompoundWriter, ReportIter, Rtcp, SenderInfo, packets};
use crate::rtp::seq::SeqNo;
use crate::sfu::egress::NtpReference;
use crate::sfu::ingress::receive_stats::{ReceiveStats, round_trip};

/// A call's reports.
pub struct Reports {
    ssrc: Ssrc,
    cname: String,
    ntp: NtpReference,
    clock_hz: u32,
    received: ReceiveStats,
    heard: Option<Ssrc>,
    sent_packets: u32,
    sent_octets: u32,
    sent_since_report: bool,
    due: Instant,
    rng: StdRng,
    path: PathFacts,
}

/// What both ends' reports say of the path. Zero until they say something.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct PathFacts {
    /// There and back.
    pub round_trip: Option<Duration>,
    /// Part of the telephone's packets that did not come, 0 to 1, in the last interval.
    pub lost_in: f64,
    /// Part of our packets that the telephone missed, as it says.
    pub lost_out: f64,
    /// How unevenly the telephone's packets come.
    pub jitter_in: Duration,
    /// How unevenly ours get there, as it says.
    pub jitter_out: Duration,
}

impl Reports {
    /// For a call that sends as `ssrc`. The seed makes the canonical name and spreads the reports of many calls.
    #[must_use]
    pub fn new(now: Instant, ssrc: Ssrc, ntp: NtpReference, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        // Random, so that it tells nothing (RFC 7022 section 4.2).
        let cname = format!("{:016x}", rng.random::<u64>());
        let clock_hz = Codec::Pcma.clock_hz();
        let due = now + interval(&mut rng) / 2;
        Self {
            ssrc,
            cname,
            ntp,
            clock_hz,
            received: ReceiveStats::new(clock_hz),
            heard: None,
            sent_packets: 0,
            sent_octets: 0,
            sent_since_report: false,
            due,
            rng,
            path: PathFacts::default(),
        }
    }

    /// The RTP clock of the agreed codec.
    pub fn set_clock(&mut self, clock_hz: u32) {
        if clock_hz != self.clock_hz {
            self.clock_hz = clock_hz;
            self.received = ReceiveStats::new(clock_hz);
        }
    }

    /// A packet of the telephone was accepted, which `arrived` then. `begins`: of another stream than before.
    pub fn record_received(&mut self, arrived: Instant, ssrc: Ssrc, seq: SeqNo, timestamp: u32, begins: bool) {
        if begins {
            self.received = ReceiveStats::new(self.clock_hz);
            self.heard = Some(ssrc);
        }
        self.received.record(arrived, seq, timestamp);
    }

    /// A packet was sent, with that many bytes of payload.
    pub fn record_sent(&mut self, octets: usize) {
        self.sent_packets = self.sent_packets.wrapping_add(1);
        self.sent_octets = self.sent_octets.wrapping_add(octets as u32);
        self.sent_since_report = true;
    }

    /// A compound packet from one of the call's hosts. True when it is one: the far end is alive.
    pub fn handle_compound(&mut self, now: Instant, compound: &[u8]) -> bool {
        let mut alive = false;
        for packet in packets(compound) {
            match packet {
                Ok(Rtcp::SenderReport { ssrc, ntp, reports, .. }) => {
                    if Some(ssrc) == self.heard {
                        self.received.record_sender_report(now, ntp);
                    }
                    self.read_reports(now, reports);
                    alive = true;
                }
                Ok(Rtcp::ReceiverReport { reports, .. }) => {
                    self.read_reports(now, reports);
                    alive = true;
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        alive
    }

    fn read_reports(&mut self, now: Instant, reports: ReportIter<'_>) {
        for report in reports.filter(|report| report.ssrc == self.ssrc) {
            self.path.lost_out = f64::from(report.fraction_lost) / 256.0;
            self.path.jitter_out = ticks(report.jitter, self.clock_hz);
            let now = self.ntp.at(now).compact();
            let measured = round_trip(now, report.last_sr, report.delay_since_last_sr);
            // A report may claim anything; no call lives with more.
            self.path.round_trip = measured.filter(|&span| span <= ROUND_TRIP_MAX).or(self.path.round_trip);
        }
    }

    /// The next report when it is due: a sender report if something was sent since the last, and a canonical name.
    /// `rtp_timestamp` is that of a frame sent at `now`. Returns its length in the front of `out`.
    pub fn poll_report(&mut self, now: Instant, rtp_timestamp: u32, out: &mut [u8]) -> Option<usize> {
        if now < self.due {
            return None;
        }
        self.due = now + interval(&mut self.rng);
        self.write(now, rtp_timestamp, out, false)
    }

    /// The last report, with a goodbye.
    pub fn write_goodbye(&mut self, now: Instant, rtp_timestamp: u32, out: &mut [u8]) -> Option<usize> {
        self.write(now, rtp_timestamp, out, true)
    }

    fn write(&mut self, now: Instant, rtp_timestamp: u32, out: &mut [u8], goodbye: bool) -> Option<usize> {
        let block = self.heard.and_then(|ssrc| self.received.poll_report(now, ssrc));
        if let Some(block) = block {
            self.path.lost_in = f64::from(block.fraction_lost) / 256.0;
            self.path.jitter_in = ticks(block.jitter, self.clock_hz);
        }
        let mut writer = CompoundWriter::new(out);
        let written = if std::mem::take(&mut self.sent_since_report) {
            let sender = SenderInfo {
                ssrc: self.ssrc,
                ntp: self.ntp.at(now).0,
                rtp_timestamp,
                packets: self.sent_packets,
                octets: self.sent_octets,
            };
            writer.sender_report(sender, block)
        } else {
            writer.receiver_report(self.ssrc, block)
        };
        let whole = written && writer.sdes_cname(self.ssrc, self.cname.as_bytes());
        let whole = whole && (!goodbye || writer.bye(&[self.ssrc]));
        whole.then_some(writer.len())
    }

    /// What is known of the path. Our own figures are those of the last report that was due.
    #[must_use]
    pub fn path(&self) -> PathFacts {
        self.path
    }
}

fn ticks(count: u32, clock_hz: u32) -> Duration {
    Duration::from_nanos(u64::from(count) * 1_000_000_000 / u64::from(clock_hz.max(1)))
}

/// RFC 3550 section 6.2: five seconds, and section 6.3.1: half to one and a half of it.
fn interval(rng: &mut StdRng) -> Duration {
    INTERVAL.mul_f64(rng.random_range(0.5..1.5))
}

const INTERVAL: Duration = Duration::from_secs(5);
const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);
/// Longest compound that [`Reports`] writes: sender report with a block, canonical name, goodbye.
pub const REPORT_LEN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use rtc_rtcp::packet::unmarshal;
    use rtc_rtcp::receiver_report::ReceiverReport;
    use rtc_rtcp::sender_report::SenderReport;

    use super::*;
    use crate::sfu::egress::NtpTime;

    const OURS: Ssrc = Ssrc(0x1111);
    const THEIRS: Ssrc = Ssrc(0x2222);

    fn reports(start: Instant) -> Reports {
        Reports::new(start, OURS, NtpReference { instant: start, ntp: NtpTime(0x1234 << 32) }, 7)
    }

    fn report(reports: &mut Reports, now: Instant) -> Option<Vec<u8>> {
        let mut out = [0; REPORT_LEN_MAX];
        reports.poll_report(now, 4_000, &mut out).map(|len| out[..len].to_vec())
    }

    /// The first kind of packet in the compound, and its blocks, as another implementation reads them.
    fn read(compound: &[u8]) -> (bool, Vec<rtc_rtcp::reception_report::ReceptionReport>) {
        let all = unmarshal(&mut &compound[..]).expect("a compound that others can read");
        let first = all[0].as_any();
        match first.downcast_ref::<SenderReport>() {
            Some(sender) => (true, sender.reports.clone()),
            None => (false, first.downcast_ref::<ReceiverReport>().expect("a report first").reports.clone()),
        }
    }

    #[test]
    fn reports_are_due_about_every_five_seconds_and_not_at_once_for_all_calls() {
        let start = Instant::now();
        let mut dues = Vec::new();
        for seed in 0..50 {
            let ntp = NtpReference { instant: start, ntp: NtpTime(0) };
            let mut reports = Reports::new(start, OURS, ntp, seed);
            let seconds: Vec<u64> = (0..6_000)
                .filter(|&tick| report(&mut reports, start + Duration::from_millis(tick * 20)).is_some())
                .collect();
            assert!((20..30).contains(&seconds.len()), "{} in two minutes", seconds.len());
            dues.push(seconds[0]);
        }
        dues.sort_unstable();
        dues.dedup();
        assert!(dues.len() > 30, "{dues:?}");
    }

    #[test]
    fn who_sends_reports_as_a_sender_and_tells_what_it_lost() {
        let start = Instant::now();
        let mut reports = reports(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        for seq in (0..100u64).filter(|seq| seq % 10 != 3) {
            let arrived = start + Duration::from_millis(seq * 20);
            reports.record_received(arrived, THEIRS, SeqNo(65_536 + seq), seq as u32 * 160, seq == 0);
        }
        reports.record_sent(160);
        let (is_sender, blocks) = read(&report(&mut reports, at(10)).unwrap());
        assert!(is_sender);
        assert_eq!((blocks.len(), blocks[0].ssrc, blocks[0].total_lost), (1, THEIRS.0, 10));
        assert!((reports.path().lost_in - 0.1).abs() < 0.01 && reports.path().jitter_in < Duration::from_millis(1));
        let (is_sender, _) = read(&report(&mut reports, at(20)).unwrap());
        assert!(!is_sender, "nothing was sent since");
    }

    #[test]
    fn another_stream_begins_its_own_figures() {
        let start = Instant::now();
        let mut reports = reports(start);
        reports.record_received(start, THEIRS, SeqNo(65_536 + 7), 0, true);
        reports.record_received(start, Ssrc(5), SeqNo(65_536 + 40_000), 0, true);
        let (_, blocks) = read(&report(&mut reports, start + Duration::from_secs(10)).unwrap());
        assert_eq!((blocks[0].ssrc, blocks[0].total_lost, blocks[0].fraction_lost), (5, 0, 0));
    }

    #[test]
    fn two_calls_that_report_to_each_other_measure_the_round_trip_and_the_loss() {
        let start = Instant::now();
        let ntp = NtpReference { instant: start, ntp: NtpTime(99 << 32) };
        let (mut one, mut other) = (Reports::new(start, OURS, ntp, 1), Reports::new(start, THEIRS, ntp, 2));
        for seq in 0..100u64 {
            one.record_sent(160);
            if seq % 4 != 1 {
                other.record_received(start, OURS, SeqNo(65_536 + seq), seq as u32 * 160, seq == 0);
            }
        }
        let sent = start + Duration::from_secs(20);
        let there = report(&mut one, sent).unwrap();
        assert!(other.handle_compound(sent + Duration::from_millis(40), &there));
        let back = report(&mut other, sent + Duration::from_millis(90)).unwrap();
        assert!(one.handle_compound(sent + Duration::from_millis(150), &back));
        let path = one.path();
        let round = path.round_trip.unwrap();
        assert!(round.abs_diff(Duration::from_millis(100)) < Duration::from_millis(1), "{round:?}");
        assert!((path.lost_out - 0.25).abs() < 0.01, "{path:?}");
    }

    #[test]
    fn reports_of_others_and_impossible_ones_change_nothing() {
        let start = Instant::now();
        let mut reports = reports(start);
        let block = |ssrc, last_sr| crate::rtp::rtcp::ReportBlock {
            ssrc,
            fraction_lost: 255,
            cumulative_lost: 0,
            highest_sequence: 0,
            jitter: 0,
            last_sr,
            delay_since_last_sr: 0,
        };
        let mut out = [0; 64];
        let mut writer = CompoundWriter::new(&mut out);
        assert!(writer.receiver_report(THEIRS, [block(Ssrc(3), 1)]));
        let len = writer.len();
        assert!(reports.handle_compound(start, &out[..len]), "a report is a sign of life all the same");
        assert_eq!(reports.path(), PathFacts::default());
        let mut writer = CompoundWriter::new(&mut out);
        assert!(writer.receiver_report(THEIRS, [block(OURS, 1)]));
        let len = writer.len();
        reports.handle_compound(start, &out[..len]);
        assert_eq!(reports.path().round_trip, None, "an hour there and back");
        for junk in [&[][..], &[0x80], &[0; 40], &[0xff; 200]] {
            assert!(!reports.handle_compound(start, junk));
        }
    }

    #[test]
    fn a_goodbye_is_a_whole_compound() {
        let start = Instant::now();
        let mut reports = reports(start);
        reports.record_received(start, THEIRS, SeqNo(65_536), 0, true);
        reports.record_sent(160);
        let mut out = [0; REPORT_LEN_MAX];
        let len = reports.write_goodbye(start, 0, &mut out).unwrap();
        let goodbyes = packets(&out[..len]).filter(|packet| matches!(packet, Ok(Rtcp::Bye { .. }))).count();
        assert_eq!((goodbyes, read(&out[..len]).0), (1, true));
    }
}
