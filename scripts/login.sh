#!/usr/bin/env bash
# The login of professionals: a real OpenID provider (oidc-provider) in the shape of Pro Santé Connect, one that cheats, and the
# whole way in Chromium. All of it on loopback. The server is target/debug/colloque unless COLLOQUE_BIN names another.
set -euo pipefail
cd "$(dirname "$0")/.."

[ -n "${COLLOQUE_BIN:-}" ] || cargo build --quiet --workspace
export COLLOQUE_BIN=${COLLOQUE_BIN:-$PWD/target/debug/colloque}
if ! cmp -s tests/login/package-lock.json tests/login/node_modules/.installed; then
  npm --prefix tests/login ci --silent
  cp tests/login/package-lock.json tests/login/node_modules/.installed
fi

# A provider that hangs must not hang the build. The warning is about the provider's wish for a newer Node.
timeout --kill-after=10 "${LOGIN_SECONDS_MAX:-300}" node --no-warnings --test-reporter=spec ${1:+--test-name-pattern="$1"} \
  tests/login/main.mjs
