#!/usr/bin/env bash
# One load scenario against a fresh server, or a short run of each.
#
#   scripts/load.sh [--dev] [SCENARIO [ARGUMENTS...]]
#
# `--dev` takes the development build. SCENARIO is one of those that `colloque-loadtest --help` lists, `all` for a few
# seconds of each, or left out: thirty joins beside two running rooms, as `make test` wants it (about 20 s).
# ARGUMENTS go to colloque-loadtest. With two cores or more, server and generator get cores of their own;
# COLLOQUE_LOADTEST_CORES="0 1" says which (server's, generator's), COLLOQUE_WORKERS how many media threads (1 then),
# COLLOQUE_LOADTEST_JSON where the figures go.
set -euo pipefail
cd "$(dirname "$0")/.."

build=(cargo build -q --release)
profile=release
if [[ ${1:-} == --dev ]]; then
  build=(cargo build -q)
  profile=debug
  shift
fi
scenario=${1:-}
[[ $# -gt 0 ]] && shift
# The whole workspace, as the tests build it: another selection means other features, and most of it built again.
"${build[@]}" --workspace
binaries=${CARGO_TARGET_DIR:-target}/$profile

scratch=$(mktemp -d)
server=
stop_server() {
  if [[ -n $server ]]; then
    kill "$server" 2>/dev/null || true
    sleep 0.2
    kill "$server" 2>/dev/null || true # the second one does not wait for calls
    wait "$server" 2>/dev/null || true
    server=
  fi
}
finish() {
  stop_server
  rm -rf "$scratch"
}
trap finish EXIT

# The first allowed core is the server's, the last the generator's.
server_on=() generator_on=()
workers=()
if command -v taskset >/dev/null && [[ $(nproc) -ge 2 ]]; then
  allowed=$(taskset -cp $$ | sed -E 's/.*: //')
  read -r first last <<<"${COLLOQUE_LOADTEST_CORES:-"$(sed -E 's/[-,].*//' <<<"$allowed") $(sed -E 's/.*[-,]//' <<<"$allowed")"}"
  server_on=(taskset -c "$first")
  generator_on=(taskset -c "$last")
  workers=(--workers "${COLLOQUE_WORKERS:-1}")
fi

field() { head -n 1 "$scratch/out" | sed -nE "s/.*\"$1\": *\"?([^\",}]+)\"?.*/\1/p"; }

# More rooms than a default installation takes are this script's wish, not the server's habit.
start_server() {
  rm -rf "$scratch/data" "$scratch/out"
  COLLOQUE_ROOMS_MAX=${COLLOQUE_ROOMS_MAX:-4000} "${server_on[@]}" "$binaries/colloque" demo --json "${workers[@]}" \
    --http-addr 127.0.0.1:0 --admin-addr 127.0.0.1:0 --media-port 0 --media-addr 127.0.0.1 \
    --data-dir "$scratch/data" >"$scratch/out" 2>"$scratch/err" &
  server=$!
  for _ in $(seq 100); do
    [[ -s $scratch/out ]] && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  if [[ ! -s $scratch/out ]]; then
    echo "the server did not start:" >&2
    cat "$scratch/err" >&2
    exit 1
  fi
}

load() {
  local json=${COLLOQUE_LOADTEST_JSON:-$scratch/report.json}
  "${generator_on[@]}" "$binaries/colloque-loadtest" "$1" --target colloque --url "$(field base_url)" \
    --api-key "$(field api_key)" --pid "$(field pid)" --metrics-url "$(field admin_url)/metrics" \
    --json "$json" "${@:2}"
}

# A few seconds of each, each on a server of its own, whose memory nobody else has grown.
matrix() {
  local failed=() name arguments
  while read -r name arguments; do
    start_server
    printf '\n=== %s %s\n' "$name" "$arguments"
    # shellcheck disable=SC2086 # the arguments are words
    load "$name" $arguments </dev/null || failed+=("$name")
    stop_server
  done <<'TABLE'
consultation --rooms 20 --seconds 5
consultation --engine webrtc --rooms 1 --seconds 5 --p99-ms-max 50
audio --rooms 50 --seconds 5
webinar --subscribers 30 --seconds 5
ward_round --rooms 2 --seconds 5
simulcast --rooms 7 --bitrate 1000 --seconds 5
joins --rate 20 --rooms 5 --seconds 5
reconnect_storm --participants 100 --seconds 3
idle --rooms 100 --seconds 3
hostile --rooms 5 --junk 20000 --seconds 5
soak --rooms 8 --seconds 15
TABLE
  if [[ ${#failed[@]} -gt 0 ]]; then
    printf '\nnot met: %s\n' "${failed[*]}"
    exit 1
  fi
}

no_limit=1000000
case $scenario in
  all) matrix "$@" ;;
  "")
    start_server
    # Every join must work and nothing be lost. How fast is not a test's to judge: `joins` by its name does that.
    load joins --rate 3 --rooms 2 --seconds 10 --bitrate 300 \
      --join-p95-ms-max "$no_limit" --p99-change-ms-max "$no_limit"
    ;;
  *)
    start_server
    load "$scenario" "$@"
    ;;
esac
