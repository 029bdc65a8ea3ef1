# `make help` lists the targets. Needed: Go, git, make, bash and, for the race
# detector, a C compiler. Other tools are installed into .tools on demand, in
# the versions named here.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# A recipe is one script, so that it may use variables and loops.
.ONESHELL:

GOLANGCI_LINT := v2.15.0
PROTOC := 3.21.12
PROTOC_GEN_GO := v1.36.12
PROTOC_GEN_GO_GRPC := v1.6.2

TOOLS := $(CURDIR)/.tools
BIN := $(TOOLS)/bin
CACHE := $(CURDIR)/.cache

# What tests and generators need besides Go: command=Debian package.
DEBIAN := gcc=gcc g++=g++ git=git protoc=protobuf-compiler node=nodejs npm=npm python3=python3-venv ruby=ruby-full

# Builds stamp the commit; where git has no say (an export, a foreign owner)
# they must not fail for it.
ifneq ($(shell git rev-parse HEAD >/dev/null 2>&1 && echo yes),yes)
export GOFLAGS := $(GOFLAGS) -buildvcs=false
endif

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## the binary, static: bin/limpet
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o bin/limpet ./cmd/limpet

.PHONY: run
run: build ## three nodes on this machine, for a look
	bin/limpet dev --nodes 3

.PHONY: test
test: ## all Go tests with the race detector, simulated scenarios, then the SDK suites
	@status=0
	$(MAKE) --no-print-directory go-test || status=1
	$(MAKE) --no-print-directory sim-test || status=1
	$(MAKE) --no-print-directory sdk-test || status=1
	exit $$status

.PHONY: go-test
go-test: ## all Go tests with the race detector; ARGS="-run X ./fsm" for a part
	@mkdir -p $(CACHE)
	rm -f $(CACHE)/go-counts
	go build -o $(CACHE)/testcount ./internal/testcount
	go test -json -race -shuffle=on -timeout 20m $(or $(ARGS),./...) | $(CACHE)/testcount -counts $(CACHE)/go-counts

# Scenarios are played without the race detector: it costs ten times as much.
.PHONY: sim-test
sim-test: ## 2,000 simulated scenarios, or as many as five minutes allow; ARGS="-seeds 100 -from 7" for others
	@mkdir -p $(CACHE)
	go test -c -o $(CACHE)/sim.test ./faults/sim
	$(CACHE)/sim.test -test.run 'TestScenarios|TestNamedScenarios' -test.timeout 20m -seeds 2000 -bound 5m -times 3 -shrink 40 $(ARGS) -test.v 2>&1 \
		| grep -v -e '^ *--- PASS: .*/' -e '^=== '

.PHONY: soak
soak: ## simulated scenarios without end, with their number and virtual hours; ARGS="-from 1000000" for other seeds
	@mkdir -p $(CACHE)/soak
	go test -c -o $(CACHE)/sim.test ./faults/sim
	$(CACHE)/sim.test -test.run TestScenarios -test.timeout 0 -seeds 1000000000 -shrink 40 -dump $(CACHE)/soak $(ARGS)

.PHONY: bugs
bugs: ## puts each deliberate bug into the code and counts the scenarios until it is caught
	@mkdir -p $(CACHE)
	go test -tags limpet_bugs -c -o $(CACHE)/bugs.test ./faults/sim
	$(CACHE)/bugs.test -test.run TestEveryBugIsCaught -test.timeout 30m -tries 1000 $(ARGS) -test.v 2>&1 | grep -v -e '^ *--- PASS: .*/' -e '^=== '

.PHONY: lab
lab: ## all named scenarios of the fault lab, with real processes (root; about 15 min)
	LIMPET_LAB=all go test -count=1 -timeout 40m -v -run TestScenarios ./faults/lab

# The judge is an ordinary build: the bugs are in the nodes that it judges.
.PHONY: lab-bugs
lab-bugs: ## lets the fault lab loose on each deliberate bug until it is caught (root; about 20 min); ARGS="-bug no-dedup -from 7" for a part
	@mkdir -p $(CACHE)
	CGO_ENABLED=0 go build -o $(CACHE)/limpet ./cmd/limpet
	CGO_ENABLED=0 go build -tags limpet_bugs -o $(CACHE)/limpet-bugs ./cmd/limpet
	go test -c -o $(CACHE)/lab.test ./faults/lab
	$(CACHE)/lab.test -test.run TestEveryBugIsCaught -test.timeout 3h -judge $(CACHE)/limpet -buggy $(CACHE)/limpet-bugs $(ARGS) -test.v

.PHONY: sdk-test
sdk-test: ## the published SDKs against a real cluster
	@mkdir -p $(CACHE)
	rm -f $(CACHE)/sdk-counts
	if [ ! -e scripts/sdk-test.sh ]; then
		echo "no scripts/sdk-test.sh: no SDK suites"
		exit 0
	fi
	$(MAKE) --no-print-directory deps
	scripts/sdk-test.sh

.PHONY: conformance
conformance: build deps ## every sentence of the page, per SDK, in calm and with nodes killed
	@scripts/conformance.sh

