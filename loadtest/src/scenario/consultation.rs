//! Rooms of two with voice and 720p, all at once: losses, one-way latency, and what they cost the server.
//!
//! Counting begins when everyone hears and sees the other, and sending ends a second before it, so that nothing that
//! is still under way counts as lost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use colloque_signaling::message::Role;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{JOIN_TIME_MAX, JoinTimes, Plan, Progress};
use crate::api::{Clinic, Seat};
use crate::histogram::Histogram;
use crate::leg::{camera_stream, voice_stream};
use crate::participant::Participant;
use crate::process::{self, Usage};
use crate::report::{Latency, Report};
use crate::tally::{Milestones, Phase, Shared, Tally};

/// On the command line.
pub const NAME: &str = "consultation";
/// In one line.
pub const PURPOSE: &str = "rooms of two with voice and 720p; loss, latency, cost of a packet";

type Outcome = Result<(u32, Tally)>;

/// Runs it.
pub async fn run(plan: &Plan) -> Result<Report> {
    let rooms = plan.rooms.unwrap_or(ROOMS);
    let shared = Shared::default();
    let mut times = JoinTimes::default();
    let mut seats = JoinSet::new();
    let (joined, mut joins) = mpsc::channel(2 * rooms);
    let mut booked = Vec::new();
    for room in 0..rooms {
        let consultation = plan.clinic.book(&[Role::Practitioner, Role::Patient]).await?;
        for (number, seat) in (2 * room as u32..).zip(&consultation.seats) {
            seats.spawn(sit(plan.clinic.clone(), seat.clone(), number, shared.clone(), joined.clone(), plan.seconds));
        }
        booked.push(consultation.id);
        // New rooms now and then: everyone at the same instant is what `joins` and a fire alarm do.
        sleep(BETWEEN_ROOMS).await;
    }
    drop(joined);
    while let Ok(Some(outcome)) = timeout(JOIN_TIME_MAX, joins.recv()).await {
        match outcome {
            Ok(milestones) => times.record(&milestones),
            Err(why) => times.fail(why),
        }
        if times.media.len() as usize + times.failed == 2 * rooms {
            break;
        }
    }
    let measured = measure(plan, &shared).await?;
    let mut tallies = Vec::new();
    let mut lost_seats = Vec::new();
    while let Some(outcome) = seats.join_next().await {
        match outcome? {
            Ok(tally) => tallies.push(tally),
            Err(error) => lost_seats.push(format!("{error:#}")),
        }
    }
    for id in booked {
        let _ = plan.clinic.end(&id).await;
    }
    let mut report = sum(&tallies);
    report.scenario = NAME;
    report.target = plan.target.clone();
    report.seconds = plan.seconds;
    report.participants = 2 * rooms;
    report.joins = times.report();
    if let Some((before, after)) = measured {
        let seconds = after.cpu_seconds - before.cpu_seconds;
        report.server_cpu_seconds = Some(seconds);
        report.server_cpu_ns_per_forwarded_packet =
            (report.packets_received > 0).then(|| seconds * 1e9 / report.packets_received as f64);
        report.server_rss_bytes = Some(after.rss_bytes);
    }
    judge(&mut report, &lost_seats);
    Ok(report)
}

/// The measured window. Readings at its two ends.
async fn measure(plan: &Plan, shared: &Shared) -> Result<Option<(Usage, Usage)>> {
    let before = plan.pid.map(process::usage).transpose()?;
    shared.set_phase(Phase::Count);
    let start = Instant::now();
    let mut progress = Progress::new();
    let whole = Duration::from_secs(plan.seconds);
    while let Some(left) = whole.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        progress.show(&format!("consultation: {} s left", left.as_secs()));
        sleep(left.min(Duration::from_millis(500))).await;
    }
    shared.set_phase(Phase::Listen);
    let after = plan.pid.map(process::usage).transpose()?;
    Ok(before.zip(after))
}

