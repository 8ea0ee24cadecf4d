//! Calls that stand: opened gently, measured over a window, left together, added up.
//!
//! Counting begins when everyone has media and the warm-up is over; sending ends a second before everyone leaves, so
//! that nothing that is still under way counts as lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::join_times::JoinTimes;
use super::shapes::{Person, SeatShape, Steady};
use super::{JOIN_TIME_MAX, Plan};
use crate::engine::Engine;
use crate::histogram::Histogram;
use crate::leg::{LegPlan, camera_stream, voice_stream};
use crate::own_cost::{OwnCost, Reading};
use crate::process::{self, Usage};
use crate::progress::Progress;
use crate::report::{Latency, Report, curve};
use crate::tally::{Milestones, Phase, Shared, Tally};
use crate::target::{Seat, Target};

/// Runs a scenario that is nothing but calls.
pub(super) async fn run<T: Target>(plan: &Plan, target: T, steady: &Steady) -> Result<Report> {
    let mut calls = Calls::open(plan, target, &steady.rooms, Opening::WithMedia).await?;
    let window = calls.measure(plan, steady.name).await?;
    let mut report = calls.close(plan, steady.name, Some(&window)).await?;
    judge(&mut report, plan, steady);
    Ok(report)
}

/// The limits that every scenario with standing calls keeps.
pub(super) fn judge_calls(report: &mut Report, plan: &Plan, p99_ms_max: f64) {
    if report.joins.failed > 0 {
        report.miss(format!("{} joins failed, none may", report.joins.failed));
    }
    if report.packets_received == 0 {
        report.miss("no packet was received".to_owned());
    }
    let loss = 100.0 * report.lost as f64 / report.packets_forwarded_expected.max(1) as f64;
    report.limit("packets lost", Some(loss), plan.loss_max(), "%");
    let p99_ms = report.latency_us.p99 as f64 / 1_000.0;
    report.limit("one-way p99", Some(p99_ms), plan.limits.p99_ms_max.unwrap_or(p99_ms_max), "ms");
    let cpu_us = report.server_cpu_ns_per_forwarded_packet.map(|nanos| nanos / 1_000.0);
    report.limit("server CPU per packet", cpu_us, plan.limits.cpu_us_max.unwrap_or(f64::INFINITY), "us");
}

fn judge(report: &mut Report, plan: &Plan, steady: &Steady) {
    judge_calls(report, plan, steady.p99_ms_max);
    let grown = report.server_rss_bytes.zip(report.server_rss_before_bytes);
    let room_kb =
        grown.map(|(after, before)| after.saturating_sub(before) as f64 / 1_000.0 / steady.rooms.len() as f64);
    if let Some(kb) = room_kb {
        report.add("server_kb_per_room", kb.round());
    }
    // With a few rooms, what the server allocates once would be charged to them.
    let judged = plan.limits.room_kb_max.or(steady.room_kb_max.filter(|_| steady.rooms.len() >= ROOMS_JUDGED_MIN));
    report.limit("memory for each room", room_kb, judged.unwrap_or(f64::INFINITY), "kB");
}

/// When a seat counts as there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Opening {
    /// With the first of every kind of media that it ought to get.
    WithMedia,
    /// When its connection stands; nobody sends.
    Silent,
}

/// Rooms with people in them.
pub(super) struct Calls<T: Target> {
    /// What is loaded.
    pub(super) target: T,
    /// Makes further legs.
    pub(super) engine: Arc<Engine>,
    /// Everyone's phase.
    pub(super) shared: Shared,
    /// Who is there.
    pub(super) seats: Vec<Seated<T>>,
    /// How their joins went.
    pub(super) times: JoinTimes,
    rooms: Vec<T::Room>,
    people: Vec<Person>,
    lost_seats: Vec<String>,
    latency: Histogram,
    rss_before: Option<u64>,
}

/// One who is there.
pub(super) struct Seated<T: Target> {
    /// Who.
    pub(super) person: Person,
    /// Its place.
    pub(super) seat: T::Seat,
}

/// The two ends of a measured window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    server: Option<(Usage, Usage)>,
    generator: OwnCost,
}

/// A window whose end is still to come.
pub(super) struct OpenWindow {
    server: Option<Usage>,
    generator: Reading,
}

