#!/usr/bin/env bash
# Tests with real browsers, each in its own network namespace, none with a way out of this machine.
#
#   scripts/e2e.sh test [PATTERN]         two Chromium and a Firefox in calls; PATTERN chooses tests by name
#   scripts/e2e.sh screenshots [PATTERN]  every state of the pages in both languages and three sizes, to target/screenshots;
#                                         PATTERN chooses scenes: before, call, gates, professionals, queue, telephone,
#                                         removed, portal
#
# Needs root, Chromium, Firefox ESR, PulseAudio (a Firefox without a sound device stays silent) and Node 20. The server
# is target/debug/colloque unless COLLOQUE_BIN names another. E2E_VERBOSE=1 shows the server's log.
set -euo pipefail
cd "$(dirname "$0")/.."
action=${1:-test}
pattern=${2:-}

if [ "$(id -u)" -ne 0 ]; then
  echo "network namespaces need root" >&2
  exit 1
fi
if [ -z "${COLLOQUE_BIN:-}" ]; then
  # The whole workspace, as the tests build it: another selection means other features, and most of it built again.
  cargo build --quiet --workspace
fi
export COLLOQUE_BIN=${COLLOQUE_BIN:-$PWD/target/debug/colloque}
[ -d tests/e2e/node_modules/axe-core ] || npm --prefix tests/e2e ci --silent

export E2E_PREFIX=colloque-$$
E2E_DIRECTORY=$(mktemp -d)
export E2E_DIRECTORY
sound=""
clean_up() {
  [ -z "$sound" ] || kill "$sound" 2>/dev/null || true
  tests/netlab/netlab.sh down "$E2E_PREFIX"
  rm -rf "$E2E_DIRECTORY"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

tests/netlab/netlab.sh up "$E2E_PREFIX"

# Browsers and the sound server write into this run's own directory, not into the home of whoever runs it.
export HOME=$E2E_DIRECTORY XDG_RUNTIME_DIR=$E2E_DIRECTORY TMPDIR=$E2E_DIRECTORY
export PULSE_SERVER=unix:$E2E_DIRECTORY/sound.socket
ip netns exec "$E2E_PREFIX-c" pulseaudio -n --daemonize=no --exit-idle-time=-1 -L module-null-sink \
  -L "module-native-protocol-unix auth-anonymous=1 socket=$E2E_DIRECTORY/sound.socket" 2>"$E2E_DIRECTORY/sound.log" &
sound=$!

inside=(ip netns exec "$E2E_PREFIX-c")
case "$action" in
  test)
    # A browser that hangs must not hang the build: the whole suite has a limit of its own.
    suite() {
      timeout --kill-after=10 "${E2E_SECONDS_MAX:-900}" "${inside[@]}" node --test-reporter=spec \
        ${1:+--test-name-pattern="$1"} tests/e2e/main.mjs
    }
    log=$E2E_DIRECTORY/suite.log
    if ! suite "$pattern" | tee "$log"; then
      # Browsers on a busy machine stumble now and then; what fails twice in a row is broken.
      mapfile -t failed < <(sed -n '/^✖ failing tests:/,$s/^✖ \(.*\) ([0-9.]*ms)$/\1/p' "$log")
      [ "${#failed[@]}" -gt 0 ] && [ "${#failed[@]}" -le 3 ] || exit 1
      for name in "${failed[@]}"; do
        echo "once more: $name"
        suite "^$(sed 's/[][().*+?^${}|\\]/\\&/g' <<<"$name")\$"
      done
    fi
    ;;
  screenshots)
    mkdir -p target/screenshots
    timeout --kill-after=10 "${E2E_SECONDS_MAX:-1200}" "${inside[@]}" node tests/e2e/screenshots.mjs target/screenshots "$pattern"
    ;;
  *)
    echo "unknown action $action: test or screenshots" >&2
    exit 2
    ;;
esac
