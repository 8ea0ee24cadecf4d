//! Pairs of people arrive at a steady rate, each in a room of its own, and leave after two seconds; how long until each
//! hears and sees the other, and do the calls that run beside them notice?
//!
//! Both of a pair join at the same moment, which is the hardest case: each waits for the other's join as well. The time
//! runs from the exchange of the link (HTTP) through WebSocket, ICE and DTLS to the first forwarded packet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::calls::{self, Awaited, Calls, Opening, judge_calls};
use super::join_times::JoinTimes;
use super::shapes::{Person, Steady, camera, pair};
use super::{JOIN_TIME_MAX, Plan};
use crate::engine::Engine;
use crate::progress::Progress;
use crate::report::{Latency, Report};
use crate::tally::{Milestones, Phase};
use crate::target::{Seat, Target};

/// Runs it.
pub(super) async fn run<T: Target>(plan: &Plan, target: T) -> Result<Report> {
    let running = plan.rooms.unwrap_or(ROOMS);
    let camera = camera(plan.kbit_per_second.unwrap_or(super::shapes::CONSULTATION_KBIT), 1);
    let rooms = vec![pair(Some(camera)); running];
    let mut calls = Calls::open(plan, target, &rooms, Opening::WithMedia).await?;
    let running_failed = calls.times.failed();
    calls.warm_up(plan).await;
    calls.shared.set_phase(Phase::Count);
    let quiet_window = calls.begin_window(plan)?;
    calls::pass(QUIET, "the running calls alone").await;
    let quiet_window = calls.end_window(plan, quiet_window)?;
    let quiet = Latency::from(&calls.take_latency().await?);
    let window = calls.begin_window(plan)?;
    let start = Instant::now();
    let joined = arrive(plan, &calls).await?;
    let during = Latency::from(&calls.take_latency().await?);
    let window = calls.end_window(plan, window)?;
    let taken = start.elapsed().as_secs_f64();
    let cost = window.server_seconds().zip(quiet_window.server_seconds()).map(|(all, quiet)| {
        let beside = quiet / QUIET.as_secs_f64() * taken;
        (all - beside).max(0.0) * 1_000.0 / joined.count().max(1) as f64
    });
    let mut report = calls.close(plan, "joins", Some(&window)).await?;
    // The window has the joins' costs in it: shared out among the running calls' packets they would say nothing.
    report.server_cpu_ns_per_forwarded_packet = None;
    report.server_media_cpu_ns_per_forwarded_packet = None;
    report.generator_cpu_ns_per_received_packet = None;
    report.participants += joined.count();
    report.joins = joined.report();
    report.add("joins_per_second", joined.count() as f64 / plan.seconds as f64);
    if let Some(millis) = cost {
        report.add("server_cpu_ms_per_join", millis);
    }
    judge(&mut report, plan, running_failed, (running > 0).then_some((quiet, during)));
    Ok(report)
}

fn judge(report: &mut Report, plan: &Plan, running_failed: usize, running: Option<(Latency, Latency)>) {
    let p95_ms_max = plan.limits.join_p95_ms_max.unwrap_or(P95_MS_MAX);
    report.limit("join p95", Some(report.joins.p95_ms), p95_ms_max, "ms");
    let Some((quiet, during)) = running else {
        if report.joins.failed > 0 {
            report.miss(format!("{} joins failed, none may", report.joins.failed));
        }
        return;
    };
    if running_failed > 0 {
        report.miss(format!("{running_failed} of the running calls' seats failed, none may"));
    }
    report.latency_us = during;
    report.add("running_calls_p99_us_before", quiet.p99);
    report.add("running_calls_p99_us_during", during.p99);
    let change_ms = (during.p99 as f64 - quiet.p99 as f64) / 1_000.0;
    let change_max = plan.limits.p99_change_ms_max.unwrap_or(P99_CHANGE_MS_MAX);
    report.limit("the running calls' p99 rose by", Some(change_ms), change_max, "ms");
    // What the running calls' latency may be at all is `consultation`'s to judge.
    judge_calls(report, plan, f64::INFINITY);
}

/// Everyone's arrivals and departures.
async fn arrive<T: Target>(plan: &Plan, calls: &Calls<T>) -> Result<JoinTimes> {
    let pairs = pairs(plan);
    let first = calls.seats.iter().map(|seated| seated.person.plan.number + 1).max().unwrap_or(0);
    let mut present = JoinSet::new();
    let mut times = JoinTimes::default();
    let mut progress = Progress::default();
    let start = Instant::now();
    for index in 0..pairs {
        let due = start + Duration::from_secs(plan.seconds).mul_f64(index as f64 / pairs as f64);
        sleep_until(due.into()).await;
        let visit = Visit::new(&calls.target, &calls.engine, first + 2 * index as u32);
        present.spawn(visit.run());
        while let Some(pair) = present.try_join_next() {
            pair?.into_iter().for_each(|outcome| note(&mut times, outcome));
        }
        let what = format!("joins: {} done, {} failed", times.count(), times.failed());
        progress.show(index as f64, pairs as f64, &what);
    }
    while let Some(pair) = present.join_next().await {
        pair?.into_iter().for_each(|outcome| note(&mut times, outcome));
    }
    Ok(times)
}

