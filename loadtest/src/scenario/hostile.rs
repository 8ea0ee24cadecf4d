//! Junk beside running calls: what do strangers who flood the media port cost those who talk?
//!
//! The same calls twice in one run: first alone, then under junk. What is lost more the second time is the junk's.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::json;

use super::Plan;
use super::calls::{Calls, Opening, judge_calls};
use super::shapes::{CONSULTATION_KBIT, camera, pair};
use crate::junk::Storm;
use crate::metrics::{self, Counters};
use crate::report::Report;
use crate::target::{MediaAddress, Seat, Target};

/// Runs it.
pub(super) async fn run<T: Target>(plan: &Plan, target: T) -> Result<Report> {
    let camera = camera(plan.kbit_per_second.unwrap_or(CONSULTATION_KBIT), 1);
    let rooms = vec![pair(Some(camera)); plan.rooms.unwrap_or(ROOMS)];
    let mut calls = Calls::open(plan, target.clone(), &rooms, Opening::WithMedia).await?;
    let window = calls.measure(plan, "the calls alone").await?;
    let quiet = calls.close(plan, "hostile", Some(&window)).await?;

    let mut calls = Calls::open(plan, target, &rooms, Opening::WithMedia).await?;
    let before = counters(plan).await?;
    let per_second = plan.junk.unwrap_or(JUNK);
    let storm = Storm::start(&addresses(&calls), per_second)?;
    let measured = calls.measure(plan, "the calls under junk").await;
    let sent_per_second = storm.stop();
    let after = counters(plan).await?;
    let mut report = calls.close(plan, "hostile", Some(&measured?)).await?;
    report.add("junk_per_second", sent_per_second.round());
    report.add("lost_percent_alone", loss_percent(&quiet));
    report.add("lost_percent_under_junk", loss_percent(&report));
    report.add("one_way_p99_us_alone", quiet.latency_us.p99);
    if let Some(seconds) = quiet.server_cpu_seconds {
        report.add("server_cpu_seconds_alone", seconds);
    }
    let dropped = metrics::growth(&before, &after);
    let dropped: Counters =
        dropped.into_iter().filter(|(name, _)| name.contains("drop") || name.contains("filtered")).collect();
    if plan.metrics_url.is_some() {
        report.add("server_drops", json!(dropped));
    }
    judge(&mut report, plan, &quiet, per_second, sent_per_second);
    Ok(report)
}

fn judge(report: &mut Report, plan: &Plan, quiet: &Report, asked: u32, sent_per_second: f64) {
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
    if sent_per_second < SENT_SHARE_MIN * f64::from(asked) {
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
const SENT_SHARE_MIN: f64 = 0.9;

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
        judge(&mut report, &plan(), &calls(quiet), 100_000, sent);
        report.missed
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
