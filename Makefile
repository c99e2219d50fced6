# `make devloop` shows the product on the example; `make test` passes the tests. The rest is for builders.
.DEFAULT_GOAL := help
SHELL := /bin/bash

BIN     := $(CURDIR)/bin/devloop
EMBEDDED := internal/agentbin/embedded
SHOP    := examples/shop
RIGHTS  := cap_bpf,cap_perfmon,cap_net_admin,cap_net_raw,cap_net_bind_service,cap_sys_admin,cap_dac_override
TOOLS   := $(HOME)/.cache/devloop/bin
STATICCHECK := v0.8.2
# Kustomize's Go plugins, which devloop never loads, would keep the linker from leaving out what nobody calls: 25 MB.
TAGS    := kustomize_disable_go_plugin_support
export CGO_ENABLED ?= 0

.PHONY: help build binary agent devloop devloop-once rights test lint generate bench bench-kind nightly eval truth extension clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: agent ## bin/devloop, with the agent for the nodes of clusters in it
	go build -tags embedagent,$(TAGS) -o $(BIN) ./cmd/devloop

# Without the agent, which takes minutes to build the first time and local services do without.
binary:
	go build -tags $(TAGS) -o $(BIN) ./cmd/devloop

# What runs in clusters, embedded by the build tag. Without the tag devloop builds it when it needs it.
agent:
	@mkdir -p $(EMBEDDED)
	@for arch in amd64 arm64; do for program in devloop-agent devloop-supervise; do \
		GOOS=linux GOARCH=$$arch CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(EMBEDDED)/$$program-$$arch ./cmd/$$program && \
		gzip -9nf $(EMBEDDED)/$$program-$$arch || exit 1; \
	done; done

devloop: binary rights ## build the example, watch it, judge every save
	cd $(SHOP) && $(BIN) up

devloop-once: binary rights ## one iteration of the example: build, run, judge; exit code 0 is a pass
	cd $(SHOP) && $(BIN) run --down

# Capturing takes rights. Root has them; otherwise the one command that gives them to the binary is named and asked for.
rights:
	@if [ "$$(uname -s)" = Linux ] && [ "$$(id -u)" != 0 ] && ! $(BIN) doctor --require tap >/dev/null 2>&1; then \
		echo "devloop captures the packets of the services that it runs, each in a network namespace of its own."; \
		echo "That takes rights which only root can give to the binary, once per build:"; \
		echo "  sudo setcap $(RIGHTS)=ep $(BIN)"; \
		sudo setcap $(RIGHTS)=ep $(BIN) || \
		echo "going on without capture: '$(BIN) doctor' says why, and 'sudo make devloop' needs no setcap"; \
	fi

test: ## all tests; as root without skips
	scripts/test.sh

# .golangci.yml is for editors: building golangci-lint takes longer than all else here together.
lint: ## gofmt, go vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "$$out"; echo "error: not formatted: gofmt -w" >&2; exit 1; }
	go vet ./...
	@test -x $(TOOLS)/staticcheck-$(STATICCHECK) || { GOBIN=$(TOOLS) go install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK) && \
		mv $(TOOLS)/staticcheck $(TOOLS)/staticcheck-$(STATICCHECK); }
	$(TOOLS)/staticcheck-$(STATICCHECK) ./...

# Other compilers make other eBPF objects, so these are made again only where the one of the committed ones is.
generate: ## everything that is generated; must leave a clean tree
	@if command -v clang-14 >/dev/null && command -v llvm-strip-14 >/dev/null; then go generate ./...; else \
		echo "generate: without clang-14 the eBPF objects stay as they are" >&2; \
		go generate $$(go list ./... | grep -v /capture/tap); fi

bench: ## speed and memory, as ratios within one run
	go test -run '^$$' -bench . -benchtime 1x ./...

bench-kind: agent ## the loop in a kind cluster, against its bounds; as root, with DEVLOOP_KIND
	DEVLOOP_REQUIRE=1 go test -run '^$$' -bench '^BenchmarkKind$$' -benchtime 1x -timeout 20m ./internal/e2e

nightly: ## what takes too long for every change: fuzzing, and the tests again with the race detector
	for pkg in $$(go list ./...); do \
		for fuzz in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			go test -run '^$$' -fuzz "^$$fuzz$$" -fuzztime 60s $$pkg || exit 1; \
		done; \
	done
	CGO_ENABLED=1 scripts/test.sh -race ./...
	go run ./assertions/baseline/eval -full

eval: ## how often the statistics behind verdicts are wrong, into docs/statistics.md
	go run ./assertions/baseline/eval

truth: ## our dissection against tshark's, on the captures of DEVLOOP_PCAPS as they are and altered, and on 10,000 calls of each protocol
	scripts/truth.sh

# For this machine, or for GOOS and GOARCH: the program goes into the package.
extension: agent ## extension/dist/devloop.vsix: VS Code and Cursor, with the program in it
	@cmp -s extension/package-lock.json extension/node_modules/installed || { \
		npm --prefix extension ci --ignore-scripts --no-audit --no-fund --loglevel error && cp extension/package-lock.json extension/node_modules/installed; }
	go build -ldflags '-s -w' -tags embedagent,$(TAGS) -o extension/bin/ ./cmd/devloop
	os=$$(go env GOOS | sed s/windows/win32/); arch=$$(go env GOARCH | sed s/amd64/x64/); npm --prefix extension run --silent package -- --target $$os-$$arch

clean: ## remove what build made
	rm -rf bin $(EMBEDDED) extension/bin extension/dist
