#!/usr/bin/env bash
# What the server sends, against receivers that share no code with it: webhooks checked by the library of Standard Webhooks,
# e-mail by a real SMTP server with STARTTLS and login, SMS by an HTTP gateway, and the examples of docs/events.md as they stand.
# Everything stays on loopback. The server is target/debug/colloque unless COLLOQUE_BIN names another. Needs Node 20, Python 3 and
# openssl; further arguments go to `node --test`.
set -euo pipefail
cd "$(dirname "$0")/.."

[ -n "${COLLOQUE_BIN:-}" ] || cargo build --quiet --workspace
export COLLOQUE_BIN=${COLLOQUE_BIN:-$PWD/target/debug/colloque}
[ -d tests/outbound/node_modules/smtp-server ] || npm --prefix tests/outbound ci --silent
timeout --kill-after=10 "${OUTBOUND_SECONDS_MAX:-300}" node --test --test-force-exit --test-reporter=spec "$@" tests/outbound/*.test.mjs
