//! Times for people: every row of `cases` under criterion, each with its rate per packet. `make bench`.
//!
//! `run` alone is timed; the time of reading the clock twice (some 50 ns) is in each figure, once a run.

use std::time::{Duration, Instant};

use colloque_bench::cases::rows;
use criterion::{Criterion, Throughput};

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50)
        .configure_from_args();
    for row in rows() {
        let mut group = criterion.benchmark_group(&row.name);
        group.throughput(Throughput::Elements(row.units));
        // Built only when the filter selects it.
        let mut case = None;
        group.bench_function(row.unit, |bencher| {
            let case = case.get_or_insert_with(|| (row.build)());
            bencher.iter_custom(|times| {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    case.prepare();
                    let began = Instant::now();
                    case.run();
                    took += began.elapsed();
                    case.check();
                }
                took
            });
        });
        group.finish();
    }
    criterion.final_summary();
}
