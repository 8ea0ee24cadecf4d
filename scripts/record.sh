#!/usr/bin/env bash
# The legal record judged by independent libraries: JSON Schema, FHIR twice, JOSE and openssl (tests/record). Packages
# go to target/venv-record and tests/record/node_modules. The server is target/debug/colloque unless COLLOQUE_BIN names another.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cmp -s tests/record/requirements.txt target/venv-record/requirements.txt; then
  python3 -m venv target/venv-record
  target/venv-record/bin/pip install --quiet --disable-pip-version-check -r tests/record/requirements.txt
  cp tests/record/requirements.txt target/venv-record/requirements.txt
fi
if ! cmp -s tests/record/package-lock.json tests/record/node_modules/.installed; then
  npm ci --prefix tests/record --silent --no-audit --no-fund
  cp tests/record/package-lock.json tests/record/node_modules/.installed
fi

source scripts/demo-server.sh
COLLOQUE_FACTS=$(head -n 1 "$scratch/out")
export COLLOQUE_FACTS COLLOQUE_BIN=$server_binary
timeout --kill-after=10 240 target/venv-record/bin/python -m unittest discover -v -s tests/record
