#!/bin/sh
# Fuzzes every target (or those named) for SECONDS each, starting from its committed corpus.
# Fails on a crash, a hang or runaway memory and leaves the input in target/fuzz/crashes/.
#
#   scripts/fuzz.sh SECONDS [TARGET...]
#
# To reproduce: FUZZ_TARGET=name target/debug/colloque-fuzz target/fuzz/crashes/name-crash-…
# Keep an input that found a bug: copy it into fuzz/corpus/name/ under a name that tells the story.
set -eu
cd "$(dirname "$0")/.."
if [ $# -lt 1 ]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
seconds=$1
shift

# The whole workspace is selected, as the tests do: another selection means other features, and the libraries built again.
RUSTC_WORKSPACE_WRAPPER="$PWD/fuzz/rustc-coverage.sh" cargo build --quiet --workspace --bin colloque-fuzz
fuzzer=${CARGO_TARGET_DIR:-target}/debug/colloque-fuzz
[ $# -gt 0 ] || set -- $("$fuzzer")

work=target/fuzz
mkdir -p "$work/crashes"
failed=
for name in "$@"; do
    mkdir -p "$work/corpus/$name"
    # Longer inputs than a datagram find nothing more in the parsers of datagrams; offers are longer.
    case "$name" in sdp | websocket) longest=16384 ;; *) longest=2048 ;; esac
    if FUZZ_TARGET=$name "$fuzzer" "$work/corpus/$name" "fuzz/corpus/$name" \
        -max_total_time="$seconds" -max_len=$longest -timeout=5 -rss_limit_mb=1024 \
        -artifact_prefix="$work/crashes/$name-" -print_final_stats=1 >"$work/$name.log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: //p' "$work/$name.log")
        covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$work/$name.log" | tail -n 1)
        echo "fuzz: $name: $runs runs, ${covered:-no} edges covered, no crash"
    else
        tail -n 30 "$work/$name.log"
        failed="$failed $name"
    fi
done
if [ -n "$failed" ]; then
    echo "fuzz: FAILED:$failed (inputs in $work/crashes)" >&2
    exit 1
fi
