//! Seeded random bytes for this module's property tests. Not for production: nothing in `rtp` needs randomness.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How many inputs a "never panics" test tries.
pub const INPUTS: usize = 20_000;

/// A generator that gives the same values on every run.
pub fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Calls `parse` with [`INPUTS`] inputs: pure noise, and mutations of `seeds`, which get past the first checks.
pub fn for_hostile_inputs(seed: u64, seeds: &[&[u8]], mut parse: impl FnMut(&[u8])) {
    let mut rng = rng(seed);
    for round in 0..INPUTS {
        let mut input = Vec::new();
        if round % 2 == 0 || seeds.is_empty() {
            input.resize(rng.random_range(0..96), 0);
            rng.fill(&mut input[..]);
        } else {
            input.extend_from_slice(seeds[rng.random_range(0..seeds.len())]);
            for _ in 0..rng.random_range(1..4) {
                if !input.is_empty() {
                    let at = rng.random_range(0..input.len());
                    input[at] = rng.random();
                }
            }
            input.truncate(rng.random_range(0..=input.len()));
        }
        parse(&input);
    }
}
