//! The fuzzer: libFuzzer's own `main` around the target that `FUZZ_TARGET` names. Without the variable it prints the
//! names of all targets and ends. `scripts/fuzz.sh` builds it with coverage; an ordinary build fuzzes blindly.

#![no_main]

use std::sync::OnceLock;

use colloque_fuzz::{TARGETS, Target, target};
use libfuzzer_sys::fuzz_target;

static CHOSEN: OnceLock<Target> = OnceLock::new();

fuzz_target!(
    init: choose(),
    |input: &[u8]| {
        if let Some(run) = CHOSEN.get() {
            run(input);
        }
    }
);

fn choose() {
    let Ok(name) = std::env::var("FUZZ_TARGET") else {
        for (name, _) in TARGETS {
            println!("{name}");
        }
        std::process::exit(0);
    };
    let Some(chosen) = target(&name) else {
        eprintln!("no fuzz target named {name}");
        std::process::exit(2);
    };
    CHOSEN.get_or_init(|| chosen);
}
