# make = build, which needs only Go. Everything else is listed by `make help`.

BIN     := bin/pilotlight
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GOFLAGS_BUILD := -trimpath -ldflags "-s -w -X main.version=$(VERSION)"
# Tests of single packages are quick; the end-to-end ones start real processes.
TEST_TIMEOUT := 30m

.DEFAULT_GOAL := build

.PHONY: build
build: ## Build bin/pilotlight
	@echo "building $(BIN) (the first time: a minute or two)"
	@go build $(GOFLAGS_BUILD) -o $(BIN) ./cmd/pilotlight

.PHONY: run
run: build ## Start everything on this machine: a translation from zero replicas
	@$(BIN) dev $(ARGS)

.PHONY: test
test: setup build ## Run every test there is, with the race detector
	go vet ./...
	@echo "unit, property and conformance tests; the first time the race detector's build takes some minutes"
	go test -race -timeout $(TEST_TIMEOUT) $$(go list ./... | grep -v /internal/e2e)
	@echo "end to end: real processes, Redis, Apertium and browser (about ten minutes)"
	go test -race -timeout $(TEST_TIMEOUT) ./internal/e2e

.PHONY: test-race
test-race: ## Unit and property tests with the race detector, without set-up or end-to-end tests
	go test -race -short ./...

.PHONY: test-e2e
test-e2e: setup build ## End-to-end tests: real processes, real Redis, real Apertium, real browser
	go test -race -timeout $(TEST_TIMEOUT) -v ./internal/e2e/...

.PHONY: test-ui
test-ui: setup build ## The web UI in headless Chromium
	go test -timeout $(TEST_TIMEOUT) -v -run TestUI ./internal/e2e/...

.PHONY: test-nomad
test-nomad: ## The fleet's conformance suite and every fault against a real Nomad agent at NOMAD_ADDR
	@test -n "$$NOMAD_ADDR" || { echo "NOMAD_ADDR is not set: start 'nomad agent -dev' and set NOMAD_ADDR=http://127.0.0.1:4646"; exit 2; }
	go test -race -v -count=1 ./nomad/...
	go test -race -v -count=1 -timeout $(TEST_TIMEOUT) -run Nomad ./internal/e2e

.PHONY: fuzz
fuzz: ## Every fuzz target for a short time (FUZZTIME=10s)
	@for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
		echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-10s} $$p || exit 1; done; done

.PHONY: bench
bench: build ## Ratios against yardsticks of the same run
	@$(BIN) bench

# How long, and which plan of faults: the same seed gives the same one.
SOAK := 10m
SEED := $(shell date +%s)

.PHONY: soak
soak: ## Three activators, two scalers and Redis, killed and stopped under load, then counted (SOAK=10m SEED=n)
	@rm -rf artifacts/soak && mkdir -p artifacts/soak
	go test -count=1 -timeout 24h -v -run '^TestSoak$$' ./internal/e2e -soak $(SOAK) -soak-seed $(SEED) -soak-dir $(CURDIR)/artifacts/soak

.PHONY: results
results: ## Replay every stored trace and rewrite scaler/simulate/RESULTS.md (about half an hour on two processors; a run that is broken off is resumed)
	GOGC=400 nice go test ./scaler/simulate -run TestResultsAreCurrent -count=1 -v -timeout 3h -update-results \
		-results-cache "$(CURDIR)/artifacts/results" -results-of "$$(git log -1 --format='commit %h' -- scaler/decide)"

.PHONY: lint
lint: ## gofmt and go vet
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on these"; exit 1; }
	go vet ./...

.PHONY: verify
verify: lint ## What must hold before a commit, quickly
	go mod tidy -diff
	go test -short ./...

.PHONY: tidy
tidy: ## Tidy go.mod and format
	go mod tidy
	gofmt -w .

.PHONY: setup
setup: ## Install what the tests need (Debian, as root), or say what is missing
	@.ci/setup

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
