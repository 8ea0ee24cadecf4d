#!/usr/bin/env bash
# Sixty people join thirty rooms of a fresh server, in about 20 s. `--dev` takes the development build.
#
# A failed join fails at once. The threshold of time gets three attempts, because a busy machine is not a slow server.
set -euo pipefail
cd "$(dirname "$0")/.."

build=(cargo build -q --release)
profile=release
if [[ ${1:-} == --dev ]]; then
  build=(cargo build -q)
  profile=debug
fi
# The whole workspace, as the tests build it: another selection means other features, and most of it built again.
"${build[@]}" --workspace
binaries=${CARGO_TARGET_DIR:-target}/$profile

scratch=$(mktemp -d)
server=
finish() {
  if [[ -n $server ]]; then
    kill "$server" 2>/dev/null || true
    sleep 0.2
    kill "$server" 2>/dev/null || true # the second one does not wait for calls
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$scratch"
}
trap finish EXIT

"$binaries/colloque" demo --json --http-addr 127.0.0.1:0 --admin-addr 127.0.0.1:0 --media-port 0 \
  --media-addr 127.0.0.1 --data-dir "$scratch/data" >"$scratch/out" 2>"$scratch/err" &
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
field() { head -n 1 "$scratch/out" | sed -nE "s/.*\"$1\": *\"?([^\",}]+)\"?.*/\1/p"; }

for attempt in 1 2 3; do
  status=0
  "$binaries/colloque-loadtest" joins --target colloque --url "$(field base_url)" --api-key "$(field api_key)" \
    --pid "$(field pid)" --seconds 20 --json "$scratch/joins.json" || status=$?
  ((status == 0)) && exit 0
  ((status == 1)) || break
  grep -qE '"failed": 0,' "$scratch/joins.json" || break
  echo "attempt $attempt of 3: every join worked, but not in time"
done
exit 1
