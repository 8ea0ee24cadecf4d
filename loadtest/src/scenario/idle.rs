//! Rooms of two that are connected and silent: what each costs the server in memory, and in time.
//!
//! Everyone has offered a voice and a camera and sends neither, as two who have muted themselves before they came.

use std::time::Duration;

use anyhow::Result;

use super::Plan;
use super::calls::{self, Calls, Opening};
use super::shapes::{CONSULTATION_KBIT, camera, pair};
use crate::report::Report;
use crate::target::Target;

/// Runs it.
pub(super) async fn run<T: Target>(plan: &Plan, target: T) -> Result<Report> {
    let rooms = plan.rooms.unwrap_or(ROOMS);
    let shape = vec![pair(Some(camera(plan.kbit_per_second.unwrap_or(CONSULTATION_KBIT), 1))); rooms];
    let calls = Calls::open(plan, target, &shape, Opening::Silent).await?;
    calls.warm_up(plan).await;
    let window = calls.begin_window(plan)?;
    calls::pass(Duration::from_secs(plan.seconds), "idle").await;
    let window = calls.end_window(plan, window)?;
    let mut report = calls.close(plan, "idle", Some(&window)).await?;
    judge(&mut report, plan, rooms);
    Ok(report)
}

fn judge(report: &mut Report, plan: &Plan, rooms: usize) {
    if report.joins.failed > 0 {
        report.miss(format!("{} joins failed, none may", report.joins.failed));
    }
    let grown = report.server_rss_bytes.zip(report.server_rss_before_bytes);
    let room_kb = grown.map(|(after, before)| after.saturating_sub(before) as f64 / 1_000.0 / rooms as f64);
    if let Some(kb) = room_kb {
        report.add("server_kb_per_room", kb.round());
    }
    if let Some(seconds) = report.server_cpu_seconds {
        report.add("server_cpu_us_per_room_and_second", seconds * 1e6 / rooms as f64 / plan.seconds as f64);
    }
    let max = plan.limits.room_kb_max.unwrap_or(IDLE_ROOM_KB_MAX);
    report.limit("memory for each idle room", room_kb, max, "kB");
}

/// Enough that what the server allocates once does not count.
const ROOMS: usize = 100;
/// 1 MB.
const IDLE_ROOM_KB_MAX: f64 = 1_000.0;

#[cfg(test)]
mod tests {
    use super::super::tests::plan;
    use super::*;

    #[test]
    fn a_room_may_cost_a_megabyte() {
        let judged = |grown: u64| {
            let (server_rss_before_bytes, server_rss_bytes) = (Some(20_000_000), Some(20_000_000 + grown));
            let mut report = Report { server_rss_before_bytes, server_rss_bytes, ..Report::default() };
            judge(&mut report, &plan(), 100);
            report.missed
        };
        assert!(judged(99_000_000).is_empty());
        assert_eq!(judged(110_000_000), ["memory for each idle room 1100 kB, at most 1000 kB"]);
    }

    #[test]
    fn without_a_process_nothing_is_judged() {
        let mut report = Report::default();
        judge(&mut report, &plan(), 100);
        assert!(report.missed.is_empty() && report.extra.is_empty());
    }
}
