//! Junk beside running calls: what do strangers who flood the media port cost those who talk?
//!
//! The same calls twice in one run: first alone, then under junk. What is lost more the second time is the junk's.
//!
//! Among the junk is what was overheard of the calls, sent again from strange addresses; the legs send it again from their
//! own sockets too. Both are as valid as the first time, and the server's counters must show them refused.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tokio::time::{interval, sleep};

use super::Plan;
use super::calls::{Calls, Opening, judge_calls};
use super::shapes::{CONSULTATION_KBIT, camera, pair};
use crate::junk::{Storm, Thrown};
use crate::light::Replayer;
use crate::metrics::{self, Counters};
use crate::overheard::{Overheard, Replays};
use crate::report::Report;
use crate::tally::Shared;
use crate::target::{MediaAddress, Seat, Target};

/// Runs it.
pub(super) async fn run<T: Target>(plan: &Plan, target: T) -> Result<Report> {
    let camera = camera(plan.kbit_per_second.unwrap_or(CONSULTATION_KBIT), 1);
    let rooms = vec![pair(Some(camera)); plan.rooms.unwrap_or(ROOMS)];
    let mut calls = Calls::open(plan, target.clone(), &rooms, Opening::WithMedia).await?;
    let window = calls.measure(plan, "the calls alone").await?;
    let quiet = calls.close(plan, "hostile", Some(&window)).await?;

    let mut calls = Calls::open_sharing(Shared::overhearing(), plan, target, &rooms, Opening::WithMedia).await?;
    let overheard = overhear(&mut calls).await?;
    let replayers: Vec<Replayer> = calls.seats.iter().filter_map(|seated| seated.seat.replayer()).collect();
    let before = counters(plan).await?;
    let per_second = plan.junk.unwrap_or(JUNK);
    let storm = Storm::start(&addresses(&calls), &overheard, per_second)?;
    let mut own = Replays::default();
    let measured = tokio::select! {
        measured = calls.measure(plan, "the calls under junk") => measured,
        error = replay(&replayers, &mut own) => Err(error),
    };
    let thrown = storm.stop();
    let after = counters(plan).await?;
    let mut report = calls.close(plan, "hostile", Some(&measured?)).await?;
    report.add("junk_per_second", thrown.per_second.round());
    report.add("replayed_by_strangers", json!(thrown.replays));
    report.add("replayed_from_own_sockets", json!(own));
    report.add("lost_percent_alone", loss_percent(&quiet));
    report.add("lost_percent_under_junk", loss_percent(&report));
    report.add("one_way_p99_us_alone", quiet.latency_us.p99);
    if let Some(seconds) = quiet.server_cpu_seconds {
        report.add("server_cpu_seconds_alone", seconds);
    }
    if plan.metrics_url.is_some() {
        let grown = metrics::growth(&before, &after);
        judge_replays(&mut report, &grown, thrown.replays, own);
        let dropped = |name: &str| name.contains("drop") || name.contains("filtered");
        let dropped: Counters = grown.into_iter().filter(|(name, _)| dropped(name)).collect();
        report.add("server_drops", json!(dropped));
    }
    judge(&mut report, plan, &quiet, per_second, thrown);
    Ok(report)
}

/// What was overheard of all legs: a little of every class where the engine tells it.
async fn overhear<T: Target>(calls: &mut Calls<T>) -> Result<Vec<Overheard>> {
    let mut overheard = Vec::new();
    for _ in 0..OVERHEAR_LOOKS_MAX {
        overheard.clear();
        for seated in &mut calls.seats {
            overheard.extend(seated.seat.overheard().await?);
        }
        let classes: HashSet<_> = overheard.iter().map(|one| one.class).collect();
        // An engine that tells nothing now will not tell later either.
        if classes.is_empty() || classes.len() == CLASSES {
            break;
        }
        sleep(OVERHEAR_EVERY).await;
    }
    Ok(overheard)
}

/// Lets every leg send again what it sent last, until it fails or is dropped.
async fn replay(replayers: &[Replayer], sent: &mut Replays) -> anyhow::Error {
    let mut turns = interval(REPLAY_EVERY);
    loop {
        turns.tick().await;
        for replayer in replayers {
            match replayer.replay().await {
                Ok(replays) => sent.merge(replays),
                Err(error) => return error,
            }
        }
    }
}

/// Of each kind that was replayed the server must have refused a good part, whatever was lost on the way to it, and no
/// call's media may have gone elsewhere.
fn judge_replays(report: &mut Report, grown: &Counters, strangers: Replays, own: Replays) {
    let counted = |name: &str| grown.get(name).copied().unwrap_or(0);
    let refused = [
        ("checks from strange addresses", strangers.stun, "colloque_drops_total stun_replay"),
        (
            "packets and records from strange addresses",
            strangers.rtp + strangers.rtcp + strangers.dtls,
            "colloque_drops_total unknown_address",
        ),
        ("packets from their own addresses", own.rtp + own.rtcp, "colloque_drops_total srtp_replay"),
    ];
    for (what, sent, name) in refused {
        if (counted(name) as f64) < REFUSED_SHARE_MIN * sent as f64 {
            report.miss(format!("{sent} {what} were sent again, and {name} counts {}", counted(name)));
        }
    }
    let moved = counted("colloque_path_changes_total");
    report.add("server_path_changes", moved);
    if moved > 0 {
        report.miss(format!("{moved} times a call's media went to another address"));
    }
}

