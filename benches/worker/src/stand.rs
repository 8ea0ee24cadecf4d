//! One measured run of the real worker: start it, let a publisher and its viewers join, drive it, read its thread's clock.

use std::collections::HashSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use colloque::ids::{LegId, RoomId, SeatId};
use colloque::rtp::codec::Source;
use colloque::sfu::command::{Command, Event, SeatPolicy};
use colloque::sfu::egress::{NtpReference, NtpTime};
use colloque::sfu::{Sfu, SfuConfig};
use colloque::transport::dtls::DtlsAcceptor;
use colloque::transport::dtls_sim::SimAcceptor;
use colloque::transport::srtp::Profile;
use colloque::worker::{WorkerHandle, WorkerId};
use limit_probe::generator::{SendTimes, drive};
use limit_probe::kernel::{self, StampedSocket};
use limit_probe::packets::number_of;
use limit_probe::settings::Settings;
use limit_probe::{Figures, GENERATOR_CORE, Latencies, Phase, WARM_UP};
use tokio::sync::mpsc;

use crate::far_end;
use crate::publisher::{Media, Publisher};
use crate::route::{VIEWERS, ViewersAreLocal};

/// A worker with one room: one publisher, `viewers` viewers.
struct Stand {
    worker: WorkerHandle,
    events: mpsc::Receiver<(WorkerId, Event)>,
    viewers: usize,
    /// The worker's thread, as the kernel numbers it.
    thread: i32,
    publisher: Publisher,
    socket: UdpSocket,
    /// The last viewer, when latency is asked for: it listens, the others do not.
    listener: Option<StampedSocket>,
}

/// What is read of a running worker.
struct Gauge {
    worker: WorkerHandle,
    /// Its thread, as the kernel numbers it.
    thread: i32,
}

/// Runs the settings once with the real worker: every worker's figures.
///
/// # Panics
/// When a worker does not start, or does not forward everything: there is no figure then.
pub fn measure(settings: &Settings) -> Vec<Figures> {
    let stands: Vec<Stand> = {
        let _local = ViewersAreLocal::new();
        (0..settings.workers).map(|index| Stand::new(index, settings)).collect()
    };
    let gauges: Vec<Gauge> = stands.iter().map(Stand::gauge).collect();
    let phase = Phase::default();
    let runs: Vec<_> = stands
        .into_iter()
        .map(|stand| {
            let (settings, phase) = (settings.clone(), phase.clone());
            thread::spawn(move || stand.run(&settings, &phase))
        })
        .collect();
    thread::sleep(WARM_UP);
    phase.begin_measuring();
    let before: Vec<Figures> = gauges.iter().map(Gauge::read).collect();
    thread::sleep(Duration::from_millis(settings.millis));
    let after: Vec<Figures> = gauges.iter().map(Gauge::read).collect();
    phase.end();
    let latencies = runs.into_iter().map(|run| run.join().expect("a run that ends"));
    let spans = after.iter().zip(&before).zip(latencies);
    let figures = spans.map(|((after, before), latencies)| span(before, after, settings.viewers, latencies)).collect();
    drop(gauges);
    wait_until("the workers ended", || worker_thread(0).is_none() && worker_thread(1).is_none());
    figures
}

/// What happened between two readings.
fn span(before: &Figures, after: &Figures, viewers: usize, latencies: Latencies) -> Figures {
    let packets_in = after.packets_in - before.packets_in;
    Figures {
        packets_in,
        packets_out: packets_in * viewers as u64,
        cpu_nanos: after.cpu_nanos - before.cpu_nanos,
        wall_nanos: after.wall_nanos - before.wall_nanos,
        wakeups: after.wakeups - before.wakeups,
        send_calls: 0,
        latencies,
    }
}

impl Gauge {
    /// Its clock and counters now.
    fn read(&self) -> Figures {
        Figures {
            packets_in: self.worker.counters().datagrams_done(),
            wakeups: self.worker.counters().turns(),
            cpu_nanos: kernel::thread_cpu_nanos_of(self.thread),
            wall_nanos: kernel::monotonic_nanos(),
            ..Figures::default()
        }
    }
}

