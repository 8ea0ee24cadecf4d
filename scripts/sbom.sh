#!/usr/bin/env bash
# Writes software bills of materials (CycloneDX) for the server and the pages into target/sbom/. Needs the packages that a
# build has downloaded, and no network.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p target/sbom
node scripts/sbom.mjs > target/sbom/colloque.cdx.json
(cd web-client && npm sbom --package-lock-only --sbom-format cyclonedx --omit dev) > target/sbom/web-client.cdx.json
node --test --test-reporter=dot scripts/sbom.test.mjs
ls -l target/sbom
