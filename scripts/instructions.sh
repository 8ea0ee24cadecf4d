#!/usr/bin/env bash
# Counts the instructions of every row in benches/media and compares them with benches/instructions.json.
# Fails when a row costs over 5 % more and CHANGELOG.md does not say why: `- instructions: ROW: reason` under Unreleased.
#
#   scripts/instructions.sh [ROW...]      compares all rows, or those named
#   scripts/instructions.sh --update      measures all rows and rewrites the baseline
#
# The profile of a row is left behind: callgrind_annotate target/instructions/ROW.out (with _ for /).
# Counts belong to a compiler, a libc and a valgrind: take the baseline where the gate runs (Debian 12, stable Rust).
set -euo pipefail
cd "$(dirname "$0")/.."

update=no
if [ "${1:-}" = --update ]; then
  update=yes
  shift
fi
command -v valgrind >/dev/null || { echo "valgrind is missing: scripts/setup.sh test" >&2; exit 1; }
# Valgrind shows programs a processor of its own making, the same on every machine that has at least this.
grep -qw avx2 /proc/cpuinfo || { echo "counts need a processor with AVX2; this one has none" >&2; exit 1; }

node --test --test-reporter=dot scripts/instructions.test.mjs
# The whole workspace is named so that the libraries are those which the tests have built.
cargo build --quiet --workspace --features colloque-bench/media --bin instructions
program=${CARGO_TARGET_DIR:-target}/debug/instructions
work=target/instructions
mkdir -p "$work"
rm -f "$work"/*.count "$work"/*.log

count() {
  local name=$1 file=$work/${1//\//_}
  # An empty environment, because its length moves the stack.
  if ! env -i valgrind --tool=callgrind --toggle-collect=measured --callgrind-out-file="$file.out" \
    "$program" "$name" >"$file.log" 2>&1; then
    tail -n 20 "$file.log" >&2
    return 1
  fi
  printf '%s\t%s\n' "$name" "$(sed -n 's/^totals: //p' "$file.out")" >"$file.count"
}
export -f count
export program work
"$program" >"$work/rows.tsv"
if [ $# -gt 0 ]; then
  printf '%s\n' "$@"
else
  cut -f1 "$work/rows.tsv"
fi | xargs -P "$(nproc)" -I ROW bash -euc 'count ROW'
cat "$work"/*.count >"$work/counts.tsv"

if [ $update = yes ]; then
  node scripts/instructions.mjs update
else
  node scripts/instructions.mjs compare "$@"
fi