/// Adds a join to the others.
pub(super) fn note(times: &mut JoinTimes, outcome: Result<Milestones>) {
    match outcome {
        Ok(milestones) => times.record(&milestones),
        Err(error) => times.fail(format!("{error:#}")),
    }
}

/// How many pairs come in the whole time; at least one.
fn pairs(plan: &Plan) -> usize {
    ((plan.rate.unwrap_or(RATE) * plan.seconds as f64 / 2.0).round() as usize).max(1)
}

/// A pair's visit to a room of its own.
pub(super) struct Visit<T: Target> {
    target: T,
    engine: Arc<Engine>,
    first: u32,
}

impl<T: Target> Visit<T> {
    /// The pair has the numbers `first` and `first + 1`.
    pub(super) fn new(target: &T, engine: &Arc<Engine>, first: u32) -> Self {
        Self { target: target.clone(), engine: Arc::clone(engine), first }
    }

    /// Opens a room, lets two join it at once, stay for a while, and leave.
    pub(super) async fn run(self) -> Vec<Result<Milestones>> {
        let room = match self.target.open_room(2).await {
            Ok(room) => room,
            Err(error) => {
                let why = format!("{error:#}");
                return vec![Err(error), Err(anyhow!(why))];
            }
        };
        let people = Steady::people(&[pair(Some(camera(FIRST_KBIT, 1)))], self.first);
        let both = Arc::new(Barrier::new(2));
        let (one, other) = tokio::join!(self.visit(&room, people[0], &both), self.visit(&room, people[1], &both));
        // What is left over does not falsify the next pairs' times, and the server's own reaping is tested elsewhere.
        let _ = self.target.close_room(room).await;
        vec![one, other]
    }

    async fn visit(&self, room: &T::Room, person: Person, both: &Barrier) -> Result<Milestones> {
        let started = Instant::now();
        let joined = calls::join(&self.target, &self.engine, room, person, Awaited::ALL).await;
        // Who has what it waited for stays until the other has it too.
        let _ = timeout(JOIN_TIME_MAX, both.wait()).await;
        let seat = joined?;
        let milestones = seat.milestones();
        sleep_until((started + STAY).into()).await;
        seat.leave().await?;
        Ok(milestones)
    }
}

/// Calls that run beside the joins when nothing else is said.
const ROOMS: usize = 20;
/// Joins a second when nothing else is said.
const RATE: f64 = 100.0;
/// Before the first join: the running calls' latency to compare with.
const QUIET: Duration = Duration::from_secs(5);
/// How long a pair stays.
const STAY: Duration = Duration::from_secs(2);
/// What browsers' encoders begin with.
const FIRST_KBIT: u32 = 300;
/// At a hundred joins a second.
const P95_MS_MAX: f64 = 500.0;
/// Running calls do not notice.
const P99_CHANGE_MS_MAX: f64 = 5.0;

#[cfg(test)]
mod tests {
    use super::super::tests::plan;
    use super::*;
    use crate::report::Joins;

    #[test]
    fn a_hundred_joins_a_second_are_fifty_pairs() {
        assert_eq!(pairs(&Plan { seconds: 60, ..plan() }), 3_000);
        assert_eq!(pairs(&Plan { seconds: 1, rate: Some(0.1), ..plan() }), 1);
    }

    fn judged(p95_ms: f64, failed: usize, running: Option<(u64, u64)>) -> Vec<String> {
        let joins = Joins { count: 10, failed, p95_ms, ..Joins::default() };
        let (packets_received, packets_forwarded_expected) = (9, 9);
        let mut report = Report { joins, packets_received, packets_forwarded_expected, ..Report::default() };
        let latency = |p99| Latency { p50: 1, p99, max: p99 };
        judge(&mut report, &plan(), 0, running.map(|(quiet, during)| (latency(quiet), latency(during))));
        report.missed
    }

    #[test]
    fn slow_or_failed_joins_and_disturbed_calls_are_misses() {
        assert!(judged(499.0, 0, Some((900, 5_800))).is_empty());
        assert_eq!(judged(501.0, 0, Some((900, 900))), ["join p95 501 ms, at most 500 ms"]);
        assert_eq!(judged(1.0, 2, Some((900, 900))), ["2 joins failed, none may"]);
        assert_eq!(judged(1.0, 2, None), ["2 joins failed, none may"]);
        assert_eq!(judged(1.0, 0, Some((900, 6_000))), ["the running calls' p99 rose by 5.1 ms, at most 5 ms"]);
    }
}
