# Every target says what it does: `make help`.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

URL ?= http://127.0.0.1:7280
# `release`, or `dev` for a quicker build and a slower program.
PROFILE ?= release

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

.PHONY: build
build: ## Build the binary
	@cargo build --profile $(PROFILE) -p logmill

.PHONY: run
run: ## Build, start a server, load sample data, ask a first question
	@PROFILE=$(PROFILE) scripts/run.sh

.PHONY: run-worker
run-worker: build ## Run a worker of a fleet (REDIS_URL=, DATABASE_URL=, LOGMILL_OBJECTS__URL=; ARGS=)
	@"$$(scripts/binary.sh $(PROFILE))" worker $(ARGS)

.PHONY: seed-db
seed-db: build ## Send sample data to the server at URL
	@"$$(scripts/binary.sh $(PROFILE))" seed --url $(URL) $(ARGS)

.PHONY: test
test: ## Run all tests, installing what they need
	@scripts/test.sh

.PHONY: lint
lint: ## Check formatting, lints and documentation
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets -- -D warnings
	@RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items
	@python3 scripts/check_metrics.py

.PHONY: load-test
load-test: build ## Drive the server at URL with load and measure it
	@"$$(scripts/binary.sh $(PROFILE))" load-test --url $(URL) $(ARGS)

.PHONY: bench
bench: ## Measure ingest, latency, restart and look-ups (FILE=, PARTS=, RUNS=; see docs/benchmarks.md)
	@PROFILE=$(PROFILE) scripts/bench.sh

.PHONY: bench-query
bench-query: ## Measure thirteen questions (FILE=, PARTS=numbers, RUNS=, PEER_VICTORIALOGS_URL=, PEER_CHDB_PYTHON=; see docs/benchmarks.md)
	@PROFILE=$(PROFILE) BENCH=bench_query.py RUNS=$(or $(RUNS),15) scripts/bench.sh

.PHONY: bench-dashboards
bench-dashboards: ## Measure ingest at half speed beside dashboards (FILE=, RUNS=how many (16), PARTS=pauses in seconds; see docs/benchmarks.md)
	@PROFILE=$(PROFILE) BENCH=bench_dashboards.py RUNS=$(or $(RUNS),16) scripts/bench.sh

.PHONY: fuzz
fuzz: ## Run a fuzz target (TARGET=wal, SECONDS=60; see CONTRIBUTING.md)
	@TARGET=$(TARGET) SECONDS_=$(SECONDS) scripts/fuzz.sh

.PHONY: soak
# make knows SECONDS only when it is given; bash counts in a variable of that name.
soak: ## Mixed load with restarts, every record checked (SECONDS=120, RATE=4; see docs/operations.md)
	@PROFILE=$(PROFILE) SECONDS_=$(SECONDS) scripts/soak.sh

.PHONY: stack-up stack-down
stack-up: build ## Start the processes of a fleet on this machine, with Redis, Postgres and S3 (see scripts/stack.sh)
	@BINARY="$$(scripts/binary.sh $(PROFILE))" scripts/stack.sh up
stack-down: ## Stop them
	@scripts/stack.sh down

.PHONY: docker-up docker-down
docker-up: ## Start the same in containers, watched by Prometheus and Grafana (see docker/README.md)
	@scripts/docker.sh up
docker-down: ## Stop the containers; volumes stay
	@scripts/docker.sh down
