# Sourced by scripts that test against a server of their own: starts `colloque demo` on free ports, ends it with the script. Gives
# $scratch (a directory that is removed), $server (its process) and `field NAME` (a string of what it printed as JSON).
# shellcheck shell=bash
[ -n "${COLLOQUE_BIN:-}" ] || cargo build --quiet --workspace
server_binary=${COLLOQUE_BIN:-$PWD/target/debug/colloque}
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

COLLOQUE_LOG=warn "$server_binary" demo --json --http-addr 127.0.0.1:0 --admin-addr 127.0.0.1:0 --media-port 0 \
  --media-addr 127.0.0.1 --data-dir "$scratch/data" >"$scratch/out" 2>"$scratch/err" &
server=$!
for _ in $(seq 200); do
  [ -s "$scratch/out" ] && break
  sleep 0.1
done
field() { head -n 1 "$scratch/out" | sed -nE "s/.*\"$1\": *\"([^\"]+)\".*/\1/p"; }
[ -n "$(field base_url)" ] || { echo "the server did not start:" >&2; cat "$scratch/err" >&2; exit 1; }