.PHONY: liveness
liveness: build ## kill, freeze, restart and drain real workers and nodes, with figures (about 1 h); ARGS="--only kill --times 5" for a part
	@$(MAKE) --no-print-directory deps DEBIAN="$(DEBIAN) nft=nftables ip=iproute2"
	scripts/sdk-test.sh set-up-only >/dev/null # the SDKs, and the harness
	$(CACHE)/liveness-harness $(ARGS)

.PHONY: model
model: ## the formal model of pins and leases, and its broken variants (about 2 min); ARGS="show NAME" for the steps to one, ARGS=deep
	@$(MAKE) --no-print-directory deps DEBIAN="spin=spin gcc=gcc"
	scripts/model.sh $(ARGS)

.PHONY: bench
bench: build ## measure three nodes and the ceiling of this machine into bench/results (about 10 min; BENCH_FULL=1: large sizes, about 30)
	./scripts/bench.sh

.PHONY: lint
lint: $(TOOLS)/golangci-lint@$(GOLANGCI_LINT) ## format, vet, linters, tidy module file
	$(BIN)/golangci-lint fmt --diff
	go vet ./...
	$(BIN)/golangci-lint run --allow-parallel-runners
	go mod tidy -diff

.PHONY: fmt
fmt: $(TOOLS)/golangci-lint@$(GOLANGCI_LINT) ## gofumpt and import order, in place
	$(BIN)/golangci-lint fmt

# Contracts: import paths begin below api/, generated code lies beside them.
PROTO_DIRS := api/compat api/compat/v1 api/limpet/v1
PROTOS = $(patsubst api/%,%,$(wildcard $(addsuffix /*.proto,$(PROTO_DIRS))))
PROTO_OUT ?= api

.PHONY: generate
generate: $(TOOLS)/protoc-gen-go@$(PROTOC_GEN_GO) $(TOOLS)/protoc-gen-go-grpc@$(PROTOC_GEN_GO_GRPC) ## Go code from api/**/*.proto
	@if [ "$$(protoc --version 2>/dev/null)" != "libprotoc $(PROTOC)" ]; then
		echo "protoc $(PROTOC) is needed (Debian: protobuf-compiler); found: $$(protoc --version 2>&1 || true)" >&2
		exit 1
	fi
	protoc -I api --plugin=$(BIN)/protoc-gen-go --plugin=$(BIN)/protoc-gen-go-grpc \
		--go_out=$(PROTO_OUT) --go_opt=paths=source_relative \
		--go-grpc_out=$(PROTO_OUT) --go-grpc_opt=paths=source_relative $(PROTOS)

.PHONY: check-generated
check-generated: ## the committed generated code is what `make generate` makes
	@rm -rf $(CACHE)/generated
	mkdir -p $(CACHE)/generated
	$(MAKE) --no-print-directory generate PROTO_OUT=$(CACHE)/generated
	status=0
	for f in $$(cd $(CACHE)/generated && find . -name '*.go'); do
		diff -u "api/$$f" "$(CACHE)/generated/$$f" || status=1
	done
	for f in $$(find api -name '*.pb.go'); do
		[ -e "$(CACHE)/generated/$${f#api/}" ] || { echo "$$f: no contract makes it"; status=1; }
	done
	exit $$status

.PHONY: tools
tools: $(TOOLS)/golangci-lint@$(GOLANGCI_LINT) $(TOOLS)/protoc-gen-go@$(PROTOC_GEN_GO) $(TOOLS)/protoc-gen-go-grpc@$(PROTOC_GEN_GO_GRPC) ## linters and generators into .tools

# A stamp names the version, so a new pin installs anew.
define install
	@echo "installing $(@F)"
	rm -f $(TOOLS)/$(firstword $(subst @, ,$(@F)))@*
	mkdir -p $(BIN)
	GOBIN=$(BIN) GOFLAGS= CGO_ENABLED=0 go install $(1)@$(lastword $(subst @, ,$(@F)))
	touch $@
endef

$(TOOLS)/golangci-lint@%:
	$(call install,github.com/golangci/golangci-lint/v2/cmd/golangci-lint)

$(TOOLS)/protoc-gen-go@%:
	$(call install,google.golang.org/protobuf/cmd/protoc-gen-go)

$(TOOLS)/protoc-gen-go-grpc@%:
	$(call install,google.golang.org/grpc/cmd/protoc-gen-go-grpc)

.PHONY: deps
deps: ## Debian packages that tests and generators need (root installs what is missing)
	@missing=()
	for pair in $(DEBIAN); do
		command -v "$${pair%%=*}" >/dev/null || missing+=("$${pair#*=}")
	done
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
	# protoc's own messages are another package, and only recommended by it.
	[ -e /usr/include/google/protobuf/timestamp.proto ] || missing+=(libprotobuf-dev)
	if [ "$${#missing[@]}" -eq 0 ]; then exit 0; fi
	if [ "$$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		echo "missing, and to be installed by hand (Debian names): $${missing[*]}" >&2
		exit 0
	fi
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null

.PHONY: clean
clean: ## remove what was built; tools stay
	rm -rf bin .cache
