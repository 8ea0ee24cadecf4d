//! Hours of a mix: consultations, voices, a simulcast room and a webinar that stand, and pairs that come and go. Does
//! the server's memory grow?
//!
//! The server's size is read at a steady pace. Its mean over the last quarter is compared with that over the second: the
//! first has its caches still to fill.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::Plan;
use super::calls::{self, Calls, Opening, judge_calls};
use super::join_times::JoinTimes;
use super::joins::{self, Visit};
use super::shapes::{CONSULTATION_KBIT, SIMULCAST_KBIT, SeatShape, WEBINAR_KBIT, camera, everyone, pair, webinar};
use crate::leg::LAYERS_MAX;
use crate::progress::Progress;
use crate::report::Report;
use crate::tally::Phase;
use crate::target::Target;

/// Runs it.
pub(super) async fn run<T: Target>(plan: &Plan, target: T) -> Result<Report> {
    let rooms = mix(plan.rooms.unwrap_or(ROOMS), plan.kbit_per_second.unwrap_or(CONSULTATION_KBIT));
    let mut calls = Calls::open(plan, target, &rooms, Opening::WithMedia).await?;
    calls.warm_up(plan).await;
    let window = calls.begin_window(plan)?;
    calls.shared.set_phase(Phase::Count);
    let soaked = soak(plan, &mut calls).await?;
    calls.shared.set_phase(Phase::Listen);
    let window = calls.end_window(plan, window)?;
    let mut report = calls.close(plan, "soak", Some(&window)).await?;
    let visits = soaked.visits.report();
    report.add("visits", visits.count);
    report.add("visits_failed", visits.failed);
    report.add("visits_p95_ms", visits.p95_ms);
    report.add("server_rss_samples", soaked.rss.clone());
    judge(&mut report, plan, &soaked);
    Ok(report)
}

/// What came of the hours.
struct Soaked {
    visits: JoinTimes,
    rss: Vec<u64>,
}

async fn soak<T: Target>(plan: &Plan, calls: &mut Calls<T>) -> Result<Soaked> {
    let whole = Duration::from_secs(plan.seconds);
    let rate = plan.rate.unwrap_or(RATE);
    let visit_every = Duration::from_secs_f64(2.0 / rate);
    let sample_every = (whole / SAMPLES).max(Duration::from_millis(500));
    let mut number = calls.seats.iter().map(|seated| seated.person.plan.number + 1).max().unwrap_or(0);
    let mut soaked = Soaked { visits: JoinTimes::default(), rss: Vec::new() };
    let mut present = JoinSet::new();
    let mut progress = Progress::default();
    let start = Instant::now();
    let (mut visit_due, mut sample_due) = (start, start);
    while start.elapsed() < whole {
        sleep_until(visit_due.min(sample_due).min(start + whole).into()).await;
        let now = Instant::now();
        if now >= visit_due {
            visit_due += visit_every;
            present.spawn(Visit::new(&calls.target, &Arc::clone(&calls.engine), number).run());
            number += 2;
        }
        if now >= sample_due {
            sample_due += sample_every;
            soaked.rss.extend(calls::server_usage(plan, &calls.target)?.map(|usage| usage.rss_bytes));
        }
        while let Some(pair) = present.try_join_next() {
            pair?.into_iter().for_each(|outcome| joins::note(&mut soaked.visits, outcome));
        }
        progress.show(start.elapsed().as_secs_f64(), whole.as_secs_f64(), "soaking");
    }
    while let Some(pair) = present.join_next().await {
        pair?.into_iter().for_each(|outcome| joins::note(&mut soaked.visits, outcome));
    }
    Ok(soaked)
}

