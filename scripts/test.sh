#!/usr/bin/env bash
# test.sh [PACKAGE...]: all tests, with what they need. As root nothing is skipped: a test that lacks something fails. In
# user mode the tests that need root skip, and say so.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" = 0 ]; then
	scripts/setup.sh
	export DEVLOOP_REQUIRE=1
else
	scripts/setup.sh --check || echo "test: going on without; tests that need these will skip" >&2
	echo "test: not root: tests that capture or make network namespaces will skip. All of them: sudo make test" >&2
	if [ -n "${CI:-}" ]; then export DEVLOOP_REQUIRE=1; fi
fi

# Large captures and cluster images lie outside of the repository, where there are any.
for pair in DEVLOOP_PCAPS=../shared/pcaps DEVLOOP_KIND=../shared/kind; do
	name=${pair%%=*} dir=${pair#*=}
	if [ -z "${!name:-}" ] && [ -d "$dir" ]; then export "$name=$(cd "$dir" && pwd)"; fi
done

# A container's ports are on this machine, whatever the library makes of a machine that is a container itself.
export TESTCONTAINERS_HOST_OVERRIDE=${TESTCONTAINERS_HOST_OVERRIDE:-127.0.0.1}

# Tests on a kind cluster make it with the scripts of DEVLOOP_KIND; without them they skip, and nobody was promised more.
if [ -z "${DEVLOOP_KIND:-}" ]; then
	export DEVLOOP_KIND=none
	echo "test: DEVLOOP_KIND names no folder: tests on a kind cluster will skip" >&2
fi

# Packages with real time, ports and cgroups disturb each other less when few run at once.
if [ $# -gt 0 ]; then exec go test -timeout 15m -p 2 "$@"; fi

# The end-to-end tests measure services in real time: they run alone.
go test -timeout 15m -p 2 $(go list ./... | grep -v -e /internal/e2e$ -e /examples/shop$ -e /kindenv)
go test -timeout 25m -skip '^TestKind' ./internal/e2e

# A container engine is there for the rest only: elsewhere dependencies are local. One that answers already is used and left
# alone; else the one that kind's tests start serves the shop's container as well.
if [ "$(id -u)" = 0 ]; then
	trap 'scripts/kind-for-tests.sh stop; scripts/dockerd-for-tests.sh stop' EXIT
	if [ "$DEVLOOP_KIND" != none ]; then scripts/kind-for-tests.sh start; fi
fi
go test -timeout 20m -p 1 ./kindenv/...
go test -timeout 25m -run '^TestKind' ./internal/e2e

# One dependency runs in a container.
if [ "$(id -u)" = 0 ]; then
	scripts/dockerd-for-tests.sh start
fi
go test -timeout 15m ./examples/shop
