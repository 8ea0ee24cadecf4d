//! `make bench-worker`: what a forwarded packet costs the real worker, beside what the probe's bare loop costs in the
//! same minute, as ratios.
//!
//! Ours is the production worker: its thread, its sockets, its `Sfu`, reached by commands and datagrams only. The far
//! ends are joined over real sockets (with the simulation's handshake), then the viewers' addresses are routed to a
//! driver that costs nothing, as the probe's are. Every repetition runs ours, the probe and the probe's `sendto` one
//! after the other, so that a noisy minute hits them alike; a ratio is of one repetition, and the table shows the
//! median with the least and the greatest. Absolute figures wander by a third from day to day; ratios do not.
//!
//! Not here: any threshold that fails. It prints; people judge.

mod far_end;
mod publisher;
mod route;
mod stand;

use std::{env, process};

use limit_probe::Figures;
use limit_probe::settings::Settings;
use stand::measure;

/// One line of the table.
struct Row {
    name: &'static str,
    /// Settings of the probe, which ours follows.
    words: &'static str,
    /// Ours over the probe, at most.
    target: Option<f64>,
    /// Ours over the probe's `sendto`, at most.
    target_sendto: Option<f64>,
}

const fn row(name: &'static str, words: &'static str, target: Option<f64>, target_sendto: Option<f64>) -> Row {
    Row { name, words, target, target_sendto }
}

/// Video of 1200 B in bursts as a frame's packets, voice of 120 B one by one. `window=1`: the next packet is sent when
/// the last was forwarded, so every packet wakes the worker; `window=16`: it finds several.
/// Where sizes differ, the probe pads as much as the worker may (`pad=4`): that is the limit.
const ROWS: [Row; 15] = [
    row("video, bursts of 8, 1 viewer", "n=1", Some(1.2), None),
    row("video, bursts of 8, 3 viewers", "n=3", None, None),
    row("video, bursts of 8, 9 viewers", "n=9", Some(1.25), Some(0.45)),
    row("video, bursts of 8, 49 viewers", "n=49", Some(1.2), None),
    row("sizes a byte apart, 1 viewer", "n=1 pat=byte pad=4", None, None),
    row("sizes a byte apart, 9 viewers", "n=9 pat=byte pad=4", None, None),
    row("sizes of all kinds, 9 viewers", "n=9 pat=mix pad=4", None, None),
    row("voice one by one, 3 viewers", "n=3 size=120 burst=1 window=1", Some(1.25), None),
    row("voice one by one, 9 viewers", "n=9 size=120 burst=1 window=1", Some(1.25), None),
    row("voice one by one, 49 viewers", "n=49 size=120 burst=1 window=1", Some(1.25), None),
    row("voice of 16, 3 viewers", "n=3 size=120 burst=1 window=16", Some(1.25), None),
    row("voice of 16, 9 viewers", "n=9 size=120 burst=1 window=16", Some(1.25), None),
    row("voice of 16, 49 viewers", "n=49 size=120 burst=1 window=16", Some(1.25), None),
    row("browser-paced video, 1 viewer", "n=1 burst=1 pat=mix rate=250 ms=1500", None, None),
    row("two workers, 9 viewers each", "n=9 workers=2", None, None),
];

/// Figures of every repetition of one row.
#[derive(Default)]
struct Costs {
    ours: Vec<f64>,
    probe: Vec<f64>,
    sendto: Vec<f64>,
    batch: Vec<f64>,
}

fn main() {
    let mut arguments = env::args().skip(1);
    let repeats = arguments.next().map_or(Ok(REPEATS), |word| word.parse());
    let (Ok(repeats), filter) = (repeats, arguments.next().unwrap_or_default()) else {
        eprintln!("usage: bench-worker [REPEATS [WORDS OF A ROW]]");
        process::exit(2);
    };
    if !route::is_ready() {
        eprintln!("no free driver here: start it by `make bench-worker`, which makes a network namespace for it");
        process::exit(1);
    }
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.words.contains(&filter) || row.name.contains(&filter)).collect();
    let mut costs: Vec<Costs> = rows.iter().map(|_| Costs::default()).collect();
    for _ in 0..repeats {
        for (row, costs) in rows.iter().zip(&mut costs) {
            costs.add(row.words);
        }
    }
    print_costs(&rows, &costs);
    print_two_workers(&rows, &costs);
    if let Some(at) = rows.iter().position(|row| row.words == "n=9") {
        print_latency(median(&costs[at].ours), median(&costs[at].probe), repeats);
    }
}