impl<T: Target> Calls<T> {
    /// Opens all rooms and seats everyone.
    pub(super) async fn open(plan: &Plan, target: T, rooms: &[Vec<SeatShape>], opening: Opening) -> Result<Self> {
        Self::open_sharing(Shared::default(), plan, target, rooms, opening).await
    }

    /// The same with what all legs share.
    pub(super) async fn open_sharing(
        shared: Shared,
        plan: &Plan,
        target: T,
        rooms: &[Vec<SeatShape>],
        opening: Opening,
    ) -> Result<Self> {
        let rss_before = server_usage(plan, &target)?.map(|usage| usage.rss_bytes);
        if opening == Opening::Silent {
            shared.set_phase(Phase::Listen);
        }
        let engine = Arc::new(Engine::start(plan.engine, plan.threads, shared.clone())?);
        let people = Steady::people(rooms, 0);
        let mut calls = Self {
            target,
            engine,
            shared,
            seats: Vec::with_capacity(people.len()),
            times: JoinTimes::default(),
            rooms: Vec::with_capacity(rooms.len()),
            people,
            lost_seats: Vec::new(),
            latency: Histogram::default(),
            rss_before,
        };
        calls.seat_everyone(rooms, opening).await?;
        Ok(calls)
    }

    async fn seat_everyone(&mut self, rooms: &[Vec<SeatShape>], opening: Opening) -> Result<()> {
        let mut joining = JoinSet::new();
        let mut progress = Progress::default();
        let people = self.people.len() as f64;
        for (index, shape) in rooms.iter().enumerate() {
            let room = self.target.open_room(shape.len()).await?;
            for &person in self.people.iter().filter(|person| person.room == index) {
                let (target, engine, room) = (self.target.clone(), Arc::clone(&self.engine), room.clone());
                let awaited = awaited(opening, &person.plan, shape, person.seat);
                joining.spawn(async move { (person, join(&target, &engine, &room, person, awaited).await) });
            }
            self.rooms.push(room);
            while let Some(joined) = joining.try_join_next() {
                self.handle_joined(joined?);
            }
            progress.show(self.times.count() as f64, people, "joining");
            // New rooms now and then: everyone at the same instant is what storms and fire alarms do.
            sleep(BETWEEN_ROOMS).await;
        }
        while let Some(joined) = joining.join_next().await {
            self.handle_joined(joined?);
            progress.show(self.times.count() as f64, people, "joining");
        }
        Ok(())
    }

    fn handle_joined(&mut self, (person, outcome): (Person, Result<T::Seat>)) {
        match outcome {
            Ok(seat) => {
                self.times.record(&seat.milestones());
                self.seats.push(Seated { person, seat });
            }
            Err(error) => self.times.fail(format!("{error:#}")),
        }
    }

    /// Warm-up and the measured window; afterwards nobody sends any more.
    pub(super) async fn measure(&mut self, plan: &Plan, what: &str) -> Result<Window> {
        self.warm_up(plan).await;
        let window = self.begin_window(plan)?;
        self.shared.set_phase(Phase::Count);
        pass(Duration::from_secs(plan.seconds), what).await;
        self.shared.set_phase(Phase::Listen);
        self.end_window(plan, window)
    }

    /// Lets everything settle.
    pub(super) async fn warm_up(&self, plan: &Plan) {
        pass(plan.warm_up, "warming up").await;
    }

    /// Reads what both ends have cost so far.
    pub(super) fn begin_window(&self, plan: &Plan) -> Result<OpenWindow> {
        let generator = Reading::now(plan.engine.media_threads())?;
        Ok(OpenWindow { server: server_usage(plan, &self.target)?, generator })
    }

    /// Reads what both ends have cost since.
    pub(super) fn end_window(&self, plan: &Plan, begun: OpenWindow) -> Result<Window> {
        let server = begun.server.zip(server_usage(plan, &self.target)?);
        let generator = begun.generator.until(&Reading::now(plan.engine.media_threads())?);
        Ok(Window { server, generator })
    }

    /// Everyone's latency since the last call.
    pub(super) async fn take_latency(&mut self) -> Result<Histogram> {
        let mut taken = Histogram::default();
        for seated in &mut self.seats {
            taken.merge(&seated.seat.take_latency().await?);
        }
        self.latency.merge(&taken);
        Ok(taken)
    }

