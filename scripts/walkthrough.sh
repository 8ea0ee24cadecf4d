#!/usr/bin/env bash
# Runs the shell blocks of docs/walkthrough.md in their order against a fresh server, as a clinic would type them; one that
# fails ends it. The server is target/debug/colloque unless COLLOQUE_BIN names another.
set -euo pipefail
cd "$(dirname "$0")/.."

. scripts/demo-server.sh
BASE=$(field base_url)
KEY=$(field api_key)
export BASE KEY COLLOQUE=$server_binary

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
