#!/usr/bin/env bash
# The HTTP API against its own description, by schemathesis (property-based): no 5xx, no answer that /openapi.json does not
# name, no body of another form. Runs for API_SECONDS (60). Packages go to target/venv-api. The server is
# target/debug/colloque unless COLLOQUE_BIN names another.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cmp -s tests/api/requirements.txt target/venv-api/requirements.txt; then
  python3 -m venv target/venv-api
  target/venv-api/bin/pip install --quiet --disable-pip-version-check -r tests/api/requirements.txt
  cp tests/api/requirements.txt target/venv-api/requirements.txt
fi

. scripts/demo-server.sh
base=$(field base_url)

# `positive_data_acceptance` is left out: what the description allows one by one can be impossible together (422), or over (410).
# The WebSocket is no HTTP exchange, and a drained server would refuse everything after.
checks=not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance
checks+=,response_schema_conformance,negative_data_rejection,unsupported_method
cp tests/api/hooks.py "$scratch/"
st=$PWD/target/venv-api/bin/st
# The feed of events may be asked to wait for longer than the tool would.
cd "$scratch"
if ! SCHEMATHESIS_HOOKS=hooks timeout --kill-after=10 $((${API_SECONDS:-60} + 120)) \
  "$st" run "$base/openapi.json" --header "Authorization: Bearer $(field api_key)" \
  --checks "$checks" --phases examples,coverage,fuzzing --max-time "${API_SECONDS:-60}" --max-examples 60 \
  --request-timeout 40 --exclude-path /ws --exclude-path-regex '^/admin/' --no-color --warnings off "$@"; then
  echo "--- the server's log" >&2
  tail -n 40 "$scratch/err" >&2
  exit 1
fi
kill -0 "$server" || { echo "the server died" >&2; exit 1; }
