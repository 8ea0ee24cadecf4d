#!/usr/bin/env bash
# Runs the shell blocks of docs/walkthrough.md in their order against a fresh server, as a clinic would type them; one that
# fails ends it. The server is target/debug/colloque unless COLLOQUE_BIN names another.
set -euo pipefail
cd "$(dirname "$0")/.."

[ -n "${COLLOQUE_BIN:-}" ] || cargo build --quiet --workspace
export COLLOQUE=${COLLOQUE_BIN:-$PWD/target/debug/colloque}
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

COLLOQUE_LOG=warn "$COLLOQUE" demo --json --http-addr 127.0.0.1:0 --admin-addr 127.0.0.1:0 --media-port 0 \
  --media-addr 127.0.0.1 --data-dir "$scratch/data" >"$scratch/out" 2>"$scratch/err" &
server=$!
for _ in $(seq 200); do
  [ -s "$scratch/out" ] && break
  sleep 0.1
done
BASE=$(jq -r .base_url <"$scratch/out")
KEY=$(jq -r .api_key <"$scratch/out")
export BASE KEY

# One shell for all blocks: later ones use what earlier ones learnt.
sed -n '/^```sh$/,/^```$/{s/^```sh$/# --- next block/;s/^```$//;p}' docs/walkthrough.md >"$scratch/blocks.sh"
[ "$(grep -c '^# --- next block$' "$scratch/blocks.sh")" -ge 10 ]
cd "$scratch"
if ! bash -euo pipefail -v blocks.sh 2>&1; then
  echo "--- the server's log" >&2
  cat "$scratch/err" >&2
  exit 1
fi
echo "every block of docs/walkthrough.md works"