    /// Everyone leaves, all rooms are closed, and what was counted is added up.
    pub(super) async fn close(mut self, plan: &Plan, name: &'static str, window: Option<&Window>) -> Result<Report> {
        self.shared.set_phase(Phase::Listen);
        sleep(UNDER_WAY_MAX).await;
        let tallies = self.leave().await?;
        for room in std::mem::take(&mut self.rooms) {
            // The server's own reaping of what is left is tested elsewhere.
            let _ = self.target.close_room(room).await;
        }
        let mut report = sum(&self.people, &tallies, &self.latency);
        report.scenario = name;
        report.target = self.target.name().to_owned();
        report.engine = plan.engine.name();
        report.sink = plan.engine.sink();
        report.seconds = plan.seconds;
        report.participants = self.people.len();
        report.joins = self.times.report();
        report.server_rss_before_bytes = self.rss_before;
        if let Some(window) = window {
            window.charge(&mut report);
        }
        if let Some(first) = self.lost_seats.first() {
            report.miss(format!("{} seats were lost during the run: {first}", self.lost_seats.len()));
        }
        Ok(report)
    }

    async fn leave(&mut self) -> Result<HashMap<u32, Tally>> {
        let mut leaving = JoinSet::new();
        for Seated { person, seat } in self.seats.drain(..) {
            if let Some(why) = seat.failure() {
                self.lost_seats.push(why);
            }
            leaving.spawn(async move { (person.plan.number, seat.leave().await) });
        }
        let mut tallies = HashMap::new();
        while let Some(left) = leaving.join_next().await {
            match left? {
                (number, Ok(tally)) => {
                    tallies.insert(number, tally);
                }
                (_, Err(error)) => self.lost_seats.push(format!("{error:#}")),
            }
        }
        Ok(tallies)
    }
}

impl Window {
    /// Writes the costs into the report.
    fn charge(&self, report: &mut Report) {
        self.generator.charge(report);
        let Some((before, after)) = &self.server else { return };
        let (all, media) = after.since(before);
        let per_packet =
            |seconds: f64| (report.packets_received > 0).then(|| seconds * 1e9 / report.packets_received as f64);
        report.server_cpu_ns_per_forwarded_packet = Some(all).and_then(per_packet);
        report.server_media_cpu_ns_per_forwarded_packet = media.and_then(per_packet);
        report.server_cpu_seconds = Some(all);
        report.server_media_cpu_seconds = media;
        report.server_control_cpu_seconds = media.map(|media| (all - media).max(0.0));
        report.server_rss_bytes = Some(after.rss_bytes);
    }

    /// Processor seconds of the server.
    pub(super) fn server_seconds(&self) -> Option<f64> {
        self.server.map(|(before, after)| after.since(&before).0)
    }
}

/// The server's cost so far; `None` without `--pid`.
pub(super) fn server_usage<T: Target>(plan: &Plan, target: &T) -> Result<Option<Usage>> {
    plan.pid.map(|pid| process::usage(pid, target.media_threads())).transpose()
}

/// Waits, showing how long still.
pub(super) async fn pass(whole: Duration, what: &str) {
    let start = Instant::now();
    let mut progress = Progress::default();
    while let Some(left) = whole.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        progress.show(start.elapsed().as_secs_f64(), whole.as_secs_f64(), what);
        sleep(left.min(TICK)).await;
    }
}

/// Which kinds of media a seat must have got to be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Awaited {
    voice: bool,
    picture: bool,
}

impl Awaited {
    /// Both, as in a call of two.
    pub(super) const ALL: Awaited = Awaited { voice: true, picture: true };

    /// Whether they are there.
    pub(super) fn is_met(self, milestones: &Milestones) -> bool {
        milestones.connected.is_some()
            && (!self.voice || milestones.voice.is_some())
            && (!self.picture || milestones.picture.is_some())
    }
}

/// What the others of the room send, if this seat receives it.
fn awaited(opening: Opening, plan: &LegPlan, room: &[SeatShape], seat: usize) -> Awaited {
    let hears = opening == Opening::WithMedia && plan.slots > 0;
    let others = || room.iter().enumerate().filter(|(index, _)| *index != seat).map(|(_, other)| other);
    Awaited {
        voice: hears && others().any(|other| other.voice),
        picture: hears && others().any(|other| other.camera.is_some()),
    }
}

