# The targets that people and CI use. Every recipe is plain Go underneath.

SHELL       := bash
.SHELLFLAGS := -o pipefail -c

OUT     := out
TOOL    := go tool -modfile=tools/go.mod
# Test events in, one line per package and the output of failures out.
SUMMARY := go -C $(CURDIR)/tools run ./testsum

.PHONY: build run dev test lint format sim mutants cluster faults interop interop-long mixed bench bench-smoke fuzz-smoke nightly clean

build: ## the multi-call binary, out/quoin
	go build -o $(OUT)/quoin ./cmd/quoin

run: build ## one member with its data under out/data
	$(OUT)/quoin server --data-dir $(OUT)/data

dev: build ## three members on this machine, data under out/dev
	$(OUT)/quoin dev --data-dir $(OUT)/dev

# Tests on processes of their own mostly wait for them: not under the race
# detector, nor beside tests that compute.
PROCESSES = ./test/cluster ./test/deploy ./test/flags ./test/metrics ./test/tls
PACKAGES  = $$(go list ./... | grep -vE '/test/(cluster|deploy|flags|metrics|tls)$$')

# Allocations are counted without the race detector, under which pools forget
# some of what they are given.
test: lint ## what CI asks of the root module
	go test -race -timeout 10m -json $(PACKAGES) | $(SUMMARY)
	go test -run Allocations -json ./internal/service ./internal/api/v3 | $(SUMMARY)
	go test -tags faultpoints -json ./internal/faultpoint ./cmd/quoin | $(SUMMARY)
	go test -p 2 -timeout 15m -json $(PROCESSES) | $(SUMMARY)

lint: ## format, vet, static analysis
	@unformatted=$$($(TOOL) gofumpt -l .); \
	  if [ -n "$$unformatted" ]; then echo "not formatted (make format):"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	$(TOOL) staticcheck ./...
	$(TOOL) nilness ./...

format: ## rewrite files in gofumpt's form
	$(TOOL) gofumpt -w .

SIMTIME = 10m

sim: ## the simulator with fresh seeds for SIMTIME; failures are left under out/sim
	go run ./sim -for $(SIMTIME) -out $(OUT)/sim

mutants: ## deliberate bugs, and the seed that found each
	go run ./sim/mutants

cluster: ## real processes with faults; CLUSTER=-long for the long ones
	go test -timeout 90m -v ./test/cluster $(CLUSTER)

faults: ## a crash at every fault point, under load
	go test -timeout 20m -v ./test/cluster -run 'TestFaultPoints|TestStallAndFail' -long

# Four at once, because most of their time these tests wait.
interop: ## real clients and a real etcd against our member
	cd interop && go vet ./... && go test -parallel 4 -timeout 25m -json ./... | $(SUMMARY)

interop-long: ## the same with more seeds and cycles, and what waits for minutes
	cd interop && go test -parallel 4 -timeout 4h -v -run 'TestBehaviour|TestCheckTool|TestCrash|TestDifferential|TestMainJob|TestMixedCheckpoint' . \
	  -long -seeds 50 -cycles 500

MIXEDTIME = 30m

mixed: ## clusters of both programs under faults for MIXEDTIME; 20 directories of a real etcd taken over and handed back
	cd interop && go test -timeout 4h -v -run 'TestTwoKinds|TestTakeover' . -mixedtime $(MIXEDTIME) -takeovers 20

bench: ## side by side with a real etcd: table and raw numbers under out/bench
	cd bench && go run . -out ../$(OUT)/bench $(BENCH)

BENCHSMOKE = put|put-3|list|watch-100

bench-smoke: ## in less than a minute, for CI: each work on our server, and some beside a real etcd
	cd bench && go vet ./... && go test -json ./... | $(SUMMARY) && go run . -short -b none -out ../$(OUT)/bench-smoke \
	  && go run . -short -works '$(BENCHSMOKE)' -out ../$(OUT)/bench-smoke

fuzz-smoke: ## every fuzz target for FUZZTIME each
	tools/fuzz-smoke

nightly: ## what is too long for CI: each fuzz target for a minute, simulations, mutants, long runs of processes
	FUZZTIME=60s FUZZFLAGS=-parallel=1 tools/fuzz-smoke
	$(MAKE) sim SIMTIME=1h
	$(MAKE) mutants
	$(MAKE) faults
	$(MAKE) cluster CLUSTER=-long
	$(MAKE) interop-long
	$(MAKE) mixed

clean:
	rm -rf $(OUT)
