# Needs Go, make and git; PostgreSQL, RabbitMQ and Redis are installed if they
# are missing. Everything made here goes to .local, which `make clean` removes.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO       ?= go
BIN      := .local/bin
DEVSTACK := $(BIN)/devstack

# How many of each process `make run` and `make up` start.
REPLICAS ?= 1
export REPLICAS

# The race detector needs a C compiler. RACE= turns it off.
RACE     ?= $(shell command -v "$$($(GO) env CC 2>/dev/null)" >/dev/null 2>&1 && echo -race)
# Tested without it: watermill-amqp 2.1.3 looks at its connection unguarded when
# it reconnects, which these tests bring about, and the detector has no exceptions.
UNGUARDED = /internal/(rabbit|relay)$$
# Flags for every `go test`, as in: make test TESTFLAGS='-run Append -v'
TESTFLAGS ?=
FUZZTIME ?= 30s

COMMANDS := $(addprefix ./,$(wildcard cmd/*)) ./internal/devstack/cmd/devstack

.PHONY: help
help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: build ## Run the three processes and their services here until Ctrl-C (REPLICAS=2 for two of each)
	@$(DEVSTACK) run

.PHONY: up
up: build ## The same in the background; returns when all is ready
	@$(DEVSTACK) up

.PHONY: down
down: ## Stop what `make up` started
	@if [ -x $(DEVSTACK) ]; then $(DEVSTACK) down; fi

.PHONY: status
status: build ## Say what runs and where
	@$(DEVSTACK) status

.PHONY: build
build: go ## Build the commands into .local/bin
	@mkdir -p $(BIN)
	@$(GO) build -o $(BIN)/ $(COMMANDS)

# The result of an end-to-end test is never taken from Go's cache, which does not
# know that the programs they run have changed. `exec` lets a signal to make reach
# whoever has services to stop, and not a shell.
.PHONY: test
test: build vet ## Run all tests, the end-to-end ones too, on services of their own
	exec $(DEVSTACK) exec --dir .local/test -- $(GO) test $(RACE) -timeout 15m $(TESTFLAGS) $$($(GO) list ./... | grep -vE '$(UNGUARDED)')
	exec $(DEVSTACK) exec --dir .local/test -- $(GO) test -timeout 15m $(TESTFLAGS) ./internal/rabbit/... ./internal/relay ./internal/simulation
	cd e2e && $(GO) test -p 1 -count 1 -timeout 30m $(TESTFLAGS) ./...

.PHONY: vet
vet: go
	@$(GO) vet ./...
	@cd e2e && $(GO) vet ./...

.PHONY: fuzz
fuzz: go ## Fuzz each parser, codec, token and cursor for FUZZTIME
	@for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$dir/*_test.go); do \
			echo "$$target in $$dir"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$dir || exit 1; \
		done; \
	done

FAULTS ?= 12
SEED   ?= $(shell date +%s)

.PHONY: faults
faults: go ## Break processes, services and links FAULTS times under load and hold every promise (SEED repeats a run)
	cd e2e && FAULTS=$(FAULTS) SEED=$(SEED) $(GO) test -v -count 1 -timeout 24h -run '^TestFaults$$' ./reliability

BUG ?=

.PHONY: mutations
mutations: go ## Plant known bugs in the service and show that a run of faults finds each (BUG names one)
	cd e2e && MUTATIONS=all $(GO) test -v -count 1 -timeout 4h -run '^TestMutations$$/$(BUG)' ./reliability

SEEDS ?= 100000

.PHONY: simulate
simulate: go ## Run SEEDS orders of everything against the relays, projectors and reads (100,000 take some 15 minutes)
	SIM_SEEDS=$(SEEDS) $(GO) test -count 1 -timeout 24h -v -run '^TestSimulation$$' ./internal/simulation

.PHONY: bench
bench: build ## Measure group commit against one transaction a command, and an import against COPY, several rounds in one run
	$(DEVSTACK) exec --dir .local/test -- $(GO) test -run '^$$' -bench 'Register64' -benchtime 3s -count 3 ./internal/command
	$(DEVSTACK) exec --dir .local/test -- $(GO) test -run '^$$' -bench 'Import' -benchtime 5x ./internal/imports

.PHONY: bench-long
bench-long: build ## Measure a command on a customer with 100,000 events against one with 10, neither in memory
	$(DEVSTACK) exec --dir .local/test -- $(GO) test -run '^$$' -bench 'ColdCommand' -benchtime 100x -count 5 ./internal/command

.PHONY: bench-rebuild
bench-rebuild: build ## Measure a rebuild of the views against a plain scan of the same events, five rounds in one run
	$(DEVSTACK) exec --dir .local/test -- $(GO) test -run '^$$' -bench 'Rebuild' -benchtime 1x ./internal/projection

.PHONY: lint
lint: $(BIN)/golangci-lint ## Check style, mistakes and the direction of imports
	@$(BIN)/golangci-lint run ./...
	@cd e2e && ../$(BIN)/golangci-lint run --config ../.golangci.yml ./...

.PHONY: fmt
fmt: $(BIN)/golangci-lint ## Format the Go code
	@$(BIN)/golangci-lint fmt ./...
	@cd e2e && ../$(BIN)/golangci-lint fmt --config ../.golangci.yml ./...

.PHONY: generate
generate: $(BIN)/oapi-codegen ## Make the generated code anew
	@$(GO) generate ./...

GENERATED = find . -name '*.gen.go' -not -path './.*' | sort | xargs git hash-object

.PHONY: spec
spec: $(BIN)/oasdiff ## Check the OpenAPI document, and that it breaks no client of what landed (SPEC_BASE=commit for another)
	@.tools/spec/check

.PHONY: verify
verify: go $(BIN)/oapi-codegen spec ## Check that generated code and module files are up to date, workspace or not
	@before=$$($(GENERATED)) && $(MAKE) generate && after=$$($(GENERATED)) && \
		{ [ "$$before" = "$$after" ] || { echo "The generated code was out of date; commit what changed." >&2; exit 1; }; }
	@GOWORK=off $(GO) build ./...
	@GOWORK=off $(GO) mod verify
	@GOWORK=off $(GO) mod tidy -diff
	@cd e2e && GOWORK=off $(GO) vet ./...
	@cd e2e && GOWORK=off $(GO) mod tidy -diff

.PHONY: migrate
migrate: build ## Bring the databases in EVENTLOG_DATABASE_URL and READMODEL_DATABASE_URL up to date
	@$(BIN)/command-api migrate
	@$(BIN)/projector migrate

.PHONY: tidy
tidy: go ## Bring go.mod and go.sum of every module up to date
	@for module in . e2e .tools/lint .tools/oapi .tools/spec; do (cd $$module && GOWORK=off $(GO) mod tidy) || exit 1; done

.PHONY: clean
clean: down ## Remove everything made here: programs, logs, the stacks' data and keys
	@cat .local/*/data-is-at 2>/dev/null | xargs rm -rf
	@rm -rf .local

# Tools have modules of their own, so that the product's has only what it runs
# on. golangci-lint takes about 75 s to build on two cores, once.
$(BIN)/golangci-lint: .tools/lint/go.mod .tools/lint/go.sum | go
	@echo "building golangci-lint (a minute or two, once)"
	@mkdir -p $(BIN)
	@cd .tools/lint && GOWORK=off $(GO) build -o ../../$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@touch $@

$(BIN)/oapi-codegen: .tools/oapi/go.mod .tools/oapi/go.sum | go
	@mkdir -p $(BIN)
	@cd .tools/oapi && GOWORK=off $(GO) build -o ../../$@ github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen
	@touch $@

$(BIN)/oasdiff: .tools/spec/go.mod .tools/spec/go.sum | go
	@mkdir -p $(BIN)
	@cd .tools/spec && GOWORK=off $(GO) build -o ../../$@ github.com/oasdiff/oasdiff
	@touch $@

.PHONY: go
go:
	@command -v $(GO) >/dev/null 2>&1 || { \
		echo "Go is not installed, or not in PATH. Get version $$(awk '/^go / {print $$2}' go.mod) or later: https://go.dev/doc/install" >&2; \
		exit 1; }