impl Costs {
    fn add(&mut self, words: &str) {
        let ours = measure(&settings(words));
        self.batch.push(ours.iter().map(Figures::batch).sum::<f64>() / ours.len() as f64);
        self.ours.push(cost(&ours));
        self.probe.push(cost(&limit_probe::run(&settings(words))));
        self.sendto.push(cost(&limit_probe::run(&settings(&format!("{words} rx=from tx=to")))));
    }
}

fn settings(words: &str) -> Settings {
    words.parse().expect("words that the probe knows")
}

/// CPU-ns per forwarded packet of all workers together.
fn cost(figures: &[Figures]) -> f64 {
    let sum = |of: fn(&Figures) -> u64| figures.iter().map(of).sum::<u64>() as f64;
    sum(|f| f.cpu_nanos) / sum(|f| f.packets_out).max(1.0)
}

fn print_costs(rows: &[&Row], costs: &[Costs]) {
    println!("CPU-ns per forwarded packet, sender's side alone; ratios are median (least to greatest)\n");
    println!(
        "| {:<32} | {:>6} | {:>6} | {:>18} | {:>6} | {:>6} | {:>18} | {:>6} | {:>5} |",
        "", "ours", "probe", "ours / probe", "target", "sendto", "ours / sendto", "target", "batch"
    );
    println!(
        "|{:-<34}|{:->8}|{:->8}|{:->20}|{:->8}|{:->8}|{:->20}|{:->8}|{:->7}|",
        "", ":", ":", ":", ":", ":", ":", ":", ":"
    );
    for (row, costs) in rows.iter().zip(costs) {
        let target = |target: Option<f64>| target.map_or_else(String::new, |target| format!("{target:.2}"));
        println!(
            "| {:<32} | {:>6.0} | {:>6.0} | {:>18} | {:>6} | {:>6.0} | {:>18} | {:>6} | {:>5.1} |",
            row.name,
            median(&costs.ours),
            median(&costs.probe),
            ratio(&costs.ours, &costs.probe),
            target(row.target),
            median(&costs.sendto),
            ratio(&costs.ours, &costs.sendto),
            target(row.target_sendto),
            median(&costs.batch),
        );
    }
}

/// Two workers against one, where both rows were run.
fn print_two_workers(rows: &[&Row], costs: &[Costs]) {
    let of = |words: &str| rows.iter().position(|row| row.words == words).map(|at| &costs[at]);
    if let (Some(one), Some(two)) = (of("n=9"), of("n=9 workers=2")) {
        println!(
            "\ntwo workers over one, per packet (target 1.05): ours {}, probe {}",
            ratio(&two.ours, &one.ours),
            ratio(&two.probe, &one.probe)
        );
    }
}

/// At half of what each can carry: ours from the generator's send to the kernel's receive stamp at the last viewer, who
/// alone listens on the loopback; the probe's to the end of its send call.
fn print_latency(ours: f64, probe: f64, repeats: usize) {
    let at_half = |cost: f64| settings(&format!("n=9 lat=1 rate={:.0}", 1e9 / cost / 2.0 / (8.0 * 9.0)));
    let (mut of_ours, mut of_probe) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut busy = Vec::new();
    for _ in 0..repeats {
        let (of_worker, of_loop) = (measure(&at_half(ours)).remove(0), limit_probe::run(&at_half(probe)).remove(0));
        busy.push(of_worker.busy());
        for (at, share) in [0.5, 0.99].into_iter().enumerate() {
            of_ours[at].push(of_worker.latencies.quantile_micros(share));
            of_probe[at].push(of_loop.latencies.quantile_micros(share));
        }
    }
    println!(
        "\nadded latency at half load (ours busy {:.2}), us: p50 {:.0} (target 150; probe {:.0}), \
         p99 {:.0} (target 700; probe {:.0})",
        median(&busy),
        median(&of_ours[0]),
        median(&of_probe[0]),
        median(&of_ours[1]),
        median(&of_probe[1])
    );
}

fn ratio(of: &[f64], to: &[f64]) -> String {
    let ratios: Vec<f64> = of.iter().zip(to).map(|(of, to)| of / to).collect();
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = ratios.iter().copied().fold(0.0, f64::max);
    format!("{:.2} ({least:.2} to {greatest:.2})", median(&ratios))
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The least from which a median with its spread says something.
const REPEATS: usize = 7;
