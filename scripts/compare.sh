#!/usr/bin/env bash
# Colloque beside Janus: the same generator loads one after the other with the same scenario, A B A B, and a table says
# what each spent for a packet, for a participant, and how late packets came.
#
#   scripts/compare.sh [OPTION...] [CASE...]
#
#   CASE: a scenario and its size; webinar-30, consultation-20, consultation-40, audio-50 when none is named
#   --quick              one round of 5 s
#   --rounds N           3 otherwise
#   --seconds N          of each run, 15 otherwise
#   --alone              Colloque only: figures against size or workers, without the other
#   --workers N          of Colloque, 1 otherwise
#   --cores LIST LIST    the server's and the generator's, 0 and 1 otherwise
#   --janus-loops N      Janus with N static event loops instead of its default, one thread for each peer connection
#   --out DIR            keeps every run's figures there (target/compare otherwise), beside those of earlier calls
#
# Needs root: both servers and the generator live in a network namespace of their own, because Janus gathers no loopback
# candidates. The namespace ends with this script.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=3
seconds=15
loops=0
workers=1
servers=(colloque janus)
server_cores=0
generator_cores=1
out=target/compare
cases=()
arguments=("$@")
while [ $# -gt 0 ]; do
  case "$1" in
    --quick) rounds=1 seconds=5 ;;
    --rounds) rounds=$2; shift ;;
    --seconds) seconds=$2; shift ;;
    --alone) servers=(colloque) ;;
    --workers) workers=$2; shift ;;
    --cores) server_cores=$2 generator_cores=$3; shift 2 ;;
    --janus-loops) loops=$2; shift ;;
    --out) out=$2; shift ;;
    [a-z]*-[0-9]*) cases+=("$1") ;;
    *) sed -n '2,19s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift
done
[ ${#cases[@]} -gt 0 ] || cases=(webinar-30 consultation-20 consultation-40 audio-50)

if [ "$(id -u)" -ne 0 ]; then
  echo "a network namespace needs root" >&2
  exit 1
fi
if [ -z "${COMPARE_INSIDE:-}" ]; then
  # What the network is needed for comes before the namespace that has none.
  scripts/setup.sh compare
  [ -n "${COLLOQUE_BIN_DIR:-}" ] || cargo build --release --workspace
  COMPARE_INSIDE=1 exec unshare --net -- scripts/compare.sh "${arguments[@]}"
fi

binaries=${COLLOQUE_BIN_DIR:-${CARGO_TARGET_DIR:-target}/release}
address=10.98.0.1
scratch=$(mktemp -d)
server=
stop_server() {
  [ -n "$server" ] || return 0
  kill -TERM "$server" 2>/dev/null || true
  sleep 0.3
  kill -KILL "$server" 2>/dev/null || true # nothing to drain: the run is over
  wait "$server" 2>/dev/null || true
  server=
}
finish() {
  stop_server
  rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 130' INT TERM

# Both ends have this address; what they send each other takes the namespace's own short way.
ip link set lo up
ip link add media0 type veth peer name media1
ip addr add "$address/24" dev media0
ip link set media0 up
ip link set media1 up
ulimit -n "$(ulimit -Hn)"

# Only what VideoRoom needs is loaded, which keeps Janus's memory small; all else is its own default.
write_janus_configuration() {
  local library event_loops=""
  library=$(dirname "$(dpkg -L janus | grep '/plugins/libjanus_videoroom\.so$')")
  library=${library%/plugins}
  [ "$loops" -eq 0 ] || event_loops="event_loops = $loops"
  others() { find "$library/$1" -name '*.so' ! -name "$2" -printf '%f,' | sed 's/,$//'; }
  mkdir -p "$scratch/janus"
  cat >"$scratch/janus/janus.jcfg" <<EOF
general: {
  configs_folder = "$scratch/janus"
  plugins_folder = "$library/plugins"
  transports_folder = "$library/transports"
  events_folder = "$library/events"
  loggers_folder = "$library/loggers"
  interface = "$address"
  log_to_stdout = false
  log_to_file = "$scratch/janus.log"
  debug_level = 2
  $event_loops
}
plugins: { disable = "$(others plugins libjanus_videoroom.so)" }
transports: { disable = "$(others transports libjanus_websockets.so)" }
loggers: { disable = "$(others loggers none)" }
EOF
  printf 'general: { ws = true  ws_port = 8188  ws_ip = "%s"  json = "compact" }\n' "$address" \
    >"$scratch/janus/janus.transport.websockets.jcfg"
  printf 'general: { }\n' >"$scratch/janus/janus.plugin.videoroom.jcfg"
}

# log, then what must come true
wait_for() {
  local log=$1
  shift
  for _ in $(seq 150); do
    "$@" 2>/dev/null && return 0
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  echo "the server did not start:" >&2
  cat "$log" >&2
  exit 2
}
listens() { (: <"/dev/tcp/$address/$1"); }

start_janus() {
  write_janus_configuration
  taskset --cpu-list "$server_cores" janus --configs-folder="$scratch/janus" >"$scratch/janus.log" 2>&1 &
  server=$!
  wait_for "$scratch/janus.log" listens 8188
  target=(--target janus --url "ws://$address:8188")
}

start_colloque() {
  rm -rf "$scratch/data" "$scratch/facts"
  taskset --cpu-list "$server_cores" "$binaries/colloque" demo --json --workers "$workers" --http-addr "$address:8080" \
    --admin-addr "$address:9090" --media-addr "$address" --data-dir "$scratch/data" \
    >"$scratch/facts" 2>"$scratch/colloque.log" &
  server=$!
  # The facts are one line, which comes when the server listens.
  wait_for "$scratch/colloque.log" grep -q api_key "$scratch/facts"
  local key
  key=$(sed -nE '1s/.*"api_key": *"([^"]+)".*/\1/p' "$scratch/facts")
  target=(--target colloque --url "http://$address:8080" --api-key "$key")
}

# server, case, round
run() {
  local name=$1 case=$2 round=$3 scenario=${2%-*} size=${2##*-} count=--rooms
  [ "$scenario" != webinar ] || count=--subscribers
  "start_$name"
  sleep 1
  local report=$scratch/report.json status=0
  rm -f "$report"
  taskset --cpu-list "$generator_cores" "$binaries/colloque-loadtest" "$scenario" "${target[@]}" --pid "$server" \
    --seconds "$seconds" "$count" "$size" --json "$report" >"$scratch/table" 2>"$scratch/errors" || status=$?
  stop_server
  if [ ! -s "$report" ]; then
    cat "$scratch/table" "$scratch/errors" >&2
    echo "$case against $name made no figures (status $status)" >&2
    exit 2
  fi
  local label=$name
  case "$name" in
    janus) [ "$loops" -eq 0 ] || label+=-loops$loops ;;
    colloque) [ "$workers" -eq 1 ] || label+=-workers$workers ;;
  esac
  node scripts/compare.mjs keep "$report" "$case" "$label" "$round" "$out/$case-$label-$round.json"
}

mkdir -p "$out"
for case in "${cases[@]}"; do
  for round in $(seq "$rounds"); do
    for name in "${servers[@]}"; do
      run "$name" "$case" "$round"
    done
  done
done
node scripts/compare.mjs table "$out"
