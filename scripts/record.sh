#!/usr/bin/env bash
# The legal record judged by independent libraries: JSON Schema, FHIR twice, JOSE and openssl (tests/record). Packages
# go to target/venv-record and tests/record/node_modules. The server is target/debug/colloque unless COLLOQUE_BIN names another.
set -euo pipefail
cd "$(dirname "$0")/.."

[ -n "${COLLOQUE_BIN:-}" ] || cargo build --quiet --workspace
export COLLOQUE_BIN=${COLLOQUE_BIN:-$PWD/target/debug/colloque}
if ! cmp -s tests/record/requirements.txt target/venv-record/requirements.txt; then
  python3 -m venv target/venv-record
  target/venv-record/bin/pip install --quiet --disable-pip-version-check -r tests/record/requirements.txt
  cp tests/record/requirements.txt target/venv-record/requirements.txt
fi
if ! cmp -s tests/record/package-lock.json tests/record/node_modules/.installed; then
  npm ci --prefix tests/record --silent --no-audit --no-fund
  cp tests/record/package-lock.json tests/record/node_modules/.installed
fi

scratch=$(mktemp -d)
server=""
clean_up() {
  if [ -n "$server" ]; then
    kill -KILL "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$scratch"
}
trap clean_up EXIT

# One line of JSON and nothing more comes out of the pipe.
mkfifo "$scratch/facts"
COLLOQUE_LOG=warn "$COLLOQUE_BIN" demo --json --http-addr 127.0.0.1:0 --admin-addr 127.0.0.1:0 --media-port 0 \
  --media-addr 127.0.0.1 --data-dir "$scratch/data" >"$scratch/facts" 2>"$scratch/err" &
server=$!
exec 3<"$scratch/facts"
IFS= read -r -t 20 COLLOQUE_FACTS <&3 || { echo "the server did not start:" >&2; cat "$scratch/err" >&2; exit 1; }
export COLLOQUE_FACTS

timeout --kill-after=10 240 target/venv-record/bin/python -m unittest discover -v -s tests/record
