//! `make bench-telephone`: calls with their sockets on one media thread, as many as a core should carry.
//!
//! Ours is the production pool: its thread, clock, sockets, jitter buffers, codecs and the line to the room. Around it stands
//! a far end in a thread of its own: telephones that send and receive A-law over loopback, and the rooms' ends of the lines, in
//! which a doctor speaks. The CPU told is the media thread's own clock, so that the far end does not count, nor does the
//! worker, which is measured elsewhere (`make bench-worker`).
//!
//! Frames are late by the wall clock, which counts what a hypervisor or other programs took as well, and by the thread's own work: what
//! would be late on a core that it has to itself (`clock::Backlog`).
//!
//! Every tenth call measures delay: its telephone and its doctor are quiet but for a burst every second, and the moment at which
//! a loud frame leaves on the other side tells how long it was on its way. Not here: any threshold that fails. It prints;
//! people judge.

mod far_end;
mod sound;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use std::{env, process};

use colloque::telephone::media::{MediaPool, MediaSettings};

use far_end::{Delays, FarEnd};

/// One line of the table.
struct Row {
    calls: usize,
    complexity: u8,
}

const ROWS: [Row; 4] = [
    Row { calls: 10, complexity: 5 },
    Row { calls: 50, complexity: 5 },
    Row { calls: 90, complexity: 5 },
    Row { calls: 100, complexity: 2 },
];

fn main() {
    let mut arguments = env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(20), |word| word.parse::<u64>());
    let only = arguments.next().map(|word| word.parse::<usize>()).transpose();
    let (Ok(seconds), Ok(only)) = (seconds, only) else {
        eprintln!("usage: bench-telephone [SECONDS A ROW [ONLY SO MANY CALLS]]");
        process::exit(2);
    };
    println!(
        "G.711 calls on one media thread, {seconds} s each; delays are of the server alone, without Opus's 6.5 ms\n"
    );
    println!(
        "| {:>5} | {:>10} | {:>11} | {:>9} | {:>10} | {:>12} | {:>9} | {:>17} | {:>17} |",
        "calls",
        "complexity",
        "CPU a call",
        "of a core",
        "late",
        "late by work",
        "made up",
        "to the room",
        "to the telephone"
    );
    println!(
        "|{:->7}|{:->12}|{:->13}|{:->11}|{:->12}|{:->14}|{:->11}|{:->19}|{:->19}|",
        ":", ":", ":", ":", ":", ":", ":", ":", ":"
    );
    for row in ROWS.iter().filter(|row| only.is_none_or(|only| row.calls == only)) {
        match measure(row, Duration::from_secs(seconds)) {
            Ok(outcome) => outcome.print(row),
            Err(error) => {
                eprintln!("{} calls: {error}", row.calls);
                process::exit(1);
            }
        }
    }
}

/// What one row showed.
struct Outcome {
    wall: Duration,
    cpu: Duration,
    frames: u64,
    late: u64,
    late_by_work: u64,
    made_up: f64,
    to_room: Delays,
    to_telephone: Delays,
}

fn measure(row: &Row, span: Duration) -> Result<Outcome, Box<dyn std::error::Error>> {
    let settings = MediaSettings {
        bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
        ports: 20_000..=29_999,
        port_rest: Duration::from_secs(1),
        threads: 1,
        legs_max: row.calls,
        complexity: row.complexity,
    };
    let pool = MediaPool::start(&settings)?;
    let mut far_end = FarEnd::open(&pool, row.calls)?;
    far_end.run(WARM_UP);
    far_end.forget();
    let before = Figures::read(&pool);
    let wall = far_end.run(span);
    let after = Figures::read(&pool);
    Ok(Outcome {
        wall,
        cpu: Duration::from_nanos(after.cpu_nanoseconds - before.cpu_nanoseconds),
        frames: after.frames - before.frames,
        late: after.late - before.late,
        late_by_work: after.late_by_work - before.late_by_work,
        made_up: far_end.made_up(),
        to_room: std::mem::take(&mut far_end.to_room),
        to_telephone: std::mem::take(&mut far_end.to_telephone),
    })
}

impl Outcome {
    fn print(mut self, row: &Row) {
        let core = self.cpu.as_secs_f64() / self.wall.as_secs_f64();
        println!(
            "| {:>5} | {:>10} | {:>7.0} µs/s | {:>7.1} % | {:>8.3} % | {:>10.3} % | {:>7.2} % | {:>17} | {:>17} |",
            row.calls,
            row.complexity,
            core * 1e6 / row.calls as f64,
            core * 100.0,
            self.late as f64 * 100.0 / self.frames.max(1) as f64,
            self.late_by_work as f64 * 100.0 / self.frames.max(1) as f64,
            self.made_up * 100.0,
            self.to_room.describe(),
            self.to_telephone.describe(),
        );
    }
}

/// What the pool publishes once a second.
struct Figures {
    cpu_nanoseconds: u64,
    frames: u64,
    late: u64,
    late_by_work: u64,
}

impl Figures {
    fn read(pool: &MediaPool) -> Self {
        let mut figures = Figures { cpu_nanoseconds: 0, frames: 0, late: 0, late_by_work: 0 };
        pool.read_counters(&mut |_, name, _, value| match name {
            "telephone_cpu_nanoseconds" => figures.cpu_nanoseconds = value,
            "telephone_frames" => figures.frames = value,
            "telephone_frames_late" => figures.late = value,
            "telephone_frames_late_by_work" => figures.late_by_work = value,
            _ => {}
        });
        figures
    }
}

/// Jitter buffers settle, gains find their level.
const WARM_UP: Duration = Duration::from_secs(4);
