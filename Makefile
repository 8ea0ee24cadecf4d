# Two commands matter: `make run` and `make test`. Both install what is missing (as root on Debian 12), say so first,
# and can be repeated. Everything built stays under target/ and web-client/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
CARGO ?= cargo
SOAK_SECONDS ?= 600
KILLS ?= 1000
LEGS ?= 90

help: ## shows this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

run: ## builds the server and starts `colloque demo`
	@scripts/setup.sh run
	$(CARGO) build --release
	target/release/colloque demo

build: ## builds everything in release, pages included
	@scripts/setup.sh run
	$(CARGO) build --release --workspace

test: ## installs what tests need and runs every test
	@scripts/test.sh

check: ## format, lints, types, tidiness, licences
	@scripts/setup.sh run
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy --workspace --features colloque-bench/criterion --bin instructions --bench times -- -D warnings
	$(CARGO) test -q --test tidy
	scripts/pages.sh check
	node scripts/licences.mjs

bench: ## times the media path (criterion): make bench ROWS=fan_out
	@scripts/setup.sh run
	$(CARGO) bench --workspace --features colloque-bench/criterion --bench times -- $(ROWS)

instructions: ## counts the media path's instructions against the baseline
	@scripts/setup.sh test
	scripts/instructions.sh

bench-worker: ## runs the real worker beside the physical limit: CPU per forwarded packet, as ratios
	@scripts/setup.sh test
	scripts/bench-worker.sh

bench-telephone: ## CPU of one telephone leg, by codec and complexity, then whole calls with their sockets: make bench-telephone LEGS=90
	@scripts/setup.sh run
	$(CARGO) bench -q --package colloque-sound --bench telephone -- --legs $(LEGS)
	$(CARGO) build --release --workspace --bin bench-telephone
	target/release/bench-telephone

load: ## runs every load scenario for a few seconds (scripts/load.sh runs one)
	@scripts/setup.sh run
	scripts/load.sh all

soak: ## load scenario `soak` for ten minutes, or SOAK_SECONDS=N; 1,000 kills of the store, or KILLS=N; a call in five minutes of silence
	@scripts/setup.sh test
	$(CARGO) test --workspace --test calls -- --ignored
	COLLOQUE_KILLS=$(KILLS) $(CARGO) test --workspace --test store_kill
	scripts/load.sh soak --seconds $(SOAK_SECONDS)

compare: ## the same load on Colloque and on Janus, as ratios (root, 10 minutes)
	scripts/compare.sh

plots: ## draws docs/images/performance-*.svg from docs/performance/*.json
	@scripts/setup.sh plots
	scripts/plots.sh

fuzz: ## fuzzes every parser for a minute each
	@scripts/setup.sh run
	scripts/fuzz.sh 60

licences: ## checks every dependency's licence, offline
	node scripts/licences.mjs

sbom: ## writes target/sbom/*.cdx.json (CycloneDX)
	scripts/sbom.sh

screenshots: ## takes the pages' pictures into target/screenshots
	@scripts/setup.sh test
	scripts/e2e.sh screenshots

.PHONY: help run build test check bench bench-telephone bench-worker instructions load soak compare plots fuzz licences sbom screenshots
