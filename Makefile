# Seatrial. `make help` lists what there is; `make rehearse` and `make test` are
# the two that matter, and each does all of its own set-up.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# podman's bindings without cgo, and without the storage drivers of an engine;
# libvirt is loaded when it is used, so that nobody else needs it.
TAGS := remote,containers_image_openpgp,exclude_graphdriver_btrfs,btrfs_noversion,exclude_graphdriver_devicemapper,libvirt_dlopen

PROFILE ?= embedded
SEATRIAL := bin/seatrial
CGO := 0
# What the vm profile links (k3d, Helm, libvirt) is left out of the program for
# those who do not use it.
ifeq ($(PROFILE),vm)
SEATRIAL := bin/seatrial-vm
CGO := 1
TAGS := $(TAGS),vm
endif
export GOFLAGS := $(GOFLAGS) -tags=$(TAGS)
export N CURVE

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup:
	@scripts/setup $(filter vm,$(PROFILE))

# The CLI alone is built here; it builds everything else as it needs it.
.PHONY: $(SEATRIAL)
$(SEATRIAL): setup
	@[[ -e $@ ]] || echo "building $@; on a machine that has built nothing yet this takes minutes"
	@CGO_ENABLED=$(CGO) go build -o $@ ./cmd/seatrial

.PHONY: rehearse
rehearse: $(SEATRIAL) ## bring the stack up (or reuse it), run the seven specs, print the verdict
	@$(SEATRIAL) test --profile $(PROFILE)

.PHONY: up
up: $(SEATRIAL) ## bring the stack up and leave it
	@$(SEATRIAL) up --profile $(PROFILE)

.PHONY: down
down: $(SEATRIAL) ## remove everything that up or rehearse started
	@$(SEATRIAL) down --profile $(PROFILE)

.PHONY: status
status: $(SEATRIAL) ## show what stands
	@$(SEATRIAL) status --profile $(PROFILE)

.PHONY: doctor
doctor: $(SEATRIAL) ## show what this machine can and cannot do
	@$(SEATRIAL) doctor

.PHONY: lab
lab: $(SEATRIAL) ## a shell beside a private Docker engine and libvirt, or CMD="…" there
	@scripts/setup vm
	@$(SEATRIAL) lab $(if $(CMD),-- bash -c '$(CMD)')

.PHONY: test
test: $(SEATRIAL) ## every test: unit, integration against real servers, the embedded rehearsal
	@scripts/setup test
	@ci/test

.PHONY: test-arm64
test-arm64: ## build the products for arm64, and run the tests of their parts under emulation
	@scripts/setup arm64
	@ci/test-arm64

.PHONY: rehearse-vm
rehearse-vm: ## the vm profile from nothing, twice the rehearsal, or SUITES="rehearsal chaos", then down
	@ci/rehearse-vm $(SUITES)

.PHONY: lint
lint: ## gofmt, go vet and golangci-lint with the walls between packages
	@ci/lint

.PHONY: generate
generate: ## generate deep copies, CRDs and RBAC
	@go generate ./operator/...

.PHONY: bench
bench: $(SEATRIAL) ## print the figures beside the budgets
	@ci/bench

SOAK ?= 1h
.PHONY: soak
soak: ## have an agent live through all that happens to one for SOAK (default 1h), and count what it holds
	@scripts/setup
	@SOAK=$(SOAK) go test -run '^$$' -bench '^BenchmarkSoak$$' -benchtime 1x -timeout 0 -v ./agent

# ARGS is split by the shell as on a command line: ARGS='--only "broker killed"'.
.PHONY: bench-storm
bench-storm: setup ## measure how N devices (default 1000; CURVE=all) come back to a killed broker
	@ci/bench-storm $(ARGS)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 30s)
	@ci/fuzz

.PHONY: properties
properties: setup ## run the property tests of contract and agent with CHECKS random cases each (default 1000)
	@ci/properties

.PHONY: clean
clean: ## remove what was built here (not the cache, not the stack)
	@rm -rf bin _artifacts
