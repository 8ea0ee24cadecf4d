//! Pairs of people arrive one after the other; how long until each hears or sees the other?
//!
//! Both of a pair join at the same moment, which is the hardest case: each waits for the other's join as well. The
//! time runs from opening the WebSocket to the first forwarded media packet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use colloque_signaling::message::Role;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::{JOIN_TIME_MAX, JoinTimes, Plan, Progress};
use crate::api::{Clinic, Seat};
use crate::participant::Participant;
use crate::process;
use crate::report::Report;
use crate::tally::{Milestones, Shared};

/// On the command line.
pub const NAME: &str = "joins";
/// In one line.
pub const PURPOSE: &str = "pairs join new rooms; time to the other's first media packet";

/// Runs it.
pub async fn run(plan: &Plan) -> Result<Report> {
    let rooms = plan.rooms.unwrap_or(ROOMS);
    let before = plan.pid.map(process::usage).transpose()?;
    let shared = Shared::default();
    let mut pairs = JoinSet::new();
    let mut progress = Progress::new();
    let mut times = JoinTimes::default();
    let start = Instant::now();
    for room in 0..rooms {
        sleep_until((start + Duration::from_secs(plan.seconds).mul_f64(room as f64 / rooms as f64)).into()).await;
        pairs.spawn(pair(plan.clinic.clone(), shared.clone(), room as u32));
        while let Some(done) = pairs.try_join_next() {
            record(&mut times, done?);
        }
        progress.show(&format!("joins: {} of {}, {} failed", 2 * (room + 1), 2 * rooms, times.failed));
    }
    while let Some(done) = pairs.join_next().await {
        record(&mut times, done?);
    }
    drop(progress);

    let joins = times.report();
    let after = plan.pid.map(process::usage).transpose()?;
    let mut report = Report {
        scenario: NAME,
        target: plan.target.clone(),
        seconds: plan.seconds,
        participants: 2 * rooms,
        server_cpu_seconds: before.zip(after).map(|(before, after)| after.cpu_seconds - before.cpu_seconds),
        server_rss_bytes: after.map(|after| after.rss_bytes),
        joins,
        ..Report::default()
    };
    if report.joins.failed > 0 {
        report.miss(format!("{} joins failed, none may", report.joins.failed));
    }
    if report.joins.p95_ms >= P95_MS_MAX {
        report.miss(format!("join p95 {:.1} ms, must be below {P95_MS_MAX} ms", report.joins.p95_ms));
    }
    Ok(report)
}

fn record(times: &mut JoinTimes, pair: Vec<Result<Milestones>>) {
    for outcome in pair {
        match outcome {
            Ok(milestones) => times.record(&milestones),
            Err(error) => times.fail(format!("{error:#}")),
        }
    }
}

/// Books a room, lets two join it at once, and ends it.
async fn pair(clinic: Clinic, shared: Shared, room: u32) -> Vec<Result<Milestones>> {
    let consultation = match clinic.book(&[Role::Practitioner, Role::Patient]).await {
        Ok(consultation) => consultation,
        Err(error) => {
            let why = format!("{error:#}");
            return vec![Err(error), Err(anyhow::anyhow!(why))];
        }
    };
    let arrived = Arc::new(AtomicUsize::new(0));
    let one = |seat: usize| {
        let number = 2 * room + seat as u32;
        join(&clinic, &consultation.seats[seat], shared.clone(), number, arrived.clone())
    };
    let (first, second) = tokio::join!(one(0), one(1));
    // What is left over does not falsify the next pairs' times, and the server's own reaping is tested elsewhere.
    let _ = clinic.end(&consultation.id).await;
    vec![first, second]
}

async fn join(
    clinic: &Clinic,
    seat: &Seat,
    shared: Shared,
    number: u32,
    arrived: Arc<AtomicUsize>,
) -> Result<Milestones> {
    let session = clinic.join(&seat.token).await?;
    let mut participant = Participant::join(clinic, &session, number, shared).await?;
    let mut counted = false;
    let deadline = Instant::now() + JOIN_TIME_MAX;
    let done = |milestones: &Milestones| {
        if !counted && milestones.voice.is_some() && milestones.picture.is_some() {
            counted = true;
            arrived.fetch_add(1, Ordering::Relaxed);
        }
        // The other still needs this one's media.
        arrived.load(Ordering::Relaxed) == 2
    };
    participant.run(deadline, done).await?;
    let milestones = participant.milestones;
    sleep(LAST_WORDS).await;
    let _ = participant.leave().await;
    Ok(milestones)
}

/// Pairs when nothing else is said: sixty joins.
const ROOMS: usize = 30;
/// What people feel as immediate ends about here.
const P95_MS_MAX: f64 = 300.0;
/// Between the other's last packet and the end of the room.
const LAST_WORDS: Duration = Duration::from_millis(20);