fn judge(report: &mut Report, plan: &Plan, soaked: &Soaked) {
    judge_calls(report, plan, P99_MS_MAX);
    if soaked.visits.failed() > 0 {
        let why = soaked.visits.report().failures.first().cloned().unwrap_or_default();
        report.miss(format!("{} visits failed, none may: {why}", soaked.visits.failed()));
    }
    if let Some(growth) = growth(&soaked.rss) {
        report.add("server_rss_growth_percent", growth.percent);
        report.add("server_rss_growth_bytes", growth.bytes);
        // A page here and there is the allocator's, not a leak.
        let percent = if growth.bytes <= GROWTH_BYTES_IGNORED { 0.0 } else { growth.percent };
        report.limit("memory grew by", Some(percent), plan.limits.growth_max.unwrap_or(GROWTH_PERCENT_MAX), "%");
    }
}

/// How much the last quarter's mean is above the second's.
struct Growth {
    bytes: i64,
    percent: f64,
}

fn growth(samples: &[u64]) -> Option<Growth> {
    let quarter = samples.len() / 4;
    if quarter == 0 {
        return None;
    }
    let mean = |part: &[u64]| part.iter().sum::<u64>() as f64 / part.len() as f64;
    let (before, after) = (mean(&samples[quarter..2 * quarter]), mean(&samples[samples.len() - quarter..]));
    Some(Growth { bytes: (after - before) as i64, percent: 100.0 * (after - before) / before })
}

/// Two consultations for one room of voices, and one room each of simulcast and webinar.
fn mix(rooms: usize, kbit_per_second: u32) -> Vec<Vec<SeatShape>> {
    let room = |index: usize| match index {
        2 => everyone(4, true, Some(camera(SIMULCAST_KBIT, LAYERS_MAX))),
        5 => webinar(8, camera(WEBINAR_KBIT, 1)),
        _ if index % 3 == 1 => pair(None),
        _ => pair(Some(camera(kbit_per_second, 1))),
    };
    (0..rooms).map(room).collect()
}

/// One of each kind, and more consultations.
const ROOMS: usize = 8;
/// Visitors a second.
const RATE: f64 = 1.0;
/// Readings of the server's memory in all.
const SAMPLES: u32 = 120;
const P99_MS_MAX: f64 = 5.0;
const GROWTH_PERCENT_MAX: f64 = 3.0;
const GROWTH_BYTES_IGNORED: i64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::super::tests::plan;
    use super::*;

    fn judged(rss: Vec<u64>) -> Vec<String> {
        let mut report = Report { packets_received: 1, packets_forwarded_expected: 1, ..Report::default() };
        judge(&mut report, &plan(), &Soaked { visits: JoinTimes::default(), rss });
        report.missed
    }

    #[test]
    fn a_leak_is_a_miss_and_a_warm_up_is_none() {
        let mib = 1 << 20;
        let leaking: Vec<u64> = (0..120).map(|index| (40 + index / 4) * mib).collect();
        assert!(judged(leaking)[0].starts_with("memory grew by"));
        let warming: Vec<u64> = (0..120).map(|index| (40 + index.min(25)) * mib).collect();
        assert!(judged(warming).is_empty());
        let rippled: Vec<u64> = (0..120).map(|index| (40 * mib) + (index % 7) * 10_000).collect();
        assert!(judged(rippled).is_empty());
    }

    #[test]
    fn too_few_readings_say_nothing() {
        assert!(growth(&[1, 2, 3]).is_none() && growth(&[]).is_none());
    }

    #[test]
    fn the_mix_has_every_kind() {
        let rooms = mix(ROOMS, 500);
        assert!(rooms.iter().any(|room| room.len() == 9), "a webinar");
        assert!(rooms.iter().any(|room| room[0].camera.is_some_and(|camera| camera.layers == 3)), "simulcast");
        assert!(rooms.iter().any(|room| room[0].voice && room[0].camera.is_none()), "voices");
        assert!(rooms.iter().filter(|room| **room == pair(Some(camera(500, 1)))).count() >= 3, "consultations");
        assert_eq!(mix(1, 500).len(), 1);
    }
}
