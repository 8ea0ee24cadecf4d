#!/usr/bin/env bash
# Builds and runs the worker's benchmark in a network namespace of its own, beside the limit probe. Takes the number of
# repetitions and a part of a row's name or settings: `scripts/bench-worker.sh 5 n=9`.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v ip >/dev/null || { echo "iproute2 is missing: scripts/setup.sh test" >&2; exit 1; }
cargo build --release --workspace --bin bench-worker
exec benches/limit-probe/netns.sh target/release/bench-worker "$@"