/// One join, from nothing to media.
pub(super) async fn join<T: Target>(
    target: &T,
    engine: &Engine,
    room: &T::Room,
    person: Person,
    awaited: Awaited,
) -> Result<T::Seat> {
    let started = Instant::now();
    let mut seat = target.join(engine, room, person.seat, person.plan, started).await?;
    seat.wait(move |milestones| awaited.is_met(milestones), started + JOIN_TIME_MAX).await?;
    Ok(seat)
}

/// Adds up what all of them sent and received: each ought to get what the others of the room send.
fn sum(people: &[Person], tallies: &HashMap<u32, Tally>, latency: &Histogram) -> Report {
    let mut report = Report::default();
    let mut latency = latency.clone();
    for receiver in people {
        let Some(tally) = tallies.get(&receiver.plan.number) else { continue };
        report.packets_sent += tally.sent.values().map(|&sent| u64::from(sent)).sum::<u64>();
        report.send_errors += tally.send_errors;
        report.generator_kernel_drops += tally.kernel_drops;
        report.srtp_profile = report.srtp_profile.or(tally.profile);
        latency.merge(&tally.latency);
        let others = people.iter().filter(|other| other.room == receiver.room && other.seat != receiver.seat);
        if receiver.plan.slots == 0 {
            continue;
        }
        let mut layered = false;
        for sender in others {
            let sent =
                |stream| tallies.get(&sender.plan.number).and_then(|t| t.sent.get(&stream)).copied().unwrap_or(0);
            let got = |stream| tally.received.get(&stream).map_or(0, |seen| seen.count());
            let number = sender.plan.number;
            let layers = sender.plan.camera.map_or(0, |camera| camera.layers);
            let plain = std::iter::once(voice_stream(number)).chain((layers == 1).then(|| camera_stream(number, 0)));
            for stream in plain {
                report.packets_forwarded_expected += u64::from(sent(stream));
                report.packets_received += got(stream);
            }
            if layers > 1 {
                // Which layers were meant for whom only the server knows: what came was, and what left a hole.
                let came: u64 = (0..layers).map(|layer| got(camera_stream(number, layer))).sum();
                report.packets_received += came;
                report.packets_forwarded_expected += came;
                layered = true;
            }
        }
        if layered {
            report.packets_forwarded_expected += tally.unrepaired;
        }
    }
    report.lost = report.packets_forwarded_expected.saturating_sub(report.packets_received);
    report.latency_us = Latency::from(&latency);
    report.latency_curve = curve(&latency);
    repairs(&mut report, tallies);
    report
}

/// How hard the legs had to work for it.
fn repairs(report: &mut Report, tallies: &HashMap<u32, Tally>) {
    let total = |count: fn(&Tally) -> u64| tallies.values().map(count).sum::<u64>();
    report.add("nacks_sent", total(|tally| tally.nacks_sent));
    report.add("retransmissions_received", total(|tally| tally.retransmissions_received));
    report.add("keyframe_requests", total(|tally| tally.keyframe_requests));
    let gap = tallies.values().map(|tally| tally.gap_max).max().unwrap_or_default();
    report.add("gap_max_ms", gap.as_secs_f64() * 1_000.0);
}

const BETWEEN_ROOMS: Duration = Duration::from_millis(20);
/// After sending ended; retransmissions are through by then.
const UNDER_WAY_MAX: Duration = Duration::from_secs(1);
/// How often a waiting run looks at the time.
const TICK: Duration = Duration::from_millis(250);
/// Fewer rooms say nothing about the memory of one.
const ROOMS_JUDGED_MIN: usize = 10;

#[cfg(test)]
mod tests {
    use super::super::shapes::{camera, everyone, pair, webinar};
    use super::super::tests::plan;
    use super::*;

    fn tally(sent: &[(u32, u32)], received: &[(u32, u32)]) -> Tally {
        let mut tally = Tally { sent: sent.iter().copied().collect(), ..Tally::default() };
        for &(stream, count) in received {
            let seen = tally.received.entry(stream).or_default();
            (0..count).for_each(|number| assert!(seen.insert(number)));
        }
        tally
    }

    #[test]
    fn losses_are_what_the_other_of_the_room_did_not_get() {
        let people = Steady::people(&[pair(Some(camera(100, 1)))], 0);
        let [voice, picture] = [voice_stream, |leg| camera_stream(leg, 0)];
        let first = tally(&[(voice(0), 1_000), (picture(0), 2_000)], &[(voice(1), 1_000), (picture(1), 1_990)]);
        let second = tally(&[(voice(1), 1_000), (picture(1), 2_000)], &[(voice(0), 1_000), (picture(0), 2_000)]);
        let report = sum(&people, &HashMap::from([(0, first), (1, second)]), &Histogram::default());
        assert_eq!((report.packets_sent, report.packets_forwarded_expected), (6_000, 6_000));
        assert_eq!((report.packets_received, report.lost), (5_990, 10));
    }

