# The targets that people and CI use. Every recipe is plain Go underneath.

SHELL       := bash
.SHELLFLAGS := -o pipefail -c

OUT     := out
TOOL    := go tool -modfile=tools/go.mod
# Test events in, one line per package and the output of failures out.
SUMMARY := go -C $(CURDIR)/tools run ./testsum

.PHONY: build run test lint format interop bench bench-smoke fuzz-smoke clean

build: ## the multi-call binary, out/quoin
	go build -o $(OUT)/quoin ./cmd/quoin

run: build ## one member with its data under out/data
	$(OUT)/quoin server --data-dir $(OUT)/data

test: lint ## what CI asks of the root module
	go test -race -timeout 10m -json ./... | $(SUMMARY)

lint: ## format, vet, static analysis
	@unformatted=$$($(TOOL) gofumpt -l .); \
	  if [ -n "$$unformatted" ]; then echo "not formatted (make format):"; echo "$$unformatted"; exit 1; fi
	go vet ./...
	$(TOOL) staticcheck ./...
	$(TOOL) nilness ./...

format: ## rewrite files in gofumpt's form
	$(TOOL) gofumpt -w .

interop: ## real clients and a real etcd against our member
	cd interop && go vet ./... && go test -timeout 15m -json ./... | $(SUMMARY)

bench: ## side by side with a real etcd: table and raw numbers under out/bench
	cd bench && go run . -out ../$(OUT)/bench $(BENCH)

bench-smoke: ## the same in less than a minute, for CI
	cd bench && go vet ./... && go test -json ./... | $(SUMMARY) && go run . -short -out ../$(OUT)/bench-smoke

fuzz-smoke: ## every fuzz target for FUZZTIME each
	tools/fuzz-smoke

clean:
	rm -rf $(OUT)
