//! One row a fixed number of times, for an instruction counter to look at: `scripts/instructions.sh` runs it under
//! callgrind, which collects inside [`measured`] and nowhere else.
//!
//! Without arguments it lists the rows: name, units a run, runs, unit.

use std::process::ExitCode;

use colloque_bench::cases::{Case, rows};

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        for row in rows() {
            println!("{}\t{}\t{RUNS}\t{}", row.name, row.units, row.unit);
        }
        return ExitCode::SUCCESS;
    };
    let Some(row) = rows().into_iter().find(|row| row.name == name) else {
        eprintln!("no row is named {name}");
        return ExitCode::FAILURE;
    };
    let mut case = (row.build)();
    for run in 0..WARM_UP + RUNS {
        case.prepare();
        if run < WARM_UP {
            case.run();
        } else {
            measured(case.as_mut());
        }
        case.check();
    }
    ExitCode::SUCCESS
}

/// Where counting begins and ends; the script knows it by name.
#[inline(never)]
#[unsafe(no_mangle)]
fn measured(case: &mut dyn Case) {
    case.run();
}

/// Until rings and tables have grown to their size.
const WARM_UP: usize = 20;
/// A second of the `turn` row: each timer falls due once.
const RUNS: usize = 50;
