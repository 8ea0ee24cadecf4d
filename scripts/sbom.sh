#!/usr/bin/env bash
# Writes software bills of materials (CycloneDX) for the server and the pages into target/sbom/.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$PWD/target/tools
mkdir -p target/sbom
if [ ! -x "$tools/bin/cargo-cyclonedx" ]; then
  echo "building cargo-cyclonedx 0.5.9 into target/tools"
  cargo install --locked --root "$tools" cargo-cyclonedx@0.5.9
fi
"$tools/bin/cargo-cyclonedx" cyclonedx --format json --spec-version 1.5 --override-filename colloque.cdx --manifest-path Cargo.toml
mv colloque.cdx.json target/sbom/
find signaling loadtest fuzz -maxdepth 1 -name 'colloque.cdx.json' -delete
(cd web-client && npm sbom --package-lock-only --sbom-format cyclonedx --omit dev) > target/sbom/web-client.cdx.json
ls -l target/sbom