    #[test]
    fn packets_of_another_room_are_no_gain() {
        let people = Steady::people(&[pair(None), pair(None)], 0);
        let voice = voice_stream;
        let stray = tally(&[(voice(0), 100)], &[(voice(1), 100), (voice(2), 100)]);
        let tallies = HashMap::from([
            (0, stray),
            (1, tally(&[(voice(1), 100)], &[(voice(0), 100)])),
            (2, tally(&[(voice(2), 100)], &[])),
            (3, tally(&[(voice(3), 100)], &[(voice(2), 100)])),
        ]);
        let report = sum(&people, &tallies, &Histogram::default());
        assert_eq!((report.packets_forwarded_expected, report.packets_received, report.lost), (400, 300, 100));
    }

    #[test]
    fn each_of_a_webinars_viewers_ought_to_get_everything() {
        let people = Steady::people(&[webinar(3, camera(100, 1))], 0);
        let picture = camera_stream(0, 0);
        let mut tallies = HashMap::from([(0, tally(&[(picture, 500)], &[]))]);
        (1..=3).for_each(|viewer| {
            tallies.insert(viewer, tally(&[], &[(picture, 500 - viewer)]));
        });
        let report = sum(&people, &tallies, &Histogram::default());
        assert_eq!((report.packets_sent, report.packets_forwarded_expected, report.lost), (500, 1_500, 6));
    }

    #[test]
    fn of_layers_only_holes_are_losses() {
        let people = Steady::people(&[everyone(2, false, Some(camera(100, 3)))], 0);
        let layers = |leg| [0, 1, 2].map(|layer| (camera_stream(leg, layer), 300));
        let mut viewer = tally(&layers(1), &[(camera_stream(0, 1), 120), (camera_stream(0, 2), 150)]);
        viewer.unrepaired = 4;
        let tallies = HashMap::from([(0, tally(&layers(0), &[])), (1, viewer)]);
        let report = sum(&people, &tallies, &Histogram::default());
        assert_eq!((report.packets_sent, report.packets_received, report.lost), (1_800, 270, 4));
    }

    #[test]
    fn a_seat_waits_for_what_the_others_send() {
        let room = webinar(2, camera(100, 1));
        let plans = Steady::people(std::slice::from_ref(&room), 0);
        let of = |seat: usize, opening| awaited(opening, &plans[seat].plan, &room, seat);
        assert_eq!(of(0, Opening::WithMedia), Awaited { voice: false, picture: false }, "the speaker sees nobody");
        assert_eq!(of(1, Opening::WithMedia), Awaited { voice: false, picture: true });
        assert_eq!(of(1, Opening::Silent), Awaited { voice: false, picture: false });
        let connected = Milestones { connected: Some(Duration::ZERO), ..Milestones::default() };
        assert!(of(0, Opening::WithMedia).is_met(&connected) && !of(1, Opening::WithMedia).is_met(&connected));
    }

    #[test]
    fn loss_and_latency_are_judged_by_their_limits() {
        let whole = Report { packets_received: 999, packets_forwarded_expected: 1_000, lost: 1, ..Report::default() };
        let judged = |mut report: Report, plan: &Plan| {
            judge_calls(&mut report, plan, 5.0);
            report.missed
        };
        assert!(judged(whole.clone(), &plan()).is_empty());
        let lossy = Report { lost: 2, ..whole.clone() };
        assert_eq!(judged(lossy.clone(), &plan()), ["packets lost 0.200 %, at most 0.100 %"]);
        let patient = Plan { limits: super::super::Limits { loss_max: Some(1.0), ..Default::default() }, ..plan() };
        assert!(judged(lossy, &patient).is_empty());
        let slow = Report { latency_us: Latency { p50: 10, p99: 7_000, max: 8_000 }, ..whole };
        assert_eq!(judged(slow, &plan()), ["one-way p99 7 ms, at most 5 ms"]);
        assert_eq!(judged(Report::default(), &plan()), ["no packet was received"]);
    }
}
