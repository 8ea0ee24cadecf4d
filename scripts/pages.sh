#!/usr/bin/env bash
# The pages' own checks: `pages.sh check` (types) or `pages.sh test` (unit tests). Installs npm packages when they changed.
set -euo pipefail
cd "$(dirname "$0")/../web-client"
if [ ! -d node_modules ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  npm ci --no-audit --no-fund
fi
case "${1:?check or test}" in
  check) npm run --silent check ;;
  test) npm run --silent test ;;
esac