fn judge(report: &mut Report, plan: &Plan, quiet: &Report, asked: u32, thrown: Thrown) {
    let sent_per_second = thrown.per_second;
    // Loss is judged by what the junk added, and latency is `consultation`'s to judge.
    let mut standing = report.clone();
    standing.lost = 0;
    judge_calls(&mut standing, plan, f64::INFINITY);
    report.missed = standing.missed;
    if quiet.joins.failed > 0 {
        report.miss(format!("{} joins failed before the junk, none may", quiet.joins.failed));
    }
    let added = loss_percent(report) - loss_percent(quiet);
    report.add("added_loss_percent", added);
    report.limit("packets lost because of junk", Some(added), plan.loss_max(), "%");
    if sent_per_second * 100.0 < plan.limits.junk_min.unwrap_or(JUNK_PERCENT_MIN) * f64::from(asked) {
        report.miss(format!("the generator sent only {sent_per_second:.0} of {asked} junk datagrams a second"));
    }
}

async fn counters(plan: &Plan) -> Result<Counters> {
    match &plan.metrics_url {
        Some(url) => metrics::read(url).await,
        None => Ok(Counters::new()),
    }
}

/// One call's address for each of the server's media ports.
fn addresses<T: Target>(calls: &Calls<T>) -> Vec<MediaAddress> {
    let mut ports = BTreeSet::new();
    let all = calls.seats.iter().filter_map(|seated| seated.seat.media_address());
    all.filter(|media| ports.insert(media.address)).collect()
}

fn loss_percent(report: &Report) -> f64 {
    100.0 * report.lost as f64 / report.packets_forwarded_expected.max(1) as f64
}

/// When nothing else is said.
const ROOMS: usize = 10;
/// Datagrams a second when nothing else is said.
const JUNK: u32 = 100_000;
/// Less was not the test that was asked for.
const JUNK_PERCENT_MIN: f64 = 90.0;
/// The rest may be lost in full receive buffers; under junk that is what loss limits are for.
const REFUSED_SHARE_MIN: f64 = 0.5;
/// As many classes as share a media port.
const CLASSES: usize = 4;
/// Reports, the rarest, go once a second.
const OVERHEAR_LOOKS_MAX: usize = 20;
const OVERHEAR_EVERY: Duration = Duration::from_millis(100);
/// Each leg's last few datagrams: a few percent more of what the calls themselves send.
const REPLAY_EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::super::tests::plan;
    use super::*;

    fn calls(lost: u64) -> Report {
        let (packets_received, packets_forwarded_expected) = (10_000 - lost, 10_000);
        Report { packets_received, packets_forwarded_expected, lost, ..Report::default() }
    }

    fn judged(quiet: u64, under_junk: u64, sent: f64) -> Vec<String> {
        let mut report = calls(under_junk);
        let thrown = Thrown { per_second: sent, replays: Replays::default() };
        judge(&mut report, &plan(), &calls(quiet), 100_000, thrown);
        report.missed
    }

    fn replayed(grown: &[(&str, u64)]) -> Vec<String> {
        let strangers = Replays { stun: 100, dtls: 10, rtp: 100, rtcp: 90 };
        let own = Replays { stun: 8, dtls: 8, rtp: 60, rtcp: 40 };
        let mut report = Report::default();
        let grown = grown.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        judge_replays(&mut report, &grown, strangers, own);
        report.missed
    }

    #[test]
    fn replays_must_be_counted_as_refused() {
        let [check, address, packet] =
            ["stun_replay", "unknown_address", "srtp_replay"].map(|reason| format!("colloque_drops_total {reason}"));
        assert_eq!(replayed(&[(&check, 99), (&address, 9_000), (&packet, 100)]), [""; 0]);
        assert_eq!(
            replayed(&[(&address, 150), (&packet, 20)]),
            [
                "100 checks from strange addresses were sent again, and colloque_drops_total stun_replay counts 0",
                "100 packets from their own addresses were sent again, and colloque_drops_total srtp_replay counts 20",
            ]
        );
        let moved = [(&*check, 99), (&*address, 9_000), (&*packet, 100), ("colloque_path_changes_total", 2)];
        assert_eq!(replayed(&moved), ["2 times a call's media went to another address"]);
    }

    #[test]
    fn only_what_the_junk_added_counts() {
        assert!(judged(0, 10, 100_000.0).is_empty());
        assert!(judged(30, 35, 100_000.0).is_empty());
        assert_eq!(judged(0, 20, 100_000.0), ["packets lost because of junk 0.200 %, at most 0.100 %"]);
    }

    #[test]
    fn less_junk_than_asked_for_is_no_result() {
        assert_eq!(judged(0, 0, 50_000.0), ["the generator sent only 50000 of 100000 junk datagrams a second"]);
    }
}
