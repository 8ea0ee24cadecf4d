//! Runs the probe by itself: `one KEY=VALUE…`, or `set REPEATS FILE`, which runs every line of a file so many times,
//! interleaved, and prints the median of each.

use std::{env, fs, process};

use limit_probe::settings::Settings;
use limit_probe::{Figures, run};

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (repeats, lines) = match words[..] {
        ["one", ..] => (1, vec![words[1..].join(" ")]),
        ["set", repeats, file] => {
            let text = fs::read_to_string(file).unwrap_or_else(|error| fail(&format!("{file}: {error}")));
            let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
            (repeats.parse().unwrap_or_else(|_| fail("how often?")), lines.map(str::to_owned).collect())
        }
        _ => fail("usage: limit-probe one KEY=VALUE… | set REPEATS FILE"),
    };
    let settings: Vec<Settings> =
        lines.iter().map(|line| line.parse().unwrap_or_else(|error: String| fail(&error))).collect();
    let mut figures = vec![Vec::new(); lines.len()];
    for _ in 0..repeats {
        for (figures, settings) in figures.iter_mut().zip(&settings) {
            figures.extend(run(settings));
        }
    }
    for (line, figures) in lines.iter().zip(&figures) {
        print(line, figures);
    }
}

fn print(line: &str, figures: &[Figures]) {
    let median = |of: &dyn Fn(&Figures) -> f64| {
        let mut values: Vec<f64> = figures.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "{line:<58} {:>6.0} CPU-ns a packet | {:>4.1} packets a wake-up, {:.3} calls a packet, busy {:.2} | \
         latency {:.0} / {:.0} us",
        median(&Figures::cost),
        median(&Figures::batch),
        median(&|f| f.send_calls as f64 / f.packets_out.max(1) as f64),
        median(&Figures::busy),
        median(&|f| f.latencies.quantile_micros(0.5)),
        median(&|f| f.latencies.quantile_micros(0.99)),
    );
}

fn fail(why: &str) -> ! {
    eprintln!("{why}");
    process::exit(2)
}
