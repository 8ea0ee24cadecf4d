#!/usr/bin/env bash
# Every test, in the order in which a failure is cheapest to learn. Each stage's time is printed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -a times
stage() {
  local name=$1 start=$SECONDS
  shift
  printf '\n=== %s\n' "$name"
  "$@"
  times+=("$(printf '%5d s  %s' $((SECONDS - start)) "$name")")
}

stage "packages" scripts/setup.sh test
stage "pages: unit tests" scripts/pages.sh test
stage "scripts: unit tests" node --test scripts/
stage "server: unit, simulation and interop tests" cargo test --workspace
stage "instruction counts" scripts/instructions.sh
stage "fuzz targets, 3 s each" scripts/fuzz.sh 3
stage "what is sent: webhooks, e-mail, SMS" scripts/outbound.sh
stage "aiortc by WHIP and WHEP" scripts/aiortc.sh
stage "the record, by independent libraries" scripts/record.sh
stage "the API against its description" env API_SECONDS=45 scripts/api.sh
stage "the walk-through by API" scripts/walkthrough.sh
stage "login: real and hostile OpenID providers" scripts/login.sh
stage "browsers" scripts/e2e.sh test
stage "joins under load" scripts/load.sh --dev

printf '\n=== all stages passed\n'
printf '%s\n' "${times[@]}"
