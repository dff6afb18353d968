# Everything that is built, tested or installed here has its name in this file.

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME ?= 2m

.DEFAULT_GOAL := help
.PHONY: help build cluster deps test unit e2e fuzz campaign campaign-deps bench bench-quick bench-deps clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

build: ## build bin/berth, one static binary
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/berth ./cmd/berth

deps: ## install what the tests need: Debian packages, and Go tools into .cache/bin
	@test/deps.sh

test: deps ## all checks and tests
	@test/run.sh

unit: ## the tests of the packages, with the race detector
	@test/run.sh unit

e2e: deps ## the tests against a running berth: clients, the tutorial, conformance
	@test/run.sh e2e conformance

cluster: deps ## run three nodes over PostgreSQL and an object store, behind haproxy at 127.0.0.1:5000
	@deploy/cluster/run.sh

fuzz: ## each fuzz target for FUZZTIME, 2m by default; stops at the first finding
	@test/fuzz.sh $(FUZZTIME)

campaign: campaign-deps ## berth under faults, as root: PART=kill,power ROUNDS=20 RESUME=1 WRITE=1, see docs/campaign.md
	go run ./test/campaign $(if $(PART),-part $(PART)) $(if $(ROUNDS),-rounds $(ROUNDS)) $(if $(RESUME),-resume) $(if $(WRITE),-write)

campaign-deps: ## install strace and e2fsprogs, which only the campaign needs
	@test/deps.sh campaign

bench: bench-deps ## measure berth beside Distribution and nginx, into docs; more than an hour on an idle machine
	@cd bench && go run . -out ../docs

bench-quick: ## the same in short, printed: does everything work?
	@cd bench && go run . -quick

bench-deps: ## install nginx, slapd and wrk, which only the benchmarks need
	@test/deps.sh bench

clean: ## remove what was built; .cache/bin stays until "rm -r .cache"
	rm -rf bin berth
	go clean -testcache