impl Stand {
    fn new(index: usize, settings: &Settings) -> Self {
        let acceptor = || SimAcceptor::new(Profile::AeadAes128Gcm, 1);
        let ntp = NtpReference { instant: Instant::now(), ntp: NtpTime(0xe8a1_0000_0000_0000) };
        let sfu = Sfu::new(SfuConfig { ntp, grace: Duration::from_secs(120) }, 1, Box::new(acceptor()));
        let (sender, events) = mpsc::channel(1024);
        let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let worker = WorkerHandle::spawn(WorkerId(index), &[bind], sfu, sender).expect("a worker");
        let server = worker.addresses()[0];
        let (media, source) =
            if settings.size < 300 { (Media::Voice, Source::Microphone) } else { (Media::Video, Source::Camera) };
        let command = |command| worker.try_send(command).expect("a worker that takes commands");
        command(Command::OpenRoom(ROOM));
        let join = |leg: u64, source, local: SocketAddr| {
            let (seat, stamp) = (SeatId(leg), format!("seat_{leg}").into());
            command(Command::SetPolicy { room: ROOM, seat, policy: SeatPolicy::ALL });
            let parameters = Box::new(far_end::parameters(leg, source));
            command(Command::AddLeg { room: ROOM, seat, leg: LegId(leg), stamp, parameters });
            far_end::join(leg, local, server, acceptor().fingerprint())
        };
        let (socket, keys) = join(PUBLISHER, Some(source), (Ipv4Addr::LOCALHOST, 0).into());
        let mut listener = None;
        for viewer in 0..settings.viewers {
            let listens = settings.latency && viewer + 1 == settings.viewers;
            let ip = if listens { Ipv4Addr::LOCALHOST } else { VIEWERS };
            let port = FIRST_VIEWER_PORT + (index * 100 + viewer) as u16;
            let (socket, _) = join(PUBLISHER + 1 + viewer as u64, None, (ip, port).into());
            listener = listens.then(|| StampedSocket::new(socket));
        }
        let thread = worker_thread(index).expect("the worker's thread");
        let publisher = Publisher::new(media, settings, keys);
        let mut stand = Self { worker, events, viewers: settings.viewers, thread, publisher, socket, listener };
        stand.begin();
        stand
    }

    /// Sends key frames until every viewer was sent something.
    fn begin(&mut self) {
        let mut reached = HashSet::new();
        let Self { worker: _, events, viewers, publisher, socket, listener, .. } = self;
        wait_until("every viewer gets media", || {
            socket.send(publisher.keyframe()).expect("a packet");
            while let Ok((_, event)) = events.try_recv() {
                if let Event::FirstForwarded(leg) = event {
                    reached.insert(leg);
                }
            }
            reached.len() == *viewers
        });
        thread::sleep(Duration::from_millis(5));
        while listener.as_mut().is_some_and(|listener| listener.receive(|_, _| {})) {}
    }

    fn gauge(&self) -> Gauge {
        Gauge { worker: self.worker.clone(), thread: self.thread }
    }

    /// Drives the worker until the run is over: the latencies, when they were asked for.
    fn run(mut self, settings: &Settings, phase: &Phase) -> Latencies {
        kernel::pin_to_core(GENERATOR_CORE);
        let sent_at = SendTimes::new();
        let counters = self.worker.counters();
        let first = counters.datagrams_done();
        let progress = || counters.datagrams_done() - first;
        let mut latencies = if settings.latency { Latencies::reserved() } else { Latencies::default() };
        let first_number = self.publisher.next_number();
        let mut offset = None;
        let listener = &mut self.listener;
        let idle = || {
            let Some(listener) = listener else { return };
            listener.receive(|datagram, arrived| {
                if is_rtcp(datagram) {
                    return;
                }
                // The first that comes is the first that was sent: numbers differ by the same from then on.
                let number = number_of(datagram);
                let offset = *offset.get_or_insert(number.wrapping_sub(first_number));
                if phase.is_measured() {
                    latencies.record(arrived.saturating_sub(sent_at.of(number.wrapping_sub(offset))));
                }
            });
        };
        drive(settings, &self.socket, phase, &sent_at, &mut self.publisher, progress, idle);
        self.check();
        latencies
    }

    /// Everything that came was forwarded to everybody, but for what came before each viewer's first key frame.
    fn check(&self) {
        let counters = self.worker.counters();
        let viewers = self.viewers as u64;
        wait_until("everything is forwarded", || {
            let (mut packets, mut forwarded) = (0, 0);
            counters.for_each(|name, _, value| match name {
                "rtp_in" => packets = value,
                "rtp_forwarded" => forwarded = value,
                _ => {}
            });
            assert_eq!(counters.io().send_refused, 0, "the kernel refused to send");
            packets > 0 && forwarded + viewers * KEYFRAMES_MAX >= packets * viewers
        });
    }
}

fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.get(1).is_some_and(|second| (192..224).contains(second))
}

fn worker_thread(index: usize) -> Option<i32> {
    let name = format!("media-{index}\n");
    let threads = fs::read_dir("/proc/self/task").expect("Linux").flatten();
    let named = threads.filter(|thread| fs::read_to_string(thread.path().join("comm")).is_ok_and(|comm| comm == name));
    named.filter_map(|thread| thread.file_name().to_str()?.parse().ok()).next()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(POLL);
    }
}

const ROOM: RoomId = RoomId(1);
const PUBLISHER: u64 = 100;
/// Key frames sent while viewers are still being served for the first time.
const KEYFRAMES_MAX: u64 = 100;
const FIRST_VIEWER_PORT: u16 = 30_000;
const POLL: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(3);
