#!/usr/bin/env bash
# An independent WebRTC implementation (aiortc, Python) publishes by WHIP and plays by WHEP through the server, in
# namespaces of its own. Needs root and Python 3.11; packages go to target/venv. The server is target/debug/colloque
# unless COLLOQUE_BIN names another.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
  echo "network namespaces need root" >&2
  exit 1
fi
[ -n "${COLLOQUE_BIN:-}" ] || cargo build --quiet --workspace
export COLLOQUE_BIN=${COLLOQUE_BIN:-$PWD/target/debug/colloque}
if ! cmp -s tests/aiortc/requirements.txt target/venv/requirements.txt; then
  python3 -m venv target/venv
  target/venv/bin/pip install --quiet --disable-pip-version-check -r tests/aiortc/requirements.txt
  cp tests/aiortc/requirements.txt target/venv/requirements.txt
fi

prefix=colloque-$$
directory=$(mktemp -d)
server=""
clean_up() {
  if [ -n "$server" ]; then
    kill -KILL "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  tests/netlab/netlab.sh down "$prefix"
  rm -rf "$directory"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
tests/netlab/netlab.sh up "$prefix"

# One line of JSON and nothing more comes out of the pipe; the log goes where the variable says.
mkfifo "$directory/facts"
ip netns exec "$prefix-sfu" "$COLLOQUE_BIN" demo --json --http-addr 10.99.0.1:8080 --admin-addr 10.99.0.1:8081 \
  --media-addr 10.99.0.1 --data-dir "$directory/data" >"$directory/facts" 2>"${E2E_SERVER_LOG:-/dev/null}" &
server=$!
exec 3<"$directory/facts"
IFS= read -r -t 20 COLLOQUE_FACTS <&3 || { echo "the server did not start" >&2; exit 1; }
export COLLOQUE_FACTS

timeout --kill-after=10 240 ip netns exec "$prefix-a" target/venv/bin/python -m unittest discover -v -s tests/aiortc
