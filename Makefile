# Seatrial. `make help` lists what there is; `make rehearse` and `make test` are
# the two that matter, and each does all of its own set-up.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# podman's bindings without cgo, and without the storage drivers of an engine;
# libvirt is loaded when it is used, so that nobody else needs it.
TAGS := remote,containers_image_openpgp,exclude_graphdriver_btrfs,btrfs_noversion,exclude_graphdriver_devicemapper,libvirt_dlopen
export GOFLAGS := $(GOFLAGS) -tags=$(TAGS)

PROFILE ?= embedded
SEATRIAL := bin/seatrial

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup:
	@scripts/setup

# The CLI alone is built here; it builds everything else as it needs it.
.PHONY: $(SEATRIAL)
$(SEATRIAL): setup
	@[[ -e $@ ]] || echo "building $@; on a machine that has built nothing yet this takes minutes"
	@CGO_ENABLED=0 go build -o $@ ./cmd/seatrial

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

.PHONY: test
test: $(SEATRIAL) ## every test: unit, integration against real servers, the embedded rehearsal
	@ci/test

.PHONY: lint
lint: ## gofmt, go vet and golangci-lint with the walls between packages
	@ci/lint

.PHONY: generate
generate: ## generate deep copies, CRDs and RBAC
	@go generate ./operator/...

.PHONY: bench
bench: $(SEATRIAL) ## print the figures beside the budgets
	@ci/bench

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 30s)
	@ci/fuzz

.PHONY: clean
clean: ## remove what was built here (not the cache, not the stack)
	@rm -rf bin _artifacts