/// One seat from its join to the end of the run.
async fn sit(
    clinic: Clinic,
    seat: Seat,
    number: u32,
    shared: Shared,
    joined: mpsc::Sender<Result<Milestones, String>>,
    seconds: u64,
) -> Outcome {
    let join = async {
        let session = clinic.join(&seat.token).await?;
        let mut participant = Participant::join(&clinic, &session, number, shared.clone()).await?;
        let both = |milestones: &Milestones| milestones.voice.is_some() && milestones.picture.is_some();
        participant.run(Instant::now() + JOIN_TIME_MAX, both).await?;
        Ok::<_, anyhow::Error>(participant)
    };
    let mut participant = match join.await {
        Ok(participant) => participant,
        Err(error) => {
            let _ = joined.send(Err(format!("{error:#}"))).await;
            return Err(error);
        }
    };
    let _ = joined.send(Ok(participant.milestones)).await;
    drop(joined);
    let end_max = Instant::now() + Duration::from_secs(seconds) + WAIT_MAX;
    let mut listening_until = None;
    let mut over = |_: &Milestones| {
        if listening_until.is_none() && shared.phase() == Phase::Listen {
            listening_until = Some(Instant::now() + UNDER_WAY_MAX);
        }
        listening_until.is_some_and(|until| Instant::now() >= until)
    };
    participant.run(end_max, &mut over).await.context("during the call")?;
    Ok((number, participant.leave().await?))
}

/// Adds up what all of them sent and received; each packet was meant for the other of its room.
fn sum(tallies: &[(u32, Tally)]) -> Report {
    let mut report = Report::default();
    let mut latency = Histogram::default();
    for (number, tally) in tallies {
        report.packets_sent += tally.sent.values().map(|&sent| u64::from(sent)).sum::<u64>();
        let other = number ^ 1;
        let theirs = [voice_stream(other), camera_stream(other, 0)];
        report.packets_received +=
            theirs.iter().filter_map(|stream| tally.received.get(stream)).map(|seen| seen.count()).sum::<u64>();
        latency.merge(&tally.latency);
        report.send_errors += tally.send_errors;
    }
    report.packets_forwarded_expected = report.packets_sent;
    report.lost = report.packets_forwarded_expected.saturating_sub(report.packets_received);
    report.latency_us = Latency::from(&latency);
    report
}

fn judge(report: &mut Report, lost_seats: &[String]) {
    if report.joins.failed > 0 {
        report.miss(format!("{} joins failed, none may", report.joins.failed));
    }
    if let Some(first) = lost_seats.first() {
        report.miss(format!("{} seats were lost during the run: {first}", lost_seats.len()));
    }
    if report.packets_received == 0 {
        report.miss("no packet was received".to_owned());
    }
    if report.lost * LOST_ONE_IN > report.packets_forwarded_expected {
        report.miss(format!("{} of {} packets lost", report.lost, report.packets_forwarded_expected));
    }
}

/// Rooms when nothing else is said.
const ROOMS: usize = 2;
const BETWEEN_ROOMS: Duration = Duration::from_millis(20);
/// After sending ended; retransmissions are through by then.
const UNDER_WAY_MAX: Duration = Duration::from_secs(1);
/// What a seat stays beyond the window at most: everyone's joins and the end.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// On loopback nothing may be lost but what a full socket buffer drops: a thousandth.
const LOST_ONE_IN: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(number: u32, sent: u32, received: u32) -> (u32, Tally) {
        let mut tally = Tally::default();
        tally.sent.insert(voice_stream(number), sent);
        let seen = tally.received.entry(voice_stream(number ^ 1)).or_default();
        for number in 0..received {
            seen.insert(number);
        }
        (number, tally)
    }

    #[test]
    fn losses_are_what_the_other_of_the_room_did_not_get() {
        let report = sum(&[tally(0, 1_000, 2_000), tally(1, 2_000, 990)]);
        assert_eq!((report.packets_sent, report.packets_received, report.lost), (3_000, 2_990, 10));
    }

    #[test]
    fn a_loss_beyond_a_thousandth_is_a_miss() {
        let mut report = sum(&[tally(0, 1_000, 1_000), tally(1, 1_000, 999)]);
        judge(&mut report, &[]);
        assert!(report.missed.is_empty(), "{:?}", report.missed);
        let mut report = sum(&[tally(0, 1_000, 1_000), tally(1, 1_000, 990)]);
        judge(&mut report, &[]);
        assert_eq!(report.missed, ["10 of 2000 packets lost"]);
    }
}
