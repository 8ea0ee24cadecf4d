#!/usr/bin/env bash
# Draws the pictures of docs/performance.md from the figures in docs/performance/ with matplotlib, which is installed
# into target/plots on first use. The same figures give the same files, byte for byte.
#
#   scripts/plots.sh [FIGURES [PICTURES]]     docs/performance and docs/images otherwise
set -euo pipefail
cd "$(dirname "$0")/.."
environment=target/plots
if ! cmp -s scripts/plots-requirements.txt "$environment/requirements.txt"; then
  echo "installing matplotlib into $environment"
  python3 -m venv --clear "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check -r scripts/plots-requirements.txt
  cp scripts/plots-requirements.txt "$environment/requirements.txt"
fi
MPLCONFIGDIR=$environment "$environment/bin/python" scripts/plots.py "${1:-docs/performance}" "${2:-docs/images}"
