//! Everyone loses the network at once, as when a hospital's uplink fails, and comes back at once: from new UDP ports, by
//! resume ticket and ICE restart. How long until the last has media again?
//!
//! The pictures are small, so that the machine is loaded by the coming back and not by the media.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio::task::JoinSet;

use super::calls::{self, Calls, Opening, Seated, judge_calls};
use super::join_times::JoinTimes;
use super::shapes::{Person, everyone};
use super::{Plan, joins};
use crate::leg::Camera;
use crate::progress::Progress;
use crate::report::{Report, millis};
use crate::tally::Milestones;
use crate::target::{Seat, Target};

type Back<T> = (Option<Seated<T>>, Result<Milestones>);

/// Runs it.
pub(super) async fn run<T: Target>(plan: &Plan, target: T) -> Result<Report> {
    let participants = plan.participants.unwrap_or(PARTICIPANTS);
    let kbit_per_second = plan.kbit_per_second.unwrap_or(SMALL_KBIT);
    let camera = Camera { kbit_per_second, frames_per_second: SMALL_FRAMES, layers: 1 };
    let rooms = vec![everyone(2, false, Some(camera)); participants / 2];
    let mut calls = Calls::open(plan, target, &rooms, Opening::WithMedia).await?;
    calls.warm_up(plan).await;
    lose_network(&mut calls).await?;
    calls::pass(AWAY, "without network").await;
    let window = calls.begin_window(plan)?;
    let back = come_back(&mut calls).await?;
    let storm = calls.end_window(plan, window)?;
    let window = calls.measure(plan, "after the storm").await?;
    let mut report = calls.close(plan, "reconnect_storm", Some(&window)).await?;
    report.add("came_back", back.count() - back.failed());
    report.add("came_back_failed", back.failed());
    report.add("last_back_seconds", back.longest().as_secs_f64());
    let summary = back.report();
    report.add("back_p50_ms", summary.p50_ms);
    report.add("back_p95_ms", summary.p95_ms);
    if let Some(seconds) = storm.server_seconds() {
        report.add("server_cpu_ms_per_return", seconds * 1_000.0 / back.count().max(1) as f64);
    }
    judge(&mut report, plan, &back);
    Ok(report)
}

fn judge(report: &mut Report, plan: &Plan, back: &JoinTimes) {
    // What the small pictures' latency may be at all is `consultation`'s to judge.
    judge_calls(report, plan, f64::INFINITY);
    if back.failed() > 0 {
        let why = back.report().failures.first().cloned().unwrap_or_default();
        report.miss(format!("{} did not come back: {why}", back.failed()));
    }
    let last_back_max = plan.limits.last_back_max.unwrap_or(LAST_BACK_SECONDS_MAX);
    let last_back = millis(u64::try_from(back.longest().as_micros()).unwrap_or(u64::MAX)) / 1_000.0;
    report.limit("the last was back after", Some(last_back), last_back_max, "s");
}

async fn lose_network<T: Target>(calls: &mut Calls<T>) -> Result<()> {
    let mut losing = JoinSet::new();
    for Seated { person, mut seat } in calls.seats.drain(..) {
        losing.spawn(async move {
            let lost = seat.lose_network().await;
            lost.map(|()| Seated::<T> { person, seat })
        });
    }
    while let Some(lost) = losing.join_next().await {
        calls.seats.push(lost??);
    }
    Ok(())
}

/// All at once; times count from one instant for all of them.
async fn come_back<T: Target>(calls: &mut Calls<T>) -> Result<JoinTimes> {
    let started = Instant::now();
    let mut returning = JoinSet::new();
    for Seated { person, seat } in calls.seats.drain(..) {
        returning.spawn(one_comes_back::<T>(person, seat, started));
    }
    let everyone = returning.len() as f64;
    let mut times = JoinTimes::default();
    let mut progress = Progress::default();
    while let Some(back) = returning.join_next().await {
        let (seated, outcome) = back?;
        calls.seats.extend(seated);
        joins::note(&mut times, outcome);
        progress.show(times.count() as f64, everyone, "coming back");
    }
    Ok(times)
}

/// One attempt: a page would try again, but a server that refuses the first has not passed.
async fn one_comes_back<T: Target>(person: Person, mut seat: T::Seat, started: Instant) -> Back<T> {
    let deadline = started + BACK_TIME_MAX;
    let back = async {
        seat.come_back(started).await?;
        seat.wait(|milestones| milestones.media().is_some(), deadline).await
    };
    match back.await {
        Ok(()) => {
            let milestones = seat.milestones();
            (Some(Seated { person, seat }), Ok(milestones))
        }
        Err(error) => (None, Err(anyhow!("{error:#}"))),
    }
}

/// When nothing else is said.
const PARTICIPANTS: usize = 100;
/// Long enough for the server to notice (7 s without media), shorter than anything that ends a visit.
const AWAY: Duration = Duration::from_secs(10);
/// Nobody waits longer.
const BACK_TIME_MAX: Duration = Duration::from_secs(60);
/// For a thousand.
const LAST_BACK_SECONDS_MAX: f64 = 15.0;
const SMALL_KBIT: u32 = 100;
const SMALL_FRAMES: u32 = 10;

#[cfg(test)]
mod tests {
    use super::super::tests::plan;
    use super::*;

    fn judged(seconds: &[u64], failed: usize) -> Vec<String> {
        let mut back = JoinTimes::default();
        for &seconds in seconds {
            let picture = Some(Duration::from_secs(seconds));
            back.record(&Milestones { picture, ..Milestones::default() });
        }
        (0..failed).for_each(|_| back.fail("the visit was not resumed".to_owned()));
        let mut report = Report { packets_received: 1, packets_forwarded_expected: 1, ..Report::default() };
        judge(&mut report, &plan(), &back);
        report.missed
    }

    #[test]
    fn one_late_return_or_one_that_never_came_is_a_miss() {
        assert!(judged(&[1, 2, 14], 0).is_empty());
        assert_eq!(judged(&[1, 2, 16], 0), ["the last was back after 16 s, at most 15 s"]);
        assert_eq!(judged(&[1], 1), ["1 did not come back: the visit was not resumed"]);
    }
}
